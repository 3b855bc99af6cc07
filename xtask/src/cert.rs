//! `cargo xtask cert`: looking into what a safe signed, and deciding who is at fault.
//!
//! In scope: reading files, asking the safe, words. The decision itself is `protocol::evidence::judge`'s.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Subcommand;
use protocol::certificate::{self, CertificateError, Registration};
use protocol::claim::{CLAIM_SPAN, Claim, Verb};
use protocol::codec;
use protocol::cose::SignedError;
use protocol::crypto::{Secret, expand_seed};
use protocol::deposit::Face;
use protocol::evidence::{Case, Exhibit, Finding, Judgement, judge, verify_answer};
use protocol::identity::Identity;

use crate::keys::{fresh_secret, now};
use crate::{net, paths};

/// Commands about certificates and other signed statements.
#[derive(Subcommand)]
pub enum Command {
    /// Show what a certificate, offer, receipt, testimony or descriptor says.
    Show(Show),
    /// Decide from a certificate and what the safe signed about it which side is at fault.
    Judge(Judge),
}

/// What `cargo xtask cert show` takes.
#[derive(clap::Args)]
pub struct Show {
    /// The file, as a safe sent it.
    file: PathBuf,
}

/// What `cargo xtask cert judge` takes.
#[derive(clap::Args)]
pub struct Judge {
    /// Certificates of one deposit, receipts, testimonies and descriptors of its safe, in any order.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Fetch the safe's descriptor from the address in the certificate, or from URL.
    #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
    ask: Option<String>,
    /// Make a demand of your own, with the deposit's audit secret (64 hex digits) in this file. It gives no right to the deposit.
    #[arg(long, value_name = "FILE")]
    audit_secret: Option<PathBuf>,
    /// Where the answer to the demand is written, to be shown to others.
    #[arg(long, value_name = "FILE", requires = "audit_secret")]
    save: Option<PathBuf>,
}

/// Runs one of the commands.
pub fn run(command: &Command) -> Result<()> {
    match command {
        Command::Show(args) => show(&args.file),
        Command::Judge(args) => decide(args),
    }
}

fn read(file: &Path) -> Result<Vec<u8>> {
    fs::read(file).with_context(|| format!("{} cannot be read", paths::show(file)))
}

fn exhibit(file: &Path, bytes: &[u8]) -> Result<Exhibit> {
    let stranger = || format!("{} is nothing that a safe signs or serves, or it was altered", paths::show(file));
    Exhibit::read(bytes).with_context(stranger)
}

fn show(file: &Path) -> Result<()> {
    let mut certificate = "CERTIFICATE ";
    match exhibit(file, &read(file)?)? {
        Exhibit::Certificate(says) => {
            println!("registration certificate");
            print_registration(&says);
            certificate = "";
        }
        Exhibit::Offer(says) => {
            println!("offer");
            print_registration(&says);
        }
        Exhibit::Receipt(release) => {
            println!("receipt: the deposit was let go, and the safe shows the release secret");
            line("safe", release.safe);
            line("deposit", release.deposit);
            line("released", date(release.issued));
        }
        Exhibit::Testimony(testimony) => {
            println!("testimony: the safe's answer to a demand");
            line("safe", testimony.safe);
            line("deposit", testimony.deposit);
            line("stated", date(testimony.issued));
            line("verdict", testimony.verdict);
        }
        Exhibit::Descriptor(served) => {
            let (descriptor, identity) = *served;
            println!("descriptor, its chain signed by its identity");
            line("safe", identity.id());
            line("name", &descriptor.name);
            line("address", &descriptor.url);
            let said = descriptor.whereabouts.unwrap_or_default();
            for (what, text) in [("operator", said.operator), ("cloud", said.cloud), ("region", said.region)] {
                text.iter().for_each(|text| line(what, text));
            }
            for entry in identity.entries() {
                let revoked = entry.revoked.map_or(String::new(), |at| format!(", revoked {}", date(at)));
                line("key", format!("{} from {} to {}{revoked}", entry.serial, date(entry.from), date(entry.to)));
            }
            return Ok(());
        }
        _ => bail!("{} is of a kind that this program does not know", paths::show(file)),
    }
    println!();
    println!(
        "Nothing of this has been checked yet; `cargo xtask cert judge {certificate}{} --ask` does.",
        paths::show(file)
    );
    Ok(())
}

fn line(name: &str, value: impl std::fmt::Display) {
    println!("  {name:<12}{value}");
}

fn print_registration(says: &Registration) {
    line("safe", says.safe);
    line("address", &says.url);
    line("key", says.entry);
    line("deposit", says.deposit);
    line("length", format!("{} bytes", says.length));
    line("root", says.root);
    line("issued", date(says.issued));
    line("lease end", date(says.lease_end));
    match &says.face {
        Face::Clear(text) => {
            line("title", &text.title);
            line("kind", &text.kind);
            line("made", date(text.date));
            if let Some(hint) = &text.hint {
                line("hint", hint);
            }
        }
        _ => line("face", "sealed for its wallet"),
    }
    if says.unique == Some(true) {
        line("unique", "lives once: it goes to its chosen claimant only");
    }
    if let Some(by) = says.confirm_by {
        line("confirm by", date(by));
    }
}

