//! Texts of changed files, before and after, in a plan. A plan may go into a log that others read, so it
//! shows only files that everybody may read. Sizes are limited: per file, in total, and of bytes read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use super::content::{ContentPlace, SourceBytes, live_bytes, source_bytes};
use patchadm_changeset::format::manifest::RecordedState;
use patchadm_changeset::transaction::ContentSource;
use patchadm_planning::plan::states::{state_after, state_before};
use patchadm_planning::plan::{Action, Change, Plan};
use patchadm_rootfs::{Digest, FileType, Interrupt, Root};
use patchadm_svr4::package::{Mode, ObjectPath};

const LARGEST_TEXT: u64 = 64 << 10;

const MOST_LINES: usize = 4_000;

const MOST_FILES: usize = 100;

const MOST_BYTES: u64 = 1 << 20;

const MOST_READ: u64 = 16 << 20;

/// Texts of changed files, or why they are not shown.
pub type ChangedTexts = BTreeMap<ObjectPath, Result<ChangedText, NotShown>>;

/// `None` if there is no file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedText {
    pub before: Option<String>,
    pub after: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotShown {
    /// Not everybody may read it, before or after.
    Mode(Mode),
    /// Not everybody may enter this parent directory.
    Directory(ObjectPath, Mode),
    /// Larger than 64 KiB.
    Large,
    /// More than 4,000 lines.
    Lines,
    /// The total limit is reached.
    Enough,
    NoText,
    /// Made by a script.
    Script,
    /// It depends on an earlier patch whose result is not shown.
    Earlier,
    /// The caller cannot read it, or it is changing.
    Unreadable,
}

impl fmt::Display for NotShown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mode(mode) => write!(f, "its mode is {mode}"),
            Self::Directory(path, mode) => write!(f, "the mode of {path} is {mode}"),
            Self::Large => write!(f, "it is larger than {} KiB", LARGEST_TEXT >> 10),
            Self::Lines => write!(f, "it has more than {MOST_LINES} lines"),
            Self::Enough => write!(f, "{MOST_FILES} files or {} MiB are shown already", MOST_BYTES >> 20),
            Self::NoText => f.write_str("it is not UTF-8 text"),
            Self::Script => f.write_str("a class action script makes it"),
            Self::Earlier => f.write_str("an earlier patch makes it, and that is not shown"),
            Self::Unreadable => f.write_str("it cannot be read"),
        }
    }
}

#[derive(Clone)]
pub(super) struct TextReader<'a> {
    root: &'a Root,
    interrupt: Interrupt<'a>,
    files: usize,
    bytes: u64,
    read: u64,
    /// Files after the earlier plans; `None` if unknown.
    left: BTreeMap<ObjectPath, Option<String>>,
    directories: BTreeMap<ObjectPath, Option<Mode>>,
}

struct ChangedFile<'p> {
    path: &'p ObjectPath,
    before: Option<RecordedState>,
    after: Option<RecordedState>,
    place: ContentPlace,
}

impl<'a> TextReader<'a> {
    pub(super) fn new(root: &'a Root, interrupt: Interrupt<'a>) -> Self {
        let (left, directories) = (BTreeMap::new(), BTreeMap::new());
        Self { root, interrupt, files: 0, bytes: 0, read: 0, left, directories }
    }

    /// `digests` are the known ones of delivered files. The contents of files in `scripted` are unknown.
    pub(super) fn read(
        &mut self,
        (plan, digests): (&Plan, &BTreeMap<ObjectPath, Digest>),
        scripted: &BTreeSet<ObjectPath>,
        content: &mut dyn ContentSource,
    ) -> ChangedTexts {
        let changes = || plan.changes.iter().map(Box::as_ref);
        let by_path: HashMap<&ObjectPath, &Change> = changes().map(|change| (&change.path, change)).collect();
        let files = changes().filter_map(|change| ChangedFile::of(change, &by_path, digests));
        let (mut texts, mut readable, mut wanted) = (ChangedTexts::new(), Vec::new(), HashSet::new());
        for file in files {
            let refused = if scripted.contains(file.path) { Err(NotShown::Script) } else { Ok(()) };
            match refused.and_then(|()| self.must_be_open(&file, &by_path)).and_then(|()| self.reserve(&file))
            {
                Ok(()) => {
                    if let ContentPlace::Source(package, path) = &file.place {
                        wanted.insert((*package, path.clone()));
                    }
                    readable.push(file);
                }
                Err(reason) => drop(texts.insert(file.path.clone(), Err(reason))),
            }
        }
        // A damaged source is refused elsewhere.
        let found = source_bytes(content, &wanted, LARGEST_TEXT, self.interrupt).unwrap_or_default();
        for file in readable {
            let text = self.text(&file, &found);
            if !matches!(&text, Ok(text) if text.before == text.after) {
                texts.insert(file.path.clone(), text);
            }
        }
        // After the loop: all objects of a plan see the same state of a path.
        let left =
            |text: &Result<ChangedText, NotShown>| text.as_ref().ok().and_then(|text| text.after.clone());
        self.left.extend(texts.iter().map(|(path, text)| (path.clone(), left(text))));
        texts
    }

