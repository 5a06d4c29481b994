//! Makes a set: selects, checks, publishes.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use patchadm_bulk_values::conf::SetOnFailure;
use patchadm_bulk_values::report::{LeftOutPackage, ReportedSet, SharedPath};
use patchadm_bulk_values::result::KeyInputs;
use patchadm_rootfs::{Interrupt, Root};
use patchadm_svr4::package::ObjectPath;

use super::delivered::ArchivedObjects;
use super::libraries::{BaseLibraries, is_of_content, leave_out_lacking, read_delivered};
use super::publishing::{LARGEST_MANIFEST, ManifestRoom, publish_within, set_behind};
use super::selection::{EarlierSet, SetEntry, earlier_versions, leave_out_needy, must_suffice, select};
use super::{CURRENT, PACKAGES, SetError, SetInput, SetRefusal};
use crate::object_places::{
    LARGEST_IN_ALL, ObjectPlaces, OverlongPlaces, PathKind, PlacedObject, root_of_base,
};
use crate::pool::Pool;
use crate::shared_paths::{
    BaseConflict, OF_BASE, conflict_with_base, conflicts, delivery_of, disputed_places,
};
use crate::work::BulkWork;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeSet {
    pub report: ReportedSet,
    /// Only the first package of each path is in the set.
    pub shared_paths: Vec<SharedPath>,
}

/// The caller holds the locks of the working directory and the pool.
pub fn make_set(work: &BulkWork, input: &SetInput<'_>) -> Result<Result<MadeSet, SetRefusal>, SetError> {
    make_set_within(work, input, LARGEST_MANIFEST)
}

