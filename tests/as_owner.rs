//! `--as-owner`: root changes a user's tree exactly as the user would.

use std::fs::{self, Permissions};
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::delivery::Patch;
use crate::everyman::NOBODY;
use crate::packages::Package;
use crate::scenario::{Scenario, is_root};
use crate::terminal::at_terminal;
use crate::workshop::eventually;

/// A root of an ordinary user with a package, and a patch for it; `None` if the test does not run as root.
pub(crate) fn stage(test: &str) -> Option<Scenario> {
    if !is_root() {
        crate::skipped(&format!("{test}: only root can become another user"));
        return None;
    }
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    open(&stage);
    Some(stage)
}

/// Lets everybody reach the directory of the test, and gives the root to its user.
pub(crate) fn open(stage: &Scenario) {
    fs::set_permissions(stage.beside(""), Permissions::from_mode(0o755)).unwrap();
    give(&stage.root());
}

fn give(path: &Path) {
    lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path());
        }
    }
}

/// Paths in a tree that do not belong to its user.
fn others(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    if fs::symlink_metadata(path).unwrap().uid() != NOBODY {
        found.push(path.display().to_string());
    }
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            found.extend(others(&entry.unwrap().path()));
        }
    }
    found
}

#[test]
fn everything_that_is_done_as_the_owner_is_the_owners() {
    let Some(stage) = stage("done as the owner") else { return };
    for line in [
        "patchadd --as-owner -R @ROOT@ delivered/100-01",
        "patchrm --as-owner -R @ROOT@ 100-01",
        "add --as-owner -R @ROOT@ delivered/100-01",
        "remove --as-owner -R @ROOT@ 100-01",
        "recover --as-owner -R @ROOT@",
        "pkgrm --as-owner -R @ROOT@ ACMEweb",
        "pkgadd --as-owner -R @ROOT@ -d spool ACMEweb",
        "installf --as-owner -R @ROOT@ ACMEweb /opt/made d 0755 root root",
        "removef --as-owner -R @ROOT@ ACMEweb /opt/made",
    ] {
        let run = stage.run(line);
        assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
        assert_eq!(others(&stage.root()), Vec::<String>::new(), "{line}");
    }
    assert_eq!(fs::read(stage.at("/opt/ACMEweb/bin/httpd")).unwrap(), b"one\n");
}

