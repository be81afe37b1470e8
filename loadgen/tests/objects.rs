//! Objects have the shape that Vector gives them, and their events can be regenerated.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::Read;
use std::sync::Arc;

use flate2::read::MultiGzDecoder;
use loadgen::{
    Compression, Fleet, Format, Framing, GeneratedObject, KeyLayout, MessageSpec, ObjectSize, ObjectSource, ObjectSpec,
    RealLines, SpecError, parse_start,
};
use serde_json::Value;

fn fleet() -> Fleet {
    Fleet {
        tenants: vec!["acme".to_owned(), "Zoë's \"best\"".to_owned()],
        clusters: Fleet::numbered("mc", 2),
        applications: vec!["kube-apiserver".to_owned(), "etcd".to_owned()],
        pods: 2,
        pod_name: None,
    }
}

fn spec() -> ObjectSpec {
    ObjectSpec { seed: 7, objects: 12, size: ObjectSize::Bytes(300_000), fleet: fleet(), ..ObjectSpec::default() }
}

fn source(spec: ObjectSpec) -> ObjectSource {
    ObjectSource::new(spec).unwrap()
}

fn all(source: &ObjectSource) -> Vec<GeneratedObject> {
    source.objects(0..source.count()).collect()
}

fn plain(object: &GeneratedObject) -> String {
    let mut text = String::new();
    if object.key.ends_with(".gz") {
        MultiGzDecoder::new(&object.body[..]).read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(object.body.clone()).unwrap();
    }
    text
}

fn records(object: &GeneratedObject, framing: Framing) -> Vec<Value> {
    let text = plain(object);
    match framing {
        Framing::Array => serde_json::from_str(&text).unwrap(),
        Framing::Lines => text.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
    }
}

#[test]
fn same_seed_same_objects_in_any_order() {
    let one = source(spec());
    let objects = all(&one);
    assert_eq!(objects.len(), 12);
    for object in &objects {
        let number = object.recipe.number;
        let again = source(spec()).objects(number..number + 1).next().unwrap();
        assert_eq!((&again.key, &again.body), (&object.key, &object.body));
    }
    let other = all(&source(ObjectSpec { seed: 8, ..spec() }));
    assert!(objects.iter().zip(&other).all(|(a, b)| a.body != b.body && a.key != b.key));
}

/// Every event is regenerated from its recipe exactly as a JSON parser finds it, in every framing and format.
#[test]
fn expected_events_are_those_in_the_records() {
    for framing in [Framing::Array, Framing::Lines] {
        for format in Format::ALL {
            for multiline in [false, true] {
                let message = MessageSpec { format, multiline, ..MessageSpec::default() };
                let source =
                    source(ObjectSpec { framing, message, objects: 3, size: ObjectSize::Bytes(200_000), ..spec() });
                for object in all(&source) {
                    let found = records(&object, framing);
                    assert_eq!(found.len() as u64, object.recipe.records);
                    let mut expected = source.expected(object.recipe);
                    for record in &found {
                        let event = expected.next_event().unwrap();
                        assert_eq!(record["message"].as_str().unwrap().as_bytes(), event.message, "{format:?}");
                        assert_eq!(parse_start(record["timestamp"].as_str().unwrap()).unwrap(), event.timestamp_ms);
                    }
                    assert!(expected.next_event().is_none());
                }
            }
        }
    }
}

#[test]
fn records_have_vectors_shape() {
    let source = source(ObjectSpec { objects: 8, ..spec() });
    for object in all(&source) {
        for record in records(&object, Framing::Array) {
            let keys: Vec<_> = record.as_object().unwrap().keys().map(String::as_str).collect();
            let wanted = [
                "application",
                "cluster_id",
                "customer_id",
                "file",
                "ingest_timestamp",
                "kubernetes",
                "message",
                "namespace",
                "pod_name",
                "source_type",
                "stream",
                "timestamp",
            ];
            assert_eq!(keys, wanted);
            assert_eq!(record["customer_id"], object.tenant.as_str());
            assert_eq!(record["namespace"], object.tenant.as_str());
            assert_eq!(record["cluster_id"], object.cluster.as_str());
            assert_eq!(record["application"], object.application.as_str());
            assert_eq!(record["pod_name"], object.pod.as_str());
            assert_eq!(record["source_type"], "kubernetes_logs");
            assert!(["stdout", "stderr"].contains(&record["stream"].as_str().unwrap()));
            assert_eq!(record["kubernetes"]["pod_labels"]["app"], object.application.as_str());
            assert_eq!(record["kubernetes"]["pod_namespace"], object.tenant.as_str());
            let ingested = record["ingest_timestamp"].as_str().unwrap();
            assert_eq!(ingested.len(), "2025-09-02T11:27:02.004118733Z".len());
            assert!(parse_start(ingested).unwrap() >= parse_start(record["timestamp"].as_str().unwrap()).unwrap());
        }
    }
    let without = self::source(ObjectSpec { customer_id: false, objects: 1, ..spec() });
    assert!(all(&without).iter().all(|object| !plain(object).contains("customer_id")));
}

