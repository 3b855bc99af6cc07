//! The engine in the browser: conversions between JavaScript and the wallet, nothing else.
//!
//! The interface is declared for the page in `www/src/engine/api.ts`. All methods are promises; errors carry `code` and `next`.

mod bulk;
mod changing;
mod credentials;
mod driver;
mod error;
mod examine;
mod jobs;
mod keep;
mod net;
mod owner;
mod past;
mod relaying;
mod safes;
mod store;

pub use bulk::{Reader, Refused, Writer};
pub use store::RexieStore;

use std::{pin::Pin, rc::Rc};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use protocol::{
    book::{KeptPiece, read_file, write_file},
    bundle::ValueMeta,
    codec::CodecError,
    crypto::{PassphraseCost, Secret},
    deposit::{MAX_FACE_HINT, cut_text},
    ids::{BackupId, SafeId, ValueId},
    passphrase::{self, Stretch, check_new},
    piece_file::{self, PieceFileError},
    program::Piece,
};
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsCast, JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use zeroize::Zeroizing;

use crate::{
    drafts::{self, RuleDraft},
    machine::{Changes, Event, WalletError, Wish, book_of},
    passkey::{NewPasskey, Passkey, PasskeyChange, PasskeyError},
    planning::{self, bind},
    rules::Rule,
    state::{Backup, FaceWish, Level, Next, Operation, State},
    store::Stored,
    vault::{Vault, VaultError},
};
use driver::{Driver, Open, fresh_rng, now};
use error::{EngineError, UNKNOWN};
use keep::{Kept, Memory};

/// The wallet of one browser profile.
#[wasm_bindgen]
pub struct Engine {
    driver: Rc<Driver>,
}

/// Argon2id of a passphrase, 32 bytes; nothing if the cost is out of range. It takes as much memory as it costs, and a wasm memory never
/// shrinks, so the host had better call it in an instance that ends afterwards.
#[wasm_bindgen]
pub fn stretch(passphrase: &[u8], salt: &[u8], memory_kib: u32, passes: u32, lanes: u32) -> Option<Vec<u8>> {
    let stretch = Stretch::new(salt, PassphraseCost { memory_kib, passes, lanes }).ok()?;
    Some(stretch.derive_key_of(passphrase).ok()?.expose().to_vec())
}

/// What a value is, as the page says it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Description {
    title: String,
    kind: String,
    file_name: Option<String>,
    mime: String,
    unique: Option<bool>,
    tags: Option<Vec<String>>,
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

fn of_js<T: serde::de::DeserializeOwned>(value: JsValue) -> Result<T, EngineError> {
    serde_wasm_bindgen::from_value(value)
        .map_err(|_| EngineError::new(("internal", "The page has sent something else than it says.", None)))
}

