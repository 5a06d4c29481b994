//! The contents of a page before it is rendered: values only, with texts as strangers wrote them.

/// A page about patches.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub title: String,
    /// The facts about the whole page: names and values.
    pub facts: Vec<(String, String)>,
    pub sections: Vec<PageSection>,
}

/// A part of a page: the patches of one machine.
#[derive(Clone, Debug, Default)]
pub struct PageSection {
    pub heading: String,
    pub facts: Vec<(String, String)>,
    /// The patches, in the order to apply them.
    pub patches: Vec<PagePatch>,
    /// Other remarks.
    pub notes: Vec<String>,
}

/// A patch of a page.
#[derive(Clone, Debug, Default)]
pub struct PagePatch {
    pub base: String,
    pub installed: Option<String>,
    pub current: Option<String>,
    pub state: PatchState,
    pub is_recommended: bool,
    pub is_security: bool,
    pub is_withdrawn: bool,
    pub date: Option<String>,
    pub age_days: Option<u32>,
    pub synopsis: String,
    pub packages: Vec<String>,
    /// Ids, or alternatives with `|` between them.
    pub requires: Vec<String>,
    pub size: Option<u64>,
    pub reboot: Option<String>,
}

/// How a machine stands to a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PatchState {
    /// It is lacking.
    Missing,
    /// It is applied in the current revision.
    Current,
    /// A lower revision is applied, and nothing has to be done.
    Older,
    /// A higher revision is applied.
    Newer,
    /// It is applied, and what is compared with does not have it.
    Unlisted,
    /// It is not applied and need not be.
    #[default]
    NotNeeded,
}

impl PatchState {
    /// Returns the word for it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Current => "current",
            Self::Older => "older",
            Self::Newer => "newer",
            Self::Unlisted => "not listed",
            Self::NotNeeded => "not needed",
        }
    }

    /// Returns the class of its colour.
    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Current | Self::Newer => "fine",
            Self::Older | Self::Unlisted | Self::NotNeeded => "quiet",
        }
    }
}

impl PagePatch {
    /// Returns the id of the revision that the row is about.
    pub(super) fn id(&self) -> String {
        match self.current.as_ref().or(self.installed.as_ref()) {
            Some(revision) => format!("{}-{revision}", self.base),
            None => self.base.clone(),
        }
    }

    /// Returns its flags in words.
    pub(super) fn flags(&self) -> Vec<&'static str> {
        let flags = [
            (self.is_recommended, "recommended"),
            (self.is_security, "security"),
            (self.is_withdrawn, "withdrawn"),
        ];
        flags.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect()
    }

    /// Returns the kinds that a table is filtered by.
    pub(super) fn kinds(&self) -> String {
        let applied = self.installed.is_some().then_some("applied");
        let missing = (self.state == PatchState::Missing).then_some("missing");
        let kinds: Vec<&str> = self.flags().into_iter().chain(applied).chain(missing).collect();
        kinds.join(" ")
    }
}
