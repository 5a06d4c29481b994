//! A small tree in the form of pkgsrc: bmake prints its records, the driver of pkgsrc builds it, and its binary packages are
//! handed on as they are.

use std::process::Command;

use super::pbulk_reader::{field, read_run, words};
use super::{BulkBuild, everybody};

const TREE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/bulk/pkgsrc");

impl BulkBuild {
    /// One with this tree; its kit, the programs that install packages, is a part of it.
    fn of_pkgsrc(test: &str, is_ordinary: bool) -> Option<Self> {
        if Command::new("bmake").args(["-V", "MAKE"]).output().is_err() {
            crate::skipped(&format!("{test}: there is no bmake(1)"));
            return None;
        }
        let build = Self::empty(test, is_ordinary)?;
        let copied = Command::new("cp").args(["-RP", TREE]).arg(build.tree()).status().unwrap();
        assert!(copied.success());
        let build_as = if is_ordinary { "user" } else { "root" };
        let settings = format!("build_as={build_as}\nenv=LOCALBASE=/tree/kit\nslot=local 2\n");
        build.begin("--driver pkgsrc", &settings);
        Some(build)
    }
}

/// What is in the binary package of a set.
fn content(build: &BulkBuild, set: u64, package: &str) -> String {
    let archive = build.work().join(format!("sets/{set}/files/{package}/{package}.tgz"));
    let output = Command::new("tar").arg("-xzOf").arg(archive).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_tree_of_pkgsrc_is_scanned_by_bmake_built_and_told_in_the_form_of_pbulk() {
    for is_ordinary in everybody() {
        let Some(build) = BulkBuild::of_pkgsrc("a_tree_of_pkgsrc…", is_ordinary) else { return };
        let run = build.run("").ends(10);
        let expected = [
            "base-1.2 done",
            "broken-1.0 failed (exit)",
            "masked-3 prefailed",
            "user-0.5nb1 done",
            "word1-1.4 done",
            "word2-2.4 done",
        ];
        assert_eq!(run.states(), expected, "{}", build.who());
        assert_eq!(run.package("broken-1.0")["phase"], "build");
        assert!(build.log("broken").contains("This build fails."));
        let of_user = "base-1.2 of base\nbase-1.2 of base\nword1-1.4 of word\nuser-0.5nb1 of user\n";
        assert_eq!(content(&build, 1, "user-0.5nb1"), of_user);

        let files = read_run(&build.work().join("runs/1"));
        files.assert_consistent();
        assert_eq!(words(field(files.record("user-0.5nb1"), "DEPENDS")), ["base-1.2", "word1-1.4"]);
        assert_eq!(field(files.record("word2-2.4"), "MULTI_VERSION"), " CHOICE=2");
        assert_eq!(field(files.record("word2-2.4"), "PKG_LOCATION"), "lang/word");
        assert_eq!(files.pbuild["user-0.5nb1"], ["done", "restricted", "1"]);

        // The makefile of one package changes: it is scanned, and built with what needs it.
        build.change("lang/word/Makefile", ("NEEDS=\t\tbase\n", "NEEDS=\t\tbase base\n"));
        let run = build.run("").ends(10);
        assert_eq!(run.in_state("done"), ["user-0.5nb1", "word1-1.4", "word2-2.4"]);
        assert_eq!(
            content(&build, 2, "word2-2.4"),
            "base-1.2 of base\nbase-1.2 of base\nword2-2.4 of word\n"
        );

        // Another tool keeps the records of what was handed on: there are no patches of it.
        build.action("release @WORK@ 1").ok();
        let patches = build.action("patches @WORK@ --json").ok();
        let patches: serde_json::Value = serde_json::from_str(&patches).unwrap();
        let foreign = serde_json::json!(["base-1.2", "user-0.5nb1", "word1-1.4", "word2-2.4"]);
        assert_eq!(
            (&patches["foreign"], &patches["built"]),
            (&foreign, &serde_json::json!(0)),
            "{patches:#}"
        );
    }
}
