//! Tickets: a value that may live only once goes to the safes and comes back to one wallet, whichever, and never to two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use protocol::{
    codec,
    deposit::DepositSecrets,
    ids::{BackupId, SafeId, ValueId},
    plan::Plan,
    register::{self, Accepted, MAX_REGISTER_LEN, Proposal, Register},
    sealed::Sealed,
};
use rand_core::Rng;
use tests::{
    fixture::rng,
    plug::{K, N, TICKET, holding, leak, state_of, with_plug_pulled},
    world::{Fault, Safes, Sending, Then, Wallet},
};
use wallet_wasm::{
    exchange::Answer,
    machine::{Event, WalletError, book_of},
    session::{Action, Errand},
    state::{Next, Operation, Stage},
    store::MemoryStore,
    view::draw,
};

fn spread(safes: &[SafeId]) -> Plan<SafeId> {
    Plan::spread(K, safes).unwrap()
}

/// A ticket whose registration has begun.
fn begin(store: &'static MemoryStore, safes: &Safes, moving: bool) -> (Wallet<'static>, ValueId, BackupId) {
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(safes);
    let value = wallet.add_unique("Ticket", TICKET);
    let backup = wallet.back_up_as(&[value], spread(&ids), None, moving).unwrap();
    (wallet, value, backup)
}

fn moved(store: &'static MemoryStore, safes: &Safes) -> (Wallet<'static>, ValueId, BackupId) {
    let (mut wallet, value, backup) = begin(store, safes, true);
    wallet.run(safes, 1000);
    assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)));
    (wallet, value, backup)
}

fn kept(store: &'static MemoryStore, safes: &Safes) -> (Wallet<'static>, ValueId, BackupId) {
    let (mut wallet, value, backup) = begin(store, safes, false);
    wallet.run(safes, 1000);
    assert_eq!(state_of(&wallet, value), ("protected", None));
    (wallet, value, backup)
}

/// Another device, with the certificates of the first.
fn second(first: &Wallet<'_>, safes: &Safes, value: ValueId, salt: u64) -> Wallet<'static> {
    let mut wallet = Wallet::create(leak(), salt);
    wallet.trust(safes);
    wallet.handle(Event::Import(book_of(&first.state, &[value], first.now()).unwrap())).unwrap();
    wallet
}

/// What the claim of a value's backup has come to.
fn claim(wallet: &Wallet<'_>, value: ValueId) -> Option<&'static str> {
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    let backup = view.values.into_iter().find(|v| v.id == value.to_string())?.backup?;
    view.backups[backup].claim
}

/// Acts, with the pauses that claims and safes need, until nothing is left to do.
fn run(wallet: &mut Wallet<'_>, safes: &Safes) {
    for _ in 0..40 {
        wallet.run(safes, 1000);
        wallet.wait(61);
    }
}

#[test]
fn a_ticket_is_kept_moved_and_brought_back_whatever_crashes() {
    let here = |wallet: &Wallet<'_>, value, when: &str| {
        assert_eq!(wallet.content(&value).as_deref(), Some(TICKET), "{when}");
    };
    with_plug_pulled(
        |store, safes| begin(store, safes, false),
        |wallet, safes, value, when| {
            here(&wallet, value, when);
            assert_eq!(
                (state_of(&wallet, value), claim(&wallet, value)),
                (("protected", None), Some("ours")),
                "{when}"
            );
            assert_eq!(holding(safes, &wallet.state.backups[&wallet.backup_of(&value)]), N, "{when}");
        },
    );
    with_plug_pulled(
        |store, safes| begin(store, safes, true),
        |wallet, _, value, when| {
            assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)), "{when}");
            let backup = &wallet.state.backups[&wallet.backup_of(&value)];
            assert!(backup.claim.is_none(), "{when}: whoever comes first may have it");
        },
    );
    let returning = |event: fn(BackupId) -> Event| {
        move |store, safes: &Safes| {
            let (mut wallet, value, backup) = moved(store, safes);
            wallet.handle(event(backup)).unwrap();
            (wallet, value, backup)
        }
    };
    with_plug_pulled(returning(|backup| Event::Recover(backup, Vec::new())), |wallet, _, value, when| {
        here(&wallet, value, when);
        assert_eq!((state_of(&wallet, value), claim(&wallet, value)), (("protected", None), Some("ours")), "{when}");
    });
    with_plug_pulled(returning(Event::BringBack), |wallet, safes, value, when| {
        here(&wallet, value, when);
        assert!(wallet.state.backups.is_empty(), "{when}");
        assert!(safes.all.iter().all(|safe| safe.counts().1 == 0), "{when}");
    });
    // What this wallet has claimed leaves it under a new generation that nobody has claimed, and the old one goes.
    let out_again = |store, safes: &Safes| {
        let (mut wallet, value, backup) = kept(store, safes);
        wallet.handle(Event::Move(backup)).unwrap();
        (wallet, value, backup)
    };
    with_plug_pulled(out_again, |mut wallet, safes, value, when| {
        assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", None)), "{when}");
        assert!(wallet.state.backups.len() == 1, "{when}: the old generation is gone");
        assert!(safes.all.iter().all(|safe| safe.counts().1 == 1), "{when}");
        wallet.handle(Event::Recover(wallet.backup_of(&value), Vec::new())).unwrap();
        wallet.run(safes, 1000);
        here(&wallet, value, when);
    });
    let renewed = |store, safes: &Safes| {
        let (mut wallet, value, old) = kept(store, safes);
        let plan = wallet.state.backups[&old].plan.clone();
        wallet.handle(Event::Renew(old, Next { backup: BackupId([7; 16]), plan, words: None })).unwrap();
        (wallet, value, old)
    };
    with_plug_pulled(renewed, |wallet, safes, value, when| {
        here(&wallet, value, when);
        assert_eq!((wallet.backup_of(&value), claim(&wallet, value)), (BackupId([7; 16]), Some("ours")), "{when}");
        assert!(wallet.state.backups[&BackupId([7; 16])].drilled.is_some(), "{when}");
        assert!(safes.all.iter().all(|safe| safe.counts().1 == 1), "{when}");
    });
}

