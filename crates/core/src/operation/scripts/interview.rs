//! Scripts before an installation: request asks the user, checkinstall examines the system. Both run as a user who owns
//! nothing, and answer through a response file.

use super::failure::ScriptFailure;
use super::package_directory::PackageDirectory;
use super::runner::{ScriptOutput, ScriptRunner};
use crate::operation::failure::Failure;
use crate::operation::scripts::runner::ScriptContext;
use crate::script::environment::{ProcedureScript, ScriptOrigin};
use crate::script::protocol::{ResponseFile, ScriptOutcome, complaints};
use crate::script::{RunAs, ScriptCall, ScriptEnd, ScriptInput};
use patchadm_changeset::transaction::{Cause, Phase, RootCondition, TransactionError};
use patchadm_svr4::format::response::Response;
use patchadm_svr4::package::Params;

#[derive(Clone, Debug)]
pub(crate) struct ScriptQuestions {
    pub(crate) request: bool,
    pub(crate) checkinstall: bool,
    pub(crate) given: Vec<u8>,
    pub(crate) input: ScriptInput,
    pub(crate) request_user: RunAs,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ScriptAnswers {
    pub(crate) params: Params,
    pub(crate) text: Vec<u8>,
    pub(crate) warned: bool,
}

pub(crate) fn interview(
    runner: &mut ScriptRunner<'_>,
    directory: &PackageDirectory,
    context: &mut ScriptContext,
    questions: &ScriptQuestions,
    output: &mut dyn ScriptOutput,
) -> Result<ScriptAnswers, Failure> {
    let user = runner.shop.unprivileged();
    let file = ResponseFile::create(runner.shop.directory(), &questions.given, user)?;
    let mut answers = ScriptAnswers { text: questions.given.clone(), ..ScriptAnswers::default() };
    answers.params = accepted(Response::parse(&questions.given).ok(), output);
    context.response.clone_from(&answers.params);
    let scripts = [
        (ProcedureScript::Request, questions.request, questions.request_user),
        (ProcedureScript::Checkinstall, questions.checkinstall, RunAs::Unprivileged),
    ];
    for (script, _, user) in scripts.into_iter().filter(|(_, is_run, _)| *is_run) {
        let name = script.name();
        if script == ProcedureScript::Checkinstall {
            output.executing(&name);
        }
        let asks = script == ProcedureScript::Request;
        let call = ScriptCall {
            arguments: vec![file.path().as_os_str().to_owned()],
            environment: context.environment(runner, &script, ScriptOrigin::Package),
            user,
            input: if asks { questions.input.clone() } else { ScriptInput::Nothing },
            ..runner.call(name.clone(), directory.script(&name))
        };
        let ended = runner.run(call, None, output)?;
        answers.warned |= judge(&script, ended, runner, output)?;
        let response = file.read(&name)?;
        answers.text = file.text()?;
        answers.params = accepted(Some(response), output);
        context.response.clone_from(&answers.params);
    }
    Ok(answers)
}

fn judge(
    script: &ProcedureScript,
    ended: ScriptEnd,
    runner: &ScriptRunner<'_>,
    output: &mut dyn ScriptOutput,
) -> Result<bool, Failure> {
    if let (ScriptEnd::Interrupted, Some(signal)) = (ended, runner.interrupted()) {
        let cause = Cause::Interrupted(signal);
        return Err(TransactionError { phase: Phase::Prepare, cause, left: RootCondition::Unchanged }.into());
    }
    let outcome = ScriptOutcome::of(ended, *script == ProcedureScript::Checkinstall);
    let failure = ScriptFailure::new(script, ended, outcome);
    if !outcome.commits() {
        return Err(Failure::Script(failure));
    }
    if failure.is_warning() {
        output.complains(&failure.to_string());
    }
    Ok(failure.is_warning())
}

fn accepted(response: Option<Response>, output: &mut dyn ScriptOutput) -> Params {
    let Some(response) = response else { return Params::new() };
    for complaint in complaints(&response) {
        output.warns(&complaint);
    }
    response.params
}
