//! The records of rpm, read by rpm(8), because only it can read its database. Files that no package delivers (`%ghost`)
//! are left out. A package can be installed in several versions (kernels), or for several architectures.
//!
//! Only the database of the running system is read in its place. Of any other one rpm gets a copy, and has no rights.

mod database_copy;
mod enclosed;
pub mod version;

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use database_copy::{DatabaseCopy, is_empty, is_plain, of_system};
use enclosed::{MOST_SECONDS, OWN_FAILURE, first_words};
pub use enclosed::{RPM_PROCESS, become_rpm};

use super::package_cache::{MOST_OF_NAME, MOST_PACKAGES, MOST_PATHS, PackageCache};
use super::successors::Successors;
use super::{
    FileSum, NativeError, NativeManager, NativeOrigin, NativeOwner, NativePackage, NativePath,
    NativePresence, RegisteredPackage,
};
use crate::program_run::{PATH, ProgramLimits, output_of};
use patchadm_rootfs::{Root, RootError};
use patchadm_svr4::package::{Ftype, ObjectPath};

const DATABASES: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
const LOCK: &str = ".rpm.lock";
const PACKAGE: &str = r"P\t%{NAME}\t%{EPOCH}\t%{VERSION}-%{RELEASE}\t%{ARCH}\t%{INSTALLTID}\t%{SUMMARY}\n";
const FILES: &str = r"[F\t%{FILEFLAGS}\t%{FILEDIGESTS}\t%{FILENAMES}\n]";
const STATES: &str = r"[S\t%{FILESTATES}\t%{FILENAMES}\n]";

/// rpm installed the file, and no package replaced it.
const NORMAL: &[u8] = b"0";

const LONGEST_ANSWER: usize = 256 << 20;

/// All runs for the database of the running system, on any machine.
const LONGEST: Duration = Duration::from_secs(600);

/// All runs for a copy; a single run is limited to [`MOST_SECONDS`]. On a full system, a run takes about ten seconds.
const LONGEST_OF_COPY: Duration = Duration::from_secs(3 * MOST_SECONDS);

/// Instead of a home directory, whose macros rpm would read.
const NO_HOME: &str = "/dev/null";

const NOT_INSTALLED: &str = "rpm has not installed it";
const CONFIG: u32 = 1;
const GHOST: u32 = 1 << 6;

pub(super) type OwnedPaths = (NativeOwner, Vec<Vec<u8>>);

pub struct RpmRecords {
    database: DatabasePlace,
    time: TimeInSum,
    known: Mutex<KnownRpms>,
    successors: OnceLock<Result<Successors, NativeError>>,
}

enum DatabasePlace {
    /// rpm would make a database there.
    Empty,
    OfSystem(PathBuf),
    Copied(Box<DatabaseCopy>),
}

impl RpmRecords {
    pub(super) fn missing() -> NativeError {
        records("there are no records of rpm in the root".to_owned())
    }

    fn of(database: DatabasePlace) -> Self {
        let limit = match database {
            DatabasePlace::Copied(_) => LONGEST_OF_COPY,
            DatabasePlace::Empty | DatabasePlace::OfSystem(_) => LONGEST,
        };
        Self { database, time: TimeInSum::of(limit), known: Mutex::default(), successors: OnceLock::new() }
    }

    /// Returns `None` if the root has none.
    pub fn find(root: &Root) -> Result<Option<Self>, NativeError> {
        let Some((place, physical)) = database(root)? else { return Ok(None) };
        if is_empty(&root.dir(&physical)?)? {
            return Ok(Some(Self::of(DatabasePlace::Empty)));
        }
        let path = match ObjectPath::new(place.as_bytes()) {
            Ok(place) => of_system(root, &place, &physical)?,
            Err(_) => None,
        };
        let database = match path {
            Some(path) => DatabasePlace::OfSystem(path),
            None => DatabasePlace::Copied(Box::new(DatabaseCopy::of(root, &physical)?)),
        };
        Ok(Some(Self::of(database)))
    }

    /// Skips packages without files.
    pub fn packages(
        &self,
    ) -> Result<impl Iterator<Item = Result<NativePackage, NativeError>> + use<>, NativeError> {
        self.all(&format!("{PACKAGE}{FILES}")).map(each_package)
    }

    /// Reads everything about a package: `NAME`, `NAME.ARCH`, or `NAME-[EPOCH:]VERSION-RELEASE[.ARCH]`.
    pub fn package(&self, name: &str) -> Result<Arc<NativePackage>, NativeError> {
        let mut known = self.known();
        self.read(&mut known, &BTreeSet::from([name])).map_err(|reason| bad(name, reason))?;
        let package = the_one(name, known.meant_by(name)?.to_vec())?;
        // Only a query for the name shows whether there are others.
        let own = package.origin.name.as_str();
        self.ask(&mut known.installed, &BTreeSet::from([own]))?;
        let is_other = |one: &InstalledRpm| one.arch == package.arch && one.evr != package.version;
        if !known.installed.of_name(own).iter().any(is_other) {
            return Ok(package);
        }
        Ok(Arc::new(NativePackage { has_other_versions: true, ..NativePackage::clone(&package) }))
    }

