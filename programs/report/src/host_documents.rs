//! Documents of other formats about one host: CycloneDX and OpenVEX.

use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_planning::fleet::{MaterialsDocument, VexDocument};

use crate::made::MadeReport;

const NOTHING_TO_SAY: Exit = Exit::of_verb(ExitCause::NotApplicable);

pub(crate) fn cyclonedx(made: &MadeReport<'_>) -> anyhow::Result<String> {
    let (host, maker) = made.only_host("CycloneDX")?;
    let document = MaterialsDocument::of(&host.inventory, &maker).ok_or_else(|| {
        let message = format!(
            "no document was made: the inventory of {} lists no packages\n\
             It was made by an earlier version; `patchadm list --json` of this one lists them.",
            host.name.escape_debug()
        );
        Stop::Refused { exit: NOTHING_TO_SAY, message }
    })?;
    Ok(document.text())
}

pub(crate) fn openvex(made: &MadeReport<'_>) -> anyhow::Result<String> {
    let (host, maker) = made.only_host("OpenVEX")?;
    let document = VexDocument::of(&host.inventory, &maker).ok_or_else(|| {
        let message = format!(
            "no document was made: no patch of {} says what it fixes\n\
             OpenVEX has no document without a statement; `patchadm build --fixes` makes patches that say it.",
            host.name.escape_debug()
        );
        Stop::Refused { exit: NOTHING_TO_SAY, message }
    })?;
    Ok(document.text())
}
