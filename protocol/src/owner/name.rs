//! The recovery name: by which an owner is found at the safes, and nobody else easily.
//!
//! A handle that the owner chooses and a suffix of 30 bits that is drawn (`alice-7kq4m2`). It is stretched like a passphrase before anything is derived from it,
//! so that whoever holds a safe's database or knows a handle has to try suffixes at that cost each.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    crypto::{CryptoError, PassphraseCost, Secret, blake3_commit, derive_secret},
    ids::{AccountId, SafeId},
    passphrase::{Nfc, Stretch},
};

/// Longest name, characters after normalisation: a handle of 32, a hyphen, a suffix of 6.
pub const MAX_NAME_CHARS: usize = 39;
/// Characters of a suffix, of 5 bits each.
pub const SUFFIX_CHARS: usize = 6;
/// The characters of a suffix: those of bech32, which leaves out what is mistaken for something else.
const SUFFIX_ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// A name was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing was typed.
    #[error("the recovery name is empty")]
    Empty,
    /// Longer than [`MAX_NAME_CHARS`].
    #[error("the recovery name is longer than {MAX_NAME_CHARS} characters")]
    TooLong,
    /// Holds something else than letters, digits, `.`, `_` and `-`.
    #[error("the recovery name holds {0:?}; letters, digits, dots, hyphens and underscores are taken")]
    Character(char),
}

/// The one spelling of a name: RFC 8265 §3.3.3 (UsernameCaseMapped) for letters, digits, `.`, `_`, `-`. Wide forms become narrow, letters small, the text NFC; spaces
/// around it go.
///
/// # Errors
/// [`NameError`].
pub fn normalise(typed: &str, nfc: Nfc) -> Result<String, NameError> {
    // No character becomes more than three, and none of them is longer than four bytes.
    if typed.len() > 16 * MAX_NAME_CHARS {
        return Err(NameError::TooLong);
    }
    let narrow = |c: char| match c {
        // The forms of ASCII that fill a square.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(u32::from(c) - 0xfee0).unwrap_or(c),
        c => c,
    };
    let lower: String = typed.trim().chars().map(narrow).flat_map(char::to_lowercase).collect();
    let name = nfc(&lower);
    if name.is_empty() {
        return Err(NameError::Empty);
    }
    if name.chars().count() > MAX_NAME_CHARS {
        return Err(NameError::TooLong);
    }
    match name.chars().find(|c| !c.is_alphanumeric() && !matches!(c, '.' | '_' | '-')) {
        Some(c) => Err(NameError::Character(c)),
        None => Ok(name),
    }
}

/// A name with a fresh suffix for a normalised handle.
///
/// # Errors
/// [`NameError::TooLong`] if there is no room for the suffix.
pub fn make_name<R: CryptoRng>(handle: &str, rng: &mut R) -> Result<String, NameError> {
    if handle.chars().count() + 1 + SUFFIX_CHARS > MAX_NAME_CHARS {
        return Err(NameError::TooLong);
    }
    let mut bytes = [0; SUFFIX_CHARS];
    rng.fill_bytes(&mut bytes);
    let suffix = bytes.map(|byte| char::from(SUFFIX_ALPHABET[usize::from(byte & 31)]));
    Ok(format!("{handle}-{}", suffix.iter().collect::<String>()))
}

/// A stretched name. It finds the owner's accounts and opens the statement that their safes keep; it opens nothing of value.
#[derive(Debug, Clone)]
pub struct NameKey(Secret);

impl NameKey {
    /// How a name becomes its key. Everybody's salt is the same: there is nowhere to look another one up.
    pub fn stretch() -> Stretch {
        Stretch { salt: blake3_commit("strongroom 1 name", &[]), cost: PassphraseCost::STANDARD }
    }

    /// What [`Self::stretch`] made of a normalised name.
    pub const fn new(stretched: Secret) -> Self {
        Self(stretched)
    }

    /// Of a normalised name. It takes as long as a passphrase.
    ///
    /// # Errors
    /// [`CryptoError`] if memory is short.
    pub fn derive(name: &str) -> Result<Self, CryptoError> {
        Self::stretch().derive_key(name).map(Self)
    }

    /// The owner's account at a safe: `derive(key, "account", safe)`. Two safes cannot tell that theirs belong together.
    pub fn account(&self, safe: &SafeId) -> AccountId {
        AccountId(*derive_secret(&self.0, "account", &safe.0).expose())
    }

    /// The key of the masks ([`crate::crypto::oprf::Line`]).
    pub(super) fn masks(&self) -> Secret {
        derive_secret(&self.0, "masks", b"")
    }

    /// The key of the notes beside credentials ([`crate::owner::note`]).
    pub(super) fn notes(&self) -> Secret {
        derive_secret(&self.0, "notes", b"")
    }

    /// The key, for the wallet's own store.
    pub const fn expose(&self) -> &Secret {
        &self.0
    }
}

/// What a deposit's statement names as its owner: nobody who reads a certificate can ask the account for anything.
pub fn derive_binding(account: &AccountId) -> [u8; 32] {
    let whole = Zeroizing::new(blake3_commit("strongroom 1 owner", &[&account.0]));
    *whole
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::crypto::expand_seed;

    fn plain(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn a_name_has_one_spelling() {
        for typed in ["alice-7kq4m2", " Alice-7KQ4M2 ", "ＡＬＩＣＥ-7kq4m2"] {
            assert_eq!(normalise(typed, plain).unwrap(), "alice-7kq4m2");
        }
        assert_eq!(normalise("Жанна", plain).unwrap(), "жанна");
        assert_eq!(normalise("  ", plain), Err(NameError::Empty));
        assert_eq!(normalise("a b", plain), Err(NameError::Character(' ')));
        assert_eq!(normalise("a\u{200d}b", plain), Err(NameError::Character('\u{200d}')));
        assert_eq!(normalise(&"a".repeat(40), plain), Err(NameError::TooLong));
        assert_eq!(normalise(&"a".repeat(5000), plain), Err(NameError::TooLong));
    }

    #[test]
    fn a_suffix_has_thirty_bits() {
        let mut rng = expand_seed(&Secret::from_bytes([7; 32]));
        let names: Vec<_> = (0..200).map(|_| make_name("alice", &mut rng).unwrap()).collect();
        for name in &names {
            assert_eq!(name.len(), 12);
            assert_eq!(normalise(name, plain).unwrap(), *name);
        }
        let used: std::collections::BTreeSet<_> = names.iter().flat_map(|n| n.bytes().skip(6)).collect();
        assert_eq!(used.len(), 32);
        assert_eq!(make_name(&"a".repeat(33), &mut rng), Err(NameError::TooLong));
    }
}
