//! Patterns of pkgsrc: which packages a dependency means.
//!
//! | form | means |
//! | --- | --- |
//! | `name>=1.0<2`, `name>1` | the package of this name with a version in the range |
//! | `name-1.*`, `name-[0-9]*` | every `PKGNAME` that the shell pattern matches |
//! | `{a,b}-[0-9]*` | alternatives as in csh, which may be nested; each is a pattern of the other forms |
//! | `name-1.0` | exactly this `PKGNAME` |
//!
//! The rules are those of pkgsrc's `pkg_install`. A pattern may come from a stranger: it is at most 1024 bytes long, and
//! stands for at most 256 patterns without braces.

mod shell;
mod version;

pub use shell::ShellPattern;
pub use version::Version;

use crate::records::PkgName;

/// The longest pattern, in bytes, as in `pkg_install`.
const LONGEST: usize = 1024;

/// The most patterns without braces that one stands for.
const MOST_ALTERNATIVES: usize = 256;

/// The most pairs of braces of a pattern.
const MOST_BRACES: usize = 32;

/// A pattern of packages.
#[derive(Clone, Debug)]
pub struct Pattern {
    alternatives: Vec<Alternative>,
}

/// The reason a text is no pattern.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("<{text}> is no pattern: {reason}")]
pub struct PatternError {
    /// The beginning of the text.
    pub text: String,
    /// The rule that it breaks.
    pub reason: &'static str,
}

/// A pattern without braces.
#[derive(Clone, Debug)]
pub(crate) enum Alternative {
    Exact(Box<str>),
    Range { name: Box<str>, bounds: Vec<Bound> },
    Shell(ShellPattern),
}

/// One end of a range of versions.
#[derive(Clone, Debug)]
pub(crate) struct Bound {
    comparison: Comparison,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

/// Where the packages are that an pattern without braces can match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// Packages of this name without version.
    Name(&'a str),
    /// Packages whose `PKGNAME` begins with this text.
    Prefix(&'a str),
}

impl Pattern {
    /// Reads a pattern.
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

    /// Tells whether it means a package.
    pub fn matches(&self, package: &PkgName) -> bool {
        self.matches_version(package, &Version::parse(package.version()))
    }

    /// Does the same where the version has been read.
    pub(crate) fn matches_version(&self, package: &PkgName, version: &Version) -> bool {
        self.alternatives.iter().any(|alternative| alternative.matches(package, version))
    }

    /// Returns the patterns without braces that it stands for.
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

    /// Returns where the packages are that it can match.
    pub(crate) fn reach(&self) -> Reach<'_> {
        match self {
            Self::Exact(text) => Reach::Prefix(text),
            Self::Range { name, .. } => Reach::Name(name),
            Self::Shell(shell) => Reach::Prefix(shell.literal_prefix()),
        }
    }

    /// Returns about how many comparisons one package takes.
    pub(crate) fn cost(&self) -> u64 {
        match self {
            Self::Exact(_) => 1,
            Self::Range { bounds, .. } => 1 + 8 * bounds.len() as u64,
            Self::Shell(shell) => 1 + shell.cost(),
        }
    }

    /// Tells whether it means a package of this version.
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
            Comparison::Less => order.is_lt(),
            Comparison::LessOrEqual => order.is_le(),
            Comparison::Greater => order.is_gt(),
            Comparison::GreaterOrEqual => order.is_ge(),
        }
    }
}

/// Reads `name>=1.0<2`: one comparison, or a lower end and an upper one.
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
    let is_lower =
        |bound: &Bound| matches!(bound.comparison, Comparison::Greater | Comparison::GreaterOrEqual);
    match bounds.as_slice() {
        [_] => {}
        [lower, upper] if is_lower(lower) && !is_lower(upper) => {}
        _ => return Err("a range has one comparison, or a lower end and then an upper one"),
    }
    Ok(Alternative::Range { name: name.into(), bounds })
}

fn parse_comparison(text: &str) -> Option<(Comparison, &str)> {
    let forms = [
        ("<=", Comparison::LessOrEqual),
        (">=", Comparison::GreaterOrEqual),
        ("<", Comparison::Less),
        (">", Comparison::Greater),
    ];
    forms.into_iter().find_map(|(form, comparison)| Some((comparison, text.strip_prefix(form)?)))
}

/// Returns the patterns without braces that one stands for, in its order.
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
            return Err("it stands for more than 256 patterns");
        }
    }
    Ok(expanded)
}

/// The text before the first brace, its alternatives, and the text after it.
type SplitAtBraces<'a> = (&'a str, Vec<&'a str>, &'a str);

/// Splits a pattern at its first pair of braces; `None` if there is none.
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

#[cfg(test)]
mod tests;
