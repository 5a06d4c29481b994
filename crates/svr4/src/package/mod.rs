//! The values of a package. [`format`](crate::format) turns bytes into these values and back.

mod accounts;
pub mod checksum;
pub mod control;
pub mod exports;
mod inst;
mod object;
mod params;
mod path;
mod room;
pub mod rule;
pub mod variables;

pub use accounts::{Accounts, NOBODYS_NUMBER};
pub use inst::{PkgInst, PkgInstError};
pub use object::{
    ContentInfo, ContentsLine, Ftype, Mode, Object, ObjectAttributes, OwnerStatus, OwningPackage, Word,
};
pub use params::Params;
pub use path::{ObjectPath, PackagePath, PathError, escape, last_component, printable_name, unescape};
pub(crate) use path::{unescaped, write_escaped};
pub use room::is_room_for;
