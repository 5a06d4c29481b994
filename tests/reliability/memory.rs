//! Memory use of the program: objects may be as large as they like, none is held as a whole. Memory grows with their
//! number alone, by less than 8 kB for each.
//!
//! The measure is the high-water mark of the resident set, `VmHWM` of proc(5). It is polled while a command runs; as
//! the kernel keeps it, only a peak in the last millisecond could be missed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use patchadm_svr4::package::checksum::Checksum;
use patchadm_testing::processes::resident_peak;
use sha2::{Digest as _, Sha256};
use zip::write::SimpleFileOptions;

use crate::delivery::Patch;
use crate::nginx::Nginx;
use crate::packages::{self, DELIVERED, Package};
use crate::reliability::{figures, is_whole, sample_or_whole};
use crate::scenario::Scenario;

const MIB: u64 = 1 << 20;

/// The limit of a sample, which a debug build plays: some 50 MiB of it are pages of files, mostly of the program
/// itself.
const SAMPLE: u64 = 64 * MIB;

/// Memory that a patch of 16 MiB may need over one of a byte: less than its content, most of it the buffers of two
/// threads.
const MORE: u64 = 14 * MIB;

/// Runs a command that has to succeed. Returns its largest resident set, in bytes.
#[track_caller]
fn peak(stage: &Scenario, line: &str) -> u64 {
    let said = stage.beside("said");
    let output = File::create(&said).unwrap();
    let mut command = stage.command(line);
    let mut child = command.stdout(Stdio::null()).stderr(output).stdin(Stdio::null()).spawn().unwrap();
    let mut peak = 0;
    let status = loop {
        peak = peak.max(resident_peak(child.id()).unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        thread::sleep(Duration::from_millis(1));
    };
    assert!(status.success(), "{line}: {status}: {}", fs::read_to_string(said).unwrap());
    assert!(peak > 0, "{line}: it ended before its memory was read");
    peak
}

/// Content of an object that is never held in memory as a whole: lines that gzip makes half as long.
struct Content {
    block: Vec<u8>,
    length: u64,
}

impl Content {
    fn new(version: u64, length: u64) -> Self {
        let mut number = version;
        let lines = (0..MIB / 16).map(|_| {
            number = number.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            format!("{:015x}\n", number >> 4)
        });
        Self { block: lines.collect::<String>().into_bytes(), length }
    }

    fn read(&self) -> impl Read {
        Repeated { block: &self.block, at: 0 }.take(self.length)
    }

    fn sum(&self) -> u16 {
        let mut sum = Checksum::new();
        io::copy(&mut self.read(), &mut sum).unwrap();
        sum.finish()
    }
}

/// The same bytes again and again.
struct Repeated<'a> {
    block: &'a [u8],
    at: usize,
}

impl Read for Repeated<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = buffer.len().min(self.block.len() - self.at);
        buffer[..count].copy_from_slice(&self.block[self.at..self.at + count]);
        self.at = (self.at + count) % self.block.len();
        Ok(count)
    }
}

/// How the content of a patch is spread over files.
#[derive(Clone, Copy)]
struct Load {
    files: u64,
    each: u64,
}

impl Load {
    /// A package of these files, without their content.
    fn package(self, version: u64) -> Package {
        let content = Content::new(version, self.each);
        let sum = content.sum();
        (0..self.files).fold(Package::new("ACMEbig"), |package, number| {
            let path = path(number);
            let line = format!("f none {path} 0644 root root {} {sum} {DELIVERED}", self.each);
            package.line(&path, &line)
        })
    }

    /// Writes the content into the directory of the package.
    fn fill(self, version: u64, package: &Path) {
        let content = Content::new(version, self.each);
        for number in 0..self.files {
            let to = package.join("reloc").join(path(number));
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            io::copy(&mut content.read(), &mut File::create(to).unwrap()).unwrap();
        }
    }
}

fn path(number: u64) -> String {
    format!("share/{:03}/{number:06}", number / 1000)
}

/// A root with the package of this load, and a patch that replaces all of it.
fn stage(load: Load) -> (Scenario, PathBuf) {
    let stage = Scenario::new();
    let spool = stage.beside("spool");
    let package = load.package(1).write(&spool);
    load.fill(1, &package);
    let installed = stage.run("pkgadd -n -R @ROOT@ -d spool ACMEbig");
    assert_eq!(installed.code, 0, "{}", installed.stderr);
    fs::remove_dir_all(spool).unwrap();
    let patch = Patch::of("100-01", load.package(2)).directory(&stage);
    load.fill(2, &patch.join("ACMEbig"));
    (stage, patch)
}

/// Packs a patch beside it, file by file.
fn packed(patch: &Path, suffix: &str) -> PathBuf {
    let at = PathBuf::from(format!("{}{suffix}", patch.display()));
    let to = BufWriter::new(File::create(&at).unwrap());
    let above = patch.parent().unwrap();
    let names = packages::files(patch).into_iter().map(|name| patch.join(name));
    let inside = |path: &Path| path.strip_prefix(above).unwrap().to_str().unwrap().to_owned();
    match suffix {
        ".zip" => {
            let mut archive = zip::ZipWriter::new(to);
            let options = SimpleFileOptions::default().compression_level(Some(1)).large_file(true);
            for path in names {
                archive.start_file(inside(&path), options).unwrap();
                io::copy(&mut File::open(&path).unwrap(), &mut archive).unwrap();
            }
            archive.finish().unwrap().flush().unwrap();
        }
        ".tar.gz" => {
            let mut archive = tar::Builder::new(GzEncoder::new(to, Compression::fast()));
            for path in names {
                archive.append_path_with_name(&path, inside(&path)).unwrap();
            }
            archive.into_inner().unwrap().finish().unwrap().flush().unwrap();
        }
        other => panic!("no form of delivery is called {other}"),
    }
    at
}

