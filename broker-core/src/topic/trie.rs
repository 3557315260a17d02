//! Many patterns, matched at once.

use std::collections::HashMap;
use std::fmt;
use std::slice;

use slab::Slab;

use super::{TopicName, TopicPattern};

/// A map from patterns to values that finds all patterns that match a name, the most specific first.
///
/// A pattern can hold several values; they come in the order of their insertion. One trie serves configuration
/// (the best match wins), authorization (what covers a wildcard subscription) and wildcard subscriptions (all
/// matches).
///
/// Matching takes one hash lookup per segment and pattern prefix that still fits, and neither allocates nor
/// recurses, however deep the name is.
///
/// ```
/// use fanfare_core::topic::{PatternTrie, TopicName, TopicPattern};
///
/// let mut queue_limits = PatternTrie::new();
/// queue_limits.insert(TopicPattern::new(">")?, 256);
/// queue_limits.insert(TopicPattern::new("chat.*")?, 64);
///
/// assert_eq!(queue_limits.best(&TopicName::new("chat.lobby")?), Some(&64));
/// assert_eq!(queue_limits.best(&TopicName::new("cpu")?), Some(&256));
/// assert_eq!(queue_limits.best(&TopicName::new("$all")?), None);
/// # Ok::<(), fanfare_core::topic::InvalidTopic>(())
/// ```
#[derive(Clone)]
pub struct PatternTrie<T> {
    nodes: Slab<Node<T>>,
    /// Index of the node before the first segment; the only one that may be vacant.
    root: usize,
    len: usize,
}

impl<T> PatternTrie<T> {
    /// An empty trie.
    pub fn new() -> Self {
        let mut nodes = Slab::new();
        let root = nodes.insert(Node::new(0, false));
        Self { nodes, root, len: 0 }
    }

    /// The number of values.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no value.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds a value to those of `pattern`, as the last one.
    pub fn insert(&mut self, pattern: TopicPattern, value: T) {
        let mut node = self.root;
        let mut rest = false;
        for segment in pattern.segments() {
            match segment {
                ">" => rest = true,
                _ => node = self.child_or_insert(node, segment),
            }
        }
        let slot = self.nodes[node].slot_mut(rest);
        slot.get_or_insert_with(|| Entry { pattern, values: Vec::new() }).values.push(value);
        self.len += 1;
    }

    /// Takes out those values of exactly this `pattern` that `predicate` picks, in the order of their
    /// insertion. What is then empty is freed.
    pub fn remove(&mut self, pattern: &TopicPattern, predicate: impl FnMut(&mut T) -> bool) -> Vec<T> {
        let Some((node, rest)) = self.locate(pattern) else { return Vec::new() };
        let slot = self.nodes[node].slot_mut(rest);
        let Some(entry) = slot else { return Vec::new() };
        let removed: Vec<T> = entry.values.extract_if(.., predicate).collect();
        if entry.values.is_empty() {
            *slot = None;
            self.prune(node, pattern);
        }
        self.len -= removed.len();
        removed
    }

    /// The values of exactly this `pattern`, in the order of their insertion.
    pub fn get(&self, pattern: &TopicPattern) -> &[T] {
        let entry = self.locate(pattern).and_then(|(node, rest)| self.nodes[node].slot(rest));
        entry.map_or(&[], |entry| &entry.values)
    }

    /// As [`PatternTrie::get`], for changes in place.
    pub fn get_mut(&mut self, pattern: &TopicPattern) -> &mut [T] {
        match self.locate(pattern) {
            Some((node, rest)) => {
                self.nodes[node].slot_mut(rest).as_mut().map_or(&mut [], |entry| &mut entry.values)
            }
            None => &mut [],
        }
    }

    /// All values of all patterns that match `name`, the most specific pattern first
    /// ([`TopicPattern::cmp_specificity`]).
    pub fn matches<'t, 'q>(&'t self, name: &'q TopicName) -> Matches<'t, 'q, T> {
        Matches::new(self, name.as_str())
    }

    /// All values of all patterns that [cover](TopicPattern::covers) `pattern`, the most specific first. With
    /// an exact pattern this is [`PatternTrie::matches`].
    pub fn covering<'t, 'q>(&'t self, pattern: &'q TopicPattern) -> Matches<'t, 'q, T> {
        Matches::new(self, pattern.as_str())
    }

