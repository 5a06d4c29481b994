use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::everyman::as_ordinary_user;
use crate::readme::{Shown, run, steady};
use crate::scenario::Scenario;

#[test]
fn the_demonstration_patches_a_root_and_proves_that_it_is_as_before() {
    let stage = Scenario::new();
    let story = stage.run("demo").ok();
    let directory = stage.beside("patchadm-demo").canonicalize().unwrap();
    assert!(story.starts_with(&format!("The files of this demo are in {}\n", directory.display())));

    for (applied, times) in [("100001-01", 2), ("100001-02", 2), ("100002-01", 1)] {
        assert_eq!(story.matches(&format!("   {applied}  effective ")).count(), times, "{story}");
    }
    assert!(story.contains("   $ patchadm -R root list\n   No patches are applied.\n"), "{story}");
    assert!(story.contains(
        "   $ patchadm -R root add patches/100003-01\n   \
         patchadm: error: patch 100003-01 was not applied: it requires patch 100099-01 or later, which is not applied\n       \
         nothing was changed\n   hint: "
    ));
    assert!(story.contains("   The tree is exactly as before, including all attributes.\n"));

    let banner = fs::read_to_string(directory.join("root/opt/acme/share/banner.txt")).unwrap();
    assert_eq!(banner, "Welcome to acme 2.0\n");
    assert!(!directory.join("root/opt/acme/share/errors").exists());
    let program = fs::metadata(directory.join("root/opt/acme/bin/acmed")).unwrap();
    let by_root = rustix::process::geteuid().is_root();
    assert!(!by_root || (program.uid(), program.gid()) == (0, 2), "root sets the recorded owners");
}

#[test]
fn a_reader_who_types_its_commands_gets_what_the_demonstration_prints() {
    let stage = Scenario::new();
    let story = stage.run("demo shop").ok();
    let directory = stage.beside("shop").canonicalize().unwrap().display().to_string();
    let copied = format!("for name in packages patches root/etc; do cp -Rp {directory}/$name $name; done");
    let command = format!("mkdir root && {copied}");
    let mut shown = vec![Shown { command, output: String::new() }];
    let (steps, _) = story.split_once(". The proof: ").unwrap();
    for line in steps.lines().filter_map(|line| line.strip_prefix("   ")) {
        if let Some(command) = line.strip_prefix("$ ") {
            let command = format!("{command} || echo \"(exit code $?)\"");
            shown.push(Shown { command, output: String::new() });
        } else if !line.starts_with("The tree ") {
            let output = &mut shown.last_mut().unwrap().output;
            *output = format!("{output}{}\n", line.replace(&directory, "/home/you"));
        }
    }
    assert_eq!(shown.len(), 1 + 1 + 3 * 2 + 2 + 3 * 2, "{story}");
    let steady_lines = |text: &str| {
        steady(text).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let printed = run(&shown, &[]);
    assert_eq!(printed.len(), shown.len());
    for (shown, printed) in shown.iter().zip(printed) {
        assert_eq!(steady_lines(&printed), steady_lines(&shown.output), "{}", shown.command);
    }
}

#[test]
fn the_commands_to_go_on_by_hand_work_as_they_are_printed() {
    let stage = Scenario::new();
    let directory = stage.beside("it's my demo");
    let mut command = stage.command("demo");
    let output = command.arg(&directory).output().unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    let (_, by_hand) = story.split_once("Try it yourself:\n").unwrap();
    let lines: Vec<&str> = by_hand.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(lines.len() > 5, "{by_hand}");
    let script = format!("set -e\n{}", lines.join("\n"));
    let output = Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{script}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(!directory.exists(), "the last command removes everything");
}

#[test]
fn a_directory_that_holds_something_is_refused_and_not_touched() {
    let stage = Scenario::new();
    let directory = stage.beside("full");
    fs::create_dir(&directory).unwrap();
    fs::write(directory.join("mine"), "text").unwrap();
    let complaint = stage.run(&format!("demo {}", directory.display())).fails(1);
    assert!(complaint.ends_with("/full is not empty; specify a new or an empty directory\n"), "{complaint}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
}

#[test]
fn an_ordinary_user_is_told_which_owners_are_recorded_only() {
    let stage = Scenario::new();
    let directory = stage.beside("own");
    fs::create_dir(&directory).unwrap();
    let mut command = as_ordinary_user(&stage, "demo", &[&directory]);
    let output = command.arg(&directory).output().unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{story}{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        story.contains("   note: owners and groups that are recorded but not set: bin, root\n"),
        "{story}"
    );
}
