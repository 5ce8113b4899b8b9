//! What a peer writes, on the terminal of who hears it.

use serde_json::Value;

use crate::{PATIENCE, start, team, until_heard};

#[test]
fn what_a_peer_writes_commands_no_terminal_and_means_the_same() {
    let team = team(&["manager", "backend"]);
    let evil = "\u{9b}2J \u{202e}exe.txt \u{200b}\u{feff}\u{2028}\u{e0001} é 漢";
    let data = format!("{{\"{evil}\": \"{evil} \\u001b[31m\"}}");
    let mut plain = start(team.node("manager"), &["subscribe", "--topic", "a.>"]);
    until_heard(&team, "backend", "manager", "a.>");

    let topic = "a.\u{202e}b";
    team.api("backend").unwrap().publish(&[(topic, data.clone())]).unwrap();

    let plain = plain.line("", PATIENCE).unwrap();
    let json = ["events", "subscribe", "--topic", "a.>", "--last", "1", "--count", "1", "--json"];
    for line in [plain, team.node("manager").ok(&json).unwrap()] {
        let bad = |letter: char| {
            letter.is_control() || "\u{202e}\u{200b}\u{feff}\u{2028}\u{e0001}".contains(letter)
        };
        assert!(!line.contains(bad), "{line:?}");
        assert!(line.contains("é 漢"), "{line:?}");
        let event: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["data"], serde_json::from_str::<Value>(&data).unwrap());
        assert_eq!(event["topic"], topic);
    }
    let topics = team.node("backend").ok(&["events", "topics"]).unwrap();
    assert!(topics.contains("a.\\u{202e}b"), "{topics:?}");
}
