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

/// Longest head, bytes: 80 pieces with up to 7 commitments each.
pub const MAX_HEAD_LEN: usize = 24 * 1024;

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
    /// Commitments to what it is a piece of, from the root, one for each group above it; checked when that is rebuilt.
    #[n(2)]
    pub parents: Vec<Root>,
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
    /// Bytes of the bundle per segment.
    #[n(5)]
    pub segment_len: u64,
    /// The pieces, in the order of their bytes.
    #[n(6)]
    pub pieces: Vec<PieceHead>,
}

/// An opened envelope.
pub struct Envelope {
    /// What it says of itself.
    pub head: Head,
    plain: Zeroizing<Vec<u8>>,
    starts: Vec<usize>,
}

/// What it says of itself; its pieces may be keys.
impl core::fmt::Debug for Envelope {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Envelope").field("head", &self.head).finish_non_exhaustive()
    }
}

fn purpose(deposit: &DepositId) -> Purpose<'_> {
    Purpose { purpose: "envelope", object: &deposit.0, version: 0 }
}

/// Length of the body of an envelope with this head.
pub fn body_len(head: &Head) -> u64 {
    let pieces: u64 = head.pieces.iter().map(|p| u64::from(p.length)).sum();
    sealed_len(padded_len(4 + codec::encode(head).len() as u64 + pieces))
}

/// An envelope that is to be sealed.
pub struct Unsealed {
    sealer: Sealer,
    plain: Zeroizing<Vec<u8>>,
}

impl Unsealed {
    /// An envelope of the pieces that its head lists.
    ///
    /// # Errors
    /// [`EnvelopeError::Codec`] if the head exceeds [`MAX_HEAD_LEN`], or the pieces are not of the lengths that it states.
    pub fn new(
        d: &Secret,
        deposit: &DepositId,
        salt: &[u8; 32],
        head: &Head,
        pieces: &[&[u8]],
    ) -> Result<Self, EnvelopeError> {
        let encoded = codec::encode(head);
        if encoded.len() > MAX_HEAD_LEN {
            return Err(CodecError::TooLong { got: encoded.len(), most: MAX_HEAD_LEN }.into());
        }
        if !head.pieces.iter().map(|p| p.length as usize).eq(pieces.iter().map(|p| p.len())) {
            return Err(CodecError::Malformed.into());
        }
        let (_, end) = starts_of(head, encoded.len()).ok_or(CodecError::Malformed)?;
        let padded = usize::try_from(padded_len(end as u64)).map_err(|_| CodecError::Malformed)?;
        let mut plain = Zeroizing::new(Vec::with_capacity(padded));
        plain.extend_from_slice(&(encoded.len() as u32).to_be_bytes());
        plain.extend_from_slice(&encoded);
        pieces.iter().for_each(|piece| plain.extend_from_slice(piece));
        plain.resize(padded, 0);
        let sealer = Sealer::new(&derive_secret(d, "envelope", b""), salt, &purpose(deposit))?;
        Ok(Self { sealer, plain })
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
        let head: Head = codec::decode(rest.get(..len).ok_or(CodecError::Malformed)?, MAX_HEAD_LEN)?;
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
