use std::fs;

use patchadm_changeset::format::journal;
use patchadm_changeset::format::journal::{Journal, JournalHeader};

use crate::scenario::Scenario;

/// A package of every kind of object, installed as it is recorded.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.package("SUNWstuf", "NAME=Stuff\n");
    stage.file("/opt/stuf/bin/tool", "hello\n");
    stage.mode("/opt/stuf/bin/tool", 0o755);
    stage.link("/opt/stuf/bin/tool-hard", "/opt/stuf/bin/tool");
    stage.symlink("/opt/stuf/bin/tool-soft", "./tool");
    stage.file("/opt/stuf/etc/conf", "a\n");
    stage.pipe("/opt/stuf/pipe");
    stage.file("/opt/stuf/share/with blank", "a\n");
    stage.contents(&[
        "/opt/stuf/bin d none 0755 root bin SUNWstuf",
        "/opt/stuf/bin/tool f none 0755 root bin 6 542 981173106 SUNWstuf",
        "/opt/stuf/bin/tool-hard=./tool l none SUNWstuf",
        "/opt/stuf/bin/tool-soft=./tool s none SUNWstuf",
        "/opt/stuf/etc/conf e preserve 0644 root sys 2 107 981173106 SUNWstuf",
        "/opt/stuf/pipe p none 0600 root root SUNWstuf",
        "/opt/stuf/share/with\\040blank f none 0644 root sys 2 107 981173106 SUNWstuf",
    ]);
    stage
}

#[test]
fn what_is_as_it_is_recorded_is_not_mentioned() {
    assert_eq!(stage().run("pkgchk -R @ROOT@ SUNWstuf").ok(), "");
    assert_eq!(stage().run("pkgchk -R @ROOT@").ok(), "");
}

#[test]
fn every_difference_has_a_line_below_its_path() {
    let stage = stage();
    fs::write(stage.at("/opt/stuf/bin/tool"), "hello, x\n").unwrap();
    stage.mtime("/opt/stuf/bin/tool", 1_795_158_252);
    stage.mode("/opt/stuf/bin/tool", 0o700);
    fs::remove_file(stage.at("/opt/stuf/bin/tool-hard")).unwrap();
    fs::write(stage.at("/opt/stuf/bin/tool-hard"), "").unwrap();
    fs::remove_file(stage.at("/opt/stuf/bin/tool-soft")).unwrap();
    stage.symlink("/opt/stuf/bin/tool-soft", "tool");
    fs::remove_file(stage.at("/opt/stuf/etc/conf")).unwrap();
    assert_eq!(
        stage.run("pkgchk -R @ROOT@ SUNWstuf").fails(1),
        "ERROR: @ROOT@/opt/stuf/bin/tool
    permissions <0755> expected <0700> actual
    modtime <02/03/01 04:05:06 AM> expected <11/20/26 07:04:12 AM> actual
    file size <6> expected <9> actual
    file cksum <542> expected <738> actual
ERROR: @ROOT@/opt/stuf/bin/tool-hard
    pathname not properly linked to <./tool>
ERROR: @ROOT@/opt/stuf/bin/tool-soft
    pathname not symbolically linked to <./tool>
ERROR: @ROOT@/opt/stuf/etc/conf
    pathname does not exist
"
    );
}

#[test]
fn another_type_is_the_only_thing_said_of_an_object() {
    let stage = stage();
    fs::remove_dir_all(stage.at("/opt/stuf/bin")).unwrap();
    stage.symlink("/opt/stuf/bin", "nowhere");
    assert_eq!(
        stage.run("pkgchk -R @ROOT@ -p /opt/stuf/bin,/opt/stuf/bin/tool-hard").fails(1),
        "ERROR: @ROOT@/opt/stuf/bin
    file type <d> expected <s> actual
ERROR: @ROOT@/opt/stuf/bin/tool-hard
    pathname does not exist
    pathname not properly linked to <./tool>
"
    );
}

#[test]
fn attributes_contents_and_changing_files_can_be_left_out() {
    let stage = stage();
    stage.mode("/opt/stuf/bin/tool", 0o700);
    fs::write(stage.at("/opt/stuf/etc/conf"), "b\n").unwrap();
    stage.mtime("/opt/stuf/etc/conf", 981_173_106);
    let mode = "ERROR: @ROOT@/opt/stuf/bin/tool\n    permissions <0755> expected <0700> actual\n";
    let sum = "ERROR: @ROOT@/opt/stuf/etc/conf\n    file cksum <107> expected <108> actual\n";
    for (options, errors) in [
        ("-a", mode.to_owned()),
        ("-c", sum.to_owned()),
        ("-n", mode.to_owned()),
        ("-ac", mode.to_owned() + sum),
    ] {
        assert_eq!(stage.run(&format!("pkgchk {options} -R @ROOT@ SUNWstuf")).fails(1), errors, "{options}");
    }
}

