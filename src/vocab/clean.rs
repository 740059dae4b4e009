//! The original's cleaning of captions, questions and answers (reference §4.3), word for word: a model has
//! only seen text that went through it.

/// Python's `str.isspace`, which counts four separators that Rust does not.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// A caption as it stands in prompts: lower case, no leading punctuation, dashes and slashes opened up,
/// `<person>` unwrapped, at most `max_words` words.
pub fn pre_caption(text: &str, max_words: usize) -> String {
    tidy(&opened(text).replace("<person>", "person"), max_words)
}

/// A question as it stands in prompts: a caption's cleaning, but `<person>` stays.
pub fn pre_question(text: &str, max_words: usize) -> String {
    tidy(&opened(text), max_words)
}

/// [`pre_question`] with a question mark at its end.
pub fn question(text: &str, max_words: usize) -> String {
    let mut question = pre_question(text, max_words);
    if !question.ends_with('?') {
        question.push('?');
    }
    question
}

/// A caption as a training target: no ASCII punctuation, at most `max_words` words, case kept.
pub fn caption_target(text: &str, max_words: usize) -> String {
    joined_words(&without_punctuation(text), max_words)
}

/// A generated caption as the captioning metrics want it: no ASCII punctuation, trimmed.
pub fn caption_output(text: &str) -> String {
    without_punctuation(text).trim_matches(is_space).to_owned()
}

/// An article to be summarised: a caption's cleaning and a plain `unk`.
pub fn article(text: &str, max_words: usize) -> String {
    pre_caption(text, max_words).replace("<unk>", "unk")
}

/// A sentence of a language-understanding task: lower case, words joined by single spaces.
pub fn sentence(text: &str, max_words: usize) -> String {
    joined_words(&text.to_lowercase(), max_words)
}

/// The first words of a text, joined by single spaces.
pub fn joined_words(text: &str, max_words: usize) -> String {
    let words: Vec<&str> = text.split(is_space).filter(|word| !word.is_empty()).take(max_words).collect();
    words.join(" ")
}

/// The lines of a file of texts that say something.
pub fn lines(text: &str) -> Vec<String> {
    // What some programs put before the first.
    let lines = text.trim_start_matches('\u{feff}').lines().map(str::trim);
    lines.filter(|line| !line.is_empty()).map(String::from).collect()
}

fn without_punctuation(text: &str) -> String {
    text.chars().filter(|c| !c.is_ascii_punctuation()).collect()
}

fn opened(text: &str) -> String {
    text.to_lowercase().trim_start_matches(|c| ",.!?*#:;~".contains(c)).replace(['-', '/'], " ")
}

/// Spaces after the leading punctuation are only removed here, so " ..." keeps its dots, as in the original.
fn tidy(text: &str, max_words: usize) -> String {
    let collapsed = collapse(text);
    let trimmed = collapsed.trim_end_matches('\n').trim_matches(' ');
    let words: Vec<&str> = trimmed.split(' ').take(max_words).collect();
    words.join(" ")
}

/// Runs of two and more whitespace characters become one space; a single tab or newline survives.
fn collapse(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if is_space(c) && chars.next_if(|next| is_space(*next)).is_some() {
            while chars.next_if(|next| is_space(*next)).is_some() {}
            out.push(' ');
        } else {
            out.push(c);
        }
    }
    out
}
