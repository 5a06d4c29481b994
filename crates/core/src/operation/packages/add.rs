//! `pkgadd`: installs packages one after another, each in a run of its own.
//!
//! ```text
//! options, device ─► (rehearsal) ─► lock ─► for each package: place ─► ask its scripts ─► plan ─► run ─► report
//! ```
//! Everything is read before the first installation, so a defect ends the command early. Installed packages stay when a
//! later one fails.

use crate::operation::device::{DeliveredPackage, OpenDevice};
use crate::operation::failure::Failure;
use crate::operation::log;
use crate::operation::mend::set_aside_unless_file;
use crate::operation::new_database::NewDatabase;
use crate::operation::packages::answers::{self, AdminFile};
use crate::operation::packages::planning::{AddInput, PackagePlacement, PreparedPackage};
use crate::operation::packages::report::{AddedPackage, PackageObserver, PackagesReport, leaves_root_usable};
use crate::operation::packages::scripted::{InstallSource, ScriptedPackage, add_objects, safety_copies};
use crate::operation::patches::back_out::by_pkgadd::PlayedBackout;
use crate::operation::scripts::failure::ScriptFailure;
use crate::operation::scripts::interview::{ScriptAnswers, ScriptQuestions, interview};
use crate::operation::scripts::package_directory::PackageDirectory;
use crate::operation::scripts::run::{FailedRequests, PackageScripts, check_staying};
use crate::operation::scripts::runner::{ScriptContext, ScriptRunner, base_of};
use crate::operation::scripts::safety::{check_classes, check_places, needs_absolute_tools};
use crate::operation::scripts::system_scripts;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_agree};
use crate::operation::trial::begin_change;
use crate::script::{RunAs, ScriptInput};
use patchadm_changeset::format::manifest::MANIFEST;
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::{RecordView, installed};
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_planning::plan::script_schedule::ScriptSchedule;
use patchadm_planning::plan::scripts::InstallScripts;
use patchadm_rootfs::Root;
use patchadm_svr4::format::admin::RequestUser;
use patchadm_svr4::places;

pub use crate::operation::packages::planning::AddRequest;

/// Errors concern the device or the whole root. A package's failure is in its report; the next one is tried if the root
/// is still usable.
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

    // Make a database only if a package can be installed.
    let mut rehearsed = None;
    if !installed::has_database(&RecordView::live(root))? {
        let input = AddInput::new(&ground, &admin, &system, request, caller);
        match input.rehearse(&device) {
            Ok(prepared) => rehearsed = prepared,
            Err(refused) => {
                for added in &refused {
                    observer.added(added);
                }
                return Ok(PackagesReport { packages: refused, ..report });
            }
        }
    }
    let new = NewDatabase::make(root)?;
    let session = begin_change(ground, caller).inspect_err(|_| new.remove_empty(root))?;
    // A damaged record has no version, so an update cannot replace it.
    let mended = if request.update { Vec::new() } else { selected_names(&device) };
    let input = AddInput {
        mended: &mended,
        is_locked: true,
        ..AddInput::new(&session.ground, &admin, &system, request, caller)
    };
    must_agree(root, caller.interrupt, |package| input.mends(package))?;
    // Other commands may have changed the root before the lock.
    rehearsed = if device.selected.len() == 1 && session.is_first()? { rehearsed } else { None };

    for &index in &device.selected {
        let added = match device.delivered(index) {
            Ok(delivered) => input.add(&session, delivered, rehearsed.take(), observer),
            Err(failure) => AddedPackage::refused(device.image.name.clone(), failure),
        };
        observer.added(&added);
        let goes_on = added.result.as_ref().err().is_none_or(leaves_root_usable);
        report.packages.push(added);
        if !goes_on {
            break;
        }
    }
    if report.packages.iter().all(AddedPackage::left_nothing) {
        new.remove(root);
    }
    Ok(PackagesReport { recovered: session.recovered, ..report })
}

fn selected_names(device: &OpenDevice) -> Vec<String> {
    let name = |&index| Some(device.package(index).ok()?.params.text("PKG").trim().to_owned());
    device.selected.iter().filter_map(name).collect()
}

pub(crate) struct ScriptSetup<'a> {
    pub(crate) runner: ScriptRunner<'a>,
    delivered: DeliveredPackage<'a>,
    directory: PackageDirectory,
    context: ScriptContext,
}

