//! `stage new` and `stage list`: copies of directories of a root, their records, and refusals.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use patchadm_core::operation::stages::new::{NewStageRequest, make_stage};
use patchadm_core::operation::stages::own_files::Stage;
use patchadm_core::operation::stages::tree::{Tree as StagedTree, read_tree};
use patchadm_core::operation::stages::{StageError, TreeRequest};
use patchadm_inputs::stage::{Base, CacheSide, LeftOut, Scope, staged_path};
use patchadm_rootfs::{Door, Root};
use serde_json::Value;

use crate::delivery::Patch;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::reliability::stories::with_caller;
use crate::scenario::{Scenario, is_root};
use crate::tree::{Tree, assert_same};

/// A root with a tree of every kind of object that its caller can make.
fn root() -> Scenario {
    let root = Scenario::new();
    root.file("/usr/pkg/bin/a", "one\n");
    root.mode("/usr/pkg/bin/a", 0o755);
    root.link("/usr/pkg/bin/b", "/usr/pkg/bin/a");
    root.symlink("/usr/pkg/bin/l", "a");
    root.pipe("/usr/pkg/p");
    root.file("/usr/pkg/etc/with space \u{e9}", "x");
    root.file("/var/db/pkg/a", "registered\n");
    root.file("/opt/other", "not staged\n");
    root
}

fn document(stage: &Scenario, line: &str) -> Value {
    serde_json::from_str(&stage.run(line).ok()).unwrap()
}

fn base(scenario: &Scenario, stage: &str) -> Base {
    let tree = Root::open(&scenario.beside(stage)).unwrap();
    Stage::of_tree(tree).unwrap().base(b"base.0").unwrap()
}

fn read(top: &Path, scope: &Scope) -> Result<StagedTree, StageError> {
    let root = Root::open(top).unwrap();
    let (left, known) = (LeftOut::default(), CacheSide::default());
    read_tree(&TreeRequest { root: &root, scope, left: &left, known: &known, interrupt: &|| None })
}

fn scope(paths: &[&str]) -> Scope {
    Scope::new(paths.iter().map(|path| staged_path(path.as_bytes()).unwrap()).collect()).unwrap()
}

