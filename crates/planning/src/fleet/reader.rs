//! Reads documents of `patchadm list --json`. A wrong or cut document is refused with a reason in one line. A reader
//! shares values with the next document.

use std::borrow::{Borrow, Cow};
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use patchadm_changeset::format::foreign_json::{TooManyValues, limited};
use patchadm_svr4::package::control::truncated;
use patchadm_svr4::patch::{FixId, FixList, PatchId, PatchIdError};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::inventory::{
    FleetPatchStanding, HostInventory, InventoryPackage, InventoryPatch, InventoryTrial, NativeName,
    OvertakenFix, PackageUndoState, PatchDescription, SignatureVerdict, StaleRegistration,
};

const SCHEMA: &str = "patchadm/1";

/// Fields and entries: `list` prints one per forty bytes.
const MOST_VALUES: usize = 4_000_000;

/// In bytes.
const LONGEST_MACHINE: usize = 255;

/// In bytes.
const LONGEST_ROOT: usize = 4_096;

/// In characters. A longer one is cut: the author of a patch must not keep its hosts out of reports.
const LONGEST_SYNOPSIS: usize = 500;

/// Separators to try; a root's policy may configure another one.
const SEPARATORS: [&str; 4] = [PatchId::SEPARATOR, "_", ".", "+"];

