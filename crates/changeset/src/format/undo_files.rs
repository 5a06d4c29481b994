//! Undo data as files (patchadm-undo(5)): old objects stay in an *undo directory*, formerly `o/` of a stage. The
//! manifest names these ([`UndoFiles`], [`StoredName`]). `identities` there is a hint, with the objects' status from
//! before the commit: an object with the same status need not be read.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::format::escaped::{decode, encode};
use crate::format::run::Run;
use patchadm_rootfs::{Digest, Inode, ObjectStatus, Timestamp};
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::package::rule::holds;

/// In our own directory, or in `.patchadm` of another mount.
pub const UNDO: &[u8] = b"undo";

const STAGES: &[u8] = b"stage";

/// For stages and undo directories, in the topmost directory of another mount.
pub const HOLDER: &[u8] = b".patchadm";

const LOCAL_STAGE: &str = ".patchadm-";
const LOCAL_UNDO: &str = ".patchadm-undo-";

const LONGEST_NAME: usize = 64;
const MOST_DIRECTORIES: usize = 4096;

/// As in a manifest's header.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UndoFiles {
    pub run: String,
    /// Physical paths inside the root, escaped.
    pub directories: Vec<String>,
}

/// Directory index and name; written `0/17`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoredName {
    /// In [`UndoFiles::directories`].
    pub directory: usize,
    /// As in the stage.
    pub name: String,
}

impl UndoFiles {
    /// The stages become these undo directories.
    pub fn of<'s>(run: &str, stages: impl Iterator<Item = &'s ObjectPath>) -> Option<Self> {
        let directories = stages.map(|stage| Some(encode(undo_directory(stage)?.as_bytes())));
        Some(Self { run: run.to_owned(), directories: directories.collect::<Option<_>>()? })
    }

    /// `None` if no run could have made it there: writers of the root may forge manifests.
    pub fn directory(&self, index: usize) -> Option<ObjectPath> {
        let path = ObjectPath::new(&decode(self.directories.get(index)?)).ok()?;
        holds("undo.files.directory", is_undo_directory(&path, &self.run)).then_some(path)
    }

    pub fn is_possible(&self) -> bool {
        let count = self.directories.len();
        Run::is_name(&self.run)
            && (1..=MOST_DIRECTORIES).contains(&count)
            && (0..count).all(|index| self.directory(index).is_some())
    }
}

impl StoredName {
    /// Reads `0/17`.
    pub fn parse(text: &str) -> Option<Self> {
        let (directory, name) = text.split_once('/')?;
        let is_number = !directory.is_empty() && directory.bytes().all(|byte| byte.is_ascii_digit());
        let directory = directory.parse().ok().filter(|_| is_number)?;
        holds("undo.files.name", is_stored_name(name)).then(|| Self { directory, name: name.to_owned() })
    }
}

impl fmt::Display for StoredName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.directory, self.name)
    }
}

fn is_stored_name(name: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'-';
    name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= LONGEST_NAME
        && name.bytes().all(is_of_name)
}

/// `…/stage/<run>` becomes `…/undo/<run>`, `.patchadm/<run>` becomes `.patchadm/undo/<run>`, and `.patchadm-<run>`
/// becomes `.patchadm-undo-<run>`.
pub fn undo_directory(stage: &ObjectPath) -> Option<ObjectPath> {
    let above = stage.parent()?;
    let name = std::str::from_utf8(stage.name()).ok()?;
    if let Some(run) = name.strip_prefix(LOCAL_STAGE) {
        return above.join(format!("{LOCAL_UNDO}{run}").as_bytes()).ok();
    }
    let holder = if above.name() == STAGES { above.parent()? } else { above };
    holder.join(UNDO).and_then(|undo| undo.join(stage.name())).ok()
}

/// The inverse of [`undo_directory`].
pub fn stage_of(directory: &ObjectPath) -> Option<ObjectPath> {
    let above = directory.parent()?;
    if let Some(run) = directory.name().strip_prefix(LOCAL_UNDO.as_bytes()) {
        return above.join(&[LOCAL_STAGE.as_bytes(), run].concat()).ok();
    }
    let holder = above.parent()?;
    let is_of_mount = holder.name() == HOLDER;
    let stages = if is_of_mount { holder } else { holder.join(STAGES).ok()? };
    stages.join(directory.name()).ok()
}

pub fn run_of_directory(path: &ObjectPath) -> String {
    let name = String::from_utf8_lossy(path.name());
    name.strip_prefix(LOCAL_UNDO).unwrap_or(&name).to_owned()
}

