//! A request whose content only one safe can read, once: the container of audits and of proposals to a register.
//!
//! HPKE base mode to the safe's key, with `info` = CBOR `[suite, label, safe, serial]` and `aad` = CBOR `[suite, (deposit,) nonce, expiry]`, so
//! that it opens nothing elsewhere, for another purpose, or later. Spec: `spec/audit.md`, `spec/unique.md`.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    SUITE,
    codec::{self, Bytes, CodecError},
    crypto::{CryptoError, HPKE_ENC_LEN, HpkePrivateKey, hpke_seal},
    identity::Entry,
    ids::{DepositId, Nonce, SafeId, Seconds},
};

/// What a sealed request is for: the label that is bound into it, and the deposit where it is about one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subject<'a>(pub(crate) &'static str, pub(crate) Option<&'a DepositId>);

/// The container.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Sealed {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// Serial of the chain entry to whose HPKE key it is sealed.
    #[n(1)]
    pub entry: u32,
    /// Single-use number.
    #[n(2)]
    pub nonce: Nonce,
    /// First second in which it no longer counts.
    #[n(3)]
    pub expiry: Seconds,
    /// HPKE encapsulated key.
    #[n(4)]
    pub enc: Bytes,
    /// HPKE ciphertext.
    #[n(5)]
    pub ciphertext: Bytes,
}

impl Subject<'_> {
    fn info(self, safe: &SafeId, entry: u32) -> Vec<u8> {
        codec::encode(&(SUITE, self.0, *safe, entry))
    }

    fn aad(self, nonce: &Nonce, expiry: Seconds) -> Vec<u8> {
        match self.1 {
            Some(deposit) => codec::encode(&(SUITE, *deposit, *nonce, expiry)),
            None => codec::encode(&(SUITE, *nonce, expiry)),
        }
    }
}

impl Sealed {
    /// Seals a content to a safe. Inverse of [`Self::open`].
    ///
    /// # Errors
    /// If the entry's HPKE key is not one.
    pub(crate) fn make<R: CryptoRng>(
        subject: Subject<'_>,
        plain: &[u8],
        entry: &Entry,
        expiry: Seconds,
        rng: &mut R,
    ) -> Result<Self, CryptoError> {
        let nonce = Nonce::make_random(rng);
        let (info, aad) = (subject.info(&entry.safe, entry.serial), subject.aad(&nonce, expiry));
        let (enc, ciphertext) = hpke_seal(&entry.hpke, &info, &aad, plain, rng)?;
        Ok(Self { suite: SUITE, entry: entry.serial, nonce, expiry, enc: enc.into(), ciphertext: ciphertext.into() })
    }

    /// Decodes and checks the form; at most `most` bytes.
    ///
    /// # Errors
    /// [`CodecError`].
    pub fn parse(bytes: &[u8], most: usize) -> Result<Self, CodecError> {
        let sealed: Self = codec::decode(bytes, most)?;
        codec::expect_suite(sealed.suite)?;
        if sealed.enc.len() == HPKE_ENC_LEN { Ok(sealed) } else { Err(CodecError::Malformed) }
    }

    /// Opens it at the safe.
    ///
    /// # Errors
    /// [`CryptoError`] if it was sealed to another safe, subject, nonce or expiry.
    pub(crate) fn open(
        &self,
        subject: Subject<'_>,
        key: &HpkePrivateKey,
        safe: &SafeId,
    ) -> Result<Zeroizing<Vec<u8>>, CryptoError> {
        key.open(&self.enc, &subject.info(safe, self.entry), &subject.aad(&self.nonce, self.expiry), &self.ciphertext)
    }
}
