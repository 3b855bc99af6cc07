//! The wallet machine against safes in memory: registration, recovery and release, with the plug pulled at every step.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use futures::executor::block_on;
use protocol::{
    crypto::{Secret, expand_seed},
    ids::{BackupId, SafeId, ValueId},
    piece_file,
    plan::{Place, Plan},
    program::Piece,
};
use tests::fixture::{CLAIMS, random_bytes, read_book, write_book};
use tests::world::{Fault, PASSPHRASE, START, Safes, Wallet};
use wallet_wasm::{
    exchange,
    machine::{Event, WalletError, book_of},
    session::{Errand, Fetch},
    state::{Operation, Stage},
    store::{MemoryStore, Store, StoreError},
};

const SECRET: &[u8] = b"legal winner thank year wave sausage worth useful legal winner thank yellow";

/// A value that is protected by all safes; the wallet is closed again.
fn registered(store: &MemoryStore, safes: &Safes, content: &[u8]) -> ValueId {
    let mut wallet = Wallet::create(store, 1);
    let ids = wallet.trust(safes);
    let value = wallet.add("Seed phrase", content);
    let backup = wallet.register(value, &ids, 3);
    wallet.run(safes, 10_000);
    let backup = &wallet.state.backups[&backup];
    assert!(backup.all_at(Stage::Held) && backup.operation.is_none());
    value
}

/// The certificate file, as a person carries it to another device.
fn carry(from: &MemoryStore, value: ValueId) -> Vec<u8> {
    let wallet = Wallet::open(from, 2);
    let book = book_of(&wallet.state, &[value], START).unwrap();
    let mut rng = expand_seed(&Secret::from_bytes([3; 32]));
    write_book(&book, "file passphrase", &mut rng)
}

/// A wallet on a fresh device that has read the file and started to recover.
fn recovering<'a>(fresh: &'a MemoryStore, file: &[u8], value: ValueId) -> Wallet<'a> {
    // Every device draws its own numbers; a claim drawn twice would be refused as a replay.
    static DEVICES: AtomicU64 = AtomicU64::new(1000);
    let mut wallet = Wallet::create(fresh, DEVICES.fetch_add(1, Relaxed));
    wallet.handle(Event::Import(read_book(file, "file passphrase").unwrap())).unwrap();
    assert!(wallet.content(&value).is_none());
    let backup = wallet.backup_of(&value);
    wallet.handle(Event::Recover(backup, Vec::new())).unwrap();
    wallet
}

#[test]
fn a_value_registered_at_five_safes_comes_back_on_a_fresh_device_from_any_three() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let value = registered(&store, &safes, SECRET);
    let file = carry(&store, value);
    for first in 0..5 {
        for second in first + 1..5 {
            safes.away = vec![first, second];
            let fresh = MemoryStore::default();
            let mut wallet = recovering(&fresh, &file, value);
            wallet.run(&safes, 1000);
            assert_eq!(wallet.content(&value).as_deref(), Some(SECRET), "without safes {first} and {second}");
        }
    }
}

#[test]
fn a_recovery_that_is_reported_twice_keeps_its_content() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let value = registered(&store, &safes, SECRET);
    let file = carry(&store, value);
    let fresh = MemoryStore::default();
    let mut wallet = recovering(&fresh, &file, value);
    wallet.run(&safes, 1000);
    // A commit that was done and looked as if it had failed is tried again with the same blobs.
    let kept = wallet.state.values[&value].clone();
    let backup = wallet.backup_of(&value);
    wallet.handle(Event::Recovered(backup, vec![(kept.meta, kept.content.unwrap())], Vec::new())).unwrap();
    assert_eq!(wallet.content(&value).as_deref(), Some(SECRET));
}

