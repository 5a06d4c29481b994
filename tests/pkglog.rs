//! Databases whose last changes another tool has logged beside `contents` (pkglog of later Solaris 10 and illumos).

use std::fs;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{ADMIN, Scenario};
use crate::tree::assert_same;

const CONTENTS: &str = "/var/sadm/install/contents";
const LOG: &str = "/var/sadm/install/pkglog";
const WEB: &str = "/opt/ACMEweb/bin/httpd";

fn web() -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").file("bin/tool", 0o755, "one\n")
}

fn db() -> Package {
    Package::new("ACMEdb").file("bin/db", 0o755, "one\n")
}

/// A root on which this program has never run.
fn foreign() -> Scenario {
    let stage = Scenario::with(&[web()]);
    fs::remove_dir_all(stage.at("/var/sadm/patchadm")).unwrap();
    stage
}

/// Moves the line of a path from `contents` to the log, like a tool that has just added the object.
fn logged(stage: &Scenario, path: &str) {
    let text = stage.text(CONTENTS);
    let (taken, left): (Vec<&str>, Vec<&str>) =
        text.lines().partition(|line| line.starts_with(&format!("{path} ")));
    fs::write(stage.at(CONTENTS), left.join("\n") + "\n").unwrap();
    fs::write(stage.at(LOG), format!("+{}\n###Marker\n", taken.join("\n+"))).unwrap();
}

