//! A wallet and its owner: an enrolment that is cut off anywhere comes to its end; the book at the safes says what the wallet has before anything is let go; a new device
//! brings all of it back.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{cell::Cell, cmp::Reverse, collections::BTreeSet};

use futures::executor::block_on;
use protocol::{
    book::KnownSafe,
    claim::Verb,
    codec,
    crypto::{PassphraseCost, Secret, derive_secret},
    deposit::DepositSecrets,
    ids::{BackupId, DeviceId, SafeId, Seconds, ValueId},
    owner::{
        device::Handle,
        enrolment::{Enrolling, OwnerRoot, Stretched},
        login::{Agreed, Known, LoginError, Recognised, agree},
        messages::{
            Action as Act, CHALLENGE_SPAN, CredentialKind, Epoch, Head, Look, MAX_ANSWER_LEN, MAX_HEAD_LEN, Mark,
            Outcome, Past, Topic,
        },
        name::NameKey,
        note::credential_id,
    },
    plan::{Place, Plan},
    problem::Problem,
};
use safe_worker::memory::MemorySafe;
use tests::{
    fixture::{rng, secret, stretched},
    in_memory::head_of,
    plug::{TICKET, leak, state_of},
    visit::{Ask, Got, SafeUnderTest, Visit, assert_refused, granted},
    world::{Fault, START, Safes, Wallet},
};
use wallet_wasm::{
    credentials::list,
    exchange::Meaning,
    machine::{Enrol, Event, WalletError, book_of},
    owner::{
        Arrived, Errand, Making, Reached, Told, arrival, arrived, come_back, epoch_after, interpret, look_request,
        question, read_look, visit, visited,
    },
    session::{Action, Errand as SafeErrand},
    state::{Backup, Next},
    store::MemoryStore,
};

#[path = "enrolling/changing.rs"]
mod changing;
#[path = "enrolling/chapters.rs"]
mod chaptering;
#[path = "enrolling/devices.rs"]
mod devices;
#[path = "enrolling/passkeys.rs"]
mod passkeys;
#[path = "enrolling/relaying.rs"]
mod relaying;
#[path = "enrolling/undoing.rs"]
mod undoing;

const PASSPHRASE: &str = "a wardrobe full of lighthouse keepers";
const N: usize = 5;

fn name() -> NameKey {
    NameKey::new(secret(0x0a))
}

