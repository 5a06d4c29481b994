//! Deliveries and deletions of a sparse package: changes of a pair, paths that an earlier revision touched, and moved
//! objects. Also overlaps with other patches.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;

use super::PatchLists;
use super::pairs::ReleaseSide;
use super::previous::{PreviousError, PreviousPackage, PreviousPatch};
use patchadm_inputs::source::{Extent, Image, Origin, Source, SourceError, SourceProblem, open, patches_in};
use patchadm_releases::{ChangeKind, Differences, LinkGroup, ReleaseObject, TreeComparison};
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst};
use patchadm_svr4::patch::{PatchId, Requirement};

/// New objects in a directory get their attributes from this one.
const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveredObject {
    /// As it will be.
    pub object: ReleaseObject,
    /// The release with its content.
    pub side: ReleaseSide,
    pub why: DeliveryReason,
    /// State even empty extended attributes: the replaced object may have some, or its directory may give it some.
    pub says_xattrs: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryReason {
    /// Only the new release has it.
    Added,
    Replaced(Differences),
    /// Equal in both releases, but an earlier revision or another package put something else there.
    Again,
}

/// Both releases' lists of one package, each sorted by path.
#[derive(Clone, Copy, Debug)]
pub struct TwoLists<'a> {
    pub old: &'a [ReleaseObject],
    pub new: &'a [ReleaseObject],
}

/// Changes of a package's objects, by path.
#[derive(Clone, Debug, Default)]
pub struct PackageDelivery {
    /// Either all names of a file or none.
    pub delivered: BTreeMap<ObjectPath, DeliveredObject>,
    pub deleted: BTreeSet<ObjectPath>,
    /// Of delivered files with several names.
    groups: BTreeSet<(ReleaseSide, LinkGroup)>,
}

impl PackageDelivery {
    pub fn of(comparison: &TreeComparison, lists: TwoLists<'_>) -> Self {
        let mut delivery = Self::default();
        for change in &comparison.changes {
            let why = match change.kind {
                ChangeKind::Deleted => {
                    delivery.deleted.insert(change.path.clone());
                    continue;
                }
                ChangeKind::Added => DeliveryReason::Added,
                ChangeKind::Replaced(differences) => DeliveryReason::Replaced(differences),
            };
            delivery.deliver(&change.path, ReleaseSide::To, why, lists);
        }
        delivery.complete(lists);
        delivery
    }

    /// Delivers an object. The other names of its file follow with [`Self::complete`].
    fn deliver(&mut self, path: &ObjectPath, side: ReleaseSide, why: DeliveryReason, lists: TwoLists<'_>) {
        let list = if side == ReleaseSide::To { lists.new } else { lists.old };
        let Some(object) = object_at(list, path) else { return };
        self.groups.extend(object.link_group().map(|group| (side, group)));
        self.put(object, side, why, lists);
    }

    /// Delivers all names of the delivered files: once for all of them, because a package may have any number of each.
    fn complete(&mut self, lists: TwoLists<'_>) {
        for (side, list) in [(ReleaseSide::To, lists.new), (ReleaseSide::From, lists.old)] {
            for name in list {
                let group = name.link_group().map(|group| (side, group));
                if group.is_some_and(|group| self.groups.contains(&group))
                    && !self.delivered.contains_key(&name.path)
                {
                    self.put(name, side, DeliveryReason::Again, lists);
                }
            }
        }
    }

    fn put(
        &mut self,
        object: &ReleaseObject,
        side: ReleaseSide,
        why: DeliveryReason,
        TwoLists { old, new }: TwoLists<'_>,
    ) {
        let has_any = |list| object_at(list, &object.path).is_some_and(|other| !other.xattrs.is_empty());
        let parent = object.path.parent();
        let hands_down = |list| {
            let parent = parent.as_ref().and_then(|parent| object_at(list, parent));
            parent.is_some_and(|parent| parent.xattrs.contains_key(DEFAULT_ACL))
        };
        let says_xattrs = has_any(old) || has_any(new) || hands_down(old) || hands_down(new);
        let made = DeliveredObject { object: object.clone(), side, why, says_xattrs };
        self.deleted.remove(&object.path);
        self.delivered.insert(object.path.clone(), made);
    }

