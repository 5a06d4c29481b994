//! Requirements between patches: a patch requires those with libraries for its objects.
//!
//! It requires the first such revision, so that a later one makes no new patch here.

use std::collections::{BTreeMap, BTreeSet};

use super::request::{MadePatch, NeededFeature, SourceFailure};
use super::work::WorkDirectory;
use crate::build::{OtherPatch, find_providers};
use patchadm_svr4::patch::{PatchId, Requirements};

pub(super) type SourceNeeds = BTreeMap<String, Vec<NeededFeature>>;

/// Puts each source into a later wave than its requirements. A cycle is in one wave.
pub(super) fn waves<'s>(
    sources: impl Iterator<Item = &'s String>,
    needs: &SourceNeeds,
) -> Vec<Vec<&'s String>> {
    let mut waiting: BTreeSet<&String> = sources.collect();
    let mut waves = Vec::new();
    while !waiting.is_empty() {
        let waits = |name: &String| {
            let needed = needs.get(name).into_iter().flatten();
            needed.into_iter().any(|need| need.source != *name && waiting.contains(&need.source))
        };
        let mut wave: Vec<&String> = waiting.iter().copied().filter(|name| !waits(name)).collect();
        if wave.is_empty() {
            wave = waiting.iter().copied().collect();
        }
        // A wave is sorted, as those that wait are.
        waiting.retain(|name| wave.binary_search(name).is_err());
        waves.push(wave);
    }
    waves
}

/// A dry run leaves out patches that would be made first.
pub(super) fn requirements(
    work: &WorkDirectory,
    needed: &[NeededFeature],
    is_dry_run: bool,
) -> Result<Requirements, SourceFailure> {
    let mut ids: BTreeSet<PatchId> = BTreeSet::new();
    let sources: BTreeSet<&str> = needed.iter().map(|need| need.source.as_str()).collect();
    for source in sources {
        let of_source = needed.iter().filter(|need| need.source == source);
        let features: Vec<_> = of_source.map(|need| need.feature.clone()).collect();
        let mut patches = Vec::new();
        for record in work.of_source(source) {
            patches.extend(OtherPatch::open_all(&work.at(&record.path))?);
        }
        let providers = find_providers(&patches, features.iter().cloned())
            .map_err(|error| SourceFailure::Build(error.into()))?;
        match features.iter().find(|feature| !providers.contains_key(feature)) {
            Some(_) if is_dry_run => {}
            Some(feature) => {
                let (source_name, feature) = (source.to_owned(), feature.to_string());
                return Err(SourceFailure::Required { source_name, feature });
            }
            None => ids.extend(latest(providers.into_values())),
        }
    }
    let words: Vec<String> = ids.iter().map(ToString::to_string).collect();
    Ok(Requirements::parse(&words.join(" "), PatchId::SEPARATOR)?)
}

fn latest(ids: impl Iterator<Item = PatchId>) -> Option<PatchId> {
    ids.reduce(|one, other| if other.is_later_than(&one) { other } else { one })
}

pub(super) fn required_patches(work: &WorkDirectory, needs: &SourceNeeds, source: &str) -> Vec<MadePatch> {
    let (mut found, mut open) = (BTreeSet::from([source.to_owned()]), vec![source.to_owned()]);
    let mut patches = Vec::new();
    while let Some(name) = open.pop() {
        for need in needs.get(&name).into_iter().flatten() {
            if !found.insert(need.source.clone()) {
                continue;
            }
            open.push(need.source.clone());
            patches.extend(highest_patch(work, &need.source));
        }
    }
    patches.sort_by(|one, other| one.source.cmp(&other.source));
    patches
}

pub(super) fn highest_patch(work: &WorkDirectory, source: &str) -> Option<MadePatch> {
    let record = work.of_source(source).pop()?;
    let path = work.at(&record.path);
    Some(MadePatch { source: record.source, id: record.id, path })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::LibraryFeature;
    use patchadm_libraries::elf::ElfMachine;

    fn needs(pairs: &[(&str, &str)]) -> SourceNeeds {
        let mut needs = SourceNeeds::new();
        for (name, source) in pairs {
            let machine = ElfMachine { number: 62, is_64: true };
            let feature = LibraryFeature { machine, soname: "libx.so.2".to_owned(), version: None };
            let needed = NeededFeature { source: (*source).to_owned(), feature };
            needs.entry((*name).to_owned()).or_default().push(needed);
        }
        needs
    }

    fn told(names: &[&str], pairs: &[(&str, &str)]) -> Vec<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let found = waves(names.iter(), &needs(pairs));
        found.iter().map(|wave| wave.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(" ")).collect()
    }

    #[test]
    fn a_source_comes_after_those_that_it_needs_and_a_circle_comes_at_once() {
        assert_eq!(told(&["a", "b", "c"], &[]), ["a b c"]);
        assert_eq!(told(&["a", "b", "c", "d"], &[("a", "b"), ("b", "d"), ("c", "gone")]), ["c d", "b", "a"]);
        assert_eq!(told(&["a", "b", "c"], &[("a", "b"), ("b", "a"), ("b", "b")]), ["c", "a b"]);
    }
}
