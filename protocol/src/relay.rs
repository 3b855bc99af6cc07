//! The relay: an owner speaks to one safe only, which fetches for him what another one keeps.
//!
//! ```text
//! owner ─Errand (a question, topic relay)─▶ safe ─Parcel─▶ other safe
//!       ◀──────────────── Delivery, sealed to the owner ─────────────
//! ```
//!
//! The safe in between sees to whom a parcel goes, how long it is and how long what comes back, and nothing else: a parcel opens at the other safe only, and what comes back at
//! whoever made it. Spec: `spec/relay.md`.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    SUITE,
    claim::{CLAIM_SPAN, MAX_CLAIM_LEN},
    codec::{self, Bytes, CodecError},
    crypto::{Asked, CryptoError, HPKE_ENC_LEN, HpkePrivateKey, Secret, hpke_ask},
    deposit::DEFAULT_BODY_LIMIT,
    identity::Entry,
    ids::{AccountId, DepositId, SafeId, Seconds},
    problem::Problem,
    seal::{self, Purpose, Sealer, sealed_len},
};

/// Longest parcel, bytes: a claim, the encapsulated key 1120, and less than 256 for the rest.
pub const MAX_PARCEL_LEN: usize = MAX_CLAIM_LEN + HPKE_ENC_LEN + 256;
/// Longest delivery, bytes: the longest body of a safe with default limits.
pub const MAX_DELIVERY_LEN: u64 = delivery_len(DEFAULT_BODY_LIMIT);
/// How long a parcel counts from when it was made, seconds.
pub const PARCEL_SPAN: Seconds = CLAIM_SPAN;
/// Most safes that one asks for its owners.
pub const MAX_RELAYS: usize = 16;

/// Length of the delivery of a body, bytes: sealed, with at most 9 for CBOR.
pub const fn delivery_len(body: u64) -> u64 {
    sealed_len(body.saturating_add(9))
}

/// What an owner has a safe do: the content of a question with the topic `relay`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Errand {
    /// The other safe.
    #[n(0)]
    pub to: SafeId,
    /// A [`Parcel`], encoded.
    #[n(1)]
    pub parcel: Bytes,
    /// Longest answer that is wanted, bytes.
    #[n(2)]
    pub most: u64,
}

impl Errand {
    /// Decodes and checks the form.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8], most: usize) -> Result<Self, CodecError> {
        let errand: Self = codec::decode(bytes, most)?;
        if errand.parcel.len() > MAX_PARCEL_LEN || errand.most > MAX_DELIVERY_LEN {
            return Err(CodecError::Malformed);
        }
        Ok(errand)
    }
}

/// What goes to the other safe.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Parcel {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The safe that brings it.
    #[n(1)]
    pub through: SafeId,
    /// Serial of the chain entry to whose HPKE key it is sealed.
    #[n(2)]
    pub entry: u32,
    /// First second in which it no longer counts.
    #[n(3)]
    pub expiry: Seconds,
    /// HPKE encapsulated key.
    #[n(4)]
    pub enc: Bytes,
    /// HPKE ciphertext of [`Carried`].
    #[n(5)]
    pub ciphertext: Bytes,
}

