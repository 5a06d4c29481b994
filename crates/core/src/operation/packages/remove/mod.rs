//! `pkgrm`: installed packages are removed one after another, each a run of its own.

use std::path::PathBuf;

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::libraries::{KeptLibraryState, LibraryRequest, look_at_kept};
use crate::operation::libraries::{LaterContent, LibraryKeeper, PlanToSettle};
use crate::operation::log;
use crate::operation::packages::answers::{self, AdminFile};
use crate::operation::packages::belongings::{add_depend_files, add_owned};
use crate::operation::packages::left_objects::objects_left;
use crate::operation::packages::observer::PackageObserver;
use crate::operation::packages::report::{
    PackagesReport, PlannedRemoval, RemovedPackage, leaves_root_usable,
};
use crate::operation::queries::select::PackageSelection;
use crate::operation::run::{BatchEnd, RunPlanner, run_all};
use crate::operation::scripts::ScriptSettings;
use crate::operation::scripts::failure::LastingResults;
use crate::operation::scripts::staying_libraries::StayingObjects;
use crate::operation::scripts::system::system_scripts;
use crate::operation::session::{Caller, RootAndPolicy, Session, may_change, must_agree, must_have_database};
use crate::operation::trial::begin::begin_change;
use patchadm_changeset::transaction::Receipt;
use patchadm_inputs::database::{RecordView, all, installed};
use patchadm_inputs::inventory::{Inventory, Touched, is_kept_package};
use patchadm_inputs::policy::LibraryWords;
use patchadm_planning::plan::kept_libraries::LibraryReport;
use patchadm_planning::plan::package::remove::{IntendedRemoval, RemoveOptions, remove};
use patchadm_planning::plan::refusal::{Command, LibraryLoss, Reason};
use patchadm_planning::plan::scripts::SystemScripts;
use patchadm_rootfs::Root;
use patchadm_svr4::format::admin::{Admin, CheckAnswer};
use patchadm_svr4::package::PkgInst;

mod with_scripts;

use with_scripts::remove_with_scripts;

/// The options and operands of pkgrm(1M).
#[derive(Clone, Debug, Default)]
pub struct RemoveRequest {
    /// The selected packages: names, `PKG.*`.
    pub packages: Vec<String>,
    /// The admin file: a path, a name below `var/sadm/install/admin` of the root, or `none`.
    pub admin: Option<PathBuf>,
    /// Whether somebody is asked, about each package. If not, the request counts as confirmed.
    pub conversation: bool,
    /// The settings of scripts.
    pub scripts: ScriptSettings,
    /// What becomes of libraries that others need.
    pub shlibs: LibraryRequest,
}

/// Removes packages. An error is one of the root as a whole; what is wrong with one package is in its part of the
/// report, and the others are tried nevertheless.
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
    let wanted = if missing.is_empty() { selected } else { Vec::new() };
    let packages = run_all(&mut RemovePlanner { input: &input, wanted: &wanted, observer });
    Ok(PackagesReport { recovered: session.recovered, unknown_answers: unknown, missing, packages })
}

/// Finds the installed packages that are meant, in the order in which they were named, and the words that fit none.
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

/// The input of the planner, beside the package itself.
struct RemoveInput<'a> {
    session: &'a Session<'a>,
    request: &'a RemoveRequest,
    admin: &'a Admin,
    /// The class action scripts that are there for all packages.
    system: &'a SystemScripts,
}

