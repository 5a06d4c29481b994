//! Small worlds: a few offers, applied patches, packages and a request, from lines of text or at random.

use std::fmt::Write as _;

use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{AppliedPatches, InstalledInfo, PatchId, PatchList, PatchRecords, Requirements};

use crate::resolve::{
    InstalledPackages, Offer, OfferedPackage, Resolution, ResolverInput, SetRequest, resolve,
};
use patchadm_inputs::policy::Policy;

/// All that a resolution depends on.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) offers: Vec<Offer>,
    pub(super) applied: AppliedPatches,
    pub(super) installed: InstalledPackages,
    pub(super) policy: Policy,
    pub(super) request: SetRequest,
}

pub(super) fn id(text: &str) -> PatchId {
    PatchId::new(text).unwrap()
}

/// Returns a patch from `ID [for PKG…] [requires X…] [obsoletes X…] [incompat X…] [withdrawn]`; for package P
/// if none is named.
pub(super) fn offer(line: &str) -> Offer {
    let mut parts: [Vec<&str>; 4] = Default::default();
    let mut words = line.split_whitespace();
    let name = words.next().unwrap();
    let (mut part, mut is_withdrawn) = (0, false);
    for word in words {
        match word {
            "for" => part = 0,
            "requires" => part = 1,
            "obsoletes" => part = 2,
            "incompat" => part = 3,
            "withdrawn" => is_withdrawn = true,
            word => parts[part].push(word),
        }
    }
    if parts[0].is_empty() {
        parts[0].push("P");
    }
    let package = |pkg: &&str| OfferedPackage {
        pkg: (*pkg).to_owned(),
        arch: "all".to_owned(),
        version: "1".to_owned(),
    };
    let list = |words: &[&str]| PatchList::parse(&words.join(" "), "-").unwrap();
    Offer {
        id: id(name),
        requires: Requirements::parse(&parts[1].join(" "), "-").unwrap(),
        obsoletes: list(&parts[2]),
        incompatibles: list(&parts[3]),
        packages: parts[0].iter().map(package).collect(),
        is_withdrawn,
        content: line.to_owned(),
        source: format!("{name}.zip"),
    }
}

/// Returns a root with packages P and Q, and patches applied to it one after another, without asking any
/// rule.
pub(super) fn applied(patches: &[Offer]) -> AppliedPatches {
    let mut packages: Vec<PatchRecords> =
        ["P", "Q"].map(|name| PatchRecords::new(PkgInst::new(name).unwrap())).into();
    for patch in patches {
        record(&mut packages, patch);
    }
    AppliedPatches::new(packages)
}

/// Records a patch for the packages that it is for.
pub(super) fn record(packages: &mut [PatchRecords], patch: &Offer) {
    for records in packages {
        if patch.packages.iter().any(|package| package.pkg == records.package.as_str()) {
            let info = InstalledInfo {
                obsoletes: patch.obsoletes.clone(),
                requires: patch.requires.clone(),
                incompatibles: patch.incompatibles.clone(),
                ..InstalledInfo::default()
            };
            records.record_applied(&patch.id, info);
        }
    }
}

fn installed() -> InstalledPackages {
    let params = |name: &str| Params::from_iter([("PKG", name), ("ARCH", "all"), ("VERSION", "1")]);
    let both = ["P", "Q"].map(|name| (PkgInst::new(name).unwrap(), params(name)));
    InstalledPackages::of(both.iter().map(|(instance, params)| (instance, params)))
}

impl World {
    pub(super) fn of<T: AsRef<str>>(applied_lines: &[T], offered: &[T], named: Option<&str>) -> Self {
        let already: Vec<Offer> = applied_lines.iter().map(|line| offer(line.as_ref())).collect();
        Self {
            offers: offered.iter().map(|line| offer(line.as_ref())).collect(),
            applied: applied(&already),
            installed: installed(),
            policy: Policy::default(),
            request: SetRequest {
                named: named.map(|words| words.split_whitespace().map(str::to_owned).collect()),
                depot: Some("/depot".to_owned()),
                ..SetRequest::default()
            },
        }
    }