/// What is in a parcel, as it would be sent: a claim, or what it takes to have a ticket for one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Carried {
    /// A [`crate::claim::Claim`] to retrieve a deposit, encoded. It counts as long as the parcel.
    #[n(0)]
    Claim(#[n(0)] DepositId, #[n(1)] Bytes),
    /// A look at an owner's account.
    #[n(1)]
    Look(#[n(0)] AccountId),
    /// A [`crate::owner::messages::Question`] in a channel of it, encoded.
    #[n(2)]
    Question(#[n(0)] AccountId, #[n(1)] Bytes),
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Delivery {
    /// The body, or what an account shows or answers.
    #[n(0)]
    Body(#[n(0)] Bytes),
    /// No, with the last part of the problem's type, and the safe's clock.
    #[n(1)]
    Refused(#[n(0)] String, #[n(1)] Seconds),
}

/// Opens what comes back for one parcel.
#[derive(Debug)]
pub struct Awaiting(Secret);

/// A parcel as the safe that it was made for opens it.
#[derive(Debug)]
pub struct Opened {
    /// What is in it.
    pub carried: Carried,
    answer: Secret,
}

fn info(safe: &SafeId, entry: u32, through: &SafeId, expiry: Seconds) -> Vec<u8> {
    codec::encode(&(SUITE, "parcel", *safe, entry, *through, expiry))
}

fn purpose() -> Purpose<'static> {
    Purpose { purpose: "delivery", object: b"", version: 0 }
}

impl Parcel {
    /// Packs what is to be carried. Inverse of [`Self::open`].
    ///
    /// # Errors
    /// If the entry's HPKE key is not one.
    pub fn make<R: CryptoRng>(
        carried: &Carried,
        expiry: Seconds,
        entry: &Entry,
        through: &SafeId,
        rng: &mut R,
    ) -> Result<(Self, Awaiting), CryptoError> {
        let plain = Zeroizing::new(codec::encode(carried));
        let info = info(&entry.safe, entry.serial, through, expiry);
        let (Asked { enc, ciphertext }, answer) = hpke_ask(&entry.hpke, &info, None, &plain, rng)?;
        let (enc, ciphertext) = (enc.into(), ciphertext.into());
        let entry = entry.serial;
        Ok((Self { suite: SUITE, through: *through, entry, expiry, enc, ciphertext }, Awaiting(answer)))
    }

    /// Decodes and checks the form.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8]) -> Result<Self, CodecError> {
        let parcel: Self = codec::decode(bytes, MAX_PARCEL_LEN)?;
        codec::expect_suite(parcel.suite)?;
        if parcel.enc.len() == HPKE_ENC_LEN { Ok(parcel) } else { Err(CodecError::Malformed) }
    }

    /// Opens it at the safe that it was made for.
    ///
    /// # Errors
    /// [`Problem::ClaimUnreadable`] if it was sealed to another safe, carrier or expiry; [`Problem::Malformed`] if there is nothing in it
    /// that is carried.
    pub fn open(&self, key: &HpkePrivateKey, safe: &SafeId) -> Result<Opened, Problem> {
        let info = info(safe, self.entry, &self.through, self.expiry);
        let asked = Asked { enc: self.enc.0.clone(), ciphertext: self.ciphertext.0.clone() };
        let heard = key.hear(&asked, &info, None).map_err(|CryptoError| Problem::ClaimUnreadable)?;
        let carried = codec::decode(&heard.question, MAX_PARCEL_LEN).map_err(|_| Problem::Malformed)?;
        Ok(Opened { carried, answer: heard.answer })
    }
}

impl Opened {
    /// What seals a [`Delivery`], encoded, to whoever made the parcel. The salt is fresh each time: the same parcel, brought twice, may be answered differently.
    ///
    /// # Errors
    /// Never for the lengths in use; the type is that of sealing.
    pub fn sealer(&self, salt: &[u8; 32]) -> Result<Sealer, CryptoError> {
        Sealer::new(&self.answer, salt, &purpose())
    }
}

impl Awaiting {
    /// Opens what came back, at most `most` bytes. Inverse of [`Opened::sealer`].
    ///
    /// # Errors
    /// [`CodecError`] if it is not for this parcel, or was altered on its way.
    pub fn open(&self, sealed: &[u8], most: u64) -> Result<Delivery, CodecError> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        if sealed.len() > most {
            return Err(CodecError::TooLong { got: sealed.len(), most });
        }
        let plain = seal::open(&self.0, &purpose(), sealed).map_err(|_| CodecError::Malformed)?;
        codec::decode(&plain, most)
    }
}
