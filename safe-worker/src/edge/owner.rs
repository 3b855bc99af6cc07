//! The Durable Object of one owner: get → step → put, as that of a deposit. What was counted is durable before its answer leaves: the output gate holds it back.

use protocol::{
    codec,
    crypto::{Secret, expand_seed},
    ids::AccountId,
    problem::Problem,
};
use serde::Deserialize;
use worker::{DurableObject, Env, Request, Response, Result, SqlStorageValue, State, durable_object};

use crate::{
    edge::{
        MAX_OWNER_MESSAGE_LEN, Shared, config, now,
        object::{Alarm, Woken, date},
        unavailable,
    },
    flow,
    machine::ERASE_RETRY,
    owner::{self, Digest, Reply, Request as Ask, Shelf, Shelved, record::OwnerRecord},
};

/// The object.
#[durable_object]
pub struct OwnerObject {
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

#[derive(Deserialize)]
struct HeadRow {
    #[serde(with = "serde_bytes")]
    head: Vec<u8>,
}

type Step<T> = core::result::Result<T, Problem>;

impl OwnerObject {
    /// The stored record. A row that does not parse is an error, never an empty record.
    fn stored(&self) -> Step<Option<(AccountId, OwnerRecord)>> {
        let sql = self.state.storage().sql();
        let rows: Vec<Row> =
            sql.exec("SELECT id, record FROM owner", None).and_then(|cursor| cursor.to_array()).map_err(unavailable)?;
        rows.first()
            .map(|row| {
                let id = AccountId::try_from(row.id.as_slice()).map_err(|_| Problem::Internal)?;
                Ok((id, OwnerRecord::parse(&row.record).map_err(|_| Problem::Internal)?))
            })
            .transpose()
    }

    fn head(&self, query: &str, bindings: Option<Vec<SqlStorageValue>>) -> Step<Option<Vec<u8>>> {
        let sql = self.state.storage().sql();
        let rows: Vec<HeadRow> = sql.exec(query, bindings).and_then(|cursor| cursor.to_array()).map_err(unavailable)?;
        Ok(rows.into_iter().next().map(|row| row.head))
    }

    /// Record and heads together: what is written without waiting in between is written together or not at all.
    fn store(&self, id: &AccountId, record: Option<&OwnerRecord>, heads: Shelved) -> Result<()> {
        let sql = self.state.storage().sql();
        let Some(record) = record else {
            sql.exec("DELETE FROM owner", None)?;
            sql.exec("DELETE FROM head", None)?;
            sql.exec("DELETE FROM past", None)?;
            return Ok(());
        };
        if let Some(digest) = heads.keep {
            let copy = "INSERT OR REPLACE INTO past (digest, head) SELECT ?, head FROM head";
            sql.exec(copy, vec![digest.to_vec().into()])?;
        }
        if let Some(head) = heads.put {
            sql.exec("INSERT OR REPLACE INTO head (slot, head) VALUES (0, ?)", vec![head.into()])?;
        }
        for digest in heads.forget {
            sql.exec("DELETE FROM past WHERE digest = ?", vec![digest.to_vec().into()])?;
        }
        let bindings = vec![id.0.to_vec().into(), record.encode().into()];
        sql.exec("INSERT OR REPLACE INTO owner (slot, id, record) VALUES (0, ?, ?)", bindings)?;
        Ok(())
    }

    pub(super) async fn step(&self, id: &AccountId, ask: Ask) -> Step<Reply> {
        let safe = config::load(&self.env).map_err(|reason| {
            worker::console_error!("{}", serde_json::json!({ "event": "configuration", "error": reason }));
            Problem::Internal
        })?;
        let mut seed = [0; 32];
        getrandom::fill(&mut seed).map_err(unavailable)?;
        let mut rng = expand_seed(&Secret::from_bytes(seed));
        let stored = self.stored()?;
        let existed = stored.is_some();
        let looks = matches!(ask, Ask::Look);
        let record = stored.map(|(_, record)| record);
        let step = owner::step(id, record, self, ask, now(), &mut rng, &safe.config, &safe.keys);
        // Who looks changes nothing; an account that is not there is not written down for it.
        if looks {
            return Ok(step.reply);
        }
        self.store(id, step.record.as_ref(), step.heads).map_err(unavailable)?;
        let storage = self.state.storage();
        match step.effects.alarm {
            Some(at) => storage.set_alarm(date(at)).await.map_err(unavailable)?,
            None if existed => storage.delete_alarm().await.map_err(unavailable)?,
            None => {}
        }
        Ok(step.reply)
    }
}

impl Shelf for OwnerObject {
    fn newest(&self) -> Step<Option<Vec<u8>>> {
        self.head("SELECT head FROM head", None)
    }

    fn past(&self, digest: &Digest) -> Step<Option<Vec<u8>>> {
        self.head("SELECT head FROM past WHERE digest = ?", Some(vec![digest.to_vec().into()]))
    }
}

impl DurableObject for OwnerObject {
    fn new(state: State, env: Env) -> Self {
        let tables = [
            "CREATE TABLE IF NOT EXISTS owner (slot INTEGER PRIMARY KEY CHECK (slot = 0), id BLOB NOT NULL, record BLOB NOT NULL)",
            "CREATE TABLE IF NOT EXISTS head (slot INTEGER PRIMARY KEY CHECK (slot = 0), head BLOB NOT NULL)",
            "CREATE TABLE IF NOT EXISTS past (digest BLOB PRIMARY KEY, head BLOB NOT NULL)",
        ];
        for table in tables {
            if let Err(error) = state.storage().sql().exec(table, None) {
                // The first query will fail and be answered as unavailable.
                unavailable(error);
            }
        }
        Self { state, env }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        let message = request.bytes().await?;
        let reply = match codec::decode::<(AccountId, Ask)>(&message, MAX_OWNER_MESSAGE_LEN) {
            Ok((id, ask)) => self.step(&id, ask).await.unwrap_or_else(Reply::Refused),
            Err(_) => Reply::Refused(Problem::Internal),
        };
        Response::from_bytes(codec::encode(&reply))
    }

    async fn alarm(&self) -> Result<Response> {
        let wake = match self.stored() {
            Ok(Some((id, _))) => {
                flow::wake_owner(&Alarm { woken: Woken::Owner(self), shared: Shared(&self.env) }, &id).await
            }
            Ok(None) => Ok(()),
            Err(problem) => Err(problem),
        };
        if let Err(problem) = wake {
            // An alarm that throws is retried a few times and then forgotten; this one re-arms itself instead.
            worker::console_error!("{}", serde_json::json!({ "event": "alarm", "problem": problem.slug() }));
            self.state.storage().set_alarm(date(now() + ERASE_RETRY)).await?;
        }
        Response::ok("")
    }
}
