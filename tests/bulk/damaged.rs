//! Damage in the directory of a build: the run reports it and makes the damaged part again, or names it and does not
//! begin.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{BulkBuild, BulkRun, assert_same_results};
use crate::scenario::is_root;

/// A build of one package that needs another one, and of one that nobody needs.
fn with_needs(test: &str) -> Option<BulkBuild> {
    let build = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\ncheck=none\n")?;
    for (name, needs) in [("needed", ""), ("user", "needed-[0-9]*"), ("alone", "")] {
        let script = "mkdir $DESTDIR/opt; cat $TREE/$PKG_LOCATION/record /opt/* > $DESTDIR/opt/$PKGNAME 2>/dev/null || :\n";
        build.recipe(name, &format!("ALL_DEPENDS={needs}\n"), script);
    }
    Some(build)
}

/// The directory of the result of a package.
fn result(build: &BulkBuild, run: &BulkRun, package: &str) -> PathBuf {
    build.result(run.package(package)["key"].as_str().unwrap())
}

fn copy(from: &Path, to: &Path) {
    assert!(Command::new("cp").arg("-a").args([from, to]).status().unwrap().success());
}

/// The expected message, and the damage to a result.
type Damage<'a> = (&'a str, Box<dyn Fn() + 'a>);

#[test]
fn a_result_that_is_not_what_its_key_says_is_told_set_aside_and_built_again() {
    let Some(build) = with_needs("a_result_that_is_not…") else { return };
    let first = build.run("").ends(0);
    let results = build.results(&first);
    let place = result(&build, &first, "needed-1.0");
    let other = result(&build, &first, "alone-1.0");
    let damages: [Damage<'_>; 5] = [
        (
            "it is the result of another key",
            Box::new(|| {
                fs::remove_dir_all(&place).unwrap();
                copy(&other, &place);
            }),
        ),
        (
            "needed.pkg does not exist, or has another size",
            Box::new(|| fs::write(place.join("needed.pkg"), "cut").unwrap()),
        ),
        (
            "needed.pkg does not exist, or has another size",
            Box::new(|| fs::remove_file(place.join("needed.pkg")).unwrap()),
        ),
        ("it has no result.json", Box::new(|| fs::remove_file(place.join("result.json")).unwrap())),
        (
            "it is not a directory",
            Box::new(|| {
                fs::remove_dir_all(&place).unwrap();
                fs::write(&place, "").unwrap();
            }),
        ),
    ];
    for (number, (why, damage)) in (1..).zip(&damages) {
        damage();
        let again = build.run("").ends(0);
        assert_eq!(
            (again.in_state("done"), again.in_state("up-to-date")),
            (vec!["needed".to_owned()], vec!["alone".to_owned(), "user".to_owned()])
        );
        let notes = again.report["notes"].to_string();
        assert!(notes.contains(why) && notes.contains("it is set aside and built again"), "{why}: {notes}");
        let aside = place.file_name().unwrap().to_str().unwrap();
        assert!(build.work().join(format!("pool/bad-{aside}.{number}")).exists(), "{why}");
        assert_same_results(&build.results(&again), &results);
    }
}

#[test]
fn what_a_killed_check_has_left_in_a_result_goes_with_the_next_one() {
    let Some(build) = with_needs("what_a_killed_check…") else { return };
    let first = build.run("").ends(0);
    let left = result(&build, &first, "alone-1.0").join(".bulk-0123456789abcdef");
    fs::write(&left, "{\"result\":").unwrap();
    let conf = build.work().join("bulk.conf");
    let text = fs::read_to_string(&conf).unwrap();
    fs::write(&conf, text.replace("check=none", "check=install")).unwrap();
    let checked = build.run("").ends(0);
    assert_same_results(&build.results(&checked), &build.results(&first));
    assert!(!left.exists());
}

/// The directories of installed sets, with and without the mark of completion.
fn installed(build: &BulkBuild) -> (Vec<PathBuf>, Vec<PathBuf>) {
    let entries = fs::read_dir(build.work().join("build/installed")).unwrap();
    let directories = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    directories.partition(|path| path.join("complete").exists())
}

