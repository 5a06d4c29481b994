//! `patchadm` alone, which is `patchadm status`: a few lines about a root, and what to do next.

use std::fs;

use crate::delivery::{Patch, indexed_depot};
use crate::list::interrupted;
use crate::packages::Package;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

fn patch(id: &str) -> Patch {
    Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, id))
}

/// A root with a package and a patch.
fn stage() -> Scenario {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    stage.patchadd("", &patch("100-01")).ok();
    stage
}

/// Makes a depot beside the root, and a policy that names it, by which a privileged caller learns of the depot of
/// another root.
fn with_depot(stage: &Scenario, patches: &[&str]) -> String {
    let patches: Vec<Patch> = patches.iter().map(|id| patch(id)).collect();
    let depot = indexed_depot(stage, &patches).display().to_string();
    fs::write(stage.beside("policy"), format!("depot={depot}\n")).unwrap();
    depot
}

#[test]
fn a_root_in_order_is_told_in_a_few_lines() {
    let stage = stage();
    let text = "Applied      1 patch
Missing      unknown: no depot configured; specify one with `missing -M DEPOT`
Lost fixes   none
Trial        none
Merges       none
Interrupted  no
Next         nothing to do
";
    let before = Tree::of(&stage.root(), &[]);
    for line in ["-R @ROOT@", "status -R @ROOT@", "-R @ROOT@ status", "-R @ROOT@ --offline"] {
        assert_eq!(stage.run(line).ok(), text, "{line}");
    }
    assert_same(&Tree::of(&stage.root(), &[]), &before);
    let document: serde_json::Value =
        serde_json::from_str(&stage.run("status -R @ROOT@ --json").ok()).unwrap();
    assert_eq!((&document["command"], &document["applied"]), (&"status".into(), &1.into()));
}

#[test]
fn what_its_depot_has_more_is_missing_and_update_comes_next() {
    let stage = stage();
    let depot = with_depot(&stage, &["100-01", "100-02"]);
    let text = stage.run("-R @ROOT@ --policy policy").ok();
    assert!(text.contains(&format!("\nMissing      1 patch of {depot}\n")), "{text}");
    assert!(
        text.ends_with("\nNext         `patchadm -R @ROOT@ update` applies the missing patches\n"),
        "{text}"
    );
    stage.run("-R @ROOT@ update --policy policy").ok();
    let text = stage.run("-R @ROOT@ --policy policy").ok();
    assert!(text.starts_with("Applied      2 patches (1 superseded)\n"), "{text}");
    assert!(text.contains(&format!("\nMissing      none of {depot}\n")), "{text}");
    assert!(text.ends_with("\nNext         nothing to do\n"), "{text}");
}

#[test]
fn a_depot_that_was_used_once_is_named_by_status_update_doctor_and_analyze_alike() {
    let stage = stage();
    let depot = indexed_depot(&stage, &[patch("100-01")]).display().to_string();
    let seen = serde_json::json!({
        "depot": "aa".repeat(16), "location": depot, "version": 1,
        "sha256": "11".repeat(32), "expires": null, "seen": "2026-11-20T07:00:00Z"
    });
    stage.file("/var/sadm/patchadm/depots", format!("{seen}\n"));
    let text = stage.run("-R @ROOT@").ok();
    let words = format!("\nMissing      unknown: no depot configured; the last one used was {depot}\n");
    assert!(text.contains(&words), "{text}");
    let said = stage.run("update -R @ROOT@").fails(1);
    assert!(said.contains(&format!("; the last one used was {depot}\n")), "{said}");
    assert!(said.contains(&format!("hint: patchadm -R @ROOT@ update -M {depot}\n")), "{said}");
    let said = stage.run("missing -R @ROOT@").stderr;
    assert!(said.contains(&format!("; the last depot used was {depot}")), "{said}");
    let doctor = stage.run("check --json -R @ROOT@").stdout;
    assert!(
        doctor.contains(&format!("no depot configured; {depot}, used before, can be reached")),
        "{doctor}"
    );
}

