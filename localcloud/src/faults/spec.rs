//! What is to go wrong, written down. README.md shows the grammar; a specification that was read is shown as one that
//! reads the same.

use std::fmt;
use std::str::FromStr;

use super::draw::ALWAYS_PPM;
use super::kind::{Kind, SERVICES, Scope};

/// Most rules of a specification, those of presets among them: each call asks them all.
const RULES_MAX: usize = 100;
/// Longest text of a rule that an error repeats.
const SHOWN_CHARS_MAX: usize = 80;

/// Named specifications. What `light` does loses nothing and changes nothing, for a client that tries again. `heavy` does
/// more of it, and rejects events too, which are remembered.
const PRESETS: [(&str, &str); 2] = [
    (
        "light",
        "* throttle 1%; * 500 0.5%; * 503 0.5%; * reset-before 0.5%; * reset-after 0.5%; * delay=300ms 1%; \
         s3.GetObject cut 1%; s3.GetObject slow=4MiB 1%; sqs duplicate 1%; sqs reorder 5%; sqs lost-hide 1%; \
         sqs lost-delete 1%",
    ),
    (
        "heavy",
        "* throttle 5%; * 500 2%; * 503 2%; * reset-before 2%; * reset-after 2%; * cut 1%; * delay=1s 3%; * expired 1%; \
         s3.GetObject cut 10%; s3.GetObject slow=1MiB 2%; logs.PutLogEvents reset-after 3%; \
         logs.PutLogEvents reject-old 0.5%; logs.PutLogEvents reject-new 0.5%; logs.PutLogEvents reject-expired 0.5%; \
         sqs duplicate 5%; sqs reorder 20%; sqs lost-hide 5%; sqs lost-delete 5%",
    ),
];

/// What is to go wrong in a cloud: rules, and the seed that decides.
///
/// ```
/// let faults = localcloud::Faults::parse("logs.PutLogEvents reset-after 5% after=2; sqs duplicate 1%", 7)?;
/// assert_eq!(faults.to_string(), "logs.PutLogEvents reset-after 5% after=2; sqs duplicate 1%");
/// let error = localcloud::Faults::parse("light; s3 cutt", 7).unwrap_err();
/// assert!(error.to_string().starts_with("rule 2, \"s3 cutt\": \"cutt\" is not allowed; allowed: throttle, 500, "));
/// # Ok::<(), localcloud::FaultSpecError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    pub(super) rules: Vec<Rule>,
    pub(super) seed: u64,
}

/// What is wrong with a specification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule}, {text:?}: {given:?} is not allowed; allowed: {allowed}")]
pub struct FaultSpecError {
    /// The rule's place, the first one being 1.
    pub rule: usize,
    /// The rule, or how it begins.
    pub text: String,
    /// The part of it that is wrong.
    pub given: String,
    /// What could stand there.
    pub allowed: String,
}

/// Calls, and what happens to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    pub(super) calls: Calls,
    pub(super) kind: Kind,
    pub(super) amount: Option<u64>,
    pub(super) chance_ppm: u32,
    /// Calls that it lets pass first.
    pub(super) after: u64,
    /// Faults after which it is over.
    pub(super) times: Option<u64>,
}

/// Which calls: what is absent is any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Calls {
    pub(super) service: Option<&'static str>,
    pub(super) operation: Option<&'static str>,
    pub(super) account: Option<String>,
}

/// What is wrong with a part of a rule: what was given, and what is allowed.
type Wrong = (String, String);

impl Faults {
    /// Reads a specification.
    ///
    /// # Errors
    /// [`FaultSpecError`], with the first rule that is wrong.
    pub fn parse(spec: &str, seed: u64) -> Result<Self, FaultSpecError> {
        let mut rules = Vec::new();
        for (at, text) in spec.split(';').enumerate() {
            let text = text.trim();
            let read = match PRESETS.iter().find(|(name, _)| *name == text) {
                Some((_, rules)) => rules.split(';').map(Rule::from_str).collect(),
                None => text.parse().map(|rule| vec![rule]),
            };
            let read: Result<Vec<Rule>, Wrong> = read;
            let within = read.and_then(|read| {
                rules.extend(read);
                if rules.len() > RULES_MAX { Err((text.to_owned(), format!("{RULES_MAX} rules"))) } else { Ok(()) }
            });
            within.map_err(|(given, allowed)| {
                let text = text.chars().take(SHOWN_CHARS_MAX).collect();
                FaultSpecError { rule: at + 1, text, given: given.chars().take(SHOWN_CHARS_MAX).collect(), allowed }
            })?;
        }
        Ok(Self { rules, seed })
    }

