//! The safe machine: what happens to one deposit.
//!
//! ```text
//! (none) ──begin──▶ Writing ──commit──▶ Offered ──confirm──▶ Held ──release──▶ Deleting ──erased──▶ Released ──lease end──▶ (none)
//!                     │ attempts lapse      │ never confirmed, or released
//!                     ▼                     ▼
//!                   (none) ◀──erased── Lapsing
//! ```
//!
//! Pure: the shell loads the record, calls [`step`], stores the record, sets the alarm, and answers; nothing else is
//! between loading and storing, so that steps on one deposit are in a line. Storage of bodies happens between two steps, and each
//! step looks at state and attempt afresh.

use minicbor::{Decode, Encode};
use protocol::{
    certificate::{Release, offer_digest, registration_of, sign_receipt},
    claim::{Claim, Verb},
    codec::Bytes,
    cose::Kind,
    crypto::{HpkePrivateKey, SigningKey},
    deposit::{Statement, recognises},
    identity::Limits,
    ids::{AttemptId, Root, SafeId, Seconds},
    problem::Problem,
};
use rand_core::CryptoRng;

use crate::record::{Attempt, MAX_ATTEMPTS, MAX_NONCES, Record, Seen, State};

/// How long a write may take before it counts as abandoned, seconds. No Worker runs for an hour, so nothing is written after it.
pub const ATTEMPT_SPAN: Seconds = 3600;
/// How long an offer waits for its confirmation, seconds: a week, for a wallet that is closed over a holiday.
pub const CONFIRM_SPAN: Seconds = 7 * 86_400;
/// Longest validity of a claim, seconds: [`protocol::claim::CLAIM_SPAN`] and three minutes for clocks.
pub const CLAIM_LIMIT: Seconds = 300;
/// When a removal that failed is tried again, seconds.
pub const ERASE_RETRY: Seconds = 60;

/// What the safe is.
#[derive(Debug, Clone)]
pub struct Config {
    /// Its id.
    pub safe: SafeId,
    /// Its address, for certificates.
    pub url: String,
    /// Serial of the entry whose keys are in use.
    pub entry: u32,
    /// What it takes.
    pub limits: Limits,
}

/// The keys in use.
#[derive(Debug, Clone)]
pub struct Keys {
    /// Signs.
    pub signing: SigningKey,
    /// Opens claims.
    pub hpke: HpkePrivateKey,
}

