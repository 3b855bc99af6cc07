//! A deposit: the statement that goes with a body, the secrets that give rights over it, and the face.
//!
//! Rights attenuate by hashing: whoever may release may retrieve, whoever may retrieve may audit, never the other way. The safe
//! keeps hashes only. All comes from `d`, 32 bytes that never leave the wallet, its book or its kit. Spec: `spec/deposit.md`.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;

use crate::{
    SUITE,
    codec::{self, Bytes, CodecError},
    crypto::{CryptoError, Secret, derive_secret, same_bytes},
    ids::{DepositId, Root, SafeId, Seconds, SecretHash},
    seal::{self, Purpose},
};

/// Largest body that a safe takes unless its descriptor says otherwise, bytes: 2 MiB are hashed and written within the
/// 10 ms of processor time that a free plan gives (1.75 ms a MiB).
pub const DEFAULT_BODY_LIMIT: u64 = 2 * 1024 * 1024;
/// Longest face, bytes: [`FACE_TEXT_LEN`] sealed is 64 + 256 + 16, and 48 for CBOR and growth.
pub const MAX_FACE_LEN: usize = 384;
/// Padded length of a face's text, bytes, so that the length of a title does not show.
pub const FACE_TEXT_LEN: usize = 256;
/// Longest statement, bytes: face 384, four hashes and ids of 32 with their heads, and room for an owner binding.
pub const MAX_STATEMENT_LEN: usize = 1024;
/// Default lease: two years.
pub const LEASE: Seconds = 2 * 365 * 86_400;
/// A contact renews the lease when this part of it has passed: a month of two years, so that a deposit costs at most a signature a month.
pub const RENEW_PART: Seconds = 24;

/// What a safe keeps to recognise the secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct SecretHashes {
    /// Recognises the audit secret.
    #[n(0)]
    pub audit: SecretHash,
    /// Recognises the retrieve secret.
    #[n(1)]
    pub retrieve: SecretHash,
    /// Recognises the release secret.
    #[n(2)]
    pub release: SecretHash,
}

/// The rights over one deposit, derived from its `d`.
#[derive(Debug, Clone)]
pub struct DepositSecrets {
    /// Lets a safe delete the deposit.
    pub release: Secret,
    /// Lets a safe hand out the body.
    pub retrieve: Secret,
    /// Lets a safe prove that it has the body.
    pub audit: Secret,
}

impl DepositSecrets {
    /// `release = derive(d, "release")`, `retrieve = derive(release, "retrieve")`, `audit = derive(retrieve, "audit")`.
    pub fn derive(d: &Secret) -> Self {
        let release = derive_secret(d, "release", b"");
        let retrieve = Self::retrieve_of(&release);
        let audit = Self::audit_of(&retrieve);
        Self { release, retrieve, audit }
    }

    /// The audit secret behind a retrieve secret.
    pub fn audit_of(retrieve: &Secret) -> Secret {
        derive_secret(retrieve, "audit", b"")
    }

    /// The retrieve secret behind a release secret.
    pub fn retrieve_of(release: &Secret) -> Secret {
        derive_secret(release, "retrieve", b"")
    }

    /// What the safe is told of them.
    pub fn hashes(&self) -> SecretHashes {
        SecretHashes {
            audit: derive_hash(&self.audit),
            retrieve: derive_hash(&self.retrieve),
            release: derive_hash(&self.release),
        }
    }
}

/// `derive(secret, "hash")`: what a safe stores of a secret.
pub fn derive_hash(secret: &Secret) -> SecretHash {
    SecretHash(*derive_secret(secret, "hash", b"").expose())
}

/// Whether a presented secret is the one behind a hash, in constant time.
pub fn recognises(hash: &SecretHash, secret: &Secret) -> bool {
    same_bytes(&derive_hash(secret).0, &hash.0)
}

/// What a certificate shows of the value it stands for (claim 2).
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct FaceText {
    /// Title, at most [`MAX_FACE_TITLE`] bytes.
    #[n(0)]
    pub title: String,
    /// Kind of value.
    #[n(1)]
    pub kind: String,
    /// When the value was made.
    #[n(2)]
    pub date: Seconds,
    /// A hint by the owner, at most [`MAX_FACE_HINT`] bytes.
    #[n(3)]
    pub hint: Option<String>,
}

/// Longest title on a face, bytes of UTF-8.
pub const MAX_FACE_TITLE: usize = 96;
/// Longest kind on a face, bytes of UTF-8.
pub const MAX_FACE_KIND: usize = 24;
/// Longest hint on a face, bytes of UTF-8: 96 + 96 + 24 (kind) and 40 for date and CBOR make [`FACE_TEXT_LEN`].
pub const MAX_FACE_HINT: usize = 96;

