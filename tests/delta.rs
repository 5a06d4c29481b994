//! `patchadm delta`: the patches of a stable branch, source by source, run after run.

mod broken_off;
mod damaged_work;
mod real_sets;
pub(crate) mod sets;
mod trials;

use std::fs;

use crate::delivery::Patch;
use crate::packages::{Package, files};
use crate::scenario::Scenario;
use sets::{DELTA, Deb, curl, delta, document, field, libcurl, members, names, replace, stage, told, work};

/// Signs a patch with a key that the first call makes.
fn sign(stage: &Scenario, patch: &str) {
    if !stage.beside("own.sec").exists() {
        stage.run("keygen -o own --no-password").ok();
    }
    stage.run(&format!("sign --key own.sec work/patches/{patch}.tar.gz")).ok();
}

#[test]
fn each_source_that_changed_gets_one_patch_with_all_its_packages() {
    let stage = stage();
    let run = delta(&stage, "");
    assert_eq!(told(&run), ["curl built curl-01", "less unchanged -", "openssl built openssl-01"]);
    assert_eq!(
        (run.code, field(&run, "curl", "packages"), field(&run, "curl", "siblings_unchanged")),
        (0, "[libcurl4]".into(), "[curl]".into())
    );
    let members = members(&stage, "curl-01");
    let packages = members.keys().filter(|name| name.ends_with("/pkginfo"));
    assert_eq!(packages.map(String::as_str).collect::<Vec<_>>(), ["curl-01/DEBlibcurl4/pkginfo"]);
    assert!(members["curl-01/DEBlibcurl4/pkginfo"].contains("VERSION=7.1\n"), "the one that is installed");
    assert_eq!(
        names(&stage),
        [
            "bases",
            "handover/LIST",
            "handover/curl-01.tar.gz.manifest",
            "handover/openssl-01.tar.gz.manifest",
            "patches/curl-01.tar.gz",
            "patches/curl-01.tar.gz.manifest",
            "patches/openssl-01.tar.gz",
            "patches/openssl-01.tar.gz.manifest",
            "state.json",
        ]
    );
    stage.run("lint --allow unsigned --allow empty-package work/patches/curl-01.tar.gz").ok();
}

#[test]
fn the_text_names_what_was_built_and_what_is_in_no_patch() {
    let stage = stage();
    Deb::new("curl-doc", "1", "x").of("curl").write(&stage.beside("stable"));
    Deb::new("jq", "1", "x").write(&stage.beside("release"));
    let run = stage.run(DELTA);
    assert_eq!(
        run.stdout,
        "curl: built curl-01: 1 of 2 packages differ\n  work/patches/curl-01.tar.gz\n  packages: libcurl4\n  \
         without a change: curl\njq: gone: no package of it is maintained\nopenssl: built openssl-01: 1 of 1 \
         packages differ\n  work/patches/openssl-01.tar.gz\n  packages: openssl\n2 built, 0 kept, 0 failed; 2 to be \
         signed\n"
    );
    assert_eq!(
        (run.code, run.stderr.as_str()),
        (
            0,
            "note: curl: curl-doc all is new, and in no patch\nnote: jq: jq all is no longer maintained, and in no patch\n"
        )
    );
}

#[test]
fn a_second_run_builds_nothing_and_one_new_package_builds_its_source_alone() {
    let stage = stage();
    delta(&stage, "");
    let before = work(&stage);
    let run = delta(&stage, "");
    assert_eq!(told(&run), ["curl kept curl-01", "less unchanged -", "openssl kept openssl-01"]);
    assert_eq!(document(&run)["result"], "nothing-to-do");
    assert!(work(&stage) == before);
    replace(&stage.beside("stable"), &libcurl("7.3", "library, mended twice\n"));
    let run = delta(&stage, "");
    assert_eq!(told(&run), ["curl built curl-02", "less unchanged -", "openssl kept openssl-01"]);
    // Patch 02 is cumulative: it deletes the files that 01 added and 02 no longer has.
    let members = members(&stage, "curl-02");
    assert_eq!(members["curl-02/DEBlibcurl4/install/deletes"], "usr/share/fresh\n");
    assert!(before.iter().all(|(name, bytes)| !name.starts_with("patches/") || work(&stage)[name] == *bytes));
}

