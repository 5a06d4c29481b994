//! The benchmark: what patchadm costs, beside the least that a program can do and beside others, in one run.
//!
//! ```text
//! cargo bench --bench benchmark                      everything; as root on ext4 and xfs images of its own
//! cargo bench --bench benchmark -- apply reading     only these parts: apply, files, cold, growth, many, reading, family,
//!                                                    making, stages, libraries, memory, codecs, bulk, fleet, native; and
//!                                                    `million`, which must be named
//! cargo bench --bench benchmark -- files --write-docs      the program in both forms of undo data beside both floors, of
//!                                                    the part apply; writes docs/benchmark/files.md
//! cargo bench --bench benchmark -- bulk --write-docs       bulk builds, which need no data set; writes docs/benchmark/bulk.md
//! cargo bench --bench benchmark -- fleet --write-docs      many hosts, which need no data set; writes docs/benchmark/fleet.md
//! cargo bench --bench benchmark -- native            the hooks of apt and dpkg, with the real tools
//! cargo bench --bench benchmark -- --set system      only this data set: mixed, system, noise, trees; may be repeated
//! cargo bench --bench benchmark -- --trees OLD NEW   two releases, each in a directory: the set trees, beside the others
//! cargo bench --bench benchmark -- --branch RELEASE STABLE   directories of packages: `delta`, in the part making
//! cargo bench --bench benchmark -- --plain BINARY    a build whose digests do without SHA, AVX2 and AVX-512, beside
//! cargo bench --bench benchmark -- --static BINARY   a static build, beside
//! cargo bench --bench benchmark -- --write-sets DIR  writes packages and patch of the sets, for profiles made by hand
//! cargo bench --bench benchmark -- --small           seconds: does every part still work? Judges no time
//! cargo bench --bench benchmark -- --runs 11         more runs than 5
//! cargo bench --bench benchmark -- --write-docs      writes docs/benchmark/results.md and its plots
//! cargo bench --bench benchmark -- --against OTHER_BINARY     this build beside another, in 21 pairs (`--pairs N`)
//! PATCHADM_BENCH_DIR=/dir cargo bench --bench benchmark     without root, or on a disk of your choice
//! PATCHADM_BENCH_PROGRAM=/old/patchadm cargo bench --bench benchmark     another build, for before and after
//! ```
//!
//! Apply and backout are measured with each data set ([`sets`]), one after another, the rest with `mixed`: object code and
//! text that follow from a fixed seed. `system` are files of the machine's own `/usr`, `trees` two releases of something
//! real, `noise` is what earlier figures were made with. Every command is a whole process that an intermediate process runs
//! and accounts for ([`measure`] says how each figure is taken). Whatever is compared is measured in turns, run by run, so
//! that the noise of the machine meets everybody. The tables give the median; *least–most* is the spread. Each change and
//! each way back is first run once uncounted, and what it leaves is compared with what it should be: a contender that does
//! something else fails (ours and the floor) or is left out (others). What takes more than ten seconds is run once.
//!
//! The page cache is warm, but for the part `cold`: packages and patches were just written, and are used again and again.
//! They lie in `target/tmp`, not on the disk that is measured, so nobody can clone instead of copying.
//!
//! Images are sparse files in `target/tmp`, mounted in a private mount namespace and unlinked at once, so that nothing
//! stays mounted however it ends ([`disk`]). They need root, `mkfs.ext4` and `mkfs.xfs`; bytes written and flushes are
//! known on images only. [`rivals`] says what dpkg, rpm and rsync have to do; whatever is not installed is skipped, by name.
//!
//! By hand, the time from the end of a failed check to the old tree (patchadm-trial(7)), with a set that `--write-sets` wrote:
//! the difference of the two times that this prints. Before it, `pkgadd` installs the package of the set below `ROOT`.
//!
//! ```text
//! patchadm -R ROOT add --probe 'date +%s.%N; exit 1' PATCH; date +%s.%N
//! ```
//!
//! Not measured: other programs at the same time, networks; a patch is fetched from a server on the same machine.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a benchmark talks to who started it
#![allow(clippy::disallowed_methods)] // it makes its own trees, beside the door
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // figures for people
#![allow(clippy::format_push_string, clippy::format_collect)] // lists and reports need not be fast