#[test]
fn a_window_that_opens_while_another_adds_a_value_costs_no_content() {
    let store = MemoryStore::default();
    let mut first = Wallet::create(&store, 1);
    let (_, added) = first.keep("Seed phrase", SECRET, false).unwrap();
    // Its content is durable and nothing refers to it yet: to the second window it looks left over.
    drop(Wallet::open(&store, 2));
    let (_, commit, _) = first.propose(added).unwrap();
    assert_eq!(block_on(store.commit(&commit)), Err(StoreError::BlobGone));
    let value = first.add("Seed phrase", SECRET);
    assert_eq!(Wallet::open(&store, 3).content(&value).as_deref(), Some(SECRET));
}

#[test]
fn what_this_device_hinders_is_named_and_tried_again() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let mut wallet = Wallet::create(&store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Seed phrase", SECRET);
    let backup = wallet.register(value, &ids, 3);
    let actions = |wallet: &Wallet<'_>| wallet.session.actions(&wallet.state, START);
    let action = actions(&wallet).remove(0);
    let begin = |wallet: &mut Wallet<'_>| {
        assert_eq!(actions(wallet), std::slice::from_ref(&action));
        wallet.session.started(&action, &wallet.state);
    };
    begin(&mut wallet);
    assert_eq!(wallet.session.hindrance(&backup), None);
    wallet.session.hindered(&action, "no room".to_owned());
    assert_eq!((actions(&wallet), wallet.session.hindrance(&backup)), (vec![], Some("no room")));
    // At once, because the owner asks; the pause that ends later does not begin it a second time.
    wallet.session.retry();
    begin(&mut wallet);
    wallet.session.try_again(&action);
    assert_eq!((actions(&wallet), wallet.session.hindrance(&backup)), (vec![], Some("no room")));
    // And after the pause.
    wallet.session.hindered(&action, "no room".to_owned());
    wallet.session.try_again(&action);
    begin(&mut wallet);
    wallet.session.ended(&action);
    assert_eq!(wallet.session.hindrance(&backup), None);
}

#[test]
fn two_safes_are_not_enough_and_nothing_is_lost_by_trying() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let value = registered(&store, &safes, SECRET);
    let file = carry(&store, value);
    safes.away = vec![0, 2, 4];
    let fresh = MemoryStore::default();
    let mut wallet = recovering(&fresh, &file, value);
    wallet.run(&safes, 1000);
    assert!(wallet.content(&value).is_none());
    let backup = wallet.backup_of(&value);
    assert_eq!(wallet.state.backups[&backup].operation, Some(Operation::Recover), "it waits");
    // One comes back, the owner says: try again.
    safes.away = vec![0, 2];
    wallet.session.retry();
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(SECRET));
}

#[test]
fn a_safe_that_returns_flipped_bits_is_named_and_left_out() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let value = registered(&store, &safes, SECRET);
    safes.all[1].corrupt(|body| body[100] ^= 1);
    let file = carry(&store, value);
    let fresh = MemoryStore::default();
    let mut wallet = recovering(&fresh, &file, value);
    let backup = wallet.backup_of(&value);
    let mut named = Vec::new();
    while wallet.run(&safes, 1) > 0 {
        if let Some(recovery) = wallet.session.recoveries.get(&backup) {
            let lies = recovery.fetches.iter().filter(|(_, fetch)| matches!(fetch, Fetch::Lied(_)));
            named = lies.map(|(id, _)| wallet.state.backups[&backup].deposit(id).unwrap().safe).collect();
        }
    }
    assert_eq!(named, [safes.all[1].id()]);
    assert_eq!(wallet.content(&value).as_deref(), Some(SECRET));
    assert!(wallet.state.activity.iter().any(|line| line.text.contains("Safe 1") && line.text.contains("other bytes")));
}

