//! The owner's next enrolment: another passphrase, other safes, another threshold (`spec/owner.md` §12).
//!
//! Made once from one seed and journalled, like the first one. Each safe of the new enrolment is led through the same steps by itself; one that was there before is spoken to
//! with the key of the old passphrase, one that joins with this wallet's own:
//!
//! ```text
//! Named ─open─▶ Opened ─stage─▶ Staged ─evaluate─▶ Shared ─show─▶ Proven ─(all are, and the book is there)─commit─▶ Committed
//!       ─evaluate, on what is in force─▶ Answered ─show─▶ Current ─(t + f are: the root changes, and the head is written anew)─drop─▶ Dropped
//! ```
//!
//! Until the root changes, the book is written under the old one, to the safes of both enrolments; whoever comes back by the new one opens the old root with it. So whichever
//! enrolment a device finds in force, it reads the newest head.

use std::collections::BTreeSet;

use minicbor::{Decode, Encode, bytes::ByteArray};
use protocol::{
    codec,
    crypto::{
        Secret, derive_secret, expand_seed,
        oprf::{Blinded, Evaluation},
    },
    ids::{BackupId, EnrolmentId, GuessId, SafeId, Seconds},
    owner::{
        book::{Announced, Left, MAX_LEFT},
        enrolment::{Enrolment, OwnerRoot, Stretched},
        login::{Agreed, ChannelKey, Known},
        messages::{Account, Action, Answering, Epoch, Evaluated, Guess, Opening, Outcome, Refusal, Topic},
        ticket::Right,
    },
    problem::Problem,
    register::liars,
};
use rand_core::CryptoRng;

use crate::{
    exchange::Meaning,
    machine::{Event, WalletError, knows_owner},
    owner::{Errand, Given, MAX_BACK, Making, Owner, Reached, Seat},
    rules,
    state::{Backup, Deposit, Stage, State},
};

/// How far the next enrolment has come at one safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Step {
    /// Nothing is there.
    #[n(0)]
    Named,
    /// The owner is known.
    #[n(1)]
    Opened,
    /// It is staged.
    #[n(2)]
    Staged,
    /// Its share answers as committed.
    #[n(3)]
    Shared,
    /// It returns the new root.
    #[n(4)]
    Proven,
    /// It is in force.
    #[n(5)]
    Committed,
    /// What is in force answers as committed.
    #[n(6)]
    Answered,
    /// What is in force returns the new root.
    #[n(7)]
    Current,
    /// What was before is forgotten.
    #[n(8)]
    Dropped,
}

/// A safe of the next enrolment.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Site {
    /// The safe.
    #[n(0)]
    pub safe: SafeId,
    /// How far it has come.
    #[n(1)]
    pub step: Step,
    /// How often it had forgotten what it had taken.
    #[n(2)]
    pub back: u8,
}

/// By what a safe knows its owner while his passphrase is changed: the key that was made of the old one.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct OldKey {
    /// The safe.
    #[n(0)]
    pub safe: SafeId,
    /// What the old enrolment is called there.
    #[n(1)]
    pub id: EnrolmentId,
    /// The key.
    #[n(2)]
    pub key: Secret,
    /// What the safe remembers of the statement.
    #[n(3)]
    pub digest: ByteArray<32>,
    /// The try by which the key was found, to be taken back.
    #[n(4)]
    pub guess: GuessId,
}

impl OldKey {
    /// Of an owner who is known, at a safe.
    pub fn of(known: &Known, safe: &SafeId) -> Self {
        let channel = known.channel(safe);
        let proof = channel.proof();
        Self {
            safe: *safe,
            id: known.agreed().enrolment.id_at(safe),
            key: proof.key.clone(),
            digest: (*proof.digest).into(),
            guess: known.guess_at(safe),
        }
    }

    fn channel(&self) -> ChannelKey {
        ChannelKey::of_passphrase(self.id, self.key.clone(), *self.digest)
    }
}

/// The next enrolment, until it has taken the place of the one before.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Changing {
    /// The new enrolment.
    #[n(0)]
    pub making: Making,
    /// Its generation.
    #[n(1)]
    pub generation: u32,
    /// How many of its safes must answer.
    #[n(2)]
    pub threshold: u8,
    /// Its safes.
    #[n(3)]
    pub sites: Vec<Site>,
    /// Those of them that are not in the old one: the book is written there, too, before anything is in force.
    #[n(4)]
    pub joining: Vec<Seat>,
    /// The keys of the old one.
    #[n(5)]
    pub old: Vec<OldKey>,
    /// The new one is the owner's now.
    #[n(6)]
    pub switched: bool,
    /// What the book says of it since every safe has proven it. Once that counts it may be in force somewhere, and no other device makes one of its own.
    #[n(7)]
    pub announced: Option<Announced>,
    /// What the root before has told of is protected anew as soon as this one is the owner's.
    #[n(8)]
    #[cbor(default)]
    pub renews: bool,
}