/// As its owner typed them: without what is around them, and each once.
fn tags_of(given: Option<Vec<String>>) -> Option<Vec<String>> {
    let mut tags: Vec<String> = Vec::new();
    for tag in given.unwrap_or_default() {
        let tag = tag.trim();
        if !tag.is_empty() && !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    (!tags.is_empty()).then_some(tags)
}

fn parse<T: core::str::FromStr>(text: &str, what: &'static str) -> Result<T, EngineError> {
    text.parse().map_err(|_| EngineError::new((UNKNOWN, what, Some("Reload the page."))))
}

fn value_id(text: &str) -> Result<ValueId, EngineError> {
    parse(text, "There is no such value.")
}

fn value_ids(texts: &[String]) -> Result<Vec<ValueId>, EngineError> {
    texts.iter().map(|text| value_id(text)).collect()
}

fn safe_id(text: &str) -> Result<SafeId, EngineError> {
    parse(text, "This is not a safe's id.")
}

/// What a page has to know of a passkey before the wallet is open.
#[derive(Serialize)]
struct PasskeyOffer {
    id: String,
    salt: String,
}

impl PasskeyOffer {
    fn of(passkey: &Passkey) -> Self {
        let text = Base64UrlUnpadded::encode_string;
        Self { id: text(&passkey.credential), salt: text(&passkey.salt) }
    }
}

/// Bytes as WebAuthn writes them.
fn of_base64url(text: &str) -> Result<Vec<u8>, EngineError> {
    Base64UrlUnpadded::decode_vec(text).map_err(|_| PasskeyError::Malformed.into())
}

/// Takes what an authenticator gave out of the page's memory, whatever becomes of it.
fn take_output(output: &Uint8Array) -> Result<Secret, EngineError> {
    let bytes = Zeroizing::new(output.to_vec());
    output.fill(0, 0, output.length());
    Secret::try_from(bytes.as_slice()).map_err(|_| PasskeyError::Malformed.into())
}

/// The browser's account of its storage.
fn storage() -> Option<web_sys::StorageManager> {
    let scope: web_sys::WorkerGlobalScope = js_sys::global().dyn_into().ok()?;
    Some(scope.navigator().storage())
}

/// Runs a call of the page's. All calls share this one place where a future becomes a promise.
fn promise(work: impl Future<Output = Result<JsValue, EngineError>> + 'static) -> Promise {
    fn start(work: Pin<Box<dyn Future<Output = Result<JsValue, EngineError>>>>) -> Promise {
        future_to_promise(async move { work.await.map_err(JsValue::from) })
    }
    start(Box::pin(work))
}

/// A promise of nothing.
fn done(work: impl Future<Output = Result<(), EngineError>> + 'static) -> Promise {
    fn start(work: Pin<Box<dyn Future<Output = Result<(), EngineError>>>>) -> Promise {
        promise(async move { work.await.map(|()| JsValue::UNDEFINED) })
    }
    start(Box::pin(work))
}

#[wasm_bindgen]
impl Engine {
    /// Opens the database; the wallet in it stays locked. `derive` calls [`stretch`] in a place of the host's choice.
    pub fn open(name: String, derive: Function) -> Promise {
        promise(async move {
            let store = RexieStore::open(&name).await?;
            Ok(Self { driver: Driver::new(Kept::Disk(store), derive) }.into())
        })
    }

    /// A wallet that is kept nowhere, for a machine that is to remember nothing. It only reads: whoever comes back in it leaves no credential at his
    /// safes and takes no turn.
    #[wasm_bindgen(js_name = openInMemory)]
    pub fn open_in_memory(derive: Function) -> Self {
        Self { driver: Driver::new(Kept::Memory(Memory::default()), derive) }
    }

    /// `none`, `locked` or `open`.
    pub fn status(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            if driver.is_open() {
                return Ok("open".into());
            }
            let stored = driver.store.load().await?;
            Ok(if stored.header.is_some() { "locked" } else { "none" }.into())
        })
    }

    /// Makes a wallet and leaves it open.
    pub fn create(&self, passphrase: String) -> Promise {
        done(Rc::clone(&self.driver).create(passphrase))
    }

    /// Opens the wallet; operations that were under way go on.
    pub fn unlock(&self, passphrase: String) -> Promise {
        done(Rc::clone(&self.driver).unlock(passphrase))
    }

    /// What authenticators have to be asked with before the wallet is open.
    pub fn passkeys(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let known = Vault::passkeys_of(&driver.store.load().await?)?;
            to_js(&known.iter().map(PasskeyOffer::of).collect::<Vec<_>>())
        })
    }

    /// Opens the wallet with what a passkey's authenticator gave, which is wiped here.
    #[wasm_bindgen(js_name = unlockWithPasskey)]
    pub fn unlock_with_passkey(&self, id: String, output: Uint8Array) -> Promise {
        done(Rc::clone(&self.driver).unlock_with_passkey(id, take_output(&output)))
    }

    /// Lets one more passkey open the wallet; what its authenticator gave is wiped here.
    #[wasm_bindgen(js_name = addPasskey)]
    pub fn add_passkey(&self, id: String, salt: String, output: Uint8Array, label: String) -> Promise {
        done(Rc::clone(&self.driver).add_passkey(id, salt, take_output(&output), label))
    }

    /// A passkey opens the wallet no longer.
    #[wasm_bindgen(js_name = removePasskey)]
    pub fn remove_passkey(&self, id: String) -> Promise {
        done(Rc::clone(&self.driver).remove_passkey(id))
    }

    /// Calls back after every commit: the other windows of this wallet are to [`Self::follow`].
    #[wasm_bindgen(js_name = onCommit)]
    pub fn on_commit(&self, listener: Function) {
        self.driver.tell(listener);
    }

    /// Whether this window works, or follows another one that does.
    #[wasm_bindgen(js_name = setLeading)]
    pub fn set_leading(&self, leading: bool) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.set_leading(leading).await })
    }

    /// Takes over what another window has committed.
    pub fn follow(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.follow().await })
    }

    /// Forgets all keys.
    pub fn lock(&self) {
        self.driver.lock();
    }

    /// The whole wallet as plain data.
    pub fn view(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            driver.look_at_persistence().await;
            driver.view()
        })
    }

    /// Calls back with every new view.
    pub fn subscribe(&self, listener: Function) {
        self.driver.listen(listener);
    }

    /// Asks a safe who it is.
    #[wasm_bindgen(js_name = probeSafe)]
    pub fn probe_safe(&self, url: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.probe(&url).await?) })
    }

    /// Pins a safe.
    #[wasm_bindgen(js_name = addSafe)]
    pub fn add_safe(&self, url: String, id: String, nickname: String, token: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.pin(&url, safe_id(&id)?, &nickname, &token).await })
    }

    /// Takes an admission token of a safe's operator, and asks again what was refused without it.
    #[wasm_bindgen(js_name = setToken)]
    pub fn set_token(&self, id: String, token: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            driver.handle(Event::SetToken(safe_id(&id)?, token)).await?;
            driver.again()
        })
    }

    /// Removes a safe that holds nothing.
    #[wasm_bindgen(js_name = removeSafe)]
    pub fn remove_safe(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::RemoveSafe(safe_id(&id)?)).await })
    }

    /// The pieces of a safe go to another one.
    #[wasm_bindgen(js_name = retireSafe)]
    pub fn retire_safe(&self, from: String, to: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::Retire(safe_id(&from)?, safe_id(&to)?)).await })
    }

    /// A safe that was to retire stays.
    #[wasm_bindgen(js_name = keepSafe)]
    pub fn keep_safe(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::KeepSafe(safe_id(&id)?)).await })
    }

    /// Evidence that its owner has no use for.
    #[wasm_bindgen(js_name = dropExhibit)]
    pub fn drop_exhibit(&self, deposit: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::DropExhibit(parse(&deposit, "There is no such deposit.")?)).await })
    }

    /// Stores a value on this device; gives its id.
    #[wasm_bindgen(js_name = addValue)]
    pub fn add_value(&self, description: JsValue, content: Uint8Array) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let Description { title, kind, file_name, mime, unique, tags } = of_js(description)?;
            let id = ValueId::make_random(&mut fresh_rng()?);
            let (length, tags) = (u64::from(content.length()), tags_of(tags));
            let unique = unique.filter(|unique| *unique);
            let meta =
                ValueMeta { id, title, kind, file_name, mime, created: now(), length, unique, tags, editions: None };
            meta.check()?;
            driver.find_room(length).await?;
            let content = driver.keep(&content).await?;
            driver.handle(Event::AddValue(meta, content)).await?;
            Ok(id.to_string().into())
        })
    }

    /// Changes what a value is called, and its content where one is given.
    #[wasm_bindgen(js_name = changeValue)]
    pub fn change_value(&self, id: String, description: JsValue, content: Option<Uint8Array>) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            let Description { title, kind, file_name, mime, tags, .. } = of_js(description)?;
            let id = value_id(&id)?;
            let known = driver.with(|open| open.state.values.get(&id).map(|value| value.meta.clone()))?;
            let known = known.ok_or(WalletError::Unknown("value"))?;
            let (before, length) = (known.length, content.as_ref().map(|content| u64::from(content.length())));
            let length = length.unwrap_or(before);
            let meta = ValueMeta { title, kind, file_name, mime, length, tags: tags_of(tags), ..known };
            meta.check()?;
            driver.find_room(length.saturating_sub(before)).await?;
            let content = match content {
                Some(content) => Some(driver.keep(&content).await?),
                None => None,
            };
            driver.handle(Event::ChangeValue(meta, content)).await
        })
    }

    /// The content of a value on this device.
    pub fn reveal(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let id = value_id(&id)?;
            let found = driver.with(|open| open.state.values.get(&id).map(|v| v.content.clone()))?;
            let content = found.ok_or(WalletError::Unknown("value"))?.ok_or(WalletError::NotLocal)?;
            let content = driver.content(&content).await?;
            // That it was used is worth less than that it is shown.
            let _ = driver.handle(Event::Used(id)).await;
            Ok(content.into())
        })
    }

    /// Deletes a value that has no backup.
    #[wasm_bindgen(js_name = removeValue)]
    pub fn remove_value(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::RemoveValue(value_id(&id)?)).await })
    }

    /// What a rule would do now.
    #[wasm_bindgen(js_name = previewRule)]
    pub fn preview_rule(&self, rule: JsValue) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let rule: RuleDraft = of_js(rule)?;
            to_js(&driver.with(|open| drafts::preview(&open.state, &rule, now()))?)
        })
    }

    /// Other rules, all of them, in their order.
    #[wasm_bindgen(js_name = setRules)]
    pub fn set_rules(&self, rules: JsValue) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            let drafts: Vec<RuleDraft> = of_js(rules)?;
            let read = |open: &mut Open| drafts.iter().map(|draft| drafts::read(&open.state, draft)).collect();
            let rules: Result<Vec<Rule>, WalletError> = driver.with(read)?;
            driver.handle(Event::SetRules(rules?)).await
        })
    }

    /// Rules see again to a value that they leave alone.
    #[wasm_bindgen(js_name = followRules)]
    pub fn follow_rules(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::FollowRules(value_id(&id)?)).await })
    }

    /// How much contents may take on this device, bytes; nothing: as much as the browser gives.
    #[wasm_bindgen(js_name = setCapacity)]
    pub fn set_capacity(&self, bytes: Option<f64>) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::SetCapacity(bytes.map(|bytes| bytes as u64))).await })
    }

    /// What did not fit is no longer to be put in.
    #[wasm_bindgen(js_name = giveUpRoom)]
    pub fn give_up_room(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            driver.with(|open| open.session.set_adding(0))?;
            driver.show();
            Ok(())
        })
    }

    /// Reads a plan as text.
    #[wasm_bindgen(js_name = parsePlan)]
    pub fn parse_plan(&self, text: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.with(|open| planning::read(&open.state, &text))?) })
    }

    /// Says what a plan survives, exposes and costs. `availability`: how often the safes of `named` are there.
    #[wasm_bindgen(js_name = analysePlan)]
    pub fn analyse_plan(
        &self,
        text: String,
        values: Vec<String>,
        gone: Vec<String>,
        curious: Vec<String>,
        named: Vec<String>,
        availability: Vec<f64>,
    ) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let safe_ids = |ids: &[String]| ids.iter().map(|id| safe_id(id)).collect::<Result<Vec<_>, _>>();
            let values = value_ids(&values)?;
            let availability = safe_ids(&named)?.into_iter().zip(availability).collect();
            let case = planning::Case { gone: safe_ids(&gone)?, curious: safe_ids(&curious)?, availability };
            to_js(&driver.with(|open| planning::weigh(&open.state, &text, &values, &case))?)
        })
    }

    /// Starts a registration of some values, coupled, by a plan with nicknames or ids of safes. `words` are those that its memory needs;
    /// `moving`: the contents here go when all of it is at the safes.
    pub fn backup(
        &self,
        ids: Vec<String>,
        plan: String,
        words: Option<String>,
        readable: bool,
        hint: Option<String>,
        moving: bool,
    ) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            let values = value_ids(&ids)?;
            let plan = driver.with(|open| bind(&open.state, &plan))??;
            let hint = hint.map(|hint| cut_text(hint.trim(), MAX_FACE_HINT).to_owned()).filter(|hint| !hint.is_empty());
            let backup = BackupId::make_random(&mut fresh_rng()?);
            let words = driver.key_of_words(&backup, words).await?;
            let face = FaceWish { readable, hint };
            driver.handle(Event::Register(Wish { backup, values, plan, words, face, moving })).await
        })
    }

    /// The file with the piece that the owner of a value is to keep, while its backup is being made.
    #[wasm_bindgen(js_name = pieceFile)]
    pub fn piece_file(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let file = driver.piece_file(&driver.at_work(&id)?.id).await?;
            Ok(Uint8Array::from(file.as_slice()).into())
        })
    }

    /// The owner shows that he has the file: the backup can be finished.
    #[wasm_bindgen(js_name = pieceFileSaved)]
    pub fn piece_file_saved(&self, id: String, file: Uint8Array) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            let backup = driver.at_work(&id)?.id;
            driver.read_piece_file(&backup, &file)?;
            driver.handle(Event::FileSaved(backup)).await
        })
    }

    /// Starts a recovery of some values of one backup, or gives it the words or the file that it waits for.
    pub fn recover(&self, ids: Vec<String>, words: Option<String>, file: Option<Uint8Array>) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            let values = value_ids(&ids)?;
            let first = ids.first().map_or("", String::as_str);
            let at_work = driver.at_work(first)?;
            let backup =
                if at_work.operation == Some(Operation::Drill) { at_work.id } else { driver.backup_of(first)? };
            let file = file.map(|file| driver.read_piece_file(&backup, &file)).transpose()?;
            let words = match words.filter(|words| !words.is_empty()) {
                Some(words) => {
                    let words = passphrase::normalise(&words, nfc)?;
                    Some(driver.derive_key(&Stretch::of_words(&backup), &words).await?)
                }
                None => None,
            };
            let all = driver.with(|open| {
                open.state.backups.get(&backup).is_some_and(|b| b.values.iter().all(|meta| values.contains(&meta.id)))
            })?;
            driver.look_at_room().await;
            driver.handle(Event::Recover(backup, if all { Vec::new() } else { values })).await?;
            driver.with(|open| {
                let recovery = open.session.recoveries.entry(backup).or_default();
                if let Some(words) = words {
                    recovery.words = Some(words);
                    recovery.trouble = None;
                }
                recovery.file.extend(file.into_iter().flatten().map(Piece::from));
            })?;
            driver.again()
        })
    }

    /// The safes that can bring what the others keep of a value.
    pub fn carriers(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.carriers(&driver.backup_of(&id)?).await?) })
    }

    /// Recovers all values of a backup through one safe.
    #[wasm_bindgen(js_name = recoverThrough)]
    pub fn recover_through(&self, id: String, safe: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.recover_through(driver.backup_of(&id)?, safe_id(&safe)?).await })
    }

    /// What is here of a value's backup goes to the safes, where it is proven first that it comes back from there.
    #[wasm_bindgen(js_name = moveOut)]
    pub fn move_out(&self, id: String) -> Promise {
        self.with_backup(id, Event::Move)
    }

    /// Brings all values of a backup back, and then lets the safes' copies go.
    #[wasm_bindgen(js_name = bringBack)]
    pub fn bring_back(&self, id: String) -> Promise {
        self.with_backup(id, Event::BringBack)
    }

    /// Takes over values that live once, from a device that is lost or in spite of safes that are: it may double them.
    #[wasm_bindgen(js_name = takeOver)]
    pub fn take_over(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            driver.handle(Event::TakeOver(driver.backup_of(&id)?)).await?;
            driver.again()
        })
    }

    /// Rebuilds a backup from what the safes have, and changes nothing.
    pub fn drill(&self, id: String) -> Promise {
        self.with_backup(id, Event::Drill)
    }

    /// Takes back what is under way with a value's backup, where that is safe.
    pub fn cancel(&self, id: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::Cancel(driver.at_work(&id)?.id)).await })
    }

    /// Makes a new generation of a value's backup; the safes of `from` are replaced by those of `to`, one by one.
    pub fn renew(&self, id: String, words: Option<String>, from: Vec<String>, to: Vec<String>) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            let old = driver.backup(&driver.backup_of(&id)?)?;
            let safe_ids = |ids: &[String]| ids.iter().map(|id| safe_id(id)).collect::<Result<Vec<_>, _>>();
            let replaced: Vec<(SafeId, SafeId)> = safe_ids(&from)?.into_iter().zip(safe_ids(&to)?).collect();
            let other = |safe: &SafeId| replaced.iter().find(|(from, _)| from == safe).map_or(*safe, |(_, to)| *to);
            let plan = old.plan.bind(&|safe| Ok(other(safe))).map_err(WalletError::from)?;
            let backup = BackupId::make_random(&mut fresh_rng()?);
            let words = driver.key_of_words(&backup, words).await?;
            driver.handle(Event::Renew(old.id, Next { backup, plan, words })).await
        })
    }

    /// Starts a release.
    pub fn release(&self, id: String) -> Promise {
        self.with_backup(id, Event::Release)
    }

    /// Asks the safes to show parts of what they signed for: those of one value, or all.
    pub fn audit(&self, id: Option<String>) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            let backup = id.map(|id| driver.backup_of(&id)).transpose()?;
            driver.handle(Event::Audit(backup)).await?;
            driver.again()
        })
    }

    /// Tries everything again at once.
    pub fn retry(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.again() })
    }

    /// The certificate file of some values.
    #[wasm_bindgen(js_name = exportCertificates)]
    pub fn export_certificates(&self, ids: Vec<String>, passphrase: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let passphrase = check_new(&passphrase, nfc)?;
            let ids = value_ids(&ids)?;
            let book = driver.with(|open| book_of(&open.state, &ids, now()))??;
            let mut rng = fresh_rng()?;
            let stretch = Stretch::make_random(PassphraseCost::STANDARD, &mut rng);
            let key = driver.derive_key(&stretch, &passphrase).await?;
            let file = write_file(&book, &stretch, &key, &mut rng)?;
            Ok(Uint8Array::from(file.as_slice()).into())
        })
    }

    /// Reads a certificate file.
    #[wasm_bindgen(js_name = importCertificates)]
    pub fn import_certificates(&self, file: Uint8Array, passphrase: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let passphrase = passphrase::normalise(&passphrase, nfc)?;
            if file.length() as usize > protocol::book::MAX_FILE_LEN {
                return Err(EngineError::new(("not-a-certificate-file", "The file is too large to be one.", None)));
            }
            let sealed = read_file(&file.to_vec())?;
            let book = sealed.open(&driver.derive_key(&sealed.stretch, &passphrase).await?)?;
            let report = driver.with(|open| {
                let titles = book.entries.iter().flat_map(|e| &e.values).map(|v| v.title.clone()).collect();
                let new = book.safes.iter().filter(|s| !open.state.safes.contains_key(&s.id));
                ImportReport { titles, safes_added: new.map(|s| s.nickname.clone()).collect() }
            })?;
            driver.handle(Event::Import(book)).await?;
            driver.look_at_safes();
            to_js(&report)
        })
    }

    /// Enrols the owner at safes: a handle, a passphrase, how many of the safes must answer, and which. Returns the recovery name.
    /// `label`: what this device is called among the owner's.
    pub fn enrol(
        &self,
        handle: String,
        passphrase: String,
        threshold: u8,
        safes: Vec<String>,
        label: String,
    ) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { Ok(driver.enrol(&handle, &passphrase, threshold, &safes, &label).await?.into()) })
    }

    /// Changes the passphrase (`undefined`: it stays), the safes, or how many of them must answer; takes the passphrase in force. `instead`: in the place of a change that another
    /// device has begun, which is gone.
    #[wasm_bindgen(js_name = changeOwner)]
    pub fn change_owner(
        &self,
        current: String,
        passphrase: Option<String>,
        threshold: u8,
        safes: Vec<String>,
        instead: bool,
    ) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.change_owner(&current, passphrase.as_deref(), threshold, &safes, instead).await })
    }

    /// Gives up a change that is in force nowhere yet.
    #[wasm_bindgen(js_name = cancelChange)]
    pub fn cancel_change(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::CancelChange).await })
    }

    /// Waits no longer for a safe that was left, to tell it so.
    #[wasm_bindgen(js_name = forgetLeaving)]
    pub fn forget_leaving(&self, safe: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move {
            let safe = safe_id(&safe)?;
            driver.handle(Event::OwnerLeft(safe, None)).await?;
            driver.handle(Event::OwnerReturns(safe, None)).await
        })
    }

    /// Protects anew whatever the book told of before the passphrase or the safes were changed.
    #[wasm_bindgen(js_name = renewExposed)]
    pub fn renew_exposed(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(Event::RenewExposed).await })
    }

    /// Looks whether safes at these addresses know a name, and what is left of its guesses. Nothing is counted.
    #[wasm_bindgen(js_name = lookForOwner)]
    pub fn look_for_owner(&self, name: String, addresses: Vec<String>) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.look_for_owner(&name, &addresses).await?) })
    }

    /// The same with the text of a kit, which has guesses of its own.
    #[wasm_bindgen(js_name = lookWithKit)]
    pub fn look_with_kit(&self, text: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.look_with_kit(&text).await?) })
    }

    /// The same with what a passkey keeps as its user's handle. The safes show that they have their keys before the passkey is used.
    #[wasm_bindgen(js_name = lookForDevice)]
    pub fn look_for_device(&self, handle: Uint8Array, addresses: Vec<String>) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.look_for_device(&handle.to_vec(), &addresses).await?) })
    }

    /// Comes back with the passphrase, after [`Self::look_for_owner`] or [`Self::look_with_kit`].
    #[wasm_bindgen(js_name = comeBack)]
    pub fn come_back(&self, passphrase: String, label: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.come_back(&passphrase, &label).await?) })
    }

    /// Comes back with what the passkey made of [`Self::device_input`], after [`Self::look_for_device`].
    #[wasm_bindgen(js_name = comeBackWithDevice)]
    pub fn come_back_with_device(&self, output: Uint8Array, label: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let output = Zeroizing::new(output.to_vec());
            to_js(&driver.come_back_with_device(&output, &label).await?)
        })
    }

    /// How the book stood in the last days, by the passphrase: after [`Self::look_for_owner`] or [`Self::look_with_kit`], or on a device that is enrolled.
    #[wasm_bindgen(js_name = listPast)]
    pub fn list_past(&self, passphrase: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.list_past(&passphrase).await?) })
    }

    /// The same by a passkey, after [`Self::look_for_device`].
    #[wasm_bindgen(js_name = listPastWithDevice)]
    pub fn list_past_with_device(&self, output: Uint8Array) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let output = Zeroizing::new(output.to_vec());
            to_js(&driver.list_past_with_device(&output).await?)
        })
    }

    /// Comes back, and takes back what was let go since then: `which` of those that were listed. `exactly`: without what came since.
    #[wasm_bindgen(js_name = goBack)]
    pub fn go_back(&self, which: usize, exactly: bool, label: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.go_back(which, exactly, &label).await?) })
    }

    /// What a passkey makes its output of, to be the owner: 32 bytes, the same everywhere.
    #[wasm_bindgen(js_name = deviceInput)]
    pub fn device_input(&self) -> Vec<u8> {
        protocol::owner::device::input().to_vec()
    }

    /// By what the owner is known at the safes. This wallet may ask that; to change it takes the passphrase.
    pub fn credentials(&self) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.credentials().await?) })
    }

    /// Forgets a credential at every safe that answers.
    pub fn revoke(&self, credential: String, passphrase: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.revoke(&credential, &passphrase).await?) })
    }

    /// Shuts out whoever has a device that is lost. `next`: another passphrase; `undefined`: it stays.
    #[wasm_bindgen(js_name = deviceLost)]
    pub fn device_lost(&self, credential: String, passphrase: String, next: Option<String>) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.device_lost(&credential, &passphrase, next.as_deref()).await?) })
    }

    /// Forgets all guesses that are counted, whoever made them.
    #[wasm_bindgen(js_name = forgetTries)]
    pub fn forget_tries(&self, passphrase: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.forget_tries(&passphrase).await?) })
    }

    /// Makes a kit and tries it. It counts, and the one before it goes, with [`Self::confirm_kit`].
    #[wasm_bindgen(js_name = makeKit)]
    pub fn make_kit(&self, passphrase: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.make_kit(&passphrase).await?) })
    }

    /// The kit is on paper, from which its code was read.
    #[wasm_bindgen(js_name = confirmKit)]
    pub fn confirm_kit(&self, code: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.confirm_kit(&code).await?) })
    }

    /// The owner wants to add a passkey or security key as a way to come back: what it is to keep, and to make its output of.
    #[wasm_bindgen(js_name = beginDevice)]
    pub fn begin_device(&self, passphrase: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move { to_js(&driver.begin_device(&passphrase).await?) })
    }

    /// Adds it, with the output that it made.
    #[wasm_bindgen(js_name = addDevice)]
    pub fn add_device(&self, output: Uint8Array, label: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let output = Zeroizing::new(output.to_vec());
            to_js(&driver.add_device(&output, &label).await?)
        })
    }

    /// Nothing came of what `beginDevice` began.
    #[wasm_bindgen(js_name = endDevice)]
    pub fn end_device(&self) {
        self.driver.end_device();
    }

    /// Renews one that was added before, with what it keeps and the output that it made.
    #[wasm_bindgen(js_name = renewDevice)]
    pub fn renew_device(&self, credential: String, handle: Uint8Array, output: Uint8Array) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let (handle, output) = (Zeroizing::new(handle.to_vec()), Zeroizing::new(output.to_vec()));
            to_js(&driver.renew_device(&credential, &handle, &output).await?)
        })
    }

    /// Looks into signed files; with `ask`, asks the safe that the first certificate points to. Needs no open wallet.
    pub fn examine(&self, files: Array, ask: bool) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(driver.examine(files, ask))
    }

    /// The signed certificate of one deposit.
    pub fn certificate(&self, deposit: String) -> Promise {
        let driver = Rc::clone(&self.driver);
        promise(async move {
            let id = parse(&deposit, "There is no such deposit.")?;
            let found = driver.with(|open| {
                let held = open.state.backups.values().find_map(|b| b.deposit(&id)).and_then(|d| d.certificate.clone());
                let kept = || open.state.exhibits.iter().find(|exhibit| exhibit.deposit == id);
                held.or_else(|| kept().map(|exhibit| exhibit.certificate.clone()))
            })?;
            let missing = ("no-certificate", "This safe has not signed yet.", Some("Wait until it has."));
            Ok(Uint8Array::from(&*found.ok_or_else(|| EngineError::new(missing))?.0).into())
        })
    }
}

