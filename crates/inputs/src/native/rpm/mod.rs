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
use std::time::Duration;

use database_copy::{DatabaseCopy, is_empty, is_plain, of_system};
use enclosed::{MOST_SECONDS, OWN_FAILURE, first_words};
pub use enclosed::{RPM_PROCESS, become_rpm};

use super::program_run::{PATH, ProgramLimits, output_of};
use super::{
    FileSum, NativeError, NativeManager, NativeOrigin, NativeOwner, NativePackage, NativePath,
    NativePresence, RegisteredPackage,
};
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

/// For the database of the running system, on any machine.
const LONGEST: Duration = Duration::from_secs(600);

/// Instead of a home directory, whose macros rpm would read.
const NO_HOME: &str = "/dev/null";

const NOT_INSTALLED: &str = "rpm has not installed it";
const CONFIG: u32 = 1;
const GHOST: u32 = 1 << 6;

pub(super) type OwnedPaths = (NativeOwner, Vec<Vec<u8>>);

pub struct RpmRecords {
    database: DatabasePlace,
}

enum DatabasePlace {
    /// rpm would make a database there.
    Empty,
    OfSystem(PathBuf),
    Copied(Box<DatabaseCopy>),
}

impl RpmRecords {
    pub fn of(root: &Root) -> Result<Self, NativeError> {
        Self::find(root)?.ok_or_else(|| records("there are no records of rpm in the root".to_owned()))
    }

    /// Returns `None` if the root has none.
    pub fn find(root: &Root) -> Result<Option<Self>, NativeError> {
        let Some((place, physical)) = database(root)? else { return Ok(None) };
        if is_empty(&root.dir(&physical)?)? {
            return Ok(Some(Self { database: DatabasePlace::Empty }));
        }
        let path = match ObjectPath::new(place.as_bytes()) {
            Ok(place) => of_system(root, &place, &physical)?,
            Err(_) => None,
        };
        let database = match path {
            Some(path) => DatabasePlace::OfSystem(path),
            None => DatabasePlace::Copied(Box::new(DatabaseCopy::of(root, &physical)?)),
        };
        Ok(Some(Self { database }))
    }

    /// Skips packages without files.
    pub fn packages(
        &self,
    ) -> Result<impl Iterator<Item = Result<NativePackage, NativeError>> + use<>, NativeError> {
        self.all(&format!("{PACKAGE}{FILES}")).map(each_package)
    }

    /// Reads everything about a package: `NAME`, `NAME.ARCH`, or `NAME-[EPOCH:]VERSION-RELEASE[.ARCH]`.
    pub fn package(&self, name: &str) -> Result<NativePackage, NativeError> {
        let package = the_one(name, self.found(name)?)?;
        // Only a query for the name shows whether there are others.
        let all = self.installed(&[&package.origin.name])?;
        let is_other = |one: &InstalledRpm| one.arch == package.arch && one.evr != package.version;
        let has_other_versions = all.found.values().flatten().any(is_other);
        Ok(NativePackage { has_other_versions, ..package })
    }

    /// At its current version.
    pub(super) fn registered_package(
        &self,
        origin: &NativeOrigin,
        version: &str,
        arch: &str,
    ) -> Result<NativePackage, NativeError> {
        let name = origin.name.as_str();
        let of_version = self.found(name)?.into_iter().filter(|one| one.version == version);
        // With another version a package may have another architecture.
        let (own, others): (Vec<_>, Vec<_>) = of_version.partition(|one| one.arch == arch);
        the_one(name, if own.is_empty() { others } else { own })
    }

    pub(super) fn registered_packages(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Vec<Result<NativePackage, NativeError>> {
        let mut names: Vec<&str> = packages.iter().map(|one| one.origin.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            return Vec::new();
        }
        let query = format!("{PACKAGE}{FILES}");
        let answer = query_rpm(&self.database, &query, QueriedNames::These(&names));
        // The answer has a line about each package that is not installed.
        let found: Vec<NativePackage> = match &answer {
            Ok((answer, _)) => pieces(answer).filter_map(|piece| parse(piece).ok()).collect(),
            Err(_) => Vec::new(),
        };
        let mut by_version: BTreeMap<(&str, &str), Vec<&NativePackage>> = BTreeMap::new();
        for found in &found {
            by_version.entry((found.origin.name.as_str(), found.version.as_str())).or_default().push(found);
        }
        let of = |one: &RegisteredPackage<'_>| {
            let name = one.origin.name.as_str();
            if let Err(reason) = &answer {
                return Err(bad(name, reason.clone()));
            }
            let of_version = by_version.get(&(name, one.version)).into_iter().flatten().copied().cloned();
            let (own, others): (Vec<_>, Vec<_>) = of_version.partition(|found| found.arch == one.arch);
            the_one(name, if own.is_empty() { others } else { own })
        };
        packages.iter().map(of).collect()
    }

