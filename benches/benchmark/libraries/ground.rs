//! A root with programs and libraries of this machine, and packages and patches for it.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

use crate::delivery::{PackageWriter, Parents};
use crate::disk::Disk;
use crate::growth::inputs_of;
use crate::inputs::fresh;
use crate::line::Line;
use crate::workload::{NEW, OLD};

/// Source of the programs and libraries.
const PLACE: &str = "/usr";

/// The package of the library that a patch deletes, and its text file.
const PACKAGE: &str = "ACMElib";
const TEXT: &str = "usr/share/doc/acme/README";

/// The patch that deletes the library, and the one without programs and libraries.
const TAKES: &str = "700001-01";
const WRITES: &str = "700002-01";

/// Candidates for deletion: libraries that many programs need.
const LIBRARIES: [&str; 4] = ["libz.so.1", "libzstd.so.1", "liblzma.so.5", "libm.so.6"];

/// The number of objects in a root.
#[derive(Clone, Copy)]
pub(super) struct Size {
    pub(super) files: usize,
    pub(super) programs: usize,
}

/// A root, with patches for it.
pub(super) struct Ground {
    pub(super) path: PathBuf,
    /// A root with the package and nothing else.
    pub(super) empty: PathBuf,
    takes: PathBuf,
    writes: PathBuf,
    /// The library that the patch deletes.
    pub(super) library: String,
}

/// Objects found below a directory.
#[derive(Default)]
struct Found {
    programs: Vec<(u64, PathBuf)>,
    links: Vec<PathBuf>,
    others: Vec<PathBuf>,
}

impl Ground {
    pub(super) fn new(disk: &Disk, size: Size) -> Result<Self> {
        let (path, empty) = (disk.at("libraries"), disk.at("no-libraries"));
        let inputs = inputs_of(disk, "libraries")?;
        fresh(&path)?;
        fresh(&empty)?;
        fill(&path, size)?;
        let library = library(&path)?;
        let takes = inputs.join(TAKES);
        let content = fs::read(path.join(&library))?;
        let mut base = PackageWriter::new(&inputs, PACKAGE)?;
        base.file(&library, &content, OLD)?;
        base.file(TEXT, b"old\n", OLD)?;
        base.finish()?;
        let mut patch = PackageWriter::of_patch(&inputs, TAKES, PACKAGE)?;
        patch.information("deletes", format!("/{library}\n").as_bytes())?;
        patch.finish()?;
        let mut patch = PackageWriter::of_patch(&inputs, WRITES, PACKAGE)?;
        patch.file(TEXT, b"new\n", NEW)?;
        patch.finish()?;
        for root in [&path, &empty] {
            Line::patchadm().words("pkgadd -n -R").arg(root).arg("-d").arg(&inputs).arg(PACKAGE).run()?;
        }
        Ok(Self { path, empty, takes, writes: inputs.join(WRITES), library })
    }

    /// Returns the command that plans the patch that deletes the library.
    pub(super) fn plan(&self) -> Line {
        self.on_root("plan --libs keep").arg(&self.takes)
    }

    /// Returns the command that plans the patch without programs and libraries, in this root or in the empty one.
    pub(super) fn plan_of_text(&self, is_empty: bool) -> Line {
        let root = if is_empty { &self.empty } else { &self.path };
        Line::patchadm().arg("-R").arg(root).words("plan --libs keep").arg(&self.writes)
    }

    /// Deletes the library and restores it, which leaves a cache.
    pub(super) fn make_cache(&self) -> Result<()> {
        self.on_root("add --libs keep").arg(&self.takes).run()?;
        self.on_root("remove").arg(TAKES).run()?;
        let cache = self.path.join("var/sadm/patchadm/elf.cache");
        ensure!(cache.is_file(), "there is no {}", cache.display());
        Ok(())
    }

    fn on_root(&self, words: &str) -> Line {
        Line::patchadm().arg("-R").arg(&self.path).words(words)
    }
}

