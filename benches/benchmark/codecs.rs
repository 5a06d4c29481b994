//! Compression and archive formats in MB/s, beside the tools that everybody has.
//!
//! Each codec is a process of its own, as the tool is: it reads a file that is in the page cache and writes to
//! `/dev/null`. What undo archives are written and read with is measured as the program uses it: members of equal length,
//! each decoded again before it counts, with one thread and with all cores. MB are those of the uncompressed data, millions of bytes.

use std::fs::{self, File};
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::thread;

use anyhow::{Result, bail};
use flate2::{Compression, bufread::MultiGzDecoder, write::GzEncoder};
use patchadm_container::gzip::{GzipDecoder, GzipEncoder, VerifiedMember};
use patchadm_svr4::format::cpio;
use patchadm_svr4::format::cpio::{CpioFormat, CpioHeader};
use patchadm_svr4::format::{compress, datastream};
use patchadm_svr4::package::PkgInst;

use crate::inputs::{Inputs, fresh};
use crate::line::{Line, is_installed};
use crate::measure::{Spread, run as run_measured};
use crate::options::Options;
use crate::report::Report;
use crate::table::{Table, seconds};
use crate::workload::Version;

/// Uncompressed bytes of what the codecs work on.
const AMOUNT: usize = 64_000_000;

/// The size of a member of the archives, in bytes.
const MEMBER: usize = 20_000;

/// One codec or tool.
struct Trial {
    name: &'static str,
    program: &'static str,
    line: Line,
}

/// Measures all of them, in turns.
pub(crate) fn measure_all(
    scratch: &Path,
    inputs: &Inputs,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    report.heading("Codecs");
    let directory = scratch.join("codecs");
    fresh(&directory)?;
    let amount = options.pick(AMOUNT, AMOUNT / 64);
    let plain = prepare(&directory, inputs, amount)?;
    let trials: Vec<Trial> =
        trials(&directory, &plain)?.into_iter().filter(|trial| has_program(trial, report)).collect();
    let mut usages = vec![Vec::new(); trials.len()];
    for _ in 0..options.runs() {
        for (trial, usages) in trials.iter().zip(&mut usages) {
            let usage = run_measured(scratch, &trial.line)?;
            usages.push((usage.wall, usage.cpu));
        }
    }
    let mut table = Table::new(&["codec", "MB/s", "wall", "CPU"]);
    for (trial, usages) in trials.iter().zip(usages) {
        let wall = Spread::of(usages.iter().map(|usage| usage.0)).median;
        let cpu = Spread::of(usages.iter().map(|usage| usage.1)).median;
        let speed = format!("{:.0}", amount as f64 / 1e6 / wall);
        table.row([trial.name.to_owned(), speed, seconds(wall), seconds(cpu)]);
    }
    report.table(&table);
    Ok(fs::remove_dir_all(directory)?)
}

fn has_program(trial: &Trial, report: &mut Report) -> bool {
    let found = trial.program.is_empty() || is_installed(trial.program);
    if !found {
        report.skipped(trial.name, &format!("{} is not installed", trial.program));
    }
    found
}

/// Writes what is read: the data as one file and as files, compressed, as a datastream and as a cpio archive.
fn prepare(directory: &Path, inputs: &Inputs, amount: usize) -> Result<PathBuf> {
    let mut bytes = Vec::with_capacity(amount);
    for file in inputs.workload.files.iter().cycle() {
        bytes.extend_from_slice(&file.content(Version::Old)?);
        if bytes.len() >= amount {
            break;
        }
    }
    bytes.truncate(amount);
    let plain = directory.join("plain");
    fs::write(&plain, &bytes)?;
    fs::create_dir(directory.join("files"))?;
    let mut names = String::new();
    for (number, content) in bytes.chunks(MEMBER).enumerate() {
        fs::write(directory.join(format!("files/f{number:06}")), content)?;
        names += &format!("f{number:06}\n");
    }
    fs::write(directory.join("names"), names)?;
    write_archive(&plain, File::create(directory.join("plain.members"))?, 1)?;
    write_gzip(&plain, File::create(directory.join("plain.gz"))?)?;
    write_z(&plain, File::create(directory.join("plain.Z"))?)?;
    write_cpio(&plain, File::create(directory.join("plain.cpio"))?)?;
    write_stream(&plain, File::create(directory.join("plain.ds"))?)?;
    Ok(plain)
}

