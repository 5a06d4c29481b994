//! pkgadd runs the scripts of packages: when, as which user, with which input, and with which consequences.
//!
//! Every script here is written by the test and touches nothing but the root of its scenario.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use crate::packages::{DELIVERED, Package};
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::assert_same;

/// An admin file that asks nothing.
pub(crate) const NOCHECK: &str = "mail=\ninstance=unique\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\n\
                       rdepend=nocheck\nspace=nocheck\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\n\
                       basedir=default\n";

/// A root with an admin file that asks nothing, which unprivileged scripts can reach, and a file that everybody may
/// write to.
pub(crate) fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK);
    stage.file("/opt/noted", "");
    stage.mode("/opt/noted", 0o666);
    for open in ["", "root"] {
        fs::set_permissions(stage.beside(open), fs::Permissions::from_mode(0o755)).unwrap();
    }
    stage
}

/// The command line that installs a package, which is written into `spool` first.
pub(crate) fn line(stage: &Scenario, options: &str, package: &Package) -> String {
    let spool = stage.beside("spool");
    let _ = fs::remove_dir_all(&spool);
    let written = package.write(&spool);
    let name = written.file_name().unwrap().to_str().unwrap();
    format!("pkgadd -R @ROOT@ -a nocheck -d {} {options} {name}", spool.display())
}

pub(crate) fn add(stage: &Scenario, options: &str, package: &Package) -> Run {
    let run = stage.run(&line(stage, options, package));
    let spool = stage.beside("spool").display().to_string();
    Run {
        stdout: run.stdout.replace(&spool, "@SPOOL@"),
        stderr: run.stderr.replace(&spool, "@SPOOL@"),
        ..run
    }
}

#[track_caller]
pub(crate) fn added(stage: &Scenario, package: &Package) -> Run {
    let run = add(stage, "-n", package);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    run
}

/// A script that records its name and its input.
pub(crate) const NOTE: &str = "{ echo \"${0##*/}:\"; cat; } >> $PKG_INSTALL_ROOT/opt/noted\n";

/// A class script that records its input, and then copies.
pub(crate) const COPY: &str = "{ echo \"${0##*/}: $*\"; } >> $PKG_INSTALL_ROOT/opt/noted\n\
                    while read src dst; do echo \"$src $dst\" >> $PKG_INSTALL_ROOT/opt/noted; cp $src $dst; done\n";

/// A package with every script that an installation has.
pub(crate) fn everything() -> Package {
    Package::new("ACMEall")
        .param("CLASSES", "none mine build late")
        .directory("bin")
        .file("bin/tool", 0o755, "#!/bin/sh\n")
        .of_class("mine", 'f', "mine/data", 0o640, "some data\n")
        .of_class("build", 'e', "etc/built", 0o600, "echo built for $PKGINST\n")
        .of_class("late", 'f', "late", 0o444, "late\n")
        .link("mine/again", "data")
        .information("i.mine", COPY)
        .information("request", format!("{NOTE}echo ANSWER=\\'yes it is\\' >> $1\n"))
        .information(
            "checkinstall",
            format!("{NOTE}echo ANSWER=\"$ANSWER\" >> $PKG_INSTALL_ROOT/opt/noted\n"),
        )
        .information("preinstall", NOTE)
        .information("postinstall", format!("{NOTE}echo to stderr >&2\n"))
        .information("preremove", "exit 0\n")
        .information("copyright", "Copyright 2026 Acme\n")
}

pub(crate) fn noted(stage: &Scenario) -> String {
    let text = fs::read_to_string(stage.at("/opt/noted")).unwrap_or_default();
    let text = text.replace(stage.root().to_str().unwrap(), "@ROOT@");
    text.replace(&stage.beside("spool").display().to_string(), "@SPOOL@")
}

