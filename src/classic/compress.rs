//! `compress`, with which patch scripts pack their undo data on systems without that command.
//!
//! Writes `FILE.Z` and removes `FILE`, as compress(1) does, or writes to standard output. The new file is durable
//! before the old one goes. Only procedure scripts find it among their tools.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use patchadm_cli::arguments::options;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, ExitCause, Reply};
use patchadm_cli::surroundings::Output;
use patchadm_rootfs::{Dir, FileType, ObjectStatus, WritableFile};
use patchadm_svr4::format::compress::CompressEncoder;

const USAGE: &str = "compress [-c] [-f] [-v] FILE...";

const NO_SMALLER: u8 = 2;

/// Compress files
#[derive(clap::Parser)]
struct CompressArgs {
    /// Write to standard output, and keep the file
    #[arg(short)]
    console: bool,
    /// Compress even if this saves no space, and replace FILE.Z
    #[arg(short)]
    force: bool,
    /// Print how much space was saved
    #[arg(short)]
    verbose: bool,
    /// The files
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Exits with 2 if a file would not shrink.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let arguments: CompressArgs = options::parse(call, USAGE)?;
    let mut exit = Exit::OK;
    for file in &arguments.files {
        let named = || file.display().to_string();
        if arguments.console {
            pack(file, StdoutWriter(&mut call.output)).with_context(named)?;
            continue;
        }
        match replace(file, arguments.force).with_context(named)? {
            Some(gain) if arguments.verbose => {
                let line = format!("{0}: Compression: {gain:.2}% -- replaced with {0}.Z\n", file.display());
                call.output.complain(line)?;
            }
            Some(_) => {}
            None => {
                if arguments.verbose {
                    call.output
                        .complain(format!("{}: -- file unchanged, nothing is gained\n", file.display()))?;
                }
                exit = Exit::new(NO_SMALLER, ExitCause::NotApplicable);
            }
        }
    }
    Ok(Reply::silent(exit))
}

/// Replaces `FILE` by `FILE.Z`. Returns the gain in percent; `None` if the file would not shrink and stays.
fn replace(file: &Path, force: bool) -> io::Result<Option<f64>> {
    let irregular = || io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
    let name = file.file_name().ok_or_else(irregular)?.as_bytes();
    let above = file.parent().filter(|above| !above.as_os_str().is_empty());
    let dir = Dir::of_host(above.unwrap_or(Path::new(".")))?;
    let is_regular = |seen: &ObjectStatus| seen.file_type == FileType::Regular;
    let before = dir.look(name)?.ok_or(io::ErrorKind::NotFound)?;
    if !is_regular(&before) {
        return Err(irregular());
    }
    let target = [name, b".Z"].concat();
    if force && dir.look(&target)?.is_some_and(|seen| is_regular(&seen)) {
        dir.remove(&target)?;
    }
    let made =
        dir.create(&target).map_err(io::Error::from).map(|mut packed| fill(file, &before, &mut packed))?;
    match made {
        Ok(size) if size < before.size || force => {
            dir.remove(name)?;
            #[allow(clippy::cast_precision_loss)] // a percentage for people
            Ok(Some(100.0 - size as f64 * 100.0 / before.size.max(1) as f64))
        }
        Ok(_) => Ok(dir.remove(&target).map(|()| None)?),
        Err(error) => {
            // A half-written file is useless; the first error is reported.
            let _ = dir.remove(&target);
            Err(error)
        }
    }
}

/// Compresses the file into `packed`, with its attributes, durably. Returns the size.
fn fill(file: &Path, before: &ObjectStatus, packed: &mut WritableFile) -> io::Result<u64> {
    pack(file, &mut *packed)?;
    // Only root can give a file away; any other user owns both.
    let _ = packed.set_owner(before.uid, before.gid);
    packed.set_mode(before.mode)?;
    packed.set_mtime(before.mtime)?;
    packed.sync()?;
    Ok(packed.size()?)
}

struct StdoutWriter<'a>(&'a mut Output);

impl Write for StdoutWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.print(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn pack(file: &Path, out: impl Write) -> io::Result<()> {
    let mut encoder = CompressEncoder::new(io::BufWriter::new(out));
    io::copy(&mut File::open(file)?, &mut encoder)?;
    encoder.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;
    use patchadm_svr4::format::compress::CompressDecoder;

    #[test]
    fn a_file_is_replaced_by_a_smaller_one_that_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("undo");
        std::fs::write(&file, "again and ".repeat(500)).unwrap();
        std::fs::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
        assert!(replace(&file, false).unwrap().unwrap() > 80.0);
        assert!(!file.exists());
        let packed = dir.path().join("undo.Z");
        assert_eq!(packed.metadata().unwrap().mode() & 0o7777, 0o640);
        let mut text = String::new();
        CompressDecoder::new(File::open(packed).unwrap()).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "again and ".repeat(500));
    }

    #[test]
    fn a_file_that_would_not_become_smaller_stays_unless_it_is_forced() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("short");
        std::fs::write(&file, "abc").unwrap();
        assert_eq!(replace(&file, false).unwrap(), None);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert!(replace(&file, true).unwrap().is_some());
        assert!(dir.path().join("short.Z").exists() && !file.exists());
    }

    #[test]
    fn a_file_that_is_there_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("undo"), "x".repeat(1000)).unwrap();
        std::fs::write(dir.path().join("undo.Z"), "another").unwrap();
        assert!(replace(&dir.path().join("undo"), false).is_err());
        assert_eq!(std::fs::read(dir.path().join("undo.Z")).unwrap(), b"another");
    }
}
