//! Devices of one owner that do not know of each other, and a device that does not get to storing what it heard.

use protocol::{
    bundle::ValueMeta,
    ids::{DepositId, EditionId},
};

use wallet_wasm::upkeep::AUDIT_SPAN;

use super::*;

const ALL: [usize; N] = [0, 1, 2, 3, 4];

/// What safes hold is what a wallet has certificates for.
fn assert_nothing_else(wallet: &Wallet<'static>, safes: &Safes) {
    let deposits = wallet.state.backups.values().flat_map(|backup| &backup.deposits);
    let known: BTreeSet<DepositId> = deposits.map(|deposit| deposit.id).collect();
    let others =
        |safe: &MemorySafe| safe.records().into_keys().filter(|id| !known.contains(id) && safe.holds(id)).count();
    assert_eq!(safes.all.iter().map(others).sum::<usize>(), 0, "nobody lets it go");
}

#[test]
fn what_two_devices_make_of_one_value_at_once_is_let_go_but_for_one() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, value) = enrolled(store, &safes);
    let old = first.backup_of(&value);
    settle(&mut first, &safes);
    let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    second.handle(Event::Recover(old, Vec::new())).unwrap();
    settle(&mut second, &safes);
    // Neither knows of what the other one makes.
    let plan = first.state.backups[&old].plan.clone();
    let (mine, theirs) = (BackupId([7; 16]), BackupId([8; 16]));
    for (wallet, backup) in [(&mut first, mine), (&mut second, theirs)] {
        let next = Next { backup, plan: plan.clone(), words: None };
        wallet.handle(Event::Renew(old, next)).unwrap();
        wallet.wait(10);
        settle(wallet, &safes);
    }
    assert_eq!((first.backup_of(&value), second.backup_of(&value)), (mine, theirs));
    Comer::new(&safes, second.now(), &ALL, 3).come_back_to(&mut first, 3);
    first.wait(second.now() - first.now().min(second.now()));
    settle(&mut first, &safes);
    assert_eq!(first.backup_of(&value), theirs);
    assert_nothing_else(&first, &safes);
}

#[test]
fn who_comes_back_in_his_own_turn_does_not_have_what_he_let_go() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let value = one_more(&mut wallet, &safes, "Let go");
    wallet.handle(Event::Release(wallet.backup_of(&value))).unwrap();
    // The book that says so is not written yet.
    let quiet = |action: &Action| !matches!(action, Action::Owner(_, Errand::Write));
    while let Some(action) = wallet.session.actions(&wallet.state, wallet.now()).into_iter().find(quiet) {
        wallet.act(&action, &safes, Fault::None).unwrap();
    }
    assert_eq!(wallet.state.values[&value].backup, None);
    Comer::new(&safes, wallet.now(), &ALL, 2).come_back_to(&mut wallet, 2);
    assert_eq!(wallet.state.values[&value].backup, None, "no safe has it any more");
    settle(&mut wallet, &safes);
    assert_eq!((state_of(&wallet, value), written(&wallet)), (("local-only", None), N));
}

#[test]
fn a_trial_that_could_not_be_stored_is_made_again_however_often() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = begun(store, &safes);
    let at = |wallet: &Wallet<'_>| {
        let owner = wallet.state.owner.as_ref().unwrap();
        (owner.seats[0].safe, owner.seats[0].reached)
    };
    let (safe, _) = at(&wallet);
    let index = safes.all.iter().position(|one| one.id() == safe).unwrap();
    let mut opened = safes.all[index].snapshot();
    while at(&wallet).1 != Reached::Staged {
        if at(&wallet).1 == Reached::Opened {
            opened = safes.all[index].snapshot();
        }
        let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
        wallet.act(&action, &safes, Fault::None).unwrap();
    }
    safes.all[index].restore(opened);
    // The disk is full: what comes of it is forgotten with each of these.
    for seed in 0..30 {
        let mut again = Wallet::open(Box::leak(Box::new(store.clone())), 10 + seed);
        again.set_now(wallet.now());
        again.act(&Action::Owner(safe, Errand::Evaluate), &safes, Fault::None).unwrap();
    }
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().writes(), "{:?}", wallet.session.owner_refusals);
}

