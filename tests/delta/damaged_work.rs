//! Damaged working directories: each damage has its own message and exit code, and nothing outside is touched.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::sets::{DELTA, delta, names, stage, told, work};
use super::sign;
use crate::scenario::Scenario;

type Change = Box<dyn FnOnce(String) -> String>;

/// Changes a text of the working directory.
fn edit(stage: &Scenario, name: &str, change: impl FnOnce(String) -> String) {
    let path = stage.beside("work").join(name);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, change(text)).unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::copy(from, to).unwrap();
}

#[test]
fn records_that_are_damaged_or_forged_are_refused_by_name() {
    let stage = stage();
    delta(&stage, "");
    let whole = work(&stage);
    let put = |from: &'static str, to: &'static str| move |text: String| text.replacen(from, to, 1);
    let cases: Vec<(&str, &str, Change)> = vec![
        (
            "cut",
            "work/state.json: state.json does not conform to",
            Box::new(|text| text[..text.len() / 2].to_owned()),
        ),
        ("empty", "work/state.json: state.json does not conform to", Box::new(|_| String::new())),
        ("schema", "the schema of state.json is <patchadm-delta/9>", Box::new(put("delta/1", "delta/9"))),
        ("way out", "the record of <curl-01> is not valid", Box::new(put("patches/curl", "patches/../curl"))),
        ("absolute", "the record of <curl-01> is not valid", Box::new(put("patches/curl", "/patches/curl"))),
        ("no id", "the record of <../x> is not valid", Box::new(put("\"curl-01\"", "\"../x\""))),
        (
            "no digest",
            "the record of <curl-01> is not valid",
            Box::new(put("\"sha256\": \"", "\"sha256\": \"x")),
        ),
        (
            "another source",
            "state.json: <curl-01> is listed for source less, but the base of that source is less",
            { Box::new(|text: String| text.replacen("\"source\": \"curl\"", "\"source\": \"less\"", 1)) },
        ),
    ];
    for (what, said, change) in cases {
        edit(&stage, "state.json", change);
        if what == "another source" {
            edit(&stage, "bases", |text| text + "less less\n");
        }
        let run = stage.run(DELTA).fails(1);
        assert!(run.contains(said), "{what}: {run}");
        fs::write(stage.beside("work/state.json"), &whole["state.json"]).unwrap();
        fs::write(stage.beside("work/bases"), &whole["bases"]).unwrap();
        assert!(work(&stage) == whole, "{what}");
    }
    edit(&stage, "state.json", |text| text.replace("openssl-01", "curl-1"));
    assert!(stage.run(DELTA).fails(1).contains("two records of <curl-"));
}

#[test]
fn bases_that_are_damaged_or_forged_are_refused_by_name() {
    let stage = stage();
    delta(&stage, "");
    for (text, said) in [
        ("curl\n", "work/bases: line 1: it is not SOURCE BASE"),
        ("curl ../../etc\n", "work/bases: line 1: it is not SOURCE BASE"),
        ("curl curl\ncurl x\n", "work/bases: line 2: <curl> is already listed"),
        (
            "curl other\n",
            "state.json: <curl-01> is listed for source curl, but the base of that source is other",
        ),
    ] {
        fs::write(stage.beside("work/bases"), text).unwrap();
        let run = stage.run(DELTA).fails(1);
        assert!(run.contains(said), "{run}");
    }
    // If the bases are lost, those of the patches apply.
    fs::remove_file(stage.beside("work/bases")).unwrap();
    assert_eq!(told(&delta(&stage, ""))[0], "curl kept curl-01");
}

