//! Lists of paths for pkgchk(1M), from options or files.

use std::io::{self, Read};
use std::path::Path;

use anyhow::Context as _;

use patchadm_inputs::input_file::InputFile;

/// In bytes.
const LONGEST: u64 = 256 << 20;

/// Splits lists at commas and blanks.
pub(super) fn words(lists: &[String]) -> impl Iterator<Item = &str> {
    lists.iter().flat_map(|list| list.split([',', ' ', '\t', '\n'])).filter(|word| !word.is_empty())
}

/// Trims lines and skips blank ones.
pub(super) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty())
}

/// `-` is standard input.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(InputFile::open(file).with_context(|| format!("cannot read {}", file.display()))?)
    };
    let mut text = Vec::new();
    let length = source
        .take(LONGEST + 1)
        .read_to_end(&mut text)
        .with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(length as u64 <= LONGEST, "{} is longer than {LONGEST} bytes", file.display());
    Ok(text)
}
