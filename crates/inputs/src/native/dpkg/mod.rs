//! The records of dpkg in `var/lib/dpkg`, read without a lock: `status` (versions, states, conffiles), `updates`
//! (changes not in `status` yet), `info` (paths and sums), `diversions`. Nothing is interpreted that dpkg would run.

pub mod deb_file;
mod overrides;
mod status;
pub mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::slice;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::package_cache::{MOST_PACKAGES, MOST_PATHS, PackageCache};
use super::successors::Successors;
use super::{
    FileSum, NativeError, NativeManager, NativeOrigin, NativeOwner, NativePackage, NativePath,
    NativePresence, RegisteredPackage, UnfinishedChange,
};
use crate::program_run::Deadline;
use overrides::Diversions;
pub use overrides::{OverrideAccount, StatOverride, StatOverrides, UnknownAccount};
use patchadm_rootfs::{Dir, ReadBudget, Root, RootError};
use patchadm_svr4::package::{Ftype, ObjectPath};
use status::{DpkgStanding, DpkgStatus};

const LARGEST_RECORD: u64 = 256 << 20;

/// For the files of packages that one query reads. A full system has about 250 MB, 100 of them in lists.
const LARGEST_SUM: u64 = 1 << 30;
const LARGEST_LISTS: u64 = 256 << 20;

/// dpkg merges hundreds of them, with a few KiB each, into `status`.
const LARGEST_UPDATES: u64 = 64 << 20;

/// For the files of `info`, on any file system.
const LONGEST: Duration = Duration::from_secs(600);

/// For messages.
const FILES: &str = "the file system with the records of dpkg";

/// `PATH_MAX`, without the NUL.
const LONGEST_LINE: usize = 4095;

/// No longer name fits a file of `info`.
const LONGEST_NAME: usize = 255;

/// Nobody knows which entry counts.
const SEVERAL_TIMES: &str = "the status file lists it several times";

pub const RECORDS: &str = "/var/lib/dpkg";

/// dpkg, apt and their front ends hold it while they change packages.
pub const FRONTEND_LOCK: &str = "/var/lib/dpkg/lock-frontend";

pub struct DpkgRecords {
    status: Vec<u8>,
    entries: BTreeMap<String, Vec<DpkgStatus>>,
    /// Changes that are not in `status` yet: dpkg is running, or was interrupted.
    unfinished: BTreeSet<String>,
    info: Option<Dir>,
    diversions: Result<Diversions, String>,
    packages: Mutex<PackageCache>,
    budget: ReadBudget,
    successors: OnceLock<Result<Successors, NativeError>>,
}

impl DpkgRecords {
    /// Reads everything but the lists of packages; `None` if the root has no `status`.
    pub fn find(root: &Root) -> Result<Option<Self>, NativeError> {
        let Some(status) = record(root, "status")? else { return Ok(None) };
        if status.last().is_some_and(|&last| last != b'\n') {
            return Err(records("the dpkg status file ends in the middle of a line".to_owned()));
        }
        let physical = root.resolver().locate_dir(&path_of("info")?)?;
        Ok(Some(Self {
            entries: entries(&status)?,
            status,
            unfinished: unfinished(root)?,
            info: root.dir_if_there(&physical)?,
            diversions: diversions(root)
                .map_err(|error| error.to_string())
                .and_then(|read| read.map_err(|reason| format!("diversions: {reason}"))),
            packages: Mutex::default(),
            budget: ReadBudget::of(LARGEST_SUM),
            successors: OnceLock::new(),
        }))
    }

    pub(super) fn missing(root: &Root) -> NativeError {
        let place = ObjectPath::new(RECORDS.as_bytes()).map(|path| root.show(&path)).unwrap_or_default();
        records(format!("there are no records of dpkg in {place}"))
    }

