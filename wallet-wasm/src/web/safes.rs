//! Getting to know safes, and looking whether they are there.

use std::rc::Rc;

use protocol::{
    book::KnownSafe,
    identity::{Admission, Identity, MAX_DESCRIPTOR_LEN, MAX_NAME_LEN},
    ids::{SafeId, Seconds},
};
use serde::Serialize;
use wasm_bindgen_futures::spawn_local;

use crate::{
    exchange::descriptor_url,
    machine::{Event, given},
    session::{CLOCK_SLACK, Contact},
    view::{WhereaboutsView, draw_whereabouts, fingerprint},
    web::{
        driver::{Driver, now},
        error::EngineError,
        net::{self, Outgoing, Received},
    },
};

/// What a safe says of itself, for the owner to compare.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SafeProbe {
    id: String,
    name: String,
    url: String,
    fingerprint: String,
    limit_body: u64,
    admission: &'static str,
    whereabouts: WhereaboutsView,
    known: bool,
}

/// Where a safe answers: https anywhere, http on this machine only.
pub(crate) fn check_address(typed: &str) -> Result<String, EngineError> {
    let bad = || {
        let text =
            ("bad-address", "This is not the address of a safe.", Some("It looks like https://safe.example.org."));
        EngineError::new(text)
    };
    let typed = typed.trim();
    let whole = if typed.contains("://") { typed.to_owned() } else { format!("https://{typed}") };
    let url = web_sys::Url::new(&whole).map_err(|_| bad())?;
    let local = matches!(url.hostname().as_str(), "localhost" | "127.0.0.1" | "[::1]");
    let plain =
        url.username().is_empty() && url.password().is_empty() && url.search().is_empty() && url.hash().is_empty();
    let scheme = url.protocol();
    if !plain || !(scheme == "https:" || (scheme == "http:" && local)) {
        return Err(bad());
    }
    Ok(url.href().trim_end_matches('/').to_owned())
}

/// What a safe serves of itself, unchecked; `None`: nobody answers.
pub(crate) async fn fetch_descriptor(url: &str) -> Result<Option<Vec<u8>>, EngineError> {
    let outgoing = Outgoing {
        method: "GET",
        url: &descriptor_url(url),
        statement: None,
        token: None,
        content_type: "",
        body: None,
        most: MAX_DESCRIPTOR_LEN as u64,
    };
    let Some(answer) = net::send(outgoing).await.map(Received::into_answer) else { return Ok(None) };
    let stranger = ("not-a-safe", "What answers at this address is not a safe.", Some("Check the address."));
    if answer.status == 200 { Ok(Some(answer.body)) } else { Err(EngineError::new(stranger)) }
}

/// What a safe says of itself, checked.
pub(crate) struct Asked {
    pub(crate) safe: KnownSafe,
    pub(crate) identity: Identity,
    pub(crate) admission: Admission,
    /// Its clock.
    pub(crate) time: Seconds,
}

pub(crate) async fn ask(url: &str, pinned: Option<SafeId>, nickname: &str) -> Result<Asked, EngineError> {
    let away = ("safe-away", "Nobody answers at this address.", Some("Check the address and your connection."));
    let served = fetch_descriptor(url).await?.ok_or_else(|| EngineError::new(away))?;
    let (descriptor, identity) = Identity::of_descriptor(&served, pinned)?;
    let safe = KnownSafe {
        id: identity.id(),
        nickname: nickname.to_owned(),
        name: descriptor.name,
        url: url.to_owned(),
        identity: descriptor.identity,
        chain: descriptor.chain,
        limit_body: descriptor.limits.body,
        token: None,
        whereabouts: descriptor.whereabouts,
    };
    Ok(Asked { safe, identity, admission: descriptor.admission, time: descriptor.time })
}

