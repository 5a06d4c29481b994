//! The real rpm and dnf change adopted and patched packages, and their registrations and patches follow. Each test
//! has its own root, with packages that rpmbuild(8) makes.

/// The hooks of rpm and dnf after a transaction.
mod hooks;
/// Databases that somebody else made.
mod hostile;
/// Packages that are installed several times.
mod instances;
/// Paths that others own now.
mod owned;

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::thread::sleep;
use std::time::Duration;

use tempfile::TempDir;

use crate::delivery::Patch;
use crate::native_root::has_rpm;
use crate::packages::{DELIVERED, Package};
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

const LIB: &str = "/usr/lib/acme/libacme.so";
const TOOL: &str = "/usr/lib/acme/tool";
const MORE: &str = "/usr/lib/acme/more";
const CONF: &str = "/etc/acme.conf";
const EXTRA: &str = "/usr/lib/extra/data";
const GONE: &str = "nothing";

/// Packages in three versions, and the calls of rpm and dnf.
struct Workshop {
    dir: TempDir,
}

impl Workshop {
    /// Makes the packages. Returns `None`, and reports the test, if a tool is missing.
    fn opened(test: &str) -> Option<Self> {
        if !has_rpm(test, &["rpm", "rpmbuild", "dnf", "createrepo_c"]) {
            return None;
        }
        let workshop = Self { dir: tempfile::tempdir().unwrap() };
        // The path on systems with rpm; Debian uses another one.
        fs::write(workshop.at(".rpmmacros"), "%_dbpath /var/lib/rpm\n").unwrap();
        for release in ["1", "2", "3"] {
            workshop.package("acme", release, &files(release));
            workshop.package("extra", release, &[(EXTRA, 0o644, format!("data of 1.0-{release}\n"))]);
        }
        workshop.done(Command::new("createrepo_c").arg("-q").arg(workshop.at("packages")));
        Some(workshop)
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn called(&self, command: &mut Command) -> Output {
        command.env("HOME", self.dir.path()).env("LC_ALL", "C").output().unwrap()
    }

    #[track_caller]
    fn done(&self, command: &mut Command) -> String {
        let output = self.called(command);
        assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Makes a package; files below `/etc` are its configuration.
    fn package(&self, name: &str, release: &str, files: &[(&str, u32, String)]) {
        let content = self.at(&format!("content/{name}-{release}"));
        let mut listed = String::new();
        for (path, mode, text) in files {
            let file = content.join(&path[1..]);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(*mode)).unwrap();
            let mark = if path.starts_with("/etc/") { "%config(noreplace) " } else { "" };
            writeln!(listed, "{mark}{path}").unwrap();
        }
        let spec = format!(
            "Name: {name}\nVersion: 1.0\nRelease: {release}\nSummary: a test\nLicense: none\nBuildArch: noarch\n\
             AutoReqProv: no\n%description\na test\n%install\ncp -a {}/. %{{buildroot}}/\n%files\n{listed}",
            content.display()
        );
        let at = self.at("made.spec");
        fs::write(&at, spec).unwrap();
        let define = |name: &str, at: &str| format!("{name} {}", self.at(at).display());
        let mut build = Command::new("rpmbuild");
        build.args(["-bb", "--quiet", "--define", &define("_topdir", "build"), "--define"]);
        self.done(build.arg(define("_rpmdir", "packages")).arg(at));
    }

    /// Calls `rpm` or `dnf` with the words of a line; `NAME-RELEASE` in brackets is the file of a package.
    #[track_caller]
    fn native(&self, stage: &Scenario, line: &str) -> String {
        let packages = self.at("packages/noarch");
        let line = line.replace('[', &format!("{}/", packages.display())).replace(']', ".noarch.rpm");
        let (tool, words) = line.split_once(' ').unwrap();
        let mut command = Command::new(tool);
        if tool == "rpm" {
            command.arg("--root").arg(stage.root());
        } else {
            let repository = format!("--repofrompath=local,file://{}", self.at("packages").display());
            command.args([
                "-q",
                "-y",
                "--releasever=1",
                "--disablerepo=*",
                &repository,
                "--enablerepo=local",
            ]);
            command.args(["--nogpgcheck", "--setopt=logdir=/tmp"]);
            command.arg(format!("--setopt=cachedir={}", self.at("cache").display()));
            command.arg(format!("--installroot={}", stage.root().display()));
            // Enables only the plugin that a test has configured, regardless of the plugins of this machine.
            command.args(["--disableplugin=*", "--enableplugin=post-transaction-actions"]);
            command.arg(format!("--setopt=pluginconfpath={}", self.at("plugins").display()));
        }
        self.done(command.args(words.split(' ')))
    }

    /// Makes dnf carry out the action of our packages, with another program in place of `/usr/bin/patchadm`.
    fn hook_dnf(&self, program: &Path) {
        let action = include_str!("../packaging/hooks/dnf4.action");
        assert!(action.contains("/usr/bin/patchadm"), "{action}");
        let actions = self.at("actions");
        fs::create_dir_all(self.at("plugins")).unwrap();
        fs::create_dir_all(&actions).unwrap();
        let action = action.replace("/usr/bin/patchadm", &program.display().to_string());
        fs::write(actions.join("patchadm.action"), action).unwrap();
        let settings = format!("[main]\nenabled=1\nactiondir={}/\n", actions.display());
        fs::write(self.at("plugins/post-transaction-actions.conf"), settings).unwrap();
    }

    /// The paths of a package that rpm finds changed or missing.
    fn changed(&self, stage: &Scenario) -> String {
        let output = self.called(Command::new("rpm").arg("--root").arg(stage.root()).args(["-V", "acme"]));
        let text = String::from_utf8(output.stdout).unwrap();
        let paths = text.lines().filter_map(|line| line.split_whitespace().last());
        paths.filter(|path| path.starts_with('/')).collect::<Vec<_>>().join(" ")
    }
}

/// The files of a release of `acme`.
fn files(release: &str) -> Vec<(&'static str, u32, String)> {
    let of = |what: &str| format!("{what} of 1.0-{release}\n");
    let setting = if release == "3" { "setting=3\n" } else { "setting=1\n" };
    vec![(LIB, 0o644, of("library")), (TOOL, 0o755, of("tool")), (CONF, 0o644, setting.to_owned())]
}

/// A package as a patch for its first version delivers it.
fn delivered(name: &str, version: &str) -> Package {
    let package = Package::new(&format!("RPM{name}")).param("BASEDIR", "/").param("ARCH", "noarch");
    package.param("VERSION", version)
}

fn replaces(version: &str) -> Patch {
    let package = delivered("acme", version).file(&LIB[1..], 0o644, "library fixed\n");
    Patch::of("100-01", package.file(&MORE[1..], 0o644, "more\n"))
}

fn is_fixed_in_2(version: &str) -> Patch {
    replaces(version).says("PATCH_FIXED_IN", "rpm acme >= 1.0-2")
}

fn sets(version: &str) -> Patch {
    let owners = "root root";
    let package =
        delivered("acme", version).content('e', &CONF[1..], 0o644, owners, DELIVERED, "setting=fixed\n");
    Patch::of("100-01", package)
}

fn changes_two_packages(version: &str) -> Patch {
    replaces(version).package(delivered("extra", "1.0-1").file(&EXTRA[1..], 0o644, "data fixed\n"))
}

/// A case: the patched state, the operation of the package manager, and the expected state after the refresh.
struct Case {
    reason: &'static str,
    /// The release that is adopted and patched.
    from: &'static str,
    patch: fn(&str) -> Patch,
    /// The operation of the package manager.
    native: &'static str,
    /// The release whose files are there afterwards; `None` if they were removed.
    to: Option<&'static str>,
    /// The expected content of other paths, or of paths that differ from the release.
    but: &'static [(&'static str, &'static str)],
    /// The paths that rpm finds changed.
    changed: &'static str,
    /// The beginning of the output of `list --check`, and its exit code.
    listed: (&'static str, i32),
    /// True if the patch is still applied, so that it can be backed out.
    stands: bool,
}

const UPGRADED: Case = Case {
    reason: "",
    from: "1",
    patch: replaces,
    native: "rpm -U [acme-1.0-2]",
    to: Some("2"),
    but: &[],
    changed: "",
    listed: ("100-01  LOST to acme 1.0-2 (rpm)\n", 4),
    stands: false,
};

const LOST_TO_1: (&str, i32) = ("100-01  LOST to acme 1.0-1 (rpm)\n", 4);
const NONE: (&str, i32) = ("No patches are applied.\n", 0);

const CASES: &[Case] = &[
    Case { reason: "rpm upgrades: what was replaced is native, and what was added goes", ..UPGRADED },
    Case { reason: "dnf upgrades", native: "dnf upgrade acme-1.0-2", ..UPGRADED },
    Case {
        reason: "the version has the fix",
        patch: is_fixed_in_2,
        listed: ("100-01  contained in acme 1.0-2 (rpm)\n", 0),
        ..UPGRADED
    },
    Case {
        reason: "rpm downgrades",
        from: "2",
        native: "rpm -U --oldpackage [acme-1.0-1]",
        to: Some("1"),
        listed: LOST_TO_1,
        ..UPGRADED
    },
    Case {
        reason: "dnf downgrades",
        from: "2",
        native: "dnf downgrade acme-1.0-1",
        to: Some("1"),
        listed: LOST_TO_1,
        ..UPGRADED
    },
    Case {
        reason: "rpm installs the same version again",
        native: "rpm -U --replacepkgs [acme-1.0-1]",
        to: Some("1"),
        listed: LOST_TO_1,
        ..UPGRADED
    },
    Case {
        reason: "dnf installs the same version again",
        native: "dnf reinstall acme-1.0-1",
        to: Some("1"),
        listed: LOST_TO_1,
        ..UPGRADED
    },
    Case {
        reason: "a path that rpm leaves out is gone with the version before",
        native: "rpm -U --excludepath /usr/lib/acme/libacme.so [acme-1.0-2]",
        but: &[(LIB, GONE)],
        ..UPGRADED
    },
    Case {
        reason: "a configuration file that the patch wrote stays beside the new one of rpm and holds the patch",
        patch: sets,
        native: "rpm -U [acme-1.0-3]",
        to: Some("3"),
        but: &[(CONF, "setting=fixed\n")],
        changed: CONF,
        listed: ("100-01  effective", 0),
        stands: true,
        ..UPGRADED
    },
    Case {
        reason: "a package that stays holds a patch of two",
        patch: changes_two_packages,
        but: &[(EXTRA, "data fixed\n"), (MORE, "more\n")],
        listed: ("100-01  effective, partly overtaken", 0),
        stands: true,
        ..UPGRADED
    },
    Case { reason: "rpm removes", native: "rpm -e acme", to: None, listed: NONE, ..UPGRADED },
    Case { reason: "dnf removes", native: "dnf remove acme", to: None, listed: NONE, ..UPGRADED },
    Case {
        reason: "a removed package takes the patch of its configuration along, which rpm puts aside",
        patch: sets,
        native: "rpm -e acme",
        to: None,
        but: &[("/etc/acme.conf.rpmsave", "setting=fixed\n")],
        listed: NONE,
        ..UPGRADED
    },
];

impl Case {
    /// Plays the case, and returns every deviation from the table, a line each.
    fn play(&self, workshop: &Workshop) -> Vec<String> {
        let stage = self.prepared(workshop);
        workshop.native(&stage, self.native);
        let mut wrong = Vec::new();
        let mut compare = |what: &str, found: String, expected: &str| {
            if found != expected {
                wrong.push(format!("{what}: {found:?} instead of {expected:?}"));
            }
        };
        compare("plan", stage.run("remove --dry-run 100-01 -R @ROOT@").code.to_string(), "11");
        compare("refresh", stage.run("adopt --refresh -R @ROOT@").code.to_string(), "0");
        for (path, expected) in self.expected() {
            compare(path, content(&stage, path), &expected);
        }
        compare("rpm -V", workshop.changed(&stage), self.changed);
        let listed = stage.run("list --check -R @ROOT@");
        let told = listed.stdout + &listed.stderr;
        compare("list", told.chars().take(self.listed.0.len()).collect(), self.listed.0);
        compare("list --check", listed.code.to_string(), &self.listed.1.to_string());
        compare("verify", stage.run("check --contents -R @ROOT@").code.to_string(), "0");
        compare("pkgchk", stage.run("pkgchk -R @ROOT@").stdout, "");
        let records = || Tree::of(&stage.at("/var/sadm"), &[]);
        let before = (stage.tree(), records());
        compare("refresh", stage.run("adopt --refresh -R @ROOT@").code.to_string(), "0");
        assert_same(&stage.tree(), &before.0);
        assert_same(&records(), &before.1);
        let is_removed = stage.run("remove 100-01 -R @ROOT@").code == 0;
        compare("remove", is_removed.to_string(), &self.stands.to_string());
        compare("pkgchk", stage.run("pkgchk -R @ROOT@").stdout, "");
        wrong
    }