    fn of_name(&self, name: &str) -> &[DpkgStatus] {
        self.entries.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    pub(super) fn presences(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Vec<Result<NativePresence, NativeError>> {
        let origins = || packages.iter().map(|package| package.origin);
        let registered: BTreeSet<(&str, &str)> =
            origins().filter_map(|origin| Some((origin.name.as_str(), origin.arch.as_deref()?))).collect();
        let mut time = Deadline::after(LONGEST);
        let presence = |origin: &NativeOrigin| {
            time.check(FILES).map_err(records)?;
            if self.unfinished.contains(&origin.name) {
                return Ok(NativePresence::Busy(UnfinishedChange::Configure));
            }
            let is_of_another = |arch: &str| {
                origin.arch.as_deref() != Some(arch) && registered.contains(&(origin.name.as_str(), arch))
            };
            self.presence(origin, is_of_another)
        };
        origins().map(presence).collect()
    }

    /// `is_of_another` is true for the other architectures for which the package is registered.
    fn presence(
        &self,
        origin: &NativeOrigin,
        is_of_another: impl Fn(&str) -> bool,
    ) -> Result<NativePresence, NativeError> {
        let (entries, info) = (self.of_name(&origin.name), self.info.as_ref());
        let named: Vec<&DpkgStatus> = of_arch(entries, origin.arch.as_deref()).collect();
        let one = match present_one(entries, origin.arch.as_deref()) {
            Some(Ok(one)) => one,
            Some(Err(())) => return Err(bad(&origin.name, SEVERAL_TIMES.to_owned())),
            // dpkg removes the list of a package before it forgets the package.
            None if named.is_empty() && has_list(info, origin, entries.is_empty())? => {
                let reason = "the status file does not list it, but the list of its paths exists".to_owned();
                return Err(bad(&origin.name, reason));
            }
            None => return Ok(NativePresence::Gone),
        };
        if is_of_another(&one.arch) {
            return Ok(NativePresence::Gone);
        }
        let (version, arch) = (one.version.clone(), one.arch.clone());
        if version.is_empty() {
            return Err(bad(&origin.name, "the status file has no version of it".to_owned()));
        }
        match one.standing() {
            DpkgStanding::Installed => {
                let stamp = stamp(info, &origin.name, &one.arch)?;
                Ok(NativePresence::Installed { version, arch, stamp })
            }
            DpkgStanding::Busy(unfinished) => Ok(NativePresence::Busy(unfinished)),
            DpkgStanding::Gone => Ok(NativePresence::Gone),
        }
    }

    pub(super) fn registered(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Vec<Result<Arc<NativePackage>, NativeError>> {
        let mut time = Deadline::after(LONGEST);
        let read = |one: &RegisteredPackage<'_>| {
            time.check(FILES).map_err(records)?;
            let (name, arch) = (one.origin.name.as_str(), one.origin.arch.as_deref());
            let arch = match present_one(self.of_name(name), arch) {
                Some(Ok(present)) => Some(present.arch.as_str()),
                _ => arch,
            };
            self.package(&arch.map_or_else(|| name.to_owned(), |arch| format!("{name}:{arch}")))
        };
        packages.iter().map(read).collect()
    }

    /// Reads everything about a package: `NAME` or `NAME:ARCH`.
    pub fn package(&self, package: &str) -> Result<Arc<NativePackage>, NativeError> {
        let bad = |reason: String| bad(package, reason);
        let (name, arch) = package.split_once(':').map_or((package, None), |(name, arch)| (name, Some(arch)));
        if !is_word(name) || !arch.is_none_or(is_word) {
            return Err(bad("it is not a valid package name".to_owned()));
        }
        let found = the_one(self.of_name(name), arch).map_err(bad)?;
        self.must_be_finished(name)?;
        let mut packages = self.packages.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = packages.get(name, &found.arch, &found.version) {
            return Ok(known);
        }
        packages.add(self.read(name, found, &self.budget)?).map_err(bad)
    }

    /// Reads every installed or half-installed package, one at a time, in the order of `status`.
    pub fn packages(&self) -> impl Iterator<Item = Result<NativePackage, NativeError>> {
        let budget = ReadBudget::of(LARGEST_SUM);
        let mut counts: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (name, arch, _) in self.names() {
            *counts.entry((name, arch)).or_default() += 1;
        }
        status::present(&self.status).filter_map(move |(name, found)| {
            // Several equal entries count once.
            let count = counts.insert((name.clone(), found.arch.clone()), 0).filter(|&count| count > 0)?;
            Some(self.counted((name.as_str(), &found), count, &budget))
        })
    }

    fn counted(
        &self,
        (name, found): (&str, &DpkgStatus),
        count: usize,
        budget: &ReadBudget,
    ) -> Result<NativePackage, NativeError> {
        let bad = |reason: &str| bad(name, reason.to_owned());
        if !is_word(name) || !is_word(&found.arch) {
            return Err(bad("it is not a valid package name"));
        }
        if count > 1 {
            return Err(bad(SEVERAL_TIMES));
        }
        the_one(slice::from_ref(found), None).map_err(|reason| bad(&reason))?;
        self.must_be_finished(name)?;
        self.read(name, found, budget)
    }

    pub(super) fn successors(&self) -> Result<&Successors, NativeError> {
        let find = || {
            let mut successors = Successors::default();
            status::each_replacement(&self.status, |name, DpkgStatus { arch, version, .. }, relations| {
                let origin =
                    NativeOrigin { manager: NativeManager::Dpkg, name, arch: Some(arch), version: None };
                successors.begin(NativeOwner { origin, version });
                relations.iter().try_for_each(|relation| successors.add(&relation.name))
            })
            .map_err(|reason| records(format!("the dpkg status file: {reason}")))?;
            Ok(successors)
        };
        self.successors.get_or_init(find).as_ref().map_err(Clone::clone)
    }

    pub(super) fn installed_versions(&self, names: &BTreeSet<&str>) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for name in names.iter().filter(|name| !self.unfinished.contains(**name)) {
            let entries = self.of_name(name).iter();
            let installed = entries.filter(|one| one.standing() == DpkgStanding::Installed);
            let versions: Vec<String> = installed.map(|one| one.version.clone()).collect();
            if !versions.is_empty() {
                found.insert((*name).to_owned(), versions);
            }
        }
        found
    }

    fn must_be_finished(&self, name: &str) -> Result<(), NativeError> {
        if self.unfinished.contains(name) {
            return Err(bad(name, "dpkg has not finished with it (`updates`)".to_owned()));
        }
        Ok(())
    }

    /// Installed or half installed: name, architecture, and the name that dpkg uses.
    pub(super) fn names(&self) -> impl Iterator<Item = (String, String, String)> {
        status::present(&self.status).map(|(name, found)| {
            let both = format!("{name}:{}", found.arch);
            (name, found.arch, both)
        })
    }

    fn read(
        &self,
        name: &str,
        found: &DpkgStatus,
        budget: &ReadBudget,
    ) -> Result<NativePackage, NativeError> {
        let info = self.info.as_ref();
        let bad = |reason: String| bad(name, reason);
        let diversions = self.diversions.as_ref().map_err(|reason| bad(reason.clone()))?;
        let both = format!("{name}:{}", found.arch);
        let of = |suffix: &str| -> Result<Option<Vec<u8>>, NativeError> {
            let Some(info) = info else { return Ok(None) };
            let one =
                |name: &str| info.read_within(format!("{name}.{suffix}").as_bytes(), LARGEST_RECORD, budget);
            Ok(match one(&both)? {
                Some(text) => Some(text),
                None => one(name)?,
            })
        };
        let list = of("list")?.ok_or_else(|| bad("there is no list of its paths".to_owned()))?;
        let place = |path| diversions.place_of(name, path);
        let is_diverted = |path: &ObjectPath| diversions.diverted(name, path).map(|(place, _)| place.clone());
        let none = NativePath { ftype: Ftype::File, sum: None };
        let listed = paths_of(&list).map_err(|reason| bad(format!("its list: {reason}")))?;
        let diverted = listed.iter().filter_map(is_diverted).collect();
        let mut paths: BTreeMap<ObjectPath, NativePath> =
            listed.into_iter().map(|path| (place(path), none)).collect();
        let sums = of("md5sums")?.unwrap_or_default();
        for (path, sum) in md5sums(&sums) {
            if let Some(native) = paths.get_mut(&place(path)) {
                native.sum = Some(sum);
            }
        }
        for path in conffiles(&of("conffiles")?.unwrap_or_default()) {
            let sum = found.conffiles.get(&path).copied();
            if let Some(native) = paths.get_mut(&place(path)) {
                *native = NativePath { ftype: Ftype::Editable, sum: sum.or(native.sum) };
            }
        }
        let stamp = stamp(info, name, &found.arch)?;
        let origin = NativeOrigin {
            manager: NativeManager::Dpkg,
            name: name.to_owned(),
            arch: Some(found.arch.clone()),
            version: None,
        };
        Ok(NativePackage {
            origin,
            version: found.version.clone(),
            stamp,
            arch: found.arch.clone(),
            title: found.title.clone(),
            has_other_versions: false,
            paths,
            diverted,
        })
    }
}

/// Reads the overrides of a root, by the actual places of their objects.
pub fn overrides(root: &Root) -> Result<StatOverrides, NativeError> {
    let Some(text) = record(root, "statoverride")?.filter(|text| !text.is_empty()) else {
        return Ok(StatOverrides::default());
    };
    let bad = |file: &str, reason: String| records(format!("the file {file} of dpkg: {reason}"));
    let overrides = StatOverrides::parse(&text).map_err(|reason| bad("statoverride", reason))?;
    let diversions = diversions(root)?.map_err(|reason| bad("diversions", reason))?;
    Ok(overrides.diverted(&diversions))
}

fn diversions(root: &Root) -> Result<Result<Diversions, String>, NativeError> {
    Ok(Diversions::parse(&record(root, "diversions")?.unwrap_or_default()))
}

/// A name or architecture must not lead to another directory.
fn is_word(word: &str) -> bool {
    (1..=LONGEST_NAME).contains(&word.len())
        && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

/// Inode and ctime of list and sums: changes whenever the package is unpacked.
fn stamp(info: Option<&Dir>, name: &str, arch: &str) -> Result<String, NativeError> {
    let mut stamp = String::new();
    for suffix in ["list", "md5sums"] {
        let Some(info) = info else { break };
        let both = info.look(format!("{name}:{arch}.{suffix}").as_bytes())?;
        let seen = match both {
            Some(seen) => Some(seen),
            None => info.look(format!("{name}.{suffix}").as_bytes())?,
        };
        if let Some(seen) = seen {
            let blank = if stamp.is_empty() { "" } else { " " };
            // Writing to a string cannot fail.
            let _ = write!(stamp, "{blank}{}@{}", seen.inode.number, seen.ctime);
        }
    }
    Ok(stamp)
}

fn bad(package: &str, reason: String) -> NativeError {
    NativeError::Package { manager: NativeManager::Dpkg, package: package.to_owned(), reason }
}

fn records(reason: String) -> NativeError {
    NativeError::Records { manager: NativeManager::Dpkg, reason }
}

fn path_of(name: &str) -> Result<ObjectPath, NativeError> {
    ObjectPath::new(format!("{RECORDS}/{name}").as_bytes()).map_err(|error| records(error.to_string()))
}

/// The files in `updates`: dpkg writes each change there before it writes `status`.
fn unfinished(root: &Root) -> Result<BTreeSet<String>, NativeError> {
    let (mut names, budget) = (BTreeSet::new(), ReadBudget::of(LARGEST_UPDATES));
    for file in root.list(&path_of("updates")?)?.unwrap_or_default() {
        let file = String::from_utf8(file).unwrap_or_default();
        if !file.is_empty() && file.bytes().all(|byte| byte.is_ascii_digit()) {
            let path = path_of(&format!("updates/{file}"))?;
            let text = budget.read(LARGEST_RECORD, |limit| root.read(&path, limit))?.unwrap_or_default();
            names.extend(status::names(&text).filter(|name| is_word(name)).map(str::to_owned));
            if names.len() > MOST_PACKAGES {
                return Err(records(format!(
                    "with updates/{file} of dpkg, its updates name more than {MOST_PACKAGES} packages; \
                     check them in {RECORDS}"
                )));
            }
        }
    }
    Ok(names)
}

/// The list without an architecture in its name may be that of another architecture; `is_alone` excludes that.
fn has_list(info: Option<&Dir>, origin: &NativeOrigin, is_alone: bool) -> Result<bool, NativeError> {
    let Some(info) = info else { return Ok(false) };
    let NativeOrigin { name, arch, .. } = origin;
    let both = arch.as_ref().map(|arch| format!("{name}:{arch}.list"));
    for list in is_alone.then(|| format!("{name}.list")).into_iter().chain(both) {
        if info.look(list.as_bytes())?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

fn record(root: &Root, name: &str) -> Result<Option<Vec<u8>>, NativeError> {
    let text = root.read(&path_of(name)?, LARGEST_RECORD)?;
    if text.as_ref().is_some_and(|text| text.len() as u64 > LARGEST_RECORD) {
        return Err(records(format!("the file {name} of dpkg is larger than 256 MiB")));
    }
    if text.as_ref().is_some_and(|text| has_more_lines(text, MOST_PATHS)) {
        return Err(records(format!(
            "the file {name} of dpkg has more than {MOST_PATHS} lines; check it in {RECORDS}"
        )));
    }
    Ok(text)
}

fn has_more_lines(text: &[u8], most: usize) -> bool {
    text.iter().filter(|&&byte| byte == b'\n').nth(most).is_some()
}

fn entries(status: &[u8]) -> Result<BTreeMap<String, Vec<DpkgStatus>>, NativeError> {
    let refused = |reason: String| {
        records(format!("the dpkg status file is not read: {reason}; check it in {RECORDS}"))
    };
    status::entries(status).map_err(refused)
}

fn of_arch<'e>(entries: &'e [DpkgStatus], arch: Option<&str>) -> impl Iterator<Item = &'e DpkgStatus> {
    entries.iter().filter(move |one| arch.is_none_or(|arch| one.arch == arch))
}

/// Returns the entry that was registered for this architecture; an error if there are several. Without `Multi-Arch:
/// same`, only one architecture is installed at a time, and another version may have another one.
fn present_one<'e>(entries: &'e [DpkgStatus], arch: Option<&str>) -> Option<Result<&'e DpkgStatus, ()>> {
    let there = |one: &&DpkgStatus| one.standing() != DpkgStanding::Gone;
    let exact: Vec<&DpkgStatus> = of_arch(entries, arch).filter(there).collect();
    let any: Vec<&DpkgStatus> = entries.iter().filter(there).collect();
    match (exact.as_slice(), any.as_slice()) {
        ([], several) if several.iter().all(|one| one.is_same) => None,
        ([one], _) | ([], [one]) => Some(Ok(one)),
        _ => Some(Err(())),
    }
}

