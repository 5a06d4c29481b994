//! Every record of a root, damaged in every way, and every command on it.
//!
//! A cell is one command on one root with one damaged record. Its answer is an error that names the record and
//! changes nothing, or a note that names it, or the answer on the whole root without a word about the record. No
//! command panics, and `check` is never content if a record that somebody needs is damaged. The test runs the
//! commands that the answers advise; afterwards `check` is content, or names what was lost.
//!
//! The table of all cells is printed by
//!
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration sweep:: -- --nocapture
//! ```

/// The damaged records, and the kinds of damage.
mod damages;
/// The root that is damaged, and the commands that are run on it.
mod ground;
/// The criteria for an honest answer.
mod judge;
/// The advised commands, typed.
mod repairs;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::thread;

use crate::reliability;
use damages::{Damage, Need, RECORDS, Record};
use ground::{Caller, Ground, Template};
use judge::{Answer, Cell, Verdict};

/// The least number of cells, in the whole mode and as a sample.
const FLOORS: [usize; 2] = [5_000, 1_500];

in_parts!(no_command_is_content_with_a_root_that_it_could_not_read_and_what_it_advises_works, sweep, 20);

/// Plays a part of the damages. The part that ends last counts the cells.
#[allow(clippy::print_stdout)] // the figures of the test
fn sweep(part: usize, parts: usize) {
    static COUNTS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());
    let whole = Whole::shared(Caller::Owner);
    let is_meant = |record: &Record| reliability::is_whole() || record.kind == Need::Record;
    let mut all = damaged(&Damage::ALL, |_| true);
    all.extend(damaged(&Damage::UNSEEN, is_meant));
    let cells = whole.every_cell(all, part, parts);
    let advice = repairs::advised(&cells);
    let mut faults = side_by_side(&advice, |advice| advice.fault(&whole.template));
    println!("{} repairs typed", advice.len());
    faults.extend(report(&cells));
    assert!(faults.is_empty(), "{}\n{} faults", faults.join("\n"), faults.len());
    let mut counts = COUNTS.lock().unwrap();
    counts.insert(part, cells.len());
    if counts.len() == parts {
        let (all, floor) = (counts.values().sum::<usize>(), FLOORS[usize::from(!reliability::is_whole())]);
        assert!(all >= floor, "{all} cells");
    }
}

in_parts!(an_ordinary_user_is_told_what_cannot_be_read, sweep_of_ordinary_user, 6);

/// Plays a part of the records that an ordinary user cannot read.
fn sweep_of_ordinary_user(part: usize, parts: usize) {
    if !crate::scenario::is_root() {
        return crate::skipped("records that others may not read need root to be made");
    }
    let whole = Whole::shared(Caller::Ordinary);
    let faults = report(&whole.every_cell(damaged(&[Damage::Unreadable], |_| true), part, parts));
    assert!(faults.is_empty(), "{}\n{} faults", faults.join("\n"), faults.len());
}

/// The root to damage, and the answers to a caller while it is whole.
struct Whole {
    caller: Caller,
    template: Template,
    answers: BTreeMap<&'static str, Answer>,
}

impl Whole {
    /// The one of the parts that are being played, or a new one.
    fn shared(caller: Caller) -> Arc<Self> {
        static SHARED: [Mutex<Weak<Whole>>; 2] = [const { Mutex::new(Weak::new()) }; 2];
        let mut shared = SHARED[usize::from(caller == Caller::Ordinary)].lock().unwrap();
        if let Some(whole) = shared.upgrade() {
            return whole;
        }
        let template = match caller {
            Caller::Owner => Template::new(),
            Caller::Ordinary => Template::of_ordinary_user(),
        };
        let answers = Ground::whole_answers(&template, caller);
        let whole = Arc::new(Self { caller, template, answers });
        *shared = Arc::downgrade(&whole);
        whole
    }

    /// The answers of every command to a part of these damages, on all cores.
    fn every_cell(&self, damaged: Vec<(&'static Record, Damage)>, part: usize, parts: usize) -> Vec<Cell> {
        let mine: Vec<_> = damaged.into_iter().skip(part).step_by(parts).collect();
        side_by_side(&mine, |(record, damage)| {
            Ground::damaged(&self.template, self.caller, record, *damage).cells(&self.answers)
        })
    }
}

/// Records and their damages: all, or a sample.
fn damaged(damages: &[Damage], is_meant: impl Fn(&Record) -> bool) -> Vec<(&'static Record, Damage)> {
    let records = RECORDS.iter().enumerate().filter(|(_, record)| is_meant(record));
    // A sample has every other damage, by turns the even ones for six records and the odd ones for the next six.
    let step = reliability::sample_or_whole(2, 1);
    let damaged = records.flat_map(|(number, record)| {
        let of_record = damages.iter().copied().skip(number / 6 % step).step_by(step);
        of_record.map(move |damage| (record, damage))
    });
    damaged.filter(|(record, damage)| damage.is_of(record)).collect()
}

/// The results of `work` for each item, computed on all cores, in the order of the items.
fn side_by_side<T: Sync, R: Send, I: IntoIterator<Item = R>>(
    items: &[T],
    work: impl Fn(&T) -> I + Sync,
) -> Vec<R> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(BTreeMap::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && let Some(item) = items.get(number)
                {
                    let made: Vec<R> = work(item).into_iter().collect();
                    done.lock().unwrap().insert(number, made);
                }
            });
        }
    });
    done.into_inner().unwrap().into_values().flatten().collect()
}

/// Prints the number of answers of each kind, and returns the faults among them.
#[allow(clippy::print_stdout)] // the figures of the test
fn report(cells: &[Cell]) -> Vec<String> {
    let mut table: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for cell in cells {
        *table.entry(cell.record.path).or_default().entry(cell.verdict.name()).or_default() += 1;
    }
    println!("{} cells", cells.len());
    for (record, counts) in &table {
        println!("  {record}: {counts:?}");
    }
    let is_fault = |cell: &&Cell| matches!(cell.verdict, Verdict::Fault(_));
    cells.iter().filter(is_fault).map(Cell::to_string).collect()
}