/// The next enrolment, as the shell made it.
#[derive(Debug, Clone)]
pub struct Change {
    /// Its generation: above the one that is in force.
    pub generation: u32,
    /// How many of its safes must answer.
    pub threshold: u8,
    /// What is given to its safes.
    pub making: Making,
    /// The keys of the one that is in force.
    pub old: Vec<OldKey>,
    /// It takes the place of one that another device has announced, and that is never to end: the device is gone.
    pub instead: bool,
    /// Whoever had what is before it is to be shut out: what that has told of is protected anew, without being asked for.
    pub renews: bool,
}

/// The values that the owner has asked to be protected anew.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Renewing {
    /// Backups that could not be, and are left to their owner.
    #[n(0)]
    pub left: Vec<BackupId>,
}

impl Changing {
    /// Of a change that was made for this owner.
    ///
    /// # Errors
    /// [`WalletError`] if it does not follow the owner's enrolment.
    pub fn begin(owner: &Owner, change: Change) -> Result<Self, WalletError> {
        let Change { generation, threshold, making, old, renews, .. } = change;
        let staying = |safe: &SafeId| owner.seat(safe).is_some();
        let is_new = |safe: &SafeId| making.given.iter().any(|given| given.safe == *safe);
        // What a safe still has that was left before, and has not heard of it, is no more than what is before this one there.
        let mut old: Vec<OldKey> = old.into_iter().filter(|key| staying(&key.safe)).collect();
        old.extend(owner.leaving.iter().filter(|key| is_new(&key.safe) && !staying(&key.safe)).cloned());
        let is_known = |safe: &SafeId| old.iter().any(|key| key.safe == *safe);
        let last = owner.generation.max(owner.announced.map_or(0, |other| other.generation));
        if generation <= last || making.given.iter().any(|one| staying(&one.safe) && !is_known(&one.safe)) {
            return Err(WalletError::Outdated);
        }
        let first = |safe: &SafeId| if is_known(safe) { Step::Opened } else { Step::Named };
        let site = |given: &Given| Site { safe: given.safe, step: first(&given.safe), back: 0 };
        let joining = making.given.iter().map(|given| given.safe).filter(|safe| !staying(safe));
        // This wallet may have been there before.
        let seat = |safe| {
            let known = owner.former(&safe).cloned().unwrap_or(Seat::new(safe));
            Seat { number: known.number, reached: known.reached, ..Seat::new(safe) }
        };
        let joining = joining.map(seat).collect();
        let sites = making.given.iter().map(site).collect();
        Ok(Self { generation, threshold, sites, joining, old, switched: false, announced: None, renews, making })
    }

    /// The site of a safe.
    pub fn site(&self, safe: &SafeId) -> Option<&Site> {
        self.sites.iter().find(|site| site.safe == *safe)
    }

    fn old_key(&self, safe: &SafeId) -> Option<&OldKey> {
        self.old.iter().find(|key| key.safe == *safe)
    }

    /// Whether every safe has proven it.
    fn is_proven(&self) -> bool {
        self.sites.iter().all(|site| site.step >= Step::Proven)
    }

    /// Whether it may be in force somewhere: nothing is taken back from then on.
    pub const fn is_announced(&self) -> bool {
        self.switched || self.announced.is_some()
    }

    /// Once every safe has proven it, the book is to say so before any puts it in force.
    pub(crate) fn announce(&mut self) {
        if self.announced.is_none() && self.is_proven() {
            let id = Enrolment::parse(&self.making.statement).ok().map(|enrolment| enrolment.id);
            self.announced = id.map(|id| Announced { generation: self.generation, id });
        }
    }

    /// How many safes must have it in force, proven, before it is the owner's: `t + f`, so that as many as are needed are left when f of them are set back.
    pub fn enough(&self) -> usize {
        let n = self.sites.len();
        (usize::from(self.threshold) + liars(n)).min(n)
    }

    fn quorum(&self) -> usize {
        quorum(self.sites.len(), self.threshold)
    }

    /// Whether nothing is left to do at a safe.
    pub fn is_over(&self, site: &Site) -> bool {
        site.step >= if self.old_key(&site.safe).is_some() { Step::Dropped } else { Step::Current }
    }

