//! Messages on their way, and what becomes of them; safes that are away, that lie, that lose or set back what they have.

use protocol::{
    codec,
    ids::{DepositId, SafeId, Seconds},
    problem::Problem,
    register::{self, Accepted, MAX_REGISTER_LEN, Proposal, Register, open_proposal},
    sealed::Sealed,
};
use rand_core::Rng;
use safe_worker::{
    flow::Policy,
    memory::{FAULTS, MemorySafe},
};
use wallet_wasm::{
    exchange::Answer,
    session::{Action, Errand},
};

use super::{Bug, World};
use crate::world::{START, Safes, Sending, ask};

/// What becomes of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Both arrive.
    Arrives,
    /// The request does not.
    LostBefore,
    /// The answer does not.
    LostAfter,
    /// Another answer comes in its place.
    Forged,
}

/// Which way a message goes.
#[derive(Debug)]
pub(super) enum Leg {
    /// To the safe.
    Out,
    /// Back; `None`: the wallet gives up waiting.
    Back(Option<Answer>),
}

/// A message on its way.
#[derive(Debug)]
pub(super) struct Flight {
    owner: usize,
    tab: u64,
    sending: Sending,
    leg: Leg,
    fate: Fate,
    /// A second copy, whose answer nobody hears.
    echo: bool,
}

impl Flight {
    /// Whether it is of this wallet.
    pub(super) const fn is_of(&self, owner: usize) -> bool {
        self.owner == owner
    }

    /// Whoever sent it is gone: it arrives, and nobody hears of it.
    pub(super) const fn goes_on_alone(&mut self) -> bool {
        self.echo = true;
        matches!(self.leg, Leg::Out)
    }
}

/// An answer that was on the wire: somebody may send it again.
#[derive(Debug)]
pub(super) struct Heard {
    safe: SafeId,
    answer: Answer,
}

/// Problems that anybody can claim a safe to have.
const CLAIMED: [Problem; 7] = [
    Problem::Conflict,
    Problem::Gone,
    Problem::NotFound,
    Problem::ClaimExpired,
    Problem::ClaimUnreadable,
    Problem::OverQuota,
    Problem::NotOwner,
];

impl World<'_, '_> {
    /// A request leaves a window.
    pub(super) fn launch(&mut self, owner: usize, tab: u64, mut sending: Sending) {
        self.spoil(owner, &mut sending);
        self.look_at_message(owner, tab, &sending);
        let kind = match &sending.action {
            Action::Send(_, _, errand) => match errand {
                Errand::Put => "request: put",
                Errand::Confirm => "request: confirm",
                Errand::Retrieve => "request: retrieve",
                Errand::Release => "request: release",
                Errand::Restore => "request: restore",
                Errand::Propose(_) => "request: propose",
                _ => "request: renew",
            },
            Action::Owner(..) => "request: owner",
            _ => "request: audit",
        };
        *self.report.operations.entry(kind).or_default() += 1;
        let fate = match self.dice.below(if self.calm { 1 } else { 24 }) {
            1 => Fate::LostBefore,
            2 => Fate::LostAfter,
            3 => {
                self.fault("message twice, the second one late");
                let copy = sending.clone();
                self.flights.push(Flight { owner, tab, sending: copy, leg: Leg::Out, fate: Fate::Arrives, echo: true });
                Fate::Arrives
            }
            4 if !self.gentle => Fate::Forged,
            _ => Fate::Arrives,
        };
        self.flights.push(Flight { owner, tab, sending, leg: Leg::Out, fate, echo: false });
    }

    /// One message arrives, whichever: they do not keep their order.
    pub(super) fn deliver(&mut self) {
        if self.flights.is_empty() {
            return;
        }
        let at = self.dice.below(self.flights.len());
        let flight = self.flights.swap_remove(at);
        let Flight { owner, tab, sending, leg, fate, echo } = flight;
        let answer = match leg {
            Leg::Back(answer) => return self.answer(owner, tab, &sending, answer),
            Leg::Out if fate == Fate::LostBefore => {
                self.fault("message lost before");
                None
            }
            Leg::Out => self.at_safe(&sending),
        };
        if echo {
            return;
        }
        let answer = match fate {
            Fate::LostAfter => {
                self.fault("message lost after");
                None
            }
            Fate::Forged => self.forge(&sending, answer),
            _ => answer,
        };
        if let Some(answer) = answer.as_ref().filter(|_| self.heard.len() < 60) {
            self.heard.push(Heard { safe: sending.request.safe, answer: answer.clone() });
        }
        self.flights.push(Flight { owner, tab, sending, leg: Leg::Back(answer), fate, echo });
    }

