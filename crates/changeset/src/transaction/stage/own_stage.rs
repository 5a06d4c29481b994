//! Recognizes this program's own stages by name, owner and marker.
//!
//! If a directory belongs to the caller or to root, and no one else may write to it, then no one else made it or
//! anything in it. If the caller trusts the owner of the root (`--trust-root`), a directory of that owner was made by
//! one of the owner's runs. The checks apply to the open directory that is then used.

use crate::format::run::Run;
use crate::ours::why_not_ours;
use crate::transaction::error::Cause;
use patchadm_rootfs::{Dir, FileType, ObjectStatus};
use patchadm_svr4::package::rule::holds;

/// The marker file in a stage, which names the run and the domain of the stage.
pub(crate) const MARKER: &[u8] = b"marker";

/// The largest marker that is read, in bytes.
const LARGEST: u64 = 4096;

/// The object found where a stage could be.
pub(crate) enum FoundStage {
    Nothing,
    /// A stage of ours.
    Ours(OwnStage),
    /// Any other object, with the reason, which continues a sentence about its path.
    Theirs(String),
}

/// An open stage of ours.
pub(crate) struct OwnStage {
    pub(crate) dir: Dir,
    pub(crate) run: Run,
}

/// Returns the marker of the stage of a domain.
pub(crate) fn marker_text(run: &str, index: usize) -> String {
    format!("{run} {index}\n")
}

/// Opens the stage `name` in `place`, which must belong to the run named `run`.
pub(crate) fn open_own(place: &Dir, name: &[u8], run: &[u8]) -> Result<FoundStage, Cause> {
    let theirs = |reason: &str| Ok(FoundStage::Theirs(reason.to_owned()));
    let Some(seen) = place.look(name)? else { return Ok(FoundStage::Nothing) };
    let Some(run) = run_of(run) else { return theirs("does not have the name of a run") };
    if let Some(reason) = why_not_ours(place.root(), &seen)? {
        return Ok(FoundStage::Theirs(reason));
    }
    let dir = match place.dir(name) {
        Err(error) if error.is_not_found() => return Ok(FoundStage::Nothing),
        Err(error) => return Ok(FoundStage::Theirs(format!("cannot be opened ({error})"))),
        Ok(dir) => dir,
    };
    let (seen, above) = (dir.itself()?, place.itself()?);
    if let Some(reason) = why_not_ours(place.root(), &seen)? {
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

/// Tells whether both are on one mount of one file system.
pub(crate) fn is_on(seen: &ObjectStatus, other: &ObjectStatus) -> bool {
    holds("stray.mount", (seen.mount, seen.file_system) == (other.mount, other.file_system))
}

/// Parses the name of a run in its exact spelling.
fn run_of(name: &[u8]) -> Option<Run> {
    let text = std::str::from_utf8(name).ok()?;
    Run::parse(text).filter(|run| run.to_string() == text)
}

/// Tells whether a stage has the marker of its run. A stage whose marker is empty or torn belongs to a run that a power
/// cut ended before publication, hence before its copy of the journal got its name; a stage without a marker may be in
/// the middle of its removal.
fn is_marked(stage: &Dir, run: &Run) -> Result<bool, Cause> {
    let bytes = match stage.look(MARKER)? {
        None => return Ok(true),
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
    use patchadm_rootfs::Root;
    use patchadm_svr4::package::{Mode, ObjectPath};

    /// Returns a root, and a directory in it.
    fn directory() -> (tempfile::TempDir, Root, ObjectStatus) {
        let place = tempfile::tempdir().unwrap();
        let root = Root::open(place.path()).unwrap();
        let seen = root.dir(&ObjectPath::root()).unwrap().itself().unwrap();
        (place, root, ObjectStatus { mode: Mode::of(0o755), ..seen })
    }

    #[test]
    fn a_directory_of_somebody_else_or_for_others_to_write_is_a_strangers() {
        let (_place, root, own) = directory();
        let against = |seen: ObjectStatus| why_not_ours(&root, &seen).unwrap();
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
