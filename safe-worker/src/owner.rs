//! The owner machine: what happens to one owner's record.
//!
//! ```text
//! (none) ──guess──▶ only tries ──open──▶ credentials ──stage──▶ + staged ──commit──▶ + current (+ previous)
//!   ▲                   │ a month after the last try
//!   └───────────────────┘
//! ```
//!
//! An account in which nothing was ever committed is open to another wallet some weeks after its opener was there ([`UNUSED_SPAN`]).
//!
//! As for a deposit: the shell loads, calls [`step`], stores, and answers. A guess is in the record before its answer leaves. An account that is not there answers like one
//! that is: with slots, shares and keys that stand in, drawn from a secret of the safe. Spec: `spec/owner.md`.

pub mod record;

use minicbor::{Decode, Encode, bytes::ByteArray};
use protocol::{
    SUITE,
    codec::{self, Bytes},
    crypto::{
        CryptoError, Heard, Secret, blake3, derive_secret, expand_seed,
        oprf::{commitment, derive_share, derive_stand_in, evaluate},
    },
    deposit::recognises,
    ids::{AccountId, AttemptId, DepositId, EnrolmentId, GuessId, Seconds, TokenId},
    owner::{
        budget::left,
        enrolment::{SLOT_LEN, Staged, WRAP_LEN},
        messages::{
            Account, Action, Address, CredentialKind, Epoch, Evaluated, Greeting, Guess, Guesses, Head, Look,
            MAX_ACTIONS, MAX_CREDENTIALS, MAX_HEAD_LEN, MAX_KITS, MAX_NOTE_LEN, MAX_QUESTION_LEN, Mark, NewCredential,
            Opening, Outcome, Past, Proof, Question, Refusal, Topic, Who, check_challenge, make_challenge, seal_answer,
        },
        past::{MAX_PAST, kept},
        ticket::{Right, TICKET_SPAN, Ticket},
    },
    problem::Problem,
    relay::Errand,
};
use rand_core::{CryptoRng, Rng};

use self::record::{Kept, MAX_RESERVED, MAX_USED, MAX_USED_BY_OTHERS, OwnerRecord, Reserved, Try, Used};
use crate::{
    account::Row,
    machine::{Config, Effects, Keys, slug},
};

/// What an owner's record is counted as in its token's account, bytes: the longest head and those before it, and as much as one again for all else; 2,176 KiB.
pub const OWNER_BYTES: u64 = (MAX_PAST as u64 + 2) * MAX_HEAD_LEN as u64;
/// How far ahead of the promised turn a wallet may begin one: with so many at once, and 48 questions in five minutes, it takes 300 days to use up 2³².
pub const MAX_TURNS_AT_ONCE: u32 = 1024;
/// How long tries at an account that is not there are remembered after the last one, seconds: a month. Who waits as long can tell that it is not there.
pub const STRANGER_SPAN: Seconds = 30 * 86_400;

/// How long an account in which no enrolment ever was in force waits for whoever opened it, seconds: a week. Then another wallet may open it: a device may be lost before it has enrolled its owner.
pub const UNUSED_SPAN: Seconds = 7 * 86_400;
/// The same where a book was written, seconds: four weeks. Its owner is enrolled elsewhere, and this safe joins; what he has announced is not to be undone while he is away.
pub const UNUSED_BOOK_SPAN: Seconds = 28 * 86_400;

/// How long a row waits for an opening that nobody has heard of any more, seconds: an hour. No request takes as long, and no alarm may free the row of one that is under way.
pub const ROW_SPAN: Seconds = 3_600;

