//! The tools that rustup and Node do not bring: fetched once, in the versions written here.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use crate::{paths, process};

/// Must equal the version of the `wasm-bindgen` crate: the two speak a private format with each other.
pub const WASM_BINDGEN: &str = "0.2.130";
const CARGO_DENY: &str = "0.20.2";

/// What the browser and the edge run.
pub const WASM: &str = "wasm32-unknown-unknown";

/// Adds the wasm target to the compiler unless it is there. rust-toolchain.toml names it, but a rustup that was told to install nothing by
/// itself, or a compiler that was there before, does without.
pub fn ensure_wasm_target() -> Result<()> {
    let libraries = || process::first_line("rustc", &["--print", "target-libdir", "--target", WASM]);
    let there = || libraries().is_some_and(|path| Path::new(&path).is_dir());
    if there() {
        return Ok(());
    }
    process::step(&format!("adding the target {WASM} to the compiler"));
    let added = process::run_quietly(Command::new("rustup").args(["target", "add", WASM]), "rustup target add");
    if !there() {
        added?;
        bail!("the compiler lacks the target {WASM}; install it (`rustup target add {WASM}`) and run this again");
    }
    Ok(())
}

/// A cargo-installed tool.
pub fn bin(name: &str) -> PathBuf {
    paths::tools().join("bin").join(name)
}

/// `PATH` with the cargo-installed tools in front.
pub fn path_with_tools() -> std::ffi::OsString {
    let mut all = vec![paths::tools().join("bin")];
    all.extend(env::split_paths(&env::var_os("PATH").unwrap_or_default()));
    env::join_paths(all).unwrap_or_default()
}

/// Installs wasm-bindgen and its test runner unless they are there in the right version.
pub fn ensure_wasm_bindgen() -> Result<()> {
    // Without --locked: its lock file names crates that have been withdrawn since.
    ensure("wasm-bindgen", "wasm-bindgen-cli", WASM_BINDGEN, false)
}

/// Installs cargo-deny unless it is there in the right version.
pub fn ensure_cargo_deny() -> Result<()> {
    ensure("cargo-deny", "cargo-deny", CARGO_DENY, true)
}

fn ensure(name: &str, package: &str, version: &str, locked: bool) -> Result<()> {
    let found = process::first_line(bin(name), &["--version"]);
    if found.is_some_and(|line| line.split(' ').nth(1) == Some(version)) {
        return Ok(());
    }
    process::step(&format!("compiling {package} {version}, once (a few minutes)"));
    let mut cargo = process::cargo();
    cargo
        .args(["install", "--quiet", "--force", package, "--version", version])
        .args(locked.then_some("--locked"))
        .arg("--root")
        .arg(paths::tools())
        // They run for seconds: what their optimisation takes is never made up for.
        .args(["--profile", "dev"])
        .env("CARGO_PROFILE_DEV_DEBUG", "false")
        .env("CARGO_PROFILE_DEV_OPT_LEVEL", "0")
        // Elsewhere cargo builds in a temporary directory and cleans up after itself.
        .env_remove("CARGO_TARGET_DIR");
    process::run(&mut cargo, &format!("installing {package}"))
}

/// The browser and its driver, as the tests need them.
pub struct Chromium {
    /// The browser itself, not a wrapper that would swallow options.
    pub browser: PathBuf,
    /// chromedriver, for the wasm tests.
    pub driver: PathBuf,
}

const BROWSERS: &[&str] = &["/usr/lib/chromium/chromium", "chromium", "chromium-browser", "google-chrome"];
const DRIVERS: &[&str] = &["/usr/bin/chromedriver", "chromedriver"];

/// Finds Chromium and its driver, or installs them from Debian's packages where that is possible.
pub fn ensure_chromium() -> Result<Chromium> {
    if let Some(found) = find_chromium() {
        return Ok(found);
    }
    if rustix::process::geteuid().is_root() && find("apt-get").is_some() {
        process::step("installing Chromium and its driver with apt");
        let apt = |args: &[&str]| {
            let mut apt = Command::new("apt-get");
            apt.args(args).env("DEBIAN_FRONTEND", "noninteractive");
            process::run_quietly(&mut apt, "apt-get")
        };
        apt(&["update", "-qq"])?;
        apt(&["install", "-y", "-qq", "--no-install-recommends", "chromium", "chromium-driver"])?;
        if let Some(found) = find_chromium() {
            return Ok(found);
        }
    }
    bail!(
        "Chromium and chromedriver were not found; install both (on Debian: `sudo apt install chromium chromium-driver`) \
         or point CHROMIUM and CHROMEDRIVER at them, and run this again"
    )
}

fn find_chromium() -> Option<Chromium> {
    Some(Chromium {
        browser: named("CHROMIUM").or_else(|| BROWSERS.iter().find_map(|name| find(name)))?,
        driver: named("CHROMEDRIVER").or_else(|| DRIVERS.iter().find_map(|name| find(name)))?,
    })
}

fn named(variable: &str) -> Option<PathBuf> {
    env::var_os(variable).map(PathBuf::from).filter(|path| path.exists())
}

/// A program by its path, or by its name on `PATH`.
fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(PathBuf::from(name)).filter(|path| path.exists());
    }
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| Path::is_file(path))
}