    fn at_safe(&mut self, sending: &Sending) -> Option<Answer> {
        let index = self.safes.addressee(&sending.request)?;
        if self.safes.away.contains(&index) {
            return None;
        }
        let now = self.clock_of(index);
        let lie = if self.lying[index] { self.dice.below(3) } else { 2 };
        let owners = matches!(sending.action, Action::Owner(..));
        if owners {
            self.book_moved = true;
            self.mistake_at(index);
        }
        if let Some(lie) = self.lies_of_register(index, sending).filter(|_| lie < 2) {
            self.fault("safe lies of a register");
            return Some(lie);
        }
        let answer = match lie {
            0 if !owners => self.ask_twin(index, sending, now),
            _ => ask(&self.safes.all[index], &sending.request, sending.body.clone(), now),
        };
        let over = answer.as_ref().and_then(|answer| answer.problem.as_ref());
        if over.is_some_and(|(uri, _)| *uri == Problem::OverQuota.type_uri()) {
            self.fault("quota hit");
        }
        self.say(|| format!("  safe {index} answers {:?}", answer.as_ref().map(|a| (a.status, &a.problem))));
        if lie == 1 { self.forge(sending, answer) } else { answer }
    }

    pub(super) fn clock_of(&self, index: usize) -> Seconds {
        self.now.saturating_add_signed(self.skews[index])
    }

    /// A safe that agrees to whatever it is asked about what lives once, remembers nothing of it, and gives its piece to anybody.
    fn lies_of_register(&self, index: usize, sending: &Sending) -> Option<Answer> {
        let Action::Send(_, deposit, errand) = &sending.action else { return None };
        let Errand::Propose(proposal) = errand else {
            let body = self.safes.all[index].body(deposit).filter(|_| *errand == Errand::Retrieve)?;
            return Some(Answer { status: 200, body, problem: None });
        };
        let request = Sealed::parse(&sending.body, MAX_REGISTER_LEN).ok()?;
        let (secret, ..) = self.safes.all[index]
            .keys()
            .iter()
            .find_map(|(_, key)| open_proposal(&request, key, &self.ids[index], deposit).ok())?;
        let register = match *proposal {
            Proposal::Prepare(epoch, ballot) => Register { epoch, promised: Some(ballot), accepted: None },
            Proposal::Accept(epoch, ballot, value) => {
                Register { epoch, promised: Some(ballot), accepted: Some(Accepted { ballot, value }) }
            }
            _ => return None,
        };
        let vouched = register::Answer { taken: true, register }.vouch(&secret, &request.nonce, proposal);
        Some(Answer { status: 200, body: codec::encode(&vouched), problem: None })
    }

    /// It signs in the safe's name, and the safe knows nothing of it.
    fn ask_twin(&mut self, index: usize, sending: &Sending, now: Seconds) -> Option<Answer> {
        self.fault("safe forked");
        self.leaky = true;
        let twin = self.twins[index].get_or_insert_with(|| {
            let twin = MemorySafe::new(&format!("safe-{index}"), &Safes::seed(index), START).unwrap();
            twin.with_policy(Policy { token_key: self.token_key.clone(), operator_secret: None, relays: Vec::new() })
        });
        let answer = ask(twin, &sending.request, sending.body.clone(), now);
        let Action::Send(_, deposit, _) = &sending.action else { return answer };
        if twin.record(deposit).is_some_and(|record| record.certificate.is_some()) {
            self.damaged.insert(*deposit);
        }
        answer
    }

    /// What somebody on the way, or the safe itself, may send instead.
    fn forge(&mut self, sending: &Sending, answer: Option<Answer>) -> Option<Answer> {
        self.leaky = true;
        let safe = sending.request.safe;
        let others: Vec<usize> = (0..self.heard.len()).filter(|at| self.heard[*at].safe == safe).collect();
        match (self.dice.below(5), answer) {
            (0, Some(mut answer)) if !answer.body.is_empty() => {
                self.fault("answer altered");
                let at = self.dice.below(answer.body.len());
                answer.body[at] ^= 1 << self.dice.below(8);
                Some(answer)
            }
            (1, Some(mut answer)) => {
                self.fault("answer cut off");
                answer.body.truncate(self.dice.below(answer.body.len()));
                Some(answer)
            }
            (2, _) if !others.is_empty() => {
                self.fault("another answer again");
                let at = others[self.dice.below(others.len())];
                Some(self.heard[at].answer.clone())
            }
            (3, _) => {
                self.fault("answer of a stranger");
                Some(Answer { status: 200, body: b"<html>Log in to the network</html>".to_vec(), problem: None })
            }
            _ => {
                self.fault("problem claimed");
                let problem = CLAIMED[self.dice.below(CLAIMED.len())];
                let leaves = matches!(sending.action, Action::Owner(_, wallet_wasm::owner::Errand::Leave));
                // The wallet believes that it has left, which costs nothing but an account that stays.
                self.unheard |= leaves && problem == Problem::NotOwner;
                let times = [0, 1, self.now, self.now + 9_000, self.now + 900 * super::DAY, u64::MAX];
                let time = times[self.dice.below(times.len())];
                let problem = Some((problem.type_uri(), time));
                Some(Answer { status: 409, body: Vec::new(), problem })
            }
        }
    }

