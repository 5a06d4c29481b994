//! Working directories with a pool of small results.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use patchadm_bulk_values::journal::{BuildState, FailureCause, JournalLine, PackageOutcome, RunStart};
use patchadm_bulk_values::result::{Blake3Digest, BuildResult, KeyInput, KeyInputs, NewResult, ResultFile};

use super::*;
use crate::pool::use_pool;
use crate::set::{SetInput, SetPackage, make_set, release};
use crate::task::place::TaskPlace;
use crate::work::{NewWork, make_work};

/// Working directories that share a pool.
struct Bulk {
    dir: tempfile::TempDir,
}

impl Bulk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("base")).unwrap();
        Self { dir }
    }

    fn work(&self, name: &str, lines: &str) -> BulkWork {
        let path = self.dir.path().join(name);
        let base = self.dir.path().join("base");
        make_work(&NewWork { path: &path, tree: "/nowhere", base: base.to_str(), driver: &[] }).unwrap();
        let conf = fs::read_to_string(path.join("bulk.conf")).unwrap();
        let pool = self.dir.path().join("pool");
        fs::write(path.join("bulk.conf"), format!("{conf}pool={}\n{lines}\n", pool.display())).unwrap();
        let work = BulkWork::open(&path).unwrap();
        use_pool(&work).unwrap();
        work
    }

    /// Returns the path of the result of a version in the pool.
    fn entry(&self, version: u64) -> PathBuf {
        let key = key(version);
        self.dir.path().join("pool").join(key.prefix()).join(key.to_string())
    }

    fn versions(&self) -> Vec<u64> {
        (1..10).filter(|version| self.entry(*version).exists()).collect()
    }

    /// Adds a result of the package `a` to the pool.
    fn build(&self, work: &BulkWork, run: u64, version: u64) {
        let mut result = BuildResult::new(NewResult {
            pkgname: format!("a-{version}"),
            location: "x/a".to_owned(),
            inputs: inputs(version),
            slot: "local".to_owned(),
            work: work.id.clone(),
            run,
            built: "2026-11-20T12:00:00Z".to_owned(),
        });
        let bytes = vec![b'a'; 20_000];
        let b3 = Blake3Digest::of(&bytes);
        result.files.push(ResultFile { file: "a.tgz".to_owned(), size: bytes.len() as u64, b3 });
        fs::create_dir_all(self.entry(version)).unwrap();
        fs::write(self.entry(version).join("a.tgz"), bytes).unwrap();
        fs::write(self.entry(version).join("result.json"), result.to_bytes().unwrap()).unwrap();
    }

    /// Carries out a run that builds one version; it ends if it gets a set.
    fn run(&self, work: &BulkWork, run: u64, version: u64, has_set: bool) {
        self.build(work, run, version);
        let package = format!("a-{version}");
        let outcome = PackageOutcome { key: Some(key(version)), ..PackageOutcome::of(BuildState::Done) };
        let line = JournalLine::Outcome { package: package.clone(), outcome: Box::new(outcome) };
        let mut lines = vec![start(run), line];
        if has_set {
            let FoundResult::Result(entry) =
                Pool::open(&work.conf.pool).unwrap().find(&key(version)).unwrap()
            else {
                panic!("it is there")
            };
            let packages = [SetPackage {
                package: &package,
                location: "x/a",
                state: BuildState::Done,
                entry: Some(*entry),
                is_restricted: false,
            }];
            let date = "2026-11-20T12:00:00Z";
            make_set(work, &SetInput { run, date, packages: &packages, interrupt: &|| None })
                .unwrap()
                .unwrap();
            lines.push(JournalLine::Set(run));
            lines.push(JournalLine::End { end: date.to_owned(), counts: BTreeMap::new() });
        }
        journal(work, run, &lines);
    }
}

fn inputs(version: u64) -> KeyInputs {
    let mut inputs = KeyInputs::new();
    inputs.set_value(KeyInput::Record("VERSION"), &version.to_string());
    inputs
}