#[test]
fn the_superuser_answers_the_question_of_the_owners_process() {
    let test = "a question of the owner's process";
    let Some(stage) = stage(test) else { return };
    Patch::of("200-01", Package::new("ACMEweb").file("bin/tool", 0o755, "two\n")).directory(&stage);
    let line = "add --as-owner -R @ROOT@ delivered/100-01 delivered/200-01";
    let Some((code, said)) = at_terminal(test, &stage, line, "n\n") else { return };
    assert_eq!(code, 3, "{said}");
    let (plan, rest) = said.split_once("Proceed? [Y/n] ").unwrap();
    assert!(plan.contains("2 patches: 2 planned\n"), "{said}");
    assert!(rest.contains("2 patches were not applied: the answer was no\n"), "{said}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
    let (code, said) = at_terminal(test, &stage, line, "y\n").unwrap();
    assert!(code == 0 && said.contains("\n2 patches: 2 applied; "), "{said}");
    assert_eq!(others(&stage.root()), Vec::<String>::new());
    let (code, said) = at_terminal(test, &stage, "remove -y --as-owner -R @ROOT@ 100-01 200-01", "").unwrap();
    assert!(code == 0 && !said.contains("Proceed?"), "{said}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn code_and_document_are_those_of_the_owners_process() {
    let Some(stage) = stage("code and document") else { return };
    let run = stage.run("add --json --as-owner -R @ROOT@ delivered/100-01");
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!((run.code, document["result"].as_str()), (0, Some("done")), "{}", run.stderr);
    let said = stage.run("patchadd --as-owner -R @ROOT@ delivered/none").fails(27);
    assert!(said.contains("delivered/none"), "{said}");
}

#[test]
fn the_process_of_the_owner_has_nothing_of_the_callers() {
    let Some(stage) = stage("nothing of the caller's") else { return };
    let script = "exec > $PKG_INSTALL_ROOT/seen 2>&1\nid -u; id -G\nenv\nls -l /proc/$PPID/fd /proc/self/fd\n\
        grep -E '^(Cap|Groups)' /proc/self/status\ntty\numask\nexit 0\n";
    let package = Package::new("ACMEs").file("f", 0o644, "x\n").information("postinstall", script);
    package.write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), "action=nocheck\nbasedir=default\n").unwrap();
    let mut command = stage.command("pkgadd --as-owner -a admin -R @ROOT@ -d spool ACMEs");
    let program = command.get_program().to_owned();
    let arguments: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command = Command::new("sh");
    command.args(["-c", "exec \"$0\" \"$@\" 9</etc/shadow"]).arg(program).args(arguments);
    command.env("SECRET_OF_ROOT", "1").env("LANG", "de_DE.UTF-8").current_dir(stage.beside(""));
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen = fs::read_to_string(stage.at("/seen")).unwrap();
    assert!(seen.starts_with(&format!("{NOBODY}\n{NOBODY}\n")), "{seen}");
    assert!(seen.contains("LANG=de_DE.UTF-8") && !seen.contains("SECRET_OF_ROOT"), "{seen}");
    assert!(!seen.contains("/etc/shadow") && !seen.contains("/dev/pts"), "{seen}");
    assert!(seen.contains("not a tty") && seen.contains("0022"), "{seen}");
    for line in seen.lines().filter(|line| line.starts_with("Cap")) {
        assert!(line.ends_with("\t0000000000000000"), "{line}");
    }
}

#[test]
fn a_file_that_the_owner_cannot_read_is_refused_by_name() {
    let Some(stage) = stage("a secret of root") else { return };
    let secret = stage.beside("delivered/100-01");
    fs::set_permissions(&secret, Permissions::from_mode(0o700)).unwrap();
    let run = stage.run("patchadd --as-owner -R @ROOT@ delivered/100-01");
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains(secret.to_str().unwrap()), "{}", run.stderr);
    assert!(run.stderr.contains("Permission denied"), "{}", run.stderr);
    assert!(run.stderr.contains(&format!("uid {NOBODY} cannot read")), "{}", run.stderr);
}

#[test]
fn a_root_of_the_superuser_is_not_done_as_its_owner() {
    let Some(stage) = stage("a root of root") else { return };
    lchown(stage.root(), Some(0), Some(0)).unwrap();
    for (line, code) in
        [("patchadd --as-owner -R @ROOT@ delivered/100-01", 1), ("recover --as-owner -R /", 3)]
    {
        let said = stage.run(line).fails(code);
        assert!(said.contains("belongs to root: there is no other owner to run as"), "{said}");
    }
    let said = stage.run("add --as-owner --trust-root -R @ROOT@ delivered/100-01").fails(2);
    assert!(said.contains("cannot be used with"), "{said}");
}

#[test]
fn a_link_of_somebody_else_does_not_decide_whose_root_it_is() {
    let Some(stage) = stage("a link to a root of a third one") else { return };
    let link = stage.beside("link");
    symlink(stage.root(), &link).unwrap();
    let line = |command: &str| format!("{command} --as-owner -R {} delivered/100-01", link.display());
    stage.run(&line("plan")).ok();
    lchown(&link, Some(NOBODY + 1), None).unwrap();
    for command in ["patchadd", "plan", "add", "add --jobs 1"] {
        let said = stage.run(&line(command)).fails(3);
        assert!(
            said.contains(&format!("is controlled by uid {}, who can replace the symbolic link", NOBODY + 1)),
            "{said}"
        );
    }
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn the_process_of_the_owner_works_only_in_the_directory_that_the_caller_opened() {
    let Some(stage) = stage("another directory") else { return };
    for value in ["0:0:1:", "asks 0:0:1:"] {
        let mut command = stage.command("patchadd -R @ROOT@ delivered/100-01");
        let output = command.env("PATCHADM_AS_OWNER", value).stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && said.contains("annot follow the path to"), "{said}");
    }
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "one\n");
}