/// What is asked of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Request {
    /// A body is announced.
    #[n(0)]
    Begin(#[n(0)] Box<Statement>),
    /// The body of an attempt was read, measured and, if it fits, written.
    #[n(1)]
    Commit {
        /// The attempt.
        #[n(0)]
        attempt: AttemptId,
        /// Measured length, bytes.
        #[n(1)]
        length: u64,
        /// Measured root.
        #[n(2)]
        root: Root,
    },
    /// The wallet has stored the offer with this digest.
    #[n(2)]
    Confirm(#[n(0)] Root),
    /// A secret is presented.
    #[n(3)]
    Claim(#[n(0)] Claim),
    /// These writes are gone from KV.
    #[n(4)]
    Erased(#[n(0)] Vec<AttemptId>),
    /// The alarm went off.
    #[n(5)]
    Alarm,
}

/// What the ledger answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Reply {
    /// Read the body and write it under this attempt.
    #[n(0)]
    Write(#[n(0)] AttemptId),
    /// The signed offer.
    #[n(1)]
    Offer(#[n(0)] Bytes),
    /// The signed certificate.
    #[n(2)]
    Certificate(#[n(0)] Bytes),
    /// Read the body of this attempt and hand it out.
    #[n(3)]
    Read(#[n(0)] AttemptId),
    /// Remove these writes from KV and report [`Request::Erased`].
    #[n(4)]
    Erase(#[n(0)] Vec<AttemptId>),
    /// The signed receipt.
    #[n(5)]
    Receipt(#[n(0)] Bytes),
    /// Nothing more to do.
    #[n(6)]
    Done,
    /// No.
    #[n(7)]
    Refused(#[cbor(n(0), with = "slug")] Problem),
}

/// Problems travel between Worker and object by their slug.
mod slug {
    use minicbor::{Decoder, Encoder, decode as d, encode as e};
    use protocol::problem::{ALL, Problem};

    pub fn encode<C, W: e::Write>(p: &Problem, to: &mut Encoder<W>, _: &mut C) -> Result<(), e::Error<W::Error>> {
        to.str(p.slug())?.ok()
    }

    pub fn decode<C>(from: &mut Decoder<'_>, _: &mut C) -> Result<Problem, d::Error> {
        let slug = from.str()?;
        ALL.into_iter().find(|p| p.slug() == slug).ok_or_else(|| d::Error::message("no such problem"))
    }
}

/// What the shell does after storing the record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effects {
    /// When to be woken; `None`: never.
    pub alarm: Option<Seconds>,
}

/// Result of a step.
#[derive(Debug)]
pub struct Step {
    /// The answer.
    pub reply: Reply,
    /// The record to be stored; `None`: to be removed.
    pub record: Option<Record>,
    /// The rest.
    pub effects: Effects,
}

/// One step of one deposit.
pub fn step<R: CryptoRng>(
    record: Option<Record>,
    request: Request,
    now: Seconds,
    rng: &mut R,
    config: &Config,
    keys: &Keys,
) -> Step {
    let mut machine = Machine { now, config, keys, record };
    machine.lapse();
    let reply = match request {
        Request::Begin(statement) => machine.begin(*statement, rng),
        Request::Commit { attempt, length, root } => machine.commit(attempt, length, root),
        Request::Confirm(offer) => machine.confirm(offer),
        Request::Claim(claim) => machine.claim(&claim),
        Request::Erased(attempts) => machine.erased(&attempts),
        Request::Alarm => machine.list_erasures(),
    };
    machine.finish(reply)
}

struct Machine<'a> {
    now: Seconds,
    config: &'a Config,
    keys: &'a Keys,
    record: Option<Record>,
}

impl Machine<'_> {
    /// Applies every deadline that has passed, so that no request can be faster than the alarm.
    fn lapse(&mut self) {
        let now = self.now;
        let Some(record) = &mut self.record else { return };
        record.seen.retain(|s| now < s.expiry);
        let (due, waiting): (Vec<_>, Vec<_>) = record.attempts.drain(..).partition(|a| a.until <= now);
        record.attempts = waiting;
        record.erase.extend(due.into_iter().map(|a| a.id));
        if record.state == State::Offered && record.confirm_by.is_some_and(|by| by <= now) {
            Self::let_lapse(record);
        }
    }

    fn let_lapse(record: &mut Record) {
        record.state = State::Lapsing;
        record.erase.extend(record.committed.take());
        record.erase.extend(record.attempts.drain(..).map(|a| a.id));
    }

    fn begin<R: CryptoRng>(&mut self, statement: Statement, rng: &mut R) -> Reply {
        let too_long = statement.length > self.config.limits.body;
        if statement.safe != self.config.safe || statement.owner.is_some() || statement.length == 0 {
            return Reply::Refused(Problem::BadStatement);
        }
        if too_long {
            return Reply::Refused(Problem::TooLarge);
        }
        let record = self.record.get_or_insert_with(|| Record::new(statement.clone()));
        if record.statement != statement {
            return Reply::Refused(Problem::Conflict);
        }
        match record.state {
            State::Writing if record.attempts.len() + record.erase.len() >= MAX_ATTEMPTS => {
                Reply::Refused(Problem::Unavailable)
            }
            State::Writing => {
                let id = AttemptId::make_random(rng);
                record.attempts.push(Attempt { id, until: self.now + ATTEMPT_SPAN });
                Reply::Write(id)
            }
            State::Offered => answer(record.offer.as_ref(), Reply::Offer),
            State::Held => answer(record.certificate.as_ref(), Reply::Certificate),
            State::Deleting | State::Released | State::Lapsing => Reply::Refused(Problem::Gone),
        }
    }

    fn commit(&mut self, attempt: AttemptId, length: u64, root: Root) -> Reply {
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Gone) };
        if record.committed == Some(attempt) {
            // Said twice: its bytes are the ones that count, and the answer is the one that was given.
            return match record.state {
                State::Offered => answer(record.offer.as_ref(), Reply::Offer),
                State::Held => answer(record.certificate.as_ref(), Reply::Certificate),
                _ => Reply::Refused(Problem::Gone),
            };
        }
        let Some(at) = record.attempts.iter().position(|a| a.id == attempt) else {
            // Swept meanwhile; the write may have come after the sweep, so it is removed (again).
            record.erase.push(attempt);
            return Reply::Refused(Problem::Unavailable);
        };
        record.attempts.swap_remove(at);
        if length != record.statement.length || root != record.statement.root {
            record.erase.push(attempt);
            return Reply::Refused(Problem::BodyMismatch);
        }
        match record.state {
            State::Writing => {
                let confirm_by = self.now + CONFIRM_SPAN;
                let lease_end = self.now + record.statement.lease.min(self.config.limits.lease);
                let config = self.config;
                let offer = registration_of(
                    &record.statement,
                    &config.url,
                    config.entry,
                    self.now,
                    lease_end,
                    Some(confirm_by),
                );
                let offer = Bytes(offer.sign(&self.keys.signing, Kind::Offer));
                record.state = State::Offered;
                record.committed = Some(attempt);
                record.confirm_by = Some(confirm_by);
                record.lease_end = Some(lease_end);
                record.offer = Some(offer.clone());
                Reply::Offer(offer)
            }
            // Another write of the same bytes was first: that one stays, this one goes.
            State::Offered => {
                record.erase.push(attempt);
                answer(record.offer.as_ref(), Reply::Offer)
            }
            State::Held => {
                record.erase.push(attempt);
                answer(record.certificate.as_ref(), Reply::Certificate)
            }
            State::Deleting | State::Released | State::Lapsing => {
                record.erase.push(attempt);
                Reply::Refused(Problem::Gone)
            }
        }
    }

    fn confirm(&mut self, offer: Root) -> Reply {
        // Nothing is known of an id whose offer lapsed and was swept: the wallet deposits anew either way.
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Gone) };
        let same = record.offer.as_ref().is_some_and(|signed| offer_digest(signed) == offer.0);
        match record.state {
            State::Writing => Reply::Refused(Problem::NotFound),
            State::Offered | State::Held if !same => Reply::Refused(Problem::Conflict),
            State::Offered => {
                let lease_end = record.lease_end.unwrap_or(self.now);
                let config = self.config;
                let certificate =
                    registration_of(&record.statement, &config.url, config.entry, self.now, lease_end, None);
                let certificate = Bytes(certificate.sign(&self.keys.signing, Kind::Certificate));
                record.state = State::Held;
                record.confirm_by = None;
                record.certificate = Some(certificate.clone());
                Reply::Certificate(certificate)
            }
            State::Held => answer(record.certificate.as_ref(), Reply::Certificate),
            State::Deleting | State::Released | State::Lapsing => Reply::Refused(Problem::Gone),
        }
    }

    fn claim(&mut self, claim: &Claim) -> Reply {
        if claim.expiry <= self.now || claim.expiry > self.now + CLAIM_LIMIT {
            return Reply::Refused(Problem::ClaimExpired);
        }
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::NotFound) };
        if claim.entry != self.config.entry {
            return Reply::Refused(Problem::ClaimUnreadable);
        }
        let Ok(secret) = claim.open(&self.keys.hpke, &self.config.safe, &record.statement.deposit) else {
            return Reply::Refused(Problem::ClaimUnreadable);
        };
        let hashes = &record.statement.hashes;
        let right = match claim.verb {
            Verb::Retrieve => recognises(&hashes.retrieve, &secret),
            Verb::Release => recognises(&hashes.release, &secret),
            _ => return Reply::Refused(Problem::Malformed),
        };
        if !right {
            return Reply::Refused(Problem::NotFound);
        }
        if record.seen.iter().any(|s| s.nonce == claim.nonce) {
            return Reply::Refused(Problem::ClaimReplayed);
        }
        if record.seen.len() >= MAX_NONCES {
            return Reply::Refused(Problem::Unavailable);
        }
        record.seen.push(Seen { nonce: claim.nonce, expiry: claim.expiry });
        match (claim.verb, record.state) {
            (Verb::Retrieve, State::Held) => answer(record.committed.as_ref(), Reply::Read),
            (Verb::Retrieve, State::Writing | State::Offered) => Reply::Refused(Problem::NotFound),
            (Verb::Release, State::Held) => {
                record.state = State::Deleting;
                record.release = Some(secret);
                record.erase.extend(record.committed.take());
                record.erase.extend(record.attempts.drain(..).map(|a| a.id));
                self.list_erasures()
            }
            (Verb::Release, State::Offered | State::Writing) => {
                Self::let_lapse(record);
                self.list_erasures()
            }
            (Verb::Release, State::Deleting | State::Lapsing) => self.list_erasures(),
            (Verb::Release, State::Released) => answer(record.receipt.as_ref(), Reply::Receipt),
            _ => Reply::Refused(Problem::Gone),
        }
    }

    fn list_erasures(&mut self) -> Reply {
        match &self.record {
            Some(record) if !record.erase.is_empty() => Reply::Erase(record.erase.clone()),
            // Nothing is in KV any more: the last step of a release can be taken at once.
            Some(_) => self.erased(&[]),
            None => Reply::Done,
        }
    }

    fn erased(&mut self, attempts: &[AttemptId]) -> Reply {
        let Some(record) = &mut self.record else { return Reply::Done };
        record.erase.retain(|e| !attempts.contains(e));
        if !record.erase.is_empty() {
            return Reply::Erase(record.erase.clone());
        }
        match (record.state, &record.release) {
            (State::Deleting, Some(release)) => {
                let release = Release {
                    suite: record.suite,
                    safe: self.config.safe,
                    entry: self.config.entry,
                    deposit: record.statement.deposit,
                    root: record.statement.root,
                    issued: self.now,
                    release: release.clone(),
                };
                let receipt = Bytes(sign_receipt(&self.keys.signing, &release));
                record.state = State::Released;
                record.receipt = Some(receipt.clone());
                Reply::Receipt(receipt)
            }
            (State::Released, _) => answer(record.receipt.as_ref(), Reply::Receipt),
            (State::Lapsing, _) => Reply::Refused(Problem::Gone),
            _ => Reply::Done,
        }
    }

    fn finish(mut self, reply: Reply) -> Step {
        let now = self.now;
        let over = self.record.as_ref().is_some_and(|r| {
            let idle = r.attempts.is_empty() && r.erase.is_empty();
            idle && match r.state {
                State::Writing | State::Lapsing => true,
                State::Released => r.lease_end.is_none_or(|end| end <= now),
                State::Offered | State::Held | State::Deleting => false,
            }
        });
        if over {
            self.record = None;
        }
        let alarm = self.record.as_ref().and_then(|r| next_deadline(r, now));
        Step { reply, record: self.record, effects: Effects { alarm } }
    }
}

/// A stored statement is there in every state that answers with it; if not, the record is damaged and nothing is made up.
fn answer<T: Clone>(stored: Option<&T>, reply: impl FnOnce(T) -> Reply) -> Reply {
    stored.cloned().map_or(Reply::Refused(Problem::Internal), reply)
}

fn next_deadline(record: &Record, now: Seconds) -> Option<Seconds> {
    let removal = (!record.erase.is_empty() || record.state == State::Deleting).then_some(now + ERASE_RETRY);
    let attempts = record.attempts.iter().map(|a| a.until);
    let offer = record.confirm_by.filter(|_| record.state == State::Offered);
    let tombstone = record.lease_end.filter(|_| record.state == State::Released);
    attempts.chain(removal).chain(offer).chain(tombstone).min()
}
