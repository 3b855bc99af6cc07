//! The owner in the browser: what [`crate::owner`] asks of safes, carried there; enrolling, and coming back.

use std::rc::Rc;

use futures::future::join_all;
use js_sys::Uint8Array;
use protocol::{
    book::KnownSafe,
    codec,
    crypto::{PassphraseCost, Secret},
    ids::SafeId,
    owner::{
        enrolment::{Enrolling, Stretched, may_be},
        login::{Agreed, Attempt, ChannelKey, Known, LoginError, agree},
        messages::{Address, Evaluated, Look, MAX_ANSWER_LEN, Question, Topic},
        name::{self, NameKey},
    },
    passphrase::{self, check_new},
};
use serde::Serialize;

use crate::{
    exchange::{Meaning, Request, base},
    machine::{Enrol, Event},
    owner::{
        self, Arrived, Errand, Making, Told, arrival, arrived, come_back, epoch_after, interpret, look_request,
        question, read_look,
    },
    web::{
        driver::{Driver, fresh_rng, now},
        error::EngineError,
        net::{self, Received},
        nfc,
        safes::ask,
    },
};

/// Somebody who has said a name and looked at safes.
pub(crate) struct Coming {
    name: String,
    key: NameKey,
    agreed: Agreed,
    safes: Vec<Found>,
    /// The randomness of the try: the same passphrase again is the same try.
    seed: Secret,
}

/// A safe that shows the name.
#[derive(Clone)]
struct Found {
    safe: KnownSafe,
    look: Look,
}

/// What a look found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LookReport {
    name: String,
    threshold: u8,
    seats: usize,
    answered: Vec<String>,
    silent: Vec<String>,
    /// Guesses that as many safes answer as are needed: now, and ever.
    guesses: u32,
    guesses_ever: u32,
    wait: Option<f64>,
}

/// What coming back found.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CameBack {
    values: Vec<String>,
    /// Parts of the book that are still to be fetched.
    chapters: usize,
    left_out: u32,
    wrong: Vec<String>,
}

fn bad_name(error: name::NameError) -> EngineError {
    EngineError::of("bad-name", &error, Some("It is made of letters, digits, dots and hyphens."))
}

fn login_error(error: LoginError) -> EngineError {
    let (code, next) = match error {
        LoginError::UnknownName => ("unknown-name", Some("Check the name and the addresses of the safes.")),
        LoginError::TooFew { .. } => ("too-few-safes", Some("Name more of your safes, or try again later.")),
        LoginError::Contradiction => ("safes-contradict", Some("Name all of your safes.")),
        LoginError::WrongPassphrase => ("wrong-passphrase", Some("Try again; guesses are counted.")),
        _ => ("no-login", Some("Try again.")),
    };
    EngineError::of(code, &error, next)
}

/// Sends a question to a safe, outside of any wallet.
async fn ask_safe(request: &Request) -> Option<Vec<u8>> {
    let body = request.body.as_ref().and_then(|body| net::body_of(&Uint8Array::from(body.as_slice())));
    let answer = net::send_request(request, body.as_ref()).await.map(Received::into_answer)?;
    (answer.status == 200).then_some(answer.body)
}

