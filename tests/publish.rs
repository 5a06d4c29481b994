//! `patchadm publish`: patches enter a depot, and its index is signed and put in place.

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use chrono::DateTime;
use patchadm_core::operation::publish::{IndexSigning, PublishError, PublishRequest, PublishWork};
use patchadm_inputs::depot::DepotIndex;
use patchadm_rootfs::{Dir, Lock};
use serde_json::Value;

use crate::delivery::Patch;
use crate::depots::{digest, files_of, public_key, read_depot};
use crate::packages::{Package, files};
use crate::scenario::{NOW, Run, Scenario};

/// The secret key of the publisher.
pub(crate) fn secret_key() -> String {
    format!("{}/testdata/signatures/plain.sec", env!("CARGO_MANIFEST_DIR"))
}

/// The public half of it.
fn public_key_file() -> String {
    secret_key().replace(".sec", ".pub")
}

/// Makes a patch of one file in a working directory, with a file `text`.
pub(crate) fn deliver(work: &Path, id: &str, text: &str) -> PathBuf {
    let patch = Patch::of(id, Package::new("ACMEweb").file("bin/httpd", 0o755, text)).beside(
        &format!("README.{id}"),
        &format!("Patch-ID# {id}\nKeywords: security web\nSynopsis: Web {id}\n"),
    );
    let file = patch.pack(work, ".zip");
    // A manifest of an earlier file of this name.
    let _ = fs::remove_file(format!("{}.manifest", file.display()));
    file
}

pub(crate) fn stage() -> Scenario {
    let stage = Scenario::new();
    fs::create_dir(stage.beside("work")).unwrap();
    stage
}

/// Makes a patch and signs it.
pub(crate) fn deliver_signed(stage: &Scenario, id: &str, text: &str) -> PathBuf {
    let file = deliver(&stage.beside("work"), id, text);
    stage.run(&format!("sign --key {} {}", secret_key(), file.display())).ok();
    file
}

pub(crate) fn publish(stage: &Scenario, words: &str) -> Run {
    stage.run(&format!("publish {words}"))
}

/// Publishes the working directory with the key of the publisher.
pub(crate) fn publish_signed(stage: &Scenario) -> Run {
    publish(stage, &format!("--key {} work depot", secret_key()))
}

/// The index that everybody may read, complete and signed by the publisher.
#[track_caller]
pub(crate) fn index(stage: &Scenario) -> DepotIndex {
    read_depot(&stage.beside("depot"), &public_key("plain")).unwrap().expect("an index")
}

/// Everything in the depot.
pub(crate) fn depot(stage: &Scenario) -> Vec<(String, Vec<u8>)> {
    files_of(&stage.beside("depot"))
}

#[track_caller]
fn document(run: &Run) -> Value {
    serde_json::from_str(&run.stdout).unwrap()
}

#[test]
fn patches_enter_a_depot_one_publication_after_another() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    let said = publish_signed(&stage).ok();
    assert_eq!(said, "depot: published version 1, valid until 2026-12-20 07:00\n  added 100-01\n");
    let first = index(&stage);
    let patch = first.patches().next().unwrap();
    assert_eq!((first.version, patch.id.as_str(), patch.format.as_str()), (1, "100-01", "zip"));
    assert_eq!(
        (patch.synopsis.as_str(), patch.keywords.join(" ")),
        ("Web 100-01", "security web".to_owned())
    );
    assert!(patch.manifest.is_some() && patch.signature.is_some() && patch.readme.is_some());
    assert_eq!(patch.files, 1);
    let before = digest(&fs::read(stage.beside("depot/index.json")).unwrap());
    deliver_signed(&stage, "200-01", "two\n");
    let run = publish(&stage, &format!("--json --expires never --key {} work depot", secret_key()));
    let told = document(&run);
    assert_eq!(
        (&told["added"], &told["kept"]),
        (&serde_json::json!(["200-01"]), &serde_json::json!(["100-01"]))
    );
    let second = index(&stage);
    assert_eq!((second.version, second.expires, second.previous), (2, None, Some(before)));
    assert_eq!((second.depot.as_str(), told["version"].as_u64()), (first.depot.as_str(), Some(2)));
    assert!(stage.beside("depot/keys/7802F643AC6161C8.pub").exists());
    verified_by_minisign(&stage.beside("depot"));
}

