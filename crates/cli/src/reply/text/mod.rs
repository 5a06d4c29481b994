//! The layouts of the classic listings: values in, text out, byte for byte as the classic commands print them.
//!
//! Values keep their bytes (real pkginfo files are not all UTF-8), so the text is bytes as well.

pub mod finding;
pub mod fold;
pub mod object;
pub mod package;
pub mod patch;
