use std::fs;
use std::path::{Path, PathBuf};

use crate::packages::{Package, datastream, without_scripts};
use crate::scenario::{ADMIN, Scenario, is_root, shared};

/// The accounts that the classic tools had in their roots.
const PASSWD: &str =
    "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\nadm:x:3:4::/:/bin/false\n";
const GROUP: &str = "root:x:0:\nbin:x:2:\nsys:x:3:\nadm:x:4:\nnogroup:x:65534:\n";

/// A root as the classic tools had it, and the base packages beside it, without scripts and scripted classes.
pub(crate) struct Stage {
    pub(crate) scenario: Scenario,
    pub(crate) goldens: PathBuf,
}

impl Stage {
    pub(crate) fn new(test: &str) -> Option<Self> {
        let goldens = shared(test, "goldens")?;
        let scenario = Scenario::new();
        if is_root() {
            scenario.file("/etc/passwd", PASSWD);
            scenario.file("/etc/group", GROUP);
        }
        scenario.directory("/opt");
        scenario.file("/var/sadm/install/admin/golden", ADMIN);
        for package in ["SUNWstuf", "SUNWstux"] {
            without_scripts(&goldens.join("pkgs/base").join(package), &scenario.beside("spool"));
        }
        Some(Self { scenario, goldens })
    }

