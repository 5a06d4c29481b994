//! Packages written into a directory: each becomes a directory of its own, under a private name until it is complete.
//!
//! Files and directories are made new, below a directory that no other process knows, by names that were checked when the
//! source was read. Links are never made, so that none can stand in the way. The caller owns the files. Setuid and setgid
//! bits are not set: a file that waits for its installation gives no rights away, and the pkgmap has these bits.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, Read};
use std::path::Path;

use super::{
    ExistingPolicy, PROGRAM, PackageTranslation, TransferObserver, TransferredPackage, TranslateError,
    member_name,
};
use patchadm_inputs::source::{MemberStamp, PackageImage};
use patchadm_rootfs::{Dir, InterruptibleRead, NewTree, Root, Timestamp, UnnamedDirectory};
use patchadm_svr4::format::params::{LARGEST_FILE, ParamFile};
use patchadm_svr4::package::{Mode, ObjectPath, PackagePath, Params, PkgInst};

/// The bytes that are read and written at once.
const BUFFER: usize = 1 << 18;

/// The permission bits that are set.
const PERMISSIONS: u32 = 0o777;

/// Writes the packages below `to`.
pub(super) fn write(
    translation: &PackageTranslation,
    to: &Path,
    observer: &mut TransferObserver<'_>,
) -> Result<Vec<TransferredPackage>, TranslateError> {
    let root = Root::open(to)?;
    let top = root.dir(&ObjectPath::root())?;
    let instances = instances(translation, &root)?;
    write_all(&top, translation, &instances, observer)?;
    let names = translation.packages().map(|(_, package)| package.spooled_name());
    let moved = names.zip(instances);
    Ok(moved.map(|(name, instance)| TransferredPackage { name, instance: instance.to_string() }).collect())
}

/// Returns the name of each package at the destination.
fn instances(translation: &PackageTranslation, root: &Root) -> Result<Vec<PkgInst>, TranslateError> {
    let mut there = spooled(root)?;
    let mut names = Vec::new();
    let mut taken = BTreeSet::new();
    for (_, package) in translation.packages() {
        let name = PkgInst::new(&package.spooled_name())?;
        let instance = instance(&name, &package.params, &there, translation.existing)?;
        if !taken.insert(instance.clone()) {
            return Err(TranslateError::Twice(instance));
        }
        if translation.existing == ExistingPolicy::Rename {
            there.insert(instance.clone(), Present::Package(None));
        }
        names.push(instance);
    }
    Ok(names)
}

/// An existing entry of a directory under the name of a package.
enum Present {
    /// A package, with its parameters if they can be read.
    Package(Option<Params>),
    /// A file, or a directory of something else.
    Other,
}

impl Present {
    /// Returns whether it is the same package.
    fn is(&self, params: &Params) -> bool {
        let Self::Package(Some(own)) = self else { return false };
        ["PKG", "ARCH", "VERSION"].iter().all(|parameter| own.get(parameter) == params.get(parameter))
    }
}

/// Returns the entries of a directory that have names of packages.
fn spooled(root: &Root) -> Result<BTreeMap<PkgInst, Present>, TranslateError> {
    let mut found = BTreeMap::new();
    for name in root.list(&ObjectPath::root())?.unwrap_or_default() {
        let Some(inst) = std::str::from_utf8(&name).ok().and_then(|name| PkgInst::new(name).ok()) else {
            continue;
        };
        let path = ObjectPath::root().join(&[&name[..], b"/pkginfo"].concat())?;
        let present = match root.read(&path, LARGEST_FILE as u64) {
            Ok(Some(text)) => Present::Package(ParamFile::parse(&text).ok().map(|file| file.params())),
            _ => Present::Other,
        };
        found.insert(inst, present);
    }
    Ok(found)
}

