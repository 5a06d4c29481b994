//! `--exchange` of add, remove and undo: all changes become visible at once.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::cases::{CASES, expected, found, installed};
use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::records::Before;
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::assert_same;

/// The directory of the package.
const WEB: &str = "/opt/ACMEweb";

/// This version of the package. Most of its files never change.
fn web(version: &str) -> Package {
    let kept = (0..40).fold(Package::new("ACMEweb"), |package, number| {
        package.file(&format!("share/doc/{number}"), 0o644, "never changes\n")
    });
    kept.file("bin/httpd", 0o755, format!("{version}\n")).file("lib/libw.so", 0o755, format!("{version}\n"))
}

/// The patches 100-01, 100-02 and 200-01, beside the root.
fn deliver(stage: &Scenario) {
    let package =
        Package::new("ACMEweb").file("bin/httpd", 0o755, "second\n").file("new/file", 0o644, "new\n");
    let first = package.symlink("lib/link", "libw.so").deletes(&["gone/file"]);
    Patch::of("100-01", first.file("lib/libw.so", 0o755, "second\n")).directory(stage);
    let second =
        Package::new("ACMEweb").file("bin/httpd", 0o755, "third\n").file("new/file", 0o644, "newer\n");
    Patch::of("100-02", second.file("lib/libw.so", 0o755, "third\n")).directory(stage);
    let other = Package::new("ACMEweb").file("lib/libw.so", 0o755, "of another patch\n");
    Patch::of("200-01", other.file("new/other", 0o644, "other\n")).directory(stage);
}

/// A root with the package, and the patches beside it.
fn patched() -> Scenario {
    let stage = Scenario::with(&[web("first").file("gone/file", 0o644, "gone\n")]);
    deliver(&stage);
    stage
}

fn document(run: Run) -> Value {
    serde_json::from_str(&run.ok()).unwrap()
}

/// The `way` of the only directory in a document.
fn way(document: &Value) -> &str {
    let [path] = document["paths"].as_array().unwrap().as_slice() else { panic!("{document}") };
    assert_eq!(path["path"], WEB);
    path["way"].as_str().unwrap()
}

/// The tree after patches that were applied without `--exchange`.
fn as_renamed(patches: &[&str]) -> crate::tree::Tree {
    let stage = patched();
    for patch in patches {
        stage.run(&format!("add -R @ROOT@ delivered/{patch}")).ok();
    }
    stage.tree()
}

#[test]
fn patches_are_applied_backed_out_and_undone_by_one_exchange_each() {
    let stage = patched();
    let before = Before::of(&stage);
    let kept = || fs::metadata(stage.at("/opt/ACMEweb/share/doc/7")).unwrap().ino();
    let inode = kept();
    let said = document(stage.run(&format!("add --json -R @ROOT@ --exchange {WEB} delivered/100-01")));
    assert_eq!((way(&said), &said["holders"]), ("exchange", &Value::Null));
    assert_same(&stage.tree(), &as_renamed(&["100-01"]));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(kept(), inode, "what does not change stays");
    let between = Before::of(&stage);

    let said = stage.run(&format!("add -R @ROOT@ --exchange {WEB} delivered/100-02")).ok();
    assert!(said.contains("note: @ROOT@/opt/ACMEweb: all changes became visible atomically\n"), "{said}");
    assert_same(&stage.tree(), &as_renamed(&["100-01", "100-02"]));
    document(stage.run(&format!("remove --json -R @ROOT@ --exchange {WEB} 100-02")));
    between.assert_again(&stage, "the second patch is backed out");
    let history = stage.text("/var/sadm/patchadm/history");
    let mut runs = history.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let first = runs.find(|run| run["patches"] == json!(["100-01"])).unwrap();
    let name = first["run"].as_str().unwrap();
    let said = document(stage.run(&format!("undo --json -R @ROOT@ --exchange {WEB} {name}")));
    assert_eq!(way(&said), "exchange");
    before.assert_again(&stage, "the first run is undone");
}

