//! Names of libraries as numbers: each is hashed where it is met first, and compared as a number afterwards.

use std::rc::Rc;

use foldhash::HashMap;

/// The number of a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NameNumber(usize);

impl NameNumber {
    /// The number itself: the first name has 0, and none is left out.
    pub(super) const fn index(self) -> usize {
        self.0
    }
}

/// The names that were met.
#[derive(Default)]
pub(super) struct Names {
    numbers: HashMap<Rc<str>, NameNumber>,
    texts: Vec<Rc<str>>,
}

impl Names {
    /// Returns the number of a name, a new one if it was not met yet.
    pub(super) fn number(&mut self, name: &str) -> NameNumber {
        if let Some(number) = self.numbers.get(name) {
            return *number;
        }
        let (number, text) = (NameNumber(self.texts.len()), Rc::<str>::from(name));
        self.texts.push(text.clone());
        self.numbers.insert(text, number);
        number
    }

    /// Returns the name of a number that these names have given.
    pub(super) fn text(&self, number: NameNumber) -> Rc<str> {
        self.texts.get(number.0).cloned().unwrap_or_else(|| Rc::from(""))
    }
}
