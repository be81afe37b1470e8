//! An object's stored bytes → its decompressed bytes, in windows of the caller's.
//!
//! The container is told by its first bytes, never by the key's suffix: gzip (any number of members), zstd (any number
//! of frames, skippable ones included), or else plain text. Nothing here reads, waits or allocates per call:
//! [`Decoder::decode`] takes what input there is, fills what output it is given, and says how much of either it used.
//! However the input is cut and however small the output, the bytes are the same.
//!
//! Memory is constant whatever the input claims. A gzip decoder holds one inflate state; the 32 KiB that it reaches back
//! to stand in the caller's [`Window`]. A zstd decoder holds a window as wide as its frames ask for, of at most
//! [`WINDOW_BYTES_MAX`], and never one that is wider than its caller has memory for: that is a fault by which the caller learns
//! what to claim before it begins anew.
//!
//! [`SmallDecoder`] is the way for an object that fits one window: libdeflate decodes it in one go, and keeps no state for a cut
//! that cannot come. It declines whatever it is not certain of.

mod gzip;
pub mod inflate;
mod mark;
pub mod members;
mod window;
mod zstd;

pub use self::gzip::SmallDecoder;
pub use self::mark::Mark;
pub use self::window::{Kept, Window};

use self::gzip::Gzip;
use self::zstd::Zstd;

/// Bytes that tell every container from every other.
const MAGIC_BYTES: usize = 4;

/// The widest window of a zstd frame: 8 MiB, what RFC 8878 asks every decoder to support. The library holds it once and
/// little else. Frames of `--long` ask for more and are refused.
pub const WINDOW_BYTES_MAX: u64 = 8 << 20;

/// What is wrong with a stored stream. Offsets count stored (compressed) bytes from the object's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeFault {
    /// The input ended within a member or frame. All that was decoded before may be used.
    #[error("the stored stream ends early, after {at} bytes")]
    Truncated {
        /// Where it ended.
        at: u64,
    },
    /// The bytes are not what their container asks for.
    #[error("the stored stream is damaged near byte {at}: {what}")]
    Damaged {
        /// How far the decoder had come.
        at: u64,
        /// What did not fit.
        what: &'static str,
    },
    /// Nothing is wrong, but a frame asks for a wider window than the decoder was given: take one that was.
    #[error("the stored stream asks near byte {at} for a window of {bytes} bytes")]
    Window {
        /// How far the decoder had come.
        at: u64,
        /// The window, at most [`WINDOW_BYTES_MAX`].
        bytes: u64,
    },
}

/// Why a container's decoder does not go on.
#[derive(Debug)]
enum Wrong {
    Bytes(&'static str),
    Window(u64),
}

impl From<&'static str> for Wrong {
    fn from(what: &'static str) -> Self {
        Self::Bytes(what)
    }
}

/// How much of its input and output a call used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Input bytes taken.
    pub consumed: usize,
    /// Output bytes written, from the output's start.
    pub produced: usize,
}

/// The kind of container, once the first bytes have told it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// RFC 1952.
    Gzip,
    /// RFC 8878.
    Zstd,
    /// No container: the bytes themselves.
    Plain,
}

/// What inflates gzip members.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// [`inflate`], the fastest.
    #[default]
    Own,
    /// zlib-rs, to compare with.
    Zlib,
}

/// Decodes one object.
///
/// ```
/// use millrace::core::decode::Decoder;
///
/// let mut decoder = Decoder::new();
/// let mut window = [0; 64];
/// let progress = decoder.decode(b"plain text\n", &mut window, 0)?;
/// assert_eq!(&window[..progress.produced], b"plain text\n");
/// decoder.finish()?;
/// # Ok::<(), millrace::core::decode::DecodeFault>(())
/// ```
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Stored bytes taken so far.
    taken: u64,
    /// The last call filled its output, so that there may be more to come without further input.
    pending: bool,
    /// The widest window of a zstd frame, bytes.
    window_bytes: u64,
    engine: Engine,
    /// It stops where it can be marked.
    halts: bool,
    /// The first fault, repeated by every later call.
    fault: Option<DecodeFault>,
}

#[derive(Debug)]
enum State {
    /// The first bytes, fewer than tell the container.
    Sniffing(Held),
    /// Text; what was held while sniffing goes out first.
    Plain(Held),
    Gzip(Box<Gzip>),
    Zstd(Zstd),
}

/// At most [`MAGIC_BYTES`] bytes, of which those before `sent` are done with.
#[derive(Clone, Copy, Debug, Default)]
struct Held {
    bytes: [u8; MAGIC_BYTES],
    len: usize,
    sent: usize,
}

