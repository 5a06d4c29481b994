//! The order in which distfiles are fetched.
//!
//! No recipe keeps the distfiles of others out, whatever servers it names: a location has one of the four places at a
//! time, and locations that have used less time go first. While others wait, at most two fetches go on for longer than a
//! turn; the others of that kind end and wait again. So the first distfile of a location begins at the latest after one
//! turn for each other location that has something to fetch.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use patchadm_bulk_values::records::RecipeLocation;
use patchadm_bulk_values::result::ResultKey;

const MOST_AT_A_TIME: usize = 4;

/// Fetches that may exceed their turn while others wait. The other places go round.
const MOST_LONG: usize = 2;

/// Time of a fetch while others wait. Most distfiles need seconds; a fetch that has to begin again loses this at most.
const TURN: Duration = Duration::from_secs(5 * 60);

/// A package whose distfiles are to be fetched.
#[derive(Clone, Debug)]
pub(super) struct PackageFetch {
    pub(super) package: u32,
    /// Reported on failure.
    pub(super) key: ResultKey,
    pub(super) location: RecipeLocation,
}

#[derive(Debug)]
struct RunningFetch {
    fetch: PackageFetch,
    began: Instant,
    gives_way: Arc<AtomicBool>,
}

impl RunningFetch {
    fn took(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }

