//! Room: what does not fit waits, rules make room for it, and nothing goes that the safes have not just shown to have.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;

use protocol::{
    ids::{SafeId, Seconds, ValueId},
    plan::Plan,
};
use tests::{
    plug::{N, leak, state_of},
    world::{Fault, START, Safes, Wallet},
};
use wallet_wasm::{
    machine::Event,
    room::say_bytes,
    rules::{Condition, REST_SPAN, Rule},
    session::{Action, Errand},
    state::{Operation, Stage},
    view::draw,
};

const LEN: usize = 1_000;
const DAY: Seconds = 86_400;

fn content(of: u8) -> Vec<u8> {
    vec![of; LEN]
}

/// A wallet with safes, and room for so many bytes.
fn start(safes: &Safes, capacity: u64) -> (Wallet<'static>, Vec<SafeId>) {
    let mut wallet = Wallet::create(leak(), 1);
    let ids = wallet.trust(safes);
    wallet.handle(Event::SetCapacity(Some(capacity))).unwrap();
    (wallet, ids)
}

/// Whatever is not used goes when less than `below` is left.
fn make_room(wallet: &mut Wallet<'_>, ids: &[SafeId], below: u64) {
    let plan = Plan::spread(3, ids).unwrap();
    let rule = Rule { name: "Room".into(), when: vec![Condition::RoomBelow(below)], plan, moves: true, on: true };
    wallet.handle(Event::SetRules(vec![rule])).unwrap();
}

/// So many values, each used a day after the one before.
fn fill(wallet: &mut Wallet<'_>, n: u8) -> Vec<ValueId> {
    let add = |i| {
        wallet.wait(DAY);
        wallet.add(&format!("Value {i}"), &content(i))
    };
    (0..n).map(add).collect()
}

/// A value that is at the safes only.
fn away(wallet: &mut Wallet<'_>, safes: &Safes, ids: &[SafeId]) -> ValueId {
    let value = wallet.add("Away", &content(99));
    wallet.back_up_as(&[value], Plan::spread(3, ids).unwrap(), None, true).unwrap();
    wallet.run(safes, 1000);
    assert_eq!(wallet.content(&value), None);
    value
}

fn is_here(wallet: &Wallet<'_>, value: &ValueId) -> bool {
    wallet.content(value).is_some()
}

/// Acts until all is done. Nothing leaves that not every safe has shown its piece of since it was backed up.
fn run(wallet: &mut Wallet<'_>, safes: &Safes) {
    for _ in 0..10_000 {
        let before = wallet.state.clone();
        if wallet.run(safes, 1) == 0 {
            return;
        }
        let here = before.values.values().filter(|value| value.content.is_some());
        for value in here.filter(|value| !is_here(wallet, &value.meta.id)) {
            let backup = &wallet.state.backups[&wallet.backup_of(&value.meta.id)];
            let shown = |d: &wallet_wasm::state::Deposit| d.audited >= backup.finished && d.stage == Stage::Held;
            assert!(backup.finished.is_some() && backup.deposits.iter().all(shown), "“{}” left", value.meta.title);
            assert!(backup.drilled.is_some(), "nobody has tried whether “{}” comes back", value.meta.title);
        }
    }
    panic!("it does not end");
}

fn waits_for(wallet: &Wallet<'_>, value: &ValueId) -> Option<String> {
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    let operation = view.values.into_iter().find(|v| v.id == value.to_string()).unwrap().operation?;
    view.operations[operation].waiting.clone()
}

