//! What can go wrong, what it is called, and which calls it can happen to.

use std::fmt;

use self::Takes::{Bytes, Events, Nothing, Time};

/// Longest delay: a day, which nobody waits for.
const DELAY_MS_MAX: u64 = 24 * 60 * 60 * 1000;
/// Fastest slow body.
const RATE_MAX: u64 = 1 << 30;
/// Most events that are rejected of a call: all of the longest.
const EVENTS_MAX: u64 = 10_000;

/// The services with their operations, as they are written in a rule.
pub(super) const SERVICES: [(&str, &[&str]); 5] = [
    (
        "s3",
        &[
            "CreateBucket",
            "PutObject",
            "GetObject",
            "HeadObject",
            "ListObjectsV2",
            "CopyObject",
            "CreateMultipartUpload",
            "UploadPartCopy",
            "CompleteMultipartUpload",
            "AbortMultipartUpload",
        ],
    ),
    (
        "sqs",
        &[
            "CreateQueue",
            "GetQueueUrl",
            "GetQueueAttributes",
            "SetQueueAttributes",
            "SendMessage",
            "ReceiveMessage",
            "DeleteMessage",
            "DeleteMessageBatch",
            "ChangeMessageVisibility",
            "ChangeMessageVisibilityBatch",
        ],
    ),
    ("dynamodb", &["CreateTable", "DescribeTable", "PutItem", "UpdateItem", "DeleteItem", "GetItem", "Query", "Scan"]),
    ("sts", &["AssumeRole", "GetCallerIdentity"]),
    (
        "logs",
        &[
            "CreateLogGroup",
            "CreateLogStream",
            "PutLogEvents",
            "PutRetentionPolicy",
            "DescribeLogGroups",
            "DescribeLogStreams",
            "GetLogEvents",
            "FilterLogEvents",
        ],
    ),
];

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Too many calls, in the service's words.
    Throttle,
    /// HTTP 500.
    Error500,
    /// HTTP 503.
    Error503,
    /// The credentials have expired.
    Expired,
    /// The clocks differ by too much.
    Skewed,
    /// The caller may not do it.
    Denied,
    /// The connection is reset, and nothing was done.
    ResetBefore,
    /// The connection is reset when it was done.
    ResetAfter,
    /// It is done, and the connection ends within the answer.
    Cut,
    /// It is done, and the answer comes later.
    Delay,
    /// The body comes slowly.
    Slow,
    /// One bit of the body is another one.
    Corrupt,
    /// There is no such object, though there is.
    Error404,
    /// The object is another one, though it is not.
    Error412,
    /// There is no such range, though there is.
    Error416,
    /// The first events are too old.
    RejectOld,
    /// The last events are too new.
    RejectNew,
    /// The first events are past the retention.
    RejectExpired,
    /// A message that is hidden is received again.
    Duplicate,
    /// Messages are received in another order.
    Reorder,
    /// A change of visibility is not done.
    LostHide,
    /// A message stays.
    LostDelete,
}

/// Which calls a kind can happen to: any, or these of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope {
    All,
    Of(&'static str, &'static [&'static str]),
}

impl Scope {
    pub(super) fn has(self, service: &str, operation: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(own, operations) => own == service && operations.contains(&operation),
        }
    }
}

/// What stands behind a kind's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Takes {
    Nothing,
    /// How long, in milliseconds.
    Time,
    /// How many bytes a second.
    Bytes,
    /// How many events; else the seed says.
    Events,
}

impl Takes {
    /// The units, largest first, and the most of the smallest one.
    const fn units(self) -> (&'static [(&'static str, u64)], u64) {
        match self {
            Nothing => (&[], 0),
            Time => (&[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)], DELAY_MS_MAX),
            Bytes => (&[("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)], RATE_MAX),
            Events => (&[("", 1)], EVENTS_MAX),
        }
    }

    const fn form(self) -> &'static str {
        match self {
            Nothing => "",
            Time => "=TIME (1ms to 24h)",
            Bytes => "=BYTES a second (1 to 1024MiB)",
            Events => "[=EVENTS] (1 to 10000)",
        }
    }
}

const READS: &[&str] = &["GetObject", "HeadObject", "CopyObject", "UploadPartCopy"];
const HIDES: &[&str] = &["ChangeMessageVisibility", "ChangeMessageVisibilityBatch"];
const DELETES: &[&str] = &["DeleteMessage", "DeleteMessageBatch"];

impl Kind {
    pub(super) const ALL: [Self; 22] = [
        Self::Throttle,
        Self::Error500,
        Self::Error503,
        Self::Expired,
        Self::Skewed,
        Self::Denied,
        Self::ResetBefore,
        Self::ResetAfter,
        Self::Cut,
        Self::Delay,
        Self::Slow,
        Self::Corrupt,
        Self::Error404,
        Self::Error412,
        Self::Error416,
        Self::RejectOld,
        Self::RejectNew,
        Self::RejectExpired,
        Self::Duplicate,
        Self::Reorder,
        Self::LostHide,
        Self::LostDelete,
    ];