/// What the browser makes of name and passphrase.
fn enrolment(ids: &[SafeId], threshold: u8) -> Enrol {
    let enrolling = Enrolling::start(&secret(0xe), ids, threshold, PASSPHRASE, PassphraseCost::LEAST).unwrap();
    let (stretch, output) = enrolling.to_stretch();
    let stretched = stretched(stretch, output);
    let made = enrolling.finish(&Stretched::new(stretched.clone()), &name(), 1).unwrap();
    Enrol {
        name: "alice-7kq4m2".into(),
        name_key: name().expose().clone(),
        credential: secret(0xc),
        label: "the first one".into(),
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
    passphrase: &'static str,
}

impl<'a> Comer<'a> {
    fn new(safes: &'a Safes, now: Seconds, at: &[usize], seed: u64) -> Self {
        Self { safes, at: at.to_vec(), now, drawn: Cell::new(seed << 32), passphrase: PASSPHRASE }
    }

    fn door(&self, index: usize) -> Door<'_> {
        Door { safe: &self.safes.all[index], now: self.now, drawn: &self.drawn }
    }

    /// What the safes show.
    fn agreed(&self) -> Agreed {
        self.look().unwrap()
    }

    /// Looks, and what is agreed on.
    fn look(&self) -> Result<Agreed, LoginError> {
        let looks: Vec<(SafeId, Look)> = self
            .at
            .iter()
            .map(|at| {
                let id = self.safes.all[*at].id();
                (id, Visit::new(&mut self.door(*at)).look(&name().account(&id)))
            })
            .collect();
        agree(&name(), &looks, N)
    }

    fn log_in(&self) -> Recognised {
        Recognised::Passphrase(Box::new(self.try_in().unwrap()))
    }

    fn try_in(&self) -> Result<Known, LoginError> {
        let agreed = self.look()?;
        let shown_by = agreed.shown_by.clone();
        let mut attempt = agreed.start(self.passphrase, &mut rng(self.drawn.get())).unwrap();
        for at in &self.at {
            let id = self.safes.all[*at].id();
            if !shown_by.contains(&id) {
                continue;
            }
            let guess = attempt.guess_at(&id);
            attempt.take(&id, &Visit::new(&mut self.door(*at)).guess(&name().account(&id), &guess)).unwrap();
        }
        let waiting = attempt.finish().unwrap();
        let (stretch, output) = waiting.to_stretch();
        let stretched = Stretched::new(stretched(&stretch, output));
        waiting.finish(stretched)
    }

    /// What the safes say to their owner.
    fn told(&self, known: &Recognised, credential: &Secret) -> Vec<Told> {
        let known_at = |at: &&usize| known.agreed().shown_by.contains(&self.safes.all[**at].id());
        self.at
            .iter()
            .filter(known_at)
            .map(|at| {
                let (id, mut door) = (self.safes.all[*at].id(), self.door(*at));
                let (mut visit, channel, mut without) = (Visit::new(&mut door), known.channel(&id), None);
                loop {
                    let actions = codec::encode(&arrival(known, &id, (credential, &[]), without));
                    let (got, answering) =
                        visit.ask_owner(&name().account(&id), Topic::Channel, &actions, Some(channel.proof()));
                    let answer = answering.open(&granted(got, 200, "application/octet-stream")).unwrap();
                    let outcomes: Vec<Outcome> = codec::decode(&answer, MAX_ANSWER_LEN).unwrap();
                    match arrived(&self.safes.probe(*at, self.now), outcomes).unwrap() {
                        Arrived::Told(told) => break *told,
                        Arrived::Full(oldest) => assert_eq!(without.replace(oldest), None, "once is enough"),
                    }
                }
            })
            .collect()
    }

    /// A device that only reads.
    fn visit(&self, seed: u64) -> Wallet<'static> {
        self.visit_then(None, seed)
    }

    /// The same, as it was when a head of before stood.
    fn visit_then(&self, to: Option<Mark>, seed: u64) -> Wallet<'static> {
        let mut wallet = Wallet::create(leak(), seed);
        let known = self.log_in();
        let past = to.map_or(Vec::new(), |to| self.read_past(&known, to));
        let told = self.at.iter().map(|at| {
            let (id, mut door) = (self.safes.all[*at].id(), self.door(*at));
            let (mut visiting, channel) = (Visit::new(&mut door), known.channel(&id));
            let actions = codec::encode(&visit(&known, &id));
            let (got, answering) =
                visiting.ask_owner(&name().account(&id), Topic::Channel, &actions, Some(channel.proof()));
            let answer = answering.open(&granted(got, 200, "application/octet-stream")).unwrap();
            visited(&self.safes.probe(*at, self.now), codec::decode(&answer, MAX_ANSWER_LEN).unwrap()).unwrap()
        });
        let mine = (secret(seed), "recover.html".to_owned());
        let (back, wrong) =
            come_back("alice-7kq4m2".into(), &name(), &known, mine, told.collect(), &past, &mut rng(seed)).unwrap();
        assert_eq!((wrong, back.reads), (vec![], true));
        wallet.session.came_back();
        wallet.visitor = Some(known);
        wallet.session.takes_back = to.is_some();
        wallet.handle(Event::OwnerReturned(Box::new(back))).unwrap();
        wallet
    }

    /// How many credentials and counted tries each safe lists.
    fn listed(&self) -> Vec<(usize, usize)> {
        let known = self.log_in();
        let list = |at: &usize| {
            let (id, mut door) = (self.safes.all[*at].id(), self.door(*at));
            let actions = codec::encode(&vec![Act::Refund(known.tries_at(&id)), Act::Show]);
            let channel = known.channel(&id);
            let (got, answering) =
                Visit::new(&mut door).ask_owner(&name().account(&id), Topic::Channel, &actions, Some(channel.proof()));
            let answer = answering.open(&granted(got, 200, "application/octet-stream")).unwrap();
            match codec::decode::<Vec<Outcome>>(&answer, MAX_ANSWER_LEN).unwrap().pop() {
                Some(Outcome::Account(account)) => (account.credentials.len(), account.tries.len()),
                other => panic!("{other:?}"),
            }
        };
        self.at.iter().map(list).collect()
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
        let told = self.told(&known, &credential);
        let (back, wrong) =
            come_back("alice-7kq4m2".into(), &name(), &known, (credential, String::new()), told, &[], &mut rng(seed))
                .unwrap();
        assert_eq!(wrong, []);
        wallet.session.came_back();
        wallet.handle(Event::OwnerReturned(Box::new(back))).unwrap();
    }

    /// What the safes list of the heads of before, the newest first.
    fn past(&self) -> Vec<Past> {
        let known = self.log_in();
        let listed = |at: &usize| match self.act(&known, *at, Act::ListPast) {
            Outcome::Past(past) => past,
            other => panic!("{other:?}"),
        };
        let mut all: Vec<Past> = self.at.iter().flat_map(listed).collect();
        all.sort_by_key(|past| (Reverse(past.until), past.mark.sequence));
        all.dedup_by_key(|past| past.mark);
        all
    }

    fn act(&self, known: &Recognised, at: usize, action: Act) -> Outcome {
        let (id, mut door) = (self.safes.all[at].id(), self.door(at));
        let mut visit = Visit::new(&mut door);
        visit.act(&name().account(&id), &known.channel(&id), &[action]).remove(0)
    }

    fn read_past(&self, known: &Recognised, to: Mark) -> Vec<(SafeId, Head)> {
        let read = |at: &usize| match self.act(known, *at, Act::ReadPast(to)) {
            Outcome::Head(head) => Some((self.safes.all[*at].id(), head?)),
            other => panic!("{other:?}"),
        };
        self.at.iter().filter_map(read).collect()
    }

    /// Comes back, and goes back to a head of before.
    fn go_back(&self, wallet: &mut Wallet<'static>, to: Mark, seed: u64) {
        self.go_back_to(wallet, to, false, seed);
    }

    /// The same; `exactly`: and leaves out what came since.
    fn go_back_to(&self, wallet: &mut Wallet<'static>, to: Mark, exactly: bool, seed: u64) {
        let known = self.log_in();
        let past = self.read_past(&known, to);
        let mine = wallet.state.owner.as_ref().map(|owner| owner.credential.clone());
        let credential = mine.unwrap_or_else(|| derive_secret(&secret(seed), "credential", b""));
        let told = self.told(&known, &credential);
        let mine = (credential, String::new());
        let (mut back, wrong) =
            come_back("alice-7kq4m2".into(), &name(), &known, mine, told, &past, &mut rng(seed)).unwrap();
        assert_eq!(wrong, []);
        back.exactly |= exactly;
        wallet.session.came_back();
        wallet.handle(Event::OwnerReturned(Box::new(back))).unwrap();
        wallet.session.takes_back = true;
        wallet.visitor = Some(known);
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

/// Backs up a value of its own, and lets the book follow.
fn one_more(wallet: &mut Wallet<'static>, safes: &Safes, title: &str) -> ValueId {
    wallet.wait(1);
    let ids: Vec<_> = wallet.state.safes.keys().copied().collect();
    let value = wallet.add(title, title.as_bytes());
    wallet.back_up_as(&[value], Plan::spread(3, &ids).unwrap(), None, false).unwrap();
    settle(wallet, safes);
    value
}

/// Until nothing is left to do, waiting for safes that are away.
fn settle(wallet: &mut Wallet<'static>, safes: &Safes) {
    for _ in 0..6 {
        wallet.run(safes, 10_000);
        wallet.wait(60);
    }
}

fn chapters<'a>(wallet: &'a Wallet<'_>) -> impl Iterator<Item = &'a Backup> {
    wallet.state.backups.values().filter(|backup| backup.chapter.is_some())
}

/// The values that a wallet has a backup of.
fn known(wallet: &Wallet<'_>) -> BTreeSet<ValueId> {
    wallet.state.values.values().filter(|value| value.backup.is_some()).map(|value| value.meta.id).collect()
}

#[test]
fn what_another_device_has_renewed_comes_back_as_it_is_now() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, value) = enrolled(store, &safes);
    let old = first.backup_of(&value);
    first.handle(Event::Move(old)).unwrap();
    settle(&mut first, &safes);
    let mut second = Comer::new(&safes, first.now(), &[0, 1, 2, 3, 4], 2).come_back(2);
    second.wait(first.now() - second.now());
    second.handle(Event::Recover(old, Vec::new())).unwrap();
    settle(&mut second, &safes);
    let (plan, next) = (second.state.backups[&old].plan.clone(), BackupId([9; 16]));
    second.handle(Event::Renew(old, Next { backup: next, plan, words: None })).unwrap();
    settle(&mut second, &safes);
    assert_eq!(second.backup_of(&value), next);
    // The first device still thinks that it is where it was, and takes the book back.
    Comer::new(&safes, second.now(), &[0, 1, 2, 3, 4], 3).come_back_to(&mut first, 3);
    first.wait(second.now() - first.now());
    settle(&mut first, &safes);
    assert_eq!(first.backup_of(&value), next);
    assert!(!first.state.backups.contains_key(&old));
    first.handle(Event::Recover(next, Vec::new())).unwrap();
    settle(&mut first, &safes);
    assert_eq!(first.content(&value).as_deref(), Some(TICKET));
}

