//! Safes that retire, and what is kept of those that failed.

use protocol::{
    ids::{BackupId, DepositId, SafeId},
    plan::{Plan, PlanError},
};
use rand_core::CryptoRng;

use super::{Changes, Transition, WalletError};
use crate::{
    retiring::{self, replaced},
    state::{Backup, Exhibit, Level, MAX_EXHIBITS, Next, Retirement, Row, Then},
};

impl Transition<'_> {
    /// The retirements as this transition leaves them so far.
    fn retirements(&self) -> Vec<Retirement> {
        let changed = self.changes.put.iter().rev().find_map(|row| match row {
            Row::Retiring(all) => Some(all),
            _ => None,
        });
        changed.unwrap_or(&self.state.retiring).clone()
    }

    /// The exhibits as this transition leaves them so far.
    fn exhibits(&self) -> Vec<Exhibit> {
        let changed = self.changes.put.iter().rev().find_map(|row| match row {
            Row::Exhibits(all) => Some(all),
            _ => None,
        });
        changed.unwrap_or(&self.state.exhibits).clone()
    }

    pub(super) fn retire(&mut self, from: SafeId, to: SafeId) -> Result<(), WalletError> {
        let known = |safe: &SafeId| self.state.safes.contains_key(safe);
        let mut all = self.retirements();
        if !known(&from) || !known(&to) || from == to || all.iter().any(|other| other.from == to) {
            return Err(WalletError::Unknown("safe to take its place"));
        }
        // Rules use the other one, too, where it has no part yet.
        let mut rules = self.state.rules.clone();
        for rule in &mut rules {
            if let Ok(plan) = replaced(&rule.plan, &from, &to)
                && !rule.plan.safes().contains(&&to)
            {
                rule.plan = plan;
            }
        }
        if rules != self.state.rules {
            self.changes.put.push(Row::Rules(rules));
        }
        all.retain(|other| other.from != from);
        all.push(Retirement { from, to, left: Vec::new() });
        self.changes.put.push(Row::Retiring(all));
        let (old, new) = (self.state.nickname(&from), self.state.nickname(&to));
        self.note(Level::Info, format!("Safe “{old}” retires; “{new}” takes its place."));
        Ok(())
    }

    /// The owner keeps a safe after all; what has gone elsewhere stays there.
    pub(super) fn keep_safe(&mut self, safe: &SafeId) -> Result<(), WalletError> {
        let mut all = self.retirements();
        all.retain(|other| other.from != *safe);
        self.changes.put.push(Row::Retiring(all));
        Ok(())
    }

    /// A safe is gone: neither does it retire, nor does it take another one's place.
    pub(super) fn forget_retirements_of(&mut self, safe: &SafeId) {
        let mut all = self.retirements();
        all.retain(|other| other.from != *safe && other.to != *safe);
        if all != self.state.retiring {
            self.changes.put.push(Row::Retiring(all));
        }
    }

    pub(super) fn replace<R: CryptoRng>(&mut self, id: &BackupId, rng: &mut R) -> Result<(), WalletError> {
        // Another window may have begun it, or its owner has thought better of it.
        if !retiring::due(self.state).contains(id) {
            return Ok(());
        }
        let backup = self.backup(id)?;
        let mut attempt =
            Transition { state: self.state, now: self.now, changes: Changes::default(), notes: Vec::new() };
        let plan = self.plan_without_the_retired(&backup);
        let begun = plan.map_err(WalletError::from).and_then(|plan| {
            let next = Next { backup: BackupId::make_random(rng), plan, words: None };
            attempt.renew(id, next, rng)
        });
        match begun {
            Ok(()) => {
                self.changes = attempt.changes;
                self.notes.append(&mut attempt.notes);
            }
            Err(error) => {
                self.note(Level::Warning, format!("“{}” stays where it is: {error}.", Self::title(&backup)));
                self.leave_where_it_is(&backup);
            }
        }
        Ok(())
    }

    /// The plan of the next generation: without the safes that retire, where nothing speaks against it.
    pub(super) fn plan_without_the_retired(&self, backup: &Backup) -> Result<Plan<SafeId>, PlanError> {
        let its = self.state.retiring.iter().filter(|all| !retiring::is_left(all, backup));
        its.into_iter().try_fold(backup.plan.clone(), |plan, all| replaced(&plan, &all.from, &all.to))
    }

    /// A next generation that could not be made, or that its owner has taken back, is left to him.
    pub(super) fn leave_where_it_is(&mut self, backup: &Backup) {
        if backup.operation.is_some() && backup.replaces.is_none() && backup.then != Some(Then::Renew) {
            return;
        }
        let mut all = self.retirements();
        // What is under way may be its next generation already.
        let old = backup.replaces.and_then(|old| self.state.backups.get(&old));
        for retirement in &mut all {
            for backup in [Some(backup), old].into_iter().flatten() {
                let there = backup.deposits.iter().any(|deposit| deposit.safe == retirement.from);
                if there && !retirement.left.contains(&backup.id) {
                    retirement.left.push(backup.id);
                }
            }
        }
        if all != self.retirements() {
            self.changes.put.push(Row::Retiring(all));
        }
        self.leave_exposed(old.map_or(backup.id, |old| old.id));
    }

    /// The certificates of pieces that were not shown stay when the backup goes: they say what their safes had signed for.
    pub(super) fn keep_exhibits(&mut self, backup: &Backup) {
        let mut all = self.exhibits();
        let before = all.len();
        for deposit in &backup.deposits {
            if let Some((fault, certificate)) = deposit.fault.as_ref().zip(deposit.certificate.clone()) {
                all.push(Exhibit {
                    deposit: deposit.id,
                    safe: deposit.safe,
                    title: Self::title(backup),
                    what: fault.what.clone(),
                    since: fault.since,
                    certificate,
                });
            }
        }
        if all.len() > before {
            all.drain(..all.len().saturating_sub(MAX_EXHIBITS));
            self.changes.put.push(Row::Exhibits(all));
        }
    }

    pub(super) fn drop_exhibit(&mut self, deposit: &DepositId) {
        let mut all = self.exhibits();
        all.retain(|exhibit| exhibit.deposit != *deposit);
        self.changes.put.push(Row::Exhibits(all));
    }
}