/// What is asked of an owner's object.
#[derive(Debug, Clone, Encode, Decode)]
#[non_exhaustive]
pub enum Request {
    /// Anybody looks.
    #[n(0)]
    Look,
    /// A question to open an account, admitted by this token where the safe wants one.
    #[n(1)]
    Open(#[n(0)] Question, #[n(1)] Option<TokenId>),
    /// A blinded passphrase.
    #[n(2)]
    Evaluate(#[n(0)] Question),
    /// The owner acts.
    #[n(3)]
    Channel(#[n(0)] Box<Question>),
    /// The alarm went off.
    #[n(4)]
    Alarm,
    /// Whether the account was opened under this token. If not, nothing is opened under it any more.
    #[n(5)]
    Charge(#[n(0)] TokenId),
    /// A greeting.
    #[n(6)]
    Greet(#[n(0)] Question),
    /// The owner has something fetched from another safe.
    #[n(7)]
    Relay(#[n(0)] Box<Question>),
    /// A row of this owner is about to be written in the account of this token.
    #[n(8)]
    Reserve(#[n(0)] TokenId),
    /// There is none any more in that token's account, as of [`Reply::Idle`]. Answered with the token under which the account is open, [`Reply::Opened`].
    #[n(9)]
    Freed(#[n(0)] TokenId, #[n(1)] AttemptId),
}

/// What it answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Reply {
    /// The look, encoded.
    #[n(0)]
    Look(#[n(0)] Bytes),
    /// A sealed answer.
    #[n(1)]
    Answer(#[n(0)] Bytes),
    /// The account was opened, under this token.
    #[n(2)]
    Opened(#[n(0)] Option<TokenId>),
    /// Nothing more to do.
    #[n(3)]
    Done,
    /// No.
    #[n(4)]
    Refused(#[cbor(n(0), with = "slug")] Problem),
    /// This is to be fetched for the owner.
    #[n(5)]
    Fetch(#[n(0)] Errand),
    /// In the account of this token a row may stand of an opening of which nothing came: that is to be freed.
    #[n(6)]
    Idle(#[n(0)] TokenId, #[n(1)] AttemptId),
}

/// Result of a step.
#[derive(Debug)]
pub struct Step {
    /// The answer.
    pub reply: Reply,
    /// The record to be stored; `None`: to be removed.
    pub record: Option<OwnerRecord>,
    /// What is done with the heads.
    pub heads: Shelved,
    /// The rest.
    pub effects: Effects,
}

/// Heads, as they are stored beside the record. A failure is never an empty answer.
pub trait Shelf {
    /// The newest one.
    ///
    /// # Errors
    /// [`Problem`] if the storage fails.
    fn newest(&self) -> Result<Option<Vec<u8>>, Problem>;
    /// One that was kept ([`Shelved::keep`]), by its BLAKE3.
    ///
    /// # Errors
    /// [`Problem`] if the storage fails.
    fn past(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Problem>;
}

/// BLAKE3 of a head.
pub type Digest = ByteArray<32>;

/// What is done with the heads, in this order, together with the record.
#[derive(Debug, Default)]
pub struct Shelved {
    /// The newest one is kept under this digest, too.
    pub keep: Option<Digest>,
    /// This takes its place.
    pub put: Option<Vec<u8>>,
    /// These are kept no longer.
    pub forget: Vec<Digest>,
}

/// The row of an owner's record in its token's account.
pub fn row(account: &AccountId) -> Row {
    let (mut deposit, mut opened) = ([0; 16], [0; 16]);
    deposit.copy_from_slice(&account.0[..16]);
    opened.copy_from_slice(&account.0[16..]);
    Row { deposit: DepositId(deposit), opened: AttemptId(opened) }
}

/// One step of one owner's record.
#[allow(clippy::too_many_arguments, reason = "what a step depends on, each of another kind")]
pub fn step<R: CryptoRng>(
    account: &AccountId,
    record: Option<OwnerRecord>,
    shelf: &dyn Shelf,
    request: Request,
    now: Seconds,
    rng: &mut R,
    config: &Config,
    keys: &Keys,
) -> Step {
    let Some(secret) = &keys.owner else {
        let reply = Reply::Refused(Problem::NoSuchPath);
        return Step { reply, record, heads: Shelved::default(), effects: Effects::default() };
    };
    let record = record.unwrap_or_default();
    let heads = Shelved::default();
    let mut machine = Machine { account: *account, now, config, keys, secret, record, shelf, heads };
    machine.record.used.retain(|used| now < used.expiry);
    let attempt = AttemptId::make_random(rng);
    let reply = match request {
        Request::Look => Ok(machine.look(rng)),
        Request::Open(question, token) => {
            let opened = machine.open(&question, token, rng);
            // Remembered at once: what comes next may fail.
            token.into_iter().for_each(|token| drop(machine.record.is_charged(token, now, attempt)));
            opened
        }
        Request::Greet(question) => machine.greet(&question, rng),
        Request::Evaluate(question) => machine.evaluate(&question, rng),
        Request::Channel(question) => machine.channel(&question, rng),
        Request::Relay(question) => machine.relay(&question),
        Request::Alarm => Ok(machine.forget()),
        Request::Charge(token) => Ok(machine.record.is_charged(token, now, attempt)),
        Request::Reserve(token) => Ok(machine.record.reserve(token, now, attempt)),
        Request::Freed(token, attempt) => {
            // What is under way may have lost its row by that, too; what was given up since may have one again.
            let stays = |reserved: &Reserved| reserved.given_up && reserved.attempt != attempt;
            machine.record.reserved.retain(|reserved| reserved.token != token || stays(reserved));
            Ok(Reply::Opened(machine.record.charge))
        }
    };
    machine.finish(reply.unwrap_or_else(Reply::Refused))
}

struct Machine<'a> {
    account: AccountId,
    now: Seconds,
    config: &'a Config,
    keys: &'a Keys,
    secret: &'a Secret,
    record: OwnerRecord,
    shelf: &'a dyn Shelf,
    heads: Shelved,
}

impl Machine<'_> {
    fn finish(self, reply: Reply) -> Step {
        let blank = self.record.is_blank();
        // Whoever opened an account is remembered; who only guessed, for a while.
        let stranger = self.record.credentials.is_empty() && self.record.next == 0;
        let last = self.record.tries.iter().map(|one| one.at).max();
        let tries = last.filter(|_| stranger).map(|last| last.saturating_add(STRANGER_SPAN));
        let row = self.record.reserved.iter().map(|reserved| reserved.since.saturating_add(ROW_SPAN)).min();
        let alarm = tries.into_iter().chain(row).min();
        Step { reply, record: (!blank).then_some(self.record), heads: self.heads, effects: Effects { alarm } }
    }

    fn forget(&mut self) -> Reply {
        let last = self.record.tries.iter().map(|one| one.at).max();
        let over = last.is_none_or(|last| last.saturating_add(STRANGER_SPAN) <= self.now);
        if self.record.credentials.is_empty() && self.record.next == 0 && over {
            self.record.tries.clear();
        }
        let now = self.now;
        let due = |reserved: &&mut Reserved| reserved.since.saturating_add(ROW_SPAN) <= now;
        let Some(reserved) = self.record.reserved.iter_mut().find(due) else { return Reply::Done };
        // If that fails, this is asked for again.
        (reserved.given_up, reserved.since) = (true, now);
        Reply::Idle(reserved.token, reserved.attempt)
    }

    /// What is left of the guesses by name, or of those of a credential.
    fn guesses(&self, credential: Option<u32>) -> Guesses {
        let tries = || self.record.tries.iter().filter(|one| one.credential == credential);
        let counted = u32::try_from(tries().count()).unwrap_or(u32::MAX);
        let last = tries().map(|one| one.at).max().unwrap_or(0);
        let left = left(counted, last, self.now);
        Guesses { now: left.now, ever: left.ever, wait: left.wait }
    }

    /// The number of a credential that is shown. One that is unknown is refused here and at every other account in the same way.
    fn shown(&self, key: Option<&Secret>) -> Result<Option<u32>, Problem> {
        let Some(key) = key else { return Ok(None) };
        let known = self.record.credentials.iter().find(|kept| kept.credential.key.same_as(key));
        known.map(|kept| Some(kept.number)).ok_or(Problem::NotOwner)
    }

    /// What is shown in place of an enrolment that is not there: as long, and as random.
    fn stand_in(&self, which: u8) -> Vec<u8> {
        let mut slot = vec![0; SLOT_LEN];
        let context = [&self.account.0[..], &[which]].concat();
        slot[..32].copy_from_slice(&derive_stand_in(self.secret, &context));
        expand_seed(&derive_secret(self.secret, "slot", &context)).fill_bytes(&mut slot[32..]);
        slot
    }

    fn look<R: CryptoRng>(&self, rng: &mut R) -> Reply {
        let shown = |which: u8, kept: &Option<Staged>| {
            // Made in any case, so that it takes as long.
            let stand_in = self.stand_in(which);
            Bytes(kept.as_ref().map_or(stand_in, |enrolment| enrolment.slot.0.clone()))
        };
        let look = Look {
            suite: SUITE,
            challenge: make_challenge(self.secret, &self.account, self.now, rng),
            time: self.now,
            left: self.guesses(None),
            slots: [shown(0, &self.record.current), shown(1, &self.record.previous)],
        };
        Reply::Look(codec::encode(&look).into())
    }

    /// Checks the challenge and opens a question.
    fn hear(&self, question: &Question, topic: Topic, proof: Option<Proof<'_>>) -> Result<Heard, Problem> {
        let expiry = check_challenge(self.secret, &self.account, &question.challenge);
        if expiry.is_none_or(|expiry| self.now >= expiry) {
            return Err(Problem::ChallengeExpired);
        }
        let address = Address { safe: &self.config.safe, account: &self.account, topic };
        let key = self.keys.hpke(question.entry).map_err(|_| Problem::ClaimUnreadable)?;
        let unreadable = if proof.is_some() { Problem::NotOwner } else { Problem::ClaimUnreadable };
        question.open(&address, key, proof).map_err(|CryptoError| unreadable)
    }

    fn answer<T: Encode<()>, R: CryptoRng>(heard: &Heard, answer: &T, rng: &mut R) -> Result<Reply, Problem> {
        let sealed = seal_answer(&heard.answer, &codec::encode(answer), rng).map_err(|_| Problem::Internal)?;
        Ok(Reply::Answer(sealed.into()))
    }

    fn open<R: CryptoRng>(
        &mut self,
        question: &Question,
        token: Option<TokenId>,
        rng: &mut R,
    ) -> Result<Reply, Problem> {
        let heard = self.hear(question, Topic::Open, None)?;
        let opening: Opening = codec::decode(&heard.question, MAX_QUESTION_LEN).map_err(|_| Problem::Malformed)?;
        if opening.note.len() > MAX_NOTE_LEN {
            return Err(Problem::Malformed);
        }
        let record = &mut self.record;
        let known = record.credentials.iter().find(|kept| kept.credential.key.same_as(&opening.key));
        let number = match known {
            Some(kept) => kept.number,
            // Closed or not: whoever was here first is the owner.
            None if record.next > 0 && !record.is_abandoned(self.now) => return Err(Problem::OwnerExists),
            None => {
                if record.next > 0 {
                    self.heads.forget.extend(record.past.drain(..).map(|past| past.mark.digest));
                    record.empty();
                } else {
                    // Its row may be freed already, if another one of this owner came in between.
                    let own = |reserved: &Reserved| Some(reserved.token) == token && !reserved.given_up;
                    match record.reserved.iter().position(own) {
                        Some(own) => {
                            record.reserved.remove(own);
                        }
                        None if token.is_some() => return Err(Problem::Unavailable),
                        None => {}
                    }
                    record.charge = token;
                }
                record.unused = Some(self.now);
                let Opening { key, note } = opening;
                let kind = CredentialKind::Wallet;
                record.add(NewCredential { kind, key, note, wrap: None, locator: None }, self.now)
            }
        };
        record.touch(self.now);
        Self::answer(&heard, &Outcome::Added(number), rng)
    }

    fn greet<R: CryptoRng>(&self, question: &Question, rng: &mut R) -> Result<Reply, Problem> {
        let heard = self.hear(question, Topic::Greet, None)?;
        let greeting: Greeting = codec::decode(&heard.question, MAX_QUESTION_LEN).map_err(|_| Problem::Malformed)?;
        let credential = self.shown(greeting.credential.as_ref())?;
        Self::answer(&heard, &self.guesses(credential), rng)
    }

    fn evaluate<R: CryptoRng>(&mut self, question: &Question, rng: &mut R) -> Result<Reply, Problem> {
        let heard = self.hear(question, Topic::Evaluate, None)?;
        let guess: Guess = codec::decode(&heard.question, MAX_QUESTION_LEN).map_err(|_| Problem::Malformed)?;
        let credential = self.shown(guess.credential.as_ref())?;
        let record = &self.record;
        let staged = record.staged.as_ref().filter(|staged| staged.id == guess.enrolment);
        let tried = staged.filter(|staged| guess.staging.as_ref().is_some_and(|s| recognises(&staged.staging, s)));
        let share = match (tried, record.in_force(&guess.enrolment)) {
            (Some(enrolment), _) | (None, Some(enrolment)) => enrolment.share.clone(),
            (None, None) => derive_share(self.secret, &[&self.account.0[..], &guess.enrolment.0].concat()),
        };
        // First, so that what is no element is not counted.
        let made = evaluate(&share, &guess.blinded, rng).map_err(|_| Problem::Malformed)?;
        if tried.is_none() && !record.has_answered(&guess.enrolment, &guess.blinded) {
            let left = self.guesses(credential);
            if left.now == 0 {
                return Self::answer(&heard, &Evaluated::Locked(left), rng);
            }
            let Guess { id, enrolment, blinded, .. } = guess;
            self.record.tries.push(Try { id, enrolment, blinded, at: self.now, credential });
        }
        Self::answer(&heard, &Evaluated::done(made.element, made.proof, self.guesses(credential)), rng)
    }

    /// Opens a question of the owner, which counts once.
    fn hear_owner(&mut self, question: &Question, topic: Topic) -> Result<(Who, Heard), Problem> {
        let who = question.who.ok_or(Problem::Malformed)?;
        // Whoever is not known is heard with a key that nobody has.
        let nobody = (derive_secret(self.secret, "nobody", &self.account.0), [0; 32]);
        let (key, digest) = self.record.proof_of(&who).unwrap_or(nobody);
        let heard = self.hear(question, topic, Some(Proof { who, key: &key, digest: &digest }))?;
        let expiry = check_challenge(self.secret, &self.account, &question.challenge).unwrap_or(0);
        let used = &self.record.used;
        if used.iter().any(|used| used.challenge == question.challenge) {
            return Err(Problem::ChallengeExpired);
        }
        // A wallet that was stolen must not keep its owner from acting.
        let owner = self.record.standing(&who) == Standing::Owner;
        let others = used.iter().filter(|used| used.owner.is_none()).count();
        if used.len() >= MAX_USED || (!owner && others >= MAX_USED_BY_OTHERS) {
            return Err(Problem::Unavailable);
        }
        let used = Used { challenge: question.challenge, expiry, owner: owner.then_some(true) };
        self.record.used.push(used);
        self.record.touch(self.now);
        Ok((who, heard))
    }

    /// Whoever may retrieve what is bound to the owner may have something fetched.
    fn relay(&mut self, question: &Question) -> Result<Reply, Problem> {
        let (who, heard) = self.hear_owner(question, Topic::Relay)?;
        if !self.record.lets(self.record.standing(&who), &Action::Ticket(None)) {
            return Err(Problem::NotOwner);
        }
        let errand = Errand::parse(&heard.question, MAX_QUESTION_LEN).map_err(|_| Problem::Malformed)?;
        let fetched = self.record.fetched.unwrap_or_default().with(errand.most, self.now);
        self.record.fetched = Some(fetched.ok_or(Problem::RelayLimit)?);
        Ok(Reply::Fetch(errand))
    }

    fn channel<R: CryptoRng>(&mut self, question: &Question, rng: &mut R) -> Result<Reply, Problem> {
        let (who, heard) = self.hear_owner(question, Topic::Channel)?;
        let actions: Vec<Action> = codec::decode(&heard.question, MAX_QUESTION_LEN).map_err(|_| Problem::Malformed)?;
        if actions.len() > MAX_ACTIONS {
            return Err(Problem::Malformed);
        }
        let outcomes: Result<Vec<Outcome>, Problem> =
            actions.into_iter().map(|action| self.act(&who, action)).collect();
        Self::answer(&heard, &outcomes?, rng)
    }

    /// # Errors
    /// [`Problem`] if the storage fails. What was asked before it is done, and can be asked again.
    fn act(&mut self, who: &Who, action: Action) -> Result<Outcome, Problem> {
        if !self.record.lets(self.record.standing(who), &action) {
            return Ok(Outcome::Refused(Refusal::NotAllowed));
        }
        let done = match action {
            Action::Show => return Ok(Outcome::Account(self.show(who))),
            Action::ReadHead => return Ok(Outcome::Head(self.read_head()?)),
            Action::ListPast => {
                return Ok(Outcome::Past(self.current().into_iter().chain(self.past().copied()).collect()));
            }
            Action::ReadPast(mark) => return Ok(Outcome::Head(self.read_past(&mark)?)),
            Action::Stage(staged) => self.stage(*staged),
            Action::Commit(id, epoch) => self.commit(&id, epoch.unwrap_or(Epoch::NONE)),
            Action::Drop(id) => self.drop_enrolment(who, &id),
            Action::Refund(tries) => self.refund(&tries),
            Action::Clear => {
                self.record.tries.clear();
                Ok(())
            }
            Action::Add(credential) => match self.add(credential) {
                Ok(number) => return Ok(Outcome::Added(number)),
                Err(refusal) => Err(refusal),
            },
            Action::Revoke(number) => self.revoke(number),
            Action::Promise(epoch) if epoch < self.record.promised => Err(Refusal::Superseded),
            Action::Promise(epoch) if self.leaps(who, &epoch) => Err(Refusal::OutOfOrder),
            Action::Promise(epoch) => {
                self.record.promised = epoch;
                return Ok(Outcome::Promised(self.record.book));
            }
            Action::WriteHead(head) if self.leaps(who, &head.mark.epoch) => Err(Refusal::OutOfOrder),
            Action::WriteHead(head) => self.write_head(head),
            Action::Ticket(Some(epoch)) if epoch != self.record.promised => Err(Refusal::Superseded),
            Action::Ticket(epoch) => {
                return Ok(self.ticket(if epoch.is_some() { Right::Release } else { Right::Retrieve }));
            }
            Action::OwnerTicket => return Ok(self.ticket(Right::Owner)),
            _ => Err(Refusal::Malformed),
        };
        Ok(done.map_or_else(Outcome::Refused, |()| Outcome::Done))
    }

    /// Whether a wallet counts turns so far ahead that none would be left for its owner soon.
    fn leaps(&self, who: &Who, epoch: &Epoch) -> bool {
        let promised = self.record.promised;
        let far = epoch.counter.saturating_sub(promised.counter) > MAX_TURNS_AT_ONCE;
        far && promised != Epoch::NONE && self.record.standing(who) != Standing::Owner
    }

    fn ticket(&self, right: Right) -> Outcome {
        let ticket = Ticket::write(self.secret, &self.account, right, self.now.saturating_add(TICKET_SPAN));
        Outcome::Ticket(Bytes(ticket.to_bytes().to_vec()))
    }

    fn show(&self, who: &Who) -> Account {
        let record = &self.record;
        let id = |enrolment: &Option<Staged>| enrolment.as_ref().map(|one| one.id);
        let wrap = match who {
            Who::Passphrase(id, ..) => record.any(id).map(|enrolment| enrolment.wrap.clone()),
            _ => None,
        };
        Account {
            staged: id(&record.staged),
            current: id(&record.current),
            previous: id(&record.previous),
            wrap,
            tries: record.tries.iter().map(|one| (one.id, one.at)).collect(),
            credentials: record.credentials.iter().map(Kept::listed).collect(),
            promised: record.promised,
            book: record.book,
            generation: record.current.as_ref().map_or(0, |current| current.generation),
        }
    }

    fn read_head(&self) -> Result<Option<Head>, Problem> {
        let Some(mark) = self.record.book else { return Ok(None) };
        let stored = match &self.heads.put {
            Some(written) => Some(written.clone()),
            None => self.shelf.newest()?,
        };
        Ok(stored.map(|sealed| Head { mark, sealed: sealed.into() }))
    }

    fn read_past(&self, mark: &Mark) -> Result<Option<Head>, Problem> {
        if self.record.book == Some(*mark) {
            return self.read_head();
        }
        let Some(Past { mark, .. }) = self.past().find(|past| past.mark == *mark).copied() else { return Ok(None) };
        // What this very question has shelved is still in its old place.
        let moved = self.heads.keep == Some(mark.digest);
        let stored = if moved { self.shelf.newest()? } else { self.shelf.past(&mark.digest)? };
        Ok(stored.map(|sealed| Head { mark, sealed: sealed.into() }))
    }

    /// The head that is there.
    fn current(&self) -> Option<Past> {
        self.record.book.map(|mark| Past { mark, from: self.record.written.unwrap_or(0), until: self.now })
    }

    /// The heads of the last days.
    fn past(&self) -> impl Iterator<Item = &Past> {
        let turn = self.record.book.map_or(Epoch::NONE, |mark| mark.epoch);
        kept(&self.record.past, turn, self.now)
    }

    /// The head that is there makes room for one of this turn.
    fn shelve(&mut self, turn: Epoch) {
        let now = self.now;
        // What was written by this very question nobody has seen.
        let replaced = self.current().filter(|_| self.heads.put.is_none());
        let record = &mut self.record;
        let all: Vec<Past> = replaced.into_iter().chain(record.past.drain(..)).collect();
        record.past = kept(&all, turn, now).copied().collect();
        let stays = |past: &Past| record.past.iter().any(|kept| kept.mark.digest == past.mark.digest);
        self.heads.keep = self.heads.keep.or(replaced.filter(stays).map(|past| past.mark.digest));
        self.heads.forget.extend(all.iter().filter(|past| !stays(past)).map(|past| past.mark.digest));
    }

    fn stage(&mut self, staged: Staged) -> Result<(), Refusal> {
        let form = staged.slot.len() == SLOT_LEN && staged.wrap.len() == WRAP_LEN;
        if !form || commitment(&staged.share).is_err() {
            return Err(Refusal::Malformed);
        }
        let record = &mut self.record;
        match &record.current {
            // A retry that comes after the commit.
            Some(current) if current.id == staged.id => Ok(()),
            Some(current) if staged.generation <= current.generation => Err(Refusal::OutOfOrder),
            _ => {
                record.staged = Some(staged);
                Ok(())
            }
        }
    }

    fn commit(&mut self, id: &EnrolmentId, epoch: Epoch) -> Result<(), Refusal> {
        let record = &mut self.record;
        if record.is_current(id) {
            return Ok(());
        }
        // Another device has the turn, and may have staged here what is to be in force.
        if epoch < record.promised {
            return Err(Refusal::Superseded);
        }
        let staged = record.staged.take_if(|staged| staged.id == *id).ok_or(Refusal::Unknown)?;
        record.previous = record.current.replace(staged);
        record.unused = None;
        Ok(())
    }

    fn drop_enrolment(&mut self, who: &Who, id: &EnrolmentId) -> Result<(), Refusal> {
        let record = &mut self.record;
        if record.is_current(id) {
            // Its owner leaves this safe, by the very passphrase of what he gives up. Tries stay counted.
            if !matches!(who, Who::Passphrase(own, ..) if own == id) {
                return Err(Refusal::NotAllowed);
            }
            (record.staged, record.current, record.previous, record.book) = (None, None, None, None);
            self.heads.forget.extend(record.past.drain(..).map(|past| past.mark.digest));
            return Ok(());
        }
        record.staged.take_if(|staged| staged.id == *id);
        record.previous.take_if(|previous| previous.id == *id);
        Ok(())
    }

    /// Only those that the owner names: whoever guessed in between does not know them.
    fn refund(&mut self, tries: &[GuessId]) -> Result<(), Refusal> {
        self.record.tries.retain(|one| !tries.contains(&one.id));
        Ok(())
    }

    fn add(&mut self, new: NewCredential) -> Result<u32, Refusal> {
        let record = &mut self.record;
        let wrapped = new.wrap.as_ref().is_none_or(|wrap| wrap.len() == WRAP_LEN) && new.note.len() <= MAX_NOTE_LEN;
        if let Some(kept) = record.credentials.iter_mut().find(|kept| kept.credential.key.same_as(&new.key)) {
            let same = (kept.credential.kind, &kept.credential.locator) == (new.kind, &new.locator);
            // A device is of one enrolment: after another one its owner gives it anew, and it stays the same credential.
            if new.kind == CredentialKind::Device && same {
                kept.credential = if wrapped { new } else { return Err(Refusal::Malformed) };
            }
            return Ok(kept.number);
        }
        // A device is found by its locator, and nothing else is.
        let located = new.locator.is_some() == (new.kind == CredentialKind::Device)
            && record.credentials.iter().all(|kept| new.locator.is_none() || kept.credential.locator != new.locator);
        let kits = record.credentials.iter().filter(|kept| kept.credential.kind == CredentialKind::Kit).count();
        let room = record.credentials.len() < MAX_CREDENTIALS && (new.kind != CredentialKind::Kit || kits < MAX_KITS);
        if !room || !wrapped || !located {
            return Err(Refusal::Malformed);
        }
        Ok(record.add(new, self.now))
    }

    fn revoke(&mut self, number: u32) -> Result<(), Refusal> {
        let record = &mut self.record;
        if number == 0 || number > record.next {
            return Err(Refusal::Unknown);
        }
        record.credentials.retain(|kept| kept.number != number);
        record.tries.retain(|one| one.credential != Some(number));
        Ok(())
    }

    fn write_head(&mut self, head: Head) -> Result<(), Refusal> {
        let Head { mark, sealed } = head;
        if sealed.is_empty() || sealed.len() > MAX_HEAD_LEN || blake3(&sealed) != *mark.digest {
            return Err(Refusal::Malformed);
        }
        let record = &mut self.record;
        if mark.epoch < record.promised {
            return Err(Refusal::Superseded);
        }
        if let Some(book) = &record.book {
            if *book == mark {
                return Ok(());
            }
            // Within one turn, one after the other; whose turn begins writes anew the newest of what all safes have.
            let next = mark.sequence.checked_sub(1) == Some(book.sequence);
            let follows = mark.sequence > book.sequence && (!next || mark.before == book.digest);
            if mark.epoch == book.epoch && !follows {
                return Err(Refusal::OutOfOrder);
            }
        }
        record.promised = mark.epoch;
        self.shelve(mark.epoch);
        self.record.book = Some(mark);
        self.record.written = Some(self.now);
        self.heads.put = Some(sealed.0);
        Ok(())
    }
}

/// What somebody is to an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// Its owner, by the passphrase in force or a device of his own.
    Owner,
    /// A wallet that is enrolled, by its number. It may be somebody else's by now, unlocked: it keeps the book, and neither locks its owner out nor lets anybody in.
    Wallet(u32),
    /// By the passphrase before: its change is under way. Everything still comes back by it, and nothing of what is in force by now can be undone.
    Former,
    /// By a passphrase that is only being tried.
    Trial,
}

impl OwnerRecord {
    /// Adds a credential under the next number.
    fn add(&mut self, credential: NewCredential, now: Seconds) -> u32 {
        self.next = self.next.saturating_add(1);
        self.credentials.push(Kept { number: self.next, added: now, credential });
        self.next
    }

    /// Whoever opened it was here.
    fn touch(&mut self, now: Seconds) {
        self.unused = self.unused.map(|_| now);
    }

    /// Whether it waits no longer for whoever opened it.
    fn is_abandoned(&self, now: Seconds) -> bool {
        let span = if self.book.is_some() { UNUSED_BOOK_SPAN } else { UNUSED_SPAN };
        self.unused.is_some_and(|last| last.saturating_add(span) <= now)
    }

    /// Remembers the row that is about to be written; [`Reply::Idle`] if there is one to be freed first.
    fn reserve(&mut self, token: TokenId, now: Seconds, attempt: AttemptId) -> Reply {
        let other = |reserved: &&mut Reserved| reserved.token != token || reserved.given_up;
        if let Some(reserved) = self.reserved.iter_mut().find(other) {
            reserved.given_up = true;
            return Reply::Idle(reserved.token, reserved.attempt);
        }
        if self.charge != Some(token) {
            self.reserved = vec![Reserved { token, given_up: false, since: now, attempt }];
        }
        Reply::Done
    }

    /// Whether the row of this token stays; [`Reply::Idle`] if it is to be freed.
    fn is_charged(&mut self, token: TokenId, now: Seconds, attempt: AttemptId) -> Reply {
        if self.next > 0 && self.charge == Some(token) {
            return Reply::Done;
        }
        self.reserved.retain(|reserved| reserved.token != token);
        if self.reserved.len() < MAX_RESERVED {
            self.reserved.push(Reserved { token, given_up: true, since: now, attempt });
        }
        Reply::Idle(token, attempt)
    }

    /// Nothing stays of whoever opened it; strangers' tries stay counted, no number is given twice, and the token that it was charged to has its row.
    fn empty(&mut self) {
        let Self { charge, reserved, next, used, fetched, .. } = self;
        let (charge, reserved) = (charge.take(), std::mem::take(reserved));
        let (next, used, fetched) = (*next, std::mem::take(used), fetched.take());
        let mut tries = std::mem::take(&mut self.tries);
        tries.retain(|one| one.credential.is_none());
        *self = Self { charge, reserved, next, used, fetched, tries, ..Self::default() };
    }

    fn all(&self) -> impl Iterator<Item = &Staged> {
        [&self.current, &self.previous, &self.staged].into_iter().flatten()
    }

    fn any(&self, id: &EnrolmentId) -> Option<&Staged> {
        self.all().find(|enrolment| enrolment.id == *id)
    }

    fn in_force(&self, id: &EnrolmentId) -> Option<&Staged> {
        [&self.current, &self.previous].into_iter().flatten().find(|enrolment| enrolment.id == *id)
    }

    fn is_current(&self, id: &EnrolmentId) -> bool {
        self.current.as_ref().is_some_and(|current| current.id == *id)
    }

    fn standing(&self, who: &Who) -> Standing {
        match who {
            Who::Passphrase(id, ..) if self.is_current(id) => Standing::Owner,
            Who::Passphrase(id, ..) if self.in_force(id).is_some() => Standing::Former,
            Who::Credential(number) => {
                let kind = |kept: &&Kept| kept.number == *number && kept.credential.kind == CredentialKind::Device;
                if self.credentials.iter().any(|kept| kind(&kept)) {
                    Standing::Owner
                } else {
                    Standing::Wallet(*number)
                }
            }
            Who::Device(_) => Standing::Owner,
            _ => Standing::Trial,
        }
    }

    /// Whether somebody of this standing may do that.
    fn lets(&self, standing: Standing, action: &Action) -> bool {
        match (standing, action) {
            (_, Action::Show) | (Standing::Owner, _) => true,
            (Standing::Trial, _) => false,
            // It was so before: an answer may have been lost.
            (_, Action::Commit(id, _)) if self.is_current(id) => true,
            (Standing::Wallet(_), Action::Stage(staged)) if self.is_current(&staged.id) => true,
            (_, Action::ReadHead | Action::Refund(_) | Action::Ticket(None)) => true,
            (Standing::Wallet(_), Action::Promise(_) | Action::WriteHead(_) | Action::Ticket(_)) => true,
            (Standing::Wallet(_), Action::Stage(_) | Action::Commit(..) | Action::Drop(_)) => self.current.is_none(),
            (Standing::Wallet(own), Action::Revoke(number)) => own == *number,
            _ => false,
        }
    }

    fn has_answered(&self, enrolment: &EnrolmentId, blinded: &ByteArray<32>) -> bool {
        self.tries.iter().any(|one| one.enrolment == *enrolment && one.blinded == *blinded)
    }

    fn credential(&self, which: impl Fn(&Kept) -> bool) -> Option<(Secret, [u8; 32])> {
        self.credentials.iter().find(|kept| which(kept)).map(|kept| (kept.credential.key.clone(), [0; 32]))
    }

    /// The key and digest of whoever asks.
    fn proof_of(&self, who: &Who) -> Option<(Secret, [u8; 32])> {
        match who {
            Who::Passphrase(id, ..) => self.any(id).map(|one| (one.key.clone(), *one.digest)),
            // A kit is no owner without the passphrase.
            Who::Credential(number) => {
                self.credential(|kept| kept.number == *number && kept.credential.kind != CredentialKind::Kit)
            }
            Who::Device(locator) => self.credential(|kept| kept.credential.locator.as_ref() == Some(locator)),
            _ => None,
        }
    }
}
