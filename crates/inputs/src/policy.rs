//! The permanent decisions of a root's operator: its policy.

mod delete_limit;
mod library_words;
mod root_patterns;
mod undo_limit;

use std::path::PathBuf;
use std::sync::LazyLock;

use crate::path_glob::PathGlob;
use crate::sign::DemandWord;
use crate::trial::TrialDuration;
use patchadm_changeset::plan::UndoFormat;
use patchadm_svr4::package::ObjectPath;
use patchadm_svr4::places;
use regex::Regex;

pub use delete_limit::DeleteLimit;
pub use library_words::LibraryWords;
pub use root_patterns::RootPatterns;
pub use undo_limit::{UndoLimit, byte_size, percentage};

/// [`Policy::RESTRICTED`], compiled once: a command reads several policies.
#[allow(clippy::expect_used)] // a constant pattern, compiled by a test
static RESTRICTED: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(Policy::RESTRICTED).expect("a constant pattern"));

/// The settings of `etc/patchadm/policy` (patchadm-policy(5)), each with its default; options of a command win.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Which patches are restricted: matched against the base of their id.
    pub restricted: Regex,
    /// The separator between base and revision of a patch id.
    pub separator: String,
    /// How undo archives are compressed: `gz`, `Z` or `none`.
    pub undo_format: UndoFormat,
    /// Where undo archives are kept, when not in the save directory.
    pub undo_dir: Option<PathBuf>,
    /// The number of newest patches that keep their undo data after a run; `None` is no limit.
    pub undo_keep: Option<usize>,
    /// The most undo data that a root keeps after a run.
    pub undo_max: Option<UndoLimit>,
    /// The part of a file system, in percent, below which its free space is reported after a run; 0 is never.
    pub undo_warn: u8,
    /// The treatment of locally edited files.
    pub edited: Edited,
    /// Seconds to wait for the lock.
    pub wait: u64,
    /// How long applied patches are on trial where no command says otherwise; `None` for no trial.
    pub trial: Option<TrialDuration>,
    /// Patches that are never applied to this root.
    pub exclude: Vec<String>,
    /// Which scripts of packages and patches may run.
    pub scripts: ScriptPolicy,
    /// Seconds that one script may take; 0 is no limit.
    pub script_timeout: u64,
    /// The demand on the signatures of patches; by default `require` if the root has a key.
    pub signature: Option<DemandWord>,
    /// The directory of the keys that the root trusts, inside it.
    pub keys: ObjectPath,
    /// Whether the policy names that directory, which then must be there.
    pub names_keys: bool,
    /// The depot that serves what is required, as it was named.
    pub depot: Option<String>,
    /// A file of certificates of authorities that count beside those of the system.
    pub ca: Option<PathBuf>,
    /// The proxy for all addresses, as `host:port`.
    pub proxy: Option<String>,
    /// The directory of the cache.
    pub cache: Option<PathBuf>,
    /// The size of the cache, in bytes.
    pub cache_limit: u64,
    /// Packages whose patches go before all others.
    pub first: Vec<String>,
    /// The part of the live objects of a promoted path that a promotion may delete.
    pub max_delete: DeleteLimit,
    /// Objects that a promotion neither compares nor takes.
    pub promote_exclude: Vec<PathGlob>,
    /// The program of the root that runs before a promotion or its backout.
    pub promote_before: Option<ObjectPath>,
    /// The program of the root that runs when a promotion or its backout is switched, before it is committed.
    pub promote_after: Option<ObjectPath>,
    /// The treatment of libraries that a change takes away from their consumers.
    pub shlibs: LibraryWords,
    /// Libraries that always count as needed.
    pub shlib_keep: Vec<PathGlob>,
    /// Paths that a search for libraries skips.
    pub shlib_skip: Vec<PathGlob>,
    /// Paths that are searched although they are on a network file system or are a root of their own.
    pub shlib_scan: Vec<ObjectPath>,
    /// What becomes of an upgrade by the package manager of the system that would lose the fix of a patch.
    pub native_upgrade: NativeUpgrade,
    /// Whether native packages that a patch is for are adopted with it, without being asked to.
    pub adopts: bool,
    /// Roots whose owners may do anything as the superuser here; in the policy of the host only.
    pub trusted_roots: RootPatterns,
    /// Roots that are changed as their owners; in the policy of the host only.
    pub as_owner_roots: RootPatterns,
    /// Roots that do not count as the superuser's, regardless of the owners that they show; in the policy of the host only.
    pub untrusted_roots: RootPatterns,
}

