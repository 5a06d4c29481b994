//! What tells a stage of ours from whatever else lies where one could be: its name, its owner, its marker.
//!
//! A directory that belongs to the caller or to root, and that nobody else may write, was not made by anybody else, nor
//! was anything in it. Where the caller trusts the owner of the root (`--trust-root`), one of that owner's was made by a
//! run of the owner's. The checks are made on the open directory that is then used.

use crate::format::journal::Run;
use crate::package::rule::holds;
use crate::root::{Dir, FileType, ObjectStatus, Root};
use crate::transaction::error::Cause;

/// The marker in a stage: it says which run and which domain the stage is of.
pub(crate) const MARKER: &[u8] = b"marker";

/// Larger than any marker.
const LARGEST: u64 = 4096;

/// What lies where a stage could be.
pub(crate) enum FoundStage {
    /// Nothing.
    Nothing,
    /// A stage of ours.
    Ours(OwnStage),
    /// Something else: what is said against it, to follow its path.
    Theirs(String),
}

/// A stage of ours, open.
pub(crate) struct OwnStage {
    pub(crate) dir: Dir,
    pub(crate) run: Run,
}

/// The marker of the stage of a domain.
pub(crate) fn marker_text(run: &str, index: usize) -> String {
    format!("{run} {index}\n")
}

/// Opens the stage `name` in `place`, which must be one of the run with the name `run`.
pub(crate) fn open_own(place: &Dir, name: &[u8], run: &[u8]) -> Result<FoundStage, Cause> {
    let theirs = |reason: &str| Ok(FoundStage::Theirs(reason.to_owned()));
    let Some(seen) = place.look(name)? else { return Ok(FoundStage::Nothing) };
    let Some(run) = run_of(run) else { return theirs("does not have the name of a run") };
    if let Some(reason) = stranger(place.root(), &seen)? {
        return Ok(FoundStage::Theirs(reason));
    }
    let dir = match place.dir(name) {
        Err(error) if error.is_not_found() => return Ok(FoundStage::Nothing),
        Err(error) => return Ok(FoundStage::Theirs(format!("cannot be opened ({error})"))),
        Ok(dir) => dir,
    };
    let (seen, above) = (dir.itself()?, place.itself()?);
    if let Some(reason) = stranger(place.root(), &seen)? {
        return Ok(FoundStage::Theirs(reason));
    }
    if !is_on(&seen, &above) {
        return theirs("is a mount point");
    }
    if !holds("stray.marker", is_marked(&dir, &run)?) {
        return theirs("does not have the marker of its run");
    }
    Ok(FoundStage::Ours(OwnStage { dir, run }))
}

/// What is said against something in a root that is not a directory of ours alone.
pub(crate) fn stranger(root: &Root, seen: &ObjectStatus) -> Result<Option<String>, Cause> {
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

/// Whether both are on one mount of one file system.
pub(crate) fn is_on(seen: &ObjectStatus, other: &ObjectStatus) -> bool {
    holds("stray.mount", (seen.mount, seen.file_system) == (other.mount, other.file_system))
}

/// The run of this name, spelt as it is written.
fn run_of(name: &[u8]) -> Option<Run> {
    let text = std::str::from_utf8(name).ok()?;
    Run::parse(text).filter(|run| run.to_string() == text)
}

/// Whether a stage has the marker of its run. One that is empty or torn is that of a run that a power cut ended before it
/// was published, so before its copy of the journal got its name.
fn is_marked(stage: &Dir, run: &Run) -> Result<bool, Cause> {
    let bytes = match stage.look(MARKER)? {
        None => Vec::new(),
        Some(seen) if seen.file_type != FileType::Regular || seen.size > LARGEST => return Ok(false),
        Some(_) => stage.read_regular(MARKER, LARGEST)?.unwrap_or_default(),
    };
    let begun = format!("{run} ").into_bytes();
    let domain = bytes.strip_prefix(begun.as_slice()).and_then(|rest| rest.strip_suffix(b"\n"));
    if domain.is_some_and(|domain| !domain.is_empty() && domain.iter().all(u8::is_ascii_digit)) {
        return Ok(true);
    }
    let is_torn = begun.starts_with(&bytes)
        || bytes.strip_prefix(begun.as_slice()).is_some_and(|rest| rest.iter().all(u8::is_ascii_digit))
        || bytes.iter().all(|byte| *byte == 0);
    Ok(is_torn && stage.look(b"journal")?.is_none())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::{Mode, ObjectPath};
    use crate::root::Root;

    /// A root, and a directory in it.
    fn directory() -> (tempfile::TempDir, Root, ObjectStatus) {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path()).unwrap();
        let seen = root.dir(&ObjectPath::root()).unwrap().itself().unwrap();
        (place, root, ObjectStatus { mode: Mode::of(0o755), ..seen })
    }

    #[test]
    fn a_directory_of_somebody_else_or_for_others_to_write_is_a_strangers() {
        let (_place, root, own) = directory();
        let against = |seen: ObjectStatus| stranger(&root, &seen).unwrap();
        assert_eq!(against(own.clone()), None);
        assert_eq!(
            against(ObjectStatus { uid: 54_321, ..own.clone() }),
            Some("belongs to uid 54321".to_owned())
        );
        for bits in [0o775, 0o757] {
            let shared = ObjectStatus { mode: Mode::of(bits), ..own.clone() };
            assert_eq!(against(shared), Some("can be written by others".to_owned()));
        }
    }

    #[test]
    fn a_directory_of_another_mount_is_not_on_the_same() {
        let (_place, _root, seen) = directory();
        assert!(is_on(&seen, &seen));
        assert!(!is_on(&seen, &ObjectStatus { mount: seen.mount + 1, ..seen.clone() }));
        let (major, minor) = seen.file_system;
        assert!(!is_on(&seen, &ObjectStatus { file_system: (major, minor + 1), ..seen.clone() }));
    }
}
