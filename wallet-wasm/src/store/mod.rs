//! Where the wallet keeps its records and blobs. A store sees sealed bytes only.
//!
//! One contract for every store, checked by one suite (`tests/suite`): a commit happens whole or not at all, is durable when it
//! returns, and succeeds only if the store is where the committer last saw it ([`StoreError::Superseded`]): locks between tabs are advice,
//! this is the fence.

mod memory;

pub use memory::MemoryStore;

/// The store failed or refused; nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Another writer was here: load again and go on from there.
    #[error("another window of this wallet has written; expected epoch {expected}, found {found}")]
    Superseded {
        /// What this writer last saw.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// A blob that the commit needs is not there: another window swept before this one committed.
    #[error("another window of this wallet has cleared away what was to be kept")]
    BlobGone,
    /// The browser gives no more room.
    #[error("the browser has no room left for the wallet")]
    NoRoom,
    /// The platform's own words.
    #[error("the browser's storage failed: {0}")]
    Failed(String),
}

/// Everything but blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Advances by one with every commit; 0: never written.
    pub epoch: u64,
    /// The vault's header.
    pub header: Option<Vec<u8>>,
    /// Authenticates names and versions of all records.
    pub root: Option<Vec<u8>>,
    /// Sealed records, by name, ascending.
    pub rows: Vec<(String, Vec<u8>)>,
}

/// One commit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// The epoch that must be there.
    pub expected: u64,
    /// A new header, when the passphrase is set or the passkeys change.
    pub header: Option<Vec<u8>>,
    /// The new root.
    pub root: Vec<u8>,
    /// Sealed records to put.
    pub put: Vec<(String, Vec<u8>)>,
    /// Records to remove.
    pub remove: Vec<String>,
    /// Blobs that have to be there: what the records newly refer to.
    pub needs: Vec<String>,
}

/// A store.
pub trait Store {
    /// Reads everything but blobs, from one moment.
    fn load(&self) -> impl Future<Output = Result<Stored, StoreError>>;
    /// Commits durably and advances the epoch.
    fn commit(&self, commit: &Commit) -> impl Future<Output = Result<(), StoreError>>;
    /// Puts a blob durably. Blobs are immutable: a name is never used twice.
    fn put_blob(&self, name: &str, bytes: &[u8]) -> impl Future<Output = Result<(), StoreError>>;
    /// Reads a blob.
    fn blob(&self, name: &str) -> impl Future<Output = Result<Option<Vec<u8>>, StoreError>>;
    /// Removes blobs; removing nothing succeeds.
    fn remove_blobs(&self, names: &[String]) -> impl Future<Output = Result<(), StoreError>>;
    /// Removes all blobs but those to keep, if the store is at the epoch at which they were all that records refer to. A blob that another
    /// window has put and not yet committed goes, too; that commit is refused then ([`StoreError::BlobGone`]).
    fn sweep(&self, epoch: u64, keep: &[&str]) -> impl Future<Output = Result<(), StoreError>>;
}