#[test]
fn whatever_a_device_was_doing_it_takes_over_what_another_one_has_renewed() {
    for doing in ["recover", "drill", "release", "renew", "register"] {
        let (store, mut safes) = (leak(), Safes::new(N));
        let (mut first, value) = enrolled(store, &safes);
        let old = first.backup_of(&value);
        let plan = first.state.backups[&old].plan.clone();
        let mut second = Comer::new(&safes, first.now(), &[0, 1, 2, 3, 4], 2).come_back(2);
        second.handle(Event::Recover(old, Vec::new())).unwrap();
        settle(&mut second, &safes);
        // The first one begins something that does not come to its end.
        let renewal = |id| Next { backup: BackupId([id; 16]), plan: plan.clone(), words: None };
        if doing == "register" {
            first.handle(Event::Release(old)).unwrap();
            settle(&mut first, &safes);
        }
        safes.away = vec![0, 1, 2, 3, 4];
        first.wait(10);
        match doing {
            "recover" => first.handle(Event::Recover(old, Vec::new())).unwrap(),
            "drill" => first.handle(Event::Drill(old)).unwrap(),
            "release" => first.handle(Event::Release(old)).unwrap(),
            "renew" => first.handle(Event::Renew(old, renewal(8))).unwrap(),
            _ => drop(first.back_up(&[value], plan.clone(), None).unwrap()),
        }
        first.run(&safes, 100);
        safes.away.clear();
        second.wait(600);
        second.handle(Event::Renew(old, renewal(9))).unwrap();
        settle(&mut second, &safes);
        Comer::new(&safes, second.now(), &[0, 1, 2, 3, 4], 3).come_back_to(&mut first, 3);
        first.wait(3_600);
        settle(&mut first, &safes);
        assert_eq!(first.backup_of(&value), BackupId([9; 16]), "{doing}");
        assert_eq!(first.state.backups.len(), 1, "{doing}");
        let third = Comer::new(&safes, first.now(), &[0, 2, 4], 4).come_back(4);
        assert_eq!(third.backup_of(&value), BackupId([9; 16]), "{doing}");
    }
}

