//! Documents of other formats about one host: CycloneDX and OpenVEX.

use patchadm_cli::reply::{Exit, ExitCause, Stop};
use patchadm_planning::fleet::{DocumentTooLarge, FleetHost, MaterialsDocument, VexDocument};

use crate::made::MadeReport;

const NOTHING_TO_SAY: Exit = Exit::of_verb(ExitCause::NotApplicable);

pub(crate) fn cyclonedx(made: &MadeReport<'_>) -> anyhow::Result<String> {
    let (host, maker) = made.only_host("CycloneDX")?;
    let document = MaterialsDocument::of(&host.inventory, &maker).map_err(|error| too_large(host, error))?;
    let document = document.ok_or_else(|| {
        let message = format!(
            "no document was made: the inventory of {} lists no packages\n\
             hint: it was made by an earlier version; make it again with `patchadm list --json`",
            host.name.escape_debug()
        );
        Stop::Refused { exit: NOTHING_TO_SAY, message }
    })?;
    Ok(document.text())
}

pub(crate) fn openvex(made: &MadeReport<'_>) -> anyhow::Result<String> {
    let (host, maker) = made.only_host("OpenVEX")?;
    let document = VexDocument::of(&host.inventory, &maker).map_err(|error| too_large(host, error))?;
    let document = document.ok_or_else(|| {
        let message = format!(
            "no document was made: no patch of {} lists its fixes\n\
             hint: make patches that list their fixes with `patchadm build --fixes`",
            host.name.escape_debug()
        );
        Stop::Refused { exit: NOTHING_TO_SAY, message }
    })?;
    Ok(document.text())
}

fn too_large(host: &FleetHost, error: DocumentTooLarge) -> Stop {
    let message = format!(
        "no document was made of the inventory of {}: {error}\n\
         hint: `--format text` and `--format json` show it",
        host.name.escape_debug()
    );
    Stop::Refused { exit: NOTHING_TO_SAY, message }
}
