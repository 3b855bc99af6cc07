//! A safe retires: everything that has a piece there gets its next generation elsewhere, and what the safe had signed and did not show is kept.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    certificate,
    crypto::Secret,
    ids::{BackupId, SafeId, ValueId},
    plan::{Place, Plan},
};
use tests::{
    plug::{K, N, TICKET, holding, leak, state_of, with_plug_pulled},
    world::{Safes, Wallet},
};
use wallet_wasm::{
    machine::{Event, WalletError},
    rules::Rule,
    state::{Next, Stage},
    store::MemoryStore,
    view::{RetirementView, draw},
};

/// One safe more than plans use.
const ALL: usize = N + 1;

fn start(safes: &Safes) -> (Wallet<'static>, Vec<SafeId>) {
    let mut wallet = Wallet::create(leak(), 1);
    let ids = wallet.trust(safes);
    (wallet, ids)
}

fn retirement(wallet: &Wallet<'_>, safe: &SafeId) -> Option<RetirementView> {
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    view.safes.into_iter().find(|shown| shown.id == safe.to_string()).unwrap().retiring
}

/// How many backups of the wallet have pieces at a safe.
fn at(wallet: &Wallet<'_>, safe: &SafeId) -> usize {
    wallet.state.backups.values().filter(|b| b.deposits.iter().any(|d| d.safe == *safe)).count()
}

#[test]
fn what_a_safe_keeps_goes_to_another_one() {
    let safes = Safes::new(ALL);
    let (mut wallet, ids) = start(&safes);
    let plan = Plan::spread(K, &ids[..N]).unwrap();
    let (here, away) = (wallet.add("Here", TICKET), wallet.add("Away", b"moved"));
    let (mine, open) = (wallet.add_unique("Mine", b"only one"), wallet.add_unique("Open", b"only one, too"));
    let elsewhere = wallet.add("Elsewhere", b"at others");
    wallet.back_up_as(&[here], plan.clone(), None, false).unwrap();
    wallet.back_up_as(&[away], plan.clone(), None, true).unwrap();
    wallet.back_up_as(&[mine], plan.clone(), None, false).unwrap();
    wallet.back_up_as(&[open], plan.clone(), None, true).unwrap();
    wallet.back_up_as(&[elsewhere], Plan::spread(2, &ids[1..4]).unwrap(), None, false).unwrap();
    let rule = Rule { name: "All".into(), when: Vec::new(), plan, moves: false, on: false };
    wallet.handle(Event::SetRules(vec![rule])).unwrap();
    wallet.run(&safes, 10_000);
    let untouched = wallet.backup_of(&elsewhere);
    assert_eq!(at(&wallet, &ids[0]), 4);

    wallet.handle(Event::Retire(ids[0], ids[N])).unwrap();
    let view = retirement(&wallet, &ids[0]).unwrap();
    assert_eq!((view.open, view.left.len(), view.to), (4, 0, wallet.state.nickname(&ids[N])));
    wallet.run(&safes, 10_000);
    assert_eq!((at(&wallet, &ids[0]), at(&wallet, &ids[N])), (0, 4));
    assert_eq!(safes.all[0].counts().1, 0);
    assert_eq!(wallet.backup_of(&elsewhere), untouched);
    let states = [here, away, mine, open].map(|id| (state_of(&wallet, id).0, wallet.content(&id).is_some()));
    assert_eq!(states, [("protected", true), ("moved", false), ("protected", true), ("moved", false)]);
    assert!(wallet.state.backups[&wallet.backup_of(&mine)].is_ours());
    assert!(!wallet.state.rules[0].plan.safes().contains(&&ids[0]), "rules use the other one");
    assert_eq!(retirement(&wallet, &ids[0]).unwrap().open, 0);
    // Nothing holds it any more, and what has gone comes back.
    wallet.handle(Event::RemoveSafe(ids[0])).unwrap();
    assert!(wallet.state.retiring.is_empty());
    for id in [away, open] {
        wallet.handle(Event::Recover(wallet.backup_of(&id), Vec::new())).unwrap();
        wallet.run(&safes, 10_000);
        assert!(wallet.content(&id).is_some());
    }
}

