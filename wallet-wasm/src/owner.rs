//! The owner's side of `spec/owner.md`: what the wallet remembers of its enrolment, what it has to say to each safe next, and what their answers mean.
//!
//! Pure, and journalled like everything else: an enrolment is made once, from one seed, and kept sealed until every safe has it; then what came of the passphrase is
//! forgotten. Each safe is led through the same steps by itself:
//!
//! ```text
//! Named ─open─▶ Opened ─stage─▶ Staged ─evaluate─▶ Shared ─show─▶ Proven ─(all are)─commit─▶ Committed ─promise, write─▶ has the head of the book
//! ```
//!
//! *Shared* and *Proven* are the trial: the safe's answer holds against its commitment, and what it returns opens to the owner's root.

use minicbor::{Decode, Encode, bytes::ByteArray};
use protocol::{
    book::KnownSafe,
    codec::{self, Bytes},
    crypto::{
        CryptoError, Secret, blake3,
        oprf::{Blinded, Evaluation},
    },
    ids::{BackupId, DeviceId, GuessId, SafeId, Seconds},
    owner::{
        book::{Announced, HeadContent, Left},
        enrolment::{Enrolment, Made, OwnerRoot, Staged, Stretched},
        kit::Printed,
        login::{ChannelKey, Counter, LoginError, Recognised},
        messages::{
            Account, Action, Address, Answering, CredentialKind, Epoch, Evaluated, Guess, Head, Look, MAX_ANSWER_LEN,
            MAX_CREDENTIALS, MAX_LOOK_LEN, Mark, NewCredential, Opening, Outcome, Proof, Question, Refusal, Topic, Who,
        },
        name::NameKey,
        note::{CredentialId, Note, credential_id},
        ticket::{Right, Ticket},
    },
    problem::Problem,
    register,
};
use rand_core::CryptoRng;

use crate::{
    book::Said,
    changing::{self, Changing, OldKey, Renewing, Step},
    exchange::{Answer, Meaning, Request, base, refusal},
    machine::{Event, WalletError},
    session::Contact,
    state::State,
};

/// How far above what is in force a change may be that is announced.
pub(crate) const MAX_LEAP: u32 = 1 << 16;
/// How far above the newest head, and above what more safes have promised than may lie, a safe's word about a turn is believed: honest ones let a wallet take one that is 1,024 above
/// theirs, and no more.
pub(crate) const MAX_AHEAD: u32 = 1_023;
/// No book has as many changes: one a millisecond for 8,900 years.
const MAX_SEQUENCE: u64 = 1 << 48;

/// So often a safe may have forgotten what it had taken, before it is not asked any more: one that was set back does so once.
pub(crate) const MAX_BACK: u8 = 3;

/// How far an enrolment has come at one safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Reached {
    /// Nothing is there.
    #[n(0)]
    Named,
    /// The account is open.
    #[n(1)]
    Opened,
    /// The enrolment is staged.
    #[n(2)]
    Staged,
    /// Its share answers as committed.
    #[n(3)]
    Shared,
    /// It returns the owner's root.
    #[n(4)]
    Proven,
    /// The enrolment is in force.
    #[n(5)]
    Committed,
}

/// One of the owner's safes.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Seat {
    /// The safe.
    #[n(0)]
    pub safe: SafeId,
    /// Number of this wallet's credential there.
    #[n(1)]
    pub number: Option<u32>,
    /// How far the enrolment has come.
    #[n(2)]
    pub reached: Reached,
    /// It lets nobody else write in this wallet's epoch.
    #[n(3)]
    pub promised: bool,
    /// The newest head that it has.
    #[n(4)]
    pub written: u64,
    /// It says that another device has the turn.
    #[n(5)]
    #[cbor(default)]
    pub turned: bool,
    /// Since then: the generation of the enrolment that is in force there.
    #[n(6)]
    pub generation: Option<u32>,
    /// How often it had forgotten what it had taken while the owner enrolled.
    #[n(7)]
    #[cbor(default)]
    pub back: u8,
    /// Since another device has the turn there: which one that is.
    #[n(8)]
    pub heard: Option<Epoch>,
    /// Of one that was left: this device knows that the safe has heard so.
    #[n(9)]
    #[cbor(default)]
    pub left: bool,
}

impl Seat {
    /// Its owner has come back: whoever has the turn there says so anew.
    pub(crate) const fn ask_again(&mut self) {
        (self.turned, self.generation, self.heard) = (false, None, None);
    }

    /// A safe that has nothing yet.
    pub const fn new(safe: SafeId) -> Self {
        Self {
            safe,
            number: None,
            reached: Reached::Named,
            promised: false,
            written: 0,
            turned: false,
            generation: None,
            back: 0,
            heard: None,
            left: false,
        }
    }
}

/// What a safe is given.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Given {
    /// The safe.
    #[n(0)]
    pub safe: SafeId,
    /// What it gets.
    #[n(1)]
    pub staged: Staged,
    /// Lets this wallet try it there.
    #[n(2)]
    pub staging: Secret,
}

