//! Reads all packages of a root in parallel. With live files, each costs opening its directory and its pkginfo. During
//! a run, and for symbolic links, the [`RecordView`] is asked instead, with the same results.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::thread;

use rustix::io::Errno;

use super::{DatabaseError, RecordDamage, RecordView, installed, ledger, places};
use crate::format::ledger::Ledger;
use patchadm_rootfs::{Dir, FileType, ReadBudget, cores};
use patchadm_svr4::format::params::LARGEST_FILE;
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

const LARGEST_DEPEND: u64 = 16 << 20;
const SHARE: usize = 100;

/// For the files of all packages that one query reads. A full system has fewer than 50 MB.
const LARGEST_SUM: u64 = 512 << 20;

#[derive(Debug)]
pub struct PackageRecords<'a> {
    inst: PkgInst,
    view: &'a RecordView<'a>,
    /// `None` if the view has to be asked.
    dir: Option<Dir>,
    is_being_updated: bool,
    has_ledger: bool,
    /// Of the query.
    budget: Arc<ReadBudget>,
}

impl<'a> PackageRecords<'a> {
    pub fn inst(&self) -> &PkgInst {
        &self.inst
    }

    pub fn view(&self) -> &'a RecordView<'a> {
        self.view
    }

    /// Classic tools set the parameters aside (`.save.<instance>`) while they update them.
    pub fn is_being_updated(&self) -> bool {
        self.is_being_updated
    }

    /// Returns `None` if a tool without recovery is or was at work on the package, or a file is in place of its
    /// directory. A missing pkginfo is damage, and so is one without a patch that left other traces. Other mandatory
    /// parameters may be missing ([`whole_params`](Self::whole_params)).
    pub fn params(&self) -> Result<Option<Params>, DatabaseError> {
        self.checked(self.read_params(installed::parse_leniently)?)
    }

    /// Requires all mandatory parameters.
    pub fn whole_params(&self) -> Result<Option<Params>, DatabaseError> {
        let has_saves = || self.has_saves();
        self.checked(
            self.read_params(|view, text, package| installed::parse(view, text, package, has_saves))?,
        )
    }

    fn has_saves(&self) -> bool {
        let seen = match &self.dir {
            Some(dir) => dir.look(b"save").map_err(DatabaseError::from),
            None => self.view.look(&places::save(&self.inst)).map_err(DatabaseError::from),
        };
        seen.is_ok_and(|seen| seen.is_some())
    }

    /// False if the package has neither a save directory nor a ledger.
    pub fn may_have_undo_data(&self) -> bool {
        self.has_ledger || self.has_saves()
    }

    fn checked(&self, params: Option<Params>) -> Result<Option<Params>, DatabaseError> {
        params.as_ref().map_or(Ok(()), |params| self.must_list_patches(params))?;
        Ok(params)
    }

    /// Refuses parameters that lack a patch of which our runs left other traces.
    pub fn must_list_patches(&self, params: &Params) -> Result<(), DatabaseError> {
        if !self.has_ledger || self.is_being_updated || !self.view.is_live() {
            return Ok(());
        }
        must_be_listed(self.view, &self.inst, params, &self.budget)
    }

