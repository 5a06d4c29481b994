//! Installed packages: directories in `var/sadm/pkg` with a pkginfo, named as package instances. [`all`](super::all)
//! decides if a directory without pkginfo is damage. Anything else is ignored (`.save.X` of classic tools, stray
//! files). The parameters are the truth about patches.

use std::collections::{BTreeMap, HashMap};

use super::{DatabaseError, RecordDamage, RecordView, places, saves};
use crate::inventory::Interruption;
use crate::inventory::{Installed, Save};
use patchadm_changeset::RecordFile;
use patchadm_rootfs::{FileType, ReadBudget, Root};
use patchadm_svr4::format::params;
use patchadm_svr4::format::params::LARGEST_FILE;
use patchadm_svr4::package::{Params, PkgInst, rule};
use patchadm_svr4::patch::{PatchId, PatchRecords};

const LARGEST_RECORD: u64 = 64 << 20;

/// For the records of one package that a patch may change.
const LARGEST_RECORDS: u64 = 256 << 20;

pub(super) const LOCKS: [&[u8]; 2] = [INSTALL_LOCK, b"!R-Lock!"];
pub(super) const INSTALL_LOCK: &[u8] = b"!I-Lock!";

/// A database without `contents` is empty.
pub fn has_database(view: &RecordView<'_>) -> Result<bool, DatabaseError> {
    Ok(view.list(&places::packages())?.is_some())
}

/// Returns the installed packages, sorted by name.
pub fn packages(view: &RecordView<'_>) -> Result<Vec<PkgInst>, DatabaseError> {
    let mut packages = Vec::new();
    for name in view.list(&places::packages())?.unwrap_or_default() {
        let inst = std::str::from_utf8(&name).ok().and_then(|name| PkgInst::new(name).ok());
        let Some(inst) = inst else { continue };
        let pkginfo = view.look(&places::pkginfo(&inst))?;
        if pkginfo.is_some_and(|seen| seen.file_type == FileType::Regular) {
            packages.push(inst);
        }
    }
    Ok(packages)
}

/// Returns `None` if the package is not installed.
pub fn params(view: &RecordView<'_>, package: &PkgInst) -> Result<Option<Params>, DatabaseError> {
    let path = places::pkginfo(package);
    let Some(text) = view.read(&path, LARGEST_FILE as u64)? else { return Ok(None) };
    parse(view, &text, package, || has_saves(view, package)).map(Some)
}

pub fn patch_records(
    root: &Root,
    package: &PkgInst,
    params: &Params,
    separator: &str,
) -> Result<PatchRecords, DatabaseError> {
    let records = PatchRecords::from_params(package, params, separator);
    records.map_err(|error| RecordDamage::of_pkginfo(root, package, error.to_string()).into())
}

const MANDATORY: [&str; 5] = ["PKG", "NAME", "ARCH", "VERSION", "INSTDATE"];

/// Returns a missing mandatory parameter.
pub fn lacking_parameter(params: &Params) -> Option<&'static str> {
    MANDATORY.into_iter().find(|name| params.get(name).is_none())
}

/// Returns true if an installation kept the delivered files, or a run knew that it had. Then all of [`MANDATORY`] were
/// recorded, and a pkginfo without one of them was cut. Most packages do not even have a save directory.
fn is_spooled(view: &RecordView<'_>, package: &PkgInst, has_saves: impl FnOnce() -> bool) -> bool {
    let map = places::delivered_pkgmap(package);
    let was_there = || view.last_records()?.packages().get(package).map(|bound| bound.is_spooled);
    has_saves() && view.look(&map).is_ok_and(|seen| seen.is_some()) || was_there() == Some(true)
}

fn has_saves(view: &RecordView<'_>, package: &PkgInst) -> bool {
    view.look(&places::save(package)).is_ok_and(|seen| seen.is_some())
}

