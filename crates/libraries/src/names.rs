//! Names of libraries, and paths, as numbers: each is hashed on its first occurrence, and compared as a number
//! afterwards.

use std::cell::RefCell;
use std::rc::Rc;

use foldhash::HashMap;
use patchadm_svr4::package::ObjectPath;

/// The number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct NameNumber(u32);

impl NameNumber {
    /// Returns the number itself: the first name has 0, and none is left out.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The number of a physical path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct PathNumber(u32);

impl PathNumber {
    /// Returns the number itself: the first path has 0, and none is left out.
    pub(super) const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The names and paths that were met; those who share it have the same numbers.
#[derive(Debug, Default)]
pub(super) struct Names(RefCell<KnownNames>);

#[derive(Debug, Default)]
struct KnownNames {
    numbers: HashMap<Rc<str>, NameNumber>,
    texts: Vec<Rc<str>>,
    paths: HashMap<ObjectPath, PathNumber>,
}

impl Names {
    /// Returns the number of a name, a new one if it was not met yet.
    pub(super) fn number(&self, name: &str) -> NameNumber {
        let mut known = self.0.borrow_mut();
        if let Some(number) = known.numbers.get(name) {
            return *number;
        }
        // Files with so many names do not fit into memory.
        let number = NameNumber(u32::try_from(known.texts.len()).unwrap_or(u32::MAX));
        let text = Rc::<str>::from(name);
        known.texts.push(text.clone());
        known.numbers.insert(text, number);
        number
    }

    /// Returns the name of a number that these names have given.
    pub(super) fn text(&self, number: NameNumber) -> Rc<str> {
        self.0.borrow().texts.get(number.index()).cloned().unwrap_or_else(|| Rc::from(""))
    }

    /// Returns the number of a path, a new one if it was not met yet.
    pub(super) fn path_number(&self, path: &ObjectPath) -> PathNumber {
        let mut known = self.0.borrow_mut();
        let next = PathNumber(u32::try_from(known.paths.len()).unwrap_or(u32::MAX));
        *known.paths.entry(path.clone()).or_insert(next)
    }
}