/// A package with several architectures must be named with one.
fn the_one<'e>(entries: &'e [DpkgStatus], arch: Option<&str>) -> Result<&'e DpkgStatus, String> {
    let is_it =
        |one: &&DpkgStatus| arch.is_none_or(|arch| one.arch == arch) && one.standing() != DpkgStanding::Gone;
    let mut found: Vec<&DpkgStatus> = entries.iter().filter(is_it).collect();
    match (found.pop(), found.is_empty()) {
        (None, _) => Err("dpkg has not installed it".to_owned()),
        (Some(one), true) if one.standing() != DpkgStanding::Installed => {
            Err(format!("dpkg has not finished with it (`{}`)", one.status))
        }
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            let mut archs: Vec<&str> = found.iter().map(|one| one.arch.as_str()).collect();
            archs.push(&last.arch);
            let differ = archs.windows(2).all(|two| two.first() != two.last());
            let archs = archs.join(" ");
            Err(if differ {
                format!("it is installed for several architectures: {archs}; specify it as NAME:ARCH")
            } else {
                SEVERAL_TIMES.to_owned()
            })
        }
    }
}

/// Returns the absolute paths in a text, one a line, without blank lines and the root directory.
pub fn paths_of(text: &[u8]) -> Result<Vec<ObjectPath>, String> {
    if has_more_lines(text, MOST_PATHS) {
        return Err(format!("it has more than {MOST_PATHS} lines"));
    }
    let lines = (1..).zip(text.split(|&byte| byte == b'\n')).filter(|(_, line)| !line.is_empty());
    let path =
        |(at, line): (usize, &[u8])| ObjectPath::new(line).map_err(|error| format!("line {at}: {error}"));
    let paths = lines.map(path).filter(|path| path.as_ref().map_or(true, |path| !path.relative().is_empty()));
    paths.collect()
}

