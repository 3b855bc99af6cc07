//! Owners: somebody enrols at safes, comes back on a device that has nothing, takes the turn from the one before, changes passphrase and safes, while others guess.
//!
//! What a wallet does by itself for its owner goes the way of all other requests. What a person does at the safes, who types a name and a passphrase, happens at one moment here,
//! and any message of it may be lost. What must hold of the book is at the end: it is looked at in the safes themselves, whatever a wallet believes.

use std::collections::{BTreeMap, BTreeSet};

use protocol::{
    codec,
    crypto::{PassphraseCost, Secret, derive_secret},
    ids::{BackupId, EnrolmentId, SafeId, Seconds, ValueId},
    owner::{
        book::HeadContent,
        budget::{GUESS_PAUSE, LIFETIME_GUESSES, PROMPT_GUESSES, group_bound},
        enrolment::{Enrolling, OwnerRoot, Stretched, may_be},
        login::{Agreed, ChannelKey, Counter, Known, Recognised, agree},
        messages::{Address, CredentialKind, Epoch, Evaluated, Look, MAX_ANSWER_LEN, Mark, Question, Topic},
        name::NameKey,
        ticket::Right,
    },
    plan::{Place, Plan},
    register::liars,
};
use safe_worker::owner::{UNUSED_BOOK_SPAN, record::Try};
use wallet_wasm::{
    changing::{Change, OldKey, Site, Step},
    exchange::Request,
    machine::{Enrol, Event, Wish},
    owner::{
        Arrived, Making, Owner as Enrolled, Told, arrival, arrived, come_back, epoch_after, look_request, visit,
        visited,
    },
    state::{Backup, FaceWish, Stage},
};
use zeroize::Zeroizing;

use super::{
    Bug, DAY, Disk, World,
    editing::Drafts,
    losing::LostDevice,
    ways::{WAYS, Way, Ways},
};
use crate::{
    fixture::stretched,
    world::{Wallet, ask},
};

/// So often a safe is set back in one run: a wallet gives it the same again three times at most.
const SET_BACKS: usize = 2;

/// Where a book stands.
type Stand = (Epoch, u64);

const fn stand(mark: &Mark) -> Stand {
    (mark.epoch, mark.sequence)
}

/// Somebody who is enrolled.
pub(super) struct Person {
    name: NameKey,
    /// All passphrases that he ever chose, by what they are for.
    phrases: BTreeMap<EnrolmentId, String>,
    /// The safes that he would name, those that he chose last at the end.
    groups: Vec<Vec<usize>>,
    /// All safes that were ever his, and the lowest threshold.
    seats: BTreeSet<usize>,
    threshold: u8,
    /// The wallets that are his.
    pub(super) devices: Vec<usize>,
    /// The newest book that a wallet was told counts.
    counted: Option<Counted>,
    /// Turns in which a book counted, and where it had stood before.
    turns: BTreeMap<Epoch, Option<Stand>>,
    /// How often a safe of his was set back, and which were.
    set_back: usize,
    forgetful: BTreeSet<usize>,
    /// How many passphrases strangers had answered, and since when.
    guesses: u32,
    guessed: Option<Seconds>,
    /// How many enrolments were made.
    made: u64,
    /// What else brings him back.
    pub(super) ways: Ways,
    /// Devices that are gone for good.
    pub(super) lost: Vec<LostDevice>,
    /// What he has changed.
    pub(super) drafts: Drafts,
    /// What some device of his, also one that is lost by now, has let go.
    pub(super) let_go: BTreeSet<BackupId>,
}

/// A book that counts.
struct Counted {
    mark: Mark,
    seats: Vec<SafeId>,
    threshold: usize,
    /// What it tells of, in chapters or without.
    told: BTreeSet<BackupId>,
    /// Its chapters.
    chapters: BTreeSet<BackupId>,
}

/// An enrolment; which one follows from its number only.
fn enrolling(number: u64, safes: &[SafeId], threshold: u8, phrase: &str) -> Enrolling {
    let seed = derive_secret(&Secret::from_bytes([0xe; 32]), "enrolment", &number.to_be_bytes());
    Enrolling::start(&seed, safes, threshold, phrase, PassphraseCost::LEAST).unwrap()
}

impl Person {
    pub(super) const fn name(&self) -> &NameKey {
        &self.name
    }

    /// Whether a safe of his was set back.
    pub(super) const fn was_set_back(&self) -> bool {
        self.set_back > 0
    }

    /// Whether this safe of his was.
    pub(super) fn is_forgetful(&self, index: usize) -> bool {
        self.forgetful.contains(&index)
    }

    /// Whether strangers had passphrases answered.
    pub(super) const fn has_been_guessed(&self) -> bool {
        self.guesses > 0
    }
}

impl World<'_, '_> {
    pub(super) fn person(&self) -> &Person {
        self.person.as_ref().expect("somebody is enrolled")
    }

    pub(super) fn person_mut(&mut self) -> &mut Person {
        self.person.as_mut().expect("somebody is enrolled")
    }

    /// The wallets of whoever has this one.
    pub(super) fn devices_of(&self, wallet: usize) -> Vec<usize> {
        let his = self.person.as_ref().map(|person| &person.devices).filter(|devices| devices.contains(&wallet));
        his.cloned().unwrap_or_else(|| vec![wallet])
    }

    /// Whether another device of his, also one that is lost by now, has let go what a wallet knows to be at the safes.
    pub(super) fn was_let_go(&self, wallet: usize, backup: &BackupId) -> bool {
        let of = |person: &Person| person.devices.contains(&wallet) && person.let_go.contains(backup);
        self.person.as_ref().is_some_and(of)
    }

    // ---- what a person does ----------------------------------------------------------------------------------------

    /// Three safes or more, and how many of them are to be needed.
    fn group(&mut self) -> (Vec<usize>, u8) {
        let mut group: Vec<usize> = (0..self.ids.len()).collect();
        while group.len() > 3 && self.dice.one_of(3) {
            group.remove(self.dice.below(group.len()));
        }
        let least = (group.len() / 2 + 1).max(2);
        let threshold = least + self.dice.below(group.len() - least + 1);
        (group, threshold as u8)
    }

    fn ids_of(&self, group: &[usize]) -> Vec<SafeId> {
        group.iter().map(|at| self.ids[*at]).collect()
    }

