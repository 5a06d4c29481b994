//! After an interrupted run, a plan is made for the root as recovery would leave it. These functions compare that root
//! with the recovered one, object by object.

use std::collections::BTreeMap;

use patchadm_changeset::transaction::{ForeseenRecovery, foresee_recovery};
use patchadm_rootfs::{Dir, Live, LiveKind, Root, Timestamp};
use patchadm_svr4::package::ObjectPath;

use crate::reliability::stories::Trial;

/// The objects of a root by path, without the records of a recovery about itself, and without attributes that differ by
/// nature: inodes, the number of names, times of directories and of changes.
type Seen = BTreeMap<ObjectPath, Live>;

/// The root as its recovery would leave it; none if there is nothing to recover, or if the result cannot be foreseen.
pub(crate) fn foreseen(trial: &Trial) -> Option<Seen> {
    let root = Root::open(&trial.root()).unwrap();
    match foresee_recovery(&root, None) {
        Ok(ForeseenRecovery::Root(foreseen)) => Some(seen(&foreseen.0)),
        _ => None,
    }
}

pub(crate) fn as_it_is(trial: &Trial) -> Seen {
    seen(&Root::open(&trial.root()).unwrap())
}

/// The differences, one per line.
pub(crate) fn differences(foreseen: &Seen, found: &Seen) -> Vec<String> {
    let paths = foreseen.keys().chain(found.keys().filter(|path| !foreseen.contains_key(*path)));
    let differs = paths.filter(|path| foreseen.get(*path) != found.get(*path));
    differs
        .map(|path| format!("{path}: foreseen {:?}, found {:?}", foreseen.get(path), found.get(path)))
        .collect()
}

fn seen(root: &Root) -> Seen {
    let mut found = Seen::new();
    below(&root.dir(&ObjectPath::root()).unwrap(), &mut found);
    found
}

fn below(directory: &Dir, found: &mut Seen) {
    for name in directory.names().unwrap() {
        let path = directory.at(&name);
        let shown = path.to_string();
        let is_own = ["/var/sadm/patchadm", "/var/sadm/install/.lockfile"].contains(&shown.as_str());
        let is_log = shown.starts_with("/var/sadm/patch/") && shown.ends_with("/log");
        if is_own || is_log || shown.contains("/.patchadm") {
            continue;
        }
        let Some(mut live) = directory.live(&name).unwrap() else { continue };
        live.ctime = Timestamp::default();
        live.inode.number = 0;
        live.inode.born = None;
        live.links = 0;
        if live.kind == LiveKind::Directory {
            live.mtime = Timestamp::default();
            below(&directory.dir(&name).unwrap(), found);
        }
        found.insert(path, live);
    }
}
