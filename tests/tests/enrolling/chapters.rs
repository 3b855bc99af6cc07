//! The chapters of the owner's book: when one is written, at which safes, how it comes back, and how it goes.

use wallet_wasm::{
    book::{MAX_CHAPTER, MAX_CHAPTERS, MAX_LOOSE, Size, newest},
    machine::{Shown, chapter_entry_of},
    state::{Deposit, Operation, Stage},
};

use super::*;

#[test]
fn however_long_the_book_is_all_of_it_comes_back_and_a_change_writes_no_more_than_a_head() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    for n in 0..60 {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
        let owner = wallet.state.owner.as_ref().unwrap();
        assert_eq!((owner.left_out, owner.written()), (0, N), "after {n}");
        assert!(owner.head.as_ref().unwrap().sealed.len() <= MAX_HEAD_LEN);
    }
    assert!((1..=5).contains(&chapters(&wallet).count()), "{}", chapters(&wallet).count());
    // A single one whose entry no head has room for.
    let ids: Vec<_> = wallet.state.safes.keys().copied().collect();
    let many: Vec<_> = (0..1200).map(|n| wallet.add(&format!("One of very many values, number {n}"), b"x")).collect();
    wallet.back_up_as(&many, Plan::spread(3, &ids).unwrap(), None, false).unwrap();
    settle(&mut wallet, &safes);
    let owner = wallet.state.owner.as_ref().unwrap();
    assert_eq!((owner.left_out, owner.written(), owner.is_behind()), (0, N, false));
    // What is given up, and what is made anew.
    let gone = one_more(&mut wallet, &safes, "Gone");
    for n in 0..8 {
        one_more(&mut wallet, &safes, &format!("Later {n}"));
    }
    wallet.handle(Event::Release(wallet.backup_of(&gone))).unwrap();
    let named =
        |wallet: &Wallet<'_>| chapters(wallet).find_map(|backup| backup.chapter.clone()?.names?.first().copied());
    let (old, next) = (named(&wallet).unwrap(), BackupId([9; 16]));
    let renewed = wallet.state.backups[&old].values[0].id;
    let plan = wallet.state.backups[&old].plan.clone();
    wallet.handle(Event::Renew(old, Next { backup: next, plan, words: None })).unwrap();
    settle(&mut wallet, &safes);
    assert!(wallet.state.owner.as_ref().unwrap().gone.contains(&old));
    // All of it is there on a new device, whichever safes answer.
    for (seed, at) in [(2, [0, 1, 2]), (3, [1, 3, 4])] {
        let mut back = Comer::new(&safes, wallet.now(), &at, seed).come_back(seed);
        assert!(known(&back).len() < known(&wallet).len(), "chapters are fetched");
        settle(&mut back, &safes);
        assert_eq!(known(&back), known(&wallet));
        assert_eq!(back.backup_of(&renewed), wallet.backup_of(&renewed));
        assert!(!back.state.values.contains_key(&gone));
        assert!(chapters(&back).all(|backup| backup.operation.is_none()));
    }
    // And the safes have nothing that no book names, a week later: all chapters that were replaced are gone.
    for day in 7..10 {
        safes.all.iter().for_each(|safe| block_on(safe.run_alarms(wallet.now() + day * 86_400)));
    }
    let held: usize = wallet.state.backups.values().map(|backup| backup.deposits.len()).sum();
    assert_eq!(safes.all.iter().map(|safe| safe.counts().1).sum::<usize>(), held);
}

