//! What must hold, whatever happened.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use protocol::{
    crypto::{Secret, blake3},
    deposit::DepositSecrets,
    ids::{BackupId, SafeId},
    layout::Slot,
    plan::Place,
    program::Keys,
};
use wallet_wasm::{
    session::{Action, Errand, Session},
    state::{Backup, Stage},
};

use super::{DAY, World};
use crate::world::Sending;

/// So much of a content is looked for.
const TRACE: usize = 24;

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

fn trace_of(content: &[u8]) -> &[u8] {
    &content[content.len() - TRACE..]
}

impl World<'_, '_> {
    fn holds(&self, safe: &SafeId, deposit: &protocol::ids::DepositId) -> bool {
        self.ids.iter().position(|id| id == safe).is_some_and(|at| self.safes.all[at].holds(deposit))
    }

    /// Whether what safes hold brings all of a backup back.
    pub(super) fn is_recoverable(&self, backup: &Backup) -> bool {
        let layout = backup.layout().unwrap();
        let price = |segment: u32, place: &Place<SafeId>| match place {
            Place::Safe { safe, .. } => {
                let deposit = backup.deposit_at(Slot { segment, safe: *safe })?;
                let good = deposit.stage == Stage::Held && deposit.certificate.is_some();
                (good && self.holds(safe, &deposit.id)).then_some(0)
            }
            Place::Book => Some(0),
            _ => None,
        };
        (0..layout.segments()).all(|segment| layout.choose(segment, &Keys::default(), &price).is_some())
    }

    /// Whether safes have lost more of a backup than its plan stands.
    pub(super) fn is_beyond(&self, backup: &Backup) -> bool {
        let lost = backup.deposits.iter().filter(|d| self.damaged.contains(&d.id) && !self.holds(&d.safe, &d.id));
        let lost: BTreeSet<SafeId> = lost.map(|d| d.safe).collect();
        lost.len() > Session::default().strength(backup).losses
    }

    /// Whether a backup at rest is to be rebuilt from what the safes have.
    pub(super) fn can_be_rebuilt(&self, owner: usize, id: &BackupId) -> bool {
        let backup = &self.owners[owner].known.backups[id];
        backup.operation.is_none() && backup.finished.is_some() && self.is_recoverable(backup)
    }

    /// Every value is here, or at the safes.
    pub(super) fn look(&mut self) {
        for at in 0..self.owners.len() {
            let owner = &self.owners[at];
            let mut beyond = Vec::new();
            for id in owner.expected.keys().filter(|id| !owner.excused.contains(id)) {
                let value = owner.known.values.get(id).unwrap_or_else(|| panic!("wallet {at} has forgotten {id}"));
                if let Some(content) = &value.content {
                    assert!(owner.disk.has(&content.blob), "wallet {at} has no content of {id}");
                    continue;
                }
                let backup = value.backup.and_then(|id| owner.known.backups.get(&id));
                let backup = backup.unwrap_or_else(|| panic!("{id} of wallet {at} is nowhere"));
                if self.is_recoverable(backup) {
                    continue;
                }
                assert!(self.is_beyond(backup), "{id} of wallet {at} is lost, and the safes are not to blame");
                beyond.push(*id);
            }
            if !beyond.is_empty() {
                self.say(|| format!("{} values of wallet {at} are beyond what their plans stand", beyond.len()));
                *self.report.faults.entry("more lost than the plan stands").or_default() += 1;
                self.owners[at].excused.extend(beyond);
            }
        }
    }

    /// A request says nothing that it must not, and what was said once is said again in the same words.
    pub(super) fn look_at_message(&mut self, owner: usize, sending: &Sending) {
        let statement = sending.request.statement.as_deref();
        let stated = statement.and_then(|text| BASE64.decode(text.trim_matches(':').as_bytes()).ok());
        let said = [sending.body.as_slice(), sending.request.url.as_bytes(), stated.as_deref().unwrap_or_default()];
        for content in self.owners.iter().flat_map(|owner| owner.expected.values()) {
            assert!(!said.iter().any(|said| contains(said, trace_of(content))), "a request shows a value");
        }
        let Action::Send(backup, id, errand) = &sending.action else { return };
        let known = &self.owners[owner].known;
        let Some(backup) = known.backups.get(backup) else { return };
        if let Some(deposit) = backup.deposit(id) {
            let secrets = DepositSecrets::derive(&deposit.d);
            let all: [&Secret; 4] = [&deposit.d, &secrets.release, &secrets.retrieve, &secrets.audit];
            for secret in all.into_iter().chain(&backup.op_seed) {
                assert!(!said.iter().any(|said| contains(said, secret.expose())), "a request shows a secret");
            }
        }
        match errand {
            Errand::Put => {
                let first = (blake3(&sending.body), sending.request.statement.clone());
                let before = self.sent.entry(*id).or_insert_with(|| first.clone());
                assert!(*before == first, "a retry sent other bytes");
            }
            Errand::Release => {
                let awaited = known.successor(&backup.id).is_some();
                assert!(!awaited, "{} is let go before its successor is confirmed", backup.id);
                for meta in &backup.values {
                    let Some(value) = known.values.get(&meta.id) else { continue };
                    let here = value.content.as_ref().is_some_and(|c| self.owners[owner].disk.has(&c.blob));
                    let next = value.backup.filter(|id| *id != backup.id).and_then(|id| known.backups.get(&id));
                    let proven = next.is_some_and(|next| next.finished.is_some() && next.all_at(Stage::Held));
                    assert!(here || proven, "{} is let go before it is anywhere else", meta.id);
                }
            }
            _ => {}
        }
    }

    /// Safes hold what wallets have certificates for, and nothing else.
    pub(super) fn settle(&mut self, left: &mut usize) {
        for _ in 0..6 {
            self.move_on(2 * DAY);
        }
        while self.go_on(left) {}
        for (at, safe) in self.safes.all.iter().enumerate().filter(|_| !self.leaky) {
            let mut live = 0;
            for id in safe.records().keys() {
                let record = safe.record(id).unwrap();
                if record.release.is_some() {
                    continue;
                }
                let book = self.owners.iter().flat_map(|o| o.known.backups.values()).find_map(|b| b.deposit(id));
                assert!(
                    book.is_some_and(|deposit| deposit.stage == Stage::Held),
                    "safe {at} keeps {id}, and no wallet knows of it"
                );
                live += 1;
            }
            assert_eq!(safe.counts().1, live, "bodies at safe {at} that no record names");
        }
    }

    /// Nothing that is stored shows a value or a key.
    pub(super) fn look_into_everything(&self) {
        let disks = self.owners.iter().map(|owner| owner.disk.dump());
        let stored: Vec<Vec<u8>> = disks.chain(self.safes.all.iter().map(|safe| safe.dump())).collect();
        let backups = self.owners.iter().flat_map(|owner| owner.known.backups.values());
        let secrets = backups.flat_map(|b| b.deposits.iter().map(|d| &d.d).chain(&b.op_seed)).map(Secret::expose);
        let contents = self.owners.iter().flat_map(|owner| owner.expected.values()).map(|c| trace_of(c));
        for needle in secrets.map(|s| &s[..]).chain(contents) {
            assert!(!stored.iter().any(|stored| contains(stored, needle)), "what is stored shows a secret");
        }
    }
}