/// Two devices, message by message in any order, with lost messages, crashes, and a safe that is away.
#[test]
fn of_two_devices_one_gets_the_ticket() {
    let (mut winners, mut lies) = ([0, 0], 0);
    for round in 0..90 {
        let mut random = rng(0x71c4 + round);
        let mut below = |most: usize| random.next_u64() as usize % most;
        let mut safes = Safes::new(N);
        let stores = [leak(), leak()];
        let (first, value, backup) = moved(stores[0], &safes);
        let mut other = Wallet::create(stores[1], 2);
        other.trust(&safes);
        other.handle(Event::Import(book_of(&first.state, &[value], first.now()).unwrap())).unwrap();
        let mut wallets = [first, other];
        for (at, wallet) in wallets.iter_mut().enumerate() {
            let event = if below(2) == 0 { Event::BringBack(backup) } else { Event::Recover(backup, Vec::new()) };
            wallet.handle(event).unwrap_or_else(|error| panic!("wallet {at}: {error}"));
        }
        // One safe is away, or agrees to everything and gives its piece to anybody.
        let liar = (round % 3 == 0).then(|| below(N));
        if liar.is_none() && below(2) == 0 {
            safes.away = vec![below(N)];
        }
        let mut salt = 1000 * (round + 1);
        for _ in 0..3000 {
            let at = below(2);
            if below(50) == 0 {
                salt += 1;
                let now = wallets[at].now();
                wallets[at] = Wallet::open(stores[at], salt);
                wallets[at].set_now(now);
            }
            let actions = wallets[at].session.actions(&wallets[at].state, wallets[at].now());
            match actions.is_empty() {
                true => wallets[at].wait(1),
                false => {
                    let action = &actions[below(actions.len())];
                    if let Some((sending, lie)) = liar.and_then(|liar| lie(&mut wallets[at], &safes, liar, action)) {
                        wallets[at].session.started(action, &wallets[at].state.clone());
                        wallets[at].answered(&sending, Some(lie)).unwrap();
                        wallets[at].session.ended(action);
                        lies += 1;
                        continue;
                    }
                    let faults =
                        [Fault::None, Fault::None, Fault::None, Fault::LostBefore, Fault::LostAfter, Fault::Twice];
                    wallets[at].act(action, &safes, faults[below(6)]).unwrap();
                }
            }
            let live = wallets.iter().filter(|wallet| wallet.content(&value).is_some()).count();
            assert!(live < 2, "round {round}: it lives twice");
        }
        safes.away.clear();
        for wallet in &mut wallets {
            wallet.session.retry();
            run(wallet, &safes);
        }
        let has: Vec<bool> = wallets.iter().map(|w| w.content(&value).as_deref() == Some(TICKET)).collect();
        assert!(has[0] != has[1], "round {round}: {has:?}");
        let (winner, loser) = if has[0] { (0, 1) } else { (1, 0) };
        winners[winner] += 1;
        let lost = &wallets[loser];
        assert_eq!((state_of(lost, value), claim(lost, value)), (("moved", None), Some("taken")), "round {round}");
    }
    assert!(winners.iter().all(|won| *won > 5) && lies > 100, "{winners:?}, {lies} lies");
}

