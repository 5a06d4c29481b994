//! `patchrm`: patches are taken back, each a run of its own, from their verified undo archives.

mod undo;
mod with_scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use crate::database::archive::{self, ArchiveError, Digesting};
use crate::database::{View, installed, places, saves};
use crate::format::ledger::Ledger;
use crate::format::manifest::Manifest;
use crate::inventory::{Installed, Inventory, Touched};
use crate::operation::content::Archives;
use crate::operation::failure::Failure;
use crate::operation::patch_scripts::{Installing, PatchScriptRequest, kept};
use crate::operation::patches::later_patches::{self, LaterPatches};
use crate::operation::patches::ledgers::Ledgers;
use crate::operation::session::{Caller, Ground, Session, may_change, must_have_database, without_lock};
use crate::package::{PkgInst, ScriptPolicy};
use crate::patch::{AppliedPatches, PatchId, PatchList};
use crate::plan::Plan;
use crate::plan::back_out::{Archive, BackOutOptions, back_out, may_back_out};
use crate::plan::engine::{BACKING_OUT, PlannedScript, ScriptChoice};
use crate::plan::install::OfPatch;
use crate::plan::occasion::Occasion;
use crate::plan::parts::Scripted;
use crate::root::Root;
use crate::transaction::{Receipt, Recovered};
use with_scripts::Backout;

pub(in crate::operation) mod played;

use undo::{Reading, Undo, must_be_whole};

/// What patchrm(1M) was asked for.
#[derive(Clone, Debug, Default)]
pub struct BackOutRequest {
    /// The ids, as they were typed.
    pub ids: Vec<String>,
    /// Although superseded or obsoleted.
    pub force: bool,
    /// Where the undo archives are, when they were moved.
    pub moved_to: Option<PathBuf>,
    /// Plan only; nothing is changed.
    pub dry_run: bool,
    /// Which scripts run, and how.
    pub scripts: PatchScriptRequest,
}

/// What became of one patch.
#[derive(Debug)]
pub struct BackedOut {
    /// Its id.
    pub id: String,
    /// The plan; none where it was refused.
    pub plan: Option<Plan>,
    /// The scripts that run.
    pub scripts: Vec<PlannedScript>,
    /// What was done, or why not. With `dry_run` a plan without a receipt is a success.
    pub result: Result<Option<Receipt>, Failure>,
}

/// What became of all of them.
#[derive(Debug)]
pub struct BackOutReport {
    /// What recovery found before anything else.
    pub recovered: Recovered,
    /// Patch by patch, in the order in which they were taken.
    pub patches: Vec<BackedOut>,
}

/// Backs patches out. An error is one of the root as a whole; what is wrong with one patch is in its part of the
/// report, and the patches behind it are not tried.
pub fn back_out_patches(
    root: &Root,
    request: &BackOutRequest,
    caller: &Caller<'_>,
) -> Result<BackOutReport, Failure> {
    if !request.dry_run {
        may_change(root)?;
    }
    let ground = Ground::of(root)?;
    let ids = request.ids.iter().map(|id| {
        PatchId::parse(id, &ground.policy.separator).map_err(|error| Failure::BadId(error.to_string()))
    });
    let ids: Vec<PatchId> = ids.collect::<Result<_, _>>()?;
    must_have_database(root)?;
    if request.dry_run {
        let at = Place::of(&ground, request, &caller.occasion)?;
        let planned = |id| match at.plan(id) {
            Ok((scripted, ..)) => BackedOut::of(id, Some(scripted), Ok(None)),
            Err(failure) => BackedOut::of(id, None, Err(failure)),
        };
        let patches = without_lock(root, || Ok(ids.iter().map(planned).collect()))?;
        return Ok(BackOutReport { recovered: Recovered::Nothing, patches });
    }
    let session = Session::begin(ground.naming(request.moved_to.as_deref()), caller)?;
    let ids = dependents_first(&session, ids)?;
    if let Some(unusable) = Place::of(&session.ground, request, &caller.occasion)?.unusable(&ids)? {
        return Ok(BackOutReport { recovered: session.recovered, patches: vec![unusable] });
    }
    let mut patches = Vec::new();
    for id in &ids {
        let at = Place::of(&session.ground, request, &caller.occasion)?;
        let backed_out = one(&session, &at, id);
        let failed = backed_out.result.is_err();
        patches.push(backed_out);
        if failed {
            break;
        }
    }
    Ok(BackOutReport { recovered: session.recovered, patches })
}

