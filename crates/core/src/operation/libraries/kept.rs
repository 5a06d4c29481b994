//! Kept libraries: their users, the patches they lack, and removal. A kept library counts against every effective patch
//! of its package, except those it contains (`KEPT_PATCHES`) and those that changed no library. If undo data does not
//! tell, the patch counts: a false report is better than a missing one.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Serialize, Serializer};

use crate::operation::content::NoContent;
use crate::operation::failure::Failure;
use crate::operation::libraries::decision::{Decided, DecisionInput, NeededLibraries, PlanToSettle};
use crate::operation::libraries::library_state::{LibraryState, ScannedRoot};
use crate::operation::libraries::planned::{PhysicalPaths, PlannedFiles};
use crate::operation::session::{Caller, RootAndPolicy, must_agree, must_have_database, without_lock};
use crate::operation::trial::begin_change;
use patchadm_changeset::format::escaped::each_as_text;
use patchadm_changeset::format::manifest::{ArchivedPaths, ObjectRecord, decode};
use patchadm_changeset::transaction::{Receipt, Recovered};
use patchadm_inputs::database::installed::SavedNames;
use patchadm_inputs::database::{DatabaseError, RecordView, contents, ledger, places};
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::inventory::{Installed, Inventory, KEPT_FROM, KeptLibraries, Touched, is_kept_package};
use patchadm_inputs::policy::LibraryWords;
use patchadm_libraries::decision::misled_by;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::{
    CONSUMERS, KeptLibrary, ToldConsumer, first_consumers, is_named_as_kept, way_of_needing,
};
use patchadm_planning::plan::refusal::{Command, LibraryLoss};
use patchadm_planning::plan::{Plan, space};
use patchadm_rootfs::{Interrupt, LiveKind, Root, never};
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatch, AppliedPatches, PatchId};

#[derive(Clone, Debug, Default)]
pub struct KeptRequest {
    /// All if empty.
    pub packages: Vec<String>,
    /// Remove libraries that are missing or unneeded.
    pub prune: bool,
    pub dry_run: bool,
}

#[derive(Debug, Default)]
pub struct KeptReport {
    pub look: KeptLook,
    /// Removed, or would be.
    pub pruned: Vec<KeptLibraryState>,
    pub receipt: Option<Receipt>,
    pub recovered: Recovered,
    /// Names of unknown packages.
    pub unknown: Vec<String>,
    /// Tells what stays because a package of dpkg or rpm owns it now.
    pub notes: Vec<String>,
}

pub fn kept_packages(root: &Root, request: &KeptRequest, caller: &Caller<'_>) -> Result<KeptReport, Failure> {
    must_have_database(root)?;
    let ground = RootAndPolicy::of(root)?;
    let when = (&caller.now, caller.interrupt);
    if !request.prune || request.dry_run {
        return without_lock(root, || shown(&ground, request, when));
    }
    let session = begin_change(ground, caller)?;
    must_agree(root, caller.interrupt, |_| false)?;
    let packages = match named(request, &look_at_kept(&session.ground, when, true)?) {
        Ok(packages) => packages,
        Err(unknown) => return Ok(KeptReport { unknown, ..KeptReport::default() }),
    };
    let (look, planned) = plan_to_prune(&session.ground, when, &packages, true)?;
    let mut report = KeptReport { look, ..KeptReport::default() };
    if let Some(planned) = planned {
        report.receipt = Some(session.perform(&planned.plan, &mut NoContent, None, String::new())?);
        (report.pruned, report.notes) = (planned.pruned, planned.plan.notes);
    }
    Ok(KeptReport { recovered: session.recovered, ..report })
}

