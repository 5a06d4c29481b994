//! The answer of a process of a root's owner: data about that root alone.

use serde_json::{Map, Value};

use super::root_report::{RootBody, RootClass, RootReport, failure_class, failure_line, in_one_line};
use crate::as_owner::OwnerAnswer;
use patchadm_changeset::format::foreign_json::limited;
use patchadm_cli::reply::{Exit, ExitCause, ResultWord};
use patchadm_rootfs::Root;

/// Fields of a document that the caller writes itself.
const OURS: [&str; 6] = ["schema", "command", "root", "exit_code", "classic_code", "cause"];

/// More than the longest document of an honest process has.
const MOST_VALUES: usize = 1_000_000;

pub(super) fn report_of<B>(root: &Root, answer: &OwnerAnswer) -> RootReport<B> {
    let document: Result<Map<String, Value>, String> = limited(&answer.output, MOST_VALUES)
        .map_err(|error| error.to_string())
        .and_then(|output| serde_json::from_slice(output).map_err(|_| "it is not a JSON object".to_owned()));
    let mut document = match document {
        Ok(document) => document,
        // Its errors say why.
        Err(_) if answer.exit != Exit::OK => Map::new(),
        Err(reason) => {
            let exit = Exit::failed(ExitCause::Internal);
            let error = format!(
                "the output of its owner's process is not used: {reason}; run the command on this root alone"
            );
            return RootReport::unworked(RootClass::Failed, exit, error, root.prefix());
        }
    };
    let exit = with_cause(answer.exit, &document);
    document.retain(|name, _| !OURS.contains(&name.as_str()));
    let line = line(exit, &document, &answer.errors);
    let changed = document.get("changed").and_then(Value::as_bool).unwrap_or_default();
    let would_change = document.get("would_change").and_then(Value::as_bool).unwrap_or_default();
    let is_bad = |word: &ResultWord| matches!(word, ResultWord::Refused | ResultWord::Failed);
    // The exit tells a refusal from a failure.
    let named = ResultWord::named(text(&document, "result")).filter(|word| !is_bad(word));
    let class = match text(&document, "result") {
        "refused" if exit != Exit::OK => RootClass::Refused,
        _ if exit != Exit::OK => failure_class(exit),
        "nothing-to-do" => RootClass::Idle,
        _ if changed || has(&document, "verdict", "planned") => RootClass::Done,
        _ if has(&document, "verdict", "not-applicable") => RootClass::NotApplicable,
        _ => RootClass::Idle,
    };
    let advice = advice(&document);
    let body = RootBody::OfOwner(document);
    let report = RootReport::of_line(class, exit, line, root.prefix(), body);
    RootReport { changed, would_change, advice, result: named.unwrap_or(report.result), ..report }
}

/// Returns the process's next steps, up to the number that an honest one has.
fn advice(document: &Map<String, Value>) -> Vec<String> {
    let steps = document.get("advice").and_then(Value::as_array).into_iter().flatten();
    steps.filter_map(Value::as_str).take(MOST_STEPS).map(printable_line).collect()
}

fn with_cause(exit: Exit, document: &Map<String, Value>) -> Exit {
    let named = document.get("cause").and_then(Value::as_str);
    match named.and_then(ExitCause::named) {
        Some(cause) if exit != Exit::OK && cause != ExitCause::Ok => {
            let classic = document.get("classic_code").and_then(Value::as_u64);
            let classic = classic.and_then(|code| u8::try_from(code).ok());
            Exit::passed_on(exit.verb_code(), cause).with_classic(classic)
        }
        _ => exit,
    }
}

fn line(exit: Exit, document: &Map<String, Value>, errors: &[u8]) -> String {
    let error = text(document, "error");
    let patches: Vec<String> = patches(document)
        .map(|patch| match text(patch, "reason") {
            "" => format!("{} {}", text(patch, "id"), text(patch, "verdict")),
            reason => format!("{} {}: {reason}", text(patch, "id"), text(patch, "verdict")),
        })
        .collect();
    let line = match (error, patches.as_slice()) {
        ("", []) if exit == Exit::OK => text(document, "result").to_owned(),
        ("", []) => failure_line(exit, &String::from_utf8_lossy(errors)),
        ("", patches) => patches.join("; "),
        (error, _) => failure_line(exit, error),
    };
    printable_line(&line)
}

/// Of printed lines, in characters.
const LONGEST_LINE: usize = 4096;

const MOST_STEPS: usize = 20;

