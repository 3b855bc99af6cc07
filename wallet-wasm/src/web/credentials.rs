//! By what the owner is known: listing, revoking, forgetting tries, devices, and the kit. The owner shows himself by the passphrase for everything but the list, so that whoever has
//! the open wallet alone changes nothing of it.

use std::{cell::RefCell, rc::Rc};

use base64ct::{Base64UrlUnpadded, Encoding as _};
use futures::future::join_all;
use protocol::{
    codec,
    crypto::Secret,
    ids::SafeId,
    owner::{
        device::{Handle, input},
        enrolment::OwnerRoot,
        kit::{Kit, Printed},
        login::{ChannelKey, Recognised},
        messages::{Account, Action, CredentialKind, MAX_ANSWER_LEN, Outcome, Topic},
        name::NameKey,
    },
};
use serde::Serialize;

use crate::{
    credentials::{Listed, first_lease_end, give, give_kit, keep_kit, kit_safes, list},
    machine::Event,
    state::Level,
    web::{
        driver::{Driver, fresh_rng, now},
        error::EngineError,
        owner::{Coming, Found, not_the_device},
    },
};

/// A credential in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialView {
    id: String,
    kind: &'static str,
    label: String,
    /// Milliseconds.
    added: f64,
    safes: Vec<String>,
    /// Of these, those at which it brings nobody back any more until it is renewed.
    behind: Vec<String>,
    mine: bool,
}

/// The list, and which safes did not answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct CredentialsReport {
    credentials: Vec<CredentialView>,
    silent: Vec<String>,
    /// Tries that are counted, at the safe that counts most.
    tries: usize,
}

/// What was done, and where.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DoneReport {
    done: Vec<String>,
    silent: Vec<String>,
}

/// A safe as it stands on a kit.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KitSafeView {
    name: String,
    url: String,
}

/// A kit that was made and tried.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KitReport {
    text: String,
    code: String,
    name: String,
    generation: u32,
    threshold: u8,
    made: f64,
    lease_end: Option<f64>,
    safes: Vec<KitSafeView>,
    /// Safes that did not answer and do not know it.
    silent: Vec<String>,
}

/// What is wanted of an authenticator.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeviceWish {
    /// What it is to keep as its user's handle, base64url.
    handle: String,
    /// What it is to make its output of, base64url.
    input: String,
    name: String,
}

/// An owner who has shown himself on a device that is enrolled.
#[derive(Clone)]
pub(crate) struct AtHome {
    coming: Coming,
    known: Recognised,
    root: OwnerRoot,
}

/// What the page goes on with, until the wallet is locked.
pub(crate) enum Pending {
    /// A kit that was made and tried, and may be printed by now.
    Kit(AtHome, Box<Kit>),
    /// A device that is about to be asked.
    Device(AtHome, Handle),
}

fn nothing_pending() -> EngineError {
    EngineError::new(("not-begun", "This was not begun, or the wallet was locked since.", Some("Begin again.")))
}

fn not_proven() -> EngineError {
    EngineError::new(("not-proven", "It did not bring you back when it was tried.", Some("Try again.")))
}

pub(super) fn milliseconds(seconds: u64) -> f64 {
    seconds as f64 * 1000.0
}

fn kind_word(kind: CredentialKind) -> &'static str {
    match kind {
        CredentialKind::Device => "device",
        CredentialKind::Kit => "kit",
        _ => "wallet",
    }
}

impl Driver {
    /// The recovery name, its key, and where the owner's safes are.
    fn home(&self) -> Result<(String, NameKey, Vec<Found>), EngineError> {
        let home = self.with(|open| {
            let owner = open.state.owner.as_ref()?;
            let found = |id| {
                let identity = open.state.identity(id)?.ok()?;
                Some(Found::of(open.state.safes.get(id)?.clone(), identity))
            };
            let safes = owner.seats.iter().filter_map(|seat| found(&seat.safe)).collect();
            Some((owner.name.clone(), NameKey::new(owner.name_key.clone()), safes))
        })?;
        home.ok_or(EngineError::new((
            "not-enrolled",
            "You are not enrolled at safes yet.",
            Some("Enrol under Recover."),
        )))
    }

    /// Looks at the owner's own safes.
    pub(super) async fn look_at_home(&self) -> Result<Coming, EngineError> {
        let (name, key, safes) = self.home()?;
        let urls = safes.into_iter().map(|found| found.safe.url).collect();
        let mut coming = self.look_around(name, key, urls).await?;
        // An enrolled wallet has guesses of its own, so that no stranger keeps its owner from acting.
        coming.counted_by(self.with(|open| open.state.owner.as_ref().map(|owner| owner.credential.clone()))?);
        Ok(coming)
    }