/// Limits the size of the manifest, so that it can be read again.
pub(super) fn make_set_within(
    work: &BulkWork,
    input: &SetInput<'_>,
    most: u64,
) -> Result<Result<MadeSet, SetRefusal>, SetError> {
    let previous = set_behind(work, CURRENT)?;
    let pool = Pool::open(&work.conf.pool)?;
    let needs_of = |entry: &SetEntry| {
        let inputs = pool.find(&entry.key)?.into_entry().map(|found| found.result.inputs);
        Ok(inputs.iter().flat_map(KeyInputs::packages).map(str::to_owned).collect())
    };
    let selected = select((input.run, input.packages), previous.as_ref(), &work.conf, &needs_of)?;
    let (entries, mut left_out) = match selected {
        Ok(selected) => selected,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let mut selected: BTreeSet<String> =
        entries.iter().flat_map(SetEntry::packages).map(str::to_owned).collect();
    let (entries, delivered, unusable) = read_delivered(entries, LARGEST_IN_ALL, input.interrupt)?;
    let base = root_of_base(&work.conf.base)?;
    selected.extend(delivered.iter().flat_map(|objects| objects.delivery.packages.iter().cloned()));
    let mut apart = apart((entries, delivered), base.as_ref(), previous.as_ref(), input.interrupt)?;
    apart.2.extend(unusable);
    let room = ManifestRoom::new(input, most);
    apart.2.extend(leave_out_too_large(&mut apart.0, &room));
    let (mut entries, shared_paths, early) = match work.conf.set_on_failure {
        SetOnFailure::Old => keep_earlier(apart, (base.as_ref(), previous.as_ref()), &room, input.interrupt)?,
        SetOnFailure::Without | SetOnFailure::NoSet => apart,
    };
    let libraries_of_base = BaseLibraries::new(work, input.interrupt);
    let (mut lacking, mut unmet) = (Vec::new(), Vec::new());
    loop {
        let of_libraries = leave_out_lacking(&mut entries, &libraries_of_base, input.interrupt)?;
        lacking.extend(of_libraries.packages);
        unmet.extend(of_libraries.unmet);
        let mut needy = leave_out_needy(&mut entries, previous.as_ref(), &needs_of)?;
        needy.extend(leave_out_dependents(&mut entries, &selected));
        if needy.is_empty() {
            break;
        }
        lacking.extend(needy);
    }
    let entries: Vec<SetEntry> = entries.into_iter().map(|(entry, _)| entry).collect();
    if !early.is_empty() || !lacking.is_empty() {
        left_out.extend(early);
        left_out.extend(lacking);
        if let Err(refusal) = must_suffice(&entries, previous.as_ref(), &work.conf) {
            return Ok(Err(refusal));
        }
    }
    publish_within(work, input, &entries, most)?;
    let kept = entries.iter().filter(|entry| entry.is_kept);
    let report = ReportedSet {
        run: input.run,
        packages: entries.len() as u64,
        kept: kept.map(|entry| format!("{} (run {})", entry.package, entry.run)).collect(),
        unmet,
        left_out,
    };
    Ok(Ok(MadeSet { report, shared_paths }))
}

type ApartEntries = (Vec<(SetEntry, ArchivedObjects)>, Vec<SharedPath>, Vec<LeftOutPackage>);

/// Removes packages that deliver another one's path, or a link in place of its directory. Preference, in order: the
/// package with the path in the previous set (or alone with its directory), one of that set, one without the link, the
/// first location in byte order.
fn apart(
    (entries, delivered): (Vec<SetEntry>, Vec<ArchivedObjects>),
    base: Option<&Root>,
    previous: Option<&EarlierSet>,
    interrupt: Interrupt<'_>,
) -> Result<ApartEntries, SetError> {
    let deliveries = delivered.iter().map(|objects| &objects.delivery).collect();
    let places = ObjectPlaces::of(base, deliveries, interrupt).map_err(SetError::Interrupted)?;
    let placed = places.all_objects(interrupt).map_err(SetError::Interrupted)?;
    if placed.iter().any(Result::is_err) {
        let overlong = placed.iter().map(|objects| objects.as_ref().err().copied()).collect();
        drop((placed, places));
        return apart_from_overlong((entries, delivered), overlong, (base, previous), interrupt);
    }
    let placed: Vec<Vec<PlacedObject>> = placed.into_iter().flatten().collect();
    let mut of_base: BTreeMap<usize, BaseConflict> = BTreeMap::new();
    if let Some(base) = base {
        for (number, objects) in placed.iter().enumerate() {
            of_base.extend(conflict_with_base(base, objects)?.map(|conflict| (number, conflict)));
        }
    }
    if !of_base.is_empty() {
        drop(places);
        return apart_from_base((entries, delivered), &of_base, (base, previous), interrupt);
    }
    let disputed = disputed_places(placed.iter().map(Vec::as_slice));
    if disputed.is_empty() {
        return Ok((entries.into_iter().zip(delivered).collect(), Vec::new(), Vec::new()));
    }
    let disputed = DisputedPlaces::of(disputed, &entries, &placed, &places, previous)?;
    let mut ordered: Vec<_> = entries.into_iter().zip(delivered).zip(placed).collect();
    ordered.sort_by_cached_key(|((entry, _), objects)| {
        (disputed.claim(entry, objects), entry.location.clone(), entry.package.clone())
    });
    let found = conflicts(ordered.iter().map(|(_, objects)| objects.as_slice()));
    let names: Vec<String> = ordered.iter().map(|((entry, _), _)| entry.package.clone()).collect();
    let (mut stay, mut shared_paths, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (((entry, objects), _), conflicts) in ordered.into_iter().zip(found) {
        let name = |number: usize| names.get(number).cloned().unwrap_or_default();
        let Some(first) = conflicts.first() else {
            stay.push((entry, objects));
            continue;
        };
        shared_paths
            .extend(conflicts.iter().map(|one| one.to_shared_path(&name(one.holder), &entry.package)));
        left_out.push(entry.conflicting(first.path.to_string(), name(first.holder)));
    }
    stay.sort_by(|(entry, _), (other, _)| entry.package.cmp(&other.package));
    Ok((stay, shared_paths, left_out))
}

/// Removes locations with the largest manifest shares until the rest fits; among equals the last in byte order.
fn leave_out_too_large(
    entries: &mut Vec<(SetEntry, ArchivedObjects)>,
    room: &ManifestRoom<'_>,
) -> Vec<LeftOutPackage> {
    let mut shares: BTreeMap<String, u64> = BTreeMap::new();
    for (entry, _) in &*entries {
        *shares.entry(entry.location.clone()).or_default() += room.share(entry);
    }
    let mut length: u64 = shares.values().sum();
    let mut largest: Vec<(u64, String)> =
        shares.into_iter().map(|(location, share)| (share, location)).collect();
    largest.sort_unstable();
    let mut gone: BTreeSet<String> = BTreeSet::new();
    while length > room.most {
        let Some((share, location)) = largest.pop() else { break };
        length -= share;
        gone.insert(location);
    }
    let too_large = entries.extract_if(.., |(entry, _)| gone.contains(&entry.location));
    too_large.map(|(entry, _)| entry.too_large()).collect()
}

/// Keeps previous versions of left-out packages if they conflict with nothing and the manifest has room.
fn keep_earlier(
    (stay, mut shared_paths, mut left_out): ApartEntries,
    (base, previous): (Option<&Root>, Option<&EarlierSet>),
    room: &ManifestRoom<'_>,
    interrupt: Interrupt<'_>,
) -> Result<ApartEntries, SetError> {
    let (mut entries, mut delivered): (Vec<SetEntry>, Vec<ArchivedObjects>) = stay.into_iter().unzip();
    let mut earlier = earlier_versions(&entries, &left_out, previous);
    earlier.sort_by_cached_key(|entry| room.share(entry));
    let mut length: u64 = entries.iter().map(|entry| room.share(entry)).sum();
    earlier.retain(|entry| {
        length += room.share(entry);
        length <= room.most
    });
    earlier.sort_by(|one, other| one.package.cmp(&other.package));
    if earlier.is_empty() {
        return Ok((entries.into_iter().zip(delivered).collect(), shared_paths, left_out));
    }
    let restored: BTreeSet<String> = earlier.iter().map(|entry| entry.package.clone()).collect();
    let held = delivered.iter().map(ArchivedObjects::held).fold(0, usize::saturating_add);
    let (earlier, of_earlier, _) = read_delivered(earlier, LARGEST_IN_ALL.saturating_sub(held), interrupt)?;
    delivered.extend(of_earlier);
    entries.extend(earlier);
    let (stay, more_shared, more_left_out) = apart((entries, delivered), base, previous, interrupt)?;
    // A restored version that conflicts again was never in the set and is not reported.
    let is_of_another = |package: Option<&String>| package.is_some_and(|package| !restored.contains(package));
    shared_paths.extend(more_shared.into_iter().filter(|shared| is_of_another(shared.packages.last())));
    left_out.extend(more_left_out.into_iter().filter(|left| is_of_another(Some(&left.package))));
    Ok((stay, shared_paths, left_out))
}

/// Removes packages that depend on a selected package without a version in the set.
fn leave_out_dependents(
    entries: &mut Vec<(SetEntry, ArchivedObjects)>,
    selected: &BTreeSet<String>,
) -> Vec<LeftOutPackage> {
    let mut there: HashMap<&str, usize> = HashMap::new();
    let mut needed_by: HashMap<&str, Vec<usize>> = HashMap::new();
    for (number, (_, objects)) in entries.iter().enumerate() {
        for package in &objects.delivery.packages {
            *there.entry(package).or_default() += 1;
        }
        for need in &objects.delivery.needs {
            needed_by.entry(need).or_default().push(number);
        }
    }
    let mut gone: Vec<&str> =
        selected.iter().map(String::as_str).filter(|package| !there.contains_key(package)).collect();
    let mut lacking: BTreeMap<usize, String> = BTreeMap::new();
    while let Some(package) = gone.pop() {
        for &number in needed_by.get(package).into_iter().flatten() {
            if lacking.contains_key(&number) {
                continue;
            }
            lacking.insert(number, package.to_owned());
            let own = entries.get(number).into_iter().flat_map(|(_, objects)| &objects.delivery.packages);
            for own in own {
                let Some(count) = there.get_mut(own.as_str()) else { continue };
                *count -= 1;
                if *count == 0 {
                    gone.push(own);
                }
            }
        }
    }
    let mut left_out = Vec::new();
    let mut number = 0;
    entries.retain(|(entry, _)| {
        let lacks = lacking.remove(&number);
        number += 1;
        left_out.extend(lacks.as_ref().map(|name| entry.lacking(name.clone())));
        lacks.is_none()
    });
    left_out
}

/// Removes packages with too long places, then those that conflict.
fn apart_from_overlong(
    (entries, delivered): (Vec<SetEntry>, Vec<ArchivedObjects>),
    overlong: Vec<Option<OverlongPlaces>>,
    (base, previous): (Option<&Root>, Option<&EarlierSet>),
    interrupt: Interrupt<'_>,
) -> Result<ApartEntries, SetError> {
    let (mut rest, mut of_rest, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for ((entry, objects), overlong) in entries.into_iter().zip(delivered).zip(overlong) {
        if let Some(overlong) = overlong {
            left_out.push(entry.unusable(overlong.to_string()));
        } else {
            rest.push(entry);
            of_rest.push(objects);
        }
    }
    let (stay, shared_paths, more_left_out) = apart((rest, of_rest), base, previous, interrupt)?;
    left_out.extend(more_left_out);
    Ok((stay, shared_paths, left_out))
}

/// Removes packages that conflict with the base, then those that conflict with each other.
fn apart_from_base(
    (entries, delivered): (Vec<SetEntry>, Vec<ArchivedObjects>),
    of_base: &BTreeMap<usize, BaseConflict>,
    (base, previous): (Option<&Root>, Option<&EarlierSet>),
    interrupt: Interrupt<'_>,
) -> Result<ApartEntries, SetError> {
    let (mut shared_paths, mut left_out) = (Vec::new(), Vec::new());
    let (mut rest, mut of_rest) = (Vec::new(), Vec::new());
    for (number, (entry, objects)) in entries.into_iter().zip(delivered).enumerate() {
        let Some(conflict) = of_base.get(&number) else {
            rest.push(entry);
            of_rest.push(objects);
            continue;
        };
        shared_paths.push(conflict.to_shared_path(&entry.package));
        left_out.push(entry.conflicting(conflict.path.to_string(), OF_BASE.to_owned()));
    }
    // Removed links may change the places of other packages.
    let (stay, more_shared, more_left_out) = apart((rest, of_rest), base, previous, interrupt)?;
    shared_paths.extend(more_shared);
    left_out.extend(more_left_out);
    Ok((stay, shared_paths, left_out))
}

/// A package's claim to a shared path, the best one first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathClaim {
    /// It had a disputed place in the previous set, and takes none from others.
    Held,
    /// It was in the previous set.
    InSet,
    New,
    /// It takes a place that another package had in the previous set.
    Takes,
    /// Kept only for others.
    ForOthers,
}

/// Places claimed by several packages, with their previous owners.
struct DisputedPlaces {
    /// True for places where a package has a directory.
    places: BTreeMap<ObjectPath, bool>,
    /// Locations that had an object there, or were alone in having the directory above.
    held: BTreeMap<ObjectPath, Vec<(String, PathKind)>>,
    in_set: BTreeSet<String>,
}

impl DisputedPlaces {
    fn of(
        places: BTreeMap<ObjectPath, bool>,
        entries: &[SetEntry],
        placed: &[Vec<PlacedObject>],
        of_all: &ObjectPlaces<'_>,
        previous: Option<&EarlierSet>,
    ) -> Result<Self, SetError> {
        let mut locations: BTreeMap<&str, usize> = BTreeMap::new();
        for (number, (entry, objects)) in entries.iter().zip(placed).enumerate() {
            if objects.iter().any(|object| places.contains_key(&object.place)) {
                locations.entry(&entry.location).or_insert(number);
            }
        }
        let mut disputed = Self { places, held: BTreeMap::new(), in_set: BTreeSet::new() };
        let above = directories_above(disputed.places.keys());
        let mut directories: BTreeMap<ObjectPath, BTreeSet<&str>> = BTreeMap::new();
        for (set, (path, file)) in
            previous.iter().flat_map(|set| set.manifest.files.iter().map(move |file| (set, file)))
        {
            let Some(number) = locations.get(file.location.as_str()) else { continue };
            if !path.starts_with(PACKAGES) {
                continue;
            }
            disputed.in_set.insert(file.location.clone());
            let before = match delivery_of(&set.path.join(path)) {
                // A package that cannot be used any more holds nothing.
                Err(error) if is_of_content(&error.problem) => continue,
                before => before?,
            };
            let Ok(before) = of_all.placed(*number, &before.paths) else { continue };
            for object in before {
                if object.kind == PathKind::Directory && above.contains(object.place.as_bytes()) {
                    directories.entry(object.place.clone()).or_default().insert(&file.location);
                }
                if disputed.places.contains_key(&object.place) {
                    let holders = disputed.held.entry(object.place).or_default();
                    holders.push((file.location.clone(), object.kind));
                }
            }
        }
        disputed.give_to_directories(entries, placed, &directories);
        Ok(disputed)
    }

    /// Gives each place without an owner to the only candidate with the nearest directory above.
    fn give_to_directories(
        &mut self,
        entries: &[SetEntry],
        placed: &[Vec<PlacedObject>],
        directories: &BTreeMap<ObjectPath, BTreeSet<&str>>,
    ) {
        let mut wanted: BTreeMap<&ObjectPath, Vec<(&str, PathKind)>> = BTreeMap::new();
        for (entry, objects) in entries.iter().zip(placed).filter(|(entry, _)| !entry.is_for_others) {
            for object in objects {
                if self.places.contains_key(&object.place) && !self.held.contains_key(&object.place) {
                    wanted.entry(&object.place).or_default().push((&entry.location, object.kind));
                }
            }
        }
        for (place, by) in wanted {
            let holders = place.ancestors_bytes().find_map(|directory| {
                let had = directories.get(directory)?;
                let holders: Vec<_> = by.iter().filter(|(location, _)| had.contains(location)).collect();
                (!holders.is_empty()).then_some(holders)
            });
            if let Some([(location, kind)]) = holders.as_deref() {
                self.held.insert(place.clone(), vec![((*location).to_owned(), *kind)]);
            }
        }
    }

    /// The second value is true if the package has a non-directory in place of another one's directory.
    fn claim(&self, entry: &SetEntry, objects: &[PlacedObject]) -> (PathClaim, bool) {
        let (mut claim, mut is_in_the_way) = (None, false);
        if entry.is_for_others {
            return (PathClaim::ForOthers, false);
        }
        for PlacedObject { place, kind, .. } in objects {
            let Some(has_directory) = self.places.get(place) else { continue };
            is_in_the_way |= *has_directory && *kind != PathKind::Directory;
            let held = self.held.get(place).map(Vec::as_slice).unwrap_or_default();
            let (own, others): (Vec<_>, Vec<_>) =
                held.iter().partition(|(location, _)| *location == entry.location);
            let had_it = own.iter().any(|(_, before)| before == kind);
            if !had_it && others.iter().any(|(_, before)| !before.goes_with(*kind)) {
                return (PathClaim::Takes, is_in_the_way);
            }
            if !own.is_empty() {
                claim = Some(PathClaim::Held);
            }
        }
        let in_set = if self.in_set.contains(&entry.location) { PathClaim::InSet } else { PathClaim::New };
        (claim.unwrap_or(in_set), is_in_the_way)
    }
}

/// Returns each directory once, without copies: all directories above long paths would be a thousand times their bytes.
fn directories_above<'p>(places: impl Iterator<Item = &'p ObjectPath>) -> HashSet<&'p [u8]> {
    let mut above = HashSet::new();
    for place in places {
        for directory in place.ancestors_bytes() {
            if !above.insert(directory) {
                break;
            }
        }
    }
    above
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Copies of all directories above each path would take a gigabyte.
    #[test]
    fn the_directories_above_many_deep_paths_are_held_once_and_not_copied() {
        let deep = "/d".repeat(2_000);
        let places: Vec<ObjectPath> = (0..1_000)
            .map(|number| ObjectPath::new(format!("{deep}/{number}").as_bytes()).unwrap())
            .collect();
        let above = directories_above(places.iter());
        assert_eq!(above.len(), 2_001);
        assert!(above.contains(&b"/"[..]) && above.contains(deep.as_bytes()));
        let of_first = places[0].as_bytes().as_ptr_range();
        assert!(above.iter().all(|directory| of_first.contains(&directory.as_ptr())));
    }
}
