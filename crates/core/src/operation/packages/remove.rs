//! `pkgrm`: removes packages one after another, each in a run of its own.

use std::path::PathBuf;

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::libraries::{
    KeptLibraryState, LaterContent, LibraryKeeper, LibraryRequest, PlanToSettle, look_at_kept,
};
use crate::operation::log;
use crate::operation::packages::answers::{self, AdminFile};
use crate::operation::packages::planning::{add_depend_files, add_owned};
use crate::operation::packages::report::{
    PackageObserver, PackagesReport, PlannedRemoval, RemovedPackage, leaves_root_usable, objects_left,
};
use crate::operation::packages::scripted::{ScriptedPackage, add_objects, safety_copies};
use crate::operation::queries::select::PackageSelection;
use crate::operation::scripts::failure::LastingResults;
use crate::operation::scripts::run::{FailedRequests, PackageScripts, StayingObjects, check_staying};
use crate::operation::scripts::runner::{ScriptContext, ScriptRunner, base_of};
use crate::operation::scripts::safety::{check_classes, check_places, needs_absolute_tools_to_go};
use crate::operation::scripts::{ScriptSettings, system_scripts};
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database};
use crate::operation::trial::begin_change;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::database::{RecordView, all, installed};
use patchadm_inputs::inventory::{Inventory, Touched, is_kept_package};
use patchadm_inputs::policy::LibraryWords;
use patchadm_planning::plan::package::remove::{RemoveOptions, remove};
use patchadm_planning::plan::refusal::{Command, LibraryLoss, Reason};
use patchadm_planning::plan::script_schedule::ScriptSchedule;
use patchadm_planning::plan::scripts::SystemScripts;
use patchadm_rootfs::Root;
use patchadm_svr4::format::admin::{Admin, CheckAnswer};
use patchadm_svr4::package::PkgInst;

#[derive(Clone, Debug, Default)]
pub struct RemoveRequest {
    /// Names, `PKG.*`.
    pub packages: Vec<String>,
    /// A path, a name below `var/sadm/install/admin` of the root, or `none`.
    pub admin: Option<PathBuf>,
    /// Confirm each package; if false, the request counts as confirmed.
    pub conversation: bool,
    pub scripts: ScriptSettings,
    pub shlibs: LibraryRequest,
}

/// Errors concern the whole root. A package's failure is in its report; the next one is tried if the root is still
/// usable.
pub fn remove_packages(
    root: &Root,
    request: &RemoveRequest,
    caller: &Caller<'_>,
    observer: &mut dyn PackageObserver,
) -> Result<PackagesReport<RemovedPackage>, Failure> {
    may_change(root)?;
    must_have_database(root)?;
    let AdminFile { admin, unknown } = answers::admin(root, request.admin.as_deref())?;
    let session = begin_change(RootAndPolicy::of(root)?, caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    let system = system_scripts(&session.ground)?;
    let input = RemoveInput { session: &session, request, admin: &admin, system: &system };
    let (selected, missing) = selected(&session.ground.root, &request.packages)?;
    let mut packages = Vec::new();
    for package in selected.iter().filter(|_| missing.is_empty()) {
        let mut ending = LastingResults::default();
        let (removal, result) = match input.plan(package, observer) {
            Err(failure) => (None, Err(failure)),
            Ok((removal, inventory)) => {
                let result = input.perform(package, &removal, inventory, observer, &mut ending);
                (Some(removal), result)
            }
        };
        let removed = RemovedPackage { name: package.to_string(), removal, result, ending };
        observer.removed(&removed);
        let goes_on = removed.result.as_ref().err().is_none_or(leaves_root_usable);
        packages.push(removed);
        if !goes_on {
            break;
        }
    }
    Ok(PackagesReport { recovered: session.recovered, unknown_answers: unknown, missing, packages })
}

fn selected(root: &Root, words: &[String]) -> Result<(Vec<PkgInst>, Vec<String>), Failure> {
    let all: Vec<PkgInst> = all::params_of_all(&RecordView::live(root))?.into_keys().collect();
    let (mut selected, mut missing) = (Vec::new(), Vec::new());
    for pattern in PackageSelection::of(words).patterns {
        let fitting: Vec<&PkgInst> = all.iter().filter(|one| pattern.fits(one.as_str())).collect();
        if fitting.is_empty() {
            missing.push(pattern.to_string());
        }
        for package in fitting {
            if !selected.contains(package) {
                selected.push(package.clone());
            }
        }
    }
    Ok((selected, missing))
}

struct RemoveInput<'a> {
    session: &'a Session<'a>,
    request: &'a RemoveRequest,
    admin: &'a Admin,
    system: &'a SystemScripts,
}

