//! What pkgadd and pkgrm have in common: one package after another, each a run of its own.

use crate::operation::failure::Failure;
use crate::script::protocol::Meaning;
use crate::transaction::{Left, Recovered};

/// What became of all packages of a command; `T` is what became of one.
#[derive(Debug)]
pub struct PackagesReport<T> {
    /// What recovery found before anything else.
    pub recovered: Recovered,
    /// Names in the admin file that admin(4) does not know.
    pub unknown_answers: Vec<String>,
    /// Words that no package fits. Nothing is changed where there is one.
    pub missing: Vec<String>,
    /// Package by package, in the order in which they were taken.
    pub packages: Vec<T>,
}

/// Whether the next package may be tried after a failure.
pub(in crate::operation) fn leaves_root_usable(failure: &Failure) -> bool {
    let usable = matches!(failure.left(), Left::Unchanged | Left::RolledBack);
    let enough = match failure {
        Failure::Declined => true,
        Failure::Script(failure) => failure.meaning == Meaning::Interrupted,
        _ => false,
    };
    usable && failure.signal().is_none() && !enough
}
