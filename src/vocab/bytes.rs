//! GPT-2 writes each byte as one printable character, so that its files are plain text.

/// The byte that a character of a piece stands for.
pub(crate) fn byte_of(c: char) -> Option<u8> {
    let code = u32::from(c);
    if is_printable(code) {
        return Some(code as u8);
    }
    // The other bytes are counted up from U+0100 in increasing order.
    (0..=255u8).filter(|byte| !is_printable(u32::from(*byte))).nth(code.checked_sub(256)? as usize)
}

/// The character that a byte is written as.
pub(crate) fn char_of(byte: u8) -> char {
    if is_printable(u32::from(byte)) {
        return char::from(byte);
    }
    let index = (0..byte).filter(|before| !is_printable(u32::from(*before))).count();
    char::from_u32(256 + index as u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn is_printable(code: u32) -> bool {
    matches!(code, 33..=126 | 161..=172 | 174..=255)
}

/// Appends the bytes of a piece; a character outside the alphabet stands for itself.
pub(crate) fn push_bytes(piece: &str, table: &[Option<u8>; 512], out: &mut Vec<u8>) {
    for c in piece.chars() {
        match table.get(u32::from(c) as usize).copied().flatten() {
            Some(byte) => out.push(byte),
            None => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// [`byte_of`] as a table: a vocabulary has hundreds of thousands of characters to translate.
pub(crate) fn byte_table() -> [Option<u8>; 512] {
    std::array::from_fn(|code| char::from_u32(code as u32).and_then(byte_of))
}
