//! The lies: paths that lead out, other objects, owners and modes, invalid numbers, names of other runs and of other
//! roots.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::records::{Field, Told};
use super::roots::{identity, inode};

/// Things outside the root, for lies to name.
pub(super) struct Outside {
    /// A file that only root may read.
    secret: PathBuf,
    /// A directory.
    directory: PathBuf,
    /// A copy of an archive of this very root, in another place.
    archive: PathBuf,
    /// A process that must not be touched, as the progress of a run would name it.
    process: Value,
}

/// One lie: the values told in the record, the one in question first.
#[derive(Clone, Debug)]
pub(super) struct Lie(pub(super) Vec<Told>);

impl Outside {
    /// The things below `canary`, and a process.
    pub(super) fn new(canary: &Path, process: u32) -> Self {
        Self {
            secret: canary.join("etc/shadow"),
            directory: canary.join("etc"),
            archive: canary.join("101-01/ACMElib/undo"),
            process: script(process),
        }
    }

    /// A text whose placeholders are replaced by things outside.
    pub(super) fn named_in(&self, text: &str) -> String {
        let made = self.directory.join("made");
        let values = [
            ("@OUT@", json!(Self::climb(&self.secret))),
            ("@MADE@", json!(Self::climb(&made))),
            ("@SECRET@", json!(self.secret)),
            ("@ARCHIVE@", json!(self.archive)),
            ("@IDENTITY@", identity(&self.secret)),
            ("@INODE@", inode(&self.secret)),
            ("@PROCESS@", self.process.clone()),
        ];
        values.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!("\"{name}\""), &value.to_string())
        })
    }

    /// All lies about a value.
    pub(super) fn lies(&self, field: &Field) -> Vec<Lie> {
        let told = |value: Value| (field.line, field.pointer.clone(), value);
        let mut lies: Vec<Lie> = self.values(field).into_iter().map(|value| Lie(vec![told(value)])).collect();
        lies.retain(|lie| lie.0[0].2 != field.truth);
        lies.extend(self.plots(field));
        lies
    }

    fn values(&self, field: &Field) -> Vec<Value> {
        let others = || vec![Value::Null, json!(true), json!([]), json!({})];
        let name = field.name();
        match &field.truth {
            _ if name == "script" => vec![self.process.clone()],
            _ if name == "xattrs" => attributes(),
            Value::Null => self.absent(field),
            Value::Bool(truth) => [vec![json!(!truth), json!("yes")], others()].concat(),
            Value::Number(_) => [self.numbers(name), others()].concat(),
            Value::String(text) => {
                let mut values = self.texts(name, text);
                if !["words", "settings"].contains(&form_of(field)) {
                    values.extend([Value::Null, json!(7), json!([])]);
                }
                values
            }
            _ => others(),
        }
    }

    /// Values for a field that is absent.
    fn absent(&self, field: &Field) -> Vec<Value> {
        let paths = || self.paths().into_iter().map(Value::String).collect();
        match field.name() {
            "to" | "outside" | "discard" => paths(),
            "copy" => vec![identity(&self.secret)],
            "parent" | "inode" => vec![inode(&self.directory), inode(&self.secret)],
            "undo" => {
                vec![json!([0, "reloc/bin/su"]), json!([99, "x"]), json!([0, Self::climb(&self.secret)])]
            }
            "touched" => vec![json!({ "seconds": -1, "nanoseconds": u32::MAX })],
            "device" => vec![json!([1, 1]), json!([8, 0])],
            "whole" | "editable" => vec![json!(true)],
            "unsynced" => vec![json!(true), json!(1), json!("yes"), json!([])],
            "" => vec![
                json!({ "number": u64::MAX, "script": self.process }),
                json!({ "outcome": "commit" }),
                json!({ "done": true }),
            ],
            _ => Vec::new(),
        }
    }

    fn numbers(&self, name: &str) -> Vec<Value> {
        let wild = [json!(0), json!(-1), json!(u64::MAX), json!(1_u64 << 63), json!(1e30), json!(1.5)];
        let special = match name {
            "mode" => vec![json!(0o4755), json!(0o6711), json!(0o104_755), json!(0o7777), json!(0o170_777)],
            "uid" | "gid" => vec![json!(0), json!(1), json!(54_321), json!(u32::MAX), json!(1_u64 << 32)],
            "number" => vec![inode(&self.secret)["number"].clone(), inode(&self.directory)["number"].clone()],
            "nanoseconds" => vec![json!(1_000_000_000), json!(u32::MAX)],
            "group" => vec![self.process["group"].clone(), json!(1), json!(std::process::id())],
            _ => vec![json!(1), json!(99), json!(u32::MAX)],
        };
        special.into_iter().chain(wild).collect()
    }

    fn texts(&self, name: &str, truth: &str) -> Vec<Value> {
        let is = |test: fn(u8) -> bool| !truth.is_empty() && truth.bytes().all(test);
        let special: Vec<String> = if is(|byte| byte.is_ascii_digit()) {
            let inode = inode(&self.secret)["number"].to_string();
            let list = [
                "0",
                "4755",
                "6755",
                "04755",
                "107777",
                "4294967295",
                "4294967296",
                "-1",
                "99999999999999999999",
            ];
            list.map(str::to_owned).into_iter().chain([inode]).collect()
        } else if truth.len() == 64 && is(|byte| byte.is_ascii_hexdigit()) {
            let secret = super::records::digest(&std::fs::read(&self.secret).unwrap());
            vec![secret, "0".repeat(64), "0".repeat(63), "x".repeat(64)]
        } else if is_run(truth) {
            let list =
                ["1-0000000000000000", "18446744073709551615-ffffffffffffffff", "9-x", "../../../etc", "0-"];
            list.map(str::to_owned).to_vec()
        } else if truth.len() == 16 && is(|byte| byte.is_ascii_hexdigit()) {
            vec!["00112233445566ff".to_owned(), "x".repeat(16), "../../../../../../".to_owned()]
        } else if name == "file" || truth.starts_with("0/") {
            let list = ["0/identities", "0/..", "0/", "9/1", "-1/1", "0/1", "0/late-1", "0/version-0"];
            list.map(str::to_owned).to_vec()
        } else if let Some((_, run)) = truth.split_once("/patchadm/undo/") {
            let list = ["/etc/undo/RUN", "/home/.patchadm-undo-RUN", "/var/sadm/patchadm/stage/RUN"];
            list.map(|path| path.replace("RUN", run)).to_vec()
        } else if truth.len() == 1 {
            "dlcbpsfevix?/".chars().map(String::from).collect()
        } else {
            words_for(name)
        };
        let looks_like_path = truth.contains('/') || ["stage", "path", "to"].contains(&name);
        let paths =
            if looks_like_path || special.is_empty() { self.paths() } else { self.paths()[..2].to_vec() };
        special.into_iter().chain(paths).chain(odd()).map(Value::String).collect()
    }

    /// Paths that lead out, or to something that is not an object.
    fn paths(&self) -> Vec<String> {
        let text = |path: &Path| path.display().to_string();
        let up = "/..".repeat(12);
        vec![
            Self::climb(&self.secret),
            text(&self.secret),
            format!("{up}{}", self.secret.display()),
            text(&self.archive),
            format!("o/{}", Self::climb(&self.directory)),
            format!("{up}{}/made", self.directory.display()),
            text(&self.directory.join("made")),
            "..".to_owned(),
            "o/..".to_owned(),
            "/".to_owned(),
            "/etc/passwd".to_owned(),
            "/var/sadm/patchadm/journal".to_owned(),
            "%2e%2e/%2e%2e/%00".to_owned(),
        ]
    }

    /// The way from a stage, or any other directory of a root, up and out.
    fn climb(to: &Path) -> String {
        format!("o/{}{}", "../".repeat(24), to.display()).replace("//", "/")
    }

    /// Lies that need more than one value to work.
    fn plots(&self, field: &Field) -> Vec<Lie> {
        let at = |pointer: &str, value: Value| (field.line, pointer.to_owned(), value);
        let out = json!(Self::climb(&self.secret));
        let made = json!(Self::climb(&self.directory.join("made")));
        let secret = identity(&self.secret);
        let lies = match field.pointer.as_str() {
            "/op/stage" => vec![
                vec![at("/op/stage", out.clone()), at("/op/old", secret.clone())],
                vec![
                    at("/op/stage", out.clone()),
                    at("/op/old", secret.clone()),
                    at("/op/kind", json!("delete")),
                ],
                vec![at("/op/stage", made), at("/op/kind", json!("add"))],
                vec![at("/op/stage", out), at("/op/new", secret), at("/op/kind", json!("held"))],
            ],
            "/op/old/mode" if field.kind.ends_with("attr") => {
                vec![vec![at("/op/old/mode", json!(0o4755)), at("/op/old/uid", json!(0))]]
            }
            "/archive/outside" | "/archive/discard" => {
                let (path, object) = (json!(self.secret.display().to_string()), inode(&self.secret));
                vec![
                    vec![at(&field.pointer, path), at("/archive/inode", object)],
                    vec![
                        at(&field.pointer, json!(self.archive.display().to_string())),
                        at("/archive/inode", inode(&self.archive)),
                        (3, String::new(), json!({ "outcome": "commit" })),
                    ],
                ]
            }
            "/1" if field.kind == "queue changed" => {
                vec![
                    vec![at("/2", json!("6755")), at("/3", json!("0"))],
                    vec![at("/1", json!("/etc/passwd")), at("/2", json!("4755"))],
                ]
            }
            "/1" if field.kind == "hook" => {
                let touch = json!(format!("told; : > {}", self.directory.join("made").display()));
                vec![vec![at("/1", touch), at("/0", json!("echo"))]]
            }
            // Patches of other runs, and one that is not on the root.
            "/patches/0" if field.kind == "trial" => {
                ["100-01", "101-01", "102-01", "999-01"].map(|id| vec![at("/patches/0", json!(id))]).to_vec()
            }
            // A deadline that no clock reaches.
            "/monotonic" if field.kind == "trial" => vec![vec![
                at("/monotonic", json!(u64::MAX)),
                at("/until", json!("9999-12-31T23:59:59Z")),
                at("/boot", Value::Null),
            ]],
            "/was/mode" => vec![vec![at("/was/mode", json!(0o4755)), at("/was/uid", json!(0))]],
            _ => Vec::new(),
        };
        lies.into_iter().map(Lie).collect()
    }
}

