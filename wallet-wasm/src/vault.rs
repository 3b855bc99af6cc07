//! The vault: every record and blob sealed under a key that the passphrase opens.
//!
//! ```text
//! header = CBOR [suite, cost, salt, wrap]      wrap = seal(Argon2id(passphrase), "vault", vault key)
//! row    = BE64(version) ‖ seal(derive(vault key, "records"), "record", name, version, record)
//! blob   = seal(derive(vault key, "blobs"), "blob", name, content)
//! root   = HMAC(derive(vault key, "root"), CBOR [epoch, [[name, version]…]])
//! ```
//!
//! Versions and the root stop a thief who can write to the disk from putting back an older record or leaving one out.

use litemap::LiteMap as Map;
use protocol::{
    SUITE,
    codec::{self, Bytes},
    crypto::{CryptoError, PassphraseCost, Secret, derive_secret, mac, same_bytes},
    passphrase::Stretch,
    seal::{self, Purpose, Sealer},
};
use rand_core::CryptoRng;
use zeroize::Zeroizing;

use crate::{
    machine::Changes,
    state::{Key, Row, State},
    store::{Commit, Stored},
};

/// Longest header, bytes.
const MAX_HEADER_LEN: usize = 512;

/// The vault did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// There is no wallet here.
    #[error("there is no wallet in this browser profile")]
    Empty,
    /// Not the passphrase.
    #[error("this passphrase does not open the wallet")]
    WrongPassphrase,
    /// Altered, or put back to an older state, in part.
    #[error("the stored wallet was altered or is damaged")]
    Damaged,
    /// A primitive refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// An open vault: the keys, and where the store was last seen.
pub struct Vault {
    records: Secret,
    blobs: Secret,
    root: Secret,
    epoch: u64,
    versions: Map<String, u64>,
}

type Header = (u8, PassphraseCost, Bytes, Bytes);

const VAULT: Purpose<'static> = Purpose { purpose: "vault", object: b"", version: 0 };

fn fresh_salt<R: CryptoRng + ?Sized>(rng: &mut R) -> [u8; 32] {
    let mut salt = [0; 32];
    rng.fill_bytes(&mut salt);
    salt
}

impl Vault {
    /// A new vault, and its header for the first commit. `kek` is what `stretch` makes of the passphrase.
    ///
    /// # Errors
    /// [`CryptoError`]: never for the lengths in use.
    pub fn create<R: CryptoRng>(stretch: &Stretch, kek: &Secret, rng: &mut R) -> Result<(Self, Vec<u8>), CryptoError> {
        let key = Secret::make_random(rng);
        let wrap = seal::seal(kek, &fresh_salt(rng), &VAULT, key.expose())?;
        let header: Header = (SUITE, stretch.cost, stretch.salt.to_vec().into(), wrap.into());
        Ok((Self::of(&key), codec::encode(&header)))
    }

    fn of(key: &Secret) -> Self {
        Self {
            records: derive_secret(key, "records", b""),
            blobs: derive_secret(key, "blobs", b""),
            root: derive_secret(key, "root", b""),
            epoch: 0,
            versions: Map::new(),
        }
    }

    fn header(stored: &Stored) -> Result<(Stretch, Bytes), VaultError> {
        let header = stored.header.as_deref().ok_or(VaultError::Empty)?;
        let (suite, cost, salt, wrap): Header =
            codec::decode(header, MAX_HEADER_LEN).map_err(|_| VaultError::Damaged)?;
        let stretch = Stretch::new(&salt, cost).map_err(|_| VaultError::Damaged)?;
        if suite == SUITE { Ok((stretch, wrap)) } else { Err(VaultError::Damaged) }
    }

