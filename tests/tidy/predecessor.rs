//! The cases of the predecessor's tests, and which test of ours holds each. Where the design decides otherwise than the
//! predecessor did, the test itself says so.
//!
//! The rows are those of predecessor.md, section 15, in its order and words. The file lies beside the checkout, not in it:
//! where it is there, the rows are compared with it.

use std::fs;

use super::{root, sources};

/// Where a row's cases are.
enum Held {
    /// In these tests, under these names of cases: each stands in the test's source.
    By(&'static [(&'static str, &'static [&'static str])]),
    /// Nowhere yet, for what they are about is not there yet.
    Later(&'static str),
}

use Held::{By, Later};

/// Area, case, tests.
const ROWS: [(&str, &str, Held); 50] = [
    (
        "envelope",
        r#"body not JSON; {"Message":"invalid"}"#,
        By(&[
            ("predecessor_15_envelope_bodies", &["body is not JSON", "Message is not JSON"]),
            ("bad_notifications_and_tenants_leave_the_others_alone", &[r#""hello""#, r#"{"Message":"{}"}"#]),
        ]),
    ),
    ("envelope", "event with no records", By(&[("predecessor_15_envelope_bodies", &["an event with no records"])])),
    (
        "envelope",
        "key a%2Fb%2F... / my%20file",
        By(&[(
            "predecessor_15_envelope_records",
            &["a%2Fb%2F… is decoded to slashes", "my%20file is decoded to a space"],
        )]),
    ),
    (
        "envelope",
        "two records, different buckets",
        By(&[
            ("predecessor_15_envelope_records", &["two records, different buckets: both"]),
            ("every_record_of_a_notification_is_tried_whatever_becomes_of_the_others", &[]),
        ]),
    ),
    (
        "envelope",
        "record lacking key; key of one segment; unknown tenant via manual stdin",
        By(&[
            ("predecessor_15_envelope_records", &["record lacks its key"]),
            ("predecessor_15_key", &["key of one segment"]),
            ("predecessor_15_manual", &["record lacking key", "key of one segment", "unknown tenant via manual stdin"]),
        ]),
    ),
    ("lambda", "msg-1 ok, msg-2 recoverable", Later("the mode lambda")),
    (
        "key",
        "prod-/stg-/dev-/other- cluster",
        By(&[("predecessor_15_key", &["prod- cluster", "stg- cluster", "dev- cluster", "other- cluster"])]),
    ),
    (
        "key",
        "3 segments; cluster//app/pod/f; whitespace segment",
        By(&[("predecessor_15_key", &["3 segments", "cluster//app/pod/f", "whitespace segment"])]),
    ),
    ("key", "6 segments", By(&[("predecessor_15_key", &["6 segments: first four used"])])),
    (
        "tenant",
        "no rows; disabled; enabled absent (Go); enabled but no log_group_name; empty id (no query made)",
        By(&[
            (
                "predecessor_15_tenant",
                &["no rows", "disabled", "enabled absent", "enabled but no log_group_name", "empty id (no query made)"],
            ),
            ("predecessor_15_manual", &["empty id (no query made)"]),
        ]),
    ),
    ("tenant", "cloudwatch + s3 rows", By(&[("predecessor_15_tenant", &["cloudwatch + s3 rows: both"])])),
    (
        "tenant",
        "DDB ValidationException empty string / other error",
        By(&[
            ("predecessor_15_s3_and_table_errors", &["DDB ValidationException", "DDB other error"]),
            ("predecessor_15_manual", &["DDB other error: raised"]),
        ]),
    ),
    (
        "filter",
        "list match; other case (later: no match, seed: match); empty list; duplicates; unknown group; non-list",
        By(&[
            (
                "predecessor_15_filter",
                &[
                    "list match",
                    "other case",
                    "empty list",
                    "duplicates",
                    "unknown group",
                    "only unknown groups",
                    "non-list",
                ],
            ),
            ("a_row_wants_what_it_names", &[]),
        ]),
    ),
    (
        "multi",
        "CW filter A, S3 filter B",
        By(&[
            (
                "predecessor_15_multi",
                &["CW filter A: each only its own", "S3 filter B: each only its own", "overlap: both", "none: neither"],
            ),
            ("each_row_filters_for_itself", &[]),
        ]),
    ),
    (
        "parse",
        "3 NDJSON lines; blank lines; 1 bad of 3",
        By(&[("predecessor_15_parse", &["3 NDJSON lines", "blank lines", "1 bad of 3: 2 events"])]),
    ),
    (
        "parse",
        "array on one line; single object",
        By(&[("predecessor_15_parse", &["array on one line", "single object"])]),
    ),
    (
        "parse",
        "empty input / pure garbage",
        By(&[
            ("predecessor_15_parse", &["empty input: 0 events, no error", "pure garbage"]),
            ("bad_objects_are_counted_and_the_rest_arrives", &[]),
        ]),
    ),
    ("parse", "no message", By(&[("predecessor_15_parse", &["no message: record minus metadata, number kept"])])),
    ("parse", "message is object", By(&[("predecessor_15_parse", &["message is object"])])),
    ("parse", "record is a string", By(&[("predecessor_15_parse", &["record is a string: dropped"])])),
    (
        "time",
        "...Z, +00:00, nanoseconds, -05:00",
        By(&[("predecessor_15_time", &["…Z", "+00:00", "nanoseconds", "-05:00"])]),
    ),
    ("time", "1704110400, 1704110400000", By(&[("predecessor_15_time", &["1704110400\"", "1704110400000\""])])),
    (
        "time",
        "999999999999 / 1e12 / 1e12+1",
        By(&[(
            "predecessor_15_time",
            &["999999999999 is seconds", "10^12 is seconds", "1e12", "10^12 + 1 is milliseconds"],
        )]),
    ),
    (
        "time",
        r#"2024-01-15 10:30:00, "", null, struct"#,
        By(&[("predecessor_15_time", &["2024-01-15 10:30:00", "empty text", "null", "struct"])]),
    ),
    (
        "time",
        "both timestamp and ingest_timestamp",
        By(&[("predecessor_15_time", &["timestamp wins over ingest_timestamp"])]),
    ),
    (
        "batch",
        "1500 events, limit 1000; exactly 1000; 1001; limit 1 with 3",
        By(&[("predecessor_15_batch", &["1500 events, limit 1000", "exactly 1000", "1001", "limit 1 with 3"])]),
    ),
    (
        "batch",
        "1-byte messages, limit 1,047,576: floor(limit/27)+100 events",
        By(&[("predecessor_15_batch", &["1-byte messages"])]),
    ),
    ("batch", "10 × 200 KiB", By(&[("predecessor_15_batch", &["10 × 200 KiB"])])),
    ("batch", "2000 × 1021 B", By(&[("predecessor_15_batch", &["2000 × 1021 B", "95 % full there"])])),
    (
        "batch",
        "floor(limit/1026)+1 events of 1000 B",
        By(&[("predecessor_15_batch", &["floor(limit/1026)+1 events of 1000 B"])]),
    ),
    (
        "batch",
        "mix 500×100 B, 300×1 KiB, 20×50 KiB, 200×10 B",
        By(&[("predecessor_15_batch", &["mix of sizes: 1020 delivered"])]),
    ),
    ("batch", "15,000 tiny, count limit 10,000", By(&[("predecessor_15_batch", &["15,000 tiny, count limit 10,000"])])),
    ("batch", r#""a","bb","ccc""#, By(&[("predecessor_15_batch", &["count 84 bytes"])])),
    ("batch", "empty list", By(&[("predecessor_15_batch", &["empty list: no call"])])),
    (
        "batch",
        "equal timestamps; unicode/emoji/control chars",
        By(&[("predecessor_15_batch", &["equal timestamps keep order; unicode, emoji, controls"])]),
    ),
    ("reject", "tooOld 1 + tooNew 8 of 10", By(&[("predecessor_15_reject", &["tooOld 1 + tooNew 8 of 10"])])),
    (
        "reject",
        "tooOld 2 / tooNew 7 / expired 4 of 10",
        By(&[("predecessor_15_reject", &["tooOld 2 of 10", "tooNew 7 of 10", "expired 4 of 10"])]),
    ),
    (
        "reject",
        "tooOld 1 + expired 3 + tooNew 8 of 10",
        By(&[("predecessor_15_reject", &["tooOld 1 + expired 3 + tooNew 8 of 10"])]),
    ),
    (
        "retry",
        "throttled twice then ok / always",
        By(&[
            ("predecessor_15_retry", &["throttled twice then ok: 3 calls", "throttled always"]),
            ("predecessor_15_retry_calls", &["throttled twice then ok", "throttled always"]),
        ]),
    ),
    (
        "create",
        "neither / group only / both exist / AlreadyExists race / describe error",
        By(&[(
            "predecessor_15_create",
            &["\"neither\"", "group only", "both exist: none", "AlreadyExists race", "describe error"],
        )]),
    ),
    (
        "s3 copy",
        r#"prefix "", custom/path, custom/path/"#,
        By(&[(
            "predecessor_15_s3_prefix",
            &[r#"prefix \"\""#, "custom/path: slash added", "custom/path/: slash added once"],
        )]),
    ),
    (
        "s3 copy",
        "key has no cluster id; metadata six keys; ACL; REPLACE",
        By(&[
            ("predecessor_15_s3_copy_key", &["key has no cluster id"]),
            ("predecessor_15_s3_copy_call", &["metadata six keys", "\"ACL\"", "\"REPLACE\""]),
        ]),
    ),
    (
        "s3 error",
        "NoSuchBucket/AccessDenied/NoSuchKey vs SlowDown/ServiceUnavailable/RequestTimeout",
        By(&[
            ("predecessor_15_s3_and_table_errors", &["s3 error: NoSuchBucket", "s3 error: RequestTimeout"]),
            (
                "predecessor_15_s3_error",
                &["NoSuchBucket", "AccessDenied", "NoSuchKey", "SlowDown", "ServiceUnavailable", "RequestTimeout"],
            ),
        ]),
    ),
    (
        "requeue",
        "retry 0,1,2,3,4,…,8,9+",
        By(&[(
            "predecessor_15_requeue",
            &[
                "retry 0 (2)",
                "retry 1 (4)",
                "retry 2 (8)",
                "retry 3 (16)",
                "retry 4 (32)",
                "retry 8 (512)",
                "retry 9 (900)",
            ],
        )]),
    ),
    ("requeue", "retry 5 max 3; empty URL", By(&[("predecessor_15_requeue", &["retry 5 max 3", "empty URL"])])),
    (
        "requeue",
        "offset 50 of 100 on retry",
        By(&[("predecessor_15_offset", &["offset 50 of 100 on retry: events 50-99"])]),
    ),
    ("requeue", "CW fails, S3 ok", By(&[("predecessor_15_requeue_of_one_delivery", &["CW fails, S3 ok"])])),
    (
        "offset",
        "−5, 0, = count, > count",
        By(&[("predecessor_15_offset", &["-5: all", "0: all", "= count: none", "> count: none"])]),
    ),
    ("metrics", "100/0; 50/10; 0/0", Later("metrics")),
    (
        "e2e (LocalStack)",
        "S3, CloudWatch, mixed, concurrent customers",
        By(&[
            ("each_tenants_objects_arrive_in_its_own_account_in_order", &[]),
            ("a_tenant_with_both_rows_gets_both", &[]),
            ("a_policy_on_the_tenants_tag_keeps_others_out", &[]),
        ]),
    ),
];

/// The tests of all sources: name and source, without the comment before it.
fn tests() -> Vec<(String, String)> {
    let mut tests = Vec::new();
    for path in ["src", "tests"].iter().flat_map(|folder| sources(&root().join(folder))) {
        let text = fs::read_to_string(path).unwrap();
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            // After its attributes comes the function; it ends with the brace that stands below its first letter.
            if !(line.trim_start().starts_with("#[test]") || line.trim_start().starts_with("#[tokio::test")) {
                continue;
            }
            let Some(head) = lines.find(|line| line.contains("fn ")) else { continue };
            let indent = head.len() - head.trim_start().len();
            let name = head.split("fn ").nth(1).unwrap().split('(').next().unwrap();
            let end = format!("{}}}", " ".repeat(indent));
            let body: String = lines.by_ref().take_while(|line| *line != end).map(|line| format!("{line}\n")).collect();
            tests.push((name.to_owned(), body));
        }
    }
    tests
}

#[test]
fn every_case_is_held_by_a_test_that_names_it() {
    let tests = tests();
    let mut held = Vec::new();
    for (area, row, by) in &ROWS {
        let of_row = match by {
            By(of_row) => *of_row,
            Later(what) => {
                println!("later, with {what}: {area}: {row}");
                continue;
            }
        };
        assert!(!of_row.is_empty(), "{area}: {row}: no test");
        for (name, cases) in of_row {
            let found: Vec<_> = tests.iter().filter(|(test, _)| test == name).collect();
            let [(_, body)] = found.as_slice() else { panic!("{area}: {row}: {} tests {name}", found.len()) };
            for case in *cases {
                assert!(body.contains(case), "{area}: {row}: {name} names no case {case:?}");
            }
            held.push(*name);
        }
    }
    for (name, _) in tests.iter().filter(|(name, _)| name.starts_with("predecessor_15_")) {
        assert!(held.contains(&name.as_str()), "{name} holds cases, and no row says which");
    }
}

#[test]
fn the_rows_are_the_predecessors() {
    let Ok(text) = fs::read_to_string(root().join("../shared/predecessor.md")) else {
        println!("skipped: no predecessor.md beside the checkout");
        return;
    };
    let section = text.split("\n## ").find(|section| section.starts_with("15.")).unwrap();
    // The first two lines of a table are its heading.
    let written = section.lines().filter(|line| line.starts_with('|')).skip(2).map(|line| line.replace('`', ""));
    let written: Vec<String> =
        written.map(|line| line.split('|').skip(1).take(2).map(str::trim).collect::<Vec<_>>().join(": ")).collect();
    let ours: Vec<String> = ROWS.iter().map(|(area, row, _)| format!("{area}: {row}")).collect();
    assert_eq!(ours, written);
}