/// However long the book is, not all of it is written again each time, and there is room for its chapters in a head.
#[test]
fn a_book_that_grows_is_written_a_few_times_over() {
    // As long as that of a chapter at two safes, at five, and at ten; and from where on a chapter takes as many segments more.
    for (entry, segment, longest, most) in [
        (600, u64::MAX, MAX_CHAPTER, 10),
        (1_100, u64::MAX, MAX_CHAPTER, 10),
        (2_200, u64::MAX, MAX_CHAPTER, 10),
        // 12,000 backups of five deposits.
        (1_100, 4 << 20, 4 * MAX_CHAPTER, 10),
    ] {
        let mut chapters: Vec<Size> = Vec::new();
        let (mut all, mut written) = (0, 0);
        while all < longest {
            let with = newest(MAX_LOOSE, &chapters);
            let content = MAX_LOOSE + chapters.drain(..with).map(|one| one.content).sum::<u64>();
            (all, written) = (all + MAX_LOOSE, written + content);
            let segments = content.div_ceil(segment);
            chapters.insert(0, Size { content, entry: entry * segments, segments });
            let entries: u64 = chapters.iter().map(|one| one.entry).sum();
            assert!(entries <= MAX_CHAPTERS, "{entries} after {all}");
        }
        assert!(written <= most * all, "{} times, entries of {entry}", written / all);
        assert_eq!(chapters.iter().map(|one| one.content).sum::<u64>(), all);
    }
}

#[test]
fn a_chapter_comes_to_its_end_from_wherever_it_was_cut_off_and_names_nothing_twice() {
    let ready = |store| {
        let safes = Safes::new(N);
        let (mut wallet, _) = enrolled(store, &safes);
        let mut n = 0;
        // The next one is too much.
        while wallet.state.owner.as_ref().unwrap().loose + 5000 < MAX_LOOSE {
            one_more(&mut wallet, &safes, &format!("Number {n}"));
            n += 1;
        }
        let ids: Vec<_> = wallet.state.safes.keys().copied().collect();
        let values: Vec<_> = (0..2).map(|n| wallet.add(&format!("Last {n}"), b"last")).collect();
        for value in values {
            wallet.back_up_as(&[value], Plan::spread(3, &ids).unwrap(), None, false).unwrap();
        }
        (wallet, safes)
    };
    let (mut wallet, safes) = ready(leak());
    let count = wallet.run(&safes, 10_000);
    assert_eq!(chapters(&wallet).count(), 1);
    for crash in (0..=count).step_by(5) {
        let store = leak();
        let (mut wallet, safes) = ready(store);
        let fault = [Fault::LostBefore, Fault::LostAfter, Fault::Twice][crash / 5 % 3];
        for step in 0..crash {
            let Some(action) = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next() else { break };
            wallet.act(&action, &safes, if step + 1 == crash { fault } else { Fault::None }).unwrap();
        }
        let (now, had) = (wallet.now(), wallet.state.values.len());
        drop(wallet);
        let mut wallet = Wallet::open(store, 100 + crash as u64);
        wallet.wait(now - wallet.now());
        settle(&mut wallet, &safes);
        assert_eq!(chapters(&wallet).count(), 1, "{fault:?} at {crash}");
        let mut back = Comer::new(&safes, wallet.now(), &[0, 2, 4], 9).come_back(77);
        settle(&mut back, &safes);
        assert_eq!(known(&back).len(), had, "{fault:?} at {crash}");
        let held: usize = wallet.state.backups.values().map(|backup| backup.deposits.len()).sum();
        assert_eq!(safes.all.iter().map(|safe| safe.counts().1).sum::<usize>(), held, "{fault:?} at {crash}");
    }
}

