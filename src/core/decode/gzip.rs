//! gzip (RFC 1952): members, and what is between them. Their inside is inflated by [`Inflate`], or by zlib-rs beside it.
//!
//! flate2's own multi-member reader pulls from a `Read`; this one is pushed, so a header, a trailer or a member's border
//! may lie across any cut of the input. Between members zero bytes are padding, as tape blocks and some writers leave
//! it; any other byte that does not begin a member is damage.

use flate2::{Decompress, FlushDecompress, Status};

use super::inflate::Inflate;
use super::mark::{Mark, Member};
use super::{Engine, Progress};

/// CRC-32 and ISIZE.
const TRAILER_BYTES: usize = 8;
/// The smallest member: header, an empty deflate block, trailer.
const MEMBER_BYTES_MIN: usize = 20;
const MAGIC: [u8; 2] = [0x1f, 0x8b];
const DEFLATE: u8 = 8;

const HAS_HEADER_CRC: u8 = 1 << 1;
const HAS_EXTRA: u8 = 1 << 2;
const HAS_NAME: u8 = 1 << 3;
const HAS_COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0b1110_0000;

/// Where the next byte belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Before a member: its magic, or padding. The object starts here, too.
    Between,
    /// Byte 1 to 9 of the fixed header.
    Fixed(u8),
    /// The low byte of the extra field's length.
    ExtraLow,
    /// The high byte.
    ExtraHigh(u8),
    /// Bytes of the extra field still to come.
    Extra(u16),
    /// A text that a zero byte ends.
    Name,
    Comment,
    HeaderCrcLow,
    HeaderCrcHigh(u8),
    Body,
    /// This many bytes of the trailer are in `trailer`.
    Trailer(usize),
}

/// A gzip stream being decoded.
#[derive(Debug)]
pub(super) struct Gzip {
    part: Part,
    flags: u8,
    header_crc: crc32fast::Hasher,
    inflater: Inflater,
    body_crc: crc32fast::Hasher,
    /// Decompressed bytes of the member, modulo 2^32 as ISIZE counts them.
    body_bytes: u32,
    trailer: [u8; TRAILER_BYTES],
}

/// What inflates a member.
#[derive(Debug)]
enum Inflater {
    Own(Box<Inflate>),
    Zlib(Decompress),
}

impl Gzip {
    pub(super) fn new(engine: Engine) -> Self {
        Self {
            part: Part::Between,
            flags: 0,
            header_crc: crc32fast::Hasher::new(),
            inflater: match engine {
                Engine::Own => Inflater::Own(Box::default()),
                Engine::Zlib => Inflater::Zlib(Decompress::new(false)),
            },
            body_crc: crc32fast::Hasher::new(),
            body_bytes: 0,
            trailer: [0; TRAILER_BYTES],
        }
    }

    /// One that goes on within a member, behind `reach` bytes that came before.
    pub(super) fn within(member: Member, reach: usize) -> Self {
        Self {
            part: Part::Body,
            inflater: Inflater::Own(Box::new(Inflate::at(member.stop, reach))),
            body_crc: crc32fast::Hasher::new_with_initial(member.crc),
            body_bytes: member.bytes,
            ..Self::new(Engine::Own)
        }
    }

    /// Whether it stops at a place for a mark.
    pub(super) fn halt(&mut self, halts: bool) {
        if let Inflater::Own(inflate) = &mut self.inflater {
            inflate.halt(halts);
        }
    }

    /// The mark of where it is, if that is a place for one: `taken` stored bytes were taken, and it gave `given` last.
    pub(super) fn mark(&self, taken: u64, given: &[u8]) -> Option<Mark> {
        let Inflater::Own(inflate) = &self.inflater else { return None };
        let (unused, stop) = inflate.stop().filter(|_| self.part == Part::Body)?;
        let before = given.get(given.len().checked_sub(inflate.reaches())?..)?.to_vec();
        let member = Member { stop, crc: self.body_crc.clone().finalize(), bytes: self.body_bytes };
        Some(Mark { stored: taken - unused as u64, member: Some(member), before })
    }

    pub(super) const fn at_member_end(&self) -> bool {
        matches!(self.part, Part::Between)
    }

    /// How much of what came before must stand in front of what comes next.
    pub(super) fn reaches(&self) -> usize {
        match (&self.inflater, self.part) {
            (Inflater::Own(inflate), Part::Body) => inflate.reaches(),
            _ => 0,
        }
    }

