//! Captions: what a sentence claims of a scene, how it is said, and how it is made false by one change.

use super::describe::{Description, Head, Mentioned, in_place, may_be_in};
use super::held_out;
use super::nouns::Noun;
use super::scene::{Kind, Object, Scene};
use super::words::{Category, Colour, Ground, Pattern, Place, Relation, Shape, Size, Written, with_article};
use fastrand::Rng;
use std::ops::Range;

/// Captions of training are cut to 30 words (reference §6.1), so none is longer.
const MOST_WORDS: usize = 30;
/// Changes tried until one makes the caption false.
const CHANGES: usize = 12;

/// Parts of an answer, counted as [`Example::shown`](crate::train::Example::shown) does, and the objects that they speak
/// of.
pub type Spoken = Vec<(Range<usize>, Vec<usize>)>;

/// So many objects that fit a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    pub count: usize,
    pub what: Description,
    /// What its sign says.
    pub written: Option<Written>,
}

/// What a caption claims.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub groups: Vec<Group>,
    /// The objects of the scene that each group was made of.
    pub objects: Vec<Vec<usize>>,
    /// Of the first group to the second, each of one object.
    pub relation: Option<Relation>,
    /// Where the only object is.
    pub place: Option<Place>,
    pub ground: Option<Ground>,
    pub pattern: Option<Pattern>,
}

impl Group {
    fn text(&self) -> String {
        match self.written {
            Some(word) => format!("{} that says {}", self.what.counted(self.count), word.word()),
            None => self.what.counted(self.count),
        }
    }

    fn fits(&self, object: &Object) -> bool {
        let said = match object.kind {
            Kind::Sign { word } => self.written.is_none_or(|said| said == word),
            _ => self.written.is_none(),
        };
        said && self.what.fits(object)
    }
}

impl Statement {
    /// A true one that names every object.
    pub fn of(scene: &Scene, held_out: bool, rng: &mut Rng) -> Self {
        let mut groups = grouped(scene, rng);
        rng.shuffle(&mut groups);
        // The two that a relation joins come first.
        groups.sort_by_key(|(group, _)| group.count > 1);
        Self::claiming(groups, scene, held_out, rng)
    }

    /// A true one that names every object from the top to the bottom, as detection does: what there is only one order for
    /// is learnt sooner.
    pub fn in_reading_order(scene: &Scene, held_out: bool, rng: &mut Rng) -> Self {
        let mut groups = grouped(scene, rng);
        let order = scene.reading_order();
        groups.sort_by_key(|(_, objects)| order.iter().position(|at| objects.contains(at)));
        Self::claiming(groups, scene, held_out, rng)
    }

    fn claiming(groups: Vec<(Group, Vec<usize>)>, scene: &Scene, held_out: bool, rng: &mut Rng) -> Self {
        let (groups, objects): (Vec<Group>, Vec<Vec<usize>>) = groups.into_iter().unzip();
        let first = |group: usize| &scene.objects[objects[group][0]];
        let (mut relation, mut place, mut ground, mut pattern) = (None, None, None, None);
        if let [Group { count: 1, .. }, Group { count: 1, .. }, ..] = groups[..]
            && rng.f32() < 0.65
        {
            let (a, b) = (first(0), first(1));
            let holding = Relation::ALL.iter().copied().filter(|relation| relation.holds(a, b) == Some(true));
            relation =
                rng.choice(holding.filter(|&relation| held_out || !held_out::said(a, relation)).collect::<Vec<_>>());
        }
        if let [Group { count: 1, .. }] = groups[..] {
            place = first(0).place().filter(|_| rng.f32() < 0.4);
        }
        if rng.f32() < 0.35 {
            (ground, pattern) = (Some(scene.ground), Some(scene.pattern));
            if rng.bool() {
                pattern = None;
            } else if rng.bool() || scene.pattern != Pattern::Plain {
                ground = ground.filter(|_| rng.bool());
            }
        }
        let mut statement = Self { groups, objects, relation, place, ground, pattern };
        // Merging by what is said may leave a description that fits an object of another group: say more, or count it.
        statement.sharpen(scene);
        statement
    }

    /// The objects that some group of it fits; the second of those that a relation joins is what the first is beside.
    pub fn about(&self, scene: &Scene) -> Mentioned {
        let anchor = self.relation.map(|_| 1);
        let said = |anchors: bool| {
            let groups = self.groups.iter().enumerate().filter(move |(at, _)| (Some(*at) == anchor) == anchors);
            let groups: Vec<&Group> = groups.map(|(_, group)| group).collect();
            (0..scene.objects.len()).filter(|at| groups.iter().any(|group| group.fits(&scene.objects[*at]))).collect()
        };
        Mentioned { targets: said(false), anchors: said(true) }
    }

    /// Counts above one must be those of the whole scene.
    fn sharpen(&mut self, scene: &Scene) {
        for group in &mut self.groups {
            if group.count > 1 && scene.objects.iter().filter(|object| group.fits(object)).count() != group.count {
                group.what.pattern = Some(group.what.pattern.unwrap_or(Pattern::Plain));
            }
        }
    }

