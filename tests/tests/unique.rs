//! Values that live once: the agreement of the registers, as an exhaustive model with crashes, lost answers and a safe that lies, and over safes in
//! memory that are set back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::HashSet,
    hash::{BuildHasher, Hash, Hasher},
    thread,
};

use foldhash::quality::FixedState;
use protocol::{
    ids::ClaimantId,
    register::{Accepted, Answer, Ballot, Next, Proposal, Proposer, Register, quorum},
};

const CLAIMANTS: usize = 3;

/// Half of the time goes into hashes, and the standard library's are slow.
const HASH: FixedState = FixedState::with_seed(0);

fn claimant(i: usize) -> ClaimantId {
    ClaimantId([i as u8; 32])
}

/// Everything there is: registers of honest safes, claimants, and how much may still go wrong.
#[derive(Clone)]
struct World {
    /// Safes in all; those behind the registers lie.
    safes: usize,
    registers: Vec<Register>,
    proposers: Vec<Proposer>,
    chosen: [Option<ClaimantId>; CLAIMANTS],
    rounds: u8,
    crashes: u8,
    losses: u8,
    /// What a claimant had sent when it crashed: it may still arrive, anywhere and any number of times. With two claimants only, for their worlds
    /// are few enough.
    flying: Option<Proposal>,
}

impl World {
    fn new(safes: usize, liars: usize, claimants: usize, [rounds, crashes, losses]: [u8; 3]) -> Self {
        let proposer = |i| Proposer::new(safes, 1, 0, claimant(i));
        Self {
            safes,
            registers: vec![Register::default(); safes - liars],
            proposers: (0..claimants).map(proposer).collect(),
            chosen: [None; CLAIMANTS],
            rounds,
            crashes,
            losses,
            flying: None,
        }
    }

    /// Honest safes have no names: worlds that differ in their order only are one.
    fn key(&self) -> u64 {
        let of_safe = |safe: usize| {
            let mut hasher = HASH.build_hasher();
            self.registers.get(safe).hash(&mut hasher);
            self.proposers.iter().for_each(|p| p.answers().get(&safe).hash(&mut hasher));
            hasher.finish()
        };
        let mut honest: Vec<u64> = (0..self.registers.len()).map(of_safe).collect();
        honest.sort_unstable();
        let mut hasher = HASH.build_hasher();
        honest.hash(&mut hasher);
        (self.registers.len()..self.safes).for_each(|liar| of_safe(liar).hash(&mut hasher));
        for p in &self.proposers {
            (p.ask(), p.highest()).hash(&mut hasher);
        }
        (self.chosen, self.rounds, self.crashes, self.losses, self.flying).hash(&mut hasher);
        hasher.finish()
    }

    fn hear(mut self, p: usize, safe: usize, answer: Answer) -> Option<Self> {
        match self.proposers[p].take_in(safe, answer) {
            Next::Chosen(value) => self.chosen[p] = Some(value),
            Next::Again => {
                self.rounds = self.rounds.checked_sub(1)?;
                self.proposers[p].begin_round();
            }
            Next::Ask(_) => {}
            Next::Superseded(_) => return None,
            _ => unreachable!(),
        }
        Some(self)
    }

    /// What a liar may say: that it agrees, having accepted nothing or anything; or that it does not.
    fn lies(&self, ask: &Proposal) -> Vec<Answer> {
        let (Proposal::Prepare(_, ballot) | Proposal::Accept(_, ballot, _)) = *ask else { unreachable!() };
        let says = |taken, promised, accepted| Answer { taken, register: Register { epoch: 0, promised, accepted } };
        let mut lies = vec![says(true, Some(ballot), None)];
        if matches!(ask, Proposal::Prepare(..)) {
            for value in (0..self.proposers.len()).map(claimant) {
                let accepted = Accepted { ballot: Ballot { counter: 1000, claimant: value }, value };
                lies.push(says(true, Some(ballot), Some(accepted)));
            }
        }
        lies
    }

