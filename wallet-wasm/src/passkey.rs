//! Passkeys and security keys that open the vault beside its passphrase (WebAuthn Level 3 §10.1.4, the `prf` extension).
//!
//! In scope: what the vault's header keeps for each of them, and the wrap. What it leaves to others: the page asks the authenticator
//! (`www/src/features/unlock/webauthn.ts`); where passkeys stand, and what authenticates them, is [`crate::vault`]'s.
//!
//! ```text
//! passkey = {0: credential id, 1: salt 32, 2: wrap, 3: note}
//! output  = the authenticator's pseudo-random function of salt, 32 bytes
//! wrap    = seal(derive(output, "passkey unlock", credential id), "passkey", credential id, vault key)
//! note    = seal(derive(vault key, "passkeys"), "passkey note", credential id, CBOR [label, added])
//! ```
//!
//! Id and salt stand in clear, for the authenticator has to be asked with them before anything is open. The authenticator evaluates its function
//! for this site only, and only for a user whom it has verified; the output is a key and is not stretched, for nobody can guess it.

use minicbor::{Decode, Encode};
use protocol::{
    codec::{self, Bytes},
    crypto::{CryptoError, Secret, derive_secret},
    deposit::cut_text,
    ids::Seconds,
    seal::{self, Purpose, sealed_len},
};
use rand_core::CryptoRng;

/// Most passkeys of one wallet: a device or two, and security keys with their spares.
pub const MAX_PASSKEYS: usize = 8;
/// Longest credential id, bytes: WebAuthn Level 3 §4.
pub const MAX_CREDENTIAL_LEN: usize = 1023;
/// Longest label, bytes.
pub const MAX_LABEL_LEN: usize = 64;
/// Length of a salt and of an output, bytes.
pub const SALT_LEN: usize = 32;
/// Longest note, bytes: array, text with its head, seconds.
const MAX_NOTE_LEN: usize = 1 + 2 + MAX_LABEL_LEN + 9;
/// Longest encoded passkey, bytes: map, four keys, four byte strings with heads of up to three bytes.
pub(crate) const MAX_PASSKEY_LEN: usize = 1
    + 4 * (1 + 3)
    + MAX_CREDENTIAL_LEN
    + SALT_LEN
    + sealed_len(32) as usize
    + sealed_len(MAX_NOTE_LEN as u64) as usize;

/// The passkeys stay as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PasskeyError {
    /// There are [`MAX_PASSKEYS`] already.
    #[error("the wallet has {MAX_PASSKEYS} passkeys already")]
    TooMany,
    /// This credential opens the wallet already.
    #[error("this passkey opens the wallet already")]
    Known,
    /// None of the wallet's; another window may have removed it.
    #[error("this passkey is none of the wallet's")]
    Unknown,
    /// Not what an authenticator gives: an id of no or too many bytes.
    #[error("this is not what a passkey gives")]
    Malformed,
    /// A primitive refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// One that is to open the wallet from now on.
#[derive(Debug, Clone)]
pub struct NewPasskey {
    /// Id of the credential.
    pub credential: Vec<u8>,
    /// Drawn for it.
    pub salt: [u8; SALT_LEN],
    /// What the authenticator made of the salt.
    pub output: Secret,
    /// What the owner calls it; may be empty.
    pub label: String,
    /// When it is added.
    pub added: Seconds,
}

/// A change of the passkeys.
#[derive(Debug, Clone)]
pub enum PasskeyChange {
    /// One more.
    Add(NewPasskey),
    /// The one with this credential id opens the wallet no longer.
    Remove(Vec<u8>),
}

/// What the header keeps of one.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
#[cbor(map)]
pub struct Passkey {
    /// Id of the credential.
    #[n(0)]
    pub credential: Bytes,
    /// What the authenticator is asked with.
    #[n(1)]
    pub salt: Bytes,
    /// The vault key.
    #[n(2)]
    wrap: Bytes,
    /// Label and date.
    #[n(3)]
    note: Bytes,
}

/// What its owner knows one by.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
pub struct PasskeyNote {
    /// What the owner calls it; may be empty.
    #[n(0)]
    pub label: String,
    /// When it was added.
    #[n(1)]
    pub added: Seconds,
}

const fn wrap_purpose(credential: &[u8]) -> Purpose<'_> {
    Purpose { purpose: "passkey", object: credential, version: 0 }
}

const fn note_purpose(credential: &[u8]) -> Purpose<'_> {
    Purpose { purpose: "passkey note", object: credential, version: 0 }
}

fn wrapping_key(output: &Secret, credential: &[u8]) -> Secret {
    derive_secret(output, "passkey unlock", credential)
}

fn notes_key(vault_key: &Secret) -> Secret {
    derive_secret(vault_key, "passkeys", b"")
}

impl Passkey {
    /// Wraps the vault key for a passkey. Inverse of [`Self::open`].
    ///
    /// # Errors
    /// [`PasskeyError::Malformed`].
    pub(crate) fn wrap<R: CryptoRng>(new: &NewPasskey, vault_key: &Secret, rng: &mut R) -> Result<Self, PasskeyError> {
        let NewPasskey { credential, salt, output, label, added } = new;
        let note = PasskeyNote { label: cut_text(label.trim(), MAX_LABEL_LEN).to_owned(), added: *added };
        let mut salts = [[0; 32]; 2];
        salts.iter_mut().for_each(|salt| rng.fill_bytes(salt));
        let wrap =
            seal::seal(&wrapping_key(output, credential), &salts[0], &wrap_purpose(credential), vault_key.expose())?;
        let note = seal::seal(&notes_key(vault_key), &salts[1], &note_purpose(credential), &codec::encode(&note))?;
        let passkey = Self {
            credential: credential.clone().into(),
            salt: salt.to_vec().into(),
            wrap: wrap.into(),
            note: note.into(),
        };
        if passkey.is_well_formed() { Ok(passkey) } else { Err(PasskeyError::Malformed) }
    }

    /// Whether id and salt have lengths that they can have.
    pub(crate) fn is_well_formed(&self) -> bool {
        (1..=MAX_CREDENTIAL_LEN).contains(&self.credential.len()) && self.salt.len() == SALT_LEN
    }

    /// The vault key, for the output of this passkey.
    ///
    /// # Errors
    /// [`CryptoError`]: the output is another one's, or the wrap was altered.
    pub(crate) fn open(&self, output: &Secret) -> Result<Secret, CryptoError> {
        let key = seal::open(&wrapping_key(output, &self.credential), &wrap_purpose(&self.credential), &self.wrap)?;
        Secret::try_from(key.as_slice())
    }

    /// Label and date, for the vault key.
    ///
    /// # Errors
    /// [`CryptoError`]: the note was altered, or stands with another passkey.
    pub(crate) fn note(&self, vault_key: &Secret) -> Result<PasskeyNote, CryptoError> {
        let note = seal::open(&notes_key(vault_key), &note_purpose(&self.credential), &self.note)?;
        codec::decode(&note, MAX_NOTE_LEN).map_err(|_| CryptoError)
    }
}