/// The files in a directory of the package's records.
pub(crate) fn recorded(stage: &Scenario, directory: &str) -> Vec<String> {
    let entries = fs::read_dir(stage.at("/var/sadm/pkg/ACMEall").join(directory)).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_script_runs_in_its_order_and_every_step_is_told() {
    let stage = stage();
    let run = add(&stage, "", &everything());
    let steps = "
Processing package instance <ACMEall> from <@SPOOL@>

ACMEall for tests(i386) 1.0
## Executing checkinstall script.
Using <@ROOT@/opt/ACMEall> as the package base directory.
## Processing package information.
## Processing system information.

Installing ACMEall for tests as <ACMEall>

## Executing preinstall script.
## Installing part 1 of 1.
@ROOT@/opt/ACMEall <implied directory>
@ROOT@/opt/ACMEall/bin/tool
[ verifying class <none> ]
@ROOT@/opt/ACMEall/mine <implied directory>
[ verifying class <mine> ]
@ROOT@/opt/ACMEall/mine/again <linked pathname>
@ROOT@/opt/ACMEall/etc <implied directory>
[ verifying class <build> ]
@ROOT@/opt/ACMEall/late
[ verifying class <late> ]
## Executing postinstall script.

Installation of <ACMEall> was successful.
";
    assert_eq!((run.code, run.stderr.as_str()), (0, steps));
    assert_eq!(run.stdout, "Copyright 2026 Acme\nModifying @ROOT@/opt/ACMEall/etc/built\nto stderr\n");
    let expected = "request:\ncheckinstall:\nANSWER=yes it is\npreinstall:\ni.mine: ENDOFCLASS\n\
                    @SPOOL@/ACMEall/reloc/mine/data @ROOT@/opt/ACMEall/mine/data\npostinstall:\n";
    assert_eq!(noted(&stage), expected);
}

#[test]
fn the_package_is_recorded_as_its_scripts_left_it() {
    let stage = stage();
    let run = add(&stage, "", &everything());
    assert_eq!(run.code, 0, "{}", run.stderr);
    let lines = stage.lines();
    for line in [
        "/opt/ACMEall/bin/tool f none 0755 root root 10 704 1577836800 ACMEall",
        "/opt/ACMEall/etc/built e build 0600 root root 18 1536 1577836800 ACMEall",
        "/opt/ACMEall/mine/data f mine 0640 root root 10 888 1577836800 ACMEall",
        "/opt/ACMEall/mine/again=data l none ACMEall",
    ] {
        assert!(lines.contains(&line.to_owned()), "{line} in {lines:#?}");
    }
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(fs::read_to_string(stage.at("/opt/ACMEall/etc/built")).unwrap(), "built for ACMEall\n");
    let tree = stage.tree();
    assert!(tree.line("opt/ACMEall/mine/data").starts_with("100000\t640\t"), "{tree:?}");
    assert_eq!(tree.line("opt/ACMEall/mine/data"), tree.line("opt/ACMEall/mine/again"));
    assert_eq!(recorded(&stage, "install"), ["checkinstall", "copyright", "preremove", "request"]);
    assert_eq!(recorded(&stage, ""), ["install", "pkginfo", "save"]);
    let pkginfo = fs::read_to_string(stage.at("/var/sadm/pkg/ACMEall/pkginfo")).unwrap();
    assert!(pkginfo.contains("\nANSWER=yes it is\nINSTDATE="), "{pkginfo}");
    let log = fs::read_to_string(stage.at("/var/sadm/patchadm/log")).unwrap();
    for words in [
        "## request: exit code 0",
        "## postinstall begins\nto stderr\n## postinstall: exit code 0",
        "Modifying ",
    ] {
        assert!(log.contains(words), "{words} in {log}");
    }
    assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
}

#[test]
fn each_script_has_exactly_its_environment() {
    let stage = stage();
    let dump = "{ echo \"== ${0##*/}\"; pwd; /usr/bin/env | LC_ALL=C /usr/bin/sort | /usr/bin/grep -v '^_=\\|^PWD=\\|^OLDPWD=\\|^SHLVL='; } >> $PKG_INSTALL_ROOT/opt/noted\n";
    let package = Package::new("ACMEall")
        .param("CLASSES", "none mine")
        .of_class("mine", 'f', "data", 0o644, "x\n")
        .information("checkinstall", format!("{dump}echo MORE=answer >> $1\n"));
    let package = ["preinstall", "i.mine", "postinstall"]
        .iter()
        .fold(package, |package, script| package.information(script, dump));
    let package = package.information("i.mine", format!("{dump}while read s d; do cp $s $d; done\n"));
    added(&stage, &package);
    let text = noted(&stage);
    let private = text.lines().find_map(|line| line.strip_prefix("TMPDIR=")).unwrap().to_owned();
    let run = text.lines().find_map(|line| line.strip_prefix("PATCHADM_RUN=")).unwrap().to_owned();
    assert!(run.starts_with("1-"), "{run}");
    let text = text.replace(&private, "@PRIVATE@").replace(&run, "@RUN@");
    let scripts = "@ROOT@/var/sadm/pkg/ACMEall/install";
    let path = "@PRIVATE@/tools:/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin:/bin";
    let early = format!(
        "ARCH=i386\nBASEDIR=/opt/ACMEall\nCATEGORY=application\nCLASSES=none mine\nINST_DATADIR=@SPOOL@\n\
         NAME=ACMEall for tests\nOAMBASE=/usr/sadm/sysadm\nPATH={path}\nPKG=ACMEall\nPKGINST=ACMEall\n\
         PKGSAV=@ROOT@/var/sadm/pkg/ACMEall/save\nPKG_INSTALL_ROOT=@ROOT@\nTZ=UTC0\nVERSION=1.0\n"
    );
    let late = |more: &[&str]| {
        let mut lines: Vec<&str> = early.lines().filter(|line| !line.starts_with("BASEDIR=")).collect();
        let always = [
            "BASEDIR=@ROOT@/opt/ACMEall",
            "CLIENT_BASEDIR=/opt/ACMEall",
            "INSTDATE=Nov 20 2026 07:00",
            "MORE=answer",
            "PATCHADM_RUN=@RUN@",
            "PATCHADM_TRUST=asked",
            "PKG_PROC_script=preinstall",
        ];
        lines.extend(always.iter().chain(more));
        lines.sort_unstable();
        format!("{}\n", lines.join("\n"))
    };
    let expected = format!(
        "== checkinstall\n/\n{}== preinstall\n{scripts}\n{}== i.mine\n{scripts}\n{}== postinstall\n{scripts}\n{}",
        early.replace("PATH=", "PATCHADM_SCRIPTS=@PRIVATE@\nPATH="),
        late(&[]),
        late(&["TMPDIR=@PRIVATE@"]),
        late(&["TMPDIR=@PRIVATE@", "PKG_PROC_SCRIPT=postinstall"]),
    );
    assert_eq!(text, expected);
}

#[test]
fn an_account_that_preinstall_makes_owns_what_comes_after_it() {
    if !is_root() {
        crate::skipped("accounts of preinstall: only root gives files away");
        return;
    }
    let account = "echo acme:x:7777:7778::/:/bin/false >> $PKG_INSTALL_ROOT/etc/passwd\n\
                   echo acme:x:7778: >> $PKG_INSTALL_ROOT/etc/group\n";
    let package = |script: &str| {
        Package::new("ACMEall")
            .param("CLASSES", "none mine")
            .content('f', "log", 0o600, "acme acme", DELIVERED, "log\n")
            .line("run", "d none run 0750 acme acme")
            .information("preinstall", script)
    };
    let stage = stage();
    let before = stage.everything();
    let run = add(&stage, "-n", &package("exit 0\n"));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("owner acme does not exist in this root"), "{}", run.stderr);
    assert_same(&stage.everything(), &before);
    added(&stage, &package(account));
    for path in ["/opt/ACMEall/log", "/opt/ACMEall/run"] {
        let seen = fs::metadata(stage.at(path)).unwrap();
        assert_eq!((seen.uid(), seen.gid()), (7777, 7778), "{path}");
    }
}

