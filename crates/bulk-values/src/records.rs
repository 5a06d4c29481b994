//! Records of recipes, as pkgsrc's `pbulk-index` prints them.
//!
//! A record describes one package that a recipe makes: lines `NAME=VALUE`, the first of them `PKGNAME=`. [`Records`] holds
//! the records of many recipes. It reads what a scan prints ([`Records::read`]) and the files `pscan` and `presolve` of
//! pbulk ([`Records::import`]), and writes such files. Everything in a record may come from a stranger: names, locations
//! and known fields are checked when they are read, and every length has a limit.
//!
//! A real tree has 29,022 packages whose records name 98,513 files 4.4 million times: names of files and dependencies are
//! kept once, all else of a record is kept as it was printed.

mod names;
mod record;
mod table;
mod write;

pub use names::{Location, LocationError, PkgName, PkgNameError};
pub use record::{BY_DIGEST, Dependency, Distfile, FieldError, Record, parse_sha256};
pub use table::{ImportError, RecordError, RecordFault, Records};
pub use write::PbulkFields;
