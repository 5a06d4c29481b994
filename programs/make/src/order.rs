//! `patchadm-make order`: packages or patches in the order in which they are renewed, each after what it needs.

mod dot;
mod reason;
mod refusal;
mod report;

use std::path::PathBuf;

use patchadm_cli::arguments::fetching::{FetchOptions, fetch_bar};
use patchadm_cli::arguments::named_paths::paths_in_root;
use patchadm_cli::arguments::options::POLICY;
use patchadm_cli::arguments::parse;
use patchadm_cli::arguments::verbs::VerbOptions;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::{Exit, Reply, Stop};
use patchadm_cli::surroundings::caller::with_signals;
use patchadm_core::operation::depots::{DepotProgress, FetchSession};
use patchadm_core::operation::order::{
    OrderAnswer, OrderOperand, OrderQuestion, order_of_directory, order_of_root,
};
use patchadm_inputs::policy::Policy;
use patchadm_planning::order::OrderDirection;
use patchadm_svr4::package::ObjectPath;
use refusal::order_refused;
use report::{OrderFace, OrderReport};

const USAGE: &str = "patchadm-make [-R root] order [option...] [name|path...]\npatchadm-make order [option...] -M dir [name|path...]";

/// Put packages or patches in order, each after what it needs: what needs the named ones, or all
#[derive(clap::Parser)]
struct OrderArgs {
    /// Put in order what the named ones need, instead of what needs them
    #[arg(long)]
    dependencies: bool,
    /// Turn the order round
    #[arg(long)]
    reverse: bool,
    /// Only what needs a kept library or would load two versions of one, with the ways to them
    #[arg(long)]
    stale: bool,
    /// Take the packages of this directory, or the patches of this depot
    #[arg(short = 'M', value_name = "DIR", conflicts_with_all = ["stale", "root", POLICY])]
    directory: Option<PathBuf>,
    /// Tell which object needs what, too
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
    /// Returns the question; `paths` reads those of the words that are paths.
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

/// Runs the verb.
pub(crate) fn run(call: &mut Invocation) -> anyhow::Result<Reply> {
    let args: OrderArgs = parse(call, USAGE)?;
    if args.dot && call.in_json {
        let message = "--dot and --json are two forms of one answer: name one".to_owned();
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

/// Returns the order of what is in a directory; no root is opened.
fn in_directory(call: &Invocation, args: &OrderArgs) -> anyhow::Result<Reply> {
    let directory = args.directory.as_deref().unwrap_or_else(|| std::path::Path::new("."));
    let question = args.question(paths_in_packages)?;
    let bar = fetch_bar(call);
    let progress = |progress: DepotProgress<'_>| bar.show(progress);
    let answer = with_signals(|interrupt| {
        // Only a directory of this machine is read.
        let options = FetchOptions { offline: true, ..FetchOptions::default() };
        let access = options.access(&call.surroundings, &Policy::default(), None, interrupt, &progress);
        order_of_directory(directory, &question, &FetchSession::new(access))
    })?;
    drop(bar);
    let answer = answer.map_err(|error| order_refused(None, &error, USAGE))?;
    Ok(Reply::new(Exit::OK, args.report(answer)))
}

/// Paths as packages would install them.
fn paths_in_packages(words: &[PathBuf]) -> Result<Vec<ObjectPath>, Stop> {
    let path = |word: &PathBuf| {
        let path = ObjectPath::new(word.as_os_str().as_encoded_bytes());
        path.map_err(|error| Stop::Usage { message: error.to_string(), usage: USAGE })
    };
    words.iter().map(path).collect()
}
