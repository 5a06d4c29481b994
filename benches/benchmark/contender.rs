//! The contenders that are measured side by side. Each has its own root on the disk, a command that changes it, and a
//! command that reverts the change.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::delivery::{PACKAGE, PATCH};
use crate::disk::Disk;
use crate::inputs::{Inputs, fresh};
use crate::line::Line;
use crate::measure::{Costs, measure};
use crate::options::Options;
use crate::reader::list;
use crate::report::Report;
use crate::tree::{Clock, Tree, switch_window};
use crate::workload::Version;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Floor,
    LinkFloor,
    Patchadm,
    Files,
    PlainArchive,
    OtherBuild,
    Dpkg,
    DpkgChanged,
    Rpm,
    RpmChanged,
    Rsync,
    Snapshot,
    OsTree,
}

impl Role {
    /// True for the floors, and for the program under test with each form of undo data. The comparison needs all of
    /// them.
    pub(crate) fn is_required(self) -> bool {
        matches!(self, Self::Floor | Self::LinkFloor | Self::Patchadm | Self::Files | Self::PlainArchive)
    }

    /// True if it is neither a floor nor a build of the program.
    pub(crate) fn is_other(self) -> bool {
        !self.is_required() && self != Self::OtherBuild
    }

    /// Returns its name in tables.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Floor => "the gzip floor",
            Self::LinkFloor => "the link floor",
            Self::Patchadm => "patchadm",
            Self::Files => "patchadm, files",
            Self::PlainArchive => "patchadm, plain archive",
            Self::OtherBuild => "the other build",
            Self::Dpkg => "dpkg -i, full package",
            Self::DpkgChanged => "dpkg -i, changed files",
            Self::Rpm => "rpm -U, full package",
            Self::RpmChanged => "rpm -U, changed files",
            Self::Rsync => "rsync --backup",
            Self::Snapshot => "snapshot, rsync",
            Self::OsTree => "OSTree, pull and checkout",
        }
    }
}

/// A tool that is measured, with its root and its commands.
pub(crate) struct Contender {
    pub(crate) role: Role,
    pub(crate) root: PathBuf,
    pub(crate) apply: Line,
    pub(crate) back_out: Line,
    /// The file or directory in which it keeps replaced files.
    pub(crate) undo: Option<PathBuf>,
}

/// Measurements of a contender.
#[derive(Default)]
pub(crate) struct Measured {
    pub(crate) apply: Costs,
    pub(crate) back_out: Costs,
    pub(crate) windows: Vec<f64>,
    pub(crate) windows_back: Vec<f64>,
    /// Bytes of the undo data.
    pub(crate) undo: Option<f64>,
}

impl Contender {
    /// Applies the change and reverts it.
    pub(crate) fn round(&self, disk: &Disk, inputs: &Inputs, measured: &mut Measured) -> Result<()> {
        self.round_with(disk, inputs, measured, &mut |_, _| Ok(()))
    }

    /// Like [`round`](Self::round), but also checks the tree after each step.
    pub(crate) fn checked_round(&self, disk: &Disk, inputs: &Inputs, measured: &mut Measured) -> Result<()> {
        self.round_with(disk, inputs, measured, &mut |version, after| {
            let expected = inputs.expected(version);
            Tree::of(&self.root)?.assert_same(expected, &format!("{after} of {}", self.role.name()))
        })
    }

    fn round_with(
        &self,
        disk: &Disk,
        inputs: &Inputs,
        measured: &mut Measured,
        check: &mut dyn FnMut(Version, &str) -> Result<()>,
    ) -> Result<()> {
        self.change(disk, inputs, measured)?;
        check(Version::New, "the change")?;
        self.take_back(disk, inputs, measured)?;
        check(Version::Old, "the way back")
    }

    /// Applies the change.
    pub(crate) fn change(&self, disk: &Disk, inputs: &Inputs, measured: &mut Measured) -> Result<()> {
        measured.apply.0.push(measure(disk, &self.apply)?);
        let changed = inputs.workload.delivered();
        measured.windows.push(switch_window(&self.root, changed, disk.clock())?);
        measured.undo = self.undo.as_ref().map(size_of).transpose()?;
        Ok(())
    }

    /// Reverts the change.
    pub(crate) fn take_back(&self, disk: &Disk, inputs: &Inputs, measured: &mut Measured) -> Result<()> {
        measured.back_out.0.push(measure(disk, &self.back_out)?);
        let workload = &inputs.workload;
        let back = workload.replaced.iter().chain(&workload.deleted).map(|&number| &workload.files[number]);
        measured.windows_back.push(switch_window(&self.root, back, self.clock_back(disk))?);
        Ok(())
    }

    /// Returns the clock of the windows of backouts. If old files come back as links to the undo data, its removal after
    /// the switch changes their inodes once more.
    fn clock_back(&self, disk: &Disk) -> Clock {
        match self.role {
            Role::LinkFloor | Role::Files => Clock::Directory,
            _ => disk.clock(),
        }
    }
}

/// Returns the floor that saves old files in an archive.
pub(crate) fn floor(disk: &Disk, inputs: &Inputs) -> Result<Contender> {
    floor_that_keeps(Role::Floor, "undo.gz", ["@floor-apply", "@floor-back"], disk, inputs)
}

