//! A change of passphrase, safes and threshold: wherever it is cut off, and whichever safe is away or set back, the owner comes back by the old enrolment or by the new one, and
//! finds the newest book.

use protocol::{
    ids::{EnrolmentId, SafeId},
    owner::{book::Announced, login::ChannelKey},
};
use safe_worker::owner::UNUSED_SPAN;
use tests::world::Then;
use wallet_wasm::{
    changing::{Change, OldKey, Site, Step, exposed, taken},
    exchange::Answer,
    session::Action,
    view::{ChangeView, draw},
};

use super::*;

pub(super) const NEW: &str = "an orchard under seven feet of snow";
const OTHER: &str = "nobody has painted the bridge in green";

/// What the browser makes of the old passphrase and of the new one, with the safes that answer.
pub(super) fn next(
    safes: &Safes,
    wallet: &Wallet<'_>,
    answering: &[usize],
    phrases: (&'static str, &'static str),
    to: &[usize],
    t: u8,
) -> Change {
    next_of(0xe0, safes, wallet, answering, phrases, to, t)
}

/// The same from another seed.
fn next_of(
    seed: u64,
    safes: &Safes,
    wallet: &Wallet<'_>,
    answering: &[usize],
    (old, new): (&'static str, &'static str),
    to: &[usize],
    t: u8,
) -> Change {
    let comer = Comer { passphrase: old, ..Comer::new(safes, wallet.now(), answering, 0x77) };
    let known = comer.try_in().unwrap();
    let ids: Vec<SafeId> = to.iter().map(|at| safes.all[*at].id()).collect();
    let owner = wallet.state.owner.as_ref().unwrap();
    let before = OwnerRoot::new(owner.root.clone().unwrap());
    let generation = known.agreed().enrolment.generation + 1 + u32::from(seed == ABOVE);
    let seed = secret(seed + u64::from(generation));
    let enrolling = Enrolling::start(&seed, &ids, t, new, PassphraseCost::LEAST).unwrap().after(before);
    let (stretch, output) = enrolling.to_stretch();
    let stretched = stretched(stretch, output);
    let made = enrolling.finish(&Stretched::new(stretched.clone()), &name(), generation).unwrap();
    let old = known.agreed().enrolment.seats.iter().map(|seat| OldKey::of(&known, &seat.safe)).collect();
    Change { generation, threshold: t, making: Making::of(&made, stretched), old, instead: false, renews: false }
}

const ABOVE: u64 = 0x2e0;

/// In the place of another change, which was not ended.
fn above(safes: &Safes, wallet: &Wallet<'_>, phrases: (&'static str, &'static str)) -> Change {
    Change { instead: true, ..next_of(ABOVE, safes, wallet, &ALL, phrases, &ALL, 3) }
}

const ALL: [usize; N] = [0, 1, 2, 3, 4];

/// A wallet that is enrolled at the first five of these safes, has backed up something since, and has begun to change to these ones.
fn changing(store: &'static MemoryStore, safes: &Safes, to: &[usize]) -> (Wallet<'static>, Vec<ValueId>) {
    let (mut wallet, value) = enrolled_at_first(store, safes);
    let later = one_more(&mut wallet, safes, "Later");
    let change = next(safes, &wallet, &ALL, (PASSPHRASE, NEW), to, 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    (wallet, vec![value, later])
}

/// Does everything but these actions, until there is nothing else to do.
fn run_without(wallet: &mut Wallet<'static>, safes: &Safes, without: impl Fn(&Action) -> bool) {
    loop {
        let actions = wallet.session.actions(&wallet.state, wallet.now());
        let Some(action) = actions.into_iter().find(|action| !without(action)) else { return };
        wallet.act(&action, safes, Fault::None).unwrap();
    }
}

/// Nobody else has written since: what the device let go is not there again because the head that says so was not written when its owner came back.
#[test]
fn what_was_let_go_while_a_change_goes_on_does_not_come_back_with_it() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, values) = changing(store, &safes, &ALL);
    // In force at all of them, and one has not said so to the end.
    let ends = |action: &Action| matches!(action, Action::Owner(_, Errand::Change(Step::Committed)));
    run_without(&mut wallet, &safes, ends);
    assert_eq!(wallet.state.owner.as_ref().unwrap().generation, 1);
    let gone = wallet.backup_of(&values[1]);
    wallet.handle(Event::Release(gone)).unwrap();
    run_without(&mut wallet, &safes, |action| ends(action) || matches!(action, Action::Owner(_, Errand::Write)));
    assert!(!wallet.state.backups.contains_key(&gone));
    Comer { passphrase: NEW, ..Comer::new(&safes, wallet.now(), &ALL, 5) }.come_back_to(&mut wallet, 5);
    assert!(!wallet.state.backups.contains_key(&gone));
    assert_eq!(wallet.state.values[&values[1]].backup, None);
    settle(&mut wallet, &safes);
    let mut other = Comer { passphrase: NEW, ..Comer::new(&safes, wallet.now(), &ALL, 6) }.come_back(6);
    settle(&mut other, &safes);
    assert!(!other.state.backups.contains_key(&gone));
}

/// Two changes go on, one after the other, and a safe is only in what was before both: the device that knows that lets it go when it comes back.
#[test]
fn a_safe_that_only_this_device_knows_is_left_by_it_after_the_change_of_another_one() {
    let (store, safes) = (leak(), Safes::new(N));
    let four = [0, 1, 2, 3];
    let (mut first, _) = changing(store, &safes, &four);
    let ends = |action: &Action| matches!(action, Action::Owner(_, Errand::Change(Step::Committed)));
    run_without(&mut first, &safes, ends);
    assert_eq!(first.state.owner.as_ref().unwrap().generation, 1);
    let mut second = Comer { passphrase: NEW, ..Comer::new(&safes, first.now(), &four, 2) }.come_back(2);
    settle(&mut second, &safes);
    let change = next_of(0x1e0, &safes, &second, &four, (NEW, OTHER), &four, 3);
    second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut second, &safes);
    assert_eq!(second.state.owner.as_ref().unwrap().generation, 3);
    first.wait(second.now() - first.now());
    Comer { passphrase: OTHER, ..Comer::new(&safes, first.now(), &four, 3) }.come_back_to(&mut first, 3);
    settle(&mut first, &safes);
    assert!(safes.all[4].owner_records().iter().all(|(_, record)| record.current.is_none()));
    let owner = first.state.owner.as_ref().unwrap();
    let left = safes.all[4].id();
    assert!(owner.leaving.is_empty() && owner.own_number_at(&left).is_some() && owner.left_at(&left).is_some());
    // Other devices hear of it by the book.
    let third = Comer { passphrase: OTHER, ..Comer::new(&safes, first.now(), &four, 4) }.come_back(4);
    assert!(third.state.owner.as_ref().unwrap().left_at(&left).is_some());
}

/// A device has a credential of its own at a safe that another one leaves, and by that what it has there is let go.
#[test]
fn a_device_keeps_its_own_credential_where_another_one_has_left() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let (mut first, _) = enrolled_at_first(store, &safes);
    let ids: Vec<SafeId> = safes.all.iter().map(MemorySafe::id).collect();
    let value = first.add("Later", b"later");
    first.back_up_as(&[value], Plan::spread(3, &ids[..N]).unwrap(), None, false).unwrap();
    settle(&mut first, &safes);
    let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    second.trust(&safes);
    let to = [1, 2, 3, 4, 5];
    let change = next(&safes, &second, &ALL, (PASSPHRASE, NEW), &to, 3);
    second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    // It is not there yet to say to the one that it leaves it.
    let leaves = |action: &Action| matches!(action, Action::Owner(_, Errand::Leave | Errand::Return));
    run_without(&mut second, &safes, leaves);
    second.wait(61);
    run_without(&mut second, &safes, leaves);
    assert_eq!(second.state.owner.as_ref().unwrap().generation, 2);
    first.wait(second.now() - first.now());
    Comer { passphrase: NEW, ..Comer::new(&safes, first.now(), &to, 3) }.come_back_to(&mut first, 3);
    let backup = first.backup_of(&value);
    let there = first.state.backups[&backup].deposits.iter().find(|deposit| deposit.safe == ids[0]).unwrap().id;
    first.handle(Event::Release(backup)).unwrap();
    settle(&mut first, &safes);
    settle(&mut first, &safes);
    assert!(first.state.owner.as_ref().unwrap().own_number_at(&ids[0]).is_some());
    assert!(!first.state.backups.contains_key(&backup));
    assert!(safes.all[0].record(&there).is_none_or(|record| record.release.is_some()));
}

