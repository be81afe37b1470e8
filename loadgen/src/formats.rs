//! The shapes of a log line: where its time, level and message stand.
//!
//! A [`Writer`] puts a line down at a [`Depth`]: by itself, or as the inside of a JSON string in an object's record. The
//! random draws are the same at any depth, so the raw text of a record's message can be regenerated without its record.

use fastrand::Rng;

use crate::SpecError;
use crate::fleet::Names;
use crate::lines::{Author, Level, MessageSpec};
use crate::stamp::{Stamp, decimal};
use crate::text::{Depth, Phrase, Pool};

/// How a line is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// JSON with `ts`, as etcd writes.
    JsonTs,
    /// JSON with `time`.
    JsonTime,
    /// An ISO time, then the message.
    IsoDirect,
    /// `time="…" level=… msg="…"`.
    TimeEquals,
    /// klog: `I0830 11:27:01.564974       1 controller.go:231] …`.
    Kubernetes,
    /// Go's log package: `2025/08/30 10:33:20 …`.
    GoStandard,
    /// The six formats above, each as likely.
    Mixed,
    /// The JSON record with customer, cluster, application and pod that the first generator wrote.
    Seed,
    /// The message alone.
    Plain,
}

impl Format {
    /// Every format.
    pub const ALL: [Self; 9] = [
        Self::JsonTs,
        Self::JsonTime,
        Self::IsoDirect,
        Self::TimeEquals,
        Self::Kubernetes,
        Self::GoStandard,
        Self::Mixed,
        Self::Seed,
        Self::Plain,
    ];

    const MIXED: [Self; 6] =
        [Self::JsonTs, Self::JsonTime, Self::IsoDirect, Self::TimeEquals, Self::Kubernetes, Self::GoStandard];

    /// The name that `--timestamp-format` takes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JsonTs => "json_ts",
            Self::JsonTime => "json_time",
            Self::IsoDirect => "iso_direct",
            Self::TimeEquals => "time_equals",
            Self::Kubernetes => "kubernetes",
            Self::GoStandard => "go_standard",
            Self::Mixed => "mixed",
            Self::Seed => "seed",
            Self::Plain => "plain",
        }
    }

    /// One line about it, for `--list-formats`.
    #[must_use]
    pub fn about(self) -> &'static str {
        match self {
            Self::JsonTs => "JSON logs with a ts field (etcd)",
            Self::JsonTime => "JSON logs with a time field",
            Self::IsoDirect => "an ISO timestamp, then the message",
            Self::TimeEquals => "time=\"...\" level=... msg=\"...\"",
            Self::Kubernetes => "klog (I0830 11:27:01.564974 ...)",
            Self::GoStandard => "Go's log package (2025/08/30 10:33:20 ...)",
            Self::Mixed => "one of the above for each line, at random",
            Self::Seed => "JSON records with customer_id, cluster_id, application and pod_name",
            Self::Plain => "the message alone",
        }
    }

    /// The format of a name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// What a written line says about itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Written {
    /// Whether a program would have written it to its standard error.
    pub(crate) stderr: bool,
}

/// What changes while lines are written: everything a line depends on besides its source.
#[derive(Clone, Debug)]
pub(crate) struct Pen {
    pub(crate) rng: Rng,
    /// The next of the real lines, if there are any.
    pub(crate) next_real: usize,
    pub(crate) stamp: Stamp,
}

macro_rules! frames {
    ($($name:ident: $text:expr),+ $(,)?) => {
        /// The constant text between the changing parts.
        #[derive(Debug)]
        struct Frames { $($name: Phrase),+ }
        impl Frames {
            fn new() -> Self {
                Self { $($name: Phrase::new($text)),+ }
            }
        }
    };
}

frames! {
    ts: "{\"ts\":\"",
    time: "{\"time\":\"",
    timestamp: "{\"timestamp\":\"",
    level: "\",\"level\":\"",
    msg: "\",\"msg\":\"",
    message: "\",\"message\":\"",
    component: "\",\"component\":\"",
    source: "\",\"source\":\"",
    service: "\",\"service\":\"",
    host: "\",\"host\":\"",
    module: "\",\"module\":\"",
    line: "\",\"line\":",
    message_after_number: ",\"message\":\"",
    customer: "\",\"customer_id\":\"",
    cluster: "\",\"cluster_id\":\"",
    application: "\",\"application\":\"",
    pod: "\",\"pod_name\":\"",
    generator: "\",\"source\":\"fake-log-generator\"",
    additional: ",\"additional_data\":{\"request_id\":\"",
    session: "\",\"session_id\":\"",
    address: "\",\"ip_address\":\"",
    agent: "\",\"user_agent\":\"",
    end_additional: "\"}",
    end_string: "\"}",
    end: "}",
    time_equals: "time=\"",
    level_equals: "\" level=",
    msg_equals: " msg=\"",
    component_equals: "\" component=",
}

