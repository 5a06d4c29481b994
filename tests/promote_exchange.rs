//! Promotions whose changes become visible at once: `--exchange` of promote, and of the commands that back a
//! promotion out.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use serde_json::{Value, json};

use crate::promote::Staged;
use crate::scenario::Run;
use crate::tree::assert_same;

/// A staged tree with a change of every kind.
fn changed() -> Staged {
    let staged = Staged::new();
    staged.write("bin/new", "new\n");
    staged.write("doc/deep/er", "doc\n");
    staged.write("lib/libt.so.1", "library 2\n");
    staged.remove("lib/libt.so");
    staged.remove("share/7");
    fs::set_permissions(staged.at("etc/tool.conf"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::set_permissions(staged.at("share"), fs::Permissions::from_mode(0o750)).unwrap();
    staged
}

fn document(run: &Run) -> Value {
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    serde_json::from_str(&run.stdout).unwrap()
}

/// The paths of a document, each with its way and the reason for it.
fn ways(document: &Value) -> Vec<(&str, &str, Option<&str>)> {
    let paths = document["paths"].as_array().unwrap().iter();
    paths
        .map(|path| (path["path"].as_str().unwrap(), path["way"].as_str().unwrap(), path["reason"].as_str()))
        .collect()
}

#[test]
fn a_promotion_and_its_backout_are_one_exchange_each() {
    let staged = changed();
    let before = staged.tree();
    let inode = || fs::metadata(staged.live.at("/usr/pkg/share/3")).unwrap().ino();
    let kept = inode();
    let said = document(&staged.promote("--json --exchange /usr/pkg"));
    assert_eq!(ways(&said), [("/usr/pkg", "exchange", None)]);
    assert_eq!(said.get("holders"), None);
    let counts = |name: &str| said["paths"][0][name].as_u64().unwrap();
    assert_eq!((counts("added"), counts("replaced"), counts("deleted")), (2, 1, 2), "{said}");
    assert_same(&staged.tree(), &staged.staged_tree());
    assert_eq!(inode(), kept, "what does not change stays");
    assert_eq!(staged.live.run("pkgchk -R @ROOT@").ok(), "");
    assert_eq!(staged.promote("").ok(), "nothing to promote in /usr/pkg\n");

    let said = document(&staged.live.run("remove --json -R @ROOT@ --exchange /usr/pkg web-01"));
    assert_eq!(said["paths"], json!([{"path": "/usr/pkg", "way": "exchange"}]));
    assert_same(&staged.tree(), &before);
    assert_eq!(staged.live.lines(), Vec::<String>::new());

    let said = staged.promote("--exchange usr/pkg").ok();
    assert!(said.contains("note: @ROOT@/usr/pkg: all changes became visible atomically\n"), "{said}");
    staged.live.run("undo -R @ROOT@ --exchange /usr/pkg").ok();
    assert_same(&staged.tree(), &before);
}

#[test]
fn a_directory_inside_or_above_a_promoted_path_is_told_of_by_itself() {
    let staged = changed();
    let said = document(&staged.promote("--json --dry-run --exchange /usr/pkg/lib"));
    assert_eq!(ways(&said), [("/usr/pkg", "renames", None), ("/usr/pkg/lib", "exchange", None)]);
    let said = document(&staged.promote("--json --dry-run --exchange /usr --exchange /var"));
    let expected = [("/usr/pkg", "exchange", None), ("/usr", "exchange", None), ("/var", "nothing", None)];
    assert_eq!(ways(&said), expected);
    let said = staged.live.run("stage status web -R @ROOT@ --exchange /usr/pkg").ok();
    assert!(said.contains("note: @ROOT@/usr/pkg: all changes would become visible atomically\n"), "{said}");
    let said = document(&staged.promote("--json --exchange /usr/pkg/lib"));
    assert_eq!(ways(&said), [("/usr/pkg", "renames", None), ("/usr/pkg/lib", "exchange", None)]);
    assert_same(&staged.tree(), &staged.staged_tree());
}

#[test]
fn what_cannot_be_exchanged_is_refused_with_the_reason() {
    let staged = changed();
    let before = staged.live.everything();
    let reason = "it is the root directory";
    let said = staged.promote("--exchange /").fails(3);
    assert!(said.contains(reason), "{said}");
    assert_same(&staged.live.everything(), &before);
    for options in
        ["--exchange /nowhere", "--exchange /usr/pkg/bin/tool", "--exchange /usr --exchange /usr/pkg"]
    {
        for dry in ["", " --dry-run"] {
            let said = staged.promote(&format!("{options}{dry}")).fails(3);
            assert!(
                said.contains("name absolute paths of directories in the root"),
                "{options}{dry}: {said}"
            );
        }
    }
    assert_same(&staged.live.everything(), &before);
}

#[test]
fn a_directory_that_holds_the_stage_is_refused() {
    let live = crate::scenario::Scenario::new();
    live.file("/usr/pkg/bin/tool", "tool 1\n");
    live.run("stage new @ROOT@/usr/jail --name jail -R @ROOT@ --path usr/pkg").ok();
    fs::write(live.at("/usr/jail/usr/pkg/bin/tool"), "tool 2\n").unwrap();
    let said = live.run("stage promote jail -R @ROOT@ --exchange /usr").fails(3);
    assert!(said.contains("/usr/jail"), "{said}");
    assert_eq!(live.text("/usr/pkg/bin/tool"), "tool 1\n");
    live.run("stage promote jail -R @ROOT@ --exchange /usr/pkg").ok();
    assert_eq!(live.text("/usr/pkg/bin/tool"), "tool 2\n");
}
