//! `adopt` registers existing software as a package without moving a byte; `adopt --forget` undoes that, and files
//! stay. The plan has only records, as pkgadd(1M) leaves them, with a pkgmap made from the existing objects. Files of
//! other packages are conflicts. Missing objects, and those that no package can have, are left out and reported.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

use patchadm_changeset::format::contents_merge::ContentsEdits;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::native::{ADOPTED, NativeOrigin, is_native_parameter};
use patchadm_inputs::source::PackageImage;
use patchadm_rootfs::{Inode, Live, LiveKind};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::{Pkgmap, PkgmapEntry};
use patchadm_svr4::package::checksum::sum;
use patchadm_svr4::package::{
    ContentInfo, ContentsLine, Ftype, Object, ObjectAttributes, ObjectPath, OwningPackage, PackagePath,
    Params, PkgInst,
};

use super::package_records::{DamagedPackage, RecordedBefore, package_records};
use crate::plan::clock::Now;
use crate::plan::parameters::merged;
use crate::plan::plan_builder::{below, refuse_reserved};
use crate::plan::records::package_path;
use crate::plan::refusal::{Command, Reason, Refusal};
use crate::plan::target::PackageTarget;
use crate::plan::{LedgerChange, Plan, RecordChange, space};

const BLOCK: u64 = 512;

const CLASS: &str = "none";

#[derive(Clone, Debug)]
pub struct AdoptableSoftware {
    pub package: PkgInst,
    /// As a package would deliver them.
    pub params: Params,
    /// LANG, `LC_*`, TZ, PATH, OAMBASE.
    pub environment: Params,
    /// Each with its type if it is a regular file: `f`, `e` or `v`.
    pub paths: BTreeMap<ObjectPath, Ftype>,
    /// A missing path is a refusal.
    pub must_be_there: bool,
}

/// Several adoptions in one run, which changes only records.
#[derive(Debug, Default)]
pub struct Adoptions {
    lines: ContentsEdits,
    records: Vec<RecordChange>,
    packages: BTreeMap<PkgInst, Option<NativeOrigin>>,
    notes: Vec<String>,
}

#[derive(Clone, Debug)]
pub struct IntendedAdoption {
    /// The number of its objects.
    pub objects: usize,
    /// Directories that other packages have as well.
    pub directories_shared: usize,
    /// Objects of other packages. If there are any, the software is not adopted.
    pub conflicts: Vec<AdoptionConflict>,
    /// Listed paths without an object.
    pub missing: Vec<ObjectPath>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdoptionConflict {
    pub path: ObjectPath,
    pub owners: Vec<PkgInst>,
}

impl fmt::Display for AdoptionConflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let owners: Vec<String> = self.owners.iter().map(ToString::to_string).collect();
        write!(f, "{} belongs to {}", self.path, owners.join(", "))
    }
}

#[derive(Debug, Default)]
pub(in crate::plan) struct FoundSoftware {
    pub(in crate::plan) lines: ContentsEdits,
    pub(in crate::plan) entries: Vec<(ObjectPath, Object)>,
    pub(in crate::plan) directories_shared: usize,
    pub(in crate::plan) conflicts: Vec<AdoptionConflict>,
    pub(in crate::plan) missing: Vec<ObjectPath>,
    pub(in crate::plan) notes: Vec<String>,
}

pub(in crate::plan) fn found_software(
    software: &AdoptableSoftware,
    inventory: &Inventory,
) -> Result<FoundSoftware, Reason> {
    found_beside(software, inventory, &Adoptions::default())
}

fn found_beside(
    software: &AdoptableSoftware,
    inventory: &Inventory,
    others: &Adoptions,
) -> Result<FoundSoftware, Reason> {
    let mut adoption = Adoption::new(software, (inventory, others));
    for (path, ftype) in &software.paths {
        adoption.take(path, *ftype)?;
    }
    Ok(adoption.found)
}

impl Adoptions {
    /// The inventory must have the paths and the places that they lead to. Software with objects of other packages is
    /// not adopted. A `damaged` record is made anew, for which the inventory must have its lines.
    pub fn add(
        &mut self,
        software: &AdoptableSoftware,
        damaged: Option<&DamagedPackage>,
        inventory: &Inventory,
        now: &Now,
    ) -> Result<IntendedAdoption, Refusal> {
        let added = self.add_found(software, damaged, inventory, now);
        added.map_err(|reason| reason.shown(inventory).of(Command::Adopt, &software.package))
    }

