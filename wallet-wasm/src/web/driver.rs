//! The driver: takes events, commits, and does what follows.
//!
//! One event at a time is decided and committed; actions run side by side and come back as events. Nothing here decides what a
//! message means, and nothing here is lost with the tab: every action follows from what was committed.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use futures::lock::Mutex;
use js_sys::Function;
use protocol::{
    bundle::{self, MAX_HEAD_LEN},
    crypto::{Secret, blake3, expand_seed},
    envelope::Envelope,
    ids::{BackupId, DepositId, Root, SafeId, Seconds},
    layout::Draft,
};
use rand_core::{CryptoRng, Rng};
use serde::Serialize;
use wasm_bindgen::{JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::spawn_local;
use zeroize::Zeroizing;

use crate::{
    exchange::{self, Answer, Meaning},
    machine::{Event, transition},
    session::{Action, Contact, Errand, Fetch, Session},
    state::{Backup, Content, State},
    store::{Store, StoreError},
    vault::Vault,
    view,
    web::{
        error::{EngineError, LOCKED},
        net::{self, Outgoing},
        store::RexieStore,
    },
};

/// Pause before something local that failed is tried again, milliseconds.
const LOCAL_PAUSE_MS: i32 = 5_000;
/// Views are pushed at most this often, milliseconds.
const VIEW_PAUSE_MS: i32 = 40;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(callback: &JsValue, millis: i32) -> f64;
}

/// Runs something later.
fn later(millis: i32, run: impl FnOnce() + 'static) {
    set_timeout(&Closure::once_into_js(run), millis);
}

/// Seconds since 1970.
pub(crate) fn now() -> Seconds {
    (js_sys::Date::now() / 1000.0) as Seconds
}

/// Fresh randomness from the platform, as a stream.
pub(crate) fn fresh_rng() -> Result<impl CryptoRng + use<>, EngineError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|_| EngineError::new(("internal", "The browser has no random numbers.", None)))?;
    Ok(expand_seed(&Secret::from_bytes(seed)))
}

/// Bodies, envelopes and streams on their way. All can be made or fetched again.
#[derive(Default)]
struct Bulk {
    bundle: Option<(BackupId, Rc<Zeroizing<Vec<u8>>>)>,
    bodies: BTreeMap<DepositId, Rc<Vec<u8>>>,
    envelopes: BTreeMap<DepositId, Envelope>,
    streams: BTreeMap<BackupId, Vec<u8>>,
    keks: BTreeMap<BackupId, Secret>,
}

/// An unlocked wallet.
pub(crate) struct Open {
    pub(crate) vault: Vault,
    pub(crate) state: State,
    pub(crate) session: Session,
    bulk: Bulk,
}

/// The engine behind the bindings.
pub(crate) struct Driver {
    pub(crate) store: RexieStore,
    open: RefCell<Option<Open>>,
    /// Counts unlocks: what began before a lock must not touch what is open after it.
    unlocks: Cell<u64>,
    committing: Mutex<()>,
    listener: RefCell<Option<Function>>,
    pub(crate) persistent: Cell<bool>,
    view_due: Cell<bool>,
    wake_due: Cell<bool>,
}

impl Driver {
    pub(crate) fn new(store: RexieStore) -> Rc<Self> {
        Rc::new(Self {
            store,
            open: RefCell::new(None),
            unlocks: Cell::new(0),
            committing: Mutex::new(()),
            listener: RefCell::new(None),
            persistent: Cell::new(false),
            view_due: Cell::new(false),
            wake_due: Cell::new(false),
        })
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.borrow().is_some()
    }

