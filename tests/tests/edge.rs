//! Safes that run as the product does, over HTTP: the suite of every safe, and what only a network and parallel requests
//! can show.
//!
//! `cargo xtask test edge` starts them and sets `STRONGROOM_SAFES` and `STRONGROOM_KEYS`; without it there is nothing to test here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::{
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use protocol::{
    SUITE, certificate,
    claim::{CLAIM_SPAN, Claim, Confirm, Shown, Verb},
    codec,
    crypto::{Secret, blake3},
    identity::Entry,
    ids::{ClaimantId, Root, SafeId, Seconds},
    problem::Problem,
    register::{self, Accepted, Ballot, Next, Proposal, Proposer, Register, derive_claimant, quorum, seal_proposal},
    relay::Errand,
};
use rand_core::Rng;
use safe_worker::flow::{COSE, OCTETS};
use tests::{
    fixture::secret,
    owner_suite, relay_suite,
    relay_suite::{Owner, errand},
    safe_suite,
    safe_suite::held_unique,
    visit::{Ask, Deposit, Got, SafeUnderTest, Visit, assert_refused, granted},
};
use ureq::{Agent, SendBody, http};

/// A safe at an address.
#[derive(Clone)]
struct OverHttp {
    url: String,
    agent: Agent,
    token_key: Option<Secret>,
    operator_secret: Option<Secret>,
}

