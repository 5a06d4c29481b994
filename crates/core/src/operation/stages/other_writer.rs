//! Who beside the superuser may write a stage, or a tree that is no stage.

use super::error::StageError;
use crate::operation::failure::Failure;
use patchadm_inputs::stage::{BASES, DIRECTORY, IDENTITY};
use patchadm_rootfs::{Distrust, RecordPlaces, Root, RootError, Untrusted};
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
