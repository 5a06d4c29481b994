//! Files below `/proc` with bounds: any user can make those of their processes as long as they like, and slow to read.
//! The caller decides what an overrun means, usually that the process has whatever is looked for.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Read};
use std::path::Path;

/// True ends the reading.
pub type Stop<'a> = &'a dyn Fn() -> bool;

/// In bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcBounds {
    /// Of a line without its end.
    pub line: usize,
    pub file: u64,
}

impl ProcBounds {
    /// `maps` and `smaps`. Their paths have no limit; nobody but an attacker needs one of 64 KiB.
    pub const MAPPINGS: Self = Self { line: 64 << 10, file: 128 << 20 };
    /// `mountinfo`. A line also has the layers of an overlay.
    pub const MOUNTS: Self = Self { line: 1 << 20, file: 64 << 20 };
    /// `environ`. execve(2) takes at most 6 MiB; prctl(2) can make it any part of the address space.
    pub const ENVIRONMENT: Self = Self { line: 6 << 20, file: 6 << 20 };
    /// `fdinfo/N`, with locks, and what an epoll(7) or inotify(7) file watches.
    pub const DESCRIPTOR: Self = Self { line: 64 << 10, file: 16 << 20 };
}

#[derive(Debug, thiserror::Error)]
pub enum ProcReadError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is too long")]
    TooLong,
    #[error("interrupted")]
    Stopped,
}

impl ProcReadError {
    /// False if the file is gone or closed, as after the end of its process.
    pub fn is_overrun(&self) -> bool {
        !matches!(self, Self::Io(_))
    }
}

impl From<ProcReadError> for io::Error {
    fn from(error: ProcReadError) -> Self {
        match error {
            ProcReadError::Io(error) => error,
            ProcReadError::TooLong => io::ErrorKind::FileTooLarge.into(),
            ProcReadError::Stopped => io::ErrorKind::Interrupted.into(),
        }
    }
}

/// Lines of a file below `/proc`, one at a time.
pub struct ProcLines<'a, R = File> {
    input: BufReader<R>,
    line: Vec<u8>,
    longest: usize,
    /// Bytes of the file that may still be read.
    left: u64,
    end: u8,
    stop: Stop<'a>,
}

impl<'a> ProcLines<'a> {
    pub fn open(path: &Path, bounds: ProcBounds, stop: Stop<'a>) -> io::Result<Self> {
        Ok(Self::of(File::open(path)?, bounds, stop))
    }
}

impl<'a, R: Read> ProcLines<'a, R> {
    pub fn of(input: R, ProcBounds { line, file }: ProcBounds, stop: Stop<'a>) -> Self {
        let input = BufReader::new(input);
        Self { input, line: Vec::new(), longest: line, left: file, end: b'\n', stop }
    }

    /// For lists such as `environ`, whose lines end with another byte.
    #[must_use]
    pub fn ending_with(self, end: u8) -> Self {
        Self { end, ..self }
    }