    fn must_be_open(
        &mut self,
        file: &ChangedFile<'_>,
        all: &HashMap<&ObjectPath, &Change>,
    ) -> Result<(), NotShown> {
        const READABLE_BY_ALL: u32 = 0o4;
        let states = || file.before.iter().chain(&file.after);
        if let Some(closed) = states().find(|state| state.mode & READABLE_BY_ALL == 0) {
            return Err(NotShown::Mode(Mode::of(closed.mode)));
        }
        let physical = self.root.resolver().locate_object(file.path).map_err(|_| NotShown::Unreadable)?;
        let above = file.path.ancestors().chain(physical.ancestors());
        for directory in above.filter(|directory| *directory != ObjectPath::root()) {
            if let Some(mode) = self.closed(&directory, all)? {
                return Err(NotShown::Directory(directory, mode));
            }
        }
        Ok(())
    }

    /// Returns the mode of a directory that not everybody may enter, before or after.
    fn closed(
        &mut self,
        directory: &ObjectPath,
        all: &HashMap<&ObjectPath, &Change>,
    ) -> Result<Option<Mode>, NotShown> {
        const OPEN_TO_ALL: u32 = 0o1;
        let planned = all.get(directory).and_then(|change| state_after(change, all));
        let planned =
            planned.filter(|state| state.kind == FileType::Directory).map(|state| Mode::of(state.mode));
        let live = if let Some(known) = self.directories.get(directory) {
            *known
        } else {
            let found = self.live_mode(directory)?;
            self.directories.insert(directory.clone(), found);
            found
        };
        Ok([live, planned].into_iter().flatten().find(|mode| mode.bits() & OPEN_TO_ALL == 0))
    }

    fn live_mode(&self, directory: &ObjectPath) -> Result<Option<Mode>, NotShown> {
        let unreadable = |_| NotShown::Unreadable;
        let found = self.root.resolver().directory_behind(directory).map_err(unreadable)?;
        Ok(found.map(|(_, status)| status.mode))
    }

    fn reserve(&mut self, file: &ChangedFile<'_>) -> Result<(), NotShown> {
        let sizes = file.before.iter().chain(&file.after).map(|state| state.size.unwrap_or_default());
        if sizes.clone().any(|size| size > LARGEST_TEXT) {
            return Err(NotShown::Large);
        }
        let read = sizes.fold(self.read, u64::saturating_add);
        if read > MOST_READ || self.files >= MOST_FILES {
            return Err(NotShown::Enough);
        }
        self.read = read;
        Ok(())
    }

    fn text(&mut self, file: &ChangedFile<'_>, found: &SourceBytes) -> Result<ChangedText, NotShown> {
        let before = match &file.before {
            Some(state) => Some(self.text_before(file.path, state)?),
            None => None,
        };
        let after = match (&file.after, &file.place) {
            (None, _) => None,
            (Some(state), ContentPlace::Live(path)) => Some(self.text_before(path, state)?),
            (Some(state), ContentPlace::Source(package, path)) => {
                let bytes = found.get(&(*package, path.clone())).cloned();
                Some(as_text(bytes, state)?)
            }
            (Some(_), ContentPlace::Nothing) => return Err(NotShown::Unreadable),
        };
        if before == after {
            return Ok(ChangedText { before, after });
        }
        let size = before.iter().chain(&after).map(|text| text.len() as u64).sum::<u64>();
        let bytes = self.bytes.saturating_add(size);
        if self.files >= MOST_FILES || bytes > MOST_BYTES {
            return Err(NotShown::Enough);
        }
        (self.files, self.bytes) = (self.files + 1, bytes);
        Ok(ChangedText { before, after })
    }

    fn text_before(&self, path: &ObjectPath, state: &RecordedState) -> Result<String, NotShown> {
        if let Some(left) = self.left.get(path) {
            return left.clone().ok_or(NotShown::Earlier);
        }
        let bytes = live_bytes(self.root, path, LARGEST_TEXT).map_err(|_| NotShown::Unreadable)?;
        as_text(bytes, state)
    }
}

impl<'p> ChangedFile<'p> {
    /// `None` if neither side is a file, or both have the same bytes.
    fn of(
        change: &'p Change,
        all: &HashMap<&ObjectPath, &Change>,
        digests: &BTreeMap<ObjectPath, Digest>,
    ) -> Option<Self> {
        let place = match &change.action {
            Action::Add(new) | Action::Replace(new) => ContentPlace::of(new, all),
            Action::Delete => ContentPlace::Nothing,
            Action::Attributes(_) | Action::RemoveDirectory => return None,
        };
        let (before, after) = (state_before(change), state_after(change, all));
        let are_files = before.iter().chain(&after).all(|state| state.kind == FileType::Regular);
        let digest = |state: &Option<RecordedState>| state.as_ref().and_then(RecordedState::digest);
        let delivered = digests.get(&change.path).copied();
        let are_same = digest(&before).is_some_and(|known| Some(known) == digest(&after).or(delivered));
        (are_files && !are_same).then_some(Self { path: &change.path, before, after, place })
    }
}

/// Splits texts that were read together.
pub fn texts_of_plan(plan: &Plan, texts: &mut ChangedTexts) -> ChangedTexts {
    plan.changes.iter().filter_map(|change| texts.remove_entry(&change.path)).collect()
}

fn as_text(bytes: Option<Vec<u8>>, state: &RecordedState) -> Result<String, NotShown> {
    let is_it = |bytes: &Vec<u8>| state.size.is_none_or(|size| bytes.len() as u64 == size);
    let bytes = bytes.filter(is_it).ok_or(NotShown::Unreadable)?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.contains('\0')).ok_or(NotShown::NoText)?;
    if text.lines().count() > MOST_LINES { Err(NotShown::Lines) } else { Ok(text) }
}
