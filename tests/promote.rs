//! `stage promote`: the changes of a stage go live as a patch, and can be backed out.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::records;
use crate::scenario::{Run, Scenario};
use crate::tree::{Tree, assert_same};

/// A root with a product tree that no package owns, staged as `web` beside it.
pub(crate) struct Staged {
    pub(crate) live: Scenario,
    stage: PathBuf,
}

impl Staged {
    pub(crate) fn new() -> Self {
        Self::on(Scenario::new())
    }

    /// The same on a disk. In memory a tree that somebody writes to without pause may change during each reading of it.
    pub(crate) fn on_disk() -> Self {
        Self::on(Scenario::on_disk())
    }

    fn on(live: Scenario) -> Self {
        live.file("/usr/pkg/bin/tool", "tool 1\n");
        live.mode("/usr/pkg/bin/tool", 0o755);
        live.link("/usr/pkg/bin/again", "/usr/pkg/bin/tool");
        live.file("/usr/pkg/lib/libt.so.1", "library 1\n");
        live.symlink("/usr/pkg/lib/libt.so", "libt.so.1");
        live.file("/usr/pkg/etc/tool.conf", "port 1\n");
        for number in 0..8 {
            live.file(&format!("/usr/pkg/share/{number}"), format!("{number}\n"));
        }
        Self::of(live)
    }

    /// Stages whatever a root has below `/usr/pkg`.
    pub(crate) fn of(live: Scenario) -> Self {
        live.run("stage new web -R @ROOT@ --path usr/pkg").ok();
        let stage = live.beside("web");
        Self { live, stage }
    }

    pub(crate) fn at(&self, path: &str) -> PathBuf {
        self.stage.join("usr/pkg").join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        fs::create_dir_all(self.at(path).parent().unwrap()).unwrap();
        fs::write(self.at(path), text).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        fs::remove_file(self.at(path)).unwrap();
    }

    pub(crate) fn promote(&self, options: &str) -> Run {
        self.live.run(&format!("stage promote web -R @ROOT@ {options}"))
    }

    /// Saves the plan of a promotion to a file.
    pub(crate) fn save_plan(&self, options: &str) -> Run {
        self.live.run(&format!("stage status web -R @ROOT@ --save-plan {options}"))
    }

    fn document(&self, options: &str) -> Value {
        let run = self.live.run(&format!("stage promote web -R @ROOT@ --json {options}"));
        serde_json::from_str(&run.stdout).unwrap()
    }

    /// The product tree of the root.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(&self.live.at("/usr/pkg"), &[])
    }

    pub(crate) fn staged_tree(&self) -> Tree {
        Tree::of(&self.stage.join("usr/pkg"), &[])
    }

    pub(crate) fn text(&self, path: &str) -> String {
        fs::read_to_string(self.live.at(&format!("/usr/pkg/{path}"))).unwrap()
    }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

pub(crate) fn set_time(path: &Path, seconds: u64, nanoseconds: u32) {
    let moment = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
    fs::File::open(path).unwrap().set_modified(moment).unwrap();
}

pub(crate) fn time(path: &Path) -> (i64, i64) {
    let seen = fs::symlink_metadata(path).unwrap();
    (seen.mtime(), seen.mtime_nsec())
}