#[test]
fn a_patch_that_is_gone_or_exchanged_is_made_again_unless_it_is_signed() {
    let stage = stage();
    delta(&stage, "");
    let whole = work(&stage);
    let patch = stage.beside("work/patches/curl-01.tar.gz");
    let manifest = stage.beside("work/patches/curl-01.tar.gz.manifest");
    let other = stage.beside("work/patches/openssl-01.tar.gz");
    let damages: [(&str, &dyn Fn()); 4] = [
        ("does not exist", &|| fs::remove_file(&patch).unwrap()),
        ("is not what was built", &|| copy(&other, &patch)),
        ("has no manifest", &|| fs::remove_file(&manifest).unwrap()),
        ("has a manifest for something else", &|| {
            copy(&stage.beside("work/patches/openssl-01.tar.gz.manifest"), &manifest);
        }),
    ];
    for (said, damage) in damages {
        damage();
        let run = stage.run(DELTA);
        assert_eq!(run.code, 0);
        assert!(
            run.stdout.contains(&format!("curl: built curl-01: made again: curl-01 {said}")),
            "{}",
            run.stdout
        );
        assert!(work(&stage) == whole, "{said}: the same bytes");
    }
    sign(&stage, "curl-01");
    for (said, damage) in damages {
        damage();
        let run = stage.run(DELTA).fails(5);
        assert!(
            run.contains(&format!("error: curl: patches/curl-01.tar.gz {said}, and it cannot be rebuilt")),
            "{run}"
        );
        for file in ["patches/curl-01.tar.gz", "patches/curl-01.tar.gz.manifest"] {
            fs::write(stage.beside("work").join(file), &whole[file]).unwrap();
        }
    }
}

#[test]
fn a_revision_that_another_one_stands_on_has_to_be_there() {
    let stage = stage();
    delta(&stage, "");
    delta(&stage, "--synopsis two --only curl");
    fs::remove_file(stage.beside("work/patches/curl-01.tar.gz")).unwrap();
    let run = stage.run(&format!("{DELTA} --synopsis two")).fails(5);
    assert!(
        run.contains("error: curl: patches/curl-01.tar.gz does not exist, and it cannot be rebuilt"),
        "{run}"
    );
}

#[test]
fn a_manifest_of_something_else_is_not_handed_over() {
    let stage = stage();
    delta(&stage, "");
    copy(
        &stage.beside("work/patches/openssl-01.tar.gz.manifest"),
        &stage.beside("work/patches/curl-01.tar.gz.manifest"),
    );
    delta(&stage, "--only less");
    let list = String::from_utf8(work(&stage)["handover/LIST"].clone()).unwrap();
    assert!(list.starts_with("openssl-01 ") && list.lines().count() == 1, "{list}");
    assert!(!names(&stage).contains(&"handover/curl-01.tar.gz.manifest".to_owned()));
}

#[test]
fn a_signed_patch_that_no_record_names_is_not_written_over() {
    let stage = stage();
    delta(&stage, "");
    sign(&stage, "curl-01");
    fs::remove_file(stage.beside("work/state.json")).unwrap();
    let before = work(&stage)["patches/curl-01.tar.gz"].clone();
    let run = delta(&stage, "");
    assert_eq!((told(&run)[0].as_str(), run.code), ("curl failed curl-01", 5));
    assert!(
        run.stderr.contains("patches/curl-01.tar.gz is signed, and state.json does not name it"),
        "{}",
        run.stderr
    );
    assert_eq!(work(&stage)["patches/curl-01.tar.gz"], before);
    assert_eq!(told(&run)[2], "openssl built openssl-01");
}

#[test]
fn links_in_the_working_directory_lead_nowhere() {
    for name in ["patches", "logs", "handover"] {
        let stage = stage();
        fs::create_dir_all(stage.beside("work")).unwrap();
        fs::create_dir(stage.beside("elsewhere")).unwrap();
        symlink("../elsewhere", stage.beside("work").join(name)).unwrap();
        let run = stage.run(DELTA);
        assert_eq!(run.code, 1, "{name}: {}{}", run.stdout, run.stderr);
        assert_eq!(fs::read_dir(stage.beside("elsewhere")).unwrap().count(), 0, "{name}");
    }
    let stage = stage();
    delta(&stage, "");
    let patch = stage.beside("work/patches/curl-01.tar.gz");
    fs::rename(&patch, stage.beside("elsewhere")).unwrap();
    symlink(stage.beside("elsewhere"), &patch).unwrap();
    let run = delta(&stage, "");
    assert_eq!((told(&run)[0].as_str(), run.code), ("curl failed -", 5));
    for name in ["state.json", "bases"] {
        let path = stage.beside("work").join(name);
        fs::rename(&path, stage.beside("moved")).unwrap();
        symlink(stage.beside("moved"), &path).unwrap();
        let run = stage.run(DELTA);
        assert_eq!(run.code, 1, "{name}: {}", run.stderr);
        fs::remove_file(&path).unwrap();
        fs::rename(stage.beside("moved"), &path).unwrap();
    }
    assert!(names(&stage).contains(&"state.json".to_owned()));
}