    fn given(&self, safe: &SafeId) -> Result<&Given, WalletError> {
        self.making.given.iter().find(|given| given.safe == *safe).ok_or(WalletError::Unknown("safe"))
    }

    /// The key of the new passphrase at a safe.
    fn new_key(&self, safe: &SafeId) -> Result<ChannelKey, WalletError> {
        let staged = &self.given(safe)?.staged;
        Ok(ChannelKey::of_passphrase(staged.id, staged.key.clone(), *staged.digest))
    }

    /// The try on what is in force: always the same one, so that a lost answer is not counted again.
    fn last_try(&self, safe: &SafeId) -> Result<(Guess, Blinded), WalletError> {
        let given = self.given(safe)?;
        let mut rng = expand_seed(&derive_secret(&given.staging, "last try", &safe.0));
        let id = GuessId::make_random(&mut rng);
        let (blinded, element) = Blinded::start(b"trial", &mut rng)?;
        Ok((
            Guess { id, enrolment: given.staged.id, blinded: element.into(), staging: None, credential: None },
            blinded,
        ))
    }
}

/// With how many safes a head counts, of n with a threshold: so many that any t of which f are set back have one among them that has it, `n − t + f + 1`, and so many that two
/// turns that count have f + 1 safes in common, `⌊(n + f) / 2⌋ + 1`: one of these is honest, and lets only the later one go on.
pub fn quorum(n: usize, threshold: u8) -> usize {
    let found = (n + liars(n) + 1).saturating_sub(usize::from(threshold));
    found.max((n + liars(n)) / 2 + 1).min(n)
}

impl Owner {
    /// A seat that this wallet has had in an enrolment before: what is bound to the owner may still be there.
    pub fn former(&self, safe: &SafeId) -> Option<&Seat> {
        self.former.iter().find(|seat| seat.safe == *safe)
    }

    /// The seats at a safe, by whichever enrolment.
    fn seats_at(&self, safe: &SafeId) -> impl Iterator<Item = &Seat> {
        let joining = self.changing.iter().flat_map(|changing| &changing.joining);
        self.seats.iter().chain(joining).chain(&self.former).filter(move |seat| seat.safe == *safe)
    }

    /// The number of this wallet's own credential at a safe, wherever it has one.
    pub fn own_number_at(&self, safe: &SafeId) -> Option<u32> {
        self.seats_at(safe).find_map(|seat| seat.number)
    }

    /// The number of the credential by which a safe knows this wallet: its own, or the one that all devices share where it was left.
    pub fn number_at(&self, safe: &SafeId) -> Option<u32> {
        self.own_number_at(safe).or_else(|| self.left_at(safe)?.number)
    }

    /// What the owner has left at a safe for all his devices.
    pub fn left_at(&self, safe: &SafeId) -> Option<&Left> {
        self.left.iter().find(|left| left.safe == *safe)
    }

    /// The same, if this wallet has nothing of its own there.
    pub fn shared(&self, safe: &SafeId) -> Option<&Left> {
        self.left_at(safe).filter(|_| self.own_number_at(safe).is_none())
    }

    /// A safe that was left has said the number of the credential that all devices share there.
    pub(crate) fn know_left(&mut self, safe: &SafeId, number: Option<u32>) {
        let left = self.left.iter_mut().filter(|left| left.safe == *safe);
        left.for_each(|left| left.number = number.or(left.number));
    }

    /// A safe that was left has a seat here, too, whichever device has left it: what is let go there waits for its turn.
    pub(crate) fn follow_left(&mut self) {
        let Self { former, left, .. } = self;
        former.retain(|seat| seat.number.is_some() || left.iter().any(|left| left.safe == seat.safe));
        let left: Vec<SafeId> = left.iter().map(|left| left.safe).collect();
        let news: Vec<SafeId> = left.into_iter().filter(|safe| self.seats_at(safe).next().is_none()).collect();
        self.former.extend(news.into_iter().map(Seat::new));
    }

    /// The seats to which the book is written.
    pub fn writing(&self) -> impl Iterator<Item = &Seat> {
        self.seats.iter().chain(self.changing.iter().filter(|changing| !changing.switched).flat_map(|c| &c.joining))
    }

