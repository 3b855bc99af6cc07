//! The store in IndexedDB.
//!
//! rexie opens the database and reads. It cannot ask for strict durability, so every write goes through a second connection whose
//! transactions say `durability: "strict"`: a commit has reached the disk when it returns, which is what later messages to safes rely on.

use futures::future::try_join_all;
use idb::ObjectStore;
use js_sys::{Array, Object, Promise, Reflect, Uint8Array};
use litemap::LiteMap as Map;
use rexie::{Rexie, TransactionMode};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::IdbTransaction;

use crate::store::{Commit, Store, StoreError, Stored};

const META: &str = "meta";
const ROWS: &str = "rows";
const BLOBS: &str = "blobs";
const EPOCH: &str = "epoch";
const HEADER: &str = "header";
const ROOT: &str = "root";
/// So many records are read back in one go with all others: a thousand requests take a third of a second, all of a wallet a tenth of that.
const MANY: usize = 256;
/// Version of the database's own layout.
const LAYOUT: u32 = 1;

#[wasm_bindgen]
extern "C" {
    // web-sys has the third argument only under its unstable flag.
    #[wasm_bindgen(extends = web_sys::IdbDatabase)]
    type StrictDatabase;
    #[wasm_bindgen(method, catch, js_name = transaction)]
    fn transaction_with(
        this: &StrictDatabase,
        stores: &JsValue,
        mode: &str,
        options: &JsValue,
    ) -> Result<IdbTransaction, JsValue>;
}

/// Has the browser begin a new log for what is stored here.
///
/// A power cut may leave only the beginning of the last write on the disk. Chromium passes over it, yet goes on writing in the same log right
/// behind it, and what is written there it cannot read when it is started once more: it then takes the database for broken and deletes it
/// (<https://github.com/google/leveldb/issues/1287>). Deleting any database of the origin makes it move all of the log into a table and begin
/// another one, within some milliseconds. Who loses power in these, after a cut, is not helped; nor is who lost it while the list of tables
/// was being written, which happens far less often. The wallet does not wait for it, and goes on without it: a window that the browser has
/// frozen could hold it up.
async fn begin_new_log(name: &str) -> Result<(), rexie::Error> {
    let name = format!("{name}-log");
    Rexie::builder(&name).version(1).add_object_store(rexie::ObjectStore::new("nothing")).build().await?.close();
    Rexie::delete(&name).await
}

/// The wallet's database.
pub struct RexieStore {
    reader: Rexie,
    writer: StrictDatabase,
}

fn failed(error: idb::Error) -> StoreError {
    failed_text(format!("{error:?}"))
}

fn failed_text(text: String) -> StoreError {
    // Chromium names the exception in the text of request errors and of aborted transactions.
    if text.contains("QuotaExceeded") { StoreError::NoRoom } else { StoreError::Failed(text) }
}

fn failed_rexie(error: rexie::Error) -> StoreError {
    match error {
        rexie::Error::IdbError(inner) => failed(inner),
        other => failed_text(format!("{other:?}")),
    }
}

fn failed_js(error: JsValue) -> StoreError {
    failed_text(
        error.dyn_ref::<js_sys::Error>().map_or_else(|| "no reason given".to_owned(), |e| String::from(e.to_string())),
    )
}

/// The bytes of a `Uint8Array`.
pub(crate) fn bytes(value: Option<JsValue>) -> Option<Vec<u8>> {
    value.and_then(|v| v.dyn_into::<Uint8Array>().ok()).map(|v| v.to_vec())
}

fn epoch_of(value: Option<&JsValue>) -> u64 {
    // Epochs count commits: far below 2^53, where doubles are exact.
    value.and_then(JsValue::as_f64).map_or(0, |n| n as u64)
}

impl RexieStore {
    /// Opens the database, and makes it if it is not there.
    ///
    /// # Errors
    /// [`StoreError`]: IndexedDB is not to be had, as in some private windows.
    pub async fn open(name: &str) -> Result<Self, StoreError> {
        let own = name.to_owned();
        spawn_local(async move { drop(begin_new_log(&own).await) });
        let store = |name| rexie::ObjectStore::new(name);
        let reader = Rexie::builder(name)
            .version(LAYOUT)
            .add_object_store(store(META))
            .add_object_store(store(ROWS))
            .add_object_store(store(BLOBS))
            .build()
            .await
            .map_err(failed_rexie)?;
        let factory = idb::Factory::new().map_err(failed)?;
        let writer = factory.open(name, Some(LAYOUT)).map_err(failed)?.await.map_err(failed)?;
        let writer = JsValue::from(writer).unchecked_into::<StrictDatabase>();
        Ok(Self { reader, writer })
    }