impl Engine {
    fn with_backup(&self, id: String, event: fn(BackupId) -> Event) -> Promise {
        let driver = Rc::clone(&self.driver);
        done(async move { driver.handle(event(driver.backup_of(&id)?)).await })
    }
}

impl Driver {
    async fn create(self: Rc<Self>, passphrase: String) -> Result<(), EngineError> {
        let passphrase = check_new(&passphrase, nfc)?;
        if self.store.load().await?.header.is_some() {
            let text = ("wallet-exists", "There is a wallet in this browser profile already.", Some("Unlock it."));
            return Err(EngineError::new(text));
        }
        let mut rng = fresh_rng()?;
        let stretch = Stretch::make_random(PassphraseCost::STANDARD, &mut rng);
        let kek = self.derive_key(&stretch, &passphrase).await?;
        let (mut vault, header) = Vault::create(&stretch, &kek, &mut rng)?;
        let (mut commit, pending) = vault.seal(&Changes::default(), &mut rng)?;
        commit.header = Some(header);
        self.store.commit(&commit).await?;
        vault.committed(pending);
        self.unlocked(vault, State::default());
        self.look_at_persistence().await;
        self.look_at_room().await;
        Ok(())
    }

    async fn unlock(self: Rc<Self>, passphrase: String) -> Result<(), EngineError> {
        // A passphrase that could never have been chosen is simply the wrong one.
        let passphrase = passphrase::normalise(&passphrase, nfc).map_err(|_| VaultError::WrongPassphrase)?;
        let stored = self.store.load().await?;
        let unlocks = self.unlocks();
        let kek = self.derive_key(&Vault::stretch(&stored)?, &passphrase).await?;
        if self.unlocks() != unlocks {
            // Opened or locked from elsewhere meanwhile, and that was asked for later than this.
            return if self.is_open() { Ok(()) } else { Err(EngineError::locked()) };
        }
        let (vault, state) = Vault::open(&kek, &stored)?;
        self.opened(vault, state, &stored).await
    }