#[test]
fn a_source_that_went_back_gets_a_revision_that_takes_all_back() {
    let stage = stage();
    delta(&stage, "");
    fs::remove_dir_all(stage.beside("stable")).unwrap();
    fs::create_dir(stage.beside("stable")).unwrap();
    for entry in fs::read_dir(stage.beside("release")).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, stage.beside("stable").join(path.file_name().unwrap())).unwrap();
    }
    // There is nothing left to put into another 01.
    assert_eq!(told(&delta(&stage, "--rebuild --only openssl")), ["openssl built openssl-02"]);
    let run = delta(&stage, "");
    assert_eq!(told(&run), ["curl built curl-02", "less unchanged -", "openssl kept openssl-02"]);
    assert_eq!(field(&run, "curl", "reason"), "no difference is left: the patch restores the release");
    let members = members(&stage, "curl-02");
    let delivered: Vec<&String> =
        members.iter().filter(|(name, _)| name.contains("/reloc/")).map(|(_, text)| text).collect();
    assert_eq!(delivered, ["library\n"]);
    assert_eq!(members["curl-02/DEBlibcurl4/install/deletes"], "usr/share/fresh\n");
    assert_eq!(
        told(&delta(&stage, "")),
        ["curl kept curl-02", "less unchanged -", "openssl kept openssl-02"]
    );
    assert_eq!(told(&delta(&stage, "--rebuild --only curl")), ["curl built curl-02"]);
}

#[test]
fn other_files_with_the_same_objects_need_no_patch() {
    let stage = stage();
    replace(&stage.beside("stable"), &Deb::new("less", "591", "less\n"));
    let run = delta(&stage, "--only less");
    assert_eq!(told(&run), ["less unchanged -"]);
    assert_eq!(field(&run, "less", "reason"), "the objects are the same");
    assert_eq!(names(&stage), ["handover/LIST"]);
}

#[test]
fn sources_that_are_new_or_gone_are_named() {
    let stage = stage();
    Deb::new("fresh", "1", "x").write(&stage.beside("stable"));
    delta(&stage, "");
    for name in ["openssl_1:3.0", "less_590"] {
        fs::remove_file(stage.beside(&format!("release/{name}_all.deb"))).unwrap();
    }
    for name in ["openssl_1:3.1", "curl_7.2", "libcurl4_7.2"] {
        fs::remove_file(stage.beside(&format!("stable/{name}_all.deb"))).unwrap();
    }
    let run = delta(&stage, "");
    assert_eq!(told(&run), ["curl gone curl-01", "fresh new -", "less new -", "openssl gone openssl-01"]);
    assert_eq!(field(&run, "openssl", "reason"), "neither directory has a package of it");
    assert_eq!(run.code, 0);
}

#[test]
fn a_damaged_package_stops_its_own_source_alone() {
    let stage = stage();
    let libcurl = stage.beside("stable/libcurl4_7.2_all.deb");
    let whole = fs::read(&libcurl).unwrap();
    let mut control = whole.clone();
    control[150..400].fill(b'#');
    let mut data = whole.clone();
    let at = whole.windows(9).position(|bytes| bytes == b"data.tar ").unwrap();
    data[at + 60..at + 400].fill(b'#');
    for (what, bytes) in [
        ("cut", whole[..whole.len() - 700].to_vec()),
        ("no archive", b"what is this\n".to_vec()),
        ("empty", Vec::new()),
        ("a control file of rubbish", control),
        ("data of rubbish", data),
    ] {
        fs::write(&libcurl, bytes).unwrap();
        let _ = fs::remove_dir_all(stage.beside("work"));
        let run = delta(&stage, "");
        assert_eq!(told(&run)[1..], ["less unchanged -", "openssl built openssl-01"], "{what}");
        assert!(told(&run)[0].starts_with("curl failed"), "{what}: {:?}", told(&run));
        assert_eq!((run.code, document(&run)["failed"].as_u64()), (5, Some(1)), "{what}");
        assert!(run.stderr.contains("error: curl: stable/libcurl4_7.2_all.deb: "), "{what}: {}", run.stderr);
        assert!(!stage.beside("work/patches/curl-01.tar.gz").exists(), "{what}");
    }
    fs::write(&libcurl, whole).unwrap();
    assert_eq!(told(&delta(&stage, ""))[0], "curl built curl-01");
}

#[test]
fn what_is_no_package_is_named_and_stops_nothing() {
    let stage = stage();
    fs::write(stage.beside("release/README"), "read me\n").unwrap();
    fs::create_dir(stage.beside("stable/drafts")).unwrap();
    let run = delta(&stage, "");
    assert_eq!(
        told(&run),
        [
            "README failed -",
            "curl built curl-01",
            "drafts failed -",
            "less unchanged -",
            "openssl built openssl-01"
        ]
    );
    assert_eq!(run.code, 5);
}