#[test]
fn of_many_roots_each_is_done_as_its_own_owner() {
    let Some(stage) = stage("many owners") else { return };
    let (other, own) = (stage.beside("other"), stage.beside("own"));
    for (copy, uid) in [(&other, NOBODY + 1), (&own, 0)] {
        assert!(Command::new("cp").arg("-a").arg(stage.root()).arg(copy).status().unwrap().success());
        let chown = Command::new("chown").arg("-R").arg(format!("{uid}:{uid}")).arg(copy).status().unwrap();
        assert!(chown.success());
    }
    let roots = format!("-R @ROOT@ -R {} -R {}", other.display(), own.display());
    let run = stage.run(&format!("add --as-owner {roots} delivered/100-01"));
    assert_eq!(run.code, 5, "{}{}", run.stdout, run.stderr);
    assert!(run.stdout.contains("@ROOT@: 100-01 applied\n"), "{}", run.stdout);
    assert!(run.stderr.contains("belongs to root"), "{}", run.stderr);
    assert_eq!(fs::metadata(stage.at("/opt/ACMEweb/bin/httpd")).unwrap().uid(), NOBODY);
    assert_eq!(fs::metadata(other.join("opt/ACMEweb/bin/httpd")).unwrap().uid(), NOBODY + 1);
    assert_eq!(fs::read(own.join("opt/ACMEweb/bin/httpd")).unwrap(), b"one\n");
    let run = stage.run(&format!("remove --json --as-owner {roots} 100-01"));
    let document: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["roots"][1]["root"].as_str(), other.to_str());
    assert_eq!(document["roots"][1]["changed"].as_bool(), Some(true), "{document}");
}

/// Starts pkgadd on a root of its user, with a package whose script reports its start and then sleeps.
fn adding(stage: &Scenario) -> std::process::Child {
    let script = "echo began\nsleep 60\nexit 0\n";
    let package = Package::new("ACMEs").file("f", 0o644, "x\n").information("postinstall", script);
    package.write(&stage.beside("spool"));
    fs::write(stage.beside("admin"), "action=nocheck\nbasedir=default\n").unwrap();
    let mut command = stage.command("pkgadd --as-owner -a admin -R @ROOT@ -d spool ACMEs");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("began")));
    child
}

/// The process of the owner that `caller` started.
fn of_owner(caller: &std::process::Child) -> Pid {
    child_of(Pid::from_child(caller))
}

/// The first child of any thread of a process.
fn child_of(process: Pid) -> Pid {
    let threads = fs::read_dir(format!("/proc/{}/task", process.as_raw_pid())).unwrap();
    let children = threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("children")));
    let children: String = children.map(Result::unwrap_or_default).collect();
    Pid::from_raw(children.split_whitespace().next().unwrap().parse().unwrap()).unwrap()
}

