//! Interaction before an installation: request and checkinstall scripts, answers that pkgask keeps, and admin files
//! that ask.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::packages::Package;
use crate::procedure_scripts::{NOCHECK, add, added, everything, line, noted, stage};
use crate::scenario::{Scenario, is_root};
use crate::terminal::at_terminal;
use crate::tree::assert_same;

#[test]
fn a_package_that_wants_to_ask_is_refused_where_nobody_can_be_asked() {
    let stage = stage();
    let before = stage.everything();
    let run = add(&stage, "-n", &everything());
    assert_eq!(run.code, 5);
    let expected = "Interactive request script supplied by package\n\
                    pkgadd: ERROR: request script did not complete successfully\n\n\
                    Installation of <ACMEall> was suspended (interaction required).\n\
                    No changes were made to the system.\n";
    assert_eq!((run.stderr.as_str(), run.stdout.as_str()), (expected, "Copyright 2026 Acme\n"));
    assert_same(&stage.everything(), &before);
}

#[test]
fn a_response_file_stands_for_the_request_script() {
    let stage = stage();
    let answers = stage.beside("answers");
    fs::write(&answers, "ANSWER=\"from the file\"\nPATH=/evil\nCLASSES=\"none mine\"\n").unwrap();
    let run = add(&stage, &format!("-n -r {}", answers.display()), &everything());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(run.stderr.contains("pkgadd: WARNING: read-only parameter <PATH> cannot be assigned a value\n"));
    assert!(noted(&stage).starts_with("checkinstall:\nANSWER=from the file\n"), "{}", noted(&stage));
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall ANSWER CLASSES").ok(), "from the file\nnone mine\n");
    assert!(!stage.at("/opt/ACMEall/etc/built").exists(), "its class was not chosen");
    assert!(!stage.at("/opt/ACMEall/late").exists());
}

#[test]
fn an_answer_moves_a_new_package_and_never_an_installed_one() {
    let stage = stage();
    let move_to = |to: &str| {
        Package::new("ACMEall")
            .file("a", 0o644, "a\n")
            .information("checkinstall", format!("echo BASEDIR={to} >> $1\n"))
    };
    added(&stage, &move_to("/srv/there"));
    assert!(stage.at("/srv/there/a").exists());
    let before = stage.everything();
    let run = add(&stage, "-n", &move_to("/srv/elsewhere"));
    assert!(
        run.stderr.contains("it is installed in /srv/there, but the response file requires /srv/elsewhere"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("Installation of <ACMEall> failed (internal error)."));
    assert_eq!(run.code, 99);
    assert_same(&stage.everything(), &before);
}

#[test]
fn pkgask_keeps_the_answers_and_pkgadd_takes_them() {
    let stage = stage();
    let spool = stage.beside("spool");
    everything().write(&spool);
    Package::new("ACMEmute").write(&spool);
    let asked = stage.beside("asked");
    let ask = |to: &std::path::Path, name: &str| {
        stage.run(&format!("pkgask -R @ROOT@ -d {} -r {} {name}", spool.display(), to.display()))
    };
    let before = stage.everything();
    let run = ask(&asked, "ACMEall");
    let expected = format!(
        "\nProcessing package instance <ACMEall> from <{}>\n\nACMEall for tests(i386) 1.0\n\n\
         Response file <{}> was created.\n\nProcessing of request script was successful.\n",
        spool.display(),
        asked.display()
    );
    assert_eq!((run.code, run.stderr), (0, expected));
    assert_eq!(fs::read_to_string(&asked).unwrap(), "ANSWER='yes it is'\n");
    assert_eq!(noted(&stage), "request:\n");
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    assert_same(&stage.everything(), &before);

    let again = ask(&asked, "ACMEall").fails(1);
    assert!(again.contains(&format!("response file <{}> must not exist", asked.display())), "{again}");
    let mute = ask(&stage.beside("other"), "ACMEmute").fails(1);
    assert!(
        mute.contains("pkgask: ERROR: package does not contain an interactive request script\n"),
        "{mute}"
    );
    assert!(mute.ends_with("\nProcessing of request script failed.\n"), "{mute}");
    let run = add(&stage, &format!("-n -r {}", asked.display()), &everything());
    assert_eq!(run.code, 0, "{}", run.stderr);
}

#[test]
fn request_talks_to_the_terminal() {
    let stage = stage();
    let ask = "echo 'Which colour?'\nread colour\necho COLOUR=$colour >> $1\n";
    let package = Package::new("ACMEall").file("a", 0o644, "a\n").information("request", ask);
    let line = line(&stage, "", &package);
    let Some((code, said)) = at_terminal("request", &stage, &line, "green\n") else { return };
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("Which colour?\n"), "{said}");
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEall COLOUR").ok(), "green\n");
}