#[test]
fn readers_see_what_is_logged_and_the_next_run_writes_it_and_removes_the_log() {
    let stage = foreign();
    let before = stage.lines();
    logged(&stage, WEB);
    assert!(stage.run(&format!("pkgchk -l -p {WEB} -R @ROOT@")).ok().contains("ACMEweb"));
    assert!(stage.run(&format!("show -R @ROOT@ {WEB}")).ok().contains("ACMEweb"));
    stage.run("pkgchk -R @ROOT@").ok();
    assert!(stage.at(LOG).exists(), "no reader removes it");

    let spool = stage.beside("spool");
    db().write(&spool);
    let run = stage.run(&format!("pkgadd -n -R @ROOT@ -d {} ACMEdb", spool.display()));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    let taken_over = "@ROOT@/var/sadm/install/pkglog: 1 change of another tool is kept";
    assert!(run.stderr.contains(taken_over), "{}", run.stderr);
    assert!(!stage.at(LOG).exists());
    let of_web: Vec<String> = stage.lines().into_iter().filter(|line| line.ends_with("ACMEweb")).collect();
    assert_eq!(of_web, before.iter().filter(|line| line.ends_with("ACMEweb")).cloned().collect::<Vec<_>>());
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn logged_changes_and_removals_are_part_of_the_database() {
    let stage = foreign();
    fs::remove_file(stage.at("/opt/ACMEweb/bin/tool")).unwrap();
    let changed = "/opt/ACMEweb/bin/httpd f none 0700 root root 4 338 1577836800 ACMEweb";
    let text = format!("={changed}\n-/opt/ACMEweb/bin/tool\n# Last modified by pkgrm\n###Marker\n");
    fs::write(stage.at(LOG), text).unwrap();
    let said = stage.run("pkgchk -l -p /opt/ACMEweb/bin/httpd -R @ROOT@").ok();
    assert!(said.contains("0700"), "{said}");
    let patch = Patch::of("100-01", Package::new("ACMEweb").file("bin/new", 0o755, "new\n"));
    stage.patchadd("", &patch);
    let lines = stage.lines();
    assert!(lines.iter().any(|line| line == changed) && !lines.iter().any(|line| line.contains("/tool")));
    assert!(!stage.at(LOG).exists());
}

#[test]
fn what_only_the_log_has_goes_with_its_package_and_does_not_come_back() {
    let stage = foreign();
    logged(&stage, WEB);
    let run = stage.run("pkgrm -n -R @ROOT@ ACMEweb");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert!(!stage.at(WEB).exists() && !stage.at(LOG).exists());
    assert_eq!(stage.lines(), Vec::<String>::new());
}

#[test]
fn a_run_with_scripts_takes_the_log_over_and_a_failed_one_leaves_it() {
    for (script, code) in [("exit 0\n", 0), ("exit 1\n", 1)] {
        let stage = foreign();
        logged(&stage, WEB);
        let (before, lines) = (stage.everything(), stage.text(LOG));
        let spool = stage.beside("spool");
        db().information("postinstall", script).write(&spool);
        fs::write(stage.beside("admin"), ADMIN).unwrap();
        let run = stage.run(&format!(
            "pkgadd -n -a {} -R @ROOT@ -d {} ACMEdb",
            stage.beside("admin").display(),
            spool.display()
        ));
        assert_eq!(run.code, code, "{}{}", run.stdout, run.stderr);
        if code == 0 {
            assert!(!stage.at(LOG).exists());
            assert!(stage.lines().iter().any(|line| line.starts_with(WEB)));
        } else {
            assert_eq!(stage.text(LOG), lines);
            assert_same(&stage.everything(), &before);
        }
    }
}

#[test]
fn a_log_that_cannot_be_read_is_named_and_pkgchk_f_takes_over_what_can_be() {
    let stage = foreign();
    let before = stage.lines();
    logged(&stage, WEB);
    fs::write(stage.at(LOG), format!("rubbish\n{}", stage.text(LOG))).unwrap();
    let there = stage.everything();
    db().write(&stage.beside("spool"));
    let add = format!("pkgadd -n -R @ROOT@ -d {} ACMEdb", stage.beside("spool").display());
    for (line, code) in [(&*add, 99), ("pkgrm -n -R @ROOT@ ACMEweb", 99), ("check --contents -R @ROOT@", 4)] {
        let run = stage.run(line);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(run.code, code, "{line}: {said}");
        assert!(said.contains("@ROOT@/var/sadm/install/pkglog: line 1: "), "{line}: {said}");
        assert!(said.contains("`patchadm pkgchk -f -R @ROOT@`"), "{line}: {said}");
    }
    assert_same(&stage.everything(), &there);
    let run = stage.run("pkgchk -f -R @ROOT@");
    assert_eq!((run.code, run.stderr.as_str()), (0, ""), "{}", run.stdout);
    assert!(run.stdout.contains("is kept as @ROOT@/var/sadm/install/pkglog.damaged"), "{}", run.stdout);
    assert_eq!(stage.lines(), before);
    assert!(!stage.at(LOG).exists() && stage.text(&format!("{LOG}.damaged")).starts_with("rubbish\n"));
    assert!(!stage.at(&format!("{CONTENTS}.damaged")).exists(), "contents itself was not damaged");
    stage.run("check --contents -R @ROOT@").ok();
}

#[test]
fn a_change_that_never_became_complete_is_no_part_of_the_database_and_stops_changes() {
    let stage = foreign();
    let whole = stage.lines();
    logged(&stage, WEB);
    fs::write(stage.at(LOG), stage.text(LOG) + "+/opt/ACMEweb/half f none 0644 ro").unwrap();
    assert!(stage.run(&format!("show -R @ROOT@ {WEB}")).ok().contains("ACMEweb"));
    let run = stage.run("pkgrm -n -R @ROOT@ ACMEweb");
    assert_eq!(run.code, 99, "{}", run.stderr);
    assert!(run.stderr.contains("pkglog: its last 33 bytes belong to a change"), "{}", run.stderr);
    stage.run("pkgchk -f -R @ROOT@");
    assert_eq!(stage.lines(), whole);
    let run = stage.run("pkgrm -n -R @ROOT@ ACMEweb");
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn nothing_but_a_regular_file_is_a_log() {
    let stage = foreign();
    stage.symlink(LOG, "/etc/passwd");
    let run = stage.run("pkgrm -n -R @ROOT@ ACMEweb");
    assert_eq!(run.code, 99, "{}", run.stderr);
    assert!(
        run.stderr.contains("@ROOT@/var/sadm/install/pkglog: it is not a regular file"),
        "{}",
        run.stderr
    );
}

#[test]
fn no_package_delivers_a_log() {
    let stage = Scenario::new();
    let package =
        Package::new("ACMEevil").param("BASEDIR", "/").file("var/sadm/install/pkglog", 0o644, "-/etc\n");
    package.write(&stage.beside("spool"));
    let run = stage.run(&format!("pkgadd -n -R @ROOT@ -d {} ACMEevil", stage.beside("spool").display()));
    assert_ne!(run.code, 0);
    assert!(run.stderr.contains("it is a record of packages and patches"), "{}", run.stderr);
}

/// A package whose postinstall writes the log.
fn logs(text: &str) -> Package {
    let script = format!("printf '%s' '{text}' > \"$PKG_INSTALL_ROOT/var/sadm/install/pkglog\"\n");
    db().information("postinstall", script)
}

/// Installs `ACMEdb`, whose postinstall writes this log.
fn install_logging(stage: &Scenario, text: &str) -> (i32, String) {
    let (spool, admin) = (stage.beside(&format!("spool.{}", text.len())), stage.beside("admin"));
    logs(text).write(&spool);
    fs::write(&admin, ADMIN).unwrap();
    let run = stage.run(&format!("pkgadd -n -a {} -R @ROOT@ -d {} ACMEdb", admin.display(), spool.display()));
    (run.code, format!("{}{}", run.stdout, run.stderr))
}

#[test]
fn a_log_that_a_script_of_the_run_writes_is_taken_over() {
    let stage = foreign();
    let line = "/opt/ACMEdb/made f none 0644 root root 2 1000 1577836800 ACMEdb";
    let (code, said) = install_logging(&stage, &format!("+{line}\n###Marker\n"));
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("1 change of another tool is kept"), "{said}");
    assert!(stage.lines().iter().any(|found| found == line), "{:?}", stage.lines());
    assert!(!stage.at(LOG).exists());
}

#[test]
fn a_log_that_cannot_be_read_and_that_a_script_of_the_run_wrote_goes_with_the_rollback() {
    let stage = foreign();
    let before = stage.everything();
    let (code, said) = install_logging(&stage, "rubbish\n###Marker\n");
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("@ROOT@/var/sadm/install/pkglog: line 1: "), "{said}");
    assert!(!stage.at(LOG).exists());
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_change_that_a_script_of_the_run_logged_and_did_not_complete_is_no_part_of_the_database() {
    let stage = foreign();
    let (code, said) = install_logging(&stage, "+/opt/ACMEdb/half f none 06");
    assert_eq!(code, 0, "{said}");
    assert!(!stage.at(LOG).exists() && !stage.text(CONTENTS).contains("half"));
}