impl Driver {
    /// One errand: look, ask, and what it means.
    pub(crate) async fn converse(self: &Rc<Self>, safe: SafeId, errand: Errand) -> Result<(), EngineError> {
        let stranger = self.with(|open| owner::stranger(&open.state, &safe))?;
        if let (Errand::Ticket(_), Some(why)) = (errand, stranger) {
            return self.owner_hindered(safe, Meaning::Refused(why)).await;
        }
        let look = self.with(|open| {
            let owner = open.state.owner.as_ref()?;
            Some(look_request(&open.state.safes.get(&safe)?.url, &owner.name_key, &safe))
        })?;
        let Some(request) = look else { return Ok(()) };
        let answer = net::send_request(&request, None).await.map(Received::into_answer);
        let look = match read_look(answer) {
            Ok(look) => look,
            Err(meaning) => return self.owner_hindered(safe, meaning).await,
        };
        let mut rng = fresh_rng()?;
        let question = self.with(|open| {
            open.session.set_clock(safe, look.time, now());
            question(&open.state, &safe, errand, &look, &mut rng)
        })?;
        let Ok((request, asked)) = question else {
            return self.look_again(safe, "has no key to seal to now".to_owned()).await;
        };
        let body = request.body.as_ref().and_then(|body| net::body_of(&Uint8Array::from(body.as_slice())));
        let answer = net::send_request(&request, body.as_ref()).await.map(Received::into_answer);
        let meaning = self.with(|open| interpret(&open.state, &safe, errand, asked, answer))?;
        match meaning {
            Meaning::Event(event) => {
                self.with(|open| open.session.reached(safe))?;
                self.handle(*event).await
            }
            Meaning::Ticket(ticket) => self.with(|open| open.session.set_ticket(safe, ticket, now())),
            other => self.owner_hindered(safe, other).await,
        }
    }

    async fn owner_hindered(self: &Rc<Self>, safe: SafeId, meaning: Meaning) -> Result<(), EngineError> {
        match meaning {
            Meaning::Refused(why) => self.with(|open| drop(open.session.owner_refusals.insert(safe, why))),
            other => self.hindered_by_safe(safe, other).await,
        }
    }

    // ---- enrolling ---------------------------------------------------------------------------------------------

    pub(crate) async fn enrol(
        self: &Rc<Self>,
        handle: &str,
        typed: &str,
        threshold: u8,
        safes: &[String],
    ) -> Result<String, EngineError> {
        let handle = name::normalise(handle, nfc).map_err(bad_name)?;
        let passphrase = check_new(typed, nfc)?;
        let ids = safes.iter().map(|id| super::safe_id(id)).collect::<Result<Vec<_>, _>>()?;
        if !may_be(usize::from(threshold), ids.len()) {
            let text = "More than half of the safes must be needed, and at least two.";
            return Err(EngineError::new(("bad-threshold", text, Some("Choose other numbers."))));
        }
        let mut rng = fresh_rng()?;
        let name = name::make_name(&handle, &mut rng).map_err(bad_name)?;
        let name_key = self.derive_key(&NameKey::stretch(), &name).await?;
        let seed = Secret::make_random(&mut rng);
        let enrolling = Enrolling::start(&seed, &ids, threshold, &passphrase, PassphraseCost::STANDARD)?;
        let (stretch, output) = enrolling.to_stretch();
        let stretched = self.derive_key_of(stretch, output).await?;
        let key = NameKey::new(name_key.clone());
        let made = enrolling.finish(&Stretched::new(stretched.clone()), &key, 1)?;
        let new = Enrol {
            name: name.clone(),
            name_key,
            credential: Secret::make_random(&mut rng),
            threshold,
            making: Making::of(&made, stretched),
            epoch: epoch_after([], &mut rng),
        };
        self.handle(Event::Enrol(Box::new(new))).await?;
        Ok(name)
    }

    // ---- coming back -------------------------------------------------------------------------------------------

