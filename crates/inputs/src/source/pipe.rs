//! Sources that can be read only once: a pipe, socket or device, such as `/dev/stdin`. The bytes are copied to an
//! unnamed file, which disappears with the program. The first bytes must be those of a source before the rest is read.

use std::fs::File;
use std::io::{self, Read, Write};

use rustix::fs::{MemfdFlags, Mode, OFlags};

use super::error::SourceProblem;
use crate::input_file::InputFile;
use patchadm_container::ContainerFormat;

/// The roomiest place first.
const PLACES: [&str; 3] = ["/var/tmp", "/tmp", "/dev/shm"];

const START: u64 = 512;

pub(super) fn spooled(mut input: InputFile) -> Result<File, SourceProblem> {
    let unreadable = |error| SourceProblem::Io { file: None, error };
    let mut start = Vec::new();
    (&mut input).take(START).read_to_end(&mut start).map_err(unreadable)?;
    if patchadm_container::detect_format(&start) == ContainerFormat::Unknown {
        return Err(SourceProblem::BadForm("neither a package, nor a patch, nor an archive".to_owned()));
    }
    let copied = unnamed().and_then(|mut file| {
        file.write_all(&start)?;
        io::copy(&mut input, &mut file)?;
        Ok(file)
    });
    copied.map_err(unreadable)
}

/// In memory if no file system supports unnamed files.
fn unnamed() -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    for place in PLACES {
        if let Ok(file) = rustix::fs::open(place, flags, Mode::RUSR | Mode::WUSR) {
            return Ok(File::from(file));
        }
    }
    Ok(File::from(rustix::fs::memfd_create("source", MemfdFlags::CLOEXEC)?))
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
    fn what_is_no_source_is_not_read_to_an_end_that_may_never_come() {
        let (_dir, path, writer) = pipe(b"neither this nor that");
        let problem = spooled(InputFile::open_anything(&path).unwrap()).unwrap_err();
        writer.join().unwrap();
        assert!(matches!(problem, SourceProblem::BadForm(_)), "{problem}");
        let zeros = InputFile::open_anything(std::path::Path::new("/dev/zero")).unwrap();
        assert!(matches!(spooled(zeros), Err(SourceProblem::BadForm(_))));
    }
}
