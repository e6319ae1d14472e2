//! The frames of docs/explanation/protocol.md: the launcher writes REQUEST and DONE and reads the engine's answers.

pub const HEADER_SIZE: usize = 12;
pub const MAX_BODY: usize = 64 << 20;

const MAGIC: &[u8; 4] = b"KCHE";
const PROTOCOL_VERSION: u8 = 1;

const REQUEST: u8 = 1;
const HIT: u8 = 2;
const RUN: u8 = 3;
const PASS: u8 = 4;
const DONE: u8 = 5;
const BUSY: u8 = 6;
const WAIT: u8 = 9;

/// Flags of REQUEST.
pub const STDERR_IS_TERMINAL: u32 = 1;
pub const STDOUT_IS_TERMINAL: u32 = 2;
pub const ASIDE: u32 = 4;
/// Flag of RUN: after DONE wait until the engine closes the connection.
pub const WAIT_FOR_CLOSE: u32 = 1;

/// What to look for, and what to print in its place.
pub type Replacement = (Vec<u8>, Vec<u8>);

/// Bytes that are not a frame, or not one the launcher may be sent.
#[derive(Debug, PartialEq, Eq)]
pub struct Malformed;

/// One call, as the engine needs to see it.
pub struct Request<'a> {
    pub pid: u32,
    pub ppid: u32,
    pub umask: u32,
    pub flags: u32,
    pub mount_ns: u64,
    pub launcher_version: &'a str,
    pub cwd: &'a [u8],
    pub argv: &'a [&'a [u8]],
    pub env: &'a [&'a [u8]],
}

/// How the compile ended.
pub struct Done<'a> {
    pub token: u64,
    pub wait_status: i32,
    pub user_us: u64,
    pub sys_us: u64,
    pub max_rss_kib: u64,
    pub wall_us: u64,
    pub stdout: &'a [u8],
    pub stderr: &'a [u8],
    /// What its processes looked at; empty if they were not observed.
    pub observed: &'a [u8],
}

/// What the engine wants done.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    Hit {
        exit_code: u32,
        stdout: Vec<u8>,
        stderr: Vec<u8>,
    },
    Run(Run),
    Pass,
    Busy,
    /// The answer proper comes within so many seconds.
    Wait {
        seconds: u32,
    },
}

/// How to run the compiler.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Run {
    pub token: u64,
    pub flags: u32,
    pub argv: Vec<Vec<u8>>,
    pub env_set: Vec<Vec<u8>>,
    pub env_unset: Vec<Vec<u8>>,
    pub replacements: Vec<Replacement>,
    pub unlink: Vec<Vec<u8>>,
    /// What not to note when observing; empty: do not observe.
    pub filter: Vec<u8>,
}

impl Request<'_> {
    /// The whole frame; `None` when it would be longer than a frame may be.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let texts = self
            .argv
            .iter()
            .chain(self.env)
            .map(|item| item.len() + 1)
            .sum::<usize>();
        let mut frame = Frame::new(REQUEST, texts + self.cwd.len() + 128);
        for number in [self.pid, self.ppid, self.umask, self.flags] {
            frame.u32(number);
        }
        frame.u64(self.mount_ns);
        frame.section(self.launcher_version.as_bytes());
        frame.section(self.cwd);
        frame.list(self.argv);
        frame.list(self.env);
        frame.finish()
    }
}

impl Done<'_> {
    /// The whole frame; `None` when it would be longer than a frame may be.
    pub fn encode(&self) -> Option<Vec<u8>> {
        let mut frame = Frame::new(DONE, self.stdout.len() + self.stderr.len() + self.observed.len() + 64);
        frame.u64(self.token);
        frame.u32(self.wait_status as u32);
        for number in [self.user_us, self.sys_us, self.max_rss_kib, self.wall_us] {
            frame.u64(number);
        }
        frame.section(self.stdout);
        frame.section(self.stderr);
        frame.section(self.observed);
        frame.finish()
    }
}

/// Kind and length of the body that follows a header.
pub fn parse_header(header: &[u8; HEADER_SIZE]) -> Result<(u8, usize), Malformed> {
    let length = u32::from_le_bytes([header[8], header[9], header[10], header[11]]) as usize;
    if &header[..4] != MAGIC || header[4] != PROTOCOL_VERSION || header[6..8] != [0, 0] || length > MAX_BODY {
        return Err(Malformed);
    }
    Ok((header[5], length))
}

