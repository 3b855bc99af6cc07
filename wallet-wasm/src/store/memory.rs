//! A store in memory, for tests and simulation.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use super::{Commit, Store, StoreError, Stored};

/// A store that lives as long as it is held.
#[derive(Debug, Clone, Default)]
pub struct MemoryStore {
    epoch: Cell<u64>,
    header: RefCell<Option<Vec<u8>>>,
    root: RefCell<Option<Vec<u8>>>,
    rows: RefCell<BTreeMap<String, Vec<u8>>>,
    blobs: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl MemoryStore {
    /// Everything that is stored, as one byte string: what a thief of the locked device reads.
    pub fn dump(&self) -> Vec<u8> {
        let rows = self.rows.borrow();
        let blobs = self.blobs.borrow();
        let sealed = rows.iter().chain(blobs.iter()).flat_map(|(k, v)| k.bytes().chain(v.iter().copied()));
        let (header, root) = (self.header.borrow(), self.root.borrow());
        header.iter().chain(root.iter()).flatten().copied().chain(sealed).collect()
    }

    /// Becomes what another one is: an older state of the same disk.
    pub fn set_to(&self, other: &Self) {
        self.epoch.set(other.epoch.get());
        self.header.borrow_mut().clone_from(&other.header.borrow());
        self.root.borrow_mut().clone_from(&other.root.borrow());
        self.rows.borrow_mut().clone_from(&other.rows.borrow());
        self.blobs.borrow_mut().clone_from(&other.blobs.borrow());
    }

    /// Alters a stored record, as a thief might.
    pub fn tamper(&self, name: &str, alter: impl FnOnce(&mut Vec<u8>)) {
        if let Some(row) = self.rows.borrow_mut().get_mut(name) {
            alter(row);
        }
    }
}

impl Store for MemoryStore {
    async fn load(&self) -> Result<Stored, StoreError> {
        Ok(Stored {
            epoch: self.epoch.get(),
            header: self.header.borrow().clone(),
            root: self.root.borrow().clone(),
            rows: self.rows.borrow().iter().map(|(k, v)| (k.clone(), v.clone())).collect(),
        })
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        if self.epoch.get() != commit.expected {
            return Err(StoreError::Superseded { expected: commit.expected, found: self.epoch.get() });
        }
        if !commit.needs.iter().all(|blob| self.blobs.borrow().contains_key(blob)) {
            return Err(StoreError::BlobGone);
        }
        self.epoch.set(commit.expected + 1);
        if commit.header.is_some() {
            *self.header.borrow_mut() = commit.header.clone();
        }
        *self.root.borrow_mut() = Some(commit.root.clone());
        let mut rows = self.rows.borrow_mut();
        for name in &commit.remove {
            rows.remove(name);
        }
        rows.extend(commit.put.iter().cloned());
        Ok(())
    }

    async fn put_blob(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        self.blobs.borrow_mut().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    async fn blob(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.blobs.borrow().get(name).cloned())
    }

    async fn remove_blobs(&self, names: &[String]) -> Result<(), StoreError> {
        let mut blobs = self.blobs.borrow_mut();
        names.iter().for_each(|name| drop(blobs.remove(name)));
        Ok(())
    }

    async fn sweep(&self, epoch: u64, keep: &[&str]) -> Result<(), StoreError> {
        if self.epoch.get() != epoch {
            return Err(StoreError::Superseded { expected: epoch, found: self.epoch.get() });
        }
        self.blobs.borrow_mut().retain(|name, _| keep.contains(&name.as_str()));
        Ok(())
    }
}