    /// [`Store::put_blob`] for bytes outside the wasm memory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn put_blob_array(&self, name: &str, content: &Uint8Array) -> Result<(), StoreError> {
        let transaction = self.strict(&[BLOBS])?;
        let blobs = store(&transaction, BLOBS)?;
        put(&blobs, name, content)?;
        Self::finish(transaction).await
    }

    /// [`Store::blob`], outside the wasm memory.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn blob_array(&self, name: &str) -> Result<Option<Uint8Array>, StoreError> {
        let transaction = self.reader.transaction(&[BLOBS], TransactionMode::ReadOnly).map_err(failed_rexie)?;
        let blobs = transaction.store(BLOBS).map_err(failed_rexie)?;
        let found = blobs.get(name.into()).await.map_err(failed_rexie)?;
        Ok(found.and_then(|value| value.dyn_into().ok()))
    }

    fn strict(&self, stores: &[&str]) -> Result<IdbTransaction, StoreError> {
        let names: Array = stores.iter().map(|name| JsValue::from_str(name)).collect();
        let options = Object::new();
        Reflect::set(&options, &"durability".into(), &"strict".into()).map_err(failed_js)?;
        self.writer.transaction_with(&names, "readwrite", &options).map_err(failed_js)
    }

    /// Everything is queued without waiting; what fails aborts the transaction, which is seen at its end.
    async fn finish(transaction: IdbTransaction) -> Result<(), StoreError> {
        let ended = Promise::new(&mut |complete, abort| {
            transaction.set_oncomplete(Some(&complete));
            transaction.set_onabort(Some(&abort));
        });
        match JsFuture::from(ended).await {
            Ok(_) => Ok(()),
            // Which request failed does not matter; why is known only now.
            Err(_) => Err(transaction.error().map_or_else(
                || StoreError::Failed("the write was aborted".to_owned()),
                |error| failed_text(format!("{}: {}", error.name(), error.message())),
            )),
        }
    }

    /// Reads back what was committed: a store that says yes and keeps something else must not be relied on.
    async fn read_back(&self, commit: &Commit) -> Result<(), StoreError> {
        let transaction = self.reader.transaction(&[META, ROWS], TransactionMode::ReadOnly).map_err(failed_rexie)?;
        let (meta, rows) =
            (transaction.store(META).map_err(failed_rexie)?, transaction.store(ROWS).map_err(failed_rexie)?);
        let epoch = meta.get(EPOCH.into()).await.map_err(failed_rexie)?;
        // Another window may have committed since; then its epoch is higher and the rows may be newer.
        if epoch_of(epoch.as_ref()) != commit.expected + 1 {
            return Ok(());
        }
        if commit.header.is_some() && bytes(meta.get(HEADER.into()).await.map_err(failed_rexie)?) != commit.header {
            return Err(StoreError::Failed("the header read back is not the one written".to_owned()));
        }
        let back = if commit.put.len() < MANY {
            // All are asked for at once, not one after the other.
            let asked = commit.put.iter().map(|(name, _)| rows.get(name.as_str().into()));
            let answers = try_join_all(asked).await.map_err(failed_rexie)?;
            commit.put.iter().zip(answers).all(|((_, row), stored)| bytes(stored).as_ref() == Some(row))
        } else {
            let stored: Map<String, Vec<u8>> = all_of(&rows).await?.into_iter().collect();
            commit.put.iter().all(|(name, row)| stored.get(name) == Some(row))
        };
        if back { Ok(()) } else { Err(StoreError::Failed("the record read back is not the one written".to_owned())) }
    }
}

fn store(transaction: &IdbTransaction, name: &str) -> Result<ObjectStore, StoreError> {
    transaction.object_store(name).map(ObjectStore::from).map_err(failed_js)
}

/// All records of a store. Keys and values of one transaction come in the same order.
async fn all_of(rows: &rexie::Store) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
    let keys = rows.get_all_keys(None, None).await.map_err(failed_rexie)?;
    let values = rows.get_all(None, None).await.map_err(failed_rexie)?;
    let pairs = keys.into_iter().zip(values);
    Ok(pairs.filter_map(|(key, value)| Some((key.as_string()?, bytes(Some(value))?))).collect())
}