/// Both devices have the keys to leave a safe, and the other one has done so: it has heard of no turn of this one by that.
#[test]
fn what_is_bound_where_another_device_has_left_already_is_let_go_in_the_turn_of_now() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let to = [1, 2, 3, 4, 5];
    let (mut first, values) = changing(store, &safes, &to);
    let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    second.trust(&safes);
    let change = next_of(0x1e0, &safes, &second, &ALL, (PASSPHRASE, OTHER), &to, 3);
    second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut second, &safes);
    let owner = second.state.owner.as_ref().unwrap();
    assert!(owner.generation == 2 && owner.leaving.is_empty());
    first.wait(second.now() - first.now());
    Comer { passphrase: OTHER, ..Comer::new(&safes, first.now(), &to, 3) }.come_back_to(&mut first, 3);
    let left = safes.all[0].id();
    assert!(first.state.owner.as_ref().unwrap().leaving.iter().any(|key| key.safe == left));
    settle(&mut first, &safes);
    let backup = first.backup_of(&values[1]);
    first.handle(Event::Release(backup)).unwrap();
    settle(&mut first, &safes);
    settle(&mut first, &safes);
    assert!(!first.state.backups.contains_key(&backup), "{:?}", first.session.owner_refusals);
}

/// It knows the device by itself, and nothing that all share yet: that is no answer to whether there is a way back.
#[test]
fn a_way_back_that_is_yet_to_be_given_stays_in_the_book() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let to = [1, 2, 3, 4, 5];
    let (mut first, _) = enrolled_at_first(store, &safes);
    let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    second.trust(&safes);
    let change = next(&safes, &second, &ALL, (PASSPHRASE, NEW), &to, 3);
    second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    run_without(&mut second, &safes, |action| matches!(action, Action::Owner(_, Errand::Leave)));
    first.wait(second.now() - first.now());
    Comer { passphrase: NEW, ..Comer::new(&safes, first.now(), &to, 3) }.come_back_to(&mut first, 3);
    settle(&mut first, &safes);
    let left = safes.all[0].id();
    let third = Comer { passphrase: NEW, ..Comer::new(&safes, first.now(), &to, 4) }.come_back(4);
    assert!(third.state.owner.as_ref().unwrap().left_at(&left).is_some());
}

/// What a device has left itself it goes on naming, although another one had its turn before the book said so.
#[test]
fn a_way_back_that_no_head_has_said_yet_is_said_in_a_later_turn() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let to = [1, 2, 3, 4, 5];
    let (mut first, _) = changing(store, &safes, &to);
    let (left, leaves) = (safes.all[0].id(), |action: &Action| matches!(action, Action::Owner(_, Errand::Leave)));
    run_without(&mut first, &safes, leaves);
    let second = Comer { passphrase: NEW, ..Comer::new(&safes, first.now(), &to, 2) };
    let known = second.log_in();
    // What it says of that is written nowhere any more.
    let action = first.session.actions(&first.state, first.now()).into_iter().find(leaves).unwrap();
    first.act(&action, &safes, Fault::None).unwrap();
    assert!(first.state.owner.as_ref().unwrap().left_at(&left).unwrap().number.is_some());
    let told = second.told(&known, &secret(0x33));
    let mine = (secret(0x33), String::new());
    let (mut back, _) = come_back("alice-7kq4m2".into(), &name(), &known, mine, told, &[], &mut rng(5)).unwrap();
    // The turn before has been taken by somebody who knew of no way back.
    back.newest.as_mut().unwrap().1.left.clear();
    let mut other = Wallet::create(leak(), 6);
    other.wait(first.now() - other.now());
    other.handle(Event::OwnerReturned(Box::new(back))).unwrap();
    settle(&mut other, &safes);
    Comer { passphrase: NEW, ..Comer::new(&safes, first.now(), &to, 7) }.come_back_to(&mut first, 7);
    assert!(first.state.owner.as_ref().unwrap().left_at(&left).unwrap().number.is_some());
}

/// Two changes meet: where the first one has come no further than staging, the enrolment before is in force still.
#[test]
fn a_safe_that_is_left_is_told_by_whoever_has_its_key_although_it_was_to_stay() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let (mut first, _) = changing(store, &safes, &ALL);
    let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    second.trust(&safes);
    let to = [1, 2, 3, 4, 5];
    let change = next_of(0x1e0, &safes, &second, &ALL, (PASSPHRASE, OTHER), &to, 3);
    second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    // It is lost before it has told the safe.
    run_without(&mut second, &safes, |action| matches!(action, Action::Owner(_, Errand::Leave)));
    assert_eq!(second.state.owner.as_ref().unwrap().generation, 2);
    first.wait(second.now().saturating_sub(first.now()));
    Comer { passphrase: OTHER, ..Comer::new(&safes, first.now(), &to, 3) }.come_back_to(&mut first, 3);
    settle(&mut first, &safes);
    assert!(safes.all[0].owner_records().iter().all(|(_, record)| record.current.is_none()));
}

/// What the device had begun is in force at one safe, which has not been heard to say so; then another change takes its place, and leaves that safe. It cannot be told by the key
/// of what was before, and that keeps nobody from letting go what is bound there.
#[test]
fn a_safe_in_which_a_change_is_in_force_that_came_to_nothing_bars_nobody() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let (mut first, values) = changing(store, &safes, &ALL);
    let commits = |action: &Action| matches!(action, Action::Owner(_, Errand::Change(Step::Proven)));
    run_without(&mut first, &safes, commits);
    let left = safes.all[0].id();
    first.act(&Action::Owner(left, Errand::Change(Step::Proven)), &safes, Fault::LostAfter).unwrap();
    let mut second = Comer::new(&safes, first.now(), &ALL[1..], 2).come_back(2);
    settle(&mut second, &safes);
    second.trust(&safes);
    let to = [1, 2, 3, 4, 5];
    let change = next_of(ABOVE, &safes, &second, &ALL[1..], (PASSPHRASE, OTHER), &to, 3);
    second.handle(Event::ChangeOwner(Box::new(Change { instead: true, ..change }))).unwrap();
    settle(&mut second, &safes);
    assert_eq!(second.state.owner.as_ref().unwrap().generation, 3);
    first.wait(second.now().saturating_sub(first.now()));
    Comer { passphrase: OTHER, ..Comer::new(&safes, first.now(), &to, 3) }.come_back_to(&mut first, 3);
    settle(&mut first, &safes);
    let backup = first.backup_of(&values[1]);
    first.handle(Event::Release(backup)).unwrap();
    settle(&mut first, &safes);
    settle(&mut first, &safes);
    assert!(!first.state.backups.contains_key(&backup), "{:?}", first.session.owner_refusals);
    assert!(first.state.owner.as_ref().unwrap().leaving.is_empty());
}

