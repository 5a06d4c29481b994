//! The data sets: what apply and backout are measured with, one after another.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use crate::delivery::write_tree;
use crate::library_set::LibraryScale;
use crate::options::Options;
use crate::portrait::Portrait;
use crate::slices::{LONGEST_NOISE, Material, longest_noise};
use crate::workload::{Scale, Version, Workload};
use crate::{library_set, system, trees};

/// A data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Set {
    /// Object code and text that a seed decides, without noise: what all other parts are measured with, too.
    Mixed,
    /// Regular files of this machine's `/usr`.
    System,
    /// Blocks of noise and of a text of few words, which earlier figures were measured with.
    Noise,
    /// Two releases, named with `--trees`.
    Trees,
    /// Many libraries that need each other by symbol versions.
    Libraries,
}

impl Set {
    /// What it is called.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mixed => "mixed",
            Self::System => "system",
            Self::Noise => "noise",
            Self::Trees => "trees",
            Self::Libraries => "libraries",
        }
    }

    /// Its files, and what the patch changes of them. `scratch` is for releases that the small version makes itself.
    pub(crate) fn workload(self, options: &Options, scratch: &Path) -> Result<Workload> {
        let scale = options.pick(Scale::FULL, Scale::SMALL);
        match self {
            Self::Mixed => Ok(Workload::made(scale, None)),
            Self::System => system::workload(scale),
            Self::Noise => Ok(Workload::made(scale, Some(Material::Noise))),
            Self::Libraries => {
                Ok(library_set::workload(options.pick(LibraryScale::FULL, LibraryScale::SMALL)))
            }
            Self::Trees => {
                if let Some([old, new]) = options.trees() {
                    return trees::workload(old, new);
                }
                ensure!(options.small, "name the two releases: --trees OLD NEW");
                let own = Workload::made(scale, None);
                let releases = [("old", Version::Old), ("new", Version::New)];
                let [old, new] = releases.map(|(name, version)| (scratch.join(name), version));
                for (directory, version) in [&old, &new] {
                    write_tree(directory, &own.tree(*version))?;
                }
                trees::workload(&old.0, &new.0)
            }
        }
    }

    /// Refuses made data that is not what it should be: too easy or too hard to compress, or with noise where there is to
    /// be none.
    pub(crate) fn check(self, workload: &Workload, portrait: &Portrait) -> Result<()> {
        let ratio = portrait.ratio;
        let range = match self {
            Self::Mixed => 0.65..=0.75,
            Self::Noise => 0.75..=0.85,
            Self::System | Self::Trees | Self::Libraries => return Ok(()),
        };
        ensure!(range.contains(&ratio), "gzip -1 brings the set {} to {ratio:.3} of its size", self.name());
        if self == Self::Mixed {
            for file in workload.files.iter().step_by(100) {
                let content = file.content(Version::New).context("a made file")?;
                let noise = longest_noise(&content);
                ensure!(noise <= LONGEST_NOISE, "{} has {noise} bytes of noise in a row", file.path);
            }
        }
        Ok(())
    }
}
