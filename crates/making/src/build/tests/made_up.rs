//! Releases in memory.

use std::collections::BTreeMap;
use std::io::{self, Read};

use crate::release::{ContentReader, Release, ReleaseForm, ReleasePackage};
use patchadm_releases::{FileContent, LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep};
use patchadm_rootfs::{Digest, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, checksum};

/// When objects were last modified, in seconds since 1970.
pub(crate) const DELIVERED: i64 = 1_577_836_800;

fn root() -> ObjectOwner {
    ObjectOwner { name: Some("root".into()), id: Some(0) }
}

fn object(path: &str, mode: u32, kind: ReleaseObjectKind) -> ReleaseObject {
    ReleaseObject {
        path: ObjectPath::new(path.as_bytes()).unwrap(),
        kind,
        mode: Mode::of(mode),
        owner: root(),
        group: root(),
        mtime: Timestamp::whole(DELIVERED),
        xattrs: BTreeMap::new(),
        class: String::new().into(),
    }
}

/// Returns the sums of some bytes.
pub(crate) fn content(bytes: impl AsRef<[u8]>) -> FileContent {
    let bytes = bytes.as_ref();
    FileContent { size: bytes.len() as u64, cksum: checksum::sum(bytes), digest: Digest::of(bytes) }
}

/// Returns a regular file of root, 0644.
pub(crate) fn file(path: &str, bytes: impl AsRef<[u8]>) -> ReleaseObject {
    let kind = ReleaseObjectKind::File { content: content(bytes), upkeep: Upkeep::Delivered, links: None };
    object(path, 0o644, kind)
}

/// Returns one name of a file with several.
pub(crate) fn link(path: &str, bytes: impl AsRef<[u8]>, group: u32) -> ReleaseObject {
    let links = Some(LinkGroup(group));
    let kind = ReleaseObjectKind::File { content: content(bytes), upkeep: Upkeep::Delivered, links };
    object(path, 0o644, kind)
}

/// Returns a directory of root, 0755.
pub(crate) fn directory(path: &str) -> ReleaseObject {
    object(path, 0o755, ReleaseObjectKind::Directory { exclusive: false })
}

/// Returns a symbolic link.
pub(crate) fn symlink(path: &str, target: &str) -> ReleaseObject {
    object(path, 0o777, ReleaseObjectKind::Symlink(target.as_bytes().to_vec()))
}

/// Content by path.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryContents(pub(crate) BTreeMap<ObjectPath, Vec<u8>>);

impl ContentReader for MemoryContents {
    fn each(
        &self,
        wanted: &dyn Fn(&ObjectPath) -> bool,
        sink: &mut dyn FnMut(&ObjectPath, &mut dyn Read) -> io::Result<()>,
    ) -> io::Result<()> {
        let of_these = self.0.iter().filter(|(path, _)| wanted(path));
        of_these.into_iter().try_for_each(|(path, bytes)| sink(path, &mut &bytes[..]))
    }
}

/// A package of a release, made object by object.
#[derive(Clone, Debug, Default)]
pub(crate) struct MadePackage {
    objects: Vec<ReleaseObject>,
    contents: MemoryContents,
    name: Option<(String, String, String)>,
    source: Option<String>,
}

impl MadePackage {
    /// A tree.
    pub(crate) fn tree() -> Self {
        Self::default()
    }

    /// A Debian package.
    pub(crate) fn deb(name: &str, arch: &str, version: &str) -> Self {
        Self { name: Some((name.to_owned(), arch.to_owned(), version.to_owned())), ..Self::default() }
    }

    /// Adds an object without content.
    pub(crate) fn with(mut self, object: ReleaseObject) -> Self {
        self.objects.push(object);
        self
    }

    /// Adds a file.
    pub(crate) fn file(mut self, path: &str, bytes: impl AsRef<[u8]>) -> Self {
        let object = file(path, &bytes);
        self.contents.0.insert(object.path.clone(), bytes.as_ref().to_vec());
        self.with(object)
    }

    /// Adds a name of a file with several.
    pub(crate) fn link(mut self, path: &str, bytes: impl AsRef<[u8]>, group: u32) -> Self {
        let object = link(path, &bytes, group);
        self.contents.0.insert(object.path.clone(), bytes.as_ref().to_vec());
        self.with(object)
    }

    /// Changes the object that was added last.
    pub(crate) fn but(mut self, change: impl FnOnce(&mut ReleaseObject)) -> Self {
        change(self.objects.last_mut().unwrap());
        self
    }

    /// Returns the package.
    pub(crate) fn package(mut self) -> ReleasePackage {
        self.objects.sort_by(|one, other| one.path.cmp(&other.path));
        let (name, arch, version) = match self.name {
            Some((name, arch, version)) => (Some(name), Some(arch), Some(version)),
            None => (None, None, None),
        };
        ReleasePackage {
            origin: name.clone().unwrap_or_else(|| "tree".to_owned()),
            form: if name.is_some() { ReleaseForm::Deb } else { ReleaseForm::Tree },
            source: self.source.or_else(|| name.clone()),
            name,
            arch,
            version,
            summary: None,
            scripts: Vec::new(),
            svr4: None,
            objects: self.objects,
            contents: Box::new(self.contents),
        }
    }

    /// Returns the release of this package alone.
    pub(crate) fn release(self) -> Release {
        release([self])
    }
}

/// Returns a release of several packages.
pub(crate) fn release(packages: impl IntoIterator<Item = MadePackage>) -> Release {
    let mut packages: Vec<ReleasePackage> = packages.into_iter().map(MadePackage::package).collect();
    packages.sort_by(|one, other| (&one.name, &one.arch).cmp(&(&other.name, &other.arch)));
    Release { name: "release".to_owned(), packages }
}
