//! Publication in a depot: the key of its index, and how it ends.

mod refusal;
mod report;

use std::path::{Path, PathBuf};

use crate::secret_key::secret_key;
use patchadm_cli::call::Invocation;
use patchadm_core::operation::publish::{IndexSigning, SignIndex};
use patchadm_inputs::input_file::read_small;
use patchadm_inputs::sign::{PublicKey, SecretKey};

pub use refusal::refused;
pub use report::PublicationReport;

/// The default number of days for which an index is valid.
pub const DAYS: u32 = 30;

/// The largest key file that is read, in bytes.
const LARGEST_KEY: u64 = 4096;

/// The key that `--key` names.
pub enum IndexKey {
    None,
    Public(PublicKey),
    Secret(SecretKey),
}

/// Returns the way in which an index gets its signature.
pub fn signing<'a>(key: &IndexKey, sign: &'a SignIndex<'a>, is_unsigned: bool) -> IndexSigning<'a> {
    match key {
        IndexKey::Secret(key) => IndexSigning::Here { key: key.public(), sign },
        IndexKey::Public(key) => IndexSigning::Elsewhere(Some(key.clone())),
        IndexKey::None if is_unsigned => IndexSigning::Never,
        IndexKey::None => IndexSigning::Elsewhere(None),
    }
}

/// Reads the key of an index, secret or public. With `--finish` nothing is signed, so a secret key does no more than a public one.
pub fn read_key(
    call: &mut Invocation,
    file: Option<&Path>,
    password_file: Option<PathBuf>,
) -> anyhow::Result<IndexKey> {
    let Some(file) = file else { return Ok(IndexKey::None) };
    // A file that cannot be read, or is not a public key, is reported as what it is not: a secret key.
    let text = read_small(file, LARGEST_KEY).unwrap_or_default();
    if let Ok(public) = PublicKey::parse(&text) {
        return Ok(IndexKey::Public(public));
    }
    secret_key(call, file, password_file).map(IndexKey::Secret)
}
