//! Plans the installation of a package, for pkgadd, pkgask and patches.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::operation::device::{DeliveredPackage, mark_identical};
use crate::operation::failure::Failure;
use crate::operation::libraries::{LaterContent, LibraryKeeper, LibraryRequest, PlanToSettle};
use crate::operation::packages::answers;
use crate::operation::packages::report::{PackageObserver, PlannedInstallation, described, is_update};
use crate::operation::patches::apply::{SignatureRequest, demands};
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::package_directory::PackageDirectory;
use crate::operation::scripts::run::StayingObjects;
use crate::operation::scripts::runner::{ScriptContext, ScriptRunner, base_of, delivered_as_placed};
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_changeset::RecordFile;
use patchadm_inputs::database::contents::lines_of_package;
use patchadm_inputs::database::survey::packages_but;
use patchadm_inputs::database::{DatabaseError, RecordView, all, installed, ledger};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::inventory::{Installed, Inventory, Touched, is_kept_package};
use patchadm_inputs::policy::ScriptPolicy;
use patchadm_inputs::sign::DemandWord;
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::concern::{FileToCompare, add_package, delivered_files};
use patchadm_planning::plan::package::install::{InstallOptions, OfPatch, install, placement};
use patchadm_planning::plan::package::package_records::{DamagedPackage, is_of_patch};
use patchadm_planning::plan::patch::validate::same_version;
use patchadm_planning::plan::refusal::{Command, Reason, Refusal};
use patchadm_planning::plan::scripts::SystemScripts;
use patchadm_rootfs::{Root, Timestamp};
use patchadm_svr4::format::admin::Admin;
use patchadm_svr4::package::{Mode, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::PatchId;
use patchadm_svr4::places;

#[derive(Clone, Debug, Default)]
pub struct AddRequest {
    /// A directory of packages, one package, a datastream, or an archive.
    pub device: PathBuf,
    /// Names, `PKG.*`, `all`; empty for all.
    pub packages: Vec<String>,
    /// Empty for no restriction.
    pub categories: Vec<String>,
    /// A path, a name below `var/sadm/install/admin` of the root, or `none`.
    pub admin: Option<PathBuf>,
    /// Absolute path of the response file, or of a directory with one per package.
    pub response: Option<PathBuf>,
    /// Recorded: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
    /// Symbolic links that directories of the packages may replace.
    pub overridden: Vec<ObjectPath>,
    /// Replace other installed versions (`--update`).
    pub update: bool,
    /// Prompting is allowed.
    pub conversation: bool,
    /// Request scripts read standard input, which is no terminal.
    pub reads_input: bool,
    /// Refuse packages that ask questions (`-n`).
    pub silent: bool,
    pub scripts: ScriptSettings,
    pub shlibs: LibraryRequest,
}

#[derive(Clone, Copy)]
pub(crate) struct AddInput<'a> {
    pub(crate) ground: &'a RootAndPolicy,
    pub(crate) admin: &'a Admin,
    pub(crate) system: &'a SystemScripts,
    pub(crate) policy: ScriptPolicy,
    pub(crate) request: &'a AddRequest,
    pub(crate) caller: &'a Caller<'a>,
    /// Set for packages of a patch.
    pub(crate) patch: Option<&'a OfPatch>,
    /// Abbreviations of packages whose damaged records are replaced.
    pub(crate) mended: &'a [String],
    pub(crate) is_locked: bool,
}

pub(crate) struct PackagePlacement {
    pub(crate) instance: PkgInst,
    /// After the installation.
    pub(crate) params: Params,
    pub(crate) present: BTreeMap<PkgInst, Installed>,
    /// Remains of a damaged record, which is replaced.
    pub(crate) damaged: Option<DamagedPackage>,
}

pub(crate) struct PreparedPackage {
    pub(crate) installation: PlannedInstallation,
    pub(crate) inventory: Inventory,
}

