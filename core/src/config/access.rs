//! How a process proves itself to Kafka, Redis and MongoDB, and how it makes sure of them.
//!
//! Secrets are in files: what is passed around, committed and printed are only their paths. A file is read
//! when a client is made of it, so that a password that was changed needs no other configuration.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, anyhow, ensure};
use rustls::{
    CertificateError, ClientConfig, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, UnixTime, pem::PemObject as _},
    server::ParsedCertificate,
    sign::{CertifiedKey, SingleCertAndKey},
};

use super::{
    files::{AccessError, read},
    key_kind,
    time::text_of,
};

/// The last second of the year 9999, which RFC 5280, section 4.1.2.5, means by "never".
const END_OF_TIME: Duration = Duration::from_secs(253_402_300_799);

/// Whom to trust, and who we are, in TLS. The other side's certificate and the name in it are always checked.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// PEM file of the authorities that are trusted, and no others; `None`: those that the client's library trusts.
    pub ca: Option<PathBuf>,
    /// Our own certificate, where the other side asks for one.
    pub identity: Option<Identity>,
}

/// A certificate of our own, in PEM files.
#[derive(Debug, Clone)]
pub struct Identity {
    /// The certificate, and those between it and its authority.
    pub certificate: PathBuf,
    /// Its private key, unencrypted; may be the same file.
    pub key: PathBuf,
}

impl Tls {
    /// What rustls is told, of the files as they are now. Without `ca`, the authorities of the system are trusted.
    pub fn client_config(&self) -> anyhow::Result<ClientConfig> {
        let mut trusted = RootCertStore::empty();
        match &self.ca {
            Some(file) => {
                let what = || format!("ca: {}", file.display());
                for certificate in CertificateDer::pem_file_iter(file).with_context(what)? {
                    trusted
                        .add(certificate.with_context(what)?)
                        .with_context(what)?;
                }
            }
            None => {
                let system = rustls_native_certs::load_native_certs();
                trusted.add_parsable_certificates(system.certs);
            }
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted);
        let Some(own) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let read = |file| fs::read(file).with_context(|| format!("{}", own.certificate.display()));
        let certified = Identity::certified(&read(&own.certificate)?, &read(&own.key)?)?;
        Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
    }
}

impl Identity {
    /// A certificate with those between it and its authority, and its private key, of what the two files hold.
    /// What is wrong with them is told without anything of what they hold: it may be a key.
    pub fn certified(certificate: &[u8], key: &[u8]) -> anyhow::Result<CertifiedKey> {
        let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<_, _>>();
        let chain: Vec<_> = chain.map_err(|_| anyhow!("the certificate is not PEM"))?;
        ensure!(!chain.is_empty(), "there is no certificate");
        let key = PrivateKeyDer::from_pem_slice(key);
        let key = key.map_err(|_| anyhow!("there is no private key"))?;
        let provider = ring::default_provider();
        if provider
            .key_provider
            .load_private_key(key.clone_key())
            .is_err()
        {
            return Err(anyhow!(key_kind::unsupported(&key)));
        }
        CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => anyhow!("they do not belong together"),
            other => anyhow!("the certificate cannot be used: {other}"),
        })
    }

    /// When the certificate expires; `None`: never.
    #[must_use]
    pub fn expires(certified: &CertifiedKey) -> Option<SystemTime> {
        match judged(certified, UnixTime::since_unix_epoch(END_OF_TIME))? {
            CertificateError::ExpiredContext { not_after, .. } => Some(system_time(not_after)),
            _ => None,
        }
    }

    /// Why no client accepts the certificate now, as far as that is a matter of time.
    #[must_use]
    pub fn untimely(certified: &CertifiedKey) -> Option<String> {
        match judged(certified, UnixTime::now())? {
            CertificateError::ExpiredContext { not_after, .. } => {
                let day = text_of(system_time(not_after));
                Some(format!("expired at {day}: clients refuse it"))
            }
            CertificateError::NotValidYetContext { not_before, .. } => {
                let day = text_of(system_time(not_before));
                Some(format!("is not valid before {day}: clients refuse it"))
            }
            _ => None,
        }
    }
}

/// What a client would have against the certificate at that time: without any authority that it trusts, at least
/// that. Time is looked at first.
fn judged(certified: &CertifiedKey, at: UnixTime) -> Option<CertificateError> {
    let own = ParsedCertificate::try_from(certified.cert.first()?).ok()?;
    let nobody = RootCertStore::empty();
    match verify_server_cert_signed_by_trust_anchor(&own, &nobody, &[], at, &[]) {
        Err(rustls::Error::InvalidCertificate(why)) => Some(why),
        _ => None,
    }
}