#[test]
fn who_takes_the_book_back_does_so_once_whether_the_device_has_heard_of_the_other_one_or_not() {
    for heard in [false, true] {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut first, _) = enrolled(store, &safes);
        let mut second = Comer::new(&safes, START, &[0, 1, 2, 3, 4], 2).come_back(2);
        let later = one_more(&mut second, &safes, "Later");
        if heard {
            one_more(&mut first, &safes, "Own");
        }
        assert_eq!(first.state.owner.as_ref().unwrap().superseded, heard);
        Comer::new(&safes, START, &[0, 1, 2, 3, 4], 3).come_back_to(&mut first, 3);
        let own = one_more(&mut first, &safes, "Own again");
        assert_eq!((written(&first), first.state.owner.as_ref().unwrap().is_behind()), (N, false));
        let third = Comer::new(&safes, START, &[0, 2, 4], 4).come_back(4);
        assert!(known(&third).contains(&later) && known(&third).contains(&own));
        // And again, when nobody was in between: its turn goes on.
        let epoch = first.state.owner.as_ref().unwrap().epoch;
        Comer::new(&safes, START, &[0, 1, 2, 3, 4], 5).come_back_to(&mut first, 5);
        assert_eq!(first.state.owner.as_ref().unwrap().epoch, epoch);
    }
}

/// The disk was set back to what it was in the same turn: what it has backed up since stands at the safes.
#[test]
fn a_device_that_was_set_back_in_its_own_turn_takes_over_what_it_had_written_since() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let sequence = |wallet: &Wallet<'_>| wallet.state.owner.as_ref().unwrap().head.as_ref().unwrap().mark.sequence;
    // Also where it has gone on meanwhile, to the number that is due there next.
    for (goes_on, seed) in [(false, 7), (true, 9)] {
        let before = wallet.state.clone();
        let later = one_more(&mut wallet, &safes, "Later");
        let there = sequence(&wallet);
        wallet.state = before;
        while goes_on && sequence(&wallet) <= there {
            let safe = wallet.state.safes.values().next().unwrap().clone();
            let url = safe.url.strip_suffix('/').map_or_else(|| format!("{}/", safe.url), str::to_owned);
            wallet.handle(Event::SafeSeen(KnownSafe { url, ..safe })).unwrap();
        }
        Comer::new(&safes, wallet.now(), &[0, 1, 2, 3, 4], seed).come_back_to(&mut wallet, seed);
        assert!(known(&wallet).contains(&later), "{goes_on}");
        settle(&mut wallet, &safes);
        let other = Comer::new(&safes, wallet.now(), &[0, 1, 2, 3, 4], seed + 1).come_back(seed + 1);
        assert!(known(&other).contains(&later), "{goes_on}");
        Comer::new(&safes, wallet.now(), &[0, 1, 2, 3, 4], seed + 20).come_back_to(&mut wallet, seed + 20);
        settle(&mut wallet, &safes);
    }
}

#[test]
fn a_device_that_too_few_safes_take_for_the_one_that_writes_is_told() {
    let (store, mut safes) = (leak(), Safes::new(3));
    let mut first = Wallet::create(store, 1);
    let ids = first.trust(&safes);
    first.handle(Event::Enrol(Box::new(enrolment(&ids, 2)))).unwrap();
    settle(&mut first, &safes);
    assert_eq!(written(&first), 3);
    // Another one has its turn at one of three, and goes.
    let mut second = Comer::new(&safes, first.now(), &[0, 1, 2], 2).come_back(2);
    safes.away = vec![1, 2];
    second.wait(first.now() - second.now());
    second.run(&safes, 100);
    safes.away.clear();
    let value = first.add("Later", b"later");
    first.back_up_as(&[value], Plan::spread(2, &ids).unwrap(), None, true).unwrap();
    settle(&mut first, &safes);
    let owner = first.state.owner.as_ref().unwrap();
    assert!(owner.is_behind() && owner.superseded);
    Comer::new(&safes, first.now(), &[0, 1, 2], 3).come_back_to(&mut first, 3);
    settle(&mut first, &safes);
    assert_eq!((written(&first), first.content(&value)), (3, None));
}