#[test]
fn who_is_asked_about_scripts_may_say_no() {
    let stage = stage();
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK.replace("action=nocheck", "action=ask"));
    let before = stage.everything();
    let package = Package::new("ACMEall").file("a", 0o644, "a\n").information("preinstall", "exit 0\n");
    let run = add(&stage, "-n", &package);
    assert_eq!(run.code, 5, "{}", run.stderr);
    assert_same(&stage.everything(), &before);
    let line = line(&stage, "", &package);
    let Some((code, said)) = at_terminal("action", &stage, &line, "n\n") else { return };
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("its own scripts that run with the permissions of whoever installs it"), "{said}");
    assert_same(&stage.everything(), &before);
    assert_eq!(at_terminal("action", &stage, &line, "y\n").unwrap().0, 0);
}

#[test]
fn checkinstall_is_nobody_and_finds_its_package_even_below_a_private_directory() {
    let stage = stage();
    let look = "cat `dirname $0`/../pkginfo `dirname $0`/../pkgmap > /dev/null || exit 1\n\
                /usr/bin/id -u >> $PKG_INSTALL_ROOT/opt/noted\n\
                echo FROM=\"`cd \\`dirname $0\\`/..; pwd`\" >> $1\n";
    let package = Package::new("ACMEall").file("a", 0o644, "a\n").information("checkinstall", look);
    let place = |stage: &Scenario| stage.run("pkgparam -R @ROOT@ ACMEall FROM").ok();
    added(&stage, &package);
    assert_eq!(place(&stage), format!("{}/ACMEall\n", stage.beside("spool").display()), "in place");
    let line = line(&stage, "-n", &package);
    fs::set_permissions(stage.beside("spool"), fs::Permissions::from_mode(0o700)).unwrap();
    let run = stage.run(&line);
    assert_eq!(run.code, 0, "{}", run.stderr);
    if !is_root() {
        return;
    }
    assert!(noted(&stage).lines().all(|uid| uid != "0"), "{}", noted(&stage));
    let copy = place(&stage);
    assert!(copy.starts_with("/var/tmp/") && copy.ends_with("/ACMEall\n"), "{copy}");
    assert!(!std::path::Path::new(copy.trim()).exists(), "the copy is gone afterwards");
}

#[test]
fn what_a_refusing_script_said_is_in_the_log() {
    let stage = stage();
    let package = Package::new("ACMEall")
        .file("a", 0o644, "a\n")
        .information("checkinstall", "echo too old >&2\nexit 3\n");
    for _ in 0..2 {
        assert_eq!(add(&stage, "-n", &package).code, 4);
    }
    let log = fs::read_to_string(stage.at("/var/sadm/patchadm/log")).unwrap();
    let once = "# pkgadd <ACMEall>: nothing was changed\n## checkinstall begins\ntoo old\n\
                ## checkinstall: exit code 3\n";
    assert_eq!(log, once.repeat(2));
}

#[test]
fn a_refusing_script_that_prints_without_end_does_not_fill_the_log() {
    let stage = stage();
    let package = Package::new("ACMEall")
        .file("a", 0o644, "a\n")
        .information("checkinstall", "yes | head -c 5000000\nexit 3\n");
    assert_eq!(add(&stage, "-n", &package).code, 4);
    let log = fs::read_to_string(stage.at("/var/sadm/patchadm/log")).unwrap();
    assert!(log.len() < 2_000_000, "{}", log.len());
    assert!(log.ends_with("y\n\n## further output is left out\n## checkinstall: exit code 3\n"));
}
