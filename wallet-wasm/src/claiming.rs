//! Claims under way: what the registers of values that live once have said to this wallet, and what it asks them next (`spec/unique.md`).
//!
//! Nothing of it is persisted but the claim itself ([`Claim`]): a wallet that comes back begins a new round, and learns from the registers how far it was.

use protocol::{
    ids::{ClaimantId, Seconds},
    register::{Answer, Next, Proposal, Proposer, liars, quorum},
};

use crate::state::{Backup, Claim};

/// Longest pause between two rounds is twice this power of two, seconds: 64.
const MAX_DOUBLINGS: u32 = 5;
/// So often a register is asked to accept whom all others accept.
const MAX_INSISTENCE: u8 = 3;

/// What has come of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// This claimant has the values.
    Chosen(ClaimantId),
    /// An owner has begun anew with this epoch.
    Superseded(u32),
}

/// A claim under way.
#[derive(Debug)]
pub struct Claiming {
    claimant: ClaimantId,
    epoch: u32,
    lenient: bool,
    safes: usize,
    proposer: Proposer,
    /// Registers of an earlier epoch, which are brought to this one first.
    behind: Vec<usize>,
    /// Registers that did not answer in this round.
    missed: Vec<usize>,
    rounds: u32,
    not_before: Seconds,
    /// After the choice: registers that do not know of it yet, and how often they said no.
    unaware: Vec<(usize, u8)>,
    /// After the choice: registers that were told.
    aware: Vec<usize>,
    /// After the choice: registers that are at a later epoch.
    later: Vec<(usize, u32)>,
}

/// What a register says to the chosen claimant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It knows now, or is asked once more.
    Well,
    /// It gives it nothing.
    Refuses,
    /// So many are at a later epoch that the choice counts no more.
    Superseded(u32),
}

impl Claiming {
    /// Begins a claim.
    pub fn new(claim: &Claim, safes: usize) -> Self {
        let (claimant, epoch, lenient) = (claim.claimant(), claim.epoch, claim.lenient);
        let liars = if lenient { 0 } else { liars(safes) };
        Self {
            claimant,
            epoch,
            lenient,
            safes,
            proposer: Proposer::new(safes, liars, epoch, claimant),
            behind: Vec::new(),
            missed: Vec::new(),
            rounds: 0,
            not_before: 0,
            unaware: Vec::new(),
            aware: Vec::new(),
            later: Vec::new(),
        }
    }

    /// Whether it is this claim's.
    pub fn is_of(&self, claim: &Claim) -> bool {
        (self.claimant, self.epoch, self.lenient) == (claim.claimant(), claim.epoch, claim.lenient)
    }

    /// What a register is to be asked now; `None`: nothing.
    pub fn ask(&self, at: usize, now: Seconds) -> Option<Proposal> {
        if self.not_before > now || self.missed.contains(&at) {
            None
        } else if self.behind.contains(&at) {
            Some(Proposal::Override(self.epoch))
        } else {
            (!self.proposer.answers().contains_key(&at)).then(|| self.proposer.ask())
        }
    }

    /// Until when it waits.
    pub const fn not_before(&self) -> Seconds {
        self.not_before
    }

    /// Everything is tried again at once.
    pub fn retry(&mut self) {
        self.not_before = 0;
        self.missed.clear();
        self.unaware.clear();
        self.aware.clear();
    }

    /// A register's answer to a proposal.
    pub fn heard(&mut self, at: usize, proposal: &Proposal, answer: Answer, now: Seconds) -> Option<Outcome> {
        let epoch = answer.register.epoch;
        match proposal {
            Proposal::Override(raised) if *raised == self.epoch => {
                self.behind.retain(|behind| *behind != at);
                if epoch == self.epoch {
                    return None;
                }
            }
            // To what was asked before: what it says may no longer be so.
            _ if *proposal != self.proposer.ask() => return None,
            _ => {}
        }
        if epoch < self.epoch {
            self.behind.push(at);
            return None;
        }
        let asked = self.proposer.ask();
        match self.proposer.take_in(at, answer) {
            Next::Chosen(claimant) => return Some(Outcome::Chosen(claimant)),
            Next::Superseded(epoch) => return Some(Outcome::Superseded(epoch)),
            Next::Again => self.begin_round(now),
            // Whoever was silent before is asked once more.
            Next::Ask(next) if next != asked => self.missed.clear(),
            _ => self.look(now),
        }
        None
    }

    /// A register did not answer, or does not know of the deposit.
    pub fn missed(&mut self, at: usize, now: Seconds) {
        if !self.missed.contains(&at) {
            self.missed.push(at);
        }
        self.look(now);
    }

    /// A round in which all have answered who will is over.
    fn look(&mut self, now: Seconds) {
        let heard = |at: &usize| self.missed.contains(at) || self.proposer.answers().contains_key(at);
        if (0..self.safes).all(|at| heard(&at)) {
            self.begin_round(now);
        }
    }

    fn begin_round(&mut self, now: Seconds) {
        self.proposer.begin_round();
        self.missed.clear();
        // Rivals have other claimants, and so other pauses: a hash is as good as a die.
        let die = Seconds::from(self.claimant.0[self.rounds as usize % self.claimant.0.len()]);
        self.rounds = self.rounds.saturating_add(1);
        self.not_before = now + 1 + die % (1 << self.rounds.min(MAX_DOUBLINGS + 1));
    }

    /// How many safes have answered in this round, and how many are needed.
    pub fn progress(&self) -> (usize, usize) {
        (self.proposer.answers().len(), needed(self.safes, self.lenient))
    }

    // ---- after the choice ----------------------------------------------------------------------------------------

    /// A safe gives nothing to the chosen claimant; `false`: although it knows.
    pub fn unaware(&mut self, at: usize) -> bool {
        if self.aware.contains(&at) {
            return false;
        }
        if self.unaware.iter().all(|(known, _)| *known != at) {
            self.unaware.push((at, 0));
            self.proposer.insist();
        }
        true
    }

    /// What a register is told that does not know of the choice; `None`: it does.
    pub fn tell(&self, at: usize) -> Option<Proposal> {
        self.unaware.iter().any(|(known, _)| *known == at).then(|| self.proposer.ask())
    }

    /// What it said to that.
    pub fn told(&mut self, at: usize, answer: Answer) -> Told {
        let Some(place) = self.unaware.iter().position(|(known, _)| *known == at) else { return Told::Well };
        self.unaware[place].1 += 1;
        let epoch = answer.register.epoch;
        if answer.taken {
            self.unaware.remove(place);
            self.aware.push(at);
            return Told::Well;
        }
        if epoch == self.epoch && self.unaware[place].1 < MAX_INSISTENCE {
            self.proposer.take_in(at, answer);
            self.proposer.insist();
            return Told::Well;
        }
        self.unaware.remove(place);
        self.later.retain(|(known, _)| *known != at);
        if epoch > self.epoch {
            self.later.push((at, epoch));
        }
        // More than may lie.
        let least = self.later.iter().map(|(_, epoch)| *epoch).min();
        least.filter(|_| self.later.len() > liars(self.safes)).map_or(Told::Refuses, Told::Superseded)
    }
}

/// How many of so many safes must answer a claim.
pub fn needed(safes: usize, lenient: bool) -> usize {
    quorum(safes, if lenient { 0 } else { liars(safes) })
}

/// How many safes must answer before the values of a backup that live once are given to anybody; 0: they may live often.
pub fn needed_for(backup: &Backup) -> usize {
    if backup.lives_once() { needed(backup.registers().count(), false) } else { 0 }
}
