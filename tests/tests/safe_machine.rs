//! Laws of the safe's machine over any history: repeated requests, two writes at a time, two statements under one id,
//! clocks that jump, and alarms that come late or never.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use proptest::{prelude::*, sample::Index, strategy::ValueTree, test_runner::TestRunner};
use protocol::{
    certificate::{self, Offered, offer_digest, verify_receipt},
    claim::{CLAIM_SPAN, Claim, Shown, Verb},
    codec::Bytes,
    deposit::{DepositSecrets, Statement},
    evidence::{Verdict, verify_testimony},
    ids::{AttemptId, DepositId, Nonce, Root, Seconds, TokenId},
    problem::Problem,
    register::{Ballot, Proposal, derive_claimant, seal_proposal},
    token::Token,
};
use safe_worker::{
    machine::{ATTEMPT_SPAN, CONFIRM_SPAN, Config, ERASE_RETRY, GRACE, Keys, Removal, Reply, Request, Step, step},
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
    /// Of what was listed for removal: all, or one. The report may be late.
    Removed(Option<Index>),
    /// A write that ended with nothing written.
    Abandon(Index),
    /// An audit out of a batch.
    Audit(usize),
    /// What the storage has of the body, for a demand: it, another one, or nothing.
    Testify(Option<bool>),
    /// A claimant at the register.
    Propose(u32, u8, bool),
    /// The alarm; whether the day's budget allows what it wants.
    Alarm(bool),
    Wait(Seconds),
}