/// The answer was lost in which a safe said the number, and another device has heard it since.
#[test]
fn a_way_back_that_another_device_has_found_is_not_forgotten() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let to = [1, 2, 3, 4, 5];
    let (mut first, _) = changing(store, &safes, &to);
    let (left, leaves) = (safes.all[0].id(), |action: &Action| matches!(action, Action::Owner(_, Errand::Leave)));
    run_without(&mut first, &safes, leaves);
    first.act(&Action::Owner(left, Errand::Leave), &safes, Fault::LostAfter).unwrap();
    let number = |wallet: &Wallet<'_>| wallet.state.owner.as_ref().unwrap().left_at(&left).unwrap().number;
    assert_eq!(number(&first), None);
    let comer = |seed| Comer { passphrase: NEW, ..Comer::new(&safes, first.now(), &to, seed) };
    let (mut second, again, third) = (comer(2).come_back(2), comer(3), comer(4));
    settle(&mut second, &safes);
    let known = number(&second);
    assert!(known.is_some());
    again.come_back_to(&mut first, 3);
    assert_eq!(number(&first), known);
    settle(&mut first, &safes);
    assert_eq!(number(&third.come_back(4)), known);
}

/// Its owner comes back once more before every safe has the new one, as a new device would.
#[test]
fn what_is_to_be_renewed_after_a_change_is_not_forgotten_when_its_owner_comes_back() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value) = enrolled_at_first(store, &safes);
    let before = wallet.backup_of(&value);
    let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &ALL, 3);
    wallet.handle(Event::ChangeOwner(Box::new(Change { renews: true, ..change }))).unwrap();
    let renews = |wallet: &Wallet<'_>| wallet.state.owner.as_ref().unwrap().renewing.is_some();
    while !renews(&wallet) {
        let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
        wallet.act(&action, &safes, Fault::None).unwrap();
    }
    // Another device has had its turn in between.
    let comer = |seed| Comer { passphrase: NEW, ..Comer::new(&safes, wallet.now(), &ALL, seed) };
    let (two, three) = (comer(2), comer(3));
    settle(&mut two.come_back(2), &safes);
    three.come_back_to(&mut wallet, 3);
    settle(&mut wallet, &safes);
    settle(&mut wallet, &safes);
    assert_eq!(exposed(&wallet.state).count(), 0);
    assert_ne!(wallet.backup_of(&value), before);
}

/// The same as [`enrolled`], where there are more safes.
fn enrolled_at_first(store: &'static MemoryStore, safes: &Safes) -> (Wallet<'static>, ValueId) {
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(safes);
    let value = wallet.add("Ticket", TICKET);
    wallet.back_up_as(&[value], Plan::spread(3, &ids[..N]).unwrap(), None, false).unwrap();
    wallet.run(safes, 1000);
    wallet.handle(Event::Enrol(Box::new(enrolment(&ids[..N], 3)))).unwrap();
    wallet.run(safes, 1000);
    assert!(wallet.state.owner.as_ref().unwrap().writes());
    (wallet, value)
}

/// Comes back by whichever enrolment is found in force.
fn back(safes: &Safes, now: Seconds, at: &[usize], seed: u64) -> Result<Wallet<'static>, LoginError> {
    let comer = Comer::new(safes, now, at, seed);
    let generation = comer.look()?.enrolment.generation;
    let passphrase = if generation == 1 { PASSPHRASE } else { NEW };
    Ok(Comer { passphrase, ..comer }.come_back(seed))
}

/// Three of these.
fn triples(of: &[usize]) -> Vec<[usize; 3]> {
    let n = of.len();
    let mut all = Vec::new();
    for a in 0..n {
        for b in a + 1..n {
            all.extend((b + 1..n).map(|c| [of[a], of[b], of[c]]));
        }
    }
    all
}

/// The passphrase before brings nobody back.
fn old_is_over(safes: &Safes, now: Seconds, at: &[usize]) {
    let comer = Comer::new(safes, now, at, 99);
    assert!(matches!(comer.try_in(), Err(LoginError::WrongPassphrase)));
}

#[test]
fn a_change_comes_to_its_end_from_wherever_it_was_cut_off() {
    let count = {
        let safes = Safes::new(N);
        changing(leak(), &safes, &ALL).0.run(&safes, 1000)
    };
    // Five safes, and for each: stage, evaluate, show, write that all have, commit, evaluate, show, promise, write, drop.
    assert_eq!(count, 50);
    for crash in 0..=count {
        let fault = [Fault::None, Fault::LostBefore, Fault::LostAfter, Fault::Twice][crash % 4];
        let (store, safes) = (leak(), Safes::new(N));
        let (mut wallet, values) = changing(store, &safes, &ALL);
        let now = wallet.now();
        for step in 0..crash {
            let Some(action) = wallet.session.actions(&wallet.state, now).into_iter().next() else { break };
            wallet.act(&action, &safes, if step + 1 == crash { fault } else { Fault::None }).unwrap();
        }
        drop(wallet);
        let mut wallet = Wallet::open(store, 100 + crash as u64);
        wallet.wait(now - wallet.now());
        settle(&mut wallet, &safes);
        let owner = wallet.state.owner.as_ref().unwrap();
        assert!(owner.writes() && owner.changing.is_none(), "{fault:?} after step {crash}");
        assert_eq!((owner.generation, owner.written()), (2, N), "{fault:?} after step {crash}");
        if crash % 5 == 0 {
            old_is_over(&safes, wallet.now(), &ALL);
            let back = back(&safes, wallet.now(), &[0, 2, 4], 77).unwrap();
            assert!(values.iter().all(|value| back.state.values.contains_key(value)), "{fault:?} after step {crash}");
        }
    }
}

/// A change that stops for good after so many steps: whoever comes back finds everything.
fn found_wherever_it_stops(to: &[usize]) {
    let total = to.iter().chain(&ALL).max().unwrap() + 1;
    let count = {
        let safes = Safes::new(total);
        changing(leak(), &safes, to).0.run(&safes, 1000)
    };
    // Every other step, and every triple of safes in the course of five of them.
    for stop in (0..=count).step_by(2) {
        let safes = Safes::new(total);
        let (mut wallet, values) = changing(leak(), &safes, to);
        for _ in 0..stop {
            let Some(action) = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next() else { break };
            wallet.act(&action, &safes, Fault::None).unwrap();
        }
        let owner = wallet.state.owner.as_ref().unwrap();
        let committed = |site: &Site| site.step >= Step::Committed;
        let sites = owner.changing.as_ref().map(|changing| &changing.sites);
        let none = sites.is_some_and(|sites| !sites.iter().any(committed));
        let all = sites.is_none_or(|sites| sites.iter().all(committed));
        let shown = |at: &[usize]| Comer::new(&safes, wallet.now(), at, 0x55).look().is_ok();
        let groups = [ALL.to_vec(), to.to_vec()];
        assert!(groups.iter().any(|group| shown(group)), "after {stop} of {count}");
        for (n, at) in groups.iter().flat_map(|group| triples(group).into_iter().map(move |at| (group, at))).enumerate()
        {
            let (group, at) = at;
            // Some each time, so that all are met in the course of the steps.
            if n % 5 != stop / 2 % 5 {
                continue;
            }
            let must = none && *group == ALL || all && *group == to;
            match back(&safes, wallet.now(), &at, 1000 + n as u64) {
                Ok(back) => {
                    let found = values.iter().all(|value| back.state.values.contains_key(value));
                    assert!(found, "{at:?} after {stop} of {count}");
                }
                Err(error) => assert!(!must, "{at:?} after {stop} of {count}: {error}"),
            }
        }
    }
}

#[test]
fn whichever_three_safes_answer_the_newest_book_is_found_wherever_a_change_stops() {
    found_wherever_it_stops(&ALL);
}

#[test]
fn the_book_is_found_wherever_the_move_to_other_safes_stops() {
    // Two are replaced.
    found_wherever_it_stops(&[0, 1, 2, 5, 6]);
}

#[test]
fn the_book_is_found_wherever_the_move_to_safes_that_are_all_new_stops() {
    found_wherever_it_stops(&[5, 6, 7, 8, 9]);
}

