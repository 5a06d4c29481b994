//! What many records name alike, kept once: files that were read for a scan, and dependencies.

use std::fmt::Write as _;
use std::sync::Arc;

use foldhash::HashMap;

use super::dependency::Dependency;
use super::names::{Location, LocationError};

/// The names of files that records name, by number in the order in which they were first seen.
#[derive(Clone, Debug, Default)]
pub(super) struct FileNames {
    numbers: HashMap<Arc<str>, u32>,
    names: Vec<Arc<str>>,
}

impl FileNames {
    /// Returns the number of a name, which may be a new one; `None` if there are more names than numbers.
    pub(super) fn number_of(&mut self, name: &str) -> Option<u32> {
        if let Some(&number) = self.numbers.get(name) {
            return Some(number);
        }
        let number = u32::try_from(self.names.len()).ok()?;
        let name: Arc<str> = name.into();
        self.names.push(Arc::clone(&name));
        self.numbers.insert(name, number);
        Some(number)
    }

    /// Returns the name with a number.
    pub(super) fn name(&self, number: u32) -> &str {
        self.names.get(number as usize).map(|name| &**name).unwrap_or_default()
    }

    /// Returns how many different names there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }
}

/// The dependencies that records name, each once.
#[derive(Clone, Debug, Default)]
pub(super) struct Dependencies {
    /// By depth of the recipe and text, for entries that mean the same at all recipes of this depth.
    known: HashMap<Box<str>, Arc<Dependency>>,
    key: String,
}

impl Dependencies {
    /// Returns the dependency that an entry of `ALL_DEPENDS` of the recipe at a location means.
    pub(super) fn of(&mut self, entry: &str, recipe: &Location) -> Result<Arc<Dependency>, LocationError> {
        let depth = recipe.as_str().matches('/').count() + 1;
        self.key.clear();
        let is_common = is_independent(entry, depth);
        let base = if is_common { "" } else { recipe.as_str() };
        // Writing to a string cannot fail.
        let _ = write!(self.key, "{depth} {base} {entry}");
        if let Some(known) = self.known.get(self.key.as_str()) {
            return Ok(Arc::clone(known));
        }
        let dependency = Arc::new(Dependency::parse(entry, recipe)?);
        self.known.insert(self.key.as_str().into(), Arc::clone(&dependency));
        Ok(dependency)
    }
}

/// Tells whether an entry means the same at all recipes of a depth: it has no location, one from the top of the tree, or
/// one that leads up to the top first.
fn is_independent(entry: &str, depth: usize) -> bool {
    let Some((_, mut reference)) = entry.rsplit_once(':') else { return true };
    if !reference.starts_with('.') {
        return true;
    }
    let mut steps = 0;
    while let Some(rest) = reference.strip_prefix("../") {
        (reference, steps) = (rest, steps + 1);
    }
    steps == depth
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_however_often_it_is_named() {
        let mut files = FileNames::default();
        let numbers: Vec<u32> = ["a", "b", "a"].iter().map(|name| files.number_of(name).unwrap()).collect();
        assert_eq!(numbers, [0, 1, 0]);
        assert_eq!((files.name(1), files.name(7), files.len()), ("b", "", 2));
    }

    #[test]
    fn a_dependency_is_shared_by_all_recipes_to_which_it_means_the_same() {
        let mut dependencies = Dependencies::default();
        let mut of =
            |recipe: &str, entry: &str| dependencies.of(entry, &Location::parse(recipe).unwrap()).unwrap();
        let one = of("net/curl", "zlib>=1:../../devel/zlib");
        assert!(Arc::ptr_eq(&one, &of("www/wget", "zlib>=1:../../devel/zlib")));
        assert_eq!(of("a/b/c", "zlib>=1:../../devel/zlib").to_string(), "zlib>=1:a/devel/zlib");
        assert_eq!(of("net/curl", "x>1:../y").to_string(), "x>1:net/y");
        assert_eq!(of("www/curl", "x>1:../y").to_string(), "x>1:www/y");
        assert!(Arc::ptr_eq(&of("a/b", "x"), &of("c/d", "x")), "without a location");
    }
}