#[test]
fn two_versions_of_one_package_in_a_directory_are_refused() {
    let stage = stage();
    curl("7.0", "older\n").write(&stage.beside("stable"));
    let run = delta(&stage, "");
    assert_eq!((told(&run)[0].as_str(), run.code), ("curl failed curl-01", 5));
    assert!(run.stderr.contains("are both the package curl for all"), "{}", run.stderr);
    assert!(
        fs::read_to_string(stage.beside("work/logs/curl-01.log")).unwrap().contains("are both the package")
    );
}

#[test]
fn bases_are_given_once_and_for_ever() {
    let stage = stage();
    fs::write(stage.beside("ids"), "# ours\nopenssl 300001\n").unwrap();
    let run = delta(&stage, "--ids ids");
    assert_eq!(told(&run), ["curl built curl-01", "less unchanged -", "openssl built 300001-01"]);
    assert_eq!(work(&stage)["bases"], b"curl curl\nopenssl 300001\n");
    assert_eq!(told(&delta(&stage, ""))[2], "openssl kept 300001-01");
    for (text, said) in [
        (
            "openssl 300002\n",
            "the patches of source openssl are 300001-NN, and 300002 cannot become their base",
        ),
        ("less 300001\n", "less and openssl would both have the base 300001"),
        ("less\n", "ids: line 1: it is not SOURCE BASE"),
        ("less ../x\n", "ids: line 1: it is not SOURCE BASE"),
    ] {
        fs::write(stage.beside("ids"), text).unwrap();
        let before = work(&stage);
        let refused = stage.run(&format!("{DELTA} --ids ids")).fails(1);
        assert!(refused.contains(said), "{refused}");
        assert!(work(&stage) == before);
    }
    stage.run(&format!("{DELTA} --ids nothing")).fails(1);
    Deb::new("x", "1", "1").of("+x/y").write(&stage.beside("release"));
    Deb::new("x", "2", "2").of("+x/y").write(&stage.beside("stable"));
    let run = delta(&stage, "");
    assert_eq!((told(&run)[0].as_str(), run.code), ("+x/y failed -", 5));
    assert!(
        run.stderr.contains("is not a patch id") && run.stderr.contains("use --ids to choose another base")
    );
}

#[test]
fn options_are_a_part_of_what_a_patch_is_of() {
    let stage = stage();
    delta(&stage, "--synopsis one");
    assert_eq!(told(&delta(&stage, "--synopsis one"))[0], "curl kept curl-01");
    for (options, id) in [
        ("--synopsis two", "curl-02"),
        ("--synopsis two --format zip", "curl-03"),
        ("--exclude nothing", "curl-04"),
    ] {
        assert_eq!(told(&delta(&stage, options))[0], format!("curl built {id}"), "{options}");
    }
    assert!(stage.beside("work/patches/curl-03.zip").exists());
}

#[test]
fn the_time_is_no_part_of_it() {
    let mut stage = stage();
    delta(&stage, "");
    stage.set("SOURCE_DATE_EPOCH", "1800000000");
    assert_eq!(told(&delta(&stage, ""))[0], "curl kept curl-01");
}

#[test]
fn rebuild_replaces_the_highest_patch_unless_it_is_signed() {
    let stage = stage();
    delta(&stage, "");
    replace(&stage.beside("stable"), &libcurl("7.3", "library, mended twice\n"));
    delta(&stage, "");
    sign(&stage, "openssl-01");
    let before = work(&stage);
    let run = delta(&stage, "--rebuild --synopsis new");
    assert_eq!(told(&run), ["curl built curl-02", "less unchanged -", "openssl built openssl-02"]);
    let after = work(&stage);
    let is_same = |name: &str| before[name] == after[name];
    assert!(is_same("patches/curl-01.tar.gz") && is_same("patches/openssl-01.tar.gz"));
    assert!(!is_same("patches/curl-02.tar.gz"));
    // The form may change; the old file is then removed.
    let run = delta(&stage, "--rebuild --format zip --only curl");
    assert_eq!(told(&run), ["curl built curl-02"]);
    assert!(stage.beside("work/patches/curl-02.zip").exists());
    assert!(!names(&stage).contains(&"patches/curl-02.tar.gz".to_owned()));
    assert!(!names(&stage).contains(&"patches/curl-02.tar.gz.manifest".to_owned()));
}