#[test]
fn a_stage_has_copies_with_everything_and_its_base_says_what_they_were() {
    let root = root();
    let said = root.run("stage new web -R @ROOT@ --path usr/pkg --path /var/db/pkg").ok();
    assert!(said.starts_with("stage web ("), "{said}");
    let stage = root.beside("web");
    for path in ["usr/pkg", "var/db/pkg"] {
        assert_same(&Tree::of(&stage.join(path), &[]), &Tree::of(&root.at(path), &[]));
    }
    let inode = |path: &Path| fs::symlink_metadata(path).unwrap().ino();
    let copy = stage.join("usr/pkg/bin/a");
    assert_ne!(inode(&copy), inode(&root.at("/usr/pkg/bin/a")), "never a link to the live file");
    assert_eq!(inode(&copy), inode(&stage.join("usr/pkg/bin/b")));
    let time = |path: &Path| {
        let seen = fs::symlink_metadata(path).unwrap();
        (seen.mtime(), seen.mtime_nsec())
    };
    for path in ["usr/pkg", "usr/pkg/bin", "usr/pkg/bin/a", "usr/pkg/bin/l", "var/db/pkg/a"] {
        assert_eq!(time(&stage.join(path)), time(&root.at(path)), "{path}");
    }
    assert!(!stage.join("opt").exists());
    let mode = |path: &str| fs::metadata(stage.join(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!([mode("tmp"), mode("usr/tmp"), mode(".patchadm-stage")], [0o1777, 0o1777, 0o700]);
    assert!(stage.join("usr/obj").is_dir() && !stage.join(".patchadm-stage/unfinished").exists());
    let scope = scope(&["usr/pkg", "var/db/pkg"]);
    let (live, copied) = (read(&root.root(), &scope).unwrap(), read(&stage, &scope).unwrap());
    let base = base(&root, "web");
    assert_eq!(base.objects, live.base_objects());
    assert_eq!(base.objects, copied.base_objects());
    assert_eq!(base.header.paths, scope);
}

#[test]
fn the_document_of_a_stage_and_the_list_tell_which_one_it_is() {
    let root = root();
    fs::create_dir(root.beside("jail")).unwrap();
    let made = document(&root, "stage new --json jail --name web -R @ROOT@ --path usr/pkg --exclude etc");
    assert_eq!((&made["command"], &made["result"]), (&"stage new".into(), &"done".into()));
    assert_eq!((&made["objects"], &made["bytes"]), (&6.into(), &4.into()));
    assert_eq!(made["kept"], serde_json::json!([{ "path": "/usr/pkg/etc", "reason": "excluded" }]));
    let listed = document(&root, "stage list --json -R @ROOT@");
    let entry = &listed["stages"][0];
    assert_eq!((&entry["id"], &entry["name"]), (&made["stage"]["id"], &"web".into()));
    assert_eq!((&entry["state"], &entry["inside"]), (&"ok".into(), &0.into()));
    assert_eq!(entry["created"], "2026-11-20T07:00:00Z");
    let said = root.run("stage list -R @ROOT@").ok();
    assert!(said.contains("2026-11-20 07:00 web ") && said.ends_with("/jail\n"), "{said}");
    let history = document(&root, "history --json -R @ROOT@");
    assert_eq!(history["runs"][0]["command"], "stage");
    fs::write(root.beside("jail/.patchadm-stage/identity"), "rubbish").unwrap();
    let state = || document(&root, "stage list --json -R @ROOT@")["stages"][0]["state"].clone();
    assert_eq!(state(), "damaged");
    fs::write(root.beside("jail/.patchadm-stage/unfinished"), "").unwrap();
    assert_eq!(state(), "unfinished");
    fs::remove_dir_all(root.beside("jail")).unwrap();
    assert_eq!(state(), "missing");
    root.run("stage new jail -R @ROOT@ --path usr/pkg").ok();
    let listed = document(&root, "stage list --json -R @ROOT@");
    assert_eq!(listed["stages"].as_array().unwrap().len(), 1, "what was there is gone");
    assert_eq!(state(), "ok");
}

#[test]
fn a_base_that_is_cut_short_is_damage() {
    let root = root();
    root.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let file = root.beside("web/.patchadm-stage/base.0");
    let text = fs::read(&file).unwrap();
    fs::write(&file, &text[..text.len() - 30]).unwrap();
    let listed = document(&root, "stage list --json -R @ROOT@");
    assert_eq!(listed["stages"][0]["state"], "damaged");
}

#[test]
fn a_stage_inside_the_root_but_outside_the_staged_paths_is_the_usual_case() {
    let root = root();
    root.run("stage new @ROOT@/usr/pkg_jail -R @ROOT@ --path usr/pkg").ok();
    assert_same(&Tree::of(&root.at("/usr/pkg_jail/usr/pkg"), &[]), &Tree::of(&root.at("/usr/pkg"), &[]));
}

#[test]
fn whatever_makes_no_stage_is_one_clear_refusal_and_changes_nothing() {
    let root = root();
    root.file("/usr/full/x", "");
    fs::create_dir(root.beside("taken")).unwrap();
    fs::write(root.beside("taken/file"), "").unwrap();
    fs::write(root.beside("file"), "").unwrap();
    symlink("nowhere", root.beside("dangling")).unwrap();
    symlink(root.at("/usr/pkg"), root.beside("way")).unwrap();
    root.symlink("/usr/link", "pkg");
    let before = root.everything();
    for (line, code, reason) in [
        ("taken --path usr/pkg", 3, "taken already exists and is not an empty directory"),
        ("file --path usr/pkg", 3, "file already exists and is not an empty directory"),
        ("dangling --path usr/pkg", 3, "dangling already exists and is not an empty directory"),
        ("@ROOT@/usr/pkg --path usr/pkg", 3, "@ROOT@/usr/pkg already exists"),
        ("@ROOT@/usr/pkg/in --path usr/pkg", 3, "are nested"),
        ("@ROOT@/usr/pkg/bin/in --path usr/pkg", 3, "are nested"),
        ("way/in --path usr/pkg", 3, "are nested"),
        ("@ROOT@/in --path /", 3, "are nested"),
        ("@ROOT@/usr/in --path /", 3, "are nested"),
        ("web --path usr/pkg --path usr/pkg/bin", 2, "/usr/pkg/bin lies inside /usr/pkg"),
        ("web --path usr/pkg --path /usr/pkg", 2, "/usr/pkg lies inside /usr/pkg"),
        ("web --path usr/../etc", 2, "has a `..` component"),
        ("web --path usr/none", 1, "@ROOT@/usr/none does not exist"),
        ("web --path usr/pkg/bin/a", 1, "is not a directory but a file"),
        ("web --path usr/link", 1, "is not a directory but a symbolic link"),
        ("web --path usr/link/bin", 1, "leads through a symbolic link: specify @ROOT@/usr/pkg/bin"),
        ("web --path var/sadm/pkg/ACMEweb", 3, "belongs to the records of the root"),
        ("web --path etc/patchadm", 3, "belongs to the records of the root"),
        ("T100 --path usr/pkg", 2, "<T100> cannot be the name of a stage"),
        ("web --name we.b --path usr/pkg", 2, "<we.b> cannot be the name of a stage"),
        ("no/way --path usr/pkg", 1, "no: No such file or directory"),
        ("web --path usr/pkg --mounts no/file", 1, "no/file: No such file or directory"),
        ("web", 2, "--path <PATH>"),
        ("web --path usr/pkg --roots list", 2, "a stage is a copy of one"),
        ("web --path usr/pkg --exclude [a", 2, "`[` has no `]`"),
    ] {
        let said = root.run(&format!("stage new {line} -R @ROOT@")).fails(code);
        assert!(said.contains(reason), "{line}: {said}");
        assert!(!root.beside("web").exists(), "{line}");
        assert_same(&root.everything(), &before);
    }
    assert!(!root.at("/var/sadm/patchadm/stages").exists());
    root.run("stage new /no/such -R /no/such --path usr").fails(1);
    for list in ["stage", "stage list"] {
        assert_eq!(root.run(&format!("{list} -R @ROOT@")).ok(), "the root has no stages\n");
    }
}

#[test]
fn a_stage_below_a_bind_mount_of_a_staged_path_is_inside_it() {
    let script = "mkdir $BESIDE/bound $ROOT/usr/pkg/data
        mount --bind $ROOT/usr/pkg/bin $BESIDE/bound
        mount --bind $ROOT/opt $ROOT/usr/pkg/data";
    let Some(root) = Mounted::new("stage_new", root(), script) else { return };
    let said = root.run("stage new bound/web -R @ROOT@ --path usr/pkg");
    assert!(said.fails(3).contains("are nested"));
    // A mount point below a staged path is recorded, but not entered.
    let said = root.run("stage new web -v -R @ROOT@ --path usr/pkg").ok();
    assert!(said.contains("left out: 1 mount point\n  /usr/pkg/data mount\n"), "{said}");
    assert!(!root.stage().beside("web/usr/pkg/data").exists());
    let base = base(root.stage(), "web");
    let point = base.object(&staged_path(b"usr/pkg/data").unwrap()).unwrap();
    assert!(point.object().is_none());
}

#[test]
fn files_share_their_blocks_where_the_file_system_can() {
    for (mkfs, shares) in [("mkfs.btrfs -q", true), ("mkfs.xfs -q", true), ("mkfs.ext4 -q", false)] {
        let script = format!(
            "truncate -s 320M $BESIDE/image
            {mkfs} $BESIDE/image >/dev/null 2>&1
            mount -o loop $BESIDE/image $ROOT/opt
            mkdir $ROOT/opt/pkg
            head -c 500000 /dev/urandom > $ROOT/opt/pkg/a
            cp $ROOT/opt/pkg/a $ROOT/opt/pkg/b"
        );
        let Some(root) = Mounted::new(&format!("stage_new, {mkfs}"), root(), &script) else { continue };
        let said = root.run("stage new --json @ROOT@/opt/jail -R @ROOT@ --path opt/pkg").ok();
        let made: Value = serde_json::from_str(&said).unwrap();
        assert_eq!(made["reflinked"], if shares { 2 } else { 0 }, "{mkfs}");
        let bytes = |path: &str| fs::read(root.at(path)).unwrap();
        assert_eq!(bytes("/opt/jail/opt/pkg/b"), bytes("/opt/pkg/b"), "{mkfs}");
        // A write to one is no write to the other.
        fs::write(root.at("/opt/jail/opt/pkg/a"), "changed").unwrap();
        assert_eq!(bytes("/opt/pkg/a"), bytes("/opt/pkg/b"), "{mkfs}");
    }
}

#[test]
fn sockets_and_files_of_processes_are_left_out_and_counted() {
    let root = root();
    root.file("/usr/pkg/run/httpd.pid", "17");
    let _socket = std::os::unix::net::UnixListener::bind(root.at("/usr/pkg/run/s")).unwrap();
    let said = root.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    assert!(said.contains("left out: 1 socket, 1 file of a running process"), "{said}");
    assert_eq!(fs::read_dir(root.beside("web/usr/pkg/run")).unwrap().count(), 0);
}

#[test]
fn with_records_the_stage_is_a_root_that_can_be_patched() {
    let web = Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n");
    let root = Scenario::with(&[web]);
    let patch = |id: &str, text: &str| {
        Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, text)).directory(&root)
    };
    patch("100-01", "two\n");
    patch("100-02", "three\n");
    root.run("add -R @ROOT@ delivered/100-01").ok();
    root.run("stage new web --records -R @ROOT@ --path opt").ok();
    let stage = root.beside("web");
    let named = stage.to_str().unwrap();
    let records = |top: &Path| fs::read(top.join("var/sadm/install/contents")).unwrap();
    assert_eq!(records(&stage), records(&root.root()));
    let id = |top: &Path| fs::read(top.join("var/sadm/patchadm/root-id")).unwrap();
    assert_eq!(id(&stage), id(&root.root()));
    for name in ["journal", "history", "log", "stages", "stage"] {
        assert!(!stage.join("var/sadm/patchadm").join(name).exists(), "{name}");
    }
    assert_eq!(base(&root, "web").header.packages.len(), 1);
    // A patch of the root can be backed out in the stage, and a patch applied in the stage stays there.
    let said = root.run(&format!("add -R {named} --undo-dir {} delivered/100-02", root.at("/opt").display()));
    assert!(said.fails(3).contains("outside the stage"));
    root.run(&format!("add -R {named} delivered/100-02")).ok();
    assert_eq!(fs::read_to_string(stage.join("opt/ACMEweb/bin/httpd")).unwrap(), "three\n");
    root.run(&format!("remove -R {named} 100-02")).ok();
    root.run(&format!("remove -R {named} 100-01")).ok();
    assert_eq!(fs::read_to_string(stage.join("opt/ACMEweb/bin/httpd")).unwrap(), "one\n");
    assert_eq!(root.run("check --contents -R @ROOT@").code, 0);
    assert_eq!(fs::read_to_string(root.at("/opt/ACMEweb/bin/httpd")).unwrap(), "two\n");
}

