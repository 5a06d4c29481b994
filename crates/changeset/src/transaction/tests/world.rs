//! A small root, a plan that makes every possible kind of change to it, and pictures of it to compare.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use rustix::fs::{XattrFlags, getxattr, setxattr};
use tempfile::TempDir;

use crate::format::contents_merge::{ContentsEdits, ContentsTrailer};
use crate::format::journal::{
    Journal, JournalEntry as JournalLine, JournalFiles, RunRecord, done_sector, outcome_sector, parse_head,
    progress_sector,
};
use crate::format::manifest::{ManifestHeader, ObjectRecord, RecordedState, UndoManifest, encode};
use crate::plan::{
    Action, AttributeChange, Body, Change, Member, NewObject, NewXattrs, Plan, RecordChange, TreeContent,
    TreeFile, UndoArchive, UndoFormat, UndoPlace,
};
use crate::transaction::ContentSource;
use crate::transaction::FileSink;
use crate::transaction::Receipt;
use crate::transaction::RunSettings;
use crate::transaction::RunWatch;
use crate::transaction::StreamError;
use crate::transaction::TransactionError;
use crate::transaction::WantedFile;
use crate::transaction::recover;
use crate::transaction::run_plan;
use patchadm_rootfs::{CAPABILITY, ChangeCall, Door, Interrupt, Lock, Root, RootChange};
use patchadm_rootfs::{Live, LiveKind, Timestamp};
use patchadm_svr4::format::params;
use patchadm_svr4::format::pkgmap::PkgmapEntry;
use patchadm_svr4::package::checksum;
use patchadm_svr4::package::{ContentsLine, Ftype, Mode, Object, ObjectPath, PackagePath, Params, PkgInst};
use patchadm_testing::in_memory::directory;

/// A number of files large enough to trigger optional steps of a run.
pub(super) const MANY: usize = 40;

pub(super) const RUN: &str = "1-00000000000000aa";

/// A root on the disk, removed when dropped.
pub(super) struct World {
    dir: TempDir,
    /// The directories that runs exchange.
    exchanges: std::cell::RefCell<Vec<ObjectPath>>,
}

pub(super) fn at(path: &str) -> ObjectPath {
    ObjectPath::new(path.as_bytes()).unwrap()
}

pub(super) fn package() -> PkgInst {
    PkgInst::new("ACMEweb").unwrap()
}

const CONTENTS: &str = "\
/opt/web d none 0755 root root ACMEweb
/opt/web/bin d none 0755 root root ACMEweb
/opt/web/bin/httpd f none 0755 root root 9 886 1577836800 ACMEweb
/opt/web/gone f none 0644 root root 5 434 1577836800 ACMEweb
# Last modified by pkgadd for ACMEweb package
# Fri Nov 20 06:37:39 2026
";

/// `cap_net_raw=ep`, as the kernel has it.
const NET_RAW: [u8; 20] = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

impl World {
    pub(super) fn new() -> Self {
        let world = Self { dir: directory(), exchanges: std::cell::RefCell::default() };
        for dir in [
            "var/sadm/install",
            "var/sadm/pkg/ACMEweb",
            "opt/web/bin",
            "opt/web/tree/sub",
            "opt/web/empty",
            "opt/web/kept",
        ] {
            fs::create_dir_all(world.path(dir)).unwrap();
        }
        world.file("var/sadm/install/contents", CONTENTS);
        world.file("var/sadm/pkg/ACMEweb/pkginfo", "PKG=ACMEweb\nVERSION=1\n");
        world.file("opt/web/bin/httpd", "old httpd");
        world.file("opt/web/gone", "gone\n");
        world.file("opt/web/staying", "setuid\n");
        fs::set_permissions(world.path("opt/web/staying"), fs::Permissions::from_mode(0o4755)).unwrap();
        // Root gives it another group, which clears a capability.
        let _ = setxattr(world.path("opt/web/staying"), CAPABILITY, &NET_RAW, XattrFlags::empty());
        world.file("opt/web/flat", "a file\n");
        world.file("opt/web/kept/one", "kept\n");
        fs::hard_link(world.path("opt/web/kept/one"), world.path("opt/web/kept/two")).unwrap();
        world.file("opt/web/tree/sub/leaf", "leaf\n");
        symlink("libw.so.1", world.path("opt/web/libw.so")).unwrap();
        fs::set_permissions(world.path("opt/web/bin/httpd"), fs::Permissions::from_mode(0o4755)).unwrap();
        world
    }

    /// Lets all runs exchange these directories, or be refused.
    pub(super) fn exchange(&self, directories: &[&str]) {
        *self.exchanges.borrow_mut() = directories.iter().map(|path| at(path)).collect();
    }

