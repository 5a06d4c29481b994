//! Refreshes that are refused, and lies of a stage about itself: each gives one clear refusal and changes nothing.

use std::fs;
use std::os::unix::fs::symlink;

use super::{change_live, document, live, own, refresh, whole_stage};
use crate::promote::Staged;
use crate::scenario::Scenario;
use crate::tree::{Tree, assert_same};

#[test]
fn whatever_cannot_be_refreshed_is_one_clear_refusal() {
    let staged = Staged::new();
    change_live(&staged);
    let other = Scenario::new();
    other.file("/usr/pkg/a", "1\n");
    other.run("stage new theirs -R @ROOT@ --path usr/pkg").ok();
    let theirs = other.beside("theirs").display().to_string();
    fs::create_dir(staged.live.beside("plain")).unwrap();
    fs::write(staged.live.beside("file"), "").unwrap();
    let before = (whole_stage(&staged), staged.live.everything());
    for (line, code, reason) in [
        ("none -R @ROOT@", 4, "none is neither a stage nor the name of one"),
        ("../none -R @ROOT@", 4, "../none is neither a stage nor the name of one"),
        ("plain -R @ROOT@", 4, "plain is neither a stage nor the name of one"),
        (&format!("{theirs} -R @ROOT@"), 3, "belongs to the root "),
        ("web -R /no/such", 1, "/no/such"),
        ("-R @ROOT@", 2, "<STAGE>"),
        ("web web -R @ROOT@", 2, "unexpected argument 'web'"),
        ("web --roots list", 2, "a stage is a copy of one"),
        ("web -R @ROOT@ --path usr/pkg", 2, "unexpected argument '--path'"),
        ("web -R @ROOT@ --edited perhaps", 2, "perhaps"),
        ("web -R @ROOT@ --two-way", 2, "unexpected argument '--two-way'"),
    ] {
        let said = staged.live.run(&format!("stage refresh {line}")).fails(code);
        assert!(said.contains(reason), "{line}: {said}");
        assert_same(&whole_stage(&staged), &before.0);
        assert_same(&staged.live.everything(), &before.1);
    }
    assert_ne!(staged.live.run("stage refresh file -R @ROOT@").code, 0);
    fs::write(own(&staged, "unfinished"), "").unwrap();
    let said = refresh(&staged, "").fails(3);
    assert!(said.contains("was never completed"), "{said}");
    fs::remove_file(own(&staged, "unfinished")).unwrap();
    fs::rename(live(&staged, ""), staged.live.at("/usr/elsewhere")).unwrap();
    let said = refresh(&staged, "").fails(1);
    assert!(said.contains("/usr/pkg does not exist"), "{said}");
    fs::create_dir(live(&staged, "")).unwrap();
    fs::rename(staged.at(""), staged.live.beside("web/usr/elsewhere")).unwrap();
    refresh(&staged, "").fails(1);
}

#[test]
fn a_stage_that_lies_in_what_it_is_a_copy_of_is_refused() {
    let staged = Staged::new();
    let inside = live(&staged, "inside");
    fs::create_dir(&inside).unwrap();
    assert_eq!(refresh(&staged, "").ok(), "1 path updated in stage web\n");
    fs::rename(staged.live.beside("web"), &inside).unwrap();
    let everything = || Tree::of(&staged.live.at("/usr"), &["pkg/inside/.patchadm-stage/lock"]);
    let before = everything();
    let text = staged.live.run(&format!("stage refresh {} -R @ROOT@", inside.display())).fails(3);
    assert!(text.contains("are nested"), "{text}");
    assert_same(&everything(), &before);
}

