//! `cargo xtask build`: wasm of the wallet, script and wasm of the safe, the page.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::stamp::Stamp;
use crate::{node, paths, process, tools};

/// What `cargo xtask build` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Build this part only.
    part: Option<Part>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Part {
    /// The wallet's wasm, into www/src/engine/pkg.
    Wallet,
    /// The safe's script and wasm, into safe-worker/build.
    Safe,
    /// The page, into www/dist; it needs the wallet.
    Page,
}

/// Makes the one file that brings everything back without this site.
const RESCUE: &str = "xtask/js/rescue.mjs";

/// The wasm features that browsers and workerd have had for years.
const WASM_OPT: &[&str] = &[
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
    // wasm-bindgen reads the list of features, so cargo must not strip it; here nobody needs it any more.
    "--strip-debug",
    "--strip-producers",
    "--strip-target-features",
];

/// The wallet is downloaded, so its compressed size counts: equal code in one place compresses better than code that was inlined into its
/// callers, and functions of one name, which are instances of one generic function, compress best side by side (454 KB became 315 KB, and 257 KB).
const WALLET_WASM_OPT: &[&str] =
    &["--reorder-functions-by-name", "-O2", "--inline-max-combined-binary-size", "1", "--converge"];

/// The safe's module notices a trap and makes itself anew before the next call; safe-worker/shim.mjs does the rest.
const SAFE_BINDGEN: &[&str] =
    &["--target", "module", "--no-typescript", "--experimental-reset-state-function", "--force-enable-abort-handler"];

/// The abort handler catches exceptions on the wasm side.
const SAFE_WASM_OPT: &[&str] = &["-O3", "--enable-exception-handling"];

/// Builds one part or all.
pub fn run(args: &Args) -> Result<()> {
    match args.part {
        Some(Part::Wallet) => {
            node::ensure()?;
            wallet()
        }
        Some(Part::Safe) => safe(),
        Some(Part::Page) => page(),
        None => all(),
    }
}

/// Builds everything that `cargo xtask run` needs.
pub fn all() -> Result<()> {
    page()?;
    safe()
}

/// The wallet: wasm and its TypeScript bindings.
fn wallet() -> Result<()> {
    let wasm = cargo_wasm("wallet-wasm", "wallet_wasm", "wallet")?;
    let out = paths::root().join("www/src/engine/pkg");
    let outputs = [out.join("wallet_wasm.js"), out.join("wallet_wasm_bg.wasm")];
    let notes = [&[tools::WASM_BINDGEN], WALLET_WASM_OPT, WASM_OPT].concat();
    let stamp = Stamp::of("wallet", &notes, &[wasm.clone(), lockfile()], &[])?;
    if stamp.is_fresh(&outputs) {
        return Ok(());
    }
    process::step("binding and optimising the wallet");
    stamp.clear();
    let staging = staging("wallet")?;
    bindgen(&wasm, &["--target", "web"], "wallet_wasm", &staging)?;
    wasm_opt(&staging.join("wallet_wasm_bg.wasm"), WALLET_WASM_OPT)?;
    replace_dir(&staging, &out)?;
    stamp.set()
}

/// The benchmark's operations, built as the wallet is, and bundled with their peers into `out`.
pub fn operations(out: &Path) -> Result<()> {
    node::ensure()?;
    let wasm = cargo_wasm("bench-wasm", "bench_wasm", "wallet")?;
    let staging = staging("operations")?;
    bindgen(&wasm, &["--target", "web", "--no-typescript"], "bench_wasm", &staging)?;
    wasm_opt(&staging.join("bench_wasm_bg.wasm"), WALLET_WASM_OPT)?;
    let script = paths::root().join("tests/bench/operations.mjs");
    fs::copy(&script, staging.join("operations.mjs"))
        .with_context(|| format!("cannot copy {}", paths::show(&script)))?;
    let mut esbuild = node::npm_program("esbuild");
    esbuild
        .arg(staging.join("operations.mjs"))
        .arg(format!("--outfile={}", out.join("operations.js").display()))
        .args(["--bundle", "--format=esm", "--target=es2022", "--log-level=warning"])
        // The copy lies outside the tree, so node's own search would not find the peers.
        .env("NODE_PATH", paths::root().join("node_modules"));
    process::run(&mut esbuild, "bundling the operations")?;
    fs::copy(staging.join("bench_wasm_bg.wasm"), out.join("bench_wasm_bg.wasm"))?;
    Ok(())
}