/// The entry of a journal for a running script: a process, its boot, and its start time.
fn script(process: u32) -> Value {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    let behind = stat.rsplit_once(')').unwrap().1;
    let start: u64 = behind.split_whitespace().nth(19).unwrap().parse().unwrap();
    json!({ "name": "postinstall", "group": process, "boot_id": boot.trim(), "start_time": start })
}

fn attributes() -> Vec<Value> {
    // A capability of version 2: everything permitted, effective.
    let all = "0100000200000000ffffffff00000000ffffffff";
    let bytes = "%01%00%00%02%ff%ff%ff%ff%00%00%00%00%ff%ff%ff%ff%00%00%00%00";
    let names = ["security.capability", "security.ima", "trusted.overlay.redirect", "user.x", "x", ""];
    names.iter().flat_map(|name| [json!({ *name: all }), json!({ *name: bytes })]).collect()
}

fn form_of(field: &Field) -> &'static str {
    use super::records::Form;
    match field.record.form {
        Form::Words(_) | Form::Name => "words",
        Form::Settings => "settings",
        _ => "json",
    }
}

fn is_run(text: &str) -> bool {
    text.split_once('-')
        .is_some_and(|(number, nonce)| nonce.len() == 16 && number.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Other words for a field that allows only a few.
fn words_for(name: &str) -> Vec<String> {
    let list: &[&str] = match name {
        "kind" => &[
            "add",
            "replace",
            "delete",
            "move",
            "attr",
            "rmdir",
            "held",
            "file",
            "directory",
            "block",
            "character",
            "tree",
        ],
        "outcome" => &["commit", "rolled-back", "done"],
        "file_type" => &["f", "d", "l", "c", "b", "s"],
        _ => &[],
    };
    list.iter().map(|&word| word.to_owned()).collect()
}

/// Texts that nobody would write.
fn odd() -> Vec<String> {
    vec![
        String::new(),
        "\u{1b}]0;x\u{7}".to_owned(),
        "a b".to_owned(),
        "$(touch /x)".to_owned(),
        "x".repeat(5000),
    ]
}
