//! One verb on many roots: a run and a line for each, one summary, one exit code.

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use patchadm_rootfs::{Lock, Root};
use patchadm_testing::processes::resident_peak;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::delivery::Patch;
use crate::everyman::{NOBODY, as_ordinary_user};
use crate::packages::Package;
use crate::reliability::{figures, sample_or_whole};
use crate::scenario::{Run, Scenario, is_root};
use crate::schema::assert_document_if_asked;
use crate::tree::{Tree, assert_same};

/// The root to copy, with a package and three patches for it; the second requires the first.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.install(&Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n").file("lib/web", 0o644, "one\n"));
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n")).directory(&stage);
    Patch::of("200-01", Package::new("ACMEweb").file("lib/web", 0o644, "two\n"))
        .says("SUNW_REQUIRES", "100-01")
        .directory(&stage);
    Patch::of("300-01", Package::new("ACMEdb").file("bin/db", 0o755, "two\n")).directory(&stage);
    fs::create_dir(stage.beside("machines")).unwrap();
    stage
}

/// Makes this many copies of the root, and returns them by number.
fn copies(stage: &Scenario, count: usize) -> Vec<PathBuf> {
    let copy = |number: usize| {
        let at = stage.beside("machines").join(format!("{number:03}"));
        let copied = Command::new("cp").arg("-a").arg(stage.root()).arg(&at).status().unwrap();
        assert!(copied.success());
        at
    };
    (0..count).map(copy).collect()
}

/// A list of roots, in the form that people write.
fn list(stage: &Scenario, roots: &[PathBuf]) {
    let mut text = "# all of them\n\n".to_owned();
    roots.iter().for_each(|root| writeln!(text, "{}", root.display()).unwrap());
    fs::write(stage.beside("list"), text).unwrap();
}

fn patches(root: &Path) -> String {
    let text = fs::read_to_string(root.join("var/sadm/pkg/ACMEweb/pkginfo")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("PATCHLIST=")).unwrap_or_default();
    line.to_owned()
}