    async fn unlock_with_passkey(
        self: Rc<Self>,
        id: String,
        output: Result<Secret, EngineError>,
    ) -> Result<(), EngineError> {
        let output = output?;
        let unlocks = self.unlocks();
        let stored = self.store.load().await?;
        if self.unlocks() != unlocks {
            return if self.is_open() { Ok(()) } else { Err(EngineError::locked()) };
        }
        let (vault, state) = Vault::open_by_passkey(&of_base64url(&id)?, &output, &stored)?;
        self.opened(vault, state, &stored).await
    }

    async fn add_passkey(
        self: Rc<Self>,
        id: String,
        salt: String,
        output: Result<Secret, EngineError>,
        label: String,
    ) -> Result<(), EngineError> {
        let salt = of_base64url(&salt)?.try_into().map_err(|_| PasskeyError::Malformed)?;
        let new = NewPasskey { credential: of_base64url(&id)?, salt, output: output?, label, added: now() };
        let note = "A passkey or security key was added: it opens this wallet on this device, as the passphrase does.";
        let event = Event::Note(Level::Info, note.to_owned());
        self.handle_with(event, Some(PasskeyChange::Add(new))).await
    }

    async fn remove_passkey(self: Rc<Self>, id: String) -> Result<(), EngineError> {
        let note = "A passkey or security key was removed: it no longer opens this wallet.";
        let event = Event::Note(Level::Info, note.to_owned());
        self.handle_with(event, Some(PasskeyChange::Remove(of_base64url(&id)?))).await
    }

