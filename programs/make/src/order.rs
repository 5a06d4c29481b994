//! `patchadm-make order`: packages or patches in dependency order, as text, JSON, or a graph for Graphviz.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use patchadm_cli::arguments::fetching::{FetchOptions, OfflineOption, fetch_bar};
use patchadm_cli::arguments::options::POLICY;
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::paths::paths_in_root;
use patchadm_cli::arguments::verbs::VerbOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::cause_of::of_source;
use patchadm_cli::reply::depot_end::{depot_advice, depot_exit};
use patchadm_cli::reply::failure::{hinted, query_refused};
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::reply::{CommandReport, Exit, ExitCause, Reply, Stop};
use patchadm_cli::surroundings::Output;
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_core::operation::depots::{DepotProgress, FetchSession};
use patchadm_core::operation::order::{
    OrderAnswer, OrderError, OrderOperand, OrderQuestion, StaleEntry, StaleReason, order_of_directory,
    order_of_root,
};
use patchadm_inputs::policy::Policy;
use patchadm_planning::order::{EdgeKind, NeedEdge, OrderDirection};
use patchadm_rootfs::Root;
use patchadm_svr4::package::ObjectPath;
use serde::Serialize;

const USAGE: &str = "patchadm-make [-R root] order [option...] [name|path...]\npatchadm-make order [option...] -M dir [name|path...]";

/// Put packages or patches in order, requirements first
#[derive(clap::Parser)]
struct OrderArgs {
    /// Order the dependencies of the named packages instead of their dependents
    #[arg(long)]
    dependencies: bool,
    /// Reverse the order
    #[arg(long)]
    reverse: bool,
    /// Show only packages that need a kept library or would load two versions of a library, and why
    #[arg(long)]
    stale: bool,
    /// Order the packages in DIR, or the patches of a depot
    #[arg(short = 'M', long = "depot", value_name = "DIR", conflicts_with_all = ["stale", "root", POLICY])]
    directory: Option<PathBuf>,
    /// Also show which object needs which
    #[arg(long)]
    why: bool,
    /// Print a graph for Graphviz
    #[arg(long)]
    dot: bool,
    #[command(flatten)]
    common: VerbOptions,
    /// Packages, patches, or paths of objects
    #[arg(value_name = "NAME|PATH")]
    operands: Vec<PathBuf>,
}

impl OrderArgs {
    fn question(
        &self,
        paths: impl Fn(&[PathBuf]) -> Result<Vec<ObjectPath>, Stop>,
    ) -> Result<OrderQuestion, Stop> {
        let is_path = |word: &&PathBuf| word.as_os_str().as_encoded_bytes().contains(&b'/');
        let (words, names): (Vec<_>, Vec<_>) = self.operands.iter().cloned().partition(|word| is_path(&word));
        let names = names.iter().map(|name| OrderOperand::Name(name.to_string_lossy().into_owned()));
        Ok(OrderQuestion {
            operands: names.chain(paths(&words)?.into_iter().map(OrderOperand::Path)).collect(),
            direction: self.direction(),
            is_reversed: self.reverse,
            is_about_stale: self.stale,
            with_edges: self.why || self.dot,
        })
    }

    fn report(&self, answer: OrderAnswer) -> OrderReport {
        let face = if self.dot { OrderFace::Dot } else { OrderFace::Lines };
        OrderReport::of(answer, self.direction(), face, self.why)
    }

    fn direction(&self) -> OrderDirection {
        if self.dependencies { OrderDirection::Dependencies } else { OrderDirection::Dependents }
    }
}

pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: OrderArgs = parse(call, USAGE)?;
    if args.dot && call.in_json {
        let message = "--dot and --json cannot be used together".to_owned();
        return Err(Stop::Usage { message, usage: USAGE }.into());
    }
    if args.directory.is_some() {
        return in_directory(call, &args);
    }
    let root = args.common.root.open(call)?;
    let question = args.question(|words| paths_in_root(&root, words, USAGE))?;
    let answer = with_signals(|interrupt| order_of_root(&root, &question, interrupt))?;
    let answer = answer.map_err(|error| order_refused(Some(&root), &error, USAGE))?;
    Ok(Reply::about(&root, Exit::OK, args.report(answer)))
}

fn in_directory(call: &Invocation, args: &OrderArgs) -> anyhow::Result<Reply> {
    let directory = args.directory.as_deref().unwrap_or_else(|| std::path::Path::new("."));
    let question = args.question(paths_in_packages)?;
    let bar = fetch_bar(call);
    let progress = |progress: DepotProgress<'_>| bar.show(progress);
    let answer = with_signals(|interrupt| {
        // Only a directory of this machine is read.
        let options = FetchOptions::from(OfflineOption { offline: true });
        let access = options.access(&call.surroundings, &Policy::default(), None, interrupt, &progress);
        order_of_directory(directory, &question, &FetchSession::new(access))
    })?;
    drop(bar);
    let answer = answer.map_err(|error| order_refused(None, &error, USAGE))?;
    Ok(Reply::new(Exit::OK, args.report(answer)))
}