/// An enrolment that is not in force at all safes yet.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Making {
    /// The statement.
    #[n(0)]
    pub statement: Bytes,
    /// The owner's root.
    #[n(1)]
    pub root: Secret,
    /// What the passphrase has become: for the trial. It goes with the rest of this.
    #[n(2)]
    pub stretched: Secret,
    /// What each safe is given.
    #[n(3)]
    pub given: Vec<Given>,
}

impl Making {
    /// Of a finished enrolment.
    pub fn of(made: &Made, stretched: Secret) -> Self {
        let given = made.staged.iter().map(|(safe, staged)| Given {
            safe: *safe,
            staged: staged.clone(),
            staging: made.staging_at(safe),
        });
        Self {
            statement: made.statement.clone().into(),
            root: made.root.expose().clone(),
            stretched,
            given: given.collect(),
        }
    }

    fn given(&self, safe: &SafeId) -> Result<&Given, WalletError> {
        self.given.iter().find(|given| given.safe == *safe).ok_or(WalletError::Unknown("safe"))
    }
}

/// What the wallet remembers of its owner.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Owner {
    /// The recovery name.
    #[n(0)]
    pub name: String,
    /// The stretched name.
    #[n(1)]
    pub name_key: Secret,
    /// This wallet's credential: its key at a safe follows from it.
    #[n(2)]
    pub credential: Secret,
    /// How many safes must answer.
    #[n(3)]
    pub threshold: u8,
    /// The safes.
    #[n(4)]
    pub seats: Vec<Seat>,
    /// The enrolment that is under way.
    #[n(5)]
    pub making: Option<Making>,
    /// The owner's root, of the enrolment in force.
    #[n(6)]
    pub root: Option<Secret>,
    /// This wallet's turn to write the book.
    #[n(7)]
    pub epoch: Epoch,
    /// The newest head.
    #[n(8)]
    pub head: Option<Head>,
    /// BLAKE3 of what the newest head says.
    #[n(9)]
    pub content: Option<ByteArray<32>>,
    /// Another device writes the book by now.
    #[n(10)]
    pub superseded: bool,
    /// Backups that the newest head has no room for.
    #[n(11)]
    pub left_out: u32,
    /// Where the book stood when this device came back: its own heads follow that one.
    #[n(12)]
    pub base: Option<Mark>,
    /// Length of what the newest head is to say of backups that stand in no chapter, bytes.
    #[n(13)]
    #[cbor(default)]
    pub loose: u64,
    /// Backups that a chapter names and that are no more.
    #[n(14)]
    #[cbor(default)]
    pub gone: Vec<BackupId>,
    /// Generation of the enrolment in force.
    #[n(15)]
    #[cbor(default)]
    pub generation: u32,
    /// The enrolment that is to take its place.
    #[n(16)]
    pub changing: Option<Changing>,
    /// Safes of the enrolment before that have not heard yet that their owner has left them.
    #[n(17)]
    #[cbor(default)]
    pub leaving: Vec<OldKey>,
    /// Seats of enrolments before, at safes that are not in this one: what is bound to the owner may still be there.
    #[n(18)]
    #[cbor(default)]
    pub former: Vec<Seat>,
    /// When the root was last changed.
    #[n(19)]
    pub changed: Option<Seconds>,
    /// What the root before has told of is to be protected anew.
    #[n(20)]
    pub renewing: Option<Renewing>,
    /// What the owner calls this device.
    #[n(21)]
    #[cbor(default)]
    pub label: String,
    /// The kit that was printed last.
    #[n(22)]
    pub kit: Option<Printed>,
    /// A change that another device has announced, and that is not over: its enrolment may be in force where this wallet does not write.
    #[n(23)]
    pub announced: Option<Announced>,
    /// What the head by which this device came back says of values that live once and were on another device still.
    #[n(24)]
    #[cbor(default)]
    pub held: Vec<BackupId>,
    /// Safes that were left, on whichever device.
    #[n(25)]
    #[cbor(default)]
    pub left: Vec<Left>,
}

/// What is said to a safe next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Errand {
    /// Open the account.
    Open,
    /// Give it its part of the enrolment.
    Stage,
    /// See that its share answers.
    Evaluate,
    /// See that it returns the root.
    Show,
    /// Put the enrolment in force.
    Commit,
    /// Have it promise this wallet's epoch.
    Promise,
    /// Write the head of the book.
    Write,
    /// Get a ticket for what is bound to the owner.
    Ticket(Right),
    /// What is due at this step of a change.
    Change(Step),
    /// Have it forget what it kept of the enrolment before.
    Leave,
    /// Ask which enrolment is in force, after another device has taken the turn.
    Ask,
    /// Ask for the number of the credential that all devices share at a safe that was left.
    Return,
}

impl Errand {
    /// Whether it is one of the first enrolment.
    const fn enrols(self) -> bool {
        matches!(self, Self::Open | Self::Stage | Self::Evaluate | Self::Show | Self::Commit)
    }
}

impl Owner {
    /// A wallet's key at a safe.
    pub fn own_key_at(&self, safe: &SafeId) -> Secret {
        Counter::Wallet(self.credential.clone()).key_at(safe)
    }

    /// The key by which this wallet is known at a safe, or is to be: its own, or the one that all devices share where it was left.
    pub fn key_at(&self, safe: &SafeId) -> Secret {
        self.shared(safe).map_or_else(|| self.own_key_at(safe), |left| left.key.clone())
    }

