//! Recovery, and the release of what is no longer wanted at the safes.

use protocol::{
    bundle::{Lineage, ValueMeta},
    certificate::verify_receipt_of,
    codec::Bytes,
    deposit::DepositSecrets,
    ids::{BackupId, DepositId, SafeId, ValueId},
    owner::ticket::Right,
};
use rand_core::CryptoRng;

use super::{Transition, WalletError, check_places, importing::apart_title};
use crate::{
    relaying::carriers,
    state::{Backup, Content, Deposit, Key, Level, Next, Operation, Row, Stage, Then, Value},
};

impl Transition<'_> {
    pub(super) fn recover<R: CryptoRng>(
        &mut self,
        id: &BackupId,
        wanted: Vec<ValueId>,
        rng: &mut R,
    ) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        if !wanted.iter().all(|wanted| backup.values.iter().any(|meta| meta.id == *wanted)) {
            return Err(WalletError::Unknown("value"));
        }
        match backup.operation {
            Some(Operation::Recover) if backup.wanted == wanted => return Ok(()),
            // It was under way as part of something else, and goes on as that.
            Some(Operation::Drill) => return Ok(()),
            Some(_) => return Err(WalletError::Busy),
            None => {
                Self::begin_claim(&mut backup, rng)?;
                backup.operation = Some(Operation::Recover);
            }
        }
        self.leave_alone(&backup);
        backup.wanted = wanted;
        // Whoever wants it here does not want it gone with the next generation.
        if let Some(next) = self.state.successor(id).filter(|next| next.then.is_some()) {
            self.put(Backup { then: None, ..next.clone() });
        }
        self.put(backup);
        Ok(())
    }

    /// What another safe had in its hands is protected anew at once: it has seen the ciphertext, and may keep the key.
    pub(super) fn recover_through(
        &mut self,
        id: &BackupId,
        through: &SafeId,
        next: Option<Next>,
    ) -> Result<(), WalletError> {
        let mut backup = self.settled(id)?;
        // A recovery that does not come on goes on in this way.
        let recovers = backup.operation == Some(Operation::Recover) && matches!(backup.then, None | Some(Then::Rotate));
        if !(backup.operation.is_none() || recovers) || backup.replaces.is_some() {
            return Err(WalletError::Busy);
        }
        if !carriers(self.state, &backup).contains(through) {
            return Err(WalletError::NotEnrolled(self.state.nickname(through)));
        }
        if let Some(next) = &next {
            check_places(self.state, &next.plan)?;
        }
        self.leave_alone(&backup);
        (backup.operation, backup.through) = (Some(Operation::Recover), Some(*through));
        backup.wanted.clear();
        (backup.then, backup.next) = (next.is_some().then_some(Then::Rotate), next);
        self.put(backup);
        Ok(())
    }

    pub(super) fn recovered<R: CryptoRng>(
        &mut self,
        id: &BackupId,
        values: Vec<(ValueMeta, Content)>,
        unused: &[String],
        rng: &mut R,
    ) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        // Delivered after a cancel, or twice: then they may be the very blobs that were kept.
        if backup.operation != Some(Operation::Recover) {
            self.changes.discard.extend(values.into_iter().map(|(_, content)| content.blob));
            return Ok(());
        }
        let metas: Vec<&ValueMeta> = values.iter().map(|(meta, _)| meta).collect();
        if !metas.into_iter().eq(backup.values.iter().filter(|meta| backup.is_wanted(&meta.id))) {
            return Err(WalletError::Differs);
        }
        if !values.iter().all(|(meta, content)| backup.is_content(&meta.id, content)) {
            let why = "what came back is not what was backed up";
            self.changes.discard.extend(values.into_iter().map(|(_, content)| content.blob));
            return self.recovery_failed(id, why);
        }
        let mut here_now = Vec::new();
        for (meta, content) in values {
            backup.learn(&meta.id, &content);
            let known = self.state.values.get(&meta.id);
            // What has another backup by now comes back from that one; if that lacks a change, it comes as a value of its own.
            if let Some(known) = known.filter(|value| !value.is_of(&backup)) {
                if matches!(known.meta.lineage(&meta), Lineage::Same | Lineage::Later) {
                    self.changes.discard.push(content.blob);
                } else {
                    let title = apart_title(&known.meta.title, ", as changed elsewhere");
                    self.note(
                        Level::Warning,
                        format!("“{}” was changed elsewhere, too. Both are kept: that is “{title}”.", known.meta.title),
                    );
                    self.changes.needs.push(content.blob.clone());
                    self.set_apart(Value { content: Some(content), ..Value::new(meta) }, title, false);
                }
                continue;
            }
            let here = known.and_then(|value| value.content.clone());
            // What is here and another one is newer, or at least nowhere else.
            let other =
                |here: &Content| here.length != content.length || (here.root.is_some() && here.root != content.root);
            if here.as_ref().is_some_and(other) {
                self.changes.discard.push(content.blob);
                self.note(
                    Level::Warning,
                    format!("“{}” was changed on this device since, and stays as it is here.", meta.title),
                );
                continue;
            }
            self.changes.discard.extend(here.map(|content| content.blob));
            self.changes.needs.push(content.blob.clone());
            // It may have another name by now.
            let (length, editions) = (content.length, meta.editions.clone());
            let meta = known.map_or(meta, |value| ValueMeta { length, editions, ..value.meta.clone() });
            // Whoever wants it here has it until the rules see that it is not used.
            let left_alone = known.map_or(Some(self.now), |value| value.left_alone);
            let used = Some(self.now);
            here_now.push(meta.id);
            let value = Value { meta, content: Some(content), backup: Some(*id), used, left_alone, until: None };
            self.changes.put.push(Row::Value(Box::new(value)));
        }
        self.let_earlier_go(&backup, &here_now);
        let through = backup.through.take();
        backup.operation = None;
        let single = backup.wanted.first().filter(|_| backup.wanted.len() == 1);
        let single = single.and_then(|id| backup.values.iter().find(|meta| meta.id == *id));
        let title = single.map_or_else(|| Self::title(&backup), |meta| meta.title.clone());
        backup.wanted.clear();
        let why = if unused.is_empty() { String::new() } else { format!(" Not used: {}.", unused.join("; ")) };
        self.note(Level::Info, format!("“{title}” was recovered.{why}"));
        let next = backup.next.take();
        match (backup.then.take(), next) {
            // They are asked when this is durable, and not before.
            (Some(Then::Release), _) => self.begin_release(backup),
            (Some(then @ (Then::Renew | Then::Rotate)), Some(next)) => {
                // What was nowhere here before does not stay.
                let here = self.values_of(&backup).iter().any(|id| self.state.is_local(id));
                self.put(backup.clone());
                self.follow_up(&backup, next, then == Then::Renew && !here, rng);
                Ok(())
            }
            _ => {
                if let Some(through) = through {
                    let (title, carrier) = (Self::title(&backup), self.state.nickname(&through));
                    let what = format!("“{title}” has come through “{carrier}”. Renew its keys and pieces now.");
                    self.note(Level::Warning, what);
                }
                self.put(backup);
                Ok(())
            }
        }
    }

    /// Begins the next generation of what has come back. If its plan can be followed no more, for safes and enrolment may have changed since it was asked for, what came back is here, and
    /// the generation before stays.
    fn follow_up<R: CryptoRng>(&mut self, backup: &Backup, next: Next, moving: bool, rng: &mut R) {
        let before = self.changes.clone();
        let Err(error) = self.make_next(backup, next, moving, rng) else { return };
        self.changes = before;
        self.leave_alone(backup);
        self.leave_where_it_is(backup);
        let text = format!("“{}” is here, and was not protected anew: {error}", Self::title(backup));
        self.note(Level::Warning, text);
    }

    pub(super) fn recovery_failed(&mut self, id: &BackupId, why: &str) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        let failed = match backup.operation {
            Some(Operation::Recover) => "could not be recovered",
            Some(Operation::Drill) => "could not be rebuilt from what the safes hold",
            _ => return Ok(()),
        };
        self.leave_alone(&backup);
        self.leave_where_it_is(&backup);
        self.take_up_earlier(&backup);
        (backup.operation, backup.then, backup.next, backup.through) = (None, None, None, None);
        backup.wanted.clear();
        self.note(Level::Error, format!("“{}” {failed}: {why}.", Self::title(&backup)));
        if backup.replaces.is_some() {
            // The generation before stays in its place.
            return self.begin_release(backup);
        }
        self.put(backup);
        Ok(())
    }

    // ---- release -----------------------------------------------------------------------------------------------

    pub(super) fn release(&mut self, id: &BackupId) -> Result<(), WalletError> {
        let backup = self.settled(id)?;
        // The last copy is never given away: every value of the backup has to be here.
        if backup.values.iter().any(|meta| !self.state.values.contains_key(&meta.id)) {
            return Err(WalletError::Unknown("value"));
        }
        if !self.is_all_here(&backup) {
            return Err(WalletError::NotLocal);
        }
        match backup.operation {
            Some(Operation::Recover | Operation::Drill | Operation::Vacate) => return Err(WalletError::Busy),
            Some(Operation::Release) => return Ok(()),
            // A registration under way is given up: what safes already took is let go.
            Some(Operation::Register | Operation::Claim) | None => {}
        }
        self.leave_alone(&backup);
        self.begin_release(backup)
    }

    pub(super) fn begin_release(&mut self, mut backup: Backup) -> Result<(), WalletError> {
        (backup.operation, backup.then, backup.next, backup.replaces) = (Some(Operation::Release), None, None, None);
        // Nothing is made of it any more.
        self.finish_sources(&mut backup);
        for deposit in &mut backup.deposits {
            if deposit.stage == Stage::Planned {
                deposit.stage = Stage::Released;
            }
        }
        self.end_release(backup)
    }

    pub(super) fn released(
        &mut self,
        id: &BackupId,
        deposit: &DepositId,
        receipt: Option<Vec<u8>>,
    ) -> Result<(), WalletError> {
        let mut backup = self.backup(id)?;
        if backup.operation != Some(Operation::Release) {
            return Ok(());
        }
        let entry = backup.deposits.iter_mut().find(|d| d.id == *deposit).ok_or(WalletError::Unknown("deposit"))?;
        if let (Some(receipt), Some(body)) = (&receipt, entry.signed_for()) {
            let hash = DepositSecrets::derive(&entry.d).hashes().release;
            verify_receipt_of(receipt, &self.identity(&entry.safe)?, (&entry.safe, &entry.id, &body.root), &hash)?;
        }
        entry.receipt = receipt.map(Bytes);
        entry.stage = Stage::Released;
        self.end_release(backup)
    }

    pub(super) fn left_behind(&mut self, safe: &SafeId) -> Result<(), WalletError> {
        let here = |deposit: &Deposit| {
            deposit.safe == *safe && deposit.stage < Stage::Released && deposit.asks_owner(Right::Release)
        };
        let goes = |backup: &&Backup| backup.operation == Some(Operation::Release) && backup.deposits.iter().any(here);
        let all: Vec<Backup> = self.state.backups.values().filter(goes).cloned().collect();
        for mut backup in all {
            backup.deposits.iter_mut().filter(|d| here(d)).for_each(|deposit| deposit.stage = Stage::Released);
            if backup.chapter.is_none() {
                let (title, safe) = (Self::title(&backup), self.state.nickname(safe));
                let text = format!(
                    "Safe “{safe}” does not know you on this device any more: its piece of “{title}” stays there until its lease ends."
                );
                self.note(Level::Warning, text);
            }
            self.end_release(backup)?;
        }
        Ok(())
    }

    pub(super) fn end_release(&mut self, mut backup: Backup) -> Result<(), WalletError> {
        if !backup.all_at(Stage::Released) {
            self.put(backup);
            return Ok(());
        }
        for meta in &backup.values {
            if let Some(value) = self.value(&meta.id).filter(|value| value.backup == Some(backup.id)) {
                let value = Value { backup: None, ..value.clone() };
                self.changes.put.push(Row::Value(Box::new(value)));
            }
        }
        if backup.chapter.is_none() {
            let what = if self.state.is_leftover(&backup) { "the old pieces of " } else { "" };
            self.note(Level::Info, format!("All safes have let {what}“{}” go.", Self::title(&backup)));
        }
        self.finish_sources(&mut backup);
        self.keep_exhibits(&backup);
        self.changes.remove.push(Key::Backup(backup.id));
        Ok(())
    }
}
