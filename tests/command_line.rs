use std::fs;
use std::io::Read;
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};

use crate::delivery::Patch;
use crate::packages::Package;
use crate::scenario::{Scenario, code_of};

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
    let text = stage.run("frobnicate").fails(2);
    assert!(
        text.starts_with("patchadm: error: there is no command `frobnicate`\nusage: patchadm "),
        "{text}"
    );
}

#[test]
fn help_and_version_are_no_errors() {
    let stage = Scenario::new();
    assert!(
        stage.run("--help").ok().contains("  undo-data  Manage saved undo data and the disk space used\n")
    );
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
    assert_eq!(document["exit_code"], 1);
    assert_eq!(document["error"], "unable to locate parameter information for \"nosuch\"");
    assert!(run.fails(1).starts_with("pkgparam: ERROR: unable"));
}

/// A root with a package, and a patch for it.
fn patched() -> (Scenario, String) {
    let stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "one\n")]);
    let delivered = Package::new("ACMEweb").file("bin/httpd", 0o755, "two\n").file("bin/new", 0o755, "new\n");
    let patch = Patch::of("105181-05", delivered).directory(&stage).display().to_string();
    (stage, patch)
}

#[test]
fn a_slip_in_a_verb_an_option_or_a_word_is_understood() {
    let stage = Scenario::new();
    for (line, meant) in [
        ("lsit", "list"),
        ("rollback", "undo"),
        ("uninstall 1-01", "remove"),
        ("clean", "undo-data drop"),
        ("man", "help"),
        ("version", "--version"),
        ("ad", "add` or `adopt"),
        ("pkginof", "pkginfo"),
        ("list --jsn", "--json"),
        ("add --dryrun x", "--dry-run"),
        ("pkginfo --hepl", "--help"),
        ("patchadd --replace-edted /a x", "--replace-edited"),
        ("add --edited kepp x", "keep"),
        ("list --color alway", "always"),
        ("setup completions bsh", "bash"),
    ] {
        let text = stage.run(line).fails(code_of(line, 1, 2));
        assert!(text.contains(&format!("\n    did you mean `{meant}`?\nusage: ")), "{line}: {text}");
    }
}

#[test]
fn a_slip_suggests_no_command_that_changes_something() {
    let stage = Scenario::new();
    for word in ["remvoe", "comit", "repak", "patchrn", "recoverr", "udpate"] {
        let text = stage.run(&format!("{word} 1-01")).fails(2);
        for command in ["remove", "undo-data drop", "undo-data repack", "patchrm", "recover", "update"] {
            assert!(!text.contains(&format!("did you mean `{command}`")), "{text}");
        }
    }
}

#[test]
fn a_command_that_changes_something_suggests_the_file_of_the_patch_and_never_another_patch() {
    let (stage, patch) = patched();
    stage.run(&format!("add -R @ROOT@ {patch}")).ok();
    for line in [
        "remove -R @ROOT@ 105181-04",
        "remove -R @ROOT@ 105811-05",
        "undo-data drop -R @ROOT@ 105181-04",
        "add -R @ROOT@ delivered/105181-06",
        "add -R @ROOT@ delivered/105181-50",
    ] {
        let run = stage.run(line);
        assert_ne!(run.code, 0, "{line}");
        assert!(!run.said().contains("105181-05"), "{line}: {}", run.said());
    }
    let text = stage.run("remove -R @ROOT@ 105181-04").stderr;
    assert!(text.contains("hint: patchadm -R @ROOT@ list\n"), "{text}");
    fs::rename(stage.beside("delivered/105181-05"), stage.beside("delivered/105181-05.dir")).unwrap();
    let text = stage.run("add -R @ROOT@ delivered/105181-05").fails(1);
    assert!(text.contains("did you mean `delivered/105181-05.dir`?"), "{text}");
}

/// A text without the lines on free space, which other processes change at any time.
fn without_free_space(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with("Space on ")).collect()
}

#[test]
fn options_of_every_verb_stand_before_or_after_it() {
    let (stage, patch) = patched();
    stage.run(&format!("add -R @ROOT@ {patch}")).ok();
    for verb in ["list", "show 105181-05", "check --contents", "remove --dry-run 105181-05", "recover"] {
        let plain = stage.run(&format!("{verb} -R @ROOT@")).ok();
        for line in [
            format!("-R @ROOT@ {verb}"),
            format!("--color never -R @ROOT@ {verb}"),
            format!("-R @ROOT@ {verb} --color never"),
        ] {
            assert_eq!(without_free_space(&stage.run(&line).ok()), without_free_space(&plain), "{line}");
        }
        for line in [format!("--json -R @ROOT@ {verb}"), format!("-q {verb} --json -R @ROOT@")] {
            assert!(stage.run(&line).ok().starts_with("{\n  \"schema\""), "{line}");
        }
        assert_eq!(stage.run(&format!("-q -R @ROOT@ {verb}")).ok(), "", "{verb}");
        if ["recover", "plan"].iter().any(|brief| verb.starts_with(brief)) {
            // These print everything without `-v`.
            continue;
        }
        let more = stage.run(&format!("-v -R @ROOT@ {verb}")).ok();
        assert!(more.len() >= plain.len(), "{verb}: {more}");
        let text = stage.run(&format!("-q {verb} -v -R @ROOT@")).fails(2);
        assert!(text.contains("cannot be used with"), "{text}");
    }
    for verb in ["help 5", "help", "setup links --help", "setup completions bash"] {
        let plain = stage.run(verb).ok();
        assert_eq!(stage.run(&format!("--color never {verb}")).ok(), plain, "{verb}");
    }
}