    /// The owner shows himself.
    async fn at_home(&self, passphrase: &str) -> Result<AtHome, EngineError> {
        let coming = self.look_at_home().await?;
        let (known, _) = self.recognise(&coming, passphrase).await?;
        // The root of what the safes have agreed on, which this wallet need not have yet, or any more.
        let root = RefCell::new(None);
        // The own tries go at once, whatever comes next.
        let refund = |safe: &SafeId, account: &Account| {
            if let Ok(opened) = known.open_root(account) {
                root.replace(Some(opened));
            }
            vec![Action::Refund(known.tries_at(safe))]
        };
        self.act_at_home((&coming, &known), refund).await;
        let root = root.into_inner().ok_or_else(not_proven)?;
        Ok(AtHome { coming, known, root })
    }

    /// Acts at every safe that answers, knowing what is there.
    async fn act_at_home(
        &self,
        (coming, known): (&Coming, &Recognised),
        actions: impl Fn(&SafeId, &Account) -> Vec<Action>,
    ) -> Vec<(Found, Option<Vec<Outcome>>)> {
        let actions = &actions;
        join_all(coming.safes.iter().map(|found| async move {
            let (id, key) = (found.safe.id, &coming.key);
            let channel = known.channel(&id);
            let acted = async {
                let account = self.account_at(key, found, &channel).await?;
                let actions = actions(&id, &account);
                if actions.is_empty() {
                    return Some(Vec::new());
                }
                let asked = codec::encode(&actions);
                let answer = self.ask_found(key, found, Topic::Channel, &asked, Some(&channel)).await?;
                codec::decode::<Vec<Outcome>>(&answer, MAX_ANSWER_LEN).ok()
            };
            (found.clone(), acted.await)
        }))
        .await
    }

    async fn account_at(&self, key: &NameKey, found: &Found, channel: &ChannelKey) -> Option<Account> {
        let show = codec::encode(&vec![Action::Show]);
        let answer = self.ask_found(key, found, Topic::Channel, &show, Some(channel)).await?;
        match codec::decode::<Vec<Outcome>>(&answer, MAX_ANSWER_LEN).ok()?.pop()? {
            Outcome::Account(account) => Some(account),
            _ => None,
        }
    }

    /// By what the owner is known at the safes; this wallet may ask that.
    pub(crate) async fn credentials(&self) -> Result<CredentialsReport, EngineError> {
        let (_, key, safes) = self.home()?;
        let asking = safes.iter().map(|found| {
            let key = &key;
            async move {
                let channel = self.with(|open| {
                    let owner = open.state.owner.as_ref()?;
                    let number = owner.seat(&found.safe.id)?.number?;
                    Some(ChannelKey::of_credential(number, owner.key_at(&found.safe.id)))
                });
                self.account_at(key, found, &channel.ok()??).await
            }
        });
        let answers = join_all(asking).await;
        let silent = safes.iter().zip(&answers).filter(|(_, account)| account.is_none());
        let silent = silent.map(|(found, _)| found.safe.name.clone()).collect();
        let accounts: Vec<(SafeId, Account)> =
            safes.iter().zip(answers).filter_map(|(found, account)| Some((found.safe.id, account?))).collect();
        let tries = accounts.iter().map(|(_, account)| account.tries.len()).max().unwrap_or(0);
        let ours = self.with(|open| {
            let owner = open.state.owner.as_ref()?;
            Some((owner.credential_id(), owner.generation.max(1)))
        })?;
        let (mine, generation) = ours.unzip();
        let named = |id: &SafeId| safes.iter().find(|found| found.safe.id == *id).map(|found| found.safe.name.clone());
        let view = |one: Listed| CredentialView {
            id: one.name(),
            kind: kind_word(one.kind),
            mine: one.id.is_some() && one.id == mine,
            added: milliseconds(one.added),
            safes: one.at.iter().filter_map(|at| named(&at.safe)).collect(),
            behind: generation.iter().flat_map(|now| one.behind(*now)).filter_map(named).collect(),
            label: one.label,
        };
        Ok(CredentialsReport { credentials: list(&key, &accounts).into_iter().map(view).collect(), silent, tries })
    }

