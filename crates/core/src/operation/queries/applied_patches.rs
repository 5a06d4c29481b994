//! The applied patches of a root, as showrev(1M) and patchadd(1M) `-p` list them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, FixedOffset, NaiveDateTime, TimeZone as _};

use patchadm_inputs::database::policy::PolicyError;
use patchadm_inputs::database::{DatabaseError, RecordReader, all, installed, policy, read_consistently};
use patchadm_svr4::package::{Params, PkgInst};
use patchadm_svr4::patch::{
    AppliedPatch, AppliedPatches, PatchId, PatchInfo, PatchList, PatchMacros, PatchRecords, Requirements,
};

#[derive(Debug, thiserror::Error)]
pub enum PatchesError {
    #[error(transparent)]
    Database(#[from] DatabaseError),
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Returns applied patches in the order of listings, with old *progressive* patches: package instances with a
/// `SUNW_PATCHID` and no record of application. Only what they obsolete is known, and they cannot be backed out.
pub fn applied_patches<'a>(reader: impl Into<RecordReader<'a>>) -> Result<Vec<AppliedPatch>, PatchesError> {
    Ok(installed_software(reader)?.patches)
}

/// Returns the applied revisions of a base, for a message to someone who named only the base.
pub fn applied_revisions<'p>(
    base: &str,
    applied: impl IntoIterator<Item = &'p AppliedPatch>,
) -> Option<String> {
    let ids = applied.into_iter().map(|patch| &patch.id).filter(|id| id.base() == base);
    let ids: Vec<&str> = ids.map(PatchId::as_str).collect();
    let are = if ids.len() == 1 { "is" } else { "are" };
    (!ids.is_empty()).then(|| format!("specify the revision: {} {are} applied", ids.join(", ")))
}

/// At one moment.
#[derive(Clone, Debug)]
pub struct InstalledSoftware {
    /// In the order of listings.
    pub patches: Vec<AppliedPatch>,
    pub packages: Vec<(PkgInst, Params)>,
}

pub fn installed_software<'a>(
    reader: impl Into<RecordReader<'a>>,
) -> Result<InstalledSoftware, PatchesError> {
    let reader = reader.into();
    let separator = &policy::of_root(reader.root())?.separator;
    let root = reader.root();
    let software = read_consistently(reader, |view| {
        let records = all::each(view, |package| {
            let Some(params) = package.params()? else { return Ok(None) };
            let records = installed::patch_records(root, package.inst(), &params, separator)?;
            let progressive = progressive_patch(package.inst(), &params, &records, separator);
            Ok::<_, DatabaseError>(Some(((records, progressive), (package.inst().clone(), params))))
        })?;
        let (records, packages): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let (applied, progressive): (Vec<_>, Vec<_>) = records.into_iter().unzip();
        let mut patches: Vec<AppliedPatch> = AppliedPatches::new(applied).iter().cloned().collect();
        for patch in progressive.into_iter().flatten() {
            merge(&mut patches, patch);
        }
        patches.sort_by(|a, b| a.id.cmp(&b.id));
        Ok::<_, DatabaseError>(InstalledSoftware { patches, packages })
    })?;
    Ok(software)
}

fn progressive_patch(
    package: &PkgInst,
    params: &Params,
    records: &PatchRecords,
    separator: &str,
) -> Option<AppliedPatch> {
    // Invalid macros belong to a package that is no patch.
    let delivered = PatchMacros::from_params(params, separator).ok().flatten()?;
    let is_recorded = records.infos.contains_key(&delivered.id) || records.list.contains(&delivered.id);
    (!is_recorded).then(|| AppliedPatch {
        id: delivered.id,
        packages: vec![package.clone()],
        obsoletes: delivered.obsoletes,
        requires: Requirements::default(),
        incompatibles: PatchList::new(),
    })
}

fn merge(patches: &mut Vec<AppliedPatch>, patch: AppliedPatch) {
    match patches.iter_mut().find(|known| known.id == patch.id) {
        Some(known) => {
            known.packages.extend(patch.packages);
            known.obsoletes.extend(patch.obsoletes.iter().cloned());
        }
        None => patches.push(patch),
    }
}

