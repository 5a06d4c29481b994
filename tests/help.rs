//! The help of every verb and command: the three ways to it, its width, and that of every classic command compared whole
//! with a file of `tests/help`.

use std::fs;
use std::path::Path;

use crate::links::{classic_commands, verbs};
use crate::scenario::Scenario;
use crate::terminal::at_narrow_terminal;

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

#[test]
fn every_verb_and_command_is_explained_in_three_ways() {
    let stage = Scenario::new();
    for name in verbs().into_iter().chain(classic_commands()) {
        let help = stage.run(&format!("help {name}")).ok();
        assert!(help.contains("Usage: ") && help.contains("-h, --help"), "{name}: {help}");
        for line in
            [format!("{name} -h"), format!("{name} --help"), format!("--help {name}"), format!("-h {name}")]
        {
            assert_eq!(stage.run(&line).ok(), help, "{line}");
        }
    }
    let overview = stage.run("help").ok();
    for line in ["-h", "--help", "-R @ROOT@ --help", "-q -h", "--color never help"] {
        assert_eq!(stage.run(line).ok(), overview, "{line}");
    }
}

#[test]
fn help_about_nothing_names_what_was_meant() {
    let stage = Scenario::new();
    let text = stage.run("help verfy").fails(2);
    assert!(
        text.starts_with("patchadm: ERROR: there is no command `verfy`\n    did you mean `verify`?\n"),
        "{text}"
    );
    assert!(!stage.run("help frobnicate").fails(2).contains("did you mean"));
    assert!(stage.run("help __complete").fails(2).contains("there is no command"), "no list shows it");
}

#[test]
fn help_is_as_wide_as_the_terminal_up_to_a_hundred_columns() {
    let stage = Scenario::new();
    let names = || verbs().into_iter().chain(classic_commands());
    let lines: Vec<String> =
        std::iter::once("help".to_owned()).chain(names().map(|name| format!("help {name}"))).collect();
    for line in &lines {
        let widest = stage.run(line).ok().lines().map(str::len).max().unwrap();
        assert!(widest <= 100, "{line}: {widest}");
    }
    for (terminal, limit) in [(60, 60), (200, 100)] {
        for line in ["help", "help add", "help pkgadd", "patchadd"] {
            let Some((_, text)) = at_narrow_terminal("the width of help", &stage, line, terminal) else {
                return;
            };
            let widest = text.lines().map(str::len).max().unwrap();
            assert!(widest <= limit && widest > limit - 25, "{line} on {terminal} columns: {widest}\n{text}");
        }
    }
}
