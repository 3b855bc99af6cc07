//! A wallet that is stolen unlocked lets go of everything and leaves nothing in the book: for a week its owner has all of it back.

use protocol::{
    claim::{CLAIM_SPAN, Claim, Shown},
    owner::{
        login::ChannelKey,
        ticket::{Right, Ticket, UNDO_SPAN},
    },
};
use safe_worker::flow::COSE;
use wallet_wasm::{
    changing::{renewable, unkept},
    machine::book_of,
};

use protocol::{certificate::CertificateError, codec::Bytes};

use super::*;

const ALL: [usize; N] = [0, 1, 2, 3, 4];
const DAY: Seconds = 86_400;

/// A wallet with values that were moved out, by several plans; so many that they stand in chapters.
fn rich(safes: &Safes) -> (Wallet<'static>, Vec<(ValueId, String)>) {
    let (mut wallet, _) = enrolled(leak(), safes);
    let ids: Vec<_> = wallet.state.safes.keys().copied().collect();
    let plans = [
        Plan::spread(3, &ids).unwrap(),
        guarded(&wallet),
        Plan::seal(Plan::at(ids[0]), vec![Plan::at(ids[1])]).unwrap(),
    ];
    let mut values = Vec::new();
    for n in 0..30 {
        let title = format!("Number {n}");
        let value = wallet.add(&title, title.as_bytes());
        wallet.back_up_as(&[value], plans[n % 3].clone(), None, true).unwrap();
        settle(&mut wallet, safes);
        values.push((value, title));
    }
    assert!(chapters(&wallet).count() > 0);
    assert!(values.iter().all(|(value, _)| wallet.content(value).is_none()));
    (wallet, values)
}

/// What a thief does to an open wallet whose owner sleeps.
fn plunder(wallet: &mut Wallet<'static>, safes: &Safes, values: &[(ValueId, String)]) {
    for (value, _) in values {
        wallet.handle(Event::BringBack(wallet.backup_of(value))).unwrap();
        settle(wallet, safes);
        wallet.handle(Event::RemoveValue(*value)).unwrap();
    }
    let left = wallet.state.backups.values().flat_map(|backup| &backup.deposits);
    let left: BTreeSet<_> = left.map(|deposit| deposit.id).collect();
    assert!(safes.all.iter().all(|safe| safe.records().keys().all(|id| left.contains(id) || !safe.holds(id))));
}

/// A wallet like that after a thief has had it, and when he came.
fn robbed(safes: &Safes) -> (Wallet<'static>, Vec<(ValueId, String)>, Seconds) {
    let (mut wallet, values) = rich(safes);
    wallet.wait(DAY);
    let stolen = wallet.now();
    plunder(&mut wallet, safes, &values);
    (wallet, values, stolen)
}

/// The newest head that stood before a time.
fn before(past: &[Past], time: Seconds) -> Mark {
    past.iter().find(|past| past.from < time).unwrap().mark
}

fn recover_all(wallet: &mut Wallet<'static>, safes: &Safes, values: &[(ValueId, String)]) {
    for (value, title) in values {
        let backup = wallet.state.values.get(value).and_then(|value| value.backup);
        let backup = backup.unwrap_or_else(|| panic!("“{title}” has no backup"));
        wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    }
    settle(wallet, safes);
    for (value, title) in values {
        let why = wallet.state.values[value]
            .backup
            .map(|id| wallet.session.failures(&wallet.state, &wallet.state.backups[&id]));
        assert_eq!(wallet.content(value).as_deref(), Some(title.as_bytes()), "{title}: {why:?}");
    }
}

#[test]
fn what_a_thief_of_the_wallet_has_destroyed_its_owner_has_back_for_a_week() {
    let safes = Safes::new(N);
    let (wallet, values, stolen) = robbed(&safes);
    assert!(safes.all.iter().all(|safe| values.iter().all(|_| safe.counts().1 > 0)));
    // Whoever comes back as ever finds what the thief has left.
    let now = wallet.now() + UNDO_SPAN - DAY;
    safes.all.iter().for_each(|safe| block_on(safe.run_alarms(now)));
    let mut fresh = Comer::new(&safes, now, &ALL, 2).come_back(2);
    fresh.set_now(now);
    settle(&mut fresh, &safes);
    assert!(values.iter().all(|(value, _)| !fresh.state.values.contains_key(value)));
    // He goes back to the evening before, with two safes away, and has everything; on a device that is new, and on the one on which he looked.
    let to = before(&Comer::new(&safes, now, &ALL, 3).past(), stolen);
    let mut new = Wallet::create(leak(), 5);
    for (wallet, at, seed) in [(&mut new, vec![1, 2, 3, 4, 0], 5), (&mut fresh, vec![0, 1, 2], 6)] {
        wallet.set_now(now);
        Comer::new(&safes, now, &at, seed).go_back(wallet, to, seed);
        settle(wallet, &safes);
        assert!(wallet.state.taken_back().next().is_none(), "everything is taken back");
        recover_all(wallet, &safes, &values);
    }
    // The book says so again.
    let mut third = Comer::new(&safes, fresh.now(), &[1, 2, 4], 7).come_back(7);
    third.set_now(fresh.now());
    settle(&mut third, &safes);
    recover_all(&mut third, &safes, &values);
}

