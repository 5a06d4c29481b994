//! Packages installed on or removed from a root since a stage was made.

use std::collections::{BTreeMap, BTreeSet};

use super::databases::{ContinuedList, PackageDatabase};
use super::patches::RecordSource;
use super::undo_data::BroughtFailure;
use crate::operation::failure::Failure;
use crate::operation::stages::tree::without_kept;
use patchadm_inputs::database::contents::{
    ContentsLines, has_other_owner, lines_of_packages, lines_of_paths,
};
use patchadm_inputs::database::{DatabaseError, RecordView};
use patchadm_planning::plan::promotion::{BroughtPackage, BroughtPatches, local_package};
use patchadm_planning::plan::refusal::BroughtReason;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageMove {
    Installed,
    Removed,
    /// Another version was installed.
    Replaced,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedStagePackage {
    pub package: PkgInst,
    pub change: PackageMove,
    /// `None` if the stage's records follow the root.
    pub stays: Option<StayReason>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StayReason {
    #[error("the stage has its own object at {0}")]
    OwnObject(ObjectPath),
    #[error("{path} is owned by package {owner}, which stays in the stage")]
    Owned { path: ObjectPath, owner: PkgInst },
    #[error("the undo data of patch {0} lies outside the root")]
    UndoOutside(PatchId),
    #[error("{0}")]
    Refused(BroughtReason),
}

#[derive(Debug, Default)]
pub(in crate::operation::stages) struct MovedPackages {
    pub(in crate::operation::stages) all: Vec<MovedStagePackage>,
    /// `None` for removed packages.
    pub(in crate::operation::stages) in_bases: BTreeMap<PkgInst, Option<String>>,
    /// No option resolves these conflicts.
    pub(in crate::operation::stages) conflicts: Vec<BroughtReason>,
}

#[derive(Debug, Default)]
struct PackageMoves {
    /// `None` if both sides made the same change, and only bases lack it.
    pub(in crate::operation::stages) all: BTreeMap<PkgInst, Option<PackageMove>>,
    pub(in crate::operation::stages) conflicts: Vec<BroughtReason>,
}

impl MovedStagePackage {
    pub fn is_brought(&self) -> bool {
        self.stays.is_none()
    }
}

impl From<BroughtReason> for StayReason {
    fn from(reason: BroughtReason) -> Self {
        match reason {
            BroughtReason::UndoOutside { patch, .. } => Self::UndoOutside(patch),
            reason => Self::Refused(reason),
        }
    }
}

impl PackageMoves {
    pub(in crate::operation::stages) fn between(
        live: &PackageDatabase,
        stage: &PackageDatabase,
        base: &BTreeMap<PkgInst, String>,
    ) -> Self {
        let (of_live, of_stage) = (live.versions(), stage.versions());
        let names = of_live.keys().chain(base.keys()).collect::<BTreeSet<_>>();
        let is_local = |package: &PkgInst| {
            let known = live.packages.get(package).or_else(|| stage.packages.get(package));
            known.is_some_and(|one| local_package(&one.params).is_some())
        };
        let mut moves = Self::default();
        for package in names.into_iter().filter(|package| !is_local(package)) {
            let versions = PackageVersions {
                base: base.get(package),
                live: of_live.get(package),
                stage: of_stage.get(package),
            };
            let change = match versions.compared(package) {
                Ok(RootsPackage::Same) => continue,
                Ok(RootsPackage::Known) => None,
                Ok(RootsPackage::Moved(change)) => Some(change),
                Err(conflict) => {
                    moves.conflicts.push(conflict);
                    continue;
                }
            };
            moves.all.insert(package.clone(), change);
        }
        moves
    }

    pub(in crate::operation::stages) fn going(&self) -> BTreeSet<PkgInst> {
        self.that(&[PackageMove::Removed, PackageMove::Replaced])
    }

    pub(in crate::operation::stages) fn coming(&self) -> BTreeSet<PkgInst> {
        self.that(&[PackageMove::Installed, PackageMove::Replaced])
    }

    fn that(&self, wanted: &[PackageMove]) -> BTreeSet<PkgInst> {
        let is_wanted = |change: &Option<PackageMove>| change.is_some_and(|change| wanted.contains(&change));
        self.all.iter().filter(|(_, change)| is_wanted(change)).map(|(package, _)| package.clone()).collect()
    }
}

enum RootsPackage {
    Same,
    /// Only the bases lack the change.
    Known,
    Moved(PackageMove),
}

struct PackageVersions<'a> {
    base: Option<&'a String>,
    live: Option<&'a String>,
    stage: Option<&'a String>,
}

impl PackageVersions<'_> {
    fn compared(&self, package: &PkgInst) -> Result<RootsPackage, BroughtReason> {
        let package = || package.clone();
        Ok(match (self.base, self.live, self.stage) {
            (None, Some(_), None) => RootsPackage::Moved(PackageMove::Installed),
            (None, Some(live), Some(stage)) if live == stage => RootsPackage::Known,
            (None, Some(live), Some(stage)) => {
                let (stage, live) = (stage.clone(), live.clone());
                return Err(BroughtReason::InstalledOnBoth { package: package(), stage, live });
            }
            (Some(_), None, None) => RootsPackage::Known,
            (Some(then), None, Some(stage)) if then == stage => RootsPackage::Moved(PackageMove::Removed),
            (Some(_), None, Some(stage)) => {
                return Err(BroughtReason::GoneAndReplaced { package: package(), stage: stage.clone() });
            }
            (Some(then), Some(live), Some(stage)) if live != then && stage == then => {
                RootsPackage::Moved(PackageMove::Replaced)
            }
            (Some(then), Some(live), Some(stage)) if live != then && live != stage => {
                let (stage, live) = (stage.clone(), live.clone());
                return Err(BroughtReason::OtherVersion { package: package(), stage, live });
            }
            (Some(then), Some(live), None) if live != then => {
                return Err(BroughtReason::PackageRemoved(package()));
            }
            _ => RootsPackage::Same,
        })
    }
}

