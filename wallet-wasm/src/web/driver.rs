//! The driver: takes events, commits, and does what follows.
//!
//! One event at a time is decided and committed; actions run side by side and come back as events. Nothing here decides what a
//! message means, and nothing here is lost with the tab: every action follows from what was committed.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use futures::{future::LocalBoxFuture, lock::Mutex};
use js_sys::{Array, Function, Promise, Reflect, Uint8Array};
use litemap::LiteMap as Map;
use protocol::{
    crypto::{PassphraseCost, Secret, expand_seed},
    ids::{BackupId, DepositId, SafeId, Seconds},
    owner::login::Recognised,
    passphrase::Stretch,
    program::Keys,
};
use rand_core::CryptoRng;
use serde::Serialize;
use wasm_bindgen::{JsCast as _, JsValue, closure::Closure, prelude::wasm_bindgen};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::Blob;
use zeroize::Zeroizing;

use crate::{
    audits::{self, Audit},
    exchange::{self, Meaning},
    machine::{Event, Shown, WalletError, transition},
    passkey::PasskeyChange,
    session::{Action, Errand, Fetch, Session},
    state::{Backup, State},
    store::{StoreError, Stored},
    upkeep,
    vault::Vault,
    view,
    web::{
        credentials::Pending,
        error::{EngineError, NOT_SIGNED, UNKNOWN},
        jobs::{Arriving, Unpacked},
        keep::Kept,
        net::{self, Received},
        owner::Coming,
        past::LookingBack,
        store::bytes,
    },
};

/// Pause before something local that failed is tried again, milliseconds.
const LOCAL_PAUSE_MS: i32 = 5_000;
/// Views are pushed at most this often, milliseconds.
const VIEW_PAUSE_MS: i32 = 40;
/// The pause is so many times what the last view took to make, to send and to draw: a wallet of a thousand values does not do that alone.
const VIEW_PAUSES: i32 = 4;
/// Longest sleep while something is due later, seconds: a clock may be set, and a laptop may sleep.
const MAX_WAKE: Seconds = 3_600;
/// Longest pause, milliseconds: whoever looks on still sees that something happens.
const MAX_VIEW_PAUSE_MS: i32 = 1_000;

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

/// Bodies and values on their way. All can be made or fetched again.
#[derive(Default)]
pub(crate) struct Bulk {
    pub(crate) bodies: Map<DepositId, Blob>,
    /// Blobs of which segments are being made.
    pub(crate) sources: Map<String, Uint8Array>,
    /// Values that are being put back, as far as their segments are rebuilt.
    pub(crate) arriving: Map<BackupId, Vec<Arriving>>,
    /// Keys of backups whose first segment was rebuilt from what was made of it.
    pub(crate) proven: Map<BackupId, Keys>,
    /// What was rebuilt and opened, until it is stored.
    pub(crate) unpacked: Map<BackupId, Vec<Unpacked>>,
}

/// An unlocked wallet.
pub(crate) struct Open {
    pub(crate) vault: Vault,
    pub(crate) state: State,
    pub(crate) session: Session,
    pub(crate) bulk: Bulk,
}

impl Open {
    /// Takes over what another window has stored.
    fn take_over(&mut self, stored: &Stored) -> Result<(), EngineError> {
        let state = self.vault.reload(stored)?;
        let before = core::mem::replace(&mut self.state, state);
        self.state.know_identities_of(&before);
        self.session.forget(&self.state);
        self.bulk.forget(&self.state);
        Ok(())
    }
}

/// The engine behind the bindings.
pub(crate) struct Driver {
    pub(crate) store: Kept,
    stretch: Function,
    open: RefCell<Option<Open>>,
    /// Counts unlocks: what began before a lock must not touch what is open after it.
    unlocks: Cell<u64>,
    /// Somebody is coming back.
    pub(crate) coming: RefCell<Option<Coming>>,
    /// What its owner was recognised by: of a device that only reads; and as long as something is taken back.
    pub(crate) visitor: RefCell<Option<Recognised>>,
    /// The owner chooses how far to go back.
    pub(crate) looking_back: RefCell<Option<LookingBack>>,
    /// A kit or a device is being made.
    pub(crate) pending: RefCell<Option<Pending>>,
    committing: Mutex<()>,
    pub(crate) making: Mutex<()>,
    listener: RefCell<Option<Function>>,
    pub(crate) persistent: Cell<bool>,
    view_due: Cell<bool>,
    /// Milliseconds before the next one.
    view_pause: Cell<i32>,
    /// When a timer is due that was set to go on.
    wake_at: Cell<Option<Seconds>>,
    /// Of several windows of one wallet this one works; the others follow it.
    leading: Cell<bool>,
    /// Tells the other windows that something was committed.
    on_commit: RefCell<Option<Function>>,
}