#[test]
fn a_safe_that_revokes_its_keys_makes_no_book_unreadable() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    for n in 0..8 {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
    }
    assert_eq!(chapters(&wallet).count(), 1);
    safes.all[0].rotate(wallet.now() + 1, true).unwrap();
    wallet.wait(10);
    wallet.look_at(&safes.all[0].id(), &safes).unwrap();
    one_more(&mut wallet, &safes, "Later");
    let mut back = Comer::new(&safes, wallet.now(), &[1, 2, 3], 5).come_back(8);
    settle(&mut back, &safes);
    assert_eq!(known(&back), known(&wallet));
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
fn what_the_turn_before_has_written_to_too_few_does_not_hold_up_the_next() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    // Four of five promise the next turn; the fifth is away, and the device that is overtaken writes there.
    safes.away.push(4);
    let mut second = Comer::new(&safes, START, &[0, 1, 2, 3], 2).come_back(2);
    second.run(&safes, 1000);
    assert_eq!(written(&second), 4);
    safes.away = vec![0, 1, 2, 3];
    one_more(&mut first, &safes, "Later");
    safes.away.clear();
    // It comes back once more for the fifth.
    Comer::new(&safes, START, &[0, 1, 2, 3, 4], 3).come_back_to(&mut second, 3);
    second.run(&safes, 1000);
    assert_eq!(written(&second), N);
}

#[test]
fn no_copy_goes_before_the_book_counts_whoever_asks() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let ids: Vec<_> = safes.all.iter().take(3).map(|safe| safe.id()).collect();
    let value = wallet.add("Key", b"kept");
    // The safes of the backup answer, and too few for the book.
    safes.away = vec![3, 4];
    wallet.back_up_as(&[value], Plan::spread(2, &ids).unwrap(), None, true).unwrap();
    wallet.run(&safes, 1000);
    let backup = wallet.backup_of(&value);
    // A window that has not heard of the enrolment offers it.
    wallet.handle(Event::Vacate(backup)).unwrap();
    assert!(wallet.content(&value).is_some());
    safes.away.clear();
    wallet.wait(3600);
    wallet.run(&safes, 1000);
    assert!(wallet.content(&value).is_none());
}

#[test]
fn what_is_said_of_a_turn_before_counts_for_nothing() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let before = wallet.state.owner.as_ref().unwrap().epoch;
    let mut other = Comer::new(&safes, START, &[0, 1, 2, 3, 4], 2).come_back(2);
    other.run(&safes, 1000);
    Comer::new(&safes, START, &[0, 1, 2, 3, 4], 3).come_back_to(&mut wallet, 3);
    let fresh = |wallet: &Wallet<'_>| {
        wallet.state.owner.as_ref().unwrap().seats.iter().all(|s| !s.promised && !s.turned && s.written == 0)
    };
    assert!(fresh(&wallet));
    for safe in &safes.all {
        wallet.handle(Event::OwnerPromised(safe.id(), before, None)).unwrap();
        wallet.handle(Event::OwnerWritten(safe.id(), before, 99)).unwrap();
        wallet.handle(Event::OwnerSuperseded(safe.id(), before)).unwrap();
    }
    assert!(fresh(&wallet) && !wallet.state.owner.as_ref().unwrap().superseded);
    wallet.run(&safes, 1000);
    assert_eq!(written(&wallet), N);
}

#[test]
fn two_turns_that_count_have_an_honest_safe_in_common() {
    for n in 2..=20 {
        let f = protocol::register::liars(n);
        for t in n / 2 + 1..=n {
            let w = wallet_wasm::changing::quorum(n, u8::try_from(t).unwrap());
            assert!(2 * w > n + f, "{t} of {n}: two turns of {w} safes");
            assert!(w + t > n + f || w == n, "{t} of {n}: {t} safes do not find what {w} have");
        }
    }
}

#[test]
fn one_safe_that_says_so_does_not_take_the_book_away() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let turn = wallet.state.owner.as_ref().unwrap().epoch;
    let said = |wallet: &mut Wallet<'static>, at: usize| {
        wallet.handle(Event::OwnerSuperseded(safes.all[at].id(), turn)).unwrap();
    };
    said(&mut wallet, 3);
    said(&mut wallet, 3);
    let later = one_more(&mut wallet, &safes, "Later");
    let owner = wallet.state.owner.as_ref().unwrap();
    assert_eq!((owner.superseded, owner.is_behind(), owner.written()), (false, false, 4));
    // A mark that nobody has written, either.
    let mark = Mark {
        epoch: Epoch { counter: 9, holder: DeviceId([9; 16]) },
        sequence: 99,
        before: [1; 32].into(),
        digest: [2; 32].into(),
    };
    wallet.handle(Event::OwnerPromised(safes.all[3].id(), turn, Some(mark))).unwrap();
    assert!(!wallet.state.owner.as_ref().unwrap().superseded);
    let back = Comer::new(&safes, wallet.now(), &[0, 1, 3], 2).come_back(2);
    assert!(back.state.values.contains_key(&later));
    // Two of five do: one of them is no liar.
    said(&mut wallet, 1);
    assert!(wallet.state.owner.as_ref().unwrap().superseded);
}

