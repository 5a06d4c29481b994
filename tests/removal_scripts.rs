//! pkgrm runs the scripts of packages: in which order, with which input, and with which consequences.
//!
//! Every script here is written by the test and touches nothing but the root of its scenario.

use std::fs;
use std::os::unix::fs::symlink;

use crate::packages::Package;
use crate::procedure_scripts::{NOTE, added, noted, stage};
use crate::scenario::{Run, Scenario};
use crate::terminal::at_terminal;
use crate::tree::assert_same;

pub(crate) fn remove(stage: &Scenario, options: &str) -> Run {
    stage.run(&format!("pkgrm -n -R @ROOT@ -a nocheck {options} ACMEall"))
}

/// A class script that records its input, and removes the objects as the engine would.
const TAKE: &str = "echo \"${0##*/}: $*\" >> $PKG_INSTALL_ROOT/opt/noted\n\
    while read path; do echo \"$path\" >> $PKG_INSTALL_ROOT/opt/noted; rm -f $path 2>/dev/null || rmdir $path; done\n";

/// A package with every script that a removal has, and classes on either side of the one with a script.
pub(crate) fn scripted() -> Package {
    Package::new("ACMEall")
        .param("CLASSES", "none mine late")
        .directory("mine")
        .file("bin/tool", 0o755, "#!/bin/sh\n")
        .symlink("bin/t", "tool")
        .of_class("mine", 'f', "mine/data", 0o640, "some data\n")
        .of_class("mine", 'e', "mine/list", 0o640, "a list\n")
        .of_class("late", 'f', "late/one", 0o444, "late\n")
        .information("preremove", NOTE)
        .information("r.mine", TAKE)
        .information("postremove", format!("{NOTE}echo to stderr >&2\n"))
}

/// A root on which the package is installed.
pub(crate) fn installed(package: &Package) -> Scenario {
    let stage = stage();
    added(&stage, package);
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    stage
}

#[test]
fn every_script_runs_in_its_order_and_every_step_is_told() {
    let stage = installed(&scripted());
    stage.file("/opt/ACMEall/late/more", "mine\n");
    let asked = at_terminal("removal", &stage, "pkgrm -R @ROOT@ -a nocheck ACMEall", "y\n");
    let Some((code, text)) = asked else { return };
    let steps = "
Do you want to remove this package? [y,n,?,q] 
## Removing installed package instance <ACMEall>
## Processing package information.
## Executing preremove script.
## Removing pathnames in class <late>
@ROOT@/opt/ACMEall/late/one
## Removing pathnames in class <mine>
## Removing pathnames in class <none>
@ROOT@/opt/ACMEall/mine
@ROOT@/opt/ACMEall/late <non-empty directory not removed>
@ROOT@/opt/ACMEall/bin/tool
@ROOT@/opt/ACMEall/bin/t
@ROOT@/opt/ACMEall/bin
@ROOT@/opt/ACMEall <non-empty directory not removed>
## Executing postremove script.
to stderr
## Updating system information.
NOTE: @ROOT@/opt/ACMEall/late is not empty and was kept
NOTE: @ROOT@/opt/ACMEall is not empty and was kept

Removal of <ACMEall> was successful.
";
    let text = text.replace(stage.root().to_str().unwrap(), "@ROOT@");
    assert!(text.ends_with(steps), "{text}");
    assert_eq!(code, 0);
    let expected =
        "preremove:\nr.mine: \n@ROOT@/opt/ACMEall/mine/list\n@ROOT@/opt/ACMEall/mine/data\npostremove:\n";
    assert_eq!(noted(&stage), expected);
}

#[test]
fn nothing_is_left_of_a_package_with_scripts() {
    let stage = stage();
    let before = stage.tree();
    added(&stage, &scripted());
    let run = remove(&stage, "");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(run.stderr, "\nRemoval of <ACMEall> was successful.\n");
    assert_eq!(run.stdout, "to stderr\n");
    stage.file("/opt/noted", "");
    stage.mode("/opt/noted", 0o666);
    assert_eq!(stage.tree().paths(), before.paths());
    assert_eq!(stage.lines(), [""; 0]);
    assert!(!stage.at("/var/sadm/pkg/ACMEall").exists());
    assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    let log = fs::read_to_string(stage.at("/var/sadm/patchadm/log")).unwrap();
    for words in [
        "## Removing installed package instance <ACMEall>\n",
        "## postremove begins\nto stderr\n## postremove: exit code 0",
        "\nRemoval of <ACMEall> was successful.\n",
    ] {
        assert!(log.contains(words), "{words} in {log}");
    }
}

