//! The report on a decision about libraries.

use std::collections::{BTreeMap, BTreeSet};

use super::library_state::ScannedRoot;
use super::owners::Owners;
use patchadm_inputs::inventory::{KEPT_FROM, KeptLibraries};
use patchadm_inputs::policy::LibraryWords;
use patchadm_libraries::NeedSource;
use patchadm_libraries::decision::{
    Candidate, CandidateNode, Consumer, ConsumerSource, LibraryDecision, LostNeed, Obstacle, OtherSource,
};
use patchadm_planning::plan::kept_libraries::{
    KeptLibrary, KeptSettlement, LibraryReport, LostLibrary, PackagePaths, ToldConsumer, why_lost,
};
use patchadm_planning::plan::refusal::LibraryLoss;
use patchadm_rootfs::Live;
use patchadm_svr4::package::{ObjectPath, PkgInst};

/// The input of a report.
pub(super) struct Telling<'a> {
    pub(super) scanned: &'a ScannedRoot,
    pub(super) words: LibraryWords,
    pub(super) kept: &'a KeptLibraries,
    pub(super) settlement: &'a KeptSettlement,
    /// The paths of candidates in packages, by their physical paths.
    pub(super) recorded: &'a BTreeMap<ObjectPath, ObjectPath>,
    pub(super) candidates: &'a BTreeMap<ObjectPath, Candidate>,
    pub(super) returned: &'a BTreeSet<ObjectPath>,
    pub(super) owners: &'a Owners,
}

/// Returns the word for the way in which a file needs a library.
pub(super) fn how(source: ConsumerSource) -> &'static str {
    match source {
        ConsumerSource::File(NeedSource::Needed) => "needed",
        ConsumerSource::File(NeedSource::Interpreter) => "interp",
        ConsumerSource::File(NeedSource::Preload) => "preload",
        ConsumerSource::File(NeedSource::Dlopen) => "dlopen",
        ConsumerSource::Other(OtherSource::Mapped(_)) => "mapped",
        ConsumerSource::Other(OtherSource::Policy) => "policy",
    }
}

