//! Failed calls of installf(1M) and removef(1M) within a run, and the disk space reserved for noting them.
//!
//! A script may ignore a failed call, but the run must not: the requested object is missing. Each failure is
//! therefore noted in the stage, where the run looks after each script. The disk may be full by then, so the note file
//! is written at full size when the run begins, and a note replaces blank bytes in it. If even that is impossible, the
//! file is removed, which the run takes for a failure without a reason.

use crate::transaction::error::Cause;
use patchadm_rootfs::{Dir, Root, WritableFile};
use patchadm_svr4::package::{Mode, ObjectPath};

/// The note file in the stage of the first domain.
pub(crate) const NAME: &[u8] = b"failed";

/// The fixed size of the note file, in bytes.
const SIZE: usize = 4096;

/// The longest note, in bytes.
const LONGEST: usize = 1000;

/// The byte that fills the rest of the note file.
const BLANK: u8 = 0;

/// The bytes reserved for the queue of the run: room for some hundred requests.
const QUEUE: u64 = 64 << 10;

/// Writes the note file and reserves room for the queue, in the stage of the first domain.
pub(crate) fn prepare(stage: &Dir) -> Result<(), Cause> {
    write_blank(&stage.open_or_create(NAME, Mode::of(0o600))?)?;
    Ok(stage
        .open_or_create(crate::transaction::journal::installf_queue::NAME, Mode::of(0o600))?
        .reserve_beyond(QUEUE)?)
}

fn write_blank(file: &WritableFile) -> Result<(), Cause> {
    Ok(file.put_at(&[BLANK; SIZE], 0)?)
}

/// Notes in the stage of a run that a call failed. `text` names the call and the reason.
pub fn note_failed_request(root: &Root, stage: &ObjectPath, text: &str) -> Result<(), Cause> {
    let dir = root.dir(stage)?;
    match write_note(&dir, text) {
        Ok(()) => Ok(()),
        Err(_) => Ok(dir.remove(NAME)?),
    }
}

fn write_note(dir: &Dir, text: &str) -> Result<(), Cause> {
    let file = dir.open_or_create(NAME, Mode::of(0o600))?;
    file.lock()?;
    let notes = dir.read(NAME, SIZE as u64)?.unwrap_or_default();
    let end = notes.iter().position(|&byte| byte == BLANK).unwrap_or(notes.len());
    let room = SIZE.saturating_sub(end + 1).min(LONGEST);
    let cut = text.bytes().map(|byte| if byte == BLANK || byte == b'\n' { b' ' } else { byte }).take(room);
    let line: Vec<u8> = cut.chain([b'\n']).collect();
    // Once all bytes are used, later calls are not named; it is already known that calls failed.
    if room > 0 { Ok(file.put_at(&line, end as u64)?) } else { Ok(()) }
}

/// Returns the failures noted since the last call, and clears them.
pub(crate) fn take(stage: &Dir) -> Result<Vec<String>, Cause> {
    let Some(notes) = stage.read(NAME, SIZE as u64)? else {
        // The next failure gets a note again, if there is room by then.
        let _ = prepare(stage);
        return Ok(vec!["installf or removef failed, and there was no room to note why".to_owned()]);
    };
    let lines = notes.split(|&byte| byte == b'\n' || byte == BLANK).filter(|line| !line.is_empty());
    let texts: Vec<String> = lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    if !texts.is_empty() {
        write_blank(&stage.open_or_create(NAME, Mode::of(0o600))?)?;
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage() -> (tempfile::TempDir, Root, ObjectPath) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("stage")).unwrap();
        let root = Root::open(dir.path()).unwrap();
        (dir, root, ObjectPath::new(b"/stage").unwrap())
    }

    #[test]
    fn failures_are_told_once_and_in_order() {
        let (_dir, root, path) = stage();
        let stage = root.dir(&path).unwrap();
        prepare(&stage).unwrap();
        assert_eq!(take(&stage).unwrap(), Vec::<String>::new());
        note_failed_request(&root, &path, "installf: one\nand more").unwrap();
        note_failed_request(&root, &path, "removef: two").unwrap();
        assert_eq!(take(&stage).unwrap(), ["installf: one and more", "removef: two"]);
        assert_eq!(take(&stage).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn many_long_failures_need_no_more_room() {
        let (dir, root, path) = stage();
        let stage = root.dir(&path).unwrap();
        prepare(&stage).unwrap();
        for _ in 0..20 {
            note_failed_request(&root, &path, &"x".repeat(2000)).unwrap();
        }
        assert_eq!(std::fs::metadata(dir.path().join("stage/failed")).unwrap().len(), 4096);
        assert!(take(&stage).unwrap().len() > 3);
    }

    #[test]
    fn a_note_that_is_gone_is_a_failure() {
        let (_dir, root, path) = stage();
        let stage = root.dir(&path).unwrap();
        prepare(&stage).unwrap();
        stage.remove(NAME).unwrap();
        assert_eq!(take(&stage).unwrap().len(), 1);
        assert_eq!(take(&stage).unwrap(), Vec::<String>::new());
    }
}
