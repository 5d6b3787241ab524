"""Completion of the command line in bash, zsh and fish: a script for each, made from the options."""

from __future__ import annotations

from collections.abc import Mapping

from gaggle.options import Kind, Spec, flag

FILES = ("FILE", "NAME")  # metavars whose values are names of files
SHELLS = ("bash", "zsh", "fish")

_BASH = """\
_gaggle() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}}
    # bash makes three words of --flag=value
    if [[ $cur == = ]]; then cur=; elif [[ $prev == = ]]; then prev=${{COMP_WORDS[COMP_CWORD-2]}}; fi
    case $prev in
{cases}    esac
    case $cur in
        -*) COMPREPLY=($(compgen -W "{flags}" -- "$cur")) ;;
        *) COMPREPLY=($(compgen -f -X '!*.py' -- "$cur") $(compgen -d -S / -- "$cur")) ;;
    esac
}}
complete -F _gaggle gaggle
"""
_ZSH = """\
#compdef gaggle
_gaggle() {{
    _arguments -s \\
{lines}        '*:load test:_files -g "*.py"'
}}
compdef _gaggle gaggle
"""
_FISH = "complete -c gaggle -x -a '(__fish_complete_suffix .py)'\n{lines}"
_ZSH_SAFE = str.maketrans({"'": "'\\''", "[": "\\[", "]": "\\]", ":": "\\:"})
_FISH_SAFE = str.maketrans({"'": "\\'", "\\": "\\\\"})


def script(shell: str, specs: Mapping[str, Spec]) -> str:
    """Return what the shell, one of SHELLS, is to read: `source <(gaggle --completion bash)`."""
    return {"bash": _bash, "zsh": _zsh, "fish": _fish}[shell](specs)


def spellings(name: str, of: Spec) -> list[str]:
    """Return all flags of an option, the short one first."""
    return [each for each in (of.short, flag(name), *of.aliases) if each]


def words(of: Spec) -> str:
    """Return the values to choose from, where the metavar has them: of `auto|fast`; what is in capitals is none."""
    return " ".join(each for each in of.metavar.split("|") if not each.isupper()) if "|" in of.metavar else ""


def _bash(specs: Mapping[str, Spec]) -> str:
    flags = " ".join(each for name, of in specs.items() for each in spellings(name, of) if each.startswith("--"))
    cases = "".join(
        f"        {'|'.join(spellings(name, of))}) {_bash_values(of)}; return ;;\n"
        for name, of in specs.items()
        if of.kind.takes_value
    )
    return _BASH.format(cases=cases, flags=flags)


def _bash_values(of: Spec) -> str:
    if of.metavar in FILES:
        return 'COMPREPLY=($(compgen -f -- "$cur"))'
    return f'COMPREPLY=($(compgen -W "{words(of)}" -- "$cur"))' if words(of) else "COMPREPLY=()"


def _zsh(specs: Mapping[str, Spec]) -> str:
    lines = (_zsh_line(of, each) for name, of in specs.items() for each in spellings(name, of))
    return _ZSH.format(lines="".join(f"        '{line}' \\\n" for line in lines))


def _zsh_line(of: Spec, written: str) -> str:
    repeats = "*" if of.kind in (Kind.MANY, Kind.COUNTED) else ""
    help = of.help.translate(_ZSH_SAFE)
    if not of.kind.takes_value:
        return f"{repeats}{written}[{help}]"
    values = "_files" if of.metavar in FILES else f"({words(of)})" if words(of) else " "
    ends = "=" if written.startswith("--") else "+"
    return f"{repeats}{written}{ends}[{help}]:{of.metavar.translate(_ZSH_SAFE)}:{values}"


def _fish(specs: Mapping[str, Spec]) -> str:
    return _FISH.format(lines="".join(_fish_line(name, of) for name, of in specs.items()))


def _fish_line(name: str, of: Spec) -> str:
    flags = [f"-l {each[2:]}" if each.startswith("--") else f"-s {each[1:]}" for each in spellings(name, of)]
    values = " -r -F" if of.metavar in FILES else " -x" + (f" -a '{words(of)}'" if words(of) else "")
    help = of.help.translate(_FISH_SAFE)
    return f"complete -c gaggle {' '.join(flags)}{values if of.kind.takes_value else ''} -d '{help}'\n"