fn printable_line(text: &str) -> String {
    let letters = in_one_line(text).chars().take(LONGEST_LINE).collect::<String>();
    letters.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

fn patches(document: &Map<String, Value>) -> impl Iterator<Item = &Map<String, Value>> {
    document.get("patches").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object)
}

fn has(document: &Map<String, Value>, name: &str, word: &str) -> bool {
    patches(document).any(|patch| text(patch, name) == word)
}

fn text<'a>(of: &'a Map<String, Value>, name: &str) -> &'a str {
    of.get(name).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_process_of_an_owner_says_is_data_about_its_root_alone() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let output = br#"{"schema":"x","root":"/other","exit_code":0,"result":"done","changed":true,
            "patches":[{"id":"1-01\u001b[2J","verdict":"applied","reason":""}]}"#;
        let answer = OwnerAnswer { exit: Exit::OK, output: output.to_vec(), errors: Vec::new() };
        let report: RootReport<()> = report_of(&root, &answer);
        assert_eq!(
            (report.class, report.line.as_str(), report.changed),
            (RootClass::Done, "1-01?[2J applied", true)
        );
        assert!(report.advice.is_empty());
        let RootBody::OfOwner(fields) = report.body else { panic!("not of the owner") };
        assert!(OURS.iter().all(|name| !fields.contains_key(*name)));
    }

    #[test]
    fn the_advice_of_the_process_of_an_owner_is_printed_in_lines_of_bounded_length_and_number() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let mut steps = vec!["Say \u{1b}[2Jthis:\nthat.".to_owned(), "x".repeat(5_000)];
        steps.extend((0..100).map(|number| number.to_string()));
        let output = serde_json::json!({ "result": "refused", "advice": steps }).to_string();
        let exit = Exit::new(10, ExitCause::Edited).as_refusal();
        let answer = OwnerAnswer { exit, output: output.into_bytes(), errors: Vec::new() };
        let report: RootReport<()> = report_of(&root, &answer);
        assert_eq!((report.advice.len(), &*report.advice[0]), (20, "Say ?[2Jthis: that."));
        assert_eq!(report.advice[1].len(), 4_096);
    }

    #[test]
    fn one_that_has_succeeded_but_prints_no_document_of_an_honest_one_has_failed() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let hostile = |values: &str| format!("{{\"result\":\"done\",\"patches\":[{values}0]}}").into_bytes();
        for (output, reason) in [
            (hostile(&"{},".repeat(MOST_VALUES / 5)), "more than 1000000 fields and entries"),
            ("[".repeat(MOST_VALUES).into_bytes(), "more than 1000000 fields and entries"),
            ("[".repeat(1_000).into_bytes(), "it is not a JSON object"),
            (br#"{"result":"do"#.to_vec(), "it is not a JSON object"),
        ] {
            let answer = OwnerAnswer { exit: Exit::OK, output, errors: Vec::new() };
            let report: RootReport<()> = report_of(&root, &answer);
            assert_eq!(report.class, RootClass::Failed);
            assert!(report.line.contains(reason), "{}", report.line);
            assert!(matches!(report.body, RootBody::Unworked { .. }));
        }
        let answer =
            OwnerAnswer { exit: Exit::OK, output: hostile(&"{},".repeat(1_000)), errors: Vec::new() };
        let report: RootReport<()> = report_of(&root, &answer);
        assert_eq!(report.class, RootClass::Idle);
    }

    #[test]
    fn one_that_says_nothing_of_sense_has_failed_by_its_code() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let answer = OwnerAnswer {
            exit: Exit::new(137, ExitCause::Signal),
            output: b"[[[".to_vec(),
            errors: b"a\nb".to_vec(),
        };
        let report: RootReport<()> = report_of(&root, &answer);
        assert_eq!((report.class, report.line.as_str()), (RootClass::Failed, "failed (137): a b"));
    }

    #[test]
    fn one_that_was_refused_is_counted_and_printed_as_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::open(dir.path()).unwrap();
        let answer = OwnerAnswer {
            exit: Exit::passed_on(3, ExitCause::Signature),
            output: br#"{"result":"failed","error":"it is unsigned"}"#.to_vec(),
            errors: Vec::new(),
        };
        let report: RootReport<()> = report_of(&root, &answer);
        assert_eq!((report.class, report.line.as_str()), (RootClass::Refused, "refused (3): it is unsigned"));
        assert_eq!(report.result, ResultWord::Refused);
    }
}