    /// What became of actions: where they were done, and where nobody answered.
    fn done_at(&self, coming: &Coming, acted: &[(Found, Option<Vec<Outcome>>)]) -> DoneReport {
        let done = |outcomes: &Option<Vec<Outcome>>| {
            outcomes.as_ref().is_some_and(|all| !all.iter().any(|one| matches!(one, Outcome::Refused(_))))
        };
        let names = |which: bool| {
            acted.iter().filter(|(_, o)| done(o) == which).map(|(found, _)| found.safe.name.clone()).collect()
        };
        DoneReport { done: names(true), silent: [names(false), self.away_from(coming)].concat() }
    }

    /// The owner's safes that did not even answer when they were looked at.
    fn away_from(&self, coming: &Coming) -> Vec<String> {
        let here = |id: &SafeId| coming.safes.iter().any(|found| found.safe.id == *id);
        let away: Vec<SafeId> =
            coming.agreed.enrolment.seats.iter().map(|seat| seat.safe).filter(|id| !here(id)).collect();
        let named = self.with(|open| {
            let name = |id| open.state.safes.get(id).map_or_else(|| SafeId::to_string(id), |safe| safe.name.clone());
            away.iter().map(name).collect()
        });
        named.unwrap_or_default()
    }

    /// Forgets a credential at every safe that answers.
    pub(crate) async fn revoke(self: &Rc<Self>, credential: &str, passphrase: &str) -> Result<DoneReport, EngineError> {
        let home = self.at_home(passphrase).await?;
        let key = home.coming.key.clone();
        let mine = self.with(|open| open.state.owner.as_ref().map(crate::owner::Owner::credential_id))?;
        let acted = self
            .act_at_home((&home.coming, &home.known), |safe, account| {
                let here = list(&key, &[(*safe, account.clone())]);
                let found =
                    here.into_iter().filter(|one| one.name() == credential && (one.id.is_none() || one.id != mine));
                found.flat_map(|one| one.at).map(|at| Action::Revoke(at.number)).collect()
            })
            .await;
        let report = self.done_at(&home.coming, &acted);
        let text = format!("A credential was revoked at {} of your safes.", report.done.len());
        self.handle(Event::Note(Level::Info, text)).await?;
        Ok(report)
    }

    /// Forgets all tries, whoever made them.
    pub(crate) async fn forget_tries(self: &Rc<Self>, passphrase: &str) -> Result<DoneReport, EngineError> {
        let home = self.at_home(passphrase).await?;
        let acted = self.act_at_home((&home.coming, &home.known), |_, _| vec![Action::Clear]).await;
        let report = self.done_at(&home.coming, &acted);
        let text = format!("Counted guesses were forgotten at {} of your safes.", report.done.len());
        self.handle(Event::Note(Level::Info, text)).await?;
        Ok(report)
    }

    // ---- the kit -----------------------------------------------------------------------------------------------

    /// Makes a kit, and has it prove itself: read as it will stand on the paper, it brings the owner's root back.
    pub(crate) async fn make_kit(self: &Rc<Self>, passphrase: &str) -> Result<KitReport, EngineError> {
        let home = self.at_home(passphrase).await?;
        let (name, safes, lease_end, before) = self
            .with(|open| {
                let owner = open.state.owner.as_ref()?;
                let before = owner.kit.as_ref().map(|kit| kit.code.clone());
                Some((owner.name.clone(), kit_safes(&open.state), first_lease_end(&open.state), before))
            })?
            .ok_or_else(nothing_pending)?;
        let enrolment = &home.coming.agreed.enrolment;
        let mut rng = fresh_rng()?;
        let (generation, threshold, made) = (enrolment.generation, enrolment.threshold, now());
        let kit = Kit::make(name, generation, threshold, safes, (made, lease_end), &mut rng);
        let acted = self
            .act_at_home((&home.coming, &home.known), |safe, account| {
                let given = fresh_rng()
                    .ok()
                    .map(|mut rng| give_kit(&home.coming.key, &kit, before.as_deref(), (safe, account), &mut rng));
                given.and_then(Result::ok).unwrap_or_default()
            })
            .await;
        let report = self.done_at(&home.coming, &acted);
        if report.done.len() < usize::from(threshold) {
            let text = "Too few of your safes have taken the kit in.";
            return Err(EngineError::new(("too-few-safes", text, Some("Try again when more of them answer."))));
        }
        let text = kit.to_text();
        self.try_kit(&text, passphrase, &home.root).await?;
        let named = self.with(|open| {
            let nickname = |id: &SafeId| open.state.nickname(id);
            kit.safes.iter().map(|safe| KitSafeView { name: nickname(&safe.id), url: safe.url.clone() }).collect()
        })?;
        let made_report = KitReport {
            text,
            code: kit.code(),
            name: kit.name.clone(),
            generation,
            threshold,
            made: milliseconds(made),
            lease_end: lease_end.map(milliseconds),
            safes: named,
            silent: report.silent,
        };
        *self.pending.borrow_mut() = Some(Pending::Kit(home, Box::new(kit)));
        Ok(made_report)
    }