/// Two builds of the program.
mod against;
/// Applying and backing out, side by side.
mod apply;
/// Bulk builds.
mod bulk;
/// Compression and archive formats.
mod codecs;
/// After the page cache was dropped.
mod cold;
mod contender;
/// Packages and patches, written.
mod delivery;
/// Images and directories to measure on.
mod disk;
/// Programs and libraries that a benchmark makes.
mod elf_file;
/// Installing, checking, making, moving packages.
mod family;
/// Undo data as files.
mod files;
/// Many hosts.
mod fleet;
/// The least that a program can do.
mod floor;
/// Cost against size.
mod growth;
/// Small programs that run as processes of their own.
mod inner;
mod inputs;
/// Intervals of medians.
mod interval;
/// ELF, text, compressed.
mod kinds;
/// Libraries that stay, and for whom.
mod libraries;
/// The decision about libraries.
mod library_decision;
/// Many libraries that need each other.
mod library_set;
/// Command lines.
mod line;
mod machine;
/// Making, checking, signing and publishing patches.
mod making;
/// Many patches.
mod many;
/// What a command costs.
mod measure;
/// Memory for each object.
mod memory;
/// Hooks of apt and dpkg.
mod native;
/// Nine packages in one patch.
mod nine_packages;
mod options;
/// Packages, each after what it needs.
mod ordering;
mod plot;
/// What a set is like.
mod portrait;
/// Numbers that a seed decides.
mod random;
/// Reading files with all cores.
mod reader;
/// Queries.
mod reading;
mod report;
/// dpkg, rpm, rsync.
mod rivals;
/// Directories of one run.
mod scratch;
mod sets;
/// Object code, text and noise that a seed decides.
mod slices;
/// A staged tree, promoted.
mod stages;
/// Patches whose scripts do the work.
mod stock_scripts;
/// Databases that are written, not installed.
mod synthetic;
/// Files of this machine.
mod system;
mod table;
/// What a tree holds, and when it was changed.
mod tree;
/// Two releases of something real.
mod trees;
/// The proof that a patch can be backed out.
mod way_back;
/// Files and their versions.
mod workload;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser as _;

use contender::Role;
use delivery::{PACKAGE, PATCH};
use disk::{Disk, FILE_SYSTEMS, file_system_of, is_root, leave_mounts_of_others};
use inputs::{Inputs, table_of_sets};
use options::{Options, Part};
use report::Report;
use rivals::Rivals;
use scratch::Scratch;
use sets::Set;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match inner::run(&arguments) {
        Ok(true) => Ok(()),
        // `cargo test --all-targets` runs it, too, with whatever filters and options tests are given.
        Ok(false) if !arguments.iter().any(|word| word == "--bench") => {
            println!("Nothing is measured but by cargo bench.");
            Ok(())
        }
        Ok(false) => benchmark(&Options::parse()),
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("benchmark: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn benchmark(options: &Options) -> Result<()> {
    if is_root()
        && let Err(error) = leave_mounts_of_others()
    {
        println!("skipped: images: {error:#}");
    }
    if let Some(directory) = &options.write_sets {
        return options.sets().into_iter().try_for_each(|set| write_set(set, directory, options));
    }
    let scratch = Scratch::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "data")?;
    let mut report = Report::new(options.small);
    head(options, &mut report);
    if places(options).is_empty() {
        bail!("there is nothing to measure on: specify a directory in PATCHADM_BENCH_DIR");
    }
    for set in options.sets().into_iter().filter(|_| options.needs_sets()) {
        on_set(set, &scratch, options, &mut report)?;
    }
    for (_, run) in ALONE.into_iter().filter(|(part, _)| options.wants(*part)) {
        report.leave_sets();
        run(&first_place(options, scratch.path(), &mut report)?, options, &mut report)?;
    }
    if options.wants(Part::Million) {
        report.leave_sets();
        for place in places(options).into_iter().take(options.pick(usize::MAX, 1)) {
            memory::million(&place.open(LARGE_IMAGE, options, scratch.path())?, options, &mut report)?;
        }
    }
    report.judge();
    let drawn = report.draw();
    if options.write_docs {
        report.write(Path::new(env!("CARGO_MANIFEST_DIR")), options.page())?;
    } else if options.small {
        println!("Everything works; the plots are {drawn} bytes of SVG.");
    }
    Ok(())
}

