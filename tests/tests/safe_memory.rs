//! The safe in memory: the suite of every safe, and what only a movable clock and open storage can show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::rc::Rc;

use futures::executor::block_on;
use protocol::{
    audit::AuditItem,
    claim::{Shown, Verb},
    crypto::Secret,
    ids::{ClaimantId, DeviceId, SafeId},
    owner::{
        login::ChannelKey,
        messages::{Action, Epoch, Outcome},
        ticket::{Ticket, UNDO_SPAN, bind},
    },
    problem::Problem,
    register::{Next, Proposer, derive_claimant, quorum},
};
use rand_core::Rng;
use safe_worker::{
    flow::{COSE, OCTETS, log_line},
    machine::{ATTEMPT_SPAN, CLAIM_LIMIT, CONFIRM_SPAN, ERASE_RETRY},
    record::{MAX_ATTEMPTS, MAX_NONCES},
};
use tests::{
    fixture::{rng, secret},
    in_memory::{InMemory, head_of},
    owner::{PASSPHRASE, by_passphrase, enrol, name},
    owner_suite, safe_suite,
    visit::{Ask, Deposit, SafeUnderTest, Visit, assert_refused, granted},
};

fn for_each_safe(case: fn(&mut dyn SafeUnderTest)) {
    case(&mut InMemory::new());
    case(&mut InMemory::admitting(true));
}

safe_suite!(for_each_safe);
owner_suite!(for_each_safe);

#[test]
fn what_is_never_confirmed_is_removed() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (deposit, offer) = visit.offered(500);
    memory.wait(CONFIRM_SPAN - 1);
    memory.wake();
    assert_eq!(memory.safe.counts(), (1, 1));
    granted(visit.put(&deposit), 200, COSE);
    memory.wait(1);
    // No request is faster than the alarm.
    assert_refused(&visit.confirm(&deposit, &offer), Problem::Gone);
    assert_refused(&visit.put(&deposit), Problem::Gone);
    memory.wait(ERASE_RETRY);
    memory.wake();
    assert_eq!(memory.safe.counts(), (0, 0));
    assert_refused(&visit.confirm(&deposit, &offer), Problem::Gone);
    // The id is free again, for a body that is then confirmed in time.
    let again = granted(visit.put(&deposit), 201, COSE);
    assert_ne!(again, offer);
    assert_refused(&visit.confirm(&deposit, &offer), Problem::Conflict);
    granted(visit.confirm(&deposit, &again), 200, COSE);
}

#[test]
fn what_a_wallet_lets_go_is_there_for_a_week_and_then_removed() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (name, here) = (name(3), visit.identity.id());
    let made = enrol(3, &[here, SafeId([0xa1; 32]), SafeId([0xa2; 32])], 2, PASSPHRASE, &name, 1);
    let account = name.account(&here);
    let wallet = visit.enrolled(&account, &Secret::from_bytes([3; 32]), &made);
    let himself = by_passphrase(&made, &here);
    let turn = Epoch { counter: 1, holder: DeviceId([1; 16]) };
    let ticket = |visit: &mut Visit<'_>, key: &ChannelKey, action: Action| match &visit.act(&account, key, &[action])[..]
    {
        [Outcome::Ticket(ticket)] => Some(Ticket::parse(ticket).unwrap()),
        other => panic!("{other:?}"),
    };
    visit.act(&account, &wallet, &[Action::Promise(turn)]);
    let mut deposit = visit.draw(500);
    deposit.statement.owner = Some(bind(&deposit.secrets.audit, &account));
    let offer = granted(visit.put(&deposit), 201, COSE);
    granted(visit.confirm(&deposit, &offer), 200, COSE);
    let secret = deposit.secrets.release.clone();
    let present = |visit: &mut Visit<'_>, verb: Verb, ticket: Option<Ticket>| {
        visit.show(&deposit, verb, &Shown { ticket, ..Shown::secret(secret.clone()) })
    };
    let mut receipt = Vec::new();
    for round in 0..2 {
        let release = ticket(&mut visit, &wallet, Action::Ticket(Some(turn)));
        receipt = granted(present(&mut visit, Verb::Release, release), 200, COSE);
        memory.wait(UNDO_SPAN - 1);
        memory.wake();
        assert_eq!(memory.safe.counts(), (1, 1));
        if round == 0 {
            // In the last second, and its week begins anew when it is let go again.
            let own = ticket(&mut visit, &himself, Action::OwnerTicket);
            granted(present(&mut visit, Verb::Restore, own), 200, COSE);
        }
    }
    memory.wait(1);
    // No request is faster than the alarm.
    let own = ticket(&mut visit, &himself, Action::OwnerTicket);
    assert_refused(&present(&mut visit, Verb::Restore, own), Problem::Gone);
    memory.wait(ERASE_RETRY);
    memory.wake();
    assert_eq!(memory.safe.counts(), (1, 0));
    let release = ticket(&mut visit, &wallet, Action::Ticket(Some(turn)));
    assert_eq!(granted(present(&mut visit, Verb::Release, release), 200, COSE), receipt);
}

