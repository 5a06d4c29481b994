use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::scenario::Scenario;

/// Every classic command, as `help classic` lists them.
pub(crate) fn classic_commands() -> Vec<String> {
    names_of(&Scenario::new().run("help classic").ok())
}

/// Every verb of `patchadm`, as the overview lists them, and those of the other programs.
pub(crate) fn verbs() -> Vec<String> {
    let overview = Scenario::new().run("--help").ok();
    let (own, others) = overview.split_once("\nOther programs and commands:\n").unwrap();
    let (_, of_make) = others.split_once("patchadm-make").unwrap();
    let of_make = of_make.lines().next().unwrap().split(", ").map(|verb| verb.trim().to_owned());
    names_of(own).into_iter().chain(of_make).chain(["bulk", "report"].map(str::to_owned)).collect()
}

fn names_of(list: &str) -> Vec<String> {
    let named = list.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    named.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn every_classic_command_can_be_called_by_its_link() {
    let stage = Scenario::new();
    stage.directory("/bin");
    let commands = classic_commands();
    assert_eq!(stage.run("setup links @ROOT@/bin").ok(), format!("made: {}\n", commands.join(" ")));
    for command in &commands {
        let output = Command::new(stage.at("/bin").join(command)).arg("--version").output().unwrap();
        let version = format!("{command} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(String::from_utf8(output.stdout).unwrap(), version);
    }
    assert_eq!(stage.run("setup links @ROOT@/bin").ok(), format!("kept: {}\n", commands.join(" ")));
}

#[test]
fn a_directory_that_does_not_exist_is_not_made_for_links() {
    let stage = Scenario::new();
    assert_eq!(
        stage.run("setup links @ROOT@/none").fails(1),
        "patchadm: error: no link was made: cannot open @ROOT@/none: No such file or directory\n\
         hint: make the directory first, or choose one that exists\n"
    );
    assert!(!stage.at("/none").exists());
}

#[test]
fn names_that_something_else_has_are_listed_and_nothing_is_made() {
    let stage = Scenario::new();
    stage.directory("/bin");
    symlink("/usr/sbin/pkgadd", stage.at("/bin/pkgadd")).unwrap();
    let refused = |next: &str, names: &str| {
        format!(
            "patchadm: error: no link was made: @ROOT@/bin has other files with these names: {names}\nhint: {next}\n"
        )
    };
    assert_eq!(
        stage.run("setup links @ROOT@/bin").fails(3),
        refused("replace these links with `--force`, or choose another directory", "pkgadd")
    );
    stage.file("/bin/pkgrm", "#!/bin/sh\n");
    assert_eq!(
        stage.run("setup links --force @ROOT@/bin").fails(3),
        refused("choose another directory; `--force` replaces symbolic links only", "pkgrm")
    );
    assert_eq!(fs::read_dir(stage.at("/bin")).unwrap().count(), 2);
    fs::remove_file(stage.at("/bin/pkgrm")).unwrap();
    let text = stage.run("setup links --force --json @ROOT@/bin").ok();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["replaced"], serde_json::json!(["pkgadd"]));
    assert!(stage.run("setup links @ROOT@/nosuch").fails(1).contains("cannot open @ROOT@/nosuch"));
}
