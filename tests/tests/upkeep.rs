//! What the wallet does for a backup that is there: audits, renewed certificates, new keys of a safe, and what the certificates show.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    certificate::{Registration, read_unverified},
    cose::Kind,
    crypto::Secret,
    deposit::{Face, LEASE, RENEW_PART},
    ids::{BackupId, SafeId, Seconds, ValueId},
    plan::Plan,
};
use safe_worker::memory::MemorySafe;
use tests::world::{Fault, START, Safes, Wallet};
use wallet_wasm::{
    machine::{Event, Shown, WalletError, Wish},
    session::Action,
    state::{Deposit, FaceWish, Operation},
    store::MemoryStore,
    upkeep,
    view::draw,
};

const SECRET: &[u8] = b"legal winner thank year wave sausage worth useful legal winner thank yellow";
const HOUR: Seconds = 3600;
const DAY: Seconds = 24 * HOUR;

/// A wallet that is open, with one value that five safes hold.
fn protected<'a>(store: &'a MemoryStore, safes: &Safes, content: &[u8]) -> (Wallet<'a>, Vec<SafeId>, ValueId) {
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(safes);
    let value = wallet.add("Seed phrase", content);
    wallet.register(value, &ids, 3);
    wallet.run(safes, 10_000);
    assert_eq!(state_of(&wallet, value).0, "protected");
    (wallet, ids, value)
}

fn state_of(wallet: &Wallet<'_>, value: ValueId) -> (&'static str, String) {
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    let shown = view.values.into_iter().find(|v| v.id == value.to_string()).unwrap();
    (shown.state, shown.reason)
}

fn audit(wallet: &mut Wallet<'_>, safes: &Safes) {
    wallet.handle(Event::Audit(None)).unwrap();
    wallet.run(safes, 1000);
}

/// The certificates of the one backup, in the order of its deposits.
fn certificates(wallet: &Wallet<'_>) -> Vec<Registration> {
    let backup = wallet.state.backups.values().next().unwrap();
    backup.deposits.iter().map(|d| read_unverified(d.certificate.as_ref().unwrap()).unwrap()).collect()
}

/// By safe in the order of `ids`: whether the last audit found it sound, and what is wrong.
fn faults(wallet: &Wallet<'_>, ids: &[SafeId]) -> Vec<Option<String>> {
    let backup = wallet.state.backups.values().next().unwrap();
    let of = |safe: &SafeId| backup.deposits.iter().find(|d| d.safe == *safe).unwrap();
    ids.iter().map(|safe| of(safe).fault.as_ref().map(|fault| fault.what.clone())).collect()
}

#[test]
fn an_audit_finds_what_is_gone_or_altered_and_nothing_else() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    // 300 KiB: several groups at each safe.
    let (mut wallet, ids, value) = protected(&store, &safes, &vec![7; 300 * 1024]);
    audit(&mut wallet, &safes);
    assert_eq!(faults(&wallet, &ids), vec![None; 5]);
    let backup = wallet.backup_of(&value);
    assert!(wallet.state.backups[&backup].deposits.iter().all(|d| d.audited == Some(START)));

    wallet.wait(2 * HOUR);
    let alter: [fn(&MemorySafe); 4] = [
        |safe| safe.corrupt(|body| body.iter_mut().step_by(64).for_each(|byte| *byte ^= 1)),
        MemorySafe::lose_bodies,
        MemorySafe::lose_records,
        |safe| safe.corrupt(|body| body.truncate(body.len() / 4)),
    ];
    for (safe, alter) in safes.all.iter().zip(alter) {
        alter(safe);
    }
    audit(&mut wallet, &safes);
    let found = faults(&wallet, &ids);
    assert_eq!(found[0].as_deref(), Some("shows other bytes than it signed for"));
    assert_eq!(found[1].as_deref(), Some("cannot show what it signed for"));
    assert_eq!(found[2].as_deref(), Some("does not have what it signed for"));
    assert_eq!(found[3].as_deref(), Some("shows other bytes than it signed for"));
    assert_eq!(found[4], None);
    let (state, reason) = state_of(&wallet, value);
    assert_eq!((state, reason.contains("4 of 5 safes")), ("at-risk", true), "{reason}");
    // The owner is told once, not at every audit, and since when.
    let lines = wallet.state.activity.len();
    wallet.wait(HOUR);
    audit(&mut wallet, &safes);
    assert_eq!(wallet.state.activity.len(), lines);
    let faults = wallet.state.backups[&backup].deposits.iter().filter_map(|d| d.fault.as_ref());
    assert!(faults.map(|fault| fault.since).eq([START + 2 * HOUR; 4]));
}

