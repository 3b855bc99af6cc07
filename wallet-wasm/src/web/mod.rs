//! The engine in the browser: conversions between JavaScript and the wallet, nothing else.
//!
//! The interface is declared for the page in `www/src/engine/api.ts`. All methods are promises; errors carry `code` and `next`.

mod bulk;
mod driver;
mod error;
mod jobs;
mod net;
mod safes;
mod store;

pub use bulk::{Reader, Refused, Writer};
pub use store::RexieStore;

use std::rc::Rc;

use js_sys::{Function, Uint8Array};
use protocol::{
    book::{read_file, write_file},
    bundle::{MAX_VALUE_LEN, ValueMeta},
    crypto::PassphraseCost,
    ids::{BackupId, SafeId, ValueId},
    passphrase,
};
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use crate::{
    machine::{Changes, Event, book_of},
    store::Store,
    vault::{Vault, VaultError},
};
use driver::{Driver, fresh_rng, now};
use error::EngineError;

/// The wallet of one browser profile.
#[wasm_bindgen]
pub struct Engine {
    driver: Rc<Driver>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewValue {
    title: String,
    kind: String,
    file_name: Option<String>,
    mime: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImportReport {
    titles: Vec<String>,
    safes_added: Vec<String>,
}

/// Normalization Form C, by the browser.
pub fn nfc(text: &str) -> String {
    js_sys::JsString::from(text).normalize("NFC").into()
}

fn to_js<T: Serialize>(value: &T) -> Result<JsValue, EngineError> {
    value
        .serialize(&serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true))
        .map_err(|_| EngineError::new(("internal", "The answer could not be converted.", None)))
}

fn parse<T: core::str::FromStr>(text: &str, what: &'static str) -> Result<T, EngineError> {
    text.parse().map_err(|_| EngineError::new(("unknown", what, Some("Reload the page."))))
}

fn value_id(text: &str) -> Result<ValueId, EngineError> {
    parse(text, "There is no such value.")
}

fn safe_id(text: &str) -> Result<SafeId, EngineError> {
    parse(text, "This is not a safe's id.")
}

#[wasm_bindgen]
impl Engine {
    /// Opens the database; the wallet in it stays locked.
    pub async fn open(name: String) -> Result<Engine, JsValue> {
        let store = RexieStore::open(&name).await.map_err(EngineError::from)?;
        Ok(Self { driver: Driver::new(store) })
    }

    /// `none`, `locked` or `open`.
    pub async fn status(&self) -> Result<String, JsValue> {
        if self.driver.is_open() {
            return Ok("open".to_owned());
        }
        let stored = self.driver.store.load().await.map_err(EngineError::from)?;
        Ok(if stored.header.is_some() { "locked" } else { "none" }.to_owned())
    }

    /// Makes a wallet and leaves it open.
    pub async fn create(&self, passphrase: String) -> Result<(), JsValue> {
        Ok(self.make(&passphrase).await?)
    }

    async fn make(&self, passphrase: &str) -> Result<(), EngineError> {
        let passphrase = passphrase::check_new(passphrase, nfc)?;
        let driver = &self.driver;
        if driver.store.load().await?.header.is_some() {
            let text = ("wallet-exists", "There is a wallet in this browser profile already.", Some("Unlock it."));
            return Err(EngineError::new(text));
        }
        let mut rng = fresh_rng()?;
        let (mut vault, header) = Vault::create(&passphrase, PassphraseCost::STANDARD, &mut rng)?;
        let (mut commit, pending) = vault.seal(&Changes::default(), &mut rng)?;
        commit.header = Some(header);
        driver.store.commit(&commit).await?;
        vault.committed(pending);
        driver.unlocked(vault, crate::state::State::default());
        self.look_at_persistence().await;
        Ok(())
    }

    /// Opens the wallet; operations that were under way go on.
    pub async fn unlock(&self, passphrase: String) -> Result<(), JsValue> {
        Ok(self.open_vault(&passphrase).await?)
    }

