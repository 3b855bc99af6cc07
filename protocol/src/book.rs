//! The book: what a wallet must keep to bring values back, and the certificate file that carries it to another device.
//!
//! An entry has everything that one backup needs: its layout, per deposit the secret `d` and the certificate, and for the safes their
//! keys, so that recovery needs no one's word but the safes'. Who reads an entry can recover its values; therefore the file is
//! sealed under a passphrase. Spec: `spec/recovery.md` §3.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    SUITE,
    bundle::{MAX_VALUES, ValueMeta},
    certificate::{self, CertificateError, Held},
    codec::{self, Bytes, CodecError, SecretBytes},
    crypto::{CryptoError, PassphraseCost, Secret},
    identity::{Identity, IdentityError, MAX_NAME_LEN, MAX_URL_LEN, Whereabouts},
    ids::{BackupId, DepositId, Root, SafeId, Seconds},
    layout::{Layout, Slot},
    passphrase::Stretch,
    plan::{Place, Plan, PlanError},
    program::Piece,
    seal::{self, Purpose},
};

/// First item of a certificate file.
pub const FILE_MAGIC: &str = "strongroom certificates";
/// Longest certificate file, bytes: some 20,000 deposits.
pub const MAX_FILE_LEN: usize = 32 * 1024 * 1024;

/// A certificate file was refused; nothing of it was taken over.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BookError {
    /// Not such a file.
    #[error("this is not a certificate file: {0}")]
    Malformed(#[from] CodecError),
    /// It does not open.
    #[error("the passphrase does not open this file, or the file was altered")]
    WrongPassphrase,
    /// A safe's keys in it do not hold.
    #[error("a safe in the file is not itself: {0}")]
    Identity(#[from] IdentityError),
    /// A certificate in it does not hold.
    #[error("a certificate in the file does not hold: {0}")]
    Certificate(#[from] CertificateError),
    /// A plan in it cannot be.
    #[error("a plan in the file cannot be carried out: {0}")]
    Plan(#[from] PlanError),
    /// The deposits are not those of the plan.
    #[error("the deposits in the file are not those of their plan")]
    Incomplete,
}

/// A safe as a wallet keeps it: pinned identity, and where it was last.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KnownSafe {
    /// The pinned id.
    #[n(0)]
    pub id: SafeId,
    /// The owner's name for it.
    #[n(1)]
    pub nickname: String,
    /// What it calls itself.
    #[n(2)]
    pub name: String,
    /// Where it stands.
    #[n(3)]
    pub url: String,
    /// Identity public key, compressed SEC1.
    #[n(4)]
    pub identity: Bytes,
    /// Signed entries as last seen.
    #[n(5)]
    pub chain: Vec<Bytes>,
    /// Largest body, bytes.
    #[n(6)]
    pub limit_body: u64,
    /// The operator's admission token, where the owner has one. It stays in the wallet: recovery needs none.
    #[n(7)]
    pub token: Option<String>,
    /// What it may have in common with other safes, as it last said.
    #[n(8)]
    pub whereabouts: Option<Whereabouts>,
}

impl KnownSafe {
    /// Whether every text is as short as it may be.
    fn fits(&self) -> bool {
        let named = self.name.len() <= MAX_NAME_LEN && self.nickname.len() <= MAX_NAME_LEN;
        named && self.url.len() <= MAX_URL_LEN && self.whereabouts.as_ref().is_none_or(Whereabouts::fits)
    }

    /// Whether it shows what another one shows of its keys, whose chain has been checked: then it need not be checked again.
    pub fn has_keys_of(&self, checked: &Self) -> bool {
        self.fits() && self.id == checked.id && self.identity == checked.identity && self.chain == checked.chain
    }

    /// Checks the chain against the pinned id.
    ///
    /// # Errors
    /// [`IdentityError`].
    pub fn verify(&self) -> Result<Identity, IdentityError> {
        if !self.fits() {
            return Err(CodecError::Malformed.into());
        }
        let identity = Identity::verify(&self.identity, &self.chain)?;
        if identity.id() == self.id {
            Ok(identity)
        } else {
            Err(IdentityError::Mismatch { expected: self.id, found: identity.id() })
        }
    }
}

/// One deposit of a finished backup.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct BookDeposit {
    /// The deposit.
    #[n(0)]
    pub id: DepositId,
    /// Its safe.
    #[n(1)]
    pub safe: SafeId,
    /// Its segment.
    #[n(2)]
    pub segment: u32,
    /// Its secret.
    #[n(3)]
    pub d: Secret,
    /// The certificate as the safe signed it.
    #[n(4)]
    pub certificate: Bytes,
    /// `true`: it is bound to its owner; else left out.
    #[n(5)]
    pub owner: Option<bool>,
}

/// A deposit as an entry names it.
pub trait Entered {
    /// Its place in the layout.
    fn slot(&self) -> Slot;

    /// Checks what is said of it, whoever signed it.
    ///
    /// # Errors
    /// [`BookError`].
    fn check(&self) -> Result<(), BookError>;
}

impl Entered for BookDeposit {
    fn slot(&self) -> Slot {
        Slot { segment: self.segment, safe: self.safe, owner: self.owner == Some(true) }
    }

    fn check(&self) -> Result<(), BookError> {
        let secrets = crate::deposit::DepositSecrets::derive(&self.d);
        let registration = certificate::read_unverified(&self.certificate)?;
        let bound = registration.is_bound() == self.slot().owner;
        // One way to say no: nothing.
        let bound = bound && self.owner != Some(false);
        if registration.deposit != self.id || registration.hashes != secrets.hashes() || !bound {
            return Err(CertificateError::Differs.into());
        }
        Ok(())
    }
}

/// One backup.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct BookEntry<D = BookDeposit> {
    /// The backup.
    #[n(0)]
    pub backup: BackupId,
    /// The values in it, in the order of the bundle.
    #[n(1)]
    pub values: Vec<ValueMeta>,
    /// The plan.
    #[n(2)]
    pub plan: Plan<SafeId>,
    /// Length of the bundle, bytes.
    #[n(3)]
    pub bundle: u64,
    /// Bytes of the bundle per segment.
    #[n(4)]
    pub segment_len: u64,
    /// When it was finished.
    #[n(5)]
    pub finished: Seconds,
    /// All deposits.
    #[n(6)]
    pub deposits: Vec<D>,
    /// The pieces that the plan leaves in the book, segment by segment, in tree order.
    #[n(7)]
    pub pieces: Vec<KeptPiece>,
}