/// Two devices that both have the value, and its backup.
fn two_devices(safes: &Safes) -> (Wallet<'static>, Wallet<'static>, ValueId) {
    let (mut first, value) = enrolled(leak(), safes);
    settle(&mut first, safes);
    let mut second = Comer::new(safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, safes);
    second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
    settle(&mut second, safes);
    (first, second, value)
}

/// A change is backed up, as one that was made a while later than whatever was before.
fn change(wallet: &mut Wallet<'static>, safes: &Safes, value: ValueId, content: &[u8], next: u8) {
    wallet.wait(10);
    wallet.change(&value, content).unwrap();
    back_up(wallet, safes, value, next);
}

fn back_up(wallet: &mut Wallet<'static>, safes: &Safes, value: ValueId, next: u8) {
    let old = wallet.backup_of(&value);
    let plan = wallet.state.backups[&old].plan.clone();
    wallet.handle(Event::Renew(old, Next { backup: BackupId([next; 16]), plan, words: None })).unwrap();
    wallet.wait(10);
    settle(wallet, safes);
    assert_eq!(wallet.backup_of(&value), BackupId([next; 16]));
}

fn return_to(wallet: &mut Wallet<'static>, safes: &Safes, now: Seconds, seed: u64) {
    wallet.wait(now.saturating_sub(wallet.now()));
    Comer::new(safes, wallet.now(), &ALL, seed).come_back_to(wallet, seed);
    settle(wallet, safes);
}

/// All that a wallet has here, by title.
fn contents(wallet: &Wallet<'_>) -> Vec<(String, Vec<u8>)> {
    let all = wallet.state.values.values();
    let mut all: Vec<_> = all.filter_map(|v| Some((v.meta.title.clone(), wallet.content(&v.meta.id)?))).collect();
    all.sort();
    all
}

const CHANGED: &[u8] = b"row 8, seat 11";
const CHANGED_TOO: &[u8] = b"row 9, seat 10";

#[test]
fn what_was_changed_on_one_device_is_so_on_another_one_that_has_it_too() {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = two_devices(&safes);
    // The second one's turn is over when its owner comes back on the first one.
    return_to(&mut first, &safes, second.now(), 3);
    change(&mut first, &safes, value, CHANGED, 7);
    assert_eq!(second.content(&value).as_deref(), Some(TICKET));
    return_to(&mut second, &safes, first.now(), 4);
    assert_eq!(second.content(&value).as_deref(), Some(CHANGED));
    assert!(!second.state.is_changed(&second.state.values[&value]));
    // And what is made of it there is the change, too.
    back_up(&mut second, &safes, value, 8);
    return_to(&mut first, &safes, second.now(), 5);
    assert_eq!((contents(&first), contents(&second)), (contents(&second), vec![("Ticket".into(), CHANGED.into())]));
}

#[test]
fn a_change_is_not_undone_by_a_device_that_does_not_know_of_it() {
    for vacates in [false, true] {
        let safes = Safes::new(N);
        let (mut first, mut second, value) = two_devices(&safes);
        return_to(&mut first, &safes, second.now(), 3);
        change(&mut first, &safes, value, CHANGED, 7);
        if vacates {
            first.handle(Event::Move(first.backup_of(&value))).unwrap();
            settle(&mut first, &safes);
            assert_eq!(first.content(&value), None);
        }
        // Later, and made of what was before.
        second.wait(first.now() + 100 - second.now());
        back_up(&mut second, &safes, value, 8);
        return_to(&mut second, &safes, first.now(), 4);
        assert_eq!(second.content(&value).as_deref(), Some(CHANGED));
        return_to(&mut first, &safes, second.now(), 5);
        let kept = if vacates { None } else { Some(CHANGED) };
        assert_eq!((first.content(&value).as_deref(), first.backup_of(&value)), (kept, second.backup_of(&value)));
        assert_nothing_else(&second, &safes);
    }
}

