//! `cargo xtask test`: every check, in the order in which they are cheap.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use protocol::ids::SafeId;
use serde_json::json;

use crate::safes::{Plan, Safes, State};
use crate::{build, lint, net, paths, process, simulate, tools};

/// What `cargo xtask test` takes.
#[derive(clap::Args)]
pub struct Args {
    /// Run this stage only; without it, lint and then all stages.
    stage: Option<Stage>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Stage {
    /// Protocol and machines, on this machine.
    Native,
    /// Wallets and safes in one world, with faults.
    Simulation,
    /// The wallet's wasm in headless Chromium.
    Browser,
    /// The safe's suite against real workerd.
    Edge,
    /// The whole product, driven through the page.
    E2e,
}

/// Runs one stage or all.
pub fn run(args: &Args) -> Result<()> {
    let mut times = Vec::new();
    let mut stage = |name: &'static str, run: fn() -> Result<()>| {
        process::step(&format!("stage {name}"));
        let start = Instant::now();
        run()?;
        times.push((name, start.elapsed()));
        Ok::<(), anyhow::Error>(())
    };
    match args.stage {
        Some(Stage::Native) => stage("native", native)?,
        Some(Stage::Simulation) => stage("simulation", simulation)?,
        Some(Stage::Browser) => stage("browser", browser)?,
        Some(Stage::Edge) => stage("edge", edge)?,
        Some(Stage::E2e) => stage("e2e", e2e)?,
        None => {
            stage("lint", lint::run)?;
            stage("native", native)?;
            stage("simulation", simulation)?;
            stage("browser", browser)?;
            stage("edge", edge)?;
            stage("e2e", e2e)?;
        }
    }
    let all: Duration = times.iter().map(|(_, time)| *time).sum();
    for (name, time) in &times {
        eprintln!("  {name:<10}{:>8.1} s", time.as_secs_f64());
    }
    eprintln!("  {:<10}{:>8.1} s", "all", all.as_secs_f64());
    Ok(())
}

fn native() -> Result<()> {
    // The edge suite needs running safes and has its own stage; without their addresses it does nothing.
    process::run(process::cargo().args(["test", "--quiet", "--workspace"]), "the native tests")
}

fn simulation() -> Result<()> {
    simulate::run(&simulate::TESTED)
}

fn browser() -> Result<()> {
    tools::ensure_wasm_target()?;
    tools::ensure_wasm_bindgen()?;
    let chromium = tools::ensure_chromium()?;
    let config = paths::target().join("webdriver.json");
    fs::create_dir_all(paths::target())?;
    fs::write(&config, webdriver(&chromium.browser).to_string())?;
    let mut cargo = process::cargo();
    cargo
        .args(["test", "--package", "wallet-wasm", "--target", tools::WASM])
        // .cargo/config.toml names the runner; this is where it lies.
        .env("PATH", tools::path_with_tools())
        .env("CHROMEDRIVER", &chromium.driver)
        .env("WASM_BINDGEN_TEST_WEBDRIVER_JSON", &config)
        // Argon2id on a busy machine takes longer than the runner's twenty seconds, and the driver's first start longer than its five.
        .env("WASM_BINDGEN_TEST_TIMEOUT", "600")
        .env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "120");
    process::run(&mut cargo, "the browser tests")
}

/// Options that keep Chromium from calling home, which it otherwise waits for where there is no network.
const CHROMIUM_OPTIONS: &[&str] = &[
    "--headless=new",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-pings",
    "--disable-quic",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1",
    "--no-default-browser-check",
    "--no-first-run",
];

fn webdriver(browser: &PathBuf) -> serde_json::Value {
    // Chromium refuses to put root into its sandbox.
    let sandbox = rustix::process::geteuid().is_root().then_some("--no-sandbox");
    let args: Vec<&str> = CHROMIUM_OPTIONS.iter().copied().chain(sandbox).collect();
    json!({ "goog:chromeOptions": { "binary": browser, "args": args } })
}

/// How many safes, and how many of them want a token.
pub struct Counts {
    /// All of them.
    pub safes: u16,
    /// From the last.
    pub tokens: u16,
}

/// Safes on free ports with a state that is gone afterwards.
pub fn with_safes<T>(counts: &Counts, run: impl FnOnce(&Plan) -> Result<T>) -> Result<T> {
    let Counts { safes: count, tokens } = *counts;
    let state = Temporary::make("safes")?;
    let port = net::free_ports(count + 1)?;
    // Where the page would be, the tests may play a safe that the others ask.
    let relay = Some(format!("{} http://127.0.0.1:{port}", SafeId([0x5e; 32])));
    let plan = Plan { count, tokens, port, state: state.0.clone(), page: false, show: false, relay };
    let safes = Safes::start(&plan, State::open(&plan.state)?)?;
    let outcome = run(&plan);
    drop(safes);
    outcome
}

fn edge() -> Result<()> {
    build::safe()?;
    // One of them wants a token, so that whatever runs on all of them runs with and without.
    with_safes(&Counts { safes: 5, tokens: 1 }, |plan| {
        let mut cargo = process::cargo();
        let keys = env::join_paths(plan.keys())?;
        cargo
            .args(["test", "--workspace", "--test", "edge"])
            .env("STRONGROOM_SAFES", plan.urls().join(","))
            .env("STRONGROOM_KEYS", keys)
            .env("STRONGROOM_PLAYED", plan.port.to_string());
        process::run(&mut cargo, "the safe's suite on workerd")
    })
}

fn e2e() -> Result<()> {
    build::all()?;
    let tests = paths::root().join("tests/e2e");
    let mut files: Vec<PathBuf> = fs::read_dir(&tests)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".test.mjs"))
        .collect();
    files.sort();
    if files.is_empty() {
        bail!("there is no test in {}", paths::show(&tests));
    }
    let mut node = browser_script()?;
    // Each file runs its own safes and its own browser. One at a time leaves a third of two processors idle; two at once take 0.7 of the time.
    node.args(["--test", "--test-concurrency=2", "--test-reporter=spec"]).args(files);
    process::run(&mut node, "the end-to-end tests")
}

/// `cargo xtask screens`: what a person should look at.
pub fn screens() -> Result<()> {
    build::all()?;
    let mut node = browser_script()?;
    let out = paths::target().join("screens");
    fs::create_dir_all(&out)?;
    node.arg(paths::root().join("tests/e2e/screens.mjs")).env("STRONGROOM_SCREENS", &out);
    process::run(&mut node, "taking the screenshots")?;
    println!("the screenshots are in {}", paths::show(&out));
    Ok(())
}

/// A node command whose script starts the product and drives Chromium (see tests/e2e/harness.mjs).
pub fn browser_script() -> Result<std::process::Command> {
    let chromium = tools::ensure_chromium()?;
    let mut node = std::process::Command::new("node");
    node.current_dir(paths::root())
        // This very program, for cargo in cargo would wait for itself.
        .env("STRONGROOM_XTASK", env::current_exe().context("this program's own path is not known")?)
        .env("CHROMIUM", chromium.browser);
    Ok(node)
}

/// A directory that is removed when it is dropped.
struct Temporary(PathBuf);

impl Temporary {
    fn make(name: &str) -> Result<Self> {
        let dir = env::temp_dir().join(format!("strongroom-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        Ok(Self(dir))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