#[test]
fn no_safe_can_use_up_the_turns() {
    let (store, safes) = (leak(), Safes::new(N));
    let (wallet, _) = enrolled(store, &safes);
    let comer = Comer::new(&safes, START, &[0, 1, 2], 2);
    let known = comer.log_in();
    let told = |lie: Option<u32>, by: usize| -> Vec<Told> {
        let lied = |mut told: Told| {
            let counter = lie.filter(|_| safes.all[..by].iter().any(|safe| told.safe.id == safe.id()));
            told.account.promised.counter = counter.unwrap_or(told.account.promised.counter);
            told
        };
        comer.told(&known, &secret(3)).into_iter().map(lied).collect()
    };
    let epoch_by = |lie, by| {
        let (told, mine) = (told(lie, by), (secret(3), String::new()));
        let (back, _) = come_back("alice-7kq4m2".into(), &name(), &known, mine, told, &[], &mut rng(1)).unwrap();
        back.epoch.counter
    };
    let epoch = |lie| epoch_by(lie, 1);
    assert_eq!((epoch(None), epoch(Some(u32::MAX)), epoch(Some(0))), (2, 2, 2));
    // One that was promised and never written in is believed.
    assert_eq!(epoch(Some(7)), 8);
    // None that honest safes would refuse, unless more have promised it than may lie.
    assert_eq!((epoch(Some(1_024)), epoch(Some(1_025))), (1_025, 2));
    assert_eq!(epoch_by(Some(5_000), 2), 5_001);
    assert_eq!(wallet.state.owner.as_ref().unwrap().epoch.counter, 1);
}

#[test]
fn a_device_too_many_takes_the_place_of_the_oldest_one() {
    let (store, safes) = (leak(), Safes::new(N));
    let (wallet, value) = enrolled(store, &safes);
    for seed in 2..20 {
        let back = Comer::new(&safes, START, &[0, 1, 2], seed).come_back(seed);
        assert!(back.state.values.contains_key(&value), "device {seed}");
    }
    assert!(wallet.state.owner.as_ref().unwrap().writes());
}

/// What the plan gives to its owner only.
fn guarded(wallet: &Wallet<'_>) -> Plan<SafeId> {
    let ids: Vec<_> = wallet.state.owner.as_ref().unwrap().seats.iter().map(|seat| seat.safe).collect();
    Plan::guarded(3, &ids).unwrap()
}

#[test]
fn what_is_guarded_comes_back_to_its_owner_and_to_nobody_who_has_only_the_book() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let value = wallet.add("Guarded", b"for me only");
    let plan = guarded(&wallet);
    let backup = wallet.back_up_as(&[value], plan, None, true).unwrap();
    settle(&mut wallet, &safes);
    assert_eq!(state_of(&wallet, value), ("moved", None));
    assert_eq!(wallet.state.backups[&backup].deposits.len(), N);
    // Here.
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    settle(&mut wallet, &safes);
    assert_eq!(wallet.content(&value).as_deref(), Some(&b"for me only"[..]));
    // On a new device, with two safes gone.
    let mut back = Comer::new(&safes, wallet.now(), &[0, 2, 3], 2).come_back(2);
    back.wait(wallet.now() - back.now());
    back.handle(Event::Recover(backup, Vec::new())).unwrap();
    settle(&mut back, &safes);
    assert_eq!(back.content(&value).as_deref(), Some(&b"for me only"[..]));
    // Whoever has all certificates and keys, and is not the owner, gets nothing from five honest safes, and cannot destroy it.
    let mut thief = Wallet::create(leak(), 9);
    thief.wait(wallet.now() - thief.now());
    thief.handle(Event::Import(book_of(&wallet.state, &[value], wallet.now()).unwrap())).unwrap();
    thief.handle(Event::Recover(backup, Vec::new())).unwrap();
    settle(&mut thief, &safes);
    assert_eq!(thief.content(&value), None);
    // Nor does any certificate let it go.
    let deposits = thief.state.backups[&backup].deposits.clone();
    for (at, deposit) in deposits.iter().enumerate() {
        let mut door = Door { safe: &safes.all[at], now: thief.now(), drawn: &Cell::new(77 + at as u64) };
        let mut visit = Visit::new(&mut door);
        let release = DepositSecrets::derive(&deposit.d).release;
        let claim = visit.claim(&deposit.id, Verb::Release, &release);
        assert_refused(&visit.present(&deposit.id, &claim), Problem::NotOwner);
    }
    let stolen = &thief.state.backups[&backup];
    let why = thief.session.failures(&thief.state, stolen).join(";");
    assert!(why.contains("does not know you on this device"), "{why}");
    // It can be let go by the device that has the turn, which this one has to take back.
    wallet.handle(Event::Release(backup)).unwrap();
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().superseded && wallet.state.backups.contains_key(&backup));
    Comer::new(&safes, wallet.now(), &[0, 1, 2, 3, 4], 3).come_back_to(&mut wallet, 3);
    settle(&mut wallet, &safes);
    assert!(!wallet.state.backups.contains_key(&backup));
    assert!(safes.all.iter().all(|safe| stolen.deposits.iter().all(|deposit| !safe.holds(&deposit.id))));
}