/// Skips lines with words before the path: an upgrade removes those files.
fn conffiles(text: &[u8]) -> impl Iterator<Item = ObjectPath> {
    let lines = text.split(|&byte| byte == b'\n').filter(|line| line.starts_with(b"/"));
    lines.filter_map(|line| ObjectPath::new(line.trim_ascii_end()).ok())
}

fn md5sums(text: &[u8]) -> impl Iterator<Item = (ObjectPath, FileSum)> {
    let lines = text.split(|&byte| byte == b'\n');
    let read = |line: &[u8]| {
        let (sum, path) = line.split_at_checked(32)?;
        let path = [b"/", path.strip_prefix(b"  ")?].concat();
        Some((ObjectPath::new(&path).ok()?, FileSum::parse(sum)?))
    };
    lines.filter_map(read)
}

// Unpacked, half-installed and removed packages with remaining configuration own the paths in their lists, too.

/// Of a package, diverted by somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DivertedPath {
    pub package: String,
    /// In the package's list.
    pub listed: ObjectPath,
    pub place: ObjectPath,
    /// `None` for the administrator.
    pub by: Option<String>,
}

/// A rule of dpkg-divert(1) for files of all other packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diverting {
    pub from: ObjectPath,
    pub to: ObjectPath,
    /// `None` for the administrator.
    pub by: Option<String>,
}

