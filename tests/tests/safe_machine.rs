//! Laws of the safe's machine over any history: repeated requests, two writes at a time, two statements under one id,
//! clocks that jump, and alarms that come late or never.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index};
use protocol::{
    certificate::{self, Offered, offer_digest, verify_receipt},
    claim::{CLAIM_SPAN, Claim, Verb},
    codec::Bytes,
    deposit::{DepositSecrets, Statement},
    ids::{AttemptId, DepositId, Root, Seconds},
    problem::Problem,
};
use safe_worker::{
    machine::{ATTEMPT_SPAN, CONFIRM_SPAN, Config, ERASE_RETRY, Keys, Reply, Request, Step, step},
    memory::LIMITS,
    record::{MAX_ATTEMPTS, MAX_RECORD_LEN, Record, State},
};
use tests::fixture::{NOW, TestSafe, URL, rng, secret};

const DEPOSIT: DepositId = DepositId([0xd1; 16]);
/// Short, so that histories get past its end.
const LEASE: Seconds = 3 * CONFIRM_SPAN;
const STATES: [State; 6] =
    [State::Writing, State::Offered, State::Held, State::Deleting, State::Released, State::Lapsing];

/// One event of a history. Statement 0 is the wallet's, 1 a squatter's under the same id.
#[derive(Debug, Clone)]
enum Act {
    Begin(usize),
    /// An attempt that was given out, for its statement, with the stated body or another.
    Commit(Index, bool),
    /// The latest offer, or none that exists.
    Confirm(bool),
    Claim(Verb, usize),
    /// A claim once more, as it was.
    Replay(Index),
    /// Of the writes that were listed for removal: all, or one. The report may be late.
    Erased(Option<Index>),
    Alarm,
    Wait(Seconds),
}

fn any_act() -> impl Strategy<Value = Act> {
    let waits = [1, ERASE_RETRY, CLAIM_SPAN, ATTEMPT_SPAN, CONFIRM_SPAN - 1, CONFIRM_SPAN, LEASE];
    prop_oneof![
        4 => prop_oneof![5 => Just(0), 1 => Just(1)].prop_map(Act::Begin),
        5 => (any::<Index>(), prop::bool::weighted(0.8)).prop_map(|(at, fits)| Act::Commit(at, fits)),
        4 => prop::bool::weighted(0.8).prop_map(Act::Confirm),
        3 => (prop_oneof![3 => Just(Verb::Retrieve), 1 => Just(Verb::Release), 1 => Just(Verb::Audit)],
            prop_oneof![5 => Just(0usize), 1 => Just(1)]).prop_map(|(verb, who)| Act::Claim(verb, who)),
        1 => any::<Index>().prop_map(Act::Replay),
        2 => prop::option::of(any::<Index>()).prop_map(Act::Erased),
        1 => Just(Act::Alarm),
        2 => prop::sample::select(waits.to_vec()).prop_map(Act::Wait),
    ]
}

/// The object that holds the record, and what the world has seen of it.
struct Ledger {
    safe: TestSafe,
    config: Config,
    keys: Keys,
    statements: [Statement; 2],
    secrets: [DepositSecrets; 2],
    now: Seconds,
    drawn: u64,
    /// As stored: bytes.
    stored: Option<Vec<u8>>,
    alarm: Option<Seconds>,
    /// Writes given out, with the statement that they were given for.
    attempts: Vec<(AttemptId, usize)>,
    /// Writes whose body fitted when it was committed.
    fitted: BTreeSet<AttemptId>,
    /// Writes that the shell was told to remove.
    listed: BTreeSet<AttemptId>,
    offer: Option<Bytes>,
    certificates: Vec<Bytes>,
    receipt: Option<Bytes>,
    /// Claims that were granted in this record's life.
    granted: Vec<Claim>,
    claims: Vec<Claim>,
}

impl Ledger {
    fn new() -> Self {
        let safe = TestSafe::make(1);
        let config = Config { safe: safe.id(), url: URL.into(), entry: 1, limits: LIMITS };
        let keys = Keys { signing: safe.keys.signing.clone(), hpke: safe.keys.hpke.clone() };
        let state = |seed: u64, body: &[u8]| Statement { lease: LEASE, ..safe.statement(DEPOSIT, &secret(seed), body) };
        let statements = [state(1, b"the wallet's body"), state(2, b"the squatter's body")];
        let secrets = [1, 2].map(|seed| DepositSecrets::derive(&secret(seed)));
        Self {
            safe,
            config,
            keys,
            statements,
            secrets,
            now: NOW + 1000,
            drawn: 0,
            stored: None,
            alarm: None,
            attempts: Vec::new(),
            fitted: BTreeSet::new(),
            listed: BTreeSet::new(),
            offer: None,
            certificates: Vec::new(),
            receipt: None,
            granted: Vec::new(),
            claims: Vec::new(),
        }
    }

