//! pkgadd runs the scripts of packages: when, as whom, with what, and what follows from how they end.
//!
//! Every script here is written by the test and touches nothing but the root of its scenario.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::packages::{DELIVERED, Package, datastream};
use crate::scenario::{Run, Scenario, is_root};
use crate::terminal::at_terminal;
use crate::tree::assert_same;

/// An admin file that asks nothing.
const NOCHECK: &str = "mail=\ninstance=unique\npartial=nocheck\nrunlevel=nocheck\nidepend=nocheck\n\
                       rdepend=nocheck\nspace=nocheck\nsetuid=nocheck\nconflict=nocheck\naction=nocheck\n\
                       basedir=default\n";

/// A root with an admin file that asks nothing, which unprivileged scripts can get to, and a file that everybody may
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
fn line(stage: &Scenario, options: &str, package: &Package) -> String {
    let spool = stage.beside("spool");
    let _ = fs::remove_dir_all(&spool);
    let written = package.write(&spool);
    let name = written.file_name().unwrap().to_str().unwrap();
    format!("pkgadd -R @ROOT@ -a nocheck -d {} {options} {name}", spool.display())
}

fn add(stage: &Scenario, options: &str, package: &Package) -> Run {
    let run = stage.run(&line(stage, options, package));
    let spool = stage.beside("spool").display().to_string();
    Run {
        stdout: run.stdout.replace(&spool, "@SPOOL@"),
        stderr: run.stderr.replace(&spool, "@SPOOL@"),
        ..run
    }
}

#[track_caller]
fn added(stage: &Scenario, package: &Package) -> Run {
    let run = add(stage, "-n", package);
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    run
}

/// A script that notes its name and what it reads.
const NOTE: &str = "{ echo \"${0##*/}:\"; cat; } >> $PKG_INSTALL_ROOT/opt/noted\n";

/// A class script that notes, and then copies.
const COPY: &str = "{ echo \"${0##*/}: $*\"; } >> $PKG_INSTALL_ROOT/opt/noted\n\
                    while read src dst; do echo \"$src $dst\" >> $PKG_INSTALL_ROOT/opt/noted; cp $src $dst; done\n";

/// A package with every script that an installation has.
fn everything() -> Package {
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

fn noted(stage: &Scenario) -> String {
    let text = fs::read_to_string(stage.at("/opt/noted")).unwrap_or_default();
    let text = text.replace(stage.root().to_str().unwrap(), "@ROOT@");
    text.replace(&stage.beside("spool").display().to_string(), "@SPOOL@")
}

/// The files in a directory of the package's records.
fn recorded(stage: &Scenario, directory: &str) -> Vec<String> {
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
to stderr

Installation of <ACMEall> was successful.
";
    assert_eq!((run.code, run.stderr.as_str()), (0, steps));
    assert_eq!(run.stdout, "Copyright 2026 Acme\nModifying @ROOT@/opt/ACMEall/etc/built\n");
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
            "PKG_PROC_script=preinstall",
        ];
        lines.extend(always.iter().chain(more));
        lines.sort_unstable();
        format!("{}\n", lines.join("\n"))
    };
    let expected = format!(
        "== checkinstall\n/\n{early}== preinstall\n{scripts}\n{}== i.mine\n{scripts}\n{}== postinstall\n{scripts}\n{}",
        late(&[]),
        late(&["TMPDIR=@PRIVATE@"]),
        late(&["TMPDIR=@PRIVATE@", "PKG_PROC_SCRIPT=postinstall"]),
    );
    assert_eq!(text, expected);
}

