//! Reports of small runs.

use std::fs;

use patchadm_bulk_values::journal::FailureCause;
use patchadm_bulk_values::report::{PackageRemarks, ReportedPackage};
use patchadm_bulk_values::result::Blake3Digest;

use super::*;
use crate::work::{NewWork, make_work};

fn work(dir: &tempfile::TempDir, lines: &str) -> BulkWork {
    let path = dir.path().join("work");
    make_work(&NewWork { path: &path, tree: "/nowhere", base: None, driver: &[] }).unwrap();
    let conf = fs::read_to_string(path.join("bulk.conf")).unwrap();
    fs::write(path.join("bulk.conf"), format!("{conf}{lines}\n")).unwrap();
    BulkWork::open(&path).unwrap()
}

fn package(package: &str, state: BuildState) -> ReportedPackage {
    ReportedPackage {
        package: package.to_owned(),
        location: format!("x/{package}"),
        state,
        cause: (state == BuildState::Failed).then_some(FailureCause::Exit),
        phase: None,
        fault: None,
        detail: None,
        because: Vec::new(),
        more_causes: 0,
        breaks: 0,
        breaks_alone: 0,
        key: None,
        run: None,
        slot: None,
        tries: 1,
        ms: None,
        cpu_ms: None,
        peak_memory: None,
        log: None,
        maintainer: Some("J\u{f6}rg\r\nBcc: x@y".to_owned()),
        suspects: Vec::new(),
    }
}

fn report(work: &BulkWork) -> RunReport {
    let mut report = RunReport {
        run: 4,
        work: work.path.display().to_string(),
        conf: Blake3Digest::of(b""),
        began: "2026-11-26T08:00:00Z".to_owned(),
        ended: "2026-11-26T09:00:00Z".to_owned(),
        continued: false,
        counts: BTreeMap::new(),
        packages: vec![package("a-1", BuildState::Done), package("b-1", BuildState::Failed)],
        set: None,
        set_refused: None,
        not_reproducible: Vec::new(),
        leftovers: Vec::new(),
        shared_paths: Vec::new(),
        remarks: Vec::new(),
        machines: Vec::new(),
        patches: None,
        published: None,
        platform: None,
        upload: None,
    };
    report.count_breaks();
    report
}

fn write(work: &BulkWork, report: &RunReport) -> Dir {
    let dir = run_directory(work, report.run).unwrap();
    let text = ReportTextInput { title: "bulk build", base: "host", ..ReportTextInput::default() };
    let input = ReportFilesInput { report, text: &text, sender: "bulk@example.org", page: "<p>" };
    write_report(&dir, &work.conf.report, &input).unwrap();
    dir
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_report_comes_back_from_its_document_and_text_and_mail_tell_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let work = work(&dir, "report_to=one@example.org\nreport_subject=nightly");
    assert!(matches!(read_report(&work, 4), Err(ReportReadError::None(4))));
    let report = report(&work);
    write(&work, &report);
    write(&work, &report);
    assert_eq!(read_report(&work, 4).unwrap(), report);
    let run = work.path.join("runs/4");
    assert_eq!(
        names(&run),
        ["report.eml", "report.html", "report.json", "report.txt"],
        "nothing else is left"
    );
    let json = fs::read_to_string(run.join("report.json")).unwrap();
    assert!(json.starts_with("{\"schema\":\"patchadm/1\",\"command\":\"bulk run\",\"run\":4,"), "{json}");
    let mail = fs::read_to_string(run.join("report.eml")).unwrap();
    assert!(
        mail.contains("From: bulk@example.org\nTo: one@example.org\nSubject: nightly: 1 ok, 1 failed"),
        "{mail}"
    );
    let text = fs::read_to_string(run.join("report.txt")).unwrap();
    assert!(text.starts_with("bulk build\n") && !text.contains("\nBcc"), "{text}");
    fs::write(run.join("report.json"), "{}").unwrap();
    assert!(matches!(read_report(&work, 4), Err(ReportReadError::Damaged { .. })));
}