    fn record(&self) -> Option<Record> {
        self.stored.as_deref().map(|bytes| Record::parse(bytes).unwrap())
    }

    fn state(&self) -> Option<State> {
        self.record().map(|record| record.state)
    }

    fn act(&mut self, act: &Act) {
        let request = match act {
            Act::Wait(seconds) => return self.now += seconds,
            Act::Begin(who) => Request::Begin(Box::new(self.statements[*who].clone())),
            Act::Commit(at, fits) => {
                if self.attempts.is_empty() {
                    return;
                }
                let (attempt, who) = self.attempts[at.index(self.attempts.len())];
                let root = if *fits { self.statements[who].root } else { Root([0; 32]) };
                Request::Commit { attempt, length: self.statements[who].length, root }
            }
            Act::Confirm(true) => {
                let Some(offer) = &self.offer else { return };
                Request::Confirm(Root(offer_digest(offer)))
            }
            Act::Confirm(false) => Request::Confirm(Root([0; 32])),
            Act::Claim(verb, who) => {
                let secrets = &self.secrets[*who];
                let presented = if *verb == Verb::Release { &secrets.release } else { &secrets.retrieve };
                let entry = self.safe.identity.entry(1).unwrap();
                self.drawn += 1;
                let mut rng = rng(self.drawn);
                let claim = Claim::make(presented, entry, &DEPOSIT, *verb, self.now + CLAIM_SPAN, &mut rng).unwrap();
                self.claims.push(claim.clone());
                Request::Claim(claim)
            }
            Act::Replay(at) => {
                if self.claims.is_empty() {
                    return;
                }
                Request::Claim(self.claims[at.index(self.claims.len())].clone())
            }
            Act::Erased(which) => {
                let listed: Vec<AttemptId> = self.listed.iter().copied().collect();
                match which {
                    Some(at) if !listed.is_empty() => Request::Erased(vec![listed[at.index(listed.len())]]),
                    _ => Request::Erased(listed),
                }
            }
            Act::Alarm => Request::Alarm,
        };
        self.ask(request);
    }

    /// One step, stored as the object stores it, and everything that must hold of it.
    fn ask(&mut self, request: Request) -> Reply {
        let before = self.record();
        self.drawn += 1;
        let mut rng = rng(self.drawn);
        let Step { reply, record, effects } =
            step(before.clone(), request.clone(), self.now, &mut rng, &self.config, &self.keys);
        self.stored = record.as_ref().map(Record::encode);
        self.alarm = effects.alarm;
        if let (Some(record), Some(stored)) = (&record, &self.stored) {
            assert!(stored.len() <= MAX_RECORD_LEN);
            assert_eq!(format!("{:?}", Record::parse(stored).unwrap()), format!("{record:?}"));
        }
        self.check_order(before.as_ref(), record.as_ref());
        self.check_record(record.as_ref());
        self.check_reply(before.as_ref(), &request, &reply);
        if record.is_none() {
            (self.offer, self.receipt) = (None, None);
            self.granted.clear();
        }
        reply
    }

    /// The states follow each other as the machine's picture shows.
    fn check_order(&self, before: Option<&Record>, after: Option<&Record>) {
        use State::*;
        let possible: &[Option<State>] = match before.map(|record| record.state) {
            None => &[None, Some(Writing)],
            Some(Writing) => &[Some(Writing), Some(Offered), Some(Lapsing), None],
            Some(Offered) => &[Some(Offered), Some(Held), Some(Lapsing), None],
            Some(Held) => &[Some(Held), Some(Deleting)],
            // Released after the certified end: the receipt goes out and no tombstone is needed.
            Some(Deleting) => &[Some(Deleting), Some(Released), None],
            Some(Lapsing) => &[Some(Lapsing), None],
            Some(Released) => &[Some(Released), None],
            Some(_) => &[],
        };
        let state = after.map(|record| record.state);
        assert!(possible.contains(&state), "{:?} to {state:?}", before.map(|record| record.state));
        // A tombstone goes at the certified end, not a second earlier.
        if let (Some(Record { state: Deleting | Released, lease_end, .. }), None) = (before, after) {
            assert!(lease_end.unwrap() <= self.now);
        }
    }

