//! A minimal web server for one directory, as depots and curl need it. It can wait before each answer.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _, copy};
use std::net::{TcpListener, TcpStream};
use std::path::{Component, Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};

/// Serves the files of a directory as long as the benchmark runs, and returns the address.
pub(super) fn serve(directory: &Path, latency: Duration) -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("a port for the server")?;
    let address = format!("http://{}/", listener.local_addr()?);
    let directory = directory.to_owned();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let directory = directory.clone();
            // Errors are ignored: the client notices a broken connection itself.
            thread::spawn(move || drop(answer(&stream, &directory, latency)));
        }
    });
    Ok(address)
}

/// Answers the requests of a connection until the client hangs up.
fn answer(mut stream: &TcpStream, directory: &Path, latency: Duration) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut lines = BufReader::new(stream).lines();
    while let Some(first) = lines.next().transpose()? {
        while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
        thread::sleep(latency);
        let Some(file) = requested(&first, directory).and_then(|path| File::open(path).ok()) else {
            write!(stream, "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")?;
            continue;
        };
        let size = file.metadata()?.len();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n")?;
        copy(&mut file.take(size), &mut stream)?;
    }
    Ok(())
}

/// Returns the file that the first line of a request names.
fn requested(line: &str, directory: &Path) -> Option<PathBuf> {
    let path = Path::new(line.strip_prefix("GET /")?.split(' ').next()?);
    let is_inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    let path = directory.join(path);
    (is_inside && path.is_file()).then_some(path)
}
