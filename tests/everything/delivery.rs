//! Puts packages into every form in which a patch can come.

use std::ffi::OsStr;
use std::fs;
use std::io::{Cursor, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream;
use patchadm_svr4::package::PkgInst;

use super::description::{Member, Package};
use crate::delivery::{bzip2, compressed, gzip, xz, zstd};

/// The forms, as the tests name them.
pub(super) const FORMS: [&str; 9] =
    ["directory", "datastream", "tar", "tar.gz", "tar.Z", "tar.bz2", "tar.xz", "tar.zst", "zip"];

/// Writes the packages of `id` in a form into `directory`; returns the path for patchadd(1M).
pub(super) fn deliver(directory: &Path, id: &str, packages: &[Package], form: &str) -> PathBuf {
    let at = directory.join(format!("{id}.{form}"));
    let members = |prefix: &str| {
        let readme = (format!("{prefix}README.{id}").into_bytes(), format!("Patch-ID# {id}\n").into_bytes());
        let mut all = vec![readme];
        for package in packages {
            let inside = format!("{prefix}{}/", package.name).into_bytes();
            all.extend(
                package.members().into_iter().map(|(name, bytes)| ([&inside[..], &name].concat(), bytes)),
            );
        }
        all
    };
    let archive = || members(&format!("{id}/"));
    match form {
        "directory" => members("").iter().for_each(|member| write(&at, member)),
        "datastream" => fs::write(&at, stream(packages)).unwrap(),
        "tar" => fs::write(&at, tar(&archive())).unwrap(),
        "tar.gz" => fs::write(&at, gzip(&tar(&archive()))).unwrap(),
        "tar.bz2" => fs::write(&at, bzip2(&tar(&archive()))).unwrap(),
        "tar.xz" => fs::write(&at, xz(&tar(&archive()))).unwrap(),
        "tar.zst" => fs::write(&at, zstd(&tar(&archive()))).unwrap(),
        "tar.Z" => fs::write(&at, compressed(&tar(&archive()))).unwrap(),
        "zip" => fs::write(&at, zip(&archive())).unwrap(),
        _ => unreachable!("{form} is no form"),
    }
    at
}

fn write(directory: &Path, (name, bytes): &Member) {
    let to = directory.join(OsStr::from_bytes(name));
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::write(to, bytes).unwrap();
}

fn tar(members: &[Member]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        builder.append_data(&mut header, OsStr::from_bytes(name), bytes.as_slice()).unwrap();
    }
    builder.into_inner().unwrap()
}

/// The zip crate only writes names that are text; others get a stand-in of the same length, which is then replaced.
fn zip(members: &[Member]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let plain = |name: &[u8]| name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(byte));
    let mut stand_ins = Vec::new();
    for (name, bytes) in members {
        let written = if plain(name) {
            String::from_utf8(name.clone()).unwrap()
        } else {
            let letter = char::from(b'A' + u8::try_from(stand_ins.len()).unwrap());
            let stand_in = letter.to_string().repeat(name.len());
            stand_ins.push((stand_in.clone(), name));
            stand_in
        };
        writer.start_file(written, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    let mut archive = writer.finish().unwrap().into_inner();
    for (stand_in, name) in stand_ins {
        let places =
            (0..archive.len() - name.len()).filter(|&at| archive[at..].starts_with(stand_in.as_bytes()));
        let places: Vec<usize> = places.collect();
        assert_eq!(places.len(), 2, "a local and a central header");
        for at in places {
            archive[at..at + name.len()].copy_from_slice(name);
        }
    }
    archive
}

fn stream(packages: &[Package]) -> Vec<u8> {
    let file = |package: &Package, name: &[u8]| {
        package.members().into_iter().find(|(other, _)| other == name).unwrap().1
    };
    let heads: Vec<datastream::DatastreamPackage> = packages
        .iter()
        .map(|package| datastream::DatastreamPackage {
            inst: PkgInst::new(&package.name).unwrap(),
            parts: 1,
            max_blocks: 20_000,
            pkginfo: file(package, b"pkginfo"),
            pkgmap: file(package, b"pkgmap"),
        })
        .collect();
    let mut writer = datastream::DatastreamWriter::new(Vec::new(), &heads, 1).unwrap();
    for package in packages {
        let mut part = writer.begin_part(CpioFormat::Newc).unwrap();
        for (name, bytes) in package.members() {
            part.write_member(&CpioHeader::file(&name, 0o644, 1, bytes.len() as u64), bytes.as_slice())
                .unwrap();
        }
        writer = part.finish().unwrap();
    }
    writer.finish().unwrap()
}
