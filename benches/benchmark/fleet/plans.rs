//! The document of a large plan, in which each object has two states, beside the same plan as text.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::row;
use crate::contender::install_base;
use crate::disk::Disk;
use crate::growth::clear;
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Spread, in_turns};
use crate::options::Options;
use crate::report::Report;
use crate::sets::Set;
use crate::table::{Table, grouped};

/// Measures both forms.
pub(super) fn run(disk: &Disk, options: &Options, table: &mut Table, report: &mut Report) -> Result<()> {
    Report::progress("plans of a large patch");
    let directory = disk.scratch().join("planned");
    let inputs = Inputs::write(Set::Mixed, options, &directory)?;
    let root = disk.at("planned");
    install_base(&Line::patchadm(), &inputs, &root)?;
    let line =
        |words: &str| Line::patchadm().words("plan").words(words).arg("-R").arg(&root).arg(&inputs.patch);
    let lines = [line(""), line("--json")];
    let [text, document] = [lines[0].output()?, lines[1].output()?];
    let objects = objects(&document)?;
    let workload = &inputs.workload;
    let least = workload.replaced.len() + workload.added.len() + workload.deleted.len();
    ensure!(objects >= least, "the plan has {objects} objects, the patch {least}");
    let [of_text, of_document] = in_turns(disk, options.runs(), lines.each_ref())?;
    let name = format!("plan, {} objects", grouped(objects));
    row(table, &name, &of_text, Some(text.len() as f64));
    row(table, &format!("{name}, --json"), &of_document, Some(document.len() as f64));
    let ratio = Spread::of_ratio(&of_document, &of_text).median;
    let each = document.len() as f64 / objects as f64;
    let [text, document] = [text, document].map(|written| grouped((written.len() + 500) / 1_000));
    report.say(&format!(
        "{}: its plan has {text} kB as text and {document} kB as a document, {each:.0} bytes for each object, and the \
         document takes {ratio:.2} times as long as the text.\n",
        inputs.in_short()
    ));
    clear(&[&root, &directory])
}

/// How many objects a plan has with a state before or after.
fn objects(document: &[u8]) -> Result<usize> {
    let plan: Value = serde_json::from_slice(document).context("the plan")?;
    let changes = plan["patches"][0]["changes"].as_array().context("the plan has no changes")?;
    Ok(changes.iter().filter(|change| !change["before"].is_null() || !change["after"].is_null()).count())
}
