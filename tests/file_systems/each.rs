//! The same story on each file system that can hold a root: the table of `docs/book/src/file-systems.md`.
//!
//! A package is patched, and the patch revised and backed out; attributes come back; runs are killed and recovered; undo data
//! is kept as files; a directory is exchanged; a stage is made and promoted; a program that still runs is named; immutable
//! files and a file system without write access are refused. A file system that this machine does not have is skipped.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};

use rustix::fs::{XattrFlags, lsetxattr};

use super::killed_and_recovered;
use crate::delivery::Patch;
use crate::mounts::Mounted;
use crate::packages::Package;
use crate::reliability::killed::until_published;
use crate::running::copied;
use crate::scenario::{PROGRAM, Scenario};
use crate::tree::{Tree, assert_same};

/// A file system that a root is copied to.
struct Ground {
    mounts: String,
    /// The tool that makes or mounts it.
    tool: Option<&'static str>,
    /// True if it shows the directory of the root as a lower layer.
    has_layers: bool,
    shares_blocks: bool,
}

impl Ground {
    /// A file system in an image; `make` is the command without the file.
    fn image(make: &'static str, shares_blocks: bool) -> Self {
        let mounts = format!(
            "truncate -s 400M $BESIDE/image
            {make} $BESIDE/image >/dev/null 2>&1
            cp -a $ROOT $BESIDE/copy
            mount -o loop $BESIDE/image $ROOT
            rm -rf $ROOT/lost+found
            chmod 755 $ROOT
            cp -a $BESIDE/copy/. $ROOT"
        );
        Self { mounts, tool: make.split(' ').next(), has_layers: false, shares_blocks }
    }
}

fn web(version: &str) -> Package {
    let sleep = fs::read("/bin/sleep").unwrap();
    let package = Package::new("ACMEweb")
        .file("bin/httpd", 0o755, [&sleep[..], version.as_bytes()].concat())
        .file("etc/conf", 0o644, format!("{version}\n"));
    (0..60).fold(package, |package, number| {
        package.file(&format!("many/{number}"), 0o644, format!("{version} {number}\n"))
    })
}

/// A root on its file system, with the package, and the files that a program needs to run in it.
fn mounted(test: &str, ground: &Ground) -> Option<Mounted> {
    let stage = Scenario::new();
    for directory in ["/proc", "/dev", "/usr/bin", "/var/tmp", "/tmp"] {
        stage.directory(directory);
    }
    copied(&stage, "", &[PROGRAM, "/bin/sleep"]);
    stage.file("/usr/bin/patchadm", "");
    web("one").file("old/gone", 0o644, "gone\n").write(&stage.beside("spool"));
    let first = web("two").file("new/file", 0o644, "new\n").symlink("bin/link", "httpd");
    let first = Patch::of("100-01", first.deletes(&["old/gone"]));
    first.directory(&stage);
    first.write(&stage.at("/delivered"));
    Patch::of("100-02", web("three")).directory(&stage);
    let install = "pkgadd -n -R @ROOT@ -d spool ACMEweb";
    if ground.tool.is_some_and(|tool| !crate::has(tool, test)) {
        return None;
    }
    if ground.has_layers {
        assert_eq!(stage.run(install).code, 0);
    }
    let root = Mounted::new(test, stage, &ground.mounts)?;
    if !ground.has_layers {
        let run = root.run(install);
        assert_eq!(run.code, 0, "{}", run.stderr);
    }
    Some(root)
}