impl OverHttp {
    /// The safe at an address; its operator's keys are in a file.
    fn new(url: &str, keys: &Path) -> Self {
        let keys = std::fs::read(keys).unwrap_or_else(|e| panic!("{}: {e}", keys.display()));
        let keys: serde_json::Value = serde_json::from_slice(&keys).unwrap();
        let secret = |name: &str| {
            let bytes = data_encoding::HEXLOWER.decode(keys[name].as_str()?.as_bytes()).unwrap();
            Some(Secret::try_from(bytes.as_slice()).unwrap())
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            // workerd closes a connection that has been idle for five seconds (KJ's `pipelineTimeout`): who sends just then hears only that.
            .max_idle_age(Duration::from_secs(3))
            .timeout_global(Some(Duration::from_secs(180)));
        Self {
            url: url.trim_end_matches('/').to_owned(),
            agent: config.build().into(),
            token_key: secret("token_key"),
            operator_secret: secret("operator_secret"),
        }
    }
}

impl SafeUnderTest for OverHttp {
    fn exchange(&mut self, ask: &Ask) -> Got {
        let mut request = http::Request::builder().method(ask.method).uri(format!("{}{}", self.url, ask.path));
        let headers = [
            ("strongroom-statement", ask.statement.as_deref()),
            ("strongroom-token", ask.token.as_deref()),
            ("authorization", ask.authorization.as_deref()),
            ("content-type", ask.content_type),
        ];
        for (name, value) in headers {
            request = value.into_iter().fold(request, |request, value| request.header(name, value));
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

    fn token_key(&self) -> Option<Secret> {
        self.token_key.clone()
    }

    fn operator_secret(&self) -> Option<Secret> {
        self.operator_secret.clone()
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
    let keys = std::env::var_os("STRONGROOM_KEYS").expect("STRONGROOM_KEYS names the keys files of STRONGROOM_SAFES");
    urls.split(',').zip(std::env::split_paths(&keys)).map(|(url, keys)| OverHttp::new(url.trim(), &keys)).collect()
}

fn for_each_safe(case: fn(&mut dyn SafeUnderTest)) {
    safes().iter_mut().for_each(|safe| case(safe));
}

safe_suite!(for_each_safe);
owner_suite!(for_each_safe);

/// Each of the safes asks the next one.
fn for_each_pair(case: fn(&mut dyn SafeUnderTest, &mut dyn SafeUnderTest)) {
    let all = safes();
    for (i, between) in all.iter().enumerate().filter(|_| all.len() > 1) {
        case(&mut between.clone(), &mut all[(i + 1) % all.len()].clone());
    }
}

relay_suite!(for_each_pair);

/// Another safe that redirects, refuses, sends without end, or never answers: its owner hears that it failed, and nobody else is asked.
#[test]
fn a_safe_follows_nobody_and_waits_for_nobody_without_end() {
    let all = safes();
    let Ok(port) = std::env::var("STRONGROOM_PLAYED") else { return };
    let played = TcpListener::bind(("127.0.0.1", port.parse().unwrap())).unwrap();
    let (mut between, mut other) = (all[0].clone(), all[1].clone());
    let head = |status: &str, more: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{more}\r\n");
    let redirection =
        head("307 Temporary Redirect", &format!("Location: {}/v1/parcels\r\nContent-Length: 0\r\n", other.url));
    let (endless, refusal) = (head("200 OK", ""), head("403 Forbidden", "Content-Length: 0\r\n"));
    let (mut between, mut other) = (Visit::new(&mut between), Visit::new(&mut other));
    let owner = Owner::new(&mut between);
    let (deposit, ..) = other.held(100);
    for (says, more) in [(redirection, false), (endless, true), (refusal, false), (String::new(), false)] {
        let (sent, _) = errand(&between, &mut other, &deposit);
        let sent = Errand { to: SafeId([0x5e; 32]), ..sent };
        let refused = thread::scope(|scope| {
            scope.spawn(|| {
                let (mut door, _) = played.accept().unwrap();
                let mut asked = [0; 17];
                door.read_exact(&mut asked).unwrap();
                assert_eq!(&asked, b"POST /v1/parcels ");
                door.write_all(says.as_bytes()).unwrap();
                let part = [7; 1024];
                while more && door.write_all(&part).is_ok() {}
                // Until it is hung up on.
                let _ = door.read_to_end(&mut Vec::new());
            });
            owner.send(&mut between, &sent)
        });
        assert_refused(&refused, Problem::RelayFailed);
    }
    // The redirection came to nothing: the claim that went there was never used.
    let (sent, _) = errand(&between, &mut other, &deposit);
    granted(owner.send(&mut between, &sent), 200, OCTETS);
}

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
        let offers: Vec<_> =
            at_once(&door, &four_of(visit.put_ask(&deposit))).into_iter().map(|got| got.body).collect();
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
        let answers = at_once(&door, &rivals.iter().map(|rival| visit.put_ask(rival)).collect::<Vec<_>>());
        let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|got| got.status == 201);
        assert_eq!(won.len(), 1);
        lost.iter().for_each(|got| assert_refused(got, Problem::Conflict));
    }
}

/// One register of a generation, as its claimants know it.
struct Place {
    door: OverHttp,
    entry: Entry,
    deposit: Deposit,
}

impl Place {
    /// Asks; what does not count as an answer is no answer.
    fn propose(&self, proposal: &Proposal, seed: u64) -> register::Answer {
        let (secret, expiry) = (&self.deposit.secrets.retrieve, self.door.now() + CLAIM_SPAN);
        let mut rng = tests::fixture::rng(seed);
        let request = seal_proposal(secret, proposal, None, &self.entry, &self.deposit.id, expiry, &mut rng).unwrap();
        let got = self.door.clone().exchange(&Ask::post(&self.deposit.id, "register", codec::encode(&request)));
        safe_suite::register_says(got, secret, &request.nonce, proposal)
    }

