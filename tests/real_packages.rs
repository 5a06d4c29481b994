//! Packages of OpenCSW, installed and removed in a sandbox with their own scripts.
//!
//! CSWcommon brings a checkinstall and 130 directories, CSWcas-cpsampleconf the scripts of a class, and CSWpca a file
//! of that class, whose script belongs to another package and is in the root. Two more real packages are only read,
//! because their scripts change the machine regardless of the root.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::procedure_scripts::NOCHECK;
use crate::sandbox::Sandbox;
use crate::scenario::{Run, Scenario, is_root, shared};
use crate::tree::{Tree, assert_same};

/// The packages in the order of their dependencies, with their streams.
const PACKAGES: [(&str, &str); 3] = [
    (
        "CSWcommon",
        "dago+opencsw/csw__mgar__pkg__cswcommon__trunk__files__common-1.5,REV=2010.12.11-SunOS5.8-i386-CSW.pkg",
    ),
    ("CSWcas-cpsampleconf", "yannrouillard+svr4pkg/tests__packages__CSWcas-cpsampleconf.pkg"),
    ("CSWpca", "yannrouillard+svr4pkg/tests__packages__CSWpca.pkg"),
];

/// Packages that are not installed by any test, with what their scripts would do.
const NEVER_RUN: [(&str, &str, &str); 2] = [
    ("MDXapc", "mdehling+apc-driver/MDXapc-v0.1-sparc.pkg", "load a driver into the kernel"),
    ("wzfsadm", "simacektomas+wzfsadm/wzfsadm-i386.pkg", "add a user and install modules of Python"),
];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Who {
    Caller,
    Ordinary,
}

/// A root in a sandbox, and the user who works on it.
struct Stage {
    scenario: Scenario,
    sandbox: Sandbox,
    who: Who,
}

impl Stage {
    fn new(who: Who) -> Option<Self> {
        let scenario = Scenario::new();
        let sandbox = Sandbox::new(&scenario.beside(""))?;
        let (uid, gid) = match who {
            Who::Caller => (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw()),
            Who::Ordinary => ordinary_ids(&scenario),
        };
        scenario
            .file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\nbin:x:{uid}:{gid}::/:/bin/sh\n"));
        scenario.file("/etc/group", format!("root:x:{gid}:\nbin:x:{gid}:\nsys:x:{gid}:\n"));
        scenario.file("/var/sadm/install/admin/nocheck", NOCHECK.replace("depend=nocheck", "depend=quit"));
        scenario.contents(&[]);
        for open in ["", "root"] {
            fs::set_permissions(scenario.beside(open), fs::Permissions::from_mode(0o755)).unwrap();
        }
        if who == Who::Ordinary {
            // This also gives the root to the ordinary user.
            as_ordinary_user(&scenario, "", &[&scenario.root()]);
        }
        Some(Self { scenario, sandbox, who })
    }

    /// The program, run in the sandbox.
    fn run(&self, line: &str) -> Run {
        let outside = match self.who {
            Who::Caller => self.scenario.command(line),
            Who::Ordinary => as_ordinary_user(&self.scenario, line, &[]),
        };
        let mut inside = match self.who {
            Who::Ordinary if is_root() => {
                let uid = ordinary_ids(&self.scenario).0.to_string();
                let mut inside = self.sandbox.command("setpriv");
                inside.args(["--reuid", &uid, "--regid", &uid, "--clear-groups", "--"]);
                inside.arg(outside.get_program());
                inside
            }
            _ => self.sandbox.command(outside.get_program()),
        };
        inside.args(outside.get_args()).current_dir(self.scenario.root()).env_clear().stdin(Stdio::null());
        inside.envs(outside.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = inside.output().unwrap();
        let text = |bytes| {
            String::from_utf8(bytes).unwrap().replace(self.scenario.root().to_str().unwrap(), "@ROOT@")
        };
        Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
    }

    /// Everything of the root except the trailer of `contents` and the files that a run may leave.
    fn state(&self) -> (Tree, Vec<String>) {
        let without = ["var/sadm/install/.lockfile", "var/sadm/install/contents", "var/sadm/patchadm"];
        (Tree::of(&self.scenario.root(), &without), self.scenario.lines())
    }
}

#[track_caller]
fn successful(run: &Run, last: &str) {
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stderr.lines().last(), Some(last), "{}", run.stderr);
}