/// Undo archives that were verified already, by package and save directory: their manifests.
pub(in crate::operation) type KnownArchives = BTreeMap<(PkgInst, String), Option<Manifest>>;

/// Whether each of these patches could be backed out as things are: it is planned, and nothing is changed. The caller
/// has one steady state of the root; the archives in `known` are not verified once more.
pub(in crate::operation) fn rehearse(
    ground: &Ground,
    ids: &[PatchId],
    known: KnownArchives,
    undo_dir: Option<&Path>,
    occasion: &Occasion,
) -> Result<Vec<Result<(), Failure>>, Failure> {
    let request =
        BackOutRequest { dry_run: true, moved_to: undo_dir.map(Path::to_owned), ..BackOutRequest::default() };
    let place = Place { known, ..Place::of(ground, &request, occasion)? };
    Ok(ids.iter().map(|id| place.plan(id).map(drop)).collect())
}

/// Puts patches that require others of the command before those, and later applied ones before earlier ones.
fn dependents_first(session: &Session<'_>, mut ids: Vec<PatchId>) -> Result<Vec<PatchId>, Failure> {
    let applied = installed::applied(&View::live(&session.ground.root), &session.ground.policy.separator)?;
    let place = |id: &PatchId| {
        applied
            .packages()
            .iter()
            .filter_map(|package| package.list.iter().position(|other| other == id))
            .max()
    };
    ids.sort_by_key(|id| std::cmp::Reverse(place(id)));
    ids = later_patches::latest_run_first(&View::live(&session.ground.root), &applied, ids);
    Ok(crate::operation::patches::order::in_order(ids, |id| (Some(id.clone()), needed_by(&applied, id))))
}

/// The patches that require `id`: for the order of removal they are what has to go first.
fn needed_by(applied: &AppliedPatches, id: &PatchId) -> Vec<PatchId> {
    applied.dependents_after_removal(id).into_iter().map(|unmet| unmet.patch).collect()
}

fn one(session: &Session<'_>, at: &Place<'_>, id: &PatchId) -> BackedOut {
    let (scripted, undo, inventory) = match at.plan(id) {
        Ok(planned) => planned,
        Err(failure) => return BackedOut::of(id, None, Err(failure)),
    };
    if scripted.has_scripts() {
        let backout = Backout {
            archives: undo.iter().map(|one| &one.device).collect(),
            restored_from: undo.iter().map(Undo::restored_from).collect(),
            plan: &|| at.plan(id).map(|(scripted, _, inventory)| (scripted, inventory)),
            directory: at.directory(id),
        };
        let patch = OfPatch { id: id.to_string(), is_saved: false, is_applied: false };
        let installing = Installing::new(&at.request.scripts, at.choice.clone(), patch);
        let (scripted, result) = with_scripts::back_out(session, &installing, &backout, scripted, inventory);
        return BackedOut::of(id, Some(scripted), result.map(Some));
    }
    drop(inventory);
    let mut content = Archives(undo.iter().map(|one| one.restored_from().content()).collect());
    let plan = &scripted.plan;
    let text = crate::operation::log::of_backout(plan);
    let result = session.perform(plan, &mut content, None, text).map(Some);
    BackedOut::of(id, Some(scripted), result)
}

impl BackedOut {
    fn of(id: &PatchId, scripted: Option<Scripted>, result: Result<Option<Receipt>, Failure>) -> Self {
        let scripts = scripted.as_ref().map(Scripted::scripts).unwrap_or_default();
        Self { id: id.to_string(), plan: scripted.map(|scripted| scripted.plan), scripts, result }
    }
}