    fn gives_way(&self) -> bool {
        self.gives_way.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub(super) struct FetchQueue {
    waiting: VecDeque<PackageFetch>,
    running: HashMap<u32, RunningFetch>,
    /// Of ended fetches.
    used: HashMap<RecipeLocation, Duration>,
    ready: VecDeque<u32>,
    done: HashSet<u32>,
}

impl FetchQueue {
    pub(super) fn add(&mut self, fetch: PackageFetch) {
        self.waiting.push_back(fetch);
    }

    /// Begins the next fetch, if one may begin. It has to end when the flag becomes true.
    pub(super) fn begin_next(&mut self, now: Instant) -> Option<(PackageFetch, Arc<AtomicBool>)> {
        if self.running.len() >= MOST_AT_A_TIME {
            return None;
        }
        let possible = self.waiting.iter().enumerate().filter(|(_, fetch)| !self.has_place(&fetch.location));
        let (place, _) = possible.min_by_key(|(_, fetch)| self.turns(&fetch.location))?;
        let fetch = self.waiting.remove(place)?;
        let gives_way = Arc::new(AtomicBool::new(false));
        let running = RunningFetch { fetch: fetch.clone(), began: now, gives_way: gives_way.clone() };
        self.running.insert(fetch.package, running);
        Some((fetch, gives_way))
    }

    /// Asks one of too many long fetches to give way. Fetches of a location that has used several turns wait longer
    /// before others have to give way to them, so that large distfiles do not displace each other forever.
    pub(super) fn make_way(&self, now: Instant) {
        if self.running.len() < MOST_AT_A_TIME {
            return;
        }
        let waiting: Vec<u32> = self
            .waiting
            .iter()
            .filter(|fetch| !self.has_place(&fetch.location))
            .map(|fetch| self.turns(&fetch.location))
            .collect();
        let giving_way = self.running.values().filter(|running| running.gives_way()).count();
        let Some(turns) = waiting.iter().min().filter(|_| waiting.len() > giving_way) else { return };
        let longest = TURN.saturating_mul(2_u32.saturating_pow(*turns));
        let long =
            || self.running.values().filter(|running| !running.gives_way() && running.took(now) > longest);
        if long().count() <= MOST_LONG {
            return;
        }
        let used = |running: &&RunningFetch| self.used_by(&running.fetch.location) + running.took(now);
        if let Some(running) = long().max_by_key(|running| (used(running), Reverse(running.fetch.package))) {
            running.gives_way.store(true, Ordering::Relaxed);
        }
    }

    /// Ends a fetch and returns it. One that has failed because it gave way waits again instead.
    pub(super) fn end(&mut self, package: u32, has_failed: bool, now: Instant) -> Option<PackageFetch> {
        let running = self.running.remove(&package)?;
        *self.used.entry(running.fetch.location.clone()).or_default() += running.took(now);
        if has_failed && running.gives_way() {
            self.waiting.push_back(running.fetch);
            return None;
        }
        self.done.insert(package);
        Some(running.fetch)
    }

    pub(super) fn is_done(&self, package: u32) -> bool {
        self.done.contains(&package)
    }

    pub(super) fn add_ready(&mut self, package: u32) {
        self.ready.push_back(package);
    }

    pub(super) fn next_ready_if(&mut self, has_room: impl Fn(u32) -> bool) -> Option<u32> {
        let place = self.ready.iter().position(|package| has_room(*package))?;
        self.ready.remove(place)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty() && self.ready.is_empty()
    }

    fn has_place(&self, location: &RecipeLocation) -> bool {
        self.running.values().any(|running| running.fetch.location == *location)
    }

    fn used_by(&self, location: &RecipeLocation) -> Duration {
        self.used.get(location).copied().unwrap_or_default()
    }

    /// Whole turns that a location has used.
    fn turns(&self, location: &RecipeLocation) -> u32 {
        u32::try_from(self.used_by(location).as_secs() / TURN.as_secs()).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use patchadm_bulk_values::result::KeyInputs;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn fetch(package: u32, location: &str) -> PackageFetch {
        let location = RecipeLocation::parse(location).unwrap();
        PackageFetch { package, key: KeyInputs::new().key(), location }
    }

    fn begun(queue: &mut FetchQueue, now: Instant) -> Vec<u32> {
        std::iter::from_fn(|| queue.begin_next(now)).map(|(fetch, _)| fetch.package).collect()
    }

    /// Plays until a package begins or nothing is left, and returns the time. Packages need so much time for a fetch.
    fn play(queue: &mut FetchQueue, need: impl Fn(u32) -> Duration, until: Option<u32>) -> Duration {
        let start = Instant::now();
        let mut now = start;
        let mut running: Vec<(u32, Instant, Arc<AtomicBool>)> = Vec::new();
        while now < start + 1000 * TURN {
            queue.make_way(now);
            running.retain(|(package, began, gives_way)| {
                let is_complete = now - *began >= need(*package);
                let ends = is_complete || gives_way.load(Ordering::Relaxed);
                if ends {
                    queue.end(*package, !is_complete, now);
                }
                !ends
            });
            while let Some((fetch, gives_way)) = queue.begin_next(now) {
                if until == Some(fetch.package) {
                    return now - start;
                }
                running.push((fetch.package, now, gives_way));
            }
            if running.is_empty() {
                return now - start;
            }
            now += SECOND;
        }
        panic!("it never ends");
    }

    #[test]
    fn a_recipe_with_many_packages_has_one_place_and_fetches_begin_in_order() {
        let (mut queue, now) = (FetchQueue::default(), Instant::now());
        (0..9).for_each(|package| queue.add(fetch(package, "evil/many")));
        (10..15).for_each(|package| queue.add(fetch(package, &format!("good/p{package}"))));
        assert_eq!(begun(&mut queue, now), [0, 10, 11, 12]);
        assert!(queue.end(0, false, now).is_some() && queue.is_done(0));
        assert_eq!(begun(&mut queue, now), [1], "it has used no time");
        queue.end(1, false, now + TURN);
        assert_eq!(begun(&mut queue, now + TURN), [13], "it has used a turn");
    }

    #[test]
    fn no_fetch_gives_way_if_nobody_waits_and_one_that_does_waits_again() {
        let (mut queue, now) = (FetchQueue::default(), Instant::now());
        (0..4).for_each(|package| queue.add(fetch(package, &format!("evil/p{package}"))));
        assert_eq!(begun(&mut queue, now), [0, 1, 2, 3]);
        let late = now + 2 * TURN;
        queue.add(fetch(4, "evil/p0"));
        queue.make_way(late);
        assert!(
            !queue.running.values().any(RunningFetch::gives_way),
            "nobody waits but a recipe with a place"
        );
        queue.add(fetch(5, "good/p"));
        queue.make_way(now + TURN);
        assert!(!queue.running.values().any(RunningFetch::gives_way), "all have their turn");
        queue.make_way(late);
        queue.make_way(late);
        let giving_way = |queue: &FetchQueue| -> Vec<u32> {
            queue
                .running
                .iter()
                .filter(|(_, running)| running.gives_way())
                .map(|(package, _)| *package)
                .collect()
        };
        assert_eq!(giving_way(&queue), [0], "one for one");
        assert!(queue.end(0, true, late).is_none() && !queue.is_done(0));
        assert_eq!(begun(&mut queue, late), [5]);
        assert!(!queue.is_empty() && queue.waiting.len() == 2);
    }

    #[test]
    fn the_distfiles_of_a_recipe_begin_after_a_turn_for_each_other_one_whatever_servers_they_name() {
        const OTHERS: u32 = 9;
        let forever = Duration::MAX;
        let almost = TURN.saturating_sub(SECOND);
        let needs: [fn(u32, [Duration; 2]) -> Duration; 3] =
            [|_, [forever, _]| forever, |_, [_, almost]| almost, |package, both| both[package as usize % 2]];
        for need in needs {
            let mut queue = FetchQueue::default();
            for package in 0..5 * OTHERS {
                queue.add(fetch(package, &format!("evil/p{}", package / 5)));
            }
            queue.add(fetch(1000, "good/p"));
            let took = play(&mut queue, |package| need(package, [forever, almost]), Some(1000));
            assert!(took <= OTHERS * TURN, "{took:?}");
        }
    }

    #[test]
    fn large_distfiles_that_give_way_to_each_other_come_to_an_end() {
        let mut queue = FetchQueue::default();
        (0..12).for_each(|package| queue.add(fetch(package, &format!("large/p{package}"))));
        let took = play(&mut queue, |_| 3 * TURN, None);
        assert!(queue.is_empty() && (0..12).all(|package| queue.is_done(package)), "{took:?}");
    }
}