    /// Somebody enrols.
    pub(super) fn enrol(&mut self) {
        let owner = self.dice.below(self.owners.len());
        let tab = self.dice.below(self.owners[owner].tabs.len());
        let (group, threshold) = self.group();
        let safes = self.ids_of(&group);
        let (number, phrase) = (0, "a passphrase of the first time");
        let name = NameKey::new(Secret::from_bytes([0xa; 32]));
        let enrolling = enrolling(number, &safes, threshold, phrase);
        let (stretch, output) = enrolling.to_stretch();
        let key = stretched(stretch, output);
        let made = enrolling.finish(&Stretched::new(key.clone()), &name, 1).unwrap();
        let id = made.enrolment.id;
        let new = Enrol {
            name: "alice-7kq4m2".to_owned(),
            name_key: name.expose().clone(),
            credential: Secret::make_random(&mut self.dice.0),
            label: String::new(),
            threshold,
            making: Making::of(&made, key),
            epoch: epoch_after([], &mut self.dice.0),
        };
        let result = self.in_tab(owner, tab, |tab| tab.wallet.try_handle(Event::Enrol(Box::new(new))));
        self.say(|| format!("wallet {owner}, window {tab}: enrols at {threshold} of {group:?}: {result:?}"));
        if self.owners[owner].known.owner.is_none() {
            return;
        }
        *self.report.operations.entry("enrol").or_default() += 1;
        self.person = Some(Person {
            name,
            phrases: [(id, phrase.to_owned())].into(),
            seats: group.iter().copied().collect(),
            groups: vec![group],
            threshold,
            devices: vec![owner],
            counted: None,
            turns: BTreeMap::new(),
            set_back: 0,
            forgetful: BTreeSet::new(),
            guesses: 0,
            guessed: None,
            made: 1,
            ways: Ways::default(),
            lost: Vec::new(),
            drafts: Drafts::new(),
            let_go: BTreeSet::new(),
        });
        self.draft_all_of(owner);
        if self.dice.one_of(2) {
            // Often nothing goes wrong with it, and there is more time for what comes then.
            self.calm = true;
            let mut left = 60;
            while self.go_on(&mut left) {}
            if self.ids.len() >= 5 && self.dice.one_of(4) {
                self.fill_book(owner);
            }
            if self.dice.one_of(3) {
                self.give_passkey(owner);
                self.print_kit(owner, 0);
            }
            if self.dice.one_of(3) {
                self.new_device();
            }
            self.calm = false;
        }
    }

    /// So much is at the safes that not all of it stands in the head of the book.
    fn fill_book(&mut self, owner: usize) {
        let plan = Plan::spread(2, &self.ids).unwrap();
        for number in 0..24 / self.ids.len() + 2 {
            self.put_in_as(owner, 0, super::STEPS + number, false);
        }
        let free = self.owners[owner].known.values.values().filter(|v| v.backup.is_none() && !v.meta.lives_once());
        for value in free.map(|value| value.meta.id).collect::<Vec<_>>() {
            let (backup, plan) = (BackupId::make_random(&mut self.dice.0), plan.clone());
            let (values, face) = (vec![value], FaceWish::default());
            let wish = Wish { backup, values, plan, words: None, face, moving: false };
            self.in_tab(owner, 0, |tab| tab.wallet.try_handle(Event::Register(wish)));
        }
        let mut left = 100;
        while self.go_on(&mut left) {}
    }

    /// Somebody who is enrolled wants something that nobody else does.
    pub(super) fn own(&mut self) {
        let devices = self.person().devices.clone();
        let owner = devices[self.dice.below(devices.len())];
        let tab = self.dice.below(self.owners[owner].tabs.len());
        // The worst moment to lose a device.
        let changes =
            self.owners.last().and_then(|last| last.known.owner.as_ref()).is_some_and(|o| o.changing.is_some());
        if changes && self.dice.one_of(3) && self.lose_device() {
            return;
        }
        match self.dice.below(14) {
            0..2 if self.new_device() => {}
            2 if self.lose_device() => {}
            0..5 => drop(self.come_back(owner, tab)),
            5..7 if self.strangers => {
                let tries = if self.dice.one_of(4) { 24 } else { 3 };
                self.guess(tries);
            }
            10 | 11 => self.give_passkey(owner),
            12 | 13 => self.print_kit(owner, tab),
            _ => drop(self.change_enrolment(owner, tab, None)),
        }
    }

    /// The owner has another device, which has nothing yet.
    fn new_device(&mut self) -> bool {
        let devices = &self.person().devices;
        if !devices.iter().all(|at| self.owners[*at].known.owner.as_ref().is_some_and(Enrolled::writes)) {
            return false;
        }
        let Some(disk) = self.spare.pop() else { return false };
        let owner = self.move_in(disk, false);
        *self.report.operations.entry("new device").or_default() += 1;
        if self.come_back(owner, 0) {
            if self.dice.one_of(2) {
                self.edit_apart();
            }
            return true;
        }
        // It has nothing, and is nobody's.
        self.owners.pop();
        self.flights.retain(|flight| !flight.is_of(owner));
        true
    }

    /// The owner types name and passphrase into a wallet. Whether he is back.
    pub(super) fn come_back(&mut self, owner: usize, tab: usize) -> bool {
        let way = WAYS[self.dice.below(WAYS.len())];
        let groups = self.person().groups.clone();
        let by = |world: &mut Self, way| groups.iter().rev().find_map(|group| world.show_by(way, group));
        let other = (way != Way::Passphrase).then(|| by(self, way)).flatten();
        if other.is_some() {
            *self
                .report
                .operations
                .entry(if way == Way::Kit { "back by kit" } else { "back by passkey" })
                .or_default() += 1;
        }
        let Some(known) = other.or_else(|| by(self, Way::Passphrase)) else {
            self.say(|| format!("wallet {owner}, window {tab}: nobody comes back"));
            return false;
        };
        let mine = self.owners[owner].known.owner.as_ref().map(|owner| owner.credential.clone());
        let credential = mine.unwrap_or_else(|| Secret::make_random(&mut self.dice.0));
        let mut told = Vec::new();
        for safe in known.agreed().shown_by.clone() {
            if !self.calm && self.dice.one_of(30) {
                self.fault("stops coming back");
                return false;
            }
            told.extend(self.arrive(&known, &safe, Some(&credential)));
        }
        let name = self.person().name.clone();
        let mine = (credential, String::new());
        let Ok((back, wrong)) = come_back("alice-7kq4m2".to_owned(), &name, &known, mine, told, &[], &mut self.dice.0)
        else {
            return false;
        };
        assert!(wrong.is_empty() || self.person().set_back > 0, "{wrong:?} have another book or root");
        let epoch = back.epoch;
        let result = self.in_tab(owner, tab, |tab| {
            tab.wallet.session.came_back();
            tab.wallet.try_handle(Event::OwnerReturned(Box::new(back)))
        });
        self.say(|| format!("wallet {owner}, window {tab}: comes back for {epoch:?}: {result:?}"));
        let known = self.owners[owner].known.owner.is_some();
        if known && !self.person().devices.contains(&owner) {
            self.person_mut().devices.push(owner);
        }
        *self.report.operations.entry("come back").or_default() += 1;
        known
    }