/// Where a backout is planned.
struct Place<'a> {
    ground: &'a Ground,
    request: &'a BackOutRequest,
    occasion: &'a Occasion,
    choice: ScriptChoice,
    known: KnownArchives,
    /// The ledgers of packages, read once.
    ledgers: Ledgers,
}

impl<'a> Place<'a> {
    fn of(ground: &'a Ground, request: &'a BackOutRequest, occasion: &'a Occasion) -> Result<Self, Failure> {
        let choice = request.scripts.choice(ground)?;
        Ok(Self {
            ground,
            request,
            occasion,
            choice,
            known: KnownArchives::new(),
            ledgers: Ledgers::default(),
        })
    }

    /// The first of several patches whose undo data cannot be used, so that none of them is touched. Of one patch
    /// alone, and of one that is not applied, the plan says it.
    fn unusable(&self, ids: &[PatchId]) -> Result<Option<BackedOut>, Failure> {
        if ids.len() < 2 {
            return Ok(None);
        }
        let rules = self.survey(self.ground.packages()?, &Touched::default())?;
        let view = View::live(&self.ground.root);
        let applied = installed::applied(&view, &self.ground.policy.separator)?;
        for id in ids {
            for package in applied.get(id).map(|patch| &patch.packages[..]).unwrap_or_default() {
                let archive = self.archive(package, &installed::saved_as(&view, package, id)?);
                if let Err(error) = archive.and_then(|archive| must_be_whole(&archive, &view, &rules.marker))
                {
                    return Ok(Some(BackedOut::of(id, None, Err(error.into()))));
                }
            }
        }
        Ok(None)
    }

    fn archive(&self, package: &PkgInst, patch: &str) -> Result<archive::Archive, ArchiveError> {
        let view = View::live(&self.ground.root);
        let outside = self.ground.outside.with(self.request.moved_to.as_deref());
        archive::find_with(&view, &self.ground.host, package, patch, &*self.ledger(package)?, &outside)
    }

    fn ledger(&self, package: &PkgInst) -> Result<Rc<Ledger>, ArchiveError> {
        self.ledgers.of(&View::live(&self.ground.root), package)
    }

    /// The directory of a patch in the database, as the host has it.
    fn directory(&self, id: &PatchId) -> PathBuf {
        let path = places::patches().join(id.as_str().as_bytes()).unwrap_or_else(|_| places::patches());
        PathBuf::from(self.ground.root.show(&path))
    }

    /// The scripts of the patch itself that were copied there.
    fn hooks(&self, id: &PatchId) -> Result<BTreeSet<String>, Failure> {
        let Ok(path) = places::patches().join(id.as_str().as_bytes()) else { return Ok(BTreeSet::new()) };
        let names = self.ground.root.list(&path)?.unwrap_or_default();
        Ok(names.into_iter().filter_map(|name| String::from_utf8(name).ok()).collect())
    }

    /// Refuses scripts of the patch itself that may not run, where the policy lets any; what is to be said of the others.
    fn about_hooks(&self, id: &PatchId, hooks: &BTreeSet<String>) -> Result<Vec<String>, Failure> {
        if self.choice.policy != ScriptPolicy::Run {
            return Ok(Vec::new());
        }
        let here = BACKING_OUT.into_iter().filter(|name| hooks.contains(*name));
        let told: Vec<Option<String>> =
            here.map(|name| kept::may_run(self.ground, id, name)).collect::<Result<_, _>>()?;
        Ok(told.into_iter().flatten().collect())
    }

    /// Plans the backout of a patch. Meanwhile threads see whether its archives are what was written; if one is not, that
    /// is what is told, whatever else stands against it.
    fn plan(&self, id: &PatchId) -> Result<(Scripted, Vec<Undo>, Inventory), Failure> {
        let mut digesting = Vec::new();
        let planned = self.plan_meanwhile(id, &mut digesting);
        digesting.into_iter().try_for_each(Digesting::wait)?;
        planned
    }