    /// Comes back with the text of a kit and the passphrase, as a new device would, and says whether that is this owner.
    async fn try_kit(self: &Rc<Self>, text: &str, passphrase: &str, root: &OwnerRoot) -> Result<(), EngineError> {
        let coming = self.look_at_kit(&Kit::parse(text)?).await?;
        let (known, _) = self.recognise(&coming, passphrase).await?;
        self.prove_owner(&AtHome { coming, known, root: root.clone() }).await.map(|_| ())
    }

    /// The safes that give back the owner's root, and those that do not. Without any it is an error.
    async fn prove_owner(&self, tried: &AtHome) -> Result<DoneReport, EngineError> {
        let accounts = self.accounts_at_home(&tried.coming, &tried.known).await;
        let proven = |account: Option<Account>| {
            let root = account.and_then(|account| tried.known.open_root(&account).ok());
            root.is_some_and(|root| root.expose().same_as(tried.root.expose()))
        };
        let mut report = DoneReport { done: Vec::new(), silent: self.away_from(&tried.coming) };
        for (found, account) in tried.coming.safes.iter().zip(accounts) {
            let names = if proven(account) { &mut report.done } else { &mut report.silent };
            names.push(found.safe.name.clone());
        }
        self.act_at_home((&tried.coming, &tried.known), |safe, _| vec![Action::Refund(tried.known.tries_at(safe))])
            .await;
        if report.done.is_empty() { Err(not_proven()) } else { Ok(report) }
    }

    /// What each safe shows to whoever has shown himself.
    pub(super) async fn accounts_at_home(&self, coming: &Coming, known: &Recognised) -> Vec<Option<Account>> {
        let asking = coming.safes.iter().map(|found| async move {
            let channel = known.channel(&found.safe.id);
            self.account_at(&coming.key, found, &channel).await
        });
        join_all(asking).await
    }

    /// The kit is on paper: `code` is read from there. The one before it counts no more.
    pub(crate) async fn confirm_kit(self: &Rc<Self>, code: &str) -> Result<DoneReport, EngineError> {
        let pending = match &*self.pending.borrow() {
            Some(Pending::Kit(home, kit)) => Some((home.clone(), kit.clone())),
            _ => None,
        };
        let (home, kit) = pending.ok_or_else(nothing_pending)?;
        if code.trim().to_lowercase() != kit.code() {
            let text = "This is not the code of the kit that was just made.";
            return Err(EngineError::new(("other-kit", text, Some("Read it from the paper: six characters."))));
        }
        let acted = self
            .act_at_home((&home.coming, &home.known), |safe, account| keep_kit(&home.coming.key, &kit, (safe, account)))
            .await;
        self.handle(Event::KitPrinted(Printed::of(&kit))).await?;
        *self.pending.borrow_mut() = None;
        Ok(self.done_at(&home.coming, &acted))
    }

    // ---- devices -----------------------------------------------------------------------------------------------

    /// The owner shows himself, and a passkey or security key is to be asked next.
    pub(crate) async fn begin_device(self: &Rc<Self>, passphrase: &str) -> Result<DeviceWish, EngineError> {
        let unlocks = self.unlocks();
        let home = self.at_home(passphrase).await?;
        if self.unlocks() != unlocks {
            return Err(EngineError::locked());
        }
        let handle = Handle::make(home.coming.key.clone(), &mut fresh_rng()?);
        let text = Base64UrlUnpadded::encode_string;
        let wish =
            DeviceWish { handle: text(&handle.to_bytes()[..]), input: text(&input()), name: home.coming.name.clone() };
        *self.pending.borrow_mut() = Some(Pending::Device(home, handle));
        Ok(wish)
    }

    /// Nothing came of it: what the owner has shown himself for is forgotten.
    pub(crate) fn end_device(&self) {
        self.pending.borrow_mut().take_if(|pending| matches!(pending, Pending::Device(..)));
    }

