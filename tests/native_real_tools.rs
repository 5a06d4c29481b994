//! The real dpkg and apt change an adopted and patched package, and its registration and patches follow: in roots
//! that dpkg fills from scratch ([`crate::native_root`]), and in a copy of a minimal Debian tree with the program and
//! its hooks.
//!
//! `PATCHADM_DEBIAN_TREE` names the tree: a directory, or an archive such as `packaging/check` keeps. The packages
//! are made by dpkg-deb(1), or come from the directory `PATCHADM_DEBIAN_DEBS`. Every story is played twice, with
//! `adopt --refresh` by hand and with the hooks.

/// Paths with two spellings, and copies of roots.
mod aliases;
/// Announced effects of a patch on later operations of dpkg.
mod announced;
/// Predictions of hooks, which hold nothing up.
mod hooks;
/// Several architectures.
mod instances;
/// A patch that keeps a library.
mod kept;
/// apt is killed.
mod killed;
/// Fixes that are lost, and good again.
mod lost;
/// Nothing older comes back.
mod older_bytes;
/// Patches that add files and change none.
mod only_added;
/// Packages of Debian.
mod openssl;
/// Attributes and capabilities of the administrator.
mod overrides;
/// Revisions of one patch.
mod revisions;
/// Trials, undo and recovery that dpkg came into.
mod runs;
/// One file in two spellings, and additions below diversions.
mod spelled;
/// Packages that go.
mod successors;
/// Results for a patch, case by case.
mod table;
/// Paths that another package has now.
mod taken_over;
/// A patch on trial.
mod trial;
/// Unfinished operations of dpkg, damage, and files that the administrator left out.
mod unfinished;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use md5::{Digest as _, Md5};
use tempfile::TempDir;

use crate::delivery::Patch;
use crate::scenario::{Run, directory, is_root};
use crate::tree::{Tree, assert_same};

/// A separate Debian system.
struct Debian {
    dir: TempDir,
}

impl Debian {
    /// Makes a fresh copy of the tree, with the program. Returns `None`, and reports the test, if there is no tree.
    fn fresh(test: &str) -> Option<Self> {
        let skipped = |why: &str| {
            crate::skipped(&format!("{test}: {why}"));
            None
        };
        let Some(tree) = std::env::var_os("PATCHADM_DEBIAN_TREE") else {
            return skipped("PATCHADM_DEBIAN_TREE names no Debian tree");
        };
        if !is_root() {
            return skipped("only root can enter a Debian tree");
        }
        if !crate::has("dpkg-deb", test) || !crate::has("tar", test) || !crate::has("unshare", test) {
            return None;
        }
        let debian = Self { dir: directory() };
        let root = debian.at("/");
        fs::create_dir(&root).unwrap();
        let tree = PathBuf::from(tree);
        let mut copy = if tree.is_dir() { Command::new("cp") } else { Command::new("tar") };
        if tree.is_dir() {
            copy.args(["-a", "--reflink=auto"]).arg(tree.join(".")).arg(&root);
        } else {
            copy.arg("-xpf").arg(&tree).arg("-C").arg(&root);
        }
        assert!(copy.status().unwrap().success(), "{} is not a Debian tree", tree.display());
        fs::copy(env!("CARGO_BIN_EXE_patchadm"), debian.at("/usr/bin/patchadm")).unwrap();
        if debian.inside("patchadm --version").code != 0 {
            return skipped("the program does not run in the tree");
        }
        // apt takes records with the same second and length for those that it has cached.
        let uncached = "Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n";
        debian.write("/etc/apt/apt.conf.d/99test", 0o644, uncached);
        Some(debian)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path.trim_start_matches('/'))
    }

    /// A line of sh in the tree, with its own `/proc` and processes: when the first of them ends, all end.
    fn entering(&self, line: &str) -> Command {
        let enter = "mount -t proc proc \"$0/proc\" && exec chroot \"$0\" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin \
                     HOME=/root LC_ALL=C DEBIAN_FRONTEND=noninteractive sh -c \"$1\"";
        let mut command = Command::new("unshare");
        command.args([
            "-m",
            "--propagation",
            "private",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            enter,
        ]);
        command.arg(self.at("/")).arg(line);
        command
    }

    /// Runs a line of sh in the tree.
    fn inside(&self, line: &str) -> Run {
        let output = self.entering(line).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        Run {
            code: output.status.code().unwrap_or(-1),
            stdout: text(output.stdout),
            stderr: text(output.stderr),
        }
    }

    /// Runs a line that must succeed, and returns its output.
    #[track_caller]
    fn done(&self, line: &str) -> String {
        let run = self.inside(line);
        assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
        run.stdout
    }

    fn write(&self, path: &str, mode: u32, text: impl AsRef<[u8]>) {
        let at = self.at(path);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(&at, text).unwrap();
        fs::set_permissions(at, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Makes a package of dpkg below `/srv` of the tree: its files with modes, and which of them are its configuration.
    fn package(&self, name: &str, version: &str, files: &[(&str, u32, Vec<u8>)]) {
        let at = self.dir.path().join("package");
        let _ = fs::remove_dir_all(&at);
        let (mut sums, mut configuration) = (String::new(), String::new());
        for (path, mode, bytes) in files {
            let file = at.join(&path[1..]);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, bytes).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
            if path.starts_with("/etc/") {
                writeln!(configuration, "{path}").unwrap();
            } else {
                let sum: String = Md5::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
                writeln!(sums, "{sum}  {}", &path[1..]).unwrap();
            }
        }
        let control = at.join("DEBIAN");
        fs::create_dir_all(&control).unwrap();
        let said = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: a <a@example.org>\nDescription: a test\n"
        );
        for (name, text) in [("control", &said), ("md5sums", &sums), ("conffiles", &configuration)] {
            fs::write(control.join(name), text).unwrap();
        }
        fs::create_dir_all(self.at("/srv")).unwrap();
        let mut build = Command::new("dpkg-deb");
        build.args(["--root-owner-group", "--build"]).arg(&at).arg(self.at("/srv"));
        let output = build.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Writes a patch to be applied in the tree.
    fn patch(&self, patch: &Patch) {
        let at = self.at("/srv/patches");
        let _ = fs::remove_dir_all(&at);
        patch.write(&at);
    }

    /// The files of the package, the files beside them, and the records.
    fn state(&self) -> [Tree; 3] {
        let of =
            |path: &str| if self.at(path).exists() { Tree::of(&self.at(path), &[]) } else { Tree::default() };
        [of("/usr/share/acme"), of("/usr/lib/acme"), of("/var/sadm")]
    }

    /// Asserts that another refresh changes nothing.
    #[track_caller]
    fn assert_settled(&self) {
        let before = self.state();
        self.done("patchadm adopt --refresh");
        before.iter().zip(self.state()).for_each(|(before, after)| assert_same(&after, before));
    }

    /// Refreshes the registrations by hand if no hook did.
    fn refresh(&self, by_hook: bool) {
        if !by_hook {
            self.done("patchadm adopt --refresh");
        }
    }
}
