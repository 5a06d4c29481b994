//! Every field that can lie, with all possible lies; true values pass.

use super::*;
use crate::format::journal::{PatchRecord, ScriptProcess};
use crate::format::undo_files::UndoFiles;

const RUN: &str = "17-9c1d6f20aa31b7e4";

fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

fn object() -> Box<Identity> {
    Box::new(Identity {
        file_type: 'f',
        mode: 0o4755,
        uid: 0,
        gid: 0,
        size: 9,
        mtime: Timestamp { seconds: -1, nanoseconds: 999_999_999 },
        inode: Inode { number: 12, born: Some(Timestamp::whole(1)) },
        b3: Some("0123456789abcdef".repeat(4).into()),
        target: None,
        xattrs: None,
    })
}

fn change(kind: OpKind, path: &str, stage: &str) -> Op {
    Op {
        kind,
        path: at(path),
        to: None,
        domain: 0,
        stage: stage.to_owned(),
        parent: Some(object().inode),
        old: Some(object()),
        new: Some(object()),
        copy: None,
        db: stage.starts_with("db/"),
        whole: false,
        undo: None,
        touched: Some(Box::new(Timestamp::whole(1))),
        editable: false,
        list: None,
    }
}

fn directory(xattr: &str) -> Box<Identity> {
    let xattrs = Some(Box::new([(xattr.to_owned(), "x".to_owned())].into()));
    Box::new(Identity { file_type: 'd', b3: None, xattrs, ..*object() })
}

/// Returns a journal as the engine writes it, with a value in every field. Its ops: 0 a replacement, 1 attributes, 2 a
/// held directory, 3 a record that is moved.
fn truth() -> Journal {
    let header = JournalHeader {
        version: 1,
        run: RUN.to_owned(),
        command: "patchadd".to_owned(),
        root: "0123456789abcdef".to_owned(),
        lines: 10,
        db: 10,
        ..JournalHeader::default()
    };
    let script = ScriptProcess {
        name: "postinstall of ACMEweb".to_owned(),
        group: 4711,
        boot_id: "0b7b6a05-43b3-4a2c-8f3b-9a1d5f1c2e60".to_owned(),
        start_time: 7,
    };
    let domains = [
        ("/var", format!("/var/sadm/patchadm/stage/{RUN}")),
        ("/opt", format!("/opt/.patchadm/{RUN}")),
        ("/", format!("/.patchadm-{RUN}")),
    ];
    let archive = JournalArchive {
        path: Some(at("/var/sadm/pkg/ACMEweb/save/105181-05/undo.gz")),
        staged: Some(at(&format!("/var/sadm/patchadm/stage/{RUN}/db/3/undo.gz"))),
        outside: Some("/backup/%C3%A9/105181-05/ACMEweb/undo.zst".to_owned()),
        inode: Some(object().inode),
        discard: Some(format!("/backup/105181-05/ACMEweb/obsolete-{RUN}.Z")),
        b3: Some("0b".repeat(32)),
        patch: Some("105181-05".to_owned()),
        package: Some("ACMEweb".to_owned()),
        files: Some(vec!["1/17".to_owned(), "0/version-0".to_owned()]),
        drop: Some(StoredFiles {
            directories: UndoFiles {
                run: "3-00000000000000ab".to_owned(),
                directories: vec!["/opt/.patchadm/undo/3-00000000000000ab".to_owned()],
            },
            names: vec!["0/copy-1".to_owned()],
        }),
    };
    let log = Some(at("/var/sadm/patch/105181-05/log"));
    let mut moved = change(OpKind::Move, "/var/sadm/pkg/ACMEweb/save/105181-05/undo.Z", "db/1.7");
    moved.to = Some(at("/var/sadm/pkg/ACMEweb/save/105181-05/obsolete.Z"));
    let mut replaced = change(OpKind::Replace, "/opt/web/bin/httpd", "o/1");
    (replaced.domain, replaced.undo, replaced.copy) =
        (1, Some(Box::new((0, "reloc/x".to_owned()))), Some(object()));
    let mut held = change(OpKind::Protect, "/var/web", "o/held.3");
    (held.old, held.new) = (Some(directory("user.a")), None);
    Journal {
        head: JournalHead {
            header,
            outcome: None,
            done: false,
            is_unsynced: false,
            progress: Some(ScriptProgress { number: 3, script: Some(script) }),
        },
        domains: domains
            .into_iter()
            .map(|(top, stage)| Domain { top: at(top), stage: at(&stage), lacks: Vec::new() })
            .collect(),
        archives: vec![archive],
        run_record: RunRecord {
            log: log.clone(),
            others: vec![PatchRecord { log, ..PatchRecord::default() }],
            ..RunRecord::default()
        },
        ops: vec![replaced, change(OpKind::Attr, "/var/run/web", "o/2"), held, moved],
        is_whole: true,
    }
}