    /// The owner chooses another passphrase, or other safes. `without`: a device is lost, what it may have begun is over, and these safes can take no part. Whether it has begun.
    pub(super) fn change_enrolment(&mut self, owner: usize, tab: usize, without: Option<&[SafeId]>) -> bool {
        let lost = without.is_some();
        let Some(enrolled) = self.owners[owner].known.owner.clone() else { return false };
        let busy = enrolled.changing.as_ref().is_some_and(|changing| !changing.switched);
        let Some(root) = enrolled.root.clone().filter(|_| enrolled.writes() && !busy) else { return false };
        let place = |safe: &SafeId| self.ids.iter().position(|id| id == safe);
        let seats: Vec<usize> = enrolled.seats.iter().filter_map(|seat| place(&seat.safe)).collect();
        let Some(known) = self.log_in(&seats, Some(Counter::Wallet(enrolled.credential.clone()))) else { return false };
        let enrolment = &known.agreed().enrolment;
        if enrolment.generation != enrolled.generation.max(1) {
            return false;
        }
        let announced = enrolled.announced.filter(|_| lost).map_or(0, |other| other.generation);
        let generation = enrolment.generation.max(announced) + 1;
        let (before, mut group, mut threshold) = (seats.clone(), seats, enrolled.threshold);
        if let Some(without) = without {
            group.retain(|at| !without.contains(&self.ids[*at]));
            threshold = threshold.min(group.len() as u8);
            if !may_be(usize::from(threshold), group.len()) {
                return false;
            }
        } else if self.dice.one_of(2) {
            (group, threshold) = self.group();
        }
        let Some(mut phrase) = self.person().phrases.get(&enrolment.id).cloned() else { return false };
        let number = self.person().made;
        if !self.dice.one_of(3) {
            phrase = format!("a passphrase of the time {number}");
        }
        let enrolling = enrolling(number, &self.ids_of(&group), threshold, &phrase).after(OwnerRoot::new(root));
        let (stretch, output) = enrolling.to_stretch();
        let key = stretched(stretch, output);
        let made = enrolling.finish(&Stretched::new(key.clone()), &self.person().name, generation).unwrap();
        let old = enrolment.seats.iter().map(|seat| OldKey::of(&known, &seat.safe)).collect();
        let change = Change { generation, threshold, making: Making::of(&made, key), old, instead: lost, renews: lost };
        let result = self.in_tab(owner, tab, |tab| {
            tab.wallet.session.came_back();
            tab.wallet.try_handle(Event::ChangeOwner(Box::new(change)))
        });
        self.say(|| format!("wallet {owner}, window {tab}: changes to {threshold} of {group:?}: {result:?}"));
        let begun = self.owners[owner].known.owner.as_ref().and_then(|owner| owner.changing.as_ref());
        let begun = begun.is_some_and(|changing| changing.making.statement[..] == made.statement[..]);
        if begun {
            let person = self.person_mut();
            person.made += 1;
            person.phrases.insert(made.enrolment.id, phrase);
            person.seats.extend(&group);
            person.threshold = person.threshold.min(threshold);
            // Safes that are left may forget by what he was known.
            before.iter().filter(|at| !group.contains(at)).for_each(|at| person.ways.forget_at(*at));
            person.groups.push(group);
            *self.report.operations.entry("change enrolment").or_default() += 1;
        }
        begun
    }

    /// Somebody who knows the name tries passphrases.
    fn guess(&mut self, tries: usize) {
        let group = self.person().groups[0].clone();
        let Some(agreed) = self.look_around(&group) else { return };
        let now = self.now;
        self.person_mut().guessed.get_or_insert(now);
        let (mut locked, needed) = (BTreeSet::new(), usize::from(agreed.enrolment.threshold));
        for number in 0..tries {
            let attempt = agreed.clone().start(&format!("a wrong passphrase, {number}"), &mut self.dice.0).unwrap();
            let mut answered = 0;
            let mut from: Vec<SafeId> = agreed.shown_by.iter().copied().filter(|id| !locked.contains(id)).collect();
            while answered < needed && !from.is_empty() {
                let safe = from.swap_remove(self.dice.below(from.len()));
                let plain = codec::encode(&attempt.guess_at(&safe));
                match self
                    .ask_at(&safe, Topic::Evaluate, &plain, None)
                    .map(|answer| codec::decode(&answer, MAX_ANSWER_LEN))
                {
                    Some(Ok(Evaluated::Done(..))) => answered += 1,
                    Some(Ok(_)) => drop(locked.insert(safe)),
                    _ => {}
                }
            }
            self.person_mut().guesses += u32::from(answered >= needed);
            self.fault("passphrase guessed");
            self.look_at_guesses();
            if locked.len() + needed > agreed.shown_by.len() {
                return;
            }
        }
    }

    // ---- at the safes ----------------------------------------------------------------------------------------------

    /// One exchange outside of any wallet, at once; `None`: nothing came of it.
    fn exchange(&mut self, index: usize, request: &Request) -> Option<Vec<u8>> {
        if self.safes.away.contains(&index) {
            return None;
        }
        let fate = if self.calm { 2 } else { self.dice.below(40) };
        if fate == 0 {
            self.fault("message lost before");
            return None;
        }
        self.book_moved = true;
        self.mistake_at(index);
        let answer =
            ask(&self.safes.all[index], request, request.body.clone().unwrap_or_default(), self.clock_of(index));
        if fate == 1 {
            self.fault("message lost after");
            return None;
        }
        answer.filter(|answer| answer.status == 200).map(|answer| answer.body)
    }

