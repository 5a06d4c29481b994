//! Consistency of a root's records: `contents`, package directories, and their pkginfo. Before a change, [`all`] reads
//! every pkginfo, and [`must_agree`] checks `contents` by the stamp of our last run, or line by line if another program
//! wrote it. Traces of an interrupted tool (`!I-Lock!`, `.save.PKG`, marks in `contents`) are no damage.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::File;
use std::io::{BufReader, Seek as _};
use std::os::unix::fs::FileExt as _;

use super::contents::{open, read_log};
use super::history::readable_history;
use super::{DatabaseError, RecordDamage, RecordError, RecordView, all, installed, pieces, places};
use patchadm_changeset::format::run::Run;
use patchadm_changeset::records::{LastRecords, last_committed_run, stamped};
use patchadm_rootfs::{Digest, Dir, FileType, Hashing, Interrupt, InterruptibleRead, ReadBudget, never};
use patchadm_svr4::format::contents::{ContentsError, ContentsReader, is_comment};
use patchadm_svr4::format::params::LARGEST_FILE;
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::{ContentsLine, PkgInst};

/// 1 GiB, for all packages in sum.
const LARGEST_MAPS: u64 = 1 << 30;
const MOST_BAD_LINES: usize = 1000;

/// Fails if `contents` is missing although there are packages, has a malformed line, or names a package without
/// directory. Ignores packages for which `is_passed_over` holds.
pub fn must_agree(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
    is_passed_over: impl Fn(&PkgInst) -> bool,
) -> Result<(), DatabaseError> {
    let found = damage_of_contents(view, workers, interrupt)?;
    let mut found = found.into_iter().filter(|damage| !damage.package().is_some_and(&is_passed_over));
    found.next().map_or(Ok(()), |damage| Err(damage.into()))
}

/// Finds damage of `contents`, and of the pkginfo of packages for which `is_meant` holds, packages first.
pub fn find_damage_of(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
    is_meant: impl Fn(&PkgInst) -> bool + Sync,
) -> Result<Vec<RecordDamage>, DatabaseError> {
    let of_packages = all::each(view, |package| {
        DatabaseError::unless_interrupted(interrupt)?;
        if !is_meant(package.inst()) {
            return Ok(None);
        }
        match package.whole_params() {
            Ok(_) => Ok::<_, DatabaseError>(None),
            Err(DatabaseError::Damaged(damage)) => Ok(Some(*damage)),
            Err(error) => Err(error),
        }
    });
    let mut found = of_packages?;
    found.extend(damage_of_contents(view, workers, interrupt)?);
    Ok(found)
}

fn damage_of_contents(
    view: &RecordView<'_>,
    workers: usize,
    interrupt: Interrupt<'_>,
) -> Result<Vec<RecordDamage>, DatabaseError> {
    let packages = PackageDirectories::of(view)?;
    let file = match open(view) {
        Ok(Some(file)) => file,
        Ok(None) => return packages.without_contents("it does not exist, although packages are installed"),
        Err(error) => match DatabaseError::from(error) {
            DatabaseError::Damaged(damage) => return Ok(vec![*damage]),
            error => return Err(error),
        },
    };
    let size = file.metadata().map_err(|error| RecordError::of_contents(view, error.into()))?.len();
    if size == 0 {
        return packages.without_contents("it is empty, but there are packages");
    }
    let unfinished = read_log(view)?.map_or(0, |log| log.unfinished);
    if unfinished > 0 {
        return Ok(vec![RecordDamage::of_unfinished_log(view.root(), unfinished)]);
    }
    let (owners, mut found) = owners_in(view, file, size, (workers, interrupt))?;
    let is_known = |package: &PkgInst| packages.has(package) || packages.has_saved(package);
    let strange: BTreeSet<PkgInst> = owners.into_iter().filter(|package| !is_known(package)).collect();
    found.extend(named_in(view, &strange, interrupt)?);
    Ok(found)
}

fn instance(name: &[u8]) -> Option<PkgInst> {
    PkgInst::new(std::str::from_utf8(name).ok()?).ok()
}

struct PackageDirectories<'a> {
    view: &'a RecordView<'a>,
    names: Vec<Vec<u8>>,
    /// `None` unless the live files count.
    above: Option<Dir>,
    /// Sorted. A listing saves one look per package.
    directories: Vec<Vec<u8>>,
}