#[test]
fn what_was_changed_on_two_devices_is_kept_as_both() {
    // Whichever was backed up, and whichever is the later one.
    for (backed_up, vacates) in [(false, false), (true, false), (true, true)] {
        let safes = Safes::new(N);
        let (mut first, mut second, value) = two_devices(&safes);
        return_to(&mut first, &safes, second.now(), 3);
        change(&mut first, &safes, value, CHANGED, 7);
        if vacates {
            first.handle(Event::Move(first.backup_of(&value))).unwrap();
            settle(&mut first, &safes);
        }
        second.wait(first.now() + 100 - second.now());
        if backed_up {
            change(&mut second, &safes, value, CHANGED_TOO, 8);
        } else {
            second.change(&value, CHANGED_TOO).unwrap();
        }
        return_to(&mut second, &safes, first.now(), 4);
        let both =
            vec![("Ticket".to_owned(), CHANGED.to_vec()), ("Ticket, as changed here".to_owned(), CHANGED_TOO.to_vec())];
        assert_eq!(contents(&second), both, "{backed_up} {vacates}");
        let activity = second.state.activity.iter().any(|note| note.text.contains("and on another one"));
        assert!(activity, "nobody says so");
        // What is a value of its own is backed up as one, and comes back anywhere.
        let apart = second.state.values.values().find(|v| v.backup.is_none()).unwrap().meta.id;
        let plan = second.state.backups[&second.backup_of(&value)].plan.clone();
        second.back_up_as(&[apart], plan, None, false).unwrap();
        settle(&mut second, &safes);
        return_to(&mut first, &safes, second.now(), 5);
        for id in [value, apart] {
            if first.content(&id).is_none() {
                first.handle(Event::Recover(first.backup_of(&id), Vec::new())).unwrap();
                settle(&mut first, &safes);
            }
        }
        assert_eq!(contents(&first), both, "{backed_up} {vacates}");
        assert_nothing_else(&second, &safes);
    }
}

/// Comes back, and nothing is asked of the safes yet.
fn return_only(wallet: &mut Wallet<'static>, safes: &Safes, now: Seconds, seed: u64) {
    wallet.wait(now.saturating_sub(wallet.now()));
    Comer::new(safes, wallet.now(), &ALL, seed).come_back_to(wallet, seed);
}

fn both(title: &str, kept: &[u8]) -> Vec<(String, Vec<u8>)> {
    vec![("Ticket".to_owned(), CHANGED.to_vec()), (title.to_owned(), kept.to_vec())]
}

const BEFORE: &str = "Ticket, as it was here";

/// The first device has changed the value, and the second one has heard of it; what it has stays until that comes.
fn with_kept(safes: &Safes) -> (Wallet<'static>, Wallet<'static>, ValueId) {
    let (mut first, mut second, value) = two_devices(safes);
    return_to(&mut first, safes, second.now(), 3);
    change(&mut first, safes, value, CHANGED, 7);
    return_only(&mut second, safes, first.now(), 4);
    (first, second, value)
}

/// The only value that is on a device.
fn kept_at(wallet: &Wallet<'_>) -> ValueId {
    let here: Vec<ValueId> = wallet.state.values.values().filter(|v| v.content.is_some()).map(|v| v.meta.id).collect();
    assert_eq!(here.len(), 1);
    here[0]
}

#[test]
fn what_a_device_had_stays_until_what_was_changed_elsewhere_is_here() {
    let safes = Safes::new(N);
    let (_first, mut second, _) = with_kept(&safes);
    assert_eq!(contents(&second), [(BEFORE.to_owned(), TICKET.to_vec())]);
    // Whoever looks into it does nothing with it.
    let kept = kept_at(&second);
    second.handle(Event::Used(kept)).unwrap();
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [("Ticket".to_owned(), CHANGED.to_vec())]);
    assert!(!second.state.values.contains_key(&kept));
    assert_eq!(second.state.blobs().len(), 1, "nothing is left of it");
}