#[test]
fn several_patches_of_one_run_are_one_exchange() {
    let stage = patched();
    let before = Before::of(&stage);
    let line = format!("add --json -R @ROOT@ --exchange {WEB} delivered/100-01 delivered/200-01");
    assert_eq!(way(&document(stage.run(&line))), "exchange");
    assert_same(&stage.tree(), &as_renamed(&["100-01", "200-01"]));
    let line = format!("remove --json -R @ROOT@ --exchange {WEB} 200-01 100-01");
    assert_eq!(way(&document(stage.run(&line))), "exchange");
    before.assert_again(&stage, "both are backed out");
}

#[test]
fn real_releases_become_visible_at_once() {
    for (case, directories) in CASES.into_iter().zip(["--exchange /usr --exchange /etc", "--exchange /usr"]) {
        let Some((stage, case)) = installed("real releases at once", case) else { return };
        let base = Before::of(&stage);
        let entries = fs::read_dir(&case).unwrap().map(|entry| entry.unwrap().file_name());
        let mut patches: Vec<String> = entries.map(|name| name.into_string().unwrap()).collect();
        patches.retain(|name| name.contains('-'));
        patches.sort();
        for patch in &patches {
            let path = case.join(patch);
            let said = document(stage.run(&format!("add --json -R @ROOT@ {directories} {}", path.display())));
            let ways: Vec<&Value> =
                said["paths"].as_array().unwrap().iter().map(|path| &path["way"]).collect();
            assert_eq!(ways[0], "exchange", "{said}");
            assert_same(&found(&stage), &expected(&case, patch));
        }
        for patch in patches.iter().rev() {
            stage.run(&format!("remove -R @ROOT@ {directories} {patch}")).ok();
        }
        assert_same(&found(&stage), &expected(&case, "base"));
        base.assert_again(&stage, "everything is backed out");
    }
}

#[test]
fn a_dry_run_says_how_changes_would_become_visible_and_does_nothing() {
    let stage = patched();
    let before = stage.everything();
    let line = format!("add --json --dry-run -R @ROOT@ --exchange {WEB} delivered/100-01");
    assert_eq!(way(&document(stage.run(&line))), "exchange");
    let said = stage.run(&format!("add --dry-run -R @ROOT@ --exchange {WEB} delivered/100-01")).ok();
    assert!(
        said.contains("note: @ROOT@/opt/ACMEweb: all changes would become visible atomically\n"),
        "{said}"
    );
    let said = document(stage.run("add --json --dry-run -R @ROOT@ --exchange /var delivered/100-01"));
    assert_eq!(said["paths"], json!([{"path": "/var", "way": "nothing"}]));
    let said = stage.run("add --dry-run -R @ROOT@ --exchange / delivered/100-01").fails(3);
    assert!(
        said.contains("its changes cannot become visible atomically: it is the root directory"),
        "{said}"
    );
    assert_same(&stage.everything(), &before);
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let line = format!("remove --json --dry-run -R @ROOT@ --exchange {WEB} 100-01");
    assert_eq!(way(&document(stage.run(&line))), "exchange");
}