#[test]
fn what_is_guarded_and_lives_once_is_never_live_twice() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let ticket = wallet.add_unique("Ticket", b"row 7");
    let plan = guarded(&wallet);
    let backup = wallet.back_up_as(&[ticket], plan, None, true).unwrap();
    settle(&mut wallet, &safes);
    assert_eq!(state_of(&wallet, ticket), ("moved", None));
    let mut second = Comer::new(&safes, wallet.now(), &[0, 1, 2, 3, 4], 2).come_back(2);
    second.wait(wallet.now() - second.now());
    for device in [&mut second, &mut wallet] {
        device.handle(Event::Recover(backup, Vec::new())).unwrap();
        settle(device, &safes);
    }
    assert_eq!(second.content(&ticket).as_deref(), Some(&b"row 7"[..]));
    assert_eq!(wallet.content(&ticket), None);
    // A plan by which pieces without a register would be enough is none for it.
    let other = second.add_unique("Voucher", b"10");
    let ids: Vec<_> = safes.all.iter().map(MemorySafe::id).collect();
    let places = |owner| ids.iter().map(|safe| Plan::place(Place::Safe { safe: *safe, owner })).collect();
    let either = Plan::copies(vec![Plan::split(3, places(false)).unwrap(), Plan::split(3, places(true)).unwrap()]);
    assert_eq!(second.back_up(&[other], either.unwrap(), None), Err(WalletError::Unasked));
}

#[test]
fn what_lives_once_is_in_the_book_before_its_copy_goes() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    let ticket = first.add_unique("Ticket", b"row 7");
    let ids: Vec<_> = first.state.safes.keys().copied().collect();
    let backup = first.back_up_as(&[ticket], Plan::spread(3, &ids).unwrap(), None, true).unwrap();
    let is_due = |wallet: &Wallet<'_>| {
        let actions = wallet.session.actions(&wallet.state, wallet.now());
        actions.into_iter().find(|action| *action == Action::Vacate(backup))
    };
    while is_due(&first).is_none() {
        let action = first.session.actions(&first.state, first.now()).into_iter().next().unwrap();
        first.act(&action, &safes, Fault::None).unwrap();
    }
    assert_eq!(first.content(&ticket).as_deref(), Some(&b"row 7"[..]));
    // In this moment the device is lost: another one knows of it, and takes nothing by itself, for it may be there still.
    let mut second = Comer::new(&safes, first.now(), &[0, 2, 4], 2).come_back(2);
    assert_eq!(second.handle(Event::Recover(backup, Vec::new())), Err(WalletError::Taken));
    settle(&mut second, &safes);
    // A third one knows it from the second one's book.
    let third = Comer::new(&safes, second.now(), &[1, 2, 3], 3).come_back(3);
    assert!(third.state.backups[&backup].is_taken());
    // It was not lost: once it has let it go, whoever asks has it.
    Comer::new(&safes, second.now(), &[0, 1, 2, 3, 4], 4).come_back_to(&mut first, 4);
    settle(&mut first, &safes);
    assert_eq!(state_of(&first, ticket), ("moved", None));
    Comer::new(&safes, first.now(), &[0, 1, 2, 3, 4], 5).come_back_to(&mut second, 5);
    second.handle(Event::Recover(backup, Vec::new())).unwrap();
    settle(&mut second, &safes);
    assert_eq!(second.content(&ticket).as_deref(), Some(&b"row 7"[..]));
}

#[test]
fn what_lives_once_and_was_on_a_device_that_is_lost_is_taken_over() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    let ids: Vec<_> = first.state.safes.keys().copied().collect();
    let mut tickets = Vec::new();
    // So many that most of them stand in chapters.
    for n in 0..20 {
        let ticket = first.add_unique(&format!("Ticket {n}"), format!("row {n}").as_bytes());
        let backup = first.back_up_as(&[ticket], Plan::spread(3, &ids).unwrap(), None, true).unwrap();
        tickets.push((ticket, backup));
    }
    for _ in 0..5_000 {
        let actions = first.session.actions(&first.state, first.now());
        let Some(action) = actions.into_iter().find(|action| !matches!(action, Action::Vacate(_))) else { break };
        first.act(&action, &safes, Fault::None).unwrap();
    }
    let owner = first.state.owner.as_ref().unwrap();
    assert!(!owner.is_behind() && first.state.backups.values().any(|backup| backup.chapter.is_some()));
    let mut second = Comer::new(&safes, first.now(), &[0, 2, 4], 2).come_back(2);
    settle(&mut second, &safes);
    for (ticket, backup) in &tickets {
        assert_eq!(second.handle(Event::Recover(*backup, Vec::new())), Err(WalletError::Taken), "{ticket}");
    }
    let (ticket, backup) = tickets[0];
    second.handle(Event::TakeOver(backup)).unwrap();
    settle(&mut second, &safes);
    assert_eq!(second.content(&ticket).as_deref(), Some(&b"row 0"[..]));
}

