//! The files of pbulk that a run writes, read by a reader that only knows the format in bulk-records(5).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::BulkBuild;
use crate::scenario::is_root;

/// A record: its fields in their order.
pub(super) type Fields = Vec<(String, String)>;

/// Reads records: lines `NAME=VALUE`, where `PKGNAME` begins a record. The whole text must have this form.
fn read_records(text: &str) -> Vec<Fields> {
    let mut records: Vec<Fields> = Vec::new();
    assert!(text.is_empty() || text.ends_with('\n'), "the last line is not ended");
    for line in text.lines() {
        let (name, value) = line.split_once('=').unwrap_or_else(|| panic!("{line} is no field"));
        let is_letter =
            |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
        assert!(!name.is_empty() && name.chars().all(is_letter), "{line} has no name of a field");
        if name == "PKGNAME" {
            records.push(Vec::new());
        }
        let record = records.last_mut().unwrap_or_else(|| panic!("{line} stands before PKGNAME"));
        assert!(record.iter().all(|(known, _)| known != name), "{line}: a second one");
        record.push((name.to_owned(), value.to_owned()));
    }
    records
}

pub(super) fn field<'a>(record: &'a Fields, name: &str) -> &'a str {
    record.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

pub(super) fn words(text: &str) -> Vec<&str> {
    text.split_ascii_whitespace().collect()
}

/// The files of a run, by package.
pub(super) struct RunFiles {
    presolve: Vec<Fields>,
    report: Vec<Fields>,
    /// State, restricted or not, and depth of each package.
    pub(super) pbuild: BTreeMap<String, [String; 3]>,
    texts: BTreeMap<&'static str, String>,
}

pub(super) fn read_run(directory: &Path) -> RunFiles {
    let names = ["pscan", "presolve", "report", "pbuild", "success", "error", "status"];
    let texts: BTreeMap<&str, String> =
        names.map(|name| (name, fs::read_to_string(directory.join(name)).unwrap())).into();
    let presolve = read_records(&texts["presolve"]);
    let pbuild = texts["pbuild"].lines().map(|line| {
        let parts: Vec<&str> = line.split('|').collect();
        let [package, rest @ ..] = &parts[..] else { panic!("{line}") };
        let rest: [&str; 3] = rest.try_into().unwrap_or_else(|_| panic!("{line} has not four fields"));
        ((*package).to_owned(), rest.map(str::to_owned))
    });
    let report = read_records(&texts["report"]);
    let pbuild = pbuild.collect();
    // Before resolution, the records are the same, except for the resolved dependencies.
    let mut unresolved = presolve.clone();
    unresolved.iter_mut().for_each(|record| record.retain(|(name, _)| name != "DEPENDS"));
    assert_eq!(read_records(&texts["pscan"]), unresolved);
    RunFiles { presolve, report, pbuild, texts }
}