    fn take_device(&self) -> Result<(AtHome, Handle), EngineError> {
        match self.pending.borrow_mut().take_if(|pending| matches!(pending, Pending::Device(..))) {
            Some(Pending::Device(home, handle)) => Ok((home, handle)),
            _ => Err(nothing_pending()),
        }
    }

    /// The authenticator has answered. It is added, and tried.
    pub(crate) async fn add_device(self: &Rc<Self>, output: &[u8], label: &str) -> Result<DoneReport, EngineError> {
        let (home, handle) = self.take_device()?;
        let report = self.give_device(home, handle, output, label).await?;
        let text = format!("“{label}” was added as a way to come back, at {} of your safes.", report.done.len());
        self.handle(Event::Note(Level::Info, text)).await?;
        Ok(report)
    }

    /// A device that was added before has answered once more: what it brings back is of the enrolment of now, and it is called as it was. `credential`: the one that is meant.
    pub(crate) async fn renew_device(
        self: &Rc<Self>,
        credential: &str,
        handle: &[u8],
        output: &[u8],
    ) -> Result<DoneReport, EngineError> {
        let (home, _) = self.take_device()?;
        let handle = Handle::parse(handle).ok().filter(|handle| handle.name.expose().same_as(home.coming.key.expose()));
        let handle = handle.ok_or_else(not_the_device)?;
        let accounts = self.accounts_at_home(&home.coming, &home.known).await;
        let ids = home.coming.safes.iter().map(|found| found.safe.id);
        let accounts: Vec<(SafeId, Account)> =
            ids.zip(accounts).filter_map(|(id, account)| Some((id, account?))).collect();
        let meant = list(&home.coming.key, &accounts).into_iter().find(|one| one.name() == credential);
        let gone = ("device-unknown", "Your safes do not know this key any more.", Some("Add it as a new one."));
        let meant = meant.ok_or_else(|| EngineError::new(gone))?;
        if meant.id != Some(handle.credential_id()) {
            let text = "This is another one of your keys than the one that you chose.";
            return Err(EngineError::new(("other-device", text, Some("Use the one that you chose."))));
        }
        let report = self.give_device(home, handle, output, &meant.label).await?;
        let text =
            format!("“{}” was renewed as a way to come back, at {} of your safes.", meant.label, report.done.len());
        self.handle(Event::Note(Level::Info, text)).await?;
        Ok(report)
    }

    /// A device was given anew at some safes while others were away: it is its owner there, too, and is given with the root that the first ones have for it.
    pub(super) async fn catch_up(&self, coming: &Coming, known: &Recognised, root: &OwnerRoot) {
        let Recognised::Device(device) = known else { return };
        let (agreed, device) = &**device;
        self.act_at_home((coming, known), |safe, account| {
            if account.current != Some(agreed.enrolment.id_at(safe)) || known.open_root(account).is_ok() {
                return Vec::new();
            }
            let listed = list(&coming.key, &[(*safe, account.clone())]);
            let label = listed.into_iter().find(|one| one.id == Some(device.credential_id())).map(|one| one.label);
            let new = fresh_rng()
                .ok()
                .zip(label)
                .and_then(|(mut rng, label)| give(&coming.key, safe, agreed, root, (device, &label), &mut rng).ok());
            new.into_iter().collect()
        })
        .await;
    }

    /// Gives it to the safes, and tries it. Done is where it brings its owner back.
    async fn give_device(
        self: &Rc<Self>,
        home: AtHome,
        handle: Handle,
        output: &[u8],
        label: &str,
    ) -> Result<DoneReport, EngineError> {
        let device = handle.unlock(&Secret::try_from(output)?);
        let (agreed, key) = (&home.coming.agreed, &home.coming.key);
        let acted = self
            .act_at_home((&home.coming, &home.known), |safe, _| {
                let new = fresh_rng()
                    .ok()
                    .and_then(|mut rng| give(key, safe, agreed, &home.root, (&device, label), &mut rng).ok());
                new.into_iter().collect()
            })
            .await;
        let refused = |outcomes: &Vec<Outcome>| outcomes.iter().any(|one| matches!(one, Outcome::Refused(_)));
        if acted.iter().all(|(_, outcomes)| outcomes.as_ref().is_some_and(refused)) {
            let text = "None of your safes has taken it in: there are as many ways to come back as a safe takes.";
            return Err(EngineError::new(("too-many-credentials", text, Some("Revoke one that you do not need."))));
        }
        let known = Recognised::Device(Box::new((agreed.clone(), device)));
        self.prove_owner(&AtHome { known, ..home }).await
    }
}