    pub(crate) fn add(&self, device: &Path, packages: &str) {
        let device = device.display();
        let run = self.scenario.run(&format!("pkgadd -n -S -R @ROOT@ -a golden -d {device} {packages}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
    }

    fn remove(&self, package: &str) -> String {
        let run = self.scenario.run(&format!("pkgrm -n -R @ROOT@ -a golden {package}"));
        assert_eq!(run.code, 0, "{}", run.stderr);
        run.stderr
    }

    fn snapshot(&self, step: &str, file: &str) -> String {
        fs::read_to_string(self.goldens.join(step).join("snap").join(file)).unwrap()
    }

    /// Asserts that `contents` has each classic line of class none, and no others except for the directories above
    /// them, which the classic tools made and did not record.
    #[track_caller]
    fn has_lines_of(&self, step: &str) {
        let classic = self.snapshot(step, "contents");
        let classic = classic.lines().filter(|line| !line.starts_with('#'));
        let classic: Vec<&str> = classic.filter(|line| line.split(' ').nth(2) == Some("none")).collect();
        let ours = self.scenario.lines();
        let implied = |line: &str| {
            ["/opt d ", "/opt/SUNWstuf d ", "/opt/SUNWstux d "].iter().any(|d| line.starts_with(d))
        };
        let ours: Vec<&str> = ours.iter().map(String::as_str).filter(|line| !implied(line)).collect();
        assert_eq!(ours, classic, "{step}");
    }

    /// Asserts that each object outside `var` with a line in `contents` equals that of the classic tools: type, mode,
    /// owners, links, size, time of files, target.
    #[track_caller]
    fn has_objects_of(&self, step: &str) {
        let classic = self.snapshot(step, "tree");
        let contents = self.snapshot(step, "contents");
        let mut compared = 0;
        for line in contents.lines().filter(|line| line.split(' ').nth(2) == Some("none")) {
            let path = line.split([' ', '=']).next().unwrap();
            let expected =
                classic.lines().find(|line| line.split(' ').nth(6) == Some(&format!(".{path}"))).unwrap();
            assert_eq!(self.columns(path), comparable(expected), "{step}: {path}");
            compared += 1;
        }
        assert!(compared > 3, "{step} has objects to compare");
    }

    /// `type mode uid:gid nlink size mtime path target`, as find(1) printed them for the classic snapshots.
    fn columns(&self, path: &str) -> Vec<String> {
        let format = "%y %m %U:%G %n %s %TY-%Tm-%Td_%TH:%TM:%.2TS .%%s %l\n".replace("%%s", path);
        let output = std::process::Command::new("find")
            .arg(self.scenario.at(path))
            .args(["-maxdepth", "0", "-printf", &format])
            .env("TZ", "UTC0")
            .output()
            .unwrap();
        comparable(&String::from_utf8(output.stdout).unwrap())
    }
}

/// The columns that must agree: owners only for root; the number of links and the size not for directories; the time
/// only for regular files.
pub(crate) fn comparable(line: &str) -> Vec<String> {
    let mut columns: Vec<String> = line.trim_end().split(' ').map(str::to_owned).collect();
    if !is_root() {
        "-".clone_into(&mut columns[2]);
    }
    if columns[0] == "d" {
        columns[3..5].fill("-".to_owned());
    }
    if columns[0] != "f" {
        "-".clone_into(&mut columns[5]);
    }
    columns
}

#[test]
fn installed_packages_are_those_of_the_classic_tools() {
    let Some(stage) = Stage::new("installed packages") else { return };
    let spool = stage.scenario.beside("spool");
    stage.add(&spool, "SUNWstuf");
    stage.has_lines_of("01-base-install/out/base");
    stage.has_objects_of("01-base-install/out/base");
    stage.add(&spool, "SUNWstux");
    stage.has_lines_of("01-base-install/out/base2");
    stage.has_objects_of("01-base-install/out/base2");
    assert_eq!(stage.scenario.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_datastream_installs_what_its_directories_install() {
    let Some(stage) = Stage::new("a datastream") else { return };
    let stream = stage.scenario.beside("two.ds");
    let spool = stage.scenario.beside("spool");
    datastream(&[spool.join("SUNWstuf"), spool.join("SUNWstux")], &stream);
    stage.add(&stream, "all");
    // Not compared with scenario 14: there, the tools installed the objects of the first package for both.
    stage.has_lines_of("01-base-install/out/base2");
    stage.has_objects_of("01-base-install/out/base2");
}

#[test]
fn the_parameters_recorded_are_those_of_the_classic_tools_in_their_order() {
    let Some(stage) = Stage::new("the parameters recorded") else { return };
    stage.add(&stage.scenario.beside("spool"), "SUNWstux");
    let recorded = |text: &str| {
        // These depend on the machine of the snapshot: language, search path, time.
        let ours =
            |line: &&str| !["LANG=", "TZ=", "PATH=", "INSTDATE="].iter().any(|name| line.starts_with(name));
        text.lines().filter(ours).map(str::to_owned).collect::<Vec<_>>()
    };
    let ours = fs::read_to_string(stage.scenario.at("/var/sadm/pkg/SUNWstux/pkginfo")).unwrap();
    let classic = stage.snapshot("01-base-install/out/base2", "pkg/SUNWstux/pkginfo");
    assert_eq!(recorded(&ours), recorded(&classic));
    assert!(ours.ends_with("\nINSTDATE=Nov 20 2026 07:00\n"), "{ours}");
}

#[test]
fn a_removal_leaves_what_the_classic_one_leaves() {
    let Some(stage) = Stage::new("a removal") else { return };
    stage.add(&stage.scenario.beside("spool"), "SUNWstuf SUNWstux");
    assert_eq!(stage.remove("SUNWstux"), "\nRemoval of <SUNWstux> was successful.\n");
    stage.has_lines_of("01-base-install/out/base");
    stage.remove("SUNWstuf");
    stage.has_lines_of("19-pkgrm-installf/out/pkgrm2");
    assert_eq!(
        stage.scenario.run("pkginfo -R @ROOT@").ok(),
        "",
        "classic: 1, and some installers then give up"
    );
    assert_eq!(stage.scenario.tree().paths(), "etc etc/group etc/passwd opt");
}

#[test]
fn what_two_packages_share_stays_as_with_the_classic_tools() {
    let Some(stage) = Stage::new("what two packages share") else { return };
    stage.add(&stage.scenario.beside("spool"), "SUNWstuf");
    let data: String =
        (1..).map(|k| format!("shared line {k} abcdefghijklmnopqrstuvwxyz\n")).take(10).collect::<String>();
    let data = &data[..333];
    let shared = Package::new("SUNWshr").param("BASEDIR", "/opt/SUNWstuf");
    let shared = shared.line("share", "d none share 0755 root bin").line("lib", "d none lib 0700 root sys");
    let shared = ["share/data", "share/shr"]
        .iter()
        .fold(shared, |package, path| package.content('f', path, 0o644, "root bin", 1_795_158_253, data));
    shared.symlink("lib/libstuf.so", "libother").write(&stage.scenario.beside("more"));
    stage.scenario.file("/var/sadm/install/admin/quit", ADMIN.replace("conflict=nocheck", "conflict=quit"));
    let more = stage.scenario.beside("more");
    let line = format!("pkgadd -n -S -R @ROOT@ -a quit -d {} SUNWshr", more.display());
    stage.scenario.run(&line).fails(4);
    stage.add(&more, "SUNWshr");
    stage.has_lines_of("21-shared-files/out/conflict-nocheck");
    let patch = stage.goldens.join("pkgs/103203-01");
    let applied = stage.scenario.run(&format!("patchadd -R @ROOT@ {}", patch.display()));
    assert_eq!(applied.code, 0, "{}", applied.stderr);
    assert_eq!(stage.remove("SUNWshr"), "\nRemoval of <SUNWshr> was successful.\n");
    stage.has_lines_of("21-shared-files/out/pkgrm");
    assert!(!stage.scenario.at("/opt/SUNWstuf/share/shr").exists());
}

#[test]
fn the_messages_are_those_of_the_classic_tools() {
    let Some(stage) = Stage::new("the messages") else { return };
    let golden = |step: &str| {
        let text =
            fs::read_to_string(stage.goldens.join("26-messages/out").join(step).join("stderr")).unwrap();
        text.replace("@PKGS@/base", stage.scenario.beside("spool").to_str().unwrap())
    };
    // The classic tools asked for permission to make the base directory.
    stage.scenario.directory("/opt/SUNWstux");
    let (asked, rest) = golden("base2")
        .split_once("\nThe selected base directory")
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    let expected = asked + rest.split_once("[y,n,?,q] ").unwrap().1;
    let spool = stage.scenario.beside("spool");
    let add = |package: &str| {
        stage.scenario.run(&format!("pkgadd -R @ROOT@ -a golden -d {} {package}", spool.display()))
    };
    assert_eq!(add("SUNWstux").stderr, expected);
    assert_eq!(add("SUNWnope").fails(1), golden("pkgadd-none"));
    let nodir = stage.scenario.run("pkgadd -R @ROOT@ -a golden -d /nonexistent SUNWnope").fails(99);
    assert_eq!(
        nodir,
        "pkgadd: ERROR: could not process datastream from </nonexistent>: no such file or directory\n"
    );
    let none = stage.scenario.run("pkgrm -n -R @ROOT@ -a golden SUNWnone").fails(1);
    assert_eq!(none, "pkgrm: ERROR: no package associated with <SUNWnone>\n");
}
