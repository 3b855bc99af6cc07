//! What moves a backup as a whole: out of this device and back, on trial, and into its next generation.

use protocol::{
    bundle::ValueMeta,
    certificate,
    ids::{BackupId, ValueId},
};
use rand_core::CryptoRng;

use super::{Transition, WalletError, Wish, check_places};
use crate::{
    owner::Owner,
    state::{Backup, Content, Deposit, Level, Next, Operation, Row, Stage, Then, Value},
};

impl Transition<'_> {
    pub(super) fn drill(&mut self, id: &BackupId, then: Option<Then>) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        if backup.must_claim() {
            return Err(WalletError::LivesOnce);
        }
        match backup.operation {
            Some(Operation::Drill) if backup.then == then => return Ok(()),
            Some(_) => return Err(WalletError::Busy),
            None => (backup.operation, backup.then) = (Some(Operation::Drill), then),
        }
        self.put(backup);
        Ok(())
    }

    pub(super) fn move_out<R: CryptoRng>(&mut self, id: &BackupId, rng: &mut R) -> Result<(), WalletError> {
        let mut backup = self.settled(id)?;
        if !backup.values.iter().any(|meta| self.state.is_local(&meta.id)) {
            return Err(WalletError::NotLocal);
        }
        match backup.operation {
            Some(Operation::Register) if backup.lives_once() => backup.then = Some(Then::Vacate),
            // Segments may have been made already that nobody has rebuilt.
            Some(Operation::Register) => drop(backup.then.get_or_insert(Then::DrillAndVacate)),
            // The safes have it as it was before; or this wallet has claimed this generation for good, and what others may claim is the next one.
            None if backup.lives_once() || self.state.is_outdated(&backup) => {
                let next = Next { backup: BackupId::make_random(rng), plan: backup.plan.clone(), words: None };
                return self.make_next(&backup, next, true, rng);
            }
            _ => return self.drill(id, Some(Then::Vacate)),
        }
        self.put(backup);
        Ok(())
    }

    pub(super) fn drilled(&mut self, id: &BackupId, contents: &[Content]) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        if backup.operation != Some(Operation::Drill) {
            return Ok(());
        }
        let same = |(meta, content): (&ValueMeta, &Content)| {
            // What is here has to be the same, too, for it may be about to go; unless it was changed since, when it does not go.
            let here = self.state.values.get(&meta.id).filter(|value| value.is_of(&backup));
            let here = here.and_then(|value| value.content.as_ref());
            let alike = |here: &Content| {
                let same = here.length == content.length && here.root.is_none_or(|root| content.root == Some(root));
                same || !backup.is_content(&meta.id, here)
            };
            here.is_none_or(alike) && backup.is_content(&meta.id, content)
        };
        if contents.len() != backup.values.len() || !backup.values.iter().zip(contents).all(same) {
            return self.recovery_failed(id, "what came back is not what was backed up");
        }
        backup.drilled = Some(self.now);
        let ids: Vec<ValueId> = backup.values.iter().map(|meta| meta.id).collect();
        ids.iter().zip(contents).for_each(|(id, content)| backup.learn(id, content));
        backup.operation = backup.then.map(|_| Operation::Vacate);
        self.note(Level::Info, format!("“{}” was rebuilt from what the safes hold, as a trial.", Self::title(&backup)));
        match backup.replaces.take() {
            Some(old) => self.succeed(backup, &old),
            None => {
                self.put(backup);
                Ok(())
            }
        }
    }

    /// The last look before the only copy here goes: every certificate is read from what is stored, and holds.
    pub(super) fn vacate(&mut self, id: &BackupId) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        if backup.operation != Some(Operation::Vacate) {
            return Ok(());
        }
        // Whoever asks may not know yet that its owner is enrolled: it is done once the book says where it is.
        if self.state.owner.as_ref().is_some_and(Owner::is_behind) {
            return Ok(());
        }
        (backup.operation, backup.then) = (None, None);
        let title = Self::title(&backup);
        let holds = |deposit: &Deposit| {
            let signed =
                deposit.certificate.as_ref().filter(|_| deposit.stage == Stage::Held && deposit.fault.is_none());
            let identity = self.identity(&deposit.safe).ok();
            let held =
                signed.zip(identity).and_then(|(signed, identity)| certificate::verify(signed, &identity, None).ok());
            held.is_some_and(|held| held.registration().deposit == deposit.id)
        };
        if !backup.deposits.iter().all(holds) || backup.file_saved == Some(false) {
            // It is here, and so it has to be claimed.
            backup.operation = backup.lives_once().then_some(Operation::Claim);
            self.leave_alone(&backup);
            self.stays(&backup, "not every safe still stands by its piece");
            self.put(backup);
            return Ok(());
        }
        if self.state.is_outdated(&backup) {
            backup.operation = backup.lives_once().then_some(Operation::Claim);
            self.stays(&backup, "it was changed since it was backed up");
            self.put(backup);
            return Ok(());
        }
        // From now on anybody may claim it who has its certificates.
        backup.claim = None;
        for meta in &backup.values {
            let Some(value) = self.state.values.get(&meta.id).filter(|value| value.backup == Some(*id)) else {
                continue;
            };
            let Some(content) = &value.content else { continue };
            self.changes.discard.push(content.blob.clone());
            self.changes.put.push(Row::Value(Box::new(Value { content: None, ..value.clone() })));
        }
        self.note(Level::Info, format!("“{title}” was moved to the safes. It is no longer on this device."));
        self.put(backup);
        Ok(())
    }

    fn stays(&mut self, backup: &Backup, why: &str) {
        self.note(Level::Warning, format!("“{}” stays on this device: {why}.", Self::title(backup)));
    }

    /// From now on the values are this generation's, and the one before is let go.
    pub(super) fn succeed(&mut self, backup: Backup, old: &BackupId) -> Result<(), WalletError> {
        for meta in &backup.values {
            let value = self.state.values.get(&meta.id).filter(|v| v.backup.is_none() || v.backup == Some(*old));
            if let Some(value) = value {
                let value = Value { backup: Some(backup.id), ..value.clone() };
                self.changes.put.push(Row::Value(Box::new(value)));
            }
        }
        self.note(Level::Info, format!("“{}” is protected anew, under new keys.", Self::title(&backup)));
        // Given up meanwhile: then it is being let go already, or gone.
        let old = self.state.backups.get(old).filter(|old| old.operation != Some(Operation::Release)).cloned();
        // A recovery that may be under way there asks for what is here: the next generation was made from it.
        self.put(backup);
        match old {
            Some(old) => self.begin_release(old),
            None => Ok(()),
        }
    }

    pub(super) fn renew<R: CryptoRng>(&mut self, id: &BackupId, next: Next, rng: &mut R) -> Result<(), WalletError> {
        let mut backup = self.settled(id)?;
        if backup.finished.is_none() {
            return Err(WalletError::NoBackup);
        }
        check_places(self.state, &next.plan)?;
        if backup.operation.is_some() || backup.replaces.is_some() {
            return Err(WalletError::Busy);
        }
        if self.is_all_here(&backup) {
            return self.make_next(&backup, next, false, rng);
        }
        Self::begin_claim(&mut backup, rng)?;
        (backup.operation, backup.then, backup.next) = (Some(Operation::Recover), Some(Then::Renew), Some(next));
        self.put(backup);
        Ok(())
    }

    /// Begins the next generation of a backup whose values are here.
    pub(super) fn make_next<R: CryptoRng>(
        &mut self,
        old: &Backup,
        next: Next,
        moving: bool,
        rng: &mut R,
    ) -> Result<(), WalletError> {
        let Next { backup, plan, words } = next;
        let values = self.values_of(old);
        let face = old.face.clone().unwrap_or_default();
        self.register(Wish { backup, values, plan, words, face, moving }, Some(old.id), rng)
    }

    pub(super) fn bring_back<R: CryptoRng>(&mut self, id: &BackupId, rng: &mut R) -> Result<(), WalletError> {
        let mut backup = self.settled(id)?;
        if backup.operation.is_none() && self.is_all_here(&backup) {
            return self.release(id);
        }
        match backup.operation {
            Some(Operation::Recover) if backup.wanted.is_empty() => {}
            Some(_) => return Err(WalletError::Busy),
            None => {
                Self::begin_claim(&mut backup, rng)?;
                backup.operation = Some(Operation::Recover);
            }
        }
        self.leave_alone(&backup);
        backup.then = Some(Then::Release);
        self.put(backup);
        Ok(())
    }

    pub(super) fn cancel(&mut self, id: &BackupId) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        if !matches!(backup.operation, None | Some(Operation::Release | Operation::Vacate)) {
            self.leave_alone(&backup);
            self.leave_where_it_is(&backup);
        }
        if backup.operation == Some(Operation::Recover) {
            self.take_up_earlier(&backup);
        }
        match backup.operation {
            // Nothing to take back, or too late: a safe may have let go already.
            None | Some(Operation::Release | Operation::Vacate) => return Ok(()),
            // The backup goes on; what is here stays.
            Some(Operation::Register) if backup.then.is_some() => {}
            Some(Operation::Claim) if backup.replaces.is_some() => return self.begin_release(backup),
            Some(Operation::Register | Operation::Claim) => return self.release(id),
            // A generation that nobody has rebuilt takes nobody's place.
            Some(Operation::Drill) if backup.replaces.is_some() => return self.begin_release(backup),
            Some(Operation::Recover | Operation::Drill) => {
                (backup.operation, backup.through) = (None, None);
                backup.wanted.clear();
            }
        }
        (backup.then, backup.next) = (None, None);
        self.put(backup);
        Ok(())
    }
}
