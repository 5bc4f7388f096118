//! The keys, as data: what each does, and where. `?` and the footer show this table, and a test checks it for clashes.

use super::state::Action;

/// A key of the keyboard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    Char(char),
    Up,
    Down,
    Home,
    End,
    PageUp,
    PageDown,
    Left,
    Right,
    Enter,
    Esc,
    Tab,
    Backspace,
    Delete,
}

/// A key as it is pressed, with Ctrl or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Chord {
    pub(super) code: Code,
    pub(super) ctrl: bool,
}

impl Chord {
    pub(super) const fn key(code: Code) -> Self {
        Self { code, ctrl: false }
    }

    pub(super) const fn char(char: char) -> Self {
        Self::key(Code::Char(char))
    }

    pub(super) const fn ctrl(char: char) -> Self {
        Self { code: Code::Char(char), ctrl: true }
    }
}

/// Where one is: a key may do something else elsewhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// The list of the accounts.
    List,
    /// A text to read: the details, why, the settings, the keys.
    Text,
    /// The keys of a place, in which one can look for something.
    Keys,
    /// A list to choose from.
    Menu,
    /// A question, to be answered with yes or no.
    Question,
    /// A line to type.
    Line,
    /// A sign-in that waits for a person.
    SignIn,
}

impl Place {
    /// All places.
    #[cfg(test)]
    pub(super) const ALL: [Self; 7] =
        [Self::List, Self::Text, Self::Keys, Self::Menu, Self::Question, Self::Line, Self::SignIn];

    /// Whether letters are typed here, and are no keys.
    pub(super) fn takes_text(self) -> bool {
        matches!(self, Self::Keys | Self::Line | Self::SignIn)
    }
}

/// Keys that do the same.
pub(super) struct Binding {
    pub(super) places: &'static [Place],
    pub(super) chords: &'static [Chord],
    pub(super) action: Action,
    /// The keys, as they are shown.
    pub(super) keys: &'static str,
    /// What they do, as `?` shows it.
    pub(super) what: &'static str,
    /// The same in a word or two, if the footer shows it.
    pub(super) short: Option<&'static str>,
}

const fn binding(
    places: &'static [Place],
    chords: &'static [Chord],
    action: Action,
    keys: &'static str,
    what: &'static str,
    short: Option<&'static str>,
) -> Binding {
    Binding { places, chords, action, keys, what, short }
}

const LIST: &[Place] = &[Place::List];
const MOVING: &[Place] = &[Place::List, Place::Text, Place::Menu];
const KEYS: &[Place] = &[Place::Keys];
const CLOSING: &[Place] =
    &[Place::Text, Place::Keys, Place::Menu, Place::Question, Place::Line, Place::SignIn];
const ANYWHERE: &[Place] =
    &[Place::List, Place::Text, Place::Keys, Place::Menu, Place::Question, Place::Line, Place::SignIn];

const fn key(code: Code) -> Chord {
    Chord::key(code)
}

const fn char(char: char) -> Chord {
    Chord::char(char)
}