    /// What a safe with a mistake does before it answers an owner.
    pub(super) fn mistake_at(&self, index: usize) {
        match self.bug {
            Some(Bug::ForgetsGuesses) => self.safes.all[index].alter_owners(|record| record.tries.clear()),
            Some(Bug::ForgetsWays) => self.safes.all[index].alter_owners(|record| {
                record.credentials.retain(|kept| kept.credential.kind == CredentialKind::Wallet);
            }),
            Some(Bug::CountsKitsWithOthers) => self.safes.all[index].alter_owners(|record| {
                let kit = record.credentials.iter().find(|kept| kept.credential.kind == CredentialKind::Kit);
                let Some(number) = kit.map(|kept| kept.number) else { return };
                record.tries.retain(|one| one.credential != Some(number));
                let others = record.tries.iter().filter(|one| one.credential.is_none());
                let also: Vec<_> = others.map(|one| Try { credential: Some(number), ..one.clone() }).collect();
                record.tries.extend(also);
            }),
            Some(Bug::IgnoresTurns) => self.safes.all[index].alter_owners(|record| record.promised = Epoch::NONE),
            _ => {}
        }
    }

    fn look_at_safe(&mut self, index: usize) -> Option<Look> {
        let request = look_request(self.safes.all[index].url(), self.person().name.expose(), &self.ids[index]);
        Look::parse(&self.exchange(index, &request)?).ok()
    }

    /// A question to a safe, with a fresh challenge.
    pub(super) fn ask_at(
        &mut self,
        safe: &SafeId,
        topic: Topic,
        plain: &[u8],
        channel: Option<&ChannelKey>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let index = self.ids.iter().position(|id| id == safe)?;
        let look = self.look_at_safe(index)?;
        let account = self.person().name.account(safe);
        let (seen, _) = self.safes.find(safe, look.time)?;
        self.doors.safes.insert(*safe, seen);
        let identity = self.doors.identity(safe)?.ok()?;
        let address = Address { safe, account: &account, topic };
        let (entry, proof) = (identity.current(look.time).ok()?, channel.map(ChannelKey::proof));
        let (question, answering) =
            Question::make(&address, plain, entry, &look.challenge, proof, &mut self.dice.0).ok()?;
        let request = look_request(self.safes.all[index].url(), self.person().name.expose(), safe);
        let request = Request {
            method: "POST",
            url: format!("{}/{}", request.url, topic.label()),
            content_type: "application/cbor",
            body: Some(codec::encode(&question)),
            ..request
        };
        answering.open(&self.exchange(index, &request)?).ok()
    }

    /// What safes agree on that are named.
    pub(super) fn look_around(&mut self, group: &[usize]) -> Option<Agreed> {
        let looks: Vec<(SafeId, Look)> =
            group.iter().filter_map(|at| Some((self.ids[*at], self.look_at_safe(*at)?))).collect();
        agree(&self.person().name, &looks, group.len()).ok()
    }

    /// The owner at these safes, by whichever of his passphrases is in force.
    pub(super) fn log_in(&mut self, group: &[usize], counter: Option<Counter>) -> Option<Known> {
        let agreed = self.look_around(group)?;
        let phrase = self.person().phrases.get(&agreed.enrolment.id).cloned();
        let phrase = phrase.expect("safes show what nobody enrolled");
        let asked = agreed.shown_by.clone();
        let mut attempt = agreed.start(&phrase, &mut self.dice.0).unwrap().counted_by(counter);
        for safe in asked {
            let plain = codec::encode(&attempt.guess_at(&safe));
            let answer = self.ask_at(&safe, Topic::Evaluate, &plain, None);
            if let Some(Ok(evaluated)) = answer.map(|answer| codec::decode::<Evaluated>(&answer, MAX_ANSWER_LEN)) {
                let _ = attempt.take(&safe, &evaluated);
            }
        }
        let waiting = attempt.finish().ok()?;
        let (stretch, output) = waiting.to_stretch();
        let key = stretched(&stretch, output);
        Some(waiting.finish(Stretched::new(key)).expect("the passphrase is right"))
    }

    /// The first channel to a safe; without a credential, of a device that only reads.
    pub(super) fn arrive(&mut self, known: &Recognised, safe: &SafeId, credential: Option<&Secret>) -> Option<Told> {
        let (channel, mut without) = (known.channel(safe), None);
        let (door, _) = self.safes.find(safe, self.now)?;
        for _ in 0..2 {
            let actions = match credential {
                Some(credential) => arrival(known, safe, (credential, &[]), without),
                None => visit(known, safe),
            };
            let answer = self.ask_at(safe, Topic::Channel, &codec::encode(&actions), Some(&channel))?;
            let outcomes = codec::decode(&answer, MAX_ANSWER_LEN).ok()?;
            if credential.is_none() {
                return visited(&door, outcomes);
            }
            match arrived(&door, outcomes)? {
                Arrived::Told(told) => return Some(*told),
                Arrived::Full(oldest) => without = Some(oldest),
            }
        }
        None
    }

    /// Whether a safe may be set back to a moment, as far as owners are concerned: at most one is, and what the others have is enough to come back by, or it shows the same still.
    pub(super) fn may_set_back(&self, index: usize, to: &safe_worker::memory::Snapshot) -> bool {
        let Some(person) = &self.person else { return true };
        let enrolled = person.devices.iter().filter_map(|at| self.owners[*at].known.owner.as_ref());
        if person.set_back >= SET_BACKS {
            return false;
        }
        let account = person.name.account(&self.ids[index]);
        let safe = &self.safes.all[index];
        let now = safe.snapshot();
        let current = || {
            let records = safe.owner_records();
            let mine = records.into_iter().find(|(id, _)| *id == account);
            mine.and_then(|(_, record)| record.current).map(|current| current.id)
        };
        let after = current();
        safe.restore(to.clone());
        let before = current();
        safe.restore(now);
        let spare = |owner: &Enrolled| {
            let (n, t) = (owner.seats.len(), usize::from(owner.threshold));
            n > 3
                && t < n
                && owner.changing.as_ref().is_none_or(|c| c.sites.len() > 3 && usize::from(c.threshold) < c.sites.len())
        };
        before == after || enrolled.clone().all(spare)
    }

