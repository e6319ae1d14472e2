"""elvish: a map from the words typed so far to what may follow."""

from __future__ import annotations

from kache.cli.completions.model import Command, every

_HEAD = """\
# Completions of kache for elvish, made by: kache completions elvish
use str
set edit:completion:arg-completer[kache] = {|@words|
    fn candidate {|word text| edit:complex-candidate $word &display=$word'  '$text }
    var given = ''
    for word $words[1..-1] {
        if (not (str:has-prefix $word '-')) { set given = $given';'$word }
    }
    var known = ["""
_TAIL = """\
    ]
    while (and (not-eq $given '') (not (has-key $known $given))) {
        set given = $given[0..(str:last-index $given ';')]
    }
    $known[$given]
}"""


def script(commands: list[Command]) -> str:
    """The script."""
    lines = [_HEAD, "        &''= {"]
    lines += [_candidate(command.path[0], command.help) for command in commands]
    lines.append("        }")
    for command in every(commands):
        lines.append(f"        &{_quoted(';' + ';'.join(command.path))}= {{")
        lines += [_candidate(action.path[-1], action.help) for action in command.actions]
        lines += [_candidate(word, "") for word in command.words]
        lines += [_candidate(name, option.help) for option in command.options for name in option.names]
        lines.append("        }")
    return "\n".join([*lines, _TAIL]) + "\n"


def _candidate(word: str, text: str) -> str:
    return f"            candidate {_quoted(word)} {_quoted(text)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