#[test]
fn what_the_stage_changed_goes_live_and_comes_back_to_the_last_attribute() {
    let staged = Staged::new();
    let before = (staged.tree(), records(&staged.live.root()));
    staged.write("bin/new", "new\n");
    staged.write("doc/deep/er", "doc\n");
    staged.write("lib/libt.so.1", "library 2\n");
    set_time(&staged.at("lib/libt.so.1"), 1_700_000_000, 123_456_789);
    staged.remove("lib/libt.so");
    symlink("libt.so.2", staged.at("lib/libt.so")).unwrap();
    staged.remove("share/7");
    fs::set_permissions(staged.at("etc/tool.conf"), fs::Permissions::from_mode(0o600)).unwrap();
    let said = staged.promote("").ok();
    assert!(said.starts_with("web-01: applied (LOCLweb; 3 replaced, 4 added, 1 deleted; "), "{said}");
    assert_same(&staged.tree(), &staged.staged_tree());
    assert_eq!(time(&staged.live.at("/usr/pkg/lib/libt.so.1")), (1_700_000_000, 123_456_789));
    assert_eq!(staged.promote("").ok(), "nothing to promote in /usr/pkg\n");
    assert_eq!(staged.live.run("pkgchk -R @ROOT@").ok(), "");
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_same(&staged.tree(), &before.0);
    assert_eq!(staged.live.lines(), Vec::<String>::new());
    assert!(
        !staged.live.at("/var/sadm/pkg/LOCLweb").exists()
            && !staged.live.at("/var/sadm/patch/web-01").exists()
    );
    let said = staged.promote("").ok();
    assert!(said.starts_with("web-02: applied (LOCLweb; 3 replaced, 4 added, 1 deleted; "), "{said}");
    staged.live.run("undo -R @ROOT@").ok();
    assert_same(&staged.tree(), &before.0);
}

#[test]
fn what_only_the_live_tree_changed_stays() {
    let staged = Staged::new();
    staged.live.file("/usr/pkg/log", "live\n");
    staged.live.file("/usr/pkg/etc/tool.conf", "port 2\n");
    fs::remove_file(staged.live.at("/usr/pkg/share/0")).unwrap();
    staged.write("bin/new", "new\n");
    let document = staged.document("");
    assert_eq!(document["result"], "done", "{document}");
    let kept: Vec<&str> =
        document["kept"].as_array().unwrap().iter().map(|kept| kept["path"].as_str().unwrap()).collect();
    assert_eq!(kept, ["/usr/pkg/etc/tool.conf", "/usr/pkg/log", "/usr/pkg/share/0"]);
    assert_eq!((staged.text("log").as_str(), staged.text("etc/tool.conf").as_str()), ("live\n", "port 2\n"));
    assert!(!staged.live.at("/usr/pkg/share/0").exists());
}

#[test]
fn what_both_changed_stops_everything_unless_it_is_decided() {
    let staged = Staged::new();
    staged.live.file("/usr/pkg/etc/tool.conf", "live\n");
    staged.write("etc/tool.conf", "stage\n");
    staged.write("bin/new", "new\n");
    let before = staged.live.everything();
    let text = staged.promote("").fails(3);
    assert!(text.contains("changed in the stage and in the live tree: "), "{text}");
    assert!(text.contains("/usr/pkg/etc/tool.conf") && text.contains("--edited replace"), "{text}");
    assert_same(&staged.live.everything(), &before);
    let document = staged.document("--dry-run");
    let expected = serde_json::json!([
        {"path": "/usr/pkg/etc/tool.conf", "stage": "changed", "live": "changed", "decision": "stop"}
    ]);
    assert_eq!(document["conflicts"], expected);
    assert_eq!((&document["cause"], &document["result"]), (&"conflict".into(), &"refused".into()));
    staged.promote("--edited keep").ok();
    assert_eq!((staged.text("etc/tool.conf").as_str(), staged.text("bin/new").as_str()), ("live\n", "new\n"));
    assert_eq!(staged.promote("").ok(), "nothing to promote in /usr/pkg\n", "it was decided");
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    staged.promote("--replace-edited /usr/pkg/etc/tool.conf").ok();
    assert_eq!(staged.text("etc/tool.conf"), "stage\n");
    staged.live.run("patchrm -R @ROOT@ web-02").ok();
    assert_eq!(staged.text("etc/tool.conf"), "live\n");
}