#[test]
fn a_head_in_which_nothing_stands_takes_nothing_away() {
    let safes = Safes::new(N);
    let (mut wallet, values) = rich(&safes);
    wallet.wait(DAY);
    let stolen = wallet.now();
    // The thief's own software: what it writes names nothing, and it lets nothing go.
    for (value, _) in &values {
        let backup = wallet.backup_of(value);
        wallet.state.backups.remove(&backup);
        wallet.state.values.remove(value);
    }
    let last = one_more(&mut wallet, &safes, "The thief's");
    settle(&mut wallet, &safes);
    let mut new = Wallet::create(leak(), 5);
    new.set_now(wallet.now());
    let to = before(&Comer::new(&safes, wallet.now(), &ALL, 3).past(), stolen);
    Comer::new(&safes, wallet.now(), &ALL, 4).go_back(&mut new, to, 4);
    settle(&mut new, &safes);
    recover_all(&mut new, &safes, &values);
    assert!(new.state.values.contains_key(&last), "what came since is there, too");
}

#[test]
fn nobody_has_anything_back_without_the_owner_or_after_a_week() {
    let safes = Safes::new(N);
    let (mut wallet, values) = rich(&safes);
    let book =
        book_of(&wallet.state, &values.iter().map(|(value, _)| *value).collect::<Vec<_>>(), wallet.now()).unwrap();
    wallet.wait(DAY);
    let stolen = wallet.now();
    plunder(&mut wallet, &safes, &values);
    // All certificates and keys of before give nothing.
    let mut thief = Wallet::create(leak(), 9);
    thief.set_now(wallet.now());
    thief.handle(Event::Import(book)).unwrap();
    for (value, _) in &values {
        let backup = thief.backup_of(value);
        thief.handle(Event::Recover(backup, Vec::new())).unwrap();
    }
    settle(&mut thief, &safes);
    assert!(values.iter().all(|(value, _)| thief.content(value).is_none()));
    // An owner who comes back a week later hears so, and is not left waiting.
    let to = before(&Comer::new(&safes, wallet.now(), &ALL, 3).past(), stolen);
    let mut late = Wallet::create(leak(), 5);
    Comer::new(&safes, wallet.now(), &ALL, 4).go_back(&mut late, to, 4);
    late.set_now(wallet.now() + UNDO_SPAN);
    for day in 0..3 {
        safes.all.iter().for_each(|safe| block_on(safe.run_alarms(late.now() + day * DAY)));
    }
    settle(&mut late, &safes);
    assert!(late.state.taken_back().next().is_none());
    let known = values.iter().filter_map(|(value, _)| late.state.values.get(value)?.backup);
    let backups: Vec<&Backup> = known.map(|id| &late.state.backups[&id]).collect();
    assert!(!backups.is_empty());
    let gone = |backup: &&Backup| backup.deposits.iter().all(|deposit| deposit.fault.is_some());
    assert!(backups.iter().all(gone));
}

#[test]
fn taking_back_goes_on_after_a_crash_when_the_owner_is_there_again() {
    let safes = Safes::new(N);
    let (wallet, values, stolen) = robbed(&safes);
    let to = before(&Comer::new(&safes, wallet.now(), &ALL, 3).past(), stolen);
    let store = leak();
    let mut new = Wallet::create(store, 5);
    new.set_now(wallet.now());
    Comer::new(&safes, wallet.now(), &ALL, 4).go_back(&mut new, to, 4);
    new.run(&safes, 40);
    assert!(new.state.taken_back().next().is_some());
    drop(new);
    let mut new = Wallet::open(store, 55);
    new.set_now(wallet.now());
    settle(&mut new, &safes);
    // A thief of this device takes nothing back, whoever had it begun.
    assert!(new.state.taken_back().next().is_some());
    Comer::new(&safes, new.now(), &ALL, 6).go_back(&mut new, to, 6);
    settle(&mut new, &safes);
    assert!(new.state.taken_back().next().is_none());
    recover_all(&mut new, &safes, &values);
}

