//! Refusals of `patchadm publish`: command lines, files that are no valid patches, damaged depots, full disks.

use std::fs;
use std::path::{Path, PathBuf};

use crate::delivery::Patch;
use crate::depots::{digest, public_key, read_depot};
use crate::packages::{Package, files};
use crate::publish::{deliver_signed, depot, index, publish, publish_signed, secret_key, stage};
use crate::scenario::Scenario;

#[test]
fn what_makes_no_sense_is_wrong_usage() {
    let stage = stage();
    for (words, said) in [
        ("", "no patches and no depot specified"),
        ("work", "no depot specified"),
        ("work depot more", "unexpected argument <more>"),
        ("--expires 0d work depot", "not between 1d and 36500d"),
        ("--finish --refresh depot", "--refresh"),
        ("--finish --unsigned depot", "--unsigned"),
        ("work http://localhost/depot", "<http://localhost/depot/> names no directory of this machine"),
        ("--refresh ftp://localhost/depot", "<ftp://localhost/depot> names no directory of this machine"),
    ] {
        let text = publish(&stage, words).fails(2);
        assert!(text.contains(said), "{words}: {text}");
    }
    for (words, said) in
        [("--key nothing work depot", "cannot read nothing"), ("--unsigned nothing depot", "nothing")]
    {
        let text = publish(&stage, words).fails(1);
        assert!(text.contains(said), "{words}: {text}");
    }
    for options in ["", "--dry-run "] {
        let text = publish(&stage, &format!("--unsigned {options}nothing depot")).fails(1);
        assert!(
            text.contains("nothing: ") && text.contains("\nhint: check the directory nothing\n"),
            "{text}"
        );
    }
    let key = secret_key().replace("plain", "locked");
    let said = publish(&stage, &format!("--key {key} work depot")).fails(2);
    assert!(said.contains("hint: specify its file with `--password-file`"), "{said}");
    assert!(!stage.beside("depot").exists() && !stage.beside("http:").exists());
}

#[test]
fn a_patch_in_place_of_its_directory_gets_the_command_that_publishes_it() {
    let stage = stage();
    let file = deliver_signed(&stage, "100-01", "one\n");
    let name = file.file_name().unwrap().to_str().unwrap();
    let patch = Patch::of("200-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n"));
    let directory = patch.write(&stage.beside("work"));
    let directory = directory.file_name().unwrap().to_str().unwrap();
    let refused = |patch: &str| {
        let said = publish(&stage, &format!("--unsigned work/{patch} depot")).fails(2);
        let message = format!("`work/{patch}` is a patch: publish takes the directory that contains patches");
        assert!(said.contains(&message), "{said}");
        assert!(said.contains("hint: patchadm publish --unsigned work depot\n"), "{said}");
    };
    refused(name);
    refused(directory);
    stage.run(&format!("sign --key {} work/{directory}", secret_key())).ok();
    refused(directory);
    assert!(!stage.beside("depot").exists());
}

#[test]
fn a_patch_in_place_of_the_depot_is_refused_and_gets_no_file_more() {
    let stage = stage();
    let patch = Patch::of("200-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n"));
    let directory = patch.write(&stage.beside("work"));
    fs::create_dir(stage.beside("depot")).unwrap();
    let refused = |words: &str, hint: &str| {
        let before = files(&directory);
        let said = publish(&stage, words).fails(2);
        assert!(said.contains("`work/200-01` is a patch, not a depot\n"), "{said}");
        assert!(said.contains(&format!("hint: {hint}\n")), "{said}");
        assert_eq!(files(&directory), before);
    };
    let swapped = "patchadm publish --unsigned work depot";
    refused("--unsigned depot work/200-01", swapped);
    stage.run(&format!("sign --key {} work/200-01", secret_key())).ok();
    refused("--unsigned depot work/200-01", swapped);
    let other = "specify the directory of a depot, or a new one";
    refused("--unsigned work work/200-01", other);
    refused("--refresh work/200-01", other);
    refused("--finish work/200-01", other);
    publish(&stage, "--unsigned work depot").ok();
    refused("--unsigned depot work/200-01", swapped);
    fs::rename(&directory, stage.beside("200-01")).unwrap();
    let said = publish(&stage, "--unsigned depot 200-01").fails(2);
    let hint =
        "hint: move the patch to a directory WORK, then run `patchadm publish --unsigned WORK depot`\n";
    assert!(said.contains(hint), "{said}");
    let file = deliver_signed(&stage, "100-01", "one\n");
    let name = file.file_name().unwrap().to_str().unwrap();
    let said = publish(&stage, &format!("--unsigned depot work/{name}")).fails(2);
    assert!(said.contains(&format!("`work/{name}` is a file, not a depot\nhint: {swapped}\n")), "{said}");
}