#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error("it is not the output of `patchadm list --json`: {}", without_value(.0))]
    Form(#[from] serde_json::Error),
    #[error("it is empty")]
    Empty,
    #[error(transparent)]
    TooMany(#[from] TooManyValues),
    #[error("its `{field}` is longer than {most} bytes")]
    LongName { field: &'static str, most: usize },
    #[error("its schema is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    #[error("it is a document from <{0}>, not from list")]
    Command(String),
    /// A document of `list --missing`.
    #[error("it lists no patches: it is not from `patchadm list`")]
    OtherQuestion,
    #[error("it lists only some of the patches (--fixes or --applied-since)")]
    Partial,
    #[error("that listing failed: {0}")]
    Failed(String),
    #[error("{0}")]
    Patch(#[from] PatchIdError),
}

#[derive(Debug, Default)]
pub struct ReadInventories {
    /// In the order of the document.
    pub inventories: Vec<HostInventory>,
    /// Roots without an inventory, each with the reason.
    pub failed: Vec<(String, InventoryError)>,
}

#[derive(Debug, Default)]
pub struct InventoryReader {
    texts: HashSet<Arc<str>>,
    patches: HashSet<Arc<PatchDescription>>,
    packages: HashSet<Arc<InventoryPackage>>,
    undo: HashSet<Arc<[PackageUndoState]>>,
    signatures: HashSet<Arc<SignatureVerdict>>,
}

impl InventoryReader {
    /// Reads a document. `name` is the name of the machine if the document does not have it.
    pub fn read(&mut self, text: &[u8], name: &str) -> Result<ReadInventories, InventoryError> {
        if text.trim_ascii().is_empty() {
            return Err(InventoryError::Empty);
        }
        let text = limited(text, MOST_VALUES)?;
        let kind: DocumentKind<'_> = serde_json::from_slice(text)?;
        let shown = |text: Option<JsonText<'_>>| text.map(|text| short(&text.0)).unwrap_or_default();
        if kind.schema.as_ref().is_none_or(|schema| schema.0 != SCHEMA) {
            return Err(InventoryError::Schema(shown(kind.schema)));
        }
        if kind.command.as_ref().is_none_or(|command| command.0 != "list") {
            return Err(InventoryError::Command(shown(kind.command)));
        }
        let mut document: InventoryDocument<'_> = serde_json::from_slice(text)?;
        let mut read = ReadInventories::default();
        match document.roots.take() {
            None => read.inventories.push(self.inventory(document, name)?),
            Some(roots) => {
                for root in roots.0 {
                    let path = root.root.as_ref().map(|root| truncated(&root.0, LONGEST_ROOT).into_owned());
                    match self.inventory(root, name) {
                        Ok(inventory) => read.inventories.push(inventory),
                        Err(error) => read.failed.push((path.unwrap_or_default(), error)),
                    }
                }
            }
        }
        Ok(read)
    }

    fn inventory(
        &mut self,
        document: InventoryDocument<'_>,
        name: &str,
    ) -> Result<HostInventory, InventoryError> {
        let Some(patches) = document.patches else {
            return Err(match document.error {
                Some(error) => InventoryError::Failed(sentence(&error.0)),
                None => InventoryError::OtherQuestion,
            });
        };
        if document.partial {
            return Err(InventoryError::Partial);
        }
        let machine = repeated("machine", document.machine, LONGEST_MACHINE)?;
        let root = repeated("root", document.root, LONGEST_ROOT)?;
        let trial = patches.0.iter().find_map(|patch| patch.trial.as_ref()).map(trial_of);
        // A list collected in place of the parsed one would keep its capacity.
        let mut kept = Vec::with_capacity(patches.0.len());
        for patch in patches.0 {
            kept.push(self.patch(patch)?);
        }
        let packages = document.packages.map(|packages| {
            let mut kept = Vec::with_capacity(packages.0.len());
            packages.0.into_iter().for_each(|package| kept.push(self.package(package)));
            kept
        });
        let is_contained =
            |one: &ListedFix<'_>| one.outcome.as_ref().is_some_and(|outcome| outcome.0 == "contained");
        let contained = document.overtaken.0.into_iter().filter(is_contained);
        Ok(HostInventory {
            machine: machine.unwrap_or_else(|| name.to_owned()),
            root: root.unwrap_or_else(|| "/".to_owned()),
            at: document.at.and_then(|at| moment(&at)),
            version: document.version.map(|version| self.text(&version.0)),
            patches: kept,
            packages,
            lost: document.lost.0.into_iter().map(OvertakenFix::from).collect(),
            contained: contained.map(OvertakenFix::from).collect(),
            accepted: document.accepted.0.into_iter().map(OvertakenFix::from).collect(),
            stale: document.stale.0.into_iter().map(StaleRegistration::from).collect(),
            trial,
            unfinished: document.unfinished.map(JsonText::owned),
        })
    }

    fn patch(&mut self, patch: DocumentPatch<'_>) -> Result<InventoryPatch, InventoryError> {
        let state = |word: &str| patch.state.iter().any(|state| state.0 == word);
        let obsoletes = patch.obsoletes.iter().filter_map(|id| patch_id(&id.0).ok());
        let facts = PatchDescription {
            id: patch_id(&patch.id.0)?,
            obsoletes: obsoletes.collect(),
            fixes: fixes(&patch.fixes),
            sha256: patch
                .sha256
                .as_ref()
                .filter(|text| is_sha256(&text.0))
                .map(|text| text.0.clone().into_owned()),
            synopsis: None,
            packages: Vec::new(),
        };
        let undo = patch.undo.iter().map(|undo| PackageUndoState {
            package: undo.package.0.clone().into_owned(),
            state: undo.state.0.clone().into_owned(),
        });
        let reason = || patch.removable.reason.as_ref().map_or("no reason given", |reason| &*reason.0);
        Ok(InventoryPatch {
            standing: standing(&patch.state),
            is_restricted: state("restricted"),
            is_partly_overtaken: state("partly-overtaken"),
            is_partly_lost: state("partly-lost"),
            is_uncertain: state("uncertain"),
            by: patch.by.as_ref().map(|by| self.text(&by.0)),
            date: patch.date.as_ref().and_then(moment),
            undo: shared(&mut self.undo, undo.collect::<Vec<_>>()),
            undo_bytes: patch.undo.iter().fold(0, |sum, undo| sum.saturating_add(undo.bytes)),
            stuck: (!patch.removable.now).then(|| self.text(reason())),
            signature: patch.signature.map(|signature| shared(&mut self.signatures, verdict(signature))),
            about: shared(
                &mut self.patches,
                PatchDescription {
                    synopsis: patch.synopsis.map(|text| truncated(&text.0, LONGEST_SYNOPSIS).into_owned()),
                    packages: patch.packages.into_iter().map(JsonText::owned).collect(),
                    ..facts
                },
            ),
        })
    }

    fn package(&mut self, package: ListedPackage<'_>) -> Arc<InventoryPackage> {
        let native = package.native.map(|native| NativeName {
            name: native.name.owned(),
            version: native.version.owned(),
            arch: native.arch.owned(),
        });
        let package = InventoryPackage {
            package: package.package.owned(),
            name: package.name.map(JsonText::owned),
            version: package.version.map(JsonText::owned).unwrap_or_default(),
            arch: package.arch.map(JsonText::owned).unwrap_or_default(),
            manager: package.manager.map(JsonText::owned),
            native,
            purl: package.purl.map(JsonText::owned),
        };
        shared(&mut self.packages, package)
    }

    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return known.clone();
        }
        let new: Arc<str> = text.into();
        self.texts.insert(new.clone());
        new
    }
}

fn shared<T: ?Sized + Eq + Hash, V>(known: &mut HashSet<Arc<T>>, value: V) -> Arc<T>
where
    V: Borrow<T>,
    Arc<T>: From<V>,
{
    if let Some(known) = known.get(value.borrow()) {
        return known.clone();
    }
    let new = Arc::from(value);
    known.insert(new.clone());
    new
}

/// Refuses a long name: rows of a report repeat it.
fn repeated(
    field: &'static str,
    name: Option<JsonText<'_>>,
    most: usize,
) -> Result<Option<String>, InventoryError> {
    match name {
        Some(name) if name.0.len() > most => Err(InventoryError::LongName { field, most }),
        name => Ok(name.map(JsonText::owned)),
    }
}

pub(super) fn patch_id(text: &str) -> Result<PatchId, PatchIdError> {
    let usual = PatchId::new(text);
    if usual.is_ok() {
        return usual;
    }
    SEPARATORS.iter().find_map(|separator| PatchId::parse(text, separator).ok()).map_or(usual, Ok)
}

fn standing(state: &[JsonText<'_>]) -> FleetPatchStanding {
    let named =
        |text: &JsonText<'_>| FleetPatchStanding::ALL.into_iter().find(|standing| standing.word() == text.0);
    state.first().map_or(FleetPatchStanding::Other, |first| named(first).unwrap_or(FleetPatchStanding::Other))
}

fn trial_of(trial: &ListedTrial<'_>) -> InventoryTrial {
    let owned = |text: &JsonText<'_>| text.0.clone().into_owned();
    InventoryTrial {
        run: owned(&trial.run),
        until: owned(&trial.until),
        is_over: trial.over,
        stuck: trial.stuck.as_ref().map(owned),
        patches: trial.patches.iter().map(owned).collect(),
    }
}

fn verdict(signature: ListedSignature<'_>) -> SignatureVerdict {
    SignatureVerdict {
        state: signature.state.owned(),
        key: signature.key.map(JsonText::owned),
        name: signature.name.map(JsonText::owned),
    }
}

/// Skips words that are no fix ids: scanners cannot use them.
fn fixes(words: &[JsonText<'_>]) -> Vec<String> {
    let ids = words.iter().filter_map(|word| FixId::new(&word.0).ok());
    ids.collect::<FixList>().to_strings()
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn moment(text: &JsonText<'_>) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(&text.0).ok().map(|moment| moment.to_utc())
}

/// Leaves out the value that the parser quotes: the file may be another one, which not everybody may read.
pub(super) fn without_value(error: &serde_json::Error) -> String {
    let message = error.to_string();
    match (message.split_once(": "), message.rsplit_once(", expected ")) {
        (Some((kind @ ("invalid type" | "invalid value"), _)), Some((_, expected))) => {
            format!("{kind}, expected {expected}")
        }
        _ => message,
    }
}

/// Escapes and shortens foreign text for a message.
pub(super) fn short(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
}

/// In characters.
const LONGEST_SENTENCE: usize = 1_000;

/// Returns the message of a failed command in one line, without its hints, which are for that host.
fn sentence(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("hint: "));
    let line = lines.collect::<Vec<_>>().join("; ");
    let kept: String = line.chars().take(LONGEST_SENTENCE).flat_map(char::escape_debug).collect();
    if line.chars().count() > LONGEST_SENTENCE { format!("{kept}…") } else { kept }
}

impl From<ListedFix<'_>> for OvertakenFix {
    fn from(fix: ListedFix<'_>) -> Self {
        Self {
            is_partial: fix.outcome.as_ref().is_some_and(|outcome| outcome.0 == "partly-lost"),
            id: fix.id.owned(),
            manager: fix.manager.owned(),
            name: fix.name.owned(),
            version: fix.version.owned(),
            fixes: fixes(&fix.fixes),
        }
    }
}

impl From<ListedStale<'_>> for StaleRegistration {
    fn from(stale: ListedStale<'_>) -> Self {
        Self { package: stale.package.owned(), reason: stale.reason.owned() }
    }
}

// Later fields are skipped, and fields that earlier programs lack are optional. Texts are borrowed from the document.
// Lists are limited while they are read: a hostile document takes at most a few times its size in memory.

const MOST_PATCHES: usize = 20_000;

const MOST_PACKAGES: usize = 200_000;

const MOST_ROOTS: usize = 20_000;

#[derive(Deserialize)]
struct JsonText<'a>(#[serde(borrow)] Cow<'a, str>);

