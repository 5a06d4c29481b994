//! The memory of depots, `var/sadm/patchadm/depots`. A signature says who made an index, not that it is the newest, so
//! a root remembers the highest version and refuses older ones. Callers who may not write to the root only compare.

use chrono::{DateTime, Utc};

use super::failure::Failure;
use super::session::Session;
use patchadm_inputs::depot::{IndexSight, LARGEST_MEMORY, SeenDepots, StaleIndex};
use patchadm_inputs::sign::DemandWord;
use patchadm_rootfs::{Dir, Root, RootError};
use patchadm_svr4::package::{Mode, ObjectPath};
use patchadm_svr4::places;

const PROGRAM: &str = "patchadm-depots";

/// Compares an index with the memory, without a lock. Returns an expired index if allowed, to report it; other defects
/// are failures.
pub fn check_index(
    root: &Root,
    sight: &IndexSight<'_>,
    demand: DemandWord,
    now: DateTime<Utc>,
) -> Result<Option<StaleIndex>, Failure> {
    let memory = match root.dir_if_there(&root.resolver().locate_dir(&places::own_directory())?)? {
        Some(directory) => read_memory(&directory)?,
        None => SeenDepots::default(),
    };
    judge_index(&memory, sight, demand, now)
}

/// Compares again under the lock, and remembers the index durably. Only a trusted signature may be remembered:
/// otherwise anyone could show a version that no genuine index ever reaches.
pub fn remember_index(
    session: &Session<'_>,
    sight: &IndexSight<'_>,
    demand: DemandWord,
    now: DateTime<Utc>,
) -> Result<Option<StaleIndex>, Failure> {
    let directory = own_directory(&session.ground.root)?;
    let mut memory = read_memory(&directory)?;
    let expired = judge_index(&memory, sight, demand, now)?;
    if memory.remember(sight, now) {
        write_memory(&directory, &memory)?;
    }
    Ok(expired)
}

/// For messages only: a command never uses a depot that its user did not name.
pub fn last_used_depot(root: &Root) -> Option<String> {
    let directory = root.dir_if_there(&root.resolver().locate_dir(&places::own_directory()).ok()?).ok()??;
    let memory = read_memory(&directory).ok()?;
    memory.last_used().map(|one| one.location.clone())
}

fn judge_index(
    memory: &SeenDepots,
    sight: &IndexSight<'_>,
    demand: DemandWord,
    now: DateTime<Utc>,
) -> Result<Option<StaleIndex>, Failure> {
    match memory.judge(sight, now) {
        Ok(()) => Ok(None),
        Err(expired @ StaleIndex::Expired { .. }) if demand != DemandWord::Require => Ok(Some(expired)),
        Err(stale) => Err(stale.into()),
    }
}

/// Fails if the memory is unreadable: without it, an older index would be accepted.
fn read_memory(directory: &Dir) -> Result<SeenDepots, Failure> {
    let place = places::depots();
    let Some(text) = directory.read(place.name(), LARGEST_MEMORY as u64)? else {
        return Ok(SeenDepots::default());
    };
    let path = directory.root().show(&directory.at(place.name()));
    SeenDepots::parse(&text).map_err(|error| Failure::DepotMemory { path, error })
}

fn write_memory(directory: &Dir, memory: &SeenDepots) -> Result<(), Failure> {
    let (place, text) = (places::depots(), memory.write());
    if text.len() > LARGEST_MEMORY {
        let path = directory.root().show(&directory.at(place.name()));
        return Err(RootError::TooLarge { path, limit: LARGEST_MEMORY as u64 }.into());
    }
    directory.remove_leftovers(PROGRAM)?;
    directory.replace_file(PROGRAM, place.name(), &text, Mode::of(0o644))?;
    Ok(directory.sync()?)
}