/// What a safe answers that agrees to everything, and gives its piece to anybody; `None`: it is not asked, or about something else.
fn lie(wallet: &mut Wallet<'_>, safes: &Safes, liar: usize, action: &Action) -> Option<(Sending, Answer)> {
    let Action::Send(backup, deposit, errand) = action else { return None };
    if wallet.state.backups[backup].deposit(deposit)?.safe != safes.all[liar].id() {
        return None;
    }
    let Ok(Then::Send(sending)) = wallet.begin(action) else { return None };
    let body = match errand {
        Errand::Retrieve => safes.all[liar].body(deposit)?,
        Errand::Propose(proposal) => {
            let register = match *proposal {
                Proposal::Prepare(epoch, ballot) => Register { epoch, promised: Some(ballot), accepted: None },
                Proposal::Accept(epoch, ballot, value) => {
                    Register { epoch, promised: Some(ballot), accepted: Some(Accepted { ballot, value }) }
                }
                _ => return None,
            };
            let secret = DepositSecrets::derive(&wallet.state.backups[backup].deposit(deposit)?.d).retrieve;
            let nonce = Sealed::parse(&sending.body, MAX_REGISTER_LEN).unwrap().nonce;
            codec::encode(&register::Answer { taken: true, register }.vouch(&secret, &nonce, proposal))
        }
        _ => return None,
    };
    Some((*sending, Answer { status: 200, body, problem: None }))
}

#[test]
fn whoever_lost_is_told_and_may_remove_it_or_take_it_over() {
    let mut safes = Safes::new(N);
    let (mut first, value, backup) = moved(leak(), &safes);
    let mut other = second(&first, &safes, value, 2);
    other.handle(Event::Recover(backup, Vec::new())).unwrap();
    other.run(&safes, 1000);
    assert_eq!(other.content(&value).as_deref(), Some(TICKET));
    first.handle(Event::Recover(backup, Vec::new())).unwrap();
    first.run(&safes, 1000);
    assert_eq!((first.content(&value), claim(&first, value)), (None, Some("taken")));
    assert!(first.state.activity.iter().any(|line| line.text.contains("belongs to another device")));
    for event in [Event::Recover(backup, Vec::new()), Event::BringBack(backup)] {
        assert_eq!(first.handle(event), Err(WalletError::Taken));
    }
    assert_eq!(first.handle(Event::Drill(backup)), Err(WalletError::LivesOnce));
    // A third one takes it over, although two safes are away: from the device that has it nothing is asked.
    let mut third = second(&other, &safes, value, 3);
    safes.away = vec![0, 4];
    third.handle(Event::TakeOver(backup)).unwrap();
    run(&mut third, &safes);
    assert_eq!((third.content(&value).as_deref(), claim(&third, value)), (Some(TICKET), Some("ours")));
    assert_eq!(third.handle(Event::TakeOver(backup)), Err(WalletError::Busy));
    assert!(first.handle(Event::RemoveValue(value)).is_ok());
    assert!(first.state.values.is_empty() && first.state.backups.is_empty());
}

/// Chosen, and then overtaken before it asked for a single piece: it gets nothing any more.
#[test]
fn whoever_was_chosen_before_a_take_over_gets_nothing_after_it() {
    let safes = Safes::new(N);
    let (mut slow, value, backup) = moved(leak(), &safes);
    let mut other = second(&slow, &safes, value, 2);
    slow.handle(Event::Recover(backup, Vec::new())).unwrap();
    while slow.state.backups[&backup].must_claim() {
        assert!(slow.run(&safes, 1) > 0);
    }
    other.handle(Event::Recover(backup, Vec::new())).unwrap();
    run(&mut other, &safes);
    assert_eq!(claim(&other, value), Some("taken"));
    other.handle(Event::TakeOver(backup)).unwrap();
    run(&mut other, &safes);
    assert_eq!(other.content(&value).as_deref(), Some(TICKET));
    run(&mut slow, &safes);
    assert_eq!((slow.content(&value), state_of(&slow, value)), (None, ("moved", None)));
    assert_eq!(claim(&slow, value), Some("taken"));
    // And may take it back in the same way.
    slow.handle(Event::TakeOver(backup)).unwrap();
    run(&mut slow, &safes);
    assert_eq!(slow.content(&value).as_deref(), Some(TICKET));
}

