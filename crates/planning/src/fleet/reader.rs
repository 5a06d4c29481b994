//! Reads the documents of `patchadm list --json` as inventories.
//!
//! Another schema, another command, and a document that is cut short are refused with a reason in one line. A reader keeps
//! what it has read: what the next document says again is shared with it.

use std::borrow::{Borrow, Cow};
use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use patchadm_svr4::patch::{FixId, FixList, PatchId, PatchIdError};
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::inventory::{
    Inventory, InventoryPackage, InventoryPatch, InventoryTrial, NativeName, OvertakenFix, PackageUndoState,
    PatchFacts, PatchStanding, SignatureVerdict, StaleRegistration,
};

/// The schema that is read.
const SCHEMA: &str = "patchadm/1";

/// The most fields and entries of a document, by its commas: a text of many empty ones takes many times its size as values.
/// What `list` prints has a comma for every forty bytes.
const MOST_COMMAS: usize = 3_000_000;

/// The separators of base and revision that are tried; the policy of a root may name another one than the first.
const SEPARATORS: [&str; 4] = [PatchId::SEPARATOR, "_", ".", "+"];

/// The reason a document is no inventory.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    /// No JSON, or cut short, or a field is not what it should be.
    #[error("it is no document of `patchadm list --json`: {0}")]
    Form(#[from] serde_json::Error),
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// More fields and entries than are read.
    #[error("it has more than {MOST_COMMAS} fields and entries")]
    TooMany,
    /// Another schema.
    #[error("its schema is <{0}>, and this program reads {SCHEMA}")]
    Schema(String),
    /// The document of another command.
    #[error("it is a document of <{0}>, not of list")]
    Command(String),
    /// A document of `list --lacking`.
    #[error("it lists no patches: it answers another question than `patchadm list`")]
    OtherQuestion,
    /// A document of `list` with an option that leaves patches out.
    #[error("it lists only some of the patches (--fixes or --applied-since)")]
    Partial,
    /// The command had failed.
    #[error("listing had failed: {0}")]
    Failed(String),
    /// A patch that is none.
    #[error("{0}")]
    Patch(#[from] PatchIdError),
}

/// What a document holds: the roots that were listed, and those that could not be.
#[derive(Debug, Default)]
pub struct ReadInventories {
    /// The inventories, in the order of the document.
    pub inventories: Vec<Inventory>,
    /// The roots of a document of many that have no inventory, each with the reason.
    pub failed: Vec<(String, InventoryError)>,
}

/// A reader of inventories.
#[derive(Debug, Default)]
pub struct InventoryReader {
    texts: HashSet<Arc<str>>,
    patches: HashSet<Arc<PatchFacts>>,
    packages: HashSet<Arc<InventoryPackage>>,
    undo: HashSet<Arc<[PackageUndoState]>>,
    signatures: HashSet<Arc<SignatureVerdict>>,
}

impl InventoryReader {
    /// Reads a document. `name` is that of the machine where the document does not tell it.
    pub fn read(&mut self, text: &[u8], name: &str) -> Result<ReadInventories, InventoryError> {
        if text.trim_ascii().is_empty() {
            return Err(InventoryError::Empty);
        }
        if text.iter().map(|byte| usize::from(*byte == b',')).sum::<usize>() > MOST_COMMAS {
            return Err(InventoryError::TooMany);
        }
        let kind: DocumentKind<'_> = serde_json::from_slice(text)?;
        let shown = |text: Option<Text<'_>>| text.map(|text| short(&text.0)).unwrap_or_default();
        if kind.schema.as_ref().is_none_or(|schema| schema.0 != SCHEMA) {
            return Err(InventoryError::Schema(shown(kind.schema)));
        }
        if kind.command.as_ref().is_none_or(|command| command.0 != "list") {
            return Err(InventoryError::Command(shown(kind.command)));
        }
        let mut document: ListDocument<'_> = serde_json::from_slice(text)?;
        let mut read = ReadInventories::default();
        match document.roots.take() {
            None => read.inventories.push(self.inventory(document, name)?),
            Some(roots) => {
                for root in roots.0 {
                    let path = root.root.as_ref().map(|root| root.0.clone().into_owned()).unwrap_or_default();
                    match self.inventory(root, name) {
                        Ok(inventory) => read.inventories.push(inventory),
                        Err(error) => read.failed.push((path, error)),
                    }
                }
            }
        }
        Ok(read)
    }

    fn inventory(&mut self, document: ListDocument<'_>, name: &str) -> Result<Inventory, InventoryError> {
        let Some(patches) = document.patches else {
            return Err(match document.error {
                Some(error) => InventoryError::Failed(short(&error.0)),
                None => InventoryError::OtherQuestion,
            });
        };
        if document.partial {
            return Err(InventoryError::Partial);
        }
        let trial = patches.0.iter().find_map(|patch| patch.trial.as_ref()).map(trial_of);
        // Lists of their own: one that is collected in the place of what was read stays as large as that.
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
        Ok(Inventory {
            machine: document.machine.map_or_else(|| name.to_owned(), Text::owned),
            root: document.root.map_or_else(|| "/".to_owned(), Text::owned),
            at: document.at.and_then(|at| moment(&at)),
            version: document.version.map(|version| self.text(&version.0)),
            patches: kept,
            packages,
            lost: document.lost.0.into_iter().map(OvertakenFix::from).collect(),
            contained: contained.map(OvertakenFix::from).collect(),
            accepted: document.accepted.0.into_iter().map(OvertakenFix::from).collect(),
            stale: document.stale.0.into_iter().map(StaleRegistration::from).collect(),
            trial,
            unfinished: document.unfinished.map(Text::owned),
        })
    }

    fn patch(&mut self, patch: ListedPatch<'_>) -> Result<InventoryPatch, InventoryError> {
        let state = |word: &str| patch.state.iter().any(|state| state.0 == word);
        let obsoletes = patch.obsoletes.iter().filter_map(|id| patch_id(&id.0).ok());
        let facts = PatchFacts {
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
        let reason = || patch.removable.reason.as_ref().map_or("no reason is told", |reason| &*reason.0);
        Ok(InventoryPatch {
            standing: standing(&patch.state),
            is_restricted: state("restricted"),
            is_partly_overtaken: state("partly-overtaken"),
            is_partly_lost: state("partly-lost"),
            by: patch.by.as_ref().map(|by| self.text(&by.0)),
            date: patch.date.as_ref().and_then(moment),
            undo: shared(&mut self.undo, undo.collect::<Vec<_>>()),
            undo_bytes: patch.undo.iter().fold(0, |sum, undo| sum.saturating_add(undo.bytes)),
            stuck: (!patch.removable.now).then(|| self.text(reason())),
            signature: patch.signature.map(|signature| shared(&mut self.signatures, verdict(signature))),
            about: shared(
                &mut self.patches,
                PatchFacts {
                    synopsis: patch.synopsis.map(Text::owned),
                    packages: patch.packages.into_iter().map(Text::owned).collect(),
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
            name: package.name.map(Text::owned),
            version: package.version.map(Text::owned).unwrap_or_default(),
            arch: package.arch.map(Text::owned).unwrap_or_default(),
            manager: package.manager.map(Text::owned),
            native,
            purl: package.purl.map(Text::owned),
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

/// Returns the one copy of a value.
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

/// Parses an id whose root may have another separator than the usual one.
pub(super) fn patch_id(text: &str) -> Result<PatchId, PatchIdError> {
    let usual = PatchId::new(text);
    if usual.is_ok() {
        return usual;
    }
    SEPARATORS.iter().find_map(|separator| PatchId::parse(text, separator).ok()).map_or(usual, Ok)
}

fn standing(state: &[Text<'_>]) -> PatchStanding {
    let named = |text: &Text<'_>| PatchStanding::ALL.into_iter().find(|standing| standing.word() == text.0);
    state.first().map_or(PatchStanding::Other, |first| named(first).unwrap_or(PatchStanding::Other))
}

fn trial_of(trial: &ListedTrial<'_>) -> InventoryTrial {
    let owned = |text: &Text<'_>| text.0.clone().into_owned();
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
        key: signature.key.map(Text::owned),
        name: signature.name.map(Text::owned),
    }
}

/// Returns the ids of fixes among some words: what is none cannot be told to a scanner.
fn fixes(words: &[Text<'_>]) -> Vec<String> {
    let ids = words.iter().filter_map(|word| FixId::new(&word.0).ok());
    ids.collect::<FixList>().to_strings()
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn moment(text: &Text<'_>) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(&text.0).ok().map(|moment| moment.to_utc())
}

/// Returns a text of a stranger as a message has it: one line, and not too long.
pub(super) fn short(text: &str) -> String {
    text.chars().take(200).flat_map(char::escape_debug).collect()
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

// DOC The documents of `patchadm list --json` as they are read: fields that a later program may add are passed over, those of
// DOC an earlier one that lacks some are read all the same.
// DOC
// DOC Texts are borrowed from the document. Lists are limited while they are read, so that a hostile document takes no more
// DOC memory than a few times its size.

/// The most patches of a root.
const MOST_PATCHES: usize = 20_000;

/// The most packages of a root.
const MOST_PACKAGES: usize = 200_000;

/// The most roots of a document.
const MOST_ROOTS: usize = 20_000;

/// A text of a document.
#[derive(Deserialize)]
pub(super) struct Text<'a>(#[serde(borrow)] pub(super) Cow<'a, str>);

impl Text<'_> {
    pub(super) fn owned(self) -> String {
        self.0.into_owned()
    }
}

/// The first fields of a document: enough to refuse it.
#[derive(Deserialize)]
pub(super) struct DocumentKind<'a> {
    #[serde(borrow)]
    pub(super) schema: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) command: Option<Text<'a>>,
}

/// A document of `list`: of one root, of many, or of a command that came to no answer.
#[derive(Deserialize)]
pub(super) struct ListDocument<'a> {
    #[serde(borrow)]
    pub(super) root: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) machine: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) at: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) version: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) patches: Option<AtMost<ListedPatch<'a>, MOST_PATCHES>>,
    #[serde(borrow)]
    pub(super) packages: Option<AtMost<ListedPackage<'a>, MOST_PACKAGES>>,
    #[serde(borrow, default)]
    pub(super) lost: AtMost<ListedFix<'a>, MOST_PATCHES>,
    #[serde(borrow, default)]
    pub(super) accepted: AtMost<ListedFix<'a>, MOST_PATCHES>,
    #[serde(borrow, default)]
    pub(super) overtaken: AtMost<ListedFix<'a>, MOST_PATCHES>,
    #[serde(borrow, default)]
    pub(super) stale: AtMost<ListedStale<'a>, MOST_PACKAGES>,
    #[serde(borrow)]
    pub(super) unfinished: Option<Text<'a>>,
    #[serde(default)]
    pub(super) partial: bool,
    #[serde(borrow)]
    pub(super) error: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) roots: Option<AtMost<ListDocument<'a>, MOST_ROOTS>>,
}

/// A patch.
#[derive(Deserialize)]
pub(super) struct ListedPatch<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) state: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) by: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) date: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) synopsis: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) packages: Vec<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) obsoletes: Vec<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) fixes: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) sha256: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) undo: Vec<ListedUndo<'a>>,
    #[serde(borrow)]
    pub(super) removable: ListedRemovable<'a>,
    #[serde(borrow)]
    pub(super) signature: Option<ListedSignature<'a>>,
    #[serde(borrow)]
    pub(super) trial: Option<ListedTrial<'a>>,
}

