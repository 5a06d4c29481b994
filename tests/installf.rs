use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::packages::Package;
use crate::scenario::{Run, Scenario};
use crate::tree::assert_same;

/// A root with two packages, each with a directory and a file in it.
pub(crate) fn stage() -> Scenario {
    let stage = Scenario::new();
    for name in ["ACMEa", "ACMEb"] {
        let package = Package::new(name).param("BASEDIR", &format!("/opt/{name}"));
        package.directory("bin").file("bin/tool", 0o755, "tool\n").write(&stage.beside("spool"));
    }
    let run = stage.run("pkgadd -n -R @ROOT@ -d spool all");
    assert_eq!(run.code, 0, "{}", run.stderr);
    stage
}

/// The line of `contents` for a path.
pub(crate) fn line(stage: &Scenario, path: &str) -> String {
    let is_of = |line: &&String| line.split([' ', '=']).next() == Some(path);
    stage.lines().iter().find(is_of).cloned().unwrap_or_default()
}

/// Runs a command whose standard input is this text.
pub(crate) fn fed(stage: &Scenario, words: &str, text: &str) -> Run {
    let mut child = stage.command(words);
    let mut child =
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(stage.root().to_str().unwrap(), "@ROOT@");
    Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn installf(stage: &Scenario, words: &str) -> Run {
    stage.run(&format!("installf -R @ROOT@ {words}"))
}

#[test]
fn a_file_is_registered_then_made_and_then_final() {
    let stage = stage();
    assert_eq!(installf(&stage, "ACMEa /opt/ACMEa/new f 0640 root sys").ok(), "");
    assert_eq!(line(&stage, "/opt/ACMEa/new"), "/opt/ACMEa/new f none 0640 root sys ? ? ? +ACMEa");
    stage.file("/opt/ACMEa/new", "new\n");
    assert_eq!(installf(&stage, "-f ACMEa").ok(), "");
    assert_eq!(line(&stage, "/opt/ACMEa/new"), "/opt/ACMEa/new f none 0640 root sys 4 340 981173106 ACMEa");
    let seen = fs::metadata(stage.at("/opt/ACMEa/new")).unwrap();
    assert_eq!((seen.mode() & 0o7777, seen.mtime()), (0o640, 981_173_106));
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
    let run = stage.run("pkgrm -n -R @ROOT@ ACMEa");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!stage.at("/opt/ACMEa").exists());
}

#[test]
fn a_signal_ends_the_reading_of_a_registered_file_that_would_take_hours() {
    let stage = stage();
    fs::File::create(stage.at("/opt/ACMEa/huge")).unwrap().set_len(1 << 36).unwrap();
    let before = stage.lines();
    let mut child = stage.command("installf -R @ROOT@ ACMEa /opt/ACMEa/huge f 0644 root root");
    let mut child = child.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let reads_it = |id: u32| {
        let open = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten().flatten();
        open.filter_map(|entry| fs::read_link(entry.path()).ok()).any(|at| at.ends_with("ACMEa/huge"))
    };
    while !reads_it(child.id()) {
        assert!(child.try_wait().unwrap().is_none(), "it has ended before");
        thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    let began = Instant::now();
    assert!(!child.wait().unwrap().success());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(stage.lines(), before);
}

#[test]
fn directories_and_pipes_are_made_at_once_with_those_above_them() {
    let stage = stage();
    installf(&stage, "ACMEa /opt/ACMEa/var/log/old d 0750 root bin").ok();
    installf(&stage, "ACMEa /opt/ACMEa/var/pipe p 0600 root root").ok();
    installf(&stage, "ACMEa /opt/ACMEa/bin d ? root root").ok();
    let mode = |path: &str| fs::symlink_metadata(stage.at(path)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("/opt/ACMEa/var/log/old"), mode("/opt/ACMEa/var/log")), (0o750, 0o755));
    assert!(fs::symlink_metadata(stage.at("/opt/ACMEa/var/pipe")).unwrap().file_type().is_fifo());
    assert_eq!(line(&stage, "/opt/ACMEa/var/log"), "/opt/ACMEa/var/log d none 0755 root root +ACMEa");
    installf(&stage, "-f ACMEa").ok();
    let lines = stage.lines();
    let own: Vec<&String> = lines.iter().filter(|line| line.starts_with("/opt/ACMEa/")).collect();
    assert_eq!(
        own,
        [
            "/opt/ACMEa/bin d none 0755 root root ACMEa",
            "/opt/ACMEa/bin/tool f none 0755 root root 5 456 1577836800 ACMEa",
            "/opt/ACMEa/var d none 0755 root root ACMEa",
            "/opt/ACMEa/var/log d none 0755 root root ACMEa",
            "/opt/ACMEa/var/log/old d none 0750 root bin ACMEa",
            "/opt/ACMEa/var/pipe p none 0600 root root ACMEa",
        ]
    );
}

