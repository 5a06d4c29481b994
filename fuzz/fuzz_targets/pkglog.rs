//! See `patchadm_fuzz::targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| patchadm_fuzz::play("pkglog", input));
