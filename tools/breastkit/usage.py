"""What can be typed after ``breastkit``: the tree of verbs, its help texts, and the checks before anything runs.

A verb is a function of the package, named as ``module:function`` and imported only when it is asked for. Its signature
gives the arguments and options, its docstring their explanation, so neither can say something else than the code. Fire
turns the words into the call; because Fire guesses types from values (``153`` becomes a number, ``a,b`` a tuple) and
looks at unknown options only after the function has run, words are checked here first and parsed by annotation.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import json
import textwrap
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from breastkit.errors import UsageError

_WIDTH = 100
HELP_WORDS = ("--help", "-h", "help")


@dataclass(frozen=True)
class Verb:
    """A command that does something.

    Attributes:
        target: the function, as ``module:function``.
        summary: one line for the list of verbs.
        example: a command line that works as it stands.
    """

    target: str
    summary: str
    example: str = ""

    def function(self) -> Callable[..., Any]:
        """Imports and returns the function."""
        module, name = self.target.split(":")
        room = module.partition(".")[0]
        if importlib.util.find_spec(room) is None:
            raise UsageError(f"This verb is part of the source checkout (tools/{room}), which is not installed here.")
        function: Callable[..., Any] = getattr(importlib.import_module(module), name)
        return function


@dataclass(frozen=True)
class Group:
    """A word that needs another one after it.

    Attributes:
        summary: one line for the list of verbs.
        members: what may come after it.
        otherwise: the verb that the group's own word stands for where none of the members is named.
    """

    summary: str
    members: dict[str, Group | Verb] = field(default_factory=dict)
    otherwise: Verb | None = None

    def verbs(self, prefix: tuple[str, ...] = ()) -> list[tuple[str, Verb]]:
        """Lists every verb below, with the words that lead to it."""
        found = []
        for name, member in self.members.items():
            words = (*prefix, name)
            found += member.verbs(words) if isinstance(member, Group) else [(" ".join(words), member)]
        return found if self.otherwise is None else [(" ".join(prefix), self.otherwise), *found]


@dataclass(frozen=True)
class Parameter:
    """One argument or option of a verb, as its function declares it."""

    name: str
    parse: Callable[[str], Any]
    required: bool
    positional: bool
    several: bool
    flag: bool
    numeric: bool
    default: Any
    choices: tuple[str, ...]
    explanation: str

    @property
    def option(self) -> str:
        """The option's name on the command line."""
        return "--" + self.name.replace("_", "-")


def find(tree: Group, words: Sequence[str], *, program: str) -> tuple[Group | Verb, list[str], list[str]]:
    """Follows the words through the tree.

    Returns:
        The group or verb they lead to, the words used (with the program's name) and those left over.

    Raises:
        UsageError: if a word names no verb.
    """
    node: Group | Verb = tree
    used, rest = [program], list(words)
    while isinstance(node, Group) and rest and rest[0] not in HELP_WORDS:
        word = rest.pop(0)
        if word not in node.members:
            if node.otherwise is not None:
                return node.otherwise, used, [word, *rest]
            raise UsageError(_unknown_verb(node, used, word))
        node = node.members[word]
        used.append(word)
    if isinstance(node, Group) and node.otherwise is not None:
        return node.otherwise, used, rest
    return node, used, rest


def group_help(group: Group, words: Sequence[str]) -> str:
    """Returns the help text of a group: every verb below it on a line."""
    command = " ".join(words)
    verbs = group.verbs()
    width = max(len(name) for name, _ in verbs) + 2
    lines = [f"{command}: {group.summary}", "", f"Usage: {command} VERB ...", ""]
    lines += [f"  {name.ljust(width)}{verb.summary}" for name, verb in verbs]
    lines += ["", f"More about a verb: {command} {verbs[0][0]} --help"]
    return "\n".join(lines)


def verb_help(verb: Verb, words: Sequence[str]) -> str:
    """Returns the help text of a verb, made from its function's signature and docstring."""
    function = verb.function()
    parameters = parameters_of(function)
    lines = [f"Usage: {usage_line(parameters, words)}", ""]
    about = _docstring(function)
    lines += textwrap.wrap(_plain(about.summary or verb.summary), _WIDTH)
    for paragraph in (about.description or "").split("\n\n"):
        if paragraph.strip():
            lines += ["", *textwrap.wrap(_plain(paragraph), _WIDTH)]
    arguments = [(item.name.upper(), _explanation(item)) for item in parameters if item.positional]
    options = [(_option_text(item), _explanation(item)) for item in parameters if not item.positional]
    for title, rows in (("Arguments", arguments), ("Options", options)):
        lines += ["", f"{title}:", *_table(rows)] if rows else []
    if verb.example:
        lines += ["", f"Example: {verb.example}"]
    return "\n".join(lines)


