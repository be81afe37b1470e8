//! What becomes of a message, from what became of its deliveries.

use std::time::Duration;

use super::pacing::backoff::equal_jitter;
use super::pacing::circuit;

/// What became of one object for one delivery, or of a record that led to none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Finish {
    /// All events are accepted, or dropped by a named rule.
    Delivered,
    /// Nothing was to be delivered: the tenant is switched off or does not want the application.
    Skipped,
    /// The table has no such tenant.
    Unknown,
    /// The same, and no tenant was found yet: it may be the layout or the table that is wrong.
    UnknownSoFar,
    /// The body is no notification, or the key is off the layout.
    Invalid,
    /// A newer version of the object replaces the rest of this one.
    Superseded,
    /// The object is not there.
    Missing,
    /// The object is damaged, or holds no record at all.
    Corrupt,
    /// Something went wrong that may be the object's own doing.
    Retryable,
    /// A service is out of order or has too much to do: no fault of the object, however often it is tried.
    Unavailable,
    /// The tenant's role, group or bucket refuses.
    TenantDenied,
    /// The tenant's row cannot be used.
    ConfigInvalid,
    /// The daemon's own rights or resources are missing.
    GlobalFault,
}

impl Finish {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Delivered,
        Self::Skipped,
        Self::Unknown,
        Self::UnknownSoFar,
        Self::Invalid,
        Self::Superseded,
        Self::Missing,
        Self::Corrupt,
        Self::Retryable,
        Self::Unavailable,
        Self::TenantDenied,
        Self::ConfigInvalid,
        Self::GlobalFault,
    ];

    /// The name in metrics, receipts and dead-letter attributes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Skipped => "skipped",
            Self::Unknown => "unknown_tenant",
            Self::UnknownSoFar => "unknown_so_far",
            Self::Invalid => "invalid_notification",
            Self::Superseded => "superseded",
            Self::Missing => "object_missing",
            Self::Corrupt => "corrupt_object",
            Self::Retryable => "retryable",
            Self::Unavailable => "unavailable",
            Self::TenantDenied => "tenant_denied",
            Self::ConfigInvalid => "config_invalid",
            Self::GlobalFault => "global_fault",
        }
    }

    /// Whether an attempt that ended so, and settled no event, brings its object nearer to being poison.
    #[must_use]
    pub const fn is_strike(self) -> bool {
        matches!(self, Self::Retryable | Self::Missing)
    }

    /// Whether every event that was to be delivered was.
    #[must_use]
    pub const fn is_success(self) -> bool {
        matches!(self, Self::Delivered | Self::Skipped | Self::Superseded)
    }
}

/// How a delivery ended, and how often it was tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// What became of it.
    pub finish: Finish,
    /// Attempts in a row, this one included, that settled no event and were nobody else's fault ([`Finish::is_strike`]).
    pub strikes: u32,
}

/// Settings of the settlement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettlePolicy {
    /// Attempts without progress after which a message counts as poison.
    pub strikes_max: u32,
    /// Whether messages of unknown tenants are kept in the dead-letter queue.
    pub keep_unknown: bool,
    /// Whether there is a dead-letter queue of our own.
    pub dead_letters: bool,
    /// The shortest time after which what a tenant denied is tried again.
    pub denied_least: Duration,
}

/// What is done with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It is deleted.
    Acknowledge,
    /// It is shown again after the delay.
    HandBack(Duration),
    /// It goes to the dead-letter queue with this reason, then is deleted.
    DeadLetter(Finish),
}

/// First delay and longest delay of work that is handed back.
const RETRY_DELAYS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(900));

/// Half of it is the shortest time that a message is hidden that there is no room for.
const CROWDED_LEAST: Duration = Duration::from_secs(2);

/// How long a message is hidden that its tenant has no room for: as long as the first of those that wait has waited, and no less
/// than half of that. So it comes back about when those before it are gone, be the tenant fast or stuck.
#[must_use]
pub fn crowded(waited: Duration, entropy: u64) -> Duration {
    equal_jitter(0, waited.max(CROWDED_LEAST), RETRY_DELAYS.1, entropy)
}

