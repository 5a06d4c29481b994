//! The only entry to releases, which identifies an operand by its content.
//!
//! A directory with `pkginfo` and `pkgmap` is an SVR4 package, one in which every entry is a package is a set, any
//! other a tree. `set:DIR` and `tree:DIR` select the form; a set may then have tar archives, but nothing else.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::archive::ArchiveFile;
use super::tar_archive::TarPart;
use super::{
    PackageIdentity, Release, ReleaseError, ReleaseForm, ReleasePackage, ReleaseProblem, deb, rpm, svr4, tree,
};
use patchadm_container::{ContainerFormat, open_container};
use patchadm_rootfs::{WorkMeter, WorkUnit, side_by_side};

/// Reads all of a release once. The number of threads does not change the result.
pub fn open(operand: &OsStr, cores: usize, meter: &WorkMeter) -> Result<Release, ReleaseError> {
    let prefixed = |prefix: &[u8]| {
        operand.as_bytes().strip_prefix(prefix).map(|path| Path::new(OsStr::from_bytes(path)))
    };
    let mut packages = if let Some(path) = prefixed(b"tree:") {
        read(path, OperandForm::Tree, cores, meter)?
    } else if let Some(path) = prefixed(b"set:") {
        let entries = entries(path).map_err(|error| failed(path, ReleaseProblem::Io(error)))?;
        read_set(&entries, cores, &named_form, meter)?
    } else {
        open_unsaid(Path::new(operand), cores, meter)?
    };
    sort(&mut packages);
    refuse_namesakes(&packages).map_err(|problem| failed(Path::new(operand), problem))?;
    Ok(Release { name: operand.to_string_lossy().into_owned(), packages })
}

/// True for a tree with records of patchadm, which are no part of the release.
pub fn has_records(operand: &OsStr) -> bool {
    let top = operand.as_bytes().strip_prefix(b"tree:").map_or(operand, OsStr::from_bytes);
    let database = Path::new(top).join(tree::DATABASE.trim_start_matches('/'));
    database.symlink_metadata().is_ok_and(|seen| seen.is_file())
}

/// Opens the entries of a set that `wanted` accepts; `name` is used in messages.
pub fn open_packages(
    name: &str,
    entries: &[PathBuf],
    cores: usize,
    wanted: &dyn Fn(&ReleasePackage) -> bool,
) -> Result<Release, ReleaseError> {
    let mut packages = read_set(entries, cores, &named_form, &WorkMeter::default())?;
    packages.retain(wanted);
    sort(&mut packages);
    refuse_namesakes(&packages).map_err(|problem| failed(Path::new(name), problem))?;
    Ok(Release { name: name.to_owned(), packages })
}

fn sort(packages: &mut [ReleasePackage]) {
    packages.sort_by(|one, other| {
        let key =
            |package: &ReleasePackage| (package.name.clone(), package.arch.clone(), package.origin.clone());
        key(one).cmp(&key(other))
    });
}

fn failed(path: &Path, problem: ReleaseProblem) -> ReleaseError {
    ReleaseError { path: path.to_owned(), problem }
}

fn open_unsaid(path: &Path, cores: usize, meter: &WorkMeter) -> Result<Vec<ReleasePackage>, ReleaseError> {
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed(path, ReleaseProblem::NotFound),
        _ => failed(path, ReleaseProblem::Io(error)),
    })?;
    if !metadata.is_dir() {
        return read(path, file_form(path).map_err(|problem| failed(path, problem))?, cores, meter);
    }
    if is_svr4_directory(path) {
        return read(path, OperandForm::Svr4, cores, meter);
    }
    let entries = entries(path).map_err(|error| failed(path, ReleaseProblem::Io(error)))?;
    // The first entry that is no package decides; in a tree it comes early.
    if !entries.is_empty() && entries.iter().all(|entry| package_form(entry).is_some()) {
        let form = |entry: &Path| {
            package_form(entry).ok_or_else(|| ReleaseProblem::Changed(entry.display().to_string()))
        };
        return read_set(&entries, cores, &form, meter);
    }
    read(path, OperandForm::Tree, cores, meter)
}

