//! Package databases of stage and root: locks, and packages and patches of one side only.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::failure::Failure;
use crate::operation::session::{Caller, RootAndPolicy};
use crate::operation::stages::StageError;
use crate::operation::stages::own_files::Stage;
use patchadm_inputs::database::{OpenRun, RecordView, installed, open_run};
use patchadm_inputs::inventory::{Installed, is_kept_package};
use patchadm_planning::plan::promotion::BroughtPatches;
use patchadm_planning::plan::refusal::{BroughtReason, Command};
use patchadm_rootfs::Lock;
use patchadm_svr4::package::PkgInst;
use patchadm_svr4::patch::{AppliedPatches, PatchId, PatchList};

#[derive(Debug)]
pub(in crate::operation::stages) struct PackageDatabase {
    pub(in crate::operation::stages) packages: BTreeMap<PkgInst, Installed>,
    pub(in crate::operation::stages) applied: AppliedPatches,
    /// Not in `packages`.
    pub(in crate::operation::stages) kept: BTreeMap<PkgInst, Installed>,
}

#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OnlyStaged {
    pub(in crate::operation::stages) patched: BTreeMap<PkgInst, ContinuedList>,
    pub(in crate::operation::stages) new: BTreeMap<PkgInst, Vec<PatchId>>,
}

#[derive(Debug, PartialEq, Eq)]
pub(in crate::operation::stages) struct ContinuedList {
    pub(in crate::operation::stages) patches: Vec<PatchId>,
    /// The root's patches, then new ones.
    pub(in crate::operation::stages) list: Vec<PatchId>,
}

impl PackageDatabase {
    pub(in crate::operation::stages) fn of(ground: &RootAndPolicy) -> Result<Self, Failure> {
        let is_kept = |(_, known): &(PkgInst, Installed)| is_kept_package(&known.params);
        let (kept, packages) = ground.all_packages()?.into_iter().partition(is_kept);
        let applied = ground.recorded(&packages)?;
        Ok(Self { packages, applied, kept })
    }

    pub(in crate::operation::stages) fn with(
        self,
        brought: &BroughtPatches,
        ground: &RootAndPolicy,
    ) -> Result<Self, Failure> {
        let mut packages = self.packages;
        packages.retain(|package, _| !brought.gone.contains(package));
        for (package, of) in &brought.packages {
            let there = packages.remove(package).unwrap_or_default();
            let installed = Installed { params: of.parameters(&there), ..of.staged.clone() };
            packages.insert(package.clone(), installed);
        }
        let applied = ground.recorded(&packages)?;
        Ok(Self { packages, applied, kept: self.kept })
    }

    pub(in crate::operation::stages) fn all(&self) -> BTreeMap<PkgInst, Installed> {
        let all = self.packages.iter().chain(&self.kept);
        all.map(|(package, installed)| (package.clone(), installed.clone())).collect()
    }

    pub(in crate::operation::stages) fn list(&self, package: &PkgInst) -> Vec<PatchId> {
        let known = self.applied.records_of(package);
        known.map(|records: &_| ids(&records.list)).unwrap_or_default()
    }

    fn info(&self, package: &PkgInst, id: &PatchId) -> Option<Vec<u8>> {
        let params = &self.packages.get(package)?.params;
        params.get(&format!("PATCH_INFO_{id}")).map(<[u8]>::to_vec)
    }

    pub(in crate::operation::stages) fn version(&self, package: &PkgInst) -> Option<String> {
        Some(self.packages.get(package)?.params.text("VERSION").into_owned())
    }

    pub(in crate::operation::stages) fn versions(&self) -> BTreeMap<PkgInst, String> {
        let version = |package: &PkgInst| Some((package.clone(), self.version(package)?));
        self.packages.keys().filter_map(version).collect()
    }
}

fn ids(list: &PatchList) -> Vec<PatchId> {
    list.iter().cloned().collect()
}

/// `base` has the versions at the last promotion; `own` are promotions of this stage, which only the root records.
pub(super) fn only_staged(
    (stage, live): (&PackageDatabase, &PackageDatabase),
    base: Option<&BTreeMap<PkgInst, String>>,
    own: &BTreeSet<PatchId>,
) -> Result<OnlyStaged, BroughtReason> {
    let mut found = OnlyStaged::default();
    let removed = base
        .into_iter()
        .flat_map(BTreeMap::keys)
        .find(|package| !stage.packages.contains_key(*package) && live.packages.contains_key(*package));
    if let Some(package) = removed {
        return Err(BroughtReason::PackageRemoved(package.clone()));
    }
    for package in stage.packages.keys() {
        let then = base.and_then(|base| base.get(package));
        if !live.packages.contains_key(package) {
            if then.is_none() {
                found.new.insert(package.clone(), stage.list(package));
            }
            continue;
        }
        must_be_of_version((stage, live), package, then)?;
        if let Some(list) = continued((stage, live), package, own)? {
            found.patched.insert(package.clone(), list);
        }
    }
    Ok(found)
}

