//! The commands as scripts call them in a running installation or removal, which holds the lock: by name and by the
//! absolute names of the classic systems, while nothing of ours is installed on the machine.
//!
//! Every script here is written by the test and touches nothing but the root of its scenario.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::everyman::{as_ordinary_user, ordinary_ids};
use crate::mounts::Mounted;
use crate::packages::{Package, datastream};
use crate::procedure_scripts::{NOCHECK, NOTE, line, noted, stage};
use crate::scenario::{Run, Scenario, is_root};
use crate::tree::assert_same;

/// Makes the rest of a script end at the first command that fails.
const STRICT: &str = "set -e\nsay() { echo \"$*\" >> $PKG_INSTALL_ROOT/opt/noted; }\n";

/// Commands that register and make objects, and give others up.
const REGISTERS: &str = "installf $PKGINST $BASEDIR/log d 0750 root sys\n\
     installf -c conf $PKGINST $BASEDIR/log/made f 0640 root sys\n\
     echo made > $BASEDIR/log/made\n\
     installf $PKGINST $BASEDIR/log/soft=made s\n\
     printf '%s\\n' \"$BASEDIR/pipe p 0600 root root\" | installf $PKGINST -\n\
     installf -f $PKGINST\n";
const GIVES_UP: &str = "for gone in `removef $PKGINST $BASEDIR/old`; do say \"gone: $gone\"; rm $gone; done\n\
     removef -f $PKGINST\n";

/// The package: its file `old`, its file `tool` and a script of this name and text.
fn package(name: &str, script: &str) -> Package {
    Package::new("ACMEin")
        .param("NAME", "New name")
        .file("old", 0o644, "old\n")
        .file("tool", 0o755, "new tool\n")
        .information(name, format!("{STRICT}{script}"))
}

/// A root on which an older package of the same version is installed.
fn installed() -> Scenario {
    let stage = stage();
    let older = Package::new("ACMEin")
        .param("NAME", "Old name")
        .param("SECRET", "before")
        .file("old", 0o644, "old\n")
        .file("tool", 0o755, "old tool\n");
    succeeds(&stage, &older);
    stage
}

#[track_caller]
fn succeeds(stage: &Scenario, package: &Package) -> Run {
    let run = stage.run(&line(stage, "-n", package));
    assert_eq!(run.code, 0, "{}{}", run.stdout, run.stderr);
    run
}

/// The lines of `contents` that name the package.
fn owned(stage: &Scenario) -> Vec<String> {
    stage.lines().into_iter().filter(|line| line.contains("ACMEin")).collect()
}

#[test]
fn what_a_script_registers_is_recorded_with_the_installation() {
    for name in ["preinstall", "postinstall"] {
        let stage = stage();
        succeeds(&stage, &package(name, REGISTERS));
        let lines = owned(&stage);
        for expected in [
            "/opt/ACMEin/log d none 0750 root sys ACMEin",
            "/opt/ACMEin/log/soft=made s none ACMEin",
            "/opt/ACMEin/pipe p none 0600 root root ACMEin",
        ] {
            assert!(lines.iter().any(|line| line == expected), "{name}: {expected}: {lines:#?}");
        }
        assert!(lines.iter().any(|line| line.starts_with("/opt/ACMEin/log/made f conf 0640 root sys 5 ")));
        assert_eq!(fs::read_link(stage.at("/opt/ACMEin/log/soft")).unwrap(), Path::new("made"));
        assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEin").ok(), "", "{name}");
        let run = stage.run("pkgrm -n -a nocheck -R @ROOT@ ACMEin");
        assert_eq!(run.code, 0, "{}", run.stderr);
        assert_eq!(stage.tree().paths(), "etc etc/group etc/passwd opt opt/noted");
    }
}

#[test]
fn what_a_script_gives_up_is_not_the_packages_any_more() {
    let stage = installed();
    succeeds(&stage, &package("postinstall", GIVES_UP));
    assert_eq!(noted(&stage), "gone: @ROOT@/opt/ACMEin/old\n");
    let lines = owned(&stage);
    assert!(!lines.iter().any(|line| line.starts_with("/opt/ACMEin/old ")), "{lines:#?}");
    assert!(!stage.at("/opt/ACMEin/old").exists());
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEin").ok(), "");
}

