//! A load generator that is not the bottleneck: one thread, one epoll, requests rendered beforehand.
//!
//! Closed loop: each connection sends its next request when it has its answer. At a rate: requests are due
//! at even times whatever the server does, and a time is counted from when its request was due, so that a
//! server which stalls is not spared what it kept from being sent (no coordinated omission).

use std::{
    collections::{BTreeMap, VecDeque},
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use hdrhistogram::Histogram;
use rustix::{
    event::{Timespec, epoll},
    fd::OwnedFd,
    time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags},
};

/// Bytes of an answer's header and body that are looked at.
const ANSWER_MAX: usize = 64 << 10;
/// Events of one wait.
const WAKE_UPS: usize = 512;
/// What wakes up for the next request that is due, among the connections' numbers.
const TICK: u64 = u64::MAX;
/// How long answers are waited for after the last request.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// When requests leave.
#[derive(Debug, Clone, Copy)]
pub enum Pace {
    /// Each connection's next one after its answer.
    Closed,
    /// So many in a second, over all connections.
    Rate(f64),
}

/// What is to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// Whole requests as they go over the wire, one after another.
    pub requests: &'a [Vec<u8>],
    /// Keep-alive connections.
    pub connections: usize,
    /// When they leave.
    pub pace: Pace,
    /// Not counted.
    pub warm_up: Duration,
    /// Counted.
    pub duration: Duration,
}

/// What came of it, between the end of the warm-up and the end.
#[derive(Debug)]
pub struct Outcome {
    /// From when a request was sent, or due, to the last byte of its answer; ns, of those answered 200.
    pub times: Histogram<u64>,
    /// Answers other than 200, by status; 0 are connections that were lost.
    pub others: BTreeMap<u16, u64>,
    /// How long it really took.
    pub elapsed: Duration,
}

impl Outcome {
    /// Answered 200, in a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.times.len() as f64 / self.elapsed.as_secs_f64()
    }

    /// The time below which `fraction` of the answers lie, in microseconds.
    #[must_use]
    pub fn quantile_us(&self, fraction: f64) -> f64 {
        self.times.value_at_quantile(fraction) as f64 / 1e3
    }
}

/// One connection and what it is busy with.
struct Connection {
    stream: TcpStream,
    /// From when the request on its way is counted.
    since: Option<Instant>,
    /// The request, and how much of it has left.
    request: usize,
    written: usize,
    waits_for_room: bool,
    answer: Vec<u8>,
}

/// A run.
pub struct Load<'a> {
    plan: Plan<'a>,
    address: SocketAddr,
    poll: OwnedFd,
    /// Wakes up when a request is due: epoll's own timeout counts whole milliseconds. Only at a rate.
    ticks: Option<OwnedFd>,
    connections: Vec<Connection>,
    /// Without a request on its way; only at a rate.
    idle: Vec<usize>,
    /// Due, and no connection was idle.
    late: VecDeque<Instant>,
    next_request: usize,
    outcome: Outcome,
}

impl<'a> Load<'a> {
    /// Opens the connections.
    pub fn connect(address: SocketAddr, plan: Plan<'a>) -> anyhow::Result<Self> {
        let mut load = Self {
            plan,
            address,
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            ticks: None,
            connections: Vec::with_capacity(plan.connections),
            idle: Vec::new(),
            late: VecDeque::new(),
            next_request: 0,
            outcome: Outcome {
                times: Histogram::new_with_max(60_000_000_000, 3)?,
                others: BTreeMap::new(),
                elapsed: Duration::ZERO,
            },
        };
        for number in 0..plan.connections {
            let stream = load.open(number)?;
            load.connections.push(Connection {
                stream,
                since: None,
                request: 0,
                written: 0,
                waits_for_room: false,
                answer: Vec::with_capacity(512),
            });
        }
        Ok(load)
    }

    fn open(&self, number: usize) -> anyhow::Result<TcpStream> {
        let stream = TcpStream::connect(self.address).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let data = epoll::EventData::new_u64(number as u64);
        epoll::add(&self.poll, &stream, data, epoll::EventFlags::IN)?;
        Ok(stream)
    }

