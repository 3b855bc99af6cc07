//! The envelope: what one safe gets of one segment of a backup, as one body.
//!
//! ```text
//! plain = BE32(length of head) ‖ head = CBOR {suite, backup, plan, segment, …, pieces} ‖ piece 0 ‖ piece 1 ‖ … ‖ zeros
//! body  = seal(derive(d, "envelope"), "envelope", deposit id, plain padded to Padmé length)
//! ```
//!
//! `d` is fresh per deposit, so equal pieces at two safes share no byte, and root, length and audited slices show ciphertext only.
//! Spec: `spec/piece.md`.

use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

use crate::{
    SUITE,
    codec::{self, Bytes, CodecError},
    crypto::{CryptoError, Secret, derive_secret},
    ids::{BackupId, DepositId, Root},
    padme::padded_len,
    seal::{Purpose, Sealer, sealed_len},
};

/// Room kept for the head, bytes: at most 8 pieces of 60 bytes, and 150 for the rest.
pub const HEAD_ROOM: u64 = 1024;

/// An envelope was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// Altered, or sealed for another deposit.
    #[error("the envelope does not open: {0}")]
    Crypto(#[from] CryptoError),
    /// Opened, but not an envelope.
    #[error("the envelope's content is {0}")]
    Codec(#[from] CodecError),
}

/// One piece, as the head lists it.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct PieceHead {
    /// Where it belongs: child numbers from the root of the plan.
    #[n(0)]
    pub path: Bytes,
    /// Length, bytes.
    #[n(1)]
    pub length: u32,
    /// Commitment to what it is a piece of, checked when that is rebuilt.
    #[n(2)]
    pub parent: Root,
}

/// Head of an envelope.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Head {
    /// Format generation.
    #[n(0)]
    pub suite: u8,
    /// The backup.
    #[n(1)]
    pub backup: BackupId,
    /// Commitment to the plan.
    #[n(2)]
    pub plan: Root,
    /// Which segment, from 0.
    #[n(3)]
    pub segment: u32,
    /// Length of the bundle, bytes.
    #[n(4)]
    pub bundle: u64,
    /// Bytes of the sealed stream per segment.
    #[n(5)]
    pub segment_len: u64,
    /// The pieces, in the order of their bytes.
    #[n(6)]
    pub pieces: Vec<PieceHead>,
}

/// An opened envelope.
#[derive(Debug)]
pub struct Envelope {
    /// What it says of itself.
    pub head: Head,
    plain: Zeroizing<Vec<u8>>,
    starts: Vec<usize>,
}

fn purpose(deposit: &DepositId) -> Purpose<'_> {
    Purpose { purpose: "envelope", object: &deposit.0, version: 0 }
}

/// Length of the body that holds pieces of `pieces` bytes in all, at most.
pub const fn body_len(pieces: u64) -> u64 {
    sealed_len(padded_len(4 + HEAD_ROOM + pieces))
}

/// An envelope that is being filled.
///
/// A head commits to what its pieces are pieces of, which is known only when all of that went by; so the head is written last, over one of
/// the same length.
pub struct Unsealed {
    sealer: Sealer,
    plain: Zeroizing<Vec<u8>>,
    head_len: usize,
    starts: Vec<usize>,
    end: usize,
}

