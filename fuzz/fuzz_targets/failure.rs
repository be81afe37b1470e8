//! What a service answered with: a line of numbers, then the error's code. Laws: README.md.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use millrace::core::failure::{Attempts, Failure, FailureKind, RetryPolicy, Service, Verdict};
use millrace_fuzz::Dice;

const SERVICES: [Service; 5] = [Service::S3, Service::Sqs, Service::DynamoDb, Service::Sts, Service::Logs];

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (numbers, code) = text.split_once('\n').unwrap_or(("", text));
    let status = numbers.trim().parse().unwrap_or(400);
    for service in SERVICES {
        for operation in ["PutLogEvents", "GetObject"] {
            answer(service, operation, code, status);
        }
    }
    attempts(&mut Dice::new(data));
});

fn failure(service: Service, operation: &'static str, code: &str, status: u16) -> Failure {
    let kind = FailureKind::Answer { code: code.to_owned(), status };
    Failure { service, operation, kind, text: String::new(), request_id: None }
}

fn answer(service: Service, operation: &'static str, code: &str, status: u16) {
    let failure = failure(service, operation, code, status);
    let verdict = failure.verdict();
    let of = |code: &str, status| self::failure(service, operation, code, status).verdict();
    // A code that says something decides, whatever the status; one that says nothing leaves it to the status.
    let speaks = of(code, 200) != of("", 200);
    assert!(if speaks {
        verdict == of(code, 200)
    } else {
        verdict == of("", status) || of(code, 599) != Verdict::Retry
    });
    if !code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.') {
        assert_eq!(verdict, of("", status), "{code:?} is no code");
    }
    // What only one service can mean is not understood from another.
    let is_of = |wanted| assert_eq!(service, wanted, "{failure}");
    match verdict {
        Verdict::Bisect => {
            is_of(Service::Logs);
            assert_eq!(operation, "PutLogEvents");
        }
        Verdict::Create => is_of(Service::Logs),
        Verdict::Missing | Verdict::NoBucket | Verdict::Changed | Verdict::BeyondEnd => is_of(Service::S3),
        _ => {}
    }
    // Success and what is refused for good are never guessed from a fault of the service.
    if (500..600).contains(&status) && code.is_empty() {
        assert_eq!(verdict, Verdict::Retry);
    }
    assert!(failure.to_string().contains(code));
}

/// Whatever comes, the attempts end, and no delay is above its ceiling.
fn attempts(dice: &mut Dice) {
    let policy = RetryPolicy {
        attempts_max: u32::try_from(dice.between(1, 20)).unwrap(),
        throttled_max: u32::try_from(dice.between(1, 100)).unwrap(),
        base: Duration::from_millis(dice.roll() % 10_000),
        cap: Duration::from_millis(dice.roll() % 1_000_000),
    };
    let mut attempts = Attempts::default();
    let most = policy.attempts_max + policy.throttled_max + 1;
    let mut taken = 0;
    loop {
        let verdict = [Verdict::Retry, Verdict::Throttled, Verdict::RefreshCredentials][dice.between(0, 2)];
        let Some(delay) = attempts.next(verdict, &policy, dice.roll()) else { break };
        assert!(delay <= policy.cap);
        taken += 1;
        assert!(taken <= most);
    }
    assert_eq!(Attempts::default().next(Verdict::GiveUp, &policy, dice.roll()), None);
}
