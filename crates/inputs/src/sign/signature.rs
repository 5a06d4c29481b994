//! Public keys and signature files of minisign and signify. No signature covers the untrusted comment, so nothing reads
//! it. Public keys of both programs have the same bytes.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use base64ct::{Base64, Encoding};

/// In bytes.
pub const LARGEST_SIGNATURE: u64 = 4096;

pub(super) const HASHED: [u8; 2] = *b"ED";
const TRUSTED: &[u8] = b"trusted comment: ";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignatureFormat {
    /// Four lines, in `NAME.minisig`.
    Minisign,
    /// Two lines, in `NAME.sig`.
    Signify,
}

impl SignatureFormat {
    /// In search order.
    pub const ALL: [Self; 2] = [Self::Minisign, Self::Signify];

    pub fn ending(self) -> &'static str {
        match self {
            Self::Minisign => ".minisig",
            Self::Signify => ".sig",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    #[error("the signature file is larger than 4 KiB")]
    TooLarge,
    #[error("the signature file is damaged: {0}")]
    Form(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// The key that made it, as it claims.
    pub key: KeyId,
    pub(super) is_hashed: bool,
    pub(super) bytes: [u8; 64],
    pub(super) trusted: Option<TrustedComment>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TrustedComment {
    pub(super) text: Vec<u8>,
    pub(super) signature: [u8; 64],
}

impl Signature {
    pub fn parse(text: &[u8], format: SignatureFormat) -> Result<Self, SignatureError> {
        if text.len() as u64 > LARGEST_SIGNATURE {
            return Err(SignatureError::TooLarge);
        }
        let lines = text_lines(text);
        let (comment, line, trusted) = match (format, &lines[..]) {
            (SignatureFormat::Minisign, [comment, line, text, signature]) => {
                (comment, line, Some(trusted_comment(text, signature)?))
            }
            (SignatureFormat::Signify, [comment, line]) => (comment, line, None),
            (SignatureFormat::Minisign, _) => {
                return Err(SignatureError::Form("it does not have four lines"));
            }
            (SignatureFormat::Signify, _) => return Err(SignatureError::Form("it does not have two lines")),
        };
        if untrusted_comment(comment).is_none() {
            return Err(SignatureError::Form("its first line is not a comment line"));
        }
        let bytes = decode::<74>(line).ok_or(SignatureError::Form("its second line is not 74 bytes"))?;
        let mut signature =
            Self::of(&bytes).ok_or(SignatureError::Form("its algorithm is neither Ed nor ED"))?;
        if signature.is_hashed && format == SignatureFormat::Signify {
            return Err(SignatureError::Form("its algorithm is not the one that signify uses"));
        }
        signature.trusted = trusted;
        Ok(signature)
    }

    fn of(bytes: &[u8; 74]) -> Option<Self> {
        let mut rest = &bytes[..];
        let is_hashed = match *take_array(&mut rest)? {
            ALGORITHM => false,
            HASHED => true,
            _ => return None,
        };
        let (key, bytes) = (KeyId(*take_array(&mut rest)?), *take_array(&mut rest)?);
        Some(Self { key, is_hashed, bytes, trusted: None })
    }

    /// Also of the trusted comment.
    pub fn is_of(&self, key: &PublicKey, message: &[u8]) -> bool {
        let is_of_message = if self.is_hashed {
            verifies(&key.point, &prehash(message), &self.bytes)
        } else {
            verifies(&key.point, message, &self.bytes)
        };
        let is_comment_of = |trusted: &TrustedComment| {
            verifies(&key.point, &[&self.bytes[..], &trusted.text].concat(), &trusted.signature)
        };
        key.id == self.key && is_of_message && self.trusted.as_ref().is_none_or(is_comment_of)
    }

    /// Returns the time of signing in seconds since 1970, from the trusted comment (`timestamp:N`).
    pub fn time(&self) -> Option<i64> {
        let mut words = self.trusted.as_ref()?.text.split(|&byte| byte == b'\t');
        let digits = words.find_map(|word| word.strip_prefix(b"timestamp:"))?;
        let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
        str::from_utf8(digits).ok().filter(|_| is_number)?.parse().ok()
    }

    /// Formats the file, as minisign does.
    pub fn write(&self, comment: &str) -> String {
        let algorithm = if self.is_hashed { HASHED } else { ALGORITHM };
        let mut text = armored(comment, &[&algorithm[..], &self.key.0, &self.bytes].concat());
        if let Some(trusted) = &self.trusted {
            let shown = String::from_utf8_lossy(&trusted.text);
            let _ = writeln!(text, "trusted comment: {shown}\n{}", encode(&trusted.signature));
        }
        text
    }
}

fn trusted_comment(line: &[u8], signature: &[u8]) -> Result<TrustedComment, SignatureError> {
    let text =
        line.strip_prefix(TRUSTED).ok_or(SignatureError::Form("its third line is not a trusted comment"))?;
    let signature = decode(signature).ok_or(SignatureError::Form("its fourth line is not 64 bytes"))?;
    Ok(TrustedComment { text: text.to_vec(), signature })
}

pub(super) const LARGEST_KEY_FILE: usize = 4096;
pub(super) const ALGORITHM: [u8; 2] = *b"Ed";

/// Eight bytes, shown as sixteen hexadecimal digits as in minisign. It is not a digest: two keys may have one id.
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

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    #[error("it is larger than 4 KiB, too large for a key")]
    TooLarge,
    #[error("it is not a public key of minisign or signify: {0}")]
    Form(&'static str),
    #[error("<{0}> is not a key id: sixteen hexadecimal digits")]
    KeyId(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    pub id: KeyId,
    pub(super) point: [u8; 32],
}

impl PublicKey {
    pub fn parse(text: &[u8]) -> Result<Self, KeyFileError> {
        if text.len() > LARGEST_KEY_FILE {
            return Err(KeyFileError::TooLarge);
        }
        let [comment, key] = text_lines(text)[..] else {
            return Err(KeyFileError::Form("it does not have two lines"));
        };
        if untrusted_comment(comment).is_none() {
            return Err(KeyFileError::Form("its first line is not a comment line"));
        }
        let bytes = decode::<42>(key).ok_or(KeyFileError::Form("its second line is not 42 bytes"))?;
        Self::of(&bytes).ok_or(KeyFileError::Form("its algorithm is not Ed25519"))
    }

    fn of(bytes: &[u8; 42]) -> Option<Self> {
        let mut rest = &bytes[..];
        let algorithm = take_array::<2>(&mut rest)?;
        let (id, point) = (KeyId(*take_array(&mut rest)?), *take_array(&mut rest)?);
        (*algorithm == ALGORITHM).then_some(Self { id, point })
    }

    /// Formats the file, as minisign does.
    pub fn write(&self) -> String {
        let bytes = [&ALGORITHM[..], &self.id.0, &self.point].concat();
        armored(&format!("minisign public key {}", self.id), &bytes)
    }
}

const COMMENT: &str = "untrusted comment: ";

/// Without line ends. The last line may lack its newline; nothing may follow it.
pub(super) fn text_lines(text: &[u8]) -> Vec<&[u8]> {
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    text.split(|&byte| byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect()
}

pub(super) fn untrusted_comment(line: &[u8]) -> Option<&[u8]> {
    line.strip_prefix(COMMENT.as_bytes())
}

/// Decodes exactly `N` bytes. Rejects other padding and stray bits in the last letter.
pub(super) fn decode<const N: usize>(line: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let length = Base64::decode(line, &mut bytes).ok()?.len();
    (length == N).then_some(bytes)
}

pub(super) fn encode(bytes: &[u8]) -> String {
    Base64::encode_string(bytes)
}

pub(super) fn armored(comment: &str, bytes: &[u8]) -> String {
    format!("{COMMENT}{comment}\n{}\n", encode(bytes))
}

pub(super) fn take_array<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(first)
}

// Only these functions depend on the feature `sign`.

/// This build can verify signatures.
pub const IS_AVAILABLE: bool = cfg!(feature = "sign");

/// Verifies strictly, as libsodium does: points of small order and alternative encodings are rejected.
#[cfg(feature = "sign")]
pub(super) fn verifies(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let signature = ed25519_dalek::Signature::from_bytes(signature);
    ed25519_dalek::VerifyingKey::from_bytes(key)
        .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
}

#[cfg(not(feature = "sign"))]
pub(super) fn verifies(_key: &[u8; 32], _message: &[u8], _signature: &[u8; 64]) -> bool {
    false
}

#[cfg(feature = "sign")]
pub(super) fn prehash(message: &[u8]) -> [u8; 64] {
    use blake2::Digest as _;
    blake2::Blake2b512::digest(message).into()
}

/// Computes nothing: this build verifies no signature.
#[cfg(not(feature = "sign"))]
pub(super) fn prehash(_message: &[u8]) -> [u8; 64] {
    [0; 64]
}

#[cfg(test)]
#[cfg(feature = "sign")]
mod tests {
    use super::*;

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
            ("cut.minisig", "plain.pub", "the signature file is damaged: it does not have four lines"),
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
            (PLAIN.replace("untrusted", "trusted"), "its first line is not a comment line"),
            (PLAIN.replace("RW", "RX"), "its algorithm is not Ed25519"),
            (PLAIN.replace("ZUC", "ZU"), "its second line is not 42 bytes"),
            (format!("{PLAIN}more\n"), "it does not have two lines"),
            (String::new(), "it does not have two lines"),
        ] {
            assert_eq!(PublicKey::parse(text.as_bytes()), Err(KeyFileError::Form(reason)), "{text}");
        }
        assert_eq!(PublicKey::parse(&[b'x'; 5000]), Err(KeyFileError::TooLarge));
        for wrong in ["7802F643AC6161C", "7802F643AC6161C8A", "+802F643AC6161C8", ""] {
            assert!(wrong.parse::<KeyId>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_one_spelling_of_some_bytes_is_accepted() {
        assert_eq!(decode::<2>(b"AAE="), Some([0, 1]));
        for wrong in [&b"AAF="[..], b"AAE", b"AAE= ", b"AAEC", b"", b"AA==", b"A*E="] {
            assert_eq!(decode::<2>(wrong), None, "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn a_file_ends_with_its_last_line() {
        assert_eq!(text_lines(b"a\r\nb\n"), [b"a", b"b"]);
        assert_eq!(text_lines(b"a\nb\n\n").len(), 3);
    }
}