/// Which procedure scripts may run in a root, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum ScriptPolicy {
    /// All that a package has.
    #[default]
    Run,
    /// Those that come with this program or the system, scripts of standard classes, and the stock scripts of
    /// patches. A package that brings other scripts is refused.
    Known,
    /// None: a package that needs a script is refused.
    None,
    /// None, because the command line says so and not the policy.
    Unwanted,
}

/// The treatment of a file that the administrator edited and a patch replaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Edited {
    /// Nothing is changed; every such file is listed.
    #[default]
    Stop,
    /// It is replaced; the edited one goes into the undo archive.
    Replace,
    /// It stays; the patch's version is put beside it.
    Keep,
}

/// What becomes of an upgrade by the package manager of the system that would lose the fix of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum NativeUpgrade {
    /// It is told, and goes on.
    #[default]
    Warn,
    /// It is stopped before anything is changed.
    Stop,
}

impl Policy {
    /// The pattern for restricted patches where the policy names none: test patches and relief patches.
    pub const RESTRICTED: &str = "^(T|IDR)[0-9]";

    /// The size of the cache where the policy names none, in bytes: 2 GiB.
    pub const CACHE_LIMIT: u64 = 2 << 30;

    /// The percentage of free space that is reported where the policy names none.
    pub const UNDO_WARN: u8 = 10;

    /// Tells whether a patch with this base is restricted.
    pub fn is_restricted(&self, base: &str) -> bool {
        self.restricted.is_match(base)
    }

    /// The policy of another root within the bounds of the running system's own one, `host`: no root lets more scripts
    /// run than the host does, or says what is fetched from where.
    #[must_use]
    pub fn bounded_by(self, host: &Self) -> Self {
        Self {
            scripts: self.scripts.max(host.scripts),
            depot: host.depot.clone(),
            ca: host.ca.clone(),
            proxy: host.proxy.clone(),
            cache: host.cache.clone(),
            cache_limit: host.cache_limit,
            ..self
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            restricted: RESTRICTED.clone(),
            separator: "-".to_owned(),
            undo_format: UndoFormat::default(),
            undo_dir: None,
            undo_keep: None,
            undo_max: None,
            undo_warn: Self::UNDO_WARN,
            edited: Edited::default(),
            wait: 0,
            trial: None,
            exclude: Vec::new(),
            scripts: ScriptPolicy::default(),
            script_timeout: 3600,
            depot: None,
            ca: None,
            proxy: None,
            cache: None,
            cache_limit: Self::CACHE_LIMIT,
            first: vec!["SUNWswmt".to_owned()],
            max_delete: DeleteLimit::default(),
            promote_exclude: Vec::new(),
            promote_before: None,
            promote_after: None,
            shlibs: LibraryWords::default(),
            shlib_keep: Vec::new(),
            shlib_skip: Vec::new(),
            shlib_scan: Vec::new(),
            native_upgrade: NativeUpgrade::default(),
            adopts: false,
            signature: None,
            keys: places::keys(),
            names_keys: false,
            trusted_roots: RootPatterns::default(),
            as_owner_roots: RootPatterns::default(),
            untrusted_roots: RootPatterns::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_of_a_root_can_only_be_stricter_than_that_of_the_host() {
        use ScriptPolicy::{Known, None, Run};
        for (own, host, both) in [
            (Run, Run, Run),
            (Run, Known, Known),
            (Known, Run, Known),
            (None, Known, None),
            (Known, None, None),
        ] {
            let policy = |scripts| Policy { scripts, ..Policy::default() };
            assert_eq!(policy(own).bounded_by(&policy(host)).scripts, both, "{own:?} within {host:?}");
        }
    }

    #[test]
    fn test_and_relief_patches_are_restricted_by_default() {
        let policy = Policy::default();
        assert!(policy.is_restricted("IDR148363") && policy.is_restricted("T103300"));
        assert!(!policy.is_restricted("105181") && !policy.is_restricted("TOOLS"));
    }
}