/// Fills a root: the smallest programs and libraries of this machine under their own paths, their links, and small files.
fn fill(root: &Path, size: Size) -> Result<()> {
    let mut found = Found::default();
    found.list(Path::new(PLACE))?;
    found.programs.sort();
    ensure!(!found.programs.is_empty(), "{PLACE} has no programs");
    let mut parents = Parents::default();
    let mut put = |path: &Path| -> Result<PathBuf> {
        let target = root.join(path.strip_prefix("/").unwrap_or(path));
        parents.make(&target)?;
        Ok(target)
    };
    for number in 0..size.programs {
        let round = number / found.programs.len();
        let (_, path) = &found.programs[number % found.programs.len()];
        // If this machine has fewer, the root gets several copies of each.
        let copy = PathBuf::from(format!("/opt/copy{round}{}", path.display()));
        let target = put(if round == 0 { path } else { &copy })?;
        fs::copy(path, &target)?;
        fs::set_permissions(&target, fs::Permissions::from_mode(0o755))?;
    }
    for link in &found.links {
        symlink(fs::read_link(link)?, put(link)?)?;
    }
    let count = size.files.saturating_sub(size.programs);
    let others = found.others.iter().take(count);
    for path in others.clone() {
        fs::write(put(path)?, path.as_os_str().as_encoded_bytes())?;
    }
    for number in others.len()..count {
        let path = PathBuf::from(format!("/opt/more/d{:03}/f{number:06}", number / 100));
        fs::write(put(&path)?, b"more\n")?;
    }
    for name in ["bin", "sbin", "lib", "lib32", "lib64", "libx32"] {
        if let Ok(target) = fs::read_link(Path::new("/").join(name)) {
            symlink(target, root.join(name))?;
        }
    }
    if Path::new("/etc/ld.so.conf").is_file() {
        fs::create_dir_all(root.join("etc"))?;
        Line::new("cp").words("-r /etc/ld.so.conf /etc/ld.so.conf.d").arg(root.join("etc")).run()?;
    }
    Ok(())
}

impl Found {
    fn list(&mut self, directory: &Path) -> Result<()> {
        let Ok(entries) = fs::read_dir(directory) else { return Ok(()) };
        let mut entries = entries.collect::<Result<Vec<_>, _>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_symlink() {
                self.links.push(path);
            } else if kind.is_dir() {
                self.list(&path)?;
            } else if kind.is_file() {
                match size_of_program(&path) {
                    Some(size) => self.programs.push((size, path)),
                    None => self.others.push(path),
                }
            }
        }
        Ok(())
    }
}

/// Returns the size of a program or library; `None` for other files.
fn size_of_program(path: &Path) -> Option<u64> {
    let mut head = [0; 17];
    let mut file = File::open(path).ok()?;
    file.read_exact(&mut head).ok()?;
    let is_program = head.starts_with(b"\x7fELF") && [2, 3].contains(&head[16]);
    is_program.then(|| file.metadata().ok().map(|state| state.len())).flatten()
}

/// Returns the path of a library, relative to the root: one that many programs need, else any.
fn library(root: &Path) -> Result<String> {
    let root = root.canonicalize()?;
    let mut found = Found::default();
    found.list(&root.join("usr/lib"))?;
    let named = |name: &str, path: &Path| path.file_name().is_some_and(|own| own == name);
    let wanted = LIBRARIES.iter().filter_map(|name| found.links.iter().find(|path| named(name, path)));
    let wanted = wanted.filter_map(|path| path.canonicalize().ok());
    let any = found.programs.iter().map(|(_, path)| path.clone());
    let any = any.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().contains(".so")));
    let chosen = wanted.chain(any).find(|path| path.starts_with(&root));
    let chosen = chosen.context("the root has no library that could be taken away")?;
    Ok(chosen.strip_prefix(root)?.display().to_string())
}
