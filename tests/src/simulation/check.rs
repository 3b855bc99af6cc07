//! What must hold, whatever happened.

use std::collections::BTreeSet;

use data_encoding::BASE64;
use protocol::{
    crypto::{Secret, blake3},
    deposit::DepositSecrets,
    ids::{BackupId, DepositId, SafeId},
    layout::Slot,
    plan::Place,
    program::Keys,
    register::Proposal,
};
use wallet_wasm::{
    claiming::needed,
    session::{Action, Errand, Session},
    state::{Backup, Deposit, Operation, Stage},
};

use super::{DAY, World};
use crate::world::{Safes, Sending};

/// So much of a content is looked for.
pub(super) const TRACE: usize = 24;

fn contains(hay: &[u8], needle: &[u8]) -> bool {
    hay.windows(needle.len()).any(|window| window == needle)
}

fn trace_of(content: &[u8]) -> &[u8] {
    &content[content.len() - TRACE..]
}

fn holds(ids: &[SafeId], safes: &Safes, deposit: &Deposit) -> bool {
    ids.iter().position(|id| *id == deposit.safe).is_some_and(|at| safes.all[at].holds(&deposit.id))
}

fn recoverable(ids: &[SafeId], safes: &Safes, backup: &Backup) -> bool {
    let layout = backup.layout().unwrap();
    let price = |segment: u32, place: &Place<SafeId>| match place {
        Place::Safe { .. } => {
            let deposit = backup.deposit_at(Slot::of(segment, place)?)?;
            let good = deposit.stage == Stage::Held && deposit.signed_for().is_some();
            (good && holds(ids, safes, deposit)).then_some(0)
        }
        // What is its owner's he has.
        _ => Some(0),
    };
    (0..layout.segments()).all(|segment| layout.choose(segment, &Keys::default(), &price).is_some())
}

fn beyond(ids: &[SafeId], safes: &Safes, damaged: &BTreeSet<DepositId>, backup: &Backup) -> bool {
    let lost = backup.deposits.iter().filter(|d| damaged.contains(&d.id) && !holds(ids, safes, d));
    let lost: BTreeSet<SafeId> = lost.map(|d| d.safe).collect();
    lost.len() > Session::default().strength(backup).losses
}

impl World<'_, '_> {
    /// Whether what safes hold brings all of a backup back.
    pub(super) fn is_recoverable(&self, backup: &Backup) -> bool {
        recoverable(&self.ids, &self.safes, backup)
    }

    /// Whether safes have lost more of a backup than its plan stands.
    pub(super) fn is_beyond(&self, backup: &Backup) -> bool {
        beyond(&self.ids, &self.safes, &self.damaged, backup)
    }

    /// Whether so many registers of what lives once are lost that nobody gets it any more, save by a take-over, if at all.
    pub(super) fn is_undecidable(&self, backup: &Backup) -> bool {
        let knows = |deposit: &Deposit| {
            let safe = self.ids.iter().position(|id| *id == deposit.safe).map(|at| &self.safes.all[at]);
            safe.and_then(|safe| safe.record(&deposit.id)).is_some_and(|record| record.certificate.is_some())
        };
        let lenient = backup.claim.as_ref().is_some_and(|claim| claim.lenient);
        let needed = needed(backup.registers().count(), lenient);
        let waits = matches!(backup.operation, Some(Operation::Claim | Operation::Recover));
        backup.must_claim() && waits && backup.registers().filter(|deposit| knows(deposit)).count() < needed
    }

    /// Whether a backup at rest is to be rebuilt from what the safes have.
    pub(super) fn can_be_rebuilt(&self, owner: usize, id: &BackupId) -> bool {
        let backup = &self.owners[owner].known.backups[id];
        let own = backup.chapter.is_none() && !backup.must_claim();
        own && backup.operation.is_none() && backup.finished.is_some() && self.is_recoverable(backup)
    }