impl JsonText<'_> {
    fn owned(self) -> String {
        self.0.into_owned()
    }
}

/// Enough fields to reject a document early.
#[derive(Deserialize)]
struct DocumentKind<'a> {
    #[serde(borrow)]
    schema: Option<JsonText<'a>>,
    #[serde(borrow)]
    command: Option<JsonText<'a>>,
}

#[derive(Deserialize)]
struct InventoryDocument<'a> {
    #[serde(borrow)]
    root: Option<JsonText<'a>>,
    #[serde(borrow)]
    machine: Option<JsonText<'a>>,
    #[serde(borrow)]
    at: Option<JsonText<'a>>,
    #[serde(borrow)]
    version: Option<JsonText<'a>>,
    #[serde(borrow)]
    patches: Option<AtMost<DocumentPatch<'a>, MOST_PATCHES>>,
    #[serde(borrow)]
    packages: Option<AtMost<ListedPackage<'a>, MOST_PACKAGES>>,
    #[serde(borrow, default)]
    lost: AtMost<ListedFix<'a>, MOST_PATCHES>,
    #[serde(borrow, default)]
    accepted: AtMost<ListedFix<'a>, MOST_PATCHES>,
    #[serde(borrow, default)]
    overtaken: AtMost<ListedFix<'a>, MOST_PATCHES>,
    #[serde(borrow, default)]
    stale: AtMost<ListedStale<'a>, MOST_PACKAGES>,
    #[serde(borrow)]
    unfinished: Option<JsonText<'a>>,
    #[serde(default)]
    partial: bool,
    #[serde(borrow)]
    error: Option<JsonText<'a>>,
    #[serde(borrow)]
    roots: Option<AtMost<InventoryDocument<'a>, MOST_ROOTS>>,
}