    fn plan_meanwhile(
        &self,
        id: &PatchId,
        digesting: &mut Vec<Digesting>,
    ) -> Result<(Scripted, Vec<Undo>, Inventory), Failure> {
        let hooks = self.hooks(id)?;
        let mut options = BackOutOptions {
            force: self.request.force,
            scripts: self.choice.clone(),
            notes: self.about_hooks(id, &hooks)?,
            hooks,
            ..BackOutOptions::default()
        };
        let mut rules = self.rules(id)?;
        let packages = may_back_out(id, &rules, &self.ground.policy, &options)?;
        let mut touched = Touched::default();
        let mut undo = Vec::new();
        let mut reading = Reading {
            root: &self.ground.root,
            outside: self.ground.outside.with(self.request.moved_to.as_deref()),
            marker: &rules.marker,
            digesting,
        };
        for package in &packages {
            let name = installed::saved_as(&View::live(&self.ground.root), package, id)?;
            let known = self.known.get(&(package.clone(), name.clone()));
            let one = reading.undo(package, self.archive(package, &name)?, known)?;
            match (&one.manifest, rules.packages.get(package), one.device.image.packages.first()) {
                (Some(manifest), _, _) => touched.by_backout(package, manifest),
                (None, Some(installed), Some(image)) => {
                    touched.by_foreign_backout(package, &name, image, &installed.params);
                }
                _ => {}
            }
            undo.push(one);
        }
        rules.packages.values_mut().for_each(|installed| installed.saves.clear());
        let inventory = self.survey(rules.packages, &touched)?;
        let manifests: Vec<&Manifest> = undo.iter().filter_map(|one| one.manifest.as_ref()).collect();
        self.ask_later(id, &packages, &inventory, &manifests, &mut options)?;
        options.notes.extend(undo.iter().filter_map(|one| one.stays.clone()));
        let archives: Vec<Archive<'_>> = undo.iter().filter_map(Undo::as_archive).collect();
        let plan = back_out(id, &archives, &inventory, &self.ground.policy, &options, self.occasion)?;
        Ok((plan, undo, inventory))
    }

    /// Reads what later patches have, of these packages and of others.
    fn ask_later(
        &self,
        id: &PatchId,
        packages: &[PkgInst],
        inventory: &Inventory,
        manifests: &[&Manifest],
        options: &mut BackOutOptions,
    ) -> Result<(), Failure> {
        let ledger = &|package: &PkgInst| self.ledger(package);
        let (view, separator) = (View::live(&self.ground.root), &self.ground.policy.separator);
        let outside = self.ground.outside.with(None);
        let manifest = &|package: &PkgInst, patch: &str| {
            let ledger = self.ledger(package).ok()?;
            archive::known_manifest(&view, &self.ground.host, package, patch, &ledger, &outside).ok()?
        };
        let later = LaterPatches { separator, inventory, ledger, manifest, id, packages };
        options.later = later.of_packages()?;
        options.elsewhere = later.elsewhere(manifests)?;
        Ok(())
    }

    /// What the rules ask about: every package, and the save directories of those that have the patch.
    fn rules(&self, id: &PatchId) -> Result<Inventory, Failure> {
        let mut rules = self.survey(self.ground.packages()?, &Touched::default())?;
        for (package, installed) in &mut rules.packages {
            let list = PatchList::parse(&installed.params.text("PATCHLIST"), &self.ground.policy.separator);
            if list.is_ok_and(|list| list.contains(id)) {
                let view = View::live(&self.ground.root);
                installed.saves = saves::saves(&view, package)?;
                installed.interruption = installed::interruption(&view, package)?;
            }
        }
        Ok(rules)
    }

    fn survey(
        &self,
        packages: BTreeMap<PkgInst, Installed>,
        touched: &Touched,
    ) -> Result<Inventory, Failure> {
        self.ground.survey_with(packages, touched, self.request.moved_to.as_deref())
    }
}
