//! Signature Version 4 in the Authorization header, checked. S3's own forms are checked by its gate and by `s3s`.
//! Source: IAM User Guide, "Create a signed AWS API request".

use hmac::{Hmac, KeyInit, Mac};
use hyper::HeaderMap;
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};

use crate::api::hex;
use crate::clock::parse_basic;

/// How far a request's time may be off. Source: as above.
const SKEW_MS_MAX: i64 = 5 * 60 * 1000;

/// The header's contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authorization {
    pub(crate) access_key: String,
    pub(crate) date: String,
    pub(crate) region: String,
    pub(crate) service: String,
    pub(crate) signed_headers: Vec<String>,
    signature: String,
}

/// Why a request is not who it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureError {
    /// The request's time is missing or too far off.
    Skewed,
    /// The signature is another one.
    Mismatch,
}

/// Reads the header. Whatever it holds, it is read or refused.
pub(crate) fn parse(headers: &HeaderMap) -> Option<Authorization> {
    let text = headers.get("authorization")?.to_str().ok()?;
    let fields = text.strip_prefix("AWS4-HMAC-SHA256")?;
    let field = |name: &str| fields.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let scope: Vec<&str> = field("Credential")?.split('/').collect();
    let [access_key, date, region, service, "aws4_request"] = scope.as_slice() else { return None };
    Some(Authorization {
        access_key: (*access_key).to_owned(),
        date: (*date).to_owned(),
        region: (*region).to_owned(),
        service: (*service).to_owned(),
        signed_headers: field("SignedHeaders")?.split(';').map(str::to_owned).collect(),
        signature: field("Signature")?.to_owned(),
    })
}

