//! `installf`: objects that a package did not bring along become its own (installf(1M)).

pub mod removef;
pub mod target;

use std::collections::BTreeSet;

use crate::format::queue::{InstallfEntry, InstallfRequests};
use crate::format::registration::Registration;
use crate::operation::installf::target::{Registry, RegistryError, inside, package};
use crate::operation::session::Caller;
use crate::package::{Ftype, ObjectPath, OwnerStatus, PkgInst};
use crate::plan::installf::{Registering, finish, register};
use crate::plan::refusal::Command;
use crate::plan::settle::Discrepancy;
use crate::root::Root;

/// What installf(1M) was asked for.
#[derive(Clone, Debug)]
pub struct InstallfRequest {
    /// The package instance.
    pub package: String,
    /// What is registered, or declared final.
    pub what: What,
    /// The run that the environment names: set for scripts of a run.
    pub run: Option<String>,
}

/// What of a package.
#[derive(Clone, Debug)]
pub enum What {
    /// These objects are registered.
    Objects(Vec<Registration>),
    /// What it has registered is final: all of it, or that of one class.
    Final(Option<String>),
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// The paths whose lines changed, or that were asked for in a surrounding run.
    pub paths: Vec<ObjectPath>,
    /// The objects that are not what they were declared to be; their lines say so.
    pub discrepancies: Vec<(ObjectPath, Discrepancy)>,
}

/// Registers objects, or declares what was registered final.
pub fn installf(
    root: &Root,
    request: &InstallfRequest,
    caller: &Caller<'_>,
) -> Result<Registered, RegistryError> {
    let package = package(&request.package)?;
    let mut registry = Registry::open(root, &package, request.run.as_deref(), caller)?;
    let Registering { plan, entries, discrepancies } = match &request.what {
        What::Objects(objects) => add(root, &registry, &package, objects, caller)?,
        What::Final(class) => {
            let paths = registry.recorded(&package, &[OwnerStatus::Pending])?;
            let inventory = registry.inventory(paths)?;
            finish(&package, class.as_deref(), &inventory, &caller.occasion)?
        }
    };
    let paths = plan.contents.keys().cloned().collect();
    registry.carry_out((Command::Installf, &package), &plan, entries)?;
    Ok(Registered { paths, discrepancies })
}

fn add(
    root: &Root,
    registry: &Registry<'_>,
    package: &PkgInst,
    objects: &[Registration],
    caller: &Caller<'_>,
) -> Result<Registering, RegistryError> {
    let objects: Vec<Registration> = objects.iter().map(|object| within(root, object)).collect();
    let named = objects.iter().map(|object| InstallfEntry::Add(package.clone(), object.clone()));
    let paths: BTreeSet<ObjectPath> = InstallfRequests(named.collect()).paths();
    let inventory = registry.inventory(paths)?;
    Ok(register(package, &objects, &inventory, &caller.occasion)?)
}

/// A registration with the paths as they are inside the root.
fn within(root: &Root, registration: &Registration) -> Registration {
    let mut object = Registration { path: inside(root, &registration.path), ..registration.clone() };
    let source = object.target.as_deref().and_then(|target| ObjectPath::new(target).ok());
    if let (Some(Ftype::Link), Some(source)) = (object.ftype, source) {
        object.target = Some(inside(root, &source).as_bytes().to_vec());
    }
    object
}
