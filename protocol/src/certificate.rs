//! What a safe signs: offer, registration certificate, receipt.
//!
//! An *offer* says: I have these bytes, confirm until then. Confirming turns it into the *certificate*: I keep these bytes until
//! the lease ends and give them to whoever shows the retrieve secret. A *receipt* says: the holder let it go, here is the release
//! secret that only the holder had. Only a certificate makes [`Held`]. Spec: `spec/certificate.md`.

use minicbor::{Decode, Encode};

use crate::{
    SUITE,
    codec::{self, CodecError},
    cose::{self, Kind, SignedError, Unverified},
    crypto::{Secret, SigningKey, blake3},
    deposit::{Face, SecretHashes, Statement, recognises},
    identity::{Identity, MAX_URL_LEN},
    ids::{DepositId, Root, SafeId, Seconds, SecretHash},
};

/// Longest signed statement about a deposit, bytes: statement 1024, URL 256, header and signature below 256.
pub const MAX_SIGNED_LEN: usize = 2048;

/// Why a signed statement about a deposit does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CertificateError {
    /// Not one at all.
    #[error("not a certificate: {0}")]
    Signed(#[from] SignedError),
    /// By another safe than the one that is asked.
    #[error("signed for another safe")]
    WrongSafe,
    /// Signed by an entry that the safe's chain does not have.
    #[error("signed by key {0}, which the safe's chain does not list")]
    UnknownEntry(u32),
    /// Issued outside the validity of the entry that signed it.
    #[error("issued outside the validity of the key that signed it")]
    OutsideEntry,
    /// It says something else than the wallet's own statement.
    #[error("does not say what was deposited")]
    Differs,
}

impl From<CodecError> for CertificateError {
    fn from(error: CodecError) -> Self {
        Self::Signed(error.into())
    }
}

/// Content of offer and certificate. The two differ in the content type that is signed with it, and in `confirm_by`.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Registration {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The safe.
    #[n(1)]
    pub safe: SafeId,
    /// Where the safe stands: the certificate's pointer (claim 3).
    #[n(2)]
    pub url: String,
    /// Serial of the chain entry that signs.
    #[n(3)]
    pub entry: u32,
    /// The deposit.
    #[n(4)]
    pub deposit: DepositId,
    /// BLAKE3 root of the body.
    #[n(5)]
    pub root: Root,
    /// Length of the body, bytes.
    #[n(6)]
    pub length: u64,
    /// When it was issued.
    #[n(7)]
    pub issued: Seconds,
    /// Until when the safe keeps the body.
    #[n(8)]
    pub lease_end: Seconds,
    /// The face.
    #[n(9)]
    pub face: Face,
    /// Hashes of the secrets that give rights over it.
    #[n(10)]
    pub hashes: SecretHashes,
    /// The owner to whom it is bound.
    #[n(11)]
    pub owner: Option<SecretHash>,
    /// In an offer: when it lapses unless confirmed.
    #[n(12)]
    pub confirm_by: Option<Seconds>,
    /// Whether the value may live only once.
    #[n(13)]
    pub unique: Option<bool>,
    /// Whether it is bound for its release only.
    #[n(14)]
    pub release_only: Option<bool>,
}

impl Registration {
    /// Whether the safe gives the body to its authenticated owner only.
    pub fn is_bound(&self) -> bool {
        self.owner.is_some() && self.release_only != Some(true)
    }

    /// Whether it repeats a statement faithfully, the lease apart.
    pub fn repeats(&self, statement: &Statement) -> bool {
        self.safe == statement.safe
            && self.deposit == statement.deposit
            && self.root == statement.root
            && self.length == statement.length
            && self.face == statement.face
            && self.hashes == statement.hashes
            && self.owner == statement.owner
            && self.unique == statement.unique
            && self.release_only == statement.release_only
    }

    /// Whether it is the same promise as an earlier one, at least as far into the future: what a renewed certificate must be.
    pub fn renews(&self, earlier: &Self) -> bool {
        self.lease_end >= earlier.lease_end && self.issued >= earlier.issued && self.is_same_promise(earlier)
    }

    /// Whether it is the same promise as another one, whichever was signed first.
    pub fn is_same_promise(&self, other: &Self) -> bool {
        let Self { entry, issued, lease_end, .. } = *self;
        Self { entry, issued, lease_end, ..other.clone() } == *self
    }

    /// Signs it as an offer or a certificate.
    pub fn sign(&self, key: &SigningKey, kind: Kind) -> Vec<u8> {
        cose::sign(key, kind, &codec::encode(self))
    }
}

fn verify_registration(bytes: &[u8], kind: Kind, identity: &Identity) -> Result<Registration, CertificateError> {
    let unverified = Unverified::parse(bytes, kind, MAX_SIGNED_LEN)?;
    let registration: Registration = codec::decode(unverified.payload(), MAX_SIGNED_LEN)?;
    codec::expect_suite(registration.suite)?;
    if registration.url.len() > MAX_URL_LEN || registration.confirm_by.is_some() != (kind == Kind::Offer) {
        return Err(CodecError::Malformed.into());
    }
    check_signature(&unverified, identity, registration.safe, registration.entry, registration.issued)?;
    Ok(registration)
}

