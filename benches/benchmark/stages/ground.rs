//! A root with the tree, its stage with the change of the patch, and a copy of the root for rsync.

use std::fs::{self, File, FileTimes};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use crate::disk::Disk;
use crate::growth::clear;
use crate::inputs::{Inputs, fresh};
use crate::line::Line;
use crate::measure::{Cost, Costs, measure};
use crate::tree::Tree;
use crate::workload::{NEW, Version};

/// The tree that is staged, relative to the root.
const STAGED: &str = "opt/acme";

pub(crate) struct Ground<'a> {
    disk: &'a Disk,
    inputs: &'a Inputs,
    root: PathBuf,
    stage: PathBuf,
    /// The copy that rsync changes.
    copy: PathBuf,
}

impl<'a> Ground<'a> {
    pub(crate) fn new(disk: &'a Disk, inputs: &'a Inputs) -> Result<Self> {
        let [root, stage, copy] = ["live", "stage", "rsync"].map(|name| disk.at(name));
        for root in [&root, &copy] {
            fresh(root)?;
            Line::new("cp").arg("-a").arg(inputs.base_files().join("opt")).arg(root).run()?;
            Line::new("chmod").words("-R u=rwX,go=rX").arg(root.join("opt")).run()?;
        }
        Ok(Self { disk, inputs, root, stage, copy })
    }

    pub(crate) fn inputs(&self) -> &Inputs {
        self.inputs
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Measures copies and stages in turns. The last stage stays.
    pub(crate) fn copied_and_staged(&self, runs: usize) -> Result<[Costs; 2]> {
        let mut costs: [Costs; 2] = Default::default();
        let copy = self.disk.at("copy");
        let both = "cp -a \"$0\" \"$1\" && sync -f \"$1\"";
        let lines = [Line::shell(both).arg(self.root.join(STAGED)).arg(&copy), self.stage()];
        for round in 0..runs {
            for (line, costs) in lines.iter().zip(&mut costs) {
                costs.0.push(measure(self.disk, line)?);
            }
            fs::remove_dir_all(&copy)?;
            if round + 1 < runs {
                self.patchadm("stage drop").arg(&self.stage).run()?;
            }
        }
        Ok(costs)
    }

    /// Returns the command that makes the stage.
    pub(crate) fn stage(&self) -> Line {
        self.patchadm("stage new").arg(&self.stage).arg("--path").arg(STAGED)
    }

    /// Makes the change of the patch in the stage.
    pub(crate) fn change(&self) -> Result<()> {
        for file in self.inputs.workload.delivered() {
            let path = self.stage.join(&file.path);
            if path.exists() {
                fs::remove_file(&path)?;
            }
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            let from = self.inputs.packaged(file, Version::New);
            Line::new("cp").arg("--preserve=timestamps").arg(from).arg(&path).run()?;
        }
        for file in self.inputs.workload.gone() {
            fs::remove_file(self.stage.join(&file.path))?;
        }
        Line::new("chmod").words("-R u=rwX,go=rX").arg(self.stage.join(STAGED)).run()
    }

    /// Returns the command that promotes.
    pub(crate) fn promotion(&self, options: &str) -> Line {
        self.patchadm("stage promote").arg(&self.stage).words(options)
    }

    pub(crate) fn promote(&self, options: &str) -> Result<Cost> {
        measure(self.disk, &self.promotion(options))
    }

    /// Undoes the newest promotion.
    pub(crate) fn back_out(&self, options: &str) -> Result<Cost> {
        measure(self.disk, &self.patchadm("undo").words(options))
    }

    /// Measures rsync from the stage to the copy, and restores the copy unmeasured.
    pub(crate) fn rsync(&self) -> Result<Cost> {
        let passes = "rsync -a \"$0\" \"$1\" && rsync -a --delete \"$0\" \"$1\" && sync -f \"$1\"";
        let into = self.copy.join("opt");
        let cost = measure(self.disk, &Line::shell(passes).arg(self.stage.join(STAGED)).arg(&into))?;
        Line::shell(passes).arg(self.root.join(STAGED)).arg(&into).run()?;
        Ok(cost)
    }

    /// Gives all files of the stage another modification time.
    pub(crate) fn touch(&self, round: usize) -> Result<()> {
        let moment = SystemTime::UNIX_EPOCH + Duration::from_secs(NEW + 1 + round as u64);
        let times = FileTimes::new().set_modified(moment);
        for (file, _) in self.inputs.workload.tree(Version::New) {
            File::open(self.stage.join(&file.path))?.set_times(times)?;
        }
        Ok(())
    }

    pub(crate) fn assert_new(&self, after: &str) -> Result<()> {
        Tree::of(&self.root)?.assert_same(self.inputs.expected(Version::New), after)
    }

    pub(crate) fn assert_old(&self, after: &str) -> Result<()> {
        Tree::of(&self.root)?.assert_same(self.inputs.expected(Version::Old), after)
    }

    pub(crate) fn clear(&self) -> Result<()> {
        clear(&[&self.root, &self.stage, &self.copy])
    }

    fn patchadm(&self, verb: &str) -> Line {
        Line::patchadm().arg("-R").arg(&self.root).words(verb)
    }
}
