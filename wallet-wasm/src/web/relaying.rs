//! Recovery through one safe, for the page.

use std::rc::Rc;

use js_sys::Uint8Array;
use protocol::{
    identity::Identity,
    ids::{BackupId, DepositId, SafeId},
    owner::ticket::Right,
    plan::Place,
};
use serde::Serialize;

use crate::{
    exchange::{self, Answer, Meaning},
    machine::{Event, WalletError},
    owner,
    relaying::{self, Hindered, Load, brings, carriers},
    session::Errand,
    state::Next,
    web::{
        driver::{Driver, Open, fresh_rng, no_key, now},
        error::EngineError,
        net::{self, Received},
        safes::fetch_descriptor,
    },
};

/// A safe that says that it brings what others keep of a backup.
#[derive(Serialize)]
pub(crate) struct Carrier {
    id: String,
    name: String,
    /// Names of the safes that it asks.
    brings: Vec<String>,
}

impl Driver {
    /// The safes that say so just now.
    pub(crate) async fn carriers(&self, id: &BackupId) -> Result<Vec<Carrier>, EngineError> {
        let backup = self.backup(id)?;
        let mut found = Vec::new();
        for safe in self.with(|open| carriers(&open.state, &backup))? {
            let url = self.with(|open| open.state.safes.get(&safe).map(|known| known.url.clone()))?;
            let Some(url) = url else { continue };
            // What does not answer as this safe brings nothing.
            let Ok(Some(served)) = fetch_descriptor(&url).await else { continue };
            let Ok((descriptor, _)) = Identity::of_descriptor(&served, Some(safe)) else { continue };
            let asks = descriptor.relays.unwrap_or_default();
            let carrier = self.with(|open| {
                let mut of: Vec<SafeId> = Vec::new();
                for deposit in brings(&open.state, &backup, &safe) {
                    if asks.contains(&deposit.safe) && !of.contains(&deposit.safe) {
                        of.push(deposit.safe);
                    }
                }
                let name = |safe| open.state.nickname(safe);
                Carrier { id: safe.to_string(), name: name(&safe), brings: of.iter().map(name).collect() }
            })?;
            found.extend((!carrier.brings.is_empty()).then_some(carrier));
        }
        Ok(found)
    }

    /// Recovers a backup through a safe, and has it protected anew, where nothing is needed for that which only its owner has.
    pub(crate) async fn recover_through(self: &Rc<Self>, id: BackupId, through: SafeId) -> Result<(), EngineError> {
        let backup = self.backup(&id)?;
        let by_itself = !backup.plan.places().iter().any(|(_, place)| matches!(place, Place::File | Place::Memory));
        let next = BackupId::make_random(&mut fresh_rng()?);
        let next = by_itself.then_some(Next { backup: next, plan: backup.plan.clone(), words: None });
        self.look_at_room().await;
        self.handle(Event::RecoverThrough(id, through, next)).await?;
        self.again()
    }

    /// Has a body brought by another safe; a ticket for it first, where that takes one.
    pub(super) async fn fetch_through(
        self: &Rc<Self>,
        backup: &BackupId,
        deposit: &DepositId,
        through: SafeId,
    ) -> Result<(), EngineError> {
        let errand = Errand::Retrieve;
        let lacks = self.with(|open| open.session.lacks_ticket(&open.state, (backup, deposit), errand, now()))?;
        if let Some((safe, right)) = lacks
            && let Err(hindered) = self.ticket_through(safe, right, through).await?
        {
            let (about, meaning) = *hindered;
            if let Meaning::Refused(why) = &meaning
                && about == safe
            {
                self.with(|open| drop(open.session.owner_refusals.insert(safe, why.clone())))?;
            }
            return self.understand(backup, deposit, errand, about, meaning).await;
        }
        let mut rng = fresh_rng()?;
        let (safe, load) = self.with(|open| {
            let safe = open.state.backups.get(backup).and_then(|b| b.deposit(deposit)).map(|d| d.safe);
            let clock = safe.map_or_else(now, |safe| open.session.clock_of(&safe, now()));
            let ticket = safe.and_then(|safe| open.session.ticket(&safe, errand));
            (safe, Load::claim(&open.state, (backup, deposit), ticket, clock, &mut rng))
        })?;
        let load = match (load, safe) {
            (Err(error @ WalletError::Identity(_)), Some(safe)) => return self.look_again(safe, no_key(&error)).await,
            (load, _) => load?,
        };
        let keeper = load.to();
        let (mut about, meaning) = match self.carry(through, load).await? {
            Ok(answer) => {
                let interpret =
                    |open: &mut Open| exchange::interpret(&open.state, backup, deposit, errand, None, Some(answer));
                (keeper, self.with(interpret)?)
            }
            Err(hindered) => *hindered,
        };
        let meaning = match meaning {
            Meaning::Body(body) => {
                let meaning = self.open_body(backup, deposit, Uint8Array::from(body.as_slice())).await?;
                // What came through it shows that it is there, and not that the other one is, from here.
                if matches!(meaning, Meaning::Pieces(_)) {
                    about = through;
                }
                meaning
            }
            other => other,
        };
        self.understand(backup, deposit, errand, about, meaning).await
    }

