//! Patches whose own scripts run: one package whose scripts keep the records of the patch and build its undo package,
//! one whose scripts only do something else, and scripts of the patch itself.
//!
//! The scripts are in `testdata/scripted`; each prints its name, and fails or waits if a file of the root says so.
//! They run as an ordinary user on a root that belongs to that user.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::delivery::Patch;
use crate::everyman::{as_ordinary_user, copy_program, ordinary_ids};
use crate::packages::Package;
use crate::scenario::{PROGRAM, Run, Scenario};
use crate::tree::{Tree, assert_same};

const ID: &str = "700-01";
const ADD: &str = "patchadd -R @ROOT@ delivered/700-01";
const REMOVE: &str = "patchrm -R @ROOT@ 700-01";

/// The scripts that run when the patch is applied, in their order.
const APPLIED: [&str; 12] = [
    "prepatch",
    "db/checkinstall",
    "web/checkinstall",
    "db/preinstall",
    "db/i.list",
    "db/i.table",
    "db/postinstall",
    "web/preinstall",
    "web/i.none",
    "web/i.conf",
    "web/postinstall",
    "postpatch",
];

/// The scripts that run when it is backed out.
const BACKED_OUT: [&str; 6] = [
    "prebackout",
    "web/patch_checkinstall",
    "db/u.list",
    "web/u.conf",
    "web/patch_postinstall",
    "postbackout",
];

/// The files of the root by which a test directs the scripts.
const DIRECTIONS: [&str; 6] =
    ["etc/stop-at", "etc/fail-at", "etc/fail-with", "etc/unwanted", "etc/forgetful", "etc/daemon"];

/// A script of the patch: the common beginning, then its own part.
fn script(name: &str, file: &str) -> String {
    let text = |file: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/scripted").join(file))
            .unwrap()
    };
    format!("#!/bin/sh\nme={name}\n{}{}", text("common"), text(file))
}

fn with_script(package: Package, of: &str, name: &str, file: &str) -> Package {
    package.information(name, script(&format!("{of}/{name}"), &format!("{of}/{file}")))
}

fn web() -> Package {
    let mut package = Package::new("ACMEweb")
        .param("CLASSES", "none conf")
        .file("bin/httpd", 0o755, "second httpd\n")
        .file("bin/new", 0o755, "new\n")
        .of_class("conf", 'e', "etc/web.conf", 0o644, "a line of 700-01\n");
    for name in
        ["checkinstall", "preinstall", "postinstall", "patch_checkinstall", "patch_postinstall", "u.conf"]
    {
        package = with_script(package, "web", name, name);
    }
    with_script(with_script(package, "web", "i.none", "class"), "web", "i.conf", "class")
}

fn db() -> Package {
    let mut package = Package::new("ACMEdb")
        .param("CLASSES", "none list table")
        .file("bin/db", 0o755, "second db\n")
        .of_class("table", 'f', "lib/table", 0o640, "second table\n")
        .of_class("list", 'e', "etc/db.list", 0o644, "an entry of 700-01\n")
        .link("lib/alias", "table");
    for name in ["checkinstall", "preinstall", "i.table", "i.list", "u.list", "postinstall"] {
        package = with_script(package, "db", name, name);
    }
    package
}

