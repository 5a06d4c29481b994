//! Small ELF files, made and read.

use super::*;

/// The file header and two program headers, in bytes.
const HEADERS: u64 = 64 + 2 * 56;

/// Makes a library for x86-64 with these names and versions, as small as the format allows.
pub(crate) fn library(
    soname: Option<&str>,
    needed: &[&str],
    defines: &[&str],
    needs: &[(&str, &[&str])],
) -> Vec<u8> {
    let mut strings = vec![0];
    let mut string = |text: &str| {
        let at = strings.len() as u64;
        strings.extend_from_slice(text.as_bytes());
        strings.push(0);
        at
    };
    let mut tags: Vec<(u64, u64)> = needed.iter().map(|name| (1, string(name))).collect();
    tags.extend(soname.map(|name| (14, string(name))));
    let mut definitions = Vec::new();
    for (index, version) in defines.iter().enumerate() {
        let next = if index + 1 == defines.len() { 0u32 } else { 28 };
        for half in [1u16, 0, u16::try_from(index).unwrap() + 2, 1] {
            definitions.extend(half.to_le_bytes());
        }
        for word in [0u32, 20, next, u32::try_from(string(version)).unwrap(), 0] {
            definitions.extend(word.to_le_bytes());
        }
    }
    let mut requirements = Vec::new();
    for (index, (file, versions)) in needs.iter().enumerate() {
        let length = 16 + 16 * u32::try_from(versions.len()).unwrap();
        let next = if index + 1 == needs.len() { 0 } else { length };
        for half in [1u16, u16::try_from(versions.len()).unwrap()] {
            requirements.extend(half.to_le_bytes());
        }
        for word in [u32::try_from(string(file)).unwrap(), 16, next] {
            requirements.extend(word.to_le_bytes());
        }
        for (at, version) in versions.iter().enumerate() {
            requirements.extend(0u32.to_le_bytes());
            requirements.extend([0, 0, 2, 0]);
            requirements.extend(u32::try_from(string(version)).unwrap().to_le_bytes());
            let next = if at + 1 == versions.len() { 0u32 } else { 16 };
            requirements.extend(next.to_le_bytes());
        }
    }
    let dynamic_size = 16 * (tags.len() as u64 + 7);
    let definitions_at = HEADERS + dynamic_size;
    let requirements_at = definitions_at + definitions.len() as u64;
    let strings_at = requirements_at + requirements.len() as u64;
    tags.extend([(5, strings_at), (10, strings.len() as u64)]);
    if !defines.is_empty() {
        tags.extend([(0x6fff_fffc, definitions_at), (0x6fff_fffd, defines.len() as u64)]);
    }
    if !needs.is_empty() {
        tags.extend([(0x6fff_fffe, requirements_at), (0x6fff_ffff, needs.len() as u64)]);
    }
    let size = strings_at + strings.len() as u64;
    let mut out = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
    out.extend([3, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0u64, 64, 0] {
        out.extend(word.to_le_bytes());
    }
    out.extend(0u32.to_le_bytes());
    for half in [64u16, 56, 2, 64, 0, 0] {
        out.extend(half.to_le_bytes());
    }
    for (kind, offset, length) in [(1u32, 0, size), (2, HEADERS, dynamic_size)] {
        out.extend(kind.to_le_bytes());
        out.extend(4u32.to_le_bytes());
        for word in [offset, offset, offset, length, length, 8] {
            out.extend(word.to_le_bytes());
        }
    }
    for (tag, value) in &tags {
        out.extend(tag.to_le_bytes());
        out.extend(value.to_le_bytes());
    }
    out.resize(usize::try_from(definitions_at).unwrap(), 0);
    for part in [definitions, requirements, strings] {
        out.extend(part);
    }
    out
}

#[test]
fn a_library_says_its_name_and_what_it_defines_and_needs() {
    let bytes = library(
        Some("libacme.so.1"),
        &["libc.so.6", "libm.so.6"],
        &["ACME_1.0", "ACME_1.1"],
        &[("libc.so.6", &["GLIBC_2.4", "GLIBC_2.34"]), ("libm.so.6", &["GLIBC_2.29"])],
    );
    let read = read(&bytes).unwrap().unwrap();
    assert_eq!(read.machine, ElfMachine { number: 62, is_64: true });
    assert_eq!(read.soname.as_deref(), Some("libacme.so.1"));
    assert_eq!(read.needed.iter().collect::<Vec<_>>(), ["libc.so.6", "libm.so.6"]);
    assert_eq!(read.defines.iter().collect::<Vec<_>>(), ["ACME_1.0", "ACME_1.1"]);
    let needs: Vec<String> = read.needs.iter().map(|(file, version)| format!("{file} {version}")).collect();
    assert_eq!(needs, ["libc.so.6 GLIBC_2.34", "libc.so.6 GLIBC_2.4", "libm.so.6 GLIBC_2.29"]);
}

#[test]
fn what_is_no_elf_file_says_nothing() {
    assert_eq!(read(b"#!/bin/sh\n"), Ok(None));
    assert_eq!(read(b""), Ok(None));
    assert!(read(b"\x7fELF").is_err(), "cut off");
}

#[test]
fn this_program_is_read() {
    let own = std::fs::read("/proc/self/exe").unwrap();
    if let Some(object) = read(&own).unwrap() {
        assert_eq!(object.soname, None);
    }
}

#[test]
fn no_damage_makes_it_panic() {
    let whole = library(Some("a"), &["b"], &["V1", "V2"], &[("b", &["V3"])]);
    for length in 0..whole.len() {
        let _ = read(&whole[..length]);
    }
    for at in 0..whole.len() {
        for value in [0, 0xff, whole[at] ^ 0x80, whole[at].wrapping_add(1)] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = read(&damaged);
        }
    }
}
