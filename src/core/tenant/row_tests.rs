//! Table tests of tenant rows; the predecessor's cases (its tenant, filter and multi-delivery tests) are named.

use proptest::prelude::*;

use super::*;
use crate::core::tenant::{IdError, Skip};

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn text(value: &str) -> Field {
    Field::Text(value.to_owned())
}

fn acme() -> TenantId {
    TenantId::try_from("acme").unwrap()
}

fn row(changes: &[(&str, Field)]) -> Row {
    let mut row: Row = [
        ("tenant_id", text("acme")),
        ("log_distribution_role_arn", text("arn:aws:iam::222222222222:role/CustomerLogDistribution")),
        ("log_group_name", text("/ROSA/cluster-logs/acme")),
    ]
    .map(|(field, value)| (field.to_owned(), value))
    .into();
    for (field, value) in changes {
        row.insert((*field).to_owned(), value.clone());
    }
    row
}

fn read(changes: &[(&str, Field)]) -> TenantConfig {
    deliveries(&acme(), &[row(changes)], NOW)
}

fn list(names: &[&str]) -> Field {
    Field::List(names.iter().map(|name| text(name)).collect())
}

fn admits(changes: &[(&str, Field)], application: &str) -> bool {
    read(changes).deliveries[0].admits(application) == Ok(())
}

#[test]
fn a_row_of_the_seeds_single_key_table_is_a_cloudwatch_delivery_that_is_on() {
    let config = read(&[]);
    assert_eq!(config.deliveries.len(), 1);
    let Target::CloudWatch(target) = config.deliveries[0].target() else { panic!("no log group") };
    assert_eq!(&*target.log_group, "/ROSA/cluster-logs/acme");
    assert_eq!(target.region, None);
}

/// predecessor.md §15, rows "tenant". There each of these but the last was TenantNotFound, and one bad row failed all.
/// Here they are told apart: a message of an unknown or disabled tenant is deleted, one of an invalid row is kept.
/// The table's errors are in `core/failure.rs`: that of an empty id cannot come, for it is off the layout before any query.
#[test]
fn predecessor_15_tenant() {
    let off = || row(&[("enabled", Field::Flag(false))]);
    let no_group = || row(&[("log_group_name", Field::Null)]);
    let s3 = || row(&[("type", text("s3")), ("bucket_name", text("acme-logs"))]);
    let expired = || row(&[("ttl", Field::Number("1700000000".into()))]);
    // Deliveries, disabled, expired, invalid.
    let cases = [
        ("no rows", vec![], (0, 0, 0, 0)),
        ("disabled", vec![off()], (0, 1, 0, 0)),
        // Go took it for false; the seed's default, true, is kept (D5).
        ("enabled absent", vec![row(&[])], (1, 0, 0, 0)),
        ("enabled null", vec![row(&[("enabled", Field::Null)])], (1, 0, 0, 0)),
        ("enabled but no log_group_name", vec![no_group()], (0, 0, 0, 1)),
        (
            "disabled and no log_group_name",
            vec![row(&[("enabled", Field::Flag(false)), ("log_group_name", Field::Null)])],
            (0, 1, 0, 0),
        ),
        ("unknown type", vec![row(&[("type", text("kafka"))])], (0, 0, 0, 1)),
        ("one invalid row fails only itself", vec![no_group(), s3()], (1, 0, 0, 1)),
        ("one disabled row of two", vec![off(), s3()], (1, 1, 0, 0)),
        // It did not look at the ttl: rows lingered until DynamoDB swept them.
        ("ttl passed", vec![expired()], (0, 0, 1, 0)),
        ("ttl in the next second", vec![row(&[("ttl", Field::Number("1700000001".into()))])], (1, 0, 0, 0)),
        ("target_region absent: the daemon's own", vec![row(&[("target_region", Field::Null)])], (1, 0, 0, 0)),
        ("cloudwatch + s3 rows: both", vec![row(&[("type", text("cloudwatch"))]), s3()], (2, 0, 0, 0)),
    ];
    for (case, rows, expected) in cases {
        let config = deliveries(&acme(), &rows, NOW);
        let found = (config.deliveries.len(), config.disabled, config.expired, config.invalid.len());
        assert_eq!(found, expected, "15 tenant: {case}");
    }
    assert_eq!(TenantId::try_from(""), Err(IdError::Blank), "15 tenant: empty id (no query made)");
}