impl Driver {
    pub(crate) async fn probe(&self, url: &str) -> Result<SafeProbe, EngineError> {
        let url = check_address(url)?;
        let Asked { safe, admission, .. } = ask(&url, None, "").await?;
        let known = self.with(|open| open.state.safes.contains_key(&safe.id))?;
        Ok(SafeProbe {
            id: safe.id.to_string(),
            fingerprint: fingerprint(&safe.id),
            whereabouts: draw_whereabouts(&safe),
            name: safe.name,
            url,
            limit_body: safe.limit_body,
            admission: if admission == Admission::Open { "open" } else { "token" },
            known,
        })
    }

    pub(crate) async fn pin(
        self: &Rc<Self>,
        url: &str,
        id: SafeId,
        nickname: &str,
        token: &str,
    ) -> Result<(), EngineError> {
        let url = check_address(url)?;
        let nickname = protocol::deposit::cut_text(nickname.trim(), MAX_NAME_LEN);
        let Asked { mut safe, time: clock, .. } = ask(&url, Some(id), nickname).await?;
        safe.token = given(token);
        if safe.nickname.is_empty() {
            safe.nickname.clone_from(&safe.name);
        }
        let taken = self.with(|open| open.state.safes.values().any(|s| s.nickname == safe.nickname && s.id != id))?;
        if taken {
            let text = ("nickname-taken", "Another safe has this name in your wallet.", Some("Choose another name."));
            return Err(EngineError::new(text));
        }
        self.handle(Event::AddSafe(safe)).await?;
        self.with(|open| {
            open.session.reached(id);
            open.session.set_clock(id, clock, now());
        })?;
        self.show();
        Ok(())
    }

    /// Asks again at once what waits or was refused.
    pub(crate) fn again(self: &Rc<Self>) -> Result<(), EngineError> {
        self.with(|open| open.session.retry())?;
        self.show();
        self.pump();
        Ok(())
    }

    /// Looks at every safe once: is it there, is it itself, has it new keys.
    pub(crate) fn look_at_safes(self: &Rc<Self>) {
        let Ok(safes) = self.with(|open| open.state.safes.values().cloned().collect::<Vec<_>>()) else { return };
        for safe in safes {
            let driver = Rc::clone(self);
            // A wallet that was locked meanwhile ends this by itself.
            spawn_local(async move {
                let _ = driver.look_at(safe).await;
            });
        }
    }

    /// A safe and this wallet did not understand each other. If it has other keys by now, or another clock than was thought, it is asked again at
    /// once, otherwise later; `why` is a phrase that follows its name.
    pub(crate) async fn look_again(self: &Rc<Self>, id: SafeId, why: String) -> Result<(), EngineError> {
        let Some(before) = self.with(|open| open.state.safes.get(&id).cloned())? else { return Ok(()) };
        let clock = || self.with(|open| open.session.clock_of(&id, now()));
        let (chain, time) = (before.chain.clone(), clock()?);
        Rc::clone(self).look_at(before).await?;
        let learned = clock()?.abs_diff(time) > CLOCK_SLACK;
        self.with(|open| {
            let same = open.state.safes.get(&id).is_some_and(|safe| safe.chain == chain);
            if same && !learned && open.session.contact(&id).0 == Contact::Reachable {
                open.session.failed(id, Contact::NotItself, why, now());
            }
        })
    }

    async fn look_at(self: Rc<Self>, known: KnownSafe) -> Result<(), EngineError> {
        let id = known.id;
        match ask(&known.url, Some(id), &known.nickname).await {
            Ok(Asked { safe: mut seen, time: clock, .. }) => {
                seen.token.clone_from(&known.token);
                self.with(|open| {
                    open.session.reached(id);
                    open.session.set_clock(id, clock, now());
                })?;
                if seen != known {
                    self.handle(Event::SafeSeen(seen)).await?;
                }
                self.with(|open| open.session.look_for_renewals(&open.state, &id, now()))?;
            }
            Err(error) => self.with(|open| {
                let contact = if error.is("safe-away") { Contact::Away } else { Contact::NotItself };
                open.session.failed(id, contact, error.message().to_owned(), now());
            })?,
        }
        self.show();
        self.pump();
        Ok(())
    }
}