#[test]
fn one_safe_that_is_set_back_in_between_takes_nothing_away() {
    let count = 45;
    for stop in (0..=count).step_by(3) {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut wallet, value) = enrolled(store, &safes);
        let later = one_more(&mut wallet, &safes, "Later");
        let liar = stop % N;
        let before = safes.all[liar].snapshot();
        let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &ALL, 3);
        wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        for _ in 0..stop {
            let Some(action) = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next() else { break };
            wallet.act(&action, &safes, Fault::None).unwrap();
        }
        safes.all[liar].restore(before);
        // With one more away; once what was before is being dropped, every safe that has not come so far is one that is away.
        let sites = wallet.state.owner.as_ref().unwrap().changing.clone().map_or_else(Vec::new, |c| c.sites);
        let late =
            sites.iter().any(|site| site.step == Step::Dropped) && sites.iter().any(|s| s.step < Step::Committed);
        for away in [N, (liar + 1) % N, (liar + 3) % N].into_iter().take(if late { 1 } else { 3 }) {
            let at: Vec<usize> = (0..N).filter(|one| *one != away).collect();
            let back = back(&safes, wallet.now(), &at, 50 + away as u64).unwrap();
            let has = |value| back.state.values.contains_key(value);
            assert!(has(&value) && has(&later), "{liar} set back after {stop}, {away} away");
        }
        // It goes on, and that safe gets all of it once more.
        settle(&mut wallet, &safes);
        settle(&mut wallet, &safes);
        let owner = wallet.state.owner.as_ref().unwrap();
        assert_eq!(owner.generation, 2, "{liar} set back after {stop}");
        let back = back(&safes, wallet.now(), &ALL, 60).unwrap();
        assert!(back.state.values.contains_key(&later));
    }
}

#[test]
fn a_dead_safe_is_replaced_and_forgets_when_it_is_back() {
    let (store, mut safes) = (leak(), Safes::new(N + 1));
    let (mut wallet, value) = enrolled_at_first(store, &safes);
    safes.away = vec![4];
    let to = [0, 1, 2, 3, 5];
    // The same passphrase, other safes.
    let change = next(&safes, &wallet, &[0, 1, 2, 3], (PASSPHRASE, PASSPHRASE), &to, 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none() && owner.writes());
    assert_eq!((owner.written(), owner.leaving.len(), owner.former.len()), (N, 1, 1));
    assert!(owner.seat(&safes.all[5].id()).is_some() && owner.seat(&safes.all[4].id()).is_none());
    for at in triples(&to) {
        let back = Comer::new(&safes, wallet.now(), &at, 7).come_back(8);
        assert!(back.state.values.contains_key(&value));
    }
    // What the dead safe keeps is of no use to anybody: too few show it.
    safes.away = vec![];
    let error = Comer::new(&safes, wallet.now(), &[4], 9).look().err();
    assert_eq!(error, Some(LoginError::UnknownName));
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    assert!(owner.leaving.is_empty());
    // It can come in again, as if it had never been there.
    let change = next(&safes, &wallet, &to, (PASSPHRASE, NEW), &[0, 1, 2, 3, 4], 4);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    assert_eq!((owner.generation, owner.threshold, owner.written()), (3, 4, N));
    assert!(owner.changing.is_none() && owner.leaving.is_empty());
    old_is_over(&safes, wallet.now(), &ALL);
}

#[test]
fn a_safe_that_goes_away_before_it_commits_does_not_keep_the_others() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = changing(store, &safes, &ALL);
    let proven =
        |wallet: &Wallet<'_>| wallet.state.owner.as_ref().unwrap().changing.as_ref().is_some_and(|c| c.is_announced());
    while !proven(&wallet) {
        let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
        wallet.act(&action, &safes, Fault::None).unwrap();
    }
    // From here on nothing is taken back.
    assert_eq!(wallet.handle(Event::CancelChange), Err(WalletError::Busy));
    safes.away = vec![2];
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    let steps: Vec<Step> = owner.changing.as_ref().unwrap().sites.iter().map(|site| site.step).collect();
    assert_eq!(steps.iter().filter(|step| **step == Step::Dropped).count(), 4);
    assert_eq!((owner.generation, owner.written()), (2, 4));
    old_is_over(&safes, wallet.now(), &[0, 1, 3, 4]);
    // It is back: with two that have the new one it shows too little of the old one.
    safes.away = vec![];
    assert!(matches!(Comer::new(&safes, wallet.now(), &[0, 1, 2], 4).look(), Err(LoginError::TooFew { .. })));
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none() && owner.written() == N);
}

#[test]
fn a_change_that_is_given_up_leaves_everything_as_it_was() {
    let (store, mut safes) = (leak(), Safes::new(N + 1));
    let (mut wallet, values) = changing(store, &safes, &[0, 1, 2, 3, 5]);
    safes.away = vec![5];
    settle(&mut wallet, &safes);
    // One does not take it, so that nothing is in force; meanwhile the book is kept as before.
    let later = wallet.add("While it waits", b"for a safe");
    let ids: Vec<SafeId> = safes.all[..N].iter().map(MemorySafe::id).collect();
    wallet.back_up_as(&[later], Plan::spread(3, &ids).unwrap(), None, false).unwrap();
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    assert_eq!((owner.generation, owner.written(), owner.is_behind()), (1, N, false));
    wallet.handle(Event::CancelChange).unwrap();
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().changing.is_none());
    let back = Comer::new(&safes, wallet.now(), &[0, 2, 4], 5).come_back(6);
    assert!(values.iter().chain([&later]).all(|value| back.state.values.contains_key(value)));
    // Another one takes its place.
    let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &ALL, 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut wallet, &safes);
    old_is_over(&safes, wallet.now(), &ALL);
}

#[test]
fn another_device_hears_that_the_passphrase_was_changed() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    // The second one changes it; the first one still thinks that it keeps the book.
    let change = next(&safes, &second, &ALL, (PASSPHRASE, NEW), &ALL, 3);
    second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut second, &safes);
    assert!(second.state.owner.as_ref().unwrap().changing.is_none());
    one_more(&mut first, &safes, "Own");
    let owner = first.state.owner.as_ref().unwrap();
    assert!(owner.superseded && owner.is_outdated());
    // It cannot change anything, and does not come back by the old passphrase.
    let change = next(&safes, &second, &ALL, (NEW, "yet another one, of which nobody knows"), &ALL, 3);
    assert_eq!(first.handle(Event::ChangeOwner(Box::new(change))), Err(WalletError::Busy));
    old_is_over(&safes, first.now(), &ALL);
    Comer { passphrase: NEW, ..Comer::new(&safes, first.now(), &ALL, 3) }.come_back_to(&mut first, 3);
    settle(&mut first, &safes);
    let owner = first.state.owner.as_ref().unwrap();
    assert!(owner.writes() && !owner.is_outdated() && owner.written() == N && owner.generation == 2);
    let third = back(&safes, first.now(), &[0, 2, 4], 4).unwrap();
    assert_eq!(known(&third), known(&first));
}

#[test]
fn a_device_that_comes_back_in_the_middle_goes_on_with_its_change() {
    for stop in (0..45).step_by(4) {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut first, values) = changing(store, &safes, &ALL);
        for _ in 0..stop {
            let Some(action) = first.session.actions(&first.state, first.now()).into_iter().next() else { break };
            first.act(&action, &safes, Fault::None).unwrap();
        }
        // Another device takes the turn, by what is in force; the first one takes it back.
        let mut second = back(&safes, first.now(), &ALL, 20).unwrap();
        settle(&mut second, &safes);
        settle(&mut first, &safes);
        let now = first.now().max(second.now());
        let comer = Comer::new(&safes, now, &ALL, 21);
        let passphrase = if comer.look().unwrap().enrolment.generation == 1 { PASSPHRASE } else { NEW };
        Comer { passphrase, ..comer }.come_back_to(&mut first, 21);
        settle(&mut first, &safes);
        let owner = first.state.owner.as_ref().unwrap();
        assert!(owner.writes() && owner.changing.is_none() && owner.generation == 2, "after {stop}");
        let seats: Vec<_> = owner.seats.iter().map(|s| (s.number, s.promised, s.written, s.turned)).collect();
        assert_eq!(owner.written(), N, "after {stop}: {seats:?} {:?}", first.session.owner_refusals);
        old_is_over(&safes, first.now(), &ALL);
        let third = back(&safes, first.now(), &[1, 2, 4], 22).unwrap();
        assert!(values.iter().all(|value| third.state.values.contains_key(value)), "after {stop}");
    }
}