impl Driver {
    pub(crate) fn new(store: Kept, stretch: Function) -> Rc<Self> {
        Rc::new(Self {
            store,
            stretch,
            open: RefCell::new(None),
            unlocks: Cell::new(0),
            coming: RefCell::new(None),
            visitor: RefCell::new(None),
            looking_back: RefCell::new(None),
            pending: RefCell::new(None),
            committing: Mutex::new(()),
            making: Mutex::new(()),
            listener: RefCell::new(None),
            persistent: Cell::new(false),
            view_due: Cell::new(false),
            view_pause: Cell::new(VIEW_PAUSE_MS),
            wake_at: Cell::new(None),
            leading: Cell::new(true),
            on_commit: RefCell::new(None),
        })
    }

    /// What is kept nowhere only reads: it would be lost with its tab, and the turn that it took with it.
    pub(crate) const fn reads(&self) -> bool {
        matches!(self.store, Kept::Memory(_))
    }

    pub(crate) fn is_open(&self) -> bool {
        self.open.borrow().is_some()
    }

    /// Something with the open wallet; nothing may wait inside.
    pub(crate) fn with<T>(&self, read: impl FnOnce(&mut Open) -> T) -> Result<T, EngineError> {
        self.open.borrow_mut().as_mut().map(read).ok_or_else(EngineError::locked)
    }

    pub(crate) fn unlocked(self: &Rc<Self>, vault: Vault, state: State) {
        self.unlocks.set(self.unlocks.get() + 1);
        *self.open.borrow_mut() = Some(Open { vault, state, session: Session::default(), bulk: Bulk::default() });
        self.pump();
    }

    /// Counts up whenever the wallet is opened or locked.
    pub(crate) fn unlocks(&self) -> u64 {
        self.unlocks.get()
    }