    /// What this wallet's credential is called at all safes.
    pub fn credential_id(&self) -> CredentialId {
        credential_id(&self.credential)
    }

    /// The note beside this wallet's credential at a safe.
    ///
    /// # Errors
    /// [`CryptoError`] never; the type is that of sealing.
    pub fn note_at<R: CryptoRng>(&self, safe: &SafeId, rng: &mut R) -> Result<Vec<u8>, CryptoError> {
        Note::new(self.credential_id(), &self.label).seal(&NameKey::new(self.name_key.clone()), safe, rng)
    }

    /// This wallet's credential at a safe, to be added there.
    ///
    /// # Errors
    /// [`CryptoError`] never; the type is that of sealing.
    pub fn own_credential<R: CryptoRng>(&self, safe: &SafeId, rng: &mut R) -> Result<NewCredential, CryptoError> {
        let (kind, key) = (CredentialKind::Wallet, self.own_key_at(safe));
        Ok(NewCredential { kind, key, note: self.note_at(safe, rng)?.into(), wrap: None, locator: None })
    }

    /// The credential that all devices share at a safe that was left.
    ///
    /// # Errors
    /// [`CryptoError`] never; the type is that of sealing.
    pub fn shared_at<R: CryptoRng>(&self, safe: &SafeId, rng: &mut R) -> Result<Option<NewCredential>, CryptoError> {
        let Some(Left { key, .. }) = self.left_at(safe) else { return Ok(None) };
        let name = NameKey::new(self.name_key.clone());
        let note = Note::new(credential_id(key), "").seal(&name, safe, rng)?.into();
        Ok(Some(NewCredential { kind: CredentialKind::Wallet, key: key.clone(), note, wrap: None, locator: None }))
    }

    /// The seat of a safe.
    pub fn seat(&self, safe: &SafeId) -> Option<&Seat> {
        self.seats.iter().find(|seat| seat.safe == *safe)
    }

    /// How many safes must have a head before it counts: [`changing::quorum`].
    pub fn quorum(&self) -> usize {
        changing::quorum(self.seats.len(), self.threshold)
    }

    /// How many safes have promised this wallet's turn, at which nothing newer was found.
    pub fn promised(&self) -> usize {
        self.seats.iter().filter(|seat| seat.promised).count()
    }

    /// How many safes have the newest head.
    pub fn written(&self) -> usize {
        let Some(head) = &self.head else { return 0 };
        self.seats.iter().filter(|seat| seat.written >= head.mark.sequence).count()
    }

    /// Whether the enrolment is in force, and this wallet writes the book.
    pub const fn writes(&self) -> bool {
        self.making.is_none() && self.root.is_some() && !self.superseded
    }

    /// Whether what this wallet has may be missing in the book at the safes: nothing is let go as long as that is so.
    pub fn is_behind(&self) -> bool {
        let short = self.left_out > 0 || self.written() < self.quorum();
        self.superseded || self.is_split() || (self.writes() && self.head.is_some() && short)
    }

    /// Whether no safe knows this device: it sees what there is, and changes nothing.
    pub fn only_reads(&self) -> bool {
        self.root.is_some() && self.seats.iter().all(|seat| seat.number.is_none())
    }

    /// What is said to a safe next.
    pub fn next(&self, seat: &Seat) -> Option<Errand> {
        if self.making.is_some() {
            return match seat.reached {
                Reached::Named => Some(Errand::Open),
                Reached::Opened => Some(Errand::Stage),
                Reached::Staged => Some(Errand::Evaluate),
                Reached::Shared => Some(Errand::Show),
                Reached::Proven if self.seats.iter().all(|one| one.reached >= Reached::Proven) => Some(Errand::Commit),
                _ => None,
            };
        }
        if seat.turned && seat.number.is_some() && seat.generation.is_none() {
            return Some(Errand::Ask);
        }
        let head = self.head.as_ref().filter(|_| self.writes())?;
        let turn = self.promised() >= self.quorum();
        match seat {
            // It was away when this device came back, and does not know it.
            seat if self.number_at(&seat.safe).is_none() || seat.turned => None,
            seat if !seat.promised => Some(Errand::Promise),
            seat if turn && seat.written < head.mark.sequence => Some(Errand::Write),
            _ => None,
        }
    }

    /// Makes the next head if what it says has changed. `None`: it has not.
    ///
    /// # Errors
    /// [`CryptoError`] never; the type is that of sealing.
    pub fn advance<R: CryptoRng>(&self, said: Said, rng: &mut R) -> Result<Option<Self>, CryptoError> {
        let Said { content, loose } = said;
        let Some(root) = self.root.as_ref().filter(|_| self.writes()) else { return Ok(None) };
        let digest = blake3(&codec::encode(&content));
        let known = self.head.as_ref().filter(|head| head.mark.epoch == self.epoch);
        if known.is_some() && self.content.is_some_and(|content| *content == digest) {
            return Ok(None);
        }
        let following = |head: &Head| {
            // Whoever had a turn before may have counted to the end of it. In another turn it may begin anew.
            let sequence = if head.mark.sequence < MAX_SEQUENCE { head.mark.sequence + 1 } else { 1 };
            (sequence, *head.mark.digest)
        };
        let (sequence, before) = self.head.as_ref().map_or((1, [0; 32]), following);
        let head = content.seal(&OwnerRoot::new(root.clone()), self.epoch, sequence, before, rng)?;
        let HeadContent { left_out, gone, .. } = content;
        let (head, content) = (Some(head), Some(digest.into()));
        Ok(Some(Self { head, content, left_out, loose, gone, ..self.clone() }))
    }
}

