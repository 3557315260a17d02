//! Names, patterns and the trie against models that are too simple to be wrong.

// `allow-unwrap-in-tests` does not reach the helpers of an integration test.
#![allow(clippy::unwrap_used)]

use std::cmp::Ordering;
use std::collections::BTreeMap;

use fanfare_core::topic::{InvalidTopic, PatternTrie, TopicName, TopicPattern};
use proptest::prelude::*;
use proptest::sample::select;

/// Few different segments, so that names and patterns meet often.
fn literal() -> impl Strategy<Value = &'static str> {
    select(vec!["a", "b", "ab", "$", "$a"])
}

fn name() -> impl Strategy<Value = TopicName> {
    prop::collection::vec(literal(), 1..6).prop_map(|segments| TopicName::new(segments.join(".")).unwrap())
}

fn pattern() -> impl Strategy<Value = TopicPattern> {
    let segment = prop_oneof![3 => literal(), 2 => Just("*")];
    (prop::collection::vec(segment, 0..5), any::<bool>()).prop_map(|(mut segments, rest)| {
        if rest || segments.is_empty() {
            segments.push(">");
        }
        TopicPattern::new(segments.join(".")).unwrap()
    })
}

/// Text that is eager to break out of its segment.
fn user_input() -> impl Strategy<Value = String> {
    let nasty =
        select(vec!['.', '*', '>', '%', '$', ' ', '\0', '\n', '\u{85}', '\u{3000}', '\u{2028}', '2', 'E']);
    prop_oneof![
        prop::collection::vec(prop_oneof![nasty, any::<char>()], 0..12).prop_map(String::from_iter),
        select(vec!["", "%", "%%", "%2E", "%2e", "%24", "$all", "..", ">", "*"]).prop_map(str::to_owned),
    ]
}

/// Every name of up to five segments over a small alphabet.
fn all_names() -> Vec<TopicName> {
    let alphabet = ["a", "b", "ab", "$", "$a", "other"];
    let mut names: Vec<String> = Vec::new();
    let mut last = vec![String::new()];
    for _ in 0..5 {
        last = last.iter().flat_map(|start| alphabet.map(|segment| format!("{start}.{segment}"))).collect();
        names.extend(last.iter().map(|name| name[1..].to_owned()));
    }
    names.into_iter().map(|name| TopicName::new(name).unwrap()).collect()
}

fn model_matches(pattern: &str, name: &str) -> bool {
    fn go(pattern: &[&str], name: &[&str]) -> bool {
        match (pattern, name) {
            ([], []) => true,
            ([">"], [_, ..]) => true,
            (["*", pattern @ ..], [_, name @ ..]) => go(pattern, name),
            ([p, pattern @ ..], [n, name @ ..]) => p == n && go(pattern, name),
            _ => false,
        }
    }
    let (pattern, segments) = (pattern.split('.').collect::<Vec<_>>(), name.split('.').collect::<Vec<_>>());
    let wildcard_first = pattern[0] == "*" || pattern[0] == ">";
    !(wildcard_first && name.starts_with('$')) && go(&pattern, &segments)
}

/// The bigger, the more specific.
fn model_specificity(pattern: &TopicPattern) -> (bool, Vec<u8>, std::cmp::Reverse<String>) {
    let rank = |segment: &str| match segment {
        ">" => 0,
        "*" => 1,
        _ => 2,
    };
    let ranks: Vec<u8> = pattern.as_str().split('.').map(rank).collect();
    (ranks.iter().all(|rank| *rank == 2), ranks, std::cmp::Reverse(pattern.to_string()))
}

