//! Power cuts on real file systems: synced data survives, the rest does not, and the root is as before or as after.
//!
//! A root is made on ext4, on xfs, or on one of them with the other at `/opt`, each in an image of its own. While
//! patchadd, patchrm, pkgadd, pkgrm, promote or recover work, the file systems are shut down (`xfs_io -x -c shutdown`,
//! with and without the part of their logs that is in memory): from then on nothing reaches the image any more, as when
//! the power goes. They are unmounted, mounted again, which replays their logs, and recovered by the program itself.
//! Sometimes only one of two is cut, and the program has to say what it can and cannot restore.
//! ```text
//! PATCHADM_TESTS=whole cargo test --test integration reliability::power_cuts -- --nocapture
//! ```
//! Only root can do this, where the machine has loop devices and the tools; else it is skipped. Storage that loses what
//! it said it had written is not played.

/// Images, mounts, and the switch.
pub(crate) mod disk;
/// Tests that only images are cut.
mod safety;
/// The root and its expected states.
mod scene;
/// Stories that are cut at a certain change.
pub(crate) mod stories;
/// A run that is cut.
mod trial;

use std::collections::BTreeSet;
use std::panic::resume_unwind;
use std::thread;

use disk::{in_own_namespace, lacks};
use scene::Layout;
use trial::{Counts, Trials};

use crate::reliability::stories::is_name_asked_for;
use crate::reliability::{figures, is_whole, part_of, sample_or_whole};

/// Every kind of root.
const LAYOUTS: [Layout; 8] = [
    Layout { root: "ext4", opt: Some("xfs"), undo_format: "gz" },
    Layout { root: "ext4", opt: None, undo_format: "gz" },
    Layout { root: "xfs", opt: None, undo_format: "gz" },
    Layout { root: "xfs", opt: Some("ext4"), undo_format: "gz" },
    Layout { root: "xfs", opt: Some("xfs"), undo_format: "gz" },
    Layout { root: "ext4", opt: Some("xfs"), undo_format: "files" },
    Layout { root: "xfs", opt: Some("ext4"), undo_format: "files" },
    Layout { root: "ext4", opt: None, undo_format: "files" },
];

/// The kinds of roots that this machine can play; says which it cannot.
fn layouts() -> Vec<Layout> {
    let [no_ext4, no_xfs] = ["ext4", "xfs"].map(lacks);
    let lack = |file_system: &str| if file_system == "xfs" { no_xfs.as_ref() } else { no_ext4.as_ref() };
    for missing in ["ext4", "xfs"].into_iter().filter_map(lack) {
        crate::skipped(&format!("power cuts: {missing}"));
    }
    let can = |layout: &Layout| lack(layout.root).is_none() && layout.opt.and_then(lack).is_none();
    let is_asked_for = |layout: &Layout| is_name_asked_for(&layout.name());
    LAYOUTS.into_iter().filter(can).filter(is_asked_for).collect()
}

/// Cuts the power of one kind of root at least this often.
fn play(number: u64, layout: Layout, cuts: u64) -> Counts {
    in_own_namespace(|| {
        let mut trials = Trials::new(layout, 0x5eed_1000 + number);
        for trial in 0.. {
            trials.trial(trial);
            if trials.counts["power cuts"] >= cuts {
                break;
            }
        }
        trials.counts
    })
}

in_parts!(
    a_power_cut_leaves_the_root_as_before_or_as_after_and_loses_nothing_that_was_acknowledged,
    cut_roots,
    4
);

/// Cuts the power of each kind of root of a part; two parts of a sample share the cuts of a kind.
fn cut_roots(part: usize, parts: usize) {
    let mut layouts = layouts();
    if !is_whole() {
        // One of each form of undo data.
        let mut known = BTreeSet::new();
        layouts.retain(|layout| known.insert(layout.undo_format));
    }
    let Some(cuts) = sample_or_whole(12, 1760_u64).checked_div(layouts.len() as u64) else { return };
    let cuts = sample_or_whole(cuts.div_ceil(2), cuts);
    let first = sample_or_whole(100 * (part as u64 / 2), 0);
    let (part, parts) = sample_or_whole((part % 2, parts / 2), (part, parts));
    let numbered: Vec<(u64, Layout)> = part_of((first..).zip(layouts), part, parts).collect();
    // Two at a time: a cut is to hit a busy machine, not an overloaded one.
    let mut counts = Counts::new();
    for pair in numbered.chunks(2) {
        let played: Vec<Counts> = thread::scope(|scope| {
            let threads: Vec<_> = pair
                .iter()
                .map(|&(number, layout)| scope.spawn(move || play(number, layout, cuts)))
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        });
        for (what, count) in played.iter().flatten() {
            *counts.entry(what).or_default() += count;
        }
    }
    let mut told: Vec<(&str, u64)> = counts.iter().map(|(what, count)| (*what, *count)).collect();
    told.sort_by_key(|(what, _)| *what != "power cuts");
    told.extend([("third states", 0), ("acknowledged runs lost", 0)]);
    figures("power cuts", &told);
}