    /// Calls `visit` for what [`PatternTrie::matches`] yields, in the same order.
    pub fn for_each_match(&self, name: &TopicName, visit: &mut impl FnMut(&TopicPattern, &T)) {
        let mut walk = Walk::new(self, name.as_str());
        while let Some(entry) = walk.next() {
            for value in &entry.values {
                visit(&entry.pattern, value);
            }
        }
    }

    /// The first value of the most specific pattern that matches `name`.
    pub fn best(&self, name: &TopicName) -> Option<&T> {
        Walk::new(self, name.as_str()).next().and_then(|entry| entry.values.first())
    }

    /// All values with their patterns, those of one pattern together, else in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&TopicPattern, &T)> {
        let entries = self.nodes.iter().flat_map(|(_, node)| node.here.iter().chain(&node.rest));
        entries.flat_map(|entry| entry.values.iter().map(|value| (&entry.pattern, value)))
    }

    fn child_or_insert(&mut self, parent: usize, segment: &str) -> usize {
        if let Some(child) = self.nodes[parent].child(segment) {
            return child;
        }
        let one = segment == "*";
        let child = self.nodes.insert(Node::new(parent, one));
        let node = &mut self.nodes[parent];
        if one {
            node.one = Some(child);
        } else {
            node.literals.insert(segment.into(), child);
        }
        child
    }

    /// The node at which `pattern` ends, and whether its values are in the node's `rest`.
    fn locate(&self, pattern: &TopicPattern) -> Option<(usize, bool)> {
        let mut node = self.root;
        for segment in pattern.segments() {
            match segment {
                ">" => return Some((node, true)),
                _ => node = self.nodes[node].child(segment)?,
            }
        }
        Some((node, false))
    }

    /// Frees `node`, at which `pattern` ends, and its ancestors as far as they are vacant.
    fn prune(&mut self, mut node: usize, pattern: &TopicPattern) {
        for segment in pattern.segments().rev().filter(|segment| *segment != ">") {
            if !self.nodes[node].is_vacant() {
                return;
            }
            let parent = self.nodes.remove(node).parent;
            if segment == "*" {
                self.nodes[parent].one = None;
            } else {
                self.nodes[parent].literals.remove(segment);
            }
            node = parent;
        }
    }
}

impl<T> Default for PatternTrie<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: fmt::Debug> fmt::Debug for PatternTrie<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

/// The patterns that fit a name, with their values: the iterator of [`PatternTrie::matches`] and
/// [`PatternTrie::covering`].
pub struct Matches<'t, 'q, T> {
    walk: Walk<'t, 'q, T>,
    current: Option<(&'t TopicPattern, slice::Iter<'t, T>)>,
}

impl<'t, 'q, T> Matches<'t, 'q, T> {
    fn new(trie: &'t PatternTrie<T>, query: &'q str) -> Self {
        Self { walk: Walk::new(trie, query), current: None }
    }
}

impl<'t, T> Iterator for Matches<'t, '_, T> {
    type Item = (&'t TopicPattern, &'t T);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((pattern, values)) = &mut self.current
                && let Some(value) = values.next()
            {
                return Some((pattern, value));
            }
            let entry = self.walk.next()?;
            self.current = Some((&entry.pattern, entry.values.iter()));
        }
    }
}

impl<T> fmt::Debug for Matches<'_, '_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matches").field("query", &self.walk.query).finish_non_exhaustive()
    }
}

#[derive(Clone)]
struct Node<T> {
    parent: usize,
    /// Whether the parent reaches this node by `*`.
    by_one: bool,
    /// Patterns come from clients, too, so the hasher is a keyed one.
    literals: HashMap<Box<str>, usize>,
    one: Option<usize>,
    /// The pattern that ends at this node.
    here: Option<Entry<T>>,
    /// The pattern that goes on with `>`.
    rest: Option<Entry<T>>,
}

/// A pattern and its values, at least one.
#[derive(Clone)]
struct Entry<T> {
    pattern: TopicPattern,
    values: Vec<T>,
}

impl<T> Node<T> {
    fn new(parent: usize, by_one: bool) -> Self {
        Self { parent, by_one, literals: HashMap::new(), one: None, here: None, rest: None }
    }

    fn child(&self, segment: &str) -> Option<usize> {
        if segment == "*" { self.one } else { self.literals.get(segment).copied() }
    }

