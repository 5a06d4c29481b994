//! Finds the stage that an operand means, a directory or a name, and reads what it says of itself.

use std::ffi::OsStr;
use std::fmt::Display;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use crate::stage::{
    DIRECTORY, IDENTITY, LONGEST_RECORD, ListedStage, StageFileError, StageIdentity, StagesRecord,
    UNFINISHED, stages_record,
};
use patchadm_changeset::records::marker;
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::package::{ObjectPath, PathError};

/// A directory that is a stage, or what is left of one, held open.
#[derive(Debug)]
pub struct FoundStage {
    /// Its path on the host, with all links resolved.
    pub path: PathBuf,
    /// The tree of the stage.
    pub tree: Root,
    /// The directory of its own files.
    pub private: Dir,
    /// Whether `stage new` or `stage drop` was interrupted.
    pub is_unfinished: bool,
    identity: Option<Result<StageIdentity, StageFileError>>,
}

/// The reasons why an operand means no stage that can be used.
#[derive(Debug, thiserror::Error)]
pub enum StageFault {
    /// There is no such directory, and no stage of this name is listed.
    #[error("{0} is no directory, and no stage of the root has this name")]
    Unknown(String),
    /// Several stages of the root have this name.
    #[error("several stages of the root are called {name}: {}", .paths.join(", "))]
    Ambiguous {
        /// The name.
        name: String,
        /// The paths of the stages.
        paths: Vec<String>,
    },
    /// The directory is no stage.
    #[error("{0} is no stage")]
    NoStage(String),
    /// `stage new` was interrupted, or `stage drop`.
    #[error("the stage {0} is not complete: what made it, or was removing it, was interrupted")]
    Unfinished(String),
    /// A file of the stage is damaged or missing.
    #[error("the stage is damaged: {path}: {reason}")]
    Damaged {
        /// The path of the file.
        path: String,
        /// The fault.
        reason: String,
    },
    /// It is a stage of another root.
    #[error("the stage {stage} is of the root {its_root}, and not of {root}")]
    OtherRoot {
        /// The path of the stage.
        stage: String,
        /// The path of its root.
        its_root: String,
        /// The root that was named.
        root: String,
    },
    /// The list of stages of the root is damaged.
    #[error("{path}: {reason}")]
    List {
        /// The path of the list.
        path: String,
        /// The fault.
        reason: StageFileError,
    },
    /// Something cannot be opened or read.
    #[error(transparent)]
    Root(#[from] RootError),
    /// A path cannot be one of a root.
    #[error(transparent)]
    Path(#[from] PathError),
}

/// Finds the stage that `named` means: a directory, else the name of a stage listed for the root.
pub fn find_stage(root: &Root, named: &Path) -> Result<FoundStage, StageFault> {
    if named.is_dir() || named.as_os_str().as_bytes().contains(&b'/') {
        return FoundStage::open(named);
    }
    let mut listed = listed_stages(root)?;
    listed.retain(|stage| stage.name.as_str().as_bytes() == named.as_os_str().as_bytes());
    match listed.as_slice() {
        [] => Err(StageFault::Unknown(named.display().to_string())),
        [one] => FoundStage::open(Path::new(OsStr::from_bytes(one.path.as_bytes()))),
        several => {
            let paths = several.iter().map(|stage| stage.path.to_string()).collect();
            Err(StageFault::Ambiguous { name: named.display().to_string(), paths })
        }
    }
}

/// The stages that a root lists.
fn listed_stages(root: &Root) -> Result<Vec<ListedStage>, StageFault> {
    let place = stages_record();
    let text = root.read(&place, LONGEST_RECORD)?.unwrap_or_default();
    let listed = StagesRecord::parse(&text);
    let listed = listed.map_err(|reason| StageFault::List { path: root.show(&place), reason })?;
    Ok(listed.stages().to_vec())
}

impl FoundStage {
    fn open(path: &Path) -> Result<Self, StageFault> {
        let no_stage = || StageFault::NoStage(path.display().to_string());
        let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let is_none = |error: &RootError| error.is_not_found() || error.errno().is_some_and(is_no_directory);
        let tree = match Root::open(&absolute) {
            Err(error) if is_none(&error) => return Err(no_stage()),
            opened => opened?,
        };
        let private = match tree.dir(&ObjectPath::root())?.dir(DIRECTORY) {
            Err(error) if is_none(&error) => return Err(no_stage()),
            opened => opened?,
        };
        let is_unfinished = private.look(UNFINISHED)?.is_some();
        let identity = private.read_regular(IDENTITY, LONGEST_RECORD)?;
        let path = tree.physical_path()?;
        let identity = identity.map(|text| StageIdentity::parse(&text));
        Ok(Self { path, tree, private, is_unfinished, identity })
    }

    /// Returns the identity of a stage that is complete and of this root.
    pub fn identity_of(&self, root: &Root) -> Result<&StageIdentity, StageFault> {
        if self.is_unfinished {
            return Err(StageFault::Unfinished(self.shown()));
        }
        let identity = self.identity()?;
        let place = ObjectPath::new(root.physical_path()?.as_os_str().as_bytes())?;
        // A root whose records cannot be read now is known by its path alone.
        if identity.is_of(&place, marker(root).ok().flatten().as_deref()) {
            return Ok(identity);
        }
        let (stage, its_root) = (self.shown(), identity.root.to_string());
        Err(StageFault::OtherRoot { stage, its_root, root: place.to_string() })
    }

    /// Returns the identity, if the file is whole.
    pub fn identity(&self) -> Result<&StageIdentity, StageFault> {
        match &self.identity {
            Some(Ok(identity)) => Ok(identity),
            Some(Err(error)) => Err(self.damaged(IDENTITY, error)),
            None => Err(self.damaged(IDENTITY, "it is missing")),
        }
    }

    /// Returns the error that a file of the stage is damaged.
    pub(super) fn damaged(&self, name: &[u8], reason: impl Display) -> StageFault {
        StageFault::Damaged { path: self.tree.show(&self.private.at(name)), reason: reason.to_string() }
    }

    /// Returns the path as text.
    pub(super) fn shown(&self) -> String {
        self.path.display().to_string()
    }
}

fn is_no_directory(errno: rustix::io::Errno) -> bool {
    matches!(errno, rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LINE: &str = "{\"stage\":1,\"id\":\"5f0c2a9be1d47788\",\"name\":\"web\",\"root\":\"@ROOT@\",\
        \"marker\":null,\"created\":\"2026-11-20T23:10:05Z\",\"records\":false,\"owners\":true}\n";

    fn root_with_stage(dir: &Path) -> Root {
        fs::create_dir_all(dir.join("jail/.patchadm-stage")).unwrap();
        fs::create_dir_all(dir.join("var/sadm/patchadm")).unwrap();
        let physical = fs::canonicalize(dir).unwrap();
        let line = LINE.replace("@ROOT@", physical.to_str().unwrap());
        fs::write(dir.join("jail/.patchadm-stage/identity"), line).unwrap();
        let listed = format!(
            "{{\"id\":\"5f0c2a9be1d47788\",\"name\":\"web\",\"path\":\"{}\",\"created\":\"2026-11-20T23:10:05Z\"}}\n",
            physical.join("jail").display()
        );
        fs::write(dir.join("var/sadm/patchadm/stages"), listed).unwrap();
        Root::open(dir).unwrap()
    }

    #[test]
    fn a_stage_is_found_by_its_directory_and_by_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let root = root_with_stage(dir.path());
        for named in [dir.path().join("jail"), PathBuf::from("web")] {
            let stage = find_stage(&root, &named).unwrap();
            assert_eq!(stage.identity_of(&root).unwrap().name.as_str(), "web");
            assert!(stage.path.ends_with("jail"));
        }
        let unknown = find_stage(&root, Path::new("wob")).unwrap_err();
        assert_eq!(unknown.to_string(), "wob is no directory, and no stage of the root has this name");
    }

    #[test]
    fn what_is_no_stage_or_one_of_another_root_or_a_damaged_one_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let root = root_with_stage(dir.path());
        assert!(matches!(find_stage(&root, dir.path()), Err(StageFault::NoStage(_))));
        assert!(matches!(find_stage(&root, &dir.path().join("none")), Err(StageFault::NoStage(_))));
        let stage = || find_stage(&root, &dir.path().join("jail")).unwrap();
        let other = tempfile::tempdir().unwrap();
        let other = Root::open(other.path()).unwrap();
        assert!(matches!(stage().identity_of(&other), Err(StageFault::OtherRoot { .. })));
        let file = |name: &str| dir.path().join("jail/.patchadm-stage").join(name);
        fs::write(file("unfinished"), "").unwrap();
        assert!(matches!(stage().identity_of(&root), Err(StageFault::Unfinished(_))));
        fs::remove_file(file("unfinished")).unwrap();
        fs::write(file("identity"), &LINE[..40]).unwrap();
        assert!(matches!(stage().identity_of(&root), Err(StageFault::Damaged { .. })));
        fs::remove_file(file("identity")).unwrap();
        assert!(matches!(stage().identity(), Err(StageFault::Damaged { .. })));
    }
}
