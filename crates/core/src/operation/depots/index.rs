//! Unverified bytes of an index and its signature, and cached facts of patches.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::DepotError;
use super::session::{AnswerBytes, FetchSession, fetch_small};
use patchadm_inputs::depot::{DepotIndex, DepotPatch, IndexError, LARGEST_INDEX};
use patchadm_inputs::http::{Address, HttpError, HttpProblem, Validators};
use patchadm_inputs::input_file::InputDirectory;
use patchadm_inputs::sign::{
    Demand, DemandWord, KeyRole, LARGEST_SIGNATURE, SignatureFormat, SignatureState, SignedFiles, Verdict,
    judge, sha256, sha256_text,
};
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;
use serde::{Deserialize, Serialize};

const INDEX: &str = "index.json";

pub(super) struct IndexBytes {
    pub(super) path: String,
    pub(super) text: Vec<u8>,
    pub(super) sha256: String,
    /// Signs exactly these bytes.
    pub(super) signature: Option<Vec<u8>>,
    /// If it is not from a directory or the cache.
    fetched: Option<Validators>,
}

/// In the cache, for the index of an address.
#[derive(Serialize, Deserialize)]
struct IndexNote {
    url: String,
    etag: Option<String>,
    modified: Option<String>,
    sha256: String,
    signature: Option<String>,
}

impl IndexBytes {
    fn new(path: String, text: Vec<u8>, signature: Option<Vec<u8>>) -> Self {
        Self { sha256: sha256_text(&sha256(&text)), path, text, signature, fetched: None }
    }

    /// `None` if there is no index.
    pub(super) fn of_directory(directory: &Path) -> Result<Option<Self>, DepotError> {
        let path = directory.join(INDEX);
        let inside = InputDirectory::open(directory).map_err(|error| DepotError::read(directory, error))?;
        let text = match inside.read_small(Path::new(INDEX), LARGEST_INDEX as u64) {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Err(too_large(path.display().to_string()));
            }
            read => read.map_err(|error| DepotError::read(&path, error))?,
        };
        let Some(text) = text else { return Ok(None) };
        let index = Self::new(path.display().to_string(), text, None);
        let signature = index.signature_path();
        let read = inside.read_small(Path::new(&signature), LARGEST_SIGNATURE);
        let signature = read.map_err(|error| DepotError::read(&directory.join(signature), error))?;
        Ok(Some(Self { signature, ..index }))
    }

    /// Uses the cache if the index is unchanged. Asks for the whole index if the demands refuse the cached one: its
    /// signature may exist by now.
    pub(super) fn of_address(
        depot: &Address,
        demands: &[Demand],
        session: &FetchSession<'_>,
    ) -> Result<Self, DepotError> {
        let address = depot.below("index.json");
        let key = sha256_text(&sha256(address.to_string().as_bytes()));
        let known = Self::cached(&address, &key, session)?;
        if session.access.is_offline {
            return known.map(|(index, _)| index).ok_or_else(|| DepotError::Offline(address.to_string()));
        }
        let known = known.filter(|(index, _)| index.judged(demands).is_ok());
        let validators = known.as_ref().map(|(_, note)| note.validators());
        match fetch_small(session, &address, LARGEST_INDEX as u64, validators.as_ref()) {
            Ok(AnswerBytes::Unchanged) => {
                known.map(|(index, _)| index).ok_or_else(|| DepotError::NoIndex(depot.to_string()))
            }
            Ok(AnswerBytes::Whole(text, validators)) => {
                let index = Self::new(address.to_string(), text, None).with_signature(depot, session)?;
                Ok(Self { fetched: Some(validators), ..index })
            }
            Err(DepotError::Http(HttpError { problem: HttpProblem::NotThere(_), .. })) => {
                Err(DepotError::NoIndex(depot.to_string()))
            }
            Err(DepotError::Http(HttpError { problem: HttpProblem::Size { .. }, .. })) => {
                Err(too_large(address.to_string()))
            }
            Err(error) => Err(error),
        }
    }

    fn with_signature(self, depot: &Address, session: &FetchSession<'_>) -> Result<Self, DepotError> {
        let address = depot.below(&self.signature_path());
        match fetch_small(session, &address, LARGEST_SIGNATURE, None) {
            Ok(AnswerBytes::Whole(signature, _)) => Ok(Self { signature: Some(signature), ..self }),
            Ok(AnswerBytes::Unchanged)
            | Err(DepotError::Http(HttpError { problem: HttpProblem::NotThere(_), .. })) => Ok(self),
            Err(error) => Err(error),
        }
    }

    /// Returns the last fetched index, if cached.
    fn cached(
        address: &Address,
        key: &str,
        session: &FetchSession<'_>,
    ) -> Result<Option<(Self, IndexNote)>, DepotError> {
        let cache = session.cache()?;
        let note = cache.note(key)?.and_then(|text| serde_json::from_slice::<IndexNote>(&text).ok());
        let Some(note) = note.filter(|note| note.url == address.to_string()) else { return Ok(None) };
        let Some(text) = cache.read(&note.sha256, LARGEST_INDEX as u64)? else { return Ok(None) };
        let signature = match &note.signature {
            None => None,
            Some(sha256) => match cache.read(sha256, LARGEST_SIGNATURE)? {
                None => return Ok(None),
                signature => signature,
            },
        };
        Ok(Some((Self::new(address.to_string(), text, signature), note)))
    }

    /// Caches an index that was fetched and accepted. A refused one must not replace it.
    pub(super) fn remember(&self, session: &FetchSession<'_>) -> Result<(), DepotError> {
        let Some(Validators { etag, modified }) = self.fetched.clone() else { return Ok(()) };
        let cache = session.cache()?;
        cache.make_room(self.text.len() as u64)?;
        cache.store(&self.sha256, &self.text)?;
        let signature = self.signature.as_ref().map(|signature| {
            let digest = sha256_text(&sha256(signature));
            cache.store(&digest, signature).map(|()| digest)
        });
        let key = sha256_text(&sha256(self.path.as_bytes()));
        let (url, sha256) = (self.path.clone(), self.sha256.clone());
        let note = IndexNote { url, etag, modified, sha256, signature: signature.transpose()? };
        // Serializing strings cannot fail.
        Ok(cache.set_note(&key, &serde_json::to_vec(&note).unwrap_or_default())?)
    }

    /// Returns the strictest verdict, and true if any demand trusts the signature. A mirror may lack a required
    /// signature for a while.
    pub(super) fn judged(&self, demands: &[Demand]) -> Result<(Verdict, bool), DepotError> {
        let signature = self.signature.clone().map(|text| (SignatureFormat::Minisign, text));
        let files = SignedFiles { manifest: self.text.clone(), signature };
        let (mut worst, mut is_trusted) = (Verdict::unchecked(), false);
        for demand in demands.iter().filter(|demand| demand.word != DemandWord::Off) {
            let (verdict, _) = judge(self.signature.is_some().then_some(&files), demand, KeyRole::Index);
            if verdict.is_refused() && self.signature.is_none() {
                return Err(DepotError::MissingSignature(self.path.clone()));
            }
            if verdict.is_refused() {
                return Err(DepotError::IndexSignature {
                    path: self.path.clone(),
                    verdict: Box::new(verdict),
                });
            }
            is_trusted |= verdict.state == SignatureState::Trusted;
            if worst.state < verdict.state {
                worst = verdict;
            }
        }
        Ok((worst, is_trusted))
    }

    pub(super) fn parsed(&self) -> Result<DepotIndex, DepotError> {
        DepotIndex::parse(&self.text).map_err(|error| DepotError::Index { path: self.path.clone(), error })
    }

    fn signature_path(&self) -> String {
        format!("index/{}.minisig", self.sha256)
    }
}

