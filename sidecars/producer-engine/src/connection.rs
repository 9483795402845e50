//! A connection to a broker: what it may be used for, and what is on its way.

use std::collections::VecDeque;

use bytes::{Buf as _, BytesMut};
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use crate::{
    Address, Time, error,
    protocol::{
        API_VERSIONS, Api, SASL_AUTHENTICATE, SASL_HANDSHAKE, Versions,
        reader::{Malformed, Reader},
        request::{self, Head},
        response,
    },
    sasl::Exchange,
    settings::{Sasl, Settings},
};

/// Which of all connections that an engine has ever wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConnectionId(pub u64);

/// Bytes of one response: more than that of any request that is made here, and nothing that an engine could not hold.
const RESPONSE_BYTES_MAX: usize = 16 << 20;
/// Of the time that an authentication holds, the part after which it is made anew, in percent.
const AUTHENTICATED_FOR: u32 = 80;

/// How far a connection is.
#[derive(Debug)]
enum Stage {
    /// Whoever drives the engine is still connecting.
    Opening,
    /// The broker is asked for its versions.
    Asked,
    /// It is told the mechanism.
    Handshake,
    /// It shall be shown who this is.
    Authenticating(Exchange),
    /// It can be used.
    Ready,
}

/// A batch that a request carries.
#[derive(Debug, Clone, Copy)]
pub struct Sent {
    /// The topic's place.
    pub topic: usize,
    /// The topic's id when it was sent.
    pub topic_id: Uuid,
    /// The partition's number.
    pub partition: usize,
    /// The batch's id.
    pub batch: u64,
}

/// What a request is.
#[derive(Debug)]
pub enum Kind {
    /// For this file.
    Handshake(Api),
    /// Who leads what.
    Metadata,
    /// An id for the producer.
    InitProducerId,
    /// Batches.
    Produce(Vec<Sent>),
}

/// A request that has no answer yet.
#[derive(Debug)]
pub struct Request {
    /// What it is.
    pub kind: Kind,
    /// The version that was spoken.
    pub version: i16,
    correlation: i32,
    /// When the connection is given up.
    deadline: Time,
    /// How many bytes were written to the connection before it.
    begins_at: u64,
}

/// What came of bytes from a broker.
#[derive(Debug)]
pub enum Came {
    /// The connection can be used from now on.
    Ready,
    /// The answer to a request.
    Answer(Request, Vec<u8>),
}

/// A connection that is wanted, being opened or open.
#[derive(Debug)]
pub struct Connection {
    /// Where to.
    pub address: Address,
    /// The broker's number; none for one that was only asked for the others.
    pub broker: Option<i32>,
    /// Nothing but answers is expected of it until then (KIP-219).
    pub silent_until: Time,
    /// Produce requests on their way.
    pub producing: usize,
    stage: Stage,
    /// When it has to be usable.
    ready_by: Time,
    /// When it has to show anew who this is.
    authenticate_at: Option<Time>,
    versions: Versions,
    out: BytesMut,
    /// Bytes that were ever put into `out`, and taken out of it.
    queued: u64,
    taken: u64,
    input: BytesMut,
    correlation: i32,
    requests: VecDeque<Request>,
    nonces: u64,
}

impl Request {
    /// Whether any byte of it has left a connection of which so many have.
    pub(crate) fn has_left(&self, taken: u64) -> bool {
        taken > self.begins_at
    }
}

impl Connection {
    /// One that somebody is to open.
    pub(crate) fn new(
        address: Address,
        broker: Option<i32>,
        settings: &Settings,
        now: Time,
    ) -> Self {
        Self {
            address,
            broker,
            silent_until: Time::ZERO,
            producing: 0,
            stage: Stage::Opening,
            ready_by: now + settings.connect_timeout,
            authenticate_at: None,
            versions: Versions::default(),
            out: BytesMut::new(),
            queued: 0,
            taken: 0,
            input: BytesMut::new(),
            correlation: 0,
            requests: VecDeque::new(),
            nonces: 0,
        }
    }

    /// It is open: the broker is asked what it speaks.
    pub(crate) fn opened(&mut self, id: &StrBytes, deadline: Time) {
        self.stage = Stage::Asked;
        self.handshake(API_VERSIONS, deadline, id, request::api_versions);
    }