/// True for results of [`undo_directory`] for this run.
pub fn is_undo_directory(path: &ObjectPath, run: &str) -> bool {
    if path.name() == format!("{LOCAL_UNDO}{run}").as_bytes() {
        return true;
    }
    let above = path.parent().filter(|above| above.name() == UNDO && path.name() == run.as_bytes());
    let holder = above.and_then(|above| above.parent());
    // Our own directory may have another name behind a link.
    holder.is_some_and(|holder| !holder.relative().is_empty())
}

/// Stored objects never have such a name.
pub const IDENTITIES: &[u8] = b"identities";

/// Changes with every change of content or attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredIdentity {
    inode: Inode,
    ctime: Timestamp,
    size: u64,
    mtime: Timestamp,
}

impl StoredIdentity {
    pub fn of(seen: &ObjectStatus) -> Self {
        Self { inode: seen.inode, ctime: seen.ctime, size: seen.size, mtime: seen.mtime }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct RunIdentities {
    /// Another run's objects may have the same names.
    run: String,
    objects: BTreeMap<String, StoredIdentity>,
}

/// A digest, and one JSON object with the run and all names.
pub fn write_identities(run: &str, objects: BTreeMap<String, StoredIdentity>) -> Vec<u8> {
    // Serializing names and numbers cannot fail.
    let body = serde_json::to_vec(&RunIdentities { run: run.to_owned(), objects }).unwrap_or_default();
    [Digest::of(&body).to_string().as_bytes(), b"\n", &body].concat()
}

/// Empty if damaged, or of another run.
pub fn parse_identities(text: &[u8], run: &str) -> BTreeMap<String, StoredIdentity> {
    let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
    let (digest, body) = text.split_at(end);
    let body = body.get(1..).unwrap_or_default();
    if digest != Digest::of(body).to_string().as_bytes() {
        return BTreeMap::new();
    }
    let identities: RunIdentities = serde_json::from_slice(body).unwrap_or_default();
    if holds("identities.run", identities.run == run) { identities.objects } else { BTreeMap::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "17-00000000000000ab";

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn each_kind_of_stage_has_its_undo_directory() {
        for (stage, undo) in [
            ("/var/sadm/patchadm/stage/RUN", "/var/sadm/patchadm/undo/RUN"),
            ("/usr/.patchadm/RUN", "/usr/.patchadm/undo/RUN"),
            ("/opt/acme/.patchadm-RUN", "/opt/acme/.patchadm-undo-RUN"),
        ] {
            let (stage, undo) = (path(&stage.replace("RUN", RUN)), path(&undo.replace("RUN", RUN)));
            assert_eq!(undo_directory(&stage).unwrap(), undo);
            assert_eq!((run_of_directory(&undo), stage_of(&undo)), (RUN.to_owned(), Some(stage)));
            assert!(is_undo_directory(&undo, RUN), "{undo}");
        }
    }

    #[test]
    fn no_other_directory_is_believed() {
        for text in ["/etc", "/var/sadm/patchadm/undo/18-00000000000000ab", "/undo/RUN", "/opt/.patchadm-RUN"]
        {
            assert!(!is_undo_directory(&path(&text.replace("RUN", RUN)), RUN), "{text}");
        }
        let files = |directory: &str| UndoFiles {
            run: RUN.to_owned(),
            directories: vec![directory.replace("RUN", RUN)],
        };
        assert!(files("/var/sadm/patchadm/undo/RUN").is_possible());
        for text in ["/etc", "/var/sadm/../undo/RUN"] {
            assert!(!files(text).is_possible(), "{text}");
        }
        assert!(!UndoFiles { directories: Vec::new(), ..files("") }.is_possible());
        assert!(!UndoFiles { run: "17".to_owned(), ..files("/var/undo/17") }.is_possible());
    }

    #[test]
    fn a_stored_name_is_one_that_a_stage_can_have() {
        for text in ["0/17", "12/version-3", "1/copy-0"] {
            assert_eq!(StoredName::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["", "0", "0/", "x/1", "0/..", "0/a/b", "0/.hidden", "-1/3", &format!("0/{}", "1".repeat(65))]
        {
            assert_eq!(StoredName::parse(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_damaged_or_of_another_run_says_nothing() {
        let time = Timestamp { seconds: 7, nanoseconds: 8 };
        let identity = StoredIdentity {
            inode: Inode { number: 5, born: Some(time) },
            ctime: time,
            size: 3,
            mtime: time,
        };
        let all = BTreeMap::from([("17".to_owned(), identity)]);
        let text = write_identities(RUN, all.clone());
        assert_eq!(parse_identities(&text, RUN), all);
        assert!(parse_identities(&text, "18-00000000000000ab").is_empty());
        let mut changed = text.clone();
        *changed.last_mut().unwrap() = b' ';
        assert!(parse_identities(&changed, RUN).is_empty());
        assert!(parse_identities(&text[..text.len() - 4], RUN).is_empty());
        assert!(parse_identities(b"", RUN).is_empty());
    }
}
