//! Every record of a root, damaged in every way, and every command on it.
//!
//! A cell is one command on one root with one damaged record. Its answer is an error that names the record and changes
//! nothing; or a note that names it; or the answer on the whole root, and then it says nothing about the record. No
//! command ends by a panic, and `verify` is never content where a record that somebody needs is damaged. What the
//! answers say is to be typed next is typed, and afterwards `verify` is content or names what was lost.
//!
//! The table of all cells is printed by
//!
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration sweep:: -- --nocapture
//! ```

/// What is damaged, and how.
mod damages;
/// The root that is damaged, and the commands that are run on it.
mod ground;
/// Whether an answer is an honest one.
mod judge;
/// What the answers advise, typed.
mod repairs;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::reliability;
use damages::{Damage, Need, RECORDS, Record};
use ground::{Caller, Ground, Template};
use judge::{Cell, Verdict};

/// The least number of cells, in the whole mode and as a sample.
const FLOORS: [usize; 2] = [5_000, 1_500];

/// The number of tests that share the records.
const PARTS: usize = 6;

#[test]
fn no_command_is_content_with_a_root_that_it_could_not_read_and_what_it_advises_works_1() {
    sweep(0);
}

#[test]
fn no_command_is_content_with_a_root_that_it_could_not_read_and_what_it_advises_works_2() {
    sweep(1);
}

#[test]
fn no_command_is_content_with_a_root_that_it_could_not_read_and_what_it_advises_works_3() {
    sweep(2);
}

#[test]
fn no_command_is_content_with_a_root_that_it_could_not_read_and_what_it_advises_works_4() {
    sweep(3);
}

#[test]
fn no_command_is_content_with_a_root_that_it_could_not_read_and_what_it_advises_works_5() {
    sweep(4);
}

#[test]
fn no_command_is_content_with_a_root_that_it_could_not_read_and_what_it_advises_works_6() {
    sweep(5);
}

/// Damages every `PARTS`-th record. Whoever comes last of all parts counts the cells.
#[allow(clippy::print_stdout)] // the figures of the test
fn sweep(part: usize) {
    static COUNTS: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());
    let template = Template::new();
    let mine: Vec<&str> = RECORDS.iter().skip(part).step_by(PARTS).map(|record| record.path).collect();
    let is_mine = |record: &Record| mine.contains(&record.path);
    let mut cells = every_cell(&template, Caller::Owner, &Damage::ALL, is_mine);
    let is_meant =
        |record: &Record| is_mine(record) && (reliability::is_whole() || record.kind == Need::Record);
    cells.extend(every_cell(&template, Caller::Owner, &Damage::UNSEEN, is_meant));
    let advice = repairs::advised(&cells);
    let mut faults = side_by_side(&advice, |advice| advice.fault(&template));
    println!("{} repairs typed", advice.len());
    faults.extend(report(&cells));
    assert!(faults.is_empty(), "{}\n{} faults", faults.join("\n"), faults.len());
    let mut counts = COUNTS.lock().unwrap();
    counts.insert(part, cells.len());
    if counts.len() == PARTS {
        let (all, floor) = (counts.values().sum::<usize>(), FLOORS[usize::from(!reliability::is_whole())]);
        assert!(all >= floor, "{all} cells");
    }
}

#[test]
fn an_ordinary_user_is_told_what_cannot_be_read() {
    if !crate::scenario::is_root() {
        return crate::skipped("records that others may not read need root to be made");
    }
    let template = Template::of_ordinary_user();
    let faults = report(&every_cell(&template, Caller::Ordinary, &[Damage::Unreadable], |_| true));
    assert!(faults.is_empty(), "{}\n{} faults", faults.join("\n"), faults.len());
}

/// The answers of every command to every damage, on all cores.
fn every_cell(
    template: &Template,
    caller: Caller,
    damages: &[Damage],
    is_meant: impl Fn(&Record) -> bool,
) -> Vec<Cell> {
    let whole = Ground::whole_answers(template, caller);
    let records = RECORDS.iter().enumerate().filter(|(_, record)| is_meant(record));
    // A sample has every other damage, of neighbours in a part not the same.
    let step = reliability::sample_or_whole(2, 1);
    let damaged = records.flat_map(|(number, record)| {
        let of_record = damages.iter().copied().skip(number / PARTS % step).step_by(step);
        of_record.map(move |damage| (record, damage))
    });
    let damaged: Vec<(&'static Record, Damage)> =
        damaged.filter(|(record, damage)| damage.is_of(record)).collect();
    side_by_side(&damaged, |(record, damage)| {
        Ground::damaged(template, caller, record, *damage).cells(&whole)
    })
}

/// What `work` makes of each item, on all cores, in the order of the items.
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

/// Prints how many answers were of which kind; the faults among them.
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