#[test]
fn a_device_without_the_turn_lets_nothing_go_that_is_bound() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    let value = first.add("Guarded", b"for me only");
    let plan = guarded(&first);
    let backup = first.back_up_as(&[value], plan, None, false).unwrap();
    settle(&mut first, &safes);
    let mut second = Comer::new(&safes, first.now(), &[0, 1, 2, 3, 4], 2).come_back(2);
    second.wait(first.now() - second.now());
    settle(&mut second, &safes);
    assert_eq!(written(&second), N);
    // It has not heard of it yet, and tries.
    first.handle(Event::Release(backup)).unwrap();
    settle(&mut first, &safes);
    assert!(first.state.owner.as_ref().unwrap().superseded);
    let held = first.state.backups[&backup].deposits.iter().filter(|deposit| deposit.is_bound());
    let kept = held.filter(|deposit| safes.all.iter().any(|safe| safe.holds(&deposit.id))).count();
    assert_eq!(kept, N, "nothing that is bound was let go");
}

#[test]
fn a_safe_that_does_not_know_its_owner_takes_nothing_for_him() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(&safes);
    wallet.handle(Event::Enrol(Box::new(enrolment(&ids[..N], 3)))).unwrap();
    wallet.run(&safes, 20);
    let refused = |wallet: &mut Wallet<'static>, ids: &[SafeId]| {
        let value = wallet.add("Guarded", b"content");
        wallet.back_up(&[value], Plan::guarded(3, ids).unwrap(), None).unwrap_err()
    };
    assert!(matches!(refused(&mut wallet, &ids[..5]), WalletError::NotEnrolled(_)), "the enrolment is not in force");
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().writes());
    assert_eq!(refused(&mut wallet, &ids[1..]), WalletError::NotEnrolled("Safe 5".into()));
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
fn an_enrolment_comes_to_its_end_although_a_safe_is_set_back_meanwhile() {
    let is_made = |wallet: &Wallet<'_>| wallet.state.owner.as_ref().is_some_and(|owner| owner.making.is_none());
    let steps = {
        let safes = Safes::new(N);
        let (mut wallet, _) = begun(leak(), &safes);
        let mut steps = 0_usize;
        while !is_made(&wallet) {
            let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
            wallet.act(&action, &safes, Fault::None).unwrap();
            steps += 1;
        }
        steps
    };
    for (from, to) in (0..steps).step_by(2).flat_map(|to| [(0, to), (to / 2, to), (to.saturating_sub(4), to)]) {
        let safes = Safes::new(N);
        let (mut wallet, _) = begun(leak(), &safes);
        let mut before = safes.all[0].snapshot();
        for step in 0..to {
            if step == from {
                before = safes.all[0].snapshot();
            }
            let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
            wallet.act(&action, &safes, Fault::None).unwrap();
        }
        // What had come so far as to be in force there is lost like what is lost later.
        let lost = wallet.state.owner.as_ref().unwrap().seats[0].reached == Reached::Committed;
        safes.all[0].restore(before);
        settle(&mut wallet, &safes);
        assert!(is_made(&wallet), "set back from {to} to {from}: {:?}", wallet.session.owner_refusals);
        let others: &[usize] = if lost { &[1, 2, 3] } else { &[0, 1, 2] };
        let back = Comer::new(&safes, wallet.now(), others, 5).come_back(5);
        assert_eq!(known(&back), known(&wallet), "set back from {to} to {from}");
    }
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

#[test]
fn a_device_that_only_reads_has_everything_and_leaves_nothing_behind() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    for n in 0..12 {
        one_more(&mut first, &safes, &format!("Value {n}"));
    }
    let bound = first.add("Guarded", b"for me only");
    let plan = guarded(&first);
    let guarded = first.back_up_as(&[bound], plan, None, false).unwrap();
    let only = first.add_unique("Concert", b"row 7, seat 12");
    let ids: Vec<_> = first.state.safes.keys().copied().collect();
    let ticket = first.back_up_as(&[only], Plan::spread(3, &ids).unwrap(), None, true).unwrap();
    settle(&mut first, &safes);
    let everywhere = Comer::new(&safes, first.now(), &[0, 1, 2, 3, 4], 2);
    let before = everywhere.listed();

    // Two safes are away.
    let mut reader = Comer::new(&safes, first.now(), &[0, 2, 4], 3).visit(3);
    reader.wait(first.now() - reader.now());
    settle(&mut reader, &safes);
    assert_eq!(known(&reader), known(&first));
    reader.handle(Event::Recover(guarded, Vec::new())).unwrap();
    settle(&mut reader, &safes);
    assert_eq!(reader.content(&bound).as_deref(), Some(&b"for me only"[..]));
    // What may live once stays where it is until it is asked for.
    assert_eq!(reader.state.backups[&ticket].operation, None);
    assert_eq!(reader.content(&only), None);
    // It lets nothing go.
    reader.handle(Event::Release(guarded)).unwrap();
    settle(&mut reader, &safes);
    assert!(safes.all.iter().any(|safe| reader.state.backups[&guarded].deposits.iter().any(|d| safe.holds(&d.id))));

    // Nobody knows it, and the book is still written where it was.
    assert_eq!(everywhere.listed(), before);
    one_more(&mut first, &safes, "Later");
    assert!(!first.state.owner.as_ref().unwrap().superseded);
    assert_eq!(written(&first), N);
    let owner = reader.state.owner.as_ref().unwrap();
    assert!(owner.superseded && owner.seats.iter().all(|seat| seat.number.is_none() && seat.written == 0));
}