#[test]
fn a_recovery_makes_room_and_goes_on() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes, 10 * LEN as u64);
    let wanted = away(&mut wallet, &safes, &ids);
    let values = fill(&mut wallet, 4);
    // The one that was put in first was looked at last; the second one is backed up already, and that is quicker.
    wallet.wait(DAY);
    wallet.handle(Event::Used(values[0])).unwrap();
    wallet.register(values[1], &ids, 3);
    run(&mut wallet, &safes);
    make_room(&mut wallet, &ids, 0);
    run(&mut wallet, &safes);
    assert!(values.iter().all(|id| is_here(&wallet, id)), "there is room");
    wallet.handle(Event::SetCapacity(Some(4 * LEN as u64 + 400))).unwrap();
    run(&mut wallet, &safes);
    assert!(values.iter().all(|id| is_here(&wallet, id)), "nothing waits for room");
    wallet.handle(Event::Recover(wallet.backup_of(&wanted), Vec::new())).unwrap();
    assert!(waits_for(&wallet, &wanted).unwrap().starts_with("It needs 600 bytes more on this device"));
    let left = draw(&wallet.state, &wallet.session, wallet.now(), true).room;
    assert_eq!((left.lacking, left.leaving, left.free), (600, vec![values[1].to_string()], Some(400)));
    run(&mut wallet, &safes);
    assert_eq!(wallet.content(&wanted), Some(content(99)));
    let here: Vec<bool> = values.iter().map(|id| is_here(&wallet, id)).collect();
    assert_eq!(here, [true, false, true, true], "one was enough");
    assert_eq!(state_of(&wallet, values[1]), ("moved", None));
    // The next one has to be backed up first: the one that was not used for the longest time.
    let again = wallet.backup_of(&values[1]);
    wallet.handle(Event::Recover(again, Vec::new())).unwrap();
    run(&mut wallet, &safes);
    assert_eq!(values.iter().map(|id| is_here(&wallet, id)).collect::<Vec<_>>(), [true, true, false, true]);
    assert!(is_here(&wallet, &wanted), "what was just recovered stays");
    // For a day, if nobody looks at it.
    wallet.wait(REST_SPAN);
    wallet.handle(Event::Recover(wallet.backup_of(&values[2]), Vec::new())).unwrap();
    run(&mut wallet, &safes);
    // What is at the safes already goes first.
    assert_eq!(values.iter().map(|id| is_here(&wallet, id)).collect::<Vec<_>>(), [true, false, true, true]);
}

#[test]
fn room_is_kept_for_what_is_to_come() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes, 6 * LEN as u64);
    let values = fill(&mut wallet, 5);
    make_room(&mut wallet, &ids, 3 * LEN as u64);
    run(&mut wallet, &safes);
    assert_eq!(values.iter().map(|id| is_here(&wallet, id)).collect::<Vec<_>>(), [false, false, true, true, true]);
    assert!(values[2..].iter().all(|id| state_of(&wallet, *id).0 == "local-only"), "no more than it takes");
    let next = wallet.add("Next", &content(9));
    run(&mut wallet, &safes);
    assert!(is_here(&wallet, &next) && !is_here(&wallet, &values[2]));
}

/// Without rules, or with rules that find nothing, it waits, and nothing is asked of anybody.
#[test]
fn what_does_not_fit_waits_and_loses_nothing() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes, 10 * LEN as u64);
    let wanted = away(&mut wallet, &safes, &ids);
    let once = wallet.add_unique("Ticket", &content(1));
    let values = fill(&mut wallet, 2);
    wallet.handle(Event::SetCapacity(Some(3 * LEN as u64))).unwrap();
    let backup = wallet.backup_of(&wanted);
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    let fetches = |wallet: &Wallet<'_>| {
        let actions = wallet.session.actions(&wallet.state, wallet.now());
        actions.iter().any(|action| matches!(action, Action::Send(_, _, Errand::Retrieve)))
    };
    assert!(!fetches(&wallet));
    assert_eq!(wallet.run(&safes, 1000), 0);
    assert!(waits_for(&wallet, &wanted).unwrap().contains("1000 bytes more"));
    // What lives once is not moved for that.
    wallet.handle(Event::RemoveValue(values[0])).unwrap();
    wallet.handle(Event::SetCapacity(Some(2 * LEN as u64))).unwrap();
    make_room(&mut wallet, &ids, 0);
    safes.all.iter().for_each(|safe| safe.set_faults([]));
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    let mut lost = Safes::new(N);
    lost.away = (0..N).collect();
    for _ in 0..10 {
        wallet.run(&lost, 1000);
        wallet.wait(61);
    }
    assert!(is_here(&wallet, &once) && is_here(&wallet, &values[1]), "no safe has taken it");
    // After a restart it is suspended still; given up, nothing has changed; with room it goes on by itself.
    let mut wallet = Wallet::open(wallet.store(), 2);
    wallet.set_now(START + 10 * DAY);
    assert_eq!(wallet.state.backups[&backup].operation, Some(Operation::Recover));
    assert!(waits_for(&wallet, &wanted).is_some() && !fetches(&wallet));
    wallet.handle(Event::Cancel(backup)).unwrap();
    assert_eq!(state_of(&wallet, wanted), ("moved", None));
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    wallet.handle(Event::SetCapacity(None)).unwrap();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&wanted), Some(content(99)));
    assert!(is_here(&wallet, &once));
}

