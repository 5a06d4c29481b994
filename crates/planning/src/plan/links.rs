//! Hard links that a package delivers, or that a replaced file would leave on the old inode. Recorded names of a
//! replaced file are created again in the same run, so that they stay one file (unlike with the classic tools). A
//! second name that is no longer the same file is a local edit and stays.

use std::collections::BTreeMap;

use patchadm_rootfs::{Live, LiveKind};
use patchadm_svr4::package::{ContentsLine, Ftype, Object, ObjectPath, PkgInst};

use super::placing::{Handling, as_it_is};
use super::plan_builder::PlanBuilder;
use super::refusal::{ObjectProblem, Reason};
use super::target::{PackageTarget, Wanted, leads_to_itself};
use super::{Action, Body, Merge, NewObject, NewXattrs};

const LONGEST_CHAIN: usize = 40;

impl PlanBuilder<'_> {
    pub(super) fn link(
        &mut self,
        target: &PackageTarget<'_>,
        wanted: &Wanted<'_>,
        handling: &Handling,
    ) -> Result<(), Reason> {
        self.plan_link(target, wanted, handling).map_err(|problem| target.refuse(&wanted.path, problem))
    }

    fn plan_link(
        &mut self,
        target: &PackageTarget<'_>,
        wanted: &Wanted<'_>,
        handling: &Handling,
    ) -> Result<(), ObjectProblem> {
        let (package, path) = (&target.package, &wanted.path);
        if *handling == Handling::Leave {
            self.share_as_it_is(package, path);
            return Ok(());
        }
        let to = wanted.object.target.as_deref().ok_or(ObjectProblem::Unknown("target"))?;
        let source = path.link_source(to).map_err(|error| ObjectProblem::BadPath(error.to_string()))?;
        if let Some(place) = leads_to_itself(self.inventory, path, &wanted.object) {
            self.leave_itself(path, &place);
            return Ok(());
        }
        if self.claim(package, path)?.is_some() {
            return Ok(());
        }
        self.check_reserved(path)?;
        self.open_way(package, path)?;
        self.check_reserved(&source)?;
        let new = self.other_name(path, &source)?;
        let old = self.old(path);
        if let Handling::Beside(suffix) = handling {
            let beside = self.free_name(path, suffix)?;
            self.change(package, &beside, Action::Add(new));
            self.kept.insert(path.clone());
            self.merges.push(Merge { path: path.clone(), beside });
            return Ok(());
        }
        match old {
            None => self.change(package, path, Action::Add(new)),
            Some(old) if self.is_name_of(old, &source) => {}
            Some(old) => {
                self.check_obstacle(path)?;
                if let Handling::CopyFirst(suffix) = handling {
                    self.keep_copy(package, path, old, suffix)?;
                }
                self.change(package, path, Action::Replace(new));
            }
        }
        self.record(package, path, Object::clone(&wanted.object));
        Ok(())
    }

    pub(super) fn leave_itself(&mut self, path: &ObjectPath, place: &ObjectPath) {
        let [shown, place] = [path, place].map(|path| self.inventory.show(path));
        self.notes.push(format!(
            "{shown} is left unchanged: on this root, the link would lead to itself ({place})"
        ));
    }

    /// Recreates recorded hard links whose file is replaced.
    pub(super) fn relink(&mut self) -> Result<(), Reason> {
        let inventory = self.inventory;
        for path in inventory.recorded_links() {
            if self.changes.contains_key(path) || self.kept.contains(path) {
                continue;
            }
            if self.line(path).is_none_or(|now| now.object.ftype != Ftype::Link) {
                continue;
            }
            let Some(source) = file_of(path, |at| self.line(at)) else { continue };
            let Some(change) = self.changes.get(&source) else { continue };
            let (Action::Replace(new), Some(before)) = (&change.action, &change.old) else { continue };
            let turns_link =
                matches!(new.body, Body::Symlink(_)) && !matches!(before.kind, LiveKind::Symlink(_));
            if turns_link || matches!(new.body, Body::Directory) {
                // the name stays that of the old file
                continue;
            }
            let Some(old) = self.old(path) else { continue };
            let package = change.package.clone();
            if old.inode != before.inode {
                let (path, source) = (self.inventory.show(path), self.inventory.show(&source));
                self.notes
                    .push(format!("{path} is no longer another name of {source}; it is left unchanged"));
                continue;
            }
            if let Some(owner) = self.inventory.foreign_owner(&package, path) {
                let path = self.inventory.show(path);
                self.notes.push(format!("{path} stays: it belongs to {}", owner.with_manager()));
                continue;
            }
            let new = NewObject { body: another_name(&source, &new.body), ..new.clone() };
            self.check_obstacle(path).map_err(|problem| Reason::Object {
                package: package.clone(),
                path: path.to_string(),
                problem,
            })?;
            self.change(&package, path, Action::Replace(new));
        }
        self.flatten()
    }

    /// Resolves links to links: every link of the run must name a file.
    fn flatten(&mut self) -> Result<(), Reason> {
        let links: Vec<(PkgInst, ObjectPath, ObjectPath)> = self
            .changes
            .iter()
            .filter_map(|(path, change)| match &change.action {
                Action::Add(NewObject { body: Body::Link(source), .. })
                | Action::Replace(NewObject { body: Body::Link(source), .. }) => {
                    Some((change.package.clone(), path.clone(), source.clone()))
                }
                _ => None,
            })
            .collect();
        let next: BTreeMap<&ObjectPath, &ObjectPath> = links.iter().map(|(_, path, to)| (path, to)).collect();
        for (package, path, source) in &links {
            let mut chain = std::iter::successors(Some(source), |at| next.get(*at).copied());
            let file = chain.by_ref().take(LONGEST_CHAIN).find(|at| !next.contains_key(*at));
            let object = file.ok_or(source).and_then(|file| self.other_name(path, file).map_err(|_| file));
            let object = object.map_err(|at| Reason::Object {
                package: package.clone(),
                path: path.to_string(),
                problem: ObjectProblem::LinkSource(at.clone()),
            })?;
            if let Some(change) = self.changes.get_mut(path)
                && let Action::Add(new) | Action::Replace(new) = &mut change.action
            {
                *new = object;
            }
        }
        Ok(())
    }

    /// Symbolic links are not followed: they may have several names, too.
    pub(super) fn other_name(
        &self,
        path: &ObjectPath,
        source: &ObjectPath,
    ) -> Result<NewObject, ObjectProblem> {
        let wrong = || ObjectProblem::LinkSource(source.clone());
        if source == path {
            return Err(wrong());
        }
        match self.changes.get(source).map(|change| &change.action) {
            Some(Action::Add(new) | Action::Replace(new)) => match &new.body {
                Body::Directory => Err(wrong()),
                _ => Ok(NewObject { body: another_name(source, &new.body), ..new.clone() }),
            },
            Some(Action::Delete | Action::RemoveDirectory) => Err(wrong()),
            Some(Action::Attributes(_)) | None => {
                let live = self.old(source).filter(|live| !live.is_directory()).ok_or_else(wrong)?;
                let xattrs = NewXattrs::Inherited;
                Ok(NewObject { mtime: None, xattrs, ..as_it_is(live, Body::Link(source.clone())) })
            }
        }
    }

    fn is_name_of(&self, old: &Live, source: &ObjectPath) -> bool {
        !self.changes.contains_key(source) && self.old(source).is_some_and(|live| live.inode == old.inode)
    }
}

