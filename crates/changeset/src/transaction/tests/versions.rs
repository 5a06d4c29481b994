//! An object that one patch of a run delivers and a later one replaces is in the undo archive of the later one, and
//! nowhere else when the run is over. A version that does not match its pkgmap ends the run before anything is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use rustix::io::Errno;

use super::super::ContentSource;
use super::super::FileSink;
use super::super::Phase;
use super::super::RunWatch;
use super::super::StreamError;
use super::super::WantedFile;
use super::ground::Ground;
use super::world::{World, at, package};
use crate::format::run::Run;
use crate::plan::{Member, Plan, ReplacedVersion};
use crate::transaction::error::Cause;
use crate::transaction::stage::domains::OpenDomains;
use crate::transaction::stage::staged_versions::StagedVersions;
use patchadm_rootfs::Digest;
use patchadm_rootfs::{ChangeCall, Door, Interrupt, Root};
use patchadm_svr4::package::{ObjectPath, PackagePath, PkgInst, checksum};

const CALM: RunWatch<'_> = RunWatch { interrupt: &|| None, progress: &|_| {} };

/// A source: the package, path and byte reader of each file.
type Sources = Vec<(usize, &'static str, Box<dyn Read>)>;

impl ContentSource for Sources {
    fn stream(
        &mut self,
        wanted: &WantedFile<'_>,
        _: Interrupt<'_>,
        sink: &mut FileSink<'_>,
    ) -> Result<(), StreamError> {
        for (package, path, bytes) in self {
            let path = PackagePath::new(path.as_bytes()).unwrap();
            if wanted(*package, &path) {
                sink(*package, &path, bytes).map_err(StreamError::Sink)?;
            }
        }
        Ok(())
    }
}

fn source(files: &[(usize, &'static str, &'static str)]) -> Sources {
    let file = |&(package, path, text): &(_, _, &'static str)| -> (usize, &'static str, Box<dyn Read>) {
        (package, path, Box::new(text.as_bytes()))
    };
    files.iter().map(file).collect()
}

fn version(package: usize, name: &str, path: &str, text: &str) -> ReplacedVersion {
    let member = Member {
        package,
        path: PackagePath::new(path.as_bytes()).unwrap(),
        size: text.len() as u64,
        cksum: checksum::sum(text.as_bytes()),
        b3: None,
    };
    ReplacedVersion { package: PkgInst::new(name).unwrap(), path: at(&format!("/opt/web/{path}")), member }
}

/// A world in which a run has begun, and a plan with versions only.
struct Begun {
    world: World,
    root: Root,
    domains: OpenDomains,
    plan: Plan,
}

impl Begun {
    fn new(versions: Vec<ReplacedVersion>, door: Door) -> Self {
        let world = World::new();
        let root = world.root(door);
        let domains = OpenDomains::begin(&root, &Run { number: 1, nonce: 0xaa }, &[]).unwrap();
        let plan = Plan { versions, ..world.plan() };
        Self { world, root, domains, plan }
    }

    fn stage(&self, mut content: Sources) -> Result<StagedVersions, Cause> {
        StagedVersions::stage(&self.root, &self.domains, &self.plan, &mut content, CALM)
    }

    /// Returns the names in the stage of the first domain.
    fn staged(&self) -> Vec<String> {
        let names = self.domains.get(0).unwrap().objects.names().unwrap();
        names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect()
    }

    /// Returns why `content` is refused.
    fn refusal(versions: &[ReplacedVersion], content: Sources) -> String {
        let begun = Self::new(versions.to_vec(), Door::default());
        let shown = begun.world.path("").display().to_string();
        begun.stage(content).unwrap_err().to_string().replace(shown.trim_end_matches('/'), "")
    }
}

/// Returns the bytes of the version that an archive finds at a path.
fn bytes_at(versions: &StagedVersions, passing: &BTreeMap<ObjectPath, Option<usize>>, path: &str) -> Vec<u8> {
    let (dir, name) = versions.find(passing, &at(path)).unwrap().unwrap();
    dir.read(&name, 1000).unwrap().unwrap()
}

#[test]
fn every_version_is_found_by_the_word_of_its_archive_until_all_are_removed() {
    let of_two_packages =
        vec![version(0, "ACMEweb", "bin/httpd", "first"), version(1, "ACMEdoc", "bin/httpd", "second one")];
    let begun = Begun::new(of_two_packages, Door::default());
    let content = source(&[
        (1, "bin/httpd", "second one"),
        (1, "other", "not wanted"),
        (0, "bin/httpd", "first"),
        (0, "bin/httpd", "the same name once more is passed over"),
    ]);
    let versions = begun.stage(content).unwrap();
    assert_eq!(begun.staged(), ["version-0", "version-1"]);
    let passing = |number| BTreeMap::from([(at("/opt/web/bin/httpd"), number)]);
    assert_eq!(bytes_at(&versions, &passing(Some(0)), "/opt/web/bin/httpd"), b"first");
    assert_eq!(bytes_at(&versions, &passing(Some(1)), "/opt/web/bin/httpd"), b"second one");
    assert!(versions.find(&passing(Some(1)), &at("/opt/web/gone")).unwrap().is_none(), "an old object");
    let without_number = versions.find(&passing(None), &at("/opt/web/bin/httpd")).unwrap_err();
    assert!(matches!(without_number, Cause::Internal(_)), "{without_number}");
    versions.remove_except(&BTreeSet::new()).unwrap();
    assert_eq!(begun.staged(), [""; 0]);
}

#[test]
fn a_run_without_versions_reads_no_source_and_stages_none() {
    struct Untouchable;
    impl ContentSource for Untouchable {
        fn stream(
            &mut self,
            _: &WantedFile<'_>,
            _: Interrupt<'_>,
            _: &mut FileSink<'_>,
        ) -> Result<(), StreamError> {
            panic!("the source was read")
        }
    }
    let begun = Begun::new(Vec::new(), Door::default());
    let versions =
        StagedVersions::stage(&begun.root, &begun.domains, &begun.plan, &mut Untouchable, CALM).unwrap();
    assert!(versions.find(&BTreeMap::new(), &at("/opt/web/gone")).unwrap().is_none());
    let passing = BTreeMap::from([(at("/opt/web/gone"), Some(0))]);
    let error = versions.find(&passing, &at("/opt/web/gone")).unwrap_err().to_string();
    assert!(error.contains("the version of /opt/web/gone that is to be saved is not staged"), "{error}");
    versions.remove_except(&BTreeSet::new()).unwrap();
}

#[test]
fn a_version_that_is_not_what_was_planned_is_refused_with_its_package_and_path() {
    struct Broken;
    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the medium is damaged"))
        }
    }
    let planned = [version(0, "ACMEweb", "bin/httpd", "bytes")];
    let told = |text| Begun::refusal(&planned, source(&[(0, "bin/httpd", text)]));
    let short = told("byte");
    assert!(short.contains("/opt/web/bin/httpd: file size <5> expected <4> actual"), "{short}");
    assert!(short.contains("ACMEweb"), "{short}");
    assert!(told("bytes and more").contains("file size <5> expected <6> actual"));
    assert!(told("bytez").contains("file cksum <551> expected <558> actual"), "{}", told("bytez"));

    let endless: Sources = vec![(0, "bin/httpd", Box::new(io::repeat(b'x')))];
    assert!(Begun::refusal(&planned, endless).contains("file size <5> expected <6> actual"));
    let damaged: Sources = vec![(0, "bin/httpd", Box::new(Broken))];
    assert!(Begun::refusal(&planned, damaged).contains("/opt/web/bin/httpd: the medium is damaged"));

    let mut known = planned.clone();
    known[0].member.b3 = Some(Box::new(Digest([7; 32])));
    let other = Begun::refusal(&known, source(&[(0, "bin/httpd", "bytes")]));
    assert!(other.contains("it has changed since the run was planned"), "{other}");
}

