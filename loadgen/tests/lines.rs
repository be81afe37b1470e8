//! Lines are the same for the same seed, and parse as what their format claims.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;

use loadgen::{Fleet, Format, LineSpec, Lines, MessageSpec, RealLines};
use proptest::prelude::*;
use serde_json::Value;

const START: u64 = 1_756_553_221_564_974; // 2025-08-30T11:27:01.564974Z

fn text(spec: &LineSpec, count: u64) -> String {
    let mut lines = Lines::new(spec).unwrap();
    let mut out = Vec::new();
    (0..count).for_each(|number| lines.append(START + number, &mut out));
    String::from_utf8(out).unwrap()
}

fn of(format: Format) -> LineSpec {
    LineSpec { seed: 7, message: MessageSpec { format, ..MessageSpec::default() }, ..LineSpec::default() }
}

fn json(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn same_seed_same_bytes_and_another_seed_others() {
    for format in Format::ALL {
        let spec = of(format);
        assert_eq!(text(&spec, 500), text(&spec, 500), "{format:?}");
        assert_ne!(text(&spec, 500), text(&LineSpec { seed: 8, ..spec.clone() }, 500), "{format:?}");
    }
}

#[test]
fn json_formats_are_json_with_their_fields() {
    for line in text(&of(Format::JsonTs), 2000).lines() {
        let value = json(line);
        assert_eq!(keys(&value), ["component", "level", "msg", "source", "ts"]);
        assert!(value["ts"].as_str().unwrap().starts_with("2025-08-30T11:27:01.5"));
        assert!(["debug", "info", "warn", "error"].contains(&value["level"].as_str().unwrap()));
        assert!(["etcd", "ignition-server", "machine-config-daemon"].contains(&value["component"].as_str().unwrap()));
        assert_eq!(value["source"], "test-app");
    }
    for line in text(&of(Format::JsonTime), 2000).lines() {
        let value = json(line);
        assert_eq!(keys(&value), ["host", "level", "message", "service", "time"]);
        assert_eq!((value["service"].as_str(), value["host"].as_str()), (Some("test-app"), Some("test-app-0")));
    }
}

#[test]
fn the_seeds_record_has_its_fields_and_shares() {
    let out = text(&of(Format::Seed), 5000);
    let (mut additional, mut errors) = (0, 0);
    for line in out.lines() {
        let mut value = json(line);
        let more = value.as_object_mut().unwrap().remove("additional_data");
        let all = [
            "application",
            "cluster_id",
            "customer_id",
            "level",
            "line",
            "message",
            "module",
            "pod_name",
            "source",
            "timestamp",
        ];
        assert_eq!(keys(&value), all);
        assert!((1..=999).contains(&value["line"].as_u64().unwrap()));
        assert!((100..=1024).contains(&value["message"].as_str().unwrap().len()), "{line}");
        assert!(value["timestamp"].as_str().unwrap().ends_with("+00:00"));
        assert_eq!(
            (value["customer_id"].as_str(), value["source"].as_str()),
            (Some("test-customer"), Some("fake-log-generator"))
        );
        errors += u32::from(value["level"] == "ERROR");
        if let Some(more) = more {
            assert_eq!(keys(&more), ["ip_address", "request_id", "session_id", "user_agent"]);
            assert_eq!(more["session_id"].as_str().unwrap().len(), 8);
            assert!(more["ip_address"].as_str().unwrap().parse::<std::net::Ipv4Addr>().is_ok());
            additional += 1;
        }
    }
    assert!((1350..1650).contains(&additional), "30 % of 5000, got {additional}");
    assert!((180..320).contains(&errors), "5 % of 5000, got {errors}");
}

#[test]
fn text_formats_begin_as_they_claim() {
    for line in text(&of(Format::IsoDirect), 500).lines() {
        let (time, rest) = line.split_once(' ').unwrap();
        assert!(time.starts_with("2025-08-30T11:27:01.56") && time.len() == 27 && time.ends_with('Z'), "{line}");
        assert!(rest.contains(": ") && rest.contains(" - "), "{line}");
    }
    for line in text(&of(Format::GoStandard), 500).lines() {
        assert!(line.starts_with("2025/08/30 11:27:01 "), "{line}");
    }
    let mut structured = 0;
    for line in text(&of(Format::Kubernetes), 500).lines() {
        let rest = line.trim_start_matches(['I', 'W', 'E']);
        assert!(rest.len() + 1 == line.len() && rest.starts_with("0830 11:27:01.56"), "{line}");
        let (head, _) = line.split_once("] ").unwrap();
        let mut parts = head.split_whitespace().skip(2);
        assert!((1..=999).contains(&parts.next().unwrap().parse::<u32>().unwrap()), "{line}");
        let (file, number) = parts.next().unwrap().split_once(':').unwrap();
        assert!(file.ends_with(".go") && number.parse::<u32>().is_ok(), "{line}");
        structured += u32::from(line.contains("] \"HTTP\" verb=\""));
    }
    assert!((150..350).contains(&structured));
}

#[test]
fn time_equals_is_key_value_with_one_quoted_message() {
    for line in text(&of(Format::TimeEquals), 2000).lines() {
        let rest = line.strip_prefix("time=\"2025-08-30T11:27:01.56").unwrap();
        let (_, rest) = rest.split_once("+00:00\" level=").unwrap();
        let (level, rest) = rest.split_once(" msg=").unwrap();
        assert!(["debug", "info", "warn", "error"].contains(&level));
        let quoted = rest.strip_suffix(" component=test-app").unwrap();
        assert!(serde_json::from_str::<String>(quoted).is_ok(), "{line}");
    }
}

#[test]
fn mixed_draws_evenly_from_six() {
    let (mut ts, mut time, mut iso, mut equals, mut klog, mut go) = (0, 0, 0, 0, 0, 0);
    for line in text(&of(Format::Mixed), 6000).lines() {
        match line {
            _ if line.starts_with("{\"ts\"") => ts += 1,
            _ if line.starts_with("{\"time\"") => time += 1,
            _ if line.starts_with("2025-") => iso += 1,
            _ if line.starts_with("time=") => equals += 1,
            _ if line.starts_with("2025/") => go += 1,
            _ => klog += 1,
        }
    }
    for share in [ts, time, iso, equals, klog, go] {
        assert!((850..1150).contains(&share), "{share}");
    }
}

#[test]
fn messages_need_escaping_as_often_as_real_ones() {
    let out = text(&of(Format::Plain), 4000);
    let with = |found: fn(char) -> bool| out.lines().filter(|line| line.contains(found)).count();
    for (what, count) in [
        ("quotes", with(|c| c == '"')),
        ("backslashes", with(|c| c == '\\')),
        ("tabs", with(|c| c == '\t')),
        ("controls", with(|c| c == '\u{1b}')),
        ("non-ASCII", with(|c| !c.is_ascii())),
    ] {
        assert!((80..3200).contains(&count), "{what}: {count} of 4000");
    }
}

#[test]
fn multiline_adds_stack_traces_to_errors_only() {
    let message = MessageSpec { format: Format::JsonTime, multiline: true, ..MessageSpec::default() };
    let out = text(&LineSpec { seed: 7, message, ..LineSpec::default() }, 3000);
    let mut errors = 0;
    for line in out.lines() {
        let value = json(line);
        let error = value["level"] == "ERROR";
        assert_eq!(value["message"].as_str().unwrap().contains("\n\tat "), error, "{line}");
        errors += u32::from(error);
    }
    assert!(errors > 0);
}

#[test]
fn many_sources_all_speak() {
    let fleet = Fleet {
        tenants: Fleet::numbered("t", 3),
        clusters: Fleet::numbered("c", 2),
        applications: Fleet::numbered("a", 2),
        pods: 2,
        pod_name: Some("p".to_owned()),
    };
    let out = text(&LineSpec { fleet, ..of(Format::Seed) }, 2000);
    let sources: std::collections::BTreeSet<_> = out
        .lines()
        .map(|line| {
            let value = json(line);
            ["customer_id", "application", "pod_name"].map(|field| value[field].as_str().unwrap().to_owned())
        })
        .collect();
    assert_eq!(sources.len(), 12);
}

#[test]
fn real_lines_come_in_their_order_and_unchanged() {
    let real = "first \"line\"\tx\nC:\\second\\ größe\n\nthird\r\n";
    let from = Some(Arc::new(RealLines::from_bytes(real.as_bytes()).unwrap()));
    let plain = MessageSpec { format: Format::Plain, from: from.clone(), ..MessageSpec::default() };
    let out = text(&LineSpec { message: plain, ..LineSpec::default() }, 4);
    assert_eq!(out, "first \"line\"\tx\nC:\\second\\ größe\nthird\r\nfirst \"line\"\tx\n");

    let message = MessageSpec { format: Format::JsonTs, from, ..MessageSpec::default() };
    let out = text(&LineSpec { message, ..LineSpec::default() }, 3);
    let messages: Vec<_> = out.lines().map(|line| json(line)["msg"].as_str().unwrap().to_owned()).collect();
    assert_eq!(messages, ["first \"line\"\tx", "C:\\second\\ größe", "third\r"]);
}

proptest! {
    /// Messages have the length that was asked for, whatever it is.
    #[test]
    fn lengths_are_kept(min in 0..3000_usize, more in 0..3000_usize, seed in any::<u64>()) {
        let max = (min + more).max(1);
        let message = MessageSpec { format: Format::Plain, min_bytes: min, max_bytes: max, ..MessageSpec::default() };
        for line in text(&LineSpec { seed, message, ..LineSpec::default() }, 20).lines() {
            prop_assert!((min.max(1)..=max).contains(&line.len()), "{} of {min}..={max}", line.len());
        }
    }
}

#[test]
fn impossible_lengths_are_refused() {
    for (min_bytes, max_bytes) in [(2, 1), (0, 0), (1, usize::MAX)] {
        let message = MessageSpec { min_bytes, max_bytes, ..MessageSpec::default() };
        assert!(Lines::new(&LineSpec { message, ..LineSpec::default() }).is_err());
    }
}
