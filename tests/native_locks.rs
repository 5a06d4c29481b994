//! dpkg and rpm exclude each other's tools with fcntl locks, and a command that changes a root with their packages
//! respects these locks. A process that locks as they do plays the other side.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{PermissionsExt as _, lchown};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use patchadm_rootfs::{ForeignLock, Lock, Root};
use patchadm_svr4::package::ObjectPath;

use crate::adopt_refresh::{ONE, TWO, adopted, delivered, dpkg_installs};
use crate::delivery::Patch;
use crate::everyman::as_ordinary_user;
use crate::locked::waiting;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};
use crate::tree::assert_same;

const LOCK: &str = "/var/lib/dpkg/lock-frontend";

/// Locks the file as lockf(3) of libc does, reports that, and waits for the end of its input.
const LOCKER: &str = "import fcntl, sys\nfile = open(sys.argv[1], 'r+')\nfcntl.lockf(file, fcntl.LOCK_EX)\n\
                      print('held', flush=True)\nsys.stdin.read()\n";

/// A process that holds a lock until the value is dropped.
struct Holder {
    child: Child,
}

impl Holder {
    /// Starts it. Returns `None`, and reports the test, if Python is missing.
    fn of(test: &str, file: &Path) -> Option<Self> {
        let mut command = Command::new("python3");
        command.args(["-c", LOCKER]).arg(file).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            crate::missing("python3", test);
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "held\n");
        Some(Self { child })
    }

    fn words(&self) -> String {
        let comm = fs::read_to_string(format!("/proc/{}/comm", self.child.id())).unwrap();
        format!("process {} ({})", self.child.id(), comm.trim_end())
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// A root with an adopted package of dpkg, its lock file, and a patch that is delivered for it.
fn stage() -> Scenario {
    let stage = adopted();
    stage.file(LOCK, "");
    let package = delivered("1.0-1").file("usr/bin/web", 0o755, "web fixed\n");
    Patch::of("100-01", package).directory(&stage);
    stage
}

fn path(text: &str) -> ObjectPath {
    ObjectPath::new(text.as_bytes()).unwrap()
}

/// Polls `is_so`. Returns true as soon as it is true, or false after 20 seconds.
fn becomes(is_so: impl Fn() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while Instant::now() < until {
        if is_so() {
            return true;
        }
        thread::sleep(Duration::from_millis(3));
    }
    false
}

#[test]
fn a_change_beside_a_running_dpkg_is_refused_and_told_which_process_it_is() {
    let stage = stage();
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    let Some(holder) = Holder::of("a_change_beside_a_running_dpkg_is_refused", &stage.at(LOCK)) else {
        return;
    };
    let before = stage.everything();
    let held = format!("@ROOT@{LOCK} is locked by {}", holder.words());
    for (line, code) in [
        ("patchrm -R @ROOT@ 100-01", 19),
        ("remove -R @ROOT@ 100-01", 6),
        ("adopt --refresh DEBweb -R @ROOT@", 6),
        ("adopt --forget --pkg DEBweb -R @ROOT@", 6),
        ("patchadd -R @ROOT@ delivered/100-01", 64),
        ("add -R @ROOT@ delivered/100-01", 6),
    ] {
        let said = stage.run(line).fails(code);
        assert!(said.contains(&held) && said.contains("ry again when it has finished"), "{line}: {said}");
    }
    for line in ["list -R @ROOT@", "remove --dry-run -R @ROOT@ 100-01", "recover -R @ROOT@"] {
        stage.run(line).ok();
    }
    assert_same(&stage.everything(), &before);
    drop(holder);
    stage.run("patchrm -R @ROOT@ 100-01").ok();
    assert_eq!(fs::read(stage.at(LOCK)).unwrap(), b"", "the file is theirs");
}

#[test]
fn who_waits_for_dpkg_does_not_hold_our_lock_and_goes_on_when_it_has_finished() {
    let stage = stage();
    let Some(holder) = Holder::of("who_waits_for_dpkg_does_not_hold_our_lock", &stage.at(LOCK)) else {
        return;
    };
    stage.run("add --wait 1 -R @ROOT@ delivered/100-01").fails(6);
    let words = holder.words();
    let root = Root::open(&stage.root()).unwrap();
    let (code, said) = waiting(&stage, "add --wait 60 -R @ROOT@ delivered/100-01", || {
        let is_free = becomes(|| Lock::take(&root, "pkgadd", |_| false).is_ok());
        drop(holder);
        assert!(is_free, "our lock is held");
    });
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&format!("waiting for {words} to finish")), "{said}");
    assert_eq!(stage.text("/usr/bin/web"), "web fixed\n");
}