/// Installs the packages, checks each, and removes them again.
fn they_come_and_go(who: Who) {
    let Some(streams) = shared("packages of OpenCSW", "realdata/datastream") else { return };
    let Some(stage) = Stage::new(who) else { return };
    let mut states = Vec::new();
    for (package, stream) in PACKAGES {
        states.push(stage.state());
        let stream = streams.join(stream);
        let run = stage.run(&format!("pkgadd -n -a nocheck -R @ROOT@ -d {} {package}", stream.display()));
        successful(&run, &format!("Installation of <{package}> was successful."));
        assert_eq!(stage.run(&format!("pkgchk -R @ROOT@ {package}")).ok(), "");
    }
    the_sample_configuration_is_there(&stage);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "all of them");
    let listed = stage.run("pkginfo -L -R @ROOT@").ok();
    assert_eq!(listed, "CSWcas-cpsampleconf\nCSWcommon\nCSWpca\n");
    for ((package, _), (tree, lines)) in PACKAGES.iter().zip(states).rev() {
        let run = stage.run(&format!("pkgrm -n -a nocheck -R @ROOT@ {package}"));
        successful(&run, &format!("Removal of <{package}> was successful."));
        let (tree_now, lines_now) = stage.state();
        assert_same(&tree_now, &tree);
        assert_eq!(lines_now, lines, "{package}");
    }
    assert!(fs::read_dir(stage.scenario.at("/var/sadm/pkg")).unwrap().next().is_none());
}

/// Checks the file that the class script of `CSWcas-cpsampleconf` makes from one of `CSWpca`.
fn the_sample_configuration_is_there(stage: &Stage) {
    let scenario = &stage.scenario;
    let sample = fs::read(scenario.at("/etc/opt/csw/pca.conf.CSW")).unwrap();
    assert_eq!(sample.len(), 12_163);
    assert!(fs::read(scenario.at("/etc/opt/csw/pca.conf")).unwrap() == sample);
    assert_eq!(fs::metadata(scenario.at("/etc/opt/csw/pca.conf.CSW")).unwrap().mtime(), 1_368_703_470);
    let line = "/etc/opt/csw/pca.conf.CSW f cswcpsampleconf 0755 root bin 12163 3839 1368703470 CSWpca";
    assert!(scenario.lines().iter().any(|found| found == line));
    let script = "/usr/sadm/install/scripts/i.cswcpsampleconf f none 0555 bin sys 1308 38165 1290737156 \
                  CSWcas-cpsampleconf";
    assert!(scenario.lines().iter().any(|found| found == script));
}

#[test]
fn packages_of_opencsw_come_and_go_without_a_trace() {
    they_come_and_go(Who::Caller);
}

#[test]
fn packages_of_opencsw_come_and_go_in_the_tree_of_an_ordinary_user() {
    let test = "packages of OpenCSW in the tree of an ordinary user";
    if !is_root() {
        crate::skipped(&format!("{test}: whoever runs the tests is one already"));
    } else if Command::new("setpriv").arg("--version").output().is_err() {
        crate::missing("setpriv", test);
    } else {
        they_come_and_go(Who::Ordinary);
    }
}