/// PKG, if set, must match the directory: parameters of another package would pass its patches off as those of this
/// one. `has_saves` tells if the package has a save directory.
pub(super) fn parse(
    view: &RecordView<'_>,
    text: &[u8],
    package: &PkgInst,
    has_saves: impl FnOnce() -> bool,
) -> Result<Params, DatabaseError> {
    let params = parse_leniently(view, text, package)?;
    match lacking_parameter(&params) {
        Some(lacking) if is_spooled(view, package, has_saves) => {
            let reason = format!("it has no {lacking}: lines are missing");
            Err(RecordDamage::of_pkginfo(view.root(), package, reason).into())
        }
        _ => Ok(params),
    }
}

/// Parameters may be missing: for callers that change or examine other packages.
pub(super) fn parse_leniently(
    view: &RecordView<'_>,
    text: &[u8],
    package: &PkgInst,
) -> Result<Params, DatabaseError> {
    let root = view.root();
    let damaged = |reason: &str| Err(RecordDamage::of_pkginfo(root, package, reason).into());
    let params = params::parse(text).map_err(|error| RecordDamage::of_params(root, package, &error))?;
    if let Err(error) = params::check(text, &params) {
        return damaged(&error.to_string());
    }
    if params.is_empty() {
        return damaged("it holds no parameters");
    }
    if !text.ends_with(b"\n") {
        return damaged("its last line is incomplete: the file is truncated");
    }
    let named = params.get("PKG").map(<[u8]>::trim_ascii).unwrap_or_default();
    let fits = named.is_empty() || named == package.abbreviation().as_bytes();
    if !rule::holds("pkginfo.pkg", fits) {
        let other = String::from_utf8_lossy(named).escape_debug().to_string();
        return damaged(&format!("PKG is {other}, which is not the package of this directory"));
    }
    Ok(params)
}

/// Reads everything known about a package, without the files of its directory ([`records`]).
pub fn installed(view: &RecordView<'_>, package: &PkgInst) -> Result<Option<Installed>, DatabaseError> {
    known(view, package, saves::saves)
}

/// Like [`installed`], for readers: an unreadable file of a save directory counts as missing.
pub fn seen(view: &RecordView<'_>, package: &PkgInst) -> Result<Option<Installed>, DatabaseError> {
    known(view, package, saves::open_saves)
}

