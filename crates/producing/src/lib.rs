//! Code shared by the programs that make patches.
//!
//! | module | is about |
//! | --- | --- |
//! | [`patch_options`] | options of a new patch, and the request that they form |
//! | [`ends`] | failures as exit codes and next steps |
//! | [`shell`] | syntax checks of scripts by the shell of this machine |
//! | `secret_key` | the key that signs, and its password |
//! | `publication` | publishing patches in a depot |

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

pub mod ends;
pub mod patch_options;
#[cfg(feature = "sign")]
pub mod publication;
#[cfg(feature = "sign")]
pub mod secret_key;
pub mod shell;
