//! Undo archives with invalid statements about kept libraries.

use crate::operation::libraries::ArchivedLibraries;
use patchadm_changeset::format::manifest::{
    KEPT_RECORDS, ManifestHeader, ObjectRecord, SHLIBS, UndoManifest,
};
use patchadm_inputs::source::PackageImage;
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader, CpioWriter};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::package::Params;

const KEEPER: &str = "ACMElib-SO";

/// Returns a record of a library that is kept.
fn record(path: &str, keeper: &str, line: &str) -> ObjectRecord {
    ObjectRecord {
        path: path.to_owned(),
        was: None,
        line: Some(line.into()),
        became: None,
        new_line: None,
        kept: false,
        delivered: false,
        member: None,
        shlib: Some(keeper.into()),
        file: None,
    }
}

fn manifest(shlibs: Vec<ObjectRecord>) -> UndoManifest {
    let header = ManifestHeader {
        features: vec![SHLIBS.to_owned()],
        kept: vec![KEEPER.to_owned()],
        ..ManifestHeader::of("700001-01", "ACMElib", "0123456789abcdef")
    };
    UndoManifest { header, objects: vec![], shlibs }
}

/// Returns the fault of an archive that has these records and files.
fn refused(shlibs: Vec<ObjectRecord>, files: &[&str]) -> Option<String> {
    let map = Pkgmap { parts: 1, max_blocks: 1, compressed_blocks: None, entries: vec![] };
    let mut image = PackageImage::without_source(Params::from_iter([("PKG", "ACMElib")]), map);
    let mut cpio = CpioWriter::new(Vec::new(), CpioFormat::Newc);
    for name in files {
        cpio.write_member(&CpioHeader::file(name.as_bytes(), 0o644, 0, 0), &b""[..]).unwrap();
    }
    image.install.insert(KEPT_RECORDS.to_owned(), cpio.finish().unwrap());
    ArchivedLibraries::default().add(&manifest(shlibs), &image, 0).err()
}

fn good() -> ObjectRecord {
    record(
        "/usr/lib/liba.so.1",
        KEEPER,
        "/usr/lib/liba.so.1%20f%20none%200755%20root%20bin%205%206%207%20ACMElib-SO",
    )
}

#[test]
fn an_archive_keeps_what_its_own_packages_have() {
    assert_eq!(refused(vec![good()], &["ACMElib-SO/pkginfo", "ACMElib-SO/install/depend"]), None);
}

#[test]
fn an_archive_with_records_of_other_packages_or_paths_is_refused() {
    for name in
        ["ACMEother/pkginfo", "pkginfo", "../pkginfo", "ACMElib-SO/../x", "ACMElib-SO//x", "/etc/passwd"]
    {
        let reason = refused(vec![good()], &[name]);
        assert!(reason.is_some_and(|reason| !reason.is_empty()), "{name}");
    }
    let other = ObjectRecord { shlib: Some("ACMEother-SO".into()), ..good() };
    assert!(refused(vec![other], &[]).is_some());
    let path = ObjectRecord { path: "/etc/passwd".to_owned(), ..good() };
    assert!(refused(vec![path], &[]).is_some());
    let none = ObjectRecord { line: None, ..good() };
    assert!(refused(vec![none], &[]).is_some());
}