def usage_line(parameters: Sequence[Parameter], words: Sequence[str]) -> str:
    """Returns the one line that shows how a verb is called."""
    parts = list(words)
    for item in parameters:
        if item.positional:
            word = item.name.upper() + ("..." if item.several else "")
            parts.append(word if item.required else f"[{word}]")
        elif item.required:
            parts.append(f"{item.option} {_value_name(item)}")
    if any(not item.positional and not item.required for item in parameters):
        parts.append("[options]")
    return " ".join(parts)


def parameters_of(function: Callable[..., Any]) -> list[Parameter]:
    """Reads a function's arguments and options; what cannot be typed as text and has a default is left out."""
    hints = typing.get_type_hints(function)
    explanations = {item.name: _plain(item.description or "") for item in _docstring(function).args or []}
    found = []
    for name, item in inspect.signature(function).parameters.items():
        required = item.default is inspect.Parameter.empty
        parsed = _parser(name, hints.get(name, str))
        if parsed is None:
            if required:
                raise TypeError(f"{function.__qualname__}: {name} cannot be typed on a command line")
            continue
        parse, several, choices = parsed
        found.append(
            Parameter(
                name=name,
                parse=parse,
                required=required,
                positional=item.kind is not inspect.Parameter.KEYWORD_ONLY,
                several=several,
                flag=_alternatives(hints.get(name)) == [bool],
                numeric=_innermost(hints.get(name, str)) in (int, float),
                default=None if required else item.default,
                choices=choices,
                explanation=explanations.get(name, ""),
            )
        )
    return found


def checked_words(parameters: Sequence[Parameter], words: Sequence[str], command: Sequence[str]) -> list[str]:
    """Checks what was typed and returns it as ``--name=value`` words that Fire cannot misread.

    Raises:
        UsageError: for an unknown option, a missing argument or one too many.
    """
    options = {item.option: item for item in parameters}
    positional = [item for item in parameters if item.positional]
    values: dict[str, list[str]] = {}
    loose: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            loose += rest
            break
        if not word.startswith("-") or word == "-":
            loose.append(word)
            continue
        item, value = _option_value(word, rest, options, command)
        values.setdefault(item.name, []).append(value)
    for item in positional:
        if item.name not in values and loose:
            taken = len(loose) if item.several else 1
            values[item.name], loose = loose[:taken], loose[taken:]
    help_hint = f"see {' '.join(command)} --help"
    if loose:
        raise UsageError(f"{' '.join(command)} takes no further argument {loose[0]!r}; {help_hint}.")
    for item in parameters:
        if item.required and item.name not in values:
            name = item.name.upper() if item.positional else item.option
            raise UsageError(f"{' '.join(command)} needs {name}; {help_hint}.")
        if not item.several and len(values.get(item.name, [])) > 1:
            raise UsageError(f"{item.option} was given twice; give it once.")
    several = {item.name for item in parameters if item.several}
    return [f"--{name}={json.dumps(given) if name in several else given[0]}" for name, given in values.items()]


def _option_value(
    word: str, rest: list[str], options: dict[str, Parameter], command: Sequence[str]
) -> tuple[Parameter, str]:
    typed, equals, value = word.partition("=")
    name = typed.replace("_", "-")
    switched_off = options.get("--" + name.removeprefix("--no-"))
    if name not in options and switched_off is not None and switched_off.flag and not equals:
        return switched_off, "false"
    if name not in options:
        near = difflib.get_close_matches(name, options, n=1, cutoff=0.6)
        meant = f"did you mean {near[0]}?" if near else f"see {' '.join(command)} --help."
        raise UsageError(f"{' '.join(command)} has no option {typed}; {meant}")
    item = options[name]
    if equals:
        return item, value
    if item.flag:
        return item, "true"
    if not rest or rest[0].startswith("--"):
        raise UsageError(f"{item.option} needs a value; see {' '.join(command)} --help.")
    return item, rest.pop(0)


