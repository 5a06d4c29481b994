//! Rebuilds a lost old object from the run's undo archive. The journal states what it was; the archive supplies bytes
//! and extended attributes. Attributes are set through a descriptor and the name comes last, so recovery can be
//! repeated.

use std::fs::File;
use std::io::{BufReader, Read};

use crate::format::journal::{Identity, Journal, Op};
use crate::format::manifest::{MANIFEST, RecordedState, UndoManifest, decode};
use crate::limits::LARGEST_OWN_MANIFEST;
use crate::transaction::error::Cause;
use patchadm_rootfs::{CAPABILITY, Dir, FileType, Root, WritableFile};
use patchadm_rootfs::{Sums, Xattrs};
use patchadm_svr4::format::datastream;
use patchadm_svr4::package::rule::holds;
use patchadm_svr4::package::{Mode, ObjectPath};

const UNFINISHED: &[u8] = b".rebuilt";

/// These would act as set-id bits, or vouch for other bytes.
const LEFT_OUT: [&[u8]; 3] = [CAPABILITY, b"security.ima", b"security.evm"];

/// Returns false if an extended attribute was left out.
pub(crate) fn rebuild_object(
    root: &Root,
    journal: &Journal,
    op: &Op,
    stage: &Dir,
    name: &[u8],
) -> Result<bool, Cause> {
    let lost = |reason: &str| Cause::Archive { package: root.show(&op.path), reason: reason.to_owned() };
    let Some((index, member)) = op.undo.as_deref() else {
        return Err(lost(
            "the old object is neither in its place nor in the stage, and this run keeps no undo data",
        ));
    };
    let archive = journal.archives.get(*index).ok_or_else(|| lost("the archive is not named"))?;
    for place in [&archive.staged, &archive.path].into_iter().flatten() {
        if let Some(file) = open(root, place)? {
            let unfinished = [name, UNFINISHED].concat();
            stage.remove_tree(&unfinished)?;
            let is_whole = extract(file, &decode(member), op, stage, &unfinished)?;
            stage.rename(&unfinished, name)?;
            return Ok(is_whole);
        }
    }
    Err(lost("the undo archive does not exist"))
}

fn open(root: &Root, path: &ObjectPath) -> Result<Option<File>, Cause> {
    let Some(parent) = path.parent() else { return Ok(None) };
    match root.dir_if_there(&parent)? {
        Some(dir) if dir.look(path.name())?.is_some() => Ok(Some(dir.open_regular(path.name())?)),
        _ => Ok(None),
    }
}

fn extract(file: File, member: &[u8], op: &Op, stage: &Dir, name: &[u8]) -> Result<bool, Cause> {
    let broken = |reason: String| Cause::Archive { package: op.path.to_string(), reason };
    let old = op.old.as_ref().ok_or_else(|| broken("the journal does not say what it was".to_owned()))?;
    let opened = patchadm_container::open_container(BufReader::new(file))
        .map_err(|error| broken(error.to_string()))?;
    let mut stream = datastream::DatastreamReader::new(BufReader::new(opened.reader))
        .map_err(|e| broken(e.to_string()))?;
    let (mut saved, mut made, manifest_name) = (None, None, format!("install/{MANIFEST}"));
    while stream.next_part().map_err(|error| broken(error.to_string()))?.is_some() {
        while let Some(next) = stream.next_member().map_err(|error| broken(error.to_string()))? {
            if next.path.as_bytes() == manifest_name.as_bytes() {
                let mut bytes = Vec::new();
                let read = (&mut stream).take(LARGEST_OWN_MANIFEST).read_to_end(&mut bytes);
                read.map_err(|error| broken(error.to_string()))?;
                saved = was(&bytes, op).map_err(broken)?;
            } else if next.path.as_bytes() == member && old.file_type == 'f' && made.is_none() {
                made = Some(pour(&mut stream, old, stage, name)?);
            }
        }
    }
    let saved = saved.ok_or_else(|| broken("the object is not in its manifest".to_owned()))?;
    if !holds("rebuild.type", saved.kind.letter() == old.file_type) {
        return Err(broken("the object in it has another type".to_owned()));
    }
    match made {
        Some((file, sums)) => {
            let is_old = sums.size == old.size && old.b3 == Some(sums.b3.into());
            if !holds("rebuild.bytes", is_old) {
                stage.remove(name)?;
                return Err(broken("its bytes differ from those that were replaced".to_owned()));
            }
            file_attributes(&saved, old, &file)
        }
        None if old.file_type == 'f' => Err(broken("the bytes of the object are not in it".to_owned())),
        None => {
            make_node(&saved, old, stage, name)?;
            attributes(&saved, old, stage, name)
        }
    }
}

