//! `installf` and `removef`: a package takes over or gives up objects (installf(1M), removef(1M)). Each call is a run,
//! except inside a run's script: the environment names that run, and requests are queued for it without a lock. Objects
//! that must exist at once are made at once.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy, Session, must_agree, must_have_database};
use crate::operation::trial::begin_change;
use patchadm_changeset::format::installf_queue::{InstallfEntry, InstallfRequests};
use patchadm_changeset::transaction::{
    Cause, InstallfQueue, Phase, RootCondition, TransactionError, note_failed_request,
};
use patchadm_inputs::database::contents::{paths_marked, paths_of_queue};
use patchadm_inputs::database::{RecordView, all, installed, open_run};
use patchadm_inputs::inventory::{Inventory, Touched};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::refusal::{Command, Refusal};
use patchadm_planning::plan::registration::{self, Discrepancy, GivingUp, Registering, check_room, overlaid};
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::format::registration::{Registration, RegistrationError};
use patchadm_svr4::package::{Ftype, ObjectPath, OwnerStatus, PkgInst};

#[derive(Clone, Debug)]
pub struct InstallfRequest {
    pub package: String,
    pub what: InstallfSubject,
    /// Set in the environment of scripts of a run.
    pub run: Option<String>,
}

#[derive(Clone, Debug)]
pub enum InstallfSubject {
    Objects(Vec<Registration>),
    /// The registered objects are final: all, or those of one class.
    Final(Option<String>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallfOutcome {
    /// Changed lines, or paths queued for a surrounding run.
    pub paths: Vec<ObjectPath>,
    /// Objects that differ from their declarations; their lines say so.
    pub discrepancies: Vec<(ObjectPath, Discrepancy)>,
}

pub fn installf(
    root: &Root,
    request: &InstallfRequest,
    caller: &Caller<'_>,
) -> Result<InstallfOutcome, InstallfError> {
    let package = package(&request.package)?;
    let mut target = InstallfTarget::open(root, &package, request.run.as_deref(), caller)?;
    let now = &caller.now;
    let Registering { plan, entries, discrepancies } = match &request.what {
        InstallfSubject::Objects(objects) => {
            let objects: Vec<Registration> = objects.iter().map(|object| within(root, object)).collect();
            let added = objects.iter().map(|object| InstallfEntry::Add(package.clone(), object.clone()));
            let inventory = target.inventory(InstallfRequests(added.collect()).paths(), caller.interrupt)?;
            registration::register(&package, &objects, &inventory, now)?
        }
        InstallfSubject::Final(class) => {
            let inventory =
                target.inventory(target.recorded(&package, &[OwnerStatus::Pending])?, caller.interrupt)?;
            registration::finish_registering(&package, class.as_deref(), &inventory, now)?
        }
    };
    let paths = plan.contents.keys().cloned().collect();
    target.perform((Command::Installf, &package), &plan, entries)?;
    Ok(InstallfOutcome { paths, discrepancies })
}

#[derive(Clone, Debug)]
pub struct RemovefRequest {
    pub package: String,
    /// `None` makes earlier calls final.
    pub paths: Option<Vec<ObjectPath>>,
    /// Set in the environment of scripts of a run.
    pub run: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RemovefOutcome {
    /// Sorted; no other package owns them, so the caller may remove them.
    pub removable: Vec<ObjectPath>,
    pub notes: Vec<String>,
}

pub fn removef(
    root: &Root,
    request: &RemovefRequest,
    caller: &Caller<'_>,
) -> Result<RemovefOutcome, InstallfError> {
    let package = package(&request.package)?;
    let mut target = InstallfTarget::open(root, &package, request.run.as_deref(), caller)?;
    let now = &caller.now;
    let GivingUp { plan, entries, removable, notes } = if let Some(paths) = &request.paths {
        let paths: BTreeSet<ObjectPath> = paths.iter().map(|path| inside(root, path)).collect();
        registration::give_up(&package, &paths, &target.inventory(paths.clone(), caller.interrupt)?, now)
    } else {
        let marked = target.recorded(&package, &[OwnerStatus::Removing])?;
        registration::finish_giving_up(&package, &target.inventory(marked, caller.interrupt)?, now)
    };
    target.perform((Command::Removef, &package), &plan, entries)?;
    Ok(RemovefOutcome { removable, notes })
}

#[derive(Debug, thiserror::Error)]
pub enum InstallfError {
    #[error("package instance <{0}> is invalid")]
    InvalidPackage(String),
    #[error("package instance <{0}> is not installed")]
    NotInstalled(PkgInst),
    #[error(transparent)]
    Registration(#[from] RegistrationError),
    #[error(transparent)]
    Failure(#[from] Failure),
}

impl From<Refusal> for InstallfError {
    fn from(refusal: Refusal) -> Self {
        Self::Failure(refusal.into())
    }
}

fn package(name: &str) -> Result<PkgInst, InstallfError> {
    PkgInst::new(name).map_err(|_| InstallfError::InvalidPackage(name.escape_debug().to_string()))
}

/// Removes the root's own path, which callers may put before a path.
fn inside(root: &Root, path: &ObjectPath) -> ObjectPath {
    let Ok(prefix) = ObjectPath::new(root.prefix().as_os_str().as_bytes()) else { return path.clone() };
    let below = path.as_bytes().get(prefix.as_bytes().len()..).unwrap_or_default();
    let inside = (!root.is_system() && path.is_below(&prefix)).then(|| ObjectPath::new(below).ok());
    inside.flatten().unwrap_or_else(|| path.clone())
}

fn within(root: &Root, registration: &Registration) -> Registration {
    let mut object = Registration { path: inside(root, &registration.path), ..registration.clone() };
    let source = object.target.as_deref().and_then(|target| ObjectPath::new(target).ok());
    if let (Some(Ftype::Link), Some(source)) = (object.ftype, source) {
        object.target = Some(inside(root, &source).as_bytes().to_vec());
    }
    object
}

enum InstallfTarget<'a> {
    Own(Box<Session<'a>>),
    /// The queue of the run whose script is the caller.
    Surrounding(Box<RootAndPolicy>, InstallfQueue),
}

impl<'a> InstallfTarget<'a> {
    fn open(
        root: &Root,
        package: &PkgInst,
        run: Option<&str>,
        caller: &'a Caller<'a>,
    ) -> Result<Self, InstallfError> {
        must_have_database(root)?;
        let surrounding = open_run(root).map_err(Failure::from)?.filter(|open| Some(&*open.name) == run);
        let target = if let Some(stage) = surrounding.and_then(|open| open.stage) {
            let queue = InstallfQueue::open(root, &stage).map_err(failed)?;
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

    fn inventory(
        &self,
        mut paths: BTreeSet<ObjectPath>,
        interrupt: Interrupt<'_>,
    ) -> Result<Inventory, Failure> {
        if let Self::Surrounding(ground, queue) = self {
            paths.extend(paths_of_queue(&RecordView::live(&ground.root), &queue.queue)?);
        }
        let inventory = self.ground().survey(&Touched { paths, ..Touched::default() }, interrupt)?;
        Ok(match self {
            Self::Own(_) => inventory,
            Self::Surrounding(_, queue) => overlaid(inventory, &queue.queue),
        })
    }

    fn recorded(&self, package: &PkgInst, marks: &[OwnerStatus]) -> Result<BTreeSet<ObjectPath>, Failure> {
        Ok(paths_marked(&RecordView::live(&self.ground().root), package, marks)?)
    }

    fn perform(
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

/// Records a failed call for the run, if `run` names an active one.
pub fn note_failure(root: &Root, run: &str, text: &str) -> Result<(), Failure> {
    match open_run(root)?.filter(|open| open.name == run).and_then(|open| open.stage) {
        Some(stage) => note_failed_request(root, &stage, text).map_err(failed),
        None => Ok(()),
    }
}

/// The surrounding run will undo what was done.
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