// ---- what is said to a safe -----------------------------------------------------------------------------------------

/// What a safe says that has no credential of this device, or none any more.
const STRANGER: &str = "does not know you on this device; come back there with your recovery name";

/// Why a safe cannot be spoken to as its owner: a phrase that follows its name.
pub fn stranger(state: &State, safe: &SafeId) -> Option<String> {
    let number = state.owner.as_ref().and_then(|owner| owner.number_at(safe));
    number.is_none().then(|| STRANGER.to_owned())
}

/// Why a safe gives this device no ticket, and what follows from that; `None`: it may give one.
pub fn barred(state: &State, safe: &SafeId, errand: Errand) -> Option<Meaning> {
    let Errand::Ticket(right) = errand else { return None };
    let why = stranger(state, safe)?;
    if state.owner.as_ref().is_some_and(|owner| owner.shared(safe).is_some()) {
        return Some(Meaning::Later(Contact::Reachable, "is asked first by what it knows you".to_owned()));
    }
    // Whoever has come back after it was left is known there no more, and need not come back there.
    let left = state.owner.as_ref().is_some_and(|owner| owner.root.is_some() && owner.seat(safe).is_none());
    Some(if left && right == Right::Release {
        Meaning::Event(Box::new(Event::LeftBehind(*safe)))
    } else {
        Meaning::Refused(why)
    })
}

/// The request for a look at the owner's account.
///
/// # Errors
/// [`WalletError`] if there is no such safe.
pub fn look_request(url: &str, name_key: &Secret, safe: &SafeId) -> Request {
    let account = NameKey::new(name_key.clone()).account(safe);
    Request {
        safe: *safe,
        method: "GET",
        url: format!("{}/v1/owners/{account}", base(url)),
        statement: None,
        token: None,
        content_type: "",
        body: None,
        most: MAX_LOOK_LEN as u64,
    }
}

/// What an answer to a look means.
///
/// # Errors
/// [`Meaning`] to act on, if it is none.
pub fn read_look(answer: Option<Answer>) -> Result<Look, Meaning> {
    let Some(answer) = answer else { return Err(Meaning::Later(Contact::Away, "does not answer".to_owned())) };
    if let Some((uri, time)) = &answer.problem {
        return Err(refusal(uri, *time));
    }
    Look::parse(&answer.body)
        .map_err(|_| Meaning::Later(Contact::NotItself, "shows an account as no safe would".to_owned()))
}

/// Whether an errand is still to be done once a safe has been looked at: another window may have done it meanwhile.
pub fn is_due(state: &State, safe: &SafeId, errand: Errand) -> bool {
    let due = |owner: &Owner| owner.errands().contains(&(*safe, errand));
    matches!(errand, Errand::Ticket(_)) || state.owner.as_ref().is_some_and(due)
}

/// A question that was asked, until its answer is there.
#[derive(Debug)]
pub struct Asked {
    answering: Answering,
    trial: Option<Blinded>,
    /// Whose turn it was when it was asked.
    epoch: Epoch,
    mark: Option<Mark>,
}

/// The question for an errand.
///
/// # Errors
/// [`WalletError`] if the state has moved on and there is nothing to ask any more, or the safe has no key to seal to now.
pub fn question<R: CryptoRng>(
    state: &State,
    safe: &SafeId,
    errand: Errand,
    look: &Look,
    rng: &mut R,
) -> Result<(Request, Asked), WalletError> {
    question_by(state, safe, errand, look, None, rng)
}