/// Each with its packages; empty if they cannot be read.
pub fn applied_ids<'a>(reader: impl Into<RecordReader<'a>>) -> Vec<(String, String)> {
    let patches = applied_patches(reader).unwrap_or_default();
    let named = patches.iter().map(|patch| {
        let packages: Vec<&str> = patch.packages.iter().map(PkgInst::as_str).collect();
        (patch.id.to_string(), packages.join(" "))
    });
    named.collect()
}

/// Empty if they cannot be read.
pub fn package_names<'a>(reader: impl Into<RecordReader<'a>>) -> Vec<String> {
    let names = read_consistently(reader.into(), installed::packages);
    names.unwrap_or_default().iter().map(ToString::to_string).collect()
}

/// Minutes east of UTC, by abbreviations of date(1).
const ZONES: [(&str, i32); 42] = [
    ("UTC", 0),
    ("GMT", 0),
    ("UCT", 0),
    ("Z", 0),
    ("WET", 0),
    ("WEST", 60),
    ("BST", 60),
    ("CET", 60),
    ("CEST", 120),
    ("MET", 60),
    ("MEST", 120),
    ("MEZ", 60),
    ("MESZ", 120),
    ("SAST", 120),
    ("EET", 120),
    ("EEST", 180),
    ("MSK", 180),
    ("PKT", 300),
    ("WIB", 420),
    ("HKT", 480),
    ("SGT", 480),
    ("AWST", 480),
    ("JST", 540),
    ("KST", 540),
    ("ACST", 570),
    ("ACDT", 630),
    ("AEST", 600),
    ("AEDT", 660),
    ("NZST", 720),
    ("NZDT", 780),
    ("NST", -210),
    ("NDT", -150),
    ("AST", -240),
    ("ADT", -180),
    ("EST", -300),
    ("EDT", -240),
    ("CDT", -300),
    ("MST", -420),
    ("MDT", -360),
    ("PST", -480),
    ("PDT", -420),
    ("HST", -600),
];

/// Parses a date of date(1): `Fri Nov 20 06:37:39 UTC 2026`; `None` if invalid, or the zone is ambiguous. Ignores the
/// day's name.
pub fn applied_date(text: &str) -> Option<DateTime<FixedOffset>> {
    let words: Vec<&str> = text.split_ascii_whitespace().collect();
    let [_, month, day, time, zone, year] = words.as_slice() else { return None };
    let local = format!("{month} {day} {time} {year}");
    let local = NaiveDateTime::parse_from_str(&local, "%b %d %H:%M:%S %Y").ok()?;
    offset(zone)?.from_local_datetime(&local).single()
}

fn offset(zone: &str) -> Option<FixedOffset> {
    let known = ZONES.iter().find(|(name, _)| *name == zone).map(|(_, minutes)| *minutes);
    FixedOffset::east_opt(known.or_else(|| numeric(zone))?.checked_mul(60)?)
}

/// Parses `+03` and `-0330`.
fn numeric(zone: &str) -> Option<i32> {
    let (sign, digits) = match zone.split_at_checked(1)? {
        ("+", digits) => (1, digits),
        ("-", digits) => (-1, digits),
        _ => return None,
    };
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let (hours, minutes) = match digits.len() {
        2 => (digits, "0"),
        4 => digits.split_at(2),
        _ => return None,
    };
    let (hours, minutes): (i32, i32) = (hours.parse().ok()?, minutes.parse().ok()?);
    Some(sign * (hours * 60 + minutes))
}

/// Order of application: within a package by its list, between packages by date, then by id.
pub(in crate::operation) struct OrderOnRoot<'a> {
    applied: &'a AppliedPatches,
    dates: BTreeMap<&'a PatchId, DateTime<FixedOffset>>,
    places: HashMap<&'a PatchId, Vec<PlaceInPackage>>,
}

/// A place in the list of a package, by the number of the package.
#[derive(Clone, Copy)]
struct PlaceInPackage {
    package: usize,
    place: usize,
}

