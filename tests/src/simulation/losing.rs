//! A device of somebody who is enrolled is gone for good, in the middle of whatever it did; on another one its owner shuts it out.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    codec,
    crypto::Secret,
    ids::{SafeId, ValueId},
    owner::{
        login::ChannelKey,
        messages::{Action, Outcome, Topic},
    },
};

use wallet_wasm::{changing::taken, owner::Owner as Enrolled};

use super::{Owner, World, ways::AtHome};

/// A device that is gone for good.
pub(super) struct LostDevice {
    /// What it had put in, save what was beyond its plan.
    pub(super) expected: BTreeMap<ValueId, Vec<u8>>,
    pub(super) excused: BTreeSet<ValueId>,
    /// Its number and key at each safe.
    keys: BTreeMap<SafeId, (u32, Secret)>,
    /// Safes of a change that it had begun.
    changing: BTreeSet<SafeId>,
    /// Safes that said that they have forgotten it.
    forgotten: BTreeSet<usize>,
    /// Its owner has begun a change since.
    over: bool,
}

impl LostDevice {
    fn new(gone: Owner<'_>) -> Self {
        let owner = gone.known.owner.as_ref();
        let changing = owner.and_then(|owner| owner.changing.as_ref());
        let seats = owner.into_iter().flat_map(|owner| owner.writing().map(move |seat| (owner, seat)));
        let keys = seats.filter_map(|(owner, seat)| Some((seat.safe, (seat.number?, owner.own_key_at(&seat.safe)))));
        Self {
            keys: keys.collect(),
            changing: changing.into_iter().flat_map(|changing| &changing.sites).map(|site| site.safe).collect(),
            forgotten: BTreeSet::new(),
            over: false,
            expected: gone.expected,
            excused: gone.excused,
        }
    }

    /// Whether what it had begun may be in force at this safe.
    pub(super) fn was_changing_at(&self, safe: &SafeId) -> bool {
        self.changing.contains(safe)
    }
}

impl World<'_, '_> {
    /// A device is lost, and the owner shuts it out on another one. Whether there was one to lose.
    pub(super) fn lose_device(&mut self) -> bool {
        // The newest one, so that all others keep their places.
        let at = self.owners.len() - 1;
        let devices = self.person().devices.clone();
        let others: Vec<usize> = devices.iter().copied().filter(|other| *other != at).collect();
        if others.len() + 1 != devices.len() || others.is_empty() {
            return false;
        }
        let Some(gone) = self.owners.pop() else { return false };
        self.fault("device lost");
        // What it has sent arrives.
        self.flights.retain_mut(|flight| !flight.is_of(at) || flight.goes_on_alone());
        self.owned.retain(|(owner, _)| *owner != at);
        self.leaky = true;
        // What it alone had, or knew the whereabouts of, went with it.
        let went = |id: &ValueId| {
            let known = |at: &usize| {
                self.owners[*at].known.backups.get(self.owners[*at].known.values.get(id)?.backup.as_ref()?)
            };
            let here = others.iter().any(|at| self.owners[*at].known.is_local(id));
            let there = || others.iter().filter_map(known).any(|backup| self.is_recoverable(backup));
            !here && (gone.known.is_local(id) || gone.known.at_work(id).is_some() || !there())
        };
        let went: BTreeSet<ValueId> = gone.known.values.keys().copied().filter(went).collect();
        let holds = |id: &ValueId| {
            let its = gone.known.backups.values().filter(|backup| backup.values.iter().any(|meta| meta.id == *id));
            let mut its = its.filter(|backup| backup.operation.is_some() || backup.is_ours());
            gone.known.is_local(id)
                || its.next().is_some()
                || !self.owners.iter().any(|o| o.known.values.contains_key(id))
        };
        let held: Vec<ValueId> = gone.known.values.keys().copied().filter(holds).collect();
        for other in &others {
            self.owners[*other].expected.retain(|id, _| !went.contains(id));
        }
        for id in held {
            self.tickets.entry(id).and_modify(|ticket| ticket.excused = true);
        }
        let person = self.person.as_mut().expect("somebody is enrolled");
        person.devices = others.clone();
        person.lost.push(LostDevice::new(gone));
        self.forget_drafts();
        let owner = others[self.dice.below(others.len())];
        let writes = |world: &Self| world.owners[owner].known.owner.as_ref().is_some_and(Enrolled::writes);
        if writes(self) || self.come_back(owner, 0) {
            self.shut_out(owner);
        }
        true
    }

