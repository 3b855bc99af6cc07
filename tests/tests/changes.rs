//! Changes: a value is edited while safes have it as it was, and neither the old nor the new version is lost by that.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    book::Book,
    crypto::blake3,
    ids::{BackupId, EditionId, ValueId},
    plan::Plan,
};
use tests::{
    plug::{K, N, TICKET, begin, leak, moved, protected, state_of},
    world::{Safes, Trouble, Wallet},
};
use wallet_wasm::{
    machine::{Event, WalletError, book_of},
    session::{Action, Errand},
    state::Next,
    view::{WalletView, draw},
};

const CHANGED: &[u8] = b"row 7, seat 13";
const CHANGED_TOO: &[u8] = b"row 9, seat 10";

fn renew(wallet: &mut Wallet<'_>, old: BackupId) {
    let plan = wallet.state.backups[&old].plan.clone();
    wallet.handle(Event::Renew(old, Next { backup: BackupId([7; 16]), plan, words: None })).unwrap();
}

fn is_changed(wallet: &Wallet<'_>, value: ValueId) -> bool {
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    view.values.into_iter().find(|v| v.id == value.to_string()).unwrap().changed
}

/// What another device gets with the certificates as they are now.
fn elsewhere(wallet: &Wallet<'_>, safes: &Safes, value: ValueId) -> Option<Vec<u8>> {
    let mut other = Wallet::create(leak(), 99);
    other.trust(safes);
    other.handle(Event::Import(book_of(&wallet.state, &[value], wallet.now()).unwrap())).unwrap();
    other.handle(Event::Recover(other.backup_of(&value), Vec::new())).unwrap();
    other.run(safes, 1000);
    other.content(&value)
}

#[test]
fn what_is_together_in_a_backup_is_drawn_once() {
    let safes = Safes::new(N);
    let mut wallet = Wallet::create(leak(), 1);
    let ids = wallet.trust(&safes);
    let values: Vec<ValueId> = (0..50).map(|at| wallet.add(&format!("Ticket {at}"), TICKET)).collect();
    let alone = wallet.add("Alone", TICKET);
    let plan = || Plan::spread(K, &ids).unwrap();
    wallet.back_up(&values, plan(), None).unwrap();
    wallet.back_up(&[alone], plan(), None).unwrap();
    let of = |view: &WalletView, value: &ValueId| {
        let shown = view.values.iter().find(|shown| shown.id == value.to_string()).unwrap();
        (shown.backup.unwrap(), shown.operation)
    };
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    let (backup, operation) = of(&view, &values[0]);
    assert!(values.iter().all(|value| of(&view, value) == (backup, operation)) && of(&view, &alone).0 != backup);
    assert_eq!((view.backups.len(), view.backups[backup].values.len(), view.operations.len()), (2, 50, 2));
    assert_eq!(view.operations[operation.unwrap()].kind, "register");
    wallet.run(&safes, 1000);
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    assert_eq!((view.backups.len(), view.operations.len()), (2, 0));
}

#[test]
fn a_change_is_at_risk_until_it_is_backed_up() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value, backup) = protected(store, &safes);
    assert!(!is_changed(&wallet, value));
    wallet.change(&value, CHANGED).unwrap();
    assert_eq!((state_of(&wallet, value), is_changed(&wallet, value)), (("at-risk", None), true));
    assert_eq!(elsewhere(&wallet, &safes, value).as_deref(), Some(TICKET), "as it was before");
    // It is still so for a tab that is opened anew.
    drop(wallet);
    let mut wallet = Wallet::open(store, 2);
    assert!(is_changed(&wallet, value));
    renew(&mut wallet, backup);
    assert_eq!(state_of(&wallet, value).0, "protecting");
    wallet.run(&safes, 1000);
    assert_eq!((state_of(&wallet, value), is_changed(&wallet, value)), (("protected", None), false));
    assert_eq!(elsewhere(&wallet, &safes, value).as_deref(), Some(CHANGED));
    assert!(safes.all.iter().all(|safe| safe.counts().1 == 1), "the version before is gone");
    // Back to what it was is a change, too: another device may have what was in between. The same once more is none.
    wallet.change(&value, CHANGED).unwrap();
    assert!(!is_changed(&wallet, value));
    wallet.change(&value, TICKET).unwrap();
    wallet.change(&value, CHANGED).unwrap();
    assert!(is_changed(&wallet, value));
}

