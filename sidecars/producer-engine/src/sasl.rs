//! PLAIN (RFC 4616) and SCRAM (RFC 5802, RFC 7677), as a client.

use base64::{Engine as _, prelude::BASE64_STANDARD as BASE64};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use crate::settings::{Mechanism, Sasl};

/// More than brokers may ask for (16,384): it would only keep this process busy.
const ITERATIONS_MAX: u32 = 100_000;
/// Fewer than brokers may ask for: somebody else wants the password's hash.
const ITERATIONS_MIN: u32 = 4096;
/// No channel binding.
const GS2_HEADER: &str = "n,,";

/// An exchange of messages that is under way.
#[derive(Debug)]
pub struct Exchange {
    who: Sasl,
    next: Next,
}

#[derive(Debug)]
enum Next {
    /// The broker says that all is well, in no words.
    Nothing,
    /// Its nonce, salt and iterations.
    Challenge { nonce: String, first: String },
    /// Its proof that it knows the password too.
    Proof(Vec<u8>),
    /// Nothing more is to come.
    Done,
}

impl Exchange {
    /// Begins one; the first message. `nonce` is of printable ASCII without commas, and new each time.
    #[must_use]
    pub fn begin(who: &Sasl, nonce: String) -> (Self, Vec<u8>) {
        let (message, next) = match who.mechanism {
            Mechanism::Plain => (format!("\0{}\0{}", who.user, who.password), Next::Nothing),
            Mechanism::ScramSha256 | Mechanism::ScramSha512 => {
                let user = who.user.replace('=', "=3D").replace(',', "=2C");
                let first = format!("n={user},r={nonce}");
                (
                    format!("{GS2_HEADER}{first}"),
                    Next::Challenge { nonce, first },
                )
            }
        };
        let who = who.clone();
        (Self { who, next }, message.into_bytes())
    }

    /// Takes a message of the broker; the next one to it, or none if the exchange has ended.
    pub fn answer(&mut self, message: &[u8]) -> Result<Option<Vec<u8>>, String> {
        match std::mem::replace(&mut self.next, Next::Done) {
            Next::Nothing | Next::Done => Ok(None),
            Next::Challenge { nonce, first } => {
                let (answer, proof) = match self.who.mechanism {
                    Mechanism::ScramSha512 => scram::<Sha512Of>(&self.who, &nonce, &first, message),
                    _ => scram::<Sha256Of>(&self.who, &nonce, &first, message),
                }?;
                self.next = Next::Proof(proof);
                Ok(Some(answer.into_bytes()))
            }
            Next::Proof(proof) => {
                let message = text(message)?;
                let told = field(message, "v").and_then(|v| BASE64.decode(v).ok());
                match told {
                    Some(told) if bool::from(told.ct_eq(&proof)) => Ok(None),
                    _ => Err("the broker does not show that it knows the password".to_owned()),
                }
            }
        }
    }
}

/// The functions of RFC 5802 over a hash.
trait Hash {
    fn hash(bytes: &[u8]) -> Vec<u8>;
    fn hmac(key: &[u8], bytes: &[u8]) -> Vec<u8>;
    fn hi(password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8>;
}

macro_rules! hash {
    ($name:ident, $hash:ty, $bytes:literal) => {
        struct $name;
        impl Hash for $name {
            fn hash(bytes: &[u8]) -> Vec<u8> {
                <$hash>::digest(bytes).to_vec()
            }
            fn hmac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
                // HMAC takes keys of any length.
                let Ok(mut mac) = Hmac::<$hash>::new_from_slice(key) else {
                    return Vec::new();
                };
                mac.update(bytes);
                mac.finalize().into_bytes().to_vec()
            }
            fn hi(password: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
                pbkdf2::pbkdf2_hmac_array::<$hash, $bytes>(password, salt, iterations).to_vec()
            }
        }
    };
}
hash!(Sha256Of, Sha256, 32);
hash!(Sha512Of, Sha512, 64);

