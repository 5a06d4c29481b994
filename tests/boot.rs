//! The unit that recovers at boot: its command line is valid, and systemd accepts the unit.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::scenario::Scenario;

const UNIT: &str = "systemd/patchadm-recover.service";

fn unit() -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(UNIT)).unwrap()
}

/// The values of a setting of the unit.
fn values<'u>(unit: &'u str, name: &str) -> Vec<&'u str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_calls_the_program_as_it_is_called() {
    let unit = unit();
    let commands = values(&unit, "ExecStart");
    let [command] = commands[..] else { panic!("{commands:?}") };
    let (program, arguments) = command.split_once(' ').unwrap();
    assert_eq!(program, "/usr/bin/patchadm");
    let stage = Scenario::new();
    let line = format!(" {arguments} ").replace(" / ", " @ROOT@ ");
    assert!(line.contains(" -R @ROOT@ "), "{command}");
    assert_eq!(stage.run(&line).ok(), "No run was interrupted.\n");
}

#[test]
fn the_unit_comes_after_the_file_systems_and_before_everything_that_uses_them() {
    let unit = unit();
    let lists = |name: &str, word: &str| {
        values(&unit, name).iter().any(|value| value.split(' ').any(|one| one == word))
    };
    assert!(lists("DefaultDependencies", "no"), "else it would come after what it has to come before");
    assert!(lists("After", "local-fs.target") && lists("Requires", "local-fs.target"));
    assert!(lists("Before", "sysinit.target") && lists("WantedBy", "sysinit.target"));
    // One of them is enough: a stage without a journal belongs to a run whose journal was lost.
    assert_eq!(values(&unit, "ConditionPathExists"), ["|/var/sadm/patchadm/journal"]);
    assert_eq!(values(&unit, "ConditionDirectoryNotEmpty"), ["|/var/sadm/patchadm/stage"]);
}

#[test]
fn systemd_finds_nothing_wrong_with_the_unit() {
    let stage = Scenario::new();
    let copy = stage.beside("patchadm-recover.service");
    fs::write(&copy, unit().replace("/usr/bin/patchadm", env!("CARGO_BIN_EXE_patchadm"))).unwrap();
    let Ok(output) = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output() else {
        crate::missing("systemd-analyze", "systemd_finds_nothing_wrong_with_the_unit");
        return;
    };
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let about_it: Vec<&str> = said.lines().filter(|line| line.contains("patchadm-recover")).collect();
    assert!(output.status.success() && about_it.is_empty(), "{said}");
}
