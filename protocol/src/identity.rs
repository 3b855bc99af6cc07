//! Who a safe is: its identity key, the chain of working keys that the identity signs, and the descriptor it serves.
//!
//! The identity key stays offline with the operator. A safe's id is the thumbprint of that key (RFC 9679), so a wallet that pins
//! the id is bound to no address, operator or working key. Working keys stand in entries, each with a serial and a span
//! of validity; a certificate names the entry that signed it and counts only if it was issued inside the span.
//! Spec: `spec/safe.md`.

use base64ct::{Base64UrlUnpadded, Encoding};
use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    SUITE,
    codec::{self, Bytes, CodecError},
    cose::{self, Kind, SignedError, Unverified},
    crypto::{CryptoError, HPKE_PUBLIC_LEN, HpkePrivateKey, Secret, SigningKey, VerifyingKey, sha256},
    ids::{SafeId, Seconds},
};

/// Most entries that a chain may have: a rotation a month for five years.
pub const MAX_ENTRIES: usize = 60;
/// Longest signed entry, bytes: HPKE key 1216, signing key 49, signature 96, and less than 200 for the rest.
pub const MAX_ENTRY_LEN: usize = 2048;
/// Longest descriptor, bytes: the chain and 4 KiB for the rest.
pub const MAX_DESCRIPTOR_LEN: usize = MAX_ENTRIES * MAX_ENTRY_LEN + 4096;
/// Longest URL of a safe, bytes.
pub const MAX_URL_LEN: usize = 256;
/// Longest name of a safe, bytes of UTF-8.
pub const MAX_NAME_LEN: usize = 64;
/// Version of the HTTP interface under `/v1`.
pub const API_VERSION: u32 = 1;

/// A safe's claim about itself did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IdentityError {
    /// Not a descriptor, or one of a newer kind.
    #[error("the address does not answer as a safe: {0}")]
    Malformed(#[from] CodecError),
    /// A key in it is not a key.
    #[error("the safe's keys are not valid")]
    BadKey,
    /// An entry is not signed by the identity, or belongs to another safe.
    #[error("the safe's chain of keys is not signed by its identity")]
    BadChain,
    /// No entry is valid at the time.
    #[error("the safe has no key that is valid now; its operator must rotate")]
    NoCurrentEntry,
    /// Another safe answers at the address.
    #[error("another safe answers here: expected {expected}, found {found}")]
    Mismatch {
        /// The pinned id.
        expected: SafeId,
        /// The id of who answered.
        found: SafeId,
    },
}

impl From<SignedError> for IdentityError {
    fn from(_: SignedError) -> Self {
        Self::BadChain
    }
}

impl From<CryptoError> for IdentityError {
    fn from(_: CryptoError) -> Self {
        Self::BadKey
    }
}

/// The id that belongs to an identity key: SHA-256 over the deterministic COSE_Key `{1: 2, -1: 2, -2: x, -3: y}` (RFC 9679 §3).
pub fn derive_safe_id(identity: &VerifyingKey) -> SafeId {
    let (x, y) = identity.coordinates();
    let mut key = Vec::with_capacity(110);
    key.extend_from_slice(&[0xa4, 0x01, 0x02, 0x20, 0x02, 0x21, 0x58, 0x30]);
    key.extend_from_slice(&x);
    key.extend_from_slice(&[0x22, 0x58, 0x30]);
    key.extend_from_slice(&y);
    SafeId(sha256(&key))
}

/// Working keys of a safe and the time in which they count; signed by the identity key.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Entry {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The safe.
    #[n(1)]
    pub safe: SafeId,
    /// Number of the entry; certificates name it.
    #[n(2)]
    pub serial: u32,
    /// Public key that signs offers, certificates and receipts, compressed SEC1.
    #[n(3)]
    pub signing: Bytes,
    /// HPKE public key to which claims are sealed.
    #[n(4)]
    pub hpke: Bytes,
    /// First second in which it counts.
    #[n(5)]
    pub from: Seconds,
    /// First second in which it no longer counts.
    #[n(6)]
    pub to: Seconds,
    /// Nothing issued from this second on counts. Set when a key may have leaked.
    #[n(7)]
    pub revoked: Option<Seconds>,
}