#[test]
fn a_device_that_comes_back_goes_on_with_a_safe_that_has_yet_to_join() {
    let (store, mut safes) = (leak(), Safes::new(N + 1));
    let (mut wallet, _) = enrolled_at_first(store, &safes);
    let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &[0, 1, 2, 3, 5], 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    let sites = |wallet: &Wallet<'_>| wallet.state.owner.as_ref().unwrap().changing.as_ref().unwrap().sites.clone();
    let act = |wallet: &mut Wallet<'_>, safes: &Safes| {
        let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
        wallet.act(&action, safes, Fault::None).unwrap();
    };
    while sites(&wallet).iter().any(|site| site.step < Step::Proven) {
        act(&mut wallet, &safes);
    }
    // It is in force at all that answer, and this device was not told so by all of them.
    safes.away = vec![5];
    while sites(&wallet).iter().filter(|site| site.step >= Step::Committed).count() < 4 {
        act(&mut wallet, &safes);
    }
    Comer { passphrase: NEW, ..Comer::new(&safes, wallet.now(), &[0, 1, 2, 3], 5) }.come_back_to(&mut wallet, 5);
    safes.away = vec![];
    settle(&mut wallet, &safes);
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none(), "{:?}", sites(&wallet));
    assert_eq!((owner.generation, owner.written()), (2, N));
}

#[test]
fn of_two_devices_that_change_the_passphrase_at_once_the_one_whose_owner_comes_back_ends_it() {
    for (rounds, turned) in (2..=10).flat_map(|rounds| [(rounds, false), (rounds, true)]) {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut first, _) = enrolled(store, &safes);
        let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
        settle(&mut second, &safes);
        // The first one still thinks that it has the turn.
        let change = next(&safes, &first, &ALL, (PASSPHRASE, NEW), &ALL, 3);
        first.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        let change = next_of(0x1e0, &safes, &second, &ALL, (PASSPHRASE, OTHER), &ALL, 3);
        second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        for _ in 0..rounds {
            let both = if turned { [&mut second, &mut first] } else { [&mut first, &mut second] };
            for wallet in both {
                for action in wallet.session.actions(&wallet.state, wallet.now()) {
                    wallet.act(&action, &safes, Fault::None).unwrap();
                }
                wallet.wait(61);
                wallet.session.retry();
            }
        }
        let now = first.now().max(second.now());
        let shown = Comer::new(&safes, now, &ALL, 3).look().unwrap();
        let of = |wallet: &Wallet<'_>| {
            let owner = wallet.state.owner.as_ref().unwrap();
            owner.changing.as_ref().is_some_and(|changing| changing.making.statement[..] == shown.statement[..])
        };
        let passphrase = match (of(&first), of(&second), shown.enrolment.generation) {
            (.., 1) => PASSPHRASE,
            (true, ..) => NEW,
            _ => OTHER,
        };
        Comer { passphrase, ..Comer::new(&safes, now, &ALL, 4) }.come_back_to(&mut second, 4);
        settle(&mut second, &safes);
        settle(&mut second, &safes);
        let owner = second.state.owner.as_ref().unwrap();
        let sites: Vec<_> = owner.changing.iter().flat_map(|c| &c.sites).map(|site| (site.step, site.back)).collect();
        assert!(owner.changing.is_none() && owner.writes(), "after {rounds}, {turned}: {sites:?}");
        assert_eq!((owner.generation, owner.written()), (2, N), "after {rounds}, {turned}");
    }
}

/// Each does so many rounds of what is due, and what waited is tried again in between.
fn rounds(mut wallets: [&mut Wallet<'static>; 2], safes: &Safes, rounds: usize) {
    for _ in 0..rounds {
        for wallet in &mut wallets {
            for action in wallet.session.actions(&wallet.state, wallet.now()) {
                wallet.act(&action, safes, Fault::None).unwrap();
            }
            wallet.wait(61);
            wallet.session.retry();
        }
    }
}

#[test]
fn of_two_devices_that_change_to_different_safes_at_once_one_does() {
    // Nobody but the safes of before knows both.
    let groups = [[5, 6, 7, 8, 9], ALL];
    for (begun, turned) in (0..=30).step_by(3).flat_map(|begun| [(begun, false), (begun, true)]) {
        let (store, safes) = (leak(), Safes::new(10));
        let (mut first, _) = enrolled_at_first(store, &safes);
        let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
        settle(&mut second, &safes);
        let change = next(&safes, &first, &ALL, (PASSPHRASE, NEW), &groups[0], 3);
        first.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        for _ in 0..begun {
            let Some(action) = first.session.actions(&first.state, first.now()).into_iter().next() else { break };
            first.act(&action, &safes, Fault::None).unwrap();
        }
        second.trust(&safes);
        let change = next_of(0x1e0, &safes, &second, &ALL, (PASSPHRASE, OTHER), &groups[1], 3);
        second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        let both = if turned { [&mut second, &mut first] } else { [&mut first, &mut second] };
        rounds(both, &safes, 12);
        let now = first.now().max(second.now());
        let in_force: Vec<_> = groups
            .iter()
            .filter(|group| {
                let known = Comer::new(&safes, now, &group[..], 3).look();
                known.is_ok_and(|agreed| agreed.enrolment.generation == 2)
            })
            .collect();
        assert!(in_force.len() <= 1, "after {begun}, {turned}: both are in force");
        let owner = second.state.owner.as_ref().unwrap();
        assert!(owner.changing.is_none() && owner.generation == 2, "after {begun}, {turned}: the one with the turn");
    }
}

#[test]
fn a_change_that_is_announced_is_ended_where_it_began_unless_that_device_is_gone() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    let change = next(&safes, &first, &ALL, (PASSPHRASE, NEW), &ALL, 3);
    first.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    let is_due = |wallet: &Wallet<'_>| {
        let actions = wallet.session.actions(&wallet.state, wallet.now());
        actions.into_iter().find(|action| matches!(action, Action::Owner(_, Errand::Change(Step::Proven))))
    };
    while is_due(&first).is_none() {
        let action = first.session.actions(&first.state, first.now()).into_iter().next().unwrap();
        first.act(&action, &safes, Fault::None).unwrap();
    }
    let commit = is_due(&first).unwrap();
    // Another device hears of it, makes none of its own, and lets nothing go.
    let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    let owner = second.state.owner.as_ref().unwrap();
    assert!(owner.writes() && owner.written() == N && owner.is_behind());
    let change = next_of(0x1e0, &safes, &second, &ALL, (PASSPHRASE, OTHER), &ALL, 3);
    assert_eq!(second.handle(Event::ChangeOwner(Box::new(change.clone()))), Err(WalletError::Announced));
    // Nor does a third one, which knows of it from the second one only.
    let third = Comer::new(&safes, second.now(), &ALL, 3).come_back(3);
    assert!(third.state.owner.as_ref().unwrap().announced.is_some());
    Comer::new(&safes, second.now(), &ALL, 2).come_back_to(&mut second, 4);
    settle(&mut second, &safes);
    // The device is gone: another change takes its place, of a generation above it.
    let below = Change { instead: true, ..change };
    assert_eq!(second.handle(Event::ChangeOwner(Box::new(below))), Err(WalletError::Outdated));
    let change = above(&safes, &second, (PASSPHRASE, OTHER));
    second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    assert!(!second.state.owner.as_ref().unwrap().is_behind() || second.state.owner.as_ref().unwrap().written() < N);
    while second.state.owner.as_ref().unwrap().changing.as_ref().is_some_and(|c| !c.is_announced()) {
        let action = second.session.actions(&second.state, second.now()).into_iter().next().unwrap();
        second.act(&action, &safes, Fault::None).unwrap();
    }
    // It was not gone, and what it says now comes too late.
    first.wait(second.now() - first.now());
    first.act(&commit, &safes, Fault::None).unwrap();
    assert_eq!(Comer::new(&safes, first.now(), &ALL, 5).look().unwrap().enrolment.generation, 1);
    settle(&mut second, &safes);
    let owner = second.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none() && owner.generation == 3 && !owner.is_behind());
    Comer { passphrase: OTHER, ..Comer::new(&safes, second.now(), &ALL, 6) }.come_back_to(&mut first, 6);
    settle(&mut first, &safes);
    let owner = first.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none() && owner.generation == 3 && owner.writes());
}