#[test]
fn who_comes_back_again_before_a_change_is_here_has_the_next_one() {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = with_kept(&safes);
    return_to(&mut first, &safes, second.now(), 5);
    change(&mut first, &safes, value, CHANGED_TOO, 8);
    return_to(&mut second, &safes, first.now(), 6);
    assert_eq!(contents(&second), [("Ticket".to_owned(), CHANGED_TOO.to_vec())]);
}

#[test]
fn what_was_moved_out_on_two_devices_after_a_change_on_each_is_told() {
    let safes = Safes::new(N);
    let (mut first, value) = enrolled(leak(), &safes);
    // It was given to the second one by a file, which has moved its change out before it heard of any book.
    let mut second = Wallet::create(leak(), 9);
    second.trust(&safes);
    second.handle(Event::Import(book_of(&first.state, &[value], first.now()).unwrap())).unwrap();
    second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
    settle(&mut second, &safes);
    change(&mut first, &safes, value, CHANGED, 7);
    second.wait(first.now() + 100 - second.now());
    change(&mut second, &safes, value, CHANGED_TOO, 8);
    for wallet in [&mut first, &mut second] {
        wallet.handle(Event::Move(wallet.backup_of(&value))).unwrap();
        settle(wallet, &safes);
        assert_eq!(wallet.content(&value), None);
    }
    let told =
        |wallet: &Wallet<'_>| wallet.state.activity.iter().any(|note| note.text.contains("both have moved it out"));
    return_to(&mut second, &safes, first.now(), 4);
    assert!(told(&second) && second.backup_of(&value) == BackupId([8; 16]));
    // As it says.
    second.handle(Event::Recover(BackupId([8; 16]), Vec::new())).unwrap();
    settle(&mut second, &safes);
    return_to(&mut first, &safes, second.now(), 5);
    assert!(told(&first));
    first.handle(Event::Recover(BackupId([7; 16]), Vec::new())).unwrap();
    settle(&mut first, &safes);
    return_to(&mut second, &safes, first.now(), 6);
    assert_eq!(contents(&second), both("Ticket, as changed here", CHANGED_TOO));
}

#[test]
fn what_a_device_had_stays_if_what_was_changed_elsewhere_does_not_come() {
    let safes = Safes::new(N);
    let (_first, mut second, _) = with_kept(&safes);
    second.handle(Event::RecoveryFailed(BackupId([7; 16]), "garbage".to_owned())).unwrap();
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [(BEFORE.to_owned(), TICKET.to_vec())]);
    // Or it comes after all: then what was in its place goes, unless its owner has done something with it.
    let kept = kept_at(&second);
    second.change(&kept, CHANGED_TOO).unwrap();
    second.handle(Event::Recover(BackupId([7; 16]), Vec::new())).unwrap();
    settle(&mut second, &safes);
    assert_eq!(contents(&second), both(BEFORE, CHANGED_TOO));
}

#[test]
fn what_a_device_had_stays_while_what_was_changed_elsewhere_takes_words() {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = two_devices(&safes);
    return_to(&mut first, &safes, second.now(), 3);
    first.wait(10);
    first.change(&value, CHANGED).unwrap();
    let words = Secret::from_bytes([5; 32]);
    let plan = Plan::seal(guarded(&first), vec![Plan::place(Place::Memory)]).unwrap();
    let next = Next { backup: BackupId([7; 16]), plan, words: Some(words.clone()) };
    first.handle(Event::Renew(first.backup_of(&value), next)).unwrap();
    settle(&mut first, &safes);
    // The trial needs the words, too.
    first.session.recoveries.entry(BackupId([7; 16])).or_default().words = Some(words.clone());
    settle(&mut first, &safes);
    assert_eq!(first.backup_of(&value), BackupId([7; 16]));
    return_to(&mut second, &safes, first.now(), 4);
    assert_eq!(
        (second.backup_of(&value), contents(&second)),
        (BackupId([7; 16]), vec![(BEFORE.to_owned(), TICKET.to_vec())])
    );
    second.handle(Event::Recover(BackupId([7; 16]), Vec::new())).unwrap();
    second.session.recoveries.entry(BackupId([7; 16])).or_default().words = Some(words);
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [("Ticket".to_owned(), CHANGED.to_vec())]);
}

