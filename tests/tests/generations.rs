//! New generations: a backup is made anew, under fresh keys and perhaps at other safes, and the one before goes when the new one is proven.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    ids::{BackupId, SafeId, ValueId},
    plan::Plan,
};
use tests::{
    plug::{K, N, TICKET, assert_somewhere, begin, holding, leak, moved, protected, state_of, with_plug_pulled},
    world::{Safes, Wallet},
};
use wallet_wasm::{
    machine::{Event, WalletError},
    state::{Activity, Next, Operation, Stage},
};

/// The id of every next generation here.
const NEXT: BackupId = BackupId([0xcc; 16]);

fn renew(wallet: &mut Wallet<'_>, backup: BackupId, plan: Plan<SafeId>) -> Result<(), WalletError> {
    wallet.handle(Event::Renew(backup, Next { backup: NEXT, plan, words: None }))
}

fn begin_renewal(wallet: &mut Wallet<'_>, backup: BackupId) {
    let plan = wallet.state.backups[&backup].plan.clone();
    renew(wallet, backup, plan).unwrap();
}

/// The values are the next generation's, and nothing is left of the one before.
fn assert_renewed(wallet: &Wallet<'_>, safes: &Safes, value: ValueId, when: &str) {
    assert_eq!(wallet.backup_of(&value), NEXT, "{when}");
    assert_eq!(wallet.state.backups.len(), 1, "{when}");
    let backup = &wallet.state.backups[&NEXT];
    assert!(backup.all_at(Stage::Held) && backup.drilled.is_some() && backup.replaces.is_none(), "{when}");
    assert_eq!(holding(safes, backup), N, "{when}");
    let bodies: usize = safes.all.iter().map(|safe| safe.counts().1).sum();
    assert_eq!(bodies, N, "{when}: the old bodies are gone");
}

#[test]
fn a_renewal_survives_a_crash_and_a_fault_at_every_step() {
    let start = |store, safes: &Safes| {
        let (mut wallet, value, backup) = protected(store, safes);
        begin_renewal(&mut wallet, backup);
        (wallet, value, backup)
    };
    with_plug_pulled(start, |wallet, safes, value, when| {
        assert_renewed(&wallet, safes, value, when);
        assert_eq!((wallet.content(&value).as_deref(), state_of(&wallet, value)), (Some(TICKET), ("protected", None)));
    });
}

#[test]
fn what_is_not_here_is_renewed_and_does_not_stay() {
    let start = |store, safes: &Safes| {
        let (mut wallet, value, backup) = moved(store, safes);
        begin_renewal(&mut wallet, backup);
        (wallet, value, backup)
    };
    with_plug_pulled(start, |mut wallet, safes, value, when| {
        assert_renewed(&wallet, safes, value, when);
        assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)), "{when}");
        wallet.handle(Event::Recover(NEXT, Vec::new())).unwrap();
        wallet.run(safes, 1000);
        assert_eq!(wallet.content(&value).as_deref(), Some(TICKET), "{when}");
    });
}

/// As long as the value is the old generation's, every safe keeps the old piece.
#[test]
fn nothing_is_let_go_before_the_next_generation_was_rebuilt() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = protected(store, &safes);
    begin_renewal(&mut wallet, backup);
    assert_eq!(state_of(&wallet, value), ("protected", Some("renew")));
    let (mut before, mut after) = (0, 0);
    while wallet.run(&safes, 1) > 0 {
        if wallet.backup_of(&value) == backup {
            assert_eq!(holding(&safes, &wallet.state.backups[&backup]), N);
            before += 1;
        } else {
            assert!(wallet.state.backups[&NEXT].drilled.is_some());
            after += 1;
        }
    }
    assert!(before > N && after >= N, "{before} steps before, {after} after");
}

/// A value that is not here is fetched first: by then its owner may have taken a safe of the next plan out.
#[test]
fn what_cannot_be_protected_anew_any_more_is_here_and_as_it_was() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Ticket", TICKET);
    let backup = wallet.back_up_as(&[value], Plan::spread(K, &ids[..N]).unwrap(), None, true).unwrap();
    wallet.run(&safes, 1000);
    let plan = Plan::spread(K, &ids[1..]).unwrap();
    renew(&mut wallet, backup, plan.clone()).unwrap();
    wallet.handle(Event::RemoveSafe(ids[N])).unwrap();
    assert!(wallet.run(&safes, 1000) < 1000, "it comes to an end");
    assert_eq!((wallet.content(&value).as_deref(), wallet.backup_of(&value)), (Some(TICKET), backup));
    assert_eq!(state_of(&wallet, value), ("protected", None));
    let told = |line: &Activity| line.text.contains("was not protected anew: there is no such safe");
    assert!(wallet.state.activity.iter().any(told));
    // Nor is that begun where it is plain from the beginning.
    wallet.handle(Event::Move(backup)).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(renew(&mut wallet, backup, plan), Err(WalletError::Unknown("safe")));
}

