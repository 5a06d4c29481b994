//! Bulk builds beside a shell loop that does the same by hand, two packages at a time: `unshare`, an overlay on the
//! host, `chroot`, and `tar` of the files that the build leaves. Both run in turns.
//!
//! The loop checks, limits, records and flushes nothing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;

use super::ground::{Ground, Recipe};
use super::row;
use crate::disk::{Disk, is_root};
use crate::line::{Line, is_installed};
use crate::measure::{Costs, Spread};
use crate::options::Options;
use crate::report::Report;
use crate::table::{grouped, spread};

/// Limits of a run as multiples of the loop's time: unchecked, and checked.
const UNCHECKED: f64 = 2.0;
const CHECKED: f64 = 4.0;

/// Builds one package. The arguments are its location, the tree, and the directory of the loop.
const ONE: &str = r#"#!/bin/sh
set -e
here="$3/$1"
mkdir -p "$here/upper/tree" "$here/work" "$here/root"
unshare -m -p -f -n -u -i sh -ec '
mount -t overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount --bind "$1" "$2/root/tree"
mount -t proc proc "$2/root/proc"
exec chroot "$2/root" env -i PATH=/usr/bin:/bin TREE=/tree PKG_LOCATION="$0" PKGNAME="$0-1.0" DESTDIR=/out /tree/build
' "$1" "$2" "$here" > "$3/$1.log" 2>&1
tar -C "$here/upper/out" -czf "$3/pool/$1.tgz" .
rm -rf "$here"
"#;

/// Measures both, on packages without dependencies.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    if let Some(reason) = why_no_loop() {
        report.skipped("a shell loop", &reason);
        return Ok(());
    }
    let count = options.pick(300, 6);
    let packages = format!("{} packages", grouped(count));
    Report::progress(&format!("{packages} beside a shell loop"));
    let ground = Ground::new(disk, "bulk", count, |_| Recipe::default())?;
    let [mut by_hand, mut unchecked, mut checked] = <[Costs; 3]>::default();
    for _ in 0..options.runs() {
        by_hand.0.push(ground.measure(&shell_loop(&ground)?)?);
        for (check, costs) in [("none", &mut unchecked), ("install", &mut checked)] {
            ground.begin("")?;
            ground.set("check=none", &format!("check={check}"))?;
            ground.scan().run()?;
            costs.0.push(ground.measure(&ground.run(""))?);
        }
    }
    for (check, costs, most) in [("none", &unchecked, UNCHECKED), ("install", &checked, CHECKED)] {
        let name = format!("bulk run, {packages}, check={check}, beside a shell loop");
        let beside = Spread::of_ratio(costs, &by_hand);
        report.row(row(&name, costs, count).floor(spread(by_hand.wall()), beside).times_floor(most));
    }
    report.say("The shell loop does the same by hand: unshare, an overlay, chroot and tar. It checks, limits and flushes nothing.");
    ground.clear()
}

/// Returns the reason why the loop cannot run here, or `None` if it can.
fn why_no_loop() -> Option<String> {
    let lacks = ["unshare", "mount", "chroot", "tar"].into_iter().find(|tool| !is_installed(tool));
    match lacks {
        _ if !is_root() => Some("only root mounts without a user namespace".to_owned()),
        Some(tool) => Some(format!("there is no {tool}")),
        None => None,
    }
}

/// Returns the command of the loop, with a fresh directory.
fn shell_loop(ground: &Ground<'_>) -> Result<Line> {
    let directory = ground.tree().with_file_name("loop");
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(directory.join("pool"))?;
    let one = directory.join("one");
    fs::write(&one, ONE)?;
    fs::set_permissions(&one, fs::Permissions::from_mode(0o755))?;
    let all = "xargs -P2 -I@ \"$1/one\" @ \"$0\" \"$1\" < \"$0/locations\"";
    Ok(Line::shell(all).arg(ground.tree()).arg(directory))
}