    fn add_found(
        &mut self,
        software: &AdoptableSoftware,
        damaged: Option<&DamagedPackage>,
        inventory: &Inventory,
        now: &Now,
    ) -> Result<IntendedAdoption, Reason> {
        let found = self.found(software, inventory)?;
        if found.conflicts.is_empty() {
            let package = &software.package;
            let before = damaged.map_or(RecordedBefore::Nothing, RecordedBefore::Damaged);
            self.records.extend(registration(software, before, inventory, &found.entries, now)?);
            if let Some(damaged) = damaged {
                self.notes.extend(damaged.notes(package));
                self.lines.extend(lines_given_up(package, inventory));
            }
            self.lines.extend(found.lines);
            self.notes.extend(found.notes);
            let origin = NativeOrigin::of(&software.params);
            self.packages.insert(package.clone(), origin);
        }
        Ok(IntendedAdoption {
            objects: found.entries.len(),
            directories_shared: found.directories_shared,
            conflicts: found.conflicts,
            missing: found.missing.iter().map(|path| inventory.show(path)).collect(),
        })
    }

    fn found(&self, software: &AdoptableSoftware, inventory: &Inventory) -> Result<FoundSoftware, Reason> {
        let package = &software.package;
        if let Some(installed) = inventory.packages.get(package) {
            return Err(Reason::AlreadyInstalled(bare_patches(&installed.params)));
        }
        if self.packages.contains_key(package) {
            return Err(Reason::AlreadyInstalled(None));
        }
        if let Some(origin) = NativeOrigin::of(&software.params)
            && let Some((other, _)) = inventory
                .packages
                .iter()
                .find(|(_, installed)| NativeOrigin::of(&installed.params).as_ref() == Some(&origin))
        {
            return Err(refused(format!("{origin} is already adopted, as {other}")));
        }
        let found = found_beside(software, inventory, self)?;
        if software.must_be_there && !found.missing.is_empty() {
            let shown = found.missing.iter().map(|path| inventory.show(path).to_string());
            return Err(refused(format!("nothing is at {}", shown.collect::<Vec<_>>().join(", "))));
        }
        if found.entries.is_empty() && found.conflicts.is_empty() {
            return Err(refused("none of its files exist".to_owned()));
        }
        Ok(found)
    }

    /// Returns the plan; `None` if nothing was adopted. The inventory is that of any of the adoptions.
    pub fn plan(self, inventory: &Inventory, now: &Now) -> Result<Option<Plan>, Refusal> {
        let packages: Vec<PkgInst> = self.packages.into_keys().collect();
        let Some(last) = packages.last() else { return Ok(None) };
        let space = space::needs(inventory, &[], &self.records, &[], &[]);
        space::enough(&space).map_err(|reason| reason.of(Command::Adopt, last))?;
        let empty = Plan::empty(Command::Adopt.name(), now.trailer(Command::Adopt.name(), last));
        Ok(Some(Plan {
            records: self.records,
            contents: self.lines,
            packages,
            space,
            notes: self.notes,
            ..empty
        }))
    }

    fn origin_of(&self, package: &PkgInst, inventory: &Inventory) -> Option<NativeOrigin> {
        let of_installed = || NativeOrigin::of(&inventory.packages.get(package)?.params);
        self.packages.get(package).cloned().unwrap_or_else(of_installed)
    }
}

struct Adoption<'a> {
    software: &'a AdoptableSoftware,
    inventory: &'a Inventory,
    others: &'a Adoptions,
    origin: Option<NativeOrigin>,
    found: FoundSoftware,
    /// Recorded path by place on the disk.
    places: BTreeMap<ObjectPath, ObjectPath>,
    files: HashMap<(Option<usize>, Inode), ObjectPath>,
}

impl<'a> Adoption<'a> {
    fn new(software: &'a AdoptableSoftware, (inventory, others): (&'a Inventory, &'a Adoptions)) -> Self {
        Self {
            software,
            inventory,
            others,
            origin: NativeOrigin::of(&software.params),
            found: FoundSoftware::default(),
            places: BTreeMap::new(),
            files: HashMap::new(),
        }
    }