/// Writes lines of one format.
#[derive(Debug)]
pub(crate) struct Writer {
    author: Author,
    format: Format,
    frames: Frames,
    components: Pool,
    go_files: Pool,
    agents: Pool,
}

const ZONE: &[u8] = b"+00:00";

impl Writer {
    pub(crate) fn new(spec: &MessageSpec) -> Result<Self, SpecError> {
        Ok(Self {
            author: Author::new(spec)?,
            format: spec.format,
            frames: Frames::new(),
            components: Pool::new(["etcd", "ignition-server", "machine-config-daemon"]),
            go_files: Pool::new(["controller.go", "manager.go", "reconciler.go", "webhook.go"]),
            agents: Pool::new(AGENTS),
        })
    }

    /// Appends one line without its line end.
    #[inline]
    pub(crate) fn write(&self, pen: &mut Pen, names: &Names<'_>, depth: Depth, out: &mut Vec<u8>) -> Written {
        let mut format = self.format;
        if format == Format::Mixed {
            format = Format::MIXED[pen.rng.usize(..Format::MIXED.len())];
        }
        let level = Level::draw(&mut pen.rng);
        match format {
            Format::JsonTs | Format::Mixed => self.json_ts(pen, level, names, depth, out),
            Format::JsonTime => self.json_time(pen, level, names, depth, out),
            Format::IsoDirect => {
                pen.stamp.iso(6, b"Z ", out);
                self.author.with_context(pen, level, depth, out);
            }
            Format::TimeEquals => self.time_equals(pen, level, names, depth, out),
            Format::Kubernetes => self.klog(pen, level, depth, out),
            Format::GoStandard => {
                pen.stamp.go(out);
                out.push(b' ');
                self.author.with_context(pen, level, depth, out);
            }
            Format::Seed => self.seed(pen, level, names, depth, out),
            Format::Plain => self.author.message(pen, level, depth, out),
        }
        Written { stderr: format == Format::Kubernetes || level == Level::Error }
    }

    fn json_ts(&self, pen: &mut Pen, level: Level, names: &Names<'_>, depth: Depth, out: &mut Vec<u8>) {
        let frames = &self.frames;
        out.extend_from_slice(frames.ts.at(depth));
        pen.stamp.iso(6, ZONE, out);
        out.extend_from_slice(frames.level.at(depth));
        out.extend_from_slice(level.lower());
        out.extend_from_slice(frames.msg.at(depth));
        self.author.with_context(pen, level, depth.deeper(), out);
        out.extend_from_slice(frames.component.at(depth));
        out.extend_from_slice(self.components.at(self.components.pick(&mut pen.rng), depth.deeper()));
        out.extend_from_slice(frames.source.at(depth));
        out.extend_from_slice(names.application.at(depth.deeper()));
        out.extend_from_slice(frames.end_string.at(depth));
    }

    fn json_time(&self, pen: &mut Pen, level: Level, names: &Names<'_>, depth: Depth, out: &mut Vec<u8>) {
        let frames = &self.frames;
        out.extend_from_slice(frames.time.at(depth));
        pen.stamp.iso(6, ZONE, out);
        out.extend_from_slice(frames.level.at(depth));
        out.extend_from_slice(level.upper());
        out.extend_from_slice(frames.message.at(depth));
        self.author.with_context(pen, level, depth.deeper(), out);
        out.extend_from_slice(frames.service.at(depth));
        out.extend_from_slice(names.application.at(depth.deeper()));
        out.extend_from_slice(frames.host.at(depth));
        out.extend_from_slice(names.pod.at(depth.deeper()));
        out.extend_from_slice(frames.end_string.at(depth));
    }

    fn time_equals(&self, pen: &mut Pen, level: Level, names: &Names<'_>, depth: Depth, out: &mut Vec<u8>) {
        let frames = &self.frames;
        out.extend_from_slice(frames.time_equals.at(depth));
        pen.stamp.iso(6, ZONE, out);
        out.extend_from_slice(frames.level_equals.at(depth));
        out.extend_from_slice(level.lower());
        out.extend_from_slice(frames.msg_equals.at(depth));
        self.author.with_context(pen, level, depth.deeper(), out);
        out.extend_from_slice(frames.component_equals.at(depth));
        out.extend_from_slice(names.application.at(depth));
    }

