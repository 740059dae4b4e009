//! A generated summary in the spelling of the references it is compared with (reference, appendix G).

/// What the references write for single tokens.
const SPELLINGS: [(&str, &str); 10] = [
    ("(", "-lrb-"),
    (")", "-rrb-"),
    ("[", "-lsb-"),
    ("]", "-rsb-"),
    ("{", "-lcb-"),
    ("}", "-rcb-"),
    ("[UNK]", "UNK"),
    ("&", "&amp;"),
    ("<", "&lt;"),
    (">", "&gt;"),
];

/// A summary as ROUGE is computed of it: lower case, tokens of the references, every 1 a `#` like their digits.
pub fn summary_output(text: &str) -> String {
    fix_tokenization(text.to_lowercase().replace("<unk>", " unk").trim()).replace('1', "#")
}

/// Joins what the references write as one token, and spells quotes and brackets as they do.
pub fn fix_tokenization(text: &str) -> String {
    let tokens: Vec<&str> = text.split_whitespace().collect();
    let mut fixed = Fixed::default();
    let mut rest = tokens.as_slice();
    while !rest.is_empty() {
        rest = &rest[fixed.take(rest)..];
    }
    fixed.tokens.join(" ")
}

#[derive(Default)]
struct Fixed {
    tokens: Vec<String>,
    /// Inside double, inside single quotes.
    quoted: [bool; 2],
    /// The last token waits for what follows its hyphen.
    hyphen: bool,
}

impl Fixed {
    /// Writes what the first tokens become; returns how many they are.
    fn take(&mut self, tokens: &[&str]) -> usize {
        let after_hyphen = std::mem::take(&mut self.hyphen);
        if let Some((_, spelling)) = SPELLINGS.iter().find(|(token, _)| *token == tokens[0]) {
            return self.write(spelling, 1);
        }
        let last = self.tokens.last().map_or("", String::as_str);
        match *tokens {
            ["\"", ..] => self.quote(0, ["``", "''"]),
            ["'", "t", ..] if last.ends_with('n') => {
                self.tokens.last_mut().map(String::pop);
                self.write("n't", 2)
            }
            ["'", clitic @ ("s" | "d" | "ll"), ..] => self.write(&format!("'{clitic}"), 2),
            ["'", ..] => self.quote(1, ["`", "'"]),
            [".", ".", ".", ..] => self.write("...", 3),
            [",", next, ..] if is_number(last) && is_number(next) => self.join(&format!(",{next}"), 2),
            [".", next, ..] if is_digits(last) && is_digits(next) => self.join(&format!(".{next}"), 2),
            // The original leaves the second full stop standing as well.
            [".", next, ".", ..] if is_initial(last) && is_initial(next) => self.join(&format!(".{next}."), 2),
            ["-", "-", ..] => self.write("--", 2),
            ["-", next, ..] if !self.tokens.is_empty() && !is_mark(last) && !starts_with_mark(next) => {
                self.hyphen = true;
                self.join("-", 1)
            }
            [word, ..] if after_hyphen && !starts_with_mark(word) => self.join(word, 1),
            _ => self.write(tokens[0], 1),
        }
    }

    fn write(&mut self, token: &str, taken: usize) -> usize {
        self.tokens.push(token.to_owned());
        taken
    }

    fn join(&mut self, text: &str, taken: usize) -> usize {
        if let Some(last) = self.tokens.last_mut() {
            last.push_str(text);
        }
        taken
    }

    fn quote(&mut self, kind: usize, [opening, closing]: [&str; 2]) -> usize {
        self.quoted[kind] = !self.quoted[kind];
        self.write(if self.quoted[kind] { opening } else { closing }, 1)
    }
}

fn is_digits(token: &str) -> bool {
    !token.is_empty() && token.chars().all(|c| c.is_ascii_digit())
}

/// Digits, or thousands that were joined before.
fn is_number(token: &str) -> bool {
    !token.is_empty() && token.chars().all(|c| c.is_ascii_digit() || c == ',')
}

fn is_initial(token: &str) -> bool {
    let mut chars = token.chars();
    chars.next().is_some_and(char::is_uppercase) && chars.next().is_none()
}

fn is_mark(token: &str) -> bool {
    token.len() == 1 && starts_with_mark(token)
}

fn starts_with_mark(token: &str) -> bool {
    token.starts_with(|c: char| c.is_ascii_punctuation())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_spelled_like_their_references() {
        assert_eq!(summary_output(" Rose 1 . 5 percent ( UK )\n"), "rose #.5 percent -lrb- uk -rrb-");
        assert_eq!(fix_tokenization("1 , 000 , 000 - - a - \" b \""), "1,000,000 -- a - `` b ''");
        assert_eq!(fix_tokenization(""), "");
    }
}