    pub(super) fn path(&self, relative: &str) -> PathBuf {
        self.dir.path().join(relative)
    }

    pub(super) fn file(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
        let time = fs::File::open(self.path(path)).unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::new(1_577_836_800, 123_456_789);
        time.set_modified(old).unwrap();
    }

    pub(super) fn root(&self, door: Door) -> Root {
        Root::open_with(self.dir.path(), door).unwrap()
    }

    /// Returns the journal, from both of its files.
    pub(super) fn journal(&self) -> Journal {
        let bytes = fs::read(self.path("var/sadm/patchadm/journal")).unwrap();
        let run = parse_head(&bytes).unwrap().header.run;
        let ops = fs::read(self.path(&format!("var/sadm/patchadm/ops-{run}"))).ok();
        Journal::parse(&bytes, ops.as_deref()).unwrap()
    }

    /// Replaces the journal by another one, with all checksums right.
    pub(super) fn rewrite(&self, lie: impl FnOnce(&mut Journal)) {
        let mut journal = self.journal();
        lie(&mut journal);
        let ops = format!("var/sadm/patchadm/ops-{}", journal.head.header.run);
        let files = files_of(journal);
        fs::write(self.path(&ops), files.ops).unwrap();
        fs::write(self.path("var/sadm/patchadm/journal"), files.journal).unwrap();
    }

    pub(super) fn live(&self, path: &str) -> Option<Live> {
        let root = self.root(Door::default());
        let path = at(path);
        root.dir_if_there(&path.parent().unwrap()).unwrap()?.live(path.name()).unwrap()
    }

    /// Returns everything except directory times and our own files: the state that a backout or rollback must restore.
    pub(super) fn picture(&self) -> BTreeMap<String, String> {
        let mut picture = BTreeMap::new();
        self.look(self.dir.path(), &mut picture);
        picture
    }

