//! What the operator set: variables and secrets of the Worker, read once per isolate.

use std::{cell::OnceCell, rc::Rc};

use protocol::{
    crypto::{HpkePrivateKey, Secret, SigningKey},
    identity::{Entry, Identity, MAX_NAME_LEN, MAX_URL_LEN, Whereabouts, parse_chain_text},
};
use worker::Env;
use zeroize::Zeroizing;

use crate::{
    flow::{Policy, Presence},
    machine::{Config, Keys},
    memory::LIMITS,
    relay::parse_targets,
};

/// A configured safe.
pub(crate) struct Safe {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) presence: Presence,
    pub(crate) policy: Policy,
    /// Whether every request is logged, by its route.
    pub(crate) log: bool,
}

thread_local! {
    // Decoding a P-384 key costs as much as signing with it.
    static SAFE: OnceCell<Rc<Safe>> = const { OnceCell::new() };
}

/// The configuration, or a sentence for the operator's log.
pub(crate) fn load(env: &Env) -> Result<Rc<Safe>, String> {
    SAFE.with(|cell| match cell.get() {
        Some(safe) => Ok(Rc::clone(safe)),
        None => {
            let safe = Rc::new(read(env)?);
            Ok(Rc::clone(cell.get_or_init(|| safe)))
        }
    })
}

fn read(env: &Env) -> Result<Safe, String> {
    let var = |name: &str| env.var(name).map(|v| v.to_string()).map_err(|_| format!("{name} is not set"));
    let (name, url) = (var("SAFE_NAME")?, var("SAFE_URL")?);
    if name.len() > MAX_NAME_LEN || url.len() > MAX_URL_LEN {
        return Err("SAFE_NAME or SAFE_URL is too long".to_owned());
    }
    let said = |name: &str| var(name).ok().filter(|text| !text.is_empty());
    let whereabouts =
        Whereabouts { operator: said("SAFE_OPERATOR"), cloud: said("SAFE_CLOUD"), region: said("SAFE_REGION") };
    if !whereabouts.fits() {
        return Err("SAFE_OPERATOR, SAFE_CLOUD or SAFE_REGION is too long".to_owned());
    }
    let (identity, chain) = parse_chain_text(&var("CHAIN")?).map_err(|e| format!("CHAIN: {e}"))?;
    let verified = Identity::verify(&identity, &chain).map_err(|e| format!("CHAIN: {e}"))?;
    let signing = hex(env, "SIGNING_KEY")?.ok_or("secret SIGNING_KEY is not set")?;
    let signing = SigningKey::from_bytes(&signing).map_err(|_| "SIGNING_KEY is not a P-384 key")?;
    let entry = verified.current(super::now()).map_err(|e| e.to_string())?;
    let hpke = hpke_key(env, "HPKE_KEY", entry)?.ok_or("secret HPKE_KEY is not set")?;
    if *entry.signing != signing.verifying_key().to_compressed() {
        return Err("SIGNING_KEY is not the one of the chain's current entry".to_owned());
    }
    let mut opens = vec![(entry.serial, hpke)];
    // Claims that were sealed before the keys were rotated.
    if let Some(before) = entry.serial.checked_sub(1).and_then(|serial| verified.entry(serial)) {
        opens.extend(hpke_key(env, "HPKE_KEY_PREVIOUS", before)?.map(|key| (before.serial, key)));
    }
    let relays = said("RELAYS").map(|text| parse_targets(&text, &verified.id())).transpose();
    let policy = Policy {
        token_key: secret(env, "TOKEN_KEY")?,
        operator_secret: secret(env, "OPERATOR_SECRET")?,
        relays: relays.map_err(|e| format!("RELAYS: {e}"))?.unwrap_or_default(),
    };
    let config = Config { safe: verified.id(), url, entry: entry.serial, limits: LIMITS };
    let log = var("LOG_REQUESTS").is_ok_and(|value| value == "1");
    let presence = Presence { name, identity, chain, whereabouts: whereabouts.stated() };
    Ok(Safe { config, keys: Keys { signing, hpke: opens, owner: secret(env, "OWNER_KEY")? }, presence, policy, log })
}

/// A secret in hex; `None` where it is not set, or set to nothing.
fn hex(env: &Env, name: &str) -> Result<Option<Zeroizing<Vec<u8>>>, String> {
    let text = env.secret(name).map(|secret| Zeroizing::new(secret.to_string()));
    match text.as_ref().map(|text| text.trim()) {
        Err(_) | Ok("") => Ok(None),
        Ok(text) => {
            let bytes = base16ct::lower::decode_vec(text).map_err(|_| format!("secret {name} is not hex"))?;
            Ok(Some(Zeroizing::new(bytes)))
        }
    }
}

fn secret(env: &Env, name: &str) -> Result<Option<Secret>, String> {
    let secret = hex(env, name)?.map(|bytes| Secret::try_from(bytes.as_slice())).transpose();
    secret.map_err(|_| format!("secret {name} is not 32 bytes"))
}

fn hpke_key(env: &Env, name: &str, entry: &Entry) -> Result<Option<HpkePrivateKey>, String> {
    let Some(seed) = secret(env, name)? else { return Ok(None) };
    let key = HpkePrivateKey::from_seed(seed).map_err(|_| format!("{name} is not an HPKE seed"))?;
    if *entry.hpke == *key.public() {
        Ok(Some(key))
    } else {
        Err(format!("{name} is not the one of the chain's entry {}", entry.serial))
    }
}