#[test]
fn attributes_alone_change_in_place_and_are_not_saved_with_content() {
    let staged = Staged::new();
    let before = staged.tree();
    for number in 0..8 {
        set_time(&staged.at(&format!("share/{number}")), 1_600_000_000, 5);
    }
    fs::set_permissions(staged.at("bin/tool"), fs::Permissions::from_mode(0o700)).unwrap();
    let inode = |path: &str| fs::metadata(staged.live.at(path)).unwrap().ino();
    let inodes = (inode("/usr/pkg/share/3"), inode("/usr/pkg/bin/tool"));
    let document = staged.document("--undo-format none");
    assert_eq!(document["paths"][0]["attributes"], 10, "{document}");
    assert_eq!(document["paths"][0]["replaced"], 0);
    assert_eq!((inode("/usr/pkg/share/3"), inode("/usr/pkg/bin/tool")), inodes);
    assert_eq!(mode(&staged.live.at("/usr/pkg/bin/again")), 0o700, "both names of it");
    assert_same(&staged.tree(), &staged.staged_tree());
    let archive = fs::read(staged.live.at("/var/sadm/pkg/LOCLweb/save/web-01/undo")).unwrap();
    assert!(!archive.windows(7).any(|bytes| bytes == b"tool 1\n"), "no content of it is saved");
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_same(&staged.tree(), &before);
    assert_eq!((inode("/usr/pkg/share/3"), inode("/usr/pkg/bin/tool")), inodes);
}

#[test]
fn names_of_a_file_part_and_come_together_as_in_the_stage() {
    let staged = Staged::new();
    let before = staged.tree();
    staged.remove("bin/again");
    fs::copy(staged.at("bin/tool"), staged.at("bin/again")).unwrap();
    staged.remove("share/1");
    fs::hard_link(staged.at("share/0"), staged.at("share/1")).unwrap();
    fs::hard_link(staged.at("share/2"), staged.at("share/more")).unwrap();
    staged.promote("").ok();
    assert_same(&staged.tree(), &staged.staged_tree());
    assert_eq!(staged.promote("").ok(), "nothing to promote in /usr/pkg\n");
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_same(&staged.tree(), &before);
}

#[test]
fn files_from_before_1970_go_live_and_come_back_and_the_records_stay_readable() {
    let age = |path: &Path| {
        let moment = SystemTime::UNIX_EPOCH - Duration::from_millis(3_600_500);
        fs::File::open(path).unwrap().set_modified(moment).unwrap();
    };
    let live = Scenario::new();
    live.file("/usr/pkg/old", "old\n");
    live.file("/usr/pkg/other", "other\n");
    age(&live.at("/usr/pkg/old"));
    let staged = Staged::of(live);
    let before = staged.tree();
    staged.write("old", "new\n");
    staged.write("other", "aged\n");
    age(&staged.at("other"));
    staged.promote("").ok();
    assert_same(&staged.tree(), &staged.staged_tree());
    let lines = staged.live.lines();
    let is_untimed =
        |line: &&String| line.starts_with("/usr/pkg/other f none ") && line.ends_with(" ? LOCLweb");
    assert!(lines.iter().any(|line| is_untimed(&line)), "{lines:?}");
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_same(&staged.tree(), &before);
}

#[test]
fn a_name_that_goes_with_a_backout_leaves_the_file_that_stays_as_it_was() {
    let staged = Staged::new();
    fs::remove_file(staged.live.at("/usr/pkg/share/1")).unwrap();
    let before = staged.tree();
    let moment = SystemTime::UNIX_EPOCH + Duration::new(1_000, 7);
    fs::File::open(staged.at("share/0")).unwrap().set_modified(moment).unwrap();
    staged.remove("share/1");
    fs::hard_link(staged.at("share/0"), staged.at("share/1")).unwrap();
    staged.promote("--edited replace").ok();
    assert_same(&staged.tree(), &staged.staged_tree());
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_same(&staged.tree(), &before);
}

#[test]
fn objects_that_become_something_else_come_and_go_whole() {
    let staged = Staged::new();
    let before = staged.tree();
    fs::remove_dir_all(staged.at("share")).unwrap();
    staged.write("share", "a file\n");
    staged.remove("etc/tool.conf");
    staged.write("etc/tool.conf/part", "a directory\n");
    staged.remove("lib/libt.so");
    assert!(Command::new("mkfifo").arg(staged.at("lib/libt.so")).status().unwrap().success());
    staged.promote("--max-delete 100%").ok();
    assert_same(&staged.tree(), &staged.staged_tree());
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_same(&staged.tree(), &before);
}

