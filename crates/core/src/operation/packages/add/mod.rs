//! `pkgadd`: packages of a source are installed one after another, each a run of its own.
//!
//! Everything that can be read in advance is read first: what is wrong with a package of the selection ends the
//! command before the first one is installed. Packages that were installed stay when a later one fails.

pub mod ask;
pub(in crate::operation) mod damaged;
pub(crate) mod input;
pub(crate) mod prepare;
pub(crate) mod with_scripts;

use crate::operation::device::{DeliveredPackage, OpenDevice};
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::mend::set_aside_unless_file;
use crate::operation::new_database::NewDatabase;
use crate::operation::packages::answers::{self, AdminFile};
use crate::operation::packages::observer::PackageObserver;
use crate::operation::packages::report::{AddedPackage, PackagesReport, leaves_root_usable};
use crate::operation::run::{BatchEnd, RunPlanner, run_all};
use crate::operation::scripts::interview::ScriptAnswers;
use crate::operation::scripts::system::system_scripts;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_agree};
use crate::operation::trial::begin::begin_change;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::scripts::InstallScripts;
use patchadm_rootfs::Root;
use patchadm_svr4::places;

use input::AddInput;
pub use input::AddRequest;
use prepare::{PackagePlacement, PreparedPackage};
use with_scripts::ScriptSetup;

/// Installs packages. An error is one of the device or the root as a whole; what is wrong with one package is in its
/// part of the report, and the others are tried nevertheless.
pub fn add_packages(
    root: &Root,
    request: &AddRequest,
    caller: &Caller<'_>,
    observer: &mut dyn PackageObserver,
) -> Result<PackagesReport<AddedPackage>, Failure> {
    may_change(root)?;
    let AdminFile { admin, unknown } = answers::admin(root, request.admin.as_deref())?;
    let mut report = PackagesReport {
        recovered: Recovered::Nothing,
        unknown_answers: unknown,
        missing: Vec::new(),
        packages: Vec::new(),
    };
    let opened = OpenDevice::open(&request.device, &request.packages, caller.interrupt)?;
    let device = match opened.and_then(|device| device.of_categories(&request.categories)) {
        Ok(device) => device,
        Err(missing) => return Ok(PackagesReport { missing, ..report }),
    };
    device.source.check_room_to_plan(&device.image)?;
    let ground = RootAndPolicy::of(root)?;
    let system = system_scripts(&ground)?;
    let mut rehearsed = None;
    if !installed::has_database(&RecordView::live(root))? {
        let input = AddInput::new(&ground, &admin, &system, request, caller);
        (report.packages, rehearsed) = input.rehearse(&device, observer);
        if report.packages.len() == device.selected.len() {
            return Ok(report);
        }
        report.packages.clear();
    }
    let new = NewDatabase::make(root)?;
    let session = begin_change(ground, caller).inspect_err(|_| new.remove_empty(root))?;
    // Nothing is known of a damaged record, so nothing can take its place as another version.
    let mended = if request.update { Vec::new() } else { selected_names(&device) };
    let input = AddInput {
        mended: &mended,
        is_locked: true,
        ..AddInput::new(&session.ground, &admin, &system, request, caller)
    };
    must_agree(root, caller.interrupt, |package| input.mends(package))?;
    // Others may have been here before the lock was taken.
    let rehearsed = if device.selected.len() == 1 && session.is_first()? { rehearsed } else { None };
    let mut planner =
        AddPlanner { input: &input, session: &session, device: &device, rehearsed, observer: &mut *observer };
    report.packages = run_all(&mut planner);
    if report.packages.iter().all(AddedPackage::left_nothing) {
        new.remove(root);
    }
    Ok(PackagesReport { recovered: session.recovered, ..report })
}

/// Returns the names of the selected packages, as far as their pkginfo can be read.
fn selected_names(device: &OpenDevice) -> Vec<String> {
    let name = |&index| Some(device.package(index).ok()?.params.text("PKG").trim().to_owned());
    device.selected.iter().filter_map(name).collect()
}

impl<'a> AddInput<'a> {
    /// Finds the packages that are refused on a root that has no database yet: where all are, none is made. What a package
    /// would answer itself is not known here, so one that asks is not refused. Where one is not refused: how it is
    /// planned, if that does not depend on whether there is a database.
    fn rehearse(
        &self,
        device: &OpenDevice,
        observer: &mut dyn PackageObserver,
    ) -> (Vec<AddedPackage>, Option<PreparedPackage>) {
        let mut refused = Vec::new();
        for &index in &device.selected {
            match device.delivered(index).and_then(|delivered| self.planned(delivered)) {
                Ok(prepared) => return (Vec::new(), prepared.filter(PreparedPackage::is_beside_database)),
                Err(failure) => {
                    let name = device.package(index).map(PackageImage::spooled_name).unwrap_or_default();
                    refused.push(AddedPackage::refused(name, failure));
                }
            }
        }
        for added in &refused {
            observer.added(added);
        }
        (refused, None)
    }

    /// Plans a package; none where it is to be asked itself.
    fn planned(&self, delivered: DeliveredPackage<'_>) -> Result<Option<PreparedPackage>, Failure> {
        let answered = self.answered(delivered.image)?.unwrap_or_default();
        let placed = self.place(delivered, &answered.params)?;
        let scripts = InstallScripts::of(delivered.image, &placed.params, self.system);
        if scripts.request || scripts.checkinstall {
            return Ok(None);
        }
        self.prepare(delivered, &placed, &answered.params, None).map(Some)
    }

    fn answered(&self, package: &PackageImage) -> Result<Option<ScriptAnswers>, Failure> {
        answers::response(self.request.response.as_deref(), &package.spooled_name())
    }