    pub(super) fn registered(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Vec<Result<Arc<NativePackage>, NativeError>> {
        let names = packages.iter().map(|one| one.origin.name.as_str()).collect();
        let mut known = self.known();
        let read = self.read(&mut known, &names);
        let of = |one: &RegisteredPackage<'_>| {
            let name = one.origin.name.as_str();
            read.as_ref().map_err(|reason| bad(name, reason.clone()))?;
            let is_it =
                |found: &&Arc<NativePackage>| found.origin.name == name && found.version == one.version;
            let of_version = known.meant_by(name)?.iter().filter(is_it).cloned();
            // With another version a package may have another architecture.
            let (own, others): (Vec<_>, Vec<_>) = of_version.partition(|found| found.arch == one.arch);
            the_one(name, if own.is_empty() { others } else { own })
        };
        packages.iter().map(of).collect()
    }

    fn known(&self) -> MutexGuard<'_, KnownRpms> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads the packages of names that were not read before. A single name may be anything that rpm takes for one.
    fn read(&self, known: &mut KnownRpms, names: &BTreeSet<&str>) -> Result<(), String> {
        let is_new = |name: &&str| is_name(name) && !known.meant.contains_key(*name);
        let new: Vec<&str> = names.iter().copied().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        let (answer, _) = self.query(&format!("{PACKAGE}{FILES}"), QueriedNames::These(&new))?;
        known.add(&answer, &new)
    }

    pub(super) fn successors(&self) -> Result<&Successors, NativeError> {
        let find = || {
            let answer = self.all(&format!(r"{PACKAGE}[O\t%{{OBSOLETES}}\n][O\t%{{PROVIDES}}\n]"))?;
            let mut successors = Successors::default();
            for line in answer.split(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(line);
                if let Some(line) = line.strip_prefix("P\t").and_then(RpmLine::parse) {
                    successors.begin(line.owner());
                } else if let Some(name) = line.strip_prefix("O\t").filter(|name| is_name(name)) {
                    successors.add(name).map_err(|reason| too_large(&reason))?;
                }
            }
            Ok(successors)
        };
        self.successors.get_or_init(find).as_ref().map_err(Clone::clone)
    }

    pub(super) fn installed_versions(
        &self,
        names: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, Vec<String>>, NativeError> {
        let names: BTreeSet<&str> = names.iter().copied().filter(|name| is_name(name)).collect();
        let mut known = self.known();
        self.ask(&mut known.installed, &names)?;
        let versions = |name: &str| -> Vec<String> {
            known.installed.of_name(name).iter().map(|one| one.evr.clone()).collect()
        };
        let found = names.into_iter().map(|name| (name.to_owned(), versions(name)));
        Ok(found.filter(|(_, versions)| !versions.is_empty()).collect())
    }

    /// Without files that were replaced, left out, or of another color.
    pub(super) fn owned(&self) -> Result<Vec<OwnedPaths>, NativeError> {
        owned_paths(&self.all(&format!("{PACKAGE}{STATES}"))?, MOST_PATHS)
    }

    pub(super) fn names(&self) -> Result<Vec<(String, String, String)>, NativeError> {
        let answer = self.all(PACKAGE)?;
        let text = String::from_utf8_lossy(&answer);
        let lines = text.lines().filter_map(|line| RpmLine::parse(line.strip_prefix("P\t")?));
        let named = |line: RpmLine<'_>| {
            let call = nevra(line.name, &line.evr(), line.arch);
            (line.name.to_owned(), line.arch.to_owned(), call)
        };
        Ok(lines.map(named).collect())
    }

    fn all(&self, query: &str) -> Result<Vec<u8>, NativeError> {
        let (answer, is_whole) = self.query(query, QueriedNames::All).map_err(records)?;
        if !is_whole {
            return Err(records("rpm cannot list its packages".to_owned()));
        }
        let lines = answer.split(|&byte| byte == b'\n');
        if lines.filter(|line| line.starts_with(b"P\t")).nth(MOST_PACKAGES).is_some() {
            return Err(too_large(&format!("it has more than {MOST_PACKAGES} packages")));
        }
        Ok(answer)
    }

    fn query(&self, query: &str, names: QueriedNames<'_>) -> Result<(Vec<u8>, bool), String> {
        self.time.spend(|left| query_rpm(&self.database, query, names, left))
    }

