//! Running the program as an ordinary user.
//!
//! If the test is not root, the program runs as it is. Otherwise it runs under an unused user and group, from a copy
//! that they can reach, on directories that are given to them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::programs::{PATCHADM, program_of, sibling};
use crate::scenario::Scenario;

/// User and group of the ordinary user, if the test is root.
pub const NOBODY: u32 = 54_321;

/// Returns the command, to be run by an ordinary user who owns `directories` with everything in them.
pub fn as_ordinary_user(stage: &Scenario, line: &str, directories: &[&Path]) -> Command {
    let command = stage.command(line);
    let home = stage.beside("");
    if fs::metadata(&home).unwrap().uid() != 0 {
        return command;
    }
    let program = Path::new(command.get_program());
    let copy = stage.beside(PATCHADM);
    for name in std::iter::once(PATCHADM).chain(program_of(line)) {
        copy_program(stage, program, name);
    }
    fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
    for directory in directories {
        give(directory);
    }
    let mut theirs = Command::new(copy);
    theirs.env_clear().args(command.get_args()).current_dir(home).stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        theirs.env(name, value.unwrap_or_default());
    }
    theirs.uid(NOBODY).gid(NOBODY);
    theirs
}

/// Copies the program `name` beside `program` to the place from which the ordinary user runs it.
pub fn copy_program(stage: &Scenario, program: &Path, name: &str) {
    let copy = stage.beside(name);
    if copy.exists() {
        return;
    }
    // Copied by another process: a file that this one has open for writing, if only in a child that another test has just
    // made, cannot be run.
    let copied = Command::new("cp").arg(sibling(program, name)).arg(&copy).status().unwrap();
    assert!(copied.success());
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns the user and group of the ordinary user.
pub fn ordinary_ids(stage: &Scenario) -> (u32, u32) {
    let own = fs::metadata(stage.beside("")).unwrap();
    if own.uid() == 0 { (NOBODY, NOBODY) } else { (own.uid(), own.gid()) }
}

/// Makes the ordinary user run a command. Only for tests that are root.
pub fn become_ordinary(command: &mut Command) {
    command.uid(NOBODY).gid(NOBODY);
}

/// Gives an object with all that is in it. Objects that a killed command has left may disappear meanwhile.
fn give(path: &Path) {
    let given = lchown(path, Some(NOBODY), Some(NOBODY)).and_then(|()| {
        if path.symlink_metadata()?.is_dir() {
            fs::read_dir(path)?.try_for_each(|entry| entry.map(|entry| give(&entry.path())))?;
        }
        Ok(())
    });
    let is_there = |error: &std::io::Error| error.kind() != std::io::ErrorKind::NotFound;
    assert!(!given.as_ref().is_err_and(is_there), "{}: {given:?}", path.display());
}

/// Returns a call of the same program by the same user, in the same environment, without arguments.
pub fn program_like(command: &Command) -> Command {
    let mut other = Command::new(command.get_program());
    other.env_clear().stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        other.env(name, value.unwrap_or_default());
    }
    if let Some(directory) = command.get_current_dir() {
        other.current_dir(directory);
    }
    // A copy lies in the directory of its scenario.
    let is_copy = Path::new(command.get_program()).parent() == command.get_current_dir();
    if is_copy {
        other.uid(NOBODY).gid(NOBODY);
    }
    other
}