/// There may be only one of it, and another device could have it then.
#[test]
fn what_lives_once_does_not_leave_to_make_room() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes, 2 * LEN as u64);
    let kept = wallet.add_unique("Kept", &content(1));
    wallet.back_up_as(&[kept], Plan::spread(3, &ids).unwrap(), None, false).unwrap();
    let local = wallet.add_unique("Local", &content(2));
    run(&mut wallet, &safes);
    make_room(&mut wallet, &ids, LEN as u64);
    run(&mut wallet, &safes);
    assert!(is_here(&wallet, &kept) && is_here(&wallet, &local));
    assert_eq!(state_of(&wallet, local).0, "local-only");
}

/// A safe that does not show its piece keeps the copy here, and another value goes in its place.
#[test]
fn nothing_leaves_that_a_safe_does_not_show() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes, 10 * LEN as u64);
    let wanted = away(&mut wallet, &safes, &ids);
    let values = fill(&mut wallet, 2);
    wallet.register(values[0], &ids, 3);
    wallet.run(&safes, 1000);
    let backup = wallet.backup_of(&values[0]);
    let deposit = wallet.state.backups[&backup].deposits[0].clone();
    let at = safes.all.iter().position(|safe| safe.id() == deposit.safe).unwrap();
    let key = hex_key(&deposit.id.to_string(), &safes, at);
    safes.all[at].corrupt_where(|name| name.contains(&key), |body| body.iter_mut().for_each(|byte| *byte ^= 1));
    make_room(&mut wallet, &ids, 0);
    wallet.handle(Event::SetCapacity(Some(2 * LEN as u64))).unwrap();
    wallet.handle(Event::Recover(wallet.backup_of(&wanted), Vec::new())).unwrap();
    run(&mut wallet, &safes);
    assert!(wallet.state.backups[&backup].deposits[0].fault.is_some());
    assert_eq!((is_here(&wallet, &values[0]), is_here(&wallet, &values[1])), (true, false));
    assert_eq!(wallet.content(&wanted), Some(content(99)));
}

/// The name of a body in a safe's store.
fn hex_key(deposit: &str, safes: &Safes, at: usize) -> String {
    let keys = safes.all[at].body_keys();
    keys.into_iter().find(|key| key.contains(deposit)).expect("the safe has it")
}

/// A new value that does not fit, said by the page and by the rules.
#[test]
fn a_new_value_makes_room() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes, 3 * LEN as u64);
    let values = fill(&mut wallet, 3);
    let length = LEN as u64 + 500;
    assert_eq!(wallet.session.lacking_for(&wallet.state, length), length);
    wallet.session.set_adding(length);
    run(&mut wallet, &safes);
    assert_eq!(wallet.session.lacking_for(&wallet.state, length), length, "no rule says what may go");
    make_room(&mut wallet, &ids, 0);
    run(&mut wallet, &safes);
    assert_eq!(wallet.session.lacking_for(&wallet.state, length), 0);
    assert_eq!(values.iter().map(|id| is_here(&wallet, id)).collect::<Vec<_>>(), [false, false, true]);
    wallet.add("New", &vec![5; length as usize]);
    wallet.session.set_adding(0);
    run(&mut wallet, &safes);
    assert!(is_here(&wallet, &values[2]));
}