struct ComingPackage {
    of: BroughtPackage,
    lines: ContentsLines,
}

struct PackageMover<'a> {
    source: &'a RecordSource<'a>,
    is_as_live: &'a dyn Fn(&ObjectPath) -> bool,
    going: BTreeMap<PkgInst, ContentsLines>,
    coming: BTreeMap<PkgInst, ContentsLines>,
    comes: BTreeMap<PkgInst, ComingPackage>,
    there: ContentsLines,
    stays: BTreeMap<PkgInst, StayReason>,
    conflicts: Vec<BroughtReason>,
}

impl RecordSource<'_> {
    /// Adds and removes records like the root. `base` has the packages of the base in force.
    pub(in crate::operation::stages) fn moved(
        &self,
        base: &BTreeMap<PkgInst, String>,
        own: &BTreeSet<PatchId>,
        is_as_live: &dyn Fn(&ObjectPath) -> bool,
        brought: &mut BroughtPatches,
    ) -> Result<MovedPackages, Failure> {
        let moves = PackageMoves::between(&self.databases.0, self.databases.1, base);
        let mut mover = PackageMover::of(self, &moves, is_as_live)?;
        for (package, change) in &moves.all {
            match change {
                Some(PackageMove::Removed) => mover.hold_own_objects(package, PackageMove::Removed),
                Some(change) => mover.read_coming(package, *change, own)?,
                None => {}
            }
        }
        mover.hold_claimed(&moves, brought)?;
        mover.take_out(brought);
        mover.put_in(brought);
        let PackageMover { mut stays, conflicts, .. } = mover;
        let versions = self.databases.0.versions();
        let mut packages =
            MovedPackages { conflicts: [moves.conflicts, conflicts].concat(), ..MovedPackages::default() };
        for (package, change) in moves.all {
            let stays = stays.remove(&package);
            if stays.is_none() {
                packages.in_bases.insert(package.clone(), versions.get(&package).cloned());
            }
            packages.all.extend(change.map(|change| MovedStagePackage { package, change, stays }));
        }
        Ok(packages)
    }
}

