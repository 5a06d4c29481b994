//! A journal comes back as it was written, and damage anywhere is found.

use super::*;
use proptest::prelude::*;

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn header() -> Header {
    Header {
        version: VERSION,
        run: Run { number: 17, nonce: 0xabc }.to_string(),
        command: "patchadd".to_owned(),
        root: "0123456789abcdef".to_owned(),
        lines: 0,
        sha256: String::new(),
        db: 0,
    }
}

fn op(path: &str, db: bool) -> Entry {
    Entry::Op(Box::new(Op {
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
    }))
}

fn sample() -> Vec<u8> {
    let stage = at("/var/sadm/patchadm/stage/17-0000000000000abc");
    let domain = Domain { top: at("/"), stage, lacks: vec![Lack::Exchange] };
    let entries =
        [Entry::Domain(domain), op("/opt/a\u{e9} b", false), op("/var/sadm/install/contents", true)];
    Journal::to_bytes(header(), &entries)
}

#[test]
fn a_journal_comes_back_with_the_records_first() {
    let journal = Journal::parse(&sample()).unwrap();
    assert_eq!(journal.head.run(), Some(Run { number: 17, nonce: 0xabc }));
    assert!(journal.head.is_open());
    let paths: Vec<_> = journal.ops.iter().map(|op| (op.path.clone(), op.db)).collect();
    assert_eq!(paths, [(at("/var/sadm/install/contents"), true), (at("/opt/a\u{e9} b"), false)]);
    assert_eq!(journal.domains[0].lacks, [Lack::Exchange]);
    let leading = Journal::parse_leading(&sample()).unwrap();
    assert_eq!(leading.ops.len(), 1);
}

#[test]
fn an_outcome_is_one_sector_written_into_place() {
    let mut bytes = sample();
    for (sector, offset) in [outcome_sector(Outcome::Commit), done_sector()] {
        assert_eq!(sector.len(), SECTOR);
        let offset = usize::try_from(offset).unwrap();
        bytes[offset..offset + SECTOR].copy_from_slice(&sector);
    }
    let journal = Journal::parse(&bytes).unwrap();
    assert_eq!((journal.head.outcome, journal.head.done), (Some(Outcome::Commit), true));
    assert!(!journal.head.is_open());
}

#[test]
fn a_journal_of_an_earlier_program_is_read_and_its_domains_lack_nothing() {
    let lines = "\
        a7a54da4 {\"domain\":{\"top\":\"/\",\"stage\":\"/var/sadm/patchadm/stage/17-0000000000000abc\"}}\n";
    let header = Header { version: PLAIN_VERSION, ..header() };
    let mut bytes = Journal::to_bytes(header.clone(), &[]);
    let digest = Digest(Sha256::digest(lines).into()).to_string();
    let header = Header { lines: lines.len() as u64, db: lines.len() as u64, sha256: digest, ..header };
    bytes[..SECTOR].copy_from_slice(&sector(&header));
    bytes.extend_from_slice(lines.as_bytes());
    assert_eq!(Journal::parse(&bytes).unwrap().domains[0].lacks, []);
}

#[test]
fn damage_anywhere_is_found() {
    let bytes = sample();
    for place in [3, 40, HEAD + 2, HEAD + 60, bytes.len() - 3] {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        assert!(Journal::parse(&damaged).is_err(), "byte {place}");
    }
    for length in [0, 511, HEAD, bytes.len() - 1] {
        assert!(Journal::parse(&bytes[..length]).is_err(), "cut to {length}");
    }
    let later = Journal::to_bytes(Header { version: VERSION + 1, ..header() }, &[]);
    assert_eq!(Journal::parse(&later), Err(JournalError::Version(VERSION + 1)));
}

proptest! {
    #[test]
    fn reading_never_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..9000), valid: bool) {
        if valid {
            let mut sample = sample();
            sample.extend_from_slice(&bytes);
            bytes = sample;
        }
        let _ = Journal::parse(&bytes);
        let _ = Journal::parse_leading(&bytes);
    }
}