/// A part that needs no data set.
type Alone = fn(&Disk, &Options, &mut Report) -> Result<()>;

/// These parts, which are measured on the first place that can be opened.
const ALONE: [(Part, Alone); 4] = [
    (Part::Bulk, bulk::run),
    (Part::Loop, bulk::shell_loop::run),
    (Part::Fleet, fleet::run),
    (Part::Native, native::run),
];

/// Opens that place.
fn first_place(options: &Options, scratch: &Path, report: &mut Report) -> Result<Disk> {
    for place in places(options) {
        match place.open(FULL_IMAGE, options, scratch) {
            Ok(disk) => return Ok(disk),
            Err(error) => report.skipped(&place.name(), &format!("{error:#}")),
        }
    }
    bail!("there is nothing to measure on: specify a directory in PATCHADM_BENCH_DIR")
}

/// Writes the packages of a set where the user wants them, and says how to work with them by hand.
fn write_set(set: Set, directory: &Path, options: &Options) -> Result<()> {
    let directory = directory.join(set.name());
    if directory.exists() {
        bail!("{} is there already", directory.display());
    }
    let inputs = Inputs::write(set, options, &directory)?;
    let [base, patch, files, changes] =
        [&inputs.base, &inputs.patch, &inputs.patched_files, &inputs.changes].map(|path| path.display());
    let itself = std::env::current_exe()?;
    let (itself, base_files) = (itself.display(), inputs.base_files());
    let base_files = base_files.display();
    let mut table = table_of_sets();
    table.row(inputs.row());
    println!("{}", table.markdown());
    println!("patchadm pkgadd -n -R ROOT -d {base} {PACKAGE}");
    println!("patchadm patchadd -R ROOT {patch}");
    println!("patchadm patchrm -R ROOT {PATCH}\n");
    println!("The floor:\ncp -a {base_files}/opt FLOOR");
    println!("{itself} @floor-apply {changes} {files} FLOOR FLOOR/undo.gz");
    println!("{itself} @floor-back {changes} FLOOR FLOOR/undo.gz\n");
    Ok(())
}

/// Everything that is measured with a set, on all disks; its packages go before those of the next one are made.
fn on_set(set: Set, scratch: &Scratch, options: &Options, report: &mut Report) -> Result<()> {
    Report::progress(&format!("the set {}", set.name()));
    let directory = scratch.path().join(set.name());
    let inputs = Inputs::write(set, options, &directory)?;
    report.begin_set(set.name(), inputs.row());
    let mut rivals = None;
    if options.wants(Part::Apply) {
        rivals = Some(Rivals::build(&inputs, &directory, options, report)?);
    }
    if set == Set::Mixed && options.wants(Part::Codecs) {
        codecs::measure_all(&directory, &inputs, options, report)?;
    }
    let mut slow = Vec::new();
    let mut measured = 0;
    for place in places(options) {
        let disk = match place.open(FULL_IMAGE, options, &directory) {
            Ok(disk) => disk,
            Err(error) => {
                report.skipped(&place.name(), &format!("{error:#}"));
                continue;
            }
        };
        on_disk(&disk, &inputs, rivals.as_ref(), &mut slow, options, report)?;
        measured += 1;
        if options.small {
            break;
        }
    }
    if measured == 0 {
        bail!("there is nothing to measure on: specify a directory in PATCHADM_BENCH_DIR");
    }
    Ok(std::fs::remove_dir_all(directory)?)
}

/// All parts that have to do with a disk. The small version compares the build with itself, to see that it can be done,
/// and does so, and empties the cache, with one set.
fn on_disk(
    disk: &Disk,
    inputs: &Inputs,
    rivals: Option<&Rivals>,
    slow: &mut Vec<Role>,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let is_mixed = inputs.set == Set::Mixed;
    let itself = Path::new(env!("CARGO_BIN_EXE_patchadm"));
    if let Some(other) = options.against.as_deref().or((options.small && is_mixed).then_some(itself)) {
        against::run(disk, inputs, other, options, report)?;
    }
    if rivals.is_some() || options.wants(Part::Files) {
        apply::run(disk, inputs, rivals, slow, options, report)?;
    }
    if options.wants(Part::Cold) && (is_mixed || !options.small) {
        cold::run(disk, inputs, options, report)?;
    }
    if is_mixed { rest(disk, inputs, options, report) } else { Ok(()) }
}

