//! The console blocks of a page.

/// A command, and what follows it.
#[derive(Debug, PartialEq)]
pub(super) struct Command {
    pub(super) text: String,
    pub(super) lines: Vec<Line>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Line {
    /// What is typed into the running command: `> TEXT`.
    Typed(String),
    /// What it says. `...` stands for anything, alone on its line for any lines.
    Says(String),
}

/// The commands of all blocks that are fenced as `console`, by block. Lines that begin with `$ ` are commands.
pub(super) fn blocks(page: &str) -> Vec<Vec<Command>> {
    fenced(page, "console").into_iter().map(|block| commands(&block)).collect()
}

/// The text of each block with exactly this word behind its fence.
pub(super) fn fenced(page: &str, word: &str) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if let Some(language) = line.strip_prefix("```") {
            let block: Vec<_> = lines.by_ref().take_while(|line| !line.starts_with("```")).collect();
            if language == word {
                blocks.push(block.join("\n") + "\n");
            }
        }
    }
    blocks
}

fn commands(block: &str) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for line in block.lines() {
        if let Some(text) = line.strip_prefix("$ ") {
            commands.push(Command { text: text.to_owned(), lines: Vec::new() });
        } else {
            let line = match line.strip_prefix("> ") {
                Some(typed) => Line::Typed(typed.to_owned()),
                None => Line::Says(line.to_owned()),
            };
            commands.last_mut().expect("a block begins with a command").lines.push(line);
        }
    }
    commands
}

/// Whether a line is what a page says, where `...` is anything.
pub(super) fn matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("...");
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let mut last = None;
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        last = Some(part);
        rest = &rest[at + part.len()..];
    }
    // What comes last has to be at the end, not only somewhere.
    last.map_or(rest.is_empty(), |last| line.ends_with(last))
}

#[test]
fn dots_stand_for_anything() {
    assert!(matches("{\"pos\":\"...\"}", "{\"pos\":\"k3f9:1\"}"));
    assert!(matches("retry: ...", "retry: 1941"));
    assert!(matches("a...b...", "axbx"));
    assert!(!matches("retry: ...", "data: 1941"));
    assert!(!matches("{...}", "{} and more"));
    assert!(!matches("a", "ab"));
}

#[test]
fn a_block_is_commands_and_what_they_say() {
    let page = "```sh\n$ no\n```\ntext\n```console\n$ one\n> in\nout\n$ two\n```\n";
    let line = |text: &str| text.to_owned();
    let one = Command { text: line("one"), lines: vec![Line::Typed(line("in")), Line::Says(line("out"))] };
    assert_eq!(blocks(page), [[one, Command { text: line("two"), lines: Vec::new() }]]);
}
