//! The decisions about one package before anything changes: where it goes, and the plan.

use std::collections::BTreeMap;
use std::path::Path;

use super::damaged::damaged_package;
use super::input::AddInput;
use crate::operation::device::DeliveredPackage;
use crate::operation::failure::Failure;
use crate::operation::identical::mark_identical;
use crate::operation::libraries::{LaterContent, LibraryKeeper, PlanToSettle};
use crate::operation::packages::answers;
use crate::operation::packages::belongings::{add_depend_files, add_owned};
use crate::operation::packages::installation::{PlannedInstallation, described, is_update};
use crate::operation::packages::observer::PackageObserver;
use crate::operation::patches::apply::{SignatureRequest, demands};
use crate::operation::scripts::context::{ScriptContext, base_of, delivered_as_placed};
use crate::operation::scripts::package_directory::PackageDirectory;
use crate::operation::scripts::runner::ScriptRunner;
use crate::operation::scripts::staying_libraries::StayingObjects;
use patchadm_inputs::database::survey::packages_but;
use patchadm_inputs::database::{DatabaseError, RecordView, installed};
use patchadm_inputs::inventory::{Installed, Inventory, Touched, is_kept_package};
use patchadm_inputs::sign::DemandWord;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::concern::add_package;
use patchadm_planning::plan::concern::{FileToCompare, delivered_files};
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::package::install::{InstallOptions, install, placement};
use patchadm_planning::plan::package::package_records::DamagedPackage;
use patchadm_planning::plan::package::package_records::is_of_patch;
use patchadm_planning::plan::patch::validate::same_version;
use patchadm_planning::plan::refusal::{Command, Reason, Refusal};
use patchadm_svr4::format::admin::Admin;
use patchadm_svr4::package::{ObjectPath, Params, PkgInst};
use patchadm_svr4::places;

/// The place that a package goes to.
pub(crate) struct PackagePlacement {
    pub(crate) instance: PkgInst,
    /// Its parameters after the installation.
    pub(crate) params: Params,
    /// The installed instances of the package.
    pub(crate) present: BTreeMap<PkgInst, Installed>,
    /// What is left of the package, where its record is damaged and is made anew.
    pub(crate) damaged: Option<DamagedPackage>,
}

impl PackagePlacement {
    /// Whether the architecture and version that `package` has is installed there already.
    pub(crate) fn is_update(&self, package: &PackageImage) -> bool {
        is_update(package, self.present.get(&self.instance))
    }

    /// The directory in which scripts of the package find it, and what they are told. A copy of the package is made below
    /// `private`, where they cannot read the original.
    pub(crate) fn for_scripts(
        &self,
        runner: &ScriptRunner<'_>,
        delivered: DeliveredPackage<'_>,
        private: &Path,
    ) -> Result<(PackageDirectory, ScriptContext), Failure> {
        let directory = PackageDirectory::of(delivered, runner.shop.unprivileged(), private)?;
        let package = delivered_as_placed(&delivered.image.params, &self.params);
        let context = ScriptContext {
            installed: self.present.get(&self.instance).map(|installed| installed.params.clone()),
            data_directory: Some(directory.data_directory().to_owned()),
            ..ScriptContext::new(self.instance.clone(), package, base_of(&self.params))
        };
        Ok((directory, context))
    }
}

/// A package that is planned.
pub(crate) struct PreparedPackage {
    pub(crate) installation: PlannedInstallation,
    /// The inventory that it was planned with.
    pub(crate) inventory: Inventory,
}

impl PreparedPackage {
    /// Whether it is the same on a root whose database was only just made: no script looks at it, and no path of the
    /// package is where the database is.
    pub(crate) fn is_beside_database(&self) -> bool {
        let var = |path: &ObjectPath| path.as_bytes().split(|&b| b == b'/').nth(1) == Some(b"var");
        let inventory = &self.inventory;
        let paths = inventory.physical.iter().flat_map(|(path, physical)| [path, physical]);
        !self.installation.has_scripts && !paths.into_iter().any(var)
    }
}

