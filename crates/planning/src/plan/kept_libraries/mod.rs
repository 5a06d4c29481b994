//! Kept libraries (patchadm-shlibs(7)): the second step of planning, as pure as the first. A plan is made as if nothing
//! were kept ([`Inventory::hide_kept`](patchadm_inputs::inventory::Inventory::hide_kept)). When `LibraryChange` has
//! decided which libraries stay, a [`KeptSettlement`] changes objects, lines, records and the undo archive in the plan.

mod package_files;
mod settlement;

pub use package_files::{CONSUMERS, DEPEND, is_named_as_kept};
pub use settlement::{
    ArchivedLibrary, KeepingCause, KeptInput, KeptSettlement, SavedLibraries, StayingLibrary, StayingOrigin,
};

use std::fmt::{self, Write as _};

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use patchadm_changeset::format::escaped::{as_text, each_as_text};
use patchadm_inputs::policy::LibraryWords;
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// Limits the consumers and symbols of a library in a document.
pub const MOST_LISTED: usize = 100;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ToldConsumer {
    /// The object that needs the library.
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    #[serde(serialize_with = "each_as_text")]
    pub packages: Vec<PkgInst>,
    /// `needed`, `interp`, `dlopen`, `preload`, `mapped` or `policy`.
    pub how: &'static str,
    /// The process that has it mapped.
    pub pid: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptLibrary {
    /// The keeping package.
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    /// The package that delivered it; `None` in the list of a patch, which changed that package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// SONAME, or the name of the file.
    pub library: String,
    /// Its path and the links that lead to it.
    #[serde(serialize_with = "each_as_text")]
    pub paths: Vec<ObjectPath>,
    pub bytes: u64,
    #[serde(flatten, serialize_with = "counted_consumers")]
    pub consumers: Vec<ToldConsumer>,
}

/// A library, or versions and symbols of one, that a consumer needs and that no longer exist.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostLibrary {
    /// The name by which it is needed.
    pub library: String,
    /// Its former path.
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    /// The word for the reason that it does not stay.
    pub reason: &'static str,
    /// Missing versions, if another library has the name.
    pub versions: Vec<String>,
    #[serde(flatten, serialize_with = "counted_symbols")]
    pub symbols: Vec<String>,
    #[serde(flatten, serialize_with = "counted_consumers")]
    pub consumers: Vec<ToldConsumer>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PackagePaths {
    #[serde(serialize_with = "as_text")]
    pub package: PkgInst,
    #[serde(serialize_with = "each_as_text")]
    pub paths: Vec<ObjectPath>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NotUnderstoodFile {
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    pub reason: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LibraryReport {
    #[serde(rename = "policy")]
    pub words: LibraryWords,
    /// Programs and libraries.
    pub scanned: u64,
    pub not_understood: Vec<NotUnderstoodFile>,
    /// Directories that were not entered.
    #[serde(serialize_with = "each_as_text")]
    pub skipped: Vec<ObjectPath>,
    /// Libraries that stay because of the plan.
    pub kept: Vec<KeptLibrary>,
    /// Libraries that consumers lose.
    pub lost: Vec<LostLibrary>,
    pub dropped: Vec<PackagePaths>,
    /// Kept libraries that an ordinary package owns again.
    pub returned: Vec<PackagePaths>,
}

impl fmt::Display for ToldConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}", self.path, self.how)?;
        if let Some(process) = self.pid {
            write!(f, " by process {process}")?;
        }
        self.packages.iter().try_for_each(|package| write!(f, ", {package}"))?;
        write!(f, ")")
    }
}

fn listed<T>(all: &[T]) -> &[T] {
    all.get(..MOST_LISTED).unwrap_or(all)
}

/// Serializes the first consumers.
pub fn first_consumers<S: Serializer>(all: &[ToldConsumer], serializer: S) -> Result<S::Ok, S::Error> {
    listed(all).serialize(serializer)
}

fn counted_consumers<S: Serializer>(all: &[ToldConsumer], serializer: S) -> Result<S::Ok, S::Error> {
    counted(all, ["consumers", "consumers_total"], serializer)
}

fn counted_symbols<S: Serializer>(all: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    counted(all, ["symbols", "symbols_total"], serializer)
}

/// Serializes the first of them, and the number of all.
fn counted<T: Serialize, S: Serializer>(
    all: &[T],
    [first, total]: [&'static str; 2],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut fields = serializer.serialize_struct("Counted", 2)?;
    fields.serialize_field(first, listed(all))?;
    fields.serialize_field(total, &all.len())?;
    fields.end()
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn path(text: &str) -> ObjectPath {
        ObjectPath::new(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_document_lists_the_first_consumers_and_symbols_and_counts_all() {
        let consumer = |number: usize| ToldConsumer {
            path: path(&format!("/opt/{number:03}")),
            packages: vec![PkgInst::new("ACMEweb").unwrap()],
            how: "mapped",
            pid: Some(7),
        };
        let lost = LostLibrary {
            library: "liba.so.1".to_owned(),
            path: path("/usr/lib/liba.so.1"),
            reason: "path-taken",
            versions: Vec::new(),
            symbols: vec!["a".to_owned(); MOST_LISTED + 1],
            consumers: (0..MOST_LISTED + 2).map(consumer).collect(),
        };
        let document = serde_json::to_value(&lost).unwrap();
        let count = |list: &str| document[list].as_array().unwrap().len();
        assert_eq!([count("symbols"), count("consumers")], [MOST_LISTED; 2]);
        assert_eq!(document["symbols_total"], MOST_LISTED + 1);
        assert_eq!(document["consumers_total"], MOST_LISTED + 2);
        let first = json!({"path": "/opt/000", "packages": ["ACMEweb"], "how": "mapped", "pid": 7});
        assert_eq!(document["consumers"][0], first);
    }

    #[test]
    fn the_list_of_a_patch_does_not_repeat_the_package_of_a_library() {
        let kept = |from: Option<&str>| KeptLibrary {
            package: PkgInst::new("ACMEweb-so").unwrap(),
            from: from.map(str::to_owned),
            library: "liba.so.1".to_owned(),
            paths: vec![path("/usr/lib/liba.so.1")],
            bytes: 3,
            consumers: Vec::new(),
        };
        let own = r#"{"package":"ACMEweb-so","library":"liba.so.1","paths":["/usr/lib/liba.so.1"],"bytes":3,"consumers":[],"consumers_total":0}"#;
        assert_eq!(serde_json::to_string(&kept(None)).unwrap(), own);
        let named = own.replace(r#","library""#, r#","from":"ACMEweb","library""#);
        assert_eq!(serde_json::to_string(&kept(Some("ACMEweb"))).unwrap(), named);
    }
}