impl Telling<'_> {
    /// Returns the report.
    pub(super) fn report(&self, decision: &LibraryDecision) -> LibraryReport {
        let (returned, dropped): (Vec<_>, Vec<_>) = self
            .kept
            .paths()
            .filter(|path| self.settlement.kept.keeper(path).is_none())
            .partition(|path| self.returned.contains(*path));
        LibraryReport {
            words: self.words,
            scanned: self.scanned.scanned,
            not_understood: self.scanned.not_understood.to_vec(),
            skipped: self.scanned.skipped.to_vec(),
            kept: self.kept_libraries(decision),
            lost: self.lost(decision),
            dropped: self.by_package(&dropped),
            returned: self.by_package(&returned),
        }
    }

    fn by_package(&self, paths: &[&ObjectPath]) -> Vec<PackagePaths> {
        let mut packages: BTreeMap<PkgInst, Vec<ObjectPath>> = BTreeMap::new();
        for path in paths {
            if let Some(keeper) = self.kept.keeper(path) {
                packages.entry(keeper.clone()).or_default().push((*path).clone());
            }
        }
        packages.into_iter().map(|(package, paths)| PackagePaths { package, paths }).collect()
    }

    fn consumers<'c>(&self, consumers: impl Iterator<Item = &'c Consumer>) -> Vec<ToldConsumer> {
        let told = |consumer: &Consumer| ToldConsumer {
            path: consumer.path.clone(),
            packages: self.owners.of(&consumer.path),
            how: how(consumer.source),
            pid: match consumer.source {
                ConsumerSource::Other(OtherSource::Mapped(pid)) => Some(pid),
                _ => None,
            },
        };
        let all: BTreeSet<ToldConsumer> = consumers.map(told).collect();
        all.into_iter().collect()
    }

    /// Returns the libraries that are kept because of the plan: not those that were kept before.
    fn kept_libraries(&self, decision: &LibraryDecision) -> Vec<KeptLibrary> {
        let mut libraries = Vec::new();
        for (physical, consumers) in &decision.kept {
            let (Some(Candidate { node: CandidateNode::File(file), .. }), Some(path)) =
                (self.candidates.get(physical), self.recorded.get(physical))
            else {
                continue;
            };
            let Some(keeper) = self.settlement.kept.keeper(path).filter(|_| self.kept.keeper(path).is_none())
            else {
                continue;
            };
            let mut paths = vec![path.clone()];
            paths.extend(self.links_to(physical, decision));
            paths.sort();
            let params = self.settlement.kept.packages.get(keeper).map(|installed| &installed.params);
            let soname = file.facts.soname.clone();
            libraries.push(KeptLibrary {
                package: keeper.clone(),
                from: params.map(|params| params.text(KEPT_FROM).into_owned()).unwrap_or_default(),
                library: soname.unwrap_or_else(|| String::from_utf8_lossy(path.name()).into_owned()),
                paths,
                bytes: self.settlement.kept.live.get(path).and_then(Live::size).unwrap_or_default(),
                consumers: self.consumers(consumers.iter()),
            });
        }
        libraries
    }

    /// Returns all kept libraries that a file needs, by their paths in packages.
    pub(super) fn all_needed(
        &self,
        decision: &LibraryDecision,
    ) -> BTreeMap<ObjectPath, (Option<String>, Vec<ToldConsumer>)> {
        let needed = decision.kept.iter().filter_map(|(physical, consumers)| {
            let Candidate { node: CandidateNode::File(file), .. } = self.candidates.get(physical)? else {
                return None;
            };
            let path = self.recorded.get(physical)?.clone();
            Some((path, (file.facts.soname.clone(), self.consumers(consumers.iter()))))
        });
        needed.collect()
    }

    /// Returns the kept links that lead to a kept file.
    fn links_to(&self, physical: &ObjectPath, decision: &LibraryDecision) -> Vec<ObjectPath> {
        let links = decision.kept.keys().filter(|path| {
            let is_link =
                self.candidates.get(*path).is_some_and(|one| matches!(one.node, CandidateNode::Link(_)));
            is_link && self.leads_to(path, physical)
        });
        links.filter_map(|path| self.recorded.get(path).cloned()).collect()
    }

    /// Follows kept links by their targets.
    fn leads_to(&self, link: &ObjectPath, physical: &ObjectPath) -> bool {
        let mut at = link.clone();
        for _ in 0..40 {
            let Some(Candidate { node: CandidateNode::Link(target), .. }) = self.candidates.get(&at) else {
                return at == *physical;
            };
            match at.link_source(target) {
                Ok(next) => at = next,
                Err(_) => return false,
            }
        }
        false
    }

    fn lost(&self, decision: &LibraryDecision) -> Vec<LostLibrary> {
        let mut libraries: BTreeMap<(ObjectPath, String), Vec<&LostNeed>> = BTreeMap::new();
        for need in &decision.lost {
            // A library that never existed is not lost by the plan.
            let Some(path) = &need.library else { continue };
            libraries.entry((path.clone(), need.name.clone())).or_default().push(need);
        }
        let lost = libraries.into_iter().map(|((path, library), needs)| {
            let obstacle = needs.iter().find_map(|need| need.obstacle).unwrap_or(Obstacle::PathTaken);
            let versions: BTreeSet<&String> = needs.iter().flat_map(|need| &need.versions).collect();
            let symbols: BTreeSet<&String> = needs.iter().flat_map(|need| &need.symbols).collect();
            LostLibrary {
                library,
                path: self.recorded.get(&path).cloned().unwrap_or(path),
                reason: obstacle.word(),
                versions: versions.into_iter().cloned().collect(),
                symbols: symbols.into_iter().cloned().collect(),
                consumers: self.consumers(needs.iter().map(|need| &need.consumer)),
            }
        });
        lost.collect()
    }
}

/// Returns the lost libraries as a refusal tells them.
pub(super) fn losses(report: &LibraryReport) -> Vec<LibraryLoss> {
    let loss = |lost: &LostLibrary| LibraryLoss {
        library: lost.library.clone(),
        missing: lost.versions.iter().chain(&lost.symbols).cloned().collect(),
        why: why_lost(lost.reason),
        consumers: lost.consumers.iter().map(|consumer| consumer.path.clone()).collect(),
    };
    report.lost.iter().map(loss).collect()
}
