//! Commands that a script of a run starts, identified by `PATCHADM_RUN`, while the journal of that run is open.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::UNIX_EPOCH;

use patchadm_changeset::format::journal;
use patchadm_changeset::format::journal::{
    Domain, Identity, Journal, JournalEntry, JournalHeader, Op, OpKind,
};
use patchadm_rootfs::{Inode, Timestamp};
use patchadm_svr4::package::ObjectPath;

use crate::scenario::Scenario;

const RUN: &str = "7-00000000000000aa";
const STAGE: &str = "/var/sadm/patchadm/stage/7-00000000000000aa";
const PKGINFO: &str = "/var/sadm/pkg/ACMEweb/pkginfo";
const CONTENTS: &str = "/var/sadm/install/contents";
const TOOL: &str = "/opt/web/tool f none 0755 root root 6 542 981173106 ACMEweb\n";

fn path(text: &str) -> ObjectPath {
    ObjectPath::new(text.as_bytes()).unwrap()
}

/// The identity that the journal records for the file that is now at `at`.
fn identity(stage: &Scenario, at: &str) -> Identity {
    let metadata = fs::metadata(stage.at(at)).unwrap();
    let born = metadata.created().ok().map(|born| born.duration_since(UNIX_EPOCH).unwrap());
    let born = born.map(|born| Timestamp {
        seconds: i64::try_from(born.as_secs()).unwrap(),
        nanoseconds: born.subsec_nanos(),
    });
    Identity {
        file_type: 'f',
        mode: metadata.mode() & 0o7777,
        uid: metadata.uid(),
        gid: metadata.gid(),
        size: metadata.size(),
        mtime: Timestamp::whole(metadata.mtime()),
        inode: Inode { number: metadata.ino(), born },
        b3: None,
        target: None,
        xattrs: None,
    }
}

fn replaced(stage: &Scenario, at: &str, staged: &str) -> JournalEntry {
    JournalEntry::Op(Box::new(Op {
        kind: OpKind::Replace,
        path: path(at),
        to: None,
        domain: 0,
        stage: staged.to_owned(),
        parent: None,
        old: None,
        new: Some(Box::new(identity(stage, at))),
        copy: None,
        db: true,
        whole: false,
        undo: None,
        touched: None,
        editable: false,
        list: None,
    }))
}

/// A root whose run has switched the parameters of a package and `contents`, and waits for a script.
fn stage() -> Scenario {
    let stage = Scenario::new();
    let params = "NAME=Web\nARCH=all\nCATEGORY=application\n";
    stage.file(&format!("{STAGE}/db/0"), format!("{params}VERSION=1.0\nPATCHLIST=\n"));
    stage.file(PKGINFO, format!("{params}VERSION=1.1\nPATCHLIST=100-01\n"));
    stage.file(&format!("{STAGE}/db/1"), "# nothing is recorded\n");
    stage.file(CONTENTS, TOOL);
    stage.file("/opt/web/tool", "hello\n");
    stage.mode("/opt/web/tool", 0o755);
    let header = JournalHeader {
        version: journal::VERSION,
        run: RUN.to_owned(),
        command: "patchadd".to_owned(),
        root: "00112233445566ff".to_owned(),
        ..JournalHeader::default()
    };
    let domain = JournalEntry::Domain(Domain { top: path("/"), stage: path(STAGE), lacks: Vec::new() });
    let entries = [domain, replaced(&stage, PKGINFO, "db/0"), replaced(&stage, CONTENTS, "db/1")];
    stage.file("/var/sadm/patchadm/journal", Journal::to_files(header, &entries).unwrap().journal);
    stage
}

#[test]
fn a_script_sees_what_the_run_made_and_the_parameters_of_before() {
    let mut stage = stage();
    stage.set("PATCHADM_RUN", RUN);
    assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb VERSION PATCHLIST").ok(), "1.0\n\n");
    assert_eq!(stage.run("pkginfo -x -R @ROOT@").ok(), "ACMEweb  Web\n         (all) 1.0\n");
    assert_eq!(stage.run("showrev -p -R @ROOT@").ok(), "No patches are installed\n");
    assert_eq!(stage.run("patchadd -p -R @ROOT@").ok(), "No patches installed\n");
    assert_eq!(stage.run("pkgchk -L -R @ROOT@").ok(), TOOL);
    assert_eq!(stage.run("pkgchk -R @ROOT@ ACMEweb").ok(), "");
}

#[test]
fn anybody_else_sees_the_root_of_before_and_checks_nothing() {
    for run in [None, Some("6-00000000000000aa")] {
        let mut stage = stage();
        run.iter().for_each(|run| stage.set("PATCHADM_RUN", run));
        assert_eq!(stage.run("pkgparam -R @ROOT@ ACMEweb VERSION").ok(), "1.0\n");
        assert_eq!(stage.run("pkgchk -L -R @ROOT@").ok(), "");
        stage.run("pkgchk -R @ROOT@ ACMEweb").fails(65);
    }
}