    /// Runs it. `at` is called when counting begins and when it ends.
    pub fn run(mut self, mut at: impl FnMut()) -> anyhow::Result<Outcome> {
        let started = Instant::now();
        let counted_from = started + self.plan.warm_up;
        let end = counted_from + self.plan.duration;
        let mut counting = false;
        let mut due = started;
        match self.plan.pace {
            Pace::Closed => {
                for number in 0..self.connections.len() {
                    self.begin(number, Instant::now())?;
                }
            }
            Pace::Rate(rate) => {
                self.idle.extend(0..self.connections.len());
                self.tick(rate)?;
            }
        }
        loop {
            let now = Instant::now();
            if !counting && now >= counted_from {
                counting = true;
                self.outcome.times.reset();
                self.outcome.others.clear();
                at();
            }
            if now >= end {
                break;
            }
            let until = if counting { end } else { counted_from };
            if let Pace::Rate(rate) = self.plan.pace {
                while due <= now {
                    self.send_due(due)?;
                    due += Duration::from_secs_f64(1.0 / rate);
                }
            }
            self.serve(until.saturating_duration_since(now))?;
        }
        at();
        self.outcome.elapsed = counted_from.elapsed();
        if let Pace::Rate(_) = self.plan.pace {
            self.wait_for_the_rest()?;
        }
        Ok(self.outcome)
    }

    /// At a rate, what is still unanswered counts too, or a server that stalled would be spared.
    fn wait_for_the_rest(&mut self) -> anyhow::Result<()> {
        let deadline = Instant::now() + LAST_ANSWERS;
        while self.idle.len() < self.connections.len() && Instant::now() < deadline {
            self.serve(Duration::from_millis(10))?;
        }
        Ok(())
    }

    /// From now on, wakes up so many times in a second.
    fn tick(&mut self, rate: f64) -> anyhow::Result<()> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let ticks = rustix::time::timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let each = Timespec::try_from(Duration::from_secs_f64(1.0 / rate))?;
        let times = Itimerspec {
            it_interval: each,
            it_value: each,
        };
        rustix::time::timerfd_settime(&ticks, TimerfdTimerFlags::empty(), &times)?;
        let data = epoll::EventData::new_u64(TICK);
        epoll::add(&self.poll, &ticks, data, epoll::EventFlags::IN)?;
        self.ticks = Some(ticks);
        Ok(())
    }

    fn send_due(&mut self, due: Instant) -> anyhow::Result<()> {
        match self.idle.pop() {
            Some(number) => self.begin(number, due),
            None => {
                self.late.push_back(due);
                Ok(())
            }
        }
    }

    fn begin(&mut self, number: usize, since: Instant) -> anyhow::Result<()> {
        let request = self.next_request;
        self.next_request = (request + 1) % self.plan.requests.len();
        let connection = &mut self.connections[number];
        connection.since = Some(since);
        connection.request = request;
        connection.written = 0;
        connection.answer.clear();
        self.write(number)
    }

    fn write(&mut self, number: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[number];
        let request = &self.plan.requests[connection.request];
        while connection.written < request.len() {
            match connection.stream.write(&request[connection.written..]) {
                Ok(n) => connection.written += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(_) => return self.lost(number),
            }
        }
        let waits = connection.written < request.len();
        if waits != connection.waits_for_room {
            connection.waits_for_room = waits;
            let mut flags = epoll::EventFlags::IN;
            flags.set(epoll::EventFlags::OUT, waits);
            let data = epoll::EventData::new_u64(number as u64);
            epoll::modify(&self.poll, &connection.stream, data, flags)?;
        }
        Ok(())
    }

    /// Waits for answers, and takes them.
    fn serve(&mut self, timeout: Duration) -> anyhow::Result<()> {
        let timeout = Timespec::try_from(timeout)?;
        let mut events = Vec::with_capacity(WAKE_UPS);
        match epoll::wait(
            &self.poll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&timeout),
        ) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        for event in events {
            if event.data.u64() == TICK {
                self.ticked()?;
                continue;
            }
            let number = usize::try_from(event.data.u64())?;
            let flags = event.flags;
            if flags.contains(epoll::EventFlags::OUT) {
                self.write(number)?;
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP) {
                self.read(number)?;
            }
        }
        Ok(())
    }

    /// Takes note of the ticks so far: which requests are due, the clock says.
    fn ticked(&self) -> anyhow::Result<()> {
        let mut count = [0; 8];
        match self.ticks.as_ref().map(|t| rustix::io::read(t, &mut count)) {
            None | Some(Ok(_) | Err(rustix::io::Errno::AGAIN)) => Ok(()),
            Some(Err(error)) => Err(error).context("the timer of the requests"),
        }
    }

    fn read(&mut self, number: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[number];
        let mut buffer = [0; 4096];
        match connection.stream.read(&mut buffer) {
            Ok(0) => return self.lost(number),
            Ok(n) => connection.answer.extend_from_slice(&buffer[..n]),
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(_) => return self.lost(number),
        }
        let Some((status, bytes)) = parse(&connection.answer)? else {
            return Ok(());
        };
        if bytes != connection.answer.len() {
            bail!("more than one answer to one request");
        }
        let now = Instant::now();
        match (status, connection.since.take()) {
            (200, Some(since)) => {
                let ns = now.saturating_duration_since(since).as_nanos() as u64;
                self.outcome.times.saturating_record(ns);
            }
            (status, _) => *self.outcome.others.entry(status).or_default() += 1,
        }
        self.next(number, now)
    }

    /// What a connection does that has its answer.
    fn next(&mut self, number: usize, now: Instant) -> anyhow::Result<()> {
        match self.plan.pace {
            Pace::Closed => self.begin(number, now),
            Pace::Rate(_) => match self.late.pop_front() {
                Some(due) => self.begin(number, due),
                None => {
                    self.idle.push(number);
                    Ok(())
                }
            },
        }
    }

    /// The server has closed it: another takes its place.
    fn lost(&mut self, number: usize) -> anyhow::Result<()> {
        *self.outcome.others.entry(0).or_default() += 1;
        let stream = self.open(number)?;
        let connection = &mut self.connections[number];
        connection.stream = stream;
        connection.waits_for_room = false;
        connection.since = None;
        self.next(number, Instant::now())
    }
}

