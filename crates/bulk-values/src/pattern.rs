//! Patterns of pkgsrc, which say what packages a dependency means, by the rules of `pkg_install`.
//!
//! | form | means |
//! | --- | --- |
//! | `name>=1.0<2`, `name>1` | the package of this name with a version in the range |
//! | `name-1.*`, `name-[0-9]*` | every `PKGNAME` that the shell pattern matches |
//! | `{a,b}-[0-9]*` | nestable alternatives as in csh, each a pattern of another form |
//! | `name-1.0` | exactly this `PKGNAME` |

use std::cmp::Ordering;
use std::convert::Infallible;

use crate::records::PkgName;

const LONGEST: usize = 1024;

/// Expanded patterns without braces.
const MOST_ALTERNATIVES: usize = 256;

const MOST_BRACES: usize = 32;

#[derive(Clone, Debug)]
pub struct Pattern {
    alternatives: Vec<Alternative>,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> is not a pattern: {reason}")]
pub struct PatternError {
    /// The beginning of the text.
    pub text: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug)]
pub(crate) enum Alternative {
    Exact(Box<str>),
    Range { name: Box<str>, bounds: Vec<Bound> },
    Shell(ShellPattern),
}

#[derive(Clone, Debug)]
pub(crate) struct Bound {
    comparison: VersionOperator,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum VersionOperator {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Candidates of a pattern without braces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    Name(&'a str),
    Prefix(&'a str),
}

impl Pattern {
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let refuse = |reason| PatternError {
            text: text.chars().take(80).flat_map(char::escape_debug).collect(),
            reason,
        };
        if text.len() > LONGEST {
            return Err(refuse("it is longer than 1024 bytes"));
        }
        let alternatives = expand_braces(text).map_err(refuse)?;
        let alternatives = alternatives.iter().map(|text| Alternative::parse(text)).collect::<Result<_, _>>();
        Ok(Self { alternatives: alternatives.map_err(refuse)? })
    }

    pub fn matches(&self, package: &PkgName) -> bool {
        self.matches_version(package, &Version::parse(package.version()))
    }

    /// Like `matches`, with a parsed version.
    pub(crate) fn matches_version(&self, package: &PkgName, version: &Version) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(package, version))
    }

    pub(crate) fn alternatives(&self) -> &[Alternative] {
        &self.alternatives
    }
}

impl Alternative {
    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains(['<', '>']) {
            return parse_range(text);
        }
        if text.contains(['*', '?', '[', ']']) {
            return Ok(Self::Shell(ShellPattern::parse(text)?));
        }
        Ok(Self::Exact(text.into()))
    }

    /// Returns the packages that it can match.
    pub(crate) fn reach(&self) -> Reach<'_> {
        match self {
            Self::Exact(text) => Reach::Prefix(text),
            Self::Range { name, .. } => Reach::Name(name),
            Self::Shell(shell) => Reach::Prefix(shell.literal_prefix()),
        }
    }

    pub(crate) fn cost(&self) -> u64 {
        match self {
            Self::Exact(_) => 1,
            Self::Range { bounds, .. } => 1 + 8 * bounds.len() as u64,
            Self::Shell(shell) => 1 + shell.cost(),
        }
    }

    pub(crate) fn matches(&self, package: &PkgName, version: &Version) -> bool {
        match self {
            Self::Exact(text) => **text == *package.as_str(),
            Self::Range { name, bounds } => {
                **name == *package.name() && bounds.iter().all(|bound| bound.admits(version))
            }
            Self::Shell(shell) => shell.matches(package.as_str()),
        }
    }
}

