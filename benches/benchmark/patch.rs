//! How long a patch takes, in both forms of undo data, beside both floors; and its system calls and phases.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use crate::contender::{self, Contender, Measured, Role, of, rounds};
use crate::disk::Disk;
use crate::floor::{COMPRESS, STAGE, SWITCH, SYNC};
use crate::inputs::Inputs;
use crate::line::Line;
use crate::measure::{Cost, Costs, Spread, run as run_measured};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::{seconds, spread};
use crate::trace;
use crate::tree::switch_window;

/// A command of a contender.
struct Step {
    name: &'static str,
    line: fn(&Contender) -> &Line,
    costs: fn(&Measured) -> &Costs,
}

const ADD: Step = Step { name: "add", line: |contender| &contender.apply, costs: |measured| &measured.apply };
const REMOVE: Step =
    Step { name: "remove", line: |contender| &contender.back_out, costs: |measured| &measured.back_out };

/// A ratio to a floor with its limit.
struct Judged {
    step: Step,
    role: Role,
    floor: Role,
    what: &'static str,
    figure: fn(&Cost) -> f64,
    limit: f64,
}

const fn judged(step: Step, role: Role, floor: Role, limit: f64) -> Judged {
    Judged { step, role, floor, what: "", figure: |cost| cost.wall, limit }
}

const JUDGED: [Judged; 9] = [
    judged(ADD, Role::Patchadm, Role::Floor, 0.7),
    judged(REMOVE, Role::Patchadm, Role::Floor, 0.9),
    judged(ADD, Role::Files, Role::Floor, 0.55),
    judged(REMOVE, Role::Files, Role::Floor, 0.4),
    judged(ADD, Role::Files, Role::LinkFloor, 1.35),
    judged(REMOVE, Role::Files, Role::LinkFloor, 1.9),
    Judged { what: ", CPU", figure: |cost| cost.cpu, ..judged(ADD, Role::Patchadm, Role::Floor, 1.6) },
    Judged { what: ", CPU", figure: |cost| cost.cpu, ..judged(REMOVE, Role::Patchadm, Role::Floor, 1.8) },
    Judged { what: ", CPU", figure: |cost| cost.cpu, ..judged(REMOVE, Role::Files, Role::Patchadm, 0.25) },
];

/// Limit of the flushes of a run.
pub(crate) const FLUSHES: f64 = 16.0;

/// Limits of the system calls for each object, with files as undo data.
const CALLS: [(Step, Option<f64>); 2] = [(ADD, Some(28.0)), (REMOVE, Some(20.0))];

/// Measures on a disk.
pub(crate) fn run(disk: &Disk, inputs: &Inputs, options: &Options, report: &mut Report) -> Result<()> {
    let contenders = [
        contender::floor(disk, inputs)?,
        contender::link_floor(disk, inputs)?,
        contender::patchadm(disk, inputs)?,
        contender::patchadm_files(disk, inputs)?,
        contender::patchadm_plain(disk, inputs)?,
    ];
    let measured = rounds(disk, inputs, &contenders, options, report)?;
    judge(&measured, report);
    compression(&measured, report);
    flushes(&measured, report);
    let [floor, _, archive, files, _] = &contenders;
    if let Some(reason) = trace::why_not() {
        report.skipped("system calls and phases", reason);
    } else {
        system_calls(disk, inputs, [archive, files], report)?;
        phases(disk, inputs, [floor, archive], options, report)?;
    }
    report.say(&format!("The patch: {}.", inputs.in_short()));
    contender::clear(&contenders)
}

/// Returns the name of a command with a form of undo data.
fn name(step: &Step, role: Role) -> String {
    let form = match role {
        Role::Files => "files",
        Role::PlainArchive => "plain archive",
        _ => "archive",
    };
    format!("{}, {form}", step.name)
}

fn judge(measured: &[(Role, Measured)], report: &mut Report) {
    for Judged { step, role, floor, what, figure, limit } in JUDGED {
        let (Some(ours), Some(its)) = (of(measured, role), of(measured, floor)) else { continue };
        let (ours, its) = ((step.costs)(ours), (step.costs)(its));
        let beside = match floor {
            Role::Floor => "",
            Role::LinkFloor => ", beside the link floor",
            _ => ", beside that of an archive",
        };
        let work = format!("{}{what}{beside}", name(&step, role));
        let row = Row::new(work, spread(ours.spread(figure)));
        let ratio = Spread::of_ratio_in(ours, its, figure);
        report.row(row.floor(spread(its.spread(figure)), ratio).times_floor(limit));
    }
}

/// Reports the cost of compressing and of verifying the result, beyond an uncompressed archive.
fn compression(measured: &[(Role, Measured)], report: &mut Report) {
    let (Some(archive), Some(plain)) = (of(measured, Role::Patchadm), of(measured, Role::PlainArchive))
    else {
        return;
    };
    for step in [ADD, REMOVE] {
        let [with, without] = [archive, plain].map(|measured| (step.costs)(measured));
        let beyond = |figure: fn(&Cost) -> f64| with.spread(figure).median - without.spread(figure).median;
        let work = match step.name {
            "add" => "add, archive: compress and verify",
            _ => "remove, archive: decompress and verify",
        };
        let [wall, cpu] = [beyond(|cost| cost.wall), beyond(|cost| cost.cpu)];
        report.row(Row::new(work, format!("{}, CPU {}", signed(wall), signed(cpu))));
    }
    report.say("The costs of compression are those beyond an archive that is not compressed.");
}

