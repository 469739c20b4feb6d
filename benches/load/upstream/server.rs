//! The program that stands in for all of Synapse's processes, on one thread: each has a port of its own.
//!
//! It is told what to do over one more port, a line at a time: `held` and `served` ask for counts, `release` answers the
//! long-polls that are held, `delay PROCESS MILLISECONDS` makes a process slow, `close PROCESS` ends one with all of its
//! connections, and `open PROCESS` brings it back. It ends when its standard input does.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, Read};
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::answers::{Answers, Shape, shape};

/// The most headers of a request.
const HEADERS_MAX: usize = 64;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;

/// One process of Synapse's.
struct Process {
    answers: Answers,
    port: u16,
    delay: Cell<Duration>,
    is_open: watch::Sender<bool>,
}

/// What all connections share.
struct Stage {
    processes: HashMap<String, Rc<Process>>,
    held: Cell<usize>,
    served: Cell<u64>,
    releases: watch::Sender<u64>,
}

/// Where a request ends, and what it asks for.
struct Request {
    head_bytes: usize,
    body_bytes: u64,
    shape: Shape,
}

/// Serves processes of these names until the standard input ends. Writes a line with their ports first, and behind them
/// the one that it takes orders at.
pub(crate) fn serve(names: &[String]) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let mut processes = HashMap::new();
        let mut ports = Vec::new();
        for name in names {
            let listener = TcpListener::bind("127.0.0.1:0").await?;
            let port = listener.local_addr()?.port();
            ports.push(port.to_string());
            let (answers, is_open) = (Answers::of(name), watch::Sender::new(true));
            let process = Process { answers, port, delay: Cell::default(), is_open };
            processes.insert(name.clone(), (Rc::new(process), listener));
        }
        let orders = TcpListener::bind("127.0.0.1:0").await?;
        ports.push(orders.local_addr()?.port().to_string());
        let known = processes.iter().map(|(name, (process, _))| (name.clone(), Rc::clone(process)));
        let (held, served, releases) = (Cell::new(0), Cell::new(0), watch::Sender::new(0));
        let stage = Rc::new(Stage { processes: known.collect(), held, served, releases });
        for (process, listener) in processes.into_values() {
            tokio::task::spawn_local(accept(Rc::clone(&stage), process, listener));
        }
        tokio::task::spawn_local(obey(Rc::clone(&stage), orders));
        println!("{}", ports.join(" "));
        // Whoever started it holds the other end, and with it this program's life.
        let end = tokio::task::spawn_blocking(|| io::stdin().read_to_end(&mut Vec::new()));
        end.await.map_err(io::Error::other)?.map(|_| ())
    })
}

async fn accept(stage: Rc<Stage>, process: Rc<Process>, listener: TcpListener) {
    let mut listener = Some(listener);
    let mut is_open = process.is_open.subscribe();
    loop {
        let Some(open) = &listener else {
            if is_open.wait_for(|is_open| *is_open).await.is_err() {
                return;
            }
            listener = TcpListener::bind(("127.0.0.1", process.port)).await.ok();
            continue;
        };
        tokio::select! {
            accepted = open.accept() => if let Ok((stream, _)) = accepted {
                let (stage, process) = (Rc::clone(&stage), Rc::clone(&process));
                tokio::task::spawn_local(async move {
                    let mut is_open = process.is_open.subscribe();
                    tokio::select! {
                        _ = converse(&stage, &process, stream) => {}
                        _ = is_open.wait_for(|is_open| !*is_open) => {}
                    }
                });
            },
            _ = is_open.wait_for(|is_open| !*is_open) => listener = None,
        }
    }
}

