use std::fs;
use std::path::Path;

use crate::packages::{Package, datastream};
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// A name, a function that damages the package, the exit code, and the message without the path of the device.
type Damage = (&'static str, fn(&Path), i32, &'static str);

fn edit(path: &Path, from: &str, to: &str) {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.contains(from), "{from:?} in {text:?}");
    fs::write(path, text.replace(from, to)).unwrap();
}

const DAMAGES: [Damage; 7] = [
    (
        "a missing file",
        |package| fs::remove_file(package.join("reloc/bin/tool")).unwrap(),
        1,
        "package ACMEa, file bin/tool: missing from the source",
    ),
    (
        "other bytes of the same length",
        |package| fs::write(package.join("reloc/bin/tool"), "tool\r").unwrap(),
        1,
        "package ACMEa, file @ROOT@/opt/ACMEa/bin/tool: file cksum <456> expected <459> actual",
    ),
    (
        "more bytes",
        |package| fs::write(package.join("reloc/bin/tool"), "tool\n\n").unwrap(),
        1,
        "package ACMEa, file @ROOT@/opt/ACMEa/bin/tool: size 5 expected, more delivered",
    ),
    (
        "a line that is none",
        |package| edit(&package.join("pkgmap"), "1 f none bin/tool", "1 f none"),
        1,
        "package ACMEa: pkgmap is corrupt: line 2: ",
    ),
    (
        "a path that leads out",
        |package| edit(&package.join("pkgmap"), "bin/tool", "../../tool"),
        1,
        "package ACMEa: pkgmap is corrupt: line 2: ",
    ),
    (
        "an open quote",
        |package| edit(&package.join("pkginfo"), "NAME=", "NAME=\""),
        1,
        "package ACMEa: pkginfo is corrupt: ",
    ),
    (
        "another information file",
        |package| fs::write(package.join("install/copyright"), "Copyleft\n").unwrap(),
        1,
        "package ACMEa, file install/copyright: size 9, expected 5",
    ),
];

#[test]
fn a_damaged_package_is_refused_with_one_line_and_nothing_is_changed() {
    for (what, damage, code, expected) in DAMAGES {
        let stage = Scenario::new();
        let package =
            Package::new("ACMEa").file("bin/tool", 0o755, "tool\n").information("copyright", "Acme\n");
        damage(&package.write(&stage.beside("spool")));
        let before = stage.everything();
        let run = stage.run("pkgadd -n -S -R @ROOT@ -d spool ACMEa");
        let text = run.fails(code);
        let line = text.lines().next().unwrap();
        assert!(line.starts_with("pkgadd: ERROR: ") && line.contains(expected), "{what}: {text}");
        assert_eq!(text.matches("ERROR").count(), 1, "{what}: {text}");
        assert_same(&stage.everything(), &before);
    }
}

#[test]
fn half_a_datastream_and_what_is_none_are_refused_and_nothing_is_changed() {
    let stage = Scenario::new();
    let package = Package::new("ACMEa").file("bin/tool", 0o755, "tool\n".repeat(1000));
    datastream(&[package.write(&stage.beside("spool"))], &stage.beside("whole.pkg"));
    let whole = fs::read(stage.beside("whole.pkg")).unwrap();
    let before = stage.everything();
    for (length, expected) in [(whole.len() / 2, "package ACMEa"), (1100, "table of contents"), (300, "")] {
        fs::write(stage.beside("half.pkg"), &whole[..length]).unwrap();
        let text = stage.run("pkgadd -n -R @ROOT@ -d half.pkg ACMEa").fails(99);
        let line = text.lines().next().unwrap();
        let start = "pkgadd: ERROR: could not process datastream from <half.pkg>: ";
        assert!(line.starts_with(start) && line.contains(expected), "{length}: {text}");
        assert_eq!(text.lines().count(), 1, "{length}: {text}");
    }
    fs::write(stage.beside("none.pkg"), "neither this nor that\n").unwrap();
    stage.run("pkgadd -n -R @ROOT@ -d none.pkg ACMEa").fails(99);
    assert_same(&stage.everything(), &before);
}
