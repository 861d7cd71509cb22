"""Where somebody's code raised: the innermost place that is neither ours nor a library's."""

import sysconfig
import traceback
from pathlib import Path

ROOT = Path(__file__).parent.parent
OURS = tuple(ROOT / name for name in ("search_spaces", "hardware", "predictors", "nas", "experiments"))
LIBRARIES = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def place(error: BaseException) -> str:
    """File and line of an author's code that an error comes from; or else of the innermost code there is."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}, line {error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [f for f in frames if not f.filename.startswith("<") and not _inside(f.filename, (*OURS, *LIBRARIES))]
    ours = [f for f in frames if _inside(f.filename, OURS)]
    last = (theirs or ours or list(frames))[-1]
    return f"{last.filename}, line {last.lineno}"


def _inside(file: str, folders: tuple[Path, ...]) -> bool:
    return any(folder in Path(file).parents for folder in folders)