#[test]
fn what_the_keeper_says_of_patches_enters_the_index_with_the_next_publication() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    deliver_signed(&stage, "200-01", "two\n");
    publish_signed(&stage).ok();
    let flags = || -> Vec<String> { index(&stage).patches().map(|patch| patch.flags.join(" ")).collect() };
    assert_eq!(flags(), ["", ""]);
    fs::write(stage.beside("depot/flags"), "200-01 security recommended\n").unwrap();
    let said = publish_signed(&stage).ok();
    assert!(said.starts_with("depot: published version 2"), "{said}");
    assert_eq!(flags(), ["", "recommended security"]);
    let said = publish_signed(&stage).ok();
    assert!(said.contains("version 2 stays; nothing is new"), "{said}");
    fs::write(stage.beside("depot/flags"), "100-01 withdrawn\n").unwrap();
    deliver_signed(&stage, "300-01", "three\n");
    publish_signed(&stage).ok();
    assert_eq!((flags(), index(&stage).version), (["withdrawn", "", ""].map(str::to_owned).into(), 3));
    fs::write(stage.beside("depot/flags"), "100-01 urgent\n").unwrap();
    let (before, run) = (depot(&stage), publish_signed(&stage));
    let said = run.fails(1);
    assert!(
        said.contains("flags: line 1: <urgent> is not one of") && said.contains("fix that line"),
        "{said}"
    );
    assert_eq!((depot(&stage), said.lines().count()), (before, 3));
}

/// Verifies the signature of the index with the real tool, if it is installed.
fn verified_by_minisign(depot: &Path) {
    let index = depot.join("index.json");
    let signature = depot.join(format!("index/{}.minisig", digest(&fs::read(&index).unwrap())));
    let mut minisign = Command::new("minisign");
    let minisign = minisign.args(["-V", "-p", &public_key_file(), "-m"]).arg(index).arg("-x").arg(signature);
    match minisign.output() {
        Err(_) => crate::missing("minisign", "an index verified by minisign"),
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
    }
}

#[test]
fn a_working_directory_of_delta_is_published_with_the_signatures_that_came_back() {
    let stage = stage();
    for directory in ["patches", "handover", "logs"] {
        fs::create_dir(stage.beside(&format!("work/{directory}"))).unwrap();
    }
    for file in ["lock", "bases", "state.json", "logs/100-01.log"] {
        fs::write(stage.beside(&format!("work/{file}")), "").unwrap();
    }
    let patch = deliver(&stage.beside("work/patches"), "100-01", "one\n");
    stage.run(&format!("sign --key {} {}", secret_key(), patch.display())).ok();
    fs::rename(
        stage.beside("work/patches/100-01.zip.manifest.minisig"),
        stage.beside("work/handover/100-01.zip.manifest.minisig"),
    )
    .unwrap();
    publish_signed(&stage).ok();
    assert!(index(&stage).patches().all(|patch| patch.signature.is_some()));
}

#[test]
fn a_publisher_that_is_told_to_end_leaves_nothing_half_made() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    deliver_signed(&stage, "200-01", "two\n");
    let (before, place) = (depot(&stage), stage.beside("depot"));
    let (work, key) = (stage.beside("work"), public_key("plain"));
    for calls in 0_u32.. {
        let left = Cell::new(calls);
        let interrupt = || {
            let is_over = left.get() == 0;
            left.set(left.get().saturating_sub(1));
            is_over.then_some(15)
        };
        let request = PublishRequest {
            depot: &place,
            work: PublishWork::Patches(&work),
            expires: None,
            may_be_unsigned: false,
            is_dry_run: false,
            now: DateTime::from_timestamp(NOW.cast_signed(), 0).unwrap(),
            signing: IndexSigning::Elsewhere(Some(key.clone())),
            missing_of_earlier: &|_, _| Ok(Vec::new()),
            interrupt: &interrupt,
        };
        match patchadm_core::operation::publish::publish(&request, &mut |_| false) {
            Err(PublishError::Interrupted(15)) => assert!(depot(&stage) == before, "after {calls} questions"),
            Err(error) => panic!("{error}"),
            Ok(_) => return assert!(calls > 4, "it asked {calls} times"),
        }
    }
}