    /// Returns the next line without its end; `None` at the end of the file.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, ProcReadError> {
        self.line.clear();
        loop {
            if (self.stop)() {
                return Err(ProcReadError::Stopped);
            }
            let read = match self.input.fill_buf() {
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            };
            if read.is_empty() {
                return Ok(if self.line.is_empty() { None } else { Some(&self.line) });
            }
            let end = read.iter().position(|byte| *byte == self.end);
            let piece = end.and_then(|end| read.get(..end)).unwrap_or(read);
            let used = piece.len() + usize::from(end.is_some());
            if used as u64 > self.left || self.line.len() + piece.len() > self.longest {
                return Err(ProcReadError::TooLong);
            }
            self.line.extend_from_slice(piece);
            self.left -= used as u64;
            self.input.consume(used);
            if end.is_some() {
                return Ok(Some(&self.line));
            }
        }
    }

    /// Returns the first result that `find` has for a line.
    pub fn find<T>(mut self, mut find: impl FnMut(&[u8]) -> Option<T>) -> Result<Option<T>, ProcReadError> {
        while let Some(line) = self.next_line()? {
            let found = find(line);
            if found.is_some() {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// Returns the number of bytes that may still be read.
    pub fn left(&self) -> u64 {
        self.left
    }
}

/// No file that is read as a whole is longer: a process may have 65,536 groups, and a name that is not UTF-8.
const LONGEST_TEXT: u64 = 1 << 20;

/// Returns the text of a short file below `/proc`, such as `stat`, `status` or `comm`; a longer one is cut off.
pub fn proc_text(path: &Path) -> io::Result<String> {
    let mut text = Vec::new();
    File::open(path)?.take(LONGEST_TEXT).read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    fn lines(input: impl Read, bounds: ProcBounds) -> (Vec<String>, Option<ProcReadError>) {
        let mut lines = ProcLines::of(input, bounds, &|| false);
        let mut found = Vec::new();
        loop {
            match lines.next_line() {
                Ok(Some(line)) => found.push(String::from_utf8_lossy(line).into_owned()),
                Ok(None) => return (found, None),
                Err(error) => return (found, Some(error)),
            }
        }
    }

    #[test]
    fn lines_are_read_up_to_the_bounds_of_a_line_and_of_the_file() {
        let bounds = ProcBounds { line: 4, file: 12 };
        let (found, error) = lines(&b"abcd\n\nab\nx"[..], bounds);
        assert_eq!((found, error.is_none()), (["abcd", "", "ab", "x"].map(str::to_owned).to_vec(), true));
        let (found, error) = lines(&b"abcd\nabcde\nx"[..], bounds);
        assert_eq!(found, ["abcd"]);
        assert!(matches!(error, Some(ProcReadError::TooLong)), "{error:?}");
        let (found, error) = lines(&b"abcd\nabcd\nabcd\n"[..], bounds);
        assert_eq!(found, ["abcd", "abcd"]);
        assert!(error.is_some_and(|error| error.is_overrun()));
    }

    #[test]
    fn an_endless_line_takes_no_memory_and_an_endless_file_no_time() {
        let (found, error) = lines(io::repeat(b'x'), ProcBounds::MAPPINGS);
        assert!(found.is_empty() && matches!(error, Some(ProcReadError::TooLong)), "{error:?}");
        let (found, error) = lines(io::repeat(b'\n'), ProcBounds { line: 10, file: 100_000 });
        assert_eq!(found.len(), 100_000);
        assert!(matches!(error, Some(ProcReadError::TooLong)), "{error:?}");
    }

    #[test]
    fn reading_ends_as_soon_as_it_is_asked_to() {
        let asked = Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) == 3;
        let mut lines = ProcLines::of(io::repeat(b'\n'), ProcBounds::MOUNTS, &stop);
        for _ in 0..3 {
            assert_eq!(lines.next_line().unwrap(), Some(&b""[..]));
        }
        assert!(matches!(lines.next_line(), Err(ProcReadError::Stopped)));
    }

    #[test]
    fn a_list_with_other_ends_is_searched_to_the_first_match_only() {
        let input = (&b"A=1\0B=\xff\n2\0"[..]).chain(io::repeat(b'x'));
        let environment = |wanted: &'static [u8]| {
            let lines = ProcLines::of(&b"A=1\0B=\xff\n2\0"[..], ProcBounds::ENVIRONMENT, &|| false);
            lines.ending_with(0).find(|line| (line == wanted).then_some(())).unwrap()
        };
        assert_eq!((environment(b"B=\xff\n2"), environment(b"A")), (Some(()), None));
        let lines = ProcLines::of(input, ProcBounds::ENVIRONMENT, &|| false).ending_with(0);
        assert!(lines.find(|line| line.starts_with(b"B=").then_some(())).unwrap().is_some());
    }

    #[test]
    fn a_short_file_is_read_whatever_its_bytes_are() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("comm");
        std::fs::write(&file, b"a\xff\n").unwrap();
        assert_eq!(proc_text(&file).unwrap(), "a\u{fffd}\n");
        std::fs::write(&file, vec![b'x'; 2 << 20]).unwrap();
        assert_eq!(proc_text(&file).unwrap().len(), 1 << 20);
        assert!(proc_text(&dir.path().join("gone")).is_err());
    }
}
