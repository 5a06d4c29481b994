//! The log of a task: output of its commands up to a limit, and its phases.

use patchadm_rootfs::{Dir, RootError, WritableFile};

use crate::space::RoomWatch;

/// Followed by the name of a phase.
pub const PHASE_LINE: &[u8] = b"===> phase: ";

const LONGEST_PHASE: usize = 64;

#[derive(Debug)]
pub struct TaskLog {
    file: WritableFile,
    written: u64,
    limit: Option<u64>,
    /// The incomplete line, while it can become a phase line.
    line: Vec<u8>,
    room: Option<RoomWatch<Dir>>,
}

impl TaskLog {
    /// `limit` is in bytes.
    pub fn begin(file: WritableFile, limit: Option<u64>) -> Self {
        Self { file, written: 0, limit, line: Vec::new(), room: None }
    }

    /// Returns the log of a file in this directory, whose file system keeps a reserve.
    pub(crate) fn leaving_reserve(self, dir: &Dir) -> Result<Self, RootError> {
        Ok(Self { room: Some(RoomWatch::begin(dir.again()?, 0)?), ..self })
    }

    pub fn written(&self) -> u64 {
        self.written
    }

    pub fn is_full(&self) -> bool {
        self.limit.is_some_and(|limit| self.written >= limit)
    }

    /// Adds output up to the limit, and calls `begins` for each new phase.
    pub fn add(&mut self, bytes: &[u8], mut begins: impl FnMut(String)) -> Result<(), RootError> {
        let room = self.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit.saturating_sub(self.written)).unwrap_or(usize::MAX)
        });
        let kept = bytes.get(..room.min(bytes.len())).unwrap_or(bytes);
        if let Some(room) = &mut self.room {
            room.add(kept)?;
        }
        self.file.put(kept)?;
        self.written += kept.len() as u64;
        for piece in kept.split_inclusive(|&byte| byte == b'\n') {
            let longest = PHASE_LINE.len() + LONGEST_PHASE + 1;
            self.line.extend(piece.iter().take(longest.saturating_sub(self.line.len())));
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                if let Some(name) = phase_of(&line) {
                    begins(name);
                }
            }
        }
        Ok(())
    }
}

pub(crate) fn phase_of(line: &[u8]) -> Option<String> {
    let name = line.strip_prefix(PHASE_LINE)?.strip_suffix(b"\n")?;
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
    ((1..=LONGEST_PHASE).contains(&name.len()) && name.iter().all(is_name))
        .then(|| String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(limit: Option<u64>) -> (tempfile::TempDir, TaskLog) {
        let dir = tempfile::tempdir().unwrap();
        let file = Dir::of_host(dir.path()).unwrap().create(b"log").unwrap();
        (dir, TaskLog::begin(file, limit))
    }

    #[test]
    fn a_phase_is_found_wherever_its_line_is_cut() {
        let (_dir, mut log) = log(None);
        let mut phases = Vec::new();
        for piece in ["a line\n===> ph", "ase: conf", "igure\n===> phase: x y\n", "  ===> phase: no\n"] {
            log.add(piece.as_bytes(), |name| phases.push(name)).unwrap();
        }
        assert_eq!(phases, ["configure"]);
    }

    #[test]
    fn a_log_keeps_all_up_to_its_limit_and_no_byte_more() {
        let (dir, mut log) = log(Some(10));
        log.add(b"12345678", |_| {}).unwrap();
        assert!(!log.is_full());
        log.add(b"90abcdef", |_| {}).unwrap();
        assert!(log.is_full());
        assert_eq!(std::fs::read(dir.path().join("log")).unwrap(), b"1234567890");
    }
}
