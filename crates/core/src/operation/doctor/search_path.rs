//! The names of the commands in the caller's `PATH`.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::examination::Examination;
use super::finding::Finding;

/// Another program of the name of one of our commands.
struct OtherProgram {
    name: &'static str,
    file: PathBuf,
}

/// Whether `PATH` leads to this program under each name of a command. A name that it does not find is no fault: every
/// command can be called as `patchadm NAME`.
pub(super) fn search_path(examination: &Examination<'_>) -> Vec<Finding> {
    let request = examination.request;
    let Some(own) = request.program.and_then(identity) else {
        return vec![Finding::unknown("path", "the system does not tell the file of this program")];
    };
    let first = |name: &'static str| Some((name, first_of(&request.path, name)?));
    let found: Vec<(&'static str, PathBuf)> = request.names.iter().copied().filter_map(first).collect();
    let others: Vec<OtherProgram> = found
        .iter()
        .filter(|(_, file)| identity(file) != Some(own))
        .map(|(name, file)| OtherProgram { name, file: file.clone() })
        .collect();
    if others.is_empty() {
        let text = match found.len() {
            0 => "PATH has no program of the names of these commands".to_owned(),
            number => format!("PATH leads to this program by {number} of {} names", request.names.len()),
        };
        return vec![Finding::ok("path", text)];
    }
    others.iter().map(of_other).collect()
}

fn of_other(OtherProgram { name, file }: &OtherProgram) -> Finding {
    let text =
        format!("{name} is another program, {}: a directory of links comes first in PATH", file.display());
    Finding::attention("path", text).with_command("patchadm links DIR")
}

/// Returns the file that a shell would execute.
fn first_of(path: &[PathBuf], name: &str) -> Option<PathBuf> {
    let files = path.iter().map(|directory| directory.join(name));
    files.into_iter().find(|file| {
        fs::metadata(file).is_ok_and(|seen| seen.is_file() && seen.permissions().mode() & 0o111 != 0)
    })
}

/// Returns the identity of the file behind links; a hard link has the same one.
fn identity(file: &Path) -> Option<(u64, u64)> {
    fs::metadata(file).ok().map(|seen| (seen.dev(), seen.ino()))
}
