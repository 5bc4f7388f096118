//! The gateway with the SDKs and tools themselves, from their registries, and with a browser. `.ci/tools` installs them into
//! the directory that `TOWER_CREDENTIALS_TOOLS` names.

mod alone;
mod apis;
mod ends;
mod node;
mod openai_and_anthropic;
mod page;
mod programs;
mod proxied;
mod python;
mod vendor;
mod versions;
