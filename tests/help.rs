//! The help of every verb and command: three ways to print it, and its width. The help of every classic command equals
//! its file in `tests/help`.

use std::fs;
use std::path::Path;

use crate::links::{classic_commands, verbs};
use crate::scenario::Scenario;
use crate::terminal::at_narrow_terminal;

/// If this variable is set, the files are written instead of compared. Version control then shows the changes.
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
        for line in [format!("{name} --help"), format!("--help {name}")] {
            assert_eq!(stage.run(&line).ok(), help, "{line}");
        }
        let brief = stage.run(&format!("{name} -h")).ok();
        assert_eq!(stage.run(&format!("-h {name}")).ok(), brief, "{name}");
        assert!(brief == help || brief.ends_with("\n--help lists all options.\n"), "{name}: {brief}");
    }
    let overview = stage.run("help").ok();
    for line in ["-h", "--help", "-R @ROOT@ --help", "-q -h", "--color never help"] {
        assert_eq!(stage.run(line).ok(), overview, "{line}");
    }
}

/// The headings of `add --help`, in their order.
const HEADINGS: [&str; 9] = [
    "Common",
    "Selecting patches",
    "Locally modified files",
    "Undo data",
    "Trial",
    "Depot and network",
    "Scripts and libraries",
    "Several roots",
    "Privileges",
];

#[test]
fn the_brief_help_lists_the_options_that_most_people_need() {
    let stage = Scenario::new();
    for verb in ["add", "update", "remove", "plan"] {
        let help = stage.run(&format!("{verb} --help")).ok();
        let heading = |line: &&str| HEADINGS.iter().any(|heading| *line == format!("{heading}:"));
        let headings: Vec<&str> = help.lines().filter(heading).collect();
        let known: Vec<String> = HEADINGS.iter().map(|heading| format!("{heading}:")).collect();
        let expected: Vec<&String> =
            known.iter().filter(|heading| headings.contains(&heading.as_str())).collect();
        assert_eq!(headings, expected, "{verb}");
        assert!(!help.contains("\nOptions:\n"), "{verb}: every option has a heading");
    }
    let brief = stage.run("add -h").ok();
    let (_, options) = brief.split_once("\nOptions:\n").unwrap();
    let lines = options.lines().take_while(|line| !line.is_empty()).count();
    assert!(lines <= 15, "{lines} lines\n{brief}");
    assert!(!HEADINGS.iter().any(|heading| brief.contains(heading)), "{brief}");
}

#[test]
fn options_that_repair_a_root_are_only_in_the_whole_help() {
    let stage = Scenario::new();
    let [brief, whole] = ["recover -h", "recover --help"].map(|line| stage.run(line).ok());
    for option in ["--discard-journal", "--keep-stage", "--new-identity", "--adopt-undo", "--foreign"] {
        assert!(whole.contains(option) && !brief.contains(option), "{option}");
    }
}

#[test]
fn letters_of_verbs_have_long_names_and_those_of_classic_commands_have_none() {
    let stage = Scenario::new();
    let letter = regex::Regex::new("^  -([A-Za-z])(, --([a-z-]+))?").unwrap();
    for (name, is_verb) in verbs()
        .into_iter()
        .map(|name| (name, true))
        .chain(classic_commands().into_iter().map(|name| (name, false)))
    {
        let help = stage.run(&format!("{name} --help")).ok();
        for found in help.lines().filter_map(|line| letter.captures(line)) {
            let has_name = found.get(3).is_some();
            assert_eq!(has_name, is_verb || &found[1] == "h", "{name}: {}", &found[0]);
        }
    }
}

#[test]
fn help_about_nothing_names_what_was_meant() {
    let stage = Scenario::new();
    let text = stage.run("help chekc").fails(2);
    assert!(
        text.starts_with("patchadm: error: there is no command `chekc`\n    did you mean `check`?\n"),
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
