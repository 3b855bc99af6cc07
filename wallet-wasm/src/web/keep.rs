//! Where the engine keeps its records: in the browser's database, or, on a machine that is to remember nothing, in memory.

use std::cell::RefCell;

use js_sys::Uint8Array;
use litemap::LiteMap as Map;

use super::store::RexieStore;
use crate::store::{Commit, MemoryStore, Store, StoreError, Stored};

/// One of the two.
pub(crate) enum Kept {
    /// The wallet of a browser profile.
    Disk(RexieStore),
    /// As long as the tab is open.
    Memory(Memory),
}

/// Records in wasm memory; blobs, which may be large, outside of it, for a wasm memory never shrinks.
#[derive(Default)]
pub(crate) struct Memory {
    records: MemoryStore,
    blobs: RefCell<Map<String, Uint8Array>>,
}

/// Whoever puts or reads a blob may give its array back afterwards, as if the browser had it on disk.
fn copy(array: &Uint8Array) -> Uint8Array {
    array.slice(0, array.length())
}

impl Kept {
    pub(crate) async fn load(&self) -> Result<Stored, StoreError> {
        match self {
            Self::Disk(store) => store.load().await,
            Self::Memory(memory) => memory.records.load().await,
        }
    }

    pub(crate) async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        match self {
            Self::Disk(store) => store.commit(commit).await,
            Self::Memory(Memory { records, blobs }) => {
                if !commit.needs.iter().all(|name| blobs.borrow().contains_key(name)) {
                    return Err(StoreError::BlobGone);
                }
                // The blobs are here, not there.
                records.commit(&Commit { needs: Vec::new(), ..commit.clone() }).await
            }
        }
    }

    pub(crate) async fn put_blob_array(&self, name: &str, content: &Uint8Array) -> Result<(), StoreError> {
        match self {
            Self::Disk(store) => store.put_blob_array(name, content).await,
            Self::Memory(Memory { blobs, .. }) => {
                blobs.borrow_mut().insert(name.to_owned(), copy(content));
                Ok(())
            }
        }
    }

    pub(crate) async fn blob_array(&self, name: &str) -> Result<Option<Uint8Array>, StoreError> {
        match self {
            Self::Disk(store) => store.blob_array(name).await,
            Self::Memory(Memory { blobs, .. }) => Ok(blobs.borrow().get(name).map(copy)),
        }
    }

    pub(crate) async fn remove_blobs(&self, names: &[String]) -> Result<(), StoreError> {
        match self {
            Self::Disk(store) => store.remove_blobs(names).await,
            Self::Memory(Memory { blobs, .. }) => {
                names.iter().for_each(|name| drop(blobs.borrow_mut().remove(name)));
                Ok(())
            }
        }
    }

    pub(crate) async fn sweep(&self, epoch: u64, keep: &[&str]) -> Result<(), StoreError> {
        match self {
            Self::Disk(store) => store.sweep(epoch, keep).await,
            Self::Memory(Memory { blobs, .. }) => {
                blobs.borrow_mut().retain(|name, _| keep.contains(&name.as_str()));
                Ok(())
            }
        }
    }
}
