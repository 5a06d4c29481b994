//! Rights of a stage to change its root: the record of the root decides, whatever the stage claims about itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;

use serde_json::{Value, json};

use crate::everyman::{NOBODY, as_ordinary_user};
use crate::promote::Staged;
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::assert_same;
use patchadm_inputs::stage::{ReadFile, StageCache, write_cache};
use patchadm_rootfs::{Dir, KnownFile, Sums, Timestamp, Xattrs};
use patchadm_svr4::package::ObjectPath;
use rustix::fs::{XattrFlags, lgetxattr, llistxattr, lremovexattr, lsetxattr};

/// The sentence about owners that are not promoted.
const STAY: &str = "owners, capabilities and set-id bits of the root are kept: ";

/// The list of the stages of a root.
const STAGES: &str = "/var/sadm/patchadm/stages";

pub(crate) fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

pub(crate) fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

pub(crate) fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

/// Changes the owner of a directory and of everything in it.
pub(crate) fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// A root that everybody may read, with a set-id program below `/usr/pkg`.
pub(crate) fn root_with_set_id_program() -> Scenario {
    let live = Scenario::new();
    live.file("/usr/pkg/bin/su", "su 1\n");
    live.mode("/usr/pkg/bin/su", 0o4755);
    live.file("/usr/pkg/bin/tool", "tool 1\n");
    live.mode("/usr/pkg/bin/tool", 0o755);
    for directory in [live.beside(""), live.root()] {
        set_mode(&directory, 0o755);
    }
    live
}

/// A stage `open/web` of this root that an ordinary user made and owns; `None` if the test does not run as root.
pub(crate) fn stage_of_user(test: &str) -> Option<Scenario> {
    if !is_root() {
        crate::skipped(&format!("{test}: another user is needed"));
        return None;
    }
    let live = root_with_set_id_program();
    fs::create_dir(live.beside("open")).unwrap();
    chown(live.beside("open"), Some(NOBODY), Some(NOBODY)).unwrap();
    let output =
        as_ordinary_user(&live, "stage new open/web -R @ROOT@ --path usr/pkg", &[]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(live)
}

/// Refreshes the stage as its user.
fn refreshed_by_user(live: &Scenario) {
    let output = as_ordinary_user(live, "stage refresh open/web -R @ROOT@", &[]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn edit_identity(stage: &Path, old: &str, new: &str) {
    let file = stage.join(".patchadm-stage/identity");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(old), "{text}");
    fs::write(&file, text.replace(old, new)).unwrap();
}

fn document(live: &Scenario, line: &str) -> Value {
    serde_json::from_str(&live.run(line).stdout).unwrap()
}

/// Removes the fields that only later versions record from the list.
fn as_listed_by_0_1(live: &Scenario) {
    let text = live.text(STAGES);
    let lines = text.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        for name in ["owner", "owners", "bases"] {
            assert!(line.as_object_mut().unwrap().remove(name).is_some(), "{name}");
        }
        format!("{line}\n")
    });
    fs::write(live.at(STAGES), lines.collect::<String>()).unwrap();
}

/// The record of the only stage of the root.
fn listed(live: &Scenario) -> Value {
    serde_json::from_str(live.text(STAGES).trim()).unwrap()
}

/// Puts a set-id program that belongs to the ordinary user into a stage.
fn put_program_of_theirs(tree: &Path) {
    let theirs = tree.join("usr/pkg/bin/theirs");
    fs::write(&theirs, "theirs\n").unwrap();
    chown(&theirs, Some(NOBODY), Some(NOBODY)).unwrap();
    set_mode(&theirs, 0o6755);
}