fn system_time(time: UnixTime) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(time.as_secs())
}

/// A user, and where the password is.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// `None`: Redis' default user.
    pub username: Option<String>,
    /// Holds the password and perhaps one newline behind it.
    pub password_file: PathBuf,
}

/// SASL, with which Kafka asks for user and password.
#[derive(Debug, Clone)]
pub struct Sasl {
    /// As librdkafka calls it: `SCRAM-SHA-512`.
    pub mechanism: String,
    /// Who we are.
    pub credentials: Credentials,
}

/// What nobody gets to see: neither `Debug` nor `Display` shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Credentials {
    /// The password as the file has it now.
    pub fn password(&self) -> Result<Password, AccessError> {
        let wrong = |what: &str| AccessError {
            file: self.password_file.clone(),
            what: what.to_owned(),
        };
        let bytes = read(&self.password_file)?;
        let text = String::from_utf8(bytes).map_err(|_| wrong("is not text in UTF-8"))?;
        let text = text.strip_suffix('\n').unwrap_or(&text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        if text.is_empty() {
            return Err(wrong("is empty; write the password into it"));
        }
        if text.contains(['\n', '\r', '\0']) {
            return Err(wrong(
                "has more than one line; write the password alone into it",
            ));
        }
        Ok(Password(text.to_owned()))
    }
}

impl Password {
    /// To be handed to a library, and to nothing that prints.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

/// `url` with dots in the place of what may be a password.
pub(super) fn without_password(url: &str) -> String {
    let Some((before, hosts)) = url.rsplit_once('@') else {
        return url.to_owned();
    };
    let scheme = before.split_once("://").map_or("", |(scheme, _)| scheme);
    format!("{scheme}://…@{hosts}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credentials(text: &str) -> (tempfile::TempDir, Credentials) {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let password_file = folder.path().join("password");
        fs::write(&password_file, text).expect("a file in our own folder");
        let credentials = Credentials {
            username: None,
            password_file,
        };
        (folder, credentials)
    }

    #[test]
    fn one_newline_behind_a_password_is_cut_and_no_more() {
        for (text, password) in [
            ("open sesame", "open sesame"),
            ("open sesame\n", "open sesame"),
            ("open sesame\r\n", "open sesame"),
            (" ñ \n", " ñ "),
        ] {
            let (_folder, credentials) = credentials(text);
            assert_eq!(credentials.password().expect("valid").expose(), password);
        }
        for text in ["", "\n", "open\nsesame", "open sesame\n\n"] {
            let (_folder, credentials) = credentials(text);
            credentials.password().expect_err(text);
        }
    }

    #[test]
    fn a_password_is_read_again_each_time() {
        let (_folder, credentials) = credentials("old");
        fs::write(&credentials.password_file, "new").expect("our own file");
        assert_eq!(credentials.password().expect("valid").expose(), "new");
    }

    #[test]
    fn what_is_wrong_with_a_key_is_told_without_the_key() {
        let secret = b"-----BEGIN PRIVATE KEY-----sesame-----END PRIVATE KEY-----\n";
        let open = &secret[..33];
        let certificate = b"-----BEGIN CERTIFICATE-----\nMA==\n-----END CERTIFICATE-----\n";
        for (certificate, key) in [
            (&certificate[..], &secret[..]),
            (certificate, open),
            (secret, secret),
            (open, open),
        ] {
            let error = Identity::certified(certificate, key).expect_err("it is no key");
            let told = format!("{error:?} {error:#}");
            let as_numbers = "115, 101, 115, 97, 109, 101"; // as a list of bytes is printed
            assert!(
                !told.contains("sesame") && !told.contains(as_numbers),
                "{told}"
            );
        }
    }

    #[test]
    fn a_password_is_not_printed() {
        let password = Password("sesame".to_owned());
        assert_eq!(format!("{password:?}"), "Password(…)");
        for url in [
            "redis://:sesame@h:1/0",
            "mongodb://me:ses@me@a:1,b:2/?tls=true",
            "mongodb://me:s/sesame@a:1",
        ] {
            let shown = without_password(url);
            assert!(!shown.contains("ses"), "{shown}");
        }
        assert_eq!(without_password("redis://h:1/0"), "redis://h:1/0");
        assert_eq!(without_password("redis://:p@h:1/0"), "redis://…@h:1/0");
    }
}
