//! The taken objects that stay in their place and only get other attributes.
//!
//! An object stays if its content is that of the stage already, if every attribute can be set on it, and if afterwards
//! only those names share its file that do so in the stage. If names of one file part, the first of them becomes a
//! separate file, until the rest fits.

use std::collections::{BTreeMap, BTreeSet};

use super::input::{NamesOfFiles, PromotionInput, TakenObject};
use super::wanted_state::{WantedState, is_settable_in_place};
use crate::plan::plan_builder::PlanBuilder;
use patchadm_changeset::format::manifest::{RecordedState, StateDifferences};
use patchadm_rootfs::Live;
use patchadm_svr4::package::ObjectPath;

/// Returns the taken paths whose objects stay in their place.
pub(super) fn in_place(input: &PromotionInput<'_>, draft: &PlanBuilder<'_>) -> BTreeSet<ObjectPath> {
    let stays = |(path, taken): &(&ObjectPath, &TakenObject<'_>)| {
        let Some(old) = draft.old(path) else { return false };
        let change = WantedState::of(draft, path, taken.object, input.options.owners).change(old);
        let is_settable = change.is_none_or(|change| is_settable_in_place(&change, old));
        taken.time_only || has_same_content(old, taken.object) && is_settable
    };
    let paths = input.taken.iter().filter(stays).map(|(path, _)| path.clone()).collect();
    let deleted: BTreeSet<&ObjectPath> = input.deleted.iter().collect();
    let (stage, live) = (input.stage_names, input.live_names);
    let paths = without_foreign_names(paths, &input.taken, &deleted, stage, live);
    with_one_file_each(&paths, stage, live)
}

/// Takes names out that are one file in the stage and several on the live tree: the first stays, and the others become
/// names of it.
fn with_one_file_each(
    in_place: &BTreeSet<ObjectPath>,
    stage: &NamesOfFiles,
    live: &NamesOfFiles,
) -> BTreeSet<ObjectPath> {
    let is_of_first = |path: &&ObjectPath| {
        let first = stage.all(path).iter().find(|name| in_place.contains(*name));
        first.is_none_or(|first| live.are_one(first, path))
    };
    in_place.iter().filter(is_of_first).cloned().collect()
}

/// Removes paths until no remaining file has, in the stage, a name outside the set.
fn without_foreign_names(
    mut in_place: BTreeSet<ObjectPath>,
    taken: &BTreeMap<ObjectPath, TakenObject<'_>>,
    deleted: &BTreeSet<&ObjectPath>,
    stage: &NamesOfFiles,
    live: &NamesOfFiles,
) -> BTreeSet<ObjectPath> {
    let with_names: Vec<ObjectPath> =
        in_place.iter().filter(|path| !live.all(path).is_empty()).cloned().collect();
    loop {
        let before = in_place.len();
        for path in &with_names {
            let leaves = |name: &ObjectPath| {
                deleted.contains(name) || taken.contains_key(name) && !in_place.contains(name)
            };
            let mut names = live.all(path).iter().filter(|name| !leaves(name));
            if !names.all(|name| stage.are_one(path, name)) {
                in_place.remove(path);
            }
        }
        if in_place.len() == before {
            return in_place;
        }
    }
}

/// Tells whether two objects have the same type and the same bytes, target or numbers.
pub(super) fn has_same_content(old: &Live, new: &Live) -> bool {
    !StateDifferences::between(&RecordedState::of(old), &RecordedState::of(new)).is_of_content()
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::LiveKind;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    fn names(files: &[&[&str]]) -> NamesOfFiles {
        let numbered = (1..).zip(files);
        NamesOfFiles::of(
            numbered.flat_map(|(number, names)| names.iter().map(move |name| (path(name), number))),
        )
    }

    /// Returns, of paths that all have the stage's content, those that stay where they are.
    fn staying(all: &[&str], live: &[&[&str]], stage: &[&[&str]]) -> Vec<String> {
        let object = Live {
            kind: LiveKind::Pipe,
            mode: patchadm_svr4::package::Mode::of(0o644),
            uid: 0,
            gid: 0,
            mtime: patchadm_rootfs::Timestamp::default(),
            ctime: patchadm_rootfs::Timestamp::default(),
            inode: patchadm_rootfs::Inode { number: 1, born: None },
            links: 1,
            xattrs: patchadm_rootfs::Xattrs::new(),
            obstacle: None,
        };
        let all: BTreeSet<ObjectPath> = all.iter().map(|name| path(name)).collect();
        let taken = all
            .iter()
            .map(|name| (name.clone(), TakenObject { object: &object, time_only: false, is_foreign: false }));
        let (live, stage) = (names(live), names(stage));
        let found = without_foreign_names(all.clone(), &taken.collect(), &BTreeSet::new(), &stage, &live);
        with_one_file_each(&found, &stage, &live).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_that_stay_one_file_stay_in_their_place() {
        assert_eq!(staying(&["/a", "/b"], &[&["/a", "/b"]], &[&["/a", "/b"]]), ["/a", "/b"]);
        assert_eq!(staying(&["/a", "/b"], &[], &[&["/a", "/b"]]), ["/a"], "and of two files one");
    }

    #[test]
    fn of_names_that_part_one_keeps_the_file() {
        assert_eq!(staying(&["/a", "/b"], &[&["/a", "/b"]], &[]), ["/b"]);
        assert_eq!(staying(&["/a", "/b", "/c"], &[&["/a", "/b", "/c"]], &[&["/b", "/c"]]), ["/b", "/c"]);
    }

    #[test]
    fn a_name_that_is_not_taken_keeps_the_file() {
        assert_eq!(staying(&["/a"], &[&["/a", "/b"]], &[]), Vec::<String>::new());
    }
}
