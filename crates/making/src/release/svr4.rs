//! SVR4 packages: a directory or a datastream, read as `pkgadd` reads them.
//!
//! Paths must be below BASEDIR. A directory with neither mode nor owner (`?`) belongs to another package and is left
//! out. Sizes and sums are compared with the pkgmap.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use super::archive::content_of;
use super::{ContentReader, PackageIdentity, ReleaseForm, ReleasePackage, ReleaseProblem, SvrDescription};
use patchadm_inputs::source::{Extent, Image, Origin, PackageImage, Source, SourceError, open};
use patchadm_releases::{
    Device, FileContent, LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep,
};
use patchadm_rootfs::{Sums, Timestamp};
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::{Ftype, Mode, ObjectPath, PackagePath, Params};

/// Class action scripts are stored separately.
const SCRIPTS: [&str; 6] =
    ["checkinstall", "postinstall", "postremove", "preinstall", "preremove", "request"];

struct SharedSource {
    source: Source,
    image: Image,
}

enum StreamFailure {
    Source(SourceError),
    Sink(io::Error),
}

impl From<SourceError> for StreamFailure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

pub(super) fn read(path: &Path, origin: &str) -> Result<Vec<ReleasePackage>, ReleaseProblem> {
    let (source, image) = open(Origin::Path(path), Extent::Everything).map_err(|error| error.problem)?;
    let mut sums: HashMap<(usize, PackagePath), FileContent> = HashMap::new();
    let mut buffer = vec![0; 1 << 16];
    let streamed = source.stream_checked(&image, &mut |_, _| true, &mut |package, path, _, data| {
        let content = Sums::through(&mut buffer, data).map_err(StreamFailure::Sink)?;
        sums.insert((package, path.clone()), content_of(content));
        Ok(())
    });
    streamed.map_err(|failure| match failure {
        StreamFailure::Source(error) => ReleaseProblem::Svr4(error.problem),
        StreamFailure::Sink(error) => ReleaseProblem::of_archive(error),
    })?;
    let shared = Arc::new(SharedSource { source, image });
    let packages = shared.image.packages.iter().enumerate();
    packages.map(|(number, package)| described(&shared, number, package, &sums, origin)).collect()
}

pub(super) fn identify(path: &Path) -> Result<Vec<PackageIdentity>, ReleaseProblem> {
    let (_, image) = open(Origin::Path(path), Extent::Everything).map_err(|error| error.problem)?;
    let of_package = |package: &PackageImage| {
        let text = |name: &str| Some(package.params.text(name).into_owned()).filter(|text| !text.is_empty());
        let needed = |name: &str| {
            text(name).ok_or_else(|| ReleaseProblem::BadForm(format!("a pkginfo does not state {name}")))
        };
        let name = needed("PKG")?;
        let source = text("SOURCE").unwrap_or_else(|| name.clone());
        Ok(PackageIdentity { arch: needed("ARCH")?, version: needed("VERSION")?, name, source })
    };
    image.packages.iter().map(of_package).collect()
}

fn described(
    shared: &Arc<SharedSource>,
    number: usize,
    package: &PackageImage,
    sums: &HashMap<(usize, PackagePath), FileContent>,
    origin: &str,
) -> Result<ReleasePackage, ReleaseProblem> {
    let params = &package.params;
    let text = |name: &str| Some(params.text(name).into_owned()).filter(|text| !text.is_empty());
    let content = |path: &PackagePath| sums.get(&(number, path.clone())).copied();
    let listed = SvrObjects::of(package)?.list(&content)?;
    let paths =
        listed.iter().filter_map(|(object, path)| Some((path.clone()?, object.path.clone()))).collect();
    let install = || package.install.iter();
    let is_class_script = |name: &str| name.starts_with("i.") || name.starts_with("r.");
    let class_scripts = install().filter(|(name, _)| is_class_script(name));
    let scripts = install().map(|(name, _)| name).filter(|name| SCRIPTS.contains(&name.as_str()));
    Ok(ReleasePackage {
        origin: origin.to_owned(),
        form: ReleaseForm::Svr4,
        name: text("PKG"),
        arch: text("ARCH"),
        version: text("VERSION"),
        source: text("SOURCE").or_else(|| text("PKG")),
        summary: text("NAME"),
        scripts: scripts.cloned().collect(),
        svr4: Some(SvrDescription {
            params: params.clone(),
            class_scripts: class_scripts.map(|(name, text)| (name.clone(), text.clone())).collect(),
        }),
        contents: Box::new(SvrContents { shared: shared.clone(), number, paths }),
        objects: listed.into_iter().map(|(object, _)| object).collect(),
    })
}

