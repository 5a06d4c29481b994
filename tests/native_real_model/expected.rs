//! The expected reports: which fixes are lost, derived from the bytes on disk and the records of the package manager
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use super::judge::Picture;
use super::patches::{Alarm, Applied, Change, Claim, Patches, plain};
use crate::native_root::Owners;

/// The state of a root according to the package manager.
pub(super) struct Facts {
    pub(super) picture: Picture,
    pub(super) owners: Owners,
    /// The installed version of each package.
    pub(super) versions: BTreeMap<String, u32>,
}

/// The state of a path of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Held,
    Lost,
    /// Another version came and left it unchanged, or has the same.
    Settled,
    /// The rules leave it open, or the bytes do not tell.
    Open,
}

/// The story's knowledge of places and relations of packages.
pub(super) trait Places {
    /// The current location of a path of a package.
    fn place(&self, package: &str, path: &str) -> String;

    /// True if an installed package replaces this one: it owns one of these places, or says so.
    fn has_successor(&self, package: &str, places: &BTreeSet<String>) -> bool;
}

impl Facts {
    /// The names of the packages that own a path.
    pub(super) fn owners_of(&self, place: &str) -> BTreeSet<&str> {
        self.owners.get(place).into_iter().flatten().filter_map(|one| one.split(':').next()).collect()
    }

    fn content(&self, place: &str) -> Option<&str> {
        self.picture.get(place).map(|seen| seen.content.as_str())
    }

    /// The state of a path of a patch; `puts` are the bytes that the applied patches put there.
    fn standing(&self, patch: &Applied, claim: &Claim, place: &str, puts: &BTreeSet<&str>) -> Standing {
        let owners = self.owners_of(place);
        let is_own = owners.len() == 1 && owners.contains(&*patch.package);
        let is_other_version = self.versions.get(&patch.package) != Some(&patch.version);
        let content = self.content(place);
        let kept = if is_other_version { Standing::Settled } else { Standing::Held };
        let is_edit = content.is_some_and(|content| content.starts_with("edit"));
        let mode = self.picture.get(place).map(|seen| seen.attributes.as_str());
        let is_setuid = |mode: &str| mode.split(' ').next().is_some_and(|mode| mode.len() == 4);
        match &claim.change {
            Change::Replaces(_) => match content {
                Some(_) if is_edit => Standing::Open,
                // An override gave it the bit. dpkg does not record whether the package has it.
                Some(_) if mode.is_some_and(is_setuid) && !claim.is_setuid() => Standing::Open,
                Some(content) if puts.contains(content) && is_own => kept,
                Some(content) if puts.contains(content) => Standing::Open,
                // dpkg leaves no path of its package empty: somebody moved the file, which makes no registration
                // stale.
                None if is_own && claim.put_at == place => Standing::Open,
                _ => Standing::Lost,
            },
            Change::Adds(_) => match content {
                Some(_) if is_edit => Standing::Open,
                Some(content) if puts.contains(content) && owners.is_empty() => Standing::Held,
                Some(content) if puts.contains(content) && is_own => kept,
                Some(content) if puts.contains(content) => Standing::Open,
                _ => Standing::Lost,
            },
            // A later patch put its own object there.
            Change::Mode(_) if content.is_some_and(|content| puts.contains(content)) => Standing::Held,
            Change::Mode(_) => match mode {
                Some(mode) if is_own && !is_setuid(mode) => kept,
                Some(mode) if !is_own && !is_setuid(mode) => Standing::Open,
                _ => Standing::Lost,
            },
            Change::Deletes => match content {
                None => kept,
                Some(_) if is_edit => Standing::Open,
                // A later patch put its own object there.
                Some(content) if puts.contains(content) => Standing::Held,
                Some(_) if is_own => Standing::Lost,
                Some(_) => Standing::Open,
            },
        }
    }
}

impl Patches {
    /// The bytes that applied patches put at each place.
    fn puts(&self, places: &impl Places) -> BTreeMap<String, BTreeSet<String>> {
        let mut puts: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for patch in self.applied.values() {
            for claim in &patch.claims {
                if let Some(bytes) = claim.change.bytes() {
                    puts.entry(places.place(&patch.package, &claim.path))
                        .or_default()
                        .insert(bytes.to_owned());
                }
            }
        }
        puts
    }