#[test]
fn no_file_of_a_report_has_a_character_that_poses_as_another_text() {
    let dir = tempfile::tempdir().unwrap();
    let work = work(&dir, "");
    let hostile = "exit 1: \u{202e}ko si lla\u{2066}\u{200b}\u{9b}2J";
    let mut written = report(&work);
    written.packages[1].detail = Some(hostile.to_owned());
    written.packages[1].maintainer = Some(hostile.to_owned());
    written.remarks =
        vec![PackageRemarks { package: "two-1.0".to_owned(), remarks: vec![hostile.to_owned()] }];
    write(&work, &written);
    let run = work.path.join("runs/4");
    for name in ["report.json", "report.txt", "report.eml"] {
        let text = fs::read_to_string(run.join(name)).unwrap();
        let hidden = ['\u{202e}', '\u{2066}', '\u{200b}', '\u{9b}'];
        assert!(!text.contains(hidden) && !text.contains("=E2=80=AE"), "{name}: {text}");
    }
    let json = fs::read_to_string(run.join("report.json")).unwrap();
    assert!(json.contains(r"exit 1: \u202eko si lla\u2066\u200b\u009b2J"), "{json}");
    assert_eq!(read_report(&work, 4).unwrap().packages[1].detail.as_deref(), Some(hostile));
}

#[test]
fn no_file_of_pbulk_has_the_password_of_a_source_or_what_a_terminal_obeys() {
    let dir = tempfile::tempdir().unwrap();
    let work = work(&dir, "");
    let state = BuildState::UpToDate;
    let packages = [PbulkPackage { pkgname: "a-1", state, is_restricted: false, depth: 1, index: 0 }];
    let record = |_| {
        "PKGNAME=a-1\nDISTURL=http://ru:RPW@h/x http:ru:RPW@h/y HTTP://ru:RPW@h/z ru:RPW@h http://h/ok\nDISTFILES=x\nCOMMENT=\u{1b}[2J\u{202e}ä"
            .to_owned()
    };
    let run = run_directory(&work, 4).unwrap();
    write_pbulk_files(&run, &report(&work), &packages, &record, ("Linux/x86_64", None)).unwrap();
    for name in ["pscan", "presolve", "report"] {
        let text = fs::read_to_string(work.path.join("runs/4").join(name)).unwrap();
        assert!(!text.contains("RPW") && text.contains(" http://h/ok\nDISTFILES=x\n"), "{name}: {text}");
        assert!(text.contains("COMMENT=\\033[2J\\342\\200\\256ä\n"), "{name}: {text}");
    }
}

#[test]
fn the_files_of_pbulk_have_the_records_in_the_order_of_their_names() {
    let dir = tempfile::tempdir().unwrap();
    let work = work(&dir, "");
    let package =
        |pkgname, state, index| PbulkPackage { pkgname, state, is_restricted: false, depth: 1, index };
    let packages = [package("b-1", BuildState::Failed, 0), package("a-1", BuildState::UpToDate, 1)];
    let record = |index: u32| {
        let texts =
            ["PKGNAME=b-1\nPKG_LOCATION=x/b\nDEPENDS=a-1\n", "PKGNAME=a-1\nPKG_LOCATION=x/a\nDEPENDS="];
        texts[index as usize].to_owned()
    };
    let run = run_directory(&work, 4).unwrap();
    write_pbulk_files(&run, &report(&work), &packages, &record, ("Linux/x86_64", Some("https://x.org")))
        .unwrap();
    let text = |name: &str| fs::read_to_string(work.path.join("runs/4").join(name)).unwrap();
    assert_eq!(text("pscan"), "PKGNAME=a-1\nPKG_LOCATION=x/a\nPKGNAME=b-1\nPKG_LOCATION=x/b\n");
    assert_eq!(
        text("presolve"),
        "PKGNAME=a-1\nPKG_LOCATION=x/a\nDEPENDS=\nPKGNAME=b-1\nPKG_LOCATION=x/b\nDEPENDS=a-1\n"
    );
    assert_eq!((text("success"), text("error")), ("a-1\n".to_owned(), "b-1\n".to_owned()));
    assert_eq!(text("pbuild"), "a-1|done||1\nb-1|failed||1\n");
    assert!(text("report").contains("DEPENDS=a-1\nPKG_DEPTH=1\nRESTRICTED_SUBSET=no\nBUILD_STATUS=failed\n"));
    assert!(text("status").starts_with("PLATFORM=Linux/x86_64\nBUILD_START_ISO=2026-11-26T08"));
    assert!(text("status").contains("\nBUILD_START_DIR=20261126.08"));
    assert!(text("status").contains("\nBASE_URL=https://x.org\nBUILD_END_ISO="));
}

