//! Put real paths back in what rustc prints.

use crate::frame::Replacement;

/// Apply the replacements in order, every occurrence of `from` that a byte ending a path component follows.
///
/// `text` is any number of whole lines, or the last piece of a stream: its end ends a component too.
pub fn replace(text: &[u8], replacements: &[Replacement]) -> Vec<u8> {
    let mut current = text.to_vec();
    for (from, to) in replacements {
        if let Some(changed) = replace_one(&current, from, to) {
            current = changed;
        }
    }
    current
}

fn replace_one(text: &[u8], from: &[u8], to: &[u8]) -> Option<Vec<u8>> {
    let first = *from.first()?;
    let mut changed = Vec::new();
    let (mut kept, mut at) = (0, 0);
    while let Some(found) = text[at..].iter().position(|byte| *byte == first) {
        let start = at + found;
        let end = start + from.len();
        if !text[start..].starts_with(from) || text.get(end).map_or(false, |next| continues_component(*next)) {
            at = start + 1;
            continue;
        }
        changed.extend_from_slice(&text[kept..start]);
        changed.extend_from_slice(to);
        kept = end;
        at = end;
    }
    if kept == 0 {
        return None;
    }
    changed.extend_from_slice(&text[kept..]);
    Some(changed)
}

fn continues_component(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-+~@".contains(&byte) || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::{replace, Replacement};

    fn pairs(flat: &[(&str, &str)]) -> Vec<Replacement> {
        flat.iter()
            .map(|(from, to)| (from.as_bytes().to_vec(), to.as_bytes().to_vec()))
            .collect()
    }

    fn check(text: &str, replacements: &[(&str, &str)], expected: &str) {
        let replaced = replace(text.as_bytes(), &pairs(replacements));
        assert_eq!(String::from_utf8_lossy(&replaced), expected);
    }

    #[test]
    fn whole_components_only() {
        check(
            "/ws/a /ws2/a /ws-b /ws",
            &[("/ws", "/home/me")],
            "/home/me/a /ws2/a /ws-b /home/me",
        );
        check("\"/ws\\n\" /ws:1 /wsé", &[("/ws", "/x")], "\"/x\\n\" /x:1 /wsé");
    }

    #[test]
    fn in_order_one_after_the_other() {
        check("/a", &[("/a", "/b"), ("/b", "/c")], "/c");
        check("/a/a", &[("/a", "/a/a")], "/a/a/a/a");
    }

    #[test]
    fn nothing_to_do() {
        check("text\n", &[], "text\n");
        check("text\n", &[("", "x"), ("/none", "y")], "text\n");
        check("", &[("/a", "/b")], "");
    }

    #[test]
    fn at_the_start_with_an_empty_replacement() {
        check("/a/b", &[("/a", "")], "/b");
    }
}
