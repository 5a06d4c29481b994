//! The files by which pbulk tells of a run.