/// The same where its owner is here, recognised by passphrase or passkey: in that channel, a device that only reads and has no credential asks for its tickets, and every other for
/// those with which something is taken back.
///
/// # Errors
/// [`WalletError`], as above.
pub fn question_by<R: CryptoRng>(
    state: &State,
    safe: &SafeId,
    errand: Errand,
    look: &Look,
    visitor: Option<&ChannelKey>,
    rng: &mut R,
) -> Result<(Request, Asked), WalletError> {
    let owner = state.owner.as_ref().ok_or(WalletError::Unknown("owner"))?;
    let known = state.safes.get(safe).ok_or(WalletError::Unknown("safe"))?;
    let given = || owner.making.as_ref().ok_or(WalletError::Unknown("enrolment"))?.given(safe);
    let wallet = || {
        let number = owner.number_at(safe).ok_or(WalletError::Unknown("credential"))?;
        Ok::<_, WalletError>(ChannelKey::of_credential(number, owner.key_at(safe)))
    };
    let mut trial = None;
    let (topic, plain, channel) = match errand {
        Errand::Change(_) | Errand::Leave | Errand::Ask => {
            let asking = changing::ask(owner, safe, errand, rng)?;
            trial = asking.trial;
            (asking.topic, asking.plain, asking.channel)
        }
        Errand::Open => {
            let opening = Opening { key: owner.key_at(safe), note: owner.note_at(safe, rng)?.into() };
            (Topic::Open, codec::encode(&opening), None)
        }
        Errand::Return => {
            let shared = owner.shared_at(safe, rng)?.ok_or(WalletError::Unknown("credential"))?;
            (Topic::Open, codec::encode(&Opening { key: shared.key, note: shared.note }), None)
        }
        Errand::Evaluate => {
            let given = given()?;
            let (blinded, element) = Blinded::start(b"trial", rng)?;
            trial = Some(blinded);
            let (id, staging) = (GuessId::make_random(rng), Some(given.staging.clone()));
            let guess = Guess { id, enrolment: given.staged.id, blinded: element.into(), staging, credential: None };
            (Topic::Evaluate, codec::encode(&guess), None)
        }
        Errand::Stage => {
            let action = Action::Stage(Box::new(given()?.staged.clone()));
            (Topic::Channel, codec::encode(&vec![action]), Some(wallet()?))
        }
        Errand::Commit => {
            let action = Action::Commit(given()?.staged.id, Some(owner.epoch));
            (Topic::Channel, codec::encode(&vec![action]), Some(wallet()?))
        }
        Errand::Show => (Topic::Channel, codec::encode(&vec![Action::Show]), None),
        Errand::Promise => (Topic::Channel, codec::encode(&vec![Action::Promise(owner.epoch)]), Some(wallet()?)),
        Errand::Ticket(Right::Owner) => (Topic::Channel, codec::encode(&vec![Action::OwnerTicket]), None),
        Errand::Ticket(right) => {
            let action = Action::Ticket((right == Right::Release).then_some(owner.epoch));
            // Who only reads has no credential.
            let own = if visitor.is_some() && owner.number_at(safe).is_none() { None } else { Some(wallet()?) };
            (Topic::Channel, codec::encode(&vec![action]), own)
        }
        Errand::Write => {
            let head = owner.head.clone().ok_or(WalletError::Unknown("book"))?;
            (Topic::Channel, codec::encode(&vec![Action::WriteHead(head)]), Some(wallet()?))
        }
    };
    let account = NameKey::new(owner.name_key.clone()).account(safe);
    let address = Address { safe, account: &account, topic };
    let identity = state.identity(safe).ok_or(WalletError::Unknown("safe"))??;
    let entry = identity.current(look.time)?;
    // In the trial the owner is known by the passphrase that is staged; any try will do.
    let proof = match (errand, channel.as_ref().or(visitor)) {
        (Errand::Show, _) => {
            let staged = &given()?.staged;
            let who = Who::Passphrase(staged.id, GuessId::make_random(rng), [0; 32].into());
            Some(Proof { who, key: &staged.key, digest: &staged.digest })
        }
        (_, Some(channel)) if topic == Topic::Channel => Some(channel.proof()),
        _ => None,
    };
    let (question, answering) = Question::make(&address, &plain, entry, &look.challenge, proof, rng)?;
    let request = Request {
        safe: *safe,
        method: "POST",
        url: format!("{}/v1/owners/{account}/{}", base(&known.url), topic.label()),
        statement: None,
        token: known.token.clone().filter(|_| topic == Topic::Open),
        content_type: "application/cbor",
        body: Some(codec::encode(&question)),
        most: MAX_ANSWER_LEN as u64,
    };
    let mark = owner.head.as_ref().map(|head| head.mark);
    Ok((request, Asked { answering, trial, epoch: owner.epoch, mark }))
}

/// What the answer means.
pub fn interpret(state: &State, safe: &SafeId, errand: Errand, asked: Asked, answer: Option<Answer>) -> Meaning {
    match (errand, heard(state, safe, errand, asked, answer)) {
        // Not by what its owner has shown; everything else goes on there.
        (Errand::Ticket(Right::Owner), Meaning::Refused(_)) => Meaning::Event(Box::new(Event::NotRestored(*safe))),
        (_, meaning) => meaning,
    }
}

fn heard(state: &State, safe: &SafeId, errand: Errand, asked: Asked, answer: Option<Answer>) -> Meaning {
    let Some(answer) = answer else { return Meaning::Later(Contact::Away, "does not answer".to_owned()) };
    if let Some((uri, time)) = &answer.problem {
        let problem = Problem::from_type_uri(uri);
        let known = refused(state, safe, errand, problem).or_else(|| changing::refused(state, safe, errand, problem));
        let known = known.or_else(|| not_left(state, safe, errand, problem?));
        let revoked = matches!(errand, Errand::Ticket(_)) && problem == Some(Problem::NotOwner);
        let known = known.or_else(|| revoked.then(|| Meaning::Refused(STRANGER.to_owned())));
        return known.unwrap_or_else(|| refusal(uri, *time));
    }
    let stranger = || Meaning::Later(Contact::NotItself, "answers as no safe would that knows its owner".to_owned());
    understand(state, safe, errand, asked, &answer.body).unwrap_or_else(stranger)
}

