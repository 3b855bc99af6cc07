//! How long it takes to look at a plan over as many safes as there can be: `cargo bench -p tests --bench analysis`.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a benchmark prints, and ends where it cannot go on")]

use std::time::Instant;

use protocol::{
    analysis::{Enrolment, Setting, analyse},
    plan::{MAX_SAFES, Place, Plan},
};

/// Eighty places, and everybody has a part in it.
fn largest(safes: &[usize]) -> Plan<usize> {
    let (first, last) = safes.split_at(safes.len() / 2);
    let at = |safes: &[usize], owner| safes.iter().map(|s| Plan::place(Place::Safe { safe: *s, owner })).collect();
    let split = |safes: &[usize], owner| Plan::split(safes.len() / 2, at(safes, owner)).unwrap();
    let content = Plan::disperse(safes.len() / 2, at(safes, false)).unwrap();
    let place = |place| Plan::copies(vec![Plan::place(place), Plan::place(Place::Book)]).unwrap();
    let key = vec![
        split(first, true),
        split(last, true),
        split(&safes[1..], false),
        split(&safes[..safes.len() - 5], true),
        place(Place::File),
        place(Place::Memory),
    ];
    Plan::seal(content, key).unwrap()
}

fn main() {
    let safes: Vec<usize> = (0..MAX_SAFES).collect();
    let half = MAX_SAFES / 2;
    let enrolled = || Some(Enrolment { safes: safes.clone(), t: half });
    let plans = [
        ("guarded 10 of 20", Plan::guarded(half, &safes).unwrap(), None),
        ("guarded 10 of 20, enrolled", Plan::guarded(half, &safes).unwrap(), enrolled()),
        ("spread 10 of 20", Plan::spread(half, &safes).unwrap(), None),
        ("78 places at 20 safes, enrolled", largest(&safes), enrolled()),
    ];
    for (name, plan, enrolment) in plans {
        let start = Instant::now();
        let analysis = analyse(&plan, &Setting { enrolment, former: Vec::new() }).unwrap();
        let tables = start.elapsed();
        let families = [&analysis.recovering, &analysis.disclosing, &analysis.guessing];
        let ways: usize = families.iter().map(|family| family.patterns().len()).sum();
        let _ = (analysis.losses(true), analysis.losses(false), analysis.coalitions.least(), analysis.needed());
        let all = start.elapsed();
        println!("{name}: tables {tables:?}; with {ways} patterns, losses and coalitions {all:?}");
    }
}
