//! The relay between safes in memory: the suite of two safes, and what only open storage and a played other safe can show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{cell::RefCell, rc::Rc};

use futures::executor::block_on;
use protocol::{
    codec,
    ids::SafeId,
    problem::Problem,
    relay::{Errand, MAX_DELIVERY_LEN, Parcel},
};
use safe_worker::{
    flow::{Answer, Head, OCTETS, log_line},
    relay::{DAILY_BYTES, DAILY_ERRANDS, Fetched, parse_targets},
};
use tests::{
    in_memory::InMemory,
    relay_suite,
    relay_suite::{Owner, errand},
    visit::{SafeUnderTest, Visit, assert_refused, granted},
};

fn for_each_pair(case: fn(&mut dyn SafeUnderTest, &mut dyn SafeUnderTest)) {
    let mut safes = InMemory::relaying(2);
    let mut other = safes.pop().unwrap();
    case(&mut safes[0], &mut other);
}

relay_suite!(for_each_pair);

fn has(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|part| part == needle)
}

#[test]
fn the_safe_in_between_has_nothing_of_the_other_one() {
    let safes = InMemory::relaying(2);
    let (mut between, mut other) = (safes[0].clone(), safes[1].clone());
    let seen: Rc<RefCell<Vec<Vec<u8>>>> = Rc::default();
    let (log, door, clock) = (Rc::clone(&seen), other.clone(), Rc::clone(&other.clock));
    safes[0].safe.set_peers(move |url, body, _| {
        log.borrow_mut().push(body.clone());
        let path = url.strip_prefix(door.safe.url())?.to_owned();
        let content_type = Some("application/cbor".to_owned());
        let length = Some(body.len() as u64);
        let head = Head { method: "POST".into(), path, content_type, length, ..Head::default() };
        let answer = block_on(door.safe.handle(&head, body, clock.get()));
        log.borrow_mut().push(answer.body.clone());
        Some(answer)
    });
    let (mut between, mut other) = (Visit::new(&mut between), Visit::new(&mut other));
    let owner = Owner::new(&mut between);
    let (deposit, ..) = other.held(4000);
    let (errand, awaiting) = errand(&between, &mut other, &deposit);
    let brought = granted(owner.send(&mut between, &errand), 200, OCTETS);
    awaiting.open(&brought, errand.most).unwrap();
    // Everything that it stores, and everything that passed through its memory on the way.
    let mut memory = safes[0].safe.dump();
    memory.extend(seen.borrow().iter().flatten());
    memory.extend(codec::encode(&errand));
    memory.extend(&brought);
    let secrets = &deposit.secrets;
    for part in deposit.body.chunks(32).map(|part| &part[..part.len().min(16)]) {
        assert!(!has(&memory, part), "a part of the body");
    }
    for secret in [&secrets.retrieve, &secrets.release, &secrets.audit] {
        assert!(!has(&memory, secret.expose()), "a secret of the deposit");
    }
    assert!(!has(&memory, &deposit.id.0), "its id");
    assert!(!has(&memory, deposit.id.to_string().as_bytes()), "its id as text");
    assert!(!has(&memory, &codec::encode(&deposit.statement)), "its statement");
    // And its log says who was asked for what in no more words than the route.
    let path = "/v1/owners/0000000000000000000000000000000000000000000000000000000000000000/relay".to_owned();
    let answer = Answer { status: 200, content_type: OCTETS, header: None, problem: None, body: Vec::new() };
    let line = log_line(&Head { method: "POST".into(), path, ..Head::default() }, &answer);
    assert!(line.contains("/v1/owners/{account}/relay") && !line.contains("0000"), "{line}");
}

/// Whatever the other safe does, its owner hears that it failed, and the safe in between goes on.
#[test]
fn a_safe_that_answers_otherwise_is_not_passed_on() {
    let safes = InMemory::relaying(2);
    let (mut between, mut other) = (safes[0].clone(), safes[1].clone());
    let (mut between, mut other) = (Visit::new(&mut between), Visit::new(&mut other));
    let owner = Owner::new(&mut between);
    let (deposit, ..) = other.held(100);
    let answer =
        |status, body: Vec<u8>| Some(Answer { status, content_type: OCTETS, header: None, problem: None, body });
    let answers = [
        None,
        answer(302, Vec::new()),
        answer(204, Vec::new()),
        answer(403, vec![1]),
        answer(500, vec![1; 100]),
        answer(200, vec![1; 1 << 20]),
    ];
    for given in answers {
        let said = given.clone();
        safes[0].safe.set_peers(move |_, _, _| said.clone());
        let (errand, _) = errand(&between, &mut other, &deposit);
        assert_refused(&owner.send(&mut between, &errand), Problem::RelayFailed);
    }
    // Noise of a fitting length comes back as it is, and opens for nobody.
    safes[0].safe.set_peers(move |_, _, _| answer(200, vec![7; 150]));
    let (errand, awaiting) = errand(&between, &mut other, &deposit);
    let brought = granted(owner.send(&mut between, &errand), 200, OCTETS);
    assert!(awaiting.open(&brought, errand.most).is_err());
}

