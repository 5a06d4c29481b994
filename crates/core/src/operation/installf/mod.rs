//! `installf`: registers objects that a package did not deliver as its own (installf(1M)).

pub mod removef;
pub mod target;

use std::collections::BTreeSet;

use crate::operation::installf::target::{InstallfError, InstallfTarget, inside, package};
use crate::operation::session::Caller;
use patchadm_changeset::format::installf_queue::{InstallfEntry, InstallfRequests};
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::registration::Discrepancy;
use patchadm_planning::plan::registration::{Registering, finish_registering, register};
use patchadm_rootfs::Root;
use patchadm_svr4::format::registration::Registration;
use patchadm_svr4::package::{Ftype, ObjectPath, OwnerStatus, PkgInst};

/// The options and operands of installf(1M).
#[derive(Clone, Debug)]
pub struct InstallfRequest {
    /// The package instance.
    pub package: String,
    /// The objects or the class that the call is about.
    pub what: InstallfSubject,
    /// The run in the environment: set for scripts of a run.
    pub run: Option<String>,
}

/// The subject of a call of installf(1M).
#[derive(Clone, Debug)]
pub enum InstallfSubject {
    /// These objects are registered.
    Objects(Vec<Registration>),
    /// The registered objects of the package are final: all of them, or those of one class.
    Final(Option<String>),
}

/// The outcome of installf(1M).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallfOutcome {
    /// The paths whose lines changed, or that were queued for a surrounding run.
    pub paths: Vec<ObjectPath>,
    /// The objects that differ from their declarations; their lines say so.
    pub discrepancies: Vec<(ObjectPath, Discrepancy)>,
}

/// Registers objects, or declares registered objects final.
pub fn installf(
    root: &Root,
    request: &InstallfRequest,
    caller: &Caller<'_>,
) -> Result<InstallfOutcome, InstallfError> {
    let package = package(&request.package)?;
    let mut target = InstallfTarget::open(root, &package, request.run.as_deref(), caller)?;
    let Registering { plan, entries, discrepancies } = match &request.what {
        InstallfSubject::Objects(objects) => add(root, &target, &package, objects, caller)?,
        InstallfSubject::Final(class) => {
            let paths = target.recorded(&package, &[OwnerStatus::Pending])?;
            let inventory = target.inventory(paths)?;
            finish_registering(&package, class.as_deref(), &inventory, &caller.now)?
        }
    };
    let paths = plan.contents.keys().cloned().collect();
    target.carry_out((Command::Installf, &package), &plan, entries)?;
    Ok(InstallfOutcome { paths, discrepancies })
}

fn add(
    root: &Root,
    target: &InstallfTarget<'_>,
    package: &PkgInst,
    objects: &[Registration],
    caller: &Caller<'_>,
) -> Result<Registering, InstallfError> {
    let objects: Vec<Registration> = objects.iter().map(|object| within(root, object)).collect();
    let named = objects.iter().map(|object| InstallfEntry::Add(package.clone(), object.clone()));
    let paths: BTreeSet<ObjectPath> = InstallfRequests(named.collect()).paths();
    let inventory = target.inventory(paths)?;
    Ok(register(package, &objects, &inventory, &caller.now)?)
}

/// Returns a registration with the paths as they are inside the root.
fn within(root: &Root, registration: &Registration) -> Registration {
    let mut object = Registration { path: inside(root, &registration.path), ..registration.clone() };
    let source = object.target.as_deref().and_then(|target| ObjectPath::new(target).ok());
    if let (Some(Ftype::Link), Some(source)) = (object.ftype, source) {
        object.target = Some(inside(root, &source).as_bytes().to_vec());
    }
    object
}
