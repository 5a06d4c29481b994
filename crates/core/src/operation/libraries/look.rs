//! What is kept in a root, and for which files, as the root is now; and the removal of what nothing needs.

use std::collections::BTreeMap;

use super::deciding::{Decided, Deciding, NeededLibraries};
use super::library_state::{LibraryState, ScannedRoot};
use super::link_chains::files_with_links;
use super::new_files::NewFiles;
use super::planned_tree::PhysicalPaths;
use super::settled::PlanToSettle;
use crate::operation::failure::Failure;
use crate::operation::session::RootAndPolicy;
use patchadm_inputs::inventory::{Inventory, KEPT_FROM, KeptLibraries, Touched};
use patchadm_inputs::policy::LibraryWords;
use patchadm_libraries::decision::misled_by;
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::kept_libraries::{KeptLibrary, ToldConsumer};
use patchadm_planning::plan::refusal::{Command, LibraryLoss};
use patchadm_planning::plan::space;
use patchadm_rootfs::{Interrupt, LiveKind, never};
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};

/// The state of a kept library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptState {
    /// Something needs it.
    Needed,
    /// Nothing needs it.
    Unneeded,
    /// It differs from what was kept.
    Changed,
    /// It does not exist.
    Missing,
}

impl KeptState {
    /// Returns the word of the JSON document.
    pub fn word(self) -> &'static str {
        match self {
            Self::Needed => "needed",
            Self::Unneeded => "unneeded",
            Self::Changed => "changed",
            Self::Missing => "missing",
        }
    }
}

/// A kept library, or a kept dangling link.
#[derive(Clone, Debug)]
pub struct KeptLibraryState {
    /// The package that keeps it.
    pub package: PkgInst,
    /// Its SONAME, or the name of its file.
    pub name: String,
    /// Its path and those of the links that lead to it.
    pub paths: Vec<ObjectPath>,
    /// Its size.
    pub bytes: u64,
    /// Its state.
    pub state: KeptState,
    /// The files and processes that need it.
    pub consumers: Vec<ToldConsumer>,
    /// The objects that find it in the place of another library that serves them as well.
    pub misled: Vec<ObjectPath>,
}

impl KeptLibraryState {
    /// Returns the library without its state.
    pub(super) fn kept(&self, look: &KeptLook) -> KeptLibrary {
        KeptLibrary {
            package: self.package.clone(),
            from: look.from(&self.package),
            library: self.name.clone(),
            paths: self.paths.clone(),
            bytes: self.bytes,
            consumers: self.consumers.clone(),
        }
    }

    /// Returns what would be lost with it; `None` if nothing needs it.
    pub fn loss(self) -> Option<LibraryLoss> {
        (!self.consumers.is_empty()).then(|| LibraryLoss {
            library: self.name,
            missing: Vec::new(),
            why: "it is kept for it",
            consumers: self.consumers.into_iter().map(|consumer| consumer.path).collect(),
        })
    }
}

/// What is kept in a root.
#[derive(Clone, Debug, Default)]
pub struct KeptLook {
    /// The packages with their parameters.
    pub packages: BTreeMap<PkgInst, Params>,
    /// The libraries, package by package.
    pub libraries: Vec<KeptLibraryState>,
    /// The number of programs and libraries that were examined.
    pub scanned: u64,
    /// The files that were not understood.
    pub not_understood: Vec<(ObjectPath, String)>,
    /// The directories that were not entered.
    pub skipped: Vec<ObjectPath>,
}

impl KeptLook {
    /// Returns the package from which the libraries of a kept package are.
    pub fn from(&self, package: &PkgInst) -> String {
        let params = self.packages.get(package);
        params.map(|params| params.text(KEPT_FROM).into_owned()).unwrap_or_default()
    }
}

/// The unneeded objects, with a plan that removes them; `None` if there is nothing to remove.
pub(in crate::operation) struct PrunePlan {
    pub(in crate::operation) plan: Plan,
    /// The removed objects.
    pub(in crate::operation) pruned: Vec<KeptLibraryState>,
}

/// Examines what is kept. `is_run` says that the lock is held.
pub fn look_at_kept(
    ground: &RootAndPolicy,
    (now, interrupt): (&Now, Interrupt<'_>),
    is_run: bool,
) -> Result<KeptLook, Failure> {
    Ok(looked(ground, (now, interrupt), is_run, &|_| false)?.0)
}

/// Examines what is kept, and plans the removal of what nothing needs or what is missing, in these packages, or in all if
/// none is named.
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
    let asked = PlanToSettle::of((&plan, &inventory), Command::Undo, "shlibs");
    let deciding = Deciding {
        ground,
        asked: &asked,
        state: &state,
        kept: &kept,
        changes: &Vec::new(),
        files: &NewFiles::default(),
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
        not_understood: report.not_understood,
        skipped: report.skipped,
    };
    let notes = settled.native_notes().to_vec();
    settled.apply_to_plan(&mut plan);
    plan.notes = notes;
    Ok((look, Some(plan)))
}

/// Returns the objects that find a kept library in the place of another one that serves them, by the path of the kept one.
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

/// Returns a plan that changes nothing yet.
fn empty_plan(now: &Now, package: &PkgInst, inventory: &Inventory) -> Plan {
    let empty = Plan::empty("shlibs", now.trailer("pkgrm", package));
    Plan { space: space::needs(inventory, &[], &[], &[], &[]), ..empty }
}

/// Returns the libraries of all packages, each with the links that lead to it.
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