#[test]
fn what_a_script_registered_goes_with_an_installation_that_is_undone() {
    let stage = installed();
    let (before, lines) = (stage.everything(), stage.lines());
    let own = "rm $BASEDIR/log/made\nexit 1\n";
    let run = stage.run(&line(&stage, "-n", &package("postinstall", &format!("{REGISTERS}{GIVES_UP}{own}"))));
    assert_eq!(run.code, 1, "{}", run.stderr);
    assert!(run.stderr.ends_with("No changes were made to the system.\n"), "{}", run.stderr);
    assert_eq!(noted(&stage), "gone: @ROOT@/opt/ACMEin/old\n");
    fs::write(stage.at("/opt/noted"), "").unwrap();
    stage.mtime("/opt/noted", 981_173_106);
    assert_same(&stage.everything(), &before);
    assert_eq!(stage.lines(), lines);
}

#[test]
fn a_script_of_an_update_reads_the_parameters_of_before() {
    let asks = "say `pkgparam $PKGINST NAME`, `pkgparam -v ACMEin SECRET`, $NAME, $UPDATE\n\
                say `pkginfo -x ACMEin`; say `pkginfo -l ACMEin | sed -n 's/.*NAME: *//p'`\n";
    for name in ["preinstall", "postinstall"] {
        let stage = installed();
        succeeds(&stage, &package(name, asks));
        let expected = "Old name, SECRET='before', New name, yes\nACMEin Old name (i386) 1.0\nOld name\n";
        assert_eq!(noted(&stage), expected, "{name}");
        assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEin NAME").ok(), "New name\n");
    }
}

#[test]
fn a_script_of_a_new_package_reads_its_parameters_and_checks_it() {
    let asks = "say `pkgparam $PKGINST NAME`; say `pkginfo $PKGINST`; pkginfo -q ACMEin; pkgchk ACMEin\n\
                pkginfo -i ACMEin || say not yet complete\n\
                grep '^/opt/ACMEin/tool ' $PKG_INSTALL_ROOT/var/sadm/install/contents > /dev/null\n";
    let stage = stage();
    succeeds(&stage, &package("postinstall", asks));
    assert_eq!(noted(&stage), "New name\napplication ACMEin New name\nnot yet complete\n");
}

#[test]
fn a_script_makes_packages_of_its_own() {
    let makes = "cd $PKG_INSTALL_ROOT/var/tmp; mkdir build spool; echo one > build/one\n\
        printf 'PKG=ACMEsub\\nNAME=Sub\\nARCH=all\\nVERSION=1\\nCATEGORY=application\\nBASEDIR=/\\n' > pkginfo\n\
        (echo 'i pkginfo'; pkgproto -c none build=opt/sub) > prototype\n\
        pkgmk -o -d spool -f prototype\n\
        pkgtrans -s spool $PKG_INSTALL_ROOT/var/tmp/sub.pkg ACMEsub\n\
        pkginfo -d $PKG_INSTALL_ROOT/var/tmp/sub.pkg\n\
        i=0; while [ $i -lt 200 ]; do echo 'the same line again and again'; i=`expr $i + 1`; done > big\n\
        compress big; say `od -An -tx1 -N2 big.Z`\n\
        say `echo 'a:b' | nawk -F: '{ print $2 }'`\n";
    let stage = stage();
    stage.directory("/var/tmp");
    let run = succeeds(&stage, &package("postinstall", makes));
    assert!(run.stdout.contains("application ACMEsub Sub\n"), "{}", run.stdout);
    assert_eq!(noted(&stage), "1f 9d\nb\n");
    let made = stage.at("/var/tmp/sub.pkg");
    assert_eq!(stage.run(&format!("pkginfo -L -d {}", made.display())).ok(), "ACMEsub\n");
    assert!(stage.at("/var/tmp/spool/ACMEsub/pkgmap").exists() && !stage.at("/var/tmp/big").exists());
}

