//! `cargo xtask run`: the product on this machine.

use std::io::{self, Write};
use std::path::PathBuf;
use std::thread;

use anyhow::{Result, bail};

use crate::safes::{Plan, Safes, State};
use crate::{build, node, process};

/// What `cargo xtask run` takes.
#[derive(clap::Args)]
pub struct Args {
    /// How many safes to start.
    #[arg(long, default_value_t = 5, value_name = "N")]
    safes: u16,
    /// How many of them, from the last, want an admission token; `cargo xtask safe invite` makes one.
    #[arg(long, default_value_t = 0, value_name = "N")]
    tokens: u16,
    /// The page's port; the safes take the ones after it.
    #[arg(long, default_value_t = 4600, value_name = "P")]
    port: u16,
    /// Where keys and state are kept.
    #[arg(long, default_value = ".strongroom", value_name = "DIR")]
    state: PathBuf,
    /// Take commands for single safes as JSON lines on the standard input (for tests; see xtask/js/safes.mjs).
    #[arg(long)]
    control: bool,
}

/// Builds, starts, and stays until something ends it.
pub fn run(args: &Args) -> Result<()> {
    let plan = Plan {
        count: args.safes,
        tokens: args.tokens,
        port: args.port,
        state: args.state.clone(),
        page: true,
        show: true,
        relay: None,
    };
    // The state directory first: if it is in use, its user is also the one who holds the ports.
    let state = State::open(&plan.state)?;
    plan.check()?;
    node::ensure()?;
    build::all()?;
    let mut safes = Safes::start(&plan, state)?;
    if args.control {
        forward_commands(&mut safes);
    }
    let status = safes.wait()?;
    if !status.success() && !process::interrupted() {
        bail!("the runner of the safes ended ({status}); its own message is above");
    }
    Ok(())
}

/// Passes our input on to the runner. When ours ends, so does the runner's, and with it everything.
fn forward_commands(safes: &mut Safes) {
    if let Some(mut input) = safes.take_input() {
        thread::spawn(move || {
            // Line by line: `io::copy` splices, and a splice from a socket (node's pipes are sockets) waits for more.
            for line in io::stdin().lines().map_while(Result::ok) {
                if writeln!(input, "{line}").is_err() {
                    return;
                }
            }
        });
    }
}
