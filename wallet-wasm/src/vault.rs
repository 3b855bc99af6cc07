//! The vault: every record and blob sealed under a key that the passphrase opens, and perhaps passkeys ([`crate::passkey`]).
//!
//! ```text
//! header = CBOR [suite, cost, salt, wrap, ? [passkey…]]      wrap = seal(Argon2id(passphrase), "vault", vault key)
//! row    = BE64(version) ‖ seal(derive(vault key, "records"), "record", name, version, record)
//! blob   = seal(derive(vault key, "blobs"), "blob", name, content)
//! root   = HMAC(derive(vault key, "root"), CBOR [epoch, [[name, version]…], ? header])
//! ```
//!
//! Versions and the root stop a thief who can write to the disk from putting back an older record or leaving one out. A header with passkeys is
//! under the root, too: none can be altered, left out, or put back once it was removed. One without is not; there is nothing in it but what the
//! passphrase opens, and wallets that never had a passkey keep the bytes that they had.

use litemap::LiteMap as Map;
use minicbor::{Decode, Encode};
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
    passkey::{MAX_PASSKEY_LEN, MAX_PASSKEYS, Passkey, PasskeyChange, PasskeyError, PasskeyNote},
    state::{Key, Row, State},
    store::{Commit, Stored},
};

/// Longest header, bytes: what belongs to the passphrase, and the passkeys.
const MAX_HEADER_LEN: usize = 512 + MAX_PASSKEYS * MAX_PASSKEY_LEN;

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
    /// The wallet knows no such passkey, or no longer.
    #[error("this passkey is none of the wallet's")]
    UnknownPasskey,
    /// Not what this passkey gives, or what was kept for it was altered.
    #[error("this passkey does not open the wallet")]
    WrongPasskey,
    /// Altered, or put back to an older state, in part.
    #[error("the stored wallet was altered or is damaged")]
    Damaged,
    /// A primitive refused.
    #[error(transparent)]
    Crypto(#[from] CryptoError),
}

/// An open vault: the keys, and where the store was last seen.
pub struct Vault {
    /// For the wraps of new passkeys.
    key: Secret,
    records: Secret,
    blobs: Secret,
    root: Secret,
    header: Header,
    epoch: u64,
    versions: Map<String, u64>,
}

/// What stands in clear: how the vault key is come by.
#[derive(Debug, Clone, PartialEq, Eq, Encode, Decode)]
struct Header {
    #[n(0)]
    suite: u8,
    #[n(1)]
    cost: PassphraseCost,
    #[n(2)]
    salt: Bytes,
    #[n(3)]
    wrap: Bytes,
    /// Never an empty list.
    #[n(4)]
    passkeys: Option<Vec<Passkey>>,
}

impl Header {
    fn parse(stored: &Stored) -> Result<Self, VaultError> {
        let bytes = stored.header.as_deref().ok_or(VaultError::Empty)?;
        let header: Self = codec::decode(bytes, MAX_HEADER_LEN).map_err(|_| VaultError::Damaged)?;
        let passkeys = header.passkeys();
        let sound = header.passkeys.as_ref().is_none_or(|list| (1..=MAX_PASSKEYS).contains(&list.len()))
            && passkeys.iter().all(Passkey::is_well_formed);
        if header.suite == SUITE && sound { Ok(header) } else { Err(VaultError::Damaged) }
    }

    fn stretch(&self) -> Result<Stretch, VaultError> {
        Stretch::new(&self.salt, self.cost).map_err(|_| VaultError::Damaged)
    }

    fn passkeys(&self) -> &[Passkey] {
        self.passkeys.as_deref().unwrap_or_default()
    }

    fn find(&self, credential: &[u8]) -> Option<&Passkey> {
        self.passkeys().iter().find(|passkey| *passkey.credential == *credential)
    }

