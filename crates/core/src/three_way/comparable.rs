//! Objects of a base, a stage or a root in the form for comparing trees: owners by number, and only the attributes that
//! count.

use std::collections::BTreeMap;

use patchadm_changeset::format::manifest::{RecordedState, decode};
use patchadm_inputs::stage::ComparedAttributes;
use patchadm_releases::{
    Device, FileContent, LinkGroup, ObjectOwner, ReleaseObject, ReleaseObjectKind, Upkeep,
};
use patchadm_rootfs::{FileType, Live, LiveKind, Timestamp};
use patchadm_svr4::package::{Mode, ObjectPath, Word};

/// Returns an object as it was recorded; `None` for a socket.
pub fn of_recorded(
    path: &ObjectPath,
    state: &RecordedState,
    compared: ComparedAttributes,
) -> Option<ReleaseObject> {
    let device = || state.device.map(|(major, minor)| Device { major, minor });
    let kind = match state.kind {
        FileType::Regular => {
            let (size, digest) = (state.size?, state.digest()?);
            file(FileContent { size, cksum: 0, digest }, state.group)
        }
        FileType::Directory => ReleaseObjectKind::Directory { exclusive: false },
        FileType::Symlink => ReleaseObjectKind::Symlink(decode(state.target.as_deref()?).into_owned()),
        FileType::Pipe => ReleaseObjectKind::Pipe,
        FileType::Block => ReleaseObjectKind::Block(device()?),
        FileType::Character => ReleaseObjectKind::Character(device()?),
        FileType::Socket => return None,
    };
    let seen = Attributes {
        mode: Mode::of(state.mode),
        uid: state.uid,
        gid: state.gid,
        mtime: state.mtime,
        xattrs: state.xattrs(),
    };
    Some(seen.object(path, kind, compared))
}

/// Returns an object as it was read from a tree; `None` for a socket. Objects with the same `group` are names of one file.
pub fn of_live(
    path: &ObjectPath,
    live: &Live,
    group: Option<u32>,
    compared: ComparedAttributes,
) -> Option<ReleaseObject> {
    let kind = match &live.kind {
        LiveKind::Regular { size, b3, cksum } => {
            file(FileContent { size: *size, cksum: *cksum, digest: *b3 }, group)
        }
        LiveKind::Directory => ReleaseObjectKind::Directory { exclusive: false },
        LiveKind::Symlink(target) => ReleaseObjectKind::Symlink(target.clone()),
        LiveKind::Pipe => ReleaseObjectKind::Pipe,
        LiveKind::Device { block: true, major, minor } => {
            ReleaseObjectKind::Block(Device { major: *major, minor: *minor })
        }
        LiveKind::Device { major, minor, .. } => {
            ReleaseObjectKind::Character(Device { major: *major, minor: *minor })
        }
        LiveKind::Socket => return None,
    };
    let seen = Attributes {
        mode: live.mode,
        uid: live.uid,
        gid: live.gid,
        mtime: live.mtime,
        xattrs: live.xattrs.clone(),
    };
    Some(seen.object(path, kind, compared))
}

fn file(content: FileContent, group: Option<u32>) -> ReleaseObjectKind {
    ReleaseObjectKind::File { content, upkeep: Upkeep::Delivered, links: group.map(LinkGroup) }
}

fn owner(compared: ComparedAttributes, id: u32) -> ObjectOwner {
    ObjectOwner { name: None, id: compared.owners.then_some(id) }
}

/// The attributes that every type of object has.
struct Attributes {
    mode: Mode,
    uid: u32,
    gid: u32,
    mtime: Timestamp,
    xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Attributes {
    fn object(
        self,
        path: &ObjectPath,
        kind: ReleaseObjectKind,
        compared: ComparedAttributes,
    ) -> ReleaseObject {
        let mut xattrs = self.xattrs;
        xattrs.retain(|name, _| compared.has_xattr(name));
        ReleaseObject {
            path: path.clone(),
            kind,
            mode: compared.mode(self.mode),
            owner: owner(compared, self.uid),
            group: owner(compared, self.gid),
            mtime: self.mtime,
            xattrs,
            class: Word::default(),
        }
    }
}
