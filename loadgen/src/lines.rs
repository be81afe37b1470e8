//! Messages, and lines of them.
//!
//! A message is an opening phrase, details until none fits, and plain words up to the exact length that was drawn. The
//! details come from a [`Pool`] rendered at the start; about one in ten carries quotes, backslashes, tabs, an escape
//! sequence or letters beyond ASCII, as real logs do.

use std::sync::Arc;

use fastrand::Rng;

use crate::SpecError;
use crate::fleet::{Fleet, Roster};
use crate::formats::{Format, Pen, Writer};
use crate::stamp::Stamp;
use crate::text::{Depth, Pool, RealLines};
use crate::vocabulary;

/// Most bytes that `max_bytes` may ask of one message.
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// What messages look like.
#[derive(Clone, Debug)]
pub struct MessageSpec {
    /// The line around the message.
    pub format: Format,
    /// Fewest bytes of an invented message, before escaping.
    pub min_bytes: usize,
    /// Most bytes of an invented message.
    pub max_bytes: usize,
    /// Whether errors carry a stack trace of several lines.
    pub multiline: bool,
    /// Real lines, used in their order instead of invented messages.
    pub from: Option<Arc<RealLines>>,
}

impl Default for MessageSpec {
    fn default() -> Self {
        Self { format: Format::Mixed, min_bytes: 100, max_bytes: 1024, multiline: false, from: None }
    }
}

/// How bad it is: DEBUG 30 %, INFO 50 %, WARN 15 %, ERROR 5 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Level {
    Debug,
    Info,
    Warn,
    Error,
}

impl Level {
    #[inline]
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        match rng.u32(..100) {
            0..30 => Self::Debug,
            30..80 => Self::Info,
            80..95 => Self::Warn,
            _ => Self::Error,
        }
    }

    pub(crate) fn upper(self) -> &'static [u8] {
        match self {
            Self::Debug => b"DEBUG",
            Self::Info => b"INFO",
            Self::Warn => b"WARN",
            Self::Error => b"ERROR",
        }
    }

    pub(crate) fn lower(self) -> &'static [u8] {
        match self {
            Self::Debug => b"debug",
            Self::Info => b"info",
            Self::Warn => b"warn",
            Self::Error => b"error",
        }
    }
}

/// Writes messages.
#[derive(Debug)]
pub(crate) struct Author {
    modules: Pool,
    operations: Pool,
    openings: Pool,
    requests: Pool,
    details: Pool,
    traces: Pool,
    /// Plain words, the same at any depth, so that they may be cut anywhere.
    filler: Vec<u8>,
    /// Where words begin in the first half of `filler`.
    word_starts: Vec<usize>,
    min_bytes: usize,
    max_bytes: usize,
    multiline: bool,
    from: Option<Arc<RealLines>>,
}

const CONTEXT: &[u8] = b" Additional context: ";

impl Author {
    pub(crate) fn new(spec: &MessageSpec) -> Result<Self, SpecError> {
        let (min, max) = (spec.min_bytes, spec.max_bytes);
        if min > max || max == 0 || max > MESSAGE_BYTES_MAX {
            return Err(SpecError::MessageBytes { min, max, limit: MESSAGE_BYTES_MAX });
        }
        // The vocabulary is the same for every seed: a seed chooses among the words, it does not make them.
        let mut rng = Rng::with_seed(0x6d69_6c6c_7261_6365);
        let filler = vocabulary::filler(&mut rng);
        let starts = filler.iter().enumerate().filter(|(at, byte)| **byte == b' ' && *at < filler.len() / 2);
        let word_starts = starts.map(|(space, _)| space + 1).collect();
        Ok(Self {
            modules: Pool::new(vocabulary::MODULES),
            operations: Pool::new(vocabulary::OPERATIONS),
            openings: Pool::new(vocabulary::OPENINGS),
            requests: Pool::new(vocabulary::requests(&mut rng)),
            details: Pool::new(vocabulary::details(&mut rng)),
            traces: Pool::new(vocabulary::traces(&mut rng)),
            filler,
            word_starts,
            min_bytes: min.max(1),
            max_bytes: max,
            multiline: spec.multiline,
            from: spec.from.clone(),
        })
    }

    pub(crate) fn has_real_lines(&self) -> bool {
        self.from.is_some()
    }

    /// A dotted module name; it needs no escaping.
    #[inline]
    pub(crate) fn module(&self, rng: &mut Rng) -> &[u8] {
        self.modules.at(self.modules.pick(rng), Depth::Raw)
    }

