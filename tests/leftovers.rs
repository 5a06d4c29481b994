//! Leftovers of killed runs of pkgmk and pkgtrans: the next run removes them, and nothing else.

use std::fs;
use std::path::Path;

use crate::packages::Package;
use crate::scenario::Scenario;

/// Creates leftovers of pkgmk and pkgtrans, and files that only look like them.
fn litter(at: &Path) {
    for program in ["pkgmk", "pkgtrans"] {
        let dead = at.join(format!(".{program}-0123456789abcdef"));
        fs::create_dir_all(dead.join("reloc/lib")).unwrap();
        fs::write(dead.join("reloc/lib/a"), "half").unwrap();
        fs::write(at.join(format!(".{program}-fedcba9876543210")), "half of a stream").unwrap();
        fs::write(at.join(format!(".{program}-mine")), "").unwrap();
    }
}

fn names(at: &Path) -> Vec<String> {
    let names = fs::read_dir(at).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.starts_with('.')).collect();
    names.sort();
    names
}

#[test]
fn pkgtrans_removes_what_killed_ones_left_in_a_directory_and_beside_a_stream() {
    let stage = Scenario::new();
    Package::new("ACMEweb").file("a", 0o644, "x\n").write(&stage.beside("spool"));
    for to in ["to", "to/stream"] {
        let at = stage.beside("to");
        let _ = fs::remove_dir_all(&at);
        fs::create_dir(&at).unwrap();
        litter(&at);
        let option = if to == "to" { "" } else { "-s " };
        assert_eq!(
            stage.run(&format!("pkgtrans {option}spool {} ACMEweb", stage.beside(to).display())).code,
            0
        );
        assert_eq!(
            names(&at),
            [".pkgmk-0123456789abcdef", ".pkgmk-fedcba9876543210", ".pkgmk-mine", ".pkgtrans-mine"],
            "{to}"
        );
    }
}

#[test]
fn pkgmk_removes_what_killed_ones_left() {
    let stage = Scenario::new();
    fs::write(
        stage.beside("pkginfo"),
        "PKG=ACMEweb\nNAME=web\nARCH=all\nVERSION=1.0\nCATEGORY=application\n",
    )
    .unwrap();
    fs::write(stage.beside("prototype"), "i pkginfo\n").unwrap();
    let at = stage.beside("to");
    fs::create_dir(&at).unwrap();
    litter(&at);
    stage.run("pkgmk -o -d to -f prototype");
    assert!(at.join("ACMEweb/pkgmap").exists());
    assert_eq!(
        names(&at),
        [".pkgmk-mine", ".pkgtrans-0123456789abcdef", ".pkgtrans-fedcba9876543210", ".pkgtrans-mine"]
    );
}