    /// The same rules, with another number that decides.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// The number that decides.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }
}

/// The rules, as [`Faults::parse`] reads them; presets are shown as what they stand for.
impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, rule) in self.rules.iter().enumerate() {
            let between = if at == 0 { "" } else { "; " };
            write!(f, "{between}{rule}")?;
        }
        Ok(())
    }
}

impl Rule {
    /// Whether a call is one of those that it concerns.
    pub(super) fn concerns(&self, service: &str, operation: &str, account: &str) -> bool {
        let Calls { service: of, operation: one, account: by } = &self.calls;
        of.is_none_or(|of| of == service)
            && one.is_none_or(|one| one == operation)
            && by.as_ref().is_none_or(|by| by == account)
            && self.kind.scope().has(service, operation)
    }
}

impl FromStr for Rule {
    type Err = Wrong;

    fn from_str(text: &str) -> Result<Self, Wrong> {
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        let calls = Calls::read(first)?;
        let second = words.next().unwrap_or_default();
        let (kind, amount) = Kind::read(second).map_err(|allowed| (second.to_owned(), allowed))?;
        let mut rule = Self { calls, kind, amount, chance_ppm: ALWAYS_PPM, after: 0, times: None };
        rule.check(first)?;
        let (mut chance, mut after) = (None, None);
        for word in words {
            let wrong = |allowed: &str| (word.to_owned(), allowed.to_owned());
            let count = |text: &str| text.bytes().all(|it| it.is_ascii_digit()).then(|| text.parse::<u64>().ok())?;
            let again = match word.split_once('=') {
                Some(("after", calls)) => after.replace(count(calls).ok_or_else(|| wrong("after=CALLS"))?).is_some(),
                Some(("times", faults)) => {
                    let faults = count(faults).filter(|it| *it > 0);
                    rule.times.replace(faults.ok_or_else(|| wrong("times=FAULTS (1 or more)"))?).is_some()
                }
                Some(_) => return Err(wrong("a chance, after=CALLS, times=FAULTS")),
                None => {
                    let allowed =
                        "a chance of 0% to 100% or 0 to 1 (with at most 4 or 6 decimals), after=CALLS, times=FAULTS";
                    chance.replace(chance_ppm(word).ok_or_else(|| wrong(allowed))?).is_some()
                }
            };
            if again {
                return Err(wrong("each of chance, after and times once"));
            }
        }
        rule.chance_ppm = chance.unwrap_or(ALWAYS_PPM);
        rule.after = after.unwrap_or_default();
        Ok(rule)
    }
}

impl Rule {
    /// Its kind must be able to happen to its calls.
    fn check(&self, given: &str) -> Result<(), Wrong> {
        let Scope::Of(own, operations) = self.kind.scope() else { return Ok(()) };
        let possible = self.calls.service.is_none_or(|service| service == own)
            && self.calls.operation.is_none_or(|operation| operations.contains(&operation));
        if possible {
            return Ok(());
        }
        let named = operations.iter().map(|operation| format!(", {own}.{operation}"));
        Err((given.to_owned(), format!("*, {own}{} with {}", named.collect::<String>(), self.kind.name())))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.calls)?;
        self.kind.show(self.amount, f)?;
        if self.chance_ppm != ALWAYS_PPM {
            let (whole, rest) = (self.chance_ppm / 10_000, self.chance_ppm % 10_000);
            let decimals = format!(".{rest:04}");
            write!(f, " {whole}{}%", decimals.trim_end_matches('0').trim_end_matches('.'))?;
        }
        if self.after > 0 {
            write!(f, " after={}", self.after)?;
        }
        self.times.map_or(Ok(()), |times| write!(f, " times={times}"))
    }
}