#[test]
fn a_body_that_does_not_show_yet_is_no_fault() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, ids, value) = protected(&store, &safes, SECRET);
    safes.all[0].lose_bodies();
    audit(&mut wallet, &safes);
    assert_eq!((faults(&wallet, &ids), state_of(&wallet, value).0), (vec![None; 5], "protected"));
    let backup = wallet.backup_of(&value);
    let audited =
        |wallet: &Wallet<'_>| wallet.state.backups[&backup].deposits.iter().filter(|d| d.audited.is_some()).count();
    assert_eq!(audited(&wallet), 4, "it is not called sound either");
}

#[test]
fn a_safe_that_shows_its_piece_again_is_sound_again() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, ids, value) = protected(&store, &safes, SECRET);
    let flip = || safes.all[2].corrupt(|body| body[0] ^= 1);
    flip();
    audit(&mut wallet, &safes);
    assert_eq!((faults(&wallet, &ids)[2].is_some(), state_of(&wallet, value).0), (true, "at-risk"));
    flip();
    audit(&mut wallet, &safes);
    assert_eq!((faults(&wallet, &ids)[2].clone(), state_of(&wallet, value).0), (None, "protected"));
}

/// Other parts say nothing of the one that was bad.
#[test]
fn a_bad_part_is_not_forgotten_because_other_parts_are_sound() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    // Some 40 groups at each safe, of which one is bad at safe 0: an audit by 16 slices often misses it.
    let (mut wallet, ids, value) = protected(&store, &safes, &vec![7; 2_000_000]);
    let flip = || safes.all[0].corrupt(|body| body[20 * 16 * 1024] ^= 1);
    flip();
    for _ in 0..40 {
        audit(&mut wallet, &safes);
        if faults(&wallet, &ids)[0].is_some() {
            break;
        }
    }
    assert!(faults(&wallet, &ids)[0].is_some(), "not found in forty audits");
    for _ in 0..40 {
        audit(&mut wallet, &safes);
        assert!(faults(&wallet, &ids)[0].is_some(), "forgotten");
        assert_eq!(state_of(&wallet, value).0, "at-risk");
    }
    flip();
    audit(&mut wallet, &safes);
    assert_eq!((faults(&wallet, &ids)[0].clone(), state_of(&wallet, value).0), (None, "protected"));
}

#[test]
fn an_audit_gets_by_lost_and_doubled_messages_and_a_safe_that_is_away() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, ids, _) = protected(&store, &safes, SECRET);
    wallet.handle(Event::Audit(None)).unwrap();
    for (safe, fault) in ids.iter().zip([Fault::LostBefore, Fault::LostAfter, Fault::Twice]) {
        wallet.act(&Action::Audit(*safe), &safes, fault).unwrap();
    }
    safes.away = vec![4];
    for _ in 0..4 {
        wallet.run(&safes, 100);
        wallet.wait(60);
    }
    assert_eq!(faults(&wallet, &ids), vec![None; 5], "silence is no fault");
    let open: Vec<bool> = {
        let backup = wallet.state.backups.values().next().unwrap();
        ids.iter()
            .map(|safe| upkeep::is_due(backup, backup.deposits.iter().find(|d| d.safe == *safe).unwrap(), START))
            .collect()
    };
    assert_eq!(open, [false, false, false, false, true]);
    safes.away.clear();
    wallet.session.retry();
    wallet.run(&safes, 100);
    assert!(wallet.state.backups.values().all(|b| b.deposits.iter().all(|d| d.audited.is_some())));
    assert!(ids.iter().all(|safe| upkeep::batch(&wallet.state, safe, START).is_empty()));
}

/// Runs whatever is to be done, day by day.
fn days(wallet: &mut Wallet<'_>, safes: &Safes, days: u64) {
    for _ in 0..days {
        wallet.wait(DAY);
        wallet.run(safes, 100);
    }
}

