//! TLS: whom to trust, and what to show.

use std::{path::Path, sync::Arc};

use tokio_rustls::rustls::{
    ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};

use crate::{error::Trouble, settings::Settings};

/// How TLS is spoken. Files are read for each connection: certificates are renewed.
pub(crate) fn config(settings: &Settings) -> Result<Arc<ClientConfig>, Trouble> {
    if let Some(config) = &settings.tls_config {
        return Ok(config.clone());
    }
    let mut roots = RootCertStore::empty();
    match &settings.roots {
        Some(file) => drop(roots.add_parsable_certificates(certificates(file)?)),
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    if roots.is_empty() {
        return Err(Trouble::configuration(
            "there are no root certificates: install the system's, name a file with others, or set the TLS configuration",
        ));
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| Trouble::configuration("ring offers no TLS version"))?
        .with_root_certificates(roots);
    let config = match &settings.certificate {
        None => versions.with_no_client_auth(),
        Some((certificate, key)) => {
            let key = PrivateKeyDer::from_pem_file(key).map_err(|_| unreadable(key, "private key"))?;
            versions.with_client_auth_cert(certificates(certificate)?, key).map_err(|_| {
                Trouble::configuration("the client's certificate and its private key do not belong together")
            })?
        }
    };
    Ok(Arc::new(config))
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Trouble> {
    let read = CertificateDer::pem_file_iter(file).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    read.ok().filter(|all| !all.is_empty()).ok_or_else(|| unreadable(file, "certificate"))
}

fn unreadable(file: &Path, what: &str) -> Trouble {
    Trouble::configuration(format!("{} cannot be read, or holds no {what} in PEM", file.display()))
}