/// The keys, in the order in which `?` shows them; those that the footer names come in its order.
pub(super) const TABLE: &[Binding] = &[
    binding(MOVING, &[key(Code::Up), char('k')], Action::Up, "↑ k", "one up", None),
    binding(MOVING, &[key(Code::Down), char('j')], Action::Down, "↓ j", "one down", None),
    binding(MOVING, &[key(Code::PageUp)], Action::PageUp, "PgUp", "a page up", None),
    binding(MOVING, &[key(Code::PageDown)], Action::PageDown, "PgDn", "a page down", None),
    binding(MOVING, &[key(Code::Home), char('g')], Action::First, "Home g", "the first one", None),
    binding(MOVING, &[key(Code::End), char('G')], Action::Last, "End G", "the last one", None),
    binding(KEYS, &[key(Code::Up)], Action::Up, "↑", "one up", None),
    binding(KEYS, &[key(Code::Down)], Action::Down, "↓", "one down", None),
    binding(KEYS, &[key(Code::PageUp)], Action::PageUp, "PgUp", "a page up", None),
    binding(KEYS, &[key(Code::PageDown)], Action::PageDown, "PgDn", "a page down", None),
    binding(LIST, &[key(Code::Tab)], Action::NextToDo, "Tab", "the next account that needs you", None),
    binding(LIST, &[key(Code::Enter)], Action::Details, "⏎", "show all that is known of it", None),
    binding(LIST, &[char('a')], Action::UseFirst, "a", "use it first in its tier", Some("use first")),
    binding(LIST, &[char('p')], Action::PauseOrResume, "p", "pause it, or resume it", Some("pause")),
    binding(
        LIST,
        &[char('r')],
        Action::Reset,
        "r",
        "reset it: forget its cooldowns and failures",
        Some("reset"),
    ),
    binding(LIST, &[char('t')], Action::Test, "t", "test it with a small request", Some("test")),
    binding(LIST, &[char('s')], Action::SignInAgain, "s", "sign in to it again", Some("sign in")),
    binding(LIST, &[char('n')], Action::New, "n", "add an account", Some("new")),
    binding(LIST, &[char('d')], Action::Remove, "d", "remove it; asks first", Some("remove")),
    binding(LIST, &[char('R')], Action::Rename, "R", "rename it", Some("rename")),
    binding(LIST, &[char('T')], Action::TestAll, "T", "test all accounts", Some("test all")),
    binding(LIST, &[char('w')], Action::Why, "w", "why it is used, or not", Some("why")),
    binding(LIST, &[char('u')], Action::Renew, "u", "renew its token now", Some("renew")),
    binding(
        LIST,
        &[char('['), char(']')],
        Action::MovePlace,
        "[ ]",
        "one place up or down in its tier",
        Some("move"),
    ),
    binding(LIST, &[char('<'), char('>')], Action::Tier, "< >", "a tier up or down", Some("tier")),
    binding(LIST, &[char('Q')], Action::Quota, "Q", "which quota it takes from", None),
    binding(LIST, &[char('m')], Action::Mode, "m", "which kinds its provider takes", Some("mode")),
    binding(LIST, &[char(',')], Action::Settings, ",", "show the settings", Some("settings")),
    binding(LIST, &[char('y')], Action::CopyName, "y", "copy its name", Some("copy the name")),
    binding(LIST, &[char('/')], Action::Filter, "/", "show only what has this text", Some("find")),
    binding(
        LIST,
        &[char('1'), char('2'), char('3'), char('4'), char('5')],
        Action::Sort,
        "1–5",
        "sort by place, account, state, what is left, last use; again: the other way",
        Some("sort"),
    ),
    binding(
        LIST,
        &[char('f')],
        Action::HistoryOfThis,
        "f",
        "history of this account, or of all",
        Some("history of this"),
    ),
    binding(LIST, &[char('e')], Action::OnlyErrors, "e", "history: only errors, or all", None),
    binding(
        LIST,
        &[key(Code::Esc)],
        Action::Clear,
        "Esc",
        "take the message away, then the filter",
        None,
    ),
    binding(&[Place::Menu], &[key(Code::Enter)], Action::Choose, "⏎", "choose it", Some("choose")),
    binding(&[Place::Question], &[char('y'), char('Y')], Action::Yes, "y", "yes", Some("yes")),
    binding(&[Place::Question], &[char('n'), char('N')], Action::Close, "n", "no", Some("no")),
    binding(
        &[Place::Line],
        &[key(Code::Enter)],
        Action::Enter,
        "⏎",
        "take what was typed",
        Some("done"),
    ),
    binding(
        &[Place::SignIn],
        &[key(Code::Enter)],
        Action::Enter,
        "⏎",
        "hand over what was pasted",
        Some("paste"),
    ),
    binding(
        &[Place::SignIn],
        &[Chord::ctrl('y')],
        Action::CopyAddress,
        "Ctrl-Y",
        "copy the address",
        Some("copy the address"),
    ),
    binding(
        &[Place::SignIn],
        &[Chord::ctrl('x')],
        Action::CopyOther,
        "Ctrl-X",
        "copy the code, or the address for another machine",
        Some("copy the code"),
    ),
    binding(
        &[Place::SignIn],
        &[Chord::ctrl('o')],
        Action::OpenPage,
        "Ctrl-O",
        "open the page in a browser",
        Some("open"),
    ),
    binding(
        &[Place::Keys, Place::Line, Place::SignIn],
        &[Chord::ctrl('u')],
        Action::ClearLine,
        "Ctrl-U",
        "delete what was typed",
        None,
    ),
    binding(CLOSING, &[key(Code::Esc)], Action::Close, "Esc", "back", Some("back")),
    binding(&[Place::Text], &[key(Code::Enter), char('q')], Action::Close, "⏎ q", "back", None),
    binding(KEYS, &[key(Code::Enter)], Action::Close, "⏎", "back", None),
    binding(&[Place::Menu], &[char('q')], Action::Close, "q", "back", None),
    binding(MOVING, &[char('?')], Action::Help, "?", "the keys of this place", Some("keys")),
    binding(LIST, &[char('q')], Action::Quit, "q", "quit", Some("quit")),
    binding(ANYWHERE, &[Chord::ctrl('c')], Action::Quit, "Ctrl-C", "quit", None),
    binding(
        ANYWHERE,
        &[Chord::ctrl('z')],
        Action::Suspend,
        "Ctrl-Z",
        "go back to the shell; `fg` comes back here",
        None,
    ),
    binding(ANYWHERE, &[Chord::ctrl('l')], Action::Redraw, "Ctrl-L", "draw the screen anew", None),
];