#[test]
fn pieces_are_asked_for_every_week_although_nobody_thinks_of_it() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, _, value) = protected(&store, &safes, SECRET);
    let oldest = |wallet: &Wallet<'_>| {
        let backup = wallet.state.backups.values().next().unwrap();
        backup.deposits.iter().map(|d| d.audited).min().unwrap()
    };
    days(&mut wallet, &safes, 6);
    assert_eq!(oldest(&wallet), None);
    days(&mut wallet, &safes, 1);
    assert_eq!(oldest(&wallet), Some(START + 7 * DAY));
    // It says by itself when it wants to be woken.
    assert_eq!(wallet.session.next_try(&wallet.state, wallet.now()), Some(START + 14 * DAY));

    // One safe stays away. That is no fault of the piece, but after four weeks it is the owner's business.
    safes.away = vec![2];
    days(&mut wallet, &safes, 28);
    assert_eq!(state_of(&wallet, value).0, "protected");
    days(&mut wallet, &safes, 1);
    let (state, reason) = state_of(&wallet, value);
    assert_eq!(state, "at-risk");
    assert_eq!(reason, "One of 5 safes has not shown its piece for 29 days.");
    safes.away.clear();
    days(&mut wallet, &safes, 1);
    assert_eq!(state_of(&wallet, value).0, "protected");

    // What was not shown is looked at again the next day, not the next week.
    safes.all[0].corrupt(|body| body[0] ^= 1);
    days(&mut wallet, &safes, 7);
    assert_eq!(state_of(&wallet, value).0, "at-risk");
    safes.all[0].corrupt(|body| body[0] ^= 1);
    days(&mut wallet, &safes, 1);
    assert_eq!(state_of(&wallet, value).0, "protected");
}

#[test]
fn an_answer_that_shows_nothing_does_not_put_the_alarm_off() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, _, value) = protected(&store, &safes, SECRET);
    let backup = wallet.state.backups[&wallet.backup_of(&value)].clone();
    wallet.wait(28 * DAY);
    let unclear = backup.deposits.iter().map(|d| (backup.id, d.id, Shown::Unclear)).collect();
    wallet.handle(Event::Audited(unclear)).unwrap();
    assert!(upkeep::due_safes(&wallet.state, wallet.now()).is_empty(), "it was answered");
    assert_eq!(state_of(&wallet, value).0, "protected");
    wallet.wait(DAY);
    assert_eq!(state_of(&wallet, value).0, "at-risk");
}

#[test]
fn what_is_being_let_go_is_not_asked_for() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, _, value) = protected(&store, &safes, SECRET);
    safes.away = vec![0];
    wallet.handle(Event::Release(wallet.backup_of(&value))).unwrap();
    wallet.run(&safes, 100);
    assert_eq!(upkeep::due_safes(&wallet.state, START + 30 * DAY), []);
    assert_eq!(upkeep::next_due(&wallet.state, START), None);
}

#[test]
fn an_audit_that_was_asked_for_is_not_forgotten_with_the_tab() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, _, _) = protected(&store, &safes, SECRET);
    wallet.handle(Event::Audit(None)).unwrap();
    safes.away = vec![3, 4];
    wallet.run(&safes, 100);
    drop(wallet);
    safes.away.clear();
    let mut wallet = Wallet::open(&store, 2);
    wallet.run(&safes, 100);
    let shown = |d: &Deposit| d.audited == Some(START) && d.looked == Some(START);
    assert!(wallet.state.backups.values().all(|backup| backup.deposits.iter().all(shown)));
    assert_eq!(wallet.run(&safes, 100), 0, "and is done then");
}

#[test]
fn a_registration_that_does_not_come_to_its_end_becomes_an_alarm() {
    let mut safes = Safes::new(5);
    safes.away = vec![1];
    let store = MemoryStore::default();
    let mut wallet = Wallet::create(&store, 1);
    let ids = {
        let all = Safes::new(5);
        wallet.trust(&all)
    };
    let value = wallet.add("Seed phrase", SECRET);
    wallet.register(value, &ids, 3);
    days(&mut wallet, &safes, 3);
    assert_eq!(state_of(&wallet, value).0, "protecting");
    days(&mut wallet, &safes, 1);
    let (state, reason) = state_of(&wallet, value);
    assert_eq!((state, reason.as_str()), ("at-risk", "For 4 days not every safe has signed: 4 of 5 have."));
}

#[test]
fn twenty_values_of_two_megabytes_are_audited_although_a_safe_reads_eight_in_a_request() {
    let safes = Safes::new(2);
    let store = MemoryStore::default();
    let mut wallet = Wallet::create(&store, 1);
    let ids = wallet.trust(&safes);
    for i in 0..20_u8 {
        let value = wallet.add(&format!("Scan {i}"), &vec![i; 3_000_000]);
        wallet.register(value, &ids, 2);
        wallet.run(&safes, 1000);
    }
    wallet.wait(DAY);
    audit(&mut wallet, &safes);
    let deposits: Vec<_> = wallet.state.backups.values().flat_map(|b| &b.deposits).collect();
    assert_eq!(deposits.iter().filter(|d| d.audited.is_some() && d.fault.is_none()).count(), deposits.len());
    assert!(deposits.len() >= 40);
}

