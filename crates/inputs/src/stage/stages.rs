//! The stages of a root, `var/sadm/patchadm/stages`: JSON lines, one for each stage. The file finds stages by name and
//! tells people where they are; the facts about a stage are in the stage.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::error::StageFileError;
use super::identity::is_time;
use super::name::{StageId, StageName};
use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_svr4::package::{ObjectPath, rule};

/// One stage of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedStage {
    /// Its id.
    pub id: StageId,
    /// Its name.
    pub name: StageName,
    /// Its physical path on the host.
    pub path: ObjectPath,
    /// When it was made: RFC 3339, UTC.
    pub created: String,
}

/// The stages of a root, in the order in which they were made; each id once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagesRecord(Vec<ListedStage>);

/// A line as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStage {
    id: String,
    name: String,
    path: String,
    created: String,
}

impl StagesRecord {
    /// Reads the file.
    pub fn parse(text: &[u8]) -> Result<Self, StageFileError> {
        if !text.is_empty() && !text.ends_with(b"\n") {
            let lines = text.split(|&byte| byte == b'\n').count();
            return Err(StageFileError::at(lines, "its end is missing"));
        }
        let lines = text.split(|&byte| byte == b'\n').enumerate();
        let (mut stages, mut known) = (Vec::new(), BTreeSet::new());
        for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let fault = |reason: String| StageFileError::at(at + 1, reason);
            let stage = ListedStage::parse(line).map_err(fault)?;
            if !rule::holds("stages.once", known.insert(stage.id)) {
                return Err(fault(format!("the stage {} has a line already", stage.id)));
            }
            stages.push(stage);
        }
        Ok(Self(stages))
    }

    /// Formats the file; empty without stages.
    pub fn write(&self) -> Vec<u8> {
        self.0.iter().flat_map(ListedStage::line).collect()
    }

    /// Returns the stages.
    pub fn stages(&self) -> &[ListedStage] {
        &self.0
    }

    /// Adds a stage. One with the same id, or at the same path, which can only be gone, is replaced.
    pub fn add(&mut self, stage: ListedStage) {
        self.0.retain(|known| known.id != stage.id && known.path != stage.path);
        self.0.push(stage);
    }

    /// Takes a stage out; returns whether it was there.
    pub fn remove(&mut self, id: StageId) -> bool {
        let before = self.0.len();
        self.0.retain(|known| known.id != id);
        self.0.len() < before
    }
}

impl ListedStage {
    fn parse(line: &[u8]) -> Result<Self, String> {
        let written: WrittenStage = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if !rule::holds("stages.created", is_time(&written.created)) {
            return Err("`created` is no time".to_owned());
        }
        Ok(Self {
            id: StageId::parse(&written.id).ok_or("`id` is not 16 hexadecimal digits")?,
            name: StageName::parse(&written.name).map_err(|error| error.to_string())?,
            path: ObjectPath::new(&decode(&written.path)).map_err(|error| error.to_string())?,
            created: written.created,
        })
    }

    fn line(&self) -> Vec<u8> {
        let written = WrittenStage {
            id: self.id.to_string(),
            name: self.name.to_string(),
            path: encode(self.path.as_bytes()),
            created: self.created.clone(),
        };
        // Four strings: serialising these cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stage(number: u64, path: &str) -> ListedStage {
        ListedStage {
            id: StageId::of(number),
            name: StageName::parse("web").unwrap(),
            path: ObjectPath::new(path.as_bytes()).unwrap(),
            created: "2026-11-20T23:10:05Z".to_owned(),
        }
    }

    #[test]
    fn stages_are_read_as_they_were_written() {
        let mut record = StagesRecord::default();
        record.add(stage(1, "/stages/web"));
        record.add(stage(2, "/stages/caf\u{e9} %"));
        let text = record.write();
        let first = text.split(|&byte| byte == b'\n').next().unwrap();
        let expected = "{\"id\":\"0000000000000001\",\"name\":\"web\",\"path\":\"/stages/web\",\
            \"created\":\"2026-11-20T23:10:05Z\"}";
        assert_eq!(std::str::from_utf8(first).unwrap(), expected);
        assert_eq!(StagesRecord::parse(&text).unwrap(), record);
        record.add(stage(3, "/stages/web"));
        assert_eq!(record.stages().len(), 2, "what was at that path is gone");
        assert!(record.remove(StageId::of(3)) && !record.remove(StageId::of(3)));
        assert_eq!(StagesRecord::parse(b"").unwrap().stages(), []);
    }

    #[test]
    fn a_second_line_about_one_stage_and_a_broken_line_are_named() {
        let line = stage(1, "/a").line();
        let twice = [line.clone(), line.clone()].concat();
        assert_eq!(StagesRecord::parse(&twice).unwrap_err().line, 2);
        let text = String::from_utf8(line.clone()).unwrap();
        for (old, new) in [("2026-11-20T23:10:05Z", "x"), ("/a", "a"), ("web", "w/b"), ("\"id\"", "\"ID\"")] {
            let error = StagesRecord::parse(text.replace(old, new).as_bytes()).unwrap_err();
            assert_eq!(error.line, 1, "{new}");
        }
        assert!(StagesRecord::parse(&line[..line.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = StagesRecord::parse(&bytes);
        }
    }
}
