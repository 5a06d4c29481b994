//! The prompt before a change, on a terminal: its content, its conditions, and that the run carries out the confirmed
//! plan.

use std::fs;
use std::process::Stdio;

use crate::delivery::{Patch, archive};
use crate::faulty_server::{FaultyServer, whole};
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::terminal::{Conversation, at_terminal, interrupted_at_a_question, without_sequences, words_of};
use crate::tree::assert_same;
use crate::trial::{kill_waiter, last_end, let_it_expire};

const QUESTION: &str = "Proceed? [Y/n] ";
const BOTH: &str = "add -R @ROOT@ delivered/100-01 delivered/200-01";

fn web(file: &str, text: &str) -> Package {
    Package::new("ACMEweb").file(file, 0o755, text)
}

/// A root with two programs, and a patch for each.
fn stage() -> Scenario {
    let stage = Scenario::with(&[web("bin/httpd", "one\n").file("bin/tool", 0o755, "one\n")]);
    Patch::of("100-01", web("bin/httpd", "as of 100-01\n")).directory(&stage);
    Patch::of("200-01", web("bin/tool", "as of 200-01\n")).directory(&stage);
    stage
}

/// Runs a command on a terminal, with `answers` typed in advance. Returns its exit code, and its output without
/// colours.
fn asked(test: &str, stage: &Scenario, line: &str, answers: &str) -> Option<(i32, String)> {
    let (code, said) = at_terminal(test, stage, line, answers)?;
    Some((code, without_sequences(&said)))
}

fn applied(stage: &Scenario) -> Vec<String> {
    let list = stage.run("list -R @ROOT@").ok();
    let ids = list.lines().filter_map(|line| line.split_whitespace().next());
    ids.filter(|word| word.contains("00-0")).map(str::to_owned).collect()
}

