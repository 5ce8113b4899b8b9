//! Words as they were typed → words that clap reads as they were meant.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

/// Rewrites a command line for `cmd`; `args` begins with the program's name.
///
/// * A long flag written with one dash gets its second one.
/// * The value of a long flag is tied to it (`--data=VALUE`), so that it may
///   begin with a hyphen, be empty, hold newlines or be no UTF-8.
/// * After `--`, and in values, nothing is changed.
///
/// Subcommands are followed; global flags hold in all of them. What it does
/// not know it leaves alone, for clap to refuse.
#[must_use]
pub fn normalize(cmd: &Command, args: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut args = args.into_iter();
    let mut out: Vec<OsString> = args.next().into_iter().collect();
    let mut path = vec![cmd];
    while let Some(word) = args.next() {
        let Some(text) = word.to_str() else {
            out.push(word);
            continue;
        };
        match Word::read(&path, text) {
            Word::End => {
                out.push(word);
                break;
            }
            Word::Long { takes_value: true, flag } => {
                let mut tied = OsString::from(flag);
                if let Some(value) = args.next() {
                    tied.push("=");
                    tied.push(value);
                }
                out.push(tied);
            }
            Word::Long { takes_value: false, flag } => out.push(flag.into()),
            Word::ShortWithValue => {
                out.push(word);
                out.extend(args.next());
            }
            Word::Subcommand(below) => {
                path.push(below);
                out.push(word);
            }
            Word::Other => out.push(word),
        }
    }
    out.extend(args);
    out
}

/// What one word is, seen from the subcommand that was reached.
enum Word<'a> {
    /// `--`.
    End,
    /// A long flag, written with two dashes now. It takes the next word if
    /// its value was not tied to it.
    Long { flag: String, takes_value: bool },
    /// `-c`, whose value is the next word.
    ShortWithValue,
    /// The name of a subcommand.
    Subcommand(&'a Command),
    /// A positional value, a group of short flags, or nonsense.
    Other,
}

impl<'a> Word<'a> {
    fn read(path: &[&'a Command], text: &str) -> Self {
        if text == "--" {
            return Self::End;
        }
        let Some(bare) = text.strip_prefix('-') else {
            let below = path.last().and_then(|cmd| cmd.find_subcommand(OsStr::new(text)));
            return below.map_or(Self::Other, Self::Subcommand);
        };
        let (dashes, bare) = match bare.strip_prefix('-') {
            Some(bare) => (2, bare),
            None => (1, bare),
        };
        let (name, tied) = match bare.split_once('=') {
            Some((name, _)) => (name, true),
            None => (bare, false),
        };
        let one_letter = name.chars().nth(1).is_none();
        if dashes == 1 && one_letter {
            let takes_value = !tied && short(path, name).is_some_and(takes_one_value);
            return if takes_value { Self::ShortWithValue } else { Self::Other };
        }
        match long(path, name) {
            Some(arg) => {
                Self::Long { flag: format!("--{bare}"), takes_value: !tied && takes_one_value(arg) }
            }
            None if dashes == 1 && looks_long(path, name) => {
                Self::Long { flag: format!("--{bare}"), takes_value: false }
            }
            None => Self::Other,
        }
    }
}

/// Whether a word with one dash that is no flag was meant as a long one, so
/// that clap names the nearest: it does not begin with any short flag.
fn looks_long(path: &[&Command], name: &str) -> bool {
    let Some(first) = name.chars().next() else { return false };
    // A text of its own, which must not be changed.
    let takes_hyphens = |cmd: &&Command| cmd.get_positionals().any(Arg::is_allow_hyphen_values_set);
    if path.last().is_some_and(takes_hyphens) {
        return false;
    }
    // Added by clap itself when it builds the command.
    let built_in = name == "help" || name == "version";
    let first_is_short =
        matches!(first, 'h' | 'V') || short(path, first.to_string().as_str()).is_some();
    built_in || (first.is_alphabetic() && !first_is_short)
}

fn takes_one_value(arg: &Arg) -> bool {
    let by_action = arg.get_action().takes_values();
    arg.get_num_args().map_or(by_action, |range| range.min_values() == 1 && range.max_values() == 1)
}

fn long<'a>(path: &[&'a Command], name: &str) -> Option<&'a Arg> {
    in_reach(path).find(|arg| {
        arg.get_long() == Some(name)
            || arg.get_all_aliases().is_some_and(|aliases| aliases.contains(&name))
    })
}

fn short<'a>(path: &[&'a Command], name: &str) -> Option<&'a Arg> {
    let mut letters = name.chars();
    let (Some(letter), None) = (letters.next(), letters.next()) else { return None };
    in_reach(path).find(|arg| {
        arg.get_short() == Some(letter)
            || arg.get_all_short_aliases().is_some_and(|aliases| aliases.contains(&letter))
    })
}