    /// Finds the scripts of a package that goes there; refused where the policy does not allow one.
    fn allowed(&self, package: &PackageImage, placed: &PackagePlacement) -> Result<InstallScripts, Failure> {
        let scripts = InstallScripts::of(package, &placed.params, self.system);
        scripts
            .check(package, placed.instance.as_str(), self.policy)
            .map_err(|reason| reason.of(Command::Pkgadd, &placed.instance))?;
        Ok(scripts)
    }

    /// Plans a package, with the answers of its scripts; what becomes known of it on the way is noted in `added`.
    fn ready(
        &self,
        session: &Session<'_>,
        delivered: DeliveredPackage<'a>,
        rehearsed: Option<PreparedPackage>,
        observer: &mut dyn PackageObserver,
        added: &mut AddedPackage,
    ) -> Result<(PreparedPackage, Option<ScriptSetup<'a>>), Failure> {
        let package = delivered.image;
        let answered = self.answered(package)?;
        let given = answered.clone().unwrap_or_default();
        let placed = self.place(delivered, &given.params)?;
        added.name = placed.instance.to_string();
        let scripts = self.allowed(package, &placed)?;
        observer.placed(placed.instance.as_str(), placed.is_update(package));
        let mut setup = None;
        if scripts.request || scripts.checkinstall || scripts.take_part() {
            setup = Some(self.with_scripts(delivered, &placed)?);
        }
        let answers = match setup.as_mut().filter(|_| scripts.request || scripts.checkinstall) {
            None => given,
            Some(setup) => self.ask(setup, &scripts, answered, observer).inspect_err(|_| {
                let head = log::head(&format!("pkgadd <{}>", added.name), "nothing was changed");
                // What the script said has been heard, too; that it cannot be kept changes nothing.
                let _ = session.log(&[head.into_bytes(), setup.runner.take_log()].concat());
            })?,
        };
        added.ending.warned |= answers.warned;
        // the answers may have changed where it goes
        let placed = self.place(delivered, &answers.params)?;
        if placed.damaged.is_some() {
            // What is no file in the place of one would stop the run.
            set_aside_unless_file(&self.ground.root, &places::pkginfo(&placed.instance))?;
        }
        let prepared = match rehearsed {
            Some(prepared) => prepared,
            None => self.prepare(delivered, &placed, &answers.params, Some(&mut *observer))?,
        };
        observer.installing(&prepared.installation, package);
        added.name.clone_from(&prepared.installation.instance);
        let setup = setup.filter(|_| prepared.installation.has_scripts);
        Ok((prepared, setup))
    }

    /// Installs a package as it was planned.
    fn install(
        &self,
        session: &Session<'_>,
        delivered: DeliveredPackage<'a>,
        (prepared, setup): (PreparedPackage, Option<ScriptSetup<'a>>),
        observer: &mut dyn PackageObserver,
        added: &mut AddedPackage,
    ) -> Result<Receipt, Failure> {
        if let Some(setup) = setup {
            added.installation = Some(prepared.installation.clone());
            return self.install_with_scripts(session, &prepared, setup, observer, added);
        }
        // The plan is all that is needed from here; what was surveyed for it goes.
        let PreparedPackage { installation, inventory } = prepared;
        drop(inventory);
        let plan = &added.installation.insert(installation).intended.plan;
        session.perform(plan, &mut delivered.device.content(), None, log::of_installation(plan))
    }
}

/// The selected packages of a device, each a run of its own.
struct AddPlanner<'p, 'a> {
    input: &'p AddInput<'a>,
    session: &'p Session<'p>,
    device: &'a OpenDevice,
    /// How the only package was planned while nobody had the lock.
    rehearsed: Option<PreparedPackage>,
    observer: &'p mut dyn PackageObserver,
}

/// A package as it was planned.
struct PlannedAddition<'a> {
    added: AddedPackage,
    ready: Result<(DeliveredPackage<'a>, (PreparedPackage, Option<ScriptSetup<'a>>)), Failure>,
}

impl<'a> RunPlanner for AddPlanner<'_, 'a> {
    type Batch = PlannedAddition<'a>;
    type Outcome = AddedPackage;

    fn count(&self) -> usize {
        self.device.selected.len()
    }

    fn plan(&mut self, taken: usize) -> PlannedAddition<'a> {
        let index = self.device.selected.get(taken).copied().unwrap_or_default();
        let device: &'a OpenDevice = self.device;
        let delivered = match device.delivered(index) {
            Ok(delivered) => delivered,
            Err(failure) => {
                let added = AddedPackage::refused(device.image.name.clone(), Failure::Declined);
                return PlannedAddition { added, ready: Err(failure) };
            }
        };
        let name = delivered.image.spooled_name();
        self.observer.adding(&name, delivered.image);
        let mut added = AddedPackage::refused(name, Failure::Declined);
        let (session, rehearsed) = (self.session, self.rehearsed.take());
        let ready = self.input.ready(session, delivered, rehearsed, self.observer, &mut added);
        PlannedAddition { added, ready: ready.map(|ready| (delivered, ready)) }
    }

    fn carry_out(&mut self, _: usize, planned: PlannedAddition<'a>) -> BatchEnd<AddedPackage> {
        let PlannedAddition { mut added, ready } = planned;
        added.result = ready.and_then(|(delivered, ready)| {
            self.input.install(self.session, delivered, ready, self.observer, &mut added)
        });
        self.observer.added(&added);
        let goes_on = added.result.as_ref().err().is_none_or(leaves_root_usable);
        BatchEnd::of_one(added, goes_on)
    }
}