/// The link names the file itself, so the order of creation does not matter.
fn another_name(source: &ObjectPath, body: &Body) -> Body {
    match body {
        Body::Link(file) => Body::Link(file.clone()),
        _ => Body::Link(source.clone()),
    }
}

/// Sorts hard links so that links to links come after the links that they name.
pub(super) fn sources_first<'w, 'a, T>(objects: Vec<(T, &'w Wanted<'a>)>) -> Vec<(T, &'w Wanted<'a>)> {
    let mut links: Vec<_> =
        objects.into_iter().filter(|(_, each)| each.object.ftype == Ftype::Link).collect();
    let named: BTreeMap<&ObjectPath, Option<ObjectPath>> = links
        .iter()
        .map(|(_, each)| {
            let target = each.object.target.as_deref();
            (&each.path, target.and_then(|target| each.path.link_source(target).ok()))
        })
        .collect();
    let depth = |path: &ObjectPath| {
        let next = |at: &ObjectPath| named.get(at).cloned().flatten();
        std::iter::successors(next(path), next).take(LONGEST_CHAIN).count()
    };
    links.sort_by_cached_key(|(_, each)| depth(&each.path));
    links
}

pub(super) fn root_of(path: &ObjectPath, lines: &BTreeMap<ObjectPath, ContentsLine>) -> Option<ObjectPath> {
    file_of(path, |at| lines.get(at))
}

fn file_of<'l>(
    path: &ObjectPath,
    line: impl Fn(&ObjectPath) -> Option<&'l ContentsLine>,
) -> Option<ObjectPath> {
    let mut at = path.clone();
    for _ in 0..LONGEST_CHAIN {
        match line(&at).map(|line| &line.object) {
            Some(Object { ftype: Ftype::Link, target: Some(target), .. }) => {
                at = at.link_source(target).ok()?;
            }
            _ => return (at != *path).then_some(at),
        }
    }
    None
}
