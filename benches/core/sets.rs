//! What is measured: objects as collectors store them, of records long and short, in lines and in arrays, plain and escaped.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression as Level;
use flate2::write::GzEncoder;
use loadgen::{Compression, Format, Framing, LineSpec, Lines, MessageSpec, ObjectSize, ObjectSource, ObjectSpec};

/// Decompressed bytes of one object: many windows and several batches.
const OBJECT_BYTES: u64 = 4 << 20;
/// What Vector's gzip uses when its configuration names no level.
const VECTOR_GZIP_LEVEL: u32 = 6;
/// Message lengths with which a record has 1.7 KB; 1.2 KB.
const LONG_BYTES: (usize, usize) = (400, 900);
const MIDDLE_BYTES: (usize, usize) = (80, 240);
/// The same for 280 bytes, of a record without the pod's metadata; 200 bytes.
const SHORT_BYTES: (usize, usize) = (60, 150);
const SHORTEST_BYTES: (usize, usize) = (10, 40);

/// A kind of objects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Vector's records of 1.7 KB, one a line.
    Long,
    /// Records of 280 bytes, one a line.
    Short,
    /// As `Long`, but all in one array on one line.
    Array,
    /// Messages that are JSON themselves: an escape every few bytes.
    Escaped,
    /// As `Long`, of 1.2 KB.
    Middle,
    /// As `Short`, of 200 bytes.
    Shortest,
}

impl Kind {
    /// All that is measured in every way.
    pub(crate) const ALL: [Self; 4] = [Self::Long, Self::Short, Self::Array, Self::Escaped];
    /// Those that are beside their ceiling alone, to see what a record's length does.
    pub(crate) const SHORTER: [Self; 2] = [Self::Middle, Self::Shortest];

    /// As figures are named.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Long => "core_long",
            Self::Short => "core_short",
            Self::Array => "core_array",
            Self::Escaped => "core_escaped",
            Self::Middle => "core_long_1200",
            Self::Shortest => "core_short_200",
        }
    }

    /// How near to the ceiling it should be.
    pub(crate) const fn target(self) -> f64 {
        match self {
            Self::Long | Self::Middle => 0.80,
            Self::Short | Self::Shortest => 0.55,
            Self::Array => 0.75,
            Self::Escaped => 0.50,
        }
    }
}

/// Objects as stored.
#[derive(Debug, Default)]
pub(crate) struct Set {
    /// The gzip bytes of each.
    pub(crate) stored: Vec<Bytes>,
    /// Decompressed bytes of all.
    pub(crate) bytes: u64,
    /// Decompressed bytes of the largest.
    pub(crate) largest: usize,
    /// Records of all.
    pub(crate) records: u64,
    /// Records of each.
    pub(crate) counts: Vec<u64>,
}

impl Set {
    /// So many objects of a kind.
    pub(crate) fn of(kind: Kind, objects: u64) -> Self {
        let generated = |framing, format, bytes| {
            let (size, message) = (ObjectSize::Bytes(OBJECT_BYTES), message(format, bytes));
            Self::generated(ObjectSpec { objects, size, framing, message, ..ObjectSpec::default() })
        };
        match kind {
            Kind::Long => generated(Framing::Lines, Format::Mixed, LONG_BYTES),
            Kind::Middle => generated(Framing::Lines, Format::Mixed, MIDDLE_BYTES),
            Kind::Array => generated(Framing::Array, Format::Mixed, LONG_BYTES),
            Kind::Escaped => generated(Framing::Lines, Format::JsonTime, LONG_BYTES),
            Kind::Short => Self::bare(objects, SHORT_BYTES),
            Kind::Shortest => Self::bare(objects, SHORTEST_BYTES),
        }
    }

    /// Objects as of [`Kind::Long`], of so many decompressed bytes each, whose events begin at a time, each object's a second
    /// after those of the one before.
    pub(crate) fn since(start_ms: i64, objects: u64, object_bytes: u64) -> Self {
        let (message, size) = (message(Format::Mixed, LONG_BYTES), ObjectSize::Bytes(object_bytes));
        Self::generated(ObjectSpec {
            objects,
            size,
            message,
            start_ms,
            round_ms: 1_000,
            framing: Framing::Lines,
            ..ObjectSpec::default()
        })
    }

    /// What `spec` says, as Vector compresses it.
    fn generated(spec: ObjectSpec) -> Self {
        let objects = spec.objects;
        let spec = ObjectSpec { compression: Compression::Gzip(VECTOR_GZIP_LEVEL), ..spec };
        let source = ObjectSource::new(spec).unwrap();
        let mut set = Self::default();
        for object in source.objects(0..objects) {
            set.add(object.body.into(), object.decompressed_bytes, object.recipe.records);
        }
        set
    }

    /// So many objects of records without the pod's metadata, with messages of so many bytes.
    pub(crate) fn bare(objects: u64, message_bytes: (usize, usize)) -> Self {
        let spec = LineSpec { message: message(Format::Mixed, message_bytes), ..LineSpec::default() };
        let mut lines = Lines::new(&spec).unwrap();
        let mut micros = u64::try_from(loadgen::DEFAULT_START_MS).unwrap() * 1000;
        let mut set = Self::default();
        let (mut line, mut text) = (Vec::new(), Vec::new());
        for _ in 0..objects {
            text.clear();
            let mut records = 0;
            while (text.len() as u64) < OBJECT_BYTES {
                micros += 1_000;
                line.clear();
                lines.append(micros, &mut line);
                let message = serde_json::to_string(std::str::from_utf8(line.trim_ascii_end()).unwrap()).unwrap();
                let at = format!(
                    "2025-09-01T12:{:02}:{:02}.{:06}Z",
                    micros / 60_000_000 % 60,
                    micros / 1_000_000 % 60,
                    micros % 1_000_000
                );
                writeln!(text, "{{\"message\":{message},\"stream\":\"stdout\",\"timestamp\":\"{at}\"}}").unwrap();
                records += 1;
            }
            let mut gzip = GzEncoder::new(Vec::new(), Level::new(VECTOR_GZIP_LEVEL));
            gzip.write_all(&text).unwrap();
            set.add(gzip.finish().unwrap().into(), text.len() as u64, records);
        }
        set
    }

    /// Adds an object.
    pub(crate) fn add(&mut self, stored: Bytes, bytes: u64, records: u64) {
        self.stored.push(stored);
        self.bytes += bytes;
        self.largest = self.largest.max(usize::try_from(bytes).unwrap());
        self.records += records;
        self.counts.push(records);
    }
}

fn message(format: Format, (min_bytes, max_bytes): (usize, usize)) -> MessageSpec {
    MessageSpec { format, min_bytes, max_bytes, ..MessageSpec::default() }
}

/// The objects without their container.
pub(crate) fn plain(set: &Set) -> Set {
    let text = |object: &Bytes| {
        let mut text = Vec::with_capacity(set.largest);
        std::io::Read::read_to_end(&mut flate2::read::MultiGzDecoder::new(&object[..]), &mut text).unwrap();
        Bytes::from(text)
    };
    Set { stored: set.stored.iter().map(text).collect(), counts: set.counts.clone(), ..*set }
}