/// Decides about a message whose deliveries all are finished. One that must be tried again decides for all, because the
/// message is one; then one that is a lost cause; a message is deleted only when neither is among them.
#[must_use]
pub fn settle(ended: &[Ended], receive_count: u32, policy: &SettlePolicy, entropy: u64) -> Settlement {
    let hand_back =
        |(base, cap)| Settlement::HandBack(equal_jitter(receive_count.saturating_sub(1), base, cap, entropy));
    let dead = |finish| {
        if policy.dead_letters { Settlement::DeadLetter(finish) } else { hand_back((RETRY_DELAYS.1, RETRY_DELAYS.1)) }
    };
    let has = |wanted: Finish| ended.iter().any(|it| it.finish == wanted);
    if has(Finish::GlobalFault) || has(Finish::UnknownSoFar) {
        // Never the message's fault, so it is never poison for it.
        return hand_back(RETRY_DELAYS);
    }
    if has(Finish::TenantDenied) || has(Finish::ConfigInvalid) {
        return hand_back(circuit::delays(policy.denied_least));
    }
    let alive = |it: &Ended| it.finish.is_strike() && it.strikes < policy.strikes_max;
    if has(Finish::Unavailable) || ended.iter().any(alive) {
        return hand_back(RETRY_DELAYS);
    }
    if let Some(lost) = [Finish::Retryable, Finish::Missing, Finish::Corrupt].into_iter().find(|finish| has(*finish)) {
        return dead(lost);
    }
    if has(Finish::Invalid) {
        // Without a queue to keep it in it is deleted: it can never become a notification.
        return if policy.dead_letters { Settlement::DeadLetter(Finish::Invalid) } else { Settlement::Acknowledge };
    }
    if has(Finish::Unknown) && policy.keep_unknown && policy.dead_letters {
        return Settlement::DeadLetter(Finish::Unknown);
    }
    Settlement::Acknowledge
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Deliveries that ended so for so many times in a row.
    fn ended(finishes: &[Finish], strikes: u32) -> Vec<Ended> {
        finishes.iter().map(|finish| Ended { finish: *finish, strikes }).collect()
    }

    const POLICY: SettlePolicy = SettlePolicy {
        strikes_max: 5,
        keep_unknown: false,
        dead_letters: true,
        denied_least: Duration::from_secs(300),
    };

    #[test]
    fn a_crowded_message_is_hidden_for_as_long_as_others_wait() {
        let hidden = |waited, entropy| crowded(Duration::from_millis(waited), entropy).as_secs_f64();
        assert_eq!((hidden(0, 0), hidden(0, u64::MAX)), (1.0, 2.0));
        assert_eq!((hidden(20_000, 0), hidden(20_000, u64::MAX)), (10.0, 20.0));
        assert_eq!((hidden(86_400_000, 0), hidden(86_400_000, u64::MAX)), (450.0, 900.0));
    }

    #[test]
    fn each_outcome_alone() {
        let at = |finish, receives| settle(&ended(&[finish], receives), receives, &POLICY, 0);
        for finish in [Finish::Delivered, Finish::Skipped, Finish::Superseded, Finish::Unknown] {
            assert_eq!(at(finish, 1), Settlement::Acknowledge);
        }
        assert_eq!(at(Finish::Invalid, 1), Settlement::DeadLetter(Finish::Invalid));
        assert_eq!(at(Finish::Retryable, 1), Settlement::HandBack(Duration::from_secs(5)));
        assert_eq!(at(Finish::Retryable, 3), Settlement::HandBack(Duration::from_secs(20)));
        assert_eq!(at(Finish::Retryable, 5), Settlement::DeadLetter(Finish::Retryable));
        assert_eq!(at(Finish::Unavailable, 50), Settlement::HandBack(Duration::from_secs(450)));
        assert_eq!(at(Finish::Corrupt, 1), Settlement::DeadLetter(Finish::Corrupt));
        // Poison are attempts without progress, not receives; and a delivery that may yet succeed keeps the message.
        let patient = [Ended { finish: Finish::Retryable, strikes: 1 }];
        assert_eq!(settle(&patient, 50, &POLICY, 0), Settlement::HandBack(Duration::from_secs(450)));
        let mixed = [Ended { finish: Finish::Retryable, strikes: 9 }, Ended { finish: Finish::Missing, strikes: 1 }];
        assert_eq!(settle(&mixed, 1, &POLICY, 0), Settlement::HandBack(Duration::from_secs(5)));
        assert_eq!(at(Finish::Missing, 5), Settlement::DeadLetter(Finish::Missing));
        assert_eq!(at(Finish::TenantDenied, 50), Settlement::HandBack(Duration::from_secs(1800)));
        assert_eq!(at(Finish::TenantDenied, 1), Settlement::HandBack(Duration::from_secs(300)));
        assert_eq!(at(Finish::ConfigInvalid, 5), at(Finish::TenantDenied, 5));
        assert_eq!(at(Finish::GlobalFault, 50), Settlement::HandBack(Duration::from_secs(450)));
        assert_eq!(settle(&[], 1, &POLICY, 0), Settlement::Acknowledge);
    }

    #[test]
    fn without_a_dead_letter_queue_nothing_but_noise_is_deleted() {
        let policy = SettlePolicy { dead_letters: false, ..POLICY };
        assert_eq!(
            settle(&ended(&[Finish::Corrupt], 9), 9, &policy, 0),
            Settlement::HandBack(Duration::from_secs(450))
        );
        assert_eq!(settle(&ended(&[Finish::Invalid], 1), 1, &policy, 0), Settlement::Acknowledge);
    }

    /// predecessor.md §15, rows "requeue": when a failed delivery is tried again. There a copy of the message was sent to
    /// the queue, 2^(retries + 1) s later and 900 s at most, and after three retries it was dropped with a line in the
    /// log. Here (design §7) the message itself is handed back, and the delay begins at 10 s, of which half is fixed and
    /// half is drawn. Retry 0 is the first receive. In brackets the delay there.
    #[test]
    fn predecessor_15_requeue() {
        let patient = SettlePolicy { strikes_max: u32::MAX, ..POLICY };
        let at = |retries: u32, policy: &SettlePolicy, entropy| {
            settle(&ended(&[Finish::Retryable], retries + 1), retries + 1, policy, entropy)
        };
        let delays = [
            ("retry 0 (2)", 0, 5..=10),
            ("retry 1 (4)", 1, 10..=20),
            ("retry 2 (8)", 2, 20..=40),
            ("retry 3 (16)", 3, 40..=80),
            ("retry 4 (32)", 4, 80..=160),
            ("retry 5 (64)", 5, 160..=320),
            ("retry 6 (128)", 6, 320..=640),
            ("retry 7 (256)", 7, 450..=900),
            ("retry 8 (512)", 8, 450..=900),
            ("retry 9 (900)", 9, 450..=900),
            ("retry 10 (900)", 10, 450..=900),
            ("retry 1000 (900)", 1000, 450..=900),
        ];
        for (case, retries, seconds) in delays {
            for (entropy, delay) in [(0, *seconds.start()), (u64::MAX, *seconds.end())] {
                let expected = Settlement::HandBack(Duration::from_secs(delay));
                assert_eq!(at(retries, &patient, entropy), expected, "15 requeue: {case}");
            }
        }

        let three = |dead_letters| SettlePolicy { strikes_max: 3, dead_letters, ..POLICY };
        let (shortest, longest) = (Duration::from_secs(450), Duration::from_secs(900));
        let ends = [
            ("retry 1 max 3", 1, three(true), 0, Settlement::HandBack(Duration::from_secs(10))),
            (
                "retry 2 max 3: the third attempt was the last",
                2,
                three(true),
                0,
                Settlement::DeadLetter(Finish::Retryable),
            ),
            // There it was dropped without a word to anybody: no send, no error.
            ("retry 5 max 3", 5, three(true), 0, Settlement::DeadLetter(Finish::Retryable)),
            // With no URL to send to, it was dropped too; here it stays in its queue, whose own redrive may take it.
            ("empty URL", 5, three(false), 0, Settlement::HandBack(shortest)),
            ("empty URL, longest", 5, three(false), u64::MAX, Settlement::HandBack(longest)),
        ];
        for (case, retries, policy, entropy, expected) in ends {
            assert_eq!(at(retries, &policy, entropy), expected, "15 requeue: {case}");
        }
    }

    /// All sets of outcomes, with and without a dead-letter queue, on the first and on the last receive, by the laws of
    /// design §7 one after the other.
    #[test]
    fn every_set_of_outcomes_is_settled_by_the_laws() {
        for set in 0_u32..1 << Finish::ALL.len() {
            let finishes: Vec<Finish> =
                (0..Finish::ALL.len()).filter(|at| set >> at & 1 == 1).map(|at| Finish::ALL[at]).collect();
            let has = |wanted| finishes.contains(&wanted);
            for (receives, dead_letters, keep_unknown) in
                [1, 4, 5, 90].into_iter().flat_map(|it| [(it, true, true), (it, true, false), (it, false, true)])
            {
                let policy = SettlePolicy { strikes_max: 5, keep_unknown, dead_letters, ..POLICY };
                let settled = settle(&ended(&finishes, receives), receives, &policy, u64::MAX / 3);
                let again = has(Finish::Retryable) || has(Finish::Missing);
                let waits = has(Finish::Unavailable);
                let tenants = has(Finish::TenantDenied) || has(Finish::ConfigInvalid);
                let held = has(Finish::GlobalFault) || has(Finish::UnknownSoFar) || tenants || waits;
                match settled {
                    Settlement::Acknowledge => {
                        let lost = has(Finish::Corrupt) || has(Finish::Invalid) && dead_letters;
                        let kept = has(Finish::Unknown) && keep_unknown && dead_letters;
                        assert!(!again && !held && !lost && !kept, "{finishes:?}");
                    }
                    Settlement::DeadLetter(reason) => {
                        assert!(dead_letters && !held && has(reason) && !reason.is_success(), "{finishes:?}");
                        assert!(!again || receives >= 5, "what may yet succeed is tried again: {finishes:?}");
                    }
                    Settlement::HandBack(delay) => {
                        assert!(again || held || has(Finish::Corrupt) && !dead_letters, "{finishes:?}");
                        assert!(held || !again || receives < 5 || !dead_letters, "poison goes: {finishes:?}");
                        assert!(delay >= Duration::from_secs(5) && delay <= Duration::from_secs(3600));
                        if tenants && !has(Finish::GlobalFault) && !has(Finish::UnknownSoFar) {
                            assert!(delay >= Duration::from_secs(300), "{delay:?}");
                        }
                    }
                }
                let mut reversed = finishes.clone();
                reversed.reverse();
                reversed.extend_from_slice(&finishes);
                assert_eq!(
                    settle(&ended(&reversed, receives), receives, &policy, u64::MAX / 3),
                    settled,
                    "order and number do not matter"
                );
            }
        }
    }

    proptest! {
        /// A message is deleted only when every delivery is finished for good.
        #[test]
        fn nothing_unfinished_is_acknowledged(
            picks in prop::collection::vec(0..Finish::ALL.len(), 0..6), receives in 1_u32..20, dead_letters: bool, keep_unknown: bool, entropy: u64,
        ) {
            let finishes: Vec<Finish> = picks.into_iter().map(|at| Finish::ALL[at]).collect();
            let policy = SettlePolicy { strikes_max: 5, keep_unknown, dead_letters, ..POLICY };
            if settle(&ended(&finishes, receives), receives, &policy, entropy) == Settlement::Acknowledge {
                let done = |it: &Finish| it.is_success() || matches!(it, Finish::Unknown | Finish::Invalid);
                prop_assert!(finishes.iter().all(done));
            }
        }
    }
}
