//! Code shared by the programs that make patches: options of a new patch, keys, publication, and exit codes.
//!
//! | module | is about |
//! | --- | --- |
//! | [`patch_options`] | the options about a new patch, and the request that they form |
//! | [`ends`] | failures as exit codes and next steps |
//! | [`shell`] | scripts as the shell of this machine reads them |
//! | `secret_key` | the key that signs, and its password |
//! | `publication` | patches enter a depot |

pub mod ends;
pub mod patch_options;
#[cfg(feature = "sign")]
pub mod publication;
#[cfg(feature = "sign")]
pub mod secret_key;
pub mod shell;