/// An answer of the engine.
pub fn decode(kind: u8, body: &[u8]) -> Result<Answer, Malformed> {
    let mut rest = Body(body);
    let answer = match kind {
        HIT => Answer::Hit {
            exit_code: rest.u32()?,
            stdout: rest.section()?.to_vec(),
            stderr: rest.section()?.to_vec(),
        },
        RUN => Answer::Run(rest.run()?),
        PASS => {
            rest.section()?;
            Answer::Pass
        }
        BUSY => {
            rest.section()?;
            Answer::Busy
        }
        WAIT => Answer::Wait { seconds: rest.u32()? },
        _ => return Err(Malformed),
    };
    if rest.0.is_empty() {
        Ok(answer)
    } else {
        Err(Malformed)
    }
}

/// A frame being written; its length is filled in at the end.
struct Frame(Vec<u8>);

impl Frame {
    fn new(kind: u8, capacity: usize) -> Frame {
        let mut bytes = Vec::with_capacity(HEADER_SIZE + capacity);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&[PROTOCOL_VERSION, kind, 0, 0, 0, 0, 0, 0]);
        Frame(bytes)
    }

    fn u32(&mut self, value: u32) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    fn section(&mut self, bytes: &[u8]) {
        self.u32(bytes.len() as u32); // a wrapped length is of a frame that `finish` refuses
        self.0.extend_from_slice(bytes);
    }

    fn list(&mut self, items: &[&[u8]]) {
        self.u32(items.iter().map(|item| item.len() + 1).sum::<usize>() as u32);
        for item in items {
            self.0.extend_from_slice(item);
            self.0.push(0);
        }
    }

    fn finish(mut self) -> Option<Vec<u8>> {
        let length = self.0.len() - HEADER_SIZE;
        if length > MAX_BODY {
            return None;
        }
        self.0[8..HEADER_SIZE].copy_from_slice(&(length as u32).to_le_bytes());
        Some(self.0)
    }
}

/// The rest of a body being read.
struct Body<'a>(&'a [u8]);

impl<'a> Body<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        if count > self.0.len() {
            return Err(Malformed);
        }
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        Ok(taken)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let mut bytes = [0; 4];
        bytes.copy_from_slice(self.take(4)?);
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(self.take(8)?);
        Ok(u64::from_le_bytes(bytes))
    }

    fn section(&mut self) -> Result<&'a [u8], Malformed> {
        let length = self.u32()? as usize;
        self.take(length)
    }

    fn list(&mut self) -> Result<Vec<Vec<u8>>, Malformed> {
        match self.section()?.split_last() {
            None => Ok(Vec::new()),
            Some((0, items)) => Ok(items.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()),
            Some(_) => Err(Malformed),
        }
    }

    fn run(&mut self) -> Result<Run, Malformed> {
        let run = Run {
            token: self.u64()?,
            flags: self.u32()?,
            argv: self.list()?,
            env_set: self.list()?,
            env_unset: self.list()?,
            replacements: pairs(self.list()?)?,
            unlink: self.list()?,
            filter: self.section()?.to_vec(),
        };
        if run.argv.is_empty() {
            return Err(Malformed);
        }
        Ok(run)
    }
}