    async fn opened(self: Rc<Self>, vault: Vault, state: State, stored: &Stored) -> Result<(), EngineError> {
        // Blobs that nothing refers to are left from interrupted work. What stays now, because another window works, goes at another start.
        if self.is_leading() {
            let _ = self.store.sweep(stored.epoch, &state.blobs()).await;
        }
        self.unlocked(vault, state);
        self.look_at_persistence().await;
        self.look_at_room().await;
        self.look_at_safes();
        Ok(())
    }

    async fn look_at_persistence(&self) {
        let Some(promise) = storage().and_then(|storage| storage.persisted().ok()) else { return };
        let answer = JsFuture::from(promise).await.ok().and_then(|v| v.as_bool());
        self.persistent.set(answer == Some(true));
    }

    /// Asks the browser how much room there is.
    async fn look_at_room(&self) {
        let Some(promise) = storage().and_then(|storage| storage.estimate().ok()) else { return };
        let Ok(estimate) = JsFuture::from(promise).await else { return };
        let number = |name: &str| Reflect::get(&estimate, &name.into()).ok().and_then(|value| value.as_f64());
        let Some((quota, usage)) = number("quota").zip(number("usage")) else { return };
        // A wallet that was locked meanwhile has no use for it.
        let _ = self.with(|open| open.session.set_free(&open.state, (quota - usage).max(0.0) as u64));
    }