#[test]
fn a_script_sees_the_package_marked_as_one_that_goes() {
    let look = "grep ACMEall $PKG_INSTALL_ROOT/var/sadm/install/contents >> $PKG_INSTALL_ROOT/opt/noted\n\
                ls $PKG_INSTALL_ROOT/var/sadm/pkg/ACMEall >> $PKG_INSTALL_ROOT/opt/noted\n";
    let stage = installed(&Package::new("ACMEall").file("a", 0o644, "a\n").information("preremove", look));
    assert_eq!(remove(&stage, "").code, 0);
    let seen = noted(&stage);
    assert!(seen.contains("/opt/ACMEall/a f none 0644 root root 2 107 1577836800 -ACMEall\n"), "{seen}");
    assert!(seen.contains("\n!R-Lock!\n"), "{seen}");
}

#[test]
fn each_script_has_exactly_its_environment() {
    let dump = "{ echo \"== ${0##*/}\"; pwd; /usr/bin/env | LC_ALL=C /usr/bin/sort | /usr/bin/grep -v '^_=\\|^PWD=\\|^OLDPWD=\\|^SHLVL='; } >> $PKG_INSTALL_ROOT/opt/noted\n";
    let package = Package::new("ACMEall")
        .param("CLASSES", "none mine")
        .of_class("mine", 'f', "data", 0o644, "x\n")
        .information("checkinstall", "echo MORE=answer >> $1\n");
    let package = ["preremove", "r.mine", "postremove"]
        .iter()
        .fold(package, |package, script| package.information(script, dump));
    let stage = installed(&package);
    let run = remove(&stage, "");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let text = noted(&stage);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).unwrap().to_owned();
    let private = value("PATH=").split_once("/tools:").unwrap().0.to_owned();
    let run = value("PATCHADM_RUN=");
    let text = text.replace(&private, "@PRIVATE@").replace(&run, "@RUN@");
    let expected = |script: &str, last: &str| {
        format!(
            "== {script}\n@ROOT@/var/sadm/pkg/ACMEall/install\nARCH=i386\nBASEDIR=@ROOT@/opt/ACMEall\n\
             CATEGORY=application\nCLASSES=none mine\nCLIENT_BASEDIR=/opt/ACMEall\nINSTDATE=Nov 20 2026 07:00\n\
             MORE=answer\nNAME=ACMEall for tests\nOAMBASE=/usr/sadm/sysadm\nPATCHADM_RUN=@RUN@\nPATCHADM_TRUST=asked\n\
             PATH=@PRIVATE@/tools:/sbin:/usr/sbin:/usr/bin:/usr/sadm/install/bin:/bin\nPKG=ACMEall\n\
             PKGINST=ACMEall\nPKGSAV=@ROOT@/var/sadm/pkg/ACMEall/save\nPKG_INSTALL_ROOT=@ROOT@\n\
             PKG_PROC_SCRIPT={last}\nTMPDIR=/var/tmp/\nTZ=UTC0\nVERSION=1.0\n"
        )
    };
    let all = [("preremove", "preremove"), ("r.mine", "preremove"), ("postremove", "postremove")];
    assert_eq!(text, all.map(|(script, last)| expected(script, last)).concat());
}

#[test]
fn what_packages_share_stays_and_editable_files_are_given_to_the_script() {
    let share = |name: &str| {
        Package::new(name)
            .param("BASEDIR", "/opt/acme")
            .param("CLASSES", "none mine")
            .of_class("mine", 'e', "table", 0o644, "a table\n")
            .of_class("mine", 'f', "data", 0o644, "data\n")
            .of_class("none", 'e', "plain", 0o644, "plain\n")
            .information("i.mine", "while read src dst; do cp $src $dst; done\n")
    };
    let list = "cat >> $PKG_INSTALL_ROOT/opt/noted\n";
    let own = share("ACMEall").of_class("mine", 'f', "own", 0o644, "own\n").information("r.mine", list);
    let stage = stage();
    added(&stage, &share("ACMEb"));
    added(&stage, &own);
    assert_eq!(remove(&stage, "").code, 0);
    assert_eq!(noted(&stage), "@ROOT@/opt/acme/table\n@ROOT@/opt/acme/own\n");
    assert_eq!(
        stage.tree().paths(),
        "etc etc/group etc/passwd opt opt/acme opt/acme/data opt/acme/own opt/acme/plain opt/acme/table opt/noted"
    );
    let lines = stage.lines();
    assert!(lines.iter().all(|line| line.ends_with(" ACMEb")), "{lines:?}");
    assert!(lines.iter().any(|line| line.starts_with("/opt/acme/table ")), "{lines:?}");
}