/// Status and length of an answer that is complete.
fn parse(bytes: &[u8]) -> anyhow::Result<Option<(u16, usize)>> {
    let Some(header) = memchr::memmem::find(bytes, b"\r\n\r\n") else {
        if bytes.len() > ANSWER_MAX {
            bail!("an answer without an end of its header");
        }
        return Ok(None);
    };
    let text = std::str::from_utf8(&bytes[..header]).context("an answer's header")?;
    let status = text.get(9..12).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status: {text}"))?;
    let length = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        let is_length = name.eq_ignore_ascii_case("content-length");
        is_length.then(|| value.trim().parse::<usize>().ok())?
    });
    let end = header + 4 + length.context("an answer that does not say how long it is")?;
    Ok((bytes.len() >= end).then_some((status, end)))
}

/// A request as it goes over the wire.
#[must_use]
pub fn post(path: &str, content_type: &str, body: &[u8]) -> Vec<u8> {
    let mut request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    request
}

/// Opens `connections`, one after the other, each of which sends a request and gets its answer.
///
/// # Errors
/// One cannot be opened, or its answer is not a 200.
pub fn once_each(
    address: SocketAddr,
    requests: &[Vec<u8>],
    connections: usize,
) -> anyhow::Result<Vec<TcpStream>> {
    let mut answer = [0; 1024];
    let of = |request: &Vec<u8>| {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(request)?;
        let bytes = stream.read(&mut answer)?;
        anyhow::ensure!(
            parse(&answer[..bytes])?.is_some_and(|(status, _)| status == 200),
            "not a 200: {}",
            String::from_utf8_lossy(&answer[..bytes])
        );
        Ok(stream)
    };
    let requests = requests.iter().cycle().take(connections);
    requests.map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_complete_with_its_last_byte() {
        let answer =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 4\r\n\r\nbody";
        for end in 0..answer.len() {
            assert_eq!(parse(&answer[..end]).unwrap(), None, "{end}");
        }
        assert_eq!(parse(answer).unwrap(), Some((200, answer.len())));
        assert!(parse(b"HTTP/1.1 200 OK\r\n\r\n").is_err());
    }
}