impl<'a> AddInput<'a> {
    pub(crate) fn new(
        ground: &'a RootAndPolicy,
        admin: &'a Admin,
        system: &'a SystemScripts,
        request: &'a AddRequest,
        caller: &'a Caller<'a>,
    ) -> Self {
        let policy = ground.policy.scripts;
        Self { ground, admin, system, policy, request, caller, patch: None, mended: &[], is_locked: false }
    }

    /// Needs no survey of paths.
    pub(crate) fn place(
        &self,
        delivered: DeliveredPackage<'_>,
        response: &Params,
    ) -> Result<PackagePlacement, Failure> {
        let view = RecordView::live(&self.ground.root);
        let abbreviation = delivered.image.params.text("PKG");
        let mut present = BTreeMap::new();
        for instance in installed::packages(&view)? {
            if instance.abbreviation() != abbreviation.trim() {
                continue;
            }
            match installed::installed(&view, &instance) {
                Ok(Some(installed)) => drop(present.insert(instance, installed)),
                Ok(None) => {}
                // The record will be replaced; until then it counts as missing.
                Err(DatabaseError::Damaged(_)) if self.mends(&instance) => {}
                Err(error) => return Err(error.into()),
            }
        }
        if is_kept_package(&delivered.image.params)
            || present.values().any(|known| is_kept_package(&known.params))
        {
            let name = delivered.image.spooled_name();
            return Err(Reason::KeptPackage(name.clone()).of(Command::Pkgadd, &name).into());
        }
        self.must_be_no_patch(delivered.image)?;
        let inventory = Inventory { packages: present.clone(), ..Inventory::default() };
        // Open questions do not change the place, and are asked later.
        let options = self.options(response, true);
        let (instance, params) =
            placement(&delivered.device.image, delivered.index, &inventory, &options, &self.caller.now)?;
        let damaged =
            if self.mends(&instance) { damaged_package(&self.ground.root, &instance)? } else { None };
        Ok(PackagePlacement { instance, params, present, damaged })
    }

    pub(crate) fn mends(&self, package: &PkgInst) -> bool {
        self.mended.iter().any(|name| name == package.abbreviation())
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

    /// If signatures are required, a package of a patch cannot be installed alone: only the whole patch is signed.
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

    /// Asks the observer, if any, the questions that the admin file leaves open.
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
        let is_question = |refusal: &Refusal| refusal.reason.question().is_some();
        let mut planned = match (plan(self.admin, false), observer) {
            (Err(refusal), Some(observer)) if self.request.conversation && is_question(&refusal) => {
                let questions = answers::open_questions(self.admin, |admin| plan(admin, false));
                // Refusals come before questions.
                let planned = plan(self.admin, true)?;
                if !observer.agrees(&image.spooled_name(), &questions) {
                    return Err(Failure::Declined);
                }
                planned
            }
            (planned, _) => planned?,
        };
        self.must_be_no_patch(image)?;
        let (mut libraries, mut staying) = (None, StayingObjects::new());
        // Libraries of a patch are decided for the whole patch.
        if self.patch.is_none() {
            let now = &self.caller.now;
            let keeper = LibraryKeeper::new(self.ground, self.request.shlibs, now, self.is_locked);
            let mut keeper = keeper.ended_by(self.caller.interrupt);
            let asked =
                PlanToSettle::of((&planned.plan, &inventory), Command::Pkgadd, Command::Pkgadd.name());
            let settled = keeper.settle(&asked, &mut device.content(), LaterContent::NotAsked)?;
            if let Some(settled) = settled {
                staying = settled.staying();
                libraries = settled.apply_to_plan(&mut planned.plan);
            }
        }
        let mut installation = described(planned, image, &placed.present, self.admin);
        installation.libraries = libraries;
        installation.staying = staying;
        Ok(PreparedPackage { installation, inventory })
    }

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
        // Replaced by an update.
        let replaced = placed.present.get(&placed.instance).filter(|_| self.request.update);
        let replaced = replaced.filter(|old| !same_version(&old.params, &image.params));
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

impl PackagePlacement {
    pub(crate) fn is_update(&self, package: &PackageImage) -> bool {
        is_update(package, self.present.get(&self.instance))
    }