#[derive(Deserialize)]
struct DocumentPatch<'a> {
    #[serde(borrow)]
    id: JsonText<'a>,
    #[serde(borrow)]
    state: Vec<JsonText<'a>>,
    #[serde(borrow)]
    by: Option<JsonText<'a>>,
    #[serde(borrow)]
    date: Option<JsonText<'a>>,
    #[serde(borrow)]
    synopsis: Option<JsonText<'a>>,
    #[serde(borrow)]
    packages: Vec<JsonText<'a>>,
    #[serde(borrow, default)]
    obsoletes: Vec<JsonText<'a>>,
    #[serde(borrow, default)]
    fixes: Vec<JsonText<'a>>,
    #[serde(borrow)]
    sha256: Option<JsonText<'a>>,
    #[serde(borrow)]
    undo: Vec<ListedUndo<'a>>,
    #[serde(borrow)]
    removable: ListedRemovable<'a>,
    #[serde(borrow)]
    signature: Option<ListedSignature<'a>>,
    #[serde(borrow)]
    trial: Option<ListedTrial<'a>>,
}

#[derive(Deserialize)]
struct ListedUndo<'a> {
    #[serde(borrow)]
    package: JsonText<'a>,
    #[serde(borrow)]
    state: JsonText<'a>,
    #[serde(default)]
    bytes: u64,
}

#[derive(Deserialize)]
struct ListedRemovable<'a> {
    now: bool,
    #[serde(borrow)]
    reason: Option<JsonText<'a>>,
}