    fn fetch(&self, x: &Secret, seed: u64) -> Got {
        let (secret, expiry) = (&self.deposit.secrets.retrieve, self.door.now() + CLAIM_SPAN);
        let mut rng = tests::fixture::rng(seed);
        let (id, verb) = (&self.deposit.id, Verb::Retrieve);
        let claim = Claim::make_with(
            &Shown { x: Some(x.clone()), ..Shown::secret(secret.clone()) },
            &self.entry,
            id,
            verb,
            expiry,
            &mut rng,
        )
        .unwrap();
        self.door.clone().exchange(&Ask::post(id, "retrieve", codec::encode(&claim)))
    }
}

/// A claimant, until it knows who is chosen. Safe number `liar` says whatever helps this claimant.
fn claim(places: &[Place], x: &Secret, liar: Option<usize>, seed: u64) -> ClaimantId {
    let mine = derive_claimant(x);
    let mut proposer = Proposer::new(places.len(), 1, 0, mine);
    let mut rng = tests::fixture::rng(seed);
    for round in 0..40u32 {
        let mut at = (rng.next_u64() % 5) as usize;
        loop {
            let open = (0..places.len()).map(|i| (at + i) % places.len()).find(|i| !proposer.answers().contains_key(i));
            // All have answered and there is no quorum: the round is lost.
            let Some(safe) = open else { break };
            let ask = proposer.ask();
            let answer = if liar == Some(safe) {
                // To each claimant it names that claimant, under the highest ballot there is.
                let ballot = Ballot { counter: u32::MAX, claimant: mine };
                let accepted = Some(Accepted { ballot, value: mine });
                register::Answer { taken: true, register: Register { epoch: 0, promised: Some(ballot), accepted } }
            } else {
                places[safe].propose(&ask, rng.next_u64())
            };
            match proposer.take_in(safe, answer) {
                Next::Chosen(who) => return who,
                Next::Again => break,
                _ => at = safe + 1,
            }
        }
        // Not to meet the same rivals again: a random while, longer each time, up to 20 s; a wallet waits up to two minutes.
        thread::sleep(Duration::from_millis(rng.next_u64() % (20 << round.min(10))));
        proposer.begin_round();
    }
    panic!("nobody was chosen in forty rounds");
}

/// A hundred devices want the same ticket at once.
#[test]
fn of_a_hundred_claimants_one_gets_the_value() {
    const CLAIMANTS: u64 = 100;
    const ROUNDS: u64 = 20;
    let mut safes = safes();
    if safes.len() < 5 {
        return;
    }
    let began = safes[0].draw() << 20;
    for round in 0..ROUNDS {
        // Every fourth time one of the five lies.
        let liar = (round % 4 == 3).then_some((round % 5) as usize);
        let place = |safe: &mut OverHttp| {
            let door = safe.clone();
            let mut visit = Visit::new(safe);
            let deposit = held_unique(&mut visit);
            Place { door, entry: visit.identity.current(visit.now()).unwrap().clone(), deposit }
        };
        let places: Vec<Place> = safes.iter_mut().take(5).map(place).collect();
        let xs: Vec<Secret> = (0..CLAIMANTS).map(|i| secret(began + round * CLAIMANTS + i)).collect();
        let heard: Vec<ClaimantId> = thread::scope(|scope| {
            let claiming = |(i, x)| {
                let (places, seed) = (&places, began + (1 << 19) + round * CLAIMANTS + i as u64);
                scope.spawn(move || claim(places, x, liar, seed))
            };
            let claiming: Vec<_> = xs.iter().enumerate().map(claiming).collect();
            claiming.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        // Everyone has heard the same, and it is one of them.
        let chosen = heard[0];
        assert!(heard.iter().all(|who| *who == chosen), "round {round}");
        let winner = xs.iter().position(|x| derive_claimant(x) == chosen).expect("a claimant");
        // The chosen one gets the pieces where a quorum accepted it, and another one gets none there.
        let honest = (0..places.len()).filter(|safe| Some(*safe) != liar);
        let handed: usize = honest
            .map(|safe| {
                let loser = (winner + 1) % xs.len();
                assert_refused(&places[safe].fetch(&xs[loser], began + safe as u64), Problem::Claimed);
                usize::from(places[safe].fetch(&xs[winner], began + 9 + safe as u64).status == 200)
            })
            .sum();
        assert!(handed >= quorum(5, 1) - usize::from(liar.is_some()), "{handed} in round {round}");
    }
}
