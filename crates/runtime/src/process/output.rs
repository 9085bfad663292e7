//! What a child writes, line by line into its function's logs.

use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};

use crate::logs::{Logs, MAX_LINE_BYTES};

/// Reads to the end. A longer line than the logs keep becomes several.
pub(super) async fn copy(from: impl AsyncRead + Unpin, instance: Arc<str>, logs: Logs) {
    let mut from = BufReader::with_capacity(4 << 10, from);
    let mut line = Vec::new();
    while let Ok(arrived) = from.fill_buf().await
        && !arrived.is_empty()
    {
        let room = MAX_LINE_BYTES - line.len();
        let end = arrived.iter().position(|&byte| byte == b'\n');
        let take = end.unwrap_or(arrived.len()).min(room);
        line.extend_from_slice(&arrived[..take]);
        let is_whole = end == Some(take);
        from.consume(take + usize::from(is_whole));
        if is_whole || line.len() == MAX_LINE_BYTES {
            write(&logs, &instance, &mut line);
        }
    }
    if !line.is_empty() {
        write(&logs, &instance, &mut line);
    }
}

fn write(logs: &Logs, instance: &Arc<str>, line: &mut Vec<u8>) {
    logs.write(instance, String::from_utf8_lossy(line).trim_end_matches('\r'));
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_told_apart_and_long_ones_cut() {
        let long = "x".repeat(MAX_LINE_BYTES + 3);
        let text = format!("one\r\n\ntwo\n{long}\nlast");
        let logs = Logs::default();
        copy(text.as_bytes(), "echo-1".into(), logs.clone()).await;
        let lines: Vec<String> = logs.after(0).into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["one", "", "two", &long[..MAX_LINE_BYTES], "xxx", "last"]);
    }
}