/// Goes on only where the store was last seen.
async fn expect_epoch(transaction: &IdbTransaction, meta: &ObjectStore, expected: u64) -> Result<(), StoreError> {
    let stored = meta.get(JsValue::from_str(EPOCH)).map_err(failed)?.await.map_err(failed)?;
    let found = epoch_of(stored.as_ref());
    if found == expected {
        return Ok(());
    }
    // A transaction that is only dropped would still commit.
    transaction.abort().map_err(failed_js)?;
    Err(StoreError::Superseded { expected, found })
}

async fn keys(store: &ObjectStore) -> Result<Vec<String>, StoreError> {
    let keys = store.get_all_keys(None, None).map_err(failed)?.await.map_err(failed)?;
    Ok(keys.into_iter().filter_map(|key| key.as_string()).collect())
}

fn put(store: &ObjectStore, key: &str, value: &JsValue) -> Result<(), StoreError> {
    store.put(value, Some(&key.into())).map(drop).map_err(failed)
}

impl Store for RexieStore {
    async fn load(&self) -> Result<Stored, StoreError> {
        let transaction = self.reader.transaction(&[META, ROWS], TransactionMode::ReadOnly).map_err(failed_rexie)?;
        let (meta, rows) =
            (transaction.store(META).map_err(failed_rexie)?, transaction.store(ROWS).map_err(failed_rexie)?);
        let epoch = meta.get(EPOCH.into()).await.map_err(failed_rexie)?;
        let header = meta.get(HEADER.into()).await.map_err(failed_rexie)?;
        let root = meta.get(ROOT.into()).await.map_err(failed_rexie)?;
        let rows = all_of(&rows).await?;
        Ok(Stored { epoch: epoch_of(epoch.as_ref()), header: bytes(header), root: bytes(root), rows })
    }

    async fn commit(&self, commit: &Commit) -> Result<(), StoreError> {
        // Blobs are locked only if they are looked at: a large one may be on its way into the store.
        let stores: &[&str] = if commit.needs.is_empty() { &[META, ROWS] } else { &[META, ROWS, BLOBS] };
        let transaction = self.strict(stores)?;
        let meta = store(&transaction, META)?;
        let rows = store(&transaction, ROWS)?;
        expect_epoch(&transaction, &meta, commit.expected).await?;
        if !commit.needs.is_empty() {
            let there = keys(&store(&transaction, BLOBS)?).await?;
            if !commit.needs.iter().all(|name| there.contains(name)) {
                transaction.abort().map_err(failed_js)?;
                return Err(StoreError::BlobGone);
            }
        }
        put(&meta, EPOCH, &JsValue::from_f64((commit.expected + 1) as f64))?;
        put(&meta, ROOT, &Uint8Array::from(commit.root.as_slice()))?;
        if let Some(header) = &commit.header {
            put(&meta, HEADER, &Uint8Array::from(header.as_slice()))?;
        }
        for name in &commit.remove {
            rows.delete(JsValue::from_str(name)).map(drop).map_err(failed)?;
        }
        for (name, row) in &commit.put {
            put(&rows, name, &Uint8Array::from(row.as_slice()))?;
        }
        Self::finish(transaction).await?;
        self.read_back(commit).await
    }

    async fn put_blob(&self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        self.put_blob_array(name, &Uint8Array::from(content)).await
    }

    async fn blob(&self, name: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.blob_array(name).await?.map(|array| array.to_vec()))
    }

    async fn remove_blobs(&self, names: &[String]) -> Result<(), StoreError> {
        if names.is_empty() {
            return Ok(());
        }
        let transaction = self.strict(&[BLOBS])?;
        let blobs = store(&transaction, BLOBS)?;
        for name in names {
            blobs.delete(JsValue::from_str(name)).map(drop).map_err(failed)?;
        }
        Self::finish(transaction).await
    }

    async fn sweep(&self, epoch: u64, keep: &[&str]) -> Result<(), StoreError> {
        let transaction = self.strict(&[META, BLOBS])?;
        expect_epoch(&transaction, &store(&transaction, META)?, epoch).await?;
        let blobs = store(&transaction, BLOBS)?;
        for name in keys(&blobs).await? {
            if !keep.contains(&name.as_str()) {
                blobs.delete(JsValue::from_str(&name)).map(drop).map_err(failed)?;
            }
        }
        Self::finish(transaction).await
    }
}