    /// What makes of the passphrase the key that [`Self::open`] needs.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn stretch(stored: &Stored) -> Result<Stretch, VaultError> {
        Ok(Self::header(stored)?.0)
    }

    /// Opens what is stored.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open(kek: &Secret, stored: &Stored) -> Result<(Self, State), VaultError> {
        let (_, wrap) = Self::header(stored)?;
        let key = seal::open(kek, &VAULT, &wrap).map_err(|_| VaultError::WrongPassphrase)?;
        let mut vault = Self::of(&Secret::try_from(key.as_slice())?);
        let state = vault.reload(stored)?;
        Ok((vault, state))
    }

    /// Reads what is stored with the keys at hand: after another window has written.
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub fn reload(&mut self, stored: &Stored) -> Result<State, VaultError> {
        let mut versions = Map::new();
        let mut state = State::default();
        for (name, row) in &stored.rows {
            let (version, sealed) = row.split_first_chunk::<8>().ok_or(VaultError::Damaged)?;
            let version = u64::from_be_bytes(*version);
            let plain = seal::open(&self.records, &record_purpose(name, version), sealed);
            let record = Row::parse(&plain.map_err(|_| VaultError::Damaged)?).map_err(|_| VaultError::Damaged)?;
            if record.key().to_string() != *name {
                return Err(VaultError::Damaged);
            }
            versions.insert(name.clone(), version);
            state.put(record);
        }
        let root = self.root_of(stored.epoch, &versions);
        if !stored.root.as_deref().is_some_and(|stored| same_bytes(stored, &root)) {
            return Err(VaultError::Damaged);
        }
        self.epoch = stored.epoch;
        self.versions = versions;
        Ok(state)
    }

    fn root_of(&self, epoch: u64, versions: &Map<String, u64>) -> [u8; 32] {
        let list: Vec<(&str, u64)> = versions.iter().map(|(name, version)| (name.as_str(), *version)).collect();
        mac(&self.root, &codec::encode(&(epoch, list)))
    }

    /// Seals changes for the store. The vault moves on with [`Self::committed`] only when the store has taken them.
    ///
    /// # Errors
    /// [`CryptoError`]: never for records of allowed lengths.
    pub fn seal<R: CryptoRng>(&self, changes: &Changes, rng: &mut R) -> Result<(Commit, Pending), CryptoError> {
        let mut versions = self.versions.clone();
        let mut commit = Commit { expected: self.epoch, needs: changes.needs.clone(), ..Commit::default() };
        for row in &changes.put {
            let name = row.key().to_string();
            // The epoch never repeats, so no version of any record ever does.
            let version = self.epoch + 1;
            let plain = Zeroizing::new(row.encode());
            let sealed = seal::seal(&self.records, &fresh_salt(rng), &record_purpose(&name, version), &plain)?;
            let mut stored = version.to_be_bytes().to_vec();
            stored.extend_from_slice(&sealed);
            versions.insert(name.clone(), version);
            commit.put.push((name, stored));
        }
        for name in changes.remove.iter().map(Key::to_string) {
            versions.remove(&name);
            commit.remove.push(name);
        }
        commit.root = self.root_of(self.epoch + 1, &versions).to_vec();
        Ok((commit, Pending { epoch: self.epoch + 1, versions }))
    }

    /// The store has taken a commit.
    pub fn committed(&mut self, pending: Pending) {
        self.epoch = pending.epoch;
        self.versions = pending.versions;
    }

    /// What seals a new blob.
    ///
    /// # Errors
    /// [`CryptoError`]: never for the lengths in use.
    pub fn blob_sealer<R: CryptoRng>(&self, name: &str, rng: &mut R) -> Result<Sealer, CryptoError> {
        Sealer::new(&self.blobs, &fresh_salt(rng), &blob_purpose(name))
    }

    /// What opens a blob.
    ///
    /// # Errors
    /// [`CryptoError`] if its header was altered or is another blob's.
    pub fn blob_opener(&self, name: &str, sealed: &[u8]) -> Result<Sealer, CryptoError> {
        Sealer::of(&self.blobs, sealed, &blob_purpose(name))
    }
}

/// A commit that the store has not taken yet.
#[derive(Debug)]
pub struct Pending {
    epoch: u64,
    versions: Map<String, u64>,
}

fn record_purpose(name: &str, version: u64) -> Purpose<'_> {
    Purpose { purpose: "record", object: name.as_bytes(), version }
}

fn blob_purpose(name: &str) -> Purpose<'_> {
    Purpose { purpose: "blob", object: name.as_bytes(), version: 0 }
}
