use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use crate::everyman::as_ordinary_user;
use crate::scenario::Scenario;

#[test]
fn the_demonstration_patches_a_root_and_proves_that_it_is_as_before() {
    let stage = Scenario::new();
    let story = stage.run("demo").ok();
    let directory = stage.beside("patchadm-demo").canonicalize().unwrap();
    assert!(story.starts_with(&format!("The files of this demo are in {}\n", directory.display())));

    let list = |list: &str| format!("   $ pkgparam -R root ACMEweb PATCHLIST\n   {list}\n");
    let told = ["100001-01", "100001-01 100001-02", "100001-01 100001-02 100002-01", "(none)"];
    for each in told {
        assert!(story.contains(&list(each)), "PATCHLIST {each} is missing in:\n{story}");
    }
    assert!(story.contains(
        "   patch 100003-01 was not applied: it requires patch 100099-01 or later, which is not applied\n   \
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
fn the_commands_to_go_on_by_hand_work_as_they_are_printed() {
    let stage = Scenario::new();
    let directory = stage.beside("it's my demo");
    let mut command = stage.command("demo");
    let output = command.arg(&directory).output().unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    let (_, by_hand) = story.split_once("Try it yourself:\n").unwrap();
    let lines: Vec<&str> = by_hand.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    assert!(lines.len() > 5, "{by_hand}");
    for line in lines {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
    }
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
