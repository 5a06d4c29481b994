//! `DIR/.patchadm-index`: the facts read of each patch of a directory, so that an unchanged one is not read again.
//!
//! The format is JSON lines. A file that cannot be read, or belongs to another user, counts as empty: everything is read
//! then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_inputs::depot::DepotPatch;
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

const NAME: &[u8] = b".patchadm-index";

/// The largest file that is read, in bytes.
const LARGEST: u64 = 128 << 20;

/// The program name in private names.
const PROGRAM: &str = "depot-index";

/// The facts that were read of a file or directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KnownPatch {
    /// Its name.
    pub(super) name: String,
    /// Its size, times and inode at that time.
    pub(super) stamp: String,
    /// The entry of the patch, without flags.
    pub(super) entry: Option<DepotPatch>,
    /// The release of the system that the patch is for, as `5.10`, if it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) os_release: Option<String>,
    /// The defect, if there is no entry and the file is not something other than a patch.
    pub(super) reason: Option<String>,
}

/// The facts that were read before, by name.
pub(super) type KnownPatches = BTreeMap<String, KnownPatch>;

/// Reads the known facts.
pub(super) fn read_known(top: &Dir) -> KnownPatches {
    let is_own = |seen: patchadm_rootfs::ObjectStatus| {
        top.itself().is_ok_and(|itself| itself.uid == seen.uid) && seen.mode.bits() & 0o022 == 0
    };
    if !top.look(NAME).ok().flatten().is_some_and(is_own) {
        return KnownPatches::new();
    }
    let text = top.read_regular(NAME, LARGEST).ok().flatten().unwrap_or_default();
    let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let known = lines.map(serde_json::from_slice::<KnownPatch>);
    known.map_while(Result::ok).map(|known| (known.name.clone(), known)).collect()
}

/// Replaces the known facts. The name need not be durable: what is lost is read again.
pub(super) fn write_known<'k>(
    top: &Dir,
    known: impl Iterator<Item = &'k KnownPatch>,
) -> Result<(), RootError> {
    let mut text = Vec::new();
    for known in known {
        // These are strings and numbers: serialising them cannot fail.
        text.append(&mut serde_json::to_vec(known).unwrap_or_default());
        text.push(b'\n');
    }
    top.remove_leftovers(PROGRAM)?;
    top.replace_file(PROGRAM, NAME, &text, Mode::of(0o644))
}
