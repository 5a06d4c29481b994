//! Libraries that a test describes only by their names and versions.

use super::sample::Sample;

/// Returns a library with these names and versions.
pub(crate) fn library(
    soname: Option<&str>,
    needed: &[&str],
    defines: &[&str],
    needs: &[(&str, &[&str])],
) -> Vec<u8> {
    Sample { soname, needed, defines, needs, ..Sample::default() }.bytes()
}
