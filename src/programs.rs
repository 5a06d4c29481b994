//! The programs for everything beside operating a single root.

use patchadm_cli::call::Sibling;

pub(crate) const BULK: Sibling = Sibling {
    name: "patchadm-bulk",
    about: "Build all packages in a tree from source (patchadm bulk)",
    source: "programs/bulk",
    takes_verb: false,
};
pub(crate) const MAKE: Sibling = Sibling {
    name: "patchadm-make",
    about: "build, delta, depot, keygen, lint, order, publish, sign",
    source: "programs/make",
    takes_verb: true,
};
pub(crate) const REPORT: Sibling = Sibling {
    name: "patchadm-report",
    about: "Report on the patches of many hosts (patchadm report)",
    source: "programs/report",
    takes_verb: false,
};