#[test]
fn what_is_handed_over_is_what_nobody_has_signed() {
    let stage = stage();
    delta(&stage, "");
    let list = |stage: &Scenario| String::from_utf8(work(stage)["handover/LIST"].clone()).unwrap();
    let bytes = work(&stage)["patches/curl-01.tar.gz"].len();
    let lines = list(&stage);
    let first: Vec<&str> = lines.lines().next().unwrap().split(' ').collect();
    assert_eq!((first[0], first[1].parse().ok(), first[3]), ("curl-01", Some(bytes), "curl-01.tar.gz"));
    assert_eq!(
        work(&stage)["handover/curl-01.tar.gz.manifest"],
        work(&stage)["patches/curl-01.tar.gz.manifest"]
    );
    sign(&stage, "curl-01");
    // One signature is returned to the directory of the manifest.
    fs::rename(
        stage.beside("work/patches/curl-01.tar.gz.manifest.minisig"),
        stage.beside("work/handover/curl-01.tar.gz.manifest.minisig"),
    )
    .unwrap();
    let run = delta(&stage, "");
    assert_eq!(document(&run)["to_sign"], 1);
    let handover: Vec<String> =
        names(&stage).into_iter().filter(|name| name.starts_with("handover/")).collect();
    assert_eq!(
        handover,
        ["handover/LIST", "handover/curl-01.tar.gz.manifest.minisig", "handover/openssl-01.tar.gz.manifest"]
    );
    assert!(list(&stage).starts_with("openssl-01 ") && list(&stage).lines().count() == 1);
}

#[test]
fn a_log_says_what_a_patch_is_of_and_the_one_before_is_kept() {
    let stage = stage();
    delta(&stage, "");
    let log = |name: &str| fs::read_to_string(stage.beside(&format!("work/logs/{name}"))).unwrap();
    let first = log("curl-01.log");
    for part in [
        "2026-11-20T07:00:00Z source curl\n",
        " release/libcurl4_7.1_all.deb\n",
        "package DEBlibcurl4 7.1 all: 1 added, 1 replaced, 0 deleted, 0 with changed attributes\n",
        "built curl-01: 1 of 2 packages differ\n",
        "unchanged siblings: curl\n",
    ] {
        assert!(first.contains(part), "{part}: {first}");
    }
    assert!(!stage.beside("work/logs/curl-01.log.1").exists());
    delta(&stage, "--rebuild --only curl");
    assert_eq!(log("curl-01.log.1"), first);
    assert!(log("curl-01.log").contains("built curl-01: made again: curl-01 as requested with --rebuild\n"));
}

#[test]
fn a_dry_run_says_the_same_and_writes_nothing() {
    let stage = stage();
    let run = delta(&stage, "--dry-run");
    assert_eq!(told(&run), ["curl built curl-01", "less unchanged -", "openssl built openssl-01"]);
    assert_eq!((document(&run)["result"].as_str(), run.code), (Some("planned"), 0));
    assert!(!stage.beside("work").exists());
    delta(&stage, "");
    let before = work(&stage);
    assert_eq!(told(&delta(&stage, "--dry-run --rebuild"))[0], "curl built curl-01");
    assert_eq!(told(&delta(&stage, "--dry-run"))[0], "curl kept curl-01");
    assert!(work(&stage) == before);
}

#[test]
fn only_the_sources_that_are_named_are_looked_at() {
    let stage = stage();
    assert_eq!(told(&delta(&stage, "--only openssl less")), ["less unchanged -", "openssl built openssl-01"]);
    assert_eq!(told(&delta(&stage, "--only curl --only less")), ["curl built curl-01", "less unchanged -"]);
    let said = stage.run(&format!("{DELTA} --only nobody")).fails(1);
    assert!(said.contains("no package of either directory is built from source nobody"), "{said}");
}

#[test]
fn directories_and_words_that_make_no_sense_are_refused() {
    let stage = stage();
    let said = stage.run("delta --release nothing --stable stable --work work").fails(1);
    assert!(said.contains("nothing: no such file or directory"), "{said}");
    stage.run("delta --release release/less_590_all.deb --stable stable --work work").fails(1);
    stage.run("delta --release release --stable stable").fails(2);
    stage.run(&format!("{DELTA} --format dir")).fails(2);
    stage.run(&format!("{DELTA} --pkg X")).fails(2);
    fs::write(stage.beside("file"), "").unwrap();
    stage.run("delta --release release --stable stable --work file").fails(1);
}

