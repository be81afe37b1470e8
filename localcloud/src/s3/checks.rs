//! What a body must hash to.

use hyper::HeaderMap;
use md5::{Digest, Md5};
use s3s::checksum::ChecksumHasher;
use s3s::crypto::{Checksum, Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
use s3s::{S3Error, S3ErrorCode, S3Result};

use crate::api::hex;

/// What a body must hash to, by the headers that came before or behind it.
pub(super) struct Checks {
    hasher: ChecksumHasher,
    md5: Md5,
}

impl Checks {
    /// The hashes that the headers ask for; those of a trailer are announced.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let trailer = headers.get("x-amz-trailer").and_then(|it| it.to_str().ok()).unwrap_or_default();
        let asked = |name: &str| headers.contains_key(name) || trailer.split(',').any(|it| it.trim() == name);
        let hasher = ChecksumHasher {
            crc32: asked("x-amz-checksum-crc32").then(Crc32::new),
            crc32c: asked("x-amz-checksum-crc32c").then(Crc32c::new),
            sha1: asked("x-amz-checksum-sha1").then(Sha1::new),
            sha256: asked("x-amz-checksum-sha256").then(Sha256::new),
            crc64nvme: asked("x-amz-checksum-crc64nvme").then(Crc64Nvme::new),
        };
        Self { hasher, md5: Md5::default() }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.md5.update(bytes);
    }

    /// The entity tag, if all is as the headers say.
    pub(super) fn end(self, headers: &HeaderMap, trailer: Option<&HeaderMap>) -> S3Result<String> {
        let md5 = self.md5.finalize();
        let sums = self.hasher.finalize();
        let found = [
            ("content-md5", Some(base64_simd::STANDARD.encode_to_string(md5))),
            ("x-amz-checksum-crc32", sums.checksum_crc32),
            ("x-amz-checksum-crc32c", sums.checksum_crc32c),
            ("x-amz-checksum-sha1", sums.checksum_sha1),
            ("x-amz-checksum-sha256", sums.checksum_sha256),
            ("x-amz-checksum-crc64nvme", sums.checksum_crc64nvme),
        ];
        for (name, sum) in found {
            let wanted = headers.get(name).or_else(|| trailer.and_then(|trailer| trailer.get(name)));
            if wanted.is_some_and(|wanted| Some(wanted.as_bytes()) != sum.as_ref().map(String::as_bytes)) {
                let text = format!("The {name} you specified did not match the calculated checksum.");
                return Err(S3Error::with_message(S3ErrorCode::BadDigest, text));
            }
        }
        Ok(hex(&md5))
    }
}
