//! What libraries offer to their consumers, determined once for each: many programs load the same ones.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::HashMap;

use super::change::SymbolSource;
use super::names::{NameNumber, Names};
use super::tree::LibraryFile;
use crate::elf::SymbolNames;

/// A file, by identity: the trees of a change keep it alive while comparisons are asked.
type FileKey = *const LibraryFile;

/// The versions that libraries lack for consumers that need them under a name: consumer, library, name.
type LackedVersions = HashMap<(FileKey, FileKey, NameNumber), Rc<[String]>>;

/// Symbols that a new library lacks; `None` if they cannot be read.
type LackedSymbols = Option<Rc<SymbolNames>>;

/// Versions that libraries lack for those that need them.
#[derive(Default)]
pub(super) struct VersionComparisons {
    names: Rc<Names>,
    lacked: RefCell<LackedVersions>,
}

impl VersionComparisons {
    /// Returns the names whose numbers they take: a loader has to have them, too.
    pub(super) fn names(&self) -> &Rc<Names> {
        &self.names
    }

    /// Returns the versions that a consumer needs of a library of this name and that it does not define.
    pub(super) fn missing(
        &self,
        consumer: &Arc<LibraryFile>,
        library: &Arc<LibraryFile>,
        name: NameNumber,
    ) -> Rc<[String]> {
        let missing = || consumer.versions_missing_in(library, &self.names.text(name)).into();
        let key = (Arc::as_ptr(consumer), Arc::as_ptr(library), name);
        self.lacked.borrow_mut().entry(key).or_insert_with(missing).clone()
    }
}

/// Comparisons of programs and libraries.
pub(super) struct Comparisons<'c> {
    pub(super) versions: VersionComparisons,
    source: &'c dyn SymbolSource,
    /// Those that an old library exports and a new one does not.
    gone: RefCell<HashMap<[FileKey; 2], LackedSymbols>>,
    /// Those among them that a consumer uses, the consumer first.
    used: RefCell<HashMap<[FileKey; 3], LackedSymbols>>,
}

impl<'c> Comparisons<'c> {
    /// Compares nothing yet.
    pub(super) fn new(source: &'c dyn SymbolSource) -> Self {
        let versions = VersionComparisons::default();
        Self { versions, source, gone: RefCell::default(), used: RefCell::default() }
    }

    /// Returns the symbols that an old library gave a consumer and that nothing in its new closure has. The closure begins
    /// with the program.
    pub(super) fn symbols_missing<'f>(
        &self,
        consumer: &Arc<LibraryFile>,
        (old, new): (&Arc<LibraryFile>, &Arc<LibraryFile>),
        closure: impl Iterator<Item = &'f Arc<LibraryFile>>,
    ) -> Vec<String> {
        let Some(lacked) = self.symbols_lacked(consumer, (old, new)) else { return Vec::new() };
        let mut missing: Vec<&str> = lacked.iter().collect();
        for file in closure {
            if missing.is_empty() {
                break;
            }
            match self.source.symbols(file) {
                Some(symbols) => missing.retain(|name| !symbols.exported.contains(name)),
                None => return Vec::new(),
            }
        }
        missing.into_iter().map(str::to_owned).collect()
    }

    /// Tells whether an old library gave a consumer symbols that the new one lacks.
    pub(super) fn lacks_symbols(
        &self,
        consumer: &Arc<LibraryFile>,
        (old, new): (&Arc<LibraryFile>, &Arc<LibraryFile>),
    ) -> bool {
        !Arc::ptr_eq(old, new)
            && self.symbols_lacked(consumer, (old, new)).is_some_and(|lacked| !lacked.is_empty())
    }

    /// Returns the symbols that an old library gave a consumer and that the new one lacks; `None` if one of them
    /// cannot be read. The consumer is read only where the new library lacks something at all.
    fn symbols_lacked(
        &self,
        consumer: &Arc<LibraryFile>,
        (old, new): (&Arc<LibraryFile>, &Arc<LibraryFile>),
    ) -> LackedSymbols {
        let gone = self.symbols_gone(old, new)?;
        if gone.is_empty() {
            return Some(gone);
        }
        let key = [consumer, old, new].map(Arc::as_ptr);
        let used = || {
            let wanted = self.source.symbols(consumer)?;
            Some(Rc::new(gone.iter().filter(|name| wanted.undefined.contains(name)).collect()))
        };
        self.used.borrow_mut().entry(key).or_insert_with(used).clone()
    }

    /// Returns the symbols that an old library exports and a new one does not; `None` if one of them cannot be read.
    fn symbols_gone(&self, old: &Arc<LibraryFile>, new: &Arc<LibraryFile>) -> LackedSymbols {
        let key = [old, new].map(Arc::as_ptr);
        let gone = || {
            let (given, left) = (self.source.symbols(old)?, self.source.symbols(new)?);
            Some(Rc::new(given.exported.missing_in(&left.exported).collect()))
        };
        self.gone.borrow_mut().entry(key).or_insert_with(gone).clone()
    }
}