    /// Says how much is missing for a content of so many bytes; then rules make room for it.
    async fn find_room(self: &Rc<Self>, bytes: u64) -> Result<(), EngineError> {
        self.look_at_room().await;
        let lacking = self.with(|open| {
            let lacking = open.session.lacking_for(&open.state, bytes);
            open.session.set_adding(if lacking > 0 { bytes } else { 0 });
            lacking
        })?;
        if lacking == 0 {
            return Ok(());
        }
        self.show();
        self.pump();
        Err(WalletError::NoRoom(lacking).into())
    }

    fn read_piece_file(&self, backup: &BackupId, file: &Uint8Array) -> Result<Vec<KeptPiece>, EngineError> {
        if file.length() as usize > piece_file::MAX_LEN {
            return Err(PieceFileError::Malformed(CodecError::Malformed).into());
        }
        let layout = self.backup(backup)?.layout().map_err(WalletError::from)?;
        Ok(piece_file::read(&layout, &file.to_vec())?)
    }

    /// The key of words that are chosen now.
    async fn key_of_words(&self, backup: &BackupId, words: Option<String>) -> Result<Option<Secret>, EngineError> {
        match words.filter(|words| !words.is_empty()) {
            Some(words) => Ok(Some(self.derive_key(&Stretch::of_words(backup), &check_new(&words, nfc)?).await?)),
            None => Ok(None),
        }
    }

    /// The generation of a value's backup that something is being done with.
    fn at_work(&self, id: &str) -> Result<Backup, EngineError> {
        let id = value_id(id)?;
        let backup = self.with(|open| open.state.at_work(&id).cloned())?;
        Ok(backup.ok_or(WalletError::NoBackup)?)
    }

    fn backup_of(&self, id: &str) -> Result<BackupId, EngineError> {
        let id = value_id(id)?;
        let backup = self.with(|open| open.state.values.get(&id).and_then(|v| v.backup))?;
        Ok(backup.ok_or(WalletError::NoBackup)?)
    }
}