    fn slot(&self, rest: bool) -> Option<&Entry<T>> {
        if rest { self.rest.as_ref() } else { self.here.as_ref() }
    }

    fn slot_mut(&mut self, rest: bool) -> &mut Option<Entry<T>> {
        if rest { &mut self.rest } else { &mut self.here }
    }

    fn is_vacant(&self) -> bool {
        self.literals.is_empty() && self.one.is_none() && self.here.is_none() && self.rest.is_none()
    }
}

/// A walk over the patterns that cover `query`: depth first, at each node the literal, then `*`, then `>`,
/// which is the order of specificity. The way back up is found by the nodes' parents and by the separators in
/// the query, so there is no stack to keep.
struct Walk<'t, 'q, T> {
    trie: &'t PatternTrie<T>,
    query: &'q str,
    node: usize,
    /// Where the segment after `node` starts in `query`; beyond its end when there is none.
    at: usize,
    step: Step,
}

/// What is tried next at a node.
#[derive(Clone, Copy)]
enum Step {
    Enter,
    One,
    Rest,
    Up,
}

impl<'t, 'q, T> Walk<'t, 'q, T> {
    fn new(trie: &'t PatternTrie<T>, query: &'q str) -> Self {
        Self { trie, query, node: trie.root, at: 0, step: Step::Enter }
    }

    fn next(&mut self) -> Option<&'t Entry<T>> {
        loop {
            let node = &self.trie.nodes[self.node];
            match self.step {
                Step::Enter if self.at > self.query.len() => {
                    self.step = Step::Up;
                    if let Some(entry) = &node.here {
                        return Some(entry);
                    }
                }
                Step::Enter => {
                    let segment = self.segment();
                    // Only a literal can be below a literal; wildcards never are a key of `literals`.
                    match node.literals.get(segment) {
                        Some(child) => self.descend(*child, segment),
                        None => self.step = if self.wildcards_fit() { Step::One } else { Step::Up },
                    }
                }
                Step::One => match (node.one, self.segment()) {
                    (Some(child), segment) if segment != ">" => self.descend(child, segment),
                    _ => self.step = Step::Rest,
                },
                Step::Rest => {
                    self.step = Step::Up;
                    if let Some(entry) = &node.rest {
                        return Some(entry);
                    }
                }
                Step::Up => {
                    if self.node == self.trie.root {
                        return None;
                    }
                    self.ascend(node);
                }
            }
        }
    }

    fn descend(&mut self, child: usize, segment: &str) {
        self.node = child;
        self.at += segment.len() + 1;
        self.step = Step::Enter;
    }

    fn ascend(&mut self, from: &Node<T>) {
        // `at - 1` is the separator (or the end) after the segment that led to `from`.
        self.at = self.query[..self.at - 1].rfind('.').map_or(0, |separator| separator + 1);
        self.node = from.parent;
        self.step = match (from.by_one, self.wildcards_fit()) {
            (_, false) => Step::Up,
            (true, true) => Step::Rest,
            (false, true) => Step::One,
        };
    }

    fn segment(&self) -> &'q str {
        let rest = &self.query[self.at..];
        rest.find('.').map_or(rest, |end| &rest[..end])
    }

    /// A first segment that is a wildcard never matches a system topic.
    fn wildcards_fit(&self) -> bool {
        self.at > 0 || !self.query.starts_with('$')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> TopicPattern {
        TopicPattern::new(text).unwrap()
    }

    #[test]
    fn removing_frees_the_nodes_that_nothing_else_needs() {
        let mut trie = PatternTrie::new();
        trie.insert(pattern("a.b"), 1);
        let nodes = trie.nodes.len();
        for other in ["a.b.c.d", "a.*.c.>", "a.b.>", "*.*.*", ">"] {
            trie.insert(pattern(other), 2);
            trie.insert(pattern(other), 3);
            assert_eq!(trie.remove(&pattern(other), |value| *value == 2), [2]);
            assert_eq!(trie.get(&pattern(other)), [3]);
            assert_eq!(trie.remove(&pattern(other), |_| true), [3]);
            assert_eq!(trie.nodes.len(), nodes, "after {other}");
        }
        assert_eq!(trie.get(&pattern("a.b")), [1]);
        assert_eq!(trie.remove(&pattern("a.b"), |_| true), [1]);
        assert_eq!((trie.nodes.len(), trie.len()), (1, 0));
    }
}