#[test]
fn so_many_safes_must_agree_and_no_more() {
    let mut safes = Safes::new(N);
    let (mut wallet, value, backup) = moved(leak(), &safes);
    safes.away = vec![1, 3];
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    run(&mut wallet, &safes);
    assert_eq!((wallet.content(&value), state_of(&wallet, value)), (None, ("moved", Some("recover"))));
    let view = draw(&wallet.state, &wallet.session, wallet.now(), true);
    let waiting = view.operations[view.values[0].operation.unwrap()].waiting.clone().unwrap();
    assert!(waiting.contains("4 of 5 safes must agree"), "{waiting}");
    assert!(view.values[0].reason.contains("any 4 of 5"), "{}", view.values[0].reason);
    safes.away = vec![1];
    wallet.session.retry();
    run(&mut wallet, &safes);
    assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
    // So many are gone for good that no quorum will ever answer: the owner accepts what that may mean.
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = moved(leak(), &safes);
    for safe in &safes.all[..2] {
        safe.lose_records();
        safe.lose_bodies();
    }
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    run(&mut wallet, &safes);
    assert_eq!(wallet.content(&value), None);
    wallet.handle(Event::TakeOver(backup)).unwrap();
    run(&mut wallet, &safes);
    assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
}

/// A safe that was away during the claim hands out nothing before it knows, and is told.
#[test]
fn a_safe_that_was_away_during_the_claim_is_told() {
    let mut safes = Safes::new(N);
    let (mut wallet, value, backup) = moved(leak(), &safes);
    safes.away = vec![2];
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    while wallet.state.backups[&backup].must_claim() {
        assert!(wallet.run(&safes, 1) > 0);
    }
    // Now those that know are away, save two.
    safes.away = vec![0, 1];
    run(&mut wallet, &safes);
    wallet.session.retry();
    run(&mut wallet, &safes);
    assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
}

#[test]
fn no_certificates_leave_a_wallet_that_has_it_and_has_not_claimed_it() {
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = begin(leak(), &safes, true);
    let mut vacating = false;
    loop {
        let here = wallet.content(&value).is_some();
        let book = book_of(&wallet.state, &[value], wallet.now());
        assert_eq!(book.is_ok(), !here, "{:?}", wallet.state.backups[&backup].operation);
        vacating |= wallet.state.backups[&backup].operation == Some(Operation::Vacate);
        if wallet.run(&safes, 1) == 0 {
            break;
        }
    }
    assert!(vacating);
    let (mut wallet, value, backup) = begin(leak(), &safes, false);
    let mut claiming = false;
    loop {
        let known = &wallet.state.backups[&backup];
        claiming |= known.operation == Some(Operation::Claim);
        assert_eq!(book_of(&wallet.state, &[value], wallet.now()).is_ok(), known.is_ours());
        if wallet.run(&safes, 1) == 0 {
            break;
        }
    }
    assert!(claiming && wallet.state.backups[&backup].is_ours());
}

#[test]
fn what_another_device_moved_out_anew_takes_the_place_of_what_is_known() {
    let safes = Safes::new(N);
    let (mut first, value, old) = moved(leak(), &safes);
    let mut other = second(&first, &safes, value, 2);
    first.handle(Event::Recover(old, Vec::new())).unwrap();
    first.run(&safes, 1000);
    first.wait(60);
    first.handle(Event::Move(old)).unwrap();
    first.run(&safes, 1000);
    let book = book_of(&first.state, &[value], first.now()).unwrap();
    other.handle(Event::Import(book.clone())).unwrap();
    assert_eq!((other.backup_of(&value), other.state.backups.len()), (first.backup_of(&value), 1));
    other.handle(Event::Recover(other.backup_of(&value), Vec::new())).unwrap();
    other.run(&safes, 1000);
    assert_eq!(other.content(&value).as_deref(), Some(TICKET));
    // What is here is not replaced by anything.
    other.handle(Event::Import(book)).unwrap();
    assert_eq!(other.content(&value).as_deref(), Some(TICKET));
}

