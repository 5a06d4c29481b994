//! Ansible with one root per host, beside one command for the same roots, and beside an Ansible play that does
//! nothing.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

use super::fleet_patch::{FleetPatch, ID, PatchSize};
use crate::disk::Disk;
use crate::growth::clear;
use crate::inputs::fresh;
use crate::line::{Line, is_installed};
use crate::measure::{Costs, in_turns};
use crate::options::Options;
use crate::report::{Report, Row};
use crate::table::grouped;

/// Limit of the play, as a multiple of the command's time.
const LIMIT: f64 = 3.0;

/// The collection in the checkout.
const COLLECTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/ansible");

/// Number of hosts at a time. The settings of the collection recommend it for roots of the control node itself.
const FORKS: &str = "16";

/// Measures plays and commands in turns. The larger the patch, the smaller the share of Ansible's own work.
pub(super) fn run(disk: &Disk, options: &Options, report: &mut Report) -> Result<()> {
    if !is_installed("ansible-playbook") {
        report.skipped("Ansible", "ansible-playbook is not installed");
        return Ok(());
    }
    let count = options.pick(100, 3);
    for size in [PatchSize::SMALL, PatchSize::LIBRARY] {
        let patch = FleetPatch::write(disk, size)?;
        let Measured { played, added, nothing } = Measured::of(disk, &patch, count, options)?;
        patch.clear()?;
        let many = format!("{size}, {}", grouped(count));
        report.row(Row::wall(format!("add --roots, {many} roots"), &added));
        let row = Row::beside(format!("Ansible, {many} hosts"), &played, &added);
        report.row(row.times_floor(LIMIT));
        report.row(Row::wall(format!("Ansible, debug, beside {many} hosts"), &nothing));
    }
    report.say(
        "The floor of Ansible is `add --roots`. Its module `debug` shows how much of the time is its own.",
    );
    Ok(())
}

/// Costs of a patch on many roots.
struct Measured {
    played: Costs,
    added: Costs,
    nothing: Costs,
}

impl Measured {
    fn of(disk: &Disk, patch: &FleetPatch, count: usize, options: &Options) -> Result<Self> {
        Report::progress(&format!("Ansible on {} roots, {}", grouped(count), patch.size));
        let control = Control::new(disk, patch, count)?;
        let list = || Line::patchadm().words("add --roots").arg(control.at("roots"));
        let back_out = Line::patchadm().words("remove --roots").arg(control.at("roots")).arg(ID);
        let lines = [
            control.play("patch.yml"),
            back_out.clone(),
            list().arg(&patch.path),
            back_out,
            control.play("debug.yml"),
        ];
        // The first round is not counted. If the patch was not applied everywhere, its removal fails and ends the
        // benchmark.
        in_turns(disk, 1, lines.each_ref())?;
        let rounds = options.pick(options.runs().max(5), 1);
        let [played, _, added, _, nothing] = in_turns(disk, rounds, lines.each_ref())?;
        control.clear()?;
        Ok(Self { played, added, nothing })
    }
}

/// The working directory of Ansible, and the roots.
struct Control {
    directory: PathBuf,
    roots: PathBuf,
}

impl Control {
    fn new(disk: &Disk, patch: &FleetPatch, count: usize) -> Result<Self> {
        let control = Self { directory: disk.scratch().join("control"), roots: disk.at("hosts") };
        fresh(&control.directory)?;
        fresh(&control.roots)?;
        let roots = patch.roots(&control.roots, count)?;
        let lines: String = roots.iter().map(|root| format!("{}\n", root.display())).collect();
        fs::write(control.at("roots"), lines)?;
        let collections = control.at("collections/ansible_collections/patchadm");
        fs::create_dir_all(&collections)?;
        symlink(COLLECTION, collections.join("patch"))?;
        control.write("hosts.yml", &hosts(&roots))?;
        let arguments = json!({
            "src": [patch.path.to_string_lossy()],
            "root": "{{ patchadm_root }}",
            "executable": Line::patchadm().program().to_string_lossy(),
        });
        control.write("patch.yml", &play("patchadm.patch.patch", &arguments))?;
        control.write("debug.yml", &play("ansible.builtin.debug", &json!({"msg": "{{ patchadm_root }}"})))?;
        Ok(control)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Writes a YAML file. Every JSON document is YAML.
    fn write(&self, name: &str, value: &Value) -> Result<()> {
        Ok(fs::write(self.at(name), serde_json::to_vec_pretty(value)?)?)
    }

    /// Returns the command that runs a playbook, in an environment with only these hosts.
    fn play(&self, playbook: &str) -> Line {
        let path = std::env::var("PATH").unwrap_or_default();
        let settings = Path::new(COLLECTION).join("playbooks/ansible.cfg");
        let variable = |name: &str, value: &Path| format!("{name}={}", value.display());
        Line::new("env")
            .words("-i LC_ALL=C.UTF-8")
            .arg(format!("PATH={path}"))
            .arg(variable("HOME", &self.directory))
            .arg(variable("ANSIBLE_CONFIG", &settings))
            .arg(variable("ANSIBLE_COLLECTIONS_PATH", &self.at("collections")))
            // The name of the variable before ansible-core 2.19.
            .arg(variable("ANSIBLE_COLLECTIONS_PATHS", &self.at("collections")))
            .arg(variable("ANSIBLE_LOCAL_TEMP", &self.at("local")))
            .arg(variable("ANSIBLE_REMOTE_TEMP", &self.at("remote")))
            // Keeps bytecode out of the checkout.
            .arg(variable("PYTHONPYCACHEPREFIX", &self.at("compiled")))
            .words("ansible-playbook --forks")
            .arg(FORKS)
            .arg("-i")
            .arg(self.at("hosts.yml"))
            .arg(self.at(playbook))
    }

    fn clear(&self) -> Result<()> {
        clear(&[&self.directory, &self.roots])
    }
}

/// Returns an Ansible inventory with a host for each root.
fn hosts(roots: &[PathBuf]) -> Value {
    let host = |(number, root): (usize, &PathBuf)| {
        (format!("host{number:03}"), json!({"patchadm_root": root.to_string_lossy()}))
    };
    let hosts: serde_json::Map<String, Value> = roots.iter().enumerate().map(host).collect();
    json!({"all": {
        "vars": {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"},
        "hosts": hosts,
    }})
}

/// Returns a playbook with one task on every host.
fn play(module: &str, arguments: &Value) -> Value {
    json!([{"hosts": "all", "gather_facts": false, "tasks": [{"name": "The task", module: arguments}]}])
}
