//! A run with every state as text, mail and JSON.

use std::collections::BTreeMap;

use super::*;
use crate::history::RunDifference;
use crate::journal::{BuildState, TreeFault};

const JSON: &str = include_str!("../../testdata/report/every-state.json");
const TEXT: &str = include_str!("../../testdata/report/every-state.txt");
const MAIL: &str = include_str!("../../testdata/report/every-state.eml");

fn report() -> RunReport {
    serde_json::from_str(JSON).unwrap()
}

fn input(difference: &RunDifference) -> ReportTextInput<'_> {
    ReportTextInput {
        title: "Nightly build",
        base: "host",
        url: Some("https://example.org/runs/12/"),
        difference: Some(difference),
        log_ends: BTreeMap::from([(
            "curl-8.1",
            vec!["cc: \u{1b}[31merror\u{1b}[0m".to_owned(), "*** failed".to_owned()],
        )]),
    }
}

fn difference() -> RunDifference {
    RunDifference {
        failed: vec!["curl-8.1".to_owned()],
        repaired: vec!["bash-5.2".to_owned()],
        ..RunDifference::default()
    }
}

fn text() -> String {
    report_text(&report(), &input(&difference()))
}

fn mail() -> String {
    let to = ["ops@example.org".to_owned(), "dev@example.org".to_owned()];
    report_mail(&report(), &text(), &MailInput { to: &to, from: "bulk@example.org", prefix: "nightly" })
}

#[test]
fn the_document_has_the_fields_of_the_contract_and_comes_back() {
    let again = serde_json::to_value(report()).unwrap();
    assert_eq!(again, serde_json::from_str::<serde_json::Value>(JSON).unwrap());
}

#[test]
fn faults_of_the_tree_and_what_lacks_something_are_what_a_release_asks_about() {
    assert_eq!(
        report().faults(),
        Vec::<String>::new(),
        "a recipe that says itself that it is not to be built is none"
    );
    let mut faulty = report();
    let masked = faulty.packages.iter_mut().find(|package| package.package == "masked-3").unwrap();
    masked.fault = Some(TreeFault::Unmatched);
    masked.detail = Some("it needs a\u{1b}[31m>=1, which nothing matches".to_owned());
    let set = faulty.set.as_mut().unwrap();
    for (reason, name, holder) in [
        (LeftOutReason::Lacking, "gone-1", None),
        (LeftOutReason::Conflict, "/opt/f", Some("other-1".to_owned())),
        (LeftOutReason::TooLarge, "MANIFEST", None),
    ] {
        let (package, location, name) = ("kept-1".to_owned(), "x/kept".to_owned(), name.to_owned());
        set.left_out.push(LeftOutPackage { package, location, reason, name, holder, breaks: 0 });
    }
    let faults = faulty.faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(faults[0].starts_with("masked-3: it needs a") && !faults[0].contains('\u{1b}'), "{faults:?}");
    assert!(faults[1].starts_with("kept-1 (x/kept): it needs gone-1"), "{faults:?}");
    assert!(faults[2].starts_with("kept-1 (x/kept): MANIFEST would be too large with"), "{faults:?}");
}

#[test]
fn a_report_from_before_faults_were_told_has_none() {
    let mut document: serde_json::Value = serde_json::from_str(JSON).unwrap();
    for package in document["packages"].as_array_mut().unwrap() {
        package.as_object_mut().unwrap().remove("fault");
    }
    assert_eq!(serde_json::from_value::<RunReport>(document).unwrap(), report());
}

#[test]
fn a_run_with_every_state_is_told_as_text() {
    for state in BuildState::ALL {
        assert!(
            report().packages.iter().any(|package| package.state == state),
            "{state} is not in the example"
        );
    }
    assert_eq!(text(), TEXT);
}

#[test]
fn the_mail_has_headers_in_ascii_and_the_text_as_its_body() {
    assert_eq!(mail(), MAIL);
}

