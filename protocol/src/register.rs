//! Values that may live only once (tickets, vouchers, cash): who, of several claimants, gets the pieces.
//!
//! Every deposit of a unique value carries a register at its safe. The n registers of one generation agree on a single claimant by Paxos
//! (Lamport 1998), hardened so that up to f safes may lie about what they accepted, or be set back to an earlier state:
//!
//! ```text
//! claimant              safes
//!   ── prepare(ballot) ──▶   promise: nothing below this ballot; what was accepted so far
//!   ◀─ promises of q ───
//!   ── accept(ballot, value) ▶   unless a higher ballot was promised
//!   ◀─ accepted by q ───         chosen, for good
//! ```
//!
//! A claimant is `H(x)` of a secret x that its wallet has stored first; the safe hands out pieces to whoever shows the x behind the claimant that it accepted. Two
//! quorums of `q = ⌈(n + 2f + 1) / 2⌉` share at least f + 1 honest safes, so that a chosen claimant is vouched for by f + 1 safes in
//! every later quorum, and what fewer vouch for was not chosen and cannot become so. Spec: `spec/unique.md`.

use std::collections::BTreeMap;

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    codec::{self, Bytes},
    crypto::{CryptoError, HPKE_ENC_LEN, HpkePrivateKey, Secret, derive_secret, mac, same_bytes},
    identity::Entry,
    ids::{ClaimantId, DepositId, Nonce, Root, SafeId, Seconds},
    owner::ticket::Ticket,
    sealed::{Sealed, Subject},
};

/// Longest request, bytes: key 1120, secret 34, two claimants of 34, two numbers of 5, a ticket of 75, nonce 17, tag 16, and less than 80 for the rest.
pub const MAX_REGISTER_LEN: usize = HPKE_ENC_LEN + 400;
/// Longest answer, bytes: three claimants of 34, three numbers of 5, tag 34, and less than 30 for the rest.
pub const MAX_REGISTER_ANSWER_LEN: usize = 192;
/// Longest list of one proposal, bytes.
const MAX_PROPOSAL_LEN: usize = 280;

/// Who claims: `derive(x, "claimant")` of the claimant's secret x.
pub fn derive_claimant(x: &Secret) -> ClaimantId {
    ClaimantId(*derive_secret(x, "claimant", b"").expose())
}

/// A ballot: higher counters first, and no two claimants share one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Ballot {
    /// Round.
    #[n(0)]
    pub counter: u32,
    /// Whose round.
    #[n(1)]
    pub claimant: ClaimantId,
}

/// What was accepted under a ballot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Accepted {
    /// The ballot.
    #[n(0)]
    pub ballot: Ballot,
    /// The claimant who is to have the value.
    #[n(1)]
    pub value: ClaimantId,
}

/// What a safe remembers of a unique value's claims.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Register {
    /// How often the owner has overridden. Each override begins anew.
    #[n(0)]
    pub epoch: u32,
    /// Nothing below this ballot is accepted.
    #[n(1)]
    pub promised: Option<Ballot>,
    /// What was accepted last.
    #[n(2)]
    pub accepted: Option<Accepted>,
}

