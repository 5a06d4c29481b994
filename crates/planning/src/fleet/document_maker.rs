//! Who makes a document for other programs, and when; and names of documents that follow from what is in them.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};

use patchadm_inputs::sign::sha256;

/// Who makes a document, and when.
#[derive(Clone, Debug)]
pub struct DocumentMaker {
    /// The person or organisation that stands for what it says.
    pub author: String,
    /// The version of the program.
    pub version: String,
    /// The present moment.
    pub now: DateTime<Utc>,
}

/// Returns a moment as documents have it.
pub(super) fn moment(moment: &DateTime<Utc>) -> String {
    moment.format("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// Returns a UUID of version 8 (RFC 9562) that follows from some bytes: equal documents have one name, others do not.
pub(super) fn uuid_of(bytes: &[u8]) -> String {
    let mut digits = String::with_capacity(36);
    for (at, byte) in sha256(bytes).iter().take(16).enumerate() {
        let byte = match at {
            6 => byte & 0x0f | 0x80,
            8 => byte & 0x3f | 0x80,
            _ => *byte,
        };
        if matches!(at, 4 | 6 | 8 | 10) {
            digits.push('-');
        }
        // Writing into a string does not fail.
        let _ = write!(digits, "{byte:02x}");
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_the_bytes_and_is_a_uuid_of_its_version() {
        let name = uuid_of(b"x");
        assert_eq!(name, "2d711642-b726-8044-8162-7ca9fbac32f5");
        assert_eq!(name, uuid_of(b"x"));
        assert_ne!(name, uuid_of(b"y"));
    }
}
