//! Node and the npm packages.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Result, bail};

use crate::{paths, process};

/// The oldest Node that the pinned packages take; package.json says the same.
const OLDEST: (u32, u32) = (20, 19);

/// Checks Node and installs the packages of package-lock.json when they are missing or older than it.
pub fn ensure() -> Result<()> {
    check_version(process::first_line("node", &["--version"]).as_deref())?;
    let root = paths::root();
    // npm writes this file last, so it also tells a finished installation from one cut short.
    let installed = modified(&root.join("node_modules/.package-lock.json"));
    let wanted = modified(&root.join("package-lock.json"));
    if wanted.is_none() {
        bail!("package-lock.json is missing; restore it with `git checkout package-lock.json`");
    }
    if installed >= wanted {
        return Ok(());
    }
    process::step("installing npm packages");
    // No install scripts: esbuild and workerd come as optional packages with the program in them, and their scripts
    // only save a few milliseconds. So none of the packages' code runs before we call it.
    let mut npm = Command::new("npm");
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]);
    process::run_quietly(npm.current_dir(&root), "npm ci")?;
    // `npm ci` keeps the time that the file has in its cache on some systems.
    if let Ok(file) = fs::File::options().append(true).open(root.join("node_modules/.package-lock.json")) {
        let _ = file.set_modified(std::time::SystemTime::now());
    }
    Ok(())
}

/// A node command for `script`, at the repository's root.
pub fn script(script: &str) -> Command {
    let mut command = Command::new("node");
    command.arg(paths::root().join(script)).current_dir(paths::root());
    command
}

/// A command for a program of an npm package, at the repository's root.
pub fn npm_program(name: &str) -> Command {
    let mut command = Command::new(paths::npm_bin(name));
    command.current_dir(paths::root());
    command
}

fn check_version(version: Option<&str>) -> Result<()> {
    let (major, minor) = OLDEST;
    let Some(version) = version else {
        bail!("Node.js was not found on PATH; install Node {major}.{minor} or newer and run this again");
    };
    let mut parts = version.trim_start_matches('v').split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let found = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    if found < OLDEST {
        bail!("Node.js {version} is too old; install Node {major}.{minor} or newer and run this again");
    }
    Ok(())
}

fn modified(path: &Path) -> Option<std::time::SystemTime> {
    fs::metadata(path).and_then(|data| data.modified()).ok()
}

#[cfg(test)]
mod tests {
    use super::check_version;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(check_version(Some("v20.19.0")).is_ok());
        assert!(check_version(Some("v100.0.1")).is_ok());
        assert!(check_version(Some("v20.9.0")).is_err());
        assert!(check_version(Some("nonsense")).is_err());
        assert!(check_version(None).is_err());
    }
}