impl RecordSource<'_> {
    /// Returns the other tree's lines with an owner that the source (`lines`) lacks.
    pub(in crate::operation::stages) fn owned_otherwise(
        &self,
        paths: &BTreeSet<ObjectPath>,
        lines: &ContentsLines,
    ) -> Result<ContentsLines, Failure> {
        let there = lines_of_paths(&RecordView::live(self.to), paths).map_err(DatabaseError::from)?;
        let is_other = |(path, line): &(ObjectPath, ContentsLine)| {
            paths.contains(path) && has_other_owner(line, lines.get(path))
        };
        Ok(there.into_iter().filter(is_other).collect())
    }

    pub(in crate::operation::stages) fn is_of_new_package(
        &self,
        line: &ContentsLine,
        base: &BTreeMap<PkgInst, String>,
    ) -> bool {
        let known = self.databases.0.versions();
        let mut owners = line.owners.iter().map(|owner| &owner.package);
        owners.any(|package| !base.contains_key(package) && !known.contains_key(package))
    }
}

impl<'a> PackageMover<'a> {
    fn of(
        source: &'a RecordSource<'a>,
        moves: &PackageMoves,
        is_as_live: &'a dyn Fn(&ObjectPath) -> bool,
    ) -> Result<Self, Failure> {
        let lines = |view: &RecordView<'_>, packages: &BTreeSet<PkgInst>| {
            lines_of_packages(view, packages).map_err(DatabaseError::from)
        };
        let going = lines(&RecordView::live(source.to), &moves.going())?;
        let mut coming = lines(&RecordView::live(&source.from.root), &moves.coming())?;
        let kept = &source.databases.0.kept;
        for lines in coming.values_mut() {
            let own = std::mem::take(lines).into_iter();
            *lines = own.filter_map(|(path, line)| Some((path, without_kept(line, kept)?))).collect();
        }
        let (comes, stays) = (BTreeMap::new(), BTreeMap::new());
        let (there, conflicts) = (ContentsLines::new(), Vec::new());
        Ok(Self { source, is_as_live, going, coming, comes, there, stays, conflicts })
    }

    /// Keeps a package if the stage has an own object at its path.
    fn hold_own_objects(&mut self, package: &PkgInst, change: PackageMove) {
        let side = if change == PackageMove::Removed { &self.going } else { &self.coming };
        let own = side.get(package).into_iter().flatten().filter(|(path, _)| !(self.is_as_live)(path));
        // A directory stays because of its contents.
        if let Some((path, _)) = own.min_by_key(|(_, line)| line.object.ftype.is_directory()) {
            self.stays.insert(package.clone(), StayReason::OwnObject(path.clone()));
        }
    }

    /// Reads a package and its patches, except the stage's promotions. If it replaces another version, edits in the
    /// stage become edits of it; patches of the old version are refused.
    fn read_coming(
        &mut self,
        package: &PkgInst,
        change: PackageMove,
        own: &BTreeSet<PatchId>,
    ) -> Result<(), Failure> {
        let source = self.source;
        let listed: Vec<PatchId> = source.list(package).into_iter().filter(|id| !own.contains(id)).collect();
        let read = || -> Result<BroughtPackage, BroughtFailure> {
            if change == PackageMove::Replaced {
                source.must_not_be_patched(package, &listed)?;
            }
            let list = ContinuedList { patches: listed.clone(), list: listed.clone() };
            Ok(source.package(package, &list)?.0)
        };
        match read() {
            Ok(of) => {
                let of = BroughtPackage { replaces: change == PackageMove::Replaced, ..of };
                let lines = self.coming.get(package).cloned().unwrap_or_default();
                self.comes.insert(package.clone(), ComingPackage { of, lines });
            }
            Err(BroughtFailure::Failed(failure)) => return Err(failure),
            Err(BroughtFailure::Refused(reason)) => {
                if matches!(reason, BroughtReason::PatchedAndReplaced { .. }) {
                    self.conflicts.push(reason.clone());
                }
                self.stays.insert(package.clone(), reason.into());
            }
        }
        if change == PackageMove::Installed {
            self.hold_own_objects(package, change);
        }
        Ok(())
    }

    /// Skips a package that shares a path with one that stays in the stage; other owners are conflicts. Directories may
    /// be shared.
    fn hold_claimed(&mut self, moves: &PackageMoves, brought: &BroughtPatches) -> Result<(), Failure> {
        self.comes.retain(|package, _| !self.stays.contains_key(package));
        let paths = self.comes.values().flat_map(|coming| coming.lines.keys().cloned()).collect();
        let there = lines_of_paths(&RecordView::live(self.source.to), &paths);
        self.there = there.map_err(DatabaseError::from)?;
        let (mut staying, mut conflicts) = (BTreeMap::new(), Vec::new());
        for (package, coming) in &self.comes {
            for (path, line) in &coming.lines {
                let Some(owner) = self.other_owner(path, line, brought).cloned() else { continue };
                let path = path.clone();
                if !coming.of.replaces && moves.all.get(&owner) == Some(&Some(PackageMove::Removed)) {
                    staying.insert(package.clone(), StayReason::Owned { path, owner });
                    break;
                }
                let (stage, live) = (owner, package.clone());
                conflicts.push(BroughtReason::ClaimedByBoth { path, stage, live });
            }
        }
        self.conflicts.append(&mut conflicts);
        self.stays.append(&mut staying);
        self.comes.retain(|package, _| !self.stays.contains_key(package));
        Ok(())
    }

    fn other_owner<'s>(
        &'s self,
        path: &ObjectPath,
        line: &ContentsLine,
        brought: &'s BroughtPatches,
    ) -> Option<&'s PkgInst> {
        let planned = brought.lines.get(path).map(|(_, line)| line.as_ref());
        let there = planned.unwrap_or_else(|| self.there.get(path))?;
        let stays = |owner: &PkgInst| !self.going.contains_key(owner) || self.stays.contains_key(owner);
        let mut owners = there.owners.iter().map(|owner| &owner.package);
        owners
            .find(|owner| !line.is_owned_by(owner) && stays(owner))
            .filter(|_| !are_directories(line, there))
    }

    fn take_out(&self, brought: &mut BroughtPatches) {
        for (package, lines) in self.going.iter().filter(|(package, _)| !self.stays.contains_key(*package)) {
            for (path, line) in lines {
                take_out(brought, package, path, line);
            }
        }
        let is_gone =
            |package: &&PkgInst| !self.stays.contains_key(*package) && !self.comes.contains_key(*package);
        brought.gone.extend(self.going.keys().filter(is_gone).cloned());
    }

    fn put_in(&mut self, brought: &mut BroughtPatches) {
        for (package, ComingPackage { of, lines }) in std::mem::take(&mut self.comes) {
            let new: Vec<PatchId> =
                of.patches.iter().filter(|id| !brought.ids.contains(id)).cloned().collect();
            brought.ids.extend(new);
            for (path, line) in lines {
                put_in(brought, &package, &path, line, self.there.get(&path));
            }
            brought.packages.insert(package, of);
        }
    }
}

