//! Proof that what is about to be sent brings a value back, before the only copy of it goes.
//!
//! The bodies of a segment are opened again, and the segment is rebuilt from their pieces, several times: so often that every piece has had
//! its part. Which pieces each time is decided here; the shell computes.

use protocol::{
    ids::SafeId,
    layout::{Choice, Layout},
    plan::Place,
    program::{Keys, Piece},
};

/// Dearer than all pieces that have had no part yet.
const USED: u64 = 1 << 20;

/// The pieces of a choice, out of all of its segment.
pub fn pieces_of(layout: &Layout, choice: &Choice, all: &[Piece]) -> Vec<Piece> {
    choice.uses.iter().flat_map(|(_, place)| layout.pieces_at(place, all)).cloned().collect()
}

/// Choices that rebuild a segment, and together use every place that can have a part in that.
pub fn choices(layout: &Layout, segment: u32, keys: &Keys) -> Vec<Choice> {
    let mut used: Vec<(u32, Place<SafeId>)> = Vec::new();
    let mut choices = Vec::new();
    loop {
        let price =
            |segment: u32, place: &Place<SafeId>| Some(if used.contains(&(segment, place.clone())) { USED } else { 1 });
        let Some(choice) = layout.choose(segment, keys, &price) else { return choices };
        let new: Vec<_> = choice.uses.iter().filter(|used_by| !used.contains(used_by)).cloned().collect();
        if new.is_empty() {
            return choices;
        }
        used.extend(new);
        choices.push(choice);
    }
}