    fn next(&self) -> Vec<Self> {
        let mut worlds = Vec::new();
        for safe in 0..self.flying.map_or(0, |_| self.registers.len()) {
            let mut late = self.clone();
            if let Some(proposal) = &self.flying {
                late.registers[safe].step(proposal);
            }
            worlds.push(late);
        }
        for (p, proposer) in self.proposers.iter().enumerate().filter(|(p, _)| self.chosen[*p].is_none()) {
            let ask = proposer.ask();
            for safe in (0..self.safes).filter(|safe| !proposer.answers().contains_key(safe)) {
                let mut asked = self.clone();
                match asked.registers.get_mut(safe) {
                    Some(register) => {
                        let answer = register.step(&ask);
                        if asked.losses > 0 && asked.registers[safe] != self.registers[safe] {
                            worlds.push(Self { losses: asked.losses - 1, ..asked.clone() });
                        }
                        worlds.extend(asked.hear(p, safe, answer));
                    }
                    None => {
                        worlds.extend(self.lies(&ask).into_iter().filter_map(|lie| self.clone().hear(p, safe, lie)))
                    }
                }
            }
            // A crash ahead of the first proposal leaves promises behind, as any rival's ballot does.
            // The last claimant's ballots are above the others', so that it may have to propose somebody else: before its crash, and not after it. (All
            // claimants' crashes, tried once, are 12 million worlds.)
            let last = p + 1 == self.proposers.len();
            let proposed = last && matches!(ask, Proposal::Accept(..)) && !proposer.answers().is_empty();
            if let Some(crashes) = self.crashes.checked_sub(1).filter(|_| proposed) {
                let flying = (self.proposers.len() == 2).then_some(ask);
                let mut crashed = Self { crashes, flying, ..self.clone() };
                crashed.proposers[p] = Proposer::new(self.safes, 1, 0, claimant(p));
                worlds.push(crashed);
            }
        }
        worlds
    }
}

/// Visits every world that can be reached; returns how many, and how many of them have a chosen claimant.
fn explore(start: World) -> (usize, usize) {
    let mut known = HashSet::with_hasher(HASH);
    known.insert(start.key());
    let (mut waiting, mut chosen) = (vec![start], 0);
    while let Some(world) = waiting.pop() {
        let mut heard = world.chosen.iter().flatten();
        if let Some(first) = heard.next() {
            chosen += 1;
            assert!(heard.all(|other| other == first), "two claimants hold the value: {:?}", world.chosen);
        }
        for next in world.next() {
            if known.insert(next.key()) {
                waiting.push(next);
            }
        }
    }
    (known.len(), chosen)
}

/// Each from a thread of its own: the largest takes as long as all others.
fn explore_all<const N: usize>(worlds: [(&str, World); N]) {
    thread::scope(|scope| {
        for (what, world) in worlds {
            scope.spawn(move || {
                let (worlds, chosen) = explore(world);
                println!("{what}: {worlds} worlds, {chosen} of them decided");
                assert!(chosen > 0, "{what}: nobody ever gets the value");
            });
        }
    });
}

/// Every order of messages, with what may go wrong on the way: further rounds, crashes, lost answers.
#[test]
fn one_claimant_is_chosen_among_honest_safes() {
    explore_all([
        ("three claimants, five safes, a crash", World::new(5, 0, 3, [0, 1, 0])),
        ("two claimants, five safes, a further round, a crash, a lost answer", World::new(5, 0, 2, [1, 1, 1])),
    ]);
}

#[test]
fn one_claimant_is_chosen_although_a_safe_lies() {
    explore_all([
        ("three claimants, one of five safes lies", World::new(5, 1, 3, [0, 0, 0])),
        ("two claimants, one of five safes lies, two further rounds", World::new(5, 1, 2, [2, 0, 0])),
        ("two claimants, one of five safes lies, a further round, a crash", World::new(5, 1, 2, [1, 1, 0])),
        ("two claimants, one of five safes lies, a further round, a lost answer", World::new(5, 1, 2, [1, 0, 1])),
        ("two claimants, one of four safes lies, all of it", World::new(4, 1, 2, [1, 1, 1])),
        ("three claimants, one of three safes lies, a further round, a crash", World::new(3, 1, 3, [1, 1, 0])),
    ]);
}

#[test]
fn two_quorums_share_more_honest_safes_than_may_lie() {
    for f in 0..3 {
        for n in 2 * f + 1..20 {
            let q = quorum(n, f);
            assert!(2 * q > n + 2 * f, "{q} of {n}, {f} lie");
            assert!(2 * (q - 1) <= n + 2 * f, "{q} of {n} is more than is needed");
        }
    }
    assert_eq!([(5, 1), (3, 1), (4, 1), (7, 1), (5, 0)].map(|(n, f)| quorum(n, f)), [4, 3, 4, 5, 3]);
}
