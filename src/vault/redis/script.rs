//! The scripts that the engine runs, each in one step for all hosts.
//!
//! All keys of a pool are given to each script, in the order of [`Keys`](super::keys::Keys), so a cluster knows where it
//! runs. They are sent by their digest, and whole if the engine does not have them, such as after a restart.

use std::sync::LazyLock;

use redis::{Cmd, ToRedisArgs};

/// A script.
pub(super) struct Script {
    code: String,
    digest: String,
}

impl Script {
    fn of(parts: &[&str]) -> Self {
        let code = parts.concat();
        let digest = redis::Script::new(&code).get_hash().to_owned();
        Self { code, digest }
    }

    /// Calls it with these keys.
    pub(super) fn on(&'static self, keys: impl IntoIterator<Item = String>) -> Call {
        Call { script: self, keys: keys.into_iter().collect(), arguments: Vec::new() }
    }
}

/// A script with its keys and arguments.
pub(super) struct Call {
    script: &'static Script,
    keys: Vec<String>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(super) fn arg(mut self, argument: impl ToRedisArgs) -> Self {
        argument.write_redis_args(&mut self.arguments);
        self
    }

    /// Returns the command that names the script by its digest.
    pub(super) fn by_digest(&self) -> Cmd {
        self.command("EVALSHA", &self.script.digest)
    }

    /// Returns the command with the script in it. The engine then knows it.
    pub(super) fn whole(&self) -> Cmd {
        self.command("EVAL", &self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(self.keys.len()).arg(&self.keys).arg(&self.arguments);
        command
    }
}

macro_rules! scripts {
    ($($(#[$doc:meta])* $name:ident = $($file:literal),+;)*) => {
        $(
            $(#[$doc])*
            pub(super) static $name: LazyLock<Script> =
                LazyLock::new(|| Script::of(&[$(include_str!(concat!("lua/", $file, ".lua"))),+]));
        )*
    };
}

scripts! {
    LOAD = "pool", "seen", "load";
    READ_ON = "pool", "seen", "read_on";
    RECORD = "pool", "batches", "record";
    PUT = "pool", "put";
    SWAP = "pool", "swap";
    MOVE = "pool", "move";
    REMOVE = "pool", "remove";
    KEEP_SNAPSHOT = "pool", "keep_snapshot";
    CLAIM_REFRESH = "pool", "claim_refresh";
    BEGIN = "pool", "begin";
    FAILED = "pool", "failed";
    UNFINISHED = "pool", "unfinished";
    RELEASE_REFRESH = "pool", "release_refresh";
    GIVE_BACK = "pool", "give_restores", "give_back";
    GIVE_STANDINGS = "pool", "batches", "give_restores", "give_standings";
    RESTORED = "pool", "restored";
    RESTORED_VAULT = "restored_vault";
    GIVE_VAULT_RESTORES = "give_vault_restores";
    LOOK = "pool", "look";
    INDEX_LABELS = "pool", "index_labels";
    IDENTIFY = "identify";
    CLAIM = "claim";
    RENEW = "renew";
    RELEASE = "release";
}