impl AddInput<'_> {
    /// Plans a package, and asks what is open.
    pub(crate) fn prepare(
        &self,
        delivered: DeliveredPackage<'_>,
        placed: &PackagePlacement,
        response: &Params,
        observer: Option<&mut (dyn PackageObserver + '_)>,
    ) -> Result<PreparedPackage, Failure> {
        let DeliveredPackage { device, index, image } = delivered;
        let inventory = self.survey(delivered, placed)?;
        let options = InstallOptions { damaged: placed.damaged.clone(), ..self.options(response, false) };
        let plan = |admin: &Admin, conversation: bool| {
            let options = InstallOptions { admin: admin.clone(), conversation, ..options.clone() };
            install(&device.image, index, &inventory, &options, &self.caller.now)
        };
        let planned = match (plan(self.admin, false), observer) {
            (Err(refusal), Some(observer)) if self.request.conversation && is_question(&refusal) => {
                let questions = answers::open_questions(self.admin, |admin| plan(admin, false));
                // a refusal is no question, and has to be told before any is asked
                let planned = plan(self.admin, true)?;
                if !observer.agrees(&image.spooled_name(), &questions) {
                    return Err(Failure::Declined);
                }
                planned
            }
            (planned, _) => planned?,
        };
        let mut planned = planned;
        self.must_be_no_patch(image)?;
        let (libraries, staying) = self.settle_libraries(delivered, &mut planned.plan, &inventory)?;
        let mut installation = described(planned, image, &placed.present, self.admin);
        installation.libraries = libraries;
        installation.staying = staying;
        Ok(PreparedPackage { installation, inventory })
    }

    /// Refuses a package of a patch that is installed by itself on a root that requires signatures: only the whole patch has one.
    fn must_be_no_patch(&self, package: &PackageImage) -> Result<(), Failure> {
        if self.patch.is_some() || !is_of_patch(&package.params) {
            return Ok(());
        }
        let demands = demands(self.ground, &SignatureRequest::default())?;
        if demands.iter().any(|demand| demand.word == DemandWord::Require) {
            return Err(Failure::PatchPackage(package.spooled_name()));
        }
        Ok(())
    }

    /// Settles what becomes of libraries that others need. A package of a patch is no plan of its own.
    fn settle_libraries(
        &self,
        delivered: DeliveredPackage<'_>,
        plan: &mut Plan,
        inventory: &Inventory,
    ) -> Result<(Option<LibraryReport>, StayingObjects), Failure> {
        if self.patch.is_some() {
            return Ok((None, StayingObjects::new()));
        }
        let now = &self.caller.now;
        let keeper = LibraryKeeper::new(self.ground, self.request.shlibs, now, self.is_locked);
        let mut keeper = keeper.ended_by(self.caller.interrupt);
        let asked = PlanToSettle::of((plan, inventory), Command::Pkgadd, Command::Pkgadd.name());
        let content = &mut delivered.device.content();
        let Some(settled) = keeper.settle(&asked, content, LaterContent::NotAsked)? else {
            return Ok((None, StayingObjects::new()));
        };
        let staying = settled.staying();
        Ok((settled.apply_to_plan(plan), staying))
    }

    /// Decides where a package goes, before its paths are looked at.
    pub(crate) fn place(
        &self,
        delivered: DeliveredPackage<'_>,
        response: &Params,
    ) -> Result<PackagePlacement, Failure> {
        let present = self.packages(delivered.image)?;
        let is_kept = |params: &Params| is_kept_package(params);
        if is_kept(&delivered.image.params) || present.values().any(|known| is_kept(&known.params)) {
            let name = delivered.image.spooled_name();
            return Err(Reason::KeptPackage(name.clone()).of(Command::Pkgadd, &name).into());
        }
        self.must_be_no_patch(delivered.image)?;
        let inventory = Inventory { packages: present.clone(), ..Inventory::default() };
        // What the admin file leaves open does not change where it goes; it is asked when everything is known.
        let options = self.options(response, true);
        let (instance, params) =
            placement(&delivered.device.image, delivered.index, &inventory, &options, &self.caller.now)?;
        let damaged =
            if self.mends(&instance) { damaged_package(&self.ground.root, &instance)? } else { None };
        Ok(PackagePlacement { instance, params, present, damaged })
    }

    fn options(&self, response: &Params, conversation: bool) -> InstallOptions {
        InstallOptions {
            admin: self.admin.clone(),
            conversation,
            is_batch: self.request.silent,
            environment: self.request.environment.clone(),
            response: response.clone(),
            overridden: self.request.overridden.iter().cloned().collect(),
            system: self.system.clone(),
            scripts: self.policy,
            patch: self.patch.cloned(),
            is_other_root: !self.ground.root.is_system(),
            damaged: None,
            update: self.request.update,
            separator: self.ground.policy.separator.clone(),
        }
    }

    /// The installed version in whose place a package goes.
    fn replaced<'p>(&self, package: &PackageImage, placed: &'p PackagePlacement) -> Option<&'p Installed> {
        let old = placed.present.get(&placed.instance).filter(|_| self.request.update)?;
        (!same_version(&old.params, &package.params)).then_some(old)
    }

    /// Reads the installed instances of a package.
    fn packages(&self, package: &PackageImage) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
        let view = RecordView::live(&self.ground.root);
        let abbreviation = package.params.text("PKG");
        let mut found = BTreeMap::new();
        for instance in installed::packages(&view)? {
            if instance.abbreviation() != abbreviation.trim() {
                continue;
            }
            match installed::installed(&view, &instance) {
                Ok(Some(installed)) => drop(found.insert(instance, installed)),
                Ok(None) => {}
                // It is made anew, and says nothing until then.
                Err(DatabaseError::Damaged(_)) if self.mends(&instance) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(found)
    }

    /// Surveys what the package touches.
    fn survey(
        &self,
        delivered: DeliveredPackage<'_>,
        placed: &PackagePlacement,
    ) -> Result<Inventory, Failure> {
        let mut touched = Touched::default();
        let DeliveredPackage { device, index, image } = delivered;
        add_package(&mut touched, &placed.instance, index, image, &placed.params);
        for patch in placed.damaged.iter().flat_map(|damaged| &damaged.ended) {
            touched.paths.extend(places::patch(patch).ok());
        }
        let (view, mended) = (RecordView::live(&self.ground.root), self.mended);
        let replaced = self.replaced(image, placed);
        if let Some(old) = replaced {
            add_owned(&view, &placed.instance, &old.params, &mut touched)?;
        }
        let packages =
            packages_but(&view, |package| mended.iter().any(|name| name == package.abbreviation()))?;
        let mut inventory = self.ground.survey_with(packages, &touched, (None, self.caller.interrupt))?;
        if self.patch.is_none() {
            inventory.hide_kept();
        }
        if replaced.is_some() || image.install.contains_key("depend") {
            add_depend_files(&view, &placed.instance, &mut inventory)?;
        }
        let params = placed.params.clone();
        let installed = Installed { params, ..Installed::default() };
        let instances = BTreeMap::from([(placed.instance.clone(), installed)]);
        let files = delivered_files(&device.image, &instances, &inventory);
        let files: Vec<FileToCompare<'_>> = files.into_iter().filter(|file| file.package == index).collect();
        mark_identical(&device.source, &device.image, files, (&mut inventory, self.caller.interrupt))?;
        Ok(inventory)
    }
}

fn is_question(refusal: &Refusal) -> bool {
    refusal.reason.question().is_some()
}
