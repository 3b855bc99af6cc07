//! A safe in memory: the machine and the flow over maps. Tests and simulations run on it.
//!
//! It has opinions: a write never changes the value that a key holds, and every call can be made to fail before or after its effect, to happen
//! twice or late, or to be the last one before the Worker stops ([`Fault`]). Its storage can lag as KV does.

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, BTreeSet},
    future::{pending, poll_fn},
    task::Poll,
};

use protocol::{
    certificate::read_unverified,
    codec::Bytes,
    crypto::{CryptoError, HpkePrivateKey, Secret, blake3, expand_seed},
    deposit::{DEFAULT_BODY_LIMIT, LEASE},
    identity::{Identity, Limits, SafeKeys},
    ids::{AccountId, DepositId, SafeId, Seconds, TokenId},
    problem::Problem,
    seal::Sealer,
};

use crate::{
    account::{self, Row, Use, fits},
    flow::{self, Answer, Head, Platform, Policy, Presence, Safe},
    machine::{self, CLAIM_LIMIT, CONFIRM_SPAN, Config, Keys, Reply, Request},
    operator::{self, Day, USAGE_PAGE},
    owner::{self, Digest, Shelf, record::OwnerRecord},
    record::Record,
};

/// The limits of a safe with default settings.
pub const LIMITS: Limits = Limits { body: DEFAULT_BODY_LIMIT, lease: LEASE, confirm: CONFIRM_SPAN, claim: CLAIM_LIMIT };

/// What happens to one call of the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has no effect.
    FailsBefore,
    /// It has its effect, and its answer is lost.
    FailsAfter,
    /// It has its effect twice; the second answer counts.
    Twice,
    /// Its answer is lost, and its effect comes when [`MemorySafe::catch_up`] is called.
    Late,
    /// The Worker stops ahead of it.
    StopsBefore,
    /// The Worker stops behind it.
    StopsAfter,
}

/// All faults.
pub const FAULTS: [Fault; 6] =
    [Fault::FailsBefore, Fault::FailsAfter, Fault::Twice, Fault::Late, Fault::StopsBefore, Fault::StopsAfter];

/// One call of the platform.
#[derive(Debug, Clone)]
enum Op {
    Ledger(DepositId, Request),
    Account(TokenId, account::Request),
    Owner(AccountId, Box<owner::Request>),
    Operator(operator::Request),
    Put(String, Vec<u8>),
    Get(String),
    Delete(String),
}

enum Done {
    Ledger(Reply),
    Account(account::Reply),
    Owner(owner::Reply),
    Operator(operator::Reply),
    Got(Option<Vec<u8>>),
    Nothing,
}

/// An owner's record and the head of the book beside it.
#[derive(Debug, Clone, Default)]
struct StoredOwner {
    record: Vec<u8>,
    head: Option<Vec<u8>>,
    past: BTreeMap<Digest, Vec<u8>>,
    alarm: Option<Seconds>,
}

impl Shelf for StoredOwner {
    fn newest(&self) -> Result<Option<Vec<u8>>, Problem> {
        Ok(self.head.clone())
    }

    fn past(&self, digest: &Digest) -> Result<Option<Vec<u8>>, Problem> {
        Ok(self.past.get(digest).cloned())
    }
}

#[derive(Default)]
struct AccountState {
    rows: BTreeMap<Row, u64>,
    noted: bool,
}

/// A safe whose storage is a few maps. Times are given with every call.
pub struct MemorySafe {
    config: Config,
    keys: Keys,
    presence: Presence,
    policy: Policy,
    operator: SafeKeys,
    seed: Secret,
    drawn: Cell<u64>,
    records: RefCell<BTreeMap<DepositId, Vec<u8>>>,
    alarms: RefCell<BTreeMap<DepositId, Seconds>>,
    owners: RefCell<BTreeMap<AccountId, StoredOwner>>,
    accounts: RefCell<BTreeMap<TokenId, AccountState>>,
    tokens: RefCell<BTreeSet<TokenId>>,
    day: Cell<Day>,
    bodies: RefCell<BTreeMap<String, Vec<u8>>>,
    /// What a lagging storage still shows; `None`: it does not lag.
    shown: RefCell<Option<BTreeMap<String, Vec<u8>>>>,
    faults: RefCell<BTreeMap<u64, Fault>>,
    calls: Cell<u64>,
    interleaved: Cell<bool>,
    late: RefCell<Vec<(Seconds, Op)>>,
    peers: RefCell<Option<Box<Peers>>>,
}

