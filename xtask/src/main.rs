//! `cargo xtask`: the one tool that builds, runs, tests and checks Strongroom.
//!
//! In scope: fetching the pinned tools, calling the compilers in the right order, starting the safes and the
//! page on this machine. What it leaves to others: everything about keys and certificates is `protocol`'s, and
//! the safes themselves run in workerd under `js/safes.mjs`.

mod bench;
mod build;
mod cert;
mod fuzz;
mod keys;
mod lint;
mod net;
mod node;
mod paths;
mod process;
mod run;
mod safe;
mod safes;
mod simulate;
mod stamp;
mod test;
mod tools;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds, runs, tests and checks Strongroom.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Build everything, start the safes and serve the page until Ctrl-C.
    Run(run::Args),
    /// Build the wasm of wallet and safe, and the page.
    Build(build::Args),
    /// Run every check, or one stage of them.
    Test(test::Args),
    /// Check format, lints, dependencies and types.
    Lint,
    /// Measure sizes and times; writes target/bench/report.json.
    Bench(bench::Args),
    /// Run wallets and safes through faults, from many seeds.
    Simulate(simulate::Args),
    /// Fuzz every decoder, or some.
    Fuzz(fuzz::Args),
    /// Take screenshots of the page into target/screens.
    Screens,
    /// Make a safe's keys, deploy a safe, invite to it, look after it.
    #[command(subcommand)]
    Safe(safe::Command),
    /// Look into certificates, and decide who is at fault.
    #[command(subcommand)]
    Cert(cert::Command),
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = process::end_children_on_signals().and_then(|()| match cli.command {
        Command::Run(args) => run::run(&args),
        Command::Build(args) => build::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Lint => lint::run(),
        Command::Bench(args) => bench::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Fuzz(args) => fuzz::run(&args),
        Command::Screens => test::screens(),
        Command::Safe(command) => safe::run(&command),
        Command::Cert(command) => cert::run(&command),
    });
    match outcome {
        // An interrupted child fails too, but the failure is what was asked for.
        _ if process::interrupted() => ExitCode::from(130),
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
