//! What the fuzz targets do with an input; each target of `fuzz_targets` is a name of [`targets::TARGETS`].
//!
//! The same bodies are played by the stable test `tests/reliability/fuzz.rs`, which includes [`targets`] by its path.

pub mod targets;

/// Plays an input of the target with this name.
pub fn play(name: &str, input: &[u8]) {
    let target = targets::TARGETS.iter().find(|target| target.name == name);
    (target.expect("a name of the table").play)(input);
}
