//! TLS and passwords of the gateway, Kafka, Redis and MongoDB: which keys go together, and whether the files
//! that they name hold what they should.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};

use crate::config::{
    Redis,
    access::{Credentials, Identity, Sasl, Tls},
    files::{mode, read},
    key_kind,
    keys::open_to_others,
    names,
    raw::{Table, one_of},
};

/// What `kafka.sasl` may be, and what librdkafka calls it.
const MECHANISMS: [(&str, &str); 3] = [
    ("scram-sha-512", "SCRAM-SHA-512"),
    ("scram-sha-256", "SCRAM-SHA-256"),
    ("plain", "PLAIN"),
];

/// The TLS of a store whose files are `ca`, `certificate` and `key`.
pub(super) fn tls(table: &Table<'_>, is_on: bool, how: &str) -> Option<Tls> {
    let (ca, certificate, key) = (
        file(table, "ca", certificates),
        file(table, "certificate", certificates),
        file(table, "key", private_key),
    );
    need_each_other(
        table,
        "certificate",
        certificate.is_some(),
        "key",
        key.is_some(),
    );
    let tls = Tls {
        ca,
        identity: certificate
            .zip(key)
            .map(|(certificate, key)| Identity { certificate, key }),
    };
    let identity = tls.identity.is_some();
    only_with(
        table,
        &[("ca", tls.ca.is_some()), ("certificate", identity)],
        is_on,
        how,
    );
    is_on.then_some(tls)
}

/// MongoDB's, whose certificate and key are in one file.
pub(super) fn tls_of_one_file(table: &Table<'_>, is_on: bool, how: &str) -> Option<Tls> {
    let ca = file(table, "ca", certificates);
    let both = |pem: &[u8]| certificates(pem).or_else(|| private_key(pem));
    let identity = file(table, "certificate_key", both).map(|file| Identity {
        certificate: file.clone(),
        key: file,
    });
    let there = [
        ("ca", ca.is_some()),
        ("certificate_key", identity.is_some()),
    ];
    only_with(table, &there, is_on, how);
    is_on.then_some(Tls { ca, identity })
}

/// What the public address proves itself with.
pub(super) fn identity(table: &Table<'_>) -> Option<Identity> {
    let certificate = file(table, "tls_certificate", certificates);
    let key = file(table, "tls_key", private_key);
    let there = [certificate.is_some(), key.is_some()];
    need_each_other(table, "tls_certificate", there[0], "tls_key", there[1]);
    let identity = Identity {
        certificate: certificate?,
        key: key?,
    };
    if reads(table)
        && let [Ok(certificate), Ok(key)] = [&identity.certificate, &identity.key].map(|f| read(f))
        && certificates(&certificate).or(private_key(&key)).is_none()
    {
        match Identity::certified(&certificate, &key) {
            Err(error) => {
                let what = format!("cannot be used together with tls_certificate: {error:#}");
                table.report("tls_key", what);
            }
            Ok(certified) => {
                if let Some(what) = Identity::untimely(&certified) {
                    let spot = table.spot_of("tls_certificate");
                    table
                        .source()
                        .warn(&spot, &format!("the certificate {what}"));
                }
            }
        }
    }
    Some(identity)
}

/// Which of `username` and `password_file` says something without the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Alone {
    /// Neither.
    Neither,
    /// The name: a certificate, or where one comes from, may prove it.
    Username,
    /// The password: it is that of the user whom the store takes who gives no name.
    Password,
}

/// `username` and `password_file`, if there is a password.
pub(super) fn credentials(table: &Table<'_>, alone: Alone) -> Option<Credentials> {
    let secret = "must not stand here; write it into a file that only this process may read, and its path here, \
                  as password_file";
    table.forbid("password", secret);
    let username = text(table, "username");
    let password_file = file(table, "password_file", |_| None);
    let is_alone = match alone {
        Alone::Neither => false,
        Alone::Username => password_file.is_none(),
        Alone::Password => username.is_none(),
    };
    if !is_alone {
        let there = [username.is_some(), password_file.is_some()];
        need_each_other(table, "username", there[0], "password_file", there[1]);
    }
    let credentials = Credentials {
        username,
        password_file: password_file?,
    };
    if reads(table)
        && let Err(error) = credentials.password()
        && credentials.password_file.exists()
    {
        table.report("password_file", format!("the file {error}"));
    }
    Some(credentials)
}

/// `token_file`, which holds a secret as a file of a password does.
pub(super) fn token(table: &Table<'_>) -> Option<PathBuf> {
    let password_file = file(table, "token_file", |_| None)?;
    let token = Credentials {
        username: None,
        password_file: password_file.clone(),
    };
    if reads(table)
        && password_file.exists()
        && let Err(error) = token.password()
    {
        table.report("token_file", format!("the file {error}"));
    }
    Some(password_file)
}