impl Entry {
    /// Whether something issued at `time` counts.
    pub fn covers(&self, time: Seconds) -> bool {
        self.from <= time && time < self.to && self.revoked.is_none_or(|r| time < r)
    }

    /// The key that checks what the entry signed.
    ///
    /// # Errors
    /// If the bytes are not a point.
    pub fn verifying_key(&self) -> Result<VerifyingKey, CryptoError> {
        VerifyingKey::from_compressed(&self.signing)
    }
}

/// What a safe takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Limits {
    /// Longest body, bytes.
    #[n(0)]
    pub body: u64,
    /// Longest lease, seconds.
    #[n(1)]
    pub lease: u64,
    /// Time in which an offer must be confirmed, seconds.
    #[n(2)]
    pub confirm: u64,
    /// Longest validity of a claim, seconds.
    #[n(3)]
    pub claim: u64,
}

/// What several safes may have in common, so that what happens to one happens to the others. As the operator states it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Encode, Decode)]
#[cbor(map)]
pub struct Whereabouts {
    /// Who runs it: a person or a company.
    #[n(0)]
    pub operator: Option<String>,
    /// Whose machines it runs on.
    #[n(1)]
    pub cloud: Option<String>,
    /// Where these stand: a country, or what the law of one governs.
    #[n(2)]
    pub region: Option<String>,
}

impl Whereabouts {
    /// Whether every text is at most [`MAX_NAME_LEN`] bytes.
    pub fn fits(&self) -> bool {
        [&self.operator, &self.cloud, &self.region].into_iter().flatten().all(|text| text.len() <= MAX_NAME_LEN)
    }

    /// As it is sent: left out where nothing is said.
    pub fn stated(self) -> Option<Self> {
        Some(self).filter(|said| *said != Self::default())
    }
}

/// Who may deposit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
#[non_exhaustive]
pub enum Admission {
    /// Anybody.
    #[n(0)]
    Open,
    /// Who has a token of the operator.
    #[n(1)]
    Token,
}

/// `GET /.well-known/strongroom`: what a safe says of itself. Only the chain is signed; the rest is advice until a
/// certificate repeats it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Descriptor {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// Version of the HTTP interface.
    #[n(1)]
    pub api: u32,
    /// Identity public key, compressed SEC1.
    #[n(2)]
    pub identity: Bytes,
    /// What the operator calls it.
    #[n(3)]
    pub name: String,
    /// Where it stands; certificates point there.
    #[n(4)]
    pub url: String,
    /// Signed entries ([`Entry`] in COSE_Sign1), by serial from 1.
    #[n(5)]
    pub chain: Vec<Bytes>,
    /// What it takes.
    #[n(6)]
    pub limits: Limits,
    /// Who may deposit.
    #[n(7)]
    pub admission: Admission,
    /// The safe's clock.
    #[n(8)]
    pub time: Seconds,
    /// What it may have in common with other safes.
    #[n(9)]
    pub whereabouts: Option<Whereabouts>,
    /// `Some(true)`: it keeps owners ([`crate::owner`]).
    #[n(10)]
    pub owners: Option<bool>,
    /// The safes that it asks for its owners ([`crate::relay`]).
    #[n(11)]
    pub relays: Option<Vec<SafeId>>,
}

/// A safe whose chain has been checked against its identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    id: SafeId,
    entries: Vec<Entry>,
}

