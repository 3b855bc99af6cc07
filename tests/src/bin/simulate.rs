//! `cargo xtask simulate`: runs the simulation from many seeds, on all cores.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "it is a command, and a run that panics has been caught before it comes here"
)]

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use clap::Parser;
use tests::simulation::{self, Report};

/// Runs wallets and safes through faults.
#[derive(Parser)]
struct Args {
    /// How many runs.
    #[arg(long, default_value_t = 1)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Say everything that happens.
    #[arg(long)]
    trace: bool,
}

fn main() -> ExitCode {
    let Args { seeds, from, trace } = Args::parse();
    if !trace {
        // What went wrong is said once, with its seed.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let (next, all, found) = (AtomicU64::new(from), Mutex::new(Report::default()), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + seeds {
                        return;
                    }
                    let report = simulation::run(seed, None, trace);
                    all.lock().unwrap().add(&report);
                    if let Some(violation) = report.violation {
                        println!("violation: {violation}\n  cargo xtask simulate --seeds 1 --from {seed} --trace");
                        found.lock().unwrap().push(seed);
                    }
                }
            });
        }
    });
    let (all, found) = (all.into_inner().unwrap(), found.into_inner().unwrap());
    println!("seeds {from}..{}: {} steps", from + seeds, all.steps);
    for (title, counts) in [("faults", &all.faults), ("operations", &all.operations)] {
        println!("{title}: {}", counts.values().sum::<u64>());
        for (kind, count) in counts {
            println!("  {count:>9}  {kind}");
        }
    }
    println!("violations: {}", found.len());
    if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