impl<'a> AddInput<'a> {
    /// Plans packages on a root without a database. Fails if all are refused, so that no database is made. Ignores
    /// packages whose scripts answer questions.
    ///
    /// Returns the first accepted plan, unless the database changes it.
    fn rehearse(&self, device: &OpenDevice) -> Result<Option<PreparedPackage>, Vec<AddedPackage>> {
        let plan = |delivered: DeliveredPackage<'_>| {
            let package = delivered.image;
            let response = answers::response(self.request.response.as_deref(), &package.spooled_name())?;
            let response = response.unwrap_or_default().params;
            let placed = self.place(delivered, &response)?;
            let scripts = InstallScripts::of(package, &placed.params, self.system);
            if scripts.request || scripts.checkinstall {
                return Ok(None);
            }
            self.prepare(delivered, &placed, &response, None).map(Some)
        };
        let mut refused = Vec::new();
        for &index in &device.selected {
            match device.delivered(index).and_then(plan) {
                Ok(prepared) => return Ok(prepared.filter(PreparedPackage::is_beside_database)),
                Err(failure) => {
                    let name = device.package(index).map(PackageImage::spooled_name).unwrap_or_default();
                    refused.push(AddedPackage::refused(name, failure));
                }
            }
        }
        Err(refused)
    }

    /// `rehearsed` is an existing plan.
    fn add(
        &self,
        session: &Session<'_>,
        delivered: DeliveredPackage<'a>,
        rehearsed: Option<PreparedPackage>,
        observer: &mut dyn PackageObserver,
    ) -> AddedPackage {
        let name = delivered.image.spooled_name();
        observer.adding(&name, delivered.image);
        let mut added = AddedPackage::refused(name, Failure::Declined);
        added.result =
            self.ready(session, delivered, rehearsed, observer, &mut added).and_then(|(prepared, setup)| {
                if let Some(setup) = setup {
                    added.installation = Some(prepared.installation.clone());
                    return self.install_with_scripts(session, &prepared, setup, observer, &mut added);
                }
                // Dropping the inventory frees its memory.
                let PreparedPackage { installation, inventory } = prepared;
                drop(inventory);
                let plan = &added.installation.insert(installation).intended.plan;
                session.perform(plan, &mut delivered.device.content(), None, log::of_installation(plan))
            });
        added
    }

    /// Runs the scripts that ask questions, then plans with their answers. Returns the setup only if scripts take part
    /// in the installation itself.
    fn ready(
        &self,
        session: &Session<'_>,
        delivered: DeliveredPackage<'a>,
        rehearsed: Option<PreparedPackage>,
        observer: &mut dyn PackageObserver,
        added: &mut AddedPackage,
    ) -> Result<(PreparedPackage, Option<ScriptSetup<'a>>), Failure> {
        let package = delivered.image;
        let response = answers::response(self.request.response.as_deref(), &package.spooled_name())?;
        let given = response.clone().unwrap_or_default();
        let placed = self.place(delivered, &given.params)?;
        added.name = placed.instance.to_string();
        let scripts = InstallScripts::of(package, &placed.params, self.system);
        scripts
            .check(package, placed.instance.as_str(), self.policy)
            .map_err(|reason| reason.of(Command::Pkgadd, &placed.instance))?;
        observer.placed(placed.instance.as_str(), placed.is_update(package));

        let mut setup = None;
        if scripts.request || scripts.checkinstall || scripts.take_part() {
            setup = Some(self.with_scripts(delivered, &placed)?);
        }
        let answers = match setup.as_mut().filter(|_| scripts.request || scripts.checkinstall) {
            None => given,
            Some(setup) => self.ask(setup, &scripts, response, observer).inspect_err(|_| {
                let head = log::head(&format!("pkgadd <{}>", added.name), "nothing was changed");
                // The observer has received the output, so a failure to log it changes nothing.
                let _ = session.log(&[head.into_bytes(), setup.runner.take_log()].concat());
            })?,
        };
        added.ending.warned |= answers.warned;

        // The answers may have changed the place.
        let placed = self.place(delivered, &answers.params)?;
        if placed.damaged.is_some() {
            // Another object in the place of pkginfo would stop the run.
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

    /// Refuses unsafe scripts.
    pub(crate) fn with_scripts(
        &self,
        delivered: DeliveredPackage<'a>,
        placed: &PackagePlacement,
    ) -> Result<ScriptSetup<'a>, Failure> {
        let refuse = |reason: Reason| Failure::from(reason.of(Command::Pkgadd, &placed.instance));
        check_places(self.ground, &placed.instance, base_of(&placed.params).as_ref()).map_err(refuse)?;
        let absolute = needs_absolute_tools(delivered.image);
        let (interrupt, settings) = (self.caller.interrupt, &self.request.scripts);
        let runner = ScriptRunner::open(self.ground, interrupt, settings, absolute, refuse)?;
        let (directory, context) = placed.for_scripts(&runner, delivered, runner.shop.directory())?;
        Ok(ScriptSetup { runner, delivered, directory, context })
    }

    pub(crate) fn ask(
        &self,
        setup: &mut ScriptSetup<'_>,
        scripts: &InstallScripts,
        response: Option<ScriptAnswers>,
        observer: &mut dyn PackageObserver,
    ) -> Result<ScriptAnswers, Failure> {
        let request = scripts.request && response.is_none();
        if request && self.request.silent {
            observer.says("Interactive request script supplied by package\n");
            return Err(Failure::Script(ScriptFailure::nobody_to_ask()));
        }
        let as_root = self.admin.request_user == RequestUser::Root;
        let questions = ScriptQuestions {
            request,
            checkinstall: scripts.checkinstall,
            given: response.unwrap_or_default().text,
            input: match (self.request.conversation, self.request.reads_input) {
                (true, _) => ScriptInput::Terminal,
                (false, true) => ScriptInput::Caller,
                (false, false) => ScriptInput::Nothing,
            },
            request_user: if as_root { RunAs::Caller } else { RunAs::Unprivileged },
        };
        interview(&mut setup.runner, &setup.directory, &mut setup.context, &questions, observer)
    }

    fn install_with_scripts(
        &self,
        session: &Session<'_>,
        prepared: &PreparedPackage,
        mut setup: ScriptSetup<'_>,
        observer: &mut dyn PackageObserver,
        added: &mut AddedPackage,
    ) -> Result<Receipt, Failure> {
        let PreparedPackage { installation, inventory } = prepared;
        let (image, intended) = (setup.delivered.image, &installation.intended);
        let instance = intended.plan.packages.first();
        let played =
            instance.map(|instance| PlayedBackout::of(session, image, instance)).transpose()?.flatten();
        let without_ledger = played.as_ref().map(|_| intended.without_ledger());
        let refuse = |reason: Reason| reason.of(Command::Pkgadd, &installation.instance);
        let course =
            ScriptSchedule::of_installation(without_ledger.as_ref().unwrap_or(intended), image, inventory);
        let course = course.map_err(refuse)?;
        setup.context.settle(&image.params, &intended.params);
        // The root may have changed since.
        check_places(self.ground, &course.package, setup.context.base.as_ref()).map_err(refuse)?;
        check_classes(self.ground, &course).map_err(refuse)?;
        if played.is_none() && image.install.contains_key(MANIFEST) {
            observer.warns(&format!(
                "this archive is not undo data of this root\nparameters and records of <{}> will be \
                 those of the archive",
                installation.instance
            ));
        }
        let mut copies = safety_copies([&course.concerned]);
        add_objects(&mut copies, installation.staying.keys());
        if let Some(played) = &played {
            played.hold(&mut copies);
        }
        let delivery =
            InstallSource { delivered: setup.delivered, directory: &setup.directory, installation };
        let scripts = PackageScripts {
            runner: &mut setup.runner,
            context: setup.context,
            ending: added.ending,
            failed_requests: FailedRequests::Tell,
        };
        let package = ScriptedPackage::new(session, &course, Some(delivery), scripts, observer);
        let (receipt, ending) = package.perform(&intended.plan, &copies, |run| match &played {
            Some(played) => played.restore(session, run, &course.concerned, &inventory.lines),
            None => check_staying(&self.ground.root, &installation.staying),
        })?;
        added.ending = ending;
        if let (Some(played), Some(installation)) = (&played, &mut added.installation) {
            // Only an installation without scripts keeps files under other names.
            installation.intended.plan.notes = played.notes().to_vec();
        }
        Ok(receipt)
    }
}
