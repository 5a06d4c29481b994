//! Signatures: the maker of a patch, and whether a root trusts it.
//!
//! ```text
//! manifest, signature ──┐
//! keys of the root ─────┼─► verdict ─► trusted │ unsigned │ unknown-key │ revoked │ expired │ not-allowed │ bad
//! policy of the root ───┘   pure                          and with the policy: accept, warn, or refuse
//! ```
//! The signed text is a manifest of SHA-256 sums (patchadm-signatures(5)). Signatures and keys are those of minisign(1)
//! (both algorithms) and signify(1). Only [`KeyDirectory`] reads a root.
//!
//! The cryptography is behind the feature `sign`. A build without it reads all formats but knows no key, so `require`
//! refuses every signature.
//!
//! [`source`](crate::source) compares a patch with its manifest. PKCS#7 is not supported.

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
