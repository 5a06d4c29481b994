//! What is wrong with the records of a root: what they contradict ([`agreement`]), and lines of `contents` that were there
//! when the last run ended.
//!
//! Where `contents` is another file than that run left, the stamp tells of each package how many lines it had. Where a
//! package has fewer, its lines are made anew in memory from the copy of what was delivered and from its patches, as
//! `pkgchk -f` does it. An object that is on the disk and has no line was lost; one that is not was given up by `removef`,
//! a patch or another tool.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use super::failure::Failure;
use super::mend::regained_lines;
use super::root_and_policy::RootAndPolicy;
use crate::database::foreign_changes::{contents_digest, lost_copies};
use crate::database::{DatabaseError, RecordDamage, RecordView, agreement, all, contents};
use patchadm_changeset::format::contents_stamp::OwnerCounts;
use patchadm_changeset::records::stamped::{self, LastRecords};
use patchadm_rootfs::FileType;
use patchadm_svr4::format::contents::{ContentsReader, is_comment};
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};

/// So many paths are told by name.
const MOST_TOLD: usize = 5;

/// Finds everything that is wrong with the records, packages first.
pub(in crate::operation) fn find_damage(
    view: &RecordView<'_>,
    workers: usize,
) -> Result<Vec<RecordDamage>, Failure> {
    find_damage_of(view, workers, |_| true)
}

/// Finds what is wrong with `contents` and with the records of the packages for which `is_meant` holds.
pub(in crate::operation) fn find_damage_of(
    view: &RecordView<'_>,
    workers: usize,
    is_meant: impl Fn(&PkgInst) -> bool + Sync,
) -> Result<Vec<RecordDamage>, Failure> {
    let mut found = agreement::find_damage_of(view, workers, &is_meant)?;
    if found.is_empty() {
        found.extend(lost_lines(view)?);
    }
    let copies = lost_copies(view)?;
    found.extend(copies.into_iter().filter(|damage| damage.package().is_none_or(&is_meant)));
    Ok(found)
}

/// Refuses a root whose `contents` does not agree with its packages, or has lost lines of them. Damage of packages for which
/// `is_passed_over` holds is no matter.
pub(in crate::operation) fn must_agree(
    view: &RecordView<'_>,
    workers: usize,
    is_passed_over: impl Fn(&PkgInst) -> bool,
) -> Result<(), Failure> {
    agreement::must_agree(view, workers, is_passed_over)?;
    lost_lines(view)?.map_or(Ok(()), |damage| Err(DatabaseError::from(damage).into()))
}

/// Finds the objects whose lines were lost since the last run.
fn lost_lines(view: &RecordView<'_>) -> Result<Option<RecordDamage>, Failure> {
    let Some(LastRecords { stamp, owners: Some(before), .. }) = stamped::last(view) else { return Ok(None) };
    let Some(file) = contents::open(view).map_err(DatabaseError::from)?.filter(|_| view.is_live()) else {
        return Ok(None);
    };
    if stamped::fitting(view, &file).is_some() || contents_digest(view)? == Some(stamp.b3) {
        return Ok(None);
    }
    let Some((now, paths)) = lines_now(BufReader::with_capacity(1 << 18, file)) else { return Ok(None) };
    let fewer = fewer_lines(view, &before, &now)?;
    if fewer.is_empty() {
        return Ok(None);
    }
    let ground = RootAndPolicy::of(view.root())?;
    let mut lost = Vec::new();
    for line in regained_lines(&ground, &fewer)?.values() {
        if !paths.contains(&line.path) && is_there(view, line, &paths)? {
            lost.push(view.root().show(&line.path));
        }
    }
    if lost.is_empty() {
        return Ok(None);
    }
    let told: Vec<&str> = lost.iter().take(MOST_TOLD).map(String::as_str).collect();
    let more = if lost.len() > MOST_TOLD { " …" } else { "" };
    let count = lost.len();
    let reason = format!(
        "{count} objects of packages are there and have no line, which had one after run {}: {}{more}",
        stamp.run,
        told.join(" ")
    );
    Ok(Some(RecordDamage::of_contents(view.root(), reason)))
}

/// The packages that have fewer lines than before, with their parameters.
fn fewer_lines(
    view: &RecordView<'_>,
    before: &OwnerCounts,
    now: &OwnerCounts,
) -> Result<BTreeMap<PkgInst, Params>, Failure> {
    let mut fewer = BTreeMap::new();
    for name in before.names().filter(|name| now.count(name) < before.count(name)) {
        let package = std::str::from_utf8(name).ok().and_then(|name| PkgInst::new(name).ok());
        let Some(package) = package else { continue };
        // A package that another tool removed owns nothing any more.
        if let Some(params) = all::params_of(view, &package)? {
            fewer.insert(package, params);
        }
    }
    Ok(fewer)
}

/// The packages that own lines, and the paths of all lines; none where a line makes no sense, which is told as such.
fn lines_now(file: impl std::io::BufRead) -> Option<(OwnerCounts, BTreeSet<ObjectPath>)> {
    let (mut owners, mut paths) = (OwnerCounts::default(), BTreeSet::new());
    let mut reader = ContentsReader::new(file);
    while let Some(raw) = reader.next_line().ok()? {
        if !is_comment(raw) {
            owners.note(raw);
            paths.insert(ContentsLine::parse(raw).ok()?.path);
        }
    }
    Some((owners, paths))
}

/// Whether an object of a line is on the disk. A directory counts where something below it has a line: other tools leave
/// directories that are not empty.
fn is_there(
    view: &RecordView<'_>,
    line: &ContentsLine,
    paths: &BTreeSet<ObjectPath>,
) -> Result<bool, Failure> {
    let Some(seen) = view.look(&line.path)? else { return Ok(false) };
    let is_directory = line.object.ftype.is_directory();
    let is_needed = || paths.range(line.path.clone()..).next().is_some_and(|next| next.is_below(&line.path));
    Ok(is_directory == (seen.file_type == FileType::Directory) && (!is_directory || is_needed()))
}
