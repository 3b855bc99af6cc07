//! The safes that this one asks for its owners, and how much. Spec: `spec/relay.md`.
//!
//! Nobody but the operator says whom a safe asks: an owner names one of the list by its id, never an address.

use minicbor::{Decode, Encode};
use protocol::{
    identity::MAX_URL_LEN,
    ids::{SafeId, Seconds},
    relay::MAX_RELAYS,
};

/// Most errands for one owner on one day.
pub const DAILY_ERRANDS: u32 = 1024;
/// Most bytes that may come back for one owner on one day: what passes through costs time and subrequests of the whole safe.
pub const DAILY_BYTES: u64 = 512 * 1024 * 1024;
/// How long the other safe is waited for, seconds.
pub const PATIENCE: Seconds = 20;
/// Path of the other safe that takes parcels.
pub const PARCELS: &str = "/v1/parcels";

/// A safe that this one asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its id.
    pub safe: SafeId,
    /// Its address, without a slash at the end.
    pub url: String,
}

/// Reads the operator's list: id and address of each, with spaces or line ends between.
///
/// # Errors
/// A sentence for the operator.
pub fn parse_targets(text: &str, own: &SafeId) -> Result<Vec<Target>, String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let (pairs, rest) = words.as_chunks::<2>();
    if !rest.is_empty() || pairs.len() > MAX_RELAYS {
        return Err(format!("it takes at most {MAX_RELAYS} pairs of a safe's id and its address"));
    }
    let mut targets: Vec<Target> = Vec::new();
    for [id, url] in pairs {
        let safe: SafeId = id.parse().map_err(|_| format!("{id} is no safe's id"))?;
        if safe == *own || targets.iter().any(|target| target.safe == safe) {
            return Err(format!("{id} stands there twice, or is this safe itself"));
        }
        let url = url.trim_end_matches('/').to_owned();
        if !is_address(&url) {
            return Err(format!("{url} is no address: https, a host, and a path if there is one"));
        }
        targets.push(Target { safe, url });
    }
    Ok(targets)
}

/// Whether it is an address of a safe: https, or http on this machine; no user, query or fragment.
fn is_address(url: &str) -> bool {
    let host_of = |rest: &str| rest.split(['/', ':']).next().unwrap_or_default().to_owned();
    let rest = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => rest,
        (None, Some(rest)) if ["localhost", "127.0.0.1"].contains(&host_of(rest).as_str()) => rest,
        _ => return false,
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~/:".contains(c);
    !host_of(rest).is_empty() && url.len() <= MAX_URL_LEN && rest.chars().all(plain)
}

/// What was fetched for an owner on one day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Fetched {
    /// The day, since 1970.
    #[n(0)]
    pub day: u64,
    /// Errands.
    #[n(1)]
    pub errands: u32,
    /// What they asked for, bytes.
    #[n(2)]
    pub bytes: u64,
}

impl Fetched {
    /// With one errand more; `None`: that would be too much. It counts what is asked for, whatever comes.
    #[must_use]
    pub fn with(self, bytes: u64, now: Seconds) -> Option<Self> {
        let day = now / 86_400;
        let today = if self.day == day { self } else { Self { day, ..Self::default() } };
        let (errands, bytes) = (today.errands.saturating_add(1), today.bytes.saturating_add(bytes));
        (errands <= DAILY_ERRANDS && bytes <= DAILY_BYTES).then_some(Self { day, errands, bytes })
    }
}
