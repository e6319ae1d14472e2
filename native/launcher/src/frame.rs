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
        let mut frame = Frame::new(DONE, self.stdout.len() + self.stderr.len() + 64);
        frame.u64(self.token);
        frame.u32(self.wait_status as u32);
        for number in [self.user_us, self.sys_us, self.max_rss_kib, self.wall_us] {
            frame.u64(number);
        }
        frame.section(self.stdout);
        frame.section(self.stderr);
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