#[test]
fn a_configuration_that_was_edited_stays_when_its_package_goes() {
    let Some(streams) = shared("an edited configuration", "realdata/datastream") else { return };
    let Some(stage) = Stage::new(Who::Caller) else { return };
    for (package, stream) in PACKAGES {
        let stream = streams.join(stream);
        assert_eq!(stage.run(&format!("pkgadd -n -a nocheck -R @ROOT@ -d {} all", stream.display())).code, 0);
        assert_eq!(stage.run(&format!("pkgchk -R @ROOT@ {package}")).ok(), "");
    }
    fs::write(stage.scenario.at("/etc/opt/csw/pca.conf"), "xrefdir=/var/tmp\n").unwrap();
    let run = stage.run("pkgrm -n -a nocheck -R @ROOT@ CSWpca");
    successful(&run, "Removal of <CSWpca> was successful.");
    let left = stage.scenario.everything().paths();
    assert_eq!(left.matches("/pca").count(), 1, "{left}");
    assert_eq!(fs::read_to_string(stage.scenario.at("/etc/opt/csw/pca.conf")).unwrap(), "xrefdir=/var/tmp\n");
}

#[test]
fn without_the_package_that_has_the_class_script_nothing_is_installed() {
    let Some(streams) = shared("a missing dependency", "realdata/datastream") else { return };
    let Some(stage) = Stage::new(Who::Caller) else { return };
    let before = stage.state();
    let stream = streams.join(PACKAGES[2].1);
    let text = stage.run(&format!("pkgadd -n -a nocheck -R @ROOT@ -d {} all", stream.display())).fails(4);
    assert!(text.contains("it needs package CSWcas-cpsampleconf"), "{text}");
    let after = stage.state();
    assert_same(&after.0, &before.0);
    assert_eq!(after.1, before.1);
}

#[test]
fn a_class_script_of_another_package_asks_nobody() {
    let Some(streams) = shared("a package of OpenCSW without an admin file", "realdata/datastream") else {
        return;
    };
    let Some(stage) = Stage::new(Who::Caller) else { return };
    for (package, stream) in PACKAGES {
        let stream = streams.join(stream);
        let admin = if package == "CSWpca" { "" } else { "-a nocheck" };
        let run = stage.run(&format!("pkgadd -n {admin} -R @ROOT@ -d {} all", stream.display()));
        successful(&run, &format!("Installation of <{package}> was successful."));
    }
    the_sample_configuration_is_there(&stage);
    successful(&stage.run("pkgrm -n -R @ROOT@ CSWpca"), "Removal of <CSWpca> was successful.");
}

#[test]
fn packages_whose_scripts_change_the_machine_are_read_and_never_run() {
    let Some(streams) = shared("packages that are only read", "realdata/datastream") else { return };
    for (package, stream, what) in NEVER_RUN {
        let Some(stage) = Stage::new(Who::Caller) else { return };
        stage.scenario.file("/etc/patchadm/policy", "scripts=known\n");
        let before = stage.state();
        let stream = streams.join(stream);
        let stream = stream.display();
        assert_eq!(stage.run(&format!("pkginfo -L -d {stream}")).ok(), format!("{package}\n"));
        let listed = stage.run(&format!("pkgchk -l -d {stream} all")).ok();
        assert!(listed.contains("\nPathname: postinstall\nType: installation file\n"), "{listed}");
        let (unpacked, packed) = (stage.scenario.beside("unpacked"), stage.scenario.beside("packed"));
        fs::create_dir(&unpacked).unwrap();
        let run = stage.run(&format!("pkgtrans {stream} {} all", unpacked.display()));
        assert_eq!((run.code, run.stderr), (0, format!("Transferring <{package}> package instance\n")));
        let run = stage.run(&format!("pkgtrans -s {} {} all", unpacked.display(), packed.display()));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(stage.run(&format!("pkginfo -L -d {}", packed.display())).ok(), format!("{package}\n"));
        let text = stage.run(&format!("pkgadd -n -a nocheck -R @ROOT@ -d {stream} all")).fails(1);
        assert!(text.contains("which the policy of this root does not allow"), "{what}: {text}");
        assert_same(&stage.state().0, &before.0);
    }
}
