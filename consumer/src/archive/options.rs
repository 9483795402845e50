//! How MongoDB is reached: the connection string, and TLS and a user that are declared beside it.

use aguacero::config::Mongodb;
use mongodb::{
    error::Error,
    options::{ClientOptions, Credential, Tls, TlsOptions},
};

/// What a client is made with. The driver keeps the password and the certificates that the files have now:
/// others are used when the process is started again.
pub async fn client_options(mongodb: &Mongodb) -> Result<ClientOptions, Error> {
    let mut options = ClientOptions::parse(&mongodb.uri).await?;
    if let Some(tls) = &mongodb.tls {
        let mut files = TlsOptions::default();
        files.ca_file_path.clone_from(&tls.ca);
        files.cert_key_file_path = tls.identity.as_ref().map(|i| i.certificate.clone());
        options.tls = Some(Tls::Enabled(files));
    }
    if let Some(credentials) = &mongodb.credentials {
        let password = credentials
            .password()
            .map_err(|error| Error::custom(format!("the file {error}")))?;
        let mut credential = Credential::default();
        credential.username.clone_from(&credentials.username);
        credential.password = Some(password.expose().to_owned());
        credential.source = Some(mongodb.auth_source.clone());
        options.credential = Some(credential);
    }
    Ok(options)
}
