//! Safes that run as the product does, over HTTP: the suite of every safe, and what only a network and parallel requests
//! can show.
//!
//! `cargo xtask test edge` starts them and sets `STRONGROOM_SAFES`; without it there is nothing to test here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use protocol::{
    SUITE, certificate,
    claim::{Confirm, Verb},
    codec,
    crypto::blake3,
    ids::{Root, Seconds},
    problem::Problem,
};
use safe_worker::flow::{COSE, OCTETS};
use tests::{
    safe_suite,
    safe_suite::{Ask, Got, SafeUnderTest, Visit, assert_refused, granted},
};
use ureq::{Agent, SendBody, http};

/// A safe at an address.
#[derive(Clone)]
struct OverHttp {
    url: String,
    agent: Agent,
}

impl OverHttp {
    fn new(url: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .timeout_global(Some(Duration::from_secs(30)));
        Self { url: url.trim_end_matches('/').to_owned(), agent: config.build().into() }
    }
}

impl SafeUnderTest for OverHttp {
    fn exchange(&mut self, ask: &Ask) -> Got {
        let mut request = http::Request::builder().method(ask.method).uri(format!("{}{}", self.url, ask.path));
        if let Some(statement) = &ask.statement {
            request = request.header("strongroom-statement", statement);
        }
        // A refusal by the head alone closes the connection; who is still sending then would see only that.
        if ask.body.len() > 1 << 20 {
            request = request.header("expect", "100-continue");
        }
        let answer = if ask.body.is_empty() && !matches!(ask.method, "PUT" | "POST" | "PATCH") {
            self.agent.run(request.body(()).unwrap())
        } else if ask.length {
            self.agent.run(request.body(&ask.body[..]).unwrap())
        } else {
            let body = SendBody::from_owned_reader(std::io::Cursor::new(ask.body.clone()));
            self.agent.run(request.body(body).unwrap())
        };
        let mut answer = answer.unwrap_or_else(|e| panic!("{} {}{}: {e}", ask.method, self.url, ask.path));
        let headers = answer.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let status = answer.status().as_u16();
        Got { status, headers, body: answer.body_mut().read_to_vec().unwrap() }
    }

    fn url(&self) -> String {
        self.url.clone()
    }

    fn now(&self) -> Seconds {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
    }

    /// Safes keep what earlier runs put in: this run's numbers begin at its nanosecond.
    fn draw(&mut self) -> u64 {
        static BEGINNING: OnceLock<u64> = OnceLock::new();
        static DRAWN: AtomicU64 = AtomicU64::new(0);
        let nanos = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        BEGINNING.get_or_init(nanos) + DRAWN.fetch_add(1, Relaxed)
    }
}

fn safes() -> Vec<OverHttp> {
    let Ok(urls) = std::env::var("STRONGROOM_SAFES") else {
        println!("nothing tested: STRONGROOM_SAFES names no running safes; `cargo xtask test edge` starts them");
        return Vec::new();
    };
    urls.split(',').map(str::trim).filter(|url| !url.is_empty()).map(OverHttp::new).collect()
}

fn for_each_safe(case: fn(&mut dyn SafeUnderTest)) {
    safes().iter_mut().for_each(|safe| case(safe));
}

safe_suite!(for_each_safe);

