//! Kept libraries (patchadm-shlibs(7)): the second step of planning, as pure as the first. A plan is made as if nothing
//! were kept ([`Inventory::hide_kept`](patchadm_inputs::inventory::Inventory::hide_kept)). When `LibraryChange` has
//! decided which libraries stay, a [`KeptSettlement`] changes objects, lines, records and the undo archive in the plan.

mod package_files;
mod settlement;

pub use package_files::{CONSUMERS, DEPEND, is_named_as_kept};
pub use settlement::{
    ArchivedLibrary, KeepingCause, KeptInput, KeptSettlement, SavedLibraries, StayingLibrary, StayingOrigin,
};

use std::fmt::Write as _;

use patchadm_inputs::policy::LibraryWords;
use patchadm_svr4::package::{ObjectPath, PkgInst};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToldConsumer {
    /// The object that needs the library.
    pub path: ObjectPath,
    pub packages: Vec<PkgInst>,
    /// `needed`, `interp`, `dlopen`, `preload`, `mapped` or `policy`.
    pub how: &'static str,
    /// The process that has it mapped.
    pub pid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptLibrary {
    /// The keeping package.
    pub package: PkgInst,
    /// The package that delivered it.
    pub from: String,
    /// SONAME, or the name of the file.
    pub library: String,
    /// Its path and the links that lead to it.
    pub paths: Vec<ObjectPath>,
    pub bytes: u64,
    pub consumers: Vec<ToldConsumer>,
}

/// A library, or versions and symbols of one, that a consumer needs and that no longer exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LostLibrary {
    /// The name by which it is needed.
    pub library: String,
    /// Its former path.
    pub path: ObjectPath,
    /// The word for the reason that it does not stay.
    pub reason: &'static str,
    /// Missing versions, if another library has the name.
    pub versions: Vec<String>,
    pub symbols: Vec<String>,
    pub consumers: Vec<ToldConsumer>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackagePaths {
    pub package: PkgInst,
    pub paths: Vec<ObjectPath>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LibraryReport {
    pub words: LibraryWords,
    /// Programs and libraries.
    pub scanned: u64,
    /// With the reason.
    pub not_understood: Vec<(ObjectPath, String)>,
    /// Directories that were not entered.
    pub skipped: Vec<ObjectPath>,
    /// Libraries that stay because of the plan.
    pub kept: Vec<KeptLibrary>,
    /// Libraries that consumers lose.
    pub lost: Vec<LostLibrary>,
    pub dropped: Vec<PackagePaths>,
    /// Kept libraries that an ordinary package owns again.
    pub returned: Vec<PackagePaths>,
}

const WAYS_OF_NEEDING: [&str; 6] = ["needed", "interp", "dlopen", "preload", "mapped", "policy"];

/// Returns the word of a record for a way of needing a library; `None` if there is no such word.
pub fn way_of_needing(word: &str) -> Option<&'static str> {
    WAYS_OF_NEEDING.into_iter().find(|known| *known == word)
}

const MOST_NAMED: usize = 3;

pub fn why_lost(reason: &str) -> &'static str {
    match reason {
        "shadows" => "other programs would find it instead of the new one",
        "by-script" => "a script deletes it",
        "forbidden" => "the patch forbids keeping it",
        "not-asked" => "it is not kept",
        _ => "something else takes its path or is found first",
    }
}

impl LostLibrary {
    fn missing(&self) -> String {
        let all: Vec<&str> = self.versions.iter().chain(&self.symbols).map(String::as_str).collect();
        match all.as_slice() {
            [] => String::new(),
            [one] => format!(" ({one})"),
            [first, rest @ ..] => format!(" ({first} and {} more)", rest.len()),
        }
    }
}

fn named(consumers: &[ToldConsumer], show: &impl Fn(&ObjectPath) -> String) -> String {
    let mut paths: Vec<&ObjectPath> = consumers.iter().map(|consumer| &consumer.path).collect();
    paths.dedup();
    let mut text = paths.iter().take(MOST_NAMED).map(|path| show(path)).collect::<Vec<_>>().join(", ");
    if paths.len() > MOST_NAMED {
        let _ = write!(text, " and {} more", paths.len() - MOST_NAMED);
    }
    text
}

impl LibraryReport {
    /// For people; `show` gives paths as the host sees them.
    pub fn sentences(&self, show: impl Fn(&ObjectPath) -> String) -> Vec<String> {
        let kept = self.kept.iter().map(|kept| {
            let (library, package) = (&kept.library, &kept.package);
            format!("{library} is kept in package {package}: needed by {}", named(&kept.consumers, &show))
        });
        let lost = self.lost.iter().map(|lost| {
            let (library, who) = (&lost.library, named(&lost.consumers, &show));
            format!("{who} loses {library}{}: {}", lost.missing(), why_lost(lost.reason))
        });
        let of = |packages: &[PackagePaths], what: &str| {
            let sentence = |one: &PackagePaths| {
                let paths: Vec<String> = one.paths.iter().map(&show).collect();
                format!("package {} no longer keeps {}: {what}", one.package, paths.join(", "))
            };
            packages.iter().map(sentence).collect::<Vec<_>>()
        };
        let dropped = of(&self.dropped, "no longer needed");
        let returned = of(&self.returned, "delivered again");
        kept.chain(lost).chain(dropped).chain(returned).collect()
    }

    /// Nothing to report to people.
    pub fn is_silent(&self) -> bool {
        self.kept.is_empty() && self.lost.is_empty() && self.dropped.is_empty() && self.returned.is_empty()
    }
}
