//! A patch of 1 GiB fetched over http, beside curl followed by the fastest SHA-256 of the machine.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::server;
use crate::delivery::{PACKAGE, PackageWriter};
use crate::disk::Disk;
use crate::growth::{clear, inputs_of};
use crate::line::{Line, is_installed};
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::mebibytes;
use crate::workload::{File as MadeFile, NEW, Version};

const ID: &str = "100003-01";

/// Limit of a fetch, as a multiple of the time of curl and a digest.
const RATIO: f64 = 1.3;

/// Number of different contents. A gigabyte of distinct content would take longer to make than everything else.
const CONTENTS: usize = 8;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let scratch = inputs_of(disk, "fetched")?;
    let (depot, cache, copied) = (scratch.join("depot"), disk.at("cache"), disk.at("copied"));
    write_depot(&scratch, &depot, options.pick((256, 4 << 20), (4, 1 << 18)))?;
    let patch = depot.join(format!("{ID}.tar"));
    let Some(digest) = fastest_digest(disk, &patch)? else {
        report.skipped("a fetch over http", "there is no curl, or neither openssl nor sha256sum");
        return clear(&[&scratch]);
    };
    let (address, root) = (server::serve(&depot, Duration::ZERO)?, inputs_of(disk, "fetched-root")?);
    let policy = scratch.join("policy");
    std::fs::write(&policy, format!("cache={}\n", cache.display()))?;
    let fetch = Line::patchadm().words("depot check -R").arg(&root).arg("--policy").arg(&policy);
    let fetch = fetch.arg(&address);
    let curl = Line::shell(&format!("curl -sSf -o \"$1\" \"$0{ID}.tar\" && {digest} \"$1\""));
    let curl = curl.arg(&address).arg(&copied);
    let [mut ours, mut theirs] = [Costs::default(), Costs::default()];
    for _ in 0..options.runs() {
        ours.0.push(measure(disk, &fetch)?);
        theirs.0.push(measure(disk, &curl)?);
        std::fs::remove_dir_all(&cache)?;
        std::fs::remove_file(&copied)?;
    }
    let size = mebibytes(patch.metadata()?.len() as f64);
    report.row(Row::beside(format!("depot check, one patch of {size}"), &ours, &theirs).times_floor(RATIO));
    report.say(&format!("The floor of one large patch is curl, then `{digest}` for the SHA-256."));
    clear(&[&scratch, &root])
}

/// Writes an indexed depot with one patch of `count` files of `size` bytes.
fn write_depot(scratch: &Path, depot: &Path, (count, size): (usize, usize)) -> Result<()> {
    let contents: Vec<Vec<u8>> = (0..CONTENTS)
        .map(|key| MadeFile::new(String::new(), size, key as u64).content(Version::New))
        .collect::<Result<_>>()?;
    let mut patch = PackageWriter::of_patch(scratch, ID, PACKAGE)?;
    for (number, content) in contents.iter().cycle().take(count).enumerate() {
        patch.file(&format!("opt/fetched/f{number:04}"), content, NEW)?;
    }
    patch.finish()?;
    std::fs::create_dir(depot)?;
    let tar = depot.join(format!("{ID}.tar"));
    Line::new("tar").arg("-cf").arg(&tar).arg("-C").arg(scratch).arg(ID).run()?;
    std::fs::remove_dir_all(scratch.join(ID))?;
    Line::patchadm().words("depot index").arg(depot).run()
}

/// Returns the fastest command that prints the SHA-256 of a file; `None` if none is installed, or no curl.
fn fastest_digest(disk: &Disk, file: &Path) -> Result<Option<&'static str>> {
    let commands = [("openssl dgst -sha256", "openssl"), ("sha256sum", "sha256sum")];
    let mut fastest = None;
    let is_there = |program: &str| is_installed(program) && is_installed("curl");
    for (command, _) in commands.into_iter().filter(|(_, program)| is_there(program)) {
        let line = Line::shell(&format!("{command} \"$0\"")).arg(file);
        let took = measure(disk, &line)?.wall;
        if fastest.is_none_or(|(least, _)| took < least) {
            fastest = Some((took, command));
        }
    }
    Ok(fastest.map(|(_, command)| command))
}
