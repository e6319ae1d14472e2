"""bash: one function; `compgen` filters."""

from __future__ import annotations

from kache.cli.completions.model import Command, every

_HEAD = """\
# Completions of kache for bash, made by: kache completions bash
_kache() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} given="" word at
    COMPREPLY=()
    for ((at = 1; at < COMP_CWORD; at++)); do
        word=${COMP_WORDS[at]}
        [[ $word == -* ]] || given+="$word "
    done
    case "${given%% *} $prev" in"""
_MIDDLE = """\
    esac
    case "$given" in"""
_TAIL = """\
    esac
}
complete -F _kache kache"""


def script(commands: list[Command]) -> str:
    """The script."""
    lines = [_HEAD]
    for command in every(commands):
        for option in command.options:
            if option.value:
                names = "|".join(f'"{command.path[0]} {name}"' for name in option.names)
                lines.append(f"        {names}) {_reply(option.choices, is_path=option.is_path)} return ;;")
    lines.append(_MIDDLE)
    lines.append(
        f'        "") {_words([*(command.path[0] for command in commands), "--help", "--version", "--json"])} ;;'
    )
    # Longest path first: `config set ` before `config `.
    for command in sorted(every(commands), key=lambda command: -len(command.path)):
        flags = [name for option in command.options for name in option.names]
        words = [action.path[-1] for action in command.actions] or list(command.words)
        start = f'"{" ".join(command.path)} "'
        lines.append(f"        {start}*)")
        lines.append(f"            if [[ $cur == -* ]]; then {_words(flags)}")
        if words:
            lines.append(f"            elif [[ $given == {start} ]]; then {_words(words)}")
        if command.takes_path:
            lines.append(f"            else {_reply((), is_path=True)}")
        lines.append("            fi ;;")
    return "\n".join([*lines, _TAIL]) + "\n"


def _reply(choices: tuple[str, ...], *, is_path: bool) -> str:
    if choices:
        return _words(list(choices))
    return 'COMPREPLY=($(compgen -f -- "$cur"));' if is_path else ""


def _words(words: list[str]) -> str:
    return f"""COMPREPLY=($(compgen -W '{" ".join(words)}' -- "$cur"));"""
