//! A set is made: selected, looked at, published.

use std::collections::BTreeSet;

use patchadm_bulk::report::{LeftOutPackage, SetReport, SharedPath};
use patchadm_svr4::package::ObjectPath;

use super::delivered::DeliveredObjects;
use super::error::{SetError, SetRefusal};
use super::input::SetInput;
use super::libraries::{LackingPackages, leave_out_lacking, read_delivered};
use super::places::{CURRENT, PACKAGES};
use super::publishing::{publish, set_behind};
use super::selection::{EarlierSet, SetEntry, must_suffice, select};
use crate::shared_paths::{conflicts, disputed_paths, paths_of};
use crate::work::Work;

/// A set that was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeSet {
    /// The part of the run's report about the set.
    pub report: SetReport,
    /// Paths that several packages deliver. Only the first package of each is in the set.
    pub shared_paths: Vec<SharedPath>,
}

/// Makes the set of a run, unless something speaks against it. The caller holds the lock of the working directory, and the pool.
pub fn make_set(work: &Work, input: &SetInput<'_>) -> Result<Result<MadeSet, SetRefusal>, SetError> {
    let previous = set_behind(work, CURRENT)?;
    let (entries, mut left_out) = match select((input.run, input.packages), previous.as_ref(), &work.conf) {
        Ok(selected) => selected,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let delivered = read_delivered(&entries, input.interrupt)?;
    let (mut entries, shared_paths, sharing) = apart(entries, delivered, previous.as_ref())?;
    let LackingPackages { packages: lacking, unmet } =
        leave_out_lacking(&mut entries, &work.conf.base, input.interrupt)?;
    let entries: Vec<SetEntry> = entries.into_iter().map(|(entry, _)| entry).collect();
    if !sharing.is_empty() || !lacking.is_empty() {
        left_out.extend(sharing);
        left_out.extend(lacking);
        if let Err(refusal) = must_suffice(&entries, previous.as_ref(), &work.conf) {
            return Ok(Err(refusal));
        }
    }
    publish(work, input, &entries)?;
    let kept = entries.iter().filter(|entry| entry.is_kept);
    let report = SetReport {
        run: input.run,
        packages: entries.len() as u64,
        kept: kept.map(|entry| format!("{} (run {})", entry.package, entry.run)).collect(),
        unmet,
        left_out,
    };
    Ok(Ok(MadeSet { report, shared_paths }))
}

/// The entries of a set with what they deliver, the paths that some had in common, and those that are left out for it.
type ApartEntries = (Vec<(SetEntry, DeliveredObjects)>, Vec<SharedPath>, Vec<LeftOutPackage>);

/// Takes out what delivers a path of another package. The one that had the path in the set before stays, then one that was in
/// that set, else the first location in byte order.
fn apart(
    entries: Vec<SetEntry>,
    delivered: Vec<DeliveredObjects>,
    previous: Option<&EarlierSet>,
) -> Result<ApartEntries, SetError> {
    let disputed = disputed_paths(delivered.iter().map(|objects| &objects.paths));
    if disputed.is_empty() {
        return Ok((entries.into_iter().zip(delivered).collect(), Vec::new(), Vec::new()));
    }
    let mut ordered = Vec::new();
    for (entry, objects) in entries.into_iter().zip(delivered) {
        let is_disputed = objects.paths.iter().any(|(path, _)| disputed.contains(path));
        let rank = if is_disputed { rank(&entry, &disputed, previous)? } else { 0 };
        ordered.push((rank, entry, objects));
    }
    ordered.sort_by(|(rank, entry, _), (other_rank, other, _)| {
        (rank, &entry.location, &entry.package).cmp(&(other_rank, &other.location, &other.package))
    });
    let found = conflicts(ordered.iter().map(|(_, _, objects)| &objects.paths));
    let names: Vec<String> = ordered.iter().map(|(_, entry, _)| entry.package.clone()).collect();
    let (mut stay, mut shared_paths, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for ((_, entry, objects), conflicts) in ordered.into_iter().zip(found) {
        let name = |number: usize| names.get(number).cloned().unwrap_or_default();
        let Some(first) = conflicts.first() else {
            stay.push((entry, objects));
            continue;
        };
        shared_paths.extend(conflicts.iter().map(|one| one.told(&name(one.holder), &entry.package)));
        left_out.push(LeftOutPackage {
            package: entry.package,
            location: entry.location,
            name: first.path.to_string(),
            holder: Some(name(first.holder)),
            breaks: 0,
        });
    }
    stay.sort_by(|(entry, _), (other, _)| entry.package.cmp(&other.package));
    Ok((stay, shared_paths, left_out))
}

/// Returns how much a package has a right to disputed paths: 0 for one that had one of them in the set before, 1 for one that was
/// in it, 2 for a new one.
fn rank(
    entry: &SetEntry,
    disputed: &BTreeSet<ObjectPath>,
    previous: Option<&EarlierSet>,
) -> Result<u8, SetError> {
    let mut rank = 2;
    for (path, file) in previous.iter().flat_map(|set| &set.manifest.files) {
        if file.location != entry.location || !path.starts_with(PACKAGES) {
            continue;
        }
        rank = 1;
        let before = previous.map(|set| set.path.join(path)).unwrap_or_default();
        if paths_of(&before)?.iter().any(|(path, _)| disputed.contains(path)) {
            return Ok(0);
        }
    }
    Ok(rank)
}
