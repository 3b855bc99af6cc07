//! Moves: what is on this device goes to the safes, and comes back, and at no moment is it in neither place.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use futures::executor::block_on;
use protocol::{
    crypto::Secret,
    ids::{Root, ValueId},
    plan::{Place, Plan},
};
use tests::{
    plug::{K, N, TICKET, assert_somewhere, begin, holding, leak, moved, protected, state_of, with_plug_pulled},
    world::{Fault, Safes, Wallet},
};
use wallet_wasm::{
    machine::{Event, WalletError},
    session::{Action, Errand},
    state::{Operation, Stage},
    store::Store,
};

#[test]
fn a_move_survives_a_crash_and_a_fault_at_every_step() {
    with_plug_pulled(
        |store, safes| begin(store, safes, true),
        |mut wallet, safes, value, when| {
            assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)), "{when}");
            let backup = wallet.backup_of(&value);
            assert_eq!(holding(safes, &wallet.state.backups[&backup]), N, "{when}");
            wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
            wallet.run(safes, 1000);
            assert_eq!(wallet.content(&value).as_deref(), Some(TICKET), "{when}");
        },
    );
}

#[test]
fn what_was_protected_is_moved_after_a_drill_whatever_crashes() {
    let start = |store, safes: &Safes| {
        let (mut wallet, value, backup) = protected(store, safes);
        wallet.handle(Event::Move(backup)).unwrap();
        (wallet, value, backup)
    };
    with_plug_pulled(start, |wallet, safes, value, when| {
        assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)), "{when}");
        let backup = &wallet.state.backups[&wallet.backup_of(&value)];
        assert!(backup.drilled.is_some() && holding(safes, backup) == N, "{when}");
    });
}

#[test]
fn what_is_brought_back_is_here_before_any_safe_lets_go_and_then_nowhere_else() {
    let start = |store, safes: &Safes| {
        let (mut wallet, value, backup) = moved(store, safes);
        wallet.handle(Event::BringBack(backup)).unwrap();
        (wallet, value, backup)
    };
    with_plug_pulled(start, |wallet, safes, value, when| {
        assert_eq!(wallet.content(&value).as_deref(), Some(TICKET), "{when}");
        assert_eq!(state_of(&wallet, value), ("local-only", None), "{when}");
        assert!(wallet.state.backups.is_empty(), "{when}: the certificates are gone, too");
        assert!(safes.all.iter().all(|safe| safe.counts().1 == 0), "{when}: no safe keeps a body");
    });
}

/// The blob of a value's content, as the store names it.
fn blob_of(wallet: &Wallet<'_>, value: ValueId) -> String {
    wallet.state.values[&value].content.clone().unwrap().blob
}

#[test]
fn nothing_of_the_content_stays_in_the_store() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, _) = begin(store, &safes, true);
    let blob = blob_of(&wallet, value);
    wallet.run(&safes, 1000);
    assert!(block_on(store.blob(&blob)).unwrap().is_none());
    assert_eq!(wallet.state.blobs(), [""; 0]);
}

/// An offer is no certificate, and four certificates are not five.
#[test]
fn as_long_as_one_safe_has_not_signed_the_value_stays() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = begin(store, &safes, true);
    let confirm = |action: &Action| matches!(action, Action::Send(_, _, Errand::Confirm));
    // All offers first; then nobody answers the last confirmation.
    let mut confirmed = 0;
    loop {
        let actions = wallet.session.actions(&wallet.state, tests::world::START);
        let Some(action) = actions.iter().find(|action| !confirm(action)).or(actions.first()) else { break };
        if confirm(action) {
            confirmed += 1;
            safes.away = if confirmed == N { vec![0, 1, 2, 3, 4] } else { Vec::new() };
        }
        wallet.act(action, &safes, Fault::None).unwrap();
        assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
    }
    let held = wallet.state.backups[&backup].deposits.iter().filter(|d| d.stage == Stage::Held).count();
    assert_eq!((held, wallet.content(&value).as_deref()), (N - 1, Some(TICKET)));
    assert_eq!(state_of(&wallet, value), ("protecting", Some("move")));
    safes.away.clear();
    wallet.session.retry();
    wallet.run(&safes, 1000);
    assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)));
}

