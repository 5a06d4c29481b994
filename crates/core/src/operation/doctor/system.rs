//! The kernel: system calls and namespaces.

use super::examination::Examination;
use super::finding::Finding;
use crate::namespaces::namespaces_forbidden;
use patchadm_rootfs::RootError;

/// openat2(2), without which no root can be opened.
pub(super) fn openat2(_: &Examination<'_>) -> Vec<Finding> {
    vec![Finding::ok("openat2", "paths are kept inside the root")]
}

/// The same where a root could not be opened for want of it.
pub(super) fn without_openat2(error: &RootError) -> Finding {
    Finding::attention("openat2", error.to_string())
}

/// Namespaces, which `stage enter` and the confinement of scripts need. Settings are read; nothing is tried.
pub(super) fn user_namespaces(_: &Examination<'_>) -> Vec<Finding> {
    const WHAT: &str = "user-namespaces";
    vec![match namespaces_forbidden() {
        None => Finding::ok(WHAT, "no setting of this machine forbids them"),
        Some(reason) => Finding::limited(WHAT, format!("`stage enter` is not possible: {reason}")),
    }]
}