    /// Whether it is true, false, or, by a hair's breadth between two objects, neither.
    pub fn is_true(&self, scene: &Scene) -> Option<bool> {
        let about_ground = self.ground.is_none_or(|ground| ground == scene.ground)
            && self.pattern.is_none_or(|pattern| pattern == scene.pattern);
        if !about_ground {
            return Some(false);
        }
        match (self.possible(scene, true), self.possible(scene, false)) {
            (true, _) => Some(true),
            (false, false) => Some(false),
            (false, true) => None,
        }
    }

    /// Whether every group has objects of its own; `strictly` decides what is a matter of opinion.
    fn possible(&self, scene: &Scene, strictly: bool) -> bool {
        let mut chosen = Vec::new();
        self.assign(scene, strictly, &mut chosen)
    }

    fn assign(&self, scene: &Scene, strictly: bool, chosen: &mut Vec<Vec<usize>>) -> bool {
        let Some(group) = self.groups.get(chosen.len()) else { return self.placed(scene, strictly, chosen) };
        let all: Vec<usize> = (0..scene.objects.len()).filter(|&index| group.fits(&scene.objects[index])).collect();
        let free = |index: &usize| !chosen.iter().flatten().any(|taken| taken == index);
        let choices: Vec<Vec<usize>> = match group.count {
            1 => all.into_iter().filter(free).map(|index| vec![index]).collect(),
            count if count == all.len() && all.iter().all(free) => vec![all],
            _ => Vec::new(),
        };
        choices.into_iter().any(|choice| {
            chosen.push(choice);
            let possible = self.assign(scene, strictly, chosen);
            chosen.pop();
            possible
        })
    }

    fn placed(&self, scene: &Scene, strictly: bool, chosen: &[Vec<usize>]) -> bool {
        let object =
            |group: usize| chosen.get(group).and_then(|group| group.first()).map(|&index| &scene.objects[index]);
        let related = match (self.relation, object(0), object(1)) {
            (Some(relation), Some(a), Some(b)) => relation.holds(a, b).unwrap_or(!strictly),
            _ => true,
        };
        let placed = match (self.place, object(0)) {
            (Some(place), Some(object)) if strictly => object.place() == Some(place),
            (Some(place), Some(object)) => may_be_in(object, place),
            _ => true,
        };
        related && placed
    }

    /// The sentence; several phrasings say the same.
    pub fn text(&self, rng: &mut Rng) -> String {
        self.said(rng).1
    }

    /// The sentence, and which of its bytes speak of which objects.
    pub fn spoken(&self, rng: &mut Rng) -> (String, Spoken) {
        let (said, text) = self.said(rng);
        let mut end = 0;
        let part = |(group, objects): (&Group, &Vec<usize>)| {
            let phrase = group.text();
            let start = end + text[end..].find(&phrase)?;
            end = start + phrase.len();
            Some((start..end, objects.clone()))
        };
        let parts = said.groups.iter().zip(&said.objects).filter_map(part).collect();
        (text, parts)
    }

    /// What is said where all of it would be too long, and the sentence.
    fn said(&self, rng: &mut Rng) -> (Self, String) {
        let mut shorter = self.clone();
        let mut text = shorter.sentence(rng);
        while text.split(' ').count() > MOST_WORDS {
            if shorter.ground.take().is_none() && shorter.pattern.take().is_none() {
                let Some(group) = shorter.groups.iter_mut().find(|group| group.what.size.is_some()) else { break };
                group.what.size = None;
            }
            text = shorter.sentence(rng);
        }
        (shorter, text)
    }

    fn sentence(&self, rng: &mut Rng) -> String {
        let mut parts: Vec<String> = self.groups.iter().map(Group::text).collect();
        let number = self.groups.iter().map(|group| group.count).sum::<usize>();
        let is = if self.groups.first().is_some_and(|group| group.count > 1) { "are" } else { "is" };
        let mut lead = rng.choice(["", "there ", "a picture of ", "an image of ", "we see "]).unwrap_or_default();
        let mut joined_by_with = false;
        if let Some(relation) = self.relation {
            let second = parts.remove(1);
            let first = parts.remove(0);
            let verb = if lead.is_empty() && rng.bool() { " is" } else { "" };
            parts.insert(0, format!("{first}{verb} {} {second}", relation.word()));
            joined_by_with = true;
        }
        if let Some(place) = self.place {
            let verb = if lead.is_empty() && rng.bool() { " is" } else { "" };
            parts[0] = format!("{}{verb} {}", parts[0], in_place(place));
        }
        let mut text = if joined_by_with && parts.len() > 1 {
            let first = parts.remove(0);
            let link = rng.choice([", with ", ", and also "]).unwrap_or_default();
            format!("{first}{link}{}", listed(&parts))
        } else {
            listed(&parts)
        };
        let there = format!("there {is} ");
        if lead == "there " {
            lead = &there;
        }
        text.insert_str(0, lead);
        let adjectives: Vec<&str> =
            [self.pattern.map(Pattern::word), self.ground.map(Ground::word)].into_iter().flatten().collect();
        if !adjectives.is_empty() {
            let pause = if number > 1 { "," } else { "" };
            text.push_str(&format!("{pause} on {} background", with_article(&adjectives.join(" "))));
        }
        text
    }

