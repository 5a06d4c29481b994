//! Roots whose records lie: everything in them is written as this program writes it, every checksum and digest is right,
//! and one value is not true. Whoever owns a root can write such records, and so can root in a container's tree.
//!
//! Each value of each kind of record is replaced by each value of a table, and then root runs some command that changes
//! the root. Whatever the record says, nothing outside the root is read, changed, made, removed or signalled, nothing
//! in it gains rights, and the command does not fail with an internal error. The true value, put in the same way,
//! passes in each place.

/// One command on a root that lies.
mod arena;
/// Lists of what a patch delivered.
mod delivered;
/// The kinds of records, their values, and how they are replaced.
mod records;
/// The roots whose records lie.
mod roots;
/// Proof that each rule is needed.
mod rules;
/// The records of undo data as files.
mod stored;
/// The table of rules.
mod table;
/// Undo archives with another manifest.
mod undo;
/// The table of lies.
mod values;
/// Observation from outside.
mod watch;

use std::collections::{BTreeMap, BTreeSet};

use self::arena::{Arena, Attempt};
use self::records::{Field, Form, Record, Told};
use self::roots::State;
use crate::random::Random;
use crate::reliability::hostile_roots::can_trace;
use crate::reliability::stories::is_name_asked_for;
use crate::reliability::{figures, is_whole, sample_or_whole};
use crate::sandbox::Sandbox;
use crate::scenario::{Scenario, is_root};

/// Commands that change a root at rest.
const CHANGES: [&str; 11] = [
    "patchadd -R @ROOT@ delivered/100-02",
    "patchrm -R @ROOT@ 100-01",
    "pkgadd -n -a nocheck -R @ROOT@ -d spool ACMEnew",
    "pkgrm -n -a nocheck -R @ROOT@ ACMEweb",
    "installf -R @ROOT@ ACMEweb /opt/ACMEweb/lib/x f 0600 root root",
    "removef -R @ROOT@ ACMEweb /opt/ACMEweb/lib/x",
    "pkgchk -f -R @ROOT@",
    "recover -R @ROOT@",
    "add -R @ROOT@ delivered/100-02",
    "remove -R @ROOT@ 100-01",
    "patchrm -R @ROOT@ 101-01",
];

/// Commands for records that only some of them read.
const OF_UNDO: [&str; 5] = [CHANGES[1], CHANGES[9], CHANGES[3], CHANGES[0], CHANGES[6]];
const OF_REMOTE: [&str; 3] = [CHANGES[10], CHANGES[10], CHANGES[3]];
const OF_LEDGER: [&str; 4] = [CHANGES[1], CHANGES[10], CHANGES[0], CHANGES[3]];

/// Commands that meet undo data as files.
const OF_STORED: [&str; 5] = [
    "remove -R @ROOT@ 103-01",
    "patchrm -R @ROOT@ 103-01",
    "undo-data repack --undo-format gz -R @ROOT@ 103-01",
    "pkgrm -n -a nocheck -R @ROOT@ ACMEold",
    "add -R @ROOT@ delivered/103-02",
];

/// The backout of a patch with scripts of its own.
const OF_HOOKS: [&str; 2] = ["patchrm -R @ROOT@ 102-01", "remove -R @ROOT@ 102-01"];

/// Commands on a root with an unfinished run: all recover it first.
const RECOVERING: [&str; 6] = [
    "recover -R @ROOT@",
    "recover -R @ROOT@",
    "recover -R @ROOT@",
    CHANGES[2],
    CHANGES[4],
    "recover -R @ROOT@",
];

/// Commands that meet a trial: the first two while it goes on, the others when it is over.
const OF_TRIALS: [&str; 4] =
    ["confirm -R @ROOT@", "undo -R @ROOT@", "recover -R @ROOT@", "undo-data drop --superseded -R @ROOT@"];

/// Kinds of records that matter while a run is unfinished.
const OF_RUNS: [&str; 6] = ["journal", "notes", "alone", "marker", "queue", "stage"];