#[test]
fn an_archive_outside_the_root_is_not_taken_back_in_the_stage() {
    let web = Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n");
    let root = Scenario::with(&[web]);
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&root);
    fs::create_dir(root.beside("undo")).unwrap();
    fs::set_permissions(root.beside("undo"), fs::Permissions::from_mode(0o755)).unwrap();
    root.run(&format!("add -R @ROOT@ --undo-dir {} delivered/100-01", root.beside("undo").display())).ok();
    root.run("stage new web --records -R @ROOT@ --path opt").ok();
    let said = root.run(&format!("remove -R {} 100-01", root.beside("web").display())).fails(3);
    assert!(said.contains("outside the stage"), "{said}");
    root.run("remove -R @ROOT@ 100-01").ok();
}

#[test]
fn a_device_is_copied_by_root_and_refused_by_name_to_everybody_else() {
    if !is_root() {
        return crate::skipped("stage_new: a device is root's to make");
    }
    let root = root();
    let made = Command::new("mknod").arg(root.at("/usr/pkg/null")).args(["c", "1", "3"]).status();
    if !made.is_ok_and(|status| status.success()) {
        return crate::skipped("stage_new: no devices can be made here");
    }
    root.run("stage new web -R @ROOT@ --path usr/pkg").ok();
    let device = fs::symlink_metadata(root.beside("web/usr/pkg/null")).unwrap();
    assert_eq!(device.rdev(), fs::symlink_metadata(root.at("/usr/pkg/null")).unwrap().rdev());
    let said = as_nobody(&root, "stage new open/web -R @ROOT@ --path usr/pkg");
    assert_eq!(said.0, 3, "{}", said.1);
    let path = root.at("/usr/pkg/null").display().to_string();
    assert!(said.1.contains(&format!("{path} is a device, which only root can copy")), "{}", said.1);
    assert_eq!(fs::read_dir(root.beside("open")).unwrap().count(), 0);
}

