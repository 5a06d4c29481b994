//! `bulk.conf` as lines: names and values, not yet understood.

use std::path::{Path, PathBuf};

use super::error::ConfigurationError;
use super::names::{self, SettingName};
use super::value;

/// The bytes of the longest `bulk.conf`.
const LONGEST_FILE: usize = 1 << 20;

/// The settings of a file, each with its line.
pub(super) struct SettingLines<'a> {
    lines: Vec<SettingLine<'a>>,
    /// The directory that paths are below.
    work: &'a Path,
}

struct SettingLine<'a> {
    number: usize,
    name: &'static SettingName,
    value: &'a str,
}

impl<'a> SettingLines<'a> {
    /// Splits a file. Every name is known and, if it is not repeatable, there once; every value is there.
    pub(super) fn split(bytes: &'a [u8], work: &'a Path) -> Result<Self, ConfigurationError> {
        if bytes.len() > LONGEST_FILE {
            return Err(ConfigurationError::of_all(format!("it is longer than {LONGEST_FILE} bytes")));
        }
        let mut all = Self { lines: Vec::new(), work };
        for (index, line) in bytes.split(|&byte| byte == b'\n').enumerate() {
            let number = index + 1;
            let line =
                std::str::from_utf8(line).map_err(|_| ConfigurationError::at(number, "it is not UTF-8"))?;
            let line = line.trim_matches([' ', '\t']);
            if !line.is_empty() && !line.starts_with('#') {
                all.add(number, line).map_err(|reason| ConfigurationError::at(number, reason))?;
            }
        }
        Ok(all)
    }

    fn add(&mut self, number: usize, line: &'a str) -> Result<(), String> {
        if line.contains(|letter: char| letter.is_control() && letter != '\t') {
            return Err("it has a control character".to_owned());
        }
        let (name, value) = line.split_once('=').ok_or("it is not NAME=VALUE")?;
        let (name, value) = (name.trim_end_matches([' ', '\t']), value.trim_start_matches([' ', '\t']));
        let Some(name) = names::find(name) else {
            let nearest = names::nearest(name).map(|near| format!("; did you mean `{near}`?"));
            return Err(format!("there is no setting `{name}`{}", nearest.unwrap_or_default()));
        };
        if value.is_empty() {
            return Err(format!("{} has no value", name.name));
        }
        let before = self.lines.iter().find(|line| line.name.name == name.name && !name.is_repeatable);
        if let Some(before) = before {
            return Err(format!("{} is set in line {}, too", name.name, before.number));
        }
        self.lines.push(SettingLine { number, name, value });
        Ok(())
    }

    /// Returns the lines of a repeatable name, each with its number.
    pub(super) fn all<'s>(&'s self, name: &'s str) -> impl Iterator<Item = (usize, &'a str)> + 's {
        self.lines.iter().filter(move |line| line.name.name == name).map(|line| (line.number, line.value))
    }

    /// Returns the number of the line of a name.
    pub(super) fn number(&self, name: &str) -> Option<usize> {
        self.all(name).next().map(|(number, _)| number)
    }

    /// Reads the values of a repeatable name.
    pub(super) fn each<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Vec<T>, ConfigurationError> {
        self.all(name).map(|(number, value)| at_line(number, name, read(value))).collect()
    }

    /// Reads the value of a name, if it has a line.
    pub(super) fn some<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigurationError> {
        let line = self.all(name).next();
        line.map(|(number, value)| at_line(number, name, read(value))).transpose()
    }

    /// Reads the value of a name, or its default.
    pub(super) fn one<T>(
        &self,
        name: &str,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigurationError> {
        if let Some(value) = self.some(name, &read)? {
            return Ok(value);
        }
        let default = names::find(name).and_then(|name| name.default).unwrap_or_default();
        read(default).map_err(|reason| ConfigurationError::of_all(format!("{name} is not set: {reason}")))
    }

    /// Reads the path of a name, if it has a line.
    pub(super) fn some_path(&self, name: &str) -> Result<Option<PathBuf>, ConfigurationError> {
        self.some(name, |text| value::path(text, self.work))
    }

    /// Reads the path of a name, or its default.
    pub(super) fn path(&self, name: &str) -> Result<PathBuf, ConfigurationError> {
        self.one(name, |text| value::path(text, self.work))
    }
}

fn at_line<T>(number: usize, name: &str, value: Result<T, String>) -> Result<T, ConfigurationError> {
    value.map_err(|reason| ConfigurationError::at(number, format!("{name}: {reason}")))
}