/// What a proposer asks of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Proposal {
    /// Promise this ballot. Secret: retrieve.
    #[n(0)]
    Prepare(#[n(0)] u32, #[n(1)] Ballot),
    /// Accept this claimant under this ballot. Secret: retrieve.
    #[n(1)]
    Accept(#[n(0)] u32, #[n(1)] Ballot, #[n(2)] ClaimantId),
    /// Forget the claims of all earlier epochs; the owner has decided so. Secret: release.
    #[n(2)]
    Override(#[n(0)] u32),
}

/// What a register answers: whether it did so, and where it stands now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Encode, Decode)]
pub struct Answer {
    /// Whether the proposal was taken.
    #[n(0)]
    pub taken: bool,
    /// Where the register stands.
    #[n(1)]
    pub register: Register,
}

/// An [`Answer`] on its way, with proof that it comes from somebody to whom the secret of the proposal was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
pub struct Vouched {
    #[n(0)]
    taken: bool,
    #[n(1)]
    register: Register,
    #[n(2)]
    tag: Root,
}

impl Proposal {
    /// Whether it is shown with the release secret rather than the retrieve secret.
    pub const fn needs_release(&self) -> bool {
        matches!(self, Self::Override(_))
    }

    /// `MAC(derive(secret, "register answer"), CBOR [nonce, proposal, answer])`: nobody on the way can make an answer, or give it for the answer
    /// to another request. Not even to the same proposal: what one ballot was promised, a claimant that has crashed or another window of its
    /// wallet must not hear once more, lest it proposes two claimants under one ballot.
    fn tag(&self, secret: &Secret, nonce: &Nonce, answer: &Answer) -> Root {
        Root(mac(&derive_secret(secret, "register answer", b""), &codec::encode(&(*nonce, *self, *answer))))
    }
}

impl Answer {
    /// The answer to a proposal that came with this secret and nonce. Inverse of [`Vouched::verify`].
    pub fn vouch(self, secret: &Secret, nonce: &Nonce, proposal: &Proposal) -> Vouched {
        Vouched { taken: self.taken, register: self.register, tag: proposal.tag(secret, nonce, &self) }
    }
}

impl Vouched {
    /// The answer, if it is one to this request by somebody who knows the secret.
    pub fn verify(&self, secret: &Secret, nonce: &Nonce, proposal: &Proposal) -> Option<Answer> {
        let answer = Answer { taken: self.taken, register: self.register };
        same_bytes(&proposal.tag(secret, nonce, &answer).0, &self.tag.0).then_some(answer)
    }
}

impl Register {
    /// One step. What is refused changes nothing, and what is repeated changes nothing.
    pub fn step(&mut self, proposal: &Proposal) -> Answer {
        let taken = match *proposal {
            // A ballot is promised once: a claimant that begins anew after a crash must go above what it may have proposed before.
            Proposal::Prepare(epoch, ballot) => {
                let taken = epoch == self.epoch && self.promised.is_none_or(|promised| promised < ballot);
                if taken {
                    self.promised = Some(ballot);
                }
                taken
            }
            Proposal::Accept(epoch, ballot, value) => {
                let taken = epoch == self.epoch && self.promised.is_none_or(|promised| promised <= ballot);
                if taken {
                    self.promised = Some(ballot);
                    self.accepted = Some(Accepted { ballot, value });
                }
                taken
            }
            Proposal::Override(epoch) => {
                if epoch > self.epoch {
                    *self = Self { epoch, ..Self::default() };
                }
                epoch == self.epoch
            }
        };
        Answer { taken, register: *self }
    }

    /// Whether the holder of `x` is the one whom this register accepted.
    pub fn accepts(&self, x: Option<&Secret>) -> bool {
        let claimant = x.map(derive_claimant);
        self.accepted.is_some_and(|accepted| Some(accepted.value) == claimant)
    }
}

/// How many safes must accept: `⌈(n + 2f + 1) / 2⌉`; 4 of 5, 3 of 3, 5 of 7 with f = 1. Two such quorums share at least f + 1 honest safes.
pub const fn quorum(n: usize, f: usize) -> usize {
    (n + 2 * f + 1).div_ceil(2)
}

/// How many of n safes may lie or be set back without harm: one, from three on. With one or two safes all have to be honest.
pub const fn liars(n: usize) -> usize {
    if n < 3 { 0 } else { 1 }
}

/// What a claimant does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Next {
    /// Send this to every safe that has not answered it.
    Ask(Proposal),
    /// This round is lost to a higher ballot: wait a random while, then [`Proposer::begin_round`].
    Again,
    /// This claimant is chosen: ours, and we may fetch; or another's, and we know who.
    Chosen(ClaimantId),
    /// The owner has overridden meanwhile: the register is at this epoch.
    Superseded(u32),
}

/// One claimant's side, for one generation over n safes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Proposer {
    safes: usize,
    liars: usize,
    epoch: u32,
    ballot: Ballot,
    highest: u32,
    phase: Phase,
    answers: BTreeMap<usize, Answer>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Prepare,
    Accept(ClaimantId),
}

impl Proposer {
    /// Begins the first round of a claimant at `safes` safes, of which `liars` may lie.
    pub const fn new(safes: usize, liars: usize, epoch: u32, claimant: ClaimantId) -> Self {
        Self {
            safes,
            liars,
            epoch,
            ballot: Ballot { counter: 1, claimant },
            highest: 1,
            phase: Phase::Prepare,
            answers: BTreeMap::new(),
        }
    }

    /// What is to be sent now.
    pub const fn ask(&self) -> Proposal {
        match self.phase {
            Phase::Prepare => Proposal::Prepare(self.epoch, self.ballot),
            Phase::Accept(value) => Proposal::Accept(self.epoch, self.ballot, value),
        }
    }

    /// The answers to what is being asked, by safe.
    pub const fn answers(&self) -> &BTreeMap<usize, Answer> {
        &self.answers
    }

    /// The highest round that was seen; the next one is above it.
    pub const fn highest(&self) -> u32 {
        self.highest
    }

    /// Begins the next round, above every ballot that was seen.
    pub fn begin_round(&mut self) {
        // A liar may name the highest counter there is; then our own last ballot is as high as it gets, and a round of it.
        self.ballot.counter = self.highest.saturating_add(1).max(self.ballot.counter);
        self.phase = Phase::Prepare;
        self.answers.clear();
    }

    /// For a claimant that is chosen: from now on every safe is asked to accept it under a ballot above all that were seen. No promise is needed, for whatever is
    /// chosen is proposed by everybody.
    pub fn insist(&mut self) {
        self.begin_round();
        self.phase = Phase::Accept(self.ballot.claimant);
    }

