//! Files of lines: each line that is read is written and read again.

use patchadm_changeset::format::contents_merge::{ContentsEdits, ContentsTrailer, merge, merge_unsorted};
use patchadm_changeset::format::undo_sidecars::UndoDigest;
use patchadm_inputs::format::ledger::Ledger;
use patchadm_inputs::format::objects_file::ObjectsFile;
use patchadm_svr4::format::contents;
use patchadm_svr4::format::contents::ContentsRecord;
use patchadm_svr4::format::depend::Depend;
use patchadm_svr4::format::patchdiag::Patchdiag;
use patchadm_svr4::format::pkglog::{MARKER, Pkglog};
use patchadm_svr4::format::pkgmap::Pkgmap;
use patchadm_svr4::format::registration::Registration;
use patchadm_svr4::format::remote::RemoteArchive;
use patchadm_svr4::format::{deletes, obsoleted_by, package_list, patch_order, prototype, showrev, space};
use patchadm_svr4::package::{Accounts, ContentsLine, PkgInst, escape};

pub fn pkgmap(input: &[u8]) {
    let Ok(map) = Pkgmap::parse(input) else { return };
    assert!(map.entries.len() <= input.len());
    let written = map.write();
    assert_eq!(Pkgmap::parse(&written).as_ref(), Ok(&map), "{}", written.escape_ascii());
}

pub fn contents(input: &[u8]) {
    for record in contents::ContentsReader::new(input).map_while(Result::ok) {
        let ContentsRecord::Object(line) = record else { continue };
        let written = line.write();
        assert_eq!(ContentsLine::parse(&written).as_ref(), Ok(&line), "{}", written.escape_ascii());
        assert_eq!(contents::key_of(&written), line.path.as_bytes(), "{}", written.escape_ascii());
    }
}

/// A merge without changes keeps every object and is sorted; a merge of its own output changes nothing.
pub fn contents_merge(input: &[u8]) {
    let trailer = ContentsTrailer {
        program: "pkgadd".to_owned(),
        package: PkgInst::new("ACMEweb").expect("a name"),
        when: chrono::NaiveDateTime::default(),
    };
    let mut once = Vec::new();
    let Ok(merged) = merge_unsorted(input, &mut once, &ContentsEdits::new(), &trailer) else { return };
    let report = merged.report;
    assert_eq!((report.inserted, report.replaced, report.deleted), (0, 0, 0));
    let mut twice = Vec::new();
    let report = merge(&once[..], &mut twice, &ContentsEdits::new(), &trailer)
        .expect("what was sorted is sorted")
        .report;
    assert_eq!(report.duplicates, 0);
    assert_eq!(once.escape_ascii().to_string(), twice.escape_ascii().to_string());
}

/// A log written anew from what it says, and completed, says the same.
pub fn pkglog(input: &[u8]) {
    let (log, _) = Pkglog::parse_readable(input);
    let mut written = Vec::new();
    for (path, line) in &log.edits {
        match line {
            Some(line) => written.extend_from_slice(&[b"=", &line.write()[..], b"\n"].concat()),
            None => written.extend_from_slice(&[b"-", &escape(path.as_bytes())[..], b"\n"].concat()),
        }
    }
    written.extend_from_slice(MARKER);
    assert_eq!(Pkglog::parse(&written), Ok(Pkglog { unfinished: 0, ..log }), "{}", written.escape_ascii());
}

pub fn prototype(input: &[u8]) {
    for line in prototype::lines(input).take_while(Result::is_ok).flatten() {
        let written = line.item.write();
        let again: Vec<_> = prototype::lines(&written).collect();
        let shown = written.escape_ascii();
        let [Ok(again)] = &again[..] else { panic!("{shown} is {again:?}") };
        let mut item = line.item;
        if let prototype::PrototypeItem::Entry(entry) = &mut item {
            // What stood behind the last field is not kept.
            entry.has_extra_fields = false;
        }
        assert_eq!(again.item, item, "{shown}");
    }
}