/// A package that is installed already, and a newer copy of it whose `script` ends with `ending` after it has done
/// things to the package's own files.
fn failing(script: &str, ending: &str) -> Package {
    let harm = "cd $PKG_INSTALL_ROOT/opt/ACMEall 2>/dev/null && { echo harm >> tool; rm -f data; rm -f again; \
                echo x > $PKG_INSTALL_ROOT/var/sadm/pkg/ACMEall/left; }\n";
    let copy = "while read src dst; do cp $src $dst; done\n";
    let body = |name: &str| {
        let work = if name == "i.mine" { copy } else { "" };
        if name == script { format!("{work}{harm}{ending}\n") } else { format!("{work}exit 0\n") }
    };
    let check = if script == "checkinstall" { ending } else { "exit 0" };
    Package::new("ACMEall")
        .param("CLASSES", "none mine")
        .file("tool", 0o755, "newer tool\n")
        .of_class("mine", 'f', "data", 0o644, "newer data\n")
        .link("again", "data")
        .file("fresh", 0o644, "fresh\n")
        .information("checkinstall", check)
        .information("preinstall", body("preinstall"))
        .information("i.mine", body("i.mine"))
        .information("postinstall", body("postinstall"))
}

fn older() -> Package {
    Package::new("ACMEall")
        .param("CLASSES", "none mine")
        .file("tool", 0o755, "tool\n")
        .of_class("mine", 'f', "data", 0o644, "data\n")
        .link("again", "data")
}

const SCRIPTS: [&str; 4] = ["checkinstall", "preinstall", "i.mine", "postinstall"];

#[test]
fn a_script_that_fails_leaves_everything_as_before() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    for script in SCRIPTS {
        for code in [1, 3, 4, 5, 6, 11, 99] {
            let run = add(&stage, "-n", &failing(script, &format!("exit {code}")));
            let (expected, ending) = match (script, code) {
                ("checkinstall", 3) | (_, 4) => (4, "was suspended (administration)."),
                (_, 3) => (3, "was terminated due to user request."),
                (_, 5) => (5, "was suspended (interaction required)."),
                _ => (1, "failed."),
            };
            assert_eq!(run.code, expected, "{script} {code}: {}", run.stderr);
            let last = format!("\nInstallation of <ACMEall> {ending}\nNo changes were made to the system.\n");
            assert!(run.stderr.ends_with(&last), "{script} {code}: {}", run.stderr);
            let what = if script == "i.mine" { "class action" } else { script };
            let blame = format!("pkgadd: ERROR: {what} script did not complete successfully\n");
            assert_eq!(run.stderr.contains(&blame), code != 3, "{script} {code}: {}", run.stderr);
            assert_same(&stage.everything(), &before);
        }
    }
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_new_package_whose_script_fails_leaves_nothing() {
    let stage = stage();
    let before = stage.everything();
    for script in SCRIPTS {
        let run = add(&stage, "-n", &failing(script, "exit 1"));
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn warnings_and_reboots_are_kept_and_told() {
    for (code, ending) in [
        (2, "partially failed."),
        (10, "was successful."),
        (12, "partially failed."),
        (20, "was successful."),
        (22, "partially failed."),
    ] {
        for script in ["preinstall", "i.mine", "postinstall"] {
            let stage = stage();
            let copy = if script == "i.mine" { "while read src dst; do cp $src $dst; done\n" } else { "" };
            let package = older().information("i.mine", "while read src dst; do cp $src $dst; done\n");
            let package = package.information(script, format!("{copy}exit {code}\n"));
            let run = add(&stage, "-n", &package);
            assert_eq!(run.code, code, "{script}: {}", run.stderr);
            assert!(
                run.stderr.contains(&format!("\nInstallation of <ACMEall> {ending}\n")),
                "{}",
                run.stderr
            );
            assert_eq!(run.stderr.contains("*** IMPORTANT NOTICE ***"), code >= 10, "{}", run.stderr);
            assert_eq!(run.stderr.contains("script did not complete successfully"), code % 10 == 2);
            assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
            assert_eq!(recorded(&stage, ""), ["install", "pkginfo", "save"]);
        }
    }
}

#[test]
fn a_script_that_hangs_is_ended_and_undone() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    for script in ["checkinstall", "preinstall", "i.mine"] {
        let began = Instant::now();
        let run = add(&stage, "-n --script-timeout 1", &failing(script, "sleep 600"));
        assert_eq!(run.code, 1, "{}", run.stderr);
        assert!(began.elapsed() < Duration::from_secs(60));
        assert!(
            run.stderr.contains("script did not complete successfully\n    ended because it took too long\n"),
            "{}",
            run.stderr
        );
        assert_same(&stage.everything(), &before);
    }
    stage.file("/etc/patchadm/policy", "script_timeout=1\n");
    let run = add(&stage, "-n", &failing("postinstall", "sleep 600"));
    assert!(run.fails(1).contains("took too long"));
}

#[test]
fn a_script_that_is_killed_is_undone() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    let run = add(&stage, "-n", &failing("postinstall", "kill -9 $$"));
    assert_eq!(run.code, 1);
    assert!(run.stderr.contains("\n    ended by signal 9\n"), "{}", run.stderr);
    assert_same(&stage.everything(), &before);
}