struct SvrObjects<'a> {
    base: ObjectPath,
    entries: BTreeMap<ObjectPath, &'a PkgmapEntry>,
}

impl<'a> SvrObjects<'a> {
    fn of(package: &'a PackageImage) -> Result<Self, ReleaseProblem> {
        let base = match package.params.get("BASEDIR") {
            Some(base) => ObjectPath::new(base)?,
            None => ObjectPath::root(),
        };
        let mut entries = BTreeMap::new();
        for entry in package.pkgmap.entries.iter().filter(|entry| !entry.is_information()) {
            let Some(path) = below(&base, &package.params, &entry.path)? else { continue };
            if entries.insert(path.clone(), entry).is_some() {
                return Err(ReleaseProblem::BadForm(format!("two objects are called <{path}>")));
            }
        }
        Ok(Self { base, entries })
    }

    /// Lists objects by path, with their path in the package if they have bytes of their own.
    fn list(
        &self,
        content: &dyn Fn(&PackagePath) -> Option<FileContent>,
    ) -> Result<Vec<(ReleaseObject, Option<PackagePath>)>, ReleaseProblem> {
        let mut names: HashMap<ObjectPath, usize> = HashMap::new();
        for path in self.entries.keys() {
            *names.entry(self.file_of(path)?).or_default() += 1;
        }
        let mut groups: HashMap<ObjectPath, LinkGroup> = HashMap::new();
        let mut found = Vec::with_capacity(self.entries.len());
        for path in self.entries.keys() {
            let file = self.file_of(path)?;
            let Some(entry) = self.entries.get(&file) else { continue };
            let Some(mut object) = object(path.clone(), entry, content)? else { continue };
            if let ReleaseObjectKind::File { links, .. } = &mut object.kind
                && names.get(&file).is_some_and(|&count| count > 1)
            {
                let next = u32::try_from(groups.len()).unwrap_or(u32::MAX);
                *links = Some(*groups.entry(file).or_insert(LinkGroup(next)));
            }
            if let Some(own) = self.entries.get(path) {
                object.class = own.object.class.clone();
            }
            let has_bytes = object.content().is_some();
            found.push((object, has_bytes.then(|| entry.path.clone())));
        }
        Ok(found)
    }

    fn file_of(&self, path: &ObjectPath) -> Result<ObjectPath, ReleaseProblem> {
        let Some(entry) = self.entries.get(path).filter(|entry| entry.object.ftype == Ftype::Link) else {
            return Ok(path.clone());
        };
        let target = entry.object.target.as_deref().unwrap_or_default();
        let within = |found: ObjectPath| strip(&self.base, &found).unwrap_or(found);
        let found = if target.starts_with(b"/") {
            within(ObjectPath::new(target)?)
        } else {
            path.link_source(target)?
        };
        match self.entries.get(&found) {
            // A symbolic link with several names is equivalent to several links.
            Some(entry) if entry.object.ftype.is_regular() || entry.object.ftype == Ftype::Symlink => {
                Ok(found)
            }
            _ => Err(ReleaseProblem::Unsupported(format!(
                "<{path}>, a hard link to <{found}>, which is not a file of the package,"
            ))),
        }
    }
}

fn below(
    base: &ObjectPath,
    params: &Params,
    path: &PackagePath,
) -> Result<Option<ObjectPath>, ReleaseProblem> {
    let full = path.resolve(base, |name| params.get(name).map(<[u8]>::to_vec))?;
    if full == *base {
        return Ok(None);
    }
    let refused = || ReleaseProblem::Unsupported(format!("<{full}>, which is outside BASEDIR {base},"));
    strip(base, &full).map(Some).ok_or_else(refused)
}