/// Refuses a package whose version the stage changed. The root's own change stays.
fn must_be_of_version(
    (stage, live): (&PackageDatabase, &PackageDatabase),
    package: &PkgInst,
    then: Option<&String>,
) -> Result<(), BroughtReason> {
    let (staged, live) = (stage.version(package), live.version(package));
    if staged == live || staged.as_ref() == then {
        return Ok(());
    }
    let (stage, live) = (staged.unwrap_or_default(), live.unwrap_or_default());
    Err(BroughtReason::OtherVersion { package: package.clone(), stage, live })
}

/// `None` if the root has all.
fn continued(
    (stage, live): (&PackageDatabase, &PackageDatabase),
    package: &PkgInst,
    own: &BTreeSet<PatchId>,
) -> Result<Option<ContinuedList>, BroughtReason> {
    let (staged, recorded) = (stage.list(package), live.list(package));
    let new: Vec<PatchId> = staged.iter().filter(|id| !recorded.contains(id)).cloned().collect();
    if new.is_empty() {
        return Ok(None);
    }
    let is_own = |id: &&PatchId| own.contains(*id) && !staged.contains(id);
    let known: Vec<&PatchId> = recorded.iter().filter(|id| !is_own(id)).collect();
    let is_beginning = known.iter().zip(&staged).all(|(known, staged)| *known == staged);
    if known.len() > staged.len() || !is_beginning {
        let live = known.into_iter().filter(|id| !staged.contains(id)).cloned().collect();
        return Err(BroughtReason::NotContinued { package: package.clone(), stage: new, live });
    }
    let differs = |id: &&&PatchId| stage.info(package, id) != live.info(package, id);
    if let Some(patch) = known.iter().find(differs) {
        let patch = PatchId::clone(patch);
        return Err(BroughtReason::OtherRecord { package: package.clone(), patch, stage: new });
    }
    let list = recorded.iter().chain(&new).cloned().collect();
    Ok(Some(ContinuedList { patches: new, list }))
}

/// Returns the root's additional patches of packages without own patches in the stage. `own` are the stage's
/// promotions.
pub(in crate::operation::stages) fn only_live(
    (stage, live): (&PackageDatabase, &PackageDatabase),
    own: &BTreeSet<PatchId>,
) -> BTreeMap<PkgInst, ContinuedList> {
    let continued = |package: &PkgInst| {
        let staged = stage.list(package);
        let is_foreign = |id: &PatchId| staged.contains(id) || !own.contains(id);
        let list: Vec<PatchId> = live.list(package).into_iter().filter(is_foreign).collect();
        let patches = list.strip_prefix(staged.as_slice())?.to_vec();
        let is_same = stage.version(package) == live.version(package)
            && staged.iter().all(|id| stage.info(package, id) == live.info(package, id));
        (is_same && !patches.is_empty()).then(|| (package.clone(), ContinuedList { patches, list }))
    };
    stage
        .packages
        .keys()
        .filter(|package| live.packages.contains_key(*package))
        .filter_map(continued)
        .collect()
}

/// Refuses an unfinished run.
pub(in crate::operation::stages) fn lock_records(
    stage: Option<&Stage>,
    caller: &Caller<'_>,
) -> Result<Option<Lock>, StageError> {
    let Some(stage) = stage.filter(|stage| stage.identity.records) else { return Ok(None) };
    if !installed::has_database(&RecordView::live(&stage.root))
        .map_err(|error| of_records(stage, error.into()))?
    {
        return Ok(None);
    }
    let lock = Lock::take(&stage.root, &caller.name_for_lock(), |holder| (caller.wait)(holder));
    let lock = lock.map_err(Failure::from)?;
    must_be_finished(stage)?;
    Ok(Some(lock))
}

pub(in crate::operation::stages) fn must_be_finished(stage: &Stage) -> Result<(), StageError> {
    refuse_unfinished(stage, |_| true)
}

/// The next refresh rolls back and repeats an unfinished refresh.
pub(in crate::operation::stages) fn must_be_finished_but_for_refresh(
    stage: &Stage,
) -> Result<(), StageError> {
    refuse_unfinished(stage, |run| !is_of_refresh(run))
}

pub(in crate::operation::stages) fn has_run_of_refresh(stage: &Stage) -> Result<bool, StageError> {
    Ok(stage.identity.records && run_of(stage)?.as_ref().is_some_and(is_of_refresh))
}

fn run_of(stage: &Stage) -> Result<Option<OpenRun>, StageError> {
    open_run(&stage.root).map_err(|error| of_records(stage, error.into()))
}

