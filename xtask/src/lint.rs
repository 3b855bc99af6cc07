//! `cargo xtask lint`: format, lints, dependencies, types.

use std::process::Command;

use anyhow::{Result, bail};

use crate::{node, paths, process, tools};

/// Runs every check; stops at the first that finds something.
pub fn run() -> Result<()> {
    cargo(&["fmt", "--all", "--check"], "the check of the format (`cargo fmt --all` mends it)")?;
    let fuzzer = &["fmt", "--manifest-path", "tests/fuzz/Cargo.toml", "--check"];
    cargo(fuzzer, "the check of the fuzzer's format")?;
    cargo(&["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"], "clippy")?;
    tools::ensure_wasm_target()?;
    cargo(
        &[
            "clippy",
            "--quiet",
            "--target",
            tools::WASM,
            "-p",
            "protocol",
            "-p",
            "wallet-wasm",
            "-p",
            "safe-worker",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ],
        "clippy for wasm",
    )?;
    deny()?;
    node::ensure()?;
    let mut tsc = node::npm_program("tsc");
    process::step("tsc");
    process::run(tsc.args(["--noEmit", "-p", "www"]), "the check of the page's types")?;
    let mut biome = node::npm_program("biome");
    process::step("biome");
    process::run(
        biome.args(["ci", "--error-on-warnings", "."]),
        "the check of the page and the scripts (`npx biome check --write .` mends most)",
    )
}

fn cargo(args: &[&str], what: &str) -> Result<()> {
    process::step(&format!("cargo {}", args.join(" ")));
    process::run(process::cargo().args(args), what)
}

/// Licences, sources and bans need nothing from outside; the list of advisories does.
fn deny() -> Result<()> {
    tools::ensure_cargo_deny()?;
    process::step("cargo deny: bans, licences, sources");
    let deny = || {
        let mut command = Command::new(tools::bin("cargo-deny"));
        command.current_dir(paths::root()).args(["--log-level", "error", "check"]);
        command
    };
    process::run(deny().args(["bans", "licenses", "sources"]), "cargo deny")?;
    let output = process::output(deny().arg("advisories"))?;
    if output.status.success() {
        process::step("cargo deny: advisories");
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    if text.contains("failed to fetch advisory database") || text.contains("failed to load advisory database") {
        eprintln!("  advisories were NOT checked: the advisory database cannot be reached from here");
        return Ok(());
    }
    eprint!("{text}");
    bail!("cargo deny found an advisory; update or replace the crate named above")
}