    /// A safe was set back.
    pub(super) fn was_set_back(&mut self, index: usize) {
        if let Some(person) = self.person.as_mut().filter(|person| person.seats.contains(&index)) {
            person.set_back += 1;
            person.forgetful.insert(index);
            person.ways.forget_at(index);
            self.book_moved = true;
        }
    }

    // ---- what must hold --------------------------------------------------------------------------------------------

    /// Strangers have no more passphrases answered than the safes promise, together.
    fn look_at_guesses(&self) {
        let person = self.person();
        let since = self.now - person.guessed.unwrap_or(self.now) + 2_400;
        let days = u32::try_from(since / GUESS_PAUSE).unwrap_or(u32::MAX);
        let each = PROMPT_GUESSES.saturating_add(days).saturating_add(1).min(LIFETIME_GUESSES);
        let without_end = person.set_back.min(1) as u32;
        let bound = group_bound(person.seats.len() as u32, u32::from(person.threshold), without_end, each);
        let fine = bound.is_none_or(|bound| u64::from(person.guesses) <= bound);
        assert!(fine, "strangers had {} passphrases answered, and {bound:?} is the most", person.guesses);
    }

    /// Safes among these that have this book or a newer one.
    fn having(&self, seats: &[SafeId], mark: &Mark) -> usize {
        let has = |safe: &&SafeId| {
            let index = self.ids.iter().position(|id| id == *safe).expect("a safe of this world");
            let account = self.person().name.account(safe);
            let records = self.safes.all[index].owner_records();
            let book = records.into_iter().find(|(id, _)| *id == account).and_then(|(_, record)| record.book);
            book.is_some_and(|book| stand(&book) >= stand(mark))
        };
        seats.iter().filter(has).count()
    }

    /// A wallet has written: its newest book may count by now, and copies may have gone.
    pub(super) fn look_at_book(&mut self, at: usize, before: &wallet_wasm::state::State) {
        let Some(person) = self.person.as_ref().filter(|person| person.devices.contains(&at)) else { return };
        let known = &self.owners[at].known;
        let Some(owner) = &known.owner else { return };
        // What is here no longer is where the book says, or on another device.
        let left = |id: &ValueId| before.is_local(id) && known.values.contains_key(id) && !known.is_local(id);
        if owner.root.is_some() && owner.head.is_some() {
            for (id, value) in known.values.iter().filter(|(id, _)| left(id)) {
                let elsewhere = person.devices.iter().any(|at| self.owners[*at].known.is_local(id));
                let told = person.counted.as_ref().zip(value.backup);
                let told = told.is_some_and(|(counted, backup)| counted.told.contains(&backup));
                // It was changed on another device, and is here what it had been before.
                let replaced = value.meta.edition() != before.values[id].meta.edition();
                let told = told || replaced;
                assert!(elsewhere || told, "{id} has left wallet {at}, and no book that counts tells of it");
            }
        }
        let Some(head) = owner.head.as_ref().filter(|_| owner.writes() && owner.written() >= owner.quorum()) else {
            return;
        };
        let seats: Vec<SafeId> = owner.seats.iter().map(|seat| seat.safe).collect();
        let same = |counted: &Counted| counted.mark == head.mark && counted.seats == seats;
        // It counted, and since then its owner has left some of these safes on another device.
        let over = |counted: &Counted| stand(&counted.mark) > stand(&head.mark) && counted.seats != seats;
        if owner.is_split() || person.counted.as_ref().is_some_and(|counted| same(counted) || over(counted)) {
            return;
        }
        let (has, enough) = (self.having(&seats, &head.mark) + person.set_back.min(1), owner.quorum());
        assert!(has >= enough, "wallet {at} believes that its book counts, and {has} safes have it, of {enough}");
        let others = person.devices.iter().filter(|other| **other != at);
        let turns = others.filter_map(|at| self.owners[*at].known.owner.as_ref()).map(|owner| owner.epoch);
        assert!(!turns.into_iter().any(|epoch| epoch == owner.epoch), "two wallets have the turn {:?}", owner.epoch);
        // Nobody has the turn who does not know of it.
        for (epoch, base) in person.turns.range(owner.epoch..).filter(|(epoch, _)| epoch.holder != owner.epoch.holder) {
            assert!(*base >= Some(stand(&head.mark)), "a book of {:?} counts, and {epoch:?} had begun", owner.epoch);
        }
        let root = OwnerRoot::new(owner.root.clone().expect("it writes"));
        let content = HeadContent::open(&root, head).expect("it is its own");
        let chapters: BTreeSet<BackupId> = content.chapters.iter().map(|chapter| chapter.backup).collect();
        let named = chapters.iter().filter_map(|id| known.backups.get(id)?.chapter.as_ref()?.names.as_ref()).flatten();
        let told = content.book.entries.iter().map(|entry| &entry.backup).chain(named);
        let told = told.filter(|id| !content.gone.contains(id)).copied().collect();
        let (base, epoch, mark) = (owner.base.as_ref().map(stand), owner.epoch, head.mark);
        let threshold = usize::from(owner.threshold);
        let group: Vec<usize> = (0..self.ids.len()).filter(|at| seats.contains(&self.ids[*at])).collect();
        let changing = owner.changing.as_ref().is_some_and(|changing| !changing.switched);
        let person = self.person.as_mut().expect("somebody is enrolled");
        person.turns.entry(epoch).or_insert(base);
        if person.counted.as_ref().is_none_or(|counted| stand(&counted.mark) <= stand(&mark)) {
            let kind = if chapters.is_empty() { "book counts" } else { "book with chapters counts" };
            *self.report.operations.entry(kind).or_default() += 1;
            person.counted = Some(Counted { mark, seats, threshold, told, chapters });
            if !changing {
                // These are the safes that he names from now on.
                person.groups = vec![group];
            }
        }
    }

    /// Whatever happens, as many safes as are needed have among them one with the newest book that counts.
    pub(super) fn look_at_counted(&mut self) {
        if !std::mem::take(&mut self.book_moved) {
            return;
        }
        let Some(counted) = self.person.as_ref().and_then(|person| person.counted.as_ref()) else { return };
        let has = self.having(&counted.seats, &counted.mark);
        let fine = counted.seats.len() - has < counted.threshold;
        assert!(
            fine,
            "{has} of {} safes have the book that counts, {} are asked",
            counted.seats.len(),
            counted.threshold
        );
    }

