//! A root's records: a JSON line for each stage in `var/sadm/patchadm/stages` (name, directory, rights), and one about
//! each promotion in `var/sadm/patch/<ID>/promotion`. Other facts are in the stage, whose owner can change them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::identity::{StageFileError, StageId, StageName, is_time};
use super::scope::Scope;
use patchadm_changeset::format::escaped::as_text;
use patchadm_changeset::format::manifest::{decode, encode};
use patchadm_changeset::format::run::{RUN_MARK, Run, around_mark};
use patchadm_rootfs::Digest;
use patchadm_svr4::package::{ObjectPath, PkgInst, rule};
use patchadm_svr4::patch::PatchId;

/// Of `stage new`, among the recorded bases.
pub const FIRST_BASE: &str = "0";

const DIGEST: &str = "b3:";

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ListedStage {
    #[serde(serialize_with = "as_text")]
    pub id: StageId,
    #[serde(serialize_with = "as_text")]
    pub name: StageName,
    /// On the host.
    #[serde(serialize_with = "as_text")]
    pub path: ObjectPath,
    /// RFC 3339, UTC.
    pub created: String,
    /// `None` for a stage that version 0.1 listed.
    #[serde(skip)]
    pub rights: Option<StageRights>,
}

/// On the root. The run that lists the stage records them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StageRights {
    /// The user who made it.
    pub owner: u32,
    /// Its copies have all owners and attributes.
    pub owners: bool,
    /// Seals (`BaseHeader::seal`) by name: `0`, or the id of a promotion.
    pub bases: BTreeMap<String, Digest>,
}

/// In order of creation; each id once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StagesRecord(Vec<ListedStage>);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenStage {
    id: String,
    name: String,
    path: String,
    created: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owner: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    owners: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bases: Option<BTreeMap<String, String>>,
}

impl StagesRecord {
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

    pub fn stages(&self) -> &[ListedStage] {
        &self.0
    }

    /// Replaces a stage with the same id or path, which can only be gone.
    pub fn add(&mut self, stage: ListedStage) {
        self.0.retain(|known| known.id != stage.id && known.path != stage.path);
        self.0.push(stage);
    }

    pub fn stage(&self, id: StageId) -> Option<&ListedStage> {
        self.0.iter().find(|stage| stage.id == id)
    }

    /// Returns true if they changed.
    pub fn record(&mut self, id: StageId, rights: StageRights) -> bool {
        let Some(stage) = self.0.iter_mut().find(|stage| stage.id == id) else { return false };
        let is_new = stage.rights.as_ref() != Some(&rights);
        stage.rights = Some(rights);
        is_new
    }

