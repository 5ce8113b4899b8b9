//! Text that a peer wrote, made safe for a terminal.

use core::fmt::Write as _;

/// One line: whatever could move the cursor, change colours, hide text or turn
/// the direction of writing is shown as an escape (`\n`, `\u{202e}`).
pub(crate) fn line(text: &str) -> String {
    escaped(text, |_| false)
}

/// Several lines: as [`line`], but line ends and tabs stay.
pub(crate) fn lines(text: &str) -> String {
    escaped(text, |letter| letter == '\n' || letter == '\t')
}

/// One line of at most `width` characters, the end cut off.
pub(crate) fn short(text: &str, width: usize) -> String {
    let shown = line(text);
    if shown.chars().nth(width).is_none() {
        return shown;
    }
    let mut cut: String = shown.chars().take(width.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

/// A path or a name in one line: as [`line`], and bytes that are no UTF-8 by their number (`\xff`).
pub(crate) fn path(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.push_str(&line(chunk.valid()));
        for byte in chunk.invalid() {
            // Writing to a string cannot fail.
            let _: core::fmt::Result = write!(out, "\\x{byte:02x}");
        }
    }
    out
}

/// JSON that says the same and is safe to look at: what a terminal might obey
/// can only stand inside its strings, and is written there by its number.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut units = [0; 2];
    for letter in text.chars() {
        if letter == '\n' || !is_dangerous(letter) {
            out.push(letter);
            continue;
        }
        for unit in letter.encode_utf16(&mut units) {
            // Writing to a string cannot fail.
            let _: core::fmt::Result = write!(out, "\\u{unit:04x}");
        }
    }
    out
}

/// Appends the same of JSON in UTF-8, which nearly always stays as it is.
pub(crate) fn push_json(out: &mut Vec<u8>, text: &[u8]) {
    if text.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        out.extend_from_slice(text);
    } else {
        out.extend_from_slice(json(&String::from_utf8_lossy(text)).as_bytes());
    }
}

fn escaped(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        if stays(letter) || !is_dangerous(letter) {
            out.push(letter);
        } else {
            match letter {
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                other => {
                    // Writing to a string cannot fail.
                    let _: core::fmt::Result = write!(out, "\\u{{{:x}}}", u32::from(other));
                }
            }
        }
    }
    out
}

/// Control characters, and the invisible ones that change how others are
/// shown: bidirectional controls (Unicode UAX #9 §2), line and paragraph
/// separators, zero-width characters, tags.
fn is_dangerous(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_peer_writes_reaches_the_terminal_as_a_command() {
        let table = [
            ("plain é 漢字 🙂", "plain é 漢字 🙂"),
            ("a\x1b[31mred", "a\\u{1b}[31mred"),
            ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
            ("user\u{202e}txt.exe", "user\\u{202e}txt.exe"),
            ("\u{9b}2J\u{2028}\u{200d}\u{feff}", "\\u{9b}2J\\u{2028}\\u{200d}\\u{feff}"),
        ];
        for (written, shown) in table {
            assert_eq!(line(written), shown);
        }
        assert_eq!(lines("a\n\tb\x1b\r"), "a\n\tb\\u{1b}\\r");
    }

    #[test]
    fn a_name_of_any_bytes_is_one_line() {
        assert_eq!(path(b"a b\n\xff\xc3\x1b[2J"), "a b\\n\\xff\\xc3\\u{1b}[2J");
        assert_eq!(path("\u{e9}".as_bytes()), "\u{e9}");
    }

    #[test]
    fn json_means_the_same_and_commands_no_terminal() {
        let written = "é\u{1b}[2J \u{9b}2J \u{202e}exe \u{7f} \u{e0001} \n\"";
        let plain = serde_json::to_string(written).unwrap();

        let shown = json(&plain);

        assert_eq!(serde_json::from_str::<String>(&shown).unwrap(), written);
        assert!(shown.chars().all(|letter| !is_dangerous(letter)), "{shown:?}");
        assert!(shown.contains("é"), "{shown:?}");
        let mut pushed = b"first ".to_vec();
        push_json(&mut pushed, plain.as_bytes());
        push_json(&mut pushed, b" {}");
        assert_eq!(pushed, format!("first {shown} {{}}").as_bytes());
    }

    #[test]
    fn a_cut_says_so() {
        assert_eq!(short("abc", 3), "abc");
        assert_eq!(short("abcd", 3), "ab…");
        assert_eq!(short("a\nbcd", 4), "a\\n…");
    }
}