fn known(
    view: &RecordView<'_>,
    package: &PkgInst,
    saves: impl Fn(&RecordView<'_>, &PkgInst) -> Result<BTreeMap<String, Save>, DatabaseError>,
) -> Result<Option<Installed>, DatabaseError> {
    let Some(params) = params(view, package)? else { return Ok(None) };
    let names = view.list(&places::package(package))?.unwrap_or_default();
    let partial = is_locked(&names);
    let (saves, interruption) = (saves(view, package)?, traces(view, package, &names)?);
    Ok(Some(Installed { params, partial, interruption, saves, ..Installed::default() }))
}

pub(super) fn is_partial(view: &RecordView<'_>, package: &PkgInst) -> Result<bool, DatabaseError> {
    Ok(is_locked(&view.list(&places::package(package))?.unwrap_or_default()))
}

/// A tool without recovery is at work on the package, or was interrupted.
pub(super) fn is_at_work(view: &RecordView<'_>, package: &PkgInst) -> Result<bool, DatabaseError> {
    let names = view.list(&places::package(package))?.unwrap_or_default();
    Ok(is_locked(&names) || names.iter().any(|name| name == package.as_str().as_bytes()))
}

fn is_locked(names: &[Vec<u8>]) -> bool {
    LOCKS.iter().any(|lock| names.iter().any(|name| name == lock))
}

/// Traces of an installation whose tool died and has no recovery.
pub fn interruption(view: &RecordView<'_>, package: &PkgInst) -> Result<Interruption, DatabaseError> {
    traces(view, package, &view.list(&places::package(package))?.unwrap_or_default())
}

fn traces(
    view: &RecordView<'_>,
    package: &PkgInst,
    names: &[Vec<u8>],
) -> Result<Interruption, DatabaseError> {
    let has_put_aside = names.iter().any(|name| name == package.as_str().as_bytes());
    let put_aside =
        if has_put_aside { put_aside(view, package, &ReadBudget::of(LARGEST_FILE as u64))? } else { None };
    Ok(Interruption { is_locked: names.iter().any(|name| name == INSTALL_LOCK), put_aside })
}

/// Ignores unreadable parameters, and those of another package.
pub(super) fn put_aside(
    view: &RecordView<'_>,
    package: &PkgInst,
    budget: &ReadBudget,
) -> Result<Option<Params>, DatabaseError> {
    let Ok(path) = places::package(package).join(format!("{package}/pkginfo").as_bytes()) else {
        return Ok(None);
    };
    if view.look(&path)?.is_none_or(|seen| seen.file_type != FileType::Regular) {
        return Ok(None);
    }
    let Some(text) = view.read_within(&path, LARGEST_FILE as u64, budget)? else { return Ok(None) };
    Ok(parse(view, &text, package, || has_saves(view, package)).ok())
}

/// Returns the name of a patch's save directory: its id as first written.
pub fn saved_as(view: &RecordView<'_>, package: &PkgInst, id: &PatchId) -> Result<String, DatabaseError> {
    Ok(SavedNames::of(view, package)?.name(id))
}

pub struct SavedNames(HashMap<PatchId, String>);

impl SavedNames {
    pub fn of(view: &RecordView<'_>, package: &PkgInst) -> Result<Self, DatabaseError> {
        let names = view.list(&places::save(package))?.unwrap_or_default();
        let mut by_id = HashMap::new();
        for name in names.into_iter().filter_map(|name| String::from_utf8(name).ok()) {
            if let Ok(id) = PatchId::new(&name) {
                by_id.entry(id).or_insert(name);
            }
        }
        Ok(Self(by_id))
    }

    pub fn has(&self, id: &PatchId) -> bool {
        self.0.contains_key(id)
    }

    pub fn name(&self, id: &PatchId) -> String {
        self.0.get(id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// The regular files that a patch may change: `pkginfo`, everything in `install` and `save/pspool`, files of class
/// scripts in `save/<class>`, and remains of an unfinished installation.
pub fn records(
    view: &RecordView<'_>,
    package: &PkgInst,
    installed: &mut Installed,
) -> Result<(), DatabaseError> {
    let directory = places::package(package);
    installed.interruption = interruption(view, package)?;
    let mut open = vec![b"pkginfo".to_vec(), b"install".to_vec(), b"save/pspool".to_vec()];
    let budget = ReadBudget::of(LARGEST_RECORDS);
    let classes = installed.params.text("CLASSES").into_owned();
    open.extend(kept_by_classes(&classes));
    while let Some(name) = open.pop() {
        // No package tool can have made a name that is too deep for a path.
        let Ok(path) = directory.join(&name) else { continue };
        let Some(seen) = view.look(&path)? else { continue };
        match seen.file_type {
            FileType::Directory => {
                for inner in view.list(&path)?.unwrap_or_default() {
                    open.push([&name[..], b"/", &inner].concat());
                }
                installed.directories.insert(name);
            }
            FileType::Regular => {
                if let Some(mut bytes) = view.read_within(&path, LARGEST_RECORD, &budget)? {
                    bytes.shrink_to_fit();
                    let (bytes, mode, mtime) = (bytes.into(), seen.mode, seen.mtime);
                    installed.records.insert(name, RecordFile { bytes, mode, mtime });
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Scripts of these classes keep replaced files there. No class name leads elsewhere.
fn kept_by_classes(classes: &str) -> impl Iterator<Item = Vec<u8>> {
    let is_own = |class: &&str| class.bytes().all(|byte| byte.is_ascii_alphanumeric()) && *class != "pspool";
    classes.split_whitespace().filter(is_own).map(|class| format!("save/{class}").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::super::all::applied;
    use std::fs;

    use super::*;
    use crate::inventory::Save;

    fn root(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let root = Root::open(dir.path()).unwrap();
        (dir, root)
    }

    fn inst(name: &str) -> PkgInst {
        PkgInst::new(name).unwrap()
    }

    #[test]
    fn packages_are_directories_with_a_pkginfo_and_a_name_that_is_one() {
        let (_dir, root) = root(&[
            ("var/sadm/pkg/SUNWcsr/pkginfo", "PKG=SUNWcsr\n"),
            ("var/sadm/pkg/ACMEweb.2/pkginfo", "PKG=ACMEweb\n"),
            ("var/sadm/pkg/.save.SUNWcsr/pkginfo", "PKG=SUNWcsr\n"),
            ("var/sadm/pkg/gone/save/x", ""),
            ("var/sadm/pkg/install/pkginfo", "PKG=install\n"),
            ("var/sadm/pkg/stray", "text"),
        ]);
        let view = RecordView::live(&root);
        assert_eq!(packages(&view).unwrap(), [inst("ACMEweb.2"), inst("SUNWcsr")]);
        assert!(installed(&view, &inst("gone")).unwrap().is_none());
    }

    #[test]
    fn a_root_without_database_is_told_from_one_with_an_empty_one() {
        let (dir, root) = root(&[]);
        assert!(!has_database(&RecordView::live(&root)).unwrap());
        fs::create_dir_all(dir.path().join("var/sadm/pkg")).unwrap();
        assert!(has_database(&RecordView::live(&root)).unwrap());
        assert_eq!(packages(&RecordView::live(&root)).unwrap(), []);
    }

    #[test]
    fn a_pkginfo_that_cannot_be_read_is_named_with_its_line() {
        let (dir, root) = root(&[("var/sadm/pkg/X/pkginfo", "PKG=X\nNAME=\"open\n")]);
        let error = installed(&RecordView::live(&root), &inst("X")).unwrap_err().to_string();
        let path = dir.path().join("var/sadm/pkg/X/pkginfo");
        let expected = "line 2: parsing error in parameter file: the quote that opens NAME is not closed";
        assert_eq!(error, format!("{}: {expected}", path.display()));
    }

    #[test]
    fn the_pkginfo_of_another_package_is_none_of_this_one() {
        let (_dir, root) = root(&[
            ("var/sadm/pkg/X/pkginfo", "PKG=Y\nPATCHLIST=100-01\n"),
            ("var/sadm/pkg/Z.2/pkginfo", "PKG=Z\n"),
            ("var/sadm/pkg/W/pkginfo", "NAME=w\n"),
        ]);
        let view = RecordView::live(&root);
        let error = params(&view, &inst("X")).unwrap_err().to_string();
        assert!(
            error.ends_with("X/pkginfo: PKG is Y, which is not the package of this directory"),
            "{error}"
        );
        assert!(applied(&view, "-").is_err());
        assert!(
            params(&view, &inst("Z.2")).unwrap().is_some() && params(&view, &inst("W")).unwrap().is_some()
        );
    }

    #[test]
    fn save_directories_tell_where_the_archive_is_and_what_obsoletes_the_patch() {
        let (_dir, root) = root(&[
            ("var/sadm/pkg/X/pkginfo", "PKG=X\n"),
            ("var/sadm/pkg/X/!I-Lock!", ""),
            ("var/sadm/pkg/X/save/100-01/obsolete.Z", "12345"),
            ("var/sadm/pkg/X/save/100-01/obsoleted_by", "100-02\n"),
            ("var/sadm/pkg/X/save/100-02/undo.gz", "123"),
            ("var/sadm/pkg/X/save/100-02/undo.b3", "…"),
            ("var/sadm/pkg/X/save/200-01/remote", "# Backout\n"),
            ("var/sadm/pkg/X/save/pspool/X/pkginfo", "PKG=X\n"),
        ]);
        let mut found = installed(&RecordView::live(&root), &inst("X")).unwrap().unwrap();
        assert!(found.partial);
        // The occupied space depends on the file system.
        found.saves.values_mut().for_each(|save| save.allocated = 0);
        let archive = |name: &str, size| Save { archive: Some(name.to_owned()), size, ..Save::default() };
        let obsolete = Save { obsoleted_by: Some(b"100-02\n".to_vec()), ..archive("obsolete.Z", 5) };
        let remote = Save { remote: Some(b"# Backout\n".to_vec()), ..Save::default() };
        let expected = [("100-01", obsolete), ("100-02", archive("undo.gz", 3)), ("200-01", remote)];
        assert_eq!(found.saves, expected.map(|(id, save)| (id.to_owned(), save)).into());
    }

    #[test]
    fn records_are_pkginfo_the_scripts_and_the_spooled_copy() {
        let (dir, root) = root(&[
            ("var/sadm/pkg/X/pkginfo", "PKG=X\n"),
            ("var/sadm/pkg/X/install/preremove", "exit 0\n"),
            ("var/sadm/pkg/X/save/pspool/X/install/depend", "P Y\n"),
            ("var/sadm/pkg/X/save/100-01/undo.gz", "…"),
        ]);
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("var/sadm/pkg/X/install/link")).unwrap();
        let mut found = Installed::default();
        records(&RecordView::live(&root), &inst("X"), &mut found).unwrap();
        let text = |name: &Vec<u8>| String::from_utf8(name.clone()).unwrap();
        let names: Vec<_> = found.records.keys().map(text).collect();
        assert_eq!(names, ["install/preremove", "pkginfo", "save/pspool/X/install/depend"]);
        assert_eq!(*found.records[&b"install/preremove"[..]].bytes, b"exit 0\n");
        let directories: Vec<_> = found.directories.iter().map(text).collect();
        assert_eq!(directories, ["install", "save/pspool", "save/pspool/X", "save/pspool/X/install"]);
    }

    #[test]
    fn what_scripts_of_classes_keep_are_records_too_and_what_a_patch_saved_is_none() {
        let (_dir, root) = root(&[
            ("var/sadm/pkg/X/pkginfo", "PKG=X\n"),
            ("var/sadm/pkg/X/save/build/etc/conf", "echo old\n"),
            ("var/sadm/pkg/X/save/other/etc/conf", "of no class\n"),
            ("var/sadm/pkg/X/save/100-01/undo.gz", "…"),
        ]);
        let params = Params::from_iter([("CLASSES", "none build 100-01 .. build")]);
        let mut found = Installed { params, ..Installed::default() };
        records(&RecordView::live(&root), &inst("X"), &mut found).unwrap();
        let names: Vec<_> = found.records.keys().map(|name| String::from_utf8_lossy(name)).collect();
        assert_eq!(names, ["pkginfo", "save/build/etc/conf"]);
        let directories: Vec<_> =
            found.directories.iter().map(|name| String::from_utf8_lossy(name)).collect();
        assert_eq!(directories, ["save/build", "save/build/etc"]);
    }

    #[test]
    fn applied_patches_are_those_of_all_packages_together() {
        let (_dir, root) = root(&[
            ("var/sadm/pkg/X/pkginfo", "PKG=X\nPATCHLIST=100-01 200-01\nPATCH_OBSOLETES=100-01@1\n"),
            ("var/sadm/pkg/Y/pkginfo", "PKG=Y\nPATCHLIST=200-01\n"),
        ]);
        let patches = applied(&RecordView::live(&root), "-").unwrap();
        let both = patches.get(&PatchId::new("200-01").unwrap()).unwrap();
        assert_eq!(both.packages, [inst("X"), inst("Y")]);
        assert!(!patches.is_effective(&PatchId::new("100-01").unwrap()));
        let error = applied(&RecordView::live(&root), "_").unwrap_err().to_string();
        assert!(error.contains("/X/pkginfo: package X: PATCHLIST: "), "{error}");
    }
}