    /// Returns the directory in which scripts find the package, and their context. Scripts that cannot read it get a
    /// copy below `private`.
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

impl PreparedPackage {
    /// True if a new database does not change the plan: no scripts take part, and no path lies in the database.
    pub(super) fn is_beside_database(&self) -> bool {
        let var = |path: &ObjectPath| path.as_bytes().split(|&b| b == b'/').nth(1) == Some(b"var");
        let inventory = &self.inventory;
        let paths = inventory.physical.iter().flat_map(|(path, physical)| [path, physical]);
        !self.installation.has_scripts && !paths.into_iter().any(var)
    }
}

const DEPENDENCY_FILES: [&[u8]; 2] = [b"install/depend", b"install/compver"];
/// In bytes.
const LARGEST_DEPENDENCY_FILE: u64 = 1 << 20;

/// Adds the paths of a package and the directories of its patches.
pub(super) fn add_owned(
    view: &RecordView<'_>,
    package: &PkgInst,
    params: &Params,
    touched: &mut Touched,
) -> Result<(), Failure> {
    touched.paths.extend(lines_of_package(view, package)?.into_keys());
    let patches = params.text("PATCHLIST");
    touched.paths.extend(patches.split_whitespace().filter_map(|id| places::patch(id).ok()));
    Ok(())
}

/// Reads those of all packages but `package`.
pub(super) fn add_depend_files(
    view: &RecordView<'_>,
    package: &PkgInst,
    inventory: &mut Inventory,
) -> Result<(), Failure> {
    for (other, installed) in inventory.packages.iter_mut().filter(|(other, _)| *other != package) {
        installed.records = depend_files(view, other)?;
    }
    Ok(())
}

fn depend_files(view: &RecordView<'_>, package: &PkgInst) -> Result<BTreeMap<Vec<u8>, RecordFile>, Failure> {
    let mut files = BTreeMap::new();
    for name in DEPENDENCY_FILES {
        let Ok(path) = places::package(package).join(name) else { continue };
        if let Some(bytes) = view.read(&path, LARGEST_DEPENDENCY_FILE)? {
            let (mode, mtime) = (Mode::of(0o644), Timestamp::default());
            files.insert(name.to_vec(), RecordFile { bytes: bytes.into(), mode, mtime });
        }
    }
    Ok(files)
}

/// Returns the remains if pkginfo is damaged, or the directory is gone while the ledger exists.
pub(in crate::operation) fn damaged_package(
    root: &Root,
    package: &PkgInst,
) -> Result<Option<DamagedPackage>, Failure> {
    let view = RecordView::live(root);
    let names = view.list(&places::package(package))?;
    let reason = match all::params_of(&view, package) {
        Ok(None) if names.is_none() && view.look(&places::ledger(package))?.is_some() => {
            format!("{} does not exist", root.show(&places::package(package)))
        }
        Ok(_) => return Ok(None),
        Err(DatabaseError::Damaged(damage)) => damage.to_string(),
        Err(error) => return Err(error.into()),
    };
    let mut installed = Installed::default();
    installed::records(&view, package, &mut installed)?;
    let saved = view.list(&places::save(package))?.unwrap_or_default();
    let saved = saved.into_iter().filter_map(|name| String::from_utf8(name).ok());
    let saved: Vec<String> = saved.filter(|name| PatchId::new(name).is_ok()).collect();
    let ledger = ledger::read(&view, package).ok();
    let known = ledger.iter().flat_map(Ledger::patches).cloned();
    let mut ended: Vec<String> = known.collect();
    ended.extend(saved.iter().filter(|name| !ended.contains(name)).cloned().collect::<Vec<_>>());
    Ok(Some(DamagedPackage { reason, is_there: names.is_some(), installed, saved, ended }))
}