    /// The places where an applied patch deletes the object, or delivers that of the version with another mode.
    fn unmarked(&self, places: &impl Places) -> BTreeSet<String> {
        let claims = |patch: &Applied| -> Vec<String> {
            let unmarked = patch.claims.iter().filter(|claim| claim.change.bytes().is_none());
            unmarked.map(|claim| places.place(&patch.package, &claim.path)).collect()
        };
        self.applied.values().flat_map(claims).collect()
    }

    /// Follows the changes of the package manager since the last time, as a refresh does.
    pub(super) fn follow(&mut self, facts: &Facts, places: &impl Places) {
        let puts = self.puts(places);
        let unmarked = self.unmarked(places);
        let mut ended = Vec::new();
        for patch in self.applied.values_mut() {
            // A package that owns a path that the patch added is no successor.
            let replaced = patch.claims.iter().filter(|claim| claim.native.is_some());
            let of_patch: BTreeSet<String> =
                replaced.map(|claim| places.place(&patch.package, &claim.path)).collect();
            let Some(version) = facts.versions.get(&patch.package) else {
                if places.has_successor(&patch.package, &of_patch) {
                    patch.raise(if patch.is_contained { Alarm::Open } else { Alarm::On });
                } else {
                    ended.push(patch.id.clone());
                }
                continue;
            };
            if patch.fixed_in.is_some_and(|fixed| *version >= fixed) {
                patch.is_contained = true;
                for alarm in [&mut patch.alarm, &mut patch.alarm_behind] {
                    *alarm = if *alarm == Alarm::Open { Alarm::Open } else { Alarm::Off };
                }
                continue;
            }
            match patch.settled_at {
                // Its fix was contained; an older version lost it.
                Some(settled) if *version < settled => patch.raise(Alarm::On),
                Some(_) => {
                    for alarm in [&mut patch.alarm, &mut patch.alarm_behind] {
                        *alarm = if *alarm == Alarm::On { Alarm::Open } else { *alarm };
                    }
                }
                None => patch.look_at_claims(facts, places, &puts, &unmarked),
            }
            if patch.claims.iter().all(|claim| claim.is_settled) {
                patch.settled_at = patch.settled_at.or(Some(*version));
            }
        }
        ended.iter().for_each(|id| drop(self.applied.remove(id)));
    }
}

impl Applied {
    fn raise(&mut self, alarm: Alarm) {
        let told = if self.is_superseded { &mut self.alarm_behind } else { &mut self.alarm };
        if *told != Alarm::Open {
            *told = alarm;
        }
    }

    fn look_at_claims(
        &mut self,
        facts: &Facts,
        places: &impl Places,
        puts: &BTreeMap<String, BTreeSet<String>>,
        unmarked: &BTreeSet<String>,
    ) {
        let mut standings = Vec::new();
        for claim in self.claims.iter().filter(|claim| !claim.is_settled) {
            let place = places.place(&self.package, &claim.path);
            let puts = puts.get(&place).into_iter().flatten().map(String::as_str).collect();
            // Another patch may have caused this.
            let is_unmarked = unmarked.contains(&place) && claim.change.bytes().is_some();
            let standing = facts.standing(self, claim, &place, &puts);
            let is_told = !(is_unmarked && standing == Standing::Lost);
            standings.push(if is_told { standing } else { Standing::Open });
        }
        for (claim, standing) in self.claims.iter_mut().filter(|claim| !claim.is_settled).zip(&standings) {
            claim.is_settled = matches!(standing, Standing::Settled);
        }
        if standings.contains(&Standing::Lost) {
            self.raise(Alarm::On);
        } else if (standings.contains(&Standing::Open) || self.is_contained) && self.alarm == Alarm::Off {
            // A contained fix is lost to an older version, but perhaps not if its bytes are there all the same.
            self.alarm = Alarm::Open;
        }
    }

    /// True if it replaces, changes and deletes nothing: then no version ends it.
    pub(super) fn only_adds(&self) -> bool {
        self.claims.iter().all(|claim| matches!(claim.change, Change::Adds(_)))
    }

    /// True if all of its paths are as it put them, so that a backout restores them.
    pub(super) fn is_held(&self, facts: &Facts, places: &impl Places) -> bool {
        self.alarm == Alarm::Off
            && !self.is_contained
            && self.claims.iter().all(|claim| {
                let place = places.place(&self.package, &claim.path);
                let puts = claim.change.bytes().into_iter().collect();
                // It is no longer known which path of the package was diverted there.
                let is_moved = claim.put_at != plain(&claim.path) && claim.put_at != place;
                !claim.is_settled && !is_moved && facts.standing(self, claim, &place, &puts) == Standing::Held
            })
    }
}