#[test]
fn no_more_is_fetched_on_one_day_than_the_safe_bears() {
    let safes = InMemory::relaying(2);
    let (mut between, mut other) = (safes[0].clone(), safes[1].clone());
    let (mut between, mut other) = (Visit::new(&mut between), Visit::new(&mut other));
    let owner = Owner::new(&mut between);
    let (deposit, ..) = other.held(10);
    // To the beginning of a day.
    safes[0].wait(86_400 - safes[0].clock.get() % 86_400);
    let mut sent = 0;
    let refused = loop {
        let (errand, _) = errand(&between, &mut other, &deposit);
        let got = owner.send(&mut between, &Errand { most: MAX_DELIVERY_LEN, ..errand });
        if got.status != 200 {
            break got;
        }
        sent += 1;
        safes[0].wait(10);
    };
    assert_refused(&refused, Problem::RelayLimit);
    assert_eq!(sent, DAILY_BYTES / MAX_DELIVERY_LEN);
    // Everybody has a day of his own, and the next day is another one.
    let (errand, _) = errand(&between, &mut other, &deposit);
    granted(Owner::new(&mut between).send(&mut between, &errand), 200, OCTETS);
    assert_refused(
        &owner.send(&mut between, &Errand { most: MAX_DELIVERY_LEN, ..errand.clone() }),
        Problem::RelayLimit,
    );
    safes[0].wait(86_400);
    assert_eq!(owner.fetch(&mut between, &mut other, &deposit), {
        protocol::relay::Delivery::Body(deposit.body.clone().into())
    });
}

#[test]
fn a_day_has_its_errands() {
    let mut fetched = Fetched::default();
    for _ in 0..DAILY_ERRANDS {
        fetched = fetched.with(0, 86_399).unwrap();
    }
    assert_eq!(fetched.with(0, 86_399), None);
    assert_eq!(fetched.with(5, 86_400), Some(Fetched { day: 1, errands: 1, bytes: 5 }));
    // A clock that is set back begins a day anew, once.
    assert_eq!(fetched.with(DAILY_BYTES + 1, 200_000), None);
}

/// What an operator may write, and what he may not: no address that a safe should not be sent to.
#[test]
fn the_list_is_of_safes_and_their_addresses() {
    let (own, other) = (SafeId([1; 32]), SafeId([2; 32]));
    let line = |url: &str| parse_targets(&format!("{other} {url}"), &own);
    for url in ["https://safe.example", "https://safe.example:8443/a/b", "http://127.0.0.1:8787", "http://localhost"] {
        assert_eq!(line(url).unwrap()[0].url, url);
    }
    assert_eq!(line("https://safe.example/").unwrap()[0].url, "https://safe.example");
    let wrong = [
        "http://safe.example",
        "http://127.0.0.1.example",
        "http://localhost@safe.example",
        "https://user:secret@safe.example",
        "https://",
        "https:///path",
        "ftp://safe.example",
        "safe.example",
        "https://safe.example/?to=http://localhost",
        "https://safe.example/#x",
        "https://safe.example\\@other",
    ];
    for url in wrong {
        line(url).unwrap_err();
    }
    line("").unwrap_err();
    parse_targets(&format!("{own} https://safe.example"), &own).unwrap_err();
    parse_targets(&format!("{other} https://a.example {other} https://b.example"), &own).unwrap_err();
    parse_targets("nobody https://a.example", &own).unwrap_err();
    let many: String = (2..=18).map(|i| format!("{} https://a.example\n", SafeId([i; 32]))).collect();
    parse_targets(&many, &own).unwrap_err();
    assert!(parse_targets(" \n", &own).unwrap().is_empty());
}

#[test]
fn a_parcel_is_one_spelling() {
    let safes = InMemory::relaying(2);
    let (mut between, mut other) = (safes[0].clone(), safes[1].clone());
    let (between, mut other) = (Visit::new(&mut between), Visit::new(&mut other));
    let (deposit, ..) = other.held(10);
    let (errand, _) = errand(&between, &mut other, &deposit);
    let parcel = Parcel::parse(&errand.parcel).unwrap();
    assert_eq!(codec::encode(&parcel), errand.parcel.0);
    assert!(Parcel::parse(&codec::encode(&Parcel { suite: 2, ..parcel.clone() })).is_err());
    assert!(Parcel::parse(&codec::encode(&Parcel { enc: vec![0; 1119].into(), ..parcel })).is_err());
}