/// A root with both packages, and the patch beside it.
fn stage() -> Scenario {
    let stage = Scenario::new();
    let (uid, gid) = ordinary_ids(&stage);
    stage.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\n"));
    stage.file("/etc/group", format!("root:x:{gid}:\n"));
    for directory in ["/opt", "/tmp", "/var/tmp"] {
        stage.directory(directory);
    }
    for direction in DIRECTIONS {
        stage.file(&format!("/{direction}"), "");
    }
    let base = Package::new("ACMEweb").file("bin/httpd", 0o755, "first httpd\n");
    let base =
        base.param("CLASSES", "none conf").of_class("conf", 'e', "etc/web.conf", 0o644, "first line\n");
    base.write(&stage.beside("base"));
    let base = Package::new("ACMEdb").file("bin/db", 0o755, "first db\n").file("lib/table", 0o640, "FIRST\n");
    let base =
        base.param("CLASSES", "none list").of_class("list", 'e', "etc/db.list", 0o644, "first entry\n");
    base.write(&stage.beside("base"));
    run(&stage, &format!("pkgadd -n -R @ROOT@ -d {} all", stage.beside("base").display())).ok_code(0);
    let hooks = ["prepatch", "postpatch", "prebackout", "postbackout"];
    let patch = hooks.iter().fold(Patch::of(ID, web()).package(db()), |patch, name| {
        patch.beside(name, &script(name, &format!("patch/{name}")))
    });
    let delivered = patch.directory(&stage);
    for name in hooks {
        fs::set_permissions(delivered.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    stage
}

fn command(stage: &Scenario, line: &str) -> std::process::Command {
    let own = [stage.root(), stage.beside("delivered")];
    let own: Vec<&Path> = own.iter().map(PathBuf::as_path).filter(|path| path.exists()).collect();
    // Scripts call pkgproto and pkgmk.
    copy_program(stage, PROGRAM.as_ref(), "patchadm-make");
    as_ordinary_user(stage, line, &own)
}

fn run(stage: &Scenario, line: &str) -> Run {
    let output = command(stage, line).output().unwrap();
    let text =
        |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(stage.root().to_str().unwrap(), "@ROOT@");
    Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

trait Checked {
    fn ok_code(self, code: i32) -> Self;
}

impl Checked for Run {
    #[track_caller]
    fn ok_code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{}{}", self.stdout, self.stderr);
        self
    }
}

/// The root without the files that scripts and their stage directions leave behind.
fn state(stage: &Scenario) -> Tree {
    Tree::of(
        &stage.root(),
        &[
            "var/sadm/install/.lockfile",
            "var/sadm/patchadm",
            "tmp",
            "etc/stop-at",
            "etc/fail-at",
            "etc/fail-with",
        ],
    )
}

/// The scripts that spoke, in the order of a log.
fn spoke(log: &str) -> Vec<String> {
    log.lines().filter_map(|line| line.strip_suffix(" speaks")).map(str::to_owned).collect()
}

fn log(stage: &Scenario) -> String {
    stage.text("/var/sadm/patchadm/log")
}

/// The lines of `contents` without the facts that an undo package made by scripts lacks, or has in the numbers of an
/// ordinary user: pkgproto(1) knows neither type `e` nor the accounts of a root.
fn known_to_scripts(lines: &[String]) -> Vec<String> {
    let without = |line: &String| {
        let words: Vec<&str> = line.split(' ').collect();
        let is_of_scripts = line.ends_with(" ACMEweb");
        let kept = |at: &usize| !is_of_scripts || ![1, 4, 5].contains(at);
        let words = words.iter().enumerate().filter(|(at, _)| kept(at)).map(|(_, word)| *word);
        words.collect::<Vec<_>>().join(" ")
    };
    lines.iter().map(without).collect()
}

#[test]
fn everything_runs_in_its_order_and_a_backout_brings_everything_back() {
    let stage = stage();
    let before = (stage.tree(), stage.lines());
    let said = run(&stage, ADD).ok_code(0).stdout;
    let at = |text: &str| said.find(text).unwrap_or_else(|| panic!("{text} in {said}"));
    assert!(at("Executing prepatch script...") < at("Verifying sufficient filesystem capacity"));
    assert!(at("See @ROOT@/var/sadm/patch/700-01/log for details") < at("Executing postpatch script..."));
    assert_eq!(spoke(&stage.text("/var/sadm/patch/700-01/log")), APPLIED);
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "second httpd\n");
    assert_eq!(stage.text("/opt/ACMEweb/etc/web.conf"), "first line\na line of 700-01\n");
    assert_eq!(stage.text("/opt/ACMEdb/lib/alias"), "SECOND TABLE\n");
    let pkginfo = |package: &str| stage.text(&format!("/var/sadm/pkg/{package}/pkginfo"));
    for package in ["ACMEweb", "ACMEdb"] {
        assert!(pkginfo(package).contains("\nPATCHLIST=700-01\n"), "{}", pkginfo(package));
        assert!(pkginfo(package).contains("\nPATCH_INFO_700-01=Installed: "), "{}", pkginfo(package));
    }
    assert!(pkginfo("ACMEweb").contains("From: here"), "its scripts keep its records");
    assert!(pkginfo("ACMEdb").contains("\nDBMODE=patched\n"));
    let listing = fs::read_dir(stage.at("/var/sadm/pkg/ACMEweb/install")).map_or(0, Iterator::count);
    assert_eq!(listing, 0, "no script is left in the database");
    run(&stage, "pkgchk -R @ROOT@ ACMEweb ACMEdb").ok_code(0);

    let said = run(&stage, REMOVE).ok_code(0).stdout;
    assert!(said.contains("Executing prebackout script...\nBacking out patch 700-01..."), "{said}");
    assert!(said.contains("Executing postbackout script...\nPatch 700-01 has been backed out."), "{said}");
    let log = log(&stage);
    let last = log.rsplit("# run ").next().unwrap();
    assert_eq!(spoke(last), BACKED_OUT);
    assert_same(&stage.tree(), &before.0);
    assert_eq!(known_to_scripts(&stage.lines()), known_to_scripts(&before.1));
    assert!(!stage.at("/var/sadm/patch/700-01").exists());
    assert!(pkginfo("ACMEweb").contains("\nPATCH_INFO_700-01=backed out\n"));
    for package in ["ACMEweb", "ACMEdb"] {
        assert!(!stage.at(&format!("/var/sadm/pkg/{package}/save/700-01")).exists());
    }
}

#[test]
fn the_plan_lists_the_scripts_and_runs_none() {
    let stage = stage();
    let before = state(&stage);
    let said = run(&stage, "patchadd -a -R @ROOT@ delivered/700-01").ok_code(0).stdout;
    let listed = said.split("Scripts:\n").nth(1).unwrap();
    let names: Vec<&str> = listed.lines().map_while(|line| line.strip_prefix("  ")).collect();
    assert_eq!(
        names.first().unwrap().split_whitespace().collect::<Vec<_>>(),
        ["prepatch", "the", "patch", "(own)"]
    );
    assert_eq!(names.len(), APPLIED.len(), "{said}");
    let json = run(&stage, "patchadd -a --json -R @ROOT@ delivered/700-01").ok_code(0).stdout;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let scripts = json["patches"][0]["scripts"].as_array().unwrap();
    assert_eq!(scripts.len(), APPLIED.len());
    assert_eq!((&scripts[1]["package"], &scripts[1]["why"]), (&"ACMEdb".into(), &"own".into()));
    assert_same(&state(&stage), &before);
}

in_parts!(any_script_that_fails_takes_all_packages_back, fail_scripts, 2);

fn fail_scripts(part: usize, parts: usize) {
    let stage = stage();
    let before = state(&stage);
    let applied = APPLIED.into_iter().skip(part).step_by(parts);
    for (script, ends) in applied.flat_map(|name| [(name, "1"), (name, "3")]) {
        let code = match script {
            "prepatch" => 15,
            "postpatch" => 16,
            _ => 5,
        };
        stage.file("/etc/fail-at", script);
        stage.file("/etc/fail-with", ends);
        let failed = run(&stage, ADD).ok_code(code);
        let last = script.rsplit('/').next().unwrap();
        let called = if last.starts_with("i.") { "lass action script" } else { last };
        assert!(failed.stderr.contains(called), "{script}: {}", failed.stderr);
        assert!(failed.stderr.contains("See @ROOT@/var/sadm/patchadm/log"), "{}", failed.stderr);
        assert!(log(&stage).trim_end().contains(&format!("{script} does not want to")), "{script}");
        assert_same(&state(&stage), &before);
    }
    stage.file("/etc/fail-at", "");
    run(&stage, ADD).ok_code(0);
    let patched = state(&stage);
    for script in BACKED_OUT.into_iter().skip(part).step_by(parts) {
        stage.file("/etc/fail-at", script);
        stage.file("/etc/fail-with", "1");
        let code = match script {
            "prebackout" => 9,
            "postbackout" => 10,
            _ => 5,
        };
        run(&stage, REMOVE).ok_code(code);
        assert_same(&state(&stage), &patched);
    }
    stage.file("/etc/fail-at", "");
    run(&stage, REMOVE).ok_code(0);
}

#[test]
fn scripts_that_fail_before_the_run_begins_are_failed_attempts_of_the_history() {
    let stage = stage();
    let last = |stage: &Scenario| {
        let history = run(stage, "history -R @ROOT@").ok_code(0).stdout;
        history.lines().last().unwrap_or_default().to_owned()
    };
    stage.file("/etc/fail-with", "1");
    for (script, code) in [("prepatch", 15), ("db/checkinstall", 5)] {
        stage.file("/etc/fail-at", script);
        let attempts = || fs::read_to_string(stage.at("/var/sadm/patchadm/attempts")).unwrap_or_default();
        let before = attempts().lines().count();
        run(&stage, ADD).ok_code(code);
        let row = last(&stage);
        assert!(row.contains(" failed ") && row.contains(ID), "{script}: {row}");
        assert_eq!(attempts().lines().count(), before + 1, "{script}");
    }
    stage.file("/etc/fail-at", "");
    run(&stage, ADD).ok_code(0);
    stage.file("/etc/fail-at", "prebackout");
    run(&stage, REMOVE).ok_code(9);
    let row = last(&stage);
    assert!(row.contains("patchrm") && row.contains(" failed "), "{row}");
}

#[test]
fn warnings_and_reboots_are_kept_with_a_note() {
    for (code, note) in [("2", "a script warned"), ("10", "asks for a reboot"), ("20", "reboot at once")] {
        let stage = stage();
        stage.file("/etc/fail-at", "db/preinstall");
        stage.file("/etc/fail-with", code);
        let said = run(&stage, ADD).ok_code(0).stdout;
        assert!(said.contains("NOTE: ") && said.contains(note), "{said}");
        assert!(!stage.at("/var/sadm/pkg/ACMEdb/!I-Lock!").exists());
    }
}

#[test]
fn scripts_speak_to_the_user_of_patchadd() {
    let stage = stage();
    stage.file("/etc/unwanted", "yes");
    let before = state(&stage);
    let refused = run(&stage, ADD).ok_code(24);
    assert!(
        refused.stderr.contains("ERROR: Patch 700-01 is not wanted on this machine.\nNothing was changed."),
        "{}",
        refused.stderr
    );
    assert!(refused.stderr.ends_with("Patchadd is terminating.\n"));
    assert_same(&state(&stage), &before);
}

#[test]
fn what_an_undo_package_does_not_hold_comes_back_from_the_snapshot() {
    for engine in ["auto", "run"] {
        let stage = stage();
        stage.file("/etc/forgetful", "bin/httpd\n");
        let before = (stage.tree(), stage.lines());
        let applied = run(&stage, ADD).ok_code(0);
        let told = "it does not contain @ROOT@/opt/ACMEweb/bin/httpd as it was";
        assert!(applied.stdout.contains(told), "{}", applied.stdout);
        run(&stage, &format!("patchrm --scripts {engine} -R @ROOT@ {ID}")).ok_code(0);
        assert_same(&stage.tree(), &before.0);
        assert_eq!(stage.lines(), before.1);
    }
}

#[test]
fn an_edited_file_of_a_class_that_the_undo_package_does_not_hold_is_kept() {
    let stage = stage();
    stage.file("/etc/forgetful", "etc/web.conf\n");
    run(&stage, ADD).ok_code(0);
    stage.file("/opt/ACMEweb/etc/web.conf", "mine\n");
    run(&stage, REMOVE).ok_code(0);
    assert_eq!(stage.text("/opt/ACMEweb/etc/web.conf"), "first line\n");
    assert_eq!(stage.text("/opt/ACMEweb/etc/web.conf.edited-700-01"), "mine\n");
}

#[test]
fn a_patch_whose_scripts_make_no_undo_package_is_taken_back() {
    let stage = stage();
    stage.file("/etc/forgetful", "all\n");
    let before = state(&stage);
    let refused = run(&stage, ADD).ok_code(4);
    assert!(refused.stderr.contains("save/700-01"), "{}", refused.stderr);
    assert_same(&state(&stage), &before);
}

#[test]
fn edits_of_others_in_a_file_of_a_class_survive_the_backout() {
    let stage = stage();
    run(&stage, ADD).ok_code(0);
    assert_eq!(stage.text("/opt/ACMEdb/etc/db.list"), "first entry\nan entry of 700-01\n");
    let (conf, list) = (stage.at("/opt/ACMEweb/etc/web.conf"), stage.at("/opt/ACMEdb/etc/db.list"));
    fs::write(&conf, "first line\nmine\na line of 700-01\n").unwrap();
    fs::write(&list, "first entry\nmine\nan entry of 700-01\n").unwrap();
    run(&stage, REMOVE).ok_code(0);
    assert_eq!(fs::read_to_string(&conf).unwrap(), "first line\nmine\n");
    assert_eq!(fs::read_to_string(&list).unwrap(), "first entry\nmine\n");
    let edited = fs::read_dir(stage.at("/opt/ACMEdb/etc")).unwrap().count();
    assert_eq!(edited, 1, "nothing is kept beside what a script has put right");
}

/// Starts a command, and waits until the named script has stopped.
fn stopped_at(stage: &Scenario, line: &str, script: &str) -> std::process::Child {
    stage.file("/etc/stop-at", script);
    let reached = stage.at("/tmp/reached");
    drop(fs::remove_file(&reached));
    let mut command = command(stage, line);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let began = Instant::now();
    while !reached.exists() {
        assert!(child.try_wait().unwrap().is_none(), "{line} ended before {script}");
        assert!(began.elapsed() < Duration::from_secs(60), "{script} is not reached");
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}

#[test]
fn a_patchadd_that_is_killed_in_any_script_is_taken_back() {
    let stage = stage();
    let before = state(&stage);
    for script in APPLIED {
        let mut child = stopped_at(&stage, ADD, script);
        child.kill().unwrap();
        child.wait().unwrap();
        run(&stage, "-R @ROOT@ recover").ok_code(0);
        assert_same(&state(&stage), &before);
    }
    stage.file("/etc/stop-at", "");
    run(&stage, ADD).ok_code(0);
    let patched = state(&stage);
    for script in BACKED_OUT {
        let mut child = stopped_at(&stage, REMOVE, script);
        child.kill().unwrap();
        child.wait().unwrap();
        run(&stage, "-R @ROOT@ recover").ok_code(0);
        assert_same(&state(&stage), &patched);
    }
}

#[test]
fn a_script_that_hangs_is_ended_and_everything_is_as_before() {
    let stage = stage();
    let before = state(&stage);
    for script in ["web/i.none", "db/postinstall", "postpatch"] {
        stage.file("/etc/stop-at", script);
        // Long enough for the scripts before it on a busy machine.
        let line = format!("{ADD} --script-timeout 2");
        let code = if script == "postpatch" { 16 } else { 5 };
        let failed = run(&stage, &line).ok_code(code);
        assert!(failed.stderr.contains("took too long"), "{}", failed.stderr);
        assert_same(&state(&stage), &before);
    }
}

#[test]
fn a_daemon_that_a_script_starts_goes_on_and_nobody_waits_for_it() {
    let stage = stage();
    stage.file("/etc/daemon", "yes");
    run(&stage, ADD).ok_code(0);
    let process: i32 = stage.text("/tmp/daemon").trim().parse().unwrap();
    let process = rustix::process::Pid::from_raw(process).unwrap();
    assert!(rustix::process::kill_process(process, rustix::process::Signal::TERM).is_ok(), "it lives on");
    run(&stage, REMOVE).ok_code(0);
}

#[test]
fn scripts_of_the_patch_itself_must_be_executable() {
    let stage = stage();
    let before = state(&stage);
    let prepatch = stage.beside("delivered/700-01/prepatch");
    fs::set_permissions(&prepatch, fs::Permissions::from_mode(0o644)).unwrap();
    let refused = run(&stage, ADD).ok_code(38);
    assert!(refused.stderr.contains("is not executable"), "{}", refused.stderr);
    fs::write(&prepatch, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&prepatch, fs::Permissions::from_mode(0o755)).unwrap();
    run(&stage, ADD).ok_code(38);
    fs::write(&prepatch, "#!/bin/sh\nkill -9 $$\n").unwrap();
    run(&stage, ADD).ok_code(12);
    assert_same(&state(&stage), &before);
}

#[test]
fn no_scripts_means_that_what_needs_one_is_refused() {
    let stage = stage();
    let refused = run(&stage, "-R @ROOT@ add --scripts refuse delivered/700-01").ok_code(3);
    assert!(refused.stderr.contains("prepatch"), "{}", refused.stderr);
    let refused = run(&stage, "-R @ROOT@ add --scripts native delivered/700-01").ok_code(3);
    assert!(refused.stderr.contains("--scripts run"), "{}", refused.stderr);
}

#[test]
fn a_patch_in_one_file_runs_its_scripts_from_private_copies() {
    if !crate::has("tar", "a_patch_in_one_file_runs_its_scripts_from_private_copies") {
        return;
    }
    let stage = stage();
    let delivered = stage.beside("delivered");
    let mut tar = std::process::Command::new("tar");
    assert!(tar.args(["-cf", "700-01.tar", ID]).current_dir(&delivered).status().unwrap().success());
    let said = run(&stage, "patchadd -R @ROOT@ delivered/700-01.tar").ok_code(0);
    assert!(said.stdout.contains("has been successfully installed"));
    assert_eq!(spoke(&stage.text("/var/sadm/patch/700-01/log")), APPLIED);
    run(&stage, REMOVE).ok_code(0);
}
