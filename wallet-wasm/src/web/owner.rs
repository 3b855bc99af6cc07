//! The owner in the browser: what [`crate::owner`] asks of safes, carried there; enrolling, and coming back.

use std::rc::Rc;

use futures::future::join_all;
use js_sys::Uint8Array;
use protocol::{
    book::KnownSafe,
    bundle::ValueMeta,
    codec,
    crypto::{PassphraseCost, Secret},
    identity::Identity,
    ids::SafeId,
    owner::{
        device::Handle,
        enrolment::{Enrolling, Stretched, may_be},
        kit::{Kit, code_of},
        login::{Agreed, Attempt, ChannelKey, Counter, Known, LoginError, Recognised, agree},
        messages::{Address, Evaluated, Greeting, Guesses, Head, Look, MAX_ANSWER_LEN, Question, Topic},
        name::{self, NameKey},
        note::{Note, credential_id},
    },
    passphrase::{self, check_new},
};
use serde::Serialize;

use crate::{
    exchange::{Meaning, Request, base},
    machine::{Enrol, Event},
    owner::{
        self, Arrived, Errand, Making, Told, arrival, arrived, come_back, epoch_after, interpret, is_due, look_request,
        question_by, read_look, visit, visited,
    },
    web::{
        driver::{Driver, fresh_rng, now},
        error::EngineError,
        net::{self, Received},
        nfc,
        safes::{Asked, ask},
    },
};

/// Somebody who has said who he is, and looked at safes.
#[derive(Clone)]
pub(crate) struct Coming {
    /// Empty for a device, which knows only what became of it.
    pub(crate) name: String,
    pub(crate) key: NameKey,
    pub(crate) agreed: Agreed,
    pub(crate) safes: Vec<Found>,
    silent: Vec<String>,
    /// The randomness of the try: the same passphrase again is the same try.
    seed: Secret,
    /// Whose guesses are used, where not those of the name.
    counter: Option<Counter>,
    /// A device that is to be asked.
    handle: Option<Handle>,
}

impl Coming {
    /// Who has the device that was asked is the owner.
    pub(super) fn unlock(&self, output: &Secret) -> Result<Recognised, EngineError> {
        let handle = self.handle.clone().ok_or_else(nobody)?;
        Ok(Recognised::Device(Box::new((self.agreed.clone(), handle.unlock(output)))))
    }

    /// Tries are counted among those of this wallet.
    pub(crate) fn counted_by(&mut self, wallet: Option<Secret>) {
        self.counter = wallet.map(Counter::Wallet);
    }
}

/// A safe that shows the name.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) safe: KnownSafe,
    /// Its chain, checked: that takes longer than all else that is said in a question.
    identity: Identity,
    /// What is left of the guesses: by name, or of the kit.
    left: Guesses,
}

