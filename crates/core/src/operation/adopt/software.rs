use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::operation::failure::Failure;
use crate::operation::mend::can_be_mended;
use crate::operation::packages::planning::damaged_package;
use crate::operation::session::{Caller, RootAndPolicy};
use patchadm_changeset::format::escaped::{as_text, each_as_text};
use patchadm_inputs::database::survey::packages_but;
use patchadm_inputs::database::{RecordView, all};
use patchadm_inputs::input_file::read_start;
use patchadm_inputs::inventory::Installed;
use patchadm_inputs::native::dpkg::paths_of;
use patchadm_inputs::native::{
    ADOPTED, FileSum, LONGEST_PKG, NativeClaims, NativeManager, NativeOrigin, NativePackage, NativeReader,
    NativeRegistration,
};
use patchadm_inputs::path_glob::PathGlob;
use patchadm_inputs::side_file::main_file;
use patchadm_planning::plan::package::adopt::{AdoptableSoftware, IntendedAdoption};
use patchadm_planning::plan::package::package_records::DamagedPackage;
use patchadm_planning::plan::refusal::{Command, Reason};
use patchadm_rootfs::{Dir, FileType, Root};
use patchadm_svr4::package::{Ftype, ObjectPath, Params, PkgInst};
use patchadm_svr4::places;

#[derive(Clone, Debug)]
pub struct AdoptRequest {
    pub source: AdoptSource,
    pub wishes: AdoptWishes,
    pub dry_run: bool,
}

#[derive(Clone, Debug)]
pub struct AdoptWishes {
    /// `None`: derived from the native name.
    pub pkg: Option<String>,
    /// `None`: the native version.
    pub version: Option<String>,
    /// `None`: the native architecture, otherwise `all`.
    pub arch: Option<String>,
    /// One line.
    pub name: Option<String>,
    /// Base of relative paths.
    pub basedir: ObjectPath,
    pub editable: Vec<PathGlob>,
    /// Files that change by themselves.
    pub volatile: Vec<PathGlob>,
    /// Left out, with everything below them.
    pub exclude: Vec<PathGlob>,
    /// Recorded: LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
}

impl AdoptWishes {
    pub fn none(environment: Params) -> Self {
        Self {
            pkg: None,
            version: None,
            arch: None,
            name: None,
            basedir: ObjectPath::root(),
            editable: Vec::new(),
            volatile: Vec::new(),
            exclude: Vec::new(),
            environment,
        }
    }
}

#[derive(Clone, Debug)]
pub enum AdoptSource {
    /// Everything in a directory, on its file system.
    Tree(ObjectPath),
    /// A host file with one path per line.
    Paths(PathBuf),
    /// A package of dpkg (`NAME` or `NAME:ARCH`) or rpm.
    Native(NativeManager, String),
}

impl AdoptSource {
    pub(super) fn manager(&self) -> Option<NativeManager> {
        match self {
            Self::Native(manager, _) => Some(*manager),
            Self::Tree(_) | Self::Paths(_) => None,
        }
    }
}

/// A package that was added to the plan, or conflicts with others.
pub(super) struct TakenUp {
    pub(super) intended: IntendedAdoption,
    pub(super) differing: Vec<ObjectPath>,
}

#[derive(Debug, Serialize)]
pub struct AdoptedPackage {
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    #[serde(flatten, serialize_with = "manager_and_name")]
    pub origin: NativeOrigin,
    pub objects: usize,
    /// Files that differ from the native records; adopted as they are.
    #[serde(serialize_with = "each_as_text")]
    pub differing: Vec<ObjectPath>,
    /// Listed, but missing; left out.
    #[serde(serialize_with = "each_as_text")]
    pub missing: Vec<ObjectPath>,
}

fn manager_and_name<S: Serializer>(origin: &NativeOrigin, serializer: S) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("NativeOrigin", 2)?;
    fields.serialize_field("manager", origin.manager.name())?;
    fields.serialize_field("name", &origin.name)?;
    fields.end()
}