    /// Asks for the installed packages of names that were not asked for before.
    fn ask(&self, installed: &mut InstalledOfNames, names: &BTreeSet<&str>) -> Result<(), NativeError> {
        let new: Vec<&str> = names.iter().copied().filter(|name| !installed.asked.contains(*name)).collect();
        if new.is_empty() {
            return Ok(());
        }
        let (answer, _) = self.query(PACKAGE, QueriedNames::These(&new)).map_err(records)?;
        installed.add(&String::from_utf8_lossy(&answer)).map_err(|reason| too_large(&reason))?;
        installed.asked.extend(new.into_iter().map(str::to_owned));
        Ok(())
    }

    pub(super) fn presences(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Result<Vec<Result<NativePresence, NativeError>>, NativeError> {
        let mut known = self.known();
        self.ask(&mut known.installed, &packages.iter().map(|one| one.origin.name.as_str()).collect())?;
        let registered = RegisteredRpms::of(packages);
        let presence = |package: &RegisteredPackage<'_>| {
            let name = &package.origin.name;
            let installed = known.installed.of_name(name);
            if installed.is_empty() && !known.installed.absent.contains(name) {
                return Err(bad(name, "rpm does not report it".to_owned()));
            }
            Ok(match registered.followed(package, installed) {
                Some(InstalledRpm { evr, arch, stamp }) => NativePresence::Installed {
                    version: evr.clone(),
                    arch: arch.clone(),
                    stamp: stamp.clone(),
                },
                None => NativePresence::Gone,
            })
        };
        Ok(packages.iter().map(presence).collect())
    }
}

fn the_one(name: &str, mut found: Vec<Arc<NativePackage>>) -> Result<Arc<NativePackage>, NativeError> {
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            found.push(last);
            let named = |one: &Arc<NativePackage>| nevra(&one.origin.name, &one.version, &one.arch);
            let names: Vec<String> = found.iter().map(named).collect();
            Err(bad(name, format!("it is installed several times; specify one of {}", names.join(", "))))
        }
        (None, _) => Err(bad(name, NOT_INSTALLED.to_owned())),
    }
}

fn nevra(name: &str, evr: &str, arch: &str) -> String {
    format!("{name}-{evr}.{arch}")
}

/// As rpm names it, and with links followed.
fn database(root: &Root) -> Result<Option<(&'static str, ObjectPath)>, RootError> {
    for place in DATABASES {
        let Ok(path) = ObjectPath::new(place.as_bytes()) else { continue };
        let physical = root.resolver().locate_dir(&path)?;
        if root.dir_if_there(&physical)?.is_some() {
            return Ok(Some((place, physical)));
        }
    }
    Ok(None)
}

pub(super) fn lock_file(root: &Root) -> Result<Option<ObjectPath>, RootError> {
    Ok(database(root)?.and_then(|(place, _)| lock_file_in(place)))
}

pub(super) fn lock_files() -> impl Iterator<Item = ObjectPath> {
    DATABASES.into_iter().filter_map(lock_file_in)
}

fn lock_file_in(database: &str) -> Option<ObjectPath> {
    ObjectPath::new(format!("{database}/{LOCK}").as_bytes()).ok()
}

fn bad(package: &str, reason: String) -> NativeError {
    NativeError::Package { manager: NativeManager::Rpm, package: package.to_owned(), reason }
}

fn records(reason: String) -> NativeError {
    NativeError::Records { manager: NativeManager::Rpm, reason }
}

fn too_large(reason: &str) -> NativeError {
    records(format!("the database of rpm is not used: {reason}; check it with `rpmdb --verifydb`"))
}

/// The time for all runs of rpm for one command: each of them may take as long as a database lets it.
struct TimeInSum {
    limit: Duration,
    left: Mutex<Duration>,
}

impl TimeInSum {
    fn of(limit: Duration) -> Self {
        Self { limit, left: Mutex::new(limit) }
    }

    fn left(&self) -> MutexGuard<'_, Duration> {
        self.left.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `run` gets the time that is left.
    fn spend<T>(&self, run: impl FnOnce(Duration) -> Result<T, String>) -> Result<T, String> {
        let spent = || {
            format!(
                "rpm has used up the {} seconds that all its runs for one command may take; \
                 check the database with `rpmdb --verifydb`",
                self.limit.as_secs()
            )
        };
        let left = *self.left();
        if left.is_zero() {
            return Err(spent());
        }
        let began = Instant::now();
        let done = run(left);
        let mut left = self.left();
        *left = left.saturating_sub(began.elapsed());
        if left.is_zero() { done.map_err(|_| spent()) } else { done }
    }
}

#[derive(Clone, Copy)]
enum QueriedNames<'a> {
    All,
    These(&'a [&'a str]),
}