pub fn registration(input: &[u8]) {
    for line in input.split(|&byte| byte == b'\n') {
        let Ok(read) = Registration::parse(line, Some("none")) else { continue };
        let written = read.write();
        assert_eq!(Registration::parse(&written, Some("none")), Ok(read), "{}", written.escape_ascii());
    }
}

pub fn depend(input: &[u8]) {
    let depend = Depend::parse(input);
    let lines = input.split(|&byte| byte == b'\n').count();
    let versions: usize = depend.dependencies.iter().map(|one| one.versions.len()).sum();
    assert!(depend.dependencies.len() + versions + depend.skipped.len() <= lines);
}

pub fn space(input: &[u8]) {
    let Ok(extras) = space::parse(input) else { return };
    for extra in extras.iter().filter(|extra| extra.bytes < u64::MAX) {
        let numbers = format!(" {} {}", extra.bytes / 512, extra.inodes);
        let line = [&escape(extra.path.as_bytes())[..], numbers.as_bytes()];
        assert_eq!(space::parse(&line.concat()).as_deref(), Ok(std::slice::from_ref(extra)));
    }
}

pub fn deletes(input: &[u8]) {
    let Ok(paths) = deletes::parse(input) else { return };
    assert_eq!(deletes::parse(&deletes::write(&paths)), Ok(paths));
}

/// The input is passwd(5) and group(5) at the same time.
pub fn accounts(input: &[u8]) {
    let accounts = Accounts::parse(input, input);
    for line in String::from_utf8_lossy(input).lines() {
        let name = line.split(':').next().unwrap_or_default();
        assert_eq!(accounts.uid(name), accounts.gid(name));
    }
}

pub fn obsoleted_by(input: &[u8]) {
    let Ok(ids) = obsoleted_by::parse(input) else { return };
    assert_eq!(obsoleted_by::parse(&obsoleted_by::write(&ids)), Ok(ids));
}

pub fn patch_order(input: &[u8]) {
    let _ = patch_order::cluster_name(input);
    let Ok(words) = patch_order::parse(input) else { return };
    assert_eq!(patch_order::parse(words.join("\n").as_bytes()), Ok(words));
}

pub fn patchdiag(input: &[u8]) {
    let Ok(file) = Patchdiag::parse(input) else { return };
    let written = file.write();
    let again = Patchdiag::parse(&written).expect("what was written can be read");
    assert_eq!(again.as_of, file.as_of);
    assert_eq!(again.lines.len(), file.lines.len());
    assert!(file.lines.iter().all(|line| again.lines.contains(line)), "{}", written.escape_ascii());
    assert_eq!(again.write(), written);
}

pub fn listings(input: &[u8]) {
    if let Ok(patches) = showrev::parse(input) {
        assert!(patches.len() <= input.len());
    }
    if let Ok(packages) = package_list::parse(input) {
        assert!(packages.iter().all(|one| !one.arch.is_empty() && !one.version.is_empty()));
    }
}

pub fn remote(input: &[u8]) {
    let Ok(remote) = RemoteArchive::parse(input) else { return };
    assert_eq!(RemoteArchive::parse(&remote.write()), Ok(remote));
}

pub fn undo_digest(input: &[u8]) {
    let Some(digest) = UndoDigest::parse(input) else { return };
    assert_eq!(UndoDigest::parse(&digest.write()), Some(digest));
}

pub fn ledger(input: &[u8]) {
    let Ok(ledger) = Ledger::parse(input) else { return };
    assert_eq!(Ledger::parse(&ledger.write()), Ok(ledger));
}

pub fn objects_file(input: &[u8]) {
    let Ok(file) = ObjectsFile::parse(input) else { return };
    assert_eq!(ObjectsFile::parse(&file.write()), Ok(file));
}