#[derive(Deserialize)]
struct ListedSignature<'a> {
    #[serde(borrow)]
    state: JsonText<'a>,
    #[serde(borrow)]
    key: Option<JsonText<'a>>,
    #[serde(borrow)]
    name: Option<JsonText<'a>>,
}

#[derive(Deserialize)]
struct ListedTrial<'a> {
    #[serde(borrow)]
    run: JsonText<'a>,
    #[serde(borrow)]
    until: JsonText<'a>,
    #[serde(default)]
    over: bool,
    #[serde(borrow)]
    stuck: Option<JsonText<'a>>,
    #[serde(borrow, default)]
    patches: Vec<JsonText<'a>>,
}

#[derive(Deserialize)]
struct ListedPackage<'a> {
    #[serde(borrow)]
    package: JsonText<'a>,
    #[serde(borrow)]
    name: Option<JsonText<'a>>,
    #[serde(borrow)]
    version: Option<JsonText<'a>>,
    #[serde(borrow)]
    arch: Option<JsonText<'a>>,
    #[serde(borrow)]
    manager: Option<JsonText<'a>>,
    #[serde(borrow)]
    native: Option<ListedNative<'a>>,
    #[serde(borrow)]
    purl: Option<JsonText<'a>>,
}

#[derive(Deserialize)]
struct ListedNative<'a> {
    #[serde(borrow)]
    name: JsonText<'a>,
    #[serde(borrow)]
    version: JsonText<'a>,
    #[serde(borrow)]
    arch: JsonText<'a>,
}

#[derive(Deserialize)]
struct ListedFix<'a> {
    #[serde(borrow)]
    id: JsonText<'a>,
    #[serde(borrow)]
    outcome: Option<JsonText<'a>>,
    #[serde(borrow, default)]
    fixes: Vec<JsonText<'a>>,
    #[serde(borrow)]
    manager: JsonText<'a>,
    #[serde(borrow)]
    name: JsonText<'a>,
    #[serde(borrow)]
    version: JsonText<'a>,
}

#[derive(Deserialize)]
struct ListedStale<'a> {
    #[serde(borrow)]
    package: JsonText<'a>,
    #[serde(borrow)]
    reason: JsonText<'a>,
}

/// A list whose length is limited while it is parsed.
struct AtMost<T, const MOST: usize>(Vec<T>);

impl<T, const MOST: usize> Default for AtMost<T, MOST> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>, const MOST: usize> Deserialize<'de> for AtMost<T, MOST> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(AtMostVisitor::<T, MOST>(PhantomData))
    }
}

