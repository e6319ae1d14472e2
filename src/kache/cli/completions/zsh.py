"""zsh: `_arguments`, nested as the commands are."""

from __future__ import annotations

from kache.cli.completions.model import Command, Option

_HEAD = """\
#compdef kache
# Completions of kache for zsh, made by: kache completions zsh
"""
_TAIL = """
if [[ $funcstack[1] == _kache ]]; then
    _kache "$@"
else
    compdef _kache kache
fi
"""


def script(commands: list[Command]) -> str:
    """The script."""
    top = Command((), "", [Option(("--version", "-V"), "print the version"), Option(("--help", "-h"), "explain")])
    top.actions = commands
    return _HEAD + "\n".join(_functions(top)) + _TAIL


def _functions(command: Command) -> list[str]:
    name = "_".join(("_kache", *(word.replace("-", "_") for word in command.path)))
    lines = []
    for action in command.actions:
        lines += _functions(action)
    specs = [_spec(option) for option in command.options]
    if not command.actions:
        specs.append(_rest(command))
        return [*lines, f"{name}() {{", "    _arguments \\", *_continued(specs), "}"]
    choices = [_quoted(f"{action.path[-1]}:{action.help}") for action in command.actions]
    specs += ["'1:command:->command'", "'*::argument:->arguments'"]
    lines += [f"{name}() {{", "    local state line", "    local -a found", "    _arguments -C \\", *_continued(specs)]
    lines += ["    case $state in", "        command)", f"            found=({' '.join(choices)})"]
    lines += ["            _describe command found ;;", "        arguments)", "            case $line[1] in"]
    for action in command.actions:
        below = "_".join(("_kache", *(word.replace("-", "_") for word in action.path)))
        lines.append(f"                {action.path[-1]}) {below} ;;")
    return [*lines, "            esac ;;", "    esac", "}"]


def _continued(specs: list[str]) -> list[str]:
    return [f"        {spec} \\" for spec in specs[:-1]] + [f"        {specs[-1]}"]


def _spec(option: Option) -> str:
    names = option.names[0] if len(option.names) == 1 else "'{" + ",".join(option.names) + "}'"
    exclusive = f"({' '.join(option.names)})"
    value = ""
    if option.value:
        value = f":{option.value}:{_action(option.choices, is_path=option.is_path)}"
    return f"'{exclusive}{names}[{_plain(option.help)}]{value}'"


def _rest(command: Command) -> str:
    return f"'*:argument:{_action(command.words, is_path=command.takes_path)}'"


def _action(choices: tuple[str, ...], *, is_path: bool) -> str:
    if choices:
        return f"({' '.join(choices)})"
    return "_files" if is_path else " "


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _plain(text: str) -> str:
    return text.replace("'", "'\\''").replace("[", "(").replace("]", ")").replace(":", "\\:")
