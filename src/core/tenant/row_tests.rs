//! Table tests of tenant rows; the predecessor's cases (its tenant, filter and multi-delivery tests) are named.

use proptest::prelude::*;

use super::*;
use crate::core::tenant::Skip;

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

#[test]
fn no_rows_disabled_and_expired_rows_are_told_apart() {
    assert_eq!(deliveries(&acme(), &[], NOW), TenantConfig::default());
    assert_eq!(read(&[("enabled", Field::Flag(false))]).disabled, 1);
    // The Go predecessor took a missing `enabled` for false; the seed's default, true, is kept.
    assert_eq!(read(&[("enabled", Field::Null)]).deliveries.len(), 1);
    assert_eq!(read(&[("ttl", Field::Number("1700000000".into()))]).expired, 1);
    assert_eq!(read(&[("ttl", Field::Number("1700000001".into()))]).deliveries.len(), 1);
}

#[test]
fn a_row_that_is_off_may_be_half_written() {
    assert_eq!(read(&[("enabled", Field::Flag(false)), ("log_group_name", Field::Null)]).disabled, 1);
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
fn filters_take_lists_and_sets_in_any_case() {
    assert!(admits(&[("desired_logs", list(&["kube-apiserver"]))], "kube-apiserver"));
    // Later predecessors compared the case; the seed did not, and neither does this.
    assert!(admits(&[("desired_logs", list(&["Kube-APIserver"]))], "kube-apiserver"));
    assert!(!admits(&[("desired_logs", Field::TextSet(vec!["etcd".into()]))], "kube-apiserver"));
    assert!(admits(&[("desired_logs", list(&[]))], "anything"));
    assert!(admits(&[("desired_logs", list(&[""]))], "anything"));
    assert!(admits(&[("desired_logs", list(&["a", "a"]))], "A"));
}

#[test]
fn a_filter_that_is_no_list_keeps_the_messages_instead_of_delivering_all() {
    // The predecessor warned and delivered every application.
    assert_eq!(read(&[("desired_logs", text("etcd"))]).invalid[0].field, "desired_logs");
    assert_eq!(read(&[("desired_logs", Field::List(vec![Field::Flag(true)]))]).invalid[0].field, "desired_logs");
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

#[test]
fn prefixes_end_in_one_slash_and_have_the_predecessors_default() {
    for (given, expected) in
        [("", "ROSA/cluster-logs/"), ("custom/path", "custom/path/"), ("custom/path/", "custom/path/")]
    {
        let config = read(&[("type", text("s3")), ("bucket_name", text("acme-logs")), ("bucket_prefix", text(given))]);
        let Target::S3(target) = config.deliveries[0].target() else { panic!("no bucket") };
        assert_eq!(&*target.prefix, expected);
    }
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
