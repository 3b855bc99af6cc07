//! `cargo xtask fuzz`: libFuzzer over every decoder, for as long as you like.
//!
//! The decoders stand in tests/src/decoders.rs, and each has a directory in tests/corpus, which the native tests read again. It runs on the pinned
//! compiler: coverage is a pass of LLVM's, and with no unsafe code of ours there is nothing for a sanitizer to find.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::{paths, process};

/// What `cargo xtask fuzz` takes.
#[derive(clap::Args)]
pub struct Args {
    /// The decoders, by their names in tests/src/decoders.rs; without one, all.
    decoders: Vec<String>,
    /// For how long each is fuzzed; 0 with --keep chooses among what was found before.
    #[arg(long, default_value_t = 10)]
    minutes: u64,
    /// Put the inputs that reach the most, and few of them, into tests/corpus.
    #[arg(long)]
    keep: bool,
}

/// What cargo-fuzz passes too, less the sanitizer.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
];
/// Longest input, bytes: a request with a certificate or two in it.
const MAX_LEN: usize = 8192;
/// Longest input that is kept in the tree, bytes, and how many for each decoder: all of them stay below a megabyte.
const KEPT_LEN: u64 = 2600;
const KEPT: usize = 12;

/// Fuzzes; ends with the first input that makes a decoder panic.
pub fn run(args: &Args) -> Result<()> {
    let corpus = paths::root().join("tests/corpus");
    let program = build()?;
    let decoders = if args.decoders.is_empty() { names(&program)? } else { args.decoders.clone() };
    for decoder in &decoders {
        let work = paths::target().join("fuzz").join(decoder);
        fs::create_dir_all(&work)?;
        let kept = corpus.join(decoder);
        fs::create_dir_all(&kept)?;
        if args.minutes > 0 {
            fuzz(&program, decoder, args.minutes, &work, &kept)?;
        }
        if args.keep {
            keep(&program, decoder, &work, &kept)?;
        }
    }
    Ok(())
}

fn fuzz(program: &Path, decoder: &str, minutes: u64, work: &Path, kept: &Path) -> Result<()> {
    process::step(&format!("fuzzing {decoder}"));
    let mut fuzzer = Command::new(program);
    fuzzer
        .current_dir(paths::target().join("fuzz"))
        .env("STRONGROOM_DECODER", decoder)
        .env("STRONGROOM_SEEDS", work)
        .arg(format!("-max_total_time={}", minutes * 60))
        .arg(format!("-max_len={MAX_LEN}"))
        .arg(format!("-artifact_prefix={decoder}-"))
        .args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=0"])
        .args([work, kept]);
    process::run(&mut fuzzer, &format!("fuzzing {decoder}"))
}

/// The names of all decoders, as the fuzzer prints them.
fn names(program: &Path) -> Result<Vec<String>> {
    let output = process::output(&mut Command::new(program))?;
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

fn build() -> Result<PathBuf> {
    process::step("building the fuzzer");
    // With a target named, build scripts are built without the flags.
    let host = host()?;
    let target = paths::target().join("fuzz-build");
    let mut cargo = process::cargo();
    cargo
        .args(["build", "--quiet", "--release", "--locked", "--manifest-path"])
        .arg(paths::root().join("tests/fuzz/Cargo.toml"))
        .args(["--target", &host])
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", COVERAGE.join("\u{1f}"));
    process::run(&mut cargo, "building the fuzzer (it needs a C++ compiler)")?;
    Ok(target.join(host).join("release/fuzz"))
}

fn host() -> Result<String> {
    let output = process::output(Command::new("rustc").arg("-vV"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc does not say what machine this is")
}

/// Of all inputs the fewest that reach as much, and of those the shortest, by the names that libFuzzer gives: hashes of their contents.
fn keep(program: &Path, decoder: &str, work: &Path, kept: &Path) -> Result<()> {
    let merged = paths::target().join("fuzz").join(format!("{decoder}.merged"));
    if merged.exists() {
        fs::remove_dir_all(&merged)?;
    }
    fs::create_dir_all(&merged)?;
    let mut merge = Command::new(program);
    merge
        .env("STRONGROOM_DECODER", decoder)
        .args(["-set_cover_merge=1", "-verbosity=0"])
        .arg(format!("-max_len={MAX_LEN}"))
        .args([&merged, &work.to_owned(), &kept.to_owned()]);
    process::run(&mut merge, &format!("choosing inputs of {decoder}"))?;
    let mut inputs = Vec::new();
    for file in fs::read_dir(&merged)? {
        let file = file?;
        inputs.push((file.metadata()?.len(), file.path()));
    }
    inputs.retain(|(len, _)| *len <= KEPT_LEN);
    inputs.sort();
    if inputs.is_empty() {
        bail!("no input of {decoder} is short enough to be kept");
    }
    fs::remove_dir_all(kept)?;
    fs::create_dir_all(kept)?;
    // Spread over all lengths: the shortest alone would be the first refusals only.
    let step = inputs.len().div_ceil(KEPT);
    for (_, path) in inputs.iter().rev().step_by(step) {
        let name = path.file_name().context("an input has a name")?;
        fs::copy(path, kept.join(name))?;
    }
    Ok(())
}