#[test]
fn what_is_no_directory_of_the_root_is_a_wrong_call() {
    let stage = patched();
    let before = stage.everything();
    stage.symlink("/web", "opt/ACMEweb");
    let before_link = stage.everything();
    for (directories, reason) in [
        ("--exchange /nowhere", "it does not exist"),
        ("--exchange /opt/ACMEweb/bin/httpd", "it is not a directory"),
        ("--exchange /web", "it is a symbolic link, or reached through one"),
        ("--exchange /web/bin", "it is a symbolic link, or reached through one"),
        ("--exchange /opt --exchange /opt/ACMEweb", "it is inside @ROOT@/opt or vice versa"),
        ("--exchange /opt/ACMEweb --exchange /opt/ACMEweb", "or vice versa"),
    ] {
        for line in [
            format!("add -R @ROOT@ {directories} delivered/100-01"),
            format!("add --dry-run -R @ROOT@ {directories} delivered/100-01"),
        ] {
            let said = stage.run(&line).fails(3);
            assert!(said.contains(reason), "{line}: {said}");
            assert!(said.contains("name absolute paths of directories in the root"), "{line}: {said}");
        }
    }
    assert_same(&stage.everything(), &before_link);
    fs::remove_file(stage.at("/web")).unwrap();
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_patch_with_scripts_is_refused() {
    let stage = Scenario::with(&[web("first")]);
    let patch = Patch::of("100-01", web("second")).beside("postpatch", "exit 0\n").directory(&stage);
    fs::set_permissions(patch.join("postpatch"), fs::Permissions::from_mode(0o755)).unwrap();
    let said = stage.run(&format!("add -R @ROOT@ --exchange {WEB} delivered/100-01")).fails(3);
    assert!(said.contains("procedure scripts run between the changes"), "{said}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "first\n");
}

/// Asserts that an exchange of the package's directory is refused on a mounted root.
fn is_refused(root: &Mounted, reason: &str) {
    let before = root.tree(&["var"]);
    let refused = root.run(&format!("add -R @ROOT@ --exchange {WEB} delivered/100-01"));
    let said = refused.fails(3);
    assert!(said.contains(reason), "{reason}: {said}");
    assert_same(&root.tree(&["var"]), &before);
}

/// A mounted root with the package.
fn mounted(test: &str, mounts: &str) -> Option<Mounted> {
    let stage = Scenario::new();
    web("first").file("gone/file", 0o644, "gone\n").write(&stage.beside("spool"));
    deliver(&stage);
    let root = Mounted::new(test, stage, mounts)?;
    let run = root.run("pkgadd -n -R @ROOT@ -d spool ACMEweb");
    assert_eq!(run.code, 0, "{}", run.stderr);
    Some(root)
}

/// Runs a shell command in the mount namespace of a root.
fn in_namespace(root: &Mounted, line: &str) {
    let mut command = root.command("x");
    let arguments: Vec<_> = command.get_args().take(2).map(ToOwned::to_owned).collect();
    command = Command::new("nsenter");
    let ended = command.args(arguments).args(["sh", "-c", line]).env("ROOT", root.stage().root()).status();
    assert!(ended.unwrap().success(), "{line}");
}

#[test]
fn a_directory_on_below_or_from_which_something_is_mounted_is_refused() {
    let test = "a directory with mounts";
    let Some(root) = mounted(test, "true") else { return };
    in_namespace(&root, "mount -t tmpfs tmpfs $ROOT/opt/ACMEweb/share");
    is_refused(&root, "share");
    let Some(root) = mounted(test, "mkdir $ROOT/view") else { return };
    in_namespace(&root, "mount --bind $ROOT/opt/ACMEweb/bin $ROOT/view");
    is_refused(&root, "it or part of it is also mounted on ");
    let Some(root) = mounted(test, "mkdir -p $ROOT/opt/ACMEweb; mount -t tmpfs tmpfs $ROOT/opt/ACMEweb")
    else {
        return;
    };
    is_refused(&root, "it is a mount point or a subvolume");
}

#[test]
fn a_mount_in_another_namespace_counts_as_well() {
    let test = "a mount in another namespace";
    let Some(root) = mounted(test, "true") else { return };
    // The holder of another namespace, which begins as a copy of the first one.
    let mount = "mount -t tmpfs tmpfs $ROOT/opt/ACMEweb/share && echo mounted && read end";
    let mut holder = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-c", mount])
        .env("ROOT", root.stage().root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 8];
    std::io::Read::read_exact(holder.stdout.as_mut().unwrap(), &mut said).unwrap();
    is_refused(&root, "something is mounted on ");
    drop(holder.stdin.take());
    holder.wait().unwrap();
}

#[test]
fn what_the_file_system_does_not_link_or_exchange_is_refused() {
    let test = "a directory that cannot be exchanged";
    let overlay = "mkdir -p $BESIDE/l/opt $BESIDE/mem && mount -t tmpfs tmpfs $BESIDE/mem \
        && mkdir -p $BESIDE/mem/u $BESIDE/mem/w $ROOT/opt \
        && mount -t overlay -o lowerdir=$BESIDE/l,upperdir=$BESIDE/mem/u,workdir=$BESIDE/mem/w overlay $ROOT/opt";
    if let Some(root) = mounted(test, overlay) {
        is_refused(&root, "it is on overlayfs");
    }
    let btrfs = "truncate -s 320M $BESIDE/image && mkfs.btrfs -q $BESIDE/image && mkdir -p $ROOT/opt \
        && mount -o loop $BESIDE/image $ROOT/opt && btrfs -q subvolume create $ROOT/opt/ACMEweb >/dev/null";
    if let Some(root) = mounted(test, btrfs) {
        is_refused(&root, "it is a mount point or a subvolume");
    }
    let ext4 = "truncate -s 64M $BESIDE/image && mkfs.ext4 -q $BESIDE/image && mkdir -p $ROOT/opt \
        && mount -o loop $BESIDE/image $ROOT/opt";
    if let Some(root) = mounted(test, ext4) {
        in_namespace(&root, "chattr +i $ROOT/opt/ACMEweb/share/doc/7");
        is_refused(&root, "/opt/ACMEweb/share/doc/7 is immutable");
        in_namespace(&root, "chattr -i $ROOT/opt/ACMEweb/share/doc/7");
    }
}

#[test]
fn every_file_system_exchanges() {
    for make in ["mkfs.ext4 -q", "mkfs.xfs -q", "mkfs.btrfs -q"] {
        let mounts = format!(
            "truncate -s 320M $BESIDE/image && {make} $BESIDE/image >/dev/null && mkdir -p $ROOT/opt \
             && mount -o loop $BESIDE/image $ROOT/opt"
        );
        let Some(root) = mounted(&format!("an exchange: {make}"), &mounts) else { continue };
        let before = root.tree(&["var"]);
        let said = document(root.run(&format!("add --json -R @ROOT@ --exchange {WEB} delivered/100-01")));
        assert_eq!(way(&said), "exchange", "{make}");
        assert!(!root.at("/opt/.patchadm").exists(), "{make}: no stage is left");
        root.run("pkgchk -R @ROOT@").ok();
        root.run(&format!("remove -R @ROOT@ --exchange {WEB} 100-01")).ok();
        assert_same(&root.tree(&["var"]), &before);
    }
}

#[test]
fn an_ordinary_user_exchanges_a_directory_of_their_own() {
    let stage = Scenario::new();
    let (uid, gid) = crate::everyman::ordinary_ids(&stage);
    stage.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\n"));
    stage.file("/etc/group", format!("root:x:{gid}:\n"));
    web("first").file("gone/file", 0o644, "gone\n").write(&stage.beside("spool"));
    deliver(&stage);
    let root = stage.root();
    let run_with = |line: &str, theirs: &[&Path]| {
        let output = as_ordinary_user(&stage, line, theirs).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    };
    let run = |line: &str| run_with(line, &[&root]);
    assert_eq!(run("pkgadd -n -R @ROOT@ -d spool ACMEweb").code, 0);
    let before = Before::of(&stage);
    let said = document(run(&format!("add --json -R @ROOT@ --exchange {WEB} delivered/100-01")));
    assert_eq!(way(&said), "exchange");
    run(&format!("remove -R @ROOT@ --exchange {WEB} 100-01")).ok();
    before.assert_again(&stage, "it is backed out");
    if !is_root() {
        return;
    }
    std::os::unix::fs::chown(stage.at("/opt/ACMEweb/share"), Some(0), Some(0)).unwrap();
    let said = run_with(&format!("add -R @ROOT@ --exchange {WEB} delivered/100-01"), &[]);
    let reasons = ["cannot have all attributes of", "not permitted"];
    assert!(said.code != 0 && reasons.iter().any(|reason| said.stderr.contains(reason)), "{}", said.stderr);
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "first\n");
}

/// A process with a working directory in the tree.
struct Holder(Child);

impl Holder {
    fn new(directory: &Path) -> Self {
        let mut child = Command::new("sh")
            .args(["-c", "echo ready; read end"])
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut said).unwrap();
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}

#[test]
fn a_process_that_stays_in_the_old_directory_is_named() {
    let stage = patched();
    let holder = Holder::new(&stage.at("/opt/ACMEweb/share/doc"));
    let line = format!("add --dry-run --json -R @ROOT@ --exchange {WEB} delivered/100-01");
    let planned = document(stage.run(&line));
    let said = document(stage.run(&format!("add --json -R @ROOT@ --exchange {WEB} delivered/100-01")));
    let path = "@ROOT@/opt/ACMEweb/share/doc";
    let expected = json!([{"process": holder.0.id(), "program": "sh", "path": path}]);
    assert_eq!((&planned["holders"], &said["holders"]), (&expected, &expected));
    let text = stage.run(&format!("remove -R @ROOT@ --exchange {WEB} 100-01")).ok();
    assert!(!text.contains("keeps using the old directory"), "its directory is gone since: {text}");
}

/// The maximum number of files that the worker makes: each exchange has to look at all of them.
const MOST_MADE: usize = 4_000;

/// Makes numbered files in a tree while patches come and go: some by path, some through an open directory that may be
/// replaced meanwhile. Some are renamed over files of the package that never change.
fn work_in(directory: &Path, is_over: &AtomicBool) -> Vec<(String, bool)> {
    let doc = directory.join("share/doc");
    let (mut made, mut number) = (Vec::new(), 0);
    let mut inside = patchadm_rootfs::Dir::of_host(&doc).unwrap();
    while !is_over.load(Ordering::Relaxed) && number < MOST_MADE {
        number += 1;
        if number % 40 == 0 {
            // Reopens the directory now and then; in between it may be an old one.
            if let Ok(dir) = patchadm_rootfs::Dir::of_host(&doc) {
                inside = dir;
            }
        }
        let text = format!("by somebody: {number}\n");
        let name = format!("made-{number}");
        let is_made = if number % 3 == 0 {
            fs::write(doc.join(&name), &text).is_ok()
        } else {
            inside.create(name.as_bytes()).and_then(|mut file| file.put(text.as_bytes())).is_ok()
        };
        if is_made && number % 5 == 0 {
            let over = format!("{}", number % 40);
            let renamed = inside.rename(name.as_bytes(), over.as_bytes()).is_ok();
            made.push((text, renamed));
        } else if is_made {
            made.push((text, false));
        }
        // In bursts, so that some of the runs are not rolled back.
        let pause = if number % 25 == 0 { 150 + number as u64 % 7 * 50 } else { 2 };
        thread::sleep(Duration::from_millis(pause));
    }
    made
}

/// All texts in a tree.
fn texts(directory: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            texts(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            found.push(text);
        }
    }
}

