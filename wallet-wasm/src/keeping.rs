//! What of a backup stays with its owner: pieces for the book, and for the file until it is saved.

use protocol::{
    book::KeptPiece,
    codec::{self, CodecError, SecretBytes},
    ids::SafeId,
    layout::Layout,
    piece_file::{self, PieceFileError},
    plan::Place,
    program::Piece,
};
use zeroize::Zeroizing;

/// The pieces of a segment that go to a place of the owner's.
pub fn keep(layout: &Layout, place: &Place<SafeId>, pieces: &[Piece]) -> Vec<KeptPiece> {
    layout.pieces_at(place, pieces).into_iter().cloned().map(KeptPiece::from).collect()
}

/// The pieces of a segment for the file, as a blob.
pub fn write_part(pieces: &Vec<KeptPiece>) -> SecretBytes {
    SecretBytes(Zeroizing::new(codec::encode(pieces)))
}

/// The file, of the blobs of all its segments in order.
///
/// # Errors
/// [`PieceFileError`] if these are not all.
pub fn write_file(layout: &Layout, parts: &[Zeroizing<Vec<u8>>]) -> Result<Zeroizing<Vec<u8>>, PieceFileError> {
    let mut pieces: Vec<KeptPiece> = Vec::new();
    for part in parts {
        let part: Result<Vec<KeptPiece>, CodecError> = codec::decode(part, piece_file::MAX_LEN);
        pieces.extend(part?);
    }
    piece_file::write(layout, pieces).map(Zeroizing::new)
}
