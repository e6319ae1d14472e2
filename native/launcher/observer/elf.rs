//! Whether a program takes our preload without a word, judged by its first bytes before it is started.

use crate::sys;

const HEAD: usize = 1024;
const DYNAMIC: usize = 2048;

/// Libraries that insist on being the first one loaded, or else end the program.
const FIRST_OR_NOT_AT_ALL: [&[u8]; 4] = [b"libasan.so", b"libtsan.so", b"libhwasan.so", b"libclang_rt."];

/// False for a program of another architecture (its loader would print that it cannot load us) and for one with a
/// sanitizer's library; true for what is not there, and for what no preload reaches.
pub unsafe fn may_preload(path: *const u8) -> bool {
    let mut head = [0; HEAD];
    let mut length = read_head(path, &mut head);
    if head.starts_with(b"#!") {
        let mut interpreter = [0; 256];
        let line = head[2..length.max(2)]
            .split(|byte| *byte == b'\n')
            .next()
            .unwrap_or(b"");
        let mut words = line
            .split(|byte| *byte == b' ' || *byte == b'\t')
            .filter(|word| !word.is_empty());
        match words.next() {
            Some(word) if word.len() < 256 => interpreter[..word.len()].copy_from_slice(word),
            _ => return true,
        }
        length = read_head(interpreter.as_ptr(), &mut head);
        return judge(interpreter.as_ptr(), &head[..length]);
    }
    judge(path, &head[..length])
}

unsafe fn read_head(path: *const u8, head: &mut [u8]) -> usize {
    let fd = sys::open(path, false);
    if fd < 0 {
        return 0;
    }
    let length = sys::read_at(fd, head, 0);
    sys::close(fd);
    length
}

unsafe fn judge(path: *const u8, head: &[u8]) -> bool {
    if !head.starts_with(b"\x7fELF") {
        return true;
    }
    if head.len() < 64 || head[4] != 2 || word(head, 18, 2) != u64::from(sys::MACHINE) {
        return false;
    }
    let fd = sys::open(path, false);
    if fd < 0 {
        return true;
    }
    let is_first = insists(fd, head);
    sys::close(fd);
    !is_first
}

/// Whether the program needs one of those libraries.
unsafe fn insists(fd: isize, head: &[u8]) -> bool {
    let mut dynamic = [0; DYNAMIC];
    let length = match segments(head).find(|segment| segment.kind == 2) {
        Some(segment) => sys::read_at(fd, &mut dynamic, segment.offset),
        None => return false,
    };
    let entries = || {
        dynamic[..length & !15]
            .chunks_exact(16)
            .map(|entry| (word(entry, 0, 8), word(entry, 8, 8)))
    };
    let strings = match entries()
        .find(|(tag, _)| *tag == 5)
        .and_then(|(_, address)| offset_of(head, address))
    {
        Some(strings) => strings,
        None => return false,
    };
    let is_needed = |(tag, at): &(u64, u64)| {
        *tag == 1 && {
            let mut name = [0; 16];
            let _ = sys::read_at(fd, &mut name, strings.wrapping_add(*at));
            FIRST_OR_NOT_AT_ALL.iter().any(|library| name.starts_with(library))
        }
    };
    let mut needed = entries().take_while(|(tag, _)| *tag != 0);
    needed.any(|entry| is_needed(&entry))
}

struct Segment {
    kind: u64,
    offset: u64,
    address: u64,
    size: u64,
}

fn segments(head: &[u8]) -> impl Iterator<Item = Segment> + '_ {
    let (start, size, count) = (word(head, 32, 8), word(head, 54, 2), word(head, 56, 2));
    (0..count).filter_map(move |number| {
        let at = start.checked_add(number.checked_mul(size)?)? as usize;
        let header = head.get(at..at.checked_add(56)?)?;
        Some(Segment {
            kind: word(header, 0, 4),
            offset: word(header, 8, 8),
            address: word(header, 16, 8),
            size: word(header, 32, 8),
        })
    })
}

fn offset_of(head: &[u8], address: u64) -> Option<u64> {
    let holds = |segment: &Segment| segment.kind == 1 && address.wrapping_sub(segment.address) < segment.size;
    segments(head)
        .find(holds)
        .map(|segment| address - segment.address + segment.offset)
}

/// A little-endian number of so many bytes; 0 where the text ends before it.
fn word(bytes: &[u8], at: usize, size: usize) -> u64 {
    let found = bytes.get(at..at + size).unwrap_or(&[]);
    found
        .iter()
        .rev()
        .fold(0, |number, byte| number << 8 | u64::from(*byte))
}
