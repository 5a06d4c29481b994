//! The output of commands that the configuration names: it stands for the state of something.

use std::path::Path;
use std::process::{Command, Stdio};

use patchadm_bulk_values::result::Digest;

/// Returns the digest of what a command prints; the reason where it fails. `setting` is the name under which the configuration
/// has it; without a directory the command runs in that of the caller.
pub(crate) fn output_digest(
    setting: &str,
    words: &[String],
    directory: Option<&Path>,
) -> Result<Digest, String> {
    let Some((program, arguments)) = words.split_first() else { return Ok(Digest::of(b"")) };
    let failed = |reason: String| format!("{setting}: {program}: {reason}");
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let output = command.output().map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(output.status.to_string()));
    }
    Ok(Digest::of(&output.stdout))
}