#[test]
fn what_the_safes_cannot_show_is_not_moved() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = protected(store, &safes);
    safes.all[..N - K + 1].iter().for_each(|safe| safe.corrupt(|body| body[100] ^= 1));
    wallet.handle(Event::Move(backup)).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
    assert_eq!(wallet.state.backups[&backup].operation, Some(Operation::Drill), "it waits, and says for what");
    wallet.handle(Event::Cancel(backup)).unwrap();
    assert_eq!((state_of(&wallet, value).1, wallet.content(&value).as_deref()), (None, Some(TICKET)));
}

#[test]
fn a_piece_that_an_audit_found_bad_keeps_the_value_here() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = protected(store, &safes);
    safes.all[4].corrupt(|body| body.iter_mut().for_each(|byte| *byte ^= 1));
    wallet.handle(Event::Audit(None)).unwrap();
    wallet.run(&safes, 1000);
    wallet.handle(Event::Move(backup)).unwrap();
    wallet.run(&safes, 1000);
    // Three others suffice to rebuild it; moved on them alone, it would begin with one loss behind it.
    assert_eq!((wallet.content(&value).as_deref(), state_of(&wallet, value)), (Some(TICKET), ("at-risk", None)));
    assert!(wallet.state.activity.last().unwrap().text.contains("stays on this device"));
}

/// Whatever a drill has put together: if it is not what is here, what is here stays.
#[test]
fn what_comes_back_as_something_else_is_not_moved() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = protected(store, &safes);
    wallet.handle(Event::Move(backup)).unwrap();
    let mut content = wallet.state.values[&value].content.clone().unwrap();
    content.root = Some(Root([1; 32]));
    wallet.handle(Event::Drilled(backup, vec![content])).unwrap();
    assert_eq!((wallet.content(&value).as_deref(), state_of(&wallet, value)), (Some(TICKET), ("protected", None)));
    assert!(wallet.state.activity.last().unwrap().text.contains("could not be rebuilt"));
}

#[test]
fn a_drill_proves_that_a_value_comes_back_and_changes_nothing() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = protected(store, &safes);
    let blob = blob_of(&wallet, value);
    wallet.handle(Event::Drill(backup)).unwrap();
    assert_eq!(state_of(&wallet, value), ("protected", Some("drill")));
    wallet.run(&safes, 1000);
    let known = &wallet.state.backups[&backup];
    assert!(known.drilled.is_some() && known.operation.is_none() && known.all_at(Stage::Held));
    assert_eq!((blob_of(&wallet, value), state_of(&wallet, value)), (blob, ("protected", None)));
    // And of what is not here, too; it stays where it is.
    wallet.handle(Event::Move(backup)).unwrap();
    wallet.run(&safes, 1000);
    wallet.wait(1000);
    wallet.handle(Event::Drill(backup)).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.state.backups[&backup].drilled, Some(tests::world::START + 1000));
    assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)));
}

#[test]
fn a_move_that_is_taken_back_leaves_a_backup() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = begin(store, &safes, true);
    wallet.run(&safes, 4);
    wallet.handle(Event::Cancel(backup)).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!((wallet.content(&value).as_deref(), state_of(&wallet, value)), (Some(TICKET), ("protected", None)));
}

/// Segments that were made before the owner wanted a move were rebuilt by nobody.
#[test]
fn a_move_that_is_wished_for_on_the_way_begins_with_a_drill() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = begin(store, &safes, false);
    wallet.run(&safes, 4);
    wallet.handle(Event::Move(backup)).unwrap();
    assert_eq!(state_of(&wallet, value), ("protecting", Some("move")));
    let mut drilled = false;
    while wallet.run(&safes, 1) > 0 {
        drilled |= wallet.state.backups[&backup].operation == Some(Operation::Drill);
        assert_somewhere(&wallet, &safes, value, "on the way");
    }
    assert!(drilled);
    assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)));
}

