//! The packages that came to a root, or went from it, since a stage of it was made: which ones, and what both sides did to one.

use std::collections::{BTreeMap, BTreeSet};

use super::failure::BroughtFailure;
use super::packages::{ContinuedList, PackageDatabase};
use super::source::RecordSource;
use crate::database::contents::{lines_of_package, lines_of_paths};
use crate::database::{DatabaseError, RecordView};
use crate::operation::failure::Failure;
use crate::operation::stages::kept_objects::without_kept;
use crate::plan::promotion::{BroughtPatches, local_package};
use crate::plan::refusal::BroughtReason;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};
use patchadm_svr4::patch::PatchId;

/// What became of a package on the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageMove {
    /// It was installed.
    Installed,
    /// It was removed.
    Removed,
    /// Another version was installed in its place.
    Replaced,
}

/// A package that came to the root, or went from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedPackage {
    /// The package.
    pub package: PkgInst,
    /// What became of it on the root.
    pub change: PackageMove,
    /// Whether the records of the stage follow. They stay as they are where the stage keeps an object of its own at one of
    /// the paths, where undo data cannot be read, and where the root has another version.
    pub is_brought: bool,
}

/// What a refresh does with the packages of a stage.
#[derive(Debug, Default)]
pub(in crate::operation::stages) struct MovedPackages {
    pub(in crate::operation::stages) all: Vec<MovedPackage>,
    /// What the bases have to say afterwards: the version of each package, `None` of one that is gone.
    pub(in crate::operation::stages) in_bases: BTreeMap<PkgInst, Option<String>>,
    /// What both sides did to one, differently: no option decides that.
    pub(in crate::operation::stages) conflict: Option<BroughtReason>,
}

/// Compares root, stage and base; each package that moved, and whether only the bases have to know.
fn moved(
    (live, stage): (&PackageDatabase, &PackageDatabase),
    base: &BTreeMap<PkgInst, String>,
) -> Result<BTreeMap<PkgInst, Option<PackageMove>>, BroughtReason> {
    let (of_live, of_stage) = (live.versions(), stage.versions());
    let names = of_live.keys().chain(base.keys()).collect::<BTreeSet<_>>();
    let is_foreign = |package: &PkgInst| {
        live.packages
            .get(package)
            .or_else(|| stage.packages.get(package))
            .is_some_and(|one| local_package(&one.params).is_some())
    };
    let mut found = BTreeMap::new();
    for package in names.into_iter().filter(|package| !is_foreign(package)) {
        let text = |version: &String| version.clone();
        let change = match (base.get(package), of_live.get(package), of_stage.get(package)) {
            (None, Some(_), None) => Some(PackageMove::Installed),
            (None, Some(live), Some(stage)) if live == stage => None,
            (None, Some(live), Some(stage)) => {
                let (package, stage, live) = (package.clone(), text(stage), text(live));
                return Err(BroughtReason::InstalledOnBoth { package, stage, live });
            }
            (Some(_), None, None) => None,
            (Some(then), None, Some(stage)) if then == stage => Some(PackageMove::Removed),
            (Some(_), None, Some(stage)) => {
                return Err(BroughtReason::GoneAndReplaced { package: package.clone(), stage: text(stage) });
            }
            (Some(then), Some(live), Some(stage)) if live != then && stage != then && live != stage => {
                let (package, stage, live) = (package.clone(), text(stage), text(live));
                return Err(BroughtReason::OtherVersion { package, stage, live });
            }
            (Some(then), Some(live), Some(stage)) if live != then && stage == then => {
                Some(PackageMove::Replaced)
            }
            (Some(then), Some(live), None) if live != then => {
                return Err(BroughtReason::PackageRemoved(package.clone()));
            }
            _ => continue,
        };
        found.insert(package.clone(), change);
    }
    Ok(found)
}