impl Bound {
    fn admits(&self, version: &Version) -> bool {
        let order = version.cmp(&self.version);
        match self.comparison {
            VersionOperator::Less => order.is_lt(),
            VersionOperator::LessOrEqual => order.is_le(),
            VersionOperator::Greater => order.is_gt(),
            VersionOperator::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Parses `name>=1.0<2`: one comparison, or a lower and an upper bound.
fn parse_range(text: &str) -> Result<Alternative, &'static str> {
    let begins_bound = |letter: char| matches!(letter, '<' | '>');
    let name_length = text.find(begins_bound).unwrap_or(text.len());
    let (name, mut rest) = text.split_at_checked(name_length).unwrap_or((text, ""));
    let mut bounds = Vec::new();
    while !rest.is_empty() {
        let (comparison, after) = parse_comparison(rest).ok_or("a comparison is <, <=, > or >=")?;
        let length = after.find(begins_bound).unwrap_or(after.len());
        let (version, next) = after.split_at_checked(length).unwrap_or((after, ""));
        bounds.push(Bound { comparison, version: Version::parse(version) });
        rest = next;
    }
    let is_lower = |bound: &Bound| {
        matches!(bound.comparison, VersionOperator::Greater | VersionOperator::GreaterOrEqual)
    };
    match bounds.as_slice() {
        [_] => {}
        [lower, upper] if is_lower(lower) && !is_lower(upper) => {}
        _ => return Err("a range has one comparison, or a lower end and then an upper one"),
    }
    Ok(Alternative::Range { name: name.into(), bounds })
}

fn parse_comparison(text: &str) -> Option<(VersionOperator, &str)> {
    let forms = [
        ("<=", VersionOperator::LessOrEqual),
        (">=", VersionOperator::GreaterOrEqual),
        ("<", VersionOperator::Less),
        (">", VersionOperator::Greater),
    ];
    forms.into_iter().find_map(|(form, comparison)| Some((comparison, text.strip_prefix(form)?)))
}

fn expand_braces(text: &str) -> Result<Vec<String>, &'static str> {
    if text.matches('{').count() > MOST_BRACES {
        return Err("it has more than 32 pairs of braces");
    }
    let mut expanded = Vec::new();
    let mut waiting = vec![text.to_owned()];
    while let Some(next) = waiting.pop() {
        let Some((before, alternatives, after)) = split_at_braces(&next)? else {
            expanded.push(next);
            continue;
        };
        waiting.extend(alternatives.iter().rev().map(|alternative| format!("{before}{alternative}{after}")));
        if expanded.len() + waiting.len() > MOST_ALTERNATIVES {
            return Err("it expands to more than 256 patterns");
        }
    }
    Ok(expanded)
}

type SplitAtBraces<'a> = (&'a str, Vec<&'a str>, &'a str);

fn split_at_braces(text: &str) -> Result<Option<SplitAtBraces<'_>>, &'static str> {
    let unmatched = "its braces do not match";
    let Some((before, _)) = text.split_once('{') else {
        return if text.contains('}') { Err(unmatched) } else { Ok(None) };
    };
    if before.contains('}') {
        return Err(unmatched);
    }
    let mut depth = 0_usize;
    let mut begin = before.len() + 1;
    let mut alternatives = Vec::new();
    for (at, letter) in text.bytes().enumerate().skip(before.len()) {
        match letter {
            b'{' => depth += 1,
            b'}' => depth -= 1,
            b',' if depth == 1 => {}
            _ => continue,
        }
        if depth == 0 || letter == b',' && depth == 1 {
            alternatives.extend(text.get(begin..at));
            begin = at + 1;
        }
        if depth == 0 {
            return Ok(Some((before, alternatives, text.get(begin..).unwrap_or_default())));
        }
    }
    Err(unmatched)
}

/// Words in a version. Other text is skipped.
const WORDS: [(&str, i64); 7] =
    [("alpha", -3), ("beta", -2), ("pre", -1), ("rc", -1), ("pl", 0), ("_", 0), (".", 0)];

/// A version, ordered as in `pkg_install`: `1.0alpha` < `1.0beta` < `1.0rc1` < `1.0` < `1.0nb1` < `1.0a` < `1.1`. `1.0`
/// equals `1.0.0`. Numbers above 9,223,372,036,854,775,807 equal it.
#[derive(Clone, Debug)]
pub struct Version {
    parts: Box<[i64]>,
    /// The number after `nb`, compared last.
    revision: i64,
}

impl Version {
    /// Accepts every text and ignores case.
    pub fn parse(text: &str) -> Self {
        let mut parts = Vec::new();
        let mut revision = 0;
        let mut rest = text.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            if first.is_ascii_digit() {
                let (number, after) = split_number(rest);
                parts.push(number);
                rest = after;
            } else if let Some((value, after)) = split_word(rest) {
                parts.push(value);
                rest = after;
            } else if let Some(after) = strip_word(rest, "nb") {
                (revision, rest) = split_number(after);
            } else {
                if first.is_ascii_alphabetic() {
                    // A letter is a part of its own: `1.0b` is `1.0.2`, and follows `1.0a`.
                    parts.extend([0, i64::from(first.to_ascii_lowercase() - b'a') + 1]);
                }
                rest = after;
            }
        }
        while parts.last() == Some(&0) {
            parts.pop();
        }
        Self { parts: parts.into(), revision }
    }
}

fn split_number(text: &[u8]) -> (i64, &[u8]) {
    let length = text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at_checked(length).unwrap_or((text, b""));
    let number = digits
        .iter()
        .fold(0_i64, |number, digit| number.saturating_mul(10).saturating_add(i64::from(digit - b'0')));
    (number, rest)
}

fn split_word(text: &[u8]) -> Option<(i64, &[u8])> {
    WORDS.iter().find_map(|(word, value)| Some((*value, strip_word(text, word)?)))
}