impl RunFiles {
    /// Asserts that the three files agree.
    pub(super) fn assert_consistent(&self) {
        let names: Vec<&str> = self.presolve.iter().map(|record| field(record, "PKGNAME")).collect();
        assert!(names.is_sorted(), "{names:?}");
        assert_eq!(self.report.iter().map(|record| field(record, "PKGNAME")).collect::<Vec<_>>(), names);
        assert_eq!(self.pbuild.keys().map(String::as_str).collect::<Vec<_>>(), names);
        for record in &self.presolve {
            // As pbulk-resolve and pbulk-build require.
            let name = field(record, "PKGNAME");
            for always in ["ALL_DEPENDS", "PKG_SKIP_REASON", "PKG_FAIL_REASON"] {
                assert!(record.iter().any(|(known, _)| known == always), "{name} has no {always}");
            }
            for entry in words(field(record, "ALL_DEPENDS")) {
                let (_, location) = entry.split_once(":../../").unwrap_or_else(|| panic!("{name}: {entry}"));
                assert!(!location.starts_with('.'), "{name}: {entry}");
            }
            let reasons = ["PKG_SKIP_REASON", "PKG_FAIL_REASON"].map(|reason| field(record, reason));
            assert_eq!(reasons != ["", ""], self.pbuild[name][0] == "prefailed", "{name}: {reasons:?}");
        }
        for (record, told) in self.presolve.iter().zip(&self.report) {
            let (own, more) = told.split_at(record.len());
            assert_eq!(own, &record[..]);
            let more: Vec<&str> = more.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(more, ["PKG_DEPTH", "RESTRICTED_SUBSET", "BUILD_STATUS"]);
            assert_eq!((&*record[0].0, &*record[1].0), ("PKGNAME", "PKG_LOCATION"));
            let depends_at = record.iter().position(|(name, _)| name == "DEPENDS");
            assert!(depends_at.is_none_or(|at| at + 1 == record.len()), "{record:?}");
            let [state, restricted, depth] = &self.pbuild[field(record, "PKGNAME")];
            let word = if restricted == "restricted" { "yes" } else { "no" };
            assert!(restricted.is_empty() || word == "yes", "{restricted}");
            assert_eq!(field(told, "BUILD_STATUS"), state);
            assert_eq!(field(told, "RESTRICTED_SUBSET"), word);
            assert_eq!(field(told, "PKG_DEPTH"), depth);
            assert_eq!(*depth, self.depth(field(record, "PKGNAME")).to_string(), "{record:?}");
        }
    }

    /// The number of packages that need a package, including itself, according to `DEPENDS`.
    fn depth(&self, package: &str) -> usize {
        let mut with_needs = BTreeSet::from([package]);
        loop {
            let more = self.presolve.iter().filter(|record| {
                words(field(record, "DEPENDS")).iter().any(|needed| with_needs.contains(needed))
            });
            let more: Vec<&str> = more.map(|record| field(record, "PKGNAME")).collect();
            let before = with_needs.len();
            with_needs.extend(more);
            if with_needs.len() == before {
                return before;
            }
        }
    }

    fn states(&self) -> BTreeMap<&str, &str> {
        self.pbuild.iter().map(|(package, [state, _, _])| (&**package, &**state)).collect()
    }

    pub(super) fn record(&self, package: &str) -> &Fields {
        self.presolve.iter().find(|record| field(record, "PKGNAME") == package).unwrap()
    }
}

