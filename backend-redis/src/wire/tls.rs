//! TLS without settings of its own: the system's root certificates.

use std::sync::Arc;

use tokio_rustls::rustls::{ClientConfig, RootCertStore, crypto::ring};

use crate::error::Trouble;

pub(crate) fn system_roots() -> Result<ClientConfig, Trouble> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Trouble::configuration(
            "this system has no root certificates: install them, or set the TLS configuration",
        ));
    }
    let versions = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|_| Trouble::configuration("ring offers no TLS version"))?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}