    /// Contains an earlier revision: its other paths are delivered as in the old release, or deleted if missing there.
    pub fn contain(&mut self, previous: &PreviousPackage, lists: TwoLists<'_>) {
        for path in &previous.paths {
            if self.delivered.contains_key(path) || self.deleted.contains(path) {
                continue;
            }
            if object_at(lists.old, path).is_some() {
                self.deliver(path, ReleaseSide::From, DeliveryReason::Again, lists);
            } else {
                self.deleted.insert(path.clone());
            }
        }
        self.complete(lists);
        for (path, delivered) in &mut self.delivered {
            let parent = path.parent();
            let has_any = |path: &ObjectPath| previous.with_xattrs.contains(path);
            delivered.says_xattrs |= has_any(path) || parent.as_ref().is_some_and(has_any);
        }
    }

    pub fn is_empty(&self) -> bool {
        self.delivered.is_empty() && self.deleted.is_empty()
    }

    /// Returns the first name of each delivered file with several names, by side and group.
    pub fn first_names(&self) -> BTreeMap<(ReleaseSide, LinkGroup), &ObjectPath> {
        let mut first = BTreeMap::new();
        for delivered in self.delivered.values() {
            if let Some(group) = delivered.object.link_group() {
                first.entry((delivered.side, group)).or_insert(&delivered.object.path);
            }
        }
        first
    }
}

/// Delivers objects again that moved to another package, so that they exist in either order of application.
pub fn deliver_moved(packages: &mut [(PackageDelivery, TwoLists<'_>)]) {
    let mut given_up: BTreeMap<ObjectPath, Vec<usize>> = BTreeMap::new();
    for (at, (delivery, _)) in packages.iter().enumerate() {
        delivery.deleted.iter().for_each(|path| given_up.entry(path.clone()).or_default().push(at));
    }
    for (at, (delivery, lists)) in packages.iter_mut().enumerate() {
        for object in lists.new.iter().filter(|object| !object.is_directory()) {
            let mut from = given_up.get(&object.path).into_iter().flatten();
            if from.any(|from| *from != at) && !delivery.delivered.contains_key(&object.path) {
                delivery.deliver(&object.path, ReleaseSide::To, DeliveryReason::Again, *lists);
            }
        }
        delivery.complete(*lists);
    }
}

pub fn object_at<'a>(list: &'a [ReleaseObject], path: &ObjectPath) -> Option<&'a ReleaseObject> {
    let at = list.binary_search_by(|object| object.path.cmp(path)).ok()?;
    list.get(at)
}

/// A patch beside the new one.
#[derive(Debug)]
pub struct OtherPatch {
    /// Its id, lists and paths.
    pub patch: PreviousPatch,
    source: Source,
    image: Image,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{id} and {other} both have {path} of package {pkg}, and {more} more; neither requires nor obsoletes the other"
)]
pub struct Overlap {
    pub id: PatchId,
    pub other: PatchId,
    pub pkg: PkgInst,
    /// The first path of both.
    pub path: ObjectPath,
    /// Number of further common paths.
    pub more: usize,
}

impl OtherPatch {
    /// Opens a patch, or all patches of a directory in the order of names.
    pub fn open_all(operand: &Path) -> Result<Vec<Self>, PreviousError> {
        let names = if operand.is_dir() { patches_in(operand) } else { Vec::new() };
        if names.is_empty() {
            return Ok(vec![Self::open(operand)?]);
        }
        names.iter().map(|(name, _)| Self::open(&operand.join(name))).collect()
    }

    fn open(path: &Path) -> Result<Self, PreviousError> {
        let (source, image) = open(Origin::Path(path), Extent::Everything)?;
        let patch = PreviousPatch::of(&image, &path.display().to_string())?;
        Ok(Self { patch, source, image })
    }