/// What a safe had stored at one moment.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The ledger.
    pub records: BTreeMap<DepositId, Vec<u8>>,
    alarms: BTreeMap<DepositId, Seconds>,
    owners: BTreeMap<AccountId, StoredOwner>,
    /// The bodies, by key.
    pub bodies: BTreeMap<String, Vec<u8>>,
}

/// The other safes: what is at an address answers a body.
pub type Peers = dyn Fn(&str, Vec<u8>, Seconds) -> Option<Answer>;

struct Call<'a> {
    safe: &'a MemorySafe,
    now: Seconds,
    body: Option<Vec<u8>>,
}

impl MemorySafe {
    /// A safe with keys and randomness from a seed.
    ///
    /// # Errors
    /// Never for the primitives in use; the type is theirs.
    pub fn new(name: &str, seed: &Secret, now: Seconds) -> Result<Self, CryptoError> {
        let made = SafeKeys::make_random(&mut expand_seed(seed), now)?;
        let identity = Bytes(made.identity.verifying_key().to_compressed().to_vec());
        Ok(Self {
            config: Config { safe: made.id(), url: format!("https://{name}.test"), entry: 1, limits: LIMITS },
            presence: Presence { name: name.to_owned(), identity, chain: made.chain.clone(), whereabouts: None },
            keys: Keys {
                signing: made.signing.clone(),
                hpke: vec![(1, made.hpke.clone())],
                owner: Some(protocol::crypto::derive_secret(seed, "owner", b"")),
            },
            policy: Policy::default(),
            operator: made,
            seed: seed.clone(),
            drawn: Cell::new(0),
            records: RefCell::default(),
            alarms: RefCell::default(),
            owners: RefCell::default(),
            accounts: RefCell::default(),
            tokens: RefCell::default(),
            day: Cell::default(),
            bodies: RefCell::default(),
            shown: RefCell::default(),
            faults: RefCell::default(),
            calls: Cell::new(0),
            interleaved: Cell::new(false),
            late: RefCell::default(),
            peers: RefCell::default(),
        })
    }

    /// The same safe with another policy.
    #[must_use]
    pub fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The operator makes new working keys; the old HPKE key still opens. With `revoke`, the entry in use so far is revoked.
    ///
    /// # Errors
    /// Never for the primitives in use.
    pub fn rotate(&mut self, now: Seconds, revoke: bool) -> Result<(), CryptoError> {
        let revoked = revoke.then_some(self.config.entry);
        self.operator.rotate(&mut expand_seed(&self.draw()), now, revoked)?;
        self.config.entry += 1;
        self.keys.signing = self.operator.signing.clone();
        self.keys.hpke.insert(0, (self.config.entry, self.operator.hpke.clone()));
        // As on the edge: the present one and the one before.
        self.keys.hpke.truncate(2);
        self.presence.chain.clone_from(&self.operator.chain);
        Ok(())
    }

    /// The keys that claims are sealed to, by number of their entry.
    pub fn keys(&self) -> &[(u32, HpkePrivateKey)] {
        &self.keys.hpke
    }

    /// The safe's id.
    pub const fn id(&self) -> SafeId {
        self.config.safe
    }

    /// The safe's address.
    pub fn url(&self) -> &str {
        &self.config.url
    }

    /// The safe's chain, checked.
    ///
    /// # Errors
    /// Never: it is the safe's own.
    pub fn identity(&self) -> Result<Identity, protocol::identity::IdentityError> {
        Identity::verify(&self.presence.identity, &self.presence.chain)
    }

    /// Handles one HTTP request.
    pub async fn handle(&self, head: &Head, body: Vec<u8>, now: Seconds) -> Answer {
        let mut call = Call { safe: self, now, body: Some(body) };
        let (config, keys, presence, policy) = (&self.config, &self.keys, &self.presence, &self.policy);
        flow::handle(&mut call, head, &Safe { config, keys, presence, policy, now }).await
    }

