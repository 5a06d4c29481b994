//! Damage of the records of a root: contradictions between them ([`agreement`]), and missing lines of `contents` that
//! existed when the last run ended.
//!
//! If `contents` is another file than that run left, the stamp tells how many lines each package had. If a package has
//! fewer, its lines are made anew in memory from the copy of what was delivered. If an object on the disk has no line, the
//! patches of the package are used too, as `pkgchk -f` does. Such an object was lost, unless a run gave it up (removef). An
//! object that does not exist was given up by another tool.

use std::collections::{BTreeMap, BTreeSet};
use std::io::BufReader;

use super::failure::Failure;
use super::regained_lines::{delivered_lines, regained_lines};
use super::root_and_policy::RootAndPolicy;
use patchadm_changeset::format::contents_stamp::OwnerCounts;
use patchadm_changeset::records::{LastRecords, stamped};
use patchadm_inputs::database::agreement::{contents_digest, last_records, lost_copies};
use patchadm_inputs::database::{DatabaseError, RecordDamage, RecordView, agreement, all, contents, places};
use patchadm_inputs::stage::{LONGEST_RECORD, StagesRecord};
use patchadm_rootfs::{FileType, Interrupt, InterruptibleRead};
use patchadm_svr4::format::contents::{ContentsReader, is_comment};
use patchadm_svr4::package::{ContentsLine, ObjectPath, Params, PkgInst};

/// The number of paths that are named.
const MOST_TOLD: usize = 5;

/// Finds all damage of the records, packages first. A signal ends it.
pub(in crate::operation) fn find_damage(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
) -> Result<Vec<RecordDamage>, Failure> {
    find_damage_of(view, workers, interrupt, |_| true)
}

/// Finds the damage of `contents`, and of the records of the packages for which `is_meant` holds.
pub(in crate::operation) fn find_damage_of(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
    is_meant: impl Fn(&PkgInst) -> bool + Sync,
) -> Result<Vec<RecordDamage>, Failure> {
    let mut found = agreement::find_damage_of(view, workers, interrupt, &is_meant)?;
    if found.is_empty() {
        found.extend(lost_lines(view, interrupt)?);
    }
    let copies = lost_copies(view)?;
    found.extend(copies.into_iter().filter(|damage| damage.package().is_none_or(&is_meant)));
    Ok(found)
}

/// Finds a list of the stages that cannot be read. It stops no change but those of stages.
pub(in crate::operation) fn damage_of_stages(view: &RecordView<'_>) -> Result<Option<RecordDamage>, Failure> {
    let text = view.read(&places::stage_list(), LONGEST_RECORD)?.unwrap_or_default();
    let fault = StagesRecord::parse(&text).err();
    Ok(fault.map(|fault| RecordDamage::of_stages(view.root(), fault.reason).in_line(fault.line as u64)))
}

/// Refuses a root whose `contents` does not agree with its packages, or has lost lines of them. Ignores damage of packages
/// for which `is_passed_over` holds. A signal ends it.
pub(in crate::operation) fn must_agree(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
    is_passed_over: impl Fn(&PkgInst) -> bool,
) -> Result<(), Failure> {
    agreement::must_agree(view, workers, interrupt, is_passed_over)?;
    lost_lines(view, interrupt)?.map_or(Ok(()), |damage| Err(DatabaseError::from(damage).into()))
}