/// A safe that is gone for good, too, is left without waiting for it.
#[test]
fn a_safe_that_is_gone_retires() {
    let mut safes = Safes::new(ALL);
    let (mut wallet, ids) = start(&safes);
    let values: Vec<ValueId> = (0..7u8).map(|i| wallet.add(&format!("Value {i}"), &[i; 30])).collect();
    for (at, value) in values.iter().enumerate() {
        wallet.back_up_as(&[*value], Plan::spread(K, &ids[..N]).unwrap(), None, at % 2 == 0).unwrap();
    }
    wallet.run(&safes, 10_000);
    safes.away = vec![0];
    wallet.handle(Event::Retire(ids[0], ids[N])).unwrap();
    for _ in 0..20 {
        wallet.run(&safes, 10_000);
        wallet.wait(61);
    }
    for (at, value) in values.iter().enumerate() {
        assert_eq!(state_of(&wallet, *value), (if at % 2 == 0 { "moved" } else { "protected" }, None));
    }
    assert_eq!(at(&wallet, &ids[N]), 7);
    wallet.handle(Event::RemoveSafe(ids[0])).unwrap();
    assert_eq!(wallet.state.backups.len(), 7, "nothing is still to be let go");
}

#[test]
fn what_needs_its_owner_is_left_to_him() {
    let safes = Safes::new(ALL);
    let (mut wallet, ids) = start(&safes);
    let sealed = |place| Plan::seal(Plan::spread(2, &ids[..3]).unwrap(), vec![Plan::place(place)]).unwrap();
    let values: Vec<ValueId> = (0..4u8).map(|i| wallet.add(&format!("Value {i}"), &[i; 30])).collect();
    let words = Secret::from_bytes([3; 32]);
    let with_words = wallet.back_up(&values[..1], sealed(Place::Memory), Some(&words)).unwrap();
    let with_file = wallet.back_up(&values[1..2], sealed(Place::File), None).unwrap();
    wallet.back_up(&values[2..3], Plan::spread(2, &[ids[0], ids[N], ids[1]]).unwrap(), None).unwrap();
    wallet.register(values[3], &ids[..3], 2);
    wallet.run(&safes, 10_000);
    let file = wallet.file_of(&with_file);
    wallet.show_file(&with_file, &file).unwrap();
    wallet.handle(Event::Retire(ids[0], ids[N])).unwrap();
    wallet.run(&safes, 10_000);
    let view = retirement(&wallet, &ids[0]).unwrap();
    let mut left = view.left.clone();
    left.sort();
    let mut expected: Vec<String> = values[..3].iter().map(ToString::to_string).collect();
    expected.sort();
    assert_eq!((view.open, left), (0, expected));
    assert!(matches!(wallet.handle(Event::RemoveSafe(ids[0])), Err(WalletError::SafeInUse(_))));
    // By hand it goes.
    let plan = wallet_wasm::retiring::replaced(&sealed(Place::Memory), &ids[0], &ids[N]).unwrap();
    let next = Next { backup: BackupId([7; 16]), plan, words: Some(Secret::from_bytes([4; 32])) };
    wallet.handle(Event::Renew(with_words, next)).unwrap();
    wallet.run(&safes, 1000);
    // The trial needs the words, which the owner gives.
    let words = Secret::from_bytes([4; 32]);
    wallet.session.recoveries.entry(BackupId([7; 16])).or_default().words = Some(words);
    wallet.run(&safes, 1000);
    assert_eq!(retirement(&wallet, &ids[0]).unwrap().left.len(), 2);
}

