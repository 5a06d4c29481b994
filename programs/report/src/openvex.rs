use crate::made::MadeReport;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_planning::fleet::VexDocument;

const NOTHING_TO_SAY: Exit = Exit::of_verb(ExitCause::NotApplicable);

pub(crate) fn document(made: &MadeReport<'_>) -> anyhow::Result<String> {
    let (host, maker) = made.only_host("OpenVEX")?;
    let document = VexDocument::of(&host.inventory, &maker).ok_or_else(|| {
        let message = format!(
            "no document was made: no patch of {} lists its fixes\n\
             hint: make patches that list their fixes with `patchadm build --fixes`",
            host.name.escape_debug()
        );
        Stop::Refused { exit: NOTHING_TO_SAY, message }
    })?;
    Ok(document.text())
}