/// A piece that stays with the owner, in the book or in a file.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct KeptPiece {
    /// Its place in the plan.
    #[n(0)]
    pub path: Bytes,
    /// Its segment.
    #[n(1)]
    pub segment: u32,
    /// Commitments of the groups above it, from the root.
    #[n(2)]
    pub parents: Vec<Root>,
    /// Its bytes.
    #[n(3)]
    pub bytes: SecretBytes,
}

impl From<Piece> for KeptPiece {
    fn from(Piece { path, segment, parents, bytes }: Piece) -> Self {
        Self { path: path.into(), segment, parents, bytes: SecretBytes(bytes) }
    }
}

impl From<KeptPiece> for Piece {
    fn from(KeptPiece { path, segment, parents, bytes }: KeptPiece) -> Self {
        Self { path: path.0, segment, parents, bytes: bytes.0 }
    }
}

/// Whether these are the pieces that a place of the owner's gets of the whole backup.
pub(crate) fn are_complete(layout: &Layout, place: &Place<SafeId>, pieces: &[KeptPiece]) -> bool {
    let mut rest = pieces;
    (0..layout.segments()).all(|segment| {
        let (here, later) = rest.split_at(rest.iter().take_while(|piece| piece.segment == segment).count());
        rest = later;
        layout.is_complete(place, segment, here.iter().map(|p| (&*p.path, p.bytes.0.len(), p.parents.len())))
    }) && rest.is_empty()
}

/// Content of a certificate file.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Book {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// When it was written.
    #[n(1)]
    pub written: Seconds,
    /// The safes.
    #[n(2)]
    pub safes: Vec<KnownSafe>,
    /// The backups.
    #[n(3)]
    pub entries: Vec<BookEntry>,
}

impl BookEntry {
    /// Checks every certificate against its safe, and the deposits against the plan.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn verify(&self, identity_of: impl Fn(&SafeId) -> Option<Identity>) -> Result<Vec<Held>, BookError> {
        let verified = self.deposits.iter().map(|deposit| {
            let identity = identity_of(&deposit.safe).ok_or(BookError::Incomplete)?;
            Ok(certificate::verify(&deposit.certificate, &identity, None)?)
        });
        let held = verified.collect::<Result<_, BookError>>()?;
        self.check()?;
        Ok(held)
    }
}

impl<D: Entered> BookEntry<D> {
    /// The layout.
    ///
    /// # Errors
    /// [`PlanError`].
    pub fn layout(&self) -> Result<Layout, PlanError> {
        Layout::restore(self.backup, &self.plan, self.bundle, self.segment_len)
    }

