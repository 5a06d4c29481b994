use std::fmt;

use patchadm_svr4::format::params::compact;
use patchadm_svr4::package::Params;

/// As in pkginfo(1): `all`, `ABBR.*` for every instance, or one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackagePattern {
    All,
    Instances(String),
    One(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageCompleteness {
    Complete,
    Partial,
}

/// All given conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackageSelection {
    /// Empty for all.
    pub patterns: Vec<PackagePattern>,
    /// One of the values of ARCH.
    pub arch: Option<String>,
    /// Runs of blanks equal one blank.
    pub version: Option<VersionPattern>,
    /// Case-insensitive; any of them.
    pub categories: Vec<String>,
    pub completeness: Option<PackageCompleteness>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VersionPattern {
    Exactly(String),
    /// `~VERSION`: also a version whose `compver` file names it.
    CompatibleWith(String),
}

impl PackagePattern {
    pub fn parse(word: &str) -> Self {
        match (word, word.strip_suffix(".*")) {
            ("all", _) => Self::All,
            (_, Some(abbreviation)) => Self::Instances(abbreviation.to_owned()),
            _ => Self::One(word.to_owned()),
        }
    }

    pub fn fits(&self, instance: &str) -> bool {
        match self {
            Self::All => true,
            Self::Instances(abbreviation) => instance
                .strip_prefix(abbreviation.as_str())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
            Self::One(name) => name == instance,
        }
    }
}

impl fmt::Display for PackagePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Instances(abbreviation) => write!(f, "{abbreviation}.*"),
            Self::One(name) => f.write_str(name),
        }
    }
}

impl VersionPattern {
    /// The argument of `-v`.
    pub fn parse(word: &str) -> Self {
        match word.strip_prefix('~') {
            Some(version) => Self::CompatibleWith(version.to_owned()),
            None => Self::Exactly(word.to_owned()),
        }
    }

    fn fits(&self, version: &str, compver: &[u8]) -> bool {
        match self {
            Self::Exactly(wanted) => is_same(wanted, version),
            Self::CompatibleWith(wanted) => {
                is_same(wanted, version)
                    || String::from_utf8_lossy(compver).lines().any(|line| is_same(wanted, line))
            }
        }
    }

    pub fn needs_compver(&self) -> bool {
        matches!(self, Self::CompatibleWith(_))
    }
}

/// Ignores the length of runs of blanks.
fn is_same(a: &str, b: &str) -> bool {
    a.split_ascii_whitespace().eq(b.split_ascii_whitespace())
}

impl PackageSelection {
    pub fn of(words: &[String]) -> Self {
        Self { patterns: words.iter().map(|word| PackagePattern::parse(word)).collect(), ..Self::default() }
    }

    /// Ignores other conditions.
    pub fn fits_name(&self, instance: &str) -> bool {
        self.patterns.is_empty() || self.patterns.iter().any(|pattern| pattern.fits(instance))
    }

    /// `compver` is the text of that file, possibly empty.
    pub fn fits_params(&self, params: &Params, compver: &[u8]) -> bool {
        let list =
            |name| String::from_utf8_lossy(&compact(params.get(name).unwrap_or_default())).into_owned();
        let (arch, category) = (list("ARCH"), list("CATEGORY"));
        self.arch.as_ref().is_none_or(|wanted| arch.split(',').any(|token| token == wanted))
            && self.version.as_ref().is_none_or(|wanted| wanted.fits(&params.text("VERSION"), compver))
            && (self.categories.is_empty()
                || category
                    .split(',')
                    .any(|token| self.categories.iter().any(|wanted| wanted.eq_ignore_ascii_case(token))))
    }

    pub fn fits_state(&self, is_partial: bool) -> bool {
        self.completeness.is_none_or(|wanted| (wanted == PackageCompleteness::Partial) == is_partial)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_means_one_instance_and_a_star_all_of_them() {
        let fitting = |word: &str| {
            let all = ["SUNWa", "SUNWa.2", "SUNWab"];
            all.into_iter()
                .filter(|name| PackagePattern::parse(word).fits(name))
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(fitting("SUNWa"), "SUNWa");
        assert_eq!(fitting("SUNWa.2"), "SUNWa.2");
        assert_eq!(fitting("SUNWa.*"), "SUNWa SUNWa.2");
        assert_eq!(fitting("all"), "SUNWa SUNWa.2 SUNWab");
    }

    #[test]
    fn arch_category_and_version_are_compared_as_the_manual_says() {
        let params: Params =
            [("ARCH", "sparc, i386"), ("CATEGORY", "Application,utils"), ("VERSION", "1.0  beta")]
                .into_iter()
                .collect();
        let fits = |selection: PackageSelection| selection.fits_params(&params, b"0.9\n0.8 beta\n");
        let version = |word| PackageSelection {
            version: Some(VersionPattern::parse(word)),
            ..PackageSelection::default()
        };
        assert!(fits(PackageSelection { arch: Some("i386".to_owned()), ..PackageSelection::default() }));
        assert!(!fits(PackageSelection { arch: Some("sun4u".to_owned()), ..PackageSelection::default() }));
        assert!(fits(PackageSelection {
            categories: vec!["APPLICATION".to_owned()],
            ..PackageSelection::default()
        }));
        assert!(!fits(PackageSelection {
            categories: vec!["system".to_owned()],
            ..PackageSelection::default()
        }));
        assert!(fits(version("1.0 beta")) && !fits(version("1.0")));
        assert!(fits(version("~0.9")) && fits(version("~0.8  beta")) && !fits(version("~0.7")));
        assert!(!fits(version("0.9")));
    }
}