#[test]
fn quiet_does_not_mention_missing_objects_and_verbose_names_the_others() {
    let stage = stage();
    fs::remove_file(stage.at("/opt/stuf/etc/conf")).unwrap();
    assert_eq!(stage.run("pkgchk -q -R @ROOT@ SUNWstuf").fails(1), "");
    assert_eq!(
        stage.run("pkgchk -v -R @ROOT@ -P etc,share SUNWstuf").fails(1),
        "ERROR: @ROOT@/opt/stuf/etc/conf\n    pathname does not exist\n@ROOT@/opt/stuf/share/with blank\n"
    );
}

#[test]
fn owners_are_those_of_the_root() {
    let stage = stage();
    stage.contents(&[
        "/opt/stuf/bin d none 0755 adm adm SUNWstuf",
        "/opt/stuf/etc d none 0755 nosuch nosuch SUNWstuf",
    ]);
    assert_eq!(
        stage.run("pkgchk -R @ROOT@ SUNWstuf").fails(1),
        "ERROR: @ROOT@/opt/stuf/bin
    group name <adm> expected <root> actual
    owner name <adm> expected <root> actual
ERROR: @ROOT@/opt/stuf/etc
    group name <nosuch> not found in group table(s)
    owner name <nosuch> not found in passwd table(s)
"
    );
}

#[test]
fn a_root_where_owners_are_recorded_only_is_not_checked_for_them() {
    let stage = stage();
    stage.contents(&["/opt/stuf/bin d none 0755 adm adm SUNWstuf"]);
    stage.file("/var/sadm/patchadm/unprivileged", "");
    assert_eq!(stage.run("pkgchk -R @ROOT@ SUNWstuf").ok(), "");
}

#[test]
fn only_the_paths_asked_for_are_checked() {
    let stage = stage();
    for path in ["/opt/stuf/bin/tool", "/opt/stuf/etc/conf", "/opt/stuf/share/with blank"] {
        stage.mode(path, 0o600);
    }
    let wrong =
        |path: &str, mode| format!("ERROR: @ROOT@{path}\n    permissions <{mode}> expected <0600> actual\n");
    let tool = wrong("/opt/stuf/bin/tool", "0755");
    let conf = wrong("/opt/stuf/etc/conf", "0644");
    let blank = wrong("/opt/stuf/share/with blank", "0644");
    stage.file("/list", "/opt/stuf/share/with blank\n\n/nosuch\n");
    for (options, errors) in [
        ("-p /opt/stuf/bin*", tool),
        ("-p /opt/stuf/etc/conf,/opt/stuf/bin", conf.clone()),
        ("-P conf", conf),
        ("-q -i @ROOT@/list", blank),
    ] {
        assert_eq!(stage.run(&format!("pkgchk -R @ROOT@ {options}")).fails(1), errors, "{options}");
    }
    stage.file("/list", "\n");
    assert_eq!(
        stage.run("pkgchk -R @ROOT@ -i @ROOT@/list").fails(1),
        "pkgchk: ERROR: the list of paths is empty\n"
    );
}

#[test]
fn nothing_is_checked_while_a_run_is_unfinished_and_the_other_queries_answer() {
    let stage = stage();
    let header = JournalHeader {
        version: journal::VERSION,
        run: "7-00000000000000aa".to_owned(),
        command: "patchadd".to_owned(),
        root: "00112233445566ff".to_owned(),
        ..JournalHeader::default()
    };
    stage.file("/var/sadm/patchadm/journal", Journal::to_files(header, &[]).unwrap().journal);
    assert_eq!(
        stage.run("pkgchk -R @ROOT@").fails(65),
        "pkgchk: ERROR: a change of @ROOT@ is not finished: nothing can be checked until it is; if it was \
         interrupted, run `patchadm -R @ROOT@ recover`\n"
    );
    let run = stage.run("check --contents -R @ROOT@");
    assert_eq!(run.code, 9, "{}", run.stderr);
    let unfinished = run.stdout.lines().find(|line| line.starts_with("unfinished "));
    assert!(unfinished.is_some_and(|line| line.contains(" attention ")), "{}", run.stdout);
    assert_eq!(stage.run("pkgparam -R @ROOT@ SUNWstuf NAME").ok(), "Stuff\n");
}

#[test]
fn what_is_not_known_is_a_warning_and_no_error() {
    let stage = stage();
    stage.package("SUNWempty", "NAME=Empty\n");
    for (options, warning) in [
        ("nosuch", "WARNING: no pathnames were associated with <nosuch>\n"),
        ("SUNWempty", "WARNING: Package <SUNWempty> is installed but empty\n"),
        ("-p /nosuch", "WARNING: no information associated with pathname </nosuch>\n"),
        ("-q -p /nosuch", ""),
        ("-l -p /nosuch", ""),
    ] {
        assert_eq!(stage.run(&format!("pkgchk -R @ROOT@ {options}")).fails(0), warning, "{options}");
    }
}

