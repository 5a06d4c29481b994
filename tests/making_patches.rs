//! The steps of making-patches(7), and the messages about a first patch.

use std::fs;
use std::path::Path;

use crate::delivery::Patch;
use crate::packages::Package;
use crate::readme::{Shown, run, steady};
use crate::scenario::{Run, Scenario};

/// The classic commands that the page calls by their own names.
const NAMED: [&str; 8] =
    ["pkgproto", "pkgmk", "pkgtrans", "pkgadd", "pkgparam", "pkgchk", "patchadd", "patchrm"];

#[test]
fn the_page_goes_from_two_directories_to_an_applied_patch() {
    let page =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("man/making-patches.7")).unwrap();
    let shown = commands(&page);
    assert!(shown.len() > 40, "only {} commands", shown.len());
    for word in NAMED {
        assert!(shown.iter().any(|one| one.command.contains(word)), "the page never calls {word}");
    }
    let outputs = run(&shown, &NAMED);
    assert_eq!(outputs.len(), shown.len());
    for (shown, output) in shown.iter().zip(outputs) {
        assert_eq!(steady(&output), steady(&shown.output), "$ {}", shown.command);
    }
}

/// The commands of the literal displays of a page, each with what it prints.
pub(crate) fn commands(page: &str) -> Vec<Shown> {
    let mut shown: Vec<Shown> = Vec::new();
    let mut literal = false;
    for line in page.lines() {
        match line {
            ".Bd -literal" => literal = true,
            ".Ed" => literal = false,
            line if literal => {
                let line = line.replace("\\(aq", "'").replace("\\e", "\\").replace("\\&", "");
                match (line.strip_prefix("$ "), shown.last_mut()) {
                    (Some(command), _) => {
                        shown.push(Shown { command: command.to_owned(), output: String::new() });
                    }
                    (None, Some(last)) => last.output.push_str(&format!("{line}\n")),
                    (None, None) => panic!("output before the first command: {line}"),
                }
            }
            _ => {}
        }
    }
    shown
}

/// Makes a package of `bin/httpd` with these lines of the pkginfo and the prototype. Returns the run and its warnings.
fn make(stage: &Scenario, pkginfo: &str, prototype: &str) -> (Run, Vec<String>) {
    stage.file("/src/pkginfo", pkginfo);
    stage.file("/src/prototype", format!("i pkginfo\n{prototype}"));
    stage.file("/src/bin/httpd", "two\n");
    stage.directory("/spool");
    let run = stage.run("pkgmk -o -d @ROOT@/spool -f @ROOT@/src/prototype PSTAMP=p");
    let warnings = run.stderr.lines().filter_map(|line| line.strip_prefix("WARNING: "));
    let warnings = warnings.map(str::to_owned).collect();
    (run, warnings)
}

const PATCH: &str = "PKG=ACMEweb\nNAME=Web\nARCH=i386\nVERSION=1.0\nCATEGORY=system\nCLASSES=none\n";
const OBJECTS: &str = "d none bin 0755 root root\nf none bin/httpd 0755 root root\n";

#[test]
fn pkgmk_has_nothing_to_say_of_a_patch_that_is_right() {
    let stage = Scenario::new();
    stage.file("/src/deletes", "share/old\n");
    let (run, warnings) =
        make(&stage, &format!("{PATCH}SUNW_PATCHID=100-01\n"), &format!("{OBJECTS}i deletes\n"));
    assert_eq!((run.code, run.stdout.as_str(), warnings), (0, "", Vec::new()), "{}", run.stderr);
    let (_, warnings) = make(&stage, PATCH, OBJECTS);
    assert_eq!(warnings, Vec::<String>::new(), "nor of a package");
}

#[test]
fn pkgmk_warns_of_an_id_that_is_none_and_of_a_version_that_nobody_gave() {
    let stage = Scenario::new();
    let (run, warnings) = make(&stage, &format!("{PATCH}SUNW_PATCHID=100\n"), OBJECTS);
    assert_eq!((run.code, run.stdout.as_str()), (0, ""), "it is made nevertheless");
    assert!(
        matches!(&warnings[..], [one] if one.starts_with("SUNW_PATCHID: <100> is not a patch id: ")),
        "{warnings:?}"
    );
    let without = PATCH.replace("VERSION=1.0\n", "");
    let (run, warnings) = make(&stage, &format!("{without}SUNW_PATCHID=100-01\n"), OBJECTS);
    assert_eq!(run.code, 0);
    let version = "VERSION of a patch must match the package that it is for, which \"Dev Release 11/20/2026\" probably does not";
    assert_eq!(warnings.last().map(String::as_str), Some(version), "{warnings:?}");
    let run = stage.run("pkgmk -o --json -d @ROOT@/spool -f @ROOT@/src/prototype PSTAMP=p");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert!(document["warnings"].as_array().unwrap().iter().any(|one| one == version), "{document}");
}

