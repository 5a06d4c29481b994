//! Undo archives in Zstandard and xz: everything that reads undo data reads them, and a fault in one is named before
//! anything is changed.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use patchadm_rootfs::Digest;
use serde_json::Value;

use crate::cases::{CASES, expected, found, installed};
use crate::delivery::Patch;
use crate::packages::Package;
use crate::records::Before;
use crate::reliability::sample_or_whole;
use crate::scenario::Scenario;
use crate::tree::assert_same;

/// A form: its name in options and at the end of archive names, and the first bytes of its archives.
#[derive(Clone, Copy)]
struct Form {
    word: &'static str,
    magic: &'static [u8],
    /// A file that needs more memory than it may use.
    large: &'static [u8],
    /// The beginning of a file with a flag of a later version.
    later: &'static [u8],
    /// A small file that unpacks to 16 GiB.
    bomb: fn() -> Vec<u8>,
}

const FORMS: [Form; 2] = [
    Form {
        word: "zst",
        magic: b"\x28\xb5\x2f\xfd",
        large: include_bytes!("../crates/container/testdata/seq-window-128MiB.zst"),
        later: b"\x28\xb5\x2f\xfd\x08\x58\x01\0\0",
        bomb: bomb_in_zstd,
    },
    Form {
        word: "xz",
        magic: b"\xfd7zXZ\0",
        large: include_bytes!("../crates/container/testdata/seq-dictionary-96MiB.xz"),
        later: b"\xfd7zXZ\0\x10\x04\x41\x41\x41\x41\x02\0",
        bomb: bomb_in_xz,
    },
];

fn web(text: &str) -> Package {
    Package::new("ACMEweb").file("bin/httpd", 0o755, text.repeat(2_000)).file("etc/conf", 0o640, text)
}

/// A root with 100-01, whose undo data is in this form, and what it was before.
fn patched(form: Form) -> (Scenario, Before) {
    let stage = Scenario::with(&[web("base\n")]);
    let before = Before::of(&stage);
    Patch::of("100-01", web("100-01\n")).directory(&stage);
    stage.run(&format!("add --undo-format {} -R @ROOT@ delivered/100-01", form.word)).ok();
    (stage, before)
}

fn archive(stage: &Scenario, form: Form, id: &str) -> PathBuf {
    stage.at(&format!("/var/sadm/pkg/ACMEweb/save/{id}/undo.{}", form.word))
}

/// Replaces the archive of 100-01 with other bytes, and vouches for them in the ledger.
fn put_as_true(stage: &Scenario, form: Form, bytes: &[u8]) {
    let archive = archive(stage, form, "100-01");
    let before = fs::read(&archive).unwrap();
    fs::write(&archive, bytes).unwrap();
    let ledger = stage.at("/var/sadm/patchadm/ledger/ACMEweb");
    let text = fs::read_to_string(&ledger).unwrap();
    let told = text
        .replace(&Digest::of(&before).to_string(), &Digest::of(bytes).to_string())
        .replace(&format!("\"size\":{}", before.len()), &format!("\"size\":{}", bytes.len()));
    assert_ne!(text, told);
    fs::write(ledger, told).unwrap();
}

