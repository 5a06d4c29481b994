//! The part of `patchadm check` that needs no comparison: what works on a root and for its caller, what does not, and the command that helps.
//!
//! ```text
//! DoctorRequest ─► Examination (policy, lock, run, rights) ─► each of CHECKS ─► Finding, Finding, …
//! ```
//! Each check looks at one matter and returns its findings; none stops another. Nothing is locked, recovered or repaired. What a
//! file system can do is tried with private files below `var/sadm/patchadm`, which are removed again, and only for a caller who
//! may change the root while nobody else does. Otherwise the finding says that it was not tried. Every depot has to answer
//! within seconds.
//!
//! Objects are compared with records, and undo archives with ledgers, in `queries::verify`.

mod examination;
mod index;
mod machine;
mod root;

use examination::Examination;
use patchadm_rootfs::{Root, RootError};

pub use examination::{DoctorRequest, Finding, FindingState};

/// A check: it looks at one matter.
type Check = fn(&Examination<'_>) -> Vec<Finding>;

/// All checks, in the order of their findings: the system, the root, its records, what it trusts, the caller. Another check
/// is a line here.
const CHECKS: [Check; 19] = [
    machine::openat2,
    machine::user_namespaces,
    root::rights,
    root::lock,
    root::policy,
    machine::exchange,
    machine::reflink,
    machine::journal,
    machine::birth_times,
    machine::undo_space,
    root::unfinished,
    root::identity,
    root::program,
    root::records,
    root::registrations,
    root::hooks,
    root::keys,
    index::index,
    machine::search_path,
];

/// Examines a root and the surroundings of its caller.
pub fn diagnose(root: &Root, request: &DoctorRequest<'_>) -> Vec<Finding> {
    let examination = Examination::of(root, request);
    CHECKS.iter().flat_map(|check| check(&examination)).collect()
}

/// Examines only the records of a root.
pub fn diagnose_records(root: &Root, request: &DoctorRequest<'_>) -> Vec<Finding> {
    let examination = Examination::of(root, request);
    [root::records, root::registrations].iter().flat_map(|check| check(&examination)).collect()
}

/// Returns the finding about a root that this system cannot keep paths inside; `None` for another error of opening it.
pub fn diagnose_unopened(error: &RootError) -> Option<Finding> {
    matches!(error, RootError::NoOpenat2(_)).then(|| machine::without_openat2(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_kernel_without_openat2_is_a_finding_and_no_other_error_is() {
        let finding = diagnose_unopened(&RootError::NoOpenat2("/mnt".to_owned())).unwrap();
        assert_eq!((finding.what, finding.state), ("kernel", FindingState::Attention));
        assert!(finding.text.contains("Linux 5.6 or later"), "{}", finding.text);
        let missing = RootError::Call { action: "open", path: "/mnt".to_owned(), errno: Errno::NOENT };
        assert_eq!(diagnose_unopened(&missing), None);
    }

    #[test]
    fn the_states_have_the_order_of_their_gravity_and_words_of_their_own() {
        assert!(FindingState::ALL.is_sorted());
        let words = FindingState::ALL.map(FindingState::word);
        assert_eq!(words, ["ok", "unknown", "limited", "attention"]);
    }
}
