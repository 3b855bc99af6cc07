//! A small world: one wallet, some safes in memory, a store, and a clock that only the test moves.
//!
//! The wallet's shell here does what the browser's does, one step at a time, so that a test can pull the plug between any two.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use futures::{FutureExt, executor::block_on};
use protocol::{
    book::{Book, KnownSafe},
    bundle::{self, ValueMeta},
    codec,
    crypto::{PassphraseCost, Secret, blake3, derive_secret, expand_seed},
    envelope::Envelope,
    identity::{Descriptor, Identity, MAX_DESCRIPTOR_LEN, SafeKeys},
    ids::{BackupId, DepositId, Root, SafeId, Seconds, ValueId},
    layout::Draft,
    owner::{login::Recognised, messages::Look, ticket::Right},
    passphrase::Stretch,
    piece_file::{self, PieceFileError},
    plan::{Place, Plan, PlanError},
    program::{Piece, Work},
    seal::sealed_len,
};
use safe_worker::{flow::Head, memory::MemorySafe};
use wallet_wasm::{
    audits::{self, Asked, Audit},
    book,
    exchange::{self, Answer, Meaning, Request},
    keeping,
    machine::{Changes, Event, Prepared, Shown, WalletError, Wish, WriteChapter, transition},
    owner, proving,
    relaying::{self, Hindered, Load},
    session::{Action, CLOCK_SLACK, Contact, Errand, Fetch, Recovery, Session},
    state::{Backup, Content, FaceWish, Operation, Row, State},
    store::{Commit, MemoryStore, Store, StoreError},
    upkeep,
    vault::{Pending, Vault},
};
use zeroize::Zeroizing;

use crate::fixture::stretched;

/// When every world begins.
pub const START: Seconds = 1_700_000_000;
/// Passphrase of every wallet here.
pub const PASSPHRASE: &str = "correct horse battery";

/// What a network or a safe does to one exchange.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Nothing.
    None,
    /// The request does not arrive.
    LostBefore,
    /// The request arrives, the answer does not.
    LostAfter,
    /// The request arrives twice, the second answer counts.
    Twice,
}

/// Safes by number; some may be away.
pub struct Safes {
    /// The safes.
    pub all: Vec<MemorySafe>,
    /// Which do not answer.
    pub away: Vec<usize>,
}

impl Safes {
    /// `n` safes with keys from their number.
    pub fn new(n: usize) -> Self {
        let make = |i| MemorySafe::new(&format!("safe-{i}"), &Self::seed(i), START).unwrap();
        Self { all: (0..n).map(make).collect(), away: Vec::new() }
    }

    /// What a safe's keys and randomness follow from.
    pub fn seed(index: usize) -> Secret {
        derive_secret(&Secret::from_bytes([7; 32]), "safe", &index.to_be_bytes())
    }

    /// The keys with which a safe begins: for tests that lie in its name.
    pub fn keys(index: usize) -> SafeKeys {
        SafeKeys::make_random(&mut expand_seed(&Self::seed(index)), START).unwrap()
    }

    /// The safe to which a request is addressed.
    pub fn addressee(&self, request: &Request) -> Option<usize> {
        self.all.iter().position(|s| request.url.starts_with(&format!("{}/", s.url())))
    }

    /// Sends a request to whom it is addressed.
    pub fn send(&self, request: &Request, body: Vec<u8>, now: Seconds) -> Option<Answer> {
        let index = self.addressee(request)?;
        if self.away.contains(&index) { None } else { ask(&self.all[index], request, body, now) }
    }

    /// What the descriptor of a safe says, and what its clock does; nothing if it is away.
    pub fn find(&self, safe: &SafeId, now: Seconds) -> Option<(KnownSafe, Seconds)> {
        let index = self.all.iter().position(|s| s.id() == *safe)?;
        (!self.away.contains(&index)).then(|| (self.probe(index, now), now))
    }

    /// What a wallet learns by probing a safe.
    pub fn probe(&self, index: usize, now: Seconds) -> KnownSafe {
        let head = Head { method: "GET".into(), path: "/.well-known/strongroom".into(), ..Head::default() };
        let answer = block_on(self.all[index].handle(&head, Vec::new(), now));
        KnownSafe { nickname: format!("Safe {index}"), ..read_descriptor(&answer.body) }
    }
}

/// What a descriptor says. Its clock goes on; the same chain need not be checked a hundred times.
fn read_descriptor(body: &[u8]) -> KnownSafe {
    thread_local! {
        static KNOWN: RefCell<BTreeMap<Vec<u8>, SafeId>> = const { RefCell::new(BTreeMap::new()) };
    }
    let descriptor: Descriptor = codec::decode(body, MAX_DESCRIPTOR_LEN).unwrap();
    let of = codec::encode(&(&descriptor.identity, &descriptor.chain));
    let id = KNOWN.with_borrow_mut(|known| {
        *known.entry(of).or_insert_with(|| Identity::verify(&descriptor.identity, &descriptor.chain).unwrap().id())
    });
    KnownSafe {
        id,
        nickname: String::new(),
        name: descriptor.name,
        url: descriptor.url,
        identity: descriptor.identity,
        chain: descriptor.chain,
        limit_body: descriptor.limits.body,
        token: None,
        whereabouts: descriptor.whereabouts,
    }
}

/// What a safe answers; nothing if it stops at it.
pub fn ask(safe: &MemorySafe, request: &Request, body: Vec<u8>, now: Seconds) -> Option<Answer> {
    let head = Head {
        method: request.method.to_owned(),
        path: request.url[safe.url().len()..].to_owned(),
        statement: request.statement.clone(),
        token: request.token.clone(),
        content_type: Some(request.content_type.to_owned()),
        length: Some(body.len() as u64),
        ..Head::default()
    };
    let answer = safe.handle(&head, body, now).now_or_never()?;
    let problem = (answer.content_type == safe_worker::flow::PROBLEM).then(|| {
        let json: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
        (json["type"].as_str().unwrap().to_owned(), json["time"].as_u64().unwrap())
    });
    Some(Answer { status: answer.status, body: answer.body, problem })
}

