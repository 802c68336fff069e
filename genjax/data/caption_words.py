"""Captions of images that come with a name and keywords, or with a path."""

import re
from collections.abc import Sequence

_IMAGE = re.compile(r"\.(png|jpe?g)$", re.IGNORECASE)
# A word, or several; no smiley such as :D or ^^, which says nothing that is read.
_WORDS = re.compile(r"[^\W_]|[^\W_].*[^\W_]", re.DOTALL)


def from_keywords(name: str, keywords: Sequence[str]) -> list[str]:
    """Composes captions of a name and of keywords.

    Args:
      name: what is shown.
      keywords: what else it is found by, the most usual first. Smileys such as ``:D``, and those
        whose words the name has, are left out.

    Returns:
      The name; the name with the first keyword, and with the next two; up to six keywords, three
      at a time; and the name with all of these.

    Example:
      >>> from_keywords("tired face", ["tired_face", ":(", "sick", "whine"])
      ['tired face', 'tired face, sick', 'tired face, whine', 'sick, whine',
       'tired face, sick, whine']
    """
    known = set(_words_of(name))
    spaced = (" ".join(keyword.replace("_", " ").split()) for keyword in keywords)
    said = (word for word in spaced if _WORDS.fullmatch(word) and not known >= {*_words_of(word)})
    first = list(dict.fromkeys(said))[:6]
    threes = [first[start : start + 3] for start in (0, 3)]
    lists = [three for three in threes if len(three) > 1]
    parts = [[name], [name, *first[:1]], [name, *first[1:3]], *lists, [name, *first]]
    return list(dict.fromkeys(", ".join(part) for part in parts))


def from_path(path: str) -> list[str]:
    """Composes captions of a path's words.

    Args:
      path: folders and a name, such as ``monster/undead/skeletal_warrior2``.

    Returns:
      All words, from the first folder to the name, and fewer and fewer of them to the name alone;
      without numbers at the end, and no word twice in a row.

    Example:
      >>> from_path("wall/wall_stone_mesh3")
      ['wall stone mesh']
      >>> from_path("item/gold/01")
      ['item gold', 'gold']
    """
    *folders, name = path.split("/")
    groups = [folder.replace("_", " ").split() for folder in folders]
    groups.append(_without_number(_IMAGE.sub("", name).replace("_", " ").split()))
    found = []
    for start in range(len(groups)):
        words = [word for group in groups[start:] for word in group]
        once = [word for place, word in enumerate(words) if words[place - 1 : place] != [word]]
        found.append(" ".join(once))
    return list(dict.fromkeys(filter(None, found)))


def _words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.casefold())


def _without_number(words: list[str]) -> list[str]:
    while words and words[-1][0].isdecimal():
        words = words[:-1]
    return [*words[:-1], words[-1].rstrip("0123456789")] if words else []
