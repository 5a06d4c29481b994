//! A patch of 1 GiB fetched over http, beside curl followed by the fastest SHA-256 of the machine. The server is a thread of the
//! benchmark, at the loopback address.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _, copy};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::thread;

use anyhow::{Context as _, Result};

use crate::delivery::{PACKAGE, PackageWriter};
use crate::disk::Disk;
use crate::growth::{clear, inputs_of};
use crate::line::{Line, is_installed};
use crate::measure::{Costs, Spread, measure};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, mebibytes, seconds, spread};
use crate::workload::{File as MadeFile, NEW, Version};

const ID: &str = "100003-01";

/// How much longer a fetch may take than curl and a digest.
const RATIO: f64 = 1.3;

/// Different contents: to make a gigabyte of them would take longer than all else.
const CONTENTS: usize = 8;

pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    let scratch = inputs_of(disk, "fetched")?;
    let (depot, cache, copied) = (scratch.join("depot"), disk.at("cache"), disk.at("copied"));
    write_depot(&scratch, &depot, options.pick((256, 4 << 20), (4, 1 << 18)))?;
    let patch = depot.join(format!("{ID}.tar"));
    let Some((name, digest)) = fastest_digest(disk, &patch)? else {
        report.skipped("a fetch over http", "there is no curl, or neither openssl nor sha256sum");
        return clear(&[&scratch]);
    };
    let (address, root) = (serve(&depot)?, inputs_of(disk, "fetched-root")?);
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
    report.heading(&format!("A patch fetched over http, {}", disk.name()));
    let mut table = Table::new(&["command", "wall (least–most)", "CPU", "peak memory"]);
    for (what, costs) in [("depot check", &ours), (&*format!("curl, then {name}"), &theirs)] {
        let (cpu, peak) = (costs.spread(|cost| cost.cpu).median, costs.spread(|cost| cost.peak).median);
        table.row([what.to_owned(), spread(costs.wall()), seconds(cpu), mebibytes(peak)]);
    }
    report.table(&table);
    let size = mebibytes(patch.metadata()?.len() as f64);
    report.say(&format!("The patch has {size}.\n"));
    let ratio = Spread::of_ratio(&ours, &theirs);
    report.at_most(disk.name(), "fetch over http / curl and a digest", RATIO, ratio, "");
    clear(&[&scratch, &root])
}

/// Writes an indexed depot of one patch, with so many files of a size.
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

/// The fastest of the commands that print the SHA-256 of a file, with its name; none where there is none, or no curl.
fn fastest_digest(disk: &Disk, file: &Path) -> Result<Option<(&'static str, &'static str)>> {
    let commands = [("openssl", "openssl dgst -sha256"), ("sha256sum", "sha256sum")];
    let mut fastest = None;
    for (name, command) in commands.into_iter().filter(|(name, _)| is_installed(name) && is_installed("curl"))
    {
        let line = Line::shell(&format!("{command} \"$0\"")).arg(file);
        let took = measure(disk, &line)?.wall;
        if fastest.is_none_or(|(least, _)| took < least) {
            fastest = Some((took, (name, command)));
        }
    }
    Ok(fastest.map(|(_, command)| command))
}

/// Serves the files of a directory as long as the benchmark runs; its address.
fn serve(directory: &Path) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a port for the server")?;
    let address = format!("http://{}/", listener.local_addr()?);
    let directory = directory.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let directory = directory.clone();
            // Who hangs up sees it himself.
            thread::spawn(move || drop(answer(&stream, &directory)));
        }
    });
    Ok(address)
}

/// Answers one request, and hangs up.
fn answer(mut stream: &TcpStream, directory: &Path) -> Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let Some(mut file) = requested(&first, directory).and_then(|path| File::open(path).ok()) else {
        write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        return Ok(());
    };
    let size = file.metadata()?.len();
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\nConnection: close\r\n\r\n")?;
    copy(&mut file, &mut stream)?;
    Ok(())
}

/// The file that the first line of a request names.
fn requested(line: &str, directory: &Path) -> Option<PathBuf> {
    let path = Path::new(line.strip_prefix("GET /")?.split(' ').next()?);
    let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    let path = directory.join(path);
    (is_inside && path.is_file()).then_some(path)
}