fn strip_word<'a>(text: &'a [u8], word: &str) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(word.len())?;
    head.eq_ignore_ascii_case(word.as_bytes()).then_some(rest)
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let longest = self.parts.len().max(other.parts.len());
        let padded = |version: &Self, at: usize| version.parts.get(at).copied().unwrap_or(0);
        let mut parts = (0..longest).map(|at| padded(self, at).cmp(&padded(other, at)));
        parts.find(|order| order.is_ne()).unwrap_or_else(|| self.revision.cmp(&other.revision))
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Version {}

/// A shell pattern: `*`, `?`, `[a-z]`, `[!a-z]`, and `\` before a literal letter. `*` also matches `/`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShellPattern {
    literal_prefix: Box<str>,
    parts: Box<[GlobPart]>,
}

const USUAL_NAME: u64 = 32;

const STEPS: u32 = 1 << 16;

#[derive(Clone, Debug, PartialEq, Eq)]
enum GlobPart {
    Byte(u8),
    AnyByte,
    AnyText,
    OneOf { negated: bool, ranges: Box<[(u8, u8)]> },
}

impl GlobPart {
    fn admits(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::AnyByte => true,
            Self::AnyText => false,
            Self::OneOf { negated, ranges } => {
                ranges.iter().any(|&(low, high)| (low..=high).contains(&byte)) != *negated
            }
        }
    }
}

impl ShellPattern {
    /// The error is the broken rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let literal = text.find(['*', '?', '[', '\\']).unwrap_or(text.len());
        let (literal_prefix, rest) = text.split_at_checked(literal).unwrap_or((text, ""));
        let mut parts = Vec::new();
        let mut rest = rest.as_bytes();
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            parts.push(match first {
                // Several stars are one.
                b'*' if parts.last() == Some(&GlobPart::AnyText) => continue,
                b'*' => GlobPart::AnyText,
                b'?' => GlobPart::AnyByte,
                b'[' => {
                    let (set, after) = parse_set(after).ok_or("a [ has no ]")?;
                    rest = after;
                    set
                }
                b'\\' => {
                    let (&letter, after) = after.split_first().ok_or("it ends with \\")?;
                    rest = after;
                    GlobPart::Byte(letter)
                }
                other => GlobPart::Byte(other),
            });
        }
        Ok(Self { literal_prefix: literal_prefix.into(), parts: parts.into() })
    }

    fn literal_prefix(&self) -> &str {
        &self.literal_prefix
    }

    pub(crate) fn cost(&self) -> u64 {
        let stars = self.parts.iter().filter(|part| **part == GlobPart::AnyText).count();
        // The part after a star that is not the last one may be tried at each position.
        self.parts.len() as u64 * if stars > 1 { USUAL_NAME } else { 1 }
    }

    /// Matches a whole name, at most comparing each part with each character.
    pub fn matches(&self, name: &str) -> bool {
        let Ok(matched) = self.matches_while(name, &mut || Ok::<(), Infallible>(()));
        matched
    }

    /// Like `matches`; calls `must_go_on` every 65,536 comparisons, and fails if that fails.
    pub fn matches_while<E>(
        &self,
        name: &str,
        must_go_on: &mut dyn FnMut() -> Result<(), E>,
    ) -> Result<bool, E> {
        let Some(name) = name.strip_prefix(&*self.literal_prefix) else { return Ok(false) };
        let name = name.as_bytes();
        let (mut part, mut at) = (0, 0);
        // Position for backtracking: the last star takes one more character.
        let mut retry: Option<(usize, usize)> = None;
        let mut steps = 0;
        loop {
            steps += 1;
            if steps == STEPS {
                must_go_on()?;
                steps = 0;
            }
            match (self.parts.get(part), name.get(at)) {
                (None, None) => return Ok(true),
                (Some(GlobPart::AnyText), _) => {
                    part += 1;
                    retry = Some((part, at));
                }
                (Some(wanted), Some(&byte)) if wanted.admits(byte) => (part, at) = (part + 1, at + 1),
                (_, here) => match retry {
                    Some((after_star, begin)) if here.is_some() => {
                        (part, at) = (after_star, begin + 1);
                        retry = Some((part, at));
                    }
                    _ => return Ok(false),
                },
            }
        }
    }
}

fn parse_set(text: &[u8]) -> Option<(GlobPart, &[u8])> {
    let (negated, mut rest) = match text.split_first() {
        Some((b'!' | b'^', rest)) => (true, rest),
        _ => (false, text),
    };
    let mut ranges = Vec::new();
    loop {
        let (&low, after) = rest.split_first()?;
        if low == b']' && !ranges.is_empty() {
            return Some((GlobPart::OneOf { negated, ranges: ranges.into() }, after));
        }
        let (range, after) = match after {
            [b'-', high, after @ ..] if *high != b']' => ((low, *high), after),
            _ => ((low, low), after),
        };
        ranges.push(range);
        rest = after;
    }
}

#[cfg(test)]
mod tests;
