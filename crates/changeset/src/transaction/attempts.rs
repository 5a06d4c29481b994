//! The findings of earlier attempts at a plan: some obstacles show only when the plan is tried.

use std::collections::BTreeMap;

use super::error::{Cause, RootCondition, TransactionError};
use super::settings::RunSettings;
use crate::transaction::stage::layout_items::{LaidTree, TreeState};
use patchadm_svr4::package::ObjectPath;

/// The findings of earlier attempts at the same plan.
#[derive(Debug, Default)]
pub(crate) struct EarlierAttempts {
    /// Directories into which nothing could be renamed from their domain.
    pub(crate) apart: Vec<ObjectPath>,
    /// Directories that could not be exchanged, each with the reason.
    given_up: BTreeMap<ObjectPath, String>,
}

impl EarlierAttempts {
    /// Learns from a failed attempt; tells whether another attempt can continue.
    pub(crate) fn learn(&mut self, error: &TransactionError, settings: RunSettings<'_>) -> bool {
        if !matches!(error.left, RootCondition::Unchanged | RootCondition::RolledBack) {
            return false;
        }
        match &error.cause {
            Cause::Apart { directory, .. } if self.apart.is_empty() => {
                self.apart.push(directory.clone());
                true
            }
            Cause::NoExchange(refusal) => {
                let mut requests = settings.exchanges.iter();
                let may_be =
                    requests.any(|request| request.directory == refusal.directory && !request.or_stop);
                let reason = refusal.reason.clone();
                may_be && self.given_up.insert(refusal.directory.clone(), reason).is_none()
            }
            _ => false,
        }
    }

    /// Tells whether there was an earlier attempt.
    pub(crate) fn is_any(&self) -> bool {
        !self.apart.is_empty() || !self.given_up.is_empty()
    }

    /// Returns the directories that should be exchanged, with what is known about each.
    pub(crate) fn trees(&self, settings: RunSettings<'_>) -> Vec<LaidTree> {
        let tree = |request: &super::ExchangeRequest| LaidTree {
            request: request.clone(),
            state: match self.given_up.get(&request.directory) {
                Some(reason) => TreeState::Renames(reason.clone()),
                None => TreeState::Untouched,
            },
        };
        settings.exchanges.iter().map(tree).collect()
    }
}
