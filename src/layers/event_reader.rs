//! Reading server-sent events piece by piece (HTML standard, section 9.2.6, "Interpreting an event stream").

use std::mem;

/// Reads the events of a stream, however it is cut into pieces. It keeps what has come of the present event, so its owner
/// must bound what it is given.
#[derive(Default)]
pub(super) struct EventReader {
    /// The present line, as far as it has come.
    line: Vec<u8>,
    /// What the lines of the present event have said so far.
    name: Vec<u8>,
    data: Vec<u8>,
    /// Whether the first line has ended, in front of which there may be a byte order mark.
    has_begun: bool,
    /// Whether the last byte was a carriage return. A line feed after it belongs to the same end of a line.
    is_after_return: bool,
}

/// An event. Its text is decoded as the standard asks: what is no UTF-8 is replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReadEvent {
    pub(super) name: String,
    pub(super) data: String,
}

impl EventReader {
    /// Reads up to the end of the next event, and takes what it reads from these bytes. `None` means that it needs more.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Option<ReadEvent> {
        loop {
            if self.is_after_return {
                self.is_after_return = false;
                *bytes = match bytes {
                    [b'\n', rest @ ..] => rest,
                    [] => {
                        self.is_after_return = true;
                        return None;
                    }
                    _ => bytes,
                };
            }
            let Some(end) = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n')) else {
                self.line.extend_from_slice(bytes);
                *bytes = &[];
                return None;
            };
            self.line.extend_from_slice(&bytes[..end]);
            self.is_after_return = bytes[end] == b'\r';
            *bytes = &bytes[end + 1..];
            let mut line = mem::take(&mut self.line);
            let event = self.end_line(&line);
            line.clear();
            self.line = line;
            if event.is_some() {
                return event;
            }
        }
    }

    fn end_line(&mut self, line: &[u8]) -> Option<ReadEvent> {
        let is_first = !mem::replace(&mut self.has_begun, true);
        let mark = if is_first { line.strip_prefix(b"\xef\xbb\xbf") } else { None };
        let line = mark.unwrap_or(line);
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"event" => {
                self.name.clear();
                self.name.extend_from_slice(value);
            }
            b"data" => {
                self.data.extend_from_slice(value);
                self.data.push(b'\n');
            }
            // A comment has no name. `id` and `retry` are for the client that connects again.
            _ => {}
        }
        None
    }

    /// The standard discards an event without data.
    fn end_event(&mut self) -> Option<ReadEvent> {
        let (name, mut data) = (mem::take(&mut self.name), mem::take(&mut self.data));
        data.pop()?;
        let name = if name.is_empty() { "message".into() } else { String::from_utf8_lossy(&name) };
        Some(ReadEvent { name: name.into_owned(), data: String::from_utf8_lossy(&data).into_owned() })
    }
}
