//! The answer of the verb as lines and as a document.

use serde::Serialize;

use super::dot;
use super::reason::reason_of;
use patchadm_cli::reply::CommandReport;
use patchadm_cli::reply::words::print_notes;
use patchadm_cli::surroundings::Output;
use patchadm_core::operation::order::{OrderAnswer, StaleEntry, StaleReason};
use patchadm_planning::order::{NeedEdge, OrderDirection};

/// The form of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OrderFace {
    /// A line for each group.
    Lines,
    /// A graph for Graphviz.
    Dot,
}

/// An order.
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

/// An edge.
#[derive(Debug, Serialize)]
struct EdgeEntry {
    from: String,
    to: String,
    kind: &'static str,
    object: Option<String>,
    need: String,
}

/// Something that should be renewed: a package by its name, an object of no package by its path.
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

    /// Prints each group, and with `--why` what its members need.
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

/// Returns the edges that begin at a name; all are sorted by where they begin.
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

    /// Returns the package or path.
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
                    Ok(output.document(dot::graph(&self.groups, &self.all_edges, self.edges.is_some()))?)
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
            [(path, reason)] => notes.push(format!("{path} is not understood: {reason}")),
            [(path, reason), ..] => notes.push(format!(
                "{} files are not understood, the first of them {path}: {reason}",
                self.not_understood.len()
            )),
        }
        if output.is_verbose() {
            notes.extend(self.skipped.iter().map(|path| format!("{path} was not looked into")));
        }
        Ok(print_notes(output, &notes)?)
    }
}
