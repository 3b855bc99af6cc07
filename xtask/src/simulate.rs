//! `cargo xtask simulate`: wallets and safes in one world, with faults, from many seeds.

use std::process::Command;

use anyhow::Result;

use crate::{paths, process};

/// What `cargo xtask simulate` takes.
#[derive(clap::Args)]
pub struct Args {
    /// How many runs, each from a seed of its own.
    #[arg(long, default_value_t = 200)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Say everything that happens.
    #[arg(long)]
    trace: bool,
}

/// Every run of the tests.
pub const TESTED: Args = Args { seeds: 2_000, from: 0, trace: false };

/// Runs it.
pub fn run(args: &Args) -> Result<()> {
    // Built as one of the programs of the tests: by itself it would have fewer features of the crates below, so that it, and then the tests once
    // more, would be compiled anew.
    let mut cargo = process::cargo();
    cargo.args(["test", "--quiet", "--workspace", "--test", "simulation", "--no-run"]);
    process::run(&mut cargo, "compiling the simulation")?;
    let mut simulate = Command::new(paths::target().join("debug/simulate"));
    simulate.current_dir(paths::root());
    simulate.args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]);
    simulate.args(args.trace.then_some("--trace"));
    process::run(&mut simulate, "the simulation")
}