/// A wallet that is open.
pub struct Wallet<'a, S: Store = MemoryStore> {
    store: &'a S,
    vault: Vault,
    /// What it remembers.
    pub state: State,
    /// What it knows while it is open.
    pub session: Session,
    now: Seconds,
    /// How far the safes' clocks are ahead of the wallet's.
    pub ahead: Seconds,
    drawn: u64,
    seed: Secret,
    bodies: BTreeMap<DepositId, Vec<u8>>,
    segments: BTreeMap<(BackupId, u32), Zeroizing<Vec<u8>>>,
    /// Every body sent, by deposit: a repetition must be byte-identical.
    pub sent: BTreeMap<DepositId, Vec<u8>>,
    /// A machine that decides otherwise: for simulations that have to notice.
    pub spoil: Option<fn(&State, &mut Changes)>,
    /// It only reads, by what its owner was recognised by.
    pub visitor: Option<Recognised>,
}

fn content_of(blob: String, content: &[u8]) -> Content {
    Content { blob, length: content.len() as u64, root: Some(Root(blake3(content))) }
}

/// The pieces of a segment, and its bodies.
type Made = (Vec<Piece>, Vec<(DepositId, Vec<u8>)>);

/// What keeps the shell from going on.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The machine refused.
    Wallet(WalletError),
    /// The store failed.
    Store(StoreError),
}

