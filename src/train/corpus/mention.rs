//! What a description has to mention: every object with what it looks like, in any of the ways in which captions say it.

use super::describe::{Description, Head};
use super::scene::{Kind, Object, Scene};
use super::words::{Pattern, Size};

/// For each kind of object in a scene the phrases that name it with its number, its colour, its pattern and, if they say
/// one, its size.
pub fn mentions(scene: &Scene) -> Vec<Vec<String>> {
    let mut groups: Vec<(Kind, Vec<&Object>)> = Vec::new();
    for object in &scene.objects {
        match groups.iter_mut().find(|(kind, _)| same(*kind, object.kind)) {
            Some((_, group)) => group.push(object),
            None => groups.push((object.kind, vec![object])),
        }
    }
    let of_group = |(kind, group): (Kind, Vec<&Object>)| {
        let phrases = phrases(&group).into_iter();
        match kind {
            Kind::Sign { word } => phrases.map(|phrase| format!("{phrase} that says {}", word.word())).collect(),
            _ => phrases.collect(),
        }
    };
    groups.into_iter().map(of_group).collect()
}

/// The phrases that describe one object.
pub fn names(object: &Object) -> Vec<String> {
    phrases(&[object])
}

/// Whether a caption counts the two together: whose drawing a sticker is nobody says.
fn same(a: Kind, b: Kind) -> bool {
    match (a, b) {
        (Kind::Sticker { noun, .. }, Kind::Sticker { noun: other, .. }) => noun == other,
        _ => a == b,
    }
}

fn phrases(group: &[&Object]) -> Vec<String> {
    let Some(first) = group.first() else { return Vec::new() };
    let full = Description::full(first);
    let alike = group.iter().all(|object| object.size == first.size) && full.head != Head::Sign;
    let sizes: Vec<Option<Size>> = if alike { vec![None, Some(first.size)] } else { vec![None] };
    // Nobody has to say that a shape is plain.
    let patterns = match full.pattern {
        Some(Pattern::Plain) => vec![None, full.pattern],
        _ => vec![full.pattern],
    };
    let described = sizes.into_iter().flat_map(|size| patterns.iter().map(move |&pattern| (size, pattern)));
    described.map(|(size, pattern)| Description { size, pattern, ..full }.counted(group.len())).collect()
}