    /// At whatever moment, one of the passphrases leads to the newest book that counts, from the safes alone.
    pub(super) fn look_from_outside(&mut self) {
        let Some(person) = &self.person else { return };
        let Some((mark, threshold)) = person.counted.as_ref().map(|counted| (counted.mark, counted.threshold)) else {
            return;
        };
        let changes = |at: &usize| self.owners[*at].known.owner.as_ref().is_some_and(|owner| owner.changing.is_some());
        let often = if person.devices.iter().any(changes) { 60 } else { 500 };
        if !self.dice.one_of(often) {
            return;
        }
        let (away, calm) = (std::mem::take(&mut self.safes.away), std::mem::replace(&mut self.calm, true));
        let groups = self.person().groups.clone();
        let way = WAYS[self.dice.below(WAYS.len())];
        let by = |world: &mut Self, way| groups.iter().rev().find_map(|group| world.show_by(way, group));
        let known = by(self, way).or_else(|| by(self, Way::Passphrase));
        let (spare, guessed) = (self.person().set_back.min(1), self.person().guesses > 0);
        let disturbed = spare > 0 || guessed || self.report.faults.contains_key("safe's platform fails");
        assert!(known.is_some() || disturbed, "no passphrase leads to the book at {groups:?}");
        if let Some(known) = known {
            let safes = known.agreed().shown_by.clone();
            let told: Vec<Told> = safes.iter().filter_map(|safe| self.arrive(&known, safe, None)).collect();
            let enough = threshold.max(usize::from(known.agreed().enrolment.threshold)) + spare;
            let (answered, name) = (told.len(), self.person().name.clone());
            let mine = (Secret::make_random(&mut self.dice.0), String::new());
            let back = come_back(String::new(), &name, &known, mine, told, &[], &mut self.dice.0);
            let found = back.ok().and_then(|(back, _)| back.newest).map(|(head, _)| stand(&head.mark));
            let fine = answered < enough || found >= Some(stand(&mark));
            assert!(fine, "{answered} safes show {found:?}, and {mark:?} counts");
            *self.report.operations.entry("visit in between").or_default() += 1;
        }
        (self.safes.away, self.calm) = (away, calm);
    }

    /// In the end safes have the enrolment in force and none before it, and those that were left have none.
    pub(super) fn look_at_accounts(&self) {
        let Some(person) = &self.person else { return };
        let writers = person.devices.iter().filter_map(|at| self.owners[*at].known.owner.as_ref());
        let Some(owner) = writers.filter(|owner| owner.writes()).max_by_key(|owner| owner.epoch) else { return };
        if owner.changing.is_some() || person.set_back > 0 || self.unheard {
            return;
        }
        for (index, safe) in self.safes.all.iter().enumerate() {
            // What a device had begun that is lost stays where it is in force.
            if person.lost.iter().any(|lost| lost.was_changing_at(&self.ids[index])) {
                continue;
            }
            for (account, record) in safe.owner_records() {
                assert!(account == person.name.account(&self.ids[index]), "safe {index} keeps {account} for nobody");
                let seat = owner.seat(&self.ids[index]).is_some();
                let left = owner.leaving.iter().any(|key| key.safe == self.ids[index]);
                let current = record.current.as_ref().map(|current| current.generation);
                let fine = if seat { current == Some(owner.generation) } else { left || current.is_none() };
                let previous = record.previous.as_ref().map(|previous| previous.generation);
                assert!(
                    fine && (left || previous.is_none()),
                    "safe {index} keeps an enrolment that is over: {current:?} and {previous:?}, {} is in force",
                    owner.generation
                );
            }
        }
    }

    /// Nothing is let go before a book that counts tells of what is in its place, or does not need it any more.
    pub(super) fn look_at_release(&self, owner: usize, backup: &Backup) {
        let Some(person) = self.person.as_ref().filter(|person| person.devices.contains(&owner)) else { return };
        let known = &self.owners[owner].known;
        if known.owner.as_ref().is_none_or(|owner| owner.root.is_none() || owner.head.is_none()) {
            return;
        }
        let counted = person.counted.as_ref().expect("nothing is let go before there is a book that counts");
        assert!(!counted.chapters.contains(&backup.id), "chapter {} of the book that counts is let go", backup.id);
        for meta in &backup.values {
            let here = person.devices.iter().any(|at| self.owners[*at].known.is_local(&meta.id));
            let next = known.values.get(&meta.id).and_then(|value| value.backup).filter(|id| *id != backup.id);
            assert!(
                here || next.is_none_or(|id| counted.told.contains(&id)),
                "{} is let go before a book counts that tells what is in its place",
                meta.id
            );
        }
    }

    /// Whether an operation waits until its owner comes back on that wallet.
    pub(super) fn waits_for_owner(&self, wallet: usize, backup: &Backup) -> bool {
        use wallet_wasm::state::Operation;
        let Some(owner) = &self.owners[wallet].known.owner else { return false };
        let bound = backup.deposits.iter().any(|deposit| deposit.asks_owner(Right::Release));
        match backup.operation {
            Some(Operation::Vacate | Operation::Release) if owner.is_behind() => true,
            Some(Operation::Release) => {
                // A safe that was set back may not know its owner any more, nor the piece.
                let forgetful = self.person.iter().flat_map(|person| &person.forgetful).map(|at| self.ids[*at]);
                let forgetful: BTreeSet<SafeId> = forgetful.collect();
                let open = || backup.deposits.iter().filter(|deposit| deposit.stage < Stage::Released);
                let waits = open().all(|deposit| forgetful.contains(&deposit.safe));
                bound && (waits || owner.seats.iter().any(|seat| seat.turned || !seat.promised))
            }
            Some(Operation::Recover | Operation::Drill) => {
                // Another device of his may have let it go.
                self.is_stranded(wallet, backup) || self.was_let_go(wallet, &backup.id) && !self.is_recoverable(backup)
            }
            _ => false,
        }
    }

