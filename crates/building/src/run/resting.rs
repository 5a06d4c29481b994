//! Slots that rest after trouble: they are probed from time to time, and the run ends where all rest for too long.

use std::sync::atomic::Ordering;

use patchadm_bulk_values::probe::SlotMisfit;

use super::master::Master;
use super::messages::RunMessage;
use super::probing::SlotProbe;
use super::request::{RunError, RunEvent, Tell};

impl Master<'_> {
    /// Starts the probes of slots that have rested for a while.
    pub(super) fn probe_rested(&mut self) -> Result<(), RunError> {
        for slot in self.slots.take_due_probes(self.began_at.elapsed()) {
            let Some(used) = self.slots.get(slot) else { continue };
            let probe = SlotProbe::of(self.request, &used.slot)?;
            let (sender, ends) = (self.messages.sender.clone(), self.ends.clone());
            self.probing += 1;
            std::thread::spawn(move || {
                let found = probe.look(&|| ends.load(Ordering::Relaxed));
                // If nobody listens any more, the run is over.
                let _ = sender.send(RunMessage::Probed(slot, found.map(drop)));
            });
        }
        Ok(())
    }

    /// Leaves all that could be built, where no slot has worked for too long.
    pub(super) fn give_up_hopeless(&mut self, tell: Tell<'_>) -> Result<(), RunError> {
        if !self.running.is_empty() || !self.slots.is_hopeless(self.began_at.elapsed()) {
            return Ok(());
        }
        while let Some(index) = self.fetches.next_ready_if(|_| true).or_else(|| self.schedule.next_ready()) {
            let reason = self.trouble.clone().unwrap_or_else(|| "no slot works".to_owned());
            self.defer(index, reason, tell)?;
        }
        Ok(())
    }

    /// Takes the end of the probe of a slot that rests.
    pub(super) fn probed(&mut self, slot: usize, found: Result<(), SlotMisfit>, tell: Tell<'_>) {
        self.probing = self.probing.saturating_sub(1);
        self.slots.probed(slot, found.is_ok(), self.began_at.elapsed());
        let name = self.slots.get(slot).map(|used| used.slot.name.as_str()).unwrap_or_default();
        match found {
            Ok(()) => tell(RunEvent::Note(&format!("slot {name} works again"))),
            // It was asked to end.
            Err(_) if self.ends.load(Ordering::Relaxed) => {}
            Err(misfit) => tell(RunEvent::Note(&format!("slot {name} rests on: {misfit}"))),
        }
    }
}