    fn look(&self, dir: &Path, picture: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(self.dir.path()).unwrap().display().to_string();
            if ["var/sadm/patchadm", "var/sadm/install/.lockfile"].contains(&name.as_str()) {
                continue;
            }
            let meta = path.symlink_metadata().unwrap();
            let body = if meta.is_symlink() {
                format!("-> {}", fs::read_link(&path).unwrap().display())
            } else if meta.is_dir() {
                self.look(&path, picture);
                String::new()
            } else {
                let bytes = fs::read(&path).unwrap();
                let shown =
                    if name.contains("undo") { "(archive)".into() } else { String::from_utf8_lossy(&bytes) };
                let time = if name.contains("var/") { 0 } else { meta.mtime_nsec() };
                let mut capability = [0; 64];
                let capability = getxattr(&path, CAPABILITY, &mut capability[..])
                    .map(|length| format!("{:?}", &capability[..length]))
                    .unwrap_or_default();
                format!("{shown:?} {time}{capability}")
            };
            picture.insert(name, format!("{:o} {}:{} {body}", meta.mode(), meta.uid(), meta.gid()));
        }
    }

    /// Runs the plan; the door may stop it anywhere.
    pub(super) fn run(&self, door: Door) -> Result<Receipt, TransactionError> {
        self.run_plan(&self.plan(), door, &|| None)
    }

    pub(super) fn run_plan(
        &self,
        plan: &Plan,
        door: Door,
        interrupt: &(dyn Fn() -> Option<i32> + Sync),
    ) -> Result<Receipt, TransactionError> {
        self.run_watched(plan, door, RunWatch { interrupt, progress: &|_| {} })
    }

    pub(super) fn run_watched(
        &self,
        plan: &Plan,
        door: Door,
        watch: RunWatch<'_>,
    ) -> Result<Receipt, TransactionError> {
        self.run_from(&mut Files, plan, door, watch)
    }

    /// Does the same with files from another source.
    pub(super) fn run_from(
        &self,
        source: &mut dyn ContentSource,
        plan: &Plan,
        door: Door,
        watch: RunWatch<'_>,
    ) -> Result<Receipt, TransactionError> {
        let root = self.root(door);
        let lock = Lock::take(&root, "patchadd", in_a_moment).unwrap();
        let run_record = RunRecord {
            command: "patchadd".to_owned(),
            patches: vec!["100-01".to_owned()],
            log: Some(at("/var/sadm/patch/100-01/log")),
            text: "Patch 100-01 has been successfully installed.\n".to_owned(),
            ..RunRecord::default()
        };
        let exchanges: &[ObjectPath] = &self.exchanges.borrow();
        let settings = RunSettings {
            run_record: &run_record,
            marker: "0123456789abcdef",
            exchanges,
            nonce: 0xaa,
            watch,
            elapsed: &|| 7,
            ledgers: &super::NoLedgers,
            before_publishing: &|_| Ok(()),
            when_switched: &|_| Ok(()),
        };
        run_plan(&root, &lock, plan, settings, source)
    }

    /// Recovers, as the next command does before anything else.
    pub(super) fn recover(&self) -> crate::transaction::Recovered {
        self.recover_with(Door::default())
    }

    pub(super) fn recover_with(&self, door: Door) -> crate::transaction::Recovered {
        let root = self.root(door);
        let lock = Lock::take(&root, "recover", in_a_moment).unwrap();
        recover(&root, &lock).unwrap()
    }

    /// Returns a plan with a replacement, an addition, a deletion, a symbolic link that is retargeted, a hard link, a
    /// new directory, a directory that becomes a file and a file that becomes a directory, new attributes, records.
    pub(super) fn plan(&self) -> Plan {
        let directory = AttributeChange { mode: Some(Mode::of(0o700)), ..AttributeChange::default() };
        let staying = AttributeChange {
            mode: Some(Mode::of(0o4750)),
            gid: rustix::process::geteuid().is_root().then_some(54321),
            ..AttributeChange::default()
        };
        let changes = [
            ("/opt/web/bin", Action::Attributes(directory)),
            ("/opt/web/bin/httpd", Action::Replace(new_object(member("bin/httpd"), 0o755))),
            ("/opt/web/bin/httpd2", Action::Add(new_object(Body::Link(at("/opt/web/bin/httpd")), 0o755))),
            ("/opt/web/empty", Action::RemoveDirectory),
            ("/opt/web/flat", Action::Replace(new_object(Body::Directory, 0o755))),
            ("/opt/web/flat/leaf", Action::Add(new_object(member("flat/leaf"), 0o640))),
            ("/opt/web/gone", Action::Delete),
            ("/opt/web/libw.so", Action::Replace(new_object(Body::Symlink(b"libw.so.2".to_vec()), 0o777))),
            ("/opt/web/new", Action::Add(new_object(Body::Directory, 0o755))),
            ("/opt/web/new/tool", Action::Add(new_object(member("new/tool"), 0o755))),
            ("/opt/web/staying", Action::Attributes(staying)),
            ("/opt/web/tree", Action::Replace(new_object(member("tree"), 0o644))),
        ];
        let changes: Vec<Box<Change>> = changes
            .into_iter()
            .map(|(path, action)| {
                let old = self.live(path).map(Box::new);
                Box::new(Change { package: package(), path: at(path), action, old })
            })
            .collect();
        Plan {
            command: "patchadd",
            patches: vec!["100-01".to_owned()],
            packages: vec![package()],
            records: records(),
            contents: contents(),
            trailer: trailer(),
            undo: vec![self.undo(&changes)],
            changes,
            versions: Vec::new(),
            space: Vec::new(),
            discard: Vec::new(),
            signature: None,
            merges: Vec::new(),
            direction: crate::plan::Direction::Forward,
            notes: Vec::new(),
        }
    }

    fn undo(&self, changes: &[Box<Change>]) -> UndoArchive {
        let mut saved = Vec::new();
        let mut objects = Vec::new();
        for path in ["/opt/web/bin/httpd", "/opt/web/gone", "/opt/web/flat", "/opt/web/tree/sub/leaf"] {
            let live = self.live(path).unwrap();
            let mut object = Object::new(Ftype::File, "none");
            if let LiveKind::Regular { size, cksum, .. } = live.kind {
                object.content.size = Some(size);
                object.content.cksum = Some(cksum);
                object.content.mtime = Some(live.mtime.seconds);
            }
            let inside = PackagePath::new(&path.as_bytes()["/opt/web/".len()..]).unwrap();
            saved.push((PkgmapEntry { part: 1, path: inside, object }, at(path)));
        }
        for change in changes.iter().filter(|change| change.old.is_some()) {
            objects.push(ObjectRecord {
                path: encode(change.path.as_bytes()),
                was: change.old.as_deref().map(RecordedState::of),
                line: None,
                became: None,
                new_line: None,
                kept: false,
                delivered: false,
                member: None,
                shlib: None,
                file: None,
            });
        }
        let header = ManifestHeader::of("100-01", "ACMEweb", "0123456789abcdef");
        UndoArchive {
            package: package(),
            patch: "100-01".to_owned(),
            pkginfo: Params::from_iter([("PKG", "ACMEweb"), ("ACTIVE_PATCH", "100-01")]),
            saved,
            passing: BTreeMap::new(),
            deletes: vec![PackagePath::new(b"new/tool").unwrap()],
            scripts: BTreeMap::new(),
            records: BTreeMap::new(),
            kept_records: BTreeMap::new(),
            manifest: UndoManifest { header, objects, shlibs: Vec::new() },
            format: UndoFormat::Gzip,
            place: UndoPlace::Save,
        }
    }
}

