//! `cargo xtask safe`: what the operator of a real safe needs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Subcommand;

use crate::keys::Keys;
use crate::{build, node, paths, process};

/// Commands about one safe.
#[derive(Subcommand)]
pub enum Command {
    /// Make the keys of a new safe.
    Keygen(Keygen),
    /// Build the safe and deploy it with wrangler.
    Deploy(Deploy),
}

/// What `cargo xtask safe keygen` takes.
#[derive(clap::Args)]
pub struct Keygen {
    /// What the safe is called, in the printed instructions.
    #[arg(long, default_value = "strongroom-safe")]
    name: String,
    /// Where the safe will answer, in the printed instructions.
    #[arg(long, default_value = "https://safe.example")]
    url: String,
    /// The directory that gets keys.json.
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
}

/// What `cargo xtask safe deploy` takes.
#[derive(clap::Args)]
pub struct Deploy {
    /// Build and check everything, send nothing.
    #[arg(long)]
    dry_run: bool,
    /// The Worker's name, instead of the one in wrangler.toml.
    #[arg(long)]
    name: Option<String>,
    /// Where the safe will answer: the variable SAFE_URL.
    #[arg(long)]
    url: Option<String>,
    /// The keys file whose chain the safe shows: the variable CHAIN. The keys themselves are set with `wrangler secret`.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// Runs one of the commands.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Keygen(args) => keygen(args),
        Command::Deploy(args) => deploy(args),
    }
}

fn keygen(args: &Keygen) -> Result<()> {
    let file = args.out.join("keys.json");
    fs::create_dir_all(&args.out)
        .with_context(|| format!("{} cannot be used as a directory; pass another --out", args.out.display()))?;
    let keys = Keys::make()?;
    keys.write(&file)?;
    // Absolute, for node would take a bare name for a package's.
    let file = fs::canonicalize(&file).unwrap_or(file);
    let (name, url, file) = (&args.name, &args.url, file.display());
    println!("{name} is {}", keys.safe_id);
    println!();
    println!("{file} holds its keys; keep it offline, with a copy. Then:");
    for (field, secret) in [("signing_key", "SIGNING_KEY"), ("hpke_key", "HPKE_KEY")] {
        println!("  node -p 'require(\"{file}\").{field}' | npx wrangler secret put {secret} --name {name}");
    }
    println!("  cargo xtask safe deploy --name {name} --url {url} --keys {file}");
    Ok(())
}

fn deploy(args: &Deploy) -> Result<()> {
    if !args.dry_run && (args.url.is_none() || args.keys.is_none()) {
        bail!("a safe needs its address and its chain; pass --url and --keys, or --dry-run to try without");
    }
    build::safe()?;
    let mut wrangler = node::npm_program("wrangler");
    wrangler.args(["deploy", "--config", "wrangler.toml"]).args(args.dry_run.then_some("--dry-run"));
    if let Some(name) = &args.name {
        wrangler.args(["--name", name, "--var", &format!("SAFE_NAME:{name}")]);
    }
    if let Some(url) = &args.url {
        wrangler.args(["--var", &format!("SAFE_URL:{}", url.trim_end_matches('/'))]);
    }
    if let Some(file) = &args.keys {
        wrangler.args(["--var", &format!("CHAIN:{}", Keys::read(file)?.chain)]);
    }
    // Nothing but the deployment itself leaves this machine.
    wrangler
        .env("WRANGLER_SEND_METRICS", "false")
        .env("WRANGLER_SEND_ERROR_REPORTS", "false")
        .env("WRANGLER_HIDE_BANNER", "true")
        .env("CLOUDFLARE_CF_FETCH_ENABLED", "false")
        .env("WRANGLER_LOG_PATH", paths::target().join("wrangler"));
    if args.dry_run {
        wrangler.env("CI", "1");
        return process::run(&mut wrangler, "wrangler deploy --dry-run");
    }
    // Wrangler may have to ask who you are.
    let status = wrangler.status().context("cannot start wrangler")?;
    if !status.success() {
        bail!("wrangler deploy failed ({status}); its own message is above");
    }
    Ok(())
}
