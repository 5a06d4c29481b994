//! Every verdict with its text.
