//! `cargo xtask safe`: what the operator of a real safe needs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use protocol::crypto::{Secret, expand_seed};
use protocol::ids::TokenId;
use protocol::token::Token;

use crate::keys::{Keys, fresh_hex, fresh_secret, now};
use crate::{build, net, node, paths, process};

/// Commands about one safe.
#[derive(Subcommand)]
pub enum Command {
    /// Make the keys of a new safe.
    Keygen(Keygen),
    /// Build the safe and deploy it with wrangler.
    Deploy(Deploy),
    /// Make an admission token, for someone who may deposit.
    Invite(Invite),
    /// Give the safe new working keys.
    Rotate(Rotate),
    /// Show how much each token uses.
    Usage(Usage),
}

/// What `cargo xtask safe invite` takes.
#[derive(clap::Args)]
pub struct Invite {
    /// The safe's keys file.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// Room for all bodies together, MB.
    #[arg(long, default_value_t = 50, value_name = "MB")]
    megabytes: u64,
    /// How many deposits.
    #[arg(long, default_value_t = 500, value_name = "N")]
    deposits: u64,
    /// For how many days deposits may be made with it.
    #[arg(long, default_value_t = 365, value_name = "DAYS")]
    days: u64,
}

/// What `cargo xtask safe rotate` takes.
#[derive(clap::Args)]
pub struct Rotate {
    /// The safe's keys file; it is written anew, and a copy of the old one is left beside it.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// The keys in use so far may have leaked: nothing that they sign from now on counts, and certificates by them prove nothing alone.
    #[arg(long)]
    revoke: bool,
}

/// What `cargo xtask safe usage` takes.
#[derive(clap::Args)]
pub struct Usage {
    /// The safe's keys file.
    #[arg(long, value_name = "FILE")]
    keys: PathBuf,
    /// Where the safe answers.
    #[arg(long)]
    url: String,
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
    /// Let anybody deposit, without a token: for tests.
    #[arg(long)]
    open: bool,
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
    /// Who runs the safe, as wallets show it: the variable SAFE_OPERATOR.
    #[arg(long)]
    operator: Option<String>,
    /// Where its machines stand, as wallets show it: the variable SAFE_REGION.
    #[arg(long)]
    region: Option<String>,
    /// The safes that this one asks for its owners, "ID URL ID URL …": the variable RELAYS.
    #[arg(long, value_name = "LIST")]
    relays: Option<String>,
    /// The keys file whose chain the safe shows: the variable CHAIN. The keys themselves are set with `wrangler secret`.
    #[arg(long, value_name = "FILE")]
    keys: Option<PathBuf>,
}

/// Runs one of the commands.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Keygen(args) => keygen(args),
        Command::Deploy(args) => deploy(args),
        Command::Invite(args) => invite(args),
        Command::Rotate(args) => rotate(args),
        Command::Usage(args) => usage(args),
    }
}

fn keygen(args: &Keygen) -> Result<()> {
    let file = args.out.join("keys.json");
    fs::create_dir_all(&args.out)
        .with_context(|| format!("{} cannot be used as a directory; pass another --out", args.out.display()))?;
    let mut keys = Keys::make()?;
    if !args.open {
        keys.token_key = Some(fresh_hex()?);
    }
    keys.write(&file)?;
    // Absolute, for node would take a bare name for a package's.
    let file = fs::canonicalize(&file).unwrap_or(file);
    let (name, url, shown) = (&args.name, &args.url, file.display());
    println!("{name} is {}", keys.safe_id);
    println!();
    println!("{shown} holds its keys; keep it offline, with a copy. Then:");
    print_secrets(&keys, &file, name);
    println!("  cargo xtask safe deploy --name {name} --url {url} --keys {shown}");
    if !args.open {
        println!();
        println!("It takes deposits only with a token; make one for each person:");
        println!("  cargo xtask safe invite --keys {shown}");
    }
    Ok(())
}

/// The commands that give the Worker its secrets.
fn print_secrets(keys: &Keys, file: &Path, name: &str) {
    for secret in keys.secrets().keys() {
        let (file, field) = (file.display(), secret.to_lowercase());
        println!("  node -p 'require(\"{file}\").{field}' | npx wrangler secret put {secret} --name {name}");
    }
}

fn invite(args: &Invite) -> Result<()> {
    let keys = Keys::read(&args.keys)?;
    let Some(key) = &keys.token_key else {
        bail!("this safe takes deposits of anybody; a token is of no use. Make its keys without --open to want tokens")
    };
    let key = secret_of(key)?;
    let mut rng = expand_seed(&fresh_secret()?);
    let until = now()?.saturating_add(args.days.saturating_mul(86_400));
    let bytes = args.megabytes.saturating_mul(1_000_000);
    let token = Token::new(keys.safe_id.parse()?, TokenId::make_random(&mut rng), bytes, args.deposits, until);
    // The token alone on the standard output, so that it can be passed on.
    eprintln!("Token {}: {} MB, {} deposits, {} days.", token.id, args.megabytes, args.deposits, args.days);
    println!("{}", token.mint(&key));
    Ok(())
}

fn secret_of(hex: &str) -> Result<Secret> {
    let bytes = base16ct::lower::decode_vec(hex.trim()).map_err(|_| anyhow!("a key in the keys file is not hex"))?;
    Ok(Secret::try_from(bytes.as_slice())?)
}

fn rotate(args: &Rotate) -> Result<()> {
    let old = Keys::read(&args.keys)?;
    let new = old.rotated(args.revoke)?;
    let copy = args.keys.with_extension(format!("before-{}.json", now()?));
    old.write(&copy)?;
    new.replace(&args.keys)?;
    println!("{} holds the new keys, {} the old ones. Then, in one go:", paths::show(&args.keys), paths::show(&copy));
    print_secrets(&new, &fs::canonicalize(&args.keys)?, "NAME");
    println!("  cargo xtask safe deploy --name NAME --url URL --keys {}", paths::show(&args.keys));
    println!(
        "Certificates signed so far stay good{}.",
        if args.revoke {
            " for their holders, but prove nothing alone: wallets renew them with the next contact"
        } else {
            ""
        }
    );
    Ok(())
}

fn usage(args: &Usage) -> Result<()> {
    let keys = Keys::read(&args.keys)?;
    let secret = keys.operator_secret.context("the keys file has no operator_secret; add 64 hex digits and deploy")?;
    let mut after = String::new();
    loop {
        let page = net::get_json(&format!("{}/v1/usage{after}", args.url.trim_end_matches('/')), &secret)?;
        if after.is_empty() {
            println!("removed by alarms today: {} of {}", page["removals_today"], page["removals_a_day"]);
            println!("{:<34}{:>10}{:>14}", "token", "deposits", "bytes");
        }
        for row in page["tokens"].as_array().into_iter().flatten() {
            println!("{:<34}{:>10}{:>14}", row["token"].as_str().unwrap_or_default(), row["deposits"], row["bytes"]);
        }
        match page["next"].as_str() {
            Some(next) => after = format!("?after={next}"),
            None => return Ok(()),
        }
    }
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
    for (variable, said) in [("SAFE_OPERATOR", &args.operator), ("SAFE_REGION", &args.region), ("RELAYS", &args.relays)]
    {
        wrangler.args(said.iter().flat_map(|said| ["--var".to_owned(), format!("{variable}:{said}")]));
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
