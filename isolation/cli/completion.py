"""``isolation completion``: what a shell needs to complete our commands and options, written from the parser itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from isolation.cli.session import say

if TYPE_CHECKING:
    from argparse import Namespace

    from isolation.cli.parser import Parser

_BASH = """\
# Completion of isolation for bash; zsh reads it through bashcompinit.
_isolation() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" path="" part words
    for part in "${{COMP_WORDS[@]:1:COMP_CWORD-1}}"; do
        case " {names} " in *" $part "*) path="$path $part" ;; esac
    done
    case "$path" in
{cases}
        *) words="" ;;
    esac
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _isolation isolation
"""
_ZSH = "autoload -U +X bashcompinit && bashcompinit\n"
_FISH = "complete -c isolation -n '{condition}' -a '{words}'"


def register(parser: Parser) -> None:
    """Add the command."""
    added = parser.add(
        "completion",
        lambda given: _completion(given, parser),
        "Print the completion script of a shell.",
        examples=(
            'eval "$(isolation completion bash)"     in ~/.bashrc',
            'eval "$(isolation completion zsh)"      in ~/.zshrc',
            "isolation completion fish | source      in config.fish",
        ),
    )
    added.add_argument("shell", metavar="SHELL", choices=("bash", "zsh", "fish"), help="bash, zsh or fish")


def script(parser: Parser, shell: str) -> str:
    """Write the completion script of a shell."""
    words = dict(_words(parser, ""))
    if shell == "fish":
        return "\n".join(_fish(path, found) for path, found in words.items())
    cases = "\n".join(f'        "{path}") words="{" ".join(found)}" ;;' for path, found in words.items())
    known = " ".join(sorted({name for path in words for name in path.split()}))
    return (_ZSH if shell == "zsh" else "") + _BASH.format(names=known, cases=cases).rstrip("\n")


def _words(parser: Parser, path: str) -> list[tuple[str, list[str]]]:
    options = [option for option in parser.options() if option.startswith("--")]
    found = [(path, [*parser.commands, *options])]
    for name, command in parser.commands.items():
        found += _words(command, f"{path} {name}")
    return found


def _fish(path: str, words: list[str]) -> str:
    names = path.split()
    condition = " && ".join(f"__fish_seen_subcommand_from {name}" for name in names) or "__fish_use_subcommand"
    return _FISH.format(condition=condition, words=" ".join(words))


def _completion(given: Namespace, parser: Parser) -> int:
    say(script(parser, given.shell))
    return 0
