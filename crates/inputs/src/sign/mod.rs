//! Signatures: the maker of a patch, and whether a root trusts them.
//!
//! ```text
//!   manifest, signature ──┐
//!   keys of the root ─────┼─► verdict ─► trusted │ unsigned │ unknown-key │ revoked │ expired │ not-allowed │ bad
//!   policy of the root ───┘   pure                          and with the policy: go on, say so, or refuse
//! ```
//! The signed text is a manifest of SHA-256 sums (patchadm-signatures(5)). Signatures and keys are those of
//! minisign(1), with both algorithms, and of signify(1). Values and formats have no file open; only [`KeyDirectory`]
//! reads a root.
//!
//! The curve itself is behind the feature `sign`. A build without it reads all formats and knows no key: every
//! signature counts as one by an unknown key, which `require` refuses.
//!
//! Not done here: the comparison of a source with its manifest ([`source`](crate::source)), PKCS#7, and the check that
//! an index is fresh.

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