/// Tells whether a change gives the journal its name.
pub(super) fn publishes(step: &RootChange<'_>) -> bool {
    step.call == ChangeCall::Rename && *step.path == at("/var/sadm/patchadm/journal.new")
}

/// Returns the two files of a journal with its sectors.
pub(super) fn files_of(journal: Journal) -> JournalFiles {
    let Journal { head, domains, archives, run_record, ops, .. } = journal;
    let mut entries: Vec<JournalLine> = domains.into_iter().map(JournalLine::Domain).collect();
    entries.extend(archives.into_iter().map(|archive| JournalLine::Archive(Box::new(archive))));
    entries.push(JournalLine::RunRecord(Box::new(run_record)));
    entries.extend(ops.into_iter().map(|op| JournalLine::Op(Box::new(op))));
    let mut files = Journal::to_files(head.header, &entries).unwrap();
    let outcome = head.outcome.map(outcome_sector);
    let progress = head.progress.as_ref().map(progress_sector);
    let done = head.done.then(|| done_sector(head.is_unsynced));
    for (sector, offset) in [outcome, progress, done].into_iter().flatten() {
        let offset = usize::try_from(offset).unwrap();
        files.journal[offset..offset + sector.len()].copy_from_slice(&sector);
    }
    files
}

/// A process that another test starts holds our descriptors until it executes its program: then the lock is free again.
pub(super) fn in_a_moment(_: &patchadm_rootfs::LockHolder) -> bool {
    std::thread::sleep(std::time::Duration::from_millis(2));
    true
}

/// The content of every file of the patch is its own path.
pub(super) struct Files;

impl ContentSource for Files {
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        _: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        let paths = ["bin/httpd", "flat/leaf", "new/tool", "tree"].map(str::to_owned);
        for path in paths.into_iter().chain((0..MANY).map(one_of_many)) {
            let path = PackagePath::new(path.as_bytes()).unwrap();
            if wanted(0, &path) {
                sink(0, &path, &mut path.as_bytes()).map_err(StreamError::Sink)?;
            }
        }
        Ok(())
    }
}

/// Returns the path in the package of one of [`MANY`] files.
pub(super) fn one_of_many(number: usize) -> String {
    format!("bin/many{number:02}")
}

/// Returns a delivered object of the caller.
pub(super) fn new_object(body: Body, mode: u32) -> NewObject {
    NewObject {
        body,
        mode: Mode::of(mode),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime: Some(Timestamp::whole(1_600_000_000)),
        xattrs: NewXattrs::Inherited,
    }
}

/// Returns a file of the package whose content is its own path.
pub(super) fn member(path: &str) -> Body {
    Body::Member(Member {
        package: 0,
        path: PackagePath::new(path.as_bytes()).unwrap(),
        size: path.len() as u64,
        cksum: checksum::sum(path.as_bytes()),
        b3: None,
    })
}

fn records() -> Vec<RecordChange> {
    let pkginfo = params::write(&Params::from_iter([("PKG", "ACMEweb"), ("PATCHLIST", "100-01")]));
    let tree = |name: &str, content| TreeFile {
        name: name.as_bytes().to_vec(),
        content,
        mode: Mode::of(0o644),
        mtime: None,
    };
    vec![
        RecordChange::Write {
            path: at("/var/sadm/pkg/ACMEweb/pkginfo"),
            bytes: pkginfo,
            mode: Mode::of(0o644),
            mtime: None,
        },
        RecordChange::AddTree {
            path: at("/var/sadm/pkg/ACMEweb/save/100-01"),
            files: vec![tree("undo.gz", TreeContent::Undo(0))],
        },
        RecordChange::AddTree {
            path: at("/var/sadm/patch/100-01"),
            files: vec![tree("README.100-01", TreeContent::Bytes(b"read me\n".to_vec()))],
        },
    ]
}

fn contents() -> ContentsEdits {
    let line = |text: &str| Some(Box::new(ContentsLine::parse(text.as_bytes()).unwrap()));
    BTreeMap::from([
        (at("/opt/web/gone"), None),
        (at("/opt/web/bin/httpd"), line("/opt/web/bin/httpd f none 0755 root root 9 913 1600000000 ACMEweb")),
        (at("/opt/web/new"), line("/opt/web/new d none 0755 root root ACMEweb")),
    ])
}

fn trailer() -> ContentsTrailer {
    let when = chrono::NaiveDate::from_ymd_opt(2026, 11, 20).unwrap().and_hms_opt(6, 37, 39).unwrap();
    ContentsTrailer { program: "pkgadd".to_owned(), package: package(), when }
}