    /// Wakes every object whose alarm is due, once.
    pub async fn run_alarms(&self, now: Seconds) {
        let due: Vec<DepositId> =
            self.alarms.borrow().iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            // An alarm whose handler does not come to its end goes off again, as the platform promises; a step that it takes sets its own.
            self.alarms.borrow_mut().insert(id, now + machine::ERASE_RETRY);
            let call = Call { safe: self, now, body: None };
            if flow::wake(&call, &id).await.is_err() {
                // As the object does: it arms itself again.
                self.alarms.borrow_mut().insert(id, now + machine::ERASE_RETRY);
            }
        }
        let awake = |stored: &StoredOwner| stored.alarm.is_some_and(|at| at <= now);
        let due: Vec<AccountId> =
            self.owners.borrow().iter().filter(|(_, stored)| awake(stored)).map(|(id, _)| *id).collect();
        for account in due {
            let call = Call { safe: self, now, body: None };
            // What fails is due again the next time.
            let _ = flow::wake_owner(&call, &account).await;
        }
    }

    /// When the next object is to be woken.
    pub fn next_alarm(&self) -> Option<Seconds> {
        let owners = self.owners.borrow();
        self.alarms.borrow().values().copied().chain(owners.values().filter_map(|owner| owner.alarm)).min()
    }

    /// What this safe finds where it asks another one.
    pub fn set_peers(&self, peers: impl Fn(&str, Vec<u8>, Seconds) -> Option<Answer> + 'static) {
        *self.peers.borrow_mut() = Some(Box::new(peers));
    }

    /// Faults by the number of the call, counted from now on.
    pub fn set_faults(&self, faults: impl IntoIterator<Item = (u64, Fault)>) {
        self.calls.set(0);
        *self.faults.borrow_mut() = faults.into_iter().collect();
    }

    /// Calls since [`Self::set_faults`].
    pub fn calls(&self) -> u64 {
        self.calls.get()
    }

    /// Whether other requests may come between any two calls of one.
    pub fn set_interleaved(&self, interleaved: bool) {
        self.interleaved.set(interleaved);
    }

    /// Late effects come now.
    pub fn catch_up(&self) {
        let late: Vec<_> = self.late.borrow_mut().drain(..).collect();
        for (now, op) in late {
            // Nobody is there to hear how it went.
            let _ = self.apply(&op, now);
        }
    }

    /// From now on, reads show the storage as it is at this moment, until [`Self::settle`].
    pub fn lag(&self) {
        *self.shown.borrow_mut() = Some(self.bodies.borrow().clone());
    }

    /// Reads show the storage as it is.
    pub fn settle(&self) {
        *self.shown.borrow_mut() = None;
    }

    /// (ledger records, bodies): what is stored, for tests that look for leftovers.
    pub fn counts(&self) -> (usize, usize) {
        (self.records.borrow().len(), self.bodies.borrow().len())
    }

    /// How many owners' records are stored.
    pub fn owners(&self) -> usize {
        self.owners.borrow().len()
    }

    /// What is remembered of each owner.
    pub fn owner_records(&self) -> Vec<(AccountId, OwnerRecord)> {
        let owners = self.owners.borrow();
        owners.iter().filter_map(|(id, stored)| Some((*id, OwnerRecord::parse(&stored.record).ok()?))).collect()
    }

    /// Alters what is remembered of each owner: what a faulty safe or a dishonest operator does.
    pub fn alter_owners(&self, alter: impl Fn(&mut OwnerRecord)) {
        for stored in self.owners.borrow_mut().values_mut() {
            if let Ok(mut record) = OwnerRecord::parse(&stored.record) {
                alter(&mut record);
                stored.record = record.encode();
            }
        }
    }

    /// Keys of all stored bodies.
    pub fn body_keys(&self) -> Vec<String> {
        self.bodies.borrow().keys().cloned().collect()
    }

    /// The record of a deposit.
    pub fn record(&self, deposit: &DepositId) -> Option<Record> {
        self.records.borrow().get(deposit).and_then(|bytes| Record::parse(bytes).ok())
    }

    /// Whether it stands by a deposit: a certificate is out, nobody let it go, and the body that was certified is there.
    pub fn holds(&self, deposit: &DepositId) -> bool {
        self.body(deposit).is_some()
    }

    /// The body that it stands by.
    pub fn body(&self, deposit: &DepositId) -> Option<Vec<u8>> {
        let record = self.record(deposit).filter(|record| record.release.is_none())?;
        let certified = record.certificate.and_then(|signed| read_unverified(&signed).ok())?;
        let bodies = self.bodies.borrow();
        let long = usize::try_from(certified.length).unwrap_or(usize::MAX);
        // Behind the body stand the leaves of its tree.
        let body = bodies.get(&flow::body_key(deposit, &record.committed?))?.get(..long)?;
        (blake3(body) == certified.root.0).then(|| body.to_vec())
    }

    /// What a token's holder uses.
    pub fn used(&self, token: &TokenId) -> Use {
        self.accounts.borrow().get(token).map_or_else(Use::default, sum)
    }

    /// Everything that is stored, as one byte string: what a thief of the database reads.
    pub fn dump(&self) -> Vec<u8> {
        let records = self.records.borrow();
        let bodies = self.bodies.borrow();
        let keys = bodies.keys().flat_map(|key| key.bytes());
        let owners = self.owners.borrow();
        let heads =
            |owner: &StoredOwner| owner.head.iter().chain(owner.past.values()).flatten().copied().collect::<Vec<u8>>();
        let owners = owners.values().flat_map(|owner| owner.record.iter().copied().chain(heads(owner)));
        records.values().chain(bodies.values()).flatten().copied().chain(owners).chain(keys).collect()
    }

    /// Alters every stored body: what a bad disk or a dishonest operator does.
    pub fn corrupt(&self, alter: impl Fn(&mut Vec<u8>)) {
        self.corrupt_where(|_| true, alter);
    }

    /// The same with those bodies only whose key is chosen.
    pub fn corrupt_where(&self, chosen: impl Fn(&str) -> bool, alter: impl Fn(&mut Vec<u8>)) {
        let mut bodies = self.bodies.borrow_mut();
        bodies.iter_mut().filter(|(key, _)| chosen(key)).for_each(|(_, body)| alter(body));
    }

    /// Loses every stored body.
    pub fn lose_bodies(&self) {
        self.bodies.borrow_mut().clear();
    }

    /// Loses every record: a ledger that was set back to its beginning.
    pub fn lose_records(&self) {
        self.records.borrow_mut().clear();
        self.alarms.borrow_mut().clear();
    }

    /// All records, to be put back by [`Self::set_records`]: a ledger that is set back.
    pub fn records(&self) -> BTreeMap<DepositId, Vec<u8>> {
        self.records.borrow().clone()
    }

    /// Inverse of [`Self::records`].
    pub fn set_records(&self, records: BTreeMap<DepositId, Vec<u8>>) {
        *self.records.borrow_mut() = records;
    }

    /// Everything that is stored, to be put back by [`Self::restore`]: a backup of the safe, taken at one moment.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            records: self.records.borrow().clone(),
            alarms: self.alarms.borrow().clone(),
            owners: self.owners.borrow().clone(),
            bodies: self.bodies.borrow().clone(),
        }
    }

    /// Inverse of [`Self::snapshot`]: the safe is set back, ledger and bodies.
    pub fn restore(&self, snapshot: Snapshot) {
        *self.records.borrow_mut() = snapshot.records;
        *self.alarms.borrow_mut() = snapshot.alarms;
        *self.owners.borrow_mut() = snapshot.owners;
        *self.bodies.borrow_mut() = snapshot.bodies;
    }

    /// One stream of randomness per step, so that a run can be repeated exactly.
    fn draw(&self) -> Secret {
        self.drawn.set(self.drawn.get() + 1);
        protocol::crypto::derive_secret(&self.seed, "step", &self.drawn.get().to_be_bytes())
    }

    fn apply(&self, op: &Op, now: Seconds) -> Result<Done, Problem> {
        Ok(match op {
            Op::Ledger(deposit, request) => Done::Ledger(self.step(deposit, request.clone(), now)?),
            Op::Account(token, request) => Done::Account(self.account_step(token, request)),
            Op::Owner(account, request) => Done::Owner(self.owner_step(account, (**request).clone(), now)?),
            Op::Operator(request) => Done::Operator(self.operator_step(request, now)),
            Op::Put(key, value) => {
                let before = self.bodies.borrow_mut().insert(key.clone(), value.clone());
                // A key holds one value for life; a store that is asked for anything else has found a fault.
                if before.is_some_and(|before| before != *value) { Err(Problem::Internal)? } else { Done::Nothing }
            }
            Op::Get(key) => {
                let shown = self.shown.borrow();
                Done::Got(shown.as_ref().unwrap_or(&self.bodies.borrow()).get(key).cloned())
            }
            Op::Delete(key) => {
                self.bodies.borrow_mut().remove(key);
                Done::Nothing
            }
        })
    }

    fn step(&self, deposit: &DepositId, request: Request, now: Seconds) -> Result<Reply, Problem> {
        let stored = self.records.borrow().get(deposit).cloned();
        let record = stored.map(|bytes| Record::parse(&bytes)).transpose().map_err(|_| Problem::Internal)?;
        let mut rng = expand_seed(&self.draw());
        let step = machine::step(deposit, record, request, now, &mut rng, &self.config, &self.keys);
        match step.record {
            Some(record) => self.records.borrow_mut().insert(*deposit, record.encode()),
            None => self.records.borrow_mut().remove(deposit),
        };
        match step.effects.alarm {
            Some(at) => self.alarms.borrow_mut().insert(*deposit, at),
            None => self.alarms.borrow_mut().remove(deposit),
        };
        Ok(step.reply)
    }

    fn owner_step(&self, account: &AccountId, request: owner::Request, now: Seconds) -> Result<owner::Reply, Problem> {
        let stored = self.owners.borrow().get(account).cloned();
        let record = stored.as_ref().map(|stored| OwnerRecord::parse(&stored.record)).transpose();
        let record = record.map_err(|_| Problem::Internal)?;
        let mut stored = stored.unwrap_or_default();
        let mut rng = expand_seed(&self.draw());
        let step = owner::step(account, record, &stored, request, now, &mut rng, &self.config, &self.keys);
        match step.record {
            Some(record) => {
                let heads = step.heads;
                stored.past.extend(heads.keep.zip(stored.head.clone()));
                stored.head = heads.put.or(stored.head);
                heads.forget.iter().for_each(|digest| drop(stored.past.remove(digest)));
                (stored.record, stored.alarm) = (record.encode(), step.effects.alarm);
                self.owners.borrow_mut().insert(*account, stored);
            }
            None => {
                self.owners.borrow_mut().remove(account);
            }
        }
        Ok(step.reply)
    }

    fn account_step(&self, token: &TokenId, request: &account::Request) -> account::Reply {
        let mut accounts = self.accounts.borrow_mut();
        let state = accounts.entry(*token).or_default();
        match request {
            account::Request::Reserve { row, bytes, token } => {
                let used = sum(state);
                if state.rows.contains_key(row) || fits(used, *bytes, token) {
                    state.rows.insert(*row, *bytes);
                    account::Reply::Open(!state.noted)
                } else {
                    account::Reply::Over(used)
                }
            }
            account::Request::Free(row) => {
                state.rows.remove(row);
                account::Reply::Done
            }
            account::Request::Noted => {
                state.noted = true;
                account::Reply::Done
            }
            account::Request::Use => account::Reply::Use(sum(state)),
        }
    }

    fn operator_step(&self, request: &operator::Request, now: Seconds) -> operator::Reply {
        match request {
            operator::Request::Budget(wanted) => {
                let (day, granted) = self.day.get().grant(*wanted, now);
                self.day.set(day);
                operator::Reply::Budget(granted)
            }
            operator::Request::Note(token) => {
                self.tokens.borrow_mut().insert(*token);
                operator::Reply::Done
            }
            operator::Request::Tokens(after) => {
                let later = |token: &&TokenId| after.is_none_or(|after| after < **token);
                let tokens = self.tokens.borrow().iter().filter(later).take(USAGE_PAGE).copied().collect();
                operator::Reply::Tokens(tokens, self.day.get().at(now).removals)
            }
        }
    }
}