impl Unsealed {
    /// An envelope with room for the pieces that its head lists.
    ///
    /// # Errors
    /// [`EnvelopeError::Codec`] if the head exceeds [`HEAD_ROOM`].
    pub fn new(d: &Secret, deposit: &DepositId, salt: &[u8; 32], head: &Head) -> Result<Self, EnvelopeError> {
        let encoded = codec::encode(head);
        if encoded.len() as u64 > HEAD_ROOM {
            return Err(CodecError::TooLong { got: encoded.len(), most: HEAD_ROOM as usize }.into());
        }
        let (starts, end) = starts_of(head, encoded.len()).ok_or(CodecError::Malformed)?;
        let padded = usize::try_from(padded_len(end as u64)).map_err(|_| CodecError::Malformed)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(padded));
        plain.extend_from_slice(&(encoded.len() as u32).to_be_bytes());
        plain.extend_from_slice(&encoded);
        plain.resize(padded, 0);
        let sealer = Sealer::new(&derive_secret(d, "envelope", b""), salt, &purpose(deposit))?;
        Ok(Self { sealer, plain, head_len: encoded.len(), starts, end })
    }

    /// The room of a piece, by its place in the head.
    pub fn piece_mut(&mut self, index: usize) -> Option<&mut [u8]> {
        let start = *self.starts.get(index)?;
        let end = self.starts.get(index + 1).copied().unwrap_or(self.end);
        self.plain.get_mut(start..end)
    }

    /// Writes the head again, with commitments that are known by now.
    ///
    /// # Errors
    /// [`EnvelopeError::Codec`] if its length has changed.
    pub fn set_head(&mut self, head: &Head) -> Result<(), EnvelopeError> {
        let encoded = codec::encode(head);
        if encoded.len() != self.head_len {
            return Err(CodecError::Malformed.into());
        }
        self.plain[4..4 + encoded.len()].copy_from_slice(&encoded);
        Ok(())
    }

    /// What seals it, for a shell that seals chunk by chunk.
    pub const fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// What is to be sealed.
    pub fn plain(&self) -> &[u8] {
        &self.plain
    }

    /// The body. Inverse of [`Envelope::open`].
    ///
    /// # Errors
    /// [`EnvelopeError::Crypto`]: never for bodies of allowed lengths.
    pub fn seal(self) -> Result<Vec<u8>, EnvelopeError> {
        let total = sealed_len(self.plain.len() as u64);
        let mut body = Vec::with_capacity(usize::try_from(total).map_err(|_| CryptoError)?);
        self.sealer.seal_range(&self.plain, 0, total, &mut body)?;
        Ok(body)
    }
}

/// Where the pieces start, and where the last one ends.
fn starts_of(head: &Head, head_len: usize) -> Option<(Vec<usize>, usize)> {
    let mut at = 4 + head_len;
    let mut starts = Vec::with_capacity(head.pieces.len());
    for piece in &head.pieces {
        starts.push(at);
        at = at.checked_add(piece.length as usize)?;
    }
    Some((starts, at))
}

impl Envelope {
    /// Opens a body that came back from a safe.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn open(d: &Secret, deposit: &DepositId, body: &[u8]) -> Result<Self, EnvelopeError> {
        Self::of_plain(Self::sealer(d, deposit, body)?.open(body)?)
    }

    /// What opens a body, for a shell that opens chunk by chunk; [`Self::of_plain`] takes the result.
    ///
    /// # Errors
    /// [`EnvelopeError::Crypto`] if the body's header is not for this deposit.
    pub fn sealer(d: &Secret, deposit: &DepositId, body: &[u8]) -> Result<Sealer, EnvelopeError> {
        Ok(Sealer::of(&derive_secret(d, "envelope", b""), body, &purpose(deposit))?)
    }

    /// Reads what was sealed.
    ///
    /// # Errors
    /// [`EnvelopeError::Codec`].
    pub fn of_plain(plain: Zeroizing<Vec<u8>>) -> Result<Self, EnvelopeError> {
        let (len, rest) = plain.split_first_chunk::<4>().ok_or(CodecError::Malformed)?;
        let len = u32::from_be_bytes(*len) as usize;
        let head: Head = codec::decode(rest.get(..len).ok_or(CodecError::Malformed)?, HEAD_ROOM as usize)?;
        codec::expect_suite(head.suite)?;
        let (starts, end) = starts_of(&head, len).ok_or(CodecError::Malformed)?;
        // Padding is part of the format: anything else there would be a channel.
        if plain.get(end..).is_none_or(|padding| padding.iter().any(|b| *b != 0)) {
            return Err(CodecError::Malformed.into());
        }
        Ok(Self { head, plain, starts })
    }

    /// The piece that belongs at a path, with its head.
    pub fn piece(&self, path: &[u8]) -> Option<(&PieceHead, &[u8])> {
        let index = self.head.pieces.iter().position(|p| *p.path == *path)?;
        let head = &self.head.pieces[index];
        let start = self.starts[index];
        Some((head, &self.plain[start..start + head.length as usize]))
    }
}

impl Head {
    /// A head of our suite.
    pub fn new(
        backup: BackupId,
        plan: Root,
        segment: u32,
        bundle: u64,
        segment_len: u64,
        pieces: Vec<PieceHead>,
    ) -> Self {
        Self { suite: SUITE, backup, plan, segment, bundle, segment_len, pieces }
    }
}