/// Does the same, and gives the tree to that user.
fn put_theirs(tree: &Path) {
    put_program_of_theirs(tree);
    for path in ["usr/pkg", "usr/pkg/bin"] {
        chown(tree.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

#[track_caller]
fn assert_nothing_is_theirs(live: &Scenario) {
    for path in ["/usr/pkg", "/usr/pkg/bin", "/usr/pkg/bin/theirs"] {
        assert_eq!(owner(&live.at(path)), 0, "{path}");
    }
    assert_eq!(mode(&live.at("/usr/pkg/bin/theirs")), 0o755);
    let contents = live.text("/var/sadm/install/contents");
    let line = contents.lines().find(|line| line.starts_with("/usr/pkg/bin/theirs ")).unwrap();
    assert!(line.starts_with("/usr/pkg/bin/theirs f none 0755 "), "{line}");
    assert_eq!(live.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_user_who_edits_the_identity_of_a_stage_gets_neither_owners_nor_set_id_bits() {
    let Some(live) = stage_of_user("a_user_who_edits…") else { return };
    let stage = live.beside("open/web");
    assert!(!live.at(STAGES).exists(), "a user lists nothing");
    edit_identity(&stage, "\"owners\":false", "\"owners\":true");
    put_theirs(&stage);
    let said = live.run("stage promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    let said = said.stdout + &said.stderr;
    assert!(said.contains(&format!("{STAY}the root does not list this stage")), "{said}");
    assert_nothing_is_theirs(&live);
    // Existing objects keep their owners and bits.
    assert_eq!((owner(&live.at("/usr/pkg/bin/su")), mode(&live.at("/usr/pkg/bin/su"))), (0, 0o4755));
    live.run("patchrm -R @ROOT@ web-01").ok();
    assert!(!live.at("/usr/pkg/bin/theirs").exists());
}

#[test]
fn a_stage_that_names_the_id_of_one_that_root_made_is_still_the_users() {
    let Some(live) = stage_of_user("a_stage_that_names_the_id…") else { return };
    live.run("stage new mine --name web -R @ROOT@ --path usr/pkg").ok();
    let of_root = fs::read_to_string(live.beside("mine/.patchadm-stage/identity")).unwrap();
    let stage = live.beside("open/web");
    fs::write(stage.join(".patchadm-stage/identity"), of_root).unwrap();
    fs::copy(live.beside("mine/.patchadm-stage/base.0"), stage.join(".patchadm-stage/base.0")).unwrap();
    put_theirs(&stage);
    let said = live.run("stage promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    let said = said.stdout + &said.stderr;
    assert!(said.contains(STAY) && said.contains(&format!("belongs to uid {NOBODY}")), "{said}");
    assert_nothing_is_theirs(&live);
}

#[test]
fn a_stage_of_root_that_was_given_away_brings_no_owners_any_more() {
    if !is_root() {
        return crate::skipped("a_stage_of_root_that_was_given_away…: another user is needed");
    }
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    give(&live.beside("web"), NOBODY);
    put_theirs(&live.beside("web"));
    let said = live.run("stage promote web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    assert_nothing_is_theirs(&live);
}

#[test]
fn the_root_records_who_made_a_stage_and_with_which_base() {
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let line = listed(&live);
    let own = owner(&live.beside("web"));
    assert_eq!((&line["owner"], &line["owners"]), (&json!(own), &json!(true)));
    let first = line["bases"]["0"].as_str().unwrap().to_owned();
    assert!(first.starts_with("b3:"), "{line}");
    // A promotion records the base that it leaves, and a refresh those that it changes.
    fs::write(live.beside("web/usr/pkg/bin/tool"), "tool 2\n").unwrap();
    live.run("stage promote web -R @ROOT@").ok();
    let line = listed(&live);
    let second = line["bases"]["web-01"].as_str().unwrap().to_owned();
    assert_eq!((line["bases"]["0"].as_str().unwrap(), second != first), (first.as_str(), true));
    live.file("/usr/pkg/bin/more", "more\n");
    live.run("stage refresh web -R @ROOT@").ok();
    let line = listed(&live);
    assert!(line["bases"]["0"] != first.as_str() && line["bases"]["web-01"] != second.as_str(), "{line}");
    assert_eq!(live.run("stage refresh web -R @ROOT@").ok(), "stage web is up to date\n");
    assert_eq!(listed(&live), line, "nothing changed");
    assert_eq!(live.run("stage promote web -R @ROOT@").ok(), "nothing to promote in /usr/pkg\n");
    // The base of a promotion that was backed out is not needed any more.
    live.run("patchrm -R @ROOT@ web-01").ok();
    live.run("stage promote web -R @ROOT@").ok();
    let names: Vec<String> = listed(&live)["bases"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["0", "web-02"]);
    live.run("stage drop web -R @ROOT@").ok();
    assert!(!live.at(STAGES).exists());
}

#[test]
fn a_base_that_the_root_did_not_record_is_refused_and_two_way_goes_without_one() {
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let base = live.beside("web/.patchadm-stage/base.0");
    let before = fs::read(&base).unwrap();
    live.file("/usr/pkg/bin/tool", "mended on the root\n");
    live.run("stage refresh web -R @ROOT@").ok();
    // With the old base restored, the stage would bring the old tool back.
    fs::write(&base, before).unwrap();
    fs::write(live.beside("web/usr/pkg/bin/tool"), "tool 1\n").unwrap();
    let root = live.everything();
    for line in [
        "stage promote web -R @ROOT@",
        "stage promote web -R @ROOT@ --dry-run",
        "stage status web -R @ROOT@",
        "stage refresh web -R @ROOT@",
    ] {
        let said = live.run(line).fails(1);
        assert!(
            said.contains("web/.patchadm-stage/base.0 is not the base that the root has recorded"),
            "{said}"
        );
        assert_same(&live.everything(), &root);
    }
    live.run("stage promote web -R @ROOT@ --two-way").ok();
    live.run("stage drop web -R @ROOT@").ok();
}

/// Damages a stage.
type Spoil = fn(&Scenario);

#[test]
fn a_stage_that_0_1_listed_is_believed_as_long_as_nobody_else_may_write_it() {
    if !is_root() {
        return crate::skipped("a_stage_that_0_1_listed…: another user is needed");
    }
    let own = "web/.patchadm-stage";
    let spoils: [(Option<Spoil>, &str); 5] = [
        (None, ""),
        (Some(|live| set_mode(&live.beside("web"), 0o757)), "everyone can write to "),
        (Some(|live| chown(live.beside("web"), Some(NOBODY), None).unwrap()), "belongs to uid "),
        (Some(|live| chown(live.beside("web/.patchadm-stage"), Some(NOBODY), None).unwrap()), own),
        (Some(|live| chown(live.beside("web/.patchadm-stage/identity"), Some(NOBODY), None).unwrap()), own),
    ];
    for (spoil, reason) in spoils {
        let live = root_with_set_id_program();
        live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
        as_listed_by_0_1(&live);
        match spoil {
            // Content in a directory of another user belongs to that user, even in a stage of root.
            None => put_program_of_theirs(&live.beside("web")),
            Some(spoil) => {
                put_theirs(&live.beside("web"));
                spoil(&live);
            }
        }
        let said = live.run("stage promote web -R @ROOT@ --allow-set-id");
        assert_eq!(said.code, 0, "{said:?}");
        let said = said.stdout + &said.stderr;
        if spoil.is_none() {
            assert!(!said.contains(STAY), "{said}");
            assert_eq!(
                (owner(&live.at("/usr/pkg/bin/theirs")), mode(&live.at("/usr/pkg/bin/theirs"))),
                (NOBODY, 0o6755)
            );
            assert!(listed(&live).get("bases").is_none(), "a promotion changes nothing about that");
        } else {
            assert!(said.contains(STAY) && said.contains(reason), "{reason}: {said}");
            assert_nothing_is_theirs(&live);
        }
    }
}

#[test]
fn a_refresh_by_root_records_what_a_stage_of_0_1_may_do() {
    if !is_root() {
        return crate::skipped("a_refresh_by_root…: another user is needed");
    }
    for is_spoiled in [false, true] {
        let live = root_with_set_id_program();
        live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
        as_listed_by_0_1(&live);
        live.file("/usr/pkg/bin/more", "more\n");
        if is_spoiled {
            set_mode(&live.beside("web"), 0o757);
        }
        let run = live.run("stage refresh web -R @ROOT@");
        let line = listed(&live);
        if is_spoiled {
            let said = run.fails(3);
            assert!(said.contains("root does not refresh the stage web: everyone can write to "), "{said}");
            assert!(line.get("owner").is_none(), "{line}");
        } else {
            run.ok();
            assert_eq!((&line["owner"], &line["owners"]), (&json!(0), &json!(true)));
            assert!(line["bases"]["0"].is_string(), "{line}");
        }
    }
}

#[test]
fn a_tree_without_identity_brings_owners_only_if_nobody_else_may_write_it() {
    if !is_root() {
        return crate::skipped("a_tree_without_identity…: another user is needed");
    }
    for is_theirs in [false, true] {
        let live = root_with_set_id_program();
        fs::create_dir_all(live.beside("tree/usr/pkg/bin")).unwrap();
        put_program_of_theirs(&live.beside("tree"));
        if is_theirs {
            put_theirs(&live.beside("tree"));
            chown(live.beside("tree"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let said = live.run("stage promote tree -R @ROOT@ --two-way --path usr/pkg --allow-set-id");
        assert_eq!(said.code, 0, "{said:?}");
        let said = said.stdout + &said.stderr;
        assert_eq!(said.contains(&format!("tree belongs to uid {NOBODY}")), is_theirs, "{said}");
        if is_theirs {
            assert_nothing_is_theirs(&live);
        } else {
            let path = live.at("/usr/pkg/bin/theirs");
            assert_eq!((owner(&path), mode(&path)), (NOBODY, 0o6755));
        }
    }
}

/// Promotes changes of set-id files: refused without the option, and nothing is changed; done and reported with it.
#[track_caller]
fn asks_for_set_id(live: &Scenario, stage: &str, told: &str, entry: &Value) {
    let before = live.everything();
    let promote = |options: &str| -> Run { live.run(&format!("stage promote {stage} -R @ROOT@ {options}")) };
    for options in ["", "--dry-run"] {
        let run = promote(options);
        assert_eq!(run.code, 3, "{run:?}");
        let said = run.stdout + &run.stderr;
        assert!(said.contains(told) && said.contains("--allow-set-id"), "{said}");
        assert_same(&live.everything(), &before);
    }
    for options in ["", "--dry-run", "--allow-set-id --dry-run", "--allow-set-id"] {
        let said = document(live, &format!("stage promote {stage} -R @ROOT@ --json {options}"));
        assert_eq!(said["set_id"], json!([entry]), "{options}: {said}");
    }
    live.run("undo -R @ROOT@").ok();
    let said = promote("--allow-set-id --dry-run").stdout;
    assert!(said.contains(&format!("  set-id: {told}")), "{said}");
    let said = promote("--allow-set-id").stdout;
    assert!(said.contains(&format!("  set-id: {told}")), "{said}");
}

#[test]
fn other_bytes_in_a_set_id_program_are_asked_for_and_told() {
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    fs::write(live.beside("web/usr/pkg/bin/su"), "su 2\n").unwrap();
    set_mode(&live.beside("web/usr/pkg/bin/su"), 0o4755);
    let entry = json!({"path": "/usr/pkg/bin/su", "mode": "4755", "capabilities": false, "change": "bytes"});
    asks_for_set_id(&live, "web", "/usr/pkg/bin/su (mode 4755) gets different contents", &entry);
    assert_eq!((live.text("/usr/pkg/bin/su"), mode(&live.at("/usr/pkg/bin/su"))), ("su 2\n".into(), 0o4755));
}

#[test]
fn other_bytes_in_a_set_id_program_are_asked_for_where_the_stage_never_had_the_bits() {
    let Some(live) = stage_of_user("other_bytes_in_a_set_id_program…") else { return };
    fs::write(live.beside("open/web/usr/pkg/bin/su"), "su of a user\n").unwrap();
    let entry = json!({"path": "/usr/pkg/bin/su", "mode": "4755", "capabilities": false, "change": "bytes"});
    asks_for_set_id(&live, "open/web", "/usr/pkg/bin/su (mode 4755) gets different contents", &entry);
    assert_eq!(mode(&live.at("/usr/pkg/bin/su")), 0o4755);
}

#[test]
fn new_set_id_programs_and_set_id_bits_for_old_ones_are_asked_for_and_told() {
    if !is_root() {
        return crate::skipped("new_set_id_programs…: the stage of an ordinary user brings none");
    }
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    fs::write(live.beside("web/usr/pkg/bin/new"), "new\n").unwrap();
    set_mode(&live.beside("web/usr/pkg/bin/new"), 0o2755);
    let entry = json!({"path": "/usr/pkg/bin/new", "mode": "2755", "capabilities": false, "change": "new"});
    asks_for_set_id(&live, "web", "/usr/pkg/bin/new (mode 2755) is new", &entry);
    set_mode(&live.beside("web/usr/pkg/bin/tool"), 0o4755);
    let entry =
        json!({"path": "/usr/pkg/bin/tool", "mode": "4755", "capabilities": false, "change": "rights"});
    asks_for_set_id(&live, "web", "/usr/pkg/bin/tool (mode 4755) gets them", &entry);
    // The owner of a set-id program decides what it may do.
    chown(live.beside("web/usr/pkg/bin/tool"), Some(NOBODY), None).unwrap();
    set_mode(&live.beside("web/usr/pkg/bin/tool"), 0o4755);
    let entry =
        json!({"path": "/usr/pkg/bin/tool", "mode": "4755", "capabilities": false, "change": "rights"});
    asks_for_set_id(&live, "web", "/usr/pkg/bin/tool (mode 4755) gets them", &entry);
    // Another name of a set-id program is one more set-id program.
    fs::hard_link(live.beside("web/usr/pkg/bin/su"), live.beside("web/usr/pkg/bin/again")).unwrap();
    let said = live.run("stage promote web -R @ROOT@").fails(3);
    assert!(
        said.contains("/usr/pkg/bin/again (mode 4755) is new") && said.contains("--allow-set-id"),
        "{said}"
    );
    fs::remove_file(live.beside("web/usr/pkg/bin/again")).unwrap();
    // Removing the bits or the program needs no option.
    set_mode(&live.beside("web/usr/pkg/bin/tool"), 0o755);
    fs::remove_file(live.beside("web/usr/pkg/bin/new")).unwrap();
    live.run("stage promote web -R @ROOT@").ok();
}

#[test]
fn other_bytes_in_a_program_with_capabilities_are_asked_for_and_told() {
    if !is_root() {
        return crate::skipped("other_bytes_in_a_program_with_capabilities…: only root gives capabilities");
    }
    let live = root_with_set_id_program();
    // cap_net_raw, permitted and effective.
    let value = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let give = |path: &Path| rustix::fs::setxattr(path, "security.capability", &value, XattrFlags::empty());
    if give(&live.at("/usr/pkg/bin/tool")).is_err() {
        return crate::skipped("other_bytes_in_a_program_with_capabilities…: this file system has none");
    }
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let staged = live.beside("web/usr/pkg/bin/tool");
    fs::write(&staged, "tool 2\n").unwrap();
    give(&staged).unwrap();
    let entry = json!({"path": "/usr/pkg/bin/tool", "mode": "0755", "capabilities": true, "change": "bytes"});
    asks_for_set_id(
        &live,
        "web",
        "/usr/pkg/bin/tool (mode 0755 with capabilities) gets different contents",
        &entry,
    );
}

#[test]
fn a_plan_with_set_id_files_has_the_option_in_its_file() {
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    fs::write(live.beside("web/usr/pkg/bin/su"), "su 2\n").unwrap();
    set_mode(&live.beside("web/usr/pkg/bin/su"), 0o4755);
    let before = live.everything();
    let run = live.run("stage status web -R @ROOT@ --save-plan plan.json");
    assert!(run.code == 3 && !live.beside("plan.json").exists(), "{run:?}");
    live.run("stage status web -R @ROOT@ --allow-set-id --save-plan plan.json").ok();
    assert_same(&live.everything(), &before);
    live.run("stage promote -R @ROOT@ --plan plan.json").ok();
    assert_eq!(live.text("/usr/pkg/bin/su"), "su 2\n");
}

#[test]
fn the_list_of_stages_that_is_damaged_is_found_by_verify_and_doctor() {
    let staged = Staged::new();
    let line = staged.live.text(STAGES);
    fs::write(staged.live.at(STAGES), line.replace("\"owners\":true,", "")).unwrap();
    let words = "var/sadm/patchadm/stages: line 1: `owner`, `owners` or `bases` is missing";
    let said = staged.live.run("check --contents -R @ROOT@");
    assert!(said.code == 4 && (said.stdout.clone() + &said.stderr).contains(words), "{said:?}");
    let said = staged.live.run("check -R @ROOT@");
    assert!((said.stdout.clone() + &said.stderr).contains(words), "{said:?}");
    assert!(staged.promote("").fails(1).contains(words));
    // It stops nothing else.
    assert_eq!(staged.live.run("list -R @ROOT@").ok(), "No patches are applied.\n");
    // As advised: without the line the stage is promoted by its directory.
    fs::write(staged.live.at(STAGES), "").unwrap();
    staged.write("share/0", "new\n");
    staged.promote("--two-way").ok();
}

#[test]
fn root_does_not_enter_the_stage_of_a_user() {
    let Some(live) = stage_of_user("root_does_not_enter…") else { return };
    let run = live.run("stage enter open/web -R @ROOT@ -- touch /usr/pkg/entered");
    assert_ne!(run.code, 0, "{run:?}");
    assert!(run.stderr.contains("root does not enter the stage web: "), "{run:?}");
    assert!(run.stderr.contains("belongs to uid"), "{run:?}");
    assert!(!live.beside("open/web/usr/pkg/entered").exists());
}

#[test]
fn a_device_and_the_bits_of_a_directory_do_not_come_with_the_stage_of_a_user() {
    let Some(live) = stage_of_user("a_device_and_the_bits…") else { return };
    live.directory("/usr/pkg/spool");
    live.mode("/usr/pkg/spool", 0o2775);
    assert!(as_ordinary_user(&live, "stage refresh open/web -R @ROOT@", &[]).status().unwrap().success());
    let stage = live.beside("open/web/usr/pkg");
    // A program in the place of a directory with the bit.
    fs::remove_dir(stage.join("spool")).unwrap();
    fs::write(stage.join("spool"), "theirs\n").unwrap();
    set_mode(&stage.join("spool"), 0o755);
    let said = live.run("stage promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(mode(&live.at("/usr/pkg/spool")), 0o755);
    let made = std::process::Command::new("mknod").arg(stage.join("null")).args(["c", "1", "3"]).status();
    if made.is_ok_and(|status| status.success()) {
        let said = live.run("stage promote open/web -R @ROOT@").fails(3);
        assert!(said.contains("/usr/pkg/null") && said.contains("a device"), "{said}");
    }
}

/// The names of the access lists of an object.
fn lists(path: &Path) -> Vec<String> {
    let mut names = vec![0; 4096];
    let length = llistxattr(path, &mut names).unwrap();
    let names =
        names[..length].split(|&byte| byte == 0).map(|name| String::from_utf8_lossy(name).into_owned());
    names.filter(|name| name.starts_with("system.")).collect()
}

/// An access list that allows everything to the ordinary user: that of a file, or the default list of a directory.
fn list_of_theirs() -> Vec<u8> {
    let everybody = u32::MAX;
    let entries = [
        (1_u16, 6_u16, everybody),
        (2, 7, NOBODY),
        (4, 4, everybody),
        (16, 7, everybody),
        (32, 4, everybody),
    ];
    let mut list = vec![2, 0, 0, 0];
    for (tag, rights, id) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(rights.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}

/// Gives an object an access list; returns false if the file system has none.
fn give_list(path: &Path, name: &str) -> bool {
    lsetxattr(path, name, &list_of_theirs(), XattrFlags::empty()).is_ok()
}

#[test]
fn the_stage_of_a_user_gives_nobody_a_right_to_write() {
    let Some(live) = stage_of_user("the_stage_of_a_user_gives_nobody…") else { return };
    live.file("/usr/pkg/shared", "shared\n");
    live.mode("/usr/pkg/shared", 0o666);
    live.directory("/usr/pkg/private");
    live.mode("/usr/pkg/private", 0o700);
    chown(live.at("/usr/pkg/private"), Some(NOBODY), Some(NOBODY)).unwrap();
    refreshed_by_user(&live);
    let stage = live.beside("open/web/usr/pkg");
    for (path, text, mode) in
        [("bin/tool", "tool 2\n", 0o777), ("bin/new", "new\n", 0o666), ("shared", "shared 2\n", 0o664)]
    {
        fs::write(stage.join(path), text).unwrap();
        set_mode(&stage.join(path), mode);
    }
    fs::create_dir(stage.join("open")).unwrap();
    fs::write(stage.join("open/list"), "list\n").unwrap();
    for (path, mode) in [("open", 0o1777), ("bin", 0o775), ("private", 0o755), ("open/list", 0o640)] {
        set_mode(&stage.join(path), mode);
    }
    let has_lists = give_list(&stage.join("open/list"), "system.posix_acl_access")
        && give_list(&stage.join("open"), "system.posix_acl_default");
    assert_eq!(mode(&stage.join("open/list")), if has_lists { 0o674 } else { 0o640 });
    let withheld = |said: &Value| -> Vec<(String, Vec<String>)> {
        let entries = said["withheld"].as_array().unwrap().iter();
        let words = |entry: &Value| serde_json::from_value(entry["attributes"].clone()).unwrap();
        entries.map(|entry| (entry["path"].as_str().unwrap().to_owned(), words(entry))).collect()
    };
    let mut expected = vec![
        ("/usr/pkg/bin", vec!["write"]),
        ("/usr/pkg/bin/new", vec!["write"]),
        ("/usr/pkg/bin/tool", vec!["write"]),
        ("/usr/pkg/open", vec!["write"]),
        ("/usr/pkg/private", vec!["permissions"]),
    ];
    if has_lists {
        expected[3].1.push("access-list");
        expected.insert(4, ("/usr/pkg/open/list", vec!["write", "permissions", "access-list"]));
    } else {
        crate::skipped("the_stage_of_a_user_gives_nobody…: this file system has no access lists");
    }
    let expected: Vec<(String, Vec<String>)> = expected
        .into_iter()
        .map(|(path, words)| (path.to_owned(), words.into_iter().map(str::to_owned).collect()))
        .collect();
    assert_eq!(withheld(&document(&live, "stage promote open/web -R @ROOT@ --json --dry-run")), expected);
    let said = live.run("stage promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    let line = "  withheld: /usr/pkg/bin/tool: write permission of group or others\n";
    assert!(said.stdout.contains(line), "{said:?}");
    for (path, expected) in [
        ("bin", 0o755),
        ("bin/tool", 0o755),
        ("bin/new", 0o644),
        ("shared", 0o664),
        ("open", 0o1755),
        ("open/list", if has_lists { 0o644 } else { 0o640 }),
        ("private", 0o700),
    ] {
        let path = live.at(&format!("/usr/pkg/{path}"));
        assert_eq!(
            (format!("{:o}", mode(&path)), lists(&path)),
            (format!("{expected:o}"), Vec::new()),
            "{path:?}"
        );
    }
    assert_eq!(live.text("/usr/pkg/bin/tool"), "tool 2\n");
    // It is reported at every promotion, even if nothing is promoted.
    let said = live.run("stage promote open/web -R @ROOT@").ok();
    assert!(said.starts_with("nothing to promote in /usr/pkg\n") && said.contains(line), "{said}");
    assert_eq!(withheld(&document(&live, "stage status open/web -R @ROOT@ --json")), expected);
    live.run("patchrm -R @ROOT@ web-01").ok();
    assert_eq!(mode(&live.at("/usr/pkg/shared")), 0o666);
}

#[test]
fn an_access_list_of_the_root_stays_whatever_the_stage_of_a_user_has() {
    let Some(live) = stage_of_user("an_access_list_of_the_root…") else { return };
    let tool = live.at("/usr/pkg/bin/tool");
    if !give_list(&tool, "system.posix_acl_access") {
        return crate::skipped("an_access_list_of_the_root…: this file system has no access lists");
    }
    refreshed_by_user(&live);
    // The user removes the list, and with it the rights in the mask.
    let staged = live.beside("open/web/usr/pkg/bin/tool");
    for list in lists(&staged) {
        lremovexattr(&staged, &*list).unwrap();
    }
    fs::write(&staged, "tool 2\n").unwrap();
    set_mode(&staged, 0o755);
    let said = live.run("stage promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.stdout.contains("withheld"), "the stage has nothing more than the root: {said:?}");
    assert_eq!(live.text("/usr/pkg/bin/tool"), "tool 2\n");
    assert_eq!((mode(&tool), lists(&tool)), (0o775, vec!["system.posix_acl_access".to_owned()]));
}

#[test]
fn a_user_gets_the_attributes_of_a_file_that_its_owner_may_not_write() {
    let Some(live) = stage_of_user("a_user_gets_the_attributes…") else { return };
    let tool = live.at("/usr/pkg/bin/tool");
    if lsetxattr(&tool, "user.note", b"hi", XattrFlags::empty()).is_err() {
        return crate::skipped("a_user_gets_the_attributes…: this file system has no user attributes");
    }
    fs::write(&tool, "tool 2\n").unwrap();
    set_mode(&tool, 0o444);
    refreshed_by_user(&live);
    let staged = live.beside("open/web/usr/pkg/bin/tool");
    let mut note = [0_u8; 8];
    assert_eq!(lgetxattr(&staged, "user.note", &mut note[..]), Ok(2));
    assert_eq!((fs::read_to_string(&staged).unwrap().as_str(), mode(&staged)), ("tool 2\n", 0o444));
}

#[test]
fn what_is_in_a_directory_of_another_user_is_theirs_in_a_stage_of_root_too() {
    if !is_root() {
        return crate::skipped("what_is_in_a_directory_of_another_user…: another user is needed");
    }
    let live = root_with_set_id_program();
    live.directory("/usr/pkg/data");
    chown(live.at("/usr/pkg/data"), Some(NOBODY), Some(NOBODY)).unwrap();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let stage = live.beside("web/usr/pkg");
    // They may write to this one on the root as well, so the stage gives them nothing.
    fs::write(stage.join("data/of-root"), "root\n").unwrap();
    // They may write to this one in the stage only.
    fs::create_dir(stage.join("lib")).unwrap();
    for (path, mode) in [("lib/theirs", 0o6755), ("lib/open", 0o666), ("lib/of-root", 0o4755)] {
        fs::write(stage.join(path), "lib\n").unwrap();
        if path != "lib/of-root" {
            chown(stage.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        set_mode(&stage.join(path), mode);
    }
    fs::hard_link(stage.join("lib/of-root"), stage.join("bin/again")).unwrap();
    set_mode(&stage.join("lib"), 0o777);
    let said = live.run("stage promote web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    for line in [
        "  withheld: /usr/pkg/bin/again: set-id bits\n",
        "  withheld: /usr/pkg/lib/of-root: set-id bits\n",
        "  withheld: /usr/pkg/lib/open: owner, write permission of group or others\n",
        "  withheld: /usr/pkg/lib/theirs: owner, set-id bits\n",
    ] {
        assert!(said.stdout.contains(line), "{line}: {said:?}");
    }
    assert_eq!(said.stdout.matches("withheld").count(), 4, "{said:?}");
    let note =
        "web/usr/pkg/lib, owners, capabilities and set-id bits of the root are kept: everyone can write to";
    assert!((said.stdout.clone() + &said.stderr).contains(note), "{said:?}");
    for (path, expected) in [
        ("data/of-root", (0, 0o644)),
        ("lib", (0, 0o777)),
        ("lib/theirs", (0, 0o755)),
        ("lib/open", (0, 0o644)),
        ("lib/of-root", (0, 0o755)),
        ("bin/again", (0, 0o755)),
    ] {
        let path = live.at(&format!("/usr/pkg/{path}"));
        assert_eq!((owner(&path), mode(&path)), expected, "{path:?}");
    }
}

#[test]
fn another_owner_of_what_the_root_has_is_asked_for_and_told() {
    if !is_root() {
        return crate::skipped("another_owner_of_what_the_root_has…: another user is needed");
    }
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let stage = live.beside("web/usr/pkg");
    chown(stage.join("bin/tool"), Some(NOBODY), None).unwrap();
    let entry = json!({"path": "/usr/pkg/bin/tool", "mode": "0755", "capabilities": false, "change": "owner", "owner": format!("{NOBODY}:0")});
    let before = live.everything();
    let told = format!("/usr/pkg/bin/tool changes owner from 0:0 to {NOBODY}:0");
    for options in ["", "--dry-run"] {
        let run = live.run(&format!("stage promote web -R @ROOT@ {options}"));
        assert_eq!(run.code, 3, "{run:?}");
        let said = run.stdout + &run.stderr;
        assert!(said.contains("other owners: ") && said.contains(&told), "{said}");
        assert!(said.contains("--allow-set-id"), "{said}");
        assert_same(&live.everything(), &before);
    }
    let said = live.run("stage promote web -R @ROOT@ --allow-set-id --dry-run").ok();
    assert!(said.contains(&format!("  owner: {told}\n")), "{said}");
    let said = document(&live, "stage promote web -R @ROOT@ --json --allow-set-id");
    assert_eq!(said["set_id"], json!([entry]), "{said}");
    assert_eq!(owner(&live.at("/usr/pkg/bin/tool")), NOBODY);
    // The same for a directory, whose owner decides who may write there.
    chown(stage.join("bin"), Some(NOBODY), None).unwrap();
    let said = live.run("stage promote web -R @ROOT@").fails(3);
    assert!(said.contains(&format!("/usr/pkg/bin changes owner from 0:0 to {NOBODY}:0")), "{said}");
    // A new object has no owner on the root yet.
    chown(stage.join("bin"), Some(0), None).unwrap();
    fs::write(stage.join("bin/new"), "new\n").unwrap();
    chown(stage.join("bin/new"), Some(NOBODY), None).unwrap();
    live.run("stage promote web -R @ROOT@").ok();
    assert_eq!(owner(&live.at("/usr/pkg/bin/new")), NOBODY);
}

#[test]
fn a_stage_that_claims_to_be_one_of_root_changes_nothing_of_its_record() {
    let Some(live) = stage_of_user("a_stage_that_claims…") else { return };
    live.run("stage new mine --name web -R @ROOT@ --path usr/pkg").ok();
    let (mine, theirs) = (live.beside("mine"), live.beside("open/web"));
    for file in ["identity", "base.0"] {
        fs::copy(mine.join(".patchadm-stage").join(file), theirs.join(".patchadm-stage").join(file)).unwrap();
    }
    let before = listed(&live);
    fs::write(theirs.join("usr/pkg/bin/theirs"), "theirs\n").unwrap();
    let said = live.run("stage promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(listed(&live), before);
    live.file("/usr/pkg/bin/more", "more\n");
    refreshed_by_user(&live);
    assert_eq!(listed(&live), before);
    // The promotion does not count for the stage of root, which continues from its own base.
    let promotions = document(&live, "stage list -R @ROOT@ --json");
    assert_eq!(promotions["stages"][0]["promotions"], json!([]), "{promotions}");
    fs::write(mine.join("usr/pkg/bin/tool"), "tool 2\n").unwrap();
    live.run("stage promote mine -R @ROOT@").ok();
    assert_eq!(
        (live.text("/usr/pkg/bin/tool"), live.text("/usr/pkg/bin/theirs")),
        ("tool 2\n".into(), "theirs\n".into())
    );
    let before = listed(&live);
    live.run("stage drop open/web -R @ROOT@").ok();
    assert!(!theirs.exists());
    assert_eq!(listed(&live), before);
    live.run("stage drop mine -R @ROOT@").ok();
    assert!(!live.at(STAGES).exists());
}

#[test]
fn a_cache_of_a_user_hides_no_bytes_of_a_set_id_program() {
    let Some(live) = stage_of_user("a_cache_of_a_user…") else { return };
    // The user separates two names of one program; the first one gets the bytes of the stage.
    live.link("/usr/pkg/bin/su2", "/usr/pkg/bin/su");
    refreshed_by_user(&live);
    let stage = live.beside("open/web");
    let (su, su2) = (stage.join("usr/pkg/bin/su"), stage.join("usr/pkg/bin/su2"));
    fs::remove_file(&su).unwrap();
    fs::write(&su, "su 9\n").unwrap();
    let bytes = fs::read(&su2).unwrap();
    fs::remove_file(&su2).unwrap();
    fs::write(&su2, &bytes).unwrap();
    for path in [&su, &su2] {
        set_mode(path, 0o755);
    }
    // Their cache claims that the bytes are those of the root.
    let known: Vec<(ObjectPath, KnownFile)> = ["/usr/pkg/bin/su", "/usr/pkg/bin/su2"]
        .into_iter()
        .map(|path| {
            let at = stage.join(&path[1..]);
            let directory = Dir::of_host(at.parent().unwrap()).unwrap();
            let seen = directory.look(at.file_name().unwrap().as_encoded_bytes()).unwrap().unwrap();
            let sums = Sums::through(&mut [0; 16], &mut bytes.as_slice()).unwrap();
            let file = KnownFile { inode: seen.inode, mtime: seen.mtime, ctime: seen.ctime, sums };
            (ObjectPath::new(path.as_bytes()).unwrap(), file)
        })
        .collect();
    let none = Xattrs::new();
    let files = known.iter().map(|(path, file)| ReadFile { path, file: *file, xattrs: &none });
    let cache = write_cache(
        files.filter(|file| file.is_kept(Timestamp::whole(i64::from(u32::MAX)))),
        std::iter::empty(),
    );
    assert_ne!(StageCache::parse(&cache), StageCache::default(), "a cache that would be believed");
    fs::write(stage.join(".patchadm-stage/cache"), cache).unwrap();
    let said = live.run("stage promote open/web -R @ROOT@").fails(3);
    assert!(said.contains("/usr/pkg/bin/su (mode 4755) gets different contents"), "{said}");
    assert_eq!(live.text("/usr/pkg/bin/su"), "su 1\n");
}

#[test]
fn another_name_of_a_set_id_program_comes_and_goes_without_a_change_of_it() {
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    fs::hard_link(live.beside("web/usr/pkg/bin/su"), live.beside("web/usr/pkg/bin/again")).unwrap();
    for back in ["undo -R @ROOT@", "patchrm -R @ROOT@ web-02"] {
        live.run("stage promote web -R @ROOT@ --allow-set-id").ok();
        assert_eq!(mode(&live.at("/usr/pkg/bin/again")), 0o4755);
        live.run(back).ok();
        assert!(!live.at("/usr/pkg/bin/again").exists());
        assert_eq!(format!("{:o}", mode(&live.at("/usr/pkg/bin/su"))), "4755");
    }
}

#[test]
fn another_name_in_the_stage_of_a_user_gives_no_object_the_owner_or_the_rights_of_that_name() {
    let Some(live) = stage_of_user("another_name_in_the_stage_of_a_user…") else { return };
    live.file("/usr/pkg/a/score", "score\n");
    live.mode("/usr/pkg/a/score", 0o666);
    live.file("/usr/pkg/a/theirs", "theirs\n");
    live.mode("/usr/pkg/a/theirs", 0o644);
    chown(live.at("/usr/pkg/a/theirs"), Some(NOBODY), Some(NOBODY)).unwrap();
    refreshed_by_user(&live);
    let stage = live.beside("open/web/usr/pkg");
    fs::write(stage.join("a/score"), "score 2\n").unwrap();
    fs::remove_file(stage.join("bin/tool")).unwrap();
    for (name, other) in [("a/score", "bin/tool"), ("a/theirs", "bin/new"), ("a/theirs", "a/theirs-2")] {
        fs::hard_link(stage.join(name), stage.join(other)).unwrap();
    }
    let said = live.run("stage promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    for (path, expected) in [
        ("a/score", (0o666, 0, 1)),
        ("bin/tool", (0o644, 0, 1)),
        ("a/theirs", (0o644, NOBODY, 1)),
        ("bin/new", (0o644, 0, 2)),
        ("a/theirs-2", (0o644, 0, 2)),
    ] {
        let path = live.at(&format!("/usr/pkg/{path}"));
        let links = fs::symlink_metadata(&path).unwrap().nlink();
        assert_eq!((mode(&path), owner(&path), links), expected, "{path:?}");
    }
    assert_eq!(live.text("/usr/pkg/bin/tool"), "score 2\n");
    assert_eq!(live.run("stage promote open/web -R @ROOT@").code, 0);
}

#[test]
fn a_link_in_the_place_of_a_listed_stage_leads_to_no_other_one() {
    let Some(live) = stage_of_user("a_link_in_the_place…") else { return };
    live.run("stage new prod -R @ROOT@ --path usr/pkg").ok();
    fs::rename(live.beside("open/web"), live.beside("open/old")).unwrap();
    symlink(live.beside("prod"), live.beside("open/web")).unwrap();
    fs::write(live.beside("prod/usr/pkg/bin/tool"), "tool 2\n").unwrap();
    for line in ["stage drop web -R @ROOT@", "stage promote web -R @ROOT@", "stage refresh web -R @ROOT@"] {
        let said = live.run(line);
        assert_ne!(said.code, 0, "{said:?}");
        assert!(said.stdout.is_empty(), "{said:?}");
    }
    assert!(live.beside("prod/usr/pkg/bin/tool").exists());
    assert_eq!(live.text("/usr/pkg/bin/tool"), "tool 1\n");
}

#[test]
fn a_refresh_closes_a_stage_whose_root_was_closed_since() {
    let live = root_with_set_id_program();
    set_mode(&live.root(), 0o755);
    live.run("stage new web -R @ROOT@ --path usr/pkg/bin").ok();
    assert_eq!(mode(&live.beside("web")), 0o755);
    live.mode("/usr/pkg", 0o700);
    live.file("/usr/pkg/bin/secret", "secret\n");
    live.run("stage refresh web -R @ROOT@").ok();
    assert_eq!(format!("{:o}", mode(&live.beside("web/usr/pkg"))), "700");
    assert_eq!(fs::read_to_string(live.beside("web/usr/pkg/bin/secret")).unwrap(), "secret\n");
    live.mode("/usr/pkg", 0o755);
    set_mode(&live.root(), 0o700);
    live.run("stage refresh web -R @ROOT@").ok();
    assert_eq!(format!("{:o}", mode(&live.beside("web"))), "700");
}

#[test]
fn a_stage_of_a_root_that_others_cannot_enter_is_closed_to_them() {
    let live = root_with_set_id_program();
    for (closed, expected) in [("root", 0o700), ("nothing", 0o755)] {
        if closed == "root" {
            set_mode(&live.root(), 0o700);
        } else {
            set_mode(&live.root(), 0o755);
        }
        fs::create_dir(live.beside("empty")).unwrap();
        set_mode(&live.beside("empty"), 0o755);
        for stage in ["web", "empty"] {
            live.run(&format!("stage new {stage} -R @ROOT@ --path usr/pkg")).ok();
            assert_eq!(
                format!("{:o}", mode(&live.beside(stage))),
                format!("{expected:o}"),
                "{stage}, {closed}"
            );
            live.run(&format!("stage drop {stage} -R @ROOT@")).ok();
        }
        let _ = fs::remove_dir(live.beside("empty"));
    }
}

#[test]
fn a_link_of_a_user_that_leads_out_of_the_promoted_paths_is_asked_for_and_told() {
    let Some(live) = stage_of_user("a_link_of_a_user_that_leads_out…") else { return };
    live.file("/usr/pkg/conf/a", "a\n");
    live.directory("/usr/pkg/www/own/deep");
    for (target, link) in [("/home/own", "own"), ("/etc", "etc")] {
        symlink(target, live.at(&format!("/usr/pkg/{link}"))).unwrap();
    }
    refreshed_by_user(&live);
    let stage = live.beside("open/web/usr/pkg");
    // Links within the paths, and links that the root has, do not matter.
    fs::create_dir(stage.join("deep")).unwrap();
    for (target, link) in [
        ("../conf/a", "deep/relative"),
        ("/usr/pkg/conf/../bin/tool", "absolute"),
        ("relative", "deep/chain"),
        ("/usr/pkg/nothing", "dangling"),
        ("/../usr/pkg/bin", "above"),
    ] {
        symlink(target, stage.join(link)).unwrap();
    }
    fs::write(stage.join("bin/tool"), "tool 2\n").unwrap();
    let said = live.run("stage promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.stdout.contains("link:"), "{said:?}");

    // A link in place of a directory of the root needs the option if it leads to the user's files.
    fs::remove_dir_all(stage.join("conf")).unwrap();
    for (target, link, way) in [
        ("/home/u/myetc", "conf", "an absolute one"),
        ("../../home/u", "conf", "a relative one"),
        ("own/myetc", "conf", "through a link of the root"),
        ("deep/within", "conf", "through a link of the user"),
    ] {
        let _ = fs::remove_file(stage.join(link));
        symlink(target, stage.join(link)).unwrap();
        if way == "through a link of the user" {
            symlink("../../../home/u", stage.join("deep/within")).unwrap();
        }
        let said = live.run("stage promote open/web -R @ROOT@ --max-delete 100%").fails(3);
        let told =
            format!("links of another user: /usr/pkg/conf becomes a link to {target}, which is outside");
        assert!(said.contains(&told) && said.contains("--allow-set-id"), "{way}: {said}");
        assert_eq!(live.text("/usr/pkg/conf/a"), "a\n");
    }
    fs::remove_file(stage.join("deep/within")).unwrap();
    fs::remove_file(stage.join("conf")).unwrap();
    fs::create_dir(stage.join("conf")).unwrap();
    fs::write(stage.join("conf/a"), "a\n").unwrap();

    // So does a link to a directory that belongs to the user on the root.
    chown(live.at("/usr/pkg/www/own"), Some(NOBODY), Some(NOBODY)).unwrap();
    fs::remove_dir_all(stage.join("conf")).unwrap();
    for target in ["www/own", "www", "/usr/pkg/www/own/deep"] {
        let _ = fs::remove_file(stage.join("conf"));
        symlink(target, stage.join("conf")).unwrap();
        let said = live.run("stage promote open/web -R @ROOT@ --max-delete 100%").fails(3);
        let told = format!(
            "/usr/pkg/conf becomes a link to {target}, which is outside the promoted paths or writable"
        );
        assert!(said.contains(&told), "{said}");
    }
    fs::remove_file(stage.join("conf")).unwrap();
    fs::create_dir(stage.join("conf")).unwrap();
    fs::write(stage.join("conf/a"), "a\n").unwrap();

    // So does a link with another target than before.
    fs::remove_file(stage.join("etc")).unwrap();
    symlink("/home/u", stage.join("etc")).unwrap();
    let entry = json!({
        "path": "/usr/pkg/etc", "mode": "0777", "capabilities": false, "change": "link", "target": "/home/u"
    });
    let told = "/usr/pkg/etc becomes a link to /home/u, which is outside the promoted paths";
    let said = live.run("stage promote open/web -R @ROOT@").fails(3);
    assert!(said.contains(told), "{said}");
    let said = document(&live, "stage promote open/web -R @ROOT@ --json --dry-run --allow-set-id");
    assert_eq!(said["set_id"], json!([entry]), "{said}");
    let said = live.run("stage promote open/web -R @ROOT@ --allow-set-id").stdout;
    assert!(said.contains(&format!("  link: {told}")), "{said}");
    assert_eq!(fs::read_link(live.at("/usr/pkg/etc")).unwrap(), Path::new("/home/u"));
    live.run("undo -R @ROOT@").ok();
    assert_eq!(fs::read_link(live.at("/usr/pkg/etc")).unwrap(), Path::new("/etc"));
}

#[test]
fn a_name_means_the_listed_stage_and_no_directory_that_somebody_has_put_here() {
    let live = root_with_set_id_program();
    fs::create_dir(live.beside("elsewhere")).unwrap();
    live.run("stage new elsewhere/web -R @ROOT@ --path usr/pkg").ok();
    fs::write(live.beside("elsewhere/web/usr/pkg/bin/tool"), "tool 2\n").unwrap();
    // Another stage of the name is here.
    live.run("stage new forged --name other -R @ROOT@ --path usr/pkg").ok();
    fs::rename(live.beside("forged"), live.beside("web")).unwrap();
    fs::write(live.beside("web/usr/pkg/bin/tool"), "forged\n").unwrap();
    for line in [
        "stage promote web",
        "stage promote web --two-way",
        "stage status web",
        "stage refresh web",
        "stage drop web",
    ] {
        let said = live.run(&format!("{line} -R @ROOT@")).fails(3);
        let listed = live.beside("elsewhere/web");
        let told = format!("the root lists the stage web at {}, and here is another web", listed.display());
        assert!(said.contains(&told), "{line}: {said}");
    }
    assert_eq!(live.text("/usr/pkg/bin/tool"), "tool 1\n");
    // Either of them can be named.
    live.run("stage status ./web -R @ROOT@").ok();
    live.run("stage promote elsewhere/web -R @ROOT@").ok();
    assert_eq!(live.text("/usr/pkg/bin/tool"), "tool 2\n");
    // The listed one may be here because it was moved.
    fs::remove_dir_all(live.beside("web")).unwrap();
    fs::rename(live.beside("elsewhere/web"), live.beside("web")).unwrap();
    live.run("stage status web -R @ROOT@").ok();
}
