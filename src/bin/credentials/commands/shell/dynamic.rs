//! What the shells' scripts are given beside what clap makes: the providers and accounts that there are.

use clap_complete::Shell;

/// What comes after clap's script. Other shells have clap's alone.
pub(super) fn script(shell: Shell) -> &'static str {
    match shell {
        Shell::Bash => BASH,
        Shell::Zsh => ZSH,
        Shell::Fish => FISH,
        _ => "",
    }
}

/// clap's words for an argument, such as `<ACCOUNT>`, are nothing to be typed.
const BASH: &str = r#"
_credentials_and_accounts() {
    _credentials "$@"
    local word="${COMP_WORDS[COMP_CWORD]}" found kept=()
    for found in "${COMPREPLY[@]}"; do
        [[ "$found" == [\<\[]* ]] || kept+=("$found")
    done
    while IFS= read -r found; do
        kept+=("$(printf '%q' "$found")")
    done < <("${COMP_WORDS[0]}" __complete -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
    COMPREPLY=("${kept[@]}")
}
complete -F _credentials_and_accounts -o bashdefault -o default credentials
"#;

const ZSH: &str = r#"
_credentials_and_accounts() {
    local -a found
    found=("${(@f)$(${words[1]} __complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    found=(${found:#})
    (( ${#found} )) && compadd -a found
    _credentials "$@"
}
compdef _credentials_and_accounts credentials
"#;

const FISH: &str = r#"
complete -c credentials -a '(credentials __complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
"#;
