//! `patchadm demo`: patches and restores a small root of real packages, step by step.
//!
//! Every step is the operation that the printed command calls; nothing is simulated. Exit 0 requires the tree after all
//! backouts to have its first checksum.

mod directory;
mod fingerprint;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use directory::{DemoDirectory, DemoPatch, PACKAGES, PATCHES, PROGRAM, REFUSED};
use fingerprint::{Fingerprint, fingerprint};
use patchadm_cli::arguments::{ColourOption, HelpOption, QuietOption, VersionOption, parse};
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::failure::{Undone, verb_code};
use patchadm_cli::reply::{Exit, Reply};
use patchadm_core::operation::failure::Failure;
use patchadm_core::operation::packages::add::{AddRequest, add_packages};
use patchadm_core::operation::packages::report::SilentObserver;
use patchadm_core::operation::patches::apply::ApplyRequest;
use patchadm_core::operation::patches::back_out::{BackOutRequest, back_out_patches};
use patchadm_core::operation::patches::offered::apply_patches;
use patchadm_core::operation::patches::outcome::PatchOutcome;
use patchadm_core::operation::queries::packages::parameters;
use patchadm_planning::plan::refusal::Command;
use patchadm_planning::plan::{Action, Body, Plan};
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm demo [dir]";

/// Build a small root, patch it, remove the patches, and verify that the root is restored
#[derive(clap::Parser)]
struct DemoArgs {
    #[command(flatten)]
    _quiet: QuietOption,
    #[command(flatten)]
    _colour: ColourOption,
    #[command(flatten)]
    _help: HelpOption,
    #[command(flatten)]
    _version: VersionOption,
    /// An empty or new directory for the root [default: patchadm-demo]
    #[arg(value_name = "DIR")]
    directory: Option<PathBuf>,
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: DemoArgs = parse(call, USAGE)?;
    let files = match &args.directory {
        Some(directory) => DemoDirectory::make(directory)?,
        None => DemoDirectory::make_new(Path::new("."))?,
    };
    let root = Root::open(&files.root())?;
    Demonstration { call, files, root, printed: BTreeSet::new(), step: 0 }.run()?;
    Ok(Reply::silent(Exit::OK))
}

struct Demonstration<'a> {
    call: &'a mut Invocation,
    files: DemoDirectory,
    root: Root,
    printed: BTreeSet<String>,
    step: u32,
}