    /// Takes in a safe's answer to [`Self::ask`].
    pub fn take_in(&mut self, safe: usize, answer: Answer) -> Next {
        if safe < self.safes {
            // A lone liar must not be able to end the counting.
            let named = answer.register.promised.map_or(0, |ballot| ballot.counter);
            if named < self.highest.saturating_add(MAX_LEAP) {
                self.highest = self.highest.max(named);
            }
            self.answers.insert(safe, answer);
        }
        let q = quorum(self.safes, self.liars);
        let later: Vec<u32> =
            self.answers.values().map(|answer| answer.register.epoch).filter(|epoch| *epoch > self.epoch).collect();
        if later.len() > self.liars {
            return Next::Superseded(later.iter().copied().min().unwrap_or(self.epoch));
        }
        let alike = self.most_alike();
        if let Some((accepted, named)) = alike
            && named >= q
        {
            return Next::Chosen(accepted.value);
        }
        let taken = self.answers.values().filter(|answer| answer.taken).count();
        if taken >= q {
            return match self.phase {
                Phase::Accept(value) => Next::Chosen(value),
                Phase::Prepare => {
                    self.phase = Phase::Accept(self.vouched_for().unwrap_or(self.ballot.claimant));
                    self.answers.clear();
                    Next::Ask(self.ask())
                }
            };
        }
        let missing = self.safes - self.answers.len();
        let may_learn = alike.map_or(0, |(_, named)| named) + missing >= q;
        if taken + missing >= q || may_learn { Next::Ask(self.ask()) } else { Next::Again }
    }

    /// What most safes accepted, under one and the same ballot, and how many: with a quorum of them it is chosen, whoever's round it was.
    fn most_alike(&self) -> Option<(Accepted, usize)> {
        let accepted = || self.answers.values().filter_map(|answer| answer.register.accepted);
        accepted().map(|one| (one, accepted().filter(|other| *other == one).count())).max_by_key(|(_, named)| *named)
    }

    /// The claimant that must be proposed: the one for whom f + 1 promises vouch, with the highest ballot that f + 1 of them reach. With at
    /// most f liars, one of them at least is honest.
    fn vouched_for(&self) -> Option<ClaimantId> {
        let mut by_value: BTreeMap<ClaimantId, Vec<Ballot>> = BTreeMap::new();
        for answer in self.answers.values().filter(|answer| answer.taken) {
            if let Some(accepted) = answer.register.accepted {
                by_value.entry(accepted.value).or_default().push(accepted.ballot);
            }
        }
        let reach = |mut ballots: Vec<Ballot>| {
            ballots.sort_unstable();
            let at = ballots.len().checked_sub(self.liars + 1)?;
            ballots.get(at).copied()
        };
        let candidates = by_value.into_iter().filter_map(|(value, ballots)| Some((reach(ballots)?, value)));
        candidates.max().map(|(_, value)| value)
    }
}

/// How far above the highest known round a safe's word is believed.
const MAX_LEAP: u32 = 1 << 16;

/// Seals a secret and a proposal to a safe: the body of `POST /v1/deposits/{id}/register`, at most [`MAX_REGISTER_LEN`] bytes. Inverse of
/// [`open_proposal`].
///
/// # Errors
/// If the entry's HPKE key is not one.
pub fn seal_proposal<R: CryptoRng>(
    secret: &Secret,
    proposal: &Proposal,
    ticket: Option<&Ticket>,
    entry: &Entry,
    deposit: &DepositId,
    expiry: Seconds,
    rng: &mut R,
) -> Result<Sealed, CryptoError> {
    let ticket = ticket.map(|ticket| Bytes(ticket.to_bytes().to_vec()));
    let plain = Zeroizing::new(codec::encode(&Proposed { secret: secret.clone(), proposal: *proposal, ticket }));
    Sealed::make(Subject("register", Some(deposit)), &plain, entry, expiry, rng)
}

/// What is sealed.
#[derive(Encode, Decode)]
struct Proposed {
    #[n(0)]
    secret: Secret,
    #[n(1)]
    proposal: Proposal,
    /// Where the deposit is bound to its owner.
    #[n(2)]
    ticket: Option<Bytes>,
}

/// Opens secret and proposal at the safe, and the ticket where there is one.
///
/// # Errors
/// [`CryptoError`] if they were sealed to another safe, deposit, nonce or expiry, or are none.
pub fn open_proposal(
    request: &Sealed,
    key: &HpkePrivateKey,
    safe: &SafeId,
    deposit: &DepositId,
) -> Result<(Secret, Proposal, Option<Ticket>), CryptoError> {
    let plain = request.open(Subject("register", Some(deposit)), key, safe)?;
    let Proposed { secret, proposal, ticket } = codec::decode(&plain, MAX_PROPOSAL_LEN).map_err(|_| CryptoError)?;
    Ok((secret, proposal, ticket.map(|ticket| Ticket::parse(&ticket)).transpose()?))
}
