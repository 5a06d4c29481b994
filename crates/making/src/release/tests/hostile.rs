//! Damaged packages: an error or the same bytes, never a panic.

use std::fs;

use super::*;
use patchadm_releases::ReleaseObject;

/// Returns the packages made by the real tools that are damaged here, by name; none if they are not at hand.
fn victims(test: &str) -> Vec<(String, Vec<u8>)> {
    let made = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/cases/make/packages");
    if !made.is_dir() {
        crate::skipped(&format!("{test}: ../shared/cases/make/packages is not here"));
        return Vec::new();
    }
    let names = ["gzip.deb", "xz.deb", "zstd.deb"].map(|how| format!("acme-tools_1.0-1_amd64.{how}"));
    let rpms = ["gzdio", "xzdio", "zstdio"].map(|how| format!("acme-tools-1.0-1.noarch.{how}.rpm"));
    let read = |name: String| (name.clone(), fs::read(made.join(name)).unwrap());
    names.into_iter().chain(rpms).map(read).collect()
}

/// Reads a damaged package as a whole, twice.
fn outcome(bytes: &[u8]) -> Result<Vec<ReleaseObject>, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("input");
    fs::write(&path, bytes).unwrap();
    let mut release = open(path.as_os_str(), 1).map_err(|error| error.to_string())?;
    let package = release.packages.remove(0);
    contents(&package);
    Ok(package.objects)
}

#[test]
fn a_package_that_is_cut_is_refused() {
    for (name, whole) in victims("a_package_that_is_cut_is_refused") {
        for part in 0..64 {
            let cut = &whole[..whole.len() * part / 64];
            assert!(outcome(cut).is_err(), "{name}: {} of {} bytes", cut.len(), whole.len());
        }
    }
}

#[test]
fn a_flipped_bit_is_refused_or_harmless_and_never_a_panic() {
    for (name, whole) in victims("a_flipped_bit_is_refused_or_harmless_and_never_a_panic") {
        let right = outcome(&whole).unwrap();
        for step in 0..200 {
            let at = step * whole.len() / 200;
            let mut bytes = whole.clone();
            bytes[at] ^= 1 << (step % 8);
            let read = outcome(&bytes);
            // zstd of dpkg-deb has no checksum of its content.
            if !name.ends_with("zstd.deb") {
                assert!(read.is_err() || read == Ok(right.clone()), "{name}: byte {at}");
            }
        }
    }
}

#[test]
fn an_ar_member_that_lies_about_its_size_is_refused() {
    for (name, whole) in victims("an_ar_member_that_lies_about_its_size_is_refused") {
        if !name.contains("_amd64.") {
            continue;
        }
        let header = whole.windows(9).rposition(|window| window == b"data.tar.").unwrap();
        let field = header + 48..header + 58;
        let size: usize = std::str::from_utf8(&whole[field.clone()]).unwrap().trim_end().parse().unwrap();
        for lie in [size + 1, size + 2, size - 1, size - 2, 0, usize::MAX / 2] {
            let mut bytes = whole.clone();
            let digits = format!("{lie:<10}");
            bytes[field.clone()].copy_from_slice(&digits.as_bytes()[..10]);
            assert!(outcome(&bytes).is_err(), "{name}: {lie} instead of {size}");
        }
        assert!(outcome(&[&whole[..], b"more"].concat()).is_err());
    }
}
