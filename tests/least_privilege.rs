//! Scripts and files get only what they need, whatever the environment of the caller: users, descriptors, variables,
//! umask, temporary files.
//!
//! Every script here is written by the test and touches nothing but the root of its scenario.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use crate::delivery::Patch;
use crate::hostile_inputs::let_write;
use crate::packages::Package;
use crate::procedure_scripts::{line, stage};
use crate::scenario::{Scenario, is_root};
use crate::tree::Tree;

/// Prints its user and groups, its privileges and its descriptors, and tries to write to the root.
const WHO: &str = "echo \"who: $(id -u) $(id -g) groups: $(id -G)\"\n\
    sed -n 's/^\\(Cap[EPI][a-z]*\\|CapAmb\\|Groups\\):[[:space:]]*/\\1: /p' /proc/self/status\n\
    ls /proc/self/fd | tr '\\n' ' '; echo\n\
    (echo x > $PKG_INSTALL_ROOT/var/sadm/mark) 2>/dev/null && echo wrote\n\
    (echo x > $PKG_INSTALL_ROOT/mark) 2>/dev/null && echo wrote\n\
    exit 0\n";

/// The command through a shell that does something first; `$0` and `$@` are the command.
fn through_shell(stage: &Scenario, line: &str, text: &str) -> Command {
    let command = stage.command(line);
    let mut shell = Command::new("sh");
    shell.args(["-c", text]).arg(command.get_program()).args(command.get_args()).env_clear();
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap());
    shell
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn package() -> Package {
    Package::new("ACMEmin").file("a", 0o644, "a\n")
}

#[test]
fn scripts_that_only_look_are_nobody_with_no_groups_capabilities_or_way_to_write() {
    if !is_root() {
        crate::skipped("scripts_that_only_look_are_nobody…: only root starts scripts as somebody else");
        return;
    }
    let stage = stage();
    let package = package().information("checkinstall", WHO).information("preinstall", "id -u\n");
    // The caller has groups to lose, and a descriptor that a script must not see.
    let mut command =
        through_shell(&stage, &line(&stage, "-n", &package), "exec \"$0\" \"$@\" 7</etc/passwd");
    let with_groups = {
        let mut setpriv = Command::new("setpriv");
        setpriv.args(["--groups", "0,1,4,27", "--"]).arg(command.get_program()).args(command.get_args());
        setpriv.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        setpriv.current_dir(command.get_current_dir().unwrap()).output()
    };
    let output = match with_groups {
        Ok(output) => output,
        // Without setpriv(1), the command has the groups of the test.
        Err(_) => command.output().unwrap(),
    };
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    let who = said.lines().find_map(|line| line.strip_prefix("who: ")).unwrap();
    let words: Vec<&str> = who.split(' ').collect();
    let [uid, gid, "groups:", group] = words[..] else { panic!("more than one group: {who}") };
    assert!(uid != "0" && gid != "0" && group == gid, "{who}");
    for line in said.lines().filter(|line| line.starts_with("Cap")) {
        assert!(line.ends_with(": 0000000000000000"), "{line}");
    }
    assert_eq!(said.lines().filter(|line| line.starts_with("Cap")).count(), 4, "{said}");
    assert!(said.contains("\n0 1 2 3 \n"), "3 is the listing itself: {said}");
    assert!(!said.contains("wrote") && !stage.at("/mark").exists(), "{said}");
    assert!(said.contains("\n0\n"), "preinstall is the caller: {said}");
}

#[test]
fn closed_standard_descriptors_put_no_message_into_a_file_of_the_root() {
    let expected = {
        let stage = Scenario::with(&[package()]);
        assert_eq!(stage.patchadd("", &patch()).code, 0);
        records(&stage)
    };
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        let stage = Scenario::with(&[package()]);
        let directory = patch().directory(&stage);
        let line = format!("patchadd -R @ROOT@ {}", directory.display());
        let status = through_shell(&stage, &line, &format!("exec \"$0\" \"$@\" {closed}")).output().unwrap();
        assert!(status.status.success(), "{closed}: {}", said(&status));
        assert_eq!(records(&stage), expected, "{closed}");
        let refused = format!("patchadd -R @ROOT@ {}/nothing", directory.display());
        let status =
            through_shell(&stage, &refused, &format!("exec \"$0\" \"$@\" {closed}")).output().unwrap();
        assert!(!status.status.success() && records(&stage) == expected, "{closed}");
    }
}

