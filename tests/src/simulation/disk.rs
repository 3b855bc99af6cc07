//! A disk that may be full, may refuse a write, and loses its power at a chosen write.

use std::cell::{Cell, RefCell};

use wallet_wasm::store::{Commit, MemoryStore, Store, StoreError, Stored};

/// What happens at a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Strike {
    /// The write is refused, torn: the store's contract is that nothing of it is there.
    Torn,
    /// The power goes ahead of it.
    PowerBefore,
    /// The power goes behind it: it is there, and nobody heard so.
    PowerAfter,
}

/// A store on such a disk.
#[derive(Debug, Default)]
pub struct Disk {
    store: MemoryStore,
    strike: Cell<Option<(u32, Strike)>>,
    off: Cell<bool>,
    full: Cell<bool>,
    /// How many of the newest commits a loss of power takes back: none, unless the shell asks for less than strict durability.
    relaxed: Cell<bool>,
    before: RefCell<Option<MemoryStore>>,
    /// Whether a commit goes through although another window has written: never, unless the shell does not ask.
    unfenced: Cell<bool>,
    written: Cell<bool>,
    commits: Cell<u64>,
}

impl Disk {
    /// The power is off: nothing answers until [`Self::restart`].
    pub const fn is_off(&self) -> bool {
        self.off.get()
    }

    /// The power is back.
    pub fn restart(&self) {
        self.off.set(false);
        self.strike.set(None);
    }

    /// Strikes at one of the coming writes; 0: the next.
    pub fn strike(&self, at: u32, strike: Strike) {
        self.strike.set(Some((at, strike)));
    }

    /// Whether there is room for more.
    pub fn set_full(&self, full: bool) {
        self.full.set(full);
    }

    /// Whether there is no room for more.
    pub const fn is_full(&self) -> bool {
        self.full.get()
    }

    /// From now on commits are not flushed: the newest is lost with the power.
    pub fn relax(&self) {
        self.relaxed.set(true);
    }

    /// From now on commits go through wherever the store is.
    pub fn unfence(&self) {
        self.unfenced.set(true);
    }

    /// The power goes between two writes.
    pub fn lose_power(&self) {
        drop(self.power_off());
        self.restart();
    }

    /// Nothing strikes any more.
    pub fn mend(&self) {
        self.strike.set(None);
        self.full.set(false);
    }

    /// Whether something was committed since this was last asked.
    pub fn take_written(&self) -> bool {
        self.written.take()
    }

    /// How many commits there were: who has seen them all is not behind.
    pub const fn commits(&self) -> u64 {
        self.commits.get()
    }

    /// Whether a blob is there.
    pub fn has(&self, blob: &str) -> bool {
        now(self.store.blob(blob)).is_ok_and(|found| found.is_some())
    }

    /// Everything on it.
    pub fn dump(&self) -> Vec<u8> {
        self.store.dump()
    }

    fn power_off(&self) -> StoreError {
        self.off.set(true);
        if let Some(before) = self.before.borrow_mut().take() {
            self.store.set_to(&before);
        }
        StoreError::Failed("the power went".to_owned())
    }

    fn write<T>(&self, write: impl FnOnce(&MemoryStore) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.look()?;
        let struck = match self.strike.get() {
            Some((0, strike)) => {
                self.strike.set(None);
                Some(strike)
            }
            later => {
                self.strike.set(later.map(|(at, strike)| (at - 1, strike)));
                None
            }
        };
        match struck {
            None => write(&self.store),
            Some(Strike::Torn) => Err(StoreError::Failed("the write was aborted".to_owned())),
            Some(Strike::PowerBefore) => Err(self.power_off()),
            Some(Strike::PowerAfter) => {
                let _ = write(&self.store);
                Err(self.power_off())
            }
        }
    }

    fn look(&self) -> Result<(), StoreError> {
        if self.off.get() { Err(StoreError::Failed("the power is off".to_owned())) } else { Ok(()) }
    }
}

fn now<T>(work: impl Future<Output = T>) -> T {
    futures::FutureExt::now_or_never(work).expect("a store in memory does not wait")
}

impl Store for Disk {
    async fn load(&self) -> Result<Stored, StoreError> {
        self.look()?;
        self.store.load().await
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        if self.full.get() {
            return Err(StoreError::NoRoom);
        }
        if self.relaxed.get() {
            *self.before.borrow_mut() = Some(self.store.clone());
        }
        let mut commit = commit.clone();
        if self.unfenced.get() {
            commit.expected = now(self.store.load())?.epoch;
        }
        self.write(|store| {
            now(store.commit(&commit)).inspect(|()| {
                self.written.set(true);
                self.commits.set(self.commits.get() + 1);
            })
        })
    }

    async fn put_blob(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        if self.full.get() {
            return Err(StoreError::NoRoom);
        }
        self.write(|store| now(store.put_blob(name, bytes)))
    }

    async fn blob(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.look()?;
        self.store.blob(name).await
    }

    async fn remove_blobs(&self, names: &[String]) -> Result<(), StoreError> {
        self.write(|store| now(store.remove_blobs(names)))
    }

    async fn sweep(&self, epoch: u64, keep: &[&str]) -> Result<(), StoreError> {
        self.write(|store| now(store.sweep(epoch, keep)))
    }
}