    /// `module: operation - message`, or a real line alone.
    #[inline]
    pub(crate) fn with_context(&self, pen: &mut Pen, level: Level, depth: Depth, out: &mut Vec<u8>) {
        if self.from.is_none() {
            out.extend_from_slice(self.module(&mut pen.rng));
            out.extend_from_slice(b": ");
            out.extend_from_slice(self.operations.at(self.operations.pick(&mut pen.rng), Depth::Raw));
            out.extend_from_slice(b" - ");
        }
        self.message(pen, level, depth, out);
    }

    /// An invented message, or the next real line.
    #[inline]
    pub(crate) fn message(&self, pen: &mut Pen, level: Level, depth: Depth, out: &mut Vec<u8>) {
        match &self.from {
            Some(real) => {
                let number = pen.next_real % real.pool.len();
                pen.next_real = number + 1;
                out.extend_from_slice(real.pool.at(number, depth));
            }
            None => self.compose(&self.openings, pen, level, depth, out),
        }
    }

    /// A message that opens as the API server's request log does.
    #[inline]
    pub(crate) fn structured(&self, pen: &mut Pen, level: Level, depth: Depth, out: &mut Vec<u8>) {
        self.compose(&self.requests, pen, level, depth, out);
    }

    fn compose(&self, openings: &Pool, pen: &mut Pen, level: Level, depth: Depth, out: &mut Vec<u8>) {
        let rng = &mut pen.rng;
        let mut left = rng.usize(self.min_bytes..=self.max_bytes);
        let opening = openings.pick(rng);
        if openings.raw_len(opening) < left {
            left -= openings.raw_len(opening);
            out.extend_from_slice(openings.at(opening, depth));
        }
        loop {
            let detail = self.details.pick(rng);
            let Some(rest) = left.checked_sub(self.details.raw_len(detail)).filter(|rest| *rest > 0) else { break };
            left = rest;
            out.extend_from_slice(self.details.at(detail, depth));
        }
        left -= 1; // for the final period
        if left > CONTEXT.len() + 5 {
            out.extend_from_slice(CONTEXT);
            left -= CONTEXT.len();
        } else if left > 0 {
            out.push(b' ');
            left -= 1;
        }
        while left > 0 {
            let words = &self.filler[self.word_starts[rng.usize(..self.word_starts.len())]..];
            let words = &words[..left.min(words.len())];
            out.extend_from_slice(words);
            left -= words.len();
        }
        out.push(b'.');
        if self.multiline && level == Level::Error {
            out.extend_from_slice(self.traces.at(self.traces.pick(rng), depth));
        }
    }
}

/// What [`Lines`] writes.
#[derive(Clone, Debug, Default)]
pub struct LineSpec {
    /// Same seed, same lines.
    pub seed: u64,
    /// What messages look like.
    pub message: MessageSpec,
    /// Whose lines they are; each line comes from a source drawn at random.
    pub fleet: Fleet,
}

/// Endless log lines.
///
/// ```
/// let mut lines = loadgen::Lines::new(&loadgen::LineSpec { seed: 7, ..Default::default() })?;
/// let mut out = Vec::new();
/// lines.append(1_756_684_800_000_000, &mut out);
/// assert!(out.ends_with(b"\n"));
/// # Ok::<(), loadgen::SpecError>(())
/// ```
#[derive(Debug)]
pub struct Lines {
    writer: Writer,
    roster: Roster,
    places: usize,
    pen: Pen,
}

impl Lines {
    /// Checks `spec` and renders the vocabulary.
    ///
    /// # Errors
    /// A [`SpecError`] that names what is wrong.
    pub fn new(spec: &LineSpec) -> Result<Self, SpecError> {
        let roster = Roster::new(&spec.fleet)?;
        Ok(Self {
            writer: Writer::new(&spec.message)?,
            places: roster.places(),
            roster,
            pen: Pen { rng: Rng::with_seed(spec.seed), next_real: 0, stamp: Stamp::at(0) },
        })
    }

    /// Appends one record with its line end, written as of `micros` since 1970. With stack traces in a text format it is
    /// several lines long.
    #[inline]
    pub fn append(&mut self, micros: u64, out: &mut Vec<u8>) {
        self.pen.stamp.set(micros);
        let number = if self.places == 1 { 0 } else { self.pen.rng.usize(..self.places) };
        let names = self.roster.names(self.roster.place(number));
        self.writer.write(&mut self.pen, &names, Depth::Raw, out);
        out.push(b'\n');
    }
}