#[test]
fn inputs_that_cannot_be_used_leave_no_working_directory() {
    let stage = stage();
    fs::write(stage.beside("no.zip"), "no patch\n").unwrap();
    for words in [
        "--release nothing --stable stable",
        "--release release --stable nothing",
        "--release release/less_590_all.deb --stable stable",
        "--release release --stable stable --only nobody",
        "--release release --stable stable --against nothing",
        "--release release --stable stable --against no.zip",
    ] {
        assert_ne!(stage.run(&format!("delta {words} --work work")).code, 0, "{words}");
        assert!(!stage.beside("work").exists(), "{words}");
    }
    // An existing directory stays unchanged.
    fs::create_dir(stage.beside("work")).unwrap();
    stage.run("delta --release nothing --stable stable --work work").fails(1);
    assert_eq!(fs::read_dir(stage.beside("work")).unwrap().count(), 0);
    stage.run(DELTA).ok();
    let before = work(&stage);
    stage.run("delta --release nothing --stable stable --work work").fails(1);
    assert!(work(&stage) == before);
}

#[test]
fn scripts_that_are_left_out_of_all_patches_are_told_once() {
    let stage = stage();
    let [old, new] = ["1:3.0", "1:3.1"].map(|version| Deb::new("openssl", version, version));
    replace(&stage.beside("release"), &old);
    replace(&stage.beside("stable"), &new.script("postinst").script("prerm"));
    replace(&stage.beside("stable"), &libcurl("7.2", "library, mended\n").script("postinst"));
    let run = stage.run(DELTA);
    let said = "note: 3 scripts of another package format are left out: 2 postinst, 1 prerm\n";
    assert_eq!((run.code, run.stderr.as_str()), (0, said));
    let again = delta(&stage, "--rebuild");
    assert_eq!(field(&again, "openssl", "scripts_left_out"), "[openssl: postinst,openssl: prerm]");
    assert_eq!(stage.run(DELTA).stderr, "", "nothing is made");
}

#[test]
fn one_run_at_a_time_has_the_working_directory() {
    let stage = stage();
    delta(&stage, "");
    let lock = patchadm_rootfs::Lock::take_file(
        &patchadm_rootfs::Dir::of_host(&stage.beside("work")).unwrap(),
        b"lock",
        "another",
        |_| false,
    )
    .unwrap();
    let said = stage.run(DELTA).fails(6);
    assert!(said.contains("is locked by process"), "{said}");
    drop(lock);
    stage.run(DELTA).ok();
}

#[test]
fn a_patch_is_no_working_directory() {
    let stage = stage();
    Patch::of("100-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n")).write(&stage.beside(""));
    stage.run("keygen -o own --no-password").ok();
    stage.run("sign --key own.sec 100-01").ok();
    let before = files(&stage.beside("100-01"));
    let said = stage.run("delta --release release --stable stable --work 100-01").fails(2);
    assert!(said.contains("`100-01` is a patch, not a working directory\n"), "{said}");
    assert_eq!(files(&stage.beside("100-01")), before);
}

#[test]
fn packages_of_a_source_in_package_directories_make_a_patch_that_applies_and_goes_back() {
    let package = |name: &str, version: &str, text: &str| {
        Package::new(name).param("SOURCE", "acme").param("VERSION", version).file("bin/x", 0o755, text)
    };
    let installed = [package("ACMEa", "1.0", "a\n"), package("ACMEb", "1.0", "b\n")];
    let stage = Scenario::with(&installed);
    for package in &installed {
        package.write(&stage.beside("release"));
    }
    package("ACMEa", "1.1", "a, mended\n").write(&stage.beside("stable"));
    package("ACMEb", "1.1", "b\n").write(&stage.beside("stable"));
    let run = delta(&stage, "");
    assert_eq!(told(&run), ["acme built acme-01"], "{}", run.stderr);
    assert_eq!(
        (field(&run, "acme", "packages"), field(&run, "acme", "siblings_unchanged")),
        ("[ACMEa]".into(), "[ACMEb]".into())
    );
    let before = stage.tree();
    stage.run("add -R @ROOT@ work/patches/acme-01.tar.gz").ok();
    assert_eq!(stage.text("/opt/ACMEa/bin/x"), "a, mended\n");
    stage.run("remove -R @ROOT@ acme-01").ok();
    crate::tree::assert_same(&stage.tree(), &before);
    assert_eq!(told(&delta(&stage, "")), ["acme kept acme-01"]);
}
