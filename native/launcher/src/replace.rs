//! Put real paths back in what rustc prints.

use crate::frame::Replacement;

/// Apply the replacements in order, every occurrence of `from` at which a path begins and that a byte ending a path
/// component follows.
///
/// What is looked for is short (`/cargo`) and may be part of an address or of another path.
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
        let ends = |next: &u8| !continues_component(*next);
        if !text[start..].starts_with(from) || !text.get(end).map_or(true, ends) || is_inside_path(&text[..start]) {
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

/// Whether what follows goes on a path. The end of JSON's `\n` and of a colour look as if, and are not.
fn is_inside_path(before: &[u8]) -> bool {
    let last = match before.last() {
        Some(last) if *last == b'/' || continues_component(*last) => *last,
        _ => return false,
    };
    let rest = &before[..before.len() - 1];
    let is_escape = match last {
        b'n' | b'r' | b't' => rest.last() == Some(&b'\\'),
        b'm' => {
            let code = rest
                .iter()
                .rev()
                .take(30)
                .find(|byte| !(byte.is_ascii_digit() || **byte == b';'));
            code == Some(&b'[')
        }
        _ => false,
    };
    !is_escape
}

fn continues_component(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-+~@".contains(&byte) || byte >= 0x80
}

#[cfg(test)]
mod tests {
    use super::replace;
    use std::fs;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    }

    /// name, text, expected, from, to, from, to …: written and read by tests/unit/test_protocol.py too.
    #[test]
    fn the_golden_ones() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/replacements.txt");
        for line in fs::read_to_string(path).unwrap().lines() {
            let (name, rest) = line.split_once('\t').unwrap();
            let parts: Vec<Vec<u8>> = rest.split('\t').map(bytes).collect();
            let pairs: Vec<_> = parts[2..]
                .chunks(2)
                .map(|pair| (pair[0].clone(), pair[1].clone()))
                .collect();
            assert_eq!(replace(&parts[0], &pairs), parts[1], "{}", name);
        }
    }

    #[test]
    fn no_replacements_change_nothing() {
        assert_eq!(replace(b"/a\n", &[]), b"/a\n");
    }
}
