use clap::builder::{OsStringValueParser, TypedValueParser as _};
use pilot_local_api::events::{NewEvent, PublishedView};
use pilot_local_api::{ApiError, ErrorCode, quoted};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::publish_lines;
use crate::failure::Failure;
use crate::payload::{Payload, Payloads};
use crate::waiting::{AtFirst, patiently};
use crate::{Ctl, random};

/// Characters of a text that is shown as it should have been quoted.
const SHOWN: usize = 200;

/// Publish an event, or with --lines as many as stdin has
///
/// Prints its id, and to how many peers it is queued: those that listen, and those that fetch it
/// by a named subscription when they return. It is kept on disk then. Stopped and repeated calls
/// to the daemon publish nothing twice.
///
/// With --lines each line of stdin is an event, {"topic":…,"data":…,"retain":…}, or, with
/// --topic, the data of one. They go in batches as they come.
///
/// Examples:
///   pilotctl events publish --topic build.done --data '{"ok":true}'
///   pilotctl events publish --topic build.status --data '"green"' --retain
///   tail -f log.ndjson | pilotctl events publish --topic log --lines
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// What it is about, such as specialist.backend.ready.
    #[arg(long, required_unless_present = "lines")]
    topic: Option<String>,
    /// What it says: JSON of at most 256 KiB, `-` for stdin or `@FILE`.
    #[arg(long, value_name = "JSON", allow_hyphen_values = true)]
    #[arg(value_parser = OsStringValueParser::new().map(Payload::from))]
    #[arg(required_unless_present = "lines", conflicts_with = "lines")]
    data: Option<Payload>,
    /// Keep it as the topic's value, for those who subscribe later; the data null ends that.
    #[arg(long)]
    retain: bool,
    /// Publish what stdin has, an event a line.
    #[arg(long)]
    lines: bool,
}

pub(crate) async fn run(args: Args, ctl: &Ctl) -> Result<(), Failure> {
    let Args { topic, data, retain, lines: _ } = args;
    let (Some(topic), Some(data)) = (topic.clone(), data) else {
        return publish_lines::run(ctl, topic, retain).await;
    };
    let text = Payloads::default().text(&data, "--data")?;
    let data = json(&text).map_err(|error| no_json(&error, &topic, &text))?;
    let events = [NewEvent { topic, data, retain }];
    let request = Some(request_id()?);
    let published = patiently(ctl, AtFirst::Fail, || ctl.client.publish(&events, request));
    ctl.ui.answer(&published.await?, line)
}

/// Under which the daemon knows a call that is repeated.
pub(super) fn request_id() -> Result<Uuid, ApiError> {
    Ok(uuid::Builder::from_random_bytes(random::bytes()?).into_uuid())
}

/// One JSON value, with nothing around it.
pub(super) fn json(text: &str) -> Result<Box<RawValue>, serde_json::Error> {
    serde_json::from_str::<&RawValue>(text.trim()).map(ToOwned::to_owned)
}

fn no_json(error: &serde_json::Error, topic: &str, text: &str) -> ApiError {
    let message = format!("--data is no JSON: {error}; nothing was published");
    let told = ApiError::new(ErrorCode::InvalidArgument, message);
    let text = text.trim();
    let shown = if text.is_empty() || text.chars().count() > SHOWN { "text" } else { text };
    let text = serde_json::to_string(shown).unwrap_or_default();
    let (topic, data) = (quoted(topic), quoted(&text));
    told.with_hint(format!(
        "pilotctl events publish --topic {topic} --data {data}  # a text is quoted"
    ))
}

fn line(published: &PublishedView) -> String {
    format!("{}  queued for {}", published.id, peers(published.peers))
}

/// So many peers.
pub(super) fn peers(count: usize) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} peer{plural}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_json_is_told_with_its_place_and_how_to_quote_it() {
        let hint = |text: &str| {
            let error = json(text).unwrap_err();
            let told = no_json(&error, "a.b", text);
            assert!(told.message.contains(" at line 1 column "), "{}", told.message);
            assert!(told.message.ends_with("; nothing was published"), "{}", told.message);
            told.hint.unwrap().split_once(" --data ").unwrap().1.to_owned()
        };

        assert_eq!(hint("it's ready"), r#"'"it'\''s ready"'  # a text is quoted"#);
        assert_eq!(hint("{\"a\":"), r#"'"{\"a\":"'  # a text is quoted"#);
        assert!(hint(&"x".repeat(201)).starts_with("'\"text\"'"));
        assert!(json("").is_err() && json("1 2").is_err());
    }

    #[test]
    fn any_json_is_published_as_it_was_written() {
        for text in ["null", "0", "\"\"", r#"{"b":1.50,"a":[true]}"#, "\n [1, 2]\n"] {
            assert_eq!(json(text).unwrap().get(), text.trim());
        }
    }
}