/// Returns the floor that saves old files as hard links.
pub(crate) fn link_floor(disk: &Disk, inputs: &Inputs) -> Result<Contender> {
    floor_that_keeps(Role::LinkFloor, "saved", ["@link-floor-apply", "@link-floor-back"], disk, inputs)
}

/// Returns a floor that keeps old files in `undo`, below its root.
fn floor_that_keeps(
    role: Role,
    undo: &str,
    [apply, back_out]: [&str; 2],
    disk: &Disk,
    inputs: &Inputs,
) -> Result<Contender> {
    let root = disk.at(&directory_of(role));
    fresh(&root)?;
    Line::new("cp").arg("-a").arg(inputs.base_files().join("opt")).arg(&root).run()?;
    let undo = root.join(undo);
    let apply = Line::inner(apply)?.arg(&inputs.changes).arg(&inputs.patched_files).arg(&root).arg(&undo);
    let back_out = Line::inner(back_out)?.arg(&inputs.changes).arg(&root).arg(&undo);
    Ok(Contender { role, root, apply, back_out, undo: Some(undo) })
}

fn directory_of(role: Role) -> String {
    role.name().replace([' ', ','], "-")
}

/// Returns the program under test.
pub(crate) fn patchadm(disk: &Disk, inputs: &Inputs) -> Result<Contender> {
    build(&Line::patchadm(), Role::Patchadm, disk, inputs)
}

/// Returns the program with files as undo data, as set in the policy of its root.
pub(crate) fn patchadm_files(disk: &Disk, inputs: &Inputs) -> Result<Contender> {
    let contender = build(&Line::patchadm(), Role::Files, disk, inputs)?;
    set_undo_format(&contender.root, "files")?;
    let undo = contender.root.join("var/sadm/patchadm/undo");
    Ok(Contender { undo: Some(undo), ..contender })
}

/// Returns the program with uncompressed undo archives.
pub(crate) fn patchadm_plain(disk: &Disk, inputs: &Inputs) -> Result<Contender> {
    let contender = build(&Line::patchadm(), Role::PlainArchive, disk, inputs)?;
    set_undo_format(&contender.root, "none")?;
    Ok(Contender { undo: None, ..contender })
}

/// Sets the form of undo data in the policy of a root.
pub(crate) fn set_undo_format(root: &Path, format: &str) -> Result<()> {
    let directory = root.join("etc/patchadm");
    fs::create_dir_all(&directory)?;
    Ok(fs::write(directory.join("policy"), format!("undo_format={format}\n"))?)
}

/// Returns a build of the program, with a root that this build installed.
pub(crate) fn build(program: &Line, role: Role, disk: &Disk, inputs: &Inputs) -> Result<Contender> {
    let root = disk.at(&directory_of(role));
    install_base(program, inputs, &root)?;
    let apply = program.clone().words("patchadd -R").arg(&root).arg(&inputs.patch);
    let back_out = program.clone().words("patchrm -R").arg(&root).arg(PATCH);
    let undo = root.join("var/sadm/pkg").join(PACKAGE).join("save").join(PATCH).join("undo.gz");
    Ok(Contender { role, root, apply, back_out, undo: Some(undo) })
}

/// Installs the base package below a new root with a build of the program.
pub(crate) fn install_base(program: &Line, inputs: &Inputs, root: &PathBuf) -> Result<()> {
    fresh(root)?;
    program.clone().words("pkgadd -n -R").arg(root).arg("-d").arg(&inputs.base).arg(PACKAGE).run()
}

fn size_of(path: &PathBuf) -> Result<f64> {
    let state = fs::metadata(path).with_context(|| format!("there is no undo data at {}", path.display()))?;
    if state.is_file() {
        return Ok(state.len() as f64);
    }
    let mut files = Vec::new();
    list(path, &mut files)?;
    files.iter().map(|file| Ok(fs::metadata(file)?.len() as f64)).sum()
}

/// Returns the measurements of a contender.
pub(crate) fn of(all: &[(Role, Measured)], role: Role) -> Option<&Measured> {
    all.iter().find(|(who, _)| *who == role).map(|(_, measured)| measured)
}

/// Measures contenders in turns. The first round is checked and not counted. If a contender fails it, the contender is
/// left out, or the benchmark ends if the contender is required.
pub(crate) fn rounds(
    disk: &Disk,
    inputs: &Inputs,
    contenders: &[Contender],
    options: &Options,
    report: &mut Report,
) -> Result<Vec<(Role, Measured)>> {
    let mut all = Vec::new();
    for contender in contenders {
        Report::progress(&format!("{}, checked", contender.role.name()));
        match contender.checked_round(disk, inputs, &mut Measured::default()) {
            Ok(()) => all.push((contender, Measured::default())),
            Err(error) if contender.role.is_required() => return Err(error),
            Err(error) => report.failed(&format!("{}, {}", contender.role.name(), disk.word()), &error),
        }
    }
    for run in 1..=options.runs() {
        Report::progress(&format!("run {run} of {}", options.runs()));
        for (contender, measured) in &mut all {
            contender.round(disk, inputs, measured)?;
        }
    }
    Ok(all.into_iter().map(|(contender, measured)| (contender.role, measured)).collect())
}

/// Removes the roots of contenders.
pub(crate) fn clear(contenders: &[Contender]) -> Result<()> {
    contenders.iter().try_for_each(|contender| Ok(fs::remove_dir_all(&contender.root)?))
}