    pub(super) fn decode(
        &mut self,
        input: &[u8],
        buffer: &mut [u8],
        at: usize,
        progress: &mut Progress,
    ) -> Result<(), &'static str> {
        let mut rest = input;
        loop {
            let took = match self.part {
                Part::Body => {
                    if at + progress.produced >= buffer.len() {
                        return Ok(());
                    }
                    let (took, made) = self.inflate(rest, buffer, at + progress.produced)?;
                    progress.produced += made;
                    if took == 0 && made == 0 && self.part == Part::Body {
                        return Ok(());
                    }
                    took
                }
                Part::Trailer(have) => self.trailer(have, rest)?,
                Part::Between if rest.first() == Some(&0) => rest.iter().take_while(|&&byte| byte == 0).count(),
                Part::Name | Part::Comment => self.text(rest),
                Part::Extra(left) => self.extra(left, rest),
                Part::Between
                | Part::Fixed(_)
                | Part::ExtraLow
                | Part::ExtraHigh(_)
                | Part::HeaderCrcLow
                | Part::HeaderCrcHigh(_) => match rest.first() {
                    Some(&byte) => {
                        self.header_byte(byte)?;
                        1
                    }
                    None => 0,
                },
            };
            progress.consumed += took;
            rest = rest.get(took..).unwrap_or_default();
            if rest.is_empty() && self.part != Part::Body {
                return Ok(());
            }
        }
    }

    /// One byte of the parts of a header that are read byte by byte.
    fn header_byte(&mut self, byte: u8) -> Result<(), &'static str> {
        match self.part {
            Part::Between if byte == MAGIC[0] => {
                self.header_crc.reset();
                self.part = Part::Fixed(1);
            }
            Part::Between => return Err("bytes after a gzip member that begin no further one"),
            Part::Fixed(at) => {
                match at {
                    1 if byte != MAGIC[1] => return Err("bytes after a gzip member that begin no further one"),
                    2 if byte != DEFLATE => return Err("gzip member of an unknown compression method"),
                    3 if byte & RESERVED != 0 => return Err("gzip member with unknown flags"),
                    3 => self.flags = byte,
                    _ => {}
                }
                self.part = if at == 9 { self.after_fixed() } else { Part::Fixed(at + 1) };
            }
            Part::ExtraLow => self.part = Part::ExtraHigh(byte),
            Part::ExtraHigh(low) => {
                let len = u16::from_le_bytes([low, byte]);
                self.part = if len == 0 { self.after_extra() } else { Part::Extra(len) };
            }
            Part::HeaderCrcLow => {
                self.part = Part::HeaderCrcHigh(byte);
                return Ok(());
            }
            Part::HeaderCrcHigh(low) => {
                let [want_low, want_high, ..] = self.header_crc.clone().finalize().to_le_bytes();
                if [want_low, want_high] != [low, byte] {
                    return Err("gzip header checksum does not match");
                }
                self.begin_body();
                return Ok(());
            }
            Part::Extra(_) | Part::Name | Part::Comment | Part::Body | Part::Trailer(_) => {}
        }
        self.header_crc.update(&[byte]);
        if self.part == Part::Body {
            self.begin_body();
        }
        Ok(())
    }

    fn after_fixed(&self) -> Part {
        if self.flags & HAS_EXTRA != 0 { Part::ExtraLow } else { self.after_extra() }
    }

    fn after_extra(&self) -> Part {
        if self.flags & HAS_NAME != 0 { Part::Name } else { self.after_name() }
    }

    fn after_name(&self) -> Part {
        if self.flags & HAS_COMMENT != 0 { Part::Comment } else { self.after_comment() }
    }

    fn after_comment(&self) -> Part {
        if self.flags & HAS_HEADER_CRC != 0 { Part::HeaderCrcLow } else { Part::Body }
    }

    fn extra(&mut self, left: u16, rest: &[u8]) -> usize {
        let took = rest.len().min(usize::from(left));
        self.header_crc.update(rest.get(..took).unwrap_or_default());
        let left = left.saturating_sub(u16::try_from(took).unwrap_or(left));
        self.part = if left == 0 { self.after_extra() } else { Part::Extra(left) };
        if self.part == Part::Body {
            self.begin_body();
        }
        took
    }

    fn text(&mut self, rest: &[u8]) -> usize {
        let end = memchr::memchr(0, rest);
        let took = end.map_or(rest.len(), |end| end + 1);
        self.header_crc.update(rest.get(..took).unwrap_or_default());
        if end.is_some() {
            self.part = if self.part == Part::Name { self.after_name() } else { self.after_comment() };
            if self.part == Part::Body {
                self.begin_body();
            }
        }
        took
    }

    fn begin_body(&mut self) {
        match &mut self.inflater {
            Inflater::Own(inflate) => inflate.reset(),
            Inflater::Zlib(inflate) => inflate.reset(false),
        }
        self.body_crc.reset();
        self.body_bytes = 0;
        self.part = Part::Body;
    }

    /// Inflates once; `(taken, made)`. Both are zero when more input is needed.
    fn inflate(&mut self, input: &[u8], buffer: &mut [u8], at: usize) -> Result<(usize, usize), &'static str> {
        let (took, made, ended) = match &mut self.inflater {
            Inflater::Own(inflate) => {
                let step = inflate.inflate(input, buffer, at)?;
                if step.ended {
                    // Bytes of the trailer may have been taken already, by an earlier call.
                    let (behind, count) = inflate.behind();
                    self.trailer = behind;
                    self.part = Part::Trailer(count);
                }
                (step.consumed, step.produced, step.ended)
            }
            Inflater::Zlib(inflate) => {
                let (in_before, out_before) = (inflate.total_in(), inflate.total_out());
                let to = buffer.get_mut(at..).unwrap_or_default();
                let status =
                    inflate.decompress(input, to, FlushDecompress::None).map_err(|_| "invalid deflate code")?;
                let took = usize::try_from(inflate.total_in() - in_before).unwrap_or(0);
                let made = usize::try_from(inflate.total_out() - out_before).unwrap_or(0);
                let ended = status == Status::StreamEnd;
                if ended {
                    self.part = Part::Trailer(0);
                }
                (took, made, ended)
            }
        };
        debug_assert!(ended || self.part == Part::Body);
        self.body_crc.update(buffer.get(at..at + made).unwrap_or_default());
        // ISIZE is the length modulo 2^32, and a window is far shorter than that.
        self.body_bytes = self.body_bytes.wrapping_add(u32::try_from(made).unwrap_or(0));
        Ok((took, made))
    }

    fn trailer(&mut self, have: usize, rest: &[u8]) -> Result<usize, &'static str> {
        let took = super::copy(rest, self.trailer.get_mut(have..).unwrap_or_default());
        let have = have + took;
        if have < TRAILER_BYTES {
            self.part = Part::Trailer(have);
            return Ok(took);
        }
        let [c0, c1, c2, c3, s0, s1, s2, s3] = self.trailer;
        if u32::from_le_bytes([c0, c1, c2, c3]) != self.body_crc.clone().finalize() {
            return Err("gzip checksum does not match");
        }
        if u32::from_le_bytes([s0, s1, s2, s3]) != self.body_bytes {
            return Err("gzip size does not match");
        }
        self.part = Part::Between;
        Ok(took)
    }
}

