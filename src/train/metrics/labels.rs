//! Answers that are one of a few: how many are right, and by whose count.

/// How right an answer is among the annotators', 0 if none of them gave it.
pub fn credit(answer: &str, scored: &[(String, f32)]) -> f64 {
    scored.iter().find(|(text, _)| text == answer).map_or(0.0, |(_, score)| f64::from(*score))
}

/// Yes-or-no answers by what was said and what is so.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Confusion {
    pub true_positives: usize,
    pub false_positives: usize,
    pub true_negatives: usize,
    pub false_negatives: usize,
}

impl FromIterator<(bool, bool)> for Confusion {
    /// Of pairs of what was said and what is so.
    fn from_iter<I: IntoIterator<Item = (bool, bool)>>(pairs: I) -> Self {
        let mut counts = Self::default();
        for (said, is) in pairs {
            *match (said, is) {
                (true, true) => &mut counts.true_positives,
                (true, false) => &mut counts.false_positives,
                (false, false) => &mut counts.true_negatives,
                (false, true) => &mut counts.false_negatives,
            } += 1;
        }
        counts
    }
}

impl Confusion {
    /// The harmonic mean of precision and recall; 0 where nothing positive was found.
    pub fn f1(&self) -> f64 {
        if self.true_positives == 0 {
            return 0.0;
        }
        let twice = 2.0 * self.true_positives as f64;
        twice / (twice + (self.false_positives + self.false_negatives) as f64)
    }

    /// Matthews' correlation, from -1 to 1; 0 where either side is all of one kind.
    pub fn matthews(&self) -> f64 {
        let [tp, fp, tn, fn_] =
            [self.true_positives, self.false_positives, self.true_negatives, self.false_negatives].map(|n| n as f64);
        let product = (tp + fp) * (tp + fn_) * (tn + fp) * (tn + fn_);
        if product == 0.0 { 0.0 } else { (tp * tn - fp * fn_) / product.sqrt() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOLERANCE: f64 = 1e-12;

    #[test]
    fn hand_computed() {
        let pairs = [(true, true), (true, true), (true, false), (false, false), (false, true)];
        let counts: Confusion = pairs.into_iter().collect();
        assert!((counts.f1() - 4.0 / 6.0).abs() < TOLERANCE);
        assert!((counts.matthews() - (2.0 - 1.0) / (3.0f64 * 3.0 * 2.0 * 2.0).sqrt()).abs() < TOLERANCE);
    }

    #[test]
    fn perfect_opposite_and_empty() {
        let of = |pairs: &[(bool, bool)]| -> Confusion { pairs.iter().copied().collect() };
        let perfect = of(&[(true, true), (false, false)]);
        assert_eq!((perfect.f1(), perfect.matthews()), (1.0, 1.0));
        let opposite = of(&[(true, false), (false, true)]);
        assert_eq!((opposite.f1(), opposite.matthews()), (0.0, -1.0));
        assert_eq!((of(&[]).f1(), of(&[(true, true)]).matthews()), (0.0, 0.0));
    }

    #[test]
    fn credit_is_the_annotators() {
        let scored = [("blue".to_string(), 0.3), ("navy".to_string(), 1.0)];
        assert_eq!(credit("navy", &scored), 1.0);
        assert_eq!(credit("Navy", &scored), 0.0);
        assert_eq!(credit("", &[]), 0.0);
    }
}