impl Calls {
    /// Reads `SERVICE`, `SERVICE.OPERATION` or `*`, and behind any of them `@ACCOUNT`.
    fn read(text: &str) -> Result<Self, Wrong> {
        let (what, account) = text.split_once('@').map_or((text, None), |(what, account)| (what, Some(account)));
        let account = match account {
            Some(account) if account.len() != 12 || !account.bytes().all(|it| it.is_ascii_digit()) => {
                return Err((account.to_owned(), "an account's twelve digits".to_owned()));
            }
            account => account.map(str::to_owned),
        };
        if what == "*" {
            return Ok(Self { account, ..Self::default() });
        }
        let (name, operation) = what.split_once('.').map_or((what, None), |(name, one)| (name, Some(one)));
        let Some((service, operations)) = SERVICES.into_iter().find(|(service, _)| *service == name) else {
            let services = SERVICES.map(|(service, _)| service).join(", ");
            let presets = PRESETS.map(|(name, _)| name).join(", ");
            return Err((name.to_owned(), format!("{services}, * and a kind of fault; or {presets} alone")));
        };
        let operation = match operation {
            None => None,
            Some(given) => {
                let found = operations.iter().find(|it| **it == given).copied();
                Some(found.ok_or_else(|| (given.to_owned(), operations.join(", ")))?)
            }
        };
        Ok(Self { service: Some(service), operation, account })
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.service.unwrap_or("*"))?;
        if let Some(operation) = self.operation {
            write!(f, ".{operation}")?;
        }
        self.account.as_ref().map_or(Ok(()), |account| write!(f, "@{account}"))
    }
}