fn understand(state: &State, safe: &SafeId, errand: Errand, asked: Asked, answer: &[u8]) -> Option<Meaning> {
    let event = |event| Some(Meaning::Event(Box::new(event)));
    let reached = |reached, number| event(Event::OwnerReached(*safe, reached, number));
    let Asked { answering, trial, epoch, mark } = asked;
    let wrong = |what: &str| Some(Meaning::Refused(what.to_owned()));
    if errand.enrols() && state.owner.as_ref()?.making.is_none() {
        // Another window has come to the end of it.
        return reached(Reached::Named, None);
    }
    match errand {
        Errand::Change(_) | Errand::Leave | Errand::Ask => {
            changing::understand(state.owner.as_ref()?, safe, errand, (&answering, trial, epoch), answer)
        }
        Errand::Return => match answering.read(answer).ok()? {
            Outcome::Added(number) => event(Event::OwnerReturns(*safe, Some(number))),
            _ => None,
        },
        Errand::Open => match answering.read(answer).ok()? {
            Outcome::Added(number) => reached(Reached::Opened, Some(number)),
            _ => None,
        },
        Errand::Evaluate => {
            let making = state.owner.as_ref()?.making.as_ref()?;
            let enrolment = Enrolment::parse(&making.statement).ok()?;
            let (_, commitment) = enrolment.seat(safe)?;
            match answering.read(answer).ok()? {
                Evaluated::Done(element, proof, _) => {
                    let evaluation = Evaluation { element: *element, proof: *proof };
                    match trial?.check(&evaluation, commitment) {
                        Ok(()) => reached(Reached::Shared, None),
                        // What stands in is all that one has to show that was set back.
                        Err(_) => forgot(state.owner.as_ref()?, safe, Reached::Opened),
                    }
                }
                // A try of what is staged is not counted: this is what stands in, asked too often by a device that could not store what it heard.
                _ => forgot(state.owner.as_ref()?, safe, Reached::Opened),
            }
        }
        _ => {
            let outcomes: Vec<Outcome> = answering.read(answer).ok()?;
            let [outcome] = <[Outcome; 1]>::try_from(outcomes).ok()?;
            match (errand, outcome) {
                (_, Outcome::Refused(Refusal::Superseded)) => event(Event::OwnerSuperseded(*safe, epoch)),
                (Errand::Stage, Outcome::Done) => reached(Reached::Staged, None),
                (Errand::Commit, Outcome::Done) => reached(Reached::Committed, None),
                (Errand::Commit, Outcome::Refused(Refusal::Unknown)) => {
                    forgot(state.owner.as_ref()?, safe, Reached::Opened)
                }
                (Errand::Show, Outcome::Account(account)) => {
                    let making = state.owner.as_ref()?.making.as_ref()?;
                    let id = Enrolment::parse(&making.statement).ok()?.id;
                    let stretched = Stretched::new(making.stretched.clone());
                    let root = stretched.open_root(&account.wrap?, &id, &making.statement).ok();
                    match root.filter(|root| root.expose().same_as(&making.root)) {
                        Some(_) => reached(Reached::Proven, None),
                        None => wrong("does not return what it was given"),
                    }
                }
                (Errand::Promise, Outcome::Promised(there)) => event(Event::OwnerPromised(*safe, epoch, there)),
                (Errand::Ticket(_), Outcome::Ticket(ticket)) => Ticket::parse(&ticket).ok().map(Meaning::Ticket),
                (Errand::Write, Outcome::Done) => event(Event::OwnerWritten(*safe, epoch, mark?.sequence)),
                (_, Outcome::Refused(_)) => wrong("refuses to keep that for its owner"),
                _ => None,
            }
        }
    }
}

/// What a refusal means to an owner who enrols: the safe was set back, and does not know him any more.
fn refused(state: &State, safe: &SafeId, errand: Errand, problem: Option<Problem>) -> Option<Meaning> {
    let owner = state.owner.as_ref().filter(|owner| owner.making.is_some())?;
    match errand {
        _ if problem != Some(Problem::NotOwner) => None,
        // By what is staged.
        Errand::Show => forgot(owner, safe, Reached::Opened),
        Errand::Stage | Errand::Commit => forgot(owner, safe, Reached::Named),
        _ => None,
    }
}

/// A safe that was left does not know the credential that all devices share: it had no room for it, or was set back. Nobody has a way back there by it.
fn not_left(state: &State, safe: &SafeId, errand: Errand, problem: Problem) -> Option<Meaning> {
    let owner = state.owner.as_ref().filter(|owner| owner.seat(safe).is_none() && owner.left_at(safe).is_some())?;
    let shared = owner.shared(safe).is_some();
    let asked = match errand {
        Errand::Return => Problem::OwnerExists,
        Errand::Ticket(_) | Errand::Promise if shared && owner.changing.is_none() => Problem::NotOwner,
        _ => return None,
    };
    (problem == asked).then(|| Meaning::Event(Box::new(Event::OwnerReturns(*safe, None))))
}