/// The undo data of a patch in one package.
#[derive(Deserialize)]
pub(super) struct ListedUndo<'a> {
    #[serde(borrow)]
    pub(super) package: Text<'a>,
    #[serde(borrow)]
    pub(super) state: Text<'a>,
    #[serde(default)]
    pub(super) bytes: u64,
}

/// Whether a patch could be backed out.
#[derive(Deserialize)]
pub(super) struct ListedRemovable<'a> {
    pub(super) now: bool,
    #[serde(borrow)]
    pub(super) reason: Option<Text<'a>>,
}

/// A verdict on a signature.
#[derive(Deserialize)]
pub(super) struct ListedSignature<'a> {
    #[serde(borrow)]
    pub(super) state: Text<'a>,
    #[serde(borrow)]
    pub(super) key: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
}

/// A trial.
#[derive(Deserialize)]
pub(super) struct ListedTrial<'a> {
    #[serde(borrow)]
    pub(super) run: Text<'a>,
    #[serde(borrow)]
    pub(super) until: Text<'a>,
    #[serde(default)]
    pub(super) over: bool,
    #[serde(borrow)]
    pub(super) stuck: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) patches: Vec<Text<'a>>,
}

/// A package.
#[derive(Deserialize)]
pub(super) struct ListedPackage<'a> {
    #[serde(borrow)]
    pub(super) package: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) version: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) arch: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) manager: Option<Text<'a>>,
    #[serde(borrow)]
    pub(super) native: Option<ListedNative<'a>>,
    #[serde(borrow)]
    pub(super) purl: Option<Text<'a>>,
}

