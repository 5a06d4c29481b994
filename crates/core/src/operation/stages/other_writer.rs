//! Who beside the superuser may write a stage, a directory in it, or a tree that is no stage.

use super::error::StageError;
use super::walk::TreeRequest;
use crate::operation::failure::Failure;
use patchadm_inputs::database::{places, records};
use patchadm_inputs::stage::{BASES, CacheSide, DIRECTORY, IDENTITY, LeftOut, Scope};
use patchadm_rootfs::{
    ACCESS_LIST, DEFAULT_LIST, Distrust, FileType, Live, ObjectStatus, RecordPlaces, Root, RootError,
    Untrusted,
};
use patchadm_svr4::package::ObjectPath;

/// Returns who beside the superuser may write the directory of a tree, or the files of the stage that it is, in words;
/// `None` if nobody may. These are the checks that the records of a root have to pass.
pub(super) fn other_writer(
    tree: &Root,
    is_stage: bool,
    is_container_asked: bool,
) -> Result<Option<String>, StageError> {
    let own = ObjectPath::root().join(DIRECTORY)?;
    let places = RecordPlaces {
        tree: if is_stage { own.clone() } else { ObjectPath::root() },
        used: Vec::new(),
        stages: None,
        elsewhere: Vec::new(),
    };
    // What a plan shows in a tree says nothing about who may write there.
    let tree = if tree.is_showing() { tree.elsewhere(tree.prefix())? } else { tree.clone() };
    let foreign = if is_container_asked { tree.container_tree()? } else { None };
    let guarded = tree.guarded(places, foreign);
    let looked = || -> Result<(), RootError> {
        guarded.look_at_records()?;
        if is_stage && let Some(own) = guarded.dir_if_there(&own)? {
            for name in own.names_that_are(|name| name == IDENTITY || name.starts_with(BASES))? {
                own.open_seen(&name)?;
            }
        }
        Ok(())
    };
    match looked() {
        Ok(()) => Ok(None),
        Err(RootError::Untrusted(told)) => Ok(Some(words(&told))),
        Err(error) => Err(Failure::from(error).into()),
    }
}

/// Returns who beside the superuser may write the package database of a stage, in words; `None` if nobody may.
pub(super) fn other_writer_of_records(
    tree: &Root,
    interrupt: &(dyn Fn() -> Option<i32> + Sync),
) -> Result<Option<String>, StageError> {
    let tree = if tree.is_showing() { tree.elsewhere(tree.prefix())? } else { tree.clone() };
    // Directories are judged as they are opened, files by what the walk sees of them.
    let guarded = tree.guarded(records(), None);
    let (known, left) = (CacheSide::default(), LeftOut::default());
    let walked = guarded.look_at_records().map_err(StageError::from).and_then(|()| {
        let scope = Scope::new(vec![guarded.resolver().locate(&places::records())?])?;
        let request = TreeRequest { root: &guarded, scope: &scope, left: &left, known: &known, interrupt };
        request.walk(|_| false)
    });
    match walked {
        Ok(walk) => Ok(walk.met.iter().find_map(|met| file_writer(&guarded.show(&met.path), &met.status))),
        Err(StageError::Root(RootError::Untrusted(told))) => Ok(Some(words(&told))),
        Err(error) => Err(error),
    }
}

/// Returns who beside the superuser may write to a file, or replace a link, in words.
fn file_writer(path: &str, seen: &ObjectStatus) -> Option<String> {
    let bits = if seen.file_type == FileType::Symlink { 0 } else { seen.mode.bits() };
    if seen.uid != 0 {
        Some(format!("{path} belongs to uid {}", seen.uid))
    } else if bits & 0o002 != 0 {
        Some(format!("everybody may write {path}"))
    } else {
        (bits & 0o020 != 0 && seen.gid != 0).then(|| format!("the group of {path} may write it"))
    }
}

/// Returns who beside the superuser may write to a directory in a tree, in words; `None` if nobody may.
pub(super) fn writer(directory: &Live) -> Option<String> {
    let bits = directory.mode.bits();
    let is_other_list =
        |name: &Vec<u8>| name.starts_with(b"system.") && name != DEFAULT_LIST && name != ACCESS_LIST;
    let has_list = directory.xattrs.contains_key(ACCESS_LIST);
    if directory.uid != 0 {
        Some(format!("it belongs to uid {}", directory.uid))
    } else if bits & 0o002 != 0 {
        Some("everybody may write to it".to_owned())
    } else if directory.xattrs.keys().any(is_other_list) || has_list && bits & 0o020 != 0 {
        Some("an access list lets others write to it".to_owned())
    } else {
        (bits & 0o020 != 0 && directory.gid != 0).then(|| "its group may write to it".to_owned())
    }
}

fn words(told: &Untrusted) -> String {
    let Untrusted { path, uid, why, .. } = told;
    match why {
        Distrust::Owner => format!("{path} belongs to uid {uid}"),
        Distrust::Group => format!("the group of {path} may write it"),
        Distrust::Others => format!("everybody may write {path}"),
        Distrust::AccessList => format!("an access list lets others write {path}"),
        Distrust::Link => format!("the symbolic link {path} on the way to it belongs to uid {uid}"),
        Distrust::ForeignMount => format!("{path} is on a file system that uid {uid} mounted"),
        Distrust::OtherNamespace => format!("{path} is in another mount namespace"),
        Distrust::Named | Distrust::Engine | Distrust::Overlay => {
            format!("it is in a tree of containers ({path})")
        }
    }
}