#[test]
fn any_origin_may_ask_without_credentials() {
    for mut safe in safes() {
        let mut visit = Visit::new(&mut safe);
        let (deposit, offer) = visit.offered(10);
        let answers = [
            visit.ask(&Ask::get("/.well-known/strongroom")),
            visit.ask(&Ask::get("/nowhere")),
            visit.put(&deposit),
            visit.confirm(&deposit, &offer),
            visit.retrieve(&deposit),
            visit.ask(&Ask::post(&deposit.id, "release", vec![1])),
        ];
        for got in answers {
            assert_eq!(got.headers["access-control-allow-origin"], "*");
            assert_eq!(got.headers["cache-control"], "no-store");
            assert_eq!(got.headers["x-content-type-options"], "nosniff");
            assert!(!got.headers.contains_key("access-control-allow-credentials"));
            assert!(!got.headers.contains_key("set-cookie"));
        }
        for path in ["/.well-known/strongroom", &format!("/v1/deposits/{}", deposit.id), "/nowhere"] {
            let got = visit.ask(&Ask { method: "OPTIONS", ..Ask::get(path) });
            assert_eq!((got.status, got.body.len()), (204, 0));
            assert_eq!(got.headers["access-control-allow-origin"], "*");
            let methods: Vec<&str> = got.headers["access-control-allow-methods"].split(", ").collect();
            assert!(["GET", "PUT", "POST"].iter().all(|m| methods.contains(m)));
            assert!(got.headers["access-control-allow-headers"].contains("strongroom-statement"));
            assert!(!got.headers.contains_key("access-control-allow-credentials"));
        }
    }
}

/// Requests at the same time: retries of an impatient wallet, or of two windows.
fn at_once(safe: &OverHttp, asks: &[Ask]) -> Vec<Got> {
    thread::scope(|scope| {
        let ask = |ask| {
            let mut safe = safe.clone();
            scope.spawn(move || safe.exchange(ask))
        };
        let asking: Vec<_> = asks.iter().map(ask).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

fn four_of(ask: Ask) -> [Ask; 4] {
    std::array::from_fn(|_| ask.clone())
}

#[test]
fn parallel_requests_get_one_offer_and_one_certificate() {
    for mut safe in safes() {
        let door = safe.clone();
        let mut visit = Visit::new(&mut safe);
        let deposit = visit.draw(200_000);
        let offers: Vec<_> = at_once(&door, &four_of(Ask::put(&deposit))).into_iter().map(|got| got.body).collect();
        assert!(offers.iter().all(|offer| offer == &offers[0]));
        let confirm = Confirm { suite: SUITE, offer: Root(blake3(&offers[0])) };
        let confirm = Ask::post(&deposit.id, "confirm", codec::encode(&confirm));
        let signed: Vec<_> = at_once(&door, &four_of(confirm)).into_iter().map(|got| granted(got, 200, COSE)).collect();
        assert!(signed.iter().all(|certificate| certificate == &signed[0]));
        certificate::verify(&signed[0], &visit.identity, Some(&deposit.statement)).unwrap();
        assert!(granted(visit.retrieve(&deposit), 200, OCTETS) == deposit.body);
    }
}

#[test]
fn of_parallel_replays_one_counts() {
    for mut safe in safes() {
        let door = safe.clone();
        let mut visit = Visit::new(&mut safe);
        let (deposit, ..) = visit.held(1000);
        let claim = visit.claim(&deposit.id, Verb::Retrieve, &deposit.secrets.retrieve);
        let answers = at_once(&door, &four_of(Ask::post(&deposit.id, "retrieve", codec::encode(&claim))));
        let (counted, replayed): (Vec<_>, Vec<_>) = answers.into_iter().partition(|got| got.status == 200);
        assert_eq!(counted.len(), 1);
        assert_eq!(counted[0].body, deposit.body);
        replayed.iter().for_each(|got| assert_refused(got, Problem::ClaimReplayed));
    }
}

#[test]
fn of_parallel_statements_under_one_id_one_wins() {
    for mut safe in safes() {
        let door = safe.clone();
        let mut visit = Visit::new(&mut safe);
        let mut rivals: Vec<_> = (0..4).map(|_| visit.draw(5000)).collect();
        let id = rivals[0].id;
        rivals.iter_mut().for_each(|rival| (rival.id, rival.statement.deposit) = (id, id));
        let answers = at_once(&door, &rivals.iter().map(Ask::put).collect::<Vec<_>>());
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|got| got.status == 201);
        assert_eq!(won.len(), 1);
        lost.iter().for_each(|got| assert_refused(got, Problem::Conflict));
    }
}
