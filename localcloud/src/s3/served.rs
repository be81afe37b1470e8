//! Which headers each operation serves. What S3 knows besides them is refused: a condition or a choice that is passed over
//! would answer wrongly.

use hyper::HeaderMap;
use percent_encoding::percent_decode_str;
use s3s::{S3Result, s3_error};

/// Headers that make a call depend on what is there. Source: RFC 9110, 13.1.
const CONDITIONS: [&str; 5] = ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range"];
/// What a writer tells an object's readers and is not kept here.
const UNKEPT: [&str; 4] = ["cache-control", "content-disposition", "content-language", "expires"];
/// Operations that make an object.
const WRITES: [&str; 3] = ["PutObject", "CopyObject", "CreateMultipartUpload"];
/// Operations that read one.
const READS: [&str; 2] = ["GetObject", "HeadObject"];
/// What belongs to the signature, or is served by all. Nobody pays here, so everyone may offer to.
const OF_ALL: [&str; 6] = [
    "x-amz-content-sha256",
    "x-amz-date",
    "x-amz-security-token",
    "x-amz-user-agent",
    "x-amz-expected-bucket-owner",
    "x-amz-request-payer",
];
const READ: &[&str] = &["if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "x-amz-checksum-mode"];

/// What an operation serves besides; `*` stands for any end. Objects keep no checksums: those of a body are compared with
/// it, and a wish for more is granted by giving none.
fn served(operation: &str) -> &'static [&'static str] {
    match operation {
        "GetObject" | "HeadObject" => READ,
        "PutObject" => &[
            "if-match",
            "if-none-match",
            "x-amz-acl",
            "x-amz-meta-*",
            "x-amz-checksum-crc32",
            "x-amz-checksum-crc32c",
            "x-amz-checksum-crc64nvme",
            "x-amz-checksum-sha1",
            "x-amz-checksum-sha256",
            "x-amz-sdk-checksum-algorithm",
            "x-amz-trailer",
            "x-amz-decoded-content-length",
        ],
        "CopyObject" => &[
            "if-match",
            "if-none-match",
            "x-amz-acl",
            "x-amz-meta-*",
            "x-amz-metadata-directive",
            // There are no tags to copy or to replace.
            "x-amz-tagging-directive",
            "x-amz-checksum-algorithm",
            "x-amz-copy-source",
            "x-amz-copy-source-if-*",
            "x-amz-source-expected-bucket-owner",
        ],
        "CreateMultipartUpload" => &["x-amz-acl", "x-amz-meta-*", "x-amz-checksum-algorithm", "x-amz-checksum-type"],
        "UploadPartCopy" => &[
            "x-amz-copy-source",
            "x-amz-copy-source-if-*",
            "x-amz-copy-source-range",
            "x-amz-source-expected-bucket-owner",
        ],
        "CompleteMultipartUpload" => &["if-match", "if-none-match", "x-amz-mp-object-size", "x-amz-checksum-type"],
        _ => &[],
    }
}

/// The part of a query that is the signature; other `x-amz-` names there stand for headers.
const SIGNATURE: [&str; 7] = [
    "x-amz-algorithm",
    "x-amz-credential",
    "x-amz-date",
    "x-amz-expires",
    "x-amz-security-token",
    "x-amz-signature",
    "x-amz-signedheaders",
];

/// Refuses a call with a header, or a part of its query, that its operation does not serve.
///
/// # Errors
/// `NotImplemented`, as S3 answers where it does not serve one itself.
pub(super) fn check(operation: &str, headers: &HeaderMap, query: Option<&str>) -> S3Result<()> {
    for pair in query.unwrap_or_default().split('&') {
        let name = pair.split_once('=').map_or(pair, |(name, _)| name);
        let name = percent_decode_str(name).decode_utf8_lossy().to_ascii_lowercase();
        let of_header = name.starts_with("x-amz-") && !SIGNATURE.contains(&name.as_str());
        // A part of an object, or an answer with other headers than the object's.
        let of_read = READS.contains(&operation) && (name == "partnumber" || name.starts_with("response-"));
        if of_header || of_read {
            return Err(s3_error!(NotImplemented, "The query parameter {name} is not served here"));
        }
    }
    let served = served(operation);
    let writes = WRITES.contains(&operation);
    for name in headers.keys().map(hyper::header::HeaderName::as_str) {
        let known = name.starts_with("x-amz-") || CONDITIONS.contains(&name) || (writes && UNKEPT.contains(&name));
        let fits = |pattern: &&str| pattern.strip_suffix('*').map_or(*pattern == name, |start| name.starts_with(start));
        if known && !OF_ALL.contains(&name) && !served.iter().any(fits) {
            return Err(s3_error!(
                NotImplemented,
                "A header you provided implies functionality that is not implemented: {name}"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use hyper::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn what_is_not_served_is_refused_by_its_name() {
        for (operation, header, serves) in [
            ("GetObject", "if-none-match", true),
            ("GetObject", "if-range", false),
            ("GetObject", "range", true),
            ("GetObject", "cache-control", true),
            ("GetObject", "x-amz-server-side-encryption-customer-key", false),
            ("PutObject", "x-amz-meta-colour", true),
            ("PutObject", "if-modified-since", false),
            ("PutObject", "cache-control", false),
            ("PutObject", "x-amz-tagging", false),
            ("PutObject", "x-amz-write-offset-bytes", false),
            ("CopyObject", "x-amz-copy-source-if-none-match", true),
            ("CopyObject", "x-amz-copy-source-server-side-encryption-customer-key", false),
            ("UploadPartCopy", "x-amz-meta-colour", false),
            ("CompleteMultipartUpload", "x-amz-checksum-crc32", false),
            ("AbortMultipartUpload", "x-amz-if-match-initiated-time", false),
            ("ListObjectsV2", "x-amz-optional-object-attributes", false),
            ("ListObjectsV2", "x-amz-expected-bucket-owner", true),
        ] {
            let headers = [(HeaderName::from_static(header), HeaderValue::from_static("x"))].into_iter().collect();
            assert_eq!(check(operation, &headers, None).is_ok(), serves, "{operation} {header}");
        }
        for (operation, query, serves) in [
            ("GetObject", "versionId=x&X-Amz-Expires=1", true),
            ("GetObject", "response%2Dcontent-type=x", false),
            ("HeadObject", "versionId=x&partNumber=1", false),
            ("UploadPartCopy", "partNumber=1&uploadId=x", true),
            ("PutObject", "x-amz-acl=private", false),
        ] {
            assert_eq!(check(operation, &HeaderMap::new(), Some(query)).is_ok(), serves, "{operation} {query}");
        }
    }
}
