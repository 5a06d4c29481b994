//! The help of every classic command, compared whole with a file of `tests/help`.

use std::fs;
use std::path::Path;

use crate::links::classic_commands;
use crate::scenario::Scenario;

/// Set to anything, the files are written instead of compared. What changed is then seen by version control.
const WRITE: &str = "PATCHADM_WRITE_HELP";

#[test]
fn the_help_of_every_classic_command_is_the_one_on_file() {
    let stage = Scenario::new();
    let mut wrong = Vec::new();
    for command in classic_commands() {
        let help = stage.run(&format!("{command} --help")).ok();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help").join(format!("{command}.txt"));
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, &help).unwrap();
        }
        match fs::read_to_string(&path) {
            Ok(text) if text == help => {}
            Ok(text) => wrong.push(format!("{command}: on file is\n{text}\nprinted is\n{help}")),
            Err(error) => wrong.push(format!("{}: {error}", path.display())),
        }
    }
    let how = format!("if that is as it should be, run this test once with {WRITE}=1");
    assert!(wrong.is_empty(), "{}\n{how}", wrong.join("\n"));
}

#[test]
fn there_is_no_file_without_its_command() {
    let commands = classic_commands();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/help");
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert!(commands.contains(&name), "{} is the help of no command", path.display());
    }
}
