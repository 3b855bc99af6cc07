//! What one change of the owner's book sends to one safe, however long the book is: `cargo xtask bench book`.
//!
//! A wallet in memory with five safes, and as many values as are asked for, each in a backup of its own and protected one after the other.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and ends where it cannot go on")]

use std::env;

use protocol::{
    crypto::{PassphraseCost, derive_secret},
    ids::SafeId,
    owner::enrolment::{Enrolling, Stretched},
    plan::Plan,
};
use tests::{
    fixture::{rng, secret},
    plug::leak,
    world::{Safes, Then, Wallet},
};
use wallet_wasm::{
    machine::{Enrol, Event},
    owner::{Making, epoch_after},
    session::Action,
};

/// Safes of the owner.
const SAFES: usize = 5;
/// Values whose sum is one line.
const SPAN: usize = 100;

/// Between two values, seconds: a safe takes so many questions of one account in the time for which a challenge counts.
const PAUSE: u64 = 120;

/// What went to the first safe for the book.
#[derive(Default, Clone, Copy)]
struct Sent {
    /// Bytes of questions: promises, heads, tickets.
    heads: usize,
    /// Bytes of chapters.
    chapters: usize,
    /// The most that one change took, bytes.
    most: usize,
}

fn enrolment(ids: &[SafeId]) -> Enrol {
    let draft = Enrolling::start(&secret(77), ids, 3, "a passphrase", PassphraseCost::LEAST).unwrap();
    let (stretch, output) = draft.to_stretch();
    let key = stretch.derive_key_of(output).unwrap();
    let name = tests::owner::name(1);
    let made = draft.finish(&Stretched::new(key.clone()), &name, 1).unwrap();
    Enrol {
        name: "alice-7kq4m2".to_owned(),
        name_key: name.expose().clone(),
        credential: derive_secret(&secret(1), "credential", b""),
        label: String::new(),
        threshold: 3,
        making: Making::of(&made, key),
        epoch: epoch_after([], &mut rng(1)),
    }
}

/// Does all there is to do; says what of it was the book's, for one safe.
fn settle(wallet: &mut Wallet<'_>, safes: &Safes, sent: &mut Sent) {
    let first = safes.all[0].id();
    let before = sent.heads + sent.chapters;
    while let Some(action) = wallet.session.actions(&wallet.state, wallet.now()).into_iter().next() {
        let chapter = action.backup().is_some_and(|id| wallet.state.backups[&id].chapter.is_some());
        let mut then = wallet.begin(&action).unwrap();
        while let Then::Send(sending) = then {
            if sending.request.safe == first {
                let bytes = sending.body.len();
                match action {
                    Action::Owner(..) => sent.heads += bytes,
                    _ if chapter => sent.chapters += bytes,
                    _ => {}
                }
            }
            let answer = safes.send(&sending.request, sending.body.clone(), wallet.now());
            then = wallet.answered(&sending, answer).unwrap();
        }
    }
    sent.most = sent.most.max(sent.heads + sent.chapters - before);
}

fn main() {
    let count: usize = env::var("STRONGROOM_VALUES").ok().map_or(1_000, |count| count.parse().unwrap());
    let safes = Safes::new(SAFES);
    let mut wallet = Wallet::create(leak(), 1);
    let ids = wallet.trust(&safes);
    wallet.handle(Event::Enrol(Box::new(enrolment(&ids)))).unwrap();
    settle(&mut wallet, &safes, &mut Sent::default());
    let plan = Plan::guarded(3, &ids).unwrap();
    println!(
        "{:>8} {:>14} {:>16} {:>12} {:>9}",
        "values", "heads, a value", "chapters, a value", "most, KiB", "chapters"
    );
    let (mut all, mut span) = (Sent::default(), Sent::default());
    for n in 1..=count {
        wallet.wait(PAUSE);
        let value = wallet.add(&format!("Number {n}"), format!("content {n}").as_bytes());
        wallet.back_up_as(&[value], plan.clone(), None, false).unwrap();
        settle(&mut wallet, &safes, &mut span);
        if n % SPAN == 0 {
            (all.heads, all.chapters) = (all.heads + span.heads, all.chapters + span.chapters);
            if n == SPAN || n % (10 * SPAN) == 0 || n == count {
                let chapters = wallet.state.backups.values().filter(|backup| backup.chapter.is_some()).count();
                println!(
                    "{n:>8} {:>14.0} {:>16.0} {:>12.1} {chapters:>9}",
                    all.heads as f64 / n as f64,
                    all.chapters as f64 / n as f64,
                    span.most as f64 / 1024.0
                );
            }
            span = Sent::default();
        }
    }
    assert_eq!(wallet.state.owner.as_ref().unwrap().left_out, 0);
    assert_eq!(wallet.state.owner.as_ref().unwrap().written(), SAFES);
}
