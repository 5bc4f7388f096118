//! The engine's time costs nothing that counts.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use tower_credentials::vault::VaultExt;

use super::*;
use crate::vault_contract::{cooled, pool, put_all};

/// Returns the names of the commands that hosts send while this is done.
async fn commands_of(server: &Server, work: impl Future<Output = ()>) -> Vec<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.write_all(b"MONITOR\r\n").unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "+OK");
    work.await;
    server.tell::<String>(&["ECHO", "that is all"]);
    let sent = lines.take_while(|line| !line.contains("that is all"));
    // Those of scripts are of no host. A connection of the test's own introduces itself.
    let sent = sent.filter(|line| !line.contains(" lua] ") && !line.contains("CLIENT"));
    sent.map(|line| line.split('"').nth(1).unwrap().to_uppercase()).collect()
}

#[tokio::test]
async fn a_cooldown_is_one_command_whether_the_clocks_differ_or_not() {
    let Some(server) = Server::start(&[]) else { return };
    for off in [Duration::ZERO, HOUR] {
        server.tell::<()>(&["FLUSHALL"]);
        let key = VaultKey::generate();
        let vault = vault(&server, &key, Off::Ahead(off).clock());
        let [a] = put_all(&vault, ["a"]).await;
        vault.load_pool(pool()).await.unwrap();
        let record = async |until| {
            vault.record(pool(), vec![cooled(a, until, 1, false)]).await.unwrap();
        };
        // So the engine knows the script.
        record(1).await;
        let sent = commands_of(&server, async {
            for until in 2..22 {
                record(until).await;
            }
        });
        assert_eq!(sent.await, ["EVALSHA"; 20]);
    }
}