    /// Something with the open wallet; nothing may wait inside.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&mut Open) -> T) -> Result<T, EngineError> {
        self.open.borrow_mut().as_mut().map(read).ok_or_else(|| EngineError::new(LOCKED))
    }

    pub(crate) fn unlocked(self: &Rc<Self>, vault: Vault, state: State) {
        self.unlocks.set(self.unlocks.get() + 1);
        *self.open.borrow_mut() = Some(Open { vault, state, session: Session::default(), bulk: Bulk::default() });
        self.pump();
    }

    pub(crate) fn lock(&self) {
        self.unlocks.set(self.unlocks.get() + 1);
        *self.open.borrow_mut() = None;
        *self.listener.borrow_mut() = None;
    }

    pub(crate) fn listen(self: &Rc<Self>, listener: Function) {
        *self.listener.borrow_mut() = Some(listener);
        self.show();
    }

    pub(crate) fn view(&self) -> Result<JsValue, EngineError> {
        let persistent = self.persistent.get();
        let view = self.with(|open| view::draw(&open.state, &open.session, persistent))?;
        let serializer = serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true);
        view.serialize(&serializer).map_err(|_| EngineError::new(("internal", "The view could not be drawn.", None)))
    }

    /// Pushes a view soon.
    pub(crate) fn show(self: &Rc<Self>) {
        if self.view_due.replace(true) {
            return;
        }
        let driver = Rc::clone(self);
        later(VIEW_PAUSE_MS, move || {
            driver.view_due.set(false);
            let listener = driver.listener.borrow().clone();
            if let (Some(listener), Ok(view)) = (listener, driver.view()) {
                // A listener that fails has gone with its page.
                let _ = listener.call1(&JsValue::NULL, &view);
            }
        });
    }

    /// Decides, commits durably, applies, and goes on.
    pub(crate) async fn handle(self: &Rc<Self>, event: Event) -> Result<(), EngineError> {
        let discard = {
            let _one_at_a_time = self.committing.lock().await;
            self.commit(event).await?
        };
        // After the commit nothing refers to them; if this fails the sweep at the next start removes them.
        let _ = self.store.remove_blobs(&discard).await;
        self.show();
        self.pump();
        Ok(())
    }

    async fn commit(&self, event: Event) -> Result<Vec<String>, EngineError> {
        let unlock = self.unlocks.get();
        loop {
            let mut rng = fresh_rng()?;
            let (changes, (commit, pending)) = self.with(|open| {
                let changes = transition(&open.state, event.clone(), now(), &mut rng)?;
                let sealed = open.vault.seal(&changes, &mut rng)?;
                Ok::<_, EngineError>((changes, sealed))
            })??;
            let result = self.store.commit(&commit).await;
            if self.unlocks.get() != unlock {
                return Err(EngineError::new(LOCKED));
            }
            match result {
                Ok(()) => {
                    let discard = changes.discard.clone();
                    self.with(|open| {
                        open.vault.committed(pending);
                        changes.apply(&mut open.state);
                        open.session.forget(&open.state);
                        open.bulk.forget(&open.state);
                    })?;
                    return Ok(discard);
                }
                // Another window was here: take over what it wrote and decide again.
                Err(StoreError::Superseded { .. }) => {
                    let stored = self.store.load().await?;
                    self.with(|open| {
                        open.state = open.vault.reload(&stored)?;
                        Ok::<_, EngineError>(())
                    })??;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins everything that can be done now.
    pub(crate) fn pump(self: &Rc<Self>) {
        let now = now();
        let Ok((actions, next)) = self.with(|open| {
            let actions = open.session.actions(&open.state, now);
            for action in &actions {
                open.session.started(action, &open.state);
            }
            (actions, open.session.next_try(now))
        }) else {
            return;
        };
        for action in actions {
            let driver = Rc::clone(self);
            spawn_local(async move { driver.run(action).await });
        }
        if let Some(next) = next.filter(|_| !self.wake_due.replace(true)) {
            let driver = Rc::clone(self);
            later(((next - now) * 1000 + 50) as i32, move || {
                driver.wake_due.set(false);
                driver.pump();
            });
        }
    }

    async fn run(self: Rc<Self>, action: Action) {
        let unlock = self.unlocks.get();
        let result = self.act(&action).await;
        if self.unlocks.get() != unlock {
            return;
        }
        let end = {
            let driver = Rc::clone(&self);
            move || {
                let _ = driver.with(|open| open.session.ended(&action));
                driver.show();
                driver.pump();
            }
        };
        match result {
            Ok(()) => end(),
            // A store or memory that is short now may not be later; until then the action counts as begun.
            Err(_) => later(LOCAL_PAUSE_MS, end),
        }
    }

    async fn act(self: &Rc<Self>, action: &Action) -> Result<(), EngineError> {
        match action {
            Action::Prepare(backup, segment) => {
                let made = self.make_bodies(backup, *segment).await?;
                let measured = made.iter().map(|(id, body)| (*id, Root(blake3(body)), body.len() as u64)).collect();
                self.handle(Event::Prepared(*backup, measured)).await
            }
            Action::Send(backup, deposit, errand) => self.exchange(backup, deposit, *errand).await,
            Action::Gather(backup, segment) => self.gather(backup, *segment).await,
            Action::Finish(backup) => self.finish(backup).await,
        }
    }

    fn backup(&self, id: &BackupId) -> Result<Backup, EngineError> {
        self.with(|open| open.state.backups.get(id).cloned())?
            .ok_or_else(|| EngineError::new(("unknown", "The backup is gone.", None)))
    }

    // ---- making --------------------------------------------------------------------------------------------------

    /// The bundle of a registration, read once for all its segments.
    async fn bundle(&self, backup: &Backup) -> Result<Rc<Zeroizing<Vec<u8>>>, EngineError> {
        let cached = self.with(|open| open.bulk.bundle.clone())?;
        if let Some((_, bundle)) = cached.filter(|(id, _)| *id == backup.id) {
            return Ok(bundle);
        }
        let mut bundle = Zeroizing::new(Vec::with_capacity(backup.bundle as usize));
        bundle.extend_from_slice(&bundle::head(&backup.values));
        for source in &backup.sources {
            let sealed = self.store.blob(&source.blob).await?;
            let sealed = sealed.ok_or_else(|| EngineError::new(("store-damaged", "Content is missing.", None)))?;
            self.with(|open| open.vault.open_blob_into(&source.blob, &sealed, &mut bundle))??;
        }
        let bundle = Rc::new(bundle);
        self.with(|open| open.bulk.bundle = Some((backup.id, Rc::clone(&bundle))))?;
        Ok(bundle)
    }

    async fn make_bodies(&self, id: &BackupId, segment: u32) -> Result<Vec<(DepositId, Rc<Vec<u8>>)>, EngineError> {
        let backup = self.backup(id)?;
        let bundle = self.bundle(&backup).await?;
        let seed = backup.op_seed.as_ref().ok_or_else(|| EngineError::new(("unknown", "Nothing to make.", None)))?;
        let layout = backup.layout().map_err(crate::machine::WalletError::from)?;
        let deposits: Vec<_> = backup.deposits.iter().filter(|d| d.segment == segment).collect();
        let drafts: Vec<Draft<'_>> =
            deposits.iter().map(|d| Draft { slot: d.slot(), deposit: d.id, d: &d.d }).collect();
        let bodies = layout.make_bodies(seed, &bundle, segment, &drafts);
        let bodies = bodies.map_err(|_| EngineError::new(("internal", "The pieces could not be made.", None)))?;
        let made: Vec<_> = deposits.iter().map(|d| d.id).zip(bodies.into_iter().map(Rc::new)).collect();
        self.with(|open| open.bulk.bodies.extend(made.iter().cloned()))?;
        Ok(made)
    }

    async fn body_of(&self, backup: &BackupId, deposit: &DepositId) -> Result<Rc<Vec<u8>>, EngineError> {
        if let Some(body) = self.with(|open| open.bulk.bodies.get(deposit).cloned())? {
            return Ok(body);
        }
        // After a restart: made again from the seed, the same bytes.
        let segment = self.backup(backup)?.deposit(deposit).map(|d| d.segment);
        let segment = segment.ok_or_else(|| EngineError::new(("unknown", "The deposit is gone.", None)))?;
        let made = self.make_bodies(backup, segment).await?;
        made.into_iter()
            .find_map(|(id, body)| (id == *deposit).then_some(body))
            .ok_or_else(|| EngineError::new(("unknown", "The deposit is gone.", None)))
    }

    // ---- exchange ------------------------------------------------------------------------------------------------

    async fn exchange(
        self: &Rc<Self>,
        backup: &BackupId,
        deposit: &DepositId,
        errand: Errand,
    ) -> Result<(), EngineError> {
        let mut rng = fresh_rng()?;
        let request = self.with(|open| {
            let safe = open.state.backups.get(backup).and_then(|b| b.deposit(deposit)).map(|d| d.safe);
            let clock = safe.map_or_else(now, |safe| open.session.clock_of(&safe, now()));
            exchange::request(&open.state, backup, deposit, errand, clock, &mut rng)
        })??;
        let stored = if request.body.is_none() { Some(self.body_of(backup, deposit).await?) } else { None };
        let body = request.body.as_deref().or(stored.as_deref().map(Vec::as_slice));
        let answer = net::send(Outgoing {
            method: request.method,
            url: &request.url,
            statement: request.statement.as_deref(),
            content_type: request.content_type,
            body,
            most: request.most,
        })
        .await;
        self.understand(backup, deposit, errand, request.safe, answer).await
    }

    async fn understand(
        self: &Rc<Self>,
        backup: &BackupId,
        deposit: &DepositId,
        errand: Errand,
        safe: SafeId,
        answer: Option<Answer>,
    ) -> Result<(), EngineError> {
        let meaning = self.with(|open| exchange::interpret(&open.state, backup, deposit, errand, answer))?;
        let mut note = None;
        match meaning {
            Meaning::Event(event) => {
                self.with(|open| open.session.reached(safe))?;
                if let Err(error) = self.handle(*event).await {
                    // What it signed does not hold: that is not the safe that was pinned, or it lies.
                    let words = format!("sent something that does not hold ({error:?})");
                    self.with(|open| open.session.failed(safe, Contact::NotItself, words, now()))?;
                }
            }
            Meaning::Body(envelope) => self.with(|open| {
                open.session.reached(safe);
                open.bulk.envelopes.insert(*deposit, *envelope);
                fetched(&mut open.session, backup, deposit, Fetch::Got);
            })?,
            Meaning::Lied(what) => {
                note = Some(self.with(|open| {
                    let note = exchange::note_of_lie(&open.state, &safe, &what);
                    fetched(&mut open.session, backup, deposit, Fetch::Lied(what));
                    note
                })?);
            }
            Meaning::Clock(theirs) => self.with(|open| open.session.set_clock(safe, theirs, now()))?,
            Meaning::Later(contact, why) => self.with(|open| {
                open.session.failed(safe, contact, why, now());
                if errand == Errand::Retrieve {
                    fetched(&mut open.session, backup, deposit, Fetch::Away);
                }
            })?,
            Meaning::Refused(why) => self.with(|open| {
                if errand == Errand::Retrieve {
                    fetched(&mut open.session, backup, deposit, Fetch::Refused(why));
                } else {
                    open.session.refusals.insert(*deposit, why);
                }
            })?,
        }
        match note {
            Some(note) => self.handle(note).await,
            None => Ok(()),
        }
    }

    // ---- rebuilding ----------------------------------------------------------------------------------------------

    async fn gather(self: &Rc<Self>, id: &BackupId, segment: u32) -> Result<(), EngineError> {
        let backup = self.backup(id)?;
        let result = self.with(|open| {
            let layout = backup.layout().map_err(|e| e.to_string())?;
            let mine: Vec<_> = backup.deposits.iter().filter(|d| d.segment == segment).collect();
            let envelopes: Vec<(SafeId, &Envelope)> =
                mine.iter().filter_map(|d| Some((d.safe, open.bulk.envelopes.get(&d.id)?))).collect();
            let bytes = layout.gather_segment(segment, &envelopes).map_err(|e| e.to_string())?;
            if segment == 0 {
                let kek = layout.gather_key(&envelopes).map_err(|e| e.to_string())?;
                open.bulk.keks.insert(*id, kek);
            }
            let stream = open.bulk.streams.entry(*id).or_insert_with(|| vec![0; layout.stream_len() as usize]);
            let start = (u64::from(segment) * layout.segment_len()) as usize;
            let place = stream.get_mut(start..start + bytes.len()).ok_or("the segment has another length")?;
            place.copy_from_slice(&bytes);
            for deposit in mine {
                open.bulk.envelopes.remove(&deposit.id);
            }
            open.session.recoveries.entry(*id).or_default().gathered.insert(segment);
            Ok::<_, String>(())
        })?;
        match result {
            Ok(()) => Ok(()),
            Err(why) => self.handle(Event::RecoveryFailed(*id, why)).await,
        }
    }

    async fn finish(self: &Rc<Self>, id: &BackupId) -> Result<(), EngineError> {
        let backup = self.backup(id)?;
        let bundle = self.with(|open| {
            let layout = backup.layout().map_err(|e| e.to_string())?;
            let kek = open.bulk.keks.get(id).ok_or("the key is missing")?;
            let stream = open.bulk.streams.remove(id).ok_or("the content is missing")?;
            layout.open_stream(kek, &stream).map_err(|e| e.to_string())
        })?;
        let bundle = match bundle {
            Ok(bundle) => bundle,
            Err(why) => return self.handle(Event::RecoveryFailed(*id, why)).await,
        };
        let Ok(parts) = bundle::parse(&bundle) else {
            return self.handle(Event::RecoveryFailed(*id, "the content is not a bundle".to_owned())).await;
        };
        debug_assert!(parts.len() <= MAX_HEAD_LEN);
        let mut values = Vec::with_capacity(parts.len());
        for (meta, content) in parts {
            let blob = self.keep(content).await?;
            values.push((meta, blob));
        }
        self.handle(Event::Recovered(*id, values)).await
    }

    /// Stores content durably, sealed. Until a record refers to it, it is swept at the next start.
    pub(crate) async fn keep(&self, content: &[u8]) -> Result<Content, EngineError> {
        let mut rng = fresh_rng()?;
        let mut name = [0; 16];
        rng.fill_bytes(&mut name);
        let blob = data_encoding::HEXLOWER.encode(&name);
        let sealed = self.with(|open| open.vault.seal_blob(&blob, content, &mut rng))??;
        self.store.put_blob(&blob, &sealed).await?;
        Ok(Content { blob, length: content.len() as u64 })
    }
}

fn fetched(session: &mut Session, backup: &BackupId, deposit: &DepositId, fetch: Fetch) {
    session.recoveries.entry(*backup).or_default().fetches.insert(*deposit, fetch);
}

impl Bulk {
    /// Lets go of what no running operation needs.
    fn forget(&mut self, state: &State) {
        use crate::state::{Operation, Stage};
        let deposit = |id: &DepositId| state.backups.values().find_map(|b| Some((b.operation?, b.deposit(id)?)));
        let running = |id: &BackupId| state.backups.get(id).and_then(|b| b.operation);
        self.bodies.retain(|id, _| deposit(id).is_some_and(|(_, d)| d.stage <= Stage::Prepared));
        self.envelopes.retain(|id, _| deposit(id).is_some_and(|(o, _)| o == Operation::Recover));
        self.streams.retain(|id, _| running(id) == Some(Operation::Recover));
        self.keks.retain(|id, _| running(id) == Some(Operation::Recover));
        self.bundle.take_if(|(id, _)| {
            let planned = |b: &Backup| b.deposits.iter().any(|d| d.stage == Stage::Planned);
            running(id) != Some(Operation::Register) || !state.backups.get(id).is_some_and(planned)
        });
    }
}