#[test]
fn whatever_somebody_makes_during_exchanges_is_found_afterwards() {
    let stage = patched();
    let is_over = AtomicBool::new(false);
    let directory = stage.at(WEB);
    let (made, exchanged) = thread::scope(|scope| {
        let worker = scope.spawn(|| work_in(&directory, &is_over));
        let mut exchanged = 0;
        for _ in 0..80 {
            let is_applied = exchanged % 2 == 1;
            let line = if is_applied { "remove -R @ROOT@ 100-01" } else { "add -R @ROOT@ delivered/100-01" };
            let run = stage.run(&format!("{line} --exchange {WEB}"));
            // The worker may get in the way: then the tree is as before, and the next exchange tries again.
            assert!([0, 3].contains(&run.code), "{}: {}", run.code, run.stderr);
            exchanged += usize::from(run.code == 0);
        }
        is_over.store(true, Ordering::Relaxed);
        (worker.join().unwrap(), exchanged)
    });
    let mut found = Vec::new();
    texts(&directory, &mut found);
    let lost: Vec<&String> = made
        .iter()
        .filter(|(_, renamed)| !renamed)
        .map(|(text, _)| text)
        .filter(|text| !found.contains(text))
        .collect();
    assert!(lost.is_empty(), "{exchanged} exchanges, {} files made, lost: {lost:?}", made.len());
    assert!(exchanged > 0 && made.len() > 50, "{exchanged} exchanges, {} files made", made.len());
}

#[test]
fn the_modes_of_directories_are_those_of_before() {
    let stage = patched();
    for (path, mode) in
        [("/opt/ACMEweb", 0o2751), ("/opt/ACMEweb/share", 0o1777), ("/opt/ACMEweb/bin", 0o700)]
    {
        fs::set_permissions(stage.at(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let modes = || {
        ["/opt/ACMEweb", "/opt/ACMEweb/share", "/opt/ACMEweb/bin"]
            .map(|path| fs::metadata(stage.at(path)).unwrap().mode() & 0o7777)
    };
    let before = modes();
    stage.run(&format!("add -R @ROOT@ --exchange {WEB} delivered/200-01")).ok();
    assert_eq!(modes(), before);
}