    fn take(&mut self, path: &ObjectPath, ftype: Ftype) -> Result<(), Reason> {
        let inventory = self.inventory;
        let Some(live) = inventory.live.get(path) else {
            self.found.missing.push(path.clone());
            return Ok(());
        };
        let is_link = matches!(live.kind, LiveKind::Symlink(_));
        if is_link && below(&self.software.paths, path).next().is_some() {
            // The link stands for a directory of the software (merged /usr), and has no owner.
            return Ok(());
        }
        let place = inventory.physical.get(path).unwrap_or(path);
        refuse_reserved(path, place).map_err(|problem| Reason::Object {
            package: self.software.package.clone(),
            path: path.to_string(),
            problem,
        })?;
        let shown = inventory.show(path);
        if let Some(first) = self.places.get(place) {
            self.found
                .notes
                .push(format!("{shown} is recorded as {}, which is the same", inventory.show(first)));
            return Ok(());
        }
        let Some(object) = self.object(path, ftype, live) else {
            self.found.notes.push(format!("{shown} is left out: packages cannot contain sockets"));
            return Ok(());
        };
        self.places.insert(place.clone(), path.clone());
        self.record(path, place, object);
        Ok(())
    }

    fn object(&mut self, path: &ObjectPath, ftype: Ftype, live: &Live) -> Option<Object> {
        let mut object = match &live.kind {
            LiveKind::Socket => return None,
            LiveKind::Directory => Object::new(Ftype::Directory, CLASS),
            LiveKind::Pipe => Object::new(Ftype::Pipe, CLASS),
            LiveKind::Symlink(target) => {
                return Some(Object { target: Some(target.clone()), ..Object::new(Ftype::Symlink, CLASS) });
            }
            LiveKind::Device { block, major, minor } => {
                let ftype = if *block { Ftype::Block } else { Ftype::Character };
                Object { device: Some((Some(*major), Some(*minor))), ..Object::new(ftype, CLASS) }
            }
            LiveKind::Regular { .. } => {
                if let Some(first) = self.first_name(path, live) {
                    let target = Some(relative_target(path, &first));
                    return Some(Object { target, ..Object::new(Ftype::Link, CLASS) });
                }
                Object { content: live.content_info().unwrap_or_default(), ..Object::new(ftype, CLASS) }
            }
        };
        let accounts = &self.inventory.accounts;
        object.attributes = ObjectAttributes {
            mode: Some(live.mode),
            owner: Some(accounts.user(live.uid)),
            group: Some(accounts.group(live.gid)),
        };
        Some(object)
    }

    fn first_name(&mut self, path: &ObjectPath, live: &Live) -> Option<ObjectPath> {
        if live.links < 2 {
            return None;
        }
        let file = (self.inventory.on.get(path).copied(), live.inode);
        let first = self.files.get(&file).cloned();
        if first.is_none() {
            self.files.insert(file, path.clone());
        }
        first
    }

