//! Rules as their owner's page has them: plans as text, conditions as words and numbers.

use protocol::ids::{Seconds, ValueId};
use serde::{Deserialize, Serialize};

use crate::{
    machine::WalletError,
    planning::{bind, name_of},
    rules::{self, Condition, Effect, Rule},
    state::State,
    view::sentence,
};

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct RuleDraft {
    pub name: String,
    pub on: bool,
    pub when: Vec<ConditionDraft>,
    pub plan: String,
    pub moves: bool,
}

/// A condition.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct ConditionDraft {
    pub what: String,
    pub words: Vec<String>,
    pub amount: f64,
}

/// What a rule would do.
#[derive(Debug, Default, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct Preview {
    pub error: Option<String>,
    pub values: Vec<PreviewedValue>,
}

/// What it would do with one value.
#[derive(Debug, PartialEq, Serialize)]
#[expect(missing_docs, reason = "each field is described in the API's declaration")]
pub struct PreviewedValue {
    pub id: String,
    pub effect: &'static str,
}

/// A rule, drawn.
pub fn draw(state: &State, rule: &Rule) -> RuleDraft {
    let when = rule.when.iter().map(|condition| {
        let (what, words, amount): (_, &[String], u64) = match condition {
            Condition::Kind(kinds) => ("kind", kinds, 0),
            Condition::Tag(tags) => ("tag", tags, 0),
            Condition::Larger(than) => ("larger", &[], *than),
            Condition::Smaller(than) => ("smaller", &[], *than),
            Condition::Older(span) => ("older", &[], *span),
            Condition::Changed => ("changed", &[], 0),
            Condition::Unused(span) => ("unused", &[], *span),
            Condition::RoomBelow(than) => ("room-below", &[], *than),
        };
        ConditionDraft { what: what.to_owned(), words: words.to_vec(), amount: amount as f64 }
    });
    let plan = rule.plan.to_text(&|safe| name_of(state, safe)).to_string();
    RuleDraft { name: rule.name.clone(), on: rule.on, when: when.collect(), plan, moves: rule.moves }
}

/// The rule that a draft stands for. Inverse of [`draw`].
///
/// # Errors
/// [`WalletError::PlanText`] or [`WalletError::Plan`] if its plan is none; [`WalletError::Rule`]; [`WalletError::Unknown`] if a condition is
/// none of those above.
pub fn read(state: &State, draft: &RuleDraft) -> Result<Rule, WalletError> {
    // What is negative or not a number is nothing, and what is too much is all there is.
    let condition = |draft: &ConditionDraft| {
        let (words, amount) = (draft.words.clone(), draft.amount as u64);
        Ok(match draft.what.as_str() {
            "kind" => Condition::Kind(words),
            "tag" => Condition::Tag(words),
            "larger" => Condition::Larger(amount),
            "smaller" => Condition::Smaller(amount),
            "older" => Condition::Older(amount),
            "changed" => Condition::Changed,
            "unused" => Condition::Unused(amount),
            "room-below" => Condition::RoomBelow(amount),
            _ => return Err(WalletError::Unknown("condition")),
        })
    };
    let when = draft.when.iter().map(condition).collect::<Result<_, _>>()?;
    let plan = bind(state, &draft.plan)?;
    let rule = Rule { name: draft.name.trim().to_owned(), when, plan, moves: draft.moves, on: draft.on };
    rule.check(state)?;
    Ok(rule)
}

/// What a draft would do now, or what is wrong with it.
pub fn preview(state: &State, draft: &RuleDraft, now: Seconds) -> Preview {
    let rule = match read(state, draft) {
        Ok(rule) => rule,
        Err(error) => return Preview { error: Some(sentence(&error.to_string())), values: Vec::new() },
    };
    let values = rules::preview(state, &rule, now).into_iter().map(|(id, effect): (ValueId, Effect)| {
        let effect = match effect {
            Effect::BacksUp => "backs-up",
            Effect::BacksUpChange => "backs-up-change",
            Effect::Moves => "moves",
            Effect::MovesForRoom => "moves-for-room",
            Effect::IsSo => "is-so",
            Effect::LeftAlone => "left-alone",
            Effect::NeedsOwner => "needs-owner",
            Effect::Busy => "busy",
        };
        PreviewedValue { id: id.to_string(), effect }
    });
    Preview { error: None, values: values.collect() }
}
