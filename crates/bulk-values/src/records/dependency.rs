//! One entry of `ALL_DEPENDS`.

use std::fmt;

use super::names::{Location, LocationError};

/// A need of a package: which packages satisfy it, and where the recipe says that one of them is made.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Dependency {
    /// The pattern, as it was written; whether it is one is not checked here.
    pub pattern: Box<str>,
    /// The location, below the top of the tree.
    pub location: Option<Location>,
}

impl Dependency {
    /// Reads `PATTERN` or `PATTERN:LOCATION` as written by the recipe at a location. A version may have a `:`: the location
    /// follows the last one.
    pub(super) fn parse(entry: &str, recipe: &Location) -> Result<Self, LocationError> {
        let Some((pattern, reference)) = entry.rsplit_once(':') else {
            return Ok(Self { pattern: entry.into(), location: None });
        };
        Ok(Self { pattern: pattern.into(), location: Some(recipe.resolve(reference)?) })
    }
}

/// Returns the location from which an entry of a record leads to its own: that of the recipe. In files of pbulk `../../` leads to
/// the top of the tree, however deep the recipe is.
pub(super) fn base_of(entry: &str, recipe: &Location, is_of_pbulk: bool) -> Location {
    let is_from_top = entry.rsplit_once(':').is_some_and(|(_, reference)| reference.starts_with("../../"));
    let two_deep = || Location::parse("category/package").ok();
    two_deep().filter(|_| is_of_pbulk && is_from_top).unwrap_or_else(|| recipe.clone())
}

impl fmt::Display for Dependency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.location {
            Some(location) => write!(f, "{}:{location}", self.pattern),
            None => f.write_str(&self.pattern),
        }
    }
}
