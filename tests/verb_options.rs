use std::fs;

use crate::delivery::Patch;
use crate::links::verbs;
use crate::packages::Package;
use crate::scenario::Scenario;

/// A command line of each verb that reads a policy; `@` is the directory beside the root.
const UNDER_A_POLICY: [(&str, &str); 29] = [
    ("add", "add @/100-02"),
    ("remove", "remove 100-01"),
    ("undo", "undo 2"),
    ("plan", "plan @/100-02"),
    ("status", "status"),
    ("list", "list"),
    ("show", "show 100-01"),
    ("order", "order"),
    ("missing", "missing -M @"),
    ("report", "report"),
    ("update", "update -M @"),
    ("confirm", "confirm"),
    ("undo-data drop", "undo-data drop 100-01"),
    ("undo-data repack", "undo-data repack --undo-format none 100-01"),
    ("undo-data export", "undo-data export -o @/export 100-01"),
    ("undo-data import", "undo-data import @/export"),
    ("recover", "recover"),
    ("check", "check"),
    ("stage new", "stage new --path /opt @/other"),
    ("stage status", "stage status @/stage"),
    ("stage refresh", "stage refresh @/stage"),
    ("stage drop", "stage drop @/stage"),
    ("stage promote", "stage promote @/stage"),
    ("libs list", "libs list"),
    ("libs prune", "libs prune"),
    ("undo-data list", "undo-data list"),
    ("adopt", "adopt --pkg ACMEown --pkg-version 1 --dir /opt"),
    ("key", "key list"),
    ("depot", "depot check @"),
];

/// A root with one applied patch and a stage; beside it the next revision of the patch and a policy of one unknown
/// word.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/tool", 0o755, "one\n")]);
    let patch = |id: &str| {
        let patch = Patch::of(id, Package::new("ACMEweb").file("bin/tool", 0o755, id));
        patch.beside(&format!("README.{id}"), "Synopsis: a tool\n")
    };
    stage.patchadd("", &patch("100-01")).ok();
    patch("100-02").write(&stage.beside(""));
    fs::write(stage.beside("policy"), "nonsense=1\n").unwrap();
    stage.run(&at(&stage, "-R @ROOT@ stage new --path /opt @/stage")).ok();
    stage
}

fn at(stage: &Scenario, line: &str) -> String {
    line.replace("@/", &format!("{}/", stage.beside("").display()).replace("//", "/"))
        .replace("-M @", &format!("-M {}", stage.beside("").display()))
        .replace("check @", &format!("check {}", stage.beside("").display()))
}

/// The verbs, and the actions of `stage` and `bulk` in their places.
pub(crate) fn verbs_and_actions() -> Vec<String> {
    let of_verbs = [
        ("stage", &["new", "enter", "list", "status", "refresh", "promote", "drop"][..]),
        ("undo-data", &["list", "drop", "repack", "export", "import"]),
        ("libs", &["list", "prune"]),
        ("setup", &["links", "completions", "hooks"]),
    ];
    let of_bulk = [
        "init", "run", "scan", "status", "why", "log", "history", "diff", "report", "enter", "release",
        "patches", "prune",
    ];
    let of_bulk = of_bulk.map(|action| format!("bulk {action}"));
    let has_actions = |verb: &str| verb == "bulk" || of_verbs.iter().any(|(one, _)| *one == verb);
    let verbs = verbs().into_iter().filter(|verb| !has_actions(verb));
    let actions =
        of_verbs.iter().flat_map(|(verb, actions)| actions.iter().map(move |one| format!("{verb} {one}")));
    verbs.chain(actions).chain(of_bulk).collect()
}

fn has_option(stage: &Scenario, verb: &str, option: &str) -> bool {
    let help = stage.run(&format!("{verb} --help")).ok();
    let word = |line: &str| line.split_whitespace().next().map(|word| word.trim_end_matches(',').to_owned());
    help.lines().any(|line| word(line).as_deref() == Some(option))
}

#[test]
fn a_verb_with_the_option_policy_reads_that_file_and_another_refuses_the_option() {
    let stage = stage();
    for verb in verbs_and_actions() {
        let line = UNDER_A_POLICY.iter().find(|(known, _)| *known == verb).map(|(_, line)| *line);
        assert_eq!(has_option(&stage, &verb, "--policy"), line.is_some(), "{verb}");
        let line = at(&stage, &format!("{} --policy @/policy", line.unwrap_or(&verb)));
        // If a verb takes no root either, that is reported first.
        let run = stage.run(&if has_option(&stage, &verb, "-R") {
            format!("{line} -R @ROOT@")
        } else {
            line.clone()
        });
        assert_ne!(run.code, 0, "{line}");
        let said = if has_option(&stage, &verb, "--policy") {
            "policy, line 1: nonsense: no such setting"
        } else {
            "--policy is for verbs that use the policy of a root"
        };
        assert!(run.stderr.contains(said), "{line}: {}", run.stderr);
    }
}

