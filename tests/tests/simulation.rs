//! The simulation itself: it gives the same run for the same seed, and it notices mistakes. The runs that have to be without a violation are
//! `cargo xtask simulate`.

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
    let found: Vec<_> = BUGS.iter().map(|bug| (bug, found(bug))).collect();
    drop(std::panic::take_hook());
    for (bug, found) in &found {
        if let Some((seed, violation)) = found {
            println!("{bug:?}: seed {seed}: {violation}");
        }
    }
    let missed: Vec<_> = found.iter().filter(|(_, found)| found.is_none()).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "not noticed: {missed:?}");
}
