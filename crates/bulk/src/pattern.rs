//! Patterns of pkgsrc: which packages a dependency means.
