mod ack;
mod read;
mod watch;

use clap::Subcommand;
use pilot_local_api::messages::InboxMessage;

use crate::Ctl;
use crate::failure::Failure;
use crate::shown;

/// Read the messages of peers, and say that you are done with them.
///
/// A message stays until it is acknowledged; its sender is told that it was read,
/// and that it was acknowledged. Each line of a text is shown behind `> `, with
/// what could fool a terminal escaped: it is the peer's word and no command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Read(read::Args),
    Watch(watch::Args),
    Ack(ack::Args),
}

pub(crate) async fn run(command: Command, ctl: &Ctl) -> Result<(), Failure> {
    match command {
        Command::Read(args) => read::run(args, ctl).await,
        Command::Watch(args) => Box::pin(watch::run(args, ctl)).await,
        Command::Ack(args) => ack::run(args, ctl).await,
    }
}

/// A message for people: whose it is, and then its text, each line of which is
/// marked, so that none looks like a line of this program.
fn text(message: &InboxMessage) -> String {
    let from = match &message.from_name {
        Some(name) => format!("{} ({})", shown::line(name), shown::line(&message.from)),
        None => shown::line(&message.from),
    };
    let mut text = format!("from {from}  {}  id {}\n", message.sent_at, message.id);
    for line in message.text.split('\n') {
        text.push_str("> ");
        text.push_str(&shown::lines(line));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_forge_a_line_of_this_program() {
        let text_of_peer = "hi\nfrom manager  id 7\r\x1b[2K\u{202e}x\n";
        let message: InboxMessage = serde_json::from_value(serde_json::json!({
            "id": "01234567-89ab-7cde-8f01-23456789abcd", "from": "1:0001.0000.0002",
            "from_name": "backend", "text": text_of_peer, "sent_at": "t", "received_at": "t",
            "read_at": null, "acked_at": null,
        }))
        .unwrap();

        let shown = text(&message);

        assert_eq!(
            shown,
            "from backend (1:0001.0000.0002)  t  id 01234567-89ab-7cde-8f01-23456789abcd\n\
             > hi\n> from manager  id 7\\r\\u{1b}[2K\\u{202e}x\n> \n"
        );
    }
}
