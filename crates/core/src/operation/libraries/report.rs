use std::collections::{BTreeMap, BTreeSet};

use crate::operation::failure::Failure;
use crate::operation::libraries::library_state::{LibraryState, ScannedRoot};
use patchadm_inputs::database::RecordView;
use patchadm_inputs::database::contents::lines_of_paths;
use patchadm_inputs::inventory::{KEPT_FROM, KeptLibraries};
use patchadm_inputs::policy::LibraryWords;
use patchadm_libraries::decision::{
    CandidateNode, Consumer, ConsumerSource, LibraryCandidate, LibraryDecision, LostNeed, Obstacle,
    OtherSource,
};
use patchadm_libraries::{Follower, LibraryTree, NeedSource};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::kept_libraries::{
    KeptLibrary, KeptSettlement, LibraryReport, LostLibrary, PackagePaths, ToldConsumer, why_lost,
};
use patchadm_planning::plan::refusal::LibraryLoss;
use patchadm_rootfs::{Live, Root};
use patchadm_svr4::package::{ContentsLine, ObjectPath, PkgInst};

pub(super) struct ReportInput<'a> {
    pub(super) scanned: &'a ScannedRoot,
    pub(super) words: LibraryWords,
    pub(super) kept: &'a KeptLibraries,
    pub(super) settlement: &'a KeptSettlement,
    pub(super) recorded: &'a BTreeMap<ObjectPath, ObjectPath>,
    pub(super) candidates: &'a BTreeMap<ObjectPath, LibraryCandidate>,
    pub(super) returned: &'a BTreeSet<ObjectPath>,
    pub(super) owners: &'a LibraryOwners,
}

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

impl ReportInput<'_> {
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

    /// Excludes libraries that were kept before.
    fn kept_libraries(&self, decision: &LibraryDecision) -> Vec<KeptLibrary> {
        let mut libraries = Vec::new();
        for (physical, consumers) in &decision.kept {
            let (Some(LibraryCandidate { node: CandidateNode::File(file), .. }), Some(path)) =
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

    pub(super) fn all_needed(
        &self,
        decision: &LibraryDecision,
    ) -> BTreeMap<ObjectPath, (Option<String>, Vec<ToldConsumer>)> {
        let needed = decision.kept.iter().filter_map(|(physical, consumers)| {
            let LibraryCandidate { node: CandidateNode::File(file), .. } = self.candidates.get(physical)?
            else {
                return None;
            };
            let path = self.recorded.get(physical)?.clone();
            Some((path, (file.facts.soname.clone(), self.consumers(consumers.iter()))))
        });
        needed.collect()
    }

    fn links_to(&self, physical: &ObjectPath, decision: &LibraryDecision) -> Vec<ObjectPath> {
        let links = decision.kept.keys().filter(|path| {
            let is_link =
                self.candidates.get(*path).is_some_and(|one| matches!(one.node, CandidateNode::Link(_)));
            is_link && self.leads_to(path, physical)
        });
        links.filter_map(|path| self.recorded.get(path).cloned()).collect()
    }

    fn leads_to(&self, link: &ObjectPath, physical: &ObjectPath) -> bool {
        let mut at = link.clone();
        for _ in 0..40 {
            let Some(LibraryCandidate { node: CandidateNode::Link(target), .. }) = self.candidates.get(&at)
            else {
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

pub(super) fn losses(report: &LibraryReport) -> Vec<LibraryLoss> {
    let loss = |lost: &LostLibrary| LibraryLoss {
        library: lost.library.clone(),
        missing: lost.versions.iter().chain(&lost.symbols).cloned().collect(),
        why: why_lost(lost.reason),
        consumers: lost.consumers.iter().map(|consumer| consumer.path.clone()).collect(),
    };
    report.lost.iter().map(loss).collect()
}

/// Excludes packages that keep libraries.
pub(super) struct LibraryOwners {
    lines: BTreeMap<ObjectPath, ContentsLine>,
    names: BTreeMap<ObjectPath, Vec<ObjectPath>>,
}

impl LibraryOwners {
    /// A package may name an object through a link at the top, such as `/bin` on a merged `/usr`.
    pub(super) fn read(
        root: &Root,
        physical: &BTreeSet<ObjectPath>,
        tree: &LibraryTree,
        (state, plan, kept): (&LibraryState<'_>, &Plan, &KeptLibraries),
    ) -> Result<Self, Failure> {
        let mut follower = tree.follower();
        let names: BTreeMap<ObjectPath, Vec<ObjectPath>> =
            physical.iter().map(|path| (path.clone(), names_of(path, &mut follower))).collect();
        let all: BTreeSet<ObjectPath> = names.values().flatten().cloned().collect();
        let found = lines_of_paths(&RecordView::live(root), &all)?;
        let mut lines: BTreeMap<ObjectPath, ContentsLine> = found
            .into_iter()
            .filter(|(path, _)| all.contains(path))
            .filter_map(|(path, line)| Some((path, kept.without_keepers(&line)?)))
            .collect();
        let known = |path: &ObjectPath| {
            let planned = plan.contents.get(path).map(|line| line.as_deref().cloned());
            planned.or_else(|| state.lines.get(path).cloned())
        };
        for path in &all {
            match known(path) {
                Some(Some(line)) => drop(lines.insert(path.clone(), line)),
                Some(None) => drop(lines.remove(path)),
                None => {}
            }
        }
        Ok(Self { lines, names })
    }

    pub(super) fn of(&self, physical: &ObjectPath) -> Vec<PkgInst> {
        let mut names = self.names.get(physical).into_iter().flatten();
        let line = names.find_map(|name| self.lines.get(name));
        let owners = line.into_iter().flat_map(|line| &line.owners);
        owners.map(|owner| owner.package.clone()).collect()
    }
}

fn names_of(physical: &ObjectPath, follower: &mut Follower<'_>) -> Vec<ObjectPath> {
    let mut names = vec![physical.clone()];
    let Some(rest) = physical.as_bytes().strip_prefix(b"/usr") else { return names };
    let Ok(short) = ObjectPath::new(rest) else { return names };
    let leads_there = follower.follow(short.as_bytes()).is_some_and(|way| way.path == *physical);
    if leads_there && short != *physical {
        names.push(short);
    }
    names
}
