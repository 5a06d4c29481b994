//! Small ELF files, made and read.

mod debug_data;
mod large;
mod library;
mod sample;

pub(crate) use debug_data::debug_data;
pub(crate) use large::LargeLibrary;
pub(crate) use library::library;
pub(crate) use sample::Sample;

use super::*;

fn facts(bytes: &[u8]) -> Result<Option<ElfFacts>, ElfError> {
    read(&mut &*bytes)
}

#[test]
fn a_library_says_its_name_and_what_it_defines_and_needs() {
    let bytes = library(
        Some("libacme.so.1"),
        &["libm.so.6", "libc.so.6"],
        &["ACME_1.0", "ACME_1.1"],
        &[("libc.so.6", &["GLIBC_2.4", "?GLIBC_2.34"]), ("libm.so.6", &["GLIBC_2.29"])],
    );
    let read = facts(&bytes).unwrap().unwrap();
    assert_eq!(read.machine, ElfMachine { number: 62, is_64: true });
    assert_eq!(read.soname.as_deref(), Some("libacme.so.1"));
    assert_eq!(read.needed, ["libm.so.6", "libc.so.6"], "in the order in which they are loaded");
    assert_eq!(read.defines, ["ACME_1.0", "ACME_1.1"]);
    let told = |need: &NeededVersion| {
        format!("{} {}{}", need.library, need.version, if need.is_weak { " or not" } else { "" })
    };
    let needs: Vec<String> = read.needs.iter().map(told).collect();
    assert_eq!(needs, ["libc.so.6 GLIBC_2.34 or not", "libc.so.6 GLIBC_2.4", "libm.so.6 GLIBC_2.29"]);
    assert!(!read.is_program() && read.searches_default_directories());
}