#[test]
fn certificates_are_renewed_with_the_lease_and_after_a_change_of_keys() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, ids, value) = protected(&store, &safes, SECRET);
    let first = certificates(&wallet);
    let look = |wallet: &mut Wallet<'_>, safes: &Safes| {
        for id in &ids {
            wallet.look_at(id, safes).unwrap();
        }
        wallet.run(safes, 1000);
    };
    // Before a month is over nothing is asked.
    wallet.wait(LEASE / RENEW_PART - DAY);
    look(&mut wallet, &safes);
    assert_eq!(certificates(&wallet), first);
    wallet.wait(3 * DAY);
    look(&mut wallet, &safes);
    let second = certificates(&wallet);
    for (now, before) in second.iter().zip(&first) {
        assert!(now.renews(before) && now.lease_end > before.lease_end);
    }
    // A safe has revoked its key: whoever stole it could sign what he likes, so the certificate is worth nothing until it is renewed.
    let now = START + LEASE / RENEW_PART + 2 * DAY;
    safes.all[1].rotate(now, true).unwrap();
    safes.all[2].rotate(now, false).unwrap();
    wallet.wait(10);
    look(&mut wallet, &safes);
    let entries: Vec<u32> =
        ids.iter().map(|id| certificates(&wallet).iter().find(|c| c.safe == *id).unwrap().entry).collect();
    assert_eq!(entries, [1, 2, 2, 1, 1]);
    // And all of it is good for a recovery.
    let backup = wallet.backup_of(&value);
    assert_eq!(wallet.state.backups[&backup].operation, None::<Operation>);
}

#[test]
fn a_claim_sealed_to_keys_that_are_gone_is_made_again_with_the_new_ones() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, ids, value) = protected(&store, &safes, SECRET);
    // Twice: the safe still opens what was sealed to the key before.
    for at in [100, 200] {
        for safe in &mut safes.all {
            safe.rotate(START + at, false).unwrap();
        }
    }
    wallet.wait(300);
    audit(&mut wallet, &safes);
    assert_eq!(faults(&wallet, &ids), vec![None; 5]);
    assert!(wallet.state.backups.values().all(|b| b.deposits.iter().all(|d| d.audited.is_some())));
    assert!(wallet.state.safes.values().all(|safe| safe.chain.len() == 3));
    let backup = wallet.backup_of(&value);
    wallet.handle(Event::Release(backup)).unwrap();
    wallet.run(&safes, 100);
    assert!(wallet.state.backups.is_empty());
}

#[test]
fn no_other_promise_passes_for_a_renewed_certificate() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, _, value) = protected(&store, &safes, SECRET);
    let backup = wallet.backup_of(&value);
    let deposit = wallet.state.backups[&backup].deposits[0].clone();
    let index = wallet.trust(&safes).iter().position(|id| *id == deposit.safe).unwrap();
    let held = read_unverified(deposit.certificate.as_ref().unwrap()).unwrap();
    let sign = |says: &Registration| says.sign(&Safes::keys(index).signing, Kind::Certificate);
    let altered = [
        Registration { lease_end: held.lease_end - 1, issued: held.issued + 1, ..held.clone() },
        Registration { length: held.length + 1, issued: held.issued + 1, ..held.clone() },
        Registration { url: "https://elsewhere.example".into(), issued: held.issued + 1, ..held.clone() },
        Registration { unique: Some(true), issued: held.issued + 1, ..held.clone() },
    ];
    for says in altered {
        let refused = wallet.handle(Event::Renewed(backup, deposit.id, sign(&says)));
        assert!(matches!(refused, Err(WalletError::Certificate(_))), "{says:?}");
    }
    let renewed = Registration { lease_end: held.lease_end + 10, issued: held.issued + 10, ..held };
    wallet.handle(Event::Renewed(backup, deposit.id, sign(&renewed))).unwrap();
    assert!(certificates(&wallet).contains(&renewed));
    // One from in between, which came late.
    let late = Registration { issued: renewed.issued - 5, ..renewed };
    let refused = wallet.handle(Event::Renewed(backup, deposit.id, sign(&late)));
    assert!(matches!(refused, Err(WalletError::Certificate(_))));
}