/// Decodes an object of one gzip member in one go, when it fits.
///
/// libdeflate tells neither how much input it used nor what follows it, so this declines (`None`, use [`super::Decoder`])
/// unless the object is certainly one sound member: it holds no second member's magic, its last eight bytes are the
/// checksum and the size of what came out, and stand nowhere else in it, and what came out fits. A magic that occurs by
/// chance, about once in 16 MiB, costs only the slower way.
///
/// libdeflate passes over a damaged code length that no symbol of the block uses, which zlib refuses. What came out is right
/// all the same: its checksum and its size say so.
pub struct SmallDecoder {
    inflate: libdeflater::Decompressor,
    second_magic: memchr::memmem::Finder<'static>,
}

impl std::fmt::Debug for SmallDecoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SmallDecoder").finish_non_exhaustive()
    }
}

impl Default for SmallDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl SmallDecoder {
    /// A decoder to be used for many objects, one after the other.
    #[must_use]
    pub fn new() -> Self {
        Self {
            inflate: libdeflater::Decompressor::new(),
            second_magic: memchr::memmem::Finder::new(&[MAGIC[0], MAGIC[1], DEFLATE]),
        }
    }

    /// Decodes the whole object `input` to the start of `out`; the decompressed length, or `None` to say that nothing
    /// is known about the object, not even whether it is sound: decode it with [`super::Decoder`].
    pub fn decode(&mut self, input: &[u8], out: &mut [u8]) -> Option<usize> {
        if input.len() < MEMBER_BYTES_MIN || !input.starts_with(&MAGIC) {
            return None;
        }
        // libdeflate passes over a header's checksum without a look.
        if input.get(3)? & HAS_HEADER_CRC != 0 {
            return None;
        }
        let trailer = input.last_chunk::<TRAILER_BYTES>()?;
        let &[c0, c1, c2, c3, s0, s1, s2, s3] = trailer;
        let size = usize::try_from(u32::from_le_bytes([s0, s1, s2, s3])).ok()?;
        let to = out.get_mut(..size)?;
        if self.second_magic.find(input.get(MAGIC.len()..)?).is_some() {
            return None;
        }
        let made = self.inflate.gzip_decompress(input, to).ok()?;
        // The member has a trailer that says the same, and if it were not the last eight bytes, these would be there twice.
        let sound = made == size && crc32fast::hash(to) == u32::from_le_bytes([c0, c1, c2, c3]);
        let ends = sound.then(|| memchr::memmem::find(input, trailer)).flatten()? + TRAILER_BYTES;
        (ends == input.len()).then_some(made)
    }
}