/// The name of a package in its package manager.
#[derive(Deserialize)]
pub(super) struct ListedNative<'a> {
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) version: Text<'a>,
    #[serde(borrow)]
    pub(super) arch: Text<'a>,
}

/// A lost fix.
#[derive(Deserialize)]
pub(super) struct ListedFix<'a> {
    #[serde(borrow)]
    pub(super) id: Text<'a>,
    #[serde(borrow)]
    pub(super) outcome: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) fixes: Vec<Text<'a>>,
    #[serde(borrow)]
    pub(super) manager: Text<'a>,
    #[serde(borrow)]
    pub(super) name: Text<'a>,
    #[serde(borrow)]
    pub(super) version: Text<'a>,
}

/// A stale registration.
#[derive(Deserialize)]
pub(super) struct ListedStale<'a> {
    #[serde(borrow)]
    pub(super) package: Text<'a>,
    #[serde(borrow)]
    pub(super) reason: Text<'a>,
}

/// A list of at most so many entries.
pub(super) struct AtMost<T, const MOST: usize>(pub(super) Vec<T>);

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
        assert_eq!(patch.standing, PatchStanding::Other);
        assert!(inventory.packages.is_none() && inventory.at.is_none() && patch.signature.is_none());
    }

    #[test]
    fn a_text_that_is_small_and_means_much_is_refused() {
        let states = "\"\",".repeat(MOST_COMMAS);
        let text = list("100-01").replace("\"new-word\"", &format!("{states}\"\""));
        let error = InventoryReader::default().read(text.as_bytes(), "a").unwrap_err().to_string();
        assert_eq!(error, "it has more than 3000000 fields and entries");
    }

    #[test]
    fn a_field_of_another_kind_is_refused() {
        let text = list("100-01").replace("\"packages\":[\"A\"]", "\"packages\":7");
        let error = InventoryReader::default().read(text.as_bytes(), "a").unwrap_err().to_string();
        assert!(error.starts_with("it is no document of `patchadm list --json`: invalid type"), "{error}");
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