/// Checks the signature of a request with its whole body.
pub(crate) fn verify(
    parts: &Parts,
    body: &[u8],
    authorization: &Authorization,
    secret: &str,
    now_ms: i64,
) -> Result<(), SignatureError> {
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let date = header("x-amz-date").ok_or(SignatureError::Skewed)?;
    let sent = parse_basic(date).ok_or(SignatureError::Skewed)?;
    if (now_ms - sent).abs() > SKEW_MS_MAX || date.get(..8) != Some(&authorization.date) {
        return Err(SignatureError::Skewed);
    }
    // The host and all x-amz headers must be signed, or they could be changed on the way.
    let signed = |name: &str| authorization.signed_headers.iter().any(|it| it == name);
    let loose = parts.headers.keys().any(|name| name.as_str().starts_with("x-amz-") && !signed(name.as_str()));
    if !signed("host") || loose {
        return Err(SignatureError::Mismatch);
    }
    let mut canonical = format!("{}\n{}\n{}\n", parts.method, parts.uri.path(), canonical_query(parts.uri.query()));
    for name in &authorization.signed_headers {
        let values: Vec<String> = parts
            .headers
            .get_all(name.as_str())
            .iter()
            .map(|value| String::from_utf8_lossy(value.as_bytes()).split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        canonical.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    let payload = hex(&Sha256::digest(body));
    canonical.push_str(&format!("\n{}\n{payload}", authorization.signed_headers.join(";")));
    let Authorization { date: day, region, service, .. } = authorization;
    let to_sign = format!(
        "AWS4-HMAC-SHA256\n{date}\n{day}/{region}/{service}/aws4_request\n{}",
        hex(&Sha256::digest(canonical.as_bytes()))
    );
    let mut key = mac(format!("AWS4{secret}").as_bytes(), day.as_bytes());
    for step in [region.as_bytes(), service.as_bytes(), b"aws4_request", to_sign.as_bytes()] {
        key = mac(&key, step);
    }
    if hex(&key) == authorization.signature { Ok(()) } else { Err(SignatureError::Mismatch) }
}

fn canonical_query(query: Option<&str>) -> String {
    let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut pairs: Vec<(&str, &str)> = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

fn mac(key: &[u8], data: &[u8]) -> Vec<u8> {
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { unreachable!("a key of any length is taken") };
    mac.update(data);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests {
    use hyper::Request;
    use hyper::http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// The example of the IAM User Guide: GET ListUsers.
    fn example() -> Parts {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
            SignedHeaders=content-type;host;x-amz-date, \
            Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
        let request = Request::get("/?Action=ListUsers&Version=2010-05-08")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("host", "iam.amazonaws.com")
            .header("x-amz-date", "20150830T123600Z")
            .header("authorization", authorization)
            .body(());
        request.unwrap().into_parts().0
    }

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const NOW: i64 = 1_440_938_160_000;

    #[test]
    fn the_guides_example_is_valid_and_any_change_is_not() {
        let parts = example();
        let authorization = parse(&parts.headers).unwrap();
        assert_eq!((authorization.access_key.as_str(), authorization.service.as_str()), ("AKIDEXAMPLE", "iam"));
        assert_eq!(verify(&parts, b"", &authorization, SECRET, NOW), Ok(()));
        assert_eq!(verify(&parts, b"", &authorization, "other", NOW), Err(SignatureError::Mismatch));
        assert_eq!(verify(&parts, b"x", &authorization, SECRET, NOW), Err(SignatureError::Mismatch));
        assert_eq!(verify(&parts, b"", &authorization, SECRET, NOW + 301_000), Err(SignatureError::Skewed));
        let mut changed = example();
        changed.headers.insert("x-amz-security-token", HeaderValue::from_static("stolen"));
        assert_eq!(verify(&changed, b"", &authorization, SECRET, NOW), Err(SignatureError::Mismatch));
    }

    /// Bytes that a header may hold, with the parts of a real one among them.
    fn header() -> impl Strategy<Value = Vec<u8>> {
        let known = prop::sample::select(vec![
            "AWS4-HMAC-SHA256",
            " Credential=",
            "AKID/20150830/us-east-1/logs/aws4_request",
            ", SignedHeaders=",
            "host",
            ";x-amz-date",
            ", Signature=",
            "0a",
            "/",
            "=",
            ",",
            ";",
            " ",
            "aws4_request",
            "20150830T123600Z",
        ]);
        let part = prop_oneof![
            4 => known.prop_map(|text| text.as_bytes().to_vec()),
            1 => prop::collection::vec(prop_oneof![32..127_u8, 128..=255_u8], 0..8),
        ];
        prop::collection::vec(part, 0..16).prop_map(|parts| parts.concat())
    }

    proptest! {
        /// Whatever the headers hold, they are read or refused, and never proved right.
        #[test]
        fn no_header_is_a_panic(text in header(), date in header(), path in "(/[a-z%]{0,8}){1,3}", query in "[a-z=&%]{0,16}") {
            let mut request = Request::post(format!("{path}?{query}")).header("host", "h").body(()).unwrap();
            request.headers_mut().insert("authorization", HeaderValue::from_bytes(&text).unwrap());
            request.headers_mut().insert("x-amz-date", HeaderValue::from_bytes(&date).unwrap());
            let parts = request.into_parts().0;
            if let Some(authorization) = parse(&parts.headers) {
                prop_assert!(verify(&parts, b"", &authorization, SECRET, NOW).is_err());
            }
        }
    }

    #[test]
    fn the_scope_has_the_day_of_the_request() {
        let parts = example();
        for date in ["", "2015083", "20150831"] {
            let authorization = Authorization { date: date.to_owned(), ..parse(&parts.headers).unwrap() };
            assert_eq!(verify(&parts, b"", &authorization, SECRET, NOW), Err(SignatureError::Skewed), "{date}");
        }
    }

    #[test]
    fn odd_headers_are_refused() {
        for text in
            ["", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 Credential=a/b/c, SignedHeaders=host, Signature=0", "Basic x"]
        {
            let mut headers = HeaderMap::new();
            headers.insert("authorization", HeaderValue::from_static(text));
            assert_eq!(parse(&headers), None, "{text}");
        }
    }
}
