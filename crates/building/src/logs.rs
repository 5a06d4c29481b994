//! The logs of builds: reading, following, and splitting into phases.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use patchadm_bulk_values::journal::BulkRunEnd;
use patchadm_rootfs::{Dir, RootError, WritableFile};
use patchadm_svr4::package::Mode;

use crate::runs::{find_logs, read_journal};
use crate::sandbox::phase_of;
use crate::space::RoomWatch;
use crate::work::{BulkWork, RUNS, made, numbered_directories};

const LARGEST: u64 = 1 << 30;

const PART: usize = 1 << 16;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("there is no log of {0}")]
    None(String),
    #[error(transparent)]
    Root(#[from] RootError),
}

pub fn read_log(work: &BulkWork, package: &str, run: Option<u64>) -> Result<Vec<u8>, LogError> {
    let none = || LogError::None(package.to_owned());
    if package.contains('/') {
        return Err(none());
    }
    let runs = work.directory(RUNS)?;
    let numbers = numbered_directories(&runs)?;
    for number in numbers.into_iter().rev().filter(|number| run.is_none_or(|run| run == *number)) {
        let Some(logs) = find_logs(&runs, number)? else { continue };
        if let Some(log) = logs.read_regular(format!("{package}.log").as_bytes(), LARGEST)? {
            return Ok(log);
        }
    }
    Err(none())
}

/// Further phases are appended to the last one.
const MOST_PHASES: usize = 100;

pub fn log_of_phase(log: &[u8], phase: &str) -> Option<Vec<u8>> {
    phases_of_log(log).remove(phase)
}

/// Splits a log into phases, each with its first line. Output before the first phase is dropped.
fn phases_of_log(log: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut phases: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut current: Option<String> = None;
    for line in log.split_inclusive(|&byte| byte == b'\n') {
        let begins = phase_of(line).filter(|name| phases.len() < MOST_PHASES || phases.contains_key(name));
        current = begins.or(current);
        if let Some(phase) = &current {
            phases.entry(phase.clone()).or_default().extend_from_slice(line);
        }
    }
    phases
}

/// Writes a log for each phase of a failed build (`build.log` and so on, as pbulk does) beside its log. The log
/// is read part by part, because its recipe chooses how long it is.
pub(crate) fn write_phase_logs(logs: &Dir, package: &str) -> Result<(), RootError> {
    remove_phase_logs(logs, package)?;
    let name = format!("{package}.log").into_bytes();
    let Some(directory) = phase_directory(package) else { return Ok(()) };
    if logs.look(&name)?.is_none() {
        return Ok(());
    }
    let failed = |error: io::Error| logs.read_error(&name, &error);
    let log = logs.open_regular(&name)?;
    let mut room = RoomWatch::begin(logs, log.metadata().map_err(failed)?.len())?;
    let mut reader = BufReader::with_capacity(PART, log);
    let mut files: BTreeMap<String, WritableFile> = BTreeMap::new();
    let (mut current, mut text): (Option<String>, Vec<u8>) = (None, Vec::new());
    let (mut line, mut is_begin) = (Vec::new(), true);
    loop {
        line.clear();
        let read = reader.by_ref().take(PART as u64).read_until(b'\n', &mut line).map_err(failed)?;
        let phase = phase_of(&line).filter(|_| is_begin);
        let phase = phase.filter(|name| files.len() < MOST_PHASES || files.contains_key(name));
        if read == 0 || phase.is_some() || text.len() >= PART {
            if let Some(file) = current.as_ref().and_then(|phase| files.get_mut(phase)) {
                room.add(&text)?;
                file.put(&text)?;
            }
            text.clear();
        }
        if read == 0 {
            return Ok(());
        }
        if let Some(phase) = phase {
            if let Entry::Vacant(new) = files.entry(phase.clone()) {
                let file = made(logs, directory)?.create(format!("{phase}.log").as_bytes())?;
                file.set_mode(Mode::of(0o644))?;
                new.insert(file);
            }
            current = Some(phase);
        }
        is_begin = line.ends_with(b"\n");
        text.extend_from_slice(&line);
    }
}