#[test]
fn what_a_stolen_wallet_announces_keeps_nobody_from_changing() {
    for far in [2, u32::MAX] {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut thief, _) = enrolled(store, &safes);
        let owner = thief.state.owner.as_mut().unwrap();
        owner.announced = Some(Announced { generation: far, id: EnrolmentId([6; 16]) });
        one_more(&mut thief, &safes, "Bait");
        let mut second = Comer::new(&safes, thief.now(), &ALL, 2).come_back(2);
        settle(&mut second, &safes);
        assert_eq!(second.state.owner.as_ref().unwrap().announced.is_some(), far == 2);
        let change = if far == 2 {
            above(&safes, &second, (PASSPHRASE, OTHER))
        } else {
            next(&safes, &second, &ALL, (PASSPHRASE, OTHER), &ALL, 3)
        };
        second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        settle(&mut second, &safes);
        let owner = second.state.owner.as_ref().unwrap();
        assert!(owner.changing.is_none() && owner.generation > 1 && !owner.is_behind(), "{far}");
    }
}

#[test]
fn a_device_does_not_come_back_by_what_its_change_has_taken_the_place_of() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &ALL, 5);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    while wallet.state.owner.as_ref().unwrap().generation == 1 {
        let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
        wallet.act(&action, &safes, Fault::None).unwrap();
    }
    // One does not answer: the others are too few for the new one, and have the old one still.
    let comer = Comer::new(&safes, wallet.now(), &[0, 1, 2, 3], 5);
    let known = comer.log_in();
    let credential = wallet.state.owner.as_ref().unwrap().credential.clone();
    let told = comer.told(&known, &credential);
    let mine = (credential, String::new());
    let (back, _) = come_back("alice-7kq4m2".into(), &name(), &known, mine, told, &[], &mut rng(5)).unwrap();
    assert_eq!(wallet.handle(Event::OwnerReturned(Box::new(back))), Err(WalletError::Outdated));
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().changing.is_none());
    old_is_over(&safes, wallet.now(), &ALL);
}

#[test]
fn a_safe_that_was_left_and_did_not_say_so_can_come_in_again() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let (mut wallet, _) = enrolled_at_first(store, &safes);
    let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &[1, 2, 3, 4, 5], 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    let left = safes.all[0].id();
    loop {
        let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
        let leave = action == Action::Owner(left, Errand::Leave);
        wallet.act(&action, &safes, if leave { Fault::LostAfter } else { Fault::None }).unwrap();
        if leave {
            break;
        }
    }
    while wallet.state.owner.as_ref().unwrap().changing.is_some() {
        let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
        wallet.act(&action, &safes, Fault::None).unwrap();
    }
    let change = next(&safes, &wallet, &[1, 2, 3, 4, 5], (NEW, OTHER), &ALL, 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut wallet, &safes);
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    let sites: Vec<_> = owner.changing.iter().flat_map(|c| &c.sites).map(|site| (site.step, site.back)).collect();
    assert!(owner.changing.is_none(), "{sites:?} {:?}", wallet.session.owner_refusals);
    assert_eq!((owner.generation, owner.written()), (3, N));
}

#[test]
fn what_the_old_root_has_told_of_is_renewed_and_counted_until_it_is() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, values) = changing(store, &safes, &ALL);
    wallet.wait(10);
    settle(&mut wallet, &safes);
    assert_eq!(exposed(&wallet.state).count(), 2);
    // What is backed up from now on nobody knows who has the old root.
    let own = one_more(&mut wallet, &safes, "Own");
    assert_eq!(exposed(&wallet.state).count(), 2);
    // A new device counts on.
    let back = back(&safes, wallet.now(), &[0, 1, 2], 5).unwrap();
    assert_eq!(exposed(&back.state).count(), 2);
    let before: Vec<_> = values.iter().map(|value| wallet.backup_of(value)).collect();
    wallet.handle(Event::RenewExposed).unwrap();
    settle(&mut wallet, &safes);
    settle(&mut wallet, &safes);
    assert_eq!(exposed(&wallet.state).count(), 0);
    for (value, before) in values.iter().zip(before) {
        assert!(wallet.backup_of(value) != before && !wallet.state.backups.contains_key(&before));
    }
    let back = changing::back(&safes, wallet.now(), &[1, 2, 3], 6).unwrap();
    assert_eq!((exposed(&back.state).count(), back.state.values.contains_key(&own)), (0, true));
}

#[test]
fn after_a_device_was_lost_all_of_it_is_renewed_unasked() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, value) = enrolled_at_first(store, &safes);
    let before = wallet.backup_of(&value);
    let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &ALL, 3);
    wallet.handle(Event::ChangeOwner(Box::new(Change { renews: true, ..change }))).unwrap();
    settle(&mut wallet, &safes);
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().changing.is_none());
    assert_eq!(exposed(&wallet.state).count(), 0);
    assert!(wallet.backup_of(&value) != before && !wallet.state.backups.contains_key(&before));
}

/// The lost device had announced a change of its own, which whoever has it could end: the one that shuts it out takes its place, and all is renewed.
#[test]
fn a_device_is_shut_out_that_was_lost_in_the_middle_of_a_change() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut lost, values) = changing(store, &safes, &ALL);
    let commits = |action: &Action| matches!(action, Action::Owner(_, Errand::Change(Step::Proven)));
    run_without(&mut lost, &safes, commits);
    assert!(lost.state.owner.as_ref().unwrap().changing.as_ref().unwrap().is_announced());
    let mut second = Comer::new(&safes, lost.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    let before: Vec<_> = values.iter().map(|value| second.backup_of(value)).collect();
    let change = above(&safes, &second, (PASSPHRASE, OTHER));
    second.handle(Event::ChangeOwner(Box::new(Change { renews: true, ..change }))).unwrap();
    settle(&mut second, &safes);
    settle(&mut second, &safes);
    // Whoever found it goes on, and comes too late.
    lost.wait(second.now().saturating_sub(lost.now()));
    settle(&mut lost, &safes);
    let owner = second.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none() && owner.generation == 3 && !owner.is_behind());
    assert_eq!(exposed(&second.state).count(), 0);
    for (value, before) in values.iter().zip(before) {
        assert!(second.backup_of(value) != before && !second.state.backups.contains_key(&before));
    }
    assert_eq!(lost.state.owner.as_ref().unwrap().generation, 1);
    for passphrase in [PASSPHRASE, NEW] {
        let comer = Comer { passphrase, ..Comer::new(&safes, second.now(), &ALL, 9) };
        assert!(matches!(comer.try_in(), Err(LoginError::WrongPassphrase)));
    }
}