fn checked(journal: &Journal) -> Result<(), JournalError> {
    head(&journal.head)?;
    lines(journal)
}

type Lie = fn(&mut Journal);

fn script(journal: &mut Journal) -> &mut ScriptProcess {
    journal.head.progress.as_mut().unwrap().script.as_mut().unwrap()
}

fn old(journal: &mut Journal) -> &mut Identity {
    journal.ops[0].old.as_mut().unwrap()
}

#[test]
fn the_truth_passes() {
    assert_eq!(checked(&truth()), Ok(()));
    let truths: [Lie; 9] = [
        |j| j.head.header.run = format!("{}-0000000000000000", u64::MAX >> 1),
        |j| j.archives[0].outside = Some(format!("/b/IDR-SUNWcsu-2/ACMEweb.2/undo.{RUN}.tmp")),
        |j| j.archives[0].discard = Some("/b/105181-05/ACMEweb/obsolete".to_owned()),
        |j| j.run_record.log = Some(at("/var/sadm/patchadm/log")),
        |j| j.ops[0].stage = "o/12.held.3".to_owned(),
        |j| j.ops[3].path = at("/var/sadm/patchadm/ledger/ACMEweb"),
        |j| j.ops[2].old = Some(directory("security.SMACK64")),
        |j| j.ops[2].old = Some(directory("system.posix_acl_default")),
        |j| (j.domains, j.ops, j.archives) = (Vec::new(), Vec::new(), Vec::new()),
    ];
    for (index, truth_too) in truths.iter().enumerate() {
        let mut journal = truth();
        truth_too(&mut journal);
        if index == 0 {
            // The stages then belong to another run.
            assert_eq!(head(&journal.head), Ok(()));
        } else {
            assert_eq!(checked(&journal), Ok(()), "{index}");
        }
    }
}

#[test]
fn a_lie_in_the_sectors_is_named_by_its_field() {
    let lies: [(&str, Lie); 19] = [
        ("version", |j| j.head.header.version = 0),
        ("run", |j| j.head.header.run = "../../../../tmp/17-9c1d6f20aa31b7e4".to_owned()),
        ("run", |j| j.head.header.run = "17-9C1D6F20AA31B7E4".to_owned()),
        ("run", |j| j.head.header.run = "+17-9c1d6f20aa31b7e4".to_owned()),
        ("run", |j| j.head.header.run = "017-9c1d6f20aa31b7e4".to_owned()),
        ("run", |j| j.head.header.run = "9223372036854775808-9c1d6f20aa31b7e4".to_owned()),
        ("run", |j| j.head.header.run = String::new()),
        ("root", |j| j.head.header.root = "0123456789abcde".to_owned()),
        ("root", |j| j.head.header.root = "0123456789ABCDEF".to_owned()),
        ("db", |j| j.head.header.db = 11),
        ("number", |j| j.head.progress.as_mut().unwrap().number = u64::MAX),
        ("group", |j| script(j).group = 0),
        ("group", |j| script(j).group = 1),
        ("group", |j| script(j).group = -4711),
        ("name", |j| script(j).name = "x".repeat(81)),
        ("boot_id", |j| script(j).boot_id = String::new()),
        ("boot_id", |j| script(j).boot_id = "../../../etc/hostname".to_owned()),
        ("boot_id", |j| script(j).boot_id = "0b7b6a05-43b3-4a2c-8f3b-9a1d5f1c2e6g".to_owned()),
        ("boot_id", |j| script(j).boot_id = "0b7b6a0543b34a2c8f3b9a1d5f1c2e60".to_owned()),
    ];
    must_be_found(&lies);
}

fn drop_of(journal: &mut Journal) -> &mut StoredFiles {
    journal.archives[0].drop.as_mut().unwrap()
}

