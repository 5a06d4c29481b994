//! The cache of facts about files: it saves time, and nothing depends on it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::Pair;
use crate::delivery::Patch;
use crate::scenario::Scenario;

const CACHE: &str = "/var/sadm/patchadm/elf.cache";

/// A pair whose files appear to be an hour old, so that a cache accepts them.
fn aged(test: &str) -> Option<Pair> {
    let mut pair = Pair::new(test)?;
    let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() + 3600;
    pair.stage.set("SOURCE_DATE_EPOCH", later.to_string());
    Some(pair)
}

/// The libraries that the plan of the patch keeps.
fn kept(stage: &Scenario, patch: &Patch) -> Vec<String> {
    stage.plan_tells("--libs keep", patch).unwrap()
}

const KEPT: &str = "ACMEx-SO keeps libx.so.1 (/usr/lib/libx.so.1) for needed /usr/bin/p";

#[test]
fn the_cache_is_written_by_runs_and_by_nothing_else() {
    let Some(pair) = aged("the cache is written by runs") else { return };
    let (stage, at) = (&pair.stage, pair.patch.directory(&pair.stage));
    for line in ["plan", "add --dry-run"] {
        stage.run(&format!("{line} --libs keep -R @ROOT@ {}", at.display())).ok();
        assert!(!stage.at(CACHE).exists(), "{line}");
    }
    let left = stage.at("/var/sadm/patchadm/.elf-cache-0123456789abcdef");
    fs::create_dir_all(left.parent().unwrap()).unwrap();
    fs::write(&left, "of a killed run\n").unwrap();
    stage.apply_tells("--libs keep", &pair.patch);
    assert!(!left.exists());
    assert_eq!(stage.at(CACHE).metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let written = fs::read(stage.at(CACHE)).unwrap();
    assert!(written.starts_with(b"patchadm-elf 1\n\0") && written.len() > 100, "{written:?}");
    let back = || super::told(&stage.run("remove --dry-run --json -R @ROOT@ 100-01").ok());
    let told = back();
    assert_eq!(fs::read(stage.at(CACHE)).unwrap(), written);
    fs::remove_file(stage.at(CACHE)).unwrap();
    assert_eq!(back(), told);
}

/// A pair with a cache, and the path of the cache.
fn cached(test: &str) -> Option<(Pair, PathBuf)> {
    let pair = aged(test)?;
    pair.stage.apply_tells("--libs keep", &pair.patch);
    pair.stage.run("patchrm -R @ROOT@ 100-01").ok();
    let at = pair.stage.at(CACHE);
    assert!(at.exists());
    Some((pair, at))
}

#[test]
fn a_damaged_cache_is_as_good_as_none() {
    let Some((pair, at)) = cached("a damaged cache") else { return };
    let whole = fs::read(&at).unwrap();
    for cut in [0, 1, 16, 20, 32, whole.len() / 2, whole.len() - 1] {
        fs::write(&at, &whole[..cut]).unwrap();
        assert_eq!(kept(&pair.stage, &pair.patch), [KEPT], "cut at {cut}");
    }
    for byte in (0..whole.len()).step_by(whole.len() / 40) {
        let mut damaged = whole.clone();
        damaged[byte] ^= 0x41;
        fs::write(&at, damaged).unwrap();
        assert_eq!(kept(&pair.stage, &pair.patch), [KEPT], "byte {byte}");
    }
    fs::remove_file(&at).unwrap();
    pair.stage.directory(CACHE);
    assert_eq!(kept(&pair.stage, &pair.patch), [KEPT]);
    pair.stage.apply_tells("--libs keep", &pair.patch);
}

/// The cyclic redundancy check CRC-32C.
fn crc32c(bytes: &[u8]) -> u32 {
    let bit = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| bit(crc)))
}

/// The cache with a name replaced by another one of the same length.
fn forged(cache: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut forged = cache.to_vec();
    for at in 0..=forged.len() - from.len() {
        if forged[at..].starts_with(from.as_bytes()) {
            forged[at..at + from.len()].copy_from_slice(to.as_bytes());
        }
    }
    assert_ne!(forged, cache);
    let crc = crc32c(&forged[32..]);
    forged[28..32].copy_from_slice(&crc.to_le_bytes());
    forged
}

#[test]
fn a_cache_is_believed_only_where_nobody_else_can_have_written_it() {
    let Some((pair, at)) = cached("a planted cache") else { return };
    let lies = forged(&fs::read(&at).unwrap(), "\"needed\":[\"libx.so.1\"]", "\"needed\":[\"libz.so.9\"]");
    fs::write(&at, &lies).unwrap();
    // The forgery is valid, and believed if it belongs to the owner.
    assert_eq!(kept(&pair.stage, &pair.patch), Vec::<String>::new());
    for mode in [0o660, 0o602] {
        fs::set_permissions(&at, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(kept(&pair.stage, &pair.patch), [KEPT], "{mode:o}");
    }
    fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).unwrap();
    let beside = pair.stage.beside("planted");
    fs::rename(&at, &beside).unwrap();
    std::os::unix::fs::symlink(&beside, &at).unwrap();
    assert_eq!(kept(&pair.stage, &pair.patch), [KEPT], "by a link");
    fs::remove_file(&at).unwrap();
    if crate::scenario::is_root() {
        fs::write(&at, &lies).unwrap();
        fs::set_permissions(&at, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::chown(&at, Some(crate::everyman::NOBODY), None).unwrap();
        assert_eq!(kept(&pair.stage, &pair.patch), [KEPT], "of another owner");
    }
}

#[test]
fn a_file_that_changes_is_read_again() {
    let Some((pair, _)) = cached("a file that changes") else { return };
    let stage = &pair.stage;
    let path = stage.at(super::USER);
    let before = fs::metadata(&path).unwrap();
    // The size and the time are the same: only the ctime differs.
    let mut other = fs::read(&path).unwrap();
    let name = b"libx.so.1";
    let at = other.windows(name.len()).position(|part| part == name).unwrap();
    other[at + 3] = b'z';
    fs::write(&path, &other).unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), before.len());
    assert_eq!(kept(stage, &pair.patch), Vec::<String>::new());
}
