//! A safe in memory: the machine and the flow over two maps. Tests and simulations run on it.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
};

use protocol::{
    codec::Bytes,
    crypto::{CryptoError, Secret, expand_seed},
    deposit::{DEFAULT_BODY_LIMIT, LEASE},
    identity::{Limits, SafeKeys},
    ids::{DepositId, SafeId, Seconds},
    problem::Problem,
};

use crate::{
    flow::{self, Answer, Head, Platform, Presence},
    machine::{self, CLAIM_LIMIT, CONFIRM_SPAN, Config, Keys, Reply, Request},
    record::Record,
};

/// The limits of a safe with default settings.
pub const LIMITS: Limits = Limits { body: DEFAULT_BODY_LIMIT, lease: LEASE, confirm: CONFIRM_SPAN, claim: CLAIM_LIMIT };

/// A safe whose storage is two maps. Times are given with every call.
pub struct MemorySafe {
    config: Config,
    keys: Keys,
    presence: Presence,
    seed: Secret,
    drawn: Cell<u64>,
    records: RefCell<BTreeMap<DepositId, Vec<u8>>>,
    alarms: RefCell<BTreeMap<DepositId, Seconds>>,
    bodies: RefCell<BTreeMap<String, Vec<u8>>>,
}

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
            presence: Presence { name: name.to_owned(), identity, chain: made.chain },
            keys: Keys { signing: made.signing, hpke: made.hpke },
            seed: seed.clone(),
            drawn: Cell::new(0),
            records: RefCell::default(),
            alarms: RefCell::default(),
            bodies: RefCell::default(),
        })
    }

    /// The safe's id.
    pub const fn id(&self) -> SafeId {
        self.config.safe
    }

    /// The safe's address.
    pub fn url(&self) -> &str {
        &self.config.url
    }

    /// Handles one HTTP request.
    pub async fn handle(&self, head: &Head, body: Vec<u8>, now: Seconds) -> Answer {
        let mut call = Call { safe: self, now, body: Some(body) };
        flow::handle(&mut call, head, now, &self.config, &self.presence).await
    }

    /// Wakes every object whose alarm is due.
    pub async fn run_alarms(&self, now: Seconds) {
        let due: Vec<DepositId> =
            self.alarms.borrow().iter().filter(|(_, at)| **at <= now).map(|(id, _)| *id).collect();
        for id in due {
            self.alarms.borrow_mut().remove(&id);
            let call = Call { safe: self, now, body: None };
            if let Ok(Reply::Erase(attempts)) = call.ledger(&id, Request::Alarm).await {
                // A failed removal stays listed; the machine has asked for another alarm.
                let _ = flow::erase(&call, &id, attempts).await;
            }
        }
    }

    /// (ledger records, bodies): what is stored, for tests that look for leftovers.
    pub fn counts(&self) -> (usize, usize) {
        (self.records.borrow().len(), self.bodies.borrow().len())
    }

    /// Everything that is stored, as one byte string: what a thief of the database reads.
    pub fn dump(&self) -> Vec<u8> {
        let records = self.records.borrow();
        let bodies = self.bodies.borrow();
        records.values().chain(bodies.values()).flatten().copied().collect()
    }

    /// Alters every stored body: what a bad disk or a dishonest operator does.
    pub fn corrupt(&self, alter: impl Fn(&mut Vec<u8>)) {
        self.bodies.borrow_mut().values_mut().for_each(alter);
    }
}

impl Platform for Call<'_> {
    async fn ledger(&self, deposit: &DepositId, request: Request) -> Result<Reply, Problem> {
        let safe = self.safe;
        let stored = safe.records.borrow().get(deposit).cloned();
        let record = stored.map(|bytes| Record::parse(&bytes)).transpose().map_err(|_| Problem::Internal)?;
        // One stream per step, so that a run can be repeated exactly.
        safe.drawn.set(safe.drawn.get() + 1);
        let step_seed = protocol::crypto::derive_secret(&safe.seed, "step", &safe.drawn.get().to_be_bytes());
        let step = machine::step(record, request, self.now, &mut expand_seed(&step_seed), &safe.config, &safe.keys);
        match step.record {
            Some(record) => safe.records.borrow_mut().insert(*deposit, record.encode()),
            None => safe.records.borrow_mut().remove(deposit),
        };
        match step.effects.alarm {
            Some(at) => safe.alarms.borrow_mut().insert(*deposit, at),
            None => safe.alarms.borrow_mut().remove(deposit),
        };
        Ok(step.reply)
    }

    async fn body(&mut self, most: u64) -> Result<Vec<u8>, Problem> {
        let body = self.body.take().ok_or(Problem::Internal)?;
        if body.len() as u64 > most { Err(Problem::TooLarge) } else { Ok(body) }
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), Problem> {
        self.safe.bodies.borrow_mut().insert(key.to_owned(), value);
        Ok(())
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, Problem> {
        Ok(self.safe.bodies.borrow().get(key).cloned())
    }

    async fn delete(&self, key: &str) -> Result<(), Problem> {
        self.safe.bodies.borrow_mut().remove(key);
        Ok(())
    }
}