/// Reads `5%`, `0.5%`, `0.05` or `1`.
fn chance_ppm(text: &str) -> Option<u32> {
    let (number, places) = text.strip_suffix('%').map_or((text, 6), |number| (number, 4));
    let (whole, decimals) = number.split_once('.').unwrap_or((number, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > places {
        return None;
    }
    let ppm = format!("{whole}{decimals:0<places$}").parse::<u32>().ok()?;
    (ppm <= ALWAYS_PPM).then_some(ppm)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(spec: &str) -> String {
        Faults::parse(spec, 0).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_rule_what_was_given_and_what_is_allowed() {
        let allowed = "is not allowed; allowed: ";
        for (spec, expected) in [
            (
                "",
                "rule 1, \"\": \"\" is not allowed; allowed: s3, sqs, dynamodb, sts, logs, * and a kind of fault; or light",
            ),
            ("light;", "rule 2, \"\": \"\" "),
            ("heavy cut", "rule 1, \"heavy cut\": \"heavy\" "),
            ("light; ec2 cut", "rule 2, \"ec2 cut\": \"ec2\" "),
            ("s3", "rule 1, \"s3\": \"\" is not allowed; allowed: throttle, 500, "),
            (
                "sts.Query cut",
                "rule 1, \"sts.Query cut\": \"Query\" is not allowed; allowed: AssumeRole, GetCallerIdentity",
            ),
            ("s3@12 cut", "rule 1, \"s3@12 cut\": \"12\" is not allowed; allowed: an account's twelve digits"),
            ("s3 cut 101%", "rule 1, \"s3 cut 101%\": \"101%\" is not allowed; allowed: a chance of 0% to 100%"),
            ("s3 cut 5% 5%", "rule 1, \"s3 cut 5% 5%\": \"5%\" is not allowed; allowed: each of chance, after"),
            ("s3 cut after=-1", "rule 1, \"s3 cut after=-1\": \"after=-1\" is not allowed; allowed: after=CALLS"),
            (
                "s3 cut times=0",
                "rule 1, \"s3 cut times=0\": \"times=0\" is not allowed; allowed: times=FAULTS (1 or more)",
            ),
            ("s3 cut at=1", "rule 1, \"s3 cut at=1\": \"at=1\" is not allowed; allowed: a chance, after=CALLS"),
            ("s3 delay", "rule 1, \"s3 delay\": \"delay\" is not allowed; allowed: delay=TIME (1ms to 24h)"),
            (
                "sqs.SendMessage duplicate",
                "rule 1, \"sqs.SendMessage duplicate\": \"sqs.SendMessage\" is not allowed; allowed: *, sqs, \
                 sqs.ReceiveMessage with duplicate",
            ),
        ] {
            let error = refused(spec);
            assert!(error.starts_with(expected) && error.contains(allowed) && !error.contains('\n'), "{error}");
        }
        let most = ["s3 cut"; RULES_MAX].join(";");
        assert!(Faults::parse(&most, 0).is_ok());
        assert!(refused(&(most + "; s3 cut")).ends_with("allowed: 100 rules"));
        assert!(refused(&"x".repeat(10_000)).len() < 400);
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let shown = |spec| Faults::parse(spec, 0).unwrap().to_string();
        assert_eq!(shown(" *  cut\t100%  after=0 ;\nsts 500 0.05"), "* cut; sts 500 5%");
        assert_eq!(
            shown("s3.GetObject@111111111111 slow=65536 0.0001% times=2"),
            "s3.GetObject@111111111111 slow=64KiB 0.0001% times=2"
        );
        assert_eq!(
            shown("logs reject-old=2 0 after=3; logs reject-new 1"),
            "logs reject-old=2 0% after=3; logs reject-new"
        );
        for (name, rules) in PRESETS {
            assert_eq!(shown(name), rules);
        }
    }

    #[test]
    fn a_kind_without_a_place_of_its_own_concerns_what_it_can_happen_to() {
        let rule = |text: &str| text.parse::<Rule>().unwrap();
        let anywhere = rule("* duplicate");
        assert!(anywhere.concerns("sqs", "ReceiveMessage", "1"));
        assert!(!anywhere.concerns("sqs", "SendMessage", "1") && !anywhere.concerns("s3", "GetObject", "1"));
        let by = rule("logs.PutLogEvents@222222222222 cut");
        assert!(by.concerns("logs", "PutLogEvents", "222222222222"));
        assert!(!by.concerns("logs", "PutLogEvents", "111111111111") && !by.concerns("logs", "X", "222222222222"));
    }

    /// Rules of all sorts, with every part there or not.
    fn rule() -> impl Strategy<Value = Rule> {
        let amount = prop_oneof![1..=30_u64, 1..=10_000_u64];
        let calls = (prop::option::of(0..SERVICES.len()), any::<prop::sample::Index>(), any::<bool>(), any::<bool>());
        let chance = prop_oneof![Just(ALWAYS_PPM), 0..=ALWAYS_PPM];
        let counts = (prop_oneof![Just(0), any::<u64>()], prop::option::of(1..=u64::MAX));
        (calls, prop::sample::select(Kind::ALL.to_vec()), prop::option::of(amount), chance, counts).prop_filter_map(
            "a kind at its place, with its amount",
            |((service, at, one, by), kind, amount, chance_ppm, (after, times))| {
                let service = service.map(|at| SERVICES[at]);
                let calls = Calls {
                    service: service.map(|(name, _)| name),
                    operation: service.filter(|_| one).map(|(_, operations)| *at.get(operations)),
                    account: by.then(|| "012345678901".to_owned()),
                };
                let rule = Rule { calls, kind, amount, chance_ppm, after, times };
                let takes = |text: &str| Kind::read(text).is_ok();
                let name = kind.name();
                let sound = match amount {
                    None => takes(name),
                    Some(_) => ["ms", ""].iter().any(|unit| takes(&format!("{name}=1{unit}"))),
                };
                (sound && rule.check("").is_ok()).then_some(rule)
            },
        )
    }

    proptest! {
        /// What is shown reads as what it was.
        #[test]
        fn rules_are_shown_as_they_are_read(rules in prop::collection::vec(rule(), 1..8), seed in any::<u64>()) {
            let faults = Faults { rules, seed };
            prop_assert_eq!(Faults::parse(&faults.to_string(), seed).unwrap(), faults);
        }

        /// Whatever is given, it is read or refused by one line, and what is read is shown as itself.
        #[test]
        fn no_text_is_a_panic(words in prop::collection::vec(word(), 0..12)) {
            match Faults::parse(&words.concat(), 0) {
                Ok(faults) => prop_assert_eq!(Faults::parse(&faults.to_string(), 0), Ok(faults)),
                Err(error) => prop_assert!(!error.to_string().contains('\n')),
            }
        }
    }

    /// Parts of a specification, and anything else.
    fn word() -> impl Strategy<Value = String> {
        let known = prop::sample::select(vec![
            "light",
            "heavy",
            "*",
            "s3",
            "logs",
            ".",
            "GetObject",
            "PutLogEvents",
            "@",
            "111111111111",
            " ",
            "; ",
            "cut",
            "delay",
            "slow",
            "reject-old",
            "=",
            "1",
            "5",
            "%",
            "0.5",
            "ms",
            "KiB",
            "after=",
            "times=",
            "é",
            "\n",
        ]);
        prop_oneof![6 => known.prop_map(str::to_owned), 1 => any::<String>()]
    }
}
