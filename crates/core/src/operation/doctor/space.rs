//! Room for undo data where it is kept.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::examination::Examination;
use super::finding::Finding;
use patchadm_inputs::database::policy;
use patchadm_rootfs::{Dir, FreeSpace, Result};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;

/// The room below which no patch of any size should be expected to go in: bytes and objects.
const TOO_LITTLE: (u64, u64) = (16 << 20, 100);

/// The room below which a large patch may not go in.
const LITTLE: (u64, u64) = (256 << 20, 1000);

/// Free space for undo data. A patch is planned with the room that it needs; this is only a warning before.
pub(super) fn undo_space(examination: &Examination<'_>) -> Vec<Finding> {
    let Ok(settings) = &examination.policy else {
        return vec![Finding::unknown("space", "the policy does not say where undo data goes")];
    };
    let (shown, place) = match &settings.undo_dir {
        Some(directory) => (directory.display().to_string(), outside(examination, directory)),
        None => (examination.root.show(&places::packages()), records(examination)),
    };
    vec![match place.and_then(|place| place.map(|place| place.space()).transpose()) {
        Ok(Some(space)) => judged(&shown, space, examination),
        Ok(None) if settings.undo_dir.is_some() => {
            Finding::attention("space", format!("undo data goes to {shown}, which is not there"))
        }
        Ok(None) => Finding::unknown("space", format!("{shown} is not there")),
        Err(error) if error.is_refused_access() => Finding::unknown("space", error.to_string()),
        Err(error) => Finding::attention("space", error.to_string()),
    }]
}

/// Opens the directory that the policy names: inside the root where its own policy names one to the superuser, else on the host.
fn outside(examination: &Examination<'_>, directory: &Path) -> Result<Option<Dir>> {
    let root = examination.root;
    if root.is_bounded() && !root.is_system() && !policy::is_of_caller(root) {
        let path = ObjectPath::new(directory.as_os_str().as_bytes());
        return path.map_or(Ok(None), |path| examination.directory(&path));
    }
    match Dir::of_host(directory) {
        Err(error) if error.is_not_found() => Ok(None),
        opened => opened.map(Some),
    }
}

fn records(examination: &Examination<'_>) -> Result<Option<Dir>> {
    examination.directory(&places::packages())
}

fn judged(shown: &str, FreeSpace { bytes, inodes, .. }: FreeSpace, examination: &Examination<'_>) -> Finding {
    let is_below = |(least, objects)| bytes < least || inodes.is_some_and(|free| free < objects);
    let objects = inodes.filter(|free| *free < LITTLE.1);
    let objects = objects.map(|free| format!(" and {free} objects")).unwrap_or_default();
    let size = if bytes >> 34 > 0 { format!("{} GiB", bytes >> 30) } else { format!("{} MiB", bytes >> 20) };
    let text = format!("{size}{objects} free for undo data in {shown}");
    let superseded = examination.wording().verb("commit --superseded");
    match (is_below(TOO_LITTLE), is_below(LITTLE)) {
        (true, _) => Finding::attention("space", text).with_command(superseded),
        (_, true) => Finding::limited("space", text).with_command(superseded),
        _ => Finding::ok("space", text),
    }
}