#[test]
fn he_goes_back_to_before_a_change_of_the_root_too() {
    let safes = Safes::new(N);
    let (wallet, values, stolen) = robbed(&safes);
    // First the owner shuts the thief out.
    let mut new = Comer::new(&safes, wallet.now(), &ALL, 2).come_back(2);
    new.set_now(wallet.now());
    settle(&mut new, &safes);
    let change = changing::next(&safes, &new, &ALL, (PASSPHRASE, changing::NEW), &ALL, 3);
    new.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut new, &safes);
    assert_eq!(new.state.owner.as_ref().unwrap().generation, 2);
    let comer = |seed| Comer { passphrase: changing::NEW, ..Comer::new(&safes, wallet.now(), &ALL, seed) };
    let to = before(&comer(3).past(), stolen);
    comer(4).go_back(&mut new, to, 4);
    settle(&mut new, &safes);
    recover_all(&mut new, &safes, &values);
}

#[test]
fn a_device_that_only_reads_sees_everything_as_it_was_then() {
    let safes = Safes::new(N);
    let (mut wallet, mut values) = rich(&safes);
    wallet.wait(DAY);
    let stolen = wallet.now();
    // One is written over: its content was never anywhere else.
    let (over, _) = values[0].clone();
    let first = wallet.backup_of(&over);
    let meta = wallet.state.values[&over].meta.clone();
    wallet.handle(Event::BringBack(wallet.backup_of(&over))).unwrap();
    settle(&mut wallet, &safes);
    wallet.handle(Event::RemoveValue(over)).unwrap();
    let (again, event) = wallet.keep("Written over", b"nonsense", false).unwrap();
    let event = match event {
        Event::AddValue(new, content) => {
            Event::AddValue(protocol::bundle::ValueMeta { id: over, length: new.length, ..meta }, content)
        }
        other => panic!("{other:?} {again}"),
    };
    wallet.handle(event).unwrap();
    let plan = guarded(&wallet);
    wallet.back_up_as(&[over], plan, None, true).unwrap();
    settle(&mut wallet, &safes);
    plunder(&mut wallet, &safes, &values[1..]);
    let comer = Comer::new(&safes, wallet.now(), &ALL, 3);
    let to = before(&comer.past(), stolen);
    let mut visitor = comer.visit_then(Some(to), 4);
    visitor.set_now(wallet.now());
    settle(&mut visitor, &safes);
    recover_all(&mut visitor, &safes, &values);
    // In a wallet, what has another backup by now keeps that.
    let mut new = Wallet::create(leak(), 6);
    new.set_now(wallet.now());
    Comer::new(&safes, wallet.now(), &ALL, 5).go_back(&mut new, to, 5);
    settle(&mut new, &safes);
    let honest = values.clone();
    values[0].1 = "nonsense".to_owned();
    recover_all(&mut new, &safes, &values);
    // Unless its owner says that it is somebody else's: on a device that knows what came since, and on a new one.
    let mut known = Comer::new(&safes, new.now(), &ALL, 8).come_back(8);
    known.set_now(new.now());
    settle(&mut known, &safes);
    assert_ne!(known.backup_of(&over), first);
    Comer::new(&safes, known.now(), &ALL, 9).go_back_to(&mut known, to, true, 9);
    settle(&mut known, &safes);
    recover_all(&mut known, &safes, &honest);
    let mut exact = Wallet::create(leak(), 7);
    exact.set_now(wallet.now());
    Comer::new(&safes, wallet.now(), &ALL, 7).go_back_to(&mut exact, to, true, 7);
    settle(&mut exact, &safes);
    recover_all(&mut exact, &safes, &honest);
}

