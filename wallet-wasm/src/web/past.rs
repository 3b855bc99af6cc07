//! Going back: the owner sees how his book stood in the last days, and takes back what was let go since.

use std::rc::Rc;

use futures::future::join_all;
use protocol::{
    codec,
    crypto::blake3,
    ids::SafeId,
    owner::{
        login::Recognised,
        messages::{Action, Head, MAX_ANSWER_LEN, Outcome, Past, Topic},
    },
};
use serde::Serialize;

use crate::web::{
    credentials::milliseconds,
    driver::Driver,
    error::EngineError,
    owner::{CameBack, Coming, Found, nobody},
};

/// An owner who has shown himself, and chooses how far to go back.
#[derive(Clone)]
pub(crate) struct LookingBack {
    coming: Coming,
    known: Recognised,
    /// The safes that answered wrongly.
    wrong: Vec<String>,
    /// What they have kept, and which of them.
    past: Vec<(Past, Vec<SafeId>)>,
}

/// How the book stood for some time.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PastView {
    /// Milliseconds.
    from: f64,
    /// Milliseconds.
    until: f64,
    /// The safes that have kept it.
    safes: Vec<String>,
}

impl Driver {
    /// What the safes have kept of the last days, for whoever knows the passphrase: after a look, or on a device that is enrolled.
    pub(crate) async fn list_past(&self, passphrase: &str) -> Result<Vec<PastView>, EngineError> {
        let coming = self.coming.borrow().clone();
        let coming = match coming {
            Some(coming) => coming,
            None => self.look_at_home().await?,
        };
        let (known, wrong) = self.recognise(&coming, passphrase).await?;
        self.look_back(coming, known, wrong).await
    }

    /// The same with what a device has made of its input, after a look for it.
    pub(crate) async fn list_past_with_device(&self, output: &[u8]) -> Result<Vec<PastView>, EngineError> {
        let (coming, known) = self.recognise_device(output).await?;
        self.look_back(coming, known, Vec::new()).await
    }

    async fn look_back(
        &self,
        coming: Coming,
        known: Recognised,
        wrong: Vec<String>,
    ) -> Result<Vec<PastView>, EngineError> {
        let listed = coming.safes.iter().map(|found| async {
            // The try is taken back at once, whatever is chosen.
            let actions = [Action::ListPast, Action::Refund(known.tries_at(&found.safe.id))];
            match self.act_as(&coming, found, &known, &actions).await?.into_iter().next()? {
                Outcome::Past(past) => Some((found.safe.id, past)),
                _ => None,
            }
        });
        let mut past: Vec<(Past, Vec<SafeId>)> = Vec::new();
        for (safe, all) in join_all(listed).await.into_iter().flatten() {
            for one in all {
                match past.iter_mut().find(|(known, _)| known.mark == one.mark) {
                    Some((_, safes)) => safes.push(safe),
                    None => past.push((one, vec![safe])),
                }
            }
        }
        past.sort_by_key(|(one, _)| core::cmp::Reverse((one.mark.epoch, one.mark.sequence)));
        let named = |id: &SafeId| coming.safes.iter().find(|found| found.safe.id == *id).map(|f| f.safe.name.clone());
        let view = |(one, safes): &(Past, Vec<SafeId>)| PastView {
            from: milliseconds(one.from),
            until: milliseconds(one.until),
            safes: safes.iter().filter_map(named).collect(),
        };
        let views = past.iter().map(view).collect();
        *self.looking_back.borrow_mut() = Some(LookingBack { coming, known, wrong, past });
        Ok(views)
    }

    /// Comes back, and goes back to one of what [`Self::list_past`] has listed, by its number. Until everything is taken back, or the wallet is locked, its owner's channels stay open.
    /// `exactly`: what came since is left out, for it may be somebody else's.
    pub(crate) async fn go_back(
        self: &Rc<Self>,
        which: usize,
        exactly: bool,
        label: &str,
    ) -> Result<CameBack, EngineError> {
        let LookingBack { coming, known, wrong, past } = self.looking_back.borrow().clone().ok_or_else(nobody)?;
        let (chosen, safes) = past.get(which).ok_or_else(nobody)?;
        let reads = coming.safes.iter().filter(|found| safes.contains(&found.safe.id)).map(|found| async {
            match self.act_as(&coming, found, &known, &[Action::ReadPast(chosen.mark)]).await?.into_iter().next()? {
                Outcome::Head(head) => Some((found.safe.id, head?)),
                _ => None,
            }
        });
        let genuine = |head: &Head| head.mark == chosen.mark && blake3(&head.sealed) == *chosen.mark.digest;
        let heads = join_all(reads).await.into_iter().flatten();
        let heads: Vec<(SafeId, Head)> = heads.filter(|(_, head)| genuine(head)).collect();
        if heads.is_empty() {
            let text = "None of your safes shows what it has kept of that time.";
            return Err(EngineError::new(("past-away", text, Some("Try again, or choose another time."))));
        }
        let came = self.come_in(coming, &known, wrong, label, (&heads, exactly)).await?;
        *self.looking_back.borrow_mut() = None;
        Ok(came)
    }

    /// What comes of actions in a channel of the owner.
    async fn act_as(
        &self,
        coming: &Coming,
        found: &Found,
        known: &Recognised,
        actions: &[Action],
    ) -> Option<Vec<Outcome>> {
        let (asked, channel) = (codec::encode(&actions.to_vec()), known.channel(&found.safe.id));
        let answer = self.ask_found(&coming.key, found, Topic::Channel, &asked, Some(&channel)).await?;
        codec::decode(&answer, MAX_ANSWER_LEN).ok()
    }

    /// When everything is taken back, nobody needs to be the owner any more than by this wallet.
    pub(crate) fn end_taking_back(&self) -> Result<(), EngineError> {
        let over = self.with(|open| {
            let over = open.session.takes_back && open.state.taken_back().next().is_none();
            if over {
                open.session.took_back();
            }
            over
        })?;
        if over && !self.reads() {
            *self.visitor.borrow_mut() = None;
        }
        Ok(())
    }
}
