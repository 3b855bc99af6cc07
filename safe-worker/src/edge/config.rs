//! What the operator set: variables and secrets of the Worker, read once per isolate.

use std::{cell::OnceCell, rc::Rc};

use protocol::{
    crypto::{HpkePrivateKey, Secret, SigningKey},
    identity::{Identity, MAX_NAME_LEN, MAX_URL_LEN, parse_chain_text},
};
use worker::Env;
use zeroize::Zeroizing;

use crate::{
    flow::Presence,
    machine::{Config, Keys},
    memory::LIMITS,
};

/// A configured safe.
pub(crate) struct Safe {
    pub(crate) config: Config,
    pub(crate) keys: Keys,
    pub(crate) presence: Presence,
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
    let key = |name: &str| {
        let text = Zeroizing::new(env.secret(name).map_err(|_| format!("secret {name} is not set"))?.to_string());
        let bytes = base16ct::lower::decode_vec(text.trim()).map_err(|_| format!("secret {name} is not hex"))?;
        Ok::<_, String>(Zeroizing::new(bytes))
    };
    let (name, url) = (var("SAFE_NAME")?, var("SAFE_URL")?);
    if name.len() > MAX_NAME_LEN || url.len() > MAX_URL_LEN {
        return Err("SAFE_NAME or SAFE_URL is too long".to_owned());
    }
    let (identity, chain) = parse_chain_text(&var("CHAIN")?).map_err(|e| format!("CHAIN: {e}"))?;
    let verified = Identity::verify(&identity, &chain).map_err(|e| format!("CHAIN: {e}"))?;
    let signing = SigningKey::from_bytes(&key("SIGNING_KEY")?).map_err(|_| "SIGNING_KEY is not a P-384 key")?;
    let hpke = Secret::try_from(key("HPKE_KEY")?.as_slice()).and_then(HpkePrivateKey::from_seed);
    let hpke = hpke.map_err(|_| "HPKE_KEY is not a 32-byte seed")?;
    let entry = verified.current(super::now()).map_err(|e| e.to_string())?;
    if *entry.signing != signing.verifying_key().to_compressed() || *entry.hpke != *hpke.public() {
        return Err("SIGNING_KEY or HPKE_KEY is not the one of the chain's current entry".to_owned());
    }
    let config = Config { safe: verified.id(), url, entry: entry.serial, limits: LIMITS };
    Ok(Safe { config, keys: Keys { signing, hpke }, presence: Presence { name, identity, chain } })
}
