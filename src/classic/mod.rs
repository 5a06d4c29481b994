//! The classic commands, one file each.

pub(crate) mod compress;
pub(crate) mod installf;
pub(crate) mod patchadd;
pub(crate) mod patchrm;
pub(crate) mod pkgadd;
pub(crate) mod pkgask;
pub(crate) mod pkgchk;
pub(crate) mod pkginfo;
pub(crate) mod pkgparam;
pub(crate) mod pkgrm;
pub(crate) mod pkgtrans;
pub(crate) mod puttext;
pub(crate) mod removef;
pub(crate) mod showrev;
pub(crate) mod valpath;

mod console;
mod menu;
mod patch_transcript;
