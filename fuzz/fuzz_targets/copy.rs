//! Bucket, prefix, version, tenant, application, pod and key of an object to be copied, a line each. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::copy::{
    CopyPlan, DestinationError, KEY_BYTES_MAX, PART_BYTES_MAX, PART_BYTES_MIN, PARTS_MAX, SINGLE_BYTES_MAX,
    copy_source, destination_key, metadata,
};
use millrace::core::layout::{Identity, Layout};
use millrace::core::object::{ETag, ObjectRef};
use millrace::core::tenant::{S3Target, TenantId};
use millrace::core::time::UnixMillis;
use millrace_fuzz::Dice;
use percent_encoding::percent_decode_str;

fuzz_target!(|data: &[u8]| {
    plan(&mut Dice::new(data));
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.splitn(7, '\n');
    let [bucket, prefix, version, tenant, application, pod, key] =
        std::array::from_fn(|_| lines.next().unwrap_or_default());
    source(bucket, key, version);
    etag(version);
    let Ok(mut identity) = Layout::default().apply("t/secret-cluster/a/p/f") else { unreachable!("a sound key") };
    if let Ok(tenant) = TenantId::try_from(tenant) {
        identity.tenant = tenant;
    }
    (identity.application, identity.pod, identity.file) = (application.into(), pod.into(), key.into());
    destination(bucket, prefix, &identity);
    headers(&identity, UnixMillis(i64::try_from(data.len()).unwrap() * 1_000_000_007));
});

/// A source is visible ASCII, has no sign of its own but the version's, and reads back as what it names.
fn source(bucket: &str, key: &str, version: &str) {
    let version = Some(version).filter(|version| !version.is_empty());
    let source = copy_source(bucket, key, version);
    assert!(source.bytes().all(|byte| byte.is_ascii_graphic()));
    let (path, found) = source.split_once('?').map_or((source.as_str(), None), |(path, query)| (path, Some(query)));
    assert!(!path.contains(['?', '+', '&', '#', ' ']));
    let decoded = |text: &str| percent_decode_str(text).decode_utf8().unwrap().into_owned();
    assert_eq!(decoded(path), format!("{bucket}/{key}"));
    assert_eq!(found.map(|it| decoded(it.strip_prefix("versionId=").unwrap())).as_deref(), version);
}

/// A tag is the same with and without its quotes.
fn etag(text: &str) {
    let tag = ETag::new(text);
    assert_eq!(ETag::new(&tag.quoted()), tag);
    assert!(!tag.as_str().starts_with('"') && !tag.as_str().ends_with('"'));
}

/// A copy's key is its parts without the cluster, within the store's limit, and never in the bucket it came from.
fn destination(bucket: &str, prefix: &str, identity: &Identity) {
    let target = |bucket: &str| S3Target { bucket: bucket.into(), prefix: prefix.into(), region: None };
    let object =
        ObjectRef { bucket: bucket.into(), key: "k".into(), version: None, etag: None, size: None, sequencer: None };
    assert_eq!(destination_key(&object, identity, &target(bucket)), Err(DestinationError::SourceBucket));
    let Identity { tenant, application, pod, file, .. } = identity;
    let expected = format!("{prefix}{tenant}/{application}/{pod}/{file}");
    match destination_key(&object, identity, &target(&format!("{bucket}2"))) {
        Ok(key) => assert!(key == expected && key.len() <= KEY_BYTES_MAX),
        Err(error) => {
            assert_eq!(error, DestinationError::Long(expected.len()));
            assert!(expected.len() > KEY_BYTES_MAX);
        }
    }
}

/// Metadata are visible ASCII within S3's 2 KiB, name no cluster, and read back as far as they go.
fn headers(identity: &Identity, now: UnixMillis) {
    let metadata = metadata(identity, now);
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    assert!(bytes <= 2048);
    let seconds = now.seconds().to_string();
    let texts = [identity.tenant.as_str(), &identity.application, &identity.pod, &seconds];
    for ((name, value), text) in metadata.iter().zip(texts) {
        assert!(value.bytes().all(|byte| byte.is_ascii_graphic()), "{name}: {value}");
        let decoded = percent_decode_str(value).decode_utf8().expect("whole characters only");
        assert!(text.starts_with(&*decoded) && (value.len() > 500 || text == decoded), "{name}: {value}");
    }
}

/// The parts are the object, in order, each within the store's limits.
fn plan(dice: &mut Dice) {
    let total = dice.roll() >> dice.between(0, 63);
    let single_max = [SINGLE_BYTES_MAX, dice.roll() >> dice.between(24, 63)][dice.between(0, 1)];
    let CopyPlan::Parts(plan) = CopyPlan::new(total, single_max) else {
        assert!(total <= single_max);
        return;
    };
    assert!(total > single_max);
    let mut reached = 0;
    let storable = total <= PART_BYTES_MAX * PARTS_MAX;
    for (number, bytes) in plan.parts().take(10_001).zip(1..).map(|((number, bytes), at)| {
        assert_eq!(number, at);
        (u64::from(number), bytes)
    }) {
        assert!(number <= PARTS_MAX || !storable);
        assert_eq!(bytes.start, reached);
        let long = bytes.end - bytes.start;
        assert!((1..=PART_BYTES_MAX).contains(&long) && (long >= PART_BYTES_MIN || bytes.end == total));
        reached = bytes.end;
    }
    assert!(reached == total || !storable);
}
