"""Fetch the browser files that Sluice serves, at exact versions, into webapp/static/vendor.

Run it as `make vendor`. Every package gets a folder that carries its version, so that browsers may keep
the files for ever. VENDOR.json says where each file came from; a test compares the hashes.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

from whitenoise.compress import Compressor

VENDOR = Path(__file__).resolve().parent.parent / "webapp" / "static" / "vendor"
LICENCES = Path(__file__).resolve().parent / "licences"
ICONS = """
    activity alert-triangle bookmark building calendar-time check chevron-down chevron-left chevron-right chevron-up
    circle-check circle-x clock columns command copy device-desktop dots-vertical download filter hand-stop help-circle
    history info-circle key keyboard list-check logout menu-2 moon pencil player-pause player-play player-skip-forward
    player-stop plus refresh reload search selector server settings sun trash user users x
""".split()
SVG = "http://www.w3.org/2000/svg"


@dataclass(frozen=True)
class Package:
    """An npm package and the files we take from it."""

    name: str
    version: str
    licence: str
    folder: str
    files: list[str] = field(default_factory=list)


TABLER_ICONS = Package("@tabler/icons", "3.51.0", "MIT", "tabler-icons")
PACKAGES = [
    Package("@tabler/core", "1.6.1", "MIT", "tabler", ["dist/css/tabler.min.css"]),
    TABLER_ICONS,
    Package("htmx.org", "4.0.1", "0BSD", "htmx", ["dist/htmx.min.js"]),
    Package("@github/relative-time-element", "5.3.1", "MIT", "relative-time-element", ["dist/bundle.js"]),
    Package("@fontsource-variable/inter", "5.3.0", "OFL-1.1", "inter", ["files/inter-latin-wght-normal.woff2"]),
]


def main() -> None:
    """Replace the vendor folder by freshly fetched files."""
    shutil.rmtree(VENDOR, ignore_errors=True)
    VENDOR.mkdir(parents=True)
    entries = []
    for package in PACKAGES:
        with tempfile.TemporaryDirectory() as scratch:
            entries += [_entry(package, path) for path in _take(package, _fetch(package, Path(scratch)))]
    (VENDOR / "VENDOR.json").write_text(json.dumps(entries, indent=2) + "\n")
    print(f"{len(entries)} files in {VENDOR}")


def _fetch(package: Package, scratch: Path) -> Path:
    """The unpacked package; npm checks the archive against the registry's hash."""
    command = ["npm", "pack", "--silent", "--ignore-scripts", f"{package.name}@{package.version}"]
    subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL)
    with tarfile.open(next(scratch.glob("*.tgz"))) as archive:
        archive.extractall(scratch, filter="data")
    return scratch / "package"


def _take(package: Package, source: Path) -> list[Path]:
    """Copy what we use, unmodified, with its licence and its compressed twins; the paths of the copies."""
    target = VENDOR / f"{package.folder}-{package.version}"
    target.mkdir()
    licence = source / "LICENSE"
    shutil.copyfile(licence if licence.exists() else LICENCES / f"{package.folder}.txt", target / "LICENSE")
    taken = [Path(shutil.copyfile(source / name, target / Path(name).name)) for name in package.files]
    if package is TABLER_ICONS:
        taken.append(_sprite(source / "icons" / "outline", target / "icons.svg"))
    for path in taken:
        if Compressor().should_compress(path.name):
            Compressor(quiet=True).compress(str(path))
    return taken


def _sprite(outlines: Path, target: Path) -> Path:
    """One SVG with a symbol for each icon. Its stroke width is left to the page."""
    look = 'viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-linecap="round" stroke-linejoin="round"'
    symbols = [f'<symbol id="{name}" {look}>{_strokes(outlines / f"{name}.svg")}</symbol>' for name in ICONS]
    target.write_text(f'<svg xmlns="{SVG}">\n' + "\n".join(symbols) + "\n</svg>\n")
    return target


def _strokes(icon: Path) -> str:
    """The visible shapes of an icon, without the invisible square around them."""
    ElementTree.register_namespace("", SVG)
    drawing = ElementTree.parse(icon).getroot()  # noqa: S314 - from the pinned package, not from a stranger
    shapes = [shape for shape in drawing if shape.get("stroke") != "none"]
    text = "".join(ElementTree.tostring(shape, encoding="unicode").strip() for shape in shapes)
    return re.sub(rf' xmlns="{SVG}"| (?=/>)', "", text)


def _entry(package: Package, path: Path) -> dict[str, str]:
    """What VENDOR.json says of one file."""
    return {
        "package": package.name,
        "version": package.version,
        "licence": package.licence,
        "file": path.relative_to(VENDOR).as_posix(),
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
    }


if __name__ == "__main__":
    main()
