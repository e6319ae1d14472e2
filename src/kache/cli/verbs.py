"""The one list of verbs: the overview, the dispatch and the tests read it."""

from __future__ import annotations

from typing import NamedTuple


class Verb(NamedTuple):
    """A verb, the module under `kache.cli.commands` that does it, and one line of help.

    With `passes_on` it runs another program, whose words come behind the verb and its own flags.
    """

    name: str
    module: str
    help: str
    passes_on: bool = False


VERBS: tuple[Verb, ...] = (
    Verb("init", "init", "Set kache up for this user, or take that back."),
    Verb("cargo", "cargo", "Run cargo with its compiles cached, and say what the cache did.", passes_on=True),
    Verb("stats", "stats", "Count hits, misses and passthroughs, and what they saved."),
    Verb("list", "list", "List what the store holds."),
    Verb("why-miss", "why_miss", "Say what changed for each compile that was not a hit."),
    Verb("report", "report", "Report what builds did, unit by unit: text, HTML, Markdown, a trace."),
    Verb("monitor", "monitor", "Watch builds, and look around in what happened."),
    Verb("gc", "gc", "Evict entries until the store fits its budget."),
    Verb("purge", "purge", "Delete every entry, or those of one crate."),
    Verb("clean", "clean", "Find target directories and delete those chosen."),
    Verb("daemon", "daemon", "Look at, start or stop the background process."),
    Verb("sync", "sync", "Bring entries from the remote, or send them there."),
    Verb("prefetch", "prefetch", "Fetch from the remote what the next build here will need."),
    Verb("save-manifest", "save_manifest", "Send what the last builds used to the remote, for other machines' plans."),
    Verb("remote", "remote", "Look at the cache shared with other machines, verify it, clean it up."),
    Verb("planner", "planner", "Run the service that tells a team's builds what to fetch."),
    Verb("keys", "keys", "Make and trust the keys that entries are signed with."),
    Verb("doctor", "doctor", "Check the installation and say how to repair it."),
    Verb("config", "config", "Look at the settings, and change them."),
    Verb("completions", "completions", "Print the completion script of a shell."),
    Verb("debug", "debug", "Show what an entry depends on, and why."),
    Verb("help", "help", "Explain a command."),
)