/// Finds the objects whose lines were lost since the last run.
fn lost_lines(view: &RecordView<'_>, interrupt: Interrupt<'_>) -> Result<Option<RecordDamage>, Failure> {
    let Some(file) = contents::open(view).map_err(DatabaseError::from)?.filter(|_| view.is_live()) else {
        return Ok(None);
    };
    if stamped::fitting(view, &file).is_some() {
        return Ok(None);
    }
    let Some(last) = last_records(view)? else { return Ok(None) };
    let Some(before) = last.owners().filter(|_| !stamped::is_about(&last.stamp, &file)) else {
        return Ok(None);
    };
    if contents_digest(view, interrupt)? == Some(last.stamp.b3) {
        return Ok(None);
    }
    let lines = lines_now(BufReader::with_capacity(1 << 18, InterruptibleRead::new(file, interrupt)));
    Failure::unless_interrupted(interrupt)?;
    let Some((now, paths)) = lines else { return Ok(None) };
    let lost = LostLines { view, last, before: &before, now: &now, paths: &paths, interrupt }.find()?;
    if lost.is_empty() {
        return Ok(None);
    }
    let lost: Vec<String> = lost.iter().map(|path| view.root().show(path)).collect();
    let told: Vec<&str> = lost.iter().take(MOST_TOLD).map(String::as_str).collect();
    let more = if lost.len() > MOST_TOLD { " …" } else { "" };
    let count = lost.len();
    let reason = format!(
        "{count} objects of packages are there and have no line, which had one after run {}: {}{more}",
        last.stamp.run,
        told.join(" ")
    );
    Ok(Some(RecordDamage::of_contents(view.root(), reason)))
}

/// `contents` as the last run left it, and as it is now.
struct LostLines<'a> {
    view: &'a RecordView<'a>,
    last: &'a LastRecords,
    before: &'a OwnerCounts,
    now: &'a OwnerCounts,
    /// The paths that have lines now.
    paths: &'a BTreeSet<ObjectPath>,
    interrupt: Interrupt<'a>,
}

impl LostLines<'_> {
    /// Returns the existing objects that had a line and have none now.
    fn find(&self) -> Result<BTreeSet<ObjectPath>, Failure> {
        let fewer = self.fewer_lines()?;
        if fewer.is_empty() {
            return Ok(BTreeSet::new());
        }
        let ground = RootAndPolicy::of(self.view.root())?;
        let delivered = self.missed(&fewer, &delivered_lines(&ground, &fewer)?)?;
        // Undo archives have what patches brought and took. They are read only if a line may be missing.
        let has_patches = fewer.values().any(|params| !params.text("PATCHLIST").trim().is_empty());
        if delivered.is_empty() && !has_patches {
            return Ok(delivered);
        }
        self.missed(&fewer, &regained_lines(&ground, &fewer, self.interrupt)?)
    }

    /// Returns the existing objects of these lines that have no line now, and that no run gave up.
    fn missed(
        &self,
        packages: &BTreeMap<PkgInst, Params>,
        lines: &BTreeMap<ObjectPath, ContentsLine>,
    ) -> Result<BTreeSet<ObjectPath>, Failure> {
        let mut missed = BTreeSet::new();
        for line in lines.values().filter(|line| !self.paths.contains(&line.path)) {
            Failure::unless_interrupted(self.interrupt)?;
            let is_given_up = packages.keys().filter(|package| line.is_owned_by(package)).all(|package| {
                self.last.packages().get(package).is_some_and(|bound| bound.given_up.contains(&line.path))
            });
            if !is_given_up && is_there(self.view, line, self.paths)? {
                missed.insert(line.path.clone());
            }
        }
        Ok(missed)
    }

    /// Returns the packages that have fewer lines than before, with their parameters.
    fn fewer_lines(&self) -> Result<BTreeMap<PkgInst, Params>, Failure> {
        let mut fewer = BTreeMap::new();
        for name in self.before.names().filter(|name| self.now.count(name) < self.before.count(name)) {
            let package = std::str::from_utf8(name).ok().and_then(|name| PkgInst::new(name).ok());
            let Some(package) = package else { continue };
            // A package that another tool removed owns nothing any more.
            if let Some(params) = all::records_of(self.view, &package)?.params()? {
                fewer.insert(package, params);
            }
        }
        Ok(fewer)
    }
}

/// Returns the packages that own lines, and the paths of all lines; `None` if a line makes no sense, which is reported
/// elsewhere.
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

/// Returns whether an object of a line is on the disk. A directory counts if something below it has a line: other tools
/// leave directories that are not empty.
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
