//! The part of a live tree that a promotion may delete.

use std::fmt;

/// The part of the live objects of a path that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeleteLimit {
    /// So many objects.
    Objects(usize),
    /// So many of a hundred.
    Percent(u8),
}

impl Default for DeleteLimit {
    fn default() -> Self {
        Self::Percent(25)
    }
}

impl DeleteLimit {
    /// Reads `N` or `N%`.
    pub fn parse(text: &str) -> Option<Self> {
        match text.strip_suffix('%') {
            Some(percent) => percent.parse().ok().filter(|percent| *percent <= 100).map(Self::Percent),
            None => text.parse().ok().map(Self::Objects),
        }
    }

    /// Tells whether so many of the live objects may be deleted.
    pub fn allows(self, deleted: usize, live: usize) -> bool {
        match self {
            Self::Objects(most) => deleted <= most,
            Self::Percent(percent) => {
                deleted.saturating_mul(100) <= live.saturating_mul(usize::from(percent))
            }
        }
    }
}

impl fmt::Display for DeleteLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Objects(most) => write!(f, "{most}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_percentage() {
        assert_eq!(DeleteLimit::parse("25%"), Some(DeleteLimit::Percent(25)));
        assert_eq!(DeleteLimit::parse("7"), Some(DeleteLimit::Objects(7)));
        for bad in ["", "%", "-1", "101%", "1.5%", "x"] {
            assert_eq!(DeleteLimit::parse(bad), None, "{bad}");
        }
    }
}
