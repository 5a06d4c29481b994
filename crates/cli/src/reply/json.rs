use std::path::Path;
use std::time::Instant;

use serde::{Serialize, Serializer};

use crate::reply::cause::ExitCause;
use crate::reply::exit::{Exit, ExitTable};
use crate::reply::result_word::ResultWord;
use patchadm_svr4::package::control::visible_json;

/// Within a version, field names never change their meaning.
pub const SCHEMA: &str = "patchadm/1";

/// Not yet written.
#[derive(Debug, Serialize)]
pub struct JsonDocument<B> {
    schema: &'static str,
    command: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    exit_code: u8,
    classic_code: Option<u8>,
    cause: ExitCause,
    #[serde(skip_serializing_if = "Option::is_none")]
    recovered: Option<String>,
    #[serde(flatten)]
    body: B,
}

/// The body for a command that ended early.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorFields {
    /// Only of a command that can change or make something.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub result: Option<ResultWord>,
    pub error: String,
}

#[derive(Clone, Copy, Debug)]
pub struct DocumentHead<'a> {
    pub command: &'static str,
    pub root: Option<&'a Path>,
    pub exit: Exit,
    pub table: ExitTable,
    /// The outcome of a recovery, unless the body has this field.
    pub recovered: Option<&'a str>,
}

impl<'a> DocumentHead<'a> {
    /// For a verb without a recovery to tell.
    pub fn of_verb(command: &'static str, root: Option<&'a Path>, exit: Exit) -> Self {
        Self { command, root, exit, table: ExitTable::Verbs, recovered: None }
    }

    /// Returns a document whose other fields are those of `body`, a struct or map.
    pub fn document<B: Serialize>(self, body: B) -> JsonDocument<B> {
        let root = self.root.map(|root| root.display().to_string());
        let exit_code = self.exit.number(self.table);
        let classic_code = match self.table {
            ExitTable::Classic => Some(exit_code),
            ExitTable::Verbs => self.exit.classic_code(),
        };
        let (command, cause) = (self.command, self.exit.cause());
        let recovered = self.recovered.map(str::to_owned);
        JsonDocument { schema: SCHEMA, command, root, exit_code, classic_code, cause, recovered, body }
    }

    /// Returns the document as text.
    pub fn text_of<B: Serialize>(self, body: &B) -> serde_json::Result<Vec<u8>> {
        let plain = Self { recovered: None, ..self }.document(body).text()?;
        let field = b"\n  \"recovered\": ";
        if self.recovered.is_none() || plain.windows(field.len()).any(|part| part == field) {
            return Ok(plain);
        }
        self.document(body).text()
    }
}

impl<B: Serialize> JsonDocument<B> {
    /// Ends with a newline.
    pub fn text(&self) -> serde_json::Result<Vec<u8>> {
        let text = serde_json::to_string_pretty(self)?;
        Ok((visible_json(&text).into_owned() + "\n").into_bytes())
    }
}

/// Serializes texts that need not be UTF-8.
pub fn as_texts<S: Serializer>(texts: &[Vec<u8>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(texts.iter().map(|text| String::from_utf8_lossy(text)))
}

pub fn milliseconds_since(began: Instant) -> u64 {
    u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX)
}
