//! The treatment of libraries that a change takes away, as policy and options state it.

/// The treatment of libraries that a change takes away.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LibraryWords {
    /// They stay for those who still need them.
    pub keep: bool,
    /// A change is refused if a consumer loses a library.
    pub stop: bool,
}

impl LibraryWords {
    /// Reads `report`, `keep`, `stop` or `keep,stop`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = Self::default();
        for word in text.split(',') {
            match word {
                "report" if text == "report" => {}
                "keep" if !words.keep => words.keep = true,
                "stop" if !words.stop => words.stop = true,
                _ => return None,
            }
        }
        Some(words)
    }

    /// Returns the words, `report` where there is none.
    pub fn names(self) -> Vec<&'static str> {
        let words = [(self.keep, "keep"), (self.stop, "stop")];
        let words: Vec<&str> = words.iter().filter(|(is_set, _)| *is_set).map(|(_, word)| *word).collect();
        if words.is_empty() { vec!["report"] } else { words }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_report_keep_stop_and_both() {
        let names = |text| LibraryWords::parse(text).map(LibraryWords::names);
        assert_eq!(names("report"), Some(vec!["report"]));
        assert_eq!(names("stop,keep"), Some(vec!["keep", "stop"]));
        for bad in ["", "keep,", "keep,keep", "report,keep", "Keep"] {
            assert_eq!(names(bad), None, "{bad}");
        }
    }
}
