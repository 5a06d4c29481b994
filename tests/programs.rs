//! The verbs of other programs, which take the place of `patchadm`.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::packages::Package;
use crate::scenario::{ADMIN, PROGRAM, Scenario, is_root};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// An installation in which `bin` has `patchadm` alone, on the file system of the build: a program is large.
fn installation() -> TempDir {
    let top = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    fs::set_permissions(top.path(), Permissions::from_mode(0o755)).unwrap();
    for directory in ["bin", "libexec/patchadm"] {
        fs::create_dir_all(top.path().join(directory)).unwrap();
        fs::set_permissions(top.path().join(directory), Permissions::from_mode(0o755)).unwrap();
    }
    let program = top.path().join("bin/patchadm");
    fs::hard_link(PROGRAM, &program).or_else(|_| fs::copy(PROGRAM, &program).map(drop)).unwrap();
    top
}

/// Writes a script in place of a program that prints its version or its arguments.
fn put(at: &Path, version: &str) -> PathBuf {
    let path = at.join("patchadm-report");
    let text = format!(
        "#!/bin/sh\n[ \"$*\" = --version ] && exec echo patchadm-report {version}\nfor word; do echo \"<$word>\"; done\nexit 7\n"
    );
    // Another process writes the script: a file that this process has open for writing, even in a child that another
    // test has just forked, cannot be run.
    let write = "printf %s \"$2\" >\"$1\" && chmod 755 \"$1\"";
    assert!(
        Command::new("/bin/sh").args(["-c", write, "sh"]).arg(&path).arg(text).status().unwrap().success()
    );
    path
}

/// Runs the `patchadm` of an installation, and returns its code and the output of both streams.
fn run(top: &Path, stage: &Scenario, line: &str) -> (i32, String) {
    let like = stage.command(line);
    let mut command = Command::new(top.join("bin/patchadm"));
    command.args(like.get_args()).env_clear().current_dir(stage.beside(""));
    for (name, value) in like.get_envs() {
        command.env(name, value.unwrap_or_default());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code().unwrap(), said.replace(top.to_str().unwrap(), "@TOP@"))
}

#[test]
fn a_verb_of_another_program_is_answered_by_that_program() {
    let stage = Scenario::new();
    let version = format!("patchadm-report {VERSION}\n");
    assert_eq!(stage.run("report --version").ok(), version);
    let help = stage.run("help report").ok();
    assert!(help.contains("patchadm-report [-R root]"), "{help}");
    assert_eq!(stage.run("report --help").ok(), help);
    assert_eq!(stage.run("report help").ok(), help);
    for (asked, same) in [("bulk help", "help bulk"), ("bulk help run", "bulk run --help")] {
        assert_eq!(stage.run(asked).ok(), stage.run(same).ok(), "{asked}");
    }
    let said = stage.run("report --nonsense").fails(2);
    assert!(
        said.starts_with("patchadm-report: error: ") && said.contains("usage: patchadm-report "),
        "{said}"
    );
    // Options before the verb stay where they are.
    let document: serde_json::Value =
        serde_json::from_str(&stage.run("-R @ROOT@ --json report").ok()).unwrap();
    assert_eq!(document["command"], "report");
    assert!(stage.run("help").ok().contains("\n  patchadm-report "));
}

#[test]
fn each_verb_of_another_program_has_its_name_and_its_usage() {
    let stage = Scenario::new();
    for (program, verbs) in [
        ("patchadm-make", &["build", "delta", "depot", "lint", "order", "publish", "sign"][..]),
        ("patchadm-bulk", &["bulk"]),
        ("patchadm-report", &["report"]),
    ] {
        for verb in verbs {
            assert_eq!(
                stage.run(&format!("{verb} --version")).ok(),
                format!("{program} {VERSION}\n"),
                "{verb}"
            );
            let said = stage.run(&format!("{verb} --nonsense")).fails(2);
            assert!(said.starts_with(&format!("{program}: error: ")), "{verb}: {said}");
            assert!(said.contains(&format!("usage: {program}")), "{verb}: {said}");
            assert!(stage.run(&format!("help {verb}")).ok().contains(&format!("Usage: {program}")), "{verb}");
        }
    }
}