fn paths_in_packages(words: &[PathBuf]) -> Result<Vec<ObjectPath>, Stop> {
    let path = |word: &PathBuf| {
        let path = ObjectPath::new(word.as_os_str().as_encoded_bytes());
        path.map_err(|error| Stop::Usage { message: error.to_string(), usage: USAGE })
    };
    words.iter().map(path).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderFace {
    Lines,
    Dot,
}

#[derive(Debug, Serialize)]
pub(super) struct OrderReport {
    of: &'static str,
    direction: &'static str,
    groups: Vec<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    edges: Option<Vec<EdgeEntry>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    stale: Option<Vec<StaleReport>>,
    #[serde(skip)]
    all_edges: Vec<NeedEdge>,
    #[serde(skip)]
    face: OrderFace,
    #[serde(skip)]
    not_understood: Vec<(String, String)>,
    #[serde(skip)]
    skipped: Vec<String>,
}

#[derive(Debug, Serialize)]
struct EdgeEntry {
    from: String,
    to: String,
    kind: &'static str,
    object: Option<String>,
    need: String,
}

#[derive(Debug, Serialize)]
struct StaleReport {
    name: Option<String>,
    path: Option<String>,
    reason: &'static str,
    libraries: Vec<String>,
    ways: Vec<Vec<String>>,
    #[serde(skip)]
    line: String,
}

impl OrderReport {
    pub(super) fn of(
        answer: OrderAnswer,
        direction: OrderDirection,
        face: OrderFace,
        tells_why: bool,
    ) -> Self {
        let OrderAnswer { subject, order, stale, not_understood, skipped } = answer;
        let edges = tells_why.then(|| order.edges.iter().map(EdgeEntry::of).collect());
        Self {
            of: subject.word(),
            direction: direction.word(),
            groups: order.groups,
            edges,
            stale: stale.map(|entries| entries.into_iter().map(StaleReport::of).collect()),
            all_edges: order.edges,
            face,
            not_understood,
            skipped,
        }
    }

    fn print_groups(&self, output: &mut Output) -> anyhow::Result<()> {
        for group in &self.groups {
            output.line(group.join(" "))?;
            self.print_needs(output, group)?;
        }
        Ok(())
    }

    fn print_needs(&self, output: &mut Output, group: &[String]) -> anyhow::Result<()> {
        if self.edges.is_none() {
            return Ok(());
        }
        for edge in group.iter().flat_map(|name| edges_from(&self.all_edges, name)) {
            output.line(format!("  {} needs {}: {}", edge.from, edge.to, reason_of(edge)))?;
        }
        Ok(())
    }
}

fn edges_from<'e>(edges: &'e [NeedEdge], name: &str) -> &'e [NeedEdge] {
    let begin = edges.partition_point(|edge| *edge.from < *name);
    let end = edges.partition_point(|edge| *edge.from <= *name);
    edges.get(begin..end).unwrap_or_default()
}

impl EdgeEntry {
    fn of(edge: &NeedEdge) -> Self {
        let NeedEdge { from, to, kind, object, need } = edge.clone();
        Self { from, to, kind: kind.word(), object, need }
    }
}

impl StaleReport {
    fn of(entry: StaleEntry) -> Self {
        let libraries = entry.libraries.join(", ");
        let line = match entry.reason {
            StaleReason::Kept if entry.libraries.len() == 1 => format!("needs {libraries}, which is kept"),
            StaleReason::Kept => format!("needs {libraries}, which are kept"),
            StaleReason::TwoVersions => format!("would load {} together", entry.libraries.join(" and ")),
        };
        let ways = entry.ways.iter().map(|way| way.iter().map(ToString::to_string).collect()).collect();
        let is_object = entry.is_object();
        let (name, path) =
            if is_object { (None, Some(entry.name.clone())) } else { (Some(entry.name.clone()), None) };
        Self {
            line: format!("{}: {line}", entry.name),
            name,
            path,
            reason: entry.reason.word(),
            libraries: entry.libraries,
            ways,
        }
    }

    fn subject(&self) -> &str {
        self.name.as_deref().or(self.path.as_deref()).unwrap_or_default()
    }

    fn print(&self, output: &mut Output) -> anyhow::Result<()> {
        output.line(&self.line)?;
        self.ways.iter().try_for_each(|way| Ok(output.line(format!("  {}", way.join(" -> ")))?))
    }
}

