//! The options of an active refresh, `refreshing`: one line. A command that completes an interrupted refresh decides by it
//! as the refresh did.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_inputs::policy::Edited;
use patchadm_inputs::stage::StageFileError;
use patchadm_planning::plan::edits::EditChoice;
use patchadm_svr4::package::{ObjectPath, rule};

/// The version of the format.
const VERSION: u32 = 1;

/// The decision of a refresh about paths that both sides changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct RefreshChoices(pub(super) EditChoice);

/// The line as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenChoices {
    refreshing: u32,
    edited: WrittenEdited,
    #[serde(rename = "override")]
    overridden: Vec<String>,
    preserve: Vec<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum WrittenEdited {
    Stop,
    Replace,
    Keep,
}

impl RefreshChoices {
    /// Reads the file.
    pub(super) fn parse(text: &[u8]) -> Result<Self, StageFileError> {
        let fault = |reason: &str| StageFileError::at(1, reason);
        let line = text.strip_suffix(b"\n").ok_or_else(|| fault("its end is missing"))?;
        let written: WrittenChoices =
            serde_json::from_slice(line).map_err(|error| fault(&error.to_string()))?;
        if !rule::holds("stage.refreshing.version", written.refreshing == VERSION) {
            return Err(fault("`refreshing` is another version than 1"));
        }
        let paths = |texts: &[String]| {
            let paths = texts.iter().map(|text| ObjectPath::new(&decode(text)));
            paths.collect::<Result<BTreeSet<_>, _>>().map_err(|error| fault(&error.to_string()))
        };
        Ok(Self(EditChoice {
            general: match written.edited {
                WrittenEdited::Stop => Edited::Stop,
                WrittenEdited::Replace => Edited::Replace,
                WrittenEdited::Keep => Edited::Keep,
            },
            overridden: paths(&written.overridden)?,
            preserved: paths(&written.preserve)?,
            ..EditChoice::default()
        }))
    }

    /// Formats the file.
    pub(super) fn write(&self) -> Vec<u8> {
        let texts = |paths: &BTreeSet<ObjectPath>| paths.iter().map(|path| encode(path.as_bytes())).collect();
        let written = WrittenChoices {
            refreshing: VERSION,
            edited: match self.0.general {
                Edited::Stop => WrittenEdited::Stop,
                Edited::Replace => WrittenEdited::Replace,
                Edited::Keep => WrittenEdited::Keep,
            },
            overridden: texts(&self.0.overridden),
            preserve: texts(&self.0.preserved),
        };
        // Strings, a number and words: serialising these cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_as_they_were_written_and_others_are_damage() {
        let path = |text: &str| ObjectPath::new(text.as_bytes()).unwrap();
        let choices = RefreshChoices(EditChoice {
            general: Edited::Keep,
            overridden: BTreeSet::from([path("/usr/a b"), path("/usr/\"\n")]),
            preserved: BTreeSet::from([path("/etc/x")]),
            ..EditChoice::default()
        });
        let text = choices.write();
        assert_eq!(RefreshChoices::parse(&text).unwrap(), choices);
        for wrong in [&text[..text.len() - 1], b"", b"{}\n", &[&text[..], &text].concat()] {
            assert!(RefreshChoices::parse(wrong).is_err());
        }
        let other = String::from_utf8(text).unwrap().replace("\"refreshing\":1", "\"refreshing\":2");
        assert!(RefreshChoices::parse(other.as_bytes()).is_err());
    }
}