    /// Whether some of a backup is bound to its owner at a safe that was left before that wallet came back: it gives that to others of his wallets only.
    pub(super) fn is_stranded(&self, wallet: usize, backup: &Backup) -> bool {
        let bound = backup.deposits.iter().any(wallet_wasm::state::Deposit::is_bound);
        let owner = self.owners[wallet].known.owner.as_ref();
        let stranger = |safe: &SafeId| owner.is_some_and(|owner| owner.number_at(safe).is_none());
        bound && backup.plan.safes().into_iter().any(stranger)
    }

    /// Whether the owner has begun a change on another of his devices, and is to end it there.
    pub(super) fn waits_for_another(&self, wallet: usize) -> bool {
        let of = |at: usize| self.owners[at].known.owner.as_ref();
        let begun = |at: &usize| of(*at)?.changing.as_ref()?.announced;
        let announced = of(wallet).and_then(|owner| owner.announced);
        announced.is_some() && self.devices_of(wallet).iter().any(|at| begun(at) == announced)
    }

    /// What of an owner does not come to its end.
    pub(super) fn open_of(&self, wallet: usize) -> Option<String> {
        let owner = self.owners[wallet].known.owner.as_ref()?;
        let seats =
            || owner.seats.iter().map(|s| (s.number, s.reached, s.promised, s.written, s.turned)).collect::<Vec<_>>();
        let sites = || owner.changing.iter().flat_map(|c| &c.sites).map(|s| (s.step, s.back)).collect::<Vec<_>>();
        let open = owner.making.is_some() || owner.changing.is_some() || !owner.writes() || owner.is_behind();
        let refusals = || self.owners[wallet].tabs[0].wallet.session.owner_refusals.clone();
        open.then(|| format!("owner at wallet {wallet}: {:?}, {:?}, {:?}", seats(), sites(), refusals()))
    }

    /// Once more for everything that waited for safes to be there, on all windows. What waits for a device whose turn has not come yet does not use up all the rounds there are.
    pub(super) fn try_again(&mut self) {
        let left = &mut 1_000;
        self.move_on(61);
        for owner in 0..self.owners.len() {
            for tab in 0..self.owners[owner].tabs.len() {
                self.in_tab(owner, tab, |tab| {
                    tab.wallet.reload()?;
                    tab.wallet.session.retry();
                    Ok(())
                });
            }
        }
        while self.go_on(left) {}
    }

    /// The faults have ended: the owner comes back on each of his devices in turn, and what waited there comes to its end.
    pub(super) fn rest_owner(&mut self) {
        let Some(devices) = self.person.as_ref().map(|person| person.devices.clone()) else { return };
        for _ in 0..12 {
            // An enrolment ends by itself.
            if devices
                .iter()
                .all(|at| self.owners[*at].known.owner.as_ref().is_some_and(|owner| owner.making.is_none()))
            {
                break;
            }
            self.try_again();
        }
        for at in devices.clone() {
            let making = self.owners[at].known.owner.as_ref().is_some_and(|owner| owner.making.is_some());
            assert!(!making, "does not end: {:?}", self.open_of(at));
            let mut back = self.rest_at(at);
            // Two devices that wait for each other may have taken the other's place there, and wait once more.
            for _ in 0..2 {
                if self.waits_for_a_safe(at) {
                    self.move_on(UNUSED_BOOK_SPAN);
                    back &= self.rest_at(at);
                }
            }
            // One that shows an enrolment before this one does not get to know this device.
            let open = self.open_of(at);
            assert!(
                open.is_none() || !back || self.person().set_back > 0 || self.waits_for_another(at),
                "does not end: {}",
                open.unwrap_or_default()
            );
        }
        self.shut_out_at_last(&devices);
    }

    /// The owner comes back on a device, and all that goes on there without him does. Whether he is back.
    pub(super) fn rest_at(&mut self, at: usize) -> bool {
        let mut back = false;
        for _ in 0..3 {
            back = back || self.come_back(at, 0);
            self.move_on(DAY);
        }
        // He has tokens for safes, too, of which he has heard only now.
        self.invite(at, 0, true);
        assert!(back || self.person().guesses > 0, "the owner does not come back on wallet {at}");
        for _ in 0..12 {
            // What had waited for him goes on now, also where nothing of his own is left to be done.
            self.try_again();
            if self.open_of(at).is_none() {
                break;
            }
        }
        back
    }

    /// Whether a safe keeps a device from going on. At one that joins another device has opened the account, and is to leave it alone for four weeks. One that was not asked on the way back has
    /// heard of a later turn, and the owner is to come back once more.
    fn waits_for_a_safe(&self, wallet: usize) -> bool {
        let Some(owner) = &self.owners[wallet].known.owner else { return false };
        let refusals = &self.owners[wallet].tabs[0].wallet.session.owner_refusals;
        let refused = |site: &Site| site.step == Step::Named && refusals.contains_key(&site.safe);
        owner.writing().any(|seat| seat.turned) || owner.changing.iter().flat_map(|now| &now.sites).any(refused)
    }

    /// What can be read of a book: what a chapter names of which more is lost than it stands is known to the devices that have read it only.
    fn readable(&self, counted: &Counted) -> BTreeSet<BackupId> {
        let mut told = counted.told.clone();
        for id in &counted.chapters {
            let mut all = self.person().devices.iter().filter_map(|at| self.owners[*at].known.backups.get(id));
            let read = all.find_map(|backup| Some((backup, backup.chapter.as_ref()?.names.as_ref()?)));
            let Some((chapter, names)) = read.filter(|(chapter, _)| !self.is_recoverable(chapter)) else { continue };
            assert!(self.is_beyond(chapter), "chapter {id} does not come back, and its safes are not to blame");
            told.retain(|id| !names.contains(id));
        }
        told
    }

