"""The monitor's style sheet, and the smallest terminal anything is drawn on."""

MIN_COLUMNS, MIN_ROWS = 60, 16

CSS = """
#too-small { display: none; padding: 0 1; }
.too-small #too-small { display: block; height: auto; }
.too-small #summary, .too-small #hits, .too-small #tabs, .too-small #filter, .too-small Footer { display: none; }
#summary { height: 1; padding: 0 1; background: $panel; }
#hits { height: 2; padding: 0 1; }
#filter { display: none; height: 3; }
#filter.shown { display: block; }
#running { height: auto; max-height: 8; padding: 0 1; color: $text-muted; }
#build-table { height: 1fr; min-height: 4; }
#unit-table { height: 1fr; min-height: 4; border-top: solid $panel; }
.bars { height: auto; max-height: 10; padding: 0 1; }
.speed { height: 1; padding: 0 1; }
#moved-table { height: 2fr; min-height: 3; }
#queue-table { height: 1fr; min-height: 3; border-top: solid $panel; }
.title { color: $text-muted; padding: 0 1; }
Screen { overflow: hidden; }
TabbedContent { height: 1fr; }
ContentSwitcher { height: 1fr; }
TabPane { padding: 0; height: 1fr; }
DataTable { height: 1fr; }
"""
