//! The traces of an installation in the directory of a package after its tool, which has no recovery, died.

use patchadm_svr4::package::Params;

/// The traces of an unfinished installation in the directory of a package.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interruption {
    /// Whether the lock of an unfinished installation, `!I-Lock!`, is there.
    pub is_locked: bool,
    /// The parameters of the records that were put aside, in `PKGINST/pkginfo` of the directory: a later call of such a
    /// tool moves what an unfinished installation recorded there, puts the records of before back, and leaves the files
    /// as they are.
    pub put_aside: Option<Params>,
}
