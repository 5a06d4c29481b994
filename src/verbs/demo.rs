//! `patchadm demo`: patches and restores a small root of real packages, step by step.
//!
//! Every step runs the printed command of this program; nothing is simulated. Exit 0 requires the tree after all
//! backouts to have its first checksum.

mod directory;
mod fingerprint;

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use directory::{DemoDirectory, DemoPatch, PACKAGES, PATCHES, REFUSED, SERVER};
use fingerprint::{Fingerprint, fingerprint};
use patchadm_cli::arguments::{ColourOption, HelpOption, QuietOption, VersionOption, parse};
use patchadm_cli::call::{Invocation, PROGRAM};
use patchadm_cli::reply::words::counted;
use patchadm_cli::reply::{Exit, Reply};
use patchadm_rootfs::Root;

const USAGE: &str = "patchadm demo [dir]";

const OK: i32 = 0;
/// The exit code of a refusal.
const REFUSED_CODE: i32 = 3;

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
    Demonstration { call, files, root, step: 0 }.run()?;
    Ok(Reply::silent(Exit::OK))
}

struct Demonstration<'a> {
    call: &'a mut Invocation,
    files: DemoDirectory,
    root: Root,
    step: u32,
}

impl Demonstration<'_> {
    fn run(mut self) -> anyhow::Result<()> {
        self.opening()?;
        self.install()?;
        let before = fingerprint(&self.root)?;
        self.checksum("The tree before any patch", before)?;
        for patch in &PATCHES {
            self.print_step(&format!("Patch {} is applied ({}).", patch.id, patch.synopsis))?;
            self.change(&["add", "-v", &format!("patches/{}", patch.id)])?;
        }
        let patched = fingerprint(&self.root)?;
        self.checksum("The tree with the patches", patched)?;
        self.refusals()?;
        for patch in PATCHES.iter().rev() {
            self.print_step(&format!("Patch {} is removed.", patch.id))?;
            self.change(&["remove", "-v", patch.id])?;
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
             root/      an empty root, which stands for a machine\n\
             The commands of the steps run in this directory."
        ))
    }

    fn install(&mut self) -> anyhow::Result<()> {
        self.print_step("The packages are installed.")?;
        let words = ["pkgadd", "-n", "-R", "root", "-d", "packages"];
        self.show(OK, &[&words[..], &PACKAGES].concat())
    }

    fn refusals(&mut self) -> anyhow::Result<()> {
        let (DemoPatch { id, synopsis }, [first, ..]) = (&REFUSED, &PATCHES);
        self.print_step(&format!("Patch {id} is refused ({synopsis})."))?;
        self.show(REFUSED_CODE, &["-R", "root", "add", &format!("patches/{id}")])?;
        let id = first.id;
        self.print_step(&format!("Patch {id} cannot be removed while its next revision is applied."))?;
        self.show(REFUSED_CODE, &["-R", "root", "remove", id])
    }

    fn change(&mut self, words: &[&str]) -> anyhow::Result<()> {
        self.show(OK, &[&["-R", "root"][..], words].concat())?;
        self.show(OK, &["-R", "root", "list"])
    }

    /// Prints a command of this program and its output; fails if the command does not end with `expected`.
    fn show(&mut self, expected: i32, words: &[&str]) -> anyhow::Result<()> {
        let typed = format!("{PROGRAM} {}", words.join(" "));
        self.print(&format!("   $ {typed}"))?;
        let (mut printed, end) = io::pipe()?;
        let mut child = Command::new("/proc/self/exe")
            .arg0(PROGRAM)
            .args(words)
            .current_dir(&self.files.directory)
            .env_remove("PKG_INSTALL_ROOT")
            .stdin(Stdio::null())
            .stdout(end.try_clone()?)
            .stderr(end)
            .spawn()
            .map_err(|error| anyhow::anyhow!("cannot run `{typed}`, which needs /proc and /dev: {error}"))?;
        let mut text = Vec::new();
        let read = printed.read_to_end(&mut text);
        let ended = child.wait()?;
        read?;
        for line in String::from_utf8_lossy(&text).lines() {
            self.print(format!("   {line}").trim_end())?;
        }
        anyhow::ensure!(
            ended.code() == Some(expected),
            "`{typed}` in {} ended with {ended}, not with exit code {expected}: please report it",
            self.files.directory.display()
        );
        if expected == OK { Ok(()) } else { self.print(&format!("   (exit code {expected})")) }
    }

    fn proof(&mut self, before: Fingerprint, patched: Fingerprint, after: Fingerprint) -> anyhow::Result<()> {
        self.step += 1;
        self.print(&format!(
            "\n{}. The proof: one BLAKE3 checksum of all objects outside var/sadm, over their paths, types, modes,\n   \
             owners, times (except of directories), contents, links and attributes.",
            self.step
        ))?;
        for (when, seen) in [("before", before), ("patched", patched), ("after", after)] {
            self.print(&format!("   {when:<8} {} ({})", seen.b3, counted(seen.objects, "object")))?;
        }
        if before != after || before == patched {
            anyhow::bail!("the tree differs from the tree before the patches: please report it");
        }
        self.print("   The tree is exactly as before, including all attributes.")?;
        self.go_on()
    }

    /// Prints commands that work where this program was called. Only the first and the last have long paths, so that the
    /// lines fit a terminal.
    fn go_on(&mut self) -> anyhow::Result<()> {
        let directory = quoted(&self.files.directory);
        let program = quoted(self.program());
        let [first, second, ..] = &PATCHES;
        let (id, later) = (first.id, second.id);
        let lines = [
            "\nTry it yourself:".to_owned(),
            format!("  cd {directory}"),
            format!("  {program} -R root plan patches/{id}"),
            format!("  {program} -R root add patches/{id}"),
            format!("  {program} -R root add patches/{later}"),
            format!("  {program} -R root list"),
            format!("  {program} -R root show {id}"),
            format!("  root/{SERVER}"),
            format!("  {program} pkgparam -R root ACMEweb PATCHLIST"),
            format!("  {program} pkgchk -R root"),
            format!("  {program} -R root remove {later} {id}"),
            format!("When you are done:\n  rm -r {directory}"),
        ];
        self.print(&lines.join("\n"))
    }

    /// Returns the program as called, or its file if that is relative to a directory that the reader leaves.
    fn program(&self) -> &Path {
        let surroundings = &self.call.surroundings;
        let called = surroundings.called.as_path();
        let is_relative = called.is_relative() && called.components().count() > 1;
        surroundings.binary.as_deref().filter(|_| is_relative).unwrap_or(called)
    }

    fn print_step(&mut self, title: &str) -> anyhow::Result<()> {
        self.step += 1;
        self.print(&format!("\n{}. {title}", self.step))
    }

    fn checksum(&mut self, what: &str, seen: Fingerprint) -> anyhow::Result<()> {
        self.print(&format!("   {what}: {}, checksum {}", counted(seen.objects, "object"), seen.b3))
    }

    fn print(&mut self, text: &str) -> anyhow::Result<()> {
        Ok(self.call.output.line(text)?)
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