#[test]
fn every_command_of_a_script_is_shown_with_v() {
    let stage = stage();
    let package =
        Package::new("ACMEall").file("a", 0o644, "a\n").information("preinstall", "WORD=shown\nexit 0\n");
    let run = add(&stage, "-n -v", &package);
    assert!(run.stdout.contains("+ WORD=shown\n+ exit 0\n"), "{}", run.stdout);
}

#[test]
fn a_root_that_scripts_would_leave_is_refused() {
    let stage = stage();
    let before = |stage: &Scenario| stage.everything();
    symlink("/tmp", stage.at("/var/tmp")).unwrap();
    let state = before(&stage);
    let said =
        add(&stage, "-n", &Package::new("ACMEall").file("a", 0o644, "a\n").information("preinstall", NOTE));
    assert!(
        said.stderr.contains("scripts cannot be run: @ROOT@/var/tmp leads out of the root"),
        "{}",
        said.stderr
    );
    assert_eq!(said.code, 1);
    assert_same(&stage.everything(), &state);
    added(&stage, &Package::new("ACMEall").file("a", 0o644, "a\n"));
}

#[test]
fn the_policy_of_a_root_may_forbid_scripts() {
    let stage = stage();
    let own = Package::new("ACMEown").file("a", 0o644, "a\n").information("postinstall", "exit 0\n");
    let standard = Package::new("ACMEstd").param("CLASSES", "renamenew");
    let standard = standard.of_class("renamenew", 'e', "a", 0o644, "x\n");
    for (policy, own_code, standard_code) in [("known", 1, 0), ("none", 1, 1), ("run", 0, 0)] {
        stage.file("/etc/patchadm/policy", format!("scripts={policy}\n"));
        let run = add(&stage, "-n", &own);
        assert_eq!(run.code, own_code, "{policy}: {}", run.stderr);
        if own_code == 1 {
            assert!(
                run.stderr
                    .contains("has the script postinstall, which the policy of this root does not allow")
            );
        }
        assert_eq!(add(&stage, "-n", &standard).code, standard_code, "{policy}");
    }
}

