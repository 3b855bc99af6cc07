//! The safe machine: what happens to one deposit.
//!
//! ```text
//! (none) ──begin──▶ Writing ──commit──▶ Offered ──confirm──▶ Held ──release──▶ Deleting ──removed──▶ Released ──lease end──▶ (none)
//!                     │ attempts lapse      │ never confirmed,  │ ▲ │               ▲
//!                     │                     │ or released       │ │ └─by a wallet─▶ Leaving: a week is over
//!                     │                     ▼                   │ └──restore, by the owner──┘
//!                     └──────────────▶ Lapsing ◀────────────────┘ lease and grace have ended ──removed──▶ (none)
//! ```
//!
//! Pure: the shell loads the record, calls [`step`], stores the record, sets the alarm, and answers; nothing else is
//! between loading and storing, so that steps on one deposit are in a line. Storage of bodies happens between two steps, and each
//! step looks at state and attempt afresh.
//!
//! A write that is under way cannot be called back. So an attempt stays in the record until it has reported or can no longer come
//! ([`ATTEMPT_SPAN`]), whatever happens to the deposit meanwhile; only then is its value removed and the record with it.

use minicbor::{Decode, Encode};
use protocol::{
    certificate::{Release, offer_digest, registration_of, sign_receipt},
    claim::{Claim, Shown, Verb},
    codec::{self, Bytes},
    cose::Kind,
    crypto::{CryptoError, HpkePrivateKey, Secret, SigningKey, blake3},
    deposit::{DepositSecrets, RENEW_PART, Statement, recognises},
    evidence::{Testimony, Verdict, stranger},
    identity::Limits,
    ids::{AttemptId, DepositId, Nonce, Root, SafeId, Seconds},
    owner::ticket::{Right, Ticket, UNDO_SPAN, is_bound},
    problem::Problem,
    register::{self, open_proposal},
    sealed::Sealed,
    token::Token,
};
use rand_core::CryptoRng;

use crate::{
    account::Row,
    record::{Attempt, Charge, MAX_ATTEMPTS, MAX_NONCES, Record, Seen, State},
};

/// How long a write may take before it counts as abandoned, seconds. No Worker runs for an hour, so nothing is written after it.
pub const ATTEMPT_SPAN: Seconds = 3600;
/// How long an offer waits for its confirmation, seconds: a week, for a wallet that is closed over a holiday.
pub const CONFIRM_SPAN: Seconds = 7 * DAY;
/// Longest validity of a claim, seconds: [`protocol::claim::CLAIM_SPAN`] and three minutes for clocks.
pub const CLAIM_LIMIT: Seconds = 300;
/// When a removal that failed is tried again, seconds.
pub const ERASE_RETRY: Seconds = 60;
/// How long a body is kept after the certified end of its lease, seconds: half a year, for an owner who was away.
pub const GRACE: Seconds = 182 * DAY;
/// How long the storage may show nothing of a value that was written, seconds, before the safe states that it is lost. KV promises a minute.
pub const SETTLE_SPAN: Seconds = 3600;
/// The farthest alarm, seconds ahead: a token may name any end, and a platform takes no date that is none. Woken early, the object asks for the
/// next one.
pub const ALARM_SPAN: Seconds = 365 * DAY;
const DAY: Seconds = 86_400;

/// Whether what ends so counts now: it is not over, and was not made far ahead.
pub(crate) const fn in_time(expiry: Seconds, now: Seconds) -> bool {
    now < expiry && expiry <= now.saturating_add(CLAIM_LIMIT)
}

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
    /// Opens what is sealed to the safe, by the serial of the entry that names the key: the current one, and those before it that still open.
    pub hpke: Vec<(u32, HpkePrivateKey)>,
    /// Makes challenges, and what is shown of owners who are not there. Without it the safe keeps no owners. It never changes, or strangers could
    /// tell by that who is not there.
    pub owner: Option<Secret>,
}