#[test]
fn a_lie_about_places_is_named_by_its_field() {
    let lies: [(&str, Lie); 32] = [
        ("files", |j| j.archives[0].files = Some(vec!["0/../../etc/shadow".to_owned()])),
        ("files", |j| j.archives[0].files = Some(vec!["0/.hidden".to_owned()])),
        ("files", |j| j.archives[0].files = Some(vec!["3/17".to_owned()])),
        ("drop", |j| drop_of(j).directories.directories = vec!["/etc".to_owned()]),
        ("drop", |j| drop_of(j).directories.run = "4-00000000000000ab".to_owned()),
        ("drop", |j| drop_of(j).names = vec!["1/17".to_owned()]),
        ("stage", |j| j.domains[0].stage = at("/var/sadm/patchadm/stage/18-9c1d6f20aa31b7e4")),
        ("stage", |j| j.domains[0].stage = at("/home/mallory")),
        ("stage", |j| j.domains[0].stage = at("/")),
        ("stage", |j| j.domains[1].stage = at(&format!("/var/sadm/patchadm/stage/{RUN}"))),
        ("stage", |j| j.domains[1].stage = at(&format!("/opt/home/.patchadm/{RUN}"))),
        ("stage", |j| j.domains[1].stage = at("/opt/.patchadm")),
        ("stage", |j| j.domains[1].stage = at("/opt/web/bin")),
        ("stage", |j| j.domains[2].stage = at("/.patchadm-1-9c1d6f20aa31b7e4")),
        ("stage", |j| j.domains[2].stage = at(&format!("/home/.patchadm-{RUN}"))),
        ("path", |j| j.archives[0].path = Some(at("/etc/shadow"))),
        ("path", |j| j.archives[0].path = Some(at("/var/sadm/pkg/ACMEweb/save/105181-05/undo-1"))),
        ("staged", |j| j.archives[0].staged = Some(at("/etc/undo.gz"))),
        ("staged", |j| j.archives[0].staged = Some(at(&format!("/opt/.patchadm/{RUN}/db/shadow")))),
        ("outside", |j| j.archives[0].outside = Some("/etc/passwd".to_owned())),
        ("outside", |j| j.archives[0].outside = Some("/105181-05/ACMEweb/passwd".to_owned())),
        ("outside", |j| j.archives[0].outside = Some("/b/105181-05/ACMEweb/../../undo".to_owned())),
        ("outside", |j| j.archives[0].outside = Some("backup/105181-05/ACMEweb/undo".to_owned())),
        ("outside", |j| j.archives[0].outside = Some("/b/nobody/ACMEweb/undo".to_owned())),
        ("outside", |j| j.archives[0].outside = Some("/b/105181-05/a%20b/undo".to_owned())),
        ("outside", |j| j.archives[0].outside = Some("/b/105181-05/ACMEweb/undo.7.tmp".to_owned())),
        ("discard", |j| j.archives[0].discard = Some("/etc/passwd".to_owned())),
        ("discard", |j| j.archives[0].discard = Some("/b/105181-05/ACMEweb/undo.Z.gz".to_owned())),
        ("inode", |j| j.archives[0].inode.as_mut().unwrap().born.as_mut().unwrap().nanoseconds = u32::MAX),
        ("log", |j| j.run_record.log = Some(at("/etc/cron.d/log"))),
        ("log", |j| j.run_record.log = Some(at("/var/sadm/patch/a/b/105181-05/log"))),
        ("log", |j| j.run_record.others[0].log = Some(at("/root/.ssh/authorized_keys"))),
    ];
    must_be_found(&lies);
}

#[test]
fn a_lie_in_a_change_is_named_by_its_field() {
    let lies: [(&str, Lie); 26] = [
        ("stage", |j| j.ops[0].stage = "o/../../../../etc/passwd".to_owned()),
        ("stage", |j| j.ops[0].stage = "o/..".to_owned()),
        ("stage", |j| j.ops[0].stage = "o/".to_owned()),
        ("stage", |j| j.ops[0].stage = "marker".to_owned()),
        ("stage", |j| j.ops[0].stage = "../o/1".to_owned()),
        ("stage", |j| j.ops[0].stage = "o/o/1".to_owned()),
        ("stage", |j| j.ops[0].stage = "/etc/passwd".to_owned()),
        ("stage", |j| j.ops[0].stage = "o/.old".to_owned()),
        ("stage", |j| j.ops[1].stage = j.ops[2].stage.clone()),
        ("db", |j| j.ops[0].stage = "db/1".to_owned()),
        ("db", |j| j.ops[0].db = true),
        ("path", |j| j.ops[0].path = at("/opt/../opt".trim_end_matches("/../opt"))),
        ("path", |j| (j.ops[1].path, j.ops[1].domain) = (at("/var/sadm/patchadm/history"), 0)),
        ("path", |j| j.ops[3].path = at("/var/sadm/patchadm/journal")),
        ("path", |j| j.ops[3].path = at("/var/sadm/patchadm/ops-17-9c1d6f20aa31b7e4")),
        ("path", |j| j.ops[3].path = at(&format!("/var/sadm/patchadm/stage/{RUN}/marker"))),
        ("domain", |j| j.ops[0].domain = 3),
        ("domain", |j| j.ops[0].domain = usize::MAX),
        ("domain", |j| j.ops[0].path = at("/etc/passwd")),
        ("to", |j| j.ops[0].to = Some(at("/opt/x"))),
        ("to", |j| j.ops[3].to = None),
        ("to", |j| j.ops[3].to = Some(at("/var/sadm/patchadm/journal"))),
        ("to", |j| j.ops[3].to = Some(at("/"))),
        ("undo", |j| j.ops[0].undo = Some(Box::new((1, "x".to_owned())))),
        ("parent", |j| j.ops[0].parent.as_mut().unwrap().born.as_mut().unwrap().nanoseconds = 1_000_000_000),
        ("touched", |j| j.ops[0].touched.as_mut().unwrap().nanoseconds = 1_000_000_000),
    ];
    must_be_found(&lies[..11]);
    must_be_found(&lies[12..]);
    // A target is in the tree of its domain, never the top of it.
    let mut journal = truth();
    lies[11].1(&mut journal);
    assert!(checked(&journal).is_err());
}

