//! Texts that are kept once and referred to by number.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

/// Texts with numbers from 0, in the order in which they came.
#[derive(Clone, Debug, Default)]
pub(super) struct InternedTexts {
    texts: Vec<Arc<str>>,
    numbers: HashMap<Arc<str>, u32, RandomState>,
}

impl InternedTexts {
    /// Returns the number of a text, a new one if it has none.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        // Four thousand million different texts do not fit into memory.
        let number = u32::try_from(self.texts.len()).unwrap_or(u32::MAX);
        let text: Arc<str> = text.into();
        self.texts.push(Arc::clone(&text));
        self.numbers.insert(text, number);
        number
    }

    /// Returns the text of a number.
    pub(super) fn get(&self, number: u32) -> Option<&str> {
        self.texts.get(usize::try_from(number).ok()?).map(AsRef::as_ref)
    }

    /// Returns the texts from this number on.
    pub(super) fn from(&self, number: usize) -> impl Iterator<Item = &str> {
        self.texts.iter().skip(number).map(AsRef::as_ref)
    }

    /// Returns how many there are.
    pub(super) fn len(&self) -> usize {
        self.texts.len()
    }
}
