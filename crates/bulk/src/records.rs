//! Records of recipes, as pkgsrc's `pbulk-index` prints them.