#[test]
fn of_several_packages_the_gravest_code_and_any_reboot_are_told() {
    let stage = stage();
    let spool = stage.beside("spool");
    let ending = |name: &str, code: u8| {
        Package::new(name)
            .file("a", 0o644, "a\n")
            .information("postinstall", format!("exit {code}\n"))
            .write(&spool);
    };
    ending("ACMEa", 10);
    ending("ACMEb", 4);
    ending("ACMEc", 2);
    let run = stage.run(&format!("pkgadd -n -R @ROOT@ -a nocheck -d {} ACMEa ACMEb ACMEc", spool.display()));
    assert_eq!(run.code, 12, "{}", run.stderr);
    for words in
        ["<ACMEa> was successful.", "<ACMEb> was suspended (administration).", "<ACMEc> partially failed."]
    {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    assert_eq!(run.stderr.matches("*** IMPORTANT NOTICE ***").count(), 1);
}

pub(crate) fn older() -> Package {
    Package::new("ACMEall")
        .param("CLASSES", "none mine")
        .file("tool", 0o755, "tool\n")
        .of_class("mine", 'f', "data", 0o644, "data\n")
        .link("again", "data")
}

#[test]
fn a_document_is_not_mixed_with_what_scripts_say() {
    let stage = stage();
    let package =
        Package::new("ACMEall").file("a", 0o644, "a\n").information("postinstall", "echo spoken\nexit 10\n");
    let run = add(&stage, "--json", &package);
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &document["packages"][0]["code"]), (10, &10.into()));
    assert_eq!(run.stderr, "spoken\n");
}

#[test]
fn a_script_that_the_pkgmap_does_not_name_is_not_run() {
    let stage = stage();
    let line = line(&stage, "-n", &Package::new("ACMEall").file("a", 0o644, "a\n"));
    fs::write(stage.beside("spool/ACMEall/install/preinstall"), NOTE).unwrap();
    assert_eq!(stage.run(&line).code, 0);
    assert_eq!(noted(&stage), "");
}

#[test]
fn what_scripts_register_comes_and_goes_with_the_run() {
    let register = "log=$BASEDIR/log; echo born > $log\n\
                    installf $PKGINST $CLIENT_BASEDIR/log v 0640 root root || exit 1\n\
                    installf $PKGINST $CLIENT_BASEDIR/spool d 0711 root root || exit 1\n\
                    installf -f $PKGINST || exit 1\n\
                    rm `removef $PKGINST $CLIENT_BASEDIR/gone` || exit 1\n\
                    removef -f $PKGINST || exit 1\n";
    let package = |ending: &str| {
        Package::new("ACMEall")
            .file("a", 0o644, "a\n")
            .file("gone", 0o644, "gone\n")
            .information("postinstall", format!("{register}{ending}\n"))
    };
    let stage = stage();
    let before = stage.everything();
    let run = add(&stage, "-n", &package("rm $log; exit 1"));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert_same(&stage.everything(), &before);
    let run = added(&stage, &package("exit 0"));
    assert_eq!(run.stdout, "", "{}", run.stderr);
    let lines = stage.lines();
    let of = |path: &str| lines.iter().find(|line| line.split(' ').next() == Some(path));
    let log = of("/opt/ACMEall/log").unwrap();
    assert!(
        log.starts_with("/opt/ACMEall/log v none 0640 root root 5 ") && log.ends_with(" ACMEall"),
        "{log}"
    );
    assert_eq!(of("/opt/ACMEall/spool").unwrap(), "/opt/ACMEall/spool d none 0711 root root ACMEall");
    assert_eq!(of("/opt/ACMEall/gone"), None);
    assert!(!stage.at("/opt/ACMEall/gone").exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}