fn own_directory(root: &Root) -> Result<Dir, RootError> {
    let physical = root.resolver().locate_dir(&places::own_directory())?;
    if let Some(directory) = root.dir_if_there(&physical)? {
        return Ok(directory);
    }
    let above = root.dir(&physical.parent().unwrap_or_else(ObjectPath::root))?;
    let made = above.make_dir(physical.name(), Mode::of(0o755))?;
    above.sync()?;
    Ok(made)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::operation::scripts::ScriptSettings;
    use crate::operation::session::{Caller, RootAndPolicy};
    use patchadm_inputs::depot::DepotIndex;
    use patchadm_inputs::trial::Moment;
    use patchadm_planning::plan::clock::Now;
    use patchadm_rootfs::never;

    const HERE: &str = "/srv/depot";

    fn at(day: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_262_400 + day * 86_400, 0).unwrap()
    }

    fn index(depot: &str, version: u64) -> DepotIndex {
        let mut index = DepotIndex::new(depot.repeat(16), at(0));
        (index.version, index.expires) = (version, Some(at(30)));
        index
    }

    fn root() -> (tempfile::TempDir, Root) {
        let place = tempfile::tempdir().unwrap();
        fs::create_dir_all(place.path().join("var/sadm/install")).unwrap();
        let root = Root::open(place.path()).unwrap();
        (place, root)
    }

    fn memory(root: &Root) -> String {
        fs::read_to_string(root.prefix().join("var/sadm/patchadm/depots")).unwrap_or_default()
    }

    fn shown(
        root: &Root,
        location: &str,
        (index, two): (&DepotIndex, &str),
        demand: DemandWord,
        day: i64,
    ) -> Result<Option<StaleIndex>, Failure> {
        let now = Now { utc: at(day).naive_utc(), local: at(day).naive_utc(), host: String::new() };
        let caller = Caller {
            program: "add",
            now,
            time: String::new(),
            user: String::new(),
            wait: &|_| false,
            interrupt: &never,
            progress: &|_| {},
            told: &|_, _| {},
            did_first: &|_| {},
            moment: &|| Moment { wall: at(day), boot: None, since_boot: 0 },
            shown_time: &|moment, _| moment.to_string(),
            scripts: ScriptSettings::default(),
            elapsed: &|| 0,
            undoes: None,
            is_hook: false,
            typed: None,
            note: None,
            exchanges: Vec::new(),
        };
        let sha256 = two.repeat(32);
        let sight = IndexSight { location, index, sha256: &sha256 };
        let before = memory(root);
        let checked = check_index(root, &sight, demand, at(day));
        assert_eq!(memory(root), before, "who only compares writes nothing");
        let session = Session::begin(RootAndPolicy::of(root).unwrap(), &caller).unwrap();
        let remembered = remember_index(&session, &sight, demand, at(day));
        let words = |judged: &Result<Option<StaleIndex>, Failure>| format!("{judged:?}");
        assert_eq!(words(&checked), words(&remembered), "both say the same");
        assert!(remembered.is_ok() || memory(root) == before, "what is refused is not remembered");
        remembered
    }

    fn refused(
        root: &Root,
        location: &str,
        index: &DepotIndex,
        two: &str,
        demand: DemandWord,
        day: i64,
    ) -> StaleIndex {
        match shown(root, location, (index, two), demand, day) {
            Err(Failure::StaleIndex(stale)) => stale,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_index_is_remembered_and_no_older_forked_or_other_one_is_taken_after_it() {
        let (_place, root) = root();
        let warn = DemandWord::Warn;
        assert_eq!(shown(&root, HERE, (&index("aa", 7), "11"), warn, 0).unwrap(), None);
        assert!(memory(&root).contains("\"version\":7"), "{}", memory(&root));
        assert_eq!(shown(&root, HERE, (&index("aa", 8), "22"), warn, 1).unwrap(), None);
        assert_eq!(memory(&root).lines().count(), 1);
        for demand in [DemandWord::Warn, DemandWord::Require] {
            let older = refused(&root, HERE, &index("aa", 7), "11", demand, 1);
            assert!(matches!(older, StaleIndex::Older { found: 7, seen: 8, .. }), "{older}");
            let forked = refused(&root, "/srv/mirror", &index("aa", 8), "33", demand, 1);
            assert!(matches!(forked, StaleIndex::Forked { version: 8, .. }), "{forked}");
            let swapped = refused(&root, HERE, &index("bb", 9), "33", demand, 1);
            assert!(matches!(swapped, StaleIndex::Swapped { .. }), "{swapped}");
        }
        assert_eq!(shown(&root, "/srv/mirror", (&index("aa", 8), "22"), warn, 1).unwrap(), None);
        assert_eq!(memory(&root).lines().count(), 2);
    }

    #[test]
    fn an_expired_index_is_refused_or_said_and_one_without_a_date_never_expires() {
        let (_place, root) = root();
        let late = refused(&root, HERE, &index("aa", 7), "11", DemandWord::Require, 31);
        assert!(matches!(late, StaleIndex::Expired { .. }), "{late}");
        let said = shown(&root, HERE, (&index("aa", 7), "11"), DemandWord::Warn, 31).unwrap();
        assert!(matches!(said, Some(StaleIndex::Expired { .. })), "{said:?}");
        let mut endless = index("aa", 8);
        endless.expires = None;
        assert_eq!(shown(&root, HERE, (&endless, "22"), DemandWord::Require, 100_000).unwrap(), None);
        assert!(memory(&root).contains("\"expires\":null"), "{}", memory(&root));
    }

    #[test]
    fn a_memory_that_cannot_be_read_lets_no_index_in() {
        for (text, reason) in [
            ("{\"depot\":\"aa\"}\n".to_owned(), "line 1"),
            ("\n".repeat(LARGEST_MEMORY + 1), "is larger than"),
            ("\0\0\n".to_owned(), "line 1"),
        ] {
            let (place, root) = root();
            let file = place.path().join("var/sadm/patchadm/depots");
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, text).unwrap();
            let error = shown(&root, HERE, (&index("aa", 7), "11"), DemandWord::Off, 0).unwrap_err();
            assert!(error.to_string().contains("/var/sadm/patchadm/depots"), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }

    #[test]
    fn a_link_in_the_place_of_the_memory_is_no_memory() {
        let (place, root) = root();
        let own = place.path().join("var/sadm/patchadm");
        fs::create_dir_all(&own).unwrap();
        std::os::unix::fs::symlink(Path::new("/dev/null"), own.join("depots")).unwrap();
        assert!(shown(&root, HERE, (&index("aa", 7), "11"), DemandWord::Off, 0).is_err());
    }
}
