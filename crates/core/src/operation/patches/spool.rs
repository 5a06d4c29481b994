//! `/var/spool/patch`, where patches wait on the caller's machine. A patch there is named by its id alone, so no other
//! user may have put it there.

use std::path::PathBuf;

use patchadm_rootfs::{ForeignObject, Root, RootError};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::patch::PatchId;

const SPOOL: &[u8] = b"/var/spool/patch";

#[derive(Debug, PartialEq, Eq)]
pub enum SpooledPatch {
    Missing,
    /// Only the caller and the superuser can have put it there.
    Found(PathBuf),
    /// Path, and another user who can have put it there.
    Distrusted(String, ForeignObject),
}

/// `host` is the caller's machine. Every directory, and the patch, must belong to the caller or the superuser, and be
/// writable for nobody else; a sticky bit is not enough.
pub fn spooled_patch(host: &Root, id: &PatchId) -> Result<SpooledPatch, RootError> {
    let spool = ObjectPath::new(SPOOL).and_then(|spool| spool.join(id.to_string().as_bytes()));
    let Ok(path) = spool else { return Ok(SpooledPatch::Missing) };
    let place = host.resolver().locate(&path)?;
    let Some(directory) = place.parent() else { return Ok(SpooledPatch::Missing) };
    let there = host.dir_if_there(&directory)?.map(|dir| dir.look(place.name())).transpose()?;
    if there.flatten().is_none() {
        return Ok(SpooledPatch::Missing);
    }
    Ok(match host.strange_on_the_way(&path)? {
        None => SpooledPatch::Found(PathBuf::from(host.show(&path))),
        Some(stranger) => SpooledPatch::Distrusted(host.show(&path), stranger),
    })
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_patch_is_taken_only_where_nobody_else_may_write() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().canonicalize().unwrap();
        fs::create_dir_all(top.join("var/spool/patch/105181-05")).unwrap();
        let mode =
            |name: &str, mode| fs::set_permissions(top.join(name), Permissions::from_mode(mode)).unwrap();
        for name in ["", "var", "var/spool", "var/spool/patch", "var/spool/patch/105181-05"] {
            mode(name, 0o755);
        }
        let host = Root::open(&top).unwrap();
        let look = |id: &str| spooled_patch(&host, &PatchId::new(id).unwrap()).unwrap();
        assert_eq!(look("105181-05"), SpooledPatch::Found(top.join("var/spool/patch/105181-05")));
        assert_eq!(look("105181-06"), SpooledPatch::Missing);
        for name in ["", "var", "var/spool", "var/spool/patch", "var/spool/patch/105181-05"] {
            mode(name, 0o1777);
            let SpooledPatch::Distrusted(_, stranger) = look("105181-05") else { panic!("{name} is sticky") };
            let shown = top.join(name).display().to_string();
            assert_eq!(stranger.path.trim_end_matches('/'), shown.trim_end_matches('/'));
            mode(name, 0o755);
        }
    }
}
