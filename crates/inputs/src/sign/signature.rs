//! Signature files: those of minisign, with a trusted comment, and those of signify.
//!
//! The untrusted comment is covered by no signature; nothing reads it.

use std::fmt::Write as _;

use super::armor;
use super::curve;
use super::public_key::{ALGORITHM, KeyId, PublicKey};

/// The largest signature file that is read, in bytes.
pub const LARGEST_SIGNATURE: u64 = 4096;

/// The algorithm of signatures over the BLAKE2b-512 digest of a file.
pub(super) const HASHED: [u8; 2] = *b"ED";

const TRUSTED: &[u8] = b"trusted comment: ";

/// The tool that writes a form of signature file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureFormat {
    /// Four lines, in `NAME.minisig`.
    Minisign,
    /// Two lines, in `NAME.sig`.
    Signify,
}

impl SignatureFormat {
    /// The formats in the order in which they are looked for.
    pub const ALL: [Self; 2] = [Self::Minisign, Self::Signify];

    /// Returns the ending of the file's name.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Minisign => ".minisig",
            Self::Signify => ".sig",
        }
    }
}

/// The reason a file is not a signature.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// It is larger than any signature.
    #[error("the signature file is larger than 4 KiB")]
    TooLarge,
    /// It has not the lines of a signature.
    #[error("the signature file is damaged: {0}")]
    Form(&'static str),
}

/// A signature file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key that made it, as it says itself.
    pub key: KeyId,
    pub(super) is_hashed: bool,
    pub(super) bytes: [u8; 64],
    pub(super) trusted: Option<TrustedComment>,
}

/// A comment that is signed together with the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrustedComment {
    pub(super) text: Vec<u8>,
    pub(super) signature: [u8; 64],
}

impl Signature {
    /// Reads a signature file.
    pub fn parse(text: &[u8], format: SignatureFormat) -> Result<Self, SignatureError> {
        if text.len() as u64 > LARGEST_SIGNATURE {
            return Err(SignatureError::TooLarge);
        }
        let lines = armor::lines(text);
        let (comment, line, trusted) = match (format, &lines[..]) {
            (SignatureFormat::Minisign, [comment, line, text, signature]) => {
                (comment, line, Some(trusted_comment(text, signature)?))
            }
            (SignatureFormat::Signify, [comment, line]) => (comment, line, None),
            (SignatureFormat::Minisign, _) => return Err(SignatureError::Form("it has not four lines")),
            (SignatureFormat::Signify, _) => return Err(SignatureError::Form("it has not two lines")),
        };
        if armor::comment(comment).is_none() {
            return Err(SignatureError::Form("its first line is no comment line"));
        }
        let bytes =
            armor::decode::<74>(line).ok_or(SignatureError::Form("its second line is not 74 bytes"))?;
        let mut signature =
            Self::of(&bytes).ok_or(SignatureError::Form("its algorithm is neither Ed nor ED"))?;
        if signature.is_hashed && format == SignatureFormat::Signify {
            return Err(SignatureError::Form("its algorithm is not that of signify"));
        }
        signature.trusted = trusted;
        Ok(signature)
    }

    fn of(bytes: &[u8; 74]) -> Option<Self> {
        let mut rest = &bytes[..];
        let is_hashed = match *armor::take(&mut rest)? {
            ALGORITHM => false,
            HASHED => true,
            _ => return None,
        };
        let (key, bytes) = (KeyId(*armor::take(&mut rest)?), *armor::take(&mut rest)?);
        Some(Self { key, is_hashed, bytes, trusted: None })
    }

    /// Tells whether a key made this signature of a message, and its trusted comment.
    pub fn is_of(&self, key: &PublicKey, message: &[u8]) -> bool {
        let is_of_message = if self.is_hashed {
            curve::verifies(&key.point, &curve::prehash(message), &self.bytes)
        } else {
            curve::verifies(&key.point, message, &self.bytes)
        };
        let is_comment_of = |trusted: &TrustedComment| {
            curve::verifies(&key.point, &[&self.bytes[..], &trusted.text].concat(), &trusted.signature)
        };
        key.id == self.key && is_of_message && self.trusted.as_ref().is_none_or(is_comment_of)
    }

    /// Returns the time of signing in seconds since 1970, as the trusted comment has it (`timestamp:N`).
    pub fn time(&self) -> Option<i64> {
        let mut words = self.trusted.as_ref()?.text.split(|&byte| byte == b'\t');
        let digits = words.find_map(|word| word.strip_prefix(b"timestamp:"))?;
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
    }