    /// The key behind a passphrase, derived wherever the host lets [`super::stretch`] run.
    pub(crate) fn derive_key(
        &self,
        stretch: &Stretch,
        passphrase: &str,
    ) -> LocalBoxFuture<'static, Result<Secret, EngineError>> {
        self.derive_key_of(stretch, passphrase.as_bytes())
    }

    /// The same for something else that is guessed.
    pub(crate) fn derive_key_of(
        &self,
        stretch: &Stretch,
        guessed: &[u8],
    ) -> LocalBoxFuture<'static, Result<Secret, EngineError>> {
        let PassphraseCost { memory_kib, passes, lanes } = stretch.cost;
        let salt = Uint8Array::from(stretch.salt.as_slice());
        let guessed = Uint8Array::from(guessed);
        let arguments = Array::of5(&guessed, &salt, &memory_kib.into(), &passes.into(), &lanes.into());
        let promise = self
            .stretch
            .apply(&JsValue::NULL, &arguments)
            .map_or_else(|e| Promise::reject(&e), |p| Promise::resolve(&p));
        // On the heap, so that those who wait for it do not each hold the code.
        Box::pin(async move {
            let derived = JsFuture::from(promise).await.ok().and_then(|value| bytes(Some(value)));
            let key = derived.and_then(|bytes| Secret::try_from(Zeroizing::new(bytes).as_slice()).ok());
            let advice = "Close other tabs: it takes memory.";
            key.ok_or(EngineError::new(("no-key", "The passphrase could not be turned into a key.", Some(advice))))
        })
    }

    pub(crate) fn lock(&self) {
        self.unlocks.set(self.unlocks.get() + 1);
        *self.open.borrow_mut() = None;
        *self.coming.borrow_mut() = None;
        *self.visitor.borrow_mut() = None;
        *self.looking_back.borrow_mut() = None;
        *self.pending.borrow_mut() = None;
        *self.listener.borrow_mut() = None;
    }

    pub(crate) fn listen(self: &Rc<Self>, listener: Function) {
        *self.listener.borrow_mut() = Some(listener);
        self.show();
    }

    pub(crate) fn view(&self) -> Result<JsValue, EngineError> {
        let (persistent, leading) = (self.persistent.get(), self.leading.get());
        let view = self.with(|open| view::draw(&open.state, &open.session, now(), persistent))?;
        let passkeys = self.with(|open| view::PasskeyView::of(&open.vault))??;
        let view = view::WalletView { leading, passkeys, ..view };
        let serializer = serde_wasm_bindgen::Serializer::new().serialize_missing_as_null(true);
        let drawn = view.serialize(&serializer).map_err(JsValue::from);
        drawn
            .and_then(|drawn| share(&drawn, &[("backup", "backups"), ("operation", "operations")]).map(|()| drawn))
            .map_err(|_| EngineError::new(("internal", "The view could not be drawn.", None)))
    }

    /// Pushes a view soon.
    pub(crate) fn show(self: &Rc<Self>) {
        if self.view_due.replace(true) {
            return;
        }
        let driver = Rc::clone(self);
        later(self.view_pause.get(), move || {
            driver.view_due.set(false);
            let begun = js_sys::Date::now();
            let listener = driver.listener.borrow().clone();
            let Some((listener, view)) = listener.zip(driver.view().ok()) else { return };
            let drew = js_sys::Date::now() - begun;
            // A listener that fails has gone with its page.
            let Ok(taken) = listener.call1(&JsValue::NULL, &view) else { return };
            spawn_local(async move {
                // The page says how long it took. What else is at work here meanwhile is no reason to show less.
                let page = JsFuture::from(Promise::resolve(&taken)).await.ok().and_then(|took| took.as_f64());
                let took = (drew + page.unwrap_or(0.0)) as i32;
                driver.view_pause.set(took.saturating_mul(VIEW_PAUSES).clamp(VIEW_PAUSE_MS, MAX_VIEW_PAUSE_MS));
            });
        });
    }

    /// Decides, commits durably, applies, and goes on.
    pub(crate) async fn handle(self: &Rc<Self>, event: Event) -> Result<(), EngineError> {
        self.handle_with(event, None).await
    }

    /// The same with a change of what opens the wallet, in one commit.
    pub(crate) async fn handle_with(
        self: &Rc<Self>,
        event: Event,
        passkeys: Option<PasskeyChange>,
    ) -> Result<(), EngineError> {
        let discard = {
            let _one_at_a_time = self.committing.lock().await;
            self.commit(event, passkeys.as_ref()).await?
        };
        if let Some(tell) = &*self.on_commit.borrow() {
            // A window that is not told sees it when it commits itself.
            let _ = tell.call0(&JsValue::NULL);
        }
        // After the commit nothing refers to them; if this fails the sweep at the next start removes them.
        let _ = self.store.remove_blobs(&discard).await;
        self.end_taking_back()?;
        self.show();
        self.pump();
        Ok(())
    }

    // ---- windows -----------------------------------------------------------------------------------------------

    pub(crate) fn is_leading(&self) -> bool {
        self.leading.get()
    }

    /// From now on this window works, on what the others have stored; or it only follows.
    pub(crate) async fn set_leading(self: &Rc<Self>, leading: bool) -> Result<(), EngineError> {
        self.leading.set(leading);
        self.show();
        if leading && self.is_open() { self.follow().await } else { Ok(()) }
    }

    /// Whom to tell of every commit.
    pub(crate) fn tell(&self, listener: Function) {
        *self.on_commit.borrow_mut() = Some(listener);
    }

    /// Takes over what another window has committed.
    pub(crate) async fn follow(self: &Rc<Self>) -> Result<(), EngineError> {
        {
            let _one_at_a_time = self.committing.lock().await;
            let unlock = self.unlocks.get();
            let stored = self.store.load().await?;
            if self.unlocks.get() != unlock {
                return Err(EngineError::locked());
            }
            self.with(|open| open.take_over(&stored))??;
        }
        self.show();
        self.pump();
        Ok(())
    }

    async fn commit(&self, event: Event, passkeys: Option<&PasskeyChange>) -> Result<Vec<String>, EngineError> {
        let unlock = self.unlocks.get();
        loop {
            let mut rng = fresh_rng()?;
            let (changes, (commit, pending)) = self.with(|open| {
                let changes = transition(&open.state, event.clone(), now(), &mut rng)?;
                let sealed = match passkeys {
                    Some(change) => open.vault.seal_passkeys(change, &changes, &mut rng)?,
                    None => open.vault.seal(&changes, &mut rng)?,
                };
                Ok::<_, EngineError>((changes, sealed))
            })??;
            let result = self.store.commit(&commit).await;
            if self.unlocks.get() != unlock {
                return Err(EngineError::locked());
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
                    self.with(|open| open.take_over(&stored))??;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Begins everything that can be done now.
    pub(crate) fn pump(self: &Rc<Self>) {
        if !self.leading.get() {
            return;
        }
        let now = now();
        let Ok((actions, next)) = self.with(|open| {
            let actions = open.session.actions(&open.state, now);
            for action in &actions {
                open.session.started(action, &open.state);
            }
            (actions, open.session.next_try(&open.state, now))
        }) else {
            return;
        };
        for action in actions {
            let driver = Rc::clone(self);
            spawn_local(async move { driver.run(action).await });
        }
        let Some(next) = next else { return };
        // A timer that was set before for something later stays; it finds nothing to do.
        let sooner = self.wake_at.get().is_none_or(|at| next < at);
        if sooner {
            self.wake_at.set(Some(next));
            let driver = Rc::clone(self);
            later(((next - now).min(MAX_WAKE) * 1000 + 50) as i32, move || {
                driver.wake_at.set(None);
                driver.pump();
                // Time alone may have changed what is to be said of a backup.
                driver.show();
            });
        }
    }

    async fn run(self: Rc<Self>, action: Action) {
        let unlock = self.unlocks.get();
        let result = self.act(&action).await;
        if self.unlocks.get() != unlock {
            return;
        }
        let hindrance = result.err();
        let _ = self.with(|open| match &hindrance {
            None => open.session.ended(&action),
            Some(error) => open.session.hindered(&action, error.message().to_owned()),
        });
        self.show();
        if hindrance.is_none() {
            return self.pump();
        }
        // A store or memory that is short now may not be later.
        later(LOCAL_PAUSE_MS, move || {
            if self.unlocks.get() == unlock {
                let _ = self.with(|open| open.session.try_again(&action));
                self.pump();
            }
        });
    }

    async fn act(self: &Rc<Self>, action: &Action) -> Result<(), EngineError> {
        match action {
            Action::Prepare(backup, segment) => {
                let prepared = self.prepare(backup, *segment).await?;
                self.handle(Event::Prepared(*backup, prepared)).await
            }
            Action::Send(backup, deposit, errand) => self.exchange(backup, deposit, *errand).await,
            Action::Gather(backup, segment) => self.gather(backup, *segment).await,
            Action::Finish(backup) => self.finish(backup).await,
            Action::Vacate(backup) => self.handle(Event::Vacate(*backup)).await,
            Action::Audit(safe) => self.audit(safe).await,
            Action::Replace(backup) => self.handle(Event::Replace(*backup)).await,
            Action::Owner(safe, errand) => self.converse(*safe, *errand).await,
            Action::WriteChapter => self.write_chapter().await,
            Action::Relay(backup, deposit, through) => self.fetch_through(backup, deposit, *through).await,
            Action::ApplyRule(value) => {
                let room = self.with(|open| open.session.room(&open.state))?;
                self.handle(Event::ApplyRule(*value, room)).await
            }
        }
    }

    pub(crate) fn backup(&self, id: &BackupId) -> Result<Backup, EngineError> {
        self.with(|open| open.state.backups.get(id).cloned())?
            .ok_or_else(|| EngineError::new((UNKNOWN, "The backup is gone.", None)))
    }

    // ---- exchange ------------------------------------------------------------------------------------------------

    async fn exchange(
        self: &Rc<Self>,
        backup: &BackupId,
        deposit: &DepositId,
        errand: Errand,
    ) -> Result<(), EngineError> {
        let mut rng = fresh_rng()?;
        let (safe, request) = self.with(|open| {
            let safe = open.state.backups.get(backup).and_then(|b| b.deposit(deposit)).map(|d| d.safe);
            let clock = safe.map_or_else(now, |safe| open.session.clock_of(&safe, now()));
            let ticket = safe.and_then(|safe| open.session.ticket(&safe, errand));
            (safe, exchange::request(&open.state, backup, deposit, errand, ticket, clock, &mut rng))
        })?;
        let request = match (request, safe) {
            (Err(error @ WalletError::Identity(_)), Some(safe)) => return self.look_again(safe, no_key(&error)).await,
            (request, _) => request?,
        };
        let body = match &request.body {
            Some(body) => net::body_of(&Uint8Array::from(body.as_slice())),
            None => Some(self.body_of(backup, deposit).await?),
        };
        let received = net::send_request(&request, body.as_ref()).await;
        let (answer, body) = match received {
            // A body stays where it is; it is measured and opened there.
            Some(received) if errand == Errand::Retrieve => {
                let (answer, body) = received.apart();
                (Some(answer), body)
            }
            received => (received.map(Received::into_answer), Uint8Array::new_with_length(0)),
        };
        let meaning = self
            .with(|open| exchange::interpret(&open.state, backup, deposit, errand, request.body.as_deref(), answer))?;
        let meaning = match meaning {
            Meaning::Body(_) => self.open_body(backup, deposit, body).await?,
            other => other,
        };
        self.understand(backup, deposit, errand, request.safe, meaning).await
    }

    async fn audit(self: &Rc<Self>, safe: &SafeId) -> Result<(), EngineError> {
        let batch = self.with(|open| upkeep::batch(&open.state, safe, now()))?;
        let mut rng = fresh_rng()?;
        let audit = self.with(|open| {
            let clock = open.session.clock_of(safe, now());
            audits::request(&open.state, safe, &batch, clock, &mut rng)
        })?;
        let Audit { request, asked } = match audit {
            Ok(audit) => audit,
            // The keys that are known have had their time.
            Err(error @ WalletError::Identity(_)) => return self.look_again(*safe, no_key(&error)).await,
            // Released meanwhile: there is nothing to ask.
            Err(_) => return Ok(()),
        };
        let body = request.body.as_deref().and_then(|body| net::body_of(&Uint8Array::from(body)));
        let answer = net::send_request(&request, body.as_ref()).await.map(Received::into_answer);
        let clock = self.with(|open| open.session.clock_of(safe, now()))?;
        match audits::interpret(&asked, answer, clock) {
            Meaning::Event(event) => {
                self.handle(*event).await?;
                self.with(|open| {
                    open.session.reached(*safe);
                    // It was a contact: some leases may end later now.
                    open.session.look_for_renewals(&open.state, safe, now());
                })
            }
            Meaning::Refused(why) => {
                let line = exchange::note(&self.with(|open| open.state.nickname(safe))?, &why);
                let unclear = batch.into_iter().map(|(backup, deposit)| (backup, deposit, Shown::Unclear)).collect();
                self.handle(Event::Audited(unclear)).await?;
                self.handle(line).await
            }
            other => self.hindered_by_safe(*safe, other).await,
        }
    }

    /// What keeps a safe from being understood, whatever was asked.
    pub(crate) async fn hindered_by_safe(self: &Rc<Self>, safe: SafeId, meaning: Meaning) -> Result<(), EngineError> {
        match meaning {
            Meaning::Clock(theirs) => self.with(|open| open.session.set_clock(safe, theirs, now())),
            Meaning::Later(contact, why) => self.with(|open| open.session.failed(safe, contact, why, now())),
            Meaning::Descriptor => self.look_again(safe, "cannot read what is sealed to it".to_owned()).await,
            _ => Ok(()),
        }
    }

    pub(super) async fn understand(
        self: &Rc<Self>,
        backup: &BackupId,
        deposit: &DepositId,
        errand: Errand,
        safe: SafeId,
        meaning: Meaning,
    ) -> Result<(), EngineError> {
        let mut note = None;
        let settled = matches!(meaning, Meaning::Event(_) | Meaning::Refused(_) | Meaning::Lied(_));
        if errand == Errand::Renew && settled {
            self.with(|open| open.session.renewed(deposit))?;
        }
        match meaning {
            Meaning::Event(event) => {
                self.with(|open| open.session.reached(safe))?;
                match self.handle(*event).await {
                    // What it signed does not hold: it has other keys by now, is not the safe that was pinned, or lies.
                    Err(error) if error.is(NOT_SIGNED) => {
                        if errand == Errand::Renew {
                            self.with(|open| open.session.not_renewed(deposit))?;
                        }
                        let words = format!("sent something that does not hold ({})", error.message());
                        self.look_again(safe, words).await?;
                    }
                    // The deposit was given up meanwhile.
                    Err(error) if error.is(UNKNOWN) => {}
                    // Everything else went wrong here.
                    result => result?,
                }
            }
            // Opened before it came here; or no answer about a deposit.
            Meaning::Body(_) | Meaning::Ticket(_) => {}
            Meaning::Pieces(pieces) => self.with(|open| {
                open.session.reached(safe);
                open.session.recoveries.entry(*backup).or_default().pieces.insert(*deposit, pieces);
                fetched(&mut open.session, backup, deposit, Fetch::Got);
            })?,
            Meaning::Lied(what) => {
                note = Some(self.with(|open| {
                    let note = exchange::note_of_lie(&open.state, &safe, &what);
                    fetched(&mut open.session, backup, deposit, Fetch::Lied(what));
                    note
                })?);
            }
            Meaning::Registered(answer) => {
                let event = self.with(|open| {
                    open.session.reached(safe);
                    let (Errand::Propose(proposal), Some(known)) = (errand, open.state.backups.get(backup)) else {
                        return None;
                    };
                    open.session.registered(known, deposit, &proposal, answer, now())
                })?;
                if let Some(event) = event {
                    self.handle(event).await?;
                }
            }
            Meaning::Unaware => self.with(|open| {
                open.session.reached(safe);
                if let Some(known) = open.state.backups.get(backup) {
                    open.session.unaware(known, deposit);
                }
            })?,
            Meaning::Later(contact, why) => self.with(|open| {
                open.session.failed(safe, contact, why, now());
                unanswered(open, backup, deposit, errand, Fetch::Away);
            })?,
            other @ (Meaning::Clock(_) | Meaning::Descriptor) => self.hindered_by_safe(safe, other).await?,
            Meaning::Refused(why) => self.with(|open| {
                match errand {
                    Errand::Retrieve | Errand::Propose(_) => {
                        unanswered(open, backup, deposit, errand, Fetch::Refused(why))
                    }
                    // The certificate that is here stays good.
                    Errand::Renew => {}
                    _ => drop(open.session.refusals.insert(*deposit, why)),
                }
            })?,
        }
        match note {
            Some(note) => self.handle(note).await,
            None => Ok(()),
        }
    }
}

/// Why nothing can be sealed to a safe now: a phrase that follows its name.
pub(super) fn no_key(error: &WalletError) -> String {
    format!("has no key to seal to now ({error})")
}

/// A safe gave no piece, or said nothing of whose it is.
fn unanswered(open: &mut Open, backup: &BackupId, deposit: &DepositId, errand: Errand, fetch: Fetch) {
    let Some(known) = open.state.backups.get(backup) else { return };
    match errand {
        Errand::Propose(_) if known.must_claim() => open.session.unregistered(known, deposit, now()),
        Errand::Retrieve | Errand::Propose(_) => fetched(&mut open.session, backup, deposit, fetch),
        _ => {}
    }
}

fn fetched(session: &mut Session, backup: &BackupId, deposit: &DepositId, fetch: Fetch) {
    session.recoveries.entry(*backup).or_default().fetches.insert(*deposit, fetch);
}

impl Bulk {
    /// Lets go of what no running operation needs.
    fn forget(&mut self, state: &State) {
        use crate::state::Stage;
        let deposit = |id: &DepositId| state.backups.values().find_map(|b| Some((b.operation?, b.deposit(id)?)));
        let gathering = |id: &BackupId| state.backups.get(id).is_some_and(Backup::is_gathering);
        self.bodies.retain(|id, _| deposit(id).is_some_and(|(_, d)| d.stage <= Stage::Prepared));
        self.arriving.retain(|id, _| gathering(id));
        self.proven.retain(|id, _| state.backups.get(id).is_some_and(|backup| backup.op_seed.is_some()));
        let planned = |b: &&Backup| b.op_seed.is_some() && b.unmade().is_some();
        let needed =
            |blob: &String| state.backups.values().filter(planned).any(|b| b.sources.iter().any(|s| s.blob == *blob));
        // Not given back at once: someone may still be reading.
        self.sources.retain(|blob, _| needed(blob));
        self.unpacked.retain(|id, _| gathering(id));
    }
}

/// Gives each value of a view what it names by its place in one of the lists, which go. One object stays one on its way to the page, too:
/// so a backup of a thousand values is there once, not a thousand times.
fn share(view: &JsValue, lists: &[(&str, &str)]) -> Result<(), JsValue> {
    let values = Reflect::get(view, &"values".into())?;
    for (name, list) in lists {
        let (name, list) = (JsValue::from_str(name), JsValue::from_str(list));
        let all = Reflect::get(view, &list)?;
        for value in Array::from(&values) {
            let place = Reflect::get(&value, &name)?;
            if !place.is_null() {
                Reflect::set(&value, &name, &Reflect::get(&all, &place)?)?;
            }
        }
        Reflect::delete_property(view.unchecked_ref::<js_sys::Object>(), &list)?;
    }
    Ok(())
}
