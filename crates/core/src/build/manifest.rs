//! The manifest of a patch: the SHA-256 of each of its members, or of the one file that it is.
//!
//! The text is as `sha256sum --tag` writes it below lines that begin with `#`, sorted by the bytes of the names, so that
//! `sha256sum -c` accepts it. It is read where signatures are verified.

use std::collections::BTreeMap;

use chrono::DateTime;
use sha2::{Digest as _, Sha256};

use patchadm_svr4::patch::PatchId;

/// The manifest inside a directory, whose members it lists.
pub const MANIFEST: &str = "MANIFEST";

/// The ending of the manifest beside a file.
pub const BESIDE: &str = ".manifest";

/// A SHA-256 digest.
pub type Sha256Digest = [u8; 32];

/// Formats the manifest of a directory, by the names of its members. `date` is in seconds since 1970.
pub fn write(id: &PatchId, date: i64, members: &BTreeMap<Vec<u8>, Sha256Digest>) -> Vec<u8> {
    lines(id, "members", date, members.iter().map(|(name, digest)| (name.as_slice(), digest)))
}

/// Formats the manifest of a file with this base name.
pub fn write_of_file(id: &PatchId, date: i64, name: &[u8], digest: &Sha256Digest) -> Vec<u8> {
    lines(id, "file", date, std::iter::once((name, digest)))
}

fn lines<'a>(
    id: &PatchId,
    form: &str,
    date: i64,
    digests: impl Iterator<Item = (&'a [u8], &'a Sha256Digest)>,
) -> Vec<u8> {
    let moment = DateTime::from_timestamp(date, 0).unwrap_or_default().format("%Y-%m-%dT%H:%M:%SZ");
    let head = format!("# patchadm manifest 1\n# patch {id}\n# form {form}\n# date {moment}\n");
    let mut out = head.into_bytes();
    for (name, digest) in digests {
        let escaped = escaped(name);
        if escaped != name {
            out.push(b'\\');
        }
        out.extend_from_slice(b"SHA256 (");
        out.extend_from_slice(&escaped);
        out.extend_from_slice(format!(") = {}\n", hex(digest)).as_bytes());
    }
    out
}

/// A name as `sha256sum --tag` escapes it.
fn escaped(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for &byte in name {
        match byte {
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            other => out.push(other),
        }
    }
    out
}

/// Formats a digest as hexadecimal digits.
pub fn hex(digest: &Sha256Digest) -> String {
    patchadm_rootfs::Digest(*digest).to_string()
}

/// Computes the digest of some bytes.
pub fn digest_of(bytes: &[u8]) -> Sha256Digest {
    Sha256::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_sorted_and_escaped_as_sha256sum_does() {
        let id = PatchId::new("300001-03").unwrap();
        let members: BTreeMap<Vec<u8>, Sha256Digest> =
            [b"b\\x\n".to_vec(), b"A".to_vec(), b"a b".to_vec()].map(|name| (name, digest_of(b"2"))).into();
        let two = "d4735e3a265e16eee03f59718b9b5d03019c07d8b6c51f90da3a666eec13ab35";
        assert_eq!(
            String::from_utf8(write(&id, 1_795_176_000, &members)).unwrap(),
            format!(
                "# patchadm manifest 1\n# patch 300001-03\n# form members\n# date 2026-11-20T12:00:00Z\n\
                 SHA256 (A) = {two}\nSHA256 (a b) = {two}\n\\SHA256 (b\\\\x\\n) = {two}\n"
            )
        );
        let of_file = write_of_file(&id, 0, b"300001-03.zip", &digest_of(b"2"));
        assert!(String::from_utf8(of_file).unwrap().ends_with(&format!(
            "# form file\n# date 1970-01-01T00:00:00Z\nSHA256 (300001-03.zip) = {two}\n"
        )));
    }
}