pub(crate) fn remove_phase_logs(logs: &Dir, package: &str) -> Result<(), RootError> {
    match phase_directory(package) {
        Some(name) if logs.look(name)?.is_some() => logs.remove_tree(name),
        _ => Ok(()),
    }
}

pub(crate) fn find_phase_logs(logs: &Dir, package: &str) -> Result<Option<Dir>, RootError> {
    match phase_directory(package) {
        Some(name) if logs.look(name)?.is_some() => logs.dir(name).map(Some),
        _ => Ok(None),
    }
}

/// Returns the directory for phase logs. `x-1.log` has none, because it would have the name of `x-1`'s log.
fn phase_directory(package: &str) -> Option<&[u8]> {
    let name = package.as_bytes();
    (!name.ends_with(b".log")).then_some(name)
}

/// A log that is read while it is written.
#[derive(Debug)]
pub struct LogFollower<'a> {
    work: &'a BulkWork,
    package: &'a str,
    run: u64,
    /// Inode of the open file, and the offset.
    read: Option<(u64, u64)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogNews {
    Bytes(Vec<u8>),
    /// The build goes on.
    Nothing,
    /// The build or the run is over.
    End,
}

impl<'a> LogFollower<'a> {
    pub fn of(work: &'a BulkWork, package: &'a str, run: u64) -> Self {
        Self { work, package, run, read: None }
    }

    /// Returns the news. A log that restarted is read from its beginning.
    pub fn next_news(&mut self) -> Result<LogNews, LogError> {
        // Checked first, so that everything written before the end is read.
        let is_over = self.is_over()?;
        let bytes = self.new_bytes(is_over)?;
        Ok(match (bytes.is_empty(), is_over) {
            (false, _) => LogNews::Bytes(bytes),
            (true, true) => LogNews::End,
            (true, false) => LogNews::Nothing,
        })
    }

    fn new_bytes(&mut self, is_over: bool) -> Result<Vec<u8>, LogError> {
        let runs = self.work.directory(RUNS)?;
        let name = format!("{}.log", self.package);
        let Some(logs) = find_logs(&runs, self.run)?.filter(|_| !self.package.contains('/')) else {
            return Ok(Vec::new());
        };
        if logs.look(name.as_bytes())?.is_none() {
            return Ok(Vec::new());
        }
        let failed = |error: &io::Error| logs.read_error(name.as_bytes(), error);
        let file: File = logs.open_regular(name.as_bytes())?;
        let seen = file.metadata().map_err(|error| failed(&error))?;
        let offset = match self.read {
            Some((inode, read)) if inode == seen.ino() && read <= seen.len() => read,
            _ => 0,
        };
        let mut bytes = vec![0; PART];
        let count = file.read_at(&mut bytes, offset).map_err(|error| failed(&error))?;
        bytes.truncate(count);
        if !is_over || count == PART {
            bytes.truncate(whole_letters(&bytes));
        }
        self.read = Some((seen.ino(), offset + bytes.len() as u64));
        Ok(bytes)
    }

    fn is_over(&self) -> Result<bool, LogError> {
        let is_locked = BulkWork::is_locked(self.work).unwrap_or(true);
        let read = read_journal(&self.work.directory(RUNS)?, self.run)?;
        let Ok(Some((state, _))) = read else { return Ok(!is_locked) };
        let has_state =
            state.packages.contains_key(self.package) && !state.running.contains_key(self.package);
        Ok(!is_locked || state.end != BulkRunEnd::Unfinished || has_state)
    }
}