    /// The same, to be changed.
    pub fn writing_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        let joining = self.changing.iter_mut().filter(|changing| !changing.switched).flat_map(|c| &mut c.joining);
        self.seats.iter_mut().chain(joining)
    }

    /// The same, and those at safes that were left.
    pub fn known_mut(&mut self) -> impl Iterator<Item = &mut Seat> {
        let joining = self.changing.iter_mut().filter(|changing| !changing.switched).flat_map(|c| &mut c.joining);
        self.seats.iter_mut().chain(joining).chain(&mut self.former)
    }

    /// Whether the newest head counts in the next enrolment as well.
    fn is_there(&self, changing: &Changing) -> bool {
        let Some(head) = &self.head else { return true };
        let there = self.writing().filter(|seat| changing.site(&seat.safe).is_some());
        there.filter(|seat| seat.written >= head.mark.sequence).count() >= changing.quorum()
    }

    /// Whether an enrolment that may be in force somewhere lacks the newest head: this wallet's own, or that of another device, to whose safes this one does not write.
    pub fn is_split(&self) -> bool {
        let changing = self.changing.as_ref().filter(|changing| !changing.switched && changing.is_announced());
        self.announced.is_some() || changing.is_some_and(|changing| !self.is_there(changing))
    }

    /// The change that the book is to speak of.
    pub fn announcement(&self) -> Option<Announced> {
        let own = self.changing.as_ref().filter(|changing| !changing.switched).and_then(|changing| changing.announced);
        own.or(self.announced)
    }

    /// Whether the newest head counts, and is this wallet's.
    fn is_settled(&self) -> bool {
        let own = self.head.as_ref().is_some_and(|head| head.mark.epoch == self.epoch);
        own && self.writes() && self.written() >= self.quorum()
    }

    /// Whether a safe has heard of another device's turn: it takes nothing of the next enrolment before its owner has come back here once more.
    pub fn waits_at(&self, site: &Site) -> bool {
        let open = self.changing.as_ref().is_some_and(|changing| !changing.switched) && site.step < Step::Committed;
        open && self.writing().any(|seat| seat.safe == site.safe && seat.turned)
    }

    /// What is said to a safe of the next enrolment.
    fn next_step(&self, changing: &Changing, site: &Site) -> Option<Errand> {
        let due = match site.step {
            _ if changing.is_over(site) || site.back > MAX_BACK => false,
            // Another device has the turn. It may have a change of its own, and what one stages takes the place of what the other has staged.
            _ if self.waits_at(site) => false,
            step if step < Step::Committed && !changing.switched && self.superseded => false,
            Step::Proven if changing.switched => true,
            Step::Proven => {
                let here = self.writes() && self.written() >= self.quorum() && self.is_there(changing);
                here && changing.announced.is_some()
            }
            Step::Current => changing.switched && self.is_settled(),
            _ => true,
        };
        due.then_some(Errand::Change(site.step))
    }

    /// What there is to say to safes, without what is bound to the owner.
    pub fn errands(&self) -> Vec<(SafeId, Errand)> {
        let ready = |seat: &&Seat| {
            let Some((changing, site)) = self.changing.as_ref().and_then(|now| Some((now, now.site(&seat.safe)?)))
            else {
                return true;
            };
            // It gets to know this wallet by itself in these steps, and forgets what it knew it by.
            let between = seat.number.is_none() && (Step::Committed..Step::Current).contains(&site.step);
            // Where the enrolment before is still in force, so is its head: whoever comes back by the one reads the other.
            !between && (!changing.switched || site.step >= Step::Committed)
        };
        let seats = self.writing().filter(ready);
        let mut all: Vec<_> = seats.filter_map(|seat| Some((seat.safe, self.next(seat)?))).collect();
        if let Some(changing) = &self.changing {
            let steps = changing.sites.iter().filter_map(|site| Some((site.safe, self.next_step(changing, site)?)));
            all.extend(steps);
        }
        let is_left = |safe: &SafeId| {
            let told = self.leaving.iter().all(|key| key.safe != *safe);
            told && self.writing().all(|seat| seat.safe != *safe)
        };
        // The answer was lost in which it said so. Whoever has something of its own there, and has not left it itself, cannot tell whether there is a way back yet.
        let knows =
            |safe: &SafeId| self.own_number_at(safe).is_none() || self.former(safe).is_some_and(|seat| seat.left);
        let asks = |left: &&Left| left.number.is_none() && is_left(&left.safe) && knows(&left.safe);
        all.extend(self.left.iter().filter(asks).map(|left| (left.safe, Errand::Return)));
        if self.is_settled() {
            all.extend(self.leaving.iter().map(|key| (key.safe, Errand::Leave)));
            // So that what is bound can be let go there.
            let waits = |seat: &&Seat| !seat.promised && !seat.turned && is_left(&seat.safe);
            let waits = self.former.iter().filter(waits).filter(|seat| self.number_at(&seat.safe).is_some());
            all.extend(waits.map(|seat| (seat.safe, Errand::Promise)));
        }
        all
    }

    /// The next enrolment is the owner's: from now on everything is written under its root.
    pub(crate) fn switch(&mut self, now: Seconds) {
        let Some(changing) = self.changing.as_mut().filter(|changing| !changing.switched) else { return };
        changing.switched = true;
        let (seats, joining) = (core::mem::take(&mut self.seats), core::mem::take(&mut changing.joining));
        let is_new = |safe: &SafeId| changing.sites.iter().any(|site| site.safe == *safe);
        let seat_of = |site: &Site| {
            let known = seats.iter().chain(&joining).find(|seat| seat.safe == site.safe);
            let number = known.and_then(|seat| seat.number);
            Seat { number, reached: Reached::Committed, ..Seat::new(site.safe) }
        };
        self.seats = changing.sites.iter().map(seat_of).collect();
        let (old, leaving): (Vec<OldKey>, Vec<OldKey>) =
            core::mem::take(&mut changing.old).into_iter().partition(|key| is_new(&key.safe));
        self.former.retain(|seat| !is_new(&seat.safe) && seats.iter().all(|other| other.safe != seat.safe));
        let gone = seats.into_iter().filter(|seat| !is_new(&seat.safe) && seat.number.is_some());
        self.former.extend(gone);
        // The turn is another one.
        self.former.iter_mut().for_each(|seat| (seat.promised, seat.turned) = (false, false));
        self.leaving.retain(|key| !is_new(&key.safe));
        let root = OwnerRoot::new(changing.making.root.clone());
        self.left.retain(|left| leaving.iter().all(|key| key.safe != left.safe));
        self.left.extend(leaving.iter().map(|key| Left::new(&root, key.safe)));
        self.left.drain(..self.left.len().saturating_sub(MAX_LEFT));
        self.leaving.extend(leaving);
        self.root = Some(root.expose().clone());
        (self.threshold, self.generation) = (changing.threshold, changing.generation);
        // A turn of its own: other devices that have the old root hear that they are behind, and come back.
        self.base = self.head.as_ref().map(|head| head.mark).or(self.base);
        self.epoch.counter = self.epoch.counter.saturating_add(1);
        self.changed = Some(now);
        self.renewing = changing.renews.then(Renewing::default);
        if let Some(changing) = &mut self.changing {
            changing.old = old;
        }
    }

    /// Whether enough safes have the next enrolment in force, proven.
    pub(crate) fn may_switch(&self) -> bool {
        let changing = self.changing.as_ref().filter(|changing| !changing.switched && !self.superseded);
        changing.is_some_and(|changing| {
            changing.sites.iter().filter(|site| site.step >= Step::Current).count() >= changing.enough()
        })
    }

    /// Whether nothing is left to do for the next enrolment.
    pub(crate) fn has_changed(&self) -> bool {
        let changing = self.changing.as_ref().filter(|changing| changing.switched);
        changing.is_some_and(|changing| changing.sites.iter().all(|site| changing.is_over(site)))
    }

    /// Whether more safes than may lie say that there is a newer enrolment: this device has to come back by its passphrase.
    pub fn is_outdated(&self) -> bool {
        let newer = self.seats.iter().filter(|seat| seat.generation.is_some_and(|known| known > self.generation));
        newer.count() > liars(self.seats.len())
    }
}