#[test]
fn going_back_to_what_was_is_a_change_on_all_devices() {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = two_devices(&safes);
    return_to(&mut first, &safes, second.now(), 3);
    change(&mut first, &safes, value, CHANGED, 7);
    return_to(&mut second, &safes, first.now(), 4);
    assert_eq!(second.content(&value).as_deref(), Some(CHANGED));
    return_to(&mut first, &safes, second.now(), 5);
    change(&mut first, &safes, value, TICKET, 8);
    return_to(&mut second, &safes, first.now(), 6);
    assert_eq!(contents(&second), [("Ticket".to_owned(), TICKET.to_vec())]);
    assert_eq!((second.backup_of(&value), state_of(&second, value).0), (BackupId([8; 16]), "protected"));
}

/// Of two contents that are too many changes apart a device keeps what it has made, unless an audit has shown that the safes let it go: whoever had that done knew of it.
fn sees_that_it_was_let_go(wallet: &mut Wallet<'static>, safes: &Safes, value: ValueId) {
    wallet.wait(AUDIT_SPAN);
    settle(wallet, safes);
    assert!(wallet.state.backups[&wallet.backup_of(&value)].deposits.iter().all(|deposit| deposit.fault.is_some()));
}

#[test]
fn a_device_that_has_only_the_name_follows_any_number_of_changes() {
    // Whether the second one has made a backup itself or not.
    for made_here in [false, true] {
        let safes = Safes::new(N);
        let (mut first, mut second, value) = two_devices(&safes);
        if made_here {
            change(&mut second, &safes, value, CHANGED, 7);
        }
        second.handle(Event::Move(second.backup_of(&value))).unwrap();
        settle(&mut second, &safes);
        assert_eq!(second.content(&value), None);
        return_to(&mut first, &safes, second.now(), 3);
        for number in 0..20_u8 {
            change(&mut first, &safes, value, &[b"row ", &[b'a' + number][..], b", seat 12"].concat(), 10 + number);
        }
        if made_here {
            sees_that_it_was_let_go(&mut second, &safes, value);
        }
        return_to(&mut second, &safes, first.now(), 4);
        assert_eq!(second.backup_of(&value), first.backup_of(&value), "{made_here}");
        second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
        settle(&mut second, &safes);
        assert_eq!(contents(&second), contents(&first));
    }
}

#[test]
fn who_goes_back_to_an_earlier_day_has_what_was_changed_by_then_where_it_was_not() {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = two_devices(&safes);
    return_to(&mut first, &safes, second.now(), 3);
    change(&mut first, &safes, value, CHANGED, 7);
    first.wait(86_400);
    settle(&mut first, &safes);
    // A thief lets go of it.
    let stolen = first.now();
    first.handle(Event::Release(first.backup_of(&value))).unwrap();
    settle(&mut first, &safes);
    first.handle(Event::RemoveValue(value)).unwrap();
    settle(&mut first, &safes);
    let past = Comer::new(&safes, first.now(), &ALL, 4).past();
    let to = past.iter().find(|past| past.from < stolen).unwrap().mark;
    second.wait(first.now() - second.now().min(first.now()));
    assert_eq!(second.content(&value).as_deref(), Some(TICKET));
    Comer::new(&safes, second.now(), &ALL, 5).go_back(&mut second, to, 5);
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [("Ticket".to_owned(), CHANGED.to_vec())]);
    assert_eq!((second.backup_of(&value), state_of(&second, value).0), (BackupId([7; 16]), "protected"));
}