#[test]
fn a_confirmed_deposit_outlives_every_alarm() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (deposit, offer, certificate) = visit.held(500);
    for _ in 0..3 {
        memory.wait(CONFIRM_SPAN + ATTEMPT_SPAN);
        memory.wake();
    }
    assert_eq!(memory.safe.counts(), (1, 1));
    assert_eq!(granted(visit.retrieve(&deposit), 200, OCTETS), deposit.body);
    assert_eq!(granted(visit.confirm(&deposit, &offer), 200, COSE), certificate);
}

#[test]
fn a_tombstone_stands_until_the_certified_end() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (deposit, ..) = visit.held(500);
    let receipt = granted(visit.release(&deposit), 200, COSE);
    assert_eq!(memory.safe.counts(), (1, 0));
    memory.wait(deposit.statement.lease - 1);
    memory.wake();
    assert_refused(&visit.put(&deposit), Problem::Gone);
    assert_eq!(granted(visit.release(&deposit), 200, COSE), receipt);
    memory.wait(1);
    memory.wake();
    assert_eq!(memory.safe.counts(), (0, 0));
}

#[test]
fn an_offer_that_was_let_go_stays_gone_for_those_who_come_late_and_leaves_nothing() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (deposit, offer) = visit.offered(500);
    assert_refused(&visit.release(&deposit), Problem::Gone);
    assert_eq!(memory.safe.counts(), (1, 0));
    // In the same second the same offer would be made again, and its confirmation would count.
    assert_refused(&visit.put(&deposit), Problem::Gone);
    assert_refused(&visit.confirm(&deposit, &offer), Problem::Gone);
    assert_eq!(memory.safe.counts(), (1, 0));
    memory.wait(CONFIRM_SPAN);
    memory.wake();
    assert_eq!(memory.safe.counts(), (0, 0));
}

#[test]
fn bodies_that_were_refused_leave_nothing() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let mut deposit = visit.draw(500);
    deposit.body[0] ^= 1;
    for _ in 0..2 * MAX_ATTEMPTS {
        assert_refused(&visit.put(&deposit), Problem::BodyMismatch);
        assert_eq!(memory.safe.counts(), (0, 0));
    }
    deposit.body[0] ^= 1;
    granted(visit.put(&deposit), 201, COSE);
}

#[test]
fn replays_are_remembered_as_long_as_they_could_count() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (deposit, ..) = visit.held(10);
    let claims: Vec<_> =
        (0..MAX_NONCES).map(|_| visit.claim(&deposit.id, Verb::Retrieve, &deposit.secrets.retrieve)).collect();
    claims.iter().for_each(|claim| drop(granted(visit.present(&deposit.id, claim), 200, OCTETS)));
    assert_refused(&visit.retrieve(&deposit), Problem::Unavailable);
    claims.iter().for_each(|claim| assert_refused(&visit.present(&deposit.id, claim), Problem::ClaimReplayed));
    memory.wait(CLAIM_LIMIT);
    assert_refused(&visit.present(&deposit.id, &claims[0]), Problem::ClaimExpired);
    granted(visit.retrieve(&deposit), 200, OCTETS);
}

