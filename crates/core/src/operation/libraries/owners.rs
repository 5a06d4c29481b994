//! The packages that own objects, by the place of the objects on the disk.

use std::collections::{BTreeMap, BTreeSet};

use super::library_state::LibraryState;
use super::settled::PlanToSettle;
use crate::operation::failure::Failure;
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::inventory::KeptLibraries;
use patchadm_libraries::{Follower, LibraryTree};
use patchadm_rootfs::Root;
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

/// The owners of objects after a plan, without packages that keep libraries.
pub(super) struct Owners {
    lines: BTreeMap<ObjectPath, ContentsLine>,
    names: BTreeMap<ObjectPath, Vec<ObjectPath>>,
}

impl Owners {
    /// Reads the lines of these objects. A package may name an object by a path through a link at the top of the root, such
    /// as `/bin` on a merged `/usr`.
    pub(super) fn read(
        root: &Root,
        physical: &BTreeSet<ObjectPath>,
        tree: &LibraryTree,
        (state, asked, kept): (&LibraryState<'_>, &PlanToSettle<'_>, &KeptLibraries),
    ) -> Result<Self, Failure> {
        let mut follower = tree.follower();
        let names: BTreeMap<ObjectPath, Vec<ObjectPath>> =
            physical.iter().map(|path| (path.clone(), names_of(path, &mut follower))).collect();
        let all: BTreeSet<ObjectPath> = names.values().flatten().cloned().collect();
        let found = lines_of_paths(&RecordView::live(root), &all)?;
        let mut lines: BTreeMap<ObjectPath, ContentsLine> = found
            .into_iter()
            .filter(|(path, _)| all.contains(path))
            .filter_map(|(path, line)| Some((path, kept.without_keepers(&line)?)))
            .collect();
        let known = |path: &ObjectPath| {
            let planned = asked.plan.contents.get(path).map(|line| line.as_deref().cloned());
            planned.or_else(|| state.lines.get(path).cloned())
        };
        for path in &all {
            match known(path) {
                Some(Some(line)) => drop(lines.insert(path.clone(), line)),
                Some(None) => drop(lines.remove(path)),
                None => {}
            }
        }
        Ok(Self { lines, names })
    }

    /// Returns the packages that own an object.
    pub(super) fn of(&self, physical: &ObjectPath) -> Vec<PkgInst> {
        let mut names = self.names.get(physical).into_iter().flatten();
        let line = names.find_map(|name| self.lines.get(name));
        let owners = line.into_iter().flat_map(|line| &line.owners);
        owners.map(|owner| owner.package.clone()).collect()
    }
}

/// Returns the paths by which packages may know an object.
fn names_of(physical: &ObjectPath, follower: &mut Follower<'_>) -> Vec<ObjectPath> {
    let mut names = vec![physical.clone()];
    let Some(rest) = physical.as_bytes().strip_prefix(b"/usr") else { return names };
    let Ok(short) = ObjectPath::new(rest) else { return names };
    let leads_there = follower.follow(short.as_bytes()).is_some_and(|way| way.path == *physical);
    if leads_there && short != *physical {
        names.push(short);
    }
    names
}
