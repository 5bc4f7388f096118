//! What an engine says of itself.

use std::fs;
use std::time::{Duration, SystemTime};

use tower_credentials::vault::VaultError;
use tower_credentials::vault::redis::RedisBackend;
use tower_credentials::{Clock, Timestamp};

use crate::children::eventually;
use crate::nodes::primary_and_replica;
use crate::server::Server;

#[tokio::test]
async fn an_engine_says_what_it_is_how_it_is_and_which_replicas_it_has() {
    let Some([primary, replica]) = primary_and_replica().await else { return };
    primary.tell::<()>(&["CONFIG", "SET", "maxmemory", "1gb"]);
    let backend = primary.builder().build().unwrap();
    let state = backend.state().await.unwrap();
    assert_eq!(state.address, format!("127.0.0.1:{}", primary.port()));
    let version = primary.tell::<String>(&["INFO", "server"]);
    assert!(version.contains(state.version.as_ref().unwrap()), "{state:?}");
    assert!(["Redis", "Valkey"].contains(&state.name.as_deref().unwrap()));
    assert_eq!((state.is_primary, state.is_loading), (Some(true), Some(false)));
    assert_eq!((state.max_memory, state.has_append_only_file), (Some(1 << 30), Some(true)));
    assert_eq!((state.append_only_file_failed, state.dump_failed), (Some(false), Some(false)));
    assert!(state.used_memory.unwrap() > 0);
    assert!(state.started_at.unwrap() <= Timestamp::from(SystemTime::now()));
    let [of_replica] = &state.replicas[..] else { panic!("{state:?}") };
    assert_eq!(of_replica.address, format!("127.0.0.1:{}", replica.port()));
    let has_all = async || {
        let state = backend.state().await.unwrap();
        (state.replicas[0].is_online && state.replicas[0].lag_bytes == 0).then_some(())
    };
    eventually("the replica has confirmed all", has_all).await;
    let of_replica = replica.builder().build().unwrap().state().await.unwrap();
    assert_eq!((of_replica.is_primary, of_replica.replicas), (Some(false), Vec::new()));
}

#[tokio::test]
async fn the_difference_of_the_clocks_is_measured() {
    let Some(server) = Server::start(&[]) else { return };
    let hour = Duration::from_secs(3_600);
    let clock = Clock::from_fn(move || SystemTime::now() + hour);
    let state = server.builder().clock(clock).build().unwrap().state().await.unwrap();
    // By half of a command that may take two seconds it may be wrong.
    assert!((state.clock_ahead_ms + 3_600_000).abs() <= 1_000, "{state:?}");
    assert!(state.round_trip > Duration::ZERO);
}

#[tokio::test]
async fn a_dump_that_has_failed_is_said() {
    let Some(server) = Server::start(&[]) else { return };
    // The file can't be put where a directory is.
    fs::create_dir(server.files().join("dump.rdb")).unwrap();
    let backend = server.builder().build().unwrap();
    server.tell::<()>(&["BGSAVE"]);
    let has_failed = async || (backend.state().await.unwrap().dump_failed == Some(true)).then_some(());
    eventually("the dump fails", has_failed).await;
}

#[tokio::test]
async fn what_the_engine_does_not_say_is_left_out_and_one_that_is_away_is_an_error() {
    let Some(server) = Server::start(&[]) else { return };
    let rules = ["ACL", "SETUSER", "vault", "on", ">pw", "~*", "&*", "+@all", "-info"];
    server.tell::<()>(&rules);
    let url = format!("redis://vault:pw@127.0.0.1:{}", server.port());
    let state = RedisBackend::builder(url).build().unwrap().state().await.unwrap();
    assert_eq!((state.name, state.is_primary, state.used_memory), (None, None, None));
    assert_eq!((state.replicas, state.started_at), (Vec::new(), None));
    let backend = server.builder().build().unwrap();
    server.kill();
    let error = backend.state().await.unwrap_err();
    assert!(matches!(error, VaultError::Unreachable(_)), "{error:?}");
}
