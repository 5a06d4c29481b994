//! Packages into a directory: each becomes a directory of its own, under a private name until it is complete.
//!
//! Files and directories are made new, below a directory that nobody else knows of, by names that were checked when
//! the source was read; links are never made, so that none can stand in the way. They belong to the caller. Setuid and
//! setgid bits are not set: a file that waits for its installation gives nobody's rights away, and the pkgmap knows them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{self, BufWriter, Read, Write as _};
use std::path::Path;

use rustix::io::Errno;

use super::{Attended, Existing, Observer, Transferred, TranslateError, Translation, member_name};
use crate::format::params::{LARGEST_FILE, ParamFile};
use crate::operation::query::spooled_name;
use crate::package::{Mode, ObjectPath, PackagePath, Params, PkgInst, Timestamp};
use crate::root::{Dir, Root, random};
use crate::source::{PackageImage, Stamp};

/// The permission bits that are set.
const PERMISSIONS: u32 = 0o777;

/// The mode of the directories.
const DIRECTORY: u32 = 0o755;

/// Writes the packages below `to`.
pub(super) fn write(
    translation: &Translation,
    to: &Path,
    observer: &mut Observer<'_>,
) -> Result<Vec<Transferred>, TranslateError> {
    let root = Root::open(to)?;
    let top = root.dir(&ObjectPath::root())?;
    let instances = instances(translation, &root)?;
    let mark = format!("{:016x}", random()?);
    let staged = Staged { top: &top, mark, names: instances };
    let written = staged.write(translation, observer).and_then(|()| staged.publish(observer));
    staged.clear();
    written?;
    let names = translation.packages().map(|(_, package)| spooled_name(package));
    let moved = names.zip(staged.names);
    Ok(moved.map(|(name, instance)| Transferred { name, instance: instance.to_string() }).collect())
}

/// The name of each package where it goes.
fn instances(translation: &Translation, root: &Root) -> Result<Vec<PkgInst>, TranslateError> {
    let mut there = spooled(root)?;
    let mut names = Vec::new();
    let mut taken = BTreeSet::new();
    for (_, package) in translation.packages() {
        let name = PkgInst::new(&spooled_name(package))?;
        let instance = instance(&name, &package.params, &there, translation.existing)?;
        if !taken.insert(instance.clone()) {
            return Err(TranslateError::Twice(instance));
        }
        if translation.existing == Existing::Rename {
            there.insert(instance.clone(), Present::Package(None));
        }
        names.push(instance);
    }
    Ok(names)
}

/// What a directory has under the name of a package.
enum Present {
    /// A package, with its parameters where they can be read.
    Package(Option<Params>),
    /// A file, or a directory of something else.
    Other,
}

impl Present {
    /// Whether it is this very package.
    fn is(&self, params: &Params) -> bool {
        let Self::Package(Some(own)) = self else { return false };
        ["PKG", "ARCH", "VERSION"].iter().all(|parameter| own.get(parameter) == params.get(parameter))
    }
}

/// What is in a directory under names that packages have.
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
    existing: Existing,
) -> Result<PkgInst, TranslateError> {
    let identical = there.iter().find(|(_, present)| present.is(params)).map(|(name, _)| name);
    match (existing, identical) {
        (Existing::Refuse, Some(identical)) => Err(TranslateError::Identical(identical.clone())),
        (Existing::Refuse, None) if there.contains_key(name) => Err(TranslateError::NameTaken(name.clone())),
        (Existing::Overwrite, Some(identical)) => Ok(identical.clone()),
        (Existing::Overwrite, None) if matches!(there.get(name), Some(Present::Other)) => {
            Err(TranslateError::NoPackageThere(name.clone()))
        }
        (Existing::Rename, _) if there.contains_key(name) => {
            let numbered = (2u32..).map(|number| PkgInst::new(&format!("{}.{number}", name.abbreviation())));
            let mut free =
                numbered.skip_while(|name| name.as_ref().is_ok_and(|name| there.contains_key(name)));
            Ok(free.next().unwrap_or_else(|| Ok(name.clone()))?)
        }
        _ => Ok(name.clone()),
    }
}

/// Packages that do not have their names yet.
struct Staged<'a> {
    top: &'a Dir,
    mark: String,
    names: Vec<PkgInst>,
}