fn read_set(
    entries: &[PathBuf],
    cores: usize,
    form: &(dyn Fn(&Path) -> Result<OperandForm, ReleaseProblem> + Sync),
    meter: &WorkMeter,
) -> Result<Vec<ReleasePackage>, ReleaseError> {
    if entries.len() > MOST_PACKAGES {
        let path = entries.first().and_then(|entry| entry.parent()).unwrap_or(Path::new("."));
        return Err(failed(path, ReleaseProblem::BadForm(format!("more than {MOST_PACKAGES} entries"))));
    }
    let step = meter.begin(WorkUnit::Packages, entries.len() as u64);
    let read_entry = |entry: &PathBuf| {
        let form = form(entry).map_err(|problem| failed(entry, problem))?;
        read(entry, form, 1, &WorkMeter::default())
    };
    let read = side_by_side(cores.max(1), entries.len(), || {
        |at: usize| {
            let packages = entries.get(at).map_or(Ok(Vec::new()), read_entry);
            step.advance(1);
            packages
        }
    });
    Ok(read.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn read(
    path: &Path,
    form: OperandForm,
    cores: usize,
    meter: &WorkMeter,
) -> Result<Vec<ReleasePackage>, ReleaseError> {
    let origin = path.display().to_string();
    let file = || {
        let file = ArchiveFile::open(path)?;
        let step = meter.begin(WorkUnit::Bytes, file.size());
        Ok(file.counted(step))
    };
    let packages = match form {
        OperandForm::Tree => tree::read(path, origin, cores, meter).map(|package| vec![package]),
        OperandForm::Svr4 => svr4::read(path, &origin),
        OperandForm::Tar => file().and_then(|file| tar(&file, origin)).map(|package| vec![package]),
        OperandForm::Deb => file().and_then(|file| deb::read(&file, origin)).map(|package| vec![package]),
        OperandForm::Rpm => file().and_then(|file| rpm::read(&file, origin)).map(|package| vec![package]),
    };
    packages.map_err(|problem| failed(path, problem))
}

fn tar(file: &ArchiveFile, origin: String) -> Result<ReleasePackage, ReleaseProblem> {
    let (objects, contents) = TarPart(file.part(0, file.size())).list()?;
    Ok(ReleasePackage::unnamed(origin, ReleaseForm::Tar, objects, contents))
}

/// Refuses two packages that pairing cannot distinguish.
fn refuse_namesakes(packages: &[ReleasePackage]) -> Result<(), ReleaseProblem> {
    let is_same = |one: &ReleasePackage, other: &ReleasePackage| {
        one.name.is_some() && (&one.name, &one.arch, one.form) == (&other.name, &other.arch, other.form)
    };
    for pair in packages.windows(2) {
        if let [one, next] = pair
            && is_same(one, next)
        {
            return Err(ReleaseProblem::BadForm(format!(
                "{} and {} are both the package {} for {}",
                one.origin,
                next.origin,
                one.name.as_deref().unwrap_or_default(),
                one.arch.as_deref().unwrap_or_default()
            )));
        }
    }
    Ok(())
}

pub(super) const MOST_PACKAGES: usize = 100_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OperandForm {
    Tree,
    Svr4,
    Tar,
    Deb,
    Rpm,
}

pub(super) fn entries(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(path)? {
        names.push(entry?.file_name().into_vec());
        if names.len() > MOST_PACKAGES {
            break;
        }
    }
    names.sort();
    Ok(names.into_iter().map(|name| path.join(OsStr::from_bytes(&name))).collect())
}

pub(super) fn is_svr4_directory(path: &Path) -> bool {
    ["pkginfo", "pkgmap"]
        .iter()
        .all(|name| path.join(name).symlink_metadata().is_ok_and(|seen| seen.is_file()))
}

pub(super) fn package_form(path: &Path) -> Option<OperandForm> {
    let seen = path.symlink_metadata().ok()?;
    if seen.is_dir() {
        return is_svr4_directory(path).then_some(OperandForm::Svr4);
    }
    file_form(path).ok().filter(|form| seen.is_file() && *form != OperandForm::Tar)
}

pub(super) fn named_form(path: &Path) -> Result<OperandForm, ReleaseProblem> {
    if !std::fs::metadata(path).map_err(ReleaseProblem::Io)?.is_dir() {
        return file_form(path);
    }
    if is_svr4_directory(path) {
        return Ok(OperandForm::Svr4);
    }
    Err(ReleaseProblem::bad("it is a directory in a set, not a package"))
}

pub(super) fn file_form(path: &Path) -> Result<OperandForm, ReleaseProblem> {
    let file = ArchiveFile::open(path)?;
    let whole = file.part(0, file.size());
    let mut start = Vec::new();
    whole.reader().take(8).read_to_end(&mut start).map_err(ReleaseProblem::Io)?;
    if start.starts_with(deb::MAGIC) {
        return Ok(OperandForm::Deb);
    }
    if start.starts_with(rpm::MAGIC) {
        return Ok(OperandForm::Rpm);
    }
    let opened = open_container(whole.reader()).map_err(ReleaseProblem::of_archive)?;
    match opened.form {
        ContainerFormat::Datastream => Ok(OperandForm::Svr4),
        ContainerFormat::Tar => Ok(OperandForm::Tar),
        ContainerFormat::Zip => Err(ReleaseProblem::Unsupported("a release in a zip archive".to_owned())),
        ContainerFormat::Unsupported(what) => Err(ReleaseProblem::Unsupported(format!("{what} compression"))),
        _ => Err(ReleaseProblem::bad("it is neither a package nor a tar archive")),
    }
}

// Identification reads only descriptions, because there may be thousands of packages.

/// Sorted by name, without examining the entries.
pub fn set_entries(path: &Path) -> Result<Vec<PathBuf>, ReleaseError> {
    let failed = |problem| ReleaseError { path: path.to_owned(), problem };
    let found = entries(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => failed(ReleaseProblem::NotFound),
        _ => failed(ReleaseProblem::Io(error)),
    })?;
    if found.len() > MOST_PACKAGES {
        return Err(failed(ReleaseProblem::BadForm(format!("more than {MOST_PACKAGES} entries"))));
    }
    Ok(found)
}

/// Identifies the packages of an entry; only a datastream has several. Trees and tar archives have no name.
pub fn identify(path: &Path) -> Result<Vec<PackageIdentity>, ReleaseError> {
    let file = || ArchiveFile::open(path);
    let found = named_form(path).and_then(|form| match form {
        OperandForm::Deb => file().and_then(|file| deb::identify(&file)).map(|one| vec![one]),
        OperandForm::Rpm => file().and_then(|file| rpm::identify(&file)).map(|one| vec![one]),
        OperandForm::Svr4 => svr4::identify(path),
        OperandForm::Tree | OperandForm::Tar => {
            Err(ReleaseProblem::Unsupported("an archive that is not a package".to_owned()))
        }
    });
    found.map_err(|problem| ReleaseError { path: path.to_owned(), problem })
}
