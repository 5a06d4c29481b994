//! The reports of pkgadd and pkgrm: the outcome of each package, in the order in which they were taken.

use super::installation::PlannedInstallation;
use crate::operation::failure::Failure;
use crate::operation::scripts::failure::LastingResults;
use crate::operation::scripts::staying_libraries::StayingObjects;
use crate::script::protocol::ExitMeaning;
use patchadm_changeset::transaction::{Receipt, Recovered, RootCondition};
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::package::remove::IntendedRemoval;

/// The outcomes of all packages of a command; `T` is the outcome of one.
#[derive(Debug)]
pub struct PackagesReport<T> {
    /// The finding of recovery, before anything else.
    pub recovered: Recovered,
    /// Names in the admin file that admin(4) does not know.
    pub unknown_answers: Vec<String>,
    /// Words that no package fits. Nothing is changed where there is one.
    pub missing: Vec<String>,
    /// The outcomes, in the order in which the packages were taken.
    pub packages: Vec<T>,
}

/// The outcome of the installation of one package.
#[derive(Debug)]
pub struct AddedPackage {
    /// The instance, or the name on the device of a package that did not come that far.
    pub name: String,
    /// The plan, or `None` for a package that was refused.
    pub installation: Option<PlannedInstallation>,
    /// The receipt of the run, or the reason why there was none.
    pub result: Result<Receipt, Failure>,
    /// The results of scripts that outlast the run.
    pub ending: LastingResults,
}

/// The removal of a package as it is planned.
#[derive(Clone, Debug)]
pub struct PlannedRemoval {
    /// The instance.
    pub name: String,
    /// The plan, and the scripts that take part.
    pub intended: IntendedRemoval,
    /// Whether the dependencies of other packages are looked at.
    pub checks_dependencies: bool,
    /// What is told of libraries, where somebody looked for them.
    pub libraries: Option<LibraryReport>,
    /// The kept objects that are there before and after.
    pub staying: StayingObjects,
}

/// The outcome of the removal of one package.
#[derive(Debug)]
pub struct RemovedPackage {
    /// The instance.
    pub name: String,
    /// The plan, or `None` for a package that was refused.
    pub removal: Option<PlannedRemoval>,
    /// The receipt of the run, or the reason why there was none.
    pub result: Result<Receipt, Failure>,
    /// The results of scripts that outlast the run.
    pub ending: LastingResults,
}

impl AddedPackage {
    /// Whether the root is as it was before, as far as this package goes.
    pub(crate) fn left_nothing(&self) -> bool {
        let left = self.result.as_ref().err().map(Failure::left);
        matches!(left, Some(RootCondition::Unchanged | RootCondition::RolledBack))
    }

    pub(crate) fn refused(name: String, failure: Failure) -> Self {
        Self { name, installation: None, result: Err(failure), ending: LastingResults::default() }
    }
}

/// Whether the next package may be tried after a failure.
pub(crate) fn leaves_root_usable(failure: &Failure) -> bool {
    let usable = matches!(failure.left(), RootCondition::Unchanged | RootCondition::RolledBack);
    let enough = match failure {
        Failure::Declined => true,
        Failure::Script(failure) => failure.meaning == ExitMeaning::Interrupted,
        _ => false,
    };
    usable && failure.signal().is_none() && !enough
}