    /// Whether it can be used.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::Ready)
    }

    /// The version of `api` that both speak.
    pub(crate) fn version(&self, api: Api) -> Option<i16> {
        self.versions.of(api)
    }

    /// Bytes that are to be written.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.out
    }

    /// So many of them were.
    pub(crate) fn sent(&mut self, bytes: usize) {
        let bytes = bytes.min(self.out.len());
        self.out.advance(bytes);
        self.taken += bytes as u64;
    }

    /// Appends a request that `write` writes, and says what it is; none of it if that fails.
    pub(crate) fn request(
        &mut self,
        version: i16,
        deadline: Time,
        client_id: &StrBytes,
        write: impl FnOnce(&Head<'_>, &mut BytesMut) -> Option<Kind>,
    ) -> bool {
        let head = Head {
            correlation: self.correlation,
            version,
            client_id,
        };
        let before = self.out.len();
        let Some(kind) = write(&head, &mut self.out) else {
            self.out.truncate(before);
            return false;
        };
        if matches!(kind, Kind::Produce(_)) {
            self.producing += 1;
        }
        self.requests.push_back(Request {
            kind,
            version,
            correlation: self.correlation,
            deadline,
            begins_at: self.queued,
        });
        self.queued += (self.out.len() - before) as u64;
        self.correlation = self.correlation.wrapping_add(1) & i32::MAX;
        true
    }

    /// When something has to come, or to be done.
    pub(crate) fn deadline(&self) -> Option<Time> {
        let ready_by = (!self.is_ready()).then_some(self.ready_by);
        let answer = self.requests.front().map(|r| r.deadline);
        let silent = (self.silent_until > Time::ZERO).then_some(self.silent_until);
        let times = [
            ready_by,
            answer,
            self.authenticate_at.filter(|_| self.is_ready()),
            silent,
        ];
        times.into_iter().flatten().min()
    }

    /// Why it is to be given up at this time, if it is.
    pub(crate) fn overdue(&self, now: Time) -> Option<&'static str> {
        match self.requests.front() {
            Some(first) if first.deadline <= now => Some("no answer in time"),
            _ if !self.is_ready() && self.ready_by <= now => Some("not connected in time"),
            _ => None,
        }
    }

    /// Shows anew who this is, if it is time to.
    pub(crate) fn renew(&mut self, settings: &Settings, id: &StrBytes, now: Time) {
        if let Some(sasl) = &settings.sasl
            && self.is_ready()
            && self.authenticate_at.is_some_and(|at| at <= now)
        {
            self.authenticate_at = None;
            self.ready_by = now + settings.connect_timeout;
            self.shake_hands(sasl, settings, id, now);
        }
    }

    /// Requests that have no answer and will get none.
    pub(crate) fn into_requests(self) -> (VecDeque<Request>, u64) {
        (self.requests, self.taken)
    }

    /// Bytes came. They become answers by [`Self::next`].
    pub(crate) fn received(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// What the bytes that came so far are, one after the other; an error ends the connection.
    pub(crate) fn next(
        &mut self,
        settings: &Settings,
        id: &StrBytes,
        now: Time,
    ) -> Result<Option<Came>, String> {
        loop {
            let Some((length, rest)) = self.input.split_first_chunk() else {
                return Ok(None);
            };
            let length = u32::from_be_bytes(*length) as usize;
            if length > RESPONSE_BYTES_MAX {
                return Err(format!(
                    "a response of {length} bytes: is this a Kafka broker?"
                ));
            }
            if rest.len() < length {
                return Ok(None);
            }
            self.input.advance(4);
            let frame = self.input.split_to(length);
            const NOT_ASKED: &str = "a response that nobody has asked for";
            // One whose answer cannot be read stays among those that have none.
            let request = self.requests.front().ok_or(NOT_ASKED)?;
            let body = body(request, &frame)
                .map_err(|Malformed| MALFORMED)?
                .to_vec();
            let request = self.requests.pop_front().ok_or(NOT_ASKED)?;
            let Kind::Handshake(api) = request.kind else {
                if matches!(request.kind, Kind::Produce(_)) {
                    self.producing -= 1;
                }
                return Ok(Some(Came::Answer(request, body)));
            };
            if self.shaken(api, &request, &body, settings, id, now)? {
                return Ok(Some(Came::Ready));
            }
        }
    }

    /// Goes on with what makes it usable; whether it is.
    fn shaken(
        &mut self,
        api: Api,
        request: &Request,
        body: &[u8],
        settings: &Settings,
        id: &StrBytes,
        now: Time,
    ) -> Result<bool, String> {
        let malformed = |Malformed| MALFORMED.to_owned();
        if api == API_VERSIONS {
            self.versions = match response::api_versions(body).map_err(malformed)? {
                Ok(versions) => versions,
                Err(code) => {
                    return Err(format!(
                        "{} of ApiVersions: Kafka 3.0 or later is needed",
                        error::name(code)
                    ));
                }
            };
            if let Some(refusal) = self.versions.refusal() {
                return Err(refusal);
            }
            if let Some(sasl) = &settings.sasl {
                self.shake_hands(sasl, settings, id, now);
                return Ok(false);
            }
        } else if api == SASL_HANDSHAKE {
            let (code, mechanisms) = response::sasl_handshake(body).map_err(malformed)?;
            let Some(sasl) = settings.sasl.as_ref().filter(|_| code == 0) else {
                return Err(format!(
                    "{}: the broker takes {}",
                    error::name(code),
                    mechanisms.join(", ")
                ));
            };
            let (exchange, first) = Exchange::begin(sasl, self.nonce(settings));
            self.stage = Stage::Authenticating(exchange);
            self.authenticate(first, settings, id, now);
            return Ok(false);
        } else {
            let told = response::sasl_authenticate(body, request.version).map_err(malformed)?;
            if told.error != 0 {
                let why = told.message.unwrap_or_default();
                return Err(format!("{}: {why}", error::name(told.error)));
            }
            let Stage::Authenticating(exchange) = &mut self.stage else {
                return Err(MALFORMED.to_owned());
            };
            if let Some(message) = exchange.answer(&told.bytes)? {
                self.authenticate(message, settings, id, now);
                return Ok(false);
            }
            let lifetime = u64::try_from(told.lifetime_ms).ok().filter(|ms| *ms > 0);
            self.authenticate_at =
                lifetime.map(|ms| now + Time::from_millis(ms) * AUTHENTICATED_FOR / 100);
        }
        self.stage = Stage::Ready;
        Ok(true)
    }

    fn shake_hands(&mut self, sasl: &Sasl, settings: &Settings, id: &StrBytes, now: Time) {
        self.stage = Stage::Handshake;
        let mechanism = sasl.mechanism.name();
        let deadline = now + settings.request_timeout;
        self.handshake(SASL_HANDSHAKE, deadline, id, |head, out| {
            request::sasl_handshake(head, mechanism, out)
        });
    }

    fn authenticate(&mut self, message: Vec<u8>, settings: &Settings, id: &StrBytes, now: Time) {
        let deadline = now + settings.request_timeout;
        self.handshake(SASL_AUTHENTICATE, deadline, id, |head, out| {
            request::sasl_authenticate(head, message, out)
        });
    }

    /// Appends a request of those that make it usable.
    fn handshake(
        &mut self,
        api: Api,
        deadline: Time,
        id: &StrBytes,
        write: impl FnOnce(&Head<'_>, &mut BytesMut) -> bool,
    ) {
        self.request(api.versions.1, deadline, id, |head, out| {
            write(head, out).then_some(Kind::Handshake(api))
        });
    }

    /// Of the engine's seed, so that nobody else knows it, and another one each time.
    fn nonce(&mut self, settings: &Settings) -> String {
        use sha2::{Digest as _, Sha256};
        self.nonces += 1;
        let mut hash = Sha256::new();
        hash.update(settings.seed);
        hash.update(self.ready_by.as_nanos().to_be_bytes());
        hash.update(self.address.to_string());
        hash.update(self.nonces.to_be_bytes());
        let hash = hash.finalize();
        hash.iter()
            .take(16)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

const MALFORMED: &str = "a response that cannot be read: is this a Kafka broker?";

/// A response without its header.
fn body<'a>(request: &Request, frame: &'a [u8]) -> Result<&'a [u8], Malformed> {
    let mut reader = Reader(frame);
    if reader.i32()? != request.correlation {
        return Err(Malformed);
    }
    // The header of the first answers of a connection has no tagged fields, whatever their version (KIP-511).
    let is_old = matches!(request.kind, Kind::Handshake(api) if api == API_VERSIONS || api == SASL_HANDSHAKE);
    if !is_old {
        reader.no_tags()?;
    }
    Ok(reader.0)
}
