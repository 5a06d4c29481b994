//! The proof that a patch can be backed out, which every apply gives before it changes anything: its share of an apply.
//!
//! It is no process of its own and has no switch, so it is given in this process, for the plan that an apply of the set
//! makes, and held against the processor time of whole applies. Beside it stands the same with a full plan of the backout,
//! as it is made where a look at each change does not do.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow};
use patchadm_core::operation::session::RootAndPolicy;
use patchadm_inputs::inventory::Inventory;
use patchadm_inputs::source::{Extent, Origin, open};
use patchadm_planning::plan::Plan;
use patchadm_planning::plan::clock::Now;
use patchadm_planning::plan::concern::touched_by_patch;
use patchadm_planning::plan::patch::apply::apply;
use patchadm_planning::plan::patch::apply_options::ApplyOptions;
use patchadm_planning::plan::patch::backout_proof::{must_have_way_back, plan_backout};
use patchadm_planning::plan::patch::validate::applied_to;
use patchadm_rootfs::{Root, never};
use patchadm_svr4::patch::{AppliedPatches, PatchId};

use crate::contender::install_base;
use crate::delivery::PATCH;
use crate::disk::Disk;
use crate::growth::clear;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Costs, Spread};
use crate::options::Options;
use crate::report::Report;

/// The most that the proof may take of the processor time of an apply, in percent.
const SHARE: f64 = 3.0;

/// A patch that is planned on a root without it.
struct PlannedSet {
    plan: Plan,
    inventory: Inventory,
    id: PatchId,
    separator: String,
    now: Now,
}

/// Reports the share of the proof for a set of which applies cost so much.
pub(crate) fn run(
    disk: &Disk,
    inputs: &Inputs,
    applies: &Costs,
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let root = disk.at("way-back");
    install_base(&Line::patchadm(), inputs, &root)?;
    let planned = PlannedSet::of(&root, &inputs.patch)?;
    let of = |seconds: Vec<f64>| {
        let apply = applies.spread(|cost| cost.cpu).median;
        Spread::of(seconds).scaled(100.0 / apply)
    };
    let proof = of(planned.timed(options, PlannedSet::prove)?);
    let full = of(planned.timed(options, PlannedSet::plan_back)?);
    let set = inputs.set.name();
    report.at_most(
        disk.name(),
        &format!("proof of the backout, of the CPU of an apply, {set}"),
        SHARE,
        proof,
        " %",
    );
    report.say(&format!(
        "The proof that the patch can be backed out takes {:.2} % of the CPU of its apply; a full plan of the backout would \
         take {:.1} %.\n",
        proof.median, full.median
    ));
    clear(&[&root])
}

impl PlannedSet {
    fn of(root: &Path, patch: &Path) -> Result<Self> {
        let utc = chrono::Utc::now().naive_utc();
        let now = Now { utc, local: utc, host: "benchmark".to_owned() };
        let ground = RootAndPolicy::of(&Root::open(root)?)?;
        let (_, image) = open(Origin::Path(patch), Extent::Everything)?;
        let touched = touched_by_patch(&image, PATCH, &ground.packages()?);
        let inventory = ground.survey(&touched, &|| None)?;
        let packages: Vec<_> = inventory.packages.iter().collect();
        let separator = ground.policy.separator.clone();
        let applied = applied_to(&packages, &separator).map(AppliedPatches::new);
        let options = ApplyOptions::default();
        let applied = applied.as_ref().map_err(Clone::clone);
        let planned = apply(&image, &inventory, applied, &ground.policy, &options, &now, &never);
        let plan = planned.map_err(|refusal| anyhow!("{}", refusal.why()))?.plan;
        let id = PatchId::parse(PATCH, &separator).context("the patch of the set")?;
        Ok(Self { plan, inventory, id, separator, now })
    }

    /// Seconds of each of some rounds.
    fn timed(&self, options: &Options, round: fn(&Self) -> Result<()>) -> Result<Vec<f64>> {
        let timed = |_| {
            let began = Instant::now();
            round(self)?;
            Ok(began.elapsed().as_secs_f64())
        };
        (0..options.many_runs()).map(timed).collect()
    }

    fn prove(&self) -> Result<()> {
        let proof =
            must_have_way_back(&self.plan, &self.id, &self.inventory, (&self.separator, &self.now, &never));
        proof.map_err(|reason| anyhow!("{}", reason.sentence()))
    }

    fn plan_back(&self) -> Result<()> {
        let planned =
            plan_backout(&self.plan, &self.id, &self.inventory, (&self.separator, &self.now, &never));
        planned.map(drop).map_err(|reason| anyhow!("{}", reason.sentence()))
    }
}