/// A head has no room for the certificates of chapters: who comes back has them shown, checks them by what the head says, and goes on without them as long as a safe does not.
#[test]
fn whoever_comes_back_has_the_certificates_of_chapters_shown() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    for n in 0..12 {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
    }
    let length = |backup: &Backup| codec::encode(&chapter_entry_of(backup).unwrap()).len();
    assert!(chapters(&wallet).all(|chapter| length(chapter) < 1200), "{:?}", chapters(&wallet).map(length).max());
    let mut back = Comer::new(&safes, wallet.now(), &[0, 1, 2, 3], 2).come_back(2);
    settle(&mut back, &safes);
    assert_eq!(known(&back), known(&wallet));
    let deposits = |wallet: &Wallet<'_>| -> Vec<Deposit> {
        chapters(wallet).flat_map(|chapter| chapter.deposits.iter().cloned()).collect()
    };
    assert!(deposits(&back).iter().all(|deposit| deposit.certificate.is_none() && deposit.release_only == Some(true)));
    // They are audited by what the head says. Another one that is as sound is not the one.
    let id = chapters(&back).next().unwrap().id;
    let first = deposits(&wallet)[0].clone();
    let mut others = wallet.state.backups.values().flat_map(|backup| &backup.deposits);
    let other = others.find(|other| other.safe == first.safe && other.id != first.id).unwrap();
    let signed = other.certificate.clone().unwrap().0;
    assert!(back.handle(Event::Renewed(id, first.id, signed)).is_err());
    back.handle(Event::Audit(Some(id))).unwrap();
    settle(&mut back, &safes);
    let shown = deposits(&back);
    assert!(shown.iter().all(|deposit| deposit.audited.is_some() && deposit.fault.is_none() && deposit.told.is_none()));
    let same = |own: &Deposit| deposits(&wallet).iter().any(|d| d.id == own.id && d.signed_for() == own.signed_for());
    assert!(shown.iter().all(|own| own.certificate.is_some() && same(own)));
    // And it writes heads that the next one comes back by.
    one_more(&mut back, &safes, "One more");
    let mut next = Comer::new(&safes, back.now(), &[2, 3, 4], 3).come_back(3);
    settle(&mut next, &safes);
    assert_eq!(known(&next), known(&back));
}

#[test]
fn a_chapter_is_written_without_a_safe_that_is_away_and_comes_back_with_two_more_lost() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    safes.away = vec![4];
    let ids: Vec<_> = safes.all.iter().map(MemorySafe::id).collect();
    for n in 0..12 {
        wallet.wait(1);
        let value = wallet.add(&format!("Number {n}"), b"content");
        wallet.back_up_as(&[value], Plan::spread(2, &ids[..4]).unwrap(), None, false).unwrap();
        settle(&mut wallet, &safes);
    }
    let owner = wallet.state.owner.as_ref().unwrap();
    assert_eq!((owner.left_out, owner.written(), chapters(&wallet).count()), (0, 4, 1));
    assert!(chapters(&wallet).all(|backup| backup.finished.is_some() && backup.plan.safes().len() == 4));
    // Whoever was away is back, and two others are gone: what the chapter has suffices.
    safes.away = vec![1, 2];
    let mut back = Comer::new(&safes, wallet.now(), &[0, 3, 4], 5).come_back(8);
    settle(&mut back, &safes);
    assert_eq!(known(&back), known(&wallet));
}

/// Two windows may take turns in acting, and one of them may not have heard of a safe what the other one has.
#[test]
fn two_windows_that_think_different_safes_away_write_one_chapter() {
    let (store, mut safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    let mut n = 0;
    while wallet.state.owner.as_ref().unwrap().loose + 5000 < MAX_LOOSE {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
        n += 1;
    }
    let now = wallet.now();
    let mut windows = [wallet, Wallet::open(store, 50)];
    windows[1].wait(now - windows[1].now());
    let ids: Vec<_> = windows[0].state.safes.keys().copied().collect();
    for (window, away) in windows.iter_mut().zip([3, 4]) {
        safes.away = vec![away];
        let gone = safes.all[away].id();
        window.see(gone, None).unwrap();
    }
    let three: Vec<_> = ids.iter().copied().filter(|id| ![safes.all[3].id(), safes.all[4].id()].contains(id)).collect();
    for n in 0..3 {
        let value = windows[0].add(&format!("Last {n}"), b"last");
        windows[0].back_up_as(&[value], Plan::spread(2, &three).unwrap(), None, false).unwrap();
    }
    let mut written = 0;
    for _ in 0..2000 {
        for (window, away) in windows.iter_mut().zip([3, 4]) {
            safes.away = vec![away];
            window.reload().unwrap();
            let Some(action) = window.session.actions(&window.state, window.now()).into_iter().next() else { continue };
            written += usize::from(action == Action::WriteChapter);
            window.act(&action, &safes, Fault::None).unwrap();
        }
    }
    for window in &mut windows {
        window.reload().unwrap();
        assert!(chapters(window).all(|backup| backup.finished.is_some()));
    }
    assert_eq!((chapters(&windows[0]).count(), written), (1, 1));
}

#[test]
fn a_chapter_whose_pieces_are_not_shown_is_written_anew_elsewhere() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    for n in 0..12 {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
    }
    let (chapter, lost) = {
        let chapter = chapters(&wallet).next().unwrap();
        (chapter.id, chapter.deposits.iter().find(|deposit| deposit.safe == safes.all[2].id()).unwrap().id)
    };
    let prefix = lost.to_string();
    safes.all[2].corrupt_where(|key| key.contains(&prefix), |body| body[40] ^= 1);
    wallet.handle(Event::Audit(Some(chapter))).unwrap();
    settle(&mut wallet, &safes);
    let anew: Vec<_> = chapters(&wallet).collect();
    assert!(anew.len() == 1 && anew[0].id != chapter);
    assert!(!anew[0].plan.safes().contains(&&safes.all[2].id()));
    let mut back = Comer::new(&safes, wallet.now(), &[1, 2, 3], 5).come_back(8);
    settle(&mut back, &safes);
    assert_eq!(known(&back), known(&wallet));
}

