//! The part of `patchadm check` without comparisons: what works for the caller on this root, and commands that help.
//!
//! ```text
//! DoctorRequest ─► Examination (policy, lock, run, rights) ─► each of CHECKS ─► RootFinding, RootFinding, …
//! ```
//! Nothing is locked, recovered or repaired. File system features are tried with private files below
//! `var/sadm/patchadm`, only if the caller may change the root and nobody else does. Depots must answer within seconds.

mod examination;
mod index;
mod machine;
mod root;

use examination::Examination;
use patchadm_rootfs::{Root, RootError};

pub use examination::{DoctorRequest, FindingState, RootFinding};

type Check = fn(&Examination<'_>) -> Vec<RootFinding>;

/// In the order of findings: system, root, records, trust, caller.
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

pub fn diagnose(root: &Root, request: &DoctorRequest<'_>) -> Vec<RootFinding> {
    let examination = Examination::of(root, request);
    CHECKS.iter().flat_map(|check| check(&examination)).collect()
}

pub fn diagnose_records(root: &Root, request: &DoctorRequest<'_>) -> Vec<RootFinding> {
    let examination = Examination::of(root, request);
    [root::records, root::registrations].iter().flat_map(|check| check(&examination)).collect()
}

/// For a root that cannot be opened safely on this system; `None` for other errors.
pub fn diagnose_unopened(error: &RootError) -> Option<RootFinding> {
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