#[test]
fn a_reader_written_from_the_manual_reads_what_a_run_tells_in_the_form_of_pbulk() {
    let test = "a_reader_written_from_the_manual…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\n") else { return };
    let builds = "mkdir -p \"$DESTDIR/opt\"\necho \"$PKGNAME\" >\"$DESTDIR/opt/$PKGNAME\"\n";
    build.recipe("base", "MAINTAINER=a@example.org\nUNKNOWN_FIELD=a = b\n", builds);
    build.recipe("uses", "ALL_DEPENDS=base>=1.0:base {other,base}-[0-9]*\n", builds);
    build.recipe("secret", "RESTRICTED=no copies\nALL_DEPENDS=base-[0-9]*\n", builds);
    build.recipe("open", "ALL_DEPENDS=secret-[0-9]*:../secret uses-1.*\n", builds);
    build.recipe("broken", "", "exit 3\n");
    build.recipe("waits", "ALL_DEPENDS=broken-[0-9]* base-[0-9]*\n", builds);
    build.recipe("skipped", "PKG_SKIP_REASON=not here\n", builds);
    build.recipe("waits-too", "ALL_DEPENDS=skipped-[0-9]*\n", builds);
    build.recipe("lost", "ALL_DEPENDS=nobody>=3\n", builds);
    build.write("dir/wrong/scan", "echo gone >&2; exit 2\n");
    build.run("").ends(5);

    let files = read_run(&build.work().join("runs/1"));
    files.assert_consistent();
    let expected = BTreeMap::from([
        ("base-1.0", "done"),
        ("uses-1.0", "done"),
        ("secret-1.0", "done"),
        ("open-1.0", "done"),
        ("broken-1.0", "failed"),
        ("waits-1.0", "indirect-failed"),
        ("skipped-1.0", "prefailed"),
        ("waits-too-1.0", "indirect-prefailed"),
        ("lost-1.0", "prefailed"),
        ("dir-0", "prefailed"),
        ("dir_wrong-0", "prefailed"),
    ]);
    assert_eq!(files.states(), expected);
    assert_eq!(words(field(files.record("open-1.0"), "DEPENDS")), ["secret-1.0", "uses-1.0"]);
    assert_eq!(words(field(files.record("uses-1.0"), "DEPENDS")), ["base-1.0"]);
    assert_eq!(field(files.record("base-1.0"), "UNKNOWN_FIELD"), "a = b");
    assert_eq!(field(files.record("base-1.0"), "PKG_LOCATION"), "base");
    let reasons = ["PKG_SKIP_REASON", "PKG_FAIL_REASON"].map(|name| field(files.record("skipped-1.0"), name));
    assert_eq!(reasons, ["not here", ""]);
    let reasons = ["PKG_SKIP_REASON", "PKG_FAIL_REASON"].map(|name| field(files.record("lost-1.0"), name));
    assert_eq!(reasons, ["", "it needs nobody>=3, which nothing matches"]);
    let restricted = files.pbuild.iter().filter(|(_, [_, restricted, _])| !restricted.is_empty());
    assert_eq!(restricted.map(|(package, _)| &**package).collect::<Vec<_>>(), ["open-1.0", "secret-1.0"]);
    assert_eq!(files.texts["success"], "base-1.0\nopen-1.0\nsecret-1.0\nuses-1.0\n");
    assert_eq!(files.texts["error"], "broken-1.0\n");
    let status: Vec<&str> =
        files.texts["status"].lines().map(|line| line.split_once('=').unwrap().0).collect();
    assert_eq!(status, ["PLATFORM", "BUILD_START_ISO", "BUILD_START_DIR", "BASE_URL", "BUILD_END_ISO"]);

    // Up-to-date packages are reported as done.
    build.run("").ends(5);
    let again = read_run(&build.work().join("runs/2"));
    again.assert_consistent();
    assert_eq!(again.states(), expected);
}

#[test]
fn of_packages_with_one_pkgname_the_files_of_pbulk_have_one() {
    let test = "of_packages_with_one_pkgname…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\n") else { return };
    let builds = "mkdir -p \"$DESTDIR/opt\"\necho \"$PKGNAME\" >\"$DESTDIR/opt/$PKGNAME\"\n";
    build.recipe(
        "base",
        "MAINTAINER=first@example.org\nPKGNAME=base-1.0\nMAINTAINER=second@example.org\n",
        builds,
    );
    build.recipe("claims", "", builds);
    build.write("claims/record", "PKGNAME=base-1.0\nALL_DEPENDS=uses-[0-9]*:uses\n");
    build.recipe("uses", "ALL_DEPENDS=base-[0-9]*:base\n", builds);
    // The second location of a package is reported, and blocks nothing. A repeated record of one location is a note.
    let run = build.run("").ends(5);
    assert_eq!(run.states(), ["base-1.0 done", "base-1.0 prefailed", "uses-1.0 done"]);
    let note = "base prints PKGNAME=base-1.0 more than once: the first record counts";
    assert!(run.report["notes"].to_string().contains(note), "{:#}", run.report["notes"]);
    let directory = build.work().join("runs/1");
    let files = read_run(&directory);
    files.assert_consistent();
    assert_eq!(files.states(), BTreeMap::from([("base-1.0", "done"), ("uses-1.0", "done")]));
    assert_eq!(field(files.record("base-1.0"), "MAINTAINER"), "first@example.org");
    assert_eq!(files.pbuild["base-1.0"][2], "2", "what has lost its name needs nothing");
    for name in ["pscan", "presolve"] {
        let text = fs::read_to_string(build.work().join("scan").join(name)).unwrap();
        assert_eq!(text.matches("PKGNAME=base-1.0\n").count(), 1, "{name}: {text}");
    }
}