#[derive(Debug)]
pub(super) struct PackageList {
    pub(super) origin: NativeOrigin,
    text: Vec<u8>,
}

impl PackageList {
    pub(super) fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.text.split(|&byte| byte == b'\n');
        lines.filter(|line| line.len() > 1 && line.starts_with(b"/") && *line != b"/.")
    }

    fn has_bounded_lines(&self) -> bool {
        self.text.split(|&byte| byte == b'\n').all(|line| line.len() <= LONGEST_LINE)
    }
}

#[derive(Debug)]
pub(super) struct DpkgLists {
    pub(super) lists: Vec<PackageList>,
    diversions: Diversions,
    versions: BTreeMap<(String, String), String>,
    /// With `Multi-Arch: same`.
    pub(super) multi_arch: BTreeSet<String>,
    pub(super) unreadable: Vec<String>,
}

impl DpkgLists {
    pub(super) fn read(root: &Root) -> Result<Option<Self>, NativeError> {
        let physical = root.resolver().locate_dir(&path_of("info")?)?;
        let Some(info) = root.dir_if_there(&physical)? else { return Ok(None) };
        let mut lists = Self {
            lists: Vec::new(),
            diversions: Diversions::default(),
            versions: BTreeMap::new(),
            multi_arch: BTreeSet::new(),
            unreadable: Vec::new(),
        };
        let known = entries(&record(root, "status")?.unwrap_or_default())?.into_iter();
        for (name, found) in known.filter(|(name, _)| is_word(name)) {
            if found.iter().any(|one| one.is_same) {
                lists.multi_arch.insert(name.clone());
            }
            lists.versions.extend(found.into_iter().map(|one| ((name.clone(), one.arch), one.version)));
        }
        match Diversions::parse(&record(root, "diversions")?.unwrap_or_default()) {
            Ok(diversions) => lists.diversions = diversions,
            Err(reason) => lists.unreadable.push(format!("the diversions of dpkg cannot be read: {reason}")),
        }
        lists.read_all(&info, &ReadBudget::of(LARGEST_LISTS), MOST_PATHS)?;
        Ok(Some(lists))
    }