/// Rpm compares it with names, versions and architectures, and nothing else.
fn is_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-~^:".contains(&byte);
    !name.is_empty() && !name.starts_with('-') && name.bytes().all(is_of_name)
}

fn query_rpm(
    database: &DatabasePlace,
    query: &str,
    names: QueriedNames<'_>,
    left: Duration,
) -> Result<(Vec<u8>, bool), String> {
    let program = || {
        let found = PATH.split(':').map(|place| Path::new(place).join("rpm")).find(|path| path.is_file());
        found.ok_or_else(|| format!("the command rpm is not in {PATH}"))
    };
    let (mut command, path, time) = match database {
        DatabasePlace::Empty => return Ok(answer_without_packages(names)),
        DatabasePlace::OfSystem(path) => (Command::new(program()?), path.as_path(), left),
        DatabasePlace::Copied(copy) => {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("patchadm").arg(RPM_PROCESS).args(first_words(copy.user())).arg(program()?);
            (command, copy.path(), left.min(Duration::from_secs(MOST_SECONDS)))
        }
    };
    if !is_plain(path) {
        return Err(format!("rpm would interpret the path of its database, {}", path.display()));
    }
    command.arg("-q").arg("--dbpath").arg(path).args(["--queryformat", query]);
    match names {
        QueriedNames::All => command.arg("-a"),
        QueriedNames::These(names) => command.arg("--").args(names.iter().filter(|name| is_name(name))),
    };
    command.env_clear().env("PATH", PATH).env("HOME", NO_HOME).env("LC_ALL", "C").current_dir("/");
    let limits = ProgramLimits { time, bytes: LONGEST_ANSWER };
    let (answer, ended) = output_of(&mut command, "rpm", b"", limits)?;
    if matches!(database, DatabasePlace::Copied(_)) && ended.code() == Some(OWN_FAILURE) && answer.is_empty()
    {
        return Err("rpm cannot be run without the rights of the caller".to_owned());
    }
    Ok((answer, ended.success()))
}

fn answer_without_packages(names: QueriedNames<'_>) -> (Vec<u8>, bool) {
    match names {
        QueriedNames::All => (Vec::new(), true),
        QueriedNames::These(names) => {
            let lines = names.iter().map(|name| format!("package {name} is not installed\n"));
            (lines.collect::<String>().into_bytes(), false)
        }
    }
}

struct RpmLine<'a> {
    name: &'a str,
    epoch: &'a str,
    version: &'a str,
    arch: &'a str,
    stamp: &'a str,
    title: &'a str,
}

impl<'a> RpmLine<'a> {
    fn parse(words: &'a str) -> Option<Self> {
        let words: Vec<&str> = words.splitn(6, '\t').collect();
        let [name, epoch, version, arch, stamp, title] = words.try_into().ok()?;
        Some(Self { name, epoch, version, arch, stamp, title })
    }

    fn owner(&self) -> NativeOwner {
        let (name, arch) = (self.name.to_owned(), Some(self.arch.to_owned()));
        NativeOwner {
            origin: NativeOrigin { manager: NativeManager::Rpm, name, arch, version: None },
            version: self.evr(),
        }
    }

    fn evr(&self) -> String {
        let is_there = self.epoch.parse::<u64>().is_ok();
        let epoch = if is_there { format!("{}:", self.epoch) } else { String::new() };
        format!("{epoch}{}", self.version)
    }
}

/// Skips entries without files, such as keys.
fn each_package(answer: Vec<u8>) -> impl Iterator<Item = Result<NativePackage, NativeError>> {
    let counts = versions_of_names(&answer);
    let mut at = 0;
    let parsed = std::iter::from_fn(move || {
        let piece = next_piece(&answer, at)?;
        at += piece.len();
        let has_files = piece.windows(3).any(|three| three == b"\nF\t");
        Some(has_files.then(|| {
            let mut package = parse(piece).map_err(records)?;
            let key = (package.origin.name.clone(), package.arch.clone());
            package.has_other_versions = counts.get(&key).is_some_and(|count| *count > 1);
            Ok(package)
        }))
    });
    parsed.flatten()
}

fn versions_of_names(answer: &[u8]) -> BTreeMap<(String, String), usize> {
    let mut counts = BTreeMap::new();
    for line in answer.split(|&byte| byte == b'\n').filter_map(|line| line.strip_prefix(b"P\t")) {
        if let Some(line) = RpmLine::parse(&String::from_utf8_lossy(line)) {
            *counts.entry((line.name.to_owned(), line.arch.to_owned())).or_default() += 1;
        }
    }
    counts
}

fn next_piece(answer: &[u8], at: usize) -> Option<&[u8]> {
    let rest = answer.get(at..).filter(|rest| !rest.is_empty())?;
    let next = rest.windows(3).position(|three| three == b"\nP\t").map_or(rest.len(), |end| end + 1);
    rest.get(..next)
}

