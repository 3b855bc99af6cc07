//! A wallet and its owner: an enrolment that is cut off anywhere comes to its end; the book at the safes says what the wallet has before anything is let go; a new device
//! brings all of it back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::cell::Cell;

use futures::executor::block_on;
use protocol::{
    codec,
    crypto::{PassphraseCost, derive_secret},
    ids::{SafeId, Seconds, ValueId},
    owner::{
        enrolment::{Enrolling, Stretched},
        login::{Known, agree},
        messages::{CHALLENGE_SPAN, Epoch, Look, MAX_ANSWER_LEN, Outcome, Topic},
        name::NameKey,
    },
    plan::Plan,
};
use safe_worker::memory::MemorySafe;
use tests::{
    fixture::{rng, secret},
    in_memory::head_of,
    plug::{TICKET, leak, state_of},
    visit::{Ask, Got, SafeUnderTest, Visit, granted},
    world::{Fault, START, Safes, Wallet},
};
use wallet_wasm::{
    exchange::Meaning,
    machine::{Enrol, Event, WalletError},
    owner::{
        Errand, Making, Reached, Told, arrival, arrived, come_back, epoch_after, interpret, look_request, question,
        read_look,
    },
    store::MemoryStore,
};

const PASSPHRASE: &str = "a wardrobe full of lighthouse keepers";
const N: usize = 5;

fn name() -> NameKey {
    NameKey::new(secret(0x0a))
}

/// What the browser makes of name and passphrase.
fn enrolment(ids: &[SafeId], threshold: u8) -> Enrol {
    let enrolling = Enrolling::start(&secret(0xe), ids, threshold, PASSPHRASE, PassphraseCost::LEAST).unwrap();
    let (stretch, output) = enrolling.to_stretch();
    let stretched = stretch.derive_key_of(output).unwrap();
    let made = enrolling.finish(&Stretched::new(stretched.clone()), &name(), 1).unwrap();
    Enrol {
        name: "alice-7kq4m2".into(),
        name_key: name().expose().clone(),
        credential: secret(0xc),
        threshold,
        making: Making::of(&made, stretched),
        epoch: epoch_after([], &mut rng(1)),
    }
}

/// A safe of a world, as a visitor finds it.
struct Door<'a> {
    safe: &'a MemorySafe,
    now: Seconds,
    drawn: &'a Cell<u64>,
}

impl SafeUnderTest for Door<'_> {
    fn exchange(&mut self, ask: &Ask) -> Got {
        let answer = block_on(self.safe.handle(&head_of(ask), ask.body.clone(), self.now));
        let headers = [("content-type".to_owned(), answer.content_type.to_owned())].into();
        Got { status: answer.status, headers, body: answer.body }
    }

    fn url(&self) -> String {
        self.safe.url().to_owned()
    }

    fn now(&self) -> Seconds {
        self.now
    }

    fn draw(&mut self) -> u64 {
        self.drawn.set(self.drawn.get() + 1);
        self.drawn.get()
    }
}

/// Somebody who has the name and the passphrase, at these safes.
struct Comer<'a> {
    safes: &'a Safes,
    at: Vec<usize>,
    now: Seconds,
    drawn: Cell<u64>,
}

impl<'a> Comer<'a> {
    fn new(safes: &'a Safes, now: Seconds, at: &[usize], seed: u64) -> Self {
        Self { safes, at: at.to_vec(), now, drawn: Cell::new(seed << 32) }
    }