#[test]
fn who_waits_for_another_command_of_ours_gives_the_lock_of_dpkg_back() {
    let stage = stage();
    let root = Root::open(&stage.root()).unwrap();
    let ours = Lock::take(&root, "pkgadd", |_| false).unwrap();
    assert!(stage.run("add -R @ROOT@ delivered/100-01").fails(6).contains(".lockfile is locked by"));
    assert!(ForeignLock::take(&root, &path(LOCK)).unwrap().is_some());
    let (code, said) = waiting(&stage, "add --wait 60 -R @ROOT@ delivered/100-01", || {
        let is_free = becomes(|| ForeignLock::take(&root, &path(LOCK)).is_ok());
        drop(ours);
        assert!(is_free, "the lock of dpkg is held");
    });
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn the_hook_of_dpkg_and_what_runs_under_its_frontend_do_not_wait_for_it() {
    let mut stage = stage();
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    dpkg_installs(&stage, Some(&ONE), &TWO, &[]);
    let Some(_holder) = Holder::of("the_hook_of_dpkg_does_not_wait_for_it", &stage.at(LOCK)) else {
        return;
    };
    stage.run("adopt --refresh -R @ROOT@").fails(6);
    let said = stage.run("adopt --refresh --from-hook -R @ROOT@").ok();
    assert!(said.contains("1 package refreshed"), "{said}");
    stage.run("patchadd -R @ROOT@ delivered/100-01").fails(64);
    stage.set("DPKG_FRONTEND_LOCKED", "true");
    let second = delivered("1.0-2").file("usr/bin/web", 0o755, "web fixed again\n");
    stage.patchadd("", &Patch::of("101-01", second)).ok();
}

#[test]
fn a_root_without_packages_of_dpkg_or_without_its_lock_file_is_changed_as_ever() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    stage.file(LOCK, "");
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n");
    Patch::of("100-01", package).directory(&stage);
    let root = Root::open(&stage.root()).unwrap();
    let held = ForeignLock::take(&root, &path(LOCK)).unwrap();
    assert!(held.is_some());
    stage.run("patchadd -R @ROOT@ delivered/100-01").ok();
    drop(held);

    let stage = adopted();
    let package = delivered("1.0-1").file("usr/bin/web", 0o755, "web fixed\n");
    stage.patchadd("", &Patch::of("100-01", package)).ok();
    assert!(!stage.at(LOCK).exists(), "it is not made");
}

#[test]
fn a_lock_file_that_is_a_link_is_refused() {
    let stage = stage();
    fs::remove_file(stage.at(LOCK)).unwrap();
    stage.file("/etc/secret", "");
    stage.symlink(LOCK, "../../../etc/secret");
    let before = stage.everything();
    let said = stage.run("add -R @ROOT@ delivered/100-01").fails(1);
    assert!(said.contains(LOCK), "{said}");
    assert_same(&stage.everything(), &before);
}