    /// Writes the file, as minisign does.
    pub fn write(&self, comment: &str) -> String {
        let algorithm = if self.is_hashed { HASHED } else { ALGORITHM };
        let mut text = armor::write(comment, &[&algorithm[..], &self.key.0, &self.bytes].concat());
        if let Some(trusted) = &self.trusted {
            let shown = String::from_utf8_lossy(&trusted.text);
            let _ = writeln!(text, "trusted comment: {shown}\n{}", armor::encode(&trusted.signature));
        }
        text
    }
}

fn trusted_comment(line: &[u8], signature: &[u8]) -> Result<TrustedComment, SignatureError> {
    let text =
        line.strip_prefix(TRUSTED).ok_or(SignatureError::Form("its third line is no trusted comment"))?;
    let signature =
        armor::decode(signature).ok_or(SignatureError::Form("its fourth line is not 64 bytes"))?;
    Ok(TrustedComment { text: text.to_vec(), signature })
}

#[cfg(test)]
#[cfg(feature = "sign")]
mod tests {
    use super::*;

    /// Returns a file made by the real tools (testdata/signatures).
    fn read(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/../../testdata/signatures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    }

    fn verdict(signature: &str, key: &str, manifest: &str) -> String {
        let is_signify = signature.ends_with("signify.sig");
        let format = if is_signify { SignatureFormat::Signify } else { SignatureFormat::Minisign };
        let signature = match Signature::parse(&read(signature), format) {
            Err(error) => return error.to_string(),
            Ok(signature) => signature,
        };
        let key = PublicKey::parse(&read(key)).unwrap();
        match () {
            () if signature.key != key.id => "another key".to_owned(),
            () if signature.is_of(&key, &read(manifest)) => format!("good {:?}", signature.time()),
            () => "bad".to_owned(),
        }
    }

    #[test]
    fn every_signature_of_the_real_tools_gets_their_verdict() {
        for (case, key, expected) in [
            ("hashed.minisig", "plain.pub", "good Some(1795156559)"),
            ("legacy.minisig", "plain.pub", "good Some(1795156559)"),
            ("nodate.minisig", "plain.pub", "good None"),
            ("locked.minisig", "locked.pub", "good Some(1795217982)"),
            ("other.minisig", "other.pub", "good Some(1795217979)"),
            ("other.minisig", "plain.pub", "another key"),
            ("signify.sig", "signify.pub", "good None"),
            ("comment-changed.minisig", "plain.pub", "bad"),
            ("algorithm-swapped.minisig", "plain.pub", "bad"),
            ("key-id-changed.minisig", "plain.pub", "another key"),
            ("bit-flipped.minisig", "plain.pub", "bad"),
            ("cut.minisig", "plain.pub", "the signature file is damaged: it has not four lines"),
        ] {
            let signature = format!("300001-03.manifest.{case}");
            assert_eq!(verdict(&signature, key, "300001-03.manifest"), expected, "{case}");
        }
        let hashed = "300001-03.manifest.hashed.minisig";
        assert_eq!(verdict(hashed, "plain.pub", "tampered.manifest"), "bad");
    }

    #[test]
    fn no_flipped_bit_behind_the_untrusted_comment_goes_unseen() {
        let (good, manifest) = (read("300001-03.manifest.hashed.minisig"), read("300001-03.manifest"));
        let key = PublicKey::parse(&read("plain.pub")).unwrap();
        let behind = good.iter().position(|&byte| byte == b'\n').unwrap();
        for at in (0..19).chain(behind..good.len()) {
            let mut flipped = good.clone();
            flipped[at] ^= 1;
            let parsed = Signature::parse(&flipped, SignatureFormat::Minisign);
            assert!(!parsed.is_ok_and(|signature| signature.is_of(&key, &manifest)), "byte {at}");
        }
        for length in 0..good.len() - 1 {
            let parsed = Signature::parse(&good[..length], SignatureFormat::Minisign);
            assert!(!parsed.is_ok_and(|signature| signature.is_of(&key, &manifest)), "{length} bytes");
        }
    }

    #[test]
    fn an_endless_signature_is_refused() {
        assert_eq!(Signature::parse(&[b'a'; 4097], SignatureFormat::Minisign), Err(SignatureError::TooLarge));
    }
}