def _unknown_verb(group: Group, used: Sequence[str], word: str) -> str:
    command = " ".join(used)
    near = difflib.get_close_matches(word, group.members, n=1, cutoff=0.6)
    if near:
        return f"{command} has no verb {word!r}; did you mean {command} {near[0]}?"
    return f"{command} has no verb {word!r}; there are {', '.join(group.members)}."


def _parser(name: str, hint: Any) -> tuple[Callable[[str], Any], bool, tuple[str, ...]] | None:
    """Returns how a word becomes a value of a type, whether it may be given several times, and its choices."""
    option = "--" + name.replace("_", "-")
    kinds = _alternatives(hint)
    if str in kinds or Path in kinds:
        return (str if str in kinds else Path), False, ()
    if len(kinds) != 1:
        return None
    kind = kinds[0]
    if kind is bool:
        return (lambda text: _boolean(option, text)), False, ()
    if kind in (int, float):
        return (lambda text: _number(option, kind, text)), False, ()
    if typing.get_origin(kind) is typing.Literal:
        choices = tuple(str(choice) for choice in typing.get_args(kind))
        return (lambda text: _choice(option, choices, text)), False, choices
    return _sequence_parser(name, kind)


def _sequence_parser(name: str, kind: Any) -> tuple[Callable[[str], Any], bool, tuple[str, ...]] | None:
    if typing.get_origin(kind) not in (list, tuple, Sequence):
        return None
    inner = _parser(name, next(arg for arg in typing.get_args(kind)))
    if inner is None:
        return None
    parse = inner[0]

    def parse_all(text: str) -> list[Any]:
        given = json.loads(text)
        # Numbers may stand in one word, as in 128,128,48; a name may hold commas and is taken as it is.
        if parse not in (str, Path):
            given = [part for word in given for part in word.split(",")]
        return [parse(part) for part in given]

    return parse_all, True, inner[2]


def _alternatives(hint: Any) -> list[Any]:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return [kind for kind in typing.get_args(hint) if kind is not types.NoneType]
    return [hint]


def _boolean(option: str, text: str) -> bool:
    if text.lower() in ("true", "yes", "1"):
        return True
    if text.lower() in ("false", "no", "0"):
        return False
    raise UsageError(f"{option} takes true or false, not {text!r}.")


def _number(option: str, kind: type[int] | type[float], text: str) -> int | float:
    try:
        return kind(text)
    except ValueError as error:
        wanted = "a whole number" if kind is int else "a number"
        raise UsageError(f"{option} takes {wanted}, not {text!r}.") from error


def _choice(option: str, choices: Sequence[str], text: str) -> str:
    if text in choices:
        return text
    near = difflib.get_close_matches(text, choices, n=1)
    raise UsageError(
        f"{option} takes {', '.join(choices)}, not {text!r}" + (f"; did you mean {near[0]}?" if near else ".")
    )


def _innermost(hint: Any) -> Any:
    """Returns int for ``int | None`` and for ``tuple[int, ...]``."""
    kind = _alternatives(hint)[0]
    return typing.get_args(kind)[0] if typing.get_origin(kind) in (list, tuple, Sequence) else kind


def _docstring(function: Callable[..., Any]) -> Any:
    from fire import docstrings

    return docstrings.parse(inspect.getdoc(function) or "")


def _plain(text: str) -> str:
    return " ".join(text.replace("`", "").split())


def _value_name(item: Parameter) -> str:
    if item.choices:
        return "|".join(item.choices)
    return "N" if item.numeric else "VALUE"


def _option_text(item: Parameter) -> str:
    if item.flag:
        return item.option if item.default is False else f"--[no-]{item.option[2:]}"
    return f"{item.option} {_value_name(item)}"


def _explanation(item: Parameter) -> str:
    if item.required or item.default in (None, "", ()) or (item.flag and not item.default):
        return item.explanation
    explanation = item.explanation.rstrip(".")
    if item.flag:
        return f"{explanation} (on by default)"
    default = ",".join(map(str, item.default)) if isinstance(item.default, tuple | list) else item.default
    return f"{explanation} (default: {default})"


def _table(rows: Sequence[tuple[str, str]]) -> list[str]:
    width = min(max(len(name) for name, _ in rows), 28) + 2
    lines = []
    for name, text in rows:
        wrapped = textwrap.wrap(text, _WIDTH - width - 2) or [""]
        if len(name) >= width:
            lines.append(f"  {name}")
            name = ""
        lines.append(f"  {name.ljust(width)}{wrapped[0]}".rstrip())
        lines += [" " * (width + 2) + line for line in wrapped[1:]]
    return lines
