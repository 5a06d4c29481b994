//! How many threads work side by side.

use std::thread::available_parallelism;

/// More than these gain nothing: a disk is behind them, and each holds buffers.
const MOST: usize = 8;

/// How many threads are worth having for work that each core can do a part of: at least 1. No result depends on it,
/// only the time that it takes.
pub fn cores() -> usize {
    available_parallelism().map_or(1, usize::from).min(MOST)
}