/// JSON logs are strings in the record, so their quotes are escaped twice where their message has quotes.
#[test]
fn json_logs_are_encoded_twice() {
    let message = MessageSpec { format: Format::JsonTs, ..MessageSpec::default() };
    let source = source(ObjectSpec { message, objects: 1, ..spec() });
    let object = all(&source).remove(0);
    assert!(plain(&object).contains(r#"\\\""#));
    for record in records(&object, Framing::Array) {
        let inner: Value = serde_json::from_str(record["message"].as_str().unwrap()).unwrap();
        assert_eq!(inner["source"], object.application.as_str());
    }
}

#[test]
fn sizes_and_counts_are_kept() {
    for framing in [Framing::Array, Framing::Lines] {
        for compression in [Compression::None, Compression::Gzip(1), Compression::Gzip(9)] {
            let by_bytes = source(ObjectSpec { framing, compression, objects: 2, ..spec() });
            for object in all(&by_bytes) {
                assert_eq!(plain(&object).len() as u64, object.decompressed_bytes);
                assert!((300_000..310_000).contains(&object.decompressed_bytes));
            }
            let by_records =
                source(ObjectSpec { framing, compression, objects: 2, size: ObjectSize::Records(33), ..spec() });
            for object in all(&by_records) {
                assert_eq!((records(&object, framing).len(), object.recipe.records), (33, 33));
            }
        }
    }
    let empty = source(ObjectSpec { size: ObjectSize::Records(0), objects: 1, ..spec() });
    assert_eq!(plain(&all(&empty)[0]), "[]");
}

#[test]
fn keys_follow_the_layout_and_are_unique() {
    let objects = all(&source(spec()));
    for object in &objects {
        let [tenant, cluster, application, pod, file] = object.key.split('/').collect::<Vec<_>>()[..] else { panic!() };
        assert_eq!(
            [tenant, cluster, application, pod],
            [&object.tenant, &object.cluster, &object.application, &object.pod]
        );
        assert!(
            file.len() == "20250902-112701-0d4a7f4e-5b7e-4f63-9c61-0f6b8a1c2d3e.json.gz".len()
                && file.ends_with(".json.gz")
        );
        assert!(file.starts_with("20250901-00"), "{file}");
    }
    let unique: std::collections::BTreeSet<_> = objects.iter().map(|object| &object.key).collect();
    assert_eq!(unique.len(), objects.len());

    let layout = KeyLayout::parse("{cluster}/{tenant}/{application}/{pod}").unwrap();
    let first = all(&source(ObjectSpec { layout, ..spec() })).remove(0);
    assert!(first.key.starts_with("mc-0/acme/kube-apiserver/kube-apiserver-0/20250901-"), "{}", first.key);
}

/// Within an object times ascend; a pod's next object begins no earlier than its last ended; all lie in the rounds.
#[test]
fn a_pods_events_go_on_from_object_to_object() {
    let source = source(ObjectSpec { objects: 40, step_us: 200_000, ..spec() });
    let end = source.spec().start_ms + i64::try_from(source.rounds() * source.spec().round_ms).unwrap();
    let start_ms = source.spec().start_ms;
    let mut last = std::collections::BTreeMap::new();
    for object in all(&source) {
        let latest = last.entry(object.key.rsplit_once('/').unwrap().0.to_owned()).or_insert(start_ms);
        let mut events = source.expected(object.recipe);
        while let Some(event) = events.next_event() {
            assert!(event.timestamp_ms >= *latest && event.timestamp_ms < end);
            *latest = event.timestamp_ms;
        }
    }
    assert_eq!(last.len(), 8);
}

#[test]
fn real_lines_are_all_used() {
    let text: String = (0..50).map(|number| format!("line \"{number}\"\\\n")).collect();
    let from = Some(Arc::new(RealLines::from_bytes(text.as_bytes()).unwrap()));
    let message = MessageSpec { format: Format::Plain, from, ..MessageSpec::default() };
    let source = source(ObjectSpec { message, objects: 5, size: ObjectSize::Records(10), ..spec() });
    let found: Vec<_> = all(&source)
        .iter()
        .flat_map(|object| records(object, Framing::Array))
        .map(|record| format!("{}\n", record["message"].as_str().unwrap()))
        .collect();
    assert_eq!(found.concat(), text);
}

#[test]
fn impossible_specs_are_refused() {
    assert!(matches!(
        ObjectSource::new(ObjectSpec { compression: Compression::Gzip(10), ..spec() }),
        Err(SpecError::Level { given: 10 })
    ));
    for (start_ms, round_ms) in [(-1, 1), (253_402_300_799_000, 60_000), (0, u64::MAX)] {
        assert!(matches!(ObjectSource::new(ObjectSpec { start_ms, round_ms, ..spec() }), Err(SpecError::Times)));
    }
}
