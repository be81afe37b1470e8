//! A layout's template in the first line, a key in the rest. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::layout::{Identity, KeyError, LAYOUT_DEFAULT, Layout, STREAM_CHARS_MAX, stream_name};
use millrace::core::tenant::{ClusterId, ID_CHARS_MAX, TenantId};

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (template, key) = text.split_once('\n').unwrap_or((LAYOUT_DEFAULT, text));
    for template in [template, LAYOUT_DEFAULT] {
        if let Some(layout) = parsed(template) {
            applied(template, &layout, key);
        }
    }
    id(key);
    stream(key);
});

/// A template is taken when its segments are the four parts once each and fixed text, and is its own text again.
fn parsed(template: &str) -> Option<Layout> {
    let segments: Vec<&str> = template.trim_end_matches('/').split('/').collect();
    let parts = ["{tenant}", "{cluster}", "{application}", "{pod}"];
    let once = |part: &&str| segments.iter().filter(|segment| *segment == part).count() == 1;
    let fixed = |segment: &&&str| !parts.contains(*segment);
    let sound = |segment: &&str| !segment.is_empty() && !segment.contains(['{', '}']);
    let expected = parts.iter().all(once) && segments.iter().filter(fixed).all(sound);
    let layout = Layout::parse(template);
    assert_eq!(layout.is_ok(), expected, "{layout:?}");
    let layout = layout.ok()?;
    assert_eq!(layout.to_string(), template.trim_end_matches('/'));
    assert_eq!(Layout::parse(&layout.to_string()), Ok(layout.clone()));
    Some(layout)
}

/// An identity put into the template's places, and the file behind it, is the key; a refusal says what is so.
fn applied(template: &str, layout: &Layout, key: &str) {
    let template: Vec<&str> = template.trim_end_matches('/').split('/').collect();
    let segments: Vec<&str> = key.split('/').collect();
    match layout.apply(key) {
        Ok(Identity { tenant, cluster, application, pod, file }) => {
            let place = |segment: &&str| match *segment {
                "{tenant}" => tenant.as_str().to_owned(),
                "{cluster}" => cluster.as_str().to_owned(),
                "{application}" => application.to_string(),
                "{pod}" => pod.to_string(),
                fixed => fixed.to_owned(),
            };
            let mut rebuilt: Vec<String> = template.iter().map(place).collect();
            assert!(rebuilt.iter().all(|segment| !segment.trim().is_empty() && !segment.contains('/')));
            rebuilt.push(file.to_string());
            assert_eq!(rebuilt.join("/"), key);
        }
        Err(KeyError::Short { found, least }) => {
            assert_eq!((found, least), (segments.len(), template.len() + 1));
            assert!(found < least);
        }
        Err(KeyError::Blank(at)) => assert!(segments[at].trim().is_empty() && at < template.len()),
        Err(KeyError::Fixed(at)) => assert!(!template[at].starts_with('{') && template[at] != segments[at]),
        Err(KeyError::Id { segment, what, cause }) => {
            assert_eq!(template[segment], format!("{{{what}}}"));
            assert_eq!(TenantId::try_from(segments[segment]), Err(cause));
        }
    }
}

/// An id is what STS takes as a tag's value, and is kept byte for byte; tenant and cluster are alike.
fn id(text: &str) {
    let allowed = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | ':' | '/' | '=' | '+' | '-' | '@' | ' ' => true,
        '\0'..='\x7f' | '\u{85}' => false,
        c => c.is_alphanumeric() || c.is_whitespace(),
    };
    let expected = !text.trim().is_empty() && text.chars().all(allowed) && text.chars().count() <= ID_CHARS_MAX;
    let id = TenantId::try_from(text);
    assert_eq!(id.is_ok(), expected);
    assert_eq!(id.as_ref().err().copied(), ClusterId::try_from(text).err());
    assert!(id.is_err() || id.is_ok_and(|id| id.as_str() == text && id.to_string() == text));
}

/// A stream's name is one that CloudWatch Logs takes, stays itself, and differs for pods that differ only behind its end.
fn stream(pod: &str) {
    let name = stream_name(pod);
    assert!(name.chars().count() <= STREAM_CHARS_MAX && name.is_empty() == pod.is_empty());
    assert!(!name.contains([':', '*']) && !name.contains(char::is_control));
    assert_eq!(stream_name(&name), name);
    if pod.chars().count() <= STREAM_CHARS_MAX {
        assert!(name.chars().zip(pod.chars()).all(|(is, was)| is == was || is == '_'));
    }
    let long = pod.repeat(STREAM_CHARS_MAX / pod.len().max(1) + 1);
    if !pod.is_empty() {
        let (one, other) = (stream_name(&format!("{long}1")), stream_name(&format!("{long}2")));
        assert!(one != other || long.chars().count() < STREAM_CHARS_MAX);
    }
}