#[test]
fn later_promotions_come_off_in_order_and_each_has_its_own_base() {
    let staged = Staged::new();
    let before = staged.tree();
    staged.write("a", "1\n");
    staged.write("bin/tool", "tool 2\n");
    staged.promote("").ok();
    let first = staged.tree();
    staged.write("a", "2\n");
    staged.write("b", "1\n");
    staged.live.file("/usr/pkg/b-live", "live\n");
    staged.promote("").ok();
    let text = staged.live.run("patchrm -R @ROOT@ web-01").fails(6);
    assert!(text.contains("web-02"), "{text}");
    fs::remove_file(staged.live.at("/usr/pkg/b-live")).unwrap();
    staged.live.run("patchrm -R @ROOT@ web-02").ok();
    assert_same(&staged.tree(), &first);
    let document = staged.document("--dry-run");
    assert_eq!((&document["base"], &document["id"]), (&"web-01".into(), &"web-03".into()));
    assert_eq!(document["paths"][0]["added"], 1, "{document}");
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_same(&staged.tree(), &before);
    let document = staged.document("--dry-run");
    assert_eq!((&document["base"], &document["paths"][0]["added"]), (&"0".into(), &2.into()), "{document}");
}

#[test]
fn one_path_can_be_promoted_alone_and_the_rest_later() {
    let live = Scenario::new();
    live.file("/usr/pkg/a", "1\n");
    live.file("/var/db/pkg/a", "1\n");
    live.run("stage new web -R @ROOT@ --path usr/pkg --path var/db/pkg").ok();
    let stage = live.beside("web");
    fs::write(stage.join("usr/pkg/a"), "2\n").unwrap();
    fs::write(stage.join("var/db/pkg/a"), "2\n").unwrap();
    live.run("stage promote web -R @ROOT@ --path usr/pkg").ok();
    let text = |path: &str| fs::read_to_string(live.at(path)).unwrap();
    assert_eq!((text("/usr/pkg/a"), text("/var/db/pkg/a")), ("2\n".into(), "1\n".into()));
    live.run("stage promote web -R @ROOT@").ok();
    assert_eq!(text("/var/db/pkg/a"), "2\n");
    live.run("stage promote web -R @ROOT@ --path usr/other").fails(4);
}