    /// Every value is here, or at the safes.
    pub(super) fn look(&mut self) {
        self.look_at_tickets();
        self.look_at_drafts();
        self.look_at_counted();
        for at in 0..self.owners.len() {
            let owner = &self.owners[at];
            let devices = self.devices_of(at);
            let mut beyond = Vec::new();
            for id in owner.expected.keys().filter(|id| !owner.excused.contains(id)) {
                let all = || devices.iter().map(|at| &self.owners[*at]);
                let known = || all().filter_map(|owner| Some((owner, owner.known.values.get(id)?)));
                assert!(known().next().is_some(), "wallet {at} has forgotten {id}");
                let mut contents =
                    known().filter_map(|(owner, value)| Some((owner, value.content.as_ref()?))).peekable();
                if contents.peek().is_some() {
                    let there = contents.all(|(owner, content)| owner.disk.has(&content.blob));
                    assert!(there, "wallet {at} has no content of {id}");
                    continue;
                }
                let backups = || known().filter_map(|(owner, value)| owner.known.backups.get(value.backup.as_ref()?));
                assert!(backups().next().is_some(), "{id} of wallet {at} is nowhere");
                if backups().any(|backup| self.is_recoverable(backup)) {
                    continue;
                }
                let lost = backups().any(|backup| self.is_beyond(backup));
                assert!(lost, "{id} of wallet {at} is lost, and the safes are not to blame");
                beyond.push(*id);
            }
            if !beyond.is_empty() {
                self.say(|| format!("{} values of wallet {at} are beyond what their plans stand", beyond.len()));
                *self.report.faults.entry("more lost than the plan stands").or_default() += 1;
                self.owners[at].excused.extend(beyond);
            }
        }
    }

    /// What lives once lives once, and somewhere.
    pub(super) fn look_at_tickets(&mut self) {
        let mut said = Vec::new();
        for (id, ticket) in &mut self.tickets {
            let live: Vec<usize> = (0..self.owners.len()).filter(|at| self.owners[*at].known.is_local(id)).collect();
            for at in &live {
                let content = self.owners[*at].known.values[id].content.as_ref();
                assert!(
                    content.is_some_and(|c| self.owners[*at].disk.has(&c.blob)),
                    "wallet {at} has no content of {id}"
                );
            }
            let backups = || self.owners.iter().flat_map(|owner| owner.known.backups.values());
            let its = || backups().filter(|backup| backup.values.iter().any(|meta| meta.id == *id));
            if live.len() > 1 && !ticket.may_double {
                let fooled = |backup: &Backup| {
                    let safes: Vec<SafeId> = backup.registers().map(|deposit| deposit.safe).collect();
                    let liars = self.liars.iter().filter(|at| safes.contains(&self.ids[**at])).count();
                    liars > protocol::register::liars(safes.len())
                };
                assert!(its().any(fooled), "{id} lives in the wallets {live:?}");
                ticket.may_double = true;
                said.push("it lives twice, for too many safes lied");
            }
            if live.is_empty() && !ticket.excused {
                let (ids, safes, damaged) = (&self.ids, &self.safes, &self.damaged);
                if its().any(|backup| recoverable(ids, safes, backup)) {
                    continue;
                }
                assert!(its().next().is_some(), "{id} is nowhere");
                let beyond = its().any(|backup| beyond(ids, safes, damaged, backup));
                assert!(beyond, "{id} is lost, and the safes are not to blame");
                ticket.excused = true;
                said.push("more lost than the plan stands");
            }
        }
        said.into_iter().for_each(|kind| self.fault(kind));
    }