/// Formats seconds, which may be negative.
fn signed(figure: f64) -> String {
    if figure < 0.0 { format!("−{}", seconds(-figure)) } else { seconds(figure) }
}

fn flushes(measured: &[(Role, Measured)], report: &mut Report) {
    for role in [Role::Patchadm, Role::Files] {
        for step in [ADD, REMOVE] {
            let costs = of(measured, role).map(|measured| (step.costs)(measured));
            report_flushes(&name(&step, role), costs, report);
        }
    }
}

/// Adds the most flushes of all runs, if they can be counted.
pub(crate) fn report_flushes(work: &str, costs: Option<&Costs>, report: &mut Report) {
    if let Some(flushes) = costs.and_then(|costs| costs.counted(|cost| cost.flushes)) {
        let most = format!("{:.0}", flushes.most);
        report.row(Row::new(format!("{work}: most flushes"), most).at_most(FLUSHES, flushes.most, ""));
    }
}

fn system_calls(disk: &Disk, inputs: &Inputs, builds: [&Contender; 2], report: &mut Report) -> Result<()> {
    for contender in builds {
        for (step, limit) in CALLS {
            let calls = trace::system_calls(disk, (step.line)(contender))?;
            let each = calls as f64 / inputs.objects() as f64;
            let work = format!("{}: system calls for each file", name(&step, contender.role));
            let row = Row::new(work, format!("{each:.1}"));
            let limit = limit.filter(|_| contender.role == Role::Files);
            report.row(match limit {
                Some(limit) => row.at_most(limit, each, ""),
                None => row,
            });
        }
    }
    Ok(())
}

/// Seconds of each phase of some runs.
type PhaseTimes = BTreeMap<&'static str, Vec<f64>>;

/// Measures the phases of the program and of its floor.
fn phases(
    disk: &Disk,
    inputs: &Inputs,
    [floor, ours]: [&Contender; 2],
    options: &Options,
    report: &mut Report,
) -> Result<()> {
    let digest = Line::inner("@digest")?.arg(&inputs.changes).arg(&inputs.patched_files).arg(&ours.root);
    let mut digests = Vec::new();
    let mut times: [[PhaseTimes; 2]; 2] = Default::default();
    for _ in 0..options.runs() {
        digests.push(run_measured(disk.scratch(), &digest)?.wall);
        for (step, [its, own]) in [ADD, REMOVE].iter().zip(&mut times) {
            add_floor((step.line)(floor), its)?;
            let seen = trace::phases(disk, (step.line)(ours))?;
            let workload = &inputs.workload;
            let back =
                workload.replaced.iter().chain(&workload.deleted).map(|&number| &workload.files[number]);
            let switch = match step.name {
                "add" => switch_window(&ours.root, workload.delivered(), disk.clock()),
                _ => switch_window(&ours.root, back, disk.clock()),
            }?;
            let rest = seen.all - seen.prepare - seen.stage - seen.sync - switch;
            let phases = [
                ("prepare", seen.prepare),
                ("stage", seen.stage),
                ("sync", seen.sync),
                ("switch", switch),
                ("records", rest.max(0.0)),
            ];
            for (name, took) in phases {
                own.entry(name).or_default().push(took);
            }
        }
    }
    let digests = Spread::of(digests);
    for (step, [its, own]) in [ADD, REMOVE].iter().zip(&times) {
        for phase in ["prepare", "stage", "sync", "switch", "records"] {
            let took = |times: &PhaseTimes, phase: &str| {
                times.get(phase).map(|times| Spread::of(times.iter().copied()))
            };
            let Some(own) = took(own, phase) else { continue };
            let row = Row::new(format!("{}: {phase}", name(step, ours.role)), spread(own));
            let floor = match phase {
                "prepare" if step.name == "add" => Some(digests),
                "prepare" => None,
                phase => took(its, phase),
            };
            report.row(match floor {
                Some(floor) => {
                    let ratio = Spread::from(own.median / floor.median);
                    row.floor(spread(floor), ratio)
                }
                None => row,
            });
        }
    }
    report.say(
        "The floor of `prepare` reads and digests the files of the patch and the old files on all cores; that of `stage` \
         compresses or decompresses, and writes.",
    );
    Ok(())
}

/// Runs a floor, and adds the seconds of its phases.
fn add_floor(line: &Line, times: &mut PhaseTimes) -> Result<()> {
    let output = line.output()?;
    let mut sums = BTreeMap::<&'static str, f64>::new();
    for told in String::from_utf8_lossy(&output).lines() {
        let (name, took) = told.split_once(' ').context("the floor told no phase")?;
        let name = [COMPRESS, STAGE, SYNC, SWITCH].into_iter().find(|known| *known == name);
        // The program compresses while it stages.
        let phase =
            if name == Some(COMPRESS) { STAGE } else { name.context("the floor told an unknown phase")? };
        *sums.entry(phase).or_default() += took.parse::<f64>()?;
    }
    for (phase, took) in sums {
        times.entry(phase).or_default().push(took);
    }
    Ok(())
}
