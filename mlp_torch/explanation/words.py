"""`mlp explain WORD`: a word of the outputs in a sentence or two, at once; without one, an entry."""

import json

from rich.text import Text

from mlp_torch.explanation.config import Explain
from mlp_torch.explanation.glossary import LIST, SECTIONS, WORDS, find, markdown
from mlp_torch.pager import paged
from mlp_torch.terminal import Terminal


def run(config: Explain) -> int:
    """0 after a word; else what explaining the entry gives, for which torch is imported only then."""
    if not config.word:
        from mlp_torch.explanation.command import run as explain

        return explain(config)
    entries = find(config.asked)
    if config.json:
        print(json.dumps(entries, ensure_ascii=False))
        return 0
    with paged(config):
        if config.format == "markdown":
            print(markdown(entries))
        else:
            show(entries)
    return 0


def show(entries: dict[str, str]) -> None:
    """A paragraph a word, under the titles of the sections where all of them are asked for."""
    console = Terminal(highlight=False)
    titles = {next(iter(section)): title for title, section in SECTIONS.items()}
    for word, said in entries.items():
        if entries is WORDS and word in titles:
            console.print(Text(f"\n{titles[word]}\n", style="bold"))
        console.print(Text.assemble((word, "bold cyan"), f": {said}"), soft_wrap=not console.is_terminal)
    if entries is not WORDS:
        console.print(Text(f"all words: mlp explain {LIST}", style="dim"))