    fn read_all(&mut self, info: &Dir, budget: &ReadBudget, most: usize) -> Result<(), NativeError> {
        let (mut left, mut time) = (most, Deadline::after(LONGEST));
        for file in info.names()? {
            time.check(FILES).map_err(records)?;
            let Some(origin) = file.strip_suffix(b".list").and_then(origin_of) else { continue };
            let list = match info.read_within(&file, LARGEST_RECORD, budget) {
                Ok(Some(text)) => PackageList { origin, text },
                Ok(None) => continue,
                Err(error @ RootError::SumTooLarge { .. }) => return Err(error.into()),
                Err(error) => {
                    self.unreadable.push(error.to_string());
                    continue;
                }
            };
            if !list.has_bounded_lines() {
                let name = file.escape_ascii();
                self.unreadable.push(format!("info/{name} of dpkg has a line that is too long for a path"));
                continue;
            }
            // An empty list counts as one path.
            left = left.checked_sub(list.lines().count().max(1)).ok_or_else(|| {
                records(format!(
                    "with info/{} of dpkg, its lists have more than {most} paths, and a whole system has about \
                     1000000; check them in {RECORDS}",
                    file.escape_ascii()
                ))
            })?;
            self.lists.push(list);
        }
        Ok(())
    }

    pub(super) fn version(&self, list: &PackageList) -> String {
        let NativeOrigin { name, arch, .. } = &list.origin;
        let first = self.versions.range((name.clone(), arch.clone().unwrap_or_default())..).next();
        let found =
            first.filter(|((known, of), _)| known == name && arch.as_ref().is_none_or(|arch| of == arch));
        found.map(|(_, version)| version.clone()).unwrap_or_default()
    }

    pub(super) fn rules(&self) -> impl Iterator<Item = Diverting> {
        self.diversions.rules().map(|(from, to, by)| Diverting {
            from: from.clone(),
            to: to.clone(),
            by: by.map(str::to_owned),
        })
    }

    pub(super) fn diverted(&self, package: &str, line: &[u8]) -> Option<DivertedPath> {
        if self.diversions.is_empty() {
            return None;
        }
        let listed = ObjectPath::new(line).ok()?;
        let (place, by) = self.diversions.diverted(package, &listed)?;
        Some(DivertedPath {
            package: package.to_owned(),
            place: place.clone(),
            by: by.map(str::to_owned),
            listed,
        })
    }
}

