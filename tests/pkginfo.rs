use crate::scenario::Scenario;

const FOO: &str = "PKG=ACMEfoo\nNAME=Foo tools\nCATEGORY=application,utils\nARCH=i386\nVERSION=1.0,REV=2\n\
                   BASEDIR=/opt/foo\nVENDOR=Acme\nPSTAMP=stamp3\nINSTDATE=Nov 20 2026 06:37\n";
const BAR: &str = "PKG=ACMEbar\nNAME=Bar\nCATEGORY=system\nARCH=sparc,sun4u\nVERSION=1.0 beta\n";

/// Two packages, of which the first has two instances.
fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.package("ACMEfoo", FOO);
    stage.package("ACMEfoo.2", &FOO.replace("1.0,REV=2", "2.0"));
    stage.package("ACMEbar", BAR);
    stage.contents(&[
        "/opt/foo d none 0755 root root ACMEfoo",
        "/opt/foo/bin d none 0755 root root ACMEfoo ACMEbar",
        "/opt/foo/bin/hello f none 0755 root root 6 542 1577836800 ACMEfoo",
        "/opt/foo/bin/hello2=hello l none ACMEfoo",
        "/opt/foo/bin/hi=hello s none ACMEfoo",
    ]);
    stage
}

#[test]
fn packages_are_listed_in_the_order_of_their_names() {
    assert_eq!(
        stage().run("pkginfo -R @ROOT@").ok(),
        "system      ACMEbar   Bar\napplication ACMEfoo   Foo tools\napplication ACMEfoo.2 Foo tools\n"
    );
}

#[test]
fn the_extracted_listing_has_architecture_and_version_on_a_second_line() {
    assert_eq!(
        stage().run("pkginfo -x -R @ROOT@ ACMEbar ACMEfoo").ok(),
        "ACMEbar  Bar\n         (sparc,sun4u) 1.0 beta\nACMEfoo  Foo tools\n         (i386) 1.0,REV=2\n"
    );
}

#[test]
fn the_long_listing_counts_the_objects_and_ends_in_a_blank_line() {
    assert_eq!(
        stage().run("pkginfo -l -R @ROOT@ ACMEfoo").ok(),
        "   PKGINST:  ACMEfoo
      NAME:  Foo tools
  CATEGORY:  application,utils
      ARCH:  i386
   VERSION:  1.0,REV=2
   BASEDIR:  /opt/foo
    VENDOR:  Acme
    PSTAMP:  stamp3
  INSTDATE:  Nov 20 2026 06:37
    STATUS:  completely installed
     FILES:        5 installed pathnames
                   1 shared pathnames
                   1 linked files
                   2 directories
                   1 executables
                   1 blocks used (approx)

"
    );
}

#[test]
fn a_package_that_is_not_there_is_named_and_what_is_there_is_listed() {
    let run = stage().run("pkginfo -R @ROOT@ nosuch ACMEbar");
    assert_eq!(run.stdout, "system      ACMEbar Bar\n");
    assert_eq!(run.fails(1), "ERROR: information for \"nosuch\" was not found\n");
    let run = stage().run("pkginfo -p -R @ROOT@ ACMEbar");
    assert_eq!(run.fails(1), "ERROR: No partial information for \"ACMEbar\" was found\n");
}

#[test]
fn quiet_answers_with_the_exit_code_alone() {
    for (line, code) in [
        ("pkginfo -q -R @ROOT@ ACMEfoo", 0),
        ("pkginfo -q -R @ROOT@ nosuch", 1),
        ("pkginfo -q -R @ROOT@ ACMEfoo nosuch", 1),
        ("pkginfo -q -R @ROOT@ -c UTILS", 0),
        ("pkginfo -q -R @ROOT@ -c games", 1),
    ] {
        let run = stage().run(line);
        assert_eq!((run.code, run.stdout.as_str(), run.stderr.as_str()), (code, "", ""), "{line}");
    }
}

#[test]
fn packages_are_selected_by_instance_category_architecture_and_version() {
    for (options, found) in [
        ("ACMEfoo.*", "ACMEfoo\nACMEfoo.2\n"),
        ("all", "ACMEbar\nACMEfoo\nACMEfoo.2\n"),
        ("-c games,System", "ACMEbar\n"),
        ("-a sun4u", "ACMEbar\n"),
        ("-v 2.0", "ACMEfoo.2\n"),
        ("-c games -c UTILS -c System", "ACMEbar\nACMEfoo\nACMEfoo.2\n"),
        ("-c utils -a i386 -v 2.0 -N", "ACMEfoo.2\n"),
        ("-c utils all", "ACMEfoo\nACMEfoo.2\n"),
    ] {
        assert_eq!(stage().run(&format!("pkginfo -L -R @ROOT@ {options}")).ok(), found, "{options}");
    }
    let stage = stage();
    stage.file("/var/sadm/pkg/ACMEbar/install/compver", "0.9\n");
    assert_eq!(stage.run("pkginfo -L -R @ROOT@ -v ~0.9").ok(), "ACMEbar\n");
}

#[test]
fn a_run_of_blanks_in_a_version_equals_one() {
    let stage = stage();
    for (version, code) in [("1.0 beta", 0), ("1.0   beta", 0), ("~1.0 beta", 0), ("1.0", 1), ("~1.0", 1)] {
        let status = stage.command("pkginfo -q -R @ROOT@ ACMEbar -v").arg(version).status().unwrap();
        assert_eq!(status.code(), Some(code), "<{version}>");
    }
}