#[test]
fn an_installed_set_that_is_damaged_or_half_made_is_made_again() {
    let Some(build) = with_needs("an_installed_set…") else { return };
    let results = build.results(&build.run("").ends(0));
    let ([set], []) = (&installed(&build).0[..], &installed(&build).1[..]) else { panic!("one set") };
    let again = || {
        let run = build.run("--rebuild user").ends(0);
        assert_eq!(run.in_state("done"), ["user"]);
        assert_eq!(run.report["not_reproducible"], serde_json::json!([]));
        assert_same_results(&build.results(&run), &results);
    };
    // An undamaged set is reused.
    let made = fs::metadata(set.join("complete")).unwrap();
    again();
    assert_eq!(fs::metadata(set.join("complete")).unwrap().modified().unwrap(), made.modified().unwrap());
    // Other content of the same size is not detected: only the owner can write there, and a power cut does not cause
    // it.
    for damage in ["cut", "gone", "half made"] {
        let file = set.join("layer/opt/needed-1.0");
        match damage {
            "cut" => fs::write(&file, "").unwrap(),
            "gone" => fs::remove_file(&file).unwrap(),
            _ => {
                fs::rename(set, set.with_extension("new")).unwrap();
                fs::write(set.with_extension("new").join("layer/opt/junk"), "junk\n").unwrap();
            }
        }
        again();
        assert!(fs::read_to_string(&file).unwrap().starts_with("PKGNAME=needed"), "{damage}");
        assert!(!set.join("layer/opt/junk").exists());
        assert_eq!(installed(&build).0, std::slice::from_ref(set));
    }
    assert_eq!(installed(&build).1.len(), 2, "what was damaged is out of the way");
    build.action("prune @WORK@").ok();
    assert_eq!(installed(&build).1, Vec::<PathBuf>::new());
}

#[test]
fn a_damaged_journal_or_set_is_named_and_a_new_run_goes_on_after_the_journal() {
    let Some(build) = with_needs("a_damaged_journal…") else { return };
    let first = build.run("").ends(0);
    let journal = build.work().join("runs/1/journal");
    let whole = fs::read_to_string(&journal).unwrap();
    let mut lines: Vec<&str> = whole.lines().collect();
    lines[2] = "{\"package\":";
    fs::write(&journal, format!("{}\n", lines.join("\n"))).unwrap();
    let said = build.run("").ends(1).said;
    assert!(said.contains("runs/1/journal") && said.contains("line 3") && said.contains("--new"), "{said}");
    assert!(!build.work().join("runs/2").exists(), "nothing was begun");
    let second = build.run("--new").ends(0);
    assert_eq!(second.report["run"], 2);
    assert_eq!(second.in_state("done"), Vec::<String>::new());
    assert_same_results(&build.results(&second), &build.results(&first));
    // A torn last line is the trace of a power cut, not damage.
    let journal = build.work().join("runs/2/journal");
    let whole = fs::read_to_string(&journal).unwrap();
    let last = whole.trim_end().rfind('\n').unwrap() + 10;
    fs::write(&journal, &whole[..last]).unwrap();
    let continued = build.run("--new").ends(0);
    assert_eq!(continued.report["run"], 3);

    let manifest = build.work().join("sets/3/MANIFEST");
    fs::write(&manifest, "# patchadm manifest 1\n# set 3\n").unwrap();
    let said = build.run("").ends(1).said;
    assert!(said.contains("sets/3/MANIFEST") && said.contains("remove them"), "{said}");
    fs::remove_file(build.work().join("sets/current")).unwrap();
    let fourth = build.run("").ends(0);
    assert_eq!((&fourth.report["run"], &fourth.report["set"]["packages"]), (&4.into(), &3.into()));
}

#[test]
fn what_a_run_has_written_and_nobody_would_read_ends_no_later_run() {
    let Some(build) = with_needs("what_a_run_has_written…") else { return };
    build.run("").ends(0);
    // Larger than all limits, without using the disk.
    for file in ["runs/1/journal", "runs/1/report.json", "scan/cache", "verified", "history"] {
        let file = fs::OpenOptions::new().append(true).create(true).open(build.work().join(file)).unwrap();
        file.set_len(1 << 31).unwrap();
    }
    let run = build.run("").ends(0);
    let notes = run.report["notes"].to_string();
    assert!(notes.contains("run 1 is not known, and a new one begins"), "{notes}");
    assert!(notes.contains("everything is scanned again"), "{notes}");
    assert_eq!(run.report["run"], 2);
    assert_eq!(
        run.states().iter().filter(|state| state.ends_with(" up-to-date")).count(),
        run.packages().len()
    );
    let again = build.run("").ends(0);
    assert!(!again.report["notes"].to_string().contains("is larger than"), "{}", again.report["notes"]);
    assert_eq!(again.report["run"], 3);
    build.action("release @WORK@ 3").ok();
}
