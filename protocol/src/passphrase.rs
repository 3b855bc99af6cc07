//! Passphrases: one spelling for what a person types.
//!
//! RFC 8265 §4.2 (OpaqueString): other spaces become U+0020, the text is put into Normalization Form C, it must not be empty and must hold no
//! control characters. The width and case of letters stay as typed.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    crypto::{CryptoError, PassphraseCost, Secret, blake3_commit, derive_from_passphrase},
    ids::BackupId,
};

/// Least length of a new passphrase, characters. Longer is advised; this is the floor that the page states.
pub const LEAST_CHARS: usize = 12;
/// Longest passphrase, bytes after normalisation.
pub const MAX_LEN: usize = 1024;

/// A passphrase was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PassphraseError {
    /// Shorter than [`LEAST_CHARS`].
    #[error("the passphrase has {0} characters; at least {LEAST_CHARS} are needed")]
    TooShort(usize),
    /// Longer than [`MAX_LEN`].
    #[error("the passphrase is longer than {MAX_LEN} bytes")]
    TooLong,
    /// Holds a control character, such as a line break.
    #[error("the passphrase holds a line break or another control character")]
    Control,
}

/// Normalization Form C of a text. The platform of every shell has one, and its tables are large.
pub type Nfc = fn(&str) -> String;

/// The one spelling of a passphrase.
///
/// # Errors
/// [`PassphraseError`]. One that is short, but not empty, is refused only where one is chosen ([`check_new`]).
pub fn normalise(typed: &str, nfc: Nfc) -> Result<Zeroizing<String>, PassphraseError> {
    if typed.len() > 4 * MAX_LEN {
        return Err(PassphraseError::TooLong);
    }
    let space = |c: char| if c != '\u{20}' && c.is_whitespace() && !c.is_control() { ' ' } else { c };
    let spaced = Zeroizing::new(typed.chars().map(space).collect::<String>());
    let text = Zeroizing::new(nfc(&spaced));
    if text.chars().any(char::is_control) {
        return Err(PassphraseError::Control);
    }
    if text.is_empty() {
        return Err(PassphraseError::TooShort(0));
    }
    if text.len() > MAX_LEN { Err(PassphraseError::TooLong) } else { Ok(text) }
}

/// Checks a passphrase that is being chosen.
///
/// # Errors
/// [`PassphraseError`].
pub fn check_new(typed: &str, nfc: Nfc) -> Result<Zeroizing<String>, PassphraseError> {
    let text = normalise(typed, nfc)?;
    let chars = text.chars().count();
    if chars < LEAST_CHARS { Err(PassphraseError::TooShort(chars)) } else { Ok(text) }
}

/// How a passphrase becomes a key; it stands in clear beside what the key seals. To derive takes long and much memory, so that is a step of
/// its own, which a shell can do elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Drawn for every passphrase.
    pub salt: [u8; 32],
    /// What one guess costs.
    pub cost: PassphraseCost,
}

impl Stretch {
    /// For a new passphrase.
    pub fn make_random<R: CryptoRng + ?Sized>(cost: PassphraseCost, rng: &mut R) -> Self {
        let mut salt = [0; 32];
        rng.fill_bytes(&mut salt);
        Self { salt, cost }
    }

    /// For the words that the owner remembers for one backup. There is nowhere to keep a salt for them but in what is known of the backup.
    pub fn of_words(backup: &BackupId) -> Self {
        Self { salt: blake3_commit("strongroom 1 words", &[&backup.0]), cost: PassphraseCost::STANDARD }
    }

    /// As it was stored.
    ///
    /// # Errors
    /// [`CryptoError`] if the salt is not 32 bytes or the cost lies outside [`PassphraseCost::LEAST`] … [`PassphraseCost::MOST`].
    pub fn new(salt: &[u8], cost: PassphraseCost) -> Result<Self, CryptoError> {
        let salt = salt.try_into().map_err(|_| CryptoError)?;
        if cost.is_acceptable() { Ok(Self { salt, cost }) } else { Err(CryptoError) }
    }

    /// The key behind a normalised passphrase.
    ///
    /// # Errors
    /// [`CryptoError`] if memory is short.
    pub fn derive_key(&self, passphrase: &str) -> Result<Secret, CryptoError> {
        self.derive_key_of(passphrase.as_bytes())
    }

    /// The key behind something else that is guessed like a passphrase.
    ///
    /// # Errors
    /// [`CryptoError`] if memory is short.
    pub fn derive_key_of(&self, guessed: &[u8]) -> Result<Secret, CryptoError> {
        derive_from_passphrase(guessed, &self.salt, self.cost)
    }
}
