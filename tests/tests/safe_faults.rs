//! What can go wrong inside a safe: every call of its platform fails, comes late or twice, or is the Worker's last one; requests cross each other in
//! any order; the storage lags; leases end; keys change.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use proptest::prelude::*;
use protocol::{
    SUITE,
    audit::{AuditItem, AuditResult, parse_answer, seal_items},
    certificate::{self, Offered, verify_receipt},
    claim::{CLAIM_SPAN, Claim, Confirm, Verb},
    codec,
    crypto::{Secret, blake3},
    deposit::{DepositSecrets, Face, LEASE, RENEW_PART, Statement},
    evidence::{Verdict, verify_testimony},
    ids::{DepositId, Root, Seconds, TokenId},
    problem::Problem,
    token::Token,
};
use safe_worker::{
    flow::{Answer, CBOR, Head, OCTETS, PROBLEM, Policy},
    machine::{ATTEMPT_SPAN, CONFIRM_SPAN, ERASE_RETRY, GRACE, SETTLE_SPAN},
    memory::{FAULTS, Fault, MemorySafe},
    operator::DAILY_REMOVALS,
};
use tests::{
    fixture::{NOW, face_text, rng, secret},
    visit::statement_header,
};

const START: Seconds = NOW + 1000;
const DAY: Seconds = 86_400;

/// One deposit at one safe, as its wallet sees it.
struct Client {
    safe: MemorySafe,
    token: Option<Token>,
    statement: Statement,
    secrets: DepositSecrets,
    body: Vec<u8>,
    now: Seconds,
    drawn: u64,
}

/// A request that has been made up.
#[derive(Clone)]
struct Message {
    head: Head,
    body: Vec<u8>,
}

impl Client {
    fn new(charged: bool, len: usize) -> Self {
        Self::of(charged.then_some(START + 400 * DAY), len)
    }

    /// At a safe that wants tokens, with one that counts until then; or at an open one.
    fn of(token_until: Option<Seconds>, len: usize) -> Self {
        let policy = Policy { token_key: token_until.map(|_| secret(51)), operator_secret: None, relays: Vec::new() };
        let safe = MemorySafe::new("nordfels", &secret(1), NOW).unwrap().with_policy(policy);
        let (id, d, body) = (DepositId([0xd1; 16]), secret(0xd), vec![7; len]);
        let face = Face::seal(&face_text(), &d, &id, &mut rng(7)).unwrap();
        let secrets = DepositSecrets::derive(&d);
        let statement = Statement::new(safe.id(), id, len as u64, Root(blake3(&body)), face, &secrets);
        let token = token_until.map(|until| Token::new(safe.id(), TokenId([6; 16]), 1 << 30, 1000, until));
        Self { safe, token, statement, secrets, body, now: START, drawn: 100 }
    }

    fn id(&self) -> DepositId {
        self.statement.deposit
    }

    fn message(&self, method: &str, act: &str, content_type: &str, body: Vec<u8>) -> Message {
        let path = if act.starts_with("/v1/") { act.to_owned() } else { format!("/v1/deposits/{}{act}", self.id()) };
        let head = Head {
            method: method.into(),
            path,
            content_type: Some(content_type.into()),
            length: Some(body.len() as u64),
            ..Head::default()
        };
        Message { head, body }
    }

    fn put(&self) -> Message {
        self.put_of(&self.statement, self.body.clone())
    }

    fn put_of(&self, statement: &Statement, body: Vec<u8>) -> Message {
        let mut message = self.message("PUT", "", OCTETS, body);
        message.head.statement = Some(statement_header(&codec::encode(statement)));
        message.head.token = self.token.map(|token| token.mint(&secret(51)));
        message
    }

    fn confirm(&self, offer: &[u8]) -> Message {
        let confirm = codec::encode(&Confirm { suite: SUITE, offer: Root(blake3(offer)) });
        self.message("POST", "/confirm", CBOR, confirm)
    }

