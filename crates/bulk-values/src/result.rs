//! What is known of a result, and the inputs of its key.

mod digest;
mod file;
mod key;

pub use digest::{Digest, NoDigest};
pub use file::{BuildResult, LONGEST_RESULT, NewResult, PhaseTime, ResultError, ResultFile, ResultPackage};
pub use key::{InputDifference, Key, KeyInput, KeyInputs, LARGEST_INPUTS, TooManyInputs};
