//! The scripts before an installation: request, which asks the person, and checkinstall, which looks at the system.
//!
//! Both run as a user who owns nothing, before anything is changed, and answer through a response file of their own.

use std::path::PathBuf;

use super::briefing::Briefing;
use super::failure::ScriptFailure;
use crate::format::response::Response;
use crate::operation::failure::Failure;
use crate::operation::scripts::package_directory::Medium;
use crate::operation::scripts::runner::{Procedure, Procedures, Voice};
use crate::package::Params;
use crate::script::environment::{Origin, Script};
use crate::script::protocol::Outcome;
use crate::script::response::{ResponseFile, complaints};
use crate::script::{As, Ended, Input};
use crate::transaction::{Cause, Left, Phase, TransactionError};

/// Which scripts are to be run, and what is answered already.
#[derive(Clone, Debug)]
pub(in crate::operation) struct Questions {
    /// Whether request is run.
    pub(in crate::operation) request: bool,
    /// Whether checkinstall is run.
    pub(in crate::operation) checkinstall: bool,
    /// The text of the response file so far.
    pub(in crate::operation) given: Vec<u8>,
    /// Whether somebody sits at a terminal.
    pub(in crate::operation) terminal: bool,
    /// Who runs request.
    pub(in crate::operation) request_user: As,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::operation) struct Answers {
    /// The variables.
    pub(in crate::operation) params: Params,
    /// The text of the response file.
    pub(in crate::operation) text: Vec<u8>,
    /// Whether a script warned.
    pub(in crate::operation) warned: bool,
}

/// Runs them.
pub(in crate::operation) fn interview(
    procedures: &mut Procedures<'_>,
    medium: &Medium,
    briefing: &mut Briefing,
    questions: &Questions,
    voice: &mut dyn Voice,
) -> Result<Answers, Failure> {
    let user = procedures.shop.unprivileged();
    let file = ResponseFile::create(procedures.shop.directory(), &questions.given, user)?;
    let mut answers = Answers { text: questions.given.clone(), ..Answers::default() };
    answers.params = accepted(Response::parse(&questions.given).ok(), voice);
    briefing.response.clone_from(&answers.params);
    let scripts = [
        (Script::Request, questions.request, questions.request_user),
        (Script::Checkinstall, questions.checkinstall, As::Unprivileged),
    ];
    for (script, _, user) in scripts.into_iter().filter(|(_, is_run, _)| *is_run) {
        if script == Script::Checkinstall {
            voice.executing(&script.name());
        }
        let at_terminal = questions.terminal && script == Script::Request;
        let procedure = Procedure {
            name: script.name(),
            file: medium.script(&script.name()),
            arguments: vec![file.path().as_os_str().to_owned()],
            environment: briefing.environment(&procedures.shop, &script, Origin::Package),
            user,
            directory: PathBuf::from("/"),
            input: if at_terminal { Input::Terminal } else { Input::Nothing },
        };
        let ended = procedures.run(procedure, None, voice)?;
        answers.warned |= judge(&script, ended, procedures, voice)?;
        let response = file.read(&script.name())?;
        answers.text = file.text()?;
        answers.params = accepted(Some(response), voice);
        briefing.response.clone_from(&answers.params);
    }
    Ok(answers)
}

/// Whether a script warned; an error where it refuses.
fn judge(
    script: &Script,
    ended: Ended,
    procedures: &Procedures<'_>,
    voice: &mut dyn Voice,
) -> Result<bool, Failure> {
    if let (Ended::Interrupted, Some(signal)) = (ended, procedures.interrupted()) {
        let cause = Cause::Interrupted(signal);
        return Err(TransactionError { phase: Phase::Prepare, cause, left: Left::Unchanged }.into());
    }
    let outcome = Outcome::of(ended, *script == Script::Checkinstall);
    let failure = ScriptFailure::new(script, ended, outcome);
    if !outcome.commits() {
        return Err(Failure::Script(failure));
    }
    if failure.is_warning() {
        voice.complains(&failure.to_string());
    }
    Ok(failure.is_warning())
}

/// The answers that count; what is passed over is said.
fn accepted(response: Option<Response>, voice: &mut dyn Voice) -> Params {
    let Some(response) = response else { return Params::new() };
    for complaint in complaints(&response) {
        voice.warns(&complaint);
    }
    response.params
}
