//! TLS on the public address, with a certificate that is read again when its files change.

use std::{
    fs,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
};

use aguacero::config::Identity;
use anyhow::{Context as _, anyhow};
use rustls::{
    ServerConfig,
    crypto::ring,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

use crate::{file_watch, metric};

/// What a client may agree on, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What every worker accepts with.
pub(crate) struct Tls {
    files: Identity,
    current: Arc<Current>,
    /// As the files were when `current` was made of them.
    read: Found,
    acceptor: TlsAcceptor,
}

/// The certificate of handshakes that begin now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

/// Certificate and key as their files have them, or why they cannot be read.
type Found = Result<[Vec<u8>; 2], String>;

impl Current {
    fn set(&self, certified: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(
            &self.0.read().unwrap_or_else(PoisonError::into_inner),
        ))
    }
}

impl Tls {
    /// Reads both files. TLS 1.2 and 1.3; no data before the handshake is over, which could be repeated.
    pub(crate) fn load(files: &Identity) -> anyhow::Result<Self> {
        let read = read(files);
        let first = certified(&read).context("gateway.tls_certificate and gateway.tls_key")?;
        metric::certificate(Identity::expires(&first));
        let current = Arc::new(Current(RwLock::new(Arc::new(first))));
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
        Ok(Self {
            files: files.clone(),
            current,
            read,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Takes a new certificate into use when the files change, until it is dropped. Files that cannot be used
    /// leave the one before in force.
    pub(crate) async fn watch_files(self) {
        let look = || read(&self.files);
        let take = |found: &Found| match certified(found) {
            Ok(certified) => {
                metric::certificate(Identity::expires(&certified));
                metric::certificate_refused(false);
                match Identity::untimely(&certified) {
                    None => tracing::info!("the certificate of gateway.tls_certificate changed"),
                    Some(what) => {
                        tracing::warn!("the new certificate of gateway.tls_certificate {what}")
                    }
                }
                self.current.set(certified);
            }
            Err(error) => {
                metric::certificate_refused(true);
                let error = format!("{error:#}");
                tracing::error!(error, "the certificate stays as it was");
            }
        };
        file_watch::watch(Some(self.read.clone()), look, take).await;
    }
}

fn read(files: &Identity) -> Found {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()))
    };
    Ok([read(&files.certificate)?, read(&files.key)?])
}

fn certified(found: &Found) -> anyhow::Result<CertifiedKey> {
    let [certificate, key] = found.as_ref().map_err(|why| anyhow!("{why}"))?;
    Identity::certified(certificate, key)
}