    fn found(&self, name: &str) -> Result<Vec<NativePackage>, NativeError> {
        let bad = |reason: String| bad(name, reason);
        if !is_name(name) {
            return Err(bad("that is not a valid package name".to_owned()));
        }
        let query = format!("{PACKAGE}{FILES}");
        let (answer, is_whole) =
            query_rpm(&self.database, &query, QueriedNames::These(&[name])).map_err(&bad)?;
        if !is_whole {
            return Err(bad(NOT_INSTALLED.to_owned()));
        }
        pieces(&answer).map(|piece| parse(piece).map_err(&bad)).collect()
    }

    pub(super) fn successors(&self, name: &str) -> Result<Vec<NativeOwner>, NativeError> {
        let answer = self.all(&format!(r"{PACKAGE}[O\t%{{OBSOLETES}}\n][O\t%{{PROVIDES}}\n]"))?;
        let (mut found, mut last): (Vec<NativeOwner>, Option<NativeOwner>) = (Vec::new(), None);
        for line in answer.split(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            if let Some(line) = line.strip_prefix("P\t").and_then(RpmLine::parse) {
                last = Some(line.owner()).filter(|owner| owner.origin.name != name);
            } else if line.strip_prefix("O\t") == Some(name) {
                found.extend(last.take());
            }
        }
        Ok(found)
    }

    pub(super) fn installed_versions(
        &self,
        names: &BTreeSet<&str>,
    ) -> Result<BTreeMap<String, Vec<String>>, NativeError> {
        let words: Vec<&str> = names.iter().copied().filter(|name| is_name(name)).collect();
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        if words.is_empty() {
            return Ok(found);
        }
        for (name, of_name) in self.installed(&words)?.found {
            // rpm also takes a name with its version.
            if names.contains(name.as_str()) {
                found.insert(name, of_name.into_iter().map(|one| one.evr).collect());
            }
        }
        Ok(found)
    }

    /// Without files that were replaced, left out, or of another color.
    pub(super) fn owned(&self) -> Result<Vec<OwnedPaths>, NativeError> {
        let answer = self.all(&format!("{PACKAGE}{STATES}"))?;
        let mut owned: Vec<OwnedPaths> = Vec::new();
        for line in answer.split(|&byte| byte == b'\n') {
            if let Some(words) = line.strip_prefix(b"P\t") {
                let words = String::from_utf8_lossy(words);
                let Some(line) = RpmLine::parse(&words) else { continue };
                owned.push((line.owner(), Vec::new()));
            } else if let Some(rest) = line.strip_prefix(b"S\t") {
                let mut words = rest.splitn(2, |&byte| byte == b'\t');
                if words.next() == Some(NORMAL)
                    && let (Some(path), Some((_, paths))) = (words.next(), owned.last_mut())
                {
                    paths.push(path.to_vec());
                }
            }
        }
        Ok(owned)
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
        let (answer, is_whole) = query_rpm(&self.database, query, QueriedNames::All).map_err(records)?;
        if !is_whole {
            return Err(records("rpm cannot list its packages".to_owned()));
        }
        Ok(answer)
    }

    fn installed(&self, names: &[&str]) -> Result<InstalledOfNames, NativeError> {
        let (answer, _) = query_rpm(&self.database, PACKAGE, QueriedNames::These(names)).map_err(records)?;
        let text = String::from_utf8_lossy(&answer);
        let mut installed = InstalledOfNames::default();
        for line in text.lines() {
            if let Some(line) = line.strip_prefix("P\t").and_then(RpmLine::parse) {
                installed.found.entry(line.name.to_owned()).or_default().push(InstalledRpm {
                    evr: line.evr(),
                    arch: line.arch.to_owned(),
                    stamp: line.stamp.to_owned(),
                });
            } else if let Some(name) =
                line.strip_prefix("package ").and_then(|rest| rest.strip_suffix(" is not installed"))
            {
                installed.absent.insert(name.to_owned());
            }
        }
        Ok(installed)
    }