fn patch() -> Patch {
    Patch::of("100-01", Package::new("ACMEmin").file("a", 0o644, "b\n").file("new", 0o600, "new\n"))
}

/// The prefix of the name of the file with the ops of the last run.
const OPS: &str = "var/sadm/patchadm/ops-";

/// The modes of all records, and the texts of a root in which a stray message would show, without the names of runs.
fn records(stage: &Scenario) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (path, columns) in Tree::of(&stage.root(), &[]).objects() {
        let name = path.split("/stage/").next().unwrap();
        // The name of this file contains the run.
        let name = if name.starts_with(OPS) { OPS } else { name }.to_owned();
        found.insert(name, format!("{} {}", columns[0], columns[1]));
    }
    for path in ["/var/sadm/install/contents", "/var/sadm/pkg/ACMEmin/pkginfo", "/opt/ACMEmin/a"] {
        found.insert(format!("{path} says"), stage.text(path));
    }
    let history = stage.text("/var/sadm/patchadm/history");
    found.insert("history has lines".to_owned(), history.lines().count().to_string());
    found
}

#[test]
fn what_is_left_has_the_same_modes_whatever_the_umask_of_the_caller() {
    let mut all = Vec::new();
    for umask in ["022", "0", "077", "0777"] {
        let stage = Scenario::with(&[package()]);
        let line = format!("patchadd -R @ROOT@ {}", patch().directory(&stage).display());
        let output =
            through_shell(&stage, &line, &format!("umask {umask}; exec \"$0\" \"$@\"")).output().unwrap();
        assert!(output.status.success(), "{umask}: {}", said(&output));
        all.push(records(&stage));
    }
    let first = &all[0];
    assert!(all.iter().all(|modes| modes == first), "{all:?}");
    let save = "var/sadm/pkg/ACMEmin/save/100-01";
    for (path, mode) in [
        (format!("{save}/undo.gz"), "100000 600"),
        (save.to_owned(), "40000 755"),
        ("var/sadm/install/contents".to_owned(), "100000 644"),
        ("var/sadm/install/.lockfile".to_owned(), "100000 600"),
        ("var/sadm/pkg/ACMEmin/pkginfo".to_owned(), "100000 644"),
        ("var/sadm/patchadm/journal".to_owned(), "100000 644"),
        (OPS.to_owned(), "100000 600"),
        ("var/sadm/patchadm/history".to_owned(), "100000 644"),
        ("var/sadm/patchadm/stage".to_owned(), "40000 711"),
        ("opt/ACMEmin/new".to_owned(), "100000 600"),
    ] {
        assert_eq!(first[&path], mode, "{path}");
    }
    let writable = |(_, mode): &(&String, &String)| {
        let bits = mode.split_once(' ').and_then(|(_, bits)| u32::from_str_radix(bits, 8).ok());
        mode.starts_with(['1', '4']) && bits.is_some_and(|bits| bits & 0o022 != 0)
    };
    let open: Vec<_> =
        first.iter().filter(writable).filter(|(path, _)| path.starts_with("var/sadm")).collect();
    assert!(open.is_empty(), "somebody else may write to {open:?}");
}