// ---- what is said to a safe -----------------------------------------------------------------------------------------

/// What a question consists of.
pub(crate) struct Asking {
    pub topic: Topic,
    pub plain: Vec<u8>,
    pub channel: Option<ChannelKey>,
    pub trial: Option<Blinded>,
}

impl Asking {
    fn act(actions: &[Action], channel: ChannelKey) -> Self {
        Self { topic: Topic::Channel, plain: codec::encode(&actions.to_vec()), channel: Some(channel), trial: None }
    }

    fn guess(guess: &Guess, trial: Blinded) -> Self {
        Self { topic: Topic::Evaluate, plain: codec::encode(guess), channel: None, trial: Some(trial) }
    }
}

/// The question for an errand of a change.
///
/// # Errors
/// [`WalletError`] if there is nothing to ask any more.
pub(crate) fn ask<R: CryptoRng>(
    owner: &Owner,
    safe: &SafeId,
    errand: Errand,
    rng: &mut R,
) -> Result<Asking, WalletError> {
    let wallet = || {
        let number = owner.number_at(safe).ok_or(WalletError::Unknown("credential"))?;
        Ok::<_, WalletError>(ChannelKey::of_credential(number, owner.key_at(safe)))
    };
    let step = match errand {
        Errand::Leave => {
            let key = owner.leaving.iter().find(|key| key.safe == *safe).ok_or(WalletError::Unknown("safe"))?;
            let shared = owner.shared_at(safe, rng)?.map(Action::Add);
            let before = [Action::Refund(vec![key.guess]), Action::Promise(owner.epoch)].into_iter();
            let leave: Vec<Action> = before.chain(shared).chain([Action::Drop(key.id)]).collect();
            return Ok(Asking::act(&leave, key.channel()));
        }
        Errand::Change(step) => step,
        _ => return Ok(Asking::act(&[Action::Show], wallet()?)),
    };
    let changing = owner.changing.as_ref().ok_or(WalletError::Unknown("enrolment"))?;
    let given = changing.given(safe)?;
    let old = changing.old_key(safe);
    Ok(match step {
        Step::Named => {
            let plain = codec::encode(&Opening { key: owner.key_at(safe), note: owner.note_at(safe, rng)?.into() });
            Asking { topic: Topic::Open, plain, channel: None, trial: None }
        }
        Step::Opened => {
            // From here on nobody whose turn was before puts anything in force. What enough safes have is decided, whoever has a turn since.
            let promise = Some(Action::Promise(owner.epoch)).filter(|_| !changing.switched);
            let stage: Vec<_> = promise.into_iter().chain([Action::Stage(Box::new(given.staged.clone()))]).collect();
            match old {
                // It may not know this device yet, and takes back the try that it was asked.
                Some(old) => {
                    let arrive = [Action::Refund(vec![old.guess]), Action::Add(owner.own_credential(safe, rng)?)];
                    Asking::act(&[&arrive[..], &stage].concat(), old.channel())
                }
                None => Asking::act(&stage, wallet()?),
            }
        }
        Step::Staged => {
            let (blinded, element) = Blinded::start(b"trial", rng)?;
            let (id, staging) = (GuessId::make_random(rng), Some(given.staging.clone()));
            let (enrolment, blinded_element) = (given.staged.id, element.into());
            let guess = Guess { id, enrolment, blinded: blinded_element, staging, credential: None };
            Asking::guess(&guess, blinded)
        }
        Step::Shared => Asking::act(&[Action::Show], changing.new_key(safe)?),
        Step::Proven => {
            let channel = old.map_or_else(wallet, |old| Ok(old.channel()))?;
            let epoch = if changing.switched { Epoch::LAST } else { owner.epoch };
            Asking::act(&[Action::Commit(given.staged.id, Some(epoch))], channel)
        }
        Step::Committed => {
            let (guess, blinded) = changing.last_try(safe)?;
            Asking::guess(&guess, blinded)
        }
        Step::Answered => {
            let (guess, _) = changing.last_try(safe)?;
            let mut actions = vec![Action::Show, Action::Refund(vec![guess.id])];
            // It is left no more, and knows this wallet by itself from now on.
            actions.extend(owner.left_at(safe).and_then(|left| left.number).map(Action::Revoke));
            if owner.own_number_at(safe).is_none() {
                actions.push(Action::Add(owner.own_credential(safe, rng)?));
            }
            Asking::act(&actions, changing.new_key(safe)?)
        }
        Step::Current | Step::Dropped => {
            let old = old.ok_or(WalletError::Unknown("enrolment"))?;
            Asking::act(&[Action::Drop(old.id)], changing.new_key(safe)?)
        }
    })
}

