//! The benchmark: the costs of patchadm, beside the least that a program can do and beside other tools.
//!
//! ```text
//! cargo build --profile bench --locked               all programs: the benchmark builds patchadm alone, which runs the others
//! cargo bench --bench benchmark                      everything; as root on ext4 and xfs images of its own
//! cargo bench --bench benchmark -- patch start       only these sections of docs/benchmark.md
//! cargo bench --bench benchmark -- patch --write-docs     and writes their figures there; those of other sections stay
//! cargo bench --bench benchmark -- debian --branch RELEASE STABLE     directories of Debian packages; also for `making`
//! cargo bench --bench benchmark -- --only ext4       on this file system only
//! cargo bench --bench benchmark -- --runs 11         more runs than 5
//! cargo bench --bench benchmark -- --small           seconds: does every section still work? Judges no time
//! cargo bench --bench benchmark -- --against OTHER_BINARY     this build beside another, in 21 pairs (`--pairs N`)
//! cargo bench --bench benchmark -- --write-sets DIR  writes package and patch, for profiles made by hand
//! PATCHADM_BENCH_DIR=/dir cargo bench --bench benchmark     without root, or on a disk of your choice
//! PATCHADM_BENCH_PROGRAM=/old/patchadm cargo bench --bench benchmark     another build, for before and after
//! ```
//!
//! Most sections measure with files that follow from a fixed seed ([`slices`]). Every command is a whole process that
//! an intermediate process runs and accounts for ([`measure`] says how each figure is taken). Compared commands run in
//! turns, so that the noise of the machine affects all of them. Each change and its reversal first run once uncounted,
//! and the tree is compared with the expected one: a contender with another result fails (ours and the floors) or is
//! left out (others).
//!
//! The page cache is warm: packages and patches were just written, and are used again and again. They are in
//! `target/tmp`, not on the measured disk, so that no tool can clone files instead of copying them.
//!
//! Images are sparse files in `target/tmp`, mounted in a private mount namespace and unlinked at once, so that nothing
//! stays mounted however it ends ([`disk`]). They need root, `mkfs.ext4` and `mkfs.xfs`; flushes are
//! known on images only. [`rivals`] says what dpkg, rpm and rsync have to do; whatever is not installed is skipped, by name.

#![allow(clippy::print_stdout, clippy::print_stderr)] // a benchmark talks to who started it
#![allow(clippy::disallowed_methods)] // it makes its own trees, beside the door
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // figures for people
#![allow(clippy::format_push_string, clippy::format_collect)] // lists and reports need not be fast

/// Two builds of the program.
mod against;
/// Bulk builds.
mod bulk;
/// Other tools, side by side.
mod compare;
mod contender;
/// A real update.
mod debian;
/// Packages and patches, written.
mod delivery;
/// Images and directories to measure on.
mod disk;
/// Depots.
mod downloads;
/// Installing, checking, making, moving packages.
mod family;
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
/// Kept libraries.
mod libraries;
/// Command lines.
mod line;
mod machine;
/// Making, checking, signing and publishing patches.
mod making;
/// The cost of a command.
mod measure;
mod options;
/// The page of figures.
mod page;
/// One patch.
mod patch;
/// Pseudo-random numbers.
mod random;
/// Reading files.
mod reader;
/// Two real releases.
mod releases;
mod report;
/// dpkg, rpm, rsync.
mod rivals;
/// Directories of one run.
mod scratch;
/// Generated object code and text.
mod slices;
/// Undo data and memory.
mod space;
/// A staged tree, promoted.
mod stages;
/// Start-up, queries, hooks.
mod start;
/// Databases that are written, not installed.
mod synthetic;
mod table;
/// System calls and phases of a run.
mod trace;
/// Switch windows.
mod transition;
/// The content of a tree, and the times of its changes.
mod tree;
/// Files and their versions.
mod workload;

use std::cell::OnceCell;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;

use debian::Update;
use delivery::{PACKAGE, PATCH};
use disk::{Disk, FILE_SYSTEMS, is_root, leave_mounts_of_others};
use inputs::Inputs;
use options::Options;
use page::Section;
use report::Report;
use scratch::Scratch;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let result = match inner::run(&arguments) {
        Ok(true) => Ok(()),
        // `cargo test --all-targets` also runs the benchmark, with the filters and options of tests.
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
        return write_set(directory, options);
    }
    let scratch = Scratch::new(Path::new(env!("CARGO_TARGET_TMPDIR")), "data")?;
    let mut run =
        Run { scratch: scratch.path(), inputs: OnceCell::new(), options, report: Report::new(options.small) };
    if let Some(other) = &options.against {
        return run.against(other);
    }
    for section in options.sections() {
        run.report.begin(section);
        run.section(section)?;
        run.report.end(options);
        if options.write_docs {
            run.report.write(Path::new(env!("CARGO_MANIFEST_DIR")))?;
        }
    }
    if options.small {
        run.against(Path::new(env!("CARGO_BIN_EXE_patchadm")))?;
        println!("Everything works.");
    }
    Ok(())
}

/// A run of the benchmark.
struct Run<'a> {
    scratch: &'a Path,
    /// Inputs of most sections, written when the first of these begins.
    inputs: OnceCell<Inputs>,
    options: &'a Options,
    report: Report,
}