/// Starts pkgadd, and waits until the script that hangs is there.
fn hanging(stage: &Scenario, script: &str) -> Child {
    fs::write(stage.at("/opt/noted"), "").unwrap();
    let hang = "echo here >> $PKG_INSTALL_ROOT/opt/noted; sleep 60";
    let mut command = stage.command(&line(stage, "-n", &failing(script, hang)));
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(30);
    while noted(stage) != "here\n" {
        assert!(Instant::now() < until, "{script} never comes");
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    child
}

#[test]
fn a_signal_to_pkgadd_ends_the_script_and_undoes_the_run() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    for (script, signal) in SCRIPTS.iter().zip([Signal::TERM, Signal::INT, Signal::HUP, Signal::TERM]) {
        let mut child = hanging(&stage, script);
        kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3), "{script}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn pkgadd_killed_during_any_script_is_undone_by_recovery() {
    let stage = stage();
    added(&stage, &older());
    let before = stage.everything();
    for script in SCRIPTS {
        let mut child = hanging(&stage, script);
        child.kill().unwrap();
        child.wait().unwrap();
        let said = stage.run("pkgparam -R @ROOT@ ACMEall INSTDATE").ok();
        assert_eq!(said, "Nov 20 2026 07:00\n", "readers see the records of before");
        let recovered = stage.run("recover -R @ROOT@");
        assert_eq!(recovered.code, 0, "{script}: {}{}", recovered.stdout, recovered.stderr);
        assert_same(&stage.everything(), &before);
        assert_eq!(stage.run("recover -R @ROOT@").ok(), "No run was interrupted.\n");
    }
}

