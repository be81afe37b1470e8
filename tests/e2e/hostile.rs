//! docs/guarantees.md, "Hostile input": objects that are made to exhaust the daemon cost no more memory than any other, and
//! the objects beside them arrive.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use zstd::stream::raw::CParameter;

use crate::memory::ALLOWED_BYTES;
use crate::stage::{Stage, Tenant, gzip, lines};

const MIB: usize = 1024 * 1024;
const GIB: usize = 1024 * MIB;
/// Length of the one line.
const LINE_GIB: usize = 10;

fn record(message: &str) -> Vec<u8> {
    format!("{}\n", json!({ "message": message })).into_bytes()
}

/// A gzip member of `before`, so many of one byte, and `behind`, about a thousandth as long.
fn bomb(before: &[u8], byte: u8, bytes: usize, behind: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(before).unwrap();
    let piece = vec![byte; MIB];
    (0..bytes / MIB).for_each(|_| encoder.write_all(&piece).unwrap());
    encoder.write_all(behind).unwrap();
    encoder.finish().unwrap()
}

/// 200,000 members, most of them empty; each thousandth has one record.
fn members() -> (Vec<u8>, Vec<String>) {
    let messages: Vec<String> = (0..200).map(|at| format!("member {at}")).collect();
    let empty = gzip(b"").repeat(999);
    let object = messages.iter().flat_map(|message| [gzip(&record(message)), empty.clone()].concat()).collect();
    (object, messages)
}

/// A zstd frame with a window of so many bits, filled by empty lines before and behind a record.
fn windowed(window_log: u32, message: &str) -> Vec<u8> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
    encoder.set_parameter(CParameter::WindowLog(window_log)).unwrap();
    encoder.include_checksum(true).unwrap();
    let blank = vec![b'\n'; MIB];
    (0..16).for_each(|_| encoder.write_all(&blank).unwrap());
    encoder.write_all(&record(message)).unwrap();
    (0..16).for_each(|_| encoder.write_all(&blank).unwrap());
    encoder.finish().unwrap()
}

/// Tenants whose objects are as they should be, with what must arrive of them.
struct Bystanders {
    tenants: Vec<Tenant>,
    messages: Vec<String>,
}

impl Bystanders {
    fn new(stage: &mut Stage) -> Self {
        let tenants = ["beta", "gamma"].map(|name| stage.tenant(name, |_| {}));
        Self {
            tenants: tenants.into(),
            messages: (1_000..4_000).map(|at| format!("{at} {}", "word ".repeat(40))).collect(),
        }
    }

    fn put(&self, stage: &Stage) {
        for name in ["beta", "gamma"] {
            for (object, messages) in self.messages.chunks(1_000).enumerate() {
                stage.put_messages(&format!("{name}/c1/api/pod-0/{object}"), messages);
            }
        }
    }

    fn check(&self, stage: &Stage) {
        for tenant in &self.tenants {
            let mut got = stage.messages(tenant, "pod-0");
            // Objects of the same time share batches, which stand by time.
            got.sort_unstable();
            assert!(got == self.messages, "{} of {} arrived beside it", got.len(), self.messages.len());
        }
    }
}

fn receipt<'l>(log: &'l [Value], stream: &str) -> &'l Value {
    lines(log, "object settled").into_iter().rfind(|line| line["stream"] == stream).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn bombs_of_zeros_of_members_and_of_one_line() {
    let mut stage = Stage::new().await;
    let acme = stage.tenant("acme", |_| {});
    let others = Bystanders::new(&mut stage);
    let (many, members) = members();
    let (open, close) = (&b"{\"message\":\""[..], &b"\"}\n"[..]);
    let line = bomb(&[&record("before"), open].concat(), b'x', LINE_GIB * GIB, &[close, &record("behind")].concat());
    let zeros = bomb(b"", 0, GIB, b"");
    assert!(zeros.len() < GIB / 900 && line.len() < LINE_GIB * GIB / 900, "{} and {} bytes", zeros.len(), line.len());
    others.put(&stage);
    stage.put("acme/c1/api/zeros/1", zeros);
    stage.put("acme/c1/api/members/1", many);
    stage.put("acme/c1/api/line/1", line);
    let daemon = stage.sqs(&[]);
    stage.until_settled(1).await;
    let peak = daemon.peak_rss();
    let (status, log) = daemon.stop().await;
    assert!(status.success(), "{status}");
    println!("bombs of gzip: peak RSS {} KiB", peak / 1024);
    others.check(&stage);
    assert!(stage.messages(&acme, "zeros").is_empty());
    assert_eq!(stage.messages(&acme, "members"), members);
    assert_eq!(stage.messages(&acme, "line"), ["before", "behind"]);
    for (stream, finish, tally) in [
        ("zeros", "corrupt_object", "bad_record 1"),
        ("members", "delivered", "read 200 = delivered 200"),
        ("line", "delivered", "oversize_record 1"),
    ] {
        let receipt = receipt(&log, stream);
        assert_eq!(receipt["finish"], finish, "{receipt}");
        assert!(receipt["tally"].as_str().unwrap().contains(tally), "{receipt}");
    }
    assert!(peak <= ALLOWED_BYTES, "{} KiB", peak / 1024);
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_with_wide_windows() {
    const STREAMS: usize = 4;
    let mut stage = Stage::new().await;
    let tenants: Vec<(String, Tenant)> = (0..6)
        .map(|at| {
            let name = format!("wide-{at}");
            let tenant = stage.tenant(&name, |_| {});
            (name, tenant)
        })
        .collect();
    let others = Bystanders::new(&mut stage);
    others.put(&stage);
    let (widest, too_wide) = (windowed(23, "there"), windowed(24, "refused"));
    // All that this frame has is a header that asks for 128 MiB, and an empty block.
    let claim = b"\x28\xb5\x2f\xfd\x00\x88\x01\x00\x00";
    for (name, _) in &tenants {
        for stream in 0..STREAMS {
            stage.put(&format!("{name}/c1/api/wide-{stream}/1"), widest.as_slice());
        }
        stage.put(&format!("{name}/c1/api/too-wide/1"), too_wide.as_slice());
        stage.put(&format!("{name}/c1/api/claim/1"), claim.as_slice());
    }
    let daemon = stage.sqs(&[]);
    stage.until_settled(2 * tenants.len()).await;
    let peak = daemon.peak_rss();
    let (status, log) = daemon.stop().await;
    assert!(status.success(), "{status}");
    println!("wide windows of zstd: peak RSS {} KiB", peak / 1024);
    others.check(&stage);
    for (_, tenant) in &tenants {
        for stream in 0..STREAMS {
            assert_eq!(stage.messages(tenant, &format!("wide-{stream}")), ["there"]);
        }
        assert!(stage.messages(tenant, "too-wide").is_empty());
    }
    for stream in ["too-wide", "claim"] {
        let receipt = receipt(&log, stream);
        assert_eq!(receipt["finish"], "corrupt_object", "{receipt}");
        assert!(receipt["cause"].as_str().unwrap().contains("its window is over 8 MiB"), "{receipt}");
    }
    assert!(peak <= ALLOWED_BYTES, "{} KiB", peak / 1024);
}
