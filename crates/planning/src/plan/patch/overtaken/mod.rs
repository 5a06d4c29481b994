//! `adopt --refresh`: what becomes of the patches of an adopted package that its own package manager changed since.
//!
//! ```text
//!   standing   native, held, added, gone or edited, path by path; does the patch stand?
//!       └─► trimming   the undo data of the patches, without what is the native manager's now
//!              └─► refresh   one plan: patches that end, undo data written anew, the new registration
//!                     └── registration   its records and lines
//! ```
//! Nothing that the native package manager wrote is changed. A patch that ends takes away what it added; one that stands
//! gives up what it no longer holds. The rules are those of patchadm-native(7).

pub mod refresh;
mod registration;
pub mod standing;
pub mod trimming;
