//! Tickets: what an owner shows where a deposit is bound to him.
//!
//! A safe writes one in the channel and remembers nothing; the deposit's object, which knows nobody, checks it with the safe's own secret. What a deposit is bound with says
//! nothing of the account to whoever reads the certificate or the record, until the owner comes. Spec: `spec/owner.md` §10.

use minicbor::bytes::ByteArray;

use crate::{
    codec,
    crypto::{CryptoError, KEY_LEN, Secret, derive_secret, same_bytes},
    ids::{AccountId, Seconds, SecretHash},
};

/// How long a ticket counts, seconds: as long a credential that was revoked still has its way.
pub const TICKET_SPAN: Seconds = 600;
/// How long what a wallet lets go can be taken back by its owner, seconds: a week, to notice that a device was stolen, and to come to another one.
pub const UNDO_SPAN: Seconds = 7 * 86_400;
/// Length of a ticket, bytes: account, right, expiry, MAC.
pub const TICKET_LEN: usize = KEY_LEN + 1 + 8 + KEY_LEN;

/// What a ticket allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Right {
    /// Fetch what is bound, and claim it where it lives once.
    Retrieve,
    /// Let it go, too, which its owner can undo ([`UNDO_SPAN`]); or begin its claims anew.
    Release,
    /// Let it go for good, or take back what was let go: by the passphrase or a passkey, and not by a wallet, which may be somebody else's by now.
    Owner,
}

/// A ticket.
#[derive(Debug, Clone)]
pub struct Ticket {
    /// The owner's account at the safe.
    pub account: AccountId,
    /// What it allows.
    pub right: Right,
    /// First second in which it no longer counts, by the safe's clock.
    pub expiry: Seconds,
    mac: Secret,
}

fn mac(secret: &Secret, account: &AccountId, right: Right, expiry: Seconds) -> Secret {
    derive_secret(secret, "ticket", &codec::encode(&(ByteArray::from(account.0), right as u8, expiry)))
}

impl Ticket {
    /// Writes a ticket under the safe's secret.
    pub fn write(secret: &Secret, account: &AccountId, right: Right, expiry: Seconds) -> Self {
        Self { account: *account, right, expiry, mac: mac(secret, account, right, expiry) }
    }

    /// Whether the safe wrote it, and it counts for this right now.
    pub fn counts(&self, secret: &Secret, right: Right, now: Seconds) -> bool {
        let genuine = mac(secret, &self.account, self.right, self.expiry).same_as(&self.mac);
        genuine && self.right >= right && now < self.expiry
    }

    /// As bytes. Inverse of [`Self::parse`].
    pub fn to_bytes(&self) -> [u8; TICKET_LEN] {
        let mut bytes = [0; TICKET_LEN];
        bytes[..32].copy_from_slice(&self.account.0);
        bytes[32] = self.right as u8;
        bytes[33..41].copy_from_slice(&self.expiry.to_be_bytes());
        bytes[41..].copy_from_slice(self.mac.expose());
        bytes
    }

    /// Reads a ticket.
    ///
    /// # Errors
    /// [`CryptoError`] if these are the bytes of none.
    pub fn parse(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (account, rest) = bytes.split_first_chunk::<32>().ok_or(CryptoError)?;
        let (right, rest) = rest.split_first().ok_or(CryptoError)?;
        let (expiry, mac) = rest.split_first_chunk::<8>().ok_or(CryptoError)?;
        let right = match right {
            0 => Right::Retrieve,
            1 => Right::Release,
            2 => Right::Owner,
            _ => return Err(CryptoError),
        };
        Ok(Self {
            account: AccountId(*account),
            right,
            expiry: Seconds::from_be_bytes(*expiry),
            mac: Secret::try_from(mac)?,
        })
    }
}

/// What binds a deposit to an account: `derive(audit, "owner", account)`. Who has the deposit's audit secret and knows the account sees that they belong together, nobody else.
pub fn bind(audit: &Secret, account: &AccountId) -> SecretHash {
    SecretHash(*derive_secret(audit, "owner", &account.0).expose())
}

/// Whether a deposit is bound to this account.
pub fn is_bound(bound: &SecretHash, audit: &Secret, account: &AccountId) -> bool {
    same_bytes(&bind(audit, account).0, &bound.0)
}
