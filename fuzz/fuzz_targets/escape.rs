//! The inside of a JSON string, and text that becomes one: what the copier writes into a request. Laws: README.md.

#![no_main]

use libfuzzer_sys::fuzz_target;
use millrace::core::batch::{ESCAPED_MAX, append_escaped, append_escaping};

fuzz_target!(|data: &[u8]| {
    raw(data);
    inside(data);
});

/// Reads what was written between quotes.
fn read(written: &[u8]) -> String {
    assert!(written.iter().all(|byte| *byte >= 0x20));
    serde_json::from_slice(&[b"\"", written, b"\""].concat()).expect("what is sent is JSON")
}

/// Raw text arrives as itself, with U+FFFD where the standard library puts it, and is counted as it arrives.
fn raw(data: &[u8]) {
    let mut out = b"before".to_vec();
    let len = append_escaping(&mut out, data);
    let text = read(&out[6..]);
    assert_eq!(text, String::from_utf8_lossy(data));
    assert_eq!(len, text.len());
    assert!(out.len() - 6 <= ESCAPED_MAX * data.len());
    // What was written is its own inside.
    let mut again = Vec::new();
    assert_eq!(append_escaped(&mut again, &out[6..]), Ok(len));
    assert_eq!(again, &out[6..]);
}

/// What stands between quotes is refused where it is unsound, and else arrives as serde_json reads it, where it does.
fn inside(data: &[u8]) {
    let quoted = [b"\"", data, b"\""].concat();
    let theirs = serde_json::from_slice::<String>(&quoted);
    let mut out = Vec::new();
    match append_escaped(&mut out, data) {
        Ok(len) => {
            let text = read(&out);
            assert_eq!(text.len(), len);
            if let Ok(theirs) = theirs {
                assert_eq!(text, theirs);
                assert_eq!(out, data, "sound text is copied as it is");
            }
            // Written once more it stays.
            let mut again = Vec::new();
            assert_eq!(append_escaped(&mut again, &out), Ok(len));
            assert_eq!(again, out);
        }
        Err(bad) => {
            assert!(theirs.is_err());
            assert!(matches!(data.get(bad.at), Some(b'\\' | b'"')));
            // All before it is sound.
            assert!(append_escaped(&mut Vec::new(), &data[..bad.at]).is_ok());
        }
    }
}
