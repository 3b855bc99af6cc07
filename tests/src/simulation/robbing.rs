//! A thief has an open device of somebody who is enrolled: what it may let go is let go and struck from the book. Within a week its owner goes back to the book as it stood,
//! on a device that has nothing.

use futures::FutureExt as _;
use protocol::{
    codec,
    crypto::Secret,
    ids::{BackupId, SafeId, ValueId},
    owner::{
        login::{Counter, Recognised},
        messages::{Action, Head, MAX_ANSWER_LEN, Mark, Outcome, Topic},
        ticket::Right,
    },
    plan::{Place, Plan},
};
use wallet_wasm::{
    machine::{Event, Wish},
    owner::{Owner as Enrolled, Told, come_back},
    state::{Backup, FaceWish},
};

use super::{Bug, DAY, Disk, World};
use crate::world::Wallet;

/// What a thief has let go.
struct Loot {
    value: ValueId,
    content: Vec<u8>,
}

impl World<'_, '_> {
    /// The device with the turn is stolen while it is open; what was on it comes back to its owner.
    pub(super) fn rob(&mut self, left: &mut usize) {
        let Some((at, ..)) = self.to_be_robbed() else { return };
        self.back_up_more(at, left);
        let Some((at, to, seats)) = self.to_be_robbed() else { return };
        // It is not noticed at once, and safes count in hours.
        self.move_on(DAY);
        let loot = self.plunder(at, left);
        if loot.is_empty() {
            return;
        }
        let days = self.dice.below(5) as u64;
        self.move_on(days * DAY);
        if self.bug == Some(Bug::LetsGoAtOnce) {
            let week = self.now + 9 * DAY;
            for safe in &self.safes.all {
                let _ = safe.run_alarms(week).now_or_never();
            }
        }
        *self.report.operations.entry("stolen device").or_default() += 1;
        self.go_back(at, &to, &seats, &loot);
    }

    /// A device whose book counts at all of its owner's safes, and where that stands; `None`: there is none, or something has happened to a safe that makes it too much to ask.
    fn to_be_robbed(&self) -> Option<(usize, Mark, Vec<usize>)> {
        let person = self.person.as_ref().filter(|person| !person.was_set_back())?;
        let ready = |at: &&usize| {
            self.owners[**at].known.owner.as_ref().is_some_and(|owner| {
                let all = owner.written() == owner.seats.len() && owner.promised() == owner.seats.len();
                owner.writes() && owner.changing.is_none() && !owner.is_behind() && all
            })
        };
        let at = *person.devices.iter().find(ready)?;
        let owner = self.owners[at].known.owner.as_ref()?;
        let seats: Vec<SafeId> = owner.seats.iter().map(|seat| seat.safe).collect();
        let place = |id: &SafeId| self.ids.iter().position(|other| other == id);
        Some((at, owner.head.as_ref()?.mark, seats.iter().filter_map(place).collect()))
    }

    /// There is something that only this device has put in, at safes that know its owner.
    fn back_up_more(&mut self, at: usize, left: &mut usize) {
        let owner = self.owners[at].known.owner.as_ref().expect("it is its owner's");
        let (seats, threshold): (Vec<SafeId>, _) =
            (owner.seats.iter().map(|seat| seat.safe).collect(), owner.threshold);
        for number in 0..3 {
            self.put_in_as(at, 0, 2 * super::STEPS + number, false);
            let guarded = self.guarded_plan(at);
            let Ok(plan) = guarded.map_or_else(|| Plan::spread(usize::from(threshold), &seats), Ok) else { continue };
            let free = self.owners[at].known.values.values().find(|v| v.backup.is_none() && !v.meta.lives_once());
            let Some(value) = free.map(|value| value.meta.id) else { continue };
            let (values, face) = (vec![value], FaceWish::default());
            let backup = BackupId::make_random(&mut self.dice.0);
            let wish = Wish { backup, values, plan, words: None, face, moving: self.dice.one_of(2) };
            self.in_tab(at, 0, |tab| tab.wallet.try_handle(Event::Register(wish)));
            while self.go_on(left) {}
        }
    }

    /// Whether safes keep for their owner what a device lets go, and can give it back.
    fn is_kept(&self, owner: &Enrolled, backup: &Backup) -> bool {
        let kept = |deposit: &wallet_wasm::state::Deposit| {
            deposit.asks_owner(Right::Release) && owner.seat(&deposit.safe).is_some_and(|seat| seat.number.is_some())
        };
        let by_itself = backup.plan.places().iter().all(|(_, place)| !matches!(place, Place::Memory | Place::File));
        backup.finished.is_some()
            && backup.operation.is_none()
            && backup.chapter.is_none()
            && !backup.lives_once()
            && by_itself
            && backup.deposits.iter().all(kept)
            && self.is_recoverable(backup)
    }