#[test]
fn the_owner_of_a_root_changes_it_where_the_lock_is_somebody_elses_who_is_at_work() {
    let stage = stage();
    // A change of owner changes the ctime of every file, so the package is refreshed first.
    let mut refresh = as_ordinary_user(&stage, "adopt --refresh -R @ROOT@", &[&stage.root()]);
    assert!(refresh.output().unwrap().status.success());
    if is_root() {
        lchown(stage.at(LOCK), Some(0), Some(0)).unwrap();
    }
    let Some(_holder) = Holder::of("the_owner_of_a_root_changes_it", &stage.at(LOCK)) else { return };
    stage.mode(LOCK, 0o440);
    let output = as_ordinary_user(&stage, "add -R @ROOT@ delivered/100-01", &[]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(stage.text("/usr/bin/web"), "web fixed\n");
}

#[test]
fn an_adoption_from_dpkg_waits_its_turn_and_leaves_no_database_behind() {
    let stage = Scenario::bare();
    stage.file("/etc/passwd", "root:x:0:0::/:/bin/sh\n");
    stage.file("/etc/group", "root:x:0:\n");
    dpkg_installs(&stage, None, &ONE, &[]);
    stage.file(LOCK, "");
    let Some(holder) = Holder::of("an_adoption_from_dpkg_waits_its_turn", &stage.at(LOCK)) else { return };
    for line in ["adopt --dpkg web -R @ROOT@", "adopt --all -R @ROOT@"] {
        assert!(stage.run(line).fails(6).contains(&holder.words()), "{line}");
    }
    assert!(!stage.at("/var/sadm").exists());
    stage.run("adopt --dpkg web --dry-run -R @ROOT@").ok();
    drop(holder);
    stage.run("adopt --dpkg web -R @ROOT@").ok();
}

#[test]
fn the_lock_of_rpm_is_that_of_the_database_that_it_uses() {
    for database in ["/usr/lib/sysimage/rpm", "/var/lib/rpm"] {
        let stage = Scenario::with(&[Package::new("RPMweb").file("bin/web", 0o755, "one\n")]);
        let pkginfo = stage.text("/var/sadm/pkg/RPMweb/pkginfo");
        stage.file("/var/sadm/pkg/RPMweb/pkginfo", format!("{pkginfo}PATCHADM_ADOPTED=rpm web\n"));
        let lock = format!("{database}/.rpm.lock");
        stage.file(&lock, "");
        let Some(holder) = Holder::of("the_lock_of_rpm_is_that_of_the_database", &stage.at(&lock)) else {
            return;
        };
        let said = stage.run("adopt --forget --pkg RPMweb -R @ROOT@").fails(6);
        assert!(said.contains(&format!("{lock} is locked by {}", holder.words())), "{said}");
        drop(holder);
        stage.run("adopt --forget --pkg RPMweb -R @ROOT@").ok();
    }
}

#[test]
fn the_lock_of_dpkg_is_held_while_the_last_script_runs_and_free_after_the_command() {
    let stage = adopted();
    stage.file(LOCK, "");
    let go = stage.beside("go");
    // Twenty seconds at most.
    let script = format!(
        "n=0\nwhile [ ! -e {} ] && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done\nexit 0\n",
        go.display()
    );
    let package = delivered("1.0-1").file("usr/bin/web", 0o755, "web fixed\n");
    let patch = Patch::of("100-01", package).beside("postpatch", &script).directory(&stage);
    fs::set_permissions(patch.join("postpatch"), fs::Permissions::from_mode(0o755)).unwrap();
    let root = Root::open(&stage.root()).unwrap();
    let is_free = || ForeignLock::take(&root, &path(LOCK)).is_ok();
    thread::scope(|scope| {
        // Each probe takes the lock for a moment.
        let running = scope.spawn(|| stage.run("add --wait 60 -R @ROOT@ delivered/100-01"));
        let is_held = becomes(|| {
            thread::sleep(Duration::from_millis(20));
            stage.at("/usr/bin/web").exists() && (0..10).all(|_| !is_free())
        });
        fs::write(&go, "").unwrap();
        let run = running.join().unwrap();
        assert!(is_held && run.code == 0, "{}", run.stderr);
    });
    assert!(is_free());
}
