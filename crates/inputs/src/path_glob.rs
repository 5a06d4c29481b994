//! Path patterns of options. Without a slash, a pattern matches the last component at any depth; otherwise the whole
//! path below the base directory, with or without its first slash. `*` and `?` match anything except `/`, `**`
//! anything, `[…]` one of several characters.

use regex::bytes::{Regex, RegexBuilder};

use patchadm_svr4::package::ObjectPath;

const LONGEST: usize = 4096;

/// In bytes, compiled.
const LARGEST_REGEX: usize = 1 << 20;

#[derive(Clone, Debug)]
pub struct PathGlob {
    text: String,
    matcher: Matcher,
    by_name: bool,
}

#[derive(Clone, Debug)]
enum Matcher {
    /// Without wildcards: a scan compares every path of a whole machine with dozens of them.
    Literal(Vec<u8>),
    Wildcards(Regex),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{}> is not a pattern for paths: {reason}", .text.escape_debug())]
pub struct PathGlobError {
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

impl PathGlob {
    pub fn parse(text: &str) -> Result<Self, PathGlobError> {
        let bad = |reason| PathGlobError { text: text.chars().take(200).collect(), reason };
        if text.is_empty() || text.len() > LONGEST {
            return Err(bad("it is empty or too long"));
        }
        let by_name = !text.contains('/');
        let trimmed = text.trim_matches('/');
        if !text.contains(['*', '?', '[']) {
            let matcher = Matcher::Literal(trimmed.as_bytes().to_vec());
            return Ok(Self { text: text.to_owned(), matcher, by_name });
        }
        let body = translated(trimmed).ok_or_else(|| bad("a `[` has no `]`"))?;
        let regex = RegexBuilder::new(&format!("^(?-u:{body})$"))
            .dot_matches_new_line(true)
            .size_limit(LARGEST_REGEX)
            .build();
        let regex = regex.map_err(|_| bad("its `[…]` cannot be read"))?;
        Ok(Self { text: text.to_owned(), matcher: Matcher::Wildcards(regex), by_name })
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn names(&self, path: &ObjectPath) -> bool {
        let named = if self.by_name { path.name() } else { path.relative() };
        match &self.matcher {
            Matcher::Literal(literal) => literal == named,
            Matcher::Wildcards(regex) => regex.is_match(named),
        }
    }

    /// The path, or a directory above it.
    pub fn names_it_or_above(&self, path: &ObjectPath) -> bool {
        self.names(path) || path.ancestors().any(|above| self.names(&above))
    }
}

fn translated(glob: &str) -> Option<String> {
    let mut out = String::new();
    let mut letters = glob.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '*' if letters.next_if_eq(&'*').is_some() => match letters.next_if_eq(&'/') {
                Some(_) => out.push_str("(?:.*/)?"),
                None => out.push_str(".*"),
            },
            '*' => out.push_str("[^/]*"),
            '?' => out.push_str("[^/]"),
            '[' => {
                let negated = letters.next_if(|next| "!^".contains(*next)).is_some();
                let mut set = String::new();
                loop {
                    match letters.next()? {
                        ']' if !set.is_empty() => break,
                        '-' => set.push('-'),
                        other => set.push_str(&regex::escape(&other.to_string())),
                    }
                }
                out.push_str(if negated { "[^/" } else { "[" });
                out.push_str(&set);
                out.push(']');
            }
            other => out.push_str(&regex::escape(&other.to_string())),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_named(glob: &str, path: &str) -> bool {
        PathGlob::parse(glob).unwrap().names(&ObjectPath::new(path.as_bytes()).unwrap())
    }

    #[test]
    fn a_pattern_without_a_slash_is_about_names_and_one_with_a_slash_about_paths() {
        assert!(is_named("*.pyc", "/usr/lib/a.pyc") && !is_named("*.pyc", "/usr/lib.pyc/a"));
        assert!(is_named("etc/*.conf", "/etc/a.conf") && !is_named("etc/*.conf", "/usr/etc/a.conf"));
        assert!(is_named("/etc/**", "/etc/a/b") && !is_named("/etc/*", "/etc/a/b"));
        assert!(is_named("**/doc/x", "/doc/x") && is_named("**/doc/x", "/a/b/doc/x"));
        assert!(is_named("[a-c]?.d", "/bx.d") && !is_named("[!a-c]?.d", "/bx.d"));
        assert!(is_named("a+b", "/a+b") && !is_named("a.b", "/axb"));
        assert!(is_named("?.x", "/\u{a}.x"), "a newline is a letter");
    }

    #[test]
    fn what_lies_below_is_meant_too_where_that_is_asked() {
        let path = ObjectPath::new(b"/usr/share/doc/x").unwrap();
        assert!(PathGlob::parse("usr/share").unwrap().names_it_or_above(&path));
        assert!(!PathGlob::parse("usr/sha").unwrap().names_it_or_above(&path));
    }

    #[test]
    fn an_open_bracket_and_nothing_are_no_patterns() {
        for text in ["", "[a", "[]", "[z-a]"] {
            assert!(PathGlob::parse(text).is_err(), "{text}");
        }
    }
}
