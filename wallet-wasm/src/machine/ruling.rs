//! Rules and room: what the owner has set, and what follows by itself.

use protocol::{
    book::KnownSafe,
    ids::{BackupId, ValueId},
};
use rand_core::CryptoRng;

use super::{Changes, Transition, WalletError, Wish};
use crate::{
    room::Room,
    rules::{self, Deed, MAX_RULES, Rule, RuleError},
    state::{Backup, FaceWish, Level, Next, Row, Settings, Value},
    upkeep::HOUR,
};

impl Transition<'_> {
    pub(super) fn set_rules(&mut self, rules: Vec<Rule>) -> Result<(), WalletError> {
        if rules.len() > MAX_RULES {
            return Err(RuleError::TooMany.into());
        }
        rules.iter().try_for_each(|rule| rule.check(self.state))?;
        self.changes.put.push(Row::Rules(rules));
        Ok(())
    }

    pub(super) fn set_capacity(&mut self, capacity: Option<u64>) -> Result<(), WalletError> {
        self.changes.put.push(Row::Settings(Settings { capacity }));
        Ok(())
    }

    pub(super) fn check_rules(&self, without: &KnownSafe) -> Result<(), WalletError> {
        let uses = |rule: &&Rule| rule.plan.safes().contains(&&without.id);
        match self.state.rules.iter().find(uses) {
            Some(rule) => Err(WalletError::SafeInRule(rule.name.clone())),
            None => Ok(()),
        }
    }

    pub(super) fn used(&mut self, id: &ValueId) -> Result<(), WalletError> {
        let value = self.state.values.get(id).ok_or(WalletError::Unknown("value"))?;
        if value.used.is_none_or(|used| self.now >= used.saturating_add(HOUR)) {
            self.changes.put.push(Row::Value(Box::new(Value { used: Some(self.now), ..value.clone() })));
        }
        Ok(())
    }

    /// Rules see to it again.
    pub(super) fn follow_rules(&mut self, id: &ValueId) -> Result<(), WalletError> {
        let value = self.state.values.get(id).ok_or(WalletError::Unknown("value"))?;
        self.changes.put.push(Row::Value(Box::new(Value { left_alone: None, ..value.clone() })));
        Ok(())
    }

    /// What its owner has taken back, or cannot be done, no rule does again.
    pub(super) fn leave_alone(&mut self, backup: &Backup) {
        for meta in &backup.values {
            if let Some(value) = self.value(&meta.id).cloned() {
                let value = Value { left_alone: Some(self.now), ..value };
                self.changes.put.push(Row::Value(Box::new(value)));
            }
        }
    }

    pub(super) fn apply_rule<R: CryptoRng>(
        &mut self,
        id: &ValueId,
        room: &Room,
        rng: &mut R,
    ) -> Result<(), WalletError> {
        // Another window may have seen to it, or its owner.
        let due = rules::due(self.state, room, self.now).into_iter().find(|(value, _)| value == id);
        let Some((value, (_, deed))) = self.state.values.get(id).zip(due) else { return Ok(()) };
        let mut attempt =
            Transition { state: self.state, now: self.now, changes: Changes::default(), notes: Vec::new() };
        match attempt.carry_out(id, deed, rng) {
            Ok(()) => {
                self.changes = attempt.changes;
                self.notes.append(&mut attempt.notes);
            }
            Err(error) => {
                self.note(Level::Warning, format!("“{}” is left to you by your rules: {error}.", value.meta.title));
                let value = Value { left_alone: Some(self.now), ..value.clone() };
                self.changes.put.push(Row::Value(Box::new(value)));
            }
        }
        Ok(())
    }

    fn carry_out<R: CryptoRng>(&mut self, id: &ValueId, deed: Deed, rng: &mut R) -> Result<(), WalletError> {
        match deed {
            Deed::Register(rule, moving) => {
                let rule = self.state.rules.get(rule).ok_or(WalletError::Unknown("rule"))?;
                let title = self.state.values.get(id).map_or("", |value| value.meta.title.as_str());
                let what = if moving { "goes to the safes" } else { "is being backed up" };
                self.note(Level::Info, format!("“{title}” {what}, as your rule “{}” says.", rule.name));
                let (backup, plan) = (BackupId::make_random(rng), rule.plan.clone());
                let face = FaceWish::default();
                self.register(Wish { backup, values: vec![*id], plan, words: None, face, moving }, None, rng)
            }
            Deed::Renew(id, moving) => {
                let backup = self.settled(&id)?;
                self.note(Level::Info, format!("The change of “{}” is being backed up.", Self::title(&backup)));
                let plan = self.plan_without_the_retired(&backup)?;
                let next = Next { backup: BackupId::make_random(rng), plan, words: None };
                if self.is_all_here(&backup) {
                    return self.make_next(&backup, next, moving, rng);
                }
                self.renew(&id, next, rng)
            }
            Deed::Move(id) => {
                let title = Self::title(&self.backup(&id)?);
                self.note(Level::Info, format!("“{title}” goes to the safes, as your rules say."));
                self.move_out(&id, rng)
            }
            Deed::Audit(id) => self.audit(Some(id)),
        }
    }
}
