//! Recovery through one safe, for the page.

use std::rc::Rc;

use protocol::{
    identity::Identity,
    ids::{BackupId, SafeId},
    plan::Place,
};
use serde::Serialize;

use crate::{
    machine::Event,
    relaying::{carriers, may_bring},
    state::Next,
    web::{
        driver::{Driver, fresh_rng},
        error::EngineError,
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
            let mut brings: Vec<SafeId> = Vec::new();
            for deposit in backup.deposits.iter().filter(|deposit| may_bring(&backup, deposit, &safe)) {
                if asks.contains(&deposit.safe) && !brings.contains(&deposit.safe) {
                    brings.push(deposit.safe);
                }
            }
            if !brings.is_empty() {
                found.push(self.with(|open| Carrier {
                    id: safe.to_string(),
                    name: open.state.nickname(&safe),
                    brings: brings.iter().map(|safe| open.state.nickname(safe)).collect(),
                })?);
            }
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
}
