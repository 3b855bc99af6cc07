//! A safe's keys on disk: `keys.json`, readable by its owner only.

use std::collections::BTreeMap;
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
    /// The one before it, hex, for requests that were sealed ahead of a rotation: the secret `HPKE_KEY_PREVIOUS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hpke_key_previous: Option<String>,
    /// The key of admission tokens, hex: the secret `TOKEN_KEY`. A safe that has it takes deposits only with a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_key: Option<String>,
    /// What the operator shows to see usage figures, hex: the secret `OPERATOR_SECRET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operator_secret: Option<String>,
    /// What the safe makes of owners who are not there, hex: the secret `OWNER_KEY`. It never changes. A safe that has it keeps owners.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_key: Option<String>,
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
        self.replace(file)
    }

    /// [`Keys::write`] over the file of the same safe.
    pub fn replace(&self, file: &Path) -> Result<()> {
        let shown = paths::show(file);
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
            let mut keys = Self::read(file)?;
            // A safe from before there were owners.
            if keys.owner_key.is_none() {
                keys.owner_key = Some(fresh_hex()?);
                keys.replace(file)?;
            }
            return Ok(keys);
        }
        let keys = Self::make()?;
        keys.write(file)?;
        Ok(keys)
    }

    /// Makes the keys of a new safe that anybody may use.
    pub fn make() -> Result<Self> {
        let mut rng = expand_seed(&fresh_secret()?);
        let keys = SafeKeys::make_random(&mut rng, now()?)?;
        Ok(Self {
            safe_id: keys.id().to_string(),
            identity_key: keys.identity_hex().to_string(),
            signing_key: keys.signing_hex().to_string(),
            hpke_key: keys.hpke_hex().to_string(),
            chain: keys.chain_text(),
            hpke_key_previous: None,
            token_key: None,
            operator_secret: Some(fresh_hex()?),
            owner_key: Some(fresh_hex()?),
        })
    }

    /// The same safe with new working keys. The HPKE key in use so far still opens what was sealed to it.
    pub fn rotated(&self, revoke: bool) -> Result<Self> {
        let mut keys = SafeKeys::from_hex(&self.identity_key, &self.signing_key, &self.hpke_key, &self.chain)
            .context("the keys file is damaged")?;
        let (_, chain) = parse_chain_text(&self.chain)?;
        let last = u32::try_from(chain.len())?;
        keys.rotate(&mut expand_seed(&fresh_secret()?), now()?, revoke.then_some(last))
            .context("the chain takes no further keys, or its last ones begin in the future")?;
        Ok(Self {
            signing_key: keys.signing_hex().to_string(),
            hpke_key: keys.hpke_hex().to_string(),
            hpke_key_previous: Some(self.hpke_key.clone()),
            chain: keys.chain_text(),
            ..self.clone()
        })
    }

    /// The Worker's secrets, by name.
    pub fn secrets(&self) -> BTreeMap<&'static str, &str> {
        let optional = [
            ("HPKE_KEY_PREVIOUS", &self.hpke_key_previous),
            ("TOKEN_KEY", &self.token_key),
            ("OPERATOR_SECRET", &self.operator_secret),
            ("OWNER_KEY", &self.owner_key),
        ];
        let given = optional.into_iter().filter_map(|(name, secret)| Some((name, secret.as_deref()?)));
        [("SIGNING_KEY", self.signing_key.as_str()), ("HPKE_KEY", &self.hpke_key)].into_iter().chain(given).collect()
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

/// A secret from the system's randomness.
pub fn fresh_secret() -> Result<Secret> {
    let mut secret = [0; 32];
    getrandom::fill(&mut secret).context("the system gives no random numbers")?;
    Ok(Secret::from_bytes(secret))
}

/// The same in hex.
pub fn fresh_hex() -> Result<String> {
    Ok(base16ct::lower::encode_string(fresh_secret()?.expose()))
}

/// Seconds since 1970.
pub fn now() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Ok(since.context("this machine's clock stands before 1970; set it")?.as_secs())
}