#[test]
fn pkgmk_warns_of_deletes_that_cannot_do_what_they_say() {
    let stage = Scenario::new();
    let prototype = format!("{OBJECTS}i deletes\n");
    let patch = format!("{PATCH}SUNW_PATCHID=100-01\n");
    stage.file("/src/deletes", "share/old\n");
    let none = "the file deletes has no effect: without SUNW_PATCHID the package is not a patch";
    assert_eq!(make(&stage, PATCH, &prototype).1, [none]);
    stage.file("/src/deletes", "bin/httpd\nshare/old\n");
    let both = "the file deletes: <bin/httpd> is delivered as well, and stays";
    assert_eq!(make(&stage, &patch, &prototype).1, [both]);
    stage.file("/src/deletes", "share/../old\n");
    let (_, warnings) = make(&stage, &patch, &prototype);
    assert!(matches!(&warnings[..], [one] if one.starts_with("the file deletes: line 1: ")), "{warnings:?}");
}

#[test]
fn pkgmk_warns_of_owners_that_are_accounts_of_the_build_host() {
    let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let person = accounts.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields.get(2)?.parse::<u32>().ok()? >= 1000).then(|| fields[0].to_owned())
    });
    let Some(person) = person else {
        return crate::skipped("owners of the build host: nobody has an account here");
    };
    let stage = Scenario::new();
    let prototype = OBJECTS.replace("0755 root root", &format!("0755 {person} root"));
    let (run, warnings) = make(&stage, PATCH, &prototype);
    assert_eq!(run.code, 0);
    let expected = format!(
        "owner <{person}> of <bin> and 1 more is an account of this machine, which other roots may not know"
    );
    assert_eq!(warnings, [expected]);
}

#[test]
fn a_plan_tells_the_maker_what_is_delivered_as_it_is_and_deleted_where_nothing_is() {
    let stage =
        Scenario::with(&[Package::new("ACMEweb").file("a", 0o644, "one\n").file("b", 0o644, "same\n")]);
    let package = Package::new("ACMEweb").file("a", 0o644, "two\n").file("b", 0o644, "same\n");
    let package = package.content('f', "b", 0o644, "root root", 1_600_000_000, "same\n");
    Patch::of("100-01", package.deletes(&["gone", "b2"])).directory(&stage);
    let notes = [
        "package ACMEweb: delivered as recorded, without a change: @ROOT@/opt/ACMEweb/b",
        "package ACMEweb: the patch deletes @ROOT@/opt/ACMEweb/gone, @ROOT@/opt/ACMEweb/b2, which are not installed",
    ];
    let text = stage.run("plan -R @ROOT@ delivered/100-01").ok();
    let document = stage.run("plan --json -R @ROOT@ delivered/100-01").ok();
    let document: serde_json::Value = serde_json::from_str(&document).unwrap();
    for note in notes {
        assert!(text.contains(&format!("note: {note}\n")), "{text}");
        let told = document["patches"][0]["notes"].as_array().unwrap();
        assert!(told.iter().any(|one| one == note), "{told:?}");
    }
    let said = stage.run("add -R @ROOT@ delivered/100-01").ok();
    assert!(!notes.iter().any(|note| said.contains(note)), "who applies it need not know: {said}");
}

#[test]
fn a_version_that_no_base_has_is_named_by_the_plan() {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("a", 0o644, "one\n")]);
    let package = Package::new("ACMEweb").param("VERSION", "2.0").file("a", 0o644, "two\n");
    Patch::of("100-01", package).directory(&stage);
    let said = stage.run("plan -R @ROOT@ delivered/100-01").fails(3);
    assert!(said.contains("ACMEweb (i386) 2.0 (installed: ACMEweb (i386) 1.0)"), "{said}");
}
