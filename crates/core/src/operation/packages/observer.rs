//! The observer of an installation or removal: learns how it goes, and answers what the admin file leaves open.

use super::installation::PlannedInstallation;
use super::left_objects::LeftObject;
use super::report::{AddedPackage, PlannedRemoval, RemovedPackage};
use crate::operation::scripts::runner::ScriptOutput;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::script_schedule::steps::Portion;
use patchadm_svr4::package::Params;

/// Watches packages come and go. Every method has a default that says nothing and agrees to nothing.
pub trait PackageObserver: ScriptOutput {
    /// Learns that the installation of a package begins; the name is that on the device.
    fn adding(&mut self, _name: &str, _package: &PackageImage) {}

    /// Learns where the package goes; `is_update` says that this architecture and version is there already.
    fn placed(&mut self, _instance: &str, _is_update: bool) {}

    /// Learns what will be done; nothing has been changed yet.
    fn installing(&mut self, _installation: &PlannedInstallation, _package: &PackageImage) {}

    /// Learns, in a run with scripts, that the objects of the package come now.
    fn objects_begin(&mut self) {}

    /// Learns, in a run with scripts, that these portions of the package are in place, as `batch` says.
    fn switched(&mut self, _installation: &PlannedInstallation, _portions: &[Portion], _batch: &Plan) {}

    /// Learns, in a run with scripts, that the script of this class has done its work.
    fn class_done(&mut self, _class: &str) {}

    /// Learns that the installation of a package has ended, well or not.
    fn added(&mut self, _added: &AddedPackage) {}

    /// Learns that the removal of an installed package begins.
    fn removing(&mut self, _name: &str, _params: &Params) {}

    /// Learns that what admin file and dependencies say is settled, and the removal is agreed to.
    fn removal_agreed(&mut self, _removal: &PlannedRemoval) {}

    /// Learns that the objects of a class have gone, or that they are the matter of the script that runs next.
    fn class_left(&mut self, _class: &str, _objects: &[LeftObject]) {}

    /// Learns that only the records are left to be changed.
    fn objects_gone(&mut self) {}

    /// Learns that the removal of a package has ended, well or not.
    fn removed(&mut self, _removed: &RemovedPackage) {}

    /// Says whether to go on, though there are these questions (sentences without full stop). Only asked where the
    /// request says that somebody can be.
    fn agrees(&mut self, _name: &str, _questions: &[String]) -> bool {
        false
    }
}

/// An observer that hears nothing and agrees to nothing.
#[derive(Clone, Copy, Debug)]
pub struct SilentObserver;

impl ScriptOutput for SilentObserver {}

impl PackageObserver for SilentObserver {}