#[test]
fn coupled_values_go_and_come_back_together() {
    let (store, safes) = (leak(), Safes::new(N));
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(&safes);
    let values = [wallet.add("One", TICKET), wallet.add("Two", b""), wallet.add("Three", &[7; 100_000])];
    let before = values.map(|value| wallet.content(&value));
    let backup = wallet.back_up_as(&values, Plan::spread(K, &ids).unwrap(), None, true).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(values.map(|value| wallet.content(&value)), [const { None }; 3]);
    // One alone comes back, and what the others need stays at the safes.
    wallet.handle(Event::Recover(backup, vec![values[2]])).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.handle(Event::Release(backup)), Err(WalletError::NotLocal));
    wallet.handle(Event::BringBack(backup)).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(values.map(|value| wallet.content(&value)), before);
    assert!(wallet.state.backups.is_empty() && safes.all.iter().all(|safe| safe.counts().1 == 0));
}

#[test]
fn several_segments_are_rebuilt_before_they_are_sent() {
    let content: Vec<u8> = (0..7_000_000_u32).map(|i| (i * 31 % 251) as u8).collect();
    let (store, safes) = (leak(), Safes::new(N));
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Document", &content);
    wallet.back_up_as(&[value], Plan::spread(K, &ids).unwrap(), None, true).unwrap();
    wallet.run(&safes, 10_000);
    assert_eq!(state_of(&wallet, value), ("moved", None));
    let backup = wallet.backup_of(&value);
    wallet.handle(Event::BringBack(backup)).unwrap();
    wallet.run(&safes, 10_000);
    assert_eq!(wallet.content(&value).as_deref(), Some(content.as_slice()));
}

/// What the owner keeps for himself is a part of every rebuilding.
#[test]
fn a_move_with_words_and_a_file_waits_for_the_file() {
    let (store, safes) = (leak(), Safes::new(N));
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Ticket", TICKET);
    let place = |place| Plan::place(place);
    let content =
        Plan::disperse(K, ids.iter().map(|s| place(Place::Safe { safe: *s, owner: false })).collect()).unwrap();
    let plan = Plan::seal(content, vec![place(Place::File), place(Place::Memory)]).unwrap();
    let words = Secret::from_bytes([5; 32]);
    let backup = wallet.back_up_as(&[value], plan, Some(&words), true).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(TICKET), "nobody has shown that he has the file");
    let file = wallet.file_of(&backup);
    wallet.show_file(&backup, &file).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)));
}

/// Another window may have given it up since this one saw what there is to do.
#[test]
fn of_what_another_window_has_given_up_nothing_is_sent() {
    let (store, safes) = (leak(), Safes::new(3));
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Seed phrase", b"legal winner thank year");
    let backup = wallet.register(value, &ids, 2);
    let put = |action: &Action| matches!(action, Action::Send(_, _, Errand::Put));
    let mut next = wallet.session.actions(&wallet.state, wallet.now());
    while !next.iter().any(put) {
        wallet.act(&next[0], &safes, Fault::None).unwrap();
        next = wallet.session.actions(&wallet.state, wallet.now());
    }
    let put = next.into_iter().find(put).unwrap();
    wallet.handle(Event::Release(backup)).unwrap();
    let mut other = Wallet::open(store, 2);
    assert!(other.begin(&put).is_err());
}

/// The disk was full, the owner gave the trial up, and wants it once more: what had waited is not in its way.
#[test]
fn what_was_given_up_while_it_waited_can_begin_anew() {
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = protected(leak(), &safes);
    wallet.handle(Event::Drill(backup)).unwrap();
    let finish = Action::Finish(backup);
    while !wallet.session.actions(&wallet.state, wallet.now()).contains(&finish) {
        assert_eq!(wallet.run(&safes, 1), 1);
    }
    wallet.session.started(&finish, &wallet.state);
    wallet.session.hindered(&finish, "There is no room.".to_owned());
    wallet.handle(Event::Cancel(backup)).unwrap();
    wallet.handle(Event::Drill(backup)).unwrap();
    wallet.run(&safes, 1000);
    assert!(wallet.state.backups[&backup].drilled.is_some());
    assert_eq!(state_of(&wallet, value), ("protected", None));
}
