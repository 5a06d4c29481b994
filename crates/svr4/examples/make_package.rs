//! Makes a package from a directory, in memory, and writes it as a datastream.
//!
//! ```text
//! cargo run --example make_package -- ACMEhello directory > ACMEhello.pkg
//! ```
//! Without operands it makes a small package and only tells its size.
//!
//! Everything below the directory becomes a relocatable object of the package: files and directories, owned by root.

use std::error::Error;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamWriter};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::{self, Pkgmap, PkgmapEntry};
use patchadm_svr4::package::{
    ContentInfo, Ftype, Mode, Object, ObjectAttributes, PackagePath, Params, PathError, PkgInst, checksum,
};

/// The modification time of every object, in seconds since 1970: the same directory gives the same package.
const MTIME: i64 = 1_600_000_000;

/// A file with its content, or a directory (`None`), at a path relative to BASEDIR.
pub(crate) type NewObject = (String, Option<Vec<u8>>);

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [] => writeln!(io::stdout(), "{} bytes", make_package("ACMEhello", &sample())?.len())?,
        [name, directory] => {
            let mut objects = Vec::new();
            read_directory(Path::new(directory), "", &mut objects)?;
            io::stdout().write_all(&make_package(name, &objects)?)?;
        }
        _ => return Err("usage: make_package [NAME DIRECTORY]".into()),
    }
    Ok(())
}

/// Returns the objects of a small package: a directory and a script in it.
pub(crate) fn sample() -> [NewObject; 2] {
    let script = b"#!/bin/sh\necho hello\n".to_vec();
    [("bin".to_owned(), None), ("bin/hello".to_owned(), Some(script))]
}

/// Reads everything below a directory into memory, sorted by path.
fn read_directory(
    directory: &Path,
    prefix: &str,
    objects: &mut Vec<NewObject>,
) -> Result<(), Box<dyn Error>> {
    let mut entries = fs::read_dir(directory)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name =
            entry.file_name().into_string().map_err(|name| format!("{} is not UTF-8", name.display()))?;
        let path = format!("{prefix}{name}");
        if entry.file_type()?.is_dir() {
            objects.push((path.clone(), None));
            read_directory(&entry.path(), &format!("{path}/"), objects)?;
        } else {
            objects.push((path, Some(fs::read(entry.path())?)));
        }
    }
    Ok(())
}

/// Makes a package with these objects and returns its datastream.
pub(crate) fn make_package(name: &str, objects: &[NewObject]) -> Result<Vec<u8>, Box<dyn Error>> {
    let inst = PkgInst::new(name)?;
    let pkginfo: Params =
        [("PKG", name), ("NAME", name), ("ARCH", "all"), ("VERSION", "1.0"), ("CATEGORY", "application")]
            .into_iter()
            .chain([("BASEDIR", "/opt"), ("CLASSES", "none")])
            .collect();
    let pkginfo = params::write(&pkginfo);

    let mut entries = vec![information_entry("pkginfo", &pkginfo)?];
    for (path, content) in objects {
        entries.push(entry(path, content.as_deref())?);
    }
    let blocks = |content: &[u8]| content.len().div_ceil(512) as u64;
    let max_blocks = blocks(&pkginfo)
        + objects.iter().filter_map(|(_, content)| content.as_deref()).map(blocks).sum::<u64>();
    let map = Pkgmap { parts: 1, max_blocks, compressed_blocks: None, entries };
    let package = DatastreamPackage { inst, parts: 1, max_blocks, pkginfo, pkgmap: map.write() };

    let writer = DatastreamWriter::new(Vec::new(), std::slice::from_ref(&package), MTIME)?;
    let mut part = writer.begin_part(CpioFormat::Newc)?;
    for (file, bytes) in [(&b"pkginfo"[..], &package.pkginfo), (b"pkgmap", &package.pkgmap)] {
        part.write_member(&CpioHeader::file(file, 0o644, MTIME, bytes.len() as u64), &bytes[..])?;
    }
    for (path, content) in objects {
        let member = pkgmap::member_name(&PackagePath::new(path.as_bytes())?);
        match content {
            Some(bytes) => {
                part.write_member(&CpioHeader::file(&member, 0o644, MTIME, bytes.len() as u64), &bytes[..])?;
            }
            None => part.write_member(&CpioHeader::directory(&member, 0o755, MTIME), io::empty())?,
        }
    }
    Ok(part.finish()?.finish()?)
}

/// The pkgmap entry of a file or directory.
fn entry(path: &str, content: Option<&[u8]>) -> Result<PkgmapEntry, PathError> {
    let ftype = if content.is_some() { Ftype::File } else { Ftype::Directory };
    let mut object = Object::new(ftype, "none");
    object.attributes = ObjectAttributes {
        mode: Mode::new(if content.is_some() { 0o644 } else { 0o755 }),
        owner: Some("root".into()),
        group: Some("sys".into()),
    };
    object.content = content.map(content_info).unwrap_or_default();
    Ok(PkgmapEntry { part: 1, path: PackagePath::new(path.as_bytes())?, object })
}

/// The pkgmap entry of an information file.
fn information_entry(name: &str, content: &[u8]) -> Result<PkgmapEntry, PathError> {
    let mut object = Object::new(Ftype::Information, "");
    object.content = content_info(content);
    Ok(PkgmapEntry { part: 1, path: PackagePath::new(name.as_bytes())?, object })
}

/// Size, checksum and modification time of a content.
fn content_info(content: &[u8]) -> ContentInfo {
    ContentInfo { size: Some(content.len() as u64), cksum: Some(checksum::sum(content)), mtime: Some(MTIME) }
}
