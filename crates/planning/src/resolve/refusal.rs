//! The wording of the obstacles that a search found.

use super::catalogue::{AppliedConflict, Catalogue};
use super::constraints::Unsettled;
use super::schedule::NoOrder;
use crate::plan::refusal::{Reason, SetReason};

impl Catalogue<'_> {
    /// Returns the reason that a patch gives because it and another one exclude each other.
    pub(super) fn excluded(&self, place: usize, other: usize) -> Reason {
        let says = self.says_so(place, other).clone();
        Reason::InSet(SetReason::ExcludeEachOther { other: self.id(other).clone(), says })
    }

    /// Returns the patch that is to blame for a set without an order, and the reason.
    pub(super) fn without_order(&self, place: usize, why: &NoOrder) -> (usize, Reason) {
        match why {
            NoOrder::Unsettled(Unsettled::Applied(at, which)) => {
                let conflict = self.item(*at).against.get(*which);
                (*at, conflict.map_or(Reason::InSet(SetReason::TooManyAlternatives), AppliedConflict::reason))
            }
            NoOrder::Unsettled(Unsettled::Pair(one, other)) => {
                let (at, other) = if place == *one { (*one, *other) } else { (*other, *one) };
                (at, self.excluded(at, other))
            }
            NoOrder::Circle(path) => self.circle(path),
        }
    }

    fn circle(&self, path: &[usize]) -> (usize, Reason) {
        let first = path.first().copied().unwrap_or_default();
        for pair in path.windows(2) {
            let [later, earlier] = *pair else { continue };
            let (restricted, ordinary) = (self.item(later), self.item(earlier));
            if !restricted.is_restricted || ordinary.is_restricted {
                continue;
            }
            // The ordinary patch would have to come before the restricted one that it needs.
            let shared = restricted.packages.iter().find(|package| ordinary.packages.contains(package));
            if let Some(package) = shared {
                let (restricted, package) = (restricted.offer.id.clone(), package.clone());
                return (earlier, Reason::Restricted { restricted, package });
            }
        }
        let ids = path.iter().map(|place| self.id(*place).clone());
        (first, Reason::InSet(SetReason::Circle(ids.collect())))
    }
}