#[test]
fn nothing_of_a_hostile_environment_reaches_a_script() {
    let mut stage = stage();
    let evil = stage.beside("evil");
    fs::create_dir(&evil).unwrap();
    let mark = stage.beside("mark");
    for name in ["sh", "awk", "nawk", "mkdir", "env", "sed", "rc"] {
        fs::write(evil.join(name), format!("#!/bin/sh\necho {name} >> {}\n", mark.display())).unwrap();
        fs::set_permissions(evil.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let rc = evil.join("rc");
    for (name, value) in [
        ("PATH", evil.to_str().unwrap()),
        ("BASH_ENV", rc.to_str().unwrap()),
        ("ENV", rc.to_str().unwrap()),
        ("SHELL", evil.join("sh").to_str().unwrap()),
        ("HOME", "/hostile"),
        ("IFS", "/hostile"),
        ("CDPATH", "/hostile"),
        ("LD_LIBRARY_PATH", "/hostile"),
        ("PS4", "$(echo hostile)"),
        ("PKGSAV", "/hostile"),
        ("BASEDIR", "/hostile"),
        ("PATCH_PROGRESSIVE", "hostile"),
        ("SUNW_HOSTILE", "hostile"),
    ] {
        stage.set(name, value);
    }
    let text = "env; printf 'ifs:%s:' \"$IFS\" | od -c; command -v sed; exit 0\n";
    let package = package().information("checkinstall", text).information("postinstall", text);
    let output = stage.command(&line(&stage, "-n -v", &package)).output().unwrap();
    let said = said(&output);
    assert!(output.status.success(), "{said}");
    assert!(!said.contains("hostile") && !said.contains("/evil"), "{said}");
    assert!(!mark.exists(), "{}", fs::read_to_string(&mark).unwrap_or_default());
    assert_eq!(said.matches("PKGINST=ACMEmin").count(), 2, "both have spoken: {said}");
}

#[test]
fn senseless_variables_are_refused_or_passed_over_and_never_a_panic() {
    for (name, value, code) in [
        ("COLUMNS", "0", 0),
        ("COLUMNS", "99999999999999999999", 0),
        ("COLUMNS", "-1", 0),
        ("LC_ALL", "../../etc/passwd", 0),
        ("LANG", "\u{fffd}", 0),
        ("TZ", "../../../etc/passwd", 0),
        ("SOURCE_DATE_EPOCH", "rubbish", 2),
        ("SOURCE_DATE_EPOCH", "9223372036854775808", 2),
        ("SOURCE_DATE_EPOCH", "9223372036854775807", 2),
        ("SOURCE_DATE_EPOCH", "-1", 0),
        ("TMPDIR", "/no/such/directory", 0),
        ("TMPDIR", "/dev/null", 2),
        ("PKG_INSTALL_ROOT", "relative/../root", 1),
    ] {
        let mut stage = Scenario::with(&[package()]);
        stage.set(name, value);
        let directory = patch().directory(&stage);
        for line in
            ["list -R @ROOT@", "patchadd -p -R @ROOT@", "pkginfo -l -R @ROOT@ ACMEmin", "patchadd --help"]
        {
            let output = stage.command(line).output().unwrap();
            let (ended, said) = (output.status.code().unwrap(), said(&output));
            assert!(
                ended != 70 && ended != 101 && !said.contains("panicked"),
                "{name}={value} {line}: {said}"
            );
        }
        let before = stage.everything();
        let run = stage.run(&format!("patchadd -R @ROOT@ {}", directory.display()));
        assert_eq!(run.code == 0, code == 0, "{name}={value}: {}{}", run.stdout, run.stderr);
        assert!(run.code == 0 || stage.everything() == before, "{name}={value}");
    }
}

#[test]
fn a_directory_for_temporary_files_in_which_somebody_else_may_rename_is_refused() {
    let mut stage = stage();
    let temporary = stage.beside("temporary");
    fs::create_dir(&temporary).unwrap();
    stage.set("TMPDIR", &temporary);
    let mode = |mode| fs::set_permissions(&temporary, fs::Permissions::from_mode(mode)).unwrap();
    let refused = |reason: &str| {
        let run = stage.run("list -R @ROOT@");
        assert!(run.code != 0 && run.stderr.contains(reason), "{run:?}");
    };
    mode(0o777);
    refused("others may write to it");
    for bits in [0o1777, 0o755, 0o700] {
        mode(bits);
        stage.run("list -R @ROOT@").ok();
    }
    if is_root() {
        mode(0o775);
        stage.run("list -R @ROOT@").ok();
        if let_write(&temporary) {
            refused("others may write to it");
        } else {
            crate::skipped("a_directory_for_temporary_files_in_which…: no access lists here");
        }
        for bits in [0o700, 0o1777] {
            mode(bits);
            std::os::unix::fs::chown(&temporary, Some(1004), None).unwrap();
            refused("it belongs to uid 1004");
        }
        // The owner of a parent directory can replace the caller's own directory.
        let below = temporary.join("below");
        fs::create_dir(&below).unwrap();
        stage.set("TMPDIR", &below);
        mode(0o777);
        let run = stage.run("list -R @ROOT@");
        assert!(run.code != 0 && run.stderr.contains("temporary belongs to uid 1004"), "{run:?}");
    }
}

#[test]
fn a_tmpdir_that_is_no_directory_is_refused() {
    let mut stage = stage();
    fs::write(stage.beside("file"), "").unwrap();
    for (path, reason) in [
        (stage.beside("file"), "which is not a directory"),
        (stage.beside("file/below"), "which cannot be examined (not a directory)"),
    ] {
        stage.set("TMPDIR", &path);
        let before = stage.everything();
        let line = line(&stage, "-n", &package().information("checkinstall", "exit 0\n"));
        for line in ["list -R @ROOT@", &line] {
            let run = stage.run(line);
            let said = format!("{reason}: unset TMPDIR, or specify a directory that exists");
            assert!(run.code != 0 && run.stderr.contains(&said), "{line}: {run:?}");
        }
        assert!(stage.everything() == before);
    }
}

#[test]
fn a_tmpdir_that_does_not_exist_counts_as_unset_though_somebody_makes_it_meanwhile() {
    let mut stage = stage();
    let absent = stage.beside("absent");
    stage.set("TMPDIR", &absent);
    let text = format!(
        "mkdir {absent} && printf %s \"$TMPDIR\" >{told}; exit 0\n",
        absent = absent.display(),
        told = stage.beside("told").display()
    );
    let line = line(&stage, "-n", &package().information("postinstall", &text));
    assert_eq!(stage.run(&line).code, 0);
    let told = fs::read_to_string(stage.beside("told")).unwrap();
    assert!(told.starts_with("/var/tmp"), "{told}");
    assert_eq!(fs::read_dir(absent).unwrap().count(), 0);
}

#[test]
fn temporary_files_are_private_and_have_names_that_nobody_guesses() {
    let mut stage = stage();
    let temporary = stage.beside("temporary");
    fs::create_dir(&temporary).unwrap();
    fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777)).unwrap();
    stage.set("TMPDIR", temporary.to_str().unwrap());
    let text = format!("find {} -printf '@ %y %m %P\\n'; exit 0\n", temporary.display());
    let package = package().information("checkinstall", &text).information("preinstall", &text);
    let mut names = Vec::new();
    for _ in 0..2 {
        let line = line(&stage, "-n", &package);
        let output = through_shell(&stage, &line, "umask 0; exec \"$0\" \"$@\"").output().unwrap();
        let said = said(&output);
        assert!(output.status.success(), "{said}");
        let listed: Vec<Vec<&str>> = said
            .lines()
            .filter_map(|line| Some(line.strip_prefix("@ ")?.splitn(3, ' ').collect()))
            .filter(|words: &Vec<&str>| !words[2].is_empty())
            .collect();
        assert!(!listed.is_empty(), "{said}");
        for words in &listed {
            let [kind, mode, path] = words[..] else { panic!("{words:?}") };
            let mode = u32::from_str_radix(mode, 8).unwrap();
            assert!(kind == "l" || mode & 0o022 == 0, "{path} is open to others: {mode:o}");
            if !path.contains('/') {
                let name = path.strip_prefix("patchadm-").unwrap();
                assert!(name.len() == 16 && name.bytes().all(|byte| byte.is_ascii_hexdigit()), "{path}");
                assert_eq!((kind, mode), ("d", 0o711));
                names.push(path.to_owned());
            }
        }
        assert_eq!(stage.run("pkgrm -n -a nocheck -R @ROOT@ ACMEmin").code, 0);
        assert_eq!(fs::read_dir(&temporary).unwrap().count(), 0, "nothing is left");
    }
    names.dedup();
    assert_eq!(names.len(), 2, "each run has a name of its own: {names:?}");
}
