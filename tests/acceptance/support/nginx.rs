//! A real nginx with the configuration of the guide.

use std::{
    net::TcpStream,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

use super::{Certificate, PATIENCE, found, free, root};

/// The file that docs/behind-nginx.md shows and explains.
const SITE: &str = "docs/deploy/nginx.conf";

/// An nginx of the test's own, killed when dropped.
pub(crate) struct Nginx {
    child: Child,
    folder: TempDir,
    /// Where it listens with TLS: `127.0.0.1:PORT`.
    pub(crate) address: String,
    /// Where it listens without, and sends clients to TLS.
    pub(crate) plain_address: String,
    pub(crate) certificate: Certificate,
}

impl Nginx {
    /// In front of two servers. Nothing, and a loud word, where there is no nginx.
    pub(crate) fn start(upstreams: [&str; 2]) -> Option<Self> {
        Self::start_with(upstreams, &[])
    }

    /// The same with more of the site's text replaced, each as `(this, by that)`.
    pub(crate) fn start_with(upstreams: [&str; 2], changes: &[(&str, &str)]) -> Option<Self> {
        let nginx = found("nginx")?;
        // Between the choice of a port and its use somebody else may take it.
        let started = (0..3).find_map(|_| {
            let mut started = Self::spawn(&nginx, upstreams, changes);
            started.listens().then_some(started)
        });
        Some(started.expect("nginx ends at once"))
    }

    fn spawn(nginx: &Path, upstreams: [&str; 2], changes: &[(&str, &str)]) -> Self {
        let certificate = Certificate::new();
        let folder = tempfile::tempdir().unwrap();
        let (address, plain_address) = (free(), free());

        let mut site = std::fs::read_to_string(root(SITE)).unwrap();
        let log = folder.path().join("access.log");
        let needed = [
            ("127.0.0.1:3001", upstreams[0]),
            ("127.0.0.1:3002", upstreams[1]),
            ("listen 80;", &format!("listen {plain_address};")),
            ("listen 443 ", &format!("listen {address} ")),
            ("/etc/ssl/app.example/fullchain.pem", &certificate.chain()),
            ("/etc/ssl/app.example/privkey.pem", &certificate.key()),
            ("/var/log/nginx/fanfare.log", log.to_str().unwrap()),
        ];
        for (from, to) in needed.iter().chain(changes) {
            assert!(site.contains(from), "{SITE} has no {from:?}");
            site = site.replace(from, to);
        }
        std::fs::write(folder.path().join("site.conf"), site).unwrap();
        std::fs::write(folder.path().join("nginx.conf"), main_file(folder.path())).unwrap();

        let child = Command::new(nginx)
            .arg("-p")
            .arg(folder.path())
            .arg("-c")
            .arg(folder.path().join("nginx.conf"))
            .args(["-e", "stderr"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, folder, address, plain_address, certificate }
    }

    /// Waits until it does; false if it has ended.
    fn listens(&mut self) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(&self.address).is_err() {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            assert!(Instant::now() < deadline, "nginx does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// The access log, once it has so many lines.
    pub(crate) async fn log_of(&self, lines: usize) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let log = std::fs::read_to_string(self.folder.path().join("access.log")).unwrap_or_default();
            if log.lines().count() >= lines {
                return log;
            }
            assert!(Instant::now() < deadline, "the log has fewer than {lines} lines: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// What Debian's nginx.conf is to the site: processes, and a place for everything inside of the folder.
fn main_file(folder: &Path) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
        master_process on;
        worker_processes 2;
        pid {folder}/pid;
        error_log stderr warn;
        events {{ worker_connections 1000; }}
        http {{
            client_body_temp_path {folder}/body;
            proxy_temp_path {folder}/proxy;
            fastcgi_temp_path {folder}/fastcgi;
            uwsgi_temp_path {folder}/uwsgi;
            scgi_temp_path {folder}/scgi;
            access_log off;
            gzip on;
            gzip_types text/event-stream application/json;
            include site.conf;
        }}"
    )
}

impl Drop for Nginx {
    /// Its master ends the workers.
    fn drop(&mut self) {
        use rustix::process::{Pid, Signal, kill_process};
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let _ = self.child.wait();
    }
}