    pub fn presences(
        &self,
        packages: &[RegisteredPackage<'_>],
    ) -> Result<Vec<Result<NativePresence, NativeError>>, NativeError> {
        let names: BTreeSet<&str> = packages.iter().map(|package| package.origin.name.as_str()).collect();
        let installed = self.installed(&names.into_iter().collect::<Vec<_>>())?;
        let mut registered: BTreeMap<&str, Vec<&RegisteredPackage<'_>>> = BTreeMap::new();
        for package in packages {
            registered.entry(package.origin.name.as_str()).or_default().push(package);
        }
        let presence = |package: &RegisteredPackage<'_>| {
            let name = package.origin.name.as_str();
            let of_name = installed.found.get(name).map(Vec::as_slice).unwrap_or_default();
            if of_name.is_empty() && !installed.absent.contains(name) {
                return Err(bad(name, "rpm does not report it".to_owned()));
            }
            let all = registered.get(name).map(Vec::as_slice).unwrap_or_default();
            Ok(match followed(package, all, of_name) {
                Some(InstalledRpm { evr, arch, stamp, .. }) => NativePresence::Installed {
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

fn the_one(name: &str, mut found: Vec<NativePackage>) -> Result<NativePackage, NativeError> {
    match (found.pop(), found.is_empty()) {
        (Some(one), true) => Ok(one),
        (Some(last), false) => {
            found.push(last);
            let named = |one: &NativePackage| nevra(&one.origin.name, &one.version, &one.arch);
            let names: Vec<String> = found.iter().map(named).collect();
            Err(bad(name, format!("it is installed several times; name one of {}", names.join(", "))))
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
) -> Result<(Vec<u8>, bool), String> {
    let program = || {
        let found = PATH.split(':').map(|place| Path::new(place).join("rpm")).find(|path| path.is_file());
        found.ok_or_else(|| format!("the command rpm is not in {PATH}"))
    };
    let (mut command, path, time) = match database {
        DatabasePlace::Empty => return Ok(answer_without_packages(names)),
        DatabasePlace::OfSystem(path) => (Command::new(program()?), path.as_path(), LONGEST),
        DatabasePlace::Copied(copy) => {
            let mut command = Command::new("/proc/self/exe");
            command.arg0("patchadm").arg(RPM_PROCESS).args(first_words(copy.user())).arg(program()?);
            (command, copy.path(), Duration::from_secs(MOST_SECONDS))
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
    let (answer, ended) = output_of(&mut command, "rpm", ProgramLimits { time, bytes: LONGEST_ANSWER })?;
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
    let mut lines = answer.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let words = lines.next().and_then(|line| line.strip_prefix(b"P\t")).ok_or_else(wrong)?;
    let words = String::from_utf8_lossy(words);
    let line = RpmLine::parse(&words).ok_or_else(wrong)?;
    let mut paths = BTreeMap::new();
    for line in lines {
        let (path, native) = file(line).ok_or_else(wrong)?;
        paths.extend(native.map(|native| (path, native)));
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

#[derive(Debug)]
struct InstalledRpm {
    evr: String,
    arch: String,
    stamp: String,
}

#[derive(Debug, Default)]
struct InstalledOfNames {
    /// By name.
    found: BTreeMap<String, Vec<InstalledRpm>>,
    absent: BTreeSet<String>,
}

/// Returns the package of a registration among those of its name; `None` if it is gone. `all` are the registrations of
/// that name. This is the registered version, else the only one for the architecture without another registration, else
/// the only one at all: an upgrade may change the architecture. If several are left, the registered one was removed.
fn followed<'i>(
    package: &RegisteredPackage<'_>,
    all: &[&RegisteredPackage<'_>],
    installed: &'i [InstalledRpm],
) -> Option<&'i InstalledRpm> {
    let is_of = |origin: &NativeOrigin, one: &InstalledRpm| {
        let has = |own: &Option<String>, value: &str| own.as_ref().is_none_or(|own| own == value);
        has(&origin.arch, &one.arch) && has(&origin.version, &one.evr)
    };
    let named: Vec<&InstalledRpm> = installed.iter().filter(|one| is_of(package.origin, one)).collect();
    let registered = |one: &&&InstalledRpm| one.evr == package.version && one.arch == package.arch;
    if let Some(one) = named.iter().find(registered) {
        return Some(one);
    }
    let stands_for = |other: &RegisteredPackage<'_>, one: &InstalledRpm| {
        let is_named = other.origin.arch.is_some() && is_of(other.origin, one);
        is_named || other.version == one.evr && other.arch == one.arch
    };
    let is_free = |one: &&&InstalledRpm| {
        !all.iter().any(|other| other.origin != package.origin && stands_for(other, one))
    };
    let free: Vec<&InstalledRpm> = named.iter().filter(is_free).copied().collect();
    let of_arch: Vec<&InstalledRpm> = free.iter().filter(|one| one.arch == package.arch).copied().collect();
    match (of_arch.as_slice(), free.as_slice()) {
        ([one], _) | ([], [one]) => Some(one),
        _ => None,
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
        let found = pieces(answer.as_bytes()).map(|piece| parse(piece).unwrap()).collect();
        let error = the_one("web", found).unwrap_err().to_string();
        assert!(error.ends_with("name one of web-1:2.0-1.i686, web-1:2.0-1.x86_64"), "{error}");
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
        let all: Vec<&RegisteredPackage<'_>> = packages.iter().collect();
        let followed = packages.iter().map(|one| followed(one, &all, &installed));
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