pub(crate) fn check_signature(
    unverified: &Unverified,
    identity: &Identity,
    safe: SafeId,
    serial: u32,
    issued: Seconds,
) -> Result<(), CertificateError> {
    if safe != identity.id() {
        return Err(CertificateError::WrongSafe);
    }
    let entry = identity.entry(serial).ok_or(CertificateError::UnknownEntry(serial))?;
    let key = entry.verifying_key().map_err(|_| SignedError::BadSignature)?;
    unverified.verify(&key)?;
    if entry.covers(issued) { Ok(()) } else { Err(CertificateError::OutsideEntry) }
}

/// A verified offer: a promise that lapses unless confirmed. No local copy may be deleted on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offered {
    registration: Registration,
    digest: [u8; 32],
}

impl Offered {
    /// Checks an offer against the safe's identity and what was deposited.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn verify(bytes: &[u8], identity: &Identity, statement: &Statement) -> Result<Self, CertificateError> {
        let registration = verify_registration(bytes, Kind::Offer, identity)?;
        if !registration.repeats(statement) {
            return Err(CertificateError::Differs);
        }
        Ok(Self { registration, digest: offer_digest(bytes) })
    }

    /// What the offer says.
    pub const fn registration(&self) -> &Registration {
        &self.registration
    }

    /// What a confirmation names.
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// BLAKE3 of the signed offer: names it in the confirmation.
pub fn offer_digest(offer: &[u8]) -> [u8; 32] {
    blake3(offer)
}

/// Proof that a safe keeps a deposit. Only [`verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    registration: Registration,
    signed: Vec<u8>,
}

impl Held {
    /// What the certificate says.
    pub const fn registration(&self) -> &Registration {
        &self.registration
    }

    /// The certificate as the safe signed it.
    pub fn signed(&self) -> &[u8] {
        &self.signed
    }
}

/// Checks a certificate against the safe's identity, and against the wallet's statement where it has one.
///
/// # Errors
/// [`CertificateError`].
pub fn verify(bytes: &[u8], identity: &Identity, statement: Option<&Statement>) -> Result<Held, CertificateError> {
    let registration = verify_registration(bytes, Kind::Certificate, identity)?;
    if statement.is_some_and(|s| !registration.repeats(s)) {
        return Err(CertificateError::Differs);
    }
    Ok(Held { registration, signed: bytes.to_vec() })
}

/// Reads a certificate without believing it: to find the safe that it points to (claim 3).
///
/// # Errors
/// [`CertificateError::Signed`] if it is none.
pub fn read_unverified(bytes: &[u8]) -> Result<Registration, CertificateError> {
    let unverified = Unverified::parse(bytes, Kind::Certificate, MAX_SIGNED_LEN)?;
    Ok(codec::decode(unverified.payload(), MAX_SIGNED_LEN)?)
}

/// Content of a receipt.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Release {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The safe.
    #[n(1)]
    pub safe: SafeId,
    /// Serial of the chain entry that signs.
    #[n(2)]
    pub entry: u32,
    /// The deposit.
    #[n(3)]
    pub deposit: DepositId,
    /// BLAKE3 root of the body that was let go.
    #[n(4)]
    pub root: Root,
    /// When the safe deleted it.
    #[n(5)]
    pub issued: Seconds,
    /// The release secret: shows that a holder of the deposit's secrets let it go.
    #[n(6)]
    pub release: Secret,
}

/// Signs a receipt.
pub fn sign_receipt(key: &SigningKey, release: &Release) -> Vec<u8> {
    cose::sign(key, Kind::Receipt, &codec::encode(release))
}

/// Checks a receipt against the safe's identity and the registration that it ends.
///
/// # Errors
/// [`CertificateError`].
pub fn verify_receipt(bytes: &[u8], identity: &Identity, held: &Registration) -> Result<Release, CertificateError> {
    verify_receipt_of(bytes, identity, (&held.safe, &held.deposit, &held.root), &held.hashes.release)
}

/// The same for a deposit that is known without its registration: by its safe, its id, the root of its body, and the hash of its release secret.
///
/// # Errors
/// [`CertificateError`].
pub fn verify_receipt_of(
    bytes: &[u8],
    identity: &Identity,
    (safe, deposit, root): (&SafeId, &DepositId, &Root),
    hash: &SecretHash,
) -> Result<Release, CertificateError> {
    let unverified = Unverified::parse(bytes, Kind::Receipt, MAX_SIGNED_LEN)?;
    let release: Release = codec::decode(unverified.payload(), MAX_SIGNED_LEN)?;
    codec::expect_suite(release.suite)?;
    check_signature(&unverified, identity, release.safe, release.entry, release.issued)?;
    let ours = release.safe == *safe && release.deposit == *deposit && release.root == *root;
    if ours && recognises(hash, &release.release) { Ok(release) } else { Err(CertificateError::Differs) }
}

/// A registration of our suite, as a safe makes it from a statement.
pub fn registration_of(
    statement: &Statement,
    url: &str,
    entry: u32,
    issued: Seconds,
    lease_end: Seconds,
    confirm_by: Option<Seconds>,
) -> Registration {
    Registration {
        suite: SUITE,
        safe: statement.safe,
        url: url.to_owned(),
        entry,
        deposit: statement.deposit,
        root: statement.root,
        length: statement.length,
        issued,
        lease_end,
        face: statement.face.clone(),
        hashes: statement.hashes,
        owner: statement.owner,
        confirm_by,
        unique: statement.unique,
        release_only: statement.release_only,
    }
}