#[test]
fn the_standard_classes_need_no_scripts_of_the_package() {
    let stage = stage();
    let package = Package::new("ACMEall")
        .param("CLASSES", "none sed awk preserve renamenew build")
        .of_class("sed", 'e', "/etc/table", 0o644, "!install\ns/old/new/\n!remove\ns/new/old/\n")
        .of_class("awk", 'e', "/etc/words", 0o644, "!install\n{ print $1 }\n!remove\n{ print }\n")
        .of_class("preserve", 'e', "/etc/kept", 0o644, "delivered\n")
        .of_class("renamenew", 'e', "/etc/beside", 0o644, "delivered\n")
        .of_class("build", 'e', "/etc/built", 0o644, "echo made by $1\n");
    for (path, text) in [
        ("/etc/table", "old value\n"),
        ("/etc/words", "one two\n"),
        ("/etc/kept", "mine\n"),
        ("/etc/beside", "mine\n"),
    ] {
        stage.file(path, text);
    }
    added(&stage, &package);
    let text = |path: &str| fs::read_to_string(stage.at(path)).unwrap();
    assert_eq!(text("/etc/table"), "new value\n");
    assert_eq!(text("/etc/words"), "one\n");
    assert_eq!((text("/etc/kept"), text("/etc/beside")), ("mine\n".to_owned(), "mine\n".to_owned()));
    assert_eq!(text("/etc/beside.new"), "delivered\n");
    assert_eq!(text("/etc/built"), "made by install\n");
    assert!(stage.at("/var/sadm/pkg/ACMEall/save/build/etc/built").exists());
    assert!(!stage.at("/etc/kept.edited-ACMEall").exists(), "what becomes of edits is the script's matter");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_class_script_of_the_root_comes_before_that_of_the_program() {
    let stage = stage();
    stage.file("/usr/sadm/install/scripts/i.build", "while read s d; do echo by the root > $d; done\n");
    added(
        &stage,
        &Package::new("ACMEall").param("CLASSES", "build").of_class("build", 'e', "a", 0o644, "echo no\n"),
    );
    assert_eq!(fs::read_to_string(stage.at("/opt/ACMEall/a")).unwrap(), "by the root\n");
}

#[test]
fn a_package_that_wants_to_ask_is_refused_where_nobody_can_be_asked() {
    let stage = stage();
    let before = stage.everything();
    let run = add(&stage, "-n", &everything());
    assert_eq!(run.code, 5);
    let expected = "Interactive request script supplied by package\n\
                    pkgadd: ERROR: request script did not complete successfully\n\n\
                    Installation of <ACMEall> was suspended (interaction required).\n\
                    No changes were made to the system.\n";
    assert_eq!((run.stderr.as_str(), run.stdout.as_str()), (expected, "Copyright 2026 Acme\n"));
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_response_file_stands_for_the_request_script() {
    let stage = stage();
    let answers = stage.beside("answers");
    fs::write(&answers, "ANSWER=\"from the file\"\nPATH=/evil\nCLASSES=\"none mine\"\n").unwrap();
    let run = add(&stage, &format!("-n -r {}", answers.display()), &everything());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("pkgadd: WARNING: read-only parameter <PATH> cannot be assigned a value\n"));
    assert!(noted(&stage).starts_with("checkinstall:\nANSWER=from the file\n"), "{}", noted(&stage));
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall ANSWER CLASSES").ok(), "from the file\nnone mine\n");
    assert!(!stage.at("/opt/ACMEall/etc/built").exists(), "its class was not chosen");
    assert!(!stage.at("/opt/ACMEall/late").exists());
}

#[test]
fn an_answer_moves_a_new_package_and_never_an_installed_one() {
    let stage = stage();
    let move_to = |to: &str| {
        Package::new("ACMEall")
            .file("a", 0o644, "a\n")
            .information("checkinstall", format!("echo BASEDIR={to} >> $1\n"))
    };
    added(&stage, &move_to("/srv/there"));
    assert!(stage.at("/srv/there/a").exists());
    let before = stage.everything();
    let run = add(&stage, "-n", &move_to("/srv/elsewhere"));
    assert!(
        run.stderr.contains("it is installed in /srv/there, and the response demands /srv/elsewhere"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("Installation of <ACMEall> failed (internal error)."));
    assert_eq!(run.code, 99);
    assert_same(&stage.everything(), &before);
}

#[test]
fn pkgask_keeps_the_answers_and_pkgadd_takes_them() {
    let stage = stage();
    let spool = stage.beside("spool");
    everything().write(&spool);
    Package::new("ACMEmute").write(&spool);
    let asked = stage.beside("asked");
    let ask = |to: &std::path::Path, name: &str| {
        stage.run(&format!("pkgask -R @ROOT@ -d {} -r {} {name}", spool.display(), to.display()))
    };
    let before = stage.everything();
    let run = ask(&asked, "ACMEall");
    let expected = format!(
        "\nProcessing package instance <ACMEall> from <{}>\n\nACMEall for tests(i386) 1.0\n\n\
         Response file <{}> was created.\n\nProcessing of request script was successful.\n",
        spool.display(),
        asked.display()
    );
    assert_eq!((run.code, run.stderr), (0, expected));
    assert_eq!(fs::read_to_string(&asked).unwrap(), "ANSWER='yes it is'\n");
    assert_eq!(noted(&stage), "request:\n");
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    assert_same(&stage.everything(), &before);

    let again = ask(&asked, "ACMEall").fails(1);
    assert!(again.contains(&format!("response file <{}> must not exist", asked.display())), "{again}");
    let mute = ask(&stage.beside("other"), "ACMEmute").fails(1);
    assert!(
        mute.contains("pkgask: ERROR: package does not contain an interactive request script\n"),
        "{mute}"
    );
    assert!(mute.ends_with("\nProcessing of request script failed.\n"), "{mute}");
    let run = add(&stage, &format!("-n -r {}", asked.display()), &everything());
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn request_talks_to_the_terminal() {
    let stage = stage();
    let ask = "echo 'Which colour?'\nread colour\necho COLOUR=$colour >> $1\n";
    let package = Package::new("ACMEall").file("a", 0o644, "a\n").information("request", ask);
    let line = line(&stage, "", &package);
    let Some((code, said)) = at_terminal("request", &stage, &line, "green\n") else { return };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Which colour?\n"), "{said}");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall COLOUR").ok(), "green\n");
}

#[test]
fn who_is_asked_about_scripts_may_say_no() {
    let stage = stage();
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK.replace("action=nocheck", "action=ask"));
    let before = stage.everything();
    let package = Package::new("ACMEall").file("a", 0o644, "a\n").information("preinstall", "exit 0\n");
    let run = add(&stage, "-n", &package);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert_same(&stage.everything(), &before);
    let line = line(&stage, "", &package);
    let Some((code, said)) = at_terminal("action", &stage, &line, "n\n") else { return };
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("scripts that run with the permissions of whoever installs it"), "{said}");
    assert_same(&stage.everything(), &before);
    assert_eq!(at_terminal("action", &stage, &line, "y\n").unwrap().0, 0);
}