/// A command line of each other verb.
const WITHOUT_A_POLICY: [(&str, &str); 26] = [
    ("keygen", "keygen -o @/made --no-password"),
    ("help", "help 10"),
    ("setup completions", "setup completions bash"),
    ("setup links", "setup links @/links"),
    ("setup hooks", "setup hooks show"),
    ("history", "history"),
    ("stage list", "stage list"),
    ("bulk init", "bulk init @/bulk --tree @/tree"),
    ("bulk run", "bulk run @/nowhere"),
    ("bulk scan", "bulk scan @/nowhere"),
    ("bulk why", "bulk why @/nowhere made"),
    ("bulk history", "bulk history @/nowhere"),
    ("bulk report", "bulk report @/nowhere"),
    ("bulk enter", "bulk enter @/nowhere made"),
    ("bulk patches", "bulk patches @/nowhere"),
    ("bulk status", "bulk status @/nowhere"),
    ("bulk log", "bulk log @/nowhere made-1"),
    ("bulk diff", "bulk diff @/nowhere 1 2"),
    ("bulk release", "bulk release @/nowhere 1"),
    ("bulk upload", "bulk upload @/nowhere"),
    ("bulk prune", "bulk prune @/nowhere"),
    ("lint", "lint @/100-02"),
    ("sign", "sign --key @/k.sec @/100-02"),
    ("publish", "publish --unsigned @/work @/depot"),
    ("build", "build --id 300-01 --from @/a --to @/b -o @/made"),
    ("delta", "delta --release @/a --stable @/b --work @/work"),
];

fn line_of(stage: &Scenario, verb: &str) -> String {
    let lines = UNDER_A_POLICY.iter().chain(&WITHOUT_A_POLICY);
    let line = lines.clone().find(|(known, _)| *known == verb);
    at(stage, line.unwrap_or_else(|| panic!("no line has {verb}")).1)
}

/// The line of a verb, on the root if the verb works on one.
fn on_root(stage: &Scenario, verb: &str) -> String {
    let line = line_of(stage, verb);
    if has_option(stage, verb, "-R") { format!("{line} -R @ROOT@") } else { line }
}

#[test]
fn a_verb_whose_help_shows_json_prints_a_document_with_it() {
    let stage = stage();
    for verb in verbs_and_actions() {
        if has_option(&stage, &verb, "--json") {
            let run = stage.run(&format!("{} --json", on_root(&stage, &verb)));
            let document: serde_json::Value = serde_json::from_str(&run.stdout)
                .unwrap_or_else(|error| panic!("{verb}: {error}: {} {}", run.stdout, run.stderr));
            assert_ne!(document["cause"], "usage", "{verb}: {document}");
        }
    }
    for action in ["stage enter", "bulk enter"] {
        assert!(!has_option(&stage, action, "--json"), "{action}");
    }
}

#[test]
fn an_option_that_the_help_of_a_verb_shows_does_something_there() {
    let stage = stage();
    for verb in verbs_and_actions() {
        let has = |option| has_option(&stage, &verb, option);
        if has("-R") && verb != "stage enter" {
            let run = stage.run(&format!("{} -R /no/such/root --color always", line_of(&stage, &verb)));
            assert!(run.code != 0 && run.stderr.contains("/no/such/root"), "{verb}: {}", run.stderr);
            assert!(run.stderr.contains("\u{1b}[") && has("--color"), "{verb}: {}", run.stderr);
        }
        if has("-q") && !["demo", "stage enter"].contains(&&*verb) {
            let line = on_root(&stage, &verb);
            let run = stage.run(&format!("{line} -q"));
            assert_eq!(run.stdout, "", "{line}");
        }
    }
}

/// A command line of each verb that prints more with `-v`.
const WITH_MORE: [(&str, &str); 11] = [
    ("add", "add @/100-02"),
    ("remove", "remove 100-01"),
    ("undo", "undo 2"),
    ("list", "list"),
    ("show", "show --files 100-01"),
    ("check", "check"),
    ("history", "history"),
    ("order", "order"),
    ("update", "update -M @"),
    ("stage promote", "stage promote @/stage"),
    ("stage new", "stage new --path /opt --exclude tool @/other"),
];

#[test]
fn a_verb_whose_help_shows_v_tells_more_with_it() {
    for verb in verbs_and_actions() {
        let Some((_, line)) = WITH_MORE.iter().find(|(known, _)| *known == verb) else {
            let elsewhere = ["delta", "lint", "stage enter"].contains(&&*verb);
            assert!(elsewhere || !has_option(&Scenario::new(), &verb, "-v"), "{verb}");
            continue;
        };
        let [brief, verbose] = ["", " -v"].map(|option| {
            let stage = stage();
            fs::write(stage.beside("stage/opt/ACMEweb/own"), "own\n").unwrap();
            let run = stage.run(&format!("{} -R @ROOT@{option}", at(&stage, line)));
            (run.code, run.stdout + &run.stderr)
        });
        assert_eq!(brief.0, verbose.0, "{verb}: {brief:?} {verbose:?}");
        assert!(verbose.1.len() > brief.1.len(), "{verb}: {brief:?} {verbose:?}");
    }
}