#[test]
fn an_owner_who_thinks_better_of_it_is_not_asked_again() {
    let safes = Safes::new(ALL);
    let (mut wallet, ids) = start(&safes);
    let value = wallet.add("Value", TICKET);
    let backup = wallet.register(value, &ids[..N], K);
    wallet.run(&safes, 1000);
    wallet.handle(Event::Retire(ids[0], ids[N])).unwrap();
    wallet.run(&safes, 4);
    let next = wallet.state.successor(&backup).unwrap().id;
    wallet.handle(Event::Cancel(next)).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!((wallet.backup_of(&value), state_of(&wallet, value)), (backup, ("protected", None)));
    assert_eq!(retirement(&wallet, &ids[0]).unwrap().left, [value.to_string()]);
    // Wanted again it goes on; and a safe that is kept keeps what it has.
    wallet.handle(Event::Retire(ids[0], ids[N])).unwrap();
    assert_eq!(retirement(&wallet, &ids[0]).unwrap().open, 1);
    wallet.handle(Event::KeepSafe(ids[0])).unwrap();
    assert_eq!((wallet.run(&safes, 1000), wallet.backup_of(&value)), (0, backup));
    // No safe takes its own place, nor that of one that waits for it to go.
    assert!(wallet.handle(Event::Retire(ids[0], ids[0])).is_err());
    assert!(wallet.handle(Event::Retire(ids[0], SafeId([1; 32]))).is_err());
    wallet.handle(Event::Retire(ids[0], ids[N])).unwrap();
    assert!(wallet.handle(Event::Retire(ids[N], ids[0])).is_err());
}

/// With a fault at every step and the plug pulled after it.
#[test]
fn a_retirement_comes_to_its_end_whatever_happens() {
    let start = |store: &'static MemoryStore, safes: &Safes| {
        let mut wallet = Wallet::create(store, 1);
        let ids = wallet.trust(safes);
        let value = wallet.add("Ticket", TICKET);
        let backup = wallet.register(value, &ids[..N - 1], K);
        wallet.run(safes, 1000);
        wallet.handle(Event::Retire(ids[0], ids[N - 1])).unwrap();
        (wallet, value, backup)
    };
    with_plug_pulled(start, |wallet, safes, value, when| {
        let backup = &wallet.state.backups[&wallet.backup_of(&value)];
        assert_eq!(state_of(&wallet, value), ("protected", None), "{when}");
        assert_eq!((holding(safes, backup), safes.all[0].counts().1), (N - 1, 0), "{when}");
    });
}

/// The certificate of a piece that was not shown says still what its safe had signed for, when the backup is gone.
#[test]
fn the_certificate_of_a_bad_piece_is_kept() {
    let safes = Safes::new(ALL);
    let (mut wallet, ids) = start(&safes);
    let value = wallet.add("Value", TICKET);
    let backup = wallet.register(value, &ids[..N], K);
    wallet.run(&safes, 1000);
    safes.all[0].lose_bodies();
    wallet.wait(8 * 86_400);
    wallet.run(&safes, 1000);
    let bad = wallet.state.backups[&backup].deposits.iter().find(|d| d.safe == ids[0]).unwrap().clone();
    assert!(bad.fault.is_some());
    assert_eq!(state_of(&wallet, value).0, "at-risk");
    wallet.handle(Event::Retire(ids[0], ids[N])).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(state_of(&wallet, value), ("protected", None));
    assert!(wallet.state.backups[&wallet.backup_of(&value)].all_at(Stage::Held));
    let kept = Wallet::open(wallet.store(), 3).state.exhibits;
    assert_eq!((kept.len(), kept[0].deposit, kept[0].title.as_str()), (1, bad.id, "Value"));
    let identity = wallet.state.identity(&ids[0]).unwrap().unwrap();
    let held = certificate::verify(&kept[0].certificate, &identity, None).unwrap();
    assert_eq!(held.registration().deposit, bad.id);
    let shown = draw(&wallet.state, &wallet.session, wallet.now(), true).exhibits;
    assert_eq!((shown[0].nickname.as_str(), shown[0].deposit_id.clone()), ("Safe 0", bad.id.to_string()));
    wallet.handle(Event::DropExhibit(bad.id)).unwrap();
    assert!(wallet.state.exhibits.is_empty());
}
