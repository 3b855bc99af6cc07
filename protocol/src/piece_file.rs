//! The file of a backup: the pieces that a plan gives to `file`, for its owner to keep.
//!
//! It is not sealed: what it is worth says the plan. It names its backup by a number that tells nobody but the wallet what it belongs to.
//! Spec: `spec/recovery.md` §4.

use crate::{
    SUITE,
    book::{KeptPiece, are_complete},
    codec::{self, CodecError},
    crypto::blake3_commit,
    ids::{BackupId, Root},
    layout::Layout,
    plan::Place,
};

/// First item of the file.
pub const MAGIC: &str = "strongroom piece";
/// Most bytes of the pieces in a file: two of the largest values.
pub const MAX_PIECES: u64 = 32 * 1024 * 1024;
/// Longest file, bytes: the pieces, and 1 KiB for the head of each of 80 in 512 segments.
pub const MAX_LEN: usize = MAX_PIECES as usize + 80 * 512 * 1024;

/// A file was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PieceFileError {
    /// Not such a file.
    #[error("this is not a file with a piece: {0}")]
    Malformed(#[from] CodecError),
    /// It was damaged on its way.
    #[error("the file is damaged; look for another copy of it")]
    Damaged,
    /// It is the file of another backup.
    #[error("this is the file of another backup; choose the one that was saved for this one")]
    Stray,
}

/// CBOR `[magic, suite, backup, plan, pieces, check]`.
type File = (String, u8, BackupId, Root, Vec<KeptPiece>, Root);

fn check_of(backup: &BackupId, plan: &Root, pieces: &Vec<KeptPiece>) -> Root {
    Root(blake3_commit("strongroom 1 file", &[&backup.0, &plan.0, &codec::encode(pieces)]))
}

/// Writes the file. Inverse of [`read`].
///
/// # Errors
/// [`PieceFileError::Stray`] if these are not all pieces that belong there.
pub fn write(layout: &Layout, pieces: Vec<KeptPiece>) -> Result<Vec<u8>, PieceFileError> {
    if !are_complete(layout, &Place::File, &pieces) {
        return Err(PieceFileError::Stray);
    }
    let (backup, plan) = (*layout.backup(), layout.plan_commitment());
    let check = check_of(&backup, &plan, &pieces);
    Ok(codec::encode::<File>(&(MAGIC.to_owned(), SUITE, backup, plan, pieces, check)))
}

/// Reads the file of a backup.
///
/// # Errors
/// [`PieceFileError`].
pub fn read(layout: &Layout, bytes: &[u8]) -> Result<Vec<KeptPiece>, PieceFileError> {
    let (magic, suite, backup, plan, pieces, check): File = codec::decode(bytes, MAX_LEN)?;
    if magic != MAGIC {
        return Err(CodecError::Malformed.into());
    }
    codec::expect_suite(suite)?;
    if check != check_of(&backup, &plan, &pieces) {
        return Err(PieceFileError::Damaged);
    }
    let ours = backup == *layout.backup() && plan == layout.plan_commitment();
    if ours && are_complete(layout, &Place::File, &pieces) { Ok(pieces) } else { Err(PieceFileError::Stray) }
}
