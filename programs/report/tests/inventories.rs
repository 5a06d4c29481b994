//! Documents of many hosts, as `list --json` prints them, written to files beside a root.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::scenario::Scenario;

/// The inventory of a host.
pub(crate) struct Inventory(pub(crate) Value);

impl Inventory {
    /// Returns a host with the package `ACMEweb` in version 1 and without patches.
    pub(crate) fn of(machine: &str) -> Self {
        Self(json!({
            "schema": "patchadm/1", "command": "list", "root": "/", "exit_code": 0, "classic_code": 0, "cause": "ok",
            "machine": machine, "at": "2026-11-20T07:00:00Z", "version": "1.0.0",
            "patches": [], "unfinished": null,
            "packages": [{"package": "ACMEweb", "name": "web", "version": "1", "arch": "all", "manager": null}],
        }))
    }

    /// Adds a patch of `ACMEweb` in force.
    pub(crate) fn with(self, id: &str) -> Self {
        self.with_state(id, "effective")
    }

    /// Adds a patch of `ACMEweb` in a state.
    pub(crate) fn with_state(mut self, id: &str, state: &str) -> Self {
        let patch = json!({
            "id": id, "state": [state], "date": "2026-11-19T07:00:00+00:00", "date_text": "Nov 19 2026",
            "host": "build", "synopsis": format!("fixes {id}"), "packages": ["ACMEweb"],
            "obsoletes": [], "requires": [], "incompatibles": [],
            "undo": [{"package": "ACMEweb", "state": "saved", "bytes": 100, "path": "/var/sadm/undo"}],
            "removable": {"now": true, "code": 0, "blocked_by": [], "reason": null}, "checked": false,
        });
        self.patches().push(patch);
        self
    }

    /// Sets a field of the last patch.
    pub(crate) fn patch_field(mut self, name: &str, value: Value) -> Self {
        self.patches().last_mut().unwrap()[name] = value;
        self
    }

    /// Sets a field.
    pub(crate) fn field(mut self, name: &str, value: Value) -> Self {
        self.0[name] = value;
        self
    }

    /// Removes a field.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.as_object_mut().unwrap().remove(name);
        self
    }

    fn patches(&mut self) -> &mut Vec<Value> {
        self.0["patches"].as_array_mut().unwrap()
    }

    /// Writes it to a file beside the root, and returns the path.
    pub(crate) fn write(&self, stage: &Scenario, name: &str) -> PathBuf {
        let path = stage.beside(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, serde_json::to_vec_pretty(&self.0).unwrap()).unwrap();
        path
    }
}

/// Writes the inventories of four hosts: one has everything, one lacks a revision, one lacks a patch, and one has
/// another version of the package, for which there is no patch.
pub(crate) fn four_hosts(stage: &Scenario) {
    let newest = Inventory::of("db1").with("100-02").with("200-01");
    newest.write(stage, "lists/db1.json");
    Inventory::of("web1").with("100-01").with("200-01").write(stage, "lists/web1.json");
    Inventory::of("web2").with("100-02").write(stage, "lists/web2.json");
    let other = json!([{"package": "ACMEweb", "version": "2", "arch": "all"}]);
    Inventory::of("old").field("packages", other).write(stage, "lists/old.json");
}