/// Makes a datastream of a patch by pkgtrans(1), and compresses it.
fn stream(stage: &Scenario, patch: &Path) -> PathBuf {
    let (plain, at) = (stage.beside("100-01.ds"), stage.beside("100-01.ds.gz"));
    let made = stage.run(&format!("pkgtrans -s {} {} ACMEbig", patch.display(), plain.display()));
    assert_eq!(made.code, 0, "{}", made.stderr);
    let mut packed = GzEncoder::new(File::create(&at).unwrap(), Compression::fast());
    io::copy(&mut File::open(&plain).unwrap(), &mut packed).unwrap();
    packed.finish().unwrap();
    fs::remove_file(plain).unwrap();
    at
}

/// Applies a patch of this load and backs it out, delivered as a compressed stream, and in the whole in every other
/// form as well. Returns the peak memory use.
fn highest(load: Load, most: u64) -> u64 {
    let (stage, patch) = stage(load);
    let mut forms = vec![stream(&stage, &patch)];
    if is_whole() {
        forms.extend([packed(&patch, ".tar.gz"), packed(&patch, ".zip"), patch]);
    }
    let mut highest = 0;
    for form in forms {
        for line in [format!("patchadd -R @ROOT@ {}", form.display()), "patchrm -R @ROOT@ 100-01".to_owned()]
        {
            let peak = peak(&stage, &line);
            assert!(
                peak <= most,
                "{line} of {} files of {} bytes: {} MiB",
                load.files,
                load.each,
                peak / MIB
            );
            highest = highest.max(peak);
        }
    }
    highest
}

#[test]
fn a_patch_is_applied_and_backed_out_in_memory_that_its_size_does_not_change() {
    let size = sample_or_whole(16 * MIB, 1024 * MIB);
    // In a debug build most resident pages belong to the program itself: those that a tiny patch needs.
    let most = if is_whole() { 64 * MIB } else { highest(Load { files: 1, each: 1 }, u64::MAX) + MORE };
    let one = highest(Load { files: 1, each: size }, most);
    let many = highest(Load { files: size >> 18, each: 1 << 18 }, most);
    figures(
        "memory",
        &[
            ("MiB in a patch", size / MIB),
            ("MiB resident at most with one file", one / MIB),
            ("MiB resident at most with many files", many / MIB),
        ],
    );
}

/// A depot of one file of `size` bytes, which its index calls a patch.
fn large_depot(stage: &Scenario, size: u64) -> PathBuf {
    let depot = stage.beside("depot");
    fs::create_dir(&depot).unwrap();
    let mut file = File::create(depot.join("large.zip")).unwrap();
    let (mut sum, content) = (Sha256::new(), Content::new(1, size));
    let mut reader = content.read();
    let mut buffer = vec![0; 1 << 20];
    while let Ok(count @ 1..) = reader.read(&mut buffer) {
        sum.update(&buffer[..count]);
        file.write_all(&buffer[..count]).unwrap();
    }
    let sha256: String = sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let index = format!(
        "{{\"schema\":\"patchadm-depot/1\",\"depot\":\"{}\",\"version\":1,\"date\":\"2026-11-20T00:00:00Z\",\
         \"expires\":null,\"previous\":null,\"patches\":[{{\"id\":\"100-01\",\"path\":\"large.zip\",\
         \"sha256\":\"{sha256}\",\"size\":{size},\"format\":\"zip\",\"manifest\":null,\"signature\":null,\
         \"readme\":null,\"date\":\"2026-11-20T00:00:00Z\",\"synopsis\":\"\",\"keywords\":[],\"properties\":[],\
         \"packages\":[],\"requires\":[],\"obsoletes\":[],\"incompat\":[],\"files\":1}}]}}\n",
        "0f".repeat(16)
    );
    fs::write(depot.join("index.json"), index).unwrap();
    depot
}

#[test]
fn a_file_is_fetched_in_memory_that_its_size_does_not_change() {
    let size = sample_or_whole(64 * MIB, 1024 * MIB);
    let most = sample_or_whole(SAMPLE, 64 * MIB);
    let stage = Scenario::new();
    let depot = large_depot(&stage, size);
    let test = "a_file_is_fetched_in_memory…";
    let Some(server) = Nginx::serving(test, (&depot, &stage.beside("server")), "", None) else { return };
    let line = format!("{} {}", crate::fetching::check_line(&stage, ""), server.address(""));
    let peak = peak(&stage, &line);
    assert!(peak <= most, "{} MiB", peak / MIB);
    figures("memory of a download", &[("MiB fetched", size / MIB), ("MiB resident at most", peak / MIB)]);
}

#[test]
fn a_package_of_many_objects_takes_little_memory_for_each() {
    let files = sample_or_whole(500, 20_000);
    let most = if is_whole() { 152 * MIB } else { highest(Load { files: 1, each: 1 }, u64::MAX) + MORE };
    let highest = highest(Load { files, each: 64 }, most);
    figures("memory by objects", &[("objects", files), ("MiB resident at most", highest / MIB)]);
}
