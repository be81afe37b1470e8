//! Mode `local`: its verdict, for people and for programs, good and bad.

use std::io::Write as _;
use std::process::{Command, Output};

use serde_json::Value;

fn local(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_millrace")).arg("local").args(arguments).env_clear().output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn each_kind_of_tenant_gets_what_it_wants_and_the_summary_adds_up() {
    // 36 objects for each tenant: two of each of its pods.
    let output = local(&["--objects", "180", "--size", "16KiB", "--json"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["ok"], &summary["objects"]), (&true.into(), &180.into()), "{summary}");
    assert_eq!(summary["problems"], serde_json::json!([]));
    let tenants = summary["tenants"].as_array().unwrap();
    let kinds: Vec<&str> = tenants.iter().map(|row| row["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["", "", "filtered", "disabled", "denied"]);
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    for row in tenants {
        assert_eq!(number(row, "objects"), 36, "{row}");
        assert_eq!(number(row, "arrived"), number(row, "delivered"), "{row}");
        assert_eq!(row["account"].as_str().unwrap().len(), 12, "{row}");
        let dropped: u64 = row["dropped"].as_object().unwrap().values().map(|events| events.as_u64().unwrap()).sum();
        assert_eq!(number(row, "read"), number(row, "delivered") + dropped, "{row}");
        let called = row["calls"].as_object().unwrap().contains_key("logs:PutLogEvents");
        assert_eq!(called, row["kind"] != "disabled", "a disabled tenant costs no call: {row}");
    }
    let [plain, other, filtered, disabled, denied] = &tenants[..] else { panic!("{summary}") };
    assert!(number(plain, "delivered") > 100 && number(other, "delivered") > 100, "{summary}");
    // One of three applications.
    assert!(number(filtered, "delivered") > 0 && number(filtered, "delivered") < number(plain, "delivered") / 2);
    assert!(number(disabled, "read") == 0 && number(denied, "delivered") == 0, "{summary}");
    // One look at each tenant's rows; a hop for each tenant and cluster, if it is not disabled.
    assert_eq!(
        (number(&summary["central_calls"], "dynamodb:Query"), number(&summary["central_calls"], "s3:PutObject")),
        (5, 180)
    );
}

#[test]
fn real_lines_are_the_messages_and_the_table_is_for_people() {
    let mut lines = tempfile::NamedTempFile::new().unwrap();
    lines.write_all("plain\n{\"a\": \"quote\\\"\"}\n\ttab and \u{1f980}\r\n".as_bytes()).unwrap();
    let from = lines.path().to_str().unwrap();
    let output = local(&["--objects", "20", "--size", "4KiB", "--tenants", "2", "--from", from]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.starts_with("tenant ") && out.contains("\ntenant-0 ") && out.contains("\ntenant-1 "), "{out}");
    let verdict = "verdict: every event of every enabled tenant arrived once, in order, in its own account";
    assert_eq!(out.lines().last(), Some(verdict));
}

/// Messages that are cut are not what went in: the verdict says so, and so does the exit code.
#[test]
fn a_verdict_that_does_not_hold_fails_the_command() {
    let mut lines = tempfile::NamedTempFile::new().unwrap();
    writeln!(lines, "{}", "long ".repeat(400)).unwrap();
    let from = lines.path().to_str().unwrap();
    let cut = ["--oversize-events", "truncate", "--event-bytes-max", "1024"];
    let output = local(&[&["--objects", "4", "--size", "8KiB", "--tenants", "1", "--from", from], &cut[..]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1), "{out}{err}");
    assert!(out.contains("verdict: NOT as promised: tenant: ") && out.contains(" events missing, "), "{out}");
    assert!(err.ends_with("millrace: the verdict is not as promised\n"), "{err}");
}

/// docs/outcomes.md, "Mode `local` under faults": nothing is lost, and twice is there only what was not answered.
#[test]
fn under_heavy_faults_nothing_is_lost_and_the_summary_says_what_happened() {
    let faults = ["--faults", "heavy", "--fault-seed", "6", "--json"];
    let output = local(&[&["--objects", "60", "--size", "16KiB"], &faults[..]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&summary["ok"], &summary["faults"]["seed"]), (&true.into(), &6.into()), "{summary}");
    let done = summary["faults"]["done"].as_object().unwrap();
    assert!(done.values().map(|count| count.as_u64().unwrap()).sum::<u64>() > 0 && done.len() > 1, "{summary}");
    let twice = summary["tenants"].as_array().unwrap().iter().map(|row| row["twice"].as_u64().unwrap());
    assert_eq!(twice.sum::<u64>(), summary["twice"].as_u64().unwrap());
    // The collectors are no part of what is tested.
    assert_eq!(summary["central_calls"]["s3:PutObject"], 60);
}

/// What ends in the dead-letter queue is there for an operator: put back when the cause is gone, all of it arrives.
#[test]
fn dead_letters_are_put_back_when_the_faults_are_over() {
    let output = local(&["--objects", "6", "--size", "4KiB", "--tenants", "1", "--faults", "s3.GetObject corrupt"]);
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    let why = "all that was left was in the dead-letter queue; ";
    assert!(out.contains("\nfaults of seed 0: corrupt ") && out.contains("\nfaults stopped after "), "{out}");
    assert!(out.contains(why) && out.contains(" dead letters were put back\n"), "{out}");
    let verdict = "verdict: every event of every enabled tenant arrived, each object's in order, in its own account, but 0 that \
                   faults rejected; 0 arrived twice, as their answers were lost";
    assert_eq!(out.lines().last(), Some(verdict));
}

/// Lies about an object: that it was replaced while it was read, and bytes that are wrong. The one costs nothing; the other
/// what was sent of the wrong bytes before their checksum.
#[test]
fn what_is_said_of_an_object_wrongly_costs_no_more_than_it_must() {
    let parts = ["--size", "4MiB", "--part-bytes", "256KiB", "--faults", "s3.GetObject 412 after=1 times=1"];
    let output = local(&[&["--objects", "1", "--tenants", "1"], &parts[..]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("\nfaults of seed 0: 412 1\n"), "{out}{err}");
    assert!(out.ends_with("0 arrived twice, as their answers were lost\n"), "{out}");

    let corrupt = ["--size", "1MiB", "--faults", "s3.GetObject corrupt 30%", "--fault-seed", "3"];
    let output = local(&[&["--objects", "40", "--tenants", "2"], &corrupt[..]].concat());
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success() && out.contains("\nfaults of seed 3: corrupt "), "{out}{err}");
}

/// A delivery that was refused is let in again by the daemon's own clock, not by the cloud's.
#[test]
fn tenants_that_deny_for_a_while_get_all_their_logs() {
    let size = ["--objects", "60", "--size", "16KiB", "--tenants", "2"];
    let output = local(&[&size[..], &["--faults", "logs denied times=3"]].concat());
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn wrong_faults_stop_the_start_with_one_line() {
    let output = local(&["--faults", "s3 cutt"]);
    let err = text(&output.stderr);
    let begins = "millrace: LOCAL_FAULTS (--faults) is \"s3 cutt\": rule 1, \"s3 cutt\": \"cutt\" is not allowed; allowed: throttle, ";
    assert!(output.status.code() == Some(2) && err.starts_with(begins) && err.lines().count() == 1, "{err}");
}

/// What is set for a real AWS is not for the embedded one.
#[test]
fn settings_of_another_cloud_are_left_alone() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millrace"));
    command.args(["local", "--objects", "1", "--size", "1KiB", "--tenants", "1"]).env_clear();
    for (name, value) in [
        ("AWS_ENDPOINT_URL", "localhost"),
        ("AWS_PROFILE", "nobody"),
        ("HOPS", "9"),
        ("CENTRAL_LOG_DISTRIBUTION_ROLE_ARN", "x"),
    ] {
        command.env(name, value);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
}
