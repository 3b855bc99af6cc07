//! Claims: how a secret is presented to a safe, and the confirmation of an offer.
//!
//! The secret travels HPKE-sealed to the safe's key with deposit, verb, nonce and expiry as associated data: a squatted
//! address or a log holds nothing that could be replayed elsewhere or later. Spec: `spec/deposit.md`.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    SUITE,
    codec::{self, Bytes, CodecError},
    crypto::{CryptoError, HPKE_ENC_LEN, HpkePrivateKey, KEY_LEN, Secret, TAG_LEN, hpke_seal},
    identity::Entry,
    ids::{DepositId, Nonce, SafeId, Seconds},
    owner::ticket::{TICKET_LEN, Ticket},
};

/// Longest claim, bytes: encapsulated key 1120, ciphertext 153, nonce 16, and less than 100 for the rest.
pub const MAX_CLAIM_LEN: usize = 1536;
/// Longest confirmation, bytes.
pub const MAX_CONFIRM_LEN: usize = 64;
/// How long a claim may count from when it was made, seconds. Long enough for a slow line and a clock a minute off.
pub const CLAIM_SPAN: Seconds = 120;

/// What a claim asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Verb {
    /// Hand out the body. Secret: retrieve.
    #[n(0)]
    Retrieve,
    /// Delete the deposit and sign for it. Secret: release.
    #[n(1)]
    Release,
    /// Prove a slice. Secret: audit. Comes in batches ([`crate::audit`]), never as a single claim.
    #[n(2)]
    Audit,
    /// State under signature what became of the deposit ([`crate::evidence`]). Secret: audit.
    #[n(3)]
    Demand,
    /// Hand out the certificate, renewed where it is time. Secret: audit.
    #[n(4)]
    Renew,
    /// Take back what was let go and is not removed yet, and hand out its certificate. Secret: release; by the owner only.
    #[n(5)]
    Restore,
}

/// A presented secret, sealed to one safe, for one deposit and verb, once.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Claim {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// What is asked for.
    #[n(1)]
    pub verb: Verb,
    /// Serial of the chain entry to whose HPKE key it is sealed.
    #[n(2)]
    pub entry: u32,
    /// Single-use number.
    #[n(3)]
    pub nonce: Nonce,
    /// First second in which it no longer counts.
    #[n(4)]
    pub expiry: Seconds,
    /// HPKE encapsulated key.
    #[n(5)]
    pub enc: Bytes,
    /// HPKE ciphertext of [`Shown`].
    #[n(6)]
    pub ciphertext: Bytes,
}

/// What a claim shows to the safe, one behind the other.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The secret that gives the right.
    pub secret: Secret,
    /// At the retrieval of a unique value: the claimant's x.
    pub x: Option<Secret>,
    /// Where the deposit is bound to its owner: what he got in his channel.
    pub ticket: Option<Ticket>,
}

impl Shown {
    /// Nothing but a secret.
    pub const fn secret(secret: Secret) -> Self {
        Self { secret, x: None, ticket: None }
    }

    fn to_plain(&self) -> Zeroizing<Vec<u8>> {
        let mut plain = Zeroizing::new(self.secret.expose().to_vec());
        plain.extend_from_slice(self.x.as_ref().map_or(&[][..], |x| x.expose()));
        plain.extend(self.ticket.iter().flat_map(Ticket::to_bytes));
        plain
    }

    /// A ticket is no multiple of a secret, so that the length says what is there.
    fn parse(plain: &[u8]) -> Result<Self, CryptoError> {
        let (secret, rest) = plain.split_at_checked(KEY_LEN).ok_or(CryptoError)?;
        let (x, ticket) = match rest.len() {
            0 | TICKET_LEN => (None, rest),
            _ => rest.split_at_checked(KEY_LEN).map(|(x, ticket)| (Some(x), ticket)).ok_or(CryptoError)?,
        };
        let ticket = if ticket.is_empty() { None } else { Some(Ticket::parse(ticket)?) };
        Ok(Self { secret: Secret::try_from(secret)?, x: x.map(Secret::try_from).transpose()?, ticket })
    }
}

fn info(safe: &SafeId, entry: u32) -> Vec<u8> {
    codec::encode(&(SUITE, "claim", *safe, entry))
}

fn aad(deposit: &DepositId, verb: Verb, nonce: &Nonce, expiry: Seconds) -> Vec<u8> {
    codec::encode(&(SUITE, *deposit, verb, *nonce, expiry))
}

impl Claim {
    /// Seals a secret to a safe. Inverse of [`Self::open`].
    ///
    /// # Errors
    /// If the entry's HPKE key is not one.
    pub fn make<R: CryptoRng>(
        secret: &Secret,
        entry: &Entry,
        deposit: &DepositId,
        verb: Verb,
        expiry: Seconds,
        rng: &mut R,
    ) -> Result<Self, CryptoError> {
        Self::make_with(&Shown::secret(secret.clone()), entry, deposit, verb, expiry, rng)
    }

    /// [`Self::make`] with what else is to be shown.
    ///
    /// # Errors
    /// If the entry's HPKE key is not one.
    pub fn make_with<R: CryptoRng>(
        shown: &Shown,
        entry: &Entry,
        deposit: &DepositId,
        verb: Verb,
        expiry: Seconds,
        rng: &mut R,
    ) -> Result<Self, CryptoError> {
        let nonce = Nonce::make_random(rng);
        let aad = aad(deposit, verb, &nonce, expiry);
        let info = info(&entry.safe, entry.serial);
        let (enc, ciphertext) = hpke_seal(&entry.hpke, &info, &aad, &shown.to_plain(), rng)?;
        Ok(Self {
            suite: SUITE,
            verb,
            entry: entry.serial,
            nonce,
            expiry,
            enc: enc.into(),
            ciphertext: ciphertext.into(),
        })
    }

    /// Decodes and checks the form of a claim.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let claim: Self = codec::decode(bytes, MAX_CLAIM_LEN)?;
        codec::expect_suite(claim.suite)?;
        let lengths = [KEY_LEN, 2 * KEY_LEN, KEY_LEN + TICKET_LEN, 2 * KEY_LEN + TICKET_LEN].map(|len| len + TAG_LEN);
        let fits = claim.enc.len() == HPKE_ENC_LEN && lengths.contains(&claim.ciphertext.len());
        if fits { Ok(claim) } else { Err(CodecError::Malformed) }
    }

    /// Opens the claim at the safe.
    ///
    /// # Errors
    /// [`CryptoError`] if it was sealed to another safe, deposit, verb, nonce or expiry.
    pub fn open(&self, key: &HpkePrivateKey, safe: &SafeId, deposit: &DepositId) -> Result<Shown, CryptoError> {
        let aad = aad(deposit, self.verb, &self.nonce, self.expiry);
        Shown::parse(&key.open(&self.enc, &info(safe, self.entry), &aad, &self.ciphertext)?)
    }
}

/// Body of `POST /v1/deposits/{id}/confirm`: names the offer that the wallet has stored.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Confirm {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// BLAKE3 of the signed offer.
    #[n(1)]
    pub offer: crate::ids::Root,
}