/// What a thief does with software of his own: every piece of everything is let go by its own safe, and the book stays as it is.
fn let_go_quietly(wallet: &Wallet<'static>, safes: &Safes) {
    let owner = wallet.state.owner.as_ref().unwrap();
    for (at, safe) in safes.all.iter().enumerate() {
        let (id, drawn) = (safe.id(), Cell::new(0xbad << 20 | (at as u64) << 16));
        let mut door = Door { safe, now: wallet.now(), drawn: &drawn };
        let mut visit = Visit::new(&mut door);
        let channel = ChannelKey::of_credential(owner.number_at(&id).unwrap(), owner.key_at(&id));
        let ticket = match &visit.act(&name().account(&id), &channel, &[Act::Ticket(Some(owner.epoch))])[..] {
            [Outcome::Ticket(ticket)] => Ticket::parse(ticket).unwrap(),
            other => panic!("{other:?}"),
        };
        for deposit in wallet.state.backups.values().flat_map(|backup| &backup.deposits).filter(|d| d.safe == id) {
            let secret = DepositSecrets::derive(&deposit.d).release;
            let shown = Shown { ticket: Some(ticket.clone()), ..Shown::secret(secret) };
            let (entry, expiry) = (visit.entry(), visit.now() + CLAIM_SPAN);
            let claim = Claim::make_with(&shown, &entry, &deposit.id, Verb::Release, expiry, &mut visit.rng()).unwrap();
            granted(visit.present(&deposit.id, &claim), 200, COSE);
        }
    }
}

#[test]
fn what_is_let_go_and_left_in_the_book_is_taken_back_by_whoever_has_the_book() {
    let safes = Safes::new(N);
    let (mut wallet, values) = rich(&safes);
    wallet.wait(9 * DAY);
    let again = |wallet: &Wallet<'static>, seed| Comer::new(&safes, wallet.now(), &ALL, seed).past()[0].mark;
    // Nobody has written for more than a week: there is the newest head, and no other.
    assert_eq!(Comer::new(&safes, wallet.now(), &ALL, 2).past().len(), 1);
    let_go_quietly(&wallet, &safes);
    // On a device that is new and finds everything in the book, and on the one that has always known it.
    let mut new = Wallet::create(leak(), 5);
    new.set_now(wallet.now());
    let to = again(&new, 3);
    Comer::new(&safes, new.now(), &ALL, 4).go_back(&mut new, to, 4);
    settle(&mut new, &safes);
    recover_all(&mut new, &safes, &values);
    // As often as it takes.
    let_go_quietly(&new, &safes);
    let to = again(&new, 6);
    Comer::new(&safes, new.now(), &ALL, 7).go_back(&mut new, to, 7);
    settle(&mut new, &safes);
    assert_eq!(new.state.taken_back().count(), 0);
    let mut third = Comer::new(&safes, new.now(), &ALL, 8).come_back(8);
    third.set_now(new.now());
    settle(&mut third, &safes);
    recover_all(&mut third, &safes, &values);
}

#[test]
fn who_goes_back_at_a_safe_that_was_left_is_not_kept_waiting() {
    let safes = Safes::new(N + 1);
    let mut wallet = Wallet::create(leak(), 1);
    let ids = wallet.trust(&safes);
    wallet.handle(Event::Enrol(Box::new(enrolment(&ids[..N], 3)))).unwrap();
    settle(&mut wallet, &safes);
    let value = wallet.add("Door", b"code");
    wallet.back_up_as(&[value], Plan::spread(3, &ids[..N]).unwrap(), None, true).unwrap();
    settle(&mut wallet, &safes);
    wallet.wait(DAY);
    let stolen = wallet.now();
    wallet.handle(Event::BringBack(wallet.backup_of(&value))).unwrap();
    settle(&mut wallet, &safes);
    wallet.handle(Event::RemoveValue(value)).unwrap();
    settle(&mut wallet, &safes);
    // The first safe is left; what it has kept is no longer this owner's to take back there.
    let change = changing::next(&safes, &wallet, &ALL, (PASSPHRASE, changing::NEW), &[1, 2, 3, 4, 5], 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut wallet, &safes);
    let comer = |seed| Comer { passphrase: changing::NEW, ..Comer::new(&safes, wallet.now(), &[1, 2, 3, 4, 5], seed) };
    let to = before(&comer(3).past(), stolen);
    let mut new = Wallet::create(leak(), 5);
    new.set_now(wallet.now());
    comer(4).go_back(&mut new, to, 4);
    settle(&mut new, &safes);
    assert_eq!(new.state.taken_back().count(), 0);
    new.handle(Event::Recover(new.backup_of(&value), Vec::new())).unwrap();
    settle(&mut new, &safes);
    assert_eq!(new.content(&value).as_deref(), Some(&b"code"[..]));
}

