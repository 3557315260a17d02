//! Real servers: started, restarted, killed, paused, and gone afterwards.
#![allow(clippy::unwrap_used)] // A failed unwrap is a failed test.

use std::{
    io::{Read, Write},
    net::TcpStream,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use fanfare_testkit::server::{Program, Server, ServerConfig, free_port};

const PATIENCE: Duration = Duration::from_secs(30);

/// What Redis answers to one inline command.
fn ask(server: &Server, command: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(server.addr())?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    let mut answer = [0; 4096];
    let read = stream.read(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..read]).into_owned())
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn runs(pid: u32) -> bool {
    // A zombie has ended.
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

#[tokio::test]
async fn a_server_can_be_restarted_killed_and_paused() {
    for program in [Program::Redis, Program::Valkey] {
        let Some(config) = ServerConfig::find(program) else { continue };
        let mut server = config.line("appendonly yes").start().await.unwrap();
        let addr = server.addr();
        assert_eq!(ask(&server, "SET a 1").unwrap(), "+OK\r\n");
        server.restart().await.unwrap();
        assert_eq!(server.addr(), addr);
        assert_eq!(ask(&server, "GET a").unwrap(), "$1\r\n1\r\n", "data survives: {}", server.log());

        server.pause().unwrap();
        assert!(ask(&server, "PING").is_err(), "a paused server answers");
        server.resume().unwrap();
        assert_eq!(ask(&server, "PING").unwrap(), "+PONG\r\n");

        server.kill();
        assert!(TcpStream::connect(addr).is_err());
        assert_eq!(server.pid(), None);
        server.restart().await.unwrap();
        assert_eq!(ask(&server, "PING").unwrap(), "+PONG\r\n");

        let (pid, folder) = (server.pid().unwrap(), server.folder().to_owned());
        drop(server);
        assert!(!runs(pid) && !folder.exists());
    }
}

#[tokio::test]
async fn a_paused_server_stops_in_good_order() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let mut server = config.start().await.unwrap();
    server.pause().unwrap();
    server.stop().await.unwrap();
    assert!(server.log().contains("bye bye"), "{}", server.log());
}

#[tokio::test]
async fn a_configuration_that_is_wrong_is_told_in_the_servers_words() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let error = config.line("no-such-setting 1").start().await.unwrap_err();
    assert!(error.to_string().contains("no-such-setting"), "{error}");
}

#[tokio::test]
async fn passwords_and_ports_can_be_set() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let port = free_port().unwrap();
    let server = config.port(port).line("requirepass secret").start().await.unwrap();
    assert_eq!(server.port(), port);
    assert!(ask(&server, "GET a").unwrap().starts_with("-NOAUTH"));
    assert_eq!(ask(&server, "AUTH secret").unwrap(), "+OK\r\n");
}

#[tokio::test]
async fn a_sentinel_follows_its_master() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let master = config.start().await.unwrap();
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let watched = format!("sentinel monitor main 127.0.0.1 {} 1", master.port());
    let sentinel = config.sentinel().line(watched).start().await.unwrap();
    let answer = ask(&sentinel, "SENTINEL GET-MASTER-ADDR-BY-NAME main").unwrap();
    assert!(answer.contains(&master.port().to_string()), "{answer}");
}

#[tokio::test]
async fn nodes_of_a_cluster_meet() {
    let (mut nodes, mut buses) = (Vec::new(), Vec::new());
    for slots in ["0 8000", "8001 16383"] {
        let Some(config) = ServerConfig::find(Program::Redis) else { return };
        let bus = free_port().unwrap();
        let config = config.lines(["cluster-enabled yes".to_owned(), format!("cluster-port {bus}")]);
        let node = config.start().await.unwrap();
        assert_eq!(ask(&node, &format!("CLUSTER ADDSLOTSRANGE {slots}")).unwrap(), "+OK\r\n");
        nodes.push(node);
        buses.push(bus);
    }
    let meet = format!("CLUSTER MEET 127.0.0.1 {} {}", nodes[1].port(), buses[1]);
    assert_eq!(ask(&nodes[0], &meet).unwrap(), "+OK\r\n");
    until("the cluster does not form", || {
        nodes.iter().all(|node| ask(node, "CLUSTER INFO").is_ok_and(|info| info.contains("cluster_state:ok")))
    });
}