#[test]
fn a_safe_that_is_gone_is_replaced_by_another() {
    let (store, mut safes) = (leak(), Safes::new(N + 1));
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Ticket", TICKET);
    let backup = wallet.back_up_as(&[value], Plan::spread(K, &ids[..N]).unwrap(), None, true).unwrap();
    wallet.run(&safes, 1000);
    safes.away = vec![0];
    renew(&mut wallet, backup, Plan::spread(K, &ids[1..]).unwrap()).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!((wallet.backup_of(&value), state_of(&wallet, value)), (NEXT, ("moved", None)));
    let old = &wallet.state.backups[&backup];
    assert_eq!(old.operation, Some(Operation::Release), "it is still to be let go at the safe that is away");
    // The safe stays away for good: its owner takes it out, and that ends it.
    assert_eq!(wallet.handle(Event::RemoveSafe(ids[1])), Err(WalletError::SafeInUse(1)));
    wallet.handle(Event::RemoveSafe(ids[0])).unwrap();
    assert!(wallet.state.backups.len() == 1 && !wallet.state.safes.contains_key(&ids[0]));
    wallet.handle(Event::Recover(NEXT, Vec::new())).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
}

#[test]
fn a_generation_that_does_not_come_back_takes_nobodys_place() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = protected(store, &safes);
    let old: Vec<_> = safes.all.iter().flat_map(|safe| safe.body_keys()).collect();
    begin_renewal(&mut wallet, backup);
    // What arrives from now on is altered by most of the safes.
    while wallet.state.backups[&NEXT].operation == Some(Operation::Register) {
        assert!(wallet.run(&safes, 1) > 0);
    }
    safes.all[..K]
        .iter()
        .for_each(|safe| safe.corrupt_where(|key| !old.contains(&key.to_owned()), |body| body[9] ^= 1));
    wallet.run(&safes, 1000);
    assert_eq!((wallet.backup_of(&value), holding(&safes, &wallet.state.backups[&backup])), (backup, N));
    assert_eq!(state_of(&wallet, value), ("protected", Some("renew")), "it waits");
    wallet.handle(Event::Cancel(NEXT)).unwrap();
    wallet.run(&safes, 1000);
    assert!(wallet.state.backups.len() == 1 && wallet.backup_of(&value) == backup);
    assert_eq!(state_of(&wallet, value), ("protected", None));
    // And it can be tried again.
    begin_renewal(&mut wallet, backup);
    wallet.run(&safes, 1000);
    assert_renewed(&wallet, &safes, value, "at the second try");
}

#[test]
fn a_renewal_that_is_given_up_leaves_the_backup_as_it_was() {
    for steps in 0..12 {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut wallet, value, backup) = moved(store, &safes);
        begin_renewal(&mut wallet, backup);
        wallet.run(&safes, steps);
        let at_work = wallet.state.at_work(&value).unwrap().id;
        wallet.handle(Event::Cancel(at_work)).unwrap();
        wallet.run(&safes, 1000);
        // A move that is taken back goes on as a backup: then the next generation has the value, and it is here.
        if wallet.backup_of(&value) == NEXT {
            assert_renewed(&wallet, &safes, value, "given up late");
            assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
            continue;
        }
        assert_eq!(wallet.state.backups.keys().collect::<Vec<_>>(), [&backup], "after {steps} steps");
        assert_eq!(holding(&safes, &wallet.state.backups[&backup]), N, "after {steps} steps");
        assert_somewhere(&wallet, &safes, value, "given up");
    }
}

#[test]
fn who_recovers_while_a_generation_is_changing_gets_the_value() {
    let mut late = 0;
    for steps in 0..20 {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut wallet, value, backup) = protected(store, &safes);
        begin_renewal(&mut wallet, backup);
        wallet.run(&safes, steps);
        let current = wallet.backup_of(&value);
        late += usize::from(current == NEXT);
        wallet.handle(Event::Recover(current, vec![value])).unwrap();
        wallet.run(&safes, 1000);
        assert_renewed(&wallet, &safes, value, "recovered meanwhile");
        assert_eq!(wallet.content(&value).as_deref(), Some(TICKET), "after {steps} steps");
    }
    assert!((1..20).contains(&late), "{late}");
}

/// What was moved would leave again with its next generation; asked for meanwhile, it stays.
#[test]
fn who_recovers_what_was_moved_while_it_is_renewed_keeps_it() {
    let mut asked = 0;
    for steps in 0..30 {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut wallet, value, backup) = moved(store, &safes);
        begin_renewal(&mut wallet, backup);
        wallet.run(&safes, steps);
        if wallet.backup_of(&value) != backup || wallet.handle(Event::Recover(backup, vec![value])).is_err() {
            continue;
        }
        asked += 1;
        wallet.run(&safes, 1000);
        assert_renewed(&wallet, &safes, value, "recovered meanwhile");
        assert_eq!(wallet.content(&value).as_deref(), Some(TICKET), "asked for after {steps} steps");
    }
    assert!(asked > N, "{asked}");
}

#[test]
fn what_is_not_finished_or_under_way_is_not_renewed() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _, backup) = begin(store, &safes, false);
    let plan = wallet.state.backups[&backup].plan.clone();
    assert_eq!(renew(&mut wallet, backup, plan.clone()), Err(WalletError::NoBackup));
    wallet.run(&safes, 1000);
    begin_renewal(&mut wallet, backup);
    assert_eq!(renew(&mut wallet, backup, plan.clone()), Err(WalletError::Busy));
    assert_eq!(renew(&mut wallet, NEXT, plan), Err(WalletError::NoBackup));
    // Nor are two things done with one value.
    for event in [Event::Move, Event::BringBack, Event::Release] {
        assert_eq!(wallet.handle(event(backup)), Err(WalletError::Busy));
    }
}