#[test]
fn names_are_judged_and_messages_filled() {
    let judges = "valpath -l share/x; valpath -l /x || say absolute; valpath -ao $BASEDIR/tool\n\
        say `puttext 'in a few words'`\n";
    let stage = stage();
    succeeds(&stage, &package("postinstall", judges));
    assert_eq!(noted(&stage), "absolute\nin a few words\n");
}

#[test]
fn absolute_names_are_there_for_scripts_and_nobody_else() {
    let asks = "PATH=/usr/sadm/bin:$PATH\n\
        say `/usr/bin/pkgparam $PKGINST NAME`\n\
        /usr/sadm/bin/valpath -l x && say `/usr/sadm/bin/puttext words`\n\
        cd $BASEDIR; say `/usr/bin/pkgproto -c none tool | cut -d' ' -f1-4`\n\
        /usr/sbin/installf $PKGINST $BASEDIR/log d 0755 root root\n\
        /usr/sbin/installf -f $PKGINST\n";
    let stage = stage();
    let missing = !Path::new("/usr/bin/pkgproto").exists();
    let run = stage.run(&line(&stage, "-n", &package("postinstall", asks)));
    if run.code != 0 && run.stderr.contains("no private /usr can be made") {
        assert_eq!(owned(&stage), [""; 0], "refused before anything was changed");
        crate::skipped("absolute_names_are_there_for_scripts…: no overlay here");
        return;
    }
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(noted(&stage), "New name\nwords\nf none tool 0755\n");
    assert!(owned(&stage).contains(&"/opt/ACMEin/log d none 0755 root root ACMEin".to_owned()));
    assert_eq!(missing, !Path::new("/usr/bin/pkgproto").exists(), "nothing is installed on the machine");
}

#[test]
fn absolute_names_are_there_where_sbin_is_a_link_and_refused_where_a_mount_hides_them() {
    let test = "absolute_names_are_there_where_sbin_is_a_link…";
    let linked = "mkdir $BESIDE/upper $BESIDE/work
        mount -t overlay overlay -o lowerdir=/usr,upperdir=$BESIDE/upper,workdir=$BESIDE/work /usr
        rm -r /usr/sbin
        ln -s bin /usr/sbin";
    for (mounts, hides) in [(linked, false), ("mount -t tmpfs tmpfs /usr/sbin", true)] {
        let stage = stage();
        let asks =
            "/usr/sbin/installf $PKGINST $BASEDIR/log d 0755 root root\n/usr/sbin/installf -f $PKGINST\n";
        let line = line(&stage, "-n", &package("postinstall", asks));
        let Some(mounted) = Mounted::new(test, stage, mounts) else { return };
        let run = mounted.run(&line);
        if hides {
            let says = "a file system that is mounted below it hides /usr/sbin/";
            assert!(run.code != 0 && run.stderr.contains(says), "{}", run.stderr);
            assert_eq!(owned(mounted.stage()), [""; 0], "refused before anything was changed");
            continue;
        }
        if run.code != 0 && run.stderr.contains("no private /usr can be made") {
            crate::skipped(&format!("{test}: no overlay here"));
            return;
        }
        assert_eq!(run.code, 0, "{}", run.stderr);
        let made = "/opt/ACMEin/log d none 0755 root root ACMEin".to_owned();
        assert!(owned(mounted.stage()).contains(&made), "{}", run.stderr);
    }
}

#[test]
fn every_tool_is_a_private_one_that_is_gone_afterwards() {
    let tools =
        ["installf", "removef", "pkgparam", "pkginfo", "pkgchk", "pkgproto", "pkgmk", "pkgtrans", "valpath"];
    let asks = format!("for tool in {} puttext; do say `command -v $tool`; done\n", tools.join(" "));
    let stage = stage();
    succeeds(&stage, &package("preinstall", &asks));
    let text = noted(&stage);
    assert_eq!(text.lines().count(), tools.len() + 1);
    for (tool, found) in tools.iter().zip(text.lines()) {
        let found = Path::new(found);
        assert_eq!(found.file_name().unwrap().to_str(), Some(*tool));
        assert!(
            found
                .parent()
                .unwrap()
                .parent()
                .unwrap()
                .file_name()
                .unwrap()
                .to_str()
                .unwrap()
                .starts_with("patchadm-")
        );
        assert!(!found.exists(), "{}", found.display());
    }
}

