//! The manifest and the signature of a patch to be published: beside a file, in a directory, or handed over to be signed and
//! returned.

use std::path::{Path, PathBuf};

use super::PublishError;
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::sign::{
    LARGEST_MANIFEST, LARGEST_SIGNATURE, MANIFEST, Manifest, PublicKey, Signature, SignatureFormat,
};
use patchadm_svr4::patch::PatchId;

/// The directory of a `delta` that holds the files to be signed.
pub(super) const HANDOVER: &str = "handover";

/// The manifest and the signature of a patch.
pub(super) struct PatchPapers {
    manifest: Option<(PathBuf, Vec<u8>)>,
    signature: Option<FoundSignature>,
}

/// A signature file.
struct FoundSignature {
    path: PathBuf,
    format: SignatureFormat,
    bytes: Vec<u8>,
}

impl PatchPapers {
    /// Reads what is beside a file, or handed over.
    pub(super) fn beside(patch: &Path, work: &Path) -> Result<Self, PublishError> {
        let name = patch.file_name().unwrap_or_default().to_string_lossy();
        let manifest = patch.with_file_name(format!("{name}.manifest"));
        let handed_over = work.join(HANDOVER).join(format!("{name}.manifest"));
        Self::at(manifest, Some(&handed_over))
    }

    /// Reads what is in a directory.
    pub(super) fn inside(patch: &Path) -> Result<Self, PublishError> {
        Self::at(patch.join(MANIFEST), None)
    }

    fn at(manifest: PathBuf, handed_over: Option<&Path>) -> Result<Self, PublishError> {
        let mut signature = None;
        for (place, format) in [Some(manifest.as_path()), handed_over]
            .into_iter()
            .flatten()
            .flat_map(|place| SignatureFormat::ALL.map(|format| (place, format)))
        {
            let path = PathBuf::from(format!("{}{}", place.display(), format.ending()));
            if signature.is_none() {
                let bytes = read_small(&path, LARGEST_SIGNATURE)?;
                signature = bytes.map(|bytes| FoundSignature { path, format, bytes });
            }
        }
        let bytes = read_small(&manifest, LARGEST_MANIFEST)?;
        Ok(Self { manifest: bytes.map(|bytes| (manifest, bytes)), signature })
    }

    /// Returns the file to be signed, if there is no signature.
    pub(super) fn to_sign(&self, patch: &Path) -> Option<PathBuf> {
        match (&self.manifest, &self.signature) {
            (Some(_), Some(_)) => None,
            (Some((manifest, _)), None) => Some(manifest.clone()),
            (None, _) => Some(patch.to_owned()),
        }
    }

    /// Reads the manifest and its signature. The manifest must be of this patch, and `difference` must find no fault in it
    /// and its text. The signature must be one of the manifest, if that can be checked.
    pub(super) fn checked_manifest(
        &self,
        id: &PatchId,
        key: Option<&PublicKey>,
        difference: impl FnOnce(&Manifest, &[u8]) -> Option<String>,
    ) -> Result<Option<Manifest>, PublishError> {
        let Some((path, text)) = &self.manifest else { return Ok(None) };
        let wrong = |path: &Path, reason: String| PublishError::Signature {
            path: path.display().to_string(),
            reason,
        };
        let manifest =
            Manifest::parse(text).map_err(|error| wrong(path, format!("is not valid: {error}")))?;
        if PatchId::new(&manifest.patch).ok().as_ref() != Some(id) {
            return Err(wrong(path, format!("is the manifest of patch {}, not of {id}", manifest.patch)));
        }
        if let Some(reason) = difference(&manifest, text) {
            return Err(wrong(path, reason));
        }
        if let Some(found) = &self.signature {
            let signature = Signature::parse(&found.bytes, found.format)
                .map_err(|error| wrong(&found.path, format!("is not valid: {error}")))?;
            if key.is_some_and(|key| key.id == signature.key && !signature.is_of(key, text)) {
                return Err(wrong(
                    &found.path,
                    format!("is by key {}, but not of {}", signature.key, path.display()),
                ));
            }
        }
        Ok(Some(manifest))
    }

    /// Returns the bytes of manifest and signature.
    pub(super) fn into_bytes(self) -> (Option<Vec<u8>>, Option<Vec<u8>>) {
        (self.manifest.map(|(_, bytes)| bytes), self.signature.map(|found| found.bytes))
    }
}

/// Reads a file of at most `limit` bytes; `None` if there is none.
fn read_small(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, PublishError> {
    let unreadable = |error| PublishError::Read { path: path.to_owned(), error };
    let bytes = match read_start(path, limit) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(unreadable)?,
    };
    if bytes.len() as u64 > limit {
        let reason = format!("is larger than {limit} bytes");
        return Err(PublishError::Signature { path: path.display().to_string(), reason });
    }
    Ok(Some(bytes))
}