#[test]
fn a_recovery_does_not_overwrite_what_was_changed_here() {
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = protected(leak(), &safes);
    wallet.change(&value, CHANGED).unwrap();
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(CHANGED));
    assert!(wallet.state.activity.iter().any(|line| line.text.contains("stays as it is here")));
    // A trial looks at what the safes have, and they have what they were given.
    wallet.handle(Event::Drill(backup)).unwrap();
    wallet.run(&safes, 1000);
    assert!(wallet.state.backups[&backup].drilled.is_some());
    assert_eq!(wallet.content(&value).as_deref(), Some(CHANGED));
    assert!(is_changed(&wallet, value));
}

/// At every step of a registration, of a move and of a trial before a move: what was changed does not leave this device.
#[test]
fn what_is_changed_during_a_move_stays() {
    let of_protected = |store, safes: &Safes| {
        let (mut wallet, value, backup) = protected(store, safes);
        wallet.handle(Event::Move(backup)).unwrap();
        (wallet, value, backup)
    };
    let starts: [&dyn Fn(&'static _, &Safes) -> _; 2] = [&|store, safes| begin(store, safes, true), &of_protected];
    for start in starts {
        for step in 0.. {
            let (store, safes) = (leak(), Safes::new(N));
            let (mut wallet, value, _) = start(store, &safes);
            let more = wallet.run(&safes, step) == step;
            let here = wallet.content(&value).is_some();
            let change = wallet.change(&value, CHANGED);
            assert_eq!(change, if here { Ok(()) } else { Err(Trouble::Wallet(WalletError::NotLocal)) });
            wallet.run(&safes, 1000);
            if here {
                assert_eq!(wallet.content(&value).as_deref(), Some(CHANGED), "step {step}");
                assert_eq!((state_of(&wallet, value), is_changed(&wallet, value)), (("at-risk", None), true));
                // Moved out now, it goes as it is.
                wallet.handle(Event::Move(wallet.backup_of(&value))).unwrap();
                wallet.run(&safes, 1000);
                assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)));
                assert_eq!(elsewhere(&wallet, &safes, value).as_deref(), Some(CHANGED), "step {step}");
            }
            if !more {
                break;
            }
        }
    }
}

/// What is being backed up is what it was when that began, however often it is changed meanwhile.
#[test]
fn a_change_during_a_registration_is_not_in_it() {
    let safes = Safes::new(N);
    let (mut wallet, value, _) = begin(leak(), &safes, false);
    let put = |action: &Action| matches!(action, Action::Send(_, _, Errand::Put));
    while !wallet.session.actions(&wallet.state, wallet.now()).iter().any(put) {
        wallet.run(&safes, 1);
    }
    for content in [CHANGED, b"and again", b"and a third time"] {
        wallet.change(&value, content).unwrap();
        wallet.run(&safes, 3);
    }
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(&b"and a third time"[..]));
    assert!(is_changed(&wallet, value));
    assert_eq!(elsewhere(&wallet, &safes, value).as_deref(), Some(TICKET));
    assert_eq!(wallet.state.blobs().len(), 1, "what was replaced is not kept");
}

#[test]
fn another_title_is_no_change_and_stays_after_a_recovery() {
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = moved(leak(), &safes);
    let meta = protocol::bundle::ValueMeta { title: "Opera".into(), ..wallet.state.values[&value].meta.clone() };
    // Nothing of it is here, so nothing but its name can be changed; neither its length nor its time.
    let meta = protocol::bundle::ValueMeta { length: 9, created: 1, unique: Some(true), ..meta };
    wallet.handle(Event::ChangeValue(meta, None)).unwrap();
    let known = &wallet.state.values[&value].meta;
    assert_eq!((known.length, known.lives_once()), (TICKET.len() as u64, false));
    assert!(known.created > 1 && !is_changed(&wallet, value));
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
    assert_eq!((wallet.state.values[&value].meta.title.as_str(), is_changed(&wallet, value)), ("Opera", false));
    let long = protocol::bundle::ValueMeta { title: "x".repeat(300), ..wallet.state.values[&value].meta.clone() };
    assert!(matches!(wallet.handle(Event::ChangeValue(long, None)), Err(WalletError::TooLarge(_))));
}