#[test]
fn changed_paths_are_recorded_for_the_packages_that_own_them() {
    let package = Package::new("ACMEweb")
        .param("BASEDIR", "/usr/pkg")
        .file("own", 0o644, "1\n")
        .file("gone", 0o644, "1\n");
    let live = Scenario::with(&[package]);
    for number in 0..8 {
        live.file(&format!("/usr/pkg/other{number}"), "x\n");
    }
    let staged = Staged::of(live);
    let before = (staged.tree(), staged.live.lines());
    staged.write("own", "2\n");
    staged.remove("gone");
    staged.write("new", "2\n");
    let document = staged.document("");
    let packages: Vec<(&str, bool)> = document["packages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["new"].as_bool().unwrap()))
        .collect();
    assert_eq!(packages, [("LOCLweb", true), ("ACMEweb", false)]);
    let lines = staged.live.lines();
    assert!(
        lines.iter().any(|line| line.starts_with("/usr/pkg/own f none 0644 ") && line.ends_with(" ACMEweb"))
    );
    assert!(
        lines.iter().any(|line| line.starts_with("/usr/pkg/new f ") && line.ends_with(" LOCLweb")),
        "{lines:?}"
    );
    assert!(!lines.iter().any(|line| line.starts_with("/usr/pkg/gone ")));
    assert_eq!(staged.live.run("pkgparam -R @ROOT@ ACMEweb PATCHLIST").ok(), "web-01\n");
    assert_eq!(staged.live.run("pkgchk -R @ROOT@").ok(), "");
    let patch =
        Patch::of("100-01", Package::new("ACMEweb").param("BASEDIR", "/usr/pkg").file("own", 0o644, "3\n"));
    staged.live.patchadd("", &patch).ok();
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_eq!(staged.text("own"), "3\n", "the later patch stays");
    staged.live.run("patchrm -R @ROOT@ 100-01").ok();
    assert_same(&staged.tree(), &before.0);
    assert_eq!(staged.live.lines(), before.1);
}

#[test]
fn a_tree_without_identity_is_compared_with_the_live_one_alone() {
    let live = Scenario::new();
    live.file("/opt/web/a", "1\n");
    live.file("/opt/web/only-live", "1\n");
    let dest = live.beside("dest");
    fs::create_dir_all(dest.join("opt/web/new")).unwrap();
    fs::write(dest.join("opt/web/a"), "2\n").unwrap();
    fs::write(dest.join("opt/web/new/b"), "2\n").unwrap();
    let line = |options: &str| format!("stage promote {} -R @ROOT@ {options}", dest.display());
    live.run(&line("")).fails(4);
    let text = |path: &str| fs::read_to_string(live.at(path)).unwrap();
    let before = live.tree();
    live.run(&line("--two-way --path opt/web")).ok();
    assert_eq!((text("/opt/web/a"), text("/opt/web/new/b")), ("2\n".into(), "2\n".into()));
    assert!(live.at("/opt/web/only-live").exists());
    assert_eq!(live.run("list -R @ROOT@ --json").code, 0);
    live.run("patchrm -R @ROOT@ dest-01").ok();
    assert_same(&live.tree(), &before);
    live.run(&line("--two-way")).ok();
    assert_eq!(text("/opt/web/a"), "2\n");
    live.run("patchrm -R @ROOT@ dest-02").ok();
    live.run(&line("--two-way --delete")).fails(2);
    live.run(&line("--two-way --delete --path opt/web --max-delete 100% --id site-07")).ok();
    assert!(!live.at("/opt/web/only-live").exists());
    live.run("patchrm -R @ROOT@ site-07").ok();
    assert_same(&live.tree(), &before);
    assert!(!dest.join(".patchadm-stage").exists(), "nothing is written to it");
}

#[test]
fn guards_keep_a_live_tree_from_being_emptied() {
    let staged = Staged::new();
    let before = staged.live.everything();
    for number in 0..5 {
        staged.remove(&format!("share/{number}"));
    }
    let text = staged.promote("").fails(3);
    assert!(text.contains("would be deleted, more than 25%") && text.contains("--max-delete"), "{text}");
    staged.promote("--max-delete 4").fails(3);
    assert_eq!(staged.promote("--max-delete 5 --dry-run").code, 0);
    for entry in fs::read_dir(staged.at("")).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    let text = staged.promote("--max-delete 100%").fails(3);
    assert!(text.contains("/usr/pkg is empty in the stage"), "{text}");
    fs::remove_dir(staged.at("")).unwrap();
    staged.promote("--max-delete 100%").fails(1);
    staged.live.file("/etc/patchadm/policy", "max_delete=0\n");
    assert_same(&Tree::of(&staged.live.at("/usr"), &[]), &Tree::of(&staged.live.at("/usr"), &[]));
    fs::remove_dir_all(staged.live.at("/etc/patchadm")).unwrap();
    assert_same(&staged.live.everything(), &before);
}

#[test]
fn ids_are_new_and_later_ones() {
    let staged = Staged::new();
    staged.write("a", "1\n");
    staged.promote("--id other-01").fails(2);
    staged.promote("--id web-05").ok();
    staged.write("a", "2\n");
    staged.promote("--id web-05").fails(3);
    staged.promote("--id web-04").fails(3);
    staged.live.run("patchrm -R @ROOT@ web-05").ok();
    let said = staged.promote("").ok();
    assert!(said.starts_with("web-06: "), "{said}");
}

#[test]
fn a_package_with_the_name_of_the_local_one_is_left_alone() {
    let staged = Staged::of(Scenario::with(&[Package::new("LOCLweb")
        .param("BASEDIR", "/usr/pkg")
        .file("x", 0o644, "x\n")]));
    staged.write("a", "1\n");
    let text = staged.promote("").fails(3);
    assert!(text.contains("package LOCLweb is installed and is not the local package of web"), "{text}");
}

#[test]
fn sockets_numbers_of_processes_and_excluded_paths_are_left_and_listed() {
    let staged = Staged::new();
    staged.write("run/tool.pid", "1\n");
    staged.write("cache/x", "1\n");
    staged.write("a", "1\n");
    let _socket = std::os::unix::net::UnixListener::bind(staged.at("run/socket")).unwrap();
    let document = staged.document("--exclude cache");
    let mut kept: Vec<(&str, &str)> = document["kept"]
        .as_array()
        .unwrap()
        .iter()
        .map(|kept| (kept["path"].as_str().unwrap(), kept["reason"].as_str().unwrap()))
        .collect();
    kept.sort_unstable();
    assert_eq!(
        kept,
        [
            ("/usr/pkg/cache", "excluded"),
            ("/usr/pkg/run/socket", "socket"),
            ("/usr/pkg/run/tool.pid", "volatile")
        ]
    );
    assert!(staged.live.at("/usr/pkg/a").exists() && !staged.live.at("/usr/pkg/cache").exists());
    assert!(!staged.live.at("/usr/pkg/run/tool.pid").exists());
}

#[test]
fn a_stage_inside_a_promoted_path_is_refused() {
    let staged = Staged::new();
    let inside = staged.live.at("/usr/pkg/inside");
    fs::create_dir(&inside).unwrap();
    let copy = Command::new("cp").arg("-a").arg(staged.stage.join(".")).arg(&inside).status().unwrap();
    assert!(copy.success());
    let line = format!("stage promote {} -R @ROOT@", inside.display());
    let text = staged.live.run(&line).fails(3);
    assert!(text.contains("are nested"), "{text}");
}

#[test]
fn a_base_that_is_cut_short_or_of_another_promotion_is_not_believed() {
    let staged = Staged::new();
    staged.write("a", "1\n");
    staged.promote("").ok();
    let base = staged.stage.join(".patchadm-stage/base.web-01");
    let whole = fs::read(&base).unwrap();
    fs::write(&base, &whole[..whole.len() - 10]).unwrap();
    staged.write("a", "2\n");
    let text = staged.promote("").fails(1);
    assert!(text.contains("base.web-01"), "{text}");
    fs::copy(staged.stage.join(".patchadm-stage/base.0"), &base).unwrap();
    staged.promote("").fails(1);
    fs::write(&base, &whole).unwrap();
    staged.promote("").ok();
}

#[test]
fn a_local_package_with_a_promotion_cannot_be_removed_as_a_package() {
    let staged = Staged::new();
    staged.write("a", "1\n");
    staged.promote("").ok();
    let before = staged.live.everything();
    let text = staged.live.run("pkgrm -n -R @ROOT@ LOCLweb").fails(4);
    assert!(text.contains("web-01"), "{text}");
    assert_same(&staged.live.everything(), &before);
}

#[test]
fn undo_data_can_be_elsewhere_or_not_kept_at_all() {
    let staged = Staged::new();
    let before = staged.tree();
    staged.write("a", "1\n");
    let elsewhere = staged.live.beside("undo");
    fs::create_dir(&elsewhere).unwrap();
    staged.promote(&format!("--undo-dir {}", elsewhere.display())).ok();
    assert!(elsewhere.join("web-01/LOCLweb").is_dir());
    staged.live.run("patchrm -R @ROOT@ web-01").ok();
    assert_same(&staged.tree(), &before);
    staged.promote("--no-undo").ok();
    staged.live.run("patchrm -R @ROOT@ web-02").fails(4);
}

#[test]
fn a_root_without_database_gets_one() {
    let live = Scenario::bare();
    live.file("/opt/web/a", "1\n");
    let dest = live.beside("dest");
    fs::create_dir_all(dest.join("opt/web")).unwrap();
    fs::write(dest.join("opt/web/a"), "2\n").unwrap();
    live.run(&format!("stage promote {} -R @ROOT@ --two-way --path opt/web --dry-run", dest.display())).ok();
    assert!(!live.at("/var").exists());
    live.run(&format!("stage promote {} -R @ROOT@ --two-way --path opt/web", dest.display())).ok();
    assert_eq!(
        live.run("pkginfo -R @ROOT@").ok(),
        "local       LOCLdest Local changes promoted from stage dest\n"
    );
    live.run("patchrm -R @ROOT@ dest-01").ok();
    assert_eq!(fs::read_to_string(live.at("/opt/web/a")).unwrap(), "1\n");
}