impl Found {
    /// One that is known already, and was not asked yet.
    pub(crate) const fn of(safe: KnownSafe, identity: Identity) -> Self {
        Self { safe, identity, left: Guesses { now: 0, ever: 0, wait: None } }
    }
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
    /// What the kit is called, if there is one.
    kit: Option<String>,
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

/// A passkey of another site of somebody's, or of another owner.
pub(super) fn not_the_device() -> EngineError {
    EngineError::new(("not-the-device", "This passkey does not bring you back: it is for something else.", None))
}

pub(super) fn nobody() -> EngineError {
    EngineError::new(("unknown-name", "Say who you are first.", None))
}

fn bad_name(error: name::NameError) -> EngineError {
    EngineError::of("bad-name", &error, Some("It is made of letters, digits, dots and hyphens."))
}

pub(super) fn login_error(error: LoginError) -> EngineError {
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
        let barred = self.with(|open| owner::barred(&open.state, &safe, errand))?;
        let visitor = self.visitor.borrow().as_ref().map(|known| known.channel(&safe));
        match barred.filter(|_| visitor.is_none()) {
            Some(Meaning::Event(event)) => return self.handle(*event).await,
            Some(meaning) => return self.owner_hindered(safe, meaning).await,
            None => {}
        }
        let look = match self.look_at_owner(safe).await? {
            Some(Ok(look)) => look,
            Some(Err(meaning)) => return self.owner_hindered(safe, meaning).await,
            None => return Ok(()),
        };
        let mut rng = fresh_rng()?;
        let question = self.with(|open| {
            open.session.set_clock(safe, look.time, now());
            let due = is_due(&open.state, &safe, errand);
            due.then(|| question_by(&open.state, &safe, errand, &look, visitor.as_ref(), &mut rng))
        })?;
        let (request, asked) = match question {
            None => return Ok(()),
            Some(Ok(question)) => question,
            Some(Err(_)) => return self.look_again(safe, "has no key to seal to now".to_owned()).await,
        };
        let body = request.body.as_ref().and_then(|body| net::body_of(&Uint8Array::from(body.as_slice())));
        let answer = net::send_request(&request, body.as_ref()).await.map(Received::into_answer);
        let meaning = self.with(|open| interpret(&open.state, &safe, errand, asked, answer))?;
        match meaning {
            Meaning::Event(event) => {
                self.with(|open| open.session.reached(safe))?;
                self.handle(*event).await
            }
            Meaning::Ticket(ticket) => self.with(|open| {
                open.session.answers(safe);
                open.session.set_ticket(safe, ticket, now());
            }),
            other => self.owner_hindered(safe, other).await,
        }
    }

    /// Looks at the owner's account at a safe. `None`: there is no owner, or no such safe any more.
    pub(crate) async fn look_at_owner(&self, safe: SafeId) -> Result<Option<Result<Look, Meaning>>, EngineError> {
        let look = self.with(|open| {
            let owner = open.state.owner.as_ref()?;
            Some(look_request(&open.state.safes.get(&safe)?.url, &owner.name_key, &safe))
        })?;
        let Some(request) = look else { return Ok(None) };
        let answer = net::send_request(&request, None).await.map(Received::into_answer);
        Ok(Some(read_look(answer)))
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
        label: &str,
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
            label: label.to_owned(),
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
        let urls = addresses.iter().map(|typed| super::safes::check_address(typed)).collect::<Result<Vec<_>, _>>()?;
        let key = NameKey::new(self.derive_key(&NameKey::stretch(), &name).await?);
        self.found(self.look_around(name, key, urls).await?)
    }

    /// The same with what stands on a kit.
    pub(crate) async fn look_with_kit(self: &Rc<Self>, text: &str) -> Result<LookReport, EngineError> {
        let coming = self.look_at_kit(&Kit::parse(text)?).await?;
        self.found(coming)
    }

    /// The same for a device that has said whose it is. The safes show that they have their keys before it is asked for its own.
    pub(crate) async fn look_for_device(
        self: &Rc<Self>,
        handle: &[u8],
        addresses: &[String],
    ) -> Result<LookReport, EngineError> {
        let handle = Handle::parse(handle).map_err(|_| not_the_device())?;
        let urls = addresses.iter().map(|typed| super::safes::check_address(typed)).collect::<Result<Vec<_>, _>>()?;
        let mut coming = self.look_around(String::new(), handle.name.clone(), urls).await?;
        coming.handle = Some(handle);
        self.greet(&mut coming).await?;
        self.found(coming)
    }

    /// What safes show that are named on a kit.
    pub(crate) async fn look_at_kit(self: &Rc<Self>, kit: &Kit) -> Result<Coming, EngineError> {
        let name = name::normalise(&kit.name, nfc).map_err(bad_name)?;
        let key = NameKey::new(self.derive_key(&NameKey::stretch(), &name).await?);
        let urls =
            kit.safes.iter().map(|safe| super::safes::check_address(&safe.url)).collect::<Result<Vec<_>, _>>()?;
        let mut coming = self.look_around(name, key, urls).await?;
        if coming.agreed.enrolment.generation < kit.generation {
            let text = "These safes show an enrolment that is older than the kit.";
            return Err(EngineError::new(("safes-behind", text, Some("Try again when more of your safes answer."))));
        }
        coming.counter = Some(Counter::Kit(kit.secret.clone()));
        self.greet(&mut coming).await?;
        Ok(coming)
    }