impl Identity {
    /// Checks a chain: every entry signed by the identity, for this safe, serials from 1 without a gap, none beginning before the one
    /// ahead of it. So no entry can be left out or slipped in behind another one's back.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn verify(identity: &[u8], chain: &[Bytes]) -> Result<Self, IdentityError> {
        let key = VerifyingKey::from_compressed(identity)?;
        let id = derive_safe_id(&key);
        if chain.is_empty() || chain.len() > MAX_ENTRIES {
            return Err(IdentityError::BadChain);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(chain.len());
        for signed in chain {
            let unverified = Unverified::parse(signed, Kind::ChainEntry, MAX_ENTRY_LEN)?;
            unverified.verify(&key)?;
            let entry: Entry = codec::decode(unverified.payload(), MAX_ENTRY_LEN)?;
            codec::expect_suite(entry.suite)?;
            let next = entries.len() + 1 == entry.serial as usize;
            let later = entries.last().is_none_or(|last| last.from <= entry.from);
            if entry.safe != id || !next || !later || entry.hpke.len() != HPKE_PUBLIC_LEN {
                return Err(IdentityError::BadChain);
            }
            entry.verifying_key()?;
            entries.push(entry);
        }
        Ok(Self { id, entries })
    }

    /// Checks a served descriptor, and that the safe is the pinned one if there is a pin.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn of_descriptor(bytes: &[u8], pinned: Option<SafeId>) -> Result<(Descriptor, Self), IdentityError> {
        let descriptor: Descriptor = codec::decode(bytes, MAX_DESCRIPTOR_LEN)?;
        codec::expect_suite(descriptor.suite)?;
        let fits = descriptor.whereabouts.as_ref().is_none_or(Whereabouts::fits);
        if descriptor.url.len() > MAX_URL_LEN || descriptor.name.len() > MAX_NAME_LEN || !fits {
            return Err(CodecError::Malformed.into());
        }
        let identity = Self::verify(&descriptor.identity, &descriptor.chain)?;
        match pinned {
            Some(expected) if expected != identity.id => Err(IdentityError::Mismatch { expected, found: identity.id }),
            _ => Ok((descriptor, identity)),
        }
    }

    /// The safe's id.
    pub const fn id(&self) -> SafeId {
        self.id
    }

    /// The entries, by serial.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The entry with a serial.
    pub fn entry(&self, serial: u32) -> Option<&Entry> {
        self.entries.iter().find(|e| e.serial == serial)
    }

    /// The newest entry that counts at `now`.
    ///
    /// # Errors
    /// [`IdentityError::NoCurrentEntry`].
    pub fn current(&self, now: Seconds) -> Result<&Entry, IdentityError> {
        self.entries.iter().rev().find(|e| e.covers(now)).ok_or(IdentityError::NoCurrentEntry)
    }
}

/// The keys of one safe as its operator makes them. The identity key belongs offline.
pub struct SafeKeys {
    /// Signs the chain; offline.
    pub identity: SigningKey,
    /// Signs certificates; a secret of the running safe.
    pub signing: SigningKey,
    /// Opens claims; a secret of the running safe.
    pub hpke: HpkePrivateKey,
    /// Signed entries.
    pub chain: Vec<Bytes>,
}

/// Span of a fresh entry: five years, longer than a lease with its grace (2.5 years) so that a certificate of the entry's
/// first half is covered by keys that the operator still has.
pub const ENTRY_SPAN: Seconds = 5 * 365 * 86_400;

impl SafeKeys {
    /// Makes the keys of a new safe; its first entry has serial 1 and counts from `now`.
    ///
    /// # Errors
    /// Only if a primitive refuses random input, which none does.
    pub fn make_random<R: CryptoRng>(rng: &mut R, now: Seconds) -> Result<Self, CryptoError> {
        let identity = SigningKey::make_random(rng);
        let signing = SigningKey::make_random(rng);
        let hpke = HpkePrivateKey::from_seed(Secret::make_random(rng))?;
        let entry = Entry {
            suite: SUITE,
            safe: derive_safe_id(&identity.verifying_key()),
            serial: 1,
            signing: signing.verifying_key().to_compressed().to_vec().into(),
            hpke: hpke.public().into(),
            from: now,
            to: now + ENTRY_SPAN,
            revoked: None,
        };
        let chain = vec![sign_entry(&identity, &entry)];
        Ok(Self { identity, signing, hpke, chain })
    }