#[test]
fn checkinstall_is_nobody_and_finds_its_package_even_below_a_private_directory() {
    let stage = stage();
    let look = "cat `dirname $0`/../pkginfo `dirname $0`/../pkgmap > /dev/null || exit 1\n\
                /usr/bin/id -u >> $PKG_INSTALL_ROOT/opt/noted\n\
                echo FROM=\"`cd \\`dirname $0\\`/..; pwd`\" >> $1\n";
    let package = Package::new("ACMEall").file("a", 0o644, "a\n").information("checkinstall", look);
    let place = |stage: &Scenario| stage.run("pkgparam -R @ROOT@ ACMEall FROM").ok();
    added(&stage, &package);
    assert_eq!(place(&stage), format!("{}/ACMEall\n", stage.beside("spool").display()), "in place");
    let line = line(&stage, "-n", &package);
    fs::set_permissions(stage.beside("spool"), fs::Permissions::from_mode(0o700)).unwrap();
    let run = stage.run(&line);
    assert_eq!(run.code, 0, "{}", run.stderr);
    if !is_root() {
        return;
    }
    assert!(noted(&stage).lines().all(|uid| uid != "0"), "{}", noted(&stage));
    let copy = place(&stage);
    assert!(copy.starts_with("/var/tmp/") && copy.ends_with("/ACMEall\n"), "{copy}");
    assert!(!std::path::Path::new(copy.trim()).exists(), "the copy is gone afterwards");
}

