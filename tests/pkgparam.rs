use crate::scenario::Scenario;

fn stage() -> Scenario {
    let stage = Scenario::new();
    stage.package(
        "SUNWstuf",
        "CLASSES=none build\nNAME=it's stuff\nARCH=sparc, i386\nDESC=one\\\ntwo\nPATCHLIST=103201-01 103203-01\nEMPTY=\n",
    );
    stage
}

#[test]
fn values_are_printed_one_in_a_line_and_absent_ones_not_at_all() {
    assert_eq!(
        stage().run("pkgparam -R @ROOT@ SUNWstuf PATCHLIST NOPE ARCH EMPTY").ok(),
        "103201-01 103203-01\nsparc,i386\n\n"
    );
    assert_eq!(stage().run("pkgparam -R @ROOT@ SUNWstuf NOPE").ok(), "");
}

#[test]
fn all_parameters_come_in_the_order_of_the_file() {
    assert_eq!(
        stage().run("pkgparam -v -R @ROOT@ SUNWstuf").ok(),
        "CLASSES='none build'\nNAME='it'\"'\"'s stuff'\nARCH='sparc,i386'\nDESC='one\ntwo'\n\
         PATCHLIST='103201-01 103203-01'\nEMPTY=''\n"
    );
}

#[test]
fn an_unknown_package_is_an_error_and_so_is_none() {
    assert_eq!(
        stage().run("pkgparam -R @ROOT@ nosuch").fails(1),
        "pkgparam: ERROR: unable to locate parameter information for \"nosuch\"\n"
    );
    assert_eq!(
        stage().run("pkgparam -R @ROOT@ ../../etc").fails(1),
        "pkgparam: ERROR: unable to locate parameter information for \"../../etc\"\n"
    );
    assert!(
        stage()
            .run("pkgparam")
            .fails(1)
            .starts_with("pkgparam: ERROR: no package specified\nusage: pkgparam")
    );
}

#[test]
fn a_file_is_read_without_a_package() {
    let stage = Scenario::new();
    stage.file("/x", "A=1\nB=\"two words\"\n");
    assert_eq!(stage.run("pkgparam -f @ROOT@/x B A").ok(), "two words\n1\n");
    stage.file("/x", "A=1\nB=\"two\n");
    assert_eq!(
        stage.run("pkgparam -f @ROOT@/x").fails(1),
        "pkgparam: ERROR: @ROOT@/x: line 2: parsing error in parameter file: the quote that opens B is not closed\n"
    );
    assert_eq!(
        stage.run("pkgparam -f @ROOT@/nosuch").fails(1),
        "pkgparam: ERROR: cannot read @ROOT@/nosuch: No such file or directory\n"
    );
}

#[test]
fn a_package_that_the_classic_tools_are_updating_shows_its_old_parameters() {
    let stage = stage();
    stage.package(".save.SUNWstuf", "PATCHLIST=103201-01\n");
    assert_eq!(stage.run("pkgparam -R @ROOT@ SUNWstuf PATCHLIST").ok(), "103201-01\n");
}

#[test]
fn a_package_in_a_directory_is_asked_there() {
    let stage = Scenario::new();
    stage.spooled("/spool/SUNWa", "PKG=SUNWa\nVERSION=3\n", &[]);
    assert_eq!(stage.run("pkgparam -d @ROOT@/spool SUNWa VERSION").ok(), "3\n");
    assert_eq!(stage.run("pkgparam -d @ROOT@/spool/SUNWa SUNWa VERSION").ok(), "3\n");
    stage.run("pkgparam -d @ROOT@/spool SUNWb VERSION").fails(1);
}

#[test]
fn a_file_and_a_root_or_a_device_exclude_each_other() {
    for options in ["-f x -R /", "-f x -d y"] {
        let text = Scenario::new().run(&format!("pkgparam {options}")).fails(1);
        assert!(text.contains("\nusage: pkgparam [-v]"), "{options}: {text}");
    }
}

#[test]
fn a_file_is_printed_so_that_a_shell_reads_it_back() {
    let stage = Scenario::new();
    stage.file("/x", "A=1\n# nothing\nB=\"two words\"\nCATEGORY=a, b\n");
    assert_eq!(stage.run("pkgparam -v -f @ROOT@/x").ok(), "A='1'\nB='two words'\nCATEGORY='a,b'\n");
    assert_eq!(stage.run("pkgparam -f @ROOT@/x -v B").ok(), "B='two words'\n");
}

#[test]
fn json_has_the_parameters_by_name() {
    let text = stage().run("pkgparam --json -R @ROOT@ SUNWstuf PATCHLIST").ok();
    let document: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(document["parameters"], serde_json::json!({ "PATCHLIST": "103201-01 103203-01" }));
}
