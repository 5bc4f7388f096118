//! A process that does nothing but record cooldowns.

use tower_credentials::standing::{Change, Cooldown, Outcome, Reason, Scope};
use tower_credentials::vault::{Vault, VaultExt};
use tower_credentials::{PoolKey, Timestamp};

use crate::children::{hear, say};

/// Records cooldowns of a pool's first account as fast as it can, until it is told to stop. Then it says how many.
pub(crate) async fn flood(vault: impl Vault, pool: PoolKey) {
    let id = vault.load_pool(pool.clone()).await.unwrap().credentials[0].metadata.id;
    say("ready");
    let stop = std::thread::spawn(hear);
    let mut recorded = 0;
    while !stop.is_finished() {
        let cooldown = Cooldown {
            until: Timestamp::from_millis(recorded),
            set_at: Timestamp::from_millis(recorded),
            reason: Reason::Limited,
            scope: Some(Scope::new(format!("model-{}", recorded % 3))),
            generation: None,
            cause: None,
        };
        let change = Change::CooledDown { cooldown, failure: false, to_back: false };
        vault.record(pool.clone(), vec![Outcome { id, change }]).await.unwrap();
        recorded += 1;
    }
    say(recorded);
}