    /// Looks at safes, and finds the statement that enough of them show.
    pub(crate) async fn look_around(
        &self,
        name: String,
        key: NameKey,
        mut urls: Vec<String>,
    ) -> Result<Coming, EngineError> {
        // Named twice is named once: more than half of the safes that were named must agree.
        urls.sort_unstable();
        urls.dedup();
        let looks = join_all(urls.iter().map(|url| {
            let key = key.clone();
            async move {
                let Asked { safe, identity, .. } = ask(url, None, "").await.ok()?;
                let request = look_request(url, key.expose(), &safe.id);
                let look = read_look(net::send_request(&request, None).await.map(Received::into_answer)).ok()?;
                Some((Found { safe, identity, left: look.left }, look))
            }
        }))
        .await;
        let silent = urls.iter().zip(&looks).filter(|(_, found)| found.is_none()).map(|(url, _)| url.clone()).collect();
        let (mut safes, mut shown): (Vec<Found>, Vec<(SafeId, Look)>) = (Vec::new(), Vec::new());
        for (found, look) in looks.into_iter().flatten() {
            if safes.iter().all(|known| known.safe.id != found.safe.id) {
                shown.push((found.safe.id, look));
                safes.push(found);
            }
        }
        let agreed = agree(&key, &shown, urls.len()).map_err(login_error)?;
        safes.retain(|found| agreed.shown_by.contains(&found.safe.id));
        let seed = Secret::make_random(&mut fresh_rng()?);
        Ok(Coming { name, key, agreed, safes, silent, seed, counter: None, handle: None })
    }

    /// Has each safe show that it has its key, and what is left of the guesses. One that does not is left out.
    async fn greet(&self, coming: &mut Coming) -> Result<(), EngineError> {
        let (key, counter) = (&coming.key, &coming.counter);
        let greetings = coming.safes.iter().map(|found| async move {
            let greeting = Greeting { credential: counter.as_ref().map(|counter| counter.key_at(&found.safe.id)) };
            let answer = self.ask_found(key, found, Topic::Greet, &codec::encode(&greeting), None).await?;
            let left = codec::decode::<Guesses>(&answer, MAX_ANSWER_LEN).ok()?;
            Some(Found { left, ..found.clone() })
        });
        let greeted: Vec<Found> = join_all(greetings).await.into_iter().flatten().collect();
        let needed = usize::from(coming.agreed.enrolment.threshold);
        if greeted.len() < needed {
            let text = if coming.counter.is_some() {
                "Too few of these safes know this kit; another one has taken its place, or it was revoked."
            } else {
                "Too few of these safes could show that they are the owner's."
            };
            return Err(EngineError::new(("too-few-safes", text, Some("Use your recovery name and passphrase."))));
        }
        coming.safes = greeted;
        Ok(())
    }

    /// Remembers who is coming, and reports what was found.
    fn found(&self, coming: Coming) -> Result<LookReport, EngineError> {
        let Coming { name, agreed, safes, silent, counter, .. } = &coming;
        // A try takes as many safes as are needed: the one with the fewest guesses among the best of them decides.
        let threshold = agreed.enrolment.threshold;
        let needed = |left: &dyn Fn(&Guesses) -> u32| {
            let mut all: Vec<u32> = safes.iter().map(|found| left(&found.left)).collect();
            all.sort_unstable_by(|a, b| b.cmp(a));
            all.get(usize::from(threshold).saturating_sub(1)).copied().unwrap_or(0)
        };
        let report = LookReport {
            name: name.clone(),
            threshold,
            seats: agreed.enrolment.seats.len(),
            answered: safes.iter().map(|found| found.safe.name.clone()).collect(),
            silent: silent.clone(),
            guesses: needed(&|left| left.now),
            guesses_ever: needed(&|left| left.ever),
            wait: safes.iter().filter_map(|found| found.left.wait).max().map(|wait| wait as f64),
            kit: match counter {
                Some(Counter::Kit(secret)) => Some(code_of(secret)),
                _ => None,
            },
        };
        *self.coming.borrow_mut() = Some(coming);
        Ok(report)
    }

