//! The slots of a run: free, resting, or left out for good.
//!
//! Pure: times are relative to the start of the run. After three failures in a row a slot rests until a probe succeeds.
//! A failed task goes to the slot where it failed least.

use std::time::Duration;

use crate::conf::{Slot, SlotPatience};

const MOST_TROUBLES: u32 = 3;

/// A machine that comes back is used within half a minute.
const BETWEEN_PROBES: Duration = Duration::from_secs(20);

/// After a full disk.
const BETWEEN_LOOKS_FOR_ROOM: Duration = Duration::from_secs(5);

/// Minimum number of probes, or checks for space, within the waiting time of a run.
const PROBES: u32 = 30;
const LOOKS_FOR_ROOM: u32 = 6;

#[derive(Clone, Debug, PartialEq, Eq)]
enum SlotCondition {
    Works,
    /// Takes no tasks until a probe succeeds. The time of the next probe; `None` during a probe.
    Rests(Option<Duration>),
    LeftOut(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotUse {
    pub slot: Slot,
    running: u32,
    trouble: u64,
    /// Failures since the last successful task.
    in_a_row: u32,
    is_full: bool,
    condition: SlotCondition,
}

impl SlotUse {
    pub fn trouble(&self) -> u64 {
        self.trouble
    }

    /// Why the slot is left out, if so.
    pub fn left_out(&self) -> Option<&str> {
        match &self.condition {
            SlotCondition::LeftOut(reason) => Some(reason),
            SlotCondition::Works | SlotCondition::Rests(_) => None,
        }
    }

    fn works(&self) -> bool {
        self.condition == SlotCondition::Works
    }

    fn rest(&mut self, now: Duration, patience: SlotPatience) {
        let (pause, wait, probes) = if self.is_full {
            (BETWEEN_LOOKS_FOR_ROOM, patience.for_room, LOOKS_FOR_ROOM)
        } else {
            (BETWEEN_PROBES, patience.for_slots, PROBES)
        };
        let pause = wait.map_or(pause, |wait| pause.min(wait / probes));
        self.condition = SlotCondition::Rests(Some(now + pause));
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotTable {
    slots: Vec<SlotUse>,
    patience: SlotPatience,
    /// Start of the time during which all usable slots rest.
    all_rest_since: Option<Duration>,
}

impl SlotTable {
    /// All slots begin as working.
    pub fn new(slots: Vec<Slot>, patience: SlotPatience) -> Self {
        let used = |slot| SlotUse {
            slot,
            running: 0,
            trouble: 0,
            in_a_row: 0,
            is_full: false,
            condition: SlotCondition::Works,
        };
        Self { slots: slots.into_iter().map(used).collect(), patience, all_rest_since: None }
    }

    pub fn is_local(&self, slot: usize) -> bool {
        self.get(slot).is_some_and(|used| used.slot.is_local())
    }

    pub fn get(&self, slot: usize) -> Option<&SlotUse> {
        self.slots.get(slot)
    }

    pub fn iter(&self) -> impl Iterator<Item = &SlotUse> {
        self.slots.iter()
    }

    pub fn leave_out(&mut self, slot: usize, reason: String) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.condition = SlotCondition::LeftOut(reason);
        }
    }

    /// Slots with room for one more task.
    pub fn with_room(&self) -> Vec<usize> {
        let slots = self.slots.iter().enumerate();
        slots
            .filter(|(_, used)| used.works() && used.running < used.slot.count)
            .map(|(slot, _)| slot)
            .collect()
    }

    /// True if no other working slot has troubled the task less.
    pub fn may_take(&self, slot: usize, troubles: &[usize]) -> bool {
        let count = |slot: usize| troubles.iter().filter(|trouble| **trouble == slot).count();
        let working = self.slots.iter().enumerate().filter(|(_, used)| used.works());
        let least = working.map(|(slot, _)| count(slot)).min().unwrap_or_default();
        count(slot) <= least
    }

    pub fn is_running(&self) -> bool {
        self.slots.iter().any(|used| used.running > 0)
    }

    pub fn started(&mut self, slot: usize) {
        if let Some(used) = self.slots.get_mut(slot) {
            used.running = used.running.saturating_add(1);
        }
    }

    pub fn left(&mut self, slot: usize) {
        if let Some(used) = self.slots.get_mut(slot) {
            used.running = used.running.saturating_sub(1);
        }
    }

    /// A task ended, with its package built or failed.
    pub fn went_well(&mut self, slot: usize) {
        if let Some(used) = self.slots.get_mut(slot) {
            used.in_a_row = 0;
        }
    }

    /// Notes machine trouble. Returns true if the slot rests from now on.
    pub fn troubled(&mut self, slot: usize, now: Duration, is_full: bool) -> bool {
        let Some(used) = self.slots.get_mut(slot) else { return false };
        used.trouble += 1;
        used.is_full = is_full;
        used.in_a_row = used.in_a_row.saturating_add(1);
        if !used.works() || used.in_a_row < MOST_TROUBLES {
            return false;
        }
        used.rest(now, self.patience);
        if !self.slots.iter().any(SlotUse::works) {
            self.all_rest_since.get_or_insert(now);
        }
        true
    }

    /// Returns each slot to probe once, until its probe has ended.
    pub fn take_due_probes(&mut self, now: Duration) -> Vec<usize> {
        let mut due = Vec::new();
        for (slot, used) in self.slots.iter_mut().enumerate() {
            if matches!(used.condition, SlotCondition::Rests(Some(next)) if next <= now) {
                used.condition = SlotCondition::Rests(None);
                due.push(slot);
            }
        }
        due
    }

    /// Ends a probe: the slot works again, or rests on.
    pub fn probed(&mut self, slot: usize, is_fit: bool, now: Duration) {
        let Some(used) = self.slots.get_mut(slot) else { return };
        if !matches!(used.condition, SlotCondition::Rests(_)) {
            return;
        }
        if is_fit {
            (used.condition, used.in_a_row) = (SlotCondition::Works, 0);
            self.all_rest_since = None;
        } else {
            used.rest(now, self.patience);
        }
    }

    /// True if every slot is left out, or all others have rested for the whole waiting time and none is being probed.
    pub fn is_hopeless(&self, now: Duration) -> bool {
        let mut in_use = self.slots.iter().filter(|used| used.left_out().is_none());
        let are_full = in_use.clone().all(|used| used.is_full);
        let longest = if are_full { self.patience.for_room } else { self.patience.for_slots };
        let has_rested = |since| longest.is_some_and(|longest| now.saturating_sub(since) >= longest);
        let are_left_out = in_use.clone().next().is_none();
        let is_probed = in_use.any(|used| used.condition == SlotCondition::Rests(None));
        are_left_out || !is_probed && self.all_rest_since.is_some_and(has_rested)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::conf::Configuration;

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// `local` with two tasks at a time, `one` and `other` with one each.
    fn table() -> SlotTable {
        table_with("")
    }

    fn table_with(settings: &str) -> SlotTable {
        let text =
            format!("tree=/tree\nslot=local 2\nslot=one 1 ssh one\nslot=other 1 ssh other\n{settings}");
        let conf = Configuration::parse(text.as_bytes(), Path::new("/work")).unwrap();
        SlotTable::new(conf.slots_on(4, None), conf.patience)
    }

    fn tire(table: &mut SlotTable, slot: usize, now: Duration) {
        let rests = [0; 3].map(|_| table.troubled(slot, now, false));
        assert_eq!(rests, [false, false, true]);
    }

    #[test]
    fn a_slot_takes_as_many_tasks_as_it_counts() {
        let mut table = table();
        assert_eq!(table.with_room(), [0, 1, 2]);
        for slot in [0, 0, 1] {
            table.started(slot);
        }
        assert_eq!(table.with_room(), [2]);
        table.left(0);
        assert_eq!(table.with_room(), [0, 2]);
        table.leave_out(0, "broken".to_owned());
        assert_eq!(table.with_room(), [2]);
        assert_eq!(table.get(0).unwrap().left_out(), Some("broken"));
    }

    #[test]
    fn a_task_in_trouble_goes_to_another_slot_where_there_is_one_that_works() {
        let mut table = table();
        let may =
            |table: &SlotTable, troubles: &[usize]| [0, 1, 2].map(|slot| table.may_take(slot, troubles));
        assert_eq!(may(&table, &[]), [true, true, true]);
        assert_eq!(may(&table, &[1]), [true, false, true]);
        assert_eq!(may(&table, &[1, 0]), [false, false, true]);
        tire(&mut table, 2, seconds(0));
        assert_eq!(may(&table, &[1, 0])[..2], [true, true]);
        table.leave_out(0, "broken".to_owned());
        assert!(table.may_take(1, &[1, 1]), "there is no other one");
    }

    #[test]
    fn three_troubles_in_a_row_make_a_slot_rest_until_a_probe_succeeds() {
        let mut table = table();
        assert_eq!([0; 2].map(|_| table.troubled(1, seconds(10), false)), [false, false]);
        table.went_well(1);
        tire(&mut table, 1, seconds(20));
        assert!(!table.troubled(1, seconds(20), false), "it rests already");
        assert_eq!((table.with_room(), table.get(1).unwrap().trouble()), (vec![0, 2], 6));
        assert_eq!(table.take_due_probes(seconds(39)), Vec::<usize>::new());
        assert_eq!(table.take_due_probes(seconds(40)), [1]);
        assert_eq!(table.take_due_probes(seconds(500)), Vec::<usize>::new(), "it is being probed");
        table.probed(1, false, seconds(81));
        assert_eq!(table.take_due_probes(seconds(100)), Vec::<usize>::new());
        assert_eq!(table.take_due_probes(seconds(101)), [1]);
        table.probed(1, true, seconds(142));
        assert_eq!(table.with_room(), [0, 1, 2]);
        tire(&mut table, 1, seconds(150));
    }

    #[test]
    fn full_disks_are_looked_at_every_five_seconds_and_given_up_after_thirty() {
        let mut table = table();
        table.leave_out(2, "broken".to_owned());
        tire(&mut table, 0, seconds(100));
        assert_eq!([0; 3].map(|_| table.troubled(1, seconds(100), true)), [false, false, true]);
        assert_eq!(table.take_due_probes(seconds(105)), [1]);
        table.probed(1, false, seconds(106));
        assert_eq!(table.take_due_probes(seconds(111)), [1]);
        assert!(!table.is_hopeless(seconds(200)), "the other one may come back");
        table.probed(0, true, seconds(200));
        assert_eq!([0; 3].map(|_| table.troubled(0, seconds(200), true)), [false, false, true]);
        assert!(!table.is_hopeless(seconds(229)));
        assert!(!table.is_hopeless(seconds(230)), "one is being probed, and may have room");
        table.probed(1, false, seconds(230));
        assert!(table.is_hopeless(seconds(230)));
    }

    #[test]
    fn how_long_a_run_waits_is_a_setting_and_probes_come_within_it() {
        let mut table = table_with("wait_for_room=3s\nwait_for_slots=0\n");
        table.leave_out(1, "broken".to_owned());
        table.leave_out(2, "broken".to_owned());
        assert_eq!([0; 3].map(|_| table.troubled(0, seconds(100), true)), [false, false, true]);
        assert_eq!(table.take_due_probes(seconds(101)), [0]);
        table.probed(0, false, seconds(101));
        assert!(!table.is_hopeless(seconds(102)));
        assert!(table.is_hopeless(seconds(103)));
        table.probed(0, true, seconds(103));
        tire(&mut table, 0, seconds(200));
        assert!(!table.is_hopeless(seconds(1_000_000)), "0 is no limit");
    }

    #[test]
    fn nothing_can_run_once_all_have_rested_for_ten_minutes() {
        let mut table = table();
        table.leave_out(2, "broken".to_owned());
        tire(&mut table, 0, seconds(100));
        assert!(!table.is_hopeless(seconds(10_000)), "one works");
        tire(&mut table, 1, seconds(200));
        assert!(!table.is_hopeless(seconds(799)));
        assert!(table.is_hopeless(seconds(800)));
        table.probed(0, true, seconds(700));
        assert!(!table.is_hopeless(seconds(10_000)), "one works again");
        tire(&mut table, 0, seconds(10_000));
        assert!(!table.is_hopeless(seconds(10_599)));
        assert!(table.is_hopeless(seconds(10_600)));
        for slot in [0, 1] {
            table.leave_out(slot, "broken".to_owned());
        }
        assert!(table.is_hopeless(seconds(10_001)), "none is left");
    }
}
