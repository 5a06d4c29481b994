//! A sparse package: pkginfo, pkgmap, information files, and the source of each file's content.
//!
//! PKG, ARCH and VERSION are those of the installed package, so that the patch finds it; other parameters come from the
//! new release. Sizes and sums come from the lists; no content is read.

use std::collections::{BTreeMap, BTreeSet};

use super::delivery::{DeliveredObject, DeliveryReason, PackageDelivery};
use super::pairs::{PackagePair, ReleaseSide};
use super::{BuildRequest, PatchLists};
use crate::release::{ReleaseForm, SvrDescription};
use patchadm_inputs::format::objects_file::{GivenAttributes, OBJECTS, ObjectsFile, may_be_given};
use patchadm_inputs::native::FIXED_IN;
use patchadm_inputs::patch_scripts;
use patchadm_releases::{Device, FileContent, LinkGroup, ObjectOwner, ReleaseObjectKind, Upkeep};
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry, member_name};
use patchadm_svr4::format::{deletes, params};
use patchadm_svr4::package::{
    ContentInfo, Ftype, Mode, Object, ObjectAttributes, ObjectPath, PackagePath, Params, PathError, PkgInst,
    Word, checksum, is_class,
};
use patchadm_svr4::patch::{FIXES, is_fix_record};

const NO_CLASS: &str = "none";

/// Every system has a script for these classes.
const STANDARD: [&str; 7] = ["awk", "build", "manifest", "preserve", "renamenew", "renameold", "sed"];

const UNIT: u64 = 4096;
const UNIT_BLOCKS: u64 = UNIT / 512;

/// Everyone may read files that wait for installation; these bits of their own mode are kept.
const READABLE: u32 = 0o644;

const KEPT: u32 = 0o777;
const LONGEST_ACCOUNT: usize = 64;