#[test]
fn a_recovery_says_of_every_piece_why_it_was_not_used() {
    let mut safes = Safes::new(5);
    let (store, fresh) = (MemoryStore::default(), MemoryStore::default());
    let mut wallet = Wallet::create(&store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Seed phrase", SECRET);
    let plan = over("seal(copies(at(A), at(B), at(C)), split(2, at(D), at(E), file, memory))", &ids);
    let backup = wallet.back_up(&[value], plan.clone(), words_of(&plan).as_ref()).unwrap();
    finish(&mut wallet, &safes, &backup, None);
    let book = carry(&store, value);
    safes.away = vec![0];
    safes.all[1].corrupt(|body| body[100] ^= 1);
    let mut wallet = recovering(&fresh, &book, value);
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(SECRET));
    let note = &wallet.state.activity.last().unwrap().text;
    let why = "“Seed phrase” was recovered. Not used: safe “Safe 0” does not answer; safe “Safe 1” returned other bytes than it signed for; your file \
               was not needed; your words were not needed.";
    assert_eq!(note, why);
    // Nothing is wrong with a safe that nobody had to ask.
    let (store, fresh, safes) = (MemoryStore::default(), MemoryStore::default(), Safes::new(5));
    let value = registered(&store, &safes, SECRET);
    let mut wallet = recovering(&fresh, &carry(&store, value), value);
    wallet.run(&safes, 1000);
    let note = &wallet.state.activity.last().unwrap().text;
    assert_eq!(
        note,
        "“Seed phrase” was recovered. Not used: safe “Safe 3” was not needed; safe “Safe 4” was not needed."
    );
}

#[test]
fn a_registration_goes_on_after_a_crash_at_any_step_with_the_same_bytes() {
    // 7 MB make several segments.
    let content: Vec<u8> = (0..7_000_000_u32).map(|i| (i * 31 % 251) as u8).collect();
    let start = |store: &'static MemoryStore, safes: &Safes| {
        let mut wallet = Wallet::create(store, 1);
        let ids = wallet.trust(safes);
        let value = wallet.add("Document", &content);
        wallet.register(value, &ids, 3);
        (wallet, value)
    };
    // A store outlives the wallet that crashed on it.
    let leak = || -> &'static MemoryStore { Box::leak(Box::default()) };
    let safes = Safes::new(5);
    let count = start(leak(), &safes).0.run(&safes, 10_000);
    assert!(count > 20, "{count} steps");
    for crash in 0..count {
        let (store, safes) = (leak(), Safes::new(5));
        let (mut wallet, value) = start(store, &safes);
        wallet.run(&safes, crash);
        let sent = std::mem::take(&mut wallet.sent);
        drop(wallet);
        let mut wallet = Wallet::open(store, 100 + crash as u64);
        wallet.sent = sent;
        wallet.run(&safes, 10_000);
        let backup = &wallet.state.backups[&wallet.backup_of(&value)];
        assert!(backup.all_at(Stage::Held), "crash after step {crash}");
        assert!(backup.op_seed.is_none(), "the seed is dropped when all is signed");
        assert!(wallet.content(&value).as_deref() == Some(content.as_slice()));
        for safe in &safes.all {
            let per_safe = backup.deposits.iter().filter(|d| d.safe == safe.id()).count();
            assert_eq!(safe.counts(), (per_safe, per_safe), "nothing is left over at a safe");
        }
    }
}

#[test]
fn a_recovery_goes_on_after_a_crash_at_any_step() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let value = registered(&store, &safes, SECRET);
    let file = carry(&store, value);
    for crash in 0..12 {
        let fresh = MemoryStore::default();
        let mut wallet = recovering(&fresh, &file, value);
        wallet.run(&safes, crash);
        drop(wallet);
        let mut wallet = Wallet::open(&fresh, 50 + crash as u64);
        wallet.run(&safes, 1000);
        assert_eq!(wallet.content(&value).as_deref(), Some(SECRET), "crash after step {crash}");
    }
}

