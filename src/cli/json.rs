//! The JSON document that a command prints with `--json`.

use serde::Serialize;

use super::exit::Exit;
use crate::root::Root;

/// The version of the schema; field names never change their meaning within it.
pub const SCHEMA: &str = "patchadm/1";

#[derive(Serialize)]
struct Document<'a, B> {
    schema: &'static str,
    command: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    exit: Code,
    #[serde(flatten)]
    body: B,
}

#[derive(Serialize)]
struct Code {
    code: u8,
    name: &'static str,
}

/// The body of the document of a command that ended early.
#[derive(Clone, Debug, Serialize)]
pub struct Failure {
    /// Why.
    pub error: String,
}

/// One document about `root`, with a newline at its end. `body` is a struct or map whose fields stand beside `schema`.
pub fn document<B: Serialize>(
    command: &str,
    root: Option<&Root>,
    exit: Exit,
    body: B,
) -> serde_json::Result<Vec<u8>> {
    let root = root.map(|root| root.prefix().display().to_string());
    let exit = Code { code: exit.code(), name: exit.name() };
    let mut text = serde_json::to_vec_pretty(&Document { schema: SCHEMA, command, root, exit, body })?;
    text.push(b'\n');
    Ok(text)
}
