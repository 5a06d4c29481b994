//! nginx, started by a test as the caller on a free port of this machine.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::scenario::is_root;

const PROGRAM: &str = "/usr/sbin/nginx";

/// A server for the files below a directory. It ends when the value is dropped.
pub(crate) struct Nginx {
    process: Child,
    place: PathBuf,
    port: u16,
    is_secure: bool,
}

impl Nginx {
    /// Starts a server for `files`; its own files are in `place`. `extra` is additional configuration, and with a
    /// certificate and a key the server speaks HTTPS. Returns `None`, and prints a line, if nginx is missing.
    pub(crate) fn serving(
        test: &str,
        (files, place): (&Path, &Path),
        extra: &str,
        certificate: Option<&Certificate>,
    ) -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            crate::missing("nginx", test);
            return None;
        }
        fs::create_dir_all(place).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let tls = certificate.map(|certificate| {
            let (chain, key) = (certificate.of_server.display(), certificate.key.display());
            format!("ssl_certificate {chain}; ssl_certificate_key {key};")
        });
        let user = if is_root() { "user root;" } else { "" };
        let at = place.display();
        let configuration = format!(
            "{user} worker_processes 1; daemon off; pid {at}/pid; error_log {at}/errors;\n\
             events {{ worker_connections 64; }}\n\
             http {{\n\
             log_format asked '$request_method $uri $status [$http_range] $body_bytes_sent';\n\
             access_log {at}/log asked; client_body_temp_path {at}/t1; proxy_temp_path {at}/t2;\n\
             fastcgi_temp_path {at}/t3; uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n\
             server {{ listen 127.0.0.1:{port}{}; root {}; {} {extra} }}\n}}\n",
            if tls.is_some() { " ssl" } else { "" },
            files.display(),
            tls.as_deref().unwrap_or_default(),
        );
        let file = place.join("nginx.conf");
        fs::write(&file, configuration).unwrap();
        let process = Command::new(PROGRAM)
            .arg("-p")
            .arg(place)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self { process, place: place.to_owned(), port, is_secure: tls.is_some() };
        server.wait_until_it_listens();
        Some(server)
    }

    fn wait_until_it_listens(&self) {
        for _ in 0..200 {
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        panic!(
            "nginx does not listen: {}",
            fs::read_to_string(self.place.join("errors")).unwrap_or_default()
        );
    }

    /// The address of a path.
    pub(crate) fn address(&self, path: &str) -> String {
        let (scheme, host) = if self.is_secure { ("https", "localhost") } else { ("http", "127.0.0.1") };
        format!("{scheme}://{host}:{}/{path}", self.port)
    }

    /// The requests, a line each: method, path, status, range, bytes sent.
    pub(crate) fn log(&self) -> Vec<String> {
        // nginx logs a request at the end of its answer, which may be a moment after the end of the client.
        thread::sleep(Duration::from_millis(200));
        let text = fs::read_to_string(self.place.join("log")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let id = rustix::process::Pid::from_child(&self.process);
        // On SIGTERM it also ends its worker, which a kill would leave running.
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.process.wait();
    }
}

/// A certificate authority made for a test, and the certificate of a server on this machine.
pub(crate) struct Certificate {
    pub(crate) of_authority: PathBuf,
    of_server: PathBuf,
    key: PathBuf,
}

impl Certificate {
    /// Makes both with openssl(1). Returns `None`, and prints a line, if it is missing.
    pub(crate) fn made(test: &str, place: &Path) -> Option<Self> {
        fs::create_dir_all(place).unwrap();
        let openssl = |words: &str| {
            let run = Command::new("openssl").args(words.split(' ')).current_dir(place).output();
            run.map(|run| assert!(run.status.success(), "{words}: {}", String::from_utf8_lossy(&run.stderr)))
        };
        fs::write(place.join("extensions"), "subjectAltName=DNS:localhost,IP:127.0.0.1\n").unwrap();
        let curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        let steps = [
            format!("req -x509 {curve} -keyout ca.key -out ca.pem -subj /CN=authority -days 3650"),
            format!("req {curve} -keyout server.key -out server.csr -subj /CN=localhost"),
            "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -days 3650 \
             -extfile extensions"
                .to_owned(),
        ];
        for step in steps {
            if openssl(&step).is_err() {
                crate::missing("openssl", test);
                return None;
            }
        }
        let at = |name| place.join(name);
        Some(Self { of_authority: at("ca.pem"), of_server: at("server.pem"), key: at("server.key") })
    }
}
