//! Distfiles that a recipe names: a build only gets files with the recorded size and digest.

use std::fs;
use std::process::Stdio;

use patchadm_inputs::sha256::Sha256;
use patchadm_inputs::sign::sha256_text;

use super::{BulkBuild, BulkRun};
use crate::scenario::is_root;
use crate::workshop::eventually;

const ARCHIVE: &str = "the archive\n";

/// An archive that no other recipe has.
const RARE: &str = "one archive\n";

const FETCHED: &str = "an archive of its own\n";

/// Record fields of an archive, with its URL if it has one.
fn fields((name, archive): (&str, &str), url: Option<&str>) -> String {
    let sum = sha256_text(&Sha256::digest(archive.as_bytes()));
    let url = url.map(|url| format!("DISTURL={url}\n")).unwrap_or_default();
    format!("DISTFILES={name}:{sum}:{}\n{url}", archive.len())
}

#[test]
fn a_distfile_that_is_cut_or_wrong_is_fetched_beside_it_or_is_the_failure() {
    let Some(build) = BulkBuild::of_recipes("a_distfile…", !is_root(), "slot=local 2\ncheck=none\n") else {
        return;
    };
    let script = "mkdir $DESTDIR/opt; cat $DISTDIR/* > $DESTDIR/opt/$PKGNAME\n";
    let right = build.write_elsewhere("right", ARCHIVE);
    let own = build.write_elsewhere("own", FETCHED);
    let wrong = build.write_elsewhere("wrong", &ARCHIVE.to_uppercase());
    let distfiles = build.work().join("distfiles");
    for (name, there, url) in [
        ("there", Some(ARCHIVE), None),
        ("cut", Some("the"), Some(&right)),
        ("other", Some("THE ARCHIVE\n"), Some(&right)),
        ("fetched", None, Some(&own)),
        ("missing", None, None),
        ("wrong", None, Some(&wrong)),
        ("nowhere", Some("the"), Some(&format!("{right}.gone"))),
    ] {
        let archive = match name {
            "missing" | "wrong" | "nowhere" => RARE,
            "fetched" => FETCHED,
            _ => ARCHIVE,
        };
        build.recipe(name, &fields((name, archive), url.map(String::as_str)), script);
        if let Some(text) = there {
            fs::write(distfiles.join(name), text).unwrap();
        }
    }
    build.recipe("user", "ALL_DEPENDS=missing-[0-9]*\n", "mkdir $DESTDIR/opt\n");
    build.recipe("plain", "", "mkdir $DESTDIR/opt\n");
    let run: BulkRun = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["cut", "fetched", "other", "plain", "there"]);
    assert_eq!(run.in_state("failed"), ["missing", "nowhere", "wrong"]);
    assert_eq!(run.in_state("indirect-failed"), ["user"]);
    for package in ["missing-1.0", "nowhere-1.0", "wrong-1.0"] {
        assert_eq!(run.package(package)["cause"], "distfile", "{package}");
    }
    assert!(run.detail("missing-1.0").contains("it does not exist"), "{}", run.detail("missing-1.0"));
    assert!(run.detail("wrong-1.0").contains("its SHA-256 differs"), "{}", run.detail("wrong-1.0"));
    assert!(!distfiles.join("wrong").exists(), "what is wrong does not come in");
    let sum = sha256_text(&Sha256::digest(ARCHIVE.as_bytes()));
    for (name, text) in [
        ("cut", "the"),
        ("other", "THE ARCHIVE\n"),
        ("fetched", FETCHED),
        (&format!("by-sha256/{sum}"), ARCHIVE),
    ] {
        assert_eq!(fs::read_to_string(distfiles.join(name)).unwrap(), text, "{name}");
    }
    // A missing distfile is looked for in every run.
    fs::write(distfiles.join("missing"), RARE).unwrap();
    let run = build.run("").ends(5);
    assert_eq!(run.in_state("done"), ["missing", "user"]);
}

#[test]
fn a_build_sees_the_distfile_that_was_checked_whatever_becomes_of_it_meanwhile() {
    let Some(build) = BulkBuild::of_recipes("a_build_sees_the_distfile…", !is_root(), "slot=local 1\n")
    else {
        return;
    };
    let script = "while [ ! -e $TREE/go ]; do sleep 0.1; done; mkdir $DESTDIR/opt; cp $DISTDIR/x $DESTDIR/opt/x\n\
                  grep -q '^the archive$' $DISTDIR/x\n";
    build.recipe("source", &fields(("x", ARCHIVE), None), script);
    let distfile = build.work().join("distfiles/x");
    fs::write(&distfile, ARCHIVE).unwrap();
    let running = build.running("source").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the build begins", || {
        !build.started(1).is_empty() && build.work().join("runs/1/now").exists()
    });
    std::thread::sleep(std::time::Duration::from_millis(500));
    fs::write(&distfile, "replaced!!!\n").unwrap();
    fs::remove_file(&distfile).unwrap();
    fs::write(build.tree().join("go"), "").unwrap();
    let run = BulkRun::of(&running.wait_with_output().unwrap());
    // The distfile was checked before or after the change; in no case does a build see the replacement.
    match run.code {
        0 => assert_eq!(run.in_state("done"), ["source"]),
        _ => assert_eq!((run.code, run.package("source-1.0")["cause"].as_str()), (5, Some("distfile"))),
    }
}
