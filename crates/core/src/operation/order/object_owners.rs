//! The owners of programs and libraries, each by its physical path, as the loader finds it.

use std::collections::{BTreeSet, HashMap};

use super::library_uses::LibraryUses;
use patchadm_inputs::database::{DatabaseError, RecordView, contents, pieces};
use patchadm_libraries::{Follower, LibraryTree};
use patchadm_planning::order::{EdgeKind, NeedEdge};
use patchadm_rootfs::never;
use patchadm_svr4::package::{ContentsLine, Ftype, ObjectPath};

/// The packages of programs and libraries, by path.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectOwners(HashMap<ObjectPath, Vec<String>>);

impl ObjectOwners {
    /// Reads the owners of the files of a tree.
    pub(super) fn read(
        view: &RecordView<'_>,
        tree: &LibraryTree,
        workers: usize,
    ) -> Result<Self, DatabaseError> {
        let mut owners = Self::default();
        if tree.files().next().is_none() {
            return Ok(owners);
        }
        let in_pieces = pieces::every(view, workers, &never, || {
            let mut follower = tree.follower();
            move |line| of_line(tree, &mut follower, line)
        })?;
        let line_by_line = || -> Result<Vec<_>, DatabaseError> {
            let lines = contents::scan(view, |_| true)?;
            let mut follower = tree.follower();
            Ok(lines.into_values().filter_map(|line| of_line(tree, &mut follower, line)).collect())
        };
        for (path, packages) in in_pieces.map_or_else(line_by_line, Ok)? {
            owners.add(path, packages);
        }
        Ok(owners)
    }

    /// Records packages of a file.
    pub(super) fn add(&mut self, path: ObjectPath, packages: Vec<String>) {
        let known = self.0.entry(path).or_default();
        known.extend(packages);
        known.sort();
        known.dedup();
    }

    /// Returns the packages of a file, or its path if it has none.
    pub(super) fn nodes(&self, path: &ObjectPath) -> Vec<String> {
        self.0.get(path).cloned().unwrap_or_else(|| vec![path.to_string()])
    }

    /// Returns the edges from the packages of loading objects to those of loaded ones. A use within one package is no edge.
    pub(super) fn edges(&self, uses: &LibraryUses) -> Vec<NeedEdge> {
        let mut edges = BTreeSet::new();
        for (path, uses) in &uses.uses {
            let own = self.nodes(path);
            for one in uses {
                let needed = self.nodes(&one.library);
                for from in own.iter().filter(|from| !needed.contains(from)) {
                    edges.extend(needed.iter().map(|to| NeedEdge {
                        from: from.clone(),
                        to: to.clone(),
                        kind: EdgeKind::Elf,
                        object: Some(path.to_string()),
                        need: one.name.clone(),
                    }));
                }
            }
        }
        edges.into_iter().collect()
    }
}

/// Returns the physical path and the packages of a line about a program or library. The path in the records may lead there
/// through links of directories.
fn of_line(
    tree: &LibraryTree,
    follower: &mut Follower<'_>,
    line: ContentsLine,
) -> Option<(ObjectPath, Vec<String>)> {
    if !line.object.ftype.is_regular() && line.object.ftype != Ftype::Link {
        return None;
    }
    let physical = if tree.file_at(&line.path).is_some() {
        line.path
    } else {
        let way = follower.follow(line.path.as_bytes())?;
        if way.path.name() != line.path.name() {
            return None;
        }
        way.path
    };
    Some((physical, line.owners.into_iter().map(|owner| owner.package.to_string()).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::order::library_uses::LibraryUse;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_library_of_several_packages_is_needed_from_all_of_them_but_by_none_of_them() {
        let mut owners = ObjectOwners::default();
        for (object, package) in [("/bin/a", "A"), ("/lib/x", "X"), ("/lib/x", "Y"), ("/bin/x", "X")] {
            owners.add(path(object), vec![package.to_owned()]);
        }
        let mut uses = LibraryUses::default();
        for object in ["/bin/a", "/bin/x", "/bin/own"] {
            let one = LibraryUse { name: "x".to_owned(), library: path("/lib/x") };
            uses.uses.insert(path(object), vec![one]);
        }
        let edges = owners.edges(&uses);
        let edges: Vec<String> = edges.iter().map(|edge| format!("{}>{}", edge.from, edge.to)).collect();
        assert_eq!(edges, ["/bin/own>X", "/bin/own>Y", "A>X", "A>Y"]);
    }
}