impl AdoptedPackage {
    pub(super) fn of(package: PkgInst, origin: NativeOrigin, taken_up: TakenUp) -> Self {
        let TakenUp { intended, differing } = taken_up;
        Self { package, origin, objects: intended.objects, differing, missing: intended.missing }
    }
}

/// In bytes.
const LARGEST_LIST: u64 = 256 << 20;

#[derive(Debug)]
pub(super) struct ListedSoftware {
    pub(super) software: AdoptableSoftware,
    pub(super) sums: BTreeMap<ObjectPath, FileSum>,
    pub(super) damaged: Option<DamagedPackage>,
    pub(super) notes: Vec<String>,
}

impl ListedSoftware {
    pub(super) fn of(
        ground: &RootAndPolicy,
        request: &AdoptRequest,
        caller: &Caller<'_>,
    ) -> Result<Self, Failure> {
        let root = &ground.root;
        let list = match &request.source {
            AdoptSource::Tree(top) => listed(root, top, &request.wishes.basedir)?,
            AdoptSource::Paths(file) => paths_in(file)?,
            AdoptSource::Native(manager, name) => {
                let reader = ground.native();
                let native = reader.package(*manager, name)?;
                let packages = packages_beside(ground, &possible_names(&native, &request.wishes))?;
                let list = Registrations::of(&reader, &packages).software(&native);
                let listed = Self::wished(list, &request.wishes)?.noting_useless(&request.wishes);
                return listed.over_damaged(ground, caller);
            }
        };
        let listed = Self::wished(list, &request.wishes)?;
        let is_variable = |part: &[u8]| part.starts_with(b"$");
        let paths = &mut listed.software.paths.keys();
        if let Some(path) = paths.find(|path| path.relative().split(|&byte| byte == b'/').any(is_variable)) {
            return Err(Failure::BadFile(format!(
                "{path} has a component that begins with `$`, which a pkgmap takes for a variable: no patch could \
                 deliver it; rename it, or leave it out with --exclude"
            )));
        }
        Ok(listed.noting_useless(&request.wishes))
    }

    /// Notes patterns that match nothing.
    fn noting_useless(mut self, wishes: &AdoptWishes) -> Self {
        for (option, globs) in [("--editable", &wishes.editable), ("--volatile", &wishes.volatile)] {
            let paths = || self.software.paths.keys();
            let useless = globs.iter().filter(|glob| !paths().any(|path| glob.names(path)));
            self.notes.extend(useless.map(|glob| format!("no path matches {option} {}", glob.as_str())));
        }
        self
    }

    /// Finds remains of a damaged earlier registration. Fails if that can still be restored.
    fn over_damaged(self, ground: &RootAndPolicy, caller: &Caller<'_>) -> Result<Self, Failure> {
        let package = &self.software.package;
        let damaged = damaged_package(&ground.root, package)?;
        if damaged.is_some() && can_be_mended(ground, caller, package)? {
            all::params_of(&RecordView::live(&ground.root), package)?;
        }
        Ok(Self { damaged, ..self })
    }

    pub(super) fn wished(mut list: SoftwareList, wishes: &AdoptWishes) -> Result<Self, Failure> {
        list.paths.retain(|path, _| !wishes.exclude.iter().any(|glob| glob.names_it_or_above(path)));
        for (path, ftype) in &mut list.paths {
            let is_named = |globs: &[PathGlob]| globs.iter().any(|glob| glob.names(path));
            if is_named(&wishes.volatile) {
                *ftype = Ftype::Volatile;
            } else if is_named(&wishes.editable) {
                *ftype = Ftype::Editable;
            }
        }
        let (package, params) = called(&list, wishes)?;
        let basedir = &wishes.basedir;
        if let Some(path) = list.paths.keys().find(|path| !path.is_below(basedir) && *path != basedir) {
            let found = format!("it has {path}, which is not below its base directory {basedir}");
            return Err(Reason::Administration { found, answer: None }.of(Command::Adopt, &package).into());
        }
        let software = AdoptableSoftware {
            package,
            params,
            environment: wishes.environment.clone(),
            paths: list.paths,
            must_be_there: list.must_be_there,
        };
        Ok(Self { software, sums: list.sums, damaged: None, notes: list.notes })
    }
}

