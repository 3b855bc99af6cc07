//! A device: a passkey or security key that brings its owner back in the place of the passphrase (WebAuthn Level 3, the `prf` extension).
//!
//! ```text
//! handle = name-key 32 ‖ id 16                 what the authenticator keeps as the user's handle
//! output = PRF(commit("strongroom 1 device"))  32 bytes that only this authenticator makes, for this site, of a user whom it has verified
//! key    = derive(output, "device", id)
//! at a safe: locator = commit("strongroom 1 device at", safe, id)[..16], key = derive(key, "authentication", safe)
//! wrap   = the root, sealed under derive(key, "root", enrolment's id)
//! ```
//!
//! The safe is asked first: it shows by its answer to a greeting that it has the key of the entry that its identity has signed. Only then the device is asked, and the channel
//! that its key makes can be opened by nobody but that safe. Spec: `spec/owner.md` §11.

use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    crypto::{CryptoError, Secret, blake3_commit, derive_secret},
    ids::SafeId,
    owner::{
        enrolment::{OwnerRoot, open_wrap, seal_wrap},
        login::{Agreed, ChannelKey},
        messages::{Account, CredentialKind, LOCATOR_LEN, NewCredential},
        name::NameKey,
        note::CredentialId,
    },
};

/// Length of the id of a device, bytes.
const ID_LEN: usize = 16;
/// Length of what the authenticator keeps as the user's handle, bytes; it takes 64.
pub const HANDLE_LEN: usize = 32 + ID_LEN;

/// What the authenticator makes its output of. The output is another one at every site and for every credential.
pub fn input() -> [u8; 32] {
    blake3_commit("strongroom 1 device", &[])
}

/// Whose device it is: it finds the owner's accounts without a name being typed.
#[derive(Debug, Clone)]
pub struct Handle {
    /// The stretched name.
    pub name: NameKey,
    id: [u8; ID_LEN],
}

impl Handle {
    /// Of a new device.
    pub fn make<R: CryptoRng>(name: NameKey, rng: &mut R) -> Self {
        let mut id = [0; ID_LEN];
        rng.fill_bytes(&mut id);
        Self { name, id }
    }

    /// As the authenticator keeps it. Inverse of [`Self::parse`].
    pub fn to_bytes(&self) -> Zeroizing<[u8; HANDLE_LEN]> {
        let mut bytes = Zeroizing::new([0; HANDLE_LEN]);
        bytes[..32].copy_from_slice(self.name.expose().expose());
        bytes[32..].copy_from_slice(&self.id);
        bytes
    }

    /// Reads what an authenticator has kept.
    ///
    /// # Errors
    /// [`CryptoError`] if it is of another length: the passkey is for something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, CryptoError> {
        let (name, id) = bytes.split_first_chunk::<32>().ok_or(CryptoError)?;
        let id = <[u8; ID_LEN]>::try_from(id).map_err(|_| CryptoError)?;
        Ok(Self { name: NameKey::new(Secret::from_bytes(*name)), id })
    }

    /// What its credential is called in notes ([`crate::owner::note`]).
    pub fn credential_id(&self) -> CredentialId {
        let whole = blake3_commit("strongroom 1 device id", &[&self.id]);
        let mut id = [0; ID_LEN];
        id.copy_from_slice(&whole[..ID_LEN]);
        id.into()
    }

    /// By what a safe finds it.
    pub fn locator(&self, safe: &SafeId) -> [u8; LOCATOR_LEN] {
        let whole = blake3_commit("strongroom 1 device at", &[&safe.0, &self.id]);
        let mut locator = [0; LOCATOR_LEN];
        locator.copy_from_slice(&whole[..LOCATOR_LEN]);
        locator
    }

    /// With what the authenticator made of [`input`].
    pub fn unlock(self, output: &Secret) -> Device {
        let key = derive_secret(output, "device", &self.id);
        Device { handle: self, key }
    }
}

/// A device that has answered.
#[derive(Debug, Clone)]
pub struct Device {
    handle: Handle,
    key: Secret,
}

impl Device {
    /// What it is called in notes.
    pub fn credential_id(&self) -> CredentialId {
        self.handle.credential_id()
    }

    fn key_at(&self, safe: &SafeId) -> Secret {
        derive_secret(&self.key, "authentication", &safe.0)
    }

    /// The key to the channel of a safe.
    pub fn channel(&self, safe: &SafeId) -> ChannelKey {
        ChannelKey::of_device(self.handle.locator(safe), self.key_at(safe))
    }

    /// What a safe is given of it. `note`: sealed by the owner.
    ///
    /// # Errors
    /// [`CryptoError`] never; the type is that of sealing.
    pub fn credential<R: CryptoRng>(
        &self,
        agreed: &Agreed,
        root: &OwnerRoot,
        safe: &SafeId,
        note: Vec<u8>,
        rng: &mut R,
    ) -> Result<NewCredential, CryptoError> {
        let id = &agreed.enrolment.id;
        let wrap = seal_wrap(&derive_secret(&self.key, "root", &id.0), id, root, &agreed.statement, rng)?;
        Ok(NewCredential {
            kind: CredentialKind::Device,
            key: self.key_at(safe),
            note: note.into(),
            wrap: Some(wrap.into()),
            locator: Some(self.handle.locator(safe).into()),
        })
    }

    /// Opens the root that a safe returned for this device, and checks that it was made for the statement.
    ///
    /// # Errors
    /// [`CryptoError`] if there is none: the device was added to another enrolment, or the safe lies.
    pub fn open_root(&self, account: &Account, agreed: &Agreed) -> Result<OwnerRoot, CryptoError> {
        let id = &agreed.enrolment.id;
        let key = derive_secret(&self.key, "root", &id.0);
        let wraps = account.credentials.iter().filter_map(|credential| credential.wrap.as_ref());
        wraps.filter_map(|wrap| open_wrap(&key, id, wrap, &agreed.statement).ok()).next().ok_or(CryptoError)
    }
}
