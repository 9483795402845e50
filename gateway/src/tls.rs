//! TLS on the public address, with a certificate that is read again when its files change.

use std::{
    fs,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use aguacero::config::Identity;
use anyhow::{Context as _, ensure};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
    version::{TLS12, TLS13},
};
use tokio_rustls::TlsAcceptor;

/// Between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);

/// What a client may agree on, the better first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// What every worker accepts with.
pub(crate) struct Tls {
    files: Identity,
    provider: Arc<CryptoProvider>,
    current: Arc<Current>,
    /// As the files were when `current` was made of them.
    read: Contents,
    acceptor: TlsAcceptor,
}

/// The certificate of handshakes that begin now.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

/// Of the two files.
#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
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
        let provider = Arc::new(ring::default_provider());
        let read = Contents::of(files)?;
        let certified = read.certified(files, &provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(certified))));
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&current) as _);
        config.alpn_protocols = PROTOCOLS.map(Vec::from).into();
        Ok(Self {
            files: files.clone(),
            provider,
            current,
            read,
            acceptor: TlsAcceptor::from(Arc::new(config)),
        })
    }

    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// Takes a new certificate into use when the files change, until it is dropped. Files that cannot be used
    /// leave the one before in force; only when they are the same a look later is it told, since the two are
    /// hardly written at the same moment.
    pub(crate) async fn follow(mut self) {
        let mut refused: Option<(Option<Contents>, bool)> = None;
        loop {
            tokio::time::sleep(LOOK).await;
            let read = Contents::of(&self.files);
            if read.as_ref().is_ok_and(|read| *read == self.read) {
                refused = None;
                continue;
            }
            let certified = read
                .as_ref()
                .map_err(|error| anyhow::anyhow!("{error:#}"))
                .and_then(|read| read.certified(&self.files, &self.provider));
            match (certified, read.ok()) {
                (Ok(certified), Some(read)) => {
                    *self
                        .current
                        .0
                        .write()
                        .unwrap_or_else(PoisonError::into_inner) = Arc::new(certified);
                    self.read = read;
                    refused = None;
                    tracing::info!("the certificate of gateway.tls_certificate changed");
                }
                (Err(error), read) => {
                    let (is_old, was_told) = match &refused {
                        Some((before, told)) => (*before == read, *told),
                        None => (false, false),
                    };
                    if is_old && !was_told {
                        tracing::error!(
                            error = format!("{error:#}"),
                            "the certificate stays as it was"
                        );
                    }
                    refused = Some((read, is_old));
                }
                (Ok(_), None) => {}
            }
        }
    }
}

impl Contents {
    fn of(files: &Identity) -> anyhow::Result<Self> {
        let read = |path: &Path, key: &str| {
            fs::read(path).with_context(|| format!("cannot read {} ({key})", path.display()))
        };
        Ok(Self {
            certificate: read(&files.certificate, "gateway.tls_certificate")?,
            key: read(&files.key, "gateway.tls_key")?,
        })
    }

    fn certified(
        &self,
        files: &Identity,
        provider: &CryptoProvider,
    ) -> anyhow::Result<CertifiedKey> {
        let (certificate, key) = (files.certificate.display(), files.key.display());
        let chain =
            CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<Vec<_>, _>>();
        let chain =
            chain.with_context(|| format!("{certificate} (gateway.tls_certificate) is not PEM"))?;
        ensure!(
            !chain.is_empty(),
            "{certificate} (gateway.tls_certificate) has no certificate in it"
        );
        let private = PrivateKeyDer::from_pem_slice(&self.key)
            .with_context(|| format!("{key} (gateway.tls_key) has no private key in it"))?;
        CertifiedKey::from_der(chain, private, provider)
            .with_context(|| format!("{certificate} and {key} do not belong together"))
    }
}
