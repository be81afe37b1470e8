//! The inside of a JSON string, and text that becomes one: what the copier writes into a request. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::batch::{BadEscape, ESCAPED_MAX, append_escaped, append_escaping};
use millrace::core::simd::Level;

fuzz_target!(|data: &[u8]| {
    raw(data);
    inside(data);
});

/// What is written, and its length: the same by all instructions.
fn escaping(text: &[u8]) -> (Vec<u8>, usize) {
    by_all(|level| {
        let mut out = Vec::new();
        let len = append_escaping(&mut out, text, level);
        (out, len)
    })
}

/// The same of what is escaped already.
fn escaped(text: &[u8]) -> Result<(Vec<u8>, usize), BadEscape> {
    by_all(|level| {
        let mut out = Vec::new();
        append_escaped(&mut out, text, level).map(|len| (out, len))
    })
}

fn by_all<T: PartialEq + std::fmt::Debug>(run: impl Fn(Level) -> T) -> T {
    let mut found = Level::all().map(run);
    let first = found.next().unwrap();
    found.for_each(|other| assert_eq!(other, first));
    first
}

/// Reads what was written between quotes.
fn read(written: &[u8]) -> String {
    assert!(written.iter().all(|byte| *byte >= 0x20));
    serde_json::from_slice(&[b"\"", written, b"\""].concat()).expect("what is sent is JSON")
}

/// Raw text arrives as itself, with U+FFFD where the standard library puts it, and is counted as it arrives.
fn raw(data: &[u8]) {
    let (out, len) = escaping(data);
    let text = read(&out);
    assert_eq!(text, String::from_utf8_lossy(data));
    assert_eq!(len, text.len());
    assert!(out.len() <= ESCAPED_MAX * data.len());
    // What was written is its own inside.
    assert_eq!(escaped(&out), Ok((out.clone(), len)));
}

/// What stands between quotes is refused where it is unsound, and else arrives as serde_json reads it, where it does.
fn inside(data: &[u8]) {
    let quoted = [b"\"", data, b"\""].concat();
    let theirs = serde_json::from_slice::<String>(&quoted);
    match escaped(data) {
        Ok((out, len)) => {
            let text = read(&out);
            assert_eq!(text.len(), len);
            if let Ok(theirs) = theirs {
                assert_eq!(text, theirs);
                assert_eq!(out, data, "sound text is copied as it is");
            }
            // Written once more it stays.
            assert_eq!(escaped(&out), Ok((out.clone(), len)));
        }
        Err(bad) => {
            assert!(theirs.is_err());
            assert!(matches!(data.get(bad.at), Some(b'\\' | b'"')));
            // All before it is sound.
            assert!(escaped(&data[..bad.at]).is_ok());
        }
    }
}