    /// Six fractional digits and the thread in seven columns, as klog writes and collectors expect.
    fn klog(&self, pen: &mut Pen, level: Level, depth: Depth, out: &mut Vec<u8>) {
        out.push(match level {
            Level::Debug | Level::Info => b'I',
            Level::Warn => b'W',
            Level::Error => b'E',
        });
        pen.stamp.klog(out);
        let thread = pen.rng.u32(1..=999);
        out.extend_from_slice(match thread {
            0..=9 => b"       ",
            10..=99 => b"      ",
            _ => b"     ",
        });
        decimal(thread, out);
        out.push(b' ');
        // Every other line is structured, as half of the API server's are: "HTTP" verb="GET" URI="/livez" …
        let structured = !self.author.has_real_lines() && pen.rng.bool();
        if structured {
            out.extend_from_slice(b"httplog.go:");
        } else {
            out.extend_from_slice(self.go_files.at(self.go_files.pick(&mut pen.rng), Depth::Raw));
            out.push(b':');
        }
        decimal(pen.rng.u32(100..=999), out);
        out.extend_from_slice(b"] ");
        if structured {
            self.author.structured(pen, level, depth, out);
        } else {
            self.author.with_context(pen, level, depth, out);
        }
    }

    fn seed(&self, pen: &mut Pen, level: Level, names: &Names<'_>, depth: Depth, out: &mut Vec<u8>) {
        let (frames, inner) = (&self.frames, depth.deeper());
        out.extend_from_slice(frames.timestamp.at(depth));
        pen.stamp.iso(6, ZONE, out);
        out.extend_from_slice(frames.level.at(depth));
        out.extend_from_slice(level.upper());
        out.extend_from_slice(frames.module.at(depth));
        out.extend_from_slice(self.author.module(&mut pen.rng));
        out.extend_from_slice(frames.line.at(depth));
        decimal(pen.rng.u32(1..=999), out);
        out.extend_from_slice(frames.message_after_number.at(depth));
        self.author.message(pen, level, inner, out);
        for (frame, name) in [
            (&frames.customer, names.tenant),
            (&frames.cluster, names.cluster),
            (&frames.application, names.application),
            (&frames.pod, names.pod),
        ] {
            out.extend_from_slice(frame.at(depth));
            out.extend_from_slice(name.at(inner));
        }
        out.extend_from_slice(frames.generator.at(depth));
        if pen.rng.u32(..10) < 3 {
            self.additional(&mut pen.rng, depth, out);
        }
        out.extend_from_slice(frames.end.at(depth));
    }

    fn additional(&self, rng: &mut Rng, depth: Depth, out: &mut Vec<u8>) {
        let frames = &self.frames;
        out.extend_from_slice(frames.additional.at(depth));
        uuid(rng, out);
        out.extend_from_slice(frames.session.at(depth));
        for _ in 0..8 {
            out.push(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[rng.usize(..52)]);
        }
        out.extend_from_slice(frames.address.at(depth));
        let address = rng.u32(..).to_be_bytes();
        for (place, byte) in address.into_iter().enumerate() {
            if place > 0 {
                out.push(b'.');
            }
            decimal(u32::from(byte), out);
        }
        out.extend_from_slice(frames.agent.at(depth));
        out.extend_from_slice(self.agents.at(self.agents.pick(rng), depth.deeper()));
        out.extend_from_slice(frames.end_additional.at(depth));
    }
}

/// Writes a random UUID of version 4.
#[inline]
pub(crate) fn uuid(rng: &mut Rng, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut bytes = rng.u128(..).to_be_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let mut text = [b'-'; 36];
    let places = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
    for (at, byte) in places.into_iter().zip(bytes) {
        text[at] = HEX[usize::from(byte >> 4)];
        text[at + 1] = HEX[usize::from(byte & 15)];
    }
    out.extend_from_slice(&text);
}

const AGENTS: [&str; 6] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:141.0) Gecko/20100101 Firefox/141.0",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "kube-controller-manager/v1.32.6 (linux/amd64) kubernetes/8cc5146/system:serviceaccount:kube-system:job-controller",
    "kube-probe/1.32",
    "curl/8.14.1",
];