fn of_records(stage: &Stage, failure: Failure) -> StageError {
    StageError::RecordsOfStage { stage: stage.root.prefix().display().to_string(), failure: failure.into() }
}

fn is_of_refresh(run: &OpenRun) -> bool {
    run.command == Command::Refresh.name()
}

fn refuse_unfinished(stage: &Stage, is_refused: impl Fn(&OpenRun) -> bool) -> Result<(), StageError> {
    if !stage.identity.records {
        return Ok(());
    }
    match run_of(stage)?.filter(is_refused) {
        Some(run) => {
            let stage = stage.root.prefix().display().to_string();
            Err(StageError::UnfinishedRun { stage, run: run.name })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_svr4::package::Params;
    use patchadm_svr4::patch::PatchRecords;

    /// Each package has a version and patches, recorded by date.
    fn database(packages: &[(&str, &str, &[&str])]) -> PackageDatabase {
        let mut all = BTreeMap::new();
        for (name, version, patches) in packages {
            let mut params = Params::new();
            params.set("VERSION", *version);
            params.set("PATCHLIST", patches.join(" "));
            for patch in *patches {
                params.set(format!("PATCH_INFO_{patch}").as_str(), "Installed: today From: mum");
            }
            all.insert(PkgInst::new(name).unwrap(), Installed { params, ..Installed::default() });
        }
        let records = all
            .iter()
            .map(|(package, installed)| PatchRecords::from_params(package, &installed.params, "-").unwrap());
        PackageDatabase {
            applied: AppliedPatches::new(records.collect()),
            packages: all,
            kept: BTreeMap::new(),
        }
    }

    fn compared(
        stage: &[(&str, &str, &[&str])],
        live: &[(&str, &str, &[&str])],
        base: &[(&str, &str)],
    ) -> Result<(String, String), BroughtReason> {
        let base = base.iter().map(|(name, version)| (PkgInst::new(name).unwrap(), (*version).to_owned()));
        let own = BTreeSet::from([PatchId::new("web-01").unwrap()]);
        let found = only_staged((&database(stage), &database(live)), Some(&base.collect()), &own)?;
        let words = |ids: &[PatchId]| ids.iter().map(PatchId::as_str).collect::<Vec<_>>().join(" ");
        let patched =
            found.patched.values().map(|list| format!("{}: {}", words(&list.patches), words(&list.list)));
        let new = found.new.iter().map(|(package, ids)| format!("{package}{}", words(ids)));
        Ok((patched.collect(), new.collect()))
    }

    #[test]
    fn what_follows_on_the_patches_of_the_root_comes() {
        let found = compared(&[("A", "1", &["1-01", "2-01"])], &[("A", "1", &["1-01"])], &[("A", "1")]);
        assert_eq!(found.unwrap().0, "2-01: 1-01 2-01");
        let found =
            compared(&[("A", "1", &["1-01", "2-01"])], &[("A", "1", &["1-01", "web-01"])], &[("A", "1")]);
        assert_eq!(
            found.unwrap().0,
            "2-01: 1-01 web-01 2-01",
            "the promotions of the stage are none of its patches"
        );
        let found = compared(&[("A", "1", &["1-01"])], &[("A", "1", &["1-01", "2-01"])], &[("A", "1")]);
        assert_eq!(found.unwrap().0, "", "what only the root has stays");
    }

    #[test]
    fn what_does_not_follow_is_refused() {
        let refused = |stage: &[&str], live: &[&str]| {
            compared(&[("A", "1", stage)], &[("A", "1", live)], &[("A", "1")]).unwrap_err().to_string()
        };
        assert!(refused(&["2-01"], &["1-01"]).ends_with("only the stage has 2-01, only the root 1-01"));
        assert!(refused(&["2-01", "1-01"], &["1-01"]).ends_with("the stage has 2-01 in between"));
    }

    #[test]
    fn packages_are_new_removed_or_of_another_version_by_what_the_base_says() {
        let one = [("A", "1", &[][..])];
        assert_eq!(compared(&one, &[], &[]).unwrap().1, "A");
        assert_eq!(compared(&one, &[], &[("A", "1")]).unwrap().1, "", "the root has removed it");
        assert_eq!(compared(&[("A", "1", &["1-01"])], &[], &[]).unwrap().1, "A1-01", "with its patches");
        assert!(matches!(compared(&[], &one, &[("A", "1")]), Err(BroughtReason::PackageRemoved(_))));
        assert!(compared(&[], &one, &[]).is_ok(), "the root has installed it since");
        let two = [("A", "2", &[][..])];
        assert!(matches!(compared(&two, &one, &[("A", "1")]), Err(BroughtReason::OtherVersion { .. })));
        assert!(compared(&one, &two, &[("A", "1")]).is_ok());
    }
}
