//! An event stream read as the HTML standard says (section 9.2.6 "Interpreting an event stream"), to the letter.

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) data: String,
    pub(crate) last_event_id: String,
}

/// Takes bytes in any pieces.
#[derive(Default)]
pub(crate) struct Parser {
    begun: bool,
    /// The line that is being read.
    line: Vec<u8>,
    after_cr: bool,
    data: String,
    event_type: String,
    id_buffer: String,
    /// What an `EventSource` would send on its next connection.
    pub(crate) last_event_id: String,
    /// Milliseconds.
    pub(crate) retry: Option<u64>,
    pub(crate) comments: usize,
    /// Names of fields that the standard does not know: a server that keeps to it writes none.
    pub(crate) unknown: Vec<String>,
}

impl Parser {
    /// One that comes back with a cursor.
    pub(crate) fn resuming(last_event_id: &str) -> Self {
        Self { id_buffer: last_event_id.into(), last_event_id: last_event_id.into(), ..Self::default() }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        for byte in bytes {
            let was_cr = std::mem::replace(&mut self.after_cr, *byte == b'\r');
            match byte {
                b'\n' if was_cr => {}
                b'\r' | b'\n' => {
                    let line =
                        String::from_utf8(std::mem::take(&mut self.line)).expect("the stream is UTF-8");
                    let line =
                        if self.begun { &line[..] } else { line.strip_prefix('\u{feff}').unwrap_or(&line) };
                    events.extend(self.line(line));
                    self.begun = true;
                }
                byte => self.line.push(*byte),
            }
        }
        events
    }

    fn line(&mut self, line: &str) -> Option<Event> {
        if line.is_empty() {
            return self.dispatch();
        }
        match line.split_once(':') {
            Some(("", _)) => self.comments += 1,
            Some((field, value)) => self.field(field, value.strip_prefix(' ').unwrap_or(value)),
            None => self.field(line, ""),
        }
        None
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "event" => self.event_type = value.into(),
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" if !value.contains('\0') => self.id_buffer = value.into(),
            "retry" if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) => {
                self.retry = value.parse().ok();
            }
            "id" | "retry" => {}
            unknown => self.unknown.push(unknown.into()),
        }
    }

    fn dispatch(&mut self) -> Option<Event> {
        self.last_event_id.clone_from(&self.id_buffer);
        if self.data.is_empty() {
            self.event_type.clear();
            return None;
        }
        let mut data = std::mem::take(&mut self.data);
        if data.ends_with('\n') {
            data.pop();
        }
        let name = std::mem::take(&mut self.event_type);
        let name = if name.is_empty() { "message".into() } else { name };
        Some(Event { name, data, last_event_id: self.last_event_id.clone() })
    }
}

/// The examples of the standard itself.
#[test]
fn the_standards_examples() {
    let read = |stream: &str| {
        // Whole, and byte by byte.
        let whole = Parser::default().push(stream.as_bytes());
        let mut parser = Parser::default();
        let bytes: Vec<_> = stream.bytes().flat_map(|byte| parser.push(&[byte])).collect();
        assert_eq!(whole, bytes);
        whole.into_iter().map(|event| (event.name, event.data, event.last_event_id)).collect::<Vec<_>>()
    };
    let event = |name: &str, data: &str, id: &str| (name.to_owned(), data.to_owned(), id.to_owned());
    assert_eq!(read("data: YHOO\ndata: +2\ndata: 10\n\n"), [event("message", "YHOO\n+2\n10", "")]);
    assert_eq!(
        read(": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n"),
        [event("message", "first event", "1"), event("message", "second event", "")]
    );
    assert_eq!(read("data\n\ndata\ndata\n\ndata:"), [event("message", "", ""), event("message", "\n", "")]);
    assert_eq!(
        read("data:test\r\n\r\ndata: test\r\r"),
        [event("message", "test", ""), event("message", "test", "")]
    );
    assert_eq!(read("\u{feff}event: a\ndata: 1\n\n"), [event("a", "1", "")]);
}