fn pieces(answer: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let piece = next_piece(answer, at)?;
        at += piece.len();
        Some(piece)
    })
}

fn parse(answer: &[u8]) -> Result<NativePackage, String> {
    let wrong = || "the output of rpm is invalid".to_owned();
    let is_absent = |line: &[u8]| line.starts_with(b"package ") && line.ends_with(b" is not installed");
    let lines = answer.split(|&byte| byte == b'\n');
    let mut lines = lines.filter(|line| !line.is_empty() && !is_absent(line));
    let words = lines.next().and_then(|line| line.strip_prefix(b"P\t")).ok_or_else(wrong)?;
    let words = String::from_utf8_lossy(words);
    let line = RpmLine::parse(&words).ok_or_else(wrong)?;
    let mut paths = BTreeMap::new();
    for listed in lines {
        let (path, native) = file(listed).ok_or_else(wrong)?;
        paths.extend(native.map(|native| (path, native)));
        if paths.len() > MOST_PATHS {
            return Err(format!("{} has more than {MOST_PATHS} paths", line.name));
        }
    }
    Ok(NativePackage {
        origin: NativeOrigin {
            manager: NativeManager::Rpm,
            name: line.name.to_owned(),
            arch: None,
            version: None,
        },
        version: line.evr(),
        stamp: line.stamp.to_owned(),
        arch: line.arch.to_owned(),
        title: Some(line.title.to_owned()).filter(|title| !title.trim().is_empty()),
        has_other_versions: false,
        paths,
        diverted: BTreeSet::new(),
    })
}

fn file(line: &[u8]) -> Option<(ObjectPath, Option<NativePath>)> {
    let mut words = line.strip_prefix(b"F\t")?.splitn(3, |&byte| byte == b'\t');
    let (flags, sum, path) = (words.next()?, words.next()?, words.next()?);
    let flags: u32 = std::str::from_utf8(flags).ok()?.parse().ok()?;
    let path = ObjectPath::new(path).ok()?;
    let ftype = if flags & CONFIG != 0 { Ftype::Editable } else { Ftype::File };
    let is_delivered = flags & GHOST == 0 && !path.relative().is_empty();
    Some((path, is_delivered.then(|| NativePath { ftype, sum: FileSum::parse(sum) })))
}

fn owned_paths(answer: &[u8], most: usize) -> Result<Vec<OwnedPaths>, NativeError> {
    let (mut owned, mut paths): (Vec<OwnedPaths>, usize) = (Vec::new(), 0);
    for line in answer.split(|&byte| byte == b'\n') {
        if let Some(words) = line.strip_prefix(b"P\t") {
            let words = String::from_utf8_lossy(words);
            let Some(line) = RpmLine::parse(&words) else { continue };
            owned.push((line.owner(), Vec::new()));
        } else if let Some(rest) = line.strip_prefix(b"S\t") {
            let mut words = rest.splitn(2, |&byte| byte == b'\t');
            if words.next() == Some(NORMAL)
                && let (Some(path), Some((_, of_package))) = (words.next(), owned.last_mut())
            {
                of_package.push(path.to_vec());
                paths += 1;
            }
        }
        if paths > most {
            return Err(too_large(&format!("its packages have more than {most} paths")));
        }
    }
    Ok(owned)
}

/// Answers of rpm.
#[derive(Default)]
struct KnownRpms {
    installed: InstalledOfNames,
    packages: PackageCache,
    /// By name, or what rpm takes for one.
    meant: BTreeMap<String, Result<Vec<Arc<NativePackage>>, String>>,
}

impl KnownRpms {
    fn meant_by(&self, name: &str) -> Result<&[Arc<NativePackage>], NativeError> {
        match self.meant.get(name) {
            Some(Ok(found)) => Ok(found.as_slice()),
            Some(Err(reason)) => Err(bad(name, reason.clone())),
            None => Err(bad(name, "it is not a valid package name".to_owned())),
        }
    }

    /// Adds the answer to a query for these names.
    fn add(&mut self, answer: &[u8], names: &[&str]) -> Result<(), String> {
        let mut meant: BTreeMap<&str, Result<Vec<Arc<NativePackage>>, String>> =
            names.iter().map(|name| (*name, Ok(Vec::new()))).collect();
        // The answer has a line about each package that is not installed.
        for piece in pieces(answer).filter(|piece| piece.starts_with(b"P\t")) {
            let parsed = parse(piece);
            let own = if let Ok(package) = &parsed {
                package.origin.name.clone()
            } else {
                let words = piece.split(|&byte| byte == b'\t').nth(1);
                String::from_utf8_lossy(words.unwrap_or_default()).into_owned()
            };
            let name = if let [name] = names { *name } else { own.as_str() };
            let Some(of) = meant.get_mut(name) else { continue };
            let Ok(found) = of else { continue };
            match parsed {
                Err(reason) => *of = Err(reason),
                Ok(_) if found.len() == MOST_OF_NAME => {
                    *of = Err(format!("rpm has installed it more than {MOST_OF_NAME} times"));
                }
                Ok(package) => {
                    let package = self.packages.add(package)?;
                    if !found.iter().any(|known| Arc::ptr_eq(known, &package)) {
                        found.push(package);
                    }
                }
            }
        }
        self.meant.extend(meant.into_iter().map(|(name, found)| (name.to_owned(), found)));
        Ok(())
    }
}

