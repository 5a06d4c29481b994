//! Inventories of fictitious hosts, with values that follow from a seed.

use std::fs;
use std::path::Path;

use anyhow::Result;

use super::inventory::{AppliedPatch, InstalledPackage, Inventory, Removable, Signature, Stale, Trial, Undo};
use crate::inputs::fresh;
use crate::random::Random;

/// The number of packages on each host.
const PACKAGES: usize = 300;

/// On average, one of so many hosts, or of so much undo data, is in this state.
const DAMAGED: usize = 500;
const STALE: usize = 50;
const ON_TRIAL: usize = 100;

/// Patches and packages that the hosts share.
pub(super) struct Fleet {
    patches: Vec<Patch>,
    packages: Vec<InstalledPackage>,
}

/// A patch that some hosts have.
struct Patch {
    id: String,
    packages: Vec<String>,
    synopsis: String,
    fixes: Vec<String>,
    sha256: String,
}

impl Fleet {
    /// Makes a fleet with `patches` patches, two revisions of each base.
    pub(super) fn new(patches: usize) -> Self {
        let mut random = Random::seeded(&[41]);
        let mut known: Vec<Patch> = Vec::new();
        for number in 0..patches {
            let first = known.last().filter(|_| number % 2 == 1).map(|first| first.packages.clone());
            let packages = first.unwrap_or_else(|| some_packages(&mut random));
            known.push(Patch::new(number, packages, &mut random));
        }
        Self { patches: known, packages: (0..PACKAGES).map(package).collect() }
    }

    /// Writes the inventories of `hosts` hosts. A host has a patch with probability `chance`. Returns the mean size of
    /// an inventory in bytes.
    pub(super) fn write(&self, directory: &Path, hosts: usize, chance: f64) -> Result<f64> {
        fresh(directory)?;
        let mut bytes = 0;
        for host in 0..hosts {
            let text = serde_json::to_vec_pretty(&self.host(host, chance))?;
            bytes += text.len();
            fs::write(directory.join(format!("web{host:04}.json")), text)?;
        }
        Ok(bytes as f64 / hosts as f64)
    }

    /// Returns the inventory of a host.
    pub(super) fn host(&self, host: usize, chance: f64) -> Inventory<'_> {
        let mut random = Random::seeded(&[42, host as u64]);
        let has: Vec<bool> = self.patches.iter().map(|_| random.unit() < chance).collect();
        let mut patches = Vec::new();
        for (number, patch) in self.patches.iter().enumerate().filter(|(number, _)| has[*number]) {
            let is_first = number.is_multiple_of(2);
            let later = self.patches.get(number + 1).filter(|_| is_first && has[number + 1]);
            patches.push(patch.on(host, later.map(|later| &*later.id), &mut random));
        }
        if random.below(ON_TRIAL) == 0
            && let Some(newest) = patches.last_mut()
        {
            let (run, until) = ("7-0a", "2026-11-27T07:00:00Z");
            newest.trial = Some(Trial { run, until, over: false, stuck: None, patches: [newest.id] });
        }
        let is_stale = random.below(STALE) == 0;
        let stale = is_stale.then(|| Stale { package: name(0), reason: "dpkg has another version of it" });
        Inventory {
            schema: "patchadm/1",
            command: "list",
            root: "/",
            exit_code: 0,
            classic_code: 0,
            cause: "ok",
            machine: format!("web{host:04}.example.net"),
            at: format!("2026-11-26T0{}:00:00Z", host % 10),
            version: env!("CARGO_PKG_VERSION"),
            patches,
            packages: &self.packages,
            unfinished: None,
            stale: stale.into_iter().collect(),
        }
    }
}

impl Patch {
    fn new(number: usize, packages: Vec<String>, random: &mut Random) -> Self {
        let service = ["web", "mail", "name", "time", "file"][random.below(5)];
        let fix = |_| format!("CVE-2026-{}", 1_000 + random.below(9_000));
        let fixes = (0..number % 3).map(fix).collect();
        Self {
            id: format!("{}-{:02}", 100_000 + number / 2 * 7, number % 2 + 1),
            packages,
            synopsis: format!(
                "component {number}: fixes of several defects & <weaknesses> in the {service} service"
            ),
            fixes,
            sha256: (0..4).map(|_| format!("{:016x}", random.next())).collect(),
        }
    }

    /// Returns the patch as applied on a host. `later` is the revision on the host that supersedes it.
    fn on<'a>(&'a self, host: usize, later: Option<&'a str>, random: &mut Random) -> AppliedPatch<'a> {
        let (day, minute) = (1 + random.below(25), random.below(60));
        let undo = |package: &'a String| Undo {
            package,
            state: if random.below(DAMAGED) == 0 { "damaged" } else { "saved" },
            bytes: 1_000 + random.below(900_000),
            path: format!("/var/sadm/pkg/{package}/save/{}/undo.gz", self.id),
        };
        AppliedPatch {
            id: &self.id,
            state: [if later.is_some() { "superseded" } else { "effective" }],
            by: later,
            date: format!("2026-11-{day:02}T07:{minute:02}:00+00:00"),
            date_text: format!("2026-11-{day:02} 07:{minute:02}:00 UTC"),
            host: format!("web{host:04}"),
            synopsis: &self.synopsis,
            packages: &self.packages,
            obsoletes: [],
            requires: [],
            incompatibles: [],
            fixes: &self.fixes,
            sha256: &self.sha256,
            undo: self.packages.iter().map(undo).collect(),
            removable: Removable {
                now: later.is_none(),
                code: if later.is_some() { 3 } else { 0 },
                blocked_by: later.into_iter().collect(),
                reason: later.map(|later| format!("patch {later} supersedes it")),
            },
            checked: false,
            trial: None,
            signature: Signature {
                state: "trusted",
                key: "00112233445566AA",
                name: "release",
                time: "2026-11-01T00:00:00Z",
                form: "members",
                policy: "require",
            },
        }
    }
}

fn name(package: usize) -> String {
    format!("ACME{package:03}")
}

/// Picks one to three packages.
fn some_packages(random: &mut Random) -> Vec<String> {
    let first = random.below(PACKAGES);
    (0..=random.below(3)).map(|more| name((first + more * 7) % PACKAGES)).collect()
}

fn package(number: usize) -> InstalledPackage {
    let package = name(number);
    InstalledPackage {
        name: format!("Component {number}"),
        version: "1.0",
        arch: "amd64",
        manager: None,
        native: None,
        purl: format!("pkg:generic/{package}@1.0?arch=amd64"),
        package,
    }
}