impl Staged<'_> {
    /// Where a package is written: a name with a dot before it is no package's.
    fn private(&self, instance: &PkgInst) -> Vec<u8> {
        format!(".{instance}.{}", self.mark).into_bytes()
    }

    /// Where a package is that had its name before.
    fn old(&self, instance: &PkgInst) -> Vec<u8> {
        format!(".{instance}.{}.old", self.mark).into_bytes()
    }

    fn write(&self, translation: &Translation, observer: &mut Observer<'_>) -> Result<(), TranslateError> {
        for ((index, package), instance) in translation.packages().zip(&self.names) {
            let transferred = Transferred { name: spooled_name(package), instance: instance.to_string() };
            (observer.transferring)(&transferred);
            let name = self.private(instance);
            let at = ObjectPath::root().join(&name)?;
            self.top.make_dir(&name, Mode::of(0o700))?;
            let mut tree = Tree { root: self.top.root(), at, package, last: None, made: BTreeSet::new() };
            tree.write(translation, index, observer)?;
            tree.close()?;
        }
        self.top.sync_file_system()?;
        Ok(())
    }

    /// Gives the packages their names.
    fn publish(&self, observer: &Observer<'_>) -> Result<(), TranslateError> {
        observer.check()?;
        for instance in &self.names {
            let (private, name) = (self.private(instance), instance.as_str().as_bytes());
            if self.top.look(name)?.is_none() {
                self.top.rename(&private, name)?;
                continue;
            }
            match self.top.exchange(&private, self.top, name) {
                // Not every file system can exchange two names; there the old one goes first.
                Err(error)
                    if matches!(error.errno(), Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)) =>
                {
                    self.top.rename(name, &self.old(instance))?;
                    self.top.rename(&private, name)?;
                }
                exchanged => exchanged?,
            }
        }
        self.top.sync()?;
        Ok(())
    }

    /// Removes what has or keeps no name.
    fn clear(&self) {
        for instance in &self.names {
            // What cannot be removed is in nobody's way; an error before it is the one to be told.
            let _ = self.top.remove_tree(&self.private(instance));
            let _ = self.top.remove_tree(&self.old(instance));
        }
    }
}

/// The directory of one package that is being written.
struct Tree<'a> {
    root: &'a Root,
    at: ObjectPath,
    package: &'a PackageImage,
    /// The directory that the last file went into.
    last: Option<Dir>,
    /// Directories that were made, by their names below that of the package.
    made: BTreeSet<Vec<u8>>,
}

impl Tree<'_> {
    fn write(
        &mut self,
        translation: &Translation,
        index: usize,
        observer: &Observer<'_>,
    ) -> Result<(), TranslateError> {
        let package = self.package;
        for (name, bytes) in [("pkginfo", &package.pkginfo_bytes), ("pkgmap", &package.pkgmap_bytes)] {
            self.file(name.as_bytes(), package.stamp(name), &mut &bytes[..])?;
        }
        for (name, mut bytes, stamp) in translation.information(package) {
            self.file(name.as_bytes(), stamp, &mut bytes)?;
        }
        if translation.description_only {
            return Ok(());
        }
        let parts: HashMap<&PackagePath, u32> =
            package.files().map(|entry| (&entry.path, entry.part)).collect();
        let device = &translation.device;
        device.source.stream_checked(
            &device.image,
            &mut |which, _| which == index,
            &mut |_, path, delivered, data: &mut dyn Read| {
                observer.check()?;
                let name = member_name(path, parts.get(path).copied().unwrap_or(1));
                self.file(&name, delivered.stamp, &mut Attended { data, interrupt: observer.interrupt })
            },
        )
    }

    /// Makes a file, and the directories above it that are not there yet.
    fn file(&mut self, name: &[u8], stamp: Stamp, data: &mut dyn Read) -> Result<(), TranslateError> {
        let path = self.at.join(name)?;
        let parent = path.parent().unwrap_or_else(ObjectPath::root);
        let dir = match self.last.take() {
            Some(dir) if *dir.path() == parent => dir,
            _ => self.directory(name)?,
        };
        let mut file = BufWriter::with_capacity(1 << 16, dir.create(path.name())?);
        let copied = io::copy(data, &mut file).and_then(|_| file.flush());
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        let file = copied.and(file).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
            crate::root::RootError::Call { action: "write", path: self.root.show(&path), errno }
        })?;
        file.set_mode(Mode::of(stamp.mode & PERMISSIONS))?;
        file.set_mtime(Timestamp::whole(stamp.mtime))?;
        self.last = Some(dir);
        Ok(())
    }

    /// The directory that a file of this name goes into.
    fn directory(&mut self, name: &[u8]) -> Result<Dir, TranslateError> {
        let mut dir = self.root.dir(&self.at)?;
        let mut start = 0;
        for (slash, _) in name.iter().enumerate().filter(|(_, byte)| **byte == b'/') {
            let (above, component) = (name.get(..slash).unwrap_or_default(), name.get(start..slash));
            let component = component.unwrap_or_default();
            dir = if self.made.insert(above.to_vec()) {
                dir.make_dir(component, Mode::of(DIRECTORY))?
            } else {
                dir.dir(component)?
            };
            start = slash + 1;
        }
        Ok(dir)
    }

    /// Gives the directories their times, those inside others first, and the package its mode.
    fn close(self) -> Result<(), TranslateError> {
        let mtime = Timestamp::whole(self.package.stamp("pkgmap").mtime);
        for name in self.made.iter().rev() {
            let path = self.at.join(name)?;
            let parent = self.root.dir(&path.parent().unwrap_or_else(ObjectPath::root))?;
            parent.set_mtime(path.name(), mtime)?;
        }
        let top = self.root.dir(&ObjectPath::root())?;
        top.set_mode(self.at.name(), Mode::of(DIRECTORY))?;
        Ok(top.set_mtime(self.at.name(), mtime)?)
    }
}
