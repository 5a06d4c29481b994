//! Which recorded objects a check is about.

use std::collections::{BTreeSet, HashSet};

use super::{CheckError, Unknown};
use crate::database::contents::{self, Lines};
use crate::database::{DatabaseError, View, installed};
use crate::format::contents::key_of;
use crate::operation::select::{Pattern, Selection};
use crate::package::{Line, ObjectPath, PathError};

/// Which objects are compared.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Those of any of these packages; of all where there is none.
    pub packages: Vec<Pattern>,
    /// Those of all packages of any of these categories, in any case; no package is named then.
    pub categories: Vec<String>,
    /// Of these, those at any of these paths; all where there is none.
    pub paths: Vec<PathPattern>,
}

/// What was typed for a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathPattern {
    /// This path.
    Exactly(ObjectPath),
    /// Every path that begins with these bytes (a word that ends in `*`).
    Prefix(Vec<u8>),
    /// Every path that has these bytes in it.
    Part(Vec<u8>),
}

impl PathPattern {
    /// Reads a word of a path list: a path, or with `*` at its end the beginning of one.
    pub fn parse(word: &[u8]) -> Result<Self, PathError> {
        match word.strip_suffix(b"*") {
            Some(prefix) => Ok(Self::Prefix(prefix.to_vec())),
            None => ObjectPath::new(word).map(Self::Exactly),
        }
    }

    pub(super) fn fits(&self, path: &[u8]) -> bool {
        match self {
            Self::Exactly(exact) => exact.as_bytes() == path,
            Self::Prefix(prefix) => path.starts_with(prefix),
            Self::Part(part) => part.is_empty() || path.windows(part.len()).any(|window| window == part),
        }
    }
}

impl Scope {
    /// The lines of `contents` in scope, and what finds none.
    pub(super) fn lines(&self, view: &View<'_>) -> Result<(Lines, Unknown), CheckError> {
        let packages = self.wanted_packages(view)?;
        let mut lines = self.lines_of_paths(view)?;
        let paths = self.exact().filter(|path| !lines.contains_key(path)).cloned().collect();
        let mut unknown = Unknown { paths, ..Unknown::default() };
        if !packages.is_empty() {
            let mut owned: Vec<bool> = vec![false; packages.len()];
            lines.retain(|_, line| is_owned(line, &packages, &mut owned));
            let unowned = packages.iter().zip(owned).filter(|(_, owned)| !owned).map(|(pattern, _)| pattern);
            self.sort_out(view, unowned, &mut unknown)?;
        }
        Ok((lines, unknown))
    }

    /// The lines of all paths in scope, whoever owns them.
    fn lines_of_paths(&self, view: &View<'_>) -> Result<Lines, DatabaseError> {
        let exact: BTreeSet<ObjectPath> = self.exact().cloned().collect();
        let (mut prefixes, mut parts) = (Vec::new(), Vec::new());
        for path in &self.paths {
            match path {
                PathPattern::Exactly(_) => {}
                PathPattern::Prefix(prefix) => prefixes.push(prefix.clone()),
                PathPattern::Part(_) => parts.push(path),
            }
        }
        if parts.is_empty() && !self.paths.is_empty() {
            return contents::lines_at(view, &exact, &prefixes);
        }
        let exact: HashSet<&[u8]> = exact.iter().map(ObjectPath::as_bytes).collect();
        contents::scan(view, |raw| {
            let path = key_of(raw);
            self.paths.is_empty()
                || exact.contains(path.as_ref())
                || prefixes.iter().any(|prefix| path.starts_with(prefix))
                || parts.iter().any(|part| part.fits(&path))
        })
    }

    /// Whether a path is in scope; all are where none is named.
    pub(super) fn has_path(&self, path: &[u8]) -> bool {
        self.paths.is_empty() || self.paths.iter().any(|pattern| pattern.fits(path))
    }

    /// The paths that are named exactly.
    pub(super) fn exact(&self) -> impl Iterator<Item = &ObjectPath> {
        self.paths.iter().filter_map(|path| match path {
            PathPattern::Exactly(path) => Some(path),
            _ => None,
        })
    }

    /// The packages that are named, or those of the categories.
    fn wanted_packages(&self, view: &View<'_>) -> Result<Vec<Pattern>, CheckError> {
        if self.categories.is_empty() {
            return Ok(self.packages.clone());
        }
        let selection = Selection { categories: self.categories.clone(), ..Selection::default() };
        let all = installed::all_params(view)?;
        let fitting = all.iter().filter(|(_, params)| selection.fits_params(params, b""));
        let packages: Vec<Pattern> = fitting.map(|(name, _)| Pattern::One(name.to_string())).collect();
        if packages.is_empty() {
            return Err(CheckError::NoCategory(self.categories.join(",")));
        }
        Ok(packages)
    }

    /// Tells packages that are not installed from those that own nothing. With a list of paths, owning none of them
    /// is no news.
    fn sort_out<'a>(
        &self,
        view: &View<'_>,
        unowned: impl Iterator<Item = &'a Pattern>,
        unknown: &mut Unknown,
    ) -> Result<(), DatabaseError> {
        let packages = installed::packages(view)?;
        for pattern in unowned {
            let is_installed = packages.iter().any(|package| pattern.fits(package.as_str()));
            if !is_installed {
                unknown.packages.push(pattern.to_string());
            } else if self.paths.is_empty() {
                unknown.empty.push(pattern.to_string());
            }
        }
        Ok(())
    }
}

/// Whether any of the packages owns the line; notes which words it fits.
fn is_owned(line: &Line, packages: &[Pattern], owned: &mut [bool]) -> bool {
    let mut is_owned = false;
    for (pattern, owned) in packages.iter().zip(owned) {
        if line.owners.iter().any(|owner| pattern.fits(owner.package.as_str())) {
            (*owned, is_owned) = (true, true);
        }
    }
    is_owned
}