#[test]
fn files_of_the_standard_classes_are_taken_back() {
    let build = "case $1 in install) cat $PKG_INSTALL_ROOT/etc/built; echo built;; \
                 remove) grep -v built $PKG_INSTALL_ROOT/etc/built;; esac\nexit 0\n";
    let package = Package::new("ACMEall")
        .param("BASEDIR", "/")
        .param("CLASSES", "none build sed awk")
        .of_class("build", 'e', "etc/built", 0o644, build)
        .of_class("sed", 'e', "etc/edited", 0o644, "!install\n/^one$/a\\\ntwo\n!remove\n/^two$/d\n")
        .of_class("awk", 'e', "etc/gone", 0o644, "!install\n{ print }\n!remove\n{ print }\n");
    let stage = stage();
    for (path, text) in [("/etc/built", "local\n"), ("/etc/edited", "one\nthree\n"), ("/etc/gone", "x\n")] {
        stage.file(path, text);
    }
    added(&stage, &package);
    let text = |path: &str| fs::read_to_string(stage.at(path)).unwrap();
    assert_eq!(
        (text("/etc/built"), text("/etc/edited")),
        ("local\nbuilt\n".into(), "one\ntwo\nthree\n".into())
    );
    let run = remove(&stage, "");
    assert_eq!(run.code, 0, "{}", run.stderr);
    let modified = ["gone", "edited", "built"].map(|name| format!("Modifying @ROOT@/etc/{name}\n"));
    assert_eq!(run.stdout, modified.concat());
    assert_eq!((text("/etc/built"), text("/etc/edited")), ("local\n".into(), "one\nthree\n".into()));
    assert_eq!(text("/etc/gone"), "x\n");
    assert_eq!(stage.lines(), [""; 0]);
}

#[test]
fn a_class_script_may_come_from_the_root() {
    let package = Package::new("ACMEall")
        .param("CLASSES", "none mine")
        .of_class("mine", 'f', "data", 0o644, "x\n")
        .of_class("none", 'f', "plain", 0o644, "x\n");
    let stage = installed(&package);
    stage.file("/usr/sadm/install/scripts/r.mine", TAKE);
    stage.file("/usr/sadm/install/scripts/r.other", "exit 1\n");
    assert_eq!(remove(&stage, "").code, 0);
    assert_eq!(noted(&stage), "r.mine: \n@ROOT@/opt/ACMEall/data\n");
    assert!(!stage.at("/opt/ACMEall").exists());
}

#[test]
fn an_object_of_a_class_that_is_not_named_any_more_goes_last() {
    let stage = installed(&scripted());
    let pkginfo = stage.at("/var/sadm/pkg/ACMEall/pkginfo");
    let text = fs::read_to_string(&pkginfo).unwrap().replace("CLASSES=none mine late", "CLASSES=none late");
    fs::write(&pkginfo, text).unwrap();
    fs::write(
        stage.at("/var/sadm/pkg/ACMEall/install/r.mine"),
        format!("ls $PKG_INSTALL_ROOT/opt/ACMEall >> $PKG_INSTALL_ROOT/opt/noted\n{TAKE}"),
    )
    .unwrap();
    assert_eq!(remove(&stage, "").code, 0);
    let expected = "preremove:\nmine\nr.mine: \n@ROOT@/opt/ACMEall/mine/list\n@ROOT@/opt/ACMEall/mine/data\npostremove:\n";
    assert_eq!(noted(&stage), expected);
    assert!(!stage.at("/opt/ACMEall").exists(), "directories wait for what is in them");
}