fn trials(directory: &Path, plain: &Path) -> Result<Vec<Trial>> {
    let ours = |name: &'static str, codec: &str, input: &str| -> Result<Trial> {
        Ok(Trial { name, program: "", line: Line::inner("@codec")?.arg(codec).arg(directory.join(input)) })
    };
    let theirs = |name: &'static str, program: &'static str, text: &str, input: &str| {
        let line = Line::shell(&format!("cd \"$1\"; {text} > /dev/null"));
        Trial { name, program, line: line.arg(directory.join(input)).arg(directory.join("files")) }
    };
    let name = plain.file_name().unwrap_or_default().to_string_lossy();
    Ok(vec![
        ours("undo archive encoder, one thread", "archive", &name)?,
        ours("undo archive encoder, all cores", "archive-parallel", &name)?,
        ours("gzip -1 encoder, the floor's", "gzip", &name)?,
        theirs("gzip -1", "gzip", "gzip -1 < \"$0\"", "plain"),
        ours("undo archive decoder", "archive-read", "plain.members")?,
        ours("gzip decoder, the floor's", "gunzip", "plain.gz")?,
        theirs("gzip -dc", "gzip", "gzip -dc < \"$0\"", "plain.gz"),
        ours(".Z encoder", "compress", "plain")?,
        theirs("compress", "compress", "compress -cf < \"$0\"", "plain"),
        ours(".Z decoder", "uncompress", "plain.Z")?,
        theirs("compress -dc", "compress", "compress -dc < \"$0\"", "plain.Z"),
        ours("cpio writer", "cpio", "plain")?,
        theirs("cpio -o -H newc", "cpio", "cpio -o -H newc --quiet < \"$0\"", "names"),
        ours("cpio reader", "cpio-read", "plain.cpio")?,
        theirs("cpio -i --to-stdout", "cpio", "cpio -i --to-stdout --quiet < \"$0\"", "plain.cpio"),
        ours("datastream writer", "datastream", "plain")?,
        ours("datastream reader", "datastream-read", "plain.ds")?,
    ])
}

/// The process of one codec: `input` to `/dev/null`.
pub(crate) fn run(codec: &str, input: &Path) -> Result<()> {
    let sink = || File::options().write(true).open("/dev/null");
    match codec {
        "archive" => write_archive(input, sink()?, 1),
        "archive-parallel" => write_archive(input, sink()?, thread::available_parallelism()?.get()),
        "archive-read" => pass(GzipDecoder::new(buffered(input)?)?, sink()?),
        "gzip" => write_gzip(input, sink()?),
        "compress" => write_z(input, sink()?),
        "cpio" => write_cpio(input, sink()?),
        "datastream" => write_stream(input, sink()?),
        "gunzip" => pass(MultiGzDecoder::new(buffered(input)?), sink()?),
        "uncompress" => pass(compress::CompressDecoder::new(buffered(input)?)?, sink()?),
        "cpio-read" => {
            let mut reader = cpio::CpioReader::new(buffered(input)?);
            while reader.next_member()?.is_some() {
                pass(&mut reader, sink()?)?;
            }
            Ok(())
        }
        "datastream-read" => {
            let mut reader = datastream::DatastreamReader::new(buffered(input)?)?;
            while reader.next_part()?.is_some() {
                while reader.next_member()?.is_some() {
                    pass(&mut reader, sink()?)?;
                }
            }
            Ok(())
        }
        other => bail!("there is no codec {other}"),
    }
}

fn buffered(input: &Path) -> Result<BufReader<File>> {
    Ok(BufReader::with_capacity(1 << 17, File::open(input)?))
}

fn pass(mut from: impl Read, mut to: impl Write) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            length => to.write_all(&buffer[..length])?,
        }
    }
}

fn write_archive(input: &Path, mut out: File, threads: usize) -> Result<()> {
    let take = |verified: VerifiedMember| out.write_all(&verified.member);
    let mut encoder = GzipEncoder::new(take, threads);
    pass(File::open(input)?, &mut encoder)?;
    Ok(encoder.finish().map(drop)?)
}

fn write_gzip(input: &Path, out: File) -> Result<()> {
    let mut encoder = GzEncoder::new(BufWriter::with_capacity(1 << 17, out), Compression::new(1));
    pass(File::open(input)?, &mut encoder)?;
    Ok(encoder.finish()?.flush()?)
}

fn write_z(input: &Path, out: File) -> Result<()> {
    let mut encoder = compress::CompressEncoder::new(BufWriter::with_capacity(1 << 17, out));
    pass(File::open(input)?, &mut encoder)?;
    Ok(encoder.finish()?.flush()?)
}

fn write_cpio(input: &Path, out: File) -> Result<()> {
    let mut writer = cpio::CpioWriter::new(BufWriter::with_capacity(1 << 17, out), CpioFormat::Newc);
    members(input, |header, content| Ok(writer.write_member(header, content)?))?;
    Ok(writer.finish()?.flush()?)
}

fn write_stream(input: &Path, out: File) -> Result<()> {
    let inst = PkgInst::new("ACMEbase")?;
    let package = datastream::DatastreamPackage {
        inst,
        parts: 1,
        max_blocks: 1,
        pkginfo: b"PKG=ACMEbase\n".to_vec(),
        pkgmap: Vec::new(),
    };
    let out = BufWriter::with_capacity(1 << 17, out);
    let mut part = datastream::DatastreamWriter::new(out, &[package], 0)?.begin_part(CpioFormat::Newc)?;
    members(input, |header, content| Ok(part.write_member(header, content)?))?;
    Ok(part.finish()?.finish()?.flush()?)
}

/// Cuts a file into members as large as the files of the workload are on average.
fn members(input: &Path, mut write: impl FnMut(&CpioHeader, &[u8]) -> Result<()>) -> Result<()> {
    let mut input = BufReader::with_capacity(1 << 17, File::open(input)?);
    let mut content = Vec::new();
    for number in 0.. {
        content.clear();
        (&mut input).take(MEMBER as u64).read_to_end(&mut content)?;
        if content.is_empty() {
            break;
        }
        let name = format!("reloc/f{number:06}");
        write(&CpioHeader::file(name.as_bytes(), 0o644, 0, content.len() as u64), &content)?;
    }
    Ok(())
}