#[test]
fn an_option_that_would_do_nothing_is_refused() {
    let stage = stage();
    for (option, value, why) in [
        ("-R", " @ROOT@", "-R is for verbs that work on a root"),
        ("-v", "", "-v is for verbs with more to print"),
    ] {
        let without: Vec<String> =
            verbs_and_actions().into_iter().filter(|verb| !has_option(&stage, verb, option)).collect();
        assert!(without.contains(&"help".to_owned()), "{option}: {without:?}");
        for verb in without {
            let said = stage.run(&format!("{verb} {option}{value}")).fails(2);
            assert!(said.contains(why) && said.contains(&format!("and {verb} is not one of them")), "{said}");
        }
    }
    assert!(stage.run("help --json").fails(2).contains("has no JSON form"));
    assert!(stage.run("demo --json").fails(2).contains("the demo has no JSON form"));
}

#[test]
fn an_option_that_another_action_of_the_verb_has_is_refused() {
    let stage = stage();
    for (line, said) in [
        ("-R @ROOT@ key list --as-owner", "--as-owner is not an option of this action"),
        ("-R @ROOT@ setup hooks show --as-owner", "--as-owner is not an option of this action"),
        ("-R @ROOT@ setup", "no action specified: links, completions or hooks"),
        ("-R @ROOT@ depot index @/", "-R is not an option of this action"),
        ("depot index --keys @/ @/", "--keys is not an option of this action"),
        ("depot index --signature require @/", "--signature is not an option of this action"),
        ("depot index --password-file @/x @/", "required arguments were not provided:\n      --key"),
        (
            "publish --refresh --unsigned --password-file @/x @/",
            "required arguments were not provided:\n      --key",
        ),
        ("-R @ROOT@ order -M @/", "the argument '--root <ROOT>' cannot be used with '--depot <DIR>'"),
        ("-R @ROOT@ libs list --wait 1", "--wait is an option of add, remove and other verbs"),
        ("-R @ROOT@ libs list --trust-root", "--trust-root"),
        ("-R @ROOT@ adopt --forget --pkg ACMEweb --arch x", "cannot be used with '--arch <ARCH>'"),
        ("-R @ROOT@ undo 2 --offline", "--offline applies only to patches that are reapplied"),
        ("-R @ROOT@ undo 2 --keys @/", "--keys applies only to patches that are reapplied"),
    ] {
        let run = stage.run(&at(&stage, line));
        assert_eq!(run.code, 2, "{line}: {}", run.stderr);
        assert!(run.stderr.contains(said), "{line}: {}", run.stderr);
    }
    assert!(!stage.beside("k.sec").exists());
    assert!(stage.run("-R @ROOT@ list").ok().contains("100-01"));
}

#[test]
fn an_option_of_other_verbs_is_refused_with_verbs_that_have_it() {
    let stage = stage();
    let verbs = verbs_and_actions();
    for option in [
        "--as-owner",
        "--trust-root",
        "--wait",
        "--note",
        "-n",
        "-y",
        "--diff",
        "--all-or-nothing",
        "--adopt",
        "--edited",
        "--check",
        "-M",
        "--offline",
        "--roots",
        "--jobs",
        "--reboot-code",
        "--trial",
        "--probe",
    ] {
        let said = stage.run(&format!("history {option} -R @ROOT@")).fails(2);
        let begin = format!("patchadm: error: {option} is an option of ");
        let named = said.strip_prefix(&begin).unwrap_or_else(|| panic!("{option}: {said}"));
        let (named, _) = named.split_once(", and history does not have it\n").unwrap();
        let named: Vec<&str> = named
            .split(", ")
            .flat_map(|some| some.split(" and "))
            .filter(|one| !one.starts_with("other "))
            .collect();
        for verb in named {
            assert!(verbs.iter().any(|known| known == verb), "{option}: {verb}");
            assert!(has_option(&stage, verb, option), "{option}: {verb}");
        }
    }
}

#[test]
fn a_planned_removal_looks_for_undo_data_where_it_was_moved_to() {
    let stage = stage();
    fs::create_dir(stage.beside("undo")).unwrap();
    stage.run(&at(&stage, "-R @ROOT@ add --undo-dir @/undo @/100-02")).ok();
    fs::rename(stage.beside("undo"), stage.beside("moved")).unwrap();
    assert_ne!(stage.run("-R @ROOT@ remove --dry-run 100-02").code, 0);
    stage.run(&at(&stage, "-R @ROOT@ remove --dry-run --undo-dir @/moved 100-02")).ok();
}