/// A certificate file from before a change comes to a wallet that has the change and no backup of it any more.
#[test]
fn an_older_certificate_file_does_not_hide_a_change() {
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = protected(leak(), &safes);
    let book = book_of(&wallet.state, &[value], wallet.now()).unwrap();
    wallet.handle(Event::Release(backup)).unwrap();
    wallet.run(&safes, 1000);
    let longer = [CHANGED, b", and much more"].concat();
    wallet.change(&value, &longer).unwrap();
    wallet.handle(Event::Import(book)).unwrap();
    assert_eq!(wallet.content(&value).as_deref(), Some(&longer[..]));
    assert!(is_changed(&wallet, value));
    renew(&mut wallet, backup);
    wallet.run(&safes, 1000);
    assert_eq!(elsewhere(&wallet, &safes, value).as_deref(), Some(&longer[..]));
}

/// One wallet has changed a value and backed the change up; another one has the value as it was, and no backup.
fn with_a_change_and_without(safes: &Safes) -> (Wallet<'static>, Wallet<'static>, ValueId) {
    let (mut wallet, value, backup) = protected(leak(), safes);
    let mut other = Wallet::create(leak(), 9);
    other.trust(safes);
    other.handle(Event::Import(book_of(&wallet.state, &[value], wallet.now()).unwrap())).unwrap();
    other.handle(Event::Recover(backup, Vec::new())).unwrap();
    other.run(safes, 1000);
    other.handle(Event::Release(backup)).unwrap();
    other.run(safes, 1000);
    wallet.change(&value, CHANGED).unwrap();
    renew(&mut wallet, backup);
    wallet.run(safes, 1000);
    (wallet, other, value)
}

/// A certificate file of a change, of which the safes have nothing any more, comes to a wallet that has the value as it was before.
#[test]
fn a_certificate_file_of_a_change_does_not_cost_what_was_before() {
    let safes = Safes::new(N);
    let (mut wallet, mut other, value) = with_a_change_and_without(&safes);
    let book = book_of(&wallet.state, &[value], wallet.now()).unwrap();
    wallet.handle(Event::Release(wallet.backup_of(&value))).unwrap();
    wallet.run(&safes, 1000);
    other.handle(Event::Import(book)).unwrap();
    other.run(&safes, 1000);
    let kept = other.state.values.values().find(|one| one.content.is_some()).unwrap();
    assert_eq!(kept.meta.title, "Ticket, as it was here");
    assert_eq!(other.content(&kept.meta.id).as_deref(), Some(TICKET));
}

/// A book may name two backups of one value: that with the later content is right, in whichever order they stand.
#[test]
fn of_two_entries_for_one_value_that_with_the_later_content_is_right() {
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = protected(leak(), &safes);
    let old = book_of(&wallet.state, &[value], wallet.now()).unwrap();
    wallet.change(&value, CHANGED).unwrap();
    renew(&mut wallet, backup);
    wallet.run(&safes, 1000);
    let new = book_of(&wallet.state, &[value], wallet.now()).unwrap();
    for (salt, first, second) in [(9, &old, &new), (10, &new, &old)] {
        let mut book = first.clone();
        book.entries.extend(second.entries.clone());
        let mut other = Wallet::create(leak(), salt);
        other.trust(&safes);
        other.handle(Event::Import(book)).unwrap();
        assert_eq!(other.state.backups.keys().collect::<Vec<_>>(), [&wallet.backup_of(&value)]);
        other.handle(Event::Recover(other.backup_of(&value), Vec::new())).unwrap();
        other.run(&safes, 1000);
        assert_eq!(other.content(&value).as_deref(), Some(CHANGED));
    }
}

