//! The resolver compared with a search through all sets and orders, and every verdict with its text.

mod brute_force;
mod oracle;
mod own_revisions;
mod stories;
mod world;
