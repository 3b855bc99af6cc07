//! One running safe under load: requests a second, how long they take, and the processor time that its process spends on each.
//!
//! `cargo xtask bench safe` starts the safe and runs this. The safe is workerd with Miniflare's storage in the same process, so the processor time has that
//! storage in it, which on Cloudflare is somebody else's. What it costs is measured by itself, on a worker that only stores (storage.mjs); the bound is for the difference.
//! All requests of a phase are made ahead; their bodies are noise. `cargo xtask bench owner` does the same for what owners ask (owner.rs).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a measurement fails by panicking")]

mod owner;

use std::{
    env, fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use protocol::{
    SUITE,
    audit::{AuditItem, MAX_AUDIT_SLICES, group_count, seal_items},
    claim::{CLAIM_SPAN, Claim, Confirm, Verb},
    codec,
    crypto::{Secret, blake3, derive_secret},
    deposit::{DepositSecrets, Face, Statement},
    identity::Identity,
    ids::{ClaimantId, DepositId, Root, SafeId, Seconds},
    register::{Ballot, Proposal, derive_claimant, seal_proposal},
    relay::{Awaiting, Carried, Delivery, MAX_DELIVERY_LEN, Parcel},
};
use rand_core::Rng;
use serde_json::json;
use tests::fixture::{face_text, rng, secret};
use ureq::{Agent, http};

/// Requests at a time: as many as the machine for which the targets are given has cores.
const CLIENTS: usize = 2;
/// How many deposits of each size: some seconds for each phase, and 250 MiB on the disk.
const SIZES: [(&str, usize, usize); 4] =
    [("1 KiB", 1024, 400), ("64 KiB", 64 * 1024, 200), ("1 MiB", 1024 * 1024, 100), ("2 MiB", 2 * 1024 * 1024, 50)];
/// Deposits before anything is measured: by then the engine has compiled what it will.
const WARM_UP: usize = 300;
/// Linux counts processor time in hundredths of a second.
const TICK_MS: f64 = 10.0;

struct Ask {
    method: &'static str,
    path: String,
    kind: &'static str,
    statement: Option<String>,
    body: Vec<u8>,
}

/// One deposit that the measurements use.
struct Deposit {
    id: DepositId,
    d: Secret,
    body: Vec<u8>,
}

impl Deposit {
    fn make(length: usize) -> Self {
        let mut random = fresh();
        let mut body = vec![0; length];
        random.fill_bytes(&mut body);
        Self { id: DepositId::make_random(&mut random), d: Secret::make_random(&mut random), body }
    }
}

/// Where a worker stands, and its process.
struct Place {
    url: String,
    process: Option<u32>,
}

impl Place {
    /// From a variable: the address, a space, and the process if it is known.
    fn of_variable(name: &str) -> Option<Self> {
        let text = env::var(name).ok()?;
        let (url, process) = text.split_once(' ')?;
        Some(Self { url: url.to_owned(), process: process.parse().ok() })
    }
}

struct Bench {
    safe: Place,
    storage: Place,
    agent: Agent,
    rows: Vec<serde_json::Value>,
}

/// How a phase is judged.
#[derive(Clone, Copy, Default)]
struct Bound {
    /// Processor time that is the storage's, ms.
    storage: f64,
    /// What the safe itself may spend, ms.
    target: Option<f64>,
}

impl Bench {
    fn send(&self, ask: &Ask) -> Vec<u8> {
        self.send_to(&self.safe, ask)
    }

    fn send_to(&self, place: &Place, ask: &Ask) -> Vec<u8> {
        let mut request = http::Request::builder().method(ask.method).uri(format!("{}{}", place.url, ask.path));
        if ask.method != "GET" {
            request = request.header("content-type", ask.kind);
        }
        if let Some(statement) = &ask.statement {
            request = request.header("strongroom-statement", statement);
        }
        let answer = if ask.method == "GET" {
            self.agent.run(request.body(()).unwrap())
        } else {
            self.agent.run(request.body(&ask.body[..]).unwrap())
        };
        let mut answer = answer.unwrap_or_else(|e| panic!("{} {}: {e}", ask.method, ask.path));
        let body = answer.body_mut().with_config().limit(4 << 20).read_to_vec().unwrap();
        assert!(answer.status().is_success(), "{} {}: {}", ask.method, ask.path, String::from_utf8_lossy(&body));
        body
    }

    /// Sends all of them, [`CLIENTS`] at a time, and says how it went. Gives the answers in the order of the requests.
    fn phase(&mut self, name: &str, size: &str, bound: Bound, asks: &[Ask]) -> Vec<Vec<u8>> {
        self.load(name, size, bound, asks, |bench| &bench.safe).0
    }

    /// Likewise, at any place; and the processor time of a request, ms.
    fn load(
        &mut self,
        name: &str,
        size: &str,
        bound: Bound,
        asks: &[Ask],
        place: fn(&Self) -> &Place,
    ) -> (Vec<Vec<u8>>, Option<f64>) {
        let process = place(self).process;
        let next = AtomicUsize::new(0);
        let before = process.and_then(cpu);
        let start = Instant::now();
        let mut done: Vec<(usize, Duration, Vec<u8>)> = thread::scope(|scope| {
            let client = || {
                let mut done = Vec::new();
                while let Some((at, ask)) = Some(next.fetch_add(1, Relaxed)).and_then(|at| Some((at, asks.get(at)?))) {
                    let sent = Instant::now();
                    let answer = self.send_to(place(self), ask);
                    done.push((at, sent.elapsed(), answer));
                }
                done
            };
            let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
            clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
        });
        let took = start.elapsed().as_secs_f64();
        let spent = before.and_then(|before| Some(process.and_then(cpu)? - before));
        let mut times: Vec<Duration> = done.iter().map(|(_, time, _)| *time).collect();
        times.sort();
        let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_secs_f64() * 1000.0;
        let count = asks.len() as f64;
        let cpu = spent.map(|ticks| ticks as f64 * TICK_MS / count);
        let own = cpu.map(|cpu| cpu - bound.storage);
        let show = |ms: Option<f64>| ms.map_or("      —".to_owned(), |ms| format!("{ms:7.2}"));
        let wanted = bound.target.map_or(String::new(), |ms| format!("  ≤ {ms}"));
        let (cpu_shown, own_shown) = (show(cpu), show(own));
        println!(
            "{name:<18}{size:>7}{:>10.0}{:>10.1}{:>10.1}  {cpu_shown}  {own_shown}{wanted}",
            count / took,
            at(0.5),
            at(0.99)
        );
        self.rows.push(json!({
            "name": name, "size": size, "requests": asks.len(), "per_second": count / took, "p50_ms": at(0.5), "p99_ms": at(0.99),
            "cpu_ms": cpu, "own_cpu_ms": own, "target_own_cpu_ms": bound.target,
        }));
        done.sort_by_key(|(at, ..)| *at);
        (done.into_iter().map(|(.., answer)| answer).collect(), cpu)
    }
}

/// Processor time of a process and its threads so far, in ticks (proc(5), fields 14 and 15).
fn cpu(process: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some(fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?)
}

fn now() -> Seconds {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn post(path: String, body: Vec<u8>) -> Ask {
    Ask { method: "POST", path, kind: "application/cbor", statement: None, body }
}

fn path(deposit: &Deposit, end: &str) -> String {
    format!("/v1/deposits/{}{end}", deposit.id)
}

fn put(safe: SafeId, deposit: &Deposit, unique: bool) -> Ask {
    let secrets = DepositSecrets::derive(&deposit.d);
    let face = Face::seal(&face_text(), &deposit.d, &deposit.id, &mut rng(7)).unwrap();
    let root = Root(blake3(&deposit.body));
    let plain = Statement::new(safe, deposit.id, deposit.body.len() as u64, root, face, &secrets);
    let statement = Statement { unique: unique.then_some(true), ..plain };
    let header = format!(":{}:", data_encoding::BASE64.encode(&codec::encode(&statement)));
    Ask {
        method: "PUT",
        path: path(deposit, ""),
        kind: "application/octet-stream",
        statement: Some(header),
        body: deposit.body.clone(),
    }
}

fn claim(identity: &Identity, deposit: &Deposit, verb: Verb, shown: &Secret, end: &str) -> Ask {
    let now = now();
    let entry = identity.current(now).unwrap();
    let claim = Claim::make(shown, entry, &deposit.id, verb, now + CLAIM_SPAN, &mut fresh()).unwrap();
    post(path(deposit, end), codec::encode(&claim))
}

/// A stream that no other run has: safes remember nonces and ids.
fn fresh() -> impl rand_core::CryptoRng {
    static DRAWN: AtomicUsize = AtomicUsize::new(0);
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
    let seed = derive_secret(&secret(nanos), "bench", &DRAWN.fetch_add(1, Relaxed).to_be_bytes());
    protocol::crypto::expand_seed(&seed)
}

fn main() {
    let places = Place::of_variable("STRONGROOM_SAFE").zip(Place::of_variable("STRONGROOM_STORAGE"));
    let Some((safe, storage)) = places else {
        println!("nothing measured: STRONGROOM_SAFE names no running safe; `cargo xtask bench safe` starts one");
        return;
    };
    // Workerd closes idle connections; one that is about to be closed must not be taken for the next request.
    let agent = Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .max_idle_age(Duration::from_secs(1));
    let mut bench = Bench { safe, storage, agent: agent.build().into(), rows: Vec::new() };
    let get = |path: &str| Ask { method: "GET", path: path.into(), kind: "", statement: None, body: Vec::new() };
    let (_, identity) = Identity::of_descriptor(&bench.send(&get("/.well-known/strongroom")), None).unwrap();
    println!(
        "{:<18}{:>7}{:>10}{:>10}{:>10}{:>9}{:>9}",
        "request", "body", "a second", "p50 ms", "p99 ms", "CPU ms", "own ms"
    );
    // The first requests compile; they are not what is measured.
    let health = |count| (0..count).map(|_| get("/v1/health")).collect::<Vec<_>>();
    health(200).iter().for_each(|ask| drop(bench.send(ask)));
    for _ in 0..WARM_UP {
        let ask = put(identity.id(), &Deposit::make(1024), false);
        bench.send(&ask);
        bench.send_to(&bench.storage, &ask);
    }
    bench.phase("health", "", Bound::default(), &health(500));
    if env::var("STRONGROOM_LOAD").is_ok_and(|load| load == "owner") {
        owner::measure(&mut bench, &identity);
    } else {
        for (size, length, count) in SIZES {
            measure(&mut bench, &identity, size, length, count);
        }
    }
    if let Ok(report) = env::var("STRONGROOM_REPORT") {
        fs::write(report, serde_json::to_string_pretty(&bench.rows).unwrap()).unwrap();
    }
}

fn measure(bench: &mut Bench, identity: &Identity, size: &str, length: usize, count: usize) {
    // What a free plan gives a request is 10 ms.
    let target = Bound { target: Some(if length <= 1024 { 3.0 } else { 10.0 }), storage: 0.0 };
    let deposits: Vec<Deposit> = (0..count).map(|_| Deposit::make(length)).collect();
    let secrets: Vec<DepositSecrets> = deposits.iter().map(|deposit| DepositSecrets::derive(&deposit.d)).collect();
    let each = || deposits.iter().zip(&secrets);

    let asks: Vec<Ask> = deposits.iter().map(|deposit| put(identity.id(), deposit, false)).collect();
    let alone = bench.load("(storage alone)", size, Bound::default(), &asks, |bench| &bench.storage).1;
    let offers = bench.phase("deposit", size, Bound { storage: alone.unwrap_or_default(), ..target }, &asks);
    let confirm = |(deposit, offer): (&Deposit, &Vec<u8>)| {
        post(path(deposit, "/confirm"), codec::encode(&Confirm { suite: SUITE, offer: Root(blake3(offer)) }))
    };
    let asks: Vec<Ask> = deposits.iter().zip(&offers).map(confirm).collect();
    bench.phase("confirm", size, target, &asks);

    let asks: Vec<Ask> = each().map(|(of, s)| claim(identity, of, Verb::Retrieve, &s.retrieve, "/retrieve")).collect();
    let bodies = bench.phase("retrieve", size, target, &asks);
    assert!(bodies.iter().zip(&deposits).all(|(body, deposit)| *body == deposit.body));

    // The same by way of another safe: read, sealed and sent.
    let parcel = |(deposit, secrets): (&Deposit, &DepositSecrets)| {
        let sent = claim(identity, deposit, Verb::Retrieve, &secrets.retrieve, "").body;
        let (entry, expiry) = (identity.current(now()).unwrap(), Claim::parse(&sent).unwrap().expiry);
        let carried = Carried::Claim(deposit.id, sent.into());
        let (parcel, awaiting) = Parcel::make(&carried, expiry, entry, &SafeId([0xb1; 32]), &mut fresh()).unwrap();
        (post("/v1/parcels".into(), codec::encode(&parcel)), awaiting)
    };
    let (asks, awaiting): (Vec<Ask>, Vec<Awaiting>) = each().map(parcel).unzip();
    let brought = bench.phase("parcel", size, Bound { target: Some(10.0), ..target }, &asks);
    for ((body, awaiting), deposit) in brought.iter().zip(&awaiting).zip(&deposits) {
        assert_eq!(awaiting.open(body, MAX_DELIVERY_LEN).unwrap(), Delivery::Body(deposit.body.clone().into()));
    }

    let groups = group_count(length as u64) as u32;
    let audit = |(deposit, secrets): (&Deposit, &DepositSecrets)| {
        let mut random = fresh();
        let groups = (0..MAX_AUDIT_SLICES as u32 / 4).map(|_| random.next_u32() % groups).collect();
        let item = AuditItem { deposit: deposit.id, secret: secrets.audit.clone(), groups };
        let entry = identity.current(now()).unwrap();
        let sealed = seal_items(&[item], entry, now() + CLAIM_SPAN, &mut random).unwrap();
        post("/v1/audits".into(), codec::encode(&sealed))
    };
    let asks: Vec<Ask> = each().map(audit).collect();
    bench.phase("audit", size, target, &asks);

    let asks: Vec<Ask> = each().map(|(of, s)| claim(identity, of, Verb::Demand, &s.audit, "/demand")).collect();
    bench.phase("demand", size, target, &asks);

    // A unique value is claimed by two proposals to its register, whatever its size.
    let unique: Vec<Deposit> = (0..count).map(|_| Deposit::make(length)).collect();
    for deposit in &unique {
        let offer = bench.send(&put(identity.id(), deposit, true));
        bench.send(&confirm((deposit, &offer)));
    }
    let propose = |deposit: &Deposit, proposal: fn(ClaimantId) -> Proposal| {
        let claimant = derive_claimant(&secret(9));
        let secret = DepositSecrets::derive(&deposit.d).retrieve;
        let entry = identity.current(now()).unwrap();
        let expiry = now() + CLAIM_SPAN;
        let sealed =
            seal_proposal(&secret, &proposal(claimant), None, entry, &deposit.id, expiry, &mut fresh()).unwrap();
        post(path(deposit, "/register"), codec::encode(&sealed))
    };
    let prepare = |claimant| Proposal::Prepare(0, Ballot { counter: 1, claimant });
    let accept = |claimant| Proposal::Accept(0, Ballot { counter: 1, claimant }, claimant);
    let claims = unique.iter().flat_map(|deposit| [propose(deposit, prepare), propose(deposit, accept)]);
    bench.phase("claim", size, target, &claims.collect::<Vec<_>>());

    let asks: Vec<Ask> = each().map(|(of, s)| claim(identity, of, Verb::Release, &s.release, "/release")).collect();
    bench.phase("release", size, target, &asks);
}