/// Goes back to the newest head of before a time.
fn go_back_before(wallet: &mut Wallet<'static>, safes: &Safes, (now, time): (Seconds, Seconds), exactly: bool) {
    wallet.wait(now.saturating_sub(wallet.now()));
    let past = Comer::new(safes, wallet.now(), &ALL, 14).past();
    let to = past.iter().find(|past| past.from < time).unwrap().mark;
    Comer::new(safes, wallet.now(), &ALL, 15).go_back_to(wallet, to, exactly, 15);
}

/// A head stands for a day, and another one takes its place. When that was.
fn days_pass(wallet: &mut Wallet<'static>, safes: &Safes) -> Seconds {
    wallet.wait(86_400);
    settle(wallet, safes);
    let time = wallet.now();
    one_more(wallet, safes, "Another one");
    time
}

#[test]
fn who_goes_back_to_a_day_that_says_the_same_of_a_change_has_it_too() {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = two_devices(&safes);
    return_to(&mut first, &safes, second.now(), 3);
    change(&mut first, &safes, value, CHANGED, 7);
    let time = days_pass(&mut first, &safes);
    let meta = second.state.values[&value].meta.clone();
    second.handle(Event::ChangeValue(ValueMeta { title: "Opera".into(), ..meta }, None)).unwrap();
    go_back_before(&mut second, &safes, (first.now(), time), false);
    assert_eq!(contents(&second), [("Opera, as it was here".to_owned(), TICKET.to_vec())]);
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [("Opera".to_owned(), CHANGED.to_vec())]);
}

#[test]
fn who_goes_back_keeps_what_was_changed_here_since_however_often() {
    let safes = Safes::new(N);
    let (mut first, value) = enrolled(leak(), &safes);
    settle(&mut first, &safes);
    change(&mut first, &safes, value, CHANGED, 7);
    let time = days_pass(&mut first, &safes);
    for number in 0..20_u8 {
        first.change(&value, &[b"row ", &[b'a' + number][..], b", seat 12"].concat()).unwrap();
    }
    let before = contents(&first);
    let now = first.now();
    go_back_before(&mut first, &safes, (now, time), false);
    settle(&mut first, &safes);
    assert_eq!((contents(&first), first.backup_of(&value)), (before, BackupId([7; 16])));
    assert!(first.state.is_changed(&first.state.values[&value]));
}

#[test]
fn what_was_kept_and_had_a_backup_of_its_own_goes_with_no_change() {
    let safes = Safes::new(N);
    let (_, mut second, value) = with_kept(&safes);
    let kept = kept_at(&second);
    let plan = second.state.backups[&second.backup_of(&value)].plan.clone();
    second.back_up_as(&[kept], plan, None, false).unwrap();
    settle(&mut second, &safes);
    second.handle(Event::Release(second.backup_of(&kept))).unwrap();
    settle(&mut second, &safes);
    assert_eq!(second.state.values[&kept].backup, None);
    second.handle(Event::Move(second.backup_of(&value))).unwrap();
    settle(&mut second, &safes);
    second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
    settle(&mut second, &safes);
    assert_eq!(contents(&second), both(BEFORE, TICKET));
}

#[test]
fn what_was_kept_is_one_for_the_rules_once_its_owner_stops_what_was_to_come() {
    let safes = Safes::new(N);
    let (_, mut second, value) = with_kept(&safes);
    let kept = kept_at(&second);
    assert!(second.state.values[&kept].left_alone.is_some());
    second.handle(Event::Cancel(second.backup_of(&value))).unwrap();
    assert_eq!(second.state.values[&kept].left_alone, None);
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [(BEFORE.to_owned(), TICKET.to_vec())]);
    second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [("Ticket".to_owned(), CHANGED.to_vec())]);
}