#[derive(Debug, PartialEq, Eq)]
struct InstalledRpm {
    evr: String,
    arch: String,
    stamp: String,
}

#[derive(Debug, Default)]
struct InstalledOfNames {
    asked: BTreeSet<String>,
    /// Includes other names: rpm also accepts a name with a version.
    found: BTreeMap<String, Vec<InstalledRpm>>,
    count: usize,
    absent: BTreeSet<String>,
}

impl InstalledOfNames {
    fn of_name(&self, name: &str) -> &[InstalledRpm] {
        self.found.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    fn add(&mut self, answer: &str) -> Result<(), String> {
        for line in answer.lines() {
            if let Some(line) = line.strip_prefix("P\t").and_then(RpmLine::parse) {
                let of_name = self.found.entry(line.name.to_owned()).or_default();
                let (evr, arch, stamp) = (line.evr(), line.arch.to_owned(), line.stamp.to_owned());
                let one = InstalledRpm { evr, arch, stamp };
                if of_name.contains(&one) {
                    continue;
                }
                of_name.push(one);
                if of_name.len() > MOST_OF_NAME {
                    return Err(format!(
                        "it has more than {MOST_OF_NAME} packages of the name {}",
                        line.name
                    ));
                }
                self.count += 1;
                if self.count > MOST_PACKAGES {
                    return Err(format!("it has more than {MOST_PACKAGES} packages"));
                }
            } else if let Some(name) =
                line.strip_prefix("package ").and_then(|rest| rest.strip_suffix(" is not installed"))
            {
                self.absent.insert(name.to_owned());
            }
        }
        Ok(())
    }
}

/// Registrations, by the installed packages that they name or had: name, architecture, and version.
struct RegisteredRpms<'p>(BTreeMap<RpmOfName<'p>, BTreeSet<&'p NativeOrigin>>);

type RpmOfName<'p> = (&'p str, &'p str, Option<&'p str>);

