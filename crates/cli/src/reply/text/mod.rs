//! The layouts of classic listings, byte for byte as the classic commands print them. Text is bytes: real pkginfo files
//! are not all UTF-8.

pub mod finding;
pub mod fold;
pub mod object;
pub mod package;
pub mod patch;
