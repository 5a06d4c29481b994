//! Bulk builds beside a shell loop that does the same by hand, two packages at a time, in turns with it: `unshare`, an overlay on the
//! host, `chroot`, and `tar` of what the build has left, over the archives of what the package needs.
//!
//! The loop checks, limits, notes and flushes nothing.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use anyhow::Result;

use super::ground::{Ground, Recipe, location};
use super::row;
use crate::disk::{Disk, is_root};
use crate::line::{Line, is_installed};
use crate::measure::{Costs, Spread};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, grouped};

/// How many times the loop's time a run may take: unchecked, and checked.
const UNCHECKED: f64 = 2.0;
const CHECKED: f64 = 4.0;

/// Builds one package: its location, the tree, and the directory of the loop follow.
const ONE: &str = r#"#!/bin/sh
set -e
here="$3/$1"
mkdir -p "$here/upper/tree" "$here/work" "$here/root"
for need in $(cat "$2/$1/closure~"); do tar -C "$here/upper" -xzf "$3/pool/$need.tgz"; done
unshare -m -p -f -n -u -i sh -ec '
mount -t overlay -o "lowerdir=/,upperdir=$2/upper,workdir=$2/work" overlay "$2/root"
mount --bind "$1" "$2/root/tree"
mount -t proc proc "$2/root/proc"
exec chroot "$2/root" env -i PATH=/usr/bin:/bin TREE=/tree PKG_LOCATION="$0" PKGNAME="$0-1.0" DESTDIR=/out /tree/build
' "$1" "$2" "$here" > "$3/$1.log" 2>&1
tar -C "$here/upper/out" -czf "$3/pool/$1.tgz" .
rm -rf "$here"
"#;

/// Measures both, on packages that need nothing and on those that need others.
pub(crate) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    if let Some(reason) = Ground::why_not(disk)?.or_else(why_no_loop) {
        report.skipped(&format!("bulk builds beside a shell loop, {}", disk.name()), &reason);
        return Ok(());
    }
    report.heading(&format!("Bulk builds beside a shell loop, {}", disk.name()));
    let columns = ["command", "wall (least–most)", "each", "CPU", "written", "flushes", "peak memory"];
    let mut table = Table::new(&columns);
    let (few, many) = options.pick((300, 2_000), (6, 24));
    for (count, has_needs) in [(few, false), (many, true)] {
        let packages =
            format!("{} packages{}", grouped(count), if has_needs { " with dependencies" } else { "" });
        Report::progress(&format!("{packages} beside a shell loop"));
        let needs: Vec<Vec<usize>> = (0..count).map(|number| needs_of(number, has_needs)).collect();
        let words: Vec<String> = needs
            .iter()
            .map(|needs| needs.iter().map(|need| format!("{}>=1 ", location(*need))).collect())
            .collect();
        let recipe = |number: usize| Recipe { needs: &words[number], ..Recipe::default() };
        let ground = Ground::new(disk, "bulk", count, recipe)?;
        for number in 0..count {
            let all =
                closure(&needs, number).into_iter().map(|need| location(need) + " ").collect::<String>();
            fs::write(ground.tree().join(location(number)).join("closure~"), all)?;
        }
        let [mut by_hand, mut unchecked, mut checked] = <[Costs; 3]>::default();
        for _ in 0..if has_needs { 1 } else { options.runs() } {
            by_hand.0.push(ground.measure(&shell_loop(&ground)?)?);
            for (check, costs) in [("none", &mut unchecked), ("install", &mut checked)] {
                if has_needs && check != "none" {
                    continue;
                }
                ground.begin("")?;
                ground.set("check=none", &format!("check={check}"))?;
                ground.scan().run()?;
                costs.0.push(ground.measure(&ground.run(""))?);
            }
        }
        row(&mut table, &format!("shell loop, {packages}"), &by_hand, count);
        for (check, costs, most) in [("none", &unchecked, UNCHECKED), ("install", &checked, CHECKED)] {
            if costs.0.is_empty() {
                continue;
            }
            let name = format!("bulk run, {packages}, check={check}");
            row(&mut table, &name, costs, count);
            report.at_most(
                disk.name(),
                &format!("{name} / shell loop"),
                most,
                Spread::of_ratio(costs, &by_hand),
                "",
            );
            let processor = Spread::of_ratio_in(costs, &by_hand, |cost| cost.cpu);
            report.at_most(disk.name(), &format!("processor time of the same, {check}"), most, processor, "");
        }
        ground.clear()?;
    }
    report.table(&table);
    Ok(())
}

/// Why there can be no loop here; none where it can be.
fn why_no_loop() -> Option<String> {
    let lacks = ["unshare", "mount", "chroot", "tar"].into_iter().find(|tool| !is_installed(tool));
    match lacks {
        _ if !is_root() => Some("only root mounts without a user namespace".to_owned()),
        Some(tool) => Some(format!("there is no {tool}")),
        None => None,
    }
}

/// The loop, which begins with nothing.
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

/// What a package needs: three of those long before it, so that needs go a few steps deep, and who is built by order of number finds
/// them there.
fn needs_of(number: usize, has_needs: bool) -> Vec<usize> {
    let range = (number / 10).max(2);
    if !has_needs || number < 20 {
        return Vec::new();
    }
    let needs = (1..=3).map(|step| (number * 7_919 + step * 104_729) % range);
    needs.collect::<BTreeSet<_>>().into_iter().collect()
}

/// All that must be there for a package to be built.
fn closure(needs: &[Vec<usize>], number: usize) -> BTreeSet<usize> {
    let (mut found, mut open) = (BTreeSet::new(), vec![number]);
    while let Some(next) = open.pop() {
        open.extend(needs[next].iter().copied().filter(|need| found.insert(*need)));
    }
    found
}
