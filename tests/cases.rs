use std::fs;
use std::path::{Path, PathBuf};

use crate::scenario::{Scenario, is_root, shared};
use crate::tree::{Tree, assert_same};

/// The cases that have packages and patches.
pub(crate) const CASES: [&str; 2] = ["openssl", "tzdata"];

/// The expected root of a case outside `var` in a state: `base`, or a patch id.
pub(crate) fn expected(case: &Path, state: &str) -> Tree {
    let text = fs::read_to_string(case.join(format!("expected/{state}.tree"))).unwrap();
    owners_if_root(Tree::parse(&text))
}

/// The actual root, to be compared with [`expected`].
pub(crate) fn found(stage: &Scenario) -> Tree {
    owners_if_root(stage.tree())
}

fn owners_if_root(tree: Tree) -> Tree {
    if is_root() { tree } else { tree.without_owners() }
}

/// A root with the base packages of a case, and the path of the case. `None` if the shared material is absent.
pub(crate) fn installed(test: &str, case: &str) -> Option<(Scenario, PathBuf)> {
    let case = shared(test, &format!("cases/{case}"))?;
    let stage = Scenario::bare_in_memory();
    let run = stage.run(&format!("pkgadd -n -R @ROOT@ -d {} all", case.join("base").display()));
    assert_eq!(run.code, 0, "{}", run.stderr);
    Some((stage, case))
}

#[test]
fn base_packages_of_real_releases_are_installed_exactly_and_removed_without_a_trace() {
    for name in CASES {
        let Some((stage, case)) = installed("base packages of real releases", name) else { return };
        assert_same(&found(&stage), &expected(&case, "base"));
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "{name}");
        let packages = stage.run("pkginfo -L -R @ROOT@").ok().replace('\n', " ");
        assert_eq!(stage.run(&format!("pkgrm -n -R @ROOT@ {packages}")).code, 0);
        assert_eq!(stage.tree(), Tree::default(), "{name}");
        assert_eq!(stage.lines(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn installing_a_real_release_again_changes_nothing() {
    for name in CASES {
        let Some((stage, case)) = installed("installing a real release again", name) else { return };
        let before = (found(&stage), stage.lines());
        let run = stage.run(&format!("pkgadd -n -R @ROOT@ -d {} all", case.join("base").display()));
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_same(&found(&stage), &before.0);
        assert_eq!(stage.lines(), before.1, "{name}");
    }
}

/// Datastreams of third parties; true if they install without scripts.
const DATASTREAMS: [(&str, bool); 5] = [
    (
        "dago+opencsw/csw__mgar__pkg__cswcommon__trunk__files__common-1.5,REV=2010.12.11-SunOS5.8-i386-CSW.pkg",
        false,
    ),
    ("mdehling+apc-driver/MDXapc-v0.1-sparc.pkg", false),
    ("simacektomas+wzfsadm/wzfsadm-i386.pkg", false),
    ("yannrouillard+svr4pkg/tests__packages__CSWcas-cpsampleconf.pkg", true),
    ("yannrouillard+svr4pkg/tests__packages__CSWpca.pkg", true),
];

#[test]
fn datastreams_of_other_people_are_installed_and_removed_or_refused_for_their_scripts() {
    let Some(streams) = shared("datastreams of other people", "realdata/datastream") else { return };
    for (name, installs) in DATASTREAMS {
        let stage = Scenario::new();
        let accounts = fs::read_to_string(stage.at("/etc/passwd")).unwrap();
        stage.file("/etc/passwd", accounts.replace("root:", "bin:") + &accounts);
        stage.file("/var/sadm/install/admin/default", "idepend=nocheck\nbasedir=default\n");
        // No test runs scripts of third parties.
        stage.file("/etc/patchadm/policy", "scripts=none\n");
        let before = stage.everything();
        let run = stage.run(&format!("pkgadd -n -S -R @ROOT@ -d {} all", streams.join(name).display()));
        if !installs {
            let text = run.fails(1);
            assert!(text.contains("which the policy of this root does not allow"), "{text}");
            assert_same(&stage.everything(), &before);
            continue;
        }
        assert_eq!(run.code, 0, "{name}: {}", run.stderr);
        assert_eq!(stage.run("pkgchk -R @ROOT@").ok(), "", "{name}");
        let package = stage.run("pkginfo -L -R @ROOT@").ok();
        assert_eq!(stage.run(&format!("pkgrm -n -R @ROOT@ {package}")).code, 0, "{name}");
        assert_eq!(
            stage.tree().paths(),
            "etc etc/group etc/passwd etc/patchadm etc/patchadm/policy",
            "{name}"
        );
    }
}
