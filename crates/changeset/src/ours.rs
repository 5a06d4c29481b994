//! Whose a directory is: what nobody else can have put there is believed.

use patchadm_rootfs::{FileType, ObjectStatus, Root};
use patchadm_svr4::package::rule::holds;

/// Returns the reason why an object is not a directory of ours alone, if there is one.
pub(crate) fn why_not_ours(root: &Root, seen: &ObjectStatus) -> patchadm_rootfs::Result<Option<String>> {
    if seen.file_type != FileType::Directory {
        return Ok(Some("is not a directory".to_owned()));
    }
    let caller = rustix::process::geteuid().as_raw();
    let is_trusted = root.is_trusted() && seen.uid == root.owner()?.0;
    if !holds("stray.owner", seen.uid == 0 || seen.uid == caller || is_trusted) {
        return Ok(Some(format!("belongs to uid {}", seen.uid)));
    }
    let is_shared = seen.mode.bits() & 0o022 != 0;
    Ok((!holds("stray.writable", !is_shared)).then(|| "can be written by others".to_owned()))
}
