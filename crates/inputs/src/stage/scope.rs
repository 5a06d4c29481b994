//! The staged paths: the directories of a root that a stage or a promotion covers.

use patchadm_svr4::package::{ObjectPath, PathError};

/// Paths of a root, none of them inside another one; `/` alone means all of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope(Vec<ObjectPath>);

/// The reason why paths make no scope.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScopeError {
    /// There is none.
    #[error("no path is named")]
    Empty,
    /// One of them is another one, or inside it.
    #[error("{inner} lies inside {outer}: name one of them only")]
    Nested {
        /// The inner path.
        inner: ObjectPath,
        /// The outer path.
        outer: ObjectPath,
    },
    /// There are more than can be meant.
    #[error("there are more than 1000 paths")]
    TooMany,
}

/// Returns the path of a root that an operand names: relative to the root, a `/` before it or not.
pub fn staged_path(text: &[u8]) -> Result<ObjectPath, PathError> {
    ObjectPath::new(&[b"/", text].concat())
}

impl Scope {
    /// The most paths of a scope.
    const MOST: usize = 1000;

    /// Returns the scope that is all of a root.
    pub fn all() -> Self {
        Self(vec![ObjectPath::root()])
    }

    /// Makes a scope, in which the paths are sorted.
    pub fn new(mut paths: Vec<ObjectPath>) -> Result<Self, ScopeError> {
        if paths.is_empty() {
            return Err(ScopeError::Empty);
        }
        if paths.len() > Self::MOST {
            return Err(ScopeError::TooMany);
        }
        paths.sort();
        for (at, inner) in paths.iter().enumerate() {
            let is_outer = |outer: &&ObjectPath| inner == *outer || inner.is_below(outer);
            if let Some(outer) = paths.iter().take(at).find(is_outer) {
                return Err(ScopeError::Nested { inner: inner.clone(), outer: outer.clone() });
            }
        }
        Ok(Self(paths))
    }

    /// Returns the paths, sorted.
    pub fn paths(&self) -> &[ObjectPath] {
        &self.0
    }

    /// Tells whether it is all of the root.
    pub fn is_all(&self) -> bool {
        self.0.iter().any(|path| path.relative().is_empty())
    }

    /// Tells whether a path is one of these, or below one.
    pub fn contains(&self, path: &ObjectPath) -> bool {
        self.0.iter().any(|top| path == top || path.is_below(top))
    }

    /// Returns the first path of another scope that does not lie in this one.
    pub fn lacks<'a>(&self, other: &'a Self) -> Option<&'a ObjectPath> {
        other.0.iter().find(|path| !self.contains(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(texts: &[&str]) -> Vec<ObjectPath> {
        texts.iter().map(|text| staged_path(text.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn a_path_is_in_a_scope_if_it_is_one_of_its_paths_or_below_one() {
        let scope = Scope::new(paths(&["var/db/pkg", "/usr/pkg/"])).unwrap();
        let is_in = |text: &str| scope.contains(&staged_path(text.as_bytes()).unwrap());
        assert!(is_in("/usr/pkg") && is_in("usr/pkg/bin/a") && is_in("/var/db/pkg/x"));
        assert!(!is_in("/usr/pkgsrc") && !is_in("/usr") && !is_in("/"));
        assert!(Scope::all().contains(&ObjectPath::root()) && Scope::all().is_all() && !scope.is_all());
        let wider = Scope::new(paths(&["/usr/pkg/bin", "/opt"])).unwrap();
        assert_eq!(scope.lacks(&wider).unwrap().as_bytes(), b"/opt");
        assert_eq!(Scope::all().lacks(&wider), None);
    }

    #[test]
    fn paths_inside_one_another_are_refused_by_name() {
        let nested = Scope::new(paths(&["usr/pkg/lib", "usr/pkg-2", "usr/pkg"])).unwrap_err();
        assert_eq!(nested.to_string(), "/usr/pkg/lib lies inside /usr/pkg: name one of them only");
        assert!(matches!(Scope::new(paths(&["usr", "usr/"])), Err(ScopeError::Nested { .. })));
        assert!(matches!(Scope::new(paths(&["/", "usr"])), Err(ScopeError::Nested { .. })));
        assert_eq!(Scope::new(Vec::new()), Err(ScopeError::Empty));
        assert!(staged_path(b"usr/../etc").is_err());
    }
}