#[test]
fn a_program_says_who_loads_it_where_its_libraries_are_searched_and_what_it_may_load_later() {
    let sample = Sample {
        needed: &["libacme.so.1"],
        rpath: Some("/opt/acme/lib"),
        interpreter: Some("/lib64/ld-linux-x86-64.so.2"),
        dlopen: Some(r#"[{"soname":["libx.so.2","libx.so.1"],"feature":"x","priority":"suggested"}]"#),
        flags: 0x800,
        ..Sample::default()
    };
    let read = facts(&sample.bytes()).unwrap().unwrap();
    assert_eq!(read.interpreter.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
    assert_eq!(read.rpath.as_deref(), Some("/opt/acme/lib"));
    assert!(read.is_program() && !read.searches_default_directories());
    let soname = ["libx.so.2", "libx.so.1"].map(str::to_owned).to_vec();
    assert_eq!(read.dlopen, [DlopenNote { soname, priority: "suggested".to_owned() }]);
}

#[test]
fn a_runpath_takes_the_place_of_an_rpath() {
    let sample = Sample { rpath: Some("/old"), runpath: Some("$ORIGIN/../lib"), ..Sample::default() };
    let read = facts(&sample.bytes()).unwrap().unwrap();
    assert_eq!((read.rpath, read.runpath.as_deref()), (None, Some("$ORIGIN/../lib")));
}

#[test]
fn what_is_no_elf_file_says_nothing() {
    assert_eq!(facts(b"#!/bin/sh\n"), Ok(None));
    assert_eq!(facts(b""), Ok(None));
    assert!(facts(b"\x7fELF").is_err(), "cut off");
}

#[test]
fn this_program_is_read() {
    let own = std::fs::File::open("/proc/self/exe").unwrap();
    let read = read(&mut FilePieces::new(&own)).unwrap();
    assert_eq!(read.and_then(|facts| facts.soname), None);
}

#[test]
fn too_many_entries_and_too_long_names_are_not_read() {
    let names: Vec<String> = (0..100_000).map(|number| format!("lib{number}.so")).collect();
    let needed: Vec<&str> = names.iter().map(String::as_str).collect();
    let many = Sample { needed: &needed, ..Sample::default() };
    assert_eq!(facts(&many.bytes()), Err(ElfError::TooMany));

    let long = "x".repeat(5000);
    let long = Sample { soname: Some(&long), ..Sample::default() };
    assert_eq!(facts(&long.bytes()), Err(ElfError::Name));

    let same = "y".repeat(4000);
    let long = Sample { needed: &[&*same; 300], ..Sample::default() };
    assert_eq!(facts(&long.bytes()), Err(ElfError::LongNames));
}

#[test]
fn a_few_bytes_of_a_string_table_do_not_become_many_names() {
    // Each name begins one byte later in the same string.
    let text = "z".repeat(3000);
    let names: Vec<&str> = (0..20).map(|from| &text[from..]).collect();
    let bytes = Sample { needed: &names, shares_names: true, ..Sample::default() }.bytes();
    assert!(bytes.len() < 8192, "{}", bytes.len());
    assert_eq!(facts(&bytes), Err(ElfError::LongNames));
    let few = Sample { needed: &names[..4], shares_names: true, ..Sample::default() };
    assert_eq!(facts(&few.bytes()).unwrap().unwrap().needed, names[..4]);
}

#[test]
fn more_searches_than_any_program_asks_for_are_refused() {
    let names: Vec<String> = (0..2000).map(|number| format!("lib{number}.so")).collect();
    let needed: Vec<&str> = names.iter().map(String::as_str).collect();
    let of = |directories: usize| {
        let path = vec!["/opt/acme/lib"; directories].join(":");
        facts(&Sample { needed: &needed, runpath: Some(&path), ..Sample::default() }.bytes())
    };
    assert!(of(60).unwrap().is_some());
    assert_eq!(of(70), Err(ElfError::TooManySearches));
}

#[test]
fn a_string_table_of_gigabytes_in_a_file_with_a_hole_is_not_read_whole() {
    use std::io::{Seek as _, SeekFrom, Write as _};
    /// Long enough that its length differs from every other number in the file.
    const NAME: &str = "libacme-with-a-name-of-some-length.so.1";
    let sample = Sample { soname: Some(NAME), ..Sample::default() };
    let mut bytes = sample.bytes();
    // Size of the string table, of the segment in the file and in memory.
    let size = bytes.len() as u64;
    let names = NAME.len() as u64 + 2;
    let at = |value: u64, bytes: &[u8]| -> Vec<usize> {
        bytes
            .windows(8)
            .enumerate()
            .filter(|(_, word)| *word == value.to_le_bytes())
            .map(|(at, _)| at)
            .collect()
    };
    let places: Vec<usize> = [at(size, &bytes), at(names, &bytes)].concat();
    for place in places {
        bytes[place..place + 8].copy_from_slice(&(8u64 << 30).to_le_bytes());
    }
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    file.seek(SeekFrom::Start(9 << 30)).unwrap();
    file.write_all(b"end").unwrap();
    let read = read(&mut FilePieces::new(&file)).unwrap().unwrap();
    assert_eq!(read.soname.as_deref(), Some(NAME));
}

#[test]
fn version_lists_that_lead_back_to_themselves_end() {
    let versions: Vec<String> = (0..200).map(|number| format!("V{number}")).collect();
    let versions: Vec<&str> = versions.iter().map(String::as_str).collect();
    let whole =
        Sample { needs: &[("liba.so", &versions), ("libb.so", &versions)], ..Sample::default() }.bytes();
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] = 0;
        let _ = facts(&damaged);
    }
}

#[test]
fn no_damage_makes_it_panic() {
    let whole = Sample {
        soname: Some("a"),
        needed: &["b"],
        defines: &["V1", "V2"],
        needs: &[("b", &["V3"])],
        interpreter: Some("/l"),
        dlopen: Some(r#"[{"soname":["c"]}]"#),
        ..Sample::default()
    }
    .bytes();
    assert!(facts(&whole).unwrap().is_some());
    for length in 0..whole.len() {
        let _ = facts(&whole[..length]);
    }
    for at in 0..whole.len() {
        for value in [0, 0xff, whole[at] ^ 0x80, whole[at].wrapping_add(1)] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = facts(&damaged);
        }
    }
}

#[test]
fn symbols_are_those_that_nm_names() {
    let own = std::fs::read("/proc/self/maps").unwrap();
    let text = String::from_utf8_lossy(&own).into_owned();
    let libc = text
        .lines()
        .filter_map(|line| line.split_whitespace().last())
        .find(|path| path.ends_with("/libc.so.6"));
    let Some(libc) = libc else {
        return crate::skipped("symbols_are_those_that_nm_names: no libc.so.6");
    };
    let Ok(output) =
        std::process::Command::new("nm").args(["-D", "--without-symbol-versions", libc]).output()
    else {
        return crate::skipped("symbols_are_those_that_nm_names: no nm");
    };
    let file = std::fs::File::open(libc).unwrap();
    let symbols = read_symbols(&mut FilePieces::new(&file)).unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (mut exported, mut undefined) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["U", name] => undefined.push(name),
            ["w" | "v", _] => {}
            [_, "A", _] if !symbols.exported.contains(words[2]) => {} // the names of versions
            [_, _, name] => exported.push(name),
            _ => panic!("{line}"),
        }
    }
    assert!(symbols.exported.contains("printf") && symbols.undefined.contains("__tls_get_addr"));
    let [exported, undefined] = [exported, undefined].map(|names| names.into_iter().collect());
    assert_eq!(symbols, ElfSymbols { exported, undefined });
}