    /// Asks a safe for a ticket through another one: a look, and a question, as [`Self::converse`] does directly.
    async fn ticket_through(
        self: &Rc<Self>,
        safe: SafeId,
        right: Right,
        through: SafeId,
    ) -> Result<Result<(), Hindered>, EngineError> {
        let errand = owner::Errand::Ticket(right);
        let look = self.with(|open| {
            if let Some(meaning) = owner::barred(&open.state, &safe, errand) {
                return Ok(Err(Box::new((safe, meaning))));
            }
            let known = open.state.safes.get(&safe).ok_or(WalletError::Unknown("safe"))?;
            let owner = open.state.owner.as_ref().ok_or(WalletError::Unknown("owner"))?;
            Load::look(&open.state, &owner::look_request(&known.url, &owner.name_key, &safe)).map(Ok)
        })?;
        let look = match look? {
            Ok(load) => self.carry(through, load).await?,
            Err(barred) => Err(barred),
        };
        let look =
            match look.and_then(|answer| owner::read_look(Some(answer)).map_err(|meaning| Box::new((safe, meaning)))) {
                Ok(look) => look,
                Err(hindered) => return Ok(Err(hindered)),
            };
        let mut rng = fresh_rng()?;
        let question = self.with(|open| {
            open.session.set_clock(safe, look.time, now());
            let (request, asked) = owner::question(&open.state, &safe, errand, &look, &mut rng)?;
            Ok::<_, WalletError>((Load::question(&open.state, &request)?, asked))
        })?;
        let (load, asked) = match question {
            Err(WalletError::Identity(_)) => return Ok(Err(Box::new((safe, Meaning::Descriptor)))),
            question => question?,
        };
        let answer = match self.carry(through, load).await? {
            Ok(answer) => answer,
            Err(hindered) => return Ok(Err(hindered)),
        };
        self.with(|open| match owner::interpret(&open.state, &safe, errand, asked, Some(answer)) {
            Meaning::Ticket(ticket) => {
                open.session.set_ticket(safe, ticket, now());
                Ok(())
            }
            other => Err(Box::new((safe, other))),
        })
    }

    /// Has something carried to a safe by another one.
    async fn carry(&self, through: SafeId, load: Load) -> Result<Result<Answer, Hindered>, EngineError> {
        let look = match self.look_at_owner(through).await? {
            Some(Ok(look)) => look,
            Some(Err(meaning)) => return Ok(Err(Box::new((through, meaning)))),
            None => return Ok(Err(Box::new((through, Meaning::Refused("the state has moved on".to_owned()))))),
        };
        let mut rng = fresh_rng()?;
        let to = load.to();
        let made = self.with(|open| {
            open.session.set_clock(through, look.time, now());
            let clock = open.session.clock_of(&to, now());
            relaying::errand(&open.state, load, &through, &look, clock, &mut rng)
        })?;
        let (request, asked) = match made {
            Err((safe, WalletError::Identity(_))) => return Ok(Err(Box::new((safe, Meaning::Descriptor)))),
            made => made.map_err(|(_, error)| error)?,
        };
        let body = request.body.as_ref().and_then(|body| net::body_of(&Uint8Array::from(body.as_slice())));
        let answer = net::send_request(&request, body.as_ref()).await.map(Received::into_answer);
        self.with(|open| relaying::interpret(&open.state, &through, &asked, answer))
    }
}
