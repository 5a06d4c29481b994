use crate::made::MadeReport;
use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_planning::fleet::MaterialsDocument;

const NOTHING_TO_SAY: Exit = Exit::of_verb(ExitCause::NotApplicable);

pub(crate) fn document(made: &MadeReport<'_>) -> anyhow::Result<String> {
    let (host, maker) = made.only_host("CycloneDX")?;
    let document = MaterialsDocument::of(&host.inventory, &maker).ok_or_else(|| {
        let message = format!(
            "no document was made: the inventory of {} lists no packages\n\
             hint: it was made by an earlier version; make it again with `patchadm list --json`",
            host.name.escape_debug()
        );
        Stop::Refused { exit: NOTHING_TO_SAY, message }
    })?;
    Ok(document.text())
}