#[test]
fn every_exchange_may_be_lost_before_lost_after_or_doubled() {
    for fault in [Fault::LostBefore, Fault::LostAfter, Fault::Twice] {
        for at in 0..17 {
            let (store, safes) = (MemoryStore::default(), Safes::new(5));
            let mut wallet = Wallet::create(&store, 1);
            let ids = wallet.trust(&safes);
            let value = wallet.add("Ticket", SECRET);
            let backup = wallet.register(value, &ids, 3);
            let mut steps = 0;
            while let Some(action) = wallet.session.actions(&wallet.state, START + steps * 100).into_iter().next() {
                let strike = if steps == at { fault } else { Fault::None };
                wallet.act(&action, &safes, strike).unwrap();
                wallet.wait(100);
                steps += 1;
                assert!(steps < 1000, "it never ends");
            }
            let backup = &wallet.state.backups[&backup];
            assert!(backup.all_at(Stage::Held), "{fault:?} at {at}");
            for safe in &safes.all {
                assert_eq!(safe.counts(), (1, 1), "{fault:?} at {at} left something over");
            }
        }
    }
}

#[test]
fn release_needs_the_content_here_and_leaves_only_tombstones() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let value = registered(&store, &safes, SECRET);
    let file = carry(&store, value);
    let fresh = MemoryStore::default();
    let mut elsewhere = Wallet::create(&fresh, 5);
    elsewhere.handle(Event::Import(read_book(&file, "file passphrase").unwrap())).unwrap();
    let backup = elsewhere.backup_of(&value);
    let refused = elsewhere.handle(Event::Release(backup));
    assert_eq!(refused, Err(WalletError::NotLocal), "the last copy is never given away");

    let mut wallet = Wallet::open(&store, 9);
    wallet.handle(Event::Release(backup)).unwrap();
    wallet.run(&safes, 1000);
    assert!(wallet.state.backups.is_empty() && wallet.state.values[&value].backup.is_none());
    assert_eq!(wallet.content(&value).as_deref(), Some(SECRET));
    for safe in &safes.all {
        assert_eq!(safe.counts(), (1, 0), "a record without bytes: the tombstone");
    }
    // The old certificates bring nothing back any more.
    elsewhere.handle(Event::Recover(backup, Vec::new())).unwrap();
    elsewhere.run(&safes, 1000);
    assert!(elsewhere.content(&value).is_none());
}

#[test]
fn what_lies_on_the_device_and_at_the_safes_shows_neither_content_nor_title() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    registered(&store, &safes, SECRET);
    let shows = |haystack: &[u8], needle: &[u8]| haystack.windows(needle.len()).any(|w| w == needle);
    let device = store.dump();
    for needle in [&SECRET[..16], b"Seed phrase", PASSPHRASE.as_bytes()] {
        assert!(!shows(&device, needle));
        for safe in &safes.all {
            assert!(!shows(&safe.dump(), needle));
        }
    }
}

#[test]
fn a_wallet_whose_clock_is_a_day_slow_recovers_by_the_safes_clock() {
    let safes = Safes::new(5);
    let store = MemoryStore::default();
    let value = registered(&store, &safes, SECRET);
    let file = carry(&store, value);
    let fresh = MemoryStore::default();
    let mut wallet = recovering(&fresh, &file, value);
    wallet.ahead = 86_400;
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(SECRET));
}

/// Two safes that lay all they hold of one value side by side see nothing there that two safes of strangers would not.
#[test]
fn safes_that_compare_notes_see_nothing_alike() {
    const RUN: usize = 6;
    let stored = |salt: u64, title: &str, content: &[u8]| {
        let (safes, store) = (Safes::new(3), MemoryStore::default());
        let mut wallet = Wallet::create(&store, salt);
        let ids = wallet.trust(&safes);
        // Twice, so that two backups of one wallet are compared too.
        for _ in 0..2 {
            let value = wallet.add(title, content);
            wallet.register(value, &ids, 2);
            wallet.run(&safes, 10_000);
        }
        safes.all.iter().map(|safe| safe.dump()).collect::<Vec<_>>()
    };
    let runs = |bytes: &[u8]| bytes.windows(RUN).map(<[u8]>::to_vec).collect::<BTreeSet<_>>();
    let ours: Vec<_> = stored(31, "Seed phrase", SECRET).iter().map(|dump| runs(dump)).collect();
    let other: Vec<u8> = SECRET.iter().rev().copied().collect();
    let theirs: Vec<_> = stored(32, "Seed phrasf", &other).iter().map(|dump| runs(dump)).collect();
    for (a, b) in [(0, 1), (0, 2), (1, 2)] {
        let alike: BTreeSet<_> = ours[a].intersection(&ours[b]).collect();
        // What any two safes have alike: heads of structures, names of types, the time.
        let anyway: BTreeSet<_> = ours[a].intersection(&theirs[b]).chain(theirs[a].intersection(&ours[b])).collect();
        let telling: Vec<_> = alike.difference(&anyway).collect();
        assert!(telling.is_empty(), "safes {a} and {b} share {telling:02x?}");
        assert!(!anyway.is_empty(), "the search finds what is there");
    }
}