#[test]
fn the_long_listing_shows_the_record_and_looks_at_nothing() {
    let stage = stage();
    fs::remove_file(stage.at("/opt/stuf/bin/tool")).unwrap();
    assert_eq!(
        stage.run("pkgchk -R @ROOT@ -l -p /opt/stuf/bin/tool").ok(),
        "Pathname: @ROOT@/opt/stuf/bin/tool
Type: regular file
Expected mode: 0755
Expected owner: root
Expected group: bin
Expected file size (bytes): 6
Expected sum(1) of contents: 542
Expected last modification: Feb 03 04:05:06 2001
Referenced by the following packages:
	SUNWstuf       
Current status: installed

"
    );
}

#[test]
fn a_listing_of_what_is_checked_is_wrong_usage() {
    let stage = stage();
    for letter in ["-a", "-c", "-f", "-n", "-q", "-v", "-x"] {
        let text = stage.run(&format!("pkgchk -R @ROOT@ -l {letter} SUNWstuf")).fails(1);
        assert!(text.contains("cannot be used with"), "{letter}: {text}");
    }
    for line in ["-e x SUNWstuf", "-p /a -P b", "-Y system SUNWstuf", "-m x -d y", "-d x -n", "-m x A B"] {
        let text = stage.run(&format!("pkgchk -R @ROOT@ {line}")).fails(1);
        assert!(text.contains("\nusage: pkgchk "), "{line}: {text}");
    }
}

#[test]
fn attributes_and_contents_can_be_checked_alone() {
    let stage = stage();
    fs::write(stage.at("/opt/stuf/etc/conf"), "b\n").unwrap();
    stage.mtime("/opt/stuf/etc/conf", 981_173_106);
    stage.mode("/opt/stuf/etc/conf", 0o600);
    let error = |detail: &str| format!("ERROR: @ROOT@/opt/stuf/etc/conf\n    {detail}\n");
    let mode = error("permissions <0644> expected <0600> actual");
    let content = error("file cksum <107> expected <108> actual");
    assert_eq!(stage.run("pkgchk -a -R @ROOT@").fails(1), mode);
    assert_eq!(stage.run("pkgchk -c -R @ROOT@").fails(1), content);
    assert_eq!(stage.run("pkgchk -n -R @ROOT@").fails(1), mode);
    assert_eq!(stage.run("pkgchk -c -n -R @ROOT@").ok(), "");
    let text = stage.run("pkgchk -v -R @ROOT@ -p /opt/stuf/etc*").fails(1);
    assert_eq!(text.lines().last(), Some("@ROOT@/opt/stuf/etc/conf"));
}

#[test]
fn the_records_can_be_had_as_they_are() {
    assert_eq!(
        stage().run("pkgchk -L -R @ROOT@ -p /opt/stuf/bin,/opt/stuf/bin/tool-soft").ok(),
        "/opt/stuf/bin d none 0755 root bin SUNWstuf\n/opt/stuf/bin/tool-soft=./tool s none SUNWstuf\n"
    );
}

#[test]
fn a_database_that_makes_no_sense_has_a_code_of_its_own() {
    let stage = stage();
    stage.contents(&["/opt/stuf f none what"]);
    let text = stage.run("pkgchk -R @ROOT@").fails(99);
    assert!(text.starts_with("pkgchk: ERROR: @ROOT@/var/sadm/install/contents: line 1: "), "{text}");
}

#[test]
fn the_packages_of_a_category_are_checked() {
    let stage = stage();
    stage.package("SUNWstuf", "NAME=Stuff\nCATEGORY=application,utils\n");
    stage.package("SUNWmore", "NAME=More\nCATEGORY=system\n");
    stage.mode("/opt/stuf/bin/tool", 0o700);
    assert!(stage.run("pkgchk -R @ROOT@ -Y UTILS").fails(1).contains("permissions <0755>"));
    assert_eq!(
        stage.run("pkgchk -R @ROOT@ -Y system").fails(0),
        "WARNING: Package <SUNWmore> is installed but empty\n"
    );
    assert_eq!(
        stage.run("pkgchk -R @ROOT@ -Y games").fails(1),
        "pkgchk: ERROR: no package of category <games> is installed\n"
    );
}

#[test]
fn json_has_the_discrepancies() {
    let stage = stage();
    stage.mode("/opt/stuf/bin/tool", 0o700);
    let text = stage.run("pkgchk --json -R @ROOT@").stdout;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["checked"], 7);
    assert_eq!(document["discrepancies"][0]["path"], "@ROOT@/opt/stuf/bin/tool");
    assert_eq!(document["discrepancies"][0]["errors"][0], "permissions <0755> expected <0700> actual");
}
