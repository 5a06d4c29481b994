//! Objects that lie in an undo directory come back themselves.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use super::world::{Files, RUN, World, at, member, new_object, package, publishes};
use crate::format::journal::{Journal, JournalArchive, RunOutcome, StoredFiles};
use crate::format::undo_files;
use crate::format::undo_files::StoredIdentity;
use crate::format::undo_files::UndoFiles;
use crate::plan::{Action, Body, Change, Plan, RecordChange, UndoFormat};
use crate::stored_file::StoredFile;
use crate::transaction::archive::stored_files::drop_stored_files;
use crate::transaction::{ContentSource, FileSink, RunWatch, StreamError, WantedFile};
use patchadm_rootfs::{ChangeCall, Digest, Door, Interrupt};
use patchadm_svr4::package::PackagePath;

const UNDO: &str = "var/sadm/patchadm/undo/1-00000000000000bb";

/// The files that are replaced, each with its path in the package.
const REPLACED: [(&str, &str); 2] = [("/opt/web/bin/httpd", "bin/httpd"), ("/opt/web/gone", "tree")];

/// The usual files, some of which lie in an undo directory.
struct Source {
    stored: BTreeMap<PackagePath, StoredFile>,
    /// How often other files were requested.
    streams: usize,
}

impl ContentSource for Source {
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        interrupt: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        self.streams += 1;
        Files.stream(wanted, interrupt, sink)
    }

    fn stored(&self, _: usize, path: &PackagePath) -> Option<&StoredFile> {
        self.stored.get(path)
    }
}

/// Puts the files into an undo directory, with these permissions.
fn source(world: &World, modes: [u32; 2]) -> Source {
    fs::create_dir_all(world.path(UNDO)).unwrap();
    let mut stored = BTreeMap::new();
    for (number, ((_, path), mode)) in REPLACED.into_iter().zip(modes).enumerate() {
        let (name, place) = (number.to_string(), world.path(&format!("{UNDO}/{number}")));
        fs::write(&place, path).unwrap();
        fs::File::open(&place)
            .unwrap()
            .set_modified(UNIX_EPOCH + Duration::from_secs(1_600_000_000))
            .unwrap();
        fs::set_permissions(&place, Permissions::from_mode(mode)).unwrap();
        let path = PackagePath::new(path.as_bytes()).unwrap();
        stored.insert(path, StoredFile { directory: at(&format!("/{UNDO}")), name });
    }
    Source { stored, streams: 0 }
}

/// Returns a plan that replaces the files and does nothing else.
fn plan(world: &World) -> Plan {
    let replacement = |(path, inside): (&str, &str)| {
        let mut body = member(inside);
        if let Body::Member(member) = &mut body {
            member.b3 = Some(Box::new(Digest::of(inside.as_bytes())));
        }
        let (old, action) = (world.live(path).map(Box::new), Action::Replace(new_object(body, 0o755)));
        Box::new(Change { package: package(), path: at(path), action, old })
    };
    let changes = REPLACED.into_iter().map(replacement).collect();
    let (contents, records, undo) = (BTreeMap::new(), Vec::new(), Vec::new());
    Plan { changes, records, contents, undo, ..world.plan() }
}

/// Runs the plan with stored files that have these permissions. Returns how often the source was asked for files, and
/// whether each file came back itself.
fn run(modes: [u32; 2]) -> (usize, [bool; 2]) {
    let world = World::new();
    let mut source = source(&world, modes);
    let watch = RunWatch { interrupt: &|| None, progress: &|_| {} };
    world.run_from(&mut source, &plan(&world), Door::default(), watch).unwrap();
    let inode = |path: &str| fs::symlink_metadata(world.path(path)).unwrap().ino();
    let are_themselves = [0, 1].map(|number| {
        let (path, inside) = REPLACED[number];
        assert_eq!(fs::read_to_string(world.path(&path[1..])).unwrap(), inside);
        inode(&path[1..]) == inode(&format!("{UNDO}/{number}"))
    });
    (source.streams, are_themselves)
}