impl<'a> PackageDirectories<'a> {
    fn of(view: &'a RecordView<'a>) -> Result<Self, DatabaseError> {
        let names = view.list(&places::packages())?.unwrap_or_default();
        let root = view.root();
        let above = if view.is_live() {
            root.dir_if_there(&root.resolver().locate_dir(&places::packages())?)?
        } else {
            None
        };
        let directories = above.as_ref().map_or_else(|| Ok(Vec::new()), Dir::directories)?;
        Ok(Self { view, names, above, directories })
    }

    /// A directory that cannot be examined is left to its reader.
    fn has(&self, package: &PkgInst) -> bool {
        let name = package.as_str().as_bytes();
        if self.directories.binary_search_by(|other| other.as_slice().cmp(name)).is_ok() {
            return true;
        }
        let seen = match &self.above {
            Some(above) => above.look(name).ok().flatten(),
            None => self.view.look(&places::package(package)).ok().flatten(),
        };
        seen.is_some_and(|seen| matches!(seen.file_type, FileType::Directory | FileType::Symlink))
    }

    /// No damage if there are no packages, or none of them has objects.
    fn without_contents(&self, reason: &str) -> Result<Vec<RecordDamage>, DatabaseError> {
        let budget = ReadBudget::of(LARGEST_MAPS);
        for package in self.names.iter().filter_map(|name| instance(name)) {
            if self.has(&package) && self.may_have_objects(&package, &budget)? {
                return Ok(vec![RecordDamage::of_contents(self.view.root(), reason)]);
            }
        }
        Ok(Vec::new())
    }

    /// Looks into the copy of the pkgmap; true without one. An object of a class that CLASSES does not name is not
    /// installed.
    fn may_have_objects(&self, package: &PkgInst, budget: &ReadBudget) -> Result<bool, DatabaseError> {
        let kept = self.view.read_within(&places::delivered_pkgmap(package), LARGEST_MAPS, budget)?;
        let Some(text) = kept else { return Ok(true) };
        let Ok(map) = Pkgmap::parse(&text) else { return Ok(true) };
        let params = installed::params(self.view, package).ok().flatten();
        let classes = params.and_then(|params| Some(params.get("CLASSES")?.to_vec()));
        let is_installed = |class: &str| {
            let named = |classes: &Vec<u8>| {
                let mut words = classes.split(u8::is_ascii_whitespace);
                words.any(|word| word == class.as_bytes())
            };
            classes.as_ref().is_none_or(named)
        };
        let mut objects = map.entries.iter().filter(|entry| !entry.is_information());
        Ok(objects.any(|entry| is_installed(&entry.object.class)))
    }

    /// Classic tools set the directory aside while they update it.
    fn has_saved(&self, package: &PkgInst) -> bool {
        let saved = format!(".save.{package}").into_bytes();
        self.names.binary_search(&saved).is_ok()
    }
}