    pub(super) fn each_file(
        &self,
        look: &mut dyn FnMut(&PackagePath, &mut dyn Read) -> io::Result<()>,
    ) -> Result<(), SourceError> {
        self.source.stream_checked(&self.image, &mut |_, _| true, &mut |_, path, _, data: &mut dyn Read| {
            let looked = look(path, data).and_then(|()| io::copy(data, &mut io::sink()).map(drop));
            looked.map_err(|error| SourceError {
                path: self.source.path().to_owned(),
                problem: SourceProblem::Io { file: Some(path.to_string()), error },
            })
        })
    }
}

/// Refuses a path of another patch, unless one of the two names the other.
pub(super) fn overlaps(
    id: &PatchId,
    lists: &PatchLists,
    others: &[OtherPatch],
    packages: &[(&PkgInst, &PackageDelivery)],
) -> Result<(), Box<Overlap>> {
    for other in others.iter().map(|other| &other.patch) {
        if other.id.same_base(id) || names(lists, &other.id) || names(&other.lists, id) {
            continue;
        }
        for (pkg, delivery) in packages.iter().copied() {
            let theirs = other.packages.iter().filter(|package| package.pkg == pkg.as_str());
            let common: BTreeSet<&ObjectPath> =
                theirs.flat_map(|package| in_both(package, delivery)).collect();
            if let Some(path) = common.first() {
                return Err(Box::new(Overlap {
                    id: id.clone(),
                    other: other.id.clone(),
                    pkg: pkg.clone(),
                    path: (*path).clone(),
                    more: common.len() - 1,
                }));
            }
        }
    }
    Ok(())
}

fn in_both<'a>(
    theirs: &'a PreviousPackage,
    delivery: &'a PackageDelivery,
) -> impl Iterator<Item = &'a ObjectPath> {
    let is_ours = |path: &&ObjectPath| match delivery.delivered.get(*path) {
        Some(delivered) => !delivered.object.is_directory(),
        None => delivery.deleted.contains(*path),
    };
    theirs.paths.iter().filter(is_ours)
}