    /// The statement with one change that makes it false, and that says nothing held out.
    pub fn falsified(&self, scene: &Scene, nouns: &[Noun], held_out: bool, rng: &mut Rng) -> Option<Self> {
        (0..CHANGES).find_map(|_| {
            let mut other = self.clone();
            other.change(nouns, rng)?;
            let allowed = held_out || !other.says_held_out();
            (allowed && other.is_true(scene) == Some(false)).then_some(other)
        })
    }

    fn says_held_out(&self) -> bool {
        let subject = self.groups.first().map(|group| group.what.head);
        let related = match (self.relation, subject) {
            (Some(relation), Some(Head::Noun(noun))) => held_out::relation(noun) == Some(relation),
            _ => false,
        };
        let held_out = |group: &Group| group.what.is_held_out() || group.what.is_held_out_count(group.count);
        related || self.groups.iter().any(held_out)
    }

    fn change(&mut self, nouns: &[Noun], rng: &mut Rng) -> Option<()> {
        match rng.usize(..10) {
            0 | 1 if self.relation.is_some() => self.relation = self.relation.map(Relation::opposite),
            0 if self.place.is_some() => self.place = another(Place::ALL, self.place?, rng),
            2 if self.ground.is_some() => self.ground = another(Ground::ALL, self.ground?, rng),
            2 if self.pattern.is_some() => self.pattern = another(Pattern::ALL, self.pattern?, rng),
            _ => {
                let index = rng.usize(..self.groups.len());
                self.groups[index].change(self.relation.is_some() && index < 2, nouns, rng)?;
            }
        }
        Some(())
    }
}

impl Group {
    fn change(&mut self, single: bool, nouns: &[Noun], rng: &mut Rng) -> Option<()> {
        if rng.usize(..4) == 0 && !single && self.written.is_none() {
            let down = self.count > 1 && rng.bool();
            self.count = if down { self.count - 1 } else { self.count + 1 };
            return Some(());
        }
        if self.written.is_some() {
            self.written = another(Written::ALL, self.written?, rng);
            return Some(());
        }
        self.what = changed(self.what, nouns, rng)?;
        Some(())
    }
}

/// What there is to name, in the scene's order: things that a caption says alike are counted together.
fn grouped(scene: &Scene, rng: &mut Rng) -> Vec<(Group, Vec<usize>)> {
    let mut groups: Vec<(Group, Vec<usize>)> = Vec::new();
    for (index, object) in scene.objects.iter().enumerate() {
        let mut what = Description::natural(object, rng);
        let same = |(group, _): &&mut (Group, Vec<usize>)| {
            (group.what.head, group.what.colour, group.what.pattern) == (what.head, what.colour, what.pattern)
        };
        if let Some((group, objects)) = groups.iter_mut().find(same) {
            objects.push(index);
            group.count += 1;
            // Several together have a size only if they have the same.
            group.what.size = group.what.size.filter(|&size| Some(size) == what.size);
        } else {
            // A pattern left unsaid here would be claimed of objects that a later group names.
            what.pattern = what.pattern.filter(|&pattern| pattern != Pattern::Plain);
            let written = match object.kind {
                Kind::Sign { word } => Some(word),
                _ => None,
            };
            groups.push((Group { count: 1, what, written }, vec![index]));
        }
    }
    groups
}

/// A description that differs in one word.
pub fn changed(mut what: Description, nouns: &[Noun], rng: &mut Rng) -> Option<Description> {
    match rng.usize(..5) {
        0 if what.size.is_some() => what.size = another(Size::ALL, what.size?, rng),
        1 if what.pattern.is_some() => what.pattern = another(Pattern::ALL, what.pattern?, rng),
        2 | 3 if what.colour.is_some() => what.colour = another(Colour::ALL, what.colour?, rng),
        _ => {
            what.head = match what.head {
                Head::Shape(shape) => Head::Shape(another(Shape::ALL, shape, rng)?),
                Head::Noun(noun) => {
                    // One of its own kind is harder to tell apart.
                    let near = rng.bool();
                    let like = |other: &Noun| *other != noun && (!near || other.category() == noun.category());
                    Head::Noun(rng.choice(nouns.iter().copied().filter(like).collect::<Vec<_>>())?)
                }
                Head::Category(category) => {
                    let counted = another(Category::ALL, category, rng).filter(|other| other.plural().is_some());
                    Head::Category(counted?)
                }
                Head::AnyShape | Head::Sign => return None,
            }
        }
    }
    Some(what)
}

/// Another of a closed list.
pub fn another<T: Copy + PartialEq>(all: &[T], but: T, rng: &mut Rng) -> Option<T> {
    rng.choice(all.iter().copied().filter(|other| *other != but).collect::<Vec<_>>())
}

/// `a, b and c`.
fn listed(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}
