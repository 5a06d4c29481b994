//! Values that say what a package is: names, paths, objects, parameters.
//!
//! Nothing here opens a file or knows a file format; `format` turns bytes into these values and back,
//! `database` and `source` fetch them, `plan` decides with them.

mod accounts;
pub mod checksum;
pub mod control;
pub mod exports;
mod inst;
mod interruption;
mod line;
mod object;
mod params;
mod path;
mod policy;
mod room;
mod root_patterns;
pub mod rule;
pub mod variables;

pub use accounts::{Accounts, NOBODYS_NUMBER};
pub use inst::{PkgInst, PkgInstError};
pub use interruption::Interruption;
pub use line::Line;
pub use object::{Attributes, Content, Ftype, Mode, Object, Owner, OwnerStatus};
pub use params::Params;
pub use path::{ObjectPath, PackagePath, PathError, escape, unescape, unescaped};
pub use policy::{Edited, Policy, ScriptPolicy, UndoFormat};
pub use room::is_room_for;
pub use root_patterns::RootPatterns;