impl<'p> RegisteredRpms<'p> {
    fn of(packages: &'p [RegisteredPackage<'p>]) -> Self {
        let mut registered: BTreeMap<RpmOfName<'p>, BTreeSet<&'p NativeOrigin>> = BTreeMap::new();
        for RegisteredPackage { origin, version, arch } in packages {
            let had = (origin.name.as_str(), *arch, Some(*version));
            let named =
                origin.arch.as_deref().map(|arch| (origin.name.as_str(), arch, origin.version.as_deref()));
            for key in [had].into_iter().chain(named) {
                registered.entry(key).or_default().insert(*origin);
            }
        }
        Self(registered)
    }

    /// Returns the package of a registration among those of its name; `None` if it is gone. This is the registered
    /// version, else the only one for the architecture without another registration, else the only one at all: an
    /// upgrade may change the architecture. If several are left, the registered one was removed.
    fn followed<'i>(
        &self,
        package: &RegisteredPackage<'_>,
        installed: &'i [InstalledRpm],
    ) -> Option<&'i InstalledRpm> {
        let origin = package.origin;
        let has = |own: &Option<String>, value: &str| own.as_ref().is_none_or(|own| own == value);
        let named =
            installed.iter().filter(|one| has(&origin.arch, &one.arch) && has(&origin.version, &one.evr));
        let named: Vec<&InstalledRpm> = named.collect();
        let registered = |one: &&&InstalledRpm| one.evr == package.version && one.arch == package.arch;
        if let Some(one) = named.iter().find(registered) {
            return Some(one);
        }
        let free: Vec<&InstalledRpm> =
            named.into_iter().filter(|one| !self.is_of_another(origin, one)).collect();
        let of_arch: Vec<&InstalledRpm> =
            free.iter().filter(|one| one.arch == package.arch).copied().collect();
        match (of_arch.as_slice(), free.as_slice()) {
            ([one], _) | ([], [one]) => Some(one),
            _ => None,
        }
    }

    fn is_of_another(&self, own: &NativeOrigin, one: &InstalledRpm) -> bool {
        let key = |version| (own.name.as_str(), one.arch.as_str(), version);
        let of = [key(None), key(Some(one.evr.as_str()))].into_iter().filter_map(|key| self.0.get(&key));
        of.flatten().any(|origin| *origin != own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::native::NativeManager;

    const FILES: &str = "F\t0\td41d8cd98f00b204e9800998ecf8427e\t/usr/bin/web\nF\t17\t\t/etc/web.conf\nF\t64\t\t/var/log/web.log\n";

    #[test]
    fn an_answer_names_the_package_and_what_it_delivers() {
        let one =
            parse(format!("P\tweb\t1\t2.0-1.el9\tx86_64\t1700000000\tA web server\n{FILES}").as_bytes());
        let one = one.unwrap();
        assert_eq!((one.origin.to_string().as_str(), one.version.as_str()), ("rpm web", "1:2.0-1.el9"));
        assert_eq!((one.stamp.as_str(), one.arch.as_str()), ("1700000000", "x86_64"));
        let types: Vec<(String, Ftype, bool)> = one
            .paths
            .iter()
            .map(|(path, native)| (path.to_string(), native.ftype, native.sum.is_some()))
            .collect();
        let expected = [("/etc/web.conf", Ftype::Editable, false), ("/usr/bin/web", Ftype::File, true)];
        assert_eq!(types, expected.map(|(path, ftype, has)| (path.to_owned(), ftype, has)));
        let without = parse(b"P\tweb\t(none)\t2.0-1\tnoarch\t(none)\t\n").unwrap();
        assert_eq!((without.version.as_str(), without.title), ("2.0-1", None));
    }

    #[test]
    fn an_answer_about_all_packages_is_read_piece_by_piece_and_keys_are_passed_over() {
        let line = |name: &str| format!("P\t{name}\t(none)\t2.0-1\tnoarch\t1\t{name}\n");
        let answer =
            [line("web"), FILES.to_owned(), line("gpg-pubkey"), line("lib"), FILES.to_owned()].concat();
        let names: Vec<String> =
            each_package(answer.into_bytes()).map(|one| one.unwrap().origin.name).collect();
        assert_eq!(names, ["web", "lib"]);
    }

    #[test]
    fn a_package_that_is_there_several_times_is_named_as_rpm_calls_each() {
        let line = |version: &str, arch: &str| format!("P\tweb\t1\t{version}\t{arch}\t1\tw\n");
        let answer = [line("2.0-1", "i686"), line("2.0-1", "x86_64")].concat();
        let found = pieces(answer.as_bytes()).map(|piece| Arc::new(parse(piece).unwrap())).collect();
        let error = the_one("web", found).unwrap_err().to_string();
        assert!(error.ends_with("specify one of web-1:2.0-1.i686, web-1:2.0-1.x86_64"), "{error}");
    }

    #[test]
    fn rubbish_is_refused() {
        let line = "P\tweb\t(none)\t2.0-1\tnoarch\t1\tweb\n";
        for rubbish in
            ["", "F\tx\t\t/a\n", "package web is not installed\n", "P\tweb\n", &format!("{line}{line}")]
        {
            assert!(parse(rubbish.as_bytes()).unwrap_err().contains("is invalid"), "{rubbish:?}");
        }
    }

    #[test]
    fn a_package_of_several_names_is_held_once_and_damage_concerns_its_own_name() {
        let line = |name: &str| format!("P\t{name}\t(none)\t2.0-1\tnoarch\t1\t{name}\n");
        let absent = "package gone is not installed\n";
        let mut known = KnownRpms::default();
        let web = [line("web"), FILES.to_owned(), absent.to_owned()].concat();
        known
            .add([web.clone(), line("lib") + "F\tx\n"].concat().as_bytes(), &["gone", "lib", "web"])
            .unwrap();
        known.add(web.as_bytes(), &["web-2.0"]).unwrap();
        let first = |name: &str| known.meant_by(name).unwrap()[0].clone();
        assert!(Arc::ptr_eq(&first("web"), &first("web-2.0")));
        assert_eq!(first("web").paths.len(), 2);
        assert!(known.meant_by("gone").unwrap().is_empty());
        let error = known.meant_by("lib").unwrap_err().to_string();
        assert_eq!(error, "rpm package lib: the output of rpm is invalid");
        assert!(known.meant_by("-e").is_err());
    }

    #[test]
    fn names_and_paths_beyond_those_of_any_system_are_refused() {
        let line = |version: usize| format!("P\tweb\t(none)\t{version}\tnoarch\t1\tweb\n");
        let many: String = (0..=MOST_OF_NAME).map(line).collect();
        let mut installed = InstalledOfNames::default();
        installed.add(&line(0)).unwrap();
        let error = installed.add(&many).unwrap_err();
        assert_eq!(error, "it has more than 1000 packages of the name web");

        let states = format!("{}S\t0\t/a\nS\t1\t/replaced\nS\t0\t/b\n", line(1));
        assert_eq!(owned_paths(states.as_bytes(), 2).unwrap()[0].1, [b"/a".to_vec(), b"/b".to_vec()]);
        let error = owned_paths(states.as_bytes(), 1).unwrap_err().to_string();
        let expected = "the database of rpm is not used: its packages have more than 1 paths; \
                        check it with `rpmdb --verifydb`";
        assert_eq!(error, expected);
    }

    #[test]
    fn all_runs_of_a_command_have_one_time_limit() {
        let time = TimeInSum::of(Duration::from_millis(50));
        let run = |left: Duration| {
            assert!(left <= Duration::from_millis(50));
            std::thread::sleep(Duration::from_millis(60));
            Ok(1)
        };
        assert_eq!(time.spend(run), Ok(1));
        let error = time.spend(|_| -> Result<(), String> { panic!("no time is left") }).unwrap_err();
        assert!(error.starts_with("rpm has used up the 0 seconds"), "{error}");
        let last = TimeInSum::of(Duration::from_nanos(1));
        let error = last.spend(|_| Err::<(), _>("rpm did not respond".to_owned())).unwrap_err();
        assert!(error.contains("all its runs for one command"), "{error}");
    }

    #[test]
    fn several_versions_of_a_name_are_known_as_such() {
        let line = |version: &str, arch: &str| {
            format!("P\tkernel\t(none)\t{version}\t{arch}\t1\tk\nF\t0\t\t/boot/{version}\n")
        };
        let several = |lines: &[String]| -> Vec<bool> {
            each_package(lines.concat().into_bytes()).map(|one| one.unwrap().has_other_versions).collect()
        };
        assert_eq!(several(&[line("1-1", "x86_64"), line("2-1", "x86_64")]), [true, true]);
        assert_eq!(several(&[line("1-1", "x86_64"), line("1-1", "i686")]), [false, false]);
    }

    /// Installed versions of registrations, by origin, version and architecture.
    fn found(
        registered: &[(Option<&str>, Option<&str>, &str, &str)],
        installed: &[(&str, &str)],
    ) -> Vec<String> {
        let origins: Vec<NativeOrigin> = registered
            .iter()
            .map(|(arch, version, ..)| NativeOrigin {
                manager: NativeManager::Rpm,
                name: "web".to_owned(),
                arch: arch.map(str::to_owned),
                version: version.map(str::to_owned),
            })
            .collect();
        let packages: Vec<RegisteredPackage<'_>> = origins
            .iter()
            .zip(registered)
            .map(|(origin, (_, _, version, arch))| RegisteredPackage { origin, version, arch })
            .collect();
        let installed: Vec<InstalledRpm> = installed
            .iter()
            .map(|(evr, arch)| InstalledRpm {
                evr: (*evr).to_owned(),
                arch: (*arch).to_owned(),
                stamp: String::new(),
            })
            .collect();
        let registered = RegisteredRpms::of(&packages);
        let followed = packages.iter().map(|one| registered.followed(one, &installed));
        followed.map(|one| one.map_or("gone".to_owned(), |one| format!("{}.{}", one.evr, one.arch))).collect()
    }

    #[test]
    fn a_name_follows_the_upgrade_of_its_package_and_one_of_several_versions_does_not() {
        let single = (None, None, "1", "x");
        assert_eq!(found(&[single], &[("2", "x")]), ["2.x"]);
        assert_eq!(found(&[single], &[("2", "y")]), ["2.y"], "with another architecture");
        assert_eq!(found(&[single], &[("1", "x"), ("2", "x")]), ["1.x"], "as it was adopted");
        assert_eq!(found(&[single], &[("2", "x"), ("3", "x")]), ["gone"]);
        assert_eq!(found(&[single], &[]), ["gone"]);
        let exact = (Some("x"), Some("2"), "2", "x");
        assert_eq!(found(&[single, exact], &[("1", "x"), ("2", "x")]), ["1.x", "2.x"]);
        assert_eq!(found(&[single, exact], &[("2", "x")]), ["gone", "2.x"]);
        assert_eq!(found(&[single, exact], &[("3", "x")]), ["3.x", "gone"]);
    }

    #[test]
    fn each_of_two_architectures_follows_its_own_upgrade() {
        let both = [(None, None, "1", "x"), (Some("i"), None, "1", "i")];
        assert_eq!(found(&both, &[("2", "i"), ("2", "x")]), ["2.x", "2.i"]);
        assert_eq!(found(&both, &[("2", "i"), ("1", "x")]), ["1.x", "2.i"]);
        assert_eq!(found(&both, &[("2", "i")]), ["gone", "2.i"]);
        assert_eq!(found(&both, &[("2", "x")]), ["2.x", "gone"]);
    }
}