    /// From the safes alone, whichever answer: the newest book that counts, and all that it tells of.
    pub(super) fn prove_owner(&mut self) {
        let Some(counted) = self.person.as_ref().and_then(|person| person.counted.as_ref()) else { return };
        let (mark, spare) = (counted.mark, self.person().set_back.min(1));
        let group: Vec<usize> = (0..self.ids.len()).filter(|at| counted.seats.contains(&self.ids[*at])).collect();
        let needed = counted.threshold + spare;
        let told = self.readable(counted);
        if needed > group.len() {
            return;
        }
        let last = self.person().devices.iter().filter_map(|at| self.owners[*at].known.owner.as_ref());
        let last =
            last.filter(|owner| owner.writes()).max_by_key(|owner| owner.epoch).map(|owner| owner.credential.clone());
        let generation = self.look_around(&group).map_or(0, |agreed| agreed.enrolment.generation);
        for (number, way) in WAYS.into_iter().enumerate() {
            let mut some = group.clone();
            if way != Way::Passphrase {
                let has = self.person().ways.at(way, generation);
                some.retain(|at| has.contains(at));
                if some.len() < needed {
                    continue;
                }
            }
            // What strangers use up is not what he has.
            if way == Way::Kit && self.strangers {
                self.guess(24);
            }
            while some.len() > needed {
                some.remove(self.dice.below(some.len()));
            }
            // Guesses of strangers are not those of his devices.
            let by_wallet = |world: &mut Self| {
                let known = world.log_in(&some, last.clone().map(Counter::Wallet));
                known.filter(|_| way == Way::Passphrase).map(|known| Recognised::Passphrase(Box::new(known)))
            };
            let Some(known) = self.show_by(way, &some).or_else(|| by_wallet(self)) else {
                // What strangers use up is the passphrase's alone.
                let locked = way == Way::Passphrase && self.person().guesses > 0;
                assert!(spare > 0 || locked, "{some:?} do not bring the owner back by {way:?}");
                continue;
            };
            let told_by = known.agreed().shown_by.clone();
            let answers: Vec<Told> = told_by.iter().filter_map(|safe| self.arrive(&known, safe, None)).collect();
            let (disk, name) = (Disk::default(), self.person().name.clone());
            let mine = (Secret::make_random(&mut self.dice.0), String::new());
            let (back, _) = come_back(String::new(), &name, &known, mine, answers, &[], &mut self.dice.0).unwrap();
            let found = back.newest.as_ref().map(|(head, _)| stand(&head.mark));
            assert!(found >= Some(stand(&mark)), "{some:?} show {found:?}, and {mark:?} counts");
            *self.report.operations.entry(way.kind()).or_default() += 1;
            if way != Way::Passphrase {
                continue;
            }
            let mut wallet = Wallet::create(&disk, 1_000_000 + number as u64);
            wallet.set_now(self.now);
            wallet.visitor = Some(known);
            wallet.try_handle(Event::OwnerReturned(Box::new(back))).unwrap();
            let proven = self.prove_values(wallet, &told);
            *self.report.operations.entry("value back on a new device").or_default() += proven;
        }
    }

    /// A wallet of its own, beside those of this world, comes to rest.
    pub(super) fn settle_wallet(&self, wallet: &mut Wallet<'_, Disk>) {
        for _ in 0..4 {
            wallet.run(&self.safes, 2_000);
            wallet.wait(61);
            wallet.session.retry();
        }
    }

    /// Everything that a new device is told of and that the safes have comes back there. How many values did.
    fn prove_values(&self, mut wallet: Wallet<'_, Disk>, told: &BTreeSet<BackupId>) -> u64 {
        self.settle_wallet(&mut wallet);
        let by_itself = |backup: &Backup| {
            let places = backup.plan.places();
            backup.chapter.is_none()
                && !backup.lives_once()
                && places.iter().all(|(_, place)| !matches!(place, Place::Memory | Place::File))
                && self.is_recoverable(backup)
        };
        let all: Vec<BackupId> = wallet.state.backups.values().filter(|b| by_itself(b)).map(|b| b.id).collect();
        for id in &all {
            wallet.handle(Event::Recover(*id, Vec::new())).unwrap();
        }
        self.settle_wallet(&mut wallet);
        let mut proven = 0;
        let here = self.person().devices.iter().map(|at| (&self.owners[*at].expected, &self.owners[*at].excused));
        // What a device had put in that is lost is as safe as its book was.
        let lost = self.person().lost.iter().map(|lost| (&lost.expected, &lost.excused));
        for (expected, excused) in here.chain(lost) {
            for (id, content) in expected.iter().filter(|(id, _)| !excused.contains(id)) {
                let backups = self.person().devices.iter().filter_map(|at| {
                    let known = &self.owners[*at].known;
                    known.backups.get(known.values.get(id)?.backup.as_ref()?)
                });
                let mut sound = backups.filter(|backup| told.contains(&backup.id) && by_itself(backup));
                let Some(backup) = sound.next() else { continue };
                proven += 1;
                let changed = self.person().devices.iter().any(|at| {
                    let known = &self.owners[*at].known;
                    known.values.get(id).is_some_and(|value| known.is_changed(value))
                });
                let back = wallet.content(id);
                // A safe that was left gives what is bound to its owner to the wallets that it knows only.
                let stranger =
                    |safe: &SafeId| wallet.state.owner.as_ref().is_none_or(|owner| owner.seat(safe).is_none());
                let stranded = backup.deposits.iter().any(wallet_wasm::state::Deposit::is_bound)
                    && backup.plan.safes().into_iter().any(stranger);
                let fine = back.as_ref() == Some(content) || (changed && back.is_some()) || stranded;
                assert!(
                    fine,
                    "{id} in {} does not come back on a new device, {} comes {:?}; {:?}",
                    backup.id,
                    back.is_some(),
                    wallet.state.backups.get(&backup.id).map(|b| b.operation),
                    wallet.session.owner_refusals
                );
            }
        }
        proven
    }

    /// A plan that gives something to the owner only, where one is enrolled.
    pub(super) fn guarded_plan(&mut self, wallet: usize) -> Option<Plan<SafeId>> {
        let owner = self.owners[wallet].known.owner.as_ref().filter(|owner| owner.writes())?;
        let seats: Vec<SafeId> =
            owner.seats.iter().filter(|seat| seat.number.is_some()).map(|seat| seat.safe).collect();
        let needed = usize::from(owner.threshold).min(seats.len().saturating_sub(liars(seats.len())));
        let plan = self.dice.one_of(2).then(|| Plan::guarded(needed, &seats).ok()).flatten();
        *self.report.operations.entry("guarded plan").or_default() += u64::from(plan.is_some());
        plan
    }

    /// What would undo the whole of it in a stranger's hand.
    pub(super) fn owner_secrets(&self) -> Vec<Secret> {
        let all = self.owners.iter().filter_map(|owner| owner.known.owner.as_ref());
        all.flat_map(|owner| owner.root.iter().chain(owner.making.iter().map(|making| &making.stretched)).cloned())
            .collect()
    }
}
