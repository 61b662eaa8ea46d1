"""The app as tests run it, and what is on its screen."""

from clawtop.tui.app import ClawtopApp
from clawtop.tui.feed import Feed
from clawtop.tui.options import Colours, ScreenOptions


def stage(feed: Feed, **options: object) -> ClawtopApp:
    """The app in true colours."""
    return ClawtopApp(feed, ScreenOptions(**{"colours": Colours.TRUE, **options}))  # type: ignore[arg-type]


def lines(app: ClawtopApp) -> list[str]:
    """What stands on the screen, a string a line."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def shown(app: ClawtopApp) -> str:
    """What stands on the screen."""
    return "\n".join(lines(app))


def names(app: ClawtopApp) -> list[str]:
    """The rows of the table in their order."""
    return [row.label for row in app.fleet.table.rows]


def selected(app: ClawtopApp) -> str | None:
    """The agent under the cursor."""
    row = app.fleet.table.selected
    return None if row is None else row.label