impl RemoveInput<'_> {
    fn plan(
        &self,
        package: &PkgInst,
        observer: &mut dyn PackageObserver,
    ) -> Result<(PlannedRemoval, Inventory), Failure> {
        let (ground, caller) = (&self.session.ground, self.session.caller);

        // Survey owned paths, directories of patches, and dependencies of others.
        let view = RecordView::live(&ground.root);
        let mut touched = Touched::default();
        touched.packages.insert(package.clone());
        let params = installed::params(&view, package)?.unwrap_or_default();
        add_owned(&view, package, &params, &mut touched)?;
        let mut inventory = ground.survey(&touched, caller.interrupt)?;
        let is_kept = inventory.packages.get(package).is_some_and(|known| is_kept_package(&known.params));
        if !is_kept {
            inventory.hide_kept();
        }
        add_depend_files(&view, package, &mut inventory)?;

        // Needed kept libraries go only if the loss was accepted explicitly.
        if is_kept && self.request.shlibs.words != Some(LibraryWords::default()) {
            let look = look_at_kept(ground, (&caller.now, caller.interrupt), true)?;
            let needed = look.libraries.into_iter().filter(|one| one.package == *package);
            let losses: Vec<LibraryLoss> = needed.filter_map(KeptLibraryState::loss).collect();
            if !losses.is_empty() {
                return Err(Reason::LibrariesLost(losses)
                    .shown(&inventory)
                    .of(Command::Pkgrm, package)
                    .into());
            }
        }

        if let Some(installed) = inventory.packages.get(package) {
            observer.removing(package.as_str(), &installed.params);
        }
        let plan = |admin: &Admin, conversation: bool| {
            let scripts = ground.policy.scripts;
            let options = RemoveOptions { admin, conversation, system: self.system, scripts };
            remove(package, &inventory, &options, &caller.now)
        };
        // The scan is more exact than `depend` files.
        let of_kept = is_kept.then(|| Admin { rdepend: CheckAnswer::NoCheck, ..self.admin.clone() });
        let mut intended = plan(of_kept.as_ref().unwrap_or(self.admin), self.request.conversation)?;

        // Scripts do not get libraries that stay.
        let (mut libraries, mut staying) = (None, StayingObjects::new());
        let keeper = LibraryKeeper::new(ground, self.request.shlibs, &caller.now, true);
        let asked = PlanToSettle::of((&intended.plan, &inventory), Command::Pkgrm, Command::Pkgrm.name());
        let settled =
            keeper.ended_by(caller.interrupt).settle(&asked, &mut NoContent, LaterContent::NotAsked)?;
        if let Some(settled) = settled {
            staying = settled.staying();
            for portion in &mut intended.portions {
                portion.objects.retain(|object| !settled.leaves(&object.path));
            }
            libraries = settled.apply_to_plan(&mut intended.plan);
        }

        for warning in &intended.warnings {
            observer.warns(warning);
        }
        if self.request.conversation {
            let questions = answers::open_questions(self.admin, |admin| plan(admin, false));
            if !observer.agrees(package.as_str(), &questions) {
                return Err(Failure::Declined);
            }
        }
        let checks_dependencies = self.admin.rdepend != CheckAnswer::NoCheck;
        let name = package.to_string();
        let removal = PlannedRemoval { name, intended, checks_dependencies, libraries, staying };
        observer.removal_agreed(&removal);
        Ok((removal, inventory))
    }

    fn perform(
        &self,
        package: &PkgInst,
        removal: &PlannedRemoval,
        inventory: Inventory,
        observer: &mut dyn PackageObserver,
        ending: &mut LastingResults,
    ) -> Result<Receipt, Failure> {
        let session = self.session;
        let ground = &session.ground;
        let plan = &removal.intended.plan;
        if !removal.intended.scripts.take_part() {
            // Dropping the inventory frees its memory.
            drop(inventory);
            let receipt = session.perform(plan, &mut NoContent, None, log::of_removal(plan))?;
            for portion in &removal.intended.portions {
                let left = objects_left(&ground.root, portion, plan);
                observer.class_left(&portion.class, &left);
            }
            observer.objects_gone();
            return Ok(receipt);
        }
        let refuse = |reason: Reason| Failure::from(reason.of(Command::Pkgrm, package));
        let installed = inventory.packages.get(package).ok_or_else(|| refuse(Reason::NoSuchPackage))?;
        let base = base_of(&installed.params);
        check_places(ground, package, base.as_ref()).map_err(refuse)?;
        let absolute = needs_absolute_tools_to_go(installed);
        let (interrupt, settings) = (session.caller.interrupt, &self.request.scripts);
        let mut runner = ScriptRunner::open(ground, interrupt, settings, absolute, refuse)?;
        let course = ScriptSchedule::of_removal(&removal.intended, &inventory).map_err(refuse)?;
        check_classes(ground, &course).map_err(refuse)?;
        let scripts = PackageScripts {
            runner: &mut runner,
            context: ScriptContext::new(package.clone(), installed.params.clone(), base),
            ending: LastingResults::default(),
            failed_requests: FailedRequests::Tell,
        };
        let mut copies = safety_copies([&course.concerned]);
        add_objects(&mut copies, removal.staying.keys());
        let package = ScriptedPackage::new(session, &course, None, scripts, observer);
        let (receipt, results) =
            package.perform(plan, &copies, |_| check_staying(&ground.root, &removal.staying))?;
        *ending = results;
        Ok(receipt)
    }
}