#[test]
fn a_root_that_moved_has_its_stage_by_its_marker_and_another_one_there_has_not() {
    let staged = Staged::new();
    staged.live.file("/usr/pkg/log", "live\n");
    let identity = fs::read_to_string(own(&staged, "identity")).unwrap();
    let root = fs::canonicalize(staged.live.root()).unwrap().display().to_string();
    // The root was at another path when the stage was made.
    fs::write(own(&staged, "identity"), identity.replace(&root, "/srv/elsewhere")).unwrap();
    assert_eq!(refresh(&staged, "").ok(), "1 path updated in stage web\n");
    // The same path, but another root.
    let other = identity.replace(&root, "/srv/elsewhere");
    let at = other.find("\"marker\":\"").unwrap() + 10;
    let other = format!("{}0123456789abcdef{}", &other[..at], &other[at + 16..]);
    fs::write(own(&staged, "identity"), &other).unwrap();
    let said = refresh(&staged, "").fails(3);
    assert!(
        said.contains("belongs to the root /srv/elsewhere") && said.contains("-R /srv/elsewhere"),
        "{said}"
    );
}

#[test]
fn lies_of_a_stage_about_itself_are_told_by_the_file() {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    staged.promote("").ok();
    staged.live.file("/usr/pkg/log", "live\n");
    let base = fs::read_to_string(own(&staged, "base.web-01")).unwrap();
    let first = fs::read_to_string(own(&staged, "base.0")).unwrap();
    let identity = fs::read_to_string(own(&staged, "identity")).unwrap();
    let id = identity.split('"').nth(5).unwrap();
    let swapped = |text: &str, old: &str, new: &str| {
        assert!(text.contains(old), "{old}: {text}");
        text.replacen(old, new, 1)
    };
    let run = base.split("\"run\":\"").nth(1).unwrap().split('"').next().unwrap();
    let before = (Tree::of(&staged.at(""), &[]), staged.live.everything());
    for (name, text, reason) in [
        ("base.web-01", first.clone(), "is not the base that the promotion web-01 wrote"),
        ("base.web-01", swapped(&base, run, &format!("9{run}")), "is not the base that the promotion web-01"),
        (
            "base.web-01",
            swapped(&base, id, "0123456789abcdef"),
            "it belongs to another stage, 0123456789abcdef",
        ),
        (
            "base.web-01",
            swapped(&base, "\"mode\":493", "\"mode\":511"),
            "does not match the digest in its first line",
        ),
        ("base.web-01", swapped(&base, "[\"/usr/pkg\"]", "[\"/opt\"]"), "not one of the staged"),
        ("base.web-01", base[..base.len() - 20].to_owned(), "it ends after"),
        ("base.web-01", String::new(), "line 1"),
        ("identity", swapped(&identity, id, "0123456789abcdef"), "base.0: it belongs to another stage"),
        ("identity", swapped(&identity, "\"stage\":1", "\"stage\":2"), "is not 1"),
        ("identity", swapped(&identity, "\"web\"", "\"../web\""), "identity: "),
        ("identity", identity.trim_end().to_owned(), "identity: "),
    ] {
        let whole = fs::read(own(&staged, name)).unwrap();
        fs::write(own(&staged, name), &text).unwrap();
        for options in ["", "--dry-run"] {
            let said = refresh(&staged, options).fails(1);
            assert!(said.contains(reason) && said.contains(".patchadm-stage/"), "{name}: {reason}: {said}");
        }
        let said = document(&staged, "");
        assert_eq!(said["exit_code"], 1, "{said}");
        fs::write(own(&staged, name), whole).unwrap();
        assert_same(&Tree::of(&staged.at(""), &[]), &before.0);
        assert_same(&staged.live.everything(), &before.1);
    }
    // Links to files of others are not followed.
    fs::rename(own(&staged, "base.web-01"), staged.live.beside("kept")).unwrap();
    refresh(&staged, "").fails(1);
    symlink(staged.live.beside("kept"), own(&staged, "base.web-01")).unwrap();
    assert_ne!(refresh(&staged, "").code, 0);
    fs::rename(staged.live.beside("kept"), own(&staged, "base.web-01")).unwrap();
    assert_eq!(refresh(&staged, "").ok(), "1 path updated in stage web\n");
}
