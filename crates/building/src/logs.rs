//! The logs of builds: reading, following, and splitting into phases.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};

use patchadm_bulk_values::journal::BulkRunEnd;
use patchadm_rootfs::{Dir, FileType, RootError, WritableFile};
use patchadm_svr4::package::Mode;

use crate::runs::{find_logs, read_journal};
use crate::sandbox::phase_of;
use crate::space::RoomWatch;
use crate::work::{BulkWork, RUNS, made, numbered_directories};

const PART: usize = 1 << 16;

/// Further phases are appended to the last one.
const MOST_PHASES: usize = 100;

/// The bytes at the end of a log that its last lines are looked for in.
const LONGEST_END: u64 = 1 << 16;

const LAST_LINES: usize = 20;

/// The most characters of a line at the end of a log.
const LONGEST_LINE: usize = 400;

#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("there is no log of {0}")]
    None(String),
    #[error(transparent)]
    Root(#[from] RootError),
}

/// Reads a log part by part, because its recipe chooses how long it and its lines are.
#[derive(Debug)]
pub struct LogReader {
    logs: Dir,
    name: Vec<u8>,
    log: BufReader<File>,
    phases: BTreeSet<String>,
    phase: Option<String>,
    is_begin: bool,
}

impl LogReader {
    /// Opens the log of a run, or the newest one.
    pub fn of(work: &BulkWork, package: &str, run: Option<u64>) -> Result<Self, LogError> {
        let none = || LogError::None(package.to_owned());
        if package.contains('/') {
            return Err(none());
        }
        let runs = work.directory(RUNS)?;
        let numbers = numbered_directories(&runs)?;
        for number in numbers.into_iter().rev().filter(|number| run.is_none_or(|run| run == *number)) {
            let Some(logs) = find_logs(&runs, number)? else { continue };
            if let Some(log) = Self::find(logs, package)? {
                return Ok(log);
            }
        }
        Err(none())
    }

    fn find(logs: Dir, package: &str) -> Result<Option<Self>, RootError> {
        let name = format!("{package}.log").into_bytes();
        if logs.look(&name)?.is_none_or(|seen| seen.file_type != FileType::Regular) {
            return Ok(None);
        }
        let log = BufReader::with_capacity(PART, logs.open_regular(&name)?);
        Ok(Some(Self { logs, name, log, phases: BTreeSet::new(), phase: None, is_begin: true }))
    }

    /// Returns the next part of the log, or of one of its phases with the lines that begin it. Empty at the end.
    pub fn next_part(&mut self, phase: Option<&str>) -> Result<Vec<u8>, LogError> {
        let (mut part, mut line) = (Vec::new(), Vec::new());
        while part.len() < PART && self.next_line(&mut line)? {
            if phase.is_none_or(|phase| self.phase.as_deref() == Some(phase)) {
                part.extend_from_slice(&line);
            }
        }
        Ok(part)
    }

    /// Reads a line, or a part of a long one, and notes its phase. Returns false at the end.
    fn next_line(&mut self, line: &mut Vec<u8>) -> Result<bool, RootError> {
        line.clear();
        let read = self.log.by_ref().take(PART as u64).read_until(b'\n', line);
        let read = read.map_err(|error| self.logs.read_error(&self.name, &error))?;
        let phase = phase_of(line).filter(|_| self.is_begin);
        let phase = phase.filter(|name| self.phases.len() < MOST_PHASES || self.phases.contains(name));
        if let Some(phase) = phase {
            self.phases.insert(phase.clone());
            self.phase = Some(phase);
        }
        self.is_begin = line.ends_with(b"\n");
        Ok(read > 0)
    }

    /// Returns the last lines, long ones without their ends.
    pub(crate) fn last_lines(mut self) -> Result<Vec<String>, LogError> {
        let (mut end, file) = (Vec::new(), self.log.get_mut());
        let read = file.metadata().and_then(|seen| {
            file.seek(SeekFrom::Start(seen.len().saturating_sub(LONGEST_END)))?;
            file.take(LONGEST_END).read_to_end(&mut end)
        });
        read.map_err(|error| self.logs.read_error(&self.name, &error))?;
        let end = String::from_utf8_lossy(&end);
        let mut lines: Vec<String> = end.lines().rev().take(LAST_LINES).map(without_end).collect();
        lines.reverse();
        Ok(lines)
    }
}

fn without_end(line: &str) -> String {
    match line.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}\u{2026}", line.get(..end).unwrap_or_default()),
        None => line.to_owned(),
    }
}