proptest! {
    #[test]
    fn a_pattern_matches_as_the_model_says(pattern in pattern(), name in name()) {
        prop_assert_eq!(pattern.matches(&name), model_matches(pattern.as_str(), name.as_str()));
    }

    #[test]
    fn the_trie_finds_what_the_patterns_match_and_in_their_order(
        patterns in prop::collection::vec(pattern(), 0..24),
        removed in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        names in prop::collection::vec(name(), 1..12),
    ) {
        let mut trie = PatternTrie::new();
        let mut model: BTreeMap<TopicPattern, Vec<usize>> = BTreeMap::new();
        for (value, pattern) in patterns.iter().enumerate() {
            trie.insert(pattern.clone(), value);
            model.entry(pattern.clone()).or_default().push(value);
        }
        for index in removed.iter().filter(|_| !patterns.is_empty()) {
            let value = index.index(patterns.len());
            let pattern = &patterns[value];
            let had = model.get_mut(pattern).is_some_and(|values| {
                let had = values.contains(&value);
                values.retain(|other| *other != value);
                had
            });
            prop_assert_eq!(trie.remove(pattern, |other| *other == value), Vec::from_iter(had.then_some(value)));
        }
        model.retain(|_, values| !values.is_empty());

        prop_assert_eq!(trie.len(), model.values().map(Vec::len).sum::<usize>());
        prop_assert_eq!(trie.is_empty(), model.is_empty());
        for pattern in &patterns {
            let expected = model.get(pattern).map_or(&[][..], Vec::as_slice);
            prop_assert_eq!(trie.get(pattern), expected);
        }
        let mut all: Vec<_> = trie.iter().map(|(pattern, value)| (pattern.clone(), *value)).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        let flat = |(pattern, values): (&TopicPattern, &Vec<usize>)| -> Vec<(TopicPattern, usize)> {
            values.iter().map(|value| (pattern.clone(), *value)).collect()
        };
        prop_assert_eq!(all, model.iter().flat_map(flat).collect::<Vec<_>>());

        for name in &names {
            let mut fitting: Vec<_> =
                model.iter().filter(|(pattern, _)| model_matches(pattern.as_str(), name.as_str())).collect();
            fitting.sort_by_key(|(pattern, _)| std::cmp::Reverse(model_specificity(pattern)));
            let expected: Vec<_> = fitting.into_iter().flat_map(flat).collect();

            let found: Vec<_> = trie.matches(name).map(|(pattern, value)| (pattern.clone(), *value)).collect();
            prop_assert_eq!(&found, &expected, "{}", name);
            let mut visited = Vec::new();
            trie.for_each_match(name, &mut |pattern, value| visited.push((pattern.clone(), *value)));
            prop_assert_eq!(&visited, &expected);
            prop_assert_eq!(trie.best(name), expected.first().map(|(_, value)| value));
        }
    }

    #[test]
    fn the_trie_finds_what_covers_a_pattern(patterns in prop::collection::btree_set(pattern(), 0..24), query in pattern()) {
        let mut trie = PatternTrie::new();
        patterns.iter().for_each(|pattern| trie.insert(pattern.clone(), ()));
        let found: Vec<_> = trie.covering(&query).map(|(pattern, ())| pattern.clone()).collect();
        let mut expected: Vec<_> = patterns.into_iter().filter(|pattern| pattern.covers(&query)).collect();
        expected.sort_by_key(|pattern| std::cmp::Reverse(model_specificity(pattern)));
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn specificity_is_the_model_s_total_order(a in pattern(), b in pattern()) {
        prop_assert_eq!(a.cmp_specificity(&b), model_specificity(&a).cmp(&model_specificity(&b)));
        prop_assert_eq!(a.cmp_specificity(&b) == Ordering::Equal, a == b);
        if a != b && a.covers(&b) {
            prop_assert_eq!(a.cmp_specificity(&b), Ordering::Less, "{} covers {}", a, b);
        }
    }

    #[test]
    fn a_joined_name_has_the_segments_that_were_given(segments in prop::collection::vec(user_input(), 1..4)) {
        match TopicName::join(&segments) {
            Ok(name) => {
                prop_assert_eq!(&TopicName::new(name.as_str()), &Ok(name.clone()));
                prop_assert!(!name.is_system());
                let back: Result<Vec<_>, _> = name.segments().map(TopicName::unescape_segment).collect();
                prop_assert_eq!(back, Ok(segments.iter().map(|segment| segment.as_str().into()).collect()));
                // No input reads as a wildcard where the name is put into a pattern.
                prop_assert!(TopicPattern::from(&name).is_exact());
            }
            Err(error) => {
                prop_assert_eq!(error.limit(), Some(255));
                prop_assert!(error.value() > error.limit());
            }
        }
    }

    #[test]
    fn unescaping_takes_only_what_join_writes(segment in user_input()) {
        if let Ok(text) = TopicName::unescape_segment(&segment) {
            let first = TopicName::join([&text]).unwrap();
            let second = TopicName::join(["x", &text]).unwrap();
            let in_second = format!("x.{segment}");
            prop_assert!(first == segment.as_str() || second == in_second.as_str());
        }
    }

    #[test]
    fn no_text_passes_that_breaks_a_rule(text in prop_oneof![user_input(), "[a-z.*>$ ]{0,12}"]) {
        let bad = |ch: char| ch.is_control() || ch.is_whitespace();
        let sound = text.len() <= 255 && text.split('.').all(|segment| !segment.is_empty()) && !text.contains(bad);
        let name = sound && !text.contains(['*', '>']);
        prop_assert_eq!(TopicName::new(&text).is_ok(), name);
        let segments: Vec<_> = text.split('.').collect();
        let pattern = sound
            && segments.iter().all(|segment| matches!(*segment, "*" | ">") || !segment.contains(['*', '>']))
            && !segments[..segments.len() - 1].contains(&">");
        prop_assert_eq!(TopicPattern::new(&text).is_ok(), pattern);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Both ways: what covers matches everything, and what does not cover misses some name.
    #[test]
    fn covering_is_matching_every_name(pairs in prop::collection::vec((pattern(), pattern()), 8)) {
        let names = all_names();
        for (outer, inner) in &pairs {
            let model = names
                .iter()
                .filter(|name| model_matches(inner.as_str(), name.as_str()))
                .all(|name| model_matches(outer.as_str(), name.as_str()));
            prop_assert_eq!(outer.covers(inner), model, "{} covers {}", outer, inner);
        }
    }
}

#[test]
fn a_fault_is_named_and_placed() {
    let long = "x".repeat(256);
    let cases = [
        ("", InvalidTopic::Empty),
        (long.as_str(), InvalidTopic::TooLong { limit: 255, len: 256 }),
        (".", InvalidTopic::EmptySegment { at: 0 }),
        ("a.", InvalidTopic::EmptySegment { at: 2 }),
        ("a..b", InvalidTopic::EmptySegment { at: 2 }),
        ("a.ü\u{a0}", InvalidTopic::Forbidden { ch: '\u{a0}', at: 4 }),
        ("a\u{7f}", InvalidTopic::Forbidden { ch: '\u{7f}', at: 1 }),
    ];
    for (text, error) in cases {
        assert_eq!(TopicName::new(text), Err(error.clone()), "{text:?}");
        assert_eq!(TopicPattern::new(text), Err(error), "{text:?}");
    }
    assert_eq!(TopicName::new("a.>"), Err(InvalidTopic::Forbidden { ch: '>', at: 2 }));
    assert_eq!(TopicPattern::new("a.b*"), Err(InvalidTopic::WildcardInSegment { ch: '*', at: 3 }));
    assert_eq!(TopicPattern::new("a.>>"), Err(InvalidTopic::WildcardInSegment { ch: '>', at: 2 }));
    assert_eq!(TopicPattern::new("a.>.b"), Err(InvalidTopic::RestNotLast { at: 2 }));
    assert_eq!(TopicPattern::new("a.>."), Err(InvalidTopic::RestNotLast { at: 2 }));
    let none: [&str; 0] = [];
    assert_eq!(TopicName::join(none), Err(InvalidTopic::Empty));
}

#[test]
fn the_longest_name_fits_and_one_byte_more_does_not() {
    assert!(TopicName::new("ü".repeat(127) + "x").is_ok());
    let error = TopicName::new("ü".repeat(128)).unwrap_err();
    assert_eq!((error.limit(), error.value()), (Some(255), Some(256)));
    // The escaped length counts: 2 + 3 * 85 = 257.
    let error = TopicName::join(["c", &".".repeat(85)]).unwrap_err();
    assert_eq!((error.limit(), error.value()), (Some(255), Some(257)));
    assert_eq!(TopicName::join(["cc", &"ü".repeat(126)]).unwrap().as_str().len(), 255);
}

#[test]
fn forged_escapes_are_refused() {
    let cases = [
        ("%41", 0),
        ("a%2e", 1),
        ("a%", 1),
        ("a%2", 1),
        ("%%", 0),
        ("a%24", 1),
        ("a b", 1),
        ("x%FF", 1),
        ("a.b", 1),
    ];
    for (segment, at) in cases {
        assert_eq!(TopicName::unescape_segment(segment), Err(InvalidTopic::Escape { at }), "{segment:?}");
    }
    assert_eq!(TopicName::unescape_segment("%").unwrap(), "");
    assert_eq!(TopicName::unescape_segment("%24x").unwrap(), "$x");
    assert_eq!(TopicName::unescape_segment("$x").unwrap(), "$x");
}

#[test]
fn the_deepest_name_is_walked_on_a_small_stack() {
    let deep = |segment: &str| vec![segment; 128].join(".");
    let walk = move || {
        let name = TopicName::new(deep("a")).unwrap();
        let mut trie = PatternTrie::new();
        trie.insert(TopicPattern::from(&name), 0);
        trie.insert(TopicPattern::new(deep("*")).unwrap(), 1);
        trie.insert(TopicPattern::new(">").unwrap(), 2);
        let found: Vec<_> = trie.matches(&name).map(|(_, value)| *value).collect();
        assert_eq!(found, [0, 1, 2]);
    };
    std::thread::Builder::new().stack_size(64 * 1024).spawn(walk).unwrap().join().unwrap();
}

#[test]
fn a_name_is_found_by_its_text() {
    let map = std::collections::HashMap::from([(TopicName::new("a.b").unwrap(), 1)]);
    assert_eq!(map.get("a.b"), Some(&1));
    assert_eq!(format!("{:?} {0}", TopicName::new("a.b").unwrap()), r#""a.b" a.b"#);
}

#[test]
fn an_exact_pattern_gives_its_name_back() {
    let name = TopicName::new("a.b").unwrap();
    assert_eq!(TopicPattern::from(name.clone()).to_exact(), Some(name));
    assert_eq!(TopicPattern::new("a.*").unwrap().to_exact(), None);
}

fn shared<T: Send + Sync + Clone + 'static>() {}

#[test]
fn all_is_send_sync_and_clone() {
    shared::<TopicName>();
    shared::<TopicPattern>();
    shared::<InvalidTopic>();
    shared::<PatternTrie<u8>>();
}