impl Keys {
    /// The key of an entry.
    ///
    /// # Errors
    /// If it is not among those in use; the wallet fetches the chain and seals anew.
    pub fn hpke(&self, entry: u32) -> Result<&HpkePrivateKey, CryptoError> {
        self.hpke.iter().find(|(serial, _)| *serial == entry).map(|(_, key)| key).ok_or(CryptoError)
    }
}

/// What is asked of the ledger.
#[derive(Debug, Clone, Encode, Decode)]
#[non_exhaustive]
pub enum Request {
    /// A body is announced, under a token where the safe wants one.
    #[n(0)]
    Begin(#[n(0)] Box<Statement>, #[n(1)] Option<Token>),
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
    /// This is gone from KV and from the account.
    #[n(4)]
    Removed(#[n(0)] Removal),
    /// The alarm went off.
    #[n(5)]
    Alarm,
    /// An attempt ended with nothing written.
    #[n(6)]
    Abandon(#[n(0)] AttemptId),
    /// An audit secret is presented, out of a batch.
    #[n(7)]
    Audit {
        /// The secret.
        #[n(0)]
        secret: Secret,
        /// Number of the batch.
        #[n(1)]
        nonce: Nonce,
        /// Its expiry.
        #[n(2)]
        expiry: Seconds,
    },
    /// What KV has of an attempt, for a demand: measured length and root, or nothing.
    #[n(8)]
    Testify {
        /// BLAKE3 of the demand.
        #[n(0)]
        demand: Root,
        /// The attempt.
        #[n(1)]
        attempt: AttemptId,
        /// What was found.
        #[n(2)]
        found: Option<(u64, Root)>,
    },
    /// A lease that is over may end: the day's budget allows the removal.
    #[n(9)]
    Expire,
    /// The day's budget is spent.
    #[n(10)]
    Postpone,
    /// A proposal for the register of a unique value.
    #[n(11)]
    Register(#[n(0)] Sealed),
}

/// What is to be removed: writes from KV, and the row of the account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Encode, Decode)]
pub struct Removal {
    /// Writes.
    #[n(0)]
    pub writes: Vec<AttemptId>,
    /// The row, when nothing of the deposit is stored any more.
    #[n(1)]
    pub charge: Option<Charge>,
}

/// What the ledger answers.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[non_exhaustive]
pub enum Reply {
    /// Open this row in the account, if there is one; then read the body and write it under this attempt.
    #[n(0)]
    Write(#[n(0)] AttemptId, #[n(1)] Option<Row>),
    /// The signed offer.
    #[n(1)]
    Offer(#[n(0)] Bytes),
    /// The signed certificate.
    #[n(2)]
    Certificate(#[n(0)] Bytes),
    /// Read the body of this attempt, which has this length, and hand it out (or a slice of it).
    #[n(3)]
    Read(#[n(0)] AttemptId, #[n(1)] u64),
    /// Remove this and report [`Request::Removed`].
    #[n(4)]
    Remove(#[n(0)] Removal),
    /// The signed receipt.
    #[n(5)]
    Receipt(#[n(0)] Bytes),
    /// Nothing more to do.
    #[n(6)]
    Done,
    /// No.
    #[n(7)]
    Refused(#[cbor(n(0), with = "slug")] Problem),
    /// Read and measure the body of this attempt, which has this length, and report [`Request::Testify`] with this digest of the demand.
    #[n(8)]
    Measure(#[n(0)] AttemptId, #[n(1)] u64, #[n(2)] Root),
    /// The signed testimony.
    #[n(9)]
    Testimony(#[n(0)] Bytes),
    /// A lease is over: ask the day's budget for one removal, and say [`Request::Expire`] or [`Request::Postpone`].
    #[n(10)]
    Overdue,
    /// Where the register stands.
    #[n(11)]
    Register(#[n(0)] register::Vouched),
}

/// Problems travel between Worker and object by their slug.
pub(crate) mod slug {
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
    deposit: &DepositId,
    record: Option<Record>,
    request: Request,
    now: Seconds,
    rng: &mut R,
    config: &Config,
    keys: &Keys,
) -> Step {
    let mut machine = Machine { deposit: *deposit, now, config, keys, record };
    machine.lapse();
    let reply = match request {
        Request::Begin(statement, token) => machine.begin(*statement, token, rng),
        Request::Commit { attempt, length, root } => machine.commit(attempt, length, root),
        Request::Abandon(attempt) => machine.abandon(attempt),
        Request::Confirm(offer) => machine.confirm(offer),
        Request::Claim(claim) => machine.claim(&claim),
        Request::Audit { secret, nonce, expiry } => machine.audit(&secret, Seen { nonce, expiry }),
        Request::Testify { demand, attempt, found } => machine.testify(demand, attempt, found),
        Request::Register(request) => machine.register(&request),
        Request::Removed(removal) => machine.removed(&removal),
        Request::Alarm => machine.alarm(),
        Request::Expire => machine.expire(),
        Request::Postpone => machine.postpone(),
    };
    machine.finish(reply)
}

struct Machine<'a> {
    deposit: DepositId,
    now: Seconds,
    config: &'a Config,
    keys: &'a Keys,
    record: Option<Record>,
}

impl Machine<'_> {
    /// Applies every deadline that has passed, so that no request can be faster than the alarm. The end of a lease is no such deadline: the
    /// certificate's date is the least that is kept, and who comes before the removal has not come too late.
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
        if record.state == State::Leaving && record.leave_by.is_none_or(|by| by <= now) {
            Self::let_go(record);
        }
    }

    /// Nobody takes it back any more.
    fn let_go(record: &mut Record) {
        record.state = State::Deleting;
        record.leave_by = None;
        record.erase.extend(record.committed.take());
    }

    /// Attempts that are under way stay listed: their write may still come.
    fn let_lapse(record: &mut Record) {
        record.state = State::Lapsing;
        record.erase.extend(record.committed.take());
    }

    fn begin<R: CryptoRng>(&mut self, statement: Statement, token: Option<Token>, rng: &mut R) -> Reply {
        let too_long = statement.length > self.config.limits.body;
        let bindable = statement.owner.is_none() || self.keys.owner.is_some();
        if statement.safe != self.config.safe || !bindable || statement.length == 0 {
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
                let charge = match (record.charge, token) {
                    (None, token) => token.map(|token| Charge { token: token.id, opened: id, until: token.until }),
                    (Some(charge), Some(token)) if charge.token == token.id => Some(charge),
                    // Its row is in another account.
                    _ => return Reply::Refused(Problem::Conflict),
                };
                record.charge = charge;
                record.attempts.push(Attempt { id, until: self.now + ATTEMPT_SPAN });
                Reply::Write(id, charge.map(|charge| row(record, &charge)))
            }
            State::Offered => self.offer(),
            State::Held => self.certificate(),
            State::Leaving | State::Deleting | State::Released | State::Lapsing => Reply::Refused(Problem::Gone),
        }
    }

    fn commit(&mut self, attempt: AttemptId, length: u64, root: Root) -> Reply {
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Gone) };
        if record.committed == Some(attempt) {
            // Said twice: its bytes are the ones that count, and the answer is the one that was given.
            return match record.state {
                State::Offered => self.offer(),
                State::Held => self.certificate(),
                _ => Reply::Refused(Problem::Gone),
            };
        }
        let Some(at) = record.attempts.iter().position(|a| a.id == attempt) else {
            // Swept meanwhile, or said twice; the write may have come after the sweep, so it is removed (again).
            if !record.erase.contains(&attempt) {
                record.erase.push(attempt);
            }
            return Reply::Refused(if record.state == State::Writing { Problem::Unavailable } else { Problem::Gone });
        };
        record.attempts.swap_remove(at);
        if length != record.statement.length || root != record.statement.root {
            // Nothing was written.
            return Reply::Refused(Problem::BodyMismatch);
        }
        match record.state {
            State::Writing => {
                record.state = State::Offered;
                record.committed = Some(attempt);
                record.committed_at = Some(self.now);
                record.confirm_by = Some(self.now + CONFIRM_SPAN);
                record.lease_end = Some(self.now + lease(record, self.config));
                self.offer()
            }
            // Another write of the same bytes was first: that one stays, this one goes.
            State::Offered => {
                record.erase.push(attempt);
                self.offer()
            }
            State::Held => {
                record.erase.push(attempt);
                self.certificate()
            }
            State::Leaving | State::Deleting | State::Released | State::Lapsing => {
                record.erase.push(attempt);
                Reply::Refused(Problem::Gone)
            }
        }
    }

    /// The row stays charged until it is freed: it may be open although its answer was lost.
    fn abandon(&mut self, attempt: AttemptId) -> Reply {
        if let Some(record) = &mut self.record {
            record.attempts.retain(|a| a.id != attempt);
        }
        Reply::Done
    }

    fn confirm(&mut self, offer: Root) -> Reply {
        // Nothing is known of an id whose offer lapsed and was swept: the wallet deposits anew either way.
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Gone) };
        let same = record.offer.as_ref().is_some_and(|signed| offer_digest(signed) == offer.0);
        match record.state {
            State::Writing => Reply::Refused(Problem::NotFound),
            State::Offered | State::Held if !same => Reply::Refused(Problem::Conflict),
            State::Offered => {
                record.state = State::Held;
                record.confirm_by = None;
                self.certify()
            }
            State::Held => self.certificate(),
            State::Leaving | State::Deleting | State::Released | State::Lapsing => Reply::Refused(Problem::Gone),
        }
    }

    /// The offer, once and for all; another one only when the safe has another key than the one that signed it, which may be worth nothing by now.
    fn offer(&mut self) -> Reply {
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Internal) };
        let config = self.config;
        if record.offer.is_none() || record.signed_by != Some(config.entry) {
            let lease_end = record.lease_end.unwrap_or(self.now);
            let offer =
                registration_of(&record.statement, &config.url, config.entry, self.now, lease_end, record.confirm_by);
            record.offer = Some(Bytes(offer.sign(&self.keys.signing, Kind::Offer)));
            record.signed_by = Some(config.entry);
        }
        answer(record.offer.as_ref(), Reply::Offer)
    }

    /// The certificate, likewise.
    fn certificate(&mut self) -> Reply {
        match &self.record {
            Some(record) if record.signed_by == Some(self.config.entry) => {
                answer(record.certificate.as_ref(), Reply::Certificate)
            }
            _ => self.certify(),
        }
    }

    /// The receipt, likewise.
    fn receipt(&mut self) -> Reply {
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Internal) };
        let config = self.config;
        match &record.release {
            Some(release) if record.receipt.is_none() || record.signed_by != Some(config.entry) => {
                let release = Release {
                    suite: record.suite,
                    safe: config.safe,
                    entry: config.entry,
                    deposit: record.statement.deposit,
                    root: record.statement.root,
                    issued: self.now,
                    release: release.clone(),
                };
                record.receipt = Some(Bytes(sign_receipt(&self.keys.signing, &release)));
                record.signed_by = Some(config.entry);
            }
            _ => {}
        }
        answer(record.receipt.as_ref(), Reply::Receipt)
    }

    /// Signs the certificate for the lease as it stands.
    fn certify(&mut self) -> Reply {
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Internal) };
        let lease_end = record.lease_end.unwrap_or(self.now);
        let config = self.config;
        let certificate = registration_of(&record.statement, &config.url, config.entry, self.now, lease_end, None);
        let certificate = Bytes(certificate.sign(&self.keys.signing, Kind::Certificate));
        record.certificate = Some(certificate.clone());
        record.signed_by = Some(config.entry);
        Reply::Certificate(certificate)
    }

