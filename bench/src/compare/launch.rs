//! One run: a fresh server on its core, the load generator on another.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::Options;
use super::contender::{self, Contender};
use super::workload::Workload;
use crate::fan::Report;
use crate::process;

/// Share of a timed run that warms up.
const WARMUP: f64 = 0.125;
/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(10);

/// What one run gave.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) report: Report,
    /// CPU time that other processes took meanwhile, as a share of the whole machine.
    pub(super) others: f64,
}

/// Runs `contender` under `workload` once.
pub(super) fn run(
    options: &Options,
    name: &str,
    contender: &Contender,
    workload: &Workload,
) -> Result<Outcome> {
    let port = free_port()?;
    let server = Server::start(options, contender, port)?;
    let started = (Instant::now(), process::machine_busy_ticks(), process::cpu_ns(server.pid()));

    let pid = server.pid().to_string();
    let url = format!("http://127.0.0.1:{port}{}", contender.path);
    let mut fan = vec![contender::sibling("fan")?];
    let fixed = ["--json", "--label", name, "--wire", &contender.wire, "--url", &url, "--server-pid", &pid];
    fan.extend(fixed.into_iter().chain(workload.fan.iter().copied()).map(Into::into));
    if workload.timed {
        let warmup = (options.seconds * WARMUP).to_string();
        fan.extend(["--seconds".into(), options.seconds.to_string(), "--warmup-seconds".into(), warmup]);
    }
    fan.extend(options.fan.iter().cloned());
    let output = on_core((!options.unpinned).then_some(1), &fan).stdout(Stdio::piped()).output()?;
    ensure!(output.status.success(), "the load generator failed: {}", output.status);
    let report: Report = serde_json::from_slice(&output.stdout).context("the load generator's report")?;

    let (at, busy, server_cpu) = started;
    let ours = (process::cpu_ns(server.pid()) - server_cpu) as f64 / 1e9 + report.client_cpu_s;
    let all = (process::machine_busy_ticks() - busy) as f64 / 100.0;
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let others = (all - ours).max(0.0) / (at.elapsed().as_secs_f64() * cores);
    Ok(Outcome { report, others })
}

/// A running server, ended when dropped.
struct Server(Child);

impl Server {
    fn start(options: &Options, contender: &Contender, port: u16) -> Result<Self> {
        let words = contender.command(port, options.threads);
        let child = on_core((!options.unpinned).then_some(0), &words)
            .stdout(Stdio::null())
            .spawn()
            .with_context(|| format!("starting {}", words[0]))?;
        let mut server = Self(child);
        let deadline = Instant::now() + START;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = server.0.try_wait()? {
                bail!("{} ended before it listened: {status}", words[0]);
            }
            ensure!(Instant::now() < deadline, "{} does not listen", words[0]);
            std::thread::sleep(Duration::from_millis(20));
        }
        // Let it finish what starting left to do: its memory is read next.
        std::thread::sleep(Duration::from_millis(300));
        Ok(server)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It is only ever this program's own child; one that has ended already is as well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `words` as a command on one core, ahead of the machine's other processes where that is allowed.
///
/// Linux groups processes by session when it shares out the CPU (`sched_autogroup`), so the command gets a
/// session of its own whose group is given the highest weight. Real-time scheduling would be more certain, but
/// the kernel stops a saturated real-time core for 50 ms each second, which would be measured as the server's
/// latency. Every step replaces its process, so that the child's number is the server's, and the
/// server dies with this program.
fn on_core(core: Option<u32>, words: &[String]) -> Command {
    let mut command = Command::new("setsid");
    command.args(["setpriv", "--pdeathsig", "KILL", "sh", "-c"]);
    command.args(["{ echo -20 > /proc/self/autogroup; } 2>/dev/null; exec nice -n -20 \"$@\"", "sh"]);
    if let Some(core) = core {
        command.args(["taskset", "-c", &core.to_string()]);
    }
    command.args(words);
    command
}

/// A port that nothing listens on.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
