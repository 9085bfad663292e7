//! A function: any program that serves HTTP on the port in `PORT`. This one is what the tests of child processes run.
//!
//! | route | answer |
//! |---|---|
//! | `/_/health` | 200 |
//! | `/echo` | the body, with the process's number in `x-pid` |
//! | `/wait/MS` | the same, after so many milliseconds |
//! | `/env/NAME` | the environment variable |
//! | `/say/TEXT` | writes the text to its output |
//! | `/exit/CODE` | none: ends at once |
//! | `/hang` | none, and to nothing that comes later: it stops itself |
//! | `/leak/MIB` | takes so much memory and keeps it |
//! | `/child` | starts a process that sleeps, and answers its number |
//!
//! With `OFFRAMP_TEST_EXIT` in its environment it ends as soon as it starts.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::Duration;

fn main() {
    if let Ok(code) = std::env::var("OFFRAMP_TEST_EXIT") {
        eprintln!("this one is broken");
        std::process::exit(code.parse().expect("a number"));
    }
    let port: u16 = std::env::var("PORT").expect("PORT is set").parse().expect("a port");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("the port is free");
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || serve(stream));
    }
}

fn serve(stream: TcpStream) {
    let mut reader = BufReader::new(stream.try_clone().expect("a socket"));
    let mut stream = stream;
    let mut kept = Vec::new();
    while let Some((path, body)) = request(&mut reader) {
        let mut parts = path.trim_start_matches('/').splitn(2, '/');
        let (route, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        let number = || rest.parse::<u64>().expect("a number");
        let answer = match route {
            "wait" => {
                std::thread::park_timeout(Duration::from_millis(number()));
                body
            }
            "env" => std::env::var(rest).unwrap_or_default().into_bytes(),
            "say" => {
                writeln!(std::io::stdout(), "{rest}").expect("somebody reads");
                body
            }
            "exit" => std::process::exit(number() as i32),
            "hang" => hang(),
            "leak" => {
                // Written to, page by page, so that it is there.
                kept.push(vec![1_u8; (number() as usize) << 20]);
                kept.len().to_string().into_bytes()
            }
            "child" => {
                let child = std::process::Command::new("sleep").arg("1000").spawn();
                child.expect("there is sleep").id().to_string().into_bytes()
            }
            _ => body,
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nx-pid: {}\r\n\r\n",
            answer.len(),
            std::process::id()
        );
        if stream.write_all(&[head.as_bytes(), &answer].concat()).is_err() {
            return;
        }
    }
}

fn request(reader: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let header = line.trim().to_ascii_lowercase();
        if header.is_empty() {
            break;
        }
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((path, body))
}

/// Has the whole process do nothing any more, as one does that waits for itself.
fn hang() -> ! {
    let own = std::process::id().to_string();
    let _ = std::process::Command::new("kill").args(["-STOP", &own]).status();
    loop {
        std::thread::park();
    }
}