impl Held {
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.len) {
            *place = byte;
            self.len += 1;
        }
    }

    fn all(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }

    fn unsent(&self) -> &[u8] {
        self.bytes.get(self.sent..self.len).unwrap_or_default()
    }
}

/// The container that starts with these bytes; `None` while more bytes could still change the answer.
fn sniff(start: &[u8]) -> Option<Container> {
    match *start {
        [] | [0x1f] => None,
        [0x1f, 0x8b, ..] => Some(Container::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Container::Zstd),
        [0x28] | [0x28, 0xb5] | [0x28, 0xb5, 0x2f] => None,
        [0x50..=0x5f] | [0x50..=0x5f, 0x2a] | [0x50..=0x5f, 0x2a, 0x4d] => None,
        _ => Some(Container::Plain),
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder at the start of an object. It allocates nothing before it has seen the container's magic bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_window(WINDOW_BYTES_MAX)
    }

    /// The same for one whose zstd frames, if it has any, may have windows of so many bytes, a power of two.
    #[must_use]
    pub fn with_window(window_bytes: u64) -> Self {
        debug_assert!(window_bytes.is_power_of_two());
        let state = State::Sniffing(Held::default());
        Self { state, taken: 0, pending: false, window_bytes, engine: Engine::default(), halts: false, fault: None }
    }

    /// A decoder that goes on at a mark: it is to be given the stored bytes from [`Mark::stored`] on, and what it gives is to
    /// stand behind [`Mark::before`]. Checksums are those of the whole all the same.
    #[must_use]
    pub fn at(mark: &Mark) -> Self {
        let state = match mark.member {
            Some(member) => State::Gzip(Box::new(Gzip::within(member, mark.before.len()))),
            None => State::Plain(Held::default()),
        };
        Self { state, taken: mark.stored, ..Self::new() }
    }

    /// From now on it stops where it can be marked, though there is input and room, until [`Self::mark`] has given a mark. In a
    /// container that cannot be marked it never does.
    pub fn halt(&mut self) {
        self.halts = true;
        if let State::Gzip(gzip) = &mut self.state {
            gzip.halt(true);
        }
    }

    /// The mark of where it is, if it is at such a place and was told to [`Self::halt`]. `given` ends with what it gave last, and
    /// has as much of it as [`Self::reaches`].
    pub fn mark(&mut self, given: &[u8]) -> Option<Mark> {
        let mark = match &mut self.state {
            _ if !self.halts => None,
            State::Gzip(gzip) => gzip.mark(self.taken, given).inspect(|_| gzip.halt(false)),
            State::Plain(held) if held.unsent().is_empty() => {
                Some(Mark { stored: self.taken, member: None, before: Vec::new() })
            }
            State::Plain(_) | State::Sniffing(_) | State::Zstd(_) => None,
        };
        self.halts &= mark.is_none();
        mark
    }

    /// The same with another engine for gzip.
    #[must_use]
    pub const fn with_engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// Decodes what it can of `input` into `buffer` from `at` on, in front of which [`Self::reaches`] bytes stand that came before.
    /// Without a fault it either makes progress or needs more of what is empty. Give it further room, with whatever input
    /// there is (none is fine), while [`Self::pending`] says so. What stands behind what was written may be overwritten too.
    ///
    /// # Errors
    /// [`DecodeFault::Damaged`] or [`DecodeFault::Window`], and again on every later call. Bytes that this call had written are not reported.
    pub fn decode(&mut self, input: &[u8], buffer: &mut [u8], at: usize) -> Result<Progress, DecodeFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let mut progress = Progress::default();
        let outcome = self.run(input, buffer, at, &mut progress);
        self.taken += progress.consumed as u64;
        let room = buffer.len().saturating_sub(at);
        self.pending = room > 0 && progress.produced == room || room == 0 && self.pending;
        match outcome {
            Ok(()) => Ok(progress),
            Err(wrong) => {
                let at = self.taken;
                let fault = match wrong {
                    Wrong::Bytes(what) => DecodeFault::Damaged { at, what },
                    Wrong::Window(bytes) => DecodeFault::Window { at, bytes },
                };
                self.fault = Some(fault);
                Err(fault)
            }
        }
    }

    fn run(&mut self, input: &[u8], buffer: &mut [u8], at: usize, progress: &mut Progress) -> Result<(), Wrong> {
        if let State::Sniffing(held) = &mut self.state {
            while let Some(&byte) = input.get(progress.consumed) {
                held.push(byte);
                progress.consumed += 1;
                if let Some(container) = sniff(held.all()) {
                    let held = *held;
                    self.state = State::begin(container, held, self.window_bytes, self.engine)?;
                    if self.halts {
                        self.halt();
                    }
                    break;
                }
            }
        }
        let rest = input.get(progress.consumed..).unwrap_or_default();
        let out = buffer.get_mut(at..).unwrap_or_default();
        match &mut self.state {
            State::Sniffing(_) => Ok(()),
            State::Plain(held) => {
                progress.produced = copy(held.unsent(), out);
                held.sent += progress.produced;
                if held.unsent().is_empty() {
                    let copied = copy(rest, out.get_mut(progress.produced..).unwrap_or_default());
                    progress.produced += copied;
                    progress.consumed += copied;
                }
                Ok(())
            }
            State::Gzip(gzip) => Ok(gzip.decode(rest, buffer, at, progress)?),
            State::Zstd(zstd) => zstd.decode(rest, out, progress),
        }
    }

    /// How much of what it gave must stand in front of what comes next: at most 32 KiB.
    #[must_use]
    pub fn reaches(&self) -> usize {
        match &self.state {
            State::Gzip(gzip) => gzip.reaches(),
            State::Sniffing(_) | State::Plain(_) | State::Zstd(_) => 0,
        }
    }

    /// Whether a gzip member may begin here.
    #[must_use]
    pub const fn at_border(&self) -> bool {
        match &self.state {
            State::Sniffing(held) => held.len == 0,
            State::Gzip(gzip) => gzip.at_member_end() && self.fault.is_none(),
            State::Plain(_) | State::Zstd(_) => false,
        }
    }

    /// Passes over so many stored bytes at a border: whole members, which were decoded elsewhere.
    pub fn pass(&mut self, stored: u64) {
        debug_assert!(self.at_border());
        if let State::Sniffing(_) = self.state {
            let mut gzip = Box::new(Gzip::new(self.engine));
            gzip.halt(self.halts);
            self.state = State::Gzip(gzip);
        }
        self.taken += stored;
        self.pending = false;
    }

    /// Whether there may be output left that needs no further input: call [`Self::decode`] before [`Self::finish`].
    #[must_use]
    pub const fn pending(&self) -> bool {
        self.pending
    }

    /// Stored bytes taken so far.
    #[must_use]
    pub const fn consumed(&self) -> u64 {
        self.taken
    }

    /// The container, once its first bytes have been seen.
    #[must_use]
    pub const fn container(&self) -> Option<Container> {
        match self.state {
            State::Sniffing(_) => None,
            State::Plain(_) => Some(Container::Plain),
            State::Gzip(_) => Some(Container::Gzip),
            State::Zstd(_) => Some(Container::Zstd),
        }
    }

    /// Says that there is no more input, after all output was taken. An object without bytes is fine, and decodes to
    /// nothing. One to three bytes that could have become a container count as a container cut short.
    ///
    /// # Errors
    /// [`DecodeFault::Truncated`] within a member or frame; an earlier fault again.
    pub fn finish(&mut self) -> Result<(), DecodeFault> {
        if let Some(fault) = self.fault {
            return Err(fault);
        }
        let whole = match &self.state {
            State::Sniffing(held) => held.all().is_empty(),
            State::Plain(held) => held.unsent().is_empty(),
            State::Gzip(gzip) => gzip.at_member_end(),
            State::Zstd(zstd) => zstd.at_frame_end(),
        };
        if whole { Ok(()) } else { Err(DecodeFault::Truncated { at: self.taken }) }
    }
}

impl State {
    /// The state for `container`, which has been given the bytes that told it. They are magic bytes only, so no
    /// container can answer them with output.
    fn begin(container: Container, held: Held, window_bytes: u64, engine: Engine) -> Result<Self, Wrong> {
        let mut progress = Progress::default();
        let state = match container {
            Container::Plain => Self::Plain(held),
            Container::Gzip => {
                let mut gzip = Box::new(Gzip::new(engine));
                gzip.decode(held.all(), &mut [], 0, &mut progress)?;
                Self::Gzip(gzip)
            }
            Container::Zstd => {
                let mut zstd = Zstd::new(window_bytes)?;
                zstd.decode(held.all(), &mut [], &mut progress)?;
                Self::Zstd(zstd)
            }
        };
        debug_assert!(container == Container::Plain || progress.consumed == held.len);
        Ok(state)
    }
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    let len = from.len().min(to.len());
    if let (Some(from), Some(to)) = (from.get(..len), to.get_mut(..len)) {
        to.copy_from_slice(from);
    }
    len
}

#[cfg(test)]
mod tests;