    fn check_record(&self, record: Option<&Record>) {
        let Some(record) = record else { return assert_eq!(self.alarm, None) };
        if let Some(committed) = record.committed {
            assert!(self.fitted.contains(&committed) || !matches!(record.state, State::Held));
            assert!(!record.erase.contains(&committed), "the body itself is to be removed");
        }
        assert!(record.attempts.len() <= MAX_ATTEMPTS);
        let held = matches!(record.state, State::Offered | State::Held);
        assert_eq!(record.committed.is_some(), held);
        assert_eq!(
            record.certificate.is_some(),
            matches!(record.state, State::Held | State::Deleting | State::Released)
        );
        assert_eq!(record.receipt.is_some(), record.state == State::Released);
        // Whatever is to happen by itself has an alarm, and none lies in the past.
        let at_rest = record.state == State::Held && record.attempts.is_empty() && record.erase.is_empty();
        assert_eq!(self.alarm.is_none(), at_rest);
        assert!(self.alarm.is_none_or(|at| at > self.now || record.state == State::Released));
    }

    fn check_reply(&mut self, before: Option<&Record>, request: &Request, reply: &Reply) {
        let after = self.record();
        match reply {
            Reply::Write(attempt) => {
                let Request::Begin(statement) = request else { panic!("a write was not asked for") };
                let who = self.statements.iter().position(|s| s == &**statement).unwrap();
                assert!(self.attempts.iter().all(|(given, _)| given != attempt), "given out twice");
                self.attempts.push((*attempt, who));
            }
            Reply::Offer(offer) => {
                let record = after.unwrap();
                Offered::verify(offer, &self.safe.identity, &record.statement).unwrap();
                assert!(self.offer.as_ref().is_none_or(|first| first == offer), "two offers");
                if let (Request::Commit { attempt, root, .. }, true) = (request, self.offer.is_none()) {
                    assert_eq!((record.committed, *root), (Some(*attempt), record.statement.root));
                    self.fitted.insert(*attempt);
                }
                self.offer = Some(offer.clone());
            }
            Reply::Certificate(certificate) => {
                let record = after.unwrap();
                let held = certificate::verify(certificate, &self.safe.identity, Some(&record.statement)).unwrap();
                let committed = record.committed.unwrap();
                assert!(self.fitted.contains(&committed), "certified what was not there");
                assert!(!self.listed.contains(&committed), "certified what was removed");
                if self.certificates.last() != Some(certificate) {
                    // Only when all that was certified has ended does the id begin anew.
                    let issued = held.registration().issued;
                    let ended = |earlier: &Bytes| {
                        let earlier = certificate::read_unverified(earlier).unwrap();
                        earlier.lease_end <= issued
                    };
                    assert!(self.certificates.iter().all(ended), "two certificates");
                    self.certificates.push(certificate.clone());
                }
            }
            Reply::Read(attempt) => {
                assert_eq!(after.unwrap().committed, Some(*attempt));
                assert!(self.fitted.contains(attempt) && !self.listed.contains(attempt));
            }
            Reply::Erase(attempts) => {
                assert!(!attempts.is_empty());
                self.listed.extend(attempts);
            }
            Reply::Receipt(receipt) => {
                let record = after.as_ref().or(before).unwrap();
                let certified = certificate::read_unverified(record.certificate.as_ref().unwrap()).unwrap();
                verify_receipt(receipt, &self.safe.identity, &certified).unwrap();
                let kept = |record: &Record| record.state == State::Deleting && !record.erase.is_empty();
                assert!(!after.as_ref().is_some_and(kept), "signed for before it was removed");
                assert!(after.as_ref().is_none_or(|record| record.attempts.is_empty()), "signed for under a write");
                assert!(self.receipt.as_ref().is_none_or(|first| first == receipt), "two receipts");
                self.receipt = Some(receipt.clone());
            }
            Reply::Done => assert!(matches!(request, Request::Alarm | Request::Erased(_))),
            Reply::Refused(problem) => assert_ne!(*problem, Problem::Internal),
            _ => unreachable!("no such reply"),
        }
        if let Request::Claim(claim) = request {
            self.check_claim(before, claim, reply);
        }
        // After a release nothing comes back, whatever is asked.
        if before.is_some_and(|r| matches!(r.state, State::Deleting | State::Released)) && self.stored.is_some() {
            assert!(!matches!(reply, Reply::Write(_) | Reply::Offer(_) | Reply::Certificate(_) | Reply::Read(_)));
        }
    }