    /// How it is written, what it takes, and what it can happen to.
    const fn about(self) -> (&'static str, Takes, Scope) {
        match self {
            Self::Throttle => ("throttle", Nothing, Scope::All),
            Self::Error500 => ("500", Nothing, Scope::All),
            Self::Error503 => ("503", Nothing, Scope::All),
            Self::Expired => ("expired", Nothing, Scope::All),
            Self::Skewed => ("skewed", Nothing, Scope::All),
            Self::Denied => ("denied", Nothing, Scope::All),
            Self::ResetBefore => ("reset-before", Nothing, Scope::All),
            Self::ResetAfter => ("reset-after", Nothing, Scope::All),
            Self::Cut => ("cut", Nothing, Scope::All),
            Self::Delay => ("delay", Time, Scope::All),
            Self::Slow => ("slow", Bytes, Scope::Of("s3", &["GetObject"])),
            Self::Corrupt => ("corrupt", Nothing, Scope::Of("s3", &["GetObject"])),
            Self::Error404 => ("404", Nothing, Scope::Of("s3", READS)),
            Self::Error412 => ("412", Nothing, Scope::Of("s3", READS)),
            Self::Error416 => ("416", Nothing, Scope::Of("s3", &["GetObject"])),
            Self::RejectOld => ("reject-old", Events, Scope::Of("logs", &["PutLogEvents"])),
            Self::RejectNew => ("reject-new", Events, Scope::Of("logs", &["PutLogEvents"])),
            Self::RejectExpired => ("reject-expired", Events, Scope::Of("logs", &["PutLogEvents"])),
            Self::Duplicate => ("duplicate", Nothing, Scope::Of("sqs", &["ReceiveMessage"])),
            Self::Reorder => ("reorder", Nothing, Scope::Of("sqs", &["ReceiveMessage"])),
            Self::LostHide => ("lost-hide", Nothing, Scope::Of("sqs", HIDES)),
            Self::LostDelete => ("lost-delete", Nothing, Scope::Of("sqs", DELETES)),
        }
    }

    /// How it is written in a rule, and counted.
    pub(super) const fn name(self) -> &'static str {
        self.about().0
    }

    /// Which calls it can happen to.
    pub(super) const fn scope(self) -> Scope {
        self.about().2
    }

    /// How it is to be written.
    fn form(self) -> String {
        let (name, takes, _) = self.about();
        format!("{name}{}", takes.form())
    }

    /// Reads `name` or `name=amount`.
    ///
    /// # Errors
    /// What is allowed instead.
    pub(super) fn read(text: &str) -> Result<(Self, Option<u64>), String> {
        let (name, given) = text.split_once('=').map_or((text, None), |(name, given)| (name, Some(given)));
        let Some(kind) = Self::ALL.into_iter().find(|kind| kind.name() == name) else {
            return Err(Self::ALL.map(Self::form).join(", "));
        };
        let (_, takes, _) = kind.about();
        let amount = match given {
            None => None,
            Some(text) => Some(takes.read(text).ok_or_else(|| kind.form())?),
        };
        // A time and a rate must be told.
        if amount.is_none() && matches!(takes, Time | Bytes) { Err(kind.form()) } else { Ok((kind, amount)) }
    }

    /// Writes what [`Self::read`] reads.
    pub(super) fn show(self, amount: Option<u64>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, takes, _) = self.about();
        f.write_str(name)?;
        let Some(amount) = amount else { return Ok(()) };
        let whole = takes.units().0.iter().find(|(_, unit)| amount.is_multiple_of(*unit));
        let (unit_name, unit) = whole.copied().unwrap_or(("", 1));
        write!(f, "={}{unit_name}", amount / unit)
    }
}

impl Takes {
    /// A whole number of a unit: 1 to the most of the smallest.
    fn read(self, text: &str) -> Option<u64> {
        let (units, most) = self.units();
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (digits, name) = text.split_at_checked(digits)?;
        let (_, unit) = units.iter().find(|(unit, _)| *unit == name)?;
        let amount = digits.parse::<u64>().ok()?.checked_mul(*unit)?;
        (1..=most).contains(&amount).then_some(amount)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_read_by_its_name_and_happens_to_what_is_served() {
        for kind in Kind::ALL {
            let takes = kind.about().1;
            let needed = matches!(takes, Time | Bytes);
            assert_eq!(Kind::read(kind.name()).is_err(), needed, "{kind:?}");
            let (unit, _) = *takes.units().0.first().unwrap_or(&("", 0));
            let given = format!("{}=1{unit}", kind.name());
            assert_eq!(Kind::read(&given).is_err(), takes == Nothing, "{given}");
            if let Scope::Of(service, operations) = kind.scope() {
                let (_, served) = SERVICES.into_iter().find(|(name, _)| *name == service).unwrap();
                assert!(operations.iter().all(|operation| served.contains(operation)), "{kind:?}");
            }
        }
    }

    #[test]
    fn amounts_have_units_and_limits() {
        let amount = |text| Kind::read(text).ok().and_then(|(_, amount)| amount);
        assert_eq!(amount("delay=200ms"), Some(200));
        assert_eq!(amount("delay=24h"), Some(86_400_000));
        assert_eq!(amount("slow=64KiB"), Some(65_536));
        assert_eq!(amount("slow=7"), Some(7));
        assert_eq!(amount("reject-old=10000"), Some(10_000));
        for wrong in
            ["delay=0s", "delay=25h", "delay=5", "delay=s", "delay=-1s", "delay=1e3ms", "slow=1025MiB", "slow=1kib"]
        {
            assert!(Kind::read(wrong).is_err(), "{wrong}");
        }
        for wrong in ["reject-old=10001", "reject-new=", "cut=1", "cut=", "Cut", "delay=99999999999999999999h", ""] {
            assert!(Kind::read(wrong).is_err(), "{wrong}");
        }
    }

    /// The table in README.md is what there is.
    #[test]
    fn every_kind_is_documented() {
        let page = include_str!("../../README.md");
        for kind in Kind::ALL {
            let takes = kind.about().1.form().split(' ').next().unwrap_or_default();
            let row = format!("\n| `{}{takes}` | ", kind.name());
            assert!(page.contains(&row), "{row}");
        }
    }
}