/// The disks that a section measures on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Disks {
    First,
    All,
}

impl Run<'_> {
    fn section(&mut self, section: Section) -> Result<()> {
        let (scratch, options) = (self.scratch, self.options);
        match section {
            Section::Patch => self.with_inputs(Disks::All, patch::run),
            Section::Debian => {
                let Some(update) = Update::write(scratch, options, &mut self.report)? else { return Ok(()) };
                self.on(Disks::All, |disk, run| update.measure(disk, options, &mut run.report))?;
                Update::clear(scratch)
            }
            Section::Transition => self.with_inputs(Disks::All, transition::run),
            Section::Space => self.with_inputs(Disks::First, space::run),
            Section::Growth => self.with_inputs(Disks::First, growth::run),
            Section::Compare => self.with_inputs(Disks::All, |disk, inputs, options, report| {
                compare::run(disk, inputs, scratch, options, report)
            }),
            Section::Start => self.alone(start::run),
            Section::Downloads => self.alone(downloads::run),
            Section::Making => self.with_inputs(Disks::First, making::run),
            Section::Stages => self.with_inputs(Disks::First, stages::run),
            Section::Libs => self.alone(libraries::run),
            Section::Bulk => self.alone(bulk::run),
            Section::Fleet => self.alone(fleet::run),
        }
    }

    /// Compares this build with another one.
    fn against(&mut self, other: &Path) -> Result<()> {
        self.on(Disks::All, |disk, run| against::run(disk, run.inputs()?, other, run.options))
    }

    fn inputs(&self) -> Result<&Inputs> {
        if let Some(inputs) = self.inputs.get() {
            return Ok(inputs);
        }
        Report::progress("writing package and patch");
        let inputs = Inputs::made(self.options, &self.scratch.join("made"))?;
        Ok(self.inputs.get_or_init(|| inputs))
    }

    fn with_inputs(
        &mut self,
        disks: Disks,
        measure: impl Fn(&Disk, &Inputs, &Options, &mut Report) -> Result<()>,
    ) -> Result<()> {
        self.inputs()?;
        self.on(disks, |disk, run| {
            let inputs = run.inputs.get().context("the packages were written")?;
            measure(disk, inputs, run.options, &mut run.report)
        })
    }

    fn alone(&mut self, measure: fn(&Disk, &Options, &mut Report) -> Result<()>) -> Result<()> {
        self.on(Disks::First, |disk, run| measure(disk, run.options, &mut run.report))
    }

    /// Measures on the disks that can be opened. The small version measures only on the first of them.
    fn on(&mut self, disks: Disks, measure: impl Fn(&Disk, &mut Self) -> Result<()>) -> Result<()> {
        let mut is_measured = false;
        for place in places(self.options) {
            match place.open(self.options, self.scratch) {
                Ok(disk) => {
                    self.report.on(&disk);
                    measure(&disk, self)?;
                    is_measured = true;
                }
                Err(error) => self.report.skipped(&place.name(), &format!("{error:#}")),
            }
            if is_measured && (disks == Disks::First || self.options.small) {
                break;
            }
        }
        if !is_measured {
            bail!("there is nothing to measure on: specify a directory in PATCHADM_BENCH_DIR");
        }
        Ok(())
    }
}

/// Writes the package and the patch to a directory of the user, and prints commands that use them.
fn write_set(directory: &Path, options: &Options) -> Result<()> {
    if directory.exists() {
        bail!("{} is there already", directory.display());
    }
    let inputs = Inputs::made(options, directory)?;
    let [base, patch, files, changes] =
        [&inputs.base, &inputs.patch, &inputs.patched_files, &inputs.changes].map(|path| path.display());
    let itself = std::env::current_exe()?;
    let (itself, base_files) = (itself.display(), inputs.base_files());
    let base_files = base_files.display();
    println!("patchadm pkgadd -n -R ROOT -d {base} {PACKAGE}");
    println!("patchadm add -R ROOT {patch}");
    println!("patchadm remove -R ROOT {PATCH}\n");
    println!("The floor:\ncp -a {base_files}/opt FLOOR");
    println!("{itself} @floor-apply {changes} {files} FLOOR FLOOR/undo.gz");
    println!("{itself} @floor-back {changes} FLOOR FLOOR/undo.gz\n");
    Ok(())
}

/// Bytes of the images, which are sparse. mkfs.xfs needs at least 300 MiB.
const IMAGE: u64 = 12 << 30;
const SMALL_IMAGE: u64 = 512 << 20;

/// A place to measure, not opened yet.
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

    /// Opens a directory, or makes an image: a small one in the small version.
    fn open(&self, options: &Options, scratch: &Path) -> Result<Disk> {
        match self {
            Self::Directory(path) => Disk::directory(Path::new(path), scratch),
            Self::Image(file_system) if options.small => {
                // In memory if possible: no time is judged, so there is no reason to wait for a disk.
                let store = Some(Path::new("/dev/shm")).filter(|memory| memory.is_dir()).unwrap_or(scratch);
                Disk::image(file_system, SMALL_IMAGE, store, scratch)
            }
            Self::Image(file_system) => Disk::image(file_system, IMAGE, scratch, scratch),
        }
    }
}

/// Returns the directory that the user named, else images if the user is root. The small version takes one image, or a
/// directory of its own.
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