/// One value of a record of one root, and one of the lies about it.
struct Case {
    template: usize,
    field: Field,
    lie: usize,
    command: &'static str,
    is_traced: bool,
    /// True if it is also told to a program that does not trust the owner.
    is_told_to_both: bool,
    /// True if more than one value is told: a lie of somebody who knows the program.
    is_plot: bool,
}

/// Results of the cases of one kind of record.
#[derive(Clone, Copy, Default)]
struct Tally {
    played: u64,
    refused: u64,
    exact: u64,
    traced: u64,
    true_values: u64,
    /// To a program that is not told to trust the owner of the root.
    untrusted: u64,
}

/// Plays cases in an arena, and keeps count.
struct Player {
    arena: Arena,
    tallies: BTreeMap<String, Tally>,
    wrong: Vec<String>,
}

/// Returns all lies and plots for the roots of an arena, in the same order for every arena. Each lie goes to one root,
/// owned by a user or by uid 0; each plot goes to both. A random generator with a fixed seed chooses: alternating would
/// fall in step with the choice of commands.
fn cases(arena: &Arena) -> Vec<Case> {
    let (mut cases, mut dice) = (Vec::new(), Random(1));
    let root = arena.stage.root();
    for state in State::ALL {
        let own = arena.templates.iter().enumerate().filter(|(_, template)| template.state == state);
        let own: Vec<usize> = own.map(|(number, _)| number).collect();
        let Some(&any) = own.first() else { continue };
        arena.templates[any].put(&root);
        let mut known = BTreeSet::new();
        for record in Record::all(&root).into_iter().filter(|record| plays(state, record)) {
            let fields = record.fields(&root);
            let is_new = |field: &&Field| is_told(state, field, &fields) && known.insert(place_of(field));
            for field in fields.iter().filter(is_new) {
                for (lie, told) in arena.outside.lies(field).into_iter().enumerate() {
                    let is_plot = told.0.len() > 1 || field.name() == "script";
                    let turn = cases.len();
                    let commands = commands_for(state, record.kind);
                    let roots = if is_plot { &own[..] } else { &own[dice.below(own.len())..][..1] };
                    let is_chosen = dice.once_in(16);
                    let is_told_to_both = dice.once_in(8);
                    cases.extend(roots.iter().map(|&template| {
                        let (field, command) = (field.clone(), commands[turn % commands.len()]);
                        // strace would wait for the watcher of the trial that this recovery lets go on.
                        let is_traced = is_chosen && (state, command) != (State::OverTrial, OF_TRIALS[2]);
                        Case { template, field, lie, command, is_traced, is_told_to_both, is_plot }
                    }));
                }
            }
        }
    }
    cases
}

impl Player {
    /// Plays one case, and records what is wrong.
    fn play(&mut self, case: &Case, is_trusted: bool) {
        let lies = self.arena.outside.lies(&case.field);
        let Some(lie) = lies.get(case.lie) else { return };
        let Case { template, command, is_traced, .. } = *case;
        let (record, told) = (&case.field.record, &lie.0[..]);
        let attempt = Attempt { template, record, told, command, is_traced, is_trusted, build: None };
        let Some(outcome) = self.arena.attempt(&attempt) else { return };
        let is_exact = outcome.code == 0 && self.arena.expected(template, command).picture == outcome.picture;
        let tally = self.tallies.entry(case.field.kind.clone()).or_default();
        tally.played += 1;
        tally.traced += u64::from(is_traced);
        tally.untrusted += u64::from(!is_trusted);
        tally.exact += u64::from(is_exact);
        tally.refused += u64::from(outcome.code != 0);
        if !outcome.wrongs.is_empty() {
            let (state, owner) = (self.arena.templates[template].state, self.arena.templates[template].owner);
            let what = format!("{state:?} {owner:?} {} {}: {command}", case.field.kind, shown(told));
            self.wrong.push(format!("{what} ({}): {}", outcome.code, outcome.wrongs.join("; ")));
        }
    }

