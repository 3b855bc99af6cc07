//! Devices of one owner that do not know of each other, and a device that does not get to storing what it heard.

use protocol::ids::DepositId;

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
