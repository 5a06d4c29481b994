//! The index of a depot: read as bytes, trusted by its signature, and only then parsed.
//!
//! Anyone who can write to a depot can put another index there. A publisher who built on it would sign what someone else
//! wrote. So the index in place must have the signature that the publisher's own index gets.

use std::io::Read as _;

use super::PublishError;
use super::request::IndexSigning;
use patchadm_inputs::depot::{DepotIndex, LARGEST_INDEX};
use patchadm_inputs::sign::{LARGEST_SIGNATURE, PublicKey, Signature, SignatureFormat, sha256, sha256_text};
use patchadm_rootfs::{Dir, RootError};

/// The index, and the directory of its copies and signatures.
pub(super) const INDEX: &[u8] = b"index.json";
pub(super) const COPIES: &[u8] = b"index";

/// The largest first line of an index, in bytes.
const LARGEST_HEAD: u64 = 4096;

/// An index and the digest of its bytes.
pub(super) struct StoredIndex {
    /// The index.
    pub(super) index: DepotIndex,
    /// The SHA-256 of its bytes.
    pub(super) sha256: String,
}

/// The bytes of an index and of its signature, not yet trusted.
pub(super) struct IndexFile {
    path: String,
    pub(super) text: Vec<u8>,
    pub(super) sha256: String,
    pub(super) signature: Option<Vec<u8>>,
}

impl IndexFile {
    /// Reads the index of a depot and the signature of exactly these bytes, or `None` if there is no index.
    pub(super) fn in_place(top: &Dir) -> Result<Option<Self>, RootError> {
        let Some(text) = top.read(INDEX, LARGEST_INDEX as u64)? else { return Ok(None) };
        let sha256 = digest(&text);
        let signature = match top.dir(COPIES) {
            Ok(copies) => copies.read(format!("{sha256}.minisig").as_bytes(), LARGEST_SIGNATURE)?,
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        Ok(Some(Self { path: top.root().show(&top.at(INDEX)), text, sha256, signature }))
    }

    /// Reads an index under another name, and the signature beside it.
    pub(super) fn waiting(dir: &Dir, name: &[u8], signature: &[u8]) -> Result<Option<Self>, RootError> {
        let Some(text) = dir.read(name, LARGEST_INDEX as u64)? else { return Ok(None) };
        let (path, sha256) = (dir.root().show(&dir.at(name)), digest(&text));
        Ok(Some(Self { path, text, sha256, signature: dir.read(signature, LARGEST_SIGNATURE)? }))
    }

    /// Reads the index as one to build upon: it must be signed like the next one.
    pub(super) fn believed(
        self,
        signing: &IndexSigning<'_>,
        may_be_unsigned: bool,
    ) -> Result<StoredIndex, PublishError> {
        match (&self.signature, signing, signing.key()) {
            (Some(_), IndexSigning::Never, _) => {
                return Err(self.fault("is signed, and an unsigned one would take its place"));
            }
            (None, ..) if may_be_unsigned => {}
            (_, _, Some(key)) => self.must_be_signed(std::slice::from_ref(key), false)?,
            (_, _, None) => self.must_be_signed(&[], true)?,
        }
        Ok(StoredIndex { index: self.parsed()?, sha256: self.sha256 })
    }

    /// Refuses an index whose signature is missing, damaged, or not by one of these keys. With `others_too`, other keys are
    /// let pass: then only signatures that claim to be by these keys and are not are refused.
    pub(super) fn must_be_signed(&self, keys: &[PublicKey], others_too: bool) -> Result<(), PublishError> {
        let Some(signature) = &self.signature else { return Err(self.fault("is not signed")) };
        let signature = Signature::parse(signature, SignatureFormat::Minisign)
            .map_err(|error| self.fault(format!("is not signed well: {error}")))?;
        let id = signature.key;
        let mut known = keys.iter().filter(|key| key.id == id).peekable();
        if known.peek().is_none() {
            let refusal = || self.fault(format!("is signed by another key, {id}"));
            return if others_too { Ok(()) } else { Err(refusal()) };
        }
        if !known.any(|key| signature.is_of(key, &self.text)) {
            return Err(self.fault(format!("has a signature by key {id} that is not one of it")));
        }
        Ok(())
    }

    /// Parses the index, regardless of its signature.
    pub(super) fn parsed(&self) -> Result<DepotIndex, PublishError> {
        let fault = |error| PublishError::Index { path: self.path.clone(), error };
        DepotIndex::parse(&self.text).map_err(fault)
    }

    fn fault(&self, reason: impl Into<String>) -> PublishError {
        PublishError::Signature { path: self.path.clone(), reason: reason.into() }
    }
}

/// Returns the digest of the previous index, according to the first line of a copy; `None` if that has none.
pub(super) fn previous_of(copies: &Dir, name: &[u8]) -> Result<Option<String>, RootError> {
    let Some((file, _)) = copies.open_seen(name)? else { return Ok(None) };
    let mut head = Vec::new();
    file.take(LARGEST_HEAD).read_to_end(&mut head).map_err(|error| copies.read_error(name, &error))?;
    let Some(end) = head.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
    head.truncate(end);
    head.extend_from_slice(b"]}");
    Ok(DepotIndex::parse(&head).ok().and_then(|index| index.previous))
}

/// Returns the SHA-256 of bytes, in hexadecimal digits.
pub(super) fn digest(bytes: &[u8]) -> String {
    sha256_text(&sha256(bytes))
}

#[cfg(feature = "sign")]
#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use patchadm_inputs::sign::SecretKey;