#[test]
fn a_depot_that_is_not_there_is_said_and_the_rest_is_told() {
    let stage = stage();
    fs::write(stage.beside("policy"), "depot=/nowhere/at/all\n").unwrap();
    let text = stage.run("-R @ROOT@ --policy policy").ok();
    assert!(text.contains("\nMissing      unknown: ") && text.contains("/nowhere/at/all"), "{text}");
    assert!(text.starts_with("Applied      1 patch\n"), "{text}");
    fs::write(stage.beside("policy"), "depot=https://127.0.0.1:9/none\n").unwrap();
    let text = stage.run("-R @ROOT@ --offline --policy policy").ok();
    assert!(text.contains("\nMissing      unknown: "), "{text}");
}

#[test]
fn a_trial_and_what_is_missing_are_the_two_next_steps() {
    let stage = stage();
    with_depot(&stage, &["100-02", "200-01"]);
    stage.run("add -R @ROOT@ --trial 1h -M delivered 100-02");
    let text = stage.run("-R @ROOT@ --policy policy").ok();
    let next = "\nNext         `patchadm -R @ROOT@ confirm` keeps the changes on trial; `patchadm -R @ROOT@ update` applies the missing patches\n";
    assert!(text.contains("\nTrial        run 3") && text.ends_with(next), "{text}");
}

#[test]
fn an_interrupted_run_is_the_first_thing_to_do() {
    let stage = interrupted();
    let text = stage.run("-R @ROOT@").ok();
    assert!(text.contains("\nInterrupted  3-"), "{text}");
    assert!(
        text.contains("\nNext         `patchadm -R @ROOT@ recover` rolls back the interrupted run"),
        "{text}"
    );
}

#[test]
fn a_root_without_records_has_nothing_to_tell() {
    let stage = Scenario::bare();
    assert_eq!(
        stage.run("-R @ROOT@").ok(),
        "No package or patch was ever recorded below this root.\n\
         Next         `patchadm -R @ROOT@ adopt --pkg PKG --pkg-version VERSION --dir DIR` registers a directory; \
         `patchadm -R @ROOT@ add --adopt PATCH` registers a dpkg or rpm package\n"
    );
    let said = stage.run("-R @ROOT@/none").fails(1);
    assert!(said.contains("@ROOT@/none"), "{said}");
}

#[test]
fn the_manual_groups_the_verbs_as_help_does() {
    let help = Scenario::new().run("help").ok();
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/man/patchadm.8")).unwrap();
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for line in help.lines().take_while(|line| *line != "Other programs and commands:") {
        if let Some(name) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) {
            groups.last_mut().unwrap().1.extend(name.split_whitespace().next());
        } else if let Some(heading) = line.strip_suffix(':') {
            groups.push((heading.to_owned(), Vec::new()));
        }
    }
    assert_eq!(groups.len(), 4);
    for (heading, verbs) in groups {
        let expected = format!("\n.It {heading}\n.Cm {}\n", verbs.join(" , "));
        assert!(page.contains(&expected), "{expected}");
    }
}

#[test]
fn a_record_as_long_as_a_file_is_cut() {
    let stage = stage();
    let long = "x".repeat(500_000);
    let seen = serde_json::json!({
        "depot": "aa".repeat(16), "location": format!("/{long}"), "version": 1,
        "sha256": "11".repeat(32), "expires": null, "seen": "2026-11-20T07:00:00Z"
    });
    stage.file("/var/sadm/patchadm/depots", format!("{seen}\n"));
    let text = stage.run("-R @ROOT@").ok();
    assert!(text.contains("the last one used was /xxx") && text.contains("x…\n"), "{}", text.len());
    assert!(text.len() < 30_000, "{}", text.len());
    let check = stage.run("check -R @ROOT@").stdout;
    assert!(check.len() < 100_000, "{}", check.len());
}

#[test]
fn of_two_places_of_a_depot_the_one_used_last_is_named_and_asked() {
    let stage = stage();
    let depot = indexed_depot(&stage, &[patch("100-01")]).display().to_string();
    let seen = |location: &str, day: u8| {
        let seen = serde_json::json!({
            "depot": "aa".repeat(16), "location": location, "version": 1,
            "sha256": "11".repeat(32), "expires": null, "seen": format!("2026-11-{day}T07:00:00Z")
        });
        format!("{seen}\n")
    };
    stage.file("/var/sadm/patchadm/depots", seen(&depot, 21) + &seen("/gone", 20));
    let text = stage.run("-R @ROOT@").ok();
    assert!(text.contains(&format!("; the last one used was {depot}\n")), "{text}");
    let check = stage.run("check -R @ROOT@").stdout;
    assert!(!check.contains("/gone"), "{check}");
}