    /// A root with both packages, adopted and patched.
    fn prepared(&self, workshop: &Workshop) -> Scenario {
        let stage = Scenario::on_disk();
        let Self { from, patch, .. } = self;
        workshop.native(&stage, &format!("rpm -i [acme-1.0-{from}] [extra-1.0-1]"));
        stage.run("adopt --rpm acme -R @ROOT@").ok();
        stage.run("adopt --rpm extra -R @ROOT@").ok();
        let at = patch(&format!("1.0-{from}")).directory(&stage);
        stage.run(&format!("add -R @ROOT@ {}", at.display())).ok();
        // rpm counts in seconds.
        sleep(Duration::from_millis(1_100));
        stage
    }

    /// The expected content of each path.
    fn expected(&self) -> Vec<(&'static str, String)> {
        let native = |path: &str| {
            let files = self.to.map(files).unwrap_or_default();
            let found = files.into_iter().find(|(known, ..)| *known == path);
            found.map_or(GONE.to_owned(), |(_, _, text)| text)
        };
        let others = self.but.iter().map(|(path, text)| (*path, (*text).to_owned()));
        let is_other = |path: &&str| self.but.iter().any(|(known, _)| known == path);
        let natives = [LIB, TOOL, MORE, CONF].into_iter().filter(|path| !is_other(path));
        natives.map(|path| (path, native(path))).chain(others).collect()
    }
}

fn content(stage: &Scenario, path: &str) -> String {
    fs::read_to_string(stage.at(path)).unwrap_or_else(|_| GONE.to_owned())
}

#[test]
fn what_rpm_and_dnf_do_to_patched_packages_is_what_the_table_says() {
    let Some(workshop) = Workshop::opened("what rpm and dnf do to patched packages") else { return };
    let mut wrong = String::new();
    for case in CASES {
        for line in case.play(&workshop) {
            writeln!(wrong, "{}: {line}", case.reason).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Writes a program that records its arguments in `PROGRAM.calls`, runs patchadm with them on the root, and then runs
/// `end`.
fn put_program(at: &Path, stage: &Scenario, end: &str) {
    let patchadm = env!("CARGO_BIN_EXE_patchadm");
    let root = stage.root();
    let script = format!(
        "#!/bin/sh\necho \"$*\" >>\"$0.calls\"\n'{patchadm}' \"$@\" -R '{}'\n{end}\n",
        root.display()
    );
    fs::write(at, script).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn dnf_lets_its_action_refresh_what_it_changed_and_never_fails_with_it() {
    const TEST: &str = "dnf with its action";
    let Some(workshop) = Workshop::opened(TEST) else { return };
    // The plugin of Debian 12 calls a function that the libdnf of Debian 12 lacks.
    let has_plugin = "import dnf, os, libdnf.conf; libdnf.conf.ConfigParser_substitute; \
                      os.stat('/etc/dnf/plugins/post-transaction-actions.conf')";
    if !workshop.called(Command::new("/usr/bin/python3").args(["-c", has_plugin])).status.success() {
        crate::skipped(&format!(
            "{TEST}: dnf has no plugin here that carries out actions after a transaction"
        ));
        return;
    }
    let case = CASES.iter().find(|case| case.reason == "dnf upgrades").unwrap();
    let stage = case.prepared(&workshop);
    let program = stage.beside("refreshing");
    let registered = || stage.run("pkgparam -R @ROOT@ RPMacme NATIVE_VERSION").ok();
    workshop.hook_dnf(&program);

    put_program(&program, &stage, "exit $?");
    workshop.native(&stage, "dnf upgrade acme-1.0-2");
    assert!(
        fs::read_to_string(stage.beside("refreshing.calls"))
            .unwrap()
            .starts_with("adopt --refresh --from-hook\n")
    );
    assert_eq!(registered(), "1.0-2\n");
    assert!(stage.run("list --check -R @ROOT@").stdout.starts_with(case.listed.0));

    put_program(&program, &stage, "exit 1");
    workshop.native(&stage, "dnf upgrade acme-1.0-3");
    assert_eq!(registered(), "1.0-3\n");

    fs::remove_file(&program).unwrap();
    workshop.native(&stage, "dnf reinstall acme-1.0-3");
}