/// Environment variable with the directory of pbulk's own programs, which are otherwise looked up in `PATH`.
const PBULK: &str = "PATCHADM_PBULK";

/// Runs a program of pbulk; `None` if it is not installed.
fn run_pbulk(program: &str, arguments: &[&str], directory: &Path) -> Option<std::process::Output> {
    let path =
        std::env::var_os(PBULK).map_or_else(|| program.into(), |above| Path::new(&above).join(program));
    std::process::Command::new(path).args(arguments).current_dir(directory).output().ok()
}

#[test]
fn the_programs_of_pbulk_read_what_a_run_tells() {
    let test = "the_programs_of_pbulk…";
    let Some(build) = BulkBuild::of_recipes(test, !is_root(), "slot=local 2\n") else { return };
    let builds = "mkdir -p \"$DESTDIR/opt\"\necho \"$PKGNAME\" >\"$DESTDIR/opt/$PKGNAME\"\n";
    build.recipe("base", "", builds);
    build.recipe("uses", "ALL_DEPENDS=base>=1.0:../base {other,base}-[0-9]*\n", builds);
    build.recipe("broken", "", "exit 3\n");
    build.recipe("waits", "ALL_DEPENDS=broken-[0-9]* base-[0-9]*:base\n", builds);
    build.recipe("skipped", "PKG_SKIP_REASON=not here\n", builds);
    build.recipe("one", "ALL_DEPENDS=two-[0-9]*\n", builds);
    build.recipe("two", "ALL_DEPENDS=one-[0-9]*:../one\n", builds);
    build.run("").ends(5);
    let run = build.work().join("runs/1");
    let files = read_run(&run);
    files.assert_consistent();
    let Some(resolved) = run_pbulk("pbulk-resolve", &["pscan"], &run) else {
        crate::skipped(&format!(
            "{test}: there is no pbulk-resolve, and {PBULK} names no directory with one"
        ));
        return;
    };
    assert!(resolved.status.success(), "{resolved:?}");
    // It finds the same as we do, except for the DEPENDS of the members of a circle: we leave them out, since
    // pbulk-build ends at one.
    let text = String::from_utf8(resolved.stdout).unwrap();
    let theirs: String = text
        .lines()
        .filter(|line| !matches!(*line, "DEPENDS=one-1.0" | "DEPENDS=two-1.0"))
        .fold(String::new(), |text, line| text + line + "\n");
    assert_eq!(theirs, files.texts["presolve"]);
    // It accepts the lists of built and failed packages, has nothing left to build, and reports the same about each
    // package.
    for name in ["success", "error"] {
        fs::copy(run.join(name), build.scenario.beside(name)).unwrap();
    }
    let (success, error) = (build.scenario.beside("success"), build.scenario.beside("error"));
    let theirs = build.scenario.beside("theirs-pbuild");
    let [success, error, report] = [&success, &error, &theirs].map(|path| path.to_str().unwrap());
    let arguments = ["-r", report, "-b", "/bin/false", "presolve", success, error];
    let built = run_pbulk("pbulk-build", &arguments, &run).unwrap();
    assert!(built.status.success(), "{built:?}");
    let lines = |text: &str| -> BTreeMap<String, [String; 2]> {
        let parts = text.lines().map(|line| line.split('|').collect::<Vec<_>>());
        parts.map(|parts| (parts[0].to_owned(), [parts[1], parts[3]].map(str::to_owned))).collect()
    };
    assert_eq!(lines(&fs::read_to_string(&theirs).unwrap()), lines(&files.texts["pbuild"]));
}