    async fn open_vault(&self, passphrase: &str) -> Result<(), EngineError> {
        // A passphrase that could never have been chosen is simply the wrong one.
        let passphrase = passphrase::normalise(passphrase, nfc).map_err(|_| VaultError::WrongPassphrase)?;
        let driver = &self.driver;
        let stored = driver.store.load().await?;
        let (vault, state) = Vault::open(&passphrase, &stored)?;
        // Blobs that nothing refers to are left from interrupted work.
        let mut stray = driver.store.blobs().await?;
        stray.retain(|blob| !state.blobs().contains(&blob.as_str()));
        driver.store.remove_blobs(&stray).await?;
        driver.unlocked(vault, state);
        self.look_at_persistence().await;
        driver.look_at_safes();
        Ok(())
    }

    async fn look_at_persistence(&self) {
        let scope: Result<web_sys::WorkerGlobalScope, _> = js_sys::global().dyn_into();
        let Ok(promise) =
            scope.map(|s| s.navigator().storage()).and_then(|s| s.persisted().map_err(|_| js_sys::global()))
        else {
            return;
        };
        let answer = JsFuture::from(promise).await.ok().and_then(|v| v.as_bool());
        self.driver.persistent.set(answer == Some(true));
    }

    /// Forgets all keys.
    pub async fn lock(&self) {
        self.driver.lock();
    }

    /// The whole wallet as plain data.
    pub async fn view(&self) -> Result<JsValue, JsValue> {
        self.look_at_persistence().await;
        Ok(self.driver.view()?)
    }

    /// Calls back with every new view.
    pub async fn subscribe(&self, listener: Function) {
        self.driver.listen(listener);
    }

    /// Asks a safe who it is.
    #[wasm_bindgen(js_name = probeSafe)]
    pub async fn probe_safe(&self, url: String) -> Result<JsValue, JsValue> {
        let probe = self.driver.probe(&url).await?;
        Ok(to_js(&probe)?)
    }

    /// Pins a safe.
    #[wasm_bindgen(js_name = addSafe)]
    pub async fn add_safe(&self, url: String, id: String, nickname: String) -> Result<(), JsValue> {
        let id = safe_id(&id)?;
        Ok(self.driver.pin(&url, id, &nickname).await?)
    }

    /// Removes a safe that holds nothing.
    #[wasm_bindgen(js_name = removeSafe)]
    pub async fn remove_safe(&self, id: String) -> Result<(), JsValue> {
        let id = safe_id(&id)?;
        Ok(self.driver.handle(Event::RemoveSafe(id)).await?)
    }

    /// Stores a value on this device.
    #[wasm_bindgen(js_name = addValue)]
    pub async fn add_value(&self, meta: JsValue, content: Uint8Array) -> Result<String, JsValue> {
        Ok(self.put_in(meta, content).await?)
    }

    async fn put_in(&self, meta: JsValue, content: Uint8Array) -> Result<String, EngineError> {
        let refused = |_| EngineError::new(("malformed", "The description of the value is incomplete.", None));
        let new: NewValue = serde_wasm_bindgen::from_value(meta).map_err(refused)?;
        if u64::from(content.length()) > MAX_VALUE_LEN {
            let text = ("too-large", "The value is larger than 16 MiB.", Some("Divide it into smaller files."));
            return Err(EngineError::new(text));
        }
        let id = ValueId::make_random(&mut fresh_rng()?);
        let meta = ValueMeta {
            id,
            title: new.title,
            kind: new.kind,
            file_name: new.file_name,
            mime: new.mime,
            created: now(),
            length: u64::from(content.length()),
        };
        meta.check().map_err(crate::machine::WalletError::from)?;
        let content = self.driver.keep(&content).await?;
        self.driver.handle(Event::AddValue(meta, content)).await?;
        Ok(id.to_string())
    }

    /// The content of a value on this device.
    pub async fn reveal(&self, id: String) -> Result<Uint8Array, JsValue> {
        Ok(self.content(&value_id(&id)?).await?)
    }

    async fn content(&self, id: &ValueId) -> Result<Uint8Array, EngineError> {
        let found = self.driver.with(|open| open.state.values.get(id).map(|v| v.content.clone()))?;
        let not_local = || EngineError::from(crate::machine::WalletError::NotLocal);
        let content = found.ok_or_else(|| EngineError::new(("unknown", "There is no such value.", None)))?;
        let content = content.ok_or_else(not_local)?;
        self.driver.content(&content).await
    }