/// The flags of the last command of `path`, and the global ones above it.
fn in_reach<'a>(path: &[&'a Command]) -> impl Iterator<Item = &'a Arg> {
    let own = path.last().into_iter().flat_map(|cmd| cmd.get_arguments());
    let above = path.iter().flat_map(|cmd| cmd.get_arguments()).filter(|arg| arg.is_global_set());
    own.chain(above).filter(|arg| !arg.is_positional())
}

#[cfg(test)]
mod tests {
    use clap::{ArgAction, value_parser};

    use super::*;

    #[test]
    fn words_are_rewritten_as_they_were_meant() {
        let table: &[(&str, &[&str])] = &[
            // One dash or two, tied or not.
            ("daemon -registry-addr h:1 -public", &["daemon", "--registry-addr=h:1", "--public"]),
            ("daemon --registry-addr h:1", &["daemon", "--registry-addr=h:1"]),
            ("daemon -registry-addr=h:1 x", &["daemon", "--registry-addr=h:1", "x"]),
            ("daemon --public=x y", &["daemon", "--public=x", "y"]),
            ("daemon -registry a", &["daemon", "--registry=a"]),
            // Global flags before and after a subcommand, and in the nested one.
            ("-home /h task send --data -x", &["--home=/h", "task", "send", "--data=-x"]),
            ("task send -home --public", &["task", "send", "--home=--public"]),
            ("task send --data -- --data", &["task", "send", "--data=--", "--data"]),
            ("task send -data task -c -5 -v", &["task", "send", "--data=task", "-c", "-5", "-v"]),
            // A value that is the name of a subcommand does not lead into it.
            ("--home task daemon -public", &["--home=task", "daemon", "--public"]),
            // Nothing after `--`.
            ("task send -- -data x --home y", &["task", "send", "--", "-data", "x", "--home", "y"]),
            // Unknown words stay; those that look long get their second dash.
            ("task send --nope x -vc 5 -", &["task", "send", "--nope", "x", "-vc", "5", "-"]),
            ("daemon -regsitry-addr x", &["daemon", "--regsitry-addr", "x"]),
            ("-help", &["--help"]),
            ("-version", &["--version"]),
            ("-h", &["-h"]),
            // What is a text of its own stays, beside flags that do not.
            ("say -hello -loud", &["say", "-hello", "--loud"]),
            // A flag with an optional value takes none that is apart.
            ("daemon -maybe -public", &["daemon", "--maybe", "--public"]),
        ];
        for (typed, wanted) in table {
            let typed = ["pilot"].into_iter().chain(typed.split(' '));
            let wanted: Vec<OsString> =
                ["pilot"].iter().chain(wanted.iter()).map(OsString::from).collect();
            assert_eq!(normalize(&command(), typed.map(OsString::from)), wanted);
        }
    }

    #[test]
    fn clap_gets_every_value_as_it_was_given() {
        for value in ["", "-", "--", "-x", "--public", "a=b", "=", "two\nlines\n", "a,b", "\"'"] {
            let typed = ["pilot", "task", "send", "--data", value, "-v"].map(OsString::from);

            let matches = command().get_matches_from(normalize(&command(), typed));

            let (_, task) = matches.subcommand().unwrap();
            let (_, send) = task.subcommand().unwrap();
            assert_eq!(send.get_one::<String>("data").unwrap(), value);
            assert!(send.get_flag("verbose"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_value_need_not_be_utf_8() {
        use std::os::unix::ffi::OsStringExt as _;
        let raw = OsString::from_vec(vec![b'-', 0xff]);
        let typed = ["pilot".into(), "-home".into(), raw.clone(), raw.clone()];

        let words = normalize(&command(), typed);

        assert_eq!(words[1], OsString::from_vec(b"--home=-\xff".to_vec()));
        assert_eq!(words[2], raw);
    }

    #[test]
    fn a_missing_value_and_no_words_at_all_are_left_to_clap() {
        let typed = ["pilot", "-home"].map(OsString::from);

        assert_eq!(normalize(&command(), typed), ["pilot", "--home"].map(OsString::from));
        assert!(normalize(&command(), []).is_empty());
    }

    fn command() -> Command {
        let flag = |name: &'static str| Arg::new(name).long(name).action(ArgAction::SetTrue);
        let value = |name: &'static str| Arg::new(name).long(name).action(ArgAction::Set);
        let send = Command::new("send")
            .arg(value("data"))
            .arg(
                Arg::new("count")
                    .short('c')
                    .value_parser(value_parser!(i32))
                    .allow_hyphen_values(true),
            )
            .arg(Arg::new("verbose").short('v').action(ArgAction::SetTrue));
        let daemon = Command::new("daemon")
            .arg(value("registry-addr").alias("registry"))
            .arg(flag("public"))
            .arg(value("maybe").num_args(0..=1))
            .arg(Arg::new("rest").num_args(0..));
        Command::new("pilot")
            .subcommand(
                Command::new("say")
                    .arg(flag("loud"))
                    .arg(Arg::new("text").allow_hyphen_values(true)),
            )
            .arg(value("home").global(true))
            .subcommand(daemon)
            .subcommand(Command::new("task").subcommand(send))
    }
}
