//! The hosts of a report: one inventory of each, the newest.

use std::collections::BTreeMap;

use super::inventory::Inventory;

/// An inventory and where it was read.
#[derive(Clone, Debug)]
pub struct NamedInventory {
    /// The file, or what it was instead.
    pub source: String,
    /// The inventory.
    pub inventory: Inventory,
}

/// A host with the inventory that counts.
#[derive(Clone, Debug)]
pub struct FleetHost {
    /// Its name, which no other host of the fleet has.
    pub name: String,
    /// Where its inventory was read.
    pub source: String,
    /// The inventory.
    pub inventory: Inventory,
}

/// An inventory of a host of which a newer one counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplacedInventory {
    /// The host.
    pub host: String,
    /// Where it was read.
    pub source: String,
    /// Where the one that counts was read.
    pub counted: String,
}

/// The hosts, by their names.
#[derive(Clone, Debug, Default)]
pub struct Fleet {
    /// The hosts, in the order of their names.
    pub hosts: Vec<FleetHost>,
    /// The inventories that do not count.
    pub replaced: Vec<ReplacedInventory>,
}

impl Fleet {
    /// Collects the hosts. Of two inventories of one host the newer one counts. One without a moment is older than any other;
    /// of two that are equally old the later one counts.
    pub fn of(inventories: impl IntoIterator<Item = NamedInventory>) -> Self {
        let mut hosts: BTreeMap<String, FleetHost> = BTreeMap::new();
        let mut replaced: Vec<(String, String)> = Vec::new();
        for NamedInventory { source, inventory } in inventories {
            let host = FleetHost { name: inventory.host(), source, inventory };
            match hosts.get(&host.name) {
                Some(known) if known.inventory.at > host.inventory.at => {
                    replaced.push((host.name, host.source));
                }
                _ => {
                    if let Some(before) = hosts.insert(host.name.clone(), host) {
                        replaced.push((before.name, before.source));
                    }
                }
            }
        }
        let counted =
            |host: &String| hosts.get(host).map(|counted| counted.source.clone()).unwrap_or_default();
        let replaced = replaced
            .into_iter()
            .map(|(host, source)| ReplacedInventory { counted: counted(&host), host, source })
            .collect();
        Self { replaced, hosts: hosts.into_values().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::InventoryReader;

    fn inventory(source: &str, at: &str) -> NamedInventory {
        let at = if at.is_empty() { String::new() } else { format!("\"at\":\"{at}\",") };
        let text = format!(
            "{{\"schema\":\"patchadm/1\",\"command\":\"list\",\"machine\":\"web\",{at}\"root\":\"/\",\"patches\":[]}}"
        );
        let mut read = InventoryReader::default().read(text.as_bytes(), "x").unwrap();
        NamedInventory { source: source.to_owned(), inventory: read.inventories.remove(0) }
    }

    #[test]
    fn of_two_inventories_of_a_host_the_newer_one_counts_in_any_order() {
        let (old, new) = ("2026-11-20T07:00:00Z", "2026-11-20T09:00:00+01:00");
        for (first, second, counted) in [
            (old, new, "second"),
            (new, old, "first"),
            (old, old, "second"),
            ("", old, "second"),
            (old, "", "first"),
            ("", "", "second"),
        ] {
            let fleet = Fleet::of([inventory("first", first), inventory("second", second)]);
            let other = if counted == "first" { "second" } else { "first" };
            assert_eq!(fleet.hosts.len(), 1);
            assert_eq!(fleet.hosts[0].source, counted, "{first} {second}");
            let expected = ReplacedInventory {
                host: "web".to_owned(),
                source: other.to_owned(),
                counted: counted.to_owned(),
            };
            assert_eq!(fleet.replaced, [expected], "{first} {second}");
        }
    }
}