#[test]
fn what_was_kept_goes_if_its_owner_goes_back_to_just_that() {
    // Whether what was to come is still coming, or was stopped.
    for stopped in [false, true] {
        goes_back_to_what_was_kept(stopped);
    }
}

fn goes_back_to_what_was_kept(stopped: bool) {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = two_devices(&safes);
    return_to(&mut first, &safes, second.now(), 3);
    change(&mut first, &safes, value, CHANGED, 7);
    let time = days_pass(&mut first, &safes);
    return_to(&mut second, &safes, first.now(), 4);
    return_to(&mut first, &safes, second.now(), 5);
    change(&mut first, &safes, value, CHANGED_TOO, 8);
    return_only(&mut second, &safes, first.now(), 6);
    assert_eq!(contents(&second), [(BEFORE.to_owned(), CHANGED.to_vec())]);
    if stopped {
        second.handle(Event::Cancel(second.backup_of(&value))).unwrap();
    }
    go_back_before(&mut second, &safes, (first.now(), time), true);
    settle(&mut second, &safes);
    if stopped {
        second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
        settle(&mut second, &safes);
    }
    assert_eq!(contents(&second), [("Ticket".to_owned(), CHANGED.to_vec())]);
}

#[test]
fn what_was_moved_out_before_there_was_an_owner_is_not_overtaken_by_any_number_of_changes() {
    let safes = Safes::new(N);
    let (mut first, value) = enrolled(leak(), &safes);
    let mut second = Wallet::create(leak(), 9);
    second.trust(&safes);
    second.handle(Event::Import(book_of(&first.state, &[value], first.now()).unwrap())).unwrap();
    second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
    settle(&mut second, &safes);
    change(&mut second, &safes, value, CHANGED_TOO, 8);
    second.handle(Event::Move(second.backup_of(&value))).unwrap();
    settle(&mut second, &safes);
    for number in 0..20_u8 {
        change(&mut first, &safes, value, &[b"row ", &[b'a' + number][..], b", seat 12"].concat(), 10 + number);
    }
    first.handle(Event::Move(first.backup_of(&value))).unwrap();
    settle(&mut first, &safes);
    // Nor when both have come back more than once, and each has read what the other one has.
    for seed in [4, 6, 8] {
        return_to(&mut second, &safes, first.now(), seed);
        assert_eq!(second.backup_of(&value), BackupId([8; 16]));
        return_to(&mut first, &safes, second.now() + 86_400, seed + 1);
    }
    second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [("Ticket".to_owned(), CHANGED_TOO.to_vec())]);
}

#[test]
fn what_is_coupled_follows_any_number_of_changes_of_one_of_both() {
    let safes = Safes::new(N);
    let (mut first, _) = enrolled(leak(), &safes);
    settle(&mut first, &safes);
    let (one, other) = (first.add("Ticket", TICKET), first.add("Seat", TICKET));
    let plan = guarded(&first);
    first.back_up_as(&[one, other], plan, None, false).unwrap();
    settle(&mut first, &safes);
    let mut second = Comer::new(&safes, first.now(), &ALL, 2).come_back(2);
    settle(&mut second, &safes);
    // It has made a backup itself, and both values are at the safes only.
    second.handle(Event::Recover(second.backup_of(&one), Vec::new())).unwrap();
    settle(&mut second, &safes);
    change(&mut second, &safes, one, CHANGED, 7);
    second.handle(Event::Move(second.backup_of(&one))).unwrap();
    settle(&mut second, &safes);
    return_to(&mut first, &safes, second.now(), 3);
    first.handle(Event::Recover(first.backup_of(&one), Vec::new())).unwrap();
    settle(&mut first, &safes);
    for number in 0..20_u8 {
        change(&mut first, &safes, one, &[b"row ", &[b'a' + number][..], b", seat 12"].concat(), 10 + number);
    }
    sees_that_it_was_let_go(&mut second, &safes, one);
    return_to(&mut second, &safes, first.now(), 4);
    assert_eq!(second.backup_of(&one), first.backup_of(&one));
    second.handle(Event::Recover(second.backup_of(&one), Vec::new())).unwrap();
    settle(&mut second, &safes);
    for id in [one, other] {
        assert_eq!(second.content(&id), first.content(&id));
    }
}