#[test]
fn options_that_exclude_each_other_are_wrong_usage() {
    let stage = stage();
    for options in ["-q -x", "-q -l", "-x -l", "-r -l", "-r -x", "-p -i", "-L -l", "-d x -p", "-a"] {
        let run = stage.run(&format!("pkginfo -R @ROOT@ {options}"));
        assert_eq!(run.stdout, "", "{options}");
        assert!(run.fails(1).contains("\nusage: pkginfo [-q|-x|-l] "), "{options}");
    }
}

#[test]
fn what_is_compatible_with_a_version_is_asked_of_packages_on_a_device_too() {
    let stage = Scenario::new();
    stage.spooled("/spool/ACMEfoo", FOO, &["1 i compver 4 161 1577836800"]);
    stage.file("/spool/ACMEfoo/install/compver", "0.9\n");
    assert_eq!(stage.run("pkginfo -L -d @ROOT@/spool -v ~0.9").ok(), "ACMEfoo\n");
    stage.run("pkginfo -L -d @ROOT@/spool -v 0.9").fails(1);
    assert_eq!(stage.run("pkginfo -r -d @ROOT@/spool").ok(), "/opt/foo\n");
    assert_eq!(
        stage.run("pkginfo -x -d @ROOT@/spool -c utils").ok(),
        "ACMEfoo  Foo tools\n         (i386) 1.0,REV=2\n"
    );
}

#[test]
fn a_package_that_the_classic_tools_are_updating_is_listed_as_before() {
    let stage = stage();
    stage.package(".save.ACMEbar", &BAR.replace("1.0 beta", "0.9"));
    assert_eq!(
        stage.run("pkginfo -x -R @ROOT@ all").ok().lines().take(2).last(),
        Some("           (sparc,sun4u) 0.9")
    );
}

#[test]
fn a_lock_left_behind_makes_a_package_partial() {
    let stage = stage();
    stage.file("/var/sadm/pkg/ACMEbar/!I-Lock!", "");
    assert_eq!(stage.run("pkginfo -L -p -R @ROOT@").ok(), "ACMEbar\n");
    assert_eq!(stage.run("pkginfo -L -i -R @ROOT@").ok(), "ACMEfoo\nACMEfoo.2\n");
    assert!(stage.run("pkginfo -l -R @ROOT@ ACMEbar").ok().contains("STATUS:  partially installed\n"));
}

#[test]
fn base_directories_are_printed_one_in_a_line() {
    assert_eq!(stage().run("pkginfo -r -R @ROOT@ ACMEbar ACMEfoo").ok(), "none\n/opt/foo\n");
}

#[test]
fn a_pkginfo_without_a_mandatory_parameter_is_an_error_and_hides_no_other_package() {
    let stage = stage();
    stage.package("ACMEbad", "PKG=ACMEbad\nNAME=Bad\n");
    let run = stage.run("pkginfo -L -R @ROOT@");
    assert_eq!(run.stdout, "ACMEbar\nACMEfoo\nACMEfoo.2\n");
    assert_eq!(
        run.fails(1),
        "pkginfo: ERROR: pkginfo file is corrupt or missing\n    ACMEbad: it has no ARCH\n"
    );
}

#[test]
fn of_an_empty_database_nothing_is_listed_and_that_is_no_error() {
    let stage = Scenario::new();
    for options in ["", "-x", "-l", "-r", "-L"] {
        assert_eq!(stage.run(&format!("pkginfo {options} -R @ROOT@")).ok(), "", "{options}");
    }
    for narrowed in ["-q", "-i", "-p", "-a i386", "-v 1.0", "-c system", "-d @ROOT@/var/sadm/pkg"] {
        let run = stage.run(&format!("pkginfo {narrowed} -R @ROOT@"));
        assert_eq!((run.code, run.stdout.as_str()), (1, ""), "{narrowed}");
    }
}

#[test]
fn packages_in_a_directory_are_listed_as_spooled() {
    let stage = Scenario::new();
    stage.spooled(
        "/spool/ACMEfoo",
        FOO,
        &["1 d none bin 0755 root bin", "1 f none bin/a 0755 root bin 513 9 1577836800"],
    );
    for line in ["pkginfo -l -d @ROOT@/spool ACMEfoo", "pkginfo -l -d @ROOT@/spool/ACMEfoo"] {
        let text = stage.run(line).ok();
        assert!(
            text.ends_with(
                "    STATUS:  spooled
     FILES:        4 spooled pathnames
                   1 directories
                   1 executables
                   2 package information files
                   2 blocks used (approx)

"
            ),
            "{text}"
        );
    }
    assert_eq!(
        stage.run("pkginfo -d @ROOT@/spool nosuch").fails(1),
        "ERROR: information for \"nosuch\" was not found\n"
    );
}

#[test]
fn json_has_the_same_in_one_document() {
    let text = stage().run("pkginfo --json -R @ROOT@ ACMEfoo nosuch").stdout;
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["schema"], "patchadm/1");
    assert_eq!(document["command"], "pkginfo");
    assert_eq!(document["exit_code"], 1);
    assert_eq!(document["packages"][0]["instance"], "ACMEfoo");
    assert_eq!(document["packages"][0]["files"]["pathnames"], 5);
    assert_eq!(document["missing"][0], "nosuch");
}
