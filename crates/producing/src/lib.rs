//! Code shared by the programs that make patches: options, exit codes, syntax checks of scripts, keys, publication.

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

pub mod ends;
pub mod patch_options;
#[cfg(feature = "sign")]
pub mod publication;
#[cfg(feature = "sign")]
pub mod secret_key;