fn run(mut command: Command) -> Run {
    let output = command.output().unwrap();
    let words: Vec<String> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    assert_document_if_asked(&words.join(" "), &output.stdout);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Run { code: output.status.code().unwrap(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// The lines of a text, sorted: those about roots come in the order in which the roots end.
fn sorted(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// The condition of one root of two hundred.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fine,
    Applied,
    Locked,
    Unwritable,
    Foreign,
    Missing,
    WithoutPackage,
    WithoutDatabase,
}

impl Kind {
    fn of(number: usize) -> Self {
        match number % 20 {
            3 => Self::Applied,
            6 => Self::Locked,
            9 => Self::Unwritable,
            12 if is_root() => Self::Foreign,
            15 => Self::Missing,
            17 => Self::WithoutPackage,
            18 if number < 20 => Self::WithoutDatabase,
            _ => Self::Fine,
        }
    }

    /// Brings the root `at` into this condition. The caller must hold the returned lock.
    fn make(self, stage: &Scenario, at: &Path) -> Option<Lock> {
        match self {
            Self::Fine | Self::Foreign | Self::Unwritable => {}
            Self::Applied => {
                let line = format!("patchadd -R {} delivered/100-01", at.display());
                assert_eq!(run(as_ordinary_user(stage, &line, &[])).code, 0);
            }
            Self::Locked => return Some(Lock::take(&Root::open(at).unwrap(), "pkgadd", |_| false).unwrap()),
            Self::Missing => fs::remove_dir_all(at).unwrap(),
            Self::WithoutPackage => {
                let line = format!("pkgrm -n -R {} ACMEweb", at.display());
                assert_eq!(run(as_ordinary_user(stage, &line, &[])).code, 0);
            }
            Self::WithoutDatabase => fs::remove_dir_all(at.join("var/sadm/pkg")).unwrap(),
        }
        None
    }

    /// Does the rest after everything was given to the user who works on it.
    fn close(self, at: &Path) {
        match self {
            Self::Unwritable => {
                fs::set_permissions(at.join("var/sadm/pkg/ACMEweb"), fs::Permissions::from_mode(0o555))
                    .unwrap();
            }
            Self::Foreign => lchown(at, Some(0), Some(0)).unwrap(),
            _ => {}
        }
    }

    /// The exit code of this root in the document.
    fn code(self) -> u64 {
        match self {
            Self::Fine | Self::Applied | Self::WithoutPackage => 0,
            Self::Locked => 6,
            Self::Unwritable | Self::Missing | Self::WithoutDatabase => 1,
            Self::Foreign => 3,
        }
    }
}

#[test]
fn of_two_hundred_roots_each_is_done_or_told_of_and_no_other_suffers() {
    let stage = stage();
    let roots = copies(&stage, 200);
    drop(as_ordinary_user(&stage, "list", &[&stage.beside("machines")]));
    let locks: Vec<_> =
        roots.iter().enumerate().map(|(number, at)| Kind::of(number).make(&stage, at)).collect();
    roots.iter().enumerate().for_each(|(number, at)| Kind::of(number).close(at));
    let number_of = |kind| (0..200).filter(|number| Kind::of(*number) == kind).count();
    let before: Vec<Option<Tree>> = roots
        .iter()
        .enumerate()
        .map(|(number, at)| (!matches!(Kind::of(number), Kind::Fine | Kind::Missing)).then(|| everything(at)))
        .collect();
    list(&stage, &roots);
    let json = run(as_ordinary_user(&stage, "add --json --roots list --jobs 4 delivered/100-01", &[]));

    // Some roots are done, others fail.
    assert_eq!(json.code, 5, "{}", json.stderr);
    let document: Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!((&document["schema"], &document["result"]), (&"patchadm/1".into(), &"failed".into()));
    let counted = |name: &str| document["summary"][name].as_u64().unwrap();
    let failed = [Kind::Locked, Kind::Missing, Kind::WithoutDatabase];
    assert_eq!(counted("roots"), 200);
    assert_eq!(counted("done"), number_of(Kind::Fine) as u64);
    let idle = [Kind::Applied, Kind::WithoutPackage].into_iter().map(number_of).sum::<usize>();
    assert_eq!(counted("nothing_to_do"), idle as u64);
    assert_eq!(counted("failed"), failed.into_iter().map(number_of).sum::<usize>() as u64);
    assert_eq!(counted("rolled_back"), number_of(Kind::Unwritable) as u64);
    assert_eq!(counted("refused"), number_of(Kind::Foreign) as u64);
    assert_eq!((counted("planned"), counted("finished")), (0, 0));
    for (number, at) in roots.iter().enumerate() {
        let (kind, told) = (Kind::of(number), &document["roots"][number]);
        assert_eq!(told["root"].as_str(), at.to_str(), "the order of the roots");
        assert_eq!(told["exit_code"], kind.code(), "{number}, {kind:?}: {told}");
        assert_eq!(told["changed"], kind == Kind::Fine, "{number}, {kind:?}: {told}");
        match &before[number] {
            Some(before) => assert_same(&everything(at), before),
            None if kind == Kind::Fine => assert_eq!(patches(at), "100-01"),
            None => assert!(!at.exists()),
        }
    }

    // Again without the locks: roots that were done are found done, and some roots still fail.
    drop(locks);
    let again = run(as_ordinary_user(&stage, "add --roots list delivered/100-01", &[]));
    assert_eq!(again.code, 5);
    let lines = sorted(&again.stdout);
    assert!(lines.contains(&format!("{}: 100-01 already-applied", roots[0].display())), "{lines:#?}");
    assert!(
        lines.contains(&format!("{}: 100-01 applied (1 replaced, 0 added, 0 deleted)", roots[6].display()))
    );
    assert!(lines.contains(&format!("{}: 100-01 not-applicable", roots[17].display())));
    let summary = again.stdout.lines().find(|line| line.starts_with("200 roots: ")).unwrap();
    assert!(summary.starts_with(&format!("200 roots: {} done, ", number_of(Kind::Locked))), "{summary}");
    let missing =
        format!("  {} × failed (1): cannot open ROOT: No such file or directory: ", number_of(Kind::Missing));
    assert!(again.stdout.contains(&missing), "{}", again.stdout);
    let errors = again.stderr.lines().filter(|line| line.starts_with("patchadm: error: /")).count();
    assert_eq!(
        errors,
        failed.into_iter().skip(1).chain([Kind::Foreign, Kind::Unwritable]).map(number_of).sum::<usize>(),
        "one line each: {}",
        again.stderr
    );
}

fn everything(root: &Path) -> Tree {
    Tree::of(root, &["var/sadm/install/.lockfile", "var/sadm/patchadm"])
}

#[test]
fn several_named_roots_are_worked_on_like_those_of_a_list() {
    let stage = stage();
    let roots = copies(&stage, 2);
    list(&stage, &roots);
    let [a, b] = [roots[0].display(), roots[1].display()];
    let listed = stage.run("list --roots list").ok();
    for named in [format!("-R {a} -R {b} list"), format!("list --root {a} --root={b}")] {
        assert_eq!(stage.run(&named).ok(), listed, "{named}");
    }
    assert!(!stage.run(&format!("list -R {a}")).ok().contains("1 root"), "one root is no list");
}

#[test]
fn a_verb_about_one_root_refuses_a_second_one() {
    let stage = stage();
    for line in [
        "undo",
        "confirm",
        "adopt --all",
        "key list",
        "key trust acme.pub",
        "key revoke 1234",
        "history",
        "stage list",
        "stage status web",
        "status",
        "undo-data list",
    ] {
        let said = stage.run(&format!("{line} -R @ROOT@ -R /elsewhere")).fails(2);
        let sentence = "'--root <ROOT>' cannot be used multiple times: this command works on one root\n";
        assert!(said.contains(sentence), "{line}: {said}");
    }
}

#[test]
fn patches_are_planned_applied_removed_and_recovered_on_all_roots() {
    let stage = stage();
    let roots = copies(&stage, 3);
    let shown: Vec<String> = roots.iter().map(|root| root.display().to_string()).collect();
    list(&stage, &roots[..2]);
    let all = format!("--roots list -R {}", shown[2]);
    let lines =
        |what: &str| sorted(&shown.iter().map(|root| format!("{root}: {what}\n")).collect::<String>());
    let said = |line: &str| {
        let text = stage.run(line).ok();
        let (roots, summary) = text.split_once("3 roots: ").unwrap();
        (sorted(roots), summary.to_owned())
    };
    let before: Vec<Tree> = roots.iter().map(|root| Tree::of(root, &["var/sadm/patchadm"])).collect();
    let plan = "100-01 planned (1 replaced, 0 added, 0 deleted)";
    assert_eq!(said(&format!("plan {all} delivered/100-01")), (lines(plan), "3 planned.\n".to_owned()));
    assert_eq!(said(&format!("add --dry-run {all} delivered/100-01")).0, lines(plan));
    for (root, before) in roots.iter().zip(&before) {
        assert_same(&Tree::of(root, &["var/sadm/patchadm"]), before);
    }
    let (said_of_roots, summary) = said(&format!("add {all} delivered/200-01 delivered/100-01"));
    let done =
        "100-01 applied (1 replaced, 0 added, 0 deleted); 200-01 applied (1 replaced, 0 added, 0 deleted)";
    assert_eq!((said_of_roots, summary.as_str()), (lines(done), "3 done.\n"));
    for root in &roots {
        assert_eq!(patches(root), "100-01 200-01");
        let history = fs::read_to_string(root.join("var/sadm/patchadm/history")).unwrap();
        assert_eq!(history.lines().count(), 3, "pkgadd and two patches: a history of its own");
        assert!(root.join("var/sadm/patch/100-01/log").exists());
    }
    let idle = "No run was interrupted.";
    assert_eq!(
        said(&format!("recover {all}")),
        (lines(idle), "0 recovered, 3 with nothing to do.\n".to_owned())
    );
    assert_eq!(said(&format!("remove --dry-run {all} 200-01")).1, "3 planned.\n");
    let (said_of_roots, _) = said(&format!("remove {all} 100-01 200-01"));
    let removed =
        "200-01 removed (1 replaced, 0 added, 0 deleted); 100-01 removed (1 replaced, 0 added, 0 deleted)";
    assert_eq!(said_of_roots, lines(removed));
    for root in &roots {
        assert_eq!(patches(root), "");
        assert_eq!(fs::read(root.join("opt/ACMEweb/bin/httpd")).unwrap(), b"one\n");
    }
}

#[test]
fn refusals_are_grouped_and_the_first_of_the_roots_has_the_exit_code() {
    let stage = stage();
    let roots = copies(&stage, 4);
    list(&stage, &roots);
    fs::write(roots[1].join("opt/ACMEweb/lib/web"), "mine\n").unwrap();
    let line = format!("patchadd -R {} delivered/100-01", roots[1].display());
    assert_eq!(stage.run(&line).code, 0);
    let run = stage.run("add --roots list delivered/200-01");
    assert_eq!(run.code, 3);
    let requires = "200-01 refused (3): it requires patch 100-01 or later, which is not applied";
    let [a, b, c, d] = [0, 1, 2, 3].map(|number| roots[number].display());
    assert_eq!(
        run.stdout,
        format!(
            "4 roots: 0 done, 4 refused.\n  3 × {requires}: {a}, {c}, {d}\n  \
             1 × 200-01 refused (3): modified locally: ROOT/opt/ACMEweb/lib/web: {b}\n"
        )
    );
    assert!(run.stderr.contains(&format!("patchadm: error: {a}: {requires}\n")), "{}", run.stderr);
    // A decision about a file can apply to all roots, by its path in packages or in messages.
    for root in &roots {
        stage.run(&format!("patchadd -R {} delivered/100-01", root.display()));
    }
    let run = stage.run("add --roots list --keep-edited /opt/ACMEweb/lib/web delivered/200-01");
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    assert_eq!(fs::read(roots[1].join("opt/ACMEweb/lib/web")).unwrap(), b"mine\n");
}

#[test]
fn roots_that_make_no_sense_are_refused_before_anything_begins() {
    let mut stage = stage();
    let roots = copies(&stage, 2);
    symlink(&roots[0], stage.beside("link")).unwrap();
    list(&stage, &roots);
    fs::write(stage.beside("empty"), "# none yet\n").unwrap();
    let (a, b) = (roots[0].display().to_string(), roots[1].display().to_string());
    let before = Tree::of(&stage.beside("machines"), &[]);
    for (words, why) in [
        (format!("--roots list -R {b}/../001"), "are the same directory"),
        ("--roots list -R link".to_owned(), "a root is specified twice: "),
        ("--roots list --roots list".to_owned(), "are the same directory"),
        (format!("-R {a} -R {a}"), "are the same directory"),
        (format!("-R {a} -R {b} --dry-run --diff"), "'--diff' cannot be used with several roots"),
        (format!("-R {a} --roots list"), "are the same directory"),
        ("--jobs 2".to_owned(), "no root is specified by -R or --roots"),
        ("--roots empty".to_owned(), "no root is specified by -R or --roots"),
        ("--roots nowhere".to_owned(), "nowhere: No such file or directory"),
        ("--roots list --jobs 0".to_owned(), "--jobs"),
        (format!("--roots {a} --json -"), "- can be read only once"),
        (format!("--roots {a} /dev/stdin"), "/dev/stdin can be read only once"),
    ] {
        let said = stage.run(&format!("add {words} delivered/100-01")).fails(2);
        assert!(said.contains(why), "{words}: {said}");
        let said = stage.run(&format!("remove {words} 100-01"));
        assert_eq!(said.code, if words.contains("read") { 1 } else { said.code });
    }
    stage.set("PKG_INSTALL_ROOT", &a);
    let said = stage.run(&format!("add --roots {b} delivered/100-01")).fails(2);
    assert_eq!(said, "patchadm: error: Command line install root contends with environment.\n");
    assert_same(&Tree::of(&stage.beside("machines"), &[]), &before);
}

#[test]
fn a_root_that_is_mounted_twice_is_named_twice() {
    if !crate::has("unshare", "a_root_that_is_mounted_twice_is_named_twice") {
        return;
    }
    let stage = stage();
    let roots = copies(&stage, 1);
    let other = stage.beside("other");
    fs::create_dir(&other).unwrap();
    let (root, other) = (roots[0].display(), other.display());
    let program = env!("CARGO_BIN_EXE_patchadm");
    let script = format!("mount --bind {root} {other} && exec {program} add -R {root} -R {other} x");
    let output = Command::new("unshare").args(["-r", "-m", "sh", "-c", &script]).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    if said.starts_with("unshare: ") || said.contains("mount: ") {
        crate::skipped(&format!("a_root_that_is_mounted_twice_is_named_twice: {said}"));
        return;
    }
    assert!(said.contains("are the same directory"), "{said}");
}

#[test]
fn a_list_may_come_from_standard_input() {
    let stage = stage();
    let roots = copies(&stage, 2);
    let mut command = stage.command("add --roots - delivered/100-01");
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let text = format!("{}\n{}\n", roots[0].display(), roots[1].display());
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8(output.stdout).unwrap().ends_with("2 roots: 2 done.\n"));
}

#[test]
fn a_signal_rolls_back_what_runs_and_begins_nothing_else() {
    let stage = stage();
    let wait = "#!/bin/sh\ntouch $PKG_INSTALL_ROOT/begun\nexec sleep 60\n";
    let waiting = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").information("preinstall", wait);
    Patch::of("400-01", waiting).directory(&stage);
    let roots = copies(&stage, 6);
    list(&stage, &roots);
    drop(as_ordinary_user(&stage, "list", &[&stage.beside("machines")]));
    let before: Vec<Tree> = roots.iter().map(|root| everything(root)).collect();
    let line = "add --scripts run --roots list --jobs 2 delivered/400-01";
    let mut command = as_ordinary_user(&stage, line, &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let begun = || roots.iter().filter(|root| root.join("begun").exists()).count();
    crate::workshop::eventually("two runs have begun", || begun() == 2);
    kill_process(Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap(), Signal::TERM).unwrap();
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(143), "{stdout}{stderr}");
    assert_eq!(begun(), 2);
    let not_begun: String = roots[2..].iter().map(|root| format!("    {}\n", root.display())).collect();
    assert!(stdout.starts_with("6 roots: 0 done, 2 failed, 4 not begun.\n"), "{stdout}");
    assert!(stdout.ends_with(&format!("  not begun:\n{not_begun}")), "{stdout}");
    assert_eq!(stderr.matches("400-01 rolled-back (143)").count(), 2, "{stderr}");
    for (root, before) in roots.iter().zip(&before) {
        let _ = fs::remove_file(root.join("begun"));
        assert_same(&everything(root), before);
    }
}

#[test]
fn scripts_run_for_every_root_with_that_root() {
    let stage = stage();
    let text = "#!/bin/sh\necho $PKG_INSTALL_ROOT >> $PKG_INSTALL_ROOT/said\n";
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").information("postinstall", text);
    Patch::of("400-01", package).directory(&stage);
    let roots = copies(&stage, 8);
    list(&stage, &roots);
    drop(as_ordinary_user(&stage, "list", &[&stage.beside("machines")]));
    let line = "add --scripts run --roots list --jobs 4 delivered/400-01";
    let run = run(as_ordinary_user(&stage, line, &[]));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    for root in &roots {
        assert_eq!(fs::read_to_string(root.join("said")).unwrap(), format!("{}\n", root.display()));
        assert_eq!(patches(root), "400-01");
    }
}

#[test]
fn who_waits_for_a_lock_names_its_root_and_holds_no_other_up() {
    let stage = stage();
    let roots = copies(&stage, 4);
    list(&stage, &roots);
    let lock = |number: usize| Lock::take(&Root::open(&roots[number]).unwrap(), "pkgadd", |_| false).unwrap();
    let (first, _second) = (lock(0), lock(1));
    let mut waiting = stage
        .command("add --wait 3 --roots list --jobs 1 delivered/100-01")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut stderr = BufReader::new(waiting.stderr.take().unwrap());
    stderr.read_line(&mut said).unwrap();
    let (pid, root) = (std::process::id(), roots[0].display());
    assert_eq!(said, format!("patchadm: {root}: waiting for process {pid} (pkgadd) to finish\n"));
    let done = |number: usize| patches(&roots[number]) == "100-01";
    assert!(done(2) && done(3) && !done(0), "it waits when all others are done");
    drop(first);
    let output = waiting.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(5));
    assert!(done(0) && !done(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("4 roots: 3 done, 1 failed.\n  1 × failed (6): locked by another"), "{stdout}");
}

#[test]
fn memory_and_open_files_do_not_grow_with_the_number_of_roots() {
    let stage = stage();
    let package = Package::new("ACMEweb").file("bin/httpd", 0o755, vec![b'x'; 1 << 20]);
    Patch::of("500-01", package).directory(&stage);
    let roots = copies(&stage, sample_or_whole(60, 300));
    list(&stage, &roots);
    let program = stage.command("add --roots list --jobs 4 delivered/500-01");
    let mut limited = Command::new("sh");
    // Enough for four concurrent runs with some descriptors each, but not for roots that are done or to come.
    limited
        .args(["-c", "ulimit -n 96 && exec \"$0\" \"$@\""])
        .arg(program.get_program())
        .args(program.get_args());
    limited.current_dir(stage.beside("")).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = limited.spawn().unwrap();
    let mut most = 0;
    while child.try_wait().unwrap().is_none() {
        most = most.max(resident_peak(child.id()).unwrap_or(0));
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(most > 0 && most < 96 << 20, "{most} bytes resident");
    figures("many-roots", &[("roots at once", roots.len() as u64), ("KiB resident", most >> 10)]);
}

#[test]
fn questions_are_answered_in_the_order_of_the_roots_with_one_summary() {
    let stage = stage();
    let roots = copies(&stage, 5);
    let [first, both, bare, gone, other] = [0, 1, 2, 3, 4].map(|number| roots[number].display().to_string());
    for root in &roots[..2] {
        stage.run(&format!("patchadd -R {} delivered/100-01", root.display())).ok();
    }
    stage.run(&format!("patchadd -R {} delivered/200-01", roots[1].display())).ok();
    fs::remove_dir_all(&roots[3]).unwrap();
    list(&stage, &[4, 1, 3, 0, 2].map(|number: usize| roots[number].clone()));
    let from = |text: &str| {
        let lines = text.lines().filter_map(|line| line.split_once(": ")).map(|(root, _)| root.to_owned());
        lines.filter(|root| root.starts_with('/')).collect::<Vec<_>>()
    };

    let asked = stage.run("list --roots list --jobs 4");
    assert_eq!(asked.code, 5, "{}", asked.stdout);
    assert_eq!(from(&asked.stdout), [other.as_str(), &both, &first, &bare]);
    assert!(asked.stdout.contains(&format!("{both}: 2 patches\n  100-01  effective ")), "{}", asked.stdout);
    assert!(asked.stdout.contains(&format!("{bare}: No patches are applied.\n")), "{}", asked.stdout);
    assert!(asked.stdout.contains("5 roots: 4 answered, 1 failed.\n"), "{}", asked.stdout);
    assert!(asked.stderr.contains(&format!("error: {gone}: failed (1): ")), "{}", asked.stderr);

    let lacking = stage.run("list --missing 200-01 --roots list");
    assert!(lacking.stdout.contains(&format!("{both}: has 200-01\n")), "{}", lacking.stdout);
    let summary = format!("  200-01 is missing: {other}, {first}, {bare}\n");
    assert!(lacking.stdout.ends_with(&summary), "{}", lacking.stdout);
    assert_eq!(lacking.code, 5, "a root that failed comes first");
    let found = stage.run(&format!("list --missing 200-01 -R {first} -R {both}"));
    assert_eq!(found.code, 4, "{}", found.stderr);
    let quiet = stage.run("list -q --missing 200-01 --roots list");
    assert_eq!(quiet.stdout, "");
    assert!(quiet.stderr.starts_with(&format!("patchadm: error: {gone}: ")), "{}", quiet.stderr);

    let shown = stage.run("show 100-01 --roots list");
    assert_eq!(shown.code, 5, "{}", shown.stderr);
    let why = "cannot be removed: applied patch 200-01 requires 100-01";
    assert!(shown.stdout.contains(&format!("{both}: 100-01 effective, {why}\n")), "{}", shown.stdout);
    assert!(
        shown.stdout.contains(&format!(
            "{first}: 100-01 effective, can probably be removed; `check --contents` verifies it\n"
        )),
        "{}",
        shown.stdout
    );
    let lack = format!("  2 × failed (4): patch 100-01 is not applied: {other}, {bare}\n");
    assert!(shown.stdout.contains(&lack), "{}", shown.stdout);
    assert!(shown.stdout.ends_with(&format!("  100-01 cannot be removed: {both}\n")), "{}", shown.stdout);

    fs::remove_dir_all(roots[0].join("var/sadm/pkg/ACMEweb/save/100-01")).unwrap();
    let verified = stage.run("check --contents --json --roots list");
    let document: Value = serde_json::from_str(&verified.stdout).unwrap();
    let codes: Vec<u64> = (0..5).map(|at| document["roots"][at]["exit_code"].as_u64().unwrap()).collect();
    assert_eq!(codes, [0, 0, 1, 4, 0]);
    assert_eq!((verified.code, &document["changed"]), (5, &false.into()));
    assert_eq!(document["summary"]["failed"], 2);
    let stuck = serde_json::json!([{ "id": "100-01", "roots": [both, first] }]);
    assert_eq!(document["summary"]["not_removable"], stuck);
    let text = stage.run("check --contents --roots list");
    assert!(text.stdout.starts_with(&format!("{other}: 6 objects match their records\n{both}: 6 ")));
    let damaged = format!(
        "{first}: failed (4): 6 objects match their records; findings: undo-data\n  \
         undo-data: undo data of 1 patch is damaged or missing\n    100-01: "
    );
    assert!(
        text.stdout.contains(&damaged),
        "what is wrong with a root stands below its name: {}",
        text.stdout
    );
    assert!(text.stdout.contains(" is lost\n"), "{}", text.stdout);
    assert_eq!(text.stderr.lines().count(), 1, "only what could not be asked: {}", text.stderr);
    let quiet = stage.run("check --contents -q --roots list");
    assert_eq!(quiet.stdout, "");
    assert!(quiet.stderr.contains(&format!("error: {first}: failed (4): ")), "{}", quiet.stderr);
    assert!(quiet.stderr.contains(" is lost\n"), "{}", quiet.stderr);
}

#[test]
fn a_directory_stands_for_the_roots_in_it() {
    let stage = stage();
    let roots = copies(&stage, 3);
    let machines = stage.beside("machines");
    fs::create_dir(machines.join("lost+found")).unwrap();
    fs::write(machines.join("notes"), "").unwrap();
    symlink(&roots[0], machines.join("current")).unwrap();
    let named = |text: &str| text.lines().filter(|line| line.starts_with('/')).count();
    let text = stage.run("list --roots machines").ok();
    assert!(text.starts_with(&format!("{}: No patches", roots[0].display())), "{text}");
    assert!(text.ends_with("3 roots: 3 answered.\n"), "{text}");
    let one = stage.run("list --roots machines/001").ok();
    assert_eq!(named(&one), 1, "a root is that root: {one}");
    assert!(stage.run("add --roots machines delivered/100-01").ok().ends_with("3 roots: 3 done.\n"));
    for line in ["list --roots delivered", "add --roots delivered delivered/100-01"] {
        let said = stage.run(line).fails(2);
        assert!(said.contains("neither delivered nor a directory in it is a root"), "{line}: {said}");
    }
}

#[test]
fn plan_and_add_say_the_same_of_several_roots_with_the_advice_below_each_reason() {
    let stage = stage();
    let roots = copies(&stage, 4);
    list(&stage, &roots);
    fs::write(roots[1].join("opt/ACMEweb/lib/web"), "mine\n").unwrap();
    assert_eq!(stage.run(&format!("patchadd -R {} delivered/100-01", roots[1].display())).code, 0);
    fs::remove_dir_all(roots[2].join("var/sadm")).unwrap();
    if is_root() {
        lchown(roots[3].join("var/sadm"), Some(54_321), Some(54_321)).unwrap();
    }
    let [plan, add] = ["plan", "add"].map(|verb| stage.run(&format!("{verb} --roots list delivered/200-01")));
    assert_eq!(plan.code, add.code);
    assert_eq!(sorted(&plan.stderr), sorted(&add.stderr));
    let reasons = |run: &Run| run.stdout.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(reasons(&plan), reasons(&add));
    assert!(!add.stdout.contains(".:"), "a reason ends before the roots begin: {}", add.stdout);
    for root in &roots {
        let shown = root.display();
        let alone = stage.run(&format!("add -R {shown} delivered/200-01"));
        let advice = alone.stderr.lines().last().unwrap();
        assert!(advice.starts_with("hint: "), "{}", alone.stderr);
        for several in [&plan.stderr, &add.stderr] {
            let mut lines = several.lines();
            let begin = format!("patchadm: error: {shown}: ");
            let reason = lines.find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("{several}"));
            assert_eq!(lines.next(), Some(advice), "{reason}");
            assert!(!reason.contains(advice.trim()), "{reason}");
        }
    }
}

#[test]
fn a_root_that_its_owner_changes_has_the_same_advice_among_others_as_alone() {
    if !is_root() {
        return crate::skipped("a_root_that_its_owner_changes…: only root can become another user");
    }
    let stage = stage();
    let roots = copies(&stage, 3);
    list(&stage, &roots);
    fs::write(roots[0].join("opt/ACMEweb/lib/web"), "mine\n").unwrap();
    assert_eq!(stage.run(&format!("patchadd -R {} delivered/100-01", roots[0].display())).code, 0);
    fs::remove_dir_all(roots[1].join("var/sadm")).unwrap();
    fs::set_permissions(stage.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    let owner = format!("{NOBODY}:{NOBODY}");
    let given = Command::new("chown").args(["-R", &owner]).args(&roots).status().unwrap();
    assert!(given.success());
    for verb in ["plan", "add"] {
        let several = stage.run(&format!("{verb} --as-owner --roots list delivered/200-01"));
        for root in &roots {
            let shown = root.display();
            let alone = stage.run(&format!("{verb} --as-owner -R {shown} delivered/200-01"));
            let advice = alone.stderr.lines().last().unwrap();
            assert!(advice.starts_with("hint: ") && advice.len() > 20, "{}", alone.stderr);
            let mut lines = several.stderr.lines();
            let begin = format!("patchadm: error: {shown}: ");
            let reason = lines.find(|line| line.starts_with(&begin)).unwrap_or_else(|| panic!("{several:?}"));
            assert_eq!(lines.next(), Some(advice), "{reason}");
        }
    }
}

#[test]
fn show_describes_a_patch_of_the_depot_on_roots_without_it() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "signature=off\n");
    let roots = copies(&stage, 2);
    list(&stage, &roots);
    stage.run("depot index delivered").ok();
    stage.run(&format!("add -R {} delivered/100-01", roots[0].display())).ok();
    let [with, without] = [&roots[0], &roots[1]].map(|root| root.display().to_string());
    let shown = stage.run("show 100-01 --files --roots list -M delivered").ok();
    assert!(shown.contains(&format!("{with}: 100-01 effective, ")), "{shown}");
    assert!(shown.contains(&format!("{without}: 100-01 not applied, delivered\n")), "{shown}");
    assert!(shown.contains("State: delivered\n"), "{shown}");
    for root in [&with, &without] {
        assert!(shown.contains(&format!("replaced   {root}/opt/ACMEweb/bin/httpd")), "{root}: {shown}");
    }
    let said = stage.run("show 900-01 --roots list -M delivered");
    assert_eq!(said.code, 4, "{}", said.stderr);
    assert!(
        said.stderr.contains("patch 900-01 is not applied, and delivered does not have it"),
        "{}",
        said.stderr
    );
}
