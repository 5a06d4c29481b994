//! The target of installf(1M) and removef(1M): a run of their own, or the queue of the run that called them.
//!
//! On their own, they are a run each. If a script of an active run starts them, they recognize the run by the name in the
//! script's environment. Then they take no lock and make no run: their requests are queued for that run, and what must exist
//! at once is made at once.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session, must_agree, must_have_database};
use crate::operation::trial::begin::begin_change;
use patchadm_changeset::format::installf_queue::InstallfEntry;
use patchadm_changeset::transaction::{
    Cause, InstallfQueue, Phase, RootCondition, TransactionError, note_failed_request,
};
use patchadm_inputs::database::contents::{paths_marked, paths_of_queue};
use patchadm_inputs::database::{RecordView, all, installed, open_run};
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::refusal::{Command, Refusal};
use patchadm_planning::plan::registration::{check_room, overlaid};
use patchadm_rootfs::{Root, never};
use patchadm_svr4::format::registration::RegistrationError;
use patchadm_svr4::package::{ObjectPath, OwnerStatus, PkgInst};

/// The reason why objects were neither registered nor given up.
#[derive(Debug, thiserror::Error)]
pub enum InstallfError {
    /// The name is not a valid name of a package.
    #[error("package instance <{0}> is invalid")]
    InvalidPackage(String),
    /// The package is not installed.
    #[error("package instance <{0}> is not installed")]
    NotInstalled(PkgInst),
    /// The named object cannot be registered.
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    /// The root stands in the way.
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<Refusal> for InstallfError {
    fn from(refusal: Refusal) -> Self {
        Self::Failure(refusal.into())
    }
}

/// Returns the package that a call is about, as it was named.
pub(crate) fn package(name: &str) -> Result<PkgInst, InstallfError> {
    PkgInst::new(name).map_err(|_| InstallfError::InvalidPackage(name.escape_debug().to_string()))
}

/// Returns a path as it is inside the root: callers may put the path of the root before it.
pub(crate) fn inside(root: &Root, path: &ObjectPath) -> ObjectPath {
    let Ok(prefix) = ObjectPath::new(root.prefix().as_os_str().as_bytes()) else { return path.clone() };
    let below = path.as_bytes().get(prefix.as_bytes().len()..).unwrap_or_default();
    let inside = (!root.is_system() && path.is_below(&prefix)).then(|| ObjectPath::new(below).ok());
    inside.flatten().unwrap_or_else(|| path.clone())
}

/// The target of registrations.
pub(crate) enum InstallfTarget<'a> {
    /// A run of its own.
    Own(Box<Session<'a>>),
    /// The queue of the run whose script is the caller.
    Surrounding(Box<RootAndPolicy>, InstallfQueue),
}

impl<'a> InstallfTarget<'a> {
    /// Opens it for a package. `run` is the run in the environment.
    pub(crate) fn open(
        root: &Root,
        package: &PkgInst,
        run: Option<&str>,
        caller: &'a Caller<'a>,
    ) -> Result<Self, InstallfError> {
        must_have_database(root)?;
        let surrounding = open_run(root).map_err(Failure::from)?.filter(|open| Some(&*open.name) == run);
        let target = if let Some(open) = surrounding {
            let queue = InstallfQueue::open(root, &open.stage).map_err(failed)?;
            Self::Surrounding(Box::new(RootAndPolicy::of(root)?), queue)
        } else {
            let session = begin_change(RootAndPolicy::of(root)?, caller)?;
            must_agree(root, caller.interrupt, |_| false)?;
            all::params_of(&RecordView::live(root), package).map_err(Failure::from)?;
            Self::Own(Box::new(session))
        };
        let installed = installed::packages(&RecordView::live(root)).map_err(Failure::from)?;
        if !installed.contains(package) {
            // A directory without pkginfo is damage.
            all::params_of(&RecordView::live(root), package).map_err(Failure::from)?;
            return Err(InstallfError::NotInstalled(package.clone()));
        }
        Ok(target)
    }

    fn ground(&self) -> &RootAndPolicy {
        match self {
            Self::Own(session) => &session.ground,
            Self::Surrounding(ground, _) => ground,
        }
    }

    /// Surveys some paths, including what is queued already.
    pub(crate) fn inventory(&self, mut paths: BTreeSet<ObjectPath>) -> Result<Inventory, Failure> {
        if let Self::Surrounding(ground, queue) = self {
            paths.extend(paths_of_queue(&RecordView::live(&ground.root), &queue.queue)?);
        }
        let inventory = self.ground().survey(&Touched { paths, ..Touched::default() }, &never)?;
        Ok(match self {
            Self::Own(_) => inventory,
            Self::Surrounding(_, queue) => overlaid(inventory, &queue.queue),
        })
    }

    /// Returns the paths that a package has recorded with one of these marks.
    pub(crate) fn recorded(
        &self,
        package: &PkgInst,
        marks: &[OwnerStatus],
    ) -> Result<BTreeSet<ObjectPath>, Failure> {
        Ok(paths_marked(&RecordView::live(&self.ground().root), package, marks)?)
    }

    /// Carries a plan out, or queues it for the surrounding run.
    pub(crate) fn carry_out(
        &mut self,
        (command, package): (Command, &PkgInst),
        plan: &Plan,
        entries: Vec<InstallfEntry>,
    ) -> Result<(), Failure> {
        match self {
            Self::Own(_) if plan.changes.is_empty() && plan.contents.is_empty() => Ok(()),
            Self::Own(session) => {
                check_room(command, package, plan)?;
                let text = crate::operation::log::of_registration(plan);
                session.perform(plan, &mut NoContent, None, text).map(drop)
            }
            Self::Surrounding(ground, queue) => {
                queue.make(&ground.root, &plan.changes).map_err(failed)?;
                queue.add(entries).map_err(failed)
            }
        }
    }
}

/// Records that a call failed, for the run in which it was made, if `run` names that one; otherwise does nothing.
pub fn note_failure(root: &Root, run: &str, text: &str) -> Result<(), Failure> {
    match open_run(root)?.filter(|open| open.name == run) {
        Some(open) => note_failed_request(root, &open.stage, text).map_err(failed),
        None => Ok(()),
    }
}

/// Returns a failure inside a surrounding run, which will undo what was done.
fn failed(cause: Cause) -> Failure {
    TransactionError { phase: Phase::Switch, cause, left: RootCondition::Unchanged }.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_below_the_root_loses_the_path_of_the_root_and_no_other_does() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let at = |text: String| ObjectPath::new(text.as_bytes()).unwrap();
        let prefix = dir.path().display();
        assert_eq!(inside(&root, &at(format!("{prefix}/opt/a"))), at("/opt/a".to_owned()));
        assert_eq!(inside(&root, &at("/opt/a".to_owned())), at("/opt/a".to_owned()));
        assert_eq!(inside(&root, &at(format!("{prefix}x/a"))), at(format!("{prefix}x/a")));
    }
}