    /// From what [`Self::identity_hex`], [`Self::signing_hex`], [`Self::hpke_hex`] and [`Self::chain_text`] gave.
    ///
    /// # Errors
    /// If one of them is not what it should be.
    pub fn from_hex(identity: &str, signing: &str, hpke: &str, chain: &str) -> Result<Self, CryptoError> {
        let bytes = |text: &str| base16ct::lower::decode_vec(text.trim()).map(Zeroizing::new).map_err(|_| CryptoError);
        let hpke = Secret::try_from(bytes(hpke)?.as_slice())?;
        Ok(Self {
            identity: SigningKey::from_bytes(&bytes(identity)?)?,
            signing: SigningKey::from_bytes(&bytes(signing)?)?,
            hpke: HpkePrivateKey::from_seed(hpke)?,
            chain: parse_chain_text(chain).map_err(|_| CryptoError)?.1,
        })
    }

    /// Makes new working keys, in a further entry that counts from `now`. The entry before it still covers what it signed, and is good for
    /// claims that were sealed meanwhile; with `revoke`, nothing that the entry of that serial signs from `now` on counts.
    ///
    /// # Errors
    /// If the chain is full, or is not this identity's.
    pub fn rotate<R: CryptoRng>(&mut self, rng: &mut R, now: Seconds, revoke: Option<u32>) -> Result<(), CryptoError> {
        let public = self.identity.verifying_key().to_compressed();
        let known = Identity::verify(&public, &self.chain).map_err(|_| CryptoError)?;
        let last = known.entries.last().ok_or(CryptoError)?;
        if known.entries.len() >= MAX_ENTRIES || now < last.from {
            return Err(CryptoError);
        }
        let signing = SigningKey::make_random(rng);
        let hpke = HpkePrivateKey::from_seed(Secret::make_random(rng))?;
        let entry = Entry {
            serial: last.serial + 1,
            signing: signing.verifying_key().to_compressed().to_vec().into(),
            hpke: hpke.public().into(),
            from: now,
            to: now + ENTRY_SPAN,
            revoked: None,
            ..last.clone()
        };
        let revised = |entry: &Entry| {
            let revoked = (revoke == Some(entry.serial)).then_some(now);
            Entry { revoked: entry.revoked.or(revoked), ..entry.clone() }
        };
        let entries = known.entries.iter().map(revised).chain([entry]);
        self.chain = entries.map(|entry| sign_entry(&self.identity, &entry)).collect();
        (self.signing, self.hpke) = (signing, hpke);
        Ok(())
    }

    /// The safe's id.
    pub fn id(&self) -> SafeId {
        derive_safe_id(&self.identity.verifying_key())
    }

    /// The identity key's scalar, hex, for the operator's offline store.
    pub fn identity_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(base16ct::lower::encode_string(&*self.identity.expose()))
    }

    /// The Worker secret `SIGNING_KEY`.
    pub fn signing_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(base16ct::lower::encode_string(&*self.signing.expose()))
    }

    /// The Worker secret `HPKE_KEY`.
    pub fn hpke_hex(&self) -> Zeroizing<String> {
        Zeroizing::new(base16ct::lower::encode_string(self.hpke.seed().expose()))
    }

    /// The Worker variable `CHAIN`: base64url of CBOR `[identity, [entry…]]`. Public.
    pub fn chain_text(&self) -> String {
        let identity = Bytes(self.identity.verifying_key().to_compressed().to_vec());
        Base64UrlUnpadded::encode_string(&codec::encode(&(identity, self.chain.clone())))
    }
}

/// Inverse of [`SafeKeys::chain_text`]: the identity public key and the signed entries.
///
/// # Errors
/// [`IdentityError::Malformed`].
pub fn parse_chain_text(text: &str) -> Result<(Bytes, Vec<Bytes>), IdentityError> {
    let bytes = Base64UrlUnpadded::decode_vec(text.trim()).map_err(|_| CodecError::Malformed)?;
    Ok(codec::decode(&bytes, MAX_DESCRIPTOR_LEN)?)
}

/// Signs an entry with the identity key.
pub fn sign_entry(identity: &SigningKey, entry: &Entry) -> Bytes {
    cose::sign(identity, Kind::ChainEntry, &codec::encode(entry)).into()
}
