//! The rules of a running cloud, and what they have seen and done.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hyper::HeaderMap;

use super::draw;
use super::kind::Kind;
use super::spec::{Faults, Rule};
use crate::api::{Caller, lock};

/// Faults that happened, by kind.
type Done = Mutex<BTreeMap<&'static str, u64>>;

/// Decides for each call of a cloud. Without faults that is one look at an empty place.
#[derive(Debug, Default)]
pub(crate) struct Injector {
    plan: RwLock<Option<Arc<Plan>>>,
    /// ARNs of the callers to whom nothing happens.
    spared: RwLock<BTreeSet<String>>,
    done: Arc<Done>,
}

#[derive(Debug)]
struct Plan {
    seed: u64,
    rules: Vec<Running>,
    done: Arc<Done>,
}

#[derive(Debug)]
struct Running {
    rule: Rule,
    /// What stands for it among all rules.
    number: u64,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    calls: u64,
    faults: u64,
}

/// What a call asks for that a fault may refuse.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asks {
    range: bool,
    condition: bool,
}

impl Asks {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let condition = |name: &str| name.starts_with("if-") || name.starts_with("x-amz-copy-source-if-");
        Self { range: headers.contains_key("range"), condition: headers.keys().any(|name| condition(name.as_str())) }
    }

    /// S3 refuses no range and no condition that nobody asked for.
    fn can_meet(self, kind: Kind) -> bool {
        (kind != Kind::Error412 || self.condition) && (kind != Kind::Error416 || self.range)
    }
}

impl Injector {
    /// From now on these faults happen, with counts of their own, or none.
    pub(crate) fn set(&self, faults: Option<&Faults>) {
        let plan = faults.map(|faults| Arc::new(Plan::new(faults, Arc::clone(&self.done))));
        *self.plan.write().unwrap_or_else(PoisonError::into_inner) = plan;
    }

    /// Whether any fault may happen.
    pub(crate) fn is_on(&self) -> bool {
        self.plan.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// From now on no rule sees the calls of the user or session with this ARN.
    pub(crate) fn spare(&self, arn: &str) {
        self.spared.write().unwrap_or_else(PoisonError::into_inner).insert(arn.to_owned());
    }

    /// What happens to a call.
    pub(crate) fn choose(&self, service: &str, operation: &str, caller: &Caller, asks: Asks) -> Option<Fault> {
        let plan = self.plan.read().unwrap_or_else(PoisonError::into_inner).clone()?;
        if self.spared.read().unwrap_or_else(PoisonError::into_inner).contains(&caller.arn) {
            return None;
        }
        plan.choose(|rule| rule.concerns(service, operation, &caller.account) && asks.can_meet(rule.kind))
    }

    /// How many faults happened so far, by kind.
    pub(crate) fn done(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.done).clone()
    }
}

impl Plan {
    fn new(faults: &Faults, done: Arc<Done>) -> Self {
        let running = |rule: &Rule| Running {
            number: draw::of_text(&rule.to_string()),
            rule: rule.clone(),
            counts: Mutex::default(),
        };
        Self { seed: faults.seed, rules: faults.rules.iter().map(running).collect(), done }
    }

    fn choose(self: Arc<Self>, concerned: impl Fn(&Rule) -> bool) -> Option<Fault> {
        let chosen = self.rules.iter().enumerate().find_map(|(at, running)| {
            if !concerned(&running.rule) {
                return None;
            }
            let number = running.next(self.seed)?;
            Some((at, running.rule.kind, running.rule.amount, number))
        });
        let (at, kind, amount, number) = chosen?;
        Some(Fault { kind, amount, number, plan: self, at, happened: AtomicBool::new(false) })
    }
}

impl Running {
    /// Sees the next call. If the rule fires, gives a number for what there is to choose about the fault.
    fn next(&self, seed: u64) -> Option<u64> {
        let mut counts = lock(&self.counts);
        let call = counts.calls;
        counts.calls += 1;
        let number = draw::of_call(seed, self.number, call);
        let over = self.rule.times.is_some_and(|times| counts.faults >= times);
        if call < self.rule.after || over || !draw::hits(self.rule.chance_ppm, number) {
            return None;
        }
        counts.faults += 1;
        Some(draw::next(number))
    }
}

/// What happens to one call. Dropped before it has happened, it never did.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    /// The argument of the kind, if one was given.
    pub(crate) amount: Option<u64>,
    /// What decides where there is a choice.
    pub(crate) number: u64,
    plan: Arc<Plan>,
    at: usize,
    happened: AtomicBool,
}

impl Fault {
    /// It happens: it is counted, once.
    pub(crate) fn happens(&self) {
        if !self.happened.swap(true, Ordering::Relaxed) {
            *lock(&self.plan.done).entry(self.kind.name()).or_default() += 1;
        }
    }
}

impl Fault {
    /// Whether a client may never get the answer of a call that was done.
    pub(crate) fn leaves_unanswered(&self) -> bool {
        [Kind::ResetAfter, Kind::Cut, Kind::Delay].contains(&self.kind)
    }