fn any_act() -> impl Strategy<Value = Act> {
    let waits = [1, ERASE_RETRY, CLAIM_SPAN, ATTEMPT_SPAN, CONFIRM_SPAN - 1, CONFIRM_SPAN, LEASE, GRACE];
    prop_oneof![
        4 => prop_oneof![5 => Just(0), 1 => Just(1)].prop_map(Act::Begin),
        5 => (any::<Index>(), prop::bool::weighted(0.8)).prop_map(|(at, fits)| Act::Commit(at, fits)),
        4 => prop::bool::weighted(0.8).prop_map(Act::Confirm),
        4 => (prop_oneof![
                3 => Just(Verb::Retrieve), 1 => Just(Verb::Release), 1 => Just(Verb::Audit),
                1 => Just(Verb::Renew), 1 => Just(Verb::Demand)],
            prop_oneof![5 => Just(0usize), 1 => Just(1)]).prop_map(|(verb, who)| Act::Claim(verb, who)),
        1 => any::<Index>().prop_map(Act::Replay),
        2 => prop::option::of(any::<Index>()).prop_map(Act::Removed),
        1 => any::<Index>().prop_map(Act::Abandon),
        1 => (0usize..2).prop_map(Act::Audit),
        1 => prop::option::of(any::<bool>()).prop_map(Act::Testify),
        1 => (1u32..3, 0u8..2, any::<bool>()).prop_map(|(c, who, accept)| Act::Propose(c, who, accept)),
        2 => prop::bool::weighted(0.8).prop_map(Act::Alarm),
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
    /// Writes that came to an end and were reported, and those among them that wrote nothing.
    reported: BTreeSet<AttemptId>,
    empty: BTreeSet<AttemptId>,
    /// Rows that the shell was told to open, and to free.
    rows: BTreeSet<AttemptId>,
    /// The token under which every other history runs.
    token: Option<Token>,
    offer: Option<Bytes>,
    certificates: Vec<Bytes>,
    receipt: Option<Bytes>,
    /// Claims that were granted in this record's life.
    granted: Vec<Claim>,
    claims: Vec<Claim>,
}

impl Ledger {
    /// Wakes it whenever it asks for that, and does what it says.
    fn run_alarms(&mut self) {
        for _ in 0..12 {
            let Some(at) = self.alarm else { break };
            self.now = self.now.max(at);
            let mut reply = self.ask(Request::Alarm);
            if reply == Reply::Overdue {
                reply = self.ask(Request::Expire);
            }
            if let Reply::Remove(removal) = reply {
                self.ask(Request::Removed(removal));
            }
        }
    }

    fn new() -> Self {
        let safe = TestSafe::make(1);
        let config = Config { safe: safe.id(), url: URL.into(), entry: 1, limits: LIMITS };
        let keys = Keys { signing: safe.keys.signing.clone(), hpke: vec![(1, safe.keys.hpke.clone())], owner: None };
        let state = |seed: u64, body: &[u8]| Statement {
            lease: LEASE,
            unique: (seed == 1).then_some(true),
            ..safe.statement(DEPOSIT, &secret(seed), body)
        };
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
            reported: BTreeSet::new(),
            empty: BTreeSet::new(),
            rows: BTreeSet::new(),
            token: None,
            offer: None,
            certificates: Vec::new(),
            receipt: None,
            granted: Vec::new(),
            claims: Vec::new(),
        }
    }

    fn charged(charged: bool) -> Self {
        let ledger = Self::new();
        let token = Token::new(ledger.safe.id(), TokenId([7; 16]), 1 << 20, 10, NOW + 2 * GRACE);
        Self { token: charged.then_some(token), ..ledger }
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
            Act::Begin(who) => Request::Begin(Box::new(self.statements[*who].clone()), self.token),
            Act::Commit(at, fits) => {
                if self.attempts.is_empty() {
                    return;
                }
                let (attempt, who) = self.attempts[at.index(self.attempts.len())];
                // One write reports one end.
                if !self.reported.insert(attempt) && self.empty.contains(&attempt) {
                    return;
                }
                if !*fits {
                    self.empty.insert(attempt);
                }
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
                let presented = match verb {
                    Verb::Release => &secrets.release,
                    Verb::Renew | Verb::Demand => &secrets.audit,
                    _ => &secrets.retrieve,
                };
                let entry = self.safe.identity.entry(1).unwrap();
                self.drawn += 1;
                let mut rng = rng(self.drawn);
                let x = (*verb == Verb::Retrieve).then(|| secret(100));
                let shown = Shown { x, ..Shown::secret(presented.clone()) };
                let expiry = self.now + CLAIM_SPAN;
                let claim = Claim::make_with(&shown, entry, &DEPOSIT, *verb, expiry, &mut rng).unwrap();
                self.claims.push(claim.clone());
                Request::Claim(claim)
            }
            Act::Replay(at) => {
                if self.claims.is_empty() {
                    return;
                }
                Request::Claim(self.claims[at.index(self.claims.len())].clone())
            }
            Act::Removed(which) => {
                let listed: Vec<AttemptId> = self.listed.iter().copied().collect();
                let charge = self.record().and_then(|record| record.charge);
                match which {
                    Some(at) if !listed.is_empty() => {
                        Request::Removed(Removal { writes: vec![listed[at.index(listed.len())]], charge: None })
                    }
                    // The row is reported as freed only where the shell was told to.
                    _ => Request::Removed(Removal {
                        writes: listed,
                        charge: charge.filter(|c| !self.rows.contains(&c.opened)),
                    }),
                }
            }
            Act::Abandon(at) => {
                if self.attempts.is_empty() {
                    return;
                }
                let (attempt, _) = self.attempts[at.index(self.attempts.len())];
                // Whoever abandons has written nothing.
                if self.reported.contains(&attempt) {
                    return;
                }
                self.reported.insert(attempt);
                self.empty.insert(attempt);
                Request::Abandon(attempt)
            }
            Act::Audit(who) => {
                self.drawn += 1;
                let nonce = Nonce::make_random(&mut rng(self.drawn));
                Request::Audit { secret: self.secrets[*who].audit.clone(), nonce, expiry: self.now + CLAIM_SPAN }
            }
            Act::Testify(found) => {
                let Some(attempt) = self.record().and_then(|record| record.committed) else { return };
                let Statement { length, root, .. } = self.statements[0];
                let found = found.map(|same| (length, if same { root } else { Root([0; 32]) }));
                Request::Testify { demand: Root([5; 32]), attempt, found }
            }
            Act::Propose(counter, who, accept) => {
                let claimant = derive_claimant(&secret(100 + u64::from(*who)));
                let ballot = Ballot { counter: *counter, claimant };
                let proposal =
                    if *accept { Proposal::Accept(0, ballot, claimant) } else { Proposal::Prepare(0, ballot) };
                self.drawn += 1;
                let (mut rng, expiry) = (rng(self.drawn), self.now + CLAIM_SPAN);
                let (entry, secret) = (self.safe.identity.entry(1).unwrap(), &self.secrets[0].retrieve);
                let made = seal_proposal(secret, &proposal, None, entry, &DEPOSIT, expiry, &mut rng).unwrap();
                Request::Register(made)
            }
            Act::Alarm(granted) => {
                return self.wake(*granted);
            }
        };
        self.ask(request);
    }

    /// What the object does when it wakes, save that it stops before it reports what it removed.
    fn wake(&mut self, granted: bool) {
        match self.ask(Request::Alarm) {
            Reply::Overdue if granted => {
                self.ask(Request::Expire);
            }
            Reply::Overdue | Reply::Remove(_) if !granted => {
                self.ask(Request::Postpone);
            }
            _ => {}
        }
    }

    /// One step, stored as the object stores it, and everything that must hold of it.
    fn ask(&mut self, request: Request) -> Reply {
        let before = self.record();
        self.drawn += 1;
        let mut rng = rng(self.drawn);
        let Step { reply, record, effects } =
            step(&DEPOSIT, before.clone(), request.clone(), self.now, &mut rng, &self.config, &self.keys);
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
            assert!(self.rows.is_empty(), "a row that nobody will free");
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
            Some(Held) => &[Some(Held), Some(Deleting), Some(Lapsing)],
            // Released after the certified end: the receipt goes out and no tombstone is needed.
            Some(Deleting) => &[Some(Deleting), Some(Released), None],
            Some(Lapsing) => &[Some(Lapsing), None],
            Some(Released) => &[Some(Released), None],
            Some(_) => &[],
        };
        let state = after.map(|record| record.state);
        assert!(possible.contains(&state), "{:?} to {state:?}", before.map(|record| record.state));
        // The certificate's date is a promise, and the grace behind it too.
        if let (Some(Record { state: Held, lease_end, charge, .. }), Some(Lapsing)) = (before, state) {
            assert!(lease_end.unwrap() + GRACE <= self.now && charge.is_none_or(|charge| charge.until <= self.now));
        }
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
        let signed = matches!(record.state, State::Held | State::Deleting | State::Released);
        assert!(record.certificate.is_some() == signed || record.state == State::Lapsing);
        if let (State::Held, Some(signed)) = (record.state, &record.certificate) {
            assert_eq!(certificate::read_unverified(signed).unwrap().lease_end, record.lease_end.unwrap());
        }
        assert_eq!(record.receipt.is_some(), record.state == State::Released);
        // Whatever is to happen by itself has an alarm, and none lies in the past, save one that is due and waits to be woken.
        let alarm = self.alarm.unwrap();
        let due = record.lease_end.is_some_and(|end| end <= self.now);
        assert!(alarm > self.now || due, "{alarm} {}", self.now);
        // Whatever row was opened is the record's.
        assert!(self.rows.iter().all(|row| record.charge.is_some_and(|charge| charge.opened == *row)));
    }

    fn check_reply(&mut self, before: Option<&Record>, request: &Request, reply: &Reply) {
        let after = self.record();
        match reply {
            Reply::Write(attempt, row) => {
                let Request::Begin(statement, _) = request else { panic!("a write was not asked for") };
                assert_eq!(row.is_some(), self.token.is_some());
                self.rows.extend(row.map(|row| row.opened));
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
                    // A later certificate is a renewed one, or all that was certified has ended and the id has begun anew.
                    let now = held.registration();
                    let earlier =
                        self.certificates.iter().map(|earlier| certificate::read_unverified(earlier).unwrap());
                    for earlier in earlier {
                        let renewed = earlier.root == now.root && earlier.lease_end < now.lease_end;
                        assert!(renewed || earlier.lease_end <= now.issued, "two certificates");
                    }
                    self.certificates.push(certificate.clone());
                }
            }
            Reply::Read(attempt, length) | Reply::Measure(attempt, length, _) => {
                let record = after.unwrap();
                assert_eq!((record.committed, record.statement.length), (Some(*attempt), *length));
                assert!(self.fitted.contains(attempt) && !self.listed.contains(attempt));
            }
            Reply::Remove(removal) => {
                assert_ne!(*removal, Removal::default());
                self.listed.extend(&removal.writes);
                // A row goes when no write can come any more, and with the body.
                if let Some(charge) = removal.charge {
                    let record = after.as_ref().unwrap();
                    assert!(record.attempts.is_empty() && record.committed.is_none());
                    self.rows.remove(&charge.opened);
                }
            }
            Reply::Testimony(signed) => {
                let testimony = verify_testimony(signed, &self.safe.identity).unwrap();
                assert_eq!(testimony.issued, self.now);
                // A tombstone may end in the very step that answers.
                let state = after.as_ref().or(before).map(|record| record.state);
                let certified = after.as_ref().is_some_and(|record| record.certificate.is_some());
                match testimony.verdict {
                    Verdict::Kept(..) | Verdict::Claimed(..) | Verdict::Lost => assert_eq!(state, Some(State::Held)),
                    Verdict::Released(shown) => {
                        assert!(self.secrets.iter().any(|secrets| shown.same_as(&secrets.release)));
                        assert!(matches!(state, Some(State::Leaving | State::Deleting | State::Released)));
                    }
                    Verdict::Expired => assert!(state == Some(State::Lapsing) && certified),
                    Verdict::Unknown => assert!(!certified),
                    Verdict::NotOwner(_) => assert!(state.is_some()),
                    _ => unreachable!("no such verdict"),
                }
            }
            Reply::Overdue => assert!(matches!(request, Request::Alarm)),
            // A tombstone may end in the very step that answers.
            Reply::Register(_) => assert!(after.as_ref().or(before).unwrap().certificate.is_some()),
            Reply::Receipt(receipt) => {
                let record = after.as_ref().or(before).unwrap();
                let certified = certificate::read_unverified(record.certificate.as_ref().unwrap()).unwrap();
                verify_receipt(receipt, &self.safe.identity, &certified).unwrap();
                let kept = |record: &Record| record.state == State::Deleting && !record.erase.is_empty();
                assert!(!after.as_ref().is_some_and(kept), "signed for before it was removed");
                assert!(self.receipt.as_ref().is_none_or(|first| first == receipt), "two receipts");
                self.receipt = Some(receipt.clone());
            }
            Reply::Done => assert!(matches!(
                request,
                Request::Alarm | Request::Removed(_) | Request::Abandon(_) | Request::Postpone | Request::Expire
            )),
            Reply::Refused(problem) => assert_ne!(*problem, Problem::Internal),
            _ => unreachable!("no such reply"),
        }
        if let Request::Claim(claim) = request {
            self.check_claim(before, claim, reply);
        }
        // After a release nothing comes back, whatever is asked.
        if before.is_some_and(|r| matches!(r.state, State::Deleting | State::Released)) && self.stored.is_some() {
            assert!(!matches!(reply, Reply::Write(..) | Reply::Offer(_) | Reply::Certificate(_) | Reply::Read(..)));
        }
    }

    fn check_claim(&mut self, before: Option<&Record>, claim: &Claim, reply: &Reply) {
        let acted = matches!(reply, Reply::Read(..) | Reply::Remove(_) | Reply::Receipt(_) | Reply::Certificate(_));
        if acted {
            let before = before.unwrap();
            let who = usize::from(before.statement == self.statements[1]);
            let shown = claim.open(&self.keys.hpke[0].1, &self.config.safe, &DEPOSIT).unwrap();
            let secrets = &self.secrets[who];
            let right = match claim.verb {
                Verb::Release => &secrets.release,
                Verb::Renew => &secrets.audit,
                _ => &secrets.retrieve,
            };
            assert!(shown.secret.same_as(right), "a stranger's secret was let in");
            assert!(claim.expiry > self.now);
            assert!(self.granted.iter().all(|earlier| earlier.nonce != claim.nonce), "a claim counted twice");
            self.granted.push(claim.clone());
            if matches!(reply, Reply::Read(..)) && before.statement.unique == Some(true) {
                let accepted = before.register.and_then(|register| register.accepted).unwrap();
                assert_eq!(accepted.value, derive_claimant(&shown.x.unwrap()), "handed to another than the claimant");
            }
        }
        if *reply == Reply::Refused(Problem::ClaimReplayed) {
            assert!(before.unwrap().seen.iter().any(|seen| seen.nonce == claim.nonce));
        }
    }
}