#[test]
fn a_program_that_is_not_installed_is_named_with_its_package() {
    let (top, stage) = (installation(), Scenario::new());
    let missing = "patchadm: error: patchadm report is part of patchadm-report, which is not installed beside patchadm \
                   (package patchadm-report; from source: cargo install --path programs/report; in a checkout: cargo build)\n";
    for line in ["report", "-R @ROOT@ report --csv", "help report", "help --schema report"] {
        assert_eq!(run(top.path(), &stage, line), (1, missing.to_owned()), "{line}");
    }
    let (code, said) = run(top.path(), &stage, "report --json");
    assert_eq!(code, 1);
    assert!(said.contains("\"command\": \"report\"") || said.contains("\"command\":\"report\""), "{said}");
    assert_eq!(run(top.path(), &stage, "__complete bash 2 patchadm report --c"), (0, String::new()));
    // The search path is not used, because root runs this.
    put(&stage.beside(""), VERSION);
    let mut stage = stage;
    stage.set("PATH", stage.beside("").to_str().unwrap().to_owned() + ":/usr/bin:/bin");
    assert_eq!(run(top.path(), &stage, "report").0, 1);
    put(&top.path().join("libexec/patchadm"), VERSION);
    assert_eq!(run(top.path(), &stage, "report --csv a b"), (7, "<--csv>\n<a>\n<b>\n".to_owned()));
    put(&top.path().join("bin"), VERSION);
    assert_eq!(run(top.path(), &stage, "-R / report a"), (7, "<-R>\n</>\n<a>\n".to_owned()));
    let asked = run(top.path(), &stage, "__complete bash 3 patchadm report --csv a");
    let words = ["__complete", "bash", "2", "patchadm-report", "--csv", "a"];
    assert_eq!(asked, (7, words.map(|word| format!("<{word}>\n")).concat()));
}

/// Many scripts go on after a command that fails, and make an undo package that lacks objects.
#[test]
fn a_script_that_calls_a_command_of_a_program_that_is_not_installed_does_not_run() {
    let (top, stage) = (installation(), Scenario::new());
    fs::write(stage.beside("admin"), ADMIN).unwrap();
    let script = "#!/bin/sh\n# makes a list\necho $INST_DATADIR | pkgproto > $PKGSAV/list\nexit 0\n";
    let package = Package::new("ACMEweb").file("f", 0o644, "one\n").information("postinstall", script);
    package.write(&stage.beside("spool"));
    let line = "pkgadd -n -a admin -R @ROOT@ -d spool ACMEweb";
    let (code, said) = run(top.path(), &stage, line);
    assert_eq!(code, 1, "{said}");
    let log = stage.text("/var/sadm/patchadm/log");
    let reason =
        "it calls pkgproto, which is part of patchadm-make, which is not installed (package patchadm-make)";
    assert!(said.contains(reason) || log.contains(reason), "{said}\n{log}");
    assert!(!stage.at("/opt/ACMEweb/f").exists());
    // With the program beside it, the script runs.
    assert_eq!(stage.run(line).code, 0);
    assert!(stage.at("/opt/ACMEweb/f").exists());
}

#[test]
fn a_program_of_another_version_is_not_run() {
    let (top, stage) = (installation(), Scenario::new());
    put(&top.path().join("bin"), "0.0.9");
    let said = format!(
        "patchadm: error: @TOP@/bin/patchadm-report is not run: it is `patchadm-report 0.0.9`, not patchadm {VERSION}\nhint: install the same version of both\n"
    );
    assert_eq!(run(top.path(), &stage, "report"), (1, said));
}

#[test]
fn a_program_that_others_own_or_may_write_is_not_run() {
    let (top, stage) = (installation(), Scenario::new());
    let bin = top.path().join("bin");
    let path = put(&bin, VERSION);
    let refused = |why: &str| (1, format!("patchadm: error: @TOP@/bin/patchadm-report is not run: {why}\n"));
    fs::set_permissions(&path, Permissions::from_mode(0o757)).unwrap();
    assert_eq!(run(top.path(), &stage, "report"), refused("others may write to it"));
    fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&bin, Permissions::from_mode(0o1777)).unwrap();
    assert_eq!(run(top.path(), &stage, "report"), refused("others may write to its directory"));
    fs::set_permissions(&bin, Permissions::from_mode(0o755)).unwrap();
    assert_eq!(run(top.path(), &stage, "report").0, 7);
    if !is_root() {
        return crate::skipped(
            "a_program_that_others_own_or_may_write_is_not_run: only root gives files away",
        );
    }
    chown(&path, Some(54_321), None).unwrap();
    assert_eq!(run(top.path(), &stage, "report"), refused("it belongs to uid 54321"));
    assert_eq!(run(top.path(), &stage, "__complete bash 2 patchadm report --c"), (0, String::new()));
}