/// What is measured with one set only.
fn rest(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    if options.wants(Part::Apply) {
        apply::gigabyte(disk, options, report)?;
    }
    if options.wants(Part::Growth) {
        growth::run(disk, inputs, options, report)?;
    }
    if options.wants(Part::Many) {
        many::run(disk, options, report)?;
    }
    if options.wants(Part::Reading) {
        reading::run(disk, options, report)?;
        ordering::run(disk, options, report)?;
    }
    if options.wants(Part::Family) {
        family::run(disk, inputs, options, report)?;
    }
    if options.wants(Part::Making) {
        making::run(disk, inputs, options, report)?;
    }
    if options.wants(Part::Stages) {
        stages::run(disk, inputs, options, report)?;
    }
    if options.wants(Part::Libraries) {
        libraries::run(disk, options, report)?;
    }
    if options.wants(Part::Memory) {
        memory::run(disk, options, report)?;
    }
    Ok(())
}

/// Bytes of the images, which are sparse. mkfs.xfs makes none below 300 MiB.
const FULL_IMAGE: u64 = 12 << 30;
/// ext4 has inodes for a million files in one of these only.
const LARGE_IMAGE: u64 = 20 << 30;
const SMALL_IMAGE: u64 = 512 << 20;

/// Where to measure.
enum Place {
    Directory(OsString),
    Image(&'static str),
}

impl Place {
    fn name(&self) -> String {
        match self {
            Self::Directory(path) => path.to_string_lossy().into_owned(),
            Self::Image(file_system) => format!("{file_system} image"),
        }
    }

    /// Makes an image of so many bytes; a small one in the small version.
    fn open(&self, size: u64, options: &Options, scratch: &Path) -> Result<Disk> {
        match self {
            Self::Directory(path) => Disk::directory(Path::new(path), scratch),
            Self::Image(file_system) if options.small => {
                // In memory, where it can be: no time is judged, so nobody need wait for a disk.
                let store = Some(Path::new("/dev/shm")).filter(|memory| memory.is_dir()).unwrap_or(scratch);
                Disk::image(file_system, SMALL_IMAGE, store, scratch)
            }
            Self::Image(file_system) => Disk::image(file_system, size, scratch, scratch),
        }
    }
}

/// The directory that the user named; as root images; the small version takes one image, or a directory of its own.
fn places(options: &Options) -> Vec<Place> {
    if let Some(path) = std::env::var_os("PATCHADM_BENCH_DIR") {
        return vec![Place::Directory(path)];
    }
    let wanted = |name: &&str| options.only.as_deref().is_none_or(|only| only == *name);
    let images = FILE_SYSTEMS.into_iter().filter(wanted).filter(|_| is_root()).map(Place::Image);
    if options.small {
        return images.take(1).chain([Place::Directory(env!("CARGO_TARGET_TMPDIR").into())]).collect();
    }
    images.collect()
}

fn head(options: &Options, report: &mut Report) {
    report.say(&format!("# Benchmark\n\n{}\n", machine::describe()));
    if options.small {
        report.say("The small version: times mean nothing.\n");
    } else {
        let words = std::env::args().skip(1).filter(|word| word != "--bench");
        let command =
            words.fold("cargo bench --bench benchmark --".to_owned(), |line, word| line + " " + &word);
        let (command, runs) = (command.trim_end_matches(" --"), options.runs());
        report.say(&format!("Made by `{command}`; medians of {runs} runs unless stated otherwise."));
        let below = file_system_of(Path::new(env!("CARGO_TARGET_TMPDIR")));
        report.say(&format!("The packages and any images are on {below}."));
        let worth = machine::worth_of_cores();
        report.say(&format!("All cores at once do {worth:.2} times the work of one.\n"));
    }
}