    /// Tells the true value instead of a lie.
    fn tell_the_truth(&mut self, case: &Case) {
        let told = self.arena.tell_the_truth(case.template, &case.field, case.command);
        self.wrong.extend(told.err());
        self.tallies.entry(case.field.kind.clone()).or_default().true_values += 1;
    }
}

/// True if the lies about a record are told in a state.
fn plays(state: State, record: &Record) -> bool {
    match state {
        State::Rest => record.kind != "hook",
        State::OnTrial | State::OverTrial => ["trial", "history"].contains(&record.kind),
        State::Hooks => record.kind == "hook" || record.kind == "ledger" && record.path.ends_with("zone"),
        _ => OF_RUNS.contains(&record.kind),
    }
}

/// True if lies about a field of a record are told in a state.
fn is_told(state: State, field: &Field, all: &[Field]) -> bool {
    let is_journal = field.kind.starts_with("journal");
    if field.record.form == Form::Stored {
        // Everything else is as in the manifest of an archive.
        let words = ["file", "features", "member", "path", "b3", "size"];
        return words.iter().any(|word| field.pointer.contains(word));
    }
    match state {
        // Everything else is as with undo data in an archive.
        State::CutStoring | State::CommittedStoring | State::CommittedDropping => {
            field.kind == "journal archive"
                && ["files", "drop"].iter().any(|word| field.pointer.contains(word))
        }
        // Of a finished run only the sectors are read, and its story, which may have been lost.
        State::Rest => {
            let is_sector = field.record.form == Form::Journal && field.line < 8;
            !is_journal || is_sector || field.kind == "journal story"
        }
        // Everything else is as on one file system.
        State::CutOnTwo if is_journal => {
            let is_on_second = |other: &Field| {
                (other.line, &other.pointer[..]) == (field.line, "/op/domain") && other.truth == 1
            };
            field.kind == "journal domain" || field.kind.contains(" op ") && all.iter().any(is_on_second)
        }
        _ => true,
    }
}

/// The identity of a field, whose lies are told once in each state. The same field in another line is not another one,
/// except that each domain of a run has a line and a stage of its own.
fn place_of(field: &Field) -> (String, String, String) {
    let of_domain = match field.kind.as_str() {
        "journal domain" => field.line.to_string(),
        "marker" | "stage" => field.record.path.clone(),
        _ => String::new(),
    };
    (field.kind.clone(), shape(&field.pointer), of_domain)
}

/// A pointer without the indices of lists.
fn shape(pointer: &str) -> String {
    let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let depth = pointer.split('/').count();
    let shaped = pointer.split('/').map(|part| if depth > 2 && is_number(&part) { "#" } else { part });
    shaped.collect::<Vec<_>>().join("/")
}

fn commands_for(state: State, kind: &str) -> &'static [&'static str] {
    match kind {
        _ if state == State::Hooks => &OF_HOOKS,
        _ if state == State::OnTrial => &OF_TRIALS[..2],
        _ if state == State::OverTrial => &OF_TRIALS[2..],
        _ if state != State::Rest => &RECOVERING,
        "manifest" | "unbound manifest" | "digest" | "paths" | "save directory" | "obsoleted_by" => &OF_UNDO,
        "stored manifest" | "identities" | "undo directory" | "stored file" => &OF_STORED,
        "remote" => &OF_REMOTE,
        "ledger" => &OF_LEDGER,
        _ => &CHANGES,
    }
}