    fn claim(&mut self, verb: Verb) -> Message {
        self.drawn += 1;
        let identity = self.safe.identity().unwrap();
        let (secret, act) = match verb {
            Verb::Release => (&self.secrets.release, "/release"),
            Verb::Renew => (&self.secrets.audit, "/renew"),
            Verb::Demand => (&self.secrets.audit, "/demand"),
            _ => (&self.secrets.retrieve, "/retrieve"),
        };
        let (entry, expiry) = (identity.current(self.now).unwrap(), self.now + CLAIM_SPAN);
        let claim = Claim::make(secret, entry, &self.id(), verb, expiry, &mut rng(self.drawn)).unwrap();
        self.message("POST", act, CBOR, codec::encode(&claim))
    }

    fn audit(&mut self, groups: Vec<u32>) -> Message {
        self.drawn += 1;
        let identity = self.safe.identity().unwrap();
        let item = AuditItem { deposit: self.id(), secret: self.secrets.audit.clone(), groups };
        let (entry, expiry) = (identity.current(self.now).unwrap(), self.now + CLAIM_SPAN);
        let request = seal_items(&[item], entry, expiry, &mut rng(self.drawn)).unwrap();
        self.message("POST", "/v1/audits", CBOR, codec::encode(&request))
    }

    /// Sends; `None` if the Worker stopped in the middle.
    fn send(&self, message: &Message) -> Option<Answer> {
        run(self.safe.handle(&message.head, message.body.clone(), self.now))
    }

    /// Sends until there is an answer that is no "try again"; what is single-use is made anew each time.
    #[track_caller]
    fn insist(&mut self, mut make: impl FnMut(&mut Self) -> Message) -> Answer {
        for _ in 0..4 {
            let message = make(self);
            match self.send(&message) {
                Some(answer) if answer.status < 500 && problem(&answer) != Some(Problem::ClaimReplayed) => {
                    return answer;
                }
                // What is single-use is made anew.
                Some(answer) => {
                    assert!(matches!(problem(&answer), Some(Problem::Unavailable | Problem::ClaimReplayed)));
                }
                None => {}
            }
        }
        panic!("no answer after one fault");
    }

    /// Lets a time pass, with every alarm on the way.
    fn pass(&mut self, seconds: Seconds) {
        let until = self.now + seconds;
        while let Some(at) = self.safe.next_alarm().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            // An alarm whose Worker stops is repeated by the platform.
            if run(self.safe.run_alarms(self.now)).is_none() {
                self.now += 1;
                run(self.safe.run_alarms(self.now + ERASE_RETRY));
            }
        }
        self.now = until;
    }

    /// (records, bodies, charged deposits).
    fn stored(&self) -> (usize, usize, u64) {
        let (records, bodies) = self.safe.counts();
        (records, bodies, self.safe.used(&TokenId([6; 16])).deposits)
    }

    fn charged(&self) -> u64 {
        u64::from(self.token.is_some())
    }
}

fn problem(answer: &Answer) -> Option<Problem> {
    let json: serde_json::Value =
        serde_json::from_slice(&answer.body).ok().filter(|_| answer.content_type == PROBLEM)?;
    Problem::from_type_uri(json["type"].as_str()?)
}

/// Runs to the end, or to where the Worker stopped.
fn run<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = Box::pin(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..1000 {
        if let Poll::Ready(done) = future.as_mut().poll(&mut context) {
            return Some(done);
        }
    }
    None
}

#[track_caller]
fn refused(answer: &Answer, expected: Problem) {
    assert_eq!(problem(answer), Some(expected), "{}", String::from_utf8_lossy(&answer.body));
}

/// How far a life goes.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Until {
    Offered,
    Held,
    Released,
}