    /// "This device is lost": safes forget it, and another enrolment takes the place of the one that it knows, at those that can take part.
    fn shut_out(&mut self, owner: usize) {
        let Some(AtHome { known, accounts, .. }) = self.at_home(owner) else { return };
        for number in 0..self.person().lost.len() {
            for (safe, _) in &accounts {
                let index = self.index_of(safe);
                let Some((credential, _)) = self.person().lost[number].keys.get(safe).cloned() else { continue };
                // One that was set back may have given its number to another one.
                if self.person().is_forgetful(index) {
                    continue;
                }
                let outcomes = self.act_at(&known, safe, &vec![Action::Revoke(credential)]);
                if matches!(outcomes.as_deref(), Some([Outcome::Done])) {
                    let person = self.person.as_mut().expect("somebody is enrolled");
                    person.lost[number].forgotten.insert(index);
                }
            }
        }
        let without = taken(known.agreed(), accounts.iter().map(|(safe, account)| (safe, account)));
        if self.change_enrolment(owner, 0, Some(&without)) {
            *self.report.operations.entry("device shut out").or_default() += 1;
            let person = self.person.as_mut().expect("somebody is enrolled");
            person.lost.iter_mut().for_each(|lost| lost.over = true);
        }
    }

    /// The faults have ended: what a lost device had begun holds nobody up, and no safe that has forgotten it lets it in.
    pub(super) fn shut_out_at_last(&mut self, devices: &[usize]) {
        if self.person().lost.is_empty() {
            return;
        }
        for _ in 0..3 {
            let open = self.person().lost.iter().any(|lost| !lost.over);
            let writes = |at: &usize| self.owners[*at].known.owner.as_ref().is_some_and(Enrolled::writes);
            let last = devices.iter().copied().rfind(writes);
            let Some(at) = self.held_up(devices).or(last.filter(|_| open)) else { break };
            self.shut_out(at);
            self.rest_at(at);
        }
        let disturbed = self.person().was_set_back() || self.person().has_been_guessed();
        let held = self.held_up(devices);
        let open = || held.and_then(|at| self.open_of(at));
        assert!(held.is_none() || disturbed, "what a lost device had begun holds up wallet {held:?}: {:?}", open());
        if self.person().was_set_back() {
            return;
        }
        let lost = self.person().lost.iter();
        let keys =
            lost.flat_map(|lost| lost.keys.iter().filter(|(safe, _)| lost.forgotten.contains(&self.index_of(safe))));
        for (safe, (number, key)) in keys.map(|(safe, key)| (*safe, key.clone())).collect::<Vec<_>>() {
            let (channel, show) = (ChannelKey::of_credential(number, key), codec::encode(&vec![Action::Show]));
            let answer = self.ask_at(&safe, Topic::Channel, &show, Some(&channel));
            assert!(answer.is_none(), "{safe} lets a device in that it has forgotten");
        }
    }

    /// A device of his that waits for one that is gone.
    fn held_up(&self, devices: &[usize]) -> Option<usize> {
        let of = |at: usize| self.owners[at].known.owner.as_ref();
        let announced = |at: &usize| of(*at).is_some_and(|owner| owner.announced.is_some());
        devices.iter().copied().find(|at| announced(at) && !self.waits_for_another(*at))
    }
}