    fn key() -> SecretKey {
        let path = format!("{}/../../testdata/signatures/plain.sec", env!("CARGO_MANIFEST_DIR"));
        SecretKey::parse(&std::fs::read(path).unwrap(), None).unwrap()
    }

    /// Returns whether an index with these bytes and this signature is built upon.
    fn is_believed(key: &PublicKey, text: &[u8], signature: &[u8]) -> bool {
        let sign = |_: &[u8]| Vec::new();
        let signing = IndexSigning::Here { key: key.clone(), sign: &sign };
        let (text, signature) = (text.to_vec(), Some(signature.to_vec()));
        let file = IndexFile { path: "index.json".to_owned(), sha256: digest(&text), text, signature };
        file.believed(&signing, false).is_ok()
    }

    #[test]
    fn no_flipped_byte_of_an_index_or_its_signature_is_built_upon() {
        let date = DateTime::from_timestamp(1_795_262_400, 0).unwrap();
        let mut text = DepotIndex::new("0f".repeat(16), date).write();
        let mut signature = key().sign(&text, "timestamp:1795262400").write("ours").into_bytes();
        let (key, comment) = (key().public(), signature.iter().position(|&byte| byte == b'\n').unwrap());
        assert!(is_believed(&key, &text, &signature));
        for at in 0..text.len() {
            text[at] ^= 1;
            assert!(!is_believed(&key, &text, &signature), "byte {at} of the index");
            text[at] ^= 1;
        }
        for at in comment..signature.len() {
            signature[at] ^= 1;
            assert!(!is_believed(&key, &text, &signature), "byte {at} of the signature");
            signature[at] ^= 1;
        }
    }

    #[test]
    fn the_head_of_a_copy_tells_which_was_before_it() {
        let place = tempfile::tempdir().unwrap();
        let date = DateTime::from_timestamp(1_795_262_400, 0).unwrap();
        let mut index = DepotIndex::new("0f".repeat(16), date);
        index.previous = Some("ab".repeat(32));
        std::fs::write(place.path().join("copy"), index.write()).unwrap();
        std::fs::write(place.path().join("other"), b"{").unwrap();
        let dir = Dir::of_host(place.path()).unwrap();
        assert_eq!(previous_of(&dir, b"copy").unwrap(), index.previous);
        assert_eq!(previous_of(&dir, b"other").unwrap(), None);
        assert_eq!(previous_of(&dir, b"none").unwrap(), None);
    }
}
