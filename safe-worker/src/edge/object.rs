//! The Durable Object of one deposit: get → step → put.
//!
//! Reading, deciding and writing happen without an `await` between them (SQLite in an object is synchronous), so that steps of
//! one deposit are in a line. The answer leaves only after the write is durable: the output gate holds it back.

use protocol::{
    codec,
    crypto::{Secret, expand_seed},
    ids::{AccountId, DepositId, TokenId},
    problem::Problem,
    seal::Sealer,
};
use serde::Deserialize;
use worker::{DurableObject, Env, Request, Response, Result, ScheduledTime, State, durable_object};

use crate::{
    account,
    edge::{MAX_MESSAGE_LEN, Shared, config, now, owner::OwnerObject, unavailable},
    flow::{self, Platform},
    machine::{self, ERASE_RETRY, Reply, Request as Ask},
    operator, owner,
    record::Record,
};

/// The object.
#[durable_object]
pub struct DepositObject {
    state: State,
    env: Env,
}

#[derive(Deserialize)]
struct Row {
    #[serde(with = "serde_bytes")]
    id: Vec<u8>,
    #[serde(with = "serde_bytes")]
    record: Vec<u8>,
}

impl DepositObject {
    /// The stored deposit. A row that does not parse is an error, never an empty record.
    fn stored(&self) -> core::result::Result<Option<(DepositId, Record)>, Problem> {
        let rows: Vec<Row> = self
            .state
            .storage()
            .sql()
            .exec("SELECT id, record FROM deposit", None)
            .and_then(|cursor| cursor.to_array())
            .map_err(unavailable)?;
        rows.first()
            .map(|row| {
                let id = DepositId::try_from(row.id.as_slice()).map_err(|_| Problem::Internal)?;
                Ok((id, Record::parse(&row.record).map_err(|_| Problem::Internal)?))
            })
            .transpose()
    }

    fn store(&self, id: &DepositId, record: Option<&Record>) -> Result<()> {
        let sql = self.state.storage().sql();
        match record {
            Some(record) => {
                let bindings = vec![id.0.to_vec().into(), record.encode().into()];
                sql.exec("INSERT OR REPLACE INTO deposit (slot, id, record) VALUES (0, ?, ?)", bindings)?
            }
            None => sql.exec("DELETE FROM deposit", None)?,
        };
        Ok(())
    }

    async fn step(&self, id: &DepositId, ask: Ask) -> core::result::Result<Reply, Problem> {
        let safe = config::load(&self.env).map_err(|reason| {
            worker::console_error!("{}", serde_json::json!({ "event": "configuration", "error": reason }));
            Problem::Internal
        })?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(unavailable)?;
        let mut rng = expand_seed(&Secret::from_bytes(seed));
        let stored = self.stored()?;
        let existed = stored.is_some();
        let record = stored.map(|(_, record)| record);
        let step = machine::step(id, record, ask, now(), &mut rng, &safe.config, &safe.keys);
        self.store(id, step.record.as_ref()).map_err(unavailable)?;
        let storage = self.state.storage();
        match step.effects.alarm {
            // Scheduled at a date, not after a span: the object may be woken late.
            Some(at) => storage.set_alarm(date(at)).await.map_err(unavailable)?,
            None if existed => storage.delete_alarm().await.map_err(unavailable)?,
            None => {}
        }
        Ok(step.reply)
    }

    async fn wake(&self) -> core::result::Result<(), Problem> {
        let Some((id, _)) = self.stored()? else { return Ok(()) };
        flow::wake(&Alarm { woken: Woken::Deposit(self), shared: Shared(&self.env) }, &id).await
    }
}

/// An object's own alarm: its record is at hand, and it removes.
pub(super) struct Alarm<'a> {
    pub(super) woken: Woken<'a>,
    pub(super) shared: Shared<'a>,
}

/// Whose alarm it is. Neither has anything to do with the record of the other one.
pub(super) enum Woken<'a> {
    Deposit(&'a DepositObject),
    Owner(&'a OwnerObject),
}

impl Platform for Alarm<'_> {
    async fn ledger(&self, deposit: &DepositId, request: Ask) -> core::result::Result<Reply, Problem> {
        match self.woken {
            Woken::Deposit(object) => object.step(deposit, request).await,
            Woken::Owner(_) => Err(Problem::Internal),
        }
    }

    async fn account(
        &self,
        token: &TokenId,
        request: account::Request,
    ) -> core::result::Result<account::Reply, Problem> {
        self.shared.account(token, request).await
    }

    async fn owner(&self, account: &AccountId, request: owner::Request) -> core::result::Result<owner::Reply, Problem> {
        match self.woken {
            Woken::Deposit(_) => Err(Problem::Internal),
            Woken::Owner(object) => object.step(account, request).await,
        }
    }

    async fn operator(&self, request: operator::Request) -> core::result::Result<operator::Reply, Problem> {
        self.shared.operator(request).await
    }

    async fn delete(&self, key: &str) -> core::result::Result<(), Problem> {
        self.shared.delete(key).await
    }

    // Bodies never pass through an object.

    async fn body(&mut self, _: u64) -> core::result::Result<Vec<u8>, Problem> {
        Err(Problem::Internal)
    }

    async fn put(&self, _: &str, _: Vec<u8>) -> core::result::Result<(), Problem> {
        Err(Problem::Internal)
    }

    async fn get(&self, _: &str) -> core::result::Result<Option<Vec<u8>>, Problem> {
        Err(Problem::Internal)
    }

    // Nobody waits for what an alarm would have fetched or sealed.

    async fn forward(&self, _: &str, _: Vec<u8>, _: u64) -> core::result::Result<Vec<u8>, Problem> {
        Err(Problem::Internal)
    }

    async fn seal(&self, _: Sealer, _: Vec<u8>) -> core::result::Result<Vec<u8>, Problem> {
        Err(Problem::Internal)
    }

    fn random(&self) -> core::result::Result<[u8; 32], Problem> {
        Err(Problem::Internal)
    }
}

pub(super) fn date(seconds: u64) -> ScheduledTime {
    ScheduledTime::new(js_sys::Date::new(&wasm_bindgen::JsValue::from_f64(seconds as f64 * 1000.0)))
}

impl DurableObject for DepositObject {
    fn new(state: State, env: Env) -> Self {
        let created = state.storage().sql().exec(
            "CREATE TABLE IF NOT EXISTS deposit (slot INTEGER PRIMARY KEY CHECK (slot = 0), id BLOB NOT NULL, record BLOB NOT NULL)",
            None,
        );
        if let Err(error) = created {
            // The first query will fail and be answered as unavailable.
            unavailable(error);
        }
        Self { state, env }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let message = request.bytes().await?;
        let reply = match codec::decode::<(DepositId, Ask)>(&message, MAX_MESSAGE_LEN) {
            Ok((id, ask)) => self.step(&id, ask).await.unwrap_or_else(Reply::Refused),
            Err(_) => Reply::Refused(Problem::Internal),
        };
        Response::from_bytes(codec::encode(&reply))
    }

    async fn alarm(&self) -> Result<Response> {
        if let Err(problem) = self.wake().await {
            // An alarm that throws is retried a few times and then forgotten; this one re-arms itself instead.
            worker::console_error!("{}", serde_json::json!({ "event": "alarm", "problem": problem.slug() }));
            self.state.storage().set_alarm(date(now() + ERASE_RETRY)).await?;
        }
        Response::ok("")
    }
}
