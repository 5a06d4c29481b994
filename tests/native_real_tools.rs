//! dpkg and apt themselves change an adopted and patched package, and its registration and patches follow: in roots that
//! dpkg makes of nothing ([`crate::native_root`]), and in a copy of a minimal Debian tree, with the program and its hooks in
//! it.
//!
//! The tree is what `PATCHADM_DEBIAN_TREE` names: a directory, or an archive as `packaging/check` keeps one. The packages are
//! made by dpkg-deb(1), or are those of Debian that `PATCHADM_DEBIAN_DEBS` has. All is played twice, with `adopt --refresh` by
//! hand and with the hooks.

/// Paths with two spellings, and copies of roots.
mod aliases;
/// What a patch would make of a later operation of dpkg.
mod announced;
/// What hooks foresee, and that they hold nothing up.
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
/// What became of a patch, case by case.
mod table;
/// Paths that another package has now.
mod taken_over;
/// A patch on trial.
mod trial;
/// What dpkg has not finished, and what is damaged or left out.
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

/// A Debian system of its own.
struct Debian {
    dir: TempDir,
}

impl Debian {
    /// A fresh copy of the tree, with the program. None where it cannot be had; it says so, with the name of the test.
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
        // apt takes records of the same second and length for those that it knows.
        let uncached = "Dir::Cache::pkgcache \"\";\nDir::Cache::srcpkgcache \"\";\n";
        debian.write("/etc/apt/apt.conf.d/99test", 0o644, uncached);
        Some(debian)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path.trim_start_matches('/'))
    }

    /// A line of sh in the tree, which has a `/proc` and processes of its own: with the first of them, all end.
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

    /// What a line prints that succeeds.
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

    /// The files of the package, what stands beside them, and the records.
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

    /// Lets the registrations follow by hand, where no hook has done so.
    fn refresh(&self, by_hook: bool) {
        if !by_hook {
            self.done("patchadm adopt --refresh");
        }
    }
}