    /// Returns the line without the package itself: after a lost record, its old lines are still there.
    fn line(&self, path: &ObjectPath) -> Option<Cow<'a, ContentsLine>> {
        let package = &self.software.package;
        let others = self.others.lines.get(path).and_then(Option::as_deref);
        let line = others.or_else(|| self.inventory.lines.get(path))?;
        if !line.is_owned_by(package) {
            return Some(Cow::Borrowed(line));
        }
        let mut line = line.clone();
        line.owners.retain(|owner| owner.package != *package);
        (!line.owners.is_empty()).then_some(Cow::Owned(line))
    }

    fn is_shared_natively(&self, line: &ContentsLine) -> bool {
        let Some(origin) = &self.origin else { return false };
        let is_of_it = |owner: &OwningPackage| {
            let other = self.others.origin_of(&owner.package, self.inventory);
            other.is_some_and(|other| other.manager == origin.manager)
        };
        !line.owners.is_empty() && line.owners.iter().all(is_of_it)
    }

    fn record(&mut self, path: &ObjectPath, place: &ObjectPath, object: Object) {
        let is_directory = object.ftype.is_directory();
        let is_shared = |line: &ContentsLine| {
            is_directory && line.object.ftype.is_directory() || self.is_shared_natively(line)
        };
        let known = self.line(path);
        let elsewhere = self.line(place).filter(|_| place != path);
        let others = [&known, &elsewhere].into_iter().flatten().filter(|line| !is_shared(line));
        let mut owners: Vec<PkgInst> =
            others.flat_map(|line| line.owners.iter().map(|owner| owner.package.clone())).collect();
        owners.dedup();
        if !owners.is_empty() {
            self.found.conflicts.push(AdoptionConflict { path: self.inventory.show(path), owners });
            return;
        }
        let new = || ContentsLine {
            path: path.clone(),
            volume: None,
            object: object.clone(),
            owners: Vec::with_capacity(1),
        };
        let mut line = known.map_or_else(new, Cow::into_owned);
        self.found.directories_shared += usize::from(!line.owners.is_empty());
        line.owners.push(OwningPackage::new(self.software.package.clone()));
        self.found.lines.insert(path.clone(), Some(Box::new(line)));
        self.found.entries.push((path.clone(), object));
    }
}

fn registration(
    software: &AdoptableSoftware,
    before: RecordedBefore<'_>,
    inventory: &Inventory,
    entries: &[(ObjectPath, Object)],
    now: &Now,
) -> Result<Vec<RecordChange>, Reason> {
    let package = software.package.clone();
    let mut params = merged(&package, &Params::new(), &software.params, &software.environment, now);
    for (name, value) in software.params.iter().filter(|(name, _)| is_native_parameter(name)) {
        params.set(name, value);
    }
    let image = image(software, entries, now)?;
    let target = PackageTarget::new(package, 0, &image, params)?;
    package_records(&target, before, inventory)
}

fn lines_given_up(package: &PkgInst, inventory: &Inventory) -> ContentsEdits {
    let owned = inventory.lines.iter().filter(|(_, line)| line.is_owned_by(package));
    let without = owned.map(|(path, line)| {
        let mut line = line.clone();
        line.owners.retain(|owner| owner.package != *package);
        (path.clone(), (!line.owners.is_empty()).then(|| Box::new(line)))
    });
    without.collect()
}

pub(in crate::plan) fn image(
    software: &AdoptableSoftware,
    objects: &[(ObjectPath, Object)],
    now: &Now,
) -> Result<PackageImage, Reason> {
    let bad = |reason: String| Reason::BadPkginfo { package: software.package.to_string(), reason };
    let basedir = ObjectPath::new(software.params.get("BASEDIR").unwrap_or(b"/"));
    let basedir = basedir.map_err(|error| bad(format!("BASEDIR: {error}")))?;
    let pkginfo = params::write(&software.params);
    let information = Object {
        content: ContentInfo {
            size: Some(pkginfo.len() as u64),
            cksum: Some(sum(&pkginfo)),
            mtime: Some(now.timestamp().seconds),
        },
        ..Object::new(Ftype::Information, "")
    };
    let entry = |path: &[u8], object: &Object| -> Result<PkgmapEntry, Reason> {
        let path = PackagePath::new(path).map_err(|error| bad(error.to_string()))?;
        Ok(PkgmapEntry { part: 1, path, object: object.clone() })
    };
    let mut entries = vec![entry(b"pkginfo", &information)?];
    for (path, object) in objects {
        entries.push(entry(written(path, &basedir), object)?);
    }
    let blocks =
        entries.iter().filter_map(|entry| entry.object.content.size).map(|size| size.div_ceil(BLOCK));
    let max_blocks = blocks.fold(0, u64::saturating_add);
    let pkgmap = Pkgmap { parts: 1, max_blocks, compressed_blocks: None, entries };
    Ok(PackageImage::without_source(software.params.clone(), pkgmap))
}

fn written<'p>(path: &'p ObjectPath, basedir: &ObjectPath) -> &'p [u8] {
    if basedir.relative().is_empty() {
        return path.relative();
    }
    let inside = path.as_bytes().strip_prefix(basedir.as_bytes()).and_then(|rest| rest.strip_prefix(b"/"));
    inside.filter(|rest| !rest.is_empty()).unwrap_or(path.as_bytes())
}