fn sum(state: &AccountState) -> Use {
    Use { bytes: state.rows.values().sum(), deposits: state.rows.len() as u64 }
}

/// Lets others go first, once.
async fn give_way() {
    let mut given = false;
    poll_fn(|context| {
        if std::mem::replace(&mut given, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Call<'_> {
    async fn call(&self, op: Op) -> Result<Done, Problem> {
        let safe = self.safe;
        if safe.interleaved.get() {
            give_way().await;
        }
        safe.calls.set(safe.calls.get() + 1);
        let fault = safe.faults.borrow().get(&safe.calls.get()).copied();
        match fault {
            None => {
                let done = safe.apply(&op, self.now);
                if safe.interleaved.get() {
                    give_way().await;
                }
                done
            }
            Some(Fault::FailsBefore) => Err(Problem::Unavailable),
            Some(Fault::FailsAfter) => safe.apply(&op, self.now).and(Err(Problem::Unavailable)),
            Some(Fault::Twice) => {
                safe.apply(&op, self.now)?;
                safe.apply(&op, self.now)
            }
            Some(Fault::Late) => {
                safe.late.borrow_mut().push((self.now, op));
                Err(Problem::Unavailable)
            }
            Some(Fault::StopsBefore) => pending().await,
            Some(Fault::StopsAfter) => {
                safe.apply(&op, self.now)?;
                pending().await
            }
        }
    }
}

impl Platform for Call<'_> {
    async fn ledger(&self, deposit: &DepositId, request: Request) -> Result<Reply, Problem> {
        match self.call(Op::Ledger(*deposit, request)).await? {
            Done::Ledger(reply) => Ok(reply),
            _ => Err(Problem::Internal),
        }
    }

    async fn account(&self, token: &TokenId, request: account::Request) -> Result<account::Reply, Problem> {
        match self.call(Op::Account(*token, request)).await? {
            Done::Account(reply) => Ok(reply),
            _ => Err(Problem::Internal),
        }
    }

    async fn owner(&self, account: &AccountId, request: owner::Request) -> Result<owner::Reply, Problem> {
        match self.call(Op::Owner(*account, Box::new(request))).await? {
            Done::Owner(reply) => Ok(reply),
            _ => Err(Problem::Internal),
        }
    }

    async fn operator(&self, request: operator::Request) -> Result<operator::Reply, Problem> {
        match self.call(Op::Operator(request)).await? {
            Done::Operator(reply) => Ok(reply),
            _ => Err(Problem::Internal),
        }
    }

    async fn body(&mut self, most: u64) -> Result<Vec<u8>, Problem> {
        let body = self.body.take().ok_or(Problem::Internal)?;
        if body.len() as u64 > most { Err(Problem::TooLarge) } else { Ok(body) }
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Problem> {
        self.call(Op::Put(key.to_owned(), value)).await.map(drop)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        match self.call(Op::Get(key.to_owned())).await? {
            Done::Got(value) => Ok(value),
            _ => Err(Problem::Internal),
        }
    }

    async fn delete(&self, key: &str) -> Result<(), Problem> {
        self.call(Op::Delete(key.to_owned())).await.map(drop)
    }

    async fn forward(&self, url: &str, body: Vec<u8>, most: u64) -> Result<Vec<u8>, Problem> {
        let peers = self.safe.peers.borrow();
        let answer = peers.as_ref().and_then(|peers| peers(url, body, self.now)).ok_or(Problem::RelayFailed)?;
        let fits = answer.status == 200 && answer.body.len() as u64 <= most;
        if fits { Ok(answer.body) } else { Err(Problem::RelayFailed) }
    }

    async fn seal(&self, sealer: Sealer, content: Vec<u8>) -> Result<Vec<u8>, Problem> {
        sealer.seal(&content).map_err(|_| Problem::Internal)
    }

    fn random(&self) -> Result<[u8; 32], Problem> {
        Ok(*self.safe.draw().expose())
    }
}
