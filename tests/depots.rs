//! The view of a reader of a depot: one complete, signed index, or an error.

use std::fs;
use std::path::Path;

use patchadm_inputs::depot::{DepotIndex, DepotPatch, object_path};
use patchadm_inputs::sign::{LARGEST_SIGNATURE, PublicKey, Signature, SignatureFormat};
use sha2::{Digest as _, Sha256};

/// A public key of `testdata/signatures`.
pub(crate) fn public_key(name: &str) -> PublicKey {
    let path = format!("{}/testdata/signatures/{name}.pub", env!("CARGO_MANIFEST_DIR"));
    PublicKey::parse(&fs::read(path).unwrap()).unwrap()
}

/// The SHA-256 of bytes, in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads a depot as a client may at any moment: the index, its signature, and every object that the index names. `None`
/// if there is no index yet.
pub(crate) fn read_depot(depot: &Path, key: &PublicKey) -> Result<Option<DepotIndex>, String> {
    let text = match fs::read(depot.join("index.json")) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| format!("index.json: {error}"))?,
    };
    let signature = depot.join(format!("index/{}.minisig", digest(&text)));
    let signature = fs::read(&signature).map_err(|error| format!("{}: {error}", signature.display()))?;
    assert!(signature.len() as u64 <= LARGEST_SIGNATURE);
    let signature =
        Signature::parse(&signature, SignatureFormat::Minisign).map_err(|error| error.to_string())?;
    if !signature.is_of(key, &text) {
        return Err("the signature is not one of the index".to_owned());
    }
    let index = DepotIndex::parse(&text).map_err(|error| error.to_string())?;
    for (sha256, size) in index.patches().flat_map(DepotPatch::objects) {
        let path = object_path(sha256);
        let bytes = fs::read(depot.join(&path)).map_err(|error| format!("{path}: {error}"))?;
        if bytes.len() as u64 != size || digest(&bytes) != sha256 {
            return Err(format!("{path} has different contents than the index says"));
        }
    }
    Ok(Some(index))
}

/// Names and bytes of all files below a directory except `.lock`, which a publisher may hold.
pub(crate) fn files_of(depot: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found: Vec<_> = crate::packages::files(depot)
        .into_iter()
        .filter(|name| name != ".lock")
        .map(|name| {
            let bytes = fs::read(depot.join(&name)).unwrap();
            (name, bytes)
        })
        .collect();
    found.sort();
    found
}