#[test]
fn a_package_in_a_stream_is_unpacked_for_its_class_scripts() {
    let stage = stage();
    let written = everything().write(&stage.beside("spool"));
    let stream = stage.beside("all.ds");
    datastream(&[written], &stream);
    let run = stage.run(&format!("pkgadd -R @ROOT@ -a nocheck -d {} all", stream.display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
    let noted = noted(&stage);
    let listed = noted.lines().find(|line| line.contains("/reloc/")).unwrap();
    let source = listed.split(' ').next().unwrap();
    assert!(source.starts_with("/var/tmp/") && source.ends_with("/ACMEall/reloc/mine/data"), "{listed}");
    assert!(!std::path::Path::new(source).exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn a_delivered_file_that_is_damaged_stops_before_any_script() {
    let stage = stage();
    let before = stage.everything();
    let command = line(&stage, "", &everything());
    fs::write(stage.beside("spool/ACMEall/reloc/mine/data"), "some DATA\n").unwrap();
    let said = stage.run(&command).fails(1);
    assert!(said.contains("mine/data") && said.contains("cksum"), "{said}");
    assert!(!noted(&stage).contains("preinstall"), "{}", noted(&stage));
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_class_script_may_want_paths_relative_to_the_package() {
    let stage = stage();
    let script = "{ read top; while read path; do echo \"$path\" >> $PKG_INSTALL_ROOT/opt/noted; \
                  cp $top/$path $BASEDIR/${path#reloc/}; done; }\n";
    let package = older().param("PKG_CAS_PASSRELATIVE", "mine").information("i.mine", script);
    added(&stage, &package);
    assert_eq!(noted(&stage), "reloc/data\n");
    assert_eq!(fs::read_to_string(stage.at("/opt/ACMEall/data")).unwrap(), "data\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall PKG_CAS_PASSRELATIVE").ok(), "", "never stored");
}

#[test]
fn an_update_passes_on_what_differs_and_says_so() {
    let stage = stage();
    let package = |data: &str| {
        older()
            .of_class("mine", 'f', "other", 0o644, data)
            .information("i.mine", COPY)
            .information("preinstall", "echo UPDATE=$UPDATE >> $PKG_INSTALL_ROOT/opt/noted\n")
    };
    added(&stage, &package("one\n"));
    fs::write(stage.at("/opt/noted"), "").unwrap();
    let run = added(&stage, &package("two\n"));
    assert!(run.stderr.contains("same architecture and version"), "{}", run.stderr);
    let expected = "UPDATE=yes\ni.mine: ENDOFCLASS\n@SPOOL@/ACMEall/reloc/other @ROOT@/opt/ACMEall/other\n";
    assert_eq!(noted(&stage), expected);
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall UPDATE").ok(), "");
    let data = fs::metadata(stage.at("/opt/ACMEall/data")).unwrap();
    let again = fs::metadata(stage.at("/opt/ACMEall/again")).unwrap();
    assert_eq!(data.ino(), again.ino());
}

#[test]
fn a_file_that_its_script_does_not_install_is_marked() {
    let stage = stage();
    let package = Package::new("ACMEall")
        .param("CLASSES", "mine")
        .of_class("mine", 'f', "data", 0o644, "data\n")
        .information("i.mine", "cat > /dev/null\n");
    let run = add(&stage, "-n", &package);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(
        run.stderr.contains("pkgadd: ERROR: @ROOT@/opt/ACMEall/data\n    pathname does not exist\n"),
        "{}",
        run.stderr
    );
    let line = "/opt/ACMEall/data f mine 0644 root root 5 420 1577836800 !ACMEall";
    assert!(stage.lines().contains(&line.to_owned()), "{:?}", stage.lines());
}

#[test]
fn what_a_class_script_changes_is_what_counts() {
    let stage = stage();
    let script = "while read src dst; do sed s/data/DATA/ $src > $dst; chmod 777 $dst; done\n";
    added(&stage, &older().information("i.mine", script));
    assert_eq!(fs::read_to_string(stage.at("/opt/ACMEall/data")).unwrap(), "DATA\n");
    let seen = fs::metadata(stage.at("/opt/ACMEall/data")).unwrap();
    assert_eq!((seen.mode() & 0o7777, seen.mtime()), (0o644, DELIVERED));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
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
    assert!(run.stderr.contains("owner acme is not known in this root"), "{}", run.stderr);
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
    assert!(run.stderr.contains("+ WORD=shown\n+ exit 0\n"), "{}", run.stderr);
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
    let standard =
        Package::new("ACMEstd").param("CLASSES", "build").of_class("build", 'e', "a", 0o644, "echo x\n");
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