fn names(lists: &PatchLists, id: &PatchId) -> bool {
    let required = lists.requires.iter().flat_map(Requirement::ids);
    required.chain(lists.obsoletes.iter()).any(|named| named.same_base(id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::tests::made_up::{directory, file, link, symlink};
    use patchadm_releases::{CompareOptions, compare};

    fn at(path: &str) -> ObjectPath {
        ObjectPath::new(path.as_bytes()).unwrap()
    }

    fn previous(paths: &[&str]) -> PreviousPackage {
        PreviousPackage { paths: paths.iter().map(|path| at(path)).collect(), ..PreviousPackage::default() }
    }

    fn told(delivery: &PackageDelivery) -> Vec<String> {
        let delivered = delivery.delivered.values().map(|one| {
            let why = match one.why {
                DeliveryReason::Added => "added".to_owned(),
                DeliveryReason::Replaced(differences) => differences.to_string(),
                DeliveryReason::Again => "again".to_owned(),
            };
            format!("{} {why} {:?}", one.object.path, one.side)
        });
        let deleted = delivery.deleted.iter().map(|path| format!("{path} deleted"));
        delivered.chain(deleted).collect()
    }

    fn delivery(lists: TwoLists<'_>) -> PackageDelivery {
        PackageDelivery::of(&compare(lists.old, lists.new, CompareOptions::default()), lists)
    }

    #[test]
    fn a_revision_takes_back_what_the_one_before_it_did_and_it_does_not() {
        let old = [directory("/d"), file("/d/a", "1"), file("/d/b", "1"), file("/d/c", "1")];
        let new = [directory("/d"), file("/d/a", "3"), file("/d/b", "1"), file("/d/c", "1")];
        let lists = TwoLists { old: &old, new: &new };
        let mut delivery = delivery(lists);
        assert_eq!(told(&delivery), ["/d/a bytes To"]);
        // The revision before it changed a and b, deleted c and added x.
        delivery.contain(&previous(&["/d/a", "/d/b", "/d/c", "/d/x"]), lists);
        assert_eq!(told(&delivery), ["/d/a bytes To", "/d/b again From", "/d/c again From", "/d/x deleted"]);
    }

    #[test]
    fn every_name_of_a_file_comes_back_with_one() {
        let list = [link("/a", "x", 4), link("/b", "x", 4), file("/c", "x")];
        let lists = TwoLists { old: &list, new: &list };
        let mut delivery = delivery(lists);
        delivery.contain(&previous(&["/b"]), lists);
        assert_eq!(told(&delivery), ["/a again From", "/b again From"]);
        assert_eq!(delivery.first_names().values().collect::<Vec<_>>(), [&&at("/a")]);
    }

    #[test]
    fn a_file_with_many_names_and_many_files_with_two_take_no_time_for_each_pair_of_them() {
        const COUNT: u32 = 20_000;
        let of = |text: &'static str, groups: u32| {
            let object = move |number: u32| link(&format!("/{number:06}"), text, number % groups);
            (0..COUNT).map(object).collect::<Vec<_>>()
        };
        for groups in [1, COUNT / 2] {
            let (old, new) = (of("1", groups), of("2", groups));
            let lists = TwoLists { old: &old, new: &new };
            let mut delivery = delivery(lists);
            delivery.contain(&previous(&["/000000"]), lists);
            assert_eq!(delivery.delivered.len(), COUNT as usize);
            let mut moved = [(delivery, lists), (PackageDelivery::default(), lists)];
            moved[1].0.deleted.extend(old.iter().map(|object| object.path.clone()));
            deliver_moved(&mut moved);
            assert!(moved[0].0.delivered.values().all(|one| one.side == ReleaseSide::To));
        }
    }

    #[test]
    fn attributes_are_said_where_either_release_or_the_revision_before_has_some() {
        let (mut old, new) = (file("/a", "1"), file("/a", "2"));
        old.xattrs.insert(b"user.note".to_vec(), b"x".to_vec());
        let (old, new) = ([old, file("/b", "1")], [new, file("/b", "2")]);
        let lists = TwoLists { old: &old, new: &new };
        let mut delivery = delivery(lists);
        let says = |delivery: &PackageDelivery, path| delivery.delivered[&at(path)].says_xattrs;
        assert!(says(&delivery, "/a") && !says(&delivery, "/b"));
        let mut before = previous(&["/b"]);
        before.with_xattrs = before.paths.clone();
        delivery.contain(&before, lists);
        assert!(says(&delivery, "/b"));
    }

    #[test]
    fn attributes_are_said_where_the_directory_may_hand_some_down() {
        let mut above = directory("/d");
        above.xattrs.insert(DEFAULT_ACL.to_vec(), b"x".to_vec());
        let old = [directory("/c"), above, directory("/e")];
        let fresh = ["/c/f", "/d/f", "/e/f"].map(|path| file(path, "new"));
        let new: Vec<ReleaseObject> =
            old.iter().zip(&fresh).flat_map(|(one, other)| [one, other]).cloned().collect();
        let lists = TwoLists { old: &old, new: &new };
        let mut delivery = delivery(lists);
        let mut before = previous(&["/e"]);
        before.with_xattrs = before.paths.clone();
        delivery.contain(&before, lists);
        let says = fresh.each_ref().map(|object| delivery.delivered[&object.path].says_xattrs);
        assert_eq!(says, [false, true, true]);
    }

    #[test]
    fn what_another_package_gives_up_is_delivered_by_the_one_that_has_it() {
        let (one, other) = ([file("/p", "1"), symlink("/s", "x")], [file("/p", "2"), file("/q", "1")]);
        let (gave_up, none) = (TwoLists { old: &one, new: &[] }, TwoLists { old: &other, new: &other });
        let mut both = [(delivery(gave_up), gave_up), (delivery(none), none)];
        deliver_moved(&mut both);
        assert_eq!(told(&both[0].0), ["/p deleted", "/s deleted"]);
        assert_eq!(told(&both[1].0), ["/p again To"]);
    }
}