#[test]
fn who_may_only_read_the_root_gets_a_stage_that_is_not_listed() {
    if !is_root() {
        return crate::skipped("stage_new: another user is needed");
    }
    let root = root();
    let said = as_nobody(&root, "stage new open/web -R @ROOT@ --path usr/pkg");
    assert_eq!(said.0, 0, "{}", said.1);
    assert!(said.1.contains("the stage is not listed there"), "{}", said.1);
    assert!(!root.at("/var/sadm/patchadm").exists());
    let identity = fs::read_to_string(root.beside("open/web/.patchadm-stage/identity")).unwrap();
    assert!(identity.contains("\"marker\":null") && identity.contains("\"owners\":false"), "{identity}");
    let said = as_nobody(&root, "stage new open/two --records -R @ROOT@ --path usr/pkg");
    assert!(said.0 == 3 && said.1.contains("has no marker yet"), "{}", said.1);
    root.mode("/usr/pkg/bin/a", 0o700);
    let said = as_nobody(&root, "stage new open/two -R @ROOT@ --path usr/pkg");
    assert!(said.0 == 3 && said.1.contains("/usr/pkg/bin/a: leave it out with --exclude"), "{}", said.1);
    assert!(!root.beside("open/two").exists());
    as_nobody(&root, "stage new open/two -R @ROOT@ --path usr/pkg --exclude usr/pkg/bin");
    assert!(root.beside("open/two/usr/pkg/p").exists());
}