/// predecessor.md §15, rows "filter". What is sent of a-app, A-APP, kube-apiserver, etcd; none: the row is invalid.
#[test]
fn predecessor_15_filter() {
    const APPLICATIONS: [&str; 4] = ["a-app", "A-APP", "kube-apiserver", "etcd"];
    let set = |names: &[&str]| Field::TextSet(names.iter().map(|name| (*name).to_owned()).collect());
    let desired = |field| vec![("desired_logs", field)];
    let groups = |field| vec![("groups", field)];
    let all = Some([true; 4]);
    let only = |wanted| Some(wanted);
    let cases = [
        ("list match", desired(list(&["etcd"])), only([false, false, false, true])),
        // Later versions compared the case; the seed did not (D4).
        ("other case", desired(list(&["A-App"])), only([true, true, false, false])),
        ("absent", vec![], all),
        ("null", desired(Field::Null), all),
        ("empty list", desired(list(&[])), all),
        ("a single empty text", desired(list(&[""])), all),
        ("duplicates", desired(list(&["etcd", "ETCD", "etcd"])), only([false, false, false, true])),
        // Python took the set for no list, and let everything through.
        ("string set", desired(set(&["etcd"])), only([false, false, false, true])),
        (
            "an item that is no text is passed over",
            desired(Field::List(vec![Field::Flag(true), text("etcd")])),
            only([false, false, false, true]),
        ),
        // A warning and all applications there; here the messages are kept until the row is right.
        ("non-list", desired(text("etcd")), None),
        ("only items that are no text", desired(Field::List(vec![Field::Flag(true)])), None),
        ("group", groups(list(&["API"])), only([false, false, true, false])),
        ("group in other case", groups(list(&["api"])), only([false, false, true, false])),
        (
            "group and list",
            vec![("groups", list(&["API"])), ("desired_logs", list(&["etcd"]))],
            only([false, false, true, true]),
        ),
        ("unknown group beside a known one", groups(list(&["Kubelet", "API"])), only([false, false, true, false])),
        (
            "unknown group beside a list",
            vec![("groups", list(&["Kubelet"])), ("desired_logs", list(&["etcd"]))],
            only([false, false, false, true]),
        ),
        // All applications there; an invalid row here (design §6).
        ("only unknown groups", groups(list(&["Kubelet"])), None),
        ("names are not trimmed", desired(list(&[" etcd "])), only([false, false, false, false])),
    ];
    for (case, changes, expected) in cases {
        let config = read(&changes);
        let found = config.deliveries.first().map(|to| APPLICATIONS.map(|application| to.admits(application).is_ok()));
        assert_eq!(found, expected, "15 filter: {case}");
        assert_eq!(config.invalid.len(), usize::from(expected.is_none()), "15 filter: {case}");
    }
}

/// predecessor.md §15, rows "multi": a cloudwatch row and an s3 row, each with its own filter.
#[test]
fn predecessor_15_multi() {
    let both = |cloudwatch: &[&str], s3: &[&str]| {
        let s3 = [("type", text("s3")), ("bucket_name", text("acme-logs")), ("desired_logs", list(s3))];
        let config = deliveries(&acme(), &[row(&[("desired_logs", list(cloudwatch))]), row(&s3)], NOW);
        move |application: &str| config.deliveries.iter().map(|to| to.admits(application).is_ok()).collect::<Vec<_>>()
    };
    let cases = [
        ("CW filter A: each only its own", both(&["a"], &["b"])("a"), [true, false]),
        ("S3 filter B: each only its own", both(&["a"], &["b"])("b"), [false, true]),
        ("overlap: both", both(&["a", "o"], &["b", "o"])("o"), [true, true]),
        ("none: neither", both(&["a"], &["b"])("c"), [false, false]),
        ("one without a filter", both(&[], &["b"])("c"), [true, false]),
    ];
    for (case, found, expected) in cases {
        assert_eq!(found, expected, "15 multi: {case}");
    }
}

/// predecessor.md §15, row "s3 copy": the prefix. The rest of that row belongs to the copy itself.
#[test]
fn predecessor_15_s3_prefix() {
    let cases = [
        ("absent", Field::Null, "ROSA/cluster-logs/"),
        ("prefix \"\"", text(""), "ROSA/cluster-logs/"),
        ("custom/path: slash added", text("custom/path"), "custom/path/"),
        ("custom/path/: slash added once", text("custom/path/"), "custom/path/"),
    ];
    for (case, given, expected) in cases {
        let config = read(&[("type", text("s3")), ("bucket_name", text("acme-logs")), ("bucket_prefix", given)]);
        let Target::S3(target) = config.deliveries[0].target() else { panic!("no bucket") };
        assert_eq!(&*target.prefix, expected, "15 s3 copy: {case}");
    }
}