    fn door(&self, index: usize) -> Door<'_> {
        Door { safe: &self.safes.all[index], now: self.now, drawn: &self.drawn }
    }

    fn log_in(&self) -> Known {
        let looks: Vec<(SafeId, Look)> = self
            .at
            .iter()
            .map(|at| {
                let id = self.safes.all[*at].id();
                (id, Visit::new(&mut self.door(*at)).look(&name().account(&id)))
            })
            .collect();
        let agreed = agree(&name(), &looks, N).unwrap();
        let mut attempt = agreed.start(PASSPHRASE, &mut rng(self.drawn.get())).unwrap();
        for at in &self.at {
            let id = self.safes.all[*at].id();
            let guess = attempt.guess_at(&id);
            attempt.take(&id, &Visit::new(&mut self.door(*at)).guess(&name().account(&id), &guess)).unwrap();
        }
        let waiting = attempt.finish().unwrap();
        let (stretch, output) = waiting.to_stretch();
        let stretched = Stretched::new(stretch.derive_key_of(output).unwrap());
        waiting.finish(stretched).unwrap()
    }

    /// A new wallet with everything back.
    fn come_back(&self, seed: u64) -> Wallet<'static> {
        let mut wallet = Wallet::create(leak(), seed);
        self.come_back_to(&mut wallet, seed);
        wallet
    }

    /// The same on a device that has a wallet.
    fn come_back_to(&self, wallet: &mut Wallet<'static>, seed: u64) {
        let known = self.log_in();
        let mine = wallet.state.owner.as_ref().map(|owner| owner.credential.clone());
        let credential = mine.unwrap_or_else(|| derive_secret(&secret(seed), "credential", b""));
        let told: Vec<Told> = self
            .at
            .iter()
            .map(|at| {
                let (id, mut door) = (self.safes.all[*at].id(), self.door(*at));
                let mut visit = Visit::new(&mut door);
                let actions = codec::encode(&arrival(&known, &id, &credential));
                let channel = known.channel(&id);
                let (got, answering) =
                    visit.ask_owner(&name().account(&id), Topic::Channel, &actions, Some(channel.proof()));
                let answer = answering.open(&granted(got, 200, "application/octet-stream")).unwrap();
                let outcomes: Vec<Outcome> = codec::decode(&answer, MAX_ANSWER_LEN).unwrap();
                arrived(&self.safes.probe(*at, self.now), outcomes).unwrap()
            })
            .collect();
        let (back, wrong) =
            come_back("alice-7kq4m2".into(), &name(), &known, credential, told, &mut rng(seed)).unwrap();
        assert_eq!(wrong, []);
        wallet.handle(Event::OwnerReturned(Box::new(back))).unwrap();
    }
}

/// A wallet with a value that is protected, whose owner's enrolment has begun.
fn begun(store: &'static MemoryStore, safes: &Safes) -> (Wallet<'static>, ValueId) {
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(safes);
    let value = wallet.add("Ticket", TICKET);
    wallet.back_up_as(&[value], Plan::spread(3, &ids).unwrap(), None, false).unwrap();
    wallet.run(safes, 1000);
    wallet.handle(Event::Enrol(Box::new(enrolment(&ids, 3)))).unwrap();
    (wallet, value)
}

fn enrolled(store: &'static MemoryStore, safes: &Safes) -> (Wallet<'static>, ValueId) {
    let (mut wallet, value) = begun(store, safes);
    wallet.run(safes, 1000);
    assert!(wallet.state.owner.as_ref().unwrap().writes());
    (wallet, value)
}

/// How many safes have the newest head.
fn written(wallet: &Wallet<'_>) -> usize {
    wallet.state.owner.as_ref().unwrap().written()
}

#[test]
fn an_enrolment_comes_to_its_end_from_wherever_it_was_cut_off() {
    let count = {
        let safes = Safes::new(N);
        begun(leak(), &safes).0.run(&safes, 1000)
    };
    // Five safes, and for each: open, stage, evaluate, show, commit, promise, write.
    assert_eq!(count, 35);
    for crash in 0..=count {
        for fault in [Fault::None, Fault::LostBefore, Fault::LostAfter, Fault::Twice] {
            let (store, safes) = (leak(), Safes::new(N));
            let (mut wallet, _) = begun(store, &safes);
            for step in 0..crash {
                let Some(action) = wallet.session.actions(&wallet.state, START).into_iter().next() else { break };
                wallet.act(&action, &safes, if step + 1 == crash { fault } else { Fault::None }).unwrap();
            }
            drop(wallet);
            let mut wallet = Wallet::open(store, 100 + crash as u64);
            for _ in 0..5 {
                wallet.run(&safes, 1000);
                wallet.wait(60);
            }
            let owner = wallet.state.owner.as_ref().unwrap();
            assert!(owner.writes() && owner.making.is_none(), "{fault:?} after step {crash}");
            assert!(owner.seats.iter().all(|seat| seat.reached == Reached::Committed && seat.number == Some(1)));
            assert_eq!(owner.written(), N, "{fault:?} after step {crash}");
            if crash % 7 == 3 {
                let back = Comer::new(&safes, START + 400, &[0, 2, 4], 9).come_back(77);
                assert_eq!(back.state.backups.len(), 1, "{fault:?} after step {crash}");
            }
        }
    }
}

