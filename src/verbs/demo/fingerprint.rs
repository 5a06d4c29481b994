//! One checksum over a whole tree except `var/sadm`.
//!
//! It covers path, type, mode, numeric owner and group, modification time (except of directories, which change with
//! every name), content, link targets, devices, extended attributes, and names of one file.

use std::collections::BTreeMap;

use patchadm_changeset::format::manifest::RecordedState;
use patchadm_svr4::places;

use patchadm_rootfs::{Digest, Digesting, Dir, FileType, Inode, Result, Root, Timestamp};
use patchadm_svr4::package::ObjectPath;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    pub(super) objects: u64,
    pub(super) b3: Digest,
}

/// The tree must be at rest.
pub(super) fn fingerprint(root: &Root) -> Result<Fingerprint> {
    let mut reading = FingerprintReader { b3: Digesting::default(), objects: 0, names: BTreeMap::new() };
    reading.directory(&root.dir(&ObjectPath::root())?)?;
    Ok(Fingerprint { objects: reading.objects, b3: reading.b3.finish() })
}

struct FingerprintReader {
    b3: Digesting,
    objects: u64,
    /// Number of each file with several names.
    names: BTreeMap<Inode, u32>,
}

impl FingerprintReader {
    fn directory(&mut self, dir: &Dir) -> Result<()> {
        for name in dir.names()? {
            let path = dir.at(&name);
            // The records keep their own history.
            if path.as_bytes() == places::RECORDS.as_bytes() {
                continue;
            }
            let Some(live) = dir.live(&name)? else { continue };
            let mut state = RecordedState::of(&live);
            if live.is_directory() {
                state.mtime = Timestamp::default();
            } else if live.links > 1 {
                let next = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                state.group = Some(*self.names.entry(live.inode).or_insert(next));
            }
            self.object(&path, &state);
            if state.kind == FileType::Directory {
                self.directory(&dir.dir(&name)?)?;
            }
        }
        Ok(())
    }

    /// Each part follows its length, so that no two trees give the same bytes.
    fn object(&mut self, path: &ObjectPath, state: &RecordedState) {
        self.objects += 1;
        for part in [path.as_bytes(), format!("{state:?}").as_bytes()] {
            self.b3.update(&(part.len() as u64).to_be_bytes());
            self.b3.update(part);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::time::{Duration, SystemTime};

    use super::*;

    fn of(dir: &Path) -> Fingerprint {
        fingerprint(&Root::open(dir).unwrap()).unwrap()
    }

    fn tree() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("var/sadm")).unwrap();
        fs::write(dir.path().join("a"), "text").unwrap();
        fs::write(dir.path().join("b"), "text").unwrap();
        symlink("a", dir.path().join("s")).unwrap();
        dir
    }

    #[test]
    fn every_attribute_counts() {
        type Touch = fn(&Path);
        let touches: [(&str, Touch); 5] = [
            ("content", |at| fs::write(at.join("a"), "tex7").unwrap()),
            ("mode", |at| fs::set_permissions(at.join("a"), fs::Permissions::from_mode(0o600)).unwrap()),
            ("time", |at| {
                let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(1);
                fs::File::open(at.join("a")).unwrap().set_modified(time).unwrap();
            }),
            ("target", |at| {
                fs::remove_file(at.join("s")).unwrap();
                symlink("b", at.join("s")).unwrap();
            }),
            ("a further name", |at| fs::hard_link(at.join("a"), at.join("c")).unwrap()),
        ];
        for (what, touch) in touches {
            let dir = tree();
            let before = of(dir.path());
            touch(dir.path());
            assert_ne!(of(dir.path()), before, "{what}");
        }
    }

    #[test]
    fn records_and_the_times_of_directories_do_not_count() {
        let dir = tree();
        let before = of(dir.path());
        fs::write(dir.path().join("var/sadm/log"), "more").unwrap();
        fs::File::open(dir.path().join("var")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(of(dir.path()), before);
    }
}