impl<'a> OrderOnRoot<'a> {
    pub(in crate::operation) fn of(applied: &'a AppliedPatches) -> Self {
        let mut dates = BTreeMap::new();
        let mut places: HashMap<&PatchId, Vec<PlaceInPackage>> = HashMap::new();
        for (package, of) in applied.packages().iter().enumerate() {
            for (place, id) in of.list.iter().enumerate() {
                places.entry(id).or_default().push(PlaceInPackage { package, place });
                let info = of.infos.get(id).and_then(PatchInfo::installed);
                if let Some(date) = info.and_then(|info| applied_date(&info.date)) {
                    dates.entry(id).or_insert(date);
                }
            }
        }
        Self { applied, dates, places }
    }

    pub(in crate::operation) fn all(&self) -> impl Iterator<Item = &'a PatchId> {
        self.applied.iter().map(|patch| &patch.id)
    }

    pub(in crate::operation) fn date(&self, id: &PatchId) -> Option<DateTime<FixedOffset>> {
        self.dates.get(id).copied()
    }

    fn places(&self, id: &PatchId) -> &[PlaceInPackage] {
        self.places.get(id).map(Vec::as_slice).unwrap_or_default()
    }

    pub(in crate::operation) fn is_after(&self, one: &PatchId, other: &PatchId) -> bool {
        let (places, others) = (self.places(one), self.places(other));
        match first_common(places, others).and_then(|(at, of)| Some((places.get(at)?, others.get(of)?))) {
            Some((place, other)) => place.place > other.place,
            None => (self.date(one), one) > (self.date(other), other),
        }
    }

    pub(in crate::operation) fn newest_first(&self) -> Vec<&'a PatchId> {
        self.newest_first_of(self.all().collect())
    }

    /// The next patch is the one that comes after all others. Without one, because packages disagree, it is the one with
    /// the last date.
    pub(in crate::operation) fn newest_first_of(&self, mut rest: Vec<&'a PatchId>) -> Vec<&'a PatchId> {
        rest.sort_by_key(|id| Reverse(self.date(id)));
        let mut left = PatchesLeft::of(self, &rest);
        std::iter::from_fn(|| left.take_next()).filter_map(|at| rest.get(at).copied()).collect()
    }
}

/// Returns the places, in both lists, of the first package that is in both.
fn first_common(one: &[PlaceInPackage], other: &[PlaceInPackage]) -> Option<(usize, usize)> {
    let (mut at, mut of) = (0, 0);
    loop {
        match one.get(at)?.package.cmp(&other.get(of)?.package) {
            std::cmp::Ordering::Less => at += 1,
            std::cmp::Ordering::Equal => return Some((at, of)),
            std::cmp::Ordering::Greater => of += 1,
        }
    }
}

/// Patches to be ordered, in groups of the same packages. All patches of one group compare with all of another by the
/// same list or by date, so that one patch of each group answers for the others.
struct PatchesLeft<'o, 'a> {
    order: &'o OrderOnRoot<'a>,
    /// The last date first.
    patches: &'o [&'a PatchId],
    is_taken: Vec<bool>,
    /// The first patch that may be left.
    first: usize,
    groups: Vec<AlikePatches>,
    group_of: Vec<usize>,
}

/// Of the same packages.
struct AlikePatches {
    /// By each package's list, then by date; oldest first. The last of each is left.
    orders: Vec<Vec<usize>>,
}

