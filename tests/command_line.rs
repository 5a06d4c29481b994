use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::scenario::Scenario;

#[test]
fn a_link_makes_the_program_the_command_that_it_is_called() {
    let stage = Scenario::new();
    stage.package("SUNWa", "NAME=A\nCATEGORY=system\nARCH=i386\nVERSION=1.0\n");
    let link = stage.beside("pkginfo");
    symlink(env!("CARGO_BIN_EXE_patchadm"), &link).unwrap();
    let output = Command::new(link).arg("-R").arg(stage.root()).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "system      SUNWa A\n");
}

#[test]
fn wrong_usage_has_the_classic_text_and_exit_code_1() {
    let stage = Scenario::new();
    let text = stage.run("pkginfo -z").fails(1);
    assert!(
        text.starts_with("pkginfo: ERROR: unexpected argument '-z' found\nusage: pkginfo [-q|-x|-l]"),
        "{text}"
    );
    let text = stage.run("pkginfo -l -x").fails(1);
    assert!(
        text.starts_with("pkginfo: ERROR: the argument '-l' cannot be used with '-x'\nusage: "),
        "{text}"
    );
    let text = stage.run("frobnicate").fails(1);
    assert!(
        text.starts_with("patchadm: ERROR: there is no command `frobnicate`\nusage: patchadm "),
        "{text}"
    );
}

#[test]
fn help_and_version_are_no_errors() {
    let stage = Scenario::new();
    assert!(stage.run("--help").ok().contains("  pkginfo    list installed or spooled packages\n"));
    assert_eq!(stage.run("--version").ok(), format!("patchadm {}\n", env!("CARGO_PKG_VERSION")));
    for command in ["pkginfo", "pkgparam", "pkgchk", "pkgproto", "pkgmk", "showrev"] {
        let help = stage.run(&format!("{command} --help")).ok();
        assert!(help.contains("--json"), "{help}");
        let version = format!("{command} {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(stage.run(&format!("{command} --version")).ok(), version);
    }
}

#[test]
fn the_root_comes_from_the_option_or_the_environment_and_not_from_two_minds() {
    let mut stage = Scenario::new();
    stage.package("SUNWa", "NAME=A\nCATEGORY=system\nARCH=i386\nVERSION=1.0\n");
    let root = stage.root();
    stage.set("PKG_INSTALL_ROOT", root);
    assert_eq!(stage.run("pkginfo -L").ok(), "SUNWa\n");
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "SUNWa\n");
    assert_eq!(
        stage.run("pkginfo -L -R /").fails(1),
        "pkginfo: ERROR: Command line install root contends with environment.\n"
    );
}

#[test]
fn a_root_that_is_not_there_is_named() {
    let stage = Scenario::new();
    assert_eq!(
        stage.run("pkginfo -R /no/such/root").fails(1),
        "pkginfo: ERROR: cannot open /no/such/root: No such file or directory\n"
    );
}

#[test]
fn letters_may_be_clustered_and_repeated_and_an_option_may_end_in_blanks() {
    let stage = Scenario::new();
    stage.package("SUNWa", "NAME=A\nCATEGORY=system\nARCH=i386\nVERSION=1.0\n");
    assert_eq!(stage.run("pkginfo -qcsystem -q -R @ROOT@").ok(), "");
    let output = stage.command("pkginfo -R @ROOT@").args(["-L "]).output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "SUNWa\n");
}

#[test]
fn a_reader_that_goes_away_ends_the_program_quietly() {
    let stage = Scenario::new();
    let name = "N".repeat(250);
    for number in 0..1000 {
        let pkginfo = format!("NAME={name}\nCATEGORY=system\nARCH=i386\nVERSION=1.0\n");
        stage.package(&format!("SUNW{number}"), &pkginfo);
    }
    let mut child =
        stage.command("pkginfo -R @ROOT@").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let mut complaints = String::new();
    child.stderr.take().unwrap().read_to_string(&mut complaints).unwrap();
    assert_eq!((child.wait().unwrap().code(), complaints.as_str()), (Some(141), ""));
}

#[test]
fn output_that_cannot_be_written_is_an_error() {
    let stage = Scenario::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = stage.command("showrev").stdout(full).output().unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(
        complaint.starts_with("showrev: ERROR: cannot write to standard output: No space left"),
        "{complaint}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn a_clock_that_cannot_be_read_is_an_error() {
    let mut stage = Scenario::new();
    stage.set("SOURCE_DATE_EPOCH", "yesterday");
    assert_eq!(
        stage.run("pkginfo").fails(1),
        "pkginfo: ERROR: SOURCE_DATE_EPOCH is not a number of seconds since 1970: <yesterday>\n"
    );
}

#[test]
fn an_error_is_told_in_json_as_well_where_that_is_asked_for() {
    let run = Scenario::new().run("pkgparam --json -R @ROOT@ nosuch");
    let document: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(document["command"], "pkgparam");
    assert_eq!(document["exit"]["code"], 1);
    assert_eq!(document["error"], "unable to locate parameter information for \"nosuch\"");
    assert!(run.fails(1).starts_with("pkgparam: ERROR: unable"));
}