    fn read_params(
        &self,
        parse: impl FnOnce(&RecordView<'_>, &[u8], &PkgInst) -> Result<Params, DatabaseError>,
    ) -> Result<Option<Params>, DatabaseError> {
        let text = match &self.dir {
            Some(dir) => dir.read_within(b"pkginfo", LARGEST_FILE as u64, &self.budget)?,
            None => self.view.read_within(&places::pkginfo(&self.inst), LARGEST_FILE as u64, &self.budget)?,
        };
        match text {
            Some(text) => parse(self.view, &text, &self.inst).map(Some),
            None => self.without_pkginfo().map(|()| None),
        }
    }

    /// Refuses a directory without a pkginfo, unless a tool is at work on the package or was interrupted.
    fn without_pkginfo(&self) -> Result<(), DatabaseError> {
        // A run hides the packages that it brings from its own scripts.
        let is_within = !self.view.is_live() && !self.view.is_during_run();
        if is_within || self.is_being_updated {
            return Ok(());
        }
        let Some(names) = self.view.list(&places::package(&self.inst))? else { return Ok(()) };
        let has = |name: &[u8]| names.iter().any(|other| other == name);
        if installed::LOCKS.iter().any(|lock| has(lock)) || has(self.inst.as_str().as_bytes()) {
            return Ok(());
        }
        let root = self.view.root();
        if names.is_empty() {
            return Err(RecordDamage::of_empty_directory(root, &self.inst).into());
        }
        let reason = match self.view.look(&places::pkginfo(&self.inst))?.map(|seen| seen.file_type) {
            None => "it does not exist",
            Some(FileType::Directory) => "it is a directory",
            Some(_) => "it is not a regular file",
        };
        Err(RecordDamage::of_pkginfo(root, &self.inst, reason).into())
    }

    /// Reads the parameters of an unfinished installation that a later one set aside.
    pub fn put_aside(&self) -> Result<Option<Params>, DatabaseError> {
        let name = self.inst.as_str().as_bytes();
        let is_there = self.dir.as_ref().map_or(Ok(true), |dir| Ok(dir.look(name)?.is_some()));
        match is_there {
            Ok(true) => installed::put_aside(self.view, &self.inst, &self.budget),
            Ok(false) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub fn depend(&self) -> Result<Option<Vec<u8>>, DatabaseError> {
        let install = self.dir.as_ref().map(|dir| dir.dir(b"install")).transpose();
        match install {
            Ok(Some(install)) => Ok(install.read_within(b"depend", LARGEST_DEPEND, &self.budget)?),
            Err(error) if error.is_not_found() => Ok(None),
            // The link is followed inside the root.
            Ok(None) | Err(_) => match places::package(&self.inst).join(b"install/depend") {
                Ok(path) => Ok(self.view.read_within(&path, LARGEST_DEPEND, &self.budget)?),
                Err(_) => Ok(None),
            },
        }
    }

    /// The directory has a lock of an unfinished installation or removal.
    pub fn is_partial(&self) -> Result<bool, DatabaseError> {
        let Some(dir) = &self.dir else { return installed::is_partial(self.view, &self.inst) };
        for lock in installed::LOCKS {
            if dir.look(lock)?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Returns the results without `None` in the order of names. The error of the first package counts.
pub fn each<T: Send, E: Send + From<DatabaseError>>(
    view: &RecordView<'_>,
    work: impl Fn(&PackageRecords<'_>) -> Result<Option<T>, E> + Sync,
) -> Result<Vec<T>, E> {
    each_within(&Arc::new(ReadBudget::of(LARGEST_SUM)), view, work)
}

fn each_within<T: Send, E: Send + From<DatabaseError>>(
    budget: &Arc<ReadBudget>,
    view: &RecordView<'_>,
    work: impl Fn(&PackageRecords<'_>) -> Result<Option<T>, E> + Sync,
) -> Result<Vec<T>, E> {
    let names = view.list(&places::packages()).map_err(DatabaseError::from)?.unwrap_or_default();
    // A caller who may not list the ledgers learns nothing about them.
    let ledgers = view.list(&places::ledgers()).ok().flatten().unwrap_or_default();
    let packages: Vec<NamedPackage> = names
        .iter()
        .filter_map(|name| PkgInst::new(std::str::from_utf8(name).ok()?).ok())
        .map(|inst| {
            let saved = format!(".save.{inst}").into_bytes();
            let is_being_updated = names.binary_search(&saved).is_ok();
            let has_ledger =
                ledgers.binary_search_by(|name| name.as_slice().cmp(inst.as_str().as_bytes())).is_ok();
            NamedPackage { inst, is_being_updated, has_ledger }
        })
        .collect();
    if !view.is_live() {
        return share((view, budget), None, packages, &work);
    }
    let root = view.root();
    let directory = root.resolver().locate_dir(&places::packages()).map_err(DatabaseError::from)?;
    let Some(directory) = root.dir_if_there(&directory).map_err(DatabaseError::from)? else {
        return Ok(Vec::new());
    };
    let threads = cores().min(packages.len().div_ceil(SHARE)).max(1);
    if threads == 1 {
        return share((view, budget), Some(&directory), packages, &work);
    }
    let (portion, mut rest) = (packages.len().div_ceil(threads), packages);
    thread::scope(|scope| {
        let mut running = Vec::new();
        while !rest.is_empty() {
            let mine: Vec<_> = rest.drain(..portion.min(rest.len())).collect();
            let (directory, work) = (&directory, &work);
            running.push(
                scope.spawn(move || share((&RecordView::live(root), budget), Some(directory), mine, work)),
            );
        }
        let mut found = Vec::new();
        for each in running {
            found.extend(each.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?);
        }
        Ok(found)
    })
}

struct NamedPackage {
    inst: PkgInst,
    is_being_updated: bool,
    has_ledger: bool,
}

fn share<T, E: From<DatabaseError>>(
    (view, budget): (&RecordView<'_>, &Arc<ReadBudget>),
    directory: Option<&Dir>,
    packages: Vec<NamedPackage>,
    work: &impl Fn(&PackageRecords<'_>) -> Result<Option<T>, E>,
) -> Result<Vec<T>, E> {
    let mut found = Vec::new();
    for NamedPackage { inst, is_being_updated, has_ledger } in packages {
        let opened = directory.map(|directory| directory.dir(inst.as_str().as_bytes())).transpose();
        let dir = match opened {
            // The view follows a symbolic link and skips a file.
            Err(error) if matches!(error.errno(), Some(Errno::NOTDIR | Errno::LOOP)) => None,
            Err(error) if error.is_not_found() => continue,
            opened => opened.map_err(DatabaseError::from)?,
        };
        let budget = Arc::clone(budget);
        found.extend(work(&PackageRecords { inst, view, dir, is_being_updated, has_ledger, budget })?);
    }
    Ok(found)
}

/// Returns the parameters of one package, as [`PackageRecords::whole_params`] does.
pub fn params_of(view: &RecordView<'_>, package: &PkgInst) -> Result<Option<Params>, DatabaseError> {
    records_of(view, package)?.whole_params()
}

pub fn records_of<'v>(
    view: &'v RecordView<'v>,
    package: &PkgInst,
) -> Result<PackageRecords<'v>, DatabaseError> {
    records_within(Arc::new(ReadBudget::of(LARGEST_SUM)), view, package)
}

fn records_within<'v>(
    budget: Arc<ReadBudget>,
    view: &'v RecordView<'v>,
    package: &PkgInst,
) -> Result<PackageRecords<'v>, DatabaseError> {
    let saved = places::packages().join(format!(".save.{package}").as_bytes());
    let is_being_updated = saved.map_or(Ok(false), |saved| view.look(&saved).map(|seen| seen.is_some()))?;
    let has_ledger = view.look(&places::ledger(package)).is_ok_and(|seen| seen.is_some());
    Ok(PackageRecords { inst: package.clone(), view, dir: None, is_being_updated, has_ledger, budget })
}

/// Refuses damaged parameters of installed instances of these packages (PKG).
pub fn must_be_whole<'n>(
    view: &RecordView<'_>,
    names: impl IntoIterator<Item = &'n str>,
) -> Result<(), DatabaseError> {
    let names: BTreeSet<&str> = names.into_iter().map(str::trim).collect();
    let budget = Arc::new(ReadBudget::of(LARGEST_SUM));
    for directory in view.list(&places::packages())?.unwrap_or_default() {
        let Some(package) = str::from_utf8(&directory).ok().and_then(|name| PkgInst::new(name).ok()) else {
            continue;
        };
        if names.contains(package.abbreviation()) {
            records_within(Arc::clone(&budget), view, &package)?.whole_params()?;
        }
    }
    Ok(())
}

pub fn params_of_all(view: &RecordView<'_>) -> Result<BTreeMap<PkgInst, Params>, DatabaseError> {
    let all = each(view, |package| {
        Ok::<_, DatabaseError>(package.params()?.map(|params| (package.inst().clone(), params)))
    });
    Ok(all?.into_iter().collect())
}

/// Returns the applied patches of the root. `separator` is that of patch ids.
pub fn applied(view: &RecordView<'_>, separator: &str) -> Result<AppliedPatches, DatabaseError> {
    let root = view.root();
    let applied = each(view, |package| {
        let Some(params) = package.params()? else { return Ok(None) };
        installed::patch_records(root, package.inst(), &params, separator).map(Some)
    });
    Ok(AppliedPatches::new(applied?))
}

// A pkginfo that was cut at the end of a line is still valid. So it must list all patches with other traces: a save
// directory, `PATCH_INFO` and a ledger line belong together with an entry in PATCHLIST. Without a ledger line nothing
// is concluded: other tools leave save directories of unfinished patches.

/// Old tools record a backed-out patch with a value that starts like this.
const BACKED_OUT: &[u8] = b"backed out";

/// Refuses parameters that lack a patch, or its record. Users of the ledger report its faults.
pub(super) fn must_be_listed(
    view: &RecordView<'_>,
    package: &PkgInst,
    params: &Params,
    budget: &ReadBudget,
) -> Result<(), DatabaseError> {
    let suspects = Suspects::of(view, package, params)?;
    if suspects.is_empty() || installed::is_at_work(view, package)? {
        return Ok(());
    }
    let Ok(ledger) = ledger::read_within(view, package, budget) else { return Ok(()) };
    match suspects.fault(&ledger) {
        None => Ok(()),
        Some(reason) => Err(RecordDamage::of_pkginfo(view.root(), package, reason).into()),
    }
}

struct Suspects {
    unlisted: Vec<String>,
    unrecorded: Vec<String>,
}

impl Suspects {
    fn of(view: &RecordView<'_>, package: &PkgInst, params: &Params) -> Result<Self, DatabaseError> {
        let list = params.text("PATCHLIST");
        let listed: HashSet<&str> = list.split([' ', '\t', ',']).filter(|word| !word.is_empty()).collect();
        let records = params.iter().filter(|(_, value)| !value.starts_with(BACKED_OUT));
        let recorded: HashSet<&str> =
            records.filter_map(|(name, _)| name.strip_prefix("PATCH_INFO_")).collect();
        let saved = view.list(&places::save(package))?.unwrap_or_default();
        let saved = saved.into_iter().filter_map(|name| String::from_utf8(name).ok());
        let saved = saved.filter(|name| PatchId::new(name).is_ok());
        let mut unlisted: Vec<String> = saved.filter(|name| !listed.contains(name.as_str())).collect();
        unlisted.extend(recorded.difference(&listed).map(|name| (*name).to_owned()));
        let ids = ids_of(listed.iter().copied());
        unlisted.retain(|name| !PatchId::new(name).is_ok_and(|id| ids.contains(&id)));
        let mut unrecorded: Vec<String> =
            listed.difference(&recorded).map(|name| (*name).to_owned()).collect();
        let ids = ids_of(recorded.iter().copied());
        unrecorded.retain(|name| !PatchId::new(name).is_ok_and(|id| ids.contains(&id)));
        unlisted.sort();
        unrecorded.sort();
        Ok(Self { unlisted, unrecorded })
    }

    fn is_empty(&self) -> bool {
        self.unlisted.is_empty() && self.unrecorded.is_empty()
    }

    fn fault(&self, ledger: &Ledger) -> Option<String> {
        let lines = ledger.by_id();
        let line_of = |name: &String| lines.get(&PatchId::new(name).ok()?).copied();
        let unlisted = self.unlisted.iter().find_map(line_of);
        let unlisted = unlisted.map(|line| {
            let run = line.applied_by.as_ref().unwrap_or(&line.run);
            format!("PATCHLIST is missing {}, which run {run} applied: lines are missing", line.patch)
        });
        unlisted.or_else(|| {
            let line = self.unrecorded.iter().find_map(line_of)?;
            Some(format!("it has no PATCH_INFO_{}: lines are missing", line.patch))
        })
    }
}

fn ids_of<'n>(names: impl Iterator<Item = &'n str>) -> HashSet<PatchId> {
    names.filter_map(|name| PatchId::new(name).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Root;

    use std::fs;
    use std::os::unix::fs::symlink;

    fn all(root: &Root) -> Result<Vec<String>, DatabaseError> {
        each(&RecordView::live(root), |package| {
            let Some(params) = package.params()? else { return Ok(None) };
            let mark = |is: bool, mark| if is { mark } else { "" };
            let partial = mark(package.is_partial()?, "!");
            let updated = mark(package.is_being_updated(), "~");
            Ok(Some(format!("{}={}{partial}{updated}", package.inst(), params.text("NAME"))))
        })
    }

    #[test]
    fn packages_are_read_side_by_side_and_come_in_the_order_of_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("var/sadm/pkg");
        let mut expected = Vec::new();
        for number in 0..350 {
            let package = packages.join(format!("P{number:03}"));
            fs::create_dir_all(&package).unwrap();
            fs::write(package.join("pkginfo"), format!("NAME=n{number}\n")).unwrap();
            expected.push(format!("P{number:03}=n{number}"));
        }
        fs::write(packages.join("P007/!I-Lock!"), "").unwrap();
        fs::create_dir(packages.join(".save.P300")).unwrap();
        expected[7] += "!";
        expected[300] += "~";
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(all(&root).unwrap(), expected);

        fs::write(packages.join("P200/pkginfo"), "NAME=\"open\n").unwrap();
        fs::write(packages.join("P300/pkginfo"), "NAME=\"open\n").unwrap();
        let error = all(&root).unwrap_err().to_string();
        assert!(error.starts_with(&packages.join("P200/pkginfo: ").display().to_string()), "{error}");
    }

    #[test]
    fn the_parameters_of_all_packages_are_bounded_in_sum() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("var/sadm/pkg");
        for package in ["A", "B", "C"] {
            fs::create_dir_all(packages.join(package)).unwrap();
        }
        fs::write(packages.join("A/pkginfo"), "NAME=twelve\n").unwrap();
        for package in ["B", "C"] {
            fs::hard_link(packages.join("A/pkginfo"), packages.join(package).join("pkginfo")).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        let view = RecordView::live(&root);
        let read = |limit| {
            each_within(&Arc::new(ReadBudget::of(limit)), &view, |package| {
                Ok::<_, DatabaseError>(package.params()?.map(|_| ()))
            })
        };
        assert_eq!(read(36).unwrap().len(), 3);
        let error = read(35).unwrap_err().to_string();
        assert!(error.contains("C/pkginfo is not read: "), "{error}");
    }

    #[test]
    fn what_is_no_package_is_passed_over_and_a_link_is_followed_inside_the_root() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("var/sadm/pkg");
        fs::create_dir_all(packages.join("Half")).unwrap();
        fs::write(packages.join("Half/!R-Lock!"), "").unwrap();
        fs::create_dir_all(packages.join("Aside/Aside")).unwrap();
        fs::create_dir_all(packages.join("Updated")).unwrap();
        fs::create_dir_all(packages.join(".save.Updated")).unwrap();
        fs::create_dir_all(dir.path().join("elsewhere")).unwrap();
        fs::write(dir.path().join("elsewhere/pkginfo"), "NAME=linked\n").unwrap();
        fs::write(packages.join("stray"), "").unwrap();
        symlink("/elsewhere", packages.join("Link")).unwrap();
        symlink("/nowhere", packages.join("Gone")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(all(&root).unwrap(), ["Link=linked"]);
    }

    #[test]
    fn a_directory_without_a_pkginfo_that_can_be_read_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let packages = dir.path().join("var/sadm/pkg");
        let root = Root::open(dir.path()).unwrap();
        for (name, bytes, reason) in [
            ("X/pkginfo", &b""[..], "X/pkginfo: it holds no parameters"),
            ("X/pkginfo", b"PKG=X\nNAME=\0\0", "X/pkginfo: it holds NUL bytes"),
            ("X/pkginfo", b"PKG=X\nNA", "X/pkginfo: its last line is incomplete: the file is truncated"),
            ("X/pkginfo", b"PKG=Y\n", "X/pkginfo: PKG is Y, which is not the package of this directory"),
            ("X/pkginfo/x", b"", "X/pkginfo: it is a directory"),
            ("X/install/depend", b"", "X/pkginfo: it does not exist"),
        ] {
            let at = packages.join(name);
            fs::create_dir_all(at.parent().unwrap()).unwrap();
            fs::write(&at, bytes).unwrap();
            let error = all(&root).unwrap_err();
            assert!(error.to_string().ends_with(reason), "{error}");
            assert!(error.damage().is_some());
            fs::remove_dir_all(packages.join("X")).unwrap();
        }
        fs::create_dir(packages.join("X")).unwrap();
        let error = all(&root).unwrap_err().to_string();
        assert!(error.ends_with("X: it is empty: it has no pkginfo"), "{error}");
    }
}
