//! Signatures (patchadm-signatures(5)): manifests of SHA-256 sums, signed with minisign(1) (both algorithms) or
//! signify(1). Only [`KeyDirectory`] reads a root. Without the feature `sign`, all formats are read but no key is
//! known, so `require` refuses every signature. PKCS#7 is not supported.
//!
//! ```text
//! manifest, signature ──┐
//! keys of the root ─────┼─► verdict ─► trusted │ unsigned │ unknown-key │ revoked │ expired │ not-allowed │ bad
//! policy of the root ───┘   pure                          and with the policy: accept, warn, or refuse
//! ```

mod key_directory;
mod manifest;
#[cfg(feature = "sign")]
mod secret_key;
mod signature;
mod verdict;

pub use key_directory::{KeyDirectory, KeyDirectoryError, KeyRing, TrustedKey};
pub use key_directory::{KeyRole, KeyRules, KeyRulesError, Revocations};
pub(crate) use manifest::file_of_manifest;
pub use manifest::is_of_manifest;
pub use manifest::{
    BESIDE, LARGEST_MANIFEST, MANIFEST, Manifest, ManifestEntry, ManifestError, ManifestForm, Sha256Sum,
    sha256, sha256_text,
};
#[cfg(feature = "sign")]
pub use secret_key::{KeySeed, SecretKey, SecretKeyError};
pub use signature::IS_AVAILABLE;
pub use signature::{KeyFileError, KeyId, PublicKey};
pub use signature::{LARGEST_SIGNATURE, Signature, SignatureError, SignatureFormat};
pub use verdict::{Demand, DemandWord, SignatureState, SignedFiles, Verdict, judge};
