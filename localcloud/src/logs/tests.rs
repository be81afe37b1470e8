use super::*;
use crate::accounts::Accounts;
use crate::api::Caller;

const NOW: i64 = 1_700_000_000_000;

fn run(logs: &Logs, operation: &str, body: &Value) -> Answer {
    let caller = Caller {
        account: "2".into(),
        arn: "a".into(),
        role: None,
        tags: BTreeMap::new(),
        transitive: std::collections::BTreeSet::new(),
    };
    let body = body.to_string();
    let (body, accounts) = (body.as_bytes(), Accounts::default());
    logs.call(&Call { caller: &caller, region: "r", now_ms: NOW, operation, body, accounts: &accounts, fault: None })
}

fn world() -> Logs {
    let logs = Logs::default();
    run(&logs, "CreateLogGroup", &json!({ "logGroupName": "g" })).unwrap();
    run(&logs, "CreateLogStream", &json!({ "logGroupName": "g", "logStreamName": "s" })).unwrap();
    logs
}

fn put(logs: &Logs, events: &[(i64, String)]) -> Answer {
    let events: Vec<Value> =
        events.iter().map(|(at, text)| json!({ "timestamp": NOW + at, "message": text })).collect();
    run(logs, "PutLogEvents", &json!({ "logGroupName": "g", "logStreamName": "s", "logEvents": events }))
}

fn refused(events: &[(i64, String)]) -> String {
    let error = put(&world(), events).unwrap_err();
    assert_eq!(error.code, "InvalidParameterException");
    error.message
}

fn some(count: usize, len: usize) -> Vec<(i64, String)> {
    (0..count).map(|_| (0, "x".repeat(len))).collect()
}

#[test]
fn each_limit_refuses_one_more_and_takes_the_limit() {
    assert!(put(&world(), &some(10_000, 78)).is_ok());
    assert!(refused(&some(10_001, 1)).starts_with("logEvents must have"));
    assert!(refused(&[]).starts_with("logEvents must have"));
    assert!(refused(&some(10_000, 79)).starts_with("Upload too large"));
    assert!(put(&world(), &some(1, 1_048_550)).is_ok());
    assert!(refused(&some(1, 1_048_551)).starts_with("Log event too large: 1048577"));
    assert!(refused(&[(0, String::new())]).contains("length"));
    assert!(refused(&[(1, "a".into()), (0, "b".into())]).contains("chronological"));
    assert!(put(&world(), &[(-DAY_MS, "a".into()), (0, "b".into())]).is_ok());
    assert!(refused(&[(-DAY_MS - 1, "a".into()), (0, "b".into())]).contains("24 hours"));
}

#[test]
fn events_outside_the_window_are_rejected_one_by_one() {
    let logs = world();
    let events: Vec<_> = [-OLD_MS_MAX - 1, -1, 0, NEW_MS_MAX, NEW_MS_MAX + 1].map(|at| (at, "e".to_owned())).into();
    let answer = put(&logs, &events).unwrap();
    assert_eq!(answer["rejectedLogEventsInfo"], json!({ "tooOldLogEventEndIndex": 1, "tooNewLogEventStartIndex": 4 }));
    run(&logs, "PutRetentionPolicy", &json!({ "logGroupName": "g", "retentionInDays": 1 })).unwrap();
    let answer = put(&logs, &[(-2 * DAY_MS, "e".into()), (-1, "e".into())]).unwrap();
    assert_eq!(answer["rejectedLogEventsInfo"], json!({ "expiredLogEventEndIndex": 1 }));
    let mut kept = 0;
    logs.each(|_, _, _, _, stream| kept += stream.events().len());
    assert_eq!(kept, 4);
}

#[test]
fn what_is_kept_changes_nothing_but_what_is_kept() {
    for (keep, texts, digests) in [(Keep::Texts, 3, 3), (Keep::Digests, 0, 3), (Keep::Counts, 0, 0)] {
        let logs = world();
        logs.keep(keep);
        let events: Vec<_> = [-OLD_MS_MAX - 1, -1, 0, 1].map(|at| (at, "four".to_owned())).into();
        let answer = put(&logs, &events).unwrap();
        assert_eq!(answer["rejectedLogEventsInfo"], json!({ "tooOldLogEventEndIndex": 1 }));
        assert!(put(&logs, &some(1, 1_048_551)).is_err());
        logs.each(|_, _, _, _, stream| {
            assert_eq!((stream.batches(), stream.accepted()), (1, (3, 12)), "{keep:?}");
            assert_eq!(stream.digests().len(), digests);
            assert_eq!(stream.events().filter(|(_, text)| *text == "four").count(), texts);
        });
    }
}

#[test]
fn names_and_what_is_missing_or_there_are_told() {
    let logs = world();
    let code = |operation, body| run(&logs, operation, &body).unwrap_err().code;
    assert_eq!(code("CreateLogGroup", json!({ "logGroupName": "g" })), "ResourceAlreadyExistsException");
    assert_eq!(code("CreateLogGroup", json!({ "logGroupName": "a b" })), "InvalidParameterException");
    assert_eq!(code("CreateLogGroup", json!({ "logGroupName": "aws/x" })), "InvalidParameterException");
    assert_eq!(
        code("CreateLogStream", json!({ "logGroupName": "g", "logStreamName": "a:b" })),
        "InvalidParameterException"
    );
    assert_eq!(
        code("CreateLogStream", json!({ "logGroupName": "h", "logStreamName": "a" })),
        "ResourceNotFoundException"
    );
    assert_eq!(
        code("PutRetentionPolicy", json!({ "logGroupName": "g", "retentionInDays": 2 })),
        "InvalidParameterException"
    );
    let events = [json!({ "timestamp": NOW, "message": "e" })];
    let body = json!({ "logGroupName": "g", "logStreamName": "t", "logEvents": events });
    assert_eq!(run(&logs, "PutLogEvents", &body).unwrap_err().message, "The specified log stream does not exist.");
}

#[test]
fn pages_of_a_stream_lead_from_one_to_the_next() {
    let logs = world();
    let events: Vec<_> = (0..5).map(|at| (at, format!("e{at}"))).collect();
    put(&logs, &events).unwrap();
    let mut token = Value::Null;
    let mut seen = Vec::new();
    loop {
        let body =
            json!({ "logGroupName": "g", "logStreamName": "s", "limit": 2, "startFromHead": true, "nextToken": token });
        let page = run(&logs, "GetLogEvents", &body).unwrap();
        seen.extend(page["events"].as_array().unwrap().iter().map(|it| it["message"].as_str().unwrap().to_owned()));
        if page["nextForwardToken"] == token {
            break;
        }
        token = page["nextForwardToken"].clone();
    }
    assert_eq!(seen, ["e0", "e1", "e2", "e3", "e4"]);
}
