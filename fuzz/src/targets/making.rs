//! What patches are made of and signed with: releases in the formats of others, libraries, manifests, signatures, keys.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsRawFd as _;

use patchadm_inputs::sign::{
    KeyRules, Manifest, PublicKey, Revocations, SecretKey, Signature, SignatureFormat,
};
use patchadm_making::release;
use patchadm_rootfs::WorkMeter;
use rustix::fs::{MemfdFlags, memfd_create};

/// What is read of the files of a release at most, in bytes.
const MOST: u64 = 4 << 20;

/// A whole file, as `patchadm build` reads one that somebody names.
pub fn release(input: &[u8]) {
    let file = memfd_create("input", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(file);
    file.write_all(input).expect("memory can be written to");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    let Ok(release) = release::open(path.as_ref(), 1, &WorkMeter::default()) else { return };
    for package in &release.packages {
        assert!(package.objects.is_sorted_by(|one, other| one.path < other.path), "each path once, sorted");
        let mut room = MOST;
        let _ = package.contents.each(&|_| true, &mut |_, data| {
            room -= io::copy(&mut data.take(room), &mut io::sink())?;
            if room == 0 { Err(io::Error::other("that is enough")) } else { Ok(()) }
        });
    }
}

pub fn manifest(input: &[u8]) {
    let Ok(manifest) = Manifest::parse(input) else { return };
    assert_eq!(manifest.write(), input, "of a list of files there is one spelling");
}

pub fn signature(input: &[u8]) {
    for format in SignatureFormat::ALL {
        let Ok(signature) = Signature::parse(input, format) else { continue };
        assert!(signature.time().is_none() || format == SignatureFormat::Minisign);
    }
}

pub fn key(input: &[u8]) {
    if let Ok(key) = PublicKey::parse(input) {
        assert_eq!(PublicKey::parse(key.write().as_bytes()), Ok(key));
    }
    // A password would be worth seconds and memory by what the file says.
    if let Ok(key) = SecretKey::parse(input, None) {
        assert!(!SecretKey::is_encrypted(input).unwrap_or(true));
        let _ = key.public();
    }
}

pub fn key_rules(input: &[u8]) {
    if let Ok(rules) = KeyRules::parse(input) {
        let written = rules.write();
        let again = KeyRules::parse(written.as_bytes()).expect("what was written can be read");
        assert_eq!(again.write(), written);
    }
    if let Ok(revoked) = Revocations::parse(input) {
        let written = revoked.write();
        let again = Revocations::parse(written.as_bytes()).expect("what was written can be read");
        assert_eq!(again.write(), written);
    }
}
