//! Request bodies, packed: gzip, which CloudWatch Logs takes for PutLogEvents as Amazon's own agent sends it.

use libdeflater::{CompressionLvl, Compressor, Decompressor};

/// Bytes from which a body is packed: a shorter one fits one packet as it is.
pub const PACK_BYTES_MIN: usize = 1 << 10;
/// The fastest level that looks for repetitions.
const LEVEL: i32 = 1;

/// Packs one body after the other.
#[derive(Default)]
pub struct Packer {
    /// Made when it is first needed: its tables take some hundred KiB.
    deflate: Option<Compressor>,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Packer").finish_non_exhaustive()
    }
}

impl Packer {
    /// The packed body; `None` when it is short. JSON is UTF-8, whose bytes are never so many different ones that nothing is saved.
    pub fn pack(&mut self, body: &[u8]) -> Option<Vec<u8>> {
        if body.len() < PACK_BYTES_MIN {
            return None;
        }
        let level = CompressionLvl::new(LEVEL).unwrap_or_default();
        let deflate = self.deflate.get_or_insert_with(|| Compressor::new(level));
        let mut packed = vec![0; body.len()];
        let bytes = deflate.gzip_compress(body, &mut packed).ok()?;
        packed.truncate(bytes);
        packed.shrink_to_fit();
        Some(packed)
    }
}

/// What a [`Packer`] has packed, which was so many bytes long.
pub(super) fn unpack(packed: &[u8], bytes: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(bytes + super::GROW_BYTES);
    body.resize(bytes, 0);
    let unpacked = Decompressor::new().gzip_decompress(packed, &mut body);
    let Ok(unpacked) = unpacked else { unreachable!("it was packed here") };
    debug_assert_eq!(unpacked, bytes);
    body
}