fn origin_of(name: &[u8]) -> Option<NativeOrigin> {
    let text = std::str::from_utf8(name).ok().filter(|text| !text.is_empty())?;
    let (name, arch) = text.split_once(':').map_or((text, None), |(name, arch)| (name, Some(arch)));
    if !is_word(name) || !arch.is_none_or(is_word) {
        return None;
    }
    let (name, arch) = (name.to_owned(), arch.map(str::to_owned));
    Some(NativeOrigin { manager: NativeManager::Dpkg, name, arch, version: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(arch: &str, status: &str) -> DpkgStatus {
        DpkgStatus { arch: arch.to_owned(), status: status.to_owned(), ..DpkgStatus::default() }
    }

    #[test]
    fn one_of_two_architectures_has_to_be_named_and_what_is_in_between_is_told() {
        let ok = "install ok installed";
        let both = || vec![entry("amd64", ok), entry("i386", ok)];
        assert_eq!(the_one(&both(), Some("i386")).unwrap().arch, "i386");
        assert!(the_one(&both(), None).unwrap_err().contains("amd64 i386"));
        let twice = vec![entry("amd64", ok), entry("amd64", ok)];
        assert_eq!(the_one(&twice, None).unwrap_err(), "the status file lists it several times");
        let half = vec![entry("amd64", "install reinstreq half-installed")];
        assert!(the_one(&half, None).unwrap_err().contains("has not finished with it"));
        let gone = vec![entry("amd64", "deinstall ok config-files")];
        assert_eq!(the_one(&gone, None).unwrap_err(), "dpkg has not installed it");
    }

    #[test]
    fn another_architecture_stands_for_a_registered_one_only_where_there_can_be_one_at_a_time() {
        let ok = "install ok installed";
        let same = |arch: &str| DpkgStatus { is_same: true, ..entry(arch, ok) };
        let arch = |entries: &[DpkgStatus]| {
            present_one(entries, Some("i386")).map(|one| one.map(|one| one.arch.clone()))
        };
        assert_eq!(arch(&[same("amd64"), same("i386")]), Some(Ok("i386".to_owned())));
        assert_eq!(arch(&[same("amd64")]), None, "that of amd64 is another package");
        assert_eq!(arch(&[entry("amd64", ok)]), Some(Ok("amd64".to_owned())), "it is the same for another");
        assert_eq!(arch(&[same("amd64"), same("arm64")]), None);
        assert_eq!(arch(&[entry("i386", ok), entry("i386", ok)]), Some(Err(())));
        assert_eq!(arch(&[entry("amd64", ok), entry("amd64", ok)]), Some(Err(())));
        let left = entry("i386", "deinstall ok config-files");
        assert_eq!(arch(&[same("amd64"), left]), None);
    }

    fn at(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn versions_of_several_packages_come_from_one_reading() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/dpkg/updates")).unwrap();
        let stanza = |name: &str, version: &str| {
            format!(
                "Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
            )
        };
        let status =
            [stanza("web", "2"), stanza("web", "1"), stanza("busy", "1"), stanza("other", "1")].concat();
        std::fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
        std::fs::write(dir.path().join("var/lib/dpkg/updates/0001"), "Package: busy\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        let names = BTreeSet::from(["busy", "gone", "web"]);
        let found = DpkgRecords::find(&root).unwrap().unwrap().installed_versions(&names);
        assert_eq!(found, BTreeMap::from([("web".to_owned(), vec!["2".to_owned(), "1".to_owned()])]));
    }

    fn lists(info: &Dir, limit: u64, most: usize) -> Result<DpkgLists, NativeError> {
        let mut lists = DpkgLists {
            lists: Vec::new(),
            diversions: Diversions::default(),
            versions: BTreeMap::new(),
            multi_arch: BTreeSet::new(),
            unreadable: Vec::new(),
        };
        lists.read_all(info, &ReadBudget::of(limit), most)?;
        Ok(lists)
    }

    #[test]
    fn all_lists_are_bounded_in_sum_and_each_line_and_name_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.list"), "/usr\n").unwrap();
        std::fs::hard_link(dir.path().join("a.list"), dir.path().join("b:amd64.list")).unwrap();
        let info = Dir::of_host(dir.path()).unwrap();
        assert_eq!(lists(&info, 10, MOST_PATHS).unwrap().lists.len(), 2);
        let error = lists(&info, 9, MOST_PATHS).unwrap_err().to_string();
        assert!(error.contains("b:amd64.list is not read: "), "{error}");

        let holes = std::fs::File::create(dir.path().join("holes.list")).unwrap();
        holes.set_len(LONGEST_LINE as u64 + 1).unwrap();
        std::fs::write(dir.path().join("no name.list"), "/usr\n").unwrap();
        let read = lists(&info, LARGEST_LISTS, MOST_PATHS).unwrap();
        assert_eq!(read.lists.len(), 2);
        assert_eq!(read.unreadable, ["info/holes.list of dpkg has a line that is too long for a path"]);
    }

    #[test]
    fn lists_with_more_entries_than_any_system_has_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.list"), "/usr\n/usr/bin\n").unwrap();
        std::fs::write(dir.path().join("b.list"), "").unwrap();
        let info = Dir::of_host(dir.path()).unwrap();
        assert_eq!(lists(&info, LARGEST_LISTS, 3).unwrap().lists.len(), 2);
        let error = lists(&info, LARGEST_LISTS, 2).unwrap_err().to_string();
        assert!(error.contains("have more than 2 paths"), "{error}");
        assert!(error.ends_with("check them in /var/lib/dpkg"), "{error}");

        let lines = vec![b'\n'; MOST_PATHS + 1];
        assert_eq!(paths_of(&lines).unwrap_err(), "it has more than 4000000 lines");
        std::fs::create_dir_all(dir.path().join("var/lib/dpkg")).unwrap();
        std::fs::write(dir.path().join("var/lib/dpkg/status"), lines).unwrap();
        let error = DpkgRecords::find(&Root::open(dir.path()).unwrap()).err().unwrap().to_string();
        assert!(error.contains("the file status of dpkg has more than 4000000 lines"), "{error}");
    }

    #[test]
    fn each_architecture_is_followed_unless_another_registration_has_it() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("var/lib/dpkg/info")).unwrap();
        let status = "Package: web\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1\n\n";
        std::fs::write(dir.path().join("var/lib/dpkg/status"), status).unwrap();
        let records = DpkgRecords::find(&Root::open(dir.path()).unwrap()).unwrap().unwrap();
        let origins = ["dpkg web:i386", "dpkg web:amd64"].map(|text| NativeOrigin::parse(text).unwrap());
        let all = origins.each_ref().map(|origin| RegisteredPackage { origin, version: "1", arch: "" });
        let is_there = |packages: &[RegisteredPackage<'_>]| -> Vec<bool> {
            let presences = records.presences(packages).into_iter();
            presences.map(|one| matches!(one.unwrap(), NativePresence::Installed { .. })).collect()
        };
        assert_eq!(is_there(&all), [false, true]);
        assert_eq!(is_there(&all[..1]), [true]);
    }

    #[test]
    fn a_name_of_a_change_that_dpkg_has_not_finished_is_a_word() {
        let dir = tempfile::tempdir().unwrap();
        let updates = dir.path().join("var/lib/dpkg/updates");
        std::fs::create_dir_all(&updates).unwrap();
        std::fs::write(updates.join("0001"), format!("Package: {}\n\nPackage: web\n", "x".repeat(256)))
            .unwrap();
        std::fs::write(updates.join("0002"), "Package: ../x\n").unwrap();
        let root = Root::open(dir.path()).unwrap();
        assert_eq!(unfinished(&root).unwrap().into_iter().collect::<Vec<_>>(), ["web"]);
        let large = vec![0; usize::try_from(LARGEST_UPDATES / 4).unwrap()];
        std::fs::write(updates.join("0003"), large).unwrap();
        for number in 4..=7 {
            std::fs::hard_link(updates.join("0003"), updates.join(format!("{number:04}"))).unwrap();
        }
        let error = unfinished(&root).unwrap_err().to_string();
        assert!(error.contains("/0006 is not read: "), "{error}");
    }

    #[test]
    fn a_list_has_absolute_paths_and_a_relative_one_is_told_by_its_line() {
        let paths = paths_of(b"/.\n/usr\n\n/usr/bin/a b\n").unwrap();
        let shown: Vec<String> = paths.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["/usr", "/usr/bin/a b"]);
        assert!(paths_of(b"/a\nusr\n").unwrap_err().starts_with("line 2: "));
    }

    #[test]
    fn sums_and_conffiles_are_those_of_whole_lines() {
        let text =
            b"d41d8cd98f00b204e9800998ecf8427e  usr/empty\nshort  x\nzz1d8cd98f00b204e9800998ecf8427e  y\n";
        let sums: Vec<_> = md5sums(text).collect();
        assert_eq!(sums.len(), 1);
        assert_eq!(sums[0].0, at("/usr/empty"));
        let files: Vec<ObjectPath> = conffiles(b"/etc/a\nremove-on-upgrade /etc/b\n\n").collect();
        assert_eq!(files, [at("/etc/a")]);
    }
}