    /// Returns true if it was listed.
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
            return Err("`created` is not a time".to_owned());
        }
        Ok(Self {
            id: StageId::parse(&written.id).ok_or("`id` is not 16 hexadecimal digits")?,
            name: StageName::parse(&written.name).map_err(|error| error.to_string())?,
            path: ObjectPath::new(&decode(&written.path)).map_err(|error| error.to_string())?,
            rights: StageRights::of(written.owner, written.owners, written.bases)?,
            created: written.created,
        })
    }

    fn line(&self) -> Vec<u8> {
        let written = WrittenStage {
            id: self.id.to_string(),
            name: self.name.to_string(),
            path: encode(self.path.as_bytes()),
            created: self.created.clone(),
            owner: self.rights.as_ref().map(|rights| rights.owner),
            owners: self.rights.as_ref().map(|rights| rights.owners),
            bases: self.rights.as_ref().map(StageRights::written_bases),
        };
        // Strings, a number, a truth value and a map with string keys: serialising these cannot fail.
        let mut line = serde_json::to_vec(&written).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

impl StageRights {
    /// Either all fields are present or none.
    fn of(
        owner: Option<u32>,
        owners: Option<bool>,
        bases: Option<BTreeMap<String, String>>,
    ) -> Result<Option<Self>, String> {
        let (owner, owners, bases) = match (owner, owners, bases) {
            (None, None, None) => return Ok(None),
            (Some(owner), Some(owners), Some(bases)) => (owner, owners, bases),
            _ => return Err("`owner`, `owners` or `bases` is missing".to_owned()),
        };
        if !rule::holds("stages.owner", owner != u32::MAX) {
            return Err("`owner` is not an account".to_owned());
        }
        let is_name = |name: &String| name == FIRST_BASE || PatchId::new(name).is_ok();
        if !rule::holds("stages.bases", bases.contains_key(FIRST_BASE) && bases.keys().all(is_name)) {
            return Err("`bases` has a name that is not a base, or is missing the first one".to_owned());
        }
        let digest = |text: &String| text.strip_prefix(DIGEST).and_then(Digest::from_hex);
        let bases = bases.iter().map(|(name, text)| Some((name.clone(), digest(text)?)));
        let bases = bases.collect::<Option<_>>().ok_or("a digest in `bases` is not valid")?;
        Ok(Some(Self { owner, owners, bases }))
    }

    fn written_bases(&self) -> BTreeMap<String, String> {
        self.bases.iter().map(|(name, digest)| (name.clone(), format!("{DIGEST}{digest}"))).collect()
    }
}

const VERSION: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PromotionRecord {
    pub id: PatchId,
    /// `None` for a tree without identity.
    pub stage: Option<StageId>,
    /// Of the stage; the base of the id.
    pub name: StageName,
    pub run: String,
    pub paths: Scope,
    /// Patches of the stage that went live with it, in order of application.
    pub brought: Vec<PatchId>,
    pub packages: Vec<PkgInst>,
    /// Packages that came with it.
    pub new_packages: Vec<PkgInst>,
}

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
    pub fn parse(text: &[u8]) -> Result<Self, StageFileError> {
        let line = text.strip_suffix(b"\n").ok_or_else(|| StageFileError::at(1, "its end is missing"))?;
        Self::read(line).map_err(|reason| StageFileError::at(1, reason))
    }

    fn read(line: &[u8]) -> Result<Self, String> {
        let written: WrittenPromotion = serde_json::from_slice(line).map_err(|error| error.to_string())?;
        if !rule::holds("promotion.version", written.promotion == VERSION) {
            return Err("the version in `promotion` is not 1".to_owned());
        }
        if !rule::holds("promotion.run", Run::is_name(&written.run)) {
            return Err("`run` is not a run".to_owned());
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
        let known: BTreeSet<&PkgInst> = record.packages.iter().collect();
        let is_known = |package: &PkgInst| known.contains(package);
        if !rule::holds("promotion.new_packages", record.new_packages.iter().all(is_known)) {
            return Err("`new_packages` names one that `packages` does not".to_owned());
        }
        if !rule::holds("promotion.brought", !record.brought.contains(&record.id)) {
            return Err("`brought` names the promotion itself".to_owned());
        }
        Ok(record)
    }

    /// Formats the file around the name of the run, which is not known before the run.
    pub fn around_run(&self) -> (Vec<u8>, Vec<u8>) {
        around_mark(&Self { run: RUN_MARK.to_owned(), ..self.clone() }.write())
    }

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

pub(super) fn scope(texts: &[String]) -> Result<Scope, String> {
    let paths = texts.iter().map(|text| ObjectPath::new(&decode(text)).map_err(|error| error.to_string()));
    let paths: Vec<ObjectPath> = paths.collect::<Result<_, _>>()?;
    Scope::new(paths).map_err(|error| error.to_string())
}

pub(super) fn written_paths(scope: &Scope) -> Vec<String> {
    scope.paths().iter().map(|path| encode(path.as_bytes())).collect()
}

pub(super) fn patch(text: &str) -> Result<PatchId, String> {
    PatchId::new(text).map_err(|error| error.to_string())
}

pub(super) fn stage(text: &str) -> Result<StageId, String> {
    StageId::parse(text).ok_or_else(|| "`stage` is not 16 hexadecimal digits".to_owned())
}

fn packages(texts: &[String]) -> Result<Vec<PkgInst>, String> {
    texts.iter().map(|text| PkgInst::new(text).map_err(|error| error.to_string())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    use proptest::prelude::*;

    fn stage(number: u64, path: &str) -> ListedStage {
        ListedStage {
            id: StageId::of(number),
            name: StageName::parse("web").unwrap(),
            path: ObjectPath::new(path.as_bytes()).unwrap(),
            created: "2026-11-20T23:10:05Z".to_owned(),
            rights: None,
        }
    }

    fn rights() -> StageRights {
        let bases = [(FIRST_BASE, 1), ("web-01", 2)];
        let bases = bases.map(|(name, byte)| (name.to_owned(), Digest([byte; 32])));
        StageRights { owner: 0, owners: true, bases: bases.into() }
    }

    #[test]
    fn what_a_stage_may_do_is_read_as_it_was_written_and_a_part_of_it_is_damage() {
        let mut record = StagesRecord::default();
        record.add(stage(1, "/a"));
        assert!(record.record(StageId::of(1), rights()) && !record.record(StageId::of(1), rights()));
        assert!(!record.record(StageId::of(2), rights()), "it is not listed");
        let text = String::from_utf8(record.write()).unwrap();
        assert!(text.contains(",\"owner\":0,\"owners\":true,\"bases\":{\"0\":\"b3:0101"), "{text}");
        assert_eq!(StagesRecord::parse(text.as_bytes()).unwrap(), record);
        assert_eq!(record.stage(StageId::of(1)).unwrap().rights, Some(rights()));
        for (old, new) in [
            (",\"owner\":0", ""),
            (",\"owners\":true", ""),
            ("\"owner\":0", "\"owner\":4294967295"),
            ("\"owner\":0", "\"owner\":-1"),
            ("\"0\":", "\"web-02\":"),
            ("web-01", "../web"),
            ("b3:01", "b3:"),
            ("b3:01", "01"),
        ] {
            let wrong = text.replace(old, new);
            assert!(wrong != text && StagesRecord::parse(wrong.as_bytes()).is_err(), "{new}");
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
        fn no_bytes_make_a_promotion_panic(bytes: Vec<u8>) {
            let _ = PromotionRecord::parse(&bytes);
        }
    }
}
