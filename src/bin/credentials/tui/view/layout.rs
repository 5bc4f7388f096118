//! Which part of the screen is where.

use ratatui::layout::Rect;

/// The parts of the screen. Those for which there is no room have no height.
#[derive(Debug, Default)]
pub(in crate::tui) struct Areas {
    pub(super) header: Rect,
    pub(in crate::tui) list: Rect,
    /// The details of the account that is chosen: a line, or a column beside the list.
    pub(super) detail: Rect,
    pub(super) history: Rect,
    pub(super) to_do: Rect,
    pub(super) footer: Rect,
    /// The lines of rules.
    pub(super) rules: Vec<Rect>,
    /// The line between the list and the details.
    pub(super) wall: Option<Rect>,
}

/// The width of the details beside the list.
const BESIDE: u16 = 39;

/// The least sizes at which there is room for more than the list, and for the details beside it.
const MIDDLE: (u16, u16) = (60, 16);
const LARGE: (u16, u16) = (110, 30);

impl Areas {
    /// Lays out a screen with so many lines that were said, and so many of things to do.
    pub(in crate::tui) fn of(screen: Rect, said: u16, to_do: u16) -> Self {
        // What was said is read now. One line is there in any case, so that the list does not jump.
        let all = said.saturating_add(to_do);
        let with_room_for = |most: u16| all.clamp(1, most).max(said.min(screen.height / 2));
        let is_at_least = |(width, height)| screen.width >= width && screen.height >= height;
        let mut rest = screen;
        let mut areas = Self { header: top(&mut rest, 1), ..Self::default() };
        if !is_at_least(MIDDLE) {
            areas.footer = bottom(&mut rest, 1);
            areas.to_do = bottom(&mut rest, with_room_for((screen.height / 4).max(1)));
            areas.list = rest;
            return areas;
        }
        areas.rules.push(top(&mut rest, 1));
        let is_large = is_at_least(LARGE);
        areas.footer = bottom(&mut rest, if is_large { 2 } else { 1 });
        areas.to_do = bottom(&mut rest, with_room_for(if is_large { 5 } else { 3 }));
        areas.rules.push(bottom(&mut rest, 1));
        if is_large {
            areas.history = bottom(&mut rest, screen.height / 4);
            areas.rules.push(bottom(&mut rest, 1));
            areas.detail = right(&mut rest, BESIDE);
            areas.wall = Some(right(&mut rest, 1));
        } else {
            let of_history = (rest.height / 5).max(2);
            areas.history = bottom(&mut rest, of_history);
            areas.detail = bottom(&mut rest, 1);
            areas.rules.push(bottom(&mut rest, 1));
        }
        areas.list = rest;
        areas
    }

    /// The rows of the list, below its head.
    pub(in crate::tui) fn rows(&self) -> usize {
        usize::from(self.list.height.saturating_sub(1))
    }
}

fn top(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    let part = Rect { height, ..*rest };
    rest.y += height;
    rest.height -= height;
    part
}

fn bottom(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    rest.height -= height;
    Rect { y: rest.y + rest.height, height, ..*rest }
}

fn right(rest: &mut Rect, width: u16) -> Rect {
    let width = width.min(rest.width);
    rest.width -= width;
    Rect { x: rest.x + rest.width, width, ..*rest }
}

#[cfg(test)]
mod tests {
    use ratatui::layout::Rect;

    use super::Areas;

    #[test]
    fn the_parts_fill_every_screen_and_share_no_cell() {
        for (width, height) in
            (0..130).step_by(7).flat_map(|width| (0..50).map(move |height| (width, height)))
        {
            let areas = Areas::of(Rect::new(0, 0, width, height), height % 7, 3);
            let parts =
                [areas.header, areas.list, areas.detail, areas.history, areas.to_do, areas.footer];
            let parts = parts.into_iter().chain(areas.rules.iter().copied()).chain(areas.wall);
            let cells: u32 = parts.map(Rect::area).sum();
            assert_eq!(cells, u32::from(width) * u32::from(height), "{width}x{height}: {areas:?}");
        }
    }
}
