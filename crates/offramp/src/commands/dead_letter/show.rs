//! `offramp dead-letter show`.

use std::io::Write as _;

use anyhow::Context as _;
use kafka::record_at;
use serde_json::json;
use wire::time::date_time;
use wire::{Record, Source};

use super::letter::Letter;
use super::marks::Marks;
use super::{Position, position};
use crate::commands::demo::OutputFormat;
use crate::commands::topic::BrokerArgs;
use crate::record_text::{self, one_line};

/// Show everything of one dead letter: why it is there, its key, headers and value.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The dead-letter topic.
    topic: String,
    /// Where the letter stands, as `list` shows it.
    #[arg(value_name = "PARTITION/OFFSET", value_parser = position)]
    position: Position,
    /// How to print the result.
    #[arg(short, long, value_enum, default_value_t)]
    output: OutputFormat,
    #[command(flatten)]
    broker: BrokerArgs,
}

/// Bytes on a line of hexadecimal.
const HEX_COLUMNS: usize = 16;

pub(super) async fn run(args: Args) -> anyhow::Result<()> {
    let Args { topic, position, output, broker } = args;
    let servers = &broker.bootstrap_servers;
    let Position { partition, offset } = position;
    let place = Source { topic, partition, offset };
    let record = record_at(servers, &place).await?;
    let record = record.with_context(|| {
        format!(
            "there is no letter {position} in topic `{}`; `offramp dead-letter list` shows those there are",
            place.topic
        )
    })?;
    let letter = Letter::new(record.clone());
    let redriven = Marks::open(servers, &place.topic).await?.is_marked(position, &letter).await?;
    let mut out = std::io::stdout();
    if output == OutputFormat::Json {
        let mut object = record_text::json(&place, &record);
        object["redriven"] = json!(redriven);
        writeln!(out, "{}", serde_json::to_string_pretty(&object)?)?;
        return Ok(());
    }
    print(&mut out, position, &letter, redriven)?;
    Ok(())
}

fn print(
    out: &mut impl std::io::Write,
    position: Position,
    letter: &Letter,
    redriven: bool,
) -> std::io::Result<()> {
    let Letter { original: Record { key, headers, timestamp_ms, value }, cause } = letter;
    let none = || "-".to_owned();
    writeln!(out, "position   {position}")?;
    writeln!(out, "time       {}", timestamp_ms.map_or_else(none, date_time))?;
    if let Some(cause) = cause {
        writeln!(out, "code       {}", one_line(&cause.code))?;
        writeln!(out, "reason     {}", one_line(&cause.reason))?;
        writeln!(out, "attempts   {}", cause.attempts.map_or_else(none, |n| n.to_string()))?;
        let source = cause.source.as_ref().map_or_else(none, ToString::to_string);
        writeln!(out, "source     {}", one_line(&source))?;
    } else {
        writeln!(out, "code       - (not put here as a dead letter)")?;
    }
    writeln!(out, "sent back  {}", if redriven { "yes" } else { "no" })?;
    writeln!(out, "key        {}", key.as_deref().map_or_else(none, record_text::shown))?;
    for header in headers {
        let value = header.value.as_deref().map_or_else(|| "null".to_owned(), record_text::shown);
        writeln!(out, "header     {}={value}", one_line(&header.name))?;
    }
    let Some(value) = value else {
        return writeln!(out, "value      none");
    };
    writeln!(out, "value      {} bytes\n", value.len())?;
    let is_plain = |c: char| !c.is_control() || c == '\n' || c == '\t';
    match std::str::from_utf8(value) {
        Ok(text) if text.chars().all(is_plain) => writeln!(out, "{text}"),
        _ => hexadecimal(out, value),
    }
}

/// As `hexdump -C` prints it.
fn hexadecimal(out: &mut impl std::io::Write, bytes: &[u8]) -> std::io::Result<()> {
    for (at, line) in bytes.chunks(HEX_COLUMNS).enumerate() {
        let hex: Vec<_> = line.iter().map(|byte| format!("{byte:02x}")).collect();
        let shown = |&byte: &u8| if (b' '..=b'~').contains(&byte) { char::from(byte) } else { '.' };
        let text: String = line.iter().map(shown).collect();
        writeln!(out, "{:08x}  {:<47}  |{text}|", at * HEX_COLUMNS, hex.join(" "))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_shown_in_hexadecimal() {
        let value = Some(Bytes::from_static(b"\x1b[31m\xff 0123456789ab"));
        let letter = Letter { original: Record { value, ..Record::default() }, cause: None };
        let mut out = Vec::new();
        print(&mut out, Position { partition: 1, offset: 2 }, &letter, false).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert!(
            text.ends_with(
                "value      19 bytes\n\n\
                 00000000  1b 5b 33 31 6d ff 20 30 31 32 33 34 35 36 37 38  |.[31m. 012345678|\n\
                 00000010  39 61 62                                         |9ab|\n"
            ),
            "{text}"
        );
    }
}
