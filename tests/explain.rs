//! `patchadm help` explains an exit code: its meaning, the commands that use it, and its causes.

use serde_json::Value;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::Scenario;

fn explained(line: &str) -> Value {
    serde_json::from_str(&Scenario::new().run(&format!("help --json {line}")).ok()).unwrap()
}

#[test]
fn a_code_is_explained_for_one_command_with_its_causes() {
    let text = Scenario::new().run("help 10 patchadd").ok();
    assert!(text.starts_with("10 from patchadd: A package or file does not match"), "{text}");
    assert!(text.contains("  Causes (`cause` of --json):\n    edited "), "{text}");
    let document = explained("7 add");
    assert_eq!((&document["explained"], &document["of"]), (&7.into(), &"add".into()));
    assert_eq!(document["meanings"].as_array().unwrap().len(), 1);
    assert_eq!(document["meanings"][0]["causes"], serde_json::json!(["trial-over", "check"]));
}

#[test]
fn without_a_command_all_meanings_are_told_by_who_ends_with_them() {
    let text = Scenario::new().run("help 99").ok();
    for who in ["pkgadd and pkgrm", "pkgchk", "pkgmk", "installf and removef"] {
        assert!(text.contains(&format!("99 from {who}: ")), "{text}");
    }
    assert!(explained("99").get("of").is_none());
}

#[test]
fn a_command_that_was_killed_is_not_said_to_have_undone_anything() {
    for code in [134, 137, 139] {
        let text = Scenario::new().run(&format!("help {code}")).ok();
        assert!(text.contains("it could neither roll back nor finish"), "{text}");
        assert!(text.contains("patchadm recover") && !text.contains("was rolled back"), "{text}");
    }
    assert!(Scenario::new().run("help 143 patchadd").ok().contains("was rolled back"));
}

#[test]
fn a_code_or_command_that_is_none_is_refused_by_name() {
    let stage = Scenario::new();
    let said = |line: &str| stage.run(line).fails(4);
    assert!(said("help 98").contains("no command exits with code 98"));
    assert!(said("help 98 remove").contains("remove does not exit with code 98"));
    assert!(said("help 98 remove").contains("it exits with 0, 1, 2, 3, "));
    let said = |line: &str| stage.run(line).fails(2);
    assert!(said("help 2 frobnicate").contains("there is no command `frobnicate`"));
    assert!(said("help 2 __scripts").contains("there is no command `__scripts`"));
    assert!(said("help twelve").contains("there is no command `twelve`"));
    assert!(said("help 256").contains("there is no command `256`"));
}

#[test]
fn the_name_of_an_exit_is_its_cause() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let web = |text: &str| Package::new("ACMEweb").file("bin/httpd", 0o755, text);
    Patch::of("100-01", web("two\n")).directory(&stage);
    Patch::of("200-01", web("three\n")).says("SUNW_REQUIRES", "999-01").directory(&stage);
    Patch::of("300-01", Package::new("ACMEdb").file("db", 0o644, "x\n")).directory(&stage);
    stage.file("/etc/patchadm/policy", "exclude=400-01\n");
    Patch::of("400-01", web("four\n")).directory(&stage);
    let ended = |line: &str| {
        let document: Value = serde_json::from_str(&stage.run(line).stdout).unwrap();
        (document["exit_code"].as_u64().unwrap(), document["cause"].as_str().unwrap().to_owned())
    };
    std::fs::write(stage.at("/opt/ACMEweb/bin/httpd"), "mine\n").unwrap();
    assert_eq!(ended("patchadd --json -R @ROOT@ delivered/100-01"), (10, "edited".to_owned()));
    assert_eq!(ended("patchadd --json -u -R @ROOT@ delivered/100-01"), (0, "ok".to_owned()));
    for (line, code, name) in [
        ("patchadd --json -R @ROOT@ delivered/100-01", 2, "already-applied"),
        ("patchadd --json -R @ROOT@ delivered/200-01", 25, "dependency"),
        ("patchadd --json -R @ROOT@ delivered/300-01", 8, "not-applicable"),
        ("patchadd --json -R @ROOT@ delivered/400-01", 10, "restricted"),
        ("patchadd --json -R @ROOT@ /no/such", 33, "not-found"),
        ("patchadd --json -R @ROOT@ /etc/passwd", 33, "damaged-input"),
        ("patchadd --json", 1, "usage"),
        ("patchrm --json -R @ROOT@ 999-01", 2, "unknown"),
        ("patchrm --json -R @ROOT@ nonsense", 8, "usage"),
        ("pkgparam --json -R @ROOT@ ACMEnone", 1, "not-found"),
        ("list --json -R /no/such", 1, "not-found"),
    ] {
        assert_eq!(ended(line), (code, name.to_owned()), "{line}");
    }
    std::fs::remove_file(stage.at("/var/sadm/pkg/ACMEweb/save/100-01/undo.gz")).unwrap();
    assert_eq!(ended("patchrm --json -R @ROOT@ 100-01"), (4, "undo-data".to_owned()));
    assert_eq!(ended("check --contents --json -R @ROOT@"), (4, "undo-data".to_owned()));
}

#[test]
fn all_codes_are_listed_as_each_is_explained_by_itself() {
    let stage = Scenario::new();
    let text = stage.run("help exit-codes").ok();
    let lines: Vec<(u8, u8, &str)> = text
        .lines()
        .map(|line| {
            let (codes, meaning) = line.split_once(" from ").unwrap();
            let (first, last) = codes.split_once('-').unwrap_or((codes, codes));
            (first.parse().unwrap(), last.parse().unwrap(), meaning)
        })
        .collect();
    let mut all = Vec::new();
    for code in 0..=u8::MAX {
        let run = stage.run(&format!("help --json {code}"));
        let document: Value = serde_json::from_str(&run.stdout).unwrap();
        let own = document["meanings"].as_array().cloned().unwrap_or_default();
        let told: Vec<String> = own
            .iter()
            .map(|one| format!("{}: {}", one["command"].as_str().unwrap(), one["text"].as_str().unwrap()))
            .collect();
        // The condition of the root follows the meaning of a code of verbs.
        let short = |meaning: &str| {
            let end =
                [" The root is ", " The output lists "].iter().filter_map(|one| meaning.find(one)).min();
            meaning[..end.unwrap_or(meaning.len())].to_owned()
        };
        let listed = lines.iter().filter(|(first, last, _)| (first..=last).contains(&&code));
        assert_eq!(listed.map(|(.., meaning)| short(meaning)).collect::<Vec<_>>(), told, "{code}");
        all.extend(own);
    }
    assert_eq!(explained("exit-codes")["meanings"], Value::from(all));
    let first =
        "0 from verbs: Done, or there was nothing to do. The root is in the requested state.\n1 from verbs: ";
    assert!(text.starts_with(first), "{text}");
    let place = |words: &str| text.find(words).unwrap();
    assert!(place("9 from verbs") < place("129-130 from every command"), "{text}");
    assert!(place("144-192 from every command") < place("0 from classic commands"), "{text}");
}
