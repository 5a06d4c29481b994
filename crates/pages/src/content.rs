//! Contents of a page before rendering, with untrusted text.

#[derive(Clone, Debug, Default)]
pub struct Page {
    pub title: String,
    /// Names and values for the whole page.
    pub facts: Vec<(String, String)>,
    pub sections: Vec<PageSection>,
}

/// The patches of one machine.
#[derive(Clone, Debug, Default)]
pub struct PageSection {
    pub heading: String,
    pub facts: Vec<(String, String)>,
    /// In the order to apply them.
    pub patches: Vec<PagePatch>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, Default)]
pub struct PagePatch {
    pub base: String,
    pub installed: Option<String>,
    pub current: Option<String>,
    pub state: PagePatchState,
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

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PagePatchState {
    Missing,
    /// Applied in the current revision.
    Current,
    /// A lower revision is applied, and nothing has to be done.
    Older,
    /// A higher revision is applied.
    Newer,
    /// Applied, but missing in the compared list.
    Unlisted,
    /// Not applied and not needed.
    #[default]
    NotNeeded,
}

impl PagePatchState {
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

    pub(super) fn class(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Current | Self::Newer => "fine",
            Self::Older | Self::Unlisted | Self::NotNeeded => "quiet",
        }
    }
}

impl PagePatch {
    /// The id of the row's revision.
    pub(super) fn id(&self) -> String {
        match self.current.as_ref().or(self.installed.as_ref()) {
            Some(revision) => format!("{}-{revision}", self.base),
            None => self.base.clone(),
        }
    }

    pub(super) fn flags(&self) -> Vec<&'static str> {
        let flags = [
            (self.is_recommended, "recommended"),
            (self.is_security, "security"),
            (self.is_withdrawn, "withdrawn"),
        ];
        flags.into_iter().filter_map(|(is_set, word)| is_set.then_some(word)).collect()
    }

    /// Kinds for the table's filter.
    pub(super) fn kinds(&self) -> String {
        let applied = self.installed.is_some().then_some("applied");
        let missing = (self.state == PagePatchState::Missing).then_some("missing");
        let kinds: Vec<&str> = self.flags().into_iter().chain(applied).chain(missing).collect();
        kinds.join(" ")
    }
}

/// The anchor of a patch's details.
pub(super) fn anchor(section: usize, place: usize) -> String {
    format!("p{section}-{place}")
}

/// Ids of a requirement, separated by `|`.
pub(super) fn alternatives(entry: &str) -> impl Iterator<Item = &str> {
    entry.split('|').map(str::trim).filter(|id| !id.is_empty())
}

/// The part of an id before its revision.
pub(super) fn base_of(id: &str) -> &str {
    id.rsplit_once('-').map_or(id, |(base, _)| base)
}
