//! Refusals of pkgmk(1): every one names its reason, with file and line, and leaves nothing behind.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use crate::producer::{PKGINFO, Producer};

#[test]
fn every_line_that_is_wrong_is_told_with_its_number() {
    let workshop = Producer::with(
        "i pkginfo\nq none x\nf none sp ace 0644 root sys\nf none gone 0644 root sys\n\
         f none gone=at/all 0644 root sys\n\n!default 0644\n!include nowhere\n!include prototype\n",
    );
    let told = workshop.run("pkgmk -d spool").fails(1);
    let expected = "## Building pkgmap from package prototype file.\n\
        ERROR in prototype:\n    garbled entry\n    - pathname: Unknown\n    - problem: unknown ftype\n    - line: 2\n\
        ERROR in prototype:\n    garbled entry\n    - pathname: sp\n    - problem: mode is not numeric.\n    - line: 3\n\
        ERROR in prototype:\n    garbled entry\n    - pathname: Unknown\n    - problem: garbled default settings\n    - line: 7\n\
        ERROR in prototype:\n    unable to open prototype <nowhere>: No such file or directory\n    - line: 8\n";
    assert!(told.starts_with(expected), "{told}");
    assert!(told.contains("    !include is nested too deeply, or names too many files\n"), "{told}");

    workshop.file(
        "prototype",
        "i pkginfo\nf none gone 0644 root sys\nf none x=at/all 0644 root sys\nd none $x/y\ni pkginfo\n",
    );
    assert_eq!(
        workshop.run("pkgmk -d spool").fails(1),
        "## Building pkgmap from package prototype file.\n\
         ERROR in prototype:\n    no object for <gone> found in search path\n    - line: 2\n\
         ERROR in prototype:\n    no object for <at/all> found in local path\n    - line: 3\n\
         ERROR in prototype:\n    no value for the variable in <$x/y>\n    - line: 4\n\
         ERROR in prototype:\n    duplicate pathname <pkginfo>, first in prototype on line 1\n    - line: 5\n\
         pkgmk: ERROR: unable to build pkgmap from prototype file\n\
         ## Packaging was not successful.\n"
    );
    assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0);
}

#[test]
fn a_package_that_cannot_be_is_refused() {
    let cases: [(&str, &str, &str, &str, i32); 9] = [
        ("d none a\n", PKGINFO, "", "required pkginfo file is not specified in prototype file", 99),
        ("i pkginfo\n", "NAME=x\n", "", "parameter <PKG> is not defined in <pkginfo>", 1),
        ("i pkginfo=/dev/null\n", "", "", "parameter <PKG> is not defined in <prototype>", 1),
        ("i pkginfo\n", PKGINFO, "PKG=a.b", "invalid package abbreviation <a.b>", 1),
        ("i pkginfo\n", PKGINFO, "PKG=all", "invalid package abbreviation <all>", 1),
        ("i pkginfo\n", PKGINFO, "ACMEbar", "PKG parameter <ACMEfoo> does not match instance <ACMEbar>", 1),
        ("i pkginfo\n", PKGINFO, "VERSION=(1)", "parameter <VERSION> may not begin with a parenthesis", 1),
        (
            "i pkginfo\n",
            "X=\"open\nPKG=y\n",
            "",
            "pkginfo: line 1: parsing error in parameter file: the quote that opens X is not closed",
            1,
        ),
        (
            "i pkginfo\n",
            PKGINFO,
            "-l 1",
            "the package takes 24 blocks, which is more than the limit of 1; it is not made in parts",
            1,
        ),
    ];
    for (prototype, pkginfo, options, expected, code) in cases {
        let workshop = Producer::with(prototype);
        workshop.file("pkginfo", pkginfo);
        let told = workshop.run(&format!("pkgmk -d spool {options}")).fails(code);
        let end = format!("pkgmk: ERROR: {expected}\n## Packaging was not successful.\n");
        assert!(told.ends_with(&end), "{told}");
        assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0, "{expected}");
    }
}

#[test]
fn a_prototype_and_a_device_must_be_there() {
    let workshop = Producer::new();
    let told = workshop.run("pkgmk -d spool").fails(1);
    assert!(told.contains("there is neither prototype nor Prototype here\n"), "{told}");
    workshop.file("Prototype", "i pkginfo\n");
    workshop.file("pkginfo", PKGINFO);
    let told = workshop.run("pkgmk -d nowhere").fails(1);
    assert!(told.contains("pkgmk: ERROR: cannot open nowhere: No such file or directory\n"), "{told}");
    workshop.make("");
    let told = workshop.run("pkgmk -d spool -f gone").fails(1);
    assert!(told.contains("ERROR in gone:\n    unable to open prototype <gone>: "), "{told}");
    let told = workshop.run("pkgmk -d spool a b").fails(1);
    assert!(
        told.starts_with("pkgmk: ERROR: only one package can be made at a time\nusage: pkgmk "),
        "{told}"
    );
}

#[test]
fn what_is_no_package_is_never_replaced() {
    let workshop = Producer::with("i pkginfo\n");
    workshop.file("spool/ACMEfoo/thesis", "years of work");
    let told = workshop.run("pkgmk -o -d spool").fails(1);
    assert!(told.contains("<spool/ACMEfoo> is not a package, and is not overwritten\n"), "{told}");
    assert_eq!(workshop.made("thesis"), "years of work");
}

#[test]
fn an_interrupted_making_leaves_nothing_and_ends_with_3() {
    let workshop = Producer::with("i pkginfo\nf none large 0644 root sys\n");
    workshop.file("large", "");
    fs::File::options().write(true).open(workshop.at("large")).unwrap().set_len(2 << 30).unwrap();
    let mut child = workshop.command("pkgmk -d spool").stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.ends_with("reloc/large\n") {
        assert!(said.read_line(&mut line).unwrap() > 0, "{line}");
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "pkgmk: ERROR: interrupted\n## Packaging was not successful.\n");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0);
}

#[test]
fn only_regular_files_are_sources() {
    let workshop = Producer::with("i pkginfo\nf none pipe 0644 root sys\n");
    assert!(Command::new("mkfifo").arg(workshop.at("pipe")).status().unwrap().success());
    let told = workshop.run("pkgmk -d spool").fails(1);
    assert!(told.contains("no object for <pipe> found in search path\n    - line: 2\n"), "{told}");
}

#[test]
fn a_source_that_cannot_be_read_leaves_no_package() {
    let workshop = Producer::with("i pkginfo\nf none a 0644 root sys\nf none a/b=a 0644 root sys\n");
    workshop.file("a", "x");
    let told = workshop.run("pkgmk -d spool").fails(1);
    assert!(told.contains("pkgmk: ERROR: cannot "), "{told}");
    assert_eq!(fs::read_dir(workshop.at("spool")).unwrap().count(), 0);
}
