//! The part before the objects of a datastream is read alone.

use std::fs::File;

use patchadm_container::gzip::{GzipEncoder, VerifiedMember};
use patchadm_svr4::format::datastream::{DatastreamPackage, DatastreamWriter};

use super::*;

/// Returns an archive whose information is in members of its own, ended by a flush, and the number of bytes that these
/// take.
fn archive(information: &[(&str, &[u8])]) -> (Vec<u8>, usize) {
    let pkginfo = b"PKG=SUNWa\nNAME=x\nARCH=all\nVERSION=1\nCATEGORY=application\n".to_vec();
    let object = b"0123456".repeat(10_000);
    let mut map = format!(
        ": 1 150\n1 f none bin/tool 0644 root bin {} {} 5\n1 i pkginfo {} {} 5\n",
        object.len(),
        sum(&object),
        pkginfo.len(),
        sum(&pkginfo)
    );
    for (name, bytes) in information {
        writeln!(map, "1 i {name} {} {} 5", bytes.len(), sum(bytes)).unwrap();
    }
    let inst = PkgInst::new("SUNWa").unwrap();
    let package = DatastreamPackage { inst, parts: 1, max_blocks: 150, pkginfo, pkgmap: map.into_bytes() };
    let mut members = Vec::new();
    let encoder = GzipEncoder::new(
        |verified: VerifiedMember| {
            members.push(verified.member);
            Ok(())
        },
        1,
    );
    let writer = DatastreamWriter::new(encoder, std::slice::from_ref(&package), 0).unwrap();
    let mut part = writer.begin_part(cpio::CpioFormat::Newc).unwrap();
    let own = [("pkginfo", &package.pkginfo[..]), ("pkgmap", &package.pkgmap)];
    let installed = information.iter().map(|(name, bytes)| (format!("install/{name}"), *bytes));
    for (name, bytes) in own.map(|(name, bytes)| (name.to_owned(), bytes)).into_iter().chain(installed) {
        part.write_member(&CpioHeader::file(name.as_bytes(), 0o644, 0, bytes.len() as u64), bytes).unwrap();
    }
    part.flush().unwrap();
    part.write_member(&CpioHeader::file(b"reloc/bin/tool", 0o644, 0, object.len() as u64), &object[..])
        .unwrap();
    assert!(part.finish().unwrap().finish().unwrap().finish().is_ok());
    let objects = members.pop().unwrap();
    let information = members.concat();
    ([&information[..], &objects].concat(), information.len())
}

fn described(bytes: &[u8]) -> Result<(Source, Image), SourceError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("undo.gz");
    fs::write(&path, bytes).unwrap();
    open_descriptions(File::open(&path).unwrap(), &path)
}

#[test]
fn the_objects_of_an_archive_are_not_decoded_for_what_it_says_of_itself() {
    let (mut bytes, objects) =
        archive(&[("patchadm.manifest", b"the manifest"), ("preinstall", b"exit 0\n")]);
    // Only the header of the next member is looked at.
    bytes.truncate(objects + 30);
    let (_, image) = described(&bytes).unwrap();
    let package = &image.packages[0];
    assert_eq!(package.install["patchadm.manifest"], b"the manifest");
    assert_eq!(package.install["preinstall"], b"exit 0\n");
    assert!(described(&bytes[..objects - 1]).is_err());
}

/// A manifest has a line for each object: that of a patch of 100,000 is larger than other files of a package may be.
#[test]
fn a_manifest_of_many_objects_is_read() {
    let manifest = b"0123456789abcde\n".repeat((17 << 20) / 16);
    let (bytes, _) = archive(&[("patchadm.manifest", &manifest), ("patchadm.records", &manifest)]);
    let (_, image) = described(&bytes).unwrap();
    assert_eq!(image.packages[0].install["patchadm.manifest"].len(), manifest.len());
    let (_dir, _, image) = scanned(&bytes).unwrap();
    assert_eq!(image.packages[0].install["patchadm.records"].len(), manifest.len());
    let (bytes, _) = archive(&[("preinstall", &manifest)]);
    assert!(described(&bytes).unwrap_err().to_string().contains("16 MiB"));
}

#[test]
fn a_file_that_is_no_datastream_is_refused() {
    let error = described(&gzip(&tar(&patch(), ""))).unwrap_err();
    assert!(error.to_string().contains("is not a package datastream"), "{error}");
}