/// Runs the program as a user other than root, who may write to the directory `open` only. Returns code and errors.
fn as_nobody(root: &Scenario, line: &str) -> (i32, String) {
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    let open = root.beside("open");
    if !open.exists() {
        fs::create_dir(&open).unwrap();
        std::os::unix::fs::chown(&open, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    for directory in [root.beside(""), root.root()] {
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let output = root.command(line).uid(NOBODY).gid(NOBODY).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_killed_command_leaves_a_stage_that_says_so_and_a_root_as_it_was() {
    let root = root();
    for number in 0..400 {
        root.file(&format!("/usr/pkg/many/{number}"), "x".repeat(5000));
    }
    root.run("stage new first -R @ROOT@ --path usr/pkg").ok();
    let before = root.everything();
    let (mut killed, mut number) = (0, 0);
    for after in [5, 20, 40, 60, 80, 120, 160, 240, 400] {
        number += 1;
        let mut child = root
            .command(&format!("stage new k{number} -R @ROOT@ --path usr/pkg"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(after));
        child.kill().unwrap();
        let status = child.wait().unwrap();
        let stage = root.beside(&format!("k{number}"));
        if status.success() || !stage.exists() {
            continue;
        }
        killed += 1;
        let own = stage.join(".patchadm-stage");
        let opened = Stage::of_tree(Root::open(&stage).unwrap());
        // The file that marks it as unfinished is the first thing in the stage, and the last to go.
        if own.join("unfinished").exists() {
            assert!(matches!(opened, Err(StageError::Unfinished(_))));
        } else {
            assert!(opened.is_ok() || fs::read_dir(&own).map_or(0, Iterator::count) == 0);
        }
        drops_without_force(&root, &format!("k{number}"));
        assert_same(&root.everything(), &before);
        root.run("recover -R @ROOT@");
    }
    assert!(killed > 0 || number == 9);
    root.run("stage list -R @ROOT@").ok();
}

#[test]
fn what_becomes_something_else_while_it_is_copied_is_named_or_copied_as_one_of_both() {
    let root = root();
    root.directory("/usr/pkg/turns");
    for number in 0..200 {
        root.file(&format!("/usr/pkg/turns/{number}"), "x".repeat(3000));
    }
    let (at, is_over) = (root.at("/usr/pkg/turns"), AtomicBool::new(false));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let pipe = at.join("0.pipe");
            let mut turn = 0;
            while !is_over.load(Ordering::Relaxed) {
                let file = at.join(((turn * 37) % 200).to_string());
                let _ = fs::remove_file(&pipe);
                assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
                let _ = fs::rename(&pipe, &file);
                fs::write(at.join("0.new"), "y").unwrap();
                let _ = fs::rename(at.join("0.new"), &file);
                turn += 1;
            }
        });
        for number in 0..6 {
            let said = root.run(&format!("stage new t{number} -R @ROOT@ --path usr/pkg"));
            if said.code != 0 {
                let said = said.fails(3);
                assert!(said.contains("/usr/pkg/turns/"), "{said}");
                assert!(said.contains("changes while it is read: try again"), "{said}");
                assert!(!root.beside(&format!("t{number}")).exists());
            }
        }
        is_over.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_disk_that_is_full_is_said_and_the_stage_is_gone() {
    let root = root();
    root.file("/usr/pkg/large", vec![7; 3 << 20]);
    let script = "mkdir $BESIDE/small; mount -t tmpfs -o size=1m none $BESIDE/small";
    let Some(root) = Mounted::new("stage_new", root, script) else { return };
    let said = root.run("stage new small/web -R @ROOT@ --path usr/pkg").fails(1);
    assert!(said.contains("small/web/usr/pkg/large: No space left on device"), "{said}");
    root.run("stage new small/web -R @ROOT@ --path usr/pkg --exclude large").ok();
}

/// Makes a stage of a small root in this process, through a door that fails the changes for whose numbers `fails`
/// returns true. Returns the number of changes, and true if the stage was made.
fn made_through(
    root: &Scenario,
    name: &str,
    fails: impl Fn(usize) -> bool + Send + Sync + 'static,
) -> (usize, bool) {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = count.clone();
    let door = Door::watched(move |_| {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        if fails(number) { Err(rustix::io::Errno::IO) } else { Ok(()) }
    });
    let opened = Root::open_with(&root.root(), door).unwrap();
    let request = NewStageRequest {
        stage: root.beside(name),
        paths: vec![b"usr/pkg".to_vec()],
        name: None,
        records: true,
        directories: Vec::new(),
        mounts: None,
        exclude: Vec::new(),
    };
    let made = with_caller(|caller| make_stage(&opened, &request, caller)).is_ok();
    (count.load(Ordering::Relaxed), made)
}

/// Asserts that a stage is complete, marked as unfinished, or absent.
fn assert_complete_unfinished_or_none(root: &Scenario, name: &str, when: &str) {
    let stage = root.beside(name);
    let opened = Root::open(&stage).map(Stage::of_tree);
    match opened {
        Err(_) | Ok(Err(StageError::Unfinished(_))) => {}
        Ok(Ok(stage)) => assert!(stage.base(b"base.0").is_ok(), "{when}"),
        // The stage is still empty, or empty again.
        Ok(Err(error)) => assert_eq!(fs::read_dir(&stage).unwrap().count(), 0, "{when}: {error}"),
    }
}

/// Removes the leftovers of a killed command in a stage, if there are more than an empty directory; no `--force` is
/// needed.
fn drops_without_force(root: &Scenario, name: &str) {
    if root.beside(name).join(".patchadm-stage").exists() {
        let run = root.run(&format!("stage drop -R @ROOT@ {}", root.beside(name).display()));
        assert_eq!(run.code, 0, "{name}: {}{}", run.stdout, run.stderr);
        assert!(!root.beside(name).exists(), "{name}");
    }
}

#[test]
fn a_change_that_fails_leaves_nothing_and_a_death_at_any_change_what_can_be_told() {
    let root = root();
    let before = root.everything();
    let (changes, made) = made_through(&root, "whole", |_| false);
    assert!(made && changes > 50);
    for number in 0..changes {
        let name = format!("f{number}");
        let (_, made) = made_through(&root, &name, move |at| at == number);
        assert!(made || !root.beside(&name).exists(), "change {number} fails");
        assert_complete_unfinished_or_none(&root, &name, &format!("change {number} fails"));
        assert_same(&root.everything(), &before);
    }
    for number in (0..changes).step_by(3) {
        let name = format!("d{number}");
        made_through(&root, &name, move |at| at >= number);
        assert_complete_unfinished_or_none(&root, &name, &format!("dead from change {number} on"));
        assert_same(&root.everything(), &before);
        drops_without_force(&root, &name);
    }
    root.run("stage new last -R @ROOT@ --path usr/pkg");
    assert_complete_unfinished_or_none(&root, "last", "after all of it");
    assert!(Stage::of_tree(Root::open(&root.beside("last")).unwrap()).is_ok());
}
