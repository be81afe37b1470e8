//! What S3 asks of a signature's form, before `s3s` computes the signature itself: version 4 alone, in the header or in
//! the query, whole, for this region, and over the host and all `x-amz-` headers, which could else be changed on the way.
//! Source: S3 API Reference, "Authenticating Requests (AWS Signature Version 4)".

use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use percent_encoding::percent_decode_str;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use crate::sigv4;

/// Longest life of a pre-signed URL: a week.
const EXPIRES_SECONDS_MAX: u64 = 604_800;
/// What a pre-signed URL consists of, besides the token of a session.
const QUERY: [&str; 6] =
    ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"];

/// The session's token that came with a signature, whose place depends on the signature's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token(pub(super) Option<String>);

/// Checks the form of a request's signature.
///
/// # Errors
/// The request is not signed, or not as S3 wants it.
pub(crate) fn check(parts: &Parts, region: &str) -> S3Result<Token> {
    let query = Query::of(parts.uri.query().unwrap_or_default());
    let header = parts.headers.get("authorization").map(|it| String::from_utf8_lossy(it.as_bytes()));
    let presigned = QUERY.iter().any(|name| query.has(name));
    let second = query.has("AWSAccessKeyId") || query.has("Signature");
    match header {
        Some(_) if presigned || second => {
            let text = "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
                parameter or the Authorization header should be specified";
            Err(s3_error!(InvalidArgument, "{text}"))
        }
        Some(text) if text.starts_with("AWS ") => Err(version_two()),
        _ if second => Err(version_two()),
        Some(text) => in_header(&parts.headers, &text, region),
        None if presigned => in_query(&parts.headers, &query, region),
        None if parts.method == Method::POST && is_form(&parts.headers) => {
            Err(s3_error!(NotImplemented, "Uploads by a form are not served here"))
        }
        None => Err(s3_error!(AccessDenied, "Access Denied")),
    }
}

fn version_two() -> S3Error {
    let text = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
    s3_error!(InvalidRequest, "{text}")
}

fn is_form(headers: &HeaderMap) -> bool {
    headers.get("content-type").is_some_and(|it| it.as_bytes().starts_with(b"multipart/form-data"))
}

fn in_header(headers: &HeaderMap, text: &str, region: &str) -> S3Result<Token> {
    let malformed = |text: String| S3Error::with_message(S3ErrorCode::AuthorizationHeaderMalformed, text);
    if !text.starts_with("AWS4-") {
        return Err(s3_error!(InvalidArgument, "Unsupported Authorization Type"));
    }
    let Some(authorization) = sigv4::parse(headers) else {
        return Err(malformed("The authorization header is malformed".to_owned()));
    };
    if authorization.region != region {
        return Err(malformed(format!(
            "The authorization header is malformed; the region '{}' is wrong; expecting '{region}'",
            authorization.region
        )));
    }
    if !headers.contains_key("x-amz-date") {
        return Err(s3_error!(AccessDenied, "AWS authentication requires a valid Date or x-amz-date header"));
    }
    let signed: Vec<&str> = authorization.signed_headers.iter().map(String::as_str).collect();
    check_signed(headers, &signed)?;
    let token = headers.get("x-amz-security-token");
    Ok(Token(token.map(|it| String::from_utf8_lossy(it.as_bytes()).into_owned())))
}