    fn with(&self, passkeys: Vec<Passkey>) -> Self {
        Self { passkeys: Some(passkeys).filter(|list| !list.is_empty()), ..self.clone() }
    }
}

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
        let header = Header {
            suite: SUITE,
            cost: stretch.cost,
            salt: stretch.salt.to_vec().into(),
            wrap: wrap.into(),
            passkeys: None,
        };
        let encoded = codec::encode(&header);
        Ok((Self::of(key, header), encoded))
    }

    fn of(key: Secret, header: Header) -> Self {
        Self {
            records: derive_secret(&key, "records", b""),
            blobs: derive_secret(&key, "blobs", b""),
            root: derive_secret(&key, "root", b""),
            key,
            header,
            epoch: 0,
            versions: Map::new(),
        }
    }

    /// What makes of the passphrase the key that [`Self::open`] needs.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn stretch(stored: &Stored) -> Result<Stretch, VaultError> {
        Header::parse(stored)?.stretch()
    }

    /// The passkeys that are said to open it, before it is open: nothing of them is authenticated yet.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn passkeys_of(stored: &Stored) -> Result<Vec<Passkey>, VaultError> {
        Ok(Header::parse(stored)?.passkeys.unwrap_or_default())
    }

    /// Opens what is stored.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open(kek: &Secret, stored: &Stored) -> Result<(Self, State), VaultError> {
        let header = Header::parse(stored)?;
        let key = seal::open(kek, &VAULT, &header.wrap).map_err(|_| VaultError::WrongPassphrase)?;
        Self::open_under(Secret::try_from(key.as_slice())?, header, stored)
    }

    /// Opens what is stored with what the authenticator of a credential made of its salt.
    ///
    /// # Errors
    /// [`VaultError`].
    pub fn open_by_passkey(credential: &[u8], output: &Secret, stored: &Stored) -> Result<(Self, State), VaultError> {
        let header = Header::parse(stored)?;
        let passkey = header.find(credential).ok_or(VaultError::UnknownPasskey)?;
        let key = passkey.open(output).map_err(|_| VaultError::WrongPasskey)?;
        Self::open_under(key, header, stored)
    }

    fn open_under(key: Secret, header: Header, stored: &Stored) -> Result<(Self, State), VaultError> {
        let mut vault = Self::of(key, header);
        let state = vault.reload(stored)?;
        Ok((vault, state))
    }

    /// Reads what is stored with the keys at hand: after another window has written.
    ///
    /// # Errors
    /// [`VaultError::Damaged`].
    pub fn reload(&mut self, stored: &Stored) -> Result<State, VaultError> {
        let header = Header::parse(stored)?;
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
        let root = self.root_of(stored.epoch, &versions, &header);
        if !stored.root.as_deref().is_some_and(|stored| same_bytes(stored, &root)) {
            return Err(VaultError::Damaged);
        }
        self.header = header;
        self.epoch = stored.epoch;
        self.versions = versions;
        Ok(state)
    }

    fn root_of(&self, epoch: u64, versions: &Map<String, u64>, header: &Header) -> [u8; 32] {
        let list: Vec<(&str, u64)> = versions.iter().map(|(name, version)| (name.as_str(), *version)).collect();
        let covered = match &header.passkeys {
            None => codec::encode(&(epoch, list)),
            Some(_) => codec::encode(&(epoch, list, header)),
        };
        mac(&self.root, &covered)
    }

    /// The passkeys that open it, and what their owner knows them by, in the order in which they were added.
    ///
    /// # Errors
    /// [`CryptoError`]: never, for they are under the root.
    pub fn passkeys(&self) -> Result<Vec<(&Passkey, PasskeyNote)>, CryptoError> {
        self.header.passkeys().iter().map(|passkey| Ok((passkey, passkey.note(&self.key)?))).collect()
    }

    /// Seals changes for the store. The vault moves on with [`Self::committed`] only when the store has taken them.
    ///
    /// # Errors
    /// [`CryptoError`]: never for records of allowed lengths.
    pub fn seal<R: CryptoRng>(&self, changes: &Changes, rng: &mut R) -> Result<(Commit, Pending), CryptoError> {
        self.seal_under(self.header.clone(), changes, rng)
    }

    /// The same with a change of the passkeys, in one commit. It is made on the header that was last seen, so a writer that was superseded reloads
    /// and asks again, and no window's passkey is lost.
    ///
    /// # Errors
    /// [`PasskeyError`].
    pub fn seal_passkeys<R: CryptoRng>(
        &self,
        change: &PasskeyChange,
        changes: &Changes,
        rng: &mut R,
    ) -> Result<(Commit, Pending), PasskeyError> {
        let mut passkeys = self.header.passkeys().to_vec();
        match change {
            PasskeyChange::Add(new) if self.header.find(&new.credential).is_some() => return Err(PasskeyError::Known),
            PasskeyChange::Add(_) if passkeys.len() >= MAX_PASSKEYS => return Err(PasskeyError::TooMany),
            PasskeyChange::Add(new) => passkeys.push(Passkey::wrap(new, &self.key, rng)?),
            PasskeyChange::Remove(credential) => {
                let at = passkeys.iter().position(|passkey| *passkey.credential == **credential);
                passkeys.remove(at.ok_or(PasskeyError::Unknown)?);
            }
        }
        let header = self.header.with(passkeys);
        let encoded = codec::encode(&header);
        let (commit, pending) = self.seal_under(header, changes, rng)?;
        Ok((Commit { header: Some(encoded), ..commit }, pending))
    }

    fn seal_under<R: CryptoRng>(
        &self,
        header: Header,
        changes: &Changes,
        rng: &mut R,
    ) -> Result<(Commit, Pending), CryptoError> {
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
        commit.root = self.root_of(self.epoch + 1, &versions, &header).to_vec();
        Ok((commit, Pending { epoch: self.epoch + 1, versions, header }))
    }

    /// The store has taken a commit.
    pub fn committed(&mut self, pending: Pending) {
        self.epoch = pending.epoch;
        self.versions = pending.versions;
        self.header = pending.header;
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
    header: Header,
}

fn record_purpose(name: &str, version: u64) -> Purpose<'_> {
    Purpose { purpose: "record", object: name.as_bytes(), version }
}

fn blob_purpose(name: &str) -> Purpose<'_> {
    Purpose { purpose: "blob", object: name.as_bytes(), version: 0 }
}
