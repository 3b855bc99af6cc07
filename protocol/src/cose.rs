//! COSE_Sign1 (RFC 9052 §4.2) with ES384, the one signature container of the formats.
//!
//! Tagged (#6.18). The protected header holds exactly the algorithm and a content type that names the kind of statement, so that
//! an offer can never be passed off as a certificate; the unprotected header is empty.

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable, iana};

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
}

impl Kind {
    /// The content type in the protected header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::ChainEntry => "application/vnd.strongroom.chain-entry+cbor",
            Self::Offer => "application/vnd.strongroom.offer+cbor",
            Self::Certificate => "application/vnd.strongroom.certificate+cbor",
            Self::Receipt => "application/vnd.strongroom.receipt+cbor",
        }
    }
}

/// Signs a payload. Inverse of [`verify`].
pub fn sign(key: &SigningKey, kind: Kind, payload: Vec<u8>) -> Vec<u8> {
    let protected =
        HeaderBuilder::new().algorithm(iana::Algorithm::ES384).content_type(kind.content_type().to_owned()).build();
    let signed = CoseSign1Builder::new()
        .protected(protected)
        .payload(payload)
        .create_signature(b"", |message| key.sign(message).to_vec())
        .build();
    // Serialising to memory cannot fail.
    signed.to_tagged_vec().unwrap_or_default()
}

/// A statement whose form is right and whose signature has not been checked yet.
#[derive(Debug)]
pub struct Unverified {
    signed: CoseSign1,
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
        let signed = CoseSign1::from_tagged_slice(bytes).map_err(|_| SignedError::Malformed)?;
        let protected =
            HeaderBuilder::new().algorithm(iana::Algorithm::ES384).content_type(kind.content_type().to_owned()).build();
        let ours = signed.protected.header == protected
            && signed.unprotected.is_empty()
            && signed.protected.original_data == protected.to_vec().ok()
            && signed.payload.is_some();
        // One encoding only: what is stored and compared byte for byte must not have twins.
        let again = signed.clone().to_tagged_vec().map_err(|_| SignedError::Malformed)?;
        if ours && again == bytes { Ok(Self { signed }) } else { Err(SignedError::Malformed) }
    }

    /// The payload, to find out which key to ask for. Nothing in it is to be believed yet.
    pub fn payload(&self) -> &[u8] {
        self.signed.payload.as_deref().unwrap_or_default()
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`SignedError::BadSignature`].
    pub fn verify(&self, key: &VerifyingKey) -> Result<(), SignedError> {
        self.signed
            .verify_signature(b"", |signature, message| key.verify(message, signature))
            .map_err(|_| SignedError::BadSignature)
    }
}