/// Counts trailing bytes of an incomplete UTF-8 character.
fn whole_letters(bytes: &[u8]) -> usize {
    let begins = |byte: &u8| *byte & 0xc0 != 0x80;
    let Some(last) = bytes.iter().rev().take(4).position(begins).map(|back| bytes.len() - 1 - back) else {
        return bytes.len();
    };
    let length = match bytes.get(last) {
        Some(0xc2..=0xdf) => 2,
        Some(0xe0..=0xef) => 3,
        Some(0xf0..=0xf4) => 4,
        _ => 1,
    };
    if last + length > bytes.len() { last } else { bytes.len() }
}

pub fn last_run(work: &BulkWork) -> Result<Option<u64>, RootError> {
    Ok(numbered_directories(&work.directory(RUNS)?)?.last().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_divided_at_the_lines_that_begin_a_phase() {
        let log = b"installed\n===> phase: build\ncc a.c\n===> phase: x y\n===> phase: check\nit is\n===> phase: build\nend";
        let phases = phases_of_log(log);
        assert_eq!(phases.keys().collect::<Vec<_>>(), ["build", "check"]);
        let build = "===> phase: build\ncc a.c\n===> phase: x y\n===> phase: build\nend";
        assert_eq!(log_of_phase(log, "build").as_deref(), Some(build.as_bytes()));
        assert_eq!(log_of_phase(log, "install"), None);
    }

    #[test]
    fn neither_many_phases_nor_long_names_nor_a_package_with_the_name_of_a_log_stand_in_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Dir::of_host(dir.path()).unwrap();
        let put = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        let long = "x".repeat(300);
        let many = (0..1_000)
            .fold(String::new(), |text, n| text + &format!("===> phase: {n}\n===> phase: {long}{n}\n"));
        put("a-1.log", &many);
        write_phase_logs(&logs, "a-1").unwrap();
        assert_eq!(find_phase_logs(&logs, "a-1").unwrap().unwrap().names().unwrap().len(), MOST_PHASES);
        put("a-1.log.log", "===> phase: build\nno\n");
        write_phase_logs(&logs, "a-1.log").unwrap();
        assert!(find_phase_logs(&logs, "a-1.log").unwrap().is_none());
        remove_phase_logs(&logs, "a-1.log").unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("a-1.log")).unwrap(), many);
        remove_phase_logs(&logs, "a-1").unwrap();
        assert!(!dir.path().join("a-1").exists());
    }

    #[test]
    fn the_logs_of_phases_are_written_part_by_part_and_a_long_line_begins_none_in_its_middle() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Dir::of_host(dir.path()).unwrap();
        let long = "y".repeat(PART);
        let log = format!(
            "no phase\n===> phase: one\n{long}===> phase: no\n{long}\n===> phase: two\nx\n===> phase: one\nend"
        );
        std::fs::write(dir.path().join("a-1.log"), &log).unwrap();
        write_phase_logs(&logs, "a-1").unwrap();
        let expected = phases_of_log(log.as_bytes());
        assert_eq!(expected.keys().collect::<Vec<_>>(), ["one", "two"]);
        for (phase, text) in expected {
            let written = std::fs::read(dir.path().join(format!("a-1/{phase}.log"))).unwrap();
            assert!(written == text, "{phase}: {} bytes, not {}", written.len(), text.len());
        }
        assert!(!dir.path().join("a-1/no.log").exists());
    }

    #[test]
    fn a_letter_that_is_not_there_whole_is_left_for_the_next_time() {
        let text = "caf\u{e9} \u{20ac} \u{1f600}".as_bytes();
        for end in 0..=text.len() {
            let whole = whole_letters(&text[..end]);
            assert!(std::str::from_utf8(&text[..whole]).is_ok(), "{end}");
            assert!(end - whole < 4 && (whole == end || std::str::from_utf8(&text[..end]).is_err()), "{end}");
        }
        assert_eq!(
            (whole_letters(b"a\x80\x80\x80\x80"), whole_letters(b"\xff"), whole_letters(b"")),
            (5, 1, 0)
        );
    }
}