/// What a refusal means, where it is one of these.
pub(crate) fn refused(state: &State, safe: &SafeId, errand: Errand, problem: Option<Problem>) -> Option<Meaning> {
    if problem != Some(Problem::NotOwner) {
        return None;
    }
    let event = |event| Some(Meaning::Event(Box::new(event)));
    match errand {
        // It has left already, and the answer was lost.
        Errand::Leave => event(Event::OwnerLeft(*safe, None)),
        Errand::Change(step) => {
            let changing = state.owner.as_ref()?.changing.as_ref()?;
            // One that was left may have heard of it although its answer was lost: then it knows this wallet, and not the key any more.
            let joins = changing.joining.iter().any(|seat| seat.safe == *safe);
            let joined = joins || changing.old_key(safe).is_none();
            let back = match step {
                Step::Shared => Step::Opened,
                // Anybody may have said so. It is asked once more for what only a safe can answer that has it in force; one that was set back cannot, and gets it again.
                Step::Answered | Step::Current | Step::Dropped => Step::Committed,
                Step::Opened | Step::Proven if joined => Step::Named,
                _ => return Some(Meaning::Refused("does not know the passphrase that was in force".to_owned())),
            };
            back_to(changing, safe, step, back)
        }
        _ => None,
    }
}

/// Those of these safes in which another enrolment is in force than the one that the owner has shown himself for: a device has begun to put it in force, and is gone. They take no
/// part in a change that takes its place, for they let nobody do anything who has the passphrase before only.
pub fn taken<'a>(agreed: &Agreed, accounts: impl IntoIterator<Item = (&'a SafeId, &'a Account)>) -> Vec<SafeId> {
    let other = |(safe, account): &(&SafeId, &Account)| {
        account.current.is_some_and(|current| current != agreed.enrolment.id_at(safe))
    };
    accounts.into_iter().filter(other).map(|(safe, _)| *safe).collect()
}

