//! The head of the owner's book, as the safes keep it: who has the owner's root reads from it how every value comes back.
//!
//! What is older stands in chapters: books of their own, each an immutable backup over the owner's safes that nobody can read without its entry in the head. So a change writes
//! no more than a head, however long the book is.
//!
//! It is written whole, in turns ([`crate::owner::messages::Epoch`]); its place in the row of heads is bound into it, so that no safe can pass an older one off as a newer.

use minicbor::{Decode, Encode};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    SUITE,
    book::{Book, BookEntry, BookError, Entered},
    codec::{self, CodecError},
    crypto::{CryptoError, Secret, blake3, derive_secret},
    ids::{BackupId, DepositId, EnrolmentId, Root, SafeId, Seconds},
    layout::Slot,
    owner::{
        enrolment::OwnerRoot,
        messages::{Epoch, Head, MAX_HEAD_LEN, Mark},
    },
    padme::padded_len,
    plan::{Place, Plan, PlanError},
    seal::{self, Purpose, sealed_len},
};

/// What a head says.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct HeadContent {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The safes, and what stands in no chapter.
    #[n(1)]
    pub book: Book,
    /// Backups that there was no room for.
    #[n(2)]
    pub left_out: u32,
    /// The chapters: how each comes back.
    #[n(3)]
    #[cbor(default)]
    pub chapters: Vec<BookEntry<ChapterDeposit>>,
    /// Backups that a chapter names and that are no more.
    #[n(4)]
    #[cbor(default)]
    pub gone: Vec<BackupId>,
    /// The recovery name, for a device that came back without it being typed.
    #[n(5)]
    pub name: Option<String>,
    /// When the owner's root was last changed: whoever had the one before may have read how a backup comes back that was finished by then.
    #[n(6)]
    pub changed: Option<Seconds>,
    /// The next enrolment, from when all its safes have proven it until the owner's root is its root: it may be in force at some of them.
    #[n(7)]
    pub announced: Option<Announced>,
    /// Backups of what may live only once that is still on the device that writes this, or was on the one from which it knows of them, and that nobody has claimed: no other
    /// device claims it, save by the owner's word that the one that has it is lost.
    #[n(8)]
    #[cbor(default)]
    pub held: Vec<BackupId>,
    /// Safes that the owner has left, the newest last, at most [`MAX_LEFT`]: a device that comes back later is known there, too.
    #[n(9)]
    #[cbor(default)]
    pub left: Vec<Left>,
}

/// A deposit of a chapter. Its certificate does not stand in the head, which would have no room for those of a long book: its safe shows it to whoever renews.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct ChapterDeposit {
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
    /// Root of the body that the safe has signed for; its length follows from the layout.
    #[n(4)]
    pub root: Root,
    /// `true`: it is bound to its owner for its release; else left out.
    #[n(5)]
    pub release_only: Option<bool>,
}

impl Entered for ChapterDeposit {
    fn slot(&self) -> Slot {
        Slot { segment: self.segment, safe: self.safe, owner: false }
    }

    fn check(&self) -> Result<(), BookError> {
        // One way to say no: nothing.
        if self.release_only == Some(false) { Err(CodecError::Malformed.into()) } else { Ok(()) }
    }
}

/// Most safes that were left and are known still: 16 of 70 bytes each. The oldest makes room.
pub const MAX_LEFT: usize = 16;

/// A safe that the owner has left, and the credential of a wallet that he has left there for all his devices.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub struct Left {
    /// The safe.
    #[n(0)]
    pub safe: SafeId,
    /// Key of the credential there: `derive(root, "way back", safe-id)` with the root that came into force when it was left.
    #[n(1)]
    pub key: Secret,
    /// Its number, once the safe has said it.
    #[n(2)]
    pub number: Option<u32>,
}

impl Left {
    /// Of a safe that is left by an owner whose root this is now.
    pub fn new(root: &OwnerRoot, safe: SafeId) -> Self {
        Self { safe, key: derive_secret(root.expose(), "way back", &safe.0), number: None }
    }
}

/// An enrolment that is to take the place of the one in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Announced {
    /// Its generation.
    #[n(0)]
    pub generation: u32,
    /// Its id.
    #[n(1)]
    pub id: EnrolmentId,
}

