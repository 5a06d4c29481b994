//! The documents of `patchadm list --json` as they are read: fields that a later program may add are passed over, those of
//! an earlier one that lacks some are read all the same.
//!
//! Texts are borrowed from the document. Lists are limited while they are read, so that a hostile document takes no more
//! memory than a few times its size.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

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