fn decide(args: &Judge) -> Result<()> {
    let (mut certificates, mut statements, mut descriptors) = (Vec::new(), Vec::new(), Vec::new());
    let mut names = Vec::new();
    for file in &args.files {
        let bytes = read(file)?;
        match exhibit(file, &bytes)? {
            Exhibit::Certificate(_) => certificates.push(bytes),
            Exhibit::Descriptor(_) => descriptors.push(bytes),
            Exhibit::Receipt(_) | Exhibit::Testimony(_) => {
                names.push(paths::show(file).to_string());
                statements.push(bytes);
            }
            _ => bail!("{} is an offer and binds nobody; bring the certificate", paths::show(file)),
        }
    }
    let Some(first) = certificates.first() else { bail!("there is no certificate among the files") };
    let claimed = certificate::read_unverified(first)?;
    if args.ask.is_some() || args.audit_secret.is_some() {
        let url = args.ask.as_deref().filter(|url| !url.is_empty()).unwrap_or(&claimed.url).trim_end_matches('/');
        match net::exchange("GET", &format!("{url}/.well-known/strongroom"), &[], None) {
            Ok(answer) if answer.status == 200 => descriptors.push(answer.body),
            Ok(answer) => eprintln!("{url} answers {} instead of its descriptor", answer.status),
            Err(error) => eprintln!("{error:#}"),
        }
        if descriptors.is_empty() {
            bail!("the safe's keys are not known: bring a descriptor that was kept (its /.well-known/strongroom)");
        }
        if let Some(file) = &args.audit_secret {
            let secret = read_secret(file)?;
            let answer = demand(url, &claimed, descriptors.last().map_or(&[][..], Vec::as_slice), &secret)?;
            if let (Some(answer), Some(save)) = (&answer, &args.save) {
                fs::write(save, answer).with_context(|| format!("{} cannot be written", paths::show(save)))?;
            }
            let unanswered = answer.is_none();
            if let Some(answer) = answer {
                names.push("the answer to this demand".to_owned());
                statements.push(answer);
            }
            return report(&certificates, &descriptors, &statements, &names, unanswered);
        }
    }
    if descriptors.is_empty() {
        bail!("the safe's keys are not known: bring its descriptor, or fetch it with --ask");
    }
    report(&certificates, &descriptors, &statements, &names, false)
}

fn report(
    certificates: &[Vec<u8>],
    descriptors: &[Vec<u8>],
    statements: &[Vec<u8>],
    names: &[String],
    unanswered: bool,
) -> Result<()> {
    let case = Case { certificates, descriptors, statements, unanswered };
    let Judgement { finding, registration, ignored } = judge(&case, now()?);
    for (place, why) in ignored {
        println!("left out {}: {why}", names.get(place).map_or("a statement", String::as_str));
    }
    if let Some(says) = registration {
        print_registration(&says);
    }
    let at = match &finding {
        Finding::SafeAtFault { at: Some(at), .. } | Finding::Released { at } => format!(" ({})", date(*at)),
        Finding::LeaseEnded { end } => format!(" ({})", date(*end)),
        _ => String::new(),
    };
    println!("{finding}{at}");
    Ok(())
}

fn read_secret(file: &Path) -> Result<Secret> {
    let wrong = || anyhow!("{} should hold the audit secret, 64 hex digits", paths::show(file));
    let text = read(file)?;
    let text = std::str::from_utf8(&text).map_err(|_| wrong())?;
    let bytes = base16ct::mixed::decode_vec(text.trim()).map_err(|_| wrong())?;
    Secret::try_from(bytes.as_slice()).map_err(|_| wrong())
}

/// The judge's own demand: a signed answer by the safe, or `None`.
fn demand(url: &str, of: &Registration, descriptor: &[u8], secret: &Secret) -> Result<Option<Vec<u8>>> {
    let (descriptor, identity) = Identity::of_descriptor(descriptor, Some(of.safe))?;
    let mut rng = expand_seed(&fresh_secret()?);
    // By the safe's clock, so that a wrong one here is no refusal there.
    let time = descriptor.time.max(now()?.saturating_sub(CLAIM_SPAN));
    let claim = Claim::make(secret, identity.current(time)?, &of.deposit, Verb::Demand, time + CLAIM_SPAN, &mut rng)?;
    let path = format!("{url}/v1/deposits/{}/demand", of.deposit);
    let body = codec::encode(&claim);
    let answer = match net::exchange("POST", &path, &[("content-type", "application/cbor")], Some(&body)) {
        Ok(answer) => answer,
        Err(error) => {
            eprintln!("{error:#}");
            return Ok(None);
        }
    };
    match verify_answer(&answer.body, &body, &identity) {
        Ok(_) => return Ok(Some(answer.body)),
        Err(CertificateError::Differs) => eprintln!("the safe answered another demand than this one"),
        Err(CertificateError::Signed(SignedError::Malformed)) => {
            eprintln!("the safe answered {} without a signed statement", answer.status);
        }
        Err(_) => eprintln!("the safe answered {} with a statement that does not count", answer.status),
    }
    Ok(None)
}

/// A time as a person reads it, in UTC.
fn date(seconds: u64) -> String {
    i64::try_from(seconds).ok().and_then(|seconds| jiff::Timestamp::from_second(seconds).ok()).map_or_else(
        || format!("{seconds} seconds after 1970"),
        |time| time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
    )
}
