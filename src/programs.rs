//! The programs that do what operators of a single root do not.

use patchadm_cli::call::Sibling;

pub(crate) const BULK: Sibling =
    Sibling { name: "patchadm-bulk", source: "programs/bulk", takes_verb: false };
pub(crate) const MAKE: Sibling = Sibling { name: "patchadm-make", source: "programs/make", takes_verb: true };
pub(crate) const REPORT: Sibling =
    Sibling { name: "patchadm-report", source: "programs/report", takes_verb: false };