/// A deposit's life under given faults: the wallet repeats what was not answered. Returns how many calls the platform had.
fn live(charged: bool, until: Until, faults: &[(u64, Fault)], late_at_once: bool) -> u64 {
    let mut client = Client::new(charged, 40_000);
    client.safe.set_faults(faults.iter().copied());
    let catch_up = |client: &Client| {
        if late_at_once {
            client.safe.catch_up();
        }
    };
    let offer = client.insist(|client| client.put());
    catch_up(&client);
    assert!(matches!(offer.status, 200 | 201), "{}", String::from_utf8_lossy(&offer.body));
    assert_eq!(client.insist(|client| client.put()).body, offer.body);
    if until != Until::Offered {
        let certificate = client.insist(|client| client.confirm(&offer.body));
        catch_up(&client);
        let identity = client.safe.identity().unwrap();
        let held = certificate::verify(&certificate.body, &identity, Some(&client.statement)).unwrap();
        assert_eq!(client.insist(|client| client.put()).body, certificate.body);
        assert_eq!(client.insist(|client| client.confirm(&offer.body)).body, certificate.body);
        assert!(client.insist(|client| client.claim(Verb::Retrieve)).body == client.body);
        // Where a call behind a batch failed, its item says so, and is asked again.
        let ask = |client: &mut Client| {
            let answer = client.insist(|client| client.audit(vec![0, 2]));
            parse_answer(&answer.body, 1).unwrap().remove(0)
        };
        let first = ask(&mut client);
        let again = if matches!(first, AuditResult::Refused(_)) { ask(&mut client) } else { first };
        let AuditResult::Shown(slices) = again else { panic!("{again:?}") };
        slices[1].verify(&client.statement.root, client.statement.length, 2).unwrap();
        let testimony = client.insist(|client| client.claim(Verb::Demand));
        assert!(matches!(verify_testimony(&testimony.body, &identity).unwrap().verdict, Verdict::Kept(40_000, _)));
        if until == Until::Released {
            let receipt = client.insist(|client| client.claim(Verb::Release));
            catch_up(&client);
            verify_receipt(&receipt.body, &identity, held.registration()).unwrap();
            assert_eq!(client.insist(|client| client.claim(Verb::Release)).body, receipt.body);
            refused(&client.insist(|client| client.put()), Problem::Gone);
        }
    }
    finish(client, until)
}

/// What is left when alarms have had their time, and when all is over.
fn finish(mut client: Client, until: Until) -> u64 {
    let calls = client.safe.calls();
    client.safe.catch_up();
    client.pass(2 * ATTEMPT_SPAN);
    let charged = client.charged();
    match until {
        Until::Held => {
            assert_eq!(client.stored(), (1, 1, charged));
            assert!(client.insist(|client| client.claim(Verb::Retrieve)).body == client.body);
        }
        Until::Offered => assert_eq!(client.stored(), (1, 1, charged)),
        Until::Released => assert_eq!(client.stored().1, usize::from(calls == 0)),
    }
    client.pass(CONFIRM_SPAN + ATTEMPT_SPAN);
    if until == Until::Offered {
        assert_eq!(client.stored(), (0, 0, 0));
    }
    client.pass(LEASE + GRACE + 2 * DAY);
    assert_eq!(client.stored(), (0, 0, 0));
    calls
}

/// Every call of the platform in every life of a deposit, under every fault: the wallet gets what it would have got, and nothing is left over.
#[test]
fn each_call_may_fail_once() {
    for charged in [false, true] {
        for until in [Until::Offered, Until::Held, Until::Released] {
            let calls = live(charged, until, &[], false);
            assert!(calls >= 4, "{calls}");
            for (call, fault) in (1..=calls).flat_map(|call| FAULTS.map(|fault| (call, fault))) {
                for late_at_once in [false, true] {
                    live(charged, until, &[(call, fault)], late_at_once);
                }
            }
        }
    }
}

/// Which request a wallet, an impatient one, or a stranger makes.
#[derive(Debug, Clone, Copy)]
enum Act {
    Put,
    /// The same statement with another body of its length.
    PutOther,
    /// Another statement under the same id.
    Squat,
    /// For the offer that was seen first, if any was.
    Confirm,
    Retrieve,
    Release,
    Alarm,
}

