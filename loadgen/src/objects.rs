//! Objects as Vector writes them to S3, and what is expected to come out of them.
//!
//! An object is a function of the spec and its number: any object can be made at any time, on any thread, and
//! [`ObjectSource::expected`] draws the same numbers again to regenerate each event's time and message, without
//! its record and without keeping anything. So a check of a terabyte needs no more memory than a check of a line.
//!
//! Objects of one pod follow each other in number, key and time: the events of a round (one object of every pod) all lie
//! within [`ObjectSpec::round_ms`], and in each object times never go back.

use std::io::Write;
use std::ops::Range;

use fastrand::Rng;
use flate2::write::GzEncoder;

use crate::SpecError;
use crate::fleet::{Fleet, KeyLayout, Names, Roster};
use crate::formats::{Pen, Writer, uuid};
use crate::lines::MessageSpec;
use crate::record::Frame;
use crate::stamp::{DEFAULT_START_MS, Stamp};
use crate::text::Depth;

/// Plain text is compressed in pieces of this size, which stay in the second-level cache between writing and reading.
const PIECE_BYTES: usize = 128 << 10;

/// The last millisecond that four-digit years can name.
const LAST_MS: u64 = 253_402_300_799_999;

/// How records stand beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One array on one line: what Vector's default gives.
    Array,
    /// A record a line.
    Lines,
}

/// How large each object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectSize {
    /// Exactly so many records.
    Records(u64),
    /// Records until the decompressed bytes reach this.
    Bytes(u64),
}

/// How the body is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As it is; keys end `.json`.
    None,
    /// gzip of level 1 to 9; keys end `.json.gz`.
    Gzip(u32),
}

/// What objects are made.
#[derive(Clone, Debug)]
pub struct ObjectSpec {
    /// Same seed and spec, same bytes.
    pub seed: u64,
    /// How many objects.
    pub objects: u64,
    /// How large each is.
    pub size: ObjectSize,
    /// How records stand beside each other.
    pub framing: Framing,
    /// How the body is stored.
    pub compression: Compression,
    /// Whose logs they are; objects go round the pods, tenants changing fastest.
    pub fleet: Fleet,
    /// Folders of the keys.
    pub layout: KeyLayout,
    /// What messages look like.
    pub message: MessageSpec,
    /// Whether records carry `customer_id`.
    pub customer_id: bool,
    /// Time of the first events, milliseconds since 1970.
    pub start_ms: i64,
    /// Most time that one object's events span; the next object of the same pod begins that much later.
    pub round_ms: u64,
    /// Mean time between an object's events.
    pub step_us: u32,
}

impl Default for ObjectSpec {
    fn default() -> Self {
        Self {
            seed: 0,
            objects: 10,
            size: ObjectSize::Bytes(1_000_000),
            framing: Framing::Array,
            compression: Compression::Gzip(1),
            fleet: Fleet::default(),
            layout: KeyLayout::default(),
            message: MessageSpec::default(),
            customer_id: true,
            start_ms: DEFAULT_START_MS,
            round_ms: 60_000,
            step_us: 1000,
        }
    }
}

/// Which object of a source, and how many records it has: all that regenerating its events needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Recipe {
    /// The object's number, from 0.
    pub number: u64,
    /// Its records.
    pub records: u64,
}

/// One object.
#[derive(Clone, Debug)]
pub struct GeneratedObject {
    /// Its key.
    pub key: String,
    /// Its bytes as stored.
    pub body: Vec<u8>,
    /// Its number and records.
    pub recipe: Recipe,
    /// Size of the body when decompressed.
    pub decompressed_bytes: u64,
    /// Whose it is.
    pub tenant: String,
    /// The cluster it came from.
    pub cluster: String,
    /// The application that wrote it.
    pub application: String,
    /// The pod that wrote it.
    pub pod: String,
}

/// Makes objects. Immutable: threads may share one.
#[derive(Debug)]
pub struct ObjectSource {
    spec: ObjectSpec,
    writer: Writer,
    roster: Roster,
    places: u64,
}

impl ObjectSource {
    /// Checks `spec` and renders the vocabulary.
    ///
    /// # Errors
    /// A [`SpecError`] that names what is wrong.
    pub fn new(spec: ObjectSpec) -> Result<Self, SpecError> {
        if let Compression::Gzip(level) = spec.compression
            && !(1..=9).contains(&level)
        {
            return Err(SpecError::Level { given: level });
        }
        let roster = Roster::new(&spec.fleet)?;
        let places = u64::try_from(roster.places()).unwrap_or(u64::MAX);
        let source = Self { writer: Writer::new(&spec.message)?, roster, places, spec };
        let start = u64::try_from(source.spec.start_ms).map_err(|_| SpecError::Times)?;
        let end = source.rounds().checked_mul(source.spec.round_ms).and_then(|span| span.checked_add(start));
        if end.is_none_or(|end| end > LAST_MS) { Err(SpecError::Times) } else { Ok(source) }
    }