/// Two recoveries that fit one by one, and not together: one goes on, one waits.
#[test]
fn recoveries_wait_for_each_other() {
    let safes = Safes::new(N);
    let (mut wallet, ids) = start(&safes, 10 * LEN as u64);
    let wanted = [away(&mut wallet, &safes, &ids), away(&mut wallet, &safes, &ids)];
    wallet.handle(Event::SetCapacity(Some(LEN as u64 + 100))).unwrap();
    for value in &wanted {
        wallet.handle(Event::Recover(wallet.backup_of(value), Vec::new())).unwrap();
    }
    let asked = wallet.session.actions(&wallet.state, wallet.now());
    let asked: BTreeSet<_> = asked.iter().filter_map(Action::backup).collect();
    assert_eq!(asked.len(), 1, "only one of them is fetched");
    run(&mut wallet, &safes);
    let here = wanted.iter().filter(|id| is_here(&wallet, id)).count();
    assert_eq!(here, 1);
    let waiting = wanted.iter().find(|id| !is_here(&wallet, id)).unwrap();
    assert!(waits_for(&wallet, waiting).unwrap().contains("900 bytes"));
    wallet.handle(Event::SetCapacity(Some(2 * LEN as u64))).unwrap();
    run(&mut wallet, &safes);
    assert!(wanted.iter().all(|id| is_here(&wallet, id)));
}

/// The plug is pulled after every step of making room, and a message is lost: in the end it is here, and so is, or will be, all else.
#[test]
fn making_room_survives_crashes() {
    let begin = || {
        let safes = Safes::new(N);
        let (mut wallet, ids) = start(&safes, 10 * LEN as u64);
        let wanted = away(&mut wallet, &safes, &ids);
        let values = fill(&mut wallet, 1);
        make_room(&mut wallet, &ids, 0);
        wallet.handle(Event::SetCapacity(Some(LEN as u64))).unwrap();
        wallet.handle(Event::Recover(wallet.backup_of(&wanted), Vec::new())).unwrap();
        (safes, wallet, wanted, values[0])
    };
    let count = {
        let (safes, mut wallet, ..) = begin();
        wallet.run(&safes, 10_000)
    };
    assert!(count > 20, "{count}");
    for crash in 0..=count {
        let (safes, mut wallet, wanted, value) = begin();
        for step in 0..crash {
            let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
            let fault = if step + 1 == crash { Fault::LostAfter } else { Fault::None };
            wallet.act(&action, &safes, fault).unwrap();
        }
        let now = wallet.now();
        let mut wallet = Wallet::open(wallet.store(), 2);
        wallet.set_now(now);
        for _ in 0..5 {
            run(&mut wallet, &safes);
            wallet.wait(61);
        }
        assert_eq!(wallet.content(&wanted), Some(content(99)), "a crash after step {crash} of {count}");
        assert_eq!(state_of(&wallet, value), ("moved", None), "a crash after step {crash} of {count}");
    }
}

/// What the browser says is free is what is free beside what is there, less what records need.
#[test]
fn the_browser_knows_how_much_there_is() {
    let safes = Safes::new(N);
    let mut wallet = Wallet::create(leak(), 1);
    wallet.trust(&safes);
    wallet.add("Value", &content(1));
    assert_eq!(wallet.session.room(&wallet.state).free, None);
    let reserve = wallet_wasm::room::RESERVE;
    wallet.session.set_free(&wallet.state, reserve + 700);
    assert_eq!(
        (wallet.session.room(&wallet.state).free, wallet.session.capacity(&wallet.state)),
        (Some(700), Some(1700))
    );
    assert_eq!(wallet.session.lacking_for(&wallet.state, 701), 1);
    wallet.add("Value", &[1; 100]);
    assert_eq!(wallet.session.room(&wallet.state).free, Some(600));
    // Whichever is less.
    wallet.handle(Event::SetCapacity(Some(1_200))).unwrap();
    assert_eq!(wallet.session.room(&wallet.state).free, Some(100));
    wallet.session.set_free(&wallet.state, 5);
    assert_eq!(wallet.session.room(&wallet.state).free, Some(0));
}

#[test]
fn bytes_are_said_so_that_they_suffice() {
    let cases = [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1025, "1.1 KiB"),
        (3 << 20, "3 MiB"),
        (157 << 20, "157 MiB"),
    ];
    for (bytes, said) in cases {
        assert_eq!(say_bytes(bytes), said);
    }
    assert_eq!(say_bytes((1 << 30) + (1 << 29)), "1.5 GiB");
}