struct AtMostVisitor<T, const MOST: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MOST: usize> Visitor<'de> for AtMostVisitor<T, MOST> {
    type Value = AtMost<T, MOST>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "a list of at most {MOST} entries")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(entry) = entries.next_element()? {
            if list.len() == MOST {
                return Err(A::Error::custom(format!("a list has more than {MOST} entries")));
            }
            list.push(entry);
        }
        Ok(AtMost(list))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(patch: &str) -> String {
        format!(
            "{{\"schema\":\"patchadm/1\",\"command\":\"list\",\"root\":\"/\",\"patches\":[{{\"id\":\"{patch}\",\"state\":[\"new-word\"],\
             \"packages\":[\"A\"],\"undo\":[],\"removable\":{{\"now\":true}},\"later\":{{\"field\":[1]}}}}],\"packages\":null}}"
        )
    }

    #[test]
    fn a_failed_listing_is_told_in_one_whole_sentence_without_its_hint() {
        let path = format!("/{}", "long/".repeat(60));
        let text = format!("{path} has no package database\\n    nothing was changed\\nhint: patchadm help");
        let document = format!("{{\"schema\":\"patchadm/1\",\"command\":\"list\",\"error\":\"{text}\"}}");
        let error = InventoryReader::default().read(document.as_bytes(), "a").unwrap_err();
        let told = format!("that listing failed: {path} has no package database; nothing was changed");
        assert_eq!(error.to_string(), told);
    }

    #[test]
    fn what_several_hosts_say_of_a_patch_is_there_once() {
        let mut reader = InventoryReader::default();
        let mut read = |name| reader.read(list("100-01").as_bytes(), name).unwrap().inventories.remove(0);
        let (one, other) = (read("a"), read("b"));
        assert!(Arc::ptr_eq(&one.patches[0].about, &other.patches[0].about));
        assert_eq!((one.host(), other.host()), ("a".to_owned(), "b".to_owned()));
    }

    #[test]
    fn fields_and_words_of_a_later_version_are_passed_over() {
        let mut reader = InventoryReader::default();
        let inventory = reader.read(list("7_2_015").as_bytes(), "a").unwrap().inventories.remove(0);
        let patch = &inventory.patches[0];
        assert_eq!((patch.about.id.base(), patch.about.id.revision()), ("7_2", "015"));
        assert_eq!(patch.standing, FleetPatchStanding::Other);
        assert!(inventory.packages.is_none() && inventory.at.is_none() && patch.signature.is_none());
    }

    #[test]
    fn a_text_that_is_small_and_means_much_is_refused() {
        let states = "\"\",".repeat(MOST_VALUES);
        let text = list("100-01").replace("\"new-word\"", &format!("{states}\"\""));
        let error = InventoryReader::default().read(text.as_bytes(), "a").unwrap_err().to_string();
        assert_eq!(error, "it has more than 4000000 fields and entries");
    }

    #[test]
    fn a_name_that_rows_repeat_is_refused_if_it_is_longer_than_names_can_be() {
        let read = |root: usize, machine: usize| {
            let names = format!("\"machine\":\"{}\",\"root\":\"{}\"", "m".repeat(machine), "/".repeat(root));
            let text = list("100-01").replace("\"root\":\"/\"", &names);
            InventoryReader::default()
                .read(text.as_bytes(), "a")
                .map(|_| ())
                .map_err(|error| error.to_string())
        };
        assert_eq!(read(4_096, 255), Ok(()));
        assert_eq!(read(4_096, 256), Err("its `machine` is longer than 255 bytes".to_owned()));
        assert_eq!(read(4_097, 255), Err("its `root` is longer than 4096 bytes".to_owned()));
    }

    #[test]
    fn a_long_synopsis_is_cut() {
        let read = |length: usize| {
            let synopsis = format!("\"state\":[\"effective\"],\"synopsis\":\"{}\"", "s".repeat(length));
            let text = list("100-01").replace("\"state\":[\"new-word\"]", &synopsis);
            let mut read = InventoryReader::default().read(text.as_bytes(), "a").unwrap();
            read.inventories.remove(0).patches[0].about.synopsis.clone().unwrap()
        };
        assert_eq!(read(500), "s".repeat(500));
        assert_eq!(read(100_000), format!("{}…", "s".repeat(499)));
    }

    #[test]
    fn a_field_of_another_kind_is_refused() {
        let text = list("100-01").replace("\"packages\":[\"A\"]", "\"packages\":7");
        let error = InventoryReader::default().read(text.as_bytes(), "a").unwrap_err().to_string();
        let told =
            "it is not the output of `patchadm list --json`: invalid type, expected a sequence at line 1";
        assert!(error.starts_with(told), "{error}");
        for value in ["\"secret\"", "\"a, expected secret: b\"", "{\"secret\":1}"] {
            let text = list("100-01").replace("\"packages\":[\"A\"]", &format!("\"packages\":{value}"));
            let error = InventoryReader::default().read(text.as_bytes(), "a").unwrap_err().to_string();
            assert!(error.contains("invalid type, expected") && !error.contains("secret"), "{error}");
        }
        let nested = "[".repeat(100_000);
        assert!(InventoryReader::default().read(nested.as_bytes(), "a").is_err());
    }

    proptest! {
        #[test]
        fn a_cut_or_changed_document_is_refused_or_read(at in 0_usize..400, byte in any::<u8>()) {
            let text = list("100-01").into_bytes();
            let mut changed = text.clone();
            if let Some(place) = changed.get_mut(at) {
                *place = byte;
            }
            let mut reader = InventoryReader::default();
            let _ = reader.read(&changed, "a");
            prop_assert!(at >= text.len() || reader.read(&text[..at], "a").is_err());
        }
    }
}
