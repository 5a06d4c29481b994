//! Real releases that go live from a stage: the trees are those that somebody else says.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cases::{expected, found, installed};
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// The cases, each with its first patch.
const CASES: [(&str, &str); 2] = [("openssl", "300001-01"), ("tzdata", "300002-01")];

/// The directories at the top of a root, but `var`.
fn tops(root: &Path) -> Vec<String> {
    let names = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name != "var").collect();
    names.sort();
    names
}

/// Puts the tree of a patched root into a directory, in the place of what it has.
fn fill(stage: &Path, patched: &Scenario) {
    for name in tops(&patched.root()) {
        let _ = fs::remove_dir_all(stage.join(&name));
        let copied =
            Command::new("cp").arg("-a").arg(patched.root().join(&name)).arg(stage).status().unwrap();
        assert!(copied.success(), "{name}");
    }
}

/// The root of a case with a patch applied.
fn patched(test: &str, case: &str, patch: &str) -> Option<Scenario> {
    let (root, from) = installed(test, case)?;
    root.run(&format!("patchadd -R @ROOT@ {}", from.join(patch).display())).ok();
    Some(root)
}

#[test]
fn a_real_release_in_a_stage_goes_live_exactly_and_comes_back() {
    for (case, patch) in CASES {
        let Some((live, from)) = installed("a real release goes live", case) else { return };
        let Some(patched) = patched("a real release goes live", case, patch) else { return };
        let paths: String = tops(&live.root()).iter().map(|name| format!(" --path {name}")).collect();
        live.run(&format!("stage new site -R @ROOT@{paths}")).ok();
        fill(&live.beside("site"), &patched);
        live.run("promote site -R @ROOT@ --max-delete 100%").ok();
        assert_same(&found(&live), &expected(&from, patch));
        assert_eq!(live.run("promote site -R @ROOT@").code, 0);
        live.run("patchrm -R @ROOT@ site-01").ok();
        assert_same(&found(&live), &expected(&from, "base"));
    }
}

#[test]
fn a_real_release_in_a_plain_tree_goes_live_without_a_base() {
    for (case, patch) in CASES {
        let Some((live, from)) = installed("a real release without a base", case) else { return };
        let Some(patched) = patched("a real release without a base", case, patch) else { return };
        let tree = live.beside("dest");
        fs::create_dir(&tree).unwrap();
        fill(&tree, &patched);
        let paths: String = tops(&live.root()).iter().map(|name| format!(" --path {name}")).collect();
        live.run(&format!(
            "promote {} -R @ROOT@ --two-way --delete --max-delete 100%{paths}",
            tree.display()
        ))
        .ok();
        assert_same(&found(&live), &expected(&from, patch));
        assert_eq!(live.run("pkgchk -R @ROOT@").ok(), "");
        live.run("patchrm -R @ROOT@ dest-01").ok();
        assert_same(&found(&live), &expected(&from, "base"));
    }
}