fn relative_target(link: &ObjectPath, first: &ObjectPath) -> Vec<u8> {
    let parts = |path: &'_ ObjectPath| -> Vec<Vec<u8>> {
        path.relative().split(|&byte| byte == b'/').map(<[u8]>::to_vec).collect()
    };
    let (link, first) = (parts(link), parts(first));
    let directories = link.len().saturating_sub(1).min(first.len().saturating_sub(1));
    let shared = link.iter().zip(&first).take(directories).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n(b"..".to_vec(), link.len().saturating_sub(shared + 1));
    up.chain(first.into_iter().skip(shared)).collect::<Vec<_>>().join(&b'/')
}

fn refused(found: String) -> Reason {
    Reason::Administration { found, answer: None }
}

/// Returns the patches of a package that was adopted without dpkg and rpm, from the last to the first.
pub fn bare_patches(params: &Params) -> Option<String> {
    let is_bare = !params.text(ADOPTED).trim().is_empty() && NativeOrigin::of(params).is_none();
    is_bare.then(|| backwards(&params.text("PATCHLIST")))
}

fn backwards(patches: &str) -> String {
    patches.split_whitespace().rev().collect::<Vec<_>>().join(" ")
}

/// Plans that a package is forgotten. The inventory must have every line that it owns. A package that was not adopted
/// is refused, and so is one with patches, which could not be backed out afterwards.
pub fn forget(package: &PkgInst, inventory: &Inventory, now: &Now) -> Result<Plan, Refusal> {
    plan(package, inventory, now).map_err(|reason| reason.shown(inventory).of(Command::Forget, package))
}

fn plan(package: &PkgInst, inventory: &Inventory, now: &Now) -> Result<Plan, Reason> {
    let installed = inventory.packages.get(package).ok_or(Reason::NoSuchPackage)?;
    if installed.params.text(ADOPTED).trim().is_empty() {
        return Err(Reason::NotAdopted);
    }
    let patches = backwards(&installed.params.text("PATCHLIST"));
    if !patches.is_empty() {
        return Err(Reason::PatchesApplied { package: package.clone(), patches });
    }
    let owned = inventory.lines.iter().filter(|(_, line)| line.is_owned_by(package));
    let contents: ContentsEdits =
        owned.map(|(path, line)| (path.clone(), without(line, package).map(Box::new))).collect();
    let records = vec![
        RecordChange::RemoveTree(package_path(package, b"")?),
        RecordChange::Ledger(LedgerChange::of(package)),
    ];
    let space = space::needs(inventory, &[], &records, &[], &[]);
    space::enough(&space)?;
    let empty = Plan::empty(Command::Adopt.name(), now.trailer(Command::Adopt.name(), package));
    Ok(Plan { packages: vec![package.clone()], records, contents, space, ..empty })
}

fn without(line: &ContentsLine, package: &PkgInst) -> Option<ContentsLine> {
    let mut line = line.clone();
    line.owners.retain(|owner| owner.package != *package);
    Some(line).filter(|line| !line.owners.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_target_of_a_link_leads_back_to_the_first_name() {
        for (link, first, target) in [
            ("/usr/bin/b", "/usr/bin/a", "a"),
            ("/usr/bin/b", "/usr/lib/a", "../lib/a"),
            ("/b", "/usr/a", "usr/a"),
            ("/usr/x/b", "/a", "../../a"),
        ] {
            assert_eq!(relative_target(&path(link), &path(first)), target.as_bytes(), "{link}");
            assert_eq!(path(link).link_source(target.as_bytes()).unwrap(), path(first), "{link}");
        }
    }

    #[test]
    fn a_path_below_the_base_directory_is_written_relative_to_it() {
        for (basedir, at, expected) in [
            ("/", "/usr/bin/a", "usr/bin/a"),
            ("/opt/acme", "/opt/acme/bin", "bin"),
            ("/opt/acme", "/opt/acme", "/opt/acme"),
            ("/opt/acme", "/opt/acmes/bin", "/opt/acmes/bin"),
        ] {
            assert_eq!(written(&path(at), &path(basedir)), expected.as_bytes(), "{at}");
        }
    }
}