impl Demonstration<'_> {
    fn run(mut self) -> anyhow::Result<()> {
        self.opening()?;
        self.install()?;
        let before = fingerprint(&self.root)?;
        self.checksum("The tree before any patch", before)?;
        for patch in &PATCHES {
            self.apply(patch)?;
        }
        let patched = fingerprint(&self.root)?;
        self.checksum("The tree with the patches", patched)?;
        self.refused_patch()?;
        self.refused_backout()?;
        for patch in PATCHES.iter().rev() {
            self.back_out(patch)?;
        }
        let after = fingerprint(&self.root)?;
        self.proof(before, patched, after)
    }

    fn opening(&mut self) -> anyhow::Result<()> {
        let directory = self.files.directory.display().to_string();
        self.print(&format!(
            "The files of this demo are in {directory}\n  \
             packages/  two packages of a web server that does not exist, as a vendor delivers them\n  \
             patches/   patches for them: sparse packages with only what changed\n  \
             root/      an empty root, which stands for a machine"
        ))
    }

    fn install(&mut self) -> anyhow::Result<()> {
        self.print_step(
            "The packages are installed.",
            &format!("pkgadd -n -R root -d packages {}", PACKAGES.join(" ")),
        )?;
        let request = AddRequest {
            device: self.files.spool(),
            packages: PACKAGES.iter().map(ToString::to_string).collect(),
            ..AddRequest::default()
        };
        let root = self.root.clone();
        let report = self.call.with_caller("pkgadd", 0, |caller| {
            add_packages(&root, &request, caller, &mut SilentObserver)
        })??;
        for added in report.packages {
            let receipt = added.result?;
            let objects =
                added.installation.map_or(0, |installation| installation.intended.plan.changes.len());
            self.print(&format!("   {}: installed, {objects} objects", added.name))?;
            self.notes(&receipt.notes)?;
        }
        Ok(())
    }

    fn apply(&mut self, patch: &DemoPatch) -> anyhow::Result<()> {
        let title = format!("Patch {} is applied ({}).", patch.id, patch.synopsis);
        self.print_step(&title, &format!("patchadd -R root patches/{}", patch.id))?;
        let PatchOutcome { plan, result, .. } = self.try_to_apply(patch)?;
        let receipt = result?;
        self.changes(plan.as_ref())?;
        self.notes(&receipt.map(|receipt| receipt.notes).unwrap_or_default())?;
        self.lists()
    }

    fn refused_patch(&mut self) -> anyhow::Result<()> {
        let patch = &REFUSED;
        let title = format!("Patch {} is refused ({}).", patch.id, patch.synopsis);
        self.print_step(&title, &format!("patchadd -R root patches/{}", patch.id))?;
        match self.try_to_apply(patch)?.result {
            Err(failed) => self.refusal(Command::Patchadd, patch.id, &failed),
            Ok(_) => anyhow::bail!("patch {} was applied, although a required patch is missing", patch.id),
        }
    }

    fn refused_backout(&mut self) -> anyhow::Result<()> {
        let [first, ..] = &PATCHES;
        let title = format!("Patch {} cannot be removed while its next revision is applied.", first.id);
        self.print_step(&title, &format!("patchrm -R root {}", first.id))?;
        match self.try_to_back_out(first)?.result {
            Err(failed) => self.refusal(Command::Patchrm, first.id, &failed),
            Ok(_) => anyhow::bail!("patch {} was removed under its next revision", first.id),
        }
    }

    fn back_out(&mut self, patch: &DemoPatch) -> anyhow::Result<()> {
        let title = format!("Patch {} is backed out.", patch.id);
        self.print_step(&title, &format!("patchrm -R root {}", patch.id))?;
        let PatchOutcome { plan, result, .. } = self.try_to_back_out(patch)?;
        let receipt = result?;
        self.changes(plan.as_ref())?;
        self.notes(&receipt.map(|receipt| receipt.notes).unwrap_or_default())?;
        self.lists()
    }

    fn try_to_apply(&mut self, patch: &DemoPatch) -> anyhow::Result<PatchOutcome> {
        let request = ApplyRequest { patches: vec![self.files.patch(patch)], ..ApplyRequest::default() };
        let root = self.root.clone();
        let report =
            self.call.with_caller("patchadd", 0, |caller| apply_patches(&root, &request, None, caller))??;
        only(report.patches)
    }

    fn try_to_back_out(&mut self, patch: &DemoPatch) -> anyhow::Result<PatchOutcome> {
        let request = BackOutRequest { ids: vec![patch.id.to_owned()], ..BackOutRequest::default() };
        let root = self.root.clone();
        let report =
            self.call.with_caller("patchrm", 0, |caller| back_out_patches(&root, &request, caller))??;
        only(report.patches)
    }

    fn proof(&mut self, before: Fingerprint, patched: Fingerprint, after: Fingerprint) -> anyhow::Result<()> {
        self.step += 1;
        self.print(&format!(
            "\n{}. The proof: one BLAKE3 checksum of all objects outside var/sadm, over their paths, types, modes,\n   \
             owners, times (except of directories), contents, links and attributes.",
            self.step
        ))?;
        for (when, seen) in [("before", before), ("patched", patched), ("after", after)] {
            self.print(&format!("   {when:<8} {} ({} objects)", seen.b3, seen.objects))?;
        }
        if before != after || before == patched {
            anyhow::bail!("the tree differs from the tree before the patches: please report it");
        }
        self.print("   The tree is exactly as before, including all attributes.")?;
        self.go_on()
    }

    /// Prints commands with real paths, as this program was called.
    fn go_on(&mut self) -> anyhow::Result<()> {
        let program = quoted(&self.call.surroundings.called);
        let root = quoted(&self.files.root());
        let file = quoted(&self.files.root().join(PROGRAM));
        let [first, second, ..] = &PATCHES;
        let (one, two) = (quoted(&self.files.patch(first)), quoted(&self.files.patch(second)));
        let (id, later) = (first.id, second.id);
        let lines = [
            "\nTry it yourself:".to_owned(),
            format!("  {program} -R {root} plan {one}"),
            format!("  {program} -R {root} add {one}"),
            format!("  {program} -R {root} add {two}"),
            format!("  {program} -R {root} list"),
            format!("  {program} -R {root} show {id}"),
            format!("  {file}"),
            format!("  {program} pkgparam -R {root} ACMEweb PATCHLIST"),
            format!("  {program} pkgchk -R {root}"),
            format!("  {program} -R {root} remove {later} {id}"),
            format!("When you are done:\n  rm -r {}", quoted(&self.files.directory)),
        ];
        self.print(&lines.join("\n"))
    }

    fn print_step(&mut self, title: &str, command: &str) -> anyhow::Result<()> {
        self.step += 1;
        self.print(&format!("\n{}. {title}\n   $ {command}", self.step))
    }

    fn changes(&mut self, plan: Option<&Plan>) -> anyhow::Result<()> {
        for change in plan.iter().flat_map(|plan| &plan.changes) {
            self.print(&format!("   {:<9} {}", word(&change.action), change.path))?;
        }
        self.notes(&plan.map(|plan| plan.notes.clone()).unwrap_or_default())
    }

    /// Prints each note once in the whole demonstration.
    fn notes(&mut self, notes: &[String]) -> anyhow::Result<()> {
        for note in notes {
            if self.printed.insert(note.clone()) {
                self.print(&format!("   note: {note}"))?;
            }
        }
        Ok(())
    }

    /// Prints PATCHLIST of each package.
    fn lists(&mut self) -> anyhow::Result<()> {
        for name in PACKAGES {
            let params = parameters(&self.root, name)?.unwrap_or_default();
            let list = params.text("PATCHLIST").into_owned();
            let list = if list.is_empty() { "(none)" } else { &list };
            self.print(&format!("   $ pkgparam -R root {name} PATCHLIST\n   {list}"))?;
        }
        Ok(())
    }

    fn refusal(&mut self, command: Command, id: &str, failed: &Failure) -> anyhow::Result<()> {
        let undone = Undone::of(self.root.prefix(), command, &format!("patch {id}"), failed);
        for line in undone.text().lines() {
            self.print(&format!("   {line}"))?;
        }
        self.print(&format!("   (exit code {})", verb_code(command, failed).verb_code()))
    }

    fn checksum(&mut self, what: &str, seen: Fingerprint) -> anyhow::Result<()> {
        self.print(&format!("   {what}: {} objects, checksum {}", seen.objects, seen.b3))
    }

    fn print(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.call.output.line(text)?)
    }
}

fn only<T>(patches: Vec<T>) -> anyhow::Result<T> {
    patches.into_iter().next().ok_or_else(|| anyhow::anyhow!("the operation reports on no patch"))
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Add(_) => "added",
        Action::Replace(new) if matches!(new.body, Body::Link(_)) => "relinked",
        Action::Replace(_) => "replaced",
        Action::Delete => "deleted",
        Action::Attributes(_) => "changed",
        Action::RemoveDirectory => "removed",
    }
}

/// Quotes a path for a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_the_paths_back() {
        assert_eq!(quoted(Path::new("/tmp/demo-1")), "/tmp/demo-1");
        assert_eq!(quoted(Path::new("/tmp/it's here")), r"'/tmp/it'\''s here'");
    }
}