#[test]
fn a_command_gets_the_mail_and_its_failure_is_told_with_its_last_line() {
    let dir = tempfile::tempdir().unwrap();
    let got = work(&dir, "report_command=sh -c 'cat > got'");
    let report = report(&got);
    write(&got, &report);
    send_report(&got, 4).unwrap();
    let mail = fs::read(got.path.join("runs/4/report.eml")).unwrap();
    assert_eq!(fs::read(got.path.join("got")).unwrap(), mail);

    let other = tempfile::tempdir().unwrap();
    let failing = work(&other, "report_command=sh -c 'echo one; printf \"no\\033route\\n\" >&2; exit 3'");
    write(&failing, &report);
    let error = send_report(&failing, 4).unwrap_err().to_string();
    assert_eq!(error, "report_command: sh: exit status: 3: no\\u{1b}route");

    let third = tempfile::tempdir().unwrap();
    let missing = work(&third, "report_command=/no/such/program");
    write(&missing, &report);
    assert!(matches!(send_report(&missing, 4), Err(SendReportError::Command(CommandError::Start { .. }))));
}

#[test]
fn the_copy_has_the_report_and_the_logs_of_what_failed() {
    let dir = tempfile::tempdir().unwrap();
    let work = work(&dir, &format!("report_copy={}", dir.path().join("public/bulk").display()));
    let mut report = report(&work);
    write(&work, &report);
    for (run, name) in [(4, "a-1"), (4, "b-1"), (3, "c-1")] {
        let logs = work.path.join(format!("runs/{run}/logs"));
        fs::create_dir_all(&logs).unwrap();
        fs::write(logs.join(format!("{name}.log")), name).unwrap();
    }
    report.packages.push(ReportedPackage { run: Some(3), ..package("c-1", BuildState::Failed) });
    report.packages.push(package("d-1", BuildState::Failed));
    for _ in 0..2 {
        let copy = copy_report(&work, &report).unwrap().unwrap();
        assert_eq!(names(&copy), ["logs", "report.eml", "report.html", "report.json", "report.txt"]);
        assert_eq!(names(&copy.join("logs")), ["b-1.log", "c-1.log"]);
        assert_eq!(names(copy.parent().unwrap()), ["4"]);
    }
}

#[test]
fn the_ends_of_logs_have_a_limit_in_sum_and_further_packages_have_none() {
    let dir = tempfile::tempdir().unwrap();
    let work = work(&dir, "");
    let mut report = report(&work);
    report.packages = ["a-1", "b-1", "c-1"].map(|name| package(name, BuildState::Failed)).into();
    let logs = work.path.join("runs/4/logs");
    fs::create_dir_all(&logs).unwrap();
    for name in ["a-1", "b-1", "c-1"] {
        fs::write(logs.join(format!("{name}.log")), format!("{}\n{name}\n", "<".repeat(1 << 20))).unwrap();
    }
    let ends = log_ends(&work, &report, LARGEST_ENDS);
    assert_eq!(ends.keys().copied().collect::<Vec<_>>(), ["a-1", "b-1", "c-1"]);
    assert_eq!((ends["b-1"].len(), ends["b-1"][1].as_str()), (2, "b-1"));
    assert!(ends["b-1"][0].len() < 500);
    let few = log_ends(&work, &report, 1_000);
    assert_eq!(few.keys().copied().collect::<Vec<_>>(), ["a-1", "b-1"]);

    let render: RenderPage<'_> = &|_, text, _| format!("{:?}", text.log_ends);
    tell_report(&work, &report, None, render).unwrap();
    let size = |name: &str| fs::metadata(work.path.join("runs/4").join(name)).unwrap().len();
    for name in [REPORT_TEXT, REPORT_MAIL, REPORT_PAGE] {
        assert!(size(name) < 20_000, "{name}: {} bytes", size(name));
    }
}