#[test]
fn a_file_that_is_no_good_patch_stops_everything() {
    for (damage, code, reason) in [
        ("rubbish", 1, "neither a package, nor a patch"),
        ("directory", 1, "work/300-01: no package in it"),
        ("pipe", 1, "it is neither a file nor a directory"),
        ("form", 1, "a depot accepts zip, tar, tar.gz and datastream"),
        ("twice", 3, "patch 200-01 is listed twice"),
        ("cut", 3, "does not match the digest of the file"),
        ("manifest", 3, "is the manifest of patch 100-01, not of 200-01"),
        ("members", 3, "has the form `members`"),
        ("noise", 3, "is not valid"),
        ("signature", 3, "is not valid"),
        ("other signature", 3, "is by key 7802F643AC6161C8, but not of"),
    ] {
        let stage = stage();
        let first = deliver_signed(&stage, "100-01", "one\n");
        let second = deliver_signed(&stage, "200-01", "two\n");
        spoil(&stage, damage, &first, &second);
        let said = publish_signed(&stage).fails(code);
        assert!(said.contains(reason), "{damage}: {said}");
        assert!(!stage.beside("depot").exists(), "{damage}");
    }
}

/// Damages something in the working directory.
fn spoil(stage: &Scenario, damage: &str, first: &Path, second: &Path) {
    let beside = |file: &Path, end: &str| PathBuf::from(format!("{}{end}", file.display()));
    let manifest = beside(second, ".manifest");
    match damage {
        "rubbish" => fs::write(stage.beside("work/notes"), "what is this\n").unwrap(),
        "directory" => fs::create_dir(stage.beside("work/300-01")).unwrap(),
        "pipe" => {
            rustix::fs::mknodat(
                rustix::fs::CWD,
                stage.beside("work/pipe"),
                rustix::fs::FileType::Fifo,
                rustix::fs::Mode::RUSR,
                0,
            )
            .unwrap();
        }
        "twice" => {
            for end in ["", ".manifest", ".manifest.minisig"] {
                fs::copy(beside(second, end), stage.beside(&format!("work/again.zip{end}"))).unwrap();
            }
        }
        "form" => {
            let patch = Patch::of("300-01", Package::new("ACMEweb").file("bin/httpd", 0o755, "x\n"));
            patch.pack(&stage.beside("work"), ".tar.Z");
        }
        "cut" => {
            let mut bytes = fs::read(second).unwrap();
            bytes.push(0);
            fs::write(second, bytes).unwrap();
        }
        "manifest" => fs::write(&manifest, fs::read(beside(first, ".manifest")).unwrap()).unwrap(),
        "members" => {
            let text = fs::read_to_string(&manifest).unwrap();
            fs::write(&manifest, text.replace("# form file", "# form members")).unwrap();
        }
        "noise" => fs::write(&manifest, "\0\0").unwrap(),
        "signature" => fs::write(beside(second, ".manifest.minisig"), "x\n").unwrap(),
        "other signature" => {
            fs::copy(beside(first, ".manifest.minisig"), beside(second, ".manifest.minisig")).unwrap();
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_cannot_be_written_leaves_the_depot_as_it_is() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    let text: String =
        (0..20_000_u32).map(|number| format!("{}\n", number.wrapping_mul(2_654_435_761))).collect();
    deliver_signed(&stage, "200-01", &text);
    let before = depot(&stage);
    let run = stage.limited("ulimit -f 16", &format!("publish --key {} work depot", secret_key()));
    assert!(run.code == 1 && run.stderr.contains("depot/objects/"), "{}", run.stderr);
    assert!(depot(&stage) == before);
    publish_signed(&stage).ok();
}

#[test]
fn an_object_that_is_lost_comes_back_and_a_damaged_one_is_named() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    let path = index(&stage).patches().next().unwrap().path.clone();
    fs::remove_file(stage.beside("depot").join(&path)).unwrap();
    assert!(read_depot(&stage.beside("depot"), &public_key("plain")).is_err());
    publish_signed(&stage).ok();
    index(&stage);
    let second = deliver_signed(&stage, "200-01", "two\n");
    let sha256 = digest(&fs::read(second).unwrap());
    let object = stage.beside("depot").join(patchadm_inputs::depot::object_path(&sha256));
    fs::create_dir_all(object.parent().unwrap()).unwrap();
    fs::write(object, "x").unwrap();
    let said = publish_signed(&stage).fails(1);
    assert!(said.contains("the depot is damaged"), "{said}");
    assert_eq!(index(&stage).version, 1);
}

#[test]
fn a_revision_without_all_of_an_earlier_one_is_not_published() {
    let stage = stage();
    for (name, texts) in [("v1", ["a1\n", "b1\n"]), ("v2", ["a2\n", "b1\n"]), ("v3", ["a2\n", "b three\n"])] {
        fs::create_dir(stage.beside(name)).unwrap();
        fs::write(stage.beside(name).join("a"), texts[0]).unwrap();
        fs::write(stage.beside(name).join("b"), texts[1]).unwrap();
    }
    let build = |id: &str, more: &str| {
        let named = "--pkg ACMEweb --arch all --synopsis s --owner root:root --force";
        stage.run(&format!("build --id {id} -o work/{id} {named} {more}"))
    };
    assert_eq!(build("R-01", "--base-version 1 --from v1 --to v2").stderr, "");
    let said = build("R-02", "--base-version 1 --from v2 --to v3").stderr;
    assert!(said.starts_with("note: R-02 ") && said.contains("`--previous`"), "{said}");

    let found = "work/R-02: error: cumulative: ACMEweb: /a: R-01 delivers or deletes it\n";
    assert!(stage.run("lint work/R-02").stdout.lines().all(|line| !line.contains("cumulative")));
    let linted = stage.run("lint work/R-01 work/R-02");
    assert!(linted.code == 4 && linted.stdout.contains(found), "{linted:?}");
    assert_eq!(stage.run("lint --depot work work/R-01 work/R-02").stdout.matches(found).count(), 1);
    let refused = |words: &str| {
        let said = publish(&stage, words).fails(3);
        assert!(said.contains(&format!("nothing was published\n    {found}hint: ")), "{said}");
        assert!(said.contains("`--previous`"), "{said}");
    };
    refused("--unsigned --dry-run work depot");
    refused("--unsigned work depot");
    assert!(!stage.beside("depot").exists());

    let apart = stage.beside("R-02");
    fs::rename(stage.beside("work/R-02"), &apart).unwrap();
    publish(&stage, "--unsigned work depot").ok();
    fs::remove_dir_all(stage.beside("work/R-01")).unwrap();
    fs::rename(&apart, stage.beside("work/R-02")).unwrap();
    refused("--unsigned work depot");

    assert_eq!(build("R-02", "--base-version 2 --from v2 --to v3").code, 0);
    publish(&stage, "--unsigned --dry-run work depot").ok();
}
