use std::io;
use std::io::Read as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use patchadm_cli::arguments::comparison::ReferenceComparison;
use patchadm_cli::call::Invocation;
use patchadm_cli::reply::overtaken::NATIVE_CHANGED;
use patchadm_cli::reply::patch_list::own_inventory;
use patchadm_cli::reply::words::counted;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_cli::surroundings::Zone;
use patchadm_core::operation::fleet::{
    FleetFiles, InventorySource, LARGEST_INVENTORY, PastFileError, UnreadInventory, read_inventories,
    read_past_report,
};
use patchadm_planning::fleet::{
    DocumentMaker, FindingKind, Fleet, FleetChanges, FleetHost, FleetReport, HostComparison, PastReport,
};
use patchadm_rootfs::Root;
use patchadm_svr4::package::control::visible;
use serde::Serialize;

/// For `--check`: inventories from several sources name one host.
pub(crate) const NAMED_TWICE: Exit = Exit::finding(ExitCause::Attention);

const NEWEST: &str = "the newest that any host has";

const NAMED_REPLACED: usize = 20;

const NAMED_PASSED_OVER: usize = 20;

pub(crate) struct MadeReport<'f> {
    pub(crate) at: DateTime<Utc>,
    /// The time zone in which the text shows moments.
    pub(crate) zone: Zone,
    pub(crate) documents: usize,
    pub(crate) unread: Vec<UnreadInventory>,
    /// Paths in directories of inventories that are no regular files.
    pub(crate) passed_over: Vec<PathBuf>,
    pub(crate) fleet: &'f Fleet,
    pub(crate) report: FleetReport<'f>,
    pub(crate) compared_with: ComparedWith,
    pub(crate) changes: Option<(FleetChanges, PastReport)>,
    pub(crate) two: Option<TwoHosts<'f>>,
    pub(crate) remarks: Vec<String>,
    pub(crate) is_check: bool,
    /// For documents for other programs.
    pub(crate) author: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct ComparedWith {
    pub(crate) kind: &'static str,
    pub(crate) name: String,
    pub(crate) as_of: Option<String>,
}

pub(crate) struct TwoHosts<'f> {
    pub(crate) first: &'f FleetHost,
    pub(crate) second: &'f FleetHost,
    pub(crate) comparison: HostComparison,
}

impl ComparedWith {
    pub(crate) fn of(comparison: Option<&ReferenceComparison>) -> Self {
        match comparison {
            None => Self { kind: "newest", name: NEWEST.to_owned(), as_of: None },
            Some(comparison) => Self {
                kind: "depot",
                name: comparison.name.clone(),
                as_of: comparison.reference.as_of().map(|day| day.to_string()),
            },
        }
    }

    pub(crate) fn words(&self) -> String {
        let from = self.as_of.as_ref().map(|day| format!(" from {day}")).unwrap_or_default();
        format!("{}{from}", self.name)
    }
}

impl<'f> MadeReport<'f> {
    /// Returns the author and the only host: a statement about a package holds for no other root.
    pub(crate) fn only_host(&self, what: &str) -> Result<(&'f FleetHost, DocumentMaker), Stop> {
        let [host] = self.fleet.hosts.as_slice() else {
            let hosts = counted(self.fleet.hosts.len(), "host");
            let message = format!(
                "a document of {what} describes one root, but there are {hosts}\nhint: specify one inventory, or none for the root itself"
            );
            return Err(Stop::Refused { exit: Exit::failed(ExitCause::Usage), message });
        };
        let maker = DocumentMaker {
            author: self.author.clone().unwrap_or_else(|| host.name.clone()),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            now: self.at,
        };
        Ok((host, maker))
    }
}