#[test]
fn what_a_safe_stores_holds_no_secret_that_was_not_presented() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (deposit, ..) = visit.held(500);
    granted(visit.retrieve(&deposit), 200, OCTETS);
    let contains = |secret: &[u8; 32]| memory.safe.dump().windows(32).any(|window| window == secret);
    let secrets = &deposit.secrets;
    assert!([&secrets.audit, &secrets.retrieve, &secrets.release].iter().all(|s| !contains(s.expose())));
    assert!(contains(&secrets.hashes().retrieve.0), "the search finds what is there");
    granted(visit.release(&deposit), 200, COSE);
    assert!(contains(secrets.release.expose()) && !contains(secrets.retrieve.expose()));
}

#[test]
fn a_corrupted_body_is_handed_out_for_its_wallet_to_judge() {
    let memory = InMemory::new();
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (deposit, ..) = visit.held(500);
    memory.safe.corrupt(|body| body[0] ^= 1);
    // Checking it here would cost processor time; the wallet checks it against the certificate anyway.
    assert_ne!(granted(visit.retrieve(&deposit), 200, OCTETS), deposit.body);
}

#[test]
fn what_is_logged_names_routes_and_nobody() {
    let memory = InMemory::admitting(true);
    let mut door = memory.clone();
    let mut visit = Visit::new(&mut door);
    let (deposit, offer) = visit.offered(500);
    let asks = [
        visit.put_ask(&deposit),
        Ask::put(&deposit),
        Ask::post(&deposit.id, "retrieve", offer),
        Ask { method: "BREW", authorization: Some("Bearer secret".into()), ..Ask::get("/v1/usage?after=secret") },
        Ask::get(&format!("/v1/{}/secret", deposit.id)),
    ];
    let lines = asks.map(|ask| {
        let head = head_of(&ask);
        let answer = block_on(memory.safe.handle(&head, ask.body.clone(), memory.clock.get()));
        let line = log_line(&head, &answer);
        let told = [head.token, head.statement, head.authorization].into_iter().flatten();
        for secret in told.chain([deposit.id.to_string(), deposit.id.to_string()[..8].to_owned(), "secret".into()]) {
            assert!(!line.contains(&secret), "{line}");
        }
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        let text = |name: &str| json[name].as_str().unwrap_or_default().to_owned();
        (text("method"), text("route"), json["status"].as_u64().unwrap(), text("problem"))
    });
    let expected = [
        ("PUT", "/v1/deposits/{id}", 200, ""),
        ("PUT", "/v1/deposits/{id}", 403, "token-required"),
        ("POST", "/v1/deposits/{id}/retrieve", 400, "malformed"),
        ("(other)", "/v1/usage", 405, "method-not-allowed"),
        ("GET", "(none)", 404, "no-such-path"),
    ];
    for (line, (method, route, status, problem)) in lines.iter().zip(expected) {
        assert_eq!((line.0.as_str(), line.1.as_str(), line.2, line.3.as_str()), (method, route, status, problem));
    }
}

/// docs/operate.md says what a deposit costs; operators of a free plan count on it.
#[test]
fn what_a_deposit_costs_is_what_the_operator_was_told() {
    for tokens in [false, true] {
        let mut safe = InMemory::admitting(tokens);
        let shared = Rc::clone(&safe.safe);
        // All calls of ledger, account and storage.
        let cost = |work: &mut dyn FnMut()| {
            let before = shared.calls();
            work();
            shared.calls() - before
        };
        let account = u64::from(tokens);
        let mut visit = Visit::new(&mut safe);
        let mut held = Vec::new();
        // The first deposit of a token puts it on the operator's list.
        assert_eq!(cost(&mut || held.push(visit.held(5000).0)), 3 + account + 1 + 2 * account, "the first");
        held.clear();
        assert_eq!(cost(&mut || held.push(visit.held(5000).0)), 3 + account + 1, "deposit and confirmation");
        assert_eq!(cost(&mut || drop(granted(visit.retrieve(&held[0]), 200, OCTETS))), 1 + 1, "retrieval");
        let more: Vec<_> = (0..3).map(|_| visit.held(5000).0).collect();
        let item = |of: &Deposit| AuditItem { deposit: of.id, secret: of.secrets.audit.clone(), groups: vec![0] };
        let items: Vec<_> = more.iter().map(item).collect();
        assert_eq!(cost(&mut || drop(visit.audit(&items))), 3 * (1 + 1), "audit of three");
        assert_eq!(cost(&mut || drop(granted(visit.release(&held[0]), 200, COSE))), 2 + 1 + account, "release");
    }
}

