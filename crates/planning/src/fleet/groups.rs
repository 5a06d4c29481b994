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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::report::HostStanding;

    #[test]
    fn hosts_that_have_and_lack_the_same_are_a_group_and_the_largest_comes_first() {
        let standing = |applied: &[usize], lacks: &[usize]| HostStanding {
            applied: applied.to_vec(),
            lacks: lacks.to_vec(),
            findings: Vec::new(),
        };
        let standings =
            vec![standing(&[0], &[]), standing(&[0], &[1]), standing(&[0, 1], &[]), standing(&[0], &[1])];
        let report = FleetReport { hosts: &[], standings, patches: Vec::new() };
        let hosts: Vec<Vec<usize>> = groups(&report).into_iter().map(|group| group.hosts).collect();
        assert_eq!(hosts, [vec![1, 3], vec![0], vec![2]]);
    }
}
