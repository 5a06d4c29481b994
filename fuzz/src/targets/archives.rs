//! Archives and what is around them. What comes out of a small input is read up to a limit and never held as a whole
//! where the program does not hold it.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::path::Path;

use patchadm_container as container;
use patchadm_inputs::source::{Extent, Origin, SourceError, SourceProblem, open};
use patchadm_svr4::format::compress;
use patchadm_svr4::format::cpio;
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream;
use patchadm_svr4::format::datastream::DatastreamPackage;
use patchadm_svr4::package::PackagePath;
use rustix::fs::{MemfdFlags, memfd_create};

/// What is read of a decoder at most, in bytes.
const MOST: u64 = 4 << 20;

/// The members of an archive up to its end or its first error, and whether it came to its end.
fn members(input: &[u8]) -> (Vec<(CpioHeader, Vec<u8>)>, bool) {
    let mut reader = cpio::CpioReader::new(input);
    let mut members = Vec::new();
    loop {
        match reader.next_member() {
            Ok(None) => return (members, true),
            Err(_) => return (members, false),
            Ok(Some(header)) => {
                let mut data = Vec::new();
                if reader.read_to_end(&mut data).is_err() {
                    return (members, false);
                }
                members.push((header, data));
            }
        }
    }
}

pub fn cpio(input: &[u8]) {
    let (found, is_whole) = members(input);
    let bytes: usize = found.iter().map(|(header, data)| header.name.len() + data.len()).sum();
    assert!(bytes <= input.len(), "nothing comes out that is not there");
    assert!(found.iter().all(|(header, data)| header.size == data.len() as u64));
    if !is_whole {
        return;
    }
    for form in [CpioFormat::Newc, CpioFormat::Odc] {
        let mut writer = cpio::CpioWriter::new(Vec::new(), form);
        // What a form cannot say is refused by its writer.
        if found.iter().any(|(header, data)| writer.write_member(header, &data[..]).is_err()) {
            continue;
        }
        let written = writer.finish().expect("memory can be written to");
        let (again, is_whole) = members(&written);
        let names = |members: &[(CpioHeader, Vec<u8>)]| {
            members.iter().map(|(header, data)| (header.name.clone(), data.clone())).collect::<Vec<_>>()
        };
        assert!(is_whole && names(&again) == names(&found), "{}", written.escape_ascii());
    }
}

/// The members of every part, each with the number of its part.
type Parts = Vec<(usize, u32, PackagePath, CpioHeader, Vec<u8>)>;

fn read_stream(input: &[u8]) -> Option<(Vec<DatastreamPackage>, Parts)> {
    let mut reader = datastream::DatastreamReader::new(input).ok()?;
    let mut parts = Parts::new();
    while let Some(part) = reader.next_part().ok()? {
        while let Some(member) = reader.next_member().ok()? {
            let mut data = Vec::new();
            reader.read_to_end(&mut data).ok()?;
            parts.push((part.package, part.part, member.path, member.header, data));
        }
    }
    Some((reader.packages().to_vec(), parts))
}

pub fn datastream(input: &[u8]) {
    let Some((packages, parts)) = read_stream(input) else { return };
    let held: usize = packages.iter().map(|package| package.pkginfo.len() + package.pkgmap.len()).sum();
    let bytes: usize = parts.iter().map(|(.., data)| data.len()).sum();
    assert!(held + bytes <= input.len(), "nothing comes out that is not there");
    let Ok(mut writer) = datastream::DatastreamWriter::new(Vec::new(), &packages, 0) else { return };
    for (index, package) in packages.iter().enumerate() {
        for number in 1..=package.parts {
            let mut part = writer.begin_part(CpioFormat::Newc).expect("as many as were announced");
            let mine = parts.iter().filter(|(of, part, ..)| (*of, *part) == (index, number));
            for (.., header, data) in mine {
                if part.write_member(header, &data[..]).is_err() {
                    return;
                }
            }
            writer = part.finish().expect("memory can be written to");
        }
    }
    let written = writer.finish().expect("all parts were written");
    let again = read_stream(&written).expect("what was written can be read");
    assert_eq!(again.0, packages);
    let content = |parts: &Parts| {
        let content = parts.iter().map(|(of, part, path, _, data)| (*of, *part, path.clone(), data.clone()));
        content.collect::<Vec<_>>()
    };
    assert_eq!(content(&again.1), content(&parts));
}

/// Decodes at most [`MOST`] bytes.
fn decoded(input: impl Read) -> io::Result<Vec<u8>> {
    let mut data = Vec::new();
    input.take(MOST).read_to_end(&mut data)?;
    Ok(data)
}

pub fn compress(input: &[u8]) {
    if let Ok(data) = compress::CompressDecoder::new(input).and_then(decoded) {
        // A code of 9 bits or more stands for a string of the table, which grows by a byte with each code.
        let codes = input.len() * 8 / 9 + 1;
        assert!(data.len() <= codes * codes.min(1 << 16), "{} bytes of {}", data.len(), input.len());
    }
    let bits = 10 + u32::from(input.first().copied().unwrap_or_default() % 7);
    let mut encoder = compress::CompressEncoder::with_bits(Vec::new(), bits).expect("10 to 16 bits");
    encoder.write_all(input).expect("memory can be written to");
    let written = encoder.finish().expect("memory can be written to");
    let back = compress::CompressDecoder::new(&written[..])
        .and_then(decoded)
        .expect("what was encoded can be decoded");
    assert_eq!(back, input);
}

pub fn container(input: &[u8]) {
    let form = container::detect_format(input.get(..container::SNIFFED).unwrap_or(input));
    let Ok(opened) = container::open_container(input) else { return };
    if opened.compression.is_none() {
        assert_eq!(opened.form, form);
        assert_eq!(decoded(opened.reader).expect("memory can be read"), input);
    } else {
        // 1,032 is the most that deflate can do.
        let is_gzip = form == container::ContainerFormat::Gzip;
        if let Ok(data) = decoded(opened.reader) {
            assert!(!is_gzip || data.len() <= 1032 * input.len(), "{} bytes of {}", data.len(), input.len());
        }
    }
}

/// A whole file, as patchadd(1M) reads one that somebody names: detected, decompressed, scanned, its objects read.
pub fn source(input: &[u8]) {
    let file = memfd_create("input", MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(file);
    file.write_all(input).expect("memory can be written to");
    let origin = Origin::File(file, Path::new("input"));
    let Ok((source, image)) = open(origin, Extent::Everything) else { return };
    assert!(!image.packages.is_empty());
    for package in &image.packages {
        assert!(package.params.get("PKG").is_some());
        assert!(package.install.keys().all(|name| !name.contains('/')));
    }
    let mut room = MOST;
    // An object with the wrong sum ends it; a limit of ours does, too.
    let _ = source.stream(&image, &mut |_, _| true, &mut |package, path, _, data: &mut dyn Read| {
        assert!(image.packages[package].files().any(|entry| entry.path == *path), "{path} is in the pkgmap");
        let copied = io::copy(&mut data.take(room), &mut io::sink());
        let full =
            |error| SourceError { path: "input".into(), problem: SourceProblem::Io { file: None, error } };
        room -= copied.map_err(full)?;
        if room == 0 { Err(full(io::Error::other("that is enough"))) } else { Ok(()) }
    });
}