/// One more, and it would not come back.
#[test]
fn a_chapter_that_several_safes_do_not_show_is_written_anew_also_with_them() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    for n in 0..12 {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
    }
    let chapter = chapters(&wallet).next().unwrap().clone();
    for at in [0, 1, 2] {
        let lost = chapter.deposits.iter().find(|deposit| deposit.safe == safes.all[at].id()).unwrap();
        let prefix = lost.id.to_string();
        safes.all[at].corrupt_where(|key| key.contains(&prefix), |body| body[40] ^= 1);
    }
    wallet.handle(Event::Audit(Some(chapter.id))).unwrap();
    settle(&mut wallet, &safes);
    wallet.wait(7 * 86_400);
    settle(&mut wallet, &safes);
    let anew: Vec<_> = chapters(&wallet).collect();
    assert!(anew.len() == 1 && anew[0].id != chapter.id && anew[0].operation.is_none());
    assert!(anew[0].deposits.iter().all(|deposit| deposit.fault.is_none()));
    let mut back = Comer::new(&safes, wallet.now(), &[0, 1, 2], 5).come_back(8);
    settle(&mut back, &safes);
    assert_eq!(known(&back), known(&wallet));
}

#[test]
fn safes_that_refuse_a_chapter_do_not_take_turns() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    for n in 0..4 {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
    }
    let last = wallet.add("Last", b"last");
    let two: Vec<_> = safes.all[..3].iter().map(MemorySafe::id).collect();
    for n in 0..4 {
        let value = if n == 0 { last } else { wallet.add("More", b"more") };
        wallet.back_up_as(&[value], Plan::spread(2, &two).unwrap(), None, false).unwrap();
    }
    // Two safes refuse each chapter; so there is none, and nobody is asked over and over.
    let mut written = 0;
    for _ in 0..4000 {
        let Some(action) = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next() else { break };
        written += usize::from(action == Action::WriteChapter);
        let refused = match &action {
            Action::Send(backup, deposit, SafeErrand::Put) => wallet.state.backups[backup]
                .deposit(deposit)
                .filter(|d| wallet.state.backups[backup].chapter.is_some() && !two.contains(&d.safe))
                .map(|d| d.id),
            _ => None,
        };
        match refused {
            Some(deposit) => {
                wallet.session.started(&action, &wallet.state);
                wallet.session.refusals.insert(deposit, "has no more room under your token".into());
                wallet.session.ended(&action);
            }
            None => wallet.act(&action, &safes, Fault::None).unwrap(),
        }
    }
    assert!(wallet.session.actions(&wallet.state, wallet.now()).is_empty());
    assert!((1..=3).contains(&written), "{written}");
}