/// A safe has forgotten what it had taken: it gets the same again.
fn back_to(changing: &Changing, safe: &SafeId, from: Step, to: Step) -> Option<Meaning> {
    if changing.site(safe)?.back >= MAX_BACK {
        return Some(Meaning::Refused("forgets again and again what it has taken".to_owned()));
    }
    Some(Meaning::Event(Box::new(Event::OwnerStepped(*safe, from, to, None))))
}

/// The number that a credential was given.
fn added(outcomes: &[Outcome]) -> Option<u32> {
    outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Added(number) => Some(*number),
        _ => None,
    })
}

/// What an answer means; `None`: not what a safe answers to its owner.
pub(crate) fn understand(
    owner: &Owner,
    safe: &SafeId,
    errand: Errand,
    (answering, trial, epoch): (&Answering, Option<Blinded>, Epoch),
    answer: &[u8],
) -> Option<Meaning> {
    let event = |event| Some(Meaning::Event(Box::new(event)));
    let wrong = |what: &str| Some(Meaning::Refused(what.to_owned()));
    let Errand::Change(step) = errand else {
        let mut outcomes: Vec<Outcome> = answering.read(answer).ok()?;
        return match (errand, outcomes.pop()?) {
            (Errand::Leave, Outcome::Done) => event(Event::OwnerLeft(*safe, added(&outcomes))),
            // The one that was to take its place is in force there, and this device has not heard so. It stays, for nobody who comes back.
            (Errand::Leave, Outcome::Refused(Refusal::NotAllowed)) => event(Event::OwnerLeft(*safe, None)),
            (Errand::Leave, _) => wrong("does not forget what it kept for you"),
            (_, Outcome::Account(account)) => {
                event(Event::OwnerGeneration(*safe, account.generation, account.promised))
            }
            _ => None,
        };
    };
    let stepped = |to, number| event(Event::OwnerStepped(*safe, step, to, number));
    // Another window has had its answer: whatever this one says, the safe is no other.
    let due = owner.changing.as_ref().filter(|changing| changing.site(safe).is_some_and(|site| site.step == step));
    let Some(changing) = due else { return stepped(step, None) };
    let returns = |account: &Account| {
        let id = Enrolment::parse(&changing.making.statement).ok()?.id;
        let stretched = Stretched::new(changing.making.stretched.clone());
        let root = stretched.open_root(account.wrap.as_ref()?, &id, &changing.making.statement).ok()?;
        Some(root.expose().same_as(&changing.making.root))
    };
    match step {
        Step::Named => match answering.read(answer).ok()? {
            Outcome::Added(number) => stepped(Step::Opened, Some(number)),
            _ => None,
        },
        Step::Staged | Step::Committed => {
            let enrolment = Enrolment::parse(&changing.making.statement).ok()?;
            let (_, commitment) = enrolment.seat(safe)?;
            let to = if step == Step::Staged { Step::Shared } else { Step::Answered };
            match answering.read(answer).ok()? {
                Evaluated::Done(element, proof, _) => {
                    let evaluation = Evaluation { element: *element, proof: *proof };
                    match trial?.check(&evaluation, commitment) {
                        Ok(()) => stepped(to, None),
                        // What stands in is all that one has to show that was set back.
                        Err(_) => back_to(changing, safe, step, Step::Opened),
                    }
                }
                // Others have used up the tries. Its share was proven before it was in force.
                Evaluated::Locked(_) if step == Step::Committed => stepped(to, None),
                // Of what is staged no try is counted: the safe was set back, and was asked too often by a device that could not store what it heard.
                _ => back_to(changing, safe, step, Step::Opened),
            }
        }
        _ => {
            let outcomes: Vec<Outcome> = answering.read(answer).ok()?;
            match (step, &outcomes[..]) {
                (Step::Opened, [.., Outcome::Refused(Refusal::Superseded), _])
                | (Step::Proven, [Outcome::Refused(Refusal::Superseded)]) => {
                    event(Event::OwnerSuperseded(*safe, epoch))
                }
                (Step::Opened, [before @ .., Outcome::Done]) => stepped(Step::Staged, added(before)),
                (Step::Opened, [.., Outcome::Refused(Refusal::OutOfOrder)]) => {
                    wrong("keeps a newer enrolment; come back with its passphrase")
                }
                (Step::Opened, [.., Outcome::Refused(Refusal::NotAllowed)]) => {
                    wrong("keeps another enrolment under your name")
                }
                (Step::Shared, [Outcome::Account(account)]) if returns(account) == Some(true) => {
                    stepped(Step::Proven, None)
                }
                (Step::Answered, [Outcome::Account(account), _, after @ ..]) => {
                    let current = account.current == Some(changing.given(safe).ok()?.staged.id);
                    match (current, returns(account)) {
                        (true, Some(true)) => stepped(Step::Current, added(after)),
                        // It is staged there, and was not put in force: the safe was set back in between.
                        (false, _) if account.previous.is_none() || account.staged.is_some() => {
                            back_to(changing, safe, step, Step::Opened)
                        }
                        _ => wrong("does not return what it was given"),
                    }
                }
                (Step::Proven, [Outcome::Done]) => stepped(Step::Committed, None),
                (Step::Proven, [Outcome::Refused(Refusal::Unknown)]) => back_to(changing, safe, step, Step::Opened),
                (Step::Current, [Outcome::Done]) => stepped(Step::Dropped, None),
                (Step::Current, [Outcome::Refused(_)]) => back_to(changing, safe, step, Step::Opened),
                (_, [.., Outcome::Refused(_)]) => wrong("refuses to keep that for its owner"),
                (Step::Shared, [Outcome::Account(_)]) => wrong("does not return what it was given"),
                _ => None,
            }
        }
    }
}