fn pour(
    from: &mut impl Read,
    old: &Identity,
    stage: &Dir,
    name: &[u8],
) -> Result<(WritableFile, Sums), Cause> {
    let mut file = stage.create(name)?;
    let mut bytes = from.take(old.size.saturating_add(1));
    std::io::copy(&mut bytes, &mut file).map_err(|error| file.write_error(&error))?;
    file.rewind()?;
    let sums = Sums::of(&mut file).map_err(|error| file.write_error(&error))?;
    Ok((file, sums))
}

fn was(manifest: &[u8], op: &Op) -> Result<Option<RecordedState>, String> {
    let manifest = UndoManifest::parse(manifest).map_err(|error| error.to_string())?;
    let expected = op.old.as_ref().and_then(|old| old.b3.as_ref());
    let mut saved = manifest.objects.into_iter().chain(manifest.shlibs).filter(|object| object.was.is_some());
    let found = saved.find(|object| {
        decode(&object.path) == op.path.as_bytes()
            || object.was.as_ref().is_some_and(|was| was.b3.is_some() && was.b3.as_deref() == expected)
    });
    Ok(found.and_then(|object| object.was))
}

fn make_node(saved: &RecordedState, old: &Identity, stage: &Dir, name: &[u8]) -> Result<(), Cause> {
    match saved.kind {
        FileType::Regular => {}
        FileType::Directory => drop(stage.make_dir(name, Mode::of(0o700))?),
        FileType::Symlink => {
            stage.make_symlink(name, &decode(old.target.as_deref().unwrap_or_default()))?;
        }
        FileType::Pipe | FileType::Block | FileType::Character => {
            stage.make_node(name, saved.kind, saved.device.unwrap_or_default())?;
        }
        FileType::Socket => {
            let path = stage.root().show(&stage.at(name));
            return Err(Cause::Unsupported { path, reason: "was a socket, which cannot be restored" });
        }
    }
    Ok(())
}

fn given(saved: &RecordedState) -> (Xattrs, bool) {
    let all = saved.xattrs();
    let is_given =
        |key: &Vec<u8>| !LEFT_OUT.contains(&key.as_slice()) && !key.starts_with(b"trusted.overlay.");
    let given: Xattrs =
        all.iter().filter(|(key, _)| is_given(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
    let is_all = given.len() == all.len();
    (given, is_all)
}

/// In an order in which none resets another.
fn file_attributes(saved: &RecordedState, old: &Identity, file: &WritableFile) -> Result<bool, Cause> {
    if file.is_privileged() {
        file.set_owner(old.uid, old.gid)?;
    }
    let (xattrs, is_all) = given(saved);
    for (key, value) in xattrs.iter().rev() {
        file.set_xattr(key, value)?;
    }
    file.set_mode(Mode::of(old.mode))?;
    file.set_mtime(old.mtime)?;
    Ok(is_all)
}

fn attributes(saved: &RecordedState, old: &Identity, stage: &Dir, name: &[u8]) -> Result<bool, Cause> {
    let gone = || Cause::Changed(stage.root().show(&stage.at(name)));
    let object = stage.hold(name)?.ok_or_else(gone)?;
    if stage.root().is_privileged() {
        object.set_owner(Some(old.uid), Some(old.gid))?;
    }
    let (xattrs, is_all) = given(saved);
    if saved.kind == FileType::Symlink {
        // Calls for attributes and times of a link need its name, even with a descriptor.
        for (key, value) in &xattrs {
            stage.set_xattr(name, key, value)?;
        }
    } else {
        for (key, value) in xattrs.iter().rev() {
            object.set_xattr(key, value)?;
        }
        object.set_mode(Mode::of(old.mode))?;
    }
    if saved.kind != FileType::Directory {
        stage.set_mtime(name, old.mtime)?;
    }
    Ok(is_all)
}
