//! Sources that can be read only once: a pipe, socket or device, such as `/dev/stdin`. The bytes are copied to an
//! unnamed file, which disappears with the program. The first bytes must be those of a source before the rest is read.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{MemfdFlags, Mode, OFlags};

use super::error::SourceProblem;
use crate::input_file::InputFile;
use patchadm_container::ContainerFormat;
use patchadm_rootfs::{FreeSpace, RootError, human};

/// The roomiest place first.
const PLACES: [&str; 3] = ["/var/tmp", "/tmp", "/dev/shm"];

const START: u64 = 512;
const BUFFER: usize = 1 << 18;

/// Twice the largest member of a datastream. A file may have any size.
const LARGEST: u64 = 16 << 30;

/// Without a file system for it: as much as other parts of a source in memory.
const LARGEST_IN_MEMORY: u64 = 1 << 30;

pub(super) fn spooled(input: InputFile) -> Result<File, SourceProblem> {
    spooled_within(input, LARGEST)
}

/// A signal ends it: the input holds signals back until the next read.
fn spooled_within(mut input: InputFile, largest: u64) -> Result<File, SourceProblem> {
    let unreadable = |error| SourceProblem::Io { file: None, error };
    let mut start = Vec::new();
    (&mut input).take(START).read_to_end(&mut start).map_err(unreadable)?;
    if patchadm_container::detect_format(&start) == ContainerFormat::Unknown {
        return Err(SourceProblem::foreign(&start));
    }
    let (mut file, place) = unnamed().map_err(unreadable)?;
    let largest = if place.is_some() { largest } else { largest.min(LARGEST_IN_MEMORY) };
    let mut rest = start.as_slice().chain(&mut input);
    let (mut buffer, mut size) = (vec![0; BUFFER], 0);
    loop {
        let count = match rest.read(&mut buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read.map_err(unreadable)?,
        };
        if count == 0 {
            return Ok(file);
        }
        size += count as u64;
        if size > largest {
            let largest = human(largest);
            let reason = format!(
                "a pipe, socket or device may contain at most {largest}; copy it to a file and specify that"
            );
            return Err(SourceProblem::BadForm(reason));
        }
        must_have_room(&file, place, count as u64)
            .and_then(|()| file.write_all(buffer.get(..count).unwrap_or_default()))
            .map_err(unreadable)?;
    }
}

/// In memory if no file system supports unnamed files.
fn unnamed() -> io::Result<(File, Option<&'static str>)> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    for place in PLACES {
        if let Ok(file) = rustix::fs::open(place, flags, Mode::RUSR | Mode::WUSR) {
            return Ok((File::from(file), Some(place)));
        }
    }
    Ok((File::from(rustix::fs::memfd_create("source", MemfdFlags::CLOEXEC)?), None))
}

/// Unknown space is enough.
fn must_have_room(file: &File, place: Option<&str>, bytes: u64) -> io::Result<()> {
    let (Some(place), Ok(seen)) = (place, rustix::fs::fstatvfs(file)) else { return Ok(()) };
    let [size, free] = [seen.f_blocks, seen.f_bavail].map(|blocks| blocks.saturating_mul(seen.f_frsize));
    let wanted = bytes.saturating_add(FreeSpace::reserve_of(size));
    if size == 0 || free >= wanted {
        return Ok(());
    }
    let full = RootError::NoRoom { directory: place.to_owned(), unit: "bytes", free, wanted };
    Err(io::Error::new(io::ErrorKind::StorageFull, full))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a pipe that holds these bytes, and a name for it.
    fn pipe(bytes: &[u8]) -> (tempfile::TempDir, std::path::PathBuf, std::thread::JoinHandle<()>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pipe");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        let (to, bytes) = (path.clone(), bytes.to_vec());
        // A reader that stops early closes the pipe under the writer.
        let writer = std::thread::spawn(move || drop(std::fs::write(to, bytes)));
        (dir, path, writer)
    }

    #[test]
    fn a_pipe_is_read_once_and_can_be_read_again() {
        let bytes = [b"# PaCkAgE DaTaStReAm\n".to_vec(), vec![7; 100_000]].concat();
        let (_dir, path, writer) = pipe(&bytes);
        let mut file = spooled(InputFile::open_anything(&path).unwrap()).unwrap();
        writer.join().unwrap();
        for _ in 0..2 {
            let mut read = Vec::new();
            io::Seek::rewind(&mut file).unwrap();
            file.read_to_end(&mut read).unwrap();
            assert_eq!(read, bytes);
        }
    }

    #[test]
    fn more_than_the_limit_is_refused_with_the_limit() {
        let bytes = [b"# PaCkAgE DaTaStReAm\n".to_vec(), vec![7; 300_000]].concat();
        let length = bytes.len() as u64;
        let (_dir, path, writer) = pipe(&bytes);
        let problem = spooled_within(InputFile::open_anything(&path).unwrap(), 64 << 10).unwrap_err();
        writer.join().unwrap();
        let reason =
            "a pipe, socket or device may contain at most 64.0 KiB; copy it to a file and specify that";
        assert_eq!(problem.to_string(), reason);
        let (_dir, path, writer) = pipe(&bytes);
        let file = spooled_within(InputFile::open_anything(&path).unwrap(), length).unwrap();
        writer.join().unwrap();
        assert_eq!(file.metadata().unwrap().len(), length);
    }

    #[test]
    fn the_reserve_of_the_file_system_is_left() {
        let file = tempfile::tempfile().unwrap();
        must_have_room(&file, Some("/tmp"), 0).unwrap();
        must_have_room(&file, None, u64::MAX).unwrap();
        let error = must_have_room(&file, Some("/tmp"), u64::MAX).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(error.to_string().ends_with("are needed, including the reserve"), "{error}");
    }

    #[test]
    fn what_is_no_source_is_not_read_to_an_end_that_may_never_come() {
        let (_dir, path, writer) = pipe(b"neither this nor that");
        let problem = spooled(InputFile::open_anything(&path).unwrap()).unwrap_err();
        writer.join().unwrap();
        assert!(matches!(problem, SourceProblem::Foreign(_)), "{problem}");
        let zeros = InputFile::open_anything(std::path::Path::new("/dev/zero")).unwrap();
        assert!(matches!(spooled(zeros), Err(SourceProblem::Foreign(_))));
    }
}