impl IndexNote {
    fn validators(&self) -> Validators {
        Validators { etag: self.etag.clone(), modified: self.modified.clone() }
    }
}

fn too_large(path: String) -> DepotError {
    DepotError::Index { path, error: IndexError::TooLarge }
}

const NAME: &[u8] = b".patchadm-index";

/// In bytes.
const LARGEST: u64 = 128 << 20;

const PROGRAM: &str = "depot-index";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct IndexedPatch {
    pub(super) name: String,
    pub(super) stamp: String,
    pub(super) entry: Option<DepotPatch>,
    /// For example `5.10`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) os_release: Option<String>,
    pub(super) reason: Option<String>,
}

pub(super) type KnownPatches = BTreeMap<String, IndexedPatch>;

pub(super) fn read_known(top: &Dir) -> KnownPatches {
    let is_own = |seen: patchadm_rootfs::ObjectStatus| {
        top.itself().is_ok_and(|itself| itself.uid == seen.uid) && seen.mode.bits() & 0o022 == 0
    };
    if !top.look(NAME).ok().flatten().is_some_and(is_own) {
        return KnownPatches::new();
    }
    let text = top.read_regular(NAME, LARGEST).ok().flatten().unwrap_or_default();
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let known = lines.map(serde_json::from_slice::<IndexedPatch>);
    known.map_while(Result::ok).map(|known| (known.name.clone(), known)).collect()
}

/// The rename need not be durable: lost facts are read again.
pub(super) fn write_known<'k>(
    top: &Dir,
    known: impl Iterator<Item = &'k IndexedPatch>,
) -> Result<(), RootError> {
    let mut text = Vec::new();
    for known in known {
        // Serializing strings and numbers cannot fail.
        text.append(&mut serde_json::to_vec(known).unwrap_or_default());
        text.push(b'\n');
    }
    top.remove_leftovers(PROGRAM)?;
    top.replace_file(PROGRAM, NAME, &text, Mode::of(0o644))
}

#[cfg(feature = "sign")]
#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_inputs::sign::{KeyRing, KeyRules, SecretKey, TrustedKey};

    #[test]
    fn an_index_is_trusted_if_one_of_several_policies_trusts_it() {
        let path = format!("{}/../../testdata/signatures/plain.sec", env!("CARGO_MANIFEST_DIR"));
        let key = SecretKey::parse(&std::fs::read(path).unwrap(), None).unwrap();
        let signature = key.sign(b"{}", "timestamp:1795262400").write("ours").into_bytes();
        let index = IndexBytes::new("index.json".to_owned(), b"{}".to_vec(), Some(signature));
        let trusted = TrustedKey { name: "ours".to_owned(), key: key.public(), rules: KeyRules::default() };
        let knowing = KeyRing { keys: vec![trusted], ..KeyRing::default() };
        let require = Demand { word: DemandWord::Require, keys: knowing };
        let warn = Demand { word: DemandWord::Warn, keys: KeyRing::default() };
        let judged = |demands: &[Demand]| {
            let (verdict, is_trusted) = index.judged(demands).unwrap();
            (verdict.state, is_trusted)
        };
        let (trusted, unknown) = (SignatureState::Trusted, SignatureState::UnknownKey);
        assert_eq!(judged(&[]), (SignatureState::Unchecked, false));
        assert_eq!(judged(std::slice::from_ref(&require)), (trusted, true));
        assert_eq!(judged(std::slice::from_ref(&warn)), (unknown, false));
        assert_eq!(judged(&[require.clone(), warn.clone()]), (unknown, true));
        assert_eq!(judged(&[warn, require]), (unknown, true));
    }
}
