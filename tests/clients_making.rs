//! Programs that make packages through these commands, with their exact command lines and the output that they rely on.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::clients::{Machine, web};

const PKGINFO: &str = "PKG=ACMEapp\nNAME=Application\nARCH=i386\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/\n\
                       CLASSES=none\n";

/// A machine with files to package below `staging`.
fn machine() -> Machine {
    let machine = Machine::with(&[]);
    let at = |path: &str| machine.stage.beside(path);
    for directory in ["staging/opt/app/bin", "build"] {
        fs::create_dir_all(at(directory)).unwrap();
    }
    for directory in ["staging", "staging/opt", "staging/opt/app", "staging/opt/app/bin"] {
        fs::set_permissions(at(directory), fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(at("staging/opt/app/bin/run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(at("staging/opt/app/bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(at("pkginfo"), PKGINFO).unwrap();
    machine
}

/// The lines of a prototype without mode and owners, which depend on the user who runs the test.
fn paths(prototype: &str) -> Vec<String> {
    let lines = prototype.lines().map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" "));
    lines.collect()
}

#[track_caller]
fn done(machine: &Machine, line: &str) -> String {
    let run = machine.sh(line);
    assert_eq!(run.code, 0, "{line}: {}{}", run.stdout, run.stderr);
    run.stdout
}

#[test]
fn fpm_maps_its_staging_directory_to_nothing_and_finds_the_stream_in_the_source_directory() {
    let machine = machine();
    let expected = [
        "d none opt",
        "d none opt/app",
        "d none opt/app/bin",
        "f none opt/app/bin/run=staging/opt/app/bin/run",
    ];
    assert_eq!(paths(&machine.sh("pkgproto staging/=").ok()), expected);
    let absolute = machine.sh("pkgproto $PWD/staging/=").ok();
    let source = machine.stage.beside("staging/opt/app/bin/run");
    assert_eq!(paths(&absolute)[3], format!("f none opt/app/bin/run={}", source.display()));
    done(
        &machine,
        "(echo 'i pkginfo'; pkgproto staging/= | awk '{ print $1, $2, $3, $4, \"root root\" }') > Prototype",
    );
    done(&machine, "pkgmk -o -f Prototype -d $PWD/build");
    done(&machine, "pkgtrans -s $PWD/build app.pkg ACMEapp");
    assert_eq!(done(&machine, "ls build; ls *.pkg"), "ACMEapp\napp.pkg\nweb.pkg\n");
    done(&machine, "pkgadd -n -d $PWD/build/app.pkg ACMEapp");
    assert_eq!(machine.sh("pkgchk ACMEapp").ok(), "");
}

#[test]
fn build_scripts_list_their_files_on_standard_input_or_from_here() {
    let machine = machine();
    assert_eq!(
        paths(&done(&machine, "cd staging; find opt | sort > ../list; cat ../list | pkgproto")),
        ["d none opt", "d none opt/app", "d none opt/app/bin", "f none opt/app/bin/run"]
    );
    assert_eq!(
        paths(&done(&machine, "cd staging; pkgproto .")),
        ["d none opt", "d none opt/app", "d none opt/app/bin", "f none opt/app/bin/run"]
    );
}

#[test]
fn build_scripts_give_parameters_to_pkgmk_and_pack_with_an_answer_that_nobody_asks_for() {
    let machine = machine();
    fs::write(machine.stage.beside("proto"), "i pkginfo\nf none $where/run 0755 root root\n").unwrap();
    let line =
        "pkgmk -d $PWD/build -r $PWD/staging -b /opt/app -o -f proto VERSION=2.0 ARCH=all where=/opt/app/bin";
    done(&machine, line);
    assert_eq!(machine.sh("pkgparam -d $PWD/build ACMEapp VERSION ARCH").ok(), "2.0\nall\n");
    for line in
        ["echo | pkgtrans -os $PWD/build $PWD/a.pkg ACMEapp", "echo | pkgtrans -os $PWD/build $PWD/b.pkg"]
    {
        let run = machine.sh(line);
        assert_eq!(
            (run.code, run.stderr.as_str()),
            (0, "Transferring <ACMEapp> package instance\n"),
            "{line}"
        );
    }
    done(&machine, "echo | pkgtrans -os $PWD/build $PWD/a.pkg ACMEapp");
    assert_eq!(done(&machine, "cmp a.pkg b.pkg; ls *.pkg"), "a.pkg\nb.pkg\nweb.pkg\n");
    assert_eq!(machine.sh("pkginfo -L -d $PWD/a.pkg").ok(), "ACMEapp\n");
}

#[test]
fn maven_registers_files_of_its_own() {
    let machine = Machine::with(&[web()]);
    for line in [
        "installf ACMEweb /opt/ACMEweb/current=../ACMEweb/bin s",
        "installf ACMEweb /opt/ACMEweb/log d 0755 root sys",
        "installf -f ACMEweb",
    ] {
        assert_eq!(machine.sh(line).ok(), "", "{line}");
    }
    assert_eq!(
        fs::read_link(machine.stage.at("/opt/ACMEweb/current")).unwrap().to_str(),
        Some("../ACMEweb/bin")
    );
    assert_eq!(machine.sh("pkgchk ACMEweb").ok(), "");
    let lines = machine.stage.lines();
    assert!(lines.contains(&"/opt/ACMEweb/current=../ACMEweb/bin s none ACMEweb".to_owned()), "{lines:?}");
    assert!(lines.contains(&"/opt/ACMEweb/log d none 0755 root sys ACMEweb".to_owned()), "{lines:?}");
}