/// Without the content of its files.
#[derive(Clone, Debug)]
pub struct SparsePackage {
    pub pkg: PkgInst,
    pub arch: String,
    pub version: String,
    pub basedir: ObjectPath,
    pub params: Params,
    /// In the order of paths.
    pub pkgmap: Pkgmap,
    /// Files of `install/`, by name.
    pub information: BTreeMap<String, Vec<u8>>,
    /// Files with content, by path below the base directory.
    pub files: BTreeMap<ObjectPath, PackedFile>,
    /// By path.
    pub delivered: BTreeMap<ObjectPath, DeliveredObject>,
    pub deleted: BTreeSet<ObjectPath>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackedFile {
    /// Name in the directory of the package.
    pub member: Vec<u8>,
    pub side: ReleaseSide,
    pub content: FileContent,
    /// As a member.
    pub mode: u32,
    /// Seconds since 1970.
    pub mtime: i64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChangeCounts {
    /// The old release lacks them.
    pub added: usize,
    /// Other type, content or names, or delivered again.
    pub replaced: usize,
    pub deleted: usize,
    /// Only attributes differ.
    pub attributes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SparseError {
    /// An owner or group without a name for the pkgmap.
    #[error("{pkg}: {path} belongs to {owner}, which is not a valid account name")]
    Owner {
        pkg: PkgInst,
        path: ObjectPath,
        /// As far as known.
        owner: String,
    },
    /// A component that would be a variable in a pkgmap.
    #[error("{pkg}: {path} has a component that begins with `$`, which a pkgmap takes for a variable")]
    Variable { pkg: PkgInst, path: ObjectPath },
    /// An extended attribute that no package may give.
    #[error("{pkg}: {path} has the extended attribute {name}, which packages must not set")]
    Xattr {
        pkg: PkgInst,
        path: ObjectPath,
        /// Escaped.
        name: String,
    },
    #[error("{pkg}: {path}: <{class}> is not a class")]
    Class { pkg: PkgInst, path: ObjectPath, class: String },
    #[error(transparent)]
    Path(#[from] PathError),
}

impl SparsePackage {
    /// `lists` are those of the patch.
    pub fn of(
        pair: &PackagePair<'_>,
        delivery: PackageDelivery,
        lists: &PatchLists,
        request: &BuildRequest,
    ) -> Result<Self, SparseError> {
        let layout = ObjectLayout::of(&pair.pkg, &delivery)?;
        let classes = layout.classes(pair.new.svr4.as_ref());
        let params = params_of(pair, &classes, lists, request);
        let basedir = ObjectPath::new(params.get("BASEDIR").unwrap_or(b"/"))?;
        let information = information(pair, &layout, &delivery, &classes, request)?;
        let pkgmap = layout.pkgmap(&params, &information, request.date)?;
        Ok(Self {
            pkg: pair.pkg.clone(),
            arch: pair.arch.clone(),
            version: pair.version.clone(),
            basedir,
            params,
            pkgmap,
            information,
            files: layout.files,
            delivered: delivery.delivered,
            deleted: delivery.deleted,
        })
    }

    pub fn counts(&self) -> ChangeCounts {
        let mut counts = ChangeCounts { deleted: self.deleted.len(), ..ChangeCounts::default() };
        for delivered in self.delivered.values() {
            let of_kind = match delivered.why {
                DeliveryReason::Added => &mut counts.added,
                DeliveryReason::Replaced(differences) if differences.is_attributes_only() => {
                    &mut counts.attributes
                }
                DeliveryReason::Replaced(_) | DeliveryReason::Again => &mut counts.replaced,
            };
            *of_kind += 1;
        }
        counts
    }
}

struct ObjectLayout {
    entries: Vec<PkgmapEntry>,
    files: BTreeMap<ObjectPath, PackedFile>,
    given: ObjectsFile,
}

impl ObjectLayout {
    fn of(pkg: &PkgInst, delivery: &PackageDelivery) -> Result<Self, SparseError> {
        let first_names = delivery.first_names();
        let mut layout = Self { entries: Vec::new(), files: BTreeMap::new(), given: ObjectsFile::default() };
        let mut says_xattrs = BTreeSet::<(ReleaseSide, LinkGroup)>::new();
        for delivered in delivery.delivered.values().filter(|delivered| delivered.says_xattrs) {
            says_xattrs.extend(delivered.object.link_group().map(|group| (delivered.side, group)));
        }
        for delivered in delivery.delivered.values() {
            let group = delivered.object.link_group().map(|group| (delivered.side, group));
            let first = group.as_ref().and_then(|group| first_names.get(group).copied());
            let path = package_path(pkg, &delivered.object.path)?;
            if let Some(first) = first.filter(|first| **first != delivered.object.path) {
                let mut object = Object::new(Ftype::Link, class_of(pkg, delivered)?);
                object.target = Some(relative_target(&delivered.object.path, first));
                layout.entries.push(PkgmapEntry { part: 1, path, object });
                continue;
            }
            let says = delivered.says_xattrs || group.is_some_and(|group| says_xattrs.contains(&group));
            layout.put(pkg, delivered, path, says)?;
        }
        Ok(layout)
    }

    fn put(
        &mut self,
        pkg: &PkgInst,
        delivered: &DeliveredObject,
        path: PackagePath,
        says_xattrs: bool,
    ) -> Result<(), SparseError> {
        let entry = PkgmapEntry { part: 1, path, object: object(pkg, delivered)? };
        let source = &delivered.object;
        let is_file = source.content().is_some();
        if let Some(content) = source.content() {
            let packed = PackedFile {
                member: member_name(&entry.path),
                side: delivered.side,
                content: *content,
                mode: (source.mode.bits() | READABLE) & KEPT,
                mtime: source.mtime.seconds.max(0),
            };
            self.files.insert(source.path.clone(), packed);
        }
        let is_link = matches!(source.kind, ReleaseObjectKind::Symlink(_));
        let nanoseconds = Some(source.mtime.nanoseconds).filter(|count| *count > 0 && is_file);
        let xattrs = (says_xattrs && !is_link).then(|| source.xattrs.clone());
        if let Some(name) = xattrs.iter().flatten().map(|(name, _)| name).find(|name| !may_be_given(name)) {
            let name = name.escape_ascii().to_string();
            return Err(SparseError::Xattr { pkg: pkg.clone(), path: source.path.clone(), name });
        }
        if nanoseconds.is_some() || xattrs.is_some() {
            let given = GivenAttributes { mtime_ns: nanoseconds, xattrs };
            self.given.objects.insert(entry.path.clone(), given);
        }
        self.entries.push(entry);
        Ok(())
    }

    /// The classes of the new release in its order, then others by name.
    fn classes(&self, svr4: Option<&SvrDescription>) -> Vec<String> {
        let used: BTreeSet<&str> = self.entries.iter().map(|entry| entry.object.class.as_str()).collect();
        let known = svr4.map(|svr4| svr4.params.text("CLASSES").into_owned()).unwrap_or_default();
        let mut classes: Vec<String> =
            known.split_whitespace().filter(|class| used.contains(class)).map(str::to_owned).collect();
        let others = used.into_iter().filter(|class| !classes.iter().any(|known| known == class));
        let others: Vec<String> = others.map(str::to_owned).collect();
        classes.extend(others);
        if classes.is_empty() { vec![NO_CLASS.to_owned()] } else { classes }
    }

    fn pkgmap(
        &self,
        params: &Params,
        information: &BTreeMap<String, Vec<u8>>,
        date: i64,
    ) -> Result<Pkgmap, PathError> {
        let pkginfo = params::write(params);
        let own = information.iter().map(|(name, text)| (name.as_str(), text));
        let own = own.chain([("pkginfo", &pkginfo)]).map(|(name, text)| {
            let mut object = Object::new(Ftype::Information, "");
            object.content = ContentInfo {
                size: Some(text.len() as u64),
                cksum: Some(checksum::sum(text)),
                mtime: Some(date.max(0)),
            };
            Ok(PkgmapEntry { part: 1, path: PackagePath::new(name.as_bytes())?, object })
        });
        let mut entries = own.collect::<Result<Vec<_>, PathError>>()?;
        entries.extend(self.entries.iter().cloned());
        entries.sort_by(|one, other| one.path.as_bytes().cmp(other.path.as_bytes()));
        let mut pkgmap = Pkgmap { parts: 1, max_blocks: 0, compressed_blocks: None, entries };
        pkgmap.max_blocks = self.blocks(&pkgmap);
        Ok(pkgmap)
    }

    /// Rounded up to the allocation unit.
    fn blocks(&self, pkgmap: &Pkgmap) -> u64 {
        let text = pkgmap.write().len() as u64 + UNIT;
        let sizes = pkgmap.entries.iter().filter_map(|entry| entry.object.content.size);
        let units = sizes.chain([text]).fold(0, |sum: u64, size| sum.saturating_add(size.div_ceil(UNIT)));
        let mut directories = BTreeSet::<&[u8]>::from([&b""[..], b"install"]);
        for member in self.files.values().map(|file| &file.member) {
            let slashes = member.iter().enumerate().filter(|(_, byte)| **byte == b'/');
            directories.extend(slashes.filter_map(|(at, _)| member.get(..at)));
        }
        units.saturating_add(directories.len() as u64).saturating_mul(UNIT_BLOCKS)
    }
}

fn object(pkg: &PkgInst, delivered: &DeliveredObject) -> Result<Object, SparseError> {
    let source = &delivered.object;
    let ftype = match &source.kind {
        ReleaseObjectKind::File { upkeep: Upkeep::Delivered, .. } => Ftype::File,
        ReleaseObjectKind::File { upkeep: Upkeep::Editable, .. } => Ftype::Editable,
        ReleaseObjectKind::File { upkeep: Upkeep::Volatile, .. } => Ftype::Volatile,
        ReleaseObjectKind::Directory { exclusive: false } => Ftype::Directory,
        ReleaseObjectKind::Directory { exclusive: true } => Ftype::Exclusive,
        ReleaseObjectKind::Symlink(_) => Ftype::Symlink,
        ReleaseObjectKind::Pipe => Ftype::Pipe,
        ReleaseObjectKind::Block(_) => Ftype::Block,
        ReleaseObjectKind::Character(_) => Ftype::Character,
    };
    let mut object = Object::new(ftype, class_of(pkg, delivered)?);
    match &source.kind {
        ReleaseObjectKind::Symlink(target) => {
            object.target = Some(target.clone());
            return Ok(object);
        }
        ReleaseObjectKind::Block(device) | ReleaseObjectKind::Character(device) => {
            let Device { major, minor } = *device;
            object.device = Some((Some(major), Some(minor)));
        }
        ReleaseObjectKind::File { .. } => object.content = source.content_info().unwrap_or_default(),
        ReleaseObjectKind::Directory { .. } | ReleaseObjectKind::Pipe => {}
    }
    let account = |owner: &ObjectOwner| {
        account(owner).map_err(|owner| SparseError::Owner {
            pkg: pkg.clone(),
            path: source.path.clone(),
            owner,
        })
    };
    object.attributes = ObjectAttributes {
        mode: Some(Mode::of(source.mode.bits())),
        owner: account(&source.owner)?,
        group: account(&source.group)?,
    };
    Ok(object)
}

/// Returns an owner's name for a pkgmap. Number 0 has a known name, and an open owner stays open. The error describes
/// an owner without a name.
fn account(owner: &ObjectOwner) -> Result<Option<Word>, String> {
    match (&owner.name, owner.id) {
        (Some(name), _) => {
            let is_fit = (1..=LONGEST_ACCOUNT).contains(&name.len())
                && name.as_str() != "?"
                && !name.starts_with('$')
                && !name.bytes().all(|byte| byte.is_ascii_digit())
                && !name.chars().any(|letter| letter.is_control() || letter.is_whitespace());
            if is_fit { Ok(Some(name.clone())) } else { Err(format!("<{}>", name.escape_debug())) }
        }
        (None, Some(0)) => Ok(Some("root".into())),
        (None, Some(number)) => Err(format!("number {number}")),
        (None, None) => Ok(None),
    }
}

fn class_of<'a>(pkg: &PkgInst, delivered: &'a DeliveredObject) -> Result<&'a str, SparseError> {
    let class = delivered.object.class.as_str();
    let class = if class.is_empty() { NO_CLASS } else { class };
    if is_class(class.as_bytes()) {
        return Ok(class);
    }
    Err(SparseError::Class {
        pkg: pkg.clone(),
        path: delivered.object.path.clone(),
        class: class.escape_debug().to_string(),
    })
}

fn package_path(pkg: &PkgInst, path: &ObjectPath) -> Result<PackagePath, SparseError> {
    let is_variable = |part: &[u8]| part.first() == Some(&b'$');
    if path.relative().split(|&byte| byte == b'/').any(is_variable) {
        return Err(SparseError::Variable { pkg: pkg.clone(), path: path.clone() });
    }
    Ok(PackagePath::new(path.relative())?)
}

fn relative_target(link: &ObjectPath, file: &ObjectPath) -> Vec<u8> {
    let parts = |path: &ObjectPath| -> Vec<Vec<u8>> {
        path.relative().split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect()
    };
    let (link, file) = (parts(link), parts(file));
    let above = link.len().saturating_sub(1);
    let common = link.iter().take(above).zip(&file).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n(b"..".to_vec(), above.saturating_sub(common));
    let down = file.into_iter().skip(common);
    up.chain(down).collect::<Vec<_>>().join(&b'/')
}

fn information(
    pair: &PackagePair<'_>,
    layout: &ObjectLayout,
    delivery: &PackageDelivery,
    classes: &[String],
    request: &BuildRequest,
) -> Result<BTreeMap<String, Vec<u8>>, SparseError> {
    let mut files = class_scripts(pair, classes, request);
    if request.with_scripts {
        let has_own = |class: &&str| files.contains_key(&format!("i.{class}")) || STANDARD.contains(class);
        let others = classes.iter().map(String::as_str).filter(|class| !has_own(class));
        let stock = patch_scripts::of_patch(others.collect::<Vec<_>>());
        files.extend(stock.into_iter().map(|(name, text)| (name, text.as_bytes().to_vec())));
    }
    if !delivery.deleted.is_empty() {
        // Contents are deleted before their directory.
        let paths = delivery.deleted.iter().rev().map(|path| package_path(&pair.pkg, path));
        let paths = paths.collect::<Result<Vec<_>, _>>()?;
        files.insert("deletes".to_owned(), deletes::write(&paths));
    }
    if !layout.given.objects.is_empty() {
        files.insert(OBJECTS.to_owned(), layout.given.write());
    }
    Ok(files)
}

/// The producer's own scripts, else those of the new release.
fn class_scripts(
    pair: &PackagePair<'_>,
    classes: &[String],
    request: &BuildRequest,
) -> BTreeMap<String, Vec<u8>> {
    let of_release = pair.new.svr4.as_ref().filter(|_| pair.new.form == ReleaseForm::Svr4);
    let found = classes.iter().map(|class| format!("i.{class}")).filter_map(|name| {
        let released = of_release.and_then(|svr4| svr4.class_scripts.get(&name));
        let text = request.class_scripts.get(&name).or(released)?;
        Some((name, text.clone()))
    });
    found.collect()
}

/// Compared with parameters of the installed package, so the old release counts.
const OF_OLD: [&str; 4] = ["BASEDIR", "SUNW_PKG_ALLZONES", "SUNW_PKG_HOLLOW", "SUNW_PKG_THISZONE"];

const LEFT_OUT: [&str; 14] = [
    "PATCHLIST",
    "PATCH_OBSOLETES",
    "SUNW_PATCHID",
    "SUNW_OBSOLETES",
    "SUNW_REQUIRES",
    "SUNW_INCOMPAT",
    "SUNW_PATCH_PROPERTIES",
    FIXED_IN,
    FIXES,
    "Patch_label",
    "Obsoletes_label",
    "INSTDATE",
    "PKGINST",
    "PKGSAV",
];

pub(super) fn params_of(
    pair: &PackagePair<'_>,
    classes: &[String],
    lists: &PatchLists,
    request: &BuildRequest,
) -> Params {
    let mut params = Params::new();
    for (name, value) in [("PKG", pair.pkg.as_str()), ("NAME", ""), ("ARCH", &pair.arch)] {
        params.set(name, value);
    }
    params.set("VERSION", &pair.version);
    params.set("CATEGORY", "application");
    params.set("BASEDIR", request.basedir.as_bytes());
    params.set("CLASSES", classes.join(" "));
    params.set("NAME", name_of(pair));
    take_over(pair, &mut params);
    let PatchLists { requires, obsoletes, incompatibles, fixes } = lists;
    let macros = [
        ("SUNW_PATCHID", request.id.to_string()),
        ("SUNW_OBSOLETES", obsoletes.to_string()),
        ("SUNW_REQUIRES", requires.joined(" ")),
        ("SUNW_INCOMPAT", incompatibles.to_string()),
        ("SUNW_PATCH_PROPERTIES", request.properties.join(" ")),
        (FIXED_IN, request.fixed_in.as_ref().map(ToString::to_string).unwrap_or_default()),
        (FIXES, fixes.to_string()),
    ];
    for (name, value) in macros.iter().filter(|(_, value)| !value.is_empty()) {
        params.set(name, value);
    }
    // Scripts record these two; record them here even if scripts do not run.
    params.set("Patch_label", request.id.to_string());
    params.set("Obsoletes_label", obsoletes.to_string());
    params
}

fn name_of(pair: &PackagePair<'_>) -> String {
    let line = pair.new.summary.as_deref().and_then(|summary| summary.lines().next());
    let line = line.map(str::trim).filter(|line| !line.is_empty());
    let name = line.or(pair.new.name.as_deref()).unwrap_or(pair.pkg.as_str());
    name.chars().filter(|letter| !letter.is_control()).take(256).collect()
}

/// Copies parameters of the new release, except those that must stay as installed.
fn take_over(pair: &PackagePair<'_>, params: &mut Params) {
    let kept = ["PKG", "ARCH", "VERSION", "CLASSES"];
    let is_patch =
        |name: &str| LEFT_OUT.contains(&name) || name.starts_with("PATCH_INFO_") || is_fix_record(name);
    for (name, value) in pair.new.svr4.iter().flat_map(|svr4| svr4.params.iter()) {
        if !kept.contains(&name) && !OF_OLD.contains(&name) && !is_patch(name) {
            params.set(name, value);
        }
    }
    let Some(old) = &pair.old.svr4 else { return };
    for name in OF_OLD {
        if let Some(value) = old.params.get(name) {
            params.set(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(link: &str, file: &str) -> String {
        let at = |path: &str| ObjectPath::new(path.as_bytes()).unwrap();
        let target = relative_target(&at(link), &at(file));
        assert_eq!(at(link).link_source(&target).unwrap(), at(file));
        String::from_utf8(target).unwrap()
    }

    #[test]
    fn the_target_of_a_hard_link_leads_from_its_directory_to_the_file() {
        assert_eq!(target("/lib/two", "/lib/one"), "one");
        assert_eq!(target("/lib/two", "/lib/a/one"), "a/one");
        assert_eq!(target("/usr/lib/two", "/usr/bin/one"), "../bin/one");
        assert_eq!(target("/two", "/one"), "one");
        assert_eq!(target("/a/b/c", "/one"), "../../one");
    }

    #[test]
    fn an_owner_without_a_name_is_none_but_for_number_0() {
        let owner = |name: Option<&str>, id| account(&ObjectOwner { name: name.map(Into::into), id });
        assert_eq!(owner(Some("bin"), Some(2)), Ok(Some("bin".into())));
        assert_eq!(owner(None, Some(0)), Ok(Some("root".into())));
        assert_eq!(owner(None, Some(1000)), Err("number 1000".to_owned()));
        assert_eq!(owner(None, None), Ok(None));
        for bad in ["", "?", "$USER", "a b"] {
            assert!(owner(Some(bad), None).is_err(), "{bad}");
        }
    }
}