/// Output of a shell that sees the root at `$ROOT`.
fn shell(root: &Mounted, text: &str) -> String {
    let inside = root.command("list");
    let output = Command::new("nsenter")
        .args(inside.get_args().take(2))
        .args(["sh", "-c", text])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("ROOT", root.stage().root())
        .env("PROGRAM", PROGRAM)
        .output()
        .unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

fn story(test: &str, ground: &Ground) {
    let Some(root) = mounted(test, ground) else { return };
    set_attributes(&root);
    is_revised_and_comes_back(&root);
    is_killed_and_recovered(&root);
    keeps_old_files(&root);
    exchanges_a_directory(&root, ground);
    is_staged_and_promoted(&root, ground);
    names_who_runs_the_old_program(&root);
    refuses_what_cannot_be_changed(test, &root);
}

const CONF: &str = "/opt/ACMEweb/etc/conf";

/// `cap_net_bind_service` as permitted, in its second revision.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// `user::rw-,user:54321:r--,group::r--,mask::r--,other::r--`
const ACL: [u8; 44] = [
    2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0x31, 0xd4, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
    16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 4, 0, 255, 255, 255, 255,
];

fn set_attributes(root: &Mounted) {
    let set = |path: &str, name: &str, value: &[u8]| {
        lsetxattr(root.at(path), name, value, XattrFlags::empty()).unwrap();
    };
    set("/opt/ACMEweb/bin/httpd", "security.capability", &CAPABILITY);
    set(CONF, "system.posix_acl_access", &ACL);
    // tmpfs has no user attributes before Linux 6.6.
    let _ = lsetxattr(root.at(CONF), "user.note", b"mine", XattrFlags::empty());
}

fn is_revised_and_comes_back(root: &Mounted) {
    let before = root.tree(&["var"]);
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
    root.run("pkgchk -R @ROOT@").ok();
    let between = root.tree(&["var"]);
    let conf = CONF.trim_start_matches('/');
    for attribute in ["system.posix_acl_access=", "user.note="] {
        let has = [&before, &between].map(|tree| tree.line(conf).contains(attribute));
        assert_eq!(has[0], has[1], "{attribute} of the file stays: {}", between.line(conf));
    }
    root.run("patchadd -R @ROOT@ delivered/100-02").ok();
    root.run("patchrm -R @ROOT@ 100-02").ok();
    assert_same(&root.tree(&["var"]), &between);
    root.run("patchrm -R @ROOT@ 100-01").ok();
    assert_same(&root.tree(&["var"]), &before);
}

fn is_killed_and_recovered(root: &Mounted) {
    let before = root.tree(&["var"]);
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let after = root.tree(&["var"]);
    root.run("patchrm -R @ROOT@ 100-01").ok();
    killed_and_recovered(root, &before, &after, 12, 9);
}

fn keeps_old_files(root: &Mounted) {
    let inodes = || {
        // An old program with capabilities loses them, and comes back as a copy.
        let paths = ["/opt/ACMEweb/many/7", CONF, "/opt/ACMEweb/old/gone"];
        paths.map(|path| fs::symlink_metadata(root.at(path)).unwrap().ino())
    };
    let (before, old) = (root.tree(&["var"]), inodes());
    root.run("add -R @ROOT@ --undo-format files delivered/100-01").ok();
    root.run("remove -R @ROOT@ 100-01").ok();
    assert_same(&root.tree(&["var"]), &before);
    assert_eq!(inodes(), old, "the old files themselves are back");
}

fn exchanges_a_directory(root: &Mounted, ground: &Ground) {
    let before = root.tree(&["var"]);
    let add = "add -R @ROOT@ --exchange /opt/ACMEweb delivered/100-01";
    if ground.has_layers {
        let said = root.run(add).fails(3);
        assert!(said.contains("it is on overlayfs"), "{said}");
    } else {
        root.run(add).ok();
        root.run("remove -R @ROOT@ --exchange /opt/ACMEweb 100-01").ok();
    }
    assert_same(&root.tree(&["var"]), &before);
}

fn is_staged_and_promoted(root: &Mounted, ground: &Ground) {
    let before = root.tree(&["var"]);
    let said = root.run("stage new @ROOT@/site --name web -R @ROOT@ --path /opt/ACMEweb").ok();
    assert_eq!(said.contains("sharing blocks"), ground.shares_blocks, "{said}");
    fs::write(root.at("/site/opt/ACMEweb/etc/conf"), "of the stage\n").unwrap();
    root.run("stage promote web -R @ROOT@").ok();
    assert_eq!(fs::read(root.at(CONF)).unwrap(), b"of the stage\n");
    root.run("remove -R @ROOT@ web-01").ok();
    root.run("stage drop web -R @ROOT@").ok();
    assert_same(&root.tree(&["var"]), &before);
}

fn names_who_runs_the_old_program(root: &Mounted) {
    let story = "exec unshare -m --propagation private sh -c '
        mount -t proc proc $ROOT/proc
        mount --rbind /dev $ROOT/dev
        mount --bind $PROGRAM $ROOT/usr/bin/patchadm
        chroot $ROOT /opt/ACMEweb/bin/httpd 300 & process=$!
        for attempt in $(seq 600); do
            IFS= read -r name </proc/$process/comm && [ \"$name\" = httpd ] && break
            sleep 0.1
        done
        chroot $ROOT /usr/bin/patchadm add /delivered/100-01
        kill $process
        chroot $ROOT /usr/bin/patchadm remove 100-01'";
    let said = shell(root, story);
    assert!(said.contains("(httpd) runs the old /opt/ACMEweb/bin/httpd until it is restarted."), "{said}");
    assert!(said.contains("100-01: removed"), "{said}");
}

fn refuses_what_cannot_be_changed(test: &str, root: &Mounted) {
    let before = root.everything();
    let add = "add -R @ROOT@ delivered/100-01";
    if shell(root, "chattr +i $ROOT/opt/ACMEweb/etc/conf && echo set").ends_with("set\n") {
        let said = root.run(add).fails(3);
        shell(root, "chattr -i $ROOT/opt/ACMEweb/etc/conf");
        assert!(said.contains("etc/conf is immutable"), "{said}");
    } else {
        crate::skipped(&format!("{test}: no file can be made immutable"));
    }
    shell(root, "mount -o remount,ro,bind $ROOT");
    let said = root.run(add).fails(1);
    shell(root, "mount -o remount,rw,bind $ROOT");
    assert!(said.contains("is read-only"), "{said}");
    assert_same(&root.everything(), &before);
}

#[test]
fn a_root_on_ext4_keeps_every_promise() {
    story("a root on ext4", &Ground::image("mkfs.ext4 -q", false));
}

#[test]
fn a_root_on_xfs_keeps_every_promise() {
    story("a root on xfs", &Ground::image("mkfs.xfs -q", true));
}

#[test]
fn a_root_on_btrfs_keeps_every_promise() {
    story("a root on btrfs", &Ground::image("mkfs.btrfs -q", true));
}

#[test]
fn a_snapshot_of_a_root_during_a_run_is_recovered() {
    let Some(root) = mounted("a snapshot", &Ground::image("mkfs.btrfs -q", true)) else { return };
    if !crate::has("btrfs", "a snapshot") {
        return;
    }
    let before = root.tree(&["var"]);
    root.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let after = root.tree(&["var"]);
    root.run("patchrm -R @ROOT@ 100-01").ok();
    let mut command = root.command("patchadd -R @ROOT@ delivered/100-01");
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until_published(&mut child, &root.at("/var/sadm/patchadm/journal"), None);
    let said = shell(&root, "btrfs subvolume snapshot $ROOT $ROOT/snap");
    child.wait().unwrap();
    root.run("recover -R @ROOT@/snap").ok();
    let found = Tree::of(&root.at("/snap"), &["var", "snap"]);
    assert!(!found.paths().is_empty(), "{said}");
    if found != before {
        assert_same(&found, &after);
    }
}

#[test]
fn a_root_on_f2fs_keeps_every_promise() {
    story("a root on f2fs", &Ground::image("mkfs.f2fs -q -O extra_attr,inode_crtime", false));
}

#[test]
fn a_root_on_tmpfs_keeps_every_promise() {
    let mounts = "cp -a $ROOT $BESIDE/copy
        mount -t tmpfs -o mode=755 tmpfs $ROOT
        cp -a $BESIDE/copy/. $ROOT";
    story(
        "a root on tmpfs",
        &Ground { mounts: mounts.to_owned(), tool: None, has_layers: false, shares_blocks: false },
    );
}

#[test]
fn a_root_on_overlayfs_keeps_every_promise_but_exchanges_no_directory() {
    for options in ["xino=on", "xino=off"] {
        let ground = Ground {
            mounts: crate::layers::mount(options),
            tool: None,
            has_layers: true,
            shares_blocks: false,
        };
        story(&format!("a root on overlayfs, {options}"), &ground);
    }
}

#[test]
fn a_root_on_fuse_is_read_and_every_change_is_refused_by_plan_and_run() {
    let mounts = "mv $ROOT $BESIDE/plain
        mkdir -m 755 $ROOT
        bindfs $BESIDE/plain $ROOT";
    let (mounts, tool) = (mounts.to_owned(), Some("bindfs"));
    let ground = Ground { mounts, tool, has_layers: true, shares_blocks: false };
    let Some(root) = mounted("a root on FUSE", &ground) else { return };
    let before = root.everything();
    let runs = [
        ("plan --trust-root -R @ROOT@ delivered/100-01", 3),
        ("add --trust-root -R @ROOT@ delivered/100-01", 3),
        ("patchadd --trust-root -R @ROOT@ delivered/100-01", 10),
        ("pkgrm --trust-root -n -R @ROOT@ ACMEweb", 1),
    ]
    .map(|(line, code)| (line, code, root.run(line)));
    let (list, check) = (root.run("pkginfo -R @ROOT@"), root.run("check -R @ROOT@"));
    let after = root.everything();
    // The process of the file system is in the namespace and keeps it alive.
    shell(&root, "umount -l $ROOT");
    for (line, code, run) in runs {
        assert_eq!(run.code, code, "{line}: {}", run.stderr);
        assert!(run.stderr.contains("is on FUSE, which patchadm does not support"), "{line}: {}", run.stderr);
    }
    assert!(list.stdout.contains("ACMEweb"), "{}", list.stderr);
    assert!(check.stdout.contains("patchadm does not change files on this kind"), "{}", check.stdout);
    assert_same(&after, &before);
}
