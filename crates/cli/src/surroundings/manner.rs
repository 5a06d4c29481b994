//! The form of the output: detail, colours and width. Colours only show states. An output that no one watches gets
//! none, unless requested.

use std::ffi::OsString;
use std::io::IsTerminal as _;

use clap::ValueEnum;

/// In columns; also the width without a terminal.
pub const WIDEST_HELP: usize = 100;

/// On anything narrower the terminal wraps lines.
const NARROWEST_HELP: usize = 30;

#[derive(Clone, Copy, Debug, Default)]
pub struct Manner {
    /// Nothing but errors.
    pub is_quiet: bool,
    /// A line for each path.
    pub is_verbose: bool,
    pub colours_report: bool,
    pub colours_errors: bool,
}

/// When colours are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum WhenToColour {
    /// On a terminal, unless the environment says otherwise.
    #[value(name = "auto")]
    OnTerminal,
    /// Everywhere.
    Always,
    /// Nowhere.
    Never,
}

impl WhenToColour {
    /// Returns the settings of the environment. `value_of` knows its variables that are set and not empty. `NO_COLOR`
    /// wins over `CLICOLOR_FORCE`; a dumb terminal shows no colours.
    pub fn of(value_of: impl Fn(&str) -> Option<OsString>) -> Self {
        if value_of("NO_COLOR").is_some() {
            return Self::Never;
        }
        if value_of("CLICOLOR_FORCE").is_some_and(|value| value != "0") {
            return Self::Always;
        }
        if value_of("TERM").is_some_and(|value| value == "dumb") { Self::Never } else { Self::OnTerminal }
    }

    /// The environment counts if nothing else was said.
    pub fn applies(self, by_environment: Self, is_terminal: bool) -> bool {
        let said = if self == Self::OnTerminal { by_environment } else { self };
        said == Self::Always || said == Self::OnTerminal && is_terminal
    }
}

/// The meaning of a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shade {
    Id,
    /// In effect, sound.
    Effective,
    /// Superseded or obsoleted.
    Replaced,
    /// Refused, damaged, lost.
    Bad,
}

impl Shade {
    /// States as `list` and `show` call them; `None` for other words.
    pub fn of_state(state: &str) -> Option<Self> {
        match state {
            "effective" | "applied" => Some(Self::Effective),
            "superseded" | "obsoleted" => Some(Self::Replaced),
            "interrupted" | "damaged" | "lost" => Some(Self::Bad),
            _ => None,
        }
    }

    pub fn begin(self) -> &'static str {
        match self {
            Self::Id => "\x1b[1m",
            Self::Effective => "\x1b[32m",
            Self::Replaced => "\x1b[33m",
            Self::Bad => "\x1b[31m",
        }
    }

    pub const END: &'static str = "\x1b[0m";
}

pub fn width_of_help() -> usize {
    columns(std::io::stdout()).map_or(WIDEST_HELP, |columns| columns.clamp(NARROWEST_HELP, WIDEST_HELP))
}

/// Returns `None` for anything but a terminal, and for one that does not tell.
pub fn columns(stream: impl std::os::fd::AsFd) -> Option<usize> {
    if !stream.as_fd().is_terminal() {
        return None;
    }
    let size = rustix::termios::tcgetwinsize(stream).ok()?;
    Some(usize::from(size.ws_col)).filter(|columns| *columns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn by(set: &[(&str, &str)]) -> WhenToColour {
        WhenToColour::of(|wanted| {
            set.iter().find(|(name, _)| *name == wanted).map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_option_wins_over_the_environment_and_that_over_the_terminal() {
        use WhenToColour::{Always, Never, OnTerminal};
        for (environment, expected) in [
            (by(&[]), [false, true]),
            (by(&[("NO_COLOR", "1")]), [false, false]),
            (by(&[("CLICOLOR_FORCE", "1")]), [true, true]),
            (by(&[("CLICOLOR_FORCE", "0")]), [false, true]),
            (by(&[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]), [false, false]),
            (by(&[("TERM", "dumb")]), [false, false]),
        ] {
            assert_eq!([false, true].map(|terminal| OnTerminal.applies(environment, terminal)), expected);
            assert!(Always.applies(environment, false) && !Never.applies(environment, true));
        }
    }
}