/// Waits for the process. Returns its exit code and its messages.
fn ended(child: std::process::Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_signal_to_the_caller_reaches_the_process_of_the_owner() {
    let Some(stage) = stage("a signal") else { return };
    let mut child = adding(&stage);
    kill_process(Pid::from_child(&child), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert!(!stage.at("/opt/ACMEs").exists(), "it was undone");
}

#[test]
fn a_process_of_the_owner_that_is_stopped_holds_nobody_up() {
    let Some(stage) = stage("a stopped process") else { return };
    let child = adding(&stage);
    kill_process(of_owner(&child), Signal::STOP).unwrap();
    let (code, said) = ended(child);
    assert_eq!(code, Some(137), "{said}");
    assert!(said.contains("was killed because it was stopped; if its run is unfinished, "), "{said}");
    let run = stage.run("recover --as-owner -R @ROOT@");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(!stage.at("/opt/ACMEs").exists(), "it is undone by the next command");
}

/// Attaches to a process by ptrace(2), says so, and never continues it.
const TRACES: &str = "$| = 1; syscall($ARGV[0] + 0, 16, $ARGV[1] + 0, 0, 0) == 0 or exit 9; print \"traces\\n\"; \
    sleep 60";

#[test]
fn a_process_of_the_owner_that_its_user_traces_holds_nobody_up() {
    let test = "a traced process";
    if !crate::has("perl", test) || !crate::has("setpriv", test) {
        return;
    }
    let Some(stage) = stage(test) else { return };
    let child = adding(&stage);
    let (ptrace, owner) = (if cfg!(target_arch = "x86_64") { "101" } else { "117" }, of_owner(&child));
    let mut tracer = Command::new("setpriv");
    tracer.args(["--reuid", &NOBODY.to_string(), "--regid", &NOBODY.to_string(), "--clear-groups"]);
    tracer.args(["perl", "-e", TRACES, ptrace, &owner.as_raw_pid().to_string()]);
    let mut tracer = tracer.stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(tracer.stdout.take().unwrap()).lines().next();
    if said.is_none() {
        crate::skipped(&format!("{test}: no user may trace another process here"));
        kill_process(owner, Signal::KILL).unwrap();
    }
    // The tracer keeps the dead process.
    let (code, messages) = ended(child);
    tracer.kill().unwrap();
    tracer.wait().unwrap();
    assert_eq!(code, Some(137), "{messages}");
    let how = if said.is_some() { "was killed because another process traced it" } else { "by signal 9" };
    assert!(messages.contains(&format!("the process of uid {NOBODY} ")), "{messages}");
    assert!(messages.contains(how), "{messages}");
    assert_eq!(stage.run("recover --as-owner -R @ROOT@").code, 0);
    assert!(!stage.at("/opt/ACMEs").exists(), "it is undone by the next command");
}

#[test]
fn a_second_signal_ends_a_process_of_the_owner_that_makes_no_progress() {
    let Some(stage) = stage("a second signal") else { return };
    let child = adding(&stage);
    let (caller, helper) = (Pid::from_child(&child), child_of(of_owner(&child)));
    kill_process(helper, Signal::STOP).unwrap();
    kill_process(caller, Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    kill_process(caller, Signal::TERM).unwrap();
    let (code, said) = ended(child);
    assert_eq!(code, Some(143), "{said}");
    assert!(said.contains(&format!("the process of uid {NOBODY} was killed at a second signal")), "{said}");
    assert!(said.contains("recover --as-owner"), "{said}");
    // The kernel may have continued it.
    let _ = kill_process(helper, Signal::CONT);
    eventually("it is undone", || stage.run("recover --as-owner -R @ROOT@").code == 0);
    assert!(!stage.at("/opt/ACMEs").exists());
}

#[test]
fn a_process_of_the_owner_is_as_quiet_as_asked_and_has_no_colours() {
    let Some(stage) = stage("the manner of the owner") else { return };
    let run = stage.run("add --as-owner --color always -v -R @ROOT@ delivered/100-01").ok();
    assert!(!run.contains("\\033") && !run.contains('\x1b'), "{run}");
    assert!(run.contains("replace          @ROOT@/opt/ACMEweb/bin/httpd"), "{run}");
    assert_eq!(stage.run("-q remove --as-owner -R @ROOT@ 100-01").ok(), "");
    fs::write(stage.beside("policy"), "exclude=100-01\n").unwrap();
    let text = stage.run("add --as-owner --policy policy -R @ROOT@ delivered/100-01").fails(3);
    assert!(text.contains("100-01"), "{text}");
}