/// At one of its safes what the lost device had begun is in force: that one lets the owner do nothing by the passphrase that he has, and is left out.
#[test]
fn a_device_is_shut_out_although_a_safe_has_what_it_had_begun() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut lost, _) = changing(store, &safes, &ALL);
    let first = safes.all[0].id();
    run_without(
        &mut lost,
        &safes,
        |action| matches!(action, Action::Owner(safe, Errand::Change(Step::Proven)) if *safe != first),
    );
    let comer = Comer::new(&safes, lost.now(), &ALL, 2);
    let mut second = comer.come_back(2);
    settle(&mut second, &safes);
    assert_eq!(second.state.owner.as_ref().unwrap().generation, 1);
    let known = comer.log_in();
    let accounts: Vec<_> = ALL.iter().map(|at| (safes.all[*at].id(), comer.act(&known, *at, Act::Show))).collect();
    let accounts = accounts.iter().filter_map(|(id, outcome)| match outcome {
        Outcome::Account(account) => Some((id, account)),
        _ => None,
    });
    assert_eq!(taken(known.agreed(), accounts), [first]);
    let change = next_of(ABOVE, &safes, &second, &ALL, (PASSPHRASE, OTHER), &[1, 2, 3, 4], 3);
    second.handle(Event::ChangeOwner(Box::new(Change { instead: true, renews: true, ..change }))).unwrap();
    settle(&mut second, &safes);
    settle(&mut second, &safes);
    let owner = second.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none() && owner.generation == 3 && !owner.is_behind());
    assert!(owner.seat(&first).is_none() && owner.leaving.is_empty());
    let comer = Comer { passphrase: OTHER, ..Comer::new(&safes, second.now(), &[0, 1, 3, 4], 9) };
    assert!(comer.come_back(9).state.owner.as_ref().unwrap().generation == 3);
}

/// Nobody has signed that a safe does not know its owner: whoever says so on the way costs one more round.
#[test]
fn a_change_goes_on_although_somebody_says_that_a_safe_does_not_know_its_owner() {
    for step in [Step::Shared, Step::Answered, Step::Current] {
        let (store, safes) = (leak(), Safes::new(N));
        let (mut wallet, _) = changing(store, &safes, &ALL);
        let is_due = |wallet: &Wallet<'_>| {
            let all = wallet.session.actions(&wallet.state, wallet.now());
            all.into_iter().find(|action| matches!(action, Action::Owner(_, Errand::Change(due)) if *due == step))
        };
        let due = loop {
            if let Some(due) = is_due(&wallet) {
                break due;
            }
            let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
            wallet.act(&action, &safes, Fault::None).unwrap();
        };
        let mut then = wallet.begin(&due).unwrap();
        while let Then::Send(sending) = then {
            let heard = safes.send(&sending.request, sending.body.clone(), wallet.now());
            let denied =
                Answer { status: 403, body: Vec::new(), problem: Some((Problem::NotOwner.type_uri(), wallet.now())) };
            let answer = if sending.request.method == "POST" { Some(denied) } else { heard };
            then = wallet.answered(&sending, answer).unwrap();
        }
        settle(&mut wallet, &safes);
        let owner = wallet.state.owner.as_ref().unwrap();
        assert!(owner.changing.is_none() && owner.generation == 2 && !owner.is_behind(), "{step:?}");
    }
}

/// Three of five safes take their leave, and then the device is lost: what is bound to its owner there is nowhere else.
#[test]
fn what_is_bound_where_its_owner_has_left_comes_back_on_a_new_device() {
    let (store, safes) = (leak(), Safes::new(N + 3));
    let (mut wallet, _) = enrolled_at_first(store, &safes);
    let value = wallet.add("Guarded", b"for me only");
    let plan = guarded(&wallet);
    let backup = wallet.back_up_as(&[value], plan, None, true).unwrap();
    settle(&mut wallet, &safes);
    let to = [0, 1, 5, 6, 7];
    let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &to, 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    // One of them says that it has forgotten its owner, and that is lost.
    let mut lost = false;
    while let Some(action) = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next() {
        let leave = matches!(action, Action::Owner(_, Errand::Leave)) && !lost;
        wallet.act(&action, &safes, if leave { Fault::LostAfter } else { Fault::None }).unwrap();
        lost |= leave;
    }
    wallet.wait(61);
    settle(&mut wallet, &safes);
    let left = |wallet: &Wallet<'_>| -> Vec<Option<u32>> {
        wallet.state.owner.as_ref().unwrap().left.iter().map(|left| left.number).collect()
    };
    assert!(lost && wallet.state.owner.as_ref().unwrap().leaving.is_empty());
    assert_eq!(left(&wallet), [Some(2); 3]);
    let mut back = Comer { passphrase: NEW, ..Comer::new(&safes, wallet.now(), &to, 2) }.come_back(2);
    back.wait(wallet.now() - back.now());
    back.handle(Event::Recover(backup, Vec::new())).unwrap();
    settle(&mut back, &safes);
    assert_eq!(back.content(&value).as_deref(), Some(&b"for me only"[..]));
    // Nothing is left behind when it is let go.
    back.handle(Event::Release(backup)).unwrap();
    settle(&mut back, &safes);
    settle(&mut back, &safes);
    assert!(!back.state.backups.contains_key(&backup));
    // One of them is to bring its owner back again; it knows this device by itself then, and by nothing that others have.
    let again = safes.all[2].id();
    let change = next(&safes, &back, &to, (NEW, OTHER), &[0, 1, 2, 5, 6], 3);
    back.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut back, &safes);
    settle(&mut back, &safes);
    let owner = back.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none(), "{:?}", back.session.owner_refusals);
    let seat = owner.seat(&again).unwrap();
    assert!(seat.number.is_some() && owner.left.iter().all(|left| left.safe != again));
    let comer = Comer { passphrase: OTHER, ..Comer::new(&safes, back.now(), &[0, 2, 6], 3) };
    let listed = comer.listed();
    assert_eq!(listed[1].0, 2, "the wallet that was lost, and this one");
    comer.come_back(3);
}

/// A safe that was left joins again, on a device that it knows only by what all devices share; wherever it is cut off, and its owner comes back on that device, it comes to its end.
#[test]
fn a_safe_that_was_left_joins_again_wherever_its_owner_comes_back_in_between() {
    for stop in 0..4 {
        let (store, safes) = (leak(), Safes::new(N + 1));
        let (mut wallet, _) = enrolled_at_first(store, &safes);
        let (left, to) = (safes.all[0].id(), [1, 2, 3, 4, 5]);
        let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &to, 3);
        wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        settle(&mut wallet, &safes);
        let comer = |passphrase, at: &[usize], seed| Comer { passphrase, ..Comer::new(&safes, wallet.now(), at, seed) };
        let (mut back, again) = (comer(NEW, &to, 2).come_back(2), comer(OTHER, &ALL[1..], 3));
        settle(&mut back, &safes);
        let change = next(&safes, &back, &to, (NEW, OTHER), &ALL, 3);
        back.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        let step = |wallet: &Wallet<'_>| {
            wallet.state.owner.as_ref().unwrap().changing.as_ref().unwrap().site(&left).unwrap().step
        };
        let held = [Step::Proven, Step::Committed, Step::Answered, Step::Current][stop];
        // The others go on without it from here.
        let mut cut = false;
        loop {
            cut |= step(&back) >= held;
            let there = |action: &Action| matches!(action, Action::Owner(safe, _) if *safe == left);
            let actions = back.session.actions(&back.state, back.now());
            let Some(action) = actions.iter().find(|action| !cut || !there(action)).cloned() else { break };
            // What it has done last was done, and nobody has heard so.
            cut |= action == Action::Owner(left, Errand::Change(Step::Answered));
            back.act(&action, &safes, if cut && there(&action) { Fault::LostAfter } else { Fault::None }).unwrap();
        }
        again.come_back_to(&mut back, 3);
        for _ in 0..3 {
            settle(&mut back, &safes);
            back.session.retry();
        }
        let owner = back.state.owner.as_ref().unwrap();
        assert!(owner.changing.is_none(), "{held:?}: {:?}", back.session.owner_refusals);
        assert!(owner.seat(&left).unwrap().number.is_some(), "{held:?}");
        assert!(owner.left.iter().all(|other| other.safe != left), "{held:?}");
        let listed = Comer { passphrase: OTHER, ..Comer::new(&safes, back.now(), &ALL, 4) }.listed();
        assert_eq!(listed[0].0, 2, "{held:?}: the first wallet and this one, and nothing that all share");
    }
}