/// The row of a released deposit is freed another day because that day's budget was spent, and meanwhile the lease ends: the object sleeps until then.
#[test]
fn a_tombstone_whose_time_is_over_does_not_wake_before_its_row_may_be_freed() {
    let mut ledger = Ledger::charged(true);
    let first = || any::<Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    for act in [Act::Begin(0), Act::Commit(first(), true), Act::Confirm(true), Act::Claim(Verb::Release, 0)] {
        ledger.act(&act);
    }
    let end = ledger.record().unwrap().lease_end.unwrap();
    ledger.now = end - 1000;
    for act in [Act::Removed(Some(first())), Act::Alarm(false)] {
        ledger.act(&act);
    }
    let before = ledger.now;
    assert!(ledger.alarm.is_some_and(|at| at > before));
    ledger.now = ledger.now.max(end);
    ledger.ask(Request::Alarm);
    assert!(ledger.alarm.is_some_and(|at| at > ledger.now), "it would wake again and again until the next day");
    ledger.run_alarms();
    assert_eq!((ledger.alarm, ledger.state()), (None, None));
}

/// What was released is over in the step that tells somebody else that it is not his.
#[test]
fn a_tombstone_may_end_while_a_stranger_is_answered() {
    let mut ledger = Ledger::charged(false);
    let first = || any::<Index>().new_tree(&mut TestRunner::deterministic()).unwrap().current();
    for act in [Act::Begin(0), Act::Commit(first(), true), Act::Claim(Verb::Release, 0), Act::Removed(None)] {
        ledger.act(&act);
    }
    ledger.now += LEASE;
    ledger.act(&Act::Claim(Verb::Demand, 1));
    assert_eq!(ledger.state(), None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_breaks_a_promise(history in prop::collection::vec(any_act(), 1..60), charged: bool) {
        let mut ledger = Ledger::charged(charged);
        history.iter().for_each(|act| ledger.act(act));
    }

    /// Whatever happened before: left alone, alarms bring every deposit to its end, and leave nothing, neither write nor row.
    #[test]
    fn alarms_alone_bring_every_deposit_to_its_end(history in prop::collection::vec(any_act(), 1..40), charged: bool) {
        let mut ledger = Ledger::charged(charged);
        history.iter().for_each(|act| ledger.act(act));
        ledger.run_alarms();
        prop_assert_eq!(ledger.alarm, None);
        prop_assert_eq!(ledger.state(), None);
        prop_assert!(ledger.rows.is_empty());
        // Every write that may have reached the storage was listed for removal.
        let gone = |attempt: &AttemptId| ledger.listed.contains(attempt) || ledger.empty.contains(attempt);
        prop_assert!(ledger.attempts.iter().all(|(attempt, _)| gone(attempt)));
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
            Act::Begin(_) => Request::Begin(Box::new(ledger.statements[0].clone()), None),
            Act::Confirm(_) => Request::Confirm(Root(offer_digest(&[1, 2, 3]))),
            Act::Commit(..) => {
                let Statement { length, root, .. } = ledger.statements[0];
                Request::Commit { attempt: AttemptId([2; 16]), length, root }
            }
            Act::Removed(_) => Request::Removed(Removal::default()),
            Act::Testify(_) => Request::Testify { demand: Root([5; 32]), attempt: AttemptId([1; 16]), found: None },
            Act::Alarm(true) => Request::Expire,
            _ => Request::Alarm,
        };
        step(&DEPOSIT, Some(record), request, ledger.now, &mut rng(1), &ledger.config, &ledger.keys);
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
    let removal = Removal { writes: vec![first], charge: None };
    assert_eq!(ledger.ask(Request::Alarm), Reply::Remove(removal.clone()));
    assert_eq!(ledger.ask(Request::Removed(removal)), Reply::Done);
    ledger.act(&Act::Confirm(true));
    assert_eq!((ledger.state(), ledger.certificates.len()), (Some(State::Held), 1));
    // The value may live only once: it goes to the accepted claimant, whom the test's claims show.
    ledger.act(&Act::Claim(Verb::Retrieve, 0));
    assert_eq!(ledger.granted.len(), 0);
    ledger.act(&Act::Propose(1, 0, false));
    ledger.act(&Act::Propose(1, 0, true));
    ledger.act(&Act::Claim(Verb::Retrieve, 0));
    ledger.act(&Act::Claim(Verb::Release, 1));
    assert_eq!(ledger.state(), Some(State::Held));
    ledger.act(&Act::Claim(Verb::Release, 0));
    assert_eq!(ledger.state(), Some(State::Deleting));
    assert_eq!(ledger.granted.len(), 2);
    let removal = Removal { writes: vec![second], charge: None };
    assert!(matches!(ledger.ask(Request::Removed(removal)), Reply::Receipt(_)));
    ledger.act(&Act::Wait(CONFIRM_SPAN));
    ledger.act(&Act::Alarm(true));
    assert_eq!(ledger.state(), Some(State::Released));
    ledger.act(&Act::Wait(LEASE));
    // Who asks before the alarm is still told who took the value; with that answer the tombstone goes.
    ledger.act(&Act::Propose(1, 0, false));
    assert_eq!((ledger.state(), ledger.alarm), (None, None));
}