impl RemoveInput<'_> {
    fn prepare(
        &self,
        package: &PkgInst,
        inventory: &Inventory,
        observer: &mut dyn PackageObserver,
    ) -> Result<PlannedRemoval, Failure> {
        if let Some(installed) = inventory.packages.get(package) {
            observer.removing(package.as_str(), &installed.params);
        }
        let now = &self.session.caller.now;
        let plan = |admin: &Admin, conversation: bool| {
            let scripts = self.session.ground.policy.scripts;
            let options = RemoveOptions { admin, conversation, system: self.system, scripts };
            remove(package, inventory, &options, now)
        };
        // Who needs kept libraries was asked already, and more exactly than by `depend` files.
        let kept = inventory.packages.get(package).filter(|known| is_kept_package(&known.params));
        let of_kept = kept.map(|_| Admin { rdepend: CheckAnswer::NoCheck, ..self.admin.clone() });
        let mut intended = plan(of_kept.as_ref().unwrap_or(self.admin), self.request.conversation)?;
        let (libraries, staying) = self.settle_libraries(inventory, &mut intended)?;
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
        Ok(PlannedRemoval { name: package.to_string(), intended, checks_dependencies, libraries, staying })
    }

    /// Settles what becomes of libraries that others need; those that stay are no matter of scripts.
    fn settle_libraries(
        &self,
        inventory: &Inventory,
        intended: &mut IntendedRemoval,
    ) -> Result<(Option<LibraryReport>, StayingObjects), Failure> {
        let (ground, now) = (&self.session.ground, &self.session.caller.now);
        let keeper = LibraryKeeper::new(ground, self.request.shlibs, now, true);
        let mut keeper = keeper.ended_by(self.session.caller.interrupt);
        let asked = PlanToSettle::of((&intended.plan, inventory), Command::Pkgrm, Command::Pkgrm.name());
        let Some(settled) = keeper.settle(&asked, &mut NoContent, LaterContent::NotAsked)? else {
            return Ok((None, StayingObjects::new()));
        };
        let staying = settled.staying();
        for portion in &mut intended.portions {
            portion.objects.retain(|object| !settled.leaves(&object.path));
        }
        Ok((settled.apply_to_plan(&mut intended.plan), staying))
    }

    /// Refuses a package of kept libraries that somebody needs, unless their loss was accepted in so many words.
    fn may_go(&self, package: &PkgInst, inventory: &Inventory) -> Result<(), Failure> {
        let is_accepted = self.request.shlibs.words == Some(LibraryWords::default());
        let Some(installed) = inventory.packages.get(package).filter(|_| !is_accepted) else { return Ok(()) };
        if !is_kept_package(&installed.params) {
            return Ok(());
        }
        let ground = &self.session.ground;
        let look = look_at_kept(ground, (&self.session.caller.now, self.session.caller.interrupt), true)?;
        let needed = look.libraries.into_iter().filter(|one| one.package == *package);
        let losses: Vec<LibraryLoss> = needed.filter_map(KeptLibraryState::loss).collect();
        if losses.is_empty() {
            return Ok(());
        }
        Err(Reason::LibrariesLost(losses).shown(inventory).of(Command::Pkgrm, package).into())
    }

    /// Plans the removal of a package; with what it was planned.
    fn planned(
        &self,
        package: &PkgInst,
        observer: &mut dyn PackageObserver,
    ) -> Result<(PlannedRemoval, Inventory), Failure> {
        let inventory = survey(self.session, package)?;
        self.may_go(package, &inventory)?;
        let removal = self.prepare(package, &inventory, observer)?;
        observer.removal_agreed(&removal);
        Ok((removal, inventory))
    }

    /// Removes a package as it was planned.
    fn remove(
        &self,
        package: &PkgInst,
        (removal, inventory): (&PlannedRemoval, Inventory),
        observer: &mut dyn PackageObserver,
    ) -> Result<(Receipt, LastingResults), Failure> {
        let session = self.session;
        if removal.intended.scripts.take_part() {
            let settings = &self.request.scripts;
            return remove_with_scripts(session, settings, package, removal, &inventory, observer);
        }
        // The plan is all that is needed from here.
        drop(inventory);
        let plan = &removal.intended.plan;
        let receipt = session.perform(plan, &mut NoContent, None, log::of_removal(plan))?;
        for portion in &removal.intended.portions {
            let left = objects_left(&session.ground.root, portion, plan);
            observer.class_left(&portion.class, &left);
        }
        observer.objects_gone();
        Ok((receipt, LastingResults::default()))
    }
}

/// The packages that go, each a run of its own.
struct RemovePlanner<'p, 'a> {
    input: &'p RemoveInput<'a>,
    wanted: &'p [PkgInst],
    observer: &'p mut dyn PackageObserver,
}

impl RunPlanner for RemovePlanner<'_, '_> {
    type Batch = Result<(PlannedRemoval, Inventory), Failure>;
    type Outcome = RemovedPackage;

    fn count(&self) -> usize {
        self.wanted.len()
    }

    fn plan(&mut self, taken: usize) -> Self::Batch {
        let package = self.wanted.get(taken).ok_or(Failure::Declined)?;
        self.input.planned(package, self.observer)
    }

    fn carry_out(&mut self, taken: usize, planned: Self::Batch) -> BatchEnd<RemovedPackage> {
        let Some(package) = self.wanted.get(taken) else { return BatchEnd::Last(Vec::new()) };
        let mut ending = LastingResults::default();
        let (removal, result) = match planned {
            Err(failure) => (None, Err(failure)),
            Ok((removal, inventory)) => {
                let done = self.input.remove(package, (&removal, inventory), self.observer);
                let result = done.map(|(receipt, left)| {
                    ending = left;
                    receipt
                });
                (Some(removal), result)
            }
        };
        let removed = RemovedPackage { name: package.to_string(), removal, result, ending };
        self.observer.removed(&removed);
        let goes_on = removed.result.as_ref().err().is_none_or(leaves_root_usable);
        BatchEnd::of_one(removed, goes_on)
    }
}

/// Surveys everything that the package owns, the directories of its patches, and what the others depend on.
fn survey(session: &Session<'_>, package: &PkgInst) -> Result<Inventory, Failure> {
    let view = RecordView::live(&session.ground.root);
    let mut touched = Touched::default();
    touched.packages.insert(package.clone());
    let params = installed::params(&view, package)?.unwrap_or_default();
    add_owned(&view, package, &params, &mut touched)?;
    let mut inventory = session.ground.survey(&touched, session.caller.interrupt)?;
    let is_kept = inventory.packages.get(package).is_some_and(|known| is_kept_package(&known.params));
    if !is_kept {
        inventory.hide_kept();
    }
    add_depend_files(&view, package, &mut inventory)?;
    Ok(inventory)
}