    pub(super) fn resolve(&self) -> Resolution {
        resolve(&ResolverInput {
            offers: &self.offers,
            applied: &self.applied,
            installed: &self.installed,
            policy: &self.policy,
            request: &self.request,
        })
    }

    /// Returns the lines of the verdicts: `ID: planned`, `ID: REASON`.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |verdict: &crate::resolve::SetVerdict| match &verdict.outcome {
            crate::resolve::SetOutcome::Planned if verdict.reason().is_empty() => {
                format!("{}: planned", verdict.id)
            }
            crate::resolve::SetOutcome::Planned => format!("{}: planned: {}", verdict.id, verdict.reason()),
            _ => format!("{}: {}", verdict.id, verdict.reason()),
        };
        self.resolve().verdicts.iter().map(line).collect()
    }
}

/// A generator of random numbers, the same on every machine (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % limit as u64).unwrap()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    fn base(&mut self) -> &'static str {
        ["100", "200", "300", "400", "IDR5", "600"][self.below(6)]
    }

    fn patch(&mut self) -> String {
        format!("{}-{:02}", self.base(), self.below(3) + 1)
    }

    /// Returns a revision of the same base: the patch itself in another spelling, or any one.
    fn own(&mut self, name: &str) -> String {
        let (base, revision) = name.rsplit_once('-').unwrap();
        match self.below(3) {
            0 => format!("{base}-{}", revision.trim_start_matches('0')),
            _ => format!("{base}-{:02}", self.below(3) + 1),
        }
    }

    fn line(&mut self) -> String {
        let name = self.patch();
        let mut line = name.clone();
        line.push_str([" for P", " for P", " for Q", " for P Q", " for Q X", " for X"][self.below(6)]);
        for _ in 0..[0, 0, 1, 1, 2][self.below(5)] {
            let one = self.patch();
            let requirement = if self.one_in(3) { format!("( {one} | {} )", self.patch()) } else { one };
            write!(line, " requires {requirement}").unwrap();
        }
        for _ in 0..[0, 0, 0, 0, 1, 1, 1, 2][self.below(8)] {
            let obsoleted = if self.one_in(8) { self.own(&name) } else { self.patch() };
            write!(line, " obsoletes {obsoleted}").unwrap();
        }
        for _ in 0..[0, 0, 0, 0, 1, 1, 1, 2][self.below(8)] {
            let named = match self.below(16) {
                0 | 1 => format!("{}-00", self.base()),
                2 => self.own(&name),
                _ => self.patch(),
            };
            write!(line, " incompat {named}").unwrap();
        }
        if self.one_in(12) {
            line.push_str(" withdrawn");
        }
        line
    }

    /// Returns a world of up to eight offers.
    pub(super) fn world(&mut self) -> World {
        let count = self.below(8) + 1;
        let mut offered: Vec<String> = Vec::new();
        while offered.len() < count {
            let line = self.line();
            if !offered.iter().any(|other| id(first(other)) == id(first(&line))) {
                offered.push(line);
            }
        }
        let applied: Vec<String> =
            (0..[0, 0, 1, 2, 3][self.below(5)]).map(|_| self.line().replace(" withdrawn", "")).collect();
        let named = (!self.one_in(4)).then(|| {
            let mut words: Vec<String> = Vec::new();
            for _ in 0..=self.below(4) {
                let name = first(&offered[self.below(offered.len())]).to_owned();
                let is_current = self.one_in(3);
                words.push(if is_current { name.split('-').next().unwrap().to_owned() } else { name });
            }
            words.join(" ")
        });
        let mut world = World::of(&applied, &offered, named.as_deref());
        world.request.all_or_nothing = self.one_in(3);
        world.request.withdrawn = self.one_in(2);
        if self.one_in(6) {
            world.request.exclude.push(self.patch());
        }
        world
    }

    /// Returns the same in another order.
    pub(super) fn shuffled<T: Clone>(&mut self, all: &[T]) -> Vec<T> {
        let mut rest = all.to_vec();
        let mut shuffled = Vec::new();
        while !rest.is_empty() {
            shuffled.push(rest.remove(self.below(rest.len())));
        }
        shuffled
    }
}

fn first(line: &str) -> &str {
    line.split_whitespace().next().unwrap()
}