#[test]
fn a_safe_that_shows_two_keys_under_one_number_is_named_and_the_known_chain_stays() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, ids, _) = protected(&store, &safes, SECRET);
    safes.all[0].rotate(START + 10, false).unwrap();
    wallet.look_at(&ids[0], &safes).unwrap();
    let known = wallet.state.safes[&ids[0]].chain.clone();
    // The same safe from its beginning, with another second key.
    let mut twin = Safes::new(1);
    twin.all[0].rotate(START + 20, false).unwrap();
    wallet.look_at(&ids[0], &twin).unwrap();
    wallet.look_at(&ids[0], &twin).unwrap();
    assert_eq!(wallet.state.safes[&ids[0]].chain, known);
    let named = wallet.state.activity.iter().filter(|line| line.text.contains("another key under number 2")).count();
    assert_eq!(named, 1);
}

#[test]
fn a_revocation_that_was_seen_once_stays() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, ids, _) = protected(&store, &safes, SECRET);
    safes.all[0].rotate(START + 10, true).unwrap();
    let revoked = safes.probe(0, START + 20);
    wallet.handle(Event::SafeSeen(revoked.clone())).unwrap();
    // The operator, or who took the address, shows the old entry again.
    let mut forgetful = revoked.clone();
    forgetful.chain[0] = Safes::new(1).probe(0, START).chain[0].clone();
    assert_ne!(forgetful.chain, revoked.chain);
    wallet.handle(Event::SafeSeen(forgetful)).unwrap();
    assert_eq!(wallet.state.safes[&ids[0]].chain, revoked.chain);
}

#[test]
fn a_certificate_is_readable_only_where_the_owner_wants_that() {
    let safes = Safes::new(3);
    let store = MemoryStore::default();
    let mut wallet = Wallet::create(&store, 1);
    let ids = wallet.trust(&safes);
    let wishes = [
        FaceWish { readable: true, hint: Some("blue box".into()) },
        FaceWish { readable: false, hint: Some("blue box".into()) },
        FaceWish::default(),
    ];
    for (number, face) in wishes.into_iter().enumerate() {
        let value = wallet.add(&format!("Ticket {number}"), SECRET);
        let plan = Plan::spread(2, &ids).unwrap();
        let backup = BackupId([value.0[0]; 16]);
        let event =
            Event::Register(Wish { backup, values: vec![value], plan, words: None, face: face.clone(), moving: false });
        wallet.handle(event).unwrap();
        wallet.run(&safes, 1000);
        let backup = wallet.backup_of(&value);
        for deposit in &wallet.state.backups[&backup].deposits {
            let says = read_unverified(deposit.certificate.as_ref().unwrap()).unwrap();
            let stranger = says.face.read(Some(&Secret::from_bytes([1; 32])), &deposit.id);
            assert_eq!((matches!(says.face, Face::Clear(_)), stranger.is_ok()), (face.readable, face.readable));
            let text = says.face.read(Some(&deposit.d), &deposit.id).unwrap();
            assert_eq!((text.title, text.hint), (format!("Ticket {number}"), face.hint.clone()));
        }
    }
    // What a safe stores holds the readable title only.
    let stored = safes.all[0].dump();
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert_eq!((holds("Ticket 0"), holds("Ticket 1"), holds("Ticket 2")), (true, false, false));
}

/// An audit that comes too late is refused item by item, and the answer does not say what the time is.
#[test]
fn a_clock_that_is_wrong_does_not_keep_pieces_from_being_shown() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let (mut wallet, _, _) = protected(&store, &safes, SECRET);
    wallet.ahead = 2 * DAY;
    audit(&mut wallet, &safes);
    let backup = wallet.state.backups.values().next().unwrap();
    assert!(backup.deposits.iter().all(|d| d.audited.is_some() && d.fault.is_none()));
}

/// A safe's operator makes new keys while the wallet is open and in the middle of something.
#[test]
fn what_a_new_key_signs_is_understood_before_the_next_unlock() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let mut wallet = Wallet::create(&store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Seed phrase", SECRET);
    wallet.register(value, &ids, 3);
    wallet.run(&safes, 3);
    for safe in &mut safes.all {
        safe.rotate(START, true).unwrap();
    }
    wallet.wait(1);
    wallet.run(&safes, 1000);
    assert_eq!(state_of(&wallet, value).0, "protected");
}

/// Anybody on the way can claim that a safe's clock says anything.
#[test]
fn a_claimed_time_stops_nothing() {
    for claimed in [0, 1, START + 900 * DAY, u64::MAX] {
        let safes = Safes::new(5);
        let store = MemoryStore::default();
        let (mut wallet, ids, value) = protected(&store, &safes, SECRET);
        ids.iter().for_each(|id| wallet.session.set_clock(*id, claimed, START));
        wallet.handle(Event::Release(wallet.backup_of(&value))).unwrap();
        wallet.run(&safes, 1000);
        assert_eq!(state_of(&wallet, value).0, "local-only");
    }
}