impl From<WalletError> for Trouble {
    fn from(error: WalletError) -> Self {
        Self::Wallet(error)
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<PlanError> for Trouble {
    fn from(error: PlanError) -> Self {
        Self::Wallet(error.into())
    }
}

impl Trouble {
    /// For worlds whose store never fails.
    fn refusal(self) -> WalletError {
        match self {
            Self::Wallet(error) => error,
            Self::Store(error) => panic!("the store failed: {error}"),
        }
    }
}

/// What follows a step of the shell.
#[derive(Debug)]
pub enum Then {
    /// Nothing: it is done.
    Nothing,
    /// A request goes out.
    Send(Box<Sending>),
    /// A safe's descriptor is to be fetched before it is asked again; why.
    LookAgain(SafeId, String),
}

/// A request on its way to a safe, or its answer on the way back.
#[derive(Debug, Clone)]
pub struct Sending {
    /// What is being done.
    pub action: Action,
    /// What is asked.
    pub request: Request,
    /// The body of the request.
    pub body: Vec<u8>,
    /// In an audit: what is asked for.
    asked: Vec<Asked>,
    /// What is asked as an owner, until it is answered; without it, this is the look before it.
    question: Option<Rc<RefCell<Option<owner::Asked>>>>,
}

impl<'a, S: Store> Wallet<'a, S> {
    /// Makes a wallet in an empty store. Randomness comes from `salt`.
    pub fn create(store: &'a S, salt: u64) -> Self {
        let seed = derive_secret(&Secret::from_bytes([9; 32]), "wallet", &salt.to_be_bytes());
        let mut rng = expand_seed(&seed);
        let stretch = Stretch::make_random(PassphraseCost::LEAST, &mut rng);
        let kek = stretched(&stretch, PASSPHRASE.as_bytes());
        let (mut vault, header) = Vault::create(&stretch, &kek, &mut rng).unwrap();
        let (mut commit, pending) = vault.seal(&Changes::default(), &mut rng).unwrap();
        commit.header = Some(header);
        block_on(store.commit(&commit)).unwrap();
        vault.committed(pending);
        Self::with(store, vault, State::default(), salt)
    }

    /// Opens the wallet of a store, as a new tab does.
    pub fn open(store: &'a S, salt: u64) -> Self {
        Self::try_open(store, salt).unwrap()
    }

    /// The same where the store may fail.
    ///
    /// # Errors
    /// The store's.
    pub fn try_open(store: &'a S, salt: u64) -> Result<Self, StoreError> {
        let stored = block_on(store.load())?;
        let kek = stretched(&Vault::stretch(&stored).unwrap(), PASSPHRASE.as_bytes());
        let (vault, state) = Vault::open(&kek, &stored).unwrap();
        match block_on(store.sweep(stored.epoch, &state.blobs())) {
            // Another window has written meanwhile, and sweeps itself.
            Ok(()) | Err(StoreError::Superseded { .. }) => Ok(Self::with(store, vault, state, salt)),
            Err(error) => Err(error),
        }
    }

    fn with(store: &'a S, vault: Vault, state: State, salt: u64) -> Self {
        let seed = derive_secret(&Secret::from_bytes([8; 32]), "session", &salt.to_be_bytes());
        Self {
            store,
            vault,
            state,
            session: Session::default(),
            now: START,
            ahead: 0,
            drawn: 0,
            seed,
            bodies: BTreeMap::new(),
            segments: BTreeMap::new(),
            sent: BTreeMap::new(),
            spoil: None,
            visitor: None,
        }
    }

    fn rng(&mut self) -> impl rand_core::CryptoRng + use<S> {
        self.drawn += 1;
        expand_seed(&derive_secret(&self.seed, "draw", &self.drawn.to_be_bytes()))
    }

    /// What it is kept in.
    pub const fn store(&self) -> &'a S {
        self.store
    }

    /// What its clock says.
    pub const fn now(&self) -> Seconds {
        self.now
    }

    /// Sets the clock.
    pub const fn set_now(&mut self, now: Seconds) {
        self.now = now;
    }

    /// Moves the clock.
    pub fn wait(&mut self, seconds: Seconds) {
        self.now += seconds;
    }

    /// What an event would commit.
    pub fn propose(&mut self, event: Event) -> Result<(Changes, Commit, Pending), WalletError> {
        let mut rng = self.rng();
        let mut changes = transition(&self.state, event, self.now, &mut rng)?;
        if let Some(spoil) = self.spoil {
            spoil(&self.state, &mut changes);
        }
        let (commit, pending) = self.vault.seal(&changes, &mut rng).unwrap();
        Ok((changes, commit, pending))
    }

    /// One event: transition, commit, apply.
    pub fn handle(&mut self, event: Event) -> Result<(), WalletError> {
        self.try_handle(event).map_err(Trouble::refusal)
    }

    /// The same where the store may fail, or another window of the wallet may have written.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn try_handle(&mut self, event: Event) -> Result<(), Trouble> {
        loop {
            let (changes, commit, pending) = self.propose(event.clone())?;
            match block_on(self.store.commit(&commit)) {
                Ok(()) => {
                    self.vault.committed(pending);
                    changes.clone().apply(&mut self.state);
                    self.session.forget(&self.state);
                    let gathering = |id: &BackupId| self.state.backups.get(id).is_some_and(Backup::is_gathering);
                    self.segments.retain(|(id, _), _| gathering(id));
                    // After the commit nothing refers to them; what stays is swept at the next start.
                    let _ = block_on(self.store.remove_blobs(&changes.discard));
                    return Ok(());
                }
                Err(StoreError::Superseded { .. }) => self.reload()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Takes over what another window has written.
    ///
    /// # Errors
    /// The store's.
    pub fn reload(&mut self) -> Result<(), StoreError> {
        let stored = block_on(self.store.load())?;
        let state = self.vault.reload(&stored).unwrap();
        let before = std::mem::replace(&mut self.state, state);
        self.state.know_identities_of(&before);
        Ok(())
    }

    fn put_blob(&mut self, name: &str, content: &[u8]) -> Result<(), StoreError> {
        let mut rng = self.rng();
        let mut sealed = Vec::new();
        let sealer = self.vault.blob_sealer(name, &mut rng).unwrap();
        sealer.seal_range(content, 0, sealed_len(content.len() as u64), &mut sealed).unwrap();
        block_on(self.store.put_blob(name, &sealed))
    }

    /// The content of a value on this device.
    pub fn content(&self, id: &ValueId) -> Option<Vec<u8>> {
        Some(self.try_content(id)?.unwrap())
    }

    /// As [`Self::content`]; another window may have changed it meanwhile.
    pub fn try_content(&self, id: &ValueId) -> Option<Result<Vec<u8>, StoreError>> {
        Some(self.read_blob(self.state.values.get(id)?.content.as_ref()?))
    }

    fn read_blob(&self, content: &Content) -> Result<Vec<u8>, StoreError> {
        let sealed = block_on(self.store.blob(&content.blob))?.ok_or(StoreError::BlobGone)?;
        Ok(self.vault.blob_opener(&content.blob, &sealed).unwrap().open(&sealed).unwrap().to_vec())
    }

    /// Puts a value in.
    pub fn add(&mut self, title: &str, content: &[u8]) -> ValueId {
        let (id, event) = self.keep(title, content, false).unwrap();
        self.handle(event).unwrap();
        id
    }

    /// Puts a value in that is described otherwise than others.
    pub fn add_as(&mut self, title: &str, content: &[u8], describe: impl FnOnce(&mut ValueMeta)) -> ValueId {
        let (id, event) = self.keep(title, content, false).unwrap();
        let Event::AddValue(mut meta, content) = event else { unreachable!("it is put in") };
        describe(&mut meta);
        self.handle(Event::AddValue(meta, content)).unwrap();
        id
    }

    /// Puts in a value that may live only once.
    pub fn add_unique(&mut self, title: &str, content: &[u8]) -> ValueId {
        let (id, event) = self.keep(title, content, true).unwrap();
        self.handle(event).unwrap();
        id
    }

    /// Makes the content of a value durable; the event is what refers to it. `unique`: it may live only once.
    ///
    /// # Errors
    /// The store's.
    pub fn keep(&mut self, title: &str, content: &[u8], unique: bool) -> Result<(ValueId, Event), StoreError> {
        let id = ValueId::make_random(&mut self.rng());
        let blob = format!("{id}-0");
        self.put_blob(&blob, content)?;
        let meta = ValueMeta {
            id,
            title: title.to_owned(),
            kind: "note".to_owned(),
            file_name: None,
            mime: "text/plain".to_owned(),
            created: self.now,
            length: content.len() as u64,
            unique: unique.then_some(true),
            tags: None,
            editions: None,
        };
        Ok((id, Event::AddValue(meta, content_of(blob, content))))
    }

    /// Changes the content of a value.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn change(&mut self, id: &ValueId, content: &[u8]) -> Result<(), Trouble> {
        let meta = self.state.values.get(id).ok_or(WalletError::Unknown("value"))?.meta.clone();
        let blob = self.blob_name(&id.to_string());
        self.put_blob(&blob, content)?;
        let content = content_of(blob, content);
        self.try_handle(Event::ChangeValue(meta, Some(content)))
    }

    /// Trusts all safes; returns their ids in order.
    pub fn trust(&mut self, safes: &Safes) -> Vec<SafeId> {
        (0..safes.all.len())
            .map(|i| {
                let known = safes.probe(i, self.now);
                let id = known.id;
                if !self.state.safes.contains_key(&id) {
                    self.handle(Event::AddSafe(known)).unwrap();
                }
                id
            })
            .collect()
    }

    /// The pieces of a segment, and its bodies.
    fn make_bodies(&self, backup: &Backup, segment: u32) -> Result<Made, StoreError> {
        let layout = backup.layout().unwrap();
        let mut bundle = bundle::head(&backup.values);
        for source in &backup.sources {
            bundle.extend_from_slice(&self.read_blob(source)?);
        }
        let (from, to) = layout.range(segment).unwrap();
        let content = Zeroizing::new(bundle[from as usize..to as usize].to_vec());
        let seed = backup.op_seed.as_ref().expect("a registration has its seed");
        let pieces = layout.lay(seed, backup.words.as_ref(), segment, content).unwrap();
        let deposits = backup.deposits.iter().filter(|d| d.segment == segment);
        let bodies = deposits.map(|deposit| {
            let draft = Draft { slot: deposit.slot(), deposit: deposit.id, d: &deposit.d };
            (deposit.id, layout.envelope(seed, &draft, &pieces).unwrap().seal().unwrap())
        });
        let bodies = bodies.collect();
        Ok((pieces, bodies))
    }

    /// Rebuilds a segment from its bodies, as the browser does before it sends what is to be the only copy.
    fn prove(&self, backup: &Backup, segment: u32) -> Result<(), StoreError> {
        let layout = backup.layout().unwrap();
        let mut keys = Vec::new();
        for segment in [0].into_iter().chain((segment > 0).then_some(segment)) {
            let (pieces, made) = self.make_bodies(backup, segment)?;
            let own = [Place::Book, Place::File].map(|place| layout.pieces_at(&place, &pieces));
            let mut sent: Vec<Piece> = own.into_iter().flatten().cloned().collect();
            for (id, body) in made {
                let deposit = backup.deposit(&id).unwrap();
                let plain = Envelope::sealer(&deposit.d, &id, &body).unwrap().open(&body).unwrap();
                sent.extend(layout.unpack(deposit.slot(), &Envelope::of_plain(plain).unwrap()).unwrap());
            }
            let choices = proving::choices(&layout, segment, &keys);
            assert!(!choices.is_empty(), "nothing would bring it back");
            for choice in choices {
                let program = layout.rebuilding(&choice);
                let pieces = proving::pieces_of(&layout, &choice, &sent);
                let mut work = Work::rebuild(&program, layout.context(None, backup.words.as_ref(), &keys), pieces);
                let learned = work.run().and_then(|()| work.into_segment()).expect("it comes back").1;
                keys.extend(learned);
            }
        }
        Ok(())
    }

    fn prepare(&mut self, id: &BackupId, segment: u32) -> Result<(), Trouble> {
        let backup = self.state.backups.get(id).ok_or(WalletError::Unknown("backup"))?.clone();
        let layout = backup.layout()?;
        // Given up meanwhile.
        if backup.operation != Some(Operation::Register) {
            return Ok(());
        }
        if backup.op_seed.is_none() {
            return Err(WalletError::Unknown("backup").into());
        }
        if backup.is_proven_as_sent() {
            self.prove(&backup, segment)?;
        }
        let (pieces, made) = self.make_bodies(&backup, segment)?;
        let bodies = made.iter().map(|(id, body)| (*id, Root(blake3(body)), body.len() as u64)).collect();
        self.bodies.extend(made);
        let kept = keeping::keep(&layout, &Place::Book, &pieces);
        let filed = keeping::keep(&layout, &Place::File, &pieces);
        let mut file = None;
        if !filed.is_empty() {
            let part = keeping::write_part(&filed);
            let blob = self.blob_name(&format!("file-{id}-{segment}"));
            self.put_blob(&blob, &part.0)?;
            file = Some((segment, content_of(blob, &part.0)));
        }
        self.try_handle(Event::Prepared(*id, Prepared { bodies, kept, file }))
    }

    /// A name that no blob had before, in whatever window.
    fn blob_name(&mut self, what: &str) -> String {
        let mut salt = [0; 8];
        rand_core::Rng::fill_bytes(&mut self.rng(), &mut salt);
        format!("{what}-{}", u64::from_be_bytes(salt))
    }

    /// The file of a backup, as the owner downloads it.
    pub fn file_of(&self, backup: &BackupId) -> Zeroizing<Vec<u8>> {
        self.try_file_of(backup).unwrap()
    }

    /// The same where another window may have been told meanwhile that it is saved.
    ///
    /// # Errors
    /// The store's.
    pub fn try_file_of(&self, backup: &BackupId) -> Result<Zeroizing<Vec<u8>>, StoreError> {
        let backup = &self.state.backups[backup];
        let mut parts = backup.file.clone();
        parts.sort_by_key(|(segment, _)| *segment);
        let parts = parts.iter().map(|(_, content)| Ok(Zeroizing::new(self.read_blob(content)?)));
        let parts: Vec<_> = parts.collect::<Result<_, StoreError>>()?;
        Ok(keeping::write_file(&backup.layout().unwrap(), &parts).unwrap())
    }

    /// The owner shows that he has the file.
    pub fn show_file(&mut self, id: &BackupId, file: &[u8]) -> Result<(), PieceFileError> {
        piece_file::read(&self.state.backups[id].layout().unwrap(), file)?;
        self.handle(Event::FileSaved(*id)).unwrap();
        Ok(())
    }

    /// Does one action. `fault` strikes the exchange, if the action is one; of an owner's errand, the question.
    pub fn act(&mut self, action: &Action, safes: &Safes, fault: Fault) -> Result<(), WalletError> {
        if let Action::Relay(backup, deposit, through) = action {
            return self.fetch_through((backup, deposit), through, safes, fault);
        }
        let mut then = self.begin(action).map_err(Trouble::refusal)?;
        loop {
            then = match then {
                Then::Send(sending) => {
                    let look = matches!(action, Action::Owner(..)) && sending.question.is_none();
                    let answer = self.send(&sending, safes, if look { Fault::None } else { fault });
                    self.answered(&sending, answer).map_err(Trouble::refusal)?
                }
                Then::LookAgain(safe, why) => {
                    let seen = safes.find(&safe, self.now + self.ahead);
                    return self.look_again(safe, seen, why).map_err(Trouble::refusal);
                }
                Then::Nothing => return Ok(()),
            }
        }
    }

    /// One errand of the owner, as the browser runs it: a look, a question, and what its answer means. This is the look.
    fn look_as_owner(&mut self, action: &Action, safe: &SafeId, errand: owner::Errand) -> Result<Then, Trouble> {
        match owner::barred(&self.state, safe, errand).filter(|_| self.visitor.is_none()) {
            Some(Meaning::Event(event)) => return self.try_handle(*event).map(|()| Then::Nothing),
            Some(Meaning::Refused(why)) => {
                self.session.owner_refusals.insert(*safe, why);
                return Ok(Then::Nothing);
            }
            _ => {}
        }
        let (Some(of), Some(known)) = (&self.state.owner, self.state.safes.get(safe)) else { return Ok(Then::Nothing) };
        let request = owner::look_request(&known.url, &of.name_key, safe);
        let (action, body) = (action.clone(), Vec::new());
        Ok(Then::Send(Box::new(Sending { action, request, body, asked: Vec::new(), question: None })))
    }

    fn owner_answered(&mut self, sending: &Sending, answer: Option<Answer>) -> Result<Then, Trouble> {
        let Action::Owner(safe, errand) = &sending.action else { return Ok(Then::Nothing) };
        let meaning = match &sending.question {
            None => match owner::read_look(answer) {
                Ok(look) => return Ok(self.ask_as_owner(sending, safe, *errand, &look)),
                Err(meaning) => meaning,
            },
            Some(question) => {
                let Some(asked) = question.borrow_mut().take() else { return Ok(Then::Nothing) };
                owner::interpret(&self.state, safe, *errand, asked, answer)
            }
        };
        match meaning {
            Meaning::Event(event) => {
                self.session.reached(*safe);
                self.try_handle(*event)?;
            }
            Meaning::Ticket(ticket) => {
                self.session.answers(*safe);
                self.session.set_ticket(*safe, ticket, self.now);
            }
            Meaning::Later(contact, why) => self.session.failed(*safe, contact, why, self.now),
            Meaning::Refused(why) => drop(self.session.owner_refusals.insert(*safe, why)),
            Meaning::Clock(theirs) => self.session.set_clock(*safe, theirs, self.now),
            Meaning::Descriptor => return Ok(Then::LookAgain(*safe, "cannot read what is sealed to it".to_owned())),
            other => panic!("{other:?}"),
        }
        Ok(Then::Nothing)
    }

    fn ask_as_owner(&mut self, sending: &Sending, safe: &SafeId, errand: owner::Errand, look: &Look) -> Then {
        self.session.set_clock(*safe, look.time, self.now);
        let (mut rng, visitor) = (self.rng(), self.visitor.as_ref().map(|known| known.channel(safe)));
        if !owner::is_due(&self.state, safe, errand) {
            return Then::Nothing;
        }
        match owner::question_by(&self.state, safe, errand, look, visitor.as_ref(), &mut rng) {
            Ok((request, asked)) => {
                let (action, body) = (sending.action.clone(), request.body.clone().unwrap());
                let question = Some(Rc::new(RefCell::new(Some(asked))));
                Then::Send(Box::new(Sending { action, request, body, asked: Vec::new(), question }))
            }
            Err(_) => Then::LookAgain(*safe, "has no key to seal to now".to_owned()),
        }
    }

    /// Has a body brought by another safe, as the browser does. `fault` strikes what comes last: the claim, or what was on its way to it.
    fn fetch_through(
        &mut self,
        (backup, deposit): (&BackupId, &DepositId),
        through: &SafeId,
        safes: &Safes,
        fault: Fault,
    ) -> Result<(), WalletError> {
        let (now, errand) = (self.now + self.ahead, Errand::Retrieve);
        if self.state.owner.is_none() {
            return Ok(());
        }
        let keeper = self.state.backups[backup].deposit(deposit).unwrap().safe;
        let lacks = self.session.lacks_ticket(&self.state, (backup, deposit), errand, self.now);
        let asked = match lacks {
            Some((safe, right)) => self.ticket_through(&safe, right, through, safes, (now, fault)),
            None => Ok(()),
        };
        if let Some((safe, _)) = lacks
            && let Err(hindered) = &asked
            && let (about, Meaning::Refused(why)) = &**hindered
            && *about == safe
        {
            self.session.owner_refusals.insert(safe, why.clone());
        }
        let answer = asked.and_then(|()| {
            let (clock, mut rng) = (self.session.clock_of(&keeper, self.now), self.rng());
            let ticket = self.session.ticket(&keeper, errand);
            let load = Load::claim(&self.state, (backup, deposit), ticket, clock, &mut rng).unwrap();
            // The clock goes on while the other safe is looked at.
            self.now += 1;
            self.carry(load, through, safes, (now, if lacks.is_none() { fault } else { Fault::None }))
        });
        let (about, meaning) = match answer {
            Ok(answer) => (keeper, exchange::interpret(&self.state, backup, deposit, errand, None, Some(answer))),
            Err(hindered) => *hindered,
        };
        let meaning = match meaning {
            Meaning::Body(body) => self.open_body(backup, deposit, &body),
            other => other,
        };
        let fetch = match meaning {
            Meaning::Pieces(pieces) => {
                self.session.reached(*through);
                self.session.recoveries.entry(*backup).or_default().pieces.insert(*deposit, pieces);
                Fetch::Got
            }
            Meaning::Lied(why) => Fetch::Lied(why),
            Meaning::Refused(why) => Fetch::Refused(why),
            Meaning::Later(contact, why) => {
                self.session.failed(about, contact, why, self.now);
                Fetch::Away
            }
            Meaning::Clock(theirs) => {
                self.session.set_clock(about, theirs, self.now);
                return Ok(());
            }
            other => panic!("{other:?}"),
        };
        self.session.recoveries.entry(*backup).or_default().fetches.insert(*deposit, fetch);
        Ok(())
    }

    fn ticket_through(
        &mut self,
        safe: &SafeId,
        right: Right,
        through: &SafeId,
        safes: &Safes,
        (now, fault): (Seconds, Fault),
    ) -> Result<(), Hindered> {
        let errand = owner::Errand::Ticket(right);
        if let Some(meaning) = owner::barred(&self.state, safe, errand) {
            return Err(Box::new((*safe, meaning)));
        }
        let of = self.state.owner.clone().unwrap();
        let request = owner::look_request(&self.state.safes[safe].url, &of.name_key, safe);
        let load = Load::look(&self.state, &request).unwrap();
        let look = self.carry(load, through, safes, (now, Fault::None))?;
        let look = owner::read_look(Some(look)).map_err(|meaning| Box::new((*safe, meaning)))?;
        self.session.set_clock(*safe, look.time, self.now);
        let mut rng = self.rng();
        let (request, asked) = owner::question(&self.state, safe, errand, &look, &mut rng).unwrap();
        let load = Load::question(&self.state, &request).unwrap();
        let answer = self.carry(load, through, safes, (now, fault))?;
        match owner::interpret(&self.state, safe, errand, asked, Some(answer)) {
            Meaning::Ticket(ticket) => self.session.set_ticket(*safe, ticket, self.now),
            other => return Err(Box::new((*safe, other))),
        }
        Ok(())
    }

    fn carry(
        &mut self,
        load: Load,
        through: &SafeId,
        safes: &Safes,
        (now, fault): (Seconds, Fault),
    ) -> Result<Answer, Hindered> {
        let of = self.state.owner.clone().unwrap();
        let look = owner::look_request(&self.state.safes[through].url, &of.name_key, through);
        let look =
            owner::read_look(safes.send(&look, Vec::new(), now)).map_err(|meaning| Box::new((*through, meaning)))?;
        let (clock, mut rng) = (self.session.clock_of(&load.to(), self.now), self.rng());
        let (request, asked) =
            relaying::errand(&self.state, load, through, &look, clock, &mut rng).map_err(|(_, error)| error).unwrap();
        let send = || safes.send(&request, request.body.clone().unwrap(), now);
        let answer = match fault {
            Fault::None => send(),
            Fault::LostBefore => None,
            Fault::LostAfter => send().and(None),
            Fault::Twice => send().and_then(|_| send()),
        };
        relaying::interpret(&self.state, through, &asked, answer)
    }

    /// Does what is to be done here; what is to be sent is returned.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn begin(&mut self, action: &Action) -> Result<Then, Trouble> {
        match action {
            Action::Prepare(id, segment) => self.prepare(id, *segment)?,
            Action::Send(backup, deposit, errand) => return self.exchange(action, backup, deposit, *errand),
            Action::Gather(id, segment) => self.gather(id, *segment)?,
            Action::Finish(id) => self.finish(id)?,
            Action::Vacate(id) => self.try_handle(Event::Vacate(*id))?,
            Action::Audit(safe) => return Ok(self.audit(action, safe)),
            Action::Replace(id) => self.try_handle(Event::Replace(*id))?,
            Action::ApplyRule(value) => {
                let room = self.session.room(&self.state);
                self.try_handle(Event::ApplyRule(*value, room))?;
            }
            Action::WriteChapter => self.write_chapter()?,
            Action::Owner(safe, errand) => return self.look_as_owner(action, safe, *errand),
            _ => unreachable!("no such action"),
        }
        Ok(Then::Nothing)
    }

    fn exchange(
        &mut self,
        action: &Action,
        backup: &BackupId,
        deposit: &DepositId,
        errand: Errand,
    ) -> Result<Then, Trouble> {
        let safe = self.state.backups.get(backup).and_then(|b| b.deposit(deposit)).map(|d| d.safe);
        let clock = safe.map_or(self.now, |safe| self.session.clock_of(&safe, self.now));
        let mut rng = self.rng();
        let ticket = safe.and_then(|safe| self.session.ticket(&safe, errand));
        let request = match (exchange::request(&self.state, backup, deposit, errand, ticket, clock, &mut rng), safe) {
            (Err(WalletError::Identity(error)), Some(safe)) => return Ok(Then::LookAgain(safe, error.to_string())),
            (request, _) => request?,
        };
        let body = match request.body.clone() {
            Some(body) => body,
            None => self.body_of(backup, deposit)?,
        };
        Ok(Then::Send(Box::new(Sending { action: action.clone(), request, body, asked: Vec::new(), question: None })))
    }

    fn audit(&mut self, action: &Action, safe: &SafeId) -> Then {
        let batch = upkeep::batch(&self.state, safe, self.now);
        let clock = self.session.clock_of(safe, self.now);
        let mut rng = self.rng();
        match audits::request(&self.state, safe, &batch, clock, &mut rng) {
            Ok(audit) => {
                let body = audit.request.body.clone().unwrap();
                let Audit { request, asked } = audit;
                Then::Send(Box::new(Sending { action: action.clone(), request, body, asked, question: None }))
            }
            Err(WalletError::Identity(error)) => Then::LookAgain(*safe, error.to_string()),
            // Released meanwhile: there is nothing to ask.
            Err(_) => Then::Nothing,
        }
    }

    fn send(&self, sending: &Sending, safes: &Safes, fault: Fault) -> Option<Answer> {
        let send = || safes.send(&sending.request, sending.body.clone(), self.now + self.ahead);
        match fault {
            Fault::None => send(),
            Fault::LostBefore => None,
            Fault::LostAfter => {
                send();
                None
            }
            Fault::Twice => {
                send();
                send()
            }
        }
    }

    /// An answer has come, or will not come any more.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn answered(&mut self, sending: &Sending, answer: Option<Answer>) -> Result<Then, Trouble> {
        let safe = sending.request.safe;
        let Action::Send(backup, deposit, errand) = &sending.action else {
            return match sending.action {
                Action::Owner(..) => self.owner_answered(sending, answer),
                _ => self.audit_answered(sending, answer),
            };
        };
        let (backup, deposit, errand) = (backup, deposit, *errand);
        let meaning = match exchange::interpret(&self.state, backup, deposit, errand, Some(&sending.body), answer) {
            Meaning::Body(body) => self.open_body(backup, deposit, &body),
            other => other,
        };
        if errand == Errand::Renew && matches!(meaning, Meaning::Event(_) | Meaning::Refused(_) | Meaning::Lied(_)) {
            self.session.renewed(deposit);
        }
        match meaning {
            Meaning::Event(event) => {
                self.session.reached(safe);
                match self.try_handle(*event) {
                    Err(Trouble::Wallet(WalletError::Certificate(error))) => {
                        if errand == Errand::Renew {
                            self.session.not_renewed(deposit);
                        }
                        return Ok(Then::LookAgain(safe, error.to_string()));
                    }
                    // The deposit was given up meanwhile.
                    Err(Trouble::Wallet(WalletError::Unknown(_))) => {}
                    other => other?,
                }
            }
            Meaning::Pieces(pieces) => {
                self.session.reached(safe);
                self.session.recoveries.entry(*backup).or_default().pieces.insert(*deposit, pieces);
                self.fetched(backup, deposit, Fetch::Got);
            }
            Meaning::Lied(what) => {
                self.fetched(backup, deposit, Fetch::Lied(what.clone()));
                self.try_handle(exchange::note_of_lie(&self.state, &safe, &what))?;
            }
            Meaning::Registered(answer) => {
                self.session.reached(safe);
                let known = self.state.backups.get(backup).cloned();
                if let (Errand::Propose(proposal), Some(known)) = (errand, known) {
                    let event = self.session.registered(&known, deposit, &proposal, answer, self.now);
                    event.map_or(Ok(()), |event| self.try_handle(event))?;
                }
            }
            Meaning::Unaware => {
                self.session.reached(safe);
                if let Some(known) = self.state.backups.get(backup) {
                    self.session.unaware(known, deposit);
                }
            }
            Meaning::Clock(theirs) => self.session.set_clock(safe, theirs, self.now),
            Meaning::Later(contact, why) => {
                self.session.failed(safe, contact, why, self.now);
                self.unanswered(backup, deposit, errand, Fetch::Away);
            }
            Meaning::Descriptor => return Ok(Then::LookAgain(safe, "cannot read what is sealed to it".to_owned())),
            Meaning::Refused(why) => match errand {
                Errand::Retrieve | Errand::Propose(_) => self.unanswered(backup, deposit, errand, Fetch::Refused(why)),
                Errand::Renew => {}
                _ => drop(self.session.refusals.insert(*deposit, why)),
            },
            _ => unreachable!("no such meaning"),
        }
        Ok(Then::Nothing)
    }

