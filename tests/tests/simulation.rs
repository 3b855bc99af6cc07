//! The simulation itself: it gives the same run for the same seed, and it notices mistakes. The runs that have to be without a violation are
//! `cargo xtask simulate`.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use tests::simulation::{BUGS, Bug, run};

/// So many runs may pass before a mistake is noticed.
const PATIENCE: u64 = 200;

#[test]
fn a_seed_gives_the_same_run() {
    let [first, second] = [7, 7].map(|seed| run(seed, None, false));
    assert_eq!((first.steps, &first.faults, &first.operations), (second.steps, &second.faults, &second.operations));
    assert_eq!((first.violation, second.violation), (None, None));
}

#[test]
fn every_mistake_is_noticed() {
    // What is noticed is said once, and not by every thread that notices it.
    std::panic::set_hook(Box::new(|_| {}));
    let found = |bug: &Bug| (0..PATIENCE).find_map(|seed| Some((seed, run(seed, Some(*bug), false).violation?)));
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while let Some(bug) = BUGS.get(next.fetch_add(1, Ordering::Relaxed)) {
                    match found(bug) {
                        Some((seed, violation)) => println!("{bug:?}: seed {seed}: {violation}"),
                        None => missed.lock().unwrap().push(bug),
                    }
                }
            });
        }
    });
    drop(std::panic::take_hook());
    let missed = missed.into_inner().unwrap();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
