//! Words in commands that are offered to be pasted.

/// `word` as a shell reads it back.
#[must_use]
pub fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_with_anything_in_it_stays_one_word() {
        let table = [
            ("/home/a-b/.pilot", "/home/a-b/.pilot"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("$(x)", "'$(x)'"),
        ];

        for (word, shown) in table {
            assert_eq!(quoted(word), shown);
        }
    }
}