#[test]
fn quiet_is_errors_only_and_verbose_a_line_for_each_path() {
    let (stage, patch) = patched();
    let run = stage.run(&format!("add -v -R @ROOT@ {patch}")).ok();
    for line in [
        "  replace          @ROOT@/opt/ACMEweb/bin/httpd (4 bytes)\n",
        "  add              @ROOT@/opt/ACMEweb/bin/new (4 bytes)\n",
    ] {
        assert!(run.contains(line), "{run}");
    }
    assert_eq!(stage.run("remove -q -R @ROOT@ 105181-05").ok(), "");
    assert_eq!(stage.run(&format!("add -q -R @ROOT@ {patch}")).ok(), "");
    let run = stage.run("-q remove -R @ROOT@ 200-01");
    assert_eq!((run.code, run.stdout.as_str()), (4, ""));
    assert!(
        run.stderr.starts_with(
            "patchadm: error: patch 200-01 was not removed: it is not applied\n    nothing was changed\n"
        ),
        "{}",
        run.stderr
    );
    let roots = stage.run(&format!("remove -v --roots {} 105181-05", stage.root().display())).ok();
    assert!(
        roots.contains("  add              @ROOT@") || roots.contains("@ROOT@/opt/ACMEweb/bin/new"),
        "{roots}"
    );
}

#[test]
fn a_policy_of_the_callers_takes_the_place_of_the_roots() {
    let (stage, patch) = patched();
    stage.file("/etc/patchadm/policy", "exclude=105181-05\n");
    stage.run(&format!("plan -R @ROOT@ {patch}")).fails(3);
    fs::write(stage.beside("mine"), "undo_format=none\n").unwrap();
    stage.run(&format!("add --policy mine -R @ROOT@ {patch}")).ok();
    assert!(stage.at("/var/sadm/pkg/ACMEweb/save/105181-05/undo").exists());
    fs::write(stage.beside("mine"), "edited=stop\nnothing=of that\n").unwrap();
    let text = stage.run("--policy mine remove -R @ROOT@ 105181-05").fails(1);
    assert!(text.contains("mine, line 2: nothing: no such setting"), "{text}");
    let text = stage.run("list --policy none.there -R @ROOT@").fails(1);
    assert!(text.contains("the policy none.there cannot be read: No such file or directory"), "{text}");
}

#[test]
fn a_verb_without_a_dry_run_names_no_command_that_changes_the_root() {
    let stage = Scenario::new();
    for line in ["recover --dry-run -R @ROOT@", "-R @ROOT@ recover -n", "confirm -n -R @ROOT@"] {
        let said = stage.run(line).fails(2);
        assert!(said.contains("\nhint: `patchadm -R @ROOT@ status` shows "), "{line}: {said}");
    }
}

#[test]
fn a_classic_option_that_is_not_built_is_named_with_what_to_do_instead() {
    let stage = Scenario::new();
    for (line, says, instead) in [
        ("patchadd -C /image 1-01", "-C names the image of a network installation", "patchadd -R IMAGE"),
        ("patchadd -S Solaris_8 1-01", "-S names the operating system", "patchadd -R /export/SERVICE"),
        ("patchadd -P pass:x 1-01", "-P names the password of a keystore", "leave it out"),
        ("patchadd -O optimistic 1-01", "-O skips checks", "leave it out"),
        ("patchrm -C /image 1-01", "-C names the image of a network installation", "patchrm -R IMAGE"),
        ("patchrm -S Solaris_8 1-01", "-S names the operating system", "patchrm -R /export/SERVICE"),
        ("showrev -w", "-w prints the revision of the window system", "leave it out"),
        ("showrev -s host", "-s queries another host", "ssh HOST showrev -p"),
        (
            "--as-owner list",
            "--as-owner is an option of add, remove and other verbs that change a root, and list does not have it",
            "hint: queries do not need it",
        ),
        (
            "--wait 10m list",
            "--wait is an option of add, remove and other verbs that change a root, and list does not have it",
            "hint: queries do not need it",
        ),
    ] {
        let text = stage.run(line).fails(code_of(line, 1, 2));
        let (what, next) = text.split_once('\n').unwrap();
        let says = [format!("ERROR: {says}"), format!("error: {says}")];
        assert!(says.iter().any(|says| what.contains(says)), "{line}: {text}");
        assert!(
            next.trim_start().starts_with(instead) || next.lines().next().unwrap().contains(instead),
            "{line}: {text}"
        );
        assert!(!text.contains("unexpected argument"), "{line}: {text}");
    }
}