fn possible_names(native: &NativePackage, wishes: &AdoptWishes) -> Vec<PkgInst> {
    let usual = || vec![native.origin.manager.package_name(&native.origin.name), native.instance_name()];
    let names = wishes.pkg.as_ref().map_or_else(usual, |pkg| vec![pkg.clone()]);
    names.iter().filter_map(|name| PkgInst::new(name).ok()).collect()
}

/// Excludes packages of these names with damaged records.
pub(super) fn packages_beside(
    ground: &RootAndPolicy,
    names: &[PkgInst],
) -> Result<BTreeMap<PkgInst, Installed>, Failure> {
    let is_damaged = |package: &PkgInst| names.contains(package);
    Ok(packages_but(&RecordView::live(&ground.root), is_damaged)?)
}

fn called(list: &SoftwareList, wishes: &AdoptWishes) -> Result<(PkgInst, Params), Failure> {
    let lacks = |what: &str| Failure::BadFile(format!("{what} of the package is unknown; specify one"));
    let pkg = wishes.pkg.as_ref().or(list.pkg.as_ref()).ok_or_else(|| lacks("the name"))?;
    let version = wishes.version.as_ref().or(list.version.as_ref()).ok_or_else(|| lacks("the version"))?;
    let bad = |reason: &str| {
        Failure::BadFile(format!("<{pkg}> is not a package name: {reason}; specify one with --pkg"))
    };
    let package = PkgInst::new(pkg).map_err(|error| bad(error.reason))?;
    if package.abbreviation().len() > LONGEST_PKG {
        return Err(bad("it has more than 32 characters"));
    }
    // Only a native package may have several instances.
    if list.origin.is_none() && package.abbreviation() != package.as_str() {
        return Err(bad("it contains a dot"));
    }
    let arch = wishes.arch.as_ref().or(list.arch.as_ref()).map_or("all", String::as_str);
    let title = wishes.name.as_ref().or(list.title.as_ref()).unwrap_or(pkg);
    let values = [
        ("PKG", package.abbreviation()),
        ("NAME", title.as_str()),
        ("ARCH", arch),
        ("VERSION", version.as_str()),
        ("CATEGORY", "application"),
        ("CLASSES", "none"),
        (ADOPTED, list.adopted),
    ];
    let mut params = Params::new();
    for (name, value) in values {
        if value.contains(['\n', '\0']) || value.trim().is_empty() {
            return Err(Failure::BadFile(format!("{} is not a valid value of {name}", value.escape_debug())));
        }
        params.set(name, value.trim());
    }
    params.set("BASEDIR", wishes.basedir.as_bytes());
    if let Some(origin) = &list.origin {
        origin.write(&mut params);
    }
    if let Some(registration) = &list.registration {
        registration.write(&mut params);
    }
    Ok((package, params))
}

/// One path per line; each must exist.
fn paths_in(file: &Path) -> Result<SoftwareList, Failure> {
    let bad = |reason: String| Failure::BadFile(format!("{}: {reason}", file.display()));
    let text = read_start(file, LARGEST_LIST).map_err(|error| bad(error.to_string()))?;
    if text.len() as u64 > LARGEST_LIST {
        return Err(bad("it is larger than 256 MiB".to_owned()));
    }
    let paths = paths_of(&text).map_err(bad)?.into_iter().map(|path| (path, Ftype::File)).collect();
    Ok(SoftwareList { adopted: "paths", paths, must_be_there: true, ..SoftwareList::default() })
}