    pub(crate) async fn look_for_owner(
        self: &Rc<Self>,
        typed: &str,
        addresses: &[String],
    ) -> Result<LookReport, EngineError> {
        let name = name::normalise(typed, nfc).map_err(bad_name)?;
        let key = self.derive_key(&NameKey::stretch(), &name).await?;
        let key = NameKey::new(key);
        let mut urls =
            addresses.iter().map(|typed| super::safes::check_address(typed)).collect::<Result<Vec<_>, _>>()?;
        // Named twice is named once: more than half of the safes that were named must agree.
        urls.sort_unstable();
        urls.dedup();
        let looks = join_all(urls.iter().map(|url| {
            let key = key.clone();
            async move {
                let (safe, ..) = ask(url, None, "").await.ok()?;
                let request = look_request(url, key.expose(), &safe.id);
                let look = read_look(net::send_request(&request, None).await.map(Received::into_answer)).ok()?;
                Some(Found { safe, look })
            }
        }))
        .await;
        let silent = urls.iter().zip(&looks).filter(|(_, found)| found.is_none()).map(|(url, _)| url.clone()).collect();
        let mut safes: Vec<Found> = Vec::new();
        for found in looks.into_iter().flatten() {
            if safes.iter().all(|known| known.safe.id != found.safe.id) {
                safes.push(found);
            }
        }
        let shown: Vec<_> = safes.iter().map(|found| (found.safe.id, found.look.clone())).collect();
        let agreed = agree(&key, &shown, urls.len()).map_err(login_error)?;
        safes.retain(|found| agreed.shown_by.contains(&found.safe.id));
        // A try takes as many safes as are needed: the one with the fewest guesses among the best of them decides.
        let threshold = agreed.enrolment.threshold;
        let needed = |left: &dyn Fn(&Look) -> u32| {
            let mut all: Vec<u32> = safes.iter().map(|found| left(&found.look)).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.get(usize::from(threshold) - 1).copied().unwrap_or(0)
        };
        let found = LookReport {
            name: name.clone(),
            threshold,
            seats: agreed.enrolment.seats.len(),
            answered: safes.iter().map(|found| found.safe.name.clone()).collect(),
            silent,
            guesses: needed(&|look| look.left.now),
            guesses_ever: needed(&|look| look.left.ever),
            wait: safes.iter().filter_map(|found| found.look.left.wait).max().map(|wait| wait as f64),
        };
        let seed = Secret::make_random(&mut fresh_rng()?);
        *self.coming.borrow_mut() = Some(Coming { name, key, agreed, safes, seed });
        Ok(found)
    }

    /// A question to a safe that was found, with a fresh challenge.
    async fn ask_found(
        &self,
        key: &NameKey,
        found: &Found,
        topic: Topic,
        plain: &[u8],
        channel: Option<&ChannelKey>,
    ) -> Option<zeroize::Zeroizing<Vec<u8>>> {
        let (safe, account) = (&found.safe.id, key.account(&found.safe.id));
        let request = look_request(&found.safe.url, key.expose(), safe);
        let look = read_look(net::send_request(&request, None).await.map(Received::into_answer)).ok()?;
        let identity = found.safe.verify().ok()?;
        let entry = identity.current(look.time).ok()?;
        let address = Address { safe, account: &account, topic };
        let mut rng = fresh_rng().ok()?;
        let proof = channel.map(ChannelKey::proof);
        let (question, answering) = Question::make(&address, plain, entry, &look.challenge, proof, &mut rng).ok()?;
        let request = Request {
            method: "POST",
            url: format!("{}/v1/owners/{account}/{}", base(&found.safe.url), topic.label()),
            content_type: "application/cbor",
            body: Some(codec::encode(&question)),
            most: MAX_ANSWER_LEN as u64,
            ..request
        };
        answering.open(&ask_safe(&request).await?).ok()
    }