#[test]
fn whoever_takes_the_book_back_follows_its_chapters() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut first, _) = enrolled(store, &safes);
    for n in 0..12 {
        one_more(&mut first, &safes, &format!("First {n}"));
    }
    let mut second = Comer::new(&safes, first.now(), &[0, 1, 2, 3, 4], 2).come_back(2);
    second.wait(first.now() - second.now());
    settle(&mut second, &safes);
    for n in 0..20 {
        one_more(&mut second, &safes, &format!("Second {n}"));
    }
    // The first one has another backup meanwhile, in nobody's book.
    let own = one_more(&mut first, &safes, "Own");
    assert!(first.state.owner.as_ref().unwrap().superseded);
    Comer::new(&safes, second.now(), &[0, 1, 2, 3, 4], 3).come_back_to(&mut first, 3);
    first.wait(second.now() - first.now());
    settle(&mut first, &safes);
    let mut all = known(&second);
    all.insert(own);
    assert_eq!(known(&first), all);
    let mut third = Comer::new(&safes, first.now(), &[0, 2, 4], 4).come_back(4);
    settle(&mut third, &safes);
    assert_eq!(known(&third), all);
}

/// A safe that renews with what does not hold is asked three times, and again when its owner wants it.
#[test]
fn a_renewal_that_does_not_hold_is_not_asked_for_without_end() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    for n in 0..12 {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
    }
    let mut back = Comer::new(&safes, wallet.now(), &[0, 1, 2, 3], 2).come_back(2);
    settle(&mut back, &safes);
    let (id, safe) = (chapters(&back).next().unwrap().id, safes.all[0].id());
    let theirs = back.state.backups[&id].deposits.iter().find(|deposit| deposit.safe == safe).unwrap().id;
    let renews = |back: &Wallet<'_>| {
        let renew = Action::Send(id, theirs, SafeErrand::Renew);
        back.session.actions(&back.state, back.now()).contains(&renew)
    };
    for round in 0..4 {
        let now = back.now();
        back.session.look_for_renewals(&back.state, &safe, now);
        assert_eq!(renews(&back), round < 3, "{round}");
        back.session.renewed(&theirs);
        back.session.not_renewed(&theirs);
    }
    back.session.retry();
    let now = back.now();
    back.session.look_for_renewals(&back.state, &safe, now);
    assert!(renews(&back));
}

/// Of a chapter whose certificate was never here, only its safe's signature says that it is gone; and nothing of it is renewed meanwhile.
#[test]
fn a_chapter_without_certificates_is_let_go_by_receipt() {
    let (store, safes) = (leak(), Safes::new(N));
    let (mut wallet, _) = enrolled(store, &safes);
    for n in 0..12 {
        one_more(&mut wallet, &safes, &format!("Number {n}"));
    }
    let mut back = Comer::new(&safes, wallet.now(), &[0, 1, 2, 3, 4], 2).come_back(2);
    settle(&mut back, &safes);
    let id = chapters(&back).next().unwrap().id;
    // One piece is not shown, so the chapter is written anew, and this one goes.
    let lost = back.state.backups[&id].deposits[0].clone();
    let prefix = lost.id.to_string();
    safes.all.iter().for_each(|safe| safe.corrupt_where(|key| key.contains(&prefix), |body| body[40] ^= 1));
    assert!(back.state.backups[&id].deposits.iter().all(|deposit| deposit.certificate.is_none()));
    back.handle(Event::Audited(vec![(id, lost.id, Shown::Bad("is not there".to_owned(), Vec::new()))])).unwrap();
    let leaves = |back: &Wallet<'_>| back.state.backups[&id].operation == Some(Operation::Release);
    while !leaves(&back) {
        assert_eq!(back.run(&safes, 1), 1);
    }
    let now = back.now();
    for safe in &safes.all {
        back.session.look_for_renewals(&back.state, &safe.id(), now);
    }
    let renew = |action: &Action| matches!(action, Action::Send(backup, _, SafeErrand::Renew) if *backup == id);
    assert!(!back.session.actions(&back.state, back.now()).iter().any(renew));
    let held = back.state.backups[&id].deposits.iter().find(|deposit| deposit.stage == Stage::Held).unwrap();
    let (deposit, told) = (held.id, held.signed_for());
    assert!(told.is_some());
    assert!(back.handle(Event::Released(id, deposit, Some(b"<html>".to_vec()))).is_err());
    settle(&mut back, &safes);
    assert!(!back.state.backups.contains_key(&id));
}