/// A token is for deposits: it stays when the safe is seen again, goes with `PUT` only, and is in no certificate file.
#[test]
fn a_token_stays_in_the_wallet_and_goes_with_deposits_only() {
    let (safes, store) = (Safes::new(3), MemoryStore::default());
    let mut wallet = Wallet::create(&store, 41);
    let ids = wallet.trust(&safes);
    wallet.handle(Event::SetToken(ids[0], " strongroom-token-abc\n".into())).unwrap();
    wallet.handle(Event::SafeSeen(safes.probe(0, START))).unwrap();
    let value = wallet.add("Ticket", b"row 7");
    let backup = wallet.register(value, &ids, 2);
    wallet.run(&safes, 10_000);
    let mut wallet = Wallet::open(&store, 42);
    assert_eq!(wallet.state.safes[&ids[0]].token.as_deref(), Some("strongroom-token-abc"));
    let deposits = wallet.state.backups[&backup].deposits.clone();
    for deposit in &deposits {
        for errand in [Errand::Put, Errand::Confirm, Errand::Retrieve, Errand::Release] {
            let mut rng = expand_seed(&Secret::from_bytes([5; 32]));
            let Ok(request) = exchange::request(&wallet.state, &backup, &deposit.id, errand, None, START, &mut rng)
            else {
                continue;
            };
            let expected = (errand == Errand::Put && deposit.safe == ids[0]).then_some("strongroom-token-abc");
            assert_eq!(request.token.as_deref(), expected, "{errand:?}");
        }
    }
    let book = book_of(&wallet.state, &[value], START).unwrap();
    assert!(book.safes.len() == 3 && book.safes.iter().all(|safe| safe.token.is_none()));
    for nothing in [String::new(), " ".into(), "x".repeat(4000)] {
        wallet.handle(Event::SetToken(ids[0], nothing)).unwrap();
        assert_eq!(wallet.state.safes[&ids[0]].token, None);
    }
}

/// The plan of a claim over this wallet's safes.
fn over(text: &str, ids: &[SafeId]) -> Plan<SafeId> {
    let find = |name: &String| Ok(ids[usize::from(name.as_bytes()[0] - b'A')]);
    text.parse::<Plan<String>>().unwrap().bind(&find).unwrap()
}

fn words_of(plan: &Plan<SafeId>) -> Option<Secret> {
    let has = plan.places().iter().any(|(_, place)| **place == Place::Memory);
    has.then(|| Secret::from_bytes([0x33; 32]))
}

/// Runs a registration to its end, the owner saving his file when it is ready; gives the file.
fn finish(wallet: &mut Wallet<'_>, safes: &Safes, backup: &BackupId, kept: Option<Vec<u8>>) -> Option<Vec<u8>> {
    wallet.run(safes, 10_000);
    if wallet.state.backups[backup].file_saved != Some(false) {
        return kept;
    }
    assert!(wallet.state.backups[backup].finished.is_none(), "without the file it is not done");
    let file = wallet.file_of(backup);
    assert!(kept.is_none_or(|kept| kept == *file), "the same bytes again");
    assert!(wallet.show_file(backup, &file[1..]).is_err());
    wallet.show_file(backup, &file).unwrap();
    Some(file.to_vec())
}