fn shown(
    ground: &RootAndPolicy,
    request: &KeptRequest,
    when: (&Now, Interrupt<'_>),
) -> Result<KeptReport, Failure> {
    let mut look = look_at_kept(ground, when, false)?;
    let packages = match named(request, &look) {
        Ok(packages) => packages,
        Err(unknown) => return Ok(KeptReport { unknown, ..KeptReport::default() }),
    };
    let mut report = KeptReport::default();
    if request.prune {
        let (_, planned) = plan_to_prune(ground, when, &packages, false)?;
        if let Some(planned) = planned {
            (report.pruned, report.notes) = (planned.pruned, planned.plan.notes);
        }
    }
    let is_meant = |package: &PkgInst| packages.is_empty() || packages.contains(package);
    look.libraries.retain(|library| is_meant(&library.package));
    look.packages.retain(|package, _| is_meant(package));
    Ok(KeptReport { look, ..report })
}

fn named(request: &KeptRequest, look: &KeptLook) -> Result<Vec<PkgInst>, Vec<String>> {
    let find = |name: &String| look.packages.keys().find(|package| package.as_str() == name);
    let unknown: Vec<String> = request.packages.iter().filter(|name| find(name).is_none()).cloned().collect();
    if !unknown.is_empty() {
        return Err(unknown);
    }
    Ok(request.packages.iter().filter_map(find).cloned().collect())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptState {
    Needed,
    Unneeded,
    /// Differs from the kept object.
    Changed,
    Missing,
}

impl KeptState {
    pub fn word(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Unneeded => "unneeded",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

impl Serialize for KeptState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

/// Or a kept dangling link.
#[derive(Clone, Debug, Serialize)]
pub struct KeptLibraryState {
    #[serde(skip)]
    pub package: PkgInst,
    /// SONAME, or file name.
    pub name: String,
    /// With links that lead to it.
    #[serde(serialize_with = "each_as_text")]
    pub paths: Vec<ObjectPath>,
    pub bytes: u64,
    pub state: KeptState,
    /// Files and processes.
    #[serde(serialize_with = "first_consumers")]
    pub consumers: Vec<ToldConsumer>,
    /// Objects that find it instead of an equivalent library.
    #[serde(skip)]
    pub misled: Vec<ObjectPath>,
}

impl KeptLibraryState {
    pub(super) fn kept(&self, look: &KeptLook) -> KeptLibrary {
        KeptLibrary {
            package: self.package.clone(),
            from: Some(look.from(&self.package)),
            library: self.name.clone(),
            paths: self.paths.clone(),
            bytes: self.bytes,
            consumers: self.consumers.clone(),
        }
    }

    /// `None` if nothing needs it.
    pub fn loss(self) -> Option<LibraryLoss> {
        (!self.consumers.is_empty()).then(|| LibraryLoss {
            library: self.name,
            missing: Vec::new(),
            why: "it is kept for it",
            consumers: self.consumers.into_iter().map(|consumer| consumer.path).collect(),
        })
    }
}

#[derive(Clone, Debug, Default)]
pub struct KeptLook {
    pub packages: BTreeMap<PkgInst, Params>,
    pub libraries: Vec<KeptLibraryState>,
    /// Examined programs and libraries.
    pub scanned: u64,
    /// Directories that were not entered.
    pub skipped: Vec<ObjectPath>,
}

impl KeptLook {
    /// Returns the original package of a kept package's libraries.
    pub fn from(&self, package: &PkgInst) -> String {
        let params = self.packages.get(package);
        params.map(|params| params.text(KEPT_FROM).into_owned()).unwrap_or_default()
    }
}

/// Unneeded objects, and a plan to remove them; `None` if there are none.
pub(in crate::operation) struct PrunePlan {
    pub(in crate::operation) plan: Plan,
    pub(in crate::operation) pruned: Vec<KeptLibraryState>,
}

/// `is_run`: the lock is held.
pub fn look_at_kept(
    ground: &RootAndPolicy,
    (now, interrupt): (&Now, Interrupt<'_>),
    is_run: bool,
) -> Result<KeptLook, Failure> {
    Ok(looked(ground, (now, interrupt), is_run, &|_| false)?.0)
}

/// Plans to remove unneeded or missing libraries of these packages, or of all if none is named.
pub(in crate::operation) fn plan_to_prune(
    ground: &RootAndPolicy,
    (now, interrupt): (&Now, Interrupt<'_>),
    packages: &[PkgInst],
    is_run: bool,
) -> Result<(KeptLook, Option<PrunePlan>), Failure> {
    let is_meant = |package: &PkgInst| packages.is_empty() || packages.contains(package);
    let (look, plan) = looked(ground, (now, interrupt), is_run, &is_meant)?;
    let goes = |library: &&KeptLibraryState| {
        is_meant(&library.package) && matches!(library.state, KeptState::Unneeded | KeptState::Missing)
    };
    let pruned: Vec<KeptLibraryState> = look.libraries.iter().filter(goes).cloned().collect();
    let plan = plan.filter(|_| !pruned.is_empty()).map(|plan| PrunePlan { plan, pruned });
    Ok((look, plan))
}

fn looked(
    ground: &RootAndPolicy,
    (now, interrupt): (&Now, Interrupt<'_>),
    is_run: bool,
    gives_up: &dyn Fn(&PkgInst) -> bool,
) -> Result<(KeptLook, Option<Plan>), Failure> {
    let inventory = ground.survey_without_kept(ground.packages()?, &Touched::default(), (None, &never))?;
    let kept = ground.kept_libraries(&inventory.hidden)?;
    let Some(first) = kept.packages.keys().next() else { return Ok((KeptLook::default(), None)) };
    let mut plan = empty_plan(now, first, &inventory);
    let mut state = LibraryState::default();
    state.scan(ground, now.moment(), is_run, interrupt)?;
    let request = PlanToSettle::of((&plan, &inventory), Command::Undo, "shlibs");
    let deciding = DecisionInput {
        ground,
        request: &request,
        state: &state,
        kept: &kept,
        changes: &Vec::new(),
        files: &PlannedFiles::default(),
        paths: PhysicalPaths { root: &ground.root, inventory: &inventory },
        words: LibraryWords { keep: true, stop: false },
        is_forbidden: false,
        is_forced: false,
        gives_up,
        now,
        interrupt,
    };
    let Decided { settled, needed, .. } = deciding.decide()?;
    let report = settled.report.clone().unwrap_or_default();
    let physical = PhysicalPaths { root: &ground.root, inventory: &inventory };
    let tree = state.scanned.as_ref().map(|scanned| &scanned.tree);
    let soname = |path: &ObjectPath| tree?.file_at(&physical.of(path))?.facts.soname.clone();
    let sonames = kept.paths().filter_map(|path| Some((path.clone(), soname(path)?))).collect();
    let misled = match &state.scanned {
        Some(scanned) => misled(scanned, &kept, &physical, interrupt),
        None => BTreeMap::new(),
    };
    Failure::unless_interrupted(interrupt)?;
    let look = KeptLook {
        packages: kept.packages.iter().map(|(name, known)| (name.clone(), known.params.clone())).collect(),
        libraries: libraries(&kept, &needed, &sonames, &misled),
        scanned: report.scanned,
        skipped: report.skipped,
    };
    let notes = settled.native_notes().to_vec();
    settled.apply_to_plan(&mut plan);
    plan.notes = notes;
    Ok((look, Some(plan)))
}

fn misled(
    scanned: &ScannedRoot,
    kept: &KeptLibraries,
    physical: &PhysicalPaths<'_>,
    interrupt: Interrupt<'_>,
) -> BTreeMap<ObjectPath, Vec<ObjectPath>> {
    let recorded: BTreeMap<ObjectPath, &ObjectPath> =
        kept.paths().map(|path| (physical.of(path), path)).collect();
    let mut without = scanned.tree.clone();
    for path in recorded.keys() {
        without.remove(path);
    }
    let how = (&*scanned.settings, interrupt);
    let found = misled_by(&scanned.tree, &without, how, |path| recorded.contains_key(path));
    let named = found
        .into_iter()
        .filter_map(|(path, who)| Some(((*recorded.get(&path)?).clone(), who.into_iter().collect())));
    named.collect()
}

fn empty_plan(now: &Now, package: &PkgInst, inventory: &Inventory) -> Plan {
    let empty = Plan::empty("shlibs", now.trailer("pkgrm", package));
    Plan { space: space::needs(inventory, &[], &[], &[], &[]), ..empty }
}

fn libraries(
    kept: &KeptLibraries,
    needed: &NeededLibraries,
    sonames: &BTreeMap<ObjectPath, String>,
    shadowed: &BTreeMap<ObjectPath, Vec<ObjectPath>>,
) -> Vec<KeptLibraryState> {
    let mut states: Vec<KeptLibraryState> = Vec::new();
    for (path, paths) in files_with_links(kept.lines.values()) {
        let (Some(package), Some(line)) = (kept.keeper(&path), kept.lines.get(&path)) else { continue };
        let (_, consumers) = needed.get(&path).cloned().unwrap_or_default();
        let name = || String::from_utf8_lossy(path.name()).into_owned();
        states.push(KeptLibraryState {
            package: package.clone(),
            name: sonames.get(&path).cloned().unwrap_or_else(name),
            paths,
            bytes: line.object.content.size.unwrap_or_default(),
            state: state_of(line, kept, &path, !consumers.is_empty()),
            consumers,
            misled: shadowed.get(&path).cloned().unwrap_or_default(),
        });
    }
    states.sort_by(|one, other| one.package.cmp(&other.package));
    states
}

fn state_of(line: &ContentsLine, kept: &KeptLibraries, path: &ObjectPath, is_needed: bool) -> KeptState {
    let content = line.object.content;
    match kept.live.get(path).map(|live| &live.kind) {
        None => KeptState::Missing,
        Some(LiveKind::Regular { size, cksum, .. })
            if content.size == Some(*size) && content.cksum == Some(*cksum) =>
        {
            if is_needed {
                KeptState::Needed
            } else {
                KeptState::Unneeded
            }
        }
        Some(_) => KeptState::Changed,
    }
}

/// In bytes.
const LARGEST_CONSUMERS: u64 = 16 << 20;

/// Kept libraries that lack each effective patch.
pub type LibrariesBeforePatches = BTreeMap<PatchId, Vec<KeptLibrary>>;

/// The records about the undo data of a package, read once; `None` if they cannot be read.
type ToldPackages = BTreeMap<PkgInst, Option<(SavedNames, Ledger)>>;

/// A kept library, with its keeper's words about patches.
struct KeptWithPatches<'a> {
    library: &'a KeptLibrary,
    contained: HashSet<PatchId>,
    kept_by: Option<PatchId>,
}

/// Tell which patches are newer than a kept library.
#[derive(Clone, Copy)]
pub(in crate::operation) struct PatchedRecords<'a> {
    pub(in crate::operation) view: &'a RecordView<'a>,
    pub(in crate::operation) ground: Option<&'a RootAndPolicy>,
    pub(in crate::operation) separator: &'a str,
    pub(in crate::operation) packages: &'a BTreeMap<PkgInst, Installed>,
    pub(in crate::operation) applied: &'a AppliedPatches,
}

impl PatchedRecords<'_> {
    /// Uses the records of the last run that looked; free if nothing is kept. They list the consumers of a package, not
    /// of each library.
    pub(in crate::operation) fn by_records(self) -> Result<LibrariesBeforePatches, Failure> {
        let kept = self.packages.iter().filter(|(_, installed)| is_kept_package(&installed.params));
        let mut libraries = Vec::new();
        for (package, installed) in kept {
            libraries.extend(recorded(self.view, package, &installed.params)?);
        }
        Ok(self.by_patch(&libraries))
    }

    /// Uses a look at the root.
    pub(in crate::operation) fn by_look(self, look: &KeptLook) -> LibrariesBeforePatches {
        let libraries: Vec<KeptLibrary> = look.libraries.iter().map(|one| one.kept(look)).collect();
        self.by_patch(&libraries)
    }

    fn by_patch(self, libraries: &[KeptLibrary]) -> LibrariesBeforePatches {
        let mut all = LibrariesBeforePatches::new();
        if libraries.is_empty() {
            return all;
        }
        let kept: Vec<_> = libraries.iter().filter_map(|library| self.with_patches(library)).collect();
        let mut told = ToldPackages::new();
        for patch in self.applied.effective() {
            let older = kept.iter().filter(|kept| self.is_before(kept, patch, &mut told));
            let older: Vec<KeptLibrary> =
                older.map(|kept| KeptLibrary { from: None, ..kept.library.clone() }).collect();
            if !older.is_empty() {
                all.insert(patch.id.clone(), older);
            }
        }
        all
    }

    fn with_patches(self, library: &KeptLibrary) -> Option<KeptWithPatches<'_>> {
        let keeper = self.packages.get(&library.package)?;
        let id = |word: &str| PatchId::parse(word, self.separator).ok();
        let contained = keeper.params.text("KEPT_PATCHES").split_whitespace().filter_map(id).collect();
        Some(KeptWithPatches { library, contained, kept_by: id(&keeper.params.text("KEPT_BY")) })
    }

    fn is_before(self, kept: &KeptWithPatches<'_>, patch: &AppliedPatch, told: &mut ToldPackages) -> bool {
        let library = kept.library;
        let is_from = |package: &&PkgInst| library.from.as_deref() == Some(package.as_str());
        let Some(from) = patch.packages.iter().find(is_from) else { return false };
        if kept.contained.contains(&patch.id) {
            return false;
        }
        kept.kept_by.as_ref() == Some(&patch.id) || self.changed_library((patch, from), &library.paths, told)
    }

    fn changed_library(
        self,
        (patch, package): (&AppliedPatch, &PkgInst),
        kept: &[ObjectPath],
        told: &mut ToldPackages,
    ) -> bool {
        match self.told(&patch.id, package, told) {
            Some(ArchivedPaths::Manifest(manifest)) => {
                let changed =
                    manifest.objects.iter().filter(|record| record.has_path() && record.is_changed());
                let mut paths = changed.filter_map(ObjectRecord::object_path);
                paths.any(|path| is_library_name(path.name()) || kept.contains(&path))
            }
            Some(ArchivedPaths::Paths(paths)) => {
                paths.iter().any(|path| is_library_name(path.name()) || kept.contains(path))
            }
            None => true,
        }
    }

    /// `None` if undo data does not tell.
    fn told(self, id: &PatchId, package: &PkgInst, told: &mut ToldPackages) -> Option<ArchivedPaths> {
        let ground = self.ground?;
        let of_package = told.entry(package.clone()).or_insert_with(|| {
            let names = SavedNames::of(self.view, package).ok()?;
            Some((names, ledger::counting(self.view, package).ok()?))
        });
        let (names, ledger) = of_package.as_ref()?;
        let params = &self.packages.get(package)?.params;
        ground.undo_data(self.view, None).told((package, params), &names.name(id), ledger).ok()
    }
}

/// Scans programs and libraries if something is kept.
pub(in crate::operation) fn still_loaded(
    ground: &RootAndPolicy,
    now: &Now,
) -> Result<LibrariesBeforePatches, Failure> {
    let look = look_at_kept(ground, (now, &never), false)?;
    of_root(ground, Some(&look))
}

/// Uses the records of the last run that looked; the caller holds the lock. If nothing is kept, reads only package
/// names.
pub(in crate::operation) fn recorded_as_loaded(
    ground: &RootAndPolicy,
) -> Result<LibrariesBeforePatches, Failure> {
    let names = RecordView::live(&ground.root).list(&places::packages())?.unwrap_or_default();
    if !names.iter().any(|name| is_named_as_kept(name)) {
        return Ok(LibrariesBeforePatches::new());
    }
    of_root(ground, None)
}

/// Prefers a look to records.
fn of_root(ground: &RootAndPolicy, look: Option<&KeptLook>) -> Result<LibrariesBeforePatches, Failure> {
    let packages = ground.packages()?;
    let applied = ground.recorded(&packages)?;
    let records = PatchedRecords {
        view: &RecordView::live(&ground.root),
        ground: Some(ground),
        separator: &ground.policy.separator,
        packages: &packages,
        applied: &applied,
    };
    match look {
        Some(look) => Ok(records.by_look(look)),
        None => records.by_records(),
    }
}

fn recorded(
    view: &RecordView<'_>,
    package: &PkgInst,
    params: &Params,
) -> Result<Vec<KeptLibrary>, DatabaseError> {
    let lines = contents::lines_of_package(view, package)?;
    let consumers = consumers(view, package)?;
    let libraries = files_with_links(lines.values()).into_iter().map(|(file, paths)| KeptLibrary {
        package: package.clone(),
        from: Some(params.text(KEPT_FROM).into_owned()),
        library: opened_name(&paths, &lines),
        bytes: lines.get(&file).and_then(|line| line.object.content.size).unwrap_or_default(),
        paths,
        consumers: consumers.clone(),
    });
    Ok(libraries.collect())
}

/// According to the last run that looked. Skips invalid lines.
fn consumers(view: &RecordView<'_>, package: &PkgInst) -> Result<Vec<ToldConsumer>, DatabaseError> {
    let Ok(path) = places::package(package).join(CONSUMERS.as_bytes()) else { return Ok(Vec::new()) };
    let Some(text) = view.read(&path, LARGEST_CONSUMERS)? else { return Ok(Vec::new()) };
    let text = String::from_utf8_lossy(&text);
    let parsed = text.lines().filter_map(|line| {
        let (how, path) = line.split_once(' ')?;
        Some((way_of_needing(how)?, ObjectPath::new(&decode(path)).ok()?))
    });
    let parsed: BTreeSet<(&'static str, ObjectPath)> = parsed.collect();
    let paths: BTreeSet<ObjectPath> = parsed.iter().map(|(_, path)| path.clone()).collect();
    let lines = contents::lines_of_paths(view, &paths)?;
    let mut told: Vec<ToldConsumer> = parsed
        .into_iter()
        .map(|(how, path)| {
            let owners = lines.get(&path).into_iter().flat_map(|line| &line.owners);
            let packages = owners.map(|owner| owner.package.clone()).collect();
            ToldConsumer { path, packages, how, pid: None }
        })
        .collect();
    told.sort();
    Ok(told)
}

/// `.so` at the end, or before a version.
fn is_library_name(name: &[u8]) -> bool {
    name.ends_with(b".so") || name.windows(4).any(|part| part == b".so.")
}

/// Returns files with their paths and links to them, in order. Omits directories and links that lead elsewhere.
pub(super) fn files_with_links<'a>(
    lines: impl Iterator<Item = &'a ContentsLine>,
) -> BTreeMap<ObjectPath, Vec<ObjectPath>> {
    let (mut files, mut targets) = (BTreeMap::new(), BTreeMap::new());
    for line in lines.filter(|line| !line.object.ftype.is_directory()) {
        match target_of(line) {
            Some(target) => drop(targets.insert(line.path.clone(), target)),
            None => drop(files.insert(line.path.clone(), vec![line.path.clone()])),
        }
    }
    for path in targets.keys() {
        let (mut at, mut seen) = (path, BTreeSet::new());
        while let Some(next) = targets.get(at).filter(|_| seen.insert(at)) {
            at = next;
        }
        if let Some(paths) = files.get_mut(at) {
            paths.push(path.clone());
        }
    }
    for paths in files.values_mut() {
        paths.sort();
    }
    files
}

/// Returns the shortest name among links that no other link leads to.
pub(super) fn opened_name(paths: &[ObjectPath], lines: &BTreeMap<ObjectPath, ContentsLine>) -> String {
    let targets: BTreeSet<ObjectPath> =
        paths.iter().filter_map(|path| lines.get(path)).filter_map(target_of).collect();
    let first = paths.iter().filter(|path| !targets.contains(*path)).map(ObjectPath::name);
    let name = first.min_by_key(|name| (name.len(), *name)).unwrap_or_default();
    String::from_utf8_lossy(name).into_owned()
}

/// Returns the link's own path if the target is invalid.
fn target_of(line: &ContentsLine) -> Option<ObjectPath> {
    let target = line.object.target.as_deref()?;
    Some(line.path.link_source(target).unwrap_or_else(|_| line.path.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_library_is_told_by_its_name() {
        for (name, expected) in [
            ("libx.so", true),
            ("libx.so.1.2", true),
            ("libx-1.so", true),
            ("libx.socket", false),
            ("so.1", false),
            ("x.conf", false),
        ] {
            assert_eq!(is_library_name(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn a_file_has_the_name_of_the_link_that_programs_open() {
        let lines: BTreeMap<ObjectPath, ContentsLine> = [
            "/usr/lib d none 0755 root root X-SO",
            "/usr/lib/a.so.1=a.so.1.2 s none X-SO",
            "/usr/lib/a.so.1.2=a.so.1.2.3 s none X-SO",
            "/usr/lib/a.so.1.2.3 f none 0644 root root 1 2 3 X-SO",
            "/usr/lib/b.so.1 f none 0644 root root 1 2 3 X-SO",
            "/usr/lib/loop=loop s none X-SO",
        ]
        .into_iter()
        .map(|text| ContentsLine::parse(text.as_bytes()).unwrap())
        .map(|line| (line.path.clone(), line))
        .collect();
        let files = files_with_links(lines.values());
        let shown: Vec<(String, usize)> =
            files.values().map(|paths| (opened_name(paths, &lines), paths.len())).collect();
        assert_eq!(shown, [("a.so.1".to_owned(), 3), ("b.so.1".to_owned(), 1)]);
    }
}
