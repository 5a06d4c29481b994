//! The writer of one prototype line.

use super::{AttributeSetting, PrototypeAttributes, PrototypeCommand, PrototypeEntry, PrototypeItem};
use crate::format::fields;
use crate::package::{ContentInfo, Ftype, Mode, escape};

impl PrototypeItem {
    /// Formats the line, without a newline.
    pub fn write(&self) -> Vec<u8> {
        match self {
            Self::Entry(entry) => entry.write(None),
            Self::Command(command) => command.write(),
        }
    }
}

impl PrototypeEntry {
    /// Formats the line, without a newline. `content` is appended, as pkgproto(1) does on request.
    pub fn write(&self, content: Option<ContentInfo>) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(part) = self.part {
            out.extend_from_slice(format!("{part} ").as_bytes());
        }
        out.extend_from_slice(&[self.ftype.letter(), b' ']);
        if self.ftype != Ftype::Information {
            out.extend_from_slice(self.class.as_bytes());
            out.push(b' ');
        }
        fields::write_path(&mut out, self.path.as_bytes(), self.right.as_ref());
        if let Some((major, minor)) = self.device {
            fields::write_known(&mut out, major);
            fields::write_known(&mut out, minor);
        }
        self.attributes.write_to(&mut out);
        if let Some(content) = content {
            fields::write_content(&mut out, content);
        }
        out
    }
}

impl PrototypeAttributes {
    fn write_to(&self, out: &mut Vec<u8>) {
        write_setting(out, &self.mode, |mode: &Mode| format!("{:04o}", mode.bits()));
        write_setting(out, &self.owner, Clone::clone);
        write_setting(out, &self.group, Clone::clone);
    }
}

impl PrototypeCommand {
    /// Formats the line, without a newline.
    fn write(&self) -> Vec<u8> {
        let with = |word: &str, paths: &[Vec<u8>]| {
            let mut out = format!("!{word}").into_bytes();
            for path in paths {
                out.push(b' ');
                out.extend_from_slice(&escape(path));
            }
            out
        };
        match self {
            Self::Include(path) => with("include", std::slice::from_ref(path)),
            Self::Search(paths) => with("search", paths),
            Self::SearchWhole(paths) => with("rsearch", paths),
            Self::Default(attributes) => {
                let mut out = b"!default".to_vec();
                attributes.write_to(&mut out);
                out
            }
            Self::Set { name, value } => [b"!", name.as_bytes(), b"=\"", value, b"\""].concat(),
        }
    }
}

fn write_setting<T>(out: &mut Vec<u8>, setting: &AttributeSetting<T>, text: impl Fn(&T) -> String) {
    let text = match setting {
        AttributeSetting::Missing => return,
        AttributeSetting::Kept => "?".to_owned(),
        AttributeSetting::Value(value) => text(value),
        AttributeSetting::Variable(name) => format!("${name}"),
    };
    out.push(b' ');
    out.extend_from_slice(text.as_bytes());
}
