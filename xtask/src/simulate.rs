//! `cargo xtask simulate`: wallets and safes in one world, with faults, from many seeds.

use anyhow::Result;

use crate::process;

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
    let mut cargo = process::cargo();
    cargo.args(["run", "--quiet", "--package", "tests", "--bin", "simulate", "--"]);
    cargo.args(["--seeds", &args.seeds.to_string(), "--from", &args.from.to_string()]);
    if args.trace {
        cargo.arg("--trace");
    }
    process::run(&mut cargo, "the simulation")
}
