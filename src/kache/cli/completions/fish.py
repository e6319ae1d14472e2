"""fish: one line a word, each with the condition under which it may come."""

from __future__ import annotations

from kache.cli.completions.model import Command, Option, every

_HEAD = """\
# Completions of kache for fish, made by: kache completions fish
function __kache_given
    for word in (commandline -opc)[2..-1]
        string match -q -- '-*' $word; or echo $word
    end
end
function __kache_below
    set -l given (__kache_given)
    set -l last (count $argv)
    test (count $given) -ge $last; and test "$given[1..$last]" = "$argv"
end
function __kache_at
    test (count (__kache_given)) -eq (count $argv); and begin
        test (count $argv) -eq 0; or __kache_below $argv
    end
end
complete -c kache -f"""


def script(commands: list[Command]) -> str:
    """The script."""
    lines = [_HEAD]
    lines += [_word("__kache_at", command.path[0], command.help) for command in commands]
    for name, text in (("version", "print the version"), ("help", "explain")):
        lines.append(f"complete -c kache -n __kache_at -l {name} -d '{text}'")
    for command in every(commands):
        path = " ".join(command.path)
        at, below = f"__kache_at {path}", f"__kache_below {path}"
        lines += [_word(at, action.path[-1], action.help) for action in command.actions]
        lines += [_word(at, word, "") for word in command.words]
        if command.takes_path:
            lines.append(f"complete -c kache -n '{below}' -F")
        if not command.actions:
            lines += [_option(below, option) for option in command.options]
    return "\n".join(lines) + "\n"


def _word(condition: str, word: str, text: str) -> str:
    told = f" -d {_quoted(text)}" if text else ""
    return f"complete -c kache -n '{condition}' -a {_quoted(word)}{told}"


def _option(condition: str, option: Option) -> str:
    names = " ".join(f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names)
    value = ""
    if option.choices:
        value = f" -x -a {_quoted(' '.join(option.choices))}"
    elif option.value:
        value = " -r -F" if option.is_path else " -x"
    return f"complete -c kache -n '{condition}' {names}{value} -d {_quoted(option.help)}"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