#[test]
fn what_is_there_already_makes_no_new_index() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    let before = depot(&stage);
    let said = publish_signed(&stage).ok();
    assert_eq!(said, "depot: version 1 stays; nothing is new\n  there already: 1\n");
    assert!(depot(&stage) == before);
}

#[test]
fn an_id_that_is_there_with_other_bytes_is_refused() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    let before = depot(&stage);
    deliver_signed(&stage, "100-01", "other\n");
    deliver_signed(&stage, "200-01", "two\n");
    let said = publish_signed(&stage).fails(3);
    assert!(said.contains("patch 100-01 is in the depot with different bytes"), "{said}");
    assert!(depot(&stage) == before);
}

#[test]
fn a_patch_that_is_signed_anew_gets_that_signature_and_loses_none() {
    let stage = stage();
    let file = deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    stage.run("keygen -o other --no-password").ok();
    stage.run(&format!("sign --key other.sec {}", file.display())).ok();
    assert!(publish_signed(&stage).ok().contains("published version 2"));
    let signature = index(&stage).patches().next().unwrap().signature.clone();
    fs::remove_file(format!("{}.manifest.minisig", file.display())).unwrap();
    assert!(publish_signed(&stage).ok().contains("version 2 stays"));
    assert_eq!(index(&stage).patches().next().unwrap().signature, signature);
}

#[test]
fn who_else_is_at_work_is_told() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    fs::write(stage.beside("work/lock"), "").unwrap();
    deliver_signed(&stage, "200-01", "two\n");
    let before = depot(&stage);
    for (place, name) in [("depot", &b".lock"[..]), ("work", b"lock")] {
        let dir = Dir::of_host(&stage.beside(place)).unwrap();
        let lock = Lock::take_file(&dir, name, "publish", |_| false).unwrap();
        let said = publish_signed(&stage).fails(6);
        assert!(said.contains("is locked by process"), "{said}");
        drop(lock);
    }
    fs::remove_file(stage.beside("work/lock")).unwrap();
    assert!(depot(&stage) == before);
    publish_signed(&stage).ok();
}

#[test]
fn patches_without_signature_are_named_and_taken_only_if_that_is_said() {
    let stage = stage();
    let (first, second) = (
        deliver(&stage.beside("work"), "100-01", "one\n"),
        deliver(&stage.beside("work"), "200-01", "two\n"),
    );
    stage.run(&format!("sign --key {} {}", secret_key(), second.display())).ok();
    let signature = PathBuf::from(format!("{}.manifest.minisig", second.display()));
    let text = fs::read(&signature).unwrap();
    fs::remove_file(&signature).unwrap();
    let run = publish(&stage, &format!("--json --key {} work depot", secret_key()));
    let told = document(&run);
    assert_eq!((run.code, &told["result"]), (3, &"refused".into()));
    assert_eq!(told["to_sign"], serde_json::json!(["work/100-01.zip", "work/200-01.zip.manifest"]));
    assert!(!stage.beside("depot").exists());
    let said = publish_signed(&stage);
    assert_eq!(said.code, 3);
    assert!(said.stdout.contains("  to sign: work/200-01.zip.manifest\n"), "{}", said.stdout);
    let command = "`patchadm sign --key FILE work/100-01.zip work/200-01.zip.manifest`";
    assert!(said.stdout.contains(command), "{}", said.stdout);
    fs::create_dir(stage.beside("work/handover")).unwrap();
    fs::write(stage.beside("work/handover/200-01.zip.manifest.minisig"), text).unwrap();
    fs::remove_file(first).unwrap();
    publish_signed(&stage).ok();
    deliver(&stage.beside("work"), "100-01", "one\n");
    publish(&stage, &format!("--unsigned --key {} work depot", secret_key())).ok();
    let index = index(&stage);
    let signed: Vec<bool> = index.patches().map(|patch| patch.signature.is_some()).collect();
    assert_eq!(signed, [false, true]);
}