#[test]
fn nothing_of_records_and_logs_reaches_text_or_mail_unescaped() {
    let mut report = report();
    let hostile = "x\u{1b}]0;owned\u{7}\r\n\r\nBcc: all@example.org\u{202e}\u{9b}2J";
    for package in &mut report.packages {
        package.package = hostile.to_owned();
        package.location = hostile.to_owned();
        package.phase = Some(hostile.to_owned());
        package.detail = Some(hostile.to_owned());
        package.log = Some(hostile.to_owned());
        package.maintainer = Some(hostile.to_owned());
        package.suspects = vec![hostile.to_owned()];
    }
    report.not_reproducible = vec![hostile.to_owned()];
    report.set_refused = Some(hostile.to_owned());
    report.set = None;
    report.leftovers = vec![LeftoverReport { package: hostile.to_owned(), paths: vec![hostile.to_owned()] }];
    let packages = vec![hostile.to_owned(), hostile.to_owned()];
    report.shared_paths = vec![SharedPath { path: hostile.to_owned(), more: 1, packages }];
    report.remarks = vec![PackageRemarks { package: hostile.to_owned(), remarks: vec![hostile.to_owned()] }];
    for machine in &mut report.machines {
        machine.left_out = Some(hostile.to_owned());
    }
    let difference = RunDifference {
        failed: vec![hostile.to_owned()],
        repaired: vec![hostile.to_owned()],
        ..difference()
    };
    let lines = vec![hostile.to_owned()];
    let input = ReportTextInput { log_ends: BTreeMap::from([(hostile, lines)]), ..input(&difference) };
    let text = report_text(&report, &input);
    assert!(text.contains("\\u{1b}") && text.contains("\\u{d}\\u{a}\\u{d}\\u{a}Bcc"), "{text}");
    assert!(
        text.chars().all(|letter| letter == '\n' || !letter.is_control() && letter != '\u{202e}'),
        "{text}"
    );
    assert!(!text.lines().any(|line| line.starts_with("Bcc")), "{text}");
    let mail = report_mail(&report, &text, &MailInput { to: &[], from: "bulk@example.org", prefix: hostile });
    assert!(mail.bytes().all(|byte| byte == b'\n' || (b' '..=b'~').contains(&byte)), "{mail}");
    assert!(!mail.lines().any(|line| line.starts_with("Bcc")), "{mail}");
}

#[test]
fn a_line_that_is_too_long_for_mail_is_broken_there_and_whole_in_the_text() {
    let mut report = report();
    let failed = report.packages.iter_mut().find(|package| package.package == "curl-8.1").unwrap();
    failed.detail = Some("long ".repeat(1000));
    let text = report_text(&report, &input(&difference()));
    assert!(text.lines().any(|line| line.len() > 4000));
    let mail = report_mail(&report, &text, &MailInput { to: &[], from: "bulk@example.org", prefix: "p" });
    assert!(mail.lines().all(|line| line.len() <= 998));
    assert!(mail.contains("\nContent-Transfer-Encoding: quoted-printable\n"));
}

#[test]
fn a_failure_breaks_what_waits_for_it_and_alone_what_waits_for_nothing_else() {
    let mut counted = report();
    for package in &mut counted.packages {
        (package.breaks, package.breaks_alone) = (77, 77);
    }
    counted.counts.clear();
    counted.count_breaks();
    assert_eq!(counted, report());
    let harmful: Vec<&str> = counted.most_harmful(1).iter().map(|package| package.package.as_str()).collect();
    assert_eq!(harmful, ["curl-8.1"]);
}

#[test]
fn of_two_with_one_name_that_of_the_first_location_is_what_breaks_others() {
    let mut report = report();
    let failed = report.packages.iter().position(|package| package.package == "curl-8.1").unwrap();
    let mut twin = report.packages[failed].clone();
    (twin.location, twin.state) = (format!("{}-twin", twin.location), BuildState::Prefailed);
    let breaks = report.packages[failed].breaks;
    report.packages.insert(failed, twin);
    report.count_breaks();
    assert!(breaks > 0);
    assert_eq!([failed, failed + 1].map(|at| report.packages[at].breaks), [0, breaks]);
}

#[test]
fn the_first_report_tells_no_difference_and_a_run_without_packages_no_failures() {
    let mut empty = report();
    (empty.packages, empty.set, empty.set_refused, empty.patches) = (Vec::new(), None, None, None);
    (empty.not_reproducible, empty.leftovers, empty.machines) = (Vec::new(), Vec::new(), Vec::new());
    (empty.shared_paths, empty.remarks) = (Vec::new(), Vec::new());
    (empty.platform, empty.upload) = (None, None);
    empty.count_breaks();
    let text = report_text(&empty, &ReportTextInput { title: "t", base: "b", ..ReportTextInput::default() });
    let expected = "t\n\nBase:   b\nBegin:  2026-11-26T08:00:00Z\nEnd:    2026-11-26T09:30:00Z\n\
                    Run:    12 of /srv/work, continued after an interruption\nSet:    none\n\n";
    assert!(text.starts_with(expected), "{text}");
    assert!(text.ends_with("Deferred:                          0\n"), "{text}");
}