#[test]
fn a_run_that_stages_only_links_reads_no_source_and_so_starts_no_threads_that_write() {
    assert_eq!(run([0o755, 0o755]), (0, [true, true]));
    assert_eq!(run([0o755, 0o700]), (1, [true, false]), "a file that must be copied is read");
}

#[test]
fn what_is_written_to_a_stored_file_around_the_commit_does_not_fit_its_identity() {
    for is_late in [false, true] {
        let world = World::new();
        let mut plan = world.plan();
        plan.undo[0].format = UndoFormat::Files;
        for record in &mut plan.records {
            if let RecordChange::AddTree { files, .. } = record {
                files.iter_mut().filter(|file| file.name == b"undo.gz").for_each(|file| {
                    file.name = b"undo.files".to_vec();
                });
            }
        }
        let staged = world.path(&format!("var/sadm/patchadm/stage/{RUN}/o"));
        let has_old_bytes = move |path: &PathBuf| fs::read(path).is_ok_and(|bytes| bytes == b"gone\n");
        let find = move |directory: &PathBuf| {
            let files = fs::read_dir(directory).into_iter().flatten().map(|entry| entry.unwrap().path());
            files.into_iter().find(has_old_bytes)
        };
        let (is_published, directory) = (AtomicBool::new(false), staged.clone());
        let door = Door::watched(move |step| {
            is_published.fetch_or(publishes(step), Ordering::Relaxed);
            // After the switch the journal alone is synced.
            let is_commit = step.call == ChangeCall::Sync && is_published.load(Ordering::Relaxed);
            if is_commit
                && is_late
                && let Some(old) = find(&directory)
            {
                let mut file = fs::OpenOptions::new().write(true).open(old).unwrap();
                file.write_all(b"GONE").unwrap();
            }
            Ok(())
        });
        world.run_plan(&plan, door, &|| None).unwrap();
        let undo = world.path(&format!("var/sadm/patchadm/undo/{RUN}"));
        let noted = undo_files::parse_identities(&fs::read(undo.join("identities")).unwrap(), RUN);
        let journal = world.journal();
        let op = journal.ops.iter().find(|op| op.path == at("/opt/web/gone")).unwrap();
        let name = op.stage.strip_prefix("o/").unwrap();
        let text = fs::read_to_string(undo.join(name)).unwrap();
        assert_eq!(text, if is_late { "GONE\n" } else { "gone\n" });
        let root = world.root(Door::default());
        let dir = root.dir(&at(&format!("/var/sadm/patchadm/undo/{RUN}"))).unwrap();
        let seen = StoredIdentity::of(&dir.look(name.as_bytes()).unwrap().unwrap());
        assert_eq!(noted[name] == seen, !is_late);
    }
}

#[test]
fn a_directory_that_archives_of_one_run_share_is_made_durable_once() {
    let world = World::new();
    world.run(Door::default()).unwrap();
    fs::create_dir_all(world.path(UNDO)).unwrap();
    (0..5).for_each(|number| fs::write(world.path(&format!("{UNDO}/{number}")), "old\n").unwrap());
    let directories =
        UndoFiles { run: "1-00000000000000bb".to_owned(), directories: vec![format!("/{UNDO}")] };
    let dropped = |number| JournalArchive {
        drop: Some(StoredFiles { directories: directories.clone(), names: vec![format!("0/{number}")] }),
        ..JournalArchive::default()
    };
    let journal = Journal { archives: (0..3).map(dropped).collect(), ..world.journal() };
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = syncs.clone();
    let door = Door::watched(move |step| {
        counted.fetch_add((step.call == ChangeCall::Sync).into(), Ordering::Relaxed);
        Ok(())
    });
    let unremoved = drop_stored_files(&world.root(door), &journal, RunOutcome::Commit, &[]);
    let mut left: Vec<_> =
        fs::read_dir(world.path(UNDO)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!((unremoved.notes, syncs.load(Ordering::Relaxed)), (Vec::<String>::new(), 1));
    assert_eq!(left, ["3", "4"]);
}
