//! Tests of the binary formats on files made by others: real packages, and output of the classic tools.
//!
//! A stream is split member by member and put together again. The result must be the same byte for byte, except for the
//! fields of `MEANINGLESS`.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::compress::{CompressDecoder, CompressEncoder};
use super::cpio::{self, CpioFormat};
use super::datastream::{DatastreamReader, DatastreamWriter};

/// Fields that some writers fill and that have no meaning; ours are 0. The names of the streams end in these words.
const MEANINGLESS: [(&str, &str); 2] =
    [("MDXapc-v0.1-sparc.pkg", "check of `070701` headers"), (".ds", "inode and device of the trailer")];

/// Returns the directory of shared test material, or reports its absence and returns `None`.
fn shared(test: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
    if path.is_dir() {
        return Some(path);
    }
    crate::skipped(&format!("{test}: ../shared is not here"));
    None
}

fn files(directory: &Path, wanted: &dyn Fn(&Path) -> bool, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && !path.is_symlink() {
            files(&path, wanted, found);
        } else if wanted(&path) {
            found.push(path);
        }
    }
    found.sort();
}

fn with_extension(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    files(directory, &|path| path.extension().is_some_and(|e| e == extension), &mut found);
    found
}

/// Returns the header text, then every archive, rewritten from the parsed data.
fn rewritten(bytes: &[u8]) -> Vec<u8> {
    let archives =
        DatastreamReader::new(bytes).unwrap().packages().iter().map(|p| p.parts as usize).sum::<usize>() + 1;
    let (mut out, mut rest) = (bytes[..512].to_vec(), &bytes[512..]);
    for _ in 0..archives {
        let mut reader = cpio::CpioReader::new(rest);
        let mut writer = cpio::CpioWriter::new(out, CpioFormat::Newc);
        while let Some(header) = reader.next_member().unwrap() {
            writer.write_member(&header, &mut reader).unwrap();
        }
        out = writer.finish().unwrap();
        reader.next_archive().unwrap();
        rest = reader.into_inner();
    }
    out
}

fn clear_meaningless(bytes: &mut [u8]) {
    for at in 0..bytes.len().saturating_sub(121) {
        if bytes[at..].starts_with(b"070701") {
            bytes[at + 102..at + 110].fill(b'0');
            if bytes[at + 110..].starts_with(cpio::TRAILER) {
                bytes[at + 6..at + 14].fill(b'0');
                bytes[at + 62..at + 78].fill(b'0');
            }
        }
    }
}

#[test]
fn real_streams_come_out_as_they_went_in() {
    let Some(shared) = shared("real_streams_come_out_as_they_went_in") else { return };
    let mut streams = with_extension(&shared.join("realdata/datastream"), "pkg");
    streams.extend(with_extension(&shared.join("goldens/pkgs"), "ds"));
    assert!(streams.len() > 5, "{}", streams.len());
    for path in streams {
        let mut bytes = fs::read(&path).unwrap();
        let again = rewritten(&bytes);
        if MEANINGLESS.iter().any(|(end, _)| path.to_string_lossy().ends_with(end)) {
            assert!(again != bytes, "{}", path.display());
            clear_meaningless(&mut bytes);
        }
        assert!(again == bytes, "{}", path.display());
    }
}

#[test]
fn real_streams_survive_our_own_writer_in_meaning() {
    let Some(shared) = shared("real_streams_survive_our_own_writer_in_meaning") else { return };
    let mut streams = with_extension(&shared.join("realdata/datastream"), "pkg");
    streams.extend(with_extension(&shared.join("goldens/pkgs"), "ds"));
    for path in streams {
        let bytes = fs::read(&path).unwrap();
        let mut reader = DatastreamReader::new(&bytes[..]).unwrap();
        let mut writer = DatastreamWriter::new(Vec::new(), reader.packages(), 0).unwrap();
        let mut members = Vec::new();
        while reader.next_part().unwrap().is_some() {
            let mut part = writer.begin_part(CpioFormat::Odc).unwrap();
            while let Some(member) = reader.next_member().unwrap() {
                let mut data = Vec::new();
                reader.read_to_end(&mut data).unwrap();
                let permissions =
                    cpio::CpioHeader::file(member.path.as_bytes(), member.header.mode, 0, member.header.size);
                part.write_member(&permissions, &data[..]).unwrap();
                members.push((member.path, data));
            }
            writer = part.finish().unwrap();
        }
        let again = writer.finish().unwrap();
        let mut second = DatastreamReader::new(&again[..]).unwrap();
        assert_eq!(second.packages(), reader.packages());
        let mut expected = members.into_iter();
        while second.next_part().unwrap().is_some() {
            while let Some(member) = second.next_member().unwrap() {
                let mut data = Vec::new();
                second.read_to_end(&mut data).unwrap();
                assert_eq!(Some((member.path, data)), expected.next(), "{}", path.display());
            }
        }
        assert!(expected.next().is_none());
    }
}

#[test]
fn variants_of_streams_are_accepted_and_refused_as_the_classic_tools_do() {
    let Some(shared) = shared("variants_of_streams_are_accepted_and_refused_as_the_classic_tools_do") else {
        return;
    };
    let verdict = |path: &Path| -> Result<(), String> {
        let bytes = fs::read(path).unwrap();
        let mut reader = DatastreamReader::new(&bytes[..]).map_err(|error| error.to_string())?;
        while reader.next_part().map_err(|error| error.to_string())?.is_some() {}
        Ok(())
    };
    let expected = [
        ("ref", ""),
        ("dotslash", ""),
        ("fmt-newc", ""),
        ("fmt-crc", ""),
        ("fmt-odc", ""),
        ("trail", ""),
        ("missingfile", ""),
        ("extra-dotdot", "`..`"),
        ("fmt-bin", "no cpio header"), // accepted there: the old binary form, which nobody writes any more
        ("fmt-ustar", "no cpio header"),
        ("junk", "not a package datastream"),
        ("truncated", "unexpected end of archive"),
        ("gz", "not a package datastream"),
        ("hdr1024", "no cpio header"),
        ("hdrnopad", "not padded"),
        ("nopad-first", "no cpio header"),
        ("nopad-last", "unexpected end of archive"),
        ("pad5120", "no cpio header"),
    ];
    let directory = shared.join("goldens/28-stream-variants/out");
    for (name, wanted) in expected {
        match verdict(&directory.join(format!("{name}.ds"))) {
            Ok(()) => assert_eq!(wanted, "", "{name}"),
            Err(error) => assert!(!wanted.is_empty() && error.contains(wanted), "{name}: {error}"),
        }
    }
}

#[test]
fn undo_archives_of_the_classic_tools_are_read_and_written_to_the_byte() {
    let Some(shared) = shared("undo_archives_of_the_classic_tools_are_read_and_written_to_the_byte") else {
        return;
    };
    let mut checked = 0;
    for path in with_extension(&shared.join("goldens"), "Z") {
        let Ok(plain) = fs::read(path.with_extension("decompressed")) else { continue };
        let packed = fs::read(&path).unwrap();
        let mut decoded = Vec::new();
        CompressDecoder::new(&packed[..]).unwrap().read_to_end(&mut decoded).unwrap();
        assert!(decoded == plain, "{}", path.display());
        let mut encoder = CompressEncoder::new(Vec::new());
        encoder.write_all(&plain).unwrap();
        assert!(encoder.finish().unwrap() == packed, "{}", path.display());
        checked += 1;
    }
    assert!(checked > 20, "{checked}");
}
