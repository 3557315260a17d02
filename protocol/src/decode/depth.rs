//! How deep a JSON value nests.

/// The deepest nesting of arrays and objects in a JSON value whose syntax is known to be right; 0 for a scalar.
/// Exact only above `limit`: at most `limit` opening brackets cannot nest deeper, and are not looked at closely.
pub(super) fn depth_over(json: &str, limit: usize) -> Option<usize> {
    let opening = json.bytes().filter(|b| matches!(b, b'[' | b'{')).count();
    if opening <= limit {
        return None;
    }
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    (deepest > limit).then_some(deepest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_count_only_outside_of_strings() {
        assert_eq!(depth_over("[[[1]]]", 3), None);
        assert_eq!(depth_over("[[[1]]]", 2), Some(3));
        assert_eq!(depth_over(r#"[{"a":[]},[],[[]]]"#, 2), Some(3));
        assert_eq!(depth_over(r#"["[[[[","\"[[[\\",{"]]":"\\\"{{{"}]"#, 2), None);
        assert_eq!(depth_over("[],[],[],[]", 1), None);
        assert_eq!(depth_over("7", 0), None);
    }
}