#[test]
fn of_a_library_that_goes_by_little_is_kept() {
    use std::io::Read as _;
    let mut keeper = PartsKeeper::default();
    for pass in 1.. {
        let (mut library, mut buffer) = (LargeLibrary::new(64), vec![0; 100_000]);
        loop {
            let count = library.read(&mut buffer).unwrap();
            if count == 0 {
                break;
            }
            keeper.add(&buffer[..count]);
            assert!(keeper.held() < 24 << 20, "{}", keeper.held());
        }
        let mut parts = keeper.finish();
        let read = read(&mut parts).and_then(|facts| Ok((facts, read_symbols(&mut parts)?)));
        let Some(missing) = parts.missing() else {
            assert_eq!(pass, 2);
            assert_eq!(read.unwrap().0.unwrap().soname.as_deref(), Some("liblarge.so.1"));
            return;
        };
        assert!(read.is_err());
        keeper = PartsKeeper::again(&missing);
    }
}

#[test]
fn parts_of_a_file_are_those_of_the_whole_however_it_is_cut() {
    let whole: Vec<u8> =
        (0..12_000_000_u32).flat_map(|number| (number % 251).to_le_bytes()).step_by(4).collect();
    for piece in [1000, 65_536, 5_000_000] {
        let mut keeper =
            PartsKeeper::again(&MissingParts(vec![(4_000_000, 4_400_000), (6_000_000, 6_000_100)]));
        whole.chunks(piece).for_each(|piece| keeper.add(piece));
        let mut parts = keeper.finish();
        for (offset, length) in [(0, 100), (4_000_000, 400_000), (6_000_050, 50), (11_900_000, 200_000)] {
            let mut expected = &whole[..];
            let expected = expected.slice(offset, length).unwrap();
            assert_eq!(parts.slice(offset, length), Ok(expected), "{piece} {offset}");
        }
        assert!(parts.slice(5_000_000, 10).is_err());
        assert_eq!(parts.missing(), None, "it is not an ELF file");
    }
}

#[test]
fn tables_names_and_notes_that_point_outside_or_overlap_are_refused() {
    let sample = Sample {
        soname: Some("liba.so.1"),
        dlopen: Some(r#"[{"soname":["libb.so"]}]"#),
        ..Sample::default()
    };
    let whole = sample.bytes();
    assert!(facts(&whole).unwrap().is_some());
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let offset = |at: usize| usize::try_from(word(&whole, at)).unwrap();
    let dynamic = offset(64 + 56 + 8);
    let tag = |wanted: u64| {
        (0..32).map(|number| dynamic + number * 16).find(|at| word(&whole, *at) == wanted).unwrap()
    };
    let with = |at: usize, value: u64| {
        let mut bytes = whole.clone();
        bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        bytes
    };
    // The string table outside the loaded part, a name beyond its end, the dynamic section beyond the end of the file.
    assert!(matches!(facts(&with(tag(5) + 8, 1 << 40)), Err(ElfError::Damaged(_))));
    assert_eq!(facts(&with(tag(14) + 8, 1 << 40)), Err(ElfError::Name));
    assert!(matches!(facts(&with(64 + 56 + 8, 1 << 40)), Err(ElfError::Damaged(_))));
    assert!(matches!(facts(&with(64 + 56 + 8, u64::MAX)), Err(ElfError::Damaged(_))));
    // The string table over the headers: its contents are a name or nothing.
    let _ = facts(&with(tag(5) + 8, 0x40));
    // A note that is longer than its segment, and a segment that is longer than the file.
    let note = offset(64 + 2 * 56 + 8);
    let mut long = whole.clone();
    long[note + 4..note + 8].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(facts(&long).unwrap().unwrap().dlopen, []);
    assert!(facts(&with(64 + 2 * 56 + 32, u64::MAX)).is_ok());
}

#[test]
fn what_was_split_for_debuggers_says_nothing() {
    let sample = Sample { interpreter: Some("/lib/ld.so"), soname: Some("a"), ..Sample::default() };
    assert_eq!(facts(&debug_data(&sample, true)), Ok(None));
    assert_eq!(facts(&debug_data(&sample, false)), Ok(None));
}