    /// A safe gave no piece, or said nothing of whose it is.
    fn unanswered(&mut self, backup: &BackupId, deposit: &DepositId, errand: Errand, fetch: Fetch) {
        let Some(known) = self.state.backups.get(backup) else { return };
        match errand {
            Errand::Propose(_) if known.must_claim() => self.session.unregistered(known, deposit, self.now),
            Errand::Retrieve | Errand::Propose(_) => self.fetched(backup, deposit, fetch),
            _ => {}
        }
    }

    fn audit_answered(&mut self, sending: &Sending, answer: Option<Answer>) -> Result<Then, Trouble> {
        let safe = sending.request.safe;
        let clock = self.session.clock_of(&safe, self.now);
        match audits::interpret(&sending.asked, answer, clock) {
            Meaning::Event(event) => {
                self.try_handle(*event)?;
                self.session.reached(safe);
                self.session.look_for_renewals(&self.state, &safe, self.now);
            }
            Meaning::Later(contact, why) => self.session.failed(safe, contact, why, self.now),
            Meaning::Clock(theirs) => self.session.set_clock(safe, theirs, self.now),
            Meaning::Descriptor => return Ok(Then::LookAgain(safe, "finds what it is sent too old".to_owned())),
            Meaning::Refused(_) => {
                let batch = sending.asked.iter().map(|asked| (asked.backup, asked.deposit, Shown::Unclear));
                self.try_handle(Event::Audited(batch.collect()))?;
            }
            other => panic!("an audit means {other:?}"),
        }
        Ok(Then::Nothing)
    }

