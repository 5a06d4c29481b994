//! The short words of a line: a class, an owner, a group.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// The length of the longest word stored in place, in bytes.
const IN_PLACE: usize = 14;

/// A word that never changes. A word of up to 14 bytes, like nearly all words, takes no memory beyond its own 16 bytes:
/// a package of a million objects has three words for each object.
#[derive(Clone)]
pub struct Word(Text);

#[derive(Clone)]
enum Text {
    InPlace {
        length: u8,
        bytes: [u8; IN_PLACE],
    },
    /// Behind two pointers, so that the enum needs room for only one.
    Elsewhere(Box<Box<str>>),
}

impl Word {
    /// Returns the word as text.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Text::InPlace { length, bytes } => {
                let bytes = bytes.get(..usize::from(*length)).unwrap_or_default();
                // They were made from a `str`.
                std::str::from_utf8(bytes).unwrap_or_default()
            }
            Text::Elsewhere(text) => text,
        }
    }
}

impl From<&str> for Word {
    fn from(text: &str) -> Self {
        let mut bytes = [0; IN_PLACE];
        match (bytes.get_mut(..text.len()), u8::try_from(text.len())) {
            (Some(place), Ok(length)) => {
                place.copy_from_slice(text.as_bytes());
                Self(Text::InPlace { length, bytes })
            }
            _ => Self(Text::Elsewhere(Box::new(text.into()))),
        }
    }
}

impl From<String> for Word {
    fn from(text: String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<&String> for Word {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Word> for String {
    fn from(word: Word) -> Self {
        word.as_str().to_owned()
    }
}

impl Default for Word {
    fn default() -> Self {
        Self::from("")
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl Borrow<str> for Word {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Word {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Word {}

impl PartialEq<str> for Word {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Word {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

impl PartialEq<String> for Word {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<Word> for String {
    fn eq(&self, other: &Word) -> bool {
        self == other.as_str()
    }
}

impl PartialOrd for Word {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Word {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl Hash for Word {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_word_is_its_text_however_long() {
        for text in ["", "none", "a word of 14 b", "ä", &"x".repeat(64), &"é".repeat(7)] {
            let word = Word::from(text);
            assert_eq!((word.as_str(), word.to_string().as_str()), (text, text));
            assert!(HashSet::from([word.clone()]).contains(text));
            assert_eq!(String::from(word), text);
        }
        let (short, long) = (Word::from("root"), Word::from("x".repeat(30)));
        assert!(short < long && Word::default() < short, "they have the order of their texts");
        assert_eq!(size_of::<Option<Word>>(), 16);
    }
}