#[test]
fn two_patches_are_shown_and_asked_about_and_no_is_no() {
    for (answer, test) in [("n\n", "no"), ("what\nNO\n", "no in the end"), ("\x04", "the end of the input")] {
        let stage = stage();
        let before = stage.everything();
        let Some((code, said)) = asked(test, &stage, BOTH, answer) else { return };
        assert_eq!(code, 3, "{said}");
        for line in [
            "100-01: would be applied (ACMEweb; 1 replaced, 0 added, 0 deleted; 13 bytes)\n",
            "200-01: would be applied (ACMEweb; 1 replaced, 0 added, 0 deleted; 13 bytes)\n",
            "2 patches: 2 planned\nObjects: 2 replaced, 0 added, 0 deleted.\nSpace on ",
            "Undo data: 2 archives of ",
            QUESTION,
            "patchadm: error: 2 patches were not applied: the answer was no\n    nothing was changed\n",
        ] {
            assert!(said.contains(line), "{test}: {line}: {said}");
        }
        assert!(!said.contains("bin/httpd"), "a summary has no paths: {said}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn yes_and_an_empty_line_apply_what_was_shown() {
    for answer in ["y\n", "\n"] {
        let stage = stage();
        let Some((code, said)) = asked("yes", &stage, BOTH, answer) else { return };
        assert_eq!(code, 0, "{said}");
        let (_, after) = said.split_once(QUESTION).unwrap();
        for line in ["100-01: applied (ACMEweb; ", "200-01: applied (ACMEweb; ", "\n2 patches: 2 applied; "] {
            assert!(after.contains(line), "{line}: {said}");
        }
        assert_eq!(stage.text("/opt/ACMEweb/bin/tool"), "as of 200-01\n");
        // Two patches remain two patches when the run is undone.
        let (code, said) = asked("yes", &stage, "undo -R @ROOT@", answer).unwrap();
        assert_eq!(code, 0, "{said}");
        assert!(
            said.contains("\n2 patches: 2 planned\n") && said.contains("\n2 patches: 2 removed; "),
            "{said}"
        );
        assert_eq!(stage.text("/opt/ACMEweb/bin/tool"), "one\n");
    }
}

#[test]
fn a_trial_that_is_over_is_reverted_before_the_question() {
    let stage = stage();
    stage.run("add --trial 1h -R @ROOT@ delivered/100-01").ok();
    kill_waiter(&stage);
    let_it_expire(&stage);
    let Some((code, said)) = asked("a trial", &stage, BOTH, "n\n") else { return };
    assert_eq!(code, 3, "{said}");
    let (before, _) = said.split_once(QUESTION).unwrap();
    assert!(before.contains(" was over: it was reverted.\n"), "{said}");
    assert!(
        before.contains("100-01: would be applied (") && before.contains("2 patches: 2 planned\n"),
        "{said}"
    );
    assert_eq!((last_end(&stage).as_str(), applied(&stage).len()), ("expired", 0));
    let (code, said) = asked("a trial", &stage, BOTH, "y\n").unwrap();
    assert!(code == 0 && !said.contains("was over"), "{said}");
    assert_eq!(applied(&stage).len(), 2);
}

#[test]
fn a_plan_that_changes_before_the_answer_is_refused() {
    let stage = stage();
    let command = words_of(&stage.command(BOTH));
    let text = format!("{command}; echo ended $?");
    let Some(mut talk) = Conversation::begin("a plan that changes", &stage, &text) else { return };
    talk.hears(QUESTION);
    // The root is not locked.
    stage.run("add -R @ROOT@ delivered/100-01").ok();
    let before = stage.everything();
    talk.types("y\n");
    talk.hears("ended 3");
    let (_, said) = talk.ends();
    let said = String::from_utf8(said).unwrap();
    assert!(said.contains("the plan has changed since you confirmed it: "), "{said}");
    assert!(said.contains("applied patch 100-01: planned with nothing, now applied"), "{said}");
    assert!(said.contains("hint: run the command again, and review the new plan"), "{said}");
    assert_same(&stage.everything(), &before);

    let command = words_of(&stage.command("remove -R @ROOT@ 100-01 200-01"));
    stage.run("add -R @ROOT@ delivered/200-01").ok();
    let mut talk =
        Conversation::begin("a plan that changes", &stage, &format!("{command}; echo ended $?")).unwrap();
    talk.hears(QUESTION);
    fs::write(stage.at("/opt/ACMEweb/bin/tool"), "mine\n").unwrap();
    let before = stage.everything();
    talk.types("y\n");
    talk.hears("ended 3");
    drop(talk.ends());
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_patch_is_downloaded_once_for_its_plan_and_its_application() {
    let stage = stage();
    stage.file("/etc/patchadm/policy", "signature=off\n");
    let files = stage.beside("delivered");
    for id in ["100-01", "200-01"] {
        archive(&files.join(id), ".tar");
    }
    let server = FaultyServer::begin(move |request| {
        match fs::read(files.join(request.path.trim_start_matches('/'))) {
            Ok(bytes) => whole("200 OK", &bytes),
            Err(_) => whole("404 Not Found", b""),
        }
    });
    let cache = format!("--cache {}", stage.beside("cache").display());
    let patches = format!("{cache} {} {}", server.url("100-01.tar"), server.url("200-01.tar"));
    let requests =
        |after: usize| server.asked().into_iter().skip(after).map(|one| one.path).collect::<Vec<_>>();
    let line = format!("add -R @ROOT@ {patches}");
    let Some((code, said)) = asked("downloads", &stage, &line, "y\n") else { return };
    assert!(code == 0 && said.contains(QUESTION), "{said}");
    assert_eq!(requests(0), ["/100-01.tar", "/200-01.tar"]);
    assert!(
        fs::read_dir(stage.beside("cache/spool")).unwrap().next().is_none(),
        "files end with the command"
    );
    stage.run("remove -R @ROOT@ 100-01 200-01").ok();
    // A saved plan is compared with one that is made from the same download.
    stage.run(&format!("plan -R @ROOT@ {patches} --save-plan plan.json")).ok();
    assert_eq!(requests(2), ["/100-01.tar", "/200-01.tar"]);
    stage.run(&format!("add -R @ROOT@ {cache} --plan plan.json")).ok();
    assert_eq!(requests(4), ["/100-01.tar", "/200-01.tar"]);
    assert_eq!(applied(&stage).len(), 2);
}

#[test]
fn one_patch_is_asked_about_only_if_it_replaces_local_modifications() {
    let stage = stage();
    let Some((code, said)) = asked("one patch", &stage, "add -R @ROOT@ delivered/200-01", "") else {
        return;
    };
    assert!(code == 0 && !said.contains("Proceed?"), "{said}");
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
    let line = "add --edited replace -R @ROOT@ delivered/100-01";
    let (code, said) = asked("one patch", &stage, line, "n\n").unwrap();
    assert_eq!(code, 3, "{said}");
    let path = stage.root().join("opt/ACMEweb/bin/httpd");
    assert!(said.contains(&format!("  replaces the locally modified {}\n", path.display())), "{said}");
    assert!(said.contains("patchadm: error: 1 patch was not applied: the answer was no\n"), "{said}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "mine\n");
    assert_eq!(asked("one patch", &stage, line, "y\n").unwrap().0, 0);
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "as of 100-01\n");
    // A removal replaces them as well.
    fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine again\n").unwrap();
    let (code, said) = asked("one patch", &stage, "remove -R @ROOT@ 100-01", "n\n").unwrap();
    assert!(code == 3 && said.contains("  replaces the locally modified "), "{said}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/httpd"), "mine again\n");
}

#[test]
fn who_has_agreed_or_has_no_terminal_is_not_asked() {
    for option in ["-y", "--yes", "--json", "--dry-run"] {
        let stage = stage();
        let line = BOTH.replace("add", &format!("add {option}"));
        let Some((code, said)) = asked("agreed", &stage, &line, "") else { return };
        assert!(code == 0 && !said.contains("Proceed?"), "{option}: {said}");
        assert_eq!(applied(&stage).len(), if option == "--dry-run" { 0 } else { 2 }, "{option}");
    }
    // A command with a pipe as its input asks nothing and reads nothing. Nor does a command whose prompt would not be
    // seen.
    let stage = stage();
    let said = stage.run(BOTH).ok();
    assert!(said.ends_with(" s\n") && !said.contains("Proceed?"), "{said}");
    let piped = words_of(&stage.command("remove -R @ROOT@ 100-01 200-01"));
    let mut talk = Conversation::begin("a pipe", &stage, &format!("{piped} | cat; echo ended")).unwrap();
    talk.hears("2 patches: 2 removed; ");
    talk.hears("ended");
    drop(talk.ends());
    assert_eq!(applied(&stage), Vec::<String>::new());
}

#[test]
fn ctrl_c_at_the_question_changes_nothing() {
    let stage = stage();
    let before = stage.everything();
    let Some(code) = interrupted_at_a_question(&stage, BOTH, QUESTION) else { return };
    assert_eq!(code, 130);
    assert_same(&stage.everything(), &before);
}

#[test]
fn deleting_undo_data_is_asked_about_and_an_empty_line_is_no() {
    let stage = stage();
    stage.run(BOTH).ok();
    let before = stage.everything();
    let line = "undo-data drop -R @ROOT@ 100-01";
    let Some((code, said)) = asked("undo data", &stage, line, "\n") else { return };
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("This cannot be undone.\nProceed? [y/N] "), "{said}");
    assert!(
        said.contains("no undo data was deleted: the answer was no\n    nothing was changed\n"),
        "{said}"
    );
    assert_same(&stage.everything(), &before);
    assert_eq!(asked("undo data", &stage, line, "y\n").unwrap().0, 0);
    assert_ne!(stage.run("remove -R @ROOT@ 100-01").code, 0);
    let (code, said) = asked("undo data", &stage, "undo-data drop -y -R @ROOT@ 200-01", "").unwrap();
    assert!(code == 0 && !said.contains("Proceed?"), "{said}");
}

#[test]
fn a_promotion_is_asked_about() {
    let stage = stage();
    let copy = stage.beside("copy").display().to_string();
    stage.run(&format!("stage new -R @ROOT@ --path /opt {copy}")).ok();
    fs::write(stage.beside("copy").join("opt/ACMEweb/bin/tool"), "staged\n").unwrap();
    let line = format!("stage promote -R @ROOT@ {copy}");
    let Some((code, said)) = asked("a promotion", &stage, &line, "n\n") else { return };
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("\n  /opt: 1 replaced\n") && said.contains(QUESTION), "{said}");
    assert!(said.contains(" was not promoted: the answer was no\n    nothing was changed\n"), "{said}");
    assert_eq!(stage.text("/opt/ACMEweb/bin/tool"), "one\n");
    assert_eq!(asked("a promotion", &stage, &line, "y\n").unwrap().0, 0);
    assert_eq!(stage.text("/opt/ACMEweb/bin/tool"), "staged\n");
}

#[test]
fn without_a_terminal_nothing_is_read_before_the_end() {
    let stage = stage();
    let mut command = stage.command(BOTH);
    let mut running = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    // It ends without an answer, and before its input is closed.
    let input = running.stdin.take();
    assert!(running.wait().unwrap().success());
    drop(input);
    assert_eq!(applied(&stage).len(), 2);
}
