//! Hosts with the same patches.

use std::collections::HashMap;

use super::report::FleetReport;

/// Hosts with the same patches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostGroup {
    /// The hosts.
    pub hosts: Vec<usize>,
    /// The patches whose changes each of them has.
    pub applied: Vec<usize>,
    /// The patches that each of them lacks.
    pub lacks: Vec<usize>,
}

/// Returns the groups of hosts that have and lack the same patches, the largest ones first.
pub fn groups(report: &FleetReport<'_>) -> Vec<HostGroup> {
    let mut places: HashMap<(&[usize], &[usize]), usize> = HashMap::new();
    let mut groups: Vec<HostGroup> = Vec::new();
    for (host, standing) in report.standings.iter().enumerate() {
        let place = *places.entry((&standing.applied, &standing.lacks)).or_insert(groups.len());
        if place == groups.len() {
            let (applied, lacks) = (standing.applied.clone(), standing.lacks.clone());
            groups.push(HostGroup { hosts: Vec::new(), applied, lacks });
        }
        groups.get_mut(place).into_iter().for_each(|group| group.hosts.push(host));
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.hosts.len()));
    groups
}