    /// What was asked for.
    #[must_use]
    pub fn spec(&self) -> &ObjectSpec {
        &self.spec
    }

    /// How many objects there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.spec.objects
    }

    /// Objects of the pod that has most. All events lie in the `rounds() × round_ms` milliseconds from the start on.
    #[must_use]
    pub fn rounds(&self) -> u64 {
        self.spec.objects.div_ceil(self.places)
    }

    /// The objects of a range of numbers, in order. Numbers beyond [`Self::count`] are left out.
    pub fn objects(&self, numbers: Range<u64>) -> Objects<'_> {
        let numbers = numbers.start..numbers.end.min(self.spec.objects);
        Objects { source: self, numbers, frame: Frame::default(), piece: Vec::with_capacity(2 * PIECE_BYTES) }
    }

    /// The events of an object again, one after the other.
    #[must_use]
    pub fn expected(&self, recipe: Recipe) -> ExpectedEvents<'_> {
        let names = self.names(recipe.number);
        let hand = Hand::new(self, recipe.number);
        ExpectedEvents { source: self, names, hand, left: recipe.records, message: Vec::new() }
    }

    fn place(&self, number: u64) -> usize {
        usize::try_from(number % self.places).unwrap_or(0)
    }

    fn names(&self, number: u64) -> Names<'_> {
        self.roster.names(self.roster.place(self.place(number)))
    }
}

/// What changes from record to record, for making an object and for expecting its events alike.
#[derive(Debug)]
struct Hand {
    pen: Pen,
    micros: u64,
    /// The time that events may not pass.
    end: u64,
    step: u32,
}

impl Hand {
    fn new(source: &ObjectSource, number: u64) -> Self {
        let spec = &source.spec;
        let rng = Rng::with_seed(mix(spec.seed, number, 1));
        let start = u64::try_from(spec.start_ms).unwrap_or(0) + number / source.places * spec.round_ms;
        let next_real = match spec.size {
            // The first lines of an object follow the last of the object before it, so all of them are used.
            ObjectSize::Records(records) => number.wrapping_mul(records),
            ObjectSize::Bytes(_) => mix(spec.seed, number, 2),
        };
        let next_real = spec.message.from.as_ref().map_or(0, |real| {
            let lines = u64::try_from(real.pool.len()).unwrap_or(u64::MAX);
            usize::try_from(next_real % lines).unwrap_or(0)
        });
        let micros = start.saturating_mul(1000);
        let end = (start + spec.round_ms.saturating_sub(1)).saturating_mul(1000);
        Self { pen: Pen { rng, next_real, stamp: Stamp::at(micros) }, micros, end, step: spec.step_us }
    }

    /// Goes on to the next record's time, and draws what hangs on the record alone.
    #[inline]
    fn advance(&mut self) -> u32 {
        let step = self.pen.rng.u32(0..=self.step.saturating_mul(2));
        self.micros = (self.micros + u64::from(step)).min(self.end);
        self.pen.stamp.set(self.micros);
        self.pen.rng.u32(..)
    }
}

/// A seed for one purpose of one object (the finalizer of splitmix64, over each part).
fn mix(seed: u64, number: u64, purpose: u64) -> u64 {
    let scramble = |value: u64| {
        let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    };
    scramble(scramble(scramble(seed).wrapping_add(number)).wrapping_add(purpose))
}

/// An iterator of objects. It keeps its buffers from object to object.
#[derive(Debug)]
pub struct Objects<'a> {
    source: &'a ObjectSource,
    numbers: Range<u64>,
    frame: Frame,
    piece: Vec<u8>,
}