impl MadeReport<'_> {
    pub(crate) fn exit(&self) -> Exit {
        let has = |kind| self.report.hosts_with(kind) > 0;
        if !self.unread.is_empty() {
            return Exit::PARTLY;
        }
        if self.is_check && (has(FindingKind::LostFix) || has(FindingKind::StaleRegistration)) {
            return NATIVE_CHANGED;
        }
        if self.is_check && self.report.lacking_hosts() > 0 {
            return Exit::MISSING;
        }
        if self.is_check && has(FindingKind::NamedTwice) {
            return NAMED_TWICE;
        }
        Exit::OK
    }

    pub(crate) fn notes(&self) -> Vec<String> {
        let more = self.fleet.replaced.len().saturating_sub(NAMED_REPLACED);
        let more =
            (more > 0).then(|| format!("{more} more inventories do not count: newer ones of their hosts do"));
        let replaced = self.fleet.replaced.iter().take(NAMED_REPLACED).map(|replaced| {
            let (host, counted) = (&replaced.host, &replaced.counted);
            let note = format!("{host} has two inventories: {counted} counts, {} does not", replaced.source);
            visible(&note).into_owned()
        });
        let passed_over = self.passed_over.iter().take(NAMED_PASSED_OVER).map(|path| {
            let path = path.display().to_string();
            format!("{} is skipped: it is not a regular file in the directory", visible(&path))
        });
        let others = self.passed_over.len().saturating_sub(NAMED_PASSED_OVER);
        let others = match others {
            0 => None,
            1 => Some("1 more name is skipped: it is not a regular file in the directory".to_owned()),
            _ => {
                Some(format!("{others} more names are skipped: they are not regular files in the directory"))
            }
        };
        let blind = self.fleet.hosts.iter().filter(|host| host.inventory.packages.is_none()).count();
        let blind = (blind > 0).then(|| {
            let inventories =
                if blind == 1 { "1 inventory lists" } else { &format!("{blind} inventories list") };
            format!(
                "{inventories} no packages: only later revisions of applied patches count as missing there"
            )
        });
        let other = self.changes.as_ref().filter(|(changes, _)| changes.is_of_another_fleet());
        let other =
            other.map(|_| "the previous report is about other hosts: none of them is in this one".to_owned());
        let compared = self.changes.iter().filter(|(_, past)| past.compared_with != self.compared_with.name);
        let compared = compared.map(|(_, past)| {
            format!(
                "the previous report compared with {}, so its missing patches differ",
                visible(&past.compared_with)
            )
        });
        self.remarks
            .iter()
            .cloned()
            .chain(replaced)
            .chain(more)
            .chain(passed_over)
            .chain(others)
            .chain(blind)
            .chain(other)
            .chain(compared)
            .collect()
    }

    pub(crate) fn messages(&self) -> ReportMessages {
        let unread = self
            .unread
            .iter()
            .map(|unread| format!("{} is not read as an inventory: {}", unread.source, unread.reason))
            .map(|line| visible(&line).into_owned());
        let total = (!self.unread.is_empty()).then(|| {
            let unread = counted(self.unread.len(), "inventory").replace("inventorys", "inventories");
            format!(
                "{unread} could not be read; the report is about {}",
                counted(self.report.hosts.len(), "host")
            )
        });
        ReportMessages { errors: unread.chain(total).collect(), notes: self.notes() }
    }
}

#[derive(Debug, Default)]
pub(crate) struct ReportMessages {
    pub(crate) errors: Vec<String>,
    pub(crate) notes: Vec<String>,
}

pub(crate) fn read_sources(call: &Invocation, root: &Root, named: &[PathBuf]) -> anyhow::Result<FleetFiles> {
    let sources = if named.is_empty() {
        let name = call.surroundings.machine.node.clone();
        vec![InventorySource::Text { name, text: own_inventory(root, call)? }]
    } else {
        named.iter().map(|path| source(path)).collect::<io::Result<Vec<_>>>()?
    };
    let jobs = NonZeroUsize::new(call.surroundings.processors).unwrap_or(NonZeroUsize::MIN);
    Ok(read_inventories(sources, call.surroundings.now, jobs, call.busy("reading").meter()))
}

fn source(path: &Path) -> io::Result<InventorySource> {
    if path != Path::new("-") {
        return Ok(InventorySource::Path(path.to_owned()));
    }
    let mut text = Vec::new();
    // One more byte shows excess.
    io::stdin().lock().take(LARGEST_INVENTORY + 1).read_to_end(&mut text)?;
    Ok(InventorySource::Text { name: "standard input".to_owned(), text })
}

pub(crate) fn too_large(reason: &str) -> Stop {
    let message =
        format!("no report was made: {reason}\nhint: make several reports of fewer inventories each");
    Stop::Refused { exit: Exit::failed(ExitCause::DamagedInput), message }
}

pub(crate) fn past_report(path: &Path) -> Result<PastReport, Stop> {
    read_past_report(path).map_err(|error| {
        let cause = match &error {
            PastFileError::File { reason, .. } if reason.kind() == io::ErrorKind::NotFound => {
                ExitCause::NotFound
            }
            _ => ExitCause::DamagedInput,
        };
        let exit = Exit::of_verb(cause);
        Stop::Refused { exit, message: format!("the previous report cannot be used: {error}") }
    })
}