/// One claimant of a unique value, until it knows who is chosen.
struct Claimant {
    x: Secret,
    proposer: Proposer,
    waits: u64,
    heard: Option<ClaimantId>,
}

/// Twenty devices want the same ticket, message by message in any order, and one of the five safes is set back to what it was before, again and again:
/// from a snapshot, by whoever looks after it, with or without meaning harm. Some messages are lost.
#[test]
fn a_safe_that_is_set_back_during_a_race_makes_no_second_winner() {
    let mut went_back = 0;
    for round in 0..12 {
        let mut random = rng(0x5e7 + round);
        let mut safes: Vec<InMemory> = (0..5).map(|_| InMemory::new()).collect();
        let deposits: Vec<_> = safes.iter_mut().map(|safe| safe_suite::held_unique(&mut Visit::new(safe))).collect();
        let forgetful = (round % 5) as usize;
        let mut snapshot = safes[forgetful].safe.records();
        let claimant = |i: u64| {
            let x = secret(1000 * round + i);
            let proposer = Proposer::new(5, 1, 0, derive_claimant(&x));
            Claimant { x, proposer, waits: 0, heard: None }
        };
        let mut claimants: Vec<Claimant> = (0..20).map(claimant).collect();
        let mut below = |most: usize| random.next_u64() as usize % most;
        let mut steps = 0;
        while claimants.iter().any(|claimant| claimant.heard.is_none()) {
            steps += 1;
            assert!(steps < 200_000, "the race does not end");
            match below(40) {
                0 => snapshot = safes[forgetful].safe.records(),
                1 => {
                    went_back += usize::from(snapshot != safes[forgetful].safe.records());
                    safes[forgetful].safe.set_records(snapshot.clone());
                }
                _ => {}
            }
            let at = below(claimants.len());
            let Claimant { proposer, waits, heard, .. } = &mut claimants[at];
            if heard.is_some() || *waits > 0 {
                *waits = waits.saturating_sub(1);
                continue;
            }
            let open: Vec<usize> = (0..5).filter(|safe| !proposer.answers().contains_key(safe)).collect();
            let next = if open.is_empty() {
                Next::Again
            } else {
                let safe = open[below(open.len())];
                let ask = proposer.ask();
                let deposit = &deposits[safe];
                let mut visit = Visit::new(&mut safes[safe]);
                let answer = safe_suite::propose(&mut visit, &deposit.id, &deposit.secrets.retrieve, &ask);
                // Every tenth answer is lost on its way.
                if below(10) == 0 {
                    continue;
                }
                proposer.take_in(safe, answer)
            };
            match next {
                Next::Chosen(who) => *heard = Some(who),
                Next::Again => {
                    proposer.begin_round();
                    *waits = below(60) as u64;
                }
                _ => {}
            }
        }
        let chosen = claimants[0].heard;
        assert!(claimants.iter().all(|claimant| claimant.heard == chosen), "round {round}");
        let winner = claimants.iter().find(|claimant| Some(derive_claimant(&claimant.x)) == chosen).unwrap();
        let loser = claimants.iter().find(|claimant| Some(derive_claimant(&claimant.x)) != chosen).unwrap();
        let mut handed = 0;
        // What the one that forgets does with its piece is its own affair; one is less than anybody needs.
        for (at, deposit) in deposits.iter().enumerate().filter(|(at, _)| *at != forgetful) {
            let mut visit = Visit::new(&mut safes[at]);
            assert_refused(&visit.retrieve_as(deposit, Some(&loser.x)), Problem::Claimed);
            handed += usize::from(visit.retrieve_as(deposit, Some(&winner.x)).status == 200);
        }
        assert!(handed >= quorum(5, 1) - 1, "{handed} in round {round}");
    }
    assert!(went_back > 20, "it was set back {went_back} times only");
}