    /// Checks the deposits against the plan, and what is said of each of them.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn check(&self) -> Result<(), BookError> {
        // Sums and counts first: whoever wrote the file chose the numbers.
        if self.values.len() > MAX_VALUES {
            return Err(BookError::Incomplete);
        }
        self.values.iter().try_for_each(ValueMeta::check)?;
        let layout = self.layout()?;
        if crate::bundle::length(&self.values) != self.bundle || layout.slot_count() != self.deposits.len() as u64 {
            return Err(BookError::Incomplete);
        }
        // What no safe signed for has no count to be held to, but a limit.
        layout.check_kept()?;
        if !are_complete(&layout, &Place::Book, &self.pieces) {
            return Err(BookError::Incomplete);
        }
        let mut slots = layout.slots();
        for deposit in &self.deposits {
            let at = slots.iter().position(|slot| *slot == deposit.slot());
            slots.swap_remove(at.ok_or(BookError::Incomplete)?);
            deposit.check()?;
        }
        if slots.is_empty() { Ok(()) } else { Err(BookError::Incomplete) }
    }
}

/// The file: CBOR `[magic, suite, cost, salt, sealed book]`.
type File = (String, u8, PassphraseCost, Bytes, Bytes);

fn purpose() -> Purpose<'static> {
    Purpose { purpose: "book", object: b"", version: 0 }
}

/// Writes a certificate file under the key that `stretch` makes of the owner's passphrase. Inverse of [`read_file`].
///
/// # Errors
/// [`CryptoError`]: never for books of allowed lengths.
pub fn write_file<R: CryptoRng>(
    book: &Book,
    stretch: &Stretch,
    key: &Secret,
    rng: &mut R,
) -> Result<Vec<u8>, CryptoError> {
    let mut seal_salt = [0; 32];
    rng.fill_bytes(&mut seal_salt);
    let plain = Zeroizing::new(codec::encode(book));
    let sealed = seal::seal(key, &seal_salt, &purpose(), &plain)?;
    let file: File = (FILE_MAGIC.to_owned(), SUITE, stretch.cost, stretch.salt.to_vec().into(), sealed.into());
    Ok(codec::encode(&file))
}

/// A certificate file that waits for its key.
#[derive(Debug)]
pub struct SealedBook {
    /// What makes the key of the passphrase.
    pub stretch: Stretch,
    sealed: Bytes,
}

/// Reads a certificate file, as far as that goes without its passphrase.
///
/// # Errors
/// [`BookError`].
pub fn read_file(bytes: &[u8]) -> Result<SealedBook, BookError> {
    let (magic, suite, cost, salt, sealed): File = codec::decode(bytes, MAX_FILE_LEN)?;
    if magic != FILE_MAGIC {
        return Err(CodecError::Malformed.into());
    }
    codec::expect_suite(suite)?;
    let stretch = Stretch::new(&salt, cost).map_err(|_| CodecError::Malformed)?;
    Ok(SealedBook { stretch, sealed })
}

impl SealedBook {
    /// Opens the book and checks every safe and certificate in it.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn open(&self, key: &Secret) -> Result<Book, BookError> {
        let plain = seal::open(key, &purpose(), &self.sealed).map_err(|_| BookError::WrongPassphrase)?;
        let book: Book = codec::decode(&plain, MAX_FILE_LEN)?;
        codec::expect_suite(book.suite)?;
        book.verify()?;
        Ok(book)
    }
}

impl Book {
    /// Checks every safe and certificate.
    ///
    /// # Errors
    /// [`BookError`].
    pub fn verify(&self) -> Result<(), BookError> {
        let identities = self.safes.iter().map(KnownSafe::verify).collect::<Result<Vec<_>, _>>()?;
        for entry in &self.entries {
            entry.verify(|id| identities.iter().find(|i| i.id() == *id).cloned())?;
        }
        Ok(())
    }

    /// Reads a chapter of the owner's own book. What was checked when it was written may not hold any more: a safe that revokes a key makes nothing unreadable.
    ///
    /// # Errors
    /// [`BookError`] if it is no book. A safe or an entry in it that is none is left out.
    pub fn read_own(plain: &[u8]) -> Result<Self, BookError> {
        let mut book: Self = codec::decode(plain, MAX_FILE_LEN)?;
        codec::expect_suite(book.suite)?;
        book.safes.retain(|safe| safe.verify().is_ok());
        book.entries.retain(|entry| entry.check().is_ok());
        Ok(book)
    }
}