#[tokio::test]
async fn nats_runs_with_jetstream() {
    for program in [Program::Nats, Program::NatsCurrent] {
        let Some(config) = ServerConfig::find(program) else { continue };
        let mut server = config.jetstream().start().await.unwrap();
        server.restart().await.unwrap();
        assert!(info(&server).contains("\"jetstream\":true"), "{}", info(&server));
        assert!(server.folder().join("jetstream").exists());
        server.kill();
        server.wipe().unwrap();
        let left = server.folder().read_dir().unwrap().map(|entry| entry.unwrap().file_name());
        let mut left: Vec<_> = left.collect();
        left.sort();
        assert_eq!(left, ["server.conf", "server.log"]);
        server.restart().await.unwrap();
    }
}

/// What NATS says of itself to who connects.
fn info(server: &Server) -> String {
    let mut info = [0; 4096];
    let read = TcpStream::connect(server.addr()).unwrap().read(&mut info).unwrap();
    String::from_utf8_lossy(&info[..read]).into_owned()
}

#[tokio::test]
async fn a_server_can_be_given_another_configuration() {
    for program in [Program::Nats, Program::NatsCurrent] {
        let Some(config) = ServerConfig::find(program) else { continue };
        let mut server = config.line("max_payload: 1000").start().await.unwrap();
        assert!(info(&server).contains("\"max_payload\":1000"), "{}", info(&server));
        server.reconfigure(["max_payload: 2000"]).unwrap();
        assert!(info(&server).contains("\"max_payload\":1000"), "not before it reads it");
        server.reload().unwrap();
        until("it does not read it", || info(&server).contains("\"max_payload\":2000"));
    }
}

#[tokio::test]
async fn a_lame_duck_says_so_and_ends() {
    for program in [Program::Nats, Program::NatsCurrent] {
        let Some(config) = ServerConfig::find(program) else { continue };
        let lines = ["lame_duck_grace_period: \"1s\"", "lame_duck_duration: \"30s\""];
        let server = config.lines(lines).start().await.unwrap();
        let mut stream = TcpStream::connect(server.addr()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n").unwrap();
        let mut said = String::new();
        let mut read = |wanted: &str| {
            let mut part = [0; 4096];
            while !said.contains(wanted) {
                let read = stream.read(&mut part).unwrap();
                assert!(read > 0, "it has ended without a word: {said}");
                said += &String::from_utf8_lossy(&part[..read]);
            }
        };
        read("PONG");
        server.lame_duck().unwrap();
        read("\"ldm\":true");
        let pid = server.pid().unwrap();
        until("it goes on", || !runs(pid));
    }
}

/// Run as a process of its own by the test below; does nothing in other runs.
#[tokio::test]
async fn helper_that_never_ends() {
    let Ok(file) = std::env::var("FANFARE_TESTKIT_HELPER") else { return };
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let server = config.start().await.unwrap();
    std::fs::write(file, format!("{} {}", server.pid().unwrap(), server.folder().display())).unwrap();
    std::future::pending::<()>().await;
}

#[tokio::test]
async fn a_killed_test_takes_its_servers_with_it() {
    if ServerConfig::find(Program::Redis).is_none() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server");
    let mut test = Command::new(std::env::current_exe().unwrap());
    test.args(["--exact", "helper_that_never_ends", "--nocapture"]).env("FANFARE_TESTKIT_HELPER", &file);
    let mut test = test.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    until("the helper has no server", || {
        said = std::fs::read_to_string(&file).unwrap_or_default();
        !said.is_empty()
    });
    let (pid, folder) = said.split_once(' ').unwrap();
    assert!(runs(pid.parse().unwrap()));
    test.kill().unwrap();
    test.wait().unwrap();
    until("the server runs on", || !runs(pid.parse().unwrap()));
    until("its folder is left", || !Path::new(folder).exists());
}

#[tokio::test]
async fn a_test_that_panics_leaves_no_server() {
    let Some(config) = ServerConfig::find(Program::Redis) else { return };
    let (sent, pid) = std::sync::mpsc::channel();
    let test = tokio::spawn(async move {
        let server = config.start().await.unwrap();
        sent.send(server.pid().unwrap()).unwrap();
        panic!("on purpose");
    });
    assert!(test.await.is_err());
    assert!(!runs(pid.recv().unwrap()));
}