/// `sasl`, with user and password.
pub(super) fn sasl(table: &Table<'_>, brokers: &str, is_tls: bool) -> Option<Sasl> {
    let names = MECHANISMS.map(|(name, _)| name);
    let name = table.text("sasl", "", |name| {
        let known = name.is_empty() || names.contains(&name);
        (!known).then(|| format!("there is no \"{name}\"; {}", one_of(name, &names)))
    });
    let credentials = credentials(table, Alone::Neither);
    if name.is_empty() {
        let how = "sasl, which says how they are told to Kafka: write sasl = \"scram-sha-512\"";
        only_with(table, &[("username", credentials.is_some())], false, how);
        return None;
    }
    if credentials.is_none() {
        let what = "needs username and password_file";
        table.report_absence(&table.spot_of("sasl"), what);
    }
    if name == "plain" && !is_tls && !brokers.split(',').all(is_loopback) {
        table.report(
            "sasl",
            "would send the password readable to everybody on the way; write tls = true, or sasl = \"scram-sha-512\"",
        );
    }
    let (_, mechanism) = MECHANISMS.into_iter().find(|(known, _)| *known == name)?;
    Some(Sasl {
        mechanism: mechanism.to_owned(),
        credentials: credentials?,
    })
}

/// A password that is in two places is in one too many.
pub(super) fn one_password(table: &Table<'_>, key: &'static str, url: &str, is_given: bool) {
    if is_given && names::has_password(url) {
        let what =
            format!("is one password too many: {key} carries one already; leave one of them out");
        table.report_absence(&table.spot_of("password_file"), what);
    }
}

/// Redis is told a password as it is, so that without TLS everybody on the way can read it.
pub(super) fn open_password(table: &Table<'_>, redis: &Redis) {
    let hosts = names::hosts(&redis.url);
    let has_password = redis.credentials.is_some() || names::has_password(&redis.url);
    if has_password && redis.tls.is_none() && !is_loopback(hosts) {
        let what = "sends a password readable to everybody on the way; write rediss://, for TLS";
        table.source().warn(&table.spot_of("url"), what);
    }
}

/// `127.0.0.1:9092`, `[::1]:9092` or `localhost:9092`.
fn is_loopback(host_and_port: &str) -> bool {
    let host_and_port = host_and_port.trim();
    let host = host_and_port
        .rsplit_once(':')
        .map_or(host_and_port, |(host, _)| host);
    let address = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// The gateway's, whose contents are read on their own.
pub(super) fn keys(table: &Table<'_>) -> Option<PathBuf> {
    let path = table.text("keys", "", names::file);
    let path = (!path.is_empty()).then(|| table.source().beside(&path))?;
    if reads(table)
        && let Some(what) = open_to_others(&path)
    {
        table.source().warn(&table.spot_of("keys"), &what);
    }
    Some(path)
}

/// A text that is not empty.
pub(super) fn text(table: &Table<'_>, key: &'static str) -> Option<String> {
    let text = table.text(key, "", |_| None::<&str>);
    Some(text).filter(|text| !text.is_empty())
}

/// The path of a file in which `wrong` finds nothing wrong.
fn file(
    table: &Table<'_>,
    key: &'static str,
    wrong: impl Fn(&[u8]) -> Option<&'static str>,
) -> Option<PathBuf> {
    let path = table.source().beside(&text(table, key)?);
    if reads(table) {
        match read(&path) {
            Err(error) => table.report(key, format!("the file {error}")),
            Ok(bytes) => {
                if let Some(what) = wrong(&bytes) {
                    table.report(key, format!("the file {} {what}", path.display()));
                }
            }
        }
        let is_secret = !matches!(key, "ca" | "certificate" | "tls_certificate");
        if is_secret && is_open_to_all(&path) {
            let (spot, path) = (table.spot_of(key), path.display());
            table.source().warn(
                &spot,
                &format!("the file {path} is readable by everybody; mend it with chmod o-r {path} (in Kubernetes: defaultMode 0440)"),
            );
        }
    }
    Some(path)
}

/// Whether this process reads the table's files: others may not have them.
fn reads(table: &Table<'_>) -> bool {
    table.source().reads(table.name())
}

fn is_open_to_all(path: &Path) -> bool {
    mode(path) & 0o004 != 0
}

fn certificates(pem: &[u8]) -> Option<&'static str> {
    if let Some(what) = key_kind::binary(pem) {
        return Some(what);
    }
    let mut found = CertificateDer::pem_slice_iter(pem).peekable();
    if found.peek().is_none() {
        return Some(
            "has no certificate in it; it must be PEM, with \"-----BEGIN CERTIFICATE-----\"",
        );
    }
    found
        .any(|one| one.is_err())
        .then_some("has a damaged certificate in it")
}

fn private_key(pem: &[u8]) -> Option<&'static str> {
    PrivateKeyDer::from_pem_slice(pem).is_err().then(|| {
        key_kind::not_a_key(pem).unwrap_or(
            "has no private key in it; it must be PEM, not encrypted, with \"-----BEGIN PRIVATE KEY-----\"",
        )
    })
}

pub(super) fn need_each_other(
    table: &Table<'_>,
    one: &str,
    has_one: bool,
    other: &str,
    has_other: bool,
) {
    let (there, missing) = match (has_one, has_other) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        _ => return,
    };
    table.report_absence(&table.spot_of(there), format!("needs {missing} beside it"));
}

/// Reports those of `keys` that are there, if what they serve is off.
fn only_with(table: &Table<'_>, keys: &[(&str, bool)], is_on: bool, how: &str) {
    for (key, _) in keys.iter().filter(|(_, is_there)| *is_there && !is_on) {
        table.report_absence(&table.spot_of(key), format!("does nothing without {how}"));
    }
}
