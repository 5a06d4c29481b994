//! Who attends an installation or removal: is told how it goes, and asked what the admin file leaves open.

use crate::operation::packages::add::Added;
use crate::operation::packages::installation::Installation;
use crate::operation::packages::remove::{Left, Removal, Removed};
use crate::package::Params;
use crate::plan::Plan;
use crate::plan::course::Portion;
use crate::source::PackageImage;

use crate::operation::scripts::Voice;

/// Somebody who watches. Every method has a default that says nothing and agrees to nothing.
pub trait Attendant: Voice {
    /// The installation of a package begins; the name is that on the device.
    fn adding(&mut self, _name: &str, _package: &PackageImage) {}

    /// It is known where the package goes; `is_update` says that this architecture and version is there already.
    fn placed(&mut self, _instance: &str, _is_update: bool) {}

    /// It is known what will be done; nothing has been changed yet.
    fn installing(&mut self, _installation: &Installation, _package: &PackageImage) {}

    /// In a run with scripts: the objects of the package come now.
    fn objects_begin(&mut self) {}

    /// In a run with scripts: these portions of the package are in place, as `batch` says.
    fn switched(&mut self, _installation: &Installation, _portions: &[Portion], _batch: &Plan) {}

    /// In a run with scripts: the script of this class has done its work.
    fn class_done(&mut self, _class: &str) {}

    /// The installation of a package has ended, well or not.
    fn added(&mut self, _added: &Added) {}

    /// The removal of an installed package begins.
    fn removing(&mut self, _name: &str, _params: &Params) {}

    /// What admin file and dependencies say is settled, and the removal is agreed to.
    fn leaves(&mut self, _removal: &Removal) {}

    /// The objects of a class have gone, or what becomes of them is the matter of the script that runs next.
    fn class_left(&mut self, _class: &str, _objects: &[Left]) {}

    /// Only the records are left to be changed.
    fn left(&mut self) {}

    /// The removal of a package has ended, well or not.
    fn removed(&mut self, _removed: &Removed) {}

    /// Whether to go on, though there are these questions (sentences without full stop). Only asked where the
    /// request says that somebody can be.
    fn agrees(&mut self, _name: &str, _questions: &[String]) -> bool {
        false
    }
}

/// Nobody.
#[derive(Clone, Copy, Debug)]
pub struct Nobody;

impl Voice for Nobody {}

impl Attendant for Nobody {}
