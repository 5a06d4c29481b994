//! Signed patches with one byte changed: the signature covers every byte of every file, in every form.
//!
//! A patch is opened and read as a plan reads it, under a policy that requires signatures. Nothing is applied, so that
//! every byte can be tried; `signatures.rs` tests that a command refuses with 41 and leaves its root alone.

use std::fs;
use std::path::{Path, PathBuf};

use patchadm_inputs::sign::{Demand, DemandWord, KeyRing, KeyRules, PublicKey, TrustedKey};
use patchadm_inputs::source::{SourceError, SourceProblem, open_signed};

use crate::reliability::{figures, sample_or_whole};
use crate::scenario::Scenario;
use crate::signatures::{FORMS, members, signed, testdata};

/// Number of places that are tried in a larger file.
const PLACES: usize = 4096;

/// A policy that requires signatures and trusts the key of the cases.
fn demand() -> Demand {
    let key = PublicKey::parse(&fs::read(testdata("plain.pub")).unwrap()).unwrap();
    let trusted = TrustedKey { name: "build".to_owned(), key, rules: KeyRules::default() };
    let keys = KeyRing { keys: vec![trusted], ..KeyRing::default() };
    Demand { word: DemandWord::Require, keys }
}

/// Reads all of a patch as far as its signature is trusted.
fn read(path: &Path, demand: &Demand) -> Result<(), SourceError> {
    let (source, image) = open_signed(path, std::slice::from_ref(demand))?;
    source.verify(&image, &|| None)
}

/// The files whose bytes the signature covers, and the signature itself.
fn files(at: &Path, form: &str) -> Vec<PathBuf> {
    if form.is_empty() {
        let mut files = members(at);
        files.push(at.join("MANIFEST.minisig"));
        return files;
    }
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", at.display()));
    vec![at.to_owned(), beside(".manifest"), beside(".manifest.minisig")]
}

/// Positions of the bytes that are tried: all of a small file, some thousands of a large one. The first line of a
/// signature is a comment that is neither signed nor read.
fn places(file: &Path, bytes: &[u8]) -> Vec<usize> {
    let is_signature = file.extension().is_some_and(|ending| ending == "minisig");
    let first = if is_signature { bytes.iter().position(|&byte| byte == b'\n').unwrap() } else { 0 };
    let step = if bytes.len() > 64 << 10 { bytes.len() / PLACES } else { 1 };
    (first..bytes.len()).step_by(step * sample_or_whole(61, 1)).collect()
}

#[test]
fn no_byte_of_a_signed_patch_can_be_changed() {
    let demand = demand();
    let (mut flips, mut refused_as_changed) = (0, 0);
    for form in FORMS {
        let stage = Scenario::new();
        let at = signed(&stage, form);
        read(&at, &demand).unwrap();
        for file in files(&at, form) {
            let good = fs::read(&file).unwrap();
            for place in places(&file, &good) {
                let mut bad = good.clone();
                bad[place] ^= 1 << (place % 8);
                fs::write(&file, &bad).unwrap();
                let error = read(&at, &demand).expect_err(&format!("{form} {} byte {place}", file.display()));
                flips += 1;
                refused_as_changed += u32::from(matches!(
                    error.problem,
                    SourceProblem::Signature(_) | SourceProblem::Changed(_)
                ));
            }
            fs::write(&file, &good).unwrap();
        }
        read(&at, &demand).unwrap();
    }
    assert_eq!(flips, refused_as_changed, "each is refused with 41");
    figures("flips", &[("bytes changed", flips.into()), ("accepted", 0)]);
}
