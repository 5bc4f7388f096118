//! The accounts, grouped by pool. Only the rows that are seen are drawn.

use super::paint::{Canvas, Theme};
use crate::account::Account;
use crate::tui::state::account::{Level, Seen, short};
use crate::tui::state::list::{Row, Sort};
use crate::tui::state::{State, history};
use tower_credentials::PoolKey;

/// Where the columns begin. At a narrow screen there is only the account and its state.
struct Columns {
    state: usize,
    left: Option<usize>,
    used: Option<usize>,
    last: Option<usize>,
    end: usize,
}

/// Where the labels begin, after the signs.
const LABEL: usize = 5;

impl Columns {
    fn of(end: usize) -> Self {
        match end {
            0..72 => Self {
                state: (end * 2 / 5).clamp(LABEL + 8, 22),
                left: None,
                used: None,
                last: None,
                end,
            },
            // The wider the screen, the more of a state fits.
            _ => {
                let more = end.saturating_sub(80);
                let state = 24 + more / 4;
                let last = end - 8;
                let used = last - 9;
                Self { state, left: Some(used - 16), used: Some(used), last: Some(last), end }
            }
        }
    }
}

/// Draws the list, and returns how many rows it drew.
pub(super) fn draw(canvas: &mut Canvas<'_>, state: &State) -> usize {
    let columns = Columns::of(canvas.width());
    let mark = |sort: Sort, name: &str| match state.list.sort == sort {
        true if sort == Sort::Place => name.to_owned(),
        true => format!("{name}{}", if state.list.is_reversed { '▲' } else { '▼' }),
        false => name.to_owned(),
    };
    let head = Theme::strong();
    canvas.put(3, 0, &mark(Sort::Name, "ACCOUNT"), head);
    canvas.put(columns.state, 0, &mark(Sort::State, "STATE"), head);
    for (column, name, sort) in [
        (columns.left, "LEFT", Sort::Left),
        (columns.used, "USED", Sort::Used),
        (columns.last, "LAST", Sort::Place),
    ] {
        if let Some(column) = column {
            canvas.put(column, 0, &mark(sort, name), head);
        }
    }
    if canvas.height() < 2 {
        return 0;
    }
    let rows = state.list.rows.iter().enumerate().skip(state.list.top).take(canvas.height() - 1);
    let mut drawn = 0;
    for (line, (number, row)) in rows.enumerate() {
        match row {
            Row::Pool(at) => pool(canvas, line + 1, &columns, state, &state.accounts[*at]),
            Row::Account(at) => {
                let is_chosen = state.list.is_chosen(number);
                account(canvas, line + 1, &columns, state, &state.accounts[*at], is_chosen);
            }
        }
        drawn += 1;
    }
    if drawn == 0 && state.has_looked && !state.list.filter.is_empty() {
        let text = format!("no account has {:?} in it: Esc shows all", state.list.filter);
        canvas.put(3, 1, &text, Theme::quiet());
    }
    drawn
}

/// The name of a pool, and what its mode does if that is not plain.
fn pool(canvas: &mut Canvas<'_>, line: usize, columns: &Columns, state: &State, first: &Seen) {
    let pool = first.pool();
    let name = match pool.namespace() {
        PoolKey::DEFAULT_NAMESPACE => pool.provider().to_owned(),
        _ => pool.to_string(),
    };
    let room = columns.state.saturating_sub(2);
    canvas.put_in(1, line, room, &crate::output::plain(&name), Theme::strong());
    let left_out = |account: &Account| account.left_out;
    let of_it = state.accounts.iter().filter(|seen| seen.pool() == pool);
    if let Some(why) = of_it.map(|seen| &seen.account).find_map(left_out)
        && columns.left.is_some()
    {
        canvas.put(columns.state, line, &why.to_string(), Theme::quiet());
    }
}

fn account(
    canvas: &mut Canvas<'_>,
    line: usize,
    columns: &Columns,
    state: &State,
    seen: &Seen,
    is_chosen: bool,
) {
    let condition = seen.condition(state.now);
    let style = canvas.theme.of(condition.level);
    if is_chosen {
        canvas.put(1, line, "▶", Theme::strong());
    }
    canvas.put(3, line, condition.sign.encode_utf8(&mut [0; 4]), style);
    let name = if is_chosen { Theme::strong() } else { Theme::plain() };
    canvas.put_in(LABEL, line, columns.state - LABEL - 1, &seen.label(), name);
    let others = [
        (columns.left, left(seen, state), Theme::plain()),
        (columns.used, used(seen, state), Theme::quiet()),
        (columns.last, last(seen), canvas.theme.of(level_of(seen))),
    ];
    let others = others.into_iter().filter(|(_, text, _)| !text.is_empty());
    let others: Vec<_> =
        others.filter_map(|(column, text, style)| Some((column?, text, style))).collect();
    // A state is never cut. It has the room of the columns that are empty, and if need be that of the others.
    let end = others.first().map_or(columns.end, |(column, ..)| *column);
    let busy = state.busy(seen.id()).map(|what| format!("{what} …"));
    let text = match &busy {
        Some(what) => what.as_str(),
        None => condition.fitted(end.saturating_sub(columns.state + 1)),
    };
    let after = canvas.put(columns.state, line, text, style);
    for (column, text, style) in others.iter().filter(|(column, ..)| *column > after) {
        canvas.put(*column, line, text, *style);
    }
    if is_chosen {
        canvas.style_line(line, Theme::chosen());
    }
}

/// What is left of the first two limits.
fn left(seen: &Seen, state: &State) -> String {
    let parts: Vec<_> = seen.windows(state.now).take(2).map(|(_, left)| left).collect();
    parts.join(" / ")
}

fn used(seen: &Seen, state: &State) -> String {
    let response = seen.account.standing.last_response;
    response.map_or_else(String::new, |response| format!("{} ago", short(state.now.since(response.at))))
}

fn last(seen: &Seen) -> String {
    seen.account.standing.last_response.map_or_else(String::new, |response| response.status.to_string())
}

fn level_of(seen: &Seen) -> Level {
    let response = seen.account.standing.last_response;
    response.map_or(Level::Good, |response| history::level_of(response.status))
}