/// A backup of two values, and one of a change of the first of them that another wallet has made; `both`: the former is of a change, too. Both values, both backups, and what is in their
/// certificate files.
fn overlapping(safes: &Safes, both: bool) -> ([ValueId; 2], [BackupId; 2], [Book; 2]) {
    let mut wallet = Wallet::create(leak(), 1);
    let ids = wallet.trust(safes);
    let values = [wallet.add("Ticket", TICKET), wallet.add("Seat", TICKET)];
    if both {
        wallet.change(&values[0], CHANGED_TOO).unwrap();
    }
    wallet.back_up(&values, Plan::spread(K, &ids).unwrap(), None).unwrap();
    wallet.run(safes, 1000);
    let mut other = Wallet::create(leak(), 2);
    other.trust(safes);
    let edition = EditionId::try_from(&[1; EditionId::LEN][..]).unwrap();
    other.add_as("Ticket", CHANGED, |meta| (meta.id, meta.editions) = (values[0], Some(vec![edition])));
    other.back_up(&values[..1], Plan::spread(K, &ids).unwrap(), None).unwrap();
    other.run(safes, 1000);
    let books = [book_of(&wallet.state, &values, wallet.now()), book_of(&other.state, &values[..1], other.now())];
    (values, [wallet.backup_of(&values[0]), other.backup_of(&values[0])], books.map(Result::unwrap))
}

/// A wallet that was given the change first.
fn with_both(safes: &Safes, [both, changed]: [Book; 2]) -> Wallet<'static> {
    let mut device = Wallet::create(leak(), 9);
    device.trust(safes);
    device.handle(Event::Import(changed)).unwrap();
    device.handle(Event::Import(both)).unwrap();
    device
}

/// For each value the later content is right, whichever backup is brought back as a whole, and what is done with it.
fn assert_each_has_its_own(device: &mut Wallet<'_>, safes: &Safes, values: [ValueId; 2], backups: [BackupId; 2]) {
    let [both, changed] = backups;
    let each = |device: &Wallet<'_>| values.map(|id| device.backup_of(&id));
    assert_eq!(each(device), [changed, both]);
    device.handle(Event::Recover(both, Vec::new())).unwrap();
    device.run(safes, 1000);
    assert_eq!(values.map(|id| device.content(&id)), [None, Some(TICKET.to_vec())]);
    device.handle(Event::Recover(changed, Vec::new())).unwrap();
    device.run(safes, 1000);
    assert_eq!(device.content(&values[0]).as_deref(), Some(CHANGED));
    assert_eq!(values.map(|id| state_of(device, id)), [("protected", None); 2]);
    // What is left of it is made anew without what has its own.
    renew(device, both);
    device.run(safes, 1000);
    assert_eq!(each(device), [changed, BackupId([7; 16])]);
    assert_eq!(device.state.backups.len(), 2, "what it was made of is let go");
}

/// A book may name backups that have only some of their values in common, in whichever order.
#[test]
fn of_entries_that_share_a_value_each_has_its_own() {
    for reversed in [false, true] {
        let safes = Safes::new(N);
        let (values, backups, [mut book, other]) = overlapping(&safes, false);
        book.entries.extend(other.entries);
        if reversed {
            book.entries.reverse();
        }
        let mut device = Wallet::create(leak(), 9);
        device.trust(&safes);
        device.handle(Event::Import(book)).unwrap();
        assert_each_has_its_own(&mut device, &safes, values, backups);
    }
}

/// Of a backup that comes second the values are taken over of which this wallet has none.
#[test]
fn what_is_coupled_with_what_has_a_backup_is_taken_over_all_the_same() {
    let safes = Safes::new(N);
    let (values, backups, books) = overlapping(&safes, false);
    let mut device = with_both(&safes, books);
    assert_each_has_its_own(&mut device, &safes, values, backups);
}