impl RecordSource<'_> {
    /// Adds to what comes into a stage the records of packages that came to the root, and takes out those that went. `base`
    /// are the packages of the base in force.
    pub(in crate::operation::stages) fn moved(
        &self,
        base: &BTreeMap<PkgInst, String>,
        own: &BTreeSet<PatchId>,
        is_as_live: &dyn Fn(&ObjectPath) -> bool,
        brought: &mut BroughtPatches,
    ) -> Result<MovedPackages, Failure> {
        let mut packages = MovedPackages::default();
        let found = match moved((&self.databases.0, self.databases.1), base) {
            Ok(found) => found,
            Err(conflict) => return Ok(MovedPackages { conflict: Some(conflict), ..packages }),
        };
        let versions = self.databases.0.versions();
        for (package, change) in found {
            let is_brought = match change {
                None => true,
                Some(PackageMove::Replaced) => false,
                Some(PackageMove::Removed) => self.gone(&package, is_as_live, brought)?,
                Some(PackageMove::Installed) => match self.came(&package, own, is_as_live, brought) {
                    Ok(is_brought) => is_brought,
                    Err(BroughtFailure::Refused(reason @ BroughtReason::ClaimedByBoth { .. })) => {
                        return Ok(MovedPackages { conflict: Some(reason), ..packages });
                    }
                    Err(BroughtFailure::Refused(_)) => false,
                    Err(BroughtFailure::Failed(failure)) => return Err(failure),
                },
            };
            if is_brought {
                packages.in_bases.insert(package.clone(), versions.get(&package).cloned());
            }
            packages.all.extend(change.map(|change| MovedPackage { package, change, is_brought }));
        }
        Ok(packages)
    }

    /// Takes a package out of the stage; false where that keeps something of it.
    fn gone(
        &self,
        package: &PkgInst,
        is_as_live: &dyn Fn(&ObjectPath) -> bool,
        brought: &mut BroughtPatches,
    ) -> Result<bool, Failure> {
        let lines = lines_of_package(&RecordView::live(self.to), package).map_err(DatabaseError::from)?;
        let lines: Vec<(ObjectPath, ContentsLine)> = lines.into_iter().collect();
        if !lines.iter().all(|(path, _)| is_as_live(path)) {
            return Ok(false);
        }
        for (path, line) in lines {
            take_out(brought, package, &path, line);
        }
        brought.gone.insert(package.clone());
        Ok(true)
    }

    /// Brings a package with its patches, but for the promotions of the stage; false where the stage keeps something else at
    /// a path of it.
    fn came(
        &self,
        package: &PkgInst,
        own: &BTreeSet<PatchId>,
        is_as_live: &dyn Fn(&ObjectPath) -> bool,
        brought: &mut BroughtPatches,
    ) -> Result<bool, BroughtFailure> {
        let from = RecordView::live(&self.from.root);
        let lines = lines_of_package(&from, package).map_err(DatabaseError::from)?;
        let kept = &self.databases.0.kept;
        let lines: BTreeMap<ObjectPath, ContentsLine> =
            lines.into_iter().filter_map(|(path, line)| Some((path, without_kept(line, kept)?))).collect();
        if !lines.keys().all(is_as_live) {
            return Ok(false);
        }
        let paths = lines.keys().cloned().collect();
        let there = lines_of_paths(&RecordView::live(self.to), &paths).map_err(DatabaseError::from)?;
        for (path, line) in &lines {
            if let Some(other) = there.get(path) {
                must_not_be_claimed(package, path, line, other)?;
            }
        }
        let ids: Vec<PatchId> = self.list(package).into_iter().filter(|id| !own.contains(id)).collect();
        let (of, _) = self.package(package, &ContinuedList { patches: ids.clone(), list: ids.clone() })?;
        brought.ids.extend(ids.into_iter().filter(|id| !brought.ids.contains(id)).collect::<Vec<_>>());
        brought.packages.insert(package.clone(), of);
        for (path, line) in lines {
            put_in(brought, package, &path, line, there.get(&path));
        }
        Ok(true)
    }
}

/// Refuses a path of a package that came, which a package of the stage alone has as well. Directories are shared.
fn must_not_be_claimed(
    package: &PkgInst,
    path: &ObjectPath,
    line: &ContentsLine,
    there: &ContentsLine,
) -> Result<(), BroughtReason> {
    let other = there.owners.iter().map(|owner| &owner.package).find(|owner| !line.is_owned_by(owner));
    match other {
        Some(stage) if !line.object.ftype.is_directory() || !there.object.ftype.is_directory() => {
            let (stage, live) = (stage.clone(), package.clone());
            Err(BroughtReason::ClaimedByBoth { path: path.clone(), stage, live })
        }
        _ => Ok(()),
    }
}

/// The line of a path as it will be, begun with what another package made of it already.
fn put_in(
    brought: &mut BroughtPatches,
    package: &PkgInst,
    path: &ObjectPath,
    line: ContentsLine,
    there: Option<&ContentsLine>,
) {
    let planned = brought.lines.get(path).map(|(_, line)| line.clone());
    let mut merged = planned
        .unwrap_or_else(|| there.cloned())
        .unwrap_or_else(|| ContentsLine { owners: Vec::new(), ..line.clone() });
    let owner = line.owners.into_iter().find(|owner| owner.package == *package);
    merged.owners.retain(|owner| owner.package != *package);
    merged.owners.extend(owner);
    brought.lines.insert(path.clone(), (package.clone(), Some(merged)));
}

fn take_out(brought: &mut BroughtPatches, package: &PkgInst, path: &ObjectPath, line: ContentsLine) {
    let planned = brought.lines.get(path).map(|(_, line)| line.clone());
    let mut line = planned.unwrap_or(Some(line));
    if let Some(line) = &mut line {
        line.owners.retain(|owner| owner.package != *package);
    }
    let line = line.filter(|line| !line.owners.is_empty());
    brought.lines.insert(path.clone(), (package.clone(), line));
}
