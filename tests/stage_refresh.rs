//! `stage refresh`: changes of the live tree come into the stage, and nothing else is changed anywhere.

mod interrupted;
mod refused;

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::promote::{Staged, set_time, time};
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::{Tree, assert_same};

/// A user without rights.
const NOBODY: u32 = 65_534;

const NOTHING: &str = "stage web is up to date\n";

fn refresh(staged: &Staged, options: &str) -> Run {
    staged.live.run(&format!("stage refresh web -R @ROOT@ {options}"))
}

fn document(staged: &Staged, options: &str) -> Value {
    serde_json::from_str(&refresh(staged, &format!("--json {options}")).stdout).unwrap()
}

/// A file of the stage's own.
fn own(staged: &Staged, name: &str) -> PathBuf {
    staged.live.beside("web/.patchadm-stage").join(name)
}

/// The stage with its own files, except the lock.
fn whole_stage(staged: &Staged) -> Tree {
    Tree::of(&staged.live.beside("web"), &[".patchadm-stage/lock"])
}

fn staged_text(staged: &Staged, path: &str) -> String {
    fs::read_to_string(staged.at(path)).unwrap()
}

fn live(staged: &Staged, path: &str) -> PathBuf {
    staged.live.at("/usr/pkg").join(path)
}

fn set_mode(path: PathBuf, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Changes of the live tree of every kind.
fn change_live(staged: &Staged) {
    staged.live.file("/usr/pkg/lib/libt.so.1", "library 2\n");
    staged.live.file("/usr/pkg/new/deep/er", "new\n");
    staged.live.mode("/usr/pkg/new/deep", 0o700);
    staged.live.link("/usr/pkg/new/other", "/usr/pkg/new/deep/er");
    fs::remove_file(live(staged, "lib/libt.so")).unwrap();
    staged.live.symlink("/usr/pkg/lib/libt.so", "libt.so.2");
    fs::remove_file(live(staged, "share/7")).unwrap();
    staged.live.mode("/usr/pkg/etc/tool.conf", 0o600);
    staged.live.pipe("/usr/pkg/pipe");
    staged.live.mtime("/usr/pkg/share/0", 1_600_000_000);
}

#[test]
fn what_the_live_tree_changed_comes_to_the_last_attribute() {
    let staged = Staged::new();
    change_live(&staged);
    let before = staged.live.everything();
    // Eight objects, one of which only got another time, and two directories that are new.
    assert_eq!(refresh(&staged, "").ok(), "10 paths updated in stage web\n");
    assert_same(&staged.staged_tree(), &staged.tree());
    for path in ["lib/libt.so.1", "lib/libt.so", "new/deep/er", "pipe", "share/0"] {
        assert_eq!(time(&staged.at(path)), time(&live(&staged, path)), "{path}");
    }
    let inode = |path: PathBuf| fs::metadata(path).unwrap().ino();
    assert_eq!(inode(staged.at("new/other")), inode(staged.at("new/deep/er")));
    assert_ne!(inode(staged.at("new/other")), inode(live(&staged, "new/other")), "never the live file");
    assert_same(&staged.live.everything(), &before);
    assert_eq!(refresh(&staged, "").ok(), NOTHING);
    assert_eq!(staged.promote("").ok(), "nothing to promote in /usr/pkg\n");
    assert!(!own(&staged, "refresh").exists());
}

#[test]
fn what_the_stage_changed_stays_and_goes_live_later() {
    let staged = Staged::new();
    let first = staged.tree();
    staged.write("bin/tool", "tool 2\n");
    staged.write("bin/new", "new\n");
    staged.remove("share/1");
    set_mode(staged.at("etc/tool.conf"), 0o640);
    staged.live.file("/usr/pkg/lib/libt.so.1", "library 2\n");
    staged.live.file("/usr/pkg/log", "live\n");
    assert_eq!(refresh(&staged, "").ok(), "2 paths updated in stage web\n");
    assert_eq!(
        (staged_text(&staged, "bin/tool"), staged_text(&staged, "bin/new")),
        ("tool 2\n".to_owned(), "new\n".to_owned())
    );
    assert_eq!(
        (staged_text(&staged, "lib/libt.so.1"), staged_text(&staged, "log")),
        ("library 2\n".to_owned(), "live\n".to_owned())
    );
    assert!(!staged.at("share/1").exists());
    let refreshed = staged.tree();
    let said = staged.promote("").ok();
    assert!(said.starts_with("web-01: applied (LOCLweb; "), "{said}");
    assert_same(&staged.tree(), &staged.staged_tree());
    staged.live.run("undo -R @ROOT@").ok();
    assert_same(&staged.tree(), &refreshed);
    // The stage goes live again, without the objects that it only got from the live tree.
    assert_eq!(refresh(&staged, "").ok(), NOTHING);
    let again: Value =
        serde_json::from_str(&staged.live.run("stage promote web -R @ROOT@ --json").stdout).unwrap();
    let counts = &again["paths"][0];
    assert_eq!((&counts["added"], &counts["deleted"]), (&1.into(), &1.into()), "{again}");
    staged.live.run("patchrm -R @ROOT@ web-02").ok();
    assert_same(&staged.tree(), &refreshed);
    assert!(first != refreshed);
}

#[test]
fn what_became_the_same_on_both_is_nothing_to_bring() {
    let staged = Staged::new();
    staged.live.file("/usr/pkg/etc/tool.conf", "port 2\n");
    staged.live.file("/usr/pkg/both", "both\n");
    fs::remove_file(live(&staged, "share/3")).unwrap();
    staged.write("etc/tool.conf", "port 2\n");
    staged.write("both", "both\n");
    staged.remove("share/3");
    for path in ["etc/tool.conf", "both"] {
        set_mode(staged.at(path), 0o644);
        set_time(&staged.at(path), 981_173_106, 0);
    }
    let before = whole_stage(&staged);
    assert_eq!(refresh(&staged, "").ok(), NOTHING);
    assert_same(&whole_stage(&staged), &before);
    let document = document(&staged, "");
    assert_eq!((&document["result"], &document["changed"]), (&"nothing-to-do".into(), &false.into()));
}

/// A stage with a conflict of each kind, and one path that only the live tree changed.
fn in_conflict() -> Staged {
    let staged = Staged::new();
    staged.live.file("/usr/pkg/etc/tool.conf", "live\n");
    staged.write("etc/tool.conf", "stage\n");
    staged.live.file("/usr/pkg/share/0", "live\n");
    staged.remove("share/0");
    fs::remove_file(live(&staged, "share/1")).unwrap();
    staged.write("share/1", "stage\n");
    staged.live.file("/usr/pkg/two", "live\n");
    staged.write("two", "stage\n");
    staged.live.file("/usr/pkg/log", "live\n");
    staged
}

#[test]
fn what_both_changed_stops_everything_unless_it_is_decided() {
    let staged = in_conflict();
    let before = (whole_stage(&staged), staged.live.everything());
    let table = |word: &str| {
        json!([
            {"path": "/usr/pkg/etc/tool.conf", "stage": "changed", "live": "changed", "decision": word},
            {"path": "/usr/pkg/share/0", "stage": "gone", "live": "changed", "decision": word},
            {"path": "/usr/pkg/share/1", "stage": "changed", "live": "gone", "decision": word},
            {"path": "/usr/pkg/two", "stage": "new", "live": "new", "decision": word}
        ])
    };
    let text = refresh(&staged, "").fails(3);
    assert!(
        text.contains("stage web was not refreshed")
            && text.contains("use the live files with `--edited replace`"),
        "{text}"
    );
    for path in ["etc/tool.conf", "share/0", "share/1", "two"] {
        assert!(text.contains(&format!("/usr/pkg/{path}")), "{text}");
    }
    for options in ["", "--dry-run", "--edited stop"] {
        let said = document(&staged, options);
        assert_eq!(said["conflicts"], table("stop"));
        assert_eq!((&said["cause"], &said["result"]), (&"conflict".into(), &"refused".into()));
        assert_eq!(said["changed"], false);
    }
    assert_same(&whole_stage(&staged), &before.0);
    assert_eq!(document(&staged, "--dry-run --edited keep")["conflicts"], table("keep"));
    let said = document(&staged, "--edited keep");
    assert_eq!(
        (&said["conflicts"], &said["taken"], &said["changed"]),
        (&table("keep"), &1.into(), &true.into())
    );
    assert_eq!(staged_text(&staged, "log"), "live\n");
    assert_eq!(staged_text(&staged, "two"), "stage\n");
    assert!(!staged.at("share/0").exists() && staged.at("share/1").exists());
    staged.promote("").fails(3);
    let said = document(&staged, "--edited replace");
    assert_eq!((&said["conflicts"], &said["taken"]), (&table("replace"), &4.into()));
    assert_same(&staged.staged_tree(), &staged.tree());
    assert_same(&staged.live.everything(), &before.1);
    assert_eq!(refresh(&staged, "").ok(), NOTHING);
    assert_eq!(staged.promote("").ok(), "nothing to promote in /usr/pkg\n");
}

#[test]
fn single_paths_are_decided_by_name_and_by_the_policy() {
    let staged = in_conflict();
    refresh(&staged, "--replace-edited /usr/pkg/two").fails(3);
    refresh(&staged, "--edited keep --replace-edited /usr/pkg/two").ok();
    assert_eq!(staged_text(&staged, "two"), "live\n");
    assert_eq!(staged_text(&staged, "etc/tool.conf"), "stage\n");
    refresh(&staged, "--edited replace --keep-edited /usr/pkg/etc/tool.conf").ok();
    assert_eq!(staged_text(&staged, "etc/tool.conf"), "stage\n");
    assert!(staged.at("share/0").exists() && !staged.at("share/1").exists());
    staged.live.file("/etc/patchadm/policy", "edited=replace\n");
    assert_eq!(refresh(&staged, "").ok(), "1 path updated in stage web\n");
    assert_eq!(staged_text(&staged, "etc/tool.conf"), "live\n");
}

#[test]
fn a_time_alone_comes_and_never_conflicts() {
    let staged = Staged::new();
    set_time(&live(&staged, "share/0"), 1_600_000_000, 5);
    set_time(&live(&staged, "share/1"), 1_600_000_000, 6);
    set_time(&staged.at("share/1"), 1_500_000_000, 0);
    set_time(&staged.at("share/2"), 1_500_000_000, 0);
    set_time(&live(&staged, "share/3"), 1_600_000_000, 0);
    staged.write("share/3", "stage\n");
    set_time(&live(&staged, "bin/tool"), 1_600_000_000, 7);
    set_time(&live(&staged, "share"), 1_600_000_000, 0);
    let inode = fs::metadata(staged.at("share/0")).unwrap().ino();
    // Two of the numbered files, and both names of the tool.
    let said = document(&staged, "");
    assert_eq!((&said["taken"], &said["conflicts"]), (&4.into(), &json!([])));
    assert_eq!(time(&staged.at("share/0")), (1_600_000_000, 5));
    assert_eq!(time(&staged.at("share/1")), (1_600_000_000, 6));
    assert_eq!(time(&staged.at("share/2")), (1_500_000_000, 0), "only the stage changed it");
    assert_eq!(staged_text(&staged, "share/3"), "stage\n");
    assert_eq!(time(&staged.at("bin/again")), (1_600_000_000, 7));
    assert_eq!(fs::metadata(staged.at("share/0")).unwrap().ino(), inode, "it was not copied again");
    assert_eq!(refresh(&staged, "").ok(), NOTHING);
}

#[test]
fn what_is_gone_or_something_else_on_the_live_tree_is_so_in_the_stage() {
    let staged = Staged::new();
    fs::remove_dir_all(live(&staged, "share")).unwrap();
    fs::remove_file(live(&staged, "etc/tool.conf")).unwrap();
    staged.live.file("/usr/pkg/etc/tool.conf/part", "a directory\n");
    fs::remove_dir_all(live(&staged, "lib")).unwrap();
    staged.live.symlink("/usr/pkg/lib", "bin");
    fs::remove_file(live(&staged, "bin/again")).unwrap();
    staged.live.file("/usr/pkg/bin/again", "tool 1\n");
    refresh(&staged, "").ok();
    assert_same(&staged.staged_tree(), &staged.tree());
    assert_eq!(refresh(&staged, "").ok(), NOTHING);
    assert_eq!(staged.promote("").ok(), "nothing to promote in /usr/pkg\n");
    // A directory in which the stage has something of its own stays for that.
    fs::remove_dir_all(live(&staged, "etc")).unwrap();
    staged.write("etc/mine", "stage\n");
    refresh(&staged, "").ok();
    assert_eq!(staged_text(&staged, "etc/mine"), "stage\n");
    assert!(!staged.at("etc/tool.conf").exists());
    staged.promote("").ok();
    assert_eq!(staged.text("etc/mine"), "stage\n");
    // Changes of the live tree below a directory that the stage removed must be decided first.
    staged.live.file("/usr/pkg/doc/a", "1\n");
    refresh(&staged, "").ok();
    fs::remove_dir_all(staged.at("doc")).unwrap();
    staged.live.file("/usr/pkg/doc/a", "2\n");
    refresh(&staged, "").fails(3);
    refresh(&staged, "--edited replace").ok();
    assert_eq!(staged_text(&staged, "doc/a"), "2\n");
    // A link in place of a directory is not followed.
    fs::remove_dir_all(staged.at("doc")).unwrap();
    symlink(staged.live.beside(""), staged.at("doc")).unwrap();
    staged.live.file("/usr/pkg/doc/b", "2\n");
    for choice in ["", "--edited keep"] {
        refresh(&staged, choice).fails(3);
    }
    assert!(!staged.live.beside("b").exists());
}

#[test]
fn the_bases_of_promotions_that_come_off_know_what_was_brought_before() {
    let staged = Staged::new();
    // Links that sort before others, and a directory that gets another time: no difference of what was there already.
    staged.write("a/one", "1\n");
    fs::hard_link(staged.at("a/one"), staged.at("a/two")).unwrap();
    staged.write("etc/more", "1\n");
    set_time(&staged.at("share/5"), 1_500_000_000, 0);
    staged.promote("").ok();
    staged.live.file("/usr/pkg/bin/tool", "tool 2\n");
    staged.live.mode("/usr/pkg/etc", 0o750);
    staged.live.file("/usr/pkg/share/5", "live 2\n");
    staged.live.file("/usr/pkg/log", "live 2\n");
    staged.live.file("/usr/pkg/a/one", "2\n");
    refresh(&staged, "").ok();
    let then = staged.promote("--dry-run").ok();
    assert!(then.contains("nothing to promote"), "{then}");
    staged.live.run("undo -R @ROOT@").ok();
    staged.live.file("/usr/pkg/bin/tool", "tool 3\n");
    staged.live.mode("/usr/pkg/etc", 0o700);
    staged.live.file("/usr/pkg/share/5", "live 3\n");
    staged.live.file("/usr/pkg/log", "live 3\n");
    let said = document(&staged, "--dry-run");
    let conflicts: Vec<&str> =
        said["conflicts"].as_array().unwrap().iter().map(|one| one["path"].as_str().unwrap()).collect();
    // The base of the beginning does not have these paths at all.
    assert!(conflicts.iter().all(|path| path.starts_with("/usr/pkg/a")), "{said}");
    refresh(&staged, "--edited keep").ok();
    assert_eq!(staged_text(&staged, "bin/again"), "tool 3\n");
    assert_eq!(staged_text(&staged, "share/5"), "live 3\n");
    assert_eq!(staged_text(&staged, "log"), "live 3\n");
}

#[test]
fn a_dry_run_says_the_same_and_changes_nothing_at_all() {
    let staged = Staged::new();
    change_live(&staged);
    let before = (whole_stage(&staged), Tree::of(&staged.live.root(), &[]));
    assert_eq!(refresh(&staged, "--dry-run").ok(), "10 paths would be updated in stage web\n");
    let planned = document(&staged, "--dry-run");
    assert_eq!((&planned["result"], &planned["changed"]), (&"planned".into(), &false.into()));
    assert_same(&whole_stage(&staged), &before.0);
    assert_same(&Tree::of(&staged.live.root(), &[]), &before.1);
    let done = document(&staged, "");
    assert_eq!((&done["command"], &done["result"]), (&"stage refresh".into(), &"done".into()));
    assert_eq!((&done["stage"], &done["taken"]), (&"web".into(), &planned["taken"]));
    assert_eq!((&done["changed"], &done["exit_code"]), (&true.into(), &0.into()));
}

#[test]
fn what_is_volatile_is_always_taken_as_it_is_on_the_live_tree() {
    let live = Scenario::new();
    for name in ["log", "state", "same"] {
        live.file(&format!("/usr/pkg/{name}"), "1\n");
    }
    live.package("ACMEweb", "PKG=ACMEweb\nNAME=web\nARCH=all\nVERSION=1\nPKGINST=ACMEweb\n");
    live.contents(&[
        "/usr/pkg/log v none 0644 root bin 2 59 981173106 ACMEweb",
        "/usr/pkg/same v none 0644 root bin 2 59 981173106 ACMEweb",
        "/usr/pkg/state v none 0644 root bin 2 59 981173106 ACMEweb",
    ]);
    let staged = Staged::of(live);
    staged.live.file("/usr/pkg/log", "live\n");
    staged.write("log", "stage\n");
    staged.write("state", "stage\n");
    let said = document(&staged, "");
    assert_eq!((&said["taken"], &said["conflicts"][0]["decision"]), (&2.into(), &"replace".into()), "{said}");
    assert_eq!((staged_text(&staged, "log"), staged_text(&staged, "state")), ("live\n".into(), "1\n".into()));
    assert_eq!(refresh(&staged, "").ok(), NOTHING);
}

#[test]
fn what_others_may_only_read_is_brought_by_whoever_owns_the_stage() {
    if !is_root() {
        return crate::skipped("stage_refresh: another user is needed");
    }
    let live = Scenario::new();
    live.file("/usr/pkg/a", "1\n");
    live.file("/usr/pkg/b", "1\n");
    for directory in [live.beside(""), live.root()] {
        set_mode(directory, 0o755);
    }
    fs::create_dir(live.beside("open")).unwrap();
    std::os::unix::fs::chown(live.beside("open"), Some(NOBODY), Some(NOBODY)).unwrap();
    let as_nobody = |line: &str| {
        let output = live.command(line).uid(NOBODY).gid(NOBODY).output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let said = as_nobody("stage new open/web -R @ROOT@ --path usr/pkg");
    assert_eq!(said.0, Some(0), "{}", said.1);
    live.file("/usr/pkg/a", "2\n");
    live.mode("/usr/pkg/b", 0o4755);
    let before = Tree::of(&live.root(), &[]);
    let said = as_nobody("stage refresh open/web -R @ROOT@");
    assert_eq!(said.0, Some(0), "{}", said.1);
    assert_eq!(fs::read_to_string(live.beside("open/web/usr/pkg/a")).unwrap(), "2\n");
    let said = as_nobody("stage refresh open/web -R @ROOT@");
    assert_eq!((said.0, said.1.as_str()), (Some(0), NOTHING));
    assert_same(&Tree::of(&live.root(), &[]), &before);
}

#[test]
fn what_a_stage_was_made_without_is_neither_brought_nor_deleted() {
    let live = Scenario::new();
    for path in ["a", "b", "c", "d", "log/one", "x.bak"] {
        live.file(&format!("/usr/pkg/{path}"), "1\n");
    }
    live.run("stage new web -R @ROOT@ --path usr/pkg --exclude usr/pkg/log --exclude *.bak").ok();
    let stage = live.beside("web");
    live.file("/usr/pkg/log/one", "2\n");
    live.file("/usr/pkg/log/two", "2\n");
    live.file("/usr/pkg/y.bak", "2\n");
    assert_eq!(live.run("stage refresh web -R @ROOT@").ok(), NOTHING);
    live.file("/usr/pkg/a", "2\n");
    assert_eq!(live.run("stage refresh web -R @ROOT@").ok(), "1 path updated in stage web\n");
    assert!(!stage.join("usr/pkg/log").exists() && !stage.join("usr/pkg/y.bak").exists());
    fs::write(stage.join("usr/pkg/b"), "2\n").unwrap();
    live.run("stage promote web -R @ROOT@").ok();
    assert_eq!(live.text("/usr/pkg/b"), "2\n");
    for path in ["/usr/pkg/log/one", "/usr/pkg/log/two", "/usr/pkg/x.bak", "/usr/pkg/y.bak"] {
        assert!(live.at(path).exists(), "{path}");
    }
    fs::write(stage.join(".patchadm-stage/excluded"), "[\"*.bak\"").unwrap();
    let said = live.run("stage refresh web -R @ROOT@").fails(1);
    assert!(said.contains("/.patchadm-stage/excluded: "), "{said}");
}