// ---- what stays exposed ---------------------------------------------------------------------------------------------

/// The backups of which somebody may know how they come back who had the owner's root before it was changed: what is here was not protected anew since.
pub fn exposed(state: &State) -> impl Iterator<Item = &Backup> {
    let changed = state.owner.as_ref().and_then(|owner| owner.changed);
    of_values(state)
        .filter(move |backup| changed.is_some_and(|changed| backup.finished.is_some_and(|at| at <= changed)))
}

/// The backups that a wallet could let go for good that was stolen open: safes of the owner have pieces of them that are bound to nobody, for they were made before these safes knew
/// him. What lives once is let go for good in any case.
pub fn unkept(state: &State) -> impl Iterator<Item = &Backup> {
    let loose = |deposit: &Deposit| {
        deposit.stage == Stage::Held && !deposit.asks_owner(Right::Release) && knows_owner(state, &deposit.safe)
    };
    of_values(state)
        .filter(|backup| backup.finished.is_some() && !backup.lives_once())
        .filter(move |backup| backup.deposits.iter().any(loose))
}

/// Those that are worth to be made anew for one or the other.
pub fn renewable(state: &State) -> impl Iterator<Item = &Backup> {
    let known: BTreeSet<BackupId> = exposed(state).map(|backup| backup.id).collect();
    exposed(state).chain(unkept(state).filter(move |backup| !known.contains(&backup.id)))
}

fn of_values(state: &State) -> impl Iterator<Item = &Backup> {
    let of_value = |backup: &Backup| {
        backup.values.iter().any(|meta| state.values.get(&meta.id).is_some_and(|value| value.backup == Some(backup.id)))
    };
    state.backups.values().filter(move |backup| backup.chapter.is_none() && of_value(backup))
}

/// Whether its owner has to renew it: it needs words or a file from him, it is another device's, or it could not be renewed.
pub fn is_left(state: &State, backup: &Backup) -> bool {
    let renewing = state.owner.as_ref().and_then(|owner| owner.renewing.as_ref());
    let left = renewing.is_some_and(|renewing| renewing.left.contains(&backup.id));
    left || rules::needs_owner(&backup.plan) || backup.is_taken()
}

/// The backups that are to be renewed because their owner has asked for it.
pub(crate) fn to_renew(state: &State) -> impl Iterator<Item = &Backup> {
    let asked = state.owner.as_ref().is_some_and(|owner| owner.renewing.is_some());
    asked.then(|| renewable(state).filter(|backup| !is_left(state, backup))).into_iter().flatten()
}