fn any_act() -> impl Strategy<Value = Act> {
    prop::sample::select(vec![
        Act::Put,
        Act::Put,
        Act::PutOther,
        Act::Squat,
        Act::Confirm,
        Act::Confirm,
        Act::Retrieve,
        Act::Release,
        Act::Alarm,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Requests that cross each other between any two calls, with up to three faults.
    #[test]
    fn requests_may_cross(
        rounds in prop::collection::vec((prop::collection::vec(any_act(), 1..5), prop::collection::vec(0usize..5, 0..60)), 1..4),
        faults in prop::collection::btree_map(1u64..40, prop::sample::select(FAULTS.to_vec()), 0..4),
        charged: bool,
    ) {
        let mut client = Client::new(charged, 500);
        client.safe.set_interleaved(true);
        client.safe.set_faults(faults);
        let squatter = Statement { hashes: DepositSecrets::derive(&secret(77)).hashes(), ..client.statement.clone() };
        let (mut offers, mut certificates) = (BTreeSet::new(), BTreeSet::new());
        let mut asked_to_release = false;
        for (acts, order) in rounds {
            let mut messages = Vec::new();
            for act in &acts {
                asked_to_release |= matches!(act, Act::Release);
                messages.push(match act {
                    Act::Put => Some(client.put()),
                    Act::PutOther => Some(client.put_of(&client.statement, vec![8; 500])),
                    Act::Squat => Some(client.put_of(&squatter, client.body.clone())),
                    Act::Confirm => offers.first().map(|offer: &Vec<u8>| client.confirm(offer)),
                    Act::Retrieve => Some(client.claim(Verb::Retrieve)),
                    Act::Release => Some(client.claim(Verb::Release)),
                    Act::Alarm => None,
                });
            }
            type Running<'a> = Pin<Box<dyn Future<Output = Option<Answer>> + 'a>>;
            let safe = &client.safe;
            let now = client.now;
            let mut running: Vec<(usize, Running<'_>)> = Vec::new();
            for (i, message) in messages.iter().enumerate() {
                running.push((i, match message {
                    Some(m) => Box::pin(async move { Some(safe.handle(&m.head, m.body.clone(), now).await) }),
                    None => Box::pin(async move { safe.run_alarms(now).await; None }),
                }));
            }
            let mut context = Context::from_waker(Waker::noop());
            // In the drawn order first, then in turn; whoever is not done after that was stopped.
            let mut answers = Vec::new();
            for turn in order.into_iter().chain((0..400).map(|turn| turn % 5)) {
                let Some(at) = (!running.is_empty()).then(|| turn % running.len()) else { break };
                if let Poll::Ready(answer) = running[at].1.as_mut().poll(&mut context) {
                    let (i, _) = running.remove(at);
                    answers.extend(answer.map(|answer| (acts[i], answer)));
                }
            }
            drop(running);
            client.now += 1;
            for (act, answer) in answers {
                if answer.status < 300 {
                    match act {
                        Act::Put | Act::PutOther | Act::Squat | Act::Confirm => {
                            let identity = client.safe.identity().unwrap();
                            if certificate::verify(&answer.body, &identity, None).is_ok() {
                                certificates.insert(answer.body);
                            } else {
                                offers.insert(answer.body);
                            }
                        }
                        Act::Retrieve => prop_assert!(answer.body == client.body),
                        _ => {}
                    }
                } else {
                    prop_assert_ne!(problem(&answer), Some(Problem::Internal));
                }
            }
        }
        client.safe.set_faults([]);
        client.safe.set_interleaved(false);
        client.safe.catch_up();
        prop_assert!(certificates.len() <= 1, "two certificates of one deposit");
        client.pass(2 * ATTEMPT_SPAN);
        // Whatever lies in the storage is what a record answers for, and is charged.
        let record = client.safe.record(&client.id());
        let kept = record.as_ref().and_then(|record| record.committed);
        let key = kept.map(|attempt| safe_worker::flow::body_key(&client.id(), &attempt));
        prop_assert_eq!(client.safe.body_keys(), key.into_iter().collect::<Vec<_>>());
        let rows = if kept.is_some() { client.charged() } else { 0 };
        prop_assert_eq!(client.stored().2, rows);
        // A certificate is kept, unless somebody asked for the release.
        if let Some(certificate) = certificates.first() {
            let says = certificate::read_unverified(certificate).unwrap();
            if !asked_to_release && says.hashes == client.statement.hashes {
                let message = client.claim(Verb::Retrieve);
                prop_assert!(client.send(&message).unwrap().body == client.body);
            }
        }
        client.pass(CONFIRM_SPAN + LEASE + GRACE + 3 * DAY);
        prop_assert_eq!(client.stored(), (0, 0, 0));
    }
}

#[test]
fn a_storage_that_lags_loses_and_resurrects_nothing() {
    let mut client = Client::new(false, 500);
    client.safe.lag();
    let put = client.put();
    let offer = client.send(&put).unwrap();
    let confirm = client.confirm(&offer.body);
    client.send(&confirm).unwrap();
    // The new body does not show yet: try again later, not "no such deposit", and no confession of a loss.
    for verb in [Verb::Retrieve, Verb::Demand] {
        let message = client.claim(verb);
        refused(&client.send(&message).unwrap(), Problem::Unavailable);
    }
    let message = client.audit(vec![0]);
    let answer = client.send(&message).unwrap();
    assert_eq!(parse_answer(&answer.body, 1).unwrap(), [AuditResult::Refused("unavailable".into())]);
    client.safe.settle();
    let message = client.claim(Verb::Retrieve);
    assert!(client.send(&message).unwrap().body == client.body);
    // The released body still shows: it is gone all the same.
    client.safe.lag();
    let message = client.claim(Verb::Release);
    assert_eq!(client.send(&message).unwrap().status, 200);
    for message in [client.claim(Verb::Retrieve), client.put(), client.confirm(&offer.body)] {
        refused(&client.send(&message).unwrap(), Problem::Gone);
    }
    let message = client.audit(vec![0]);
    let answer = client.send(&message).unwrap();
    assert_eq!(parse_answer(&answer.body, 1).unwrap(), [AuditResult::Refused("gone".into())]);
    client.pass(LEASE + 1);
    assert_eq!(client.stored(), (0, 0, 0));
    // And when the id begins anew, the old body, still shown, is not taken for the new one.
    let put = client.put_of(&client.statement, client.body.clone());
    let offer = client.send(&put).unwrap();
    let confirm = client.confirm(&offer.body);
    client.send(&confirm).unwrap();
    let message = client.claim(Verb::Retrieve);
    refused(&client.send(&message).unwrap(), Problem::Unavailable);
}

#[test]
fn a_damaged_record_is_a_failure_and_never_an_empty_one() {
    let mut client = Client::new(false, 500);
    let put = client.put();
    let offer = client.send(&put).unwrap();
    let confirm = client.confirm(&offer.body);
    client.send(&confirm).unwrap();
    let whole = client.safe.records();
    for damage in [vec![], vec![0xff; 40], whole[&client.id()][..100].to_vec()] {
        let damaged = [(client.id(), damage.clone())].into();
        client.safe.set_records(damaged);
        for message in
            [client.put(), client.confirm(&offer.body), client.claim(Verb::Retrieve), client.claim(Verb::Release)]
        {
            refused(&client.send(&message).unwrap(), Problem::Internal);
        }
        client.pass(DAY);
        assert_eq!(client.safe.records()[&client.id()], damage);
        assert_eq!(client.safe.counts().1, 1);
    }
    client.safe.set_records(whole);
    let message = client.claim(Verb::Retrieve);
    assert!(client.send(&message).unwrap().body == client.body);
}

/// A client whose deposit is held, and its certificate.
fn held(token_until: Option<Seconds>) -> (Client, certificate::Registration) {
    let mut client = Client::of(token_until, 500);
    let put = client.put();
    let offer = client.send(&put).unwrap();
    let certificate = client.insist(|client| client.confirm(&offer.body));
    let says = certificate::read_unverified(&certificate.body).unwrap();
    (client, says)
}

#[test]
fn a_lease_that_nobody_renews_ends_after_its_grace() {
    let (mut client, says) = held(None);
    assert_eq!(says.lease_end, START + LEASE);
    client.pass(LEASE + GRACE - 1);
    assert_eq!(client.stored().1, 1);
    client.pass(1);
    assert_eq!(client.stored(), (0, 0, 0));
    let message = client.claim(Verb::Retrieve);
    refused(&client.send(&message).unwrap(), Problem::NotFound);
}

#[test]
fn any_contact_renews_a_lease() {
    for verb in [Verb::Retrieve, Verb::Renew, Verb::Demand] {
        let (mut client, first) = held(None);
        // At once there is nothing to renew: the certificate stays as it is.
        assert_eq!(client.insist(|client| client.claim(verb)).status, 200);
        let renewed = client.insist(|client| client.claim(Verb::Renew));
        assert_eq!(certificate::read_unverified(&renewed.body).unwrap(), first);
        // In the grace it is not too late.
        client.pass(LEASE + GRACE / 2);
        assert_eq!(client.insist(|client| client.claim(verb)).status, 200);
        let renewed = client.insist(|client| client.claim(Verb::Renew));
        let identity = client.safe.identity().unwrap();
        let renewed = certificate::verify(&renewed.body, &identity, Some(&client.statement)).unwrap();
        assert_eq!(renewed.registration().lease_end, client.now + LEASE);
        client.pass(LEASE + GRACE - 1);
        assert!(client.insist(|client| client.claim(Verb::Retrieve)).body == client.body);
    }
    // An audit renews too, and no more often than once in a twenty-fourth of the lease.
    let (mut client, first) = held(None);
    for (wait, end) in [(LEASE / RENEW_PART - 1, first.lease_end), (1, first.lease_end + LEASE / RENEW_PART)] {
        client.pass(wait);
        client.insist(|client| client.audit(vec![0]));
        let record = client.safe.record(&client.id()).unwrap();
        assert_eq!(record.lease_end, Some(end));
        assert_eq!(certificate::read_unverified(&record.certificate.unwrap()).unwrap().lease_end, end);
    }
    // A stranger renews nothing.
    client.pass(LEASE / 2);
    let before = client.safe.record(&client.id()).unwrap().lease_end;
    client.secrets = DepositSecrets::derive(&secret(99));
    refused(&client.insist(|client| client.claim(Verb::Retrieve)), Problem::NotFound);
    assert_eq!(client.safe.record(&client.id()).unwrap().lease_end, before);
}

#[test]
fn a_lease_that_ends_under_a_token_lies_dormant() {
    let until = START + LEASE + GRACE + 500 * DAY;
    let (mut client, _) = held(Some(until));
    client.pass(LEASE + GRACE + 400 * DAY);
    assert_eq!(client.stored(), (1, 1, 1));
    // Recoverable, and that renews it.
    let (mut other, _) = held(Some(until));
    other.pass(LEASE + GRACE + 400 * DAY);
    assert!(other.insist(|client| client.claim(Verb::Retrieve)).body == other.body);
    client.pass(100 * DAY);
    assert_eq!(client.stored(), (0, 0, 0));
    other.pass(100 * DAY);
    assert_eq!(other.stored(), (1, 1, 1));
}

#[test]
fn a_day_has_a_budget_of_removals() {
    let client = Client::new(false, 10);
    let many = DAILY_REMOVALS as usize + 60;
    for i in 0..many {
        let id = DepositId(*Secret::from_bytes(blake3(&i.to_be_bytes())).expose().first_chunk().unwrap());
        let statement = Statement { deposit: id, ..client.statement.clone() };
        let mut message = client.put_of(&statement, client.body.clone());
        message.head.path = format!("/v1/deposits/{id}");
        assert_eq!(client.send(&message).unwrap().status, 201);
    }
    // None was confirmed: all offers lapse on one day.
    let mut client = client;
    client.pass(CONFIRM_SPAN + ERASE_RETRY);
    assert_eq!(client.safe.counts().1, many - DAILY_REMOVALS as usize);
    // What waits is gone all the same for whoever asks.
    client.pass(DAY / 2);
    assert!(client.safe.counts().1 <= many - DAILY_REMOVALS as usize);
    client.pass(2 * DAY);
    assert_eq!(client.stored(), (0, 0, 0));
    // A release is the owner's own, and waits for no budget.
    let (mut owner, _) = held(None);
    assert_eq!(owner.insist(|client| client.claim(Verb::Release)).status, 200);
    assert_eq!(owner.safe.counts().1, 0);
}

#[test]
fn a_body_that_is_lost_is_confessed_when_the_storage_has_had_its_time() {
    let (mut client, _) = held(None);
    client.safe.lose_bodies();
    let message = client.claim(Verb::Demand);
    refused(&client.send(&message).unwrap(), Problem::Unavailable);
    client.pass(SETTLE_SPAN);
    let message = client.claim(Verb::Demand);
    let identity = client.safe.identity().unwrap();
    let testimony = verify_testimony(&client.send(&message).unwrap().body, &identity).unwrap();
    assert!(matches!(testimony.verdict, Verdict::Lost));
    let message = client.claim(Verb::Retrieve);
    refused(&client.send(&message).unwrap(), Problem::Unavailable);
}

/// What a key has signed in the second in which it is revoked is worth nothing: whoever did not hear the answer the first time must not be given
/// that for ever.
#[test]
fn what_an_old_key_has_signed_is_given_out_under_the_new_one() {
    let rotate = |client: &mut Client| {
        client.safe.rotate(client.now, true).unwrap();
        client.now += 1;
        client.safe.identity().unwrap()
    };
    let mut client = Client::of(None, 500);
    let put = |client: &mut Client| client.put();
    let old = client.insist(put);
    let identity = rotate(&mut client);
    assert!(Offered::verify(&old.body, &identity, &client.statement).is_err());
    let offer = client.insist(put);
    Offered::verify(&offer.body, &identity, &client.statement).unwrap();
    refused(&client.send(&client.confirm(&old.body)).unwrap(), Problem::Conflict);
    client.insist(|client| client.confirm(&offer.body));
    let identity = rotate(&mut client);
    let put = client.insist(put);
    let certificate = certificate::verify(&put.body, &identity, Some(&client.statement)).unwrap();
    let first = client.insist(|client| client.claim(Verb::Release));
    verify_receipt(&first.body, &identity, certificate.registration()).unwrap();
    let identity = rotate(&mut client);
    assert!(verify_receipt(&first.body, &identity, certificate.registration()).is_err());
    let second = client.insist(|client| client.claim(Verb::Release));
    verify_receipt(&second.body, &identity, certificate.registration()).unwrap();
    assert_eq!(client.insist(|client| client.claim(Verb::Release)).body, second.body);
}

#[test]
fn new_keys_leave_what_the_old_ones_signed() {
    for revoke in [false, true] {
        let (mut client, first) = held(None);
        client.pass(DAY);
        let sealed_before = client.claim(Verb::Retrieve);
        client.safe.rotate(client.now, revoke).unwrap();
        client.now += 1;
        // What was on its way is still understood.
        assert!(client.send(&sealed_before).unwrap().body == client.body);
        let identity = client.safe.identity().unwrap();
        assert_eq!(identity.entries().len(), 2);
        assert_eq!(identity.current(client.now).unwrap().serial, 2);
        // That contact has moved the certificate to the new key.
        let renewed = client.insist(|client| client.claim(Verb::Renew));
        let renewed = certificate::verify(&renewed.body, &identity, Some(&client.statement)).unwrap();
        assert_eq!((first.entry, renewed.registration().entry), (1, 2));
        assert!(renewed.registration().lease_end >= first.lease_end);
        let receipt = client.insist(|client| client.claim(Verb::Release));
        verify_receipt(&receipt.body, &identity, &first).unwrap();
    }
}
