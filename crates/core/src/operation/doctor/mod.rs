//! `doctor`: what works on a root and for its caller, what does not, and the command that helps.
//!
//! ```text
//! DoctorRequest ─► Examination (policy, lock, run, rights) ─► each of CHECKS ─► Finding, Finding, …
//! ```
//! Each check looks at one matter and returns its findings as values; none stops another. Nothing is locked, recovered or
//! repaired. What a file system can do is tried with private files below `var/sadm/patchadm`, which are removed again, and
//! only for a caller who may change the root while nobody else does; otherwise the finding says that it was not tried.
//! Every depot has to answer within seconds.
//!
//! It does not compare objects with records or read undo archives to their end: that is `verify`.

mod access;
mod examination;
mod file_systems;
mod finding;
mod index;
mod keys;
mod native;
mod records;
mod runs;
mod search_path;
mod space;
mod system;
mod trials;

use examination::Examination;
use patchadm_rootfs::{Root, RootError};

pub use examination::DoctorRequest;
pub use finding::{Finding, FindingState};

/// A check: it looks at one matter.
type Check = fn(&Examination<'_>) -> Vec<Finding>;

/// All checks, in the order of their findings: the system, the root, its records, what it trusts, the caller. Another check
/// is a line here.
const CHECKS: [Check; 19] = [
    system::openat2,
    system::user_namespaces,
    access::rights,
    access::lock,
    access::policy,
    trials::exchange,
    trials::reflink,
    file_systems::journal,
    file_systems::birth_times,
    space::undo_space,
    runs::unfinished,
    runs::identity,
    runs::program,
    records::records,
    native::registrations,
    native::hooks,
    keys::keys,
    index::index,
    search_path::search_path,
];

/// Examines a root and the surroundings of its caller.
pub fn diagnose(root: &Root, request: &DoctorRequest<'_>) -> Vec<Finding> {
    let examination = Examination::of(root, request);
    CHECKS.iter().flat_map(|check| check(&examination)).collect()
}

/// Returns the finding about a root that this system cannot keep paths inside; `None` for another error of opening it.
pub fn diagnose_unopened(error: &RootError) -> Option<Finding> {
    matches!(error, RootError::NoOpenat2(_)).then(|| system::without_openat2(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;

    #[test]
    fn a_kernel_without_openat2_is_a_finding_and_no_other_error_is() {
        let finding = diagnose_unopened(&RootError::NoOpenat2("/mnt".to_owned())).unwrap();
        assert_eq!((finding.what, finding.state), ("openat2", FindingState::Attention));
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