/// Whatever is done with a backup of two values, one of which has another backup with another change: that change is not lost with it.
#[test]
fn a_change_that_nobody_chose_is_not_let_go_with_what_it_is_coupled_with() {
    for renews in [false, true] {
        let safes = Safes::new(N);
        let (values, backups, books) = overlapping(&safes, true);
        let mut device = with_both(&safes, books);
        assert_eq!(values.map(|id| device.backup_of(&id)), [backups[1], backups[0]]);
        device.handle(Event::Recover(backups[1], Vec::new())).unwrap();
        device.handle(Event::Recover(backups[0], vec![values[1]])).unwrap();
        device.run(&safes, 1000);
        assert_eq!(values.map(|id| device.content(&id)), [Some(CHANGED.to_vec()), Some(TICKET.to_vec())]);
        assert!(matches!(device.handle(Event::Release(backups[0])), Err(WalletError::NotLocal)));
        if renews {
            renew(&mut device, backups[0]);
        } else {
            device.handle(Event::BringBack(backups[0])).unwrap();
        }
        device.run(&safes, 1000);
        assert!(!device.state.backups.contains_key(&backups[0]));
        let kept = |content: &[u8]| {
            let mut all = device.state.values.values();
            all.find(|value| device.content(&value.meta.id).as_deref() == Some(content)).unwrap().meta.title.clone()
        };
        assert_eq!([CHANGED, CHANGED_TOO].map(kept), ["Ticket", "Ticket, as changed elsewhere"], "{renews}");
    }
}

/// What was never looked at on this device is not compared with what another backup is of.
#[test]
fn a_trial_is_of_the_values_that_a_backup_has() {
    let safes = Safes::new(N);
    let (values, backups, books) = overlapping(&safes, false);
    let mut device = with_both(&safes, books);
    device.handle(Event::Recover(backups[1], Vec::new())).unwrap();
    device.handle(Event::Recover(backups[0], vec![values[1]])).unwrap();
    device.run(&safes, 1000);
    device.handle(Event::Move(backups[0])).unwrap();
    device.run(&safes, 1000);
    assert_eq!(values.map(|id| device.content(&id)), [Some(CHANGED.to_vec()), None]);
}

/// The id under which something is kept as a value of its own can be reckoned: whoever names it in a file first makes nobody lose anything.
#[test]
fn a_file_that_names_what_is_to_be_set_apart_costs_nothing() {
    let safes = Safes::new(N);
    let (mut wallet, mut other, value) = with_a_change_and_without(&safes);
    let mut book = book_of(&wallet.state, &[value], wallet.now()).unwrap();
    let apart = blake3(&[&b"strongroom 1 set apart"[..], &value.0].concat());
    let mut forged = book.entries[0].clone();
    forged.backup = BackupId([8; 16]);
    forged.values[0].id = ValueId(apart[..16].try_into().unwrap());
    book.entries.insert(0, forged);
    wallet.handle(Event::Release(wallet.backup_of(&value))).unwrap();
    wallet.run(&safes, 1000);
    other.handle(Event::Import(book)).unwrap();
    other.run(&safes, 1000);
    let kept: Vec<_> = other.state.values.keys().filter_map(|id| other.content(id)).collect();
    assert_eq!(kept, [TICKET]);
}

/// What came from another wallet's certificates is known once it has come back: a change as long as what was there is a change, too.
#[test]
fn a_change_is_one_on_another_device_too() {
    let safes = Safes::new(N);
    let (wallet, value, backup) = protected(leak(), &safes);
    let mut other = Wallet::create(leak(), 9);
    other.trust(&safes);
    other.handle(Event::Import(book_of(&wallet.state, &[value], wallet.now()).unwrap())).unwrap();
    other.handle(Event::Recover(backup, Vec::new())).unwrap();
    other.run(&safes, 1000);
    assert_eq!((other.content(&value).as_deref(), is_changed(&other, value)), (Some(TICKET), false));
    assert_eq!(TICKET.len(), CHANGED.len());
    other.change(&value, CHANGED).unwrap();
    assert!(is_changed(&other, value));
    assert_eq!(state_of(&other, value).0, "at-risk");
    // Moved out, it goes as it is now.
    other.handle(Event::Move(backup)).unwrap();
    other.run(&safes, 1000);
    assert_eq!(elsewhere(&other, &safes, value).as_deref(), Some(CHANGED));
}