#[derive(Debug, Default)]
pub(super) struct SoftwareList {
    /// Recorded as the origin of packages that are not native.
    pub(super) adopted: &'static str,
    pub(super) origin: Option<NativeOrigin>,
    pub(super) registration: Option<NativeRegistration>,
    /// Derived from the list.
    pub(super) pkg: Option<String>,
    pub(super) version: Option<String>,
    pub(super) arch: Option<String>,
    pub(super) title: Option<String>,
    /// With types of regular files.
    pub(super) paths: BTreeMap<ObjectPath, Ftype>,
    pub(super) sums: BTreeMap<ObjectPath, FileSum>,
    pub(super) must_be_there: bool,
    pub(super) notes: Vec<String>,
}

impl SoftwareList {
    pub(super) fn of_native(package: &NativePackage) -> Self {
        let sums =
            package.paths.iter().filter_map(|(path, native)| Some((path.clone(), native.sum?))).collect();
        Self {
            adopted: package.origin.manager.name(),
            origin: Some(package.origin.clone()),
            registration: Some(package.registration()),
            pkg: Some(package.origin.manager.package_name(&package.origin.name)),
            sums,
            paths: package.paths.iter().map(|(path, native)| (path.clone(), native.ftype)).collect(),
            version: Some(package.version.clone()),
            arch: Some(package.arch.clone()),
            title: package.title.clone(),
            must_be_there: false,
            notes: Vec::new(),
        }
    }
}

/// Includes planned ones.
pub(super) struct Registrations {
    claims: NativeClaims,
    taken: BTreeSet<PkgInst>,
}

impl Registrations {
    pub(super) fn of(reader: &NativeReader, packages: &BTreeMap<PkgInst, Installed>) -> Self {
        let params = packages.iter().map(|(package, installed)| (package, &installed.params));
        Self { claims: NativeClaims::of(reader, params), taken: packages.keys().cloned().collect() }
    }

    pub(super) fn holder(&self, native: &NativePackage) -> Option<&PkgInst> {
        self.claims.holder(native)
    }

    pub(super) fn add(&mut self, package: &PkgInst, native: &NativePackage) {
        self.claims.add(package.clone(), native);
        self.taken.insert(package.clone());
    }

    pub(super) fn software(&self, native: &NativePackage) -> SoftwareList {
        let pkg = match self.holder(native) {
            Some(package) => package.to_string(),
            None => self.free_name(native),
        };
        let origin = self.claims.origin_of(native);
        SoftwareList { pkg: Some(pkg), origin: Some(origin), ..SoftwareList::of_native(native) }
    }

    /// Returns the plain name, or an instance beside another package of that name. Appends the architecture if the
    /// plain name stands for a different package.
    fn free_name(&self, native: &NativePackage) -> String {
        let (manager, name) = (native.origin.manager, native.origin.name.as_str());
        let plain = manager.package_name(name);
        let holder = PkgInst::new(&plain).ok().filter(|package| self.taken.contains(package));
        match holder {
            None => plain,
            Some(package) if self.claims.has_name(native, &package) => native.instance_name(),
            Some(_) => manager.package_name(&format!("{name}-{}", native.arch)),
        }
    }
}

const SETTINGS: &[u8] = b"/etc/patchadm";

const STAGE: &[u8] = b".patchadm";

/// The limit of a pkgmap.
const MOST_OBJECTS: usize = patchadm_svr4::format::pkgmap::MOST_ENTRIES;