fn key(version: u64) -> ResultKey {
    inputs(version).key()
}

fn start(run: u64) -> JournalLine {
    let conf = Blake3Digest::of(b"");
    JournalLine::Start(RunStart { run, conf, began: "2026-11-20T11:00:00Z".to_owned(), operands: Vec::new() })
}

fn journal(work: &BulkWork, run: u64, lines: &[JournalLine]) {
    let dir = work.path.join(format!("runs/{run}"));
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("journal"), lines.iter().flat_map(JournalLine::to_bytes).collect::<Vec<u8>>())
        .unwrap();
}

fn pruned(work: &BulkWork, keep: u32, is_dry: bool) -> PruneReport {
    prune(work, &mut PruneRequest { keep: Some(keep), is_dry, wait: &mut |_| false }).unwrap()
}

fn names(path: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_no_set_and_no_kept_run_names_goes_and_is_told_before() {
    let bulk = Bulk::new();
    let work = bulk.work("work", "");
    for run in 1..=5 {
        bulk.run(&work, run, run, true);
    }
    release(&work, 2, false, &|| None).unwrap();
    fs::create_dir(work.conf.pool.join("bad-x.1")).unwrap();
    let report = pruned(&work, 2, true);
    assert_eq!((&*report.runs, &*report.sets), (&[1, 2, 3][..], &[1, 3][..]));
    let mut expected = vec!["bad-x.1".to_owned(), key(1).to_string(), key(3).to_string()];
    expected.sort();
    let mut results = report.results.clone();
    results.sort();
    assert_eq!(results, expected);
    // Each file of a result counts once, although its set has another name for it.
    assert!((40_000..150_000).contains(&report.bytes), "{}", report.bytes);
    assert_eq!(bulk.versions(), [1, 2, 3, 4, 5], "nothing has gone yet");

    assert_eq!(pruned(&work, 2, false), report);
    assert_eq!(bulk.versions(), [2, 4, 5]);
    assert_eq!(names(&work.path.join("runs")), ["4", "5"]);
    assert_eq!(names(&work.path.join("sets")), ["2", "4", "5", "current", "released"]);
    assert!(!work.conf.pool.join(key(1).prefix()).exists() || key(1).prefix() == key(2).prefix());
    assert_eq!(pruned(&work, 2, false), PruneReport::default(), "nothing is left to go");
}

#[test]
fn what_another_one_needs_stays_and_all_stays_if_it_cannot_be_asked() {
    let bulk = Bulk::new();
    let (work, other) = (bulk.work("work", ""), bulk.work("other", ""));
    for run in 1..=3 {
        bulk.run(&work, run, run, true);
    }
    bulk.run(&other, 1, 1, true);
    fs::rename(&other.path, bulk.dir.path().join("away")).unwrap();
    let report = pruned(&work, 1, false);
    assert_eq!((&*report.runs, report.results.len()), (&[1, 2][..], 0));
    assert!(
        report.notes[0].starts_with("nothing is removed from the pool: ")
            && report.notes[0].contains("other")
    );
    assert_eq!(bulk.versions(), [1, 2, 3]);
    fs::rename(bulk.dir.path().join("away"), &other.path).unwrap();
    assert_eq!(pruned(&work, 1, false).results, [key(2).to_string()]);
    assert_eq!(bulk.versions(), [1, 3]);
}

#[test]
fn nothing_goes_while_a_run_uses_the_pool() {
    let bulk = Bulk::new();
    let (work, other) = (bulk.work("work", ""), bulk.work("other", ""));
    bulk.run(&work, 1, 1, false);
    let used = use_pool(&other).unwrap();
    let mut calls = 0;
    let mut wait = |_: &LockHolder| {
        calls += 1;
        calls < 3
    };
    let mut request = PruneRequest { keep: None, is_dry: false, wait: &mut wait };
    assert!(matches!(prune(&work, &mut request), Err(PruneError::Lock(LockError::Held { .. }))));
    assert_eq!(calls, 3);
    drop(used);
}

#[test]
fn what_a_run_built_that_is_to_be_continued_stays_though_its_journal_lacks_it() {
    let bulk = Bulk::new();
    let work = bulk.work("work", "");
    bulk.run(&work, 1, 1, true);
    journal(&work, 2, &[start(2)]);
    bulk.build(&work, 2, 2);
    bulk.build(&work, 1, 3);
    assert_eq!(pruned(&work, 1, false).results, [key(3).to_string()]);
    assert_eq!(bulk.versions(), [1, 2]);
}

#[test]
fn a_run_stays_for_the_log_of_a_failure_that_is_remembered() {
    let bulk = Bulk::new();
    let work = bulk.work("work", "");
    for run in 1..=3 {
        bulk.run(&work, run, run, true);
    }
    let failed = PackageOutcome {
        cause: Some(FailureCause::Exit),
        run: Some(1),
        ..PackageOutcome::of(BuildState::Failed)
    };
    let line = JournalLine::Outcome { package: "b-1".to_owned(), outcome: Box::new(failed) };
    journal(&work, 4, &[start(4), line]);
    let report = pruned(&work, 1, false);
    assert_eq!((&*report.runs, &*report.sets), (&[2, 3][..], &[1, 2][..]));
    assert_eq!(bulk.versions(), [3], "the current set has it");
}

#[test]
fn installed_lists_go_beyond_their_limit_the_oldest_first_and_none_while_a_task_lives() {
    let bulk = Bulk::new();
    let work = bulk.work("work", "installed_limit=30K");
    let installed = work.path.join("build/installed");
    for (name, is_whole) in [("one", true), ("two", true), ("half.new", false)] {
        fs::create_dir_all(installed.join(name).join("layer")).unwrap();
        fs::write(installed.join(name).join("layer/file"), vec![b'x'; 20_000]).unwrap();
        if is_whole {
            fs::write(installed.join(name).join("complete"), "").unwrap();
        }
    }
    let old = fs::File::open(installed.join("one/complete")).unwrap();
    old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
    let task = TaskPlace::make(&work.conf.build_dir, &work.id).unwrap();
    let report = pruned(&work, 1, false);
    assert!(report.installed.is_empty() && report.notes[0].contains("tasks run there"), "{report:?}");
    task.remove().unwrap();
    assert_eq!(pruned(&work, 1, false).installed, ["half.new", "one"]);
    assert_eq!(names(&installed), ["two"]);
}

#[test]
fn of_the_copies_of_a_base_the_one_that_was_used_last_stays_while_the_base_is_a_directory() {
    let bulk = Bulk::new();
    let work = bulk.work("work", "");
    let build = work.path.join("build");
    for name in ["copy-1", "copy-2", "copy-3.new"] {
        fs::create_dir_all(build.join("bases").join(name).join("usr")).unwrap();
    }
    // Layers that earlier versions left open to everybody are no longer used.
    for name in ["base-0", "copy-0"] {
        fs::create_dir_all(build.join(name).join("usr")).unwrap();
    }
    fs::write(build.join("base.copy"), "copy-1").unwrap();
    assert_eq!(pruned(&work, 1, false).installed, ["base-0", "copy-0", "copy-2", "copy-3.new"]);
    assert!(!build.join("base-0").exists() && !build.join("copy-0").exists());
    let build = build.join("bases");
    assert!(build.join("copy-1/usr").exists() && !build.join("copy-2").exists());
    let conf = fs::read_to_string(work.path.join("bulk.conf")).unwrap();
    let directory = format!("\nbase={}\n", bulk.dir.path().join("base").display());
    assert!(conf.contains(&directory), "{conf}");
    fs::write(work.path.join("bulk.conf"), conf.replace(&directory, "\nbase=host\n")).unwrap();
    let work = BulkWork::open(&work.path).unwrap();
    assert_eq!(pruned(&work, 1, false).installed, ["copy-1"]);
    assert!(!build.join("copy-1").exists());
}
