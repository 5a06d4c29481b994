//! The hidden commands of an enclosure: its first process, which runs the command, and the one that makes an enclosure
//! for a caller with several threads. Only programs of patchadm start them.

use std::ffi::OsString;
use std::fs::File;

use patchadm_core::namespaces::{OWN_COMMAND, serve, serve_enclosure, serve_segments};

use crate::call::Invocation;
use crate::program;
use crate::reply::{Exit, Reply};

/// Takes orders on standard input until the command ends. Commands of patchadm run in the process: no program of the
/// tree is started for them.
pub fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let of = call.of;
    let command = |order: File| {
        let words: Vec<String> = serde_json::from_reader(order)?;
        Ok(i32::from(program::run(of, words.into_iter().map(OsString::from))))
    };
    serve(&[(OWN_COMMAND, &command)])?;
    Ok(Reply::silent(Exit::OK))
}

pub fn run_enclosure(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_enclosure()?;
    Ok(Reply::silent(Exit::OK))
}

pub fn run_segments(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_segments()?;
    Ok(Reply::silent(Exit::OK))
}
