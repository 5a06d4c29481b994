//! The values of a package. [`format`](crate::format) turns bytes into these values and back.

mod accounts;
pub mod checksum;
#[doc(hidden)]
pub mod control;
pub mod exports;
mod inst;
mod object;
mod params;
mod path;
mod room;
#[doc(hidden)]
pub mod rule;
pub mod variables;

pub use accounts::{Accounts, NO_ACCOUNT};
pub use inst::{PkgInst, PkgInstError};
pub use object::{
    ContentInfo, ContentsLine, Ftype, Mode, Object, ObjectAttributes, OwnerStatus, OwningPackage, Word,
    is_class,
};
pub use params::Params;
pub use path::{ObjectPath, PackagePath, PathError, escape, last_component, printable_name, unescape};
pub(crate) use path::{unescaped, write_escaped};
#[doc(hidden)]
pub use room::is_room_for;