#[test]
fn class_scripts_and_checkinstall_have_the_commands_too() {
    let stage = stage();
    let copies = "while read src dst; do cp $src $dst; installf -c sub $PKGINST $dst.extra f 0644 root root; \
                  echo extra > $dst.extra; done\ninstallf -f -c sub $PKGINST\n";
    let package = Package::new("ACMEin")
        .param("CLASSES", "sub")
        .of_class("sub", 'f', "data", 0o644, "data\n")
        .information("i.sub", copies)
        .information("r.sub", format!("{NOTE}removef $PKGINST $BASEDIR/data.extra\nrm $BASEDIR/data*\n"))
        .information(
            "checkinstall",
            "valpath -l x && pkgparam --version > /dev/null && pkginfo -q ACMEin && exit 1\nexit 0\n",
        );
    succeeds(&stage, &package);
    assert!(
        owned(&stage).iter().any(|line| line.starts_with("/opt/ACMEin/data.extra f sub 0644 root root 6 "))
    );
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEin").ok(), "");
    let run = stage.run("pkgrm -n -a nocheck -R @ROOT@ ACMEin");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(owned(&stage), [""; 0]);
    assert!(!stage.at("/opt/ACMEin").exists());
}

#[test]
fn scripts_of_a_removal_ask_and_give_up() {
    let stage = stage();
    let asks = format!(
        "{STRICT}say `pkgparam $PKGINST NAME`; pkginfo -q $PKGINST; say `pkginfo $PKGINST`; pkgchk $PKGINST\n\
         echo more > $BASEDIR/more; installf $PKGINST $BASEDIR/more f 0644 root root; installf -f $PKGINST\n\
         for gone in `removef $PKGINST $BASEDIR/more`; do rm $gone; done; removef -f $PKGINST\n"
    );
    succeeds(&stage, &package("preremove", "").information("preremove", asks));
    let run = stage.run("pkgrm -n -a nocheck -R @ROOT@ ACMEin");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(noted(&stage), "New name\napplication ACMEin New name\n");
    assert_eq!(owned(&stage), [""; 0]);
    assert_eq!(stage.tree().paths(), "etc etc/group etc/passwd opt opt/noted");
}

#[test]
fn other_writers_within_a_script_are_refused_at_once() {
    let stage = stage();
    let other = stage.beside("other.pkg");
    datastream(&[Package::new("ACMEother").file("a", 0o644, "a\n").write(&stage.beside("others"))], &other);
    let asks = format!(
        "set +e; pkgadd -n -d {} all </dev/null; say $?; pkgrm -n $PKGINST; say $?; exit 0\n",
        other.display()
    );
    succeeds(&stage, &package("postinstall", &asks));
    assert_eq!(noted(&stage), "64\n64\n");
    assert_eq!(stage.run("pkginfo -L -R @ROOT@").ok(), "ACMEin\n");
}

#[test]
fn an_ordinary_user_has_the_commands_in_scripts_of_their_own_tree() {
    let stage = stage();
    let (uid, gid) = ordinary_ids(&stage);
    stage.file("/etc/passwd", format!("root:x:{uid}:{gid}::/:/bin/sh\n"));
    stage.file("/etc/group", format!("root:x:{gid}:\nsys:x:{gid}:\n"));
    stage.file("/var/sadm/install/admin/nocheck", NOCHECK);
    let words = line(&stage, "-n", &package("postinstall", &format!("{REGISTERS}{GIVES_UP}")));
    fs::set_permissions(stage.beside(""), fs::Permissions::from_mode(0o755)).unwrap();
    let output = as_ordinary_user(&stage, &words, &[&stage.root(), &stage.beside("spool")]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(owned(&stage).contains(&"/opt/ACMEin/log d none 0750 root sys ACMEin".to_owned()));
    assert_eq!(noted(&stage), "gone: @ROOT@/opt/ACMEin/old\n");
    if is_root() {
        assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEin").ok(), "");
    }
}
