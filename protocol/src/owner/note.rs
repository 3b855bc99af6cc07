//! What an owner calls a credential: sealed, so that safes learn nothing of the devices, and the same credential is recognised at all safes.
//!
//! The key is of the name, not of the root: a note is read after a change of passphrase, too, and a device that comes back can write its own before it knows the root. Who knows
//! the name and reads a safe's database learns what the devices are called.

use minicbor::{Decode, Encode, bytes::ByteArray};
use rand_core::CryptoRng;

use crate::{
    codec,
    crypto::{CryptoError, Secret, blake3_commit},
    deposit::cut_text,
    ids::SafeId,
    owner::name::NameKey,
    seal::{self, Purpose, sealed_len},
};

/// Longest label, bytes of UTF-8.
pub const MAX_LABEL_LEN: usize = 64;
/// Padded length, bytes: map with three keys, id, label and generation with their heads: 1 + 1 + 17 + 1 + 2 + 64 + 1 + 5 = 92, and the length before them.
const PADDED: usize = 96;
/// Length of a sealed note, bytes.
pub const NOTE_LEN: usize = sealed_len(PADDED as u64) as usize;
/// What is added to a note to be sure that it is within what safes keep.
const _: () = assert!(NOTE_LEN <= super::messages::MAX_NOTE_LEN);

/// What is the same credential at all safes.
pub type CredentialId = ByteArray<16>;

/// A note.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Note {
    /// Which credential.
    #[n(0)]
    pub id: CredentialId,
    /// What its owner calls it.
    #[n(1)]
    pub label: String,
    /// Of a device ([`crate::owner::device`]): the generation of the enrolment whose root its wrap holds. After another one it brings nobody back until it is renewed.
    #[n(2)]
    pub generation: Option<u32>,
}

/// The id of a credential that is made of a secret: it says nothing of that.
pub fn credential_id(secret: &Secret) -> CredentialId {
    let whole = blake3_commit("strongroom 1 credential id", &[secret.expose()]);
    let mut id = [0; 16];
    id.copy_from_slice(&whole[..16]);
    id.into()
}

fn purpose(safe: &SafeId) -> Purpose<'_> {
    Purpose { purpose: "note", object: &safe.0, version: 0 }
}

impl Note {
    /// For a credential. A label that is too long is cut.
    pub fn new(id: CredentialId, label: &str) -> Self {
        Self { id, label: cut_text(label, MAX_LABEL_LEN).to_owned(), generation: None }
    }

    /// The same for a device whose wrap is of this enrolment.
    pub const fn of_generation(mut self, generation: u32) -> Self {
        self.generation = Some(generation);
        self
    }

    /// Seals it for a safe. Inverse of [`Self::open`].
    ///
    /// # Errors
    /// [`CryptoError`] never; the type is that of sealing.
    pub fn seal<R: CryptoRng>(&self, name: &NameKey, safe: &SafeId, rng: &mut R) -> Result<Vec<u8>, CryptoError> {
        let content = codec::encode(self);
        let mut padded = vec![0; PADDED];
        padded[..2].copy_from_slice(&u16::try_from(content.len()).map_err(|_| CryptoError)?.to_be_bytes());
        padded.get_mut(2..2 + content.len()).ok_or(CryptoError)?.copy_from_slice(&content);
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        seal::seal(&name.notes(), &salt, &purpose(safe), &padded)
    }

    /// Opens what a safe has kept; `None` if it was not sealed under this name for this safe.
    pub fn open(name: &NameKey, safe: &SafeId, sealed: &[u8]) -> Option<Self> {
        let padded = seal::open(&name.notes(), &purpose(safe), sealed).ok()?;
        let (length, rest) = padded.split_first_chunk::<2>()?;
        let note: Self = codec::decode(rest.get(..usize::from(u16::from_be_bytes(*length)))?, PADDED).ok()?;
        (note.label.len() <= MAX_LABEL_LEN).then_some(note)
    }
}
