//! What programs that make patches share: the options of a new patch, keys, publication, and how a making ends.
//!
//! | module | is about |
//! | --- | --- |
//! | [`patch_options`] | the options about a new patch, and the request that they form |
//! | [`making_ends`], [`delta_ends`] | failures as exit codes and next steps |
//! | [`shell`] | scripts as the shell of this machine reads them |
//! | `secret_key`, `password` | the key that signs |
//! | `publication` | patches enter a depot |

#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

pub mod delta_ends;
pub mod making_ends;
#[cfg(feature = "sign")]
pub mod password;
pub mod patch_options;
#[cfg(feature = "sign")]
pub mod publication;
#[cfg(feature = "sign")]
pub mod secret_key;
pub mod shell;