    /// What a safe's descriptor says now, as [`Self::act`] wants to know it; `None`: the safe is away.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn look_again(&mut self, safe: SafeId, seen: Option<(KnownSafe, Seconds)>, why: String) -> Result<(), Trouble> {
        let clock = self.session.clock_of(&safe, self.now);
        let chain = self.state.safes.get(&safe).map(|known| known.chain.clone());
        self.see(safe, seen)?;
        let same = self.state.safes.get(&safe).map(|known| known.chain.clone()) == chain;
        let known = self.session.clock_of(&safe, self.now).abs_diff(clock) <= CLOCK_SLACK;
        if same && known && self.session.contact(&safe).0 == Contact::Reachable {
            self.session.failed(safe, Contact::NotItself, why, self.now);
        }
        Ok(())
    }

    /// What a safe's descriptor says now, as at every unlock; `None`: the safe is away.
    ///
    /// # Errors
    /// [`Trouble`].
    pub fn see(&mut self, safe: SafeId, seen: Option<(KnownSafe, Seconds)>) -> Result<(), Trouble> {
        let Some((seen, clock)) = seen else {
            self.session.failed(safe, Contact::Away, "does not answer".to_owned(), self.now);
            return Ok(());
        };
        self.session.reached(safe);
        self.session.set_clock(safe, clock, self.now);
        if self.state.safes.get(&safe).is_some_and(|known| known.chain != seen.chain) {
            self.try_handle(Event::SafeSeen(seen))?;
        }
        self.session.look_for_renewals(&self.state, &safe, self.now);
        Ok(())
    }

    /// Fetches a safe's descriptor, as at every unlock.
    pub fn look_at(&mut self, safe: &SafeId, safes: &Safes) -> Result<(), WalletError> {
        let seen = safes.find(safe, self.now).unwrap().0;
        self.handle(Event::SafeSeen(seen))?;
        self.session.look_for_renewals(&self.state, safe, self.now);
        Ok(())
    }

    fn open_body(&self, backup: &BackupId, deposit: &DepositId, body: &[u8]) -> Meaning {
        if let Err(lie) = exchange::check_body(&self.state, backup, deposit, Root(blake3(body)), body.len() as u64) {
            return lie;
        }
        let d = &self.state.backups[backup].deposit(deposit).unwrap().d;
        let plain = Envelope::sealer(d, deposit, body).and_then(|sealer| Ok(sealer.open(body)?));
        exchange::opened(&self.state, backup, deposit, plain.ok())
    }

    fn fetched(&mut self, backup: &BackupId, deposit: &DepositId, fetch: Fetch) {
        self.session.recoveries.entry(*backup).or_default().fetches.insert(*deposit, fetch);
    }

    fn body_of(&mut self, backup: &BackupId, deposit: &DepositId) -> Result<Vec<u8>, StoreError> {
        if !self.bodies.contains_key(deposit) {
            let backup = self.state.backups[backup].clone();
            let segment = backup.deposit(deposit).unwrap().segment;
            let (_, made) = self.make_bodies(&backup, segment)?;
            self.bodies.extend(made);
        }
        let body = self.bodies[deposit].clone();
        let before = self.sent.insert(*deposit, body.clone());
        assert!(before.is_none_or(|b| b == body), "a retry sent other bytes");
        Ok(body)
    }

    fn gather(&mut self, id: &BackupId, segment: u32) -> Result<(), Trouble> {
        let Some(backup) = self.state.backups.get(id) else { return Ok(()) };
        let layout = backup.layout()?;
        let empty = Recovery::default();
        let recovery = self.session.recoveries.get(id).unwrap_or(&empty);
        let choice = self.session.need(backup, recovery, segment, self.now).choice;
        // Given up meanwhile.
        let Some(choice) = choice else { return Ok(()) };
        let recovery = self.session.recoveries.entry(*id).or_default();
        let pieces = recovery.take(backup, &layout, &choice);
        let program = layout.rebuilding(&choice);
        let (words, keys) = (recovery.words.clone(), recovery.keys.clone());
        let mut work = Work::rebuild(&program, layout.context(None, words.as_ref(), &keys), pieces);
        match work.run().and_then(|()| work.into_segment()) {
            Ok((content, learned)) => {
                recovery.gathered(backup, &layout, segment, learned);
                self.segments.insert((*id, segment), content);
                Ok(())
            }
            Err(error) => match recovery.not_gathered(&error) {
                Ok(()) => Ok(()),
                Err(why) => self.try_handle(Event::RecoveryFailed(*id, why)),
            },
        }
    }

    fn finish(&mut self, id: &BackupId) -> Result<(), Trouble> {
        let Some(backup) = self.state.backups.get(id).cloned() else { return Ok(()) };
        let layout = backup.layout()?;
        let mut bundle = vec![0; backup.bundle as usize];
        for segment in backup.wanted_segments(&layout) {
            let (from, to) = layout.range(segment).unwrap();
            // Ended meanwhile, in another window.
            let Some(content) = self.segments.get(&(*id, segment)) else { return Ok(()) };
            bundle[from as usize..to as usize].copy_from_slice(content);
        }
        let mut values = Vec::new();
        for (meta, range) in bundle::ranges(&backup.values).filter(|(meta, _)| backup.is_wanted(&meta.id)) {
            let blob = self.blob_name(&meta.id.to_string());
            let content = &bundle[range.start as usize..range.end as usize];
            if backup.operation == Some(Operation::Recover) {
                self.put_blob(&blob, content)?;
            }
            values.push((meta.clone(), content_of(blob, content)));
        }
        let event = if let (Some(_), [(_, content)]) = (&backup.chapter, &values[..]) {
            let book = Book::read_own(&self.read_blob(content)?).ok();
            Event::ChapterRead(*id, content.clone(), book)
        } else if backup.operation == Some(Operation::Drill) {
            Event::Drilled(*id, values.into_iter().map(|(_, content)| content).collect())
        } else {
            Event::Recovered(*id, values, self.session.unused(&self.state, &backup))
        };
        self.try_handle(event)
    }

    fn write_chapter(&mut self) -> Result<(), Trouble> {
        let Some(due) = book::due(&self.state, &self.session, self.now) else { return Ok(()) };
        let content = if due.names.is_empty() {
            None
        } else {
            let (content, blob) = (book::chapter_of(&self.state, &due), self.blob_name("chapter"));
            self.put_blob(&blob, &content)?;
            let meta = book::describe_chapter(content.len() as u64, self.now, &mut self.rng());
            Some((meta, content_of(blob, &content)))
        };
        self.try_handle(Event::WriteChapter(Box::new(WriteChapter { due, content })))
    }

    /// Acts until nothing is left to do or `steps` actions are done. Returns how many were done.
    pub fn run(&mut self, safes: &Safes, steps: usize) -> usize {
        for done in 0..steps {
            let Some(action) = self.session.actions(&self.state, self.now).into_iter().next() else { return done };
            self.act(&action, safes, Fault::None).unwrap();
        }
        steps
    }

    /// The backup of a value.
    pub fn backup_of(&self, value: &ValueId) -> BackupId {
        self.state.values[value].backup.expect("the value has a backup")
    }

    /// Starts a registration over all safes.
    pub fn register(&mut self, value: ValueId, safes: &[SafeId], k: usize) -> BackupId {
        self.back_up(&[value], Plan::spread(k, safes).unwrap(), None).unwrap()
    }

    /// Starts a registration by any plan.
    pub fn back_up(
        &mut self,
        values: &[ValueId],
        plan: Plan<SafeId>,
        words: Option<&Secret>,
    ) -> Result<BackupId, WalletError> {
        self.back_up_as(values, plan, words, false)
    }

    /// Starts a registration by any plan, after which the values are no longer here if they are moved.
    pub fn back_up_as(
        &mut self,
        values: &[ValueId],
        plan: Plan<SafeId>,
        words: Option<&Secret>,
        moving: bool,
    ) -> Result<BackupId, WalletError> {
        let backup = BackupId::make_random(&mut self.rng());
        let (values, words, face) = (values.to_vec(), words.cloned(), FaceWish::default());
        self.handle(Event::Register(Wish { backup, values, plan, words, face, moving }))?;
        Ok(backup)
    }

    /// Everything the wallet would write about itself, for tests that look for secrets in records.
    pub fn rows(&self) -> Vec<Row> {
        self.state.backups.values().map(|b| Row::Backup(Box::new(b.clone()))).collect()
    }
}