/// On a fresh device, with what the owner kept.
fn brought_back(book: &[u8], value: ValueId, file: Option<&[u8]>, safes: &Safes) -> Option<Vec<u8>> {
    let fresh = MemoryStore::default();
    let mut wallet = recovering(&fresh, book, value);
    let id = wallet.backup_of(&value);
    let backup = wallet.state.backups[&id].clone();
    let recovery = wallet.session.recoveries.entry(id).or_default();
    recovery.words = words_of(&backup.plan);
    let pieces = file.map(|file| piece_file::read(&backup.layout().unwrap(), file).unwrap());
    recovery.file = pieces.into_iter().flatten().map(Piece::from).collect();
    wallet.run(safes, 1000);
    wallet.content(&value)
}

#[test]
fn every_plan_goes_on_after_a_crash_at_any_step_and_comes_back() {
    // Every way of keeping is in one of these; the others are only brought back.
    const CRASHED: [&str; 5] =
        ["claim_3.txt", "claim_7_kept.txt", "claim_8.txt", "claim_12_words.txt", "claim_12_file.txt"];
    for (file, text) in CLAIMS {
        let mut crash = if CRASHED.contains(&file) { 0 } else { 10_000 };
        loop {
            let (store, safes): (&'static MemoryStore, _) = (Box::leak(Box::default()), Safes::new(5));
            let mut wallet = Wallet::create(store, 1);
            let plan = over(text, &wallet.trust(&safes));
            let value = wallet.add("Seed phrase", SECRET);
            let backup = wallet.back_up(&[value], plan.clone(), words_of(&plan).as_ref()).unwrap();
            let done = wallet.run(&safes, crash);
            let kept = (done < crash).then(|| finish(&mut wallet, &safes, &backup, None)).flatten();
            let sent = std::mem::take(&mut wallet.sent);
            drop(wallet);
            let mut wallet = Wallet::open(store, 100 + crash as u64);
            wallet.sent = sent;
            let file = finish(&mut wallet, &safes, &backup, kept);
            let state = &wallet.state.backups[&backup];
            assert!(state.finished.is_some() && state.op_seed.is_none() && state.words.is_none(), "{text}");
            assert!(state.file.is_empty(), "the owner's piece is his alone");
            for safe in &safes.all {
                let here = usize::from(plan.safes().contains(&&safe.id()));
                assert_eq!(safe.counts(), (here, here), "{text}, crash after step {crash}");
            }
            if done < crash {
                let book = carry(store, value);
                let back = brought_back(&book, value, file.as_deref(), &safes);
                assert_eq!(back.as_deref(), Some(SECRET), "{text}");
                break;
            }
            crash += 1;
        }
    }
}

#[test]
fn one_of_several_coupled_values_is_fetched_by_its_segments() {
    let (safes, store) = (Safes::new(3), MemoryStore::default());
    let mut wallet = Wallet::create(&store, 1);
    let ids = wallet.trust(&safes);
    // Together far more than one segment.
    let contents: Vec<Vec<u8>> = (1..=4).map(|i| random_bytes(3_000_000 + i, i as u64)).collect();
    let mut values: Vec<ValueId> = contents.iter().map(|content| wallet.add("Scan", content)).collect();
    values.insert(2, wallet.add("Empty", b""));
    let backup = wallet.back_up(&values, over("seal(disperse(2, at(A), at(B), at(C)), book)", &ids), None).unwrap();
    wallet.run(&safes, 10_000);
    let layout = wallet.state.backups[&backup].layout().unwrap();
    assert!(layout.segments() >= 3);
    let book = carry(&store, values[0]);

    let fresh = MemoryStore::default();
    let mut wallet = Wallet::create(&fresh, 77);
    wallet.handle(Event::Import(read_book(&book, "file passphrase").unwrap())).unwrap();
    let mut wanted = |which: &[usize], before: usize| {
        let ids: Vec<ValueId> = which.iter().map(|i| values[*i]).collect();
        wallet.handle(Event::Recover(backup, ids)).unwrap();
        let steps = wallet.run(&safes, 1000);
        let here: Vec<bool> = values.iter().map(|id| wallet.content(id).is_some()).collect();
        assert_eq!(here.iter().filter(|here| **here).count(), before + which.len());
        steps
    };
    let last = wanted(&[4], 0);
    let empty = wanted(&[2], 1);
    let all = wanted(&[0, 1, 3], 2);
    assert!(empty < last && last < all, "{empty} {last} {all} steps");
    for (value, content) in [(0, 0), (1, 1), (3, 2), (4, 3)] {
        assert!(wallet.content(&values[value]).as_ref() == Some(&contents[content]));
    }
    let stranger = ValueId([9; 16]);
    assert_eq!(wallet.handle(Event::Recover(backup, vec![stranger])), Err(WalletError::Unknown("value")));
}

#[test]
fn what_a_backup_needs_is_asked_for_before_anything_is_made() {
    let (safes, store) = (Safes::new(3), MemoryStore::default());
    let mut wallet = Wallet::create(&store, 1);
    let ids = wallet.trust(&safes);
    let value = wallet.add("Note", SECRET);
    let words = Secret::from_bytes([1; 32]);
    let with_words = over("seal(at(A), derive(memory, at(B)))", &ids);
    assert_eq!(wallet.back_up(&[value], with_words.clone(), None), Err(WalletError::Words));
    assert_eq!(wallet.back_up(&[value], over("at(A)", &ids), Some(&words)), Err(WalletError::Words));
    assert_eq!(wallet.back_up(&[], over("at(A)", &ids), None), Err(WalletError::Values(0)));
    assert_eq!(wallet.back_up(&[value, value], over("at(A)", &ids), None), Err(WalletError::Values(2)));
    let owner = over("seal(at(A), at(B, owner))", &ids);
    assert_eq!(wallet.back_up(&[value], owner, None), Err(WalletError::NotEnrolled("Safe 1".into())));
    let stranger = over("at(A)", &[SafeId([9; 32])]);
    assert_eq!(wallet.back_up(&[value], stranger, None), Err(WalletError::Unknown("safe")));
    assert!(wallet.state.backups.is_empty() && wallet.state.values[&value].backup.is_none());
    let backup = wallet.back_up(&[value], with_words, Some(&words)).unwrap();
    assert_eq!(wallet.back_up(&[value], over("at(A)", &ids), None), Err(WalletError::HasBackup));
    // The words are gone with the last certificate.
    assert!(wallet.state.backups[&backup].words.is_some());
    wallet.run(&safes, 1000);
    assert!(wallet.state.backups[&backup].words.is_none() && wallet.state.backups[&backup].finished.is_some());
}

#[test]
fn pieces_that_were_not_used_are_named_with_the_reason() {
    let mut safes = Safes::new(5);
    let store = MemoryStore::default();
    let value = registered(&store, &safes, SECRET);
    let file = carry(&store, value);
    safes.all[1].corrupt(|body| body[100] ^= 1);
    safes.away = vec![2];
    let fresh = MemoryStore::default();
    let mut wallet = recovering(&fresh, &file, value);
    // Whatever the order of the plan, all that are bad are asked.
    wallet.run(&safes, 1000);
    assert_eq!(wallet.content(&value).as_deref(), Some(SECRET));
    let line = wallet.state.activity.iter().find(|line| line.text.contains("was recovered")).unwrap();
    let named = |name: &str, why: &str| line.text.contains(&format!("safe “{name}” {why}"));
    assert!(
        named("Safe 1", "returned other bytes than it signed for") && named("Safe 2", "does not answer"),
        "{}",
        line.text
    );
}