    fn check_claim(&mut self, before: Option<&Record>, claim: &Claim, reply: &Reply) {
        let acted = matches!(reply, Reply::Read(_) | Reply::Erase(_) | Reply::Receipt(_));
        if acted {
            let who = usize::from(before.unwrap().statement == self.statements[1]);
            let secret = claim.open(&self.keys.hpke, &self.config.safe, &DEPOSIT).unwrap();
            let right =
                if claim.verb == Verb::Release { &self.secrets[who].release } else { &self.secrets[who].retrieve };
            assert!(secret.same_as(right), "a stranger's secret was let in");
            assert!(claim.expiry > self.now);
            assert!(self.granted.iter().all(|earlier| earlier.nonce != claim.nonce), "a claim counted twice");
            self.granted.push(claim.clone());
        }
        if *reply == Reply::Refused(Problem::ClaimReplayed) {
            assert!(before.unwrap().seen.iter().any(|seen| seen.nonce == claim.nonce));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_a_promise(history in prop::collection::vec(any_act(), 1..60)) {
        let mut ledger = Ledger::new();
        history.iter().for_each(|act| ledger.act(act));
    }

    /// Whatever happened before: left alone, alarms bring every deposit to rest, and leave nothing but what is held.
    #[test]
    fn alarms_alone_bring_every_deposit_to_rest(history in prop::collection::vec(any_act(), 1..40)) {
        let mut ledger = Ledger::new();
        history.iter().for_each(|act| ledger.act(act));
        for _ in 0..8 {
            let Some(at) = ledger.alarm else { break };
            ledger.now = ledger.now.max(at);
            if let Reply::Erase(attempts) = ledger.ask(Request::Alarm) {
                ledger.ask(Request::Erased(attempts));
            }
        }
        prop_assert_eq!(ledger.alarm, None);
        prop_assert!(matches!(ledger.state(), None | Some(State::Held)), "{:?}", ledger.state());
        // Every write that was given out was either certified or is gone; the lost ones were listed for removal.
        let held = ledger.record().and_then(|record| record.committed);
        let known = |attempt: &AttemptId| held == Some(*attempt) || ledger.listed.contains(attempt);
        prop_assert!(ledger.attempts.iter().all(|(attempt, _)| known(attempt)));
    }

    /// A record that was not written by this machine must not stop it: any state, any subset of its fields.
    #[test]
    fn a_damaged_record_is_no_panic(
        state in prop::sample::select(STATES.to_vec()),
        there: [bool; 6],
        act in any_act(),
    ) {
        let mut ledger = Ledger::new();
        let some = |there: bool| there.then(|| Bytes(vec![1, 2, 3]));
        let record = Record {
            state,
            committed: there[0].then_some(AttemptId([1; 16])),
            offer: some(there[1]),
            certificate: some(there[2]),
            receipt: some(there[3]),
            lease_end: there[4].then_some(NOW),
            release: there[5].then(|| secret(9)),
            ..Record::new(ledger.statements[0].clone())
        };
        ledger.attempts.push((AttemptId([2; 16]), 0));
        ledger.offer = some(true);
        let request = match act {
            Act::Begin(_) => Request::Begin(Box::new(ledger.statements[0].clone())),
            Act::Confirm(_) => Request::Confirm(Root(offer_digest(&[1, 2, 3]))),
            Act::Commit(..) => {
                let Statement { length, root, .. } = ledger.statements[0];
                Request::Commit { attempt: AttemptId([2; 16]), length, root }
            }
            Act::Erased(_) => Request::Erased(vec![]),
            _ => Request::Alarm,
        };
        step(Some(record), request, ledger.now, &mut rng(1), &ledger.config, &ledger.keys);
    }
}

/// The whole life of a deposit, so that the laws above are not kept by never getting anywhere.
#[test]
fn a_life_from_offer_to_tombstone() {
    let mut ledger = Ledger::new();
    ledger.act(&Act::Begin(0));
    ledger.act(&Act::Begin(0));
    let [first, second] = [ledger.attempts[0].0, ledger.attempts[1].0];
    let Statement { length, root, .. } = ledger.statements[0];
    assert!(matches!(ledger.ask(Request::Commit { attempt: second, length, root }), Reply::Offer(_)));
    // The slower of two writes gets the same offer, and its copy goes.
    assert!(matches!(ledger.ask(Request::Commit { attempt: first, length, root }), Reply::Offer(_)));
    assert_eq!(ledger.ask(Request::Alarm), Reply::Erase(vec![first]));
    assert_eq!(ledger.ask(Request::Erased(vec![first])), Reply::Done);
    ledger.act(&Act::Confirm(true));
    assert_eq!((ledger.state(), ledger.certificates.len()), (Some(State::Held), 1));
    ledger.act(&Act::Claim(Verb::Retrieve, 0));
    ledger.act(&Act::Claim(Verb::Release, 1));
    assert_eq!(ledger.state(), Some(State::Held));
    ledger.act(&Act::Claim(Verb::Release, 0));
    assert_eq!(ledger.state(), Some(State::Deleting));
    assert_eq!(ledger.granted.len(), 2);
    assert!(matches!(ledger.ask(Request::Erased(vec![second])), Reply::Receipt(_)));
    ledger.act(&Act::Wait(CONFIRM_SPAN));
    ledger.act(&Act::Alarm);
    assert_eq!(ledger.state(), Some(State::Released));
    ledger.act(&Act::Wait(LEASE));
    ledger.act(&Act::Alarm);
    assert_eq!(ledger.state(), None);
}
