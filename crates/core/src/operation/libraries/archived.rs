//! Kept libraries in undo archives (patchadm-undo(5)), which a backout may restore.

use std::collections::{BTreeMap, BTreeSet};

use crate::operation::libraries::planned::MemberKey;
use patchadm_changeset::format::manifest::{ObjectRecord, RecordedState, UndoManifest, decode};
use patchadm_inputs::database::undo_data::{OldRecords, kept_records};
use patchadm_inputs::source::PackageImage;
use patchadm_planning::plan::kept_libraries::ArchivedLibrary;
use patchadm_planning::plan::{Body, Member, NewObject, NewXattrs};
use patchadm_rootfs::{Digest, FileType, Inode, Live, LiveKind, Timestamp};
use patchadm_svr4::package::{ContentsLine, Mode, ObjectPath, PackagePath, PkgInst};

#[derive(Clone, Default)]
pub(in crate::operation) struct ArchivedLibraries {
    pub(super) objects: BTreeMap<ObjectPath, ArchivedLibrary>,
    /// Directories that only these libraries had.
    pub(super) directories: BTreeMap<ObjectPath, ArchivedLibrary>,
    pub(super) packages: BTreeMap<PkgInst, OldRecords>,
    /// Needs without a library when the patches were applied: path, name and digest of the object.
    pub(super) unserved: BTreeSet<(ObjectPath, String, Digest)>,
}

impl ArchivedLibraries {
    /// `index` is the archive's position among the sources. Fails if its records name objects of others.
    pub(in crate::operation) fn add(
        &mut self,
        manifest: &UndoManifest,
        image: &PackageImage,
        index: usize,
    ) -> Result<(), String> {
        for (path, name, digest) in &manifest.header.unserved {
            let digest = digest.strip_prefix("b3:").and_then(Digest::from_hex);
            let path = ObjectPath::new(&decode(path)).ok();
            self.unserved.extend(path.zip(digest).map(|(path, digest)| (path, name.clone(), digest)));
        }
        if manifest.shlibs.is_empty() {
            return Ok(());
        }
        for (package, records) in kept_records(image)? {
            if !manifest.header.kept.iter().any(|name| name == package.as_str()) {
                return Err(format!("it has records of package {package}, which its manifest does not name"));
            }
            // The first archive is that of the last applied patch.
            self.packages.insert(package, records);
        }
        for record in &manifest.shlibs {
            let Some(path) = record.object_path() else { continue };
            let package = record.shlib.as_deref().unwrap_or_default();
            if !manifest.header.kept.iter().any(|name| name == package) {
                return Err(format!("it keeps {path} for {package:?}, which its manifest does not name"));
            }
            if record.line.as_deref().and_then(line_of).is_none_or(|line| line.path != path) {
                return Err(format!("the line of {path}, which it keeps, is not that of this path"));
            }
            if let Some(archived) = archived(record, image, index) {
                let directory = archived.live.is_directory();
                let known = if directory { &mut self.directories } else { &mut self.objects };
                known.insert(path, archived);
            }
        }
        Ok(())
    }

    pub(in crate::operation) fn paths(&self) -> impl Iterator<Item = &ObjectPath> {
        self.objects.keys().chain(self.directories.keys())
    }

    pub(super) fn members(&self) -> impl Iterator<Item = MemberKey> {
        self.objects.values().filter_map(|archived| match &archived.object.body {
            Body::Member(member) => Some((member.package, member.path.clone())),
            _ => None,
        })
    }

    /// Returns such needs of objects that are unchanged since.
    pub(super) fn unserved_of(
        &self,
        digest: impl Fn(&ObjectPath) -> Option<Digest>,
    ) -> BTreeSet<(ObjectPath, String)> {
        let same = self.unserved.iter().filter(|(path, _, known)| digest(path) == Some(*known));
        same.map(|(path, name, _)| (path.clone(), name.clone())).collect()
    }
}

/// The owners are those whose file is there.
fn line_of(line: &str) -> Option<ContentsLine> {
    ContentsLine::parse(&decode(line)).ok()
}

fn archived(record: &ObjectRecord, image: &PackageImage, index: usize) -> Option<ArchivedLibrary> {
    let package = PkgInst::new(record.shlib.as_deref()?).ok()?;
    let line = line_of(record.line.as_deref()?)?;
    let was = record.was.as_ref()?;
    let (body, kind) = match was.kind {
        FileType::Symlink => {
            let target = decode(was.target.as_deref()?).into_owned();
            (Body::Symlink(target.clone()), LiveKind::Symlink(target))
        }
        FileType::Regular => {
            let member = member(record, was, image, index)?;
            let b3 = was.digest()?;
            let kind = LiveKind::Regular { size: member.size, b3, cksum: member.cksum };
            (Body::Member(member), kind)
        }
        FileType::Directory => (Body::Directory, LiveKind::Directory),
        _ => return None,
    };
    let (mode, xattrs) = (Mode::of(was.mode), was.xattrs());
    let (uid, gid, mtime) = (was.uid, was.gid, was.mtime);
    let live = Live {
        kind,
        mode,
        uid,
        gid,
        mtime,
        ctime: Timestamp::default(),
        inode: Inode { number: 0, born: None },
        links: 1,
        xattrs: xattrs.clone(),
        obstacle: None,
    };
    let object = NewObject { body, mode, uid, gid, mtime: Some(mtime), xattrs: NewXattrs::Exact(xattrs) };
    Some(ArchivedLibrary { package, line, object, live })
}

fn member(record: &ObjectRecord, was: &RecordedState, image: &PackageImage, index: usize) -> Option<Member> {
    let path = PackagePath::new(&decode(record.member.as_deref()?)).ok()?;
    let entry = image.files().find(|entry| entry.path == path)?;
    let content = entry.object.content;
    Some(Member {
        package: index,
        path,
        size: content.size?,
        cksum: content.cksum?,
        b3: Some(Box::new(was.digest()?)),
    })
}