/// The final message, and the proof that the broker shall give.
fn scram<H: Hash>(
    who: &Sasl,
    nonce: &str,
    first: &str,
    challenge: &[u8],
) -> Result<(String, Vec<u8>), String> {
    let challenge = text(challenge)?;
    let damaged = || "the broker's SCRAM message cannot be read".to_owned();
    if let Some(error) = field(challenge, "e") {
        return Err(format!("the broker refuses: {error}"));
    }
    let both = field(challenge, "r").ok_or_else(damaged)?;
    let salt = field(challenge, "s").and_then(|s| BASE64.decode(s).ok());
    let salt = salt.ok_or_else(damaged)?;
    let iterations = field(challenge, "i").and_then(|i| i.parse::<u32>().ok());
    let iterations = iterations.ok_or_else(damaged)?;
    if !both.starts_with(nonce) || both.len() == nonce.len() {
        return Err("the broker's SCRAM message answers another one".to_owned());
    }
    if !(ITERATIONS_MIN..=ITERATIONS_MAX).contains(&iterations) {
        return Err(format!(
            "{iterations} iterations of SCRAM: from {ITERATIONS_MIN} to {ITERATIONS_MAX} are taken"
        ));
    }
    let salted = H::hi(who.password.as_bytes(), &salt, iterations);
    let client_key = H::hmac(&salted, b"Client Key");
    let without_proof = format!("c={},r={both}", BASE64.encode(GS2_HEADER));
    let signed = format!("{first},{challenge},{without_proof}");
    let signature = H::hmac(&H::hash(&client_key), signed.as_bytes());
    let proof: Vec<_> = client_key
        .iter()
        .zip(signature)
        .map(|(a, b)| a ^ b)
        .collect();
    let of_broker = H::hmac(&H::hmac(&salted, b"Server Key"), signed.as_bytes());
    Ok((
        format!("{without_proof},p={}", BASE64.encode(proof)),
        of_broker,
    ))
}

fn text(message: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(message).map_err(|_| "the broker's SCRAM message is not text".to_owned())
}

/// The value of a field of a message such as `r=…,s=…`.
fn field<'a>(message: &'a str, name: &str) -> Option<&'a str> {
    let mut fields = message.split(',');
    fields.find_map(|field| field.strip_prefix(name)?.strip_prefix('='))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn who(mechanism: Mechanism, user: &str, password: &str) -> Sasl {
        Sasl {
            mechanism,
            user: user.to_owned(),
            password: password.to_owned(),
        }
    }

    /// The example of RFC 7677, section 3.
    #[test]
    fn scram_sha_256_is_as_in_its_rfc() {
        let who = who(Mechanism::ScramSha256, "user", "pencil");
        let (mut exchange, first) = Exchange::begin(&who, "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(first, b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let challenge = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let last = exchange.answer(challenge).unwrap().unwrap();
        assert_eq!(
            String::from_utf8(last).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        let proof = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
        assert_eq!(exchange.answer(proof), Ok(None));
    }

    #[test]
    fn a_broker_that_does_not_know_the_password_is_refused() {
        let who = who(Mechanism::ScramSha512, "a,b=c", "secret");
        let (mut exchange, first) = Exchange::begin(&who, "nonce".to_owned());
        assert_eq!(first, b"n,,n=a=2Cb=3Dc,r=nonce");
        assert!(
            exchange
                .answer(b"r=nonceother,s=c2FsdA==,i=4096")
                .unwrap()
                .is_some()
        );
        assert!(exchange.answer(b"v=AAAA").is_err());
        for (challenge, why) in [
            ("r=another,s=c2FsdA==,i=4096", "another"),
            ("r=nonce,s=c2FsdA==,i=4096", "another"),
            ("r=nonce1,s=c2FsdA==,i=1", "1 iterations"),
            ("r=nonce1,s=c2FsdA==,i=900000000", "900000000 iterations"),
            ("r=nonce1,s=!,i=4096", "cannot be read"),
            ("e=unknown-user", "unknown-user"),
        ] {
            let (mut exchange, _) = Exchange::begin(&who, "nonce".to_owned());
            let error = exchange.answer(challenge.as_bytes()).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn plain_is_one_message() {
        let (mut exchange, first) =
            Exchange::begin(&who(Mechanism::Plain, "me", "pw"), String::new());
        assert_eq!(first, b"\0me\0pw");
        assert_eq!(exchange.answer(b""), Ok(None));
    }
}
