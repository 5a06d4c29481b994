//! Libraries that stay for other files, checked after the last script has run: if a script removed or changed one, the run
//! is given up.

use std::collections::BTreeMap;

use super::halt::RunHalt;
use patchadm_changeset::format::manifest::{RecordedState, StateDifferences};
use patchadm_changeset::transaction::Cause;
use patchadm_rootfs::{Live, LiveKind, Root};
use patchadm_svr4::package::ObjectPath;

/// The objects that stay, as they were before the run.
pub(crate) type StayingObjects = BTreeMap<ObjectPath, Live>;

/// Checks that all of them are unchanged.
pub(crate) fn check_staying(root: &Root, staying: &StayingObjects) -> Result<(), RunHalt> {
    for (path, before) in staying {
        let now = root.live_at(&root.resolver().locate(path)?)?;
        if now.is_none_or(|now| !is_same(before, &now)) {
            let what = "is kept for programs that need it, and a script changed it or took it away";
            return Err(Cause::Script(format!("{} {what}", root.show(path))).into());
        }
    }
    Ok(())
}

fn is_same(before: &Live, now: &Live) -> bool {
    let differ = StateDifferences::between(&RecordedState::of(before), &RecordedState::of(now));
    let is_link = matches!(before.kind, LiveKind::Symlink(_));
    !differ.is_of_content() && (is_link || differ.mode == 0 && !differ.owner && !differ.mtime)
}
