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
    seal::{self, Purpose, sealed_len},
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

/// Packs and seals. Inverse of [`Envelope::open`].
///
/// # Errors
/// [`EnvelopeError::Codec`] if a piece's length is not the one its head states, or the head exceeds [`HEAD_ROOM`].
pub fn seal_envelope(
    d: &Secret,
    deposit: &DepositId,
    salt: &[u8; 32],
    head: &Head,
    pieces: &[&[u8]],
) -> Result<Vec<u8>, EnvelopeError> {
    let fits =
        head.pieces.len() == pieces.len() && head.pieces.iter().zip(pieces).all(|(h, p)| h.length as usize == p.len());
    let encoded = codec::encode(head);
    if !fits || encoded.len() as u64 > HEAD_ROOM {
        return Err(CodecError::Malformed.into());
    }
    let len = 4 + encoded.len() + pieces.iter().map(|p| p.len()).sum::<usize>();
    let padded = usize::try_from(padded_len(len as u64)).map_err(|_| CodecError::Malformed)?;
    let mut plain = Zeroizing::new(Vec::with_capacity(padded));
    plain.extend_from_slice(&(encoded.len() as u32).to_be_bytes());
    plain.extend_from_slice(&encoded);
    for piece in pieces {
        plain.extend_from_slice(piece);
    }
    plain.resize(padded, 0);
    Ok(seal::seal(&derive_secret(d, "envelope", b""), salt, &purpose(deposit), &plain)?)
}

impl Envelope {
    /// Opens a body that came back from a safe.
    ///
    /// # Errors
    /// [`EnvelopeError`].
    pub fn open(d: &Secret, deposit: &DepositId, body: &[u8]) -> Result<Self, EnvelopeError> {
        Self::of_plain(seal::open(&derive_secret(d, "envelope", b""), &purpose(deposit), body)?)
    }

    fn of_plain(plain: Zeroizing<Vec<u8>>) -> Result<Self, EnvelopeError> {
        let (len, rest) = plain.split_first_chunk::<4>().ok_or(CodecError::Malformed)?;
        let len = u32::from_be_bytes(*len) as usize;
        let head: Head = codec::decode(rest.get(..len).ok_or(CodecError::Malformed)?, HEAD_ROOM as usize)?;
        codec::expect_suite(head.suite)?;
        let mut starts = Vec::with_capacity(head.pieces.len());
        let mut at = 4 + len;
        for piece in &head.pieces {
            starts.push(at);
            at =
                at.checked_add(piece.length as usize).filter(|end| *end <= plain.len()).ok_or(CodecError::Malformed)?;
        }
        // Padding is part of the format: anything else there would be a channel.
        if plain[at..].iter().any(|b| *b != 0) {
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