fn shown(told: &[Told]) -> String {
    let one = |(line, pointer, value): &Told| {
        let value: String = value.to_string().chars().take(120).collect();
        format!("{line}{pointer} = {value}")
    };
    told.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// Plays a part of the cases.
fn share(part: usize, parts: usize) -> Player {
    let mut player = Player { arena: Arena::new(), tallies: BTreeMap::new(), wrong: Vec::new() };
    let (step, step_of_plots) = sample_or_whole((211, 8), (1, 4));
    let (mut places, mut turn) = (BTreeSet::new(), 0);
    for (number, case) in cases(&player.arena).iter().enumerate() {
        let is_chosen = number % step == 0 || case.is_plot && number % step_of_plots == 0;
        if !is_chosen || !is_name_asked_for(&case.field.kind) {
            continue;
        }
        turn += 1;
        if turn % parts != part {
            continue;
        }
        let has_truth = case.field.record.form != Form::Unbound;
        let field = &case.field;
        // In a sample one field stands for the whole record.
        let (line, pointer) = if is_whole() { (field.line, &field.pointer[..]) } else { (0, "") };
        if has_truth && places.insert((case.template, field.record.path.clone(), line, pointer.to_owned())) {
            player.tell_the_truth(case);
        }
        player.play(case, true);
        if case.is_told_to_both && player.arena.is_asked(case.template) {
            player.play(case, false);
        }
    }
    player
}

/// Plays a part inside the box, which cannot write to the checkout: the process only prints what it has played.
#[allow(clippy::print_stdout)] // to the test outside the box
fn play(part: usize, parts: usize) {
    let Player { tallies, wrong, .. } = share(part, parts);
    for (kind, tally) in tallies {
        let counts =
            [tally.played, tally.refused, tally.exact, tally.traced, tally.true_values, tally.untrusted];
        println!("played: {kind}: {}", counts.map(|count| count.to_string()).join(" "));
    }
    assert!(wrong.is_empty(), "{} lies work:\n{}", wrong.len(), wrong.join("\n"));
}

/// The variable that tells a test that it is in the box.
const INSIDE: &str = "PATCHADM_TESTS_INSIDE";

/// Plays a test once more where it can do no harm, with these variables. Returns its output; none if that cannot be
/// done here.
fn in_a_box(test: &str, variables: &[(&str, &str)]) -> Option<String> {
    if !is_root() || !can_trace() {
        crate::skipped(&format!("{test}: it takes the superuser and strace(1)"));
        return None;
    }
    let stage = Scenario::bare();
    let mut command = Sandbox::new(&stage.beside(""))?.command(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(INSIDE, "1").env("TMPDIR", "/tmp");
    command.envs(variables.iter().copied());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    said.lines().filter(|line| line.starts_with("skipped: ")).for_each(|line| crate::skipped(&line[9..]));
    Some(said.into_owned())
}

in_parts!(no_lie_in_a_record_leads_out_of_its_root, tell_lies, 6);

/// Tells a part of the lies, in a box.
fn tell_lies(part: usize, parts: usize) {
    if std::env::var_os(INSIDE).is_some() {
        return play(part, parts);
    }
    let test = format!("reliability::lies::no_lie_in_a_record_leads_out_of_its_root::part_{}", part + 1);
    let Some(said) = in_a_box(&test, &[]) else { return };
    let mut sum = [0; 6];
    for line in said.lines().filter_map(|line| line.strip_prefix("played: ")) {
        let counts = line.rsplit_once(": ").unwrap().1.split(' ').map(|word| word.parse::<u64>().unwrap());
        sum.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }
    let least = sample_or_whole(80, 2000) / parts as u64;
    assert!(sum[0] >= least || !is_name_asked_for(""), "{sum:?}");
    assert!(!is_whole() || sum[3] > sum[0] / 32 && sum[5] > sum[0] / 64, "{sum:?}");
    let others = sum[0] - sum[1] - sum[2];
    let counts = [
        ("lies", sum[0]),
        ("refused", sum[1]),
        ("without consequence", sum[2]),
        ("taken for another truth about the root", others),
        ("under strace", sum[3]),
        ("of owners who are not trusted", sum[5]),
        ("true values passed", sum[4]),
        ("escapes", 0),
    ];
    figures("lies", &counts);
}
