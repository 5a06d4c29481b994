//! Which package is built next.