fn strip(base: &ObjectPath, full: &ObjectPath) -> Option<ObjectPath> {
    if base.relative().is_empty() {
        return Some(full.clone());
    }
    ObjectPath::new(full.as_bytes().strip_prefix(base.as_bytes())?).ok()
}

fn object(
    path: ObjectPath,
    entry: &PkgmapEntry,
    content: &dyn Fn(&PackagePath) -> Option<FileContent>,
) -> Result<Option<ReleaseObject>, ReleaseProblem> {
    let described = &entry.object;
    let attributes = &described.attributes;
    let kind = match described.ftype {
        Ftype::File | Ftype::Editable | Ftype::Volatile => {
            let missing = || ReleaseProblem::BadForm(format!("<{path}> has no content"));
            let upkeep = match described.ftype {
                Ftype::Editable => Upkeep::Editable,
                Ftype::Volatile => Upkeep::Volatile,
                _ => Upkeep::Delivered,
            };
            ReleaseObjectKind::File {
                content: content(&entry.path).ok_or_else(missing)?,
                upkeep,
                links: None,
            }
        }
        Ftype::Directory if attributes.mode.is_none() && attributes.owner.is_none() => return Ok(None),
        Ftype::Directory => ReleaseObjectKind::Directory { exclusive: false },
        Ftype::Exclusive => ReleaseObjectKind::Directory { exclusive: true },
        Ftype::Symlink => ReleaseObjectKind::Symlink(described.target.clone().unwrap_or_default()),
        Ftype::Pipe => ReleaseObjectKind::Pipe,
        Ftype::Block => ReleaseObjectKind::Block(device(&path, described.device)?),
        Ftype::Character => ReleaseObjectKind::Character(device(&path, described.device)?),
        Ftype::Link | Ftype::Information => return Ok(None),
    };
    // A link has no mode of its own. Any other object needs one for the comparison.
    let mode = if described.ftype == Ftype::Symlink { Some(Mode::of(0o777)) } else { attributes.mode };
    let unknown = || ReleaseProblem::Unsupported(format!("<{path}>, which has no mode in the pkgmap (`?`),"));
    Ok(Some(ReleaseObject {
        mode: mode.ok_or_else(unknown)?,
        kind,
        owner: ObjectOwner { name: attributes.owner.clone(), id: None },
        group: ObjectOwner { name: attributes.group.clone(), id: None },
        mtime: Timestamp::whole(described.content.mtime.unwrap_or_default()),
        xattrs: BTreeMap::new(),
        class: described.class.clone(),
        path,
    }))
}

fn device(path: &ObjectPath, numbers: Option<(Option<u32>, Option<u32>)>) -> Result<Device, ReleaseProblem> {
    match numbers {
        Some((Some(major), Some(minor))) => Ok(Device { major, minor }),
        _ => Err(ReleaseProblem::Unsupported(format!("<{path}>, a device without numbers,"))),
    }
}

struct SvrContents {
    shared: Arc<SharedSource>,
    number: usize,
    paths: Vec<(PackagePath, ObjectPath)>,
}

impl ContentReader for SvrContents {
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut chosen: HashMap<&PackagePath, &ObjectPath> = HashMap::new();
        for (inside, path) in self.paths.iter().filter(|(_, path)| wanted(path)) {
            chosen.entry(inside).or_insert(path);
        }
        let SharedSource { source, image } = &*self.shared;
        let streamed = source.stream(
            image,
            &mut |package, inside| package == self.number && chosen.contains_key(inside),
            &mut |_, inside: &PackagePath, _, data: &mut dyn Read| match chosen.get(inside) {
                Some(path) => sink(path, data).map_err(StreamFailure::Sink),
                None => Ok(()),
            },
        );
        streamed.map_err(|failure| match failure {
            StreamFailure::Sink(error) => error,
            StreamFailure::Source(error) => io::Error::other(error),
        })
    }
}