#[test]
fn cloudwatch_and_s3_rows_are_both_served_and_filter_for_themselves() {
    let s3 = row(&[("type", text("s3")), ("bucket_name", text("acme-logs")), ("desired_logs", list(&["b"]))]);
    let config = deliveries(&acme(), &[row(&[("type", text("cloudwatch")), ("desired_logs", list(&["a"]))]), s3], NOW);
    assert_eq!(config.deliveries.len(), 2);
    let admitted = |application| config.deliveries.iter().map(|to| to.admits(application).is_ok()).collect::<Vec<_>>();
    assert_eq!(admitted("a"), [true, false]);
    assert_eq!(admitted("b"), [false, true]);
    assert_eq!(admitted("c"), [false, false]);
    assert_eq!(config.deliveries[0].admits("c"), Err(Skip::NotWanted));
    assert_ne!(config.deliveries[0].key(), config.deliveries[1].key());
}

#[test]
fn one_invalid_row_leaves_the_other_served() {
    // The predecessor failed the whole tenant here.
    let config = deliveries(&acme(), &[row(&[]), row(&[("type", text("s3"))])], NOW);
    assert_eq!((config.deliveries.len(), config.invalid.len()), (1, 1));
    assert_eq!(config.invalid[0].to_string(), "tenant acme, row of type s3: field bucket_name is missing");
}

#[test]
fn groups_are_expanded_and_only_unknown_ones_make_the_row_invalid() {
    let both = [("groups", list(&["api", "Kubelet"])), ("desired_logs", list(&["etcd"]))];
    assert!(admits(&both, "openshift-apiserver") && admits(&both, "etcd") && !admits(&both, "kube-scheduler"));
    assert_eq!(read(&both).warnings, [Warning::UnknownGroup("Kubelet".into())]);
    let unknown = read(&[("groups", list(&["Kubelet"]))]);
    assert_eq!((unknown.deliveries.len(), unknown.invalid[0].field), (0, "groups"));
    assert!(admits(&[("groups", list(&["Kubelet"])), ("desired_logs", list(&["etcd"]))], "etcd"));
}

#[test]
fn every_field_is_checked_and_named() {
    let cases = [
        ("tenant_id", text("other")),
        ("enabled", text("yes")),
        ("type", text("kafka")),
        ("log_distribution_role_arn", Field::Null),
        ("log_distribution_role_arn", text("arn:aws:iam::2222:role/x")),
        ("log_distribution_role_arn", text("arn:aws:iam::222222222222:user/x")),
        ("log_group_name", text("")),
        ("log_group_name", text("aws/mine")),
        ("log_group_name", text("no spaces")),
        ("target_region", text("Frankfurt")),
        ("external_id", text("x")),
        ("log_retention_days", Field::Number("2".into())),
        ("log_retention_days", text("14")),
        ("log_group_class", text("CHEAP")),
        ("log_group_tags", list(&["a"])),
        ("kms_key_arn", text("alias/mine")),
        ("ttl", Field::Number("1e9".into())),
    ];
    for (field, value) in cases {
        let config = read(&[(field, value.clone())]);
        assert_eq!(config.invalid.first().map(|error| error.field), Some(field), "{value:?}");
    }
}

#[test]
fn roles_of_any_partition_and_a_new_groups_wishes_are_taken() {
    let config = read(&[
        ("log_distribution_role_arn", text("arn:aws-us-gov:iam::222222222222:role/path/x")),
        ("target_region", text("us-gov-west-1")),
        ("log_retention_days", Field::Number("14".into())),
        ("log_group_class", text("INFREQUENT_ACCESS")),
        ("log_group_tags", Field::Map([("team".to_owned(), text("sre"))].into())),
        ("kms_key_arn", text("arn:aws-us-gov:kms:us-gov-west-1:222222222222:key/1")),
    ]);
    let Target::CloudWatch(target) = config.deliveries[0].target() else { panic!("no log group") };
    assert_eq!(target.group.retention_days, Some(14));
    assert_eq!(target.group.class, GroupClass::InfrequentAccess);
    assert_eq!(target.group.tags, [(Arc::from("team"), Arc::from("sre"))]);
}

/// Applications that differ by case or by blanks; the members of all groups; what folds in Unicode alone; and no name.
const NAMES: [&str; 17] = [
    "",
    "kube-apiserver",
    "KUBE-APISERVER",
    "openshift-apiserver",
    "oauth-openshift",
    "openshift-oauth-apiserver",
    "kube-controller-manager",
    "openshift-controller-manager",
    "openshift-route-controller-manager",
    "kube-scheduler",
    "Kube-Scheduler",
    "etcd",
    "EtCd",
    "etcd ",
    "größe",
    "GRÖSSE",
    "\u{212a}ube-scheduler",
];
/// Groups in several cases, and what is none.
const GROUP_NAMES: [&str; 8] =
    ["API", "api", "Authentication", "CONTROLLER manager", "Controller Manager", "scheduler", "Kubelet", ""];