impl<'o, 'a> PatchesLeft<'o, 'a> {
    fn of(order: &'o OrderOnRoot<'a>, patches: &'o [&'a PatchId]) -> Self {
        let mut numbers: HashMap<Vec<usize>, usize> = HashMap::new();
        let (mut members, mut group_of): (Vec<Vec<usize>>, Vec<usize>) = (Vec::new(), Vec::new());
        for (at, id) in patches.iter().enumerate() {
            let packages = order.places(id).iter().map(|place| place.package).collect();
            let group = *numbers.entry(packages).or_insert_with(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            members.get_mut(group).into_iter().for_each(|members| members.push(at));
            group_of.push(group);
        }
        let (is_taken, groups) = (vec![false; patches.len()], Vec::with_capacity(members.len()));
        let mut left = Self { order, patches, is_taken, first: 0, groups, group_of };
        for members in members {
            let lists = members.first().map_or(0, |at| left.places(*at).len());
            let by_list = (0..lists).map(|list| {
                let mut members = members.clone();
                members.sort_by_key(|at| left.place(*at, list));
                members
            });
            let mut by_date = members.clone();
            by_date.sort_by_key(|at| left.moment(*at));
            let orders = by_list.chain([by_date]).collect();
            left.groups.push(AlikePatches { orders });
        }
        left
    }

    fn places(&self, at: usize) -> &[PlaceInPackage] {
        self.patches.get(at).map(|id| self.order.places(id)).unwrap_or_default()
    }

    fn place(&self, at: usize, list: usize) -> Option<usize> {
        self.places(at).get(list).map(|place| place.place)
    }

    fn moment(&self, at: usize) -> Option<(Option<DateTime<FixedOffset>>, &'a PatchId)> {
        self.patches.get(at).map(|id| (self.order.date(id), *id))
    }

    fn is_after(&self, one: usize, other: usize) -> bool {
        let ids = self.patches.get(one).zip(self.patches.get(other));
        ids.is_some_and(|(one, other)| self.order.is_after(one, other))
    }

    /// Returns the patch of a group that comes after another patch if any of the group does.
    fn latest(&self, group: &AlikePatches, than: usize) -> Option<usize> {
        let by_date = group.orders.last()?;
        let any = *by_date.last()?;
        let list = first_common(self.places(any), self.places(than)).map(|(list, _)| list);
        list.map_or(Some(by_date), |list| group.orders.get(list))?.last().copied()
    }

    fn take_next(&mut self) -> Option<usize> {
        while *self.is_taken.get(self.first)? {
            self.first += 1;
        }
        let mut candidates = self.groups.iter().filter_map(|group| group.orders.first()?.last().copied());
        let first = candidates.next()?;
        let last = candidates.fold(first, |last, one| if self.is_after(one, last) { one } else { last });
        let mut others = self.groups.iter().filter_map(|group| self.latest(group, last));
        let next = if others.any(|other| self.is_after(other, last)) { self.first } else { last };
        self.take(next);
        Some(next)
    }

    fn take(&mut self, at: usize) {
        let Self { is_taken, groups, group_of, .. } = self;
        is_taken.get_mut(at).into_iter().for_each(|is_taken| *is_taken = true);
        let group = group_of.get(at).and_then(|group| groups.get_mut(*group));
        for order in group.into_iter().flat_map(|group| &mut group.orders) {
            while order.last().is_some_and(|last| is_taken.get(*last).copied().unwrap_or_default()) {
                order.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use patchadm_rootfs::Root;
    use patchadm_svr4::patch::InstalledInfo;

    fn listed(packages: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, pkginfo) in packages {
            let at = dir.path().join("var/sadm/pkg").join(name);
            std::fs::create_dir_all(&at).unwrap();
            std::fs::write(at.join("pkginfo"), pkginfo).unwrap();
        }
        let patches = applied_patches(&Root::open(dir.path()).unwrap()).unwrap();
        let shown = |patch: &AppliedPatch| {
            let packages: Vec<&str> = patch.packages.iter().map(PkgInst::as_str).collect();
            format!("{} ({}) {}", patch.id, patch.obsoletes, packages.join(" "))
        };
        patches.iter().map(shown).collect()
    }

    #[test]
    fn patches_of_all_packages_are_listed_once_in_order() {
        let info =
            "Installed: Fri Nov 20 06:37:39 UTC 2026 From: web1 Obsoletes: 90-01 Requires: Incompatibles:";
        let x = format!("PATCHLIST=200-01 100-02\nPATCH_INFO_100-02={info}\n");
        assert_eq!(listed(&[("X", &x), ("Y", "PATCHLIST=100-02\n")]), ["100-02 (90-01) X Y", "200-01 () X"]);
    }

    #[test]
    fn a_progressive_instance_is_a_patch_and_a_patch_backed_out_is_none() {
        assert_eq!(
            listed(&[
                ("SUNWcsr.2", "SUNW_PATCHID=100444-35\nSUNW_OBSOLETES=100400-01\nSUNW_REQUIRES=1-01\n"),
                ("SUNWcsu.2", "SUNW_PATCHID=100444-35\n"),
                ("Z", "SUNW_PATCHID=7-01\nPATCHLIST=\nPATCH_INFO_7-01=backed out\n"),
            ]),
            ["100444-35 (100400-01) SUNWcsr.2 SUNWcsu.2"]
        );
        assert!(listed(&[]).is_empty());
    }

    /// Takes in each round the patch that comes after all others, or else the one with the last date.
    fn newest_first_by_rounds<'a>(order: &OrderOnRoot<'a>, mut rest: Vec<&'a PatchId>) -> Vec<&'a PatchId> {
        rest.sort_by_key(|id| Reverse(order.date(id)));
        let mut ordered = Vec::new();
        while !rest.is_empty() {
            let is_last = |at: &usize| !rest.iter().any(|other| order.is_after(other, rest[*at]));
            let next = (0..rest.len()).find(is_last).unwrap_or(0);
            ordered.push(rest.remove(next));
        }
        ordered
    }

    fn on_day(day: usize) -> InstalledInfo {
        let date = format!("Fri Nov {day} 06:37:39 UTC 2026");
        InstalledInfo { date, ..InstalledInfo::default() }
    }

    #[test]
    fn packages_that_disagree_are_ordered_as_by_comparing_each_patch_with_all_others() {
        let mut state = 1_usize;
        let mut random = |below: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for round in 0..400 {
            let mut packages: Vec<PatchRecords> = ["A", "B", "C", "D"]
                .map(|name| PatchRecords::new(PkgInst::new(name).unwrap()))
                .into_iter()
                .take(1 + round % 4)
                .collect();
            for _ in 0..12 {
                let package = random(packages.len());
                let id = PatchId::new(&format!("{}-01", 1 + random(9))).unwrap();
                let info = if random(3) == 0 { InstalledInfo::default() } else { on_day(1 + random(5)) };
                packages[package].record_applied(&id, info);
            }
            let applied = AppliedPatches::new(packages);
            let order = OrderOnRoot::of(&applied);
            assert_eq!(order.newest_first(), newest_first_by_rounds(&order, order.all().collect()));
            let some: Vec<&PatchId> = order.all().filter(|_| random(2) == 0).collect();
            assert_eq!(order.newest_first_of(some.clone()), newest_first_by_rounds(&order, some));
        }
    }

    #[test]
    fn thousands_of_patches_of_one_package_are_ordered() {
        let mut records = PatchRecords::new(PkgInst::new("A").unwrap());
        let ids = (0..40_000).map(|number| PatchId::new(&format!("{number}-01")).unwrap());
        records.list = ids.collect();
        for (at, id) in records.list.iter().enumerate() {
            records.infos.insert(id.clone(), PatchInfo::Installed(on_day(28 - at / 2_000)));
        }
        let applied = AppliedPatches::new(vec![records]);
        let newest_first = OrderOnRoot::of(&applied).newest_first();
        assert_eq!(newest_first.len(), 40_000);
        assert!(newest_first.iter().rev().copied().eq(&applied.packages()[0].list));
    }

    #[test]
    fn the_words_of_date_are_a_moment_where_their_zone_means_one_offset() {
        for (text, expected) in [
            ("Fri Nov 20 06:37:39 UTC 2026", Some("2026-11-20T06:37:39+00:00")),
            ("Fri Nov  6 06:37:39 CEST 2026", Some("2026-11-06T06:37:39+02:00")),
            ("Tue Jul 1 23:59:59 PDT 1997", Some("1997-07-01T23:59:59-07:00")),
            ("Tue Jul 1 23:59:59 +0530 1997", Some("1997-07-01T23:59:59+05:30")),
            ("Tue Jul 1 23:59:59 -03 1997", Some("1997-07-01T23:59:59-03:00")),
            ("Tue Jul 1 23:59:59 CST 1997", None),
            ("Tue Jul 1 23:59:59 +5 1997", None),
            ("Tue Jul 1 23:59:59 +99 1997", None),
            ("Tue Jul 32 23:59:59 UTC 1997", None),
            ("Tue Jul 1 23:59:59 1997", None),
            ("", None),
        ] {
            assert_eq!(applied_date(text).map(|date| date.to_rfc3339()).as_deref(), expected, "{text}");
        }
    }
}