    /// The thief brings back what there is, lets it go, and deletes it.
    fn plunder(&mut self, at: usize, left: &mut usize) -> Vec<Loot> {
        self.in_tab(at, 0, |tab| Ok(tab.wallet.reload()?));
        let place = &self.owners[at];
        let Some(owner) = &place.known.owner else { return Vec::new() };
        let backups: Vec<BackupId> =
            place.known.backups.values().filter(|b| self.is_kept(owner, b)).map(|b| b.id).collect();
        let mut loot = Vec::new();
        for id in backups {
            let place = &self.owners[at];
            let Some(backup) = place.known.backups.get(&id) else { continue };
            // What is in it as its owner has it, and not the one before or the one after.
            let whole = |value: &ValueId| {
                let known = place.known.values.get(value)?;
                let content = place.expected.get(value).filter(|_| !place.excused.contains(value))?;
                let same = known.backup == Some(id) && !place.known.is_changed(known);
                same.then(|| Loot { value: *value, content: content.clone() })
            };
            let values: Option<Vec<Loot>> = backup.values.iter().map(|meta| whole(&meta.id)).collect();
            let Some(values) = values else { continue };
            self.in_tab(at, 0, |tab| tab.wallet.try_handle(Event::BringBack(id)));
            while self.go_on(left) {}
            if self.owners[at].known.backups.contains_key(&id) {
                continue;
            }
            for Loot { value, .. } in &values {
                // For whoever looks on it is as if its owner had deleted it.
                self.owners.iter_mut().for_each(|owner| drop(owner.expected.remove(value)));
                self.in_tab(at, 0, |tab| tab.wallet.try_handle(Event::RemoveValue(*value)));
            }
            while self.go_on(left) {}
            loot.extend(values);
        }
        // Another device may keep a copy; nothing of it is at the safes any more.
        let gone = |id: &ValueId| !self.owners[at].known.values.contains_key(id);
        loot.retain(|one| gone(&one.value));
        loot
    }

    /// On a device that has nothing, its owner goes back to how the book stood.
    fn go_back(&mut self, at: usize, to: &Mark, seats: &[usize], loot: &[Loot]) {
        let last = self.owners[at].known.owner.as_ref().map(|owner| Counter::Wallet(owner.credential.clone()));
        let known = self.log_in(seats, None).or_else(|| self.log_in(seats, last));
        let Some(known) = known.map(|known| Recognised::Passphrase(Box::new(known))) else {
            assert!(self.person().has_been_guessed(), "the owner of a stolen device does not come back");
            return;
        };
        let safes = known.agreed().shown_by.clone();
        let mut past: Vec<(SafeId, Head)> = Vec::new();
        for safe in &safes {
            let question = codec::encode(&vec![Action::ReadPast(*to)]);
            let answer = self.ask_at(safe, Topic::Channel, &question, Some(&known.channel(safe)));
            let outcomes = answer.and_then(|answer| codec::decode::<Vec<Outcome>>(&answer, MAX_ANSWER_LEN).ok());
            if let Some(Outcome::Head(Some(head))) = outcomes.and_then(|all| all.into_iter().next()) {
                past.push((*safe, head));
            }
        }
        assert!(past.len() == seats.len(), "{} of {} safes have kept the book as it stood", past.len(), seats.len());
        let credential = Secret::make_random(&mut self.dice.0);
        let told: Vec<Told> = safes.iter().filter_map(|safe| self.arrive(&known, safe, Some(&credential))).collect();
        let (disk, name) = (Disk::default(), self.person().name().clone());
        let mine = (credential, String::new());
        let (mut back, _) =
            come_back("alice-7kq4m2".to_owned(), &name, &known, mine, told, &past, &mut self.dice.0).unwrap();
        back.exactly = self.dice.one_of(2);
        let mut wallet = Wallet::create(&disk, 2_000_000);
        wallet.set_now(self.now);
        wallet.session.came_back();
        wallet.session.takes_back = true;
        wallet.visitor = Some(known);
        wallet.try_handle(Event::OwnerReturned(Box::new(back))).unwrap();
        self.settle_wallet(&mut wallet);
        let open: Vec<BackupId> = wallet.state.taken_back().map(|backup| backup.id).collect();
        let refusals = &wallet.session.owner_refusals;
        assert!(open.is_empty(), "what a thief has let go is not taken back: {open:?}, {refusals:?}");
        for one in loot {
            let backup = wallet.state.values.get(&one.value).and_then(|value| value.backup);
            let backup = backup.unwrap_or_else(|| panic!("{} is not in the book that was gone back to", one.value));
            wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
        }
        self.settle_wallet(&mut wallet);
        for one in loot {
            let back = wallet.content(&one.value);
            let failures = || {
                let backup = wallet.state.values[&one.value].backup.map(|id| &wallet.state.backups[&id]);
                backup.map(|backup| wallet.session.failures(&wallet.state, backup))
            };
            assert!(
                back.as_ref() == Some(&one.content),
                "{} does not come back to its owner: {:?}",
                one.value,
                failures()
            );
        }
        *self.report.operations.entry("value back from a thief").or_default() += loot.len() as u64;
    }
}