    /// A question to a safe that was found, with a fresh challenge.
    pub(crate) async fn ask_found(
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
        let entry = found.identity.current(look.time).ok()?;
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

    /// Comes back with the passphrase, after one of the looks.
    pub(crate) async fn come_back(self: &Rc<Self>, typed: &str, label: &str) -> Result<CameBack, EngineError> {
        let coming = self.coming()?;
        let (known, wrong) = self.recognise(&coming, typed).await?;
        self.come_in(coming, &known, wrong, label, (&[], false)).await
    }

    /// Comes back with what the device has made of [`protocol::owner::device::input`], after [`Self::look_for_device`].
    pub(crate) async fn come_back_with_device(
        self: &Rc<Self>,
        output: &[u8],
        label: &str,
    ) -> Result<CameBack, EngineError> {
        let (coming, known) = self.recognise_device(output).await?;
        self.come_in(coming, &known, Vec::new(), label, (&[], false)).await
    }

    pub(super) fn coming(&self) -> Result<Coming, EngineError> {
        self.coming.borrow().clone().ok_or_else(nobody)
    }

    /// Who says the passphrase is the owner.
    pub(crate) async fn recognise(
        &self,
        coming: &Coming,
        typed: &str,
    ) -> Result<(Recognised, Vec<String>), EngineError> {
        let (known, wrong) = self.log_in(coming, &passphrase::normalise(typed, nfc)?).await?;
        Ok((Recognised::Passphrase(Box::new(known)), wrong))
    }

    /// Whom a device brings back, after a look for it, and the safes that give it the root. Where it is known for an enrolment before this one it is
    /// given anew, if another safe has the root for it; if none has, nothing is left behind by asking.
    pub(super) async fn recognise_device(&self, output: &[u8]) -> Result<(Coming, Recognised), EngineError> {
        let mut coming = self.coming()?;
        let known = coming.unlock(&Secret::try_from(output)?)?;
        let mut accounts = self.accounts_at_home(&coming, &known).await;
        let elsewhere = Some("Use your recovery name and passphrase.");
        if accounts.iter().all(Option::is_none) {
            let text = "None of your safes knows this key: it was revoked, or they did not answer.";
            return Err(EngineError::new(("device-unknown", text, elsewhere)));
        }
        let Some(root) = accounts.iter().flatten().find_map(|account| known.open_root(account).ok()) else {
            let text =
                "Your passphrase or your safes were changed after this key was added, so it does not bring you back.";
            let next = "Use your recovery name and passphrase, and renew the key under “Ways to come back”.";
            return Err(EngineError::new(("device-behind", text, Some(next))));
        };
        if accounts.iter().flatten().any(|account| known.open_root(account).is_err()) {
            self.catch_up(&coming, &known, &root).await;
            accounts = self.accounts_at_home(&coming, &known).await;
        }
        let mut opens = accounts.iter().map(|account| account.as_ref().is_some_and(|a| known.open_root(a).is_ok()));
        coming.safes.retain(|_| opens.next() == Some(true));
        if coming.safes.len() < usize::from(coming.agreed.enrolment.threshold) {
            let text = "Too few of your safes know this key: at the others it was revoked, or they did not answer.";
            return Err(EngineError::new(("too-few-safes", text, elsewhere)));
        }
        Ok((coming, known))
    }

    /// The same, with a passphrase that is normalised.
    pub(crate) async fn log_in(&self, coming: &Coming, passphrase: &str) -> Result<(Known, Vec<String>), EngineError> {
        // The same passphrase is the same try, another one another.
        let context = protocol::crypto::blake3(passphrase.as_bytes());
        let mut rng = protocol::crypto::expand_seed(&protocol::crypto::derive_secret(&coming.seed, "try", &context));
        let attempt = coming.agreed.clone().start(passphrase, &mut rng)?.counted_by(coming.counter.clone());
        self.try_passphrase(&coming.key, &coming.safes, attempt).await
    }

    /// Now it is the owner. Each safe is told so, hands out what it has, and gets to know this device. `past`: a head of before that he goes back to, and whether he wants that alone.
    pub(super) async fn come_in(
        self: &Rc<Self>,
        coming: Coming,
        known: &Recognised,
        mut wrong: Vec<String>,
        label: &str,
        (past, exactly): (&[(SafeId, Head)], bool),
    ) -> Result<CameBack, EngineError> {
        let Coming { name, key, safes, .. } = coming;
        // A credential that it has already stays the same.
        let mine = self.with(|open| open.state.owner.as_ref().map(|owner| owner.credential.clone()))?;
        let credential = match mine {
            Some(credential) => credential,
            None => Secret::make_random(&mut fresh_rng()?),
        };
        let note = Note::new(credential_id(&credential), label);
        let arriving = safes.iter().map(|found| self.arrive_at(&key, found, known, &credential, &note));
        let told: Vec<Told> = join_all(arriving).await.into_iter().flatten().collect();
        let mine = (credential.clone(), label.to_owned());
        let (mut back, liars) =
            come_back(name, &key, known, mine, told, past, &mut fresh_rng()?).map_err(login_error)?;
        let named = |id: &SafeId| safes.iter().find(|found| found.safe.id == *id).map(|found| found.safe.name.clone());
        wrong.extend(liars.iter().filter_map(named));
        let said = || back.earlier.iter().chain(back.newest.iter().map(|(_, content)| content));
        let mut values: Vec<&ValueMeta> =
            said().flat_map(|content| &content.book.entries).flat_map(|entry| &entry.values).collect();
        values.sort_by_key(|value| value.id);
        values.dedup_by_key(|value| value.id);
        let came = CameBack {
            values: values.into_iter().map(|value| value.title.clone()).collect(),
            chapters: said().map(|content| content.chapters.len()).max().unwrap_or(0),
            left_out: back.newest.as_ref().map_or(0, |(_, content)| content.left_out),
            wrong,
        };
        self.with(|open| open.session.came_back())?;
        back.exactly |= exactly;
        let goes_back = !past.is_empty();
        *self.visitor.borrow_mut() = (self.reads() || goes_back).then(|| known.clone());
        self.with(|open| open.session.takes_back = goes_back)?;
        if let Err(error) = self.handle(Event::OwnerReturned(Box::new(back))).await {
            *self.visitor.borrow_mut() = None;
            self.with(|open| open.session.took_back())?;
            return Err(error);
        }
        *self.coming.borrow_mut() = None;
        self.look_at_safes();
        Ok(came)
    }

    /// The round of phase 1: all are asked, the answers of as many as are needed are used.
    pub(super) async fn try_passphrase(
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
    async fn arrive_at(
        &self,
        key: &NameKey,
        found: &Found,
        known: &Recognised,
        credential: &Secret,
        note: &Note,
    ) -> Option<Told> {
        let channel = known.channel(&found.safe.id);
        if self.reads() {
            let actions = codec::encode(&visit(known, &found.safe.id));
            let answer = self.ask_found(key, found, Topic::Channel, &actions, Some(&channel)).await?;
            return visited(&found.safe, codec::decode(&answer, MAX_ANSWER_LEN).ok()?);
        }
        let note = note.seal(key, &found.safe.id, &mut fresh_rng().ok()?).ok()?;
        let mut without = None;
        // Where there is no room for this device, it is made once.
        for _ in 0..2 {
            let actions = codec::encode(&arrival(known, &found.safe.id, (credential, &note), without));
            let answer = self.ask_found(key, found, Topic::Channel, &actions, Some(&channel)).await?;
            match arrived(&found.safe, codec::decode(&answer, MAX_ANSWER_LEN).ok()?)? {
                Arrived::Told(told) => return Some(*told),
                Arrived::Full(oldest) => without = Some(oldest),
            }
        }
        None
    }
}
