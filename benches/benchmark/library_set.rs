//! The set `libraries`: many libraries that need each other by symbol versions, as an update of a distribution has them.
//!
//! Each new library has one version more than the old one, and every other program that the patch replaces needs it: a
//! backout takes versions away that only what goes with it has needed. Every fifth library loses a symbol that nobody
//! uses. So no library is lost to anybody, and to find that out the programs have to be looked at.

use crate::elf_file::ElfFile;
use crate::random::Random;
use crate::slices::Material;
use crate::workload::{File, Workload};

/// How large the set is: libraries, programs, texts, and how many of the programs and texts a patch replaces.
#[derive(Clone, Copy)]
pub(crate) struct LibraryScale {
    pub(crate) libraries: usize,
    pub(crate) programs: usize,
    pub(crate) texts: usize,
    pub(crate) replaced_programs: usize,
    pub(crate) replaced_texts: usize,
}

impl LibraryScale {
    /// 600 libraries of 40 to 4,000 KB; the patch delivers 1,659 files.
    pub(crate) const FULL: Self =
        Self { libraries: 600, programs: 1_400, texts: 1_500, replaced_programs: 400, replaced_texts: 659 };

    /// Just enough to see that everything works.
    pub(crate) const SMALL: Self =
        Self { libraries: 12, programs: 20, texts: 10, replaced_programs: 8, replaced_texts: 4 };
}

/// Sizes of libraries, in bytes: the smallest, and how many times as large the largest is.
const SMALLEST: f64 = 40_000.0;
const SPAN: f64 = 100.0;

/// A library of which others are made.
struct Library {
    number: usize,
    versions: usize,
    symbols: usize,
    size: usize,
}

impl Library {
    fn new(number: usize) -> Self {
        let mut random = Random::seeded(&[20, number as u64]);
        let size = (SMALLEST * SPAN.powf(random.unit().powi(4))) as usize;
        Self { number, versions: 1 + random.below(6), symbols: (size / 4_000).clamp(10, 800), size }
    }

    fn soname(&self) -> String {
        format!("libacme{:03}.so.1", self.number)
    }

    fn version(&self, number: usize) -> String {
        format!("ACME{:03}_1.{number}", self.number)
    }

    fn symbol(&self, version: usize, number: usize) -> String {
        format!("acme{:03}_{version}_function_{number}", self.number)
    }

    /// The versions of a release, with their symbols.
    fn defined(&self, release: usize) -> Vec<(String, Vec<String>)> {
        let each = self.symbols / self.versions;
        let symbols = |version| (0..each).map(|number| self.symbol(version, number)).collect();
        let mut defined: Vec<(String, Vec<String>)> =
            (0..self.versions + release).map(|version| (self.version(version), symbols(version))).collect();
        if release == 0 && self.number.is_multiple_of(5) {
            defined[0].1.push(format!("acme{:03}_unused", self.number));
        }
        defined
    }

    /// What somebody uses of it who knows this release.
    fn used(&self, release: usize, random: &mut Random) -> (String, Vec<(String, String)>) {
        let each = self.symbols / self.versions;
        let one = |random: &mut Random| {
            let version = random.below(self.versions + release);
            (self.version(version), self.symbol(version, random.below(each)))
        };
        let mut uses: Vec<_> = (0..3 + random.below(10)).map(|_| one(random)).collect();
        uses.sort();
        uses.dedup();
        (self.soname(), uses)
    }
}

/// Draws what a program, or the library of this number, needs of the libraries that it may need.
fn needs(of: &[Library], most: usize, release: usize, key: &[u64]) -> Vec<(String, Vec<(String, String)>)> {
    let mut random = Random::seeded(key);
    let count = if of.is_empty() { 0 } else { random.below(most + 1).min(of.len()) };
    let mut picked: Vec<usize> = (0..count).map(|_| random.below(of.len())).collect();
    picked.sort_unstable();
    picked.dedup();
    picked.into_iter().map(|number| of[number].used(release, &mut random)).collect()
}

/// Makes the set.
pub(crate) fn workload(scale: LibraryScale) -> Workload {
    let libraries: Vec<Library> = (0..scale.libraries).map(Library::new).collect();
    let mut workload =
        Workload { files: Vec::new(), replaced: Vec::new(), deleted: Vec::new(), added: Vec::new() };
    for library in &libraries {
        add_library(&mut workload, library, &libraries[..library.number]);
    }
    for number in 0..scale.programs {
        let is_replaced = number < scale.replaced_programs;
        let size = 20_000 + Random::seeded(&[22, number as u64]).below(180_000);
        let elf = |release: usize| {
            let release = release * usize::from(number.is_multiple_of(2));
            let needed = needs(&libraries, 9, release, &[23, number as u64]);
            ElfFile { needed, ..ElfFile::default() }
        };
        let path = format!("opt/acme/bin/acme{number:04}");
        let versions = [elf(0), elf(usize::from(is_replaced))];
        add_file(&mut workload, File::linked(path, size, versions, 2_000_000 + number as u64), is_replaced);
    }
    for number in 0..scale.texts {
        let path = format!("opt/acme/share/d{:02}/t{number:04}", number / 100);
        let file = File::made(path, 500 + 37 * (number % 211), Material::Text, 3_000_000 + number as u64);
        add_file(&mut workload, file, number < scale.replaced_texts);
    }
    workload
}

fn add_library(workload: &mut Workload, library: &Library, others: &[Library]) {
    let elf = |release: usize| ElfFile {
        soname: Some(library.soname()),
        needed: needs(others, 5, release, &[21, library.number as u64]),
        defined: library.defined(release),
    };
    let (path, key) = (format!("opt/acme/lib/{}", library.soname()), 1_000_000 + library.number as u64);
    add_file(workload, File::linked(path, library.size, [elf(0), elf(1)], key), true);
}

fn add_file(workload: &mut Workload, file: File, is_replaced: bool) {
    if is_replaced {
        workload.replaced.push(workload.files.len());
    }
    workload.files.push(file);
}