/// Answers one request after the other.
async fn converse(stage: &Stage, process: &Process, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut arrived = Vec::with_capacity(2_048);
    let mut answer = Vec::new();
    loop {
        let request = loop {
            if let Some(request) = parse(&arrived)? {
                break request;
            }
            if stream.read_buf(&mut arrived).await? == 0 {
                return Ok(());
            }
        };
        discard_body(&mut stream, &mut arrived, &request).await?;
        stage.served.set(stage.served.get() + u64::from(request.shape != Shape::Health));
        if !process.delay.get().is_zero() && request.shape != Shape::Health {
            tokio::time::sleep(process.delay.get()).await;
        }
        if let Shape::Held(_) = request.shape {
            wait_for_release(stage, &mut stream).await?;
        }
        answer.clear();
        process.answers.bytes(request.shape, &mut answer);
        stream.write_all(&answer).await?;
        if let Shape::Media(mut left) = request.shape {
            let piece = &process.answers.piece;
            while left > 0 {
                let part = piece.len().min(usize::try_from(left).unwrap_or(piece.len()));
                stream.write_all(&piece[..part]).await?;
                left -= part as u64;
            }
        }
    }
}

async fn wait_for_release(stage: &Stage, stream: &mut TcpStream) -> io::Result<()> {
    let mut releases = stage.releases.subscribe();
    stage.held.set(stage.held.get() + 1);
    let mut byte = [0];
    let result = tokio::select! {
        _ = releases.changed() => Ok(()),
        _ = stream.peek(&mut byte) => Err(io::ErrorKind::ConnectionAborted.into()),
    };
    stage.held.set(stage.held.get() - 1);
    result
}

/// The request at the beginning of what has arrived, if its head is whole.
fn parse(arrived: &[u8]) -> io::Result<Option<Request>> {
    if arrived.is_empty() {
        return Ok(None);
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(arrived).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let httparse::Status::Complete(head_bytes) = parsed else { return Ok(None) };
    let length = request.headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-length"));
    let length = length.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    let shape = shape(request.method.unwrap_or_default(), request.path.unwrap_or_default());
    Ok(Some(Request { head_bytes, body_bytes: length.unwrap_or_default(), shape }))
}

/// Takes a request off what has arrived, and waits for the rest of its body.
async fn discard_body(stream: &mut TcpStream, arrived: &mut Vec<u8>, request: &Request) -> io::Result<()> {
    let whole = request.head_bytes as u64 + request.body_bytes;
    let here = arrived.len().min(usize::try_from(whole).unwrap_or(usize::MAX));
    arrived.drain(..here);
    let mut left = whole - here as u64;
    let mut room = if left > 0 { vec![0; READ_BYTES] } else { Vec::new() };
    while left > 0 {
        let part = room.len().min(usize::try_from(left).unwrap_or(room.len()));
        match stream.read(&mut room[..part]).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => left -= count as u64,
        }
    }
    Ok(())
}

async fn obey(stage: Rc<Stage>, orders: TcpListener) {
    while let Ok((stream, _)) = orders.accept().await {
        let stage = Rc::clone(&stage);
        tokio::task::spawn_local(async move {
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while matches!(stream.read_line(&mut line).await, Ok(1..)) {
                let answer = stage.order(line.trim());
                if stream.write_all(format!("{answer}\n").as_bytes()).await.is_err() {
                    return;
                }
                line.clear();
            }
        });
    }
}

impl Stage {
    fn order(&self, line: &str) -> String {
        let words: Vec<&str> = line.split(' ').collect();
        match *words {
            ["held"] => return self.held.get().to_string(),
            ["served"] => return self.served.get().to_string(),
            ["release"] => self.releases.send_modify(|count| *count += 1),
            ["delay", name, milliseconds] => {
                let (Some(process), Ok(delay)) = (self.processes.get(name), milliseconds.parse()) else {
                    return "unknown".to_owned();
                };
                process.delay.set(Duration::from_millis(delay));
            }
            ["close" | "open", name] => match self.processes.get(name) {
                Some(process) => drop(process.is_open.send_replace(words[0] == "open")),
                None => return "unknown".to_owned(),
            },
            _ => return "unknown".to_owned(),
        }
        "done".to_owned()
    }
}
