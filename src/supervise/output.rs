//! What a process writes to its standard output and error, passed on to dendron's log a line at a time.
//!
//! The lines have the log target `synapse`, so that a filter can set them apart, and the level `info`: they carry levels
//! of their own in a form that Synapse's administrator chooses.

use tokio::io::{AsyncRead, AsyncReadExt};

/// The log target of the lines.
pub const LOG_TARGET: &str = "synapse";

/// Longer lines are cut, and end in a mark that says so.
const LONGEST_LINE_BYTES: usize = 8192;

/// Passes lines on until the stream ends.
pub(super) async fn pass_on(mut stream: impl AsyncRead + Unpin, process: String) {
    let log = |line: &str| tracing::info!(target: LOG_TARGET, process, "{line}");
    let mut lines = Lines::default();
    let mut bytes = vec![0; 8192];
    loop {
        match stream.read(&mut bytes).await {
            Ok(0) => break,
            Ok(length) => lines.push(bytes.get(..length).unwrap_or_default(), log),
            Err(error) => {
                tracing::warn!(process, %error, "cannot read what a process writes");
                break;
            }
        }
    }
    lines.end(log);
}

/// Cuts a stream into lines of a bounded length.
#[derive(Debug, Default)]
struct Lines {
    line: Vec<u8>,
    dropped_bytes: usize,
}

impl Lines {
    fn push(&mut self, bytes: &[u8], mut log: impl FnMut(&str)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            let (kept, dropped) = text.split_at(text.len().min(LONGEST_LINE_BYTES - self.line.len()));
            self.line.extend_from_slice(kept);
            self.dropped_bytes = self.dropped_bytes.saturating_add(dropped.len());
            if ends {
                self.end(&mut log);
            }
        }
    }

    /// The line is complete. Empty ones are not worth a line in the log.
    fn end(&mut self, mut log: impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line);
        match (text.trim_end(), self.dropped_bytes) {
            ("", 0) => {}
            (line, 0) => log(line),
            (line, dropped) => log(&format!("{line} … ({dropped} bytes more)")),
        }
        self.line.clear();
        self.dropped_bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io;
    use std::sync::{Arc, Mutex};

    fn lines_of(pieces: &[&[u8]]) -> Vec<String> {
        let mut lines = Lines::default();
        let mut found = Vec::new();
        for piece in pieces {
            lines.push(piece, |line| found.push(line.to_owned()));
            assert!(lines.line.len() <= LONGEST_LINE_BYTES);
        }
        lines.end(|line| found.push(line.to_owned()));
        found
    }

    #[test]
    fn a_stream_is_cut_into_lines() {
        let table: [(&[&[u8]], &[&str]); 6] = [
            (&[b"one\ntwo\n"], &["one", "two"]),
            (&[b"o", b"ne\ntw", b"o"], &["one", "two"]),
            (&[b"\n\r\n  \n", b"", b"  indented\r\n"], &["  indented"]),
            (&[b"caf\xc3", b"\xa9\n"], &["café"]),
            (&[b"\xff\n"], &["\u{fffd}"]),
            (&[], &[]),
        ];
        for (pieces, expected) in table {
            assert_eq!(lines_of(pieces), expected);
        }
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_one_is_whole() {
        let long = vec![b'x'; LONGEST_LINE_BYTES];
        let kept = "x".repeat(LONGEST_LINE_BYTES);
        assert_eq!(lines_of(&[&long, b"\nnext\n"]), [kept.clone(), "next".to_owned()]);
        let cut = format!("{kept} … (12 bytes more)");
        assert_eq!(lines_of(&[&long, b"more", b"and more\nnext"]), [cut, "next".to_owned()]);
    }

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("is whole").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn lines_reach_the_log_with_the_processs_name() {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
        let guard = tracing::subscriber::set_default(subscriber);
        pass_on(&b"one\nhalf a \"line\""[..], "sync1".to_owned()).await;
        drop(guard);
        let log = String::from_utf8(log.0.lock().expect("is whole").clone()).expect("is text");
        let found: Vec<serde_json::Value> =
            log.lines().map(|line| serde_json::from_str(line).expect("is JSON")).collect();
        let messages: Vec<_> = found.iter().map(|line| line["fields"]["message"].as_str()).collect();
        assert_eq!(messages, [Some("one"), Some("half a \"line\"")]);
        for line in found {
            assert_eq!(line["target"], LOG_TARGET);
            assert_eq!(line["level"], "INFO");
            assert_eq!(line["fields"]["process"], "sync1");
        }
    }
}
