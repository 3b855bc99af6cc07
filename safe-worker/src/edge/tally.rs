//! The Durable Objects of a token's account and of the safe as a whole: rows in SQLite, answered in one synchronous step.

use minicbor::{Decode, Encode};
use protocol::{codec, ids::TokenId, problem::Problem};
use serde::{Deserialize, de::DeserializeOwned};
use worker::{DurableObject, Env, Request, Response, Result, SqlStorageValue, State, durable_object};

use crate::{
    account::{self, Use, fits},
    edge::{MAX_MESSAGE_LEN, now, unavailable},
    operator::{self, Day, USAGE_PAGE},
};

type Step<R> = core::result::Result<R, Problem>;

fn query<T: DeserializeOwned>(state: &State, sql: &str, bindings: Vec<SqlStorageValue>) -> Step<Vec<T>> {
    state.storage().sql().exec(sql, bindings).and_then(|cursor| cursor.to_array()).map_err(unavailable)
}

fn execute(state: &State, sql: &str, bindings: Vec<SqlStorageValue>) -> Step<()> {
    state.storage().sql().exec(sql, bindings).map(drop).map_err(unavailable)
}

fn create(state: &State, tables: &str) {
    // If it fails, the first query will too, and be answered as unavailable.
    let _ = execute(state, tables, Vec::new());
}

/// A request decoded, stepped and answered. A failure is answered as one, and never as a decision.
async fn answer<Q, R: Encode<()>>(request: &mut Request, step: impl FnOnce(Q) -> Step<R>) -> Result<Response>
where
    Q: Encode<()> + for<'b> Decode<'b, ()>,
{
    let message = request.bytes().await?;
    let reply = codec::decode::<Q>(&message, MAX_MESSAGE_LEN).map_err(|_| Problem::Internal).and_then(step);
    match reply {
        Ok(reply) => Response::from_bytes(codec::encode(&reply)),
        // No reply decodes from nothing, so the asker takes it for the failure that it is.
        Err(_) => Response::from_bytes(Vec::new()),
    }
}

/// The rows of one admission token.
#[durable_object]
pub struct AccountObject {
    state: State,
}

#[derive(Deserialize)]
struct Sum {
    bytes: f64,
    deposits: f64,
}

#[derive(Deserialize)]
struct Found {
    found: f64,
}

impl AccountObject {
    fn used(&self) -> Step<Use> {
        let sums: Vec<Sum> =
            query(&self.state, "SELECT COALESCE(SUM(bytes), 0) AS bytes, COUNT(*) AS deposits FROM rows", Vec::new())?;
        let sum = sums.first().ok_or(Problem::Internal)?;
        // Bodies are counted in bytes, far below 2^53 together.
        Ok(Use { bytes: sum.bytes as u64, deposits: sum.deposits as u64 })
    }

    fn exists(&self, sql: &str, bindings: Vec<SqlStorageValue>) -> Step<bool> {
        let found: Vec<Found> = query(&self.state, sql, bindings)?;
        Ok(found.first().is_some_and(|count| count.found > 0.0))
    }

    fn step(&self, request: account::Request) -> Step<account::Reply> {
        match request {
            account::Request::Reserve { row, bytes, token } => {
                let key = codec::encode(&row);
                let open = self.exists("SELECT COUNT(*) AS found FROM rows WHERE id = ?", vec![key.clone().into()])?;
                let used = self.used()?;
                if !open && !fits(used, bytes, &token) {
                    return Ok(account::Reply::Over(used));
                }
                let bytes = i64::try_from(bytes).map_err(unavailable)?;
                let bindings = vec![key.into(), SqlStorageValue::Integer(bytes)];
                execute(&self.state, "INSERT OR REPLACE INTO rows (id, bytes) VALUES (?, ?)", bindings)?;
                Ok(account::Reply::Open(!self.exists("SELECT COUNT(*) AS found FROM noted", Vec::new())?))
            }
            account::Request::Free(row) => {
                execute(&self.state, "DELETE FROM rows WHERE id = ?", vec![codec::encode(&row).into()])?;
                Ok(account::Reply::Done)
            }
            account::Request::Noted => {
                execute(&self.state, "INSERT OR IGNORE INTO noted (slot) VALUES (0)", Vec::new())?;
                Ok(account::Reply::Done)
            }
            account::Request::Use => Ok(account::Reply::Use(self.used()?)),
        }
    }
}

impl DurableObject for AccountObject {
    fn new(state: State, _: Env) -> Self {
        create(&state, "CREATE TABLE IF NOT EXISTS rows (id BLOB PRIMARY KEY, bytes INTEGER NOT NULL)");
        create(&state, "CREATE TABLE IF NOT EXISTS noted (slot INTEGER PRIMARY KEY)");
        Self { state }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        answer(&mut request, |request| self.step(request)).await
    }
}

/// The day's removals, and the tokens in use.
#[durable_object]
pub struct OperatorObject {
    state: State,
}

#[derive(Deserialize)]
struct DayRow {
    day: f64,
    removals: f64,
}

#[derive(Deserialize)]
struct TokenRow {
    #[serde(with = "serde_bytes")]
    id: Vec<u8>,
}

impl OperatorObject {
    fn today(&self) -> Step<Day> {
        let rows: Vec<DayRow> = query(&self.state, "SELECT day, removals FROM today", Vec::new())?;
        let stored = rows.first().map(|row| Day { day: row.day as u64, removals: row.removals as u32 });
        Ok(stored.unwrap_or_default().at(now()))
    }

    fn step(&self, request: operator::Request) -> Step<operator::Reply> {
        match request {
            operator::Request::Budget(wanted) => {
                let (day, granted) = self.today()?.grant(wanted, now());
                let number = i64::try_from(day.day).map_err(unavailable)?;
                let bindings = vec![SqlStorageValue::Integer(number), SqlStorageValue::Integer(day.removals.into())];
                execute(&self.state, "INSERT OR REPLACE INTO today (slot, day, removals) VALUES (0, ?, ?)", bindings)?;
                Ok(operator::Reply::Budget(granted))
            }
            operator::Request::Note(token) => {
                execute(&self.state, "INSERT OR IGNORE INTO tokens (id) VALUES (?)", vec![token.0.to_vec().into()])?;
                Ok(operator::Reply::Done)
            }
            operator::Request::Tokens(after) => {
                let after = after.map_or_else(Vec::new, |token| token.0.to_vec());
                let page = i64::try_from(USAGE_PAGE).map_err(unavailable)?;
                let bindings = vec![after.into(), SqlStorageValue::Integer(page)];
                let rows: Vec<TokenRow> =
                    query(&self.state, "SELECT id FROM tokens WHERE id > ? ORDER BY id LIMIT ?", bindings)?;
                let id = |row: TokenRow| TokenId::try_from(row.id.as_slice()).map_err(unavailable);
                let tokens = rows.into_iter().map(id).collect::<Step<Vec<_>>>()?;
                Ok(operator::Reply::Tokens(tokens, self.today()?.removals))
            }
        }
    }
}

impl DurableObject for OperatorObject {
    fn new(state: State, _: Env) -> Self {
        create(
            &state,
            "CREATE TABLE IF NOT EXISTS today (slot INTEGER PRIMARY KEY CHECK (slot = 0), day INTEGER NOT NULL, removals INTEGER NOT NULL)",
        );
        create(&state, "CREATE TABLE IF NOT EXISTS tokens (id BLOB PRIMARY KEY)");
        Self { state }
    }

    async fn fetch(&self, mut request: Request) -> Result<Response> {
        answer(&mut request, |request| self.step(request)).await
    }
}