#[test]
fn a_depot_without_signatures_stays_one_until_a_key_is_named() {
    let stage = stage();
    deliver(&stage.beside("work"), "100-01", "one\n");
    publish(&stage, "--unsigned work depot").ok();
    assert!(stage.beside("depot/index.json").exists());
    deliver(&stage.beside("work"), "200-01", "two\n");
    publish(&stage, "--unsigned work depot").ok();
    let said = publish(&stage, &format!("--refresh --key {} depot", secret_key())).fails(3);
    assert!(said.contains("depot/index.json is not signed"), "{said}");
    assert!(said.contains("an index that was never signed is accepted with `--unsigned`"), "{said}");
    publish(&stage, &format!("--refresh --unsigned --key {} depot", secret_key())).ok();
    assert_eq!(index(&stage).version, 3);
    let said = publish(&stage, "--refresh --unsigned depot").fails(3);
    assert!(said.contains("is signed, and an unsigned one would replace it"), "{said}");
}

#[test]
fn nobody_builds_upon_an_index_that_somebody_else_put_there() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    let text = fs::read_to_string(stage.beside("depot/index.json")).unwrap();
    stage.run("keygen -o other --no-password").ok();
    let forged = text.replace("\"version\":1", "\"version\":9");
    fs::write(stage.beside("depot/index.json"), &forged).unwrap();
    let own = digest(text.as_bytes());
    let at = stage.beside(&format!("depot/index/{}.minisig", digest(forged.as_bytes())));
    for (signature, reason) in [
        (None, "is not signed"),
        (Some(stage.beside(&format!("depot/index/{own}.minisig"))), "that does not match it"),
        (Some(stage.beside("depot/index.json.minisig")), "is signed by another key"),
    ] {
        if let Some(signature) = signature {
            if !signature.exists() {
                stage.run("sign --key other.sec depot/index.json").ok();
            }
            fs::copy(signature, &at).unwrap();
        }
        for words in ["work depot", "--refresh depot", "--dry-run work depot"] {
            let before = depot(&stage);
            let said = publish(&stage, &format!("--key {} {words}", secret_key())).fails(3);
            assert!(said.contains("depot/index.json") && said.contains(reason), "{said}");
            assert!(depot(&stage) == before);
        }
    }
    fs::write(stage.beside("depot/index.json"), "{\n").unwrap();
    publish_signed(&stage).fails(3);
    fs::remove_file(stage.beside("depot/index.json")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", stage.beside("depot/index.json")).unwrap();
    publish_signed(&stage).fails(1);
}

#[test]
fn an_index_is_signed_elsewhere_and_then_put_in_place() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    let run = publish(&stage, "--json work depot");
    assert_eq!(document(&run)["to_sign"], serde_json::json!(["depot/index/next.json"]));
    assert!(!stage.beside("depot/index.json").exists());
    let said = publish(&stage, "--finish depot").fails(3);
    let hint = "depot/index/next.json is not signed\nhint: patchadm sign --key FILE depot/index/next.json\n";
    assert!(said.contains(hint), "{said}");
    let said = publish(&stage, "work depot").ok();
    let hint = "\nhint: run `patchadm sign --key FILE depot/index/next.json`, then `patchadm publish --finish depot`\n";
    assert!(said.ends_with(hint), "{said}");
    stage.run(&format!("sign --key {} depot/index/next.json", secret_key())).ok();
    let before = depot(&stage);
    assert!(publish(&stage, "--finish --dry-run depot").ok().contains("would publish version 1"));
    assert!(depot(&stage) == before);
    publish(&stage, &format!("--finish --key {} depot", public_key_file())).ok();
    assert_eq!(index(&stage).version, 1);
    let said = publish(&stage, "--finish depot").fails(3);
    assert!(said.contains("none waits for a signature"), "{said}");
    assert!(files(&stage.beside("depot")).iter().all(|name| !name.contains("next")));
}

#[test]
fn a_waiting_index_is_put_in_place_only_if_it_is_the_next_and_rightly_signed() {
    let stage = stage();
    let key = public_key_file();
    deliver_signed(&stage, "100-01", "one\n");
    publish(&stage, &format!("--key {key} work depot")).ok();
    stage.run("keygen -o other --no-password").ok();
    stage.run("sign --key other.sec depot/index/next.json").ok();
    let said = publish(&stage, &format!("--finish --key {key} depot")).fails(3);
    assert!(said.contains("is signed by another key"), "{said}");
    stage.run(&format!("sign --key {} depot/index/next.json", secret_key())).ok();
    let next = ["next.json", "next.json.minisig"].map(|name| stage.beside(&format!("depot/index/{name}")));
    let bytes = next.clone().map(|path| fs::read(path).unwrap());
    let mut longer = bytes[0].clone();
    longer.insert(1, b' ');
    fs::write(&next[0], longer).unwrap();
    let said = publish(&stage, "--finish depot").fails(3);
    assert!(said.contains("has a signature by key 7802F643AC6161C8 that does not match it"), "{said}");
    fs::write(&next[0], &bytes[0]).unwrap();
    publish_signed(&stage).ok();
    for (path, bytes) in next.iter().zip(&bytes) {
        fs::write(path, bytes).unwrap();
    }
    let before = depot(&stage);
    let said = publish(&stage, "--finish depot").fails(3);
    assert!(said.contains("is not the next version after the current one"), "{said}");
    assert!(depot(&stage) == before);
}