/// The safe: one script and one wasm module, which is all that workerd and the edge take.
pub fn safe() -> Result<()> {
    node::ensure()?;
    let wasm = cargo_wasm("safe-worker", "safe_worker", "release")?;
    let shim = paths::root().join("safe-worker/shim.mjs");
    let out = paths::root().join("safe-worker/build");
    let outputs = [out.join("index.js"), out.join("index_bg.wasm")];
    let notes = [&[tools::WASM_BINDGEN], SAFE_BINDGEN, WASM_OPT, SAFE_WASM_OPT].concat();
    let stamp = Stamp::of("safe", &notes, &[wasm.clone(), shim.clone(), lockfile()], &[])?;
    if stamp.is_fresh(&outputs) {
        return Ok(());
    }
    process::step("binding and optimising the safe");
    stamp.clear();
    let staging = staging("safe")?;
    bindgen(&wasm, SAFE_BINDGEN, "index", &staging)?;
    wasm_opt(&staging.join("index_bg.wasm"), SAFE_WASM_OPT)?;

    // Source phase imports are not what workerd and esbuild take; a plain import of wasm gives them the same module.
    let script = staging.join("index.js");
    let text = fs::read_to_string(&script)?.replace("import source ", "import ");
    fs::write(&script, text)?;
    fs::copy(&shim, staging.join("shim.mjs")).with_context(|| format!("cannot copy {}", paths::show(&shim)))?;

    fs::create_dir_all(&out)?;
    let mut esbuild = node::npm_program("esbuild");
    esbuild
        .arg(staging.join("shim.mjs"))
        .arg(format!("--outfile={}", out.join("index.js").display()))
        .args(["--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=warning"])
        .args(["--external:./index_bg.wasm", "--external:cloudflare:*"]);
    process::run(&mut esbuild, "bundling the safe")?;
    fs::copy(staging.join("index_bg.wasm"), out.join("index_bg.wasm"))?;
    stamp.set()
}

/// The page, with the wallet in it.
pub fn page() -> Result<()> {
    node::ensure()?;
    wallet()?;
    let www = paths::root().join("www");
    let inputs = [www.clone(), lockfile(), paths::root().join(RESCUE)];
    let stamp = Stamp::of("page", &["vite"], &inputs, &["dist", "node_modules", ".vite"])?;
    let rescue = www.join("dist/recover.html");
    if stamp.is_fresh(&[www.join("dist/index.html"), rescue.clone()]) {
        return Ok(());
    }
    process::step("bundling the page");
    stamp.clear();
    let mut vite = node::npm_program("vite");
    vite.args(["build", "--config", "www/vite.config.ts", "--logLevel", "warn"]);
    process::run(&mut vite, "bundling the page")?;
    process::run(&mut node::script(RESCUE), "putting recover.html together")?;
    process::step(&format!("recover.html has {} KB", fs::metadata(&rescue)?.len() / 1000));
    stamp.set()
}

/// Compiles a crate to wasm; cargo itself decides whether there is anything to do.
fn cargo_wasm(package: &str, file: &str, profile: &str) -> Result<PathBuf> {
    tools::ensure_wasm_target()?;
    // One package a call: together cargo would unite their features, and each would carry what the other asked for.
    let mut cargo = process::cargo();
    cargo.args(["build", "--quiet", "--lib", "--profile", profile]);
    cargo.args(["--target", tools::WASM, "--package", package]);
    cargo.arg("--config").arg(format!("target.wasm32-unknown-unknown.rustflags={}", short_paths()?));
    process::run(&mut cargo, &format!("compiling {package}"))?;
    Ok(paths::target().join(tools::WASM).join(profile).join(file).with_extension("wasm"))
}

/// Flags, as a TOML array, by which panics name the sources of a dependency without the directory where this machine keeps them. Otherwise
/// the same sources would give other bytes, and more of them, on every machine.
fn short_paths() -> Result<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let sources = home.map(|home| home.join("registry/src")).filter(|sources| sources.is_dir());
    let mut flags = Vec::new();
    // One directory for every registry.
    for dir in sources.map(fs::read_dir).transpose()?.into_iter().flatten() {
        flags.push(format!("--remap-path-prefix={}/=", dir?.path().display()));
    }
    flags.sort();
    Ok(serde_json::to_string(&flags)?)
}

fn bindgen(wasm: &Path, options: &[&str], name: &str, out: &Path) -> Result<()> {
    tools::ensure_wasm_bindgen()?;
    let mut bindgen = Command::new(tools::bin("wasm-bindgen"));
    bindgen.arg(wasm).args(options).args(["--out-name", name]).arg("--out-dir").arg(out);
    process::run(&mut bindgen, "wasm-bindgen")
}

fn wasm_opt(wasm: &Path, more: &[&str]) -> Result<()> {
    let mut opt = node::npm_program("wasm-opt");
    opt.args(more).args(WASM_OPT).arg(wasm).arg("-o").arg(wasm);
    process::run(&mut opt, "wasm-opt")
}

fn lockfile() -> PathBuf {
    paths::root().join("package-lock.json")
}

/// An empty directory to build in, so that a build cut short leaves no half-made output.
fn staging(name: &str) -> Result<PathBuf> {
    let dir = paths::target().join("staging").join(name);
    if dir.exists() {
        fs::remove_dir_all(&dir)?;
    }
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Puts `from` where `to` is.
fn replace_dir(from: &Path, to: &Path) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    // A rename fails across file systems, where target directories sometimes lie.
    if fs::rename(from, to).is_ok() {
        return Ok(());
    }
    copy_dir(from, to)
}

fn copy_dir(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_dir(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)?;
        }
    }
    Ok(())
}
