//! Decides if a source needs a new patch, and its revision.

use super::error::SourceFailure;
use super::state::BuiltRecord;
use super::work::PatchCondition;
use patchadm_svr4::patch::PatchId;

pub(super) struct EarlierPatches {
    pub(super) last: BuiltRecord,
    pub(super) condition: PatchCondition,
    pub(super) is_signed: bool,
    pub(super) before: Option<EarlierRevision>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EarlierRevision {
    pub(super) record: BuiltRecord,
    pub(super) manifest: String,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum RevisionChoice {
    Keep,
    Make(Box<NextRevision>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NextRevision {
    pub(super) id: PatchId,
    pub(super) previous: Option<EarlierRevision>,
    pub(super) replaces: Option<&'static str>,
}

impl NextRevision {
    fn made(self) -> RevisionChoice {
        RevisionChoice::Make(Box::new(self))
    }
}

/// `key` computes the key of a patch with this id that contains this revision.
pub(super) fn choose(
    base: &str,
    earlier: Option<&EarlierPatches>,
    rebuild: bool,
    key: &dyn Fn(&PatchId, Option<&EarlierRevision>) -> String,
) -> Result<RevisionChoice, SourceFailure> {
    let Some(EarlierPatches { last, condition, is_signed, before }) = earlier else {
        let id = PatchId::new(&format!("{base}-01"))?;
        return Ok(NextRevision { id, previous: None, replaces: None }.made());
    };
    let id = PatchId::new(&last.id)?;
    let again = |reason| NextRevision { id: id.clone(), previous: before.clone(), replaces: Some(reason) };
    let manifest = match condition {
        PatchCondition::AsBuilt(_) if rebuild && !is_signed => {
            return Ok(again("as --rebuild asks").made());
        }
        PatchCondition::AsBuilt(manifest) => manifest.clone(),
        // It is unsigned, so make it again from the present inputs.
        PatchCondition::NotAsBuilt(fault) if !is_signed => return Ok(again(fault).made()),
        PatchCondition::NotAsBuilt(fault) => {
            return Err(SourceFailure::NotAsBuilt { path: last.path.clone().into(), fault });
        }
    };
    if key(&id, before.as_ref()) == last.key {
        return Ok(RevisionChoice::Keep);
    }
    let previous = Some(EarlierRevision { record: last.clone(), manifest });
    Ok(NextRevision { id: after(&id)?, previous, replaces: None }.made())
}

pub(super) fn after(id: &PatchId) -> Result<PatchId, SourceFailure> {
    let number = id.revision().parse::<u64>().ok().and_then(|number| number.checked_add(1));
    let number = number.ok_or_else(|| SourceFailure::LastRevision(id.clone()))?;
    Ok(PatchId::new(&format!("{}-{number:02}", id.base()))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &str, key: &str) -> BuiltRecord {
        BuiltRecord {
            source: "curl".to_owned(),
            id: id.to_owned(),
            key: key.to_owned(),
            path: format!("patches/{id}.tar.gz"),
            sha256: "cd".repeat(32),
            news: None,
        }
    }

    fn as_built() -> PatchCondition {
        PatchCondition::AsBuilt("m".to_owned())
    }

    /// Returns the choice for inputs with the key `now`.
    fn told(earlier: Option<&EarlierPatches>, rebuild: bool) -> String {
        let key = |_: &PatchId, _: Option<&EarlierRevision>| "now".to_owned();
        match choose("curl", earlier, rebuild, &key) {
            Ok(RevisionChoice::Keep) => "keep".to_owned(),
            Ok(RevisionChoice::Make(next)) => {
                let NextRevision { id, previous, replaces } = *next;
                let previous = previous.map(|one| format!(" with {}", one.record.id)).unwrap_or_default();
                let replaces = replaces.map(|reason| format!(" replaced: {reason}")).unwrap_or_default();
                format!("make {id}{previous}{replaces}")
            }
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_patch_of_what_lies_there_is_kept_and_another_one_is_followed() {
        assert_eq!(told(None, false), "make curl-01");
        let earlier = |key, condition, is_signed| EarlierPatches {
            last: record("curl-09", key),
            condition,
            is_signed,
            before: Some(EarlierRevision { record: record("curl-08", "old"), manifest: "m".to_owned() }),
        };
        assert_eq!(told(Some(&earlier("now", as_built(), false)), false), "keep");
        assert_eq!(told(Some(&earlier("then", as_built(), false)), false), "make curl-10 with curl-09");
    }

    #[test]
    fn the_highest_patch_is_replaced_only_if_nobody_has_signed_it() {
        let earlier = |key, condition, is_signed| EarlierPatches {
            last: record("curl-01", key),
            condition,
            is_signed,
            before: None,
        };
        let gone = || PatchCondition::NotAsBuilt("does not exist");
        assert_eq!(
            told(Some(&earlier("now", as_built(), false)), true),
            "make curl-01 replaced: as --rebuild asks"
        );
        assert_eq!(told(Some(&earlier("now", as_built(), true)), true), "keep");
        assert_eq!(told(Some(&earlier("then", as_built(), true)), true), "make curl-02 with curl-01");
        assert_eq!(
            told(Some(&earlier("now", gone(), false)), false),
            "make curl-01 replaced: does not exist"
        );
        let said = told(Some(&earlier("now", gone(), true)), false);
        assert!(said.starts_with("patches/curl-01.tar.gz does not exist, "), "{said}");
    }

    #[test]
    fn revisions_have_two_digits_and_an_end() {
        let next = |id: &str| after(&PatchId::new(id).unwrap()).map(|id| id.to_string());
        assert_eq!(next("a-01").unwrap(), "a-02");
        assert_eq!(next("a-99").unwrap(), "a-100");
        assert!(next("a-18446744073709551615").is_err());
    }
}