fn instance(
    name: &PkgInst,
    params: &Params,
    there: &BTreeMap<PkgInst, Present>,
    existing: ExistingPolicy,
) -> Result<PkgInst, TranslateError> {
    let identical = there.iter().find(|(_, present)| present.is(params)).map(|(name, _)| name);
    match (existing, identical) {
        (ExistingPolicy::Refuse | ExistingPolicy::Rename, Some(identical)) => {
            Err(TranslateError::Identical(identical.clone()))
        }
        (ExistingPolicy::Refuse, None) if there.contains_key(name) => {
            Err(TranslateError::NameTaken(name.clone()))
        }
        (ExistingPolicy::Overwrite, Some(identical)) => Ok(identical.clone()),
        (ExistingPolicy::Overwrite, None) if matches!(there.get(name), Some(Present::Other)) => {
            Err(TranslateError::NoPackageThere(name.clone()))
        }
        (ExistingPolicy::Rename, None) if there.contains_key(name) => {
            let instances = there.iter().filter(|(one, present)| {
                one.abbreviation() == name.abbreviation() && matches!(present, Present::Package(_))
            });
            let count = instances.count();
            // Without MAXINST only a root has a limit.
            if let Ok(most) = params.text("MAXINST").trim().parse::<usize>()
                && count >= most
            {
                return Err(TranslateError::TooManyInstances { name: name.clone(), there: count, most });
            }
            let numbered = (2u32..).map(|number| PkgInst::new(&format!("{}.{number}", name.abbreviation())));
            let mut free =
                numbered.skip_while(|name| name.as_ref().is_ok_and(|name| there.contains_key(name)));
            Ok(free.next().unwrap_or_else(|| Ok(name.clone()))?)
        }
        _ => Ok(name.clone()),
    }
}

/// Writes every package under a private name, then gives all of them their names.
fn write_all(
    top: &Dir,
    translation: &PackageTranslation,
    instances: &[PkgInst],
    observer: &mut TransferObserver<'_>,
) -> Result<(), TranslateError> {
    let mut written = Vec::new();
    // Left-overs of other users are not worth an error of this transfer.
    let _ = top.remove_leftovers(PROGRAM);
    for ((index, package), instance) in translation.packages().zip(instances) {
        let transferred = TransferredPackage { name: package.spooled_name(), instance: instance.to_string() };
        (observer.transferring)(&transferred);
        let mut building = UnnamedDirectory::begin(top, PROGRAM, instance.as_str().as_bytes())?;
        package_into(&mut building.tree, translation, index, package, observer)?;
        building.close(Timestamp::whole(package.stamp("pkgmap").mtime))?;
        written.push(building);
    }
    let replaces = instances.iter().map(|instance| top.look(instance.as_str().as_bytes()));
    let replaces = replaces.collect::<Result<Vec<_>, _>>()?.iter().any(Option::is_some);
    if replaces {
        // After a power cut, the old package must not be missing while the new one lacks its bytes.
        top.sync_file_system()?;
    }
    observer.check()?;
    written.iter().try_for_each(|building| building.publish(true))?;
    Ok(())
}

fn package_into(
    tree: &mut NewTree,
    translation: &PackageTranslation,
    index: usize,
    package: &PackageImage,
    observer: &TransferObserver<'_>,
) -> Result<(), TranslateError> {
    let mut buffer = vec![0; BUFFER];
    for (name, bytes) in [("pkginfo", &package.pkginfo_bytes), ("pkgmap", &package.pkgmap_bytes)] {
        file(tree, name.as_bytes(), package.stamp(name), &mut &bytes[..], &mut buffer)?;
    }
    for (name, mut bytes, stamp) in translation.information(package) {
        file(tree, name.as_bytes(), stamp, &mut bytes, &mut buffer)?;
    }
    if translation.description_only {
        return Ok(());
    }
    let parts: HashMap<&PackagePath, u32> = package.files().map(|entry| (&entry.path, entry.part)).collect();
    let device = &translation.device;
    device.source.stream_checked(
        &device.image,
        &mut |which, _| which == index,
        &mut |_, path, delivered, data: &mut dyn Read| {
            observer.check()?;
            let name = member_name(path, parts.get(path).copied().unwrap_or(1));
            let data = &mut InterruptibleRead::new(data, observer.interrupt);
            file(tree, &name, delivered.stamp, data, &mut buffer)
        },
    )
}

/// Makes a file. Its bytes pass through a buffer that all files share.
fn file(
    tree: &mut NewTree,
    name: &[u8],
    stamp: MemberStamp,
    data: &mut dyn Read,
    buffer: &mut [u8],
) -> Result<(), TranslateError> {
    let mut file = tree.file(name)?;
    loop {
        match data.read(buffer) {
            Ok(0) => break,
            Ok(count) => file.put(buffer.get(..count).unwrap_or_default())?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(file.write_error(&error).into()),
        }
    }
    file.set_mode(Mode::of(stamp.mode & PERMISSIONS))?;
    Ok(file.set_mtime(Timestamp::whole(stamp.mtime))?)
}
