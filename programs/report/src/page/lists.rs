//! The lists of a page: as long as a page of some megabytes allows.

use patchadm_cli::reply::page::{PageCell, PageList};
use patchadm_planning::fleet::FleetReport;

/// The most bytes that all lists of a page together are to take, about.
const ROOM: usize = 5 << 20;

/// The limits that are tried, the longest lists first.
const LIMITS: [usize; 7] = [usize::MAX, 2_000, 1_000, 300, 100, 30, 10];

/// The most names of a list; the others are counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct ListLimit(usize);

impl ListLimit {
    /// Returns the longest limit with which what hosts lack has room, told once by patches and once by hosts.
    pub(super) fn of(report: &FleetReport<'_>) -> Self {
        let letters = |lengths: &mut dyn Iterator<Item = usize>| {
            let (mut count, mut sum) = (0_usize, 0_usize);
            lengths.for_each(|length| (count, sum) = (count + 1, sum.saturating_add(length + 2)));
            sum.div_ceil(count.max(1))
        };
        let of_host = letters(&mut report.hosts.iter().map(|host| host.name.len()));
        let of_patch = letters(&mut report.patches.iter().map(|patch| patch.id.as_str().len()));
        let bytes = |limit: usize| {
            let names = report.patches.iter().map(|patch| patch.lacking.len().min(limit)).sum::<usize>();
            let ids = report.standings.iter().map(|standing| standing.lacks.len().min(limit)).sum::<usize>();
            names.saturating_mul(of_host).saturating_add(ids.saturating_mul(of_patch))
        };
        Self(LIMITS.into_iter().find(|limit| bytes(*limit) <= ROOM).unwrap_or(0))
    }

    /// Returns a list of texts.
    pub(super) fn list<'a>(self, names: impl ExactSizeIterator<Item = &'a str>) -> PageCell {
        let more = names.len().saturating_sub(self.0);
        PageCell::of_list(PageList { names: names.take(self.0).map(str::to_owned).collect(), more })
    }

    /// Returns a list of hosts.
    pub(super) fn hosts(self, report: &FleetReport<'_>, places: &[usize]) -> PageCell {
        let names = report.names(places.get(..self.0).unwrap_or(places)).map(str::to_owned).collect();
        PageCell::of_list(PageList { names, more: places.len().saturating_sub(self.0) })
    }

    /// Returns a list of patches.
    pub(super) fn patches(self, report: &FleetReport<'_>, places: &[usize]) -> PageCell {
        let names = report.ids(places.get(..self.0).unwrap_or(places)).map(str::to_owned).collect();
        PageCell::of_list(PageList { names, more: places.len().saturating_sub(self.0) })
    }
}