    /// Any contact of someone with a right renews the lease, and moves the certificate to the key in use.
    fn renew(&mut self) {
        let Some(record) = &mut self.record else { return };
        if record.state != State::Held {
            return;
        }
        let span = lease(record, self.config);
        let end = record.lease_end.unwrap_or(self.now);
        let renewed = self.now.saturating_add(span);
        let due = renewed >= end.saturating_add((span / RENEW_PART).max(1));
        if due {
            record.lease_end = Some(renewed);
            record.wait_until = None;
        }
        if due || record.signed_by != Some(self.config.entry) {
            self.certify();
        }
    }

    /// The deposit's record, if the secret's hash is the right one, the number is new and there is room to remember it.
    fn admit(&mut self, right: bool, seen: Seen) -> Result<(), Problem> {
        let record = self.record.as_mut().filter(|_| right).ok_or(Problem::NotFound)?;
        if record.seen.iter().any(|s| s.nonce == seen.nonce) {
            return Err(Problem::ClaimReplayed);
        }
        if record.seen.len() >= MAX_NONCES {
            return Err(Problem::Unavailable);
        }
        record.seen.push(seen);
        self.renew();
        Ok(())
    }

    fn claim(&mut self, claim: &Claim) -> Reply {
        if !in_time(claim.expiry, self.now) {
            return Reply::Refused(Problem::ClaimExpired);
        }
        if claim.verb == Verb::Demand {
            return self.demand(claim);
        }
        let Some(record) = &self.record else { return Reply::Refused(Problem::NotFound) };
        let opened = self.keys.hpke(claim.entry).and_then(|key| claim.open(key, &self.config.safe, &self.deposit));
        let Ok(Shown { secret, x, ticket }) = opened else { return Reply::Refused(Problem::ClaimUnreadable) };
        let hashes = &record.statement.hashes;
        let right = match claim.verb {
            Verb::Retrieve => recognises(&hashes.retrieve, &secret),
            Verb::Release | Verb::Restore => recognises(&hashes.release, &secret),
            Verb::Renew => recognises(&hashes.audit, &secret),
            _ => return Reply::Refused(Problem::Malformed),
        };
        let shows = |right| self.is_owners(record, &DepositSecrets::retrieve_of(&secret), ticket.as_ref(), right);
        let by_owner = match claim.verb {
            Verb::Retrieve if record.statement.release_only == Some(true) => true,
            Verb::Retrieve => self.is_owners(record, &secret, ticket.as_ref(), Right::Retrieve),
            Verb::Release => shows(Right::Release),
            Verb::Restore => shows(Right::Owner),
            _ => true,
        };
        // A wallet may be somebody else's by now. What lives once is not taken back: whoever had it may have it still.
        let bound = record.statement.owner.is_some() && record.statement.unique != Some(true);
        let undoable = bound && claim.verb == Verb::Release && !shows(Right::Owner);
        // Whoever has not even the secret learns nothing.
        if right && !by_owner {
            return Reply::Refused(Problem::NotOwner);
        }
        let seen = Seen { nonce: claim.nonce, expiry: claim.expiry };
        let admitted = match claim.verb {
            // Nobody can use up its numbers: repeated, it changes nothing.
            Verb::Restore if right => Ok(()),
            _ => self.admit(right, seen),
        };
        if let Err(problem) = admitted {
            return Reply::Refused(problem);
        }
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Internal) };
        match (claim.verb, record.state) {
            (Verb::Retrieve, State::Held) => {
                let unique = record.statement.unique == Some(true);
                if unique && !record.register.unwrap_or_default().accepts(x.as_ref()) {
                    return Reply::Refused(Problem::Claimed);
                }
                let length = record.statement.length;
                answer(record.committed.as_ref(), |attempt| Reply::Read(attempt, length))
            }
            (Verb::Renew, State::Held) => answer(record.certificate.as_ref(), Reply::Certificate),
            (Verb::Retrieve | Verb::Renew | Verb::Restore, State::Writing | State::Offered) => {
                Reply::Refused(Problem::NotFound)
            }
            (Verb::Release, State::Held) if undoable => {
                record.state = State::Leaving;
                record.leave_by = Some(self.now.saturating_add(UNDO_SPAN));
                record.release = Some(secret);
                self.receipt()
            }
            (Verb::Release, State::Leaving) if undoable => self.receipt(),
            (Verb::Release, State::Held | State::Leaving) => {
                record.release = Some(secret);
                Self::let_go(record);
                self.list_removals()
            }
            (Verb::Restore, State::Held) => self.certificate(),
            (Verb::Restore, State::Leaving) => {
                record.state = State::Held;
                (record.leave_by, record.release, record.receipt) = (None, None, None);
                // As any other contact of the owner; and another certificate than the one before, which the receipt came after.
                self.renew();
                self.certify()
            }
            (Verb::Release, State::Offered | State::Writing) => {
                Self::let_lapse(record);
                self.list_removals()
            }
            (Verb::Release, State::Deleting | State::Lapsing) => self.list_removals(),
            (Verb::Release, State::Released) => self.receipt(),
            _ => Reply::Refused(Problem::Gone),
        }
    }

    /// Whether a deposit is bound to nobody, or its owner is there.
    fn is_owners(&self, record: &Record, retrieve: &Secret, ticket: Option<&Ticket>, right: Right) -> bool {
        let Some(bound) = &record.statement.owner else { return true };
        ticket.zip(self.keys.owner.as_ref()).is_some_and(|(ticket, secret)| {
            let here = is_bound(bound, &DepositSecrets::audit_of(retrieve), &ticket.account);
            here && ticket.counts(secret, right, self.now)
        })
    }

    fn audit(&mut self, secret: &Secret, seen: Seen) -> Reply {
        if !in_time(seen.expiry, self.now) {
            return Reply::Refused(Problem::ClaimExpired);
        }
        let right = self.record.as_ref().is_some_and(|r| recognises(&r.statement.hashes.audit, secret));
        if let Err(problem) = self.admit(right, seen) {
            return Reply::Refused(problem);
        }
        match &self.record {
            Some(Record { state: State::Held, committed, statement, .. }) => {
                answer(committed.as_ref(), |attempt| Reply::Read(attempt, statement.length))
            }
            Some(Record { state: State::Writing | State::Offered, .. }) | None => Reply::Refused(Problem::NotFound),
            Some(_) => Reply::Refused(Problem::Gone),
        }
    }

    /// A demand is answered under signature, whatever became of the deposit, even to who shows the wrong secret.
    fn demand(&mut self, demand: &Claim) -> Reply {
        let digest = Root(blake3(&codec::encode(demand)));
        let opened = self.keys.hpke(demand.entry).and_then(|key| demand.open(key, &self.config.safe, &self.deposit));
        let Ok(Shown { secret, .. }) = opened else { return Reply::Refused(Problem::ClaimUnreadable) };
        let Some(record) = &self.record else { return self.sign(digest, Verdict::Unknown) };
        if !recognises(&record.statement.hashes.audit, &secret) {
            return self.sign(digest, stranger(&secret));
        }
        if let Err(problem) = self.admit(true, Seen { nonce: demand.nonce, expiry: demand.expiry }) {
            return Reply::Refused(problem);
        }
        match &self.record {
            Some(Record { state: State::Held, committed: Some(attempt), statement, .. }) => {
                Reply::Measure(*attempt, statement.length, digest)
            }
            Some(record) => match verdict_without_body(record) {
                Some(verdict) => self.sign(digest, verdict),
                None => Reply::Refused(Problem::Internal),
            },
            None => Reply::Refused(Problem::Internal),
        }
    }

    fn testify(&mut self, demand: Root, attempt: AttemptId, found: Option<(u64, Root)>) -> Reply {
        let Some(record) = &self.record else { return Reply::Refused(Problem::Unavailable) };
        if record.state == State::Held && record.committed == Some(attempt) {
            let settled = record.committed_at.is_some_and(|at| at + SETTLE_SPAN <= self.now);
            return match found {
                Some((length, root)) => match record.register.and_then(|register| register.accepted) {
                    Some(accepted) => self.sign(demand, Verdict::Claimed(length, root, accepted.value)),
                    None => self.sign(demand, Verdict::Kept(length, root)),
                },
                None if settled => self.sign(demand, Verdict::Lost),
                None => Reply::Refused(Problem::Unavailable),
            };
        }
        // Released or ended while the storage was being read.
        match verdict_without_body(record) {
            Some(verdict) => self.sign(demand, verdict),
            None => Reply::Refused(Problem::Internal),
        }
    }

    fn sign(&self, demand: Root, verdict: Verdict) -> Reply {
        let (safe, entry) = (self.config.safe, self.config.entry);
        let testimony = Testimony::new(safe, entry, self.deposit, demand, self.now, verdict);
        Reply::Testimony(Bytes(testimony.sign(&self.keys.signing)))
    }

    fn register(&mut self, request: &Sealed) -> Reply {
        if !in_time(request.expiry, self.now) {
            return Reply::Refused(Problem::ClaimExpired);
        }
        let Some(record) = &self.record else { return Reply::Refused(Problem::NotFound) };
        let opened =
            self.keys.hpke(request.entry).and_then(|key| open_proposal(request, key, &self.config.safe, &self.deposit));
        let Ok((secret, proposal, ticket)) = opened else { return Reply::Refused(Problem::ClaimUnreadable) };
        let hashes = &record.statement.hashes;
        let hash = if proposal.needs_release() { &hashes.release } else { &hashes.retrieve };
        // No number is remembered: a proposal that is repeated changes nothing, and its answer holds hashes only.
        let certified = record.certificate.is_some() && record.statement.unique == Some(true);
        if !certified || !recognises(hash, &secret) {
            return Reply::Refused(Problem::NotFound);
        }
        let by_owner = if proposal.needs_release() {
            let retrieve = DepositSecrets::retrieve_of(&secret);
            self.is_owners(record, &retrieve, ticket.as_ref(), Right::Release)
        } else {
            self.is_owners(record, &secret, ticket.as_ref(), Right::Retrieve)
        };
        let Some(record) = self.record.as_mut().filter(|_| by_owner) else { return Reply::Refused(Problem::NotOwner) };
        let mut register = record.register.unwrap_or_default();
        let answer = register.step(&proposal);
        record.register = Some(register);
        self.renew();
        Reply::Register(answer.vouch(&secret, &request.nonce, &proposal))
    }

    fn alarm(&mut self) -> Reply {
        let now = self.now;
        let Some(record) = &mut self.record else { return Reply::Done };
        if record.wait_until.is_some_and(|until| until <= now) {
            record.wait_until = None;
        }
        match removal_due(record) {
            Some(due) if due <= now && record.wait_until.is_none() => Reply::Overdue,
            _ if record.wait_until.is_some() => Reply::Done,
            _ => self.list_removals(),
        }
    }

    fn expire(&mut self) -> Reply {
        let now = self.now;
        if let Some(record) = self.record.as_mut().filter(|record| removal_due(record).is_some_and(|due| due <= now)) {
            Self::let_lapse(record);
        }
        self.list_removals()
    }

    fn postpone(&mut self) -> Reply {
        if let Some(record) = &mut self.record {
            // Tomorrow, and not all at once.
            let spread = Seconds::from(record.statement.deposit.0[0]) * 300;
            record.wait_until = Some((self.now / DAY + 1) * DAY + spread);
        }
        Reply::Done
    }

    fn list_removals(&mut self) -> Reply {
        let Some(record) = &mut self.record else { return Reply::Done };
        // Once a row is being freed, nobody may count on it any more.
        if record.state == State::Writing && record.attempts.is_empty() {
            record.state = State::Lapsing;
        }
        let removal = removal_of(record);
        if removal == Removal::default() {
            // Nothing is stored any more: the last step of a release can be taken at once.
            self.removed(&removal)
        } else {
            Reply::Remove(removal)
        }
    }

    fn removed(&mut self, removal: &Removal) -> Reply {
        // Somebody else's report was first, and nothing was left to be remembered.
        let Some(record) = &mut self.record else { return Reply::Refused(Problem::Gone) };
        record.erase.retain(|e| !removal.writes.contains(e));
        if removal.charge.is_some() && removal.charge == record.charge {
            record.charge = None;
        }
        if !record.erase.is_empty() {
            return Reply::Remove(removal_of(record));
        }
        match record.state {
            State::Deleting | State::Released => {
                record.state = State::Released;
                self.receipt()
            }
            State::Lapsing => Reply::Refused(Problem::Gone),
            _ => Reply::Done,
        }
    }

    fn finish(mut self, reply: Reply) -> Step {
        let now = self.now;
        let over = self.record.as_ref().is_some_and(|r| {
            let idle = r.attempts.is_empty() && r.erase.is_empty() && r.charge.is_none();
            idle && match r.state {
                State::Writing => true,
                // What was let go before it was confirmed leaves a tombstone until its offer is over: who put or confirmed it may come late.
                State::Lapsing => r.confirm_by.is_none_or(|by| by <= now),
                State::Released => r.lease_end.is_none_or(|end| end <= now),
                State::Offered | State::Held | State::Leaving | State::Deleting => false,
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

/// The lease that a deposit gets from now on, seconds.
fn lease(record: &Record, config: &Config) -> Seconds {
    record.statement.lease.min(config.limits.lease)
}

fn row(record: &Record, charge: &Charge) -> Row {
    Row { deposit: record.statement.deposit, opened: charge.opened }
}

/// What is stated of a deposit of which no body is to be there.
fn verdict_without_body(record: &Record) -> Option<Verdict> {
    match (record.state, &record.release) {
        (State::Leaving | State::Deleting | State::Released, Some(release)) => Some(Verdict::Released(release.clone())),
        (State::Lapsing, _) if record.certificate.is_some() => Some(Verdict::Expired),
        (State::Writing | State::Offered | State::Lapsing, _) => Some(Verdict::Unknown),
        _ => None,
    }
}

/// When a held body may be removed: after the grace, and not while its token counts (then it lies dormant).
fn removal_due(record: &Record) -> Option<Seconds> {
    let end = record.lease_end.filter(|_| record.state == State::Held)?;
    Some(end.saturating_add(GRACE).max(record.charge.map_or(0, |charge| charge.until)))
}

/// What can be removed now: writes that are not needed, and the row when no write can come any more.
fn removal_of(record: &Record) -> Removal {
    let ending = matches!(record.state, State::Deleting | State::Released | State::Lapsing);
    let charge = record.charge.filter(|_| ending && record.attempts.is_empty());
    Removal { writes: record.erase.clone(), charge }
}

fn next_deadline(record: &Record, now: Seconds) -> Option<Seconds> {
    let unfinished = removal_of(record) != Removal::default() || record.state == State::Deleting;
    let idle = record.state == State::Writing && record.attempts.is_empty();
    let removal = (unfinished || idle).then(|| (now + ERASE_RETRY).max(record.wait_until.unwrap_or(0)));
    let attempts = record.attempts.iter().map(|a| a.until);
    let lapses = |by: &Seconds| record.state == State::Offered || (record.state == State::Lapsing && *by > now);
    let offer = record.confirm_by.filter(lapses);
    let leaving = record.leave_by.filter(|_| record.state == State::Leaving);
    // Its end may have passed while something is still to be removed, and that may have to wait: nothing happens at the end then.
    let tombstone = record.lease_end.filter(|_| record.state == State::Released && !unfinished);
    let lease = removal_due(record).map(|due| due.max(record.wait_until.unwrap_or(0)));
    let all = attempts.chain(removal).chain(offer).chain(leaving).chain(tombstone).chain(lease);
    all.min().map(|at| at.min(now + ALARM_SPAN))
}
