//! The common part of patchadm's programs: from the words of a command line to text or JSON and an exit code. Only the
//! programs and this crate print, prompt, read the environment and the clock, and end the process.
//!
//! | module | is about |
//! | --- | --- |
//! | [`arguments`] | options and operands of several commands |
//! | [`call`] | one call of a command: its arguments, its surroundings, its caller |
//! | [`program`] | a program as a table of commands: dispatch, exit code, help and completion |
//! | [`reply`] | the answer of a command: one value, printed as text or JSON, the exit code and the hint |
//! | [`surroundings`] | environment, clock, terminal, signals |

// Unit tests make trees of their own; what is linted is the library as it is built.
#![cfg_attr(test, allow(clippy::disallowed_methods))]
#![allow(missing_docs, reason = "used by our programs only, where a name says it all")]

pub mod arguments;
pub mod call;
pub mod program;
pub mod reply;
pub mod surroundings;
