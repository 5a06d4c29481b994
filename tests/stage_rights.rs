//! What a stage may put into its root: the record of the root says it, whatever the stage says of itself.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::Path;

use serde_json::{Value, json};

use crate::everyman::{NOBODY, as_ordinary_user};
use crate::promote::Staged;
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::assert_same;

/// The sentence about owners that do not come.
const STAY: &str = "owners, capabilities and set-id bits stay as they are on the root: ";

/// The list of the stages of a root.
const STAGES: &str = "/var/sadm/patchadm/stages";

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

fn owner(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().uid()
}

/// Gives a directory with everything in it away.
fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), user);
        }
    }
}

/// A root that everybody may read, with a set-id program below `/usr/pkg`.
fn root_with_set_id_program() -> Scenario {
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

/// A stage `open/web` of this root that an ordinary user made and owns; none where the test is not root.
fn stage_of_user(test: &str) -> Option<Scenario> {
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

/// The identity of a stage, edited.
fn edit_identity(stage: &Path, old: &str, new: &str) {
    let file = stage.join(".patchadm-stage/identity");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(old), "{text}");
    fs::write(&file, text.replace(old, new)).unwrap();
}

fn document(live: &Scenario, line: &str) -> Value {
    serde_json::from_str(&live.run(line).stdout).unwrap()
}

/// Takes from the list what only later versions record.
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

/// What the root records of its only stage.
fn listed(live: &Scenario) -> Value {
    serde_json::from_str(live.text(STAGES).trim()).unwrap()
}

/// Puts a set-id program that belongs to the ordinary user into a stage, and gives the tree away.
fn put_theirs(tree: &Path) {
    let theirs = tree.join("usr/pkg/bin/theirs");
    fs::write(&theirs, "theirs\n").unwrap();
    for path in ["usr/pkg", "usr/pkg/bin", "usr/pkg/bin/theirs"] {
        chown(tree.join(path), Some(NOBODY), Some(NOBODY)).unwrap();
    }
    set_mode(&theirs, 0o6755);
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
    let said = live.run("promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    let said = said.stdout + &said.stderr;
    assert!(said.contains(&format!("{STAY}the root does not list this stage")), "{said}");
    assert_nothing_is_theirs(&live);
    // What was there keeps what it had.
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
    let said = live.run("promote open/web -R @ROOT@");
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
    let said = live.run("promote web -R @ROOT@");
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
    live.run("promote web -R @ROOT@").ok();
    let line = listed(&live);
    let second = line["bases"]["web-01"].as_str().unwrap().to_owned();
    assert_eq!((line["bases"]["0"].as_str().unwrap(), second != first), (first.as_str(), true));
    live.file("/usr/pkg/bin/more", "more\n");
    live.run("stage refresh web -R @ROOT@").ok();
    let line = listed(&live);
    assert!(line["bases"]["0"] != first.as_str() && line["bases"]["web-01"] != second.as_str(), "{line}");
    assert_eq!(live.run("stage refresh web -R @ROOT@").ok(), "nothing to bring into stage web\n");
    assert_eq!(listed(&live), line, "nothing changed");
    assert_eq!(live.run("promote web -R @ROOT@").ok(), "nothing to promote in /usr/pkg\n");
    // A promotion that came off is needed no more.
    live.run("patchrm -R @ROOT@ web-01").ok();
    live.run("promote web -R @ROOT@").ok();
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
    // As it was before: the stage would bring the old tool back.
    fs::write(&base, before).unwrap();
    fs::write(live.beside("web/usr/pkg/bin/tool"), "tool 1\n").unwrap();
    let root = live.everything();
    for line in [
        "promote web -R @ROOT@",
        "promote web -R @ROOT@ --dry-run",
        "stage status web -R @ROOT@",
        "stage refresh web -R @ROOT@",
    ] {
        let said = live.run(line).fails(33);
        assert!(
            said.contains("web/.patchadm-stage/base.0 is not the base that the root has recorded"),
            "{said}"
        );
        assert_same(&live.everything(), &root);
    }
    live.run("promote web -R @ROOT@ --two-way").ok();
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
        (Some(|live| set_mode(&live.beside("web"), 0o757)), "everybody may write "),
        (Some(|live| chown(live.beside("web"), Some(NOBODY), None).unwrap()), "belongs to uid "),
        (Some(|live| chown(live.beside("web/.patchadm-stage"), Some(NOBODY), None).unwrap()), own),
        (Some(|live| chown(live.beside("web/.patchadm-stage/identity"), Some(NOBODY), None).unwrap()), own),
    ];
    for (spoil, reason) in spoils {
        let live = root_with_set_id_program();
        live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
        as_listed_by_0_1(&live);
        put_theirs(&live.beside("web"));
        if let Some(spoil) = spoil {
            spoil(&live);
        }
        let said = live.run("promote web -R @ROOT@ --allow-set-id");
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
        live.run("stage refresh web -R @ROOT@").ok();
        let line = listed(&live);
        if is_spoiled {
            assert!(line.get("owner").is_none(), "{line}");
        } else {
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
        put_theirs(&live.beside("tree"));
        if is_theirs {
            chown(live.beside("tree"), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let said = live.run("promote tree -R @ROOT@ --two-way --path usr/pkg --allow-set-id");
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

/// Promotes with changes of set-id files: refused without the option, and nothing is changed; with it done, and told.
#[track_caller]
fn asks_for_set_id(live: &Scenario, stage: &str, told: &str, entry: &Value) {
    let before = live.everything();
    let promote = |options: &str| -> Run { live.run(&format!("promote {stage} -R @ROOT@ {options}")) };
    for options in ["", "--dry-run"] {
        let run = promote(options);
        assert_eq!(run.code, 10, "{run:?}");
        let said = run.stdout + &run.stderr;
        assert!(said.contains(told) && said.contains("--allow-set-id"), "{said}");
        assert_same(&live.everything(), &before);
    }
    for options in ["", "--dry-run", "--allow-set-id --dry-run", "--allow-set-id"] {
        let said = document(live, &format!("promote {stage} -R @ROOT@ --json {options}"));
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
    asks_for_set_id(&live, "web", "/usr/pkg/bin/su (mode 4755) gets other bytes", &entry);
    assert_eq!((live.text("/usr/pkg/bin/su"), mode(&live.at("/usr/pkg/bin/su"))), ("su 2\n".into(), 0o4755));
}

#[test]
fn other_bytes_in_a_set_id_program_are_asked_for_where_the_stage_never_had_the_bits() {
    let Some(live) = stage_of_user("other_bytes_in_a_set_id_program…") else { return };
    fs::write(live.beside("open/web/usr/pkg/bin/su"), "su of a user\n").unwrap();
    let entry = json!({"path": "/usr/pkg/bin/su", "mode": "4755", "capabilities": false, "change": "bytes"});
    asks_for_set_id(&live, "open/web", "/usr/pkg/bin/su (mode 4755) gets other bytes", &entry);
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
    let said = live.run("promote web -R @ROOT@").fails(10);
    assert!(
        said.contains("/usr/pkg/bin/again (mode 4755) is new") && said.contains("--allow-set-id"),
        "{said}"
    );
    fs::remove_file(live.beside("web/usr/pkg/bin/again")).unwrap();
    // To take the bits away, or the program, is not to be asked for.
    set_mode(&live.beside("web/usr/pkg/bin/tool"), 0o755);
    fs::remove_file(live.beside("web/usr/pkg/bin/new")).unwrap();
    live.run("promote web -R @ROOT@").ok();
}

#[test]
fn other_bytes_in_a_program_with_capabilities_are_asked_for_and_told() {
    if !is_root() {
        return crate::skipped("other_bytes_in_a_program_with_capabilities…: only root gives capabilities");
    }
    let live = root_with_set_id_program();
    // cap_net_raw, permitted and effective.
    let value = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let give = |path: &Path| {
        rustix::fs::setxattr(path, "security.capability", &value, rustix::fs::XattrFlags::empty())
    };
    if give(&live.at("/usr/pkg/bin/tool")).is_err() {
        return crate::skipped("other_bytes_in_a_program_with_capabilities…: this file system has none");
    }
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let staged = live.beside("web/usr/pkg/bin/tool");
    fs::write(&staged, "tool 2\n").unwrap();
    give(&staged).unwrap();
    let entry = json!({"path": "/usr/pkg/bin/tool", "mode": "0755", "capabilities": true, "change": "bytes"});
    asks_for_set_id(&live, "web", "/usr/pkg/bin/tool (mode 0755 with capabilities) gets other bytes", &entry);
}

#[test]
fn a_plan_with_set_id_files_has_the_option_in_its_file() {
    let live = root_with_set_id_program();
    live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    fs::write(live.beside("web/usr/pkg/bin/su"), "su 2\n").unwrap();
    set_mode(&live.beside("web/usr/pkg/bin/su"), 0o4755);
    let before = live.everything();
    let run = live.run("promote web -R @ROOT@ --dry-run --save-plan plan.json");
    assert!(run.code == 10 && !live.beside("plan.json").exists(), "{run:?}");
    live.run("promote web -R @ROOT@ --dry-run --allow-set-id --save-plan plan.json").ok();
    assert_same(&live.everything(), &before);
    live.run("promote -R @ROOT@ --plan plan.json").ok();
    assert_eq!(live.text("/usr/pkg/bin/su"), "su 2\n");
}

#[test]
fn the_list_of_stages_that_is_damaged_is_found_by_verify_and_doctor() {
    let staged = Staged::new();
    let line = staged.live.text(STAGES);
    fs::write(staged.live.at(STAGES), line.replace("\"owners\":true,", "")).unwrap();
    let words = "var/sadm/patchadm/stages: line 1: of `owner`, `owners` and `bases` one is missing";
    let said = staged.live.run("verify -R @ROOT@");
    assert!(said.code == 1 && (said.stdout.clone() + &said.stderr).contains(words), "{said:?}");
    let said = staged.live.run("doctor -R @ROOT@");
    assert!((said.stdout.clone() + &said.stderr).contains(words), "{said:?}");
    assert!(staged.promote("").fails(33).contains(words));
    // It stops nothing else.
    assert_eq!(staged.live.run("list -R @ROOT@").ok(), "No patches are applied.\n");
    // As advised: without the line the stage is promoted by its directory.
    fs::write(staged.live.at(STAGES), "").unwrap();
    staged.write("share/0", "new\n");
    staged.promote("--two-way").ok();
}

#[test]
fn a_refresh_by_root_leaves_no_set_id_program_in_the_stage_of_a_user() {
    let Some(live) = stage_of_user("a_refresh_by_root_leaves…") else { return };
    live.file("/usr/pkg/bin/su", "su 2\n");
    live.mode("/usr/pkg/bin/su", 0o4755);
    live.run("stage refresh open/web -R @ROOT@").ok();
    let copy = live.beside("open/web/usr/pkg/bin/su");
    assert_eq!((fs::read_to_string(&copy).unwrap(), mode(&copy)), ("su 2\n".into(), 0o755));
    assert_eq!(live.run("stage refresh open/web -R @ROOT@").ok(), "nothing to bring into stage web\n");
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
    live.run("stage refresh open/web -R @ROOT@").ok();
    let stage = live.beside("open/web/usr/pkg");
    // A program in the place of a directory with the bit.
    fs::remove_dir(stage.join("spool")).unwrap();
    fs::write(stage.join("spool"), "theirs\n").unwrap();
    set_mode(&stage.join("spool"), 0o755);
    let said = live.run("promote open/web -R @ROOT@");
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(mode(&live.at("/usr/pkg/spool")), 0o755);
    let made = std::process::Command::new("mknod").arg(stage.join("null")).args(["c", "1", "3"]).status();
    if made.is_ok_and(|status| status.success()) {
        let said = live.run("promote open/web -R @ROOT@").fails(10);
        assert!(said.contains("/usr/pkg/null") && said.contains("a device"), "{said}");
    }
}
