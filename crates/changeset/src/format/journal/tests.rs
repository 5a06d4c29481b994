//! A journal comes back as it was written, and damage anywhere is found.

use super::*;
use patchadm_svr4::package::ObjectPath;
use proptest::prelude::*;

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn header() -> JournalHeader {
    JournalHeader {
        version: VERSION,
        run: Run { number: 17, nonce: 0xabc }.to_string(),
        command: "patchadd".to_owned(),
        root: "0123456789abcdef".to_owned(),
        ..JournalHeader::default()
    }
}

fn op(path: &str, db: bool) -> JournalEntry {
    JournalEntry::Op(Box::new(Op {
        kind: OpKind::Add,
        path: at(path),
        to: None,
        domain: 0,
        stage: if db { "db/1" } else { "o/1" }.to_owned(),
        parent: None,
        old: None,
        new: None,
        copy: None,
        db,
        whole: false,
        undo: None,
        touched: None,
        editable: false,
        list: None,
    }))
}

fn sample() -> JournalFiles {
    let stage = at("/var/sadm/patchadm/stage/17-0000000000000abc");
    let domain = Domain { top: at("/"), stage, lacks: vec![MissingRenameFlag::Exchange] };
    let entries =
        [JournalEntry::Domain(domain), op("/opt/a\u{e9} b", false), op("/var/sadm/install/contents", true)];
    Journal::to_files(header(), &entries).unwrap()
}

#[test]
fn a_journal_comes_back_with_the_records_first() {
    let JournalFiles { journal: bytes, ops } = sample();
    let journal = Journal::parse(&bytes, Some(&ops)).unwrap();
    assert_eq!(journal.head.run(), Some(Run { number: 17, nonce: 0xabc }));
    assert!(journal.head.is_open());
    let paths: Vec<_> = journal.ops.iter().map(|op| (op.path.clone(), op.db)).collect();
    assert_eq!(paths, [(at("/var/sadm/install/contents"), true), (at("/opt/a\u{e9} b"), false)]);
    assert_eq!(journal.domains[0].lacks, [MissingRenameFlag::Exchange]);
    let leading = Journal::parse_leading(&bytes).unwrap();
    assert_eq!((leading.ops.len(), leading.is_whole, journal.is_whole), (1, false, true));
}

#[test]
fn an_outcome_is_one_sector_written_into_place() {
    let JournalFiles { journal: mut bytes, ops } = sample();
    for (sector, offset) in [outcome_sector(RunOutcome::Commit), done_sector(false)] {
        assert_eq!(sector.len(), SECTOR);
        let offset = usize::try_from(offset).unwrap();
        bytes[offset..offset + SECTOR].copy_from_slice(&sector);
    }
    let journal = Journal::parse(&bytes, Some(&ops)).unwrap();
    assert_eq!((journal.head.outcome, journal.head.done), (Some(RunOutcome::Commit), true));
    assert!(!journal.head.is_open());
}

/// Returns a journal of another version with these sectors.
fn other_version(version: u32, sectors: &[(Vec<u8>, u64)]) -> Vec<u8> {
    let header = serde_json::json!({
        "version": version, "run": header().run, "command": "patchadd", "root": header().root,
        "lines": 0, "sha256": "0".repeat(64), "db": 0, "ops": 0, "ops_sha256": "0".repeat(64),
    });
    let mut bytes = sector(&header);
    bytes.resize(HEAD, b' ');
    for (sector, place) in sectors {
        let place = usize::try_from(*place).unwrap();
        bytes[place..place + SECTOR].copy_from_slice(sector);
    }
    bytes
}

#[test]
fn of_a_journal_of_an_earlier_version_a_run_that_is_tidied_up_is_known_and_no_other_is_read() {
    for version in [1, 2, 3] {
        let outcome = outcome_sector(RunOutcome::Commit);
        let done = parse_head(&other_version(version, &[outcome.clone(), done_sector(false)])).unwrap();
        assert_eq!((done.done, done.header.root), (true, header().root));
        for sectors in [&[][..], &[outcome]] {
            let unfinished = other_version(version, sectors);
            assert_eq!(parse_head(&unfinished), Err(JournalError::Earlier(version)));
            assert_eq!(Journal::parse(&unfinished, None), Err(JournalError::Earlier(version)));
            assert_eq!(Journal::parse_leading(&unfinished), Err(JournalError::Earlier(version)));
        }
    }
}

