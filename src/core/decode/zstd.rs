//! zstd (RFC 8878), by the reference library: frames follow each other, skippable ones are skipped.
//!
//! The library's streaming decoder does not look at the size that a frame's header says if the last block is empty
//! (1.5.7), so a frame that lost blocks before it would pass for whole. The size is compared here.

use std::fmt;

use ::zstd::stream::raw::{DParameter, Decoder, Operation as _};
use ::zstd::zstd_safe::get_frame_content_size;

use super::{Progress, WINDOW_BYTES_MAX, Wrong};

/// The library's smallest limit of a window, as a power of two.
const WINDOW_LOG_MIN: u32 = 10;

/// Bytes of the longest frame header, the magic included. Source: RFC 8878, section 3.1.1.1.
const HEADER_BYTES_MAX: usize = 18;

/// Calls in a row that may neither take nor give: the library's way of changing state.
const IDLE_CALLS_MAX: usize = 4;

/// A zstd stream being decoded.
pub(super) struct Zstd {
    decoder: Decoder<'static>,
    /// The widest window that is held, bytes: a power of two.
    window_bytes: u64,
    /// Between the first byte of a frame and its last.
    within_frame: bool,
    /// The first bytes of the frame, as many as `header_len` says.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// Decompressed bytes of the frame.
    frame_bytes: u64,
}

impl fmt::Debug for Zstd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Zstd").field("within_frame", &self.within_frame).finish_non_exhaustive()
    }
}

impl Zstd {
    /// A decoder for windows of so many bytes, a power of two.
    pub(super) fn new(window_bytes: u64) -> Result<Self, &'static str> {
        let mut decoder = Decoder::new().map_err(|_| "no memory for a zstd decoder")?;
        let log = window_bytes.clamp(1 << WINDOW_LOG_MIN, WINDOW_BYTES_MAX).ilog2();
        decoder.set_parameter(DParameter::WindowLogMax(log)).map_err(|_| "zstd refuses its window limit")?;
        let header = [0; HEADER_BYTES_MAX];
        Ok(Self { decoder, window_bytes: 1 << log, within_frame: false, header, header_len: 0, frame_bytes: 0 })
    }

    pub(super) fn at_frame_end(&self) -> bool {
        !self.within_frame
    }

    pub(super) fn decode(&mut self, input: &[u8], out: &mut [u8], progress: &mut Progress) -> Result<(), Wrong> {
        let mut rest = input;
        let mut idle = 0;
        loop {
            let to = out.get_mut(progress.produced..).unwrap_or_default();
            // Between frames the library would take an empty input for the start of one.
            if rest.is_empty() && (to.is_empty() || !self.within_frame) {
                return Ok(());
            }
            let room = to.len();
            let Ok(status) = self.decoder.run_on_buffers(rest, to) else { return Err(self.wrong(rest)) };
            let read = rest.get(..status.bytes_read).unwrap_or_default();
            self.header_len += super::copy(read, self.header.get_mut(self.header_len..).unwrap_or_default());
            self.frame_bytes += status.bytes_written as u64;
            progress.consumed += status.bytes_read;
            progress.produced += status.bytes_written;
            if status.remaining == 0 {
                self.end_frame()?;
            } else if status.bytes_read > 0 {
                self.within_frame = true;
            }
            rest = rest.get(status.bytes_read..).unwrap_or_default();
            if status.bytes_read == 0 && status.bytes_written == 0 {
                idle += 1;
                if room == 0 || rest.is_empty() || idle > IDLE_CALLS_MAX {
                    return Ok(());
                }
            } else {
                idle = 0;
            }
        }
    }

    /// What the library has refused `rest` for.
    fn wrong(&mut self, rest: &[u8]) -> Wrong {
        self.header_len += super::copy(rest, self.header.get_mut(self.header_len..).unwrap_or_default());
        let header = self.header.get(..self.header_len).unwrap_or_default();
        match window_of(header) {
            Some(asked) if self.frame_bytes == 0 && asked > self.window_bytes && asked <= WINDOW_BYTES_MAX => {
                Wrong::Window(asked.next_power_of_two())
            }
            Some(_) | None => {
                Wrong::Bytes("invalid zstd frame, its checksum does not match, or its window is over 8 MiB")
            }
        }
    }

    fn end_frame(&mut self) -> Result<(), &'static str> {
        // Of a skippable frame the library says that its content has no bytes.
        let said = get_frame_content_size(self.header.get(..self.header_len).unwrap_or_default());
        let made = self.frame_bytes;
        (self.within_frame, self.header_len, self.frame_bytes) = (false, 0, 0);
        match said {
            Ok(Some(said)) if said != made => Err("zstd frame size does not match"),
            Ok(_) => Ok(()),
            Err(_) => Err("invalid zstd frame header"),
        }
    }
}

/// The window that a frame of this header asks for, bytes. Source: RFC 8878, section 3.1.1.1.2.
fn window_of(header: &[u8]) -> Option<u64> {
    const SINGLE_SEGMENT: u8 = 1 << 5;
    if header.get(4)? & SINGLE_SEGMENT != 0 {
        return get_frame_content_size(header).ok().flatten();
    }
    let descriptor = header.get(5)?;
    let base = 1_u64 << (u32::from(descriptor >> 3) + WINDOW_LOG_MIN);
    Some(base + base / 8 * u64::from(descriptor & 7))
}
