//! Values that live once: who has them, this wallet or another one.

use protocol::ids::{BackupId, ClaimantId};
use rand_core::CryptoRng;

use super::{Transition, WalletError};
use crate::state::{Backup, Claim, Level, Operation};

impl Transition<'_> {
    /// Whoever wants the values has to be chosen first, and has drawn the secret of that before anybody is asked.
    pub(super) fn begin_claim<R: CryptoRng>(backup: &mut Backup, rng: &mut R) -> Result<(), WalletError> {
        if !backup.lives_once() {
            return Ok(());
        }
        if backup.is_taken() {
            return Err(WalletError::Taken);
        }
        backup.claim.get_or_insert_with(|| Claim::make_random(rng));
        Ok(())
    }

    pub(super) fn claimed(&mut self, id: &BackupId, epoch: u32, chosen: ClaimantId) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        // Taken over in another window meanwhile: then it says nothing any more.
        let open = |claim: &&mut Claim| claim.chosen.is_none() && claim.epoch == epoch;
        let Some(claim) = backup.claim.as_mut().filter(open) else { return Ok(()) };
        claim.chosen = Some(chosen);
        let ours = claim.is_ours();
        let title = Self::title(&backup);
        match backup.operation {
            Some(Operation::Claim) if ours => {
                backup.operation = backup.replaces.map(|_| Operation::Drill);
                self.note_of_protection(&backup);
            }
            Some(Operation::Claim | Operation::Recover) if !ours => {
                (backup.operation, backup.then, backup.next) = (None, None, None);
                backup.wanted.clear();
                self.note(Level::Warning, format!("“{title}” belongs to another device: it has claimed it first."));
            }
            _ => {}
        }
        self.put(backup);
        Ok(())
    }

    /// An owner has taken the values over somewhere, so claims begin anew; this one joins in.
    pub(super) fn superseded(&mut self, id: &BackupId, epoch: u32) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        let here = backup.values.iter().all(|meta| self.state.is_local(&meta.id));
        if backup.claim.as_ref().is_none_or(|claim| claim.epoch >= epoch) {
            return Ok(());
        }
        if here && backup.is_gathering() {
            // What came here before that is here, and nothing more comes.
            return self.recovery_failed(id, "another device has taken it over, so that it may live twice");
        }
        let open = |claim: &&mut Claim| claim.chosen.is_none() || claim.is_ours() && !here;
        if let Some(claim) = backup.claim.as_mut().filter(open) {
            (claim.epoch, claim.chosen) = (epoch, None);
            self.put(backup);
        }
        Ok(())
    }

    /// The owner takes the values over, from a device that is lost or in spite of safes that are: it may double them.
    pub(super) fn take_over<R: CryptoRng>(&mut self, id: &BackupId, rng: &mut R) -> Result<(), WalletError> {
        let mut backup = self.settled(id)?;
        if !backup.lives_once() || backup.finished.is_none() {
            return Err(WalletError::NoBackup);
        }
        let stuck = backup.operation == Some(Operation::Recover);
        let here = backup.values.iter().all(|meta| self.state.is_local(&meta.id));
        if here || !(stuck || backup.operation.is_none()) {
            return Err(WalletError::Busy);
        }
        let epoch = backup.claim.as_ref().map_or(0, |claim| claim.epoch).saturating_add(1);
        backup.claim = Some(Claim { epoch, lenient: true, ..Claim::make_random(rng) });
        backup.held = false;
        if !stuck {
            (backup.operation, backup.wanted) = (Some(Operation::Recover), Vec::new());
        }
        self.note(Level::Warning, format!("“{}” is being taken over: it may live twice now.", Self::title(&backup)));
        self.put(backup);
        Ok(())
    }
}
