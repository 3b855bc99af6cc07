//! A safe in memory as tests visit it: with a clock that the test moves.

use std::{cell::Cell, rc::Rc};

use futures::{FutureExt, executor::block_on};
use protocol::{crypto::Secret, ids::Seconds};
use safe_worker::{
    flow::{Head, Policy},
    memory::MemorySafe,
    relay::Target,
};

use crate::{
    fixture::{NOW, secret},
    visit::{Ask, Got, SafeUnderTest},
};

/// A safe and its clock, both shared with the test while a visit goes on.
#[derive(Clone)]
pub struct InMemory {
    /// The safe.
    pub safe: Rc<MemorySafe>,
    /// Its clock.
    pub clock: Rc<Cell<Seconds>>,
    tokens: bool,
    drawn: u64,
}

impl Default for InMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl InMemory {
    /// One that takes deposits of anybody.
    pub fn new() -> Self {
        Self::admitting(false)
    }

    /// One that wants tokens, or not.
    pub fn admitting(tokens: bool) -> Self {
        Self::made("nordfels", 1, tokens, Rc::new(Cell::new(NOW + 1000)))
    }

    /// Several, with one clock.
    pub fn several(count: u64) -> Vec<Self> {
        let clock = Rc::new(Cell::new(NOW + 1000));
        (0..count).map(|i| Self::made(&format!("safe-{i}"), 100 + i, false, Rc::clone(&clock))).collect()
    }

    /// Several, with one clock, of which each asks all others for its owners.
    pub fn relaying(count: u64) -> Vec<Self> {
        let clock = Rc::new(Cell::new(NOW + 1000));
        let made = |i: u64| MemorySafe::new(&format!("safe-{i}"), &secret(100 + i), NOW).unwrap();
        let targets: Vec<Target> =
            (0..count).map(made).map(|safe| Target { safe: safe.id(), url: safe.url().to_owned() }).collect();
        let all: Rc<Vec<Rc<MemorySafe>>> = Rc::new(
            (0..count)
                .map(|i| {
                    let safe = made(i);
                    let relays = targets.iter().filter(|target| target.safe != safe.id()).cloned().collect();
                    Rc::new(safe.with_policy(Policy { relays, ..Policy::default() }))
                })
                .collect(),
        );
        for safe in all.iter() {
            // They keep each other, as long as the test runs.
            let peers = Rc::clone(&all);
            safe.set_peers(move |url, body, now| {
                let (peer, path) = peers.iter().find_map(|peer| Some((peer, url.strip_prefix(peer.url())?)))?;
                let ask = Ask::post_to(path, body);
                peer.handle(&head_of(&ask), ask.body, now).now_or_never()
            });
        }
        let one = |(i, safe): (usize, &Rc<MemorySafe>)| {
            let (safe, clock) = (Rc::clone(safe), Rc::clone(&clock));
            Self { safe, clock, tokens: false, drawn: (100 + i as u64) << 32 }
        };
        all.iter().enumerate().map(one).collect()
    }

    fn made(name: &str, seed: u64, tokens: bool, clock: Rc<Cell<Seconds>>) -> Self {
        let policy =
            Policy { token_key: tokens.then(|| secret(51)), operator_secret: Some(secret(52)), relays: Vec::new() };
        let safe = MemorySafe::new(name, &secret(seed), NOW).unwrap().with_policy(policy);
        // Visits of several safes draw from one stream of numbers, apart by safe.
        Self { safe: Rc::new(safe), clock, tokens, drawn: seed << 32 }
    }

    /// Lets time pass.
    pub fn wait(&self, seconds: Seconds) {
        self.clock.set(self.clock.get() + seconds);
    }

    /// Wakes the objects whose time has come.
    pub fn wake(&self) {
        block_on(self.safe.run_alarms(self.clock.get()));
    }

    /// The answer, or none if the Worker stopped at it.
    pub fn try_exchange(&mut self, ask: &Ask) -> Option<Got> {
        let answer = self.safe.handle(&head_of(ask), ask.body.clone(), self.clock.get()).now_or_never()?;
        let further = answer.header.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let headers =
            [("content-type".to_owned(), answer.content_type.to_owned())].into_iter().chain(further).collect();
        Some(Got { status: answer.status, headers, body: answer.body })
    }
}

/// A request as the safe's flow takes it.
pub fn head_of(ask: &Ask) -> Head {
    let (path, query) = ask.path.split_once('?').map_or((ask.path.as_str(), None), |(path, query)| (path, Some(query)));
    Head {
        method: ask.method.into(),
        path: path.to_owned(),
        query: query.map(str::to_owned),
        statement: ask.statement.clone(),
        token: ask.token.clone(),
        authorization: ask.authorization.clone(),
        content_type: ask.content_type.map(str::to_owned),
        length: ask.length.then_some(ask.body.len() as u64),
    }
}

impl SafeUnderTest for InMemory {
    fn exchange(&mut self, ask: &Ask) -> Got {
        self.try_exchange(ask).unwrap()
    }

    fn url(&self) -> String {
        self.safe.url().to_owned()
    }

    fn now(&self) -> Seconds {
        self.clock.get()
    }

    fn token_key(&self) -> Option<Secret> {
        self.tokens.then(|| secret(51))
    }

    fn operator_secret(&self) -> Option<Secret> {
        Some(secret(52))
    }

    fn draw(&mut self) -> u64 {
        self.drawn += 1;
        self.drawn
    }
}