#[test]
fn a_new_device_has_everything_and_the_old_one_is_told() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, value) = enrolled(store, &safes);
    // Whatever three safes answer.
    let mut second = None;
    for (seed, at) in [(2, [0, 1, 2]), (3, [1, 3, 4]), (4, [0, 2, 4])] {
        let mut wallet = Comer::new(&safes, START, &at, seed).come_back(seed);
        assert_eq!(state_of(&wallet, value), ("moved", None));
        let backup = wallet.backup_of(&value);
        wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
        for _ in 0..5 {
            wallet.run(&safes, 1000);
            wallet.wait(60);
        }
        assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
        second = Some(wallet);
    }
    // Three safes that know it are not enough to keep the book; the others get to know it when they answer.
    let mut second = second.unwrap();
    assert_eq!(written(&second), 0);
    Comer::new(&safes, START, &[0, 1, 2, 3, 4], 6).come_back_to(&mut second, 6);
    second.run(&safes, 1000);
    assert_eq!(written(&second), N);
    // The old device writes, and hears that it is no longer its turn.
    let next = first.add("Later", b"later");
    let ids: Vec<_> = first.state.safes.keys().copied().collect();
    first.back_up_as(&[next], Plan::spread(3, &ids).unwrap(), None, true).unwrap();
    for _ in 0..5 {
        first.run(&safes, 1000);
        first.wait(60);
    }
    let owner = first.state.owner.as_ref().unwrap();
    assert!(owner.superseded && owner.is_behind());
    // What is in nobody's book is not let go here.
    assert_eq!(first.content(&next).as_deref(), Some(&b"later"[..]));
    // It takes the book back, and what it has is in it then.
    Comer::new(&safes, first.now(), &[0, 1, 2, 3, 4], 7).come_back_to(&mut first, 7);
    for _ in 0..5 {
        first.run(&safes, 1000);
        first.wait(60);
    }
    assert_eq!((written(&first), first.content(&next)), (N, None));
    let third = Comer::new(&safes, first.now(), &[0, 1, 2], 8).come_back(9);
    assert_eq!(state_of(&third, next), ("moved", None));
    assert_eq!(third.state.backups.len(), 2);
}

#[test]
fn nothing_goes_before_the_book_names_what_is_in_its_place() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    assert_eq!(written(&wallet), N);
    let ids: Vec<SafeId> = safes.all.iter().map(MemorySafe::id).collect();
    // Three safes get the value; the owner's book wants four.
    safes.away = vec![3, 4];
    let moved = wallet.add("Moved", b"to be moved");
    wallet.back_up_as(&[moved], Plan::spread(2, &ids[..3]).unwrap(), None, true).unwrap();
    for _ in 0..5 {
        wallet.run(&safes, 1000);
        wallet.wait(60);
    }
    assert_eq!(written(&wallet), 3);
    assert_eq!(wallet.content(&moved).as_deref(), Some(&b"to be moved"[..]), "three of four is no book");
    safes.away = vec![4];
    for _ in 0..5 {
        wallet.run(&safes, 1000);
        wallet.wait(60);
    }
    assert_eq!((written(&wallet), wallet.content(&moved)), (4, None));
    // Any three that answer, one of them being the safe that was away, have one with the newest book.
    let back = Comer::new(&safes, wallet.now(), &[0, 3, 4], 5).come_back(8);
    assert_eq!(state_of(&back, moved), ("moved", None));
}

#[test]
fn a_book_that_was_set_back_is_not_taken_for_the_newest() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let snapshot = safes.all[0].snapshot();
    let next = wallet.add("Later", b"later");
    let ids: Vec<_> = wallet.state.safes.keys().copied().collect();
    wallet.back_up_as(&[next], Plan::spread(3, &ids).unwrap(), None, false).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(written(&wallet), N);
    safes.all[0].restore(snapshot);
    let back = Comer::new(&safes, START, &[0, 1, 2], 5).come_back(8);
    assert_eq!(back.state.backups.len(), 2);
}

