//! What a set is made of.

use patchadm_bulk_values::journal::PackageState;

use crate::pool::PoolEntry;

/// A package that is wanted in a set.
#[derive(Clone, Debug)]
pub struct SetPackage<'a> {
    /// PKGNAME.
    pub package: &'a str,
    /// The location of its recipe.
    pub location: &'a str,
    /// What became of it.
    pub state: PackageState,
    /// Its result; `None` if it has none.
    pub entry: Option<PoolEntry>,
    /// Whether it must not be handed on.
    pub is_restricted: bool,
}

/// What a set is made of.
#[derive(Clone, Copy)]
pub struct SetInput<'a> {
    /// The number of the run, which the set gets.
    pub run: u64,
    /// The time, RFC 3339 in UTC, to the second.
    pub date: &'a str,
    /// All packages of the run.
    pub packages: &'a [SetPackage<'a>],
    /// Returns the signal that asks to end, if any.
    pub interrupt: &'a (dyn Fn() -> Option<i32> + Sync),
}