#[test]
fn which_generation_is_later_is_said_by_the_safes_and_not_by_the_clocks_of_devices() {
    let safes = Safes::new(N);
    let (mut first, value, old) = moved(leak(), &safes);
    let stale = book_of(&first.state, &[value], first.now()).unwrap();
    let mut other = second(&first, &safes, value, 2);
    // The clock of the other device is a day behind.
    let day = 86_400;
    other.ahead = day;
    other.set_now(first.now() + 100 - day);
    other.handle(Event::Recover(old, Vec::new())).unwrap();
    other.run(&safes, 1000);
    other.wait(60);
    other.handle(Event::Move(old)).unwrap();
    other.run(&safes, 1000);
    let newer = other.backup_of(&value);
    assert!(newer != old && other.state.backups[&newer].finished < first.state.backups[&old].finished);
    // Whoever gives it the certificates of before once more does not make it forget where the ticket is.
    other.handle(Event::Import(stale)).unwrap();
    assert_eq!(other.backup_of(&value), newer);
    first.wait(1000);
    first.handle(Event::Import(book_of(&other.state, &[value], other.now()).unwrap())).unwrap();
    assert_eq!(first.backup_of(&value), newer);
    first.handle(Event::Recover(newer, Vec::new())).unwrap();
    run(&mut first, &safes);
    assert_eq!(first.content(&value).as_deref(), Some(TICKET));
}

#[test]
fn tickets_are_coupled_with_tickets_only() {
    let safes = Safes::new(N);
    let mut wallet = Wallet::create(leak(), 1);
    let ids = wallet.trust(&safes);
    let (ticket, note) = (wallet.add_unique("Ticket", TICKET), wallet.add("Note", b"remember"));
    assert_eq!(wallet.back_up(&[ticket, note], spread(&ids), None), Err(WalletError::Mixed));
    let tickets = [ticket, wallet.add_unique("Another", b"row 8, seat 1")];
    let backup = wallet.back_up(&tickets, spread(&ids), None).unwrap();
    wallet.run(&safes, 1000);
    assert!(wallet.state.backups[&backup].is_ours());
    assert!(wallet.state.backups[&backup].all_at(Stage::Held));
}

/// What one window has learned of the epoch before says nothing once another one has taken the value over.
#[test]
fn a_window_that_is_behind_does_not_end_a_take_over() {
    let safes = Safes::new(N);
    let (mut first, value, backup) = moved(leak(), &safes);
    let mut other = second(&first, &safes, value, 2);
    first.handle(Event::Recover(backup, Vec::new())).unwrap();
    first.run(&safes, 1000);
    let winner = first.state.backups[&backup].claim.as_ref().unwrap().claimant();
    other.handle(Event::TakeOver(backup)).unwrap();
    other.handle(Event::Claimed(backup, 0, winner)).unwrap();
    assert_eq!(claim(&other, value), Some("open"));
    run(&mut other, &safes);
    assert_eq!(other.content(&value).as_deref(), Some(TICKET));
}

/// Somebody on the way makes answers of registers: none of them counts.
#[test]
fn nobody_on_the_way_speaks_for_a_register() {
    let safes = Safes::new(N);
    let (mut wallet, value, backup) = moved(leak(), &safes);
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    for spoil in 0..200 {
        let actions = wallet.session.actions(&wallet.state, wallet.now());
        let Some(action) = actions.into_iter().next() else { break };
        let Action::Send(_, _, Errand::Propose(Proposal::Prepare(..))) = &action else { break };
        let Then::Send(sending) = wallet.begin(&action).unwrap() else { unreachable!() };
        let mut answer = safes.send(&sending.request, sending.body.clone(), wallet.now()).unwrap();
        let at = spoil % answer.body.len();
        answer.body[at] ^= 1;
        wallet.answered(&sending, Some(answer)).unwrap();
        wallet.wait(61);
    }
    assert!(wallet.state.backups[&backup].must_claim(), "it counts what was altered");
    // Nor can what a register has said to one window be said to another one, even to the same proposal.
    wallet.session.retry();
    let action = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next().unwrap();
    let [first, second] = [0, 1].map(|_| {
        let Then::Send(sending) = wallet.begin(&action).unwrap() else { unreachable!() };
        sending
    });
    let said = safes.send(&first.request, first.body.clone(), wallet.now()).unwrap();
    wallet.answered(&second, Some(said.clone())).unwrap();
    assert_eq!(wallet.session.claim_progress(&wallet.state.backups[&backup]).0, 0);
    wallet.answered(&first, Some(said)).unwrap();
    assert_eq!(wallet.session.claim_progress(&wallet.state.backups[&backup]).0, 1);
    run(&mut wallet, &safes);
    assert_eq!(wallet.content(&value).as_deref(), Some(TICKET));
}