impl CommandReport for OrderReport {
    fn print_text(&self, output: &mut Output) -> anyhow::Result<()> {
        let Some(stale) = self.stale.as_ref().filter(|_| self.face == OrderFace::Lines) else {
            return match self.face {
                OrderFace::Dot => {
                    Ok(output.document(graph(&self.groups, &self.all_edges, self.edges.is_some()))?)
                }
                OrderFace::Lines => self.print_groups(output),
            };
        };
        for (at, entry) in stale.iter().enumerate() {
            entry.print(output)?;
            let is_last_of_subject = stale.get(at + 1).is_none_or(|next| next.subject() != entry.subject());
            if is_last_of_subject {
                self.print_needs(output, &[entry.subject().to_owned()])?;
            }
        }
        Ok(())
    }

    fn print_remarks(&self, output: &mut Output) -> anyhow::Result<()> {
        let mut notes = Vec::new();
        match self.not_understood.as_slice() {
            [] => {}
            [(path, reason)] => notes.push(format!("{path} cannot be parsed: {reason}")),
            [(path, reason), ..] => notes.push(format!(
                "{} files cannot be parsed, the first of them {path}: {reason}",
                self.not_understood.len()
            )),
        }
        if output.is_verbose() {
            notes.extend(self.skipped.iter().map(|path| format!("{path} was not examined")));
        }
        Ok(print_notes(output, &notes)?)
    }
}

fn graph(groups: &[Vec<String>], edges: &[NeedEdge], tells_why: bool) -> String {
    let mut text = "digraph order {\n".to_owned();
    for (number, group) in groups.iter().enumerate() {
        let names: String =
            group.iter().map(|name| format!("{};", quoted(name))).collect::<Vec<_>>().join(" ");
        // Writing to a string never fails.
        let _ = match group.len() {
            1 => writeln!(text, "  {names}"),
            _ => writeln!(text, "  subgraph cluster_{number} {{ {names} }}"),
        };
    }
    let mut arrows: BTreeMap<(&str, &str), Vec<String>> = BTreeMap::new();
    for edge in edges {
        arrows.entry((&edge.from, &edge.to)).or_default().push(reason_of(edge));
    }
    for ((from, to), reasons) in arrows {
        let label =
            if tells_why { format!(" [label={}]", quoted(&reasons.join("\n"))) } else { String::new() };
        let _ = writeln!(text, "  {} -> {}{label};", quoted(from), quoted(to));
    }
    text + "}\n"
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

fn reason_of(edge: &NeedEdge) -> String {
    let object = edge.object.as_deref().unwrap_or_default();
    match edge.kind {
        EdgeKind::Depend => format!("{object} has {}", edge.need),
        EdgeKind::Elf => format!("{object} loads {}", edge.need),
        EdgeKind::Patch => format!("it requires {}", edge.need),
    }
}

/// Ends with 1 for missing and unreadable operands, otherwise with the code of a query.
fn order_refused(root: Option<&Root>, error: &OrderError, usage: &'static str) -> Stop {
    match (error, root) {
        (OrderError::Mixed | OrderError::StalePatches | OrderError::StaleElsewhere, _) => {
            Stop::Usage { message: error.to_string(), usage }
        }
        (OrderError::Interrupted(signal), _) => refused(Exit::by_signal(*signal), error),
        (OrderError::Failure(failure), Some(root)) => query_refused(root, failure),
        (OrderError::Source(failed), _) => refused(Exit::failed(of_source(failed)), error),
        (OrderError::Depot(failed), _) if failed.signal().is_some() => refused(depot_exit(failed), error),
        (OrderError::Depot(failed), _) => Stop::Refused {
            exit: Exit::failed(depot_exit(failed).cause()),
            message: hinted(&error.to_string(), &depot_advice(failed)),
        },
        (OrderError::Unknown(_), _) => refused(Exit::of_verb(ExitCause::Unknown), error),
        _ => refused(Exit::failed(ExitCause::NotFound), error),
    }
}

fn refused(exit: Exit, error: &OrderError) -> Stop {
    Stop::Refused { exit, message: error.to_string() }
}

#[cfg(test)]
mod tests {
    use patchadm_planning::order::EdgeKind;

    use super::*;

    #[test]
    fn a_name_with_quotes_stays_one_and_each_pair_has_one_arrow() {
        let edge = |need: &str| NeedEdge {
            from: "/bin/a\"b\\c".to_owned(),
            to: "X".to_owned(),
            kind: EdgeKind::Elf,
            object: Some("/bin/o".to_owned()),
            need: need.to_owned(),
        };
        let groups = [vec!["X".to_owned(), "Y".to_owned()], vec!["/bin/a\"b\\c".to_owned()]];
        assert_eq!(
            graph(&groups, &[edge("1"), edge("2")], true),
            "digraph order {
  subgraph cluster_0 { \"X\"; \"Y\"; }
  \"/bin/a\\\"b\\\\c\";
  \"/bin/a\\\"b\\\\c\" -> \"X\" [label=\"/bin/o loads 1\\n/bin/o loads 2\"];
}
"
        );
    }
}