#[test]
fn what_is_just_coming_back_comes_as_it_is_now_also_where_it_was_made_here() {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = two_devices(&safes);
    change(&mut second, &safes, value, CHANGED, 7);
    second.handle(Event::Move(second.backup_of(&value))).unwrap();
    settle(&mut second, &safes);
    return_to(&mut first, &safes, second.now(), 3);
    assert_eq!(first.content(&value).as_deref(), Some(CHANGED));
    change(&mut first, &safes, value, CHANGED_TOO, 8);
    second.handle(Event::Recover(second.backup_of(&value), Vec::new())).unwrap();
    return_to(&mut second, &safes, first.now(), 4);
    assert_eq!(contents(&second), [("Ticket".to_owned(), CHANGED_TOO.to_vec())]);
}

#[test]
fn what_was_kept_stays_if_its_owner_goes_back_to_what_was_before_it() {
    let safes = Safes::new(N);
    let (mut first, mut second, value) = two_devices(&safes);
    return_to(&mut first, &safes, second.now(), 3);
    change(&mut first, &safes, value, CHANGED, 6);
    let time = days_pass(&mut first, &safes);
    change(&mut first, &safes, value, CHANGED_TOO, 7);
    return_to(&mut second, &safes, first.now(), 4);
    return_to(&mut first, &safes, second.now(), 5);
    change(&mut first, &safes, value, b"row 1, seat 1", 8);
    return_only(&mut second, &safes, first.now(), 6);
    assert_eq!(contents(&second), [(BEFORE.to_owned(), CHANGED_TOO.to_vec())]);
    let kept = kept_at(&second);
    go_back_before(&mut second, &safes, (first.now(), time), true);
    // Rules take care of it again, for nothing is to come that was made of it.
    let now = &second.state.values[&kept];
    assert_eq!((now.until, now.left_alone), (None, None));
    settle(&mut second, &safes);
    assert_eq!(contents(&second), [("Ticket".into(), CHANGED.to_vec()), (BEFORE.into(), CHANGED_TOO.to_vec())]);
}

#[test]
fn what_is_coupled_is_kept_as_both_once_it_is_here() {
    let safes = Safes::new(N);
    let (mut first, _) = enrolled(leak(), &safes);
    settle(&mut first, &safes);
    let (one, other) = (first.add("Ticket", TICKET), first.add("Seat", TICKET));
    first.change(&one, CHANGED).unwrap();
    let plan = guarded(&first);
    let coupled = first.back_up_as(&[one, other], plan, None, true).unwrap();
    settle(&mut first, &safes);
    // The second one has a change of the first value alone, and no owner so far.
    let mut second = Wallet::create(leak(), 9);
    let ids = second.trust(&safes);
    let edition = Some(vec![EditionId([1; 8])]);
    second.add_as("Ticket", CHANGED_TOO, |meta| (meta.id, meta.editions) = (one, edition));
    let own = second.back_up_as(&[one], Plan::spread(3, &ids).unwrap(), None, true).unwrap();
    settle(&mut second, &safes);
    assert_eq!([&first, &second].map(|wallet| wallet.content(&one)), [None, None]);
    return_to(&mut second, &safes, first.now(), 4);
    assert_eq!((second.backup_of(&one), second.backup_of(&other)), (own, coupled));
    second.handle(Event::Recover(own, Vec::new())).unwrap();
    settle(&mut second, &safes);
    return_to(&mut first, &safes, second.now(), 5);
    one_more(&mut first, &safes, "Another one");
    return_to(&mut second, &safes, first.now(), 6);
    assert_eq!(contents(&second), both("Ticket, as changed here", CHANGED_TOO));
    assert_eq!((second.backup_of(&one), second.backup_of(&other)), (coupled, coupled));
}