impl Iterator for Objects<'_> {
    type Item = GeneratedObject;

    fn next(&mut self) -> Option<GeneratedObject> {
        let number = self.numbers.next()?;
        let source = self.source;
        let names = source.names(number);
        let mut rng = Rng::with_seed(mix(source.spec.seed, number, 0));
        self.frame.open(&names, source.spec.customer_id, &mut rng);
        let mut hand = Hand::new(source, number);
        let mut sink = Sink::new(&source.spec);
        let records = self.records(&names, &mut hand, &mut sink);

        let text = |phrase: &crate::text::Phrase| String::from_utf8_lossy(phrase.at(Depth::Raw)).into_owned();
        let [tenant, cluster, application, pod] = [names.tenant, names.cluster, names.application, names.pod].map(text);
        let mut file = Vec::with_capacity(64);
        hand.pen.stamp.file_name(&mut file);
        file.push(b'-');
        uuid(&mut rng, &mut file);
        let folders = source.spec.layout.folders([&tenant, &cluster, &application, &pod]);
        let suffix = match source.spec.compression {
            Compression::None => ".json",
            Compression::Gzip(_) => ".json.gz",
        };
        let key = [&folders, "/", &String::from_utf8_lossy(&file), suffix].concat();
        let decompressed_bytes = sink.taken;
        let recipe = Recipe { number, records };
        Some(GeneratedObject {
            key,
            body: sink.finish(),
            recipe,
            decompressed_bytes,
            tenant,
            cluster,
            application,
            pod,
        })
    }
}

impl Objects<'_> {
    /// Writes the records of one object and says how many they were.
    fn records(&mut self, names: &Names<'_>, hand: &mut Hand, sink: &mut Sink) -> u64 {
        let (source, frame, piece) = (self.source, &self.frame, &mut self.piece);
        let array = source.spec.framing == Framing::Array;
        piece.clear();
        if array {
            piece.push(b'[');
        }
        let mut records = 0;
        loop {
            let written = sink.taken + u64::try_from(piece.len()).unwrap_or(u64::MAX);
            let full = match source.spec.size {
                ObjectSize::Records(wanted) => records >= wanted,
                ObjectSize::Bytes(wanted) => written >= wanted,
            };
            if full {
                break;
            }
            if array && records > 0 {
                piece.push(b',');
            }
            let lag = hand.advance();
            frame.before_message(&hand.pen.stamp, lag, piece);
            let written = source.writer.write(&mut hand.pen, names, Depth::Once, piece);
            frame.behind_message(written.stderr, &hand.pen.stamp, piece);
            if !array {
                piece.push(b'\n');
            }
            records += 1;
            if piece.len() >= PIECE_BYTES {
                sink.take(piece);
            }
        }
        if array {
            piece.push(b']');
        }
        sink.take(piece);
        records
    }
}

/// Where plain text goes.
#[derive(Debug)]
struct Sink {
    body: Body,
    taken: u64,
}

#[derive(Debug)]
enum Body {
    Plain(Vec<u8>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
}

impl Sink {
    fn new(spec: &ObjectSpec) -> Self {
        let body = match spec.compression {
            Compression::None => Body::Plain(Vec::new()),
            Compression::Gzip(level) => {
                Body::Gzip(Box::new(GzEncoder::new(Vec::new(), flate2::Compression::new(level))))
            }
        };
        Self { body, taken: 0 }
    }

    /// Takes a piece of text and leaves its buffer empty.
    fn take(&mut self, piece: &mut Vec<u8>) {
        self.taken += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        match &mut self.body {
            Body::Plain(body) => body.append(piece),
            Body::Gzip(encoder) => {
                let Ok(()) = encoder.write_all(piece) else { unreachable!("a Vec takes every write") };
            }
        }
        piece.clear();
    }

    fn finish(self) -> Vec<u8> {
        match self.body {
            Body::Plain(body) => body,
            Body::Gzip(encoder) => {
                let Ok(body) = encoder.finish() else { unreachable!("a Vec takes every write") };
                body
            }
        }
    }
}

/// One event as it must arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExpectedEvent<'a> {
    /// Its record's `timestamp`, milliseconds since 1970.
    pub timestamp_ms: i64,
    /// Its record's `message`, unescaped; always UTF-8.
    pub message: &'a [u8],
}

/// The events of one object, in the order of its records.
#[derive(Debug)]
pub struct ExpectedEvents<'a> {
    source: &'a ObjectSource,
    names: Names<'a>,
    hand: Hand,
    left: u64,
    message: Vec<u8>,
}

impl ExpectedEvents<'_> {
    /// The next event. It borrows one buffer that all events share.
    pub fn next_event(&mut self) -> Option<ExpectedEvent<'_>> {
        self.left = self.left.checked_sub(1)?;
        let _ = self.hand.advance();
        self.message.clear();
        self.source.writer.write(&mut self.hand.pen, &self.names, Depth::Raw, &mut self.message);
        let timestamp_ms = i64::try_from(self.hand.micros / 1000).unwrap_or(i64::MAX);
        Some(ExpectedEvent { timestamp_ms, message: &self.message })
    }
}