/// design §6, word by word, for what a row wants: all applications or these, folded; `None`: the row is invalid.
fn wanted(desired: &[&str], groups: &[&str]) -> Option<Option<Vec<String>>> {
    let mut names: Vec<String> =
        desired.iter().filter(|name| !name.is_empty()).map(|name| (*name).to_owned()).collect();
    if names.is_empty() && groups.is_empty() {
        return Some(None);
    }
    for group in groups {
        let members: &[&str] = match group.to_ascii_lowercase().as_str() {
            "api" => &["kube-apiserver", "openshift-apiserver"],
            "authentication" => &["oauth-openshift", "openshift-oauth-apiserver"],
            "controller manager" => {
                &["kube-controller-manager", "openshift-controller-manager", "openshift-route-controller-manager"]
            }
            "scheduler" => &["kube-scheduler"],
            _ => &[],
        };
        names.extend(members.iter().map(|name| (*name).to_owned()));
    }
    (!names.is_empty()).then(|| Some(names.iter().map(|name| name.to_ascii_lowercase()).collect()))
}

/// What the code has for the same.
fn filtered(desired: &Field, groups: &Field) -> Option<Vec<bool>> {
    let config = read(&[("desired_logs", desired.clone()), ("groups", groups.clone())]);
    let delivery = config.deliveries.first()?;
    Some(NAMES.iter().map(|application| delivery.admits(application).is_ok()).collect())
}

fn field() -> impl Strategy<Value = Field> {
    let leaf = prop_oneof![
        ".{0,20}".prop_map(Field::Text),
        "-?[0-9]{0,12}".prop_map(Field::Number),
        any::<bool>().prop_map(Field::Flag),
        prop::collection::vec(".{0,9}", 0..3).prop_map(Field::TextSet),
        Just(Field::Null),
        Just(Field::Other),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Field::List),
            prop::collection::btree_map(".{0,6}", inner, 0..3).prop_map(Field::Map),
        ]
    })
}

proptest! {
    /// A row wants what its names and its groups' members are, whatever their ASCII case; all, if it names none. Order and
    /// repetitions do not matter, and a list is as good as a set.
    #[test]
    fn a_row_wants_what_it_names(
        desired in prop::collection::vec(prop::sample::select(&NAMES[..]), 0..5),
        groups in prop::collection::vec(prop::sample::select(&GROUP_NAMES[..]), 0..4),
        again in prop::collection::vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let expected = wanted(&desired, &groups).map(|wanted| {
            let admits = |name: &&str| wanted.as_ref().is_none_or(|names| names.contains(&name.to_ascii_lowercase()));
            NAMES.iter().map(admits).collect::<Vec<_>>()
        });
        prop_assert_eq!(&filtered(&list(&desired), &list(&groups)), &expected);

        let shuffled = |mut names: Vec<&'static str>| {
            let repeated: Vec<_> = again.iter().filter(|_| !names.is_empty()).map(|at| *at.get(&names)).collect();
            names.extend(repeated);
            names.reverse();
            names
        };
        let (desired, groups) = (shuffled(desired), shuffled(groups));
        prop_assert_eq!(&filtered(&list(&desired), &list(&groups)), &expected);
        let set = |names: &[&str]| Field::TextSet(names.iter().map(|name| (*name).to_owned()).collect());
        prop_assert_eq!(&filtered(&set(&desired), &set(&groups)), &expected);
        let loud = |names: &[&str]| list(&names.iter().map(|name| name.to_ascii_uppercase()).collect::<Vec<_>>()
            .iter().map(String::as_str).collect::<Vec<_>>());
        prop_assert_eq!(&filtered(&loud(&desired), &loud(&groups)), &expected);
    }

    /// Whatever stands in a row, it is one of on, off, expired or invalid, and a delivery is the tenant's own.
    #[test]
    fn any_row_has_one_outcome(changes in prop::collection::vec((0_usize..14, field()), 0..5)) {
        const FIELDS: [&str; 14] = [
            "tenant_id", "type", "enabled", "desired_logs", "groups", "log_distribution_role_arn", "log_group_name",
            "target_region", "external_id", "bucket_name", "bucket_prefix", "ttl", "log_retention_days", "log_group_tags",
        ];
        let changes: Vec<_> = changes.into_iter().map(|(at, value)| (FIELDS[at], value)).collect();
        let config = read(&changes);
        prop_assert_eq!(config.deliveries.len() + config.invalid.len() + config.disabled + config.expired, 1);
        for delivery in &config.deliveries {
            prop_assert_eq!(delivery.tenant(), &acme());
        }
    }
}
