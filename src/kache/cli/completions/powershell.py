"""PowerShell: a native argument completer."""

from __future__ import annotations

from kache.cli.completions.model import Command, every

_HEAD = """\
# Completions of kache for PowerShell, made by: kache completions powershell
Register-ArgumentCompleter -Native -CommandName kache -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    $known = @{"""
_TAIL = """\
    }
    $given = @($commandAst.CommandElements | Select-Object -Skip 1 | ForEach-Object { $_.ToString() } |
        Where-Object { -not $_.StartsWith('-') })
    if ($wordToComplete -and $given.Count -and $given[-1] -eq $wordToComplete) {
        $given = @($given | Select-Object -SkipLast 1)
    }
    while ($given.Count -and -not $known.ContainsKey($given -join ' ')) {
        $given = @($given | Select-Object -SkipLast 1)
    }
    $known[$given -join ' '] | Where-Object { $_[0] -like "$wordToComplete*" } | ForEach-Object {
        [System.Management.Automation.CompletionResult]::new($_[0], $_[0], 'ParameterValue', $_[1])
    }
}"""


def script(commands: list[Command]) -> str:
    """The script."""
    lines = [_HEAD, _row("", [(command.path[0], command.help) for command in commands])]
    for command in every(commands):
        words = [(action.path[-1], action.help) for action in command.actions]
        words += [(word, word) for word in command.words]
        words += [(name, option.help or name) for option in command.options for name in option.names]
        lines.append(_row(" ".join(command.path), words))
    return "\n".join([*lines, _TAIL]) + "\n"


def _row(path: str, words: list[tuple[str, str]]) -> str:
    # The comma keeps a list of one pair from becoming the pair.
    rows = ", ".join(f"@({_quoted(word)}, {_quoted(text)})" for word, text in words)
    return f"        {_quoted(path)} = @(,{rows})" if len(words) == 1 else f"        {_quoted(path)} = @({rows})"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