    /// A request says nothing that it must not, and what was said once is said again in the same words.
    pub(super) fn look_at_message(&mut self, owner: usize, tab: u64, sending: &Sending) {
        let statement = sending.request.statement.as_deref();
        let stated = statement.and_then(|text| BASE64.decode(text.trim_matches(':').as_bytes()).ok());
        let said = [sending.body.as_slice(), sending.request.url.as_bytes(), stated.as_deref().unwrap_or_default()];
        for content in self.contents() {
            assert!(!said.iter().any(|said| contains(said, trace_of(content))), "a request shows a value");
        }
        let Action::Send(backup, id, errand) = &sending.action else { return };
        let known = &self.owners[owner].known;
        let Some(backup) = known.backups.get(backup) else { return };
        if let Some(deposit) = backup.deposit(id) {
            let secrets = DepositSecrets::derive(&deposit.d);
            let all: [&Secret; 4] = [&deposit.d, &secrets.release, &secrets.retrieve, &secrets.audit];
            let x = backup.claim.as_ref().map(|claim| &claim.x);
            for secret in all.into_iter().chain(&backup.op_seed).chain(x) {
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
                self.look_at_release(owner, backup);
                // A window that has not read of a successor yet lets go what was being let go before: what is here stays, as below.
                let window = self.owners[owner].tabs.iter().find(|window| window.id == tab);
                let awaited = window.is_some_and(|window| window.wallet.state.successor(&backup.id).is_some());
                assert!(!awaited, "{} is let go before its successor is confirmed", backup.id);
                for meta in &backup.values {
                    let Some(value) = known.values.get(&meta.id) else { continue };
                    let here = value.content.as_ref().is_some_and(|c| self.owners[owner].disk.has(&c.blob));
                    let next = value.backup.filter(|id| *id != backup.id).and_then(|id| known.backups.get(&id));
                    let proven = next.is_some_and(|next| next.finished.is_some() && next.all_at(Stage::Held));
                    assert!(here || proven, "{} is let go before it is anywhere else", meta.id);
                }
            }
            Errand::Retrieve => {
                let ours = !backup.lives_once() || self.owned.contains(&(owner, backup.id));
                assert!(ours, "{} is asked for, and lives once, and belongs to nobody", backup.id);
            }
            Errand::Propose(Proposal::Prepare(_, ballot) | Proposal::Accept(_, ballot, _)) => {
                assert!(self.claimants.contains(&ballot.claimant), "who claims {} is not stored", backup.id);
            }
            _ => {}
        }
    }

    /// All that anybody keeps.
    fn contents(&self) -> impl Iterator<Item = &Vec<u8>> {
        let tickets = self.tickets.values().map(|ticket| &ticket.content);
        let drafts = self.person.iter().flat_map(|person| person.drafts.values()).map(|draft| &draft.content);
        self.owners.iter().flat_map(|owner| owner.expected.values()).chain(tickets).chain(drafts)
    }

    /// Safes hold what wallets have certificates for, and nothing else.
    pub(super) fn settle(&mut self, left: &mut usize) {
        for _ in 0..6 {
            self.move_on(2 * DAY);
        }
        while self.go_on(left) {}
        self.look_at_accounts();
        for (at, safe) in self.safes.all.iter().enumerate().filter(|_| !self.leaky) {
            let mut live = 0;
            for id in safe.records().keys() {
                let record = safe.record(id).unwrap();
                if record.release.is_some() {
                    continue;
                }
                let mut books = self.owners.iter().flat_map(|o| o.known.backups.values()).filter_map(|b| b.deposit(id));
                assert!(
                    books.any(|deposit| deposit.stage == Stage::Held),
                    "safe {at} keeps {id}, and no wallet knows of it"
                );
                live += 1;
            }
            assert_eq!(safe.counts().1, live, "bodies at safe {at} that no record names");
            if self.token_key.is_some() {
                let used = self.tokens.iter().map(|token| safe.used(token).deposits).sum::<u64>();
                let accounts = safe.owner_records().iter().filter(|(_, record)| record.next > 0).count();
                assert_eq!(used, (live + accounts) as u64, "deposits that safe {at} counts");
            }
        }
    }

    /// Nothing that is stored shows a value or a key.
    pub(super) fn look_into_everything(&self) {
        let disks = self.owners.iter().map(|owner| owner.disk.dump());
        let stored: Vec<Vec<u8>> = disks.chain(self.safes.all.iter().map(|safe| safe.dump())).collect();
        let backups = self.owners.iter().flat_map(|owner| owner.known.backups.values());
        let secrets = backups.flat_map(|b| b.deposits.iter().map(|d| &d.d).chain(&b.op_seed)).map(Secret::expose);
        let contents = self.contents().map(|c| trace_of(c));
        let owned = self.owner_secrets();
        let owned = owned.iter().map(|secret| &secret.expose()[..]);
        for needle in secrets.map(|s| &s[..]).chain(contents).chain(owned) {
            assert!(!stored.iter().any(|stored| contains(stored, needle)), "what is stored shows a secret");
        }
    }
}