/// Writes a log for each phase of a failed build (`build.log` and so on, as pbulk does) beside its log. Output before the
/// first phase is dropped.
pub(crate) fn write_phase_logs(logs: &Dir, package: &str) -> Result<(), RootError> {
    remove_phase_logs(logs, package)?;
    let Some(directory) = phase_directory(package) else { return Ok(()) };
    let Some(mut log) = LogReader::find(logs.again()?, package)? else { return Ok(()) };
    let seen = log.log.get_ref().metadata().map_err(|error| logs.read_error(&log.name, &error))?;
    let mut room = RoomWatch::begin(logs, seen.len())?;
    let mut files: BTreeMap<String, WritableFile> = BTreeMap::new();
    let (mut current, mut text, mut line): (Option<String>, Vec<u8>, Vec<u8>) =
        (None, Vec::new(), Vec::new());
    loop {
        let is_there = log.next_line(&mut line)?;
        let is_other = log.phase != current;
        if !is_there || is_other || text.len() >= PART {
            if let Some(file) = current.as_ref().and_then(|phase| files.get_mut(phase)) {
                room.add(&text)?;
                file.put(&text)?;
            }
            text.clear();
        }
        if !is_there {
            return Ok(());
        }
        if let Some(phase) = log.phase.as_ref().filter(|_| is_other) {
            if let Entry::Vacant(new) = files.entry(phase.clone()) {
                let file = made(logs, directory)?.create(format!("{phase}.log").as_bytes())?;
                file.set_mode(Mode::of(0o644))?;
                new.insert(file);
            }
            current = Some(phase.clone());
        }
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

    /// Returns a phase of a log, or all of it, part by part.
    fn parts(logs: &Dir, package: &str, phase: Option<&str>) -> Vec<Vec<u8>> {
        let mut log = LogReader::find(logs.again().unwrap(), package).unwrap().unwrap();
        std::iter::from_fn(|| Some(log.next_part(phase).unwrap()).filter(|part| !part.is_empty())).collect()
    }

    #[test]
    fn a_log_is_divided_at_the_lines_that_begin_a_phase() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Dir::of_host(dir.path()).unwrap();
        let log = "installed\n===> phase: build\ncc a.c\n===> phase: x y\n===> phase: check\nit is\n===> phase: build\nend";
        std::fs::write(dir.path().join("a-1.log"), log).unwrap();
        let shown = |phase| String::from_utf8(parts(&logs, "a-1", phase).concat()).unwrap();
        let build = "===> phase: build\ncc a.c\n===> phase: x y\n===> phase: build\nend";
        assert_eq!(shown(Some("build")), build);
        assert_eq!(shown(Some("check")), "===> phase: check\nit is\n");
        assert_eq!((shown(Some("install")).as_str(), shown(None).as_str()), ("", log));
    }

    #[test]
    fn a_log_with_a_long_line_is_read_in_small_parts() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Dir::of_host(dir.path()).unwrap();
        let log = format!("===> phase: one\n{}\n===> phase: two\n", "<".repeat(10 * PART));
        std::fs::write(dir.path().join("a-1.log"), &log).unwrap();
        let all = parts(&logs, "a-1", None);
        assert!(all.concat() == log.as_bytes() && all.iter().all(|part| part.len() < 2 * PART));
        assert_eq!(parts(&logs, "a-1", Some("two")), [b"===> phase: two\n".to_vec()]);
    }

    #[test]
    fn the_end_of_a_log_has_few_short_lines_however_long_they_are() {
        let dir = tempfile::tempdir().unwrap();
        let logs = Dir::of_host(dir.path()).unwrap();
        let end = |text: &str| {
            std::fs::write(dir.path().join("a-1.log"), text).unwrap();
            LogReader::find(logs.again().unwrap(), "a-1").unwrap().unwrap().last_lines().unwrap()
        };
        assert_eq!(end(""), Vec::<String>::new());
        assert_eq!(end("one\r\ntwo"), ["one", "two"]);
        let many = (0..30).map(|number| format!("line {number}\n")).collect::<Vec<_>>().concat();
        let lines = end(&many);
        assert_eq!((lines.len(), lines[0].as_str(), lines[19].as_str()), (20, "line 10", "line 29"));
        let cut = format!("{}\u{2026}", "\u{e9}".repeat(LONGEST_LINE));
        assert_eq!(end(&format!("{}\nend\n", "\u{e9}".repeat(LONGEST_LINE + 1))), [cut.as_str(), "end"]);
        let whole = "x".repeat(LONGEST_LINE);
        assert_eq!(end(&whole), [whole]);
        let lines = end(&"<".repeat(1 << 20));
        assert_eq!((lines.len(), lines[0].chars().count()), (1, LONGEST_LINE + 1));
        assert_eq!(end(&"\n".repeat(1 << 20)), vec![String::new(); LAST_LINES]);
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
        let one = format!("===> phase: one\n{long}===> phase: no\n{long}\n===> phase: one\nend");
        for (phase, text) in [("one", one.as_str()), ("two", "===> phase: two\nx\n")] {
            let written = std::fs::read(dir.path().join(format!("a-1/{phase}.log"))).unwrap();
            assert!(written == text.as_bytes(), "{phase}: {} bytes, not {}", written.len(), text.len());
            assert!(parts(&logs, "a-1", Some(phase)).concat() == written, "{phase}");
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
