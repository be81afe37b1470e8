//! A request to the embedded cloud: `METHOD TARGET`, a header a line, an empty line, the body. Laws: README.md.
//!
//! localcloud brings a web server with it. Its check of signatures needs none of that, so the file is compiled in here.

#![no_main]

use hmac::{Hmac, KeyInit as _, Mac as _};
use hyper::Request;
use hyper::http::HeaderValue;
use hyper::http::request::Parts;
use libfuzzer_sys::fuzz_target;
use millrace_fuzz::Dice;
use sha2::{Digest as _, Sha256};

use self::sigv4::{Authorization, SignatureError, parse, verify};

mod api {
    /// Lower-case hexadecimal, as localcloud's.
    pub(crate) fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
#[expect(dead_code, reason = "only its reading of times is wanted")]
#[path = "../../localcloud/src/clock.rs"]
mod clock;
#[path = "../../localcloud/src/sigv4.rs"]
mod sigv4;

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
/// 20150830T123600Z
const NOW: i64 = 1_440_938_160_000;
const MINUTE: i64 = 60_000;

fuzz_target!(|data: &[u8]| {
    let Some((mut parts, body)) = request(data) else { return };
    if let Some(authorization) = parse(&parts.headers) {
        read(&parts, &authorization);
        as_it_says(&parts, body, &authorization);
    }
    signed(&mut parts, body, &mut Dice::new(data));
});

fn request(data: &[u8]) -> Option<(Parts, &[u8])> {
    let end = data.windows(2).position(|two| two == b"\n\n").unwrap_or(data.len());
    let mut lines = data[..end].split(|byte| *byte == b'\n');
    let (method, target) = std::str::from_utf8(lines.next()?).ok()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    Some((request.body(()).ok()?.into_parts().0, data.get(end + 2..).unwrap_or_default()))
}

/// What is read stands in the header.
fn read(parts: &Parts, authorization: &Authorization) {
    let text = parts.headers["authorization"].to_str().expect("it was read");
    let Authorization { access_key, date, region, service, signed_headers, .. } = authorization;
    assert!([access_key, date, region, service].iter().all(|part| !part.contains(['/', ','])));
    assert!(text.contains(&format!("Credential={access_key}/{date}/{region}/{service}/aws4_request")));
    assert!(text.contains(&format!("SignedHeaders={}", signed_headers.join(";"))));
}

/// A request that is taken is signed with the secret, by our own reckoning; one that is not, is not.
fn as_it_says(parts: &Parts, body: &[u8], authorization: &Authorization) {
    let stamp = parts.headers.get("x-amz-date").and_then(|it| it.to_str().ok()).unwrap_or_default().to_owned();
    let right = parts.headers["authorization"].to_str().is_ok_and(|text| {
        let signature = signature(parts, body, authorization, &stamp, SECRET);
        text.split(',').any(|field| field.trim() == format!("Signature={signature}"))
    });
    for now in [NOW, NOW + 400 * MINUTE, 0] {
        match verify(parts, body, authorization, SECRET, now) {
            Ok(()) => assert!(right && now == NOW || clock::parse_basic(&stamp).is_some_and(|at| at != NOW)),
            Err(SignatureError::Skewed) => {}
            Err(SignatureError::Mismatch) => assert!(!right || !all_signed(parts, authorization)),
        }
    }
}

fn all_signed(parts: &Parts, authorization: &Authorization) -> bool {
    let signed = |name: &str| authorization.signed_headers.iter().any(|it| it == name);
    signed("host") && parts.headers.keys().all(|name| !name.as_str().starts_with("x-amz-") || signed(name.as_str()))
}

/// A request that we sign is taken, and with any change to what was signed it is not.
fn signed(parts: &mut Parts, body: &[u8], dice: &mut Dice) {
    let value = |text: &str| HeaderValue::from_str(text).expect("visible ASCII");
    parts.headers.insert("host", value("logs.eu-west-1.amazonaws.com"));
    parts.headers.insert("x-amz-date", value("20150830T123600Z"));
    parts.headers.remove("authorization");
    let mut names: Vec<String> = parts.headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort_unstable();
    let scope = "AKID/20150830/eu-west-1/logs/aws4_request";
    let header = |signature: &str| {
        value(&format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={}, Signature={signature}", names.join(";")))
    };
    parts.headers.insert("authorization", header("0"));
    let authorization = parse(&parts.headers).expect("it is a header");
    assert_eq!(verify(parts, body, &authorization, SECRET, NOW), Err(SignatureError::Mismatch));
    let signature = signature(parts, body, &authorization, "20150830T123600Z", SECRET);
    parts.headers.insert("authorization", header(&signature));
    let authorization = parse(&parts.headers).expect("it is a header");
    let check = |parts: &Parts, body: &[u8], now| verify(parts, body, &authorization, SECRET, now);
    assert_eq!(check(parts, body, NOW), Ok(()));
    assert_eq!(check(parts, body, NOW + 5 * MINUTE), Ok(()));
    assert_eq!(check(parts, body, NOW - 5 * MINUTE - 1), Err(SignatureError::Skewed));

    let mismatch = Err(SignatureError::Mismatch);
    assert_eq!(verify(parts, body, &authorization, "another", NOW), mismatch);
    assert_eq!(check(parts, &[body, b"x"].concat(), NOW), mismatch);
    let mut changed = parts.clone();
    changed.headers.insert("x-amz-content-sha256", value("UNSIGNED-PAYLOAD"));
    if !parts.headers.contains_key("x-amz-content-sha256") {
        assert_eq!(check(&changed, body, NOW), mismatch, "an x-amz header that is not signed");
    }
    let mut changed = parts.clone();
    changed.headers.append(
        names[dice.between(0, names.len() - 1)].parse::<hyper::header::HeaderName>().expect("a name"),
        value("more"),
    );
    assert!(check(&changed, body, NOW).is_err(), "a signed header that has one value more");
    let mut changed = parts.clone();
    changed.method = if parts.method == "GET" { hyper::Method::PUT } else { hyper::Method::GET };
    assert_eq!(check(&changed, body, NOW), mismatch, "another method");
    let mut changed = parts.clone();
    changed.uri = if parts.uri.path() == "/other" { "/" } else { "/other" }.parse().expect("a path");
    assert_eq!(check(&changed, body, NOW), mismatch, "another path");
}

/// The signature, after the IAM User Guide's "Create a signed AWS API request" and nobody else.
fn signature(parts: &Parts, body: &[u8], by: &Authorization, stamp: &str, secret: &str) -> String {
    let mut query: Vec<String> = parts.uri.query().unwrap_or_default().split('&').map(str::to_owned).collect();
    query.retain(|pair| !pair.is_empty());
    for pair in &mut query {
        if !pair.contains('=') {
            pair.push('=');
        }
    }
    // By name, then by value: `a=1` comes before `a-b=1`, though `=` comes behind `-`.
    query.sort_by_key(|pair| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())));
    let mut lines = vec![parts.method.to_string(), parts.uri.path().to_owned(), query.join("&")];
    for name in &by.signed_headers {
        let values = parts.headers.get_all(name.as_str()).iter().map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes()).into_owned();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        });
        lines.push(format!("{name}:{}", values.collect::<Vec<_>>().join(",")));
    }
    lines.extend([String::new(), by.signed_headers.join(";"), api::hex(&Sha256::digest(body))]);
    let Authorization { date, region, service, .. } = by;
    let request = api::hex(&Sha256::digest(lines.join("\n")));
    let text = format!("AWS4-HMAC-SHA256\n{stamp}\n{date}/{region}/{service}/aws4_request\n{request}");
    let mac = |key: Vec<u8>, text: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key of any length");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().to_vec()
    };
    let key = [date, region, service, "aws4_request"].into_iter().fold(format!("AWS4{secret}").into_bytes(), mac);
    api::hex(&mac(key, &text))
}