/// The plan of a chapter: over m of the owner's safes, so that it comes back from whichever `n − w + 1` of all n, and read with its head only. `quorum`: w, the fewest safes
/// that a head counts at.
///
/// # Errors
/// [`PlanError`] if there are fewer safes than that, or one twice.
pub fn chapter_plan(safes: &[SafeId], quorum: usize) -> Result<Plan<SafeId>, PlanError> {
    let places = safes.iter().copied().map(Plan::at).collect();
    let content = Plan::disperse((safes.len() + 1).saturating_sub(quorum), places)?;
    Plan::seal(content, vec![Plan::place(Place::Book)])
}

/// Whether a content of so many bytes fits into a head.
pub fn fits(len: usize) -> bool {
    sealed_len(padded_len(len as u64 + 4)) <= MAX_HEAD_LEN as u64
}

fn object(epoch: &Epoch, before: &[u8; 32]) -> Vec<u8> {
    codec::encode(&(*epoch, minicbor::bytes::ByteArray::from(*before)))
}

fn key(root: &OwnerRoot) -> Secret {
    root.derive("book head")
}

impl HeadContent {
    /// Seals it as the head of this epoch and number, behind another one. Inverse of [`Self::open`].
    ///
    /// # Errors
    /// [`CryptoError`] if it does not fit ([`fits`]).
    pub fn seal<R: CryptoRng>(
        &self,
        root: &OwnerRoot,
        epoch: Epoch,
        sequence: u64,
        before: [u8; 32],
        rng: &mut R,
    ) -> Result<Head, CryptoError> {
        let content = Zeroizing::new(codec::encode(self));
        if !fits(content.len()) {
            return Err(CryptoError);
        }
        let padded = usize::try_from(padded_len(content.len() as u64 + 4)).map_err(|_| CryptoError)?;
        let mut plain = Zeroizing::new(vec![0; padded]);
        plain[..4].copy_from_slice(&u32::try_from(content.len()).map_err(|_| CryptoError)?.to_be_bytes());
        plain[4..4 + content.len()].copy_from_slice(&content);
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        let object = object(&epoch, &before);
        let purpose = Purpose { purpose: "book head", object: &object, version: sequence };
        let sealed = seal::seal(&key(root), &salt, &purpose, &plain)?;
        let mark = Mark { epoch, sequence, before: before.into(), digest: blake3(&sealed).into() };
        Ok(Head { mark, sealed: sealed.into() })
    }

    /// Opens a head that a safe handed out. A safe or a backup in it that is none is left out.
    ///
    /// # Errors
    /// [`BookError`] if it was not made by the owner for this place.
    pub fn open(root: &OwnerRoot, head: &Head) -> Result<Self, BookError> {
        let object = object(&head.mark.epoch, &head.mark.before);
        let purpose = Purpose { purpose: "book head", object: &object, version: head.mark.sequence };
        let malformed = BookError::Malformed(CodecError::Malformed);
        if blake3(&head.sealed) != *head.mark.digest {
            return Err(malformed);
        }
        let plain = seal::open(&key(root), &purpose, &head.sealed).map_err(|_| BookError::WrongPassphrase)?;
        let (length, rest) = plain.split_first_chunk::<4>().ok_or_else(|| malformed.clone())?;
        let content = usize::try_from(u32::from_be_bytes(*length)).ok().and_then(|length| rest.get(..length));
        let mut content: Self = codec::decode(content.ok_or(malformed)?, MAX_HEAD_LEN)?;
        codec::expect_suite(content.suite)?;
        // The owner has written it, and checked what he wrote: what a safe says today of its keys makes nothing unreadable.
        content.book.safes.retain(|safe| safe.verify().is_ok());
        content.book.entries.retain(|entry| entry.check().is_ok());
        content.chapters.retain(|entry| entry.check().is_ok());
        content.left.drain(..content.left.len().saturating_sub(MAX_LEFT));
        Ok(content)
    }

    /// Of a book that has no chapters.
    pub const fn new(book: Book) -> Self {
        Self {
            suite: SUITE,
            book,
            left_out: 0,
            chapters: Vec::new(),
            gone: Vec::new(),
            name: None,
            changed: None,
            announced: None,
            held: Vec::new(),
            left: Vec::new(),
        }
    }
}
