use std::process::Command as Process;

use super::{
    relay::Relay,
    shell::Shell,
    transcript::{blocks, fenced},
};
use crate::support::{App, Nginx, found, root};

fn page(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap()
}

/// The README's program, where a relay listens for it.
async fn readme() -> (App, Relay) {
    let app = App::spawn_at(Process::new(env!("CARGO_BIN_EXE_acceptance-readme"))).await;
    let relay = Relay::to(app.address()).await;
    (app, relay)
}

/// The commands of a page about a program that is said to listen on port 3000, and does where a relay listens for it.
async fn run_commands(path: &str, relay: &Relay) {
    let folder = tempfile::tempdir().unwrap();
    let mut shell = Shell::new(folder.path(), "");
    shell.changes.push(("127.0.0.1:3000".into(), relay.address.clone()));
    shell.relay = Some(relay);
    shell.run(blocks(&page(path)).into_iter().flatten()).await;
    shell.end().await;
}

/// The commands of a page about the README's program.
async fn commands_of(path: &str) {
    if found("websocat").is_some() {
        let (_app, relay) = readme().await;
        run_commands(path, &relay).await;
    }
}

#[tokio::test]
async fn the_readmes_commands_do_what_it_says() {
    commands_of("README.md").await;
}

#[tokio::test]
async fn the_protocols_commands_do_what_it_says() {
    commands_of("PROTOCOL.md").await;
}

#[tokio::test]
async fn the_dashboards_commands_do_what_it_says() {
    let dashboard = App::example("dashboard");
    let relay = Relay::to(dashboard.address()).await;
    run_commands("examples/dashboard/README.md", &relay).await;
}

#[tokio::test]
async fn the_notifications_commands_do_what_it_says() {
    let notifications = App::example("notifications");
    let relay = Relay::to(notifications.address()).await;
    run_commands("examples/notifications/README.md", &relay).await;
}

#[tokio::test]
async fn the_comparisons_commands_do_what_it_says() {
    commands_of("docs/websocket-or-sse.md").await;
}

#[tokio::test]
async fn the_commands_through_nginx_do_what_the_guide_says() {
    let app = App::start_twice(&[]);
    let Some(nginx) = Nginx::start([&app.addresses[0], &app.addresses[1]]) else { return };
    let folder = tempfile::tempdir().unwrap();
    // As if the name led here.
    let config = format!(
        "cacert = \"{}\"\nconnect-to = \"app.example:443:{}\"\nconnect-to = \"app.example:80:{}\"\n",
        nginx.certificate.chain(),
        nginx.address,
        nginx.plain_address,
    );
    let mut shell = Shell::new(folder.path(), &config);
    shell.run(blocks(&page("docs/behind-nginx.md")).into_iter().flatten()).await;
    shell.end().await;
}

#[tokio::test]
async fn the_commands_with_tls_do_what_the_guide_says() {
    let folder = tempfile::tempdir().unwrap();
    let mut pages = blocks(&page("docs/tls.md")).into_iter();
    // The first makes the files with which the app is started.
    Shell::new(folder.path(), "").run(pages.next().unwrap()).await;
    let file = |name| folder.path().join(name).into_os_string().into_string().unwrap();
    let (chain, key) = (file("chain.pem"), file("key.pem"));
    let app = App::run(&["--tls-listen", "127.0.0.1:0"], &["--certificate", &chain, "--key", &key]);
    let config = format!("connect-to = \"localhost:3443:{}\"\n", app.address());
    let mut shell = Shell::new(folder.path(), &config);
    shell.run(pages.flatten()).await;
    shell.end().await;
}

#[test]
fn the_readmes_program_is_the_one_that_is_run() {
    let shown = fenced(&page("README.md"), "rust,no_run").remove(0);
    let shown = shown.replace("\"127.0.0.1:3000\"", "&*LISTEN");
    let (uses, main) = shown.split_once("\n\n").unwrap();
    let program = page("tests/app/readme.rs");
    assert!(program.contains(uses) && program.contains(main), "{shown}");
}

#[test]
fn the_programs_of_the_guides_are_those_that_are_run() {
    let shown = fenced(&page("docs/tls.md"), "rust").remove(0);
    let program = page("tests/app/tls.rs").replace("pub(crate) ", "");
    let (_, program) = program.split_once("\n\n").unwrap();
    assert_eq!(shown, program);
}

/// What nobody runs can be wrong for years.
#[test]
fn every_command_that_talks_to_a_server_is_run() {
    let mut pages = vec![root("README.md"), root("PROTOCOL.md")];
    for entry in std::fs::read_dir(root("docs")).unwrap() {
        pages.push(entry.unwrap().path());
    }
    for entry in std::fs::read_dir(root("examples")).unwrap() {
        pages.push(entry.unwrap().path().join("README.md"));
    }
    pages.retain(|page| page.is_file() && page.extension().is_some_and(|extension| extension == "md"));
    assert!(pages.len() > 5, "{pages:?}");
    for path in pages {
        let mut language = None;
        for line in std::fs::read_to_string(&path).unwrap().lines() {
            match line.strip_prefix("```") {
                Some(_) if language.is_some() => language = None,
                Some(word) => language = Some(word.to_owned()),
                None => {}
            }
            let command = line.trim_start();
            let shown = language.is_some() || command.len() + 4 <= line.len();
            let talks = command.starts_with("curl ") || command.starts_with("websocat ");
            assert!(!(shown && talks), "{}: {line}", path.display());
        }
    }
}
