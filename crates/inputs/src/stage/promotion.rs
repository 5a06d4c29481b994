//! The record of a promotion, `var/sadm/patch/<ID>/promotion`: one line that says what it took, and what it brought.

use serde::{Deserialize, Serialize};

use super::error::StageFileError;
use super::name::{StageId, StageName};
use super::scope::Scope;
use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_changeset::format::run::{RUN_MARK, Run, around_mark};
use patchadm_svr4::package::{ObjectPath, PkgInst, rule};
use patchadm_svr4::patch::PatchId;

/// The version of the format.
const VERSION: u32 = 1;

/// A root's record of a promotion that is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionRecord {
    /// Its id, that of the patch.
    pub id: PatchId,
    /// The stage it came from; `None` for a tree without identity.
    pub stage: Option<StageId>,
    /// The name of the stage, the base of the id.
    pub name: StageName,
    /// The run that made it.
    pub run: String,
    /// The paths that were compared.
    pub paths: Scope,
    /// The patches of the stage that went live with it, in the order in which they were applied.
    pub brought: Vec<PatchId>,
    /// The packages that it patches.
    pub packages: Vec<PkgInst>,
    /// Those of them that came with it.
    pub new_packages: Vec<PkgInst>,
}

/// The line as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenPromotion {
    promotion: u32,
    id: String,
    stage: Option<String>,
    name: String,
    run: String,
    paths: Vec<String>,
    brought: Vec<String>,
    packages: Vec<String>,
    new_packages: Vec<String>,
}

impl PromotionRecord {
    /// Reads the file.
    pub fn parse(text: &[u8]) -> Result<Self, StageFileError> {
        let line = text.strip_suffix(b"\n").ok_or_else(|| StageFileError::at(1, "its end is missing"))?;
        Self::read(line).map_err(|reason| StageFileError::at(1, reason))
    }

    fn read(line: &[u8]) -> Result<Self, String> {
        let written: WrittenPromotion = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if !rule::holds("promotion.version", written.promotion == VERSION) {
            return Err("`promotion` is another version than 1".to_owned());
        }
        if !rule::holds("promotion.run", Run::is_name(&written.run)) {
            return Err("`run` is no run".to_owned());
        }
        let record = Self {
            id: patch(&written.id)?,
            stage: written.stage.as_deref().map(stage).transpose()?,
            name: StageName::parse(&written.name).map_err(|error| error.to_string())?,
            run: written.run,
            paths: scope(&written.paths)?,
            brought: written.brought.iter().map(|id| patch(id)).collect::<Result<_, _>>()?,
            packages: packages(&written.packages)?,
            new_packages: packages(&written.new_packages)?,
        };
        let is_known = |package: &PkgInst| record.packages.contains(package);
        if !rule::holds("promotion.new_packages", record.new_packages.iter().all(is_known)) {
            return Err("`new_packages` names one that `packages` does not".to_owned());
        }
        if !rule::holds("promotion.brought", !record.brought.contains(&record.id)) {
            return Err("`brought` names the promotion itself".to_owned());
        }
        Ok(record)
    }

    /// Formats the file as it is around the name of the run, which is not known before the run.
    pub fn around_run(&self) -> (Vec<u8>, Vec<u8>) {
        around_mark(&Self { run: RUN_MARK.to_owned(), ..self.clone() }.write())
    }

    /// Formats the file.
    pub fn write(&self) -> Vec<u8> {
        let texts = |packages: &[PkgInst]| packages.iter().map(ToString::to_string).collect();
        let written = WrittenPromotion {
            promotion: VERSION,
            id: self.id.to_string(),
            stage: self.stage.map(|stage| stage.to_string()),
            name: self.name.to_string(),
            run: self.run.clone(),
            paths: written_paths(&self.paths),
            brought: self.brought.iter().map(ToString::to_string).collect(),
            packages: texts(&self.packages),
            new_packages: texts(&self.new_packages),
        };
        // Strings, lists of strings and a number: serialising these cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Reads the paths of a scope, sorted as they are written.
pub(super) fn scope(texts: &[String]) -> Result<Scope, String> {
    let paths = texts.iter().map(|text| ObjectPath::new(&decode(text)).map_err(|error| error.to_string()));
    let paths: Vec<ObjectPath> = paths.collect::<Result<_, _>>()?;
    Scope::new(paths).map_err(|error| error.to_string())
}

/// Formats the paths of a scope.
pub(super) fn written_paths(scope: &Scope) -> Vec<String> {
    scope.paths().iter().map(|path| encode(path.as_bytes())).collect()
}

/// Reads a patch id.
pub(super) fn patch(text: &str) -> Result<PatchId, String> {
    PatchId::new(text).map_err(|error| error.to_string())
}

/// Reads the id of a stage.
pub(super) fn stage(text: &str) -> Result<StageId, String> {
    StageId::parse(text).ok_or_else(|| "`stage` is not 16 hexadecimal digits".to_owned())
}

fn packages(texts: &[String]) -> Result<Vec<PkgInst>, String> {
    texts.iter().map(|text| PkgInst::new(text).map_err(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LINE: &str = "{\"promotion\":1,\"id\":\"web-02\",\"stage\":\"5f0c2a9be1d47788\",\"name\":\"web\",\
        \"run\":\"17-9c1d6f20aa31b7e4\",\"paths\":[\"/usr/pkg\"],\"brought\":[\"300001-01\"],\
        \"packages\":[\"LOCLweb\",\"DEBopenssl\"],\"new_packages\":[\"LOCLweb\"]}\n";

    #[test]
    fn the_line_of_the_contract_is_read_and_written_again() {
        let record = PromotionRecord::parse(LINE.as_bytes()).unwrap();
        assert_eq!(record.brought, [PatchId::new("300001-01").unwrap()]);
        assert_eq!(String::from_utf8(record.write()).unwrap(), LINE);
        let (before, after) = record.around_run();
        assert_eq!([before, record.run.as_bytes().to_vec(), after].concat(), LINE.as_bytes());
        let of_tree = LINE.replace("\"5f0c2a9be1d47788\"", "null");
        assert_eq!(PromotionRecord::parse(of_tree.as_bytes()).unwrap().stage, None);
    }

    #[test]
    fn what_no_promotion_writes_is_refused() {
        for (old, new) in [
            ("\"promotion\":1", "\"promotion\":2"),
            ("web-02", "web"),
            ("5f0c2a9be1d47788", "5f"),
            ("\"name\":\"web\"", "\"name\":\"w/b\""),
            ("17-9c1d6f20aa31b7e4", "18446744073709551615-ffffffffffffffff"),
            ("\"/usr/pkg\"", "\"usr/pkg\""),
            ("\"/usr/pkg\"", "\"/usr/pkg\",\"/usr\""),
            ("[\"/usr/pkg\"]", "[]"),
            ("300001-01", "../x"),
            ("300001-01", "web-2"),
            ("\"DEBopenssl\"", "\"a/b\""),
            ("[\"LOCLweb\"]", "[\"OTHER\"]"),
            ("\"brought\"", "\"others\""),
        ] {
            let text = LINE.replacen(old, new, 1);
            assert!(text != LINE && PromotionRecord::parse(text.as_bytes()).is_err(), "{new}");
        }
        assert!(PromotionRecord::parse(&LINE.as_bytes()[..LINE.len() - 1]).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            let _ = PromotionRecord::parse(&bytes);
        }
    }
}
