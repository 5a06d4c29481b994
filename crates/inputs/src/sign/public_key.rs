//! Public keys, as minisign and signify write them: the two are the same bytes.

use std::fmt;
use std::str::FromStr;

use super::armor;

/// The largest key file that is read, in bytes.
pub(super) const LARGEST_KEY_FILE: usize = 4096;

/// The algorithm of every key: Ed25519.
pub(super) const ALGORITHM: [u8; 2] = *b"Ed";

/// The identity of a key, which signatures name it by: eight bytes, shown as sixteen hexadecimal digits as minisign
/// prints them. It is not a digest: two keys may have one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub(super) [u8; 8]);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().rev().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl FromStr for KeyId {
    type Err = KeyFileError;

    fn from_str(text: &str) -> Result<Self, KeyFileError> {
        let wrong = || KeyFileError::KeyId(text.chars().take(40).collect());
        if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let number = u64::from_str_radix(text, 16).map_err(|_| wrong())?;
        Ok(Self(number.to_le_bytes()))
    }
}

/// The reason a file is not a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// It is larger than any key.
    #[error("it is larger than 4 KiB, and no key is")]
    TooLarge,
    /// It has not the two lines of a key.
    #[error("it is no public key of minisign or signify: {0}")]
    Form(&'static str),
    /// A key id is not sixteen hexadecimal digits.
    #[error("<{0}> is no key id: sixteen hexadecimal digits")]
    KeyId(String),
}

/// A public key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its identity.
    pub id: KeyId,
    pub(super) point: [u8; 32],
}

impl PublicKey {
    /// Reads a file of minisign or signify.
    pub fn parse(text: &[u8]) -> Result<Self, KeyFileError> {
        if text.len() > LARGEST_KEY_FILE {
            return Err(KeyFileError::TooLarge);
        }
        let [comment, key] = armor::lines(text)[..] else {
            return Err(KeyFileError::Form("it has not two lines"));
        };
        if armor::comment(comment).is_none() {
            return Err(KeyFileError::Form("its first line is no comment line"));
        }
        let bytes = armor::decode::<42>(key).ok_or(KeyFileError::Form("its second line is not 42 bytes"))?;
        Self::of(&bytes).ok_or(KeyFileError::Form("its algorithm is not Ed25519"))
    }

    fn of(bytes: &[u8; 42]) -> Option<Self> {
        let mut rest = &bytes[..];
        let algorithm = armor::take::<2>(&mut rest)?;
        let (id, point) = (KeyId(*armor::take(&mut rest)?), *armor::take(&mut rest)?);
        (*algorithm == ALGORITHM).then_some(Self { id, point })
    }

    /// Writes the file, as minisign does.
    pub fn write(&self) -> String {
        let bytes = [&ALGORITHM[..], &self.id.0, &self.point].concat();
        armor::write(&format!("minisign public key {}", self.id), &bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: &str = "untrusted comment: minisign public key 7802F643AC6161C8\n\
        RWTIYWGsQ/YCeMoWrrT1lRU1Qe8pFQjXRd3DQA1FDFyelH/jUBhMvZUC\n";

    #[test]
    fn a_key_is_read_and_written_as_minisign_has_it() {
        let key = PublicKey::parse(PLAIN.as_bytes()).unwrap();
        assert_eq!(key.id.to_string(), "7802F643AC6161C8");
        assert_eq!(key.write(), PLAIN);
        assert_eq!("7802f643ac6161c8".parse(), Ok(key.id));
    }

    #[test]
    fn what_is_no_key_is_refused_with_the_reason() {
        for (text, reason) in [
            (PLAIN.replace("untrusted", "trusted"), "its first line is no comment line"),
            (PLAIN.replace("RW", "RX"), "its algorithm is not Ed25519"),
            (PLAIN.replace("ZUC", "ZU"), "its second line is not 42 bytes"),
            (format!("{PLAIN}more\n"), "it has not two lines"),
            (String::new(), "it has not two lines"),
        ] {
            assert_eq!(PublicKey::parse(text.as_bytes()), Err(KeyFileError::Form(reason)), "{text}");
        }
        assert_eq!(PublicKey::parse(&[b'x'; 5000]), Err(KeyFileError::TooLarge));
        for wrong in ["7802F643AC6161C", "7802F643AC6161C8A", "+802F643AC6161C8", ""] {
            assert!(wrong.parse::<KeyId>().is_err(), "{wrong}");
        }
    }
}
