//! Libraries of which a test says no more than their names and versions.

use super::sample::Sample;

/// A library with these names and versions.
pub(crate) fn library(
    soname: Option<&str>,
    needed: &[&str],
    defines: &[&str],
    needs: &[(&str, &[&str])],
) -> Vec<u8> {
    Sample { soname, needed, defines, needs, ..Sample::default() }.bytes()
}