/// Includes the directory itself, unless it is the base directory, which no package delivers.
fn listed(root: &Root, top: &ObjectPath, basedir: &ObjectPath) -> Result<SoftwareList, Failure> {
    let physical = root.resolver().locate_dir(top)?;
    let no_tree = || Failure::BadFile(format!("{} is not a directory", root.show(top)));
    let Some(dir) = root.dir_if_there(&physical)? else { return Err(no_tree()) };
    let mut list = SoftwareList { adopted: "tree", ..SoftwareList::default() };
    if !top.relative().is_empty() && top != basedir {
        list.paths.insert(top.clone(), Ftype::File);
    }
    let mount = dir.itself()?.mount;
    let mut open = vec![top.clone()];
    while let Some(path) = open.pop() {
        let directory = root.dir(&physical_of(&physical, top, &path)?)?;
        let names = directory.names()?;
        if let [only] = names.as_slice()
            && path != *top
            && path.join(only).is_ok_and(|inner| is_of_program(&inner))
        {
            // The program made the directory for its records.
            list.paths.remove(&path);
            continue;
        }
        for name in &names {
            let inner = path.join(name).map_err(|error| Failure::BadFile(error.to_string()))?;
            if is_own(&inner) {
                continue;
            }
            let is_there = |main: ObjectPath| names.binary_search_by(|one| one[..].cmp(main.name())).is_ok();
            if main_file(&inner).is_some_and(is_there) {
                list.notes.push(format!("{} is a copy that a patch made; it is left out", root.show(&inner)));
                continue;
            }
            if list.paths.len() == MOST_OBJECTS {
                return Err(Failure::BadFile(format!("{} has too many objects", root.show(top))));
            }
            match entered(&directory, name, mount)? {
                Some(true) => open.push(inner.clone()),
                Some(false) => {}
                None => list
                    .notes
                    .push(format!("{} is a mount point; its contents are left out", root.show(&inner))),
            }
            list.paths.insert(inner, Ftype::File);
        }
    }
    Ok(list)
}

/// `None` if another file system begins there.
fn entered(directory: &Dir, name: &[u8], mount: u64) -> Result<Option<bool>, Failure> {
    Ok(match directory.look(name)? {
        Some(seen) if seen.file_type == FileType::Directory => (seen.mount == mount).then_some(true),
        _ => Some(false),
    })
}

/// Only the way to `top` may lead through links.
fn physical_of(physical: &ObjectPath, top: &ObjectPath, path: &ObjectPath) -> Result<ObjectPath, Failure> {
    let below = path.as_bytes().strip_prefix(top.as_bytes()).unwrap_or_default();
    let below = below.strip_prefix(b"/").unwrap_or(below);
    if below.is_empty() {
        return Ok(physical.clone());
    }
    physical.join(below).map_err(|error| Failure::BadFile(error.to_string()))
}

fn is_own(path: &ObjectPath) -> bool {
    is_of_program(path) || path.name().starts_with(STAGE)
}

fn is_of_program(path: &ObjectPath) -> bool {
    path.as_bytes() == places::RECORDS.as_bytes() || path.as_bytes() == SETTINGS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_listed_without_its_records_and_links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["opt/acme/bin", "var/sadm/pkg", "etc/patchadm"] {
            std::fs::create_dir_all(dir.path().join(name)).unwrap();
        }
        std::fs::write(dir.path().join("opt/acme/bin/tool"), "tool").unwrap();
        std::os::unix::fs::symlink("bin", dir.path().join("opt/acme/link")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        let at = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let names = |top: &str, basedir: &str| -> Vec<String> {
            let list = listed(&root, &at(top), &at(basedir)).unwrap();
            list.paths.keys().map(ToString::to_string).collect()
        };
        let inside = ["/opt/acme/bin", "/opt/acme/bin/tool", "/opt/acme/link"];
        assert_eq!(names("/opt/acme", "/opt/acme"), inside);
        assert_eq!(names("/opt/acme", "/"), [&["/opt/acme"], &inside[..]].concat());
        let all = names("/", "/");
        assert_eq!(
            all,
            [&["/opt", "/opt/acme"], &inside[..]].concat(),
            "var and etc are there for records only"
        );
        std::fs::write(dir.path().join("etc/acme.conf"), "").unwrap();
        let all = names("/", "/");
        assert!(all.contains(&"/etc".to_owned()) && all.contains(&"/etc/acme.conf".to_owned()), "{all:?}");
        assert!(!all.iter().any(|path| path.contains("patchadm")), "{all:?}");
        assert!(listed(&root, &at("/nowhere"), &at("/")).is_err());
    }
}