#[test]
fn links_are_made_when_they_are_final() {
    let stage = stage();
    stage.symlink("/opt/ACMEa/turned", "elsewhere");
    installf(&stage, "ACMEa /opt/ACMEa/bin/again=tool").ok();
    installf(&stage, "ACMEa /opt/ACMEa/bin/third=again l").ok();
    installf(&stage, "ACMEa /opt/ACMEa/new/soft=../bin/tool s").ok();
    installf(&stage, "ACMEa /opt/ACMEa/turned=bin s").ok();
    assert!(!stage.at("/opt/ACMEa/bin/again").exists());
    installf(&stage, "-f ACMEa").ok();
    let inode = |path: &str| fs::metadata(stage.at(path)).unwrap().ino();
    assert_eq!(inode("/opt/ACMEa/bin/again"), inode("/opt/ACMEa/bin/tool"));
    assert_eq!(inode("/opt/ACMEa/bin/third"), inode("/opt/ACMEa/bin/tool"));
    assert_eq!(inode("/opt/ACMEa/new/soft"), inode("/opt/ACMEa/bin/tool"));
    assert_eq!(fs::read_link(stage.at("/opt/ACMEa/turned")).unwrap().to_str(), Some("bin"));
    assert_eq!(line(&stage, "/opt/ACMEa/bin/again"), "/opt/ACMEa/bin/again=tool l none ACMEa");
    assert_eq!(line(&stage, "/opt/ACMEa/new/soft"), "/opt/ACMEa/new/soft=../bin/tool s none ACMEa");
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn what_is_not_as_declared_is_reported_and_marked_and_the_rest_is_final() {
    let stage = stage();
    stage.file("/opt/ACMEa/file", "file\n");
    stage.file("/opt/ACMEa/alone", "alone\n");
    for object in
        ["missing f 0644 root root", "file d 0755 root root", "alone=bin/tool l", "made d 0755 root root"]
    {
        installf(&stage, &format!("ACMEa /opt/ACMEa/{object}")).ok();
    }
    let text = installf(&stage, "-f ACMEa").fails(1);
    let expected = "ERROR: attribute verification of <@ROOT@/opt/ACMEa/alone> failed\n    pathname not properly \
                    linked to <bin/tool>\nERROR: attribute verification of <@ROOT@/opt/ACMEa/file> failed\n    file \
                    type <d> expected <f> actual\nERROR: attribute verification of <@ROOT@/opt/ACMEa/missing> \
                    failed\n    pathname does not exist\n";
    assert_eq!(text, expected);
    assert_eq!(line(&stage, "/opt/ACMEa/missing"), "/opt/ACMEa/missing f none 0644 root root ? ? ? !ACMEa");
    assert_eq!(line(&stage, "/opt/ACMEa/alone"), "/opt/ACMEa/alone=bin/tool l none !ACMEa");
    assert_eq!(line(&stage, "/opt/ACMEa/made"), "/opt/ACMEa/made d none 0755 root root ACMEa");
    assert_eq!(fs::read(stage.at("/opt/ACMEa/alone")).unwrap(), b"alone\n", "nobody's bytes are lost");
}

#[test]
fn a_shared_path_keeps_its_class_and_its_type() {
    let stage = stage();
    installf(&stage, "-c conf ACMEa /etc/acme.conf e 0644 root sys").ok();
    installf(&stage, "-c other ACMEb /etc/acme.conf f 0600 root sys").ok();
    let pending = "/etc/acme.conf f conf 0600 root sys ? ? ? +ACMEa +ACMEb:other";
    assert_eq!(line(&stage, "/etc/acme.conf"), pending);
    stage.file("/etc/acme.conf", "x\n");
    installf(&stage, "-f -c none ACMEb").ok();
    assert_eq!(line(&stage, "/etc/acme.conf"), pending, "nothing of that class is pending");
    installf(&stage, "-f -c other ACMEb").ok();
    installf(&stage, "-f ACMEa").ok();
    let shared = "/etc/acme.conf f conf 0600 root sys 2 130 981173106 ACMEa ACMEb:other";
    assert_eq!(line(&stage, "/etc/acme.conf"), shared);
    let text = installf(&stage, "ACMEb /opt/ACMEa/bin f 0644 root root").fails(1);
    assert_eq!(
        text,
        "installf: ERROR: package ACMEb, path @ROOT@/opt/ACMEa/bin: other packages own it with ftype <d>\n"
    );
}

#[test]
fn a_path_alone_is_what_is_recorded_or_what_is_there() {
    let stage = stage();
    stage.file("/opt/ACMEa/readme", "read\n");
    stage.symlink("/opt/ACMEa/soft", "readme");
    for path in ["/opt/ACMEa/bin", "/opt/ACMEa/readme", "/opt/ACMEa/soft", "/opt/ACMEa/later"] {
        installf(&stage, &format!("ACMEb {path}")).ok();
    }
    assert_eq!(line(&stage, "/opt/ACMEa/bin"), "/opt/ACMEa/bin d none 0755 root root ACMEa +ACMEb");
    assert_eq!(line(&stage, "/opt/ACMEa/readme"), "/opt/ACMEa/readme f none ? ? ? 5 422 981173106 +ACMEb");
    assert_eq!(line(&stage, "/opt/ACMEa/soft"), "/opt/ACMEa/soft=readme s none +ACMEb");
    assert_eq!(line(&stage, "/opt/ACMEa/later"), "/opt/ACMEa/later f none ? ? ? ? ? ? +ACMEb");
    stage.file("/opt/ACMEa/later", "later\n");
    installf(&stage, "-f ACMEb").ok();
    let readme = "/opt/ACMEa/readme f none 0644 root root 5 422 981173106 ACMEb";
    assert_eq!(line(&stage, "/opt/ACMEa/readme"), readme);
    assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn lines_on_standard_input_and_paths_with_the_root_before_them_are_taken() {
    let mut stage = stage();
    let lines = "/opt/ACMEa/with\\040blank f 0644 root root\n\n@ROOT@/opt/ACMEa/data d 0755 root root\n";
    let lines = lines.replace("@ROOT@", stage.root().to_str().unwrap());
    stage.file("/opt/ACMEa/with blank", "x\n");
    let root = stage.root();
    stage.set("PKG_INSTALL_ROOT", root);
    fed(&stage, "installf -c cls ACMEa -", &lines).ok();
    let blank = "/opt/ACMEa/with\\040blank f cls 0644 root root 2 130 981173106 +ACMEa";
    assert_eq!(line(&stage, "/opt/ACMEa/with\\040blank"), blank);
    assert_eq!(line(&stage, "/opt/ACMEa/data"), "/opt/ACMEa/data d cls 0755 root root +ACMEa");
    assert!(stage.at("/opt/ACMEa/data").is_dir());
}

#[test]
fn a_root_from_the_environment_and_the_spellings_of_build_scripts_work() {
    let mut stage = stage();
    let root = stage.root();
    stage.set("PKG_INSTALL_ROOT", root);
    for words in ["ACMEa /opt/ACMEa/link=../x s", "ACMEa /opt/ACMEa/dir d 0755 root sys", "-f ACMEa"] {
        stage.run(&format!("installf {words}")).ok();
    }
    assert_eq!(line(&stage, "/opt/ACMEa/link"), "/opt/ACMEa/link=../x s none ACMEa");
    assert_eq!(line(&stage, "/opt/ACMEa/dir"), "/opt/ACMEa/dir d none 0755 root sys ACMEa");
}

#[test]
fn what_cannot_be_registered_changes_nothing() {
    let stage = stage();
    let before = stage.everything();
    let usage = "usage: installf [-c class] [-R root] pkginst path [ftype [major minor] [mode owner group]]";
    for (words, message) in [
        ("ACMEa opt/x f 0644 root root", "relative pathname <opt/x> not permitted"),
        ("ACMEa /opt/x q 0644 root root", "invalid ftype <q> for </opt/x>"),
        ("ACMEa /opt/x f 0644", "ftype <f> requires all fields to be specified"),
        ("ACMEz /opt/x f 0644 root root", "package instance <ACMEz> is not installed"),
        ("../x /opt/x f 0644 root root", "package instance <../x> is invalid"),
        ("-c a/b ACMEa /opt/x f 0644 root root", "bad character in classname <a/b>"),
        (
            "ACMEa /opt/ACMEa/bin/tool/x d 0755 root root",
            "package ACMEa, path @ROOT@/opt/ACMEa/bin/tool/x: @ROOT@/opt/ACMEa/bin/tool is not a directory",
        ),
    ] {
        assert_eq!(installf(&stage, words).fails(1), format!("installf: ERROR: {message}\n"));
    }
    for words in ["", "ACMEa", "-f", "-f ACMEa /opt/x"] {
        let text = installf(&stage, words).fails(1);
        assert!(text.contains(usage), "{text}");
    }
    assert_same(&stage.everything(), &before);
    let run = Scenario::bare().run("installf -R @ROOT@ ACMEa /x");
    assert_eq!(run.code, 1, "{}", run.stderr);
}

#[test]
fn the_document_has_the_paths_and_what_is_wrong() {
    let stage = stage();
    let run = installf(&stage, "--json ACMEa /opt/ACMEa/x f 0644 root root");
    let document: serde_json::Value = serde_json::from_str(&run.ok()).unwrap();
    assert_eq!(document["paths"], serde_json::json!(["/opt/ACMEa/x"]));
    let run = installf(&stage, "--json -f ACMEa");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    let wrong = serde_json::json!([{"path": "/opt/ACMEa/x", "reason": "pathname does not exist"}]);
    assert_eq!((run.code, &document["discrepancies"]), (1, &wrong));
}

#[test]
fn a_call_without_effect_makes_no_run() {
    let stage = stage();
    let history = || fs::read_to_string(stage.at("/var/sadm/patchadm/history")).unwrap();
    let before = history();
    installf(&stage, "-f ACMEa").ok();
    assert_eq!(history(), before);
    installf(&stage, "ACMEa /opt/ACMEa/x").ok();
    assert!(history().len() > before.len() && history().contains("installf"));
}

#[test]
fn the_help_lists_the_options() {
    let help = Scenario::new().run("installf --help").ok();
    let expected = "\
Register objects as part of a package

Usage: installf [-c class] [-R root] pkginst path [ftype [major minor] [mode owner group]]
       installf [-c class] [-R root] pkginst path1=path2 [l|s]
       installf [-c class] [-R root] pkginst -
       installf -f [-c class] [-R root] pkginst
";
    assert!(help.starts_with(expected), "{help}");
}
