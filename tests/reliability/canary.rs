//! A tree beside a root that no command may touch: any open, read or change of it is detected.
//!
//! inotify(7) reports everything that is opened, read, written, made, removed or given other attributes, by whatever
//! path it is reached; setting times back hides nothing. A mere stat(2) is not reported.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::inotify::{CreateFlags, Reader, WatchFlags, add_watch, init};

/// A watched tree.
pub(crate) struct Canary {
    fd: OwnedFd,
    watched: BTreeMap<i32, PathBuf>,
    at: PathBuf,
    looks: BTreeMap<PathBuf, Look>,
}

/// Attributes that must not change even if the root has another name for the object: type and mode, owner, group, size,
/// time, and content.
type Look = (u32, u32, u32, u64, (i64, i64), Vec<u8>);

impl Canary {
    /// Watches everything at and below `at`.
    pub(crate) fn watch(at: &Path) -> Self {
        let looks = looks(at);
        // Close events are left out: nothing is closed that was not opened, and a close can come late, because a
        // process that is being started holds descriptors of this one until it executes its program.
        let flags = WatchFlags::ALL_EVENTS - WatchFlags::CLOSE_WRITE - WatchFlags::CLOSE_NOWRITE;
        let fd = init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        let mut watched = BTreeMap::new();
        for path in looks.keys() {
            if !path.is_symlink() {
                watched.insert(add_watch(&fd, path, flags).unwrap(), path.clone());
            }
        }
        Self { fd, watched, at: at.to_owned(), looks }
    }

    /// Events since the last call, caused by any process: `path: OPEN`.
    pub(crate) fn events(&self) -> Vec<String> {
        let mut buffer = [std::mem::MaybeUninit::uninit(); 1 << 14];
        let mut reader = Reader::new(&self.fd, &mut buffer);
        let mut events = Vec::new();
        while let Ok(event) = reader.next() {
            let path = self.watched.get(&event.wd()).cloned().unwrap_or_default();
            let name = event.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            events.push(format!("{}/{name}: {:?}", path.display(), event.events()));
        }
        events
    }

    /// Paths that changed since the last call. The reads that this takes are not reported as events.
    pub(crate) fn changes(&mut self) -> Vec<String> {
        let now = looks(&self.at);
        self.events();
        let paths = self.looks.keys().chain(now.keys());
        let changed = paths.filter(|path| self.looks.get(*path) != now.get(*path));
        let mut changed: Vec<_> = changed.map(|path| path.display().to_string()).collect();
        changed.sort();
        changed.dedup();
        self.looks = now;
        changed
    }
}

fn looks(at: &Path) -> BTreeMap<PathBuf, Look> {
    let (mut found, mut open) = (BTreeMap::new(), vec![at.to_owned()]);
    while let Some(path) = open.pop() {
        let seen = fs::symlink_metadata(&path).unwrap();
        let content = if seen.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
        if seen.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
        let size = if seen.is_dir() { 0 } else { seen.len() };
        let time = (seen.mtime(), seen.mtime_nsec());
        found.insert(path, (seen.mode(), seen.uid(), seen.gid(), size, time, content));
    }
    found
}

#[test]
fn a_canary_tells_of_everything_but_a_look() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "x").unwrap();
    let mut canary = Canary::watch(dir.path());
    let file = dir.path().join("file");
    fs::symlink_metadata(&file).unwrap();
    assert_eq!((canary.events(), canary.changes()), (Vec::new(), Vec::new()));
    fs::read(&file).unwrap();
    assert!(canary.events().iter().any(|event| event.contains("OPEN")));
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(canary.events().iter().any(|event| event.contains("ATTRIB")));
    assert_eq!(canary.changes(), [file.display().to_string()]);
    assert_eq!((canary.events(), canary.changes()), (Vec::new(), Vec::new()));
    fs::write(dir.path().join("new"), "").unwrap();
    assert!(canary.events().iter().any(|event| event.contains("new")));
}
