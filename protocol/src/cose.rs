//! COSE_Sign1 (RFC 9052 §4.2) with ES384, the one signature container of the formats.
//!
//! Tagged (#6.18). The protected header holds exactly the algorithm and a content type that names the kind of statement, so that
//! an offer can never be passed off as a certificate; the unprotected header is empty.

use minicbor::{Decoder, Encoder, data::Tag, decode};

use crate::{
    codec::CodecError,
    crypto::{SigningKey, VerifyingKey},
};

/// A signed statement was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SignedError {
    /// Not a COSE_Sign1 of our profile, or a statement of another kind.
    #[error("not a signed statement of the expected kind")]
    Malformed,
    /// The payload was refused.
    #[error("signed, but {0}")]
    Payload(#[from] CodecError),
    /// The signature does not fit the key.
    #[error("the signature does not fit the key")]
    BadSignature,
}

/// Kinds of signed statements, by content type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// An entry of a safe's chain, signed by its identity key.
    ChainEntry,
    /// What a safe signs when it has the bytes.
    Offer,
    /// What a safe signs when the wallet has confirmed.
    Certificate,
    /// What a safe signs when it has let a deposit go.
    Receipt,
    /// What a safe signs when it is asked what became of a deposit.
    Testimony,
}

impl Kind {
    /// The content type in the protected header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::ChainEntry => "application/vnd.strongroom.chain-entry+cbor",
            Self::Offer => "application/vnd.strongroom.offer+cbor",
            Self::Certificate => "application/vnd.strongroom.certificate+cbor",
            Self::Receipt => "application/vnd.strongroom.receipt+cbor",
            Self::Testimony => "application/vnd.strongroom.testimony+cbor",
        }
    }
}

/// CBOR tag of a COSE_Sign1.
const TAG: Tag = Tag::new(18);
/// `alg` ES384 (RFC 9053 §2.1).
const ES384: i8 = -35;

/// `{1: alg, 3: content type}` (RFC 9052 §3.1).
fn protected(kind: Kind) -> Vec<u8> {
    let mut e = Encoder::new(Vec::new());
    // Writing to memory cannot fail, here and below.
    let _ = e.map(2).and_then(|e| e.u8(1)?.i8(ES384)?.u8(3)?.str(kind.content_type()));
    e.into_writer()
}

/// What is signed: `["Signature1", protected, h'', payload]` (RFC 9052 §4.4).
fn to_be_signed(kind: Kind, payload: &[u8]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::with_capacity(payload.len() + 128));
    let _ = e.array(4).and_then(|e| e.str("Signature1")?.bytes(&protected(kind))?.bytes(b"")?.bytes(payload));
    e.into_writer()
}

/// `18([protected, {}, payload, signature])`.
fn container(kind: Kind, payload: &[u8], signature: &[u8]) -> Vec<u8> {
    let mut e = Encoder::new(Vec::with_capacity(payload.len() + 256));
    let _ = e.tag(TAG).and_then(|e| e.array(4)?.bytes(&protected(kind))?.map(0)?.bytes(payload)?.bytes(signature));
    e.into_writer()
}

/// Signs a payload. Inverse of [`Unverified::verify`].
pub fn sign(key: &SigningKey, kind: Kind, payload: &[u8]) -> Vec<u8> {
    container(kind, payload, &key.sign(&to_be_signed(kind, payload)))
}

/// A statement whose form is right and whose signature has not been checked yet.
#[derive(Debug)]
pub struct Unverified {
    kind: Kind,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl Unverified {
    /// Takes the statement apart.
    ///
    /// # Errors
    /// [`SignedError::Malformed`] if it is too long, not of our profile, or of another kind.
    pub fn parse(bytes: &[u8], kind: Kind, most: usize) -> Result<Self, SignedError> {
        if bytes.len() > most {
            return Err(CodecError::TooLong { got: bytes.len(), most }.into());
        }
        let (payload, signature) = parts(bytes).map_err(|_| SignedError::Malformed)?;
        // One encoding only. This also compares the headers. (The signature itself may have a twin, r ‖ n − s, which nobody but a
        // person with the statement can make and which says the same.)
        if container(kind, payload, signature) != bytes {
            return Err(SignedError::Malformed);
        }
        Ok(Self { kind, payload: payload.to_vec(), signature: signature.to_vec() })
    }

    /// The payload, to find out which key to ask for. Nothing in it is to be believed yet.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// What kind of statement it is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`SignedError::BadSignature`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), SignedError> {
        key.verify(&to_be_signed(self.kind, &self.payload), &self.signature).map_err(|_| SignedError::BadSignature)
    }
}

/// Payload and signature, where they are expected.
fn parts(bytes: &[u8]) -> Result<(&[u8], &[u8]), decode::Error> {
    let mut d = Decoder::new(bytes);
    d.tag()?;
    d.array()?;
    d.bytes()?;
    d.map()?;
    Ok((d.bytes()?, d.bytes()?))
}