#[test]
fn a_version_that_the_source_does_not_have_is_missing() {
    let planned = vec![version(0, "ACMEweb", "bin/httpd", "bytes"), version(0, "ACMEweb", "gone", "gone")];
    let begun = Begun::new(planned, Door::default());
    let error = begun.stage(source(&[(0, "bin/httpd", "bytes"), (1, "gone", "gone")])).unwrap_err();
    let Cause::Missing { package, path } = &error else { panic!("{error}") };
    assert_eq!((package.as_str(), path.ends_with("/opt/web/gone")), ("ACMEweb", true), "{path}");
}

#[test]
fn what_the_source_says_of_itself_is_passed_on() {
    struct Torn;
    impl ContentSource for Torn {
        fn stream(
            &mut self,
            _: &WantedFile<'_>,
            _: Interrupt<'_>,
            _: &mut FileSink<'_>,
        ) -> Result<(), StreamError> {
            Err(StreamError::Source("the archive is torn".into()))
        }
    }
    let begun = Begun::new(vec![version(0, "ACMEweb", "bin/httpd", "bytes")], Door::default());
    let error = StagedVersions::stage(&begun.root, &begun.domains, &begun.plan, &mut Torn, CALM).unwrap_err();
    assert!(matches!(&error, Cause::Source(why) if why.to_string() == "the archive is torn"), "{error}");
    let watch = RunWatch { interrupt: &|| Some(2), ..CALM };
    let error =
        StagedVersions::stage(&begun.root, &begun.domains, &begun.plan, &mut Torn, watch).unwrap_err();
    assert!(matches!(error, Cause::Interrupted(2)), "a signal is the reason: {error}");
}

#[test]
fn a_full_disk_is_no_fault_of_the_package() {
    for call in [ChangeCall::Create, ChangeCall::Allocate, ChangeCall::Write] {
        let door = Door::watched(move |step| {
            let is_version = step.path.name().starts_with(b"version-");
            if is_version && step.call == call { Err(Errno::NOSPC) } else { Ok(()) }
        });
        let begun = Begun::new(vec![version(0, "ACMEweb", "bin/httpd", "bytes")], door);
        let error = begun.stage(source(&[(0, "bin/httpd", "bytes")])).unwrap_err();
        assert!(matches!(&error, Cause::Root(error) if error.is_no_space()), "{call:?}: {error}");
    }
}