#[test]
fn what_scripts_register_and_remove_themselves_is_part_of_the_run() {
    let preremove = "cd $PKG_INSTALL_ROOT\nrm `removef $PKGINST /opt/ACMEall/own`\nremovef -f $PKGINST\n\
                     echo made > opt/ACMEall/made\ninstallf $PKGINST /opt/ACMEall/made f 0644 root root && installf -f $PKGINST\n";
    let package = Package::new("ACMEall").file("own", 0o644, "own\n").file("a", 0o644, "a\n");
    let stage = installed(&package.clone().information("preremove", preremove));
    let run = remove(&stage, "");
    let left = "NOTE: @ROOT@/opt/ACMEall is not empty and was kept\n\nRemoval of <ACMEall> was successful.\n";
    assert_eq!((run.code, run.stderr.as_str()), (0, left), "nobody has removed what preremove made");
    assert_eq!(stage.lines(), [""; 0], "a package that is gone owns nothing");
    assert!(!stage.at("/opt/ACMEall/own").exists());

    let stage = installed(&package.information("preremove", preremove).information("postremove", "exit 1\n"));
    let before = stage.everything();
    let run = remove(&stage, "");
    assert_eq!(run.code, 1);
    // files that a script makes beside the objects of packages are its own
    fs::remove_file(stage.at("/opt/ACMEall/made")).unwrap();
    assert_same(&stage.everything(), &before);
}

#[test]
fn the_admin_file_the_policy_and_the_root_may_forbid_scripts() {
    let stage = installed(&scripted());
    let before = stage.everything();
    let text = stage.run("pkgrm -n -R @ROOT@ ACMEall").fails(5);
    assert!(
        text.contains("the package has its own scripts that run with the permissions of whoever removes it"),
        "{text}"
    );
    for policy in ["known", "none"] {
        stage.file("/etc/patchadm/policy", format!("scripts={policy}\n"));
        let text = remove(&stage, "").fails(1);
        assert!(
            text.contains("has the script preremove, which the policy of this root does not allow"),
            "{text}"
        );
    }
    fs::remove_dir_all(stage.at("/etc/patchadm")).unwrap();
    symlink("/tmp", stage.at("/var/tmp")).unwrap();
    let text = remove(&stage, "").fails(1);
    assert!(text.contains("scripts cannot be run: @ROOT@/var/tmp leads out of the root"), "{text}");
    fs::remove_file(stage.at("/var/tmp")).unwrap();
    assert_same(&stage.everything(), &before);
}

#[test]
fn every_command_of_a_script_is_shown_with_v() {
    let package =
        Package::new("ACMEall").file("a", 0o644, "a\n").information("preremove", "WORD=shown\nexit 0\n");
    let stage = installed(&package);
    let run = stage.run("pkgrm -nv -AM -V /etc/vfstab -a nocheck -R @ROOT@ ACMEall");
    assert!(run.stdout.contains("+ WORD=shown\n+ exit 0\n"), "{}", run.stdout);
}

#[test]
fn a_document_is_not_mixed_with_what_scripts_say() {
    let package =
        Package::new("ACMEall").file("a", 0o644, "a\n").information("postremove", "echo spoken\nexit 10\n");
    let stage = installed(&package);
    let run = remove(&stage, "--json");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, &document["packages"][0]["code"]), (10, &10.into()));
    assert_eq!(run.stderr, "spoken\n");
}

#[test]
fn of_several_packages_the_gravest_code_and_any_reboot_are_told() {
    let stage = stage();
    for (name, code) in [("ACMEa", 10), ("ACMEb", 4), ("ACMEc", 2)] {
        let package = Package::new(name).file("a", 0o644, "a\n");
        added(&stage, &package.information("postremove", format!("exit {code}\n")));
    }
    let run = stage.run("pkgrm -n -R @ROOT@ -a nocheck ACMEa ACMEb ACMEc.*");
    assert_eq!(run.code, 12, "{}", run.stderr);
    for words in
        ["<ACMEa> was successful.", "<ACMEb> was suspended (administration).", "<ACMEc> partially failed."]
    {
        assert!(run.stderr.contains(words), "{}", run.stderr);
    }
    assert_eq!(run.stderr.matches("*** IMPORTANT NOTICE ***").count(), 1);
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEb\n");
}
