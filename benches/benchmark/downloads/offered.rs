//! The depot of the measurements: many revisions of patches that require, obsolete and exclude each other, for the
//! packages of a synthetic root.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;
use patchadm_svr4::package::checksum;

use crate::random::Random;
use crate::synthetic;
use crate::workload::OLD;

/// Number of packages that each base patches, with one small file each, out of its [`APART`] packages of the root.
const PATCHED: usize = 3;
const APART: usize = 5;

/// How many of a thousand patches require one of an earlier base, obsolete another one, and exclude another one.
const REQUIRING: usize = 400;
const OBSOLETING: usize = 50;
const EXCLUDING: usize = 20;

/// The number of patches in the depot.
#[derive(Clone, Copy)]
pub(super) struct Extent {
    pub(super) bases: usize,
    pub(super) revisions: usize,
}

impl Extent {
    pub(super) fn patches(self) -> usize {
        self.bases * self.revisions
    }

    /// Returns the number of packages of a root for these patches.
    pub(super) fn packages(self) -> usize {
        self.bases * APART
    }

    /// Returns the id of a revision; revisions begin with 1.
    pub(super) fn id(base: usize, revision: usize) -> String {
        format!("{}-{revision:02}", 110_000 + base)
    }

    /// In `cases` cases out of a thousand, returns the id of a random revision of one of the first `bases` bases other
    /// than `own`; else an empty string.
    fn other(self, random: &mut Random, cases: usize, bases: usize, own: usize) -> String {
        let (case, base) = (random.below(1000), random.below(bases.max(1)));
        let revision = 1 + random.below(self.revisions);
        if case < cases && base < bases && base != own { Self::id(base, revision) } else { String::new() }
    }
}

/// The parameters of a patch that relate it to others.
struct Relations {
    requires: String,
    obsoletes: String,
    excludes: String,
}

/// Writes all patches, each as a compressed tar archive.
pub(super) fn write(depot: &Path, extent: Extent) -> Result<()> {
    fs::create_dir_all(depot)?;
    let mut random = Random::seeded(&[17]);
    for base in 0..extent.bases {
        for revision in 1..=extent.revisions {
            let relations = Relations {
                requires: extent.other(&mut random, REQUIRING, base, base),
                obsoletes: extent.other(&mut random, OBSOLETING, extent.bases, base),
                excludes: extent.other(&mut random, EXCLUDING, extent.bases, base),
            };
            let id = Extent::id(base, revision);
            let file = File::create(depot.join(format!("{id}.tar.gz")))?;
            let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::fast()));
            for number in 0..PATCHED {
                package(&mut archive, &id, base * APART + number, &relations)?;
            }
            archive.into_inner()?.finish()?;
        }
    }
    Ok(())
}

/// Adds the sparse package for the package of this number.
fn package(
    archive: &mut tar::Builder<impl Write>,
    id: &str,
    number: usize,
    relations: &Relations,
) -> Result<()> {
    let (name, path) = (synthetic::package(number), format!("opt/p{number:04}/patched"));
    let Relations { requires, obsoletes, excludes } = relations;
    let info = format!(
        "PKG={name}\nNAME=Acme {name}\nARCH=all\nVERSION=1.0\nCATEGORY=application\nBASEDIR=/\nCLASSES=none\n\
         SUNW_PATCHID={id}\nSUNW_OBSOLETES={obsoletes}\nSUNW_REQUIRES={requires}\nSUNW_INCOMPAT={excludes}\n"
    );
    let content = id.repeat(40);
    let sums = [&content, &info].map(|text| (text.len(), checksum::sum(text.as_bytes())));
    let [(size, sum), (info_size, info_sum)] = sums;
    let map = format!(
        ": 1 2\n1 f none {path} 0644 root root {size} {sum} {OLD}\n1 i pkginfo {info_size} {info_sum} {OLD}\n"
    );
    for (member, bytes) in [("pkginfo", &info), ("pkgmap", &map), (&*format!("reloc/{path}"), &content)] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_mtime(OLD);
        header.set_cksum();
        archive.append_data(&mut header, format!("{id}/{name}/{member}"), bytes.as_bytes())?;
    }
    Ok(())
}