#[test]
fn a_refreshed_index_has_a_new_date_and_the_same_patches() {
    let stage = stage();
    let refresh = format!("--refresh --expires 3d --key {} depot", secret_key());
    let said = publish(&stage, &refresh).fails(1);
    assert!(said.contains("depot has no index yet") && !stage.beside("depot").exists(), "{said}");
    deliver_signed(&stage, "100-01", "one\n");
    publish_signed(&stage).ok();
    let mut later = Scenario::new();
    later.set("SOURCE_DATE_EPOCH", "1795244400");
    let line = refresh.replace(" depot", &format!(" {}", stage.beside("depot").display()));
    later.run(&format!("publish {line}")).ok();
    let index = index(&stage);
    assert_eq!((index.version, index.patches().count()), (2, 1));
    assert_eq!(index.expires.unwrap().to_rfc3339(), "2026-11-24T07:00:00+00:00");
}

#[test]
fn an_index_that_expired_is_refused_with_the_local_minute() {
    let mut stage = Scenario::with(&[Package::new("ACMEweb").file("bin/httpd", 0o755, "zero\n")]);
    fs::create_dir(stage.beside("work")).unwrap();
    deliver_signed(&stage, "100-01", "one\n");
    publish(&stage, &format!("--expires 3d --key {} work depot", secret_key())).ok();
    fs::create_dir(stage.beside("keys")).unwrap();
    fs::copy(public_key_file(), stage.beside("keys/plain.pub")).unwrap();
    stage.set("SOURCE_DATE_EPOCH", "1795590000");
    for verb in ["missing", "add"] {
        let run = stage.run(&format!("{verb} --signature require --keys keys -R @ROOT@ -M depot"));
        assert_ne!(run.code, 0, "{verb}");
        assert!(run.stderr.contains("depot expired at 2026-11-23 07:00"), "{verb}: {}", run.stderr);
    }
}

#[test]
fn thirty_copies_stay_and_every_signature() {
    let stage = stage();
    for version in 1..=33 {
        let text = format!("{version}\n");
        match version {
            1 => {
                deliver_signed(&stage, "100-01", &text);
                publish_signed(&stage).ok();
            }
            _ => {
                publish(&stage, &format!("--refresh --key {} depot", secret_key())).ok();
            }
        }
    }
    let names = files(&stage.beside("depot/index"));
    let count = |end: &str| names.iter().filter(|name| name.ends_with(end)).count();
    assert_eq!((count(".json"), count(".minisig")), (30, 33));
    let mut previous = index(&stage).previous;
    for _ in 1..30 {
        let path = format!("depot/index/{}.json", previous.unwrap());
        previous = DepotIndex::parse(&fs::read(stage.beside(&path)).unwrap()).unwrap().previous;
    }
}

#[test]
fn a_dry_run_says_what_would_be_and_writes_nothing() {
    let stage = stage();
    deliver_signed(&stage, "100-01", "one\n");
    let dry = format!("--dry-run --json --key {} work depot", secret_key());
    let told = document(&publish(&stage, &dry));
    assert_eq!(
        (&told["result"], &told["version"], &told["depot"]),
        (&"planned".into(), &1.into(), &Value::Null)
    );
    assert!(!stage.beside("depot").exists());
    publish_signed(&stage).ok();
    deliver_signed(&stage, "200-01", "two\n");
    let before = depot(&stage);
    let told = document(&publish(&stage, &dry));
    assert_eq!((&told["version"], &told["added"]), (&2.into(), &serde_json::json!(["200-01"])));
    assert!(depot(&stage) == before);
}