/// Each change is a turn of its own, and so is each coming back: a safe that was left hears of it before it lets go.
#[test]
fn what_is_bound_where_its_owner_has_left_is_let_go_in_a_later_turn() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let (mut wallet, _) = enrolled_at_first(store, &safes);
    let plan = guarded(&wallet);
    let [first, second] = ["First", "Second"].map(|title| {
        let value = wallet.add(title, b"for me only");
        let backup = wallet.back_up_as(&[value], plan.clone(), None, false).unwrap();
        settle(&mut wallet, &safes);
        backup
    });
    let to = [1, 2, 3, 4, 5];
    for phrases in [(PASSPHRASE, NEW), (NEW, OTHER)] {
        let change = next(&safes, &wallet, &to, phrases, &to, 3);
        wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
        settle(&mut wallet, &safes);
    }
    let let_go = |wallet: &mut Wallet<'static>, backup: BackupId| {
        wallet.handle(Event::Release(backup)).unwrap();
        settle(wallet, &safes);
        settle(wallet, &safes);
        assert!(!wallet.state.backups.contains_key(&backup), "{:?}", wallet.session.owner_refusals);
    };
    let_go(&mut wallet, first);
    // Another device has had its turn in between.
    let comer = |seed| Comer { passphrase: OTHER, ..Comer::new(&safes, wallet.now(), &to, seed) };
    let (two, three) = (comer(2), comer(3));
    settle(&mut two.come_back(2), &safes);
    three.come_back_to(&mut wallet, 3);
    let_go(&mut wallet, second);
}

#[test]
fn what_is_bound_stays_with_its_owner_when_he_leaves_its_safe() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let (mut wallet, _) = enrolled_at_first(store, &safes);
    let value = wallet.add("Guarded", b"for me only");
    let plan = guarded(&wallet);
    let backup = wallet.back_up_as(&[value], plan, None, true).unwrap();
    settle(&mut wallet, &safes);
    assert_eq!(state_of(&wallet, value), ("moved", None));
    let change = next(&safes, &wallet, &ALL, (PASSPHRASE, NEW), &[1, 2, 3, 4, 5], 3);
    wallet.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().leaving.is_empty());
    // The safe that was left takes part in it still, and its part goes to the one in its place.
    let (from, to) = (safes.all[0].id(), safes.all[5].id());
    wallet.handle(Event::Retire(from, to)).unwrap();
    settle(&mut wallet, &safes);
    settle(&mut wallet, &safes);
    let next = wallet.backup_of(&value);
    assert!(next != backup && !wallet.state.backups.contains_key(&backup));
    assert!(!wallet.state.backups[&next].plan.safes().contains(&&from));
    wallet.handle(Event::Recover(next, Vec::new())).unwrap();
    settle(&mut wallet, &safes);
    assert_eq!(wallet.content(&value).as_deref(), Some(&b"for me only"[..]));
    wallet.handle(Event::RemoveSafe(from)).unwrap();
    assert!(wallet.state.owner.as_ref().unwrap().former.is_empty());
    assert!(
        wallet.session.actions(&wallet.state, wallet.now()).iter().all(|action| !matches!(action, Action::Owner(..)))
    );
}

/// Until a safe that joins has opened an account.
fn run_until_joined(wallet: &mut Wallet<'_>, safes: &Safes, safe: &SafeId) {
    let joins = |wallet: &Wallet<'_>| {
        let owner = wallet.state.owner.as_ref().unwrap();
        owner.changing.as_ref().unwrap().joining.iter().any(|seat| seat.safe == *safe && seat.number.is_some())
    };
    while !joins(wallet) {
        let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
        wallet.act(&action, safes, Fault::None).unwrap();
    }
}

fn shown(wallet: &Wallet<'_>) -> ChangeView {
    draw(&wallet.state, &wallet.session, wallet.now(), true).owner.unwrap().change.unwrap()
}

/// What the page says of a safe of the next enrolment.
fn said_of(wallet: &Wallet<'_>, safe: &SafeId) -> (&'static str, Option<String>) {
    let seat = shown(wallet).seats.into_iter().find(|seat| seat.safe_id == safe.to_string()).unwrap();
    (seat.step, seat.trouble)
}

/// A device begins a change and is lost: what it has opened at a new safe does not keep its owner from it for ever.
#[test]
fn a_safe_that_a_lost_device_was_to_take_up_is_free_after_a_week() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let to = [0, 1, 2, 3, 5];
    let (mut lost, _) = changing(store, &safes, &to);
    let safe = safes.all[5].id();
    run_until_joined(&mut lost, &safes, &safe);
    let mut second = Comer::new(&safes, lost.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    second.trust(&safes);
    let change = next(&safes, &second, &ALL, (PASSPHRASE, NEW), &to, 3);
    second.handle(Event::ChangeOwner(Box::new(change))).unwrap();
    settle(&mut second, &safes);
    let (_, trouble) = said_of(&second, &safe);
    assert!(trouble.is_some_and(|text| text.contains("was opened under your name by another device")));
    assert!(shown(&second).may_cancel);
    second.wait(UNUSED_SPAN);
    second.session.retry();
    settle(&mut second, &safes);
    assert_changed(&second, &safe);
    Comer { passphrase: NEW, ..Comer::new(&safes, second.now(), &[2, 3, 5], 3) }.come_back(3);
}

fn assert_changed(wallet: &Wallet<'_>, safe: &SafeId) {
    let owner = wallet.state.owner.as_ref().unwrap();
    assert!(owner.changing.is_none() && owner.seat(safe).is_some());
    assert_eq!(owner.generation, 2);
}

#[test]
fn a_safe_that_joins_and_has_another_turn_is_asked_once() {
    let (store, safes) = (leak(), Safes::new(N + 1));
    let (mut wallet, _) = changing(store, &safes, &[0, 1, 2, 3, 5]);
    let safe = safes.all[5].id();
    run_until_joined(&mut wallet, &safes, &safe);
    // One that nobody else has heard of: whoever it was did not come that far.
    let owner = wallet.state.owner.clone().unwrap();
    let seat = owner.changing.as_ref().unwrap().joining[0].clone();
    let channel = ChannelKey::of_credential(seat.number.unwrap(), owner.key_at(&safe));
    let turn = Epoch { counter: owner.epoch.counter + 3, ..owner.epoch };
    let comer = Comer::new(&safes, wallet.now(), &ALL, 4);
    let promised = Visit::new(&mut comer.door(5)).act(&name().account(&safe), &channel, &[Act::Promise(turn)]);
    assert_eq!(promised, [Outcome::Promised(None)]);
    wallet.handle(Event::OwnerSuperseded(safe, owner.epoch)).unwrap();
    let asks = |wallet: &Wallet<'_>| {
        wallet.session.actions(&wallet.state, wallet.now()).contains(&Action::Owner(safe, Errand::Ask))
    };
    assert!(asks(&wallet));
    wallet.act(&Action::Owner(safe, Errand::Ask), &safes, Fault::None).unwrap();
    assert!(!asks(&wallet), "it would be asked again at once, and without end");
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().writes(), "the turn is this device's at all others");
    assert!(said_of(&wallet, &safe).0.contains("come back here once more"));
    // Nobody asks that safe on the way back: the turn is above what it has said.
    comer.come_back_to(&mut wallet, 4);
    settle(&mut wallet, &safes);
    assert_changed(&wallet, &safe);
}