/// A safe has forgotten what it had taken: it gets the same again.
fn forgot(owner: &Owner, safe: &SafeId, to: Reached) -> Option<Meaning> {
    let seat = owner.seat(safe)?;
    if seat.back >= MAX_BACK {
        return Some(Meaning::Refused("forgets again and again what it has taken".to_owned()));
    }
    Some(Meaning::Event(Box::new(Event::OwnerForgot(*safe, seat.reached, to))))
}

// ---- coming back ----------------------------------------------------------------------------------------------------

/// Everything that a device learns that has proven to be the owner's.
#[derive(Debug, Clone)]
pub struct Return {
    /// The recovery name.
    pub name: String,
    /// The stretched name.
    pub name_key: Secret,
    /// The credential that was added for this device.
    pub credential: Secret,
    /// What the owner calls this device.
    pub label: String,
    /// How many safes must answer.
    pub threshold: u8,
    /// Generation of the enrolment.
    pub generation: u32,
    /// The newest head is of the root before this one: its safes have taken over the enrolment, and not the book yet.
    pub bridged: bool,
    /// All safes of the enrolment, with the number of this device's credential where it has one.
    pub seats: Vec<(SafeId, Option<u32>)>,
    /// The owner's root.
    pub root: Secret,
    /// The highest epoch that was seen.
    pub seen: Epoch,
    /// The epoch that this device takes: above all that were seen.
    pub epoch: Epoch,
    /// The newest head, and what it says.
    pub newest: Option<(Head, HeadContent)>,
    /// What a head said that was in force before, if the owner goes back to it.
    pub earlier: Option<HeadContent>,
    /// He wants that alone: what came since may be somebody else's.
    pub exactly: bool,
    /// The safes that answered, for those that the book does not name.
    pub safes: Vec<KnownSafe>,
    /// No safe was given a credential: this device reads, and neither takes a turn nor writes.
    pub reads: bool,
}

/// The newest of the heads that are the owner's. Whoever hands out another one is named.
pub fn newest_of(root: &OwnerRoot, heads: &[(SafeId, Head)]) -> (Option<(Head, HeadContent)>, Vec<SafeId>) {
    let mut best: Option<(Head, HeadContent)> = None;
    let mut wrong = Vec::new();
    for (safe, head) in heads {
        let place = |head: &Head| (head.mark.epoch, head.mark.sequence);
        if best.as_ref().is_some_and(|(known, _)| known.mark == head.mark) {
            continue;
        }
        match HeadContent::open(root, head) {
            Err(_) => wrong.push(*safe),
            Ok(content) if best.as_ref().is_none_or(|(known, _)| place(known) < place(head)) => {
                best = Some((head.clone(), content));
            }
            Ok(_) => {}
        }
    }
    (best, wrong)
}

/// What one safe says to its owner who has just come back.
#[derive(Debug, Clone)]
pub struct Told {
    /// The safe.
    pub safe: KnownSafe,
    /// The account there.
    pub account: Account,
    /// The head of the book there.
    pub head: Option<Head>,
    /// Number of the credential that was added; `None`: none was, for this device only reads, or the passphrase is the one before what is in force there, and lets nobody in.
    pub number: Option<u32>,
}

/// What is done in the first channel of a device that comes back: it sees what is there, takes its own try back, and leaves its credential, with a note. `without`: the credential
/// that makes room for it, where there was none ([`Arrived::Full`]).
pub fn arrival(
    known: &Recognised,
    safe: &SafeId,
    (credential, note): (&Secret, &[u8]),
    without: Option<u32>,
) -> Vec<Action> {
    let key = Counter::Wallet(credential.clone()).key_at(safe);
    let note = Bytes(note.to_vec());
    let new = NewCredential { kind: CredentialKind::Wallet, key, note, wrap: None, locator: None };
    let arrival = [Action::Show, Action::ReadHead, Action::Refund(known.tries_at(safe)), Action::Add(new)];
    without.map(Action::Revoke).into_iter().chain(arrival).collect()
}

/// What came of [`arrival`].
#[derive(Debug)]
pub enum Arrived {
    /// The safe knows this device now.
    Told(Box<Told>),
    /// It has no room for another credential. The oldest one of a wallet can make room.
    Full(u32),
}

/// What came of [`arrival`]; `None`: not what a safe answers to its owner.
pub fn arrived(safe: &KnownSafe, mut outcomes: Vec<Outcome>) -> Option<Arrived> {
    let at = outcomes.len().checked_sub(4)?;
    match <[Outcome; 4]>::try_from(outcomes.split_off(at)).ok()? {
        [Outcome::Account(account), Outcome::Head(head), _, Outcome::Added(number)] => {
            Some(Arrived::Told(Box::new(Told { safe: safe.clone(), account, head, number: Some(number) })))
        }
        [Outcome::Account(account), Outcome::Head(head), _, Outcome::Refused(Refusal::NotAllowed)] => {
            Some(Arrived::Told(Box::new(Told { safe: safe.clone(), account, head, number: None })))
        }
        [Outcome::Account(account), .., Outcome::Refused(_)] if account.credentials.len() >= MAX_CREDENTIALS => {
            let wallets = account.credentials.iter().filter(|one| one.kind == CredentialKind::Wallet);
            wallets.map(|one| one.number).min().map(Arrived::Full)
        }
        _ => None,
    }
}