    pub(crate) async fn come_back(self: &Rc<Self>, typed: &str) -> Result<CameBack, EngineError> {
        let gone = || EngineError::new(("unknown-name", "Say your name first.", None));
        let passphrase = passphrase::normalise(typed, nfc)?;
        let (name, key, agreed, safes, seed) = {
            let coming = self.coming.borrow();
            let coming = coming.as_ref().ok_or_else(gone)?;
            let Coming { name, key, agreed, safes, seed } = coming;
            (name.clone(), key.clone(), agreed.clone(), safes.clone(), seed.clone())
        };
        // The same passphrase is the same try, another one another.
        let context = protocol::crypto::blake3(passphrase.as_bytes());
        let mut rng = protocol::crypto::expand_seed(&protocol::crypto::derive_secret(&seed, "try", &context));
        let attempt = agreed.start(&passphrase, &mut rng)?;
        let (known, mut wrong) = self.try_passphrase(&key, &safes, attempt).await?;
        // Now it is the owner. Each safe is told so, hands out what it has, and gets to know this device.
        // One that it has already stays the same.
        let mine = self.with(|open| open.state.owner.as_ref().map(|owner| owner.credential.clone()))?;
        let credential = match mine {
            Some(credential) => credential,
            None => Secret::make_random(&mut fresh_rng()?),
        };
        let told = join_all(safes.iter().map(|found| self.come_in(&key, found, &known, &credential))).await;
        let told = told.into_iter().flatten().collect();
        let (back, liars) = come_back(name, &key, &known, credential, told, &mut fresh_rng()?).map_err(login_error)?;
        let named = |id: &SafeId| safes.iter().find(|found| found.safe.id == *id).map(|found| found.safe.name.clone());
        wrong.extend(liars.iter().filter_map(named));
        let entries = back.newest.iter().flat_map(|(_, content)| &content.book.entries);
        let came = CameBack {
            values: entries.flat_map(|entry| &entry.values).map(|value| value.title.clone()).collect(),
            chapters: back.newest.as_ref().map_or(0, |(_, content)| content.chapters.len()),
            left_out: back.newest.as_ref().map_or(0, |(_, content)| content.left_out),
            wrong,
        };
        self.with(|open| open.session.came_back())?;
        self.handle(Event::OwnerReturned(Box::new(back))).await?;
        *self.coming.borrow_mut() = None;
        self.look_at_safes();
        Ok(came)
    }

    /// The round of phase 1: all are asked, the answers of as many as are needed are used.
    async fn try_passphrase(
        &self,
        key: &NameKey,
        safes: &[Found],
        mut attempt: Attempt,
    ) -> Result<(Known, Vec<String>), EngineError> {
        let guesses: Vec<_> = safes.iter().map(|found| codec::encode(&attempt.guess_at(&found.safe.id))).collect();
        let asking =
            safes.iter().zip(&guesses).map(|(found, guess)| self.ask_found(key, found, Topic::Evaluate, guess, None));
        let answers = join_all(asking).await;
        let (mut wrong, mut locked) = (Vec::new(), 0);
        for (found, answer) in safes.iter().zip(answers) {
            let Some(answer) = answer else { continue };
            match codec::decode::<Evaluated>(&answer, MAX_ANSWER_LEN) {
                Ok(Evaluated::Locked(_)) => locked += 1,
                Ok(evaluated) if attempt.take(&found.safe.id, &evaluated).is_ok() => {}
                _ => wrong.push(found.safe.name.clone()),
            }
        }
        if attempt.missing() > 0 && locked > 0 {
            let text = "Too many passphrases were tried; your safes answer no more of them now.";
            return Err(EngineError::new((
                "no-guesses",
                text,
                Some("Wait a day, or use another device that is enrolled."),
            )));
        }
        let waiting = attempt.finish().map_err(login_error)?;
        let (stretch, output) = waiting.to_stretch();
        let stretched = Stretched::new(self.derive_key_of(&stretch, output).await?);
        Ok((waiting.finish(stretched).map_err(login_error)?, wrong))
    }

    /// The first channel to a safe.
    async fn come_in(&self, key: &NameKey, found: &Found, known: &Known, credential: &Secret) -> Option<Told> {
        let channel = known.channel(&found.safe.id);
        let mut without = None;
        // Where there is no room for this device, it is made once.
        for _ in 0..2 {
            let actions = codec::encode(&arrival(known, &found.safe.id, credential, without));
            let answer = self.ask_found(key, found, Topic::Channel, &actions, Some(&channel)).await?;
            match arrived(&found.safe, codec::decode(&answer, MAX_ANSWER_LEN).ok()?)? {
                Arrived::Told(told) => return Some(*told),
                Arrived::Full(oldest) => without = Some(oldest),
            }
        }
        None
    }
}