    /// How many of so many events it rejects, which then happens; none if it is of another kind or there are none.
    pub(crate) fn rejects(&self, events: usize) -> Option<usize> {
        if ![Kind::RejectOld, Kind::RejectNew, Kind::RejectExpired].contains(&self.kind) || events == 0 {
            return None;
        }
        self.happens();
        let of = u64::try_from(events).unwrap_or(u64::MAX);
        let rejected = self.amount.unwrap_or_else(|| 1 + draw::below(self.number, of));
        Some(usize::try_from(rejected).map_or(events, |rejected| rejected.min(events)))
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        if !*self.happened.get_mut()
            && let Some(running) = self.plan.rules.get(self.at)
        {
            lock(&running.counts).faults -= 1;
        }
    }
}

/// Where the fault of a call is put that is chosen deeper inside than it is needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct FaultSlot(Arc<Mutex<Option<Fault>>>);

impl FaultSlot {
    pub(crate) fn put(&self, fault: Fault) {
        *lock(&self.0) = Some(fault);
    }

    pub(crate) fn take(&self) -> Option<Fault> {
        lock(&self.0).take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injector(spec: &str, seed: u64) -> Injector {
        let injector = Injector::default();
        injector.set(Some(&Faults::parse(spec, seed).unwrap()));
        injector
    }

    fn caller(account: &str, name: &str) -> Caller {
        Caller {
            account: account.to_owned(),
            arn: format!("arn:aws:iam::{account}:user/{name}"),
            role: None,
            tags: BTreeMap::new(),
            transitive: BTreeSet::new(),
        }
    }

    /// The kinds that calls of PutLogEvents meet, one after the other.
    fn met(injector: &Injector, calls: usize) -> Vec<&'static str> {
        let meet = |_| {
            let fault = injector.choose("logs", "PutLogEvents", &caller("222222222222", "x"), Asks::default());
            fault.as_ref().inspect(|fault| fault.happens()).map_or("", |fault| fault.kind.name())
        };
        (0..calls).map(meet).collect()
    }

    #[test]
    fn the_same_calls_meet_the_same_faults() {
        let spec = "logs throttle 20%; * 500 10%; logs.PutLogEvents cut 50% after=3";
        let first = met(&injector(spec, 7), 200);
        assert_eq!(met(&injector(spec, 7), 200), first);
        assert_ne!(met(&injector(spec, 8), 200), first);
        assert!(["throttle", "500", "cut", ""].iter().all(|kind| first.contains(kind)), "{first:?}");
        // A rule's own calls count, and no others: what is rare elsewhere changes nothing here.
        let beside = format!("sqs 503; {spec}");
        assert_eq!(met(&injector(&beside, 7), 200), first);
    }

    #[test]
    fn a_rule_lets_calls_pass_and_ends() {
        assert_eq!(met(&injector("logs cut after=2 times=2", 0), 6), ["", "", "cut", "cut", "", ""]);
        // The first that fires has the call, and the others do not see it.
        assert_eq!(met(&injector("* 500 times=1; logs cut after=1 times=1", 0), 4), ["500", "", "cut", ""]);
        assert_eq!(met(&injector("s3 500; logs@111111111111 500; logs 503 0%", 0), 2), ["", ""]);
    }

    #[test]
    fn who_is_spared_meets_none_and_is_not_counted() {
        let injector = injector("* 500 after=1 times=1", 0);
        injector.spare("arn:aws:iam::1:user/spared");
        let meets = |name: &str| {
            let fault = injector.choose("s3", "PutObject", &caller("1", name), Asks::default());
            fault.inspect(Fault::happens).is_some()
        };
        let met = ["spared", "spared", "other", "spared", "other", "other"].map(meets);
        assert_eq!(met, [false, false, false, false, true, false]);
    }

    #[test]
    fn what_did_not_happen_does_not_count() {
        let injector = injector("logs cut times=1", 0);
        let choose = || injector.choose("logs", "PutLogEvents", &caller("1", "x"), Asks::default());
        drop(choose());
        let fault = choose().unwrap();
        assert!(choose().is_none());
        fault.happens();
        fault.happens();
        drop(fault);
        assert!(choose().is_none());
        assert_eq!(injector.done(), [("cut", 1)].into());
        injector.set(None);
        assert!(choose().is_none() && !injector.is_on());
        assert_eq!(injector.done(), [("cut", 1)].into());
    }

    #[test]
    fn a_range_and_a_condition_are_refused_where_they_are_asked_for() {
        let injector = injector("s3 416; s3 412", 0);
        let met = |headers: &[&'static str]| {
            let headers =
                headers.iter().map(|name| (hyper::header::HeaderName::from_static(name), "x".parse().unwrap()));
            let asks = Asks::of(&headers.collect());
            injector.choose("s3", "GetObject", &caller("1", "x"), asks).map(|fault| fault.kind)
        };
        assert_eq!(met(&["host"]), None);
        assert_eq!(met(&["range", "if-match"]), Some(Kind::Error416));
        assert_eq!(met(&["if-match"]), Some(Kind::Error412));
        assert_eq!(met(&["x-amz-copy-source-if-match"]), Some(Kind::Error412));
    }
}