    /// Deletes a value that has no backup.
    #[wasm_bindgen(js_name = removeValue)]
    pub async fn remove_value(&self, id: String) -> Result<(), JsValue> {
        let id = value_id(&id)?;
        Ok(self.driver.handle(Event::RemoveValue(id)).await?)
    }

    /// Starts a registration.
    pub async fn register(&self, id: String, safes: Vec<String>, threshold: usize) -> Result<(), JsValue> {
        let value = value_id(&id)?;
        let safes = safes.iter().map(|s| safe_id(s)).collect::<Result<Vec<_>, _>>()?;
        Ok(self.driver.handle(Event::Register { value, safes, k: threshold }).await?)
    }

    fn backup_of(&self, id: &str) -> Result<BackupId, EngineError> {
        let id = value_id(id)?;
        let backup = self.driver.with(|open| open.state.values.get(&id).and_then(|v| v.backup))?;
        backup.ok_or_else(|| crate::machine::WalletError::NoBackup.into())
    }

    /// Starts a recovery.
    pub async fn recover(&self, id: String) -> Result<(), JsValue> {
        let backup = self.backup_of(&id)?;
        Ok(self.driver.handle(Event::Recover(backup)).await?)
    }

    /// Starts a release.
    pub async fn release(&self, id: String) -> Result<(), JsValue> {
        let backup = self.backup_of(&id)?;
        Ok(self.driver.handle(Event::Release(backup)).await?)
    }

    /// Tries everything again at once.
    pub async fn retry(&self) -> Result<(), JsValue> {
        self.driver.with(|open| open.session.retry())?;
        self.driver.show();
        self.driver.pump();
        Ok(())
    }

    /// The certificate file of some values.
    #[wasm_bindgen(js_name = exportCertificates)]
    pub async fn export_certificates(&self, ids: Vec<String>, passphrase: String) -> Result<Uint8Array, JsValue> {
        Ok(self.write_certificates(&ids, &passphrase)?)
    }

    fn write_certificates(&self, ids: &[String], passphrase: &str) -> Result<Uint8Array, EngineError> {
        let passphrase = passphrase::check_new(passphrase, nfc)?;
        let ids = ids.iter().map(|id| value_id(id)).collect::<Result<Vec<_>, _>>()?;
        let book = self.driver.with(|open| book_of(&open.state, &ids, now()))??;
        let file = write_file(&book, &passphrase, PassphraseCost::STANDARD, &mut fresh_rng()?)?;
        Ok(Uint8Array::from(file.as_slice()))
    }

    /// Reads a certificate file.
    #[wasm_bindgen(js_name = importCertificates)]
    pub async fn import_certificates(&self, file: Uint8Array, passphrase: String) -> Result<JsValue, JsValue> {
        Ok(self.read_certificates(&file, &passphrase).await?)
    }

    async fn read_certificates(&self, file: &Uint8Array, passphrase: &str) -> Result<JsValue, EngineError> {
        let passphrase = passphrase::normalise(passphrase, nfc)?;
        if file.length() as usize > protocol::book::MAX_FILE_LEN {
            return Err(EngineError::new(("not-a-certificate-file", "The file is too large to be one.", None)));
        }
        let book = read_file(&file.to_vec(), &passphrase)?;
        let report = self.driver.with(|open| {
            let titles = book.entries.iter().flat_map(|e| &e.values).map(|v| v.title.clone()).collect();
            let new = book.safes.iter().filter(|s| !open.state.safes.contains_key(&s.id));
            ImportReport { titles, safes_added: new.map(|s| s.nickname.clone()).collect() }
        })?;
        self.driver.handle(Event::Import(book)).await?;
        self.driver.look_at_safes();
        to_js(&report)
    }

    /// The signed certificate of one deposit.
    pub async fn certificate(&self, deposit: String) -> Result<Uint8Array, JsValue> {
        let id = parse(&deposit, "There is no such deposit.")?;
        let found = self.driver.with(|open| {
            open.state.backups.values().find_map(|b| b.deposit(&id)).and_then(|d| d.certificate.clone())
        })?;
        let missing = ("no-certificate", "This safe has not signed yet.", Some("Wait until it has."));
        Ok(Uint8Array::from(&*found.ok_or_else(|| EngineError::new(missing))?.0))
    }
}
