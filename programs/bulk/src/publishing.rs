//! Signs and publishes patches in the configured depot. Without a secret key, patches wait for a signer.

use std::path::{Path, PathBuf};
use std::time::Instant;

use chrono::{DateTime, Utc};
use serde_json::Value;

use patchadm_building::patches::MadePatches;
use patchadm_building::set::{RELEASED, set_of_link};
use patchadm_building::work::BulkWork;
use patchadm_cli::call::Invocation;
use patchadm_cli::surroundings::Zone;
use patchadm_core::operation::publish::{PublishRequest, PublishState, PublishWork, publish};
use patchadm_core::operation::signing::{sign_index, sign_target};
use patchadm_producing::publication::{
    DAYS, IndexKey, PublicationReport, missing_of_earlier, read_key, refused, signing,
};
use patchadm_producing::secret_key::signing_refused;

const MANIFEST: &str = ".manifest";
const SIGNATURES: [&str; 2] = [".minisig", ".sig"];

const SIGN_THEM: &str = "hint: sign them with `patchadm sign`, then run `patchadm bulk patches WORK`";

pub(crate) struct Publisher {
    depot: PathBuf,
    patches: PathBuf,
    key: IndexKey,
    now: DateTime<Utc>,
    began: Instant,
    zone: Zone,
}

pub(crate) struct PublishReply {
    pub(crate) document: Value,
    pub(crate) lines: Vec<String>,
}

pub(crate) fn made_patch(made: &MadePatches) -> bool {
    made.report.sources.iter().any(|source| matches!(source.state.as_str(), "built" | "kept"))
}

impl Publisher {
    /// Reads the key before any other work. `None` if nothing has to be published.
    pub(crate) fn of(call: &mut Invocation, work: &BulkWork) -> anyhow::Result<Option<Self>> {
        let Some(depot) = work.conf.depot.clone() else { return Ok(None) };
        if set_of_link(work, RELEASED)?.is_none() {
            return Ok(None);
        }
        let key = read_key(call, work.conf.key.as_deref(), work.conf.password_file.clone())?;
        let (now, began) = (call.surroundings.now, call.surroundings.began);
        Ok(Some(Self {
            depot,
            patches: work.path.join("patches"),
            key,
            now,
            began,
            zone: call.surroundings.zone,
        }))
    }

    pub(crate) fn publish(&self, interrupt: &dyn Fn() -> Option<i32>) -> anyhow::Result<PublishReply> {
        self.sign()?;
        let sign = |text: &[u8]| match &self.key {
            IndexKey::Secret(key) => sign_index(key, text, self.now.timestamp()),
            IndexKey::None | IndexKey::Public(_) => Vec::new(),
        };
        let request = PublishRequest {
            depot: &self.depot,
            work: PublishWork::Patches(&self.patches),
            expires: Some(DAYS),
            may_be_unsigned: false,
            is_dry_run: false,
            now: self.now,
            signing: signing(&self.key, &sign, false),
            missing_of_earlier: &missing_of_earlier,
            interrupt,
        };
        let published = publish(&request, &mut |_| false).map_err(|error| refused(&error))?;
        let report = PublicationReport::of(&published, &self.depot, self.began);
        let mut lines = report.lines(self.zone);
        lines.extend(match published.state {
            PublishState::Unsigned => Some(SIGN_THEM.to_owned()),
            _ => report.advice(),
        });
        Ok(PublishReply { document: serde_json::to_value(&report)?, lines })
    }

    fn sign(&self) -> anyhow::Result<()> {
        let IndexKey::Secret(key) = &self.key else { return Ok(()) };
        for patch in self.unsigned()? {
            sign_target(key, &patch, self.now.timestamp()).map_err(signing_refused)?;
        }
        Ok(())
    }

    fn unsigned(&self) -> std::io::Result<Vec<PathBuf>> {
        let handover = self.patches.join("handover");
        let mut patches = Vec::new();
        for entry in std::fs::read_dir(&handover)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let Some(file) = name.strip_suffix(MANIFEST) else { continue };
            let patch = self.patches.join("patches").join(file);
            let is_signed = |directory: &Path| {
                SIGNATURES.iter().any(|ending| directory.join(format!("{name}{ending}")).exists())
            };
            if patch.exists() && !is_signed(&handover) && !is_signed(&self.patches.join("patches")) {
                patches.push(patch);
            }
        }
        patches.sort();
        Ok(patches)
    }
}
