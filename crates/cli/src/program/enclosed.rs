//! The processes of an enclosure: the first one inside, which runs the command, and one that makes an enclosure for a caller
//! with several. Only programs of patchadm start them.

use std::ffi::OsString;
use std::fs::File;

use patchadm_core::namespaces::{OWN_COMMAND, serve, serve_enclosure, serve_segments};

use crate::call::Invocation;
use crate::program;
use crate::reply::{Exit, Reply};

/// Takes orders on standard input until the command ends. It runs commands of this program itself and starts no program
/// of the tree for them.
pub fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let of = call.of;
    let command = |order: File| {
        let words: Vec<String> = serde_json::from_reader(order)?;
        Ok(i32::from(program::run(of, words.into_iter().map(OsString::from))))
    };
    serve(&[(OWN_COMMAND, &command)])?;
    Ok(Reply::silent(Exit::OK))
}

/// Makes the enclosure that standard input describes.
pub fn run_enclosure(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_enclosure()?;
    Ok(Reply::silent(Exit::OK))
}

/// Opens the segment list of the enclosure that standard input describes.
pub fn run_segments(_call: &mut Invocation) -> anyhow::Result<Reply> {
    serve_segments()?;
    Ok(Reply::silent(Exit::OK))
}