fn are_directories(one: &ContentsLine, other: &ContentsLine) -> bool {
    one.object.ftype.is_directory() && other.object.ftype.is_directory()
}

/// Merges a line after earlier changes: the root's object, both sides' owners. A directory keeps the stage's record.
fn put_in(
    brought: &mut BroughtPatches,
    package: &PkgInst,
    path: &ObjectPath,
    line: ContentsLine,
    there: Option<&ContentsLine>,
) {
    let planned = brought.lines.get(path).map(|(_, line)| line.clone());
    let before = planned.unwrap_or_else(|| there.cloned());
    let owner = line.owners.iter().find(|owner| owner.package == *package).cloned();
    let mut merged = match before {
        Some(before) if are_directories(&before, &line) => before,
        before => ContentsLine { owners: before.map(|before| before.owners).unwrap_or_default(), ..line },
    };
    merged.owners.retain(|owner| owner.package != *package);
    merged.owners.extend(owner);
    brought.lines.insert(path.clone(), (package.clone(), Some(merged)));
}

fn take_out(brought: &mut BroughtPatches, package: &PkgInst, path: &ObjectPath, line: &ContentsLine) {
    let planned = brought.lines.get(path).map(|(_, line)| line.clone());
    let mut line = planned.unwrap_or_else(|| Some(line.clone()));
    if let Some(line) = &mut line {
        line.owners.retain(|owner| owner.package != *package);
    }
    let line = line.filter(|line| !line.owners.is_empty());
    brought.lines.insert(path.clone(), (package.clone(), line));
}
