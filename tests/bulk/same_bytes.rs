//! A package has the same bytes, regardless of who builds it and with which habits.

use std::fs;
use std::process::Command;

use super::patches::LEFT_OUT;
use super::{BulkBuild, assert_same_results};
use crate::reliability::is_whole;
use crate::scenario::is_root;

/// The command with an unusual umask and variables of a user.
fn with_habits(command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", "umask 077 && exec \"$@\"", "sh"]).arg(command.get_program()).args(command.get_args());
    shell.env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    let habits = [
        ("LC_ALL", "de_DE.UTF-8"),
        ("LANG", "tr_TR.UTF-8"),
        ("TZ", "Asia/Tokyo"),
        ("CFLAGS", "-O0 -g"),
        ("DESTDIR", "/nowhere"),
        ("MAKEFLAGS", "-k"),
        ("HOME", "/nowhere"),
    ];
    shell.envs(habits).current_dir("/");
    shell
}

#[test]
fn root_and_an_ordinary_user_get_the_same_bytes_with_other_slots_umask_and_locale() {
    let Some(one) = BulkBuild::of_sample("root_and_an_ordinary…", !is_root(), "slot=local 1\ncheck=none\n")
    else {
        return;
    };
    let settings = "slot=local 3\ncheck=none\n";
    let Some(other) = BulkBuild::of_sample("root_and_an_ordinary…", true, settings) else { return };
    if !is_whole() {
        // One chain of libraries and one service are enough for a sample.
        for (build, part) in [&one, &other].into_iter().flat_map(|build| LEFT_OUT.map(|part| (build, part))) {
            fs::remove_dir_all(build.tree().join(part)).unwrap();
        }
    }
    // The files of the other tree are in another order in their directories.
    let moved = Command::new("sh")
        .args(["-c", "for top in *; do mv $top .new && cp -RP .new $top && rm -r .new; done"])
        .current_dir(other.tree())
        .status();
    assert!(moved.unwrap().success());
    let first = one.run("").ends(0);
    let running = other.running("");
    let mut habits = with_habits(&running);
    if running.get_program() != env!("CARGO_BIN_EXE_patchadm") {
        crate::everyman::become_ordinary(&mut habits);
    }
    let second = super::BulkRun::of(&habits.output().unwrap()).ends(0);
    assert_eq!(first.in_state("done"), second.in_state("done"), "{}", other.who());
    assert_eq!(first.in_state("done").len(), if is_whole() { 21 } else { 5 });
    assert_same_results(&one.results(&first), &other.results(&second));
}
