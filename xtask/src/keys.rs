//! A safe's keys on disk: `keys.json`, readable by its owner only.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use protocol::crypto::{Secret, expand_seed};
use protocol::identity::{Identity, SafeKeys, parse_chain_text};
use serde::{Deserialize, Serialize};

use crate::paths;

/// What a safe is and signs with.
#[derive(Clone, Serialize, Deserialize)]
pub struct Keys {
    /// The safe's id, `safe1…`: what wallets pin.
    pub safe_id: String,
    /// The identity key, hex. It signs chain entries only; an operator keeps it away from the edge.
    pub identity_key: String,
    /// The key that signs certificates, hex: the secret `SIGNING_KEY`.
    pub signing_key: String,
    /// The key that requests are sealed to, hex: the secret `HPKE_KEY`.
    pub hpke_key: String,
    /// The identity chain, base64url of its CBOR: the variable `CHAIN`.
    pub chain: String,
}

impl Keys {
    /// Reads `file`; inverse of [`Keys::write`].
    pub fn read(file: &Path) -> Result<Self> {
        let shown = paths::show(file);
        let text = fs::read_to_string(file).with_context(|| {
            format!("the keys file {shown} cannot be read; check its owner, or remove the safe's directory to get a new safe")
        })?;
        let damaged = || {
            format!("the keys file {shown} is damaged; restore it, or remove the safe's directory to get a new safe")
        };
        let keys: Self = serde_json::from_str(&text).with_context(damaged)?;
        keys.check().with_context(damaged)?;
        Ok(keys)
    }

    /// Writes a new `file` with mode 0600; inverse of [`Keys::read`]. An existing file is never overwritten.
    pub fn write(&self, file: &Path) -> Result<()> {
        let shown = paths::show(file);
        if file.exists() {
            bail!("{shown} exists already and holds a safe's keys; move it away first or pass another --out");
        }
        let text = serde_json::to_string_pretty(self)?;
        // Written aside and renamed: a power cut must not leave half a key under the real name.
        let aside = file.with_extension("json.new");
        let mut out = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&aside)
            .with_context(|| format!("cannot write {shown}"))?;
        out.write_all(text.as_bytes())?;
        out.write_all(b"\n")?;
        out.sync_all()?;
        fs::rename(&aside, file).with_context(|| format!("cannot write {shown}"))
    }

    /// Reads `file`, or makes new keys and writes them there.
    pub fn read_or_make(file: &Path) -> Result<Self> {
        if file.exists() {
            return Self::read(file);
        }
        let keys = Self::make()?;
        keys.write(file)?;
        Ok(keys)
    }

    /// Makes the keys of a new safe.
    pub fn make() -> Result<Self> {
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).context("the system gives no random numbers")?;
        let mut rng = expand_seed(&Secret::from_bytes(seed));
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .context("this machine's clock stands before 1970; set it")?
            .as_secs();
        let keys = SafeKeys::make_random(&mut rng, now)?;
        Ok(Self {
            safe_id: keys.id().to_string(),
            identity_key: keys.identity_hex().to_string(),
            signing_key: keys.signing_hex().to_string(),
            hpke_key: keys.hpke_hex().to_string(),
            chain: keys.chain_text(),
        })
    }

    /// Whether the parts belong together: a chain of another safe would start a safe that every wallet refuses.
    fn check(&self) -> Result<()> {
        let (identity, chain) = parse_chain_text(&self.chain)?;
        let id = Identity::verify(&identity, &chain)?.id().to_string();
        if id != self.safe_id {
            bail!("its chain belongs to {id}");
        }
        Ok(())
    }
}
