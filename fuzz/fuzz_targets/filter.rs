//! An application in the first line, then what a row wants: names, and groups behind `group:`. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::tenant::{Field, GROUPS, Row, Skip, TenantConfig, TenantId, Warning, deliveries};
use millrace::core::time::UnixMillis;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.lines();
    let application = lines.next().unwrap_or_default();
    let (groups, names): (Vec<&str>, Vec<&str>) = lines.partition(|line| line.starts_with("group:"));
    let groups: Vec<&str> = groups.iter().map(|line| &line["group:".len()..]).collect();
    let read = |as_set: bool| {
        let texts = |texts: &[&str]| {
            if as_set {
                Field::TextSet(texts.iter().map(|text| (*text).to_owned()).collect())
            } else {
                Field::List(texts.iter().map(|text| Field::Text((*text).to_owned())).collect())
            }
        };
        config(texts(&names), texts(&groups))
    };
    let config = read(false);
    assert_eq!(config, read(true), "a list and a set say the same");

    let known = |group: &&&str| GROUPS.iter().any(|(name, _)| name.eq_ignore_ascii_case(group));
    let unknown: Vec<Warning> =
        groups.iter().filter(|it| !known(it)).map(|it| Warning::UnknownGroup((*it).to_owned())).collect();
    assert_eq!(config.warnings, unknown, "each unknown group is told");
    let named = names.iter().any(|name| !name.is_empty());
    if !groups.is_empty() && unknown.len() == groups.len() && !named {
        assert_eq!(config.invalid[0].field, "groups", "what wants nothing that is known is not taken for all");
        return;
    }
    let wants = |application: &str| {
        let same = |name: &&str| folded(name) == folded(application);
        let of_group = |group: &&str| {
            let members = GROUPS.iter().find(|(name, _)| folded(name) == folded(group));
            members.is_some_and(|(_, members)| members.iter().any(same))
        };
        !named && groups.is_empty() || names.iter().filter(|it| !it.is_empty()).any(same) || groups.iter().any(of_group)
    };
    let members = GROUPS.iter().flat_map(|(_, members)| members.iter().copied());
    for application in [application, &application.to_ascii_uppercase()].into_iter().chain(members).chain(names.clone())
    {
        let expected = if wants(application) { Ok(()) } else { Err(Skip::NotWanted) };
        assert_eq!(config.deliveries[0].admits(application), expected, "{application:?}");
    }
});

/// In ASCII lower case.
fn folded(text: &str) -> String {
    text.chars().map(|c| c.to_ascii_lowercase()).collect()
}

fn config(desired: Field, groups: Field) -> TenantConfig {
    let text = |text: &str| Field::Text(text.to_owned());
    let row: Row = [
        ("tenant_id", text("acme")),
        ("type", text("s3")),
        ("bucket_name", text("acme-logs")),
        ("desired_logs", desired),
        ("groups", groups),
    ]
    .map(|(field, value)| (field.to_owned(), value))
    .into();
    let Ok(tenant) = TenantId::try_from("acme") else { unreachable!("a sound id") };
    deliveries(&tenant, &[row], UnixMillis(0))
}
