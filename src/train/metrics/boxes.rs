//! Boxes against boxes: left, top, right, bottom in pixels.

/// From here on two boxes count as the same.
pub const HALF: f64 = 0.5;
/// The original adds it to the union, so that nothing is divided by zero.
const EPSILON: f64 = 1e-6;

/// Intersection over union as the original has it: by formula, boxes apart in both directions have
/// something in common.
pub fn iou(found: [f64; 4], expected: [f64; 4]) -> f64 {
    let [width, height] = intersection(found, expected);
    let area = |[left, top, right, bottom]: [f64; 4]| (right - left) * (bottom - top);
    let common = width * height;
    common / (area(found) + area(expected) - common + EPSILON)
}

/// [`iou`], and 0 for boxes that are apart.
pub fn overlap(found: [f64; 4], expected: [f64; 4]) -> f64 {
    if intersection(found, expected).iter().all(|side| *side > 0.0) { iou(found, expected) } else { 0.0 }
}

/// Whether two boxes overlap by half of their union and more.
pub fn same_place(found: [f64; 4], expected: [f64; 4]) -> bool {
    overlap(found, expected) >= HALF
}

/// A region from 0 to 1 in the pixels of an image of this width and height.
pub fn in_pixels(region: [f32; 4], (width, height): (u32, u32)) -> [f64; 4] {
    let sides = [width, height, width, height];
    std::array::from_fn(|side| f64::from(region[side]) * f64::from(sides[side]))
}

/// Width and height; negative where there is a gap.
fn intersection(a: [f64; 4], b: [f64; 4]) -> [f64; 2] {
    [a[2].min(b[2]) - a[0].max(b[0]), a[3].min(b[3]) - a[1].max(b[1])]
}

/// A box and what is in it.
pub type Labelled<'a> = ([f64; 4], &'a str);

/// Detections by how they met the objects that are there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Matches {
    pub matched: usize,
    pub found: usize,
    pub expected: usize,
}

impl Matches {
    /// Each box found, in order, takes the object of its label that it overlaps most, of those not yet taken.
    pub fn of(found: &[Labelled<'_>], expected: &[Labelled<'_>]) -> Self {
        let mut free: Vec<&Labelled<'_>> = expected.iter().collect();
        for (place, label) in found {
            let candidates =
                free.iter().enumerate().filter(|(_, (there, is))| is == label && same_place(*place, *there));
            let best = candidates.max_by(|(_, a), (_, b)| iou(*place, a.0).total_cmp(&iou(*place, b.0)));
            if let Some((at, _)) = best {
                free.remove(at);
            }
        }
        Self { matched: expected.len() - free.len(), found: found.len(), expected: expected.len() }
    }

    /// Over many images.
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Self {
        all.into_iter().fold(Self::default(), |sum, one| Self {
            matched: sum.matched + one.matched,
            found: sum.found + one.found,
            expected: sum.expected + one.expected,
        })
    }

    pub fn precision(&self) -> f64 {
        self.matched as f64 / self.found.max(1) as f64
    }

    pub fn recall(&self) -> f64 {
        self.matched as f64 / self.expected.max(1) as f64
    }

    /// The harmonic mean of both; 0 of nothing.
    pub fn f1(&self) -> f64 {
        2.0 * self.matched as f64 / (self.found + self.expected).max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The original's addition to the union, relative to areas of 100 pixels.
    const TOLERANCE: f64 = 1e-7;

    const SQUARE: [f64; 4] = [0.0, 0.0, 10.0, 10.0];

    #[test]
    fn hand_computed() {
        assert!((iou(SQUARE, [5.0, 0.0, 15.0, 10.0]) - 1.0 / 3.0).abs() < TOLERANCE);
        assert!((iou(SQUARE, SQUARE) - 1.0).abs() < TOLERANCE);
        assert!(same_place(SQUARE, [0.0, 0.0, 10.0, 5.1]) && !same_place(SQUARE, [0.0, 0.0, 10.0, 4.9]));
        assert!(!same_place(SQUARE, [20.0, 20.0, 21.0, 21.0]) && !same_place([0.0; 4], [0.0; 4]));
    }

    #[test]
    fn a_detection_takes_one_object_of_its_label() {
        let near = [0.0, 0.0, 10.0, 8.0];
        let there = [(near, "cat"), (SQUARE, "cat"), ([50.0, 50.0, 60.0, 60.0], "dog")];
        let found = [(SQUARE, "cat"), (SQUARE, "cat"), (SQUARE, "cat"), ([50.0, 50.0, 60.0, 60.0], "cat")];
        let matches = Matches::of(&found, &there);
        assert_eq!(matches, Matches { matched: 2, found: 4, expected: 3 });
        assert!((matches.f1() - 4.0 / 7.0).abs() < TOLERANCE);
        assert_eq!((matches.precision(), Matches::of(&there, &there).f1()), (0.5, 1.0));
        assert_eq!(Matches::of(&[], &[]).f1(), 0.0);
        assert_eq!(Matches::sum([matches, matches]).found, 8);
    }
}