fn pairs(flat: Vec<Vec<u8>>) -> Result<Vec<Replacement>, Malformed> {
    let mut found = Vec::with_capacity(flat.len() / 2);
    let mut items = flat.into_iter();
    while let Some(from) = items.next() {
        found.push((from, items.next().ok_or(Malformed)?));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::fs;

    /// The frames that tests/unit/test_protocol.py writes and reads.
    fn golden() -> HashMap<String, Vec<u8>> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/frames.txt");
        let text = fs::read_to_string(path).unwrap();
        text.lines()
            .map(|line| {
                let (name, hex) = line.split_once('\t').unwrap();
                let bytes = (0..hex.len())
                    .step_by(2)
                    .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
                (name.to_string(), bytes.collect())
            })
            .collect()
    }

    fn read(frame: &[u8]) -> Result<Answer, Malformed> {
        let mut header = [0; HEADER_SIZE];
        header.copy_from_slice(&frame[..HEADER_SIZE]);
        let (kind, length) = parse_header(&header)?;
        assert_eq!(length, frame.len() - HEADER_SIZE);
        decode(kind, &frame[HEADER_SIZE..])
    }

    fn owned(items: &[&[u8]]) -> Vec<Vec<u8>> {
        items.iter().map(|item| item.to_vec()).collect()
    }

    #[test]
    fn requests_are_the_golden_ones() {
        let request = Request {
            pid: 4321,
            ppid: 4320,
            umask: 0o022,
            flags: STDERR_IS_TERMINAL | STDOUT_IS_TERMINAL,
            mount_ns: 4026531841,
            launcher_version: "0.1.0",
            cwd: b"/home/me/\xff",
            argv: &[b"rustc", b"--crate-name", b"caf\xe9", b""],
            env: &[b"PATH=/bin", b"EMPTY=", b"ODD"],
        };
        assert_eq!(request.encode().unwrap(), golden()["request"]);
        let empty = Request {
            pid: 0,
            ppid: 0,
            umask: 0,
            flags: 0,
            mount_ns: 0,
            launcher_version: "",
            cwd: b"",
            argv: &[],
            env: &[],
        };
        assert_eq!(empty.encode().unwrap(), golden()["request-empty"]);
    }

    #[test]
    fn done_is_the_golden_one() {
        let done = Done {
            token: 7,
            wait_status: -1,
            user_us: 1,
            sys_us: 2,
            max_rss_kib: 3,
            wall_us: 1 << 40,
            stdout: b"",
            stderr: b"error\n",
            observed: b"\0e1\x02\0CI\0\0",
        };
        assert_eq!(done.encode().unwrap(), golden()["done"]);
    }

    #[test]
    fn answers_are_read() {
        let golden = golden();
        let hit = Answer::Hit {
            exit_code: 0,
            stdout: b"out\n".to_vec(),
            stderr: b"\x00\xff\n".to_vec(),
        };
        assert_eq!(read(&golden["hit"]), Ok(hit));
        assert_eq!(read(&golden["pass"]), Ok(Answer::Pass));
        assert_eq!(read(&golden["busy"]), Ok(Answer::Busy));
        assert_eq!(read(&golden["wait"]), Ok(Answer::Wait { seconds: 90 }));
        let run = Run {
            token: u64::MAX,
            flags: WAIT_FOR_CLOSE,
            argv: owned(&[b"rustc", b"", b"-"]),
            env_set: owned(&[b"A=1", b"B="]),
            env_unset: owned(&[b"C"]),
            replacements: vec![
                (b"/proc/self/cwd".to_vec(), b"/home/me".to_vec()),
                (b"/x".to_vec(), b"".to_vec()),
            ],
            unlink: owned(&[b"/t/\xfe.rmeta"]),
            filter: b"P/proc/\0".to_vec(),
        };
        assert_eq!(read(&golden["run"]), Ok(Answer::Run(run)));
        let bare = Run {
            argv: owned(&[b"true"]),
            ..Run::default()
        };
        assert_eq!(read(&golden["run-bare"]), Ok(Answer::Run(bare)));
    }

    #[test]
    fn what_only_the_launcher_or_the_command_line_sends_is_no_answer() {
        for name in ["request", "done", "control", "reply"] {
            assert_eq!(read(&golden()[name]), Err(Malformed), "{}", name);
        }
    }

    #[test]
    fn a_frame_cut_short_or_too_long_is_malformed() {
        for (name, frame) in golden() {
            let body = &frame[HEADER_SIZE..];
            for length in 0..body.len() {
                assert_eq!(decode(frame[5], &body[..length]), Err(Malformed), "{} {}", name, length);
            }
            let longer = [body, b"\0"].concat();
            assert_eq!(decode(frame[5], &longer), Err(Malformed), "{}", name);
        }
    }

    #[test]
    fn headers_of_others_are_malformed() {
        let good = *b"KCHE\x01\x04\0\0\0\0\0\0";
        assert_eq!(parse_header(&good), Ok((PASS, 0)));
        for (at, value) in [(0, b'k'), (4, 2), (6, 1), (7, 1), (11, 5)] {
            let mut bad = good;
            bad[at] = value;
            assert_eq!(parse_header(&bad), Err(Malformed), "{}", at);
        }
    }

    #[test]
    fn a_request_too_long_is_none() {
        let long = vec![b'x'; MAX_BODY];
        let request = Request {
            pid: 0,
            ppid: 0,
            umask: 0,
            flags: 0,
            mount_ns: 0,
            launcher_version: "",
            cwd: b"",
            argv: &[&long],
            env: &[],
        };
        assert!(request.encode().is_none());
    }
}