/// Returns a record that only its owner may read.
fn private() -> Op {
    let JournalEntry::Op(op) = op("/var/sadm/patchadm/ledger/ACMEweb", true) else { panic!() };
    let identity = serde_json::json!({
        "file_type": "f", "mode": 0o600, "uid": 71, "gid": 72, "size": 73, "mtime": {"seconds": 74, "nanoseconds": 75},
        "inode": {"number": 76, "born": null}, "b3": "5f0c".repeat(16),
    });
    Op { stage: "db/7".to_owned(), new: serde_json::from_value(identity).unwrap(), ..*op }
}

#[test]
fn what_not_everybody_may_read_is_not_in_the_file_that_everybody_may_read() {
    let stage = at("/var/sadm/patchadm/stage/17-0000000000000abc");
    let run_record =
        RunRecord { command: "patchadd".to_owned(), text: "secret".to_owned(), ..RunRecord::default() };
    let entries = [
        JournalEntry::Domain(Domain { top: at("/"), stage, lacks: Vec::new() }),
        JournalEntry::Archive(Box::default()),
        JournalEntry::RunRecord(Box::new(run_record.clone())),
        op("/var/sadm/install/contents", true),
        JournalEntry::Op(Box::new(private())),
        op("/home/mallory", false),
    ];
    let JournalFiles { journal: bytes, ops } = Journal::to_files(header(), &entries).unwrap();
    let text = String::from_utf8(bytes.clone()).unwrap();
    for private in ["secret", "mallory", "5f0c", ":71", ":72", ":73", ":74", "archive"] {
        let lines = &text[HEAD..];
        assert!(!lines.contains(private), "{private}: {lines}");
    }
    assert!(text.contains("/var/sadm/patchadm/ledger/ACMEweb") && text.contains("\"number\":76"));
    let whole = Journal::parse(&bytes, Some(&ops)).unwrap();
    assert_eq!(whole.ops[1], private());
    assert_eq!((whole.run_record, whole.archives.len(), whole.ops.len()), (run_record, 1, 3));
    let leading = Journal::parse_leading(&bytes).unwrap();
    assert_eq!(leading.ops[1].new.as_ref().unwrap().inode, private().new.unwrap().inode);
}

#[test]
fn the_file_with_the_ops_is_the_one_that_the_header_names() {
    let JournalFiles { journal: bytes, ops } = sample();
    let missing = Err(JournalError::Ops("17-0000000000000abc".to_owned()));
    assert_eq!(Journal::parse(&bytes, None), missing);
    let mut other = ops.clone();
    other[3] ^= 1;
    for wrong in [&other[..], &ops[1..], b"", &[&ops[..], b"\n"].concat()] {
        assert_eq!(Journal::parse(&bytes, Some(wrong)), missing);
    }
}

#[test]
fn both_files_say_the_same_of_a_record() {
    let stage = at("/var/sadm/patchadm/stage/17-0000000000000abc");
    let domain = JournalEntry::Domain(Domain { top: at("/"), stage, lacks: Vec::new() });
    let JournalFiles { journal: mut bytes, .. } =
        Journal::to_files(header(), &[domain.clone(), JournalEntry::Op(Box::new(private()))]).unwrap();
    for lie in [
        Op { path: at("/etc/shadow"), ..private() },
        Op { kind: OpKind::Delete, ..private() },
        Op { stage: "db/8".to_owned(), ..private() },
    ] {
        let ops = line(&JournalEntry::Op(Box::new(lie)));
        let mut header = parse_head(&bytes).unwrap().header;
        (header.ops, header.ops_b3) = (ops.len() as u64, Digest::of(&ops).to_string());
        bytes.splice(..SECTOR, sector(&header));
        assert!(matches!(Journal::parse(&bytes, Some(&ops)), Err(JournalError::Field { .. })));
    }
}

#[test]
fn damage_anywhere_is_found() {
    let JournalFiles { journal: bytes, ops } = sample();
    for place in [3, 40, HEAD + 2, HEAD + 60, bytes.len() - 3] {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(Journal::parse(&damaged, Some(&ops)).is_err(), "byte {place}");
    }
    for length in [0, 511, HEAD, bytes.len() - 1] {
        assert!(Journal::parse(&bytes[..length], Some(&ops)).is_err(), "cut to {length}");
    }
    let later = other_version(VERSION + 1, &[]);
    assert_eq!(Journal::parse(&later, None), Err(JournalError::Version(VERSION + 1)));
}

proptest! {
    #[test]
    fn reading_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..9000), valid: bool) {
        let JournalFiles { journal: mut sample, ops } = sample();
        if valid {
            sample.extend_from_slice(&bytes);
            bytes = sample;
        }
        let _ = Journal::parse(&bytes, Some(&ops));
        let _ = Journal::parse_leading(&bytes);
    }
}