/// What a device does in its first channel that only reads: it sees what is there, and takes its own try back. It leaves nothing, not even when its tab is
/// closed in the middle, and takes no place from a device that stays.
pub fn visit(known: &Recognised, safe: &SafeId) -> Vec<Action> {
    vec![Action::Show, Action::ReadHead, Action::Refund(known.tries_at(safe))]
}

/// What came of [`visit`]; `None`: not what a safe answers to its owner.
pub fn visited(safe: &KnownSafe, outcomes: Vec<Outcome>) -> Option<Told> {
    match <[Outcome; 3]>::try_from(outcomes).ok()? {
        [Outcome::Account(account), Outcome::Head(head), _] => {
            Some(Told { safe: safe.clone(), account, head, number: None })
        }
        _ => None,
    }
}

/// Puts together what the safes said; `name` may be empty where a device came back without it; `past`: a head of before that the owner goes back to, as safes have kept it. Those whose
/// root or book is not the owner's are named.
///
/// # Errors
/// [`LoginError::TooFew`] if none of them returned the owner's root; [`LoginError::Contradiction`] if what was kept of before is not the owner's.
pub fn come_back<R: CryptoRng>(
    name: String,
    key: &NameKey,
    known: &Recognised,
    (credential, label): (Secret, String),
    told: Vec<Told>,
    past: &[(SafeId, Head)],
    rng: &mut R,
) -> Result<(Return, Vec<SafeId>), LoginError> {
    let enrolment = &known.agreed().enrolment;
    let mut seats: Vec<(SafeId, Option<u32>)> = enrolment.seats.iter().map(|seat| (seat.safe, None)).collect();
    let (mut root, mut heads, mut epochs, mut wrong) = (None, Vec::new(), Vec::new(), Vec::new());
    let (mut safes, mut ahead, mut reads) = (Vec::new(), Vec::new(), true);
    for Told { safe, account, head, number } in told {
        let Ok(opened) = known.open_root(&account) else {
            wrong.push(safe.id);
            continue;
        };
        // There the next enrolment is in force already; its book is read with its passphrase.
        if account.current != Some(enrolment.id_at(&safe.id)) {
            ahead.push(safe.id);
        }
        root = Some(opened);
        epochs.push(account.promised);
        heads.extend(head.map(|head| (safe.id, head)));
        reads &= number.is_none();
        seats.iter_mut().filter(|(id, _)| *id == safe.id).for_each(|seat| seat.1 = number);
        safes.push(KnownSafe { nickname: safe.name.clone(), ..safe });
    }
    let root = root.ok_or(LoginError::TooFew { answered: 0, needed: 1 })?;
    let (mut newest, mut liars) = newest_of(&root, &heads);
    // While an enrolment takes the place of another one, some heads are still of the root before it. They say what is newest only as long as there is no other.
    let root_before = enrolment.open_before(&root);
    let before = root_before.as_ref().map(|before| newest_of(before, &heads));
    // A change since then has made another root.
    let mut earlier = newest_of(&root, past).0;
    if let (None, Some(before)) = (&earlier, &root_before) {
        earlier = newest_of(before, past).0;
    }
    if earlier.is_none() && !past.is_empty() {
        return Err(LoginError::Contradiction);
    }
    let bridged = newest.is_none() && before.as_ref().is_some_and(|(newest, _)| newest.is_some());
    if let Some((older, unread)) = before {
        newest = newest.or(older);
        liars.retain(|safe| unread.contains(safe));
    }
    liars.retain(|safe| !ahead.contains(safe));
    // Nobody has signed what a safe says that it has promised. As many as may lie must neither be able to end the counting nor have this device take a turn that the others refuse.
    let written = newest.as_ref().map_or(0, |(head, _)| head.mark.epoch.counter);
    epochs.sort_by_key(|epoch| core::cmp::Reverse(epoch.counter));
    let said = epochs.get(register::liars(seats.len())).map_or(0, |epoch: &Epoch| epoch.counter);
    epochs.retain(|epoch| epoch.counter <= written.max(said).saturating_add(MAX_AHEAD));
    epochs.extend(newest.as_ref().map(|(head, _)| head.mark.epoch));
    wrong.extend(liars);
    let named = newest.as_ref().and_then(|(_, content)| content.name.clone());
    let back = Return {
        name: if name.is_empty() { named.unwrap_or_default() } else { name },
        name_key: key.expose().clone(),
        credential,
        label,
        threshold: enrolment.threshold,
        generation: enrolment.generation,
        bridged,
        seats,
        root: root.expose().clone(),
        seen: epochs.iter().copied().max().unwrap_or(Epoch::NONE),
        epoch: epoch_after(epochs, rng),
        newest,
        earlier: earlier.map(|(_, content)| content),
        exactly: reads,
        safes,
        reads,
    };
    Ok((back, wrong))
}

/// The epoch of a device that comes after all of these.
pub fn epoch_after<R: CryptoRng>(seen: impl IntoIterator<Item = Epoch>, rng: &mut R) -> Epoch {
    let last = seen.into_iter().map(|epoch| epoch.counter).max().unwrap_or(0);
    Epoch { counter: last.saturating_add(1), holder: DeviceId::make_random(rng) }
}
