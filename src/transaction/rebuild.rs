//! An old object that is gone from the stage is made again from the undo archive of the run.

use std::fs::File;
use std::io::{BufReader, Read};

use super::error::Cause;
use crate::format::datastream;
use crate::format::envelope;
use crate::format::journal::{Journal, Op};
use crate::format::manifest::{Kind, MANIFEST, Manifest, State, decode};
use crate::package::{Mode, ObjectPath};
use crate::root::{Dir, Node, Root};

/// A manifest is not larger than this.
const LARGEST_MANIFEST: u64 = 1 << 30;

/// Makes the old object of `op` in the stage, as `name` in `stage`.
pub(super) fn rebuild(
    root: &Root,
    journal: &Journal,
    op: &Op,
    stage: &Dir,
    name: &[u8],
) -> Result<(), Cause> {
    let lost = |reason: &str| Cause::Archive { package: root.show(&op.path), reason: reason.to_owned() };
    let Some((index, member)) = &op.undo else {
        return Err(lost(
            "the old object is neither in its place nor in the stage, and this run keeps no undo data",
        ));
    };
    let archive = journal.archives.get(*index).ok_or_else(|| lost("the archive is not named"))?;
    for place in [&archive.staged, &archive.path].into_iter().flatten() {
        if let Some(file) = open(root, place)? {
            return extract(file, &decode(member), op, stage, name);
        }
    }
    Err(lost("the undo archive is not there"))
}

fn open(root: &Root, path: &ObjectPath) -> Result<Option<File>, Cause> {
    let Some(parent) = path.parent() else { return Ok(None) };
    match root.dir_if_there(&parent)? {
        Some(dir) if dir.look(path.name())?.is_some() => Ok(Some(dir.open_regular(path.name())?)),
        _ => Ok(None),
    }
}

fn extract(file: File, member: &[u8], op: &Op, stage: &Dir, name: &[u8]) -> Result<(), Cause> {
    let broken = |reason: String| Cause::Archive { package: op.path.to_string(), reason };
    let opened = envelope::open(BufReader::new(file)).map_err(|error| broken(error.to_string()))?;
    let mut stream =
        datastream::Reader::open(BufReader::new(opened.reader)).map_err(|e| broken(e.to_string()))?;
    let (mut saved, manifest_name) = (None, format!("install/{MANIFEST}"));
    while stream.next_part().map_err(|error| broken(error.to_string()))?.is_some() {
        while let Some(next) = stream.next_member().map_err(|error| broken(error.to_string()))? {
            if next.path.as_bytes() == manifest_name.as_bytes() {
                let mut bytes = Vec::new();
                let read = (&mut stream).take(LARGEST_MANIFEST).read_to_end(&mut bytes);
                read.map_err(|error| broken(error.to_string()))?;
                saved = was(&bytes, op).map_err(broken)?;
                if saved.as_ref().is_some_and(|saved: &State| saved.kind != Kind::File) {
                    break;
                }
            } else if next.path.as_bytes() == member {
                let mut out = stage.create(name)?;
                std::io::copy(&mut stream, &mut out).map_err(|error| out.write_error(&error))?;
            }
        }
    }
    let saved = saved.ok_or_else(|| broken("the object is not in its manifest".to_owned()))?;
    make_node(&saved, stage, name)?;
    attributes(&saved, stage, name)
}

/// What the manifest says of the old object.
fn was(manifest: &[u8], op: &Op) -> Result<Option<State>, String> {
    let manifest = Manifest::parse(manifest).map_err(|error| error.to_string())?;
    let wanted = op.old.as_ref().and_then(|old| old.sha256.clone());
    let found = manifest.objects.into_iter().find(|object| {
        decode(&object.path) == op.path.as_bytes()
            || object.was.as_ref().is_some_and(|was| was.sha256.is_some() && was.sha256 == wanted)
    });
    Ok(found.and_then(|object| object.was))
}

/// Objects without content.
fn make_node(saved: &State, stage: &Dir, name: &[u8]) -> Result<(), Cause> {
    let (major, minor) = saved.device.unwrap_or_default();
    match saved.kind {
        Kind::File => {}
        Kind::Directory => drop(stage.make_dir(name, Mode::of(saved.mode))?),
        Kind::Symlink => stage.make_symlink(name, &decode(saved.target.as_deref().unwrap_or_default()))?,
        Kind::Pipe => stage.make_node(name, Node::Pipe)?,
        Kind::Block => stage.make_node(name, Node::Block(major, minor))?,
        Kind::Character => stage.make_node(name, Node::Character(major, minor))?,
        Kind::Socket => {
            let path = stage.root().show(&stage.at(name));
            return Err(Cause::Unsupported { path, reason: "was a socket, which cannot be made again" });
        }
    }
    Ok(())
}

fn attributes(saved: &State, stage: &Dir, name: &[u8]) -> Result<(), Cause> {
    if stage.root().is_privileged() {
        stage.set_owner(name, Some(saved.uid), Some(saved.gid))?;
    }
    for (key, value) in saved.xattrs() {
        stage.set_xattr(name, &key, &value)?;
    }
    if saved.kind != Kind::Symlink {
        stage.set_mode(name, Mode::of(saved.mode))?;
    }
    if saved.kind == Kind::Directory {
        return Ok(());
    }
    Ok(stage.set_mtime(name, saved.mtime)?)
}