/// Packages that `contents` names without a mark, and its malformed lines.
fn owners_in(
    view: &RecordView<'_>,
    file: File,
    size: u64,
    (workers, interrupt): (usize, Interrupt<'_>),
) -> Result<(Vec<PkgInst>, Vec<RecordDamage>), DatabaseError> {
    if let Some(owners) = stamped::owners(view, &file) {
        return Ok((owners.names().filter_map(instance).collect(), Vec::new()));
    }
    if is_closed(&file, size) {
        let new_owners = || {
            let mut known = HashSet::new();
            move |line: ContentsLine| {
                let new: Vec<PkgInst> =
                    unmarked(line).filter(|package| known.insert(package.clone())).collect();
                (!new.is_empty()).then_some(new)
            }
        };
        if let Some(owners) = pieces::every(view, workers, interrupt, new_owners)? {
            return Ok((owners.into_iter().flatten().collect(), Vec::new()));
        }
    }
    let read = line_by_line(view, (file, interrupt), size);
    // An interrupted read also fails.
    DatabaseError::unless_interrupted(interrupt)?;
    read
}

fn unmarked(line: ContentsLine) -> impl Iterator<Item = PkgInst> {
    line.owners.into_iter().filter(|owner| owner.status.is_none()).map(|owner| owner.package)
}

/// The last line is terminated.
pub fn is_closed(file: &File, size: u64) -> bool {
    let mut last = [b'\n'];
    size.checked_sub(1).is_none_or(|at| file.read_exact_at(&mut last, at).is_ok() && last == [b'\n'])
}

fn line_by_line(
    view: &RecordView<'_>,
    (mut file, interrupt): (File, Interrupt<'_>),
    size: u64,
) -> Result<(Vec<PkgInst>, Vec<RecordDamage>), DatabaseError> {
    let is_closed = is_closed(&file, size);
    file.rewind().map_err(|error| RecordError::of_contents(view, error.into()))?;
    let file = InterruptibleRead::new(file, interrupt);
    let mut reader = ContentsReader::new(BufReader::with_capacity(1 << 18, file));
    let (mut owners, mut found, mut ends_in_object) = (BTreeSet::new(), Vec::new(), false);
    // A torn last line may name a package that never was.
    let mut of_last = Vec::new();
    loop {
        let line = reader.line() + 1;
        let raw = match reader.next_line() {
            Ok(None) => break,
            Ok(Some(raw)) => raw,
            Err(error) => {
                found.push(
                    RecordDamage::of_line(view.root(), &error)
                        .ok_or_else(|| RecordError::of_contents(view, error))?,
                );
                break;
            }
        };
        owners.extend(of_last.drain(..));
        ends_in_object = !is_comment(raw);
        if !ends_in_object || found.len() >= MOST_BAD_LINES {
            continue;
        }
        match ContentsLine::parse(raw) {
            Ok(parsed) => of_last.extend(unmarked(parsed)),
            Err(error) => {
                found.extend(RecordDamage::of_line(view.root(), &ContentsError::Line { line, error }));
            }
        }
    }
    if is_closed {
        owners.extend(of_last);
    }
    let last = reader.line().saturating_sub(1);
    if !is_closed && ends_in_object && found.last().is_none_or(|damage| damage.line != Some(last)) {
        let reason = "the line is incomplete: the file is truncated";
        found.push(RecordDamage::of_contents(view.root(), reason).in_line(last));
    }
    Ok((owners.into_iter().collect(), found))
}

fn named_in(
    view: &RecordView<'_>,
    strange: &BTreeSet<PkgInst>,
    interrupt: Interrupt<'_>,
) -> Result<Vec<RecordDamage>, DatabaseError> {
    if strange.is_empty() {
        return Ok(Vec::new());
    }
    let mut lines: BTreeMap<PkgInst, u64> = BTreeMap::new();
    if let Some(file) = open(view)? {
        let file = InterruptibleRead::new(file, interrupt);
        let mut reader = ContentsReader::new(BufReader::with_capacity(1 << 18, file));
        let mut line = 1;
        while let Ok(Some(raw)) = reader.next_line() {
            for package in ContentsLine::parse(raw).into_iter().flat_map(unmarked) {
                if strange.contains(&package) {
                    lines.entry(package).or_insert(line);
                }
            }
            line += 1;
        }
        DatabaseError::unless_interrupted(interrupt)?;
    }
    let last = last_records(view)?;
    let damage = |(package, line): (PkgInst, u64)| {
        let lost_after = last.and_then(|last| Some(last.packages().get(&package)?.run));
        RecordDamage::of_owner(view.root(), &package, lost_after).in_line(line)
    };
    Ok(lines.into_iter().map(damage).collect())
}

// The stamp of our last run shows later changes, which are no damage: other tools write these files, too. A stamp of
// any other run was lost, restored or changed: this is reported, without conclusions.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChange {
    /// With the prefix of the root.
    pub file: String,
    /// The run that wrote it last.
    pub run: u64,
}

/// Finds records that changed since our last run: `contents`, then the pkginfo of packages by name; or the stamp, if it
/// is of another run. Missing records are found elsewhere.
pub fn foreign_changes(view: &RecordView<'_>) -> Result<Vec<ForeignChange>, DatabaseError> {
    let root = view.root();
    let Some(last) = last_records(view)? else {
        let file = root.show(&places::contents_stamp());
        return Ok(last_done_run(view)?.map(|run| ForeignChange { file, run }).into_iter().collect());
    };
    let mut found = Vec::new();
    if contents_digest(view, &never)?.is_some_and(|now| now != last.stamp.b3) {
        found.push(ForeignChange { file: root.show(&places::contents()), run: last.stamp.run });
    }
    for (package, bound) in last.packages().iter() {
        let path = places::pkginfo(package);
        let now = view.read(&path, LARGEST_FILE as u64)?;
        if now.is_some_and(|now| Digest::of(&now) != bound.pkginfo) {
            found.push(ForeignChange { file: root.show(&path), run: bound.run });
        }
    }
    Ok(found)
}

/// Returns the records as the last run left them, by its own stamp.
pub fn last_records<'v>(view: &'v RecordView<'_>) -> Result<Option<&'v LastRecords>, DatabaseError> {
    let Some(last) = view.last_records() else { return Ok(None) };
    Ok(last_done_run(view)?.is_none_or(|run| run == last.stamp.by).then_some(last))
}

/// The last run that was not rolled back.
fn last_done_run(view: &RecordView<'_>) -> Result<Option<u64>, DatabaseError> {
    if let Some(run) = last_committed_run(view.root())? {
        return Ok(Some(run));
    }
    let is_done = |result: &str| result == "done";
    let runs = readable_history(view).into_iter().filter(|entry| is_done(&entry.result));
    Ok(runs.filter_map(|entry| Run::parse(&entry.run)).map(|run| run.number).max())
}

/// Returns the digest of `contents` if it exists. A signal ends it.
pub fn contents_digest(
    view: &RecordView<'_>,
    interrupt: Interrupt<'_>,
) -> Result<Option<Digest>, DatabaseError> {
    let Some(file) = open(view).ok().flatten() else { return Ok(None) };
    let mut hashing = Hashing::new(InterruptibleRead::new(file, interrupt));
    let read = std::io::copy(&mut hashing, &mut std::io::sink());
    DatabaseError::unless_interrupted(interrupt)?;
    read.map_err(|error| RecordError::of_contents(view, error.into()))?;
    Ok(Some(hashing.finish().1))
}

/// Finds installed packages whose copy of the delivery (`save/pspool`) existed after a run and is missing now.
pub fn lost_copies(view: &RecordView<'_>) -> Result<Vec<RecordDamage>, DatabaseError> {
    let Some(last) = view.last_records() else { return Ok(Vec::new()) };
    if last.packages().iter().all(|(_, bound)| !bound.is_spooled) {
        return Ok(Vec::new());
    }
    let spooled: BTreeMap<&PkgInst, u64> = last
        .packages()
        .iter()
        .filter(|(_, bound)| bound.is_spooled)
        .map(|(name, bound)| (name, bound.run))
        .collect();
    all::each(view, |package| {
        let Some(run) = spooled.get(package.inst()) else { return Ok(None) };
        let map = package.view().look(&places::delivered_pkgmap(package.inst()))?;
        if map.is_some_and(|seen| seen.file_type == FileType::Regular) {
            return Ok(None);
        }
        let Ok(Some(params)) = package.params() else { return Ok(None) };
        let is_patched = !params.text("PATCHLIST").trim().is_empty();
        Ok::<_, DatabaseError>(Some(RecordDamage::of_lost_copy(
            package.view().root(),
            package.inst(),
            *run,
            is_patched,
        )))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Root;

    use std::fs;
    use std::sync::atomic::{AtomicUsize, Ordering};

    /// In order, or with the last object first.
    fn root_with(objects: usize, is_sorted: bool) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let mut lines: Vec<String> =
            (0..objects).map(|at| format!("/opt/{at:06} f none 0644 root root 5 542 981173106 X")).collect();
        if !is_sorted {
            lines.rotate_right(1);
        }
        let text = lines.join("\n") + "\n";
        for place in ["var/sadm/install", "var/sadm/pkg/X"] {
            fs::create_dir_all(dir.path().join(place)).unwrap();
        }
        fs::write(dir.path().join("var/sadm/install/contents"), text).unwrap();
        fs::write(dir.path().join("var/sadm/pkg/X/pkginfo"), "PKG=X\nNAME=x\nARCH=all\nVERSION=1\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    #[test]
    fn a_signal_ends_the_comparison_of_records_with_contents_wherever_it_is() {
        for is_sorted in [true, false] {
            let (_dir, root) = root_with(20_000, is_sorted);
            let asked = AtomicUsize::new(0);
            let after = |questions: usize| {
                asked.store(0, Ordering::Relaxed);
                let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= questions).then_some(15);
                must_agree(&RecordView::live(&root), 1, &interrupt, |_| false)
            };
            after(usize::MAX).unwrap();
            // A file of 1.2 MiB has a question for each piece of 64 KiB or, read line by line, for each 256 KiB.
            let questions = asked.load(Ordering::Relaxed);
            assert!(questions > 5, "sorted {is_sorted}: {questions}");
            for number in 0..questions {
                let ended = after(number);
                let is_interrupted = matches!(ended, Err(DatabaseError::Interrupted(15)));
                assert!(is_interrupted, "sorted {is_sorted}, after {number}: {ended:?}");
            }
        }
    }
}
