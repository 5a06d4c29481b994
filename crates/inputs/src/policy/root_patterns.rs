//! Patterns for the directories of roots, as the policy of the host names them.

use regex::bytes::Regex;

/// Patterns for physical paths of roots; `*` stands for any letters but `/`.
#[derive(Clone, Debug, Default)]
pub struct RootPatterns(Vec<Regex>);

impl RootPatterns {
    /// Reads patterns between blanks or commas; each must be an absolute path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = text.split([',', ' ', '\t', '\n']).filter(|word| !word.is_empty());
        words.map(pattern).collect::<Result<_, _>>().map(Self)
    }

    /// Tells whether one of them names the directory at this physical path.
    pub fn name(&self, path: &[u8]) -> bool {
        self.0.iter().any(|pattern| pattern.is_match(path))
    }

    /// Tells whether one of them names the directory at this physical path, or one above it.
    pub fn name_it_or_above(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(at, byte)| *at > 0 && **byte == b'/');
        let above = slashes.filter_map(|(at, _)| path.get(..at));
        above.chain([path, b"/"]).any(|path| self.name(path))
    }
}

fn pattern(word: &str) -> Result<Regex, String> {
    if !word.starts_with('/') {
        return Err(format!("<{word}> is not an absolute path"));
    }
    let tidy = if word.len() > 1 { word.trim_end_matches('/') } else { word };
    let pieces: Vec<String> = tidy.split('*').map(regex::escape).collect();
    let text = format!("^(?-u:{})$", pieces.join("[^/]*"));
    regex::bytes::RegexBuilder::new(&text)
        .dot_matches_new_line(true)
        .build()
        .map_err(|_| format!("<{word}> is too long for a pattern"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stays_between_two_slashes() {
        let patterns = RootPatterns::parse("/zones/*/root, /images/a.b/").unwrap();
        for (path, named) in [
            ("/zones/a/root", true),
            ("/zones/a/b/root", false),
            ("/zones/a/root/x", false),
            ("/images/a.b", true),
            ("/images/axb", false),
        ] {
            assert_eq!(patterns.name(path.as_bytes()), named, "{path}");
        }
        assert!(patterns.name(b"/zones/\xff\n/root"), "paths are bytes");
        assert!(patterns.name_it_or_above(b"/zones/a/root/x/y"));
        assert!(!patterns.name_it_or_above(b"/zones/a"));
    }

    #[test]
    fn a_pattern_is_an_absolute_path() {
        assert_eq!(RootPatterns::parse("zones").unwrap_err(), "<zones> is not an absolute path");
        assert!(!RootPatterns::default().name(b"/"));
    }
}