fn in_query(headers: &HeaderMap, query: &Query, region: &str) -> S3Result<Token> {
    let wrong = |text: String| S3Error::with_message(S3ErrorCode::AuthorizationQueryParametersError, text);
    let [Some(algorithm), Some(credential), Some(date), Some(expires), Some(signed), Some(_)] =
        QUERY.map(|name| query.only(name))
    else {
        let text = "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, \
            X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.";
        return Err(wrong(text.to_owned()));
    };
    if algorithm != "AWS4-HMAC-SHA256" {
        return Err(wrong("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"".to_owned()));
    }
    let scope: Vec<&str> = credential.split('/').collect();
    let [_, day, of, "s3", "aws4_request"] = scope.as_slice() else {
        let text = "Error parsing the X-Amz-Credential parameter; it should be of the form \
            \"<access-key>/YYYYMMDD/REGION/s3/aws4_request\"";
        return Err(wrong(text.to_owned()));
    };
    if *of != region {
        return Err(wrong(format!(
            "Error parsing the X-Amz-Credential parameter; the region '{of}' is wrong; expecting '{region}'"
        )));
    }
    if date.get(..8) != Some(*day) {
        return Err(wrong(format!(
            "Error parsing the X-Amz-Credential parameter; incorrect date \"{day}\". This date in the credential must be in \
             the same day as X-Amz-Date"
        )));
    }
    match expires.parse::<u64>() {
        Err(_) => return Err(wrong("X-Amz-Expires should be a number that is not negative".to_owned())),
        Ok(seconds) if seconds > EXPIRES_SECONDS_MAX => {
            let text = "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less \
                than 604800 seconds";
            return Err(wrong(text.to_owned()));
        }
        Ok(_) => {}
    }
    let signed: Vec<&str> = signed.split(';').collect();
    check_signed(headers, &signed)?;
    Ok(Token(query.only("X-Amz-Security-Token").map(str::to_owned)))
}

/// The host and all `x-amz-` headers are signed, and what is signed is there.
fn check_signed(headers: &HeaderMap, signed: &[&str]) -> S3Result<()> {
    let must = |name: &&str| *name == "host" || name.starts_with("x-amz-");
    let names = headers.keys().map(hyper::header::HeaderName::as_str);
    let mut unsigned: Vec<&str> = names.filter(must).filter(|name| !signed.contains(name)).collect();
    if unsigned.is_empty() && !signed.contains(&"host") {
        unsigned.push("host");
    }
    if !unsigned.is_empty() {
        return Err(s3_error!(
            AccessDenied,
            "There were headers present in the request which were not signed: {}",
            unsigned.join(", ")
        ));
    }
    if signed.iter().any(|name| !headers.contains_key(*name)) {
        return Err(s3_error!(SignatureDoesNotMatch));
    }
    Ok(())
}

/// The names and values of a query, decoded.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(query: &str) -> Self {
        let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Self(pairs.map(|(name, value)| (decoded(name), decoded(value))).collect())
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(it, _)| it == name)
    }

    /// A value that is there once.
    fn only(&self, name: &str) -> Option<&str> {
        let mut found = self.0.iter().filter(|(it, _)| it == name);
        let (_, value) = found.next()?;
        if found.next().is_some() { None } else { Some(value) }
    }
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    const SCOPE: &str = "20240101/us-east-1/s3/aws4_request";

    fn code(request: hyper::http::request::Builder) -> String {
        let refusal = check(&request.body(()).unwrap().into_parts().0, "us-east-1").err();
        refusal.map(|it| it.code().as_str().to_owned()).unwrap_or_default()
    }

    fn header(scope: &str, signed: &str) -> hyper::http::request::Builder {
        let text = format!("AWS4-HMAC-SHA256 Credential=AKID/{scope}, SignedHeaders={signed}, Signature=00");
        Request::get("/b/k").header("host", "h").header("x-amz-date", "20240101T000000Z").header("authorization", text)
    }

    #[test]
    fn a_header_signs_the_host_and_what_is_amazons() {
        let all = "host;x-amz-date";
        assert_eq!(code(header(SCOPE, all)), "");
        assert_eq!(code(header(SCOPE, "x-amz-date")), "AccessDenied");
        assert_eq!(code(header(SCOPE, "host")), "AccessDenied");
        assert_eq!(code(header(SCOPE, all).header("x-amz-acl", "private")), "AccessDenied");
        assert_eq!(code(header(SCOPE, all).header("content-type", "x")), "");
        assert_eq!(code(header(SCOPE, "host;range;x-amz-date")), "SignatureDoesNotMatch");
        assert_eq!(code(header("20240101/eu-west-1/s3/aws4_request", all)), "AuthorizationHeaderMalformed");
        assert_eq!(code(header("20240101/us-east-1/s3", all)), "AuthorizationHeaderMalformed");
        assert_eq!(code(Request::get("/").header("host", "h").header("authorization", "AWS AKID:x")), "InvalidRequest");
        assert_eq!(code(Request::get("/").header("host", "h").header("authorization", "Basic x")), "InvalidArgument");
        assert_eq!(code(Request::get("/").header("host", "h")), "AccessDenied");
        assert_eq!(
            code(Request::post("/b").header("content-type", "multipart/form-data; boundary=x")),
            "NotImplemented"
        );
    }

    #[test]
    fn a_query_has_all_its_parts_once() {
        let parts = [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256".to_owned()),
            ("X-Amz-Credential", format!("AKID%2F{}", SCOPE.replace('/', "%2F"))),
            ("X-Amz-Date", "20240101T000000Z".to_owned()),
            ("X-Amz-Expires", "604800".to_owned()),
            ("X-Amz-SignedHeaders", "host".to_owned()),
            ("X-Amz-Signature", "00".to_owned()),
            ("X-Amz-Security-Token", "to%2Fken".to_owned()),
        ];
        let url = |parts: &[(&str, String)]| {
            let pairs: Vec<String> = parts.iter().map(|(name, value)| format!("{name}={value}")).collect();
            format!("/b/k?{}", pairs.join("&"))
        };
        let get = |parts: &[(&str, String)]| Request::get(url(parts)).header("host", "h");
        let whole = get(&parts).body(()).unwrap().into_parts().0;
        assert_eq!(check(&whole, "us-east-1").unwrap(), Token(Some("to/ken".to_owned())));
        let wrong = "AuthorizationQueryParametersError";
        for at in 0..6 {
            let mut changed = parts.to_vec();
            changed.push(parts[at].clone());
            assert_eq!(code(get(&changed)), wrong, "{} twice", parts[at].0);
            changed.pop();
            changed.remove(at);
            assert_eq!(code(get(&changed)), wrong, "without {}", parts[at].0);
        }
        for (at, value, expected) in [
            (0, "AWS4-HMAC-SHA512", wrong),
            (1, "AKID%2F20240101%2Fus-east-1%2Flogs%2Faws4_request", wrong),
            (1, "AKID%2F20240101%2Feu-west-1%2Fs3%2Faws4_request", wrong),
            (2, "20240102T000000Z", wrong),
            (3, "604801", wrong),
            (3, "-1", wrong),
            (4, "x-amz-date", "AccessDenied"),
            (4, "host;x-amz-acl", "SignatureDoesNotMatch"),
        ] {
            let mut changed = parts.to_vec();
            changed[at].1 = value.to_owned();
            assert_eq!(code(get(&changed)), expected, "{} {value}", parts[at].0);
        }
        assert_eq!(code(get(&parts).header("x-amz-acl", "private")), "AccessDenied");
        assert_eq!(code(get(&parts).header("authorization", "AWS4-HMAC-SHA256 x")), "InvalidArgument");
        assert_eq!(code(Request::get("/b/k?AWSAccessKeyId=x&Signature=x&Expires=1")), "InvalidRequest");
    }
}
