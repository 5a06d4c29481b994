//! `DIR/.patchadm-index`: what was read of each patch of a directory, so that an unchanged one is not read again.
//!
//! JSON lines. A file that cannot be read, or is somebody else's, is one that knows nothing: everything is read then.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use patchadm_inputs::depot::DepotPatch;
use patchadm_rootfs::{Dir, RootError};
use patchadm_svr4::package::Mode;

const NAME: &[u8] = b".patchadm-index";

/// The largest file that is read, in bytes.
const LARGEST: u64 = 128 << 20;

/// The part of private names that tells whose they are.
const PROGRAM: &str = "depot-index";

/// What was read of a file or directory.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct KnownPatch {
    /// Its name.
    pub(super) name: String,
    /// Size, times and inode at that time.
    pub(super) stamp: String,
    /// The entry of the patch, without flags.
    pub(super) entry: Option<DepotPatch>,
    /// The release of the system that the patch is for, as `5.10`, where it names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) os_release: Option<String>,
    /// What is wrong with it, where there is no entry and it is not something else than a patch.
    pub(super) reason: Option<String>,
}

/// What was read before, by name.
pub(super) type KnownPatches = BTreeMap<String, KnownPatch>;

/// Reads what is known.
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

/// Replaces what is known. The name need not be durable: what is lost is read again.
pub(super) fn write_known<'k>(
    top: &Dir,
    known: impl Iterator<Item = &'k KnownPatch>,
) -> Result<(), RootError> {
    let mut text = Vec::new();
    for known in known {
        // Strings and numbers: serialising these cannot fail.
        text.append(&mut serde_json::to_vec(known).unwrap_or_default());
        text.push(b'\n');
    }
    top.remove_leftovers(PROGRAM)?;
    top.replace_file(PROGRAM, NAME, &text, Mode::of(0o644))
}