/// The face as it stands in statement and certificate: CBOR `[0, sealed]` or `[1, text]`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(flat)]
#[non_exhaustive]
pub enum Face {
    /// Readable for the wallet only; the default.
    #[n(0)]
    Sealed(#[n(0)] Bytes),
    /// Readable for everybody, where the owner wants that.
    #[n(1)]
    Clear(#[n(0)] FaceText),
}

fn face_purpose(deposit: &DepositId) -> Purpose<'_> {
    Purpose { purpose: "face", object: &deposit.0, version: 0 }
}

/// The longest prefix of whole characters that fits.
pub fn cut_text(text: &str, most: usize) -> &str {
    let mut end = text.len().min(most);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl FaceText {
    /// With a title, kind and hint that fit.
    pub fn cut(&self) -> Self {
        Self {
            title: cut_text(&self.title, MAX_FACE_TITLE).to_owned(),
            kind: cut_text(&self.kind, MAX_FACE_KIND).to_owned(),
            date: self.date,
            hint: self.hint.as_deref().map(|h| cut_text(h, MAX_FACE_HINT).to_owned()),
        }
    }
}

impl Face {
    /// Seals a face for the wallet under `derive(d, "face")`. Over-long titles and hints are cut.
    ///
    /// # Errors
    /// [`CryptoError`] if the text does not fit its padded length although cut.
    pub fn seal<R: CryptoRng>(
        text: &FaceText,
        d: &Secret,
        deposit: &DepositId,
        rng: &mut R,
    ) -> Result<Self, CryptoError> {
        let encoded = codec::encode(&text.cut());
        // One length byte is enough: the padded length is 256, the head takes one.
        let len = u8::try_from(encoded.len()).ok().filter(|l| usize::from(*l) < FACE_TEXT_LEN).ok_or(CryptoError)?;
        let mut padded = vec![0; FACE_TEXT_LEN];
        padded[0] = len;
        padded[1..=encoded.len()].copy_from_slice(&encoded);
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        let sealed = seal::seal(&derive_secret(d, "face", b""), &salt, &face_purpose(deposit), &padded)?;
        Ok(Self::Sealed(sealed.into()))
    }

    /// Reads the face; a sealed one needs `d`. Inverse of [`Self::seal`].
    ///
    /// # Errors
    /// [`CryptoError`] if it was sealed for another deposit or altered.
    pub fn read(&self, d: Option<&Secret>, deposit: &DepositId) -> Result<FaceText, CryptoError> {
        match self {
            Self::Clear(text) => Ok(text.clone()),
            Self::Sealed(sealed) => {
                let key = derive_secret(d.ok_or(CryptoError)?, "face", b"");
                let padded = seal::open(&key, &face_purpose(deposit), sealed)?;
                let len = usize::from(*padded.first().ok_or(CryptoError)?);
                let encoded = padded.get(1..=len).ok_or(CryptoError)?;
                codec::decode(encoded, FACE_TEXT_LEN).map_err(|_| CryptoError)
            }
        }
    }
}

/// What a wallet tells a safe about a body: the header `Strongroom-Statement` of `PUT /v1/deposits/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Statement {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The safe it is meant for; no other takes it.
    #[n(1)]
    pub safe: SafeId,
    /// The deposit.
    #[n(2)]
    pub deposit: DepositId,
    /// Length of the body, bytes.
    #[n(3)]
    pub length: u64,
    /// BLAKE3 root of the body.
    #[n(4)]
    pub root: Root,
    /// The face.
    #[n(5)]
    pub face: Face,
    /// Hashes of the secrets.
    #[n(6)]
    pub hashes: SecretHashes,
    /// Lease asked for, seconds.
    #[n(7)]
    pub lease: Seconds,
    /// The owner to whom the deposit is bound, where it is ([`crate::owner::ticket::bind`]).
    #[n(8)]
    pub owner: Option<SecretHash>,
    /// `Some(true)`: the value may live only once, and the body goes to the chosen claimant only ([`crate::register`]).
    #[n(9)]
    pub unique: Option<bool>,
    /// `Some(true)`: it is bound for its release only. Whoever has the right secret may fetch it; only its owner lets it go.
    #[n(10)]
    pub release_only: Option<bool>,
}

impl Statement {
    /// Decodes and checks a statement that came to `safe` for `deposit`.
    ///
    /// # Errors
    /// [`CodecError`]: malformed, another suite, an over-long face, or meant for another safe or deposit.
    pub fn parse(bytes: &[u8], safe: &SafeId, deposit: &DepositId) -> Result<Self, CodecError> {
        let statement: Self = codec::decode(bytes, MAX_STATEMENT_LEN)?;
        codec::expect_suite(statement.suite)?;
        let face = codec::encode(&statement.face).len();
        if face > MAX_FACE_LEN {
            return Err(CodecError::TooLong { got: face, most: MAX_FACE_LEN });
        }
        // One way to say no: nothing.
        let no = statement.unique == Some(false) || statement.release_only == Some(false);
        // What lives once goes for good in any case: there is nothing to be bound.
        let unbound = statement.release_only.is_some() && (statement.owner.is_none() || statement.unique.is_some());
        if statement.safe != *safe || statement.deposit != *deposit || no || unbound {
            return Err(CodecError::Malformed);
        }
        Ok(statement)
    }

    /// A statement of our suite for an unbound deposit.
    pub fn new(
        safe: SafeId,
        deposit: DepositId,
        length: u64,
        root: Root,
        face: Face,
        secrets: &DepositSecrets,
    ) -> Self {
        Self {
            suite: SUITE,
            safe,
            deposit,
            length,
            root,
            face,
            hashes: secrets.hashes(),
            lease: LEASE,
            owner: None,
            unique: None,
            release_only: None,
        }
    }
}