#[test]
fn a_book_that_is_too_long_keeps_the_newest_and_says_so() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, first) = enrolled(store, &safes);
    let ids: Vec<_> = wallet.state.safes.keys().copied().collect();
    let mut values = Vec::new();
    for n in 0..24 {
        wallet.wait(1);
        let value = wallet.add(&format!("Number {n}"), b"content");
        wallet.back_up_as(&[value], Plan::spread(3, &ids).unwrap(), None, false).unwrap();
        wallet.run(&safes, 1000);
        values.push(value);
    }
    let left_out = wallet.state.owner.as_ref().unwrap().left_out as usize;
    assert!((5..20).contains(&left_out), "{left_out}");
    assert_eq!(written(&wallet), N);
    let back = Comer::new(&safes, wallet.now(), &[0, 1, 2], 5).come_back(8);
    assert_eq!(back.state.backups.len(), 25 - left_out);
    assert!(!back.state.values.contains_key(&first));
    assert!(values.iter().rev().take(25 - left_out).all(|value| back.state.values.contains_key(value)));
    // A single one that is longer than all room is not in the way of the others.
    let many: Vec<_> = (0..1200).map(|n| wallet.add(&format!("One of very many values, number {n}"), b"x")).collect();
    wallet.back_up_as(&many, Plan::spread(3, &ids).unwrap(), None, false).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.state.owner.as_ref().unwrap().left_out as usize, left_out + 1);
}

#[test]
fn nothing_is_put_in_force_before_every_safe_has_proven_it() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = begun(store, &safes);
    safes.away = vec![4];
    for _ in 0..3 {
        wallet.run(&safes, 1000);
        wallet.wait(60);
    }
    let owner = wallet.state.owner.as_ref().unwrap();
    let reached: Vec<_> = owner.seats.iter().map(|seat| seat.reached).collect();
    assert_eq!(reached.iter().filter(|reached| **reached == Reached::Proven).count(), 4);
    assert_eq!(reached.iter().max(), Some(&Reached::Proven));
}

#[test]
fn what_was_written_between_look_and_turn_is_not_lost() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    let mut second = Comer::new(&safes, START, &[0, 1, 2, 3, 4], 2).come_back(2);
    // The first device still has its turn, and writes.
    let next = first.add("Later", b"later");
    let ids: Vec<_> = first.state.safes.keys().copied().collect();
    first.back_up_as(&[next], Plan::spread(3, &ids).unwrap(), None, false).unwrap();
    first.run(&safes, 1000);
    assert_eq!(written(&first), N);
    second.run(&safes, 1000);
    assert!(second.state.owner.as_ref().unwrap().superseded, "it does not know the newest book, and does not write");
    // Once more, and it does.
    Comer::new(&safes, START, &[0, 1, 2, 3, 4], 3).come_back_to(&mut second, 3);
    second.run(&safes, 1000);
    assert_eq!((written(&second), second.state.backups.len()), (N, 2));
}

#[test]
fn a_challenge_that_took_too_long_is_asked_for_again() {
    let (store, safes) = (leak(), Safes::new(N));
    let (wallet, _) = begun(store, &safes);
    let safe = safes.all[0].id();
    let known = &wallet.state.safes[&safe];
    let asked = look_request(&known.url, name().expose(), &safe);
    let look = read_look(safes.send(&asked, Vec::new(), START)).unwrap();
    let (request, asked) = question(&wallet.state, &safe, Errand::Open, &look, &mut rng(1)).unwrap();
    let late = safes.send(&request, request.body.clone().unwrap(), START + CHALLENGE_SPAN);
    let meaning = interpret(&wallet.state, &safe, Errand::Open, asked, late);
    assert!(matches!(meaning, Meaning::Later(..)), "{meaning:?}");
}

#[test]
fn there_is_one_owner_in_a_wallet() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = begun(store, &safes);
    let ids: Vec<SafeId> = safes.all.iter().map(MemorySafe::id).collect();
    assert_eq!(wallet.handle(Event::Enrol(Box::new(enrolment(&ids, 3)))), Err(WalletError::Busy));
    let mut other = Wallet::create(leak(), 2);
    assert_eq!(
        other.handle(Event::Enrol(Box::new(enrolment(&ids, 3)))),
        Err(WalletError::Unknown("safe")),
        "safes that it does not know"
    );
    assert_eq!(epoch_after([Epoch::NONE], &mut rng(1)).counter, 1);
}