/// Returns what a key does in a place.
pub(super) fn action(place: Place, chord: Chord) -> Option<Action> {
    let mut there = of(place);
    there.find(|binding| binding.chords.contains(&chord)).map(|binding| binding.action)
}

/// Returns the keys of a place.
pub(super) fn of(place: Place) -> impl Iterator<Item = &'static Binding> {
    TABLE.iter().filter(move |binding| binding.places.contains(&place))
}

#[cfg(test)]
mod tests {
    use super::{Code, Place, of};

    #[test]
    fn no_key_does_two_things_in_one_place() {
        for place in Place::ALL {
            let chords: Vec<_> = of(place).flat_map(|binding| binding.chords).collect();
            for (at, chord) in chords.iter().enumerate() {
                assert!(!chords[at + 1..].contains(chord), "{place:?}: {chord:?}");
            }
        }
    }

    #[test]
    fn no_key_is_a_letter_where_letters_are_typed() {
        for place in Place::ALL.into_iter().filter(|place| place.takes_text()) {
            for chord in of(place).flat_map(|binding| binding.chords) {
                assert!(chord.ctrl || !matches!(chord.code, Code::Char(_)), "{place:?}: {chord:?}");
            }
        }
    }

    #[test]
    fn every_place_has_a_way_out_and_says_so() {
        for place in Place::ALL {
            let ends = |binding: &&super::Binding| {
                matches!(binding.action, super::Action::Close | super::Action::Quit)
                    && binding.short.is_some()
            };
            assert!(of(place).any(|binding| ends(&binding)), "{place:?}");
        }
    }

    #[test]
    fn every_letter_that_is_shown_for_a_key_is_one_of_its_keys() {
        for binding in super::TABLE {
            let letters = binding.chords.iter().filter_map(|chord| match (chord.code, chord.ctrl) {
                (Code::Char(char), false) if char.is_ascii_lowercase() => Some(char),
                _ => None,
            });
            for letter in letters {
                assert!(binding.keys.contains(letter), "{}: {letter}", binding.keys);
            }
        }
    }
}