#[test]
fn a_lie_in_an_identity_is_named_by_its_field() {
    let lies: [(&str, Lie); 18] = [
        ("file_type", |j| old(j).file_type = 'x'),
        ("mode", |j| old(j).mode = 0o10_0755),
        ("mode", |j| j.ops[0].new.as_mut().unwrap().mode = u32::MAX),
        ("uid", |j| old(j).uid = u32::MAX),
        ("gid", |j| j.ops[0].copy.as_mut().unwrap().gid = u32::MAX),
        ("mtime", |j| old(j).mtime.nanoseconds = 1_000_000_000),
        ("inode", |j| old(j).inode.born.as_mut().unwrap().nanoseconds = u32::MAX),
        ("b3", |j| old(j).b3 = Some("0".repeat(63).into())),
        ("b3", |j| old(j).b3 = Some("G".repeat(64).into())),
        ("new", |j| j.ops[1].new = None),
        ("new", |j| j.ops[1].old.as_mut().unwrap().inode.number = 99),
        ("new", |j| j.ops[1].old.as_mut().unwrap().b3 = Some("0".repeat(64).into())),
        ("new", |j| j.ops[1].old.as_mut().unwrap().file_type = 'd'),
        ("xattrs", |j| j.ops[2].old = Some(directory("security.capability"))),
        ("xattrs", |j| j.ops[2].old = Some(directory("security%2Ecapability"))),
        ("xattrs", |j| j.ops[2].old = Some(directory("security.ima"))),
        ("xattrs", |j| j.ops[2].old = Some(directory("trusted.overlay.redirect"))),
        ("xattrs", |j| {
            j.ops[1].old = Some(directory("security.capability"));
            j.ops[1].new = Some(Box::new(Identity { xattrs: None, ..*directory("") }));
        }),
    ];
    must_be_found(&lies);
}

fn must_be_found(lies: &[(&str, Lie)]) {
    for (index, (expected, lie)) in lies.iter().enumerate() {
        let mut journal = truth();
        lie(&mut journal);
        match checked(&journal) {
            Err(JournalError::Field { field, .. }) => assert_eq!(field, *expected, "{index}"),
            other => panic!("{index}, {expected}: {other:?}"),
        }
    }
}

#[test]
fn an_exchange_has_a_sealed_list_and_two_directories() {
    let exchange = || {
        let list = Some(Box::new("0".repeat(64).into()));
        let directories = Some(directory("user.x"));
        Op {
            list,
            old: directories.clone(),
            new: directories,
            domain: 1,
            ..change(OpKind::Tree, "/opt/web/tree", "o/tree.0")
        }
    };
    let with = |op: Op| {
        let mut journal = truth();
        journal.ops.push(op);
        checked(&journal)
    };
    with(exchange()).unwrap();
    let file = Some(object());
    for lie in [
        Op { list: None, ..exchange() },
        Op { list: Some(Box::new("x".to_owned().into())), ..exchange() },
        Op { old: file.clone(), ..exchange() },
        Op { new: None, ..exchange() },
        Op { stage: "o/7".to_owned(), ..exchange() },
        Op { kind: OpKind::Replace, ..exchange() },
    ] {
        let error = with(lie).unwrap_err();
        assert!(matches!(error, JournalError::Field { field: "list", .. }), "{error}");
    }
}

#[test]
fn objects_beside_our_own_files_may_be_changed_where_that_directory_is_a_link() {
    for (own, object, ours) in [("/", "/opt/a", "/journal"), ("/opt", "/opt/stages/a", "/opt/stage/o/1")] {
        let own = at(own);
        assert!(is_target(&at(object), false, Some(&own)), "{object}");
        assert!(!is_target(&at(ours), true, Some(&own)), "{ours}");
        assert!(!is_target(&own, true, Some(&own)), "{own:?}");
    }
}
