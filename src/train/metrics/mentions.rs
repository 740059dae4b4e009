//! Whether a description names what it has to.

use super::words::caption_words;

/// The share of things that a description mentions by any of their phrases, whole words in their order; 1 where nothing
/// has to be mentioned.
pub fn mentioned(description: &str, things: &[Vec<String>]) -> f64 {
    if things.is_empty() {
        return 1.0;
    }
    let words = caption_words(description);
    let says = |phrase: &String| {
        let phrase = caption_words(phrase);
        !phrase.is_empty() && words.windows(phrase.len()).any(|window| *window == phrase[..])
    };
    things.iter().filter(|phrases| phrases.iter().any(says)).count() as f64 / things.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_phrase_will_do_but_only_as_whole_words() {
        let of = |phrases: &[&[&str]]| -> Vec<Vec<String>> {
            phrases.iter().map(|one| one.iter().map(|phrase| phrase.to_string()).collect()).collect()
        };
        let things = of(&[&["red fox", "scarlet fox"], &["small blue circle"]]);
        assert_eq!(mentioned("A Red fox, left of a small blue circle.", &things), 1.0);
        assert_eq!(mentioned("a scarlet fox and a blue small circle", &things), 0.5);
        assert_eq!(mentioned("a red foxglove", &things), 0.0);
        assert_eq!((mentioned("", &things), mentioned("", &[]), mentioned("a", &of(&[&[""]]))), (0.0, 1.0, 0.0));
    }
}