#[test]
fn what_was_made_before_the_safes_knew_their_owner_is_counted_until_it_is_made_anew() {
    let safes = Safes::new(N);
    let (mut wallet, value) = enrolled(leak(), &safes);
    let once = wallet.add_unique("Concert", b"row 1");
    let ids: Vec<_> = wallet.state.safes.keys().copied().collect();
    wallet.back_up_as(&[once], Plan::spread(3, &ids).unwrap(), None, true).unwrap();
    settle(&mut wallet, &safes);
    let old = wallet.backup_of(&value);
    assert_eq!(unkept(&wallet.state).map(|backup| backup.id).collect::<Vec<_>>(), [old]);
    wallet.handle(Event::RenewExposed).unwrap();
    settle(&mut wallet, &safes);
    assert_eq!(renewable(&wallet.state).count(), 0);
    assert_ne!(wallet.backup_of(&value), old);
    // Now it can be taken back.
    wallet.wait(DAY);
    let stolen = wallet.now();
    wallet.handle(Event::Release(wallet.backup_of(&value))).unwrap();
    settle(&mut wallet, &safes);
    wallet.handle(Event::RemoveValue(value)).unwrap();
    settle(&mut wallet, &safes);
    let mut new = Wallet::create(leak(), 5);
    new.set_now(wallet.now());
    let to = before(&Comer::new(&safes, wallet.now(), &ALL, 3).past(), stolen);
    Comer::new(&safes, wallet.now(), &ALL, 4).go_back(&mut new, to, 4);
    settle(&mut new, &safes);
    new.handle(Event::Recover(new.backup_of(&value), Vec::new())).unwrap();
    settle(&mut new, &safes);
    assert_eq!(new.content(&value).as_deref(), Some(TICKET));
}

#[test]
fn chapters_that_a_wallet_could_let_go_for_good_are_written_anew() {
    let safes = Safes::new(N);
    let (mut wallet, values) = rich(&safes);
    // As they were made before their safes knew the owner.
    let all: Vec<BackupId> = chapters(&wallet).map(|backup| backup.id).collect();
    for id in &all {
        let deposits = &mut wallet.state.backups.get_mut(id).unwrap().deposits;
        deposits.iter_mut().for_each(|deposit| deposit.release_only = None);
    }
    settle(&mut wallet, &safes);
    let in_force = || chapters(&wallet).filter(|backup| backup.operation.is_none());
    assert!(in_force().count() > 0);
    assert!(in_force().flat_map(|b| &b.deposits).all(|d| d.asks_owner(Right::Release)));
    let mut back = Comer::new(&safes, wallet.now(), &[0, 2, 4], 2).come_back(2);
    back.set_now(wallet.now());
    settle(&mut back, &safes);
    recover_all(&mut back, &safes, &values);
}

#[test]
fn a_safe_that_was_set_back_shows_an_older_certificate_of_what_it_takes_back() {
    let safes = Safes::new(N);
    let (mut wallet, value) = enrolled(leak(), &safes);
    let other = one_more(&mut wallet, &safes, "Another");
    let (backup, another) = (wallet.backup_of(&value), wallet.backup_of(&other));
    let safe = wallet.state.backups[&backup].deposits[0].safe;
    let certificate = |wallet: &Wallet<'_>, backup: &BackupId| {
        let there = wallet.state.backups[backup].deposits.iter().find(|deposit| deposit.safe == safe);
        there.unwrap().certificate.clone().unwrap()
    };
    let (deposit, older) = (wallet.state.backups[&backup].deposits[0].id, certificate(&wallet, &backup));
    wallet.wait(400 * DAY);
    wallet.handle(Event::Audit(None)).unwrap();
    settle(&mut wallet, &safes);
    let newer = certificate(&wallet, &backup);
    assert_ne!(older, newer, "its lease was renewed");
    wallet.state.backups.get_mut(&backup).unwrap().deposits[0].restore = Some(true);
    let says = |certificate: Bytes| Event::Restored(backup, deposit, Some(certificate.to_vec()));
    let of_another = certificate(&wallet, &another);
    assert_eq!(wallet.handle(says(of_another)), Err(CertificateError::Differs.into()));
    assert!(wallet.state.backups[&backup].is_lost());
    wallet.handle(says(older)).unwrap();
    assert!(!wallet.state.backups[&backup].is_lost());
    assert_eq!(certificate(&wallet, &backup), newer, "the one that promises more stays");
}
