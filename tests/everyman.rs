//! Running the program as somebody who is not root.
//!
//! A test that is not root itself runs it as it is. Otherwise the program runs under a user and group that nobody has,
//! from a copy that they can reach, on directories that are given to them.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::scenario::Scenario;

/// User and group of the ordinary user, where the test is root.
pub(crate) const NOBODY: u32 = 54_321;

/// The command, to be run by an ordinary user who owns `directories` with everything in them.
pub(crate) fn as_ordinary_user(stage: &Scenario, line: &str, directories: &[&Path]) -> Command {
    let command = stage.command(line);
    let home = stage.beside("");
    if fs::metadata(&home).unwrap().uid() != 0 {
        return command;
    }
    let copy = stage.beside("patchadm");
    if !copy.exists() {
        // Copied by another process: a file that this one has open for writing, if only in a child that another test
        // has just made, cannot be run.
        let copied = Command::new("cp").arg(command.get_program()).arg(&copy).status().unwrap();
        assert!(copied.success());
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
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

/// The user and group that the ordinary user has.
pub(crate) fn ordinary_ids(stage: &Scenario) -> (u32, u32) {
    let own = fs::metadata(stage.beside("")).unwrap();
    if own.uid() == 0 { (NOBODY, NOBODY) } else { (own.uid(), own.gid()) }
}

/// Lets a command be run by the ordinary user, where the test is root.
pub(crate) fn become_ordinary(command: &mut Command) {
    command.uid(NOBODY).gid(NOBODY);
}

fn give(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// A call of the same program by the same user, in the same environment, without arguments.
pub(crate) fn program_like(command: &Command) -> Command {
    let mut other = Command::new(command.get_program());
    other.env_clear().stdin(Stdio::null());
    for (name, value) in command.get_envs() {
        other.env(name, value.unwrap_or_default());
    }
    if let Some(directory) = command.get_current_dir() {
        other.current_dir(directory);
    }
    let is_copy = command.get_program() != env!("CARGO_BIN_EXE_patchadm");
    if is_copy {
        other.uid(NOBODY).gid(NOBODY);
    }
    other
}