#[test]
fn a_signal_ends_the_staging_before_the_next_version() {
    let planned = vec![version(0, "ACMEweb", "a", "a"), version(0, "ACMEweb", "b", "b")];
    let begun = Begun::new(planned, Door::default());
    let asked = AtomicU32::new(0);
    let interrupt = || (asked.fetch_add(1, Ordering::Relaxed) >= 1).then_some(15);
    let watch = RunWatch { interrupt: &interrupt, progress: &|_| {} };
    let mut content = source(&[(0, "a", "a"), (0, "b", "b")]);
    let error =
        StagedVersions::stage(&begun.root, &begun.domains, &begun.plan, &mut content, watch).unwrap_err();
    assert!(matches!(error, Cause::Interrupted(15)), "{error}");
    assert_eq!(begun.staged(), ["version-0"]);
}

/// Returns the plan of a world whose undo archive saves, in place of the old `httpd`, the version that an earlier patch
/// of the run delivers there.
fn chained(world: &World) -> Plan {
    let mut plan = world.plan();
    // The source of the world gives every file its own path as its bytes.
    plan.versions = vec![version(0, package().as_str(), "new/tool", "new/tool")];
    plan.undo[0].passing.insert(at("/opt/web/bin/httpd"), Some(0));
    for (entry, path) in &mut plan.undo[0].saved {
        if *path == at("/opt/web/bin/httpd") {
            entry.object.content.size = Some(8);
            entry.object.content.cksum = Some(checksum::sum(b"new/tool"));
        }
    }
    plan
}

/// Returns the content of the undo archive of a world.
fn archived(world: &World) -> Vec<u8> {
    let file = std::fs::File::open(world.path("var/sadm/pkg/ACMEweb/save/100-01/undo.gz")).unwrap();
    let mut bytes = Vec::new();
    flate2::read::MultiGzDecoder::new(file).read_to_end(&mut bytes).unwrap();
    bytes
}

fn has(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

#[test]
fn an_archive_saves_the_version_and_not_what_is_on_the_disk() {
    let (world, plain) = (World::new(), World::new());
    world.run_plan(&chained(&world), Door::default(), &|| None).unwrap();
    plain.run(Door::default()).unwrap();
    assert!(!has(&archived(&world), b"old httpd") && has(&archived(&plain), b"old httpd"));
    assert_eq!(world.picture().keys().collect::<Vec<_>>(), plain.picture().keys().collect::<Vec<_>>());
    for file in ["journal".to_owned(), format!("ops-{}", super::world::RUN)] {
        let journal = std::fs::read(world.path("var/sadm/patchadm").join(file)).unwrap();
        assert!(!has(&journal, b"version-"), "the journal knows of no version");
    }
    assert_eq!(std::fs::read_dir(world.path("var/sadm/patchadm/stage")).unwrap().count(), 0);
}

#[test]
fn a_version_that_another_has_touched_is_not_saved_as_if_nothing_were() {
    let world = World::new();
    let before = world.picture();
    let mut plan = chained(&world);
    for (entry, _) in &mut plan.undo[0].saved {
        if entry.object.content.size == Some(8) {
            entry.object.content.cksum = Some(1);
        }
    }
    let error = world.run_plan(&plan, Door::default(), &|| None).unwrap_err();
    assert!(matches!(&error.cause, Cause::Changed(path) if path.ends_with("/opt/web/bin/httpd")), "{error}");
    assert_eq!((error.phase, world.picture() == before), (Phase::Snapshot, true));
}

#[test]
fn stopped_at_any_change_of_a_version_the_run_has_not_been() {
    for ground in [Ground::Usual, Ground::OnlyRename] {
        for errno in [Errno::IO, Errno::NOSPC] {
            for number in 0.. {
                let world = World::new();
                let before = world.picture();
                let passed = AtomicUsize::new(0);
                let door = ground.door(move |step| {
                    let is_version = step.path.name().starts_with(b"version-");
                    let at = passed.fetch_add(usize::from(is_version), Ordering::Relaxed);
                    // A dead process makes no later change either; a full disk accepts later changes.
                    let is_dead = errno == Errno::IO && at > number;
                    if is_dead || (at == number && is_version) { Err(errno) } else { Ok(()) }
                });
                let mut plan = ground.plan(&world);
                let chain = chained(&world);
                plan.versions = chain.versions;
                plan.undo = chain.undo;
                plan.undo[0].saved.retain(|(_, path)| *path == at("/opt/web/bin/httpd"));
                let ended = world.run_plan(&plan, door, &|| None);
                world.recover_with(ground.open_door());
                if ended.is_ok() {
                    assert!(number > 3, "created, reserved, written, removed: {number}");
                    break;
                }
                assert_eq!(world.picture(), before, "{ground:?}: {errno:?} at {number}");
                let stages = std::fs::read_dir(world.path("var/sadm/patchadm/stage")).unwrap();
                assert_eq!(stages.count(), 0, "{ground:?}: {errno:?} at {number}");
            }
        }
    }
}