fn document(stage: &Scenario, line: &str) -> Value {
    // Notes are on the other stream, too.
    let done = stage.run(line);
    assert_eq!(done.code, 0, "{}", done.stderr);
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn every_command_that_reads_undo_data_reads_it() {
    for form in FORMS {
        let name = format!("undo.{}", form.word);
        let (stage, _) = patched(form);
        assert!(fs::read(archive(&stage, form, "100-01")).unwrap().starts_with(form.magic));
        let undo = &document(&stage, "list --json -R @ROOT@")["patches"][0]["undo"];
        assert!(undo.to_string().contains(&*name), "{undo}");
        assert_eq!(
            document(&stage, "show --json -R @ROOT@ 100-01")["answers"][0]["undo"][0]["state"],
            "saved"
        );
        stage.run("check --contents -R @ROOT@").ok();
        let said = stage.run("show --diff -R @ROOT@ 100-01");
        assert!(said.code == 0 && said.stdout.contains("\n-base\n"), "{said:?}");
        let said = document(&stage, "undo-data list --json -R @ROOT@");
        assert_eq!(said["patches"][0]["undo"][0]["form"], form.word);
        let said = stage.run("check -R @ROOT@");
        assert!(!said.stdout.contains(&*name), "{said:?}");
        assert!(stage.run("remove --dry-run -R @ROOT@ 100-01").ok().contains("100-01"));
    }
}

#[test]
fn patches_go_from_it_by_every_command_and_the_root_is_as_before() {
    for form in FORMS {
        for line in ["patchrm -R @ROOT@ 100-01", "remove -R @ROOT@ 100-01", "undo -R @ROOT@"] {
            let (stage, before) = patched(form);
            stage.run(line).ok();
            before.assert_again(&stage, line);
        }
    }
}

#[test]
fn the_policy_asks_for_it_and_a_later_revision_renames_it() {
    for form in FORMS {
        let word = form.word;
        let stage = Scenario::with(&[web("base\n")]);
        stage.file("/etc/patchadm/policy", format!("undo_format={word}\n"));
        let before = Before::of(&stage);
        stage.patchadd("", &Patch::of("100-01", web("100-01\n"))).ok();
        stage.patchadd("", &Patch::of("100-02", web("100-02\n"))).ok();
        let save = stage.at("/var/sadm/pkg/ACMEweb/save");
        assert!(
            save.join(format!("100-01/obsolete.{word}")).exists()
                && save.join(format!("100-02/undo.{word}")).exists()
        );
        stage.run("check --contents -R @ROOT@").ok();
        stage.run("patchrm -R @ROOT@ 100-02").ok();
        assert!(save.join(format!("100-01/undo.{word}")).exists());
        stage.run("patchrm -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, "both are gone");
    }
}

#[test]
fn a_patch_in_the_middle_goes_and_the_archive_above_it_is_written_anew_in_its_form() {
    for form in FORMS {
        let (stage, before) = patched(form);
        Patch::of("200-01", web("200-01\n")).directory(&stage);
        stage.run(&format!("add --undo-format {} -R @ROOT@ delivered/200-01", form.word)).ok();
        stage.run("remove -R @ROOT@ 100-01").ok();
        assert!(archive(&stage, form, "200-01").exists());
        stage.run("check --contents -R @ROOT@").ok();
        stage.run("remove -R @ROOT@ 200-01").ok();
        before.assert_again(&stage, "the later one has what the first had found");
    }
}

#[test]
fn an_archive_without_a_ledger_is_adopted_and_then_believed() {
    for form in FORMS {
        let (stage, before) = patched(form);
        stage.forget_ledgers();
        let said = stage.run("remove -R @ROOT@ 100-01").fails(3);
        assert!(said.contains("recover --adopt-undo"), "{said}");
        stage.run("recover --adopt-undo -R @ROOT@ 100-01").ok();
        stage.run("remove -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, "it was adopted");
    }
}

/// A frame of 16 GiB of one byte: no announced size, no checksum, and four bytes for each block.
fn bomb_in_zstd() -> Vec<u8> {
    let block = |last: u32| ((128_u32 << 10) << 3 | 1 << 1 | last).to_le_bytes()[..3].to_vec();
    let mut bytes = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58];
    for _ in 1..131_072 {
        bytes.extend(block(0));
        bytes.push(0);
    }
    bytes.extend(block(1));
    bytes.push(0);
    bytes
}

/// A stream of 16 GiB of one byte: the same chunk of 2 MiB again and again, each with a dictionary of its own.
fn bomb_in_xz() -> Vec<u8> {
    let options = lzma_rust2::Lzma2Options::with_preset(1);
    let mut encoder = lzma_rust2::Lzma2Writer::new(Vec::new(), options);
    encoder.write_all(&vec![0; 2 << 20]).unwrap();
    let chunk = encoder.finish().unwrap();
    let mut whole = b"\xfd7zXZ\0".to_vec();
    for part in [&[0, 4][..], &[2, 0, 0x21, 1, 22, 0, 0, 0]] {
        let mut sum = flate2::Crc::new();
        sum.update(part);
        whole.extend([part, &sum.sum().to_le_bytes()].concat());
    }
    whole.extend(chunk[..chunk.len() - 1].repeat(8192));
    whole.push(0);
    whole
}

#[test]
fn what_is_cut_or_no_archive_is_refused_though_the_ledger_vouches_for_it() {
    for form in FORMS {
        let name = format!("undo.{}", form.word);
        let (stage, before) = patched(form);
        let whole = fs::read(archive(&stage, form, "100-01")).unwrap();
        for (what, bytes) in [
            ("cut", whole[..whole.len() / 2].to_vec()),
            ("more memory than is given", form.large.to_vec()),
            ("16 GiB of nothing", (form.bomb)()),
            ("a flag of a later version", form.later.to_vec()),
            ("nothing", Vec::new()),
        ] {
            put_as_true(&stage, form, &bytes);
            let tree = stage.everything();
            let said = stage.run("remove -R @ROOT@ 100-01").fails(1);
            assert!(said.contains(&*name), "{what}: {said}");
            let said = stage.run("check --contents -R @ROOT@");
            assert!(said.code != 0 && said.stdout.contains(&*name), "{what}: {said:?}");
            stage.run("undo-data repack -R @ROOT@ --undo-format gz 100-01").fails(1);
            assert_same(&stage.everything(), &tree);
            put_as_true(&stage, form, &whole);
        }
        stage.run("remove -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, "the archive is whole again");
    }
}

#[test]
fn what_follows_the_objects_is_found_by_verify_and_spoils_no_backout() {
    type Damage = fn(&[u8], Form) -> Vec<u8>;
    for form in FORMS {
        let name = format!("undo.{}", form.word);
        let damages: [(&str, Damage); 5] = [
            ("cut at its end", |whole, _| whole[..whole.len() - 4].to_vec()),
            ("another end", |whole, _| [&whole[..whole.len() - 1], &[!whole[whole.len() - 1]]].concat()),
            ("garbage", |whole, _| [whole, b"garbage"].concat()),
            ("more memory than is given", |whole, form| [whole, form.large].concat()),
            ("16 GiB of nothing", |whole, form| [whole, &(form.bomb)()].concat()),
        ];
        for (what, damage) in damages {
            let (stage, before) = patched(form);
            put_as_true(&stage, form, &damage(&fs::read(archive(&stage, form, "100-01")).unwrap(), form));
            let said = stage.run("check --contents -R @ROOT@");
            assert!(said.code != 0 && said.stdout.contains(&*name), "{what}: {said:?}");
            // The manifest has a digest for each object.
            let said = stage.run("remove -R @ROOT@ 100-01");
            assert!([0, 1].contains(&said.code), "{what}: {said:?}");
            if said.code == 0 {
                before.assert_again(&stage, what);
            }
        }
    }
}

#[test]
fn a_report_says_who_can_read_it() {
    for form in FORMS {
        let word = form.word;
        let (stage, _) = patched(form);
        let said = stage.run("undo-data repack -R @ROOT@ --undo-format gz 100-01");
        assert_eq!((said.code, said.stderr.contains("patchadm only")), (0, false), "{said:?}");
        for dry_run in ["--dry-run", ""] {
            let said = document(
                &stage,
                &format!("undo-data repack {dry_run} --json -R @ROOT@ --undo-format {word} 100-01"),
            );
            assert!(
                said["notes"].to_string().contains(&format!("only patchadm can read {word} archives")),
                "{said}"
            );
        }
        let said =
            document(&stage, &format!("undo-data repack --json -R @ROOT@ --undo-format {word} 100-01"));
        assert_eq!((&said["result"], &said["notes"]), (&"nothing-to-do".into(), &serde_json::json!([])));
    }
}

#[test]
fn the_archives_of_a_real_release_save_what_the_report_says() {
    // xz takes a quarter of a minute for this much; a sample uses it for the other release.
    for form in sample_or_whole(&FORMS[..1], &FORMS[..]) {
        archives_save(CASES[0], *form);
    }
}

in_parts!(the_archives_of_another_real_release_save_what_the_report_says, other_archives_save, 2);

fn other_archives_save(part: usize, parts: usize) {
    for form in FORMS.into_iter().skip(part).step_by(parts) {
        archives_save(CASES[1], form);
    }
}

/// Applies two patches of a real release, rewrites their archives in a form, and backs the patches out.
fn archives_save(name: &str, form: Form) {
    let Some((stage, case)) = installed("archives of real releases", name) else { return };
    let before = Before::of(&stage);
    let number = if name == "openssl" { "300001" } else { "300002" };
    for revision in ["01", "02"] {
        let patch = case.join(format!("{number}-{revision}"));
        stage.run(&format!("patchadd -R @ROOT@ {}", patch.display())).ok();
    }
    let ids = format!("{number}-01 {number}-02");
    let gz = files(&stage);
    let packed = saved_as_told(&stage, name, (form, &ids), &gz);
    // Compared with gzip.
    assert!(packed * 100 < total(&gz) * 92, "{name}: {} to {packed}", total(&gz));
    stage.run("check --contents -R @ROOT@").ok();
    stage.run(&format!("remove -R @ROOT@ {number}-02")).ok();
    assert_same(&found(&stage), &expected(&case, &format!("{number}-01")));
    stage.run(&format!("remove -R @ROOT@ {number}-01")).ok();
    assert_same(&found(&stage), &expected(&case, "base"));
    before.assert_again(&stage, name);
}

/// Rewrites archives, compares the report with the files on disk, and returns the size of all of them.
fn saved_as_told(stage: &Scenario, name: &str, (form, ids): (Form, &str), gz: &[(u64, u64)]) -> u64 {
    let said =
        document(stage, &format!("undo-data repack --json -R @ROOT@ --undo-format {} {ids}", form.word));
    let packed = files(stage);
    let archives = said["archives"].as_array().unwrap();
    assert_eq!((archives.len(), gz.len(), packed.len()), (gz.len(), archives.len(), archives.len()));
    let sum = |of: &str| archives.iter().map(|one| one[of].as_u64().unwrap()).sum::<u64>();
    assert_eq!((sum("before"), sum("after")), (total(gz), total(&packed)), "{name}");
    let blocks = |files: &[(u64, u64)]| files.iter().map(|(_, blocks)| blocks * 512).sum::<u64>();
    let (saved, told) = (blocks(gz) - blocks(&packed), sum("before") - sum("after"));
    let rounding = 4096 * archives.len() as u64;
    assert!(saved.abs_diff(told) <= rounding, "{name}: {saved} bytes on disk, {told} told");
    // The saving is only printed for the reader; nothing depends on it.
    let _ = writeln!(std::io::stderr(), "{name}: gz {}, {} {}", total(gz), form.word, total(&packed));
    total(&packed)
}

/// The bytes of all files.
fn total(files: &[(u64, u64)]) -> u64 {
    files.iter().map(|(size, _)| size).sum()
}

/// Size and blocks of every archive in a save directory.
fn files(stage: &Scenario) -> Vec<(u64, u64)> {
    let packages = fs::read_dir(stage.at("/var/sadm/pkg")).unwrap().map(|entry| entry.unwrap().path());
    let saves = packages.filter_map(|package| fs::read_dir(package.join("save")).ok()).flatten();
    let files = saves.filter_map(|save| fs::read_dir(save.unwrap().path()).ok()).flatten();
    let is_archive = |name: &str| {
        let (stem, suffix) = name.split_once('.').unwrap_or((name, ""));
        ["undo", "obsolete"].contains(&stem) && ["gz", "zst", "xz"].contains(&suffix)
    };
    let archives = files.map(Result::unwrap).filter(|file| is_archive(file.file_name().to_str().unwrap()));
    archives.map(|file| file.metadata().unwrap()).map(|seen| (seen.len(), seen.blocks())).collect()
}

#[test]
fn an_archive_outside_the_root_is_written_and_repacked_in_it() {
    for form in FORMS {
        let word = form.word;
        let stage = Scenario::with(&[web("base\n")]);
        let before = Before::of(&stage);
        let elsewhere = stage.beside("undo");
        fs::create_dir(&elsewhere).unwrap();
        Patch::of("100-01", web("100-01\n")).directory(&stage);
        let elsewhere = elsewhere.display();
        stage
            .run(&format!("add --undo-dir {elsewhere} --undo-format {word} -R @ROOT@ delivered/100-01"))
            .ok();
        let names = || {
            let entries = fs::read_dir(stage.beside("undo/100-01/ACMEweb")).unwrap();
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(names(), [format!("undo.{word}")]);
        stage.run("check --contents -R @ROOT@").ok();
        for (format, suffix) in [("gz", ".gz"), (word, word)] {
            let said = stage.run(&format!(
                "undo-data repack --undo-dir {elsewhere} --undo-format {format} -R @ROOT@ 100-01"
            ));
            assert_eq!(said.code, 0, "{}", said.stderr);
            let names = names();
            assert!(names.len() == 1 && names[0].ends_with(suffix), "{names:?}");
        }
        stage.run("remove -R @ROOT@ 100-01").ok();
        before.assert_again(&stage, "it came from outside");
    }
}
