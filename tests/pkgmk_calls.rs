//! pkgproto(1) and pkgmk(1) with the exact command lines of patch scripts and build tools.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};

use crate::producer::{PKGINFO, Producer};

/// The backout package as the scripts of Sun's patches make it: preinstall begins the prototype, the class action
/// script adds the output of pkgproto(1), and postinstall adds the list of objects to delete.
#[test]
fn the_backout_package_of_the_patch_scripts_is_made() {
    let workshop = Producer::new();
    workshop.file("root/opt/foo/bin/tool", "old tool\n");
    workshop.mode("root/opt/foo/bin/tool", 0o755);
    symlink("tool", workshop.at("root/opt/foo/bin/link")).unwrap();
    workshop.file("build/files/checkinstall", "exit 0\n");
    workshop.file("build/files/deletes", "bin/new\n");
    // pkgparam -v prints values in quotes
    workshop.file("build/pkginfo", "PKG='ACMEfoo'\nNAME='Foo it'\"'\"'s'\nARCH='all'\nVERSION='1.0'\n\
                                    CATEGORY='application'\nBASEDIR='/opt/foo'\nCLASSES='none'\nPSTAMP='stamp'\n\
                                    ACTIVE_PATCH=900-01\nACTIVE_OBSOLETES=\n");
    let script = "
set -e
BUILD_DIR=$PWD/build FILE_DIR=$PWD/build/files RELOC_DIR=$PWD/build/files/reloc PROTO_FILE=$PWD/build/prototype
BD=$PWD/root/opt/foo
echo 'i pkginfo' > $PROTO_FILE
echo \"i checkinstall=$FILE_DIR/checkinstall\" >> $PROTO_FILE
cd $BD
$PATCHADM pkgproto -c none \"$BD/bin/link=bin/link\" 1>> $PROTO_FILE 2> /dev/null
dst=$BD/bin/tool FS_Path=bin/tool Build_Path=$RELOC_DIR/bin/tool
$PATCHADM pkgproto -c none $dst=$FS_Path | sed -e s@=$dst@=$Build_Path@ >> $BUILD_DIR/prototype
mkdir -p `dirname $Build_Path`
cp -p $dst $Build_Path
LINE=`$PATCHADM pkgproto $BD/gone=gone 2> /dev/null` || :
echo $LINE >> $PROTO_FILE
echo \"i deletes=$FILE_DIR/deletes\" >> $BUILD_DIR/prototype
cd $BUILD_DIR
mkdir $BUILD_DIR/../save
$PATCHADM pkgmk -o -d $BUILD_DIR/../save 1>/dev/null 2>&1
";
    let mut shell = Command::new("sh");
    shell.args(["-c", script]).current_dir(workshop.at("")).env("PATCHADM", env!("CARGO_BIN_EXE_patchadm"));
    let output = shell.env("SOURCE_DATE_EPOCH", "1795158000").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read = |name: &str| fs::read_to_string(workshop.at("save/ACMEfoo").join(name)).unwrap();
    let pkgmap = read("pkgmap");
    let kinds: Vec<&str> = pkgmap.lines().skip(1).map(|line| line.split(" 0755").next().unwrap()).collect();
    assert_eq!(kinds[0], "1 s none bin/link=tool");
    assert_eq!(kinds[1], "1 f none bin/tool");
    assert!(
        kinds[2].starts_with("1 i checkinstall 7 ") && kinds[3].starts_with("1 i deletes 8 "),
        "{pkgmap}"
    );
    assert_eq!(read("reloc/bin/tool"), "old tool\n");
    assert_eq!(read("install/deletes"), "bin/new\n");
    assert!(
        read("pkginfo").contains("PKG=ACMEfoo\n")
            && read("pkginfo").ends_with("ACTIVE_PATCH=900-01\nACTIVE_OBSOLETES=\n")
    );
}

/// The exact calls of other build tools.
#[test]
fn the_calls_of_build_tools_are_answered() {
    let workshop = Producer::new();
    workshop.file("staging/usr/bin/x", "x");
    fs::set_permissions(workshop.at("staging/usr/bin/x"), fs::Permissions::from_mode(0o755)).unwrap();
    workshop.file("build/pkginfo", PKGINFO);
    let lines = workshop.run("pkgproto @WORK@staging/=").ok();
    let lines = lines.replace("@WORK@/", workshop.at("").to_str().unwrap());
    workshop.file("build/Prototype", format!("i pkginfo\n{lines}"));
    let run = workshop.run("pkgmk -o -f @WORK@build/Prototype -d @WORK@build");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(workshop.at("build/ACMEfoo/reloc/usr/bin/x").exists());

    workshop.file("P", "i pkginfo=build/pkginfo\nf none bin/x 0755 root bin\n");
    workshop.file("B/bin/x", "x");
    let run = workshop.run("pkgmk -d spool -r R -b B -o -f P VERSION=2 PSTAMP=me");
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert!(workshop.made("pkginfo").starts_with("VERSION=2\nPSTAMP=me\nPKG=ACMEfoo\n"));
}

#[test]
fn a_prototype_may_come_through_a_pipe() {
    let workshop = Producer::new();
    workshop.file("pkginfo", PKGINFO);
    workshop.file("src/x", "x");
    let mut command = workshop.command("pkgmk -d spool -f /dev/stdin");
    let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"i pkginfo\nf none x=src/x 0644 root sys\n").unwrap();
    let run = workshop.told(&child.wait_with_output().unwrap());
    assert_eq!(run.code, 0, "{}", run.stderr);
    assert_eq!(workshop.made("reloc/x"), "x");
}