    /// A window looks whether a safe has other keys, or another clock.
    pub(super) fn look_again(&mut self, owner: usize, tab: usize, safe: SafeId, why: String) {
        let Some(index) = self.ids.iter().position(|id| *id == safe) else { return };
        let seen = self.safes.find(&safe, self.clock_of(index));
        self.in_tab(owner, tab, |tab| tab.wallet.look_again(safe, seen, why));
    }

    /// Something happens to a safe.
    pub(super) fn trouble_at(&mut self, index: usize, kind: usize) {
        if self.gentle && matches!(kind, 7..=10 | 13) {
            return;
        }
        // In some runs no more safes lie or forget than what lives once stands.
        let index = if matches!(kind, 7..11) { self.rogue.unwrap_or(index) } else { index };
        let all: Vec<DepositId> = self.safes.all[index].records().keys().copied().collect();
        match kind {
            5 => {
                self.fault("safe away");
                self.safes.away.push(index);
            }
            6 => self.safes.away.clear(),
            7 if self.dice.one_of(3) => {
                self.fault("safe wiped");
                self.liars.insert(index);
                self.safes.all[index].lose_records();
                self.safes.all[index].lose_bodies();
                self.damaged.extend(all);
                self.leaky = true;
            }
            7 | 8 => self.snapshots[index] = Some(self.safes.all[index].snapshot()),
            9 => {
                let Some(snapshot) = self.snapshots[index].take() else { return };
                if !self.may_set_back(index, &snapshot) {
                    return;
                }
                self.fault("safe set back");
                self.liars.insert(index);
                let safe = &self.safes.all[index];
                let changed = safe.records().into_iter().filter(|(id, now)| snapshot.records.get(id) != Some(now));
                self.damaged.extend(changed.map(|(id, _)| id));
                safe.restore(snapshot);
                self.was_set_back(index);
                self.leaky = true;
            }
            10 => {
                if !self.lying[index] {
                    self.fault("safe lies");
                }
                self.liars.insert(index);
                self.lying[index] = !self.lying[index];
            }
            11 => {
                self.fault("safe's platform fails");
                let fault = FAULTS[self.dice.below(FAULTS.len())];
                let at = 1 + self.dice.below(5) as u64;
                self.safes.all[index].catch_up();
                self.safes.all[index].set_faults([(at, fault)]);
            }
            12 => {
                let revoke = self.dice.one_of(3);
                self.fault(if revoke { "safe's key revoked" } else { "safe's key changed" });
                let now = self.clock_of(index);
                // What was begun under the old key and its time is done with them: an object has one clock and one key.
                self.safes.all[index].catch_up();
                self.safes.all[index].rotate(now, revoke).unwrap();
            }
            _ => {
                self.fault("safe's bodies corrupt");
                let salt = self.dice.0.next_u32() as usize;
                self.safes.all[index].corrupt(|body| {
                    let at = salt % body.len().max(1);
                    if let Some(byte) = body.get_mut(at) {
                        *byte ^= 4;
                    }
                });
                self.damaged.extend(all);
            }
        }
    }

    /// No more faults.
    pub(super) fn mend(&mut self) {
        self.safes.away.clear();
        self.lying.fill(false);
        for safe in &self.safes.all {
            safe.set_faults([]);
            safe.catch_up();
            safe.settle();
        }
        for at in 0..self.owners.len() {
            self.owners[at].disk.mend();
            for tab in 0..self.owners[at].tabs.len() {
                self.in_tab(at, tab, |tab| {
                    tab.wallet.session.retry();
                    Ok(())
                });
            }
        }
        for flight in &mut self.flights {
            if matches!(flight.leg, Leg::Out) {
                flight.fate = Fate::Arrives;
            }
        }
    }

    fn spoil(&self, owner: usize, sending: &mut Sending) {
        let Action::Send(backup, deposit, errand) = &sending.action else { return };
        let owner = &self.owners[owner];
        match (self.bug, errand) {
            (Some(Bug::SendsSecret), Errand::Retrieve) => {
                let known = owner.known.backups.get(backup).and_then(|b| b.deposit(deposit));
                let secrets = known.map(|d| protocol::deposit::DepositSecrets::derive(&d.d));
                sending.body = secrets.map_or_else(Vec::new, |secrets| secrets.retrieve.expose().to_vec());
            }
            (Some(Bug::SendsPlaintext), Errand::Put) => {
                let first = owner.known.backups.get(backup).and_then(|b| b.values.first());
                sending.body = first.and_then(|meta| owner.expected.get(&meta.id)).cloned().unwrap_or_default();
            }
            _ => {}
        }
    }
}
